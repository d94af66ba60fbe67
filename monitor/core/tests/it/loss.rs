//! Logs that lose records which were not counted, and a person who accepts that: windows that may
//! lack records say so, the others are whole, and each is said once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use driftd_catalog::{Timestamp, WindowId};
use driftd_core::config::{Config, WindowKind};
use driftd_core::loss::Mark;
use driftd_core::result::WindowResult;
use proptest::prelude::*;

use crate::durability::{published, sending, stored_after};
use crate::log::{Draft, FUTURE_SKEW_MILLIS, Record, START, drafts, records, regular, used_time};
use crate::model;
use crate::recount::{Recount, recount};
use crate::simulation::{Simulation, Step, partition, steps};
use crate::tally::{Reached, Tally};

/// Offsets that are read before it is known how far lost time reaches.
const SETTLING: i64 = 100;
const OUT_OF_ORDERNESS_MILLIS: i64 = 3_000;

/// What becomes of the process after a step.
#[derive(Clone, Copy, Debug)]
enum Fate {
    GoesOn,
    Checkpoints,
    Commits,
    Sends(usize),
    Crashes,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        Just(Fate::GoesOn),
        Just(Fate::Checkpoints),
        Just(Fate::Commits),
        (0..12_usize).prop_map(Fate::Sends),
        Just(Fate::Crashes),
    ];
    prop::collection::vec(fate, 1..20)
}

fn play(simulation: &mut Simulation, steps: &[Step], fates: &[Fate]) {
    for (step, fate) in steps.iter().zip(fates.iter().cycle()) {
        simulation.step(step);
        match fate {
            Fate::GoesOn => {}
            Fate::Checkpoints => simulation.checkpoint(),
            Fate::Commits => simulation.commit(),
            Fate::Sends(count) => simulation.send_and_hear(*count),
            Fate::Crashes => simulation.crash(),
        }
    }
}

/// What happens to the log of the first partition, while nobody reads it.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// So many offsets are deleted that were not read.
    Deletes(i64),
    /// So many offsets are cut off that were read, and what comes next takes their place.
    Cuts(i64),
}

/// A log that has lost records.
struct Damaged {
    log: Vec<Record>,
    /// Where it was read up to.
    position: i64,
    /// First offset of what came after the loss.
    goes_on_at: i64,
}

/// Ends the process, damages the log, and starts another one that accepts the loss; `None` when
/// nothing was read before.
fn damage(
    simulation: &mut Simulation,
    log: &[Record],
    fault: Fault,
    later: &[Record],
) -> Option<Damaged> {
    simulation.checkpoint();
    simulation.commit();
    let position = simulation.stored_position(0)?;
    let (start, mut log): (i64, Vec<Record>) = match fault {
        Fault::Deletes(count) => {
            let start = position + count;
            (start, log.iter().filter(|it| start <= it.offset).cloned().collect())
        }
        Fault::Cuts(count) => {
            let end = (position - count).max(0);
            (0, log.iter().filter(|it| it.offset < end).cloned().collect())
        }
    };
    simulation.replace(0, start, log.clone());
    let goes_on_at = match fault {
        Fault::Deletes(_) => start,
        Fault::Cuts(_) => simulation.high_watermark(0),
    };
    simulation.crash();
    simulation.commit();
    if matches!(fault, Fault::Cuts(_)) {
        let later = later.iter().map(|it| Record { offset: goes_on_at + it.offset, ..it.clone() });
        log.extend(later);
        simulation.replace(0, 0, log.clone());
    }
    Some(Damaged { log, position, goes_on_at })
}

/// Returns up to where windows may lack records: what was counted and is dropped, and what lay
/// before the records that were read since; never what came after the moment of acceptance.
fn until(before: &[Record], damaged: &Damaged, accepted_at: Timestamp) -> Timestamp {
    let Damaged { log, position, goes_on_at } = damaged;
    let read = before.iter().filter(|it| it.offset < *position && it.values.is_some());
    let counted = read.map(used_time).max().unwrap_or(Timestamp::MIN);
    let latest = accepted_at.plus_millis(FUTURE_SKEW_MILLIS).max(counted);
    let valid: Vec<&Record> = log.iter().filter(|it| it.values.is_some()).collect();
    let Some(at) = valid.iter().position(|it| goes_on_at + SETTLING <= it.offset) else {
        return latest;
    };
    let newest = valid[..=at].iter().map(|it| used_time(it)).max().unwrap();
    latest.min(newest.plus_millis(OUT_OF_ORDERNESS_MILLIS).max(counted))
}

/// Returns the last result of each window; panics when one was decided twice.
fn decided(windows: &[Arc<WindowResult>]) -> BTreeMap<WindowId, Arc<WindowResult>> {
    let mut decided = BTreeMap::new();
    for result in windows.iter().filter(|it| it.edition.is_first_final()) {
        let id = result.id.clone();
        assert!(decided.insert(id, Arc::clone(result)).is_none(), "{} twice", result.id);
    }
    decided
}

