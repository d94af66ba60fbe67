//! The decoder against that of JSON: a message is rows, or refused for a reason, as the same rows
//! in JSON.
//!
//! Columns and paths are drawn; `arrow-ipc` writes them, as streams and files, with and without
//! compression, in one batch or several.

use std::sync::Arc;

use arrow::ipc::reader::{FileReader, StreamReader};
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow::ipc::{CompressionType, MetadataVersion};
use arrow::record_batch::RecordBatch;
use driftd_fixtures::trials::cases;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value as Json;

use super::ArrowDecoder;
use super::hostile_tests::decode_both_ways;
use super::samples::batch;
use crate::decode::draw::{Bytes, KEYS, Leaf, Outcome, Rest, Tape, outcome};
use crate::decode::{Decode, DecodeLimits, JsonDecoder, Message};
use crate::path::FieldPath;
use crate::rejection::RejectReason;
use crate::schema::{
    FeatureField, FeatureKind, ModelSchema, SegmentField, SourceSchema, TimeFormat, VersionField,
};

const LIMITS: DecodeLimits =
    DecodeLimits { payload_bytes_max: 1 << 20, rows_max: 9, cells_max: 60 };

/// Decodes a message by a decoder that may know its schema, and again; and by columns and by rows,
/// which must find the same.
pub(super) fn arrow(source: &Arc<SourceSchema>, limits: DecodeLimits, payload: &[u8]) -> Outcome {
    let message = Message { payload: Some(payload), offset: 0, timestamp: None, envelope: &[] };
    let mut decoder = ArrowDecoder::new(Arc::clone(source), limits);
    decoder.decode(&message);
    let first = outcome(decoder.finish());
    decoder.decode(&message);
    assert_eq!(outcome(decoder.finish()), first);
    let (_, found) = decode_both_ways(source, limits, &message);
    assert_eq!(outcome(found), first);
    first
}

fn json(source: &Arc<SourceSchema>, rows: Vec<Json>) -> Outcome {
    let payload = Json::Array(rows).to_string();
    let mut decoder = JsonDecoder::new(Arc::clone(source), LIMITS);
    decoder.decode(&Message {
        payload: Some(payload.as_bytes()),
        offset: 0,
        timestamp: None,
        envelope: &[],
    });
    outcome(decoder.finish())
}

/// Writes batches in one of the ways.
pub(super) fn written(tape: &mut Tape<'_>, batches: &[RecordBatch]) -> Vec<u8> {
    let schema = batches[0].schema();
    let text = format!("{schema:?}");
    let is_new = text.contains("Union") || text.contains("RunEndEncoded");
    let compression = match tape.below(5) {
        0 => Some(CompressionType::LZ4_FRAME),
        1 => Some(CompressionType::ZSTD),
        _ => None,
    };
    let alignment = tape.one_of(&[8, 16, 64]);
    let is_old = !is_new && compression.is_none() && tape.once_in(4);
    let options = if is_old {
        IpcWriteOptions::try_new(8, true, MetadataVersion::V4)
    } else {
        IpcWriteOptions::try_new(alignment, false, MetadataVersion::V5)
    };
    let options = options.and_then(|it| it.try_with_compression(compression)).unwrap();
    if tape.once_in(3) {
        let mut writer = FileWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        return writer.into_inner().unwrap();
    }
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    if tape.once_in(4) {
        // A stream need not be ended.
        return writer.get_ref().clone();
    }
    writer.into_inner().unwrap()
}

/// Whether `arrow-ipc` reads what it wrote. It does not where it slices runs of views to none, and
/// panics where a slice of decimals does not lie on their border.
fn is_sound(payload: &[u8]) -> bool {
    std::panic::catch_unwind(|| is_read(payload)).unwrap_or(false)
}

fn is_read(payload: &[u8]) -> bool {
    if payload.starts_with(b"ARROW1") {
        let reader = FileReader::try_new(std::io::Cursor::new(payload), None);
        return reader.is_ok_and(|mut reader| reader.all(|batch| batch.is_ok()));
    }
    StreamReader::try_new(payload, None).is_ok_and(|mut reader| reader.all(|batch| batch.is_ok()))
}

/// Paths that go together in one row.
const TOGETHER: [&str; 9] =
    ["a", "b.a", "b.b", "b.c[0]", "b.c[1]", "c.a.b", "d[0].a", "d[1].a", "e[0]"];

fn draw_path(tape: &mut Tape<'_>) -> String {
    if !tape.once_in(16) {
        return format!("[].{}", tape.one_of(&TOGETHER));
    }
    let mut text = "[]".to_owned();
    for step in 0..=tape.below(3) {
        if 0 < step && tape.once_in(4) {
            text.push_str(tape.one_of(&["[0]", "[1]", "[3]"]));
        } else {
            text.push('.');
            text.push_str(tape.one_of(&KEYS[..5]));
        }
    }
    text
}

