//! What the picture shows: bounded histories, and states after hysteresis.

use driftd_core::event::Effect;
use driftd_core::snapshot::SegmentSnapshot;
use driftd_detectors::State;

use crate::log::{START, regular};
use crate::model;
use crate::simulation::Simulation;

/// One partition whose windows drift from the third to the fifth.
fn drifting() -> Simulation {
    let number = |row: i64| if (400..1_000).contains(&row) { 9.0 } else { tenth(row) };
    let log = regular("1", number, 0..200_000, 100);
    Simulation::new(&model::config(&model::tree()), &[log], 1)
}

fn tenth(row: i64) -> f64 {
    f64::from(i32::try_from(row % 10).unwrap())
}

fn pictures(simulation: &Simulation) -> usize {
    simulation.effects.iter().filter(|effect| matches!(effect, Effect::Publish(_))).count()
}

#[test]
fn a_picture_is_made_when_something_happened_or_the_last_one_is_old() {
    let mut simulation = drifting();
    simulation.tick(0);
    let before = pictures(&simulation);
    for _ in 0..49 {
        simulation.tick(100);
    }
    assert_eq!(pictures(&simulation), before, "nothing happened");
    simulation.tick(100);
    assert_eq!(pictures(&simulation), before + 1, "the last one is five seconds old");
    simulation.read(0, 1);
    simulation.tick(100);
    assert_eq!(pictures(&simulation), before + 2, "a message was read");
}

/// Returns the part for all traffic after each closed window.
fn after_each_window(mut simulation: Simulation) -> Vec<SegmentSnapshot> {
    let mut pictures = Vec::new();
    let mut closed = 0;
    for _ in 0..2_000 {
        simulation.read(0, 1);
        if closed < simulation.windows().len() {
            closed = simulation.windows().len();
            pictures.push(simulation.snapshot().models[0].segments[0].clone());
        }
    }
    pictures
}

#[test]
fn one_drifted_window_is_no_drift_yet_and_one_quiet_window_no_end_of_it() {
    let pictures = after_each_window(drifting());
    let of_window: Vec<State> = pictures
        .iter()
        .map(|picture| picture.history.newest().map(|window| window.state()).unwrap())
        .collect();
    let (ok, drifted) = (State::Ok, State::Drifted);
    assert_eq!(of_window, [ok, ok, drifted, drifted, drifted, ok, ok, ok, ok]);
    let shown: Vec<State> = pictures.iter().map(|picture| picture.state).collect();
    assert_eq!(shown, [ok, ok, ok, drifted, drifted, drifted, ok, ok, ok]);
}

#[test]
fn broken_data_show_through_an_open_episode() {
    // Drift opens an episode in the fourth window; from the fifth on the numbers are no numbers.
    let number = |row: i64| match row {
        400..800 => 9.0,
        800..1_200 => f64::NAN,
        _ => tenth(row),
    };
    let log = regular("1", number, 0..200_000, 100);
    let pictures = after_each_window(Simulation::new(&model::config(&model::tree()), &[log], 1));
    let shown: Vec<State> = pictures.iter().map(|picture| picture.state).collect();
    let (ok, drifted, broken) = (State::Ok, State::Drifted, State::BrokenData);
    assert_eq!(shown, [ok, ok, ok, drifted, broken, broken, drifted, ok, ok]);
    assert!(!pictures[5].episodes.is_empty(), "the episode goes on");
}

#[test]
fn the_state_says_with_which_window_it_began() {
    let pictures = after_each_window(drifting());
    let since: Vec<i64> = pictures
        .iter()
        .map(|picture| picture.state_since.unwrap().as_millis() - START.as_millis())
        .collect();
    let (ok, drifted, ok_again) = (0, 60_000, 120_000);
    let expected = [ok, ok, ok, drifted, drifted, drifted, ok_again, ok_again, ok_again];
    assert_eq!(since, expected);
}

#[test]
fn the_history_is_bounded_and_the_counters_are_not() {
    let pictures = after_each_window(drifting());
    let last = pictures.last().unwrap();
    assert_eq!(last.history.len(), 4);
    let starts: Vec<i64> = last
        .history
        .iter()
        .map(|window| (window.head.id.span.start().as_millis() - START.as_millis()) / 20_000)
        .collect();
    assert_eq!(starts, [5, 6, 7, 8]);
    assert_eq!(last.evaluations[&State::Ok], 6);
    assert_eq!(last.evaluations[&State::Drifted], 3);
    assert_eq!(last.ever_drifted.len(), 2, "x and the prediction p");
    assert_eq!(last.score_histogram.count, 9 * 3);
}

#[test]
fn all_traffic_stands_before_its_segments() {
    let snapshot = drifting().play(&[]).snapshot;
    let segments: Vec<&str> =
        snapshot.models[0].segments.iter().map(|segment| segment.segment.as_str()).collect();
    assert_eq!(segments, ["all", "age=__other__", "country=de"]);
    assert_eq!(snapshot.models[0].activated, Some(START));
}

#[test]
fn endless_versions_leave_only_the_newest_in_the_picture() {
    const VERSIONS: [&str; 22] = [
        "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15",
        "16", "17", "18", "19", "20", "21", "22",
    ];
    let mut log = Vec::new();
    for (start, version) in (0..).step_by(40_000).zip(VERSIONS) {
        log.extend(regular(version, tenth, start..start + 40_000, 1_000));
    }
    for (offset, record) in (0..).zip(&mut log) {
        record.offset = offset;
    }
    let records = log.len();
    let mut simulation = Simulation::new(&model::config(&model::tree()), &[log], 1);
    for _ in 0..records {
        simulation.read(0, 1);
        simulation.tick(1);
    }
    let snapshot = simulation.snapshot();
    let versions: Vec<&str> = snapshot.models.iter().map(|model| model.id.version()).collect();
    // Three followed at once and sixteen past ones.
    assert_eq!(versions, VERSIONS[3..]);
}
