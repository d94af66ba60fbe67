//! The vocabulary that every other crate shares: identities, points in time, metric names,
//! and the shapes of the events that leave the process.
//!
//! Nothing here computes or does I/O. A name that a scrape, a dashboard, an alert rule and the
//! documentation must agree on is spelled once, in this crate.

pub mod event;
mod id;
pub mod label;
pub mod metric;

pub use id::{
    ModelId, NameError, PaneId, PartitionId, SegmentId, Timestamp, TimestampError, WindowId,
    WindowSpan,
};
