//! Makes a file that does not fit the schema readable all the same, so that what takes two values
//! to see is found in the same go.
//!
//! Before: [`super::structure`] knows every mismatch. After: the mended file has the types of
//! [`super::raw`], and [`super::validate`] says nothing about what it holds in place of the user's
//! words. A mended file never becomes a configuration: its mismatches are findings already.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

use super::error::{Findings, escaped, place, unescaped};
use super::schema::resolve;

/// What becomes of one place of the file, a JSON pointer.
pub(super) enum Mend {
    /// The content of a text, or the number of entries, is wrong: it stays.
    Keep(String),
    /// Another value stands there.
    Replace(String),
    /// The mapping there loses this key.
    Remove(String, String),
}

impl Mend {
    /// Returns what mends a mismatch.
    pub(super) fn of(error: &ValidationError<'_>) -> Vec<Self> {
        let pointer = error.instance_path().as_str();
        if let ValidationErrorKind::AdditionalProperties { unexpected } = error.kind() {
            return unexpected
                .iter()
                .map(|key| Self::Remove(pointer.into(), key.clone()))
                .collect();
        }
        if let ValidationErrorKind::Required { property } = error.kind() {
            let key = property.as_str().unwrap_or_default();
            return vec![Self::Replace(format!("{pointer}/{}", escaped(key)))];
        }
        vec![match error.kind().keyword() {
            "pattern" | "minLength" | "maxLength" | "minItems" | "maxItems" => {
                Self::Keep(pointer.into())
            }
            _ => Self::Replace(pointer.into()),
        }]
    }

    /// Does it.
    pub(super) fn apply(&self, tree: &mut Value, schema: &Value, findings: &mut Findings) {
        match self {
            Self::Keep(pointer) => findings.doubt(place(pointer)),
            Self::Replace(pointer) => {
                put(tree, pointer, stand_in(schema, schema_at(schema, pointer), pointer));
                findings.doubt(place(pointer));
            }
            Self::Remove(pointer, key) => {
                if let Some(Value::Object(entries)) = tree.pointer_mut(pointer) {
                    entries.shift_remove(key);
                }
            }
        }
    }
}

fn put(tree: &mut Value, pointer: &str, value: Value) {
    if let Some(place) = tree.pointer_mut(pointer) {
        *place = value;
    } else if let Some((parent, key)) = pointer.rsplit_once('/')
        && let Some(Value::Object(entries)) = tree.pointer_mut(parent)
    {
        entries.insert(unescaped(key), value);
    }
}

/// Finds the definition of a place.
fn schema_at<'a>(root: &'a Value, pointer: &str) -> &'a Value {
    pointer.split('/').skip(1).fold(resolve(root, root), |schema, step| {
        let inside = schema
            .get("items")
            .or_else(|| schema.get("properties")?.get(unescaped(step)))
            .or_else(|| schema.get("additionalProperties"));
        resolve(root, inside.unwrap_or(&Value::Null))
    })
}

/// Makes a value of the right type, equal to no other in the file: `seed` is its place.
fn stand_in(root: &Value, schema: &Value, seed: &str) -> Value {
    if let Some(default) = schema.get("default") {
        return default.clone();
    }
    if let Some(word) = schema.pointer("/oneOf/0/const") {
        return word.clone();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => {
            let required = schema.get("required").and_then(Value::as_array);
            let keys = required.into_iter().flatten().filter_map(Value::as_str);
            let entries = keys.map(|key| {
                let inside = schema.get("properties").and_then(|it| it.get(key));
                let inside = resolve(root, inside.unwrap_or(&Value::Null));
                (key.to_owned(), stand_in(root, inside, &format!("{seed}/{key}")))
            });
            Value::Object(entries.collect::<Map<_, _>>())
        }
        Some("array") => Value::Array(Vec::new()),
        Some("boolean") => false.into(),
        Some("integer" | "number") => {
            schema.get("minimum").filter(|it| it.as_f64() != Some(0.0)).cloned().unwrap_or(1.into())
        }
        Some(_) | None => seed.into(),
    }
}
