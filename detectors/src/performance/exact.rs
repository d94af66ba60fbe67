//! Sums of doubles without rounding, so that what was added can be taken away again.
//!
//! Before: the counts of this folder add the terms of a row. After: means and variances read the
//! sum, rounded once. Owns the representation. Floating-point addition is not associative: a sum
//! kept in a double depends on the order of rows, and subtracting a row leaves a residue.

use thiserror::Error;

/// Words of 64 bits in a sum.
///
/// The unit is 2⁻¹⁰⁷⁴, the least positive double, and the greatest double is below 2²⁰⁹⁸ units. The
/// other 77 bits hold the sign and the carries of 2⁷⁶ terms.
pub const EXACT_SUM_WORDS: usize = 34;

/// Bits of a double's fraction, and of its significand.
const FRACTION_BITS: u32 = 52;

/// A term that is not finite has no place in a sum.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("{value} cannot be summed: only finite numbers can")]
pub struct NotFinite {
    /// The term.
    pub value: f64,
}

/// The exact sum of doubles: a two's complement integer of [`EXACT_SUM_WORDS`] words, least first,
/// as Kulisch's long accumulator (Kulisch & Miranker 1986). Any order of adding, merging and
/// subtracting gives the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExactSum {
    words: [u64; EXACT_SUM_WORDS],
}

impl Default for ExactSum {
    fn default() -> Self {
        Self::ZERO
    }
}

impl ExactSum {
    /// The sum of nothing.
    pub const ZERO: Self = Self { words: [0; EXACT_SUM_WORDS] };

    /// Takes a sum back from its words.
    pub fn from_words(words: [u64; EXACT_SUM_WORDS]) -> Self {
        Self { words }
    }

    /// Returns the words, least first: two's complement in units of 2⁻¹⁰⁷⁴.
    pub fn words(&self) -> &[u64; EXACT_SUM_WORDS] {
        &self.words
    }

    /// Adds a term. On an error nothing was added.
    pub fn add(&mut self, value: f64) -> Result<(), NotFinite> {
        if !value.is_finite() {
            return Err(NotFinite { value });
        }
        let (first, halves) = units(value);
        if value < 0.0 {
            self.subtract_at(first, halves);
        } else {
            self.add_at(first, halves);
        }
        Ok(())
    }

    /// Takes a term away. On an error nothing was taken.
    pub fn subtract(&mut self, value: f64) -> Result<(), NotFinite> {
        self.add(-value)
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.add_at(0, other.words);
    }

    /// Takes another sum away.
    pub fn unmerge(&mut self, other: &Self) {
        self.subtract_at(0, other.words);
    }

    /// Returns the sum rounded to the nearest double, ties to even; infinite beyond the doubles.
    pub fn value(&self) -> f64 {
        let is_negative = self.words[EXACT_SUM_WORDS - 1] >> 63 == 1;
        let magnitude = if is_negative {
            let mut negated = Self::ZERO;
            negated.unmerge(self);
            negated.words
        } else {
            self.words
        };
        let rounded = round(&magnitude);
        if is_negative { -rounded } else { rounded }
    }

    fn add_at<const N: usize>(&mut self, first: usize, terms: [u64; N]) {
        let mut carry = false;
        for (place, word) in self.words[first..].iter_mut().enumerate() {
            let Some(term) = terms.get(place).copied().or(carry.then_some(0)) else { return };
            (*word, carry) = word.carrying_add(term, carry);
        }
    }

    fn subtract_at<const N: usize>(&mut self, first: usize, terms: [u64; N]) {
        let mut borrow = false;
        for (place, word) in self.words[first..].iter_mut().enumerate() {
            let Some(term) = terms.get(place).copied().or(borrow.then_some(0)) else { return };
            (*word, borrow) = word.borrowing_sub(term, borrow);
        }
    }
}

/// Returns a number's magnitude in units: its first word and two words from there.
fn units(value: f64) -> (usize, [u64; 2]) {
    let bits = value.abs().to_bits();
    let (exponent, fraction) = (bits >> FRACTION_BITS, bits & ((1 << FRACTION_BITS) - 1));
    let (significand, shift) = match exponent {
        0 => (fraction, 0),
        _ => (fraction | 1 << FRACTION_BITS, exponent - 1),
    };
    let wide = u128::from(significand) << (shift % 64);
    #[expect(clippy::cast_possible_truncation, reason = "the halves of 128 bits")]
    let halves = [wide as u64, (wide >> 64) as u64];
    let first = usize::try_from(shift / 64).expect("a double's exponent is below 2,046");
    (first, halves)
}

