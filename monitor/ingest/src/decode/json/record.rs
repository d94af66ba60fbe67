//! Reads the values that a walk found: each becomes a name, a time or a cell, or refuses the
//! record.
//!
//! Before: [`super::walk`]. After: [`crate::decode::rows`] gathers the cells of the message's rows.
//! A detail names the path, what it expected and what it found; never the record's own text.

use std::ops::Range;

use driftd_catalog::Timestamp;
use serde::de::{Deserializer, Visitor};

use super::cursor::Cursor;
use super::decimal;
use super::value::{self, Kind};
use super::walk::{Found, Slots};
use crate::decode::builders::{Cell, Span, Texts};
use crate::decode::event_time;
use crate::decode::place::{NAME_BYTES_MAX, Place, blocked, check_version};
use crate::decode::rows::Record;
use crate::decode::special;
use crate::decode::trie::Trie;
use crate::decode::whole::Whole;
use crate::rejection::{Refusal, RejectReason};
use crate::schema::{FeatureKind, TimeFormat};

/// Longest version as it is written: between quotes, each byte as `\u0041`. A longer one need not
/// be read.
const VERSION_JSON_BYTES_MAX: usize = 6 * NAME_BYTES_MAX + 2;

/// One record: its text, and where walks found what.
pub(super) struct JsonRecord<'a> {
    pub(super) payload: &'a str,
    pub(super) trie: &'a Trie,
    /// Values that the record shares with the others of its message.
    pub(super) slots: &'a Slots,
    /// Values of its own, inside of its element of each list.
    pub(super) elements: &'a [Slots],
    /// The texts of [`Span::Added`], one behind the other.
    pub(super) added: &'a mut String,
}

/// A value that is present and not null.
struct Value<'a> {
    kind: Kind,
    text: &'a str,
    start: usize,
}

impl Record for JsonRecord<'_> {
    /// Reads the model's name.
    fn model(&mut self, at: &Place) -> Result<Span, Refusal> {
        let value = self.required(at)?;
        if value.kind == Kind::Text {
            self.text(at, &value)
        } else {
            Err(at.wrong_type("text", value.kind))
        }
    }

    /// Reads the version: text, or a number as it is written.
    fn version(&mut self, at: &Place) -> Result<Span, Refusal> {
        let value = self.required(at)?;
        match value.kind {
            Kind::Text if VERSION_JSON_BYTES_MAX < value.text.len() => {
                let bytes = value.text.len();
                let detail = format_args!("the model's version has {bytes} bytes as it is written");
                Err(Refusal::new(RejectReason::InvalidName, detail))
            }
            Kind::Text => {
                let span = self.text(at, &value)?;
                check_version(self.texts().get(&span).len())?;
                Ok(span)
            }
            Kind::Number => Ok(value.as_written()),
            Kind::Null | Kind::Boolean | Kind::Special | Kind::Array | Kind::Object => {
                Err(at.wrong_type("text or a number", value.kind))
            }
        }
    }

    /// Reads the event time.
    fn event_time(&mut self, at: &Place, format: TimeFormat) -> Result<Timestamp, Refusal> {
        let value = self.required(at)?;
        let time = match (format, value.kind) {
            (TimeFormat::Rfc3339, Kind::Text) => {
                let span = self.text(at, &value)?;
                event_time::from_text(self.texts().get(&span))
            }
            (TimeFormat::Rfc3339, found) => return Err(at.wrong_type("RFC 3339 text", found)),
            (
                TimeFormat::UnixSeconds
                | TimeFormat::UnixMillis
                | TimeFormat::UnixMicros
                | TimeFormat::UnixNanos,
                Kind::Number,
            ) => time_of_number(format, value.text),
            (
                TimeFormat::UnixSeconds
                | TimeFormat::UnixMillis
                | TimeFormat::UnixMicros
                | TimeFormat::UnixNanos,
                found,
            ) => return Err(at.wrong_type("a number", found)),
        };
        time.ok_or_else(|| at.invalid_time(format))
    }

    /// Reads a feature's or prediction's cell. Numbers as most are written need nothing more of
    /// their text to be known.
    #[inline]
    fn feature(&mut self, at: &Place, kind: FeatureKind) -> Result<Cell, Refusal> {
        if kind == FeatureKind::Float64
            && let Some(Found::Value { start, end }) = self.slots(at).get(at.slot)
            && let Some(number) = self.short_number(start..end)
        {
            return Ok(Cell::Float64(number));
        }
        self.any_feature(at, kind)
    }

    /// Reads the cell of the segment called `name`.
    fn segment(&mut self, at: &Place, name: &str) -> Result<Cell, Refusal> {
        let Some(value) = self.value(at)?.filter(|it| !it.is_nan()) else { return Ok(Cell::Null) };
        let span = self.category(at, &value)?;
        at.check_segment(name, self.texts().get(&span))?;
        Ok(Cell::Text(span))
    }

    fn added(&mut self) -> &mut String {
        self.added
    }

    fn texts(&self) -> Texts<'_> {
        Texts { payload: self.payload, added: self.added }
    }
}

