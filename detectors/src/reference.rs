//! What one feature looked like in the reference: frozen cells and the reference's own counts.
//!
//! Before: a stored profile or a reference sample. After: [`crate::decision`], which compares a
//! window's counts with it.

use std::sync::Arc;

use crate::counts::{CategoricalCounts, FeatureCounts, NumericCounts};
use crate::grid::Grid;
use crate::levels::Levels;

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
