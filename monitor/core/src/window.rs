//! Which window a record belongs to, and when a partition has passed a window.
//!
//! Before: decoded rows. After: [`crate::shard`] groups rows by the answer. Everything here depends
//! on the prefix of the record's own partition and on the configuration, so a replay decides the
//! same.

use driftd_catalog::{Timestamp, WindowSpan};

use crate::config::{TimeConfig, WindowConfig};

impl WindowConfig {
    /// Returns the window that holds `event_time`.
    pub fn span_of(&self, event_time: Timestamp) -> WindowSpan {
        let since_border =
            (event_time.as_millis() - self.offset_millis).rem_euclid(self.length_millis);
        WindowSpan::starting_at(event_time.plus_millis(-since_border), self.length_millis)
    }

    /// Returns whether a partition whose watermark is `watermark` can add no more records to
    /// `span`.
    pub fn is_passed(&self, span: WindowSpan, watermark: Timestamp) -> bool {
        span.end().plus_millis(self.lateness_millis) <= watermark
    }
}

/// Event-time progress of one source partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progression {
    event_time_max: Option<Timestamp>,
}

/// A record's event time as it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventTime {
    pub(crate) time: Timestamp,
    pub(crate) clamped: bool,
}

impl Progression {
    /// Goes on from the newest event time.
    pub(crate) fn from_newest(event_time_max: Option<Timestamp>) -> Self {
        Self { event_time_max }
    }

    /// Returns the newest event time.
    pub(crate) fn newest(self) -> Option<Timestamp> {
        self.event_time_max
    }

    /// Returns the watermark: no record older than this is expected. Absent before the first
    /// record.
    pub(crate) fn watermark(self, config: &TimeConfig) -> Option<Timestamp> {
        self.event_time_max.map(|time| time.plus_millis(-config.out_of_orderness_millis))
    }

    pub(crate) fn advance(&mut self, time: Timestamp) {
        self.event_time_max = self.event_time_max.max(Some(time));
    }
}

/// Holds an event time back to what Kafka's record time makes believable.
///
/// One record dated in the future would otherwise close every window. Kafka's time is in the log,
/// so a replay clamps the same records; the wall clock is not.
pub(crate) fn clamp(
    event_time: Timestamp,
    record_time: Option<Timestamp>,
    config: &TimeConfig,
) -> EventTime {
    let latest = record_time.map(|time| time.plus_millis(config.future_skew_max_millis));
    match latest {
        Some(latest) if latest < event_time => EventTime { time: latest, clamped: true },
        _ => EventTime { time: event_time, clamped: false },
    }
}

/// Returns the earlier of two times that may be absent.
pub(crate) fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(length_millis: i64, offset_millis: i64) -> WindowConfig {
        WindowConfig {
            label: "test".into(),
            length_millis,
            offset_millis,
            lateness_millis: 5,
            wait_max_millis: 1,
            open_max: 4,
            history: 1,
        }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn windows_tile_time_without_gaps_also_before_the_epoch() {
        let window = config(10, 3);
        for millis in -40..40 {
            let span = window.span_of(at(millis));
            assert!(span.start() <= at(millis) && at(millis) < span.end(), "{millis} in {span}");
            assert_eq!((span.start().as_millis() - 3).rem_euclid(10), 0);
        }
    }

    #[test]
    fn a_window_is_passed_when_the_watermark_reaches_its_end_and_lateness() {
        let window = config(10, 0);
        let span = window.span_of(at(0));
        assert!(!window.is_passed(span, at(14)));
        assert!(window.is_passed(span, at(15)));
    }

    #[test]
    fn an_event_time_far_after_the_record_time_is_clamped() {
        let time = TimeConfig {
            out_of_orderness_millis: 0,
            idle_timeout_millis: 1,
            future_skew_max_millis: 100,
            drift_max_millis: 1,
        };
        assert_eq!(
            clamp(at(5_000), Some(at(1_000)), &time),
            EventTime { time: at(1_100), clamped: true }
        );
        assert_eq!(
            clamp(at(1_100), Some(at(1_000)), &time),
            EventTime { time: at(1_100), clamped: false }
        );
        assert_eq!(clamp(at(5_000), None, &time), EventTime { time: at(5_000), clamped: false });
    }
}
