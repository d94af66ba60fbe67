//! What one test of one feature says before the features of a window are judged together.
//!
//! Before: [`crate::detector`]. After: [`crate::decision`]. Owns the score and the minimum
//! detectable effect.

use crate::counts::FeatureCounts;
use crate::detector::chi_squared::{self, ChiSquaredTest};
use crate::detector::two_proportions::Proportions;
use crate::detector::{
    Cells, DetectorKind, DetectorResult, Effect, jensen_shannon, ks, kullback_leibler, psi,
    unseen_rate,
};
use crate::reference::FeatureReference;
use crate::special::{chi_squared_quantile, normal_quantile};

use super::DETECTION_POWER;

/// The confidence of lower bounds, in the two forms detectors want it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confidence {
    /// Probability of a bound above the true effect.
    level: f64,
    /// Standard normal units with this probability beyond them.
    z: f64,
}

impl Confidence {
    /// Takes the confidence of a one-sided bound.
    pub(super) fn new(confidence: f64) -> Self {
        let level = 1.0 - confidence;
        Self { level, z: normal_quantile(level) }
    }

    /// Returns the standard normal units of the bounds.
    pub(super) fn z(self) -> f64 {
        self.z
    }
}

/// The distribution of a test statistic without drift.
#[derive(Clone, Copy, Debug)]
enum Null {
    /// Two-sample KS of these sizes.
    Ks { n: f64, m: f64 },
    /// χ² of these degrees of freedom.
    ChiSquared { degrees: f64 },
    /// Absolute value of a standard normal variable.
    Normal,
}

impl Null {
    /// Returns the statistic whose p-value is `level`; infinite where none is significant.
    fn critical_value(self, level: f64) -> f64 {
        match self {
            Self::Ks { n, m } => ks::critical_value(level, n, m),
            Self::ChiSquared { degrees } if degrees < 1.0 => f64::INFINITY,
            Self::ChiSquared { degrees } => chi_squared_quantile(level, degrees),
            Self::Normal => normal_quantile(0.5 * level),
        }
    }
}

/// One test of one feature: its numbers, its effect, and what it is compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    /// The numbers as reported. Threshold and score are not known yet.
    pub(super) result: DetectorResult,
    effect: Effect,
    test_statistic: f64,
    null: Null,
    /// `1/n + 1/m`.
    scale: f64,
}

impl Evidence {
    /// Makes evidence of a comparison of two rates.
    pub(super) fn of_rates(detector: DetectorKind, found: &Proportions) -> Self {
        let mut result = DetectorResult::informing(detector, found.difference);
        result.p_value = Some(found.p_value);
        result.lower_bound = Some(found.effect.lower_bound());
        let (effect, scale) = (found.effect, found.scale);
        Self { result, effect, test_statistic: found.z, null: Null::Normal, scale }
    }

    fn of_ks(cells: &Cells<'_>, confidence: Confidence) -> Self {
        let (n, m) = (cells.n(), cells.m());
        let bracket = ks::bracket(cells);
        let effect = ks::effect(bracket, n, m, confidence.level);
        let mut result = DetectorResult::informing(DetectorKind::Ks, bracket.lower);
        result.statistic_upper = Some(bracket.upper);
        result.p_value = Some(ks::p_value(bracket.lower, n, m));
        result.lower_bound = Some(effect.lower_bound());
        let (test_statistic, null) = (bracket.lower, Null::Ks { n, m });
        Self { result, effect, test_statistic, null, scale: cells.scale() }
    }

    fn of_binned(
        detector: DetectorKind,
        cells: &Cells<'_>,
        effect: Effect,
        test: ChiSquaredTest,
    ) -> Self {
        let mut result = DetectorResult::informing(detector, effect.statistic);
        result.p_value = Some(test.p_value);
        result.lower_bound = Some(effect.lower_bound());
        let null = Null::ChiSquared { degrees: test.degrees };
        Self { result, effect, test_statistic: test.statistic, null, scale: cells.scale() }
    }

    /// Returns the p-value that enters the correction.
    pub(super) fn p_value(&self) -> f64 {
        self.result.p_value.unwrap_or(1.0)
    }

    /// Judges the evidence: significant when `correction.adjusted` is at most its rate, which is
    /// when the p-value is at most its level; large when the lower bound is above `minimum_effect`.
    ///
    /// Score = the smaller of `statistic / (minimum effect + margin)` and
    /// `test statistic / critical value at the level`: each is above 1 when its condition holds.
    pub(super) fn judge(&self, minimum_effect: f64, correction: Correction) -> DetectorResult {
        let large = minimum_effect < self.effect.lower_bound();
        let breached = correction.adjusted <= correction.rate && large;
        let limit = (minimum_effect + self.effect.margin).max(f64::MIN_POSITIVE);
        let size = self.effect.statistic / limit;
        let significance = self.test_statistic / self.null.critical_value(correction.level);
        let score = size.min(significance);
        // Where a condition holds by less than rounding, the verdict says on which side of 1 it is.
        let score = if breached { score.max(1.0_f64.next_up()) } else { score.min(1.0) };
        let threshold = if 0.0 < score { self.effect.statistic / score } else { limit };
        DetectorResult {
            adjusted_p_value: Some(correction.adjusted),
            threshold: Some(threshold),
            score: Some(score),
            ..self.result
        }
    }

