//! Records per second of the JSON decoder, beside `arrow-json` and `serde_json::Value` on the same
//! payloads.
//!
//! One core; a record is 532 bytes with 20 floats nested in an object, one record a message, in the
//! shapes that producers write: always alike, keys in changing order, several producers in turn,
//! white space, nulls, escapes, fields that nobody asks for; and as lists of 50 a message. Rounds
//! of all alternate, and the fastest of each counts, so that a neighbour's load cancels out.
//! `cargo bench -p driftd-ingest --bench decode`; arguments choose shapes by their names.

#![expect(clippy::print_stdout, reason = "a bench reports to whoever started it")]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, Field, Schema};
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder as ArrowDecoder;
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

/// How records are written.
struct Shape {
    name: &'static str,
    /// Records in a row that have their keys in the same order; 0: all of them.
    order_kept: usize,
    /// Producers that take turns, each with an order of its own.
    producers: usize,
    space: &'static str,
    /// One in so many values is null; 0: none.
    nulls: u64,
    /// Texts have an escape.
    is_escaped: bool,
    /// Fields beside the others, each with a number.
    unneeded: usize,
}

const ALIKE: Shape = Shape {
    name: "alike",
    order_kept: 0,
    producers: 1,
    space: "",
    nulls: 0,
    is_escaped: false,
    unneeded: 0,
};

const SHAPES: [Shape; 8] = [
    ALIKE,
    Shape { name: "three producers in turn", producers: 3, ..ALIKE },
    Shape { name: "keys change order every 100 records", order_kept: 100, ..ALIKE },
    Shape { name: "keys in another order in each record", order_kept: 1, ..ALIKE },
    Shape { name: "white space", space: " ", ..ALIKE },
    Shape { name: "one value in ten is null", nulls: 10, ..ALIKE },
    Shape { name: "escapes in texts", is_escaped: true, ..ALIKE },
    Shape { name: "40 fields that nobody asks for", unneeded: 40, ..ALIKE },
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let is_wanted =
        |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(&**part));
    for shape in SHAPES.iter().filter(|shape| is_wanted(shape.name)) {
        measure(shape);
    }
    if is_wanted("lists") {
        measure_lists();
    }
}

fn measure(shape: &Shape) {
    let payloads = payloads(shape);
    let mut decoder = decoder("");
    let mut other = arrow_decoder();
    let [mut own, mut arrow, mut value] = [Duration::MAX; 3];
    for _ in 0..ROUNDS {
        own = own.min(timed(|| decode(&mut decoder, &payloads)));
        arrow = arrow.min(timed(|| decode_by_arrow(&mut other, &payloads)));
        value = value.min(timed(|| parse(&payloads)));
    }
    let bytes: usize = payloads.iter().map(Vec::len).sum();
    println!("{}, {} bytes:", shape.name, bytes / RECORDS);
    report("JsonDecoder, 20 features, 3 names, time", own, bytes);
    report("arrow-json, the same columns", arrow, bytes);
    report("serde_json::Value, parse only", value, bytes);
    let ratio = |of: Duration| of.as_secs_f64() / own.as_secs_f64();
    println!("  {:.2} x arrow-json, {:.2} x serde_json::Value", ratio(arrow), ratio(value));
}

fn measure_lists() {
    let payloads = payloads(&ALIKE);
    let lists: Vec<Vec<u8>> = payloads.chunks(LISTED_RECORDS).map(list).collect();
    let (mut single, mut listed) = (decoder(""), decoder("[]."));
    let [mut alone, mut together] = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        alone = alone.min(timed(|| decode(&mut single, &payloads)));
        together = together.min(timed(|| decode(&mut listed, &lists)));
    }
    let bytes = RECORDS * RECORD_BYTES;
    println!("lists of {LISTED_RECORDS} records:");
    report("JsonDecoder", together, bytes);
    println!("  {:.2} x single records", alone.as_secs_f64() / together.as_secs_f64());
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

fn report(name: &str, elapsed: Duration, bytes: usize) {
    let per_second = RECORDS as f64 / elapsed.as_secs_f64();
    let megabytes = bytes as f64 / elapsed.as_secs_f64() / 1e6;
    println!("  {name:40} {:.3} M records/s, {megabytes:.0} MB/s", per_second / 1e6);
}

