//! Counts of the outcomes of a binary classifier.
//!
//! Before: a score, the class predicted from it, and the label. After: [`super::confusion`] and
//! [`super::curve`] make metrics of the counts, [`super::estimate`] their expectation without
//! labels. Owns how an outcome becomes counts, which add, merge and subtract exactly.

use crate::cells::CellCounts;

use super::confusion::Confusion;
use super::curve::ScoreCurve;
use super::logarithm::ln;
use super::outcome::{OutcomeError, probability, same_layout};
use super::reliability::ReliabilityCounts;
use super::scores::ScoreGrid;
use super::terms::{TermSum, TermSums};

/// What a cell is split by: predicted class, then label.
pub(super) const SIDES: usize = 4;

/// Places of the losses.
const LOG_LOSS: usize = 0;
const SQUARED_ERROR: usize = 1;

/// Probabilities are kept this far from 0 and 1 under the logarithm, as scikit-learn does.
const CLIP: f64 = f64::EPSILON;

/// One prediction with its label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BinaryOutcome {
    /// The probability of the positive class, where the model gives one.
    pub score: Option<f64>,
    /// Whether the positive class was predicted.
    pub predicted: bool,
    /// Whether it is the label.
    pub label: bool,
}

/// Counts of binary outcomes by score cell, predicted class and label, with exact sums of the
/// losses. Memory: 16 to 32 bytes a score cell, 2,049 of which there are at most, and 4 kB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryCounts {
    /// For each cell of the grid, and then for rows without a score: negatives predicted negative,
    /// positives predicted negative, negatives and positives predicted positive.
    pub cells: CellCounts,
    /// Losses of the rows with a score: log loss, squared error.
    pub losses: TermSums,
    /// Scores against labels.
    pub reliability: ReliabilityCounts,
}

impl BinaryCounts {
    /// Returns counts of nothing.
    pub fn empty(grid: &ScoreGrid) -> Self {
        Self {
            cells: CellCounts::empty(SIDES * (grid.cells() + 1)),
            losses: TermSums::empty(2),
            reliability: ReliabilityCounts::default(),
        }
    }

    /// Adds an outcome. On an error nothing was added.
    pub fn add(&mut self, grid: &ScoreGrid, outcome: &BinaryOutcome) -> Result<(), OutcomeError> {
        let cell = self.cell(grid, outcome)?;
        if let Some(score) = outcome.score {
            self.losses.add(&losses(outcome.label, score));
            self.reliability.add(score, outcome.label);
        }
        self.cells.add_one(cell);
        Ok(())
    }

    /// Takes an outcome away again. On an error nothing was taken.
    ///
    /// That it was never added is noticed by cell: an outcome of the same score cell, classes and
    /// reliability bin is taken for it until the last of them is gone.
    pub fn subtract(
        &mut self,
        grid: &ScoreGrid,
        outcome: &BinaryOutcome,
    ) -> Result<(), OutcomeError> {
        let cell = self.cell(grid, outcome)?;
        if self.cells.get(cell) == Some(0) {
            return Err(OutcomeError::NotAdded { what: "binary outcomes" });
        }
        if let Some(score) = outcome.score {
            let losses = losses(outcome.label, score);
            self.losses.check_added(&losses)?;
            self.reliability.subtract(score, outcome.label)?;
            self.losses.subtract(&losses);
        }
        self.cells.subtract_one(cell);
        Ok(())
    }

    /// Adds counts of other outcomes. On an error nothing was added.
    pub fn merge(&mut self, other: &Self) -> Result<(), OutcomeError> {
        self.check_layout(other)?;
        add_cells(&mut self.cells, &other.cells);
        self.losses.merge(&other.losses);
        self.reliability.merge(&other.reliability);
        Ok(())
    }

    /// Takes counts away again. On an error nothing was taken.
    pub fn unmerge(&mut self, other: &Self) -> Result<(), OutcomeError> {
        self.check_layout(other)?;
        if !self.cells.covers(&other.cells) {
            return Err(OutcomeError::NotAdded { what: "binary outcomes" });
        }
        let mut losses = self.losses.clone();
        losses.unmerge(&other.losses)?;
        self.reliability.unmerge(&other.reliability)?;
        self.losses = losses;
        self.cells.subtract(&other.cells);
        Ok(())
    }

