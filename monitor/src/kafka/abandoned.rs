//! Calls of the Kafka client that may never come back: made on a thread of their own, and bounded.
//!
//! Before: adding positions to a transaction, closing a consumer: librdkafka waits in them for a
//! coordinator or broker without an end. After: who asked goes on; the thread and its client stay
//! behind until the call comes back, and a process in which too many do ends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use tracing::{error, warn};

use crate::clock::Stopwatch;
use crate::stage::end;

/// Longer than a broker that is there takes to answer.
const CLOSE_MAX: Duration = Duration::from_secs(5);
const CLOSE_INTERVAL: Duration = Duration::from_millis(500);

/// A restart frees them: more threads and clients are never left behind.
const COUNT_MAX: usize = 8;

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Returns how many calls have not come back.
pub(crate) fn count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// Makes a call; `None` when it did not come back while `goes_on`, which is asked every `interval`.
pub(crate) fn call<T: Send + 'static>(
    name: &str,
    interval: Duration,
    mut goes_on: impl FnMut() -> bool,
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    // Without room for the answer: it is taken, or known not to be.
    let (answer, answered) = sync_channel(0);
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        if answer.send(call()).is_err() {
            COUNT.fetch_sub(1, Ordering::Relaxed);
        }
    });
    if let Err(error) = thread {
        error!(%error, "the system gives no more threads");
        return None;
    }
    while goes_on() {
        if let Ok(answer) = answered.recv_timeout(interval) {
            return Some(answer);
        }
    }
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    warn!(call = name, count, "a call of the Kafka client has not come back; it is left behind");
    None
}

/// Closes a consumer, which waits for the answer of a broker that may be gone.
pub(crate) fn close<C: ConsumerContext + 'static>(client: BaseConsumer<C>, mut beat: impl FnMut()) {
    let since = Stopwatch::start();
    let goes_on = || {
        beat();
        since.elapsed() < CLOSE_MAX
    };
    // `None` is logged.
    call("close", CLOSE_INTERVAL, goes_on, move || drop(client));
}

/// Ends the process when too many calls have not come back.
pub(crate) fn end_if_too_many() {
    let count = count();
    if COUNT_MAX <= count {
        error!(
            count,
            "calls of the Kafka client do not come back: this process ends, because only a restart \
             frees what they hold"
        );
        end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_does_not_come_back_counts_until_it_does() {
        let mut looks = 3;
        let goes_on = move || {
            looks -= 1;
            0 < looks
        };
        assert_eq!(call("fast", Duration::from_secs(10), goes_on, || 7), Some(7));
        let (release, released) = sync_channel(1);
        let slow = move || released.recv().is_ok();
        let before = count();
        assert_eq!(call("slow", Duration::from_millis(1), goes_on, slow), None);
        assert_eq!(count(), before + 1);
        release.send(()).expect("the call waits");
        let waiting = Stopwatch::start();
        while before < count() {
            assert!(waiting.elapsed() < Duration::from_secs(10), "it has come back");
            thread::yield_now();
        }
    }
}
