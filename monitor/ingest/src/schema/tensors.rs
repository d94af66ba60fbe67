//! Which values of a source are tensors, and that they are read by the values of their rows.
//!
//! Beside [`super`]. After: a decoder writes them as lists of rows, by which all paths read them.

use super::{SchemaError, SourceSchema};
use crate::path::FieldPath;

impl SourceSchema {
    /// Has values of tensors read as lists of rows. Names of columns are known before.
    pub fn with_tensors(self, tensors: Vec<FieldPath>) -> Result<Self, SchemaError> {
        for (index, tensor) in tensors.iter().enumerate() {
            let mut others = tensors.iter().enumerate().filter(|(other, _)| *other != index);
            let is_inside = others.any(|(_, other)| tensor.is_inside(other));
            let mut inside = self.read_paths().filter(|path| path.is_inside(tensor)).peekable();
            if !tensor.has_shape_beside() || is_inside || inside.peek().is_none() {
                return Err(SchemaError::NoTensor { path: tensor.to_string() });
            }
            let columns = self.columns.as_ref();
            if let Some(path) = inside.find(|path| !path.is_value_of(tensor, columns)) {
                let (path, tensor) = (path.to_string(), tensor.to_string());
                return Err(SchemaError::NoTensorValue { path, tensor });
            }
        }
        Ok(Self { tensors, ..self })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::schema::{FeatureField, FeatureKind, ModelSchema, TimeFormat, VersionField};

    fn path(text: &str) -> FieldPath {
        FieldPath::parse(text).unwrap()
    }

    /// A source with a feature at each path, and perhaps names of columns.
    fn source(features: &[&str], columns: Option<&str>) -> SourceSchema {
        let feature = |text: &&str| FeatureField {
            name: (*text).into(),
            path: path(text),
            kind: FeatureKind::Float64,
        };
        let model = ModelSchema {
            name: "m".into(),
            version: VersionField::Fixed(Arc::from("1")),
            prediction_id: None,
            features: features.iter().map(feature).collect(),
            segments: vec![],
        };
        let source = SourceSchema::try_new(path("t"), TimeFormat::UnixMillis, None, vec![model]);
        match columns {
            Some(columns) => source.unwrap().with_columns(path(columns)).unwrap(),
            None => source.unwrap(),
        }
    }

    fn check(source: SourceSchema, tensors: &[&str]) -> Result<Vec<String>, SchemaError> {
        let source = source.with_tensors(tensors.iter().map(|it| path(it)).collect());
        source.map(|it| it.tensors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn tensors_are_at_a_key_and_read() {
        let tensor = "i[n=x].data";
        assert_eq!(check(source(&["i[n=x].data[][0]"], None), &[tensor]), Ok(vec![tensor.into()]));
        for (feature, tensors, wrong) in [
            ("data[][0]", &["data", "data"][..], "data"),
            ("data[][0]", &["other"], "other"),
            ("data[0][0][1]", &["data[0]"], "data[0]"),
            ("shape[][0]", &["shape"], "shape"),
        ] {
            let error = SchemaError::NoTensor { path: wrong.to_owned() };
            assert_eq!(check(source(&[feature], None), tensors), Err(error), "{feature}");
        }
    }

    #[test]
    fn tensors_are_read_by_values_of_their_rows_alone() {
        for feature in ["data[0][1]", "data[][7]"] {
            assert!(check(source(&[feature], None), &["data"]).is_ok(), "{feature}");
        }
        for other in ["data", "data[]", "data[].x", "data[][0][1]", "data[3]", "data[k=t]"] {
            let rows = if other.contains("[]") { vec![other] } else { vec!["data[][0]", other] };
            let error = SchemaError::NoTensorValue { path: other.into(), tensor: "data".into() };
            assert_eq!(check(source(&rows, None), &["data"]), Err(error), "{other}");
        }
    }

    #[test]
    fn values_of_rows_may_have_names() {
        assert!(check(source(&["a.data[].x"], Some("a.names")), &["a.data"]).is_ok());
        for (other, names) in [("a.data[].x.y", "a.names"), ("a.data[].x", "names")] {
            // Some path is read by the names, whatever they are of.
            let source =
                source(&[other, "b[].z"], Some(if names == "names" { names } else { "a.names" }));
            let error = SchemaError::NoTensorValue { path: other.into(), tensor: "a.data".into() };
            assert_eq!(check(source, &["a.data"]), Err(error), "{other}");
        }
    }
}
