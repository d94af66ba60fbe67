//! Intervals hold the truth as often as they say, on seeded streams.
//!
//! The truth of calibrated scores that are uniform on 0 to 1 is known: ROC area and average
//! precision 5/6; at the threshold ½ F1 is ¾ and Matthews's correlation ½.

use driftd_detectors::performance::{
    Bootstrap, Interval, Sample, bounded_mean_sequence, difference, mean_sequence,
    roc_auc_interval, roc_auc_standard_error, wilson,
};
use driftd_fixtures::oracle::uniforms;

use crate::outcomes::{EDGES_MAX, count, outcomes, score_grid};

const CONFIDENCE: f64 = 0.95;

/// Asserts that an interval holds the truth in at least `least` and at most `most` of the trials,
/// at 3.1 standard deviations of the binomial distribution.
fn assert_covers(name: &str, holds: &[bool], least: f64, most: f64) {
    let trials = holds.len() as f64;
    let share = holds.iter().filter(|holds| **holds).count() as f64 / trials;
    let slack = |share: f64| 3.1 * (share * (1.0 - share) / trials).sqrt();
    assert!(least - slack(least) <= share, "{name}: {share} of {trials}");
    assert!(share <= most + slack(most), "{name}: {share} of {trials} is too wide");
}

fn holds(interval: &Interval, truth: f64) -> bool {
    interval.lower <= truth && truth <= interval.upper
}

fn calibrated(rows: usize, random: &mut impl Iterator<Item = f64>) -> Vec<(f64, bool)> {
    let mut row = || {
        let score = random.next().unwrap();
        (score, random.next().unwrap() < score)
    };
    (0..rows).map(|_| row()).collect()
}

#[test]
fn wilsons_interval_is_that_of_the_tables_and_covers() {
    // SciPy: binomtest(3, 10).proportion_ci(method="wilson"), and of no success of ten.
    let interval = wilson(3.0, 10.0, CONFIDENCE).unwrap();
    assert!((interval.lower - 0.107_791_267_4).abs() < 1e-9, "{interval:?}");
    assert!((interval.upper - 0.603_221_852_5).abs() < 1e-9, "{interval:?}");
    let interval = wilson(0.0, 10.0, CONFIDENCE).unwrap();
    assert_eq!(interval.lower, 0.0);
    assert!((interval.upper - 0.277_532_799_8).abs() < 1e-9, "{interval:?}");
    assert_eq!(wilson(0.0, 0.0, CONFIDENCE), None);
    let mut random = uniforms(31);
    for truth in [0.03, 0.2, 0.5] {
        let mut trial = || {
            let hits = random.by_ref().take(150).filter(|u| *u < truth).count();
            holds(&wilson(hits as f64, 150.0, CONFIDENCE).unwrap(), truth)
        };
        let trials: Vec<bool> = (0..2_000).map(|_| trial()).collect();
        // It covers 0.95 on the mean over truths, not at each.
        assert_covers("Wilson", &trials, 0.935, 0.975);
    }
}

#[test]
fn the_error_of_the_roc_area_is_delongs() {
    // Negatives at 1, 2, 4; positives at 3, 5, 6: placements (2/3, 1, 1) and (1, 1, 2/3).
    let rows = [(0.1, false), (0.2, false), (0.3, true), (0.4, false), (0.5, true), (0.6, true)];
    let grid = score_grid(rows.iter().map(|(score, _)| *score), EDGES_MAX);
    let curve = count(&grid, &outcomes(&rows, 0.5)).curve();
    let variance = (1.0_f64 / 27.0) / 3.0 + (1.0 / 27.0) / 3.0;
    let found = roc_auc_standard_error(&curve).unwrap();
    assert!((found - variance.sqrt()).abs() < 1e-15, "{found}");
}

