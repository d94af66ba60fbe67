//! Laws of counted outcomes, on generated ones: order and splits do not show, what was added can be
//! taken away, and what cannot be known lies in its bracket.

use std::fmt::Debug;

use driftd_detectors::performance::{
    BinaryCounts, BinaryOutcome, ClassCounts, ClassLayout, ClassLayoutError, ClassOutcome, Gain,
    OutcomeError, RankingCounts, RankingLayout, RankingLayoutError, RegressionCounts,
    RegressionLayout, RegressionLayoutError, RegressionOutcome, ScoreGrid,
};
use driftd_detectors::{Grid, Precision};
use driftd_fixtures::trials::cases;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::outcomes::{count, outcomes};

/// Counts of one kind with what they are counted by.
trait Kind {
    type Counts: Clone + PartialEq + Debug;
    type Outcome: Clone + Debug;

    fn empty(&self) -> Self::Counts;
    fn add(&self, to: &mut Self::Counts, it: &Self::Outcome) -> Result<(), OutcomeError>;
    fn subtract(&self, from: &mut Self::Counts, it: &Self::Outcome) -> Result<(), OutcomeError>;
    fn merge(to: &mut Self::Counts, other: &Self::Counts) -> Result<(), OutcomeError>;
    fn unmerge(from: &mut Self::Counts, other: &Self::Counts) -> Result<(), OutcomeError>;

    fn count(&self, outcomes: &[Self::Outcome]) -> Self::Counts {
        let mut counts = self.empty();
        for it in outcomes {
            self.add(&mut counts, it).unwrap();
        }
        counts
    }
}

impl Kind for ScoreGrid {
    type Counts = BinaryCounts;
    type Outcome = BinaryOutcome;

    fn empty(&self) -> BinaryCounts {
        BinaryCounts::empty(self)
    }
    fn add(&self, to: &mut BinaryCounts, it: &BinaryOutcome) -> Result<(), OutcomeError> {
        to.add(self, it)
    }
    fn subtract(&self, from: &mut BinaryCounts, it: &BinaryOutcome) -> Result<(), OutcomeError> {
        from.subtract(self, it)
    }
    fn merge(to: &mut BinaryCounts, other: &BinaryCounts) -> Result<(), OutcomeError> {
        to.merge(other)
    }
    fn unmerge(from: &mut BinaryCounts, other: &BinaryCounts) -> Result<(), OutcomeError> {
        from.unmerge(other)
    }
}

/// An owned outcome of three classes.
type ClassRow = (Option<Vec<f64>>, Option<usize>, Option<usize>);

fn class_outcome((scores, predicted, label): &ClassRow) -> ClassOutcome<'_> {
    ClassOutcome { scores: scores.as_deref(), predicted: *predicted, label: *label }
}

impl Kind for ClassLayout {
    type Counts = ClassCounts;
    type Outcome = ClassRow;

    fn empty(&self) -> ClassCounts {
        ClassCounts::empty(self)
    }
    fn add(&self, to: &mut ClassCounts, it: &ClassRow) -> Result<(), OutcomeError> {
        to.add(self, &class_outcome(it))
    }
    fn subtract(&self, from: &mut ClassCounts, it: &ClassRow) -> Result<(), OutcomeError> {
        from.subtract(self, &class_outcome(it))
    }
    fn merge(to: &mut ClassCounts, other: &ClassCounts) -> Result<(), OutcomeError> {
        to.merge(other)
    }
    fn unmerge(from: &mut ClassCounts, other: &ClassCounts) -> Result<(), OutcomeError> {
        from.unmerge(other)
    }
}

/// Prediction, label, the predicted quantile, and half the width of an interval around it.
type ErrorRow = (f64, f64, f64, Option<f64>);

fn error_outcome((prediction, label, quantile, half): &ErrorRow) -> RegressionOutcome<'_> {
    let interval = half.map(|half| [prediction - half, prediction + half]);
    let quantiles = std::slice::from_ref(quantile);
    RegressionOutcome { prediction: *prediction, label: *label, quantiles, interval }
}

