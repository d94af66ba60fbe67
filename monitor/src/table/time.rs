//! A file's column as event times.
//!
//! Before: a column of a type that [`super::layout`] accepted. After: [`super::records`] makes rows
//! of them. A value is read as the decoders of messages read it: rounded down to milliseconds where
//! it is whole, and only within the years 1870 to 9999, outside of which one unit was taken for
//! another.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use driftd_catalog::Timestamp;
use driftd_ingest::TimeFormat;

use super::is_text;

/// 1870-01-01T00:00:00Z.
const EARLIEST_MILLIS: i64 = -3_155_673_600_000;

/// What a row says about its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventTime {
    /// This.
    At(Timestamp),
    /// Nothing.
    Missing,
    /// Something that is no time in the expected format, or outside the accepted years.
    Invalid,
}

impl EventTime {
    /// Reads a value that is there; `None` when it is no time in the expected format.
    fn read(millis: Option<i64>) -> Self {
        let accepted = EARLIEST_MILLIS..=Timestamp::MAX.as_millis();
        match millis {
            Some(millis) if accepted.contains(&millis) => Self::At(Timestamp::from_millis(millis)),
            Some(_) | None => Self::Invalid,
        }
    }
}

/// Reads a column of times. `format` says what numbers and text mean; a column of times needs no
/// format.
pub(super) fn event_times(
    array: &ArrayRef,
    format: TimeFormat,
) -> Result<Vec<EventTime>, ArrowError> {
    let data_type = array.data_type();
    if is_text(data_type) {
        let texts = cast(array, &DataType::Utf8)?;
        return Ok(read_all(texts.as_string::<i32>().iter(), |text| from_text(text, format)));
    }
    if data_type.is_floating() {
        let numbers = cast(array, &DataType::Float64)?;
        let numbers = numbers.as_primitive::<Float64Type>().iter();
        return Ok(read_all(numbers, |number| from_fraction(number, format)));
    }
    let (numbers, format) = if let DataType::Timestamp(unit, _) = data_type {
        (whole_units(array, *unit), unit_format(*unit))
    } else if matches!(data_type, DataType::Date32 | DataType::Date64) {
        let dates = cast(array, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
        (whole_units(&dates, TimeUnit::Millisecond), TimeFormat::UnixMillis)
    } else {
        (cast(array, &DataType::Int64)?, format)
    };
    let numbers = numbers.as_primitive::<Int64Type>();
    let mut times = read_all(numbers.iter(), |number| from_integer(number, format));
    if array.null_count() < numbers.null_count() {
        // A number without sign that is too large for a time is null only after the cast.
        for (row, time) in times.iter_mut().enumerate() {
            if array.is_valid(row) && numbers.is_null(row) {
                *time = EventTime::Invalid;
            }
        }
    }
    Ok(times)
}

fn read_all<V>(
    values: impl Iterator<Item = Option<V>>,
    read: impl Fn(V) -> Option<i64>,
) -> Vec<EventTime> {
    values.map(|value| value.map_or(EventTime::Missing, |it| EventTime::read(read(it)))).collect()
}

/// Returns the numbers that times are stored as: a time zone shows a moment otherwise, it does not
/// move it.
fn whole_units(array: &ArrayRef, unit: TimeUnit) -> ArrayRef {
    fn numbers<T: ArrowPrimitiveType<Native = i64>>(array: &ArrayRef) -> ArrayRef {
        Arc::new(array.as_primitive::<T>().reinterpret_cast::<Int64Type>())
    }
    match unit {
        TimeUnit::Second => numbers::<TimestampSecondType>(array),
        TimeUnit::Millisecond => numbers::<TimestampMillisecondType>(array),
        TimeUnit::Microsecond => numbers::<TimestampMicrosecondType>(array),
        TimeUnit::Nanosecond => numbers::<TimestampNanosecondType>(array),
    }
}

fn unit_format(unit: TimeUnit) -> TimeFormat {
    match unit {
        TimeUnit::Second => TimeFormat::UnixSeconds,
        TimeUnit::Millisecond => TimeFormat::UnixMillis,
        TimeUnit::Microsecond => TimeFormat::UnixMicros,
        TimeUnit::Nanosecond => TimeFormat::UnixNanos,
    }
}

pub(crate) fn from_text(text: &str, format: TimeFormat) -> Option<i64> {
    match format {
        TimeFormat::Rfc3339 => Timestamp::parse(text).ok().map(Timestamp::as_millis),
        TimeFormat::UnixSeconds
        | TimeFormat::UnixMillis
        | TimeFormat::UnixMicros
        | TimeFormat::UnixNanos => match text.parse() {
            Ok(whole) => from_integer(whole, format),
            Err(_) => from_fraction(text.parse().ok()?, format),
        },
    }
}

pub(crate) fn from_integer(value: i64, format: TimeFormat) -> Option<i64> {
    match format {
        TimeFormat::Rfc3339 => None,
        TimeFormat::UnixSeconds => value.checked_mul(1000),
        TimeFormat::UnixMillis => Some(value),
        TimeFormat::UnixMicros => Some(value.div_euclid(1000)),
        TimeFormat::UnixNanos => Some(value.div_euclid(1_000_000)),
    }
}

/// Rounds to the nearest millisecond: the nearest `f64` of a decimal may lie just below what was
/// meant.
fn from_fraction(value: f64, format: TimeFormat) -> Option<i64> {
    let millis = match format {
        TimeFormat::Rfc3339 => return None,
        TimeFormat::UnixSeconds => value * 1e3,
        TimeFormat::UnixMillis => value,
        TimeFormat::UnixMicros => value / 1e3,
        TimeFormat::UnixNanos => value / 1e6,
    }
    .round();
    let bounds = EARLIEST_MILLIS as f64..=Timestamp::MAX.as_millis() as f64;
    #[expect(clippy::cast_possible_truncation, reason = "rounded, and within bounds below 2^53")]
    bounds.contains(&millis).then_some(millis as i64)
}
