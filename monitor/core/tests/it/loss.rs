//! Logs that lose records which were not counted, and a person who accepts that: windows that may
//! lack records say so, the others are whole, and each is said once.

use std::collections::BTreeSet;
use std::sync::Arc;

use driftd_catalog::Timestamp;
use driftd_core::config::Config;
use driftd_core::loss::Mark;
use driftd_core::result::WindowResult;
use proptest::prelude::*;

use crate::damage::{Damaged, Fault, Run, decided, faults, some_log, until};
use crate::durability::{published, sending, stored_after};
use crate::growth::produce;
use crate::log::{Record, START, regular};
use crate::model;
use crate::recount::{Recount, recount};
use crate::simulation::{Simulation, Step, steps};
use crate::tally::{Reached, Tally};

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
    let furthest = simulation.furthest(0);
    let (start, mut log) = fault.damage(log, position);
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
    Some(Damaged { log, position, furthest, goes_on_at })
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

/// Panes are closed and stored beyond where the partition goes on when its log is cut and filled
/// again, twice as densely: first with what is older than that, then with what is in those panes.
fn closed_beyond(later: &[Record]) -> (Vec<Arc<WindowResult>>, Recount) {
    let config = model::config(&model::kinds());
    let dense = |to: i64| regular("1", |_| 5.0, 0..to, 500);
    let mut old = regular("1", |_| 5.0, 0..30_000, 1_000);
    produce(&mut old, later);
    let mut simulation = Simulation::durable(&config, std::slice::from_ref(&old), 1);
    simulation.read(0, 30);
    simulation.checkpoint();
    simulation.commit();
    simulation.read(0, 1_000);
    simulation.commit();
    let before = simulation.windows().len();
    simulation.replace(0, 0, old[..10].to_vec());
    simulation.crash();
    simulation.commit();
    let mut new = old[..10].to_vec();
    produce(&mut new, &dense(29_000));
    produce(&mut new, &dense(29_000));
    produce(&mut new, &dense(300_000)[60..]);
    let recount = recount(&config, std::slice::from_ref(&new));
    simulation.replace(0, 0, new);
    let mut windows = simulation.play(&[]).windows();
    (windows.split_off(before), recount)
}

#[test]
fn panes_that_are_closed_beyond_the_position_are_not_added_to_another_log() {
    let seconds = |it: Timestamp| (it.as_millis() - START.as_millis()) / 1_000;
    let full = regular("1", |_| 5.0, 30_000..75_000, 1_000);
    // Nothing is counted in the panes before it.
    let sparse = full[44..].to_vec();
    for (later, closed_to) in [(full, 60), (sparse, 40)] {
        let (windows, recount) = closed_beyond(&later);
        let ended = windows.iter().filter(|it| it.edition.is_final);
        let (whole, lacking): (Vec<_>, Vec<_>) = ended.partition(|it| it.complete);
        let mut begins = Vec::new();
        for result in &whole {
            let start = match &*result.id.name {
                "global" => seconds(result.id.span.end()) - 30,
                _ => seconds(result.id.span.start()),
            };
            begins.push(start);
            let has_length = ["sliding", "tumbling", "early"].contains(&&*result.id.name);
            let rows = recount.windows.get(&result.id).map(|rows| rows.len() as u64);
            assert!(!has_length || Some(result.rows) == rows, "{} is not whole", result.id);
        }
        assert!(!lacking.is_empty());
        assert_eq!(begins.iter().min(), Some(&closed_to), "no more and no less is given up");
    }
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
    reached.note_if(damaged.is_settled(), "the end of what is lost");
    logs[0] = damaged.log;
    let damaged = recount(&config, &logs);
    let run = Run { config, before, after, whole, damaged, others, until };
    run.check();
    run.check_whole();
    if is_plain {
        run.check_rows();
    }
    reached.extend(&run.reached());
    reached
}

#[test]
fn windows_that_may_lack_records_say_so_and_the_others_are_whole() {
    let drawn = (
        any::<bool>(),
        (prop::collection::vec(some_log(), 1..4), prop_oneof![Just(0), 1..10_usize]),
        some_log(),
        faults(),
        (steps(), steps()),
        [fates(), fates()],
    );
    Tally::play(600, drawn, case).assert_floors(&[&[
        ("nothing read before", 0),
        ("a beginning amid a log", 150),
        ("the end of what is lost", 150),
        ("windows before the loss", 300),
        ("windows that may lack records", 500),
        ("whole windows after the loss", 400),
        ("closed panes of windows that are not", 0),
    ]]);
}
