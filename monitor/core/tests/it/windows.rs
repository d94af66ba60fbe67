//! Closed windows are a function of the log: of no cut, order, thread, repetition or hand-over.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::{ModelId, WindowSpan};
use driftd_core::config::Config;
use driftd_core::result::WindowResult;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::log::{Draft, Record, records, topics};
use crate::model;
use crate::recount::{Recount, recount};
use crate::simulation::{Outcome, Simulation, Step, cases, steps};

/// As many windows open at once as the bound allows, so that a leap in time meets it.
fn tree() -> Value {
    let mut tree = model::tree();
    tree["models"][0]["window"]["lateness"] = "45s".into();
    tree["models"][0]["window"]["open_max"] = 4.into();
    tree
}

/// The same with windows of every kind.
fn kinds() -> Value {
    let mut tree = model::kinds();
    tree["models"][0]["windows"][0]["lateness"] = "45s".into();
    tree["models"][0]["windows"][0]["open_max"] = 6.into();
    tree
}

/// The same with windows that are revised; here nothing ever revises them.
fn revised() -> Value {
    let mut tree = model::revised();
    tree["models"][0]["windows"][0]["lateness"] = "45s".into();
    tree["models"][0]["windows"][0]["open_max"] = 6.into();
    tree
}

fn trees() -> impl Strategy<Value = Value> {
    prop_oneof![Just(tree()), Just(kinds()), Just(revised())]
}

fn logs() -> impl Strategy<Value = Vec<Vec<Draft>>> {
    topics(1..5)
}

fn written(drafts: &[Vec<Draft>]) -> Vec<Vec<Record>> {
    drafts.iter().map(|drafts| records(drafts)).collect()
}

fn run(config: &Arc<Config>, logs: &[Vec<Record>], shards: usize, steps: &[Step]) -> Outcome {
    Simulation::new(config, logs, shards).play(steps)
}

/// Every message is in a window, late, over a limit or refused; and each is where the recount has
/// it.
fn compare_totals(outcome: &Outcome, expected: &Recount) {
    let source = &outcome.snapshot.sources[0];
    let late: BTreeMap<ModelId, u64> = outcome
        .snapshot
        .models
        .iter()
        .filter(|model| model.late != 0)
        .map(|model| (model.id.clone(), model.late))
        .collect();
    assert_eq!(late, expected.late, "late");
    assert_eq!(source.clamped, expected.clamped, "clamped");
    assert_eq!(source.over_limit, expected.over_limit, "over a limit");
    assert_eq!(source.rejected.values().sum::<u64>(), expected.rejected, "rejected");
    assert_eq!(source.messages, expected.messages, "messages");
    let windows = outcome.windows();
    // Windows that do not overlap hold each record once.
    let apart = ["20s", "30s", "45s", "tumbling", "9-rows"];
    let is_twice = windows.iter().any(|it| &*it.id.name == "9-rows");
    let in_windows: u64 = windows
        .iter()
        .filter(|it| it.id.segment.as_str() == "all" && apart.contains(&&*it.id.name))
        .filter(|it| !is_twice || &*it.id.name != "45s")
        .map(|it| it.rows)
        .sum();
    let left_out = late.values().sum::<u64>() + source.over_limit + expected.rejected;
    assert_eq!(in_windows + left_out, expected.records, "records without a place");
    let records: u64 = outcome.snapshot.models.iter().map(|model| model.records).sum();
    assert_eq!(records, in_windows, "records counted by model");
}

/// Windows of one model that decide close by their end, whatever version or segment.
fn assert_in_order(outcome: &Outcome) {
    let mut newest: BTreeMap<String, WindowSpan> = BTreeMap::new();
    // What has too few rows waits for more, until there are none.
    let is_left = |it: &WindowResult| &*it.id.name == "9-rows" && it.rows < 9;
    let decide = |it: &WindowResult| it.decides && it.edition.is_final && !is_left(it);
    for window in outcome.windows().iter().filter(|it| decide(it)) {
        assert!(window.complete && window.missing.is_empty(), "{} is incomplete", window.id);
        let span = window.id.span;
        let before = newest.insert(window.id.model.name().to_owned(), span);
        assert!(before.is_none_or(|before| before <= span), "{} closed too late", window.id);
    }
}

#[test]
fn the_drawn_logs_hold_every_kind_of_record() {
    let config = model::config(&tree());
    let mut runner = TestRunner::new(cases(1));
    let mut seen = Recount::default();
    for _ in 0..1_000 {
        let drafts = logs().new_tree(&mut runner).unwrap().current();
        let drawn = recount(&config, &written(&drafts));
        seen.messages += drawn.messages;
        seen.rejected += drawn.rejected;
        seen.clamped += drawn.clamped;
        seen.over_limit += drawn.over_limit;
        seen.over_versions += drawn.over_versions;
        for (id, late) in drawn.late {
            *seen.late.entry(id).or_default() += late;
        }
    }
    assert!(10_000 < seen.messages, "{} messages", seen.messages);
    let late = seen.late.values().sum();
    let over_windows = seen.over_limit - seen.over_versions;
    for count in [seen.rejected, seen.clamped, late, seen.over_versions, over_windows] {
        assert!(seen.messages / 2_000 < count, "too few of a kind: {seen:?}");
    }
    assert!(5 < seen.late.len(), "late records of several versions");
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn closed_windows_are_those_of_a_plain_recount(
        tree in trees(),
        logs in logs(),
        shards in 1..4_usize,
        steps in steps(),
    ) {
        let (config, logs) = (model::config(&tree), written(&logs));
        let expected = recount(&config, &logs);
        let outcome = run(&config, &logs, shards, &steps);
        expected.compare(&outcome.windows());
        expected.compare_editions(&outcome.windows());
        compare_totals(&outcome, &expected);
        assert_in_order(&outcome);
    }

    #[test]
    fn the_digest_depends_on_no_cut_order_thread_or_hand_over(
        tree in trees(),
        logs in logs(),
        shards in 1..4_usize,
        one in steps(),
        other in steps(),
    ) {
        let (config, logs) = (model::config(&tree), written(&logs));
        let whole = run(&config, &logs, 1, &[]);
        for steps in [&one, &other] {
            let outcome = run(&config, &logs, shards, steps);
            prop_assert_eq!(outcome.snapshot.digest, whole.snapshot.digest);
        }
    }

    #[test]
    fn equal_events_have_bit_equal_effects(
        tree in trees(),
        logs in logs(),
        shards in 1..4_usize,
        steps in steps(),
    ) {
        let (config, logs) = (model::config(&tree), written(&logs));
        let one = run(&config, &logs, shards, &steps);
        let other = run(&config, &logs, shards, &steps);
        prop_assert_eq!(format!("{:?}", one.effects), format!("{:?}", other.effects));
    }

    #[test]
    fn holding_fast_partitions_back_changes_no_window(
        tree in trees(),
        logs in logs(),
        shards in 1..4_usize,
        steps in steps(),
    ) {
        let logs = written(&logs);
        let free = run(&model::config(&tree), &logs, 1, &[]);
        let mut tree = tree;
        tree["sources"][0]["time"]["drift_max"] = "20s".into();
        let held = run(&model::config(&tree), &logs, shards, &steps);
        prop_assert_eq!(held.snapshot.digest, free.snapshot.digest);
    }
}
