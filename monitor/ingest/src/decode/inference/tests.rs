//! Bodies of the Open Inference Protocol as a client writes them, and what is wrong with others.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use driftd_fixtures::messages;

use super::{Datatype, TensorShape, append_raw, bytes_max};
use crate::columns::categorical_column;
use crate::decode::{Decode, DecodeLimits, Decoded, JsonDecoder, Message};
use crate::path::FieldPath;
use crate::rejection::RejectReason;
use crate::schema::FeatureKind::{Boolean, Categorical, Float64, Integer};
use crate::schema::{
    FeatureField, FeatureKind, InferenceMessage, ModelSchema, SourceSchema, TimeFormat,
    VersionField,
};

const LIMITS: DecodeLimits =
    DecodeLimits { payload_bytes_max: 1 << 20, rows_max: 100, cells_max: DecodeLimits::CELLS_MAX };

fn source(features: &[(&str, FeatureKind)], message: InferenceMessage) -> SourceSchema {
    let path = |text: &str| FieldPath::parse(text).unwrap();
    let feature = |(text, kind): &(&str, FeatureKind)| FeatureField {
        name: (*text).into(),
        path: path(text),
        kind: *kind,
    };
    let model = ModelSchema {
        name: "m".into(),
        version: VersionField::Fixed("1".into()),
        prediction_id: None,
        features: features.iter().map(feature).collect(),
        segments: vec![],
    };
    let (time, format) = (path("$time"), TimeFormat::UnixMillis);
    let source = SourceSchema::try_new(time, format, None, vec![model]).unwrap();
    source.with_inference(message).unwrap()
}

fn decode(source: SourceSchema, payload: &[u8], header: &str) -> Decoded {
    let mut decoder = JsonDecoder::new(Arc::new(source), LIMITS);
    let timestamp = Some(driftd_catalog::Timestamp::from_millis(1_700_000_000_000));
    let envelope = [Some(header.as_bytes()), None];
    decoder.decode(&Message { payload: Some(payload), offset: 0, timestamp, envelope: &envelope });
    decoder.finish()
}

fn numbers(decoded: &Decoded, column: usize) -> Vec<f64> {
    let batch = decoded.batches[0].as_ref().unwrap();
    batch.column(column).as_primitive::<Float64Type>().values().to_vec()
}

fn levels(decoded: &Decoded, column: usize) -> Vec<String> {
    let batch = decoded.batches[0].as_ref().unwrap();
    let view = categorical_column(batch.column(column).as_ref()).unwrap();
    let view = view.column();
    view.keys.iter().map(|key| view.levels[*key as usize].to_owned()).collect()
}

#[test]
fn requests_of_tritons_client_are_the_same_by_http_and_grpc() {
    let features = [
        ("inputs[name=x].data[][0]", Float64),
        ("inputs[name=x].data[][2]", Float64),
        ("inputs[name=half].data[][0]", Float64),
        ("inputs[name=count].data[][0]", Integer),
        ("inputs[3].data[][0]", Categorical),
        ("inputs[name=flag].data[][0]", Boolean),
        ("id", Categorical),
    ];
    for (payload, header) in
        [(messages::TRITON_BINARY, ""), (messages::TRITON_REQUEST, "proto/InferModelRequest")]
    {
        let decoded = decode(source(&features, InferenceMessage::Json), payload, header);
        assert_eq!(decoded.rejections, []);
        assert_eq!(numbers(&decoded, 0), [f64::from(6.8f32), 6.0]);
        let last = numbers(&decoded, 1);
        assert!(last[0] == f64::from(4.8f32) && last[1].is_nan(), "{last:?}");
        assert_eq!(numbers(&decoded, 2), [0.5, -2.25]);
        let counts = decoded.batches[0].as_ref().unwrap().column(3);
        assert_eq!(counts.as_primitive::<Int64Type>().values()[..], [9_007_199_254_740_993, -7]);
        assert_eq!(levels(&decoded, 4), ["DE", "É"]);
        assert_eq!(levels(&decoded, 5), ["true", "false"]);
        assert_eq!(levels(&decoded, 6), ["42", "42"]);
    }
}

