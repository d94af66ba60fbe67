//! When a window closes: who is waited for, for how long, and what comes of those who are not.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::PartitionId;
use driftd_core::PartitionState;
use driftd_core::event::{Effect, Event};
use driftd_core::shard::{Output, Shard};
use driftd_ingest::{Decoded, RejectReason, Rejection};

use crate::log::{START, decode, regular};
use crate::model;
use crate::simulation::{Simulation, partition};

/// Wall-clock time that an overdue partition has to report what it holds.
const GRACE_MILLIS: i64 = 2_000;
const WAIT_MAX_MILLIS: i64 = 60_000;

/// Two partitions with two records a second between the given seconds.
fn two(first: (i64, i64), second: (i64, i64)) -> Simulation {
    let log = |(from, to)| regular("1", |_| 5.0, from * 1_000..to * 1_000, 500);
    let config = model::config(&model::tree());
    Simulation::new(&config, &[log(first), log(second)], 1)
}

/// The first partition has passed a window; the second got stuck at 5 s.
fn stuck() -> Simulation {
    let mut simulation = two((0, 30), (0, 60));
    simulation.read(0, 1_000);
    simulation.read(1, 10);
    simulation
}

/// The closed windows of all traffic: start in seconds, rows, partitions they were closed without.
fn closed(simulation: &Simulation) -> Vec<(i64, u64, Vec<PartitionId>)> {
    let windows = simulation.windows();
    let all = windows.iter().filter(|it| it.id.segment.as_str() == "all");
    all.map(|it| {
        assert_eq!(it.complete, it.missing.is_empty());
        let start = it.id.span.start().as_millis() - START.as_millis();
        (start / 1_000, it.rows, it.missing.clone())
    })
    .collect()
}

fn flushes(simulation: &Simulation) -> Vec<PartitionId> {
    let asked = simulation
        .effects
        .iter()
        .filter_map(|effect| if let Effect::Flush(id) = effect { Some(id.clone()) } else { None });
    asked.collect()
}

#[test]
fn a_window_closes_when_the_last_partition_has_passed_its_end_and_lateness() {
    let mut simulation = two((0, 60), (0, 60));
    simulation.read(0, 1_000);
    // Records up to 27.5 s: with a disorder of 3 s and a lateness of 5 s, 20 s are not passed yet.
    simulation.read(1, 56);
    simulation.tick(1);
    assert_eq!(closed(&simulation), []);
    simulation.read(1, 1);
    assert_eq!(closed(&simulation), [(0, 80, vec![])]);
}

#[test]
fn a_partition_read_to_its_end_and_silent_is_not_waited_for() {
    let mut simulation = two((0, 40), (0, 10));
    simulation.read(0, 1_000);
    simulation.read(1, 1_000);
    simulation.tick(29_999);
    simulation.watch_silence(1);
    simulation.tick(0);
    assert_eq!(closed(&simulation), []);
    simulation.tick(1);
    simulation.watch_silence(1);
    assert_eq!(closed(&simulation), [(0, 60, vec![])]);
}

/// Health checks and idle batchers send empty lists.
#[test]
fn messages_without_records_do_not_keep_a_partition_awake() {
    let config = model::config(&model::tree());
    let mut shard = Shard::new(Arc::clone(&config));
    let id = partition(0);
    shard.assign(PartitionState::new(id.clone(), 0, START));
    let mut outputs = Vec::new();
    let mut read = |shard: &mut Shard, millis: i64, decoded: &Decoded| {
        let placed = shard.place(&id, decoded);
        shard.missing_references(&placed).into_iter().for_each(|it| shard.set_reference(it, None));
        let now = START.plus_millis(millis);
        shard.update(now, decoded, placed, None, &mut outputs);
    };
    let log = regular("1", |_| 5.0, 0..1_000, 500);
    read(&mut shard, 0, &decode(&config, &log));
    let nothing = |offset: i64| Decoded {
        from_offset: offset,
        to_offset: offset + 1,
        messages: 1,
        bytes: 10,
        rows: Vec::new(),
        versions: Vec::new(),
        batches: vec![None, None],
        rejections: Vec::new(),
        skipped: BTreeMap::new(),
    };
    read(&mut shard, 20_000, &nothing(2));
    let is_idle_after = |shard: &mut Shard, millis: i64, end: i64| {
        let mut told = Vec::new();
        shard.watch_silence(START.plus_millis(millis), &id, end, &mut told);
        told.iter().any(|it| matches!(it, Output::Progress(progress) if progress.idle))
    };
    assert!(!is_idle_after(&mut shard, 29_999, 3));
    assert!(is_idle_after(&mut shard, 30_000, 3));
    read(&mut shard, 40_000, &nothing(3));
    assert!(is_idle_after(&mut shard, 41_000, 4), "it is said again for the new end");
    let (reason, detail) = (RejectReason::InvalidJson, String::new());
    let refused = Rejection { offset: 4, reason, detail, path: None };
    read(&mut shard, 42_000, &Decoded { rejections: vec![refused], ..nothing(4) });
    assert!(!is_idle_after(&mut shard, 43_000, 5), "it may have been a record");
}

