//! Windows of several kinds at once: when each ends, and which of them decide.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use driftd_catalog::{Timestamp, WindowSpan};
use driftd_core::event::Effect;
use driftd_core::result::WindowResult;
use proptest::prelude::*;
use serde_json::Value;

use crate::log::{Record, START, records, regular, topics};
use crate::model;
use crate::recount::recount;
use crate::simulation::{Outcome, Simulation, cases, steps};

/// Records of `alpha` version 1, one each `every_millis`.
fn log(from_millis: i64, to_millis: i64, every_millis: i64) -> Vec<Record> {
    regular(
        "1",
        |row| f64::from(i32::try_from(row % 10).unwrap()),
        from_millis..to_millis,
        every_millis,
    )
}

/// Windows of the whole traffic called `name`, as seconds since the start: `from..to rows`.
fn told(windows: &[Arc<WindowResult>], name: &str) -> Vec<String> {
    let own = windows.iter().filter(|it| &*it.id.name == name && it.id.segment.as_str() == "all");
    let seconds = |time: Timestamp| (time.as_millis() - START.as_millis()).div_euclid(1_000);
    own.map(|it| {
        let span: WindowSpan = it.id.span;
        let mark = if it.edition.is_final { "" } else { " so far" };
        format!("{}..{} {}{mark}", seconds(span.start()), seconds(span.end()), it.rows)
    })
    .collect()
}

/// Half a minute of records, nothing for minutes, and a record that shows how late it is.
#[test]
fn windows_end_although_no_record_comes() {
    let config = model::config(&model::kinds());
    let mut simulation = Simulation::new(&config, &[log(0, 30_000, 1_000)], 1);
    simulation.read(0, 30);
    simulation.produce(0, &log(600_000, 600_001, 1));
    simulation.read(0, 1);
    let windows = simulation.windows();
    // The epoch's minutes do not begin with the log, which starts 20 s into one.
    assert_eq!(told(&windows, "sliding"), ["-10..10 10", "0..20 20", "10..30 20", "20..40 10"]);
    assert_eq!(told(&windows, "tumbling"), ["0..20 20", "20..40 10"]);
    assert_eq!(told(&windows, "20-rows"), ["0..20 20"]);
    assert_eq!(told(&windows, "global"), ["0..10 10", "0..40 30"]);
    assert_eq!(told(&windows, "early"), ["-80..40 20 so far", "-80..40 30", "-20..100 30"],);
}

#[test]
fn the_first_open_window_of_each_kind_is_shown() {
    let config = model::config(&model::kinds());
    let mut simulation = Simulation::new(&config, &[log(0, 60_000, 1_000)], 1);
    simulation.read(0, 27);
    let snapshot = simulation.snapshot();
    let seconds = |time: Timestamp| (time.as_millis() - START.as_millis()).div_euclid(1_000);
    let open: Vec<_> = snapshot.models[0]
        .open
        .iter()
        .map(|it| (it.window, it.start.map(seconds), seconds(it.end), it.rows, it.further))
        .collect();
    // Ten seconds are closed; the newest record is of the 26th.
    assert_eq!(
        open,
        [
            (0, Some(0), 20, 10, 1),
            (1, Some(0), 20, 10, 1),
            (2, Some(0), 20, 10, 1),
            (3, Some(0), 40, 10, 0),
            (4, Some(-80), 40, 10, 0),
        ]
    );
}

/// A version without a record in a pane is past it all the same, when another version's closes.
#[test]
fn what_an_idle_partition_brings_later_is_late_for_every_version() {
    let config = model::config(&model::kinds());
    let other = regular("2", |_| 5.0, 20_000..60_000, 1_000);
    let mut simulation = Simulation::new(&config, &[log(0, 20_000, 1_000), Vec::new()], 1);
    simulation.read(0, 20);
    simulation.produce(0, &other);
    simulation.read(0, 40);
    simulation.tick(60_000);
    simulation.watch_silence(1);
    simulation.tick(1);
    let before = simulation.windows().len();
    assert!(told(&simulation.windows(), "global").contains(&"20..40 20".to_owned()));
    simulation.produce(1, &log(25_000, 27_000, 1_000));
    simulation.read(1, 2);
    simulation.flush(1);
    simulation.tick(60_000);
    let snapshot = simulation.snapshot();
    let late: Vec<u64> = snapshot.models.iter().map(|model| model.late).collect();
    assert_eq!((simulation.windows().len(), late), (before, vec![2, 0]));
}

