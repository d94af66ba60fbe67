//! Tests of the desk with jobs that end when told to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use driftd_catalog::event::{
    DataRef, Links, ReasonKind, ReferenceRef, Request, RequestReason, WindowRef,
};

use super::*;
use crate::launch::StartJobError;

const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);
const COOLDOWN: i64 = 60_000;

/// Counts starts; all jobs end once there is an end.
#[derive(Clone, Default)]
struct Jobs(Arc<State>);

#[derive(Default)]
struct State {
    started: AtomicUsize,
    end: Mutex<Option<JobEnd>>,
}

impl Jobs {
    fn started(&self) -> usize {
        self.0.started.load(Ordering::Relaxed)
    }

    fn end(&self, succeeded: bool) {
        *self.0.end.lock().unwrap() = Some(JobEnd { succeeded, ..JobEnd::default() });
    }
}

impl Backend for Jobs {
    fn start(
        &self,
        event: &CloudEvent<RetrainingRequested>,
    ) -> Result<Box<dyn Job>, StartJobError> {
        if event.id == "rt-absent" {
            return Err(StartJobError { reason: "no such program".to_owned() });
        }
        self.0.started.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(self.clone()))
    }
}

impl Job for Jobs {
    fn poll(&mut self) -> Option<JobEnd> {
        self.0.end.lock().unwrap().clone()
    }

    fn stop(&mut self) {
        self.end(false);
    }
}

fn desk(jobs: &Jobs) -> Desk {
    let config = LauncherConfig {
        command: vec!["true".to_owned()],
        working_directory: None,
        timeout_millis: 3_600_000,
        concurrency_max: 1,
        cooldown_millis: COOLDOWN.unsigned_abs(),
        group: "launchers".to_owned(),
    };
    Desk::new("this", &config, Box::new(jobs.clone()))
}

fn event(id: &str, model: &str) -> Event {
    let model = ModelRef { name: model.into(), version: "1".into() };
    let data = RetrainingRequested {
        request: Request {
            dedupe_key: id.to_owned(),
            attempt: 1,
            policy: "p".into(),
            cooldown_until: NOW,
        },
        model: model.clone(),
        reason: RequestReason {
            kind: ReasonKind::FeatureDrift,
            features_drifted: 1,
            features_monitored: 1,
            summary: String::new(),
        },
        evidence: Vec::new(),
        window: WindowRef { start: NOW, end: NOW, segment: "all".to_owned(), rows: 1 },
        reference: ReferenceRef { id: String::new(), digest: String::new(), rows: 1, uri: None },
        data: DataRef { topic: "logs".into(), offsets: BTreeMap::new() },
        links: Links::default(),
    };
    Arc::new(CloudEvent::new("/driftd/test", id.to_owned(), NOW, &model, data))
}

fn at(offset: i64) -> Place {
    Place { partition: 0, offset }
}

fn states<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Vec<(String, RetrainingState)> {
    let reports = reports.into_iter();
    reports.map(|it| (it.status.request_id.clone(), it.status.state)).collect()
}

fn pair(id: &str, state: RetrainingState) -> (String, RetrainingState) {
    (id.to_owned(), state)
}

/// Brings an event to where its job runs.
fn run(desk: &mut Desk, offset: i64, id: &str, model: &str) {
    let accepted = desk.take(NOW, at(offset), event(id, model)).unwrap();
    assert!(desk.stored(NOW, &accepted).is_none());
    let started = desk.tick(NOW);
    assert_eq!(states(&started), [pair(id, RetrainingState::Started)]);
    assert!(desk.stored(NOW, &started[0]).is_none());
}

