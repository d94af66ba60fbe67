//! The values of one record: what each column, name and time takes of what a message says.
//!
//! Before: a walk has found the values. After: [`crate::decode::rows`] puts the cells of a row
//! together. The rules are those of JSON, where a value has a kind that JSON has too; a type that
//! says more than a number does, such as a logical one of Avro or the timestamp of Protobuf, is
//! believed.

use std::fmt::Write;
use std::ops::Range;
use std::str;

use driftd_catalog::Timestamp;

use super::value::{Found, Kind, Number, Text, Value, WholeMeaning};
use crate::decode::builders::{Cell, Span, Texts};
use crate::decode::event_time;
use crate::decode::place::{Place, blocked, check_version};
use crate::decode::rows::Record;
use crate::decode::special;
use crate::decode::trie::Trie;
use crate::decode::whole::Whole;
use crate::rejection::{Refusal, RejectReason};
use crate::schema::{FeatureKind, TimeFormat};

/// A date is an `int`, so its seconds fit.
const DAY_SECONDS: i64 = 86_400;

/// One record: its message, and what walks found in it.
pub(in crate::decode) struct TypedRecord<'a, F> {
    pub(in crate::decode) payload: &'a [u8],
    /// What symbols of enums are in.
    pub(in crate::decode) symbols: &'a str,
    pub(in crate::decode) trie: &'a Trie,
    /// Values that the record shares with the others of its message.
    pub(in crate::decode) slots: &'a F,
    /// Values of its own, inside of its element of each list.
    pub(in crate::decode) elements: &'a [F],
    /// The texts of [`Span::Added`], one behind the other.
    pub(in crate::decode) added: &'a mut String,
}

impl<F: Found> Record for TypedRecord<'_, F> {
    /// Reads the model's name.
    fn model(&mut self, at: &Place) -> Result<Span, Refusal> {
        let value = self.required(at)?;
        match value {
            Value::Text(text) => self.text(at, *text),
            Value::Absent
            | Value::Blocked { .. }
            | Value::Boolean(_)
            | Value::Number(_)
            | Value::Time { .. }
            | Value::Other(_)
            | Value::List => Err(at.wrong_type("text", value.kind())),
        }
    }

    /// Reads the version: text, or a number as JSON has it.
    fn version(&mut self, at: &Place) -> Result<Span, Refusal> {
        let value = self.required(at)?;
        let found = value.kind();
        if found != Kind::Text && found != Kind::Number {
            return Err(at.wrong_type("text or a number", found));
        }
        let span = self.category(at, value)?;
        check_version(self.texts().get(&span).len())?;
        Ok(span)
    }

    /// Reads the event time: a date or timestamp, or else what the source says it is.
    fn event_time(&mut self, at: &Place, format: TimeFormat) -> Result<Timestamp, Refusal> {
        let value = self.required(at)?;
        let mut written = format;
        let time = match *value {
            Value::Number(Number::Whole(number, meaning)) if meaning != WholeMeaning::Number => {
                let (unit, number) = in_unit(meaning, number);
                written = unit;
                event_time::from_integer(unit, number)
            }
            Value::Time { seconds, nanos } => {
                written = TimeFormat::UnixMillis;
                let millis = seconds.checked_mul(1_000);
                let millis = millis.and_then(|it| it.checked_add(to_millis(nanos)));
                millis.and_then(|millis| event_time::from_integer(written, millis))
            }
            Value::Number(_) if format == TimeFormat::Rfc3339 => {
                return Err(at.wrong_type("RFC 3339 text", value.kind()));
            }
            Value::Number(Number::Whole(number, _)) => event_time::from_integer(format, number),
            Value::Number(Number::Unsigned(number)) => {
                let number = i64::try_from(number).ok();
                number.and_then(|number| event_time::from_integer(format, number))
            }
            Value::Number(number) => event_time::from_fraction(format, self.float64(at, number)?),
            Value::Text(text) if format == TimeFormat::Rfc3339 => {
                let span = self.text(at, text)?;
                event_time::from_text(self.texts().get(&span))
            }
            Value::Absent
            | Value::Blocked { .. }
            | Value::Boolean(_)
            | Value::Text(_)
            | Value::Other(_)
            | Value::List => {
                let is_text = format == TimeFormat::Rfc3339;
                let expected = if is_text { "RFC 3339 text" } else { "a number" };
                return Err(at.wrong_type(expected, value.kind()));
            }
        };
        time.ok_or_else(|| at.invalid_time(written))
    }

    /// Reads a feature's or prediction's cell. Of a number in its column's own type
    /// only itself is copied: a whole value would be written and read in parts of other widths,
    /// for which a processor waits longer than for all the rest.
    #[inline]
    fn feature(&mut self, at: &Place, kind: FeatureKind) -> Result<Cell, Refusal> {
        match (kind, self.found(at)) {
            (FeatureKind::Float64, Value::Number(Number::Double(value))) => {
                Ok(Cell::Float64(*value))
            }
            (FeatureKind::Float32, Value::Number(Number::Float(value))) => {
                Ok(Cell::Float32(*value))
            }
            (FeatureKind::Integer, Value::Number(Number::Whole(value, _))) => {
                Ok(Cell::Integer(*value))
            }
            (_, _) => self.any_feature(at, kind),
        }
    }

    /// Reads the cell of the segment called `name`.
    fn segment(&mut self, at: &Place, name: &str) -> Result<Cell, Refusal> {
        let Some(value) = self.value(at)? else { return Ok(Cell::Null) };
        let span = self.category(at, value)?;
        at.check_segment(name, self.texts().get(&span))?;
        Ok(Cell::Text(span))
    }

    fn added(&mut self) -> &mut String {
        self.added
    }

    fn texts(&self) -> Texts<'_> {
        Texts { payload: self.symbols, added: self.added }
    }
}

