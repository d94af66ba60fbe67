//! What one feature looked like in the reference: frozen cells and the reference's own counts.
//!
//! Before: a stored profile or a reference sample. After: [`crate::decision`], which compares a
//! window's counts with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::counts::{CategoricalCounts, FeatureCounts, NumericCounts};
use crate::grid::Grid;
use crate::levels::{LEVELS_MAX, Levels, LevelsError};

/// Most rows, as a share, that may go from named levels to unseen ones without any drift.
const UNSEEN_EXCESS: f64 = 0.01;

/// So few rows do not count as such an excess, however small the sample.
const UNSEEN_EXCESS_ROWS: f64 = 10.0;

/// The reference of a numeric feature.
#[derive(Clone, Debug, PartialEq)]
pub struct NumericReference {
    /// The frozen cells.
    pub grid: Arc<Grid>,
    /// The reference sample counted into them.
    pub counts: NumericCounts,
}

/// The reference of a categorical feature.
#[derive(Clone, Debug, PartialEq)]
pub struct CategoricalReference {
    /// The frozen levels.
    pub levels: Arc<Levels>,
    /// The reference sample counted by them.
    pub counts: CategoricalCounts,
}

impl CategoricalReference {
    /// Freezes a sample from its rows by level, each level once.
    ///
    /// Rare levels are counted as unseen, as a window's new ones are: see [`least_named`]. Of those
    /// with rows enough the most frequent are named, of equal ones the first by code point.
    pub fn of_sample(mut rows: Vec<(Box<str>, u64)>, null: u64) -> Result<Self, LevelsError> {
        let present: u64 = rows.iter().map(|(_, rows)| rows).sum();
        let least = least_named(rows.iter().map(|(_, rows)| *rows));
        rows.retain(|(_, rows)| least <= *rows);
        rows.sort_by(|(name, rows), (other, others)| others.cmp(rows).then(name.cmp(other)));
        rows.truncate(LEVELS_MAX);
        rows.sort_unstable();
        let (names, levels): (Vec<_>, Vec<u64>) = rows.into_iter().unzip();
        let unseen = present - levels.iter().sum::<u64>();
        let counts = CategoricalCounts { levels, null, unseen, unseen_levels: BTreeMap::new() };
        Ok(Self { levels: Arc::new(Levels::try_new(names)?), counts })
    }
}

/// Returns the least rows of a level that is named.
///
/// Naming levels by the sample flatters them: with `N_k` levels of exactly `k` rows, the levels of
/// `k` rows and more are expected to lose `k N_k` of `n` rows to unseen ones in the next sample,
/// `k = 1` being the missing mass of Good (1953, Biometrika 40). With a long tail that is drift for
/// every detector while nothing moved. The least `k` with a small loss is taken, so that a sample
/// with few rare levels keeps them all.
fn least_named(rows: impl Iterator<Item = u64>) -> u64 {
    let (mut levels_by_rows, mut present) = (BTreeMap::<u64, u64>::new(), 0);
    for rows in rows {
        *levels_by_rows.entry(rows).or_insert(0) += 1;
        present += rows;
    }
    let most = (UNSEEN_EXCESS * present as f64).max(UNSEEN_EXCESS_ROWS);
    let mut least = 1;
    while levels_by_rows.get(&least).is_some_and(|levels| most < (least * levels) as f64) {
        least += 1;
    }
    least
}

/// The reference of one feature.
#[derive(Clone, Debug, PartialEq)]
pub enum FeatureReference {
    /// Numbers, counted into the cells of a grid.
    Numeric(NumericReference),
    /// Texts, counted by level.
    Categorical(CategoricalReference),
}

impl FeatureReference {
    /// Returns the number of rows of the reference sample.
    pub fn rows(&self) -> u64 {
        match self {
            Self::Numeric(numeric) => numeric.counts.rows(),
            Self::Categorical(categorical) => categorical.counts.rows(),
        }
    }

    /// Returns the number of its rows with a finite value or a level.
    pub fn present(&self) -> u64 {
        match self {
            Self::Numeric(numeric) => numeric.counts.present(),
            Self::Categorical(categorical) => categorical.counts.present(),
        }
    }

    /// Returns the bytes of its cells. References of one feature that were counted into the same
    /// cells share them.
    pub fn cells_bytes(&self) -> usize {
        match self {
            Self::Numeric(numeric) => numeric.grid.bytes(),
            Self::Categorical(categorical) => categorical.levels.bytes(),
        }
    }

    /// Returns the bytes of everything else of it.
    pub fn counts_bytes(&self) -> usize {
        let counts = match self {
            Self::Numeric(numeric) => numeric.counts.cells.bytes(),
            Self::Categorical(categorical) => size_of_val(&*categorical.counts.levels),
        };
        size_of::<Self>() + counts
    }

    /// Returns whether `counts` were made in this reference's cells.
    pub(crate) fn admits(&self, counts: &FeatureCounts) -> bool {
        match (self, counts) {
            (Self::Numeric(ours), FeatureCounts::Numeric(theirs)) => {
                let cells = ours.grid.cells();
                ours.counts.cells.len() == cells && theirs.cells.len() == cells
            }
            (Self::Categorical(ours), FeatureCounts::Categorical(theirs)) => {
                let levels = ours.levels.names().len();
                ours.counts.levels.len() == levels && theirs.levels.len() == levels
            }
            (Self::Numeric(_), FeatureCounts::Categorical(_))
            | (Self::Categorical(_), FeatureCounts::Numeric(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rows: impl Iterator<Item = u64>) -> CategoricalReference {
        let named = rows.enumerate().map(|(level, rows)| (format!("{level:05}").into(), rows));
        CategoricalReference::of_sample(named.collect(), 7).unwrap()
    }

    #[test]
    fn a_few_rare_levels_are_named() {
        let few = sample([900, 1, 80, 1, 18].into_iter());
        assert_eq!((few.counts.levels, few.counts.unseen), (vec![900, 1, 80, 1, 18], 0));
        assert_eq!(few.counts.null, 7);
        let balanced = sample(std::iter::repeat_n(3, 400));
        assert_eq!(balanced.counts.levels.len(), 400);
    }

    #[test]
    fn rare_levels_are_unseen_until_the_next_sample_would_lose_few_named_rows() {
        // Of 10,000 rows 300 and 200 are in levels of one and two rows: above the 1 % that may go.
        let tail = || std::iter::repeat_n(1, 300).chain(std::iter::repeat_n(2, 100));
        let pooled = sample([9_440, 30, 27].into_iter().chain([3]).chain(tail()));
        assert_eq!((pooled.counts.levels, pooled.counts.unseen), (vec![9_440, 30, 27, 3], 500));
    }

    #[test]
    fn the_most_frequent_levels_are_named_when_there_are_too_many() {
        let most = sample(std::iter::repeat_n(3, LEVELS_MAX + 3).chain([4]));
        assert_eq!(most.levels.names().len(), LEVELS_MAX);
        assert_eq!(most.levels.names().last().map(AsRef::as_ref), Some("04099"));
        assert_eq!((most.counts.unseen, most.counts.rows()), (12, 3 * 4_099 + 4 + 7));
    }
}
