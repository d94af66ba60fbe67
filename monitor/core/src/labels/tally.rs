//! Counts of the predictions of one window, version and segment, and of those that have a label.
//!
//! Before: [`super`] says what a prediction or a label changed. After: [`super::view`] makes
//! metrics of the counts. They add and subtract exactly, so they are what the entries of the window
//! say, in whatever order those came to be.

use std::sync::Arc;

use driftd_detectors::Precision;
use driftd_detectors::performance::{
    BinaryCounts, BinaryOutcome, ClassCounts, ClassLayout, ClassOutcome, OutcomeError,
    RegressionCounts, RegressionLayout, RegressionOutcome, ReliabilityCounts, ScoreCounts,
    ScoreGrid, TOP_MAX, TermSum,
};
use driftd_detectors::{Grid, GridError};

use super::entry::{Guess, Outcome, Truth};
use crate::config::{PerformanceConfig, Task};

/// Cells of a score, where no reference gives others: so many between 0 and 1, and their borders.
const SCORE_CELLS: u16 = 256;

/// What scores against labels take.
const RELIABILITY_BYTES: usize = size_of::<ReliabilityCounts>();

/// Borders of delays, in milliseconds: powers of two from a second to a year and a half.
pub(crate) const DELAY_BORDERS: usize = 26;

/// What the counts of a model are made by.
#[derive(Clone, Debug)]
pub(crate) enum Layout {
    Binary(Arc<ScoreGrid>),
    Multiclass(Arc<ClassLayout>),
    Regression(Arc<RegressionLayout>),
}

/// Counts of the predictions of one window, version and segment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tally {
    /// Predictions.
    pub(crate) predictions: u64,
    /// Those with a label, by how long it came after them.
    pub(crate) delays: [u64; DELAY_BORDERS + 1],
    pub(crate) counts: Counts,
}

/// What becomes of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It counts from now on.
    Added,
    /// It counts no more.
    TakenAway,
}

/// What the predictions were, and what came true.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Counts {
    /// Scores of all predictions that have one, and outcomes.
    Binary(Box<ScoreCounts>, Box<BinaryCounts>),
    Multiclass(Box<ClassCounts>),
    Regression(Box<RegressionCounts>),
}

impl Layout {
    /// Returns the layout of a model.
    ///
    /// # Panics
    /// Never: a configuration has as many classes as a layout takes.
    pub(crate) fn of(config: &PerformanceConfig) -> Self {
        match &config.task {
            Task::Binary { .. } => Self::Binary(Arc::new(score_grid())),
            Task::Multiclass { classes, .. } => {
                let layout = ClassLayout::try_new(classes.len(), Vec::new());
                Self::Multiclass(Arc::new(layout.expect("a configuration has so many classes")))
            }
            Task::Regression { .. } => {
                let residuals = residual_grid().expect("the edges ascend");
                let layout = RegressionLayout::try_new(residuals, 0.0, Vec::new());
                Self::Regression(Arc::new(layout.expect("there is nothing to refuse")))
            }
        }
    }
}

impl Layout {
    /// Returns about what the counts of one part of a window take, in bytes.
    pub(super) fn tally_bytes(&self) -> u64 {
        const NUMBER: usize = size_of::<u32>();
        let sums = match self {
            Self::Binary(_) => 2,
            Self::Multiclass(_) => 2 + TOP_MAX,
            Self::Regression(_) => 10,
        };
        let cells = match self {
            // By prediction and label, and of all scores by prediction.
            Self::Binary(grid) => NUMBER * 6 * (grid.cells() + 1),
            Self::Multiclass(layout) => NUMBER * (layout.classes() + 1).pow(2),
            Self::Regression(layout) => NUMBER * layout.residuals().cells(),
        };
        (size_of::<Tally>() + sums * size_of::<TermSum>() + RELIABILITY_BYTES + cells) as u64
    }
}

/// # Panics
/// Never: the edges ascend between 0 and 1.
fn score_grid() -> ScoreGrid {
    let edges = (0..=SCORE_CELLS).map(|edge| f64::from(edge) / f64::from(SCORE_CELLS));
    ScoreGrid::try_new(edges.collect()).expect("the edges ascend between 0 and 1")
}

/// Returns cells of residuals of any size: by powers of two, on both sides of 0.
fn residual_grid() -> Result<Grid, GridError> {
    let powers: Vec<f64> = (-20..=40).map(|power| 2_f64.powi(power)).collect();
    let below = powers.iter().rev().map(|it| -it);
    let edges: Vec<f64> = below.chain([0.0]).chain(powers.iter().copied()).collect();
    // Coarse bins are for tests against a reference, which there is none of.
    Grid::try_new(Precision::F64, edges, vec![0.0])
}

