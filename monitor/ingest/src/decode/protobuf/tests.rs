//! What single messages and types become, one rule at a time.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};

use super::samples::{counted, tag, varint};
use super::*;
use crate::columns::categorical_column;
use crate::path::FieldPath;
use crate::rejection::RejectReason;
use crate::schema::{FeatureField, FeatureKind, ModelSchema, TimeFormat, VersionField};

pub(super) const LIMITS: DecodeLimits =
    DecodeLimits { payload_bytes_max: 1 << 16, rows_max: 4, cells_max: 64 };

fn path(text: &str) -> FieldPath {
    FieldPath::parse(text).unwrap()
}

pub(super) fn source(
    time: &str,
    time_format: TimeFormat,
    features: &[(&str, FeatureKind)],
) -> Arc<SourceSchema> {
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
    Arc::new(SourceSchema::try_new(path(time), time_format, None, vec![model]).unwrap())
}

/// Compiles a file's text, with files beside it.
pub(super) fn descriptors(text: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/schemas");
    let mut files = protox::file::ChainFileResolver::new();
    files.add(Text(text.to_owned()));
    files.add(protox::file::GoogleFileResolver::new());
    files.add(protox::file::IncludeFileResolver::new(folder.join("proto")));
    files.add(protox::file::IncludeFileResolver::new(folder.join("cloudevents")));
    let mut compiler = protox::Compiler::with_file_resolver(files);
    compiler.include_imports(true).open_file("test.proto").unwrap();
    compiler.encode_file_descriptor_set()
}

struct Text(String);

impl protox::file::FileResolver for Text {
    fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
        if name == "test.proto" {
            return protox::file::File::from_source(name, &self.0);
        }
        Err(protox::Error::file_not_found(name))
    }
}

pub(super) fn schema(text: &str) -> ProtobufSchema {
    ProtobufSchema::parse(&descriptors(text)).unwrap()
}

pub(super) fn message(payload: &[u8]) -> Message<'_> {
    Message { payload: Some(payload), offset: 0, timestamp: None, envelope: &[] }
}

/// Decodes one message of the type `M`.
fn decode(text: &str, source: &Arc<SourceSchema>, payload: &[u8]) -> Decoded {
    let schema = schema(text);
    let program = ProtobufProgram::compile(source, &schema, schema.message("M").unwrap()).unwrap();
    let mut decoder = ProtobufDecoder::new(Arc::clone(source), ProtobufFraming::Bare, LIMITS);
    assert_eq!(decoder.missing(&message(payload)), Some(SchemaId::ONLY));
    decoder.learn(SchemaId::ONLY, program);
    decoder.decode(&message(payload));
    decoder.finish()
}

/// Decodes the event time 1 and the bytes behind it, by fields beside `t`.
fn read(head: &str, fields: &str, wanted: (&str, FeatureKind), bytes: &[u8]) -> Decoded {
    let label = if head.contains("proto2") { "optional " } else { "" };
    let text = format!("{head} message M {{ {label}int64 t = 15; {fields} }}");
    let source = source("t", TimeFormat::UnixMillis, &[wanted]);
    decode(&text, &source, &[&[0x78, 1], bytes].concat())
}

pub(super) const PROTO3: &str = "syntax = \"proto3\";";
const PROTO2: &str = "syntax = \"proto2\";";
pub(super) const NUMBER: (&str, FeatureKind) = ("x", FeatureKind::Float64);
const WHOLE: (&str, FeatureKind) = ("x", FeatureKind::Integer);
const TEXT: (&str, FeatureKind) = ("x", FeatureKind::Categorical);

fn refused(decoded: &Decoded) -> (RejectReason, &str) {
    let rejection = decoded.rejections.first().expect("the message is refused");
    (rejection.reason, &rejection.detail)
}

fn wholes(decoded: &Decoded, column: usize) -> Vec<Option<i64>> {
    assert_eq!(decoded.rejections, []);
    let batch = decoded.batches[0].as_ref().unwrap();
    batch.column(column).as_primitive::<Int64Type>().iter().collect()
}

