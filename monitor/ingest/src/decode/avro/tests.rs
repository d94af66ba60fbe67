//! What single messages and schemas become, one rule at a time.

use std::io::Write as _;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::reference::long;
use super::*;
use crate::columns::categorical_column;
use crate::decode::change::ChangeKind;
use crate::decode::framing::{RegistryFraming, SCHEMA_HEADER};
use crate::decode::programs::{PROGRAMS_MAX, ProgramTooLarge};
use crate::decode::schema_id::{SchemaName, Uuid};
use crate::path::FieldPath;
use crate::rejection::RejectReason;
use crate::schema::{FeatureField, FeatureKind, ModelSchema, TimeFormat, VersionField};

const LIMITS: DecodeLimits =
    DecodeLimits { payload_bytes_max: 1 << 16, rows_max: 4, cells_max: 64 };

fn source(time_format: TimeFormat, features: &[(&str, FeatureKind)]) -> Arc<SourceSchema> {
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
    Arc::new(SourceSchema::try_new(path("t"), time_format, None, vec![model]).unwrap())
}

fn program(source: &SourceSchema, writer: &str) -> Arc<AvroProgram> {
    AvroProgram::compile(source, AvroSchema::parse(writer, &[]).unwrap()).unwrap()
}

fn message(payload: &[u8]) -> Message<'_> {
    Message { payload: Some(payload), offset: 0, timestamp: None, envelope: &[] }
}

/// A writer's record of the event time `t` in milliseconds, and a field of some type.
fn record(name: &str, kind: &str) -> String {
    format!(
        r#"{{"type": "record", "name": "R", "fields": [
            {{"name": "t", "type": "long"}}, {{"name": "{name}", "type": {kind}}}]}}"#
    )
}

/// Decodes the event time 0 and the bytes of a field `x` of the type.
fn decode(kind: &str, wanted: (&str, FeatureKind), bytes: &[u8]) -> Decoded {
    let source = source(TimeFormat::UnixMillis, &[wanted]);
    let mut decoder = AvroDecoder::new(Arc::clone(&source), AvroFraming::Bare, LIMITS);
    decoder.learn(SchemaId::ONLY, program(&source, &record("x", kind)));
    decoder.decode(&message(&[&[0], bytes].concat()));
    decoder.finish()
}

fn refused(decoded: &Decoded) -> (RejectReason, &str) {
    let rejection = decoded.rejections.first().expect("the message is refused");
    (rejection.reason, &rejection.detail)
}

fn float(decoded: &Decoded) -> f64 {
    assert_eq!(decoded.rejections, []);
    decoded.batches[0].as_ref().unwrap().column(0).as_primitive::<Float64Type>().value(0)
}

fn text(decoded: &Decoded) -> String {
    assert_eq!(decoded.rejections, []);
    let batch = decoded.batches[0].as_ref().unwrap();
    let view = categorical_column(batch.column(0)).unwrap();
    let view = view.column();
    view.levels[view.keys[0] as usize].to_owned()
}

const NUMBER: (&str, FeatureKind) = ("x", FeatureKind::Float64);
const WHOLE: (&str, FeatureKind) = ("x", FeatureKind::Integer);
const TEXT: (&str, FeatureKind) = ("x", FeatureKind::Categorical);

