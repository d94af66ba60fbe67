//! Values of tensors as rows of JSON: from raw bytes, and from numbers of a message of Protobuf.
//!
//! Before: [`super::message`] and JSON's bodies with bytes behind them know a tensor's datatype and
//! shape. After: the text of a list of rows, each the list of its values, as JSON writes them.
//! Nothing is allocated for values that are not in the bytes.

use std::fmt::{self, Write as _};

use super::TensorShape;
use crate::decode::protobuf::wire::Malformed;
use crate::decode::special;
use crate::rejection::RejectReason;

/// What the values of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Datatype {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Fp16,
    Bf16,
    Fp32,
    Fp64,
    Bytes,
}

/// Values that are not those of the shape, or no values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::decode) struct NoValues {
    pub(in crate::decode) reason: RejectReason,
    pub(in crate::decode) problem: String,
}

impl NoValues {
    pub(in crate::decode) fn wrong_type(problem: impl Into<String>) -> Self {
        Self { reason: RejectReason::WrongType, problem: problem.into() }
    }

    /// Says what bytes are no message of Protobuf.
    pub(super) fn of(malformed: Malformed) -> Self {
        Self { reason: RejectReason::InvalidProtobuf, problem: malformed.to_string() }
    }

    pub(in crate::decode) fn unequal(problem: impl Into<String>) -> Self {
        Self { reason: RejectReason::UnequalLists, problem: problem.into() }
    }
}

impl Datatype {
    pub(in crate::decode) const ALL: [(&'static str, Self); 14] = [
        ("BOOL", Self::Bool),
        ("INT8", Self::Int8),
        ("INT16", Self::Int16),
        ("INT32", Self::Int32),
        ("INT64", Self::Int64),
        ("UINT8", Self::Uint8),
        ("UINT16", Self::Uint16),
        ("UINT32", Self::Uint32),
        ("UINT64", Self::Uint64),
        ("FP16", Self::Fp16),
        ("BF16", Self::Bf16),
        ("FP32", Self::Fp32),
        ("FP64", Self::Fp64),
        ("BYTES", Self::Bytes),
    ];

    /// Reads the name that the protocol has for it.
    pub(in crate::decode) fn parse(name: &str) -> Result<Self, NoValues> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, datatype)| *datatype).ok_or_else(|| {
            NoValues::wrong_type("a datatype that the protocol does not have, or none")
        })
    }

    /// Returns how many bytes a value has; `None` where each says it.
    fn bytes(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Int8 | Self::Uint8 => Some(1),
            Self::Int16 | Self::Uint16 | Self::Fp16 | Self::Bf16 => Some(2),
            Self::Int32 | Self::Uint32 | Self::Fp32 => Some(4),
            Self::Int64 | Self::Uint64 | Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }
}

/// Writes values as a list of rows, of which the last one may be unfinished.
pub(in crate::decode) struct RowWriter<'a> {
    into: &'a mut String,
    width: usize,
    /// Where in its row the next value is.
    column: usize,
    /// Whether that is the first row.
    is_first: bool,
}

impl<'a> RowWriter<'a> {
    pub(in crate::decode) fn new(width: usize, into: &'a mut String) -> Self {
        into.push('[');
        Self { into, width, column: 0, is_first: true }
    }

    /// Adds a value, which `write` appends.
    pub(in crate::decode) fn value(&mut self, write: impl FnOnce(&mut String)) {
        self.into.push_str(match (self.is_first, self.column) {
            (true, 0) => "[",
            (false, 0) => ",[",
            (_, _) => ",",
        });
        write(self.into);
        self.column += 1;
        if self.column == self.width {
            self.column = 0;
            self.is_first = false;
            self.into.push(']');
        }
    }

    pub(in crate::decode) fn finish(self) {
        self.into.push(']');
    }
}

/// Appends values that lie one behind the other, little-endian.
pub(in crate::decode) fn append_raw(
    datatype: Datatype,
    shape: TensorShape,
    bytes: &[u8],
    into: &mut String,
) -> Result<(), NoValues> {
    let Some(size) = datatype.bytes() else { return append_texts(shape, bytes, into) };
    let expected = shape.count.checked_mul(size);
    if expected != Some(bytes.len()) {
        let (found, count) = (bytes.len(), shape.count);
        let problem = format!("{found} bytes, and {count} values of {size} by its shape");
        return Err(NoValues::unequal(problem));
    }
    let mut rows = RowWriter::new(shape.width, into);
    for value in bytes.chunks_exact(size) {
        rows.value(|into| append_number(datatype, value, into));
    }
    rows.finish();
    Ok(())
}