impl Kind for RegressionLayout {
    type Counts = RegressionCounts;
    type Outcome = ErrorRow;

    fn empty(&self) -> RegressionCounts {
        RegressionCounts::empty(self)
    }
    fn add(&self, to: &mut RegressionCounts, it: &ErrorRow) -> Result<(), OutcomeError> {
        to.add(self, &error_outcome(it))
    }
    fn subtract(&self, from: &mut RegressionCounts, it: &ErrorRow) -> Result<(), OutcomeError> {
        from.subtract(self, &error_outcome(it))
    }
    fn merge(to: &mut RegressionCounts, other: &RegressionCounts) -> Result<(), OutcomeError> {
        to.merge(other)
    }
    fn unmerge(from: &mut RegressionCounts, other: &RegressionCounts) -> Result<(), OutcomeError> {
        from.unmerge(other)
    }
}

impl Kind for RankingLayout {
    type Counts = RankingCounts;
    type Outcome = Vec<f64>;

    fn empty(&self) -> RankingCounts {
        RankingCounts::empty(self)
    }
    fn add(&self, to: &mut RankingCounts, it: &Vec<f64>) -> Result<(), OutcomeError> {
        to.add(self, it)
    }
    fn subtract(&self, from: &mut RankingCounts, it: &Vec<f64>) -> Result<(), OutcomeError> {
        from.subtract(self, it)
    }
    fn merge(to: &mut RankingCounts, other: &RankingCounts) -> Result<(), OutcomeError> {
        to.merge(other)
    }
    fn unmerge(from: &mut RankingCounts, other: &RankingCounts) -> Result<(), OutcomeError> {
        from.unmerge(other)
    }
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![(0_u32..=8).prop_map(|eighth| f64::from(eighth) / 8.0), 0.0..=1.0_f64]
}

fn binary() -> impl Strategy<Value = BinaryOutcome> {
    (prop::option::weighted(0.9, score()), any::<bool>(), any::<bool>())
        .prop_map(|(score, predicted, label)| BinaryOutcome { score, predicted, label })
}

fn class_row() -> impl Strategy<Value = ClassRow> {
    let class = || prop_oneof![1 => Just(None), 6 => (0_usize..3).prop_map(Some)];
    (prop::option::weighted(0.8, vec(score(), 3)), class(), class())
}

fn error_row() -> impl Strategy<Value = ErrorRow> {
    let number = || prop_oneof![-3.0..3.0_f64, Just(0.0), -1e9..1e9_f64, Just(1e-12)];
    (number(), number(), number(), prop::option::of(0.0..9.0_f64))
}

fn query() -> impl Strategy<Value = Vec<f64>> {
    vec((0_u32..4).prop_map(f64::from), 0..12)
}

fn score_grid() -> ScoreGrid {
    ScoreGrid::try_new(vec![0.125, 0.5, 0.75]).unwrap()
}

fn class_layout() -> ClassLayout {
    ClassLayout::try_new(3, vec![score_grid(); 3]).unwrap()
}

fn regression_layout() -> RegressionLayout {
    let residuals = Grid::try_new(Precision::F64, vec![-1.0, 0.0, 2.5], vec![0.0]).unwrap();
    RegressionLayout::try_new(residuals, 0.5, vec![0.9]).unwrap()
}

fn ranking_layout() -> RankingLayout {
    RankingLayout::try_new(vec![1, 3, 10], Gain::Exponential).unwrap()
}

