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

/// The report is stored, and seen in the topic.
fn see(desk: &mut Desk, report: &Report) {
    desk.stored(report);
    desk.ledger().note(&report.model.name, &report.status);
}

/// Brings an event to where its job runs.
fn run(desk: &mut Desk, offset: i64, id: &str, model: &str) {
    let accepted = desk.take(NOW, at(offset), event(id, model)).unwrap();
    see(desk, &accepted);
    let started = desk.tick(NOW);
    assert_eq!(states(&started), [pair(id, RetrainingState::Started)]);
    see(desk, &started[0]);
    assert!(desk.tick(NOW).is_empty());
}

#[test]
fn a_job_starts_only_when_its_report_is_in_the_topic() {
    let jobs = Jobs::default();
    let mut desk = desk(&jobs);
    desk.take(NOW, at(0), event("rt-a", "a"));
    let started = desk.tick(NOW);
    assert_eq!(states(&started), [pair("rt-a", RetrainingState::Started)]);
    assert_eq!(started[0].status.launcher.as_deref(), Some("this"));
    assert_eq!((jobs.started(), desk.busy()), (0, 1));
    desk.stored(&started[0]);
    assert!(desk.tick(NOW).is_empty());
    assert_eq!(jobs.started(), 0, "another report may stand before it");
    for _ in 0..2 {
        see(&mut desk, &started[0]);
        assert!(desk.tick(NOW).is_empty());
        assert_eq!(jobs.started(), 1);
    }
}

#[test]
fn a_job_that_another_launcher_announced_first_is_left_to_it() {
    let jobs = Jobs::default();
    let mut desk = desk(&jobs);
    desk.take(NOW, at(0), event("rt-a", "a"));
    let own = desk.tick(NOW).remove(0);
    let mut other = own.clone();
    other.status.launcher = Some("other".to_owned());
    see(&mut desk, &other);
    see(&mut desk, &own);
    assert!(desk.tick(NOW).is_empty());
    assert!(desk.looks_elsewhere());
    assert_eq!((jobs.started(), desk.busy()), (0, 0));
}

#[test]
fn a_job_whose_announcement_took_too_long_does_not_start() {
    let jobs = Jobs::default();
    let mut desk = desk(&jobs);
    let mut expiring = (*event("rt-a", "a")).clone();
    expiring.expirytime = Some(NOW);
    desk.take(NOW, at(0), Arc::new(expiring));
    let started = desk.tick(NOW);
    see(&mut desk, &started[0]);
    let rejected = desk.tick(NOW.plus_millis(1));
    assert_eq!(states(&rejected), [pair("rt-a", RetrainingState::Rejected)]);
    assert_eq!(jobs.started(), 0);
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
    see(&mut desk, &ended[0]);
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
    see(&mut desk, &ended[0]);
    // What became of it is told again, for a daemon that was not there.
    let again = desk.take(NOW, at(1), event("rt-a", "a")).unwrap();
    assert_eq!(again, Report { at: NOW, ..ended[0].clone() });
    assert!(desk.tick(NOW.plus_millis(COOLDOWN)).is_empty());
    see(&mut desk, &again);
    assert_eq!(desk.take_finished(), [at(1)]);
    assert_eq!(jobs.started(), 1);
}

#[test]
fn the_cooldown_outlives_a_launcher() {
    let jobs = Jobs::default();
    let mut desk = desk(&jobs);
    let mut before = RetrainingStatus::new("rt-z", RetrainingState::Started);
    before.started_at = Some(NOW);
    desk.ledger().note("a", &before);
    desk.take(NOW, at(0), event("rt-a", "a"));
    let rejected = desk.tick(NOW.plus_millis(COOLDOWN - 1));
    assert_eq!(states(&rejected), [pair("rt-a", RetrainingState::Rejected)]);
    desk.take(NOW, at(1), event("rt-b", "a"));
    let started = desk.tick(NOW.plus_millis(COOLDOWN));
    assert_eq!(states(&started), [pair("rt-b", RetrainingState::Started)]);
}