#[test]
fn intervals_of_areas_and_of_metrics_without_a_formula_cover() {
    let mut random = uniforms(37);
    let (mut area, mut precision, mut f1, mut matthews) = (vec![], vec![], vec![], vec![]);
    for seed in 0..120 {
        let rows = calibrated(300, &mut random);
        let grid = score_grid(rows.iter().map(|(score, _)| *score), EDGES_MAX);
        let counts = count(&grid, &outcomes(&rows, 0.5));
        area.push(holds(&roc_auc_interval(&counts.curve(), CONFIDENCE).unwrap(), 5.0 / 6.0));
        let drawn = Bootstrap::of_binary(&counts, seed, |drawn| {
            Some(drawn.curve().average_precision()?.value)
        });
        precision.push(holds(&drawn.interval(CONFIDENCE).unwrap(), 5.0 / 6.0));
        let drawn = Bootstrap::of_binary(&counts, seed, |drawn| drawn.confusion().f_beta(1.0));
        f1.push(holds(&drawn.interval(CONFIDENCE).unwrap(), 0.75));
        let drawn = Bootstrap::of_binary(&counts, seed, |drawn| drawn.confusion().matthews());
        matthews.push(holds(&drawn.interval(CONFIDENCE).unwrap(), 0.5));
    }
    assert_covers("ROC area", &area, 0.94, 0.97);
    // The quantiles of a bootstrap of a few hundred rows are a little narrow.
    assert_covers("average precision", &precision, 0.92, 0.97);
    assert_covers("F1", &f1, 0.93, 0.97);
    assert_covers("Matthews", &matthews, 0.93, 0.97);
}

#[test]
fn drawing_again_tells_the_error_that_the_formula_tells() {
    let rows = calibrated(5_000, &mut uniforms(41));
    let grid = score_grid(rows.iter().map(|(score, _)| *score), EDGES_MAX);
    let counts = count(&grid, &outcomes(&rows, 0.5));
    let area = |seed| {
        let area =
            Bootstrap::of_binary(&counts, seed, |drawn| Some(drawn.curve().roc_auc()?.value));
        area.standard_error().unwrap()
    };
    let formula = roc_auc_standard_error(&counts.curve()).unwrap();
    // The standard deviation of 500 draws is known to 3 %: three times that.
    assert!((area(1) / formula - 1.0).abs() < 0.1, "{} is not {formula}", area(1));
    assert_eq!(area(1), area(1), "the same seed draws the same");
    assert_ne!(area(1), area(2));
    let constant = Bootstrap::of_binary(&counts, 1, |_| Some(1.0));
    assert_eq!((constant.interval(CONFIDENCE), constant.standard_error()), (None, None));
    let mostly_undefined = Bootstrap::of_binary(&counts, 1, |drawn| {
        drawn
            .confusion()
            .accuracy()
            .filter(|accuracy| *accuracy < counts.confusion().accuracy().unwrap())
    });
    assert_eq!(mostly_undefined.interval(CONFIDENCE), None);
}

fn sample(terms: &[f64]) -> Sample {
    let squares = terms.iter().map(|term| term * term).sum();
    Sample { rows: terms.len() as f64, sum: terms.iter().sum(), squares }
}

#[test]
fn students_interval_is_that_of_the_tables_and_covers_skewed_means() {
    let interval = sample(&[1.0, 2.0, 3.0, 4.0, 5.0]).interval(CONFIDENCE).unwrap();
    // R: t.test(1:5); SciPy's t agrees.
    assert!((interval.lower - 1.036_756_838_5).abs() < 1e-9, "{interval:?}");
    assert!((interval.upper - 4.963_243_161_5).abs() < 1e-9, "{interval:?}");
    assert_eq!(sample(&[1.0]).interval(CONFIDENCE), None);
    assert_eq!(sample(&[2.0, 2.0]).interval(CONFIDENCE), None);
    let mut random = uniforms(43);
    let mut trial = || {
        let terms: Vec<f64> = random.by_ref().take(200).map(|u| u * u).collect();
        holds(&sample(&terms).interval(CONFIDENCE).unwrap(), 1.0 / 3.0)
    };
    let trials: Vec<bool> = (0..1_000).map(|_| trial()).collect();
    assert_covers("Student", &trials, 0.94, 0.96);
}

/// Looks at a growing stream of terms after every row and says whether all intervals held.
fn always_holds(
    terms: impl Iterator<Item = f64>,
    from: f64,
    truth: f64,
    interval: impl Fn(&Sample) -> Option<Interval>,
) -> bool {
    let mut seen = Sample { rows: 0.0, sum: 0.0, squares: 0.0 };
    for term in terms {
        seen.rows += 1.0;
        seen.sum += term;
        seen.squares += term * term;
        if from <= seen.rows && interval(&seen).is_some_and(|it| !holds(&it, truth)) {
            return false;
        }
    }
    true
}