fn decode(decoder: &mut JsonDecoder, payloads: &[Vec<u8>]) {
    for (offset, payload) in (0..).zip(payloads) {
        decoder.decode(&Message { payload: Some(payload), offset, timestamp: None, envelope: &[] });
        if BATCH_RECORDS <= decoder.rows() {
            let decoded = black_box(decoder.finish());
            assert!(decoded.rejections.is_empty(), "the bench's records are good");
        }
    }
    black_box(decoder.finish());
}

fn decode_by_arrow(decoder: &mut ArrowDecoder, payloads: &[Vec<u8>]) {
    for batch in payloads.chunks(BATCH_RECORDS) {
        for payload in batch {
            let read = decoder.decode(payload).expect("the bench's records are good");
            assert_eq!(read, payload.len(), "the batch is large enough");
        }
        black_box(decoder.flush().expect("the bench's records are good"));
    }
}

fn parse(payloads: &[Vec<u8>]) {
    for payload in payloads {
        let value: serde_json::Value =
            serde_json::from_slice(payload).expect("the bench's records are JSON");
        black_box(value);
    }
}

/// Numbers that look drawn: Knuth's MMIX generator, for any varied sequence does.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 11
    }

    fn uniform(&mut self) -> f64 {
        self.next() as f64 / (1_u64 << 53) as f64
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let other = usize::try_from(self.next()).expect("53 bits fit") % (at + 1);
            items.swap(at, other);
        }
    }
}

/// Records with values that differ in every digit.
fn payloads(shape: &Shape) -> Vec<Vec<u8>> {
    let mut draws = Draws(1);
    let in_order = || (0..FEATURES).collect::<Vec<usize>>();
    let mut orders: Vec<_> = (0..shape.producers).map(|_| in_order()).collect();
    let others = orders.iter_mut().skip(1);
    others.for_each(|order| draws.shuffle(order));
    (0..RECORDS)
        .map(|number| {
            let order = &mut orders[number % shape.producers];
            if 0 < shape.order_kept && number.is_multiple_of(shape.order_kept) {
                draws.shuffle(order);
            }
            record(shape, number, order, &mut draws)
        })
        .collect()
}

fn record(shape: &Shape, number: usize, order: &[usize], draws: &mut Draws) -> Vec<u8> {
    let mut text = format!(
        r#"{{"prediction_id":"{number:020}","ts":{},"model":"flights","version":"2","features":{{"#,
        1_364_806_800_000 + number
    );
    let mut comma = "";
    for feature in order {
        let is_null = 0 < shape.nulls && draws.next().is_multiple_of(shape.nulls);
        let value = 100.0 + 900.0 * draws.uniform();
        let value = if is_null { "null".to_owned() } else { format!("{value:.6}") };
        write!(text, r#"{comma}"f{feature:02}":{value}"#).expect("a string takes text");
        comma = ",";
    }
    text.push_str(r#"},"segment":"LGA""#);
    for field in 0..shape.unneeded {
        let value = 900.0 * draws.uniform();
        write!(text, r#","unneeded_{field}":{value:.3}"#).expect("a string takes text");
    }
    text.push_str(if shape.is_escaped { r#","pad":"\"\u00e9"# } else { r#","pad":""# });
    let pad = RECORD_BYTES.saturating_sub(text.len() + r#""}"#.len());
    text.extend(std::iter::repeat_n('x', pad));
    text.push_str(r#""}"#);
    if shape.is_escaped {
        text = text.replace("LGA", r"L\u0047A").replace("flights", r"fl\u0069ghts");
    }
    if !shape.space.is_empty() {
        text = text.replace(':', &format!(":{}", shape.space));
        text = text.replace(',', &format!(",{}", shape.space));
    }
    text.into_bytes()
}

/// `list` comes before each path.
fn decoder(list: &str) -> JsonDecoder {
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
    let limits = DecodeLimits {
        payload_bytes_max: 1 << 20,
        rows_max: LISTED_RECORDS,
        cells_max: DecodeLimits::CELLS_MAX,
    };
    JsonDecoder::new(Arc::new(schema.expect("the bench's schema is one")), limits)
}

/// Only what the other decoder reads as well.
fn arrow_decoder() -> ArrowDecoder {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let float = |number| Field::new(format!("f{number:02}"), DataType::Float64, true);
    let features = DataType::Struct((0..FEATURES).map(float).collect());
    let fields = vec![
        Field::new("ts", DataType::Int64, true),
        text("model"),
        text("version"),
        Field::new("features", features, true),
        text("segment"),
    ];
    ReaderBuilder::new(Arc::new(Schema::new(fields)))
        .with_batch_size(BATCH_RECORDS)
        .build_decoder()
        .expect("the bench's schema is one")
}
