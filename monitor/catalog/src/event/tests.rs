//! Events are read back as written, and foreign ones are told apart from broken ones.

use super::*;

/// A request with every attribute and field that it can have, as it stands on a topic.
const REQUESTED: &[u8] = include_bytes!("../../../../fixtures/events/requested.json");

fn requested() -> CloudEvent<RetrainingRequested> {
    CloudEvent::from_json(REQUESTED).expect("our own event")
}

#[test]
fn a_request_is_read_and_written_without_loss() {
    let [text, written]: [serde_json::Value; 2] = [REQUESTED, &requested().to_json()]
        .map(|bytes| serde_json::from_slice(bytes).expect("an event is JSON"));
    assert_eq!(written, text);
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
