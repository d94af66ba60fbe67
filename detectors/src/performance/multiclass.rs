//! Counts of the outcomes of a classifier of several classes.
//!
//! Before: scores by class, the class predicted, and the label. After: [`super::classes`] and
//! [`super::curve`]. Owns how an outcome becomes counts, which add, merge and subtract exactly.

use thiserror::Error;

use crate::cells::CellCounts;

use super::binary::{add_cells, loss_of_truth};
use super::classes::ClassMatrix;
use super::curve::ScoreCurve;
use super::outcome::{OutcomeError, probability, same_layout};
use super::reliability::ReliabilityCounts;
use super::scores::ScoreGrid;
use super::terms::{TermSum, TermSums};

/// Most named classes. Further ones are counted together as one class, the last of the matrix.
pub const CLASSES_MAX: usize = 64;

/// Most edges of the score grids of all classes together: 256 kB of counts.
pub const CLASS_EDGES_MAX: usize = 16_384;

/// Greatest `k` of which the top-k accuracy is known.
pub const TOP_MAX: usize = 10;

/// Places of the terms; from the last on, whether the label was among the first 1, 2, ….
const LOG_LOSS: usize = 0;
const SQUARED_ERROR: usize = 1;
const TOP: usize = 2;
const TERMS: usize = TOP + TOP_MAX;

/// Why a layout of classes is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClassLayoutError {
    /// Too few or too many classes.
    #[error("{found} classes, but 2 to {CLASSES_MAX} can be named: name the most frequent")]
    Classes {
        /// How many were given.
        found: usize,
    },
    /// Neither no grid nor one a class.
    #[error("{found} score grids for {classes} classes: give one a class, or none")]
    Grids {
        /// How many were given.
        found: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// The grids take too much memory.
    #[error("{found} edges in all score grids, but at most {CLASS_EDGES_MAX}: build coarser ones")]
    Edges {
        /// How many there are.
        found: usize,
    },
}

/// The classes of a model and, where it gives scores, the frozen cells of each class's score.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassLayout {
    classes: usize,
    grids: Vec<ScoreGrid>,
}

/// One prediction with its label. Classes are indices into the layout's; a class that it does not
/// name is absent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassOutcome<'a> {
    /// The probability of each named class, where the model gives them and the layout has grids.
    pub scores: Option<&'a [f64]>,
    /// The class predicted.
    pub predicted: Option<usize>,
    /// The class that it was.
    pub label: Option<usize>,
}

/// Counts of outcomes by class. Memory: 4 to 8 bytes for each pair of classes, 8 to 16 for each
/// score cell of each class, and 10 kB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassCounts {
    /// By label, then prediction, the class of unnamed ones last.
    pub matrix: CellCounts,
    /// Of each class by score cell: rows of other labels, then of this one.
    pub scores: Vec<CellCounts>,
    /// Terms of the rows with scores and a named label: log loss, squared error, and whether the
    /// label was among the first 1, 2, … [`TOP_MAX`].
    pub terms: TermSums,
    /// The greatest score against whether its class is the label.
    pub reliability: ReliabilityCounts,
}

/// A checked outcome.
struct Row {
    pair: usize,
    /// The cell of each class's score.
    cells: Vec<usize>,
    terms: Vec<Option<f64>>,
    top: Option<(f64, bool)>,
}

impl ClassLayout {
    /// Takes the number of named classes and a grid for the score of each, or none.
    pub fn try_new(classes: usize, grids: Vec<ScoreGrid>) -> Result<Self, ClassLayoutError> {
        if !(2..=CLASSES_MAX).contains(&classes) {
            return Err(ClassLayoutError::Classes { found: classes });
        }
        if !grids.is_empty() && grids.len() != classes {
            return Err(ClassLayoutError::Grids { found: grids.len(), classes });
        }
        let found = grids.iter().map(|grid| grid.edges().len()).sum();
        if CLASS_EDGES_MAX < found {
            return Err(ClassLayoutError::Edges { found });
        }
        Ok(Self { classes, grids })
    }

    /// Returns the number of named classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the grids of the scores, one a named class or none.
    pub fn grids(&self) -> &[ScoreGrid] {
        &self.grids
    }

