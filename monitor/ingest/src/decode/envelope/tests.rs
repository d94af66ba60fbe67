//! Values beside the payload: what each place takes of them, what is refused, and that rows and
//! layouts have them as any other value.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Float64Type, Int64Type, UInt32Type};
use driftd_catalog::Timestamp;
use driftd_fixtures::trials::cases;
use proptest::prelude::*;
use proptest::sample::select;

use crate::decode::{Decode, DecodeLimits, Decoded, JsonDecoder, Message};
use crate::path::FieldPath;
use crate::rejection::RejectReason;
use crate::schema::{
    FeatureField, FeatureKind, ModelSchema, SegmentField, SourceSchema, TimeFormat, VersionField,
};

const LIMITS: DecodeLimits =
    DecodeLimits { payload_bytes_max: 1000, rows_max: 100, cells_max: DecodeLimits::CELLS_MAX };

const TIME: &[u8] = b"2013-04-01T09:00:00Z";
const AT: Timestamp = Timestamp::from_millis(1_364_806_800_000);

pub(super) fn path(text: &str) -> FieldPath {
    FieldPath::parse(text).unwrap()
}

fn feature(text: &str, kind: FeatureKind) -> FeatureField {
    FeatureField { name: text.into(), path: path(text), kind }
}

fn model(name: &str, version: VersionField, features: Vec<FeatureField>) -> ModelSchema {
    let segments = vec![SegmentField { name: "s".into(), path: path("$key") }];
    ModelSchema { name: name.into(), version, prediction_id: None, features, segments }
}

/// Two models that only headers tell apart. The envelope is the headers `f`, `m`, `t`, `v` and the
/// key.
fn two_models() -> Arc<SourceSchema> {
    let features = || vec![feature("x", FeatureKind::Float64), header(FeatureKind::Float64)];
    let models = vec![
        model("a", VersionField::Path(path("$headers.v")), features()),
        model("b", VersionField::Fixed("7".into()), features()),
    ];
    let (time, name) = (path("$headers.t"), path("$headers.m"));
    Arc::new(SourceSchema::try_new(time, TimeFormat::Rfc3339, Some(name), models).unwrap())
}

fn header(kind: FeatureKind) -> FeatureField {
    feature("$headers.f", kind)
}

/// One model, with a feature in a header.
fn one_header(kind: FeatureKind, time: &str, format: TimeFormat) -> Arc<SourceSchema> {
    let features = vec![feature("x", FeatureKind::Float64), header(kind)];
    let model = model("m", VersionField::Fixed("1".into()), features);
    Arc::new(SourceSchema::try_new(path(time), format, None, vec![model]).unwrap())
}