#[test]
fn sequences_hold_the_mean_at_all_times_together() {
    const ROWS: usize = 1_000;
    let mut random = uniforms(47);
    let bounded = |it: &Sample| bounded_mean_sequence(it.sum, it.rows, CONFIDENCE);
    let (mut hits, mut shares, mut squares, mut wilsons) = (vec![], vec![], vec![], vec![]);
    for _ in 0..150 {
        let draws: Vec<f64> = random.by_ref().take(ROWS).collect();
        let bernoulli = || draws.iter().map(|u| f64::from(u8::from(*u < 0.1)));
        hits.push(always_holds(bernoulli(), 1.0, 0.1, bounded));
        shares.push(always_holds(draws.iter().copied(), 1.0, 0.5, bounded));
        let terms = draws.iter().map(|u| 9.0 * u * u);
        squares.push(always_holds(terms, 30.0, 3.0, |it| mean_sequence(it, 500.0, CONFIDENCE)));
        let once = |it: &Sample| wilson(it.sum, it.rows, CONFIDENCE);
        wilsons.push(always_holds(bernoulli(), 30.0, 0.1, once));
    }
    assert_covers("hits", &hits, 0.95, 1.0);
    assert_covers("shares", &shares, 0.95, 1.0);
    assert_covers("squares", &squares, 0.95, 1.0);
    // Why sequences are needed: an interval for one look is wrong at some time.
    assert_covers("Wilson at all times", &wilsons, 0.0, 0.8);
}

#[test]
fn the_sequence_of_a_mean_is_the_papers() {
    // Variance 2.5, tuned to 100 rows: μ̂ ± σ̂ √(2 (tρ² + 1) / (t²ρ²) · ln(√(tρ² + 1) / α)).
    let five = sample(&[1.0, 2.0, 3.0, 4.0, 5.0]);
    let alpha = 1.0 - CONFIDENCE;
    let level = -2.0 * alpha.ln();
    let square = (level + (level + 1.0).ln()) / 100.0;
    let grown = 5.0 * square + 1.0;
    let half = (2.5 * 2.0 * grown / (25.0 * square) * (grown.sqrt() / alpha).ln()).sqrt();
    let found = mean_sequence(&five, 100.0, CONFIDENCE).unwrap();
    assert!((found.lower - (3.0 - half)).abs() < 1e-12, "{found:?} {half}");
    assert!((found.upper - (3.0 + half)).abs() < 1e-12, "{found:?} {half}");
    // It is narrowest, against Student's, where it is tuned to.
    let widths = [10.0, 100.0, 1_000.0].map(|tuned| {
        let hundred = Sample { rows: 100.0, sum: 0.0, squares: 99.0 };
        mean_sequence(&hundred, tuned, CONFIDENCE).unwrap().upper
    });
    assert!(widths[1] < widths[0] && widths[1] < widths[2], "{widths:?}");
}

#[test]
fn sequences_narrow_and_stay_within_their_bounds() {
    let at = |hits: f64, rows: f64| bounded_mean_sequence(hits, rows, CONFIDENCE).unwrap();
    assert_eq!((at(0.0, 50.0).lower, at(50.0, 50.0).upper), (0.0, 1.0));
    let (few, many) = (at(10.0, 100.0), at(1_000.0, 10_000.0));
    assert!(few.lower < many.lower && many.upper < few.upper);
    // One that may be looked at always is wider than one for one look, but not by much.
    let once = wilson(1_000.0, 10_000.0, CONFIDENCE).unwrap();
    let ratio = (many.upper - many.lower) / (once.upper - once.lower);
    assert!(1.0 < ratio && ratio < 2.1, "{ratio}");
    assert_eq!(bounded_mean_sequence(0.0, 0.0, CONFIDENCE), None);
    let apart = difference(&at(2_000.0, 10_000.0), &many);
    assert!(0.0 < apart.lower && apart.upper < 0.2);
    assert!(difference(&few, &many).lower < 0.0 && 0.0 < difference(&few, &many).upper);
}
