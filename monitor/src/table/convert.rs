//! A file's column as the column of a feature: the types of [`ModelSchema::arrow_schema`], and the
//! rows that cannot.
//!
//! Before: an array of whatever type the file has, checked by [`super::layout`] to be of the right
//! sort. After: [`super::records`] drops the refused rows. Decides about a value as the JSON
//! decoder does about the same value.
//!
//! [`ModelSchema::arrow_schema`]: driftd_ingest::ModelSchema::arrow_schema

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, PrimitiveArray, PrimitiveBuilder,
    StringArray, UInt32Array,
};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int64Type, UInt32Type,
};
use arrow::error::ArrowError;
use driftd_ingest::{FeatureKind, LEVEL_BYTES_MAX, RejectReason, Whole};

use super::{dictionary, is_text};

/// From here on a floating-point number does not tell which whole number was meant.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A column, and the rows whose value it cannot hold; their slots hold anything.
#[derive(Debug)]
pub(super) struct Converted {
    pub(super) array: ArrayRef,
    pub(super) refused: Vec<(usize, Problem)>,
}

/// Why a value is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Not a number, not a whole number, or not a boolean, as the feature's kind has it.
    WrongType,
    /// A number beyond the column's range.
    OutOfRange,
    /// A category that is too long.
    TooLong,
}

impl Problem {
    pub(super) fn reason(self) -> RejectReason {
        match self {
            Self::WrongType => RejectReason::WrongType,
            Self::OutOfRange => RejectReason::NumberOutOfRange,
            Self::TooLong => RejectReason::InvalidName,
        }
    }

    /// Says what is wrong, without the value: it may be private.
    pub(super) fn detail(self, kind: FeatureKind) -> String {
        match self {
            Self::WrongType => format!("not {}", sort(kind)),
            Self::OutOfRange => format!("beyond the range of {}", sort(kind)),
            Self::TooLong => format!("a category of more than {LEVEL_BYTES_MAX} bytes"),
        }
    }
}

fn sort(kind: FeatureKind) -> &'static str {
    match kind {
        FeatureKind::Float32 => "a number (float32)",
        FeatureKind::Float64 => "a number (float64)",
        FeatureKind::Integer => "a whole number (integer)",
        FeatureKind::Categorical => "text",
        FeatureKind::Boolean => "true or false",
    }
}

/// Converts a column to the type of a feature of `kind`. Columns that have it already are not
/// copied.
pub(super) fn column(array: &ArrayRef, kind: FeatureKind) -> Result<Converted, ArrowError> {
    match kind {
        FeatureKind::Float32 => float32(array),
        FeatureKind::Float64 => float64(array),
        FeatureKind::Integer => integer(array),
        FeatureKind::Categorical => levels(array),
        FeatureKind::Boolean => boolean(array),
    }
}

impl Converted {
    fn whole(array: ArrayRef) -> Self {
        Self { array, refused: Vec::new() }
    }
}

fn float32(array: &ArrayRef) -> Result<Converted, ArrowError> {
    if is_text(array.data_type()) {
        return parse::<Float32Type>(array, |text| number(text, f32::is_finite));
    }
    match array.as_primitive_opt::<Float64Type>() {
        Some(wide) => Ok(convert::<Float64Type, Float32Type>(wide, |value| {
            #[expect(clippy::cast_possible_truncation, reason = "rounding is what is asked for")]
            let narrow = value as f32;
            let fits = narrow.is_finite() || !value.is_finite();
            if fits { Ok(narrow) } else { Err(Problem::OutOfRange) }
        })),
        None => cast(array, &DataType::Float32).map(Converted::whole),
    }
}

fn float64(array: &ArrayRef) -> Result<Converted, ArrowError> {
    if is_text(array.data_type()) {
        return parse::<Float64Type>(array, |text| number(text, f64::is_finite));
    }
    cast(array, &DataType::Float64).map(Converted::whole)
}

fn integer(array: &ArrayRef) -> Result<Converted, ArrowError> {
    if is_text(array.data_type()) {
        return parse::<Int64Type>(array, |text| match Whole::read(text) {
            Some(Whole::Integer(value)) => Ok(value),
            Some(Whole::OutOfRange) => Err(Problem::OutOfRange),
            Some(Whole::Fraction) | None => Err(Problem::WrongType),
        });
    }
    if array.data_type().is_floating() {
        let wide = cast(array, &DataType::Float64)?;
        return Ok(convert::<Float64Type, Int64Type>(wide.as_primitive(), whole));
    }
    let whole = cast(array, &DataType::Int64)?;
    // Only 64-bit numbers without sign do not fit; the cast makes them null.
    let refused = (0..array.len())
        .filter(|row| array.is_valid(*row) && whole.is_null(*row))
        .map(|row| (row, Problem::OutOfRange))
        .collect();
    Ok(Converted { array: whole, refused })
}