    /// Returns the smallest true effect that is both significant at `level` and large with
    /// probability [`DETECTION_POWER`], in normal approximation; nothing for rates.
    ///
    /// KS: the estimate's standard error at the point of the greatest difference is at most
    /// `½ √(1/n + 1/m)`. Binned: on PSI's scale (KL doubled, JS eightfold) the statistic is
    /// `s = 1/n + 1/m` times a noncentral χ² of `d` degrees and noncentrality `effect / s`, so it
    /// has the mean `effect + d s` and the variance `2 d s² + 4 effect s` (Patnaik 1949).
    pub(super) fn detectable_effect(
        &self,
        minimum_effect: f64,
        level: f64,
        confidence: Confidence,
    ) -> Option<f64> {
        let power = normal_quantile(1.0 - DETECTION_POWER);
        let critical = self.null.critical_value(level);
        match self.null {
            Null::Ks { .. } => {
                let limit = critical.max(minimum_effect + self.effect.margin);
                Some(limit + power * 0.5 * self.scale.sqrt())
            }
            Null::ChiSquared { degrees } => {
                let unit = psi_units(self.result.detector);
                let reach = |limit, z| beyond(limit, z, degrees, self.scale);
                let significant = reach(self.scale * (critical - degrees), power);
                let large = reach(unit * minimum_effect, power + confidence.z);
                Some(significant.max(large) / unit)
            }
            Null::Normal => None,
        }
    }
}

/// What the features of a window together say about one test.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correction {
    /// The test's adjusted p-value.
    pub(super) adjusted: f64,
    /// The false discovery rate it must not exceed.
    pub(super) rate: f64,
    /// The p-value up to which tests of this window are significant.
    pub(super) level: f64,
}

/// Returns all evidence about a feature's values, and Pearson's χ², which only informs.
/// Counts of another kind than the reference's give none.
pub(super) fn gather(
    reference: &FeatureReference,
    counts: &FeatureCounts,
    confidence: Confidence,
) -> Option<(Vec<Evidence>, DetectorResult)> {
    match (reference, counts) {
        (FeatureReference::Numeric(ours), FeatureCounts::Numeric(theirs)) => {
            let reference_bins = ours.grid.bin_counts(&ours.counts.cells);
            let current_bins = ours.grid.bin_counts(&theirs.cells);
            let bins = Cells { reference: &reference_bins, current: &current_bins };
            let (mut evidence, chi_squared) = binned(&bins, confidence);
            let reference_cells: Vec<u64> = ours.counts.cells.iter().collect();
            let current_cells: Vec<u64> = theirs.cells.iter().collect();
            let cells = Cells { reference: &reference_cells, current: &current_cells };
            evidence.push(Evidence::of_ks(&cells, confidence));
            Some((evidence, chi_squared))
        }
        (FeatureReference::Categorical(ours), FeatureCounts::Categorical(theirs)) => {
            let (reference_cells, current_cells) = (ours.counts.cells(), theirs.cells());
            let cells = Cells { reference: &reference_cells, current: &current_cells };
            let (mut evidence, chi_squared) = binned(&cells, confidence);
            let found = unseen_rate::test(&ours.counts, theirs, confidence.z);
            evidence.push(Evidence::of_rates(DetectorKind::UnseenRate, &found));
            Some((evidence, chi_squared))
        }
        (FeatureReference::Numeric(_), FeatureCounts::Categorical(_))
        | (FeatureReference::Categorical(_), FeatureCounts::Numeric(_)) => None,
    }
}

fn binned(cells: &Cells<'_>, confidence: Confidence) -> (Vec<Evidence>, DetectorResult) {
    let test = chi_squared::test(cells);
    let of = |detector, effect| Evidence::of_binned(detector, cells, effect, test);
    let evidence = vec![
        of(DetectorKind::Psi, psi::effect(cells, confidence.z)),
        of(DetectorKind::KullbackLeibler, kullback_leibler::effect(cells, confidence.z)),
        of(DetectorKind::JensenShannon, jensen_shannon::effect(cells, confidence.z)),
    ];
    let mut chi_squared = DetectorResult::informing(DetectorKind::ChiSquared, test.statistic);
    chi_squared.p_value = Some(test.p_value);
    (evidence, chi_squared)
}

/// How many times a small statistic goes into PSI: without drift `PSI ≈ 2 KL ≈ 8 JS`.
fn psi_units(detector: DetectorKind) -> f64 {
    match detector {
        DetectorKind::KullbackLeibler => 2.0,
        DetectorKind::JensenShannon => 8.0,
        DetectorKind::Psi
        | DetectorKind::Ks
        | DetectorKind::ChiSquared
        | DetectorKind::MissingRate
        | DetectorKind::UnseenRate => 1.0,
    }
}

/// Returns the effect that lies `z` of its own standard errors beyond `limit`: the greater root of
/// `(effect − limit)² = z² (2 d s² + 4 effect s)`.
fn beyond(limit: f64, z: f64, degrees: f64, scale: f64) -> f64 {
    let half = limit + 2.0 * z * z * scale;
    let variance = 2.0 * degrees * scale * scale;
    half + (half * half - limit * limit + z * z * variance).max(0.0).sqrt()
}
