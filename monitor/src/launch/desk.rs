//! Decides about each retraining event: start, wait, refuse; and follows the jobs that run.
//!
//! Before: [`crate::launch`] reads events. After: [`Report`]s for the status topic, finished
//! offsets for the group. Knows neither Kafka nor how a job runs; time is an argument.
//!
//! A job starts only when the report that it starts is in the status topic, before that of any
//! other launcher, and an event is over only after its last report is stored: whoever reads the
//! topic later repeats nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use driftd_catalog::Timestamp;
use driftd_catalog::event::{
    CloudEvent, ModelRef, RetrainingRequested, RetrainingState, RetrainingStatus,
};
use driftd_core::config::LauncherConfig;

use crate::launch::ledger::Ledger;
use crate::launch::{Backend, Job, JobEnd};

/// Events waiting for a place; more are left in the topic.
const WAITING_MAX: usize = 100;

/// Looks at the group, seconds apart, that have to miss a launcher before it counts as gone.
const MISSED_LOOKS: u32 = 3;

/// Where an event stands in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// A status to be published.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) model: ModelRef,
    pub(crate) status: RetrainingStatus,
    pub(crate) at: Timestamp,
}

type Event = Arc<CloudEvent<RetrainingRequested>>;

pub(crate) struct Desk {
    /// Name of this launcher in its reports.
    launcher: String,
    config: LauncherConfig,
    backend: Box<dyn Backend>,
    ledger: Ledger,
    /// Events that are not over, in the order they came.
    tasks: Vec<Task>,
    /// Over, and not yet committed: the greatest offset by partition.
    finished: BTreeMap<i32, i64>,
    is_stopping: bool,
}

/// An event that is not over.
struct Task {
    event: Event,
    /// `None` once its partition is another launcher's.
    place: Option<Place>,
    step: Step,
}

enum Step {
    /// Accepted; there is no room yet.
    Waiting,
    /// A job of another launcher, which has to report its end; looks in a row that missed it.
    Elsewhere {
        missed: u32,
    },
    /// The report that the job starts is not seen in the status topic yet.
    Announced {
        at: Timestamp,
    },
    Running(Running),
    /// The last report is not stored yet.
    Ended,
}

struct Running {
    job: Box<dyn Job>,
    started_at: Timestamp,
    /// Set once the job was told to end.
    ending: Option<&'static str>,
}

impl Desk {
    pub(crate) fn new(launcher: &str, config: &LauncherConfig, backend: Box<dyn Backend>) -> Self {
        Self {
            launcher: launcher.to_owned(),
            config: config.clone(),
            backend,
            ledger: Ledger::default(),
            tasks: Vec::new(),
            finished: BTreeMap::new(),
            is_stopping: false,
        }
    }

    /// Returns whether no more events should be read for now.
    pub(crate) fn is_full(&self) -> bool {
        let waiting = self.tasks.iter().filter(|task| !matches!(task.step, Step::Running(_)));
        WAITING_MAX <= waiting.count()
    }

    /// Returns whether an event waits for another launcher.
    pub(crate) fn looks_elsewhere(&self) -> bool {
        self.tasks.iter().any(|task| matches!(task.step, Step::Elsewhere { .. }))
    }

    /// Returns what is known of all events, to be kept up to date.
    pub(crate) fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Passes over a message that is no event.
    pub(crate) fn skip(&mut self, place: Place) {
        finish(&mut self.finished, Some(place));
    }

    /// Takes an event; returns what is to be reported about it at once.
    pub(crate) fn take(&mut self, now: Timestamp, place: Place, event: Event) -> Option<Report> {
        if let Some(task) = self.tasks.iter_mut().find(|task| task.event.id == event.id) {
            // Read again after a rebalance, or sent twice: a later place holds the commit as well.
            task.place = task.place.max(Some(place));
            return None;
        }
        let (step, report) = match self.ledger.report(&event.id).cloned() {
            Some(known) if known.state.is_final() => {
                tracing::info!(id = %event.id, state = known.state.as_str(), "event is known; its end is told again");
                // Again, for a daemon that started after it was first told.
                let report = Report { model: event.data.model.clone(), status: known, at: now };
                (Step::Ended, Some(report))
            }
            Some(known) if known.state == RetrainingState::Started => {
                let launcher = known.launcher.as_deref();
                tracing::info!(id = %event.id, launcher, "event is another launcher's");
                (Step::Elsewhere { missed: 0 }, None)
            }
            Some(_) | None if is_expired(&event, now) => {
                (Step::Ended, Some(rejection(now, &event, EXPIRED)))
            }
            Some(_) | None => {
                let accepted = report(now, &event, RetrainingState::Accepted);
                (Step::Waiting, Some(accepted))
            }
        };
        self.tasks.push(Task { event, place: Some(place), step });
        report
    }

