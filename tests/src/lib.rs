//! What more than one end-to-end test needs beside the servers of `driftd-fixtures`.
//!
//! A test reads a data set ([`frame`]), turns its rows into messages ([`message`]) and puts them on
//! a topic ([`topic`]) of a job ([`job`]); from there on it only looks at what the real binary
//! does, also at what it writes to topics ([`reader`]), and at how it goes on after an end at a
//! named place ([`crash`]). [`answers`] is a server that it may ask, [`registry`] and [`glue`] are
//! ones that have schemas; [`elsewhere`] knows queries that other tests ask; [`twin`] compares what
//! it makes of the same predictions in several formats.

#![expect(
    clippy::missing_panics_doc,
    reason = "a panic with what happened is how support code fails a test"
)]

pub mod answers;
pub mod crash;
pub mod elsewhere;
pub mod frame;
pub mod glue;
pub mod job;
pub mod message;
pub mod reader;
pub mod registry;
pub mod topic;
pub mod twin;