#[test]
fn each_framing_names_a_schema_and_asks_for_it_once() {
    let source = source(TimeFormat::UnixMillis, &[NUMBER]);
    let writer = record("x", "\"double\"");
    let program = program(&source, &writer);
    let fingerprint = AvroSchema::parse(&writer, &[]).unwrap().fingerprint().unwrap();
    let value = [&[0][..], &1.5f64.to_le_bytes()].concat();
    let head = |head: &[u8]| [head, &value].concat();
    for (framing, payload, id) in [
        (
            AvroFraming::Registry(RegistryFraming::Confluent),
            head(&[0, 0, 0, 1, 2]),
            SchemaId::registered(258),
        ),
        (
            AvroFraming::Registry(RegistryFraming::Apicurio),
            head(&[0, 1, 0, 0, 0, 0, 0, 0, 2]),
            SchemaId::registered((1 << 56) + 2),
        ),
        (
            AvroFraming::SingleObject,
            head(&[&[0xc3, 0x01][..], &fingerprint.to_le_bytes()].concat()),
            SchemaId::of_fingerprint(fingerprint),
        ),
        (
            AvroFraming::Registry(RegistryFraming::Apicurio3),
            head(&[0, 0, 0, 1, 2]),
            SchemaId::registered(258),
        ),
        (
            AvroFraming::Registry(RegistryFraming::Glue),
            head(&[&[3, 0][..], &UUID.0.to_be_bytes()].concat()),
            SchemaId::of(SchemaName::Uuid(UUID)),
        ),
        (
            AvroFraming::Registry(RegistryFraming::Glue),
            [&[3, 5][..], &UUID.0.to_be_bytes(), &deflate(&value)].concat(),
            SchemaId::of(SchemaName::Uuid(UUID)),
        ),
        (AvroFraming::Bare, head(&[]), SchemaId::ONLY),
    ] {
        let mut decoder = AvroDecoder::new(Arc::clone(&source), framing, LIMITS);
        assert_eq!(decoder.missing(&message(&payload)), Some(id.clone()));
        decoder.learn(id, Arc::clone(&program));
        assert_eq!(decoder.missing(&message(&payload)), None);
        assert_eq!(decoder.decode(&message(&payload)), None);
        assert_eq!(decoder.missing(&message(&payload)), None);
        assert_eq!(float(&decoder.finish()), 1.5);
    }
}

const UUID: Uuid = Uuid(0xb7b4_a7f0_9c96_4e4a_a687_fb5d_e9ef_0c63);

fn deflate(value: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(value).unwrap();
    encoder.finish().unwrap()
}

/// As serializers of Confluent write them when they are told to; others begin the value with a
/// number in the meantime.
#[test]
fn a_header_names_a_schema_before_the_value_does() {
    let source = source(TimeFormat::UnixMillis, &[NUMBER]);
    let source = Arc::new((*source).clone().with_header(SCHEMA_HEADER));
    let program = program(&source, &record("x", "\"double\""));
    let value = [&[0][..], &1.5f64.to_le_bytes()].concat();
    let numbered = [&[0, 0, 0, 0, 7][..], &value].concat();
    let header = [&[1][..], &UUID.0.to_be_bytes()].concat();
    let framing = AvroFraming::Registry(RegistryFraming::ConfluentHeader);
    let uuid = SchemaId::of(SchemaName::Uuid(UUID));
    for (header, payload, id) in
        [(Some(&header[..]), &value, uuid), (None, &numbered, SchemaId::registered(7))]
    {
        let envelope = [header];
        let message =
            Message { payload: Some(payload), offset: 0, timestamp: None, envelope: &envelope };
        let mut decoder = AvroDecoder::new(Arc::clone(&source), framing, LIMITS);
        assert_eq!(decoder.missing(&message), Some(id.clone()));
        decoder.learn(id, Arc::clone(&program));
        assert_eq!(decoder.decode(&message), None);
        assert_eq!(float(&decoder.finish()), 1.5);
    }
    for header in [&header[..16], b"", &[0, 0, 0, 0, 7]] {
        let envelope = [Some(header)];
        let message =
            Message { payload: Some(&numbered), offset: 0, timestamp: None, envelope: &envelope };
        let mut decoder = AvroDecoder::new(Arc::clone(&source), framing, LIMITS);
        assert_eq!(decoder.missing(&message), None);
        assert_eq!(decoder.decode(&message).unwrap().reason, RejectReason::InvalidAvro);
    }
}

