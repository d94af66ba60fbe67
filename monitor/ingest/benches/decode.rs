//! Records per second of the JSON decoder, beside `serde_json::Value` parsing the same payloads.
//!
//! One core; a record is 532 bytes with 20 floats nested in an object, one record a message, and
//! the same records as lists of 50 a message. Rounds of all alternate, and the fastest of each
//! counts, so that a neighbour's load cancels out.
//! `cargo bench -p driftd-ingest`.

#![expect(clippy::print_stdout, reason = "a bench reports to whoever started it")]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftd_ingest::{
    Decode, DecodeLimits, FeatureField, FeatureKind, FieldPath, JsonDecoder, Message, ModelSchema,
    SegmentField, SourceSchema, TimeFormat, VersionField,
};

const RECORDS: usize = 20_000;
const RECORD_BYTES: usize = 532;
const BATCH_RECORDS: usize = 4_096;
const FEATURES: usize = 20;
const ROUNDS: usize = 15;
const LISTED_RECORDS: usize = 50;

fn main() {
    let payloads = payloads();
    let lists: Vec<Vec<u8>> = payloads.chunks(LISTED_RECORDS).map(list).collect();
    let limits = DecodeLimits {
        payload_bytes_max: 1 << 20,
        rows_max: LISTED_RECORDS,
        cells_max: DecodeLimits::CELLS_MAX,
    };
    let mut decoder = JsonDecoder::new(schema(""), limits);
    let mut list_decoder = JsonDecoder::new(schema("[]."), limits);
    let (mut columns, mut listed, mut value) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        columns = columns.min(timed(|| decode(&mut decoder, &payloads)));
        listed = listed.min(timed(|| decode(&mut list_decoder, &lists)));
        value = value.min(timed(|| parse(&payloads)));
    }
    report("JsonDecoder, 20 features, 2 names, time", columns);
    report("JsonDecoder, lists of 50 such records", listed);
    report("serde_json::Value, parse only", value);
    let ratio = value.as_secs_f64() / columns.as_secs_f64();
    println!("JsonDecoder / serde_json::Value: {ratio:.2} x");
}

/// Several records as one message.
fn list(records: &[Vec<u8>]) -> Vec<u8> {
    [b"[", &records.join(&b","[..])[..], b"]"].concat()
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn report(name: &str, elapsed: Duration) {
    let per_second = RECORDS as f64 / elapsed.as_secs_f64();
    let megabytes = per_second * RECORD_BYTES as f64 / 1e6;
    println!("{name:40} {:.3} M records/s, {megabytes:.0} MB/s", per_second / 1e6);
}

fn decode(decoder: &mut JsonDecoder, payloads: &[Vec<u8>]) {
    for (offset, payload) in (0..).zip(payloads) {
        decoder.decode(&Message { payload: Some(payload), offset, timestamp: None });
        if BATCH_RECORDS <= decoder.rows() {
            let decoded = black_box(decoder.finish());
            assert!(decoded.rejections.is_empty(), "the bench's records are good");
        }
    }
    black_box(decoder.finish());
}

fn parse(payloads: &[Vec<u8>]) {
    for payload in payloads {
        let value: serde_json::Value =
            serde_json::from_slice(payload).expect("the bench's records are JSON");
        black_box(value);
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
        let mut text = format!(
            r#"{{"prediction_id":"{number:020}","ts":{},"model":"flights","version":"2","features":{{"#,
            1_364_806_800_000 + number
        );
        for feature in 0..FEATURES {
            let comma = if feature == 0 { "" } else { "," };
            write!(text, r#"{comma}"f{feature:02}":{:.6}"#, 100.0 + 900.0 * uniform())
                .expect("a string takes text");
        }
        text.push_str(r#"},"segment":"LGA","pad":""#);
        let pad = RECORD_BYTES.saturating_sub(text.len() + r#""}"#.len());
        text.extend(std::iter::repeat_n('x', pad));
        text.push_str(r#""}"#);
        assert_eq!(text.len(), RECORD_BYTES, "every record has the stated size");
        text.into_bytes()
    };
    (0..RECORDS).map(record).collect()
}

/// `list` comes before each path.
fn schema(list: &str) -> Arc<SourceSchema> {
    let path = |text: &str| {
        FieldPath::parse(&format!("{list}{text}")).expect("the bench's paths are paths")
    };
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