#[test]
fn a_new_configuration_begins_with_whole_windows() {
    let config = model::config(&model::kinds());
    let mut simulation = Simulation::durable(&config, &[log(0, 400_000, 100)], 1);
    simulation.read(0, 1_550);
    simulation.checkpoint();
    simulation.commit();
    let mut tree = model::kinds();
    tree["models"][0]["windows"][3]["every"] = "40s".into();
    let dropped = simulation.reconfigure(&model::config(&tree));
    assert_eq!(dropped.len(), 1, "{dropped:?}");
    let before = simulation.effects.len();
    let outcome = simulation.play(&[]);
    let after = Outcome { effects: outcome.effects.into_iter().skip(before).collect(), ..outcome };
    let windows = after.windows();
    let sliding = told(&windows, "sliding");
    assert_eq!(&sliding[..2], ["160..180 200", "170..190 200"], "{sliding:?}");
    assert_eq!(told(&windows, "early").first().map(String::as_str), Some("160..280 800 so far"));
    assert_eq!(told(&windows, "global").first().map(String::as_str), Some("160..200 400"));
    assert_eq!(told(&windows, "tumbling").first().map(String::as_str), Some("160..180 200"));
}

#[test]
fn a_model_that_is_added_begins_with_a_window_that_is_not_whole() {
    let [both, _, one, _] = model::changing().map(|tree| model::config(&tree));
    let alpha = log(0, 100_000, 100);
    let beta = |mut record: Record| {
        record.values.as_mut().unwrap().model = 1;
        record
    };
    let log: Vec<Record> = alpha.into_iter().map(beta).collect();
    let mut simulation = Simulation::durable(&one, &[log], 1);
    simulation.read(0, 350);
    simulation.checkpoint();
    simulation.commit();
    let dropped = simulation.reconfigure(&both);
    assert_eq!(dropped, []);
    simulation.read(0, 1);
    // What was told and is not known to be stored is told again.
    simulation.crash();
    simulation.read(0, 1);
    simulation.checkpoint();
    simulation.commit();
    simulation.crash();
    let windows = simulation.play(&[]).windows();
    let told: Vec<_> = windows.iter().map(|it| (it.rows, it.complete)).collect();
    assert_eq!(told, [(120, false), (300, true), (230, true)]);
}

/// The same models with their deciding windows alone.
fn deciding() -> Value {
    let mut tree = model::kinds();
    for model in tree["models"].as_array_mut().unwrap() {
        model["windows"].as_array_mut().unwrap().truncate(1);
    }
    tree
}

fn decisions(outcome: &Outcome) -> Vec<String> {
    let decided = outcome.effects.iter().filter_map(|effect| match effect {
        Effect::Episode(transition) => Some(format!("{transition:?}")),
        Effect::Window(_)
        | Effect::Performance(_)
        | Effect::Retrain(_)
        | Effect::Publish(_)
        | Effect::Flush(_)
        | Effect::Pause(_)
        | Effect::Resume(_) => None,
    });
    decided.collect()
}

/// The first partition is read while the others are idle; they bring their records when all windows
/// have ended. `crash` says after which of them the process ends.
fn afterwards(tree: &Value, logs: &[Vec<Record>], crash: usize) -> Outcome {
    let empty = logs.iter().enumerate();
    let empty: Vec<_> = empty.map(|(at, log)| if at == 0 { log.clone() } else { vec![] }).collect();
    let mut simulation = Simulation::durable(&model::config(tree), &empty, 1);
    simulation.read(0, 1_000);
    simulation.tick(60_000);
    (0..logs.len()).for_each(|index| simulation.watch_silence(index));
    simulation.tick(10 * 3_600_000);
    for (index, log) in logs.iter().enumerate().skip(1) {
        simulation.produce(index, log);
        simulation.read(index, 120);
        simulation.flush(index);
        simulation.read(index, 1_000);
        simulation.flush(index);
        if index == crash {
            simulation.checkpoint();
            simulation.commit();
            simulation.crash();
        }
    }
    simulation.end()
}