fn floats(decoded: &Decoded, column: usize) -> Vec<Option<f64>> {
    assert_eq!(decoded.rejections, []);
    let batch = decoded.batches[0].as_ref().unwrap();
    batch.column(column).as_primitive::<Float64Type>().iter().collect()
}

fn text(decoded: &Decoded, column: usize) -> Option<String> {
    assert_eq!(decoded.rejections, []);
    let batch = decoded.batches[0].as_ref().unwrap();
    let values = batch.column(column);
    let view = categorical_column(values).unwrap();
    let view = view.column();
    (values.null_count() == 0).then(|| view.levels[view.keys[0] as usize].to_owned())
}

#[test]
fn a_field_without_presence_has_its_default_value_and_others_are_null() {
    for (head, fields, expected) in [
        (PROTO3, "int32 x = 1;", Some(0)),
        (PROTO3, "optional int32 x = 1;", None),
        (PROTO3, "oneof o { int32 x = 1; int32 y = 2; }", None),
        (PROTO3, "message N { int32 x = 1; } N n = 1;", None),
        (PROTO2, "optional int32 x = 1;", None),
        (PROTO2, "optional int32 x = 1 [default = 7];", None),
    ] {
        let wanted = if fields.contains("N n") { ("n.x", FeatureKind::Integer) } else { WHOLE };
        assert_eq!(wholes(&read(head, fields, wanted, &[]), 0), [expected], "{head} {fields}");
    }
    // A message that is there and empty.
    let fields = "message N { int32 x = 1; } N n = 1;";
    let decoded = read(PROTO3, fields, ("n.x", FeatureKind::Integer), &[0x0a, 0]);
    assert_eq!(wholes(&decoded, 0), [Some(0)]);
    let decoded = read(PROTO3, "enum E { A = 0; B = 1; } E x = 1;", TEXT, &[]);
    assert_eq!(text(&decoded, 0).as_deref(), Some("A"));
    assert_eq!(text(&read(PROTO3, "string x = 1;", TEXT, &[]), 0).as_deref(), Some(""));
}

#[test]
fn the_last_value_counts_and_messages_are_merged() {
    assert_eq!(wholes(&read(PROTO3, "int32 x = 1;", WHOLE, &[8, 5, 8, 6]), 0), [Some(6)]);
    let fields = "message N { int32 x = 1; int32 y = 2; } N n = 1;";
    let bytes = [0x0a, 2, 8, 5, 0x0a, 2, 16, 6, 0x0a, 0];
    let decoded = read(PROTO3, fields, ("n.x", FeatureKind::Integer), &bytes);
    assert_eq!(wholes(&decoded, 0), [Some(5)]);
    // Of several that exclude each other the last one is there, and what it excludes is anew.
    let fields = "message N { int32 x = 1; int32 y = 2; } oneof o { N n = 1; int32 k = 2; }";
    let wanted = ("n.x", FeatureKind::Integer);
    let decoded = read(PROTO3, fields, wanted, &[0x0a, 2, 8, 5, 16, 1]);
    assert_eq!(wholes(&decoded, 0), [None]);
    let decoded = read(PROTO3, fields, wanted, &[0x0a, 2, 8, 5, 16, 1, 0x0a, 2, 16, 1]);
    assert_eq!(wholes(&decoded, 0), [Some(0)]);
}

