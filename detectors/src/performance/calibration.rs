//! What a score means: the probability of a positive, learnt from a reference with labels.
//!
//! Before: a reference's [`super::binary`] or [`super::multiclass`] counts. After:
//! [`super::estimate`], which expects outcomes of it. Owns isotonic regression on cells and the
//! gate that leaves scores alone which are calibrated already.

use super::binary::BinaryCounts;
use super::curve::ScoreCurve;
use super::random::Random;
use super::scores::ScoreGrid;

/// Times that the reference is split to compare calibrated with raw scores, and the share of it
/// that is held back each time, as in NannyML 0.13.
const SPLITS: u32 = 10;
const HELD_BACK: f64 = 0.1;

/// Bins of equal rows of the calibration error that the gate compares.
const GATE_BINS: f64 = 10.0;

/// Scores that separate the classes this well need no calibration, and could not be given one.
const SEPARATED_AREA: f64 = 0.999;

/// A cell with reference rows and the probability of a positive there.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Knot {
    cell: usize,
    score: f64,
    probability: f64,
}

/// The probability of a positive by score, never falling.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// Ascending; empty when scores are taken as they are.
    knots: Vec<Knot>,
    /// The probability of each cell.
    probabilities: Vec<f64>,
}

impl Calibration {
    /// Takes scores as they are.
    pub fn identity(grid: &ScoreGrid) -> Self {
        let probabilities = (0..grid.cells()).map(|cell| grid.score_of(cell)).collect();
        Self { knots: Vec::new(), probabilities }
    }

    /// Fits the probability to counts by cell: isotonic regression by pooling adjacent violators
    /// (Ayer et al. 1955; Barlow et al. 1972), linear between the scores of filled cells and
    /// constant beyond them, as scikit-learn's. The curve was counted in this grid. Nothing without
    /// rows.
    pub fn isotonic(grid: &ScoreGrid, curve: &ScoreCurve) -> Option<Self> {
        let cells = curve.cells().iter();
        let pooled = pool(cells.map(|it| [it.positive, it.positive + it.negative]));
        let knots: Vec<Knot> = curve
            .cells()
            .iter()
            .zip(pooled)
            .map(|(it, probability)| Knot {
                cell: it.cell,
                score: grid.score_of(it.cell),
                probability,
            })
            .collect();
        if knots.is_empty() {
            return None;
        }
        let mut fitted = Self { knots, probabilities: Vec::new() };
        fitted.probabilities =
            (0..grid.cells()).map(|cell| fitted.between(cell, grid.score_of(cell))).collect();
        Some(fitted)
    }

    /// Fits the probability only where that lowers the calibration error of rows held back, as
    /// NannyML 0.13 does: isotonic regression makes good scores worse by its own noise. Also scores
    /// that separate the classes, and references of one class, are taken as they are. The same seed
    /// splits the same.
    pub fn gated(grid: &ScoreGrid, reference: &BinaryCounts, seed: u64) -> Self {
        let curve = reference.curve();
        let separates = curve.roc_auc().is_none_or(|area| SEPARATED_AREA < area.value);
        let raw = Self::identity(grid);
        if separates {
            return raw;
        }
        let mut random = Random::new(seed);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for _ in 0..SPLITS {
            let (kept, held_back) = split(&reference.labels_by_cell(), &mut random);
            let Some(fitted) = Self::isotonic(grid, &ScoreCurve::counted(kept.into_iter())) else {
                continue;
            };
            for (cell, [negative, positive]) in held_back.into_iter().enumerate() {
                let rows = negative + positive;
                before.push([raw.probabilities[cell], rows, positive]);
                after.push([fitted.probabilities[cell], rows, positive]);
            }
        }
        let helps = error_of_equal_bins(after) < error_of_equal_bins(before);
        if helps { Self::isotonic(grid, &curve).unwrap_or(raw) } else { raw }
    }

    /// Returns whether scores are taken as they are.
    pub fn is_identity(&self) -> bool {
        self.knots.is_empty()
    }

    /// Returns the probability of each cell.
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// Returns the probability that a score means.
    pub fn at(&self, grid: &ScoreGrid, score: f64) -> f64 {
        if self.is_identity() { score } else { self.between(grid.cell_of(score), score) }
    }

