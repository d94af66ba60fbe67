//! Plays the inputs of a fuzz target: its seeds, and what comes of them by changed bytes.
//!
//! Before: a target, which is a test: bytes in, the decoder and its oracle compared. Its seeds are
//! messages that decode, of each shape that it reads. After: [`driftd_fixtures::trials`] says by
//! which random numbers bytes change. An input that fails is printed, and becomes a seed.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{Float32Type, Float64Type};
use arrow::record_batch::RecordBatch;
use driftd_fixtures::trials::{Choices, rounds};
use serde_json::Value as Json;

use super::draw::{self, Outcome};
use super::{CELL_BYTES, Decode, DecodeLimits, Decoded, Message};
use crate::schema::SourceSchema;

/// How many times as many inputs a long run has.
const LONG: usize = 10;

/// One input in so many is a long one, of pieces with so many bytes: what a decoder takes must not
/// grow faster than its input.
const LENGTHENED: u64 = 100;
const LENGTHENED_BYTES: usize = 8 * 1_024;

/// Most pieces of an input that change; every second input has one.
const CHANGES_MAX: usize = 5;

/// Longest piece, so that most of the input stays as it was.
const PIECE_MAX: u64 = 24;

/// Bytes that mean something: ends of ranges, continued numbers, marks of JSON, separators.
const ODD_BYTES: &[u8] = b"\x00\x01\x02\x08\x18\x1e\x1f\x7f\x80\xfe\xff\"\\{}[]:,.-+ \n\r09eEtnN";

/// Numbers that are wrong as lengths and counts, or nearly; eight or sixteen times the one of them
/// is none to those who multiply without a look.
const ODD_NUMBERS: [i64; 10] =
    [-1, 0, 1, 8, 0x7fff_ffff, 0x8000_0000, 1 << 60, 1 << 61, i64::MAX, i64::MIN];

/// Values that are odd in texts.
const ODD_TEXTS: [&str; 12] = [
    "0",
    "-1",
    "null",
    "[]",
    "{}",
    "\"\"",
    "true",
    "1e400",
    "NaN",
    "1073741824",
    "4294967296",
    "9223372036854775807",
];

/// One in so many inputs has to decode after its changes. Those that do say most: that rows are the
/// right ones.
const DECODED_MIN: usize = 25;

/// Memory that an input may take at a time for each byte of its own: most has the text of a body
/// that is CSV of empty values, as [`super::json::embedded_bytes_max`] has it.
const BYTES_FACTOR: usize = 64;

/// Memory of a value that is read and in a column, both growing, as a multiple of [`CELL_BYTES`].
const VALUE_FACTOR: usize = 4;

/// Memory that even a short input may take.
const BYTES_ALWAYS: usize = 16 * 1_024;

/// Checks every seed, and `count` inputs that were made of them, or many more in a long run. A
/// check says whether something decoded.
pub(super) fn play<S: AsRef<[u8]>>(seeds: &[S], count: usize, check: impl Fn(&[u8]) -> bool) {
    let shown_check = |input: Vec<u8>| {
        let input = Shown(input);
        usize::from(check(&input.0))
    };
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|it| it.as_ref().to_vec()).collect();
    for seed in &seeds {
        assert_eq!(shown_check(seed.clone()), 1, "no row of: {}", seed.escape_ascii());
    }
    let (count, mut choices) = (rounds(count, LONG * count), Choices::new());
    let decoded: usize = (0..count).map(|_| shown_check(changed(&seeds, &mut choices))).sum();
    assert!(count <= DECODED_MIN * decoded, "only {decoded} of {count} changed inputs decode");
}

/// An input that is shown when the check of it panics.
struct Shown(Vec<u8>);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the input: b\"{}\"", self.0.escape_ascii());
        }
    }
}