#[test]
fn whole_numbers_of_every_type_are_read() {
    let minus_one = varint(u64::MAX);
    for (kind, bytes, expected) in [
        ("int32", [&[8], &minus_one[..]].concat(), -1),
        // More than its bits are cut off.
        ("int32", [&[8], &varint(1 << 32 | 5)[..]].concat(), 5),
        ("uint32", [&[8], &minus_one[..]].concat(), u32::MAX.into()),
        ("int64", [&[8], &minus_one[..]].concat(), -1),
        ("uint64", vec![8, 0x80, 1], 128),
        ("sint32", vec![8, 3], -2),
        ("sint64", [&[8], &minus_one[..]].concat(), i64::MIN),
        ("fixed32", vec![0x0d, 0xff, 0xff, 0xff, 0xff], u32::MAX.into()),
        ("sfixed32", vec![0x0d, 0xff, 0xff, 0xff, 0xff], -1),
        ("fixed64", vec![9, 1, 0, 0, 0, 0, 0, 0, 0], 1),
        ("sfixed64", [&[9][..], &[0xff; 8]].concat(), -1),
    ] {
        let decoded = read(PROTO3, &format!("{kind} x = 1;"), WHOLE, &bytes);
        assert_eq!(wholes(&decoded, 0), [Some(expected)], "{kind}");
    }
    let large = [&[8], &minus_one[..]].concat();
    let decoded = read(PROTO3, "uint64 x = 1;", WHOLE, &large);
    assert_eq!(refused(&decoded).0, RejectReason::NumberOutOfRange);
    let decoded = read(PROTO3, "uint64 x = 1;", TEXT, &large);
    assert_eq!(text(&decoded, 0), Some(u64::MAX.to_string()));
}

#[test]
fn enums_are_their_names_or_their_number_as_text() {
    let fields = "enum E { option allow_alias = true; A = 0; B = 1; C = 1; D = -3; } E x = 1;";
    let number = |number: i64| [vec![8], varint(number.cast_unsigned())].concat();
    for (bytes, expected) in [(number(1), "B"), (number(-3), "D"), (number(9), "9")] {
        assert_eq!(text(&read(PROTO3, fields, TEXT, &bytes), 0).as_deref(), Some(expected));
    }
    let decoded = read(PROTO3, fields, WHOLE, &number(9));
    assert_eq!(
        refused(&decoded),
        (RejectReason::WrongType, "`x`: expected a whole number, found text")
    );
}

#[test]
fn numbers_that_lie_together_and_alone_are_one_list() {
    let fields = "repeated double x = 1;";
    let double = |number: f64| number.to_le_bytes();
    let mut bytes = vec![9];
    bytes.extend(double(1.0));
    tag(1, 2, &mut bytes);
    counted(&[double(2.0), double(3.0)].concat(), &mut bytes);
    bytes.push(9);
    bytes.extend(double(4.0));
    for (wanted, expected) in [
        ("x[]", &[Some(1.0), Some(2.0), Some(3.0), Some(4.0)][..]),
        ("x[2]", &[Some(3.0)]),
        ("x[4]", &[None]),
    ] {
        let decoded = read(PROTO3, fields, (wanted, FeatureKind::Float64), &bytes);
        assert_eq!(floats(&decoded, 0), expected, "{wanted}");
    }
    let decoded = read(PROTO3, fields, ("x[]", FeatureKind::Float64), &bytes.repeat(2));
    assert_eq!(
        refused(&decoded),
        (RejectReason::TooManyRows, "`x[]` has 8 elements: more than 4 rows")
    );
    let decoded = read(PROTO3, fields, ("x[]", FeatureKind::Float64), &[]);
    assert_eq!((decoded.rows.len(), decoded.rejections.len(), decoded.messages), (0, 0, 1));
    let decoded = read(PROTO3, fields, NUMBER, &[]);
    assert_eq!(refused(&decoded).0, RejectReason::WrongType);
}