    /// Looks at running jobs, starts announced ones and announces waiting ones.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Vec<Report> {
        let mut reports = self.collect(now);
        reports.extend(self.start_announced(now));
        reports.extend(self.announce_waiting(now));
        reports
    }

    fn start_announced(&mut self, now: Timestamp) -> Vec<Report> {
        let mut reports = Vec::new();
        for task in &mut self.tasks {
            if !matches!(task.step, Step::Announced { .. }) {
                continue;
            }
            let (step, report) = match self.ledger.starter(&task.event.id) {
                None => continue,
                Some(starter) if starter != self.launcher => (Step::Elsewhere { missed: 0 }, None),
                Some(_) if self.is_stopping => {
                    (Step::Ended, Some(failure(&self.launcher, now, &task.event, STOPPED)))
                }
                Some(_) if is_expired(&task.event, now) => {
                    (Step::Ended, Some(rejection(now, &task.event, EXPIRED)))
                }
                Some(_) => match self.backend.start(&task.event) {
                    Ok(job) => {
                        (Step::Running(Running { job, started_at: now, ending: None }), None)
                    }
                    Err(error) => {
                        let reason = error.to_string();
                        (Step::Ended, Some(failure(&self.launcher, now, &task.event, &reason)))
                    }
                },
            };
            task.step = step;
            reports.extend(report);
        }
        reports
    }

    fn announce_waiting(&mut self, now: Timestamp) -> Vec<Report> {
        let mut reports = Vec::new();
        for index in 0..self.tasks.len() {
            if !matches!(self.tasks[index].step, Step::Waiting) {
                continue;
            }
            if self.is_stopping || self.config.concurrency_max <= self.busy() {
                break;
            }
            let event = Arc::clone(&self.tasks[index].event);
            let (step, report) = match self.refusal(now, &event) {
                Some(reason) => (Step::Ended, rejection(now, &event, &reason)),
                None => (Step::Announced { at: now }, announcement(&self.launcher, now, &event)),
            };
            self.tasks[index].step = step;
            reports.push(report);
        }
        reports
    }

    /// Takes the broker's word that a report is stored.
    pub(crate) fn stored(&mut self, report: &Report) {
        let status = &report.status;
        if !status.state.is_final() {
            return;
        }
        self.ledger.note(&report.model.name, status);
        let is_over =
            |task: &Task| task.event.id == status.request_id && matches!(task.step, Step::Ended);
        if let Some(index) = self.tasks.iter().position(is_over) {
            let task = self.tasks.remove(index);
            finish(&mut self.finished, task.place);
        }
    }

    /// Looks at the events that wait for another launcher, given the names of those that live.
    pub(crate) fn look_elsewhere(
        &mut self,
        now: Timestamp,
        living: &BTreeSet<String>,
    ) -> Vec<Report> {
        // An answer without this launcher is no answer: a group that moves looks empty.
        let is_seen = living.contains(&self.launcher);
        let mut reports = Vec::new();
        for task in &mut self.tasks {
            let Step::Elsewhere { missed } = &mut task.step else { continue };
            let Some(known) = self.ledger.report(&task.event.id) else { continue };
            let starter = self.ledger.starter(&task.event.id);
            if known.state.is_final() {
                let (model, status) = (task.event.data.model.clone(), known.clone());
                reports.push(Report { model, status, at: now });
                task.step = Step::Ended;
            } else if starter.is_some_and(|it| living.contains(it)) {
                *missed = 0;
            } else if is_seen {
                *missed += 1;
                if *missed < MISSED_LOOKS && starter.is_some() {
                    continue;
                }
                let mut report = report(now, &task.event, RetrainingState::Failed);
                report.status.reason = Some(GONE.to_owned());
                report.status.started_at = self.ledger.started_at(&task.event.id);
                reports.push(report);
                task.step = Step::Ended;
            }
        }
        reports
    }

    /// Lets go of partitions. Their jobs that run are followed to the end.
    pub(crate) fn revoke(&mut self, partitions: &[i32]) {
        let is_gone =
            |place: Option<Place>| place.is_some_and(|it| partitions.contains(&it.partition));
        self.tasks.retain(|task| {
            !(is_gone(task.place) && matches!(task.step, Step::Waiting | Step::Elsewhere { .. }))
        });
        for task in &mut self.tasks {
            if is_gone(task.place) {
                task.place = None;
            }
        }
        self.finished.retain(|partition, _| !partitions.contains(partition));
    }

    /// Tells all jobs to end, and lets none start. Waiting events stay in the topic: they hold back
    /// the commit.
    pub(crate) fn stop(&mut self) {
        self.is_stopping = true;
        for task in &mut self.tasks {
            if let Step::Running(running) = &mut task.step {
                running.end(STOPPED);
            }
        }
    }

    /// Reports the jobs that have ended, and ends those that take too long.
    fn collect(&mut self, now: Timestamp) -> Vec<Report> {
        let timeout = i64::try_from(self.config.timeout_millis).unwrap_or(i64::MAX);
        let mut reports = Vec::new();
        for index in 0..self.tasks.len() {
            let task = &mut self.tasks[index];
            let Step::Running(running) = &mut task.step else { continue };
            let Some(end) = running.job.poll() else {
                if running.started_at.plus_millis(timeout) <= now {
                    running.end("the job took longer than `launcher.timeout`");
                }
                continue;
            };
            reports.push(running.end_report(&self.launcher, now, &task.event, end));
            task.step = Step::Ended;
        }
        reports
    }

    /// Returns how many jobs run, or are about to.
    pub(crate) fn busy(&self) -> usize {
        let is_busy = |task: &&Task| matches!(task.step, Step::Announced { .. } | Step::Running(_));
        self.tasks.iter().filter(is_busy).count()
    }

    /// Takes places back that could not be committed.
    pub(crate) fn keep_finished(&mut self, places: Vec<Place>) {
        for place in places {
            finish(&mut self.finished, Some(place));
        }
    }

    /// Returns, for each partition, the last offset below which everything is over.
    pub(crate) fn take_finished(&mut self) -> Vec<Place> {
        let places = self.tasks.iter().filter_map(|task| task.place);
        let unfinished: BTreeSet<Place> = places.collect();
        let is_done = |partition: i32, offset: i64| {
            let first = Place { partition, offset: i64::MIN };
            unfinished.range(first..Place { partition, offset }).next().is_none()
        };
        self.finished
            .extract_if(.., |partition, offset| is_done(*partition, *offset))
            .map(|(partition, offset)| Place { partition, offset })
            .collect()
    }

    /// Returns why an event must not be started now.
    fn refusal(&self, now: Timestamp, event: &Event) -> Option<String> {
        if is_expired(event, now) {
            return Some(EXPIRED.to_owned());
        }
        let cooldown = i64::try_from(self.config.cooldown_millis).unwrap_or(i64::MAX);
        let model = &event.data.model.name;
        let own = self.tasks.iter().filter(|task| task.event.data.model.name == *model);
        let last = own.filter_map(Task::started_at).max().max(self.ledger.last_start(model))?;
        let until = last.plus_millis(cooldown);
        (now < until)
            .then(|| format!("the model had a job at {last}; the cooldown ends at {until}"))
    }
}

