//! Begins partitions anew whose loss a person has accepted.
//!
//! Before: [`super::restore()`] has the rows of an earlier run, whole. After: what was counted of
//! such a partition and is in no closed pane is dropped, the partition is read from its oldest
//! record, and its [`LostTime`] is a row until another loss takes its place.

use std::collections::BTreeMap;

use driftd_catalog::{PartitionId, Timestamp};

use super::Row;
use super::body::PartitionBody;
use super::key::Key;
use super::restore::{Reading, RestoreError, Rows, keyed, read_row};
use crate::loss::{Accepted, LostNews, LostTime, Mark};
use crate::partition::PartitionState;

/// Where a partition of an earlier run goes on.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// Next offset to read.
    pub next_offset: i64,
    /// The newest record that was read, where it is known.
    pub mark: Option<Mark>,
}

/// Returns where the partitions of an earlier run go on.
pub fn stored_positions(rows: &[Row]) -> Result<BTreeMap<PartitionId, Stored>, RestoreError> {
    let rows = keyed(rows.iter().cloned())?;
    let mut positions = BTreeMap::new();
    for key in rows.keys() {
        if let Key::Partition(id) = key {
            positions.extend(stored(&rows, id)?.map(|stored| (id.clone(), stored)));
        }
    }
    Ok(positions)
}

/// Returns where one partition goes on; other rows may lie between its own.
pub fn stored_position(rows: &[Row], id: &PartitionId) -> Result<Option<Stored>, RestoreError> {
    stored(&keyed(rows.iter().cloned())?, id)
}

fn stored(rows: &Rows, id: &PartitionId) -> Result<Option<Stored>, RestoreError> {
    let key = Key::Partition(id.clone());
    let Some(row) = rows.get(&key) else { return Ok(None) };
    let PartitionBody { next_offset, .. } = read_row(row, &key)?;
    Ok(Some(Stored { next_offset, mark: mark(rows, id)? }))
}

/// Returns what the newest record that was read of a partition is known by.
pub(super) fn mark(rows: &Rows, id: &PartitionId) -> Result<Option<Mark>, RestoreError> {
    let key = Key::Mark(id.clone());
    rows.get(&key).map(|row| read_row(row, &key)).transpose()
}

impl Reading<'_> {
    /// Whether the loss of a partition is accepted.
    pub(super) fn begins_anew(&self, partition: &PartitionId) -> bool {
        self.accepted.iter().any(|it| it.partition == *partition)
    }

    /// Removes what is stored of where a partition goes on.
    pub(super) fn forget(&mut self, rows: &Rows, id: &PartitionId) -> Result<(), RestoreError> {
        let keys = [Key::Partition(id.clone()), Key::Mark(id.clone())];
        keys.into_iter()
            .filter(|key| rows.contains_key(key))
            .for_each(|key| self.saver.remove(key));
        self.forget_halves(rows, id)
    }

    /// Returns the lost time of partitions, of those that begin now too; each has to be read past
    /// by one of `partitions`.
    pub(super) fn lost(
        &mut self,
        rows: &Rows,
        partitions: &mut Vec<PartitionState>,
        now: Timestamp,
    ) -> Result<BTreeMap<PartitionId, LostTime>, RestoreError> {
        let mut lost: BTreeMap<PartitionId, LostTime> = BTreeMap::new();
        for (key, row) in rows {
            let Key::Lost(id) = key else { continue };
            if self.config.source_of(&id.topic).is_some() {
                lost.insert(id.clone(), read_row(row, key)?);
            } else {
                self.saver.remove(key.clone());
            }
        }
        for accepted in self.accepted {
            let id = &accepted.partition;
            let Some(source) = self.config.source_of(&id.topic) else { continue };
            let earlier = lost.get(id).copied();
            let Some(time) = self.lost_time(rows, accepted, source, earlier)? else { continue };
            self.saver.lost(id.clone(), &time);
            lost.insert(id.clone(), time);
        }
        // Also of those that are settled: a partition whose first checkpoint was not stored is no
        // new one, and does not begin where `start` says.
        for (id, time) in &lost {
            let Some(source) = self.config.source_of(&id.topic) else { continue };
            let uncounted = self.uncounted.remove(id).unwrap_or_default();
            let at = partitions.iter().position(|it| it.id() == id).unwrap_or_else(|| {
                let mut state = PartitionState::new(id.clone(), source, now);
                state.begin_to_count(uncounted);
                partitions.push(state);
                partitions.len() - 1
            });
            partitions[at].settle_at(time.ends_at());
        }
        Ok(lost)
    }

    /// Returns the lost time of a partition whose reader keeps it, and whether it begins now.
    pub(super) fn own_lost(
        &mut self,
        rows: &Rows,
        id: &PartitionId,
        source: usize,
    ) -> Result<Option<LostNews>, RestoreError> {
        let key = Key::OwnLost(id.clone());
        let earlier = rows.get(&key).map(|row| read_row::<LostTime>(row, &key)).transpose()?;
        let news = |begins| move |time| LostNews { time, begins };
        let Some(accepted) = self.accepted.iter().find(|it| it.partition == *id) else {
            return Ok(earlier.map(news(false)));
        };
        // Lanes close panes up to what came to them in transactions that moved the partition, too;
        // or without it, where it was silent or given up, and what comes then is late as ever.
        Ok(self.lost_time(rows, accepted, source, earlier)?.map(news(true)))
    }

    /// Returns what is lost of a partition whose loss is accepted; nothing of one that no run has
    /// read. Closed panes are stored at once, the partition's position with the next checkpoint, so
    /// they may reach beyond it. What is in them is of the log as it was, and what the log has for
    /// them now comes too late.
    fn lost_time(
        &self,
        rows: &Rows,
        accepted: &Accepted,
        source: usize,
        earlier: Option<LostTime>,
    ) -> Result<Option<LostTime>, RestoreError> {
        let key = Key::Partition(accepted.partition.clone());
        let Some(row) = rows.get(&key) else { return Ok(None) };
        let PartitionBody { event_time_max, .. } = read_row(row, &key)?;
        let counted = event_time_max.map(Timestamp::from_millis);
        let counted = counted.max(self.closed.get(&source).copied());
        let skew = self.config.sources[source].time.future_skew_max_millis;
        Ok(Some(LostTime::new(accepted, counted, skew, earlier)))
    }
}