/// Takes a seed and changes some of it.
fn changed(seeds: &[Vec<u8>], choices: &mut Choices) -> Vec<u8> {
    let mut bytes = one_of(seeds, choices).clone();
    for _ in 0..CHANGES_MAX {
        change(&mut bytes, seeds, choices);
        if choices.below(LENGTHENED) == 0 {
            lengthen(&mut bytes, choices);
        }
        if choices.below(2) == 0 {
            break;
        }
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], choices: &mut Choices) {
    let (at, end) = piece(bytes, choices);
    let odd = *one_of(ODD_BYTES, choices);
    match choices.below(13) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, odd),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let again = bytes[at..end].to_vec();
            drop(bytes.splice(at..at, again));
        }
        4 => {
            let other = one_of(seeds, choices);
            let (from, to) = piece(other, choices);
            drop(bytes.splice(at..at, other[from..to].iter().copied()));
        }
        5 => {
            let other = one_of(seeds, choices);
            let (from, to) = piece(other, choices);
            drop(bytes.splice(at..end, other[from..to].iter().copied()));
        }
        6 => {
            let number = one_of(&ODD_NUMBERS, choices).to_le_bytes();
            let width = if choices.below(2) == 0 { 4 } else { 8 };
            for (byte, of_number) in bytes[at..].iter_mut().zip(&number[..width]) {
                *byte = *of_number;
            }
        }
        7 => {
            let number = variable(one_of(&ODD_NUMBERS, choices).cast_unsigned());
            let end = if choices.below(2) == 0 { at } else { bytes.len().min(at + 1) };
            drop(bytes.splice(at..end, number));
        }
        8 => drop(bytes.splice(at..end, one_of(&ODD_TEXTS, choices).bytes())),
        kind => {
            let bit = 1 << choices.below(8);
            for byte in bytes[at..].iter_mut().take(1) {
                *byte = match kind {
                    9 => byte.wrapping_add(1),
                    10 => byte.wrapping_sub(1),
                    11 => *byte ^ bit,
                    _ => odd,
                };
            }
        }
    }
}

/// Repeats a piece of the bytes many times.
fn lengthen(bytes: &mut Vec<u8>, choices: &mut Choices) {
    let (at, end) = piece(bytes, choices);
    let again = bytes[at..end].repeat(LENGTHENED_BYTES / (end - at).max(1));
    drop(bytes.splice(at..at, again));
}

/// Returns the bits as formats write numbers of any length: seven a byte, the lowest first.
fn variable(bits: u64) -> Vec<u8> {
    let bytes = (64 - bits.leading_zeros()).div_ceil(7).max(1);
    let byte = |at: u32| {
        let more = if at + 1 < bytes { 0x80 } else { 0 };
        u8::try_from(bits >> (7 * at) & 0x7f).unwrap() | more
    };
    (0..bytes).map(byte).collect()
}

/// Returns where a short piece of the bytes begins and ends: anywhere, or as often before or behind
/// bytes that mean something, as what stands between two commas.
fn piece(bytes: &[u8], choices: &mut Choices) -> (usize, usize) {
    let mut at = below(bytes.len() + 1, choices);
    if choices.below(2) == 0 {
        at = next_odd(bytes, at).map_or(at, |next| next + below(2, choices));
    }
    let length = usize::try_from(choices.below(PIECE_MAX)).unwrap();
    let end = bytes.len().min(at + length);
    let next = bytes.len().min(at + 1);
    match next_odd(bytes, next) {
        Some(next) if choices.below(2) == 0 && next - at < 2 * length.max(1) => (at, next),
        Some(_) | None => (at, end),
    }
}

/// Returns where the next byte is that means something.
fn next_odd(bytes: &[u8], from: usize) -> Option<usize> {
    let found = bytes[from..].iter().position(|byte| ODD_BYTES.contains(byte));
    found.map(|it| from + it)
}

