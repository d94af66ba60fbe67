//! Records per second of the Avro decoder, beside `arrow-avro` reading the same payloads.
//!
//! One core; a record is that of `decode.rs`, with 20 floats in a record of their own, framed as a
//! registry's serializer does, one record a message. `arrow-avro` is told to leave out what the
//! paths do not want. Rounds of both alternate, and the fastest of each counts, so that a
//! neighbour's load cancels out.
//! `cargo bench -p driftd-ingest --bench avro`.

#![expect(clippy::print_stdout, reason = "a bench reports to whoever started it")]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{
    AvroSchema as ArrowAvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore,
};
use driftd_ingest::{
    AvroDecoder, AvroFraming, AvroProgram, AvroSchema, Decode, DecodeLimits, FeatureField,
    FeatureKind, FieldPath, Message, ModelSchema, RegistryFraming, SchemaId, SegmentField,
    SourceSchema, TimeFormat, VersionField,
};

const RECORDS: usize = 20_000;
const BATCH_RECORDS: usize = 4_096;
const FEATURES: usize = 20;
const PAD_BYTES: usize = 120;
const ROUNDS: usize = 15;
const ID: u32 = 1;

fn main() {
    let payloads = payloads();
    let bytes: usize = payloads.iter().map(Vec::len).sum();
    let mut decoder = decoder();
    let mut arrow_decoder = arrow_decoder();
    let (mut own, mut arrow) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        own = own.min(timed(|| decode(&mut decoder, &payloads)));
        arrow = arrow.min(timed(|| arrow_decode(&mut arrow_decoder, &payloads)));
    }
    report("AvroDecoder, 20 features, 2 names, time", own, bytes);
    report("arrow-avro, the same fields", arrow, bytes);
    let ratio = arrow.as_secs_f64() / own.as_secs_f64();
    println!("AvroDecoder / arrow-avro: {ratio:.2} x");
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn report(name: &str, elapsed: Duration, bytes: usize) {
    let per_second = |count: usize| count as f64 / elapsed.as_secs_f64() / 1e6;
    let (records, megabytes) = (per_second(RECORDS), per_second(bytes));
    println!("{name:40} {records:.3} M records/s, {megabytes:.0} MB/s");
}

fn decode(decoder: &mut AvroDecoder, payloads: &[Vec<u8>]) {
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

fn arrow_decode(decoder: &mut Decoder, payloads: &[Vec<u8>]) {
    for payload in payloads {
        let read = decoder.decode(payload).expect("the bench's records are Avro");
        assert_eq!(read, payload.len(), "a record is read whole");
        if decoder.batch_is_full() {
            black_box(decoder.flush().expect("the bench's records are Avro"));
        }
    }
    black_box(decoder.flush().expect("the bench's records are Avro"));
}

fn arrow_decoder() -> Decoder {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    let id = Fingerprint::load_fingerprint_id(ID.to_be());
    store.set(id, ArrowAvroSchema::new(writer())).expect("the bench's schema is one");
    ReaderBuilder::new()
        .with_writer_schema_store(store)
        .with_active_fingerprint(id)
        .with_projection((1..=5).collect())
        .with_batch_size(BATCH_RECORDS)
        .build_decoder()
        .expect("the bench's schema is one")
}

fn decoder() -> AvroDecoder {
    let source = source();
    let writer = AvroSchema::parse(&writer(), &[]).expect("the bench's schema is one");
    let program = AvroProgram::compile(&source, writer).expect("the bench's schema is small");
    let cells_max = DecodeLimits::CELLS_MAX;
    let limits = DecodeLimits { payload_bytes_max: 1 << 20, rows_max: 1, cells_max };
    let mut decoder =
        AvroDecoder::new(source, AvroFraming::Registry(RegistryFraming::Confluent), limits);
    decoder.learn(SchemaId::registered(ID.into()), program);
    decoder
}

/// The schema that the records are written with.
fn writer() -> String {
    let features: Vec<_> = (0..FEATURES)
        .map(|feature| format!(r#"{{"name": "f{feature:02}", "type": "double"}}"#))
        .collect();
    let features = features.join(", ");
    format!(
        r#"{{"type": "record", "name": "Prediction", "fields": [
            {{"name": "prediction_id", "type": "string"}},
            {{"name": "ts", "type": "long"}},
            {{"name": "model", "type": "string"}},
            {{"name": "version", "type": "string"}},
            {{"name": "features", "type":
                {{"type": "record", "name": "Features", "fields": [{features}]}}}},
            {{"name": "segment", "type": "string"}},
            {{"name": "pad", "type": "string"}}]}}"#
    )
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
        let mut payload = [&[0][..], &ID.to_be_bytes()].concat();
        text(&format!("{number:020}"), &mut payload);
        long(1_364_806_800_000 + number, &mut payload);
        text("flights", &mut payload);
        text("2", &mut payload);
        for _ in 0..FEATURES {
            payload.extend((100.0 + 900.0 * uniform()).to_le_bytes());
        }
        text("LGA", &mut payload);
        text(&"x".repeat(PAD_BYTES), &mut payload);
        payload
    };
    (0..RECORDS).map(record).collect()
}

fn text(text: &str, out: &mut Vec<u8>) {
    long(text.len(), out);
    out.extend(text.bytes());
}

/// Writes a number that is not negative.
fn long(number: usize, out: &mut Vec<u8>) {
    let mut bits = number << 1;
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
