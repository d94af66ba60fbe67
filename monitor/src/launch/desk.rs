//! Decides about each retraining event: start, wait, refuse; and follows the jobs that run.
//!
//! Before: [`crate::launch`] reads events. After: [`Report`]s for the status topic, finished
//! offsets for the group. Knows neither Kafka nor how a job runs; time is an argument.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use driftd_catalog::Timestamp;
use driftd_catalog::event::{
    CloudEvent, ModelRef, RetrainingRequested, RetrainingState, RetrainingStatus,
};
use driftd_core::config::LauncherConfig;

use crate::launch::ledger::Ledger;
use crate::launch::{Backend, Job, JobEnd};

/// Events waiting for a place; more are left in the topic.
const WAITING_MAX: usize = 100;

/// How often stopped jobs are looked at until they are over.
const STOP_POLL: Duration = Duration::from_millis(20);

/// Where an event stands in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// A status to be published.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) model: ModelRef,
    pub(crate) status: RetrainingStatus,
    pub(crate) at: Timestamp,
}

type Event = Arc<CloudEvent<RetrainingRequested>>;

pub(crate) struct Desk {
    config: LauncherConfig,
    backend: Box<dyn Backend>,
    ledger: Ledger,
    waiting: VecDeque<(Place, Event)>,
    running: Vec<Running>,
    /// When the last job of a model started, by model name.
    started: BTreeMap<Arc<str>, Timestamp>,
    /// Taken and not yet over, by place.
    unfinished: BTreeSet<Place>,
    /// Over, and not yet committed: the greatest offset by partition.
    finished: BTreeMap<i32, i64>,
}

struct Running {
    place: Place,
    event: Event,
    job: Box<dyn Job>,
    started_at: Timestamp,
    /// Set once the job was told to end.
    ending: Option<&'static str>,
}

impl Desk {
    pub(crate) fn new(config: &LauncherConfig, backend: Box<dyn Backend>, ledger: Ledger) -> Self {
        Self {
            config: config.clone(),
            backend,
            ledger,
            waiting: VecDeque::new(),
            running: Vec::new(),
            started: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            finished: BTreeMap::new(),
        }
    }

    /// Returns whether no more events should be read for now.
    pub(crate) fn is_full(&self) -> bool {
        WAITING_MAX <= self.waiting.len()
    }

    /// Passes over a message that is no event.
    pub(crate) fn skip(&mut self, place: Place) {
        self.finish(place);
    }

    /// Takes an event; returns what is to be reported about it at once.
    pub(crate) fn take(&mut self, now: Timestamp, place: Place, event: Event) -> Vec<Report> {
        match self.ledger.get(&event.id).copied() {
            Some(state) if state.is_final() => {
                tracing::info!(id = %event.id, state = state.as_str(), "event is known; nothing to do");
                self.finish(place);
                return Vec::new();
            }
            Some(RetrainingState::Started) if !self.is_running(&event.id) => {
                self.finish(place);
                let reason = "the launcher ended while the job ran; it is not started again";
                return vec![self.report(now, &event, RetrainingState::Failed, reason)];
            }
            Some(_) if self.is_known(&event.id) => {
                self.finish(place);
                return Vec::new();
            }
            Some(_) | None => {}
        }
        if event.expirytime.is_some_and(|expiry| expiry < now) {
            self.finish(place);
            return vec![self.report(
                now,
                &event,
                RetrainingState::Rejected,
                "the event has expired",
            )];
        }
        self.unfinished.insert(place);
        let report = self.report(now, &event, RetrainingState::Accepted, "");
        self.waiting.push_back((place, event));
        vec![report]
    }

