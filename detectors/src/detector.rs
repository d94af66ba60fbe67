//! The detectors: their names and what each reports for one feature of one window.
//!
//! Before: [`crate::counts`]. After: [`crate::decision`]. One file a detector, each with its
//! formula and paper; all are functions of two rows of counts, reference and current.

pub(crate) mod chi_squared;
pub(crate) mod jensen_shannon;
pub(crate) mod ks;
pub(crate) mod kullback_leibler;
pub(crate) mod missing_rate;
pub(crate) mod psi;
pub(crate) mod two_proportions;
pub(crate) mod unseen_rate;

use thiserror::Error;

/// A detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DetectorKind {
    /// Two-sample Kolmogorov–Smirnov, bracketed from cells.
    Ks,
    /// Population stability index.
    Psi,
    /// Kullback–Leibler divergence of the reference from the current.
    KullbackLeibler,
    /// Jensen–Shannon divergence.
    JensenShannon,
    /// Pearson's χ² of homogeneity.
    ChiSquared,
    /// Share of rows without a usable value.
    MissingRate,
    /// Share of present rows whose level the reference does not have.
    UnseenRate,
}

/// A text that names no detector.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "unknown detector {name:?}; there are ks, psi, kl, js, chi_squared, missing_rate, unseen_rate"
)]
pub struct UnknownDetector {
    /// The text.
    pub name: String,
}

impl DetectorKind {
    /// All detectors, in the order results list them.
    pub const ALL: [Self; 7] = [
        Self::Ks,
        Self::Psi,
        Self::KullbackLeibler,
        Self::JensenShannon,
        Self::ChiSquared,
        Self::MissingRate,
        Self::UnseenRate,
    ];

    /// Returns the name used in configuration, metrics and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ks => "ks",
            Self::Psi => "psi",
            Self::KullbackLeibler => "kl",
            Self::JensenShannon => "js",
            Self::ChiSquared => "chi_squared",
            Self::MissingRate => "missing_rate",
            Self::UnseenRate => "unseen_rate",
        }
    }

    /// Reads a name as [`Self::as_str`] writes it.
    pub fn parse(name: &str) -> Result<Self, UnknownDetector> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| UnknownDetector { name: name.to_owned() })
    }

    /// Returns whether a policy may choose it to decide on a numeric feature.
    pub fn decides_numeric(self) -> bool {
        matches!(self, Self::Ks) || self.decides_categorical()
    }

    /// Returns whether a policy may choose it to decide on a categorical feature.
    pub fn decides_categorical(self) -> bool {
        matches!(self, Self::Psi | Self::KullbackLeibler | Self::JensenShannon)
    }
}

/// What one detector found for one feature of one window.
///
/// Every result has a statistic. Those that take part in the decision (the policy's detector, the
/// missing rate and the unseen rate) also have an adjusted p-value, a threshold and a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetectorResult {
    /// The detector.
    pub detector: DetectorKind,
    /// Its statistic. KS: the lower end of the bracket. Rates: current minus reference.
    pub statistic: f64,
    /// KS: the upper end of the bracket, equal to `statistic` when that is exact.
    pub statistic_upper: Option<f64>,
    /// Probability of such a statistic, or a greater one, without drift. For a deciding PSI, KL or
    /// JS that of Pearson's χ² on the same cells, because their own null distributions fail where
    /// counts are small.
    pub p_value: Option<f64>,
    /// The p-value after Benjamini–Hochberg over the window's features.
    pub adjusted_p_value: Option<f64>,
    /// One-sided lower confidence bound of the true effect, at least 0. Rates: of its absolute
    /// value.
    pub lower_bound: Option<f64>,
    /// The statistic at which this window would be at the limit: `statistic / score` (rates: of the
    /// absolute statistic).
    pub threshold: Option<f64>,
    /// `statistic / threshold`: above 1 exactly when both significance and effect are beyond
    /// limits.
    pub score: Option<f64>,
}