#[test]
fn a_job_starts_only_when_its_report_is_stored() {
    let jobs = Jobs::default();
    let mut desk = desk(&jobs);
    desk.take(NOW, at(0), event("rt-a", "a"));
    let started = desk.tick(NOW);
    assert_eq!(states(&started), [pair("rt-a", RetrainingState::Started)]);
    assert_eq!(started[0].status.launcher.as_deref(), Some("this"));
    assert_eq!((jobs.started(), desk.busy()), (0, 1));
    assert!(desk.tick(NOW).is_empty());
    assert!(desk.stored(NOW, &started[0]).is_none());
    assert_eq!(jobs.started(), 1);
    assert!(desk.stored(NOW, &started[0]).is_none(), "the broker's answer twice");
    assert_eq!(jobs.started(), 1);
}

#[test]
fn an_event_is_over_only_when_its_last_report_is_stored() {
    let jobs = Jobs::default();
    let mut desk = desk(&jobs);
    run(&mut desk, 4, "rt-a", "a");
    jobs.end(true);
    let ended = desk.tick(NOW);
    assert_eq!(states(&ended), [pair("rt-a", RetrainingState::Succeeded)]);
    assert_eq!(ended[0].status.started_at, Some(NOW));
    assert!(desk.take_finished().is_empty());
    desk.stored(NOW, &ended[0]);
    assert_eq!(desk.take_finished(), [at(4)]);
    assert!(desk.take_finished().is_empty());
}

#[test]
fn an_event_read_again_holds_back_the_commit() {
    let jobs = Jobs::default();
    let mut desk = desk(&jobs);
    run(&mut desk, 4, "rt-a", "a");
    desk.take(NOW, at(5), event("rt-b", "b"));
    // A rebalance gave the partition away and back.
    assert!(desk.take(NOW, at(4), event("rt-a", "a")).is_none());
    assert!(desk.take(NOW, at(5), event("rt-b", "b")).is_none());
    desk.skip(at(6));
    assert!(desk.take_finished().is_empty());
    assert_eq!(jobs.started(), 1);
}

#[test]
fn an_event_sent_twice_runs_once() {
    let jobs = Jobs::default();
    let mut desk = desk(&jobs);
    run(&mut desk, 0, "rt-a", "a");
    jobs.end(true);
    let ended = desk.tick(NOW);
    desk.stored(NOW, &ended[0]);
    // What became of it is told again, for a daemon that was not there.
    let again = desk.take(NOW, at(1), event("rt-a", "a")).unwrap();
    assert_eq!(again, Report { at: NOW, ..ended[0].clone() });
    assert!(desk.tick(NOW.plus_millis(COOLDOWN)).is_empty());
    desk.stored(NOW, &again);
    assert_eq!(desk.take_finished(), [at(1)]);
    assert_eq!(jobs.started(), 1);
}

#[test]
fn the_cooldown_outlives_a_launcher() {
    let jobs = Jobs::default();
    let mut desk = desk(&jobs);
    let mut ledger = Ledger::default();
    let mut before = RetrainingStatus::new("rt-z", RetrainingState::Started);
    before.started_at = Some(NOW);
    ledger.note("a", &before);
    desk.set_ledger(ledger);
    desk.take(NOW, at(0), event("rt-a", "a"));
    let rejected = desk.tick(NOW.plus_millis(COOLDOWN - 1));
    assert_eq!(states(&rejected), [pair("rt-a", RetrainingState::Rejected)]);
    desk.take(NOW, at(1), event("rt-b", "a"));
    let started = desk.tick(NOW.plus_millis(COOLDOWN));
    assert_eq!(states(&started), [pair("rt-b", RetrainingState::Started)]);
}

#[test]
fn a_job_that_cannot_start_leaves_room_for_the_next() {
    let jobs = Jobs::default();
    let mut desk = desk(&jobs);
    desk.take(NOW, at(0), event("rt-absent", "a"));
    desk.take(NOW, at(1), event("rt-b", "b"));
    let started = desk.tick(NOW);
    assert_eq!(states(&started), [pair("rt-absent", RetrainingState::Started)]);
    let failed = desk.stored(NOW, &started[0]);
    assert_eq!(states(&failed), [pair("rt-absent", RetrainingState::Failed)]);
    assert_eq!(states(&desk.tick(NOW)), [pair("rt-b", RetrainingState::Started)]);
}

