//! States and scores of whole decisions, on counts written down by hand.

use std::sync::Arc;

use super::*;
use crate::counts::{CategoricalCounts, NumericCounts};
use crate::grid::{Grid, Precision};
use crate::levels::Levels;
use crate::reference::{CategoricalReference, NumericReference};

const DECISION: DecisionPolicy = DecisionPolicy { false_discovery_rate: 0.01, confidence: 0.95 };

const POLICY: FeaturePolicy = FeaturePolicy {
    detector: DetectorKind::Ks,
    minimum_effect: 0.1,
    missing_rate_effect: 0.1,
    unseen_rate_effect: 0.05,
    minimum_rows: 500,
};

/// Values 1, 2 and 3, which are all the reference has.
fn grid() -> Arc<Grid> {
    let sorted = [1.0, 2.0, 3.0];
    Arc::new(Grid::try_new(Precision::F64, sorted.to_vec(), vec![1.0, 2.0]).unwrap())
}

fn numbers(rows: [u64; 3], null: u64) -> NumericCounts {
    let cells = vec![0, rows[0], 0, rows[1], 0, rows[2], 0].into();
    NumericCounts { cells, null, nan: 0, neg_inf: 0, pos_inf: 0 }
}

fn numeric(rows: [u64; 3], null: u64) -> FeatureReference {
    let counts = numbers(rows, null);
    FeatureReference::Numeric(NumericReference { grid: grid(), counts })
}

fn names(rows: [u64; 2], unseen: u64) -> CategoricalCounts {
    let levels = rows.to_vec();
    CategoricalCounts { levels, null: 0, unseen, unseen_levels: std::collections::BTreeMap::new() }
}

fn categorical(rows: [u64; 2], unseen: u64) -> FeatureReference {
    let levels = Arc::new(Levels::try_new(vec!["a".into(), "b".into()]).unwrap());
    let counts = names(rows, unseen);
    FeatureReference::Categorical(CategoricalReference { levels, counts })
}

fn verdict(reference: &FeatureReference, counts: &FeatureCounts) -> FeatureVerdict {
    let input = FeatureInput { reference: Some(reference), counts, policy: POLICY };
    decide(&[input], &DECISION).remove(0)
}

fn check_numeric(reference: ([u64; 3], u64), current: ([u64; 3], u64)) -> FeatureVerdict {
    let counts = FeatureCounts::Numeric(numbers(current.0, current.1));
    verdict(&numeric(reference.0, reference.1), &counts)
}

#[test]
fn a_repeated_reference_is_ok_with_score_zero() {
    let still = check_numeric(([900, 800, 700], 100), ([900, 800, 700], 100));
    assert_eq!((still.state, still.score), (State::Ok, Some(0.0)));
    assert_eq!((still.reference_rows, still.current_rows), (2_500, 2_500));
    let order: Vec<DetectorKind> = still.results.iter().map(|result| result.detector).collect();
    assert_eq!(order, &DetectorKind::ALL[..6]);
}

#[test]
fn a_moved_distribution_is_drift_by_the_policys_detector() {
    let moved = check_numeric(([900, 800, 700], 0), ([300, 800, 1_300], 0));
    assert_eq!((moved.state, moved.deciding), (State::Drifted, Some(DetectorKind::Ks)));
    let ks = moved.results[0];
    assert_eq!((ks.statistic, ks.statistic_upper), (0.25, Some(0.25)));
    assert_eq!(ks.score, moved.score);
    let ratio = ks.statistic / ks.threshold.unwrap();
    assert!((ratio - ks.score.unwrap()).abs() < 1e-12);
}

#[test]
fn a_significant_but_small_change_is_ok() {
    let small = check_numeric(([900_000, 800_000, 700_000], 0), ([910_000, 800_000, 690_000], 0));
    assert_eq!(small.state, State::Ok);
    assert!(small.results[0].adjusted_p_value.unwrap() < 1e-12);
    assert!(0.0 < small.results[0].lower_bound.unwrap());
}

#[test]
fn a_large_but_uncertain_change_is_ok() {
    let unsure = check_numeric(([200, 200, 200], 0), ([130, 200, 270], 0));
    assert_eq!(unsure.state, State::Ok);
    assert!(unsure.results[0].adjusted_p_value.unwrap() <= DECISION.false_discovery_rate);
    assert!(0.1 < unsure.results[0].statistic);
    assert!(0.1 < unsure.minimum_detectable_effect.unwrap());
}

#[test]
fn a_storm_of_nulls_is_broken_data_whatever_the_rest_looks_like() {
    let storm = check_numeric(([900, 800, 700], 100), ([100, 200, 700], 1_500));
    assert_eq!(storm.state, State::BrokenData);
    assert_eq!(storm.deciding, Some(DetectorKind::MissingRate));
    assert_eq!(storm.results[0].score, None, "what is left is not judged");
    assert_eq!(storm.minimum_detectable_effect, None);
    let all = check_numeric(([900, 800, 700], 100), ([0, 0, 0], 2_500));
    assert_eq!((all.state, all.results.len()), (State::BrokenData, 1));
}

#[test]
fn infinite_values_are_missing_values() {
    let counts = NumericCounts { pos_inf: 900, ..numbers([900, 800, 700], 0) };
    let broken = verdict(&numeric([900, 800, 700], 0), &FeatureCounts::Numeric(counts));
    assert_eq!(broken.state, State::BrokenData);
}