    /// Returns the number of outcomes.
    pub fn rows(&self) -> u64 {
        self.cells.total()
    }

    /// Returns the number of outcomes with a score.
    pub fn scored(&self) -> u64 {
        self.losses.get(LOG_LOSS).rows
    }

    /// Returns the confusion matrix.
    pub fn confusion(&self) -> Confusion {
        confusion_of(&self.numbers())
    }

    /// Returns positives and negatives by score cell.
    pub fn curve(&self) -> ScoreCurve {
        curve_of(&self.numbers())
    }

    /// Returns the log losses in nats of the rows with a score, of probabilities clipped at 2⁻⁵²
    /// as scikit-learn does.
    pub fn log_loss(&self) -> &TermSum {
        self.losses.get(LOG_LOSS)
    }

    /// Returns the squared errors of the scores, whose mean is the score of Brier 1950.
    pub fn brier(&self) -> &TermSum {
        self.losses.get(SQUARED_ERROR)
    }

    /// Returns negatives and positives of each score cell.
    pub(super) fn labels_by_cell(&self) -> Vec<[f64; 2]> {
        self.by_cell().into_iter().map(|[nn, np, pn, pp]| [nn + pn, np + pp]).collect()
    }

    /// Returns the four counts of each score cell, in the order of [`BinaryCounts::cells`].
    pub(super) fn by_cell(&self) -> Vec<[f64; SIDES]> {
        let numbers = self.numbers();
        let (cells, _) = numbers.as_chunks::<SIDES>();
        cells[..cells.len() - 1].to_vec()
    }

    fn numbers(&self) -> Vec<f64> {
        self.cells.iter().map(|count| count as f64).collect()
    }

    fn check_layout(&self, other: &Self) -> Result<(), OutcomeError> {
        same_layout("score cells", self.cells.len(), other.cells.len())?;
        self.losses.check_layout(&other.losses)
    }

    fn cell(&self, grid: &ScoreGrid, outcome: &BinaryOutcome) -> Result<usize, OutcomeError> {
        same_layout("score cells", self.cells.len(), SIDES * (grid.cells() + 1))?;
        let cell = match outcome.score {
            Some(score) => grid.cell_of(probability("score", score)?),
            None => grid.cells(),
        };
        Ok(SIDES * cell + 2 * usize::from(outcome.predicted) + usize::from(outcome.label))
    }
}

/// Returns the confusion matrix of cells as [`BinaryCounts::cells`] has them.
pub(super) fn confusion_of(cells: &[f64]) -> Confusion {
    let mut sides = [0.0; SIDES];
    for cell in cells.chunks_exact(SIDES) {
        for (sum, count) in sides.iter_mut().zip(cell) {
            *sum += count;
        }
    }
    let [true_negative, false_negative, false_positive, true_positive] = sides;
    Confusion { true_positive, false_positive, false_negative, true_negative }
}

/// Returns positives and negatives by score of such cells.
pub(super) fn curve_of(cells: &[f64]) -> ScoreCurve {
    let scored = &cells[..cells.len() - SIDES];
    let by_label = |cell: &[f64]| [cell[0] + cell[2], cell[1] + cell[3]];
    ScoreCurve::counted(scored.chunks_exact(SIDES).map(by_label))
}

/// Returns the losses of a score in the order of their sums.
fn losses(label: bool, score: f64) -> [Option<f64>; 2] {
    let error = score - f64::from(u8::from(label));
    let truth = if label { score } else { 1.0 - score };
    [Some(loss_of_truth(truth)), Some(error * error)]
}

/// Returns the loss of giving what came true this probability, in nats.
pub(super) fn loss_of_truth(probability: f64) -> f64 {
    -ln(probability.clamp(CLIP, 1.0 - CLIP))
}

/// Adds cells whose layout was found equal.
pub(super) fn add_cells(ours: &mut CellCounts, theirs: &CellCounts) {
    ours.merge(theirs).expect("the layouts are equal");
}
