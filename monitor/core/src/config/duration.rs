//! Lengths of time as written in the configuration: `90s`, `5m`, `1h30m`, `7d`.
//!
//! Before: [`super::raw`] holds the text. After: [`super::validate`] takes the milliseconds.

/// What a length of time looks like: each unit at most once, the longest first.
pub(super) const PATTERN: &str =
    "^(?=[0-9])([0-9]{1,9}d)?([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?([0-9]{1,9}ms)?$";

/// Units, longest first, and their milliseconds.
const UNITS: [(&str, i64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Longest accepted length of time: ten years. Sums of a few of them stay far from overflow.
const MILLIS_MAX: i64 = 3_653 * 86_400_000;

/// Parses a length of time into milliseconds.
pub(super) fn parse(text: &str) -> Result<i64, DurationError> {
    if text.trim_start().starts_with('-') {
        return Err(DurationError::Negative);
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut millis = 0_i64;
    while !rest.is_empty() || text.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) = split(after, |c| !c.is_ascii_digit());
        if number.is_empty() {
            return Err(DurationError::NumberExpected);
        }
        if unit.is_empty() {
            return Err(DurationError::UnitExpected { number: number.into() });
        }
        if !UNITS.iter().any(|(known, _)| *known == unit.trim()) {
            return Err(DurationError::UnknownUnit { unit: unit.trim().into() });
        }
        if unit.trim() != unit {
            return Err(DurationError::Space);
        }
        let Some((_, each)) = units.find(|(known, _)| *known == unit) else {
            return Err(DurationError::Order { unit: unit.into() });
        };
        millis = number
            .parse::<i64>()
            .ok()
            .and_then(|number| number.checked_mul(*each)?.checked_add(millis))
            .filter(|sum| *sum <= MILLIS_MAX)
            .ok_or(DurationError::TooLong)?;
        rest = after;
    }
    Ok(millis)
}

/// Writes milliseconds as [`parse`] reads them.
pub(super) fn display(millis: i64) -> String {
    let mut rest = millis;
    let mut text = String::new();
    for (unit, each) in UNITS {
        if each <= rest {
            text = format!("{text}{}{unit}", rest / each);
            rest %= each;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

fn split(text: &str, wanted: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !wanted(c)).unwrap_or(text.len()))
}

/// A text that is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DurationError {
    /// Time that runs backwards.
    #[error("is negative")]
    Negative,
    /// Nothing, a space or a unit where a number belongs.
    #[error("is not a number with a unit")]
    NumberExpected,
    /// A bare number.
    #[error("has no unit after {number}")]
    UnitExpected {
        /// The number.
        number: String,
    },
    /// `5 m`.
    #[error("has a space before or after its unit")]
    Space,
    /// A unit that is none of ours.
    #[error("has the unknown unit `{unit}`")]
    UnknownUnit {
        /// The unit.
        unit: String,
    },
    /// `30m1h` or `1h1h`.
    #[error("has `{unit}` out of order")]
    Order {
        /// The unit that came too late.
        unit: String,
    },
    /// Past the bound.
    #[error("is longer than ten years")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_and_written_back() {
        for (text, millis) in [
            ("0s", 0),
            ("250ms", 250),
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            assert_eq!(parse(text), Ok(millis), "{text}");
            assert_eq!(parse(&display(millis)), Ok(millis), "{text}");
        }
        assert_eq!(display(5_400_000), "1h30m");
    }

    #[test]
    fn what_is_no_length_of_time_is_named() {
        let owned = String::from;
        for (text, error) in [
            ("", DurationError::NumberExpected),
            ("h", DurationError::NumberExpected),
            (" 5m", DurationError::NumberExpected),
            ("-5m", DurationError::Negative),
            ("5", DurationError::UnitExpected { number: owned("5") }),
            ("1h30", DurationError::UnitExpected { number: owned("30") }),
            ("5 m", DurationError::Space),
            ("5 weeks", DurationError::UnknownUnit { unit: owned("weeks") }),
            ("1.5h", DurationError::UnknownUnit { unit: owned(".") }),
            ("2w", DurationError::UnknownUnit { unit: owned("w") }),
            ("30m1h", DurationError::Order { unit: owned("h") }),
            ("1h1h", DurationError::Order { unit: owned("h") }),
            ("3654d", DurationError::TooLong),
            ("99999999999999999999s", DurationError::TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
