//! Decides about all features of one window together.
//!
//! Before: [`crate::counts`] of a closed window and its [`crate::reference`]. After: verdicts,
//! which alerting and metrics take as they are. Owns what "drifted" means:
//!
//! 1. Too few rows on either side is `insufficient_data`, never "no drift".
//! 2. A missing rate that moved significantly and by more than the policy's effect is
//!    `broken_data`: a storm of nulls is a fault of the pipeline, and what is left of the feature
//!    is not judged.
//! 3. Else a feature drifted when its distribution, or its unseen rate, moved significantly *and*
//!    the lower confidence bound of the effect is above the policy's minimum effect.
//!
//! Significance is Benjamini–Hochberg over the window's features, once for the missing rates and
//! once for all drift tests, so that broken features cannot loosen the level for the others.

mod evidence;

use self::evidence::{Confidence, Correction, Evidence, gather};
use crate::correction::benjamini_hochberg;
use crate::counts::FeatureCounts;
use crate::detector::{DetectorKind, DetectorResult, missing_rate};
use crate::reference::FeatureReference;

/// Probability with which the minimum detectable effect is detected (Cohen 1988's convention).
pub const DETECTION_POWER: f64 = 0.8;

/// What a window says about a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Enough data, and nothing beyond its limit.
    Ok,
    /// The distribution or the unseen rate moved.
    Drifted,
    /// Too few rows in the reference or the window to tell.
    InsufficientData,
    /// Nothing to compare with: no reference, or counts that belong to another one.
    NoReference,
    /// The missing rate moved.
    BrokenData,
}

impl State {
    /// All states.
    pub const ALL: [Self; 5] =
        [Self::Ok, Self::Drifted, Self::InsufficientData, Self::NoReference, Self::BrokenData];

    /// Returns the name used in metrics and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Drifted => "drifted",
            Self::InsufficientData => "insufficient_data",
            Self::NoReference => "no_reference",
            Self::BrokenData => "broken_data",
        }
    }
}

/// When a feature counts as moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeaturePolicy {
    /// The detector whose statistic is the effect. One that cannot decide the feature's kind (see
    /// [`DetectorKind::decides_numeric`] and [`DetectorKind::decides_categorical`]; configuration
    /// refuses it) is replaced by PSI.
    pub detector: DetectorKind,
    /// Least effect worth an alarm, in units of the detector's statistic; 0 or more.
    pub minimum_effect: f64,
    /// Least absolute change of the missing rate that breaks the data, 0 to 1.
    pub missing_rate_effect: f64,
    /// Least absolute change of the unseen rate that is drift, 0 to 1.
    pub unseen_rate_effect: f64,
    /// Rows needed on either side, with and without a value, to decide at all. At least 1 is used.
    pub minimum_rows: u64,
}

/// How sure a decision has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecisionPolicy {
    /// Expected share of false ones among a window's significant features; strictly between 0 and
    /// 1.
    pub false_discovery_rate: f64,
    /// Confidence of each lower bound, one-sided; from ½ to below 1.
    pub confidence: f64,
}

/// One feature of a window with what it is compared with.
#[derive(Clone, Copy, Debug)]
pub struct FeatureInput<'a> {
    /// Absent when none is registered.
    pub reference: Option<&'a FeatureReference>,
    /// The window's counts.
    pub counts: &'a FeatureCounts,
    /// The feature's policy.
    pub policy: FeaturePolicy,
}

/// The decision about one feature.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureVerdict {
    /// The decision.
    pub state: State,
    /// The greatest score of the deciding results. Absent unless the state is `ok`, `drifted` or
    /// `broken_data`; above 1 exactly for the last two.
    pub score: Option<f64>,
    /// The detector that has this score.
    pub deciding: Option<DetectorKind>,
    /// What each detector found, in the order of [`DetectorKind::ALL`]. Only the missing rate when
    /// values are too few; nothing when rows are, or without a reference.
    pub results: Vec<DetectorResult>,
    /// Rows of the reference, missing values included.
    pub reference_rows: u64,
    /// Rows of the window, missing values included.
    pub current_rows: u64,
    /// Smallest true effect that windows of this size would call drift with probability
    /// [`DETECTION_POWER`] if no other feature moved; in units of the policy's detector. Beyond the
    /// detector's range nothing can be detected. Absent when nothing was decided about drift.
    pub minimum_detectable_effect: Option<f64>,
}

