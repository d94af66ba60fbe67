//! Estimates of several classes, estimates with some labels, and where a change comes from.

use driftd_detectors::performance::{
    BinaryCounts, Calibration, ClassCounts, ClassEstimate, ClassLayout, ClassOutcome, Confusion,
    Contribution, Decomposition, GuessedSample, OutcomeError, PoweredMean, Sample, ScoreCounts,
    ScoreCurve, ScoreGrid, SegmentMean, wilson,
};
use driftd_fixtures::oracle::{self, outcomes as recipes, uniforms};
use driftd_fixtures::trials::cases;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::outcomes::{EDGES_MAX, count, outcomes, score_grid};

struct Classes {
    rows: Vec<recipes::ClassRow>,
    layout: ClassLayout,
    counts: ClassCounts,
    calibrations: Vec<Calibration>,
}

fn first_greatest(scores: &[f64]) -> Option<usize> {
    let greatest = scores.iter().copied().fold(0.0, f64::max);
    scores.iter().position(|score| *score == greatest)
}

/// Counts a case of the oracle, whose labels are drawn by its scores, and calibrates each class.
fn classes(name: &str, edges_max: usize) -> Classes {
    let case = oracle::performance_multiclass();
    let case = case.iter().find(|case| case["name"] == name).unwrap();
    let rows = recipes::classes(case);
    let grids: Vec<ScoreGrid> = (0..rows[0].0.len())
        .map(|class| score_grid(rows.iter().map(|(scores, _)| scores[class]), edges_max))
        .collect();
    let layout = ClassLayout::try_new(grids.len(), grids).unwrap();
    let mut counts = ClassCounts::empty(&layout);
    for (scores, label) in &rows {
        let predicted = first_greatest(scores);
        let outcome = ClassOutcome { scores: Some(scores), predicted, label: Some(*label) };
        counts.add(&layout, &outcome).unwrap();
    }
    let calibrations =
        layout.grids().iter().enumerate().map(|(class, grid)| {
            Calibration::isotonic(grid, &counts.curve(class).unwrap()).unwrap()
        });
    let calibrations = calibrations.collect();
    Classes { rows, layout, counts, calibrations }
}

fn estimate(it: &Classes, rows: &[recipes::ClassRow]) -> ClassEstimate {
    let mut sums = ClassEstimate::empty(&it.layout);
    for (scores, _) in rows {
        sums.add(&it.layout, &it.calibrations, scores, first_greatest(scores)).unwrap();
    }
    sums
}

#[test]
fn estimates_of_several_classes_are_what_labels_say() {
    for name in ["three_sharp_2000", "ten_5000"] {
        let it = classes(name, 200);
        let estimate = estimate(&it, &it.rows);
        let (expected, realised) = (estimate.confusion(), it.counts.confusion());
        let close = |expected: Option<f64>, realised: Option<f64>, limit: f64| {
            let (expected, realised) = (expected.unwrap(), realised.unwrap());
            assert!((expected - realised).abs() < limit, "{name}: {expected} is not {realised}");
        };
        // Fitted to these rows: what is left is that probabilities were made to add up to 1.
        close(expected.accuracy(), realised.accuracy(), 0.02);
        close(Some(expected.rows()), Some(realised.rows()), 0.01);
        let area = |curve: ScoreCurve| Some(curve.roc_auc()?.value);
        let precision = |curve: ScoreCurve| Some(curve.average_precision()?.value);
        for class in 0..it.layout.classes() {
            let [ours, theirs] =
                [estimate.curve(class), it.counts.curve(class)].map(Option::unwrap);
            close(area(ours.clone()), area(theirs.clone()), 0.02);
            close(precision(ours), precision(theirs), 0.06);
            let recall = |it: Confusion| it.recall();
            close(recall(expected.class(class)), recall(realised.class(class)), 0.06);
        }
    }
}

#[test]
fn sums_of_several_classes_are_those_of_the_rows() {
    let it = classes("three_1000", EDGES_MAX);
    let found = estimate(&it, &it.rows);
    let mut right = 0.0;
    for (scores, _) in &it.rows {
        let calibrated: Vec<f64> = scores
            .iter()
            .zip(it.layout.grids().iter().zip(&it.calibrations))
            .map(|(score, (grid, calibration))| calibration.at(grid, *score))
            .collect();
        right += calibrated[first_greatest(scores).unwrap()] / calibrated.iter().sum::<f64>();
    }
    let accuracy = found.confusion().accuracy().unwrap();
    assert!((accuracy - right / it.rows.len() as f64).abs() < 3e-8, "half a unit a row");
}

