//! Logs of TensorFlow Serving, as Protobuf's library for Python writes them from the published
//! types.

use std::path::Path;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use driftd_fixtures::messages;

use super::*;
use crate::columns::categorical_column;
use crate::path::FieldPath;
use crate::rejection::RejectReason;
use crate::schema::FeatureKind::{self, Categorical, Float64, Integer};
use crate::schema::{FeatureField, ModelSchema, TimeFormat, VersionField};

const LIMITS: DecodeLimits =
    DecodeLimits { payload_bytes_max: 1 << 16, rows_max: 4, cells_max: 64 };

fn schema() -> ProtobufSchema {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/schemas/proto");
    let mut compiler = protox::Compiler::new([folder]).unwrap();
    compiler.include_imports(true);
    compiler.open_file("tensorflow_serving/apis/prediction_log.proto").unwrap();
    ProtobufSchema::parse(&compiler.encode_file_descriptor_set()).unwrap()
}

fn decode(features: &[(&str, FeatureKind)], payload: &[u8]) -> Decoded {
    let path = |text: &str| FieldPath::parse(text).unwrap();
    let feature = |(text, kind): &(&str, FeatureKind)| FeatureField {
        name: (*text).into(),
        path: path(text),
        kind: *kind,
    };
    let model = ModelSchema {
        name: "churn".into(),
        version: VersionField::Path(path("log_metadata.model_spec.version")),
        prediction_id: None,
        features: features.iter().map(feature).collect(),
        segments: vec![],
    };
    let (time, name) = (path("log_metadata.timestamp_secs"), path("log_metadata.model_spec.name"));
    let source = SourceSchema::try_new(time, TimeFormat::UnixSeconds, Some(name), vec![model]);
    let (source, schema) = (Arc::new(source.unwrap()), schema());
    let message = schema.message("tensorflow.serving.PredictionLog").unwrap();
    let program = ProtobufProgram::compile(&source, &schema, message).unwrap();
    assert!(Program::Protobuf(Arc::clone(&program)).unknown_paths().is_empty());
    let mut decoder = ProtobufDecoder::new(source, ProtobufFraming::Bare, LIMITS);
    decoder.learn(SchemaId::ONLY, program);
    let payload = Some(payload);
    decoder.decode(&Message { payload, offset: 0, timestamp: None, envelope: &[] });
    decoder.finish()
}

fn floats(decoded: &Decoded, column: usize) -> Vec<f64> {
    let batch = decoded.batches[0].as_ref().unwrap();
    batch.column(column).as_primitive::<Float64Type>().values().to_vec()
}

fn levels(decoded: &Decoded, column: usize) -> Vec<String> {
    let batch = decoded.batches[0].as_ref().unwrap();
    let view = categorical_column(batch.column(column).as_ref()).unwrap();
    let view = view.column();
    view.keys.iter().map(|key| view.levels[*key as usize].to_owned()).collect()
}

const PREDICT: [(&str, FeatureKind); 4] = [
    ("predict_log.request.inputs.age.float_val[]", Float64),
    ("predict_log.request.inputs.visits.int64_val[]", Integer),
    ("predict_log.request.inputs.country.string_val[]", Categorical),
    ("predict_log.response.outputs.score.float_val[]", Float64),
];

#[test]
fn a_predict_call_has_a_record_for_each_value_of_its_tensors() {
    let decoded = decode(&PREDICT, messages::SERVING_PREDICT);
    assert_eq!(decoded.rejections, []);
    assert_eq!(decoded.rows[1].event_time.as_millis(), 1_741_569_952_000);
    assert_eq!((decoded.versions.len(), &*decoded.versions[0]), (1, "7"));
    assert_eq!(floats(&decoded, 0), [41.0, 17.5]);
    let visits = decoded.batches[0].as_ref().unwrap().column(1);
    assert_eq!(visits.as_primitive::<Int64Type>().values()[..], [3, -1]);
    assert_eq!(levels(&decoded, 2), ["DE", "É"]);
    assert_eq!(floats(&decoded, 3), [0.25, 0.75]);
}

#[test]
fn a_regress_call_has_an_example_for_each_record() {
    let example = "regress_log.request.input.example_list.examples[].features.feature";
    let features = [
        (&*format!("{example}.age.float_list.value[0]"), Float64),
        (&*format!("{example}.country.bytes_list.value[0]"), Categorical),
        ("regress_log.response.result.regressions[].value", Float64),
        ("log_metadata.sampling_config.sampling_rate", Float64),
    ];
    let decoded = decode(&features, messages::SERVING_REGRESS);
    assert_eq!(decoded.rejections, []);
    assert_eq!(floats(&decoded, 0), [41.0, 17.5]);
    assert_eq!(levels(&decoded, 1), ["DE", "FR"]);
    assert_eq!(floats(&decoded, 2), [0.25, 0.75]);
    assert_eq!(floats(&decoded, 3), [0.1, 0.1]);
}

/// Texts of TensorFlow are bytes.
#[test]
fn bytes_that_are_read_are_text() {
    let mut payload = messages::SERVING_PREDICT.to_vec();
    let at = payload.windows(2).position(|it| it == b"DE").unwrap();
    payload[at] = 0xff;
    assert_eq!(decode(&PREDICT, &payload).rejections[0].reason, RejectReason::InvalidUtf8);
    assert_eq!(decode(&PREDICT[..2], &payload).rejections, []);
}

/// In `tensor_content` nothing is looked for: the lists are not of one length.
#[test]
fn values_elsewhere_refuse_the_message() {
    let mut payload = messages::SERVING_PREDICT.to_vec();
    // The number of `float_val` of `age` becomes that of `tensor_content`.
    let at = payload.windows(4).position(|it| it == [0x2a, 8, 0, 0]).unwrap();
    payload[at] = 0x22;
    assert_eq!(decode(&PREDICT, &payload).rejections[0].reason, RejectReason::UnequalLists);
}