#[test]
fn responses_are_read_where_the_configuration_says_so() {
    let features =
        [("outputs[name=score].data[][1]", Float64), ("outputs[1].data[][0]", Categorical)];
    for (message, header) in
        [(InferenceMessage::Response, ""), (InferenceMessage::Json, "proto/inferModelResponse")]
    {
        let decoded = decode(source(&features, message), messages::TRITON_RESPONSE, header);
        assert_eq!(decoded.rejections, []);
        assert_eq!(numbers(&decoded, 0), [0.25, 0.875]);
        assert_eq!(levels(&decoded, 1), ["setosa", "virginica"]);
    }
    let reason = |message, header: &str| {
        let decoded = decode(source(&features, message), messages::TRITON_RESPONSE, header);
        decoded.rejections[0].reason
    };
    assert_eq!(reason(InferenceMessage::Json, ""), RejectReason::InvalidJson);
    assert_eq!(
        reason(InferenceMessage::Response, "json/inferModelResponse"),
        RejectReason::InvalidJson
    );
    assert_eq!(reason(InferenceMessage::Response, "proto/else"), RejectReason::WrongType);
}

fn raw(datatype: Datatype, shape: &[usize], bytes: &[u8]) -> Result<String, RejectReason> {
    let mut text = String::new();
    let shape = TensorShape::of(shape.iter().map(|it| Some(*it))).map_err(|it| it.reason)?;
    append_raw(datatype, shape, bytes, &mut text).map_err(|it| it.reason)?;
    Ok(text)
}