#[test]
fn broken_features_do_not_loosen_the_level_of_the_others() {
    let reference = numeric([900, 800, 700], 0);
    let still = FeatureCounts::Numeric(numbers([860, 800, 740], 0));
    let storm = FeatureCounts::Numeric(numbers([900, 800, 700], 2_000));
    let input = |counts| FeatureInput { reference: Some(&reference), counts, policy: POLICY };
    let alone = decide(&[input(&still)], &DECISION).remove(0);
    let together = decide(&[input(&still), input(&storm), input(&storm)], &DECISION).remove(0);
    assert_eq!(alone.results[0], together.results[0]);
}

#[test]
fn too_few_rows_on_either_side_are_insufficient_and_have_no_score() {
    for (reference, current) in [([100, 100, 299], [900, 0, 0]), ([900, 0, 0], [100, 100, 299])] {
        let few = check_numeric((reference, 0), (current, 0));
        assert_eq!((few.state, few.score), (State::InsufficientData, None));
        assert!(few.results.is_empty());
    }
}

#[test]
fn rows_without_values_enough_are_insufficient_when_that_is_usual() {
    let sparse = check_numeric(([100, 100, 200], 9_000), ([100, 100, 200], 9_000));
    assert_eq!((sparse.state, sparse.score), (State::InsufficientData, None));
    assert_eq!((sparse.deciding, sparse.results.len()), (None, 1));
}

#[test]
fn without_a_reference_of_these_cells_there_is_nothing_to_compare_with() {
    let counts = FeatureCounts::Numeric(numbers([900, 800, 700], 0));
    let input = FeatureInput { reference: None, counts: &counts, policy: POLICY };
    assert_eq!(decide(&[input], &DECISION)[0].state, State::NoReference);
    let other_cells = NumericCounts { cells: vec![900; 5].into(), ..numbers([0; 3], 0) };
    for other in
        [FeatureCounts::Numeric(other_cells), FeatureCounts::Categorical(names([900, 900], 0))]
    {
        assert_eq!(verdict(&numeric([900; 3], 0), &other).state, State::NoReference);
    }
}

#[test]
fn unseen_levels_are_drift_by_their_rate_before_the_distribution_moves_enough() {
    let reference = categorical([5_300, 4_700], 0);
    let counts = FeatureCounts::Categorical(names([5_000, 4_300], 700));
    let policy = FeaturePolicy { detector: DetectorKind::JensenShannon, ..POLICY };
    let input = FeatureInput { reference: Some(&reference), counts: &counts, policy };
    let novel = decide(&[input], &DECISION).remove(0);
    assert_eq!((novel.state, novel.deciding), (State::Drifted, Some(DetectorKind::UnseenRate)));
    let unseen = novel.results.last().unwrap();
    assert_eq!((unseen.detector, unseen.statistic), (DetectorKind::UnseenRate, 0.07));
}

#[test]
fn levels_unseen_in_both_are_no_news() {
    let counts = FeatureCounts::Categorical(names([5_000, 4_000], 1_000));
    let usual = verdict(&categorical([5_000, 4_000], 1_000), &counts);
    assert_eq!((usual.state, usual.score), (State::Ok, Some(0.0)));
}

#[test]
fn a_detector_that_cannot_decide_the_kind_is_replaced_by_psi() {
    let counts = FeatureCounts::Categorical(names([2_000, 8_000], 0));
    let moved = verdict(&categorical([5_000, 5_000], 0), &counts);
    assert_eq!(moved.deciding, Some(DetectorKind::Psi));
}

#[test]
fn one_feature_of_many_needs_more_evidence_than_one_alone() {
    let reference = numeric([900, 800, 700], 0);
    let moved = FeatureCounts::Numeric(numbers([780, 800, 820], 0));
    let still = FeatureCounts::Numeric(numbers([900, 800, 700], 0));
    let policy = FeaturePolicy { minimum_effect: 0.0, ..POLICY };
    let input = |counts| FeatureInput { reference: Some(&reference), counts, policy };
    let state = |others: usize| {
        let mut inputs = vec![input(&moved)];
        inputs.extend(std::iter::repeat_n(input(&still), others));
        let verdict = decide(&inputs, &DECISION).remove(0);
        let expected = if verdict.state == State::Drifted { 1.0..f64::MAX } else { 0.0..1.0 };
        assert!(expected.contains(&verdict.score.unwrap()), "{verdict:?}");
        verdict.state
    };
    assert_eq!((state(0), state(999)), (State::Drifted, State::Ok));
}

#[test]
fn the_score_measures_significance_at_the_level_the_correction_ends_with() {
    let reference = numeric([900, 800, 700], 0);
    let moved = FeatureCounts::Numeric(numbers([784, 800, 816], 0));
    let policy = FeaturePolicy { minimum_effect: 0.0, ..POLICY };
    let input = FeatureInput { reference: Some(&reference), counts: &moved, policy };
    // Both are significant, so the level is 2 · 0.01 / 2; Kolmogorov's 1 % point is 1.6276.
    let verdict = decide(&[input, input], &DECISION).remove(0);
    let critical = 1.627_623_611_518_957_3 * (2.0_f64 / 2_400.0).sqrt();
    let expected = 116.0 / 2_400.0 / critical;
    assert!((verdict.score.unwrap() - expected).abs() < 1e-9, "{verdict:?}");
    assert_eq!(verdict.state, State::Drifted);
}