fn whole(value: f64) -> Result<i64, Problem> {
    if value.fract() != 0.0 {
        // Also NaN and the infinities, whose fraction is NaN.
        Err(Problem::WrongType)
    } else if value.abs() < WHOLE_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and below 2^53")]
        Ok(value as i64)
    } else {
        Err(Problem::OutOfRange)
    }
}

/// Reads a number. Overflow is told from infinity that was meant by what the text begins with.
fn number<T: FromStr + Copy>(text: &str, is_finite: impl Fn(T) -> bool) -> Result<T, Problem> {
    let value: T = text.parse().map_err(|_| Problem::WrongType)?;
    let has_digits = text.bytes().any(|byte| byte.is_ascii_digit());
    if has_digits && !is_finite(value) { Err(Problem::OutOfRange) } else { Ok(value) }
}

fn levels(array: &ArrayRef) -> Result<Converted, ArrowError> {
    let array = if *array.data_type() == dictionary() {
        Arc::clone(array)
    } else {
        cast(&cast(array, &DataType::Utf8)?, &dictionary())?
    };
    let keyed = array.as_dictionary::<UInt32Type>();
    let names = keyed.values().as_string::<i32>();
    let is_long: Vec<bool> =
        names.iter().map(|it| it.is_some_and(|name| LEVEL_BYTES_MAX < name.len())).collect();
    let refused = if is_long.contains(&true) {
        let keys = keyed.keys().iter().enumerate();
        keys.filter(|(_, key)| key.is_some_and(|key| is_long[key as usize]))
            .map(|(row, _)| (row, Problem::TooLong))
            .collect()
    } else {
        Vec::new()
    };
    Ok(Converted { array, refused })
}

fn boolean(array: &ArrayRef) -> Result<Converted, ArrowError> {
    let mut refused = Vec::new();
    let keys: UInt32Array = if is_text(array.data_type()) {
        let texts = cast(array, &DataType::Utf8)?;
        let mut key = |row: usize, text: Option<&str>| {
            let text = text?;
            if text.eq_ignore_ascii_case("true") {
                Some(1)
            } else if text.eq_ignore_ascii_case("false") {
                Some(0)
            } else {
                refused.push((row, Problem::WrongType));
                Some(0)
            }
        };
        texts.as_string::<i32>().iter().enumerate().map(|(row, text)| key(row, text)).collect()
    } else {
        let booleans: &BooleanArray = array.as_boolean();
        booleans.iter().map(|it| it.map(u32::from)).collect()
    };
    let names = Arc::new(StringArray::from(vec!["false", "true"]));
    let array = Arc::new(DictionaryArray::<UInt32Type>::try_new(keys, names)?);
    Ok(Converted { array, refused })
}

fn parse<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    read: impl Fn(&str) -> Result<T::Native, Problem>,
) -> Result<Converted, ArrowError> {
    let texts = cast(array, &DataType::Utf8)?;
    Ok(collect::<T, _>(texts.as_string::<i32>().iter(), read))
}

fn convert<S: ArrowPrimitiveType, T: ArrowPrimitiveType>(
    array: &PrimitiveArray<S>,
    read: impl Fn(S::Native) -> Result<T::Native, Problem>,
) -> Converted {
    collect::<T, _>(array.iter(), read)
}

fn collect<T: ArrowPrimitiveType, V>(
    values: impl ExactSizeIterator<Item = Option<V>>,
    read: impl Fn(V) -> Result<T::Native, Problem>,
) -> Converted {
    let mut builder = PrimitiveBuilder::<T>::with_capacity(values.len());
    let mut refused = Vec::new();
    for (row, value) in values.enumerate() {
        match value.map(&read) {
            None => builder.append_null(),
            Some(Ok(value)) => builder.append_value(value),
            Some(Err(problem)) => {
                refused.push((row, problem));
                builder.append_null();
            }
        }
    }
    Converted { array: Arc::new(builder.finish()), refused }
}
