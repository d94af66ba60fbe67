//! Arrow arrays as the column views that detectors count: the only place that knows both.
//!
//! Before: a decoder's (or a replayed file's) `RecordBatch`, possibly sliced by window. After:
//! `driftd_detectors` counts the view. Accepts the types of [`crate::ModelSchema::arrow_schema`].

use arrow::array::{Array, AsArray, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, UInt32Type};
use driftd_detectors::{CategoricalColumn, NumericColumn, NumericValues, Validity};

/// A numeric array, ready to be viewed. Owns its numbers only when they had to be converted.
#[derive(Clone, Debug)]
pub struct NumericArray<'a> {
    values: Values<'a>,
    validity: Option<Validity<'a>>,
}

#[derive(Clone, Debug)]
enum Values<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    Converted(Vec<f64>),
}

impl NumericArray<'_> {
    /// Returns the view that detectors take.
    pub fn column(&self) -> NumericColumn<'_> {
        let values = match &self.values {
            Values::F32(values) => NumericValues::F32(values),
            Values::F64(values) => NumericValues::F64(values),
            Values::Converted(values) => NumericValues::F64(values),
        };
        NumericColumn { values, validity: self.validity }
    }
}

/// A dictionary array, ready to be viewed.
#[derive(Clone, Debug)]
pub struct CategoricalArray<'a> {
    keys: &'a [u32],
    levels: Vec<&'a str>,
    validity: Option<Validity<'a>>,
}

impl CategoricalArray<'_> {
    /// Returns the view that detectors take.
    pub fn column(&self) -> CategoricalColumn<'_> {
        CategoricalColumn { keys: self.keys, levels: &self.levels, validity: self.validity }
    }
}

/// An array that is no column of a model's batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ColumnError {
    /// Not one of the numeric types of a batch.
    #[error("a numeric column is `Float32`, `Float64` or `Int64`, not `{found}`")]
    NotNumeric {
        /// Type of the array.
        found: DataType,
    },
    /// Not the dictionary type of a batch.
    #[error("a categorical column is `Dictionary(UInt32, Utf8)`, not `{found}`")]
    NotCategorical {
        /// Type of the array.
        found: DataType,
    },
    /// A dictionary that hides nulls in its levels, where the view does not look for them.
    #[error("a categorical column has nulls in its dictionary; they belong in its keys")]
    NullLevel,
}

/// Views `Float32` and `Float64` arrays in place; copies `Int64` arrays to `f64`, which is exact
/// below 2^53 and rounded to nearest beyond.
pub fn numeric_column(array: &dyn Array) -> Result<NumericArray<'_>, ColumnError> {
    let values = if let Some(array) = array.as_primitive_opt::<Float32Type>() {
        Values::F32(array.values())
    } else if let Some(array) = array.as_primitive_opt::<Float64Type>() {
        Values::F64(array.values())
    } else if let Some(array) = array.as_primitive_opt::<Int64Type>() {
        Values::Converted(array.values().iter().map(|&value| value as f64).collect())
    } else {
        return Err(ColumnError::NotNumeric { found: array.data_type().clone() });
    };
    Ok(NumericArray { values, validity: array.nulls().and_then(validity) })
}

/// Views `Dictionary(UInt32, Utf8)` arrays in place; lists the levels once a call.
pub fn categorical_column(array: &dyn Array) -> Result<CategoricalArray<'_>, ColumnError> {
    let not_categorical = || ColumnError::NotCategorical { found: array.data_type().clone() };
    let dictionary = array.as_dictionary_opt::<UInt32Type>().ok_or_else(not_categorical)?;
    let levels: &StringArray =
        dictionary.values().as_string_opt::<i32>().ok_or_else(not_categorical)?;
    if 0 < levels.null_count() {
        return Err(ColumnError::NullLevel);
    }
    Ok(CategoricalArray {
        keys: dictionary.keys().values(),
        levels: levels.iter().flatten().collect(),
        validity: dictionary.keys().nulls().and_then(validity),
    })
}