/// Rounds a number of units to the nearest double. In these units a double's bits are
/// `(shift << 52) + significand`, the hidden bit raising the exponent by itself.
fn round(words: &[u64; EXACT_SUM_WORDS]) -> f64 {
    let Some(top) = words.iter().rposition(|&word| word != 0) else { return 0.0 };
    let highest = 64 * top + 63 - words[top].leading_zeros() as usize;
    let Some(shift) = highest.checked_sub(FRACTION_BITS as usize) else {
        return f64::from_bits(words[0]);
    };
    let bit = |place: usize| words[place / 64] >> (place % 64) & 1;
    let low = words[shift / 64] >> (shift % 64);
    let high = match shift % 64 {
        0 => 0,
        within => words.get(shift / 64 + 1).map_or(0, |word| word << (64 - within)),
    };
    let significand = (low | high) & ((2 << FRACTION_BITS) - 1);
    let is_half = 0 < shift && bit(shift - 1) == 1;
    let is_sticky = || {
        let (whole, part) = ((shift - 1) / 64, (shift - 1) % 64);
        words[..whole].iter().any(|&word| word != 0) || words[whole] & ((1 << part) - 1) != 0
    };
    let up = is_half && (significand & 1 == 1 || is_sticky());
    let bits = ((shift as u64) << FRACTION_BITS) + significand + u64::from(up);
    f64::from_bits(bits.min(f64::INFINITY.to_bits()))
}

#[cfg(test)]
mod tests {
    use driftd_fixtures::trials::cases;
    use proptest::collection::vec;
    use proptest::num::f64::{NORMAL, SUBNORMAL, ZERO};
    use proptest::prelude::*;

    use super::*;

    fn term() -> impl Strategy<Value = f64> {
        prop_oneof![
            NORMAL | SUBNORMAL | ZERO,
            -1.0..1.0_f64,
            Just(f64::MAX),
            Just(f64::MIN),
            Just(f64::MIN_POSITIVE),
            Just(f64::from_bits(1)),
        ]
    }

    fn sum(terms: &[f64]) -> ExactSum {
        let mut sum = ExactSum::ZERO;
        for &term in terms {
            sum.add(term).unwrap();
        }
        sum
    }

    proptest! {
        #![proptest_config(cases(128))]

        #[test]
        fn one_term_is_itself(value in term()) {
            prop_assert_eq!(sum(&[value]).value(), value);
        }

        #[test]
        fn two_terms_are_rounded_as_the_processor_rounds(a in term(), b in term()) {
            prop_assert_eq!(sum(&[a, b]).value(), a + b);
        }

        #[test]
        fn order_and_splits_do_not_show(terms in vec(term(), 0..40), split in 0_usize..40) {
            let split = split.min(terms.len());
            let whole = sum(&terms);
            let (mut left, right) = (sum(&terms[..split]), sum(&terms[split..]));
            left.merge(&right);
            prop_assert_eq!(left, whole);
            left.unmerge(&right);
            prop_assert_eq!(left, sum(&terms[..split]));
            let backwards: Vec<f64> = terms.iter().rev().copied().collect();
            prop_assert_eq!(sum(&backwards), whole);
        }

        #[test]
        fn what_was_added_can_be_taken_away(terms in vec(term(), 0..40)) {
            let mut left = sum(&terms);
            for &term in &terms {
                left.subtract(term).unwrap();
            }
            prop_assert_eq!(left, ExactSum::ZERO);
        }
    }

    #[test]
    fn nothing_is_lost_where_doubles_lose_all() {
        assert_eq!(sum(&[1e300, 1.0, -1e300, 1e-300]).value(), 1.0);
        assert_eq!(sum(&[0.1; 10]).value(), 1.0);
        assert_eq!(sum(&[f64::MAX, f64::MAX, f64::MIN]).value(), f64::MAX);
        assert_eq!(sum(&[f64::MAX, f64::MAX]).value(), f64::INFINITY);
        assert_eq!(sum(&[f64::MIN, f64::MIN]).value(), f64::NEG_INFINITY);
    }

    #[test]
    fn halves_round_to_even_and_a_trace_more_rounds_up() {
        let half = f64::EPSILON / 2.0;
        assert_eq!(sum(&[1.0, half]).value(), 1.0);
        assert_eq!(sum(&[1.0, half, 1e-300]).value(), 1.0 + f64::EPSILON);
        assert_eq!(sum(&[1.0 + f64::EPSILON, half]).value(), 1.0 + 2.0 * f64::EPSILON);
    }

    #[test]
    fn a_term_that_is_not_finite_is_refused() {
        let mut sum = ExactSum::ZERO;
        assert_eq!(sum.add(f64::INFINITY), Err(NotFinite { value: f64::INFINITY }));
        assert!(sum.add(f64::NAN).is_err() && sum == ExactSum::ZERO);
    }
}
