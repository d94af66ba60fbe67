//! Bytes that may be Protobuf, and what `prost-reflect` makes of the same.
//!
//! Before: [`fuzz`] plays the inputs. After: rows are those of the same record in JSON, or both
//! refuse.

use std::sync::Arc;

use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::field_descriptor_proto::Type;
use prost_reflect::prost_types::{DescriptorProto, FileDescriptorSet};
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor,
    ReflectMessage as _, Value,
};

use super::samples::{ODD_FLOAT, counted, form as form_of, json, tag, varint};
use super::tests::{PROTO3, descriptors};
use super::wire::{Form, Wire};
use super::{ProtobufDecoder, ProtobufFraming, ProtobufProgram, ProtobufSchema, SchemaId};
use crate::decode::Decoded;
use crate::decode::draw::{LIMITS, decoded_json};
use crate::decode::framing::RegistryFraming;
use crate::decode::fuzz::{self, outcome};
use crate::path::FieldPath;
use crate::rejection::RejectReason;
use crate::schema::{
    FeatureField, FeatureKind, ModelSchema, SegmentField, SourceSchema, TimeFormat, VersionField,
};

/// Every shape of a field, wanted and passed over; the message is the second one of its file.
const FIELDS: &str = r#"
    import "google/protobuf/struct.proto";
    import "google/protobuf/wrappers.proto";
    import "cloudevents.proto";
    message Other { int32 x = 1; }
    message M {
        int64 t = 15;
        enum Name { first = 0; second = 1; other = 2; }
        Name m = 2;
        oneof version { uint32 v = 3; string zv = 4; }
        optional double a = 1;
        map<string, sint64> b = 5;
        repeated string c = 6;
        message D { float a = 1; D next = 2; repeated fixed32 n = 3; bool e = 4; }
        repeated D d = 7;
        google.protobuf.Struct s = 8;
        io.cloudevents.v1.CloudEvent event = 9;
        google.protobuf.Int64Value w = 10;
        bytes z = 11;
    }"#;

/// The place of `M` in its file.
const PLACE: u64 = 1;

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
        segments: vec![SegmentField { name: "s".into(), path: path("event.type") }],
    };
    let first = [
        ("a", FeatureKind::Float64),
        ("b.x", FeatureKind::Integer),
        ("s.k", FeatureKind::Categorical),
        ("d[].a", FeatureKind::Float64),
        ("d[].next.a", FeatureKind::Float64),
        ("d[].n[0]", FeatureKind::Integer),
        ("d[].e", FeatureKind::Boolean),
    ];
    let second = [
        ("c[1]", FeatureKind::Categorical),
        ("w", FeatureKind::Integer),
        ("s.l[0]", FeatureKind::Float64),
        ("event.attributes.x.ceString", FeatureKind::Categorical),
    ];
    let models = vec![model("first", &first), model("second", &second)];
    let by = Some(path("m"));
    Arc::new(SourceSchema::try_new(path("t"), TimeFormat::UnixSeconds, by, models).unwrap())
}

/// Every field of which is wanted.
const WANTED_FIELDS: &str = "
    message M {
        int64 t = 15;
        uint32 v = 3;
        double a = 1;
        sint64 b = 2;
        fixed64 c = 4;
        bool e = 5;
        message D { float a = 1; fixed32 b = 2; }
        D d = 6;
        repeated D f = 7;
    }";

