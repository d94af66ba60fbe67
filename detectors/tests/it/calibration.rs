//! Error rates and power of whole decisions on seeded streams.
//!
//! The settings without drift are those in which the defaults of other tools alarm in a third to
//! all of the windows: one-sample χ² on 10 levels, Jensen–Shannon distance over 0.1 on 50 and 1,000
//! levels with small windows, normed Wasserstein on 200 rows, PSI against a threshold that forgets
//! the reference's size.

use std::sync::Arc;

use driftd_detectors::{
    CategoricalCounts, CategoricalReference, DecisionPolicy, DetectorKind, FeatureCounts,
    FeatureInput, FeaturePolicy, FeatureReference, FeatureVerdict, Levels, State, decide,
};
use driftd_fixtures::oracle::uniforms;

use crate::feature::{
    CATEGORICAL_POLICY, DECISION_POLICY, NUMERIC_POLICY, categorical_counts, decide_alone,
    numeric_counts, numeric_reference, result,
};

const WINDOWS: u32 = 400;

/// Asserts that `hits` of `trials` do not refute a probability of at most `share`, at 3.1 standard
/// deviations of the binomial distribution: the tests are seeded, and a fair seed fails 1 in 1,000.
fn assert_at_most(hits: u32, trials: u32, share: f64) {
    let trials = f64::from(trials);
    let most = trials * share + 3.1 * (trials * share * (1.0 - share)).sqrt();
    assert!(f64::from(hits) <= most, "{hits} of {trials}, expected at most {most:.1}");
}

/// Asserts that `hits` of `trials` do not refute a probability of at least `share`.
fn assert_at_least(hits: u32, trials: u32, share: f64) {
    assert_at_most(trials - hits, trials, 1.0 - share);
}

/// Draws rows over levels of these weights.
fn draw_levels(
    levels: &Levels,
    weights: &[f64],
    rows: usize,
    random: &mut impl Iterator<Item = f64>,
) -> CategoricalCounts {
    let mut ends = Vec::with_capacity(weights.len());
    let mut total = 0.0;
    for weight in weights {
        total += weight;
        ends.push(total);
    }
    let mut counts = CategoricalCounts::empty(levels);
    for u in random.take(rows) {
        counts.levels[ends.partition_point(|&end| end <= u * total)] += 1;
    }
    counts
}

fn all_levels(count: usize) -> Levels {
    Levels::try_new((0..count).map(|level| format!("{level:04}").into()).collect()).unwrap()
}

fn categorical(
    reference_weights: &[f64],
    current_weights: &[f64],
    sizes: (usize, usize),
    random: &mut impl Iterator<Item = f64>,
) -> (FeatureReference, FeatureCounts) {
    let levels = Arc::new(all_levels(reference_weights.len()));
    let counts = draw_levels(&levels, reference_weights, sizes.0, random);
    let current = draw_levels(&levels, current_weights, sizes.1, random);
    let reference = FeatureReference::Categorical(CategoricalReference { levels, counts });
    (reference, FeatureCounts::Categorical(current))
}

/// Uniform values on [0, 1) against such shifted by `shift`: their KS distance is `shift`.
fn numeric(
    shift: f64,
    bins: usize,
    sizes: (usize, usize),
    random: &mut impl Iterator<Item = f64>,
) -> (FeatureReference, FeatureCounts) {
    let reference: Vec<f64> = random.take(sizes.0).collect();
    let current: Vec<f64> = random.take(sizes.1).map(|u| u + shift).collect();
    let reference = numeric_reference(&reference, bins);
    let counts = numeric_counts(&reference, &current);
    (reference, counts)
}