    /// Returns the place of a class, the last for those that are not named.
    pub(super) fn place(&self, class: Option<usize>) -> usize {
        class.map_or(self.classes, |class| class.min(self.classes))
    }

    /// Checks the scores of a row: one a class, each a probability.
    pub(super) fn check_scores(&self, scores: &[f64]) -> Result<(), OutcomeError> {
        if scores.len() != self.grids.len() {
            let (found, expected) = (scores.len(), self.grids.len());
            return Err(OutcomeError::Length { what: "scores", found, expected });
        }
        scores.iter().try_for_each(|&score| probability("score", score).map(|_| ()))
    }

    fn row(&self, outcome: &ClassOutcome<'_>) -> Result<Row, OutcomeError> {
        let pair = self.place(outcome.label) * (self.classes + 1) + self.place(outcome.predicted);
        let Some(scores) = outcome.scores else {
            return Ok(Row { pair, cells: Vec::new(), terms: vec![None; TERMS], top: None });
        };
        self.check_scores(scores)?;
        let label = outcome.label.filter(|&label| label < self.classes);
        let terms = label.map_or_else(|| vec![None; TERMS], |label| terms(scores, label));
        let first = scores.iter().copied().fold(0.0, f64::max);
        let hit =
            label.is_some_and(|label| scores.iter().position(|it| *it == first) == Some(label));
        let classes = self.grids.iter().zip(scores).enumerate();
        let cells = classes.map(|(class, (grid, &score))| {
            2 * grid.cell_of(score) + usize::from(outcome.label == Some(class))
        });
        Ok(Row { pair, cells: cells.collect(), terms, top: Some((first, hit)) })
    }
}

impl ClassCounts {
    /// Returns counts of nothing.
    pub fn empty(layout: &ClassLayout) -> Self {
        let scores = layout.grids.iter().map(|grid| CellCounts::empty(2 * grid.cells()));
        Self {
            matrix: CellCounts::empty((layout.classes + 1) * (layout.classes + 1)),
            scores: scores.collect(),
            terms: TermSums::empty(TERMS),
            reliability: ReliabilityCounts::default(),
        }
    }

    /// Adds an outcome. On an error nothing was added.
    pub fn add(
        &mut self,
        layout: &ClassLayout,
        outcome: &ClassOutcome<'_>,
    ) -> Result<(), OutcomeError> {
        self.check_fits(layout)?;
        let row = layout.row(outcome)?;
        for (counts, cell) in self.scores.iter_mut().zip(&row.cells) {
            counts.add_one(*cell);
        }
        self.terms.add(&row.terms);
        if let Some((first, hit)) = row.top {
            self.reliability.add(first, hit);
        }
        self.matrix.add_one(row.pair);
        Ok(())
    }

    /// Takes an outcome away again. On an error nothing was taken. That it was never added is
    /// noticed as in [`super::BinaryCounts::subtract`].
    pub fn subtract(
        &mut self,
        layout: &ClassLayout,
        outcome: &ClassOutcome<'_>,
    ) -> Result<(), OutcomeError> {
        self.check_fits(layout)?;
        let row = layout.row(outcome)?;
        let mut cells = self.scores.iter().zip(&row.cells);
        if self.matrix.get(row.pair) == Some(0) || cells.any(|(it, &cell)| it.get(cell) == Some(0))
        {
            return Err(OutcomeError::NotAdded { what: "outcomes by class" });
        }
        self.terms.check_added(&row.terms)?;
        if let Some((first, hit)) = row.top {
            self.reliability.subtract(first, hit)?;
        }
        self.terms.subtract(&row.terms);
        for (counts, cell) in self.scores.iter_mut().zip(&row.cells) {
            counts.subtract_one(*cell);
        }
        self.matrix.subtract_one(row.pair);
        Ok(())
    }

    /// Adds counts of other outcomes. On an error nothing was added.
    pub fn merge(&mut self, other: &Self) -> Result<(), OutcomeError> {
        self.check_layout(other)?;
        add_cells(&mut self.matrix, &other.matrix);
        for (ours, theirs) in self.scores.iter_mut().zip(&other.scores) {
            add_cells(ours, theirs);
        }
        self.terms.merge(&other.terms);
        self.reliability.merge(&other.reliability);
        Ok(())
    }

