//! The values of one record: what each column, name and time takes of what a message says.
//!
//! Before: [`super::columns`] tells the value of a row. After: [`crate::decode::rows`] puts the
//! cells of a row together. The rules are those of JSON, where a value has a kind that JSON has
//! too; dates, timestamps and decimals say more than a number does, and are believed.

use std::fmt::Write;
use std::str;

use driftd_catalog::Timestamp;

use super::columns::{Columns, Dictionaries};
use super::value::{Kind, Meaning, Number, Value};
use crate::decode::LEVEL_BYTES_MAX;
use crate::decode::builders::{Cell, Span, Texts};
use crate::decode::event_time;
use crate::decode::place::{NAME_BYTES_MAX, Place, blocked, check_version};
use crate::decode::plan::unknown_model;
use crate::decode::rows::Record;
use crate::decode::special;
use crate::decode::trie::Trie;
use crate::decode::whole::Whole;
use crate::rejection::{Refusal, RejectReason};
use crate::schema::{FeatureKind, TimeFormat};

/// A date has 32 bits, so its seconds fit.
const DAY_SECONDS: i64 = 86_400;

/// Longest text that may be a time.
const TIME_BYTES_MAX: usize = 256;

/// Texts of one message that are held while its rows are read, in bytes: the same text of a
/// dictionary may be in every row.
pub(super) const TEXT_BYTES_MAX: usize = 16 << 20;

/// One record: a row of a batch.
pub(super) struct ArrowRecord<'a, 'r> {
    pub(super) trie: &'r Trie,
    pub(super) columns: &'r Columns<'a>,
    pub(super) dictionaries: &'r Dictionaries<'a>,
    pub(super) row: usize,
    /// The texts of [`Span::Added`], one behind the other.
    pub(super) added: &'r mut String,
}

impl Record for ArrowRecord<'_, '_> {
    /// Reads the model's name.
    fn model(&mut self, at: &Place) -> Result<Span, Refusal> {
        let value = self.required(at)?;
        let Value::Text(text) = value else { return Err(at.wrong_type("text", value.kind())) };
        if NAME_BYTES_MAX < text.len() {
            return Err(unknown_model(at, utf8(at, text)?));
        }
        self.text(at, text)
    }

    /// Reads the version: text, or a number as JSON has it.
    fn version(&mut self, at: &Place) -> Result<Span, Refusal> {
        let value = self.required(at)?;
        let found = value.kind();
        if found != Kind::Text && found != Kind::Number {
            return Err(at.wrong_type("text or a number", found));
        }
        if let Value::Text(text) = value {
            check_version(text.len())?;
        }
        let span = self.category(at, value)?;
        check_version(self.texts().get(&span).len())?;
        Ok(span)
    }

    /// Reads the event time: a date or timestamp, or else what the source says it is.
    fn event_time(&mut self, at: &Place, format: TimeFormat) -> Result<Timestamp, Refusal> {
        let value = self.required(at)?;
        let mut written = format;
        let time = match value {
            Value::Number(Number::Whole(number, meaning)) if meaning != Meaning::Number => {
                let (unit, number) = in_unit(meaning, number);
                written = unit;
                event_time::from_integer(unit, number)
            }
            Value::Number(_) if format == TimeFormat::Rfc3339 => {
                return Err(at.wrong_type("RFC 3339 text", value.kind()));
            }
            Value::Number(Number::Whole(number, _)) => event_time::from_integer(format, number),
            Value::Number(number) => event_time::from_fraction(format, float64(at, number)?),
            Value::Text(text) if format == TimeFormat::Rfc3339 => {
                let text = if text.len() <= TIME_BYTES_MAX { utf8(at, text)? } else { "" };
                event_time::from_text(text)
            }
            Value::Absent
            | Value::Blocked { .. }
            | Value::Boolean(_)
            | Value::Text(_)
            | Value::Other(_) => {
                let is_text = format == TimeFormat::Rfc3339;
                let expected = if is_text { "RFC 3339 text" } else { "a number" };
                return Err(at.wrong_type(expected, value.kind()));
            }
        };
        time.ok_or_else(|| at.invalid_time(written))
    }