#[test]
fn a_job_that_cannot_start_leaves_room_for_the_next_and_starts_no_cooldown() {
    let jobs = Jobs::default();
    let mut desk = desk(&jobs);
    desk.take(NOW, at(0), event("rt-absent", "a"));
    desk.take(NOW, at(1), event("rt-b", "a"));
    let started = desk.tick(NOW);
    assert_eq!(states(&started), [pair("rt-absent", RetrainingState::Started)]);
    see(&mut desk, &started[0]);
    let failed = desk.tick(NOW).remove(0);
    assert_eq!(states([&failed]), [pair("rt-absent", RetrainingState::Failed)]);
    see(&mut desk, &failed);
    desk.take(NOW, at(2), event("rt-c", "a"));
    assert_eq!(states(&desk.tick(NOW)), [pair("rt-c", RetrainingState::Started)]);
}

/// A desk that has taken an event whose job another launcher started.
fn elsewhere(jobs: &Jobs) -> Desk {
    let mut desk = desk(jobs);
    let mut status = RetrainingStatus::new("rt-a", RetrainingState::Started);
    status.launcher = Some("other".to_owned());
    status.started_at = Some(NOW);
    desk.ledger().note("a", &status);
    assert!(desk.take(NOW, at(0), event("rt-a", "a")).is_none());
    assert!(desk.looks_elsewhere() && desk.tick(NOW).is_empty());
    desk
}

fn living(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_living_launcher_reports_its_own_jobs() {
    let jobs = Jobs::default();
    let mut desk = elsewhere(&jobs);
    for _ in 0..10 {
        assert!(desk.look_elsewhere(NOW, &living(&["this", "other"])).is_empty());
        assert!(desk.look_elsewhere(NOW, &living(&["this"])).is_empty(), "missed once");
        assert!(desk.look_elsewhere(NOW, &living(&[])).is_empty(), "no answer");
    }
    assert!(desk.take_finished().is_empty());
    desk.ledger().note("a", &RetrainingStatus::new("rt-a", RetrainingState::Succeeded));
    let known = desk.look_elsewhere(NOW, &living(&["this", "other"]));
    assert_eq!(states(&known), [pair("rt-a", RetrainingState::Succeeded)]);
    see(&mut desk, &known[0]);
    assert_eq!(desk.take_finished(), [at(0)]);
    assert_eq!(jobs.started(), 0);
}

#[test]
fn the_job_of_a_launcher_that_is_gone_has_failed() {
    let jobs = Jobs::default();
    let mut desk = elsewhere(&jobs);
    let looks = (0..MISSED_LOOKS).map(|_| desk.look_elsewhere(NOW, &living(&["this"])));
    let failed: Vec<Report> = looks.flatten().collect();
    assert_eq!(states(&failed), [pair("rt-a", RetrainingState::Failed)]);
    assert_eq!(failed[0].status.started_at, Some(NOW), "it ran, so the cooldown holds");
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
    see(&mut desk, &ended[0]);
    assert!(desk.take_finished().is_empty(), "its offset is another launcher's");
}

#[test]
fn a_job_announced_before_the_end_does_not_start() {
    let jobs = Jobs::default();
    let mut desk = desk(&jobs);
    desk.take(NOW, at(0), event("rt-a", "a"));
    let started = desk.tick(NOW);
    desk.stop();
    see(&mut desk, &started[0]);
    let failed = desk.tick(NOW);
    assert_eq!(states(&failed), [pair("rt-a", RetrainingState::Failed)]);
    assert_eq!((jobs.started(), desk.busy()), (0, 0));
}

#[test]
fn jobs_that_run_at_the_end_are_stopped_and_what_waits_stays_in_the_topic() {
    let jobs = Jobs::default();
    let mut desk = desk(&jobs);
    run(&mut desk, 0, "rt-a", "a");
    desk.take(NOW, at(1), event("rt-b", "b"));
    desk.skip(at(2));
    desk.stop();
    let ended = desk.tick(NOW);
    assert_eq!(states(&ended), [pair("rt-a", RetrainingState::Failed)]);
    assert_eq!(ended[0].status.reason.as_deref(), Some(STOPPED));
    see(&mut desk, &ended[0]);
    assert!(
        desk.take_finished().is_empty(),
        "the place behind the one that waits is not committed"
    );
}