    /// Takes counts away again. On an error nothing was taken.
    pub fn unmerge(&mut self, other: &Self) -> Result<(), OutcomeError> {
        self.check_layout(other)?;
        let mut scores = self.scores.iter().zip(&other.scores);
        if !self.matrix.covers(&other.matrix) || !scores.all(|(ours, its)| ours.covers(its)) {
            return Err(OutcomeError::NotAdded { what: "outcomes by class" });
        }
        let mut terms = self.terms.clone();
        terms.unmerge(&other.terms)?;
        self.reliability.unmerge(&other.reliability)?;
        self.terms = terms;
        self.matrix.subtract(&other.matrix);
        for (ours, theirs) in self.scores.iter_mut().zip(&other.scores) {
            ours.subtract(theirs);
        }
        Ok(())
    }

    /// Returns the number of outcomes.
    pub fn rows(&self) -> u64 {
        self.matrix.total()
    }

    /// Returns the confusion matrix; the class of unnamed ones is its last.
    pub fn confusion(&self) -> ClassMatrix {
        ClassMatrix::new(self.matrix.iter().map(|count| count as f64).collect())
    }

    /// Returns the rows of a class against all others by the class's score. Nothing without scores.
    /// What is between two classes alone cannot be told from them, so that there is no area by
    /// pairs of classes.
    pub fn curve(&self, class: usize) -> Option<ScoreCurve> {
        let counts: Vec<u64> = self.scores.get(class)?.iter().collect();
        let cells = counts.chunks(2).map(|pair| [pair[0] as f64, pair[1] as f64]);
        Some(ScoreCurve::counted(cells))
    }

    /// Returns the log losses in nats, of scores clipped as in [`super::BinaryCounts::log_loss`].
    pub fn log_loss(&self) -> &TermSum {
        self.terms.get(LOG_LOSS)
    }

    /// Returns the squared errors, summed over the named classes (Brier 1950).
    pub fn brier(&self) -> &TermSum {
        self.terms.get(SQUARED_ERROR)
    }

    /// Returns whether the label was among the `k` greatest scores, whose mean is the top-k
    /// accuracy; of equal scores the later class is before, as in scikit-learn. Nothing unless `k`
    /// is 1 to [`TOP_MAX`].
    pub fn top(&self, k: usize) -> Option<&TermSum> {
        (1..=TOP_MAX).contains(&k).then(|| self.terms.get(TOP + k - 1))
    }

    fn check_fits(&self, layout: &ClassLayout) -> Result<(), OutcomeError> {
        let classes = layout.classes + 1;
        same_layout("classes", self.matrix.len(), classes * classes)?;
        same_layout("score grids", self.scores.len(), layout.grids.len())?;
        let mut pairs = self.scores.iter().zip(&layout.grids);
        pairs.try_for_each(|(ours, it)| same_layout("score cells", ours.len(), 2 * it.cells()))
    }

    fn check_layout(&self, other: &Self) -> Result<(), OutcomeError> {
        same_layout("classes", self.matrix.len(), other.matrix.len())?;
        same_layout("score grids", self.scores.len(), other.scores.len())?;
        let mut pairs = self.scores.iter().zip(&other.scores);
        pairs.try_for_each(|(ours, its)| same_layout("score cells", ours.len(), its.len()))?;
        self.terms.check_layout(&other.terms)
    }
}

/// Returns the terms of a row with a named label.
fn terms(scores: &[f64], label: usize) -> Vec<Option<f64>> {
    let truth = scores[label];
    let errors = scores.iter().enumerate().map(|(class, &score)| {
        let error = score - f64::from(u8::from(class == label));
        error * error
    });
    let mut terms = vec![Some(loss_of_truth(truth)), Some(errors.sum())];
    let is_before = |class: usize, score: f64| truth < score || (score == truth && label < class);
    let before = scores.iter().enumerate().filter(|(class, it)| is_before(*class, **it)).count();
    terms.extend((0..TOP_MAX).map(|place| Some(f64::from(u8::from(before <= place)))));
    terms
}