impl<'a> JsonRecord<'a> {
    fn any_feature(&mut self, at: &Place, kind: FeatureKind) -> Result<Cell, Refusal> {
        let Some(value) = self.value(at)? else { return Ok(Cell::Null) };
        match kind {
            FeatureKind::Float32 => self.float32(at, &value),
            FeatureKind::Float64 => self.float64(at, &value),
            FeatureKind::Integer | FeatureKind::Categorical | FeatureKind::Boolean
                if value.is_nan() =>
            {
                Ok(Cell::Null)
            }
            FeatureKind::Integer => integer(at, &value),
            FeatureKind::Categorical => {
                let span = self.category(at, &value)?;
                at.check_category(self.texts().get(&span).len())?;
                Ok(Cell::Text(span))
            }
            FeatureKind::Boolean if value.kind == Kind::Boolean => {
                Ok(Cell::Boolean(value.text == "true"))
            }
            FeatureKind::Boolean => Err(at.wrong_type("a boolean", value.kind)),
        }
    }

    /// Returns what a walk found where a path's values lie.
    fn slots(&self, at: &Place) -> &'a Slots {
        at.list.map_or(self.slots, |list| &self.elements[list])
    }

    /// Returns the value at a path; `None` when it is absent or null.
    fn value(&self, at: &Place) -> Result<Option<Value<'a>>, Refusal> {
        match self.slots(at).get(at.slot) {
            None => Ok(None),
            Some(Found::Value { start, end }) => {
                let text = self.payload.get(start..end).expect("values lie inside the payload");
                let kind = Kind::of(text);
                Ok((kind != Kind::Null).then_some(Value { kind, text, start }))
            }
            Some(Found::Blocked { node, expected, found }) => {
                let trie = at.list.map_or(self.trie, |list| &self.trie.lists()[list].element);
                Err(blocked(&trie.node(node).path, expected, found))
            }
        }
    }

    fn required(&self, at: &Place) -> Result<Value<'a>, Refusal> {
        self.value(at)?.filter(|it| !it.is_nan()).ok_or_else(|| at.missing())
    }

    fn float32(&mut self, at: &Place, value: &Value<'_>) -> Result<Cell, Refusal> {
        if value.kind != Kind::Number {
            #[expect(clippy::cast_possible_truncation, reason = "NaN and infinities fit f32")]
            return self.not_finite(at, value).map(|special| Cell::Float32(special as f32));
        }
        let place = value.start..value.start + value.text.len();
        let short = self.short_number(place).and_then(decimal::narrowed);
        let number = short.unwrap_or_else(|| value::float32(value.text));
        if number.is_finite() { Ok(Cell::Float32(number)) } else { Err(at.out_of_range("f32")) }
    }

    fn float64(&mut self, at: &Place, value: &Value<'_>) -> Result<Cell, Refusal> {
        if value.kind != Kind::Number {
            return self.not_finite(at, value).map(Cell::Float64);
        }
        let number = value::float64(value.text);
        if number.is_finite() { Ok(Cell::Float64(number)) } else { Err(at.out_of_range("f64")) }
    }

    /// Reads a number as most are written, where it lies: the bytes behind it are read with it.
    #[inline]
    fn short_number(&self, place: Range<usize>) -> Option<f64> {
        let mut cursor = Cursor::new(self.payload.as_bytes(), place.start);
        let number = cursor.short_number()?;
        (cursor.at() == place.end).then_some(number)
    }

    /// Reads the numbers that JSON has no token for, as text or as the word itself.
    fn not_finite(&mut self, at: &Place, value: &Value<'_>) -> Result<f64, Refusal> {
        let expected = "a number, \"NaN\", \"Infinity\" or \"-Infinity\"";
        if value.kind == Kind::Special
            && let Some(special) = special::whole(value.text.as_bytes())
        {
            return Ok(special);
        }
        if value.kind != Kind::Text {
            return Err(at.wrong_type(expected, value.kind));
        }
        let span = self.text(at, value)?;
        let special = special::whole(self.texts().get(&span).as_bytes());
        special.ok_or_else(|| at.wrong_type(expected, value.kind))
    }

    /// Reads text, or a number or a boolean as it is written.
    fn category(&mut self, at: &Place, value: &Value<'_>) -> Result<Span, Refusal> {
        match value.kind {
            Kind::Text => self.text(at, value),
            Kind::Number | Kind::Boolean => Ok(value.as_written()),
            Kind::Null | Kind::Special | Kind::Array | Kind::Object => {
                Err(at.wrong_type("text, a number or a boolean", value.kind))
            }
        }
    }

    /// Returns what stands between the quotes, with escapes resolved.
    fn text(&mut self, at: &Place, value: &Value<'_>) -> Result<Span, Refusal> {
        let inside = value.start + 1..value.start + value.text.len() - 1;
        if !value.text.contains('\\') {
            return Ok(Span::Payload(inside));
        }
        unescaped(value.text, self.added).map(Span::Added).ok_or_else(|| {
            let problem = format_args!("text with half a surrogate pair");
            at.refusal(RejectReason::InvalidJson, problem)
        })
    }
}

