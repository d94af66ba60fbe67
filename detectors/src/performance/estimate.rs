//! What performance is expected to be while labels are missing: confidence-based estimation (CBPE;
//! Białek, Kuberski, Perrakis & Bifet 2022).
//!
//! Before: scores and predicted classes of a window without labels, and a [`super::calibration`] of
//! the reference. After: the same metrics as of labels, and [`super::powered`].
//!
//! An estimate sees what moves scores. It cannot see that a score has come to mean something else:
//! when labels depend on inputs in a new way, it stays where it was.

use crate::cells::CellCounts;

use super::binary::{BinaryCounts, SIDES, add_cells};
use super::bootstrap::{BinaryDraw, Bootstrap};
use super::calibration::Calibration;
use super::confusion::{Confusion, ratio};
use super::curve::ScoreCurve;
use super::interval::Interval;
use super::outcome::{OutcomeError, probability, same_layout};
use super::scores::ScoreGrid;

/// Counts of scores without labels by score cell and predicted class. Memory: 8 to 16 bytes a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoreCounts {
    /// For each cell of the grid: rows predicted negative, rows predicted positive.
    pub cells: CellCounts,
}

impl ScoreCounts {
    /// Returns counts of nothing.
    pub fn empty(grid: &ScoreGrid) -> Self {
        Self { cells: CellCounts::empty(2 * grid.cells()) }
    }

    /// Returns the scores of counted outcomes, without their labels.
    pub fn of_outcomes(outcomes: &BinaryCounts) -> Self {
        let sides: Vec<u64> = outcomes.cells.iter().collect();
        // Rows without a score are the last cell.
        let scored = &sides[..sides.len() - SIDES];
        let pairs = scored.chunks_exact(2).map(|labels| labels[0] + labels[1]);
        Self { cells: pairs.collect::<Vec<u64>>().into() }
    }

    /// Adds a prediction. On an error nothing was added.
    pub fn add(
        &mut self,
        grid: &ScoreGrid,
        score: f64,
        predicted: bool,
    ) -> Result<(), OutcomeError> {
        let cell = self.cell(grid, score, predicted)?;
        self.cells.add_one(cell);
        Ok(())
    }

    /// Takes a prediction away again. On an error nothing was taken. That it was never added is
    /// noticed by cell.
    pub fn subtract(
        &mut self,
        grid: &ScoreGrid,
        score: f64,
        predicted: bool,
    ) -> Result<(), OutcomeError> {
        let cell = self.cell(grid, score, predicted)?;
        if self.cells.get(cell) == Some(0) {
            return Err(OutcomeError::NotAdded { what: "scores" });
        }
        self.cells.subtract_one(cell);
        Ok(())
    }

    /// Adds counts of other predictions. On an error nothing was added.
    pub fn merge(&mut self, other: &Self) -> Result<(), OutcomeError> {
        same_layout("score cells", self.cells.len(), other.cells.len())?;
        add_cells(&mut self.cells, &other.cells);
        Ok(())
    }

    /// Takes counts away again. On an error nothing was taken.
    pub fn unmerge(&mut self, other: &Self) -> Result<(), OutcomeError> {
        same_layout("score cells", self.cells.len(), other.cells.len())?;
        if !self.cells.covers(&other.cells) {
            return Err(OutcomeError::NotAdded { what: "scores" });
        }
        self.cells.subtract(&other.cells);
        Ok(())
    }

    /// Returns the number of predictions.
    pub fn rows(&self) -> u64 {
        self.cells.total()
    }

    /// Returns rows predicted negative and positive of each cell.
    pub(super) fn by_cell(&self) -> Vec<[f64; 2]> {
        let counts: Vec<u64> = self.cells.iter().collect();
        counts.chunks_exact(2).map(|cell| [cell[0] as f64, cell[1] as f64]).collect()
    }

    fn cell(&self, grid: &ScoreGrid, score: f64, predicted: bool) -> Result<usize, OutcomeError> {
        same_layout("score cells", self.cells.len(), 2 * grid.cells())?;
        let cell = grid.cell_of(probability("score", score)?);
        Ok(2 * cell + usize::from(predicted))
    }
}

/// What is expected of a window without labels.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryEstimate {
    /// The expected confusion matrix: metrics of it are ratios of expectations.
    pub confusion: Confusion,
    /// Expected positives and negatives by score cell. Brackets of its metrics say nothing, only
    /// their values.
    pub curve: ScoreCurve,
    /// Share of rows whose score is beyond all of the reference: for them, the estimate is a guess.
    /// 0 where scores are taken as they are. Nothing without rows.
    pub unsupported: Option<f64>,
}

impl BinaryEstimate {
    /// Expects outcomes of scores, each row being positive with the probability of its cell.
    ///
    /// Rows of a cell share one probability, where NannyML has one a score. The difference is at
    /// most what probability rises over the cell.
    pub fn of(counts: &ScoreCounts, calibration: &Calibration) -> Result<Self, OutcomeError> {
        let cells = counts.by_cell();
        same_layout("score cells", cells.len(), calibration.probabilities().len())?;
        let (mut confusion, mut unsupported) = (Confusion::default(), 0.0);
        for (cell, ([negative, positive], &p)) in
            cells.iter().zip(calibration.probabilities()).enumerate()
        {
            confusion.true_positive += positive * p;
            confusion.false_positive += positive * (1.0 - p);
            confusion.false_negative += negative * p;
            confusion.true_negative += negative * (1.0 - p);
            if !calibration.supports(cell) {
                unsupported += negative + positive;
            }
        }
        let expected = cells.iter().zip(calibration.probabilities());
        let curve = ScoreCurve::expected(expected.map(|([negative, positive], &p)| {
            let rows = negative + positive;
            [rows * (1.0 - p), rows * p]
        }));
        Ok(Self { confusion, curve, unsupported: ratio(unsupported, counts.rows() as f64) })
    }
}

/// The standard error that a metric of one row would have: a window of `n` rows has it over `√n`.
///
/// It is how far a realised metric is from an estimate by chance alone, if the window is like the
/// reference. NannyML's band is three of them wide on either side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingError {
    of_one_row: f64,
}

impl SamplingError {
    /// Finds the error of a metric by drawing the reference's counts again. Nothing where the
    /// metric is undefined or does not vary there.
    pub fn of_reference(
        reference: &BinaryCounts,
        seed: u64,
        metric: impl Fn(&BinaryDraw<'_>) -> Option<f64>,
    ) -> Option<Self> {
        let error = Bootstrap::of_binary(reference, seed, metric).standard_error()?;
        Some(Self { of_one_row: error * (reference.rows() as f64).sqrt() })
    }

    /// Returns the standard error of a window of so many rows. Nothing without rows.
    pub fn of_rows(&self, rows: u64) -> Option<f64> {
        ratio(self.of_one_row, (rows as f64).sqrt())
    }

    /// Returns the band of so many standard errors around an estimate of a window of so many rows.
    /// Nothing without rows.
    pub fn band(&self, estimate: f64, rows: u64, errors: f64) -> Option<Interval> {
        Some(Interval::around(estimate, self.of_rows(rows)?, errors))
    }
}