/// A desk that has taken an event whose job another launcher started.
fn elsewhere(jobs: &Jobs) -> (Desk, Ledger) {
    let mut desk = desk(jobs);
    let ledger = || {
        let mut ledger = Ledger::default();
        let mut status = RetrainingStatus::new("rt-a", RetrainingState::Started);
        status.launcher = Some("other".to_owned());
        ledger.note("a", &status);
        ledger
    };
    desk.set_ledger(ledger());
    assert!(desk.take(NOW, at(0), event("rt-a", "a")).is_none());
    assert!(desk.looks_elsewhere() && desk.tick(NOW).is_empty());
    (desk, ledger())
}

#[test]
fn a_living_launcher_reports_its_own_jobs() {
    let jobs = Jobs::default();
    let (mut desk, mut ledger) = elsewhere(&jobs);
    let living = BTreeSet::from(["this".to_owned(), "other".to_owned()]);
    assert!(desk.look_elsewhere(NOW, &living).is_empty());
    assert!(desk.take_finished().is_empty());
    ledger.note("a", &RetrainingStatus::new("rt-a", RetrainingState::Succeeded));
    desk.set_ledger(ledger);
    let known = desk.look_elsewhere(NOW, &living);
    assert_eq!(states(&known), [pair("rt-a", RetrainingState::Succeeded)]);
    desk.stored(NOW, &known[0]);
    assert_eq!(desk.take_finished(), [at(0)]);
    assert_eq!(jobs.started(), 0);
}

#[test]
fn the_job_of_a_launcher_that_is_gone_has_failed() {
    let jobs = Jobs::default();
    let (mut desk, _) = elsewhere(&jobs);
    let failed = desk.look_elsewhere(NOW, &BTreeSet::from(["this".to_owned()]));
    assert_eq!(states(&failed), [pair("rt-a", RetrainingState::Failed)]);
    assert!(!desk.looks_elsewhere());
    assert_eq!(jobs.started(), 0);
}

#[test]
fn revoked_events_wait_for_their_new_launcher_and_jobs_that_run_go_on() {
    let jobs = Jobs::default();
    let mut desk = desk(&jobs);
    run(&mut desk, 0, "rt-a", "a");
    desk.take(NOW, at(1), event("rt-b", "b"));
    desk.revoke(&[0]);
    assert!(desk.tick(NOW).is_empty());
    jobs.end(true);
    let ended = desk.tick(NOW);
    assert_eq!(states(&ended), [pair("rt-a", RetrainingState::Succeeded)], "and not the other");
    desk.stored(NOW, &ended[0]);
    assert!(desk.take_finished().is_empty(), "its offset is another launcher's");
}

#[test]
fn a_job_announced_before_the_end_does_not_start() {
    let jobs = Jobs::default();
    let mut desk = desk(&jobs);
    desk.take(NOW, at(0), event("rt-a", "a"));
    let started = desk.tick(NOW);
    desk.stop();
    let failed = desk.stored(NOW, &started[0]);
    assert_eq!(states(&failed), [pair("rt-a", RetrainingState::Failed)]);
    assert_eq!((jobs.started(), desk.busy()), (0, 0));
}

#[test]
fn jobs_that_run_at_the_end_are_stopped_and_reported() {
    let jobs = Jobs::default();
    let mut desk = desk(&jobs);
    run(&mut desk, 0, "rt-a", "a");
    desk.take(NOW, at(1), event("rt-b", "b"));
    desk.stop();
    let ended = desk.collect(NOW);
    assert_eq!(states(&ended), [pair("rt-a", RetrainingState::Failed)]);
    assert_eq!(ended[0].status.reason.as_deref(), Some(STOPPED));
    desk.stored(NOW, &ended[0]);
    assert_eq!(desk.take_finished(), [at(0)], "the event that waited stays in the topic");
}