/// Appends a value of fixed size.
fn append_number(datatype: Datatype, bytes: &[u8], into: &mut String) {
    fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
        *bytes.first_chunk().expect("a value has the bytes of its datatype")
    }
    match datatype {
        Datatype::Bool => append_bool(bytes != [0], into),
        Datatype::Int8 => append_integer(i8::from_le_bytes(array(bytes)), into),
        Datatype::Int16 => append_integer(i16::from_le_bytes(array(bytes)), into),
        Datatype::Int32 => append_integer(i32::from_le_bytes(array(bytes)), into),
        Datatype::Int64 => append_integer(i64::from_le_bytes(array(bytes)), into),
        Datatype::Uint8 => append_integer(u8::from_le_bytes(array(bytes)), into),
        Datatype::Uint16 => append_integer(u16::from_le_bytes(array(bytes)), into),
        Datatype::Uint32 => append_integer(u32::from_le_bytes(array(bytes)), into),
        Datatype::Uint64 => append_integer(u64::from_le_bytes(array(bytes)), into),
        Datatype::Fp16 => append_float(f64::from(half(u16::from_le_bytes(array(bytes)))), into),
        Datatype::Bf16 => {
            let bits = u32::from(u16::from_le_bytes(array(bytes))) << 16;
            append_float(f64::from(f32::from_bits(bits)), into);
        }
        Datatype::Fp32 => append_float(f64::from(f32::from_le_bytes(array(bytes))), into),
        Datatype::Fp64 => append_float(f64::from_le_bytes(array(bytes)), into),
        Datatype::Bytes => unreachable!("texts have no size of their own"),
    }
}

/// Appends texts, each behind its length in four bytes.
fn append_texts(shape: TensorShape, bytes: &[u8], into: &mut String) -> Result<(), NoValues> {
    let mut rows = RowWriter::new(shape.width, into);
    let (mut rest, mut found) = (bytes, 0);
    while !rest.is_empty() && found < shape.count {
        let text = rest.split_first_chunk().and_then(|(length, behind)| {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            behind.split_at_checked(length)
        });
        let Some((text, behind)) = text else {
            return Err(NoValues::unequal("bytes that end inside of a value"));
        };
        append_text(text, &mut rows)?;
        rest = behind;
        found += 1;
    }
    rows.finish();
    if rest.is_empty() && found == shape.count {
        return Ok(());
    }
    let (left, count) = (rest.len(), shape.count);
    let problem = format!("{found} values and {left} bytes behind them, and {count} by its shape");
    Err(NoValues::unequal(problem))
}

/// Adds bytes that have to be text.
pub(super) fn append_text(text: &[u8], rows: &mut RowWriter<'_>) -> Result<(), NoValues> {
    let text = std::str::from_utf8(text).map_err(|_| NoValues {
        reason: RejectReason::InvalidUtf8,
        problem: "a value that is not UTF-8".to_owned(),
    })?;
    rows.value(|into| append_quoted(text, into));
    Ok(())
}

pub(super) fn append_bool(value: bool, into: &mut String) {
    into.push_str(if value { "true" } else { "false" });
}

pub(super) fn append_integer(value: impl fmt::Display, into: &mut String) {
    // Writing to a text cannot fail.
    _ = write!(into, "{value}");
}

/// Appends a number with the fewest digits that mean it, or the word for one that is not finite.
pub(super) fn append_float(value: f64, into: &mut String) {
    if value.is_finite() {
        // Writing to a text cannot fail.
        _ = write!(into, "{value:?}");
    } else {
        into.push_str(special::word(value));
    }
}

/// Appends a text as JSON has it.
pub(super) fn append_quoted(text: &str, into: &mut String) {
    into.push('"');
    for part in text.split_inclusive(|c| matches!(c, '"' | '\\' | '\0'..='\x1f')) {
        let plain = part.trim_end_matches(|c| matches!(c, '"' | '\\' | '\0'..='\x1f'));
        into.push_str(plain);
        match part.chars().next_back() {
            Some(special @ ('"' | '\\')) => into.extend(['\\', special]),
            // Writing to a text cannot fail.
            Some(control @ '\0'..='\x1f') => _ = write!(into, "\\u{:04x}", u32::from(control)),
            Some(_) | None => {}
        }
    }
    into.push('"');
}

/// Reads a float of 16 bits: one of sign, five of exponent, ten of mantissa.
fn half(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10 & 0x1f);
    let mantissa = u32::from(bits & 0x3ff);
    let magnitude = match (exponent, mantissa) {
        // Below the least normal number the mantissa counts steps of 2^-24.
        (0, _) => (f32::from(bits & 0x3ff) / 16_777_216.0).to_bits(),
        (0x1f, _) => 0x7f80_0000 | mantissa << 13,
        // Exponents count from -15 there, and from -127 in 32 bits.
        (_, _) => (exponent + 112) << 23 | mantissa << 13,
    };
    f32::from_bits(sign | magnitude)
}
