//! What performance of several classes is expected to be while labels are missing.
//!
//! Before: the scores of a row and a [`super::calibration`] of each class. After: the same metrics
//! as of labels. Unlike with two classes, the probabilities of a row depend on one another: they
//! are made when the row comes, and what is kept are their sums (NannyML 0.13's multiclass CBPE:
//! each class calibrated against all others, then divided by the row's sum).

use crate::cells::CellCounts;

use super::binary::add_cells;
use super::calibration::Calibration;
use super::classes::ClassMatrix;
use super::curve::ScoreCurve;
use super::multiclass::ClassLayout;
use super::outcome::{OutcomeError, same_layout};

/// Units of a summed probability: integers add and subtract exactly. A row is off by at most 3e-8,
/// and 10¹² rows fit.
const UNITS: f64 = 16_777_216.0;

/// Sums of the probabilities of rows without labels. Memory: 8 bytes for each pair of classes, and
/// 24 to 32 for each edge of each class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassEstimate {
    /// Rows of each predicted class, the unnamed ones last.
    pub predicted: CellCounts,
    /// Of each predicted class, the summed probability of each named class, in units of 2⁻²⁴.
    pub labels: Vec<u64>,
    /// Of each named class, rows by cell of its score.
    pub rows: Vec<CellCounts>,
    /// Of each named class, its summed probability by cell, in units of 2⁻²⁴.
    pub positives: Vec<Vec<u64>>,
}

/// The places and units that a row adds to.
struct Row {
    predicted: usize,
    cells: Vec<usize>,
    units: Vec<u64>,
}

impl ClassEstimate {
    /// Returns sums of nothing.
    pub fn empty(layout: &ClassLayout) -> Self {
        let cells = || layout.grids().iter().map(super::ScoreGrid::cells);
        Self {
            predicted: CellCounts::empty(layout.classes() + 1),
            labels: vec![0; (layout.classes() + 1) * layout.classes()],
            rows: cells().map(CellCounts::empty).collect(),
            positives: cells().map(|cells| vec![0; cells]).collect(),
        }
    }

    /// Adds a prediction: the score of each class of the layout, calibrated by one calibration a
    /// class, and the class predicted. On an error nothing was added.
    pub fn add(
        &mut self,
        layout: &ClassLayout,
        calibrations: &[Calibration],
        scores: &[f64],
        predicted: Option<usize>,
    ) -> Result<(), OutcomeError> {
        let row = self.row(layout, calibrations, scores, predicted)?;
        let classes = layout.classes();
        for (class, (&cell, &units)) in row.cells.iter().zip(&row.units).enumerate() {
            self.labels[row.predicted * classes + class] += units;
            self.positives[class][cell] += units;
            self.rows[class].add_one(cell);
        }
        self.predicted.add_one(row.predicted);
        Ok(())
    }

    /// Takes a prediction away again. On an error nothing was taken. That it was never added is
    /// noticed by cell.
    pub fn subtract(
        &mut self,
        layout: &ClassLayout,
        calibrations: &[Calibration],
        scores: &[f64],
        predicted: Option<usize>,
    ) -> Result<(), OutcomeError> {
        let row = self.row(layout, calibrations, scores, predicted)?;
        let classes = layout.classes();
        let mut places = row.cells.iter().zip(&row.units).enumerate();
        let was_added = self.predicted.get(row.predicted) != Some(0)
            && places.all(|(class, (&cell, &units))| {
                self.rows[class].get(cell) != Some(0)
                    && units <= self.positives[class][cell]
                    && units <= self.labels[row.predicted * classes + class]
            });
        if !was_added {
            return Err(NOT_ADDED);
        }
        for (class, (&cell, &units)) in row.cells.iter().zip(&row.units).enumerate() {
            self.labels[row.predicted * classes + class] -= units;
            self.positives[class][cell] -= units;
            self.rows[class].subtract_one(cell);
        }
        self.predicted.subtract_one(row.predicted);
        Ok(())
    }