fn check_laws<K: Kind>(kind: &K, outcomes: &[K::Outcome], split: usize) {
    let (left, right) = outcomes.split_at(split.min(outcomes.len()));
    let whole = kind.count(outcomes);
    let backwards: Vec<K::Outcome> = outcomes.iter().rev().cloned().collect();
    assert_eq!(kind.count(&backwards), whole);

    let (left_counts, right_counts) = (kind.count(left), kind.count(right));
    let mut merged = left_counts.clone();
    K::merge(&mut merged, &right_counts).unwrap();
    assert_eq!(merged, whole);
    K::unmerge(&mut merged, &right_counts).unwrap();
    assert_eq!(merged, left_counts);

    let mut rest = whole;
    for it in right {
        kind.subtract(&mut rest, it).unwrap();
    }
    assert_eq!(rest, left_counts);
    for it in left.iter().rev() {
        kind.subtract(&mut rest, it).unwrap();
    }
    assert_eq!(rest, kind.empty());

    // Nothing can be taken from nothing, and a refusal leaves everything as it was.
    if let Some(it) = outcomes.first() {
        assert!(matches!(kind.subtract(&mut rest, it), Err(OutcomeError::NotAdded { .. })));
        let error = K::unmerge(&mut rest, &kind.count(outcomes));
        assert!(matches!(error, Err(OutcomeError::NotAdded { .. })));
        assert_eq!(rest, kind.empty());
        let mut once = kind.count(&outcomes[..1]);
        let twice = kind.count(&[it.clone(), it.clone()]);
        assert!(matches!(K::unmerge(&mut once, &twice), Err(OutcomeError::NotAdded { .. })));
        assert_eq!(once, kind.count(&outcomes[..1]));
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn binary_counts_forget_order_and_what_was_taken_away(
        rows in vec(binary(), 0..60), split in 0_usize..60,
    ) {
        check_laws(&score_grid(), &rows, split);
    }

    #[test]
    fn class_counts_forget_order_and_what_was_taken_away(
        rows in vec(class_row(), 0..40), split in 0_usize..40,
    ) {
        check_laws(&class_layout(), &rows, split);
    }

    #[test]
    fn regression_counts_forget_order_and_what_was_taken_away(
        rows in vec(error_row(), 0..60), split in 0_usize..60,
    ) {
        check_laws(&regression_layout(), &rows, split);
    }

    #[test]
    fn ranking_counts_forget_order_and_what_was_taken_away(
        rows in vec(query(), 0..30), split in 0_usize..30,
    ) {
        check_laws(&ranking_layout(), &rows, split);
    }

    #[test]
    fn what_cells_do_not_tell_lies_in_its_bracket(
        rows in vec((score(), any::<bool>()), 1..60), share in 0.01..=1.0_f64,
    ) {
        let curve = count(&score_grid(), &outcomes(&rows, 0.5)).curve();
        let naive = Naive(&rows);
        for (found, expected) in [
            (curve.roc_auc(), naive.roc_auc()),
            (curve.average_precision(), naive.average_precision()),
            (curve.separation(), naive.separation()),
        ] {
            prop_assert_eq!(found.is_some(), expected.is_some());
            if let (Some(found), Some(expected)) = (found, expected) {
                prop_assert!(found.lower <= expected + 1e-12, "{found:?} {expected}");
                prop_assert!(expected <= found.upper + 1e-12, "{found:?} {expected}");
                prop_assert!(found.lower <= found.value && found.value <= found.upper);
            }
        }
        if let Some(lift) = curve.lift(share) {
            for order in [true, false] {
                let expected = naive.lift(share, order);
                prop_assert!(lift.lower <= expected + 1e-12 && expected <= lift.upper + 1e-12);
            }
        }
    }

    #[test]
    fn every_threshold_does_what_the_sweep_says(rows in vec((score(), any::<bool>()), 0..60)) {
        let grid = score_grid();
        let sweep = count(&grid, &outcomes(&rows, 0.5)).curve().sweep(&grid);
        prop_assert_eq!(sweep.len(), grid.edges().len());
        for point in sweep {
            let counted = count(&grid, &outcomes(&rows, point.threshold)).confusion();
            prop_assert_eq!(point.confusion, counted);
        }
    }
}

/// The slow and obvious metrics of all scores.
struct Naive<'a>(&'a [(f64, bool)]);

