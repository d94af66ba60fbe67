//! Reads the file: YAML to a tree, the environment into its texts, the tree against the schema.
//!
//! Before: the text of the file. After: [`super::raw`] in the types of its keys, which
//! [`super::validate`] checks further, with every structural problem in our words. A file that has
//! some is mended ([`super::mend`]), so that the other problems are found in the same go.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Number, Value, json};
use serde_saphyr::UserMessageFormatter;

use super::error::{ConfigError, Findings, Noted, place};
use super::interpolate::interpolate;
use super::mend::Mend;
use super::mismatch::Words;
use super::raw::RawConfig;
use super::schema::schema;

/// Largest accepted file, in bytes.
const FILE_BYTES_MAX: usize = 16 << 20;

/// Most mismatches reported at once: enough for any slip, and no flood from a file of another kind.
const MISMATCHES_MAX: usize = 1_000;

/// The schema and its compiled form: constants, but not of the compiler.
static SCHEMA: LazyLock<(Value, Validator)> = LazyLock::new(|| {
    let schema = schema();
    let validator =
        jsonschema::validator_for(&schema).expect("the schema made from our types is a schema");
    (schema, validator)
});

/// Reads the file into the types of its keys. What does not fit them is a finding, and something
/// else stands in for it.
pub(super) fn read(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    findings: &mut Findings,
) -> Result<RawConfig, Noted> {
    let tree = parse(text).map_err(|error| findings.push(error))?;
    structure(tree, environment, findings)
}

/// Reads the keys `name` and `kafka`, and nothing of the others: something valid stands in for what
/// a configuration cannot be without.
pub(super) fn read_kafka(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
    findings: &mut Findings,
) -> Result<RawConfig, Noted> {
    let tree = parse(text).map_err(|error| findings.push(error))?;
    let mut part = json!({
        "sources": [{"topic": "t", "start": "latest", "event_time": {"path": "t"}}],
        "models": [{
            "name": "m",
            "source": "t",
            "version": "1",
            "references": "r",
            "window": {"length": "1h"},
            "features": [{"name": "x", "path": "x", "type": "float64"}],
        }],
    });
    for key in ["name", "kafka"] {
        if let Some(value) = tree.get(key) {
            part[key] = value.clone();
        }
    }
    structure(part, environment, findings)
}

fn parse(text: &str) -> Result<Value, ConfigError> {
    if FILE_BYTES_MAX < text.len() {
        return Err(ConfigError {
            path: String::new(),
            problem: format!("has {} bytes, more than {FILE_BYTES_MAX}", text.len()),
            hint: "split it into several jobs".into(),
        });
    }
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| ConfigError {
        path: String::new(),
        problem: format!(
            "is not valid YAML: {}",
            error.render_with_formatter(&UserMessageFormatter)
        ),
        hint: "correct the syntax there; text with `: `, ` #`, `{` or `[` needs quotes".into(),
    })
}

fn structure(
    mut tree: Value,
    environment: &dyn Fn(&str) -> Option<String>,
    findings: &mut Findings,
) -> Result<RawConfig, Noted> {
    let interpolation = interpolate(&mut tree, environment);
    whole_numbers(&mut tree);
    let (schema, validator) = &*SCHEMA;
    take_types(&mut tree, &interpolation.filled, validator);

    let refused: BTreeSet<String> = interpolation
        .refused
        .into_iter()
        .map(|(pointer, error)| {
            findings.push(error);
            findings.doubt(place(&pointer));
            pointer
        })
        .collect();
    let words = Words::new(schema, &interpolation.filled);
    let mut mends = Vec::new();
    for error in validator.iter_errors(&tree).take(MISMATCHES_MAX) {
        if !refused.contains(error.instance_path().as_str()) {
            words.describe(&error, findings);
        }
        mends.extend(Mend::of(&error));
    }
    for mend in mends {
        mend.apply(&mut tree, schema, findings);
    }
    // What fits the schema fits the types; should the two ever differ, this is no crash.
    serde_json::from_value(tree).map_err(|error| {
        if findings.is_empty() {
            findings.add("", &format!("cannot be read: {error}"), "correct that value");
        }
        Noted
    })
}

/// Writes `2.0` as `2`: the same number to a schema, and not to serde.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            // Below 2^53 an f64 holds every integer, so nothing is rounded.
            let whole = number.as_f64().filter(|it| it.fract() == 0.0 && it.abs() < 9e15);
            if let (true, Some(whole)) = (number.is_f64(), whole)
                && let Ok(whole) = format!("{whole:.0}").parse::<i64>()
            {
                *number = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(entries) => entries.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Turns the values of variables into numbers and booleans where the schema asks for those.
fn take_types(tree: &mut Value, filled: &BTreeSet<String>, validator: &Validator) {
    let typed: Vec<(String, Value)> = validator
        .iter_errors(tree)
        .filter(|error| matches!(error.kind(), ValidationErrorKind::Type { .. }))
        .filter_map(|error| {
            let pointer = error.instance_path().as_str().to_owned();
            let text = error.instance().as_str().filter(|_| filled.contains(&pointer))?;
            let value = text
                .parse::<Number>()
                .map(Value::Number)
                .or_else(|_| text.parse::<bool>().map(Value::Bool))
                .ok()?;
            Some((pointer, value))
        })
        .collect();
    for (pointer, value) in typed {
        if let Some(place) = tree.pointer_mut(&pointer) {
            *place = value;
        }
    }
}
