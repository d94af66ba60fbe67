//! Messages as servers and gateways write them, read by the paths that a user would write.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use driftd_fixtures::messages;
use serde_json::Value;

use super::JsonDecoder;
use super::list_tests::column;
use super::tests::{feature, path};
use crate::decode::{Decode, DecodeLimits, Decoded, Message};
use crate::schema::{
    EmbeddedField, EmbeddedForm, FeatureKind, ModelSchema, SourceSchema, TimeFormat, VersionField,
};

const LIMITS: DecodeLimits =
    DecodeLimits { payload_bytes_max: 1 << 20, rows_max: 100, cells_max: DecodeLimits::CELLS_MAX };

fn schema(features: &[&str]) -> SourceSchema {
    let model = ModelSchema {
        name: "m".into(),
        version: VersionField::Fixed("1".into()),
        prediction_id: None,
        features: features.iter().map(|it| feature(it, FeatureKind::Float64)).collect(),
        segments: vec![],
    };
    SourceSchema::try_new(path("time"), TimeFormat::Rfc3339, None, vec![model]).unwrap()
}

fn decode(schema: SourceSchema, sample: &str) -> Decoded {
    let mut decoder = JsonDecoder::new(Arc::new(schema), LIMITS);
    decoder.decode(&Message {
        payload: Some(sample.as_bytes()),
        offset: 0,
        timestamp: None,
        envelope: &[],
    });
    decoder.finish()
}

/// Reads the features of a sample, one list of values each.
#[track_caller]
fn reads(sample: &str, features: &[(&str, &[f64])]) {
    let paths: Vec<&str> = features.iter().map(|it| it.0).collect();
    check(&decode(schema(&paths), sample), features);
}

/// The same, with names of columns.
#[track_caller]
fn reads_named(sample: &str, columns: &str, features: &[(&str, &[f64])]) {
    let paths: Vec<&str> = features.iter().map(|it| it.0).collect();
    let schema = schema(&paths).with_columns(path(columns)).unwrap();
    check(&decode(schema, sample), features);
}

#[track_caller]
fn check(decoded: &Decoded, features: &[(&str, &[f64])]) {
    assert_eq!(decoded.rejections, []);
    for (at, (path, expected)) in features.iter().enumerate() {
        let expected: Vec<_> = expected.iter().copied().map(Some).collect();
        assert_eq!(column(decoded, at), expected, "{path}");
    }
}

#[test]
fn kserve_logs_requests_and_responses() {
    reads(
        messages::KSERVE_REQUEST,
        &[("data.instances[][0]", &[6.8, 6.0]), ("data.instances[][3]", &[1.4, 1.6])],
    );
    reads(messages::KSERVE_RESPONSE, &[("data.predictions[]", &[1.0, 1.0])]);
}

/// The JSON batch format of `CloudEvents` is a list of events.
#[test]
fn cloud_events_may_come_in_batches() {
    let batch = format!("[{}, {}]", messages::KSERVE_REQUEST, messages::KSERVE_REQUEST);
    let mut schema = schema(&["data"]);
    schema.event_time = path("[].time");
    schema.models[0].features = vec![feature("[].data.instances[1][0]", FeatureKind::Float64)];
    let SourceSchema { event_time, time_format, model, models, .. } = schema;
    let schema = SourceSchema::try_new(event_time, time_format, model, models).unwrap();
    let decoded = decode(schema, &batch);
    assert_eq!(decoded.rejections, []);
    assert_eq!(column(&decoded, 0), [Some(6.0), Some(6.0)]);
    assert_eq!(decoded.rows[0].event_time.as_millis(), 1_618_014_206_078);
}

#[test]
fn mlflow_takes_records_and_lists() {
    reads(
        messages::MLFLOW_RECORDS,
        &[
            ("request.dataframe_records[].feature1", &[1.0, 3.0]),
            ("request.dataframe_records[].feature2", &[2.5, 4.0]),
            ("response.predictions[]", &[0.25, 0.75]),
        ],
    );
    reads(
        messages::MLFLOW_INPUTS,
        &[
            ("request.inputs[][1]", &[2.0, 4.0, 6.0]),
            ("response.predictions[]", &[0.25, 0.5, 0.75]),
        ],
    );
}

#[test]
fn tensorflow_serving_takes_columns() {
    reads(
        messages::TENSORFLOW_COLUMNS,
        &[("request.inputs.signal[][2]", &[3.0, 1.0]), ("response.outputs[]", &[0.1, 0.9])],
    );
}

