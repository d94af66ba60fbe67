//! Adds the partials of one pane from all source partitions.
//!
//! Before: [`crate::partial`]s arrive in any order, more than once. After: one [`Merged`] pane for
//! [`crate::panes`]. Of each partition the partial that looked furthest counts; the sum over
//! partitions does not depend on any order.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::{PaneId, PartitionId, Timestamp, WindowId};
use driftd_detectors::FeatureCounts;

use crate::partial::{Partial, bytes};
use crate::reference::ModelReference;

/// The partials of one pane that is still open in stage 2.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    partials: BTreeMap<PartitionId, Partial>,
}

/// Counts with the records of all partitions: of one window, or of a [`PaneId`].
#[derive(Clone, Debug)]
pub(crate) struct Merged<I = WindowId> {
    pub(crate) id: I,
    /// Index into [`crate::config::Config::models`].
    pub(crate) model: usize,
    pub(crate) rows: u64,
    pub(crate) event_time_max: Timestamp,
    /// `[from, to)` by partition.
    pub(crate) offsets: Vec<(PartitionId, i64, i64)>,
    /// Absent when there was none, or when partitions counted against different ones.
    pub(crate) reference: Option<Arc<ModelReference>>,
    /// One entry a watched column; empty without a reference.
    pub(crate) features: Vec<FeatureCounts>,
}

impl Pending {
    /// Takes a partial unless one that looked at least as far is there already; returns whether
    /// that makes more rows.
    pub(crate) fn insert(&mut self, partial: Partial) -> bool {
        let known = self.partials.get(&partial.partition);
        let (newest, rows) = known.map_or((i64::MIN, 0), |it| (it.to_offset, it.rows));
        if partial.to_offset <= newest {
            return false;
        }
        let is_more = rows < partial.rows;
        self.partials.insert(partial.partition.clone(), partial);
        is_more
    }

    /// Forgets what a partition reported; returns whether there is something of another.
    pub(crate) fn forget(&mut self, partition: &PartitionId) -> bool {
        self.partials.remove(partition);
        !self.partials.is_empty()
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
    pub(crate) fn merge(self) -> Option<Merged<PaneId>> {
        let mut partials = self.partials.into_values().map(Merged::from);
        let mut merged = partials.next()?;
        partials.for_each(|partial| merged.add(&partial));
        Some(merged)
    }
}

impl From<Partial> for Merged<PaneId> {
    fn from(partial: Partial) -> Self {
        Self {
            id: partial.pane,
            model: partial.model,
            rows: partial.rows,
            event_time_max: partial.event_time_max,
            offsets: vec![(partial.partition, partial.from_offset, partial.to_offset)],
            reference: partial.reference,
            features: partial.features,
        }
    }
}

impl<I> Merged<I> {
    /// Adds the counts of other partitions, or of another time.
    pub(crate) fn add<J>(&mut self, other: &Merged<J>) {
        self.rows += other.rows;
        self.event_time_max = self.event_time_max.max(other.event_time_max);
        for offsets in &other.offsets {
            self.add_offsets(offsets);
        }
        // Counts against different grids cannot be added: the window is then reported without a
        // reference.
        if self.has_reference_of(other) {
            for (sum, counts) in self.features.iter_mut().zip(&other.features) {
                sum.merge(counts).expect("counts against one reference have one shape");
            }
        } else {
            self.forget_reference();
        }
    }

    /// Leaves the number of rows alone, as of counts that cannot be compared.
    pub(crate) fn forget_reference(&mut self) {
        self.reference = None;
        self.features.clear();
    }

    /// Returns whether both were counted against the same reference, or both against none.
    pub(crate) fn has_reference_of<J>(&self, other: &Merged<J>) -> bool {
        self.reference_digest() == other.reference_digest()
    }

    pub(crate) fn reference_digest(&self) -> Option<&Arc<str>> {
        self.reference.as_ref().map(|reference| &reference.digest)
    }

    /// Gives the counts another identity.
    pub(crate) fn identified<J>(self, id: J) -> Merged<J> {
        let Self { id: _, model, rows, event_time_max, offsets, reference, features } = self;
        Merged { id, model, rows, event_time_max, offsets, reference, features }
    }

    /// Returns the memory that the counts take.
    pub(crate) fn bytes(&self) -> u64 {
        bytes(&self.features)
    }

    fn add_offsets(&mut self, (partition, from, to): &(PartitionId, i64, i64)) {
        match self.offsets.binary_search_by(|(known, _, _)| known.cmp(partition)) {
            Ok(at) => {
                let (_, known_from, known_to) = &mut self.offsets[at];
                *known_from = (*known_from).min(*from);
                *known_to = (*known_to).max(*to);
            }
            Err(at) => self.offsets.insert(at, (partition.clone(), *from, *to)),
        }
    }
}