impl<'a, F: Found> TypedRecord<'a, F> {
    fn any_feature(&mut self, at: &Place, kind: FeatureKind) -> Result<Cell, Refusal> {
        let Some(value) = self.value(at)? else { return Ok(Cell::Null) };
        match (kind, value) {
            (FeatureKind::Float32, Value::Number(number)) => {
                self.float32(at, *number).map(Cell::Float32)
            }
            (FeatureKind::Float64, Value::Number(number)) => {
                self.float64(at, *number).map(Cell::Float64)
            }
            #[expect(clippy::cast_possible_truncation, reason = "NaN and infinities fit f32")]
            (FeatureKind::Float32, _) => {
                self.not_finite(at, value).map(|special| Cell::Float32(special as f32))
            }
            (FeatureKind::Float64, _) => self.not_finite(at, value).map(Cell::Float64),
            (FeatureKind::Integer, Value::Number(number)) => {
                self.integer(at, *number).map(Cell::Integer)
            }
            (FeatureKind::Integer, _) => Err(at.wrong_type("a whole number", value.kind())),
            (FeatureKind::Categorical, _) => {
                let span = self.category(at, value)?;
                at.check_category(self.texts().get(&span).len())?;
                Ok(Cell::Text(span))
            }
            (FeatureKind::Boolean, Value::Boolean(value)) => Ok(Cell::Boolean(*value)),
            (FeatureKind::Boolean, _) => Err(at.wrong_type("a boolean", value.kind())),
        }
    }

