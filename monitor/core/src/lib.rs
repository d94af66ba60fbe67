//! The sans-io pipeline: from decoded batches to closed windows, verdicts, episodes and retraining
//! events.
//!
//! A record's way, one file a hop:
//! 1. [`shard`] takes a decoded batch of one partition; [`group`](self) sorts its rows into panes
//!    and [`partition`](self) counts them against the model's [`mod@reference`].
//! 2. [`partial`]s leave the shard when the partition has passed a pane.
//! 3. [`pipeline`] collects them, closes panes that every partition has passed, and adds them up;
//!    [`panes`](self) keeps those that windows are made of.
//! 4. `evaluate` compares a window with its reference; the answer is a [`result::WindowResult`].
//! 5. Policies turn answers into episodes and retraining events; a [`snapshot::Snapshot`] shows
//!    everything.
//!
//! Nothing here reads a clock, a file, a socket, the environment or a random number: time is an
//! argument and the outside is [`event::Event`]s and [`event::Effect`]s. Equal inputs give
//! bit-equal outputs.

pub mod config;
mod digest;
mod evaluate;
pub mod event;
pub mod fields;
pub mod footprint;
mod gaps;
mod group;
pub mod halves;
pub mod history;
pub mod inspect;
pub mod join;
pub mod labels;
mod line;
pub mod loss;
mod merge;
mod models;
pub mod outcomes;
pub mod output;
mod panes;
pub mod partial;
mod partition;
pub mod pipeline;
pub mod profile;
pub mod reference;
pub mod result;
mod retraining;
pub mod sample;
pub mod shard;
pub mod snapshot;
mod sources;
pub mod state;
mod window;
mod windows;

pub use digest::Digest;
pub use line::FeatureLine;
pub use partition::PartitionState;
