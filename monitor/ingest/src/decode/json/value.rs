//! The JSON text of one value, and the numbers it may stand for.
//!
//! Before: [`super::walk`] has checked the text against JSON's grammar, so that its first byte
//! tells its kind and every number parses. After: [`super::record`] makes cells of it.

use std::fmt;

/// The kinds of JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Number,
    Text,
    Array,
    Object,
}

impl Kind {
    /// Returns the kind of a value from its JSON text.
    pub(super) fn of(text: &str) -> Self {
        match text.as_bytes().first() {
            Some(b'"') => Self::Text,
            Some(b'{') => Self::Object,
            Some(b'[') => Self::Array,
            Some(b't' | b'f') => Self::Boolean,
            Some(b'n') => Self::Null,
            Some(_) | None => Self::Number,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Text => "text",
            Self::Array => "an array",
            Self::Object => "an object",
        })
    }
}

/// A JSON number as an integer.
#[derive(Debug, PartialEq)]
pub(super) enum Whole {
    /// Its value.
    Integer(i64),
    /// It is not whole.
    Fraction,
    /// It is whole and does not fit, or may have lost digits in `f64`.
    OutOfRange,
}

/// Reads a number that must be whole. `5.0` and `1e3` are: writers of columns with gaps produce
/// them. Their nearest `f64` decides, and must be below 2^53.
pub(super) fn whole(text: &str) -> Whole {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if let Ok(value) = text.parse::<i64>() {
        return Whole::Integer(value);
    }
    let value = float64(text);
    if EXACT <= value.abs() {
        Whole::OutOfRange
    } else if value.fract() != 0.0 {
        Whole::Fraction
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        Whole::Integer(value as i64)
    }
}

/// Reads a number as the nearest `f64`; infinite when it is beyond the range.
pub(super) fn float64(text: &str) -> f64 {
    text.parse().expect("a JSON number is one of Rust's")
}

/// Reads a number as the nearest `f32`, rounding once; infinite when it is beyond the range.
pub(super) fn float32(text: &str) -> f32 {
    text.parse().expect("a JSON number is one of Rust's")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells_the_kind() {
        for (text, kind) in [
            ("null", Kind::Null),
            ("true", Kind::Boolean),
            ("false", Kind::Boolean),
            ("-1", Kind::Number),
            ("0.5", Kind::Number),
            ("\"\"", Kind::Text),
            ("[]", Kind::Array),
            ("{}", Kind::Object),
        ] {
            assert_eq!(Kind::of(text), kind, "{text}");
        }
    }

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
            assert_eq!(whole(text), expected, "{text}");
        }
    }

    #[test]
    fn floats_are_rounded_once_to_their_own_width() {
        // Rounded to f64 first, the last digit is lost and the tie falls to the even neighbour.
        let text = "1.00000017881393432617187499";
        assert_eq!(float32(text), 1.000_000_1);
        assert!(float32("3.5e38").is_infinite());
        assert!(float64("1e309").is_infinite());
        assert_eq!(float64("2.2250738585072011e-308").to_bits(), 0x000f_ffff_ffff_ffff);
        assert!(float64("-0").is_sign_negative());
    }
}