#[test]
fn raw_values_are_written_as_json_has_them() {
    use Datatype::{Bf16, Bool, Bytes, Fp16, Fp32, Fp64, Int8, Int64, Uint8, Uint16, Uint64};
    for (datatype, shape, bytes, expected) in [
        (Bool, &[2, 2][..], &[0, 1, 2, 0][..], "[[false,true],[true,false]]"),
        (Int8, &[2], &[0x80, 0x7f], "[[-128],[127]]"),
        (Uint8, &[1, 2], &[0xff, 0], "[[255,0]]"),
        (Uint16, &[1], &[1, 2], "[[513]]"),
        (Int64, &[1], &[0, 0, 0, 0, 0, 0, 0, 0x80], "[[-9223372036854775808]]"),
        (Uint64, &[1], &[0xff; 8], "[[18446744073709551615]]"),
        (Fp16, &[3], &[0, 0x3c, 1, 0, 0, 0xfc], "[[1.0],[5.960464477539063e-8],[-Infinity]]"),
        (Bf16, &[2], &[0x80, 0x3f, 0xc0, 0x7f], "[[1.0],[NaN]]"),
        (Fp32, &[1], &[0xcd, 0xcc, 0xcc, 0x3d], "[[0.10000000149011612]]"),
        (Fp64, &[1], &[0, 0, 0, 0, 0, 0, 0, 0x80], "[[-0.0]]"),
        (Bytes, &[1, 2], b"\x01\0\0\0\"\0\0\0\0", r#"[["\"",""]]"#),
        (Bytes, &[0, 2], b"", "[]"),
    ] {
        assert_eq!(raw(datatype, shape, bytes).as_deref(), Ok(expected), "{datatype:?}");
    }
}

#[test]
fn raw_values_are_as_many_as_the_shape_says() {
    use Datatype::{Bytes, Fp32, Uint8};
    for (datatype, shape, bytes) in [
        (Fp32, &[2][..], &[0; 7][..]),
        (Fp32, &[2], &[0; 9]),
        (Fp32, &[0, 2], &[0; 1]),
        (Uint8, &[usize::MAX], &[0; 3]),
        (Fp32, &[usize::MAX], &[0; 3]),
        (Uint8, &[1, usize::MAX, 2], &[0; 3]),
        (Bytes, &[2], b"\0\0\0\0"),
        (Bytes, &[1], b"\0\0\0\0\0\0\0\0"),
        (Bytes, &[1], b"\xff\xff\xff\xffx"),
        (Bytes, &[1], b"\0\0"),
        (Bytes, &[usize::MAX], b"\0\0\0\0"),
    ] {
        assert_eq!(raw(datatype, shape, bytes), Err(RejectReason::UnequalLists), "{shape:?}");
    }
    for shape in [&[][..], &[2, 0], &[1; 33]] {
        assert_eq!(raw(Uint8, shape, &[0; 2]), Err(RejectReason::WrongType), "{shape:?}");
    }
    assert_eq!(raw(Bytes, &[1], b"\x01\0\0\0\xff"), Err(RejectReason::InvalidUtf8));
}

fn outcome(payload: &[u8]) -> Result<usize, RejectReason> {
    let features = [("inputs[name=x].data[][0]", Float64)];
    let decoded = decode(source(&features, InferenceMessage::Json), payload, "");
    decoded.rejections.first().map_or(Ok(decoded.rows.len()), |it| Err(it.reason))
}

fn binary(name: &str, rest: &str, behind: &[u8]) -> Vec<u8> {
    let head = format!(
        r#"{{"inputs":[{{"name":"{name}","datatype":"UINT8","shape":[2],{rest}}},{{"name":"x","shape":[2],"data":[1,2]}}]}}"#
    );
    [head.as_bytes(), behind].concat()
}

#[test]
fn what_is_behind_the_json_is_what_its_tensors_say() {
    use RejectReason::{InvalidJson, InvalidUtf8, MissingField, UnequalLists, WrongType};
    let size = r#""parameters":{"binary_data_size":2}"#;
    let null = r#""data":null,"parameters":{"binary_data_size":2}"#;
    for (name, rest, behind, expected) in [
        ("y", size, &b"\x01\xff"[..], Ok(2)),
        ("y", size, b" \n\x01\xff", Ok(2)),
        ("y", null, b"\x01\xff", Ok(2)),
        ("y", r#""data":[1,2]"#, b" ", Ok(2)),
        // Nobody reads them.
        ("y", r#""data":{}"#, b"", Ok(2)),
        ("y", r#""data":{}"#, b"x", Err(InvalidJson)),
        ("y", size, b"", Err(UnequalLists)),
        ("y", size, b"\x01", Err(UnequalLists)),
        ("y", size, b"x\x01\xff", Err(UnequalLists)),
        ("y", r#""parameters":{"binary_data_size":1e300}"#, b"", Err(WrongType)),
        ("y", r#""parameters":{"binary_data_size":-1}"#, b"", Err(WrongType)),
        ("y", r#""parameters":{"binary_data_size":9223372036854775807}"#, b"", Err(UnequalLists)),
        ("y", r#""data":[],"parameters":{"binary_data_size":2}"#, b"ab", Err(WrongType)),
    ] {
        assert_eq!(outcome(&binary(name, rest, behind)), expected, "{rest} {behind:?}");
    }
    let lone = |head: &str, behind: &[u8]| outcome(&[head.as_bytes(), behind].concat());
    let head = r#"{"inputs":[{"name":"x","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":2}}]}"#;
    assert_eq!(lone(head, b"\x01\xff"), Ok(2));
    assert_eq!(lone(&head.replace("null", ""), b"\x01\xff"), Ok(2));
    let with = |from: &str, to: &str| lone(&head.replace(from, to), b"\x01\xff");
    assert_eq!(with("[2]", "[3]"), Err(UnequalLists));
    assert_eq!(with("UINT8", "UINT9"), Err(WrongType));
    assert_eq!(with(r#""shape":[2],"#, ""), Err(MissingField));
    assert_eq!(with(r#""parameters""#, r#""data":null,"parameters""#), Ok(2));
    assert_eq!(lone("{\"a\":\"", b"\xff\"}"), Err(InvalidUtf8));
    assert_eq!(lone("{\"a\":\"", b"\xff"), Err(InvalidUtf8));
    // Deeper than a cursor goes, and with a number that it does not read.
    let deep =
        format!("{{\"deep\":{}{},{}", "[".repeat(90), "]".repeat(90), head.trim_start_matches('{'));
    assert_eq!(lone(&deep, b"\x01\xff"), Ok(2));
    assert_eq!(
        lone(&head.replacen('{', "{\"e\":1e-00000000000000000000001,", 1), b"\x01\xff"),
        Ok(2)
    );
}

#[test]
fn messages_have_values_of_one_kind_for_each_tensor() {
    use RejectReason::{InvalidProtobuf, UnequalLists, WrongType};
    let features = [("inputs[name=x].data[][0]", Float64)];
    let tensor = |rest: &[u8]| {
        // name "x", datatype "FP64", shape [1]
        let fields = [b"\x0a\x01x\x12\x04FP64\x1a\x01\x01", rest].concat();
        [&[0x2a, u8::try_from(fields.len()).unwrap()], &fields[..]].concat()
    };
    let contents = b"\x2a\x0a\x3a\x08\0\0\0\0\0\0\xf0\x3f";
    let raw = b"\x3a\x08\0\0\0\0\0\0\xf0\x3f";
    for (payload, expected) in [
        (tensor(contents), Ok(1)),
        ([&tensor(b"")[..], raw].concat(), Ok(1)),
        // A field of its own for each value, as it may be written too.
        (tensor(b"\x2a\x09\x39\0\0\0\0\0\0\xf0\x3f"), Ok(1)),
        ([&tensor(contents)[..], raw].concat(), Err(WrongType)),
        ([&tensor(b"")[..], raw, raw].concat(), Err(UnequalLists)),
        ([&tensor(b"")[..], b"\x3a\x07\0\0\0\0\0\xf0\x3f"].concat(), Err(UnequalLists)),
        (tensor(b"\x2a\0"), Err(UnequalLists)),
        // Values of another type than the tensor's.
        (tensor(b"\x2a\x03\x12\x01\x01"), Err(WrongType)),
        (tensor(b"\x2a\x02\x3a\x07"), Err(InvalidProtobuf)),
        (tensor(b"\x2a\x09\x3a\x07\0\0\0\0\0\0\0"), Err(InvalidProtobuf)),
        // A tensor without values is a list that is not there.
        (tensor(b""), Err(RejectReason::MissingField)),
        (b"\x2a\x05".to_vec(), Err(InvalidProtobuf)),
    ] {
        let decoded = decode(source(&features, InferenceMessage::Request), &payload, "");
        let found = decoded.rejections.first().map_or(Ok(decoded.rows.len()), |it| Err(it.reason));
        assert_eq!(found, expected, "{payload:?} {:?}", decoded.rejections);
    }
}

#[test]
fn lists_of_tensors_have_a_bound() {
    let many = vec!["{}"; super::TENSORS_MAX + 1].join(",");
    let payload = format!(r#"{{"inputs":[{many}]}}"#);
    assert_eq!(outcome(payload.as_bytes()), Err(RejectReason::TooManyRows));
    let features = [("inputs[name=x].data[][0]", Float64)];
    let payload = b"\x2a\0".repeat(super::TENSORS_MAX + 1);
    let decoded = decode(source(&features, InferenceMessage::Request), &payload, "");
    assert_eq!(decoded.rejections[0].reason, RejectReason::TooManyRows);
}

/// What grows most: the longest numbers in the fewest bytes, each a row.
#[test]
fn a_text_takes_no_more_than_is_counted() {
    let mut text = String::new();
    let bytes = [0x88, 0x80].repeat(40_000);
    let shape = TensorShape { count: 40_000, width: 1 };
    append_raw(Datatype::Bf16, shape, &bytes, &mut text).unwrap();
    assert!(24 * 40_000 < text.len(), "{} are not the longest", text.len());
    // A tensor has a few bytes more than its values.
    let payload_bytes = bytes.len() + 8;
    assert!(text.len() <= super::text_bytes_max(payload_bytes), "{}", text.len());
    // While it grows, it is there twice, once half as long.
    let held = text.capacity() * 3 / 2;
    assert!(held <= bytes_max(payload_bytes), "{held}");
    let half = |bits: u16| raw(Datatype::Fp16, &[1], &bits.to_le_bytes()).unwrap().len() - 1;
    assert!((0..=u16::MAX).all(|bits| half(bits) <= 26));
}