    /// Returns the expected calibration error of the probabilities on outcomes with labels, in ten
    /// bins of equal rows: how far an estimate made of them is off, before positive and negative
    /// errors cancel. Of the reference's own outcomes it is small; that it has grown on later ones
    /// says that estimates are no longer to be trusted. Nothing without scored rows, or for counts
    /// of other cells.
    pub fn error(&self, outcomes: &BinaryCounts) -> Option<f64> {
        let labels = outcomes.labels_by_cell();
        let rows: f64 = labels.iter().flatten().sum();
        let is_known = labels.len() == self.probabilities.len() && 0.0 < rows;
        let cells = labels.into_iter().zip(&self.probabilities);
        let cells = cells.map(|([negative, positive], &p)| [p, negative + positive, positive]);
        is_known.then(|| error_of_equal_bins(cells.collect()))
    }

    /// Returns whether the reference had scores on both sides of a cell, or in it: beyond them a
    /// probability is a guess. Of scores taken as they are nothing is learnt.
    pub(super) fn supports(&self, cell: usize) -> bool {
        match (self.knots.first(), self.knots.last()) {
            (Some(first), Some(last)) => (first.cell..=last.cell).contains(&cell),
            (None, _) | (_, None) => true,
        }
    }

    fn between(&self, cell: usize, score: f64) -> f64 {
        let place = self.knots.partition_point(|knot| knot.cell < cell);
        let above = self.knots.get(place);
        let below = place.checked_sub(1).and_then(|place| self.knots.get(place));
        match (below, above) {
            (_, Some(knot)) if knot.cell == cell => knot.probability,
            (Some(below), Some(above)) => {
                let share = (score - below.score) / (above.score - below.score);
                let rise = above.probability - below.probability;
                below.probability + share.clamp(0.0, 1.0) * rise
            }
            (Some(only), None) | (None, Some(only)) => only.probability,
            (None, None) => score,
        }
    }
}

/// Pools adjacent violators: returns for each `[hits, rows]` the mean of its pool.
fn pool(cells: impl Iterator<Item = [f64; 2]>) -> Vec<f64> {
    // Hits, rows, cells of each pool. Products of counts compare means without rounding as long as
    // they are below 2⁵³, and beyond by less than any interval.
    let mut pools: Vec<([f64; 2], usize)> = Vec::new();
    for it in cells {
        let (mut new, mut width) = (it, 1);
        while let Some(([hits, rows], cells)) =
            pools.pop_if(|([hits, rows], _)| new[0] * *rows <= *hits * new[1])
        {
            new = [new[0] + hits, new[1] + rows];
            width += cells;
        }
        pools.push((new, width));
    }
    pools
        .into_iter()
        .flat_map(|([hits, rows], cells)| std::iter::repeat_n(hits / rows, cells))
        .collect()
}

/// Splits rows at random: returns negatives and positives by cell of what is kept and held back.
fn split(cells: &[[f64; 2]], random: &mut Random) -> (Vec<[f64; 2]>, Vec<[f64; 2]>) {
    let mut draw = |rows: f64| {
        let held_back = random.binomial(rows, HELD_BACK);
        (rows - held_back, held_back)
    };
    let sides = cells.iter().map(|&[negative, positive]| {
        let ((kept_negative, negative), (kept_positive, positive)) =
            (draw(negative), draw(positive));
        ([kept_negative, kept_positive], [negative, positive])
    });
    sides.unzip()
}

/// Returns the expected calibration error of `[probability, rows, hits]` in bins of equal rows. A
/// cell that a border cuts is divided.
fn error_of_equal_bins(mut cells: Vec<[f64; 3]>) -> f64 {
    cells.sort_by(|[a, ..], [b, ..]| a.total_cmp(b));
    let rows: f64 = cells.iter().map(|[_, rows, _]| rows).sum();
    let (mut error, mut given, mut came, mut room) = (0.0, 0.0, 0.0, rows / GATE_BINS);
    for [probability, mut left, hits] in cells {
        let rate = if left == 0.0 { 0.0 } else { hits / left };
        while 0.0 < left {
            let taken = left.min(room);
            given += taken * probability;
            came += taken * rate;
            left -= taken;
            room -= taken;
            if room <= 0.0 {
                error += (given - came).abs();
                (given, came, room) = (0.0, 0.0, rows / GATE_BINS);
            }
        }
    }
    (error + (given - came).abs()) / rows
}