#[test]
fn sums_of_several_classes_forget_what_was_taken_away() {
    let it = classes("three_1000", 50);
    let (left, right) = it.rows.split_at(400);
    let mut sums = estimate(&it, left);
    sums.merge(&estimate(&it, right)).unwrap();
    assert_eq!(sums, estimate(&it, &it.rows));
    sums.unmerge(&estimate(&it, right)).unwrap();
    assert_eq!(sums, estimate(&it, left));
    for (scores, _) in left {
        let predicted = first_greatest(scores);
        sums.subtract(&it.layout, &it.calibrations, scores, predicted).unwrap();
    }
    assert_eq!(sums, ClassEstimate::empty(&it.layout));
    let (scores, _) = &left[0];
    let not_added = Err(OutcomeError::NotAdded { what: "scores by class" });
    assert_eq!(sums.subtract(&it.layout, &it.calibrations, scores, None), not_added);
    assert_eq!(sums.unmerge(&estimate(&it, left)), not_added);
    let error = sums.add(&it.layout, &it.calibrations, &scores[..2], None);
    assert_eq!(error, Err(OutcomeError::Length { what: "scores", found: 2, expected: 3 }));
    let error = sums.add(&it.layout, &it.calibrations[..2], scores, None);
    assert_eq!(error, Err(OutcomeError::LayoutsDiffer { what: "calibrations" }));
}

/// A reference whose scores are taken as they are, labels for some of a window, scores of the rest.
fn window(
    labelled: usize,
    unlabelled: usize,
    truth: impl Fn(f64) -> f64,
    random: &mut impl Iterator<Item = f64>,
) -> (ScoreGrid, BinaryCounts, ScoreCounts) {
    let mut rows = |rows: usize| -> Vec<(f64, bool)> {
        let mut row = || {
            let score = random.next().unwrap();
            (score, random.next().unwrap() < truth(score))
        };
        (0..rows).map(|_| row()).collect()
    };
    let (known, unknown) = (rows(labelled), rows(unlabelled));
    let edges = (0..=100).map(|percent| f64::from(percent) / 100.0).collect();
    let grid = ScoreGrid::try_new(edges).unwrap();
    let counts = count(&grid, &outcomes(&known, 0.5));
    let mut scores = ScoreCounts::empty(&grid);
    for (score, _) in unknown {
        scores.add(&grid, score, 0.5 <= score).unwrap();
    }
    (grid, counts, scores)
}