#[test]
fn mlflow_and_seldon_name_columns() {
    reads_named(
        messages::MLFLOW_SPLIT,
        "request.dataframe_split.columns",
        &[
            ("request.dataframe_split.data[].feature3", &[3.0, 7.0]),
            ("request.dataframe_split.data[].feature1", &[1.0, 5.0]),
            ("response.predictions[]", &[0.25, 0.75]),
        ],
    );
    reads_named(
        messages::SELDON_NDARRAY,
        "request.data.names",
        &[
            ("request.data.ndarray[].hours", &[40.0, 45.0]),
            ("response.data.ndarray[][1]", &[0.1, 0.6]),
        ],
    );
}

/// Reads the features of a sample, and its tensors, which are at the paths before `[]`.
#[track_caller]
fn reads_tensors(sample: &str, features: &[(&str, &[f64])]) {
    let paths: Vec<&str> = features.iter().map(|it| it.0).collect();
    let mut tensors: Vec<_> = paths.iter().map(|it| path(it.split_once("[]").unwrap().0)).collect();
    tensors.dedup();
    check(&decode(schema(&paths).with_tensors(tensors).unwrap(), sample), features);
}

#[test]
fn tensors_are_rows_whether_their_values_are_nested_or_not() {
    let features: [(&str, &[f64]); 2] = [
        ("data.inputs[name=input-0].data[][0]", &[6.8, 6.0]),
        ("data.inputs[name=input-0].data[][3]", &[1.4, 1.6]),
    ];
    let flat = messages::KSERVE_TENSOR;
    reads_tensors(flat, &features);
    let nested = flat.replace("1.4, 6.0", "1.4], [6.0").replace("[6.8", "[[6.8");
    let nested = nested.replace("1.6]", "1.6]]");
    assert_ne!(nested, flat);
    reads_tensors(&nested, &features);
    reads_tensors(
        messages::SELDON_TENSOR,
        &[
            ("request.data.tensor.values[][1]", &[40.0, 45.0]),
            ("response.data.tensor.values[][0]", &[0.9, 0.4]),
        ],
    );
}

/// A gateway logs bodies as text, and a `CloudEvent` may have its data as Base64.
#[test]
fn tensors_may_be_in_a_body_that_is_text() {
    let event: Value = serde_json::from_str(messages::KSERVE_TENSOR).unwrap();
    let body = event["data"].to_string();
    for (form, text) in
        [(EmbeddedForm::Json, body.clone()), (EmbeddedForm::Base64Json, BASE64.encode(&body))]
    {
        let mut event = event.clone();
        event["data"] = Value::from(text);
        let tensor = "data.inputs[name=input-0].data";
        let (first, last) = (format!("{tensor}[][0]"), format!("{tensor}[][3]"));
        let schema = schema(&[&first, &last]).with_tensors(vec![path(tensor)]).unwrap();
        let schema = schema.with_embedded(vec![EmbeddedField { path: path("data"), form }]);
        let features: [(&str, &[f64]); 2] = [(&first, &[6.8, 6.0]), (&last, &[1.4, 1.6])];
        check(&decode(schema.unwrap(), &event.to_string()), &features);
    }
}

/// What is watched of a chat is around its texts: how long they are, why they end, how long it
/// took.
#[test]
fn chat_completions_have_counts_of_tokens_and_a_reason() {
    let mut schema = schema(&[
        "response.usage.prompt_tokens",
        "response.usage.completion_tokens",
        "response.usage.completion_tokens_details.reasoning_tokens",
        "latency_ms",
    ]);
    schema.models[0].version = VersionField::Path(path("response.model"));
    let reason = feature("response.choices[0].finish_reason", FeatureKind::Categorical);
    schema.models[0].features.push(reason);
    let SourceSchema { models, .. } = schema;
    let (time, format) = (path("response.created"), TimeFormat::UnixSeconds);
    let schema = SourceSchema::try_new(time, format, None, models).unwrap();
    let decoded = decode(schema, messages::OPENAI_CHAT);
    let features: [(&str, &[f64]); 4] =
        [("prompt", &[19.0]), ("completion", &[10.0]), ("reasoning", &[0.0]), ("ms", &[643.0])];
    check(&decoded, &features);
    assert_eq!(super::tests::levels(&decoded, 4), [Some("stop".to_owned())]);
    assert_eq!(&*decoded.versions[0], "gpt-4.1-2025-04-14");
    assert_eq!(decoded.rows[0].event_time.as_millis(), 1_741_569_952_000);
}
