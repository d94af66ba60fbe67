//! Rows of Arrow with values that are beside the payload: each row of a message has them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;

use super::ArrowDecoder;
use super::hostile_tests::decode_both_ways;
use crate::decode::{Decode, DecodeLimits, JsonDecoder, Message};
use crate::path::{EnvelopeValue, FieldPath};
use crate::schema::{
    FeatureField, FeatureKind, ModelSchema, SegmentField, SourceSchema, TimeFormat, VersionField,
};

#[test]
fn values_beside_the_payload_are_those_of_every_row() {
    let path = |text: &str| FieldPath::parse(text).unwrap();
    let feature = |(text, kind): (&str, FeatureKind)| FeatureField {
        name: text.into(),
        path: path(text),
        kind,
    };
    let features = [
        ("[].x", FeatureKind::Float64),
        ("$headers.n", FeatureKind::Float32),
        ("$headers.absent", FeatureKind::Integer),
        ("$headers.flag", FeatureKind::Boolean),
    ];
    let model = ModelSchema {
        name: "m".into(),
        version: VersionField::Path(path("$headers.v")),
        prediction_id: None,
        features: features.map(feature).to_vec(),
        segments: vec![SegmentField { name: "s".into(), path: path("$key") }],
    };
    let (time, by) = (path("$headers.at"), Some(path("$headers.m")));
    let schema = SourceSchema::try_new(time, TimeFormat::UnixSeconds, by, vec![model]);
    let schema = Arc::new(schema.unwrap());
    let values = |time: &'static str| {
        move |name: &EnvelopeValue| match name {
            EnvelopeValue::Key => Some(&b"key"[..]),
            EnvelopeValue::Time => None,
            EnvelopeValue::Header(name) => match &**name {
                "n" => Some(&b"0.5"[..]),
                "flag" => Some(&b"true"[..]),
                "v" => Some(&b"7"[..]),
                "m" => Some(&b"m"[..]),
                "at" => Some(time.as_bytes()),
                _ => None,
            },
        }
    };
    let column: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.5), None]));
    let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    let payload = writer.into_inner().unwrap();
    let limits = DecodeLimits { payload_bytes_max: 1 << 20, rows_max: 10, cells_max: 100 };
    for time in ["9", "soon"] {
        let envelope: Vec<_> = schema.envelope.iter().map(values(time)).collect();
        let message =
            |payload| Message { payload, offset: 0, timestamp: None, envelope: &envelope };
        let mut arrow = ArrowDecoder::new(Arc::clone(&schema), limits);
        arrow.decode(&message(Some(&payload)));
        let mut json = JsonDecoder::new(Arc::clone(&schema), limits);
        json.decode(&message(Some(br#"[{"x": 1.5}, {"x": null}]"#)));
        let (arrow, json) = (arrow.finish(), json.finish());
        assert_eq!(arrow.rows, json.rows);
        assert_eq!(arrow.versions, json.versions);
        assert_eq!(arrow.batches, json.batches);
        assert_eq!(arrow.rejections, json.rejections);
        assert_eq!(arrow.rows.len(), if time == "9" { 2 } else { 0 });
    }
}

#[test]
fn rows_are_counted_as_in_json_where_none_or_all_is_beside_the_payload() {
    let path = |text: &str| FieldPath::parse(text).unwrap();
    let model = |name: &str, at: &str| ModelSchema {
        name: name.into(),
        version: VersionField::Fixed("1".into()),
        prediction_id: None,
        features: vec![FeatureField {
            name: "x".into(),
            path: path(at),
            kind: FeatureKind::Float64,
        }],
        segments: vec![],
    };
    let models = vec![model("inside", "[].x"), model("beside", "$headers.x")];
    let (time, by) = (path("$headers.at"), Some(path("$headers.m")));
    let schema = SourceSchema::try_new(time, TimeFormat::UnixSeconds, by, models);
    let schema = Arc::new(schema.unwrap());
    let limits = DecodeLimits { payload_bytes_max: 1 << 20, rows_max: 10, cells_max: 100 };
    for name in ["inside", "beside", "unknown"] {
        for rows in [0, 1, 3] {
            let values = |value: &EnvelopeValue| match value {
                EnvelopeValue::Header(header) if &**header == "m" => Some(name.as_bytes()),
                EnvelopeValue::Header(_) => Some(&b"5"[..]),
                EnvelopeValue::Key | EnvelopeValue::Time => None,
            };
            let envelope: Vec<_> = schema.envelope.iter().map(values).collect();
            let column: ArrayRef = Arc::new(Float64Array::from(vec![1.5; rows]));
            let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
            let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
            writer.write(&batch).unwrap();
            let payload = writer.into_inner().unwrap();
            let message = Message {
                payload: Some(&payload),
                offset: 0,
                timestamp: None,
                envelope: &envelope,
            };
            let (by_columns, arrow) = decode_both_ways(&schema, limits, &message);
            assert_eq!(by_columns, name == "inside" && 0 < rows);
            let mut json = JsonDecoder::new(Arc::clone(&schema), limits);
            let text = format!("[{}]", vec![r#"{"x": 1.5}"#; rows].join(", "));
            json.decode(&Message { payload: Some(text.as_bytes()), ..message });
            let json = json.finish();
            assert_eq!((&arrow.rows, arrow.batches), (&json.rows, json.batches), "{name} {rows}");
            assert_eq!(arrow.rejections, json.rejections, "{name} {rows}");
            let expected = match name {
                "inside" => rows,
                "beside" => 1,
                _ => 0,
            };
            assert_eq!(arrow.rows.len(), expected, "{name} {rows}");
        }
    }
}