    /// Reads a feature's or prediction's cell.
    fn feature(&mut self, at: &Place, kind: FeatureKind) -> Result<Cell, Refusal> {
        let Some(value) = self.value(at)? else { return Ok(Cell::Null) };
        match (kind, value) {
            (FeatureKind::Float32, Value::Number(number)) => float32(at, number).map(Cell::Float32),
            (FeatureKind::Float64, Value::Number(number)) => float64(at, number).map(Cell::Float64),
            #[expect(clippy::cast_possible_truncation, reason = "NaN and infinities fit f32")]
            (FeatureKind::Float32, _) => {
                not_finite(at, value).map(|special| Cell::Float32(special as f32))
            }
            (FeatureKind::Float64, _) => not_finite(at, value).map(Cell::Float64),
            (FeatureKind::Integer, Value::Number(number)) => integer(at, number).map(Cell::Integer),
            (FeatureKind::Integer, _) => Err(at.wrong_type("a whole number", value.kind())),
            (FeatureKind::Categorical, _) => {
                if let Value::Text(text) = value {
                    at.check_category(text.len())?;
                }
                let span = self.category(at, value)?;
                Ok(Cell::Text(span))
            }
            (FeatureKind::Boolean, Value::Boolean(value)) => Ok(Cell::Boolean(value)),
            (FeatureKind::Boolean, _) => Err(at.wrong_type("a boolean", value.kind())),
        }
    }

    /// Reads the cell of the segment called `name`.
    fn segment(&mut self, at: &Place, name: &str) -> Result<Cell, Refusal> {
        let Some(value) = self.value(at)? else { return Ok(Cell::Null) };
        if let Value::Text(text) = value
            && NAME_BYTES_MAX < text.len()
        {
            at.check_segment(name, utf8(at, text)?)?;
        }
        let span = self.category(at, value)?;
        at.check_segment(name, self.texts().get(&span))?;
        Ok(Cell::Text(span))
    }

    fn added(&mut self) -> &mut String {
        self.added
    }

    fn texts(&self) -> Texts<'_> {
        Texts { payload: "", added: self.added }
    }
}

impl<'a> ArrowRecord<'a, '_> {
    /// Returns the value at a path; `None` when it is absent or null.
    fn value(&self, at: &Place) -> Result<Option<Value<'a>>, Refusal> {
        let column = self.columns.get(at.slot);
        let value = self.columns.value(&column, self.row, self.dictionaries);
        let broken = |problem| at.refusal(RejectReason::InvalidArrow, format_args!("{problem}"));
        match value.map_err(broken)? {
            Value::Absent => Ok(None),
            Value::Blocked { want, expected, found } => {
                Err(blocked(&self.trie.node(want).path, expected, found))
            }
            value @ (Value::Boolean(_) | Value::Number(_) | Value::Text(_) | Value::Other(_)) => {
                Ok(Some(value))
            }
        }
    }

    fn required(&self, at: &Place) -> Result<Value<'a>, Refusal> {
        self.value(at)?.ok_or_else(|| at.missing())
    }

    /// Reads text, or a number or a boolean as JSON has it.
    fn category(&mut self, at: &Place, value: Value<'_>) -> Result<Span, Refusal> {
        if TEXT_BYTES_MAX < self.added.len() {
            let detail = format_args!("rows with more than {TEXT_BYTES_MAX} bytes of text");
            return Err(Refusal::new(RejectReason::Oversized, detail));
        }
        match value {
            Value::Text(text) => self.text(at, text),
            Value::Boolean(value) => Ok(self.add_text(if value { "true" } else { "false" })),
            Value::Number(number) => self.number_text(at, number),
            Value::Absent | Value::Blocked { .. } | Value::Other(_) => {
                Err(at.wrong_type("text, a number or a boolean", value.kind()))
            }
        }
    }

    fn text(&mut self, at: &Place, text: &[u8]) -> Result<Span, Refusal> {
        let text = utf8(at, text)?;
        Ok(self.add_text(text))
    }

    fn number_text(&mut self, at: &Place, number: Number) -> Result<Span, Refusal> {
        match number {
            Number::Whole(number, _) => Ok(self.add(format_args!("{number}"))),
            Number::Large(number) => Ok(self.add(format_args!("{number}"))),
            // Each with no more digits than tell it from others of its width.
            Number::Float(number) if number.is_finite() => Ok(self.add_text(&json(&number))),
            Number::Double(number) if number.is_finite() => Ok(self.add_text(&json(&number))),
            Number::Float(_) | Number::Double(_) => {
                let number = float64(at, number)?;
                Ok(self.add_text(special::word(number)))
            }
            Number::Decimal(..) => {
                let expected = "text, a number that is no decimal, or a boolean";
                Err(at.wrong_type(expected, Kind::Number))
            }
        }
    }

    fn add(&mut self, text: std::fmt::Arguments<'_>) -> Span {
        let start = self.added.len();
        self.added.write_fmt(text).expect("a string takes text");
        Span::Added(start..self.added.len())
    }
}

