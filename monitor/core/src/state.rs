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
mod key;
mod restore;
mod save;

pub(crate) use body::{ModelBody, SegmentBody};
pub use restore::{Dropped, RestoreError, Restored, restore};
pub(crate) use save::{Parts, Saver};

use driftd_catalog::{PaneId, PartitionId, Timestamp};

use crate::partial::Partial;

/// Version of the rows. Others are refused: a number read as something else is worse than none.
pub const FORMAT: u32 = 2;

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
    /// Every open pane; the counts of those that changed since the last checkpoint.
    pub(crate) open: Vec<(PaneId, Option<Partial>)>,
}