/// A tombstone has no value that could be one of Avro.
#[test]
fn a_change_that_brings_no_row_is_no_record() {
    let source = source(TimeFormat::UnixMillis, &[WHOLE]);
    let source = (*source).clone().with_change(FieldPath::parse("op").unwrap());
    let source = Arc::new(source);
    let writer = r#"{"type": "record", "name": "Envelope", "fields": [
        {"name": "x", "type": ["null", "long"]}, {"name": "op", "type": "string"},
        {"name": "t", "type": "long"}]}"#;
    let mut decoder = AvroDecoder::new(Arc::clone(&source), AvroFraming::Bare, LIMITS);
    decoder.learn(SchemaId::ONLY, program(&source, writer));
    let created = [2, 14, 2, b'c', 2];
    let deleted = [0, 2, b'd', 2];
    let other = [0, 2, b'x', 2];
    for (offset, payload) in (0..).zip([Some(&created[..]), Some(&deleted), None, Some(&other)]) {
        let message = Message { payload, offset, timestamp: None, envelope: &[] };
        assert!(payload.is_some() || decoder.missing(&message).is_none());
        decoder.decode(&message);
    }
    let decoded = decoder.finish();
    assert_eq!(decoded.rows.len(), 1);
    assert_eq!(refused(&decoded).0, RejectReason::WrongType);
    let expected = [(ChangeKind::Delete, 1), (ChangeKind::Tombstone, 1)];
    assert_eq!(decoded.skipped.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_compressed_value_is_bounded_and_counted_with_the_batch() {
    let source = source(TimeFormat::UnixMillis, &[NUMBER]);
    let framing = AvroFraming::Registry(RegistryFraming::Glue);
    let mut decoder = AvroDecoder::new(Arc::clone(&source), framing, LIMITS);
    let id = SchemaId::of(SchemaName::Uuid(UUID));
    decoder.learn(id, program(&source, &record("x", "\"double\"")));
    let framed = |value: &[u8]| [&[3, 5][..], &UUID.0.to_be_bytes(), value].concat();
    let value = [&[0][..], &1.5f64.to_le_bytes()].concat();
    let bomb = deflate(&vec![0; LIMITS.payload_bytes_max + 1]);
    for (offset, value, reason) in [
        (0, deflate(&value), None),
        (1, bomb, Some(RejectReason::Oversized)),
        (2, value.clone(), Some(RejectReason::InvalidAvro)),
        (3, deflate(&value), None),
    ] {
        let payload = framed(&value);
        let payload = Some(&payload[..]);
        let message = Message { payload, offset, timestamp: None, envelope: &[] };
        assert_eq!(decoder.decode(&message).map(|it| it.reason), reason);
    }
    assert!(LIMITS.payload_bytes_max < decoder.text_bytes(), "{}", decoder.text_bytes());
    assert_eq!(decoder.finish().rows.len(), 2);
    assert_eq!(decoder.text_bytes(), 0);
}

#[test]
fn a_message_that_is_refused_anyway_needs_no_schema() {
    let source = source(TimeFormat::UnixMillis, &[NUMBER]);
    let large = vec![0; LIMITS.payload_bytes_max + 1];
    for (framing, payload, reason) in [
        (AvroFraming::Registry(RegistryFraming::Confluent), None, RejectReason::EmptyPayload),
        (
            AvroFraming::Registry(RegistryFraming::Confluent),
            Some(&[][..]),
            RejectReason::EmptyPayload,
        ),
        (AvroFraming::Registry(RegistryFraming::Confluent), Some(&large), RejectReason::Oversized),
        (
            AvroFraming::Registry(RegistryFraming::Confluent),
            Some(&[0, 0, 0, 1]),
            RejectReason::InvalidAvro,
        ),
        (
            AvroFraming::Registry(RegistryFraming::Confluent),
            Some(&[1, 0, 0, 0, 1, 9]),
            RejectReason::InvalidAvro,
        ),
        (
            AvroFraming::Registry(RegistryFraming::Apicurio),
            Some(&[0, 0, 0, 0, 0, 0, 0, 1]),
            RejectReason::InvalidAvro,
        ),
        (
            AvroFraming::SingleObject,
            Some(&[0xc3, 2, 0, 0, 0, 0, 0, 0, 0, 1]),
            RejectReason::InvalidAvro,
        ),
    ] {
        let mut decoder = AvroDecoder::new(Arc::clone(&source), framing, LIMITS);
        let message = Message { payload, offset: 0, timestamp: None, envelope: &[] };
        assert_eq!(decoder.missing(&message), None);
        assert_eq!(decoder.decode(&message).unwrap().reason, reason);
    }
}

#[test]
fn a_schema_that_was_not_brought_refuses_its_messages_alone() {
    let source = source(TimeFormat::UnixMillis, &[WHOLE]);
    let mut decoder = AvroDecoder::new(
        Arc::clone(&source),
        AvroFraming::Registry(RegistryFraming::Confluent),
        LIMITS,
    );
    decoder.learn(SchemaId::registered(7), program(&source, &record("x", "\"int\"")));
    let swapped = r#"{"type": "record", "name": "R", "fields": [
        {"name": "x", "type": "long"}, {"name": "t", "type": "long"}]}"#;
    decoder.learn(SchemaId::registered(8), program(&source, swapped));
    for (offset, id) in (0..).zip([7, 9, 8, 7]) {
        let payload = [0, 0, 0, 0, id, 2, 4];
        decoder.decode(&Message {
            payload: Some(&payload),
            offset,
            timestamp: None,
            envelope: &[],
        });
    }
    let decoded = decoder.finish();
    let batch = decoded.batches[0].as_ref().unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values()[..], [2, 1, 2]);
    let (reason, detail) = refused(&decoded);
    assert_eq!(reason, RejectReason::UnknownSchema);
    assert_eq!(detail, "schema 9 of the registry is not known, or not one of Avro");
}

