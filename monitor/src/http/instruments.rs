//! What the edge measures about itself: answers, evaluations, the queue before the pipeline.
//!
//! Before: the threads that do these things write here. After: [`super::metrics`] reads at each
//! scrape. Writers add to atomic numbers; only the counts of requests, whose labels are found at
//! run time, are behind a lock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use driftd_catalog::Timestamp;
use driftd_catalog::metric::{EVALUATION_DURATION_BUCKETS, HTTP_DURATION_BUCKETS};
use driftd_core::snapshot::Totals;

/// Counters of the process outside the pipeline.
#[derive(Debug)]
pub struct Instruments {
    evaluations: Durations,
    queue_batches: AtomicU64,
    queue_batches_max: u64,
    outbox_messages: AtomicU64,
    outbox_bytes: AtomicU64,
    /// Milliseconds since 1970; the least number before the first time.
    stored_at: AtomicI64,
    store_bytes: AtomicU64,
    lanes: Mutex<LaneCounts>,
    requests: Mutex<BTreeMap<RequestKey, u64>>,
    answers: BTreeMap<&'static str, Durations>,
}

/// What lanes came to in this process. What a lane had come to before it moved here was counted
/// where it was: a counter that jumps by it would be a rate of nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounts {
    /// Jobs reported as succeeded.
    pub jobs_succeeded: u64,
    /// Jobs reported as failed.
    pub jobs_failed: u64,
    /// Lines of results that are in their topic.
    pub results_stored: u64,
    /// Lines of results that were left out.
    pub results_failed: u64,
    /// Counts that could not be added.
    pub left_out: u64,
}

impl LaneCounts {
    /// Returns what came between two totals of one lane.
    pub fn between(before: &Totals, after: &Totals) -> Self {
        Self {
            jobs_succeeded: after.jobs_succeeded.saturating_sub(before.jobs_succeeded),
            jobs_failed: after.jobs_failed.saturating_sub(before.jobs_failed),
            results_stored: after.results_stored.saturating_sub(before.results_stored),
            results_failed: after.results_failed.saturating_sub(before.results_failed),
            left_out: after.left_out.saturating_sub(before.left_out),
        }
    }

    fn add(&mut self, other: Self) {
        self.jobs_succeeded += other.jobs_succeeded;
        self.jobs_failed += other.jobs_failed;
        self.results_stored += other.results_stored;
        self.results_failed += other.results_failed;
        self.left_out += other.left_out;
    }
}

/// Labels of one count of requests: each from a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestKey {
    pub(super) route: &'static str,
    pub(super) method: &'static str,
    pub(super) code: u16,
}

impl Instruments {
    /// Returns instruments at zero, for a queue with room for `queue_batches_max` decoded batches.
    pub fn new(queue_batches_max: usize) -> Self {
        let answers = super::ROUTES.iter();
        Self {
            evaluations: Durations::new(EVALUATION_DURATION_BUCKETS),
            queue_batches: AtomicU64::new(0),
            queue_batches_max: queue_batches_max as u64,
            outbox_messages: AtomicU64::new(0),
            outbox_bytes: AtomicU64::new(0),
            stored_at: AtomicI64::new(i64::MIN),
            store_bytes: AtomicU64::new(0),
            lanes: Mutex::default(),
            requests: Mutex::new(BTreeMap::new()),
            answers: answers.map(|route| (*route, Durations::new(HTTP_DURATION_BUCKETS))).collect(),
        }
    }

    /// Notes that one closed window was evaluated.
    pub fn evaluated(&self, took: Duration) {
        self.evaluations.observe(took);
    }

    /// Notes how many decoded batches wait for the pipeline.
    pub fn queued(&self, batches: usize) {
        self.queue_batches.store(batches as u64, Ordering::Relaxed);
    }

