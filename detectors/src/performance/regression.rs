//! Counts of the errors of a regression.
//!
//! Before: a prediction and its label, both numbers. After: its own metrics, [`super::interval`],
//! and [`crate::counts`], as which the residuals can be judged for drift. Owns the terms.
//!
//! Nothing is kept that could not be taken away again: no greatest error, and of the median only
//! what the residual cells tell.

use thiserror::Error;

use crate::counts::NumericCounts;
use crate::grid::Grid;

use super::confusion::ratio;
use super::interval::Interval;
use super::logarithm::ln_1p;
use super::outcome::{OutcomeError, countable, same_layout};
use super::terms::{TermSum, TermSums, check};

/// Most quantiles that a layout scores.
pub const QUANTILES_MAX: usize = 16;

/// Places of the terms; then come loss and coverage of each quantile.
const ERROR: usize = 0;
const ABSOLUTE: usize = 1;
const SQUARED: usize = 2;
const LABEL: usize = 3;
const ABSOLUTE_LABEL: usize = 4;
const RELATIVE: usize = 5;
const SYMMETRIC: usize = 6;
const LOGARITHMIC: usize = 7;
const COVERED: usize = 8;
const WIDTH: usize = 9;
const QUANTILES: usize = 10;

/// Why a layout of a regression is refused.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum RegressionLayoutError {
    /// More quantiles than are scored.
    #[error("{found} quantiles, but at most {QUANTILES_MAX} are scored: name those that matter")]
    Quantiles {
        /// How many were given.
        found: usize,
    },
    /// A quantile is not a share of the labels.
    #[error("quantile {level} is not between 0 and 1")]
    Level {
        /// The quantile.
        level: f64,
    },
    /// The centre is not finite.
    #[error("centre {centre} is not a finite number: give the mean of the reference's labels")]
    Centre {
        /// The centre.
        centre: f64,
    },
}

/// What is frozen with the reference of a regression.
#[derive(Debug, PartialEq)]
pub struct RegressionLayout {
    residuals: Grid,
    centre: f64,
    quantiles: Vec<f64>,
}

/// One prediction with its label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegressionOutcome<'a> {
    /// The prediction.
    pub prediction: f64,
    /// What it was.
    pub label: f64,
    /// The predicted quantiles of the layout, in its order.
    pub quantiles: &'a [f64],
    /// Ends of a predicted interval, where the model gives one.
    pub interval: Option<[f64; 2]>,
}

/// Counts of the errors of a regression, errors being label − prediction. Memory: the residual
/// cells, and half a kilobyte for each of 10 terms and two a quantile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegressionCounts {
    /// Residuals by cell; those of a window can be judged for drift against a reference's.
    pub residuals: NumericCounts,
    /// Error, its absolute and square, deviation of the label from the centre, absolute label,
    /// relative, symmetric and logarithmic error, whether the interval covers the label and its
    /// width, and then of each quantile loss and whether the label is at most it.
    pub terms: TermSums,
}

impl RegressionLayout {
    /// Takes the cells of the residuals, a number near the labels' mean, and the quantiles that
    /// predictions give, each strictly between 0 and 1.
    ///
    /// The variance of the labels is summed around the centre, so that little of it cancels.
    pub fn try_new(
        residuals: Grid,
        centre: f64,
        quantiles: Vec<f64>,
    ) -> Result<Self, RegressionLayoutError> {
        if QUANTILES_MAX < quantiles.len() {
            return Err(RegressionLayoutError::Quantiles { found: quantiles.len() });
        }
        if let Some(&level) = quantiles.iter().find(|level| !(0.0 < **level && **level < 1.0)) {
            return Err(RegressionLayoutError::Level { level });
        }
        if countable("centre", centre).is_err() {
            return Err(RegressionLayoutError::Centre { centre });
        }
        Ok(Self { residuals, centre, quantiles })
    }

    /// Returns the cells of the residuals.
    pub fn residuals(&self) -> &Grid {
        &self.residuals
    }

    /// Returns the quantiles.
    pub fn quantiles(&self) -> &[f64] {
        &self.quantiles
    }

