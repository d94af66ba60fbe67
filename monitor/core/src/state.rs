//! What survives a restart, as rows of a key-value store.
//!
//! Before: [`crate::pipeline`] and the shards' [`Checkpoint`]s. After: the edge writes each
//! [`Batch`] atomically, and gives all rows back to [`restore()`] at the next start.
//!
//! The rows of one batch are a consistent cut, although the shards go on counting meanwhile: a
//! checkpoint says what a partition held at an offset, and comes behind everything that the
//! partition reported before it. What stage 2 knows beyond that offset is reported again after a
//! restart, and changes nothing the second time: partials are cumulative
//! ([`crate::partial`]), and of a closed pane the rows that are in it are remembered
//! ([`crate::windows`]).

mod body;
mod halves;
mod key;
mod labels;
mod lane;
mod loss;
mod outbox;
mod partition;
mod restore;
mod save;
mod seal;
mod store;

pub use body::Find;
pub(crate) use body::{Counted, ModelBody, SegmentBody};
pub use lane::{Addressed, LaneId, LaneReader, LaneRowError, LaneWriter, lane_of};
pub use loss::{Stored, stored_position, stored_positions};
pub(crate) use outbox::Outbox;
pub use outbox::{Opening, Position, Standing, StoreId};
pub use partition::{PartitionSaver, restore_partition};
pub use restore::{Dropped, RestoreError, Restored, restore, restore_accepting, restore_lane};
pub(crate) use save::{Parts, Saver};
pub(crate) use seal::Seal;
pub use store::{MemoryStore, Store};

use driftd_catalog::{PaneId, PartitionId, Timestamp};
use serde::Serialize;

use crate::config::Config;
use crate::halves::JoinCheckpoint;
use crate::loss::{LostTime, Mark};
use crate::partial::Partial;
use body::Fingerprint;

/// Version of the rows. Others are refused: a number read as something else is worse than none.
pub const FORMAT: u32 = 4;

/// Changes that belong together: all of them are stored, or none.
pub type Batch = Vec<Change>;

/// A row as it is stored: its key and its content.
pub type Row = (Vec<u8>, Vec<u8>);

/// A row that is written, or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its key.
    pub key: Vec<u8>,
    /// Its new content; `None` removes it.
    pub value: Option<Vec<u8>>,
}

/// What one partition holds in stage 1, at one offset.
#[derive(Debug)]
pub struct Checkpoint {
    pub(crate) partition: PartitionId,
    pub(crate) next_offset: i64,
    pub(crate) event_time_max: Option<Timestamp>,
    /// Models that it has not begun to count, by index into [`Config::models`].
    pub(crate) waiting: Vec<usize>,
    pub(crate) mark: Option<Mark>,
    /// Time of which records are lost, where the reader keeps it.
    pub(crate) lost: Option<LostTime>,
    /// What became of requests and responses that wait, where they are joined.
    pub(crate) join: JoinCheckpoint,
    /// Every open pane; the counts of those that changed since the last checkpoint.
    pub(crate) open: Vec<(PaneId, Option<Partial>)>,
}

impl Checkpoint {
    /// Whose it is.
    pub fn partition(&self) -> &PartitionId {
        &self.partition
    }
}

/// Returns how each model is counted, by index into [`Config::models`].
fn fingerprints(config: &Config) -> Vec<Fingerprint> {
    (0..config.models.len()).map(|model| Fingerprint::of(config, model)).collect()
}

/// # Panics
/// Never: every body has a written form.
fn encode(body: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(body).expect("bodies are made of text and numbers")
}
