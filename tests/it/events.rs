//! The events of the catalogue, judged by the CNCF's own JSON Schema of `CloudEvents`.

use std::collections::BTreeMap;

use driftd_catalog::Timestamp;
use driftd_catalog::event::{
    CloudEvent, DataRef, Evidence, Links, ModelRef, ReasonKind, ReferenceRef, Request,
    RequestReason, RetrainingRequested, RetrainingState, RetrainingStatus, WindowRef,
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

fn model() -> ModelRef {
    ModelRef { name: "flights".into(), version: "1".into() }
}

/// A request for a retraining with every attribute that it can have.
pub(crate) fn requested() -> CloudEvent<RetrainingRequested> {
    let start = Timestamp::from_millis(1_372_636_800_000);
    let end = start.plus_millis(86_400_000);
    let data = RetrainingRequested {
        request: Request {
            dedupe_key: "flights/1/weather/2013-07-01T00:00:00Z".to_owned(),
            attempt: 1,
            policy: "weather".into(),
            cooldown_until: end.plus_millis(86_400_000),
        },
        model: model(),
        reason: RequestReason {
            kind: ReasonKind::FeatureDrift,
            features_drifted: 1,
            features_monitored: 12,
            summary: "1 of 12 features drifted".to_owned(),
        },
        evidence: vec![Evidence {
            feature: "temp".into(),
            statistic: "psi".to_owned(),
            value: 2.31,
            threshold: 0.2,
            p_value: Some(0.0),
            n_reference: 27_004,
            n_current: 900,
            windows_breached: 3,
        }],
        window: WindowRef { start, end, segment: "all".to_owned(), rows: 912 },
        reference: ReferenceRef {
            id: "flights-january".to_owned(),
            digest: "sha256:00".to_owned(),
            rows: 27_004,
            uri: None,
        },
        data: DataRef {
            topic: "inference.flights".into(),
            offsets: BTreeMap::from([("0".to_owned(), [12, 512])]),
        },
        links: Links::default(),
    };
    let mut event =
        CloudEvent::new("/driftd/test", "rt-flights-1-00c0ffee".to_owned(), end, &model(), data);
    event.expirytime = Some(end.plus_millis(43_200_000));
    event
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
    let mut event = CloudEvent::new("/driftd/launcher", id, started, &model(), data);
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