#[test]
fn of_many_schemas_the_one_that_is_unused_for_longest_is_forgotten() {
    let source = source(TimeFormat::UnixMillis, &[WHOLE]);
    let mut decoder = AvroDecoder::new(
        Arc::clone(&source),
        AvroFraming::Registry(RegistryFraming::Confluent),
        LIMITS,
    );
    let program = program(&source, &record("x", "\"int\""));
    let payload = |id: usize| vec![0, 0, 0, 0, u8::try_from(id).unwrap(), 0, 0];
    for id in 0..PROGRAMS_MAX {
        decoder.learn(SchemaId::registered(id as u64), Arc::clone(&program));
    }
    assert_eq!(decoder.decode(&message(&payload(0))), None);
    decoder.learn(SchemaId::registered(200), Arc::clone(&program));
    assert_eq!(decoder.missing(&message(&payload(1))), Some(SchemaId::registered(1)));
    for id in [0, 2, PROGRAMS_MAX - 1, 200] {
        assert_eq!(decoder.missing(&message(&payload(id))), None, "{id}");
    }
}

#[test]
fn dates_and_timestamps_are_event_times_in_their_own_unit() {
    for (format, kind, logical, value, expected) in [
        (
            TimeFormat::Rfc3339,
            "long",
            "timestamp-millis",
            1_364_806_800_250,
            Some(1_364_806_800_250),
        ),
        (TimeFormat::UnixSeconds, "long", "local-timestamp-micros", 1_999, Some(1)),
        (TimeFormat::UnixMillis, "long", "timestamp-nanos", -1, Some(-1)),
        (TimeFormat::UnixSeconds, "int", "date", 15_796, Some(1_364_774_400_000)),
        (TimeFormat::UnixSeconds, "int", "date", i64::from(i32::MAX), None),
        // A logical type of another type means nothing.
        (TimeFormat::UnixSeconds, "int", "timestamp-millis", 7, Some(7_000)),
        (TimeFormat::UnixMillis, "long", "time-micros", 7, Some(7)),
    ] {
        let source = source(format, &[WHOLE]);
        let mut decoder = AvroDecoder::new(Arc::clone(&source), AvroFraming::Bare, LIMITS);
        let kind = format!(r#"{{"type": "{kind}", "logicalType": "{logical}"}}"#);
        decoder.learn(
            SchemaId::ONLY,
            program(
                &source,
                &record("t2", &kind)
                    .replace(r#"{"name": "t", "type": "long"}, "#, "")
                    .replace("t2", "t"),
            ),
        );
        let mut payload = Vec::new();
        long(value, &mut payload);
        decoder.decode(&message(&payload));
        let decoded = decoder.finish();
        let found = decoded.rows.first().map(|row| row.event_time.as_millis());
        assert_eq!(found, expected, "{format:?} {kind} {value}");
        if expected.is_none() {
            assert_eq!(refused(&decoded).0, RejectReason::InvalidTime);
        }
    }
}

#[test]
fn decimals_are_numbers_and_no_categories() {
    let kind = |scale: i32| {
        format!(
            r#"{{"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": {scale}}}"#
        )
    };
    let counted = |bytes: &[u8]| {
        let mut out = Vec::new();
        long(i64::try_from(bytes.len()).unwrap(), &mut out);
        [&out, bytes].concat()
    };
    for (scale, bytes, expected) in [
        (2, &[0x04, 0xd2][..], 12.34),
        (2, &[0xfb, 0x2e], -12.34),
        (0, &[], 0.0),
        (1, &[0xff; 30], -0.1),
        (0, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80], 128.0),
    ] {
        assert_eq!(float(&decode(&kind(scale), NUMBER, &counted(bytes))), expected);
    }
    let decoded = decode(&kind(1), WHOLE, &counted(&[10]));
    let batch = decoded.batches[0].as_ref().unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), 1);
    for (scale, wanted, bytes, reason) in [
        (1, WHOLE, &[11][..], RejectReason::WrongType),
        (0, NUMBER, &[1; 17], RejectReason::NumberOutOfRange),
        (
            0,
            NUMBER,
            &[0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            RejectReason::NumberOutOfRange,
        ),
        (2, TEXT, &[1], RejectReason::WrongType),
        // A scale beyond all digits: bytes that mean nothing.
        (39, NUMBER, &[1], RejectReason::WrongType),
    ] {
        assert_eq!(refused(&decode(&kind(scale), wanted, &counted(bytes))).0, reason);
    }
}