/// Views the bitmap of an array that has nulls; `None` when every slot is valid.
fn validity(nulls: &NullBuffer) -> Option<Validity<'_>> {
    (0 < nulls.null_count()).then(|| Validity::new(nulls.validity(), nulls.offset(), nulls.len()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        DictionaryArray, Float32Array, Float64Array, Int64Array, StringArray, UInt32Array,
    };
    use driftd_fixtures::trials::cases;
    use proptest::prelude::*;

    use super::*;

    fn numbers(array: &dyn Array) -> Vec<Option<f64>> {
        let view = numeric_column(array).unwrap();
        let view = view.column();
        let valid = |row| view.validity.is_none_or(|validity| validity.is_valid(row));
        let value = |row: usize| match view.values {
            NumericValues::F32(values) => f64::from(values[row]),
            NumericValues::F64(values) => values[row],
        };
        (0..array.len()).map(|row| valid(row).then(|| value(row))).collect()
    }

    fn texts(array: &dyn Array) -> Vec<Option<String>> {
        let view = categorical_column(array).unwrap();
        let view = view.column();
        assert_eq!(view.keys.len(), array.len());
        let valid = |row| view.validity.is_none_or(|validity| validity.is_valid(row));
        let text = |row: usize| view.levels[view.keys[row] as usize].to_owned();
        (0..array.len()).map(|row| valid(row).then(|| text(row))).collect()
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn a_sliced_column_is_viewed_value_by_value(
            values in prop::collection::vec(prop::option::of(-1000i64..1000), 1..200),
            from in 0usize..100,
            length in 0usize..200,
        ) {
            let from = from.min(values.len());
            let length = length.min(values.len() - from);
            let expected: Vec<_> = values[from..from + length]
                .iter()
                .map(|value| value.map(|value| value as f64))
                .collect();
            let integers: Int64Array = values.iter().copied().collect();
            let doubles: Float64Array = values.iter().map(|it| it.map(|it| it as f64)).collect();
            let singles: Float32Array = values.iter().map(|it| it.map(|it| it as f32)).collect();
            let arrays: [&dyn Array; 3] = [&integers, &doubles, &singles];
            for array in arrays {
                prop_assert_eq!(&numbers(&array.slice(from, length)), &expected);
            }
            let levels: DictionaryArray<UInt32Type> =
                values.iter().map(|it| it.map(|it| it.to_string())).collect::<Vec<_>>()
                    .iter().map(Option::as_deref).collect();
            let expected: Vec<_> =
                values[from..from + length].iter().map(|it| it.map(|it| it.to_string())).collect();
            prop_assert_eq!(texts(&levels.slice(from, length)), expected);
        }
    }

    #[test]
    fn a_column_without_nulls_has_no_bitmap_even_when_sliced_from_one_that_has() {
        let array: Float64Array = [None, Some(1.0), Some(2.0)].into_iter().collect();
        assert!(numeric_column(&array).unwrap().column().validity.is_some());
        assert!(numeric_column(&array.slice(1, 2)).unwrap().column().validity.is_none());
    }

    #[test]
    fn other_types_are_refused_by_name() {
        let text = StringArray::from(vec!["a"]);
        assert_eq!(
            numeric_column(&text).unwrap_err().to_string(),
            "a numeric column is `Float32`, `Float64` or `Int64`, not `Utf8`"
        );
        assert_eq!(
            categorical_column(&text).unwrap_err().to_string(),
            "a categorical column is `Dictionary(UInt32, Utf8)`, not `Utf8`"
        );
        let numbers: DictionaryArray<UInt32Type> =
            DictionaryArray::new(UInt32Array::from(vec![0]), Arc::new(Int64Array::from(vec![7])));
        assert!(matches!(categorical_column(&numbers), Err(ColumnError::NotCategorical { .. })));
    }

    #[test]
    fn a_null_among_the_levels_is_refused() {
        let levels = StringArray::from(vec![Some("a"), None]);
        let array: DictionaryArray<UInt32Type> =
            DictionaryArray::new(UInt32Array::from(vec![0, 1]), Arc::new(levels));
        assert_eq!(categorical_column(&array).unwrap_err(), ColumnError::NullLevel);
    }
}
