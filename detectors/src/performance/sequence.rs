//! Intervals that may be looked at all the time: confidence sequences.
//!
//! Before: sums and counts of a window that still grows. After: whoever watches it. With the
//! confidence asked for, the true mean is within the interval at *all* times together, so that an
//! alarm may be raised whenever one looks. They need sums only and not the order of rows, which
//! merged counts do not have. Rows that are taken away are as if they had never been looked at: the
//! promise is about rows that come, so a label that is revised bends it by its own weight.

use statrs::function::beta::ln_beta;

use super::interval::{Interval, Sample};

/// Halvings of a bracket: more than the 53 bits of a double.
const BISECTIONS: usize = 64;

/// Parameters of the mixing Beta distribution: Jeffreys's, which favours no mean.
const MIXING: f64 = 0.5;

/// Returns the confidence sequence of the mean of terms between 0 and 1 from their sum, by the
/// method of mixtures (Robbins 1970; Howard, Ramdas, McAuliffe & Sekhon 2021). Nothing without
/// rows.
///
/// For a mean `p`, `∫ q^S (1 − q)^(n − S) dBeta(q) / (p^S (1 − p)^(n − S))` is a martingale when
/// terms are 0 or 1; between them its factors are convex in the term, so that it is a
/// supermartingale. It exceeds `1/α` at any time with probability at most α (Ville 1939).
pub fn bounded_mean_sequence(sum: f64, rows: f64, confidence: f64) -> Option<Interval> {
    if rows <= 0.0 {
        return None;
    }
    let (hits, misses) = (sum.clamp(0.0, rows), (rows - sum).clamp(0.0, rows));
    let mixed = ln_beta(MIXING + hits, MIXING + misses) - ln_beta(MIXING, MIXING);
    let limit = -(1.0 - confidence).ln();
    // `0 ln 0` is 0.
    let part = |count: f64, p: f64| if count == 0.0 { 0.0 } else { count * p.ln() };
    let is_outside = |p: f64| limit < mixed - part(hits, p) - part(misses, 1.0 - p);
    let mean = hits / rows;
    let end = |mut outside: f64| {
        let mut inside = mean;
        for _ in 0..BISECTIONS {
            let middle = 0.5 * (inside + outside);
            if is_outside(middle) { outside = middle } else { inside = middle }
        }
        outside
    };
    let lower = if is_outside(0.0) { end(0.0) } else { 0.0 };
    let upper = if is_outside(1.0) { end(1.0) } else { 1.0 };
    Some(Interval { lower, upper })
}

/// Returns the confidence sequence of a mean without bounds, like that of absolute errors:
/// asymptotic as Student's interval, and narrowest at `tuned_rows` (Waudby-Smith, Arbour, Sinha,
/// Kennedy & Ramdas 2024). Nothing for fewer than two rows or a term
/// that does not vary.
pub fn mean_sequence(sample: &Sample, tuned_rows: f64, confidence: f64) -> Option<Interval> {
    let variance = sample.variance().filter(|variance| 0.0 < *variance)?;
    let level = -2.0 * (1.0 - confidence).ln();
    let scale = (level + (level + 1.0).ln()) / tuned_rows.max(1.0);
    let grown = sample.rows * scale + 1.0;
    let units = (grown / (sample.rows * scale) * (level + grown.ln())).sqrt();
    Some(Interval::around(sample.mean()?, (variance / sample.rows).sqrt(), units))
}

/// Returns what the difference of two means is, first less second, from the confidence sequence of
/// each at half of the error: two versions of a model on the same traffic differ when 0 is outside.
pub fn difference(first: &Interval, second: &Interval) -> Interval {
    Interval { lower: first.lower - second.upper, upper: first.upper - second.lower }
}