#[test]
fn silence_before_the_end_is_reached_is_not_idleness() {
    let mut simulation = two((0, 40), (0, 10));
    simulation.read(0, 1_000);
    simulation.read(1, 19);
    simulation.tick(59_999);
    simulation.watch_silence(1);
    simulation.tick(0);
    assert_eq!(closed(&simulation), []);
}

#[test]
fn when_all_are_idle_a_window_waits_for_the_wall_clock() {
    let mut simulation = two((0, 10), (0, 10));
    for index in 0..2 {
        simulation.read(index, 1_000);
    }
    simulation.tick(30_000);
    for index in 0..2 {
        simulation.watch_silence(index);
    }
    // 20 s end, 5 s lateness, 60 s wait_max.
    simulation.tick(54_999);
    assert_eq!(closed(&simulation), []);
    simulation.tick(1);
    assert_eq!(closed(&simulation), [(0, 40, vec![])]);
}

#[test]
fn a_stuck_partition_is_asked_to_report_and_then_named_as_missing() {
    let mut simulation = stuck();
    simulation.tick(WAIT_MAX_MILLIS - 1);
    assert_eq!(flushes(&simulation), []);
    simulation.tick(1);
    assert_eq!(flushes(&simulation), [partition(1)]);
    simulation.flush(1);
    simulation.tick(GRACE_MILLIS - 1);
    assert_eq!(closed(&simulation), []);
    simulation.tick(1);
    assert_eq!(closed(&simulation), [(0, 50, vec![partition(1)])]);
}

#[test]
fn what_a_missing_partition_brings_later_is_late_and_counted_once() {
    let mut simulation = stuck();
    simulation.tick(WAIT_MAX_MILLIS);
    simulation.flush(1);
    simulation.tick(GRACE_MILLIS);
    let late = |simulation: &Simulation| simulation.snapshot().models[0].late;
    assert_eq!(late(&simulation), 0);
    // Records from 5 s to 15 s.
    simulation.read(1, 20);
    assert_eq!(late(&simulation), 0, "the window is open in its partition");
    for _ in 0..3 {
        simulation.flush(1);
        simulation.echo_all();
        assert_eq!(late(&simulation), 20);
    }
    simulation.read(1, 1_000);
    assert_eq!(late(&simulation), 30, "another ten up to the window's end");
    assert_eq!(closed(&simulation).len(), 1, "and no second window");
}

#[test]
fn rows_reported_with_every_later_window_are_late_only_once() {
    let mut simulation = two((0, 8_000), (0, 10));
    simulation.produce(1, &regular("1", |_| 5.0, 10_000..12_000, 500));
    simulation.read(1, 20);
    for _ in 0..400 {
        simulation.read(0, 40);
        simulation.tick(WAIT_MAX_MILLIS);
        simulation.flush(1);
        simulation.tick(GRACE_MILLIS);
        // The oldest closed window is reported again with each that follows.
        assert_eq!(simulation.snapshot().models[0].late, 0);
    }
    assert!(350 < closed(&simulation).len());
    simulation.read(1, 4);
    simulation.flush(1);
    assert_eq!(simulation.snapshot().models[0].late, 4);
}

#[test]
fn a_slow_partition_that_goes_on_never_makes_an_incomplete_window() {
    let mut simulation = two((0, 60), (0, 60));
    simulation.read(0, 1_000);
    for _ in 0..120 {
        simulation.read(1, 1);
        simulation.tick(WAIT_MAX_MILLIS - 1);
    }
    assert_eq!(closed(&simulation), [(0, 80, vec![]), (20, 80, vec![])]);
    assert_eq!(flushes(&simulation), []);
}

#[test]
fn a_partition_that_nobody_reads_is_named_as_missing() {
    let mut simulation = two((0, 30), (0, 30));
    let known = (0..3).map(partition).collect();
    simulation.handle(Event::TopicPartitions { source: 0, partitions: known });
    for index in 0..2 {
        simulation.read(index, 1_000);
    }
    simulation.tick(WAIT_MAX_MILLIS);
    simulation.tick(GRACE_MILLIS);
    assert_eq!(closed(&simulation), [(0, 80, vec![partition(2)])]);
}

