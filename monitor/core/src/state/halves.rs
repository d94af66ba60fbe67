//! Requests and responses that wait for their other half, as rows: one for each, and one for how
//! they are joined.
//!
//! Before: a partition's [`super::Checkpoint`]. After: [`super::restore()`] gives them back to the
//! partition's state. Under another configuration of the join they would be read as something else,
//! and are left behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::{PartitionId, Timestamp};
use driftd_ingest::Side;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Saver;
use super::body::Fingerprint;
use super::key::Key;
use super::restore::{Reading, RestoreError, Rows, read_row};
use crate::config::Config;
use crate::halves::{BySide, Halves, JoinCheckpoint, WaitingHalf};
use crate::partition::PartitionState;

/// How requests and responses of a partition are joined, and which of them wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JoinBody {
    /// Stays the first, whatever comes after it: rows of another form are told by it.
    fingerprint: Fingerprint,
    newest_record: Option<Timestamp>,
    paired_at: Timestamp,
    listed: Listed,
}

/// Which halves wait, so that rows that lost one do not pass for whole: of all there are, however
/// many, a half that comes or goes changes two numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Listed {
    count: u64,
    sum: u64,
}

impl Listed {
    fn add(&mut self, offset: i64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(hash(offset));
    }

    fn remove(&mut self, offset: i64) {
        self.count -= 1;
        self.sum = self.sum.wrapping_sub(hash(offset));
    }
}

/// # Panics
/// Never: SHA-256 gives 32 bytes.
fn hash(offset: i64) -> u64 {
    let hash = Sha256::digest(offset.to_le_bytes());
    u64::from_le_bytes(*hash.first_chunk().expect("SHA-256 gives 32 bytes"))
}

/// One that waits.
#[derive(Debug, Serialize, Deserialize)]
struct HalfBody {
    /// Stays the first, whatever comes after it: of rows that are left behind it is counted.
    is_response: bool,
    id: Arc<str>,
    since: Timestamp,
    time: Option<Timestamp>,
    document: Box<str>,
    envelope: Vec<Option<Box<[u8]>>>,
}

/// Form of the rows. Those of another one are left behind, as those that are joined otherwise.
const FORM: u32 = 2;

/// Returns how the halves of each topic are joined, and what is kept of each.
pub(super) fn joins(config: &Config) -> BTreeMap<Arc<str>, Fingerprint> {
    let sources = config.sources.iter().filter_map(|source| {
        let join = source.join.as_ref()?;
        let how = format!("{FORM} {} {:?}", join.described(), source.schema.envelope);
        Some((Arc::clone(&source.topic), Fingerprint::of_text(&how)))
    });
    sources.collect()
}

impl HalfBody {
    fn of(half: &WaitingHalf) -> Self {
        Self {
            is_response: half.side == Side::Response,
            id: Arc::clone(&half.id),
            since: half.since,
            time: half.time,
            document: half.document.clone(),
            envelope: half.envelope.clone(),
        }
    }

    fn into_half(self, offset: i64) -> WaitingHalf {
        let Self { is_response, id, since, time, document, envelope } = self;
        let side = if is_response { Side::Response } else { Side::Request };
        WaitingHalf { side, id, offset, since, time, document, envelope }
    }
}

impl Saver {
    /// Takes what became of the halves of a partition since its last checkpoint.
    pub(super) fn halves(&mut self, partition: &PartitionId, join: JoinCheckpoint) {
        let Some(fingerprint) = self.joins.get(&partition.topic).copied() else { return };
        let JoinCheckpoint { newest_record, paired_at, added, removed } = join;
        let stored = self.halves.get(partition);
        let mut listed = stored.map(|it| it.listed).unwrap_or_default();
        for offset in removed {
            listed.remove(offset);
            self.remove(Key::Half(partition.clone(), offset));
        }
        for half in added {
            listed.add(half.offset);
            self.put(Key::Half(partition.clone(), half.offset), &HalfBody::of(&half));
        }
        let body = JoinBody { fingerprint, newest_record, paired_at, listed };
        if self.halves.get(partition) != Some(&body) {
            self.put(Key::Join(partition.clone()), &body);
            self.halves.insert(partition.clone(), body);
        }
    }
}

impl Reading<'_> {
    /// Gives a partition the halves that wait in it.
    pub(super) fn halves(
        &mut self,
        rows: &Rows,
        state: &mut PartitionState,
    ) -> Result<(), RestoreError> {
        let id = state.id();
        let Some(body) = self.join_body(rows, id)? else { return self.forget_halves(rows, id) };
        let mut halves = Halves::new(body.newest_record);
        let mut listed = Listed::default();
        for (offset, key, row) in rows_of(rows, id) {
            let half: HalfBody = read_row(row, key)?;
            listed.add(offset);
            halves.insert(Arc::new(half.into_half(offset)));
        }
        if listed != body.listed {
            return Err(RestoreError::Torn { partition: id.clone() });
        }
        let (id, paired_at) = (id.clone(), body.paired_at);
        self.saver.halves.insert(id, body);
        state.restore_halves(halves, paired_at);
        Ok(())
    }

    /// Returns how the halves of a partition were joined, if that is how they are now.
    fn join_body(&self, rows: &Rows, id: &PartitionId) -> Result<Option<JoinBody>, RestoreError> {
        let key = Key::Join(id.clone());
        let Some(row) = rows.get(&key) else { return Ok(None) };
        let how: Fingerprint = read_row(row, &key)?;
        if self.saver.joins.get(&id.topic) != Some(&how) {
            return Ok(None);
        }
        read_row(row, &key).map(Some)
    }

    /// Refuses halves of partitions that are gone on with if nothing says which of them wait.
    pub(super) fn check_halves(&self, rows: &Rows) -> Result<(), RestoreError> {
        for key in rows.keys() {
            let Key::Half(id, _) = key else { continue };
            let is_read = self.config.source_of(&id.topic).is_some() && !self.begins_anew(id);
            if is_read && !rows.contains_key(&Key::Join(id.clone())) {
                return Err(RestoreError::Torn { partition: id.clone() });
            }
        }
        Ok(())
    }

    /// Removes what is stored of the halves of a partition, and counts them.
    pub(super) fn forget_halves(
        &mut self,
        rows: &Rows,
        id: &PartitionId,
    ) -> Result<(), RestoreError> {
        let join = Key::Join(id.clone());
        if rows.contains_key(&join) {
            self.saver.remove(join);
        }
        let mut left = BySide::default();
        for (_, key, row) in rows_of(rows, id) {
            let is_response: bool = read_row(row, key)?;
            left.add(if is_response { Side::Response } else { Side::Request });
            self.saver.remove(key.clone());
        }
        if 0 < left.sum() {
            self.left_halves.insert(id.clone(), left);
        }
        Ok(())
    }

    /// Tells partitions which of their halves are not gone on with.
    pub(super) fn tell_left_halves(&mut self, partitions: &mut [PartitionState]) {
        for state in partitions {
            if let Some(left) = self.left_halves.remove(state.id()) {
                state.leave_halves_behind(left);
            }
        }
    }
}

/// Returns the rows of a partition's halves, by offset.
fn rows_of<'a>(
    rows: &'a Rows,
    id: &PartitionId,
) -> impl Iterator<Item = (i64, &'a Key, &'a Vec<u8>)> {
    let all = Key::Half(id.clone(), i64::MIN)..=Key::Half(id.clone(), i64::MAX);
    rows.range(all).filter_map(|(key, row)| {
        if let Key::Half(_, offset) = key { Some((*offset, key, row)) } else { None }
    })
}

#[cfg(test)]
mod tests;