/// Draws a source; `None` for paths that none may have.
fn draw_source(tape: &mut Tape<'_>) -> Option<(SourceSchema, Vec<(FieldPath, Leaf)>)> {
    let mut paths = Vec::new();
    let mut path = |text: &str, leaf: Leaf| {
        let path = FieldPath::parse(text).ok()?;
        paths.push((path.clone(), leaf));
        Some(path)
    };
    let event_time = path("[].t", Leaf::Time)?;
    let by = match tape.below(3) {
        0 => Some(path("[].m", Leaf::Model)?),
        _ => None,
    };
    let mut models = Vec::new();
    for name in ["first", "second"].iter().take(if by.is_some() { 2 } else { 1 }) {
        let version = match tape.below(3) {
            0 => VersionField::Path(path("[].v", Leaf::Version)?),
            _ => VersionField::Fixed("1".into()),
        };
        let mut features = Vec::new();
        for number in 0..=tape.below(4) {
            let (kind, leaf) = tape.one_of(&[
                (FeatureKind::Float64, Leaf::Number),
                (FeatureKind::Float32, Leaf::Number),
                (FeatureKind::Integer, Leaf::Whole),
                (FeatureKind::Categorical, Leaf::Text),
                (FeatureKind::Boolean, Leaf::Boolean),
            ]);
            let path = path(&draw_path(tape), leaf)?;
            features.push(FeatureField { name: number.to_string().into(), path, kind });
        }
        let mut segments = Vec::new();
        if tape.once_in(3) {
            let path = path(&draw_path(tape), Leaf::Text)?;
            segments.push(SegmentField { name: "s".into(), path });
        }
        let prediction_id = match tape.below(3) {
            0 => Some(path(&draw_path(tape), Leaf::Text)?),
            _ => None,
        };
        let name = (*name).into();
        models.push(ModelSchema { name, version, prediction_id, features, segments });
    }
    let source = SourceSchema::try_new(event_time, TimeFormat::UnixSeconds, by, models).ok()?;
    Some((source, paths))
}

/// Draws a source, rows for it as JSON, and the same as batches.
fn draw(tape: &mut Tape<'_>) -> Option<(Arc<SourceSchema>, Vec<Json>, Vec<RecordBatch>)> {
    let (source, paths) = draw_source(tape)?;
    let rests: Vec<Rest<'_>> =
        paths.iter().map(|(path, leaf)| (&path.steps()[1..], *leaf)).collect();
    let rows = if tape.once_in(30) { 10 + tape.below(4) } else { tape.below(8) };
    let (whole, json) = batch(tape, &rests, rows);
    let (mut batches, mut from) = (Vec::new(), 0);
    while from < rows {
        let length = 1 + tape.below(rows - from);
        batches.push(whole.slice(from, length));
        if tape.once_in(8) {
            batches.push(whole.slice(from, 0));
        }
        from += length;
    }
    if batches.is_empty() {
        batches.push(whole);
    }
    Some((Arc::new(source), json, batches))
}

fn tape() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 200..700).prop_map(Bytes)
}

/// Says of decimals that they are categories for JSON only, and nothing else.
fn is_decimal_text(expected: &Outcome, found: &Outcome, batches: &[RecordBatch]) -> bool {
    let has_decimals = format!("{:?}", batches[0].schema()).contains("Decimal");
    expected != found && has_decimals && found.3 == [RejectReason::WrongType]
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn messages_decode_as_the_same_rows_in_json(bytes in tape()) {
        let mut tape = Tape::new(&bytes.0);
        let Some((source, rows, batches)) = draw(&mut tape) else { return Ok(()) };
        let expected = json(&source, rows);
        let payload = written(&mut tape, &batches);
        prop_assume!(is_sound(&payload));
        let found = arrow(&source, LIMITS, &payload);
        prop_assume!(!is_decimal_text(&expected, &found, &batches));
        prop_assert_eq!(found, expected, "{:?} {:?}", source, batches);
    }

    #[test]
    fn bytes_that_changed_never_panic(
        bytes in tape(),
        changes in prop::collection::vec((any::<Index>(), any::<Index>(), 0..9, any::<u8>()), 1..4),
    ) {
        let mut tape = Tape::new(&bytes.0);
        let Some((source, _, batches)) = draw(&mut tape) else { return Ok(()) };
        let mut payload = written(&mut tape, &batches);
        for (from, to, kind, byte) in changes {
            let (from, to) = (from.index(payload.len() + 1), to.index(payload.len() + 1));
            match kind {
                0 => payload.truncate(from),
                1 => payload.insert(from, byte),
                2 => drop(payload.drain(from.min(to)..from.max(to))),
                // Lengths and offsets are small numbers, mostly.
                3 => payload.iter_mut().skip(from).take(1).for_each(|it| *it = it.wrapping_add(1)),
                4 => payload.iter_mut().skip(from).take(1).for_each(|it| *it = byte % 9),
                5 => payload.iter_mut().skip(from / 8 * 8).take(8).for_each(|it| *it = 0xff),
                _ => payload.iter_mut().skip(from).take(1).for_each(|it| *it = byte),
            }
        }
        let (rows, .., reasons) = arrow(&source, LIMITS, &payload);
        prop_assert!(reasons.is_empty() || rows.is_empty());
    }
}

#[test]
fn drawn_messages_are_mostly_accepted_and_read_by_columns() {
    let mut state = 1_u64;
    let (mut accepted, mut by_columns, mut one_model, mut all) = (0, 0, 0, 0);
    for _ in 0..400 {
        let bytes: Vec<u8> = (0..700)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[1]
            })
            .collect();
        let mut tape = Tape::new(&bytes);
        let Some((source, rows, batches)) = draw(&mut tape) else { continue };
        let (rows, .., reasons) = json(&source, rows);
        all += 1;
        accepted += usize::from(reasons.is_empty());
        let payload = written(&mut tape, &batches);
        let message =
            Message { payload: Some(&payload), offset: 0, timestamp: None, envelope: &[] };
        if rows.first().is_some_and(|first| rows.iter().all(|row| row.model == first.model)) {
            one_model += 1;
            by_columns += usize::from(decode_both_ways(&source, LIMITS, &message).0);
        }
    }
    assert!(100 < all && all < 4 * accepted, "{accepted} of {all}");
    assert!(all < 5 * one_model && 9 * one_model < 10 * by_columns, "{by_columns} of {one_model}");
}
