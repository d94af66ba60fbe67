//! Bodies of the Open Inference Protocol.

use driftd_ingest::{EnvelopeValue, INFERENCE_HEADER, InferenceMessage};
use serde_json::{Value, json};

use super::{check, load_tree, put, smallest};

fn source(open_inference: Value) -> [(&'static str, Value); 3] {
    [
        ("/sources/0/format", json!("open_inference")),
        ("/sources/0/open_inference", open_inference),
        ("/models/0/features/0/path", json!("inputs[name=x].data[][0]")),
    ]
}

#[test]
fn messages_are_what_a_header_or_the_configuration_says() {
    for (section, expected) in [
        (Value::Null, InferenceMessage::Json),
        (json!({}), InferenceMessage::Json),
        (json!({"message": "request"}), InferenceMessage::Request),
        (json!({"message": "response"}), InferenceMessage::Response),
    ] {
        let mut tree = smallest();
        for (pointer, value) in source(section) {
            put(&mut tree, pointer, value);
        }
        let schema = &load_tree(&tree).unwrap().sources[0].schema;
        assert_eq!(schema.inference, Some(expected));
        assert_eq!(schema.envelope, [EnvelopeValue::Header(INFERENCE_HEADER.into())]);
    }
    check(
        &[("/sources/0/open_inference", json!({}))],
        &["`sources[0].open_inference`: is of another format than the topic's; write `format: \
           open_inference` beside it, or remove it"],
    );
}

#[test]
fn values_of_tensors_are_rows() {
    let with = |pointer, value: Value| {
        let mut changes = source(json!({})).to_vec();
        changes.push((pointer, value));
        changes
    };
    let feature = "/models/0/features/0/path";
    for path in ["outputs[0].data[][1]", "inputs[name=x].data[0][1]", "inputs[0].shape[1]", "id"] {
        check(&with(feature, json!(path)), &[]);
    }
    for path in ["inputs[name=x].data[]", "inputs[name=x].data[3]", "inputs[name=x].data[].y"] {
        let message = format!(
            "`models[0].features[0].path`: is `{path}`, and `inputs[name=x].data` is a tensor; \
             write `inputs[name=x].data[][0]` for the first value of each record"
        );
        check(&with(feature, json!(path)), &[&message]);
    }
    check(
        &with(feature, json!("[].x")),
        &[
            "`models[0].features[0].path`: begins with `[]`, and a body of the protocol is no list; \
           write the tensor before it, as `inputs[name=x].data[][0]`",
        ],
    );
}

#[test]
fn what_is_for_documents_of_json_is_for_them_alone() {
    let with = |pointer, value: Value| {
        let mut changes = source(json!({})).to_vec();
        changes.push((pointer, value));
        changes
    };
    let hint = "remove it, or read another topic";
    let message = format!("`sources[0].tensors`: is for lists of JSON; {hint}");
    check(&with("/sources/0/tensors", json!(["a.data"])), &[&message]);
    let message = format!("`sources[0].embedded`: is for texts of JSON; {hint}");
    check(&with("/sources/0/embedded", json!([{"path": "a"}])), &[&message]);
    check(
        &with("/sources/0/columns", json!("names")),
        &["`sources[0].columns`: is for lists of JSON: tensors have their names; remove it, and \
           write the names of fields into the paths"],
    );
}

#[test]
fn messages_of_either_kind_are_for_a_join() {
    check(
        &source(json!({"message": "protobuf"})),
        &[
            "`sources[0].open_inference.message`: is `protobuf`, and without `join` nothing tells a \
           request from a response; write `request` or `response`, or add `join`",
        ],
    );
}