    /// Looks at running jobs and starts waiting ones.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Vec<Report> {
        let mut reports = self.collect(now);
        while self.running.len() < self.config.concurrency_max {
            let Some((place, event)) = self.waiting.pop_front() else { break };
            reports.push(self.start(now, place, event));
        }
        reports
    }

    /// Ends all jobs, and waits for none to start. Waiting events stay in the topic.
    pub(crate) fn stop_all(&mut self, now: Timestamp) -> Vec<Report> {
        self.waiting.clear();
        for running in &mut self.running {
            running.end("the launcher was stopped");
        }
        let mut reports = Vec::new();
        while !self.running.is_empty() {
            reports.extend(self.collect(now));
            thread::park_timeout(STOP_POLL);
        }
        reports
    }

    /// Returns, for each partition, the last offset below which everything is over.
    pub(crate) fn take_finished(&mut self) -> Vec<Place> {
        let (done, held): (Vec<Place>, Vec<Place>) = mem::take(&mut self.finished)
            .into_iter()
            .map(|(partition, offset)| Place { partition, offset })
            .partition(|place| {
                let first = Place { partition: place.partition, offset: i64::MIN };
                self.unfinished.range(first..*place).next().is_none()
            });
        self.finished.extend(held.into_iter().map(|place| (place.partition, place.offset)));
        done
    }

    fn is_running(&self, id: &str) -> bool {
        self.running.iter().any(|running| running.event.id == id)
    }

    fn is_known(&self, id: &str) -> bool {
        self.is_running(id) || self.waiting.iter().any(|(_, event)| event.id == id)
    }

    fn start(&mut self, now: Timestamp, place: Place, event: Event) -> Report {
        let model = Arc::clone(&event.data.model.name);
        let cooldown = i64::try_from(self.config.cooldown_millis).unwrap_or(i64::MAX);
        if let Some(last) = self.started.get(&model).copied()
            && now < last.plus_millis(cooldown)
        {
            let until = last.plus_millis(cooldown);
            self.finish(place);
            let reason = format!("the model had a job at {last}; the cooldown ends at {until}");
            return self.report(now, &event, RetrainingState::Rejected, &reason);
        }
        match self.backend.start(&event) {
            Ok(job) => {
                self.started.insert(model, now);
                let mut report = self.report(now, &event, RetrainingState::Started, "");
                report.status.started_at = Some(now);
                self.running.push(Running { place, event, job, started_at: now, ending: None });
                report
            }
            Err(error) => {
                self.finish(place);
                self.report(now, &event, RetrainingState::Failed, &error.to_string())
            }
        }
    }

    /// Reports the jobs that have ended, and ends those that take too long.
    fn collect(&mut self, now: Timestamp) -> Vec<Report> {
        let timeout = i64::try_from(self.config.timeout_millis).unwrap_or(i64::MAX);
        let mut reports = Vec::new();
        for mut running in mem::take(&mut self.running) {
            if let Some(end) = running.job.poll() {
                self.finish(running.place);
                reports.push(self.ended(now, &running, end));
                continue;
            }
            if running.started_at.plus_millis(timeout) <= now {
                running.end("the job took longer than `launcher.timeout`");
            }
            self.running.push(running);
        }
        reports
    }

    fn ended(&mut self, now: Timestamp, running: &Running, end: JobEnd) -> Report {
        let succeeded = end.succeeded && running.ending.is_none();
        let state = if succeeded { RetrainingState::Succeeded } else { RetrainingState::Failed };
        let mut report = self.report(now, &running.event, state, "");
        report.status.reason = running.ending.map(str::to_owned).or(end.reason);
        report.status.exit_code = end.exit_code;
        report.status.started_at = Some(running.started_at);
        report.status.finished_at = Some(now);
        report.status.new_version = end.new_version;
        report.status.reference = end.reference;
        report
    }

    fn report(
        &mut self,
        now: Timestamp,
        event: &CloudEvent<RetrainingRequested>,
        state: RetrainingState,
        reason: &str,
    ) -> Report {
        self.ledger.insert(event.id.clone(), state);
        Report {
            model: event.data.model.clone(),
            at: now,
            status: RetrainingStatus {
                request_id: event.id.clone(),
                state,
                reason: (!reason.is_empty()).then(|| reason.to_owned()),
                exit_code: None,
                started_at: None,
                finished_at: None,
                new_version: None,
                reference: None,
            },
        }
    }

    fn finish(&mut self, place: Place) {
        self.unfinished.remove(&place);
        let newest = self.finished.entry(place.partition).or_insert(place.offset);
        *newest = place.offset.max(*newest);
    }
}

impl Running {
    fn end(&mut self, reason: &'static str) {
        if self.ending.is_none() {
            self.ending = Some(reason);
            self.job.stop();
        }
    }
}
