//! Records that a partition's log does not hold any more, although they were never counted.
//!
//! Before: the edge compares where a partition would go on with what its log holds. After: the
//! partition stands still ([`crate::sources`]) until a person accepts the loss; then
//! [`crate::state`] begins it anew, and [`crate::pipeline`] says of every window that may lack
//! records of it that it is not whole.

use std::fmt;

use driftd_catalog::{PartitionId, Timestamp, WindowSpan};
use serde::{Deserialize, Serialize};

/// Records of a log that are read before a loss is taken to be over. One of them may be dated far
/// behind the others, but not all.
const SETTLING_OFFSETS: i64 = 100;

/// Where the log of a partition begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Offset of its oldest record.
    pub start: i64,
    /// Offset that its next record will get.
    pub end: i64,
}

/// What the newest record that was read is known by, in case another one lies there later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its offset.
    pub offset: i64,
    /// Kafka's time of it.
    pub time: Option<Timestamp>,
    /// Bytes of its payload.
    pub bytes: u64,
}

/// Why a partition cannot go on where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Records were deleted before they were read.
    Deleted {
        /// Next offset to read.
        next_offset: i64,
        /// Where the log begins.
        start: i64,
    },
    /// The log ends before the next offset: it was truncated, or its topic was created anew.
    Truncated {
        /// Next offset to read.
        next_offset: i64,
        /// Where the log ends.
        end: i64,
    },
    /// Where the newest record lay that was read, another one lies: the log has grown again since
    /// it was truncated, or since its topic was created anew.
    Recreated {
        /// Next offset to read.
        next_offset: i64,
    },
}

/// A loss that a person has accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Whose.
    pub partition: PartitionId,
    /// What.
    pub loss: Loss,
    /// Where its log begins.
    pub start: i64,
    /// When.
    pub at: Timestamp,
}

impl Loss {
    /// Every reason, in the order of the variants.
    pub const REASONS: [&'static str; 3] = ["deleted", "truncated", "recreated"];

    /// Returns what is lost when a partition that would go on at `next_offset` has this log.
    pub fn of(next_offset: i64, bounds: Bounds) -> Option<Self> {
        let Bounds { start, end } = bounds;
        if next_offset < start {
            Some(Self::Deleted { next_offset, start })
        } else if end < next_offset {
            Some(Self::Truncated { next_offset, end })
        } else {
            None
        }
    }

    /// Returns its short stable name, the value of a metric's label.
    pub fn reason(self) -> &'static str {
        let [deleted, truncated, recreated] = Self::REASONS;
        match self {
            Self::Deleted { .. } => deleted,
            Self::Truncated { .. } => truncated,
            Self::Recreated { .. } => recreated,
        }
    }

    /// Returns the next offset that was to be read.
    pub fn next_offset(self) -> i64 {
        match self {
            Self::Deleted { next_offset, .. }
            | Self::Truncated { next_offset, .. }
            | Self::Recreated { next_offset } => next_offset,
        }
    }

    /// Returns how many records are lost, where that is known.
    pub fn records(self) -> Option<u64> {
        match self {
            Self::Deleted { next_offset, start } => u64::try_from(start - next_offset).ok(),
            Self::Truncated { .. } | Self::Recreated { .. } => None,
        }
    }

    /// Returns an offset from which on all came after what is lost. A truncated log grows again
    /// behind its end. How much of a log is another one that has grown past the next offset is not
    /// known, but what lies beyond is.
    fn goes_on_at(self) -> i64 {
        match self {
            Self::Deleted { start, .. } => start,
            Self::Truncated { end, .. } => end,
            Self::Recreated { next_offset } => next_offset,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deleted { next_offset, start } => write!(
                f,
                "{} records were deleted before they were read: the next offset is {next_offset}, \
                 the log begins at {start}",
                start - next_offset
            ),
            Self::Truncated { next_offset, end } => write!(
                f,
                "the log was truncated or the topic created anew: the next offset is \
                 {next_offset}, the log ends at {end}"
            ),
            Self::Recreated { next_offset } => write!(
                f,
                "the log was truncated or the topic created anew: before the next offset \
                 {next_offset} lies another record than the one that was read there"
            ),
        }
    }
}

/// Event time of which a partition's records may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LostTime {
    /// A record at this offset or a later one tells how far it reaches; absent when one was read.
    ends_at: Option<i64>,
    /// It reaches at least so far: records were counted that are dropped.
    counted: Timestamp,
    /// It reaches no further.
    until: Timestamp,
}

impl LostTime {
    /// Returns what is not known of a partition when its loss is accepted. `counted` is the event
    /// time of the newest record that was counted; no record can have been dated further after the
    /// moment than `future_skew_max_millis`. What is lost of it since `earlier` stays lost.
    pub(crate) fn new(
        accepted: &Accepted,
        counted: Option<Timestamp>,
        future_skew_max_millis: i64,
        earlier: Option<Self>,
    ) -> Self {
        let earlier = earlier.map(|it| it.until);
        let counted = counted.max(earlier).unwrap_or(Timestamp::MIN);
        Self {
            ends_at: Some(accepted.loss.goes_on_at().saturating_add(SETTLING_OFFSETS)),
            counted,
            until: accepted.at.plus_millis(future_skew_max_millis).max(counted),
        }
    }