/// One window of features that do not drift, in the settings of the file's head.
fn still_window(
    random: &mut impl Iterator<Item = f64>,
) -> Vec<(DetectorKind, FeatureReference, FeatureCounts)> {
    let flat = |levels, sizes, random: &mut _| {
        let weights = vec![1.0; levels];
        categorical(&weights, &weights, sizes, random)
    };
    let features = [
        (DetectorKind::Psi, flat(10, (1_000, 1_000), random)),
        (DetectorKind::Psi, flat(10, (1_000, 10_000), random)),
        (DetectorKind::JensenShannon, flat(50, (5_000, 200), random)),
        (DetectorKind::JensenShannon, flat(1_000, (5_000, 5_000), random)),
        (DetectorKind::Ks, numeric(0.0, 10, (5_000, 200), random)),
        (DetectorKind::Psi, numeric(0.0, 10, (1_000, 1_000), random)),
        (DetectorKind::KullbackLeibler, numeric(0.0, 20, (5_000, 5_000), random)),
    ];
    features.map(|(detector, (reference, counts))| (detector, reference, counts)).into()
}

fn decide_window(
    features: &[(DetectorKind, FeatureReference, FeatureCounts)],
    policy: FeaturePolicy,
    decision: &DecisionPolicy,
) -> Vec<FeatureVerdict> {
    let inputs: Vec<FeatureInput<'_>> = features
        .iter()
        .map(|(detector, reference, counts)| {
            let policy = FeaturePolicy { detector: *detector, ..policy };
            FeatureInput { reference: Some(reference), counts, policy }
        })
        .collect();
    decide(&inputs, decision)
}

#[test]
fn without_drift_windows_alarm_no_more_often_than_the_policy_says() {
    // Significance alone, at a rate that can be seen: effects do not have to be large.
    let significance = FeaturePolicy { minimum_effect: 0.0, minimum_rows: 1, ..NUMERIC_POLICY };
    let decision = DecisionPolicy { false_discovery_rate: 0.05, confidence: 0.5 };
    let mut random = uniforms(31_001);
    let (mut alarmed, mut alarmed_by_default) = (0, 0);
    for _ in 0..WINDOWS {
        let features = still_window(&mut random);
        let any = |verdicts: Vec<FeatureVerdict>| {
            u32::from(verdicts.iter().any(|verdict| verdict.state == State::Drifted))
        };
        alarmed += any(decide_window(&features, significance, &decision));
        let patient = FeaturePolicy { minimum_rows: 1, ..NUMERIC_POLICY };
        alarmed_by_default += any(decide_window(&features, patient, &DECISION_POLICY));
    }
    assert_at_most(alarmed, WINDOWS, decision.false_discovery_rate);
    assert_eq!(alarmed_by_default, 0);
}

/// Zipf's weights: the level of rank `r` has `r^−exponent`.
fn zipf(levels: u32, exponent: f64) -> Vec<f64> {
    (1..=levels).map(|rank| f64::from(rank).powf(-exponent)).collect()
}

/// A sample as `reference build` freezes it: only levels that it has are known.
fn sampled_reference(
    weights: &[f64],
    rows: usize,
    random: &mut impl Iterator<Item = f64>,
) -> FeatureReference {
    let all = all_levels(weights.len());
    let counts = draw_levels(&all, weights, rows, random);
    let seen = all.names().iter().cloned().zip(counts.levels).filter(|(_, rows)| 0 < *rows);
    FeatureReference::Categorical(CategoricalReference::of_sample(seen.collect(), 0).unwrap())
}

/// Draws a window and counts it in the reference's levels.
fn sampled_window(
    reference: &FeatureReference,
    weights: &[f64],
    rows: usize,
    random: &mut impl Iterator<Item = f64>,
) -> FeatureCounts {
    let all = all_levels(weights.len());
    let drawn = draw_levels(&all, weights, rows, random).levels;
    let rows: Vec<(&str, u64)> = all.names().iter().map(AsRef::as_ref).zip(drawn).collect();
    categorical_counts(reference, &rows, 0)
}

