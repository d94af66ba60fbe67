//! Bytes that may be Arrow, read by columns and by rows, by decoders that know the schema and that
//! do not; and what `arrow-ipc` and `arrow-json` make of the same.
//!
//! Before: [`fuzz`] plays the inputs. After: each way finds the same rows, or refuses for the same
//! reason.

use std::cell::Cell;
use std::io::Cursor;
use std::panic::catch_unwind;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, Float64Array, Float64Builder, Int32Array, Int64Array,
    Int64Builder, ListBuilder, MapBuilder, RunArray, StringArray, StringBuilder, StringViewArray,
};
use arrow::datatypes::{Float32Type, Float64Type, Int8Type, Int32Type, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use arrow::ipc::writer::{DictionaryHandling, IpcWriteOptions};
use arrow::ipc::{self, CompressionType};
use arrow::record_batch::RecordBatch;
use arrow_json::ArrayWriter;
use driftd_catalog::Timestamp;
use driftd_fixtures::messages::ARROW;
use serde_json::Value as Json;

use super::batch::INFLATED_BYTES_MAX;
use super::framing::{self, Head, Opened, open};
use super::inflate::LZ4_FACTOR;
use super::oracle::arrow;
use super::tests::{model, named, path, stream_with};
use super::{ArrowDecoder, DecodeLimits};
use crate::decode::draw::{Outcome, outcome};
use crate::decode::fuzz::has_tie;
use crate::decode::{JsonDecoder, fuzz};
use crate::schema::{FeatureKind, ModelSchema, SegmentField, SourceSchema, TimeFormat};

const LIMITS: DecodeLimits =
    DecodeLimits { payload_bytes_max: 1 << 16, rows_max: 20, cells_max: 100 };

/// What the samples of other libraries have (`fixtures/messages`).
const FLIGHTS: [(&str, FeatureKind); 5] = [
    ("[].features.distance", FeatureKind::Float64),
    ("[].features.flight", FeatureKind::Integer),
    ("[].carrier", FeatureKind::Categorical),
    ("[].scores[1]", FeatureKind::Float32),
    ("[].is_late", FeatureKind::Boolean),
];

/// Of arrays that those samples do not have.
const SHIPS: [(&str, FeatureKind); 6] = [
    ("[].view", FeatureKind::Categorical),
    ("[].map.a", FeatureKind::Float64),
    ("[].map.b", FeatureKind::Float64),
    ("[].runs", FeatureKind::Float64),
    ("[].lists[1][0]", FeatureKind::Integer),
    ("[].lists[0][1]", FeatureKind::Integer),
];

fn source() -> Arc<SourceSchema> {
    let segments = vec![SegmentField { name: "note".into(), path: path("[].note") }];
    let flights = ModelSchema { segments, ..model("flights", &FLIGHTS) };
    let trains = model("trains", &[("[].carrier", FeatureKind::Categorical)]);
    let ships = model("ships", &SHIPS);
    let (time, by) = (path("[].event_time"), Some(path("[].model")));
    let models = vec![flights, trains, ships];
    Arc::new(SourceSchema::try_new(time, TimeFormat::UnixMillis, by, models).unwrap())
}

#[test]
fn streams_and_files() {
    let source = source();
    let seeds: Vec<Vec<u8>> = ARROW
        .iter()
        .map(|(_, payload)| payload.to_vec())
        .chain([of_two_models(), added_to()])
        .chain(ships())
        .collect();
    let schemas: Vec<SchemaRef> =
        seeds.iter().map(|seed| batches(seed).unwrap()[0].schema()).collect();
    let compared = Cell::new(0);
    fuzz::play(&seeds, 10_000, |payload| {
        let found = arrow(&source, LIMITS, payload);
        let decoder = ArrowDecoder::new(Arc::clone(&source), LIMITS);
        let codecs = codecs(payload);
        let more = inflated_bytes_max(&codecs, payload.len());
        fuzz::decode_with(decoder, payload, (LIMITS, &source), more);
        if found.0.is_empty() {
            return false;
        }
        // The other reader makes room for whatever compressed buffers claim.
        if codecs.iter().all(Option::is_none)
            && is_finite(&found)
            && let Some(rows) = rows_in_json(payload, &schemas)
            && !has_tie(&rows)
        {
            let rows = rows.to_string();
            let decoder = JsonDecoder::new(Arc::clone(&source), LIMITS);
            let expected = fuzz::decode(decoder, rows.as_bytes(), (LIMITS, &source));
            assert_eq!(untimed(found), untimed(outcome(expected)), "{rows}");
            compared.set(compared.get() + 1);
        }
        true
    });
    assert!(100 < compared.get(), "{} were compared", compared.get());
}

/// How the messages of a payload are compressed, each.
fn codecs(payload: &[u8]) -> Vec<Option<CompressionType>> {
    let head = Head { version_min: ipc::MetadataVersion::V4, body: 0 };
    let stream = match open(payload) {
        Ok(Opened::Stream(opening)) => opening.messages(head),
        Ok(Opened::File(file)) => file.messages(head),
        Err(_) => return Vec::new(),
    };
    let messages = stream.map_or_else(|_| Vec::new(), |it| it.messages);
    let codec = |it: &framing::Message<'_>| it.content.arrays().compression().map(|it| it.codec());
    messages.iter().map(codec).collect()
}

/// What buffers take at most that are compressed, which may stand for much more than they are.
fn inflated_bytes_max(codecs: &[Option<CompressionType>], bytes: usize) -> usize {
    let most = |codec: &CompressionType| match *codec {
        CompressionType::LZ4_FRAME => LZ4_FACTOR * bytes,
        _ => INFLATED_BYTES_MAX,
    };
    codecs.iter().flatten().map(most).max().unwrap_or(0)
}

/// Whether JSON, as `arrow-json` writes it, has all floats.
fn is_finite(found: &Outcome) -> bool {
    let mut columns = found.2.iter().flatten().flat_map(RecordBatch::columns);
    columns.all(|array| {
        let singles = array.as_primitive_opt::<Float32Type>();
        let doubles = array.as_primitive_opt::<Float64Type>();
        singles.is_none_or(|it| it.iter().flatten().all(f32::is_finite))
            && doubles.is_none_or(|it| it.iter().flatten().all(f64::is_finite))
    })
}

/// Reads the batches by `arrow-ipc`, which panics where offsets lie outside of the message.
fn batches(payload: &[u8]) -> Option<Vec<RecordBatch>> {
    let read = || -> Result<Vec<RecordBatch>, ArrowError> {
        if payload.starts_with(b"ARROW1") {
            return FileReader::try_new(Cursor::new(payload), None)?.collect();
        }
        StreamReader::try_new(payload, None)?.collect()
    };
    catch_unwind(read).ok()?.ok()
}

/// Returns the rows of a message that has one of the schemas, all at the time 0.
fn rows_in_json(payload: &[u8], schemas: &[SchemaRef]) -> Option<Json> {
    let batches = batches(payload)?;
    if !batches.first().is_some_and(|first| schemas.contains(&first.schema())) {
        return None;
    }
    let mut written = Vec::new();
    let mut writer = ArrayWriter::new(&mut written);
    for batch in &batches {
        writer.write(&without_time(batch)).ok()?;
    }
    writer.finish().ok()?;
    let mut rows: Vec<Json> = serde_json::from_slice(&written).ok()?;
    for row in &mut rows {
        row["event_time"] = Json::from(0);
    }
    Some(Json::Array(rows))
}

fn without_time(batch: &RecordBatch) -> RecordBatch {
    let mut batch = batch.clone();
    let at = batch.schema().index_of("event_time").unwrap();
    batch.remove_column(at);
    batch
}

/// Times are compared between the ways of this decoder alone.
fn untimed((mut rows, versions, batches, reasons): Outcome) -> Outcome {
    for row in &mut rows {
        row.event_time = Timestamp::from_millis(0);
    }
    (rows, versions, batches, reasons)
}

fn batch(models: &[&str], carriers: ArrayRef) -> RecordBatch {
    let times: Int64Array = (0..i64::try_from(models.len()).unwrap()).map(Some).collect();
    named(vec![
        ("event_time", Arc::new(times)),
        ("model", Arc::new(StringArray::from(models.to_vec()))),
        ("carrier", carriers),
    ])
}

fn of_two_models() -> Vec<u8> {
    let carriers = StringArray::from(vec![Some("UA"), None, Some("x"), Some("é")]);
    let batch = batch(&["flights", "flights", "trains", "flights"], Arc::new(carriers));
    stream_with(&[batch], IpcWriteOptions::default())
}

/// A message whose dictionary has more for its second batch.
fn added_to() -> Vec<u8> {
    let encoded = |texts: [&str; 3]| -> ArrayRef {
        Arc::new(texts.into_iter().collect::<DictionaryArray<Int8Type>>())
    };
    let batches = [
        batch(&["trains"; 3], encoded(["UA", "AA", "UA"])),
        batch(&["trains"; 3], encoded(["UA", "AA", "B6"])),
    ];
    let options = IpcWriteOptions::default().with_dictionary_handling(DictionaryHandling::Delta);
    stream_with(&batches, options)
}

/// Views, maps, runs and lists of lists: in one stream, without the runs, and compressed.
fn ships() -> Vec<Vec<u8>> {
    let texts = ["of 11 bytes", "of 12 bytes.", "of 13 bytes..", "12345678901é"];
    let views: ArrayRef = Arc::new(StringViewArray::from(texts.to_vec()));
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    let rows = [&[("a", 1.5), ("b", 2.0), ("a", 3.0)][..], &[], &[("z", 0.0), ("b", -1.0)], &[]];
    for (at, row) in rows.iter().enumerate() {
        for (key, value) in *row {
            maps.keys().append_value(key);
            maps.values().append_value(*value);
        }
        maps.append(at != 1).unwrap();
    }
    let maps: ArrayRef = Arc::new(maps.finish());
    let ends = Int32Array::from(vec![1, 3, 4]);
    let runs = Float64Array::from(vec![Some(1.0), None, Some(2.5)]);
    let runs: ArrayRef = Arc::new(RunArray::<Int32Type>::try_new(&ends, &runs).unwrap());
    let mut lists = ListBuilder::new(ListBuilder::new(Int64Builder::new()));
    for row in 0..4 {
        for inner in 0..row {
            lists.values().values().append_slice(&[inner, -row]);
            lists.values().append(true);
        }
        lists.append(row != 1);
    }
    let lists: ArrayRef = Arc::new(lists.finish());
    let all = [("view", views), ("map", maps), ("lists", lists), ("runs", runs)];
    let batch = |columns: &[(&'static str, ArrayRef)]| {
        let times: Int64Array = (0..4).map(Some).collect();
        let models = StringArray::from(vec!["ships"; 4]);
        let head: [(&str, ArrayRef); 2] =
            [("event_time", Arc::new(times)), ("model", Arc::new(models))];
        named(head.into_iter().chain(columns.iter().cloned()).collect())
    };
    let plain = IpcWriteOptions::default();
    let mut written = vec![
        stream_with(&[batch(&all)], plain.clone()),
        stream_with(&[batch(&all[..3])], plain.clone()),
    ];
    for kind in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let options = plain.clone().try_with_compression(Some(kind)).unwrap();
        written.push(stream_with(&[batch(&all)], options));
    }
    written
}
