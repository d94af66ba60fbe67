//! Named places at which a test lets the process end as by a crash.
//!
//! Before: `DRIFTD_FAILPOINT=NAME[:NTH]` arms one; the process aborts when it comes there the
//! NTH time. After: the next process has to come to the same result. A release build has none.

/// Ends the process if the place is armed and it is its turn.
#[cfg(debug_assertions)]
pub(crate) fn hit(name: &str) {
    armed::hit(name);
}

/// Does nothing.
#[cfg(not(debug_assertions))]
pub(crate) const fn hit(_name: &str) {}

#[cfg(debug_assertions)]
mod armed {
    use std::process;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Armed {
        name: String,
        turn: u64,
        hits: AtomicU64,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    pub(super) fn hit(name: &str) {
        let Some(armed) = ARMED.get_or_init(read) else { return };
        if armed.name == name && armed.hits.fetch_add(1, Ordering::Relaxed) + 1 == armed.turn {
            process::abort();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test arms a place by the environment")]
    fn read() -> Option<Armed> {
        let text = std::env::var("DRIFTD_FAILPOINT").ok()?;
        let (name, turn) = text.split_once(':').unwrap_or((&text, "1"));
        let turn = turn.parse().ok()?;
        Some(Armed { name: name.to_owned(), turn, hits: AtomicU64::new(0) })
    }
}