/// Results of all traffic in the window that starts `from` milliseconds after the start.
fn editions(windows: &[Arc<WindowResult>], name: &str, from: i64) -> Vec<(u64, u32, bool)> {
    let at = |it: &&Arc<WindowResult>| {
        let start = it.id.span.start().as_millis() - START.as_millis();
        &*it.id.name == name && it.id.segment.as_str() == "all" && start == from
    };
    let own = windows.iter().filter(at);
    own.map(|it| (it.rows, it.edition.revision, it.edition.is_revised)).collect()
}

/// The newest result of each window.
pub(crate) fn newest(windows: &[Arc<WindowResult>]) -> Vec<Arc<WindowResult>> {
    let results = windows.iter().filter(|it| it.edition.is_final);
    let newest: BTreeMap<_, _> = results.map(|it| (it.id.clone(), Arc::clone(it))).collect();
    newest.into_values().collect()
}

#[test]
fn a_window_is_revised_with_what_comes_after_its_end() {
    let logs = [log(0, 60_000, 1_000), log(10_000, 40_000, 1_000)];
    let outcome = afterwards(&model::revised(), &logs, 0);
    let windows = outcome.windows();
    let tumbling = |from| editions(&windows, "tumbling", from);
    assert_eq!(tumbling(0), [(20, 0, false), (30, 1, true)]);
    assert_eq!(tumbling(20_000), [(20, 0, false), (30, 1, true), (40, 2, true)]);
    assert_eq!(tumbling(40_000), [(20, 0, false)]);
    assert_eq!(editions(&windows, "sliding", 0), [(20, 0, false), (30, 1, true)]);
    let late: u64 = outcome.snapshot.models.iter().map(|model| model.late).sum();
    assert_eq!(late, 0);
}

/// The pane at 340 s is closed, because a window ended there and the next may have, when its first
/// record comes.
#[test]
fn a_window_that_has_its_first_record_by_a_revision_ends() {
    let logs = [log(0, 240_000, 10_000), log(340_000, 340_001, 1)];
    let outcome = afterwards(&model::revised(), &logs, 0);
    let ends: BTreeSet<_> = told(&outcome.windows(), "early").into_iter().collect();
    for window in ["280..400 1", "340..460 1"] {
        assert!(ends.contains(window), "{window}: {ends:?}");
    }
}

#[test]
fn what_revises_one_window_is_in_the_first_result_of_the_next() {
    let config = model::config(&model::revised());
    let logs = [log(0, 100_000, 1_000), Vec::new()];
    let mut simulation = Simulation::new(&config, &logs, 1);
    for (messages, second) in [(31, 12), (100, 15)] {
        simulation.tick(60_000);
        simulation.watch_silence(1);
        simulation.read(0, messages);
        simulation.produce(1, &log(second * 1_000, second * 1_000 + 1, 1));
        simulation.read(1, 1);
        simulation.flush(1);
    }
    let windows = simulation.windows();
    let sliding = |from| editions(&windows, "sliding", from);
    assert_eq!(sliding(0), [(20, 0, false), (21, 1, true), (22, 2, true)]);
    assert_eq!(sliding(10_000), [(21, 0, false), (22, 1, true)]);
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn revised_windows_end_as_the_recount_has_them(
        drafts in topics(2..4),
        crash in 0..4_usize,
    ) {
        let logs: Vec<Vec<Record>> = drafts.iter().map(|drafts| records(drafts)).collect();
        let outcome = afterwards(&model::revised(), &logs, crash);
        recount(&model::config(&model::revised()), &logs).compare(&newest(&outcome.windows()));
        let mut editions = BTreeMap::new();
        for result in outcome.windows() {
            let before = editions.insert(result.id.clone(), result.edition.revision);
            prop_assert!(before < Some(result.edition.revision), "{} {:?}", result.id, before);
        }
    }
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn windows_beside_those_that_decide_change_no_decision(
        drafts in topics(1..3),
        steps in steps(),
    ) {
        let logs: Vec<Vec<Record>> = drafts.iter().map(|drafts| records(drafts)).collect();
        let all = Simulation::new(&model::config(&model::kinds()), &logs, 2).play(&steps);
        let few = Simulation::new(&model::config(&deciding()), &logs, 2).play(&steps);
        let names = |outcome: &Outcome| -> BTreeSet<String> {
            outcome.windows().iter().map(|it| it.id.name.to_string()).collect()
        };
        prop_assert!(names(&few).is_subset(&names(&all)));
        prop_assert_eq!(decisions(&all), decisions(&few));
    }
}
