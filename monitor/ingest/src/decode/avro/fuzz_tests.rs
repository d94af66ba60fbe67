//! Bytes that may be Avro, and what the reader of `reference.rs` makes of the same.
//!
//! Before: [`fuzz`] plays the inputs. After: rows are those of the same record in JSON, or both
//! refuse.

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use serde_json::Value as Json;

use super::reference::{Reader, json, long as write_long};
use super::{AvroDecoder, AvroFraming, AvroProgram, AvroSchema, SchemaId};
use crate::decode::Decoded;
use crate::decode::draw::{LIMITS, decoded_json};
use crate::decode::framing::RegistryFraming;
use crate::decode::fuzz::{self, has_tie, outcome};
use crate::path::FieldPath;
use crate::rejection::RejectReason;
use crate::schema::{
    FeatureField, FeatureKind, ModelSchema, SegmentField, SourceSchema, TimeFormat, VersionField,
};

/// Every shape that the reference reads, wanted and passed over.
const WRITER: &str = r#"{"type": "record", "name": "R", "fields": [
    {"name": "z", "type": ["null", "bytes", {"type": "fixed", "name": "F", "size": 3}]},
    {"name": "t", "type": "long"},
    {"name": "m", "type": {"type": "enum", "name": "M", "symbols": ["first", "second", "other"]}},
    {"name": "v", "type": ["int", "string"]},
    {"name": "a", "type": ["null", "double", "float", "boolean"]},
    {"name": "b", "type": {"type": "map", "values": ["int", "null", "string"]}},
    {"name": "zz", "type": {"type": "array", "items": {"type": "map", "values": "long"}}},
    {"name": "c", "type": {"type": "array", "items": "string"}},
    {"name": "d", "type": {"type": "array", "items": {"type": "record", "name": "D", "fields": [
        {"name": "a", "type": "double"},
        {"name": "next", "type": ["null", "D"]},
        {"name": "e", "type": "boolean"}
    ]}}},
    {"name": "zzz", "type": {"type": "array", "items": "null"}},
    {"name": "e", "type": {"type": "map", "values": ["null", "D", "double"]}}
]}"#;

/// Of a registry.
const NUMBER: u32 = 7;

fn source() -> Arc<SourceSchema> {
    let path = |text: &str| FieldPath::parse(text).unwrap();
    let model = |name: &str, features: &[(&str, FeatureKind)]| ModelSchema {
        name: name.into(),
        version: VersionField::Path(path("v")),
        prediction_id: None,
        features: features
            .iter()
            .map(|(text, kind)| FeatureField {
                name: (*text).into(),
                path: path(text),
                kind: *kind,
            })
            .collect(),
        segments: vec![SegmentField { name: "s".into(), path: path("b.s") }],
    };
    let first = [
        ("a", FeatureKind::Float64),
        ("b.x", FeatureKind::Integer),
        ("c[1]", FeatureKind::Categorical),
        ("d[].a", FeatureKind::Float32),
        ("d[].next.a", FeatureKind::Float64),
        ("d[].e", FeatureKind::Boolean),
        ("e.x.a", FeatureKind::Float64),
    ];
    let second = [
        ("c[0]", FeatureKind::Categorical),
        ("d[0].a", FeatureKind::Float64),
        ("e.x", FeatureKind::Float64),
    ];
    let models = vec![model("first", &first), model("second", &second)];
    let by = Some(path("m"));
    Arc::new(SourceSchema::try_new(path("t"), TimeFormat::UnixSeconds, by, models).unwrap())
}

/// Every field of which is wanted.
const WANTED_WRITER: &str = r#"{"type": "record", "name": "R", "fields": [
    {"name": "t", "type": "long"},
    {"name": "v", "type": ["int", "string"]},
    {"name": "a", "type": ["null", "double", "float", "boolean"]},
    {"name": "b", "type": {"type": "enum", "name": "E", "symbols": ["x", "y"]}},
    {"name": "d", "type": {"type": "array", "items": {"type": "record", "name": "D", "fields": [
        {"name": "a", "type": "int"},
        {"name": "e", "type": "boolean"}
    ]}}}
]}"#;

fn wanted_source() -> Arc<SourceSchema> {
    let path = |text: &str| FieldPath::parse(text).unwrap();
    let features = [
        ("a", FeatureKind::Float64),
        ("b", FeatureKind::Categorical),
        ("d[].a", FeatureKind::Integer),
        ("d[].e", FeatureKind::Boolean),
    ];
    let features =
        features.map(|(text, kind)| FeatureField { name: text.into(), path: path(text), kind });
    let model = ModelSchema {
        name: "m".into(),
        version: VersionField::Path(path("v")),
        prediction_id: None,
        features: features.to_vec(),
        segments: vec![],
    };
    Arc::new(SourceSchema::try_new(path("t"), TimeFormat::UnixSeconds, None, vec![model]).unwrap())
}

