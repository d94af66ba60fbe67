//! Requests and responses that wait for their other half, as rows: one for each, and one for how
//! they are joined.
//!
//! Before: a partition's [`super::Checkpoint`]. After: [`super::restore()`] gives them back to the
//! partition's state. Under another configuration of the join they would be read as something else,
//! and are left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use driftd_catalog::{PartitionId, Timestamp};
use driftd_ingest::Side;
use serde::{Deserialize, Serialize};

use super::Saver;
use super::body::{Fingerprint, Manifest};
use super::key::Key;
use super::restore::{Reading, RestoreError, Rows, read_row};
use crate::config::Config;
use crate::halves::{Halves, WaitingHalf};
use crate::partition::PartitionState;

/// How requests and responses of a partition are joined, and which of them wait.
#[derive(Debug, Serialize, Deserialize)]
struct JoinBody {
    /// Stays the first, whatever comes after it: rows of another form are told by it.
    fingerprint: Fingerprint,
    newest_record: Option<Timestamp>,
    paired_at: Timestamp,
    manifest: Manifest,
}

/// One that waits.
#[derive(Debug, Serialize, Deserialize)]
struct HalfBody {
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
    /// Takes the halves that wait in a partition now, and those of them that are new.
    pub(super) fn halves(
        &mut self,
        partition: &PartitionId,
        (newest_record, paired_at): (Option<Timestamp>, Timestamp),
        halves: Vec<(i64, Option<Arc<WaitingHalf>>)>,
    ) {
        let Some(fingerprint) = self.joins.get(&partition.topic).copied() else { return };
        let mut gone = self.halves.remove(partition).unwrap_or_default();
        let mut kept = BTreeSet::new();
        for (offset, fresh) in halves {
            gone.remove(&offset);
            kept.insert(offset);
            if let Some(half) = fresh {
                self.put(Key::Half(partition.clone(), offset), &HalfBody::of(&half));
            }
        }
        for offset in gone {
            self.remove(Key::Half(partition.clone(), offset));
        }
        let manifest = Manifest::of(&kept);
        let body = JoinBody { fingerprint, newest_record, paired_at, manifest };
        self.put(Key::Join(partition.clone()), &body);
        self.halves.insert(partition.clone(), kept);
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
        let Some(body) = self.join_body(rows, id)? else {
            self.forget_halves(rows, id);
            return Ok(());
        };
        let mut halves = Halves::new(body.newest_record);
        let mut kept = BTreeSet::new();
        for (offset, key, row) in rows_of(rows, id) {
            let half: HalfBody = read_row(row, key)?;
            kept.insert(offset);
            halves.insert(Arc::new(half.into_half(offset)));
        }
        if Manifest::of(&kept) != body.manifest {
            return Err(RestoreError::Torn { partition: id.clone() });
        }
        self.saver.halves.insert(id.clone(), kept);
        state.restore_halves(halves, body.paired_at);
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

    /// Removes what is stored of the halves of a partition.
    pub(super) fn forget_halves(&mut self, rows: &Rows, id: &PartitionId) {
        let join = Key::Join(id.clone());
        if rows.contains_key(&join) {
            self.saver.remove(join);
        }
        for (_, key, _) in rows_of(rows, id) {
            self.saver.remove(key.clone());
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
