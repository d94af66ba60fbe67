//! What Kafka has of a message beside its payload, as values: headers, the key and the time.
//!
//! Before: the edge lends the bytes that the schema wants ([`crate::Message::envelope`]). After:
//! [`super::rows`] reads names, times and cells of them, which all rows of the message share.
//! Headers and keys are text: numbers and booleans are those that their whole text is.

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;

use std::str::FromStr;

use driftd_catalog::Timestamp;
use serde::de::IgnoredAny;

use super::Message;
use super::builders::{Cell, Span, Texts};
use super::event_time;
use super::place::{Place, check_version};
use super::rows::Record;
use super::special;
use super::whole::Whole;
use crate::rejection::{Refusal, RejectReason};
use crate::schema::{FeatureKind, TimeFormat};

/// Longest text that is read: longer than a name, category, number or time may be, and no more than
/// a message's memory has room for, of which payloads have most.
const BYTES_MAX: usize = 1_024;

/// What is read beside one payload. Kept from message to message for its memory.
#[derive(Default)]
pub(super) struct EnvelopeTexts {
    /// By slot; `None` when the value is absent or null.
    values: Vec<Option<Text>>,
    time: Option<Timestamp>,
}

#[derive(Clone)]
enum Text {
    At(Span),
    /// Bytes that are no text are refused when they are read.
    NotUtf8,
    /// So are so many bytes.
    TooLong(usize),
}

impl EnvelopeTexts {
    /// Takes the values of a message; their texts are appended to `added`.
    pub(super) fn begin(&mut self, message: &Message<'_>, added: &mut String) {
        self.time = message.timestamp;
        self.values.clear();
        self.values.extend(message.envelope.iter().map(|value| {
            let bytes = (*value)?;
            if BYTES_MAX < bytes.len() {
                return Some(Text::TooLong(bytes.len()));
            }
            let text = simdutf8::basic::from_utf8(bytes);
            Some(text.map_or(Text::NotUtf8, |text| {
                let start = added.len();
                added.push_str(text);
                Text::At(Span::Added(start..added.len()))
            }))
        }));
    }

    /// Returns the values as a record of their own.
    pub(super) fn record<'a>(&'a self, added: &'a mut String) -> EnvelopeRecord<'a> {
        EnvelopeRecord { texts: self, added }
    }
}

/// The values beside one payload.
pub(super) struct EnvelopeRecord<'a> {
    texts: &'a EnvelopeTexts,
    added: &'a mut String,
}

impl EnvelopeRecord<'_> {
    /// Returns where the text is; `None` when there is none.
    fn text(&self, at: &Place) -> Result<Option<Span>, Refusal> {
        match self.texts.values.get(at.slot) {
            Some(Some(Text::At(span))) => Ok(Some(span.clone())),
            Some(Some(Text::NotUtf8)) => {
                let problem = format_args!("bytes that are not UTF-8");
                Err(at.refusal(RejectReason::InvalidUtf8, problem))
            }
            Some(Some(Text::TooLong(bytes))) => {
                let problem = format_args!("a text of {bytes} bytes, more than {BYTES_MAX}");
                Err(at.refusal(RejectReason::InvalidName, problem))
            }
            Some(None) | None => Ok(None),
        }
    }

    fn required(&self, at: &Place) -> Result<Span, Refusal> {
        self.text(at)?.ok_or_else(|| at.missing())
    }

    fn get(&self, span: &Span) -> &str {
        self.texts().get(span)
    }
}