    fn terms(&self, outcome: &RegressionOutcome<'_>) -> Result<Vec<Option<f64>>, OutcomeError> {
        let label = countable("label", outcome.label)?;
        let prediction = countable("prediction", outcome.prediction)?;
        if outcome.quantiles.len() != self.quantiles.len() {
            let (found, expected) = (outcome.quantiles.len(), self.quantiles.len());
            return Err(OutcomeError::Length { what: "quantiles", found, expected });
        }
        let error = label - prediction;
        let deviation = label - self.centre;
        let size = label.abs() + prediction.abs();
        let logs = -1.0 < label && -1.0 < prediction;
        let logarithmic = || ln_1p(label) - ln_1p(prediction);
        let square = |x: f64| x * x;
        let covers = |[low, high]: [f64; 2]| f64::from(u8::from(low <= label && label <= high));
        let mut terms = vec![
            Some(error),
            Some(error.abs()),
            Some(square(error)),
            Some(deviation),
            Some(label.abs()),
            (label != 0.0).then(|| (error / label).abs()),
            Some(if size == 0.0 { 0.0 } else { 2.0 * error.abs() / size }),
            logs.then(|| square(logarithmic())),
            outcome.interval.map(covers),
            outcome.interval.map(|[low, high]| high - low),
        ];
        for (level, &quantile) in self.quantiles.iter().zip(outcome.quantiles) {
            let error = label - countable("quantile", quantile)?;
            terms.push(Some((level * error).max((level - 1.0) * error)));
            terms.push(Some(f64::from(u8::from(error <= 0.0))));
        }
        // The covered share of an interval with an end that is no number would be a guess.
        for end in outcome.interval.iter().flatten() {
            countable("interval", *end)?;
        }
        check(&terms)?;
        Ok(terms)
    }

    fn len(&self) -> usize {
        QUANTILES + 2 * self.quantiles.len()
    }
}

impl RegressionCounts {
    /// Returns counts of nothing.
    pub fn empty(layout: &RegressionLayout) -> Self {
        let residuals = NumericCounts::empty(&layout.residuals);
        Self { residuals, terms: TermSums::empty(layout.len()) }
    }

    /// Adds an outcome. On an error nothing was added.
    pub fn add(
        &mut self,
        layout: &RegressionLayout,
        outcome: &RegressionOutcome<'_>,
    ) -> Result<(), OutcomeError> {
        let (cell, terms) = self.row(layout, outcome)?;
        self.terms.add(&terms);
        self.residuals.cells.add_one(cell);
        Ok(())
    }

    /// Takes an outcome away again. On an error nothing was taken. That it was never added is
    /// noticed by residual cell, and by a rest where nothing may be left.
    pub fn subtract(
        &mut self,
        layout: &RegressionLayout,
        outcome: &RegressionOutcome<'_>,
    ) -> Result<(), OutcomeError> {
        let (cell, terms) = self.row(layout, outcome)?;
        if self.residuals.cells.get(cell) == Some(0) {
            return Err(OutcomeError::NotAdded { what: "residuals" });
        }
        self.terms.check_added(&terms)?;
        self.terms.subtract(&terms);
        self.residuals.cells.subtract_one(cell);
        Ok(())
    }

    /// Adds counts of other outcomes. On an error nothing was added.
    pub fn merge(&mut self, other: &Self) -> Result<(), OutcomeError> {
        self.check_layout(other)?;
        self.terms.merge(&other.terms);
        super::binary::add_cells(&mut self.residuals.cells, &other.residuals.cells);
        Ok(())
    }

    /// Takes counts away again. On an error nothing was taken.
    pub fn unmerge(&mut self, other: &Self) -> Result<(), OutcomeError> {
        self.check_layout(other)?;
        if !self.residuals.cells.covers(&other.residuals.cells) {
            return Err(OutcomeError::NotAdded { what: "residuals" });
        }
        self.terms.unmerge(&other.terms)?;
        self.residuals.cells.subtract(&other.residuals.cells);
        Ok(())
    }

    /// Returns the number of outcomes.
    pub fn rows(&self) -> u64 {
        self.terms.get(ERROR).rows
    }

    /// Returns the errors, label − prediction: their mean is the bias.
    pub fn error(&self) -> &TermSum {
        self.terms.get(ERROR)
    }

    /// Returns the absolute errors: their mean is the MAE.
    pub fn absolute_error(&self) -> &TermSum {
        self.terms.get(ABSOLUTE)
    }

    /// Returns the squared errors: their mean is the MSE.
    pub fn squared_error(&self) -> &TermSum {
        self.terms.get(SQUARED)
    }

    /// Returns `|error / label|` of the rows whose label is not 0: their mean is the MAPE.
    /// scikit-learn divides by 2⁻⁵² where the label is 0, which makes the mean a number of no
    /// meaning.
    pub fn relative_error(&self) -> &TermSum {
        self.terms.get(RELATIVE)
    }

