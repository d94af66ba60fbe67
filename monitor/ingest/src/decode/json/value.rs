//! The JSON text of one value, and the numbers it may stand for.
//!
//! Before: [`super::walk`] has checked the text against JSON's grammar, so that its first bytes
//! tell its kind and every number parses. After: [`super::record`] makes cells of it.

use std::fmt;

use crate::decode::whole::Whole;

/// The kinds of JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Number,
    /// A word that JSON has not: NaN or infinity.
    Special,
    Text,
    Array,
    Object,
}

impl Kind {
    /// Returns the kind of a value from its JSON text.
    pub(super) fn of(text: &str) -> Self {
        match text.as_bytes() {
            [b'"', ..] => Self::Text,
            [b'{', ..] => Self::Object,
            [b'[', ..] => Self::Array,
            [b't' | b'f', ..] => Self::Boolean,
            [b'n', ..] => Self::Null,
            [b'N' | b'I', ..] | [b'-', b'I', ..] => Self::Special,
            _ => Self::Number,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Special => "NaN or infinity",
            Self::Text => "text",
            Self::Array => "an array",
            Self::Object => "an object",
        })
    }
}

/// Reads a number that must be whole.
pub(super) fn whole(text: &str) -> Whole {
    Whole::read(text).expect("a JSON number is one of Rust's")
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
    fn the_first_bytes_tell_the_kind() {
        for (text, kind) in [
            ("null", Kind::Null),
            ("true", Kind::Boolean),
            ("false", Kind::Boolean),
            ("-1", Kind::Number),
            ("0.5", Kind::Number),
            ("NaN", Kind::Special),
            ("Infinity", Kind::Special),
            ("-Infinity", Kind::Special),
            ("\"\"", Kind::Text),
            ("[]", Kind::Array),
            ("{}", Kind::Object),
        ] {
            assert_eq!(Kind::of(text), kind, "{text}");
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
