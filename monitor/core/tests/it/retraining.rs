//! From drift to one retraining event, and what the story of it says.

use std::ops::Range;

use driftd_catalog::event::{CloudEvent, RetrainingRequested, RetrainingState, RetrainingStatus};
use driftd_core::event::{Effect, Event};
use serde_json::json;

use crate::log::{START, regular};
use crate::model;
use crate::simulation::{Outcome, Simulation};

const WINDOW_MILLIS: i64 = 20_000;

/// One partition of ten records a second; `x` and `p` drift in the given windows. Requests need
/// `x`.
fn simulation(windows: i64, drifted: Range<i64>) -> Simulation {
    let mut tree = model::tree();
    tree["retraining"] = json!({
        "policies": [{
            "name": "x-moved",
            "features": ["x", "p"],
            "minimum_features": 2,
            "cooldown": "2m",
            "expiry": "10m",
        }],
    });
    let number = move |row: i64| {
        let is_drifted = drifted.contains(&(row * 100 / WINDOW_MILLIS));
        if is_drifted { 9.0 } else { f64::from(i32::try_from(row % 10).unwrap()) }
    };
    let log = regular("1", number, 0..windows * WINDOW_MILLIS, 100);
    Simulation::new(&model::config(&tree), &[log], 1)
}

fn requests(effects: &[Effect]) -> Vec<CloudEvent<RetrainingRequested>> {
    let sent = effects.iter().filter_map(|effect| {
        if let Effect::Retrain(event) = effect { Some((**event).clone()) } else { None }
    });
    sent.collect()
}

/// Starts of the windows that made a request, in windows since the start.
fn requested_in(outcome: &Outcome) -> Vec<i64> {
    requests(&outcome.effects)
        .iter()
        .map(|event| (event.data.window.start.as_millis() - START.as_millis()) / WINDOW_MILLIS)
        .collect()
}

fn status(id: &str, state: RetrainingState, new_version: Option<&str>) -> Event {
    Event::RetrainReported(RetrainingStatus {
        new_version: new_version.map(str::to_owned),
        ..RetrainingStatus::new(id, state)
    })
}

/// A run that made its one request, and the id of it.
fn with_request() -> (Simulation, String) {
    let mut simulation = simulation(10, 2..10);
    simulation.read(0, 1_100);
    let id = requests(&simulation.effects)[0].id.clone();
    (simulation, id)
}

fn states(simulation: &Simulation) -> Vec<String> {
    simulation.snapshot().retraining.iter().map(|entry| entry.state.to_string()).collect()
}

#[test]
fn without_drift_nothing_is_requested() {
    assert_eq!(requested_in(&simulation(10, 0..0).play(&[])), [] as [i64; 0]);
}

#[test]
fn drift_asks_once_and_again_when_the_request_has_expired() {
    // Raised in the second drifted window; cooldown six windows, expiry thirty.
    assert_eq!(requested_in(&simulation(31, 2..31).play(&[])), [3]);
    assert_eq!(requested_in(&simulation(40, 2..40).play(&[])), [3, 33]);
}

#[test]
fn a_request_whose_job_has_ended_is_followed_by_the_next_after_the_cooldown() {
    let mut simulation = simulation(14, 2..14);
    simulation.read(0, 1_100);
    let id = requests(&simulation.effects)[0].id.clone();
    simulation.handle(status(&id, RetrainingState::Failed, None));
    let outcome = simulation.play(&[]);
    assert_eq!(requested_in(&outcome), [3, 9]);
    let outcomes = outcome.snapshot.retrain_outcomes.values().next().unwrap();
    assert_eq!(outcomes.suppressed, 5 + 4, "windows in which drift went on");
}

