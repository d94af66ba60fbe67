//! Stretches of event time that counts of a partition are missing from, although the partition has
//! passed them.
//!
//! Before: where several processes share the work, one counted a model otherwise than this one, or
//! against a profile that is not here; its rows cannot be added. After: windows over such a stretch
//! are incomplete, and name the partition. Half a window must not pass for one.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::{PartitionId, Timestamp, WindowSpan};
use serde::{Deserialize, Serialize};

/// Gaps kept, one a model and partition at most. Beyond it a model has one that stands for all: its
/// windows are incomplete, and name another partition.
const GAPS_MAX: usize = 4_096;

/// Whose counts are missing, of the model of this name. It may be one that is not configured here:
/// whoever owns the lane next may know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct GapKey {
    pub(crate) model: Arc<str>,
    pub(crate) partition: PartitionId,
}

/// From when to when. Of several stretches it is all that lies between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap {
    from: Timestamp,
    to: Timestamp,
    /// Where it ends is not known yet.
    is_open: bool,
}

/// News of one gap.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stretch {
    /// Nothing is there in this span.
    Missing { from: Timestamp, to: Timestamp },
    /// Nothing is there up to a time that is not known yet.
    Open,
    /// Nothing is there up to this time; from then on everything is.
    Until(Timestamp),
}

impl Gap {
    fn with(known: Option<Self>, stretch: Stretch) -> Self {
        let (from, to) = match stretch {
            Stretch::Missing { from, to } => (from, to),
            Stretch::Open => (Timestamp::MIN, Timestamp::MIN),
            Stretch::Until(to) => (Timestamp::MIN, to),
        };
        let is_open = match stretch {
            Stretch::Missing { .. } => known.is_some_and(|known| known.is_open),
            Stretch::Open => true,
            Stretch::Until(_) => false,
        };
        let known = known.unwrap_or(Self { from, to, is_open });
        Self { from: known.from.min(from), to: known.to.max(to), is_open }
    }

    fn to(&self) -> Timestamp {
        if self.is_open { Timestamp::MAX } else { self.to }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Gaps {
    gaps: BTreeMap<GapKey, Gap>,
}

impl Gaps {
    /// Goes on with a gap of an earlier run.
    pub(crate) fn restore(&mut self, key: GapKey, gap: Gap) {
        self.gaps.insert(key, gap);
    }

    /// Adds a stretch; returns the gap that it makes, if that is news.
    pub(crate) fn add(&mut self, key: GapKey, stretch: Stretch) -> Option<(GapKey, Gap)> {
        let key = self.placed(key);
        let known = self.gaps.get(&key);
        let gap = Gap::with(known.copied(), stretch);
        if known == Some(&gap) {
            return None;
        }
        self.gaps.insert(key.clone(), gap);
        Some((key, gap))
    }

    /// Returns where a stretch is kept.
    fn placed(&self, key: GapKey) -> GapKey {
        if self.gaps.len() < GAPS_MAX || self.gaps.contains_key(&key) {
            return key;
        }
        let mut others = self.gaps.keys();
        others.find(|other| other.model == key.model).cloned().unwrap_or(key)
    }

    /// Returns the partitions whose counts are missing from a window.
    pub(crate) fn missing(&self, model: &str, span: WindowSpan) -> Vec<PartitionId> {
        let touches = |gap: &Gap| gap.from < span.end() && span.start() < gap.to();
        let own = self.gaps.iter().filter(|(key, gap)| *key.model == *model && touches(gap));
        own.map(|(key, _)| key.partition.clone()).collect()
    }

    /// Forgets what no window of the model will touch any more; returns whose gaps.
    pub(crate) fn forget_before(&mut self, model: &str, begins: Timestamp) -> Vec<GapKey> {
        let is_over = |key: &GapKey, gap: &mut Gap| *key.model == *model && gap.to() <= begins;
        self.gaps.extract_if(.., is_over).map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(model: &str, partition: i32) -> GapKey {
        GapKey { model: model.into(), partition: PartitionId { topic: "logs".into(), partition } }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn gap(from: i64, to: i64) -> Gap {
        Gap { from: at(from), to: at(to), is_open: false }
    }

    fn missing(from: i64, to: i64) -> Stretch {
        Stretch::Missing { from: at(from), to: at(to) }
    }

    fn span(start: i64) -> WindowSpan {
        WindowSpan::starting_at(at(start), 10)
    }

    #[test]
    fn windows_that_touch_a_gap_name_the_partition() {
        let mut gaps = Gaps::default();
        assert_eq!(gaps.add(key("a", 1), missing(10, 20)), Some((key("a", 1), gap(10, 20))));
        let missing = |start| gaps.missing("a", span(start)).len();
        assert_eq!([0, 1, 10, 19, 20].map(missing), [0, 1, 1, 1, 0]);
        assert_eq!(gaps.missing("b", span(10)), []);
    }

    #[test]
    fn stretches_of_one_partition_become_one_gap() {
        let mut gaps = Gaps::default();
        gaps.add(key("a", 1), missing(10, 20));
        assert_eq!(gaps.add(key("a", 1), missing(12, 20)), None);
        assert_eq!(gaps.add(key("a", 1), missing(30, 40)), Some((key("a", 1), gap(10, 40))));
        gaps.add(key("a", 2), missing(30, 40));
        assert_eq!(gaps.missing("a", span(15)).len(), 1);
        assert_eq!(gaps.missing("a", span(35)).len(), 2);
        assert_eq!(gaps.forget_before("a", at(39)), []);
        assert_eq!(gaps.forget_before("b", at(50)), []);
        let all = at(40);
        assert_eq!(gaps.forget_before("a", all), [key("a", 1), key("a", 2)]);
    }

    #[test]
    fn a_gap_without_an_end_is_kept_until_it_has_one() {
        let mut gaps = Gaps::default();
        gaps.add(key("a", 1), Stretch::Open);
        gaps.add(key("a", 1), missing(10, 20));
        assert_eq!(gaps.missing("a", span(1_000)).len(), 1);
        assert_eq!(gaps.forget_before("a", at(2_000)), []);
        gaps.add(key("a", 1), Stretch::Until(at(15)));
        assert_eq!(gaps.missing("a", span(-100)).len(), 1);
        assert_eq!(gaps.missing("a", span(19)).len(), 1);
        assert_eq!(gaps.missing("a", span(20)).len(), 0);
    }

    #[test]
    fn gaps_are_bounded_and_none_is_lost() {
        let mut gaps = Gaps::default();
        for partition in 0..5_000 {
            gaps.add(key("a", partition), missing(0, 10 + i64::from(partition)));
        }
        gaps.add(key("b", 0), missing(0, 10));
        assert_eq!(gaps.gaps.len(), GAPS_MAX + 1);
        assert_eq!(gaps.missing("a", span(5_000)).len(), 1, "of the last partition");
        assert_eq!(gaps.missing("b", span(0)).len(), 1);
    }
}