    /// Returns `2 |error| / (|label| + |prediction|)`, 0 where both are 0: their mean is the sMAPE,
    /// between 0 and 2 (Makridakis 1993).
    pub fn symmetric_error(&self) -> &TermSum {
        self.terms.get(SYMMETRIC)
    }

    /// Returns `(ln(1 + label) − ln(1 + prediction))²` of the rows where both are above −1: their
    /// mean is the MSLE. scikit-learn refuses all rows when one is not.
    pub fn logarithmic_error(&self) -> &TermSum {
        self.terms.get(LOGARITHMIC)
    }

    /// Returns whether predicted intervals cover their labels: the mean is the coverage.
    pub fn covered(&self) -> &TermSum {
        self.terms.get(COVERED)
    }

    /// Returns the widths of predicted intervals.
    pub fn interval_width(&self) -> &TermSum {
        self.terms.get(WIDTH)
    }

    /// Returns the pinball losses of a quantile of the layout (Koenker & Bassett 1978).
    pub fn pinball(&self, quantile: usize) -> Option<&TermSum> {
        self.terms.terms.get(QUANTILES + 2 * quantile)
    }

    /// Returns whether labels are at most a quantile of the layout: the mean should be its level.
    pub fn quantile_covered(&self, quantile: usize) -> Option<&TermSum> {
        self.terms.terms.get(QUANTILES + 2 * quantile + 1)
    }

    /// Returns the root of the mean squared error.
    pub fn root_mean_squared_error(&self) -> Option<f64> {
        self.squared_error().mean().map(f64::sqrt)
    }

    /// Returns the root of the mean squared logarithmic error.
    pub fn root_mean_squared_logarithmic_error(&self) -> Option<f64> {
        self.logarithmic_error().mean().map(f64::sqrt)
    }

    /// Returns the interval of the root mean squared error: the root of Student's for the mean.
    pub fn root_mean_squared_error_interval(&self, confidence: f64) -> Option<Interval> {
        let interval = self.squared_error().sample().interval(confidence)?;
        Some(interval.within(0.0, f64::INFINITY).map(f64::sqrt))
    }

    /// Returns R², the share of the labels' variance that predictions explain. `None` when labels
    /// do not vary, where scikit-learn says 0, or 1 if predictions are perfect.
    pub fn r_squared(&self) -> Option<f64> {
        Some(1.0 - ratio(self.squared_error().sum.value(), self.label_deviations())?)
    }

    /// Returns R² of predictions from which their bias is taken.
    pub fn explained_variance(&self) -> Option<f64> {
        Some(1.0 - ratio(deviations(self.error()), self.label_deviations())?)
    }

    /// Returns the sum of absolute errors as a share of that of absolute labels.
    pub fn weighted_relative_error(&self) -> Option<f64> {
        let labels = self.terms.get(ABSOLUTE_LABEL).sum.value();
        ratio(self.absolute_error().sum.value(), labels)
    }

    /// Returns the sum of squared deviations of labels from their mean. Labels that are all one
    /// leave rounding, which is taken for nothing.
    fn label_deviations(&self) -> f64 {
        let labels = self.terms.get(LABEL);
        let found = deviations(labels);
        let rounding = 8.0 * f64::EPSILON * labels.squares.value();
        if rounding < found { found } else { 0.0 }
    }

    fn row(
        &self,
        layout: &RegressionLayout,
        outcome: &RegressionOutcome<'_>,
    ) -> Result<(usize, Vec<Option<f64>>), OutcomeError> {
        same_layout("residual cells", self.residuals.cells.len(), layout.residuals.cells())?;
        same_layout("terms", self.terms.terms.len(), layout.len())?;
        let terms = layout.terms(outcome)?;
        Ok((layout.residuals.cell_of(outcome.label - outcome.prediction), terms))
    }

    fn check_layout(&self, other: &Self) -> Result<(), OutcomeError> {
        let (ours, theirs) = (self.residuals.cells.len(), other.residuals.cells.len());
        same_layout("residual cells", ours, theirs)?;
        self.terms.check_layout(&other.terms)
    }
}

/// Returns the sum of squared deviations from the mean.
fn deviations(term: &TermSum) -> f64 {
    let sum = term.sum.value();
    (term.squares.value() - sum * (sum / term.rows as f64)).max(0.0)
}
