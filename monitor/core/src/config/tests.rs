//! Tests of the configuration as a whole: its messages, its example, its generated reference.

mod arrow;
mod beside;
mod example;
mod format;
mod generated;
mod inference;
mod join;
mod lists;
mod performance;
mod reading;
mod rules;
mod windows;

use serde_json::{Map, Value, json};

use super::{Config, ConfigErrors, load};

/// The smallest configuration, with one model on one topic.
fn smallest() -> Value {
    json!({
        "name": "job",
        "sources": [{
            "topic": "logs",
            "start": "earliest",
            "event_time": {"path": "at"},
        }],
        "models": [{
            "name": "m",
            "source": "logs",
            "version": "1",
            "references": "m.json",
            "window": {"length": "1h"},
            "features": [{"name": "x", "path": "x", "type": "float64"}],
        }],
    })
}

/// Loads a tree; JSON is YAML.
fn load_tree(tree: &Value) -> Result<Config, ConfigErrors> {
    load(&tree.to_string(), &|_| None)
}

/// Writes `value` at a JSON pointer, with the mappings on the way; null removes the key.
fn put(tree: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    if !parent.is_empty() && tree.pointer(parent).is_none() {
        put(tree, parent, Value::Object(Map::new()));
    }
    match tree.pointer_mut(parent).unwrap() {
        Value::Object(entries) if value.is_null() => {
            entries.shift_remove(key);
        }
        Value::Object(entries) => {
            entries.insert(key.replace("~1", "/"), value);
        }
        Value::Array(items) => match key.parse::<usize>() {
            Ok(index) if index < items.len() => items[index] = value,
            _ => items.push(value),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => panic!("{pointer}"),
    }
}

/// Changes the smallest configuration at some places and compares all its messages.
#[track_caller]
fn check(changes: &[(&str, Value)], messages: &[&str]) {
    let mut tree = smallest();
    for (pointer, value) in changes {
        put(&mut tree, pointer, value.clone());
    }
    compare(&load_tree(&tree), messages);
}

/// Compares all messages, one a line; none are expected of a valid configuration.
#[track_caller]
fn compare(loaded: &Result<Config, ConfigErrors>, messages: &[&str]) {
    let found = loaded.as_ref().err().map(ToString::to_string).unwrap_or_default();
    assert_eq!(found, messages.join("\n"));
}

/// Changes the smallest configuration at one place, and compares the one message.
#[track_caller]
fn check_one(pointer: &str, value: Value, message: &str) {
    check(&[(pointer, value)], &[message]);
}
