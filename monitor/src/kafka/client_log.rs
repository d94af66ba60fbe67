//! Errors that the clients report, in the log: each kind once in a while.
//!
//! Before: librdkafka's callbacks, of every client of the process; a broker that is away makes each
//! of them report the same several times a second. After: the log, with how many were left out.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::error;

use crate::clock::Stopwatch;

/// An error of one kind is logged once in this time.
const INTERVAL: Duration = Duration::from_secs(5);

/// What was logged last of each kind, by the client's code: there are not more kinds than codes.
static LOGGED: Mutex<BTreeMap<i32, Logged>> = Mutex::new(BTreeMap::new());

struct Logged {
    since: Stopwatch,
    /// Errors since then.
    left_out: u64,
}

/// Logs an error of a client. Reaching the end of a partition is news for who polls, not for the
/// log.
pub(crate) fn log_error(error: &KafkaError, reason: &str) {
    let code = error.rdkafka_error_code();
    if code == Some(RDKafkaErrorCode::PartitionEOF) {
        return;
    }
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(left_out) = take_turn(&mut logged, code.map_or(0, |code| code as i32)) {
        error!(%error, reason, left_out, "the Kafka client reports an error");
    }
}

/// Returns how many errors of this kind were left out, if one is due.
fn take_turn(logged: &mut BTreeMap<i32, Logged>, code: i32) -> Option<u64> {
    let fresh = || Logged { since: Stopwatch::start(), left_out: 0 };
    if let Some(last) = logged.get_mut(&code).filter(|last| last.since.elapsed() < INTERVAL) {
        last.left_out += 1;
        return None;
    }
    Some(logged.insert(code, fresh()).map_or(0, |last| last.left_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_logged_once_and_counted_then() {
        let mut logged = BTreeMap::new();
        assert_eq!(take_turn(&mut logged, 1), Some(0));
        assert_eq!(take_turn(&mut logged, 1), None);
        assert_eq!(take_turn(&mut logged, 2), Some(0));
        assert_eq!(logged[&1].left_out, 1);
    }
}