impl Task {
    fn started_at(&self) -> Option<Timestamp> {
        match &self.step {
            Step::Announced { at } => Some(*at),
            Step::Running(running) => Some(running.started_at),
            Step::Waiting | Step::Elsewhere { .. } | Step::Ended => None,
        }
    }
}

const EXPIRED: &str = "the event has expired";
const GONE: &str = "the launcher ended while the job ran; it is not started again";
/// Why jobs end with their launcher.
const STOPPED: &str = "the launcher was stopped";

impl Running {
    fn end(&mut self, reason: &'static str) {
        if self.ending.is_none() {
            self.ending = Some(reason);
            self.job.stop();
        }
    }

    fn end_report(&self, launcher: &str, now: Timestamp, event: &Event, end: JobEnd) -> Report {
        let succeeded = end.succeeded && self.ending.is_none();
        let state = if succeeded { RetrainingState::Succeeded } else { RetrainingState::Failed };
        let mut report = report(now, event, state);
        report.status.reason = self.ending.map(str::to_owned).or(end.reason);
        report.status.exit_code = end.exit_code;
        report.status.started_at = Some(self.started_at);
        report.status.finished_at = Some(now);
        report.status.new_version = end.new_version;
        report.status.reference = end.reference;
        report.status.launcher = Some(launcher.to_owned());
        report
    }
}

fn announcement(launcher: &str, now: Timestamp, event: &Event) -> Report {
    let mut report = report(now, event, RetrainingState::Started);
    report.status.started_at = Some(now);
    report.status.launcher = Some(launcher.to_owned());
    report
}

fn rejection(now: Timestamp, event: &Event, reason: &str) -> Report {
    let mut report = report(now, event, RetrainingState::Rejected);
    report.status.reason = Some(reason.to_owned());
    report
}

/// A job of this launcher that never ran.
fn failure(launcher: &str, now: Timestamp, event: &Event, reason: &str) -> Report {
    let mut report = report(now, event, RetrainingState::Failed);
    report.status.reason = Some(reason.to_owned());
    report.status.launcher = Some(launcher.to_owned());
    report
}

fn report(now: Timestamp, event: &Event, state: RetrainingState) -> Report {
    let status = RetrainingStatus::new(&event.id, state);
    Report { model: event.data.model.clone(), at: now, status }
}

fn is_expired(event: &Event, now: Timestamp) -> bool {
    event.expirytime.is_some_and(|expiry| expiry < now)
}

fn finish(finished: &mut BTreeMap<i32, i64>, place: Option<Place>) {
    let Some(Place { partition, offset }) = place else { return };
    let newest = finished.entry(partition).or_insert(offset);
    *newest = offset.max(*newest);
}

#[cfg(test)]
mod tests;
