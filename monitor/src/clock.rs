//! The wall clock: the only place that reads it.

#![expect(clippy::disallowed_methods, reason = "the edge owns the clock")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use driftd_catalog::Timestamp;

/// Returns the wall-clock time.
pub(crate) fn now() -> Timestamp {
    let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => {
            i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis)
        }
    };
    Timestamp::from_millis(millis)
}

/// Measures how long something takes; unlike [`now`] it never goes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts to measure.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the time since the start.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Returns a point in monotonic time, for heartbeats.
pub(crate) fn instant() -> Instant {
    Instant::now()
}
