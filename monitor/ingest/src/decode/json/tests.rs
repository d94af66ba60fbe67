//! What a JSON record may look like, and each reason to refuse one.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float32Type, Float64Type, Int64Type};
use driftd_catalog::{SegmentId, Timestamp};

use super::JsonDecoder;
use crate::columns::{categorical_column, numeric_column};
use crate::decode::{Decode, DecodeLimits, Decoded, Message};
use crate::path::FieldPath;
use crate::rejection::RejectReason;
use crate::schema::{
    FeatureField, FeatureKind, ModelSchema, SegmentField, SourceSchema, TimeFormat, VersionField,
};

const LIMITS: DecodeLimits =
    DecodeLimits { payload_bytes_max: 1000, rows_max: 100, cells_max: DecodeLimits::CELLS_MAX };

pub(super) fn path(text: &str) -> FieldPath {
    FieldPath::parse(text).unwrap()
}

pub(super) fn feature(text: &str, kind: FeatureKind) -> FeatureField {
    FeatureField { name: text.into(), path: path(text), kind }
}

pub(super) fn segment(text: &str) -> SegmentField {
    SegmentField { name: text.into(), path: path(text) }
}

/// One model, one feature of each kind and a segment.
fn one_model() -> Arc<SourceSchema> {
    let model = ModelSchema {
        name: "m".into(),
        version: VersionField::Path(path("v")),
        prediction_id: None,
        features: vec![
            feature("f.single", FeatureKind::Float32),
            feature("f.double", FeatureKind::Float64),
            feature("f.whole", FeatureKind::Integer),
            feature("f.category", FeatureKind::Categorical),
            feature("f.flag", FeatureKind::Boolean),
            feature("list[2]", FeatureKind::Float64),
        ],
        segments: vec![segment("s")],
    };
    Arc::new(SourceSchema::try_new(path("t"), TimeFormat::UnixMillis, None, vec![model]).unwrap())
}

fn decode_all(schema: Arc<SourceSchema>, payloads: &[Option<&[u8]>]) -> Decoded {
    let mut decoder = JsonDecoder::new(schema, LIMITS);
    for (offset, &payload) in (100..).zip(payloads) {
        decoder.decode(&Message { payload, offset, timestamp: None, envelope: &[] });
    }
    assert_eq!(decoder.messages(), payloads.len());
    decoder.finish()
}

fn decode(json: &str) -> Decoded {
    decode_all(one_model(), &[Some(json.as_bytes())])
}