fn wanted_source() -> Arc<SourceSchema> {
    let path = |text: &str| FieldPath::parse(text).unwrap();
    let features = [
        ("a", FeatureKind::Float64),
        ("b", FeatureKind::Integer),
        ("c", FeatureKind::Integer),
        ("e", FeatureKind::Boolean),
        ("d.a", FeatureKind::Float64),
        ("d.b", FeatureKind::Integer),
        ("f[].a", FeatureKind::Float64),
        ("f[].b", FeatureKind::Integer),
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

/// A source, and messages of a writer.
struct Case {
    source: Arc<SourceSchema>,
    writer: MessageDescriptor,
    program: Arc<ProtobufProgram>,
}

impl Case {
    fn new(source: Arc<SourceSchema>, fields: &str) -> Self {
        Self::of(source, &format!("{PROTO3} {fields}"))
    }

    fn of(source: Arc<SourceSchema>, text: &str) -> Self {
        let descriptors = descriptors(text);
        let schema = ProtobufSchema::parse(&descriptors).unwrap();
        let message = schema.message("M").unwrap();
        let program = ProtobufProgram::compile(&source, &schema, message).unwrap();
        let pool = DescriptorPool::decode(&descriptors[..]).unwrap();
        Self { source, writer: pool.get_message_by_name("M").unwrap(), program }
    }

    /// Decodes a message by a decoder that knows the writer by this name.
    fn decode(&self, (framing, id): (ProtobufFraming, SchemaId), payload: &[u8]) -> Decoded {
        let mut decoder = ProtobufDecoder::new(Arc::clone(&self.source), framing, LIMITS);
        decoder.learn(id, Arc::clone(&self.program));
        fuzz::decode(decoder, payload, (LIMITS, &self.source))
    }

    /// Compares what the other reader reads; returns what was decoded, and whether it reads it.
    fn compare(&self, payload: &[u8]) -> (Decoded, bool) {
        let decoded = self.decode((ProtobufFraming::Bare, SchemaId::ONLY), payload);
        let message = DynamicMessage::decode(self.writer.clone(), payload).ok();
        let message = message.filter(|_| !payload.is_empty());
        if let Some(record) = message.as_ref().map(json)
            && let text = record.to_string()
            && !text.contains(ODD_FLOAT)
            && !has(&self.writer, payload, &|field, form, _| {
                field.is_map() && form != Form::Counted
            })
        {
            assert_eq!(outcome(decoded.clone()), decoded_json(&self.source, &record), "{text}");
        }
        (decoded, message.is_some())
    }
}

/// Whether a known field is such a one, in such a form and of such bytes. The other reader takes a
/// map in any form for its own, and refuses other fields in another form than their type's, as this
/// one does not.
pub(in crate::decode) fn has(
    message: &MessageDescriptor,
    bytes: &[u8],
    is_one: &impl Fn(&FieldDescriptor, Form, &[u8]) -> bool,
) -> bool {
    let mut wire = Wire::new(bytes, 0..bytes.len());
    while !wire.is_end() {
        let Ok(tag) = wire.tag() else { return false };
        let field = message.get_field(tag.number);
        let start = wire.at();
        let is_whole = wire.skip(tag).is_ok();
        let value = &bytes[start..wire.at()];
        if field.as_ref().is_some_and(|field| is_one(field, tag.form, value)) {
            return true;
        }
        if !is_whole {
            return false;
        }
        if tag.form == Form::Counted
            && let Some(Kind::Message(inner)) = field.map(|it| it.kind())
            && let Ok(part) = Wire::new(value, 0..value.len()).counted()
            && has(&inner, &value[part], is_one)
        {
            return true;
        }
    }
    false
}

/// What was passed over may be anything of the right length, so a message that the other reader
/// refuses may decode.
#[test]
fn messages() {
    let case = Case::new(source(), FIELDS);
    fuzz::play(&samples(), 20_000, |payload| !case.compare(payload).0.rows.is_empty());
}

/// By the numbers that they have in tags.
const FORMS: [Form; 6] =
    [Form::Varint, Form::Fixed64, Form::Counted, Form::Group, Form::GroupEnd, Form::Fixed32];

/// Where nothing is passed over, what the other reader refuses has no rows, but for known fields in
/// another form.
#[test]
fn wanted_messages() {
    let case = Case::new(wanted_source(), WANTED_FIELDS);
    let element = |a: f32, b: u32| [single(1, a), form(2, 5), b.to_le_bytes().to_vec()];
    let single_fields = [double(1, 0.5), whole(2, 13), long(4, 9), whole(5, 1)];
    let head = [whole(15, 1_364_806_800), whole(3, 7), single_fields.concat()].concat();
    let rows = [embedded(7, &element(1.5, 3)), embedded(7, &element(-2.0, 1 << 31))].concat();
    let group = [form(9, 3), whole(1, 1 << 63), form(9, 4)].concat();
    let seeds = [
        [&head[..], &embedded(6, &element(0.25, 1)), &rows].concat(),
        // Of a number that is too large the low bits count.
        [rows, embedded(6, &[single(1, 3.0)]), group, head, whole(3, (1 << 32) + 8)].concat(),
    ];
    let is_odd =
        |field: &FieldDescriptor, form: Form, _: &[u8]| form != FORMS[form_of(field) as usize];
    fuzz::play(&seeds, 10_000, |payload| {
        let (decoded, is_read) = case.compare(payload);
        let is_decoded = !decoded.rows.is_empty();
        assert!(is_read || !is_decoded || has(&case.writer, payload, &is_odd), "it is no message");
        is_decoded
    });
}

/// The same message, with fields that have to be there.
const REQUIRED: &str = r#"syntax = "proto2";
    message M {
        required int64 t = 15;
        required uint32 v = 3;
        optional double a = 1;
        optional sint64 b = 2;
        optional fixed64 c = 4;
        optional bool e = 5;
        message D { required float a = 1; optional fixed32 b = 2; }
        optional D d = 6;
        repeated D f = 7;
    }"#;

/// Whether a field is absent, here or inside, that has to be there.
fn lacks_required(message: &DynamicMessage) -> bool {
    let is_absent = |field: &FieldDescriptor| {
        field.cardinality() == Cardinality::Required && !message.has_field(field)
    };
    message.descriptor().fields().any(|field| is_absent(&field))
        || message.fields().any(|(_, value)| {
            let mut items = value.as_list().into_iter().flatten().filter_map(Value::as_message);
            value.as_message().is_some_and(lacks_required) || items.any(lacks_required)
        })
}

/// What the other reader does not look at.
#[test]
fn required_fields() {
    let case = Case::of(wanted_source(), REQUIRED);
    let element = |a: f32, b: u32| [single(1, a), form(2, 5), b.to_le_bytes().to_vec()];
    let head = [whole(15, 17), whole(3, 7), double(1, 0.5)].concat();
    let rows = [embedded(7, &element(1.5, 3)), embedded(7, &[single(1, 2.0)])].concat();
    let seeds = [
        [&head[..], &embedded(6, &[single(1, 3.0)]), &rows].concat(),
        [rows, whole(5, 1), embedded(6, &[]), embedded(6, &[single(1, -1.0)]), head].concat(),
    ];
    fuzz::play(&seeds, 10_000, |payload| {
        let message = DynamicMessage::decode(case.writer.clone(), payload);
        if !message.is_ok_and(|it| lacks_required(&it)) {
            return !case.compare(payload).0.rows.is_empty();
        }
        let decoded = case.decode((ProtobufFraming::Bare, SchemaId::ONLY), payload);
        assert!(decoded.rows.is_empty(), "a field has to be there");
        false
    });
}

/// A framed message is what its fields are by themselves; any other is refused for its beginning,
/// or for the type that it names.
#[test]
fn framings() {
    let case = Case::new(source(), FIELDS);
    let id = SchemaId::registered(7).at(&[PLACE]).unwrap();
    let seeds = samples().map(|fields| [&[0, 0, 0, 0, 7, 2, 2][..], &fields].concat());
    fuzz::play(&seeds, 10_000, |payload| {
        let decoded = case
            .decode((ProtobufFraming::Registry(RegistryFraming::Confluent), id.clone()), payload);
        let is_decoded = !decoded.rows.is_empty();
        let reason = decoded.rejections.first().map(|it| it.reason);
        match payload {
            [] => assert_eq!(reason, Some(RejectReason::EmptyPayload)),
            // One place, in zigzag.
            [0, 0, 0, 0, 7, 2, 2, fields @ ..] if !fields.is_empty() => {
                let bare = (ProtobufFraming::Bare, SchemaId::ONLY);
                assert_eq!(outcome(decoded), outcome(case.decode(bare, fields)));
            }
            [0, 0, 0, 0, 7, 2, 2] => {}
            // Any other number, any other place of one byte, or the first of the file.
            [0, _, _, _, _, 2, place, ..] if place % 2 == 0 && *place < 0x80 => {
                assert_eq!(reason, Some(RejectReason::UnknownSchema));
            }
            [0, _, _, _, _, 0, ..] => assert_eq!(reason, Some(RejectReason::UnknownSchema)),
            // Another beginning, one that is cut, or a number of places or a place below 0.
            [1..=u8::MAX, ..]
            | [0]
            | [0, _]
            | [0, _, _]
            | [0, _, _, _]
            | [0, _, _, _, _]
            | [0, _, _, _, _, 1, ..]
            | [0, _, _, _, _, 2] => assert_eq!(reason, Some(RejectReason::InvalidProtobuf)),
            // Several places, or one in several bytes.
            [0, ..] => {}
        }
        is_decoded
    });
}

/// Whether there is a field of a named type and of another one: the other reader believes the name.
fn has_two_types(message: &DescriptorProto) -> bool {
    message.nested_type.iter().any(has_two_types)
        || message.field.iter().any(|field| {
            field.type_name.is_some()
                && !matches!(field.r#type(), Type::Message | Type::Group | Type::Enum)
        })
}

/// Whether fields have the names that they have in JSON, keys of maps are text, no field is of
/// bytes, which JSON has not, and nothing has to be there, which the other reader does not mind.
fn has_one_reading(message: &MessageDescriptor) -> bool {
    let mut fields = message.fields();
    let has_text_key = !message.is_map_entry()
        || message.get_field(1).is_some_and(|key| matches!(key.kind(), Kind::String));
    has_text_key
        && fields.all(|field| {
            field.name() == field.json_name()
                && !matches!(field.kind(), Kind::Bytes)
                && field.cardinality() != Cardinality::Required
        })
}

/// Descriptors: those that both readers take read a message as the same record, and any that are
/// taken read it without harm.
#[test]
fn descriptors_of_registries() {
    let source = source();
    let seeds = TEXTS.map(descriptors);
    let fields = [whole(15, 9), whole(2, 0), whole(3, 1), embedded(7, &[whole(4, 1)])].concat();
    fuzz::play(&seeds, 2_000, |descriptors| {
        let bytes = descriptors.len();
        let schema = fuzz::measured(bytes, 0, || ProtobufSchema::parse(descriptors));
        let Ok(schema) = schema else { return false };
        for name in ["M", "M.D", "Other"] {
            let Some(message) = schema.message(name) else { continue };
            let program =
                fuzz::measured(bytes, 0, || ProtobufProgram::compile(&source, &schema, message));
            let Ok(program) = program else { continue };
            let mut decoder =
                ProtobufDecoder::new(Arc::clone(&source), ProtobufFraming::Bare, LIMITS);
            decoder.learn(SchemaId::ONLY, program);
            fuzz::decode(decoder, &fields, (LIMITS, &source));
        }
        // It panics where it would say what is wrong in a file of another syntax.
        let pool = std::panic::catch_unwind(|| DescriptorPool::decode(descriptors));
        let Ok(Ok(pool)) = pool else { return false };
        let Some(writer) = pool.get_message_by_name("M") else { return false };
        let message = schema.message("M").expect("the other reader has it");
        let files = FileDescriptorSet::decode(descriptors).unwrap().file;
        if files.iter().flat_map(|file| &file.message_type).any(has_two_types)
            || !pool.all_messages().all(|message| has_one_reading(&message))
        {
            return true;
        }
        let program = ProtobufProgram::compile(&source, &schema, message).unwrap();
        let case = Case { source: Arc::clone(&source), writer, program };
        !case.compare(&fields).0.rows.is_empty()
    });
}

/// Files of descriptors.
const TEXTS: [&str; 2] = [
    r#"syntax = "proto3"; message M {
        int64 t = 15;
        enum N { first = 0; second = 1; }
        N m = 2;
        oneof version { uint32 v = 3; }
        double a = 1 [json_name = "a"];
        map<string, sint64> b = 5;
        repeated string c = 6;
        message D { float a = 1; D next = 2; bool e = 4; }
        repeated D d = 7;
    } message Other { int32 x = 1; }"#,
    r#"syntax = "proto2"; message M {
        optional int64 t = 15;
        optional uint32 v = 3;
        optional double a = 1 [default = 1.5];
        enum N { second = 3; first = 0; }
        optional N m = 2;
        message D { optional float a = 1; optional bool e = 4; }
        repeated D d = 7;
        optional group G = 8 { optional float a = 1; }
    }"#,
];

/// Messages of [`FIELDS`]: of both models, and with fields that are none of its own.
fn samples() -> [Vec<u8>; 4] {
    let text = |number, text: &str| bytes(number, text.as_bytes());
    let packed = bytes(3, &[6_u32.to_le_bytes(), 7_u32.to_le_bytes()].concat());
    let rows = [
        embedded(7, &[single(1, 1.5), embedded(2, &[single(1, 2.5)]), packed, whole(4, 1)]),
        embedded(7, &[form(3, 5), 9_u32.to_le_bytes().to_vec(), single(1, -3.0)]),
    ];
    let attribute = [text(1, "x"), embedded(2, &[text(3, "y")])];
    let attributes =
        [text(1, "id"), text(2, "/x"), text(3, "1.0"), text(4, "seen"), text(7, "text")];
    let event = embedded(9, &[attributes.concat(), embedded(5, &attribute)]);
    let member = |key: &str, value: Vec<u8>| embedded(1, &[text(1, key), bytes(2, &value)]);
    let list = [embedded(1, &[double(2, 0.5)]), embedded(1, &[whole(1, 0)])];
    let object = embedded(
        8,
        &[member("k", text(3, "word")), member("l", embedded(6, &list)), member("n", whole(4, 1))],
    );
    let first = [
        [whole(15, 5), whole(2, 0), whole(3, 2), double(1, 0.125)].concat(),
        // Of a key that comes again in its entry the last one counts.
        embedded(5, &[text(1, "z"), text(1, "x"), whole(2, 13)]),
        rows.concat(),
        [object.clone(), event.clone(), bytes(11, b"\xff\xfe"), whole(1000, 1)].concat(),
    ]
    .concat();
    let second = [
        [whole(2, 1), whole(15, 1_364_806_800), whole(3, 0), text(6, "p"), text(6, "q")].concat(),
        embedded(7, &[whole(4, 1)]),
        [embedded(10, &[whole(1, 7)]), object, event, embedded(9, &[text(4, "again")])].concat(),
        // Of a message that comes again all counts that is said of it.
        embedded(10, &[]),
    ]
    .concat();
    let unknown = [form(1001, 3), whole(2, 1), form(1001, 4), first.clone()].concat();
    // Of a key that comes again the last value counts, which is nothing here.
    let nothing = |key: &str| [text(1, key)];
    let again = [
        second.clone(),
        embedded(8, &[embedded(1, &nothing("l"))]),
        embedded(9, &[embedded(5, &nothing("x"))]),
    ]
    .concat();
    [first, second, unknown, again]
}

fn form(number: u32, form: u32) -> Vec<u8> {
    let mut out = Vec::new();
    tag(number, form, &mut out);
    out
}

fn whole(number: u32, value: u64) -> Vec<u8> {
    [form(number, 0), varint(value)].concat()
}

fn double(number: u32, value: f64) -> Vec<u8> {
    [&form(number, 1)[..], &value.to_le_bytes()].concat()
}

fn long(number: u32, value: u64) -> Vec<u8> {
    [&form(number, 1)[..], &value.to_le_bytes()].concat()
}

fn single(number: u32, value: f32) -> Vec<u8> {
    [&form(number, 5)[..], &value.to_le_bytes()].concat()
}

fn bytes(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = form(number, 2);
    counted(content, &mut out);
    out
}

fn embedded(number: u32, fields: &[Vec<u8>]) -> Vec<u8> {
    bytes(number, &fields.concat())
}