#[test]
fn texts_are_strings_symbols_uuids_and_numbers_as_json_has_them() {
    let uuid = r#"{"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}"#;
    let bytes: Vec<u8> = (0..16).map(|it| it * 17).collect();
    assert_eq!(text(&decode(uuid, TEXT, &bytes)), "00112233-4455-6677-8899-aabbccddeeff");
    let symbols = r#"{"type": "enum", "name": "E", "symbols": ["x", "yz"]}"#;
    assert_eq!(text(&decode(symbols, TEXT, &[2])), "yz");
    assert_eq!(text(&decode("\"string\"", TEXT, b"\x04\xc3\xa9")), "é");
    assert_eq!(text(&decode("\"int\"", TEXT, &[1])), "-1");
    assert_eq!(text(&decode("\"float\"", TEXT, &0.1f32.to_le_bytes())), "0.1");
    assert_eq!(text(&decode("\"double\"", TEXT, &1f64.to_le_bytes())), "1.0");
    assert_eq!(text(&decode("\"double\"", TEXT, &f64::NEG_INFINITY.to_le_bytes())), "-Infinity");
    assert_eq!(text(&decode("\"float\"", TEXT, &f32::NAN.to_le_bytes())), "NaN");
    let decoded = decode("\"string\"", TEXT, b"\x04\xc3\x28");
    assert_eq!(refused(&decoded), (RejectReason::InvalidUtf8, "`x`: text that is not UTF-8"));
}

#[test]
fn numbers_beyond_all_and_none_are_floats_and_not_whole() {
    let bytes = |number: f64| number.to_le_bytes();
    assert!(float(&decode("\"double\"", NUMBER, &bytes(f64::NAN))).is_nan());
    assert_eq!(float(&decode("\"double\"", NUMBER, &bytes(f64::INFINITY))), f64::INFINITY);
    let single = ("x", FeatureKind::Float32);
    assert_eq!(decode("\"double\"", single, &bytes(f64::INFINITY)).rejections, []);
    let reason = |wanted, number| refused(&decode("\"double\"", wanted, &bytes(number))).0;
    assert_eq!(reason(single, 1e39), RejectReason::NumberOutOfRange);
    assert_eq!(reason(WHOLE, 1e19), RejectReason::NumberOutOfRange);
    assert_eq!(reason(WHOLE, f64::NAN), RejectReason::WrongType);
    assert_eq!(reason(WHOLE, f64::INFINITY), RejectReason::WrongType);
}

