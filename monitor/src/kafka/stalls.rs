//! What a thread owns and cannot read: why, and when it tries again.
//!
//! Before: [`crate::kafka::consumer`] and [`crate::lanes`] meet a reason that concerns one
//! partition. After: readiness and metrics tell it, and the others go on. One that is not read is
//! not reported as passed, so windows wait for it.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use driftd_catalog::Timestamp;
use tracing::{error, info};

use crate::http::{Health, Place};

/// The first try again comes after this; each further one after twice as long.
const PAUSE_MILLIS: i64 = 2_000;
/// Tries are never further apart than this.
const PAUSE_MILLIS_MAX: i64 = 60_000;

/// Whether waiting can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// It is well in a moment: another thread still has something to tell.
    Soon,
    /// It may be well the next time: Kafka did not answer, a setting may be changed.
    Passes,
    /// It stays until a person has done something and the partition is assigned anew.
    Stays,
}

/// Partitions that are tried again together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) partitions: Vec<i32>,
    /// How long the try may take: as long as the pause before it, so that the others, which wait
    /// meanwhile, are read for half of the time at least. Absent where that has not helped: then as
    /// long as the group grants.
    pub(crate) patience: Option<Duration>,
}

/// Partitions of one topic that stand still, by number.
#[derive(Debug)]
pub(crate) struct Stalls {
    topic: Arc<str>,
    /// Index of the thread that owns them.
    thread: u32,
    health: Arc<Health>,
    all: BTreeMap<i32, Stall>,
}

#[derive(Debug)]
struct Stall {
    /// Read again since then. Trouble that soon follows is the same, and its pause is longer.
    read_at: Option<Timestamp>,
    pause_millis: i64,
    /// Absent where waiting does not help.
    retry_at: Option<Timestamp>,
}

impl Stall {
    fn is_over(&self, now: Timestamp) -> bool {
        self.read_at.is_some_and(|at| at.plus_millis(2 * PAUSE_MILLIS_MAX) < now)
    }
}

impl Stalls {
    pub(crate) fn new(topic: Arc<str>, thread: u32, health: Arc<Health>) -> Self {
        Self { topic, thread, health, all: BTreeMap::new() }
    }

    /// Notes that a partition stands still.
    pub(crate) fn stand(
        &mut self,
        now: Timestamp,
        partition: i32,
        why: impl Error + Send + Sync + 'static,
        outlook: Outlook,
    ) {
        let why = format!("{:#}", anyhow::Error::from(why));
        let topic = &self.topic;
        error!(%topic, partition, why, ?outlook, "a partition is not read; the others go on");
        self.health.stalled(self.place(partition), why);
        let last = self.all.get(&partition).filter(|stall| !stall.is_over(now));
        let pause_millis = match outlook {
            Outlook::Soon => PAUSE_MILLIS,
            Outlook::Passes | Outlook::Stays => {
                let longer = last.map_or(PAUSE_MILLIS, |stall| stall.pause_millis * 2);
                longer.min(PAUSE_MILLIS_MAX)
            }
        };
        let retry_at = (outlook != Outlook::Stays).then(|| now.plus_millis(pause_millis));
        self.all.insert(partition, Stall { read_at: None, pause_millis, retry_at });
    }

    /// Returns the partitions whose turn it is to be tried again.
    pub(crate) fn due(&self, now: Timestamp) -> Option<Due> {
        let waiting = self.all.iter().filter(|(_, stall)| stall.read_at.is_none());
        let due = waiting.filter(|(_, stall)| stall.retry_at.is_some_and(|at| at <= now));
        let due: Vec<(i32, i64)> = due.map(|(it, stall)| (*it, stall.pause_millis)).collect();
        let pause_millis = due.iter().map(|(_, pause_millis)| *pause_millis).max()?;
        Some(Due {
            partitions: due.into_iter().map(|(partition, _)| partition).collect(),
            patience: (pause_millis < PAUSE_MILLIS_MAX)
                .then(|| Duration::from_millis(pause_millis.unsigned_abs())),
        })
    }

    /// Notes that a partition is read, or read again.
    pub(crate) fn go_on(&mut self, now: Timestamp, partition: i32) {
        let Some(stall) = self.all.get_mut(&partition) else { return };
        stall.read_at = Some(now);
        info!(topic = %self.topic, partition, "a partition is read again");
        self.health.goes_on(&self.place(partition));
    }