impl Naive<'_> {
    fn scores(&self, label: bool) -> Vec<f64> {
        self.0.iter().filter(|it| it.1 == label).map(|it| it.0).collect()
    }

    /// Returns the rows of a label at or above a threshold.
    fn above(&self, label: bool, threshold: f64) -> f64 {
        self.scores(label).iter().filter(|score| threshold <= **score).count() as f64
    }

    fn roc_auc(&self) -> Option<f64> {
        let (positives, negatives) = (self.scores(true), self.scores(false));
        let wins: f64 = positives
            .iter()
            .flat_map(|positive| negatives.iter().map(move |negative| (positive, negative)))
            .map(|(positive, negative)| match positive.total_cmp(negative) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            })
            .sum();
        let pairs = (positives.len() * negatives.len()) as f64;
        (0.0 < pairs).then(|| wins / pairs)
    }

    fn average_precision(&self) -> Option<f64> {
        let positives = self.scores(true);
        let precision = |score: &f64| {
            let found = self.above(true, *score);
            found / (found + self.above(false, *score))
        };
        let sum: f64 = positives.iter().map(precision).sum();
        (!positives.is_empty()).then(|| sum / positives.len() as f64)
    }

    fn separation(&self) -> Option<f64> {
        let (positives, negatives) = (self.scores(true).len(), self.scores(false).len());
        let distance = |threshold: f64| {
            let share = self.above(true, threshold) / positives as f64;
            share - self.above(false, threshold) / negatives as f64
        };
        let distances = self.0.iter().map(|(score, _)| distance(*score));
        let greatest = distances.fold(0.0, f64::max);
        (0 < positives && 0 < negatives).then_some(greatest)
    }

    /// Returns the lift when ties are broken for or against the positives.
    fn lift(&self, share: f64, positives_first: bool) -> f64 {
        let mut rows = self.0.to_vec();
        rows.sort_by(|a, b| {
            b.0.total_cmp(&a.0).then(if positives_first { b.1.cmp(&a.1) } else { a.1.cmp(&b.1) })
        });
        let mut left = share * rows.len() as f64;
        let mut found = 0.0;
        for (_, label) in &rows {
            let taken = left.min(1.0);
            found += taken * f64::from(u8::from(*label));
            left -= taken;
        }
        let positives = self.scores(true).len() as f64;
        found / (share * positives)
    }
}

#[test]
fn lift_of_scores_with_cells_of_their_own_is_exact() {
    let rows: Vec<(f64, bool)> = (0..=8).map(|i| (f64::from(i) / 8.0, 5 <= i)).collect();
    let grid = ScoreGrid::try_new(rows.iter().map(|(score, _)| *score).collect()).unwrap();
    let curve = count(&grid, &outcomes(&rows, 0.5)).curve();
    for (share, expected) in [(1.0 / 3.0, 2.25), (4.0 / 9.0, 2.25), (8.0 / 9.0, 1.125), (1.0, 1.0)]
    {
        let found = curve.lift(share).unwrap();
        assert!((found.value - expected).abs() < 1e-15, "{share}: {found:?}");
        assert!(found.upper - found.lower < 1e-15, "{share}: {found:?}");
    }
    assert_eq!((curve.lift(0.0), curve.lift(1.1), curve.lift(f64::NAN)), (None, None, None));
}

#[test]
fn intervals_of_a_regression_cover_what_they_cover() {
    let layout = regression_layout();
    let rows = [(0.0, 1.0, 2.0, Some(1.0)), (0.0, 1.5, 1.0, Some(1.0)), (0.0, 0.0, 0.0, None)];
    let counts = layout.count(&rows);
    assert_eq!((counts.covered().rows, counts.covered().mean()), (2, Some(0.5)));
    assert_eq!(counts.interval_width().mean(), Some(2.0));
    assert_eq!(counts.quantile_covered(0).unwrap().mean(), Some(2.0 / 3.0));
    assert_eq!((counts.pinball(1), counts.quantile_covered(1)), (None, None));
    let interval = counts.root_mean_squared_error_interval(0.95).unwrap();
    let mean = counts.squared_error().sample().interval(0.95).unwrap();
    assert!(mean.lower < 0.0 && interval.lower == 0.0);
    assert_eq!(interval.upper, mean.upper.sqrt());
}

