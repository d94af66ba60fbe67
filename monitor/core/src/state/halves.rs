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

/// How requests and responses of a partition are joined, and which of them wait.
#[derive(Debug, Serialize, Deserialize)]
struct JoinBody {
    fingerprint: Fingerprint,
    newest_record: Option<Timestamp>,
    manifest: Manifest,
}

/// One that waits.
#[derive(Debug, Serialize, Deserialize)]
struct HalfBody {
    is_response: bool,
    id: Arc<str>,
    since: Timestamp,
    time: Option<Timestamp>,
    payload: Box<[u8]>,
    envelope: Vec<Option<Box<[u8]>>>,
}

/// Returns how the halves of each topic are joined, and what is kept of each.
pub(super) fn joins(config: &Config) -> BTreeMap<Arc<str>, Fingerprint> {
    let sources = config.sources.iter().filter_map(|source| {
        let join = source.join.as_ref()?;
        let how =
            Fingerprint::of_text(&format!("{} {:?}", join.described(), source.schema.envelope));
        Some((Arc::clone(&source.topic), how))
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
            payload: half.payload.clone(),
            envelope: half.envelope.clone(),
        }
    }

    fn into_half(self, offset: i64) -> WaitingHalf {
        let Self { is_response, id, since, time, payload, envelope } = self;
        let side = if is_response { Side::Response } else { Side::Request };
        WaitingHalf { side, id, offset, since, time, payload, envelope }
    }
}

impl Saver {
    /// Takes the halves that wait in a partition now, and those of them that are new.
    pub(super) fn halves(
        &mut self,
        partition: &PartitionId,
        newest_record: Option<Timestamp>,
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
        let body = JoinBody { fingerprint, newest_record, manifest };
        self.put(Key::Join(partition.clone()), &body);
        self.halves.insert(partition.clone(), kept);
    }
}

impl Reading<'_> {
    /// Returns the halves that wait in a partition.
    pub(super) fn halves(&mut self, rows: &Rows, id: &PartitionId) -> Result<Halves, RestoreError> {
        let key = Key::Join(id.clone());
        let body = rows.get(&key).map(|row| read_row::<JoinBody>(row, &key)).transpose()?;
        let own = self.saver.joins.get(&id.topic);
        let Some(body) = body.filter(|it| own == Some(&it.fingerprint)) else {
            self.forget_halves(rows, id);
            return Ok(Halves::default());
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
        Ok(halves)
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