#[test]
fn a_map_has_its_keys_and_of_repeated_ones_the_last_counts() {
    let fields =
        "map<string, int32> x = 1; message N { optional int32 a = 1; optional int32 b = 2; }
        map<sint64, N> n = 2; map<bool, string> s = 3;";
    let entry = |bytes: &[u8]| {
        let mut out = Vec::new();
        tag(1, 2, &mut out);
        counted(bytes, &mut out);
        out
    };
    let (k5, k6, none) =
        (entry(b"\x0a\x01k\x10\x05"), entry(b"\x10\x06\x0a\x01k"), entry(b"\x0a\x01k"));
    let wanted = ("x.k", FeatureKind::Integer);
    for (bytes, expected) in [
        ([&k5[..], &k6].concat(), Some(6)),
        ([&k6[..], &k5].concat(), Some(5)),
        ([&k6[..], &none].concat(), Some(0)),
        (entry(b"\x0a\x01l\x10\x05"), None),
        (vec![], None),
    ] {
        assert_eq!(wholes(&read(PROTO3, fields, wanted, &bytes), 0), [expected]);
    }
    // Two entries with the key -7: nothing of the first is left.
    let bytes = [0x12, 6, 8, 13, 0x12, 2, 8, 1, 0x12, 6, 8, 13, 0x12, 2, 16, 2];
    for (path, expected) in [("n.-7.a", None), ("n.-7.b", Some(2)), ("n.7.b", None)] {
        let decoded = read(PROTO3, fields, (path, FeatureKind::Integer), &bytes);
        assert_eq!(wholes(&decoded, 0), [expected], "{path}");
    }
    let bytes = [0x1a, 5, 8, 1, 0x12, 1, b'y'];
    let decoded = read(PROTO3, fields, ("s.true", FeatureKind::Categorical), &bytes);
    assert_eq!(text(&decoded, 0).as_deref(), Some("y"));
}

#[test]
fn a_field_is_known_by_its_name_in_json_too() {
    let fields = "int32 user_age = 1; int32 other = 2 [json_name = \"Other\"];";
    for (path, expected) in [("user_age", 5), ("userAge", 5), ("Other", 6), ("other", 6)] {
        let decoded = read(PROTO3, fields, (path, FeatureKind::Integer), &[8, 5, 16, 6]);
        assert_eq!(wholes(&decoded, 0), [Some(expected)], "{path}");
    }
    let both = [("user_age", FeatureKind::Integer), ("userAge", FeatureKind::Integer)];
    let text = format!("{PROTO3} message M {{ int64 t = 15; {fields} }}");
    let source = source("t", TimeFormat::UnixMillis, &both);
    let decoded = decode(&text, &source, &[0x78, 1, 8, 5]);
    assert_eq!((wholes(&decoded, 0), wholes(&decoded, 1)), (vec![Some(5)], vec![Some(5)]));
}

#[test]
fn wrappers_are_their_value_and_null_when_they_are_absent() {
    let head = format!("{PROTO3} import \"google/protobuf/wrappers.proto\";");
    let fields = "google.protobuf.DoubleValue x = 1;";
    let value = [&[0x0a, 9, 9], &1.5_f64.to_le_bytes()[..]].concat();
    for (path, bytes, expected) in [
        ("x", value.clone(), Some(1.5)),
        ("x", [&value[..], &[0x0a, 0]].concat(), Some(1.5)),
        ("x", vec![0x0a, 0], Some(0.0)),
        ("x", vec![], None),
        ("x.value", value, Some(1.5)),
        ("x.value", vec![], None),
    ] {
        let decoded = read(&head, fields, (path, FeatureKind::Float64), &bytes);
        assert_eq!(floats(&decoded, 0), [expected], "{path} {bytes:?}");
    }
}