#[test]
fn a_long_tail_that_stays_is_no_drift() {
    // Levels, exponent, rows of the reference and of the window. A reference that names every level
    // it has sees drift in nearly all windows of the first five.
    let settings = [
        (1_000, 1.2, 5_000, 5_000),
        (1_000, 1.2, 1_000, 5_000),
        (4_000, 1.05, 5_000, 5_000),
        (1_000, 1.2, 500, 2_000),
        (2_000, 0.0, 5_000, 5_000),
        (300, 1.5, 27_000, 500),
        (1_000, 0.0, 5_000, 5_000),
    ];
    let detectors = [DetectorKind::Psi, DetectorKind::KullbackLeibler, DetectorKind::JensenShannon];
    let mut random = uniforms(31_006);
    let (mut drifted, mut windows) = (0, 0);
    for (levels, exponent, reference_rows, window_rows) in settings {
        let weights = zipf(levels, exponent);
        for _ in 0..8 {
            let reference = sampled_reference(&weights, reference_rows, &mut random);
            for _ in 0..5 {
                let counts = sampled_window(&reference, &weights, window_rows, &mut random);
                windows += 1;
                drifted += u32::from(detectors.iter().any(|&detector| {
                    let policy = FeaturePolicy { detector, ..CATEGORICAL_POLICY };
                    decide_alone(&reference, &counts, policy).state == State::Drifted
                }));
            }
        }
    }
    assert_at_most(drifted, windows, DECISION_POLICY.false_discovery_rate);
}

#[test]
fn a_move_from_frequent_levels_into_a_long_tail_is_found() {
    let mut random = uniforms(31_007);
    let (weights, flatter) = (zipf(1_000, 1.2), zipf(1_000, 0.8));
    let mut found = 0;
    for _ in 0..40 {
        let reference = sampled_reference(&weights, 5_000, &mut random);
        let counts = sampled_window(&reference, &flatter, 1_000, &mut random);
        let verdict = decide_alone(&reference, &counts, CATEGORICAL_POLICY);
        found += u32::from(verdict.state == State::Drifted);
    }
    assert_eq!(found, 40);
}

#[test]
fn significance_keeps_its_level_where_most_levels_are_rare() {
    let mut random = uniforms(31_008);
    for (levels, exponent, sizes) in
        [(300, 1.5, (27_000, 500)), (1_000, 0.0, (5_000, 200)), (100, 1.0, (5_000, 500))]
    {
        let weights = zipf(levels, exponent);
        let mut significant = 0;
        for _ in 0..WINDOWS {
            let (reference, counts) = categorical(&weights, &weights, sizes, &mut random);
            let policy = FeaturePolicy { minimum_rows: 1, ..CATEGORICAL_POLICY };
            let verdict = decide_alone(&reference, &counts, policy);
            let p_value = result(&verdict, DetectorKind::ChiSquared).p_value.unwrap();
            significant += u32::from(p_value < 0.01);
        }
        assert_at_most(significant, WINDOWS, 0.01);
    }
}

#[test]
fn effects_at_the_minimum_are_called_drift_no_more_often_than_the_confidence_allows() {
    let mut random = uniforms(31_002);
    let weights = vec![1.0; 10];
    let tilted = tilt_to_psi(&weights, CATEGORICAL_POLICY.minimum_effect);
    let (mut ks, mut psi) = (0, 0);
    for _ in 0..WINDOWS {
        let (reference, counts) = numeric(0.1, 10, (2_000, 2_000), &mut random);
        let verdict = decide_alone(&reference, &counts, NUMERIC_POLICY);
        ks += u32::from(verdict.state == State::Drifted);
        let (reference, counts) = categorical(&weights, &tilted, (2_000, 2_000), &mut random);
        let verdict = decide_alone(&reference, &counts, CATEGORICAL_POLICY);
        psi += u32::from(verdict.state == State::Drifted);
    }
    assert_at_most(ks, WINDOWS, 1.0 - DECISION_POLICY.confidence);
    assert_at_most(psi, WINDOWS, 1.0 - DECISION_POLICY.confidence);
}