fn has_length(config: &Config, id: &WindowId) -> bool {
    let model = config.models.iter().find(|it| *it.name == *id.model.name()).unwrap();
    let window = model.windows.iter().find(|it| it.name == id.name).unwrap();
    matches!(window.kind, WindowKind::Length { .. })
}

/// What a run with a loss came to.
struct Run {
    config: Arc<Config>,
    before: BTreeMap<WindowId, Arc<WindowResult>>,
    after: BTreeMap<WindowId, Arc<WindowResult>>,
    /// Of the logs as they were, and as they are.
    whole: Recount,
    damaged: Recount,
    /// Of the partitions that have lost nothing.
    others: Recount,
    until: Timestamp,
}

impl Run {
    fn check(&self) {
        for (id, result) in &self.before {
            assert_eq!(Some(result.rows), rows(&self.whole, id), "{id} was closed before");
        }
        for (id, result) in self.after.iter().filter(|(id, _)| has_length(&self.config, id)) {
            let lacks = id.span.start() <= self.until;
            let missing = if lacks { vec![partition(0)] } else { Vec::new() };
            assert_eq!(result.missing, missing, "{id}; whole after {}", self.until);
            assert_eq!(result.complete, !lacks, "{id}");
        }
        let said: BTreeSet<&WindowId> = self.before.keys().chain(self.after.keys()).collect();
        for id in self.others.windows.keys().filter(|id| has_length(&self.config, id)) {
            assert!(said.contains(id), "{id} is of partitions that have lost nothing");
        }
    }

    /// Where panes are windows, what is in each is what is in the logs as they are.
    fn check_rows(&self) {
        for (id, result) in &self.after {
            assert_eq!(Some(result.rows), rows(&self.damaged, id), "{id} was closed after");
        }
        // What is read again of a time that was closed before comes too late.
        let is_closed = |id: &WindowId| {
            let own = self.before.keys().filter(|it| it.model.name() == id.model.name());
            own.map(|it| it.span.end()).max() >= Some(id.span.end())
        };
        for id in self.damaged.windows.keys().filter(|id| !is_closed(id)) {
            assert!(self.after.contains_key(id), "{id} never");
        }
    }
}

fn rows(recount: &Recount, id: &WindowId) -> Option<u64> {
    recount.windows.get(id).map(|rows| rows.len() as u64)
}

/// Two partitions, one record of each a second; the first has read fifty of them when the rest of
/// its log is deleted.
fn deleted(tree: &serde_json::Value) -> Simulation {
    let mut simulation = stored_after(tree, 1_000, [50, 50]);
    simulation.replace(0, 200, Vec::new());
    simulation.crash();
    simulation.commit();
    simulation
}

/// Returns the windows of all records by seconds after [`START`], and whether they are whole.
fn whole(simulation: &Simulation) -> Vec<(i64, u64, bool)> {
    let windows = simulation.windows();
    let all = windows.iter().filter(|it| it.id.segment == driftd_catalog::SegmentId::all());
    let shown = all.map(|it| {
        let seconds = (it.id.span.start().as_millis() - START.as_millis()) / 1_000;
        (seconds, it.rows, it.complete)
    });
    shown.collect()
}

#[test]
fn a_partition_that_is_silent_after_its_loss_does_not_pass_for_whole() {
    let mut simulation = deleted(&model::tree());
    assert_eq!(whole(&simulation), [(0, 40, true), (20, 40, true)]);
    simulation.read(1, 200);
    assert_eq!(whole(&simulation).len(), 2, "it is waited for");
    simulation.tick(30_000);
    simulation.watch_silence(0);
    // No record can have been dated later than a minute after the loss was accepted.
    let expected = [(40, 20, false), (60, 20, false), (80, 20, true), (100, 20, true)];
    assert_eq!(whole(&simulation)[2..6], expected);
    simulation.crash();
    assert_eq!(simulation.stored_position(0), None, "nothing was read of it since");
}

#[test]
fn what_is_not_whole_is_not_revised() {
    let mut tree = model::tree();
    tree["models"][0]["window"]["revisions"] = "10m".into();
    let mut simulation = deleted(&tree);
    let closed = whole(&simulation);
    // The first partition is filled again, from its beginning.
    let log = regular("1", |_| 5.0, 0..300_000, 1_000);
    let log: Vec<Record> =
        log.into_iter().map(|it| Record { offset: it.offset + 200, ..it }).collect();
    simulation.replace(0, 200, log);
    simulation.crash();
    simulation.read(1, 200);
    simulation.read(0, 300);
    let windows = simulation.windows();
    assert!(windows.iter().all(|it| !it.edition.is_revised), "what was counted is counted again");
    assert_eq!(whole(&simulation)[..closed.len()], closed);
}