#[test]
fn a_timestamp_is_an_event_time_whatever_the_source_says() {
    let text = format!(
        "{PROTO3} import \"google/protobuf/timestamp.proto\";
         message M {{ google.protobuf.Timestamp t = 1; int32 x = 2; }}"
    );
    let time = |seconds: i64, nanos: i32| {
        let mut inner = vec![8];
        inner.extend(varint(seconds.cast_unsigned()));
        inner.push(16);
        inner.extend(varint(i64::from(nanos).cast_unsigned()));
        let mut out = vec![0x0a];
        counted(&inner, &mut out);
        out
    };
    for format in [TimeFormat::Rfc3339, TimeFormat::UnixSeconds] {
        let source = source("t", format, &[WHOLE]);
        for (payload, expected) in [
            (time(1_364_806_800, 250_999_999), Some(1_364_806_800_250)),
            (time(-1, 999_999_999), Some(-1)),
            (vec![0x0a, 0], Some(0)),
            // In two parts, of which the second one has 5,000,000 nanoseconds.
            (vec![0x0a, 2, 8, 7, 0x0a, 5, 16, 0xc0, 0x96, 0xb1, 2], Some(7_005)),
            (time(i64::MAX, 0), None),
        ] {
            let decoded = decode(&text, &source, &payload);
            let found = decoded.rows.first().map(|row| row.event_time.as_millis());
            assert_eq!(found, expected);
            if expected.is_none() {
                assert_eq!(refused(&decoded).0, RejectReason::InvalidTime);
            }
        }
        let decoded = decode(&text, &source, &[16, 1]);
        assert_eq!(refused(&decoded), (RejectReason::MissingField, "`t`: absent or null"));
    }
    let source = source("t.seconds", TimeFormat::UnixSeconds, &[("t", FeatureKind::Float64)]);
    let decoded = decode(&text, &source, &time(7, 0));
    let expected =
        "`t`: expected a number, \"NaN\", \"Infinity\" or \"-Infinity\", found a timestamp";
    assert_eq!(refused(&decoded), (RejectReason::WrongType, expected));
}

#[test]
fn a_required_field_has_to_be_there_in_a_message_that_is_read() {
    let fields = "message N { required int32 a = 1; optional int32 b = 2; } optional N n = 1;
        required int32 x = 2;";
    let wanted = ("n.b", FeatureKind::Integer);
    for (bytes, problem) in [
        (&[16, 1][..], None),
        (&[], Some("`x`: required and absent")),
        (&[16, 1, 0x0a, 2, 16, 7], Some("`n.a`: required and absent")),
        (&[0x0a, 2, 16, 7, 16, 1, 0x0a, 2, 8, 7], None),
    ] {
        let decoded = read(PROTO2, fields, wanted, bytes);
        let expected = problem.map(|it| (RejectReason::InvalidProtobuf, it));
        let found = decoded.rejections.first().map(|it| (it.reason, &*it.detail));
        assert_eq!(found, expected);
    }
    // Nobody looks into the message.
    let decoded = read(PROTO2, fields, WHOLE, &[16, 1, 0x0a, 2, 16, 7]);
    assert_eq!(wholes(&decoded, 0), [Some(1)]);
}

#[test]
fn groups_are_messages_too() {
    let fields = "optional group G = 1 { optional int32 x = 1; }
        repeated group R = 2 { optional int32 y = 1; }";
    let bytes = [0x0b, 8, 5, 0x13, 0x14, 0x0c, 0x13, 8, 1, 0x14, 0x13, 8, 2, 0x14];
    for (path, expected) in
        [("g.x", &[Some(5)][..]), ("r[].y", &[Some(1), Some(2)]), ("r[1].y", &[Some(2)])]
    {
        let decoded = read(PROTO2, fields, (path, FeatureKind::Integer), &bytes);
        assert_eq!(wholes(&decoded, 0), expected, "{path}");
    }
}

