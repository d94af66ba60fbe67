//! Tensors whose values are no list of records by themselves, but by the shape beside them.
//!
//! Before: [`super::tree`] meets an object. After: it goes through the rows, as a decoder does
//! where the configuration names the tensor in `tensors`.

use serde_json::{Map, Value};

/// Where the values of a tensor are, in the open inference protocol and in Seldon's.
const VALUES: [&str; 2] = ["data", "values"];

/// Where their shape is.
pub(super) const SHAPE: &str = "shape";

/// Most dimensions, as a decoder takes them.
const DIMENSIONS_MAX: usize = 32;

/// Returns the key of an object's tensor and its rows; `None` where there is no tensor, or one that
/// is a list of records as it stands.
pub(super) fn rows(entries: &Map<String, Value>) -> Option<(&str, Value)> {
    let shape = sizes(entries.get(SHAPE)?)?;
    let (key, values) = entries.iter().find(|(key, _)| VALUES.contains(&key.as_str()))?;
    let (count, others) = shape.split_first()?;
    let width = others.iter().try_fold(1_usize, |width, size| width.checked_mul(*size))?;
    let is_flat = !values.as_array()?.iter().any(Value::is_array);
    let is_list_of_records = if is_flat { width == 1 } else { others.len() == 1 };
    if is_list_of_records {
        return None;
    }
    let all = count.checked_mul(width)?;
    let mut flat = Vec::new();
    flatten(values, if is_flat { std::slice::from_ref(&all) } else { &shape }, &mut flat)?;
    let row = |row: &[&Value]| row.iter().map(|it| (*it).clone()).collect::<Value>();
    let rows = flat.chunks(width).map(row);
    Some((key, rows.collect()))
}

/// Reads a list of sizes, of which the first alone may be none.
fn sizes(shape: &Value) -> Option<Vec<usize>> {
    let size = |it: &Value| it.as_u64().and_then(|it| usize::try_from(it).ok());
    let sizes: Vec<usize> = shape.as_array()?.iter().map(size).collect::<Option<_>>()?;
    let others = sizes.get(1..)?;
    (sizes.len() <= DIMENSIONS_MAX && !others.contains(&0)).then_some(sizes)
}

/// Gathers values that are nested as the sizes say.
fn flatten<'a>(value: &'a Value, sizes: &[usize], flat: &mut Vec<&'a Value>) -> Option<()> {
    let Some((size, inner)) = sizes.split_first() else {
        flat.push(value);
        return (!value.is_array() && !value.is_object()).then_some(());
    };
    let items = value.as_array().filter(|it| it.len() == *size)?;
    items.iter().try_for_each(|item| flatten(item, inner, flat))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(shape: &Value, key: &str, values: &Value) -> Option<Value> {
        let tensor = json!({"shape": shape, key: values});
        let found = rows(tensor.as_object().unwrap());
        found.map(|(found, rows)| {
            assert_eq!(found, key);
            rows
        })
    }

    #[test]
    fn values_are_rows_by_the_shape_where_they_are_none_by_themselves() {
        let flat = json!([1, 2, 3, 4]);
        let rows = Some(json!([[1, 2], [3, 4]]));
        assert_eq!(found(&json!([2, 2]), "data", &flat), rows);
        assert_eq!(found(&json!([2, 2]), "values", &flat), rows);
        assert_eq!(found(&json!([2, 2, 1]), "data", &json!([[[1], [2]], [[3], [4]]])), rows);
        assert_eq!(found(&json!([0, 2]), "data", &json!([])), Some(json!([])));
        for (shape, values) in [
            (json!([4]), flat.clone()),
            (json!([4, 1]), flat.clone()),
            (json!([2, 2]), json!([[1, 2], [3, 4]])),
            // These are wrong.
            (json!([3, 2]), flat.clone()),
            (json!([2, 2, 1]), json!([[[1], [2]], [[3]]])),
            (json!([2, 2, 1]), json!([[1, 2], [3, 4]])),
            (json!([2, 0]), json!([])),
            (json!([]), json!([])),
            (json!([u64::MAX, 2]), flat.clone()),
            (json!("2"), flat.clone()),
            (json!([2, 2]), json!({})),
        ] {
            assert_eq!(found(&shape, "data", &values), None, "{shape} {values}");
        }
        assert_eq!(found(&json!([2, 2]), "other", &flat), None);
    }
}
