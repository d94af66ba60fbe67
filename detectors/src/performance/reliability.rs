//! How often what was given a probability came true: the reliability curve and its error.
//!
//! Before: [`super::binary`] and [`super::multiclass`] add a probability and whether it came true.
//! After: the curve, and the expected and the greatest calibration error (Naeini et al. 2015).

use super::exact::ExactSum;
use super::outcome::OutcomeError;

/// Bins of equal width, the last closed: bin `min(⌊10 p⌋, 9)`.
pub const RELIABILITY_BINS: usize = 10;

const NOT_ADDED: OutcomeError = OutcomeError::NotAdded { what: "probabilities" };

/// One bin with the exact sum of its probabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReliabilityBin {
    /// Probabilities in the bin.
    pub rows: u64,
    /// Those that came true.
    pub hits: u64,
    /// Their sum.
    pub probability: ExactSum,
}

/// Counts of probabilities and of what came true, by bin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReliabilityCounts {
    /// The bins, ascending.
    pub bins: [ReliabilityBin; RELIABILITY_BINS],
}

/// A point of the reliability curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReliabilityPoint {
    /// Rows of the bin.
    pub rows: u64,
    /// Mean probability given.
    pub mean_probability: f64,
    /// Share that came true.
    pub hit_rate: f64,
}

impl ReliabilityCounts {
    /// Adds a probability.
    pub(super) fn add(&mut self, probability: f64, hit: bool) {
        let bin = &mut self.bins[bin_of(probability)];
        bin.probability.add(probability).expect("a probability is finite");
        bin.rows += 1;
        bin.hits += u64::from(hit);
    }

    /// Takes a probability away. On an error nothing was taken.
    pub(super) fn subtract(&mut self, probability: f64, hit: bool) -> Result<(), OutcomeError> {
        let bin = &mut self.bins[bin_of(probability)];
        let mut one = ReliabilityBin { rows: 1, hits: u64::from(hit), ..Default::default() };
        one.probability.add(probability).expect("a probability is finite");
        *bin = bin.without(&one).ok_or(NOT_ADDED)?;
        Ok(())
    }

    /// Adds other counts.
    pub(super) fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.bins.iter_mut().zip(&other.bins) {
            ours.rows += theirs.rows;
            ours.hits += theirs.hits;
            ours.probability.merge(&theirs.probability);
        }
    }

    /// Takes other counts away. On an error nothing was taken.
    pub(super) fn unmerge(&mut self, other: &Self) -> Result<(), OutcomeError> {
        let mut left = self.clone();
        for (ours, theirs) in left.bins.iter_mut().zip(&other.bins) {
            *ours = ours.without(theirs).ok_or(NOT_ADDED)?;
        }
        *self = left;
        Ok(())
    }

    /// Returns the curve: a point a bin that has rows.
    pub fn curve(&self) -> Vec<ReliabilityPoint> {
        let filled = self.bins.iter().filter(|bin| 0 < bin.rows);
        filled
            .map(|bin| ReliabilityPoint {
                rows: bin.rows,
                mean_probability: bin.probability.value() / bin.rows as f64,
                hit_rate: bin.hits as f64 / bin.rows as f64,
            })
            .collect()
    }

    /// Returns the expected calibration error: the mean distance of the curve from the diagonal,
    /// by rows. Nothing without rows.
    pub fn expected_error(&self) -> Option<f64> {
        let curve = self.curve();
        let rows: u64 = curve.iter().map(|point| point.rows).sum();
        let sum: f64 = curve.iter().map(|point| point.rows as f64 * point.gap()).sum();
        (0 < rows).then(|| sum / rows as f64)
    }

    /// Returns the greatest distance of the curve from the diagonal. Nothing without rows.
    pub fn greatest_error(&self) -> Option<f64> {
        self.curve().iter().map(ReliabilityPoint::gap).reduce(f64::max)
    }
}

impl ReliabilityBin {
    /// Returns what is left without `other`, or nothing if that was never added.
    fn without(&self, other: &Self) -> Option<Self> {
        let (rows, hits) = (self.rows.checked_sub(other.rows)?, self.hits.checked_sub(other.hits)?);
        let mut probability = self.probability;
        probability.unmerge(&other.probability);
        let is_possible = hits <= rows && (0 < rows || probability == ExactSum::ZERO);
        is_possible.then_some(Self { rows, hits, probability })
    }
}

impl ReliabilityPoint {
    fn gap(&self) -> f64 {
        (self.mean_probability - self.hit_rate).abs()
    }
}

fn bin_of(probability: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a probability is between 0 and 1"
    )]
    let bin = (RELIABILITY_BINS as f64 * probability) as usize;
    bin.min(RELIABILITY_BINS - 1)
}