#[test]
fn bytes_that_are_no_message_are_refused_and_say_where() {
    let long = [&[8][..], &[0xff; 9], &[2]].concat();
    let deep = [0x4b; 101];
    for (bytes, problem) in [
        (&[8][..], "at byte 3: the message ends inside of a value"),
        (&[8, 0x80], "at byte 4: the message ends inside of a value"),
        (&[0x12, 5, 1], "at byte 3: the message ends inside of a value"),
        (&[0x1d, 1, 2, 3], "at byte 3: the message ends inside of a value"),
        (&long, "at byte 3: a number of more than 64 bits"),
        (&[0, 1], "at byte 2: a tag of no field"),
        (&[0x0e, 1], "at byte 2: a tag of no field"),
        (&[0xff, 0xff, 0xff, 0xff, 0x1f], "at byte 2: a tag of no field"),
        (&[0x4c], "at byte 3: a group ends that did not begin"),
        (&[0x4b, 0x54], "at byte 3: a group ends that did not begin"),
        (&[0x4b, 8, 1], "at byte 5: the message ends inside of a value"),
        (&deep, "at byte 102: groups nested too deep"),
    ] {
        let decoded = read(PROTO3, "int32 x = 1; string s = 2; fixed32 f = 3;", WHOLE, bytes);
        assert_eq!(refused(&decoded), (RejectReason::InvalidProtobuf, problem), "{bytes:?}");
    }
    // A packed list that ends inside of an element.
    let decoded = read(
        PROTO3,
        "repeated float x = 1;",
        ("x[0]", FeatureKind::Float64),
        &[0x0a, 5, 0, 0, 0, 0, 0],
    );
    assert_eq!(refused(&decoded).0, RejectReason::InvalidProtobuf);
}

#[test]
fn a_known_field_in_another_form_is_an_unknown_one() {
    for bytes in [&[0x0a, 1, 5][..], &[9, 1, 2, 3, 4, 5, 6, 7, 8], &[0x0b, 0x0c]] {
        let decoded = read(PROTO3, "optional int32 x = 1;", WHOLE, bytes);
        assert_eq!(wholes(&decoded, 0), [None], "{bytes:?}");
    }
}

#[test]
fn what_does_not_fit_is_named_with_its_path() {
    for (fields, wanted, bytes, expected) in [
        (
            "bytes x = 1;",
            NUMBER,
            &[][..],
            "`x`: expected a number, \"NaN\", \"Infinity\" or \"-Infinity\", found text",
        ),
        (
            "message N {} N x = 1;",
            TEXT,
            &[0x0a, 0],
            "`x`: expected text, a number or a boolean, \
            found a message or a map",
        ),
        (
            "int32 x = 1;",
            ("x.y", FeatureKind::Float64),
            &[],
            "`x`: expected a message or a map, \
            found a number",
        ),
        (
            "repeated int32 x = 1;",
            ("x.y", FeatureKind::Float64),
            &[],
            "`x`: expected a message or \
            a map, found an array",
        ),
        (
            "optional int32 x = 1;",
            ("x[0]", FeatureKind::Float64),
            &[8, 1],
            "`x`: expected an \
            array, found a number",
        ),
        (
            "map<string, int32> x = 1;",
            ("x[]", FeatureKind::Float64),
            &[],
            "`x`: expected an \
            array, found a message or a map",
        ),
    ] {
        let decoded = read(PROTO3, fields, wanted, bytes);
        assert_eq!(refused(&decoded), (RejectReason::WrongType, expected));
    }
    let decoded = read(PROTO3, "string x = 1;", TEXT, &[0x0a, 2, 0xc3, 0x28]);
    assert_eq!(refused(&decoded), (RejectReason::InvalidUtf8, "`x`: text that is not UTF-8"));
}

/// Each of two bytes undoes what the other said of all paths.
#[test]
fn values_that_replace_each_other_without_end_are_refused() {
    let fields = "oneof one { N n = 1; int32 i = 2; } message N { int32 a = 1; int32 b = 2; }";
    let wanted = ("n.a", FeatureKind::Integer);
    let turns = |count: usize| [0x10, 1, 0x0a, 2, 8, 7].repeat(count);
    assert_eq!(wholes(&read(PROTO3, fields, wanted, &turns(10)), 0), [Some(7)]);
    let decoded = read(PROTO3, fields, wanted, &turns(2_000));
    let (reason, detail) = refused(&decoded);
    assert_eq!(reason, RejectReason::InvalidProtobuf);
    assert_eq!(detail, "values replace each other more than 128 times");
    // A scalar where paths lead into it.
    let decoded = read(PROTO3, "int32 x = 1;", ("x.a", FeatureKind::Integer), &[8, 1].repeat(999));
    assert_eq!(refused(&decoded).0, RejectReason::InvalidProtobuf);
}