impl Value<'_> {
    /// Whether it is the word by which writers without a null say that nothing is there. To a float
    /// it is a number, to all else nothing.
    fn is_nan(&self) -> bool {
        self.kind == Kind::Special && self.text.starts_with('N')
    }

    fn as_written(&self) -> Span {
        Span::Payload(self.start..self.start + self.text.len())
    }
}

/// Reads the event time from a number.
pub(super) fn time_of_number(format: TimeFormat, text: &str) -> Option<Timestamp> {
    match text.parse::<i64>() {
        Ok(number) => event_time::from_integer(format, number),
        Err(_) => event_time::from_fraction(format, value::float64(text)),
    }
}

fn integer(at: &Place, value: &Value<'_>) -> Result<Cell, Refusal> {
    if value.kind != Kind::Number {
        return Err(at.wrong_type("a whole number", value.kind));
    }
    match value::whole(value.text) {
        Whole::Integer(number) => Ok(Cell::Integer(number)),
        Whole::OutOfRange => Err(at.out_of_range("i64")),
        Whole::Fraction => Err(at.wrong_type("a whole number", "a fraction")),
    }
}

/// Adds a text that is written between quotes, with its escapes resolved; `None` where it has half
/// a surrogate pair.
fn unescaped(text: &str, added: &mut String) -> Option<Range<usize>> {
    let start = added.len();
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.deserialize_str(AppendTo(added)).ok()?;
    Some(start..added.len())
}

/// Receives a string from `serde_json` without a string of its own.
struct AppendTo<'a>(&'a mut String);

impl Visitor<'_> for AppendTo<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push_str(text);
        Ok(())
    }
}