#[test]
fn what_does_not_fit_is_named_with_its_path() {
    for (kind, wanted, bytes, expected) in [
        (
            "\"bytes\"",
            NUMBER,
            &[0][..],
            "`x`: expected a number, \"NaN\", \"Infinity\" or \"-Infinity\", found bytes",
        ),
        (
            "\"string\"",
            ("x.y", FeatureKind::Float64),
            &[0],
            "`x`: expected a record or a map, found text",
        ),
        ("\"int\"", ("x[1]", FeatureKind::Float64), &[0], "`x`: expected an array, found a number"),
        (
            r#"{"type": "map", "values": "int"}"#,
            TEXT,
            &[0],
            "`x`: expected text, a number or a boolean, found a record or a map",
        ),
    ] {
        let decoded = decode(kind, wanted, bytes);
        assert_eq!(refused(&decoded), (RejectReason::WrongType, expected));
    }
}

#[test]
fn bytes_that_are_no_value_are_named_with_their_place() {
    let array = r#"{"type": "array", "items": "string"}"#;
    let element = ("x[0]", FeatureKind::Categorical);
    for (kind, wanted, bytes, expected) in [
        ("\"double\"", NUMBER, &[0; 7][..], "at byte 1: the message ends inside of a value"),
        ("\"double\"", NUMBER, &[0; 9], "at byte 9: the value ends here, and the message does not"),
        ("\"long\"", NUMBER, &[0x80; 11], "at byte 1: a number of more than ten bytes"),
        (
            "\"int\"",
            NUMBER,
            &[0x80, 0x80, 0x80, 0x80, 0x20],
            "at byte 1: an `int` of more than 32 bits",
        ),
        ("\"boolean\"", NUMBER, &[2], "at byte 1: a boolean that is neither 0 nor 1"),
        ("\"string\"", NUMBER, &[1], "at byte 1: a length that cannot be"),
        (r#"["null", "int"]"#, NUMBER, &[4, 0], "at byte 1: a branch that the union does not have"),
        (
            r#"{"type": "enum", "name": "E", "symbols": ["x"]}"#,
            TEXT,
            &[1],
            "at byte 1: a symbol that the enum does not have",
        ),
        (array, element, &[1, 6, 2, b'a', 0], "at byte 5: a block that is not as long as it says"),
        (array, element, &[1, 2, 2, b'a', 0], "at byte 5: a block that is not as long as it says"),
        (array, element, &[1, 40, 2, b'a', 0], "at byte 3: the message ends inside of a value"),
    ] {
        let decoded = decode(kind, wanted, bytes);
        assert_eq!(refused(&decoded), (RejectReason::InvalidAvro, expected), "{bytes:?}");
    }
}

#[test]
fn what_nobody_wants_is_passed_over_by_the_length_of_its_block() {
    let array = r#"{"type": "array", "items": "string"}"#;
    let absent = ("y", FeatureKind::Float64);
    // The block says 3 bytes, and they are no text.
    assert_eq!(decode(array, absent, &[1, 6, 0xff, 0xff, 0xff, 0]).rejections, []);
    assert_eq!(
        decode(array, ("x[1]", FeatureKind::Categorical), &[1, 6, 1, 1, 1, 0]).rejections,
        []
    );
    let map = r#"{"type": "map", "values": "string"}"#;
    assert_eq!(decode(map, absent, &[1, 6, 0xff, 0xff, 0xff, 0]).rejections, []);
}

#[test]
fn items_without_bytes_take_no_time_and_no_memory_however_many() {
    let mut many = Vec::new();
    long(i64::MAX, &mut many);
    let twice = [&many[..], &many, &[0]].concat();
    let nulls = r#"{"type": "array", "items": "null"}"#;
    assert_eq!(decode(nulls, ("y", FeatureKind::Float64), &twice).rejections, []);
    assert_eq!(decode(nulls, ("x[70]", FeatureKind::Float64), &twice).rejections, []);
    let decoded = decode(nulls, ("x[]", FeatureKind::Float64), &twice);
    assert_eq!(refused(&decoded).0, RejectReason::TooManyRows);
    let decoded = decode(nulls, ("x[]", FeatureKind::Float64), &[6, 0]);
    assert_eq!((decoded.rows.len(), decoded.rejections.len()), (3, 0));
    let mut least = Vec::new();
    long(i64::MIN, &mut least);
    let doubles = r#"{"type": "array", "items": "double"}"#;
    for bytes in [[&least[..], &[0, 0]].concat(), [&many[..], &[0]].concat()] {
        decode(nulls, ("x[]", FeatureKind::Float64), &bytes);
        let decoded = decode(doubles, ("x[]", FeatureKind::Float64), &bytes);
        assert!(decoded.rows.is_empty());
    }
}

#[test]
fn more_items_than_can_be_counted_in_bytes_are_refused() {
    let doubles = r#"{"type": "array", "items": "double"}"#;
    let mut many = Vec::new();
    // Eight times as many are none in 64 bits.
    long(1 << 61, &mut many);
    for wanted in ["y", "x[5]", "x[]"] {
        let decoded = decode(doubles, (wanted, FeatureKind::Float64), &[&many[..], &[0]].concat());
        assert_eq!(refused(&decoded).0, RejectReason::InvalidAvro, "{wanted}");
    }
}

#[test]
fn a_block_does_not_end_inside_of_an_item_that_is_read() {
    let texts = r#"{"type": "array", "items": "string"}"#;
    // Two items in one byte; behind it is what would be the end of the list.
    let decoded = decode(texts, ("x[0]", FeatureKind::Categorical), &[3, 2, 2, 0]);
    assert_eq!(refused(&decoded).0, RejectReason::InvalidAvro);
}

#[test]
fn a_block_is_as_long_as_it_says_although_the_rest_of_it_is_of_another_model() {
    let path = |text: &str| FieldPath::parse(text).unwrap();
    let model = |name: &str, path: FieldPath| ModelSchema {
        name: name.into(),
        version: VersionField::Fixed("1".into()),
        prediction_id: None,
        features: vec![FeatureField { name: "f".into(), path, kind: FeatureKind::Categorical }],
        segments: vec![],
    };
    let models = vec![model("a", path("x[]")), model("b", path("m[]"))];
    let source =
        SourceSchema::try_new(path("t"), TimeFormat::UnixMillis, Some(path("m[]")), models);
    let source = Arc::new(source.unwrap());
    let writer = r#"{"type": "record", "name": "R", "fields": [
        {"name": "t", "type": "long"},
        {"name": "m", "type": {"type": "array", "items": "string"}},
        {"name": "x", "type": {"type": "array", "items": "string"}}]}"#;
    let decode = |block: &[u8]| {
        let mut decoder = AvroDecoder::new(Arc::clone(&source), AvroFraming::Bare, LIMITS);
        decoder.learn(SchemaId::ONLY, program(&source, writer));
        decoder.decode(&message(&[&[0, 4, 2, b'a', 2, b'b', 0], block].concat()));
        decoder.finish()
    };
    let whole = decode(&[3, 8, 2, b'p', 2, b'q', 0]);
    assert_eq!((whole.rows.len(), &whole.rejections[..]), (2, &[][..]));
    // The first of two items has three bytes of a block of two.
    let decoded = decode(&[3, 4, 4, 2, 0]);
    assert_eq!(refused(&decoded).0, RejectReason::InvalidAvro);
}