type Values<'a> = &'a [Option<&'a [u8]>];

fn decode(schema: &Arc<SourceSchema>, payload: &str, envelope: Values<'_>) -> Decoded {
    let mut decoder = JsonDecoder::new(Arc::clone(schema), LIMITS);
    decode_by(&mut decoder, 0, payload, envelope)
}

fn decode_by(decoder: &mut JsonDecoder, offset: i64, json: &str, envelope: Values<'_>) -> Decoded {
    let payload = Some(json.as_bytes());
    decoder.decode(&Message { payload, offset, timestamp: Some(AT), envelope });
    decoder.finish()
}

#[track_caller]
fn batch(decoded: &Decoded, model: usize) -> &RecordBatch {
    assert_eq!(decoded.rejections, []);
    decoded.batches[model].as_ref().unwrap()
}

fn levels(column: &dyn Array) -> Vec<String> {
    let levels = column.as_dictionary::<UInt32Type>().values().as_string::<i32>();
    levels.iter().flatten().map(str::to_owned).collect()
}

#[track_caller]
fn refused(schema: &Arc<SourceSchema>, envelope: Values<'_>) -> (RejectReason, String) {
    let decoded = decode(schema, r#"{"x": 1, "t": 5}"#, envelope);
    let [rejection] = &decoded.rejections[..] else { panic!("one is refused: {decoded:?}") };
    (rejection.reason, rejection.detail.clone())
}

#[test]
fn everything_but_the_payload_may_be_beside_it() {
    let schema = two_models();
    let envelope = [Some(&b"2.5"[..]), Some(b"a"), Some(TIME), Some(b"v3"), Some(b"eu")];
    let decoded = decode(&schema, r#"{"x": 1.5}"#, &envelope);
    let columns = batch(&decoded, 0);
    assert_eq!(columns.column(0).as_primitive::<Float64Type>().value(0), 1.5);
    assert_eq!(columns.column(1).as_primitive::<Float64Type>().value(0), 2.5);
    assert_eq!(levels(columns.column(2)), ["eu"]);
    let row = &decoded.rows[0];
    assert_eq!((row.event_time, &*decoded.versions[0]), (AT, "v3"));
    let of_b = [None, Some(&b"b"[..]), Some(TIME), None, None];
    let decoded = decode(&schema, r#"{"x": 1.5}"#, &of_b);
    assert_eq!((decoded.rows[0].model, &*decoded.versions[0]), (1, "7"));
    assert!(batch(&decoded, 1).column(1).is_null(0), "a header that is absent is null");
    assert!(batch(&decoded, 1).column(2).is_null(0));
}

#[test]
fn kafkas_time_is_an_event_time() {
    let schema = one_header(FeatureKind::Float64, "$time", TimeFormat::Rfc3339);
    let decoded = decode(&schema, r#"{"x": 1}"#, &[None, None, None]);
    assert_eq!(decoded.rows[0].event_time, AT);
    let mut decoder = JsonDecoder::new(schema, LIMITS);
    let payload = Some(&br#"{"x": 1}"#[..]);
    let message = Message { payload, offset: 0, timestamp: None, envelope: &[None, None, None] };
    let rejection = decoder.decode(&message).unwrap();
    assert_eq!(rejection.reason, RejectReason::MissingField);
    assert_eq!(rejection.detail, "`$time`: absent or null");
}

#[test]
fn a_header_is_the_number_or_the_truth_that_its_text_is() {
    let value = |kind, text: &str| {
        let schema = one_header(kind, "t", TimeFormat::UnixMillis);
        let decoded = decode(&schema, r#"{"x": 1, "t": 5}"#, &[Some(text.as_bytes()), None]);
        Arc::clone(batch(&decoded, 0).column(1))
    };
    let double = |text| value(FeatureKind::Float64, text).as_primitive::<Float64Type>().value(0);
    assert_eq!(double("-1.5e3"), -1500.0);
    assert!(double("NaN").is_nan());
    assert_eq!(double("-Infinity"), f64::NEG_INFINITY);
    let single = |text| value(FeatureKind::Float32, text).as_primitive::<Float32Type>().value(0);
    assert_eq!(single("0.1"), 0.1);
    assert_eq!(single("Infinity"), f32::INFINITY);
    let whole = |text| value(FeatureKind::Integer, text).as_primitive::<Int64Type>().value(0);
    assert_eq!(whole("9223372036854775807"), i64::MAX);
    assert_eq!(whole("5.0"), 5);
    let level = |kind, text| levels(&value(kind, text));
    assert_eq!(level(FeatureKind::Boolean, "false"), ["false"]);
    assert_eq!(level(FeatureKind::Categorical, "é\n"), ["é\n"]);
}

#[test]
fn times_in_headers_have_a_format() {
    for (format, text, millis) in [
        (TimeFormat::Rfc3339, "2013-04-01T09:00:00.5Z", AT.as_millis() + 500),
        (TimeFormat::UnixSeconds, "1364806800.5", AT.as_millis() + 500),
        (TimeFormat::UnixMillis, "1364806800000", AT.as_millis()),
        (TimeFormat::UnixNanos, "1364806800000000000", AT.as_millis()),
    ] {
        let schema = one_header(FeatureKind::Float64, "$headers.t", format);
        let decoded = decode(&schema, r#"{"x": 1}"#, &[None, Some(text.as_bytes()), None]);
        assert_eq!(decoded.rows[0].event_time.as_millis(), millis, "{format}");
    }
    let schema = one_header(FeatureKind::Float64, "$headers.t", TimeFormat::UnixSeconds);
    assert_eq!(refused(&schema, &[None, Some(b"+1364806800"), None]).0, RejectReason::InvalidTime);
}

#[test]
fn what_is_beside_the_payload_is_refused_in_the_same_words() {
    let time = one_header(FeatureKind::Float64, "$headers.t", TimeFormat::Rfc3339);
    let missing = (RejectReason::MissingField, "`$headers.t`: absent or null".to_owned());
    assert_eq!(refused(&time, &[None, None, None]), missing);
    let (reason, detail) = refused(&time, &[None, Some(b"today"), None]);
    assert_eq!(reason, RejectReason::InvalidTime, "{detail}");
    let (reason, detail) = refused(&time, &[None, Some(b"\xff"), None]);
    assert_eq!(
        (reason, &*detail),
        (RejectReason::InvalidUtf8, "`$headers.t`: bytes that are not UTF-8")
    );
    for (kind, text, reason) in [
        (FeatureKind::Float64, "fast", RejectReason::WrongType),
        (FeatureKind::Float64, "inf", RejectReason::WrongType),
        (FeatureKind::Float64, "1e999", RejectReason::NumberOutOfRange),
        // Numbers to others, and none to JSON.
        (FeatureKind::Float64, "+5", RejectReason::WrongType),
        (FeatureKind::Float32, ".5", RejectReason::WrongType),
        (FeatureKind::Float64, "5.", RejectReason::WrongType),
        (FeatureKind::Float64, "05", RejectReason::WrongType),
        (FeatureKind::Float64, " 5", RejectReason::WrongType),
        (FeatureKind::Float64, "5\n", RejectReason::WrongType),
        (FeatureKind::Integer, "+5", RejectReason::WrongType),
        (FeatureKind::Integer, "-", RejectReason::WrongType),
        (FeatureKind::Float32, "1e39", RejectReason::NumberOutOfRange),
        (FeatureKind::Integer, "0.5", RejectReason::WrongType),
        (FeatureKind::Integer, "1e30", RejectReason::NumberOutOfRange),
        (FeatureKind::Integer, "many", RejectReason::WrongType),
        (FeatureKind::Boolean, "yes", RejectReason::WrongType),
        (FeatureKind::Categorical, &"x".repeat(257), RejectReason::InvalidName),
    ] {
        let schema = one_header(kind, "t", TimeFormat::UnixMillis);
        let found = refused(&schema, &[Some(text.as_bytes()), None]);
        assert_eq!(found.0, reason, "{kind:?} {text}: {}", found.1);
        assert!(found.1.starts_with("`$headers.f`: "), "{}", found.1);
    }
    let long = refused(&time, &[None, Some(&[b'1'; 1_025]), None]);
    let detail = "`$headers.t`: a text of 1025 bytes, more than 1024".to_owned();
    assert_eq!(long, (RejectReason::InvalidName, detail));
    let number = one_header(FeatureKind::Float64, "t", TimeFormat::UnixMillis);
    let longest = format!("1.{}", "0".repeat(1_022));
    let decoded = decode(&number, r#"{"t": 5}"#, &[Some(longest.as_bytes()), None]);
    assert_eq!(batch(&decoded, 0).column(1).as_primitive::<Float64Type>().value(0), 1.0);
    let two = two_models();
    let named = |name: &[u8], version: &[u8]| {
        refused(&two, &[None, Some(name), Some(TIME), Some(version), None]).0
    };
    assert_eq!(named(b"c", b"1"), RejectReason::UnknownModel);
    assert_eq!(named(b"a", &[b'v'; 129]), RejectReason::InvalidName);
    assert_eq!(named(b"a", b"\n"), RejectReason::InvalidName);
    let decoded = decode(&two, "{}", &[None, Some(b"b"), Some(TIME), Some(b"\xff"), None]);
    assert_eq!(decoded.rejections, [], "what a model does not read is not looked at");
}

#[test]
fn all_rows_of_a_message_share_what_is_beside_it() {
    let features = vec![feature("[].x", FeatureKind::Float64), header(FeatureKind::Integer)];
    let model = model("m", VersionField::Path(path("$headers.v")), features);
    let schema = SourceSchema::try_new(path("$time"), TimeFormat::Rfc3339, None, vec![model]);
    let schema = Arc::new(schema.unwrap());
    let envelope = [Some(&b"3"[..]), Some(b"v1"), Some(b"k"), None];
    let decoded = decode(&schema, r#"[{"x": 1}, {"x": 2}, {}]"#, &envelope);
    let columns = batch(&decoded, 0);
    assert_eq!(columns.column(1).as_primitive::<Int64Type>().values()[..], [3, 3, 3]);
    assert_eq!(columns.column(2).null_count(), 0);
    assert!(decoded.rows.iter().all(|row| row.event_time == AT && row.version == 0));
}

/// Texts of which a column's rows can be compared: dictionaries have them in another order.
fn shown(decoded: &Decoded) -> String {
    format!("{:?} {:?} {:?}", decoded.versions, decoded.batches, decoded.rejections)
}

proptest! {
    #![proptest_config(cases(200))]

    /// Layouts are learned from a document and what was beside it, and serve others.
    #[test]
    fn what_came_before_changes_nothing(messages in prop::collection::vec(
        (
            select(vec!["{\"x\":1.5}", "{\"x\":-2}", "{\"x\":null}", "{\"x\":\"a\"}", "{\"y\":[]}"]),
            select(vec![None, Some(&b"a"[..]), Some(b"b"), Some(b"c")]),
            select(vec![None, Some(TIME), Some(&b"never"[..])]),
            select(vec![None, Some(&b"1"[..]), Some(b"2"), Some(b"\xff")]),
            select(vec![None, Some(&b"0.5"[..]), Some(b"fast")]),
            select(vec![None, Some(&b"eu"[..]), Some(b"\n")]),
        ),
        1..40,
    )) {
        let schema = two_models();
        let mut decoder = JsonDecoder::new(Arc::clone(&schema), LIMITS);
        for (offset, (payload, name, time, version, feature, key)) in (0..).zip(messages) {
            let envelope = [feature, name, time, version, key];
            let decoded = decode_by(&mut decoder, offset, payload, &envelope);
            let mut alone = JsonDecoder::new(Arc::clone(&schema), LIMITS);
            let expected = decode_by(&mut alone, offset, payload, &envelope);
            prop_assert_eq!(&decoded.rows, &expected.rows);
            prop_assert_eq!(shown(&decoded), shown(&expected));
        }
    }
}