#[test]
fn an_earlier_window_that_a_flush_brings_up_closes_first() {
    let mut simulation = two((20, 60), (0, 60));
    simulation.read(0, 1_000);
    simulation.read(1, 10);
    simulation.tick(WAIT_MAX_MILLIS);
    simulation.tick(GRACE_MILLIS / 2);
    // The partition answers for the window from 20 s with what it holds: the window from 0 s.
    simulation.flush(1);
    for _ in 0..4 {
        simulation.tick(GRACE_MILLIS / 2);
    }
    let missing = vec![partition(1)];
    assert_eq!(closed(&simulation), [(0, 10, missing.clone()), (20, 40, missing)]);
}

#[test]
fn a_partition_that_is_stuck_again_is_asked_again() {
    let mut simulation = stuck();
    simulation.tick(WAIT_MAX_MILLIS);
    simulation.flush(1);
    simulation.read(1, 10);
    simulation.tick(WAIT_MAX_MILLIS - 1);
    assert_eq!(flushes(&simulation).len(), 1);
    simulation.tick(1);
    assert_eq!(flushes(&simulation).len(), 2);
    simulation.flush(1);
    simulation.tick(GRACE_MILLIS);
    assert_eq!(closed(&simulation), [(0, 60, vec![partition(1)])]);
}

#[test]
fn a_partition_that_wakes_up_with_old_records_makes_no_second_window() {
    let mut simulation = two((0, 60), (0, 5));
    simulation.read(0, 1_000);
    simulation.read(1, 1_000);
    simulation.tick(30_000);
    simulation.watch_silence(1);
    assert_eq!(closed(&simulation), [(0, 50, vec![]), (20, 40, vec![])]);
    simulation.produce(1, &regular("1", |_| 5.0, 5_000..60_000, 500));
    simulation.read(1, 1_000);
    let outcome = simulation.end();
    let model = &outcome.snapshot.models[0];
    assert_eq!(model.late, 30 + 40);
    let windows = outcome.windows();
    let all = windows.iter().filter(|it| it.id.segment.as_str() == "all");
    let rows: Vec<u64> = all.map(|it| it.rows).collect();
    assert_eq!(rows.iter().sum::<u64>() + model.late, outcome.snapshot.totals.messages);
    assert_eq!(rows.len(), 3);
}

#[test]
fn a_silent_partition_whose_end_has_moved_is_waited_for() {
    let mut simulation = two((0, 40), (0, 10));
    simulation.read(0, 1_000);
    simulation.read(1, 1_000);
    simulation.tick(30_000);
    simulation.watch_silence(1);
    let mut moved = two((0, 40), (0, 10));
    moved.read(1, 1_000);
    moved.tick(30_000);
    moved.watch_silence(1);
    moved.tick(WAIT_MAX_MILLIS);
    // Another process has seen records that its reader has not come to.
    moved.handle(Event::Ends { source: 0, ends: vec![(partition(1), 21)] });
    moved.read(0, 1_000);
    moved.tick(WAIT_MAX_MILLIS - 1);
    assert_eq!(closed(&simulation), [(0, 60, vec![])]);
    assert_eq!(closed(&moved), []);
    assert!(!flushes(&moved).contains(&partition(1)), "it is given its time from then on");
}

#[test]
fn silence_goes_on_when_only_the_end_moves() {
    let mut simulation = two((0, 40), (0, 10));
    simulation.read(1, 1_000);
    simulation.tick(30_000);
    simulation.watch_silence(1);
    // The end of a transaction takes an offset too.
    simulation.handle(Event::Ends { source: 0, ends: vec![(partition(1), 21)] });
    simulation.read(0, 1_000);
    assert_eq!(closed(&simulation), []);
    simulation.watch_silence_at(1, 21);
    assert_eq!(closed(&simulation), [(0, 60, vec![])]);
}

#[test]
fn a_partition_that_is_let_go_of_and_tried_again_is_given_no_more_time() {
    let mut simulation = stuck();
    let rebalances = simulation.snapshot().sources[0].rebalances;
    simulation.flush(1);
    for _ in 0..5 {
        simulation.tick(WAIT_MAX_MILLIS / 5);
        simulation.handle(Event::LetGo(partition(1)));
        assert_eq!(simulation.snapshot().partitions.len(), 2, "it is still this process's");
        simulation.handle(Event::Assigned { source: 0, partitions: vec![partition(1)] });
    }
    simulation.tick(GRACE_MILLIS);
    assert_eq!(closed(&simulation), [(0, 50, vec![partition(1)])]);
    assert_eq!(simulation.snapshot().sources[0].rebalances, rebalances);
    // What the group gives is a rebalance, and is given its time.
    simulation.handle(Event::Revoked { source: 0, partitions: vec![partition(1)] });
    simulation.handle(Event::Assigned { source: 0, partitions: vec![partition(1)] });
    assert_eq!(simulation.snapshot().sources[0].rebalances, rebalances + 2);
}
