//! Intervals of metrics that have no formula: by drawing the counts again.
//!
//! Before: [`super::binary`] and [`super::multiclass`]. After: whoever reports.
//!
//! Each cell of `c` rows is drawn from Poisson's law of mean `c`: that gives every row its own
//! Poisson weight of mean 1, which is the bootstrap of Efron 1979 but for the number of rows, which
//! varies too (Hanley & MacGibbon 2006). The cost is that of cells, not of rows.

use crate::cells::CellCounts;

use super::binary::{confusion_of, curve_of};
use super::classes::ClassMatrix;
use super::confusion::Confusion;
use super::curve::ScoreCurve;
use super::interval::Interval;
use super::random::Random;
use super::{BinaryCounts, ClassCounts};

/// Times that counts are drawn: the ends of a 95 % interval are the 13th of either side.
pub const BOOTSTRAP_DRAWS: u32 = 500;

/// Least share of the draws for which the metric has to be defined.
const DEFINED_SHARE_MIN: f64 = 0.95;

/// What a metric was in counts drawn again.
#[derive(Clone, Debug, PartialEq)]
pub struct Bootstrap {
    /// Ascending.
    values: Vec<f64>,
}

/// Counts of a binary classifier drawn again.
#[derive(Clone, Copy, Debug)]
pub struct BinaryDraw<'a> {
    cells: &'a [f64],
}

impl BinaryDraw<'_> {
    /// Returns the confusion matrix.
    pub fn confusion(&self) -> Confusion {
        confusion_of(self.cells)
    }

    /// Returns positives and negatives by score cell.
    pub fn curve(&self) -> ScoreCurve {
        curve_of(self.cells)
    }
}

impl Bootstrap {
    /// Draws the counts of a binary classifier again. The same seed draws the same.
    pub fn of_binary(
        counts: &BinaryCounts,
        seed: u64,
        metric: impl Fn(&BinaryDraw<'_>) -> Option<f64>,
    ) -> Self {
        Self::of(&counts.cells, seed, |cells| metric(&BinaryDraw { cells }))
    }

    /// Draws the confusion matrix of several classes again. The same seed draws the same.
    pub fn of_classes(
        counts: &ClassCounts,
        seed: u64,
        metric: impl Fn(&ClassMatrix) -> Option<f64>,
    ) -> Self {
        Self::of(&counts.matrix, seed, |cells| metric(&ClassMatrix::new(cells.to_vec())))
    }

    fn of(counts: &CellCounts, seed: u64, metric: impl Fn(&[f64]) -> Option<f64>) -> Self {
        let mut random = Random::new(seed);
        let mut drawn = vec![0.0; counts.len()];
        let filled: Vec<(usize, f64)> = counts
            .iter()
            .enumerate()
            .filter(|(_, count)| *count != 0)
            .map(|(cell, count)| (cell, count as f64))
            .collect();
        let mut values = Vec::new();
        for _ in 0..BOOTSTRAP_DRAWS {
            for &(cell, count) in &filled {
                drawn[cell] = random.poisson(count);
            }
            values.extend(metric(&drawn));
        }
        values.sort_by(f64::total_cmp);
        Self { values }
    }

    /// Returns the interval between the quantiles of the draws. Nothing when the metric is
    /// undefined in more than a twentieth of them, or does not vary, for its spread is unknown
    /// then.
    pub fn interval(&self, confidence: f64) -> Option<Interval> {
        let quantile = |share: f64| {
            let place = share * (self.values.len() as f64 - 1.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and the number of draws"
            )]
            let below = place.floor() as usize;
            let [low, high] = [below, below + 1].map(|at| self.values.get(at).copied());
            let low = low?;
            Some(low + (high.unwrap_or(low) - low) * place.fract())
        };
        self.is_defined().then_some(())?;
        let tail = 0.5 * (1.0 - confidence);
        Some(Interval { lower: quantile(tail)?, upper: quantile(1.0 - tail)? })
    }

    /// Returns the standard deviation of the draws: the standard error of the metric. Nothing where
    /// [`Bootstrap::interval`] has nothing.
    pub fn standard_error(&self) -> Option<f64> {
        let count = self.values.len() as f64;
        let mean = self.values.iter().sum::<f64>() / count;
        let squares: f64 = self.values.iter().map(|it| (it - mean) * (it - mean)).sum();
        self.is_defined().then(|| (squares / (count - 1.0)).sqrt())
    }

    fn is_defined(&self) -> bool {
        let varies = self.values.first() < self.values.last();
        let least = DEFINED_SHARE_MIN * f64::from(BOOTSTRAP_DRAWS);
        varies && least <= self.values.len() as f64
    }
}
