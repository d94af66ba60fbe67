//! Which pane a record belongs to, and when a partition has passed a pane.
//!
//! Before: decoded rows. After: [`crate::shard`] groups rows by the answer. Everything here depends
//! on the prefix of the record's own partition and on the configuration, so a replay decides the
//! same.

use driftd_catalog::{Timestamp, WindowSpan};

use crate::config::{ModelConfig, PaneConfig, TimeConfig};

impl PaneConfig {
    /// Returns the pane that holds `event_time`.
    pub fn span_of(&self, event_time: Timestamp) -> WindowSpan {
        let borders =
            Borders { every_millis: self.length_millis, offset_millis: self.offset_millis };
        WindowSpan::starting_at(borders.at_or_before(event_time), self.length_millis)
    }

    /// Returns whether a partition whose watermark is `watermark` can add no more records to
    /// `span`.
    pub fn is_passed(&self, span: WindowSpan, watermark: Timestamp) -> bool {
        span.end().plus_millis(self.lateness_millis) <= watermark
    }
}

/// Places where windows, or their slices, begin and end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Borders {
    every_millis: i64,
    offset_millis: i64,
}

impl Borders {
    pub(crate) fn new(every_millis: i64, offset_millis: i64) -> Self {
        Self { every_millis, offset_millis }
    }

    /// Returns the borders of a model that are `every_millis` apart.
    pub(crate) fn of(model: &ModelConfig, every_millis: i64) -> Self {
        Self { every_millis, offset_millis: model.pane.offset_millis }
    }

    pub(crate) fn at_or_before(self, time: Timestamp) -> Timestamp {
        let since_border = (time.as_millis() - self.offset_millis).rem_euclid(self.every_millis);
        time.plus_millis(-since_border)
    }

    pub(crate) fn at_or_after(self, time: Timestamp) -> Timestamp {
        let border = self.at_or_before(time);
        if border == time { time } else { self.after(time) }
    }

    pub(crate) fn after(self, time: Timestamp) -> Timestamp {
        self.at_or_before(time).plus_millis(self.every_millis)
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

/// Room for windows at both ends of time: each of a window, its lateness, its revisions and
/// disorder takes ten years at most.
const ROOM_MILLIS: i64 = 50 * 366 * 86_400_000;
const EARLIEST: Timestamp = Timestamp::MIN.plus_millis(ROOM_MILLIS);
const LATEST: Timestamp = Timestamp::MAX.plus_millis(-ROOM_MILLIS);

/// Holds an event time back to what Kafka's record time makes believable, and to where there is
/// room for windows.
///
/// One record dated in the future would otherwise close every window. Kafka's time is in the log,
/// so a replay clamps the same records; the wall clock is not.
pub(crate) fn clamp(
    event_time: Timestamp,
    record_time: Option<Timestamp>,
    config: &TimeConfig,
) -> EventTime {
    let latest = record_time.map(|time| time.plus_millis(config.future_skew_max_millis));
    let believed = latest.map_or(event_time, |latest| event_time.min(latest));
    let time = believed.clamp(EARLIEST, LATEST);
    EventTime { time, clamped: time != event_time }
}

/// Returns the earlier of two times that may be absent.
pub(crate) fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(length_millis: i64, offset_millis: i64) -> PaneConfig {
        PaneConfig {
            length_millis,
            offset_millis,
            lateness_millis: 5,
            revisions_millis: 0,
            wait_max_millis: 1,
            open_max: 4,
        }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn panes_tile_time_without_gaps_also_before_the_epoch() {
        let pane = config(10, 3);
        for millis in -40..40 {
            let span = pane.span_of(at(millis));
            assert!(span.start() <= at(millis) && at(millis) < span.end(), "{millis} in {span}");
            assert_eq!((span.start().as_millis() - 3).rem_euclid(10), 0);
        }
    }

    #[test]
    fn a_pane_is_passed_when_the_watermark_reaches_its_end_and_lateness() {
        let pane = config(10, 0);
        let span = pane.span_of(at(0));
        assert!(!pane.is_passed(span, at(14)));
        assert!(pane.is_passed(span, at(15)));
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
        let held = |time| EventTime { time, clamped: true };
        assert_eq!(clamp(Timestamp::MIN, Some(at(1_000)), &time), held(EARLIEST));
        assert_eq!(clamp(Timestamp::MAX, None, &time), held(LATEST));
        assert_eq!(clamp(Timestamp::MAX, Some(Timestamp::MAX), &time), held(LATEST));
    }
}
