//! What one source partition contributes to one pane: counts, and the offsets they come from.
//!
//! Before: [`crate::shard`] makes partials. After: [`crate::merge`] adds those of all partitions.
//!
//! A partial is cumulative: it includes every record of its pane in `[from_offset, to_offset)` of
//! its partition. Of two partials of the same pane and partition, the one with the greater
//! `to_offset` therefore replaces the other, and a repeated one changes nothing.

use std::sync::Arc;

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use driftd_catalog::{PaneId, PartitionId, Timestamp};
use driftd_detectors::{FeatureCounts, FeatureReference};
use driftd_ingest::{categorical_column, numeric_column};

use crate::reference::ModelReference;

/// Counts of one pane in one source partition.
#[derive(Clone, Debug)]
pub struct Partial {
    /// The pane.
    pub pane: PaneId,
    /// Index into [`crate::config::Config::models`].
    pub model: usize,
    /// Where the records came from.
    pub partition: PartitionId,
    /// Offset of the first record inside.
    pub from_offset: i64,
    /// First offset not looked at.
    pub to_offset: i64,
    /// Event time of the newest record inside.
    pub event_time_max: Timestamp,
    /// Records inside.
    pub rows: u64,
    /// The reference counted against. Absent: rows were counted, features were not.
    pub reference: Option<Arc<ModelReference>>,
    /// One entry a watched column; empty without a reference.
    pub features: Vec<FeatureCounts>,
}

impl Partial {
    /// Returns the memory that the counts take; names and offsets are small beside them.
    pub(crate) fn bytes(&self) -> u64 {
        bytes(&self.features)
    }

    /// Adds rows of this pane: the columns stand in the order of the reference's features.
    pub(crate) fn add(&mut self, rows: &RecordBatch) {
        self.rows += rows.num_rows() as u64;
        let Some(reference) = &self.reference else { return };
        for ((counts, reference), column) in
            self.features.iter_mut().zip(&reference.features).zip(rows.columns())
        {
            count(counts, reference, column);
        }
    }
}

/// # Panics
/// When the column's type is not the reference's: both were checked against the configuration.
fn count(counts: &mut FeatureCounts, reference: &FeatureReference, column: &dyn Array) {
    match (counts, reference) {
        (FeatureCounts::Numeric(counts), FeatureReference::Numeric(reference)) => {
            let column = numeric_column(column).expect("a numeric feature has a numeric column");
            counts.update(&reference.grid, &column.column());
        }
        (FeatureCounts::Categorical(counts), FeatureReference::Categorical(reference)) => {
            let column =
                categorical_column(column).expect("a categorical feature has a dictionary");
            counts.update(&reference.levels, &column.column());
        }
        (FeatureCounts::Numeric(_), FeatureReference::Categorical(_))
        | (FeatureCounts::Categorical(_), FeatureReference::Numeric(_)) => {
            unreachable!("counts are made empty from the same reference")
        }
    }
}

/// Returns the memory that counts take.
pub(crate) fn bytes(features: &[FeatureCounts]) -> u64 {
    let counts = features.iter().map(|counts| match counts {
        FeatureCounts::Numeric(counts) => counts.cells.bytes(),
        FeatureCounts::Categorical(counts) => {
            (counts.levels.len() + counts.unseen_levels.len()) * size_of::<u64>()
        }
    });
    counts.sum::<usize>() as u64
}