#[test]
fn lower_bounds_of_many_levels_are_above_half_the_truth_and_seldom_above_the_truth() {
    let mut random = uniforms(31_005);
    let weights = vec![1.0; 50];
    let tilted = tilt_to_psi(&weights, 0.2);
    let effects = [
        (DetectorKind::Psi, population_psi(&weights, &tilted)),
        (DetectorKind::KullbackLeibler, population_kl(&weights, &tilted)),
        (DetectorKind::JensenShannon, population_js(&weights, &tilted)),
    ];
    let (mut above, mut useful) = ([0; 3], [0; 3]);
    for _ in 0..WINDOWS / 2 {
        let (reference, counts) = categorical(&weights, &tilted, (5_000, 1_000), &mut random);
        let verdict = decide_alone(&reference, &counts, CATEGORICAL_POLICY);
        for (index, (detector, truth)) in effects.into_iter().enumerate() {
            let bound = result(&verdict, detector).lower_bound.unwrap();
            above[index] += u32::from(truth < bound);
            useful[index] += u32::from(0.5 * truth < bound);
        }
    }
    for (above, useful) in above.into_iter().zip(useful) {
        assert_at_most(above, WINDOWS / 2, 1.0 - DECISION_POLICY.confidence);
        assert_at_least(useful, WINDOWS / 2, 0.9);
    }
}

#[test]
fn a_shift_of_a_fifth_of_the_range_is_found_in_nearly_every_window_of_a_thousand_rows() {
    let mut random = uniforms(31_003);
    let mut found = 0;
    for _ in 0..WINDOWS {
        let (reference, counts) = numeric(0.2, 10, (5_000, 1_000), &mut random);
        let verdict = decide_alone(&reference, &counts, NUMERIC_POLICY);
        found += u32::from(verdict.state == State::Drifted);
    }
    assert_at_least(found, WINDOWS, 0.99);
}

#[test]
fn the_minimum_detectable_effect_is_detected_with_its_power() {
    let mut random = uniforms(31_004);
    for sizes in [(5_000, 600), (20_000, 5_000)] {
        let (reference, counts) = numeric(0.0, 10, sizes, &mut random);
        let still = decide_alone(&reference, &counts, NUMERIC_POLICY);
        let shift = still.minimum_detectable_effect.unwrap();
        let weights = vec![1.0; 10];
        let (reference, counts) = categorical(&weights, &weights, sizes, &mut random);
        let still = decide_alone(&reference, &counts, CATEGORICAL_POLICY);
        let tilted = tilt_to_psi(&weights, still.minimum_detectable_effect.unwrap());
        let (mut ks, mut psi) = (0, 0);
        for _ in 0..WINDOWS / 2 {
            let (reference, counts) = numeric(shift, 10, sizes, &mut random);
            let verdict = decide_alone(&reference, &counts, NUMERIC_POLICY);
            ks += u32::from(verdict.state == State::Drifted);
            let (reference, counts) = categorical(&weights, &tilted, sizes, &mut random);
            let verdict = decide_alone(&reference, &counts, CATEGORICAL_POLICY);
            psi += u32::from(verdict.state == State::Drifted);
        }
        assert_at_least(ks, WINDOWS / 2, driftd_detectors::DETECTION_POWER);
        assert_at_least(psi, WINDOWS / 2, driftd_detectors::DETECTION_POWER);
    }
}

/// Tilts weights towards the later levels until their PSI from the given ones is `psi`.
fn tilt_to_psi(weights: &[f64], psi: f64) -> Vec<f64> {
    let tilted = |slope: f64| -> Vec<f64> {
        weights.iter().zip(0_u32..).map(|(w, i)| w * (slope * f64::from(i)).exp()).collect()
    };
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if population_psi(weights, &tilted(middle)) < psi { low = middle } else { high = middle }
    }
    tilted(low)
}

fn population_psi(p: &[f64], q: &[f64]) -> f64 {
    population_kl(p, q) + population_kl(q, p)
}

fn population_js(p: &[f64], q: &[f64]) -> f64 {
    let (n, m) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
    let middle: Vec<f64> = p.iter().zip(q).map(|(p, q)| 0.5 * (p / n + q / m)).collect();
    0.5 * (population_kl(p, &middle) + population_kl(q, &middle))
}

/// Of weights that need not sum to 1.
fn population_kl(p: &[f64], q: &[f64]) -> f64 {
    let (n, m) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
    p.iter().zip(q).map(|(p, q)| p / n * ((p / n) / (q / m)).ln()).sum()
}