/// Whether there is a double between two floats, of which the digits that JSON has are nearer to
/// one.
pub(super) fn has_tie(value: &Json) -> bool {
    match value {
        Json::Number(number) => {
            #[expect(clippy::cast_possible_truncation, reason = "as decoders do")]
            let float = number.as_f64().map(|it| it as f32);
            float != number.to_string().parse().ok()
        }
        Json::Array(items) => items.iter().any(has_tie),
        Json::Object(fields) => fields.values().any(has_tie),
        Json::Null | Json::Bool(_) | Json::String(_) => false,
    }
}

fn one_of<'a, T>(all: &'a [T], choices: &mut Choices) -> &'a T {
    &all[below(all.len(), choices)]
}

fn below(bound: usize, choices: &mut Choices) -> usize {
    usize::try_from(choices.below(u64::try_from(bound).unwrap())).unwrap()
}

/// Decodes one message, and checks that it became rows within the bounds, or is refused as a whole,
/// and what memory that took.
pub(super) fn decode(
    decoder: impl Decode,
    payload: &[u8],
    bounds: (DecodeLimits, &SourceSchema),
) -> Decoded {
    decode_with(decoder, payload, bounds, 0)
}

/// The same of a message that may take `more`.
pub(super) fn decode_with(
    mut decoder: impl Decode,
    payload: &[u8],
    (limits, source): (DecodeLimits, &SourceSchema),
    more: usize,
) -> Decoded {
    let message = Message { payload: Some(payload), offset: 0, timestamp: None, envelope: &[] };
    let values = VALUE_FACTOR * CELL_BYTES * limits.message_cells_max(source);
    let decoded = measured(payload.len(), values + more, || {
        decoder.decode(&message);
        decoder.finish()
    });
    check_bounds(&decoded, limits, source);
    decoded
}

/// Reads an input of so many bytes, and checks that it takes no more memory than they allow, and
/// `more`.
pub(super) fn measured<T>(bytes: usize, more: usize, read: impl FnOnce() -> T) -> T {
    let mut found = None;
    let taken = allocation_counter::measure(|| found = Some(read()));
    let most = BYTES_FACTOR * bytes + more + BYTES_ALWAYS;
    let taken = usize::try_from(taken.bytes_max).unwrap();
    assert!(taken <= most, "{bytes} bytes take {taken}, more than {most}");
    found.expect("it was read")
}

/// Returns what must be equal however a message was written: any bits that are not a number are
/// those of JSON's word.
pub(super) fn outcome(decoded: Decoded) -> Outcome {
    let (rows, versions, batches, reasons) = draw::outcome(decoded);
    let batches = batches.into_iter().map(|batch| batch.map(|it| with_one_nan(&it))).collect();
    (rows, versions, batches, reasons)
}

fn with_one_nan(batch: &RecordBatch) -> RecordBatch {
    let column = |array: &ArrayRef| {
        if let Some(array) = array.as_primitive_opt::<Float64Type>() {
            Arc::new(array.unary::<_, Float64Type>(|it| if it.is_nan() { f64::NAN } else { it }))
        } else if let Some(array) = array.as_primitive_opt::<Float32Type>() {
            Arc::new(array.unary::<_, Float32Type>(|it| if it.is_nan() { f32::NAN } else { it }))
        } else {
            Arc::clone(array)
        }
    };
    let columns = batch.columns().iter().map(column).collect();
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

/// Checks that one message became rows within the bounds, or is refused as a whole.
pub(super) fn check_bounds(decoded: &Decoded, limits: DecodeLimits, source: &SourceSchema) {
    let rows = decoded.rows.len();
    assert_eq!((decoded.messages, decoded.from_offset + 1), (1, decoded.to_offset));
    assert!(decoded.rejections.len() <= 1 && (decoded.rejections.is_empty() || rows == 0));
    assert!(rows <= limits.message_rows_max(source), "{rows} rows");
    let batches = decoded.batches.iter().flatten();
    let cells: usize = batches.clone().map(|it| it.num_rows() * it.num_columns()).sum();
    assert!(cells <= limits.message_cells_max(source), "{cells} values of {rows} rows");
    assert_eq!(batches.map(RecordBatch::num_rows).sum::<usize>(), rows);
}