    /// Notes how many outputs wait to be sent, and the memory that they take.
    pub fn outbox(&self, messages: usize, bytes: usize) {
        self.outbox_messages.store(messages as u64, Ordering::Relaxed);
        self.outbox_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    /// Notes the memory that the store takes.
    pub fn store_takes(&self, bytes: u64) {
        self.store_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Notes that state was stored.
    pub fn stored(&self, now: Timestamp) {
        self.stored_at.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Notes what lanes came to.
    pub fn lanes_came_to(&self, counts: LaneCounts) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).add(counts);
    }

    /// Returns what lanes came to in this process.
    pub(super) fn lanes(&self) -> LaneCounts {
        *self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when state was stored last, if it is kept.
    pub(super) fn stored_at(&self) -> Option<Timestamp> {
        let millis = self.stored_at.load(Ordering::Relaxed);
        (millis != i64::MIN).then(|| Timestamp::from_millis(millis))
    }

    /// Returns the memory of the store when state was stored last.
    pub(super) fn store_bytes(&self) -> u64 {
        self.store_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn answered(
        &self,
        route: &'static str,
        method: &Method,
        code: StatusCode,
        took: Duration,
    ) {
        // Anybody can invent a method: only two are told apart.
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            _ => "other",
        };
        let key = RequestKey { route, method, code: code.as_u16() };
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
        if let Some(durations) = self.answers.get(route) {
            durations.observe(took);
        }
    }

    pub(super) fn evaluations(&self) -> &Durations {
        &self.evaluations
    }

    pub(super) fn queue(&self) -> (u64, u64) {
        (self.queue_batches.load(Ordering::Relaxed), self.queue_batches_max)
    }

    pub(super) fn outbox_waiting(&self) -> (u64, u64) {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (read(&self.outbox_messages), read(&self.outbox_bytes))
    }

    pub(super) fn requests(&self) -> BTreeMap<RequestKey, u64> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn answers(&self) -> impl Iterator<Item = (&'static str, &Durations)> {
        self.answers.iter().map(|(route, durations)| (*route, durations))
    }
}

/// A histogram of durations that many threads write.
#[derive(Debug)]
pub(super) struct Durations {
    bounds: &'static [f64],
    /// One a bound, not cumulative, then one for what is above all of them.
    counts: Vec<AtomicU64>,
    nanos: AtomicU64,
}

/// A reading of [`Durations`].
#[derive(Debug, PartialEq)]
pub(super) struct Distribution {
    /// `(upper bound, observations at most that)`.
    pub(super) buckets: Vec<(f64, u64)>,
    pub(super) count: u64,
    pub(super) sum: f64,
}

impl Durations {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, nanos: AtomicU64::new(0) }
    }

    fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let at = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Reads each number once: the count is that of the buckets, whatever is added meanwhile.
    pub(super) fn read(&self) -> Distribution {
        let mut count = 0;
        let mut cumulative = self.counts.iter().map(|bucket| {
            count += bucket.load(Ordering::Relaxed);
            count
        });
        let buckets = self.bounds.iter().copied().zip(cumulative.by_ref()).collect();
        cumulative.for_each(drop);
        Distribution { buckets, count, sum: self.nanos.load(Ordering::Relaxed) as f64 / 1e9 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_that_ends_at_or_above_them() {
        let durations = Durations::new(&[0.001, 0.01]);
        for micros in [1_000, 1_001, 10_000, 10_001] {
            durations.observe(Duration::from_micros(micros));
        }
        let reading = durations.read();
        assert_eq!(reading.buckets, [(0.001, 1), (0.01, 3)]);
        assert_eq!(reading.count, 4);
        assert!((reading.sum - 0.022_002).abs() < 1e-9);
    }

    #[test]
    fn what_a_lane_had_come_to_elsewhere_is_not_counted_here() {
        let restored = Totals { jobs_succeeded: 40, jobs_failed: 2, ..Totals::default() };
        let later = Totals { jobs_succeeded: 41, results_stored: 7, ..restored };
        let instruments = Instruments::new(1);
        instruments.lanes_came_to(LaneCounts::between(&restored, &restored));
        assert_eq!(instruments.lanes(), LaneCounts::default());
        instruments.lanes_came_to(LaneCounts::between(&restored, &later));
        let expected = LaneCounts { jobs_succeeded: 1, results_stored: 7, ..LaneCounts::default() };
        assert_eq!(instruments.lanes(), expected);
    }

    #[test]
    fn an_invented_method_makes_no_label() {
        let instruments = Instruments::new(1);
        let method = Method::from_bytes(b"GRAB").expect("a token");
        instruments.answered("/", &method, StatusCode::METHOD_NOT_ALLOWED, Duration::ZERO);
        let requests = instruments.requests();
        let keys: Vec<_> = requests.keys().collect();
        assert_eq!(keys, [&RequestKey { route: "/", method: "other", code: 405 }]);
    }
}
