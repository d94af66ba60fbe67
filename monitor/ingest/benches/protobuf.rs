//! Records per second of the Protobuf decoder, beside `prost-reflect` reading the same payloads.
//!
//! One core; a record is that of `decode.rs`, with 20 floats in a message of their own, framed as a
//! registry's serializer does, one record a message. `prost-reflect` makes a message of all fields
//! and puts none of them into columns. Rounds of both alternate, and the fastest of each counts, so
//! that a neighbour's load cancels out.
//! `cargo bench -p driftd-ingest --bench protobuf`.

#![expect(clippy::print_stdout, reason = "a bench reports to whoever started it")]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftd_ingest::{
    Decode, DecodeLimits, FeatureField, FeatureKind, FieldPath, Message, ModelSchema,
    ProtobufDecoder, ProtobufFraming, ProtobufProgram, ProtobufSchema, RegistryFraming, SchemaId,
    SegmentField, SourceSchema, TimeFormat, VersionField,
};
use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

const RECORDS: usize = 20_000;
const BATCH_RECORDS: usize = 4_096;
const FEATURES: usize = 20;
const PAD_BYTES: usize = 120;
const ROUNDS: usize = 15;
const ID: u32 = 1;
/// What comes before the fields: a byte of zero, the number of the schema, and its first message.
const HEAD_BYTES: usize = 6;

fn main() {
    let payloads = payloads();
    let bytes: usize = payloads.iter().map(Vec::len).sum();
    let pool = pool();
    let writer = pool.get_message_by_name("Prediction").expect("the bench defines it");
    let mut decoder = decoder(&pool);
    let (mut own, mut reflect) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        own = own.min(timed(|| decode(&mut decoder, &payloads)));
        reflect = reflect.min(timed(|| reflect_decode(&writer, &payloads)));
    }
    report("ProtobufDecoder, 20 features, 2 names, time", own, bytes);
    report("prost-reflect, all fields", reflect, bytes);
    let ratio = reflect.as_secs_f64() / own.as_secs_f64();
    println!("ProtobufDecoder / prost-reflect: {ratio:.2} x");
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn report(name: &str, elapsed: Duration, bytes: usize) {
    let per_second = |count: usize| count as f64 / elapsed.as_secs_f64() / 1e6;
    let (records, megabytes) = (per_second(RECORDS), per_second(bytes));
    println!("{name:44} {records:.3} M records/s, {megabytes:.0} MB/s");
}

fn decode(decoder: &mut ProtobufDecoder, payloads: &[Vec<u8>]) {
    for (offset, payload) in (0..).zip(payloads) {
        let message = Message { payload: Some(payload), offset, timestamp: None, envelope: &[] };
        assert_eq!(decoder.missing(&message), None, "the bench's schema was brought");
        decoder.decode(&message);
        if BATCH_RECORDS <= decoder.rows() {
            let decoded = black_box(decoder.finish());
            assert!(decoded.rejections.is_empty(), "the bench's records are good");
        }
    }
    black_box(decoder.finish());
}

fn reflect_decode(writer: &MessageDescriptor, payloads: &[Vec<u8>]) {
    for payload in payloads {
        let message = DynamicMessage::decode(writer.clone(), &payload[HEAD_BYTES..]);
        black_box(message.expect("the bench's records are Protobuf"));
    }
}

fn decoder(pool: &DescriptorPool) -> ProtobufDecoder {
    let source = source();
    let schema = ProtobufSchema::parse(&pool.encode_to_vec()).expect("the bench's schema is one");
    let message = schema.message("Prediction").expect("the bench defines it");
    let program = ProtobufProgram::compile(&source, &schema, message);
    let program = program.expect("the bench's schema is small");
    let cells_max = DecodeLimits::CELLS_MAX;
    let limits = DecodeLimits { payload_bytes_max: 1 << 20, rows_max: 1, cells_max };
    let mut decoder =
        ProtobufDecoder::new(source, ProtobufFraming::Registry(RegistryFraming::Confluent), limits);
    let id = SchemaId::registered(ID.into()).at(&[0]).expect("it is the first");
    decoder.learn(id, program);
    decoder
}

