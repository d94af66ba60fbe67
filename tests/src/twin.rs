//! The same predictions in topics of several formats, a model each: what is read of them is the
//! same, and what is no record is a dead letter with its reason.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::job::{Job, TopicRole};
use crate::reader::Record;
use crate::topic::{self, Raw};

/// Topic of the messages in one format.
pub fn topic_of(job: &Job, name: &str) -> String {
    format!("{}-{name}", job.topic(TopicRole::Inference))
}

/// Puts the messages in one format on all partitions of their topic; returns how many there are.
pub fn fill(job: &Job, name: &str, partitions: i32, payloads: Vec<Vec<u8>>) -> usize {
    let topic = topic_of(job, name);
    topic::create(job.bootstrap(), &topic, partitions, &[]);
    let raw =
        |(partition, payload)| Raw { partition, key: "key".to_owned(), payload: Some(payload) };
    let messages: Vec<Raw> = (0..partitions).cycle().zip(payloads).map(raw).collect();
    topic::put(job.bootstrap(), &topic, &messages);
    messages.len()
}

/// Checks that each model has as many lines of results, and that they are those of `json` but for
/// what names the model.
pub fn check_windows(job: &Job, models: &[&str], lines_each: usize) {
    let mut results = job.reader(TopicRole::Results);
    let mut lines: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in results.all().iter().map(Record::json) {
        let model = line["model"].as_str().expect("a name").to_owned();
        let told = ["feature", "window_start", "rows", "counts", "state"].map(|it| &line[it]);
        assert!(!told.contains(&&Value::Null), "{line}");
        lines.entry(model).or_default().push(json!(told));
    }
    assert_eq!(lines["json"].len(), lines_each);
    for lines in lines.values_mut() {
        lines.sort_by_key(Value::to_string);
    }
    for model in models {
        assert_eq!(lines[*model], lines["json"], "{model}");
    }
}

/// Checks that these payloads, and no others, are dead letters for these reasons.
pub fn check_dead_letters(job: &Job, bad: Vec<(&str, Vec<u8>)>) {
    let mut rejected = job.reader(TopicRole::Rejected);
    let letter = |record: &Record| {
        (record.headers["driftd_reason"].clone(), record.payload.clone().unwrap_or_default())
    };
    let mut found: Vec<_> = rejected.all().iter().map(letter).collect();
    let mut expected: Vec<_> =
        bad.into_iter().map(|(reason, it)| (reason.to_owned(), it)).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}
