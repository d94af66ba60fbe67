//! Requests and responses that are joined.

use driftd_ingest::{EnvelopeValue, HalfForm};
use serde_json::{Value, json};

use super::{check, load_tree, put, smallest};

fn join() -> Value {
    json!({"id": "$headers.ce_id", "side": "$headers.ce_type", "request": "q", "response": "r"})
}

/// A source with a join, whose paths lead into its halves; with one key of the join changed.
fn changes(key: &str, value: Value) -> Vec<(&'static str, Value)> {
    let mut join = join();
    join[key] = value;
    vec![
        ("/sources/0/event_time/path", json!("response.at")),
        ("/models/0/features/0/path", json!("request.x[]")),
        ("/sources/0/join", join),
    ]
}

#[test]
fn a_join_has_bounds_and_brings_what_it_reads_beside_the_payload() {
    let mut tree = smallest();
    for (pointer, value) in changes("records_max", json!(7)) {
        put(&mut tree, pointer, value);
    }
    let config = load_tree(&tree).unwrap();
    let source = &config.sources[0];
    let join = source.join.as_ref().unwrap();
    assert_eq!((join.within_millis, join.bytes_max, join.records_max), (300_000, 16 << 20, 7));
    let header = |name: &str| EnvelopeValue::Header(name.into());
    assert_eq!(source.schema.envelope, [header("ce_id"), header("ce_type")]);
    let (message, both) = (source.payload_bytes_max, source.limits().payload_bytes_max);
    assert!(2 * message + r#"{"request":,"response":}"#.len() <= both);
}

#[test]
fn each_key_of_a_join_is_checked() {
    let texts = "write the text of each, such as `org.kubeflow.serving.inference.request`";
    for (key, value, message) in [
        (
            "id",
            json!("ids[]"),
            "`sources[0].join.id`: is `ids[]`, which is not one value of a message; name one, such \
             as `$headers.ce_id` or `id`",
        ),
        (
            "side",
            json!("$time"),
            "`sources[0].join.side`: is `$time`: Kafka's time, which is read as the event time \
             only; name another value",
        ),
        ("request", json!(""), &format!("`sources[0].join.request`: is no text; {texts}")),
        (
            "response",
            json!("q"),
            &format!("`sources[0].join.response`: is `q`, as `request` is; {texts}"),
        ),
        (
            "within",
            json!("0s"),
            "`sources[0].join.within`: is zero; write a length of time above zero, such as `1m`",
        ),
        (
            "bytes_max",
            json!("1MiB"),
            "`sources[0].join.bytes_max`: is `1MiB`, less than two messages of \
             `payload_bytes_max`; raise it to 2048KiB or more, or lower that",
        ),
        (
            "bytes_max",
            json!("2GiB"),
            "`sources[0].join.bytes_max`: is `2GiB` for each partition, more than 1GiB; lower it, \
             or give the topic more partitions",
        ),
    ] {
        check(&changes(key, value), &[message]);
    }
}

#[test]
fn a_join_is_of_documents_of_json_whose_paths_lead_into_a_half() {
    let mut lines = changes("id", json!("id"));
    lines.push(("/sources/0/format", json!("ndjson")));
    let message = "`sources[0].join`: is for messages that are one document of JSON each, or one \
                   body of the open inference protocol; write `format: json` or \
                   `format: open_inference`, or remove it";
    check(&lines, &[message]);
    let mut outside = changes("id", json!("id"));
    outside.push(("/models/0/features/0/path", json!("instances[][0]")));
    outside.push(("/models/0/prediction_id", json!("$headers.ce_id")));
    let message = "`models[0].features[0].path`: is `instances[][0]`: with `join` a record is a \
                   request and a response; begin it with `request` or `response`, as \
                   `response.predictions[]`";
    check(&outside, &[message]);
}

/// Changes that make halves bodies of the open inference protocol, with this section and side.
fn bodies(open_inference: Value, side: &str) -> Vec<(&'static str, Value)> {
    let mut changes = changes("side", json!(side));
    changes.extend([
        ("/sources/0/format", json!("open_inference")),
        ("/sources/0/open_inference", open_inference),
        ("/sources/0/event_time/path", json!("$headers.ce_time")),
        ("/models/0/features/0/path", json!("request.inputs[name=x].data[][0]")),
    ]);
    changes
}

#[test]
fn halves_may_be_bodies_of_the_open_inference_protocol() {
    for (section, form) in [
        (Value::Null, HalfForm::InferenceJson),
        (json!({"message": "json"}), HalfForm::InferenceJson),
        (json!({"message": "protobuf"}), HalfForm::InferenceProtobuf),
    ] {
        let mut tree = smallest();
        for (pointer, value) in bodies(section, "$headers.ce_type") {
            put(&mut tree, pointer, value);
        }
        let config = load_tree(&tree).unwrap();
        let source = &config.sources[0];
        assert_eq!(source.join.as_ref().unwrap().half.form, form);
        // The joined document is JSON, and no header says another.
        assert_eq!(source.schema.inference, None);
        let headers = ["ce_id", "ce_time", "ce_type"];
        assert_eq!(source.schema.envelope, headers.map(|it| EnvelopeValue::Header(it.into())));
        let half = form.text_bytes_max(source.payload_bytes_max);
        assert!(2 * half < source.limits().payload_bytes_max);
        assert_eq!(source.text_bytes_max(), source.limits().payload_bytes_max);
    }
    for (section, side, message) in [
        (
            json!({"message": "request"}),
            "$headers.ce_type",
            "`sources[0].open_inference.message`: is `request`, and messages that are joined are \
             both; write `protobuf`: of each message `join.side` tells which it is",
        ),
        (
            json!({"message": "response"}),
            "$headers.ce_type",
            "`sources[0].open_inference.message`: is `response`, and messages that are joined are \
             both; write `protobuf`: of each message `join.side` tells which it is",
        ),
        (
            json!({}),
            "parameters.side",
            "`sources[0].join.side`: is `parameters.side`, and a body of the protocol does not say \
             its side; name a header that does, such as `$headers.ce_type`",
        ),
    ] {
        check(&bodies(section, side), &[message]);
    }
}

#[test]
fn tensors_of_either_half_are_read_by_values_of_their_rows() {
    let feature = "/models/0/features/0/path";
    for path in ["request.inputs[0].data[][1]", "response.outputs[name=y].data[][0]"] {
        let mut changes = bodies(json!({}), "$headers.ce_type");
        changes.push((feature, json!(path)));
        check(&changes, &[]);
    }
    for tensor in ["request.inputs[name=x].data", "response.outputs[0].data"] {
        let mut changes = bodies(json!({}), "$headers.ce_type");
        changes.push((feature, json!(format!("{tensor}[]"))));
        let message = format!(
            "`models[0].features[0].path`: is `{tensor}[]`, and `{tensor}` is a tensor; write \
             `{tensor}[][0]` for the first value of each record"
        );
        check(&changes, &[&message]);
    }
}

/// The row of one that is larger would be refused by the topic, and its partition stand still.
#[test]
fn a_half_fits_into_a_row_where_processes_share_the_work() {
    let bytes = |bytes: u32, scale_out: bool| {
        let mut tree = smallest();
        for (pointer, value) in changes("bytes_max", json!("256MiB")) {
            put(&mut tree, pointer, value);
        }
        put(&mut tree, "/sources/0/payload_bytes_max", json!(bytes));
        if scale_out {
            put(&mut tree, "/scale_out", json!({}));
        }
        load_tree(&tree).map(|_| ()).map_err(|errors| errors.to_string())
    };
    assert_eq!(bytes(31 << 20, true), Ok(()));
    assert_eq!(bytes(100 << 20, false), Ok(()));
    let problem = bytes((31 << 20) + 1, true).unwrap_err();
    let expected = "`sources[0].payload_bytes_max`: is 32505857, and with `scale_out` a request or \
                    response that waits for its other half is one message of the state topic, \
                    which takes 33554432 bytes; lower it to 32505856 or less";
    assert!(problem.contains(expected), "{problem}");
}