#[test]
fn values_that_hold_themselves_end_where_paths_or_the_bound_do() {
    let list = r#"{"type": "record", "name": "L", "fields": [
        {"name": "v", "type": "int"}, {"name": "next", "type": ["null", "L"]}]}"#;
    let chain = |levels: usize| [[4, 2].repeat(levels - 1), vec![4, 0]].concat();
    let third = ("x.next.next.v", FeatureKind::Float64);
    assert_eq!(float(&decode(list, third, &chain(3))), 2.0);
    assert_eq!(float(&decode(list, third, &chain(100))), 2.0);
    let decoded = decode(list, third, &chain(300));
    let (reason, detail) = refused(&decoded);
    assert_eq!(reason, RejectReason::InvalidAvro);
    assert!(detail.ends_with("values nested too deep"), "{detail}");
    let endless = r#"{"type": "record", "name": "L", "fields": [{"name": "x", "type": "L"}]}"#;
    for path in ["y", "x.x.x"] {
        let decoded = decode(endless, (path, FeatureKind::Float64), &[]);
        assert_eq!(refused(&decoded).0, RejectReason::InvalidAvro);
    }
}

#[test]
fn lists_go_on_over_blocks_and_end_together() {
    let array = r#"{"type": "array", "items": ["null", "double"]}"#;
    let list = ("x[]", FeatureKind::Float64);
    let one = [&[2][..], &1f64.to_le_bytes()].concat();
    let blocks = [&[1, 18][..], &one, &[4, 0], &one, &[0]].concat();
    let decoded = decode(array, list, &blocks);
    let batch = decoded.batches[0].as_ref().unwrap();
    let values: Vec<_> = batch.column(0).as_primitive::<Float64Type>().iter().collect();
    assert_eq!(values, [Some(1.0), None, Some(1.0)]);
    assert_eq!(decode(array, list, &[0]).messages, 1);
    // One element less than the block has bytes.
    let decoded = decode(array, list, &[&[1, 20][..], &one, &[0, 0]].concat());
    let (reason, detail) = refused(&decoded);
    assert_eq!(reason, RejectReason::InvalidAvro);
    assert_eq!(detail, "row 0: at byte 12: a block that is not as long as it says");
}