/// Values of a repeated field inside of a map of messages, as in requests of Tensorflow Serving.
#[test]
fn tensors_of_real_requests_are_rows() {
    let text = format!(
        "{PROTO3} import \"tensorflow_serving/apis/predict.proto\";
         message M {{ int64 t = 1; tensorflow.serving.PredictRequest request = 2; }}"
    );
    let nested = |number: u32, bytes: &[u8]| {
        let mut out = Vec::new();
        tag(number, 2, &mut out);
        counted(bytes, &mut out);
        out
    };
    let floats_of = |numbers: &[f32]| {
        let bytes: Vec<u8> = numbers.iter().flat_map(|it| it.to_le_bytes()).collect();
        nested(5, &bytes)
    };
    let input = |name: &str, tensor: &[u8]| {
        nested(2, &[nested(1, name.as_bytes()), nested(2, tensor)].concat())
    };
    let spec = nested(1, &nested(1, b"iris"));
    let age = [vec![8, 1], floats_of(&[30.5, 41.0, 7.0])].concat();
    let request = [spec, input("age", &age), input("size", &floats_of(&[1.0, 2.0, 3.0]))].concat();
    let payload = [vec![8, 7], nested(2, &request)].concat();
    let source = source(
        "t",
        TimeFormat::UnixSeconds,
        &[
            ("request.inputs.age.float_val[]", FeatureKind::Float64),
            ("request.inputs.size.float_val[]", FeatureKind::Float64),
            ("request.model_spec.name", FeatureKind::Categorical),
            ("request.inputs.age.dtype", FeatureKind::Categorical),
            ("request.model_spec.version.value", FeatureKind::Integer),
        ],
    );
    let decoded = decode(&text, &source, &payload);
    assert_eq!(floats(&decoded, 0), [Some(30.5), Some(41.0), Some(7.0)]);
    assert_eq!(floats(&decoded, 1), [Some(1.0), Some(2.0), Some(3.0)]);
    assert_eq!(text_of(&decoded, 2), "iris");
    assert_eq!(text_of(&decoded, 3), "DT_FLOAT");
    assert_eq!(wholes(&decoded, 4), [None; 3]);
}

fn text_of(decoded: &Decoded, column: usize) -> String {
    text(decoded, column).expect("a value")
}

#[test]
fn requests_of_the_open_inference_protocol_and_cloudevents_are_read() {
    let text = format!(
        "{PROTO3} import \"open_inference_grpc.proto\"; import \"cloudevents.proto\";
         message M {{ inference.ModelInferRequest request = 1; io.cloudevents.v1.CloudEvent event = 2; }}"
    );
    let nested = |number: u32, bytes: &[u8]| {
        let mut out = Vec::new();
        tag(number, 2, &mut out);
        counted(bytes, &mut out);
        out
    };
    let contents: Vec<u8> = [1.5_f64, 2.5].iter().flat_map(|it| it.to_le_bytes()).collect();
    let input = [nested(1, b"x"), nested(5, &nested(7, &contents))].concat();
    let parameter = [nested(1, b"who"), nested(2, &nested(3, b"me"))].concat();
    let request = [nested(1, b"iris"), nested(4, &parameter), nested(5, &input)].concat();
    let time = nested(2, &nested(7, &[8, 7]));
    let event = nested(5, &[nested(1, b"time"), time].concat());
    let payload = [nested(2, &event), nested(1, &request)].concat();
    let source = source(
        "event.attributes.time.ce_timestamp",
        TimeFormat::Rfc3339,
        &[
            ("request.inputs[0].contents.fp64_contents[]", FeatureKind::Float64),
            ("request.parameters.who.string_param", FeatureKind::Categorical),
            ("request.parameters.who.int64_param", FeatureKind::Integer),
        ],
    );
    let decoded = decode(&text, &source, &payload);
    assert_eq!(floats(&decoded, 0), [Some(1.5), Some(2.5)]);
    assert_eq!(text_of(&decoded, 1), "me");
    assert_eq!(wholes(&decoded, 2), [None; 2]);
    assert_eq!(decoded.rows[0].event_time.as_millis(), 7_000);
}