    /// Adds sums of other predictions. On an error nothing was added.
    pub fn merge(&mut self, other: &Self) -> Result<(), OutcomeError> {
        self.check_layout(other)?;
        add_cells(&mut self.predicted, &other.predicted);
        for (ours, theirs) in self.rows.iter_mut().zip(&other.rows) {
            add_cells(ours, theirs);
        }
        for (ours, theirs) in self.units_mut().zip(other.units()) {
            *ours += theirs;
        }
        Ok(())
    }

    /// Takes sums away again. On an error nothing was taken.
    pub fn unmerge(&mut self, other: &Self) -> Result<(), OutcomeError> {
        self.check_layout(other)?;
        let mut rows = self.rows.iter().zip(&other.rows);
        let was_added = self.predicted.covers(&other.predicted)
            && rows.all(|(ours, theirs)| ours.covers(theirs))
            && self.units().zip(other.units()).all(|(ours, theirs)| theirs <= ours);
        if !was_added {
            return Err(NOT_ADDED);
        }
        self.predicted.subtract(&other.predicted);
        for (ours, theirs) in self.rows.iter_mut().zip(&other.rows) {
            ours.subtract(theirs);
        }
        for (ours, theirs) in self.units_mut().zip(other.units()) {
            *ours -= theirs;
        }
        Ok(())
    }

    /// Returns the number of predictions.
    pub fn rows(&self) -> u64 {
        self.predicted.total()
    }

    /// Returns the expected confusion matrix; the class of unnamed ones is its last, and expected
    /// of no row.
    pub fn confusion(&self) -> ClassMatrix {
        let classes = self.rows.len();
        let width = classes + 1;
        let mut rows = vec![0.0; width * width];
        for (place, &units) in self.labels.iter().enumerate() {
            let (predicted, label) = (place / classes, place % classes);
            rows[label * width + predicted] = units as f64 / UNITS;
        }
        ClassMatrix::new(rows)
    }

    /// Returns the expected rows of a class against all others by the class's score. Brackets of
    /// its metrics say nothing, only their values.
    pub fn curve(&self, class: usize) -> Option<ScoreCurve> {
        let (rows, positives) = (self.rows.get(class)?, self.positives.get(class)?);
        Some(ScoreCurve::expected(rows.iter().zip(positives).map(|(rows, &units)| {
            let positive = units as f64 / UNITS;
            [(rows as f64 - positive).max(0.0), positive]
        })))
    }

    fn row(
        &self,
        layout: &ClassLayout,
        calibrations: &[Calibration],
        scores: &[f64],
        predicted: Option<usize>,
    ) -> Result<Row, OutcomeError> {
        same_layout("classes", self.rows.len(), layout.classes())?;
        layout.check_scores(scores)?;
        same_layout("calibrations", calibrations.len(), layout.classes())?;
        let classes = || layout.grids().iter().zip(scores);
        for (grid, calibration) in layout.grids().iter().zip(calibrations) {
            same_layout("score cells", calibration.probabilities().len(), grid.cells())?;
        }
        let calibrated = classes().zip(calibrations).map(|((grid, &score), it)| it.at(grid, score));
        let calibrated: Vec<f64> = calibrated.collect();
        let sum: f64 = calibrated.iter().sum();
        let share = |it: &f64| if 0.0 < sum { it / sum } else { 1.0 / scores.len() as f64 };
        Ok(Row {
            predicted: layout.place(predicted),
            cells: classes().map(|(grid, &score)| grid.cell_of(score)).collect(),
            units: calibrated.iter().map(|it| units(share(it))).collect(),
        })
    }

    fn units(&self) -> impl Iterator<Item = &u64> {
        self.labels.iter().chain(self.positives.iter().flatten())
    }

    fn units_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        self.labels.iter_mut().chain(self.positives.iter_mut().flatten())
    }

    fn check_layout(&self, other: &Self) -> Result<(), OutcomeError> {
        same_layout("classes", self.rows.len(), other.rows.len())?;
        let mut pairs = self.rows.iter().zip(&other.rows);
        pairs.try_for_each(|(ours, its)| same_layout("score cells", ours.len(), its.len()))
    }
}

const NOT_ADDED: OutcomeError = OutcomeError::NotAdded { what: "scores by class" };

fn units(probability: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a probability is between 0 and 1"
    )]
    let units = (probability * UNITS).round() as u64;
    units
}
