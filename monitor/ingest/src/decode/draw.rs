//! Draws sources and values for the tests of formats with types, and says what must be equal.
//!
//! Before: the oracles of the formats. Everything is drawn from a tape of bytes, which proptest
//! shortens and lowers until a failure is as small as it gets.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use proptest::prelude::*;
use serde_json::{Number, Value as Json};

use super::{Decode, DecodeLimits, Decoded, JsonDecoder, Message, Row};
use crate::path::{FieldPath, Step};
use crate::rejection::RejectReason;
use crate::schema::{
    FeatureField, FeatureKind, ModelSchema, SegmentField, SourceSchema, TimeFormat, VersionField,
};

pub(super) const LIMITS: DecodeLimits =
    DecodeLimits { payload_bytes_max: 1 << 20, rows_max: 5, cells_max: 40 };

/// What must be equal however a message was written.
pub(super) type Outcome = (Vec<Row>, Vec<Arc<str>>, Vec<Option<RecordBatch>>, Vec<RejectReason>);

pub(super) fn outcome(decoded: Decoded) -> Outcome {
    let reasons = decoded.rejections.iter().map(|rejection| rejection.reason).collect();
    (decoded.rows, decoded.versions, decoded.batches, reasons)
}

/// Returns what a record is in JSON.
pub(super) fn decoded_json(source: &Arc<SourceSchema>, record: &Json) -> Outcome {
    let payload = record.to_string();
    let mut decoder = JsonDecoder::new(Arc::clone(source), LIMITS);
    let payload = Some(payload.as_bytes());
    decoder.decode(&Message { payload, offset: 0, timestamp: None, envelope: &[] });
    outcome(decoder.finish())
}

/// Returns a number as a producer of JSON would write it.
pub(super) fn json_number(value: f64) -> Json {
    match Number::from_f64(value) {
        Some(number) => Json::Number(number),
        None if value.is_nan() => Json::from("NaN"),
        None => Json::from(if value < 0.0 { "-Infinity" } else { "Infinity" }),
    }
}

/// A tape that is shown as its length: what is drawn from it is shown in its place.
#[derive(Clone)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a tape of {} bytes", self.0.len())
    }
}

pub(super) fn tape() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 200..600).prop_map(Bytes)
}

/// Bytes that decide what is drawn; zeros when they are used up.
pub(super) struct Tape<'a> {
    rest: std::slice::Iter<'a, u8>,
}

impl<'a> Tape<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes.iter() }
    }

    /// Draws a number below `count`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        usize::from(self.rest.next().copied().unwrap_or(0)) % count
    }

    /// Draws yes once in so many times.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    pub(super) fn long(&mut self) -> i64 {
        let bytes = [0; 8].map(|_: u8| self.one_of(&[0, 1, 7, 0x80, 0xff]));
        i64::from_le_bytes(bytes)
    }
}

/// What is wanted at the end of a path, so that most values fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    Number,
    Whole,
    Text,
    Boolean,
    Model,
    Version,
    Time,
}

/// The part of a path below the type that is drawn.
pub(super) type Rest<'a> = (&'a [Step], Leaf);

/// Keys of the paths that are drawn.
pub(super) const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "t", "m", "v"];

/// Returns what is left of a path behind a key: the given one, or any.
pub(super) fn under_key<'a>(rest: &Rest<'a>, key: Option<&str>) -> Option<Rest<'a>> {
    match rest.0.split_first() {
        Some((Step::Key(first), below)) if key.is_none_or(|key| **first == *key) => {
            Some((below, rest.1))
        }
        Some((Step::Key(_) | Step::Index(_) | Step::Where { .. } | Step::Each, _)) | None => None,
    }
}

pub(super) fn under_place<'a>(rest: &Rest<'a>) -> Option<Rest<'a>> {
    match rest.0.split_first() {
        Some((Step::Index(_) | Step::Each, below)) => Some((below, rest.1)),
        Some((Step::Key(_) | Step::Where { .. }, _)) | None => None,
    }
}

/// Paths that go together in one message.
const TOGETHER: [&str; 12] = [
    "a", "b.a", "b.b", "b.c[0]", "b.c[1]", "c.a.b", "d[].a", "d[].b.a", "d[].c[1]", "e[]",
    "b.e[].a", "d[].a",
];

fn draw_path(tape: &mut Tape<'_>, is_list: bool) -> String {
    let before = if is_list { "[]" } else { "" };
    if !tape.once_in(16) {
        let paths = if is_list { &TOGETHER[..6] } else { &TOGETHER[..] };
        let path = tape.one_of(paths);
        return if is_list { format!("[].{path}") } else { path.to_owned() };
    }
    let mut text = before.to_owned();
    for step in 0..=tape.below(3) {
        match tape.below(8) {
            5 if 0 < step => text.push_str(tape.one_of(&["[0]", "[1]", "[3]"])),
            6 | 7 if 0 < step && !text.contains("[]") => text.push_str("[]"),
            _ => {
                text.push_str(if text.is_empty() { "" } else { "." });
                text.push_str(tape.one_of(&KEYS[..5]));
            }
        }
    }
    text
}

pub(super) fn draw_source(tape: &mut Tape<'_>) -> Option<(SourceSchema, Vec<(FieldPath, Leaf)>)> {
    let is_list = tape.once_in(6);
    let before = if is_list { "[]." } else { "" };
    let mut paths = Vec::new();
    let mut path = |text: &str, leaf: Leaf| {
        let path = FieldPath::parse(text).ok()?;
        paths.push((path.clone(), leaf));
        Some(path)
    };
    let event_time = path(&format!("{before}t"), Leaf::Time)?;
    let by = match tape.below(4) {
        0 => Some(path(&format!("{before}m"), Leaf::Model)?),
        1 if !is_list => Some(path("m[]", Leaf::Model)?),
        _ => None,
    };
    let mut models = Vec::new();
    for name in ["first", "second"].iter().take(if by.is_some() { 2 } else { 1 }) {
        let version = match tape.below(3) {
            0 => VersionField::Path(path(&format!("{before}v"), Leaf::Version)?),
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
            let path = path(&draw_path(tape, is_list), leaf)?;
            features.push(FeatureField { name: number.to_string().into(), path, kind });
        }
        let mut segments = Vec::new();
        if tape.once_in(3) {
            let path = path(&draw_path(tape, is_list), Leaf::Text)?;
            segments.push(SegmentField { name: "s".into(), path });
        }
        let prediction_id = match tape.below(3) {
            0 => Some(path(&draw_path(tape, is_list), Leaf::Text)?),
            _ => None,
        };
        let name = (*name).into();
        models.push(ModelSchema { name, version, prediction_id, features, segments });
    }
    let source = SourceSchema::try_new(event_time, TimeFormat::UnixSeconds, by, models).ok()?;
    Some((source, paths))
}

pub(super) fn double(tape: &mut Tape<'_>) -> f64 {
    match tape.below(60) {
        57 => f64::from_bits(tape.long().cast_unsigned()),
        58 => -0.0,
        59 => 1e300,
        _ => f64::from(u16::try_from(tape.below(250)).unwrap()) / 4.0 - 20.0,
    }
}

pub(super) fn text(tape: &mut Tape<'_>) -> String {
    match tape.below(70) {
        0..64 => tape.one_of(&["x", "y", "first", "second", "é"]).to_owned(),
        64 => String::new(),
        65 => "NaN".to_owned(),
        66 => "2013-04-01T11:00:00.5+02:00".to_owned(),
        67 => "a\u{7}".to_owned(),
        68 => "x".repeat(130),
        _ => "y".repeat(257),
    }
}