#[test]
fn rounding_is_no_variance_of_labels() {
    let layout = regression_layout();
    for label in [0.1, 0.7, 1e9 + 0.1, -3e-7] {
        for rows in 1..40 {
            let counts = layout.count(&vec![(label + 0.3, label, 0.0, None); rows]);
            assert_eq!((counts.r_squared(), counts.explained_variance()), (None, None));
        }
    }
}

#[test]
fn layouts_that_no_model_has_are_refused_with_their_number() {
    let residuals = || Grid::try_new(Precision::F64, vec![0.0], vec![0.0]).unwrap();
    let refused = |centre: f64, quantiles: Vec<f64>| {
        RegressionLayout::try_new(residuals(), centre, quantiles).unwrap_err()
    };
    assert_eq!(refused(0.0, vec![0.5; 17]), RegressionLayoutError::Quantiles { found: 17 });
    assert_eq!(refused(0.0, vec![0.5, 1.0]), RegressionLayoutError::Level { level: 1.0 });
    let centre = f64::INFINITY;
    assert_eq!(refused(centre, vec![]), RegressionLayoutError::Centre { centre });

    let refused = |classes, grids| ClassLayout::try_new(classes, grids).unwrap_err();
    assert_eq!(refused(1, vec![]), ClassLayoutError::Classes { found: 1 });
    assert_eq!(refused(65, vec![]), ClassLayoutError::Classes { found: 65 });
    let error = ClassLayoutError::Grids { found: 2, classes: 3 };
    assert_eq!(refused(3, vec![score_grid(); 2]), error);
    let edges: Vec<f64> = (0..1_000).map(|i| f64::from(i) / 1_000.0).collect();
    let grids = vec![ScoreGrid::try_new(edges).unwrap(); 17];
    assert_eq!(refused(17, grids), ClassLayoutError::Edges { found: 17_000 });

    let refused = |cutoffs| RankingLayout::try_new(cutoffs, Gain::Linear).unwrap_err();
    assert_eq!(refused(vec![]), RankingLayoutError::Cutoffs { found: 0 });
    assert_eq!(refused(vec![1; 9]), RankingLayoutError::Cutoffs { found: 9 });
    assert_eq!(refused(vec![1, 0]), RankingLayoutError::Zero);
}

#[test]
fn classes_that_are_not_named_are_one_class() {
    let layout = class_layout();
    let counts = layout.count(&[
        (None, Some(7), None),
        (Some(vec![0.5, 0.25, 0.25]), Some(0), Some(9)),
        (Some(vec![0.25, 0.5, 0.5]), Some(1), Some(1)),
    ]);
    let matrix = counts.confusion();
    assert_eq!((matrix.get(3, 3), matrix.get(3, 0), matrix.get(1, 1)), (1.0, 1.0, 1.0));
    // A label without a score has no loss, and is no class's.
    assert_eq!((counts.log_loss().rows, counts.curve(0).unwrap().positive()), (1, 0.0));
    // Of equal scores the later class is before.
    assert_eq!(counts.top(1).unwrap().mean(), Some(0.0));
    assert_eq!(counts.top(2).unwrap().mean(), Some(1.0));
    assert_eq!((counts.top(0), counts.top(11), counts.curve(3)), (None, None, None));
}

#[test]
fn an_outcome_of_the_same_cell_is_not_taken_for_the_last_one() {
    let grid = score_grid();
    let outcome = |score| BinaryOutcome { score: Some(score), predicted: true, label: true };
    let mut counts = count(&grid, &[outcome(0.6)]);
    let before = counts.clone();
    let error = counts.subtract(&grid, &outcome(0.61));
    assert!(matches!(error, Err(OutcomeError::NotAdded { .. })));
    assert_eq!(counts, before);

    // The same holds of the terms alone, where no cell tells.
    let not_added = Err(OutcomeError::NotAdded { what: "terms" });
    let layout = ranking_layout();
    let mut counts = layout.count(&[vec![1.0, 0.0]]);
    assert_eq!(counts.subtract(&layout, &[0.0, 1.0]), not_added);
    assert_eq!(counts.unmerge(&layout.count(&[vec![0.0, 1.0]])), not_added);
    assert_eq!(counts, layout.count(&[vec![1.0, 0.0]]));
    let layout = regression_layout();
    let mut counts = layout.count(&[(1.0, 1.25, 1.0, None)]);
    assert_eq!(counts.subtract(&layout, &error_outcome(&(1.0, 1.5, 1.0, None))), not_added);
    assert_eq!(counts, layout.count(&[(1.0, 1.25, 1.0, None)]));
}

