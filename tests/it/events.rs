//! The events of the catalogue, judged by the CNCF's own JSON Schema of `CloudEvents`.

use driftd_catalog::Timestamp;
use driftd_catalog::event::{
    CloudEvent, ModelRef, RetrainingRequested, RetrainingState, RetrainingStatus,
};
use serde_json::Value;

fn schema() -> jsonschema::Validator {
    let text = include_str!("../../fixtures/schemas/cloudevents/cloudevents.json");
    let schema: Value = serde_json::from_str(text).expect("the schema is JSON");
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .expect("the schema is a schema")
}

/// A request for a retraining with every attribute that it can have.
pub(crate) fn requested() -> CloudEvent<RetrainingRequested> {
    let text = include_bytes!("../../fixtures/events/requested.json");
    CloudEvent::from_json(text).expect("the sample is a request")
}

fn status() -> CloudEvent<RetrainingStatus> {
    let started = Timestamp::from_millis(1_795_500_000_123);
    let data = RetrainingStatus {
        reason: Some("the command ended with exit code 3".to_owned()),
        exit_code: Some(3),
        started_at: Some(started),
        finished_at: Some(started.plus_millis(1_500)),
        ..RetrainingStatus::new("rt-flights-1-00c0ffee", RetrainingState::Failed)
    };
    let id = "rt-flights-1-00c0ffee-failed".to_owned();
    let model = ModelRef { name: "flights".into(), version: "1".into() };
    let mut event = CloudEvent::new("/driftd/launcher", id, started, &model, data);
    event.correlationid = Some("rt-flights-1-00c0ffee".to_owned());
    event
}

fn json<T: serde::Serialize>(event: &CloudEvent<T>) -> Value {
    serde_json::from_slice(&event.to_json()).expect("an event is JSON")
}

#[test]
fn events_are_cloud_events() {
    let schema = schema();
    for event in [json(&requested()), json(&status())] {
        let errors: Vec<_> = schema.iter_errors(&event).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?} in {event:#}");
    }
}

#[test]
fn the_schema_would_notice_a_broken_event() {
    let schema = schema();
    for (attribute, broken) in [
        ("id", Value::from("")),
        ("time", Value::from("yesterday")),
        ("specversion", Value::from(1)),
    ] {
        let mut event = json(&requested());
        event[attribute] = broken;
        assert!(!schema.is_valid(&event), "a broken `{attribute}` was accepted");
    }
}

#[test]
fn extension_attributes_follow_the_naming_rule() {
    // CloudEvents 1.0 §3.1: lower-case letters and digits; the JSON Schema does not check it.
    for event in [json(&requested()), json(&status())] {
        for name in event.as_object().expect("an object").keys() {
            let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            assert!(plain && name.len() <= 20, "attribute `{name}`");
        }
    }
}

#[test]
fn a_request_fits_into_a_message() {
    let mut event = requested();
    event.data.evidence = vec![event.data.evidence[0].clone(); driftd_catalog::event::EVIDENCE_MAX];
    assert!(event.to_json().len() < 100_000);
}