impl DetectorResult {
    /// Returns a result that informs and does not decide.
    pub(crate) fn informing(detector: DetectorKind, statistic: f64) -> Self {
        Self {
            detector,
            statistic,
            statistic_upper: None,
            p_value: None,
            adjusted_p_value: None,
            lower_bound: None,
            threshold: None,
            score: None,
        }
    }
}

/// An effect size estimated from two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Effect {
    /// The statistic, 0 for equal samples.
    pub(crate) statistic: f64,
    /// What is taken off the statistic to get its lower confidence bound.
    pub(crate) margin: f64,
}

impl Effect {
    /// Returns the lower confidence bound; an effect below 0 does not exist.
    pub(crate) fn lower_bound(self) -> f64 {
        (self.statistic - self.margin).max(0.0)
    }
}

/// Counts of both samples over the same cells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cells<'a> {
    /// Reference counts.
    pub(crate) reference: &'a [u64],
    /// Current counts, one for each of the reference's.
    pub(crate) current: &'a [u64],
}

impl Cells<'_> {
    /// Returns the reference's rows.
    pub(crate) fn n(&self) -> f64 {
        self.reference.iter().sum::<u64>() as f64
    }

    /// Returns the current rows.
    pub(crate) fn m(&self) -> f64 {
        self.current.iter().sum::<u64>() as f64
    }

    /// Returns the pairs of counts.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (f64, f64)> {
        self.reference.iter().zip(self.current).map(|(&r, &c)| (r as f64, c as f64))
    }

    /// Returns the degrees of freedom: cells with a count on either side, less one.
    pub(crate) fn degrees(&self) -> f64 {
        let used = self.pairs().filter(|&(r, c)| 0.0 < r + c).count();
        used.saturating_sub(1) as f64
    }

    /// Returns the shares of both samples with half a pseudo-count a cell, `(c + ½) / (n + ½B)`.
    ///
    /// Jeffreys' prior: an empty cell stays finite without dominating the sum, as a floor of 1e-10
    /// would make it do.
    pub(crate) fn smoothed_shares(&self) -> impl Iterator<Item = (f64, f64)> {
        let smoothing = 0.5 * self.reference.len() as f64;
        let (n, m) = (self.n() + smoothing, self.m() + smoothing);
        self.pairs().map(move |(r, c)| ((r + 0.5) / n, (c + 0.5) / m))
    }

    /// Returns `1/n + 1/m`, the scale on which all binned statistics vary without drift.
    pub(crate) fn scale(&self) -> f64 {
        1.0 / self.n() + 1.0 / self.m()
    }
}

/// Variance of a binned statistic by the delta method: with gradient `g` in the shares,
/// `Var_p(g_p)/n + Var_q(g_q)/m` for multinomial counts (van der Vaart 1998, theorem 3.1).
///
/// Each item is `(p, q, ∂/∂p, ∂/∂q)` of one cell; a constant added to a gradient changes nothing.
pub(crate) fn delta_variance(
    gradients: impl Iterator<Item = (f64, f64, f64, f64)>,
    n: f64,
    m: f64,
) -> f64 {
    let (mut p_mean, mut p_square, mut q_mean, mut q_square) = (0.0, 0.0, 0.0, 0.0);
    for (p, q, by_p, by_q) in gradients {
        p_mean += p * by_p;
        p_square += p * by_p * by_p;
        q_mean += q * by_q;
        q_square += q * by_q * by_q;
    }
    (p_square - p_mean * p_mean).max(0.0) / n + (q_square - q_mean * q_mean).max(0.0) / m
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detectors_are_read_by_the_names_they_are_written_with() {
        for kind in DetectorKind::ALL {
            assert_eq!(DetectorKind::parse(kind.as_str()), Ok(kind));
        }
        let error = DetectorKind::parse("KS").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown detector \"KS\"; there are ks, psi, kl, js, chi_squared, missing_rate, \
             unseen_rate"
        );
    }
}