impl Record for EnvelopeRecord<'_> {
    fn model(&mut self, at: &Place) -> Result<Span, Refusal> {
        self.required(at)
    }

    fn version(&mut self, at: &Place) -> Result<Span, Refusal> {
        let span = self.required(at)?;
        check_version(self.get(&span).len())?;
        Ok(span)
    }

    /// Reads the event time, or Kafka's own.
    fn event_time(&mut self, at: &Place, format: TimeFormat) -> Result<Timestamp, Refusal> {
        if at.is_kafka_time() {
            let time = self.texts.time.ok_or_else(|| at.missing())?.as_millis();
            let accepted = event_time::from_integer(TimeFormat::UnixMillis, time);
            return accepted.ok_or_else(|| at.invalid_time(TimeFormat::UnixMillis));
        }
        let span = self.required(at)?;
        let text = self.get(&span);
        let time = match format {
            TimeFormat::Rfc3339 => event_time::from_text(text),
            TimeFormat::UnixSeconds
            | TimeFormat::UnixMillis
            | TimeFormat::UnixMicros
            | TimeFormat::UnixNanos => match number::<i64>(text) {
                Some(number) => event_time::from_integer(format, number),
                None => number(text).and_then(|it| event_time::from_fraction(format, it)),
            },
        };
        time.ok_or_else(|| at.invalid_time(format))
    }

    fn feature(&mut self, at: &Place, kind: FeatureKind) -> Result<Cell, Refusal> {
        let Some(span) = self.text(at)? else { return Ok(Cell::Null) };
        let text = self.get(&span);
        let wrong = |expected: &str| at.wrong_type(expected, "another text");
        match kind {
            FeatureKind::Float64 => {
                match special::whole(text.as_bytes()).or_else(|| number(text)) {
                    Some(value)
                        if value.is_finite() || special::whole(text.as_bytes()).is_some() =>
                    {
                        Ok(Cell::Float64(value))
                    }
                    Some(_) => Err(at.out_of_range("f64")),
                    None => Err(wrong("a number")),
                }
            }
            #[expect(clippy::cast_possible_truncation, reason = "NaN and infinities fit f32")]
            FeatureKind::Float32 => {
                match special::whole(text.as_bytes()).map(|it| it as f32).or_else(|| number(text)) {
                    Some(value)
                        if value.is_finite() || special::whole(text.as_bytes()).is_some() =>
                    {
                        Ok(Cell::Float32(value))
                    }
                    Some(_) => Err(at.out_of_range("f32")),
                    None => Err(wrong("a number")),
                }
            }
            FeatureKind::Integer => match json_number(text).and_then(Whole::read) {
                Some(Whole::Integer(value)) => Ok(Cell::Integer(value)),
                Some(Whole::OutOfRange) => Err(at.out_of_range("i64")),
                Some(Whole::Fraction) => Err(at.wrong_type("a whole number", "a fraction")),
                None => Err(wrong("a whole number")),
            },
            FeatureKind::Categorical => {
                at.check_category(text.len())?;
                Ok(Cell::Text(span))
            }
            FeatureKind::Boolean => match text {
                "true" => Ok(Cell::Boolean(true)),
                "false" => Ok(Cell::Boolean(false)),
                _ => Err(wrong("`true` or `false`")),
            },
        }
    }

    fn segment(&mut self, at: &Place, name: &str) -> Result<Cell, Refusal> {
        let Some(span) = self.text(at)? else { return Ok(Cell::Null) };
        at.check_segment(name, self.get(&span))?;
        Ok(Cell::Text(span))
    }

    fn added(&mut self) -> &mut String {
        self.added
    }

    fn texts(&self) -> Texts<'_> {
        Texts { payload: "", added: self.added }
    }
}

/// Reads a text that is a number as the payload may have it, rounded once; infinite when it is
/// beyond the range.
fn number<T: FromStr>(text: &str) -> Option<T> {
    json_number(text)?.parse().ok()
}

/// Returns a text that is a number of JSON: Rust and others take more for one, such as `+5`, `.5`
/// and `inf`.
fn json_number(text: &str) -> Option<&str> {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let begins = text.as_bytes().first().is_some_and(|it| *it == b'-' || is_digit(it));
    // Nothing but white space may stand behind it.
    let is_alone = begins && text.as_bytes().last().is_some_and(is_digit);
    (is_alone && serde_json::from_str::<IgnoredAny>(text).is_ok()).then_some(text)
}
