//! Named places at which a test lets the process end as by a crash, or the disk fail.
//!
//! Before: `DRIFTD_FAILPOINT=NAME[:NTH]` arms one; the process aborts, or gets an error, when it
//! comes there the NTH time. After: the next process has to come to the same result. A release
//! build has none.

use std::io;

/// Ends the process if the place is armed and it is its turn.
pub(crate) fn hit(name: &str) {
    if is_turn(name) {
        std::process::abort();
    }
}

/// Returns an error of the disk if the place is armed and it is its turn.
pub(crate) fn disk(name: &str, kind: io::ErrorKind) -> Result<(), io::Error> {
    if is_turn(name) { Err(kind.into()) } else { Ok(()) }
}

#[cfg(not(debug_assertions))]
const fn is_turn(_name: &str) -> bool {
    false
}

#[cfg(debug_assertions)]
fn is_turn(name: &str) -> bool {
    armed::is_turn(name)
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Armed {
        name: String,
        turn: u64,
        hits: AtomicU64,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    pub(super) fn is_turn(name: &str) -> bool {
        let armed = ARMED.get_or_init(read).as_ref().filter(|armed| armed.name == name);
        armed.is_some_and(|armed| armed.hits.fetch_add(1, Ordering::Relaxed) + 1 == armed.turn)
    }

    #[expect(clippy::disallowed_methods, reason = "a test arms a place by the environment")]
    fn read() -> Option<Armed> {
        let text = std::env::var("DRIFTD_FAILPOINT").ok()?;
        let (name, turn) = text.split_once(':').unwrap_or((&text, "1"));
        let turn = turn.parse().ok()?;
        Some(Armed { name: name.to_owned(), turn, hits: AtomicU64::new(0) })
    }
}
