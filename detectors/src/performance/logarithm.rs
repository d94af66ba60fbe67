//! The natural logarithm from correctly rounded operations alone.
//!
//! Owns the terms of sums that have to be taken away again, perhaps on another machine: the
//! logarithms of system libraries differ in the last bit, which would leave a residue.

/// ln 2, whose high part times any exponent is exact.
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// Minimax coefficients of `(ln(1 + f) − f + f²/2) / s`, `s = f / (2 + f)`, by powers of `s²`
/// (Sun's fdlibm, `e_log.c`): the error is below one unit of the last place.
const COEFFICIENTS: [f64; 7] = [
    6.666_666_666_666_735e-1,
    3.999_999_999_940_942e-1,
    2.857_142_874_366_239e-1,
    2.222_219_843_214_978_4e-1,
    1.818_357_216_161_805e-1,
    1.531_383_769_920_937_3e-1,
    1.479_819_860_511_658_6e-1,
];

/// The bits of 1 and of the double above √½, in whose doubled interval the series converges.
const ONE_BITS: u64 = 0x3FF0_0000_0000_0000;
const SQRT_HALF_BITS: u64 = 0x3FE6_A09E_667F_3BCD;

/// Returns `ln x` for a positive normal number.
pub(super) fn ln(x: f64) -> f64 {
    debug_assert!(f64::MIN_POSITIVE <= x && x.is_finite(), "{x} is no positive normal number");
    let shifted = x.to_bits() + (ONE_BITS - SQRT_HALF_BITS);
    let power = f64::from(u32::try_from(shifted >> 52).expect("an exponent")) - 1_023.0;
    let f = f64::from_bits((shifted & 0x000F_FFFF_FFFF_FFFF) + SQRT_HALF_BITS) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let series = COEFFICIENTS.iter().rev().fold(0.0, |sum, coefficient| (sum + coefficient) * z);
    let half_square = 0.5 * f * f;
    s * (half_square + series) + power * LN_2_LOW - half_square + f + power * LN_2_HIGH
}

/// Returns `ln(1 + x)` for `x` > −1, exact for small ones too (Kahan's correction).
pub(super) fn ln_1p(x: f64) -> f64 {
    let sum = 1.0 + x;
    if sum == 1.0 { x } else { ln(sum) + (x - (sum - 1.0)) / sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_those_of_the_library_to_an_ulp() {
        let mut x = f64::MIN_POSITIVE;
        while x < 1e300 {
            for (found, expected) in [(ln(x), x.ln()), (ln_1p(x), x.ln_1p())] {
                let error = (found - expected).abs();
                assert!(error <= 3e-16 * expected.abs(), "{x}: {found} is not {expected}");
            }
            x *= 1.37;
        }
        for i in 1..10_000 {
            let x = f64::from(i) / 5_000.0;
            assert!((ln(x) - x.ln()).abs() <= 3e-16 * x.ln().abs(), "{x}");
            assert!((ln_1p(x - 0.999) - (x - 0.999).ln_1p()).abs() <= 1e-15, "{x}");
        }
        assert_eq!((ln(1.0), ln_1p(0.0)), (0.0, 0.0));
    }
}
