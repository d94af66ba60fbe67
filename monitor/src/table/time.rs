//! A file's column as event times.
//!
//! Before: a column of a type that [`super::layout`] accepted. After: [`super::records`] makes rows
//! of them. A value is read as the decoders of messages read it ([`driftd_ingest::event_time`]).

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
use driftd_ingest::event_time::{from_fraction, from_integer, from_written};

use super::is_text;

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

/// Reads a column of times. `format` says what numbers and text mean; a column of times needs no
/// format.
pub(super) fn event_times(
    array: &ArrayRef,
    format: TimeFormat,
) -> Result<Vec<EventTime>, ArrowError> {
    let data_type = array.data_type();
    if is_text(data_type) {
        let texts = cast(array, &DataType::Utf8)?;
        return Ok(read_all(texts.as_string::<i32>().iter(), |text| from_written(format, text)));
    }
    if data_type.is_floating() {
        let numbers = cast(array, &DataType::Float64)?;
        let numbers = numbers.as_primitive::<Float64Type>().iter();
        return Ok(read_all(numbers, |number| from_fraction(format, number)));
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
    let mut times = read_all(numbers.iter(), |number| from_integer(format, number));
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
    read: impl Fn(V) -> Option<Timestamp>,
) -> Vec<EventTime> {
    let one = |value| read(value).map_or(EventTime::Invalid, EventTime::At);
    values.map(|value| value.map_or(EventTime::Missing, one)).collect()
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