/// The probability that a score means, and the accuracy that it gives at ½.
type Meaning = (&'static str, fn(f64) -> f64, f64);

#[test]
fn labels_that_have_come_put_the_estimate_right() {
    // Scores on 0 to 1 predicted at ½: accuracy ¾ where they are calibrated. Then labels that
    // scores overstate: the estimate still says ¾, and the truth is 0.625.
    const TRIALS: u32 = 300;
    let settings: [Meaning; 2] =
        [("calibrated", |score| score, 0.75), ("overstated", |score| 0.25 + 0.5 * score, 0.625)];
    let mut random = uniforms(83);
    for (name, meaning, truth) in settings {
        let (mut holds, mut width, mut alone) = (0, 0.0, 0.0);
        for _ in 0..TRIALS {
            let (grid, labelled, unlabelled) = window(400, 4_000, meaning, &mut random);
            let calibration = Calibration::identity(&grid);
            let found = PoweredMean::accuracy(&labelled, &unlabelled, &calibration, 0.95);
            let found = found.unwrap().unwrap();
            let interval = found.interval;
            holds += u32::from(interval.lower <= truth && truth <= interval.upper);
            width += interval.upper - interval.lower;
            let confusion = labelled.confusion();
            let right = confusion.true_positive + confusion.true_negative;
            let interval = wilson(right, confusion.rows(), 0.95).unwrap();
            alone += interval.upper - interval.lower;
            assert!((0.0..=1.0).contains(&found.weight), "{found:?}");
        }
        // 3.1 standard deviations of 300 trials.
        let share = f64::from(holds) / f64::from(TRIALS);
        assert!((0.911..=0.989).contains(&share), "{name}: {share}");
        assert!(width < alone, "{name}: {width} is not narrower than {alone}");
    }
}

#[test]
fn guesses_that_are_labels_leave_only_the_rows_without_them() {
    let (mut known, mut unknown) =
        (GuessedSample::default(), Sample { rows: 0.0, sum: 0.0, squares: 0.0 });
    for (place, u) in uniforms(89).take(3_000).enumerate() {
        if place < 100 {
            known.add(1.0, u, u);
        } else {
            let Sample { rows, sum, squares } = unknown;
            unknown = Sample { rows: rows + 1.0, sum: sum + u, squares: squares + u * u };
        }
    }
    let perfect = PoweredMean::of(&known, &unknown, 0.95).unwrap();
    let rest = unknown.sum / unknown.rows;
    assert!((perfect.value - rest).abs() < 1e-3 && 0.9 < perfect.weight, "{perfect:?} {rest}");
    // Constant guesses tell nothing: the mean of the labels, and their interval.
    let mut constant = GuessedSample::default();
    uniforms(97).take(100).for_each(|u| constant.add(1.0, u, 0.5));
    let guesses = Sample { rows: 900.0, sum: 450.0, squares: 225.0 };
    let found = PoweredMean::of(&constant, &guesses, 0.95).unwrap();
    assert_eq!((found.value, found.weight), (constant.sum / 100.0, 0.0));
    assert_eq!(PoweredMean::of(&GuessedSample::default(), &guesses, 0.95), None);
}

fn segment() -> impl Strategy<Value = [SegmentMean; 2]> {
    let side = || {
        (prop_oneof![1 => Just(0_u32), 4 => 1_u32..500], 0.0..=1.0_f64).prop_map(|(rows, share)| {
            let rows = f64::from(rows);
            SegmentMean { rows, sum: (rows * share).floor() }
        })
    };
    [side(), side()]
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn contributions_add_up_to_the_change(segments in vec(segment(), 1..12)) {
        let mean = |side: usize| {
            let rows: f64 = segments.iter().map(|it| it[side].rows).sum();
            let sum: f64 = segments.iter().map(|it| it[side].sum).sum();
            (0.0 < rows).then(|| sum / rows)
        };
        let found = Decomposition::of(&segments);
        prop_assert_eq!(found.is_some(), mean(0).is_some() && mean(1).is_some());
        let Some(found) = found else { return Ok(()) };
        let change = mean(1).unwrap() - mean(0).unwrap();
        prop_assert!((found.change - change).abs() < 1e-14, "{found:?} {change}");
        prop_assert!((found.within + found.mix - change).abs() < 1e-14);
        let totals: Vec<f64> = found.contributions.iter().map(|it| it.total().abs()).collect();
        prop_assert!(totals.is_sorted_by(|a, b| b <= a), "{totals:?}");
        let sum: f64 = found.contributions.iter().map(Contribution::total).sum();
        prop_assert!((sum - change).abs() < 1e-13);
        let mut named: Vec<usize> = found.contributions.iter().map(|it| it.segment).collect();
        named.sort_unstable();
        prop_assert_eq!(named, (0..segments.len()).collect::<Vec<_>>());
    }
}

#[test]
fn a_loss_within_a_segment_and_a_shift_of_mix_are_told_apart() {
    let segment = |rows: f64, metric: f64| SegmentMean { rows, sum: rows * metric };
    // The second segment loses a fifth, at half of the rows.
    let loss = [[segment(50.0, 0.9), segment(50.0, 0.9)], [segment(50.0, 0.9), segment(50.0, 0.7)]];
    let found = Decomposition::of(&loss).unwrap();
    assert!((found.change + 0.1).abs() < 1e-15 && (found.within + 0.1).abs() < 1e-15);
    assert!(found.mix.abs() < 1e-15 && found.contributions[0].segment == 1);
    // Nothing is lost within, but the hard segment grows from a tenth to half.
    let mix = [[segment(90.0, 0.9), segment(50.0, 0.9)], [segment(10.0, 0.5), segment(50.0, 0.5)]];
    let found = Decomposition::of(&mix).unwrap();
    assert!((found.change + 0.16).abs() < 1e-15 && found.within == 0.0);
    // The segment that is further from all carries more of it.
    assert_eq!(found.contributions[0].segment, 1);
    // A new segment is mix entirely.
    let new = [[segment(80.0, 0.8), segment(80.0, 0.8)], [segment(0.0, 0.0), segment(20.0, 0.3)]];
    let found = Decomposition::of(&new).unwrap();
    assert!(found.within == 0.0 && (found.change + 0.1).abs() < 1e-15);
    assert_eq!(Decomposition::of(&[]), None);
    assert_eq!(Decomposition::of(&[[segment(0.0, 0.0), segment(1.0, 1.0)]]), None);
}