#[test]
fn what_only_the_bytes_say_is_read_as_json_is() {
    let head = format!("{PROTO3} import \"google/protobuf/struct.proto\";");
    let fields = "google.protobuf.Struct s = 1; map<string, google.protobuf.Value> m = 2;";
    let nested = |number: u32, bytes: &[u8]| {
        let mut out = Vec::new();
        tag(number, 2, &mut out);
        counted(bytes, &mut out);
        out
    };
    let number = |number: f64| [&[0x11][..], &number.to_le_bytes()].concat();
    let entry = |key: &str, value: &[u8]| {
        nested(1, &[nested(1, key.as_bytes()), nested(2, value)].concat())
    };
    let list = nested(6, &[nested(1, &number(1.0)), nested(1, &[8, 0])].concat());
    let inner = nested(5, &entry("k", &number(2.5)));
    let members = [
        entry("age", &number(41.0)),
        entry("name", &nested(3, b"x")),
        entry("none", &[8, 0]),
        entry("list", &list),
        entry("in", &inner),
        entry("zero", &number(-0.0)),
    ];
    let bytes = nested(1, &members.concat());
    let read = |path: &str, kind| read(&head, fields, (path, kind), &bytes);
    assert_eq!(wholes(&read("s.age", FeatureKind::Integer), 0), [Some(41)]);
    assert_eq!(text(&read("s.age", FeatureKind::Categorical), 0).as_deref(), Some("41"));
    assert_eq!(text(&read("s.zero", FeatureKind::Categorical), 0).as_deref(), Some("-0.0"));
    assert_eq!(text(&read("s.name", FeatureKind::Categorical), 0).as_deref(), Some("x"));
    assert_eq!(floats(&read("s.in.k", FeatureKind::Float64), 0), [Some(2.5)]);
    assert_eq!(floats(&read("s.list[]", FeatureKind::Float64), 0), [Some(1.0), None]);
    assert_eq!(floats(&read("s.list[0]", FeatureKind::Float64), 0), [Some(1.0)]);
    for path in ["s.none", "s.none.x", "s.absent", "m.k", "m.k.x"] {
        assert_eq!(floats(&read(path, FeatureKind::Float64), 0), [None], "{path}");
    }
    let decoded = read("s.age.x", FeatureKind::Float64);
    let expected = "`s.age`: expected a message or a map, found a number";
    assert_eq!(refused(&decoded), (RejectReason::WrongType, expected));
}

#[test]
fn paths_that_lead_to_no_field_are_known() {
    let text = format!(
        "{PROTO3} message M {{ int64 t = 1; N n = 2; repeated N l = 3; map<string, N> m = 4; \
         oneof o {{ double x = 5; }} }} message N {{ double y = 1; }}"
    );
    let paths = ["x", "z", "n.y", "n.z", "n.z.a", "l[0].y", "l[0].z", "m.any.y", "m.any.z", "x.y"];
    let features = paths.map(|path| (path, FeatureKind::Float64));
    let (source, schema) = (source("t", TimeFormat::UnixMillis, &features), schema(&text));
    let message = schema.message("M").unwrap();
    let program = Program::Protobuf(ProtobufProgram::compile(&source, &schema, message).unwrap());
    let unknown: Vec<&str> = program.unknown_paths().iter().map(|it| &**it).collect();
    assert_eq!(unknown, ["l[0].z", "m.any.z", "n.z", "z"], "what is no message has its own word");
}
