//! Regenerates the schema and the reference of the configuration and compares them with the files.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use super::super::schema::{Mapping, mappings, resolve, schema};

/// Set to rewrite the files instead.
const COMMAND: &str = "DRIFTD_BLESS=1 cargo test -p driftd-core config";

#[expect(clippy::disallowed_methods, reason = "a test may read and write generated files")]
fn check_file(name: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("DRIFTD_BLESS").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let line = 1 + committed.lines().zip(generated.lines()).take_while(|(a, b)| a == b).count();
    assert!(
        committed == generated,
        "monitor/docs/{name} is not what the code makes, from line {line}; to rewrite it: {COMMAND}"
    );
}

#[test]
fn the_schema_is_the_committed_one() {
    check_file("config.schema.json", &format!("{:#}\n", schema()));
}

#[test]
fn the_reference_is_the_committed_one() {
    check_file("config.md", &reference(&schema()));
}

#[test]
fn every_key_is_described() {
    let schema = schema();
    for mapping in mappings(&schema) {
        for (key, keywords) in mapping.keys() {
            assert!(keywords.get("description").is_some(), "{} {key}", mapping.path);
        }
    }
}

fn reference(schema: &Value) -> String {
    let mut text = format!(
        "<!-- Made from the code: do not edit. To rewrite it: {COMMAND} -->\n\n\
         # Configuration\n\n{}\n\n\
         Lengths of time are whole numbers with the units `d`, `h`, `m`, `s`, `ms`, the longest \
         first: `90s`, `1h30m`, `7d`.\n\
         Amounts of memory are whole numbers with the unit `KiB`, `MiB` or `GiB`: `512MiB`.\n\
         A commented example is [driftd.example.yaml](../driftd.example.yaml), a JSON Schema for \
         editors is [config.schema.json](config.schema.json).\n",
        description(schema)
    );
    let mappings = mappings(schema);
    for mapping in &mappings {
        let title = match mapping.path.as_str() {
            "" => "Top level".to_owned(),
            path => format!("`{path}`"),
        };
        // Features and predictions look alike.
        let alike = mappings.iter().find(|it| std::ptr::eq(it.definition, mapping.definition));
        let content = match alike {
            Some(first) if first.path != mapping.path => format!("As `{}`.\n", first.path),
            Some(_) | None => table(schema, mapping),
        };
        write!(text, "\n## {title}\n\n{content}").unwrap();
    }
    text
}

fn table(schema: &Value, mapping: &Mapping<'_>) -> String {
    let mut text = "| key | type | default | meaning |\n|---|---|---|---|\n".to_owned();
    for (key, keywords) in mapping.keys() {
        let row =
            [kind(schema, keywords), default(mapping, key, keywords), meaning(schema, keywords)];
        writeln!(text, "| `{key}` | {} |", row.join(" | ")).unwrap();
    }
    text
}

fn description(keywords: &Value) -> String {
    keywords["description"].as_str().unwrap_or_default().to_owned()
}

/// Says what a key holds, with its bounds.
fn kind(root: &Value, keywords: &Value) -> String {
    let target = resolve(root, keywords);
    if let Some(choices) = target["oneOf"].as_array() {
        let words: Vec<String> =
            choices.iter().map(|it| format!("`{}`", it["const"].as_str().unwrap())).collect();
        return words.join(", ");
    }
    let bound = |keyword: &str| target.get(keyword).map(ToString::to_string);
    let words = match target["type"].as_str() {
        Some("string") if target["pattern"].as_str() == Some(super::super::duration::PATTERN) => {
            "length of time"
        }
        Some("string") if target["pattern"].as_str() == Some(super::super::size::PATTERN) => {
            "amount of memory"
        }
        Some("string") => "text",
        Some("integer") => "whole number",
        Some("number") => "number",
        Some("boolean") => "`true` or `false`",
        Some("array") => return format!("list of {}", kind(root, &target["items"])),
        Some("object") => return "mapping".into(),
        _ => "text, number or boolean",
    };
    let least = bound("minimum").map(|it| format!("from {it}"));
    let above = bound("exclusiveMinimum").map(|it| format!("above {it}"));
    let most = bound("maximum").map(|it| format!("to {it}"));
    let below = bound("exclusiveMaximum").map(|it| format!("below {it}"));
    let low = least.or(above).map(|it| format!(" {it}"));
    let high = most.map(|it| format!(" {it}")).or(below.map(|it| format!(", {it}")));
    [words.to_owned()].into_iter().chain(low).chain(high).collect()
}

fn default(mapping: &Mapping<'_>, key: &str, keywords: &Value) -> String {
    let required = mapping.definition.get("required").and_then(Value::as_array);
    if required.is_some_and(|it| it.iter().any(|it| it == key)) {
        return "**required**".into();
    }
    match (keywords.get("x-default").and_then(Value::as_str), keywords.get("default")) {
        (Some(words), _) => words.into(),
        (None, Some(Value::Object(_) | Value::Array(_)) | None) => "–".into(),
        (None, Some(Value::String(text))) => format!("`{text}`"),
        (None, Some(value)) => format!("`{value}`"),
    }
}

/// Says what a key means; a choice says what each word of it means.
fn meaning(root: &Value, keywords: &Value) -> String {
    let choices = resolve(root, keywords)["oneOf"].as_array().into_iter().flatten();
    let choices =
        choices.map(|it| format!(" `{}`: {}", it["const"].as_str().unwrap(), description(it)));
    [description(keywords)].into_iter().chain(choices).collect()
}