#[test]
fn the_event_says_why_and_is_the_same_in_every_run() {
    let cut = |messages: usize| {
        let mut simulation = simulation(10, 2..10);
        for _ in 0..2_000 / messages {
            simulation.read(0, messages);
        }
        requests(&simulation.end().effects).remove(0)
    };
    let (one, other) = (cut(100), cut(7));
    assert_eq!(one.id, other.id);
    assert!(one.id.len() <= 52 && one.id.starts_with("rt-alpha-1-"), "{}", one.id);
    let request = &one.data.request;
    let dedupe_key = format!("alpha/1/x-moved/{}", START.plus_millis(40_000));
    assert_eq!(request.dedupe_key, dedupe_key, "the window's start in whole cooldowns");
    assert_eq!(request, &other.data.request);
    assert_eq!(one.data.reason, other.data.reason);
    assert_eq!(one.data.reason.summary, "2 of 3 watched columns drifted: p, x");
    assert_eq!(one.data.evidence, other.data.evidence);
    let evidence: Vec<(&str, u64)> =
        one.data.evidence.iter().map(|it| (&*it.feature, it.n_current)).collect();
    assert_eq!(evidence, [("p", 200), ("x", 200)], "of equal strength, so by name");
    assert_eq!(one.data.reference.digest, "sha256:alpha/1");
    assert_eq!(one.data.data.offsets["0"][0], 600, "the window's first record");
    assert_eq!(cut(100), one);
}

#[test]
fn the_story_follows_the_broker_and_the_launcher() {
    let (mut simulation, id) = with_request();
    assert_eq!(states(&simulation), ["requested"]);
    simulation.handle(Event::RetrainDelivered { id: id.as_str().into(), stored: true });
    simulation.handle(status(&id, RetrainingState::Accepted, None));
    simulation.handle(status(&id, RetrainingState::Started, None));
    simulation.handle(status(&id, RetrainingState::Succeeded, Some("2")));
    assert_eq!(states(&simulation), ["requested", "published", "accepted", "started", "succeeded"]);
    let snapshot = simulation.snapshot();
    let last = snapshot.retraining.back().unwrap();
    assert_eq!((&*last.id, last.new_version.as_deref()), (&*id, Some("2")));
    assert_eq!(&*last.summary, "registered version 2");
    assert_eq!(snapshot.totals.retrain_published, 1);
    assert_eq!((snapshot.totals.jobs_succeeded, snapshot.totals.jobs_failed), (1, 0));
}

#[test]
fn a_report_that_comes_twice_counts_once() {
    let (mut simulation, id) = with_request();
    for _ in 0..3 {
        simulation.handle(status(&id, RetrainingState::Started, None));
    }
    for _ in 0..3 {
        simulation.handle(status(&id, RetrainingState::Failed, None));
    }
    assert_eq!(states(&simulation), ["requested", "started", "failed"]);
    assert_eq!(simulation.snapshot().totals.jobs_failed, 1);
}

#[test]
fn an_event_that_the_broker_refuses_is_given_up_counted_and_told() {
    let (mut simulation, id) = with_request();
    simulation.handle(Event::RetrainDelivered { id: id.as_str().into(), stored: false });
    assert_eq!(states(&simulation), ["requested", "failed"]);
    let snapshot = simulation.snapshot();
    let outcomes = snapshot.retrain_outcomes.values().next().unwrap();
    assert_eq!((outcomes.published, outcomes.failed), (0, 1));
    assert_eq!(snapshot.totals.retrain_published, 0);
}

#[test]
fn reports_on_requests_of_others_are_no_part_of_the_story() {
    let (mut simulation, _) = with_request();
    simulation.handle(status("rt-somebody-else", RetrainingState::Succeeded, Some("7")));
    assert_eq!(states(&simulation), ["requested"]);
    assert_eq!(simulation.snapshot().totals.jobs_succeeded, 0);
}

#[test]
fn the_story_is_bounded() {
    let (mut simulation, id) = with_request();
    for _ in 0..200 {
        simulation.handle(Event::RetrainDelivered { id: id.as_str().into(), stored: true });
    }
    assert_eq!(simulation.snapshot().retraining.len(), 100);
}
