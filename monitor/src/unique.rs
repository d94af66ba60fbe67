//! Numbers that no other process draws.
//!
//! Before: the system's random numbers, by way of the keys of hash maps. After: names of stores,
//! of processes and of launchers.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Returns a number that no other call returns.
pub(crate) fn number() -> u64 {
    RandomState::new().build_hasher().finish()
}
