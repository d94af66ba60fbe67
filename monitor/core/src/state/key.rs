//! Names of rows.

use std::sync::Arc;

use driftd_catalog::{ModelId, PaneId, PartitionId, WindowId};
use serde::{Deserialize, Serialize};

use crate::gaps::GapKey;
use crate::panes::SliceKey;

/// What a row holds. The order of the variants is part of the format.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Key {
    /// [`super::FORMAT`].
    Format,
    /// How far a partition was read.
    Partition(PartitionId),
    /// A pane that a partition still counts.
    Open(PartitionId, PaneId),
    /// A pane that stage 2 holds until all partitions have passed it.
    Pending(PartitionId, PaneId),
    /// The closed panes of a model version that partitions may still report.
    Closed(ModelId),
    /// A closed window, for the history.
    Result(WindowId),
    /// What is shown of models beside their history.
    Models,
    /// Episodes, open and on the way.
    Episodes,
    /// Requests for retraining, and what was told of them.
    Retraining,
    /// Sums over everything, the digest among them.
    Totals,
    /// How far a lane's topic partition was read.
    Input,
    /// How far a partition had come when it last told a lane.
    Barrier(PartitionId),
    /// Which store this is, and how far its outbox is.
    Store,
    /// A message on its way to its topic, by its number.
    Outbox(u64),
    /// The sum of all other rows.
    Seal,
    /// How far the windows of a model version are, while closed panes of it are kept.
    Course(ModelId),
    /// Closed panes that windows still need.
    Slice(SliceKey),
    /// A stretch that counts of a partition are missing from.
    Gap(GapKey),
    /// Event time of which a partition's records may be lost.
    Lost(PartitionId),
    /// The newest record that was read of a partition.
    Mark(PartitionId),
    /// The same as `Lost`, as it is kept by the partition's reader where others decide.
    OwnLost(PartitionId),
    /// How requests and responses of a partition are joined, and which of them wait.
    Join(PartitionId),
    /// One that waits, by its offset.
    Half(PartitionId, i64),
    /// How far labels and predictions of a model were joined, by its name.
    Labels(Arc<str>),
    /// What predictions are counted in, by the model's name and a number.
    Cohort(Arc<str>, u32),
}

impl Key {
    /// Returns the partition whose reader writes the row; the other rows are of stage 2.
    pub(super) fn reader(&self) -> Option<&PartitionId> {
        if let Self::Partition(partition)
        | Self::Open(partition, _)
        | Self::Mark(partition)
        | Self::OwnLost(partition)
        | Self::Join(partition)
        | Self::Half(partition, _) = self
        {
            Some(partition)
        } else {
            None
        }
    }

    /// # Panics
    /// Never: every part of a key has a written form.
    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("keys are made of text and numbers")
    }
}
