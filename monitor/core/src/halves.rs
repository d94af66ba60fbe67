//! Requests and responses of one partition that wait for their other half.
//!
//! Before: [`crate::join`] keeps a half that comes first. After: the partition's state has those
//! that wait at its offset, and the store those of its last checkpoint. Halves are shared, not
//! copied: who joins them and the partition's state mean the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::Timestamp;
use driftd_catalog::label::{
    JOIN_REASONS, REASON_DUPLICATE, REASON_EVICTED, REASON_EXPIRED, REASON_LEFT_BEHIND,
};
use driftd_ingest::Side;
use serde::{Deserialize, Serialize};

/// What a half takes beside its texts, in bytes. It decides which halves are left out, so it is no
/// measure of this program's.
pub const HALF_BYTES: u64 = 256;

/// A half that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingHalf {
    pub(crate) side: Side,
    pub(crate) id: Arc<str>,
    pub(crate) offset: i64,
    /// Newest record time of the partition when it came.
    pub(crate) since: Timestamp,
    /// Its own record time. Of a response, like what is beside it: those of a request are not read.
    pub(crate) time: Option<Timestamp>,
    /// What its document is written from.
    pub(crate) payload: Box<[u8]>,
    /// What the schema wants beside the payload.
    pub(crate) envelope: Vec<Option<Box<[u8]>>>,
}

impl WaitingHalf {
    /// Returns what it takes, by the same measure everywhere.
    pub(crate) fn bytes(&self) -> u64 {
        let beside: usize = self.envelope.iter().flatten().map(|it| it.len()).sum();
        HALF_BYTES + (self.id.len() + self.payload.len() + beside) as u64
    }
}

/// The halves that wait in a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Halves {
    /// Newest record time of all messages.
    newest: Option<Timestamp>,
    /// By their offsets, which is the order in which they came.
    waiting: BTreeMap<i64, Arc<WaitingHalf>>,
    bytes: u64,
}

impl Halves {
    pub(crate) fn new(newest: Option<Timestamp>) -> Self {
        Self { newest, ..Self::default() }
    }

    pub(crate) fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// Takes the record time of a message.
    pub(crate) fn pass(&mut self, time: Option<Timestamp>) {
        self.newest = self.newest.max(time);
    }

    pub(crate) fn insert(&mut self, half: Arc<WaitingHalf>) {
        self.bytes += half.bytes();
        if let Some(before) = self.waiting.insert(half.offset, half) {
            self.bytes -= before.bytes();
        }
    }

    pub(crate) fn remove(&mut self, offset: i64) -> Option<Arc<WaitingHalf>> {
        let half = self.waiting.remove(&offset)?;
        self.bytes -= half.bytes();
        Some(half)
    }

    pub(crate) fn get(&self, offset: i64) -> Option<&Arc<WaitingHalf>> {
        self.waiting.get(&offset)
    }

    /// Returns the one that came first.
    pub(crate) fn oldest(&self) -> Option<&Arc<WaitingHalf>> {
        self.waiting.first_key_value().map(|(_, half)| half)
    }

    /// Returns all of them in the order in which they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<WaitingHalf>> {
        self.waiting.values()
    }

    /// Returns how many there are, and what they take.
    pub fn waiting(&self) -> Waiting {
        Waiting { halves: self.waiting.len() as u64, bytes: self.bytes }
    }

    /// Takes what has changed since the news before.
    pub(crate) fn apply(&mut self, news: JoinNews) {
        self.newest = news.newest;
        for offset in news.removed {
            self.remove(offset);
        }
        for half in news.added.into_values() {
            self.insert(half);
        }
    }
}

/// How many halves wait, and what they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub halves: u64,
    /// What they take, in bytes.
    pub bytes: u64,
}

/// A number of requests, and one of responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BySide {
    /// Of requests.
    pub request: u64,
    /// Of responses.
    pub response: u64,
}

impl BySide {
    /// Returns the number of both.
    pub const fn sum(self) -> u64 {
        self.request + self.response
    }

    /// Returns the number of a side.
    pub const fn of(self, side: Side) -> u64 {
        match side {
            Side::Request => self.request,
            Side::Response => self.response,
        }
    }

    pub(crate) fn add(&mut self, side: Side) {
        match side {
            Side::Request => self.request += 1,
            Side::Response => self.response += 1,
        }
    }

    pub(crate) fn absorb(&mut self, next: Self) {
        self.request += next.request;
        self.response += next.response;
    }
}

/// What became of halves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinCounts {
    /// Pairs that were joined, whether or not what they make is a record.
    pub joined: u64,
    /// Halves whose other half did not come in time.
    pub expired: BySide,
    /// Halves that made room for later ones.
    pub evicted: BySide,
    /// Halves like one that waited already.
    pub duplicate: BySide,
    /// Stored halves that a start did not go on with.
    pub left_behind: BySide,
}

impl JoinCounts {
    /// Returns those that were not joined by their reason, all of [`JOIN_REASONS`].
    pub fn left_out(&self) -> [(&'static str, BySide); JOIN_REASONS.len()] {
        [
            (REASON_EXPIRED, self.expired),
            (REASON_EVICTED, self.evicted),
            (REASON_DUPLICATE, self.duplicate),
            (REASON_LEFT_BEHIND, self.left_behind),
        ]
    }

    /// Adds what came later.
    pub fn absorb(&mut self, next: Self) {
        self.joined += next.joined;
        self.expired.absorb(next.expired);
        self.evicted.absorb(next.evicted);
        self.duplicate.absorb(next.duplicate);
        self.left_behind.absorb(next.left_behind);
    }
}

/// What a batch of messages changed.
#[derive(Clone, Debug, Default)]
pub struct JoinNews {
    pub(crate) newest: Option<Timestamp>,
    /// Halves that wait since, by their offsets.
    pub(crate) added: BTreeMap<i64, Arc<WaitingHalf>>,
    /// Offsets of those that do no more.
    pub(crate) removed: Vec<i64>,
    /// What those take: the partition's state has them until it hears of it.
    pub(crate) removed_bytes: u64,
    pub(crate) counts: JoinCounts,
}

/// What changed since the checkpoint before, of one partition.
#[derive(Clone, Debug)]
pub(crate) struct JoinCheckpoint {
    pub(crate) newest_record: Option<Timestamp>,
    /// When a request and its response were last joined, by the clock on the wall.
    pub(crate) paired_at: Timestamp,
    /// Halves that wait since.
    pub(crate) added: Vec<Arc<WaitingHalf>>,
    /// Offsets of those that do no more, of which a checkpoint has told.
    pub(crate) removed: Vec<i64>,
}