/// Decides about all features of one window; verdicts are in the order of `features`.
pub fn decide(features: &[FeatureInput<'_>], policy: &DecisionPolicy) -> Vec<FeatureVerdict> {
    let confidence = Confidence::new(policy.confidence);
    let mut verdicts: Vec<FeatureVerdict> = features.iter().map(undecided).collect();
    let missing = missing_tests(features, &verdicts, confidence);
    judge(&mut verdicts, &missing, policy, State::BrokenData);
    let drift = drift_tests(features, &mut verdicts, confidence);
    judge(&mut verdicts, &drift, policy, State::Drifted);
    // The strictest level Benjamini–Hochberg knows: that of a discovery which is alone.
    let level = policy.false_discovery_rate / drift.len().max(1) as f64;
    for test in &drift {
        let effect = test.evidence.detectable_effect(test.minimum_effect, level, confidence);
        let detectable = &mut verdicts[test.feature].minimum_detectable_effect;
        *detectable = detectable.or(effect);
    }
    for verdict in &mut verdicts {
        verdict.results.sort_by_key(|result| result.detector);
    }
    verdicts
}

/// A test that takes part in the decision.
#[derive(Clone, Copy, Debug)]
struct DecidingTest {
    /// Index of the feature.
    feature: usize,
    evidence: Evidence,
    minimum_effect: f64,
}

/// Returns a verdict that is `ok` where there are rows enough to go on.
fn undecided(input: &FeatureInput<'_>) -> FeatureVerdict {
    let current_rows = input.counts.rows();
    let reference_rows = input.reference.map_or(0, FeatureReference::rows);
    let comparable = input.reference.is_some_and(|reference| reference.admits(input.counts));
    let state = if !comparable {
        State::NoReference
    } else if reference_rows.min(current_rows) < input.policy.minimum_rows.max(1) {
        State::InsufficientData
    } else {
        State::Ok
    };
    FeatureVerdict {
        state,
        score: None,
        deciding: None,
        results: Vec::new(),
        reference_rows,
        current_rows,
        minimum_detectable_effect: None,
    }
}

fn missing_tests(
    features: &[FeatureInput<'_>],
    verdicts: &[FeatureVerdict],
    confidence: Confidence,
) -> Vec<DecidingTest> {
    let mut tests = Vec::new();
    for (feature, input) in features.iter().enumerate() {
        if let (State::Ok, Some(reference)) = (verdicts[feature].state, input.reference) {
            let found = missing_rate::test(reference, input.counts, confidence.z());
            let evidence = Evidence::of_rates(DetectorKind::MissingRate, &found);
            let minimum_effect = input.policy.missing_rate_effect;
            tests.push(DecidingTest { feature, evidence, minimum_effect });
        }
    }
    tests
}

/// Compares the values of features that have enough of them: returns what decides, and adds what
/// only informs to the verdicts. Broken data are compared for those who look into them; nothing
/// decides.
fn drift_tests(
    features: &[FeatureInput<'_>],
    verdicts: &mut [FeatureVerdict],
    confidence: Confidence,
) -> Vec<DecidingTest> {
    let mut tests = Vec::new();
    for (feature, input) in features.iter().enumerate() {
        let verdict = &mut verdicts[feature];
        let (State::Ok | State::BrokenData, Some(reference)) = (verdict.state, input.reference)
        else {
            continue;
        };
        if reference.present().min(input.counts.present()) < input.policy.minimum_rows.max(1) {
            if verdict.state == State::Ok {
                verdict.state = State::InsufficientData;
                (verdict.score, verdict.deciding) = (None, None);
            }
            continue;
        }
        let Some((gathered, chi_squared)) = gather(reference, input.counts, confidence) else {
            continue;
        };
        verdict.results.push(chi_squared);
        for evidence in gathered {
            match minimum_effect(reference, &input.policy, evidence.result.detector) {
                Some(minimum_effect) if verdict.state == State::Ok => {
                    tests.push(DecidingTest { feature, evidence, minimum_effect });
                }
                Some(_) | None => verdict.results.push(evidence.result),
            }
        }
    }
    tests
}

/// Returns the least effect of a detector that decides about drift of this feature.
fn minimum_effect(
    reference: &FeatureReference,
    policy: &FeaturePolicy,
    detector: DetectorKind,
) -> Option<f64> {
    let decides = match reference {
        FeatureReference::Numeric(_) => policy.detector.decides_numeric(),
        FeatureReference::Categorical(_) => policy.detector.decides_categorical(),
    };
    let deciding = if decides { policy.detector } else { DetectorKind::Psi };
    if detector == DetectorKind::UnseenRate {
        Some(policy.unseen_rate_effect)
    } else {
        (detector == deciding).then_some(policy.minimum_effect)
    }
}

/// Judges tests together and enters them into the verdicts; a breach makes the feature's state
/// `breach`.
fn judge(
    verdicts: &mut [FeatureVerdict],
    tests: &[DecidingTest],
    policy: &DecisionPolicy,
    breach: State,
) {
    let rate = policy.false_discovery_rate;
    let p_values: Vec<f64> = tests.iter().map(|test| test.evidence.p_value()).collect();
    let adjusted_p_values = benjamini_hochberg(&p_values);
    let significant = adjusted_p_values.iter().filter(|&&adjusted| adjusted <= rate).count();
    let level = rate * significant.max(1) as f64 / tests.len().max(1) as f64;
    for (test, adjusted) in tests.iter().zip(adjusted_p_values) {
        let result = test.evidence.judge(test.minimum_effect, Correction { adjusted, rate, level });
        let verdict = &mut verdicts[test.feature];
        if result.score.is_some_and(|score| 1.0 < score) {
            verdict.state = breach;
        }
        if verdict.score < result.score {
            (verdict.score, verdict.deciding) = (result.score, Some(result.detector));
        }
        verdict.results.push(result);
    }
}

#[cfg(test)]
mod tests;
