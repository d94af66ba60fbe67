//! The sans-io core as the edge drives it: logs read in any cut and order, by any number of shards,
//! against an obvious recount of the same logs.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod alignment;
mod alone;
mod cluster;
mod damage;
mod deeds;
mod durability;
mod extremes;
mod faulty;
mod growth;
mod joining;
mod joining_shared;
mod kinds;
mod labels;
mod labels_batch;
mod labels_drawn;
mod labels_moments;
mod log;
mod loss;
mod members;
mod model;
mod moments;
mod outbox;
mod profile;
mod readiness;
mod recount;
mod retraining;
mod shared_loss;
mod sharing;
mod simulation;
mod snapshot;
mod tally;
mod topic;
mod windows;
