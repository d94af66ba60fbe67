//! Puts a mismatch between file and schema into our words: what, where, what to do.
//!
//! Before: [`super::structure`] finds the mismatches. After: [`super::error`] holds them.

use std::collections::BTreeSet;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::error::{Findings, child, place, without_positions};
use super::schema::{Mapping, mappings};
use super::text;

/// Longest value repeated in a message, in characters.
const SHOWN_CHARS_MAX: usize = 60;

/// Most edits (inserted, deleted, changed or swapped letters) between a key and what was meant.
const EDITS_MAX: usize = 2;

/// What is needed to put mismatches into words.
pub(super) struct Words<'a> {
    schema: &'a Value,
    mappings: Vec<Mapping<'a>>,
    filled: &'a BTreeSet<String>,
}

impl<'a> Words<'a> {
    /// Words for a schema, and for a file in which the places `filled` came from the environment.
    pub(super) fn new(schema: &'a Value, filled: &'a BTreeSet<String>) -> Self {
        Self { schema, mappings: mappings(schema), filled }
    }

    /// Notes one mismatch; an unknown key each is one finding.
    pub(super) fn describe(&self, error: &ValidationError<'_>, findings: &mut Findings) {
        let pointer = error.instance_path().as_str();
        let path = place(pointer);
        if let ValidationErrorKind::AdditionalProperties { unexpected } = error.kind() {
            for key in unexpected {
                findings.add(&child(&path, key), "is not a key here", &self.meant(&path, key));
                // What it says was meant to be there.
                findings
                    .doubt(self.near(&path, key).map_or(child(&path, key), |it| child(&path, it)));
            }
            return;
        }
        if let ValidationErrorKind::Required { property } = error.kind() {
            let key = property.as_str().unwrap_or_default();
            findings.add(&child(&path, key), "is missing", &self.meaning(&path, key));
            return;
        }
        let shown = self.shown(pointer, error.instance());
        // What the schema asks for there: the limit, the pattern, the type.
        let asked = self.schema.pointer(error.schema_path().as_str()).unwrap_or(&Value::Null);
        let (problem, hint) = match error.kind().keyword() {
            "type" if path.is_empty() && error.instance().is_null() => {
                ("is empty".into(), "write keys and values, such as `name: my-job`".into())
            }
            "type" => type_mismatch(error.instance(), asked, &shown),
            "pattern" => {
                let (problem, hint) = text::mismatch(asked.as_str().unwrap_or_default(), &shown);
                (problem, hint.to_owned())
            }
            keyword => bound_mismatch(keyword, asked, &shown, error.instance()),
        };
        findings.add(&path, &problem, &hint);
    }

    /// Returns a value as it can be repeated. What came from the environment may be a secret.
    fn shown(&self, pointer: &str, value: &Value) -> String {
        if self.filled.contains(pointer) {
            return "${…}".into();
        }
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
            // Their parts may be from the environment.
            Value::Array(_) => "a list".into(),
            Value::Object(_) => "a mapping".into(),
        };
        match text.char_indices().nth(SHOWN_CHARS_MAX) {
            Some((end, _)) => format!("{}…", text.split_at(end).0),
            None => text,
        }
    }

    /// Finds the mapping at a place, whatever the positions in lists on the way.
    fn mapping(&self, path: &str) -> Option<&Mapping<'a>> {
        let anywhere = without_positions(path);
        self.mappings.iter().find(|it| it.path == anywhere)
    }

    fn keys(&self, path: &str) -> Vec<&'a str> {
        self.mapping(path).map(|it| it.keys().map(|(key, _)| key).collect()).unwrap_or_default()
    }

    /// Returns the key of a place that a word was most likely meant to be.
    fn near(&self, path: &str, word: &str) -> Option<&'a str> {
        let keys = self.keys(path).into_iter();
        let near = keys
            .map(|known| (strsim::damerau_levenshtein(known, word), known))
            .filter(|(edits, known)| *edits <= EDITS_MAX && *edits < known.len())
            .min();
        near.map(|(_, known)| known)
    }

    /// Returns what may be meant by a key that does not exist at a place.
    fn meant(&self, path: &str, key: &str) -> String {
        if let Some(known) = self.near(path, key) {
            return format!("did you mean `{known}`?");
        }
        let here = self.keys(path);
        let elsewhere = self.mappings.iter().find(|it| it.keys().any(|(known, _)| known == key));
        match elsewhere {
            Some(mapping) if mapping.path.is_empty() => "it belongs to the top level".into(),
            Some(mapping) => format!("it belongs to `{}`", mapping.path),
            None => format!("known keys: {}", listed(&here)),
        }
    }

    /// Returns what a missing key is for.
    fn meaning(&self, path: &str, key: &str) -> String {
        let described = self
            .mapping(path)
            .and_then(|it| it.keys().find(|(known, _)| *known == key))
            .and_then(|(_, schema)| schema.get("description")?.as_str());
        let text = described.unwrap_or_default();
        let sentence = text.split_once(". ").map_or(text.trim_end_matches('.'), |it| it.0);
        let mut letters = sentence.chars();
        let first = letters.next().map(|it| it.to_ascii_lowercase());
        format!("add it: {}{}", first.unwrap_or_default(), letters.as_str())
    }
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
}

