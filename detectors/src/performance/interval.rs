//! Intervals of metrics at a window that is looked at once.
//!
//! Before: counts and their sums. After: whoever reports. Each is two-sided and asymptotic but for
//! what its paper says; what is watched while it grows wants [`super::sequence`].

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::special::normal_quantile;

use super::curve::ScoreCurve;

/// A range that holds the true value with the confidence asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub lower: f64,
    /// Its upper end.
    pub upper: f64,
}

/// What an interval of a mean needs: rows, the sum of a term and of its square.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Rows.
    pub rows: f64,
    /// Sum of the term.
    pub sum: f64,
    /// Sum of its square.
    pub squares: f64,
}

impl Interval {
    /// Returns the interval of `z` standard errors around a value.
    pub(super) fn around(value: f64, standard_error: f64, z: f64) -> Self {
        Self { lower: value - z * standard_error, upper: value + z * standard_error }
    }

    /// Returns the interval with its ends drawn into `least..=greatest`.
    #[must_use]
    pub fn within(self, least: f64, greatest: f64) -> Self {
        Self { lower: self.lower.max(least), upper: self.upper.min(greatest) }
    }

    /// Returns the interval of an ascending function of the value.
    #[must_use]
    pub fn map(self, ascending: impl Fn(f64) -> f64) -> Self {
        Self { lower: ascending(self.lower), upper: ascending(self.upper) }
    }
}

impl Sample {
    /// Returns the mean. Nothing without rows.
    pub fn mean(&self) -> Option<f64> {
        (0.0 < self.rows).then(|| self.sum / self.rows)
    }

    /// Returns the unbiased variance. Nothing for fewer than two rows.
    pub fn variance(&self) -> Option<f64> {
        let deviations = self.squares - self.sum * (self.sum / self.rows);
        (2.0 <= self.rows).then(|| deviations.max(0.0) / (self.rows - 1.0))
    }

    /// Returns Student's interval of the mean (Student 1908). Nothing for fewer than two rows, or a
    /// term that does not vary, whose spread is unknown.
    pub fn interval(&self, confidence: f64) -> Option<Interval> {
        let variance = self.variance().filter(|variance| 0.0 < *variance)?;
        let distribution = StudentsT::new(0.0, 1.0, self.rows - 1.0).ok()?;
        let units = distribution.inverse_cdf(0.5 + 0.5 * confidence);
        Some(Interval::around(self.mean()?, (variance / self.rows).sqrt(), units))
    }
}

/// Returns Wilson's score interval of a proportion (Wilson 1927): never empty, within 0 to 1, and
/// good for few rows. Nothing without rows.
pub fn wilson(successes: f64, rows: f64, confidence: f64) -> Option<Interval> {
    if rows <= 0.0 {
        return None;
    }
    let (z, share) = (two_sided(confidence), successes / rows);
    let weight = z * z / rows;
    let centre = (share + 0.5 * weight) / (1.0 + weight);
    let half = z / (1.0 + weight) * (share * (1.0 - share) / rows + 0.25 * weight / rows).sqrt();
    Some(Interval { lower: centre - half, upper: centre + half }.within(0.0, 1.0))
}

/// Returns the standard error of the ROC area of counts by cell (DeLong, DeLong & Clarke-Pearson
/// 1988, from ranks as Sun & Xu 2014). Rows of an open cell are taken as ties. Nothing with fewer
/// than two rows of a class.
pub fn roc_auc_standard_error(curve: &ScoreCurve) -> Option<f64> {
    let (positive, negative) = (curve.positive(), curve.negative());
    if positive < 2.0 || negative < 2.0 {
        return None;
    }
    let area = curve.roc_auc()?.value;
    let ([mut below, mut beaten], [mut of_positives, mut of_negatives]) = ([0.0; 2], [0.0; 2]);
    for it in curve.cells() {
        let placement = (below + 0.5 * it.negative) / negative;
        let share_above = (positive - beaten - 0.5 * it.positive) / positive;
        of_positives += it.positive * (placement - area) * (placement - area);
        of_negatives += it.negative * (share_above - area) * (share_above - area);
        below += it.negative;
        beaten += it.positive;
    }
    let variance =
        of_positives / (positive - 1.0) / positive + of_negatives / (negative - 1.0) / negative;
    Some(variance.sqrt())
}

/// Returns the interval of the ROC area by [`roc_auc_standard_error`] on the scale of its logit,
/// where it is nearer to normal and ends within 0 to 1 (Pepe 2003). Nothing where the classes
/// are separated entirely, for the spread is unknown then.
pub fn roc_auc_interval(curve: &ScoreCurve, confidence: f64) -> Option<Interval> {
    let area = curve.roc_auc()?.value;
    let error = roc_auc_standard_error(curve).filter(|error| 0.0 < *error)?;
    let scale = area * (1.0 - area);
    let logit = (area / (1.0 - area)).ln();
    let interval = Interval::around(logit, error / scale, two_sided(confidence));
    (0.0 < scale).then(|| interval.map(|logit| 1.0 / (1.0 + (-logit).exp())))
}

/// Returns the standard normal units of a two-sided interval.
pub(super) fn two_sided(confidence: f64) -> f64 {
    normal_quantile(0.5 * (1.0 - confidence))
}