/// Values that nobody asks for, of which those that are looked at are the reference's too, and a
/// list with some that are wanted.
const PASSED_WRITER: &str = r#"{"type": "record", "name": "R", "fields": [
    {"name": "y", "type": {"type": "array", "items": [
        "int", {"type": "enum", "name": "E", "symbols": ["x", "y"]}, "bytes"
    ]}},
    {"name": "z", "type": {"type": "array", "items": {"type": "fixed", "name": "F", "size": 3}}},
    {"name": "t", "type": "long"},
    {"name": "v", "type": "long"},
    {"name": "a", "type": {"type": "array", "items": "double"}},
    {"name": "zz", "type": {"type": "array", "items": "long"}}
]}"#;

fn passed_source() -> Arc<SourceSchema> {
    let path = |text: &str| FieldPath::parse(text).unwrap();
    let feature = |text: &str| FeatureField {
        name: text.into(),
        path: path(text),
        kind: FeatureKind::Float64,
    };
    let model = ModelSchema {
        name: "m".into(),
        version: VersionField::Path(path("v")),
        prediction_id: None,
        features: ["a[0]", "a[2]"].map(feature).to_vec(),
        segments: vec![],
    };
    Arc::new(SourceSchema::try_new(path("t"), TimeFormat::UnixSeconds, None, vec![model]).unwrap())
}

/// A source, and messages of a writer.
struct Case {
    source: Arc<SourceSchema>,
    writer: Schema,
    fingerprint: u64,
    program: Arc<AvroProgram>,
}

impl Case {
    fn new(source: Arc<SourceSchema>, writer: &str) -> Self {
        let schema = AvroSchema::parse(writer, &[]).unwrap();
        let fingerprint = schema.fingerprint().unwrap();
        let program = AvroProgram::compile(&source, schema).unwrap();
        Self { source, writer: Schema::parse_str(writer).unwrap(), fingerprint, program }
    }

    /// Decodes a message by a decoder that knows the writer by this name.
    fn decode(&self, (framing, id): (AvroFraming, SchemaId), payload: &[u8]) -> Decoded {
        let mut decoder = AvroDecoder::new(Arc::clone(&self.source), framing, LIMITS);
        decoder.learn(id, Arc::clone(&self.program));
        fuzz::decode(decoder, payload, (LIMITS, &self.source))
    }

    /// Compares what the reference reads; returns what was decoded, and whether it reads it.
    fn compare(&self, payload: &[u8]) -> (Decoded, bool) {
        let decoded = self.decode((AvroFraming::Bare, SchemaId::ONLY), payload);
        let value = Reader::read(&self.writer, payload).filter(|_| !payload.is_empty());
        let record = value.map(|it| json(&it));
        if let Some(record) = &record
            && !has_tie(record)
        {
            assert_eq!(outcome(decoded.clone()), decoded_json(&self.source, record));
        }
        (decoded, record.is_some())
    }
}

/// What was passed over may be anything of the right length, so a message that the reference
/// refuses may decode.
#[test]
fn values() {
    let case = Case::new(source(), WRITER);
    fuzz::play(&messages(), 20_000, |payload| !case.compare(payload).0.rows.is_empty());
}

/// Where nothing is passed over, what the reference refuses has no rows.
#[test]
fn wanted_values() {
    let case = Case::new(wanted_source(), WANTED_WRITER);
    let element = |a: i64, e: u8| [signed(a), vec![e]].concat();
    let elements = [element(-7, 1), element(1 << 30, 0)];
    let seeds = [
        [long(5), long(0), long(3), long(1), double(1.5), long(1), list(&elements)].concat(),
        [long(17), long(1), counted("vé".as_bytes()), long(0), long(0), sized(&elements)].concat(),
    ];
    fuzz::play(&seeds, 10_000, |payload| {
        let (decoded, is_read) = case.compare(payload);
        assert!(is_read || decoded.rows.is_empty(), "the reference refuses it");
        !decoded.rows.is_empty()
    });
}

