//! What one partition holds in stage 1, as rows of a store that its readers share.
//!
//! Before: the partition's [`Checkpoint`]s. After: the edge writes each [`Batch`] together with
//! what the partition told stage 2, and whoever reads the partition next begins with
//! [`restore_partition`].

use std::sync::Arc;

use driftd_catalog::{PartitionId, Timestamp};

use super::body::Find;
use super::restore::{Reading, RestoreError, keyed};
use super::{Batch, Checkpoint, Row, Saver};
use crate::config::Config;
use crate::loss::Accepted;
use crate::partition::PartitionState;

/// Notes what of a partition is stored.
#[derive(Debug)]
pub struct PartitionSaver(Saver);

impl PartitionSaver {
    /// Returns what changed since the last checkpoint of the partition.
    pub fn batch(&mut self, checkpoint: Checkpoint) -> Batch {
        self.0.checkpoint(checkpoint);
        self.0.take()
    }
}

/// Goes on where the rows of the partition end; from nothing, where there are none. Rows of others
/// may lie between them.
///
/// Windows that were counted otherwise are left out, and stage 2 is told with the next report. So
/// it is where a person has accepted that records are lost: the partition begins anew at its oldest
/// record.
pub fn restore_partition(
    config: &Arc<Config>,
    (id, source): (PartitionId, usize),
    rows: impl IntoIterator<Item = Row>,
    find: Find<'_>,
    (accepted, now): (Option<&Accepted>, Timestamp),
) -> Result<(PartitionState, PartitionSaver), RestoreError> {
    let mut rows = keyed(rows)?;
    rows.retain(|key, _| key.reader() == Some(&id));
    let losses = accepted.map_or(&[][..], std::slice::from_ref);
    let mut reading =
        Reading { accepted: losses, ..Reading::new(config, Saver::new(config), find) };
    let restored = reading.partitions(&rows, now)?.pop();
    let lost = reading.own_lost(&rows, &id, source)?;
    let uncounted = reading.uncounted.remove(&id);
    let fresh = |id| match accepted {
        Some(it) => PartitionState::new(id, source, now).starting_at(it.start),
        None => PartitionState::new(id, source, now),
    };
    let mut state = restored.unwrap_or_else(|| fresh(id));
    reading.tell_left_halves(std::slice::from_mut(&mut state));
    let Reading { saver, dropped, .. } = reading;
    if let Some(models) = uncounted {
        state.begin_to_count(models);
    }
    if let Some(news) = lost {
        state.keep_lost(news);
    }
    state.leave_behind(dropped.into_keys());
    Ok((state, PartitionSaver(saver)))
}