#[test]
fn names_are_found_in_their_namespace_and_in_referenced_schemas() {
    let inner = r#"{"type": "record", "namespace": "n", "name": "In", "fields": [
        {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["p"]}}]}"#;
    let outer = r#"{"type": "record", "name": "n.Out", "fields": [
        {"name": "t", "type": "long"}, {"name": "x", "type": "In"},
        {"name": "z", "type": "n.E"}]}"#;
    let schema = AvroSchema::parse(outer, &[inner]).unwrap();
    assert_eq!(schema.fingerprint(), None);
    let source = source(TimeFormat::UnixMillis, &[("x.e", FeatureKind::Categorical)]);
    let mut decoder = AvroDecoder::new(Arc::clone(&source), AvroFraming::Bare, LIMITS);
    decoder.learn(SchemaId::ONLY, AvroProgram::compile(&source, schema).unwrap());
    decoder.decode(&message(&[0, 0, 0]));
    assert_eq!(text(&decoder.finish()), "p");
}

#[test]
fn a_program_is_bounded_whatever_the_schema() {
    let symbols: Vec<_> = (0..60_000).map(|it| format!("\"symbol{it:06}\"")).collect();
    let symbols = symbols.join(",");
    let writer = format!(
        r#"{{"type": "record", "name": "R", "fields": [
            {{"name": "x", "type": {{"type": "enum", "name": "E", "symbols": [{symbols}]}}}},
            {{"name": "y", "type": "E"}}, {{"name": "z", "type": "E"}}]}}"#
    );
    let schema = AvroSchema::parse(&writer, &[]).unwrap();
    let wanted = |paths: &[&'static str]| {
        let features: Vec<_> = paths.iter().map(|it| (*it, FeatureKind::Categorical)).collect();
        AvroProgram::compile(&source(TimeFormat::UnixMillis, &features), schema.clone()).err()
    };
    assert_eq!(wanted(&["x"]), None);
    assert_eq!(wanted(&["x", "y", "z"]), Some(ProgramTooLarge));
}

#[test]
fn paths_that_lead_to_no_field_are_known() {
    let inner = |name: &str, field: &str| {
        format!(
            r#"{{"type": "record", "name": "{name}", "fields": [
                {{"name": "{field}", "type": "double"}}]}}"#
        )
    };
    let union = format!(r#"["null", {}, {}]"#, inner("A", "a"), inner("B", "b"));
    let features = ["x", "z", "x.a", "x.b", "x.c"].map(|path| (path, FeatureKind::Float64));
    let source = source(TimeFormat::UnixMillis, &features);
    let program = Program::Avro(program(&source, &record("x", &union)));
    let unknown: Vec<&str> = program.unknown_paths().iter().map(|it| &**it).collect();
    assert_eq!(unknown, ["x.c", "z"], "one of a union's records has the others");
}
