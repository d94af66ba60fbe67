//! Whether the daemon is alive (its threads run) and ready (its start is done).
//!
//! Before: consumer and pipeline threads beat, and tell of assignments and stalls. After:
//! `/healthz` tells the orchestrator whether to restart, `/readyz` whether to wait.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// A thread that has not come around for this long hangs: a consumer polls ten times a second, and
/// the slowest thing it does in between, closing its windows, takes tens of milliseconds.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Brokers may be silent for this long, as when a leader moves, before the process is not ready.
const UNANSWERED_MAX: Duration = Duration::from_secs(10);

/// Liveness and readiness, written by the threads and read by requests.
#[derive(Debug)]
pub struct Health {
    /// Beats are kept as milliseconds since then: a step of the wall clock is no silence.
    origin: Instant,
    assigned: AtomicBool,
    /// The group of lanes has not given its first assignment, where there is one.
    waits_for_lanes: AtomicBool,
    ending: AtomicBool,
    /// Nothing is decided since then, because what was decided before is not sent.
    full: Mutex<Option<Instant>>,
    /// Topics and partitions that the brokers give no answer about.
    unanswered: Mutex<BTreeMap<Place, Unanswered>>,
    /// What no longer works and needs a person, by place and by which thread tells it.
    stalled: Mutex<BTreeMap<(Place, u32), String>>,
    // Locked for a push at start and a read a request, never by a beat.
    threads: Mutex<Vec<Thread>>,
}

#[derive(Debug)]
struct Unanswered {
    since: Instant,
    /// What the client said last of it.
    why: Option<String>,
}

#[derive(Debug)]
struct Thread {
    name: Arc<str>,
    beat: Arc<AtomicU64>,
}

/// What may come to a halt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// A topic.
    pub topic: Arc<str>,
    /// One of its partitions, or all of it.
    pub partition: Option<i32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(partition) = self.partition {
            write!(f, "partition {partition} of ")?;
        }
        write!(f, "topic `{}`", self.topic)
    }
}

/// One thread's sign of life.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    origin: Instant,
    beat: Arc<AtomicU64>,
}

/// The answer of `/healthz` and `/readyz`.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    /// Whether there is no reason against.
    pub(crate) ok: bool,
    /// What is wrong or still missing, in words.
    pub(crate) reasons: Vec<String>,
}

impl Health {
    /// Returns the health of a daemon without threads or partitions.
    pub fn new(now: Instant) -> Self {
        Self {
            origin: now,
            assigned: AtomicBool::new(false),
            waits_for_lanes: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            full: Mutex::default(),
            unanswered: Mutex::default(),
            stalled: Mutex::default(),
            threads: Mutex::new(Vec::new()),
        }
    }

    /// Adds a thread that must beat from now on. It counts as hanging, not as gone, when its
    /// heartbeat is dropped: a thread that ended by a panic has to be noticed.
    pub fn register(&self, name: &str, now: Instant) -> Heartbeat {
        let heartbeat = Heartbeat { origin: self.origin, beat: Arc::default() };
        heartbeat.beat(now);
        let thread = Thread { name: name.into(), beat: Arc::clone(&heartbeat.beat) };
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        heartbeat
    }

    /// Notes that the consumer group has given its first assignment, for good. That the
    /// configuration is valid is a condition of starting.
    pub fn assigned(&self) {
        self.assigned.store(true, Ordering::Relaxed);
    }

    /// Notes that there are lanes: the group of those who decide gives an assignment, too.
    pub(crate) fn wait_for_lanes(&self) {
        self.waits_for_lanes.store(true, Ordering::Relaxed);
    }

    /// Notes that it has given one, maybe of no lane.
    pub(crate) fn lanes_assigned(&self) {
        self.waits_for_lanes.store(false, Ordering::Relaxed);
    }