#[test]
fn what_cannot_be_counted_is_refused_by_name_and_changes_nothing() {
    let grid = score_grid();
    let mut counts = BinaryCounts::empty(&grid);
    for score in [-0.1, 1.1, f64::NAN] {
        let outcome = BinaryOutcome { score: Some(score), predicted: true, label: true };
        let error = counts.add(&grid, &outcome);
        assert!(matches!(error, Err(OutcomeError::NotProbability { what: "score", .. })));
    }
    assert_eq!(counts, BinaryCounts::empty(&grid));

    let layout = regression_layout();
    let mut counts = RegressionCounts::empty(&layout);
    let hopeless = [
        (f64::NAN, 1.0, 0.0, None),
        (1.0, f64::INFINITY, 0.0, None),
        (1.0, 1e100, 0.0, None),
        (1.0, 1.0, f64::NAN, None),
        (1.0, 1.0, 0.0, Some(f64::INFINITY)),
        // The relative error's square is beyond the doubles.
        (1e70, 1e-200, 0.0, None),
    ];
    for row in hopeless {
        let error = counts.add(&layout, &error_outcome(&row));
        assert!(matches!(error, Err(OutcomeError::NotFinite { .. })), "{row:?}: {error:?}");
    }
    let outcome = RegressionOutcome { prediction: 1.0, label: 1.0, quantiles: &[], interval: None };
    let error = OutcomeError::Length { what: "quantiles", found: 0, expected: 1 };
    assert_eq!(counts.add(&layout, &outcome), Err(error));
    assert_eq!(counts, RegressionCounts::empty(&layout));

    let (exponential, linear) =
        (ranking_layout(), RankingLayout::try_new(vec![1, 3, 10], Gain::Linear).unwrap());
    let mut counts = RankingCounts::empty(&exponential);
    assert_eq!(counts.add(&linear, &[0.5, 1.0]), Ok(()));
    let before = counts.clone();
    for relevance in [-1.0, 0.5, 257.0, f64::NAN] {
        let error = counts.add(&exponential, &[1.0, relevance]);
        assert!(matches!(error, Err(OutcomeError::NotRelevance { .. })), "{relevance}");
    }
    assert_eq!(counts, before);
}

#[test]
fn counts_of_other_layouts_are_refused() {
    let other = ScoreGrid::try_new(vec![0.5]).unwrap();
    let mut counts = BinaryCounts::empty(&score_grid());
    let error = OutcomeError::LayoutsDiffer { what: "score cells" };
    assert_eq!(counts.merge(&BinaryCounts::empty(&other)), Err(error.clone()));
    assert_eq!(counts.unmerge(&BinaryCounts::empty(&other)), Err(error.clone()));
    let outcome = BinaryOutcome { score: None, predicted: true, label: true };
    assert_eq!(counts.add(&other, &outcome), Err(error));

    let fewer = RankingLayout::try_new(vec![1], Gain::Linear).unwrap();
    let error = RankingCounts::empty(&ranking_layout()).merge(&RankingCounts::empty(&fewer));
    assert_eq!(error, Err(OutcomeError::LayoutsDiffer { what: "terms" }));
    let classes = ClassLayout::try_new(2, Vec::new()).unwrap();
    let mut counts = ClassCounts::empty(&class_layout());
    let error = OutcomeError::LayoutsDiffer { what: "classes" };
    assert_eq!(counts.merge(&ClassCounts::empty(&classes)), Err(error));
}
