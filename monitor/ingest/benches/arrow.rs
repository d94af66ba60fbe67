//! Rows per second of the Arrow decoder, beside `arrow-ipc` reading the same messages.
//!
//! One core; a row has 20 floats, a text of few levels, a text that is the same in all rows and a
//! time. Messages have 1, 10, 100 or 1,000 of them, as they are and compressed. Rounds of both
//! alternate, and the fastest of each counts, so that a neighbour's load cancels out.
//! `cargo bench -p driftd-ingest --bench arrow`.

#![expect(clippy::print_stdout, reason = "a bench reports to whoever started it")]
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, StringArray, TimestampMillisecondArray,
};
use arrow::datatypes::{Int8Type, Schema};
use arrow::ipc::CompressionType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::record_batch::RecordBatch;
use driftd_ingest::{
    ArrowDecoder, Decode, DecodeLimits, FeatureField, FeatureKind, FieldPath, Message, ModelSchema,
    SegmentField, SourceSchema, TimeFormat, VersionField,
};

const ROWS: usize = 100_000;
const BATCH_ROWS: usize = 8_192;
const FEATURES: usize = 20;
const ROUNDS: usize = 9;

/// How a text of few levels is written.
#[derive(Clone, Copy)]
enum Texts {
    Plain,
    Dictionary,
}

fn main() {
    for (texts, compression, name) in [
        (Texts::Plain, None, "plain texts"),
        (Texts::Dictionary, None, "dictionaries"),
        (Texts::Dictionary, Some(CompressionType::LZ4_FRAME), "dictionaries, LZ4"),
        (Texts::Dictionary, Some(CompressionType::ZSTD), "dictionaries, zstd"),
    ] {
        for rows in [1, 10, 100, 1_000] {
            measure(rows, texts, compression, name);
        }
    }
}

fn measure(rows: usize, texts: Texts, compression: Option<CompressionType>, name: &str) {
    let payloads = payloads(rows, texts, compression);
    let bytes: usize = payloads.iter().map(Vec::len).sum();
    let cells_max = DecodeLimits::CELLS_MAX;
    let limits = DecodeLimits { payload_bytes_max: 1 << 20, rows_max: 10_000, cells_max };
    let mut decoder = ArrowDecoder::new(source(), limits);
    let (mut own, mut arrow) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        own = own.min(timed(|| decode(&mut decoder, &payloads)));
        arrow = arrow.min(timed(|| arrow_decode(&payloads)));
    }
    let count = payloads.len() * rows;
    let per_second = |count: usize, time: Duration| count as f64 / time.as_secs_f64() / 1e6;
    println!(
        "{name:20} {rows:5} rows a message, {:7.0} bytes: ArrowDecoder {:7.3} M rows/s, {:6.0} \
         MB/s; StreamReader {:7.3} M rows/s; {:5.2} x",
        bytes as f64 / payloads.len() as f64,
        per_second(count, own),
        per_second(bytes, own),
        per_second(count, arrow),
        arrow.as_secs_f64() / own.as_secs_f64(),
    );
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn decode(decoder: &mut ArrowDecoder, payloads: &[Vec<u8>]) {
    for (offset, payload) in (0..).zip(payloads) {
        decoder.decode(&Message { payload: Some(payload), offset, timestamp: None, envelope: &[] });
        if BATCH_ROWS <= decoder.rows() {
            let decoded = black_box(decoder.finish());
            assert!(decoded.rejections.is_empty(), "the bench's rows are good");
        }
    }
    black_box(decoder.finish());
}

fn arrow_decode(payloads: &[Vec<u8>]) {
    for payload in payloads {
        let reader = StreamReader::try_new(&payload[..], None).expect("the bench's streams");
        for batch in reader {
            black_box(batch.expect("the bench's streams are good"));
        }
    }
}

/// Messages with values that differ in every digit.
fn payloads(rows: usize, texts: Texts, compression: Option<CompressionType>) -> Vec<Vec<u8>> {
    // Knuth's MMIX generator: any varied sequence does, and this one needs no crate.
    let mut state = 1_u64;
    let mut uniform = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut payload = |number: usize| {
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        for feature in 0..FEATURES {
            let values: Float64Array = (0..rows).map(|_| Some(100.0 + 900.0 * uniform())).collect();
            columns.push((format!("f{feature:02}"), Arc::new(values)));
        }
        let airports: Vec<&str> = (0..rows)
            .map(|_| {
                let draw = uniform();
                if draw < 0.5 {
                    "LGA"
                } else if draw < 0.8 {
                    "JFK"
                } else {
                    "EWR"
                }
            })
            .collect();
        let first = 1_364_806_800_000 + i64::try_from(number * rows).expect("times fit");
        let times: TimestampMillisecondArray = (first..).take(rows).map(Some).collect();
        for (name, all) in [("origin", airports), ("version", vec!["2"; rows])] {
            let array: ArrayRef = match texts {
                Texts::Plain => Arc::new(StringArray::from(all)),
                Texts::Dictionary => {
                    Arc::new(all.into_iter().collect::<DictionaryArray<Int8Type>>())
                }
            };
            columns.push((name.to_owned(), array));
        }
        columns.push(("ts".to_owned(), Arc::new(times)));
        write(&RecordBatch::try_from_iter(columns).expect("columns of one length"), compression)
    };
    (0..ROWS / rows.max(10)).map(&mut payload).collect()
}

fn write(batch: &RecordBatch, compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default();
    let options = options.try_with_compression(compression).expect("the features are there");
    let schema: &Schema = &batch.schema();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), schema, options)
        .expect("a list of bytes takes all");
    writer.write(batch).expect("a list of bytes takes all");
    writer.into_inner().expect("a list of bytes takes all")
}

fn source() -> Arc<SourceSchema> {
    let path = |text: &str| FieldPath::parse(text).expect("the bench's paths are paths");
    let feature = |number: usize| {
        let name = format!("f{number:02}");
        let at = path(&format!("[].{name}"));
        FeatureField { path: at, name: name.into(), kind: FeatureKind::Float64 }
    };
    let model = ModelSchema {
        name: "flights".into(),
        version: VersionField::Path(path("[].version")),
        prediction_id: None,
        features: (0..FEATURES).map(feature).collect(),
        segments: vec![SegmentField { name: "origin".into(), path: path("[].origin") }],
    };
    let time = path("[].ts");
    let schema = SourceSchema::try_new(time, TimeFormat::UnixMillis, None, vec![model]);
    Arc::new(schema.expect("the bench's schema is one"))
}