    /// Forgets a partition that somebody else owns now.
    pub(crate) fn leave(&mut self, partition: i32) {
        self.all.remove(&partition);
        self.health.goes_on(&self.place(partition));
    }

    /// Forgets all of them, and returns which they were.
    pub(crate) fn clear(&mut self) -> Vec<i32> {
        let all: Vec<i32> = std::mem::take(&mut self.all).into_keys().collect();
        for partition in &all {
            self.health.goes_on(&self.place(*partition));
        }
        all
    }

    fn place(&self, partition: i32) -> (Place, u32) {
        let place = Place { topic: Arc::clone(&self.topic), partition: Some(partition) };
        (place, self.thread)
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;
    use crate::clock;

    const SILENT: fmt::Error = fmt::Error;

    fn stalls() -> (Stalls, Arc<Health>) {
        let health = Arc::new(Health::new(clock::instant()));
        health.assigned();
        (Stalls::new("logs".into(), 0, Arc::clone(&health)), health)
    }

    #[test]
    fn tries_are_ever_further_apart_until_it_has_been_well_for_a_while() {
        let (mut stalls, _health) = stalls();
        let mut now = Timestamp::from_millis(0);
        let mut pause = |stalls: &mut Stalls, well_millis: i64| {
            now = now.plus_millis(well_millis);
            stalls.stand(now, 3, SILENT, Outlook::Passes);
            let begin = now;
            while stalls.due(now).is_none() {
                now = now.plus_millis(1_000);
            }
            stalls.go_on(now, 3);
            now.as_millis() - begin.as_millis()
        };
        let pauses: Vec<i64> = (0..7).map(|_| pause(&mut stalls, 1_000)).collect();
        assert_eq!(pauses, [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(pause(&mut stalls, 121_000), 2_000);
    }

    #[test]
    fn those_that_are_due_are_tried_together_for_as_long_as_the_longest_pause() {
        let (mut stalls, _health) = stalls();
        let at = Timestamp::from_millis;
        stalls.stand(at(0), 1, SILENT, Outlook::Passes);
        stalls.stand(at(0), 2, SILENT, Outlook::Passes);
        stalls.stand(at(1_000), 2, SILENT, Outlook::Passes);
        stalls.stand(at(5_000), 3, SILENT, Outlook::Passes);
        assert_eq!(stalls.due(at(1_999)), None);
        let due = |partitions: &[i32], millis| Due {
            partitions: partitions.to_vec(),
            patience: Some(Duration::from_millis(millis)),
        };
        assert_eq!(stalls.due(at(2_000)), Some(due(&[1], 2_000)));
        assert_eq!(stalls.due(at(5_000)), Some(due(&[1, 2], 4_000)));
        for _ in 0..4 {
            stalls.stand(at(5_000), 2, SILENT, Outlook::Passes);
        }
        stalls.leave(1);
        stalls.leave(3);
        let granted = Due { partitions: vec![2], patience: None };
        assert_eq!(stalls.due(at(65_000)), Some(granted));
    }

    #[test]
    fn what_is_well_soon_is_tried_as_soon_each_time() {
        let (mut stalls, _health) = stalls();
        let at = Timestamp::from_millis;
        for turn in 0..5 {
            let now = turn * 10_000;
            stalls.stand(at(now), 3, SILENT, Outlook::Soon);
            assert_eq!(stalls.due(at(now + 1_999)), None);
            assert!(stalls.due(at(now + 2_000)).is_some());
        }
    }

    #[test]
    fn what_stays_is_not_tried_again_and_is_told_until_it_leaves() {
        let (mut stalls, health) = stalls();
        stalls.stand(Timestamp::from_millis(0), 3, SILENT, Outlook::Stays);
        assert_eq!(stalls.due(Timestamp::MAX), None);
        let ready = health.ready(clock::instant());
        assert!(ready.reasons[0].starts_with("partition 3 of topic `logs`: "), "{ready:?}");
        assert_eq!(health.stalled_of("logs"), 1);
        stalls.leave(3);
        assert!(health.ready(clock::instant()).ok);
        assert_eq!(health.stalled_of("logs"), 0);
    }
}