/// Of what is passed over here nothing is left unlooked at that the reference minds, so what it
/// refuses has no rows, unless a block says itself how long it is: what is in it nobody looks at.
#[test]
fn values_passed_over() {
    let case = Case::new(passed_source(), PASSED_WRITER);
    let fixed = || vec![b"abc".to_vec(), b"\xff\0\x80".to_vec()];
    let branches = [
        [long(0), signed(i32::MIN.into())].concat(),
        [long(1), long(1)].concat(),
        [long(2), counted(b"\xff")].concat(),
    ];
    let doubles = [1.5, -2.0, 0.25].map(double);
    let longs = [signed(-1), signed(i64::MIN), signed(1 << 40)];
    let seeds = [
        [list(&branches), list(&fixed()), long(5), long(3), list(&doubles), list(&longs)].concat(),
        [list(&branches[..1]), long(0), long(17), long(1), list(&doubles[..1]), long(0)].concat(),
    ];
    fuzz::play(&seeds, 10_000, |payload| {
        let (decoded, is_read) = case.compare(payload);
        let is_good = is_read || decoded.rows.is_empty();
        assert!(is_good || Reader::meets_size(&case.writer, payload), "the reference refuses it");
        !decoded.rows.is_empty()
    });
}

/// A framed message is what its value is by itself; any other is refused for its beginning, or for
/// the schema that it names.
#[test]
fn framings() {
    let case = Case::new(source(), WRITER);
    let of_registry = SchemaId::registered(NUMBER.into());
    let beginnings = [
        (
            AvroFraming::Registry(RegistryFraming::Confluent),
            of_registry.clone(),
            [&[0][..], &NUMBER.to_be_bytes()].concat(),
            1,
        ),
        (
            AvroFraming::Registry(RegistryFraming::Apicurio),
            of_registry.clone(),
            [0, 0, 0, 0, 0].into_iter().chain(NUMBER.to_be_bytes()).collect(),
            1,
        ),
        (
            AvroFraming::SingleObject,
            SchemaId::of_fingerprint(case.fingerprint),
            [&[0xc3, 1][..], &case.fingerprint.to_le_bytes()].concat(),
            2,
        ),
    ];
    let seeds: Vec<Vec<u8>> = beginnings
        .iter()
        .zip(messages())
        .map(|((_, _, beginning, _), value)| [&beginning[..], &value].concat())
        .collect();
    fuzz::play(&seeds, 10_000, |payload| {
        let mut is_decoded = false;
        for (framing, id, beginning, magic) in &beginnings {
            let decoded = case.decode((*framing, id.clone()), payload);
            is_decoded |= !decoded.rows.is_empty();
            let reason = decoded.rejections.first().map(|it| it.reason);
            match payload.strip_prefix(&beginning[..]) {
                Some([]) => assert_eq!(reason, Some(RejectReason::InvalidAvro)),
                Some(value) => {
                    let bare = case.decode((AvroFraming::Bare, SchemaId::ONLY), value);
                    assert_eq!(outcome(decoded), outcome(bare));
                }
                None if payload.is_empty() => assert_eq!(reason, Some(RejectReason::EmptyPayload)),
                None if beginning.len() <= payload.len()
                    && payload.starts_with(&beginning[..*magic]) =>
                {
                    assert_eq!(reason, Some(RejectReason::UnknownSchema));
                }
                None => assert_eq!(reason, Some(RejectReason::InvalidAvro)),
            }
        }
        is_decoded
    });
}

/// Attributes that the canonical form keeps, and the types that have them.
const KEPT: [(&str, &[&str]); 5] = [
    ("items", &["array"]),
    ("values", &["map"]),
    ("symbols", &["enum"]),
    ("size", &["fixed"]),
    ("fields", &["record", "error"]),
];

/// Whether a type or field has an attribute that is kept of other types: the crate keeps it there
/// too, unlike the others.
fn has_stray(schema: &Json) -> bool {
    match schema {
        Json::Object(object) => {
            let kind = object.get("type").and_then(Json::as_str).unwrap_or_default();
            let is_stray = |(name, kinds): &(&str, &[&str])| {
                object.contains_key(*name) && !kinds.contains(&kind)
            };
            KEPT.iter().any(is_stray) || object.values().any(has_stray)
        }
        Json::Array(parts) => parts.iter().any(has_stray),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    }
}

/// Texts of schemas: one that both readers take has one fingerprint, and any that is taken reads
/// messages without harm.
#[test]
fn schemas() {
    let source = source();
    fuzz::play(&SCHEMAS, 10_000, |text| {
        let Ok(text) = std::str::from_utf8(text) else { return false };
        let parsed = fuzz::measured(text.len(), 0, || AvroSchema::parse(text, &[]));
        let Ok(schema) = parsed else { return false };
        // The crate keeps a type that was an object for its logical type one, unlike the others.
        if !text.contains("logicalType")
            && !has_stray(&serde_json::from_str(text).unwrap())
            && let Ok(writer) = Schema::parse_str(text)
            && let Some(fingerprint) = schema.fingerprint()
        {
            let expected = writer.fingerprint::<Rabin>().bytes;
            assert_eq!(fingerprint.to_le_bytes()[..], expected[..]);
        }
        let program = fuzz::measured(text.len(), 0, || AvroProgram::compile(&source, schema));
        let Ok(program) = program else { return false };
        // Some bytes: half of the values that they may be are small.
        let mut decoder = AvroDecoder::new(Arc::clone(&source), AvroFraming::Bare, LIMITS);
        decoder.learn(SchemaId::ONLY, program);
        fuzz::decode(decoder, text.as_bytes(), (LIMITS, &source));
        true
    });
}