/// The types that the records are written with.
fn pool() -> DescriptorPool {
    let features = (0..FEATURES).map(|it| (format!("f{it:02}"), Type::Double, None));
    let text = |name: &str| (name.to_owned(), Type::String, None);
    let fields = [
        text("prediction_id"),
        ("ts".to_owned(), Type::Int64, None),
        text("model"),
        text("version"),
        ("features".to_owned(), Type::Message, Some(".Features".to_owned())),
        text("segment"),
        text("pad"),
    ];
    let file = FileDescriptorProto {
        name: Some("prediction.proto".to_owned()),
        message_type: vec![message("Prediction", fields), message("Features", features)],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    DescriptorPool::from_file_descriptor_set(prost_reflect::prost_types::FileDescriptorSet {
        file: vec![file],
    })
    .expect("the bench's types are well defined")
}

fn message(
    name: &str,
    fields: impl IntoIterator<Item = (String, Type, Option<String>)>,
) -> DescriptorProto {
    let field = |(number, (name, kind, type_name)): (i32, (String, Type, Option<String>))| {
        FieldDescriptorProto {
            name: Some(name),
            number: Some(number),
            label: Some(Label::Optional.into()),
            r#type: Some(kind.into()),
            type_name,
            ..FieldDescriptorProto::default()
        }
    };
    DescriptorProto {
        name: Some(name.to_owned()),
        field: (1..).zip(fields).map(field).collect(),
        ..DescriptorProto::default()
    }
}

/// Records of one size with values that differ in every digit.
fn payloads() -> Vec<Vec<u8>> {
    // Knuth's MMIX generator: any varied sequence does, and this one needs no crate.
    let mut state = 1_u64;
    let mut uniform = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let record = |number: usize| {
        let mut payload = [&[0][..], &ID.to_be_bytes(), &[0]].concat();
        counted(1, format!("{number:020}").as_bytes(), &mut payload);
        tag(2, 0, &mut payload);
        varint(1_364_806_800_000 + number, &mut payload);
        counted(3, b"flights", &mut payload);
        counted(4, b"2", &mut payload);
        let mut features = Vec::new();
        for feature in 1..=FEATURES {
            tag(feature, 1, &mut features);
            features.extend((100.0 + 900.0 * uniform()).to_le_bytes());
        }
        counted(5, &features, &mut payload);
        counted(6, b"LGA", &mut payload);
        counted(7, "x".repeat(PAD_BYTES).as_bytes(), &mut payload);
        payload
    };
    (0..RECORDS).map(record).collect()
}

fn counted(number: usize, bytes: &[u8], out: &mut Vec<u8>) {
    tag(number, 2, out);
    varint(bytes.len(), out);
    out.extend(bytes);
}

fn tag(number: usize, form: usize, out: &mut Vec<u8>) {
    varint(number << 3 | form, out);
}

fn varint(number: usize, out: &mut Vec<u8>) {
    let mut bits = number;
    while 0x7f < bits {
        out.push(bits.to_le_bytes()[0] | 0x80);
        bits >>= 7;
    }
    out.push(bits.to_le_bytes()[0]);
}

fn source() -> Arc<SourceSchema> {
    let path = |text: &str| FieldPath::parse(text).expect("the bench's paths are paths");
    let feature = |number: usize| {
        let name = format!("features.f{number:02}");
        FeatureField { path: path(&name), name: name.into(), kind: FeatureKind::Float64 }
    };
    let model = ModelSchema {
        name: "flights".into(),
        version: VersionField::Path(path("version")),
        prediction_id: None,
        features: (0..FEATURES).map(feature).collect(),
        segments: vec![SegmentField { name: "origin".into(), path: path("segment") }],
    };
    let by = Some(path("model"));
    let schema = SourceSchema::try_new(path("ts"), TimeFormat::UnixMillis, by, vec![model]);
    Arc::new(schema.expect("the bench's schema is one"))
}