/// Refuses the payload for `reason`, saying `detail`, and takes the good records around it.
#[track_caller]
fn refuses(payload: Option<&[u8]>, reason: RejectReason, detail: &str) {
    let good: Option<&[u8]> = Some(br#"{"t":1,"v":"1"}"#);
    let decoded = decode_all(one_model(), &[good, payload, good]);
    assert_eq!(decoded.rows.iter().map(|row| row.offset).collect::<Vec<_>>(), [100, 102]);
    assert_eq!(decoded.rejections.len(), 1);
    let rejection = &decoded.rejections[0];
    assert_eq!((rejection.offset, rejection.reason), (101, reason), "{rejection:?}");
    assert_eq!(rejection.detail, detail);
}

#[track_caller]
fn refuses_json(json: &str, reason: RejectReason, detail: &str) {
    refuses(Some(json.as_bytes()), reason, detail);
}

/// Refuses the feature's value for `reason`.
#[track_caller]
fn refuses_feature(name: &str, value: &str, reason: RejectReason, detail: &str) {
    refuses_json(&format!(r#"{{"t":1,"v":"1","f":{{"{name}":{value}}}}}"#), reason, detail);
}

/// The levels of the first rows of a dictionary column.
pub(super) fn levels(decoded: &Decoded, column: usize) -> Vec<Option<String>> {
    let batch = decoded.batches[0].as_ref().unwrap();
    let view = categorical_column(batch.column(column)).unwrap();
    let view = view.column();
    (0..batch.num_rows())
        .map(|row| {
            let valid = view.validity.is_none_or(|validity| validity.is_valid(row));
            valid.then(|| view.levels[view.keys[row] as usize].to_owned())
        })
        .collect()
}

fn level(json_value: &str) -> Option<String> {
    let decoded = decode(&format!(r#"{{"t":1,"v":"1","f":{{"category":{json_value}}}}}"#));
    levels(&decoded, 3).remove(0)
}

#[test]
fn a_record_becomes_one_row_of_typed_columns() {
    let decoded = decode(
        r#" {"skipped":{"deep":[1,{"x":"}"}]},"t":1364806800000,"list":[0,1,2.5,3],"v":"7",
            "f":{"flag":true,"category":"LGA","whole":-3,"double":0.1,"single":0.1},"s":"JFK"} "#,
    );
    assert_eq!(decoded.rejections, []);
    let row = decoded.rows[0];
    assert_eq!((row.offset, row.model, row.version), (100, 0, 0));
    assert_eq!(row.event_time, Timestamp::from_millis(1_364_806_800_000));
    assert_eq!(decoded.versions, ["7".into()]);
    let batch = decoded.batches[0].as_ref().unwrap();
    assert_eq!(batch.column(0).as_primitive::<Float32Type>().value(0), 0.1);
    assert_eq!(batch.column(1).as_primitive::<Float64Type>().value(0), 0.1);
    assert_eq!(batch.column(2).as_primitive::<Int64Type>().value(0), -3);
    assert_eq!(levels(&decoded, 3), [Some("LGA".to_owned())]);
    assert_eq!(levels(&decoded, 4), [Some("true".to_owned())]);
    assert_eq!(batch.column(5).as_primitive::<Float64Type>().value(0), 2.5);
    assert_eq!(levels(&decoded, 6), [Some("JFK".to_owned())]);
}

/// By layout, by the walk over bytes, and by `serde_json`, for the key with an escape.
#[test]
fn words_that_json_has_not_are_numbers_to_floats_and_nothing_to_others() {
    let plain = r#"{"t":1,"v":"1","f":{"single":-Infinity,"double":NaN,"whole":NaN,"category":NaN,
        "flag":NaN},"list":[1,Infinity , NaN],"s":NaN,"skipped":NaN}"#;
    let escaped = plain.replace("\"t\"", r#""\u0074""#);
    let payloads = [plain, plain, &escaped].map(|it| Some(it.as_bytes()));
    let decoded = decode_all(one_model(), &payloads);
    assert_eq!(decoded.rejections, []);
    let batch = decoded.batches[0].as_ref().unwrap();
    let [single, double, whole] = [0, 1, 2].map(|column| batch.column(column));
    let is_negative = |value: &f32| *value == f32::NEG_INFINITY;
    assert!(single.as_primitive::<Float32Type>().values().iter().all(is_negative));
    assert!(double.as_primitive::<Float64Type>().values().iter().all(|value| value.is_nan()));
    assert!(batch.column(5).as_primitive::<Float64Type>().values().iter().all(|it| it.is_nan()));
    assert_eq!([single, double, whole].map(Array::null_count), [0, 0, 3]);
    for column in [3, 4, 6] {
        assert_eq!(levels(&decoded, column), [None, None, None], "{column}");
    }
    let whole = "`f.whole`: expected a whole number, found NaN or infinity";
    refuses_feature("whole", "Infinity", RejectReason::WrongType, whole);
    let category = "`f.category`: expected text, a number or a boolean, found NaN or infinity";
    refuses_feature("category", "-Infinity", RejectReason::WrongType, category);
    refuses_json(r#"{"t":NaN,"v":"1"}"#, RejectReason::MissingField, "`t`: absent or null");
    let time = "`t`: expected a number, found NaN or infinity";
    refuses_json(r#"{"t":Infinity,"v":"1"}"#, RejectReason::WrongType, time);
    for value in ["NaN5", "-NaN", "nan", "Inf", "+Infinity", "5NaN"] {
        let json = format!(r#"{{"t":1,"v":"1","f":{{"double":{value}}}}}"#);
        let decoded = decode(&json);
        assert_eq!(decoded.rejections[0].reason, RejectReason::InvalidJson, "{value}");
    }
}

#[test]
fn absent_and_null_features_and_segments_are_arrow_nulls() {
    for json in [
        r#"{"t":1,"v":"1"}"#,
        r#"{"t":1,"v":"1","f":null,"list":null,"s":null}"#,
        r#"{"t":1,"v":"1","f":{},"list":[],"s":null}"#,
        r#"{"t":1,"v":"1","f":{"single":null,"double":null,"whole":null,"category":null,
            "flag":null},"list":[1,2,null]}"#,
    ] {
        let decoded = decode(json);
        let batch = decoded.batches[0].as_ref().unwrap();
        assert!(batch.columns().iter().all(|column| column.null_count() == 1), "{json}");
    }
}

#[test]
fn coordinates_cover_every_message_and_go_on_after_finish() {
    let mut decoder = JsonDecoder::new(one_model(), LIMITS);
    let empty = decoder.finish();
    assert_eq!((empty.from_offset, empty.to_offset, empty.messages), (0, 0, 0));
    assert_eq!(empty.batches.len(), 1);
    let timestamp = Some(Timestamp::from_millis(9));
    for (offset, payload) in [(5, &br#"{"t":1,"v":"1"}"#[..]), (9, b"{"), (10, b"")] {
        decoder.decode(&Message { payload: Some(payload), offset, timestamp, envelope: &[] });
    }
    let decoded = decoder.finish();
    assert_eq!((decoded.from_offset, decoded.to_offset), (5, 11));
    assert_eq!((decoded.messages, decoded.bytes), (3, 16));
    assert_eq!(decoded.rows[0].timestamp, timestamp);
    assert_eq!(decoded.rejections.iter().map(|it| it.offset).collect::<Vec<_>>(), [9, 10]);
    let after = decoder.finish();
    assert_eq!((after.from_offset, after.to_offset, after.messages), (11, 11, 0));
    assert!(after.batches[0].is_none() && after.versions.is_empty());
}

#[test]
fn empty_oversized_and_ill_encoded_payloads_are_refused() {
    refuses(None, RejectReason::EmptyPayload, "no payload: a tombstone");
    refuses_json("", RejectReason::EmptyPayload, "a payload of 0 bytes");
    let long = format!(r#"{{"t":1,"v":"1","x":"{}"}}"#, "x".repeat(1000));
    refuses_json(&long, RejectReason::Oversized, "a payload of 1022 bytes, more than 1000");
    // Also inside of what is skipped.
    let payload = b"{\"t\":1,\"v\":\"1\",\"x\":\"\xff\"}";
    refuses(Some(payload), RejectReason::InvalidUtf8, "not UTF-8 from byte 20 of 23");
    refuses(Some(&[0xf0, 0x9f]), RejectReason::InvalidUtf8, "not UTF-8 from byte 0 of 2");
}

#[test]
fn the_prefix_of_a_schema_registry_is_passed_over() {
    let framed = |text: &[u8]| [b"\0\0\0\x01\x02", text].concat();
    let payload = framed(br#"{"t":1,"v":"1","f":{"a":2.5}}"#);
    let decoded = decode_all(one_model(), &[Some(&payload)]);
    assert_eq!(decoded.rejections, []);
    assert_eq!(decoded.rows.len(), 1);
    let nothing = "nothing behind the prefix of a schema registry";
    refuses(Some(&framed(b"")), RejectReason::EmptyPayload, nothing);
    let place = "expected value at line 1 column 1";
    refuses(Some(&framed(b"x")), RejectReason::InvalidJson, place);
    refuses(Some(b"\0\0\0\0"), RejectReason::InvalidJson, place);
}

#[test]
fn what_is_not_exactly_one_json_value_is_refused_with_its_place() {
    for (json, detail) in [
        (" ", "EOF while parsing a value at line 1 column 1"),
        (r#"{"t":1"#, "EOF while parsing an object at line 1 column 6"),
        (r#"{"t":1,}"#, "trailing comma at line 1 column 8"),
        ("{\"t\":1,\n\"v\":x}", "expected value at line 2 column 5"),
        (r#"{"t":1,"v":"1"}}"#, "trailing characters at line 1 column 16"),
        ("{\"t\":1,\"v\":\"1\"}\n{\"t\":2,\"v\":\"1\"}", "trailing characters at line 2 column 1"),
        (r#"{"t":01,"v":"1"}"#, "invalid number at line 1 column 7"),
        (r#"{"t":1,"v":"1","x":nan}"#, "expected ident at line 1 column 21"),
        (r#"{"t":1,"v":"1","x":"\q"}"#, "invalid escape at line 1 column 22"),
        (r#"{"t":1,"v":"\ud800"}"#, "`v`: text with half a surrogate pair"),
        ("\u{feff}{}", "expected value at line 1 column 1"),
    ] {
        refuses_json(json, RejectReason::InvalidJson, detail);
    }
    let control = "control character (\\u0000-\\u001F) found while parsing a string \
                   at line 1 column 12";
    refuses_json("{\"t\":1,\"v\":\"\t\"}", RejectReason::InvalidJson, control);
}

#[test]
fn a_record_that_is_no_object_is_refused() {
    let detail = "the message: expected an object, found an array; the paths of a list of records \
                  begin with `[]`";
    refuses_json(r#"[{"t":1,"v":"1"}]"#, RejectReason::WrongType, detail);
    for (json, found) in [("3", "a number"), ("\"x\"", "text"), ("null", "null")] {
        let detail = format!("the message: expected an object, found {found}");
        refuses_json(json, RejectReason::WrongType, &detail);
    }
}

#[test]
fn nesting_is_unbounded_where_it_is_skipped_and_never_overflows_the_stack() {
    let (open, close) = ("[".repeat(400), "]".repeat(400));
    let decoded = decode(&format!(r#"{{"t":1,"v":"1","x":{open}{close}}}"#));
    assert_eq!(decoded.rows.len(), 1);
    let depth = 500_000;
    let payload = "[".repeat(depth);
    let limits = DecodeLimits {
        payload_bytes_max: depth,
        rows_max: 100,
        cells_max: DecodeLimits::CELLS_MAX,
    };
    let mut decoder = JsonDecoder::new(one_model(), limits);
    for (offset, payload) in (0..).zip([payload.clone(), format!("{{\"f\":{payload}"), payload]) {
        let payload = payload.as_bytes().get(..depth);
        decoder.decode(&Message { payload, offset, timestamp: None, envelope: &[] });
    }
    let reasons: Vec<_> = decoder.finish().rejections.iter().map(|it| it.reason).collect();
    assert_eq!(reasons, [RejectReason::InvalidJson; 3]);
}

#[test]
fn a_missing_time_or_version_is_refused() {
    for json in [r#"{"v":"1"}"#, r#"{"v":"1","t":null}"#] {
        refuses_json(json, RejectReason::MissingField, "`t`: absent or null");
    }
    refuses_json(r#"{"t":1}"#, RejectReason::MissingField, "`v`: absent or null");
}

#[test]
fn values_of_another_kind_are_refused_by_path() {
    let float = "a number, \"NaN\", \"Infinity\" or \"-Infinity\"";
    let category = "text, a number or a boolean";
    for (name, value, expected, found) in [
        ("single", "true", float, "a boolean"),
        ("single", "\"1.5\"", float, "text"),
        ("double", "\"\"", float, "text"),
        ("double", "\"nan\"", float, "text"),
        ("double", "[1]", float, "an array"),
        ("whole", "\"1\"", "a whole number", "text"),
        ("whole", "1.5", "a whole number", "a fraction"),
        ("category", "{}", category, "an object"),
        ("flag", "1", "a boolean", "a number"),
        ("flag", "\"true\"", "a boolean", "text"),
    ] {
        let detail = format!("`f.{name}`: expected {expected}, found {found}");
        refuses_feature(name, value, RejectReason::WrongType, &detail);
    }
    let detail = "`f`: expected an object, found text";
    refuses_json(r#"{"t":1,"v":"1","f":"x"}"#, RejectReason::WrongType, detail);
    let detail = "`list`: expected an array, found an object";
    refuses_json(r#"{"t":1,"v":"1","list":{"2":1}}"#, RejectReason::WrongType, detail);
    let detail = "`t`: expected a number, found text";
    refuses_json(r#"{"t":"1","v":"1"}"#, RejectReason::WrongType, detail);
    let detail = "`v`: expected text or a number, found a boolean";
    refuses_json(r#"{"t":1,"v":true}"#, RejectReason::WrongType, detail);
}

#[test]
fn numbers_beyond_their_column_are_refused() {
    for (name, value, width) in [
        ("single", "1e39", "f32"),
        ("double", "-1e309", "f64"),
        ("whole", "9223372036854775808", "i64"),
        ("whole", "1e300", "i64"),
    ] {
        let detail = format!("`f.{name}`: a number beyond the range of {width}");
        refuses_feature(name, value, RejectReason::NumberOutOfRange, &detail);
    }
    assert_eq!(decode(r#"{"t":1,"v":"1","skipped":1e999}"#).rows.len(), 1);
}

#[test]
fn not_a_number_and_infinities_are_read_from_text() {
    let decoded = decode(
        r#"{"t":1,"v":"1","f":{"single":"-Infinity","double":"N\u0061N"},"list":[0,0,"Infinity"]}"#,
    );
    let batch = decoded.batches[0].as_ref().unwrap();
    assert_eq!(batch.column(0).as_primitive::<Float32Type>().value(0), f32::NEG_INFINITY);
    assert!(batch.column(1).as_primitive::<Float64Type>().value(0).is_nan());
    assert_eq!(batch.column(5).as_primitive::<Float64Type>().value(0), f64::INFINITY);
}

#[test]
fn times_outside_the_accepted_years_or_format_are_refused() {
    let detail = "`t`: expected Unix milliseconds in the years 1870 to 9999";
    for time in ["1364806800000000", "-9e15", "1e999", "99999999999999999999"] {
        refuses_json(&format!(r#"{{"t":{time},"v":"1"}}"#), RejectReason::InvalidTime, detail);
    }
    let mut schema = (*one_model()).clone();
    schema.time_format = TimeFormat::Rfc3339;
    let payloads = [
        r#"{"t":"2013-04-01T09:00:00Z","v":"1"}"#,
        r#"{"t":"yesterday","v":"1"}"#,
        r#"{"t":1364806800,"v":"1"}"#,
    ];
    let decoded = decode_all(Arc::new(schema), &payloads.map(|payload| Some(payload.as_bytes())));
    assert_eq!(decoded.rows[0].event_time, Timestamp::from_millis(1_364_806_800_000));
    let found: Vec<_> =
        decoded.rejections.iter().map(|it| (it.reason, it.detail.as_str())).collect();
    assert_eq!(
        found,
        [
            (RejectReason::InvalidTime, "`t`: expected RFC 3339 text in the years 1870 to 9999"),
            (RejectReason::WrongType, "`t`: expected RFC 3339 text, found a number"),
        ]
    );
}

#[test]
fn hostile_names_are_refused() {
    let json = |version: &str| format!(r#"{{"t":1,"v":{version}}}"#);
    let long = format!("\"{}\"", "v".repeat(129));
    for (version, detail) in [
        (r#""""#, "the model's version is empty"),
        (r#""a\u0000b""#, "the model's version has a control character"),
        (long.as_str(), "the model's version has 129 bytes"),
    ] {
        refuses_json(&json(version), RejectReason::InvalidName, detail);
    }
    let segment = |value: &str| format!(r#"{{"t":1,"v":"1","s":"{value}"}}"#);
    let detail = "`s`: a segment's value with a control character";
    refuses_json(&segment(r"a\nb"), RejectReason::InvalidName, detail);
    let detail = "`s`: a segment's value of 127 bytes";
    refuses_json(&segment(&"s".repeat(127)), RejectReason::InvalidName, detail);
    let detail = "`f.category`: a category of 257 bytes, more than 256";
    let value = format!("\"{}\"", "c".repeat(257));
    refuses_feature("category", &value, RejectReason::InvalidName, detail);
    assert_eq!(level(&format!("\"{}\"", "c".repeat(256))), Some("c".repeat(256)));
}

#[test]
fn every_segment_that_is_taken_is_one_the_catalogue_takes() {
    for (value, taken) in [
        ("", true),
        ("s".repeat(126).as_str(), true),
        ("s".repeat(127).as_str(), false),
        ("\u{85}", false),
        ("größe", true),
    ] {
        let decoded = decode(&format!(r#"{{"t":1,"v":"1","s":"{value}"}}"#));
        assert_eq!(decoded.rows.len() == 1, taken, "{value}");
        assert_eq!(SegmentId::try_new("s", value).is_ok(), taken, "{value}");
    }
}

#[test]
fn numbers_and_booleans_are_categories_as_they_are_written() {
    for (json_value, expected) in [
        ("\"a\"", "a"),
        ("\"\"", ""),
        ("1", "1"),
        ("1.50", "1.50"),
        ("1e999", "1e999"),
        ("true", "true"),
        (r#""\u00e9\n\"""#, "é\n\""),
    ] {
        assert_eq!(level(json_value).as_deref(), Some(expected));
    }
}

#[test]
fn versions_may_be_numbers() {
    assert_eq!(decode(r#"{"t":1,"v":2.10}"#).versions, ["2.10".into()]);
}

#[test]
fn of_repeated_keys_the_last_counts() {
    for (json, expected) in [
        (r#"{"t":1,"v":"1","f":{"whole":1,"whole":2}}"#, Some(2)),
        (r#"{"t":1,"v":"1","f":{"whole":true,"whole":2}}"#, Some(2)),
        (r#"{"t":1,"v":"1","f":"x","f":{"whole":2}}"#, Some(2)),
        (r#"{"t":1,"v":"1","f":{"whole":2},"f":{}}"#, None),
        (r#"{"t":1,"v":"1","f":{"whole":2},"f":null}"#, None),
        (r#"{"t":1,"v":"1","f":{"who\u006ce":2}}"#, Some(2)),
    ] {
        let decoded = decode(json);
        let batch = decoded.batches[0].as_ref().unwrap();
        let whole = batch.column(2).as_primitive::<Int64Type>();
        assert_eq!(whole.is_valid(0).then(|| whole.value(0)), expected, "{json}");
    }
    refuses_json(
        r#"{"t":1,"v":"1","f":{"whole":2},"f":3}"#,
        RejectReason::WrongType,
        "`f`: expected an object, found a number",
    );
}

#[test]
fn a_refused_record_leaves_no_level_and_no_version_behind() {
    let bad: Option<&[u8]> =
        Some(br#"{"t":1,"v":"bad","f":{"category":"bad"},"list":true,"s":"bad"}"#);
    let good: Option<&[u8]> = Some(br#"{"t":1,"v":"1","f":{"category":"good"},"s":"good"}"#);
    let decoded = decode_all(one_model(), &[bad, good]);
    assert_eq!(decoded.versions, ["1".into()]);
    for column in [3, 6] {
        let batch = decoded.batches[0].as_ref().unwrap();
        assert_eq!(categorical_column(batch.column(column)).unwrap().column().levels, ["good"]);
    }
}

/// Two models of one topic that read the same value differently.
fn two_models() -> Arc<SourceSchema> {
    let model = |name: &str, features| ModelSchema {
        name: name.into(),
        version: VersionField::Fixed("1".into()),
        prediction_id: None,
        features,
        segments: vec![],
    };
    let models = vec![
        model("whole", vec![feature("prediction", FeatureKind::Integer)]),
        model("part", vec![feature("prediction.score", FeatureKind::Float64)]),
    ];
    let by = Some(path("model"));
    Arc::new(SourceSchema::try_new(path("t"), TimeFormat::UnixSeconds, by, models).unwrap())
}

#[test]
fn records_go_to_the_model_they_name() {
    let payloads = [
        r#"{"t":1,"prediction":7,"model":"whole"}"#,
        r#"{"t":2,"prediction":{"score":0.5},"model":"part"}"#,
        r#"{"t":3,"prediction":8,"model":"whole"}"#,
        r#"{"t":4,"model":"other"}"#,
        r#"{"t":5,"model":"oth\u0000r"}"#,
        r#"{"t":6,"model":1}"#,
        r#"{"t":7}"#,
        r#"{"t":8,"prediction":{"score":0.5},"model":"whole"}"#,
        r#"{"t":9,"prediction":1e999,"model":"whole"}"#,
        r#"{"t":9,"prediction":1e999,"model":"part"}"#,
    ];
    let decoded = decode_all(two_models(), &payloads.map(|payload| Some(payload.as_bytes())));
    assert_eq!(decoded.rows.iter().map(|row| row.model).collect::<Vec<_>>(), [0, 1, 0]);
    let column = |model: usize| decoded.batches[model].as_ref().unwrap().column(0);
    assert_eq!(column(0).as_primitive::<Int64Type>().values(), &[7, 8]);
    assert_eq!(column(1).as_primitive::<Float64Type>().values(), &[0.5]);
    let found: Vec<_> =
        decoded.rejections.iter().map(|it| (it.reason, it.detail.as_str())).collect();
    assert_eq!(
        found,
        [
            (RejectReason::UnknownModel, "`model`: no configured model has this name of 5 bytes"),
            (
                RejectReason::InvalidName,
                "`model`: no name, or too long or with a control character, of 5 bytes"
            ),
            (RejectReason::WrongType, "`model`: expected text, found a number"),
            (RejectReason::MissingField, "`model`: absent or null"),
            (RejectReason::WrongType, "`prediction`: expected a whole number, found an object"),
            (RejectReason::NumberOutOfRange, "`prediction`: a number beyond the range of i64"),
            (RejectReason::WrongType, "`prediction`: expected an object, found a number"),
        ]
    );
}

#[test]
fn columns_of_a_batch_are_what_detectors_view() {
    let decoded = decode(r#"{"t":1,"v":"1","f":{"single":1,"whole":2}}"#);
    let batch = decoded.batches[0].as_ref().unwrap();
    for column in [0, 1, 2, 5] {
        assert!(numeric_column(batch.column(column)).is_ok());
    }
    for column in [3, 4, 6] {
        assert!(categorical_column(batch.column(column)).is_ok());
    }
}
