//! Metrics of the order that scores give: areas, lift, and what each threshold would do.
//!
//! Before: [`super::binary`], [`super::multiclass`] and [`super::estimate`] give positives and
//! negatives by score cell. After: whoever reports, and [`super::interval`].
//!
//! Scores at an edge are true ties. In an open cell the order is unknown, so each metric comes with
//! the least and the greatest value that any order, ties included, could have given. Both equal the
//! value where no open cell holds both classes: then it is exactly that of all scores.

use statrs::function::gamma::digamma;

use super::confusion::{Confusion, ratio};
use super::scores::{ScoreGrid, is_tied};

/// Up to so many terms of the harmonic series are added up; beyond, digamma is as good and quicker.
const HARMONIC_TERMS: f64 = 32.0;

/// A value, and the least and the greatest that it could be for what cells do not tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bracket {
    /// The value if rows of an open cell are in random order.
    pub value: f64,
    /// The least possible value.
    pub lower: f64,
    /// The greatest possible value.
    pub upper: f64,
}

/// What a threshold would do: rows whose score is at least it are predicted positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThresholdPoint {
    /// The threshold, an edge of the grid.
    pub threshold: f64,
    /// The confusion matrix that it gives, exactly.
    pub confusion: Confusion,
}

/// Whether rows of a cell are counted ones, or each is positive with the cell's probability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Counted,
    Expected,
}

/// A cell with rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CurveCell {
    /// Its place in the grid.
    pub(super) cell: usize,
    pub(super) negative: f64,
    pub(super) positive: f64,
}

/// Positives and negatives by score, ascending.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreCurve {
    cells: Vec<CurveCell>,
    origin: Origin,
    positive: f64,
    negative: f64,
}

impl ScoreCurve {
    /// Takes counted negatives and positives of each cell of a grid.
    pub(super) fn counted(cells: impl Iterator<Item = [f64; 2]>) -> Self {
        Self::of(Origin::Counted, cells)
    }

    /// Takes expected negatives and positives of each cell of a grid, together a whole number.
    pub(super) fn expected(cells: impl Iterator<Item = [f64; 2]>) -> Self {
        Self::of(Origin::Expected, cells)
    }

    fn of(origin: Origin, cells: impl Iterator<Item = [f64; 2]>) -> Self {
        let cells: Vec<CurveCell> = cells
            .enumerate()
            .map(|(cell, [negative, positive])| CurveCell { cell, negative, positive })
            .filter(|it| 0.0 < it.negative + it.positive)
            .collect();
        let positive = cells.iter().map(|it| it.positive).sum();
        let negative = cells.iter().map(|it| it.negative).sum();
        Self { cells, origin, positive, negative }
    }

    /// Returns the positives.
    pub fn positive(&self) -> f64 {
        self.positive
    }

    /// Returns the negatives.
    pub fn negative(&self) -> f64 {
        self.negative
    }

    pub(super) fn cells(&self) -> &[CurveCell] {
        &self.cells
    }

    /// Returns the area under the receiver operating characteristic: the probability that a
    /// positive's score is above a negative's, ties half (Hanley & McNeil 1982). `None` when one
    /// class is missing.
    pub fn roc_auc(&self) -> Option<Bracket> {
        let (mut below, mut wins, mut unknown) = (0.0, 0.0, 0.0);
        for it in &self.cells {
            wins += it.positive * (below + 0.5 * it.negative);
            if !is_tied(it.cell) {
                unknown += 0.5 * it.positive * it.negative;
            }
            below += it.negative;
        }
        let share = |wins| ratio(wins, self.positive * self.negative);
        let [lower, upper] = [share(wins - unknown)?, share(wins + unknown)?];
        Some(Bracket { value: share(wins)?, lower, upper })
    }

    /// Returns the average precision: the mean over positives of the precision at their score
    /// (scikit-learn's form, without interpolation). `None` without a positive.
    ///
    /// In an open cell of `a` positives and `b` negatives below which `t` positives and `f`
    /// negatives come first, the least is that of all negatives first, `Σ_j (t + j)/(t + f + b +
    /// j)`, and the greatest that of all positives first and tied, `a (t + a)/(t + f + a)`.
    pub fn average_precision(&self) -> Option<Bracket> {
        let (mut first, mut above) =
            ([0.0; 3], CurveCell { cell: 0, negative: 0.0, positive: 0.0 });
        for it in self.cells.iter().rev() {
            let precision = self.precisions(it, above);
            first = [0, 1, 2].map(|which| first[which] + precision[which]);
            above.positive += it.positive;
            above.negative += it.negative;
        }
        let [value, lower, upper] = first;
        let mean = |sum| ratio(sum, self.positive);
        // Rounding may put equal numbers a little apart.
        let (value, lower, upper) = (mean(value)?, mean(lower)?, mean(upper)?);
        Some(Bracket { value, lower: lower.min(value), upper: upper.max(value) })
    }