fn utf8<'t>(at: &Place, text: &'t [u8]) -> Result<&'t str, Refusal> {
    let invalid = |_| at.refusal(RejectReason::InvalidUtf8, format_args!("text that is not UTF-8"));
    str::from_utf8(text).map_err(invalid)
}

#[expect(clippy::cast_possible_truncation, reason = "rounded to the nearest, or refused")]
fn float32(at: &Place, number: Number) -> Result<f32, Refusal> {
    let (rounded, is_finite) = match number {
        Number::Whole(number, _) => (number as f32, true),
        Number::Large(number) => (number as f32, true),
        Number::Float(number) => (number, number.is_finite()),
        Number::Double(number) => (number as f32, number.is_finite()),
        Number::Decimal(digits, scale) => (parsed(&decimal(at, digits, scale)?), true),
    };
    if rounded.is_finite() == is_finite { Ok(rounded) } else { Err(at.out_of_range("f32")) }
}

fn float64(at: &Place, number: Number) -> Result<f64, Refusal> {
    match number {
        Number::Whole(number, _) => Ok(number as f64),
        Number::Large(number) => Ok(number as f64),
        Number::Float(number) => Ok(number.into()),
        Number::Double(number) => Ok(number),
        Number::Decimal(digits, scale) => decimal(at, digits, scale).map(|text| parsed(&text)),
    }
}

/// Reads the numbers that JSON has no token for, as text: a producer of both writes the same.
fn not_finite(at: &Place, value: Value<'_>) -> Result<f64, Refusal> {
    if let Value::Text(text) = value
        && let Some(special) = special::whole(text)
    {
        return Ok(special);
    }
    let expected = "a number, \"NaN\", \"Infinity\" or \"-Infinity\"";
    Err(at.wrong_type(expected, value.kind()))
}

fn integer(at: &Place, number: Number) -> Result<i64, Refusal> {
    let whole = match number {
        Number::Whole(number, _) => return Ok(number),
        Number::Large(_) => Some(Whole::OutOfRange),
        Number::Decimal(digits, scale) => Whole::read(&decimal(at, digits, scale)?),
        Number::Float(_) | Number::Double(_) => {
            Some(float64(at, number)?).filter(|it| it.is_finite()).map(Whole::of)
        }
    };
    match whole {
        None => Err(at.wrong_type("a whole number", "NaN or infinity")),
        Some(Whole::Integer(number)) => Ok(number),
        Some(Whole::OutOfRange) => Err(at.out_of_range("i64")),
        Some(Whole::Fraction) => Err(at.wrong_type("a whole number", "a fraction")),
    }
}

/// Writes a decimal as text, from which numbers are rounded once.
fn decimal(at: &Place, digits: Option<i128>, scale: i32) -> Result<String, Refusal> {
    let digits = digits.ok_or_else(|| at.out_of_range("a decimal of 128 bits"))?;
    let exponent = -scale;
    Ok(if scale == 0 { digits.to_string() } else { format!("{digits}e{exponent}") })
}

/// Returns a whole number with the unit that it says itself.
pub(super) fn in_unit(meaning: Meaning, number: i64) -> (TimeFormat, i64) {
    match meaning {
        Meaning::Number => (TimeFormat::UnixMillis, number),
        Meaning::Time(unit) => (unit, number),
        Meaning::Days => (TimeFormat::UnixSeconds, number * DAY_SECONDS),
    }
}

fn json(number: &impl serde::Serialize) -> String {
    serde_json::to_string(number).expect("JSON has finite numbers")
}

fn parsed<T: str::FromStr>(decimal: &str) -> T {
    let Ok(number) = decimal.parse() else { unreachable!("digits with an exponent are a number") };
    number
}

const _: () = assert!(NAME_BYTES_MAX <= LEVEL_BYTES_MAX, "names are bounded like categories");