/// Words for a value of another type. `asked` is the type, or a list of them.
fn type_mismatch(found: &Value, asked: &Value, shown: &str) -> (String, String) {
    // Only the properties of librdkafka take several.
    let wanted = asked.as_str().map_or("text, a number, `true` or `false`", type_name);
    let problem = match found {
        Value::Null => "is empty".to_owned(),
        Value::Number(_) => format!("is the number {shown}"),
        Value::String(_) => format!("is the text `{shown}`"),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => format!("is {shown}"),
    };
    let scalar = found.is_boolean() || found.is_number() || found.is_string();
    let hint = match asked.as_str() {
        _ if found.is_null() => {
            format!("write {wanted}, or remove the line if the key can be left out")
        }
        Some("string") if scalar => format!("write {wanted}, in quotes: `\"{shown}\"`"),
        Some("array") if scalar => format!("write {wanted}: `[{shown}]`"),
        Some("integer" | "number") if found.is_string() => {
            format!("write {wanted}, without quotes or unit")
        }
        Some(_) | None => format!("write {wanted}"),
    };
    (problem, hint)
}

fn type_name(kind: &str) -> &'static str {
    match kind {
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "`true` or `false`",
        "array" => "a list",
        _ => "a mapping of keys and values",
    }
}

/// Words for a value out of bounds. `asked` is the limit, or the choices.
fn bound_mismatch(keyword: &str, asked: &Value, shown: &str, found: &Value) -> (String, String) {
    let entries = found.as_array().map_or(0, Vec::len);
    let characters = found.as_str().map_or(0, |it| it.chars().count());
    match keyword {
        "oneOf" => (format!("is `{shown}`"), format!("use {}", choices(asked))),
        "minimum" => (format!("is {shown}"), format!("use at least {asked}")),
        "maximum" => (format!("is {shown}"), format!("use at most {asked}")),
        "exclusiveMinimum" => (format!("is {shown}"), format!("use more than {asked}")),
        "exclusiveMaximum" => (format!("is {shown}"), format!("use less than {asked}")),
        "minItems" => (format!("has {entries} entries"), format!("list at least {asked}")),
        "maxItems" => (format!("has {entries} entries"), format!("list at most {asked}")),
        "minLength" => (format!("has {characters} characters"), format!("use at least {asked}")),
        "maxLength" => (format!("has {characters} characters"), format!("use at most {asked}")),
        _ => (format!("is `{shown}`"), format!("the schema asks for {keyword} {asked}")),
    }
}

/// Lists the words of a choice; each has a description, and so a schema of its own.
fn choices(asked: &Value) -> String {
    let choices = asked.as_array().into_iter().flatten();
    let words: Vec<&str> = choices.filter_map(|it| it.get("const")?.as_str()).collect();
    let listed = listed(&words);
    if words.len() == 1 { listed } else { format!("one of {listed}") }
}
