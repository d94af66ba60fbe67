//! The edge of driftd: everything that touches files, sockets, clocks, threads and the environment.
//!
//! The decisions are made in `driftd-core`; this crate feeds it and carries out what it says. Where
//! to start reading: [`cli`] is the command line; [`daemon`] the threads of `driftd run`; a
//! record's way is [`kafka::consumer`] → `driftd_core::shard` → [`stage`](self) →
//! `driftd_core::pipeline` → [`http`] and [`courier`](self). Where several processes share the
//! work, [`kafka`] and [`lanes`](self) lie between its two halves. [`replay`] takes the same way
//! from files, [`launch`] starts jobs, [`demo`] plays all of it in one process.

pub mod accept;
mod board;
pub mod check;
pub mod cli;
mod clock;
pub mod commands;
pub mod config_file;
mod console;
mod courier;
pub mod daemon;
pub mod demo;
mod entries;
pub mod explain;
pub mod export;
mod failpoint;
pub mod http;
pub mod inspect;
pub mod kafka;
mod lanes;
pub mod launch;
pub mod memory;
pub mod outbox;
pub mod reference;
pub mod references;
pub mod registry;
pub mod replay;
pub mod run;
mod stage;
pub mod store;
pub mod table;
pub mod telemetry;
mod unique;
mod whole_file;
