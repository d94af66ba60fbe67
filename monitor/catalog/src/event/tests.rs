//! Events are read back as written, and foreign ones are told apart from broken ones.

use super::*;

fn model() -> ModelRef {
    ModelRef { name: "flights".into(), version: "1".into() }
}

fn requested() -> CloudEvent<RetrainingRequested> {
    let start = Timestamp::from_millis(1_364_774_400_000);
    let end = start.plus_millis(86_400_000);
    let data = RetrainingRequested {
        request: Request {
            dedupe_key: "flights/1/default/2013-04-01T00:00:00Z".to_owned(),
            attempt: 1,
            policy: "default".into(),
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
            value: 0.31,
            threshold: 0.2,
            p_value: None,
            n_reference: 50_000,
            n_current: 900,
            windows_breached: 3,
        }],
        window: WindowRef { start, end, segment: "all".to_owned(), rows: 912 },
        reference: ReferenceRef {
            id: "flights-january".to_owned(),
            digest: "sha256:00".to_owned(),
            rows: 50_000,
            uri: None,
        },
        data: DataRef {
            topic: "inference.flights".into(),
            offsets: BTreeMap::from([("0".to_owned(), [12, 512]), ("1".to_owned(), [10, 430])]),
        },
        links: Links::default(),
    };
    CloudEvent::new("/driftd/test", "rt-flights-1-00c0ffee".to_owned(), end, &model(), data)
}

#[test]
fn a_request_is_read_back_as_written() {
    let event = requested();
    let json = event.to_json();
    let read = CloudEvent::<RetrainingRequested>::from_json(&json).expect("our own event");
    assert_eq!(read, event);
}

#[test]
fn a_status_without_optional_fields_can_be_read() {
    let json = br#"{"specversion":"1.0","type":"io.driftd.retraining.status.v1","source":"/job",
        "id":"rt-a-1-00000000-succeeded","time":"2026-11-24T06:00:00Z",
        "subject":"models/a/versions/1","datacontenttype":"application/json","partitionkey":"a",
        "data":{"request_id":"rt-a-1-00000000","state":"succeeded"}}"#;
    let event = CloudEvent::<RetrainingStatus>::from_json(json).expect("a status");
    assert_eq!(event.data.state, RetrainingState::Succeeded);
    assert!(event.data.state.is_final());
    assert_eq!(event.data.exit_code, None);
}

#[test]
fn an_event_of_another_type_is_not_a_broken_event() {
    let error = CloudEvent::<RetrainingStatus>::from_json(&requested().to_json());
    assert!(matches!(error, Err(EventError::OtherType { .. })));
}

#[test]
fn a_broken_payload_names_the_event() {
    let text = String::from_utf8(requested().to_json()).expect("JSON is UTF-8");
    let broken = text.replace("\"attempt\":1", "\"attempt\":\"one\"");
    let error = CloudEvent::<RetrainingRequested>::from_json(broken.as_bytes());
    let message = error.expect_err("a broken payload").to_string();
    assert!(message.contains("rt-flights-1-00c0ffee"), "{message}");
}

#[test]
fn bytes_that_are_no_event_are_refused() {
    for bytes in [&b""[..], b"{}", b"[1]", b"\xff\xfe"] {
        let result = CloudEvent::<RetrainingRequested>::from_json(bytes);
        assert!(matches!(result, Err(EventError::NotAnEvent(_))));
    }
}

#[test]
fn state_names_are_their_json_form() {
    for state in [
        RetrainingState::Accepted,
        RetrainingState::Started,
        RetrainingState::Succeeded,
        RetrainingState::Failed,
        RetrainingState::Rejected,
    ] {
        let json = serde_json::to_value(state).expect("a state has a JSON form");
        assert_eq!(json, state.as_str());
    }
}

#[test]
fn times_in_the_schema_are_date_times() {
    let schema = serde_json::to_value(schemars::schema_for!(CloudEvent<RetrainingRequested>))
        .expect("a schema is JSON");
    assert_eq!(schema["properties"]["time"]["format"], "date-time");
    assert_eq!(schema["$defs"]["WindowRef"]["properties"]["start"]["format"], "date-time");
}
