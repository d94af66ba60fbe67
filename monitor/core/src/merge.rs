//! Adds the partials of one window from all source partitions.
//!
//! Before: [`crate::partial`]s arrive in any order, more than once. After: one [`Merged`] window
//! for [`crate::evaluate`]. Of each partition the partial that looked furthest counts; the sum over
//! partitions does not depend on any order.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::{PartitionId, Timestamp, WindowId};
use driftd_detectors::FeatureCounts;

use crate::partial::Partial;
use crate::reference::ModelReference;

/// The partials of one window that is still open in stage 2.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    partials: BTreeMap<PartitionId, Partial>,
}

/// One window with the records of all its partitions.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) id: WindowId,
    /// Index into [`crate::config::Config::models`].
    pub(crate) model: usize,
    pub(crate) rows: u64,
    pub(crate) event_time_max: Timestamp,
    pub(crate) offsets: Vec<(PartitionId, i64, i64)>,
    /// Absent when there was none, or when partitions counted against different ones.
    pub(crate) reference: Option<Arc<ModelReference>>,
    /// One entry a watched column; empty without a reference.
    pub(crate) features: Vec<FeatureCounts>,
}

impl Pending {
    /// Takes a partial unless one that looked at least as far is there already.
    pub(crate) fn insert(&mut self, partial: Partial) {
        let newest = self.partials.get(&partial.partition).map(|known| known.to_offset);
        if newest.is_none_or(|newest| newest < partial.to_offset) {
            self.partials.insert(partial.partition.clone(), partial);
        }
    }

    /// Returns what each partition reported.
    pub(crate) fn partials(&self) -> impl Iterator<Item = &Partial> {
        self.partials.values()
    }

    /// Returns the memory that the counts take.
    pub(crate) fn bytes(&self) -> u64 {
        self.partials.values().map(Partial::bytes).sum()
    }

    /// Returns the rows that each partition contributes.
    pub(crate) fn rows(&self) -> BTreeMap<PartitionId, u64> {
        self.partials.iter().map(|(id, partial)| (id.clone(), partial.rows)).collect()
    }

    /// Adds everything up. `None` when no partition had a record.
    pub(crate) fn merge(self) -> Option<Merged> {
        let mut partials = self.partials.into_values();
        let mut merged = Merged::from(partials.next()?);
        for partial in partials {
            merged.add(partial);
        }
        Some(merged)
    }
}

impl From<Partial> for Merged {
    fn from(partial: Partial) -> Self {
        Self {
            id: partial.window,
            model: partial.model,
            rows: partial.rows,
            event_time_max: partial.event_time_max,
            offsets: vec![(partial.partition, partial.from_offset, partial.to_offset)],
            reference: partial.reference,
            features: partial.features,
        }
    }
}

impl Merged {
    fn add(&mut self, partial: Partial) {
        self.rows += partial.rows;
        self.event_time_max = self.event_time_max.max(partial.event_time_max);
        self.offsets.push((partial.partition, partial.from_offset, partial.to_offset));
        let digest = |reference: &Option<Arc<ModelReference>>| {
            reference.as_ref().map(|reference| Arc::clone(&reference.digest))
        };
        // Counts against different grids cannot be added: the window is then reported without a
        // reference.
        if digest(&self.reference) == digest(&partial.reference) {
            for (sum, counts) in self.features.iter_mut().zip(&partial.features) {
                sum.merge(counts).expect("counts against one reference have one shape");
            }
        } else {
            self.reference = None;
            self.features.clear();
        }
    }
}
