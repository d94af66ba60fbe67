//! What threads and clients of this process hold, as each of them last said.
//!
//! Before: whoever holds memory outside of the pipeline keeps a [`Holder`]. After: `/metrics` shows
//! the sum of each owner beside its budget. Of the process, like its resident memory: all who hold
//! something are in one list.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use driftd_catalog::label::MemoryOwner;

static HELD: Mutex<Vec<(MemoryOwner, Weak<AtomicU64>)>> = Mutex::new(Vec::new());

/// What one thread or client holds. Nothing is held any more when it is dropped.
#[derive(Debug)]
pub(crate) struct Holder(Arc<AtomicU64>);

impl Holder {
    /// Holds nothing yet.
    pub(crate) fn new(owner: MemoryOwner) -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        let mut all = held();
        all.retain(|(_, bytes)| 0 < bytes.strong_count());
        all.push((owner, Arc::downgrade(&bytes)));
        Self(bytes)
    }

    /// Says how much it is now.
    pub(crate) fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

/// Returns what all of an owner's hold together.
pub(crate) fn bytes(owner: MemoryOwner) -> u64 {
    let all = held();
    let own = all.iter().filter(|(it, _)| *it == owner).filter_map(|(_, bytes)| bytes.upgrade());
    own.map(|bytes| bytes.load(Ordering::Relaxed)).sum()
}

fn held() -> MutexGuard<'static, Vec<(MemoryOwner, Weak<AtomicU64>)>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No other test of this program has holders of this owner.
    const OWNER: MemoryOwner = MemoryOwner::Http;

    #[test]
    fn what_is_held_is_the_sum_of_those_that_are_there() {
        let one = Holder::new(OWNER);
        let other = Holder::new(OWNER);
        one.set(5);
        other.set(2);
        other.set(3);
        assert_eq!(bytes(OWNER), 8);
        drop(one);
        assert_eq!(bytes(OWNER), 3);
    }
}