    /// Returns what a walk found at a path.
    fn found(&self, at: &Place) -> &'a Value {
        at.list.map_or(self.slots, |list| &self.elements[list]).get(at.slot)
    }

    /// Returns the value at a path; `None` when it is absent or null.
    fn value(&self, at: &Place) -> Result<Option<&'a Value>, Refusal> {
        let value = self.found(at);
        match value {
            Value::Absent => Ok(None),
            Value::Blocked { want, expected, found } => {
                let trie = at.list.map_or(self.trie, |list| &self.trie.lists()[list].element);
                Err(blocked(&trie.node(*want).path, expected, found))
            }
            Value::Boolean(_)
            | Value::Number(_)
            | Value::Text(_)
            | Value::Time { .. }
            | Value::Other(_)
            | Value::List => Ok(Some(value)),
        }
    }

    fn required(&self, at: &Place) -> Result<&'a Value, Refusal> {
        self.value(at)?.ok_or_else(|| at.missing())
    }

    #[expect(clippy::cast_possible_truncation, reason = "rounded to the nearest, or refused")]
    fn float32(&self, at: &Place, number: Number) -> Result<f32, Refusal> {
        let (rounded, is_finite) = match number {
            Number::Whole(number, _) => (number as f32, true),
            Number::Unsigned(number) => (number as f32, true),
            Number::Float(number) => (number, number.is_finite()),
            Number::Double(number) => (number as f32, number.is_finite()),
            Number::Decimal { start, end, scale } => {
                (parsed(&self.decimal(at, start..end, scale)?), true)
            }
        };
        if rounded.is_finite() == is_finite { Ok(rounded) } else { Err(at.out_of_range("f32")) }
    }

    fn float64(&self, at: &Place, number: Number) -> Result<f64, Refusal> {
        match number {
            Number::Whole(number, _) => Ok(number as f64),
            Number::Unsigned(number) => Ok(number as f64),
            Number::Float(number) => Ok(number.into()),
            Number::Double(number) => Ok(number),
            Number::Decimal { start, end, scale } => {
                self.decimal(at, start..end, scale).map(|text| parsed(&text))
            }
        }
    }

    /// Reads the numbers that JSON has no token for, as text: a producer of both writes the same.
    fn not_finite(&self, at: &Place, value: &Value) -> Result<f64, Refusal> {
        let expected = "a number, \"NaN\", \"Infinity\" or \"-Infinity\"";
        let Value::Text(Text::Payload { start, end }) = *value else {
            return Err(at.wrong_type(expected, value.kind()));
        };
        let special = special::whole(&self.payload[start..end]);
        special.ok_or_else(|| at.wrong_type(expected, value.kind()))
    }

    fn integer(&self, at: &Place, number: Number) -> Result<i64, Refusal> {
        let whole = match number {
            Number::Whole(number, _) => return Ok(number),
            Number::Unsigned(number) => {
                return i64::try_from(number).map_err(|_| at.out_of_range("i64"));
            }
            Number::Decimal { start, end, scale } => {
                Whole::read(&self.decimal(at, start..end, scale)?)
            }
            Number::Float(_) | Number::Double(_) => {
                Some(self.float64(at, number)?).filter(|it| it.is_finite()).map(Whole::of)
            }
        };
        match whole {
            None => Err(at.wrong_type("a whole number", "NaN or infinity")),
            Some(Whole::Integer(number)) => Ok(number),
            Some(Whole::OutOfRange) => Err(at.out_of_range("i64")),
            Some(Whole::Fraction) => Err(at.wrong_type("a whole number", "a fraction")),
        }
    }

    /// Reads text, or a number or a boolean as JSON has it.
    fn category(&mut self, at: &Place, value: &Value) -> Result<Span, Refusal> {
        match *value {
            Value::Text(text) => self.text(at, text),
            Value::Boolean(value) => Ok(self.add_text(if value { "true" } else { "false" })),
            Value::Number(number) => self.number_text(at, number),
            Value::Absent
            | Value::Blocked { .. }
            | Value::Time { .. }
            | Value::Other(_)
            | Value::List => Err(at.wrong_type("text, a number or a boolean", value.kind())),
        }
    }

    fn text(&mut self, at: &Place, text: Text) -> Result<Span, Refusal> {
        match text {
            Text::Symbol { start, end } => Ok(Span::Payload(start..end)),
            Text::Unnamed(number) => Ok(self.add(format_args!("{number}"))),
            Text::Uuid { start } => Ok(self.uuid(start)),
            Text::Payload { start, end } => {
                let text = str::from_utf8(&self.payload[start..end]).map_err(|_| {
                    let problem = format_args!("text that is not UTF-8");
                    at.refusal(RejectReason::InvalidUtf8, problem)
                })?;
                Ok(self.add_text(text))
            }
        }
    }

    fn number_text(&mut self, at: &Place, number: Number) -> Result<Span, Refusal> {
        match number {
            Number::Whole(number, _) => Ok(self.add(format_args!("{number}"))),
            Number::Unsigned(number) => Ok(self.add(format_args!("{number}"))),
            // Each with no more digits than tell it from others of its width.
            Number::Float(number) if number.is_finite() => Ok(self.add_text(&json(&number))),
            Number::Double(number) if number.is_finite() => Ok(self.add_text(&json(&number))),
            Number::Float(_) | Number::Double(_) => {
                let number = self.float64(at, number)?;
                Ok(self.add_text(special::word(number)))
            }
            Number::Decimal { .. } => {
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

    fn uuid(&mut self, start: usize) -> Span {
        let from = self.added.len();
        for (index, byte) in self.payload[start..start + 16].iter().enumerate() {
            let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
            self.add(format_args!("{dash}{byte:02x}"));
        }
        Span::Added(from..self.added.len())
    }

    /// Writes a decimal as text, from which numbers are rounded once.
    fn decimal(&self, at: &Place, place: Range<usize>, scale: usize) -> Result<String, Refusal> {
        let too_large = || at.out_of_range("a decimal of 128 bits");
        let bytes = &self.payload[place];
        let sign = if bytes.first().is_some_and(|first| 0x80 <= *first) { 0xff } else { 0 };
        let leading = bytes.iter().take_while(|byte| **byte == sign).count();
        let digits = &bytes[leading..];
        let mut wide = [sign; 16];
        let from = wide.len().checked_sub(digits.len()).ok_or_else(too_large)?;
        wide[from..].copy_from_slice(digits);
        if (wide[0] ^ sign) & 0x80 != 0 {
            return Err(too_large());
        }
        let number = i128::from_be_bytes(wide);
        Ok(if scale == 0 { number.to_string() } else { format!("{number}e-{scale}") })
    }
}

/// Returns a whole number with the unit that it says itself.
fn in_unit(meaning: WholeMeaning, number: i64) -> (TimeFormat, i64) {
    match meaning {
        WholeMeaning::Number | WholeMeaning::TimestampMillis => (TimeFormat::UnixMillis, number),
        WholeMeaning::TimestampMicros => (TimeFormat::UnixMicros, number),
        WholeMeaning::TimestampNanos => (TimeFormat::UnixNanos, number),
        WholeMeaning::Date => (TimeFormat::UnixSeconds, number * DAY_SECONDS),
    }
}

/// Returns nanoseconds as milliseconds, rounding down.
fn to_millis(nanos: i32) -> i64 {
    i64::from(nanos).div_euclid(1_000_000)
}

fn json(number: &impl serde::Serialize) -> String {
    serde_json::to_string(number).expect("JSON has finite numbers")
}

fn parsed<T: str::FromStr>(decimal: &str) -> T {
    let Ok(number) = decimal.parse() else { unreachable!("digits with an exponent are a number") };
    number
}
