//! What more than one end-to-end test needs beside the servers of `driftd-fixtures`.
//!
//! A test reads a data set ([`frame`]), turns its rows into messages ([`message`]) and puts them on
//! a topic ([`topic`]); from there on it only looks at what the real binary does.

#![expect(
    clippy::missing_panics_doc,
    reason = "a panic with what happened is how support code fails a test"
)]

pub mod frame;
pub mod message;
pub mod topic;
