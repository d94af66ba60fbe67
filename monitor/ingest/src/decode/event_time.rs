//! A record's event time from text or a number, as the source writes it. Shared by all formats, and
//! by the edge for columns of files.
//!
//! Before: a format finds the value. After: the row carries the [`Timestamp`], which the core
//! clamps and sorts into windows.

use driftd_catalog::Timestamp;

use crate::schema::TimeFormat;

/// 1870-01-01T00:00:00Z. A unit mistaken for another usually falls outside the accepted years;
/// history of a hundred years before the epoch is accepted.
const EARLIEST: Timestamp = Timestamp::from_millis(-3_155_673_600_000);

/// The last accepted millisecond, in the year 9999.
const LATEST: Timestamp = Timestamp::MAX;

/// Reads RFC 3339 text. `None` when it is something else or outside the accepted years.
pub fn from_text(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).ok().and_then(|time| accepted(time.as_millis()))
}

/// Reads a whole number of the format's unit, rounding down to milliseconds.
pub fn from_integer(format: TimeFormat, value: i64) -> Option<Timestamp> {
    match format {
        TimeFormat::Rfc3339 => None,
        TimeFormat::UnixSeconds => value.checked_mul(1000),
        TimeFormat::UnixMillis => Some(value),
        TimeFormat::UnixMicros => Some(value.div_euclid(1000)),
        TimeFormat::UnixNanos => Some(value.div_euclid(1_000_000)),
    }
    .and_then(accepted)
}

/// Reads a number with a fraction or an exponent, to the nearest millisecond: seconds are often
/// written so, and their nearest `f64` may lie just below the millisecond that was meant.
pub fn from_fraction(format: TimeFormat, value: f64) -> Option<Timestamp> {
    let millis = match format {
        TimeFormat::Rfc3339 => return None,
        TimeFormat::UnixSeconds => value * 1e3,
        TimeFormat::UnixMillis => value,
        TimeFormat::UnixMicros => value / 1e3,
        TimeFormat::UnixNanos => value / 1e6,
    }
    .round();
    let bounds = EARLIEST.as_millis() as f64..=LATEST.as_millis() as f64;
    if !bounds.contains(&millis) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounded, and within bounds below 2^53")]
    accepted(millis as i64)
}

/// Reads text that holds a time in the format, where nothing else tells text and number apart.
pub fn from_written(format: TimeFormat, text: &str) -> Option<Timestamp> {
    match format {
        TimeFormat::Rfc3339 => from_text(text),
        TimeFormat::UnixSeconds
        | TimeFormat::UnixMillis
        | TimeFormat::UnixMicros
        | TimeFormat::UnixNanos => match text.parse() {
            Ok(whole) => from_integer(format, whole),
            Err(_) => from_fraction(format, text.parse().ok()?),
        },
    }
}

fn accepted(millis: i64) -> Option<Timestamp> {
    (EARLIEST.as_millis()..=LATEST.as_millis())
        .contains(&millis)
        .then(|| Timestamp::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(time: Option<Timestamp>) -> Option<i64> {
        time.map(Timestamp::as_millis)
    }

    #[test]
    fn text_is_read_with_any_offset_and_a_fraction() {
        for (text, expected) in [
            ("2013-04-01T09:00:00Z", Some(1_364_806_800_000)),
            ("2013-04-01T11:00:00.25+02:00", Some(1_364_806_800_250)),
            ("1870-01-01T00:00:00Z", Some(-3_155_673_600_000)),
            ("1869-12-31T23:59:59.999Z", None),
            ("9999-12-30T22:00:00Z", Some(253_402_207_200_000)),
            ("9999-12-31T23:59:59Z", None),
            ("2013-04-01", None),
            ("2013-04-01T09:00:00", None),
            ("1364806800", None),
            ("", None),
        ] {
            assert_eq!(millis(from_text(text)), expected, "{text}");
        }
    }

    #[test]
    fn units_are_scaled_to_milliseconds_rounding_down() {
        use TimeFormat::{Rfc3339, UnixMicros, UnixMillis, UnixNanos, UnixSeconds};
        for (format, value, expected) in [
            (UnixSeconds, 1_364_806_800, Some(1_364_806_800_000)),
            (UnixMillis, 1_364_806_800_250, Some(1_364_806_800_250)),
            (UnixMicros, 1_364_806_800_250_999, Some(1_364_806_800_250)),
            (UnixNanos, 1_364_806_800_250_999_999, Some(1_364_806_800_250)),
            (UnixNanos, -1, Some(-1)),
            (UnixSeconds, i64::MAX, None),
            (UnixMillis, i64::MIN, None),
            // Seconds written by a source configured for nanoseconds pass for 1970: a unit too
            // small cannot be told from history. A unit too large can.
            (UnixSeconds, 1_364_806_800_250, None),
            (Rfc3339, 0, None),
        ] {
            assert_eq!(millis(from_integer(format, value)), expected, "{format:?} {value}");
        }
    }

    #[test]
    fn fractions_are_rounded_to_the_millisecond_that_was_meant() {
        use TimeFormat::{UnixMicros, UnixNanos, UnixSeconds};
        for (format, value, expected) in [
            (UnixSeconds, 1_364_806_800.123, Some(1_364_806_800_123)),
            (UnixSeconds, 0.0005, Some(1)),
            (UnixMicros, 1.5e15, Some(1_500_000_000_000)),
            (UnixNanos, 1.5e18, Some(1_500_000_000_000)),
            (UnixSeconds, 1e30, None),
            (UnixSeconds, f64::INFINITY, None),
            (UnixSeconds, f64::NAN, None),
        ] {
            assert_eq!(millis(from_fraction(format, value)), expected, "{format:?} {value}");
        }
    }
}
