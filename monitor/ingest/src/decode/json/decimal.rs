//! A number as it is written in decimal, and the binary numbers nearest to it.
//!
//! Before: [`super::cursor`] has read the digits. After: a cell. Where the digits do not tell the
//! nearest number by one exact operation, the number's text is asked.

/// `(-1)^is_negative · mantissa · 10^exponent`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal {
    is_negative: bool,
    /// Absent where there are more digits than fit.
    mantissa: Option<u64>,
    exponent: i64,
    /// Written without a fraction and an exponent.
    is_whole: bool,
}

/// Powers of ten that are exact in `f64`: 5^22 is below 2^53.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Whole numbers up to here are exact in `f64`.
const EXACT_MAX: u64 = 1 << 53;

/// The bits of an `f64` below those of an `f32`, and those of a number half-way between two.
const BELOW_F32: u64 = (1 << 29) - 1;
const HALF_OF_F32: u64 = 1 << 28;

/// Returns the `f64` nearest to a number of at most 15 digits, `places` of them behind the point.
#[inline]
pub(super) fn quotient(is_negative: bool, mantissa: u64, places: usize) -> f64 {
    debug_assert!(mantissa < 10_u64.pow(15), "it is exact");
    // As a signed number: the conversion of an unsigned one takes longer.
    let size = mantissa.cast_signed() as f64 / POWERS[places];
    if is_negative { -size } else { size }
}

/// Returns the `f32` nearest to a number, of which the nearest `f64` is given. It is that one's,
/// unless that fell half-way between two; far out, where `f32` has fewer bits or none, this does
/// not tell.
#[inline]
pub(super) fn narrowed(number: f64) -> Option<f32> {
    let is_half_way = number.to_bits() & BELOW_F32 == HALF_OF_F32;
    let is_within = number == 0.0 || (1e-30..1e30).contains(&number.abs());
    #[expect(clippy::cast_possible_truncation, reason = "rounded, and within the range of f32")]
    (is_within && !is_half_way).then_some(number as f32)
}

impl Decimal {
    pub(super) fn new(
        is_negative: bool,
        mantissa: Option<u64>,
        exponent: i64,
        is_whole: bool,
    ) -> Self {
        Self { is_negative, mantissa, exponent, is_whole }
    }

    /// Returns the nearest `f64`, where one rounding of exact numbers gives it: Clinger, "How to
    /// read floating point numbers accurately", 1990.
    #[inline]
    pub(super) fn float64(self) -> Option<f64> {
        let mantissa = self.mantissa.filter(|it| *it <= EXACT_MAX)? as f64;
        let power = *POWERS.get(usize::try_from(self.exponent.unsigned_abs()).ok()?)?;
        let size = if self.exponent < 0 { mantissa / power } else { mantissa * power };
        Some(if self.is_negative { -size } else { size })
    }

    /// Returns the nearest `f32`, where the nearest `f64` tells it.
    #[inline]
    pub(super) fn float32(self) -> Option<f32> {
        self.float64().and_then(narrowed)
    }

    /// Returns the number, where it is written as a whole one that fits.
    #[inline]
    pub(super) fn integer(self) -> Option<i64> {
        let size = i64::try_from(self.mantissa.filter(|_| self.is_whole)?).ok()?;
        Some(if self.is_negative { -size } else { size })
    }
}

#[cfg(test)]
mod tests {
    use driftd_fixtures::trials::cases;
    use proptest::prelude::*;

    use super::Decimal;
    use crate::decode::json::cursor::{Cursor, Scalar};

    fn read(text: &str) -> Decimal {
        match Cursor::new(text.as_bytes(), 0).scalar() {
            Some(Scalar::Number(decimal)) => decimal,
            other => panic!("{text} is {other:?}"),
        }
    }

    #[test]
    fn what_is_written_shortly_needs_no_second_look() {
        for text in ["0", "-0", "100.123456", "-1e22", "9007199254740992", "1.5e-3", "0.1"] {
            let expected: f64 = text.parse().unwrap();
            assert_eq!(read(text).float64().map(f64::to_bits), Some(expected.to_bits()), "{text}");
        }
        assert_eq!(read("-9223372036854775807").integer(), Some(-i64::MAX));
        assert_eq!(read("9223372036854775808").integer(), None);
        assert_eq!(read("1.0").integer(), None);
        assert_eq!(read("1e2").integer(), None);
    }

    proptest! {
        #![proptest_config(cases(4_000))]

        #[test]
        fn numbers_are_those_that_rust_reads(
            text in prop_oneof![
                r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
                r"-?[1-9][0-9]{0,3}\.[0-9]{1,6}",
                any::<f32>().prop_filter("finite", |it| it.is_finite()).prop_map(|it| it.to_string()),
                // Half-way between two of `f32`.
                (1u32 << 23..1 << 24, -20i32..20).prop_map(|(bits, power)| {
                    let half = (f64::from(bits) + 0.5) * f64::from(power).exp2();
                    format!("{half:?}")
                }),
            ],
        ) {
            let decimal = read(&text);
            if let Some(number) = decimal.float64() {
                prop_assert_eq!(number.to_bits(), text.parse::<f64>().unwrap().to_bits());
            }
            if let Some(number) = decimal.float32() {
                prop_assert_eq!(number.to_bits(), text.parse::<f32>().unwrap().to_bits());
            }
            if let Some(number) = decimal.integer() {
                prop_assert_eq!(Ok(number), text.parse::<i64>());
            }
        }
    }
}