    /// Notes that the process ends: nobody is to be sent here any more.
    pub(crate) fn ends(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Notes whether there is room for what is decided.
    pub(crate) fn has_room(&self, has_room: bool, now: Instant) {
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        *full = if has_room { None } else { full.or(Some(now)) };
    }

    /// Notes that the brokers answer when they are asked about a topic or partition.
    pub fn answered(&self, place: &Place) {
        self.silence().remove(place);
    }

    /// Forgets what was not answered about partitions of a topic that are none of these.
    pub(crate) fn forget_others(&self, topic: &Arc<str>, partitions: impl Iterator<Item = i32>) {
        let partitions: BTreeSet<i32> = partitions.collect();
        self.silence().retain(|place, _| {
            place.topic != *topic || place.partition.is_none_or(|it| partitions.contains(&it))
        });
    }

    /// Notes that they do not, and why, where the client has said something since the last time.
    pub fn unanswered(&self, place: &Place, now: Instant, why: Option<String>) {
        let mut silence = self.silence();
        let fresh = || Unanswered { since: now, why: None };
        let unanswered = silence.entry(place.clone()).or_insert_with(fresh);
        unanswered.why = why.or(unanswered.why.take());
    }

    fn silence(&self) -> MutexGuard<'_, BTreeMap<Place, Unanswered>> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that reading has come to a halt. `thread` is the index of who tells it: another one
    /// may have the place next, before this one says that it has left.
    pub fn stalled(&self, (place, thread): (Place, u32), why: String) {
        self.stalls().insert((place, thread), why);
    }

    /// Notes that reading goes on, or is somebody else's.
    pub fn goes_on(&self, stalled: &(Place, u32)) {
        self.stalls().remove(stalled);
    }

    /// Returns how many partitions of a topic stand still.
    pub(crate) fn stalled_of(&self, topic: &str) -> usize {
        let stalls = self.stalls();
        let places = stalls.keys().map(|(place, _)| place).filter(|it| &*it.topic == topic);
        places.collect::<BTreeSet<_>>().len()
    }

    fn stalls(&self) -> MutexGuard<'_, BTreeMap<(Place, u32), String>> {
        self.stalled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn live(&self, now: Instant) -> Verdict {
        let now = millis_between(self.origin, now);
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = threads.iter().filter_map(|thread| {
            let silence =
                Duration::from_millis(now.saturating_sub(thread.beat.load(Ordering::Relaxed)));
            (SILENCE_MAX < silence)
                .then(|| format!("thread `{}` silent for {} s", thread.name, silence.as_secs()))
        });
        Verdict::against(silent.collect())
    }

    pub(crate) fn ready(&self, now: Instant) -> Verdict {
        let mut reasons = self.live(now).reasons;
        if !self.assigned.load(Ordering::Relaxed) {
            reasons.push("no partitions assigned yet".to_owned());
        }
        if self.waits_for_lanes.load(Ordering::Relaxed) {
            reasons.push("no lanes assigned yet".to_owned());
        }
        if self.ending.load(Ordering::Relaxed) {
            reasons.push("the process ends".to_owned());
        }
        let full = *self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let full = full.map(|since| now.saturating_duration_since(since));
        if let Some(full) = full.filter(|full| UNANSWERED_MAX < *full) {
            let seconds = full.as_secs();
            reasons.push(format!("nothing is read: outputs wait to be sent for {seconds} s"));
        }
        let unanswered = self.silence();
        let silent = unanswered.iter().filter_map(|(place, Unanswered { since, why })| {
            let silence = now.saturating_duration_since(*since);
            (UNANSWERED_MAX < silence).then(|| {
                let why = why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
                format!("{place}: no answer from Kafka for {} s{why}", silence.as_secs())
            })
        });
        reasons.extend(silent);
        drop(unanswered);
        reasons.extend(self.stalls().iter().map(|((place, _), why)| format!("{place}: {why}")));
        Verdict::against(reasons)
    }
}

impl Heartbeat {
    /// Notes that the thread came around at `now`.
    pub fn beat(&self, now: Instant) {
        self.beat.store(millis_between(self.origin, now), Ordering::Relaxed);
    }
}

impl Verdict {
    fn against(reasons: Vec<String>) -> Self {
        Self { ok: reasons.is_empty(), reasons }
    }
}

fn millis_between(origin: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(origin).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_thread_that_stopped_beating_is_named() {
        let start = clock::instant();
        let health = Health::new(start);
        let first = health.register("consumer-0", start);
        drop(health.register("consumer-1", start));
        let later = start + SILENCE_MAX + Duration::from_secs(12);
        first.beat(later);
        let verdict = health.live(later);
        assert!(!verdict.ok);
        assert_eq!(verdict.reasons, ["thread `consumer-1` silent for 42 s"]);
    }

    #[test]
    fn a_fresh_daemon_is_live_and_not_ready() {
        let start = clock::instant();
        let health = Health::new(start);
        assert!(health.live(start).ok);
        assert_eq!(health.ready(start).reasons, ["no partitions assigned yet"]);
    }

    #[test]
    fn readiness_needs_an_assignment_and_life() {
        let start = clock::instant();
        let health = Health::new(start);
        let heartbeat = health.register("consumer-0", start);
        health.assigned();
        assert!(health.ready(start).ok);
        let later = start + SILENCE_MAX + Duration::from_millis(1);
        assert!(!health.ready(later).ok);
        heartbeat.beat(later);
        assert!(health.ready(later).ok);
    }

    #[test]
    fn who_ends_or_has_no_room_is_not_ready() {
        let start = clock::instant();
        let health = Health::new(start);
        health.assigned();
        health.has_room(false, start);
        assert!(health.ready(start + UNANSWERED_MAX).ok);
        let later = start + UNANSWERED_MAX + Duration::from_secs(2);
        health.has_room(false, later);
        let told = "nothing is read: outputs wait to be sent for 12 s";
        assert_eq!(health.ready(later).reasons, [told]);
        health.has_room(true, later);
        assert!(health.ready(later).ok);
        health.ends();
        assert_eq!(health.ready(later).reasons, ["the process ends"]);
        assert!(health.live(later).ok);
    }

    #[test]
    fn silence_of_the_brokers_is_told_with_what_the_client_said_last() {
        let start = clock::instant();
        let health = Health::new(start);
        health.assigned();
        let topic = Place { topic: "logs".into(), partition: None };
        health.unanswered(&topic, start, None);
        health.unanswered(&topic, start, Some("wrong password".to_owned()));
        let later = start + UNANSWERED_MAX + Duration::from_secs(1);
        health.unanswered(&topic, later, None);
        assert!(health.ready(start + UNANSWERED_MAX).ok);
        let told = "topic `logs`: no answer from Kafka for 11 s (wrong password)";
        assert_eq!(health.ready(later).reasons, [told]);
        health.answered(&topic);
        assert!(health.ready(later).ok);
        let gone = Place { partition: Some(5), ..topic.clone() };
        health.unanswered(&gone, start, None);
        assert!(!health.ready(later).ok);
        health.forget_others(&topic.topic, 0..5);
        assert!(health.ready(later).ok, "the topic has five partitions");
    }

    #[test]
    fn a_stalled_topic_is_no_reason_to_restart_and_one_not_to_be_ready() {
        let start = clock::instant();
        let health = Health::new(start);
        health.assigned();
        let place = Place { topic: "logs".into(), partition: None };
        health.stalled((place.clone(), 0), "an offset is gone".to_owned());
        health.stalled((place.clone(), 0), "an offset is gone".to_owned());
        assert!(health.live(start).ok);
        assert_eq!(health.ready(start).reasons, ["topic `logs`: an offset is gone"]);
        health.goes_on(&(place, 0));
        assert!(health.ready(start).ok);
    }

    #[test]
    fn who_leaves_a_place_says_nothing_of_the_next_who_has_it() {
        let start = clock::instant();
        let health = Health::new(start);
        health.assigned();
        let place = Place { topic: "logs".into(), partition: Some(2) };
        health.stalled((place.clone(), 0), "rows are damaged".to_owned());
        health.stalled((place.clone(), 1), "rows are damaged".to_owned());
        assert_eq!(health.stalled_of("logs"), 1);
        health.goes_on(&(place.clone(), 0));
        assert_eq!(health.ready(start).reasons, ["partition 2 of topic `logs`: rows are damaged"]);
        health.goes_on(&(place, 1));
        assert!(health.ready(start).ok);
    }

    #[test]
    fn who_decides_is_ready_when_both_groups_have_given_an_assignment() {
        let start = clock::instant();
        let health = Health::new(start);
        health.wait_for_lanes();
        health.assigned();
        assert_eq!(health.ready(start).reasons, ["no lanes assigned yet"]);
        health.lanes_assigned();
        assert!(health.ready(start).ok);
    }
}
