//! Named places at which a test lets the process end as by a crash, or stand still, or the disk
//! fail.
//!
//! Before: `DRIFTD_FAILPOINT=NAME[:NTH[:stop]]` arms one; when the process comes there the NTH
//! time it aborts, or stops until it is told to go on, or gets an error. After: the next process,
//! or this one, has to come to the same result. A release build has none.

use std::io;

/// Ends or stops the process if the place is armed and it is its turn.
pub(crate) fn hit(name: &str) {
    if is_turn(name) {
        act();
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

#[cfg(not(debug_assertions))]
const fn act() {}

#[cfg(debug_assertions)]
use armed::act;

#[cfg(debug_assertions)]
fn is_turn(name: &str) -> bool {
    armed::is_turn(name)
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    struct Armed {
        name: String,
        turn: u64,
        hits: AtomicU64,
        is_stopping: bool,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    pub(super) fn is_turn(name: &str) -> bool {
        let armed = ARMED.get_or_init(read).as_ref().filter(|armed| armed.name == name);
        armed.is_some_and(|armed| armed.hits.fetch_add(1, Ordering::Relaxed) + 1 == armed.turn)
    }

    pub(super) fn act() {
        if ARMED.get().and_then(Option::as_ref).is_some_and(|armed| armed.is_stopping) {
            kill_process(getpid(), Signal::STOP).expect("a process may stop itself");
        } else {
            std::process::abort();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test arms a place by the environment")]
    fn read() -> Option<Armed> {
        let text = std::env::var("DRIFTD_FAILPOINT").ok()?;
        let mut parts = text.split(':');
        let name = parts.next()?.to_owned();
        let turn = parts.next().unwrap_or("1").parse().ok()?;
        let is_stopping = parts.next() == Some("stop");
        Some(Armed { name, turn, hits: AtomicU64::new(0), is_stopping })
    }
}