#[test]
fn the_newest_record_is_known_after_a_restart_until_the_loss_is_accepted() {
    let mut simulation = Simulation::durable(
        &model::config(&model::tree()),
        &[regular("1", |_| 5.0, 0..60_000, 1_000)],
        1,
    );
    simulation.read(0, 50);
    let mark = Mark { offset: 49, time: Some(START), bytes: 12 };
    simulation.mark(0, mark);
    simulation.checkpoint();
    simulation.commit();
    simulation.crash();
    simulation.checkpoint();
    simulation.commit();
    assert_eq!(simulation.stored_mark(0), Some(mark));
    simulation.replace(0, 55, Vec::new());
    simulation.crash();
    simulation.commit();
    assert_eq!(simulation.stored_mark(0), None);
}

/// What is drawn of a case: all logs, what comes later in the first, and what happens to it.
type Drawn =
    (bool, (Vec<Vec<Record>>, usize), Vec<Record>, Fault, (Vec<Step>, Vec<Step>), [Vec<Fate>; 2]);

/// Begins to read the first partition at an offset, as a first start does where it is told to, or
/// at the beginning of its log.
fn begin(config: &Arc<Config>, logs: &[Vec<Record>], offset: Option<i64>) -> Simulation {
    let mut simulation = Simulation::durable(config, logs, 2);
    if let Some(offset) = offset {
        simulation.begin_at(0, offset);
        simulation.checkpoint();
        simulation.commit();
    }
    simulation
}

fn case((is_plain, (mut logs, skipped), later, fault, steps, fates): Drawn) -> Reached {
    let tree = if is_plain { model::tree() } else { model::kinds() };
    let config = model::config(&sending(tree));
    // What is left of a log that was cut is read from its beginning.
    let skipped = Some(skipped).filter(|it| 0 < *it && matches!(fault, Fault::Deletes(_)));
    let begins_at = skipped.map(|it| logs[0][it].offset);
    let mut simulation = begin(&config, &logs, begins_at);
    let all = logs[0].clone();
    logs[0].retain(|it| begins_at.is_none_or(|begins_at| begins_at <= it.offset));
    let whole = recount(&config, &logs);
    play(&mut simulation, &steps.0, &fates[0]);
    let accepted_at = simulation.now;
    let mut reached = Reached::default();
    reached.note_if(begins_at.is_some(), "a beginning amid a log");
    let Some(damaged) = damage(&mut simulation, &all, fault, &later) else {
        reached.note("nothing read before");
        return reached;
    };
    let until = until(&logs[0], &damaged, accepted_at);
    let before = decided(&simulation.windows());
    play(&mut simulation, &steps.1, &fates[1]);
    let outcome = simulation.play(&[]);
    let mut after = decided(&outcome.windows());
    after.retain(|id, _| !before.contains_key(id));
    let lines = published(&outcome);
    let unique: BTreeSet<_> = lines.iter().map(|(id, _)| *id).collect();
    assert_eq!(unique.len(), lines.len(), "every message once");
    let others = recount(&config, &logs[1..]);
    let settles_at = damaged.goes_on_at + SETTLING;
    let is_settled = damaged.log.last().is_some_and(|it| settles_at <= it.offset);
    logs[0] = damaged.log;
    let damaged = recount(&config, &logs);
    let run = Run { config, before, after, whole, damaged, others, until };
    run.check();
    if is_plain {
        run.check_rows();
    }
    reached.note_if(is_settled, "the end of what is lost");
    reached.note_if(!run.before.is_empty(), "windows before the loss");
    reached.note_if(run.after.values().any(|it| !it.complete), "windows that may lack records");
    reached.note_if(run.after.values().any(|it| it.complete), "whole windows after the loss");
    reached
}

#[test]
fn windows_that_may_lack_records_say_so_and_the_others_are_whole() {
    let few = || prop_oneof![5 => drafts(10..70), 1 => drafts(120..300)];
    let fault = prop_oneof![
        3 => (1..20_i64).prop_map(Fault::Deletes),
        1 => (20..150_i64).prop_map(Fault::Deletes),
        3 => (1..20_i64).prop_map(Fault::Cuts),
        1 => (20..60_i64).prop_map(Fault::Cuts),
    ];
    let written = |drafts: Vec<Draft>| records(&drafts);
    let drawn = (
        any::<bool>(),
        (prop::collection::vec(few().prop_map(written), 1..4), prop_oneof![Just(0), 1..10_usize]),
        few().prop_map(written),
        fault,
        (steps(), steps()),
        [fates(), fates()],
    );
    Tally::play(600, drawn, case).assert_floors(&[
        ("nothing read before", 0),
        ("a beginning amid a log", 150),
        ("the end of what is lost", 150),
        ("windows before the loss", 300),
        ("windows that may lack records", 500),
        ("whole windows after the loss", 400),
    ]);
}
