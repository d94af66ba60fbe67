//! The rule by which a number, in whatever format it is written, stands for an integer.
//!
//! Before: text of a JSON number or of a file's field. After: a column of integers.

/// A number as an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// Its value.
    Integer(i64),
    /// It is not whole.
    Fraction,
    /// It is whole and does not fit, or may have lost digits in `f64`.
    OutOfRange,
}

impl Whole {
    /// Reads a number that must be whole; nothing when the text is no finite number.
    ///
    /// `5.0` and `1e3` are whole: writers of columns with gaps produce them. Their nearest `f64`
    /// decides, and must be below 2^53.
    pub fn read(text: &str) -> Option<Self> {
        if let Ok(value) = text.parse::<i64>() {
            return Some(Self::Integer(value));
        }
        let value: f64 = text.parse().ok()?;
        let has_digits = text.bytes().any(|byte| byte.is_ascii_digit());
        has_digits.then(|| Self::of(value))
    }

    /// Reads a number that is one already, and not NaN.
    pub(super) fn of(value: f64) -> Self {
        const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
        if EXACT <= value.abs() {
            Self::OutOfRange
        } else if value.fract() != 0.0 {
            Self::Fraction
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
            Self::Integer(value as i64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_may_be_written_with_a_fraction_or_an_exponent() {
        for (text, expected) in [
            ("0", Whole::Integer(0)),
            ("-0", Whole::Integer(0)),
            ("-0.0", Whole::Integer(0)),
            ("5.0", Whole::Integer(5)),
            ("1e3", Whole::Integer(1000)),
            ("9223372036854775807", Whole::Integer(i64::MAX)),
            ("-9223372036854775808", Whole::Integer(i64::MIN)),
            ("9223372036854775808", Whole::OutOfRange),
            ("9007199254740992.0", Whole::OutOfRange),
            ("1e999", Whole::OutOfRange),
            ("0.5", Whole::Fraction),
            ("1e-999", Whole::Integer(0)),
            ("1e-3", Whole::Fraction),
        ] {
            assert_eq!(Whole::read(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn text_without_a_number_is_none() {
        for text in ["", "five", "NaN", "inf", "-infinity", "5 "] {
            assert_eq!(Whole::read(text), None, "{text}");
        }
    }
}