const SCHEMAS: [&str; 4] = [
    r#"{"type":"record","name":"R","namespace":"n","fields":[{"name":"t","type":"long"},
        {"name":"m","type":{"type":"enum","name":"E","symbols":["first","second"]}},
        {"name":"v","type":["null","string"],"default":null,"doc":"x"},
        {"name":"a","type":["double","n.E"]},
        {"name":"b","type":{"type":"map","values":{"type":"array","items":"int"}}},
        {"name":"d","type":{"type":"array","items":["null","R"]},"aliases":["e"]},
        {"name":"f","type":{"type":"fixed","name":"q.F","size":12}}]}"#,
    r#"{"type":"record","name":"R","namespace":"a.b","fields":[
        {"name":"t","type":{"type":"long","logicalType":"timestamp-micros"}},
        {"name":"a","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
        {"name":"v","type":{"type":"int","logicalType":"date"}},
        {"name":"c","type":{"type":"array","items":{"type":"string","logicalType":"uuid"}}}]}"#,
    r#"["null", {"type": "map", "values": "double"}]"#,
    r#""string""#,
];

/// Messages of the writer, whose fields are z, t, m, v, a, b, zz, c, d, zzz and e.
fn messages() -> [Vec<u8>; 3] {
    let none = || long(0);
    let element = |a: f64, next: Vec<u8>, e: u8| [&a.to_le_bytes()[..], &next, &[e]].concat();
    let nested = |element: Vec<u8>| [long(1), element].concat();
    let first = [
        [long(1), counted(b"\xff\xfe"), long(5), long(0), long(0), long(3)].concat(),
        [long(1), double(1.5)].concat(),
        list(&[
            [counted(b"x"), long(0), signed(-7)].concat(),
            [counted(b"s"), long(2), counted(b"eu")].concat(),
        ]),
        none(),
        list(&[counted(b"p"), counted("é".as_bytes())]),
        list(&[element(0.5, nested(element(2.0, none(), 1)), 1), element(-1.25, none(), 1)]),
        none(),
        // Of a key that comes again the last value counts, with nothing of the others.
        list(&[[counted(b"x"), nested(element(7.0, none(), 1))].concat(), entry_of_null(b"x")]),
    ];
    let in_sized_blocks = [
        [long(2), b"abc".to_vec(), long(5), long(0), long(1), counted(b"v2")].concat(),
        [long(2), 0.25_f32.to_le_bytes().to_vec()].concat(),
        sized(&[[counted(b"y"), long(1)].concat()]),
        sized(&[list(&[[counted(b"k"), signed(i64::MIN)].concat()]), none()]),
        sized(&[counted(b"")]),
        sized(&[element(1.0, none(), 0), element(3.0, nested(element(4.0, none(), 1)), 1)]),
        [long(3), long(0)].concat(),
        sized(&[[counted(b"x"), nested(element(8.0, none(), 0))].concat()]),
    ];
    let second = [
        [long(0), long(1_364_806_800), long(1), long(0), long(1 << 20)].concat(),
        long(0),
        none(),
        none(),
        list(&[counted(b"only")]),
        list(&[element(9.0, none(), 1)]),
        none(),
        list(&[entry_of_null(b"y"), [counted(b"x"), long(2), double(0.5)].concat()]),
    ];
    [first.concat(), in_sized_blocks.concat(), second.concat()]
}

fn entry_of_null(key: &[u8]) -> Vec<u8> {
    [counted(key), long(0)].concat()
}

fn double(value: f64) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    [long(items.len()), items.concat(), long(0)].concat()
}

/// A list whose block says how many bytes it has.
fn sized(items: &[Vec<u8>]) -> Vec<u8> {
    let count = i64::try_from(items.len()).unwrap();
    [signed(-count), counted(&items.concat()), long(0)].concat()
}

fn long(value: usize) -> Vec<u8> {
    signed(i64::try_from(value).unwrap())
}

fn signed(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    write_long(value, &mut out);
    out
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    [&long(bytes.len())[..], bytes].concat()
}