impl Tally {
    pub(crate) fn empty(layout: &Layout) -> Self {
        let counts = match layout {
            Layout::Binary(grid) => Counts::Binary(
                Box::new(ScoreCounts::empty(grid)),
                Box::new(BinaryCounts::empty(grid)),
            ),
            Layout::Multiclass(layout) => Counts::Multiclass(Box::new(ClassCounts::empty(layout))),
            Layout::Regression(layout) => {
                Counts::Regression(Box::new(RegressionCounts::empty(layout)))
            }
        };
        Self { predictions: 0, delays: [0; DELAY_BORDERS + 1], counts }
    }

    /// Returns how many predictions have a label.
    pub(crate) fn labelled(&self) -> u64 {
        self.delays.iter().sum()
    }

    /// Takes a prediction.
    pub(crate) fn predict(&mut self, layout: &Layout, guess: &Guess) -> Result<(), OutcomeError> {
        if let (Counts::Binary(scores, _), Layout::Binary(grid)) = (&mut self.counts, layout)
            && let Guess::Binary { score: Some(score), predicted } = guess
        {
            scores.add(grid, *score, *predicted)?;
        }
        self.predictions += 1;
        Ok(())
    }

    /// Takes the label of a prediction that was taken, or takes one away that was added.
    pub(crate) fn count(
        &mut self,
        layout: &Layout,
        outcome: &Outcome,
        way: Way,
    ) -> Result<(), OutcomeError> {
        match (&mut self.counts, layout, way) {
            (Counts::Binary(_, counts), Layout::Binary(grid), Way::Added) => {
                counts.add(grid, &binary(outcome))?;
            }
            (Counts::Binary(_, counts), Layout::Binary(grid), Way::TakenAway) => {
                counts.subtract(grid, &binary(outcome))?;
            }
            (Counts::Multiclass(counts), Layout::Multiclass(layout), Way::Added) => {
                counts.add(layout, &class(outcome))?;
            }
            (Counts::Multiclass(counts), Layout::Multiclass(layout), Way::TakenAway) => {
                counts.subtract(layout, &class(outcome))?;
            }
            (Counts::Regression(counts), Layout::Regression(layout), Way::Added) => {
                counts.add(layout, &number(outcome))?;
            }
            (Counts::Regression(counts), Layout::Regression(layout), Way::TakenAway) => {
                counts.subtract(layout, &number(outcome))?;
            }
            (Counts::Binary(..) | Counts::Multiclass(_) | Counts::Regression(_), _, _) => {
                unreachable!("counts are made empty by their layout")
            }
        }
        let delays = &mut self.delays[delay_cell(outcome.delay_millis)];
        match way {
            Way::Added => *delays += 1,
            Way::TakenAway => *delays -= 1,
        }
        Ok(())
    }
}

/// Returns the cell of a delay: the first border that it is not above.
fn delay_cell(delay_millis: i64) -> usize {
    let place = (0..DELAY_BORDERS).position(|border| delay_millis <= delay_border(border));
    place.unwrap_or(DELAY_BORDERS)
}

/// Returns a border of delays, in milliseconds.
pub(crate) fn delay_border(border: usize) -> i64 {
    1_000 << border
}

/// # Panics
/// When it is not what a model of two classes predicts: entries of other tasks are not read.
fn binary(outcome: &Outcome) -> BinaryOutcome {
    match (outcome.predicted.guess, outcome.truth) {
        (Guess::Binary { score, predicted }, Truth::Positive(label)) => {
            BinaryOutcome { score, predicted, label }
        }
        (Guess::Binary { .. } | Guess::Class(_) | Guess::Number(_), _) => {
            unreachable!("{outcome:?} is of another task")
        }
    }
}

fn class(outcome: &Outcome) -> ClassOutcome<'static> {
    match (outcome.predicted.guess, outcome.truth) {
        (Guess::Class(predicted), Truth::Class(label)) => ClassOutcome {
            scores: None,
            predicted: Some(predicted.into()),
            label: Some(label.into()),
        },
        (Guess::Binary { .. } | Guess::Class(_) | Guess::Number(_), _) => {
            unreachable!("{outcome:?} is of another task")
        }
    }
}

fn number(outcome: &Outcome) -> RegressionOutcome<'static> {
    match (outcome.predicted.guess, outcome.truth) {
        (Guess::Number(prediction), Truth::Number(label)) => {
            RegressionOutcome { prediction, label, quantiles: &[], interval: None }
        }
        (Guess::Binary { .. } | Guess::Class(_) | Guess::Number(_), _) => {
            unreachable!("{outcome:?} is of another task")
        }
    }
}
