//! The JSON Schema of the configuration file, and its keys as a list.
//!
//! Made from [`super::raw`]. After: [`super::structure`] checks a file against it, editors complete
//! by it, `config.md` is written from it.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::{Map, Value, json};

use super::raw::RawConfig;

/// Returns the JSON Schema (draft 2020-12) of the configuration file.
pub fn schema() -> Value {
    let mut schema =
        SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<RawConfig>();
    RecursiveTransform(refuse_null).transform(&mut schema);
    RecursiveTransform(join_lines).transform(&mut schema);
    schema.to_value()
}

/// An optional key is left out, not empty: `null` is what an editor's half-written line holds.
fn refuse_null(schema: &mut Schema) {
    let Some(keywords) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = keywords.get_mut("type") {
        types.retain(|it| it != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            keywords.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(choices)) = keywords.get_mut("anyOf") {
        choices.retain(|it| *it != json!({"type": "null"}));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            keywords.remove("anyOf");
            for (keyword, value) in only {
                keywords.entry(keyword).or_insert(value);
            }
        }
    }
    if keywords.get("default") == Some(&Value::Null) {
        keywords.remove("default");
    }
}

/// Doc comments are wrapped for the source, descriptions are not.
fn join_lines(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
}

/// A mapping of the file: its keys are the properties of one definition.
pub(super) struct Mapping<'a> {
    /// Place in the file with `[]` for a list's elements, such as `models[].window`; empty at the
    /// top.
    pub(super) path: String,
    /// The definition.
    pub(super) definition: &'a Map<String, Value>,
}

impl<'a> Mapping<'a> {
    /// Returns the keys with their schemas, in the order of the file.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        let properties = self.definition.get("properties").and_then(Value::as_object);
        properties.into_iter().flatten().map(|(key, schema)| (key.as_str(), schema))
    }
}

/// Returns every mapping of the file, each before those inside it.
pub(super) fn mappings(schema: &Value) -> Vec<Mapping<'_>> {
    let mut found = Vec::new();
    collect(schema, schema, String::new(), &mut found);
    found
}

fn collect<'a>(root: &'a Value, schema: &'a Value, path: String, found: &mut Vec<Mapping<'a>>) {
    let definition = resolve(root, schema);
    if let Some(items) = definition.get("items") {
        return collect(root, items, format!("{path}[]"), found);
    }
    let Some(definition) = definition.as_object().filter(|it| it.contains_key("properties")) else {
        return;
    };
    let mapping = Mapping { path, definition };
    let (keys, path) = (mapping.keys(), mapping.path.clone());
    found.push(mapping);
    for (key, schema) in keys {
        let inside = if path.is_empty() { key.into() } else { format!("{path}.{key}") };
        collect(root, schema, inside, found);
    }
}

pub(super) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| root.pointer(reference.strip_prefix('#')?))
        .unwrap_or(schema)
}