    /// Returns the sums of precisions over a cell's positives: in random order, least, greatest.
    fn precisions(&self, it: &CurveCell, above: CurveCell) -> [f64; 3] {
        let (a, b, rows) = (it.positive, it.negative, it.positive + it.negative);
        let seen = above.positive + above.negative;
        if is_tied(it.cell) || (self.origin == Origin::Counted && rows <= 1.0) {
            return [a * (above.positive + a) / (seen + rows); 3];
        }
        // The j-th row is positive with the probability a/rows, and then t + 1 + (j − 1)·step
        // positives are expected up to it.
        let step = match self.origin {
            Origin::Counted => (a - 1.0) / (rows - 1.0),
            Origin::Expected => a / rows,
        };
        let start = above.positive + 1.0 - step - step * seen;
        let value = a / rows * (rows * step + start * harmonic(seen, rows));
        let lower = a - (above.negative + b) * harmonic(seen + b, a);
        let upper = a * (above.positive + a) / (seen + a);
        [value, lower, if 0.0 < a { upper } else { 0.0 }]
    }

    /// Returns the greatest distance between the share of positives and that of negatives whose
    /// score is above a threshold: the Kolmogorov–Smirnov distance of the classes, which is the
    /// greatest informedness (Youden 1950). `None` when one class is missing.
    pub fn separation(&self) -> Option<Bracket> {
        let (mut reached, mut upper, [mut positive, mut negative]) = (0.0_f64, 0.0_f64, [0.0; 2]);
        for it in self.cells.iter().rev() {
            if !is_tied(it.cell) {
                let best = (positive + it.positive) / self.positive - negative / self.negative;
                upper = upper.max(best);
            }
            positive += it.positive;
            negative += it.negative;
            reached = reached.max(positive / self.positive - negative / self.negative);
        }
        let is_defined = 0.0 < self.positive && 0.0 < self.negative;
        let upper = upper.max(reached);
        is_defined.then_some(Bracket { value: reached, lower: reached, upper })
    }

    /// Returns how much more frequent positives are among the `share` of rows with the greatest
    /// scores than among all. Of the cell that the border cuts, its mean share is taken. `None`
    /// without a positive, or for a share that is not above 0 and at most 1.
    pub fn lift(&self, share: f64) -> Option<Bracket> {
        if !(0.0 < share && share <= 1.0) {
            return None;
        }
        let rows = self.positive + self.negative;
        let (mut left, mut found) = (share * rows, [0.0; 3]);
        for it in self.cells.iter().rev() {
            let taken = left.min(it.positive + it.negative);
            let mean = it.positive * taken / (it.positive + it.negative);
            let [least, most] = [(taken - it.negative).max(0.0), taken.min(it.positive)];
            found = [found[0] + mean, found[1] + least, found[2] + most];
            left -= taken;
        }
        let [value, lower, upper] = found;
        let lift = |found: f64| ratio(found * rows, share * rows * self.positive);
        Some(Bracket { value: lift(value)?, lower: lift(lower)?, upper: lift(upper)? })
    }

    /// Returns what each edge of the grid would do as the threshold, ascending.
    pub fn sweep(&self, grid: &ScoreGrid) -> Vec<ThresholdPoint> {
        let mut cells = self.cells.iter().peekable();
        let (mut below, mut points) = ([0.0; 2], Vec::with_capacity(grid.edges().len()));
        for (place, &threshold) in grid.edges().iter().enumerate() {
            while let Some(it) = cells.next_if(|it| it.cell <= 2 * place) {
                below = [below[0] + it.negative, below[1] + it.positive];
            }
            let [true_negative, false_negative] = below;
            let confusion = Confusion {
                true_positive: self.positive - false_negative,
                false_positive: self.negative - true_negative,
                false_negative,
                true_negative,
            };
            points.push(ThresholdPoint { threshold, confusion });
        }
        points
    }
}

/// Returns `1/(from + 1) + … + 1/(from + terms)`; for terms that are no whole number as the
/// digamma function continues it.
fn harmonic(from: f64, terms: f64) -> f64 {
    if terms.fract() == 0.0 && terms <= HARMONIC_TERMS {
        let mut place = terms;
        let mut sum = 0.0;
        while 0.0 < place {
            sum += 1.0 / (from + place);
            place -= 1.0;
        }
        return sum;
    }
    digamma(from + terms + 1.0) - digamma(from + 1.0)
}
