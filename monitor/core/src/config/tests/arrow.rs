//! Messages of Arrow: which paths they are read by.

use serde_json::{Value, json};

use super::super::SourceFormat;
use super::{check, load_tree, put, smallest};

fn arrow() -> [(&'static str, Value); 3] {
    [
        ("/sources/0/format", json!("arrow")),
        ("/sources/0/event_time/path", json!("[].at")),
        ("/models/0/features/0/path", json!("[].x")),
    ]
}

#[test]
fn paths_lead_into_the_rows_of_a_message() {
    let mut tree = smallest();
    for (pointer, value) in arrow() {
        put(&mut tree, pointer, value);
    }
    let config = load_tree(&tree).unwrap();
    assert_eq!(config.sources[0].format, SourceFormat::Arrow);
    assert!(config.sources[0].schema.event_time.begins_with_each());
}

#[test]
fn other_paths_are_refused_with_what_to_write() {
    check(
        &[("/sources/0/format", json!("arrow"))],
        &[
            "`sources[0].event_time.path`: is `at`: a message of Arrow is a list of rows; write \
             `[].at`: the value of each row",
            "`models[0].features[0].path`: is `x`: a message of Arrow is a list of rows; write \
             `[].x`: the value of each row",
        ],
    );
    let mut changes = arrow().to_vec();
    changes[2].1 = json!("scores[].x");
    check(
        &changes,
        &["`models[0].features[0].path`: is `scores[].x`: a record for each element of a list in \
           a row; have the path begin with `[]`, each row of a message of Arrow, and write the \
           place in another list, such as `[0]`"],
    );
    changes[2].1 = json!("[].scores[].x");
    check(
        &changes,
        &["`models[0].features[0].path`: is `[].scores[].x`: a path has at most one `[]`, at \
           character 11; keep one `[]`: the list with an element for each record; write the \
           place in another list, such as `[0]`"],
    );
}

#[test]
fn what_belongs_to_other_formats_is_refused() {
    let mut changes = arrow().to_vec();
    changes.push(("/sources/0/columns", json!("split.columns")));
    check(
        &changes,
        &["`sources[0].columns`: is for lists of JSON: columns of Arrow have their names; remove \
           it, and write the names of fields into the paths"],
    );
    let mut changes = arrow().to_vec();
    changes.push(("/sources/0/avro", json!({"schema": "a.avsc"})));
    check(
        &changes,
        &["`sources[0].avro`: is of another format than the topic's; write `format: avro` beside \
           it, or remove it"],
    );
}