    /// Returns the offset from which on its end is known; `None` when it is.
    pub(crate) fn ends_at(&self) -> Option<i64> {
        self.ends_at
    }

    /// Takes the newest event time that was read from the log as it is now: lost records lay before
    /// and are no newer, disorder aside.
    pub(crate) fn end(&mut self, newest: Timestamp, out_of_orderness_millis: i64) {
        self.ends_at = None;
        let read = newest.plus_millis(out_of_orderness_millis).max(self.counted);
        self.until = self.until.min(read);
    }

    /// Whether records of a span may be among those that are lost.
    pub(crate) fn touches(&self, span: WindowSpan) -> bool {
        span.start() <= self.until
    }
}

/// News of lost time, from the reader of a partition to those who decide in other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostNews {
    pub(crate) time: LostTime,
    /// The partition has begun anew: what it gave before to what is not closed is dropped.
    pub(crate) begins: bool,
}

impl LostNews {
    /// Makes one of what was told before and what is told next.
    pub(crate) fn absorb(before: Option<Self>, next: Option<Self>) -> Option<Self> {
        let begins = before.is_some_and(|it| it.begins) || next.is_some_and(|it| it.begins);
        Some(Self { begins, ..next.or(before)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn accepted(loss: Loss) -> Accepted {
        Accepted {
            partition: PartitionId { topic: "logs".into(), partition: 0 },
            loss,
            start: 1_000,
            at: at(900),
        }
    }

    #[test]
    fn a_next_offset_outside_of_the_log_is_a_loss() {
        let bounds = Bounds { start: 10, end: 20 };
        assert_eq!(Loss::of(9, bounds), Some(Loss::Deleted { next_offset: 9, start: 10 }));
        assert_eq!(Loss::of(10, bounds), None);
        assert_eq!(Loss::of(20, bounds), None);
        assert_eq!(Loss::of(21, bounds), Some(Loss::Truncated { next_offset: 21, end: 20 }));
        let empty = Bounds { start: 10, end: 10 };
        assert_eq!(Loss::of(7, empty).and_then(Loss::records), Some(3));
        assert_eq!(Loss::of(10, empty), None);
    }

    /// Between two transactions a log may be read from its begin past everything that is lost.
    #[test]
    fn a_begin_is_not_forgotten_over_the_end_of_lost_time() {
        let mut time = LostTime::new(&accepted(Loss::Recreated { next_offset: 3 }), None, 50, None);
        let begins = LostNews { time, begins: true };
        time.end(at(300), 7);
        let ends = LostNews { time, begins: false };
        assert_eq!(LostNews::absorb(Some(begins), Some(ends)), Some(LostNews { time, ..begins }));
        assert_eq!(LostNews::absorb(Some(begins), None), Some(begins));
        assert_eq!(LostNews::absorb(None, Some(ends)), Some(ends));
        assert_eq!(LostNews::absorb(None, None), None);
    }

    #[test]
    fn every_loss_has_a_reason_of_its_own() {
        let losses = [
            Loss::Deleted { next_offset: 1, start: 2 },
            Loss::Truncated { next_offset: 2, end: 1 },
            Loss::Recreated { next_offset: 2 },
        ];
        assert_eq!(losses.map(Loss::reason), Loss::REASONS);
    }

    #[test]
    fn lost_time_is_bounded_by_the_clock_until_it_is_bounded_by_the_log() {
        let loss = Loss::Deleted { next_offset: 3, start: 5 };
        let mut lost = LostTime::new(&accepted(loss), Some(at(100)), 50, None);
        assert_eq!(lost.ends_at(), Some(5 + SETTLING_OFFSETS));
        assert!(lost.touches(WindowSpan::starting_at(at(950), 10)));
        assert!(!lost.touches(WindowSpan::starting_at(at(951), 10)));
        lost.end(at(300), 7);
        assert_eq!(lost.ends_at(), None);
        assert!(lost.touches(WindowSpan::starting_at(at(307), 10)));
        assert!(!lost.touches(WindowSpan::starting_at(at(308), 10)));
    }

    #[test]
    fn a_log_that_has_grown_again_may_lack_records_up_to_where_it_was_read() {
        let loss = Loss::Recreated { next_offset: 2_000 };
        let lost = LostTime::new(&accepted(loss), None, 0, None);
        assert_eq!(lost.ends_at(), Some(2_000 + SETTLING_OFFSETS));
    }

    #[test]
    fn lost_time_covers_what_was_counted_and_is_dropped() {
        let loss = Loss::Truncated { next_offset: 9, end: 4 };
        let mut first = LostTime::new(&accepted(loss), Some(at(500)), 0, None);
        assert_eq!(first.ends_at(), Some(4 + SETTLING_OFFSETS));
        first.end(at(20), 7);
        assert!(first.touches(WindowSpan::starting_at(at(500), 10)));
        assert!(!first.touches(WindowSpan::starting_at(at(501), 10)));
        let mut second = LostTime::new(&accepted(loss), Some(at(30)), 0, Some(first));
        second.end(at(40), 7);
        assert!(second.touches(WindowSpan::starting_at(at(500), 10)));
    }
}
