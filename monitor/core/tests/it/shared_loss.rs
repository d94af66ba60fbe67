//! Records of a partition are lost while several processes share the work, and a person accepts
//! that: windows that may lack records say so, the others are whole, and each is said once.
//!
//! Before: [`crate::cluster`] plays what readers and lanes do before and after. After:
//! [`crate::damage`] says what every window has to say.

use std::sync::Arc;

use driftd_catalog::{ModelId, SegmentId};
use driftd_core::config::Config;
use driftd_core::event::Event;
use driftd_core::loss::Loss;
use driftd_core::state::{LaneReader, lane_of};
use proptest::prelude::*;

use crate::cluster::{Cluster, Finished, LANES};
use crate::damage::{Fault, Run, decided, faults, some_log, until};
use crate::deeds::{Course, Deed, Ending, deeds, endings};
use crate::log::{Record, START, regular};
use crate::model;
use crate::recount::recount;
use crate::tally::{Reached, Tally};

/// What is drawn of a case: all logs, what comes later in the first, and after how many deeds; what
/// happens to it, and how its readers end then; and the deeds before and after.
type Drawn =
    (usize, Vec<Vec<Record>>, (Vec<Record>, usize), (Fault, Vec<Ending>), (Vec<Deed>, Vec<Deed>));

/// Has the first partition lose records, and reader after reader accept it and end.
fn lose(cluster: &mut Cluster, (fault, endings): (Fault, Vec<Ending>), later: Vec<Record>) {
    cluster.losing.coming = Some((fault, later));
    for ending in endings {
        cluster.act(Deed::EndReader { partition: 0, config: 0, ending });
    }
}

fn case((kind, logs, (later, grows_at), (fault, endings), deeds): Drawn) -> Reached {
    let is_plain = kind == 0;
    let config = model::config(&if is_plain { model::tree() } else { model::kinds() });
    let mut cluster = Cluster::new(std::slice::from_ref(&config), &logs);
    cluster.losing.is_marked = true;
    for deed in deeds.0 {
        cluster.act(deed);
    }
    let later = if matches!(fault, Fault::Cuts(_)) { later } else { Vec::new() };
    let (at_once, later) = if grows_at == 0 { (later, Vec::new()) } else { (Vec::new(), later) };
    lose(&mut cluster, (fault, endings), at_once);
    let (soon, late) = deeds.1.split_at(grows_at.min(deeds.1.len()));
    for deed in soon {
        cluster.act(*deed);
    }
    cluster.grow_again(&later);
    for deed in late {
        cluster.act(*deed);
    }
    let mut reached = Reached::default();
    let Some(run) = check(&config, &logs, cluster.finish(), &mut reached) else {
        reached.note("nothing read before");
        return reached;
    };
    if is_plain {
        run.check_rows();
    }
    reached
}

/// Compares what all came to with what has to be said; `None` when nothing was lost.
fn check(
    config: &Arc<Config>,
    logs: &[Vec<Record>],
    finished: Finished,
    reached: &mut Reached,
) -> Option<Run> {
    let Finished { windows, unaware, logs: mut left, losing, .. } = finished;
    reached.extend(&finished.reached);
    let (damaged, accepted_at) = losing.damaged(left[0].clone())?;
    reached.note_if(damaged.is_settled(), "the end of what is lost");
    reached.note_if(1 < losing.accepted.len(), "a loss that is accepted again");
    let is_recreated = matches!(losing.accepted.last()?.loss, Loss::Recreated { .. });
    reached.note_if(is_recreated, "a log that has grown past where it was read");
    let before = decided(&unaware);
    let mut after = decided(&windows);
    after.retain(|id, _| !before.contains_key(id));
    let until = until(&logs[0], &damaged, accepted_at);
    let (whole, others) = (recount(config, logs), recount(config, &logs[1..]));
    left[0] = damaged.log;
    let damaged = recount(config, &left);
    let config = Arc::clone(config);
    let run = Run { config, before, after, whole, damaged, others, until };
    run.check();
    run.check_whole();
    reached.extend(&run.reached());
    Some(run)
}

/// Two partitions of `alpha`; a minute of the first has been read, and nothing of the other. Then
/// all but its first ten seconds are cut off, and other records take their place.
struct Cut {
    config: Arc<Config>,
    logs: [Vec<Record>; 2],
    lane: usize,
    cluster: Cluster,
}

impl Cut {
    fn new() -> Self {
        let config = model::config(&model::tree());
        let log = |seconds: i64| regular("1", |_| 5.0, 0..seconds * 1_000, 500);
        let logs = [log(60), log(200)];
        let mut cluster = Cluster::new(std::slice::from_ref(&config), &logs);
        let lane = usize::try_from(lane_of("alpha", LANES)).unwrap();
        cluster.read(0, 120);
        cluster.pass(0);
        cluster.take(lane, usize::MAX);
        cluster.decide(lane);
        // Otherwise the clock would tell where lost time ends, whatever is read.
        cluster.now = cluster.now.plus_millis(600_000);
        lose(&mut cluster, (Fault::Cuts(100), vec![Ending::Dies]), Vec::new());
        cluster.grow_again(&regular("1", |_| 5.0, 10_000..200_000, 1_000));
        Self { config, logs, lane, cluster }
    }

    /// The reader begins anew, and reads a little at a time.
    fn read_again(&mut self, times: usize) {
        (0..times).for_each(|_| self.cluster.read(0, 10));
    }

    /// The lane stores where it is, and its process ends.
    fn restart_lane(&mut self) {
        self.cluster.decide(self.lane);
        self.cluster.end_lane(self.lane, 0);
    }

    /// The other partition is read.
    fn read_other(&mut self) {
        self.cluster.read(1, usize::MAX >> 1);
        self.cluster.pass(1);
    }

    /// Returns how often the lane is told of lost records.
    fn news(&self) -> usize {
        let find = |_: usize, id: &ModelId| model::reference(&self.config, id);
        let mut reader = LaneReader::new(Arc::clone(&self.config), LANES, &find);
        let lane = u32::try_from(self.lane).unwrap();
        let rows = self.cluster.partials[self.lane].committed(&self.cluster.verdicts, 0);
        let events = rows.map(|(_, key, row)| reader.read(lane, key, row.unwrap()).unwrap());
        events.filter(|it| matches!(it, Some(Event::Lost { .. }))).count()
    }

    /// Returns the seconds after the start at which windows begin that may lack records.
    fn finish(self) -> Vec<i64> {
        let reached = &mut Reached::default();
        let run = check(&self.config, &self.logs, self.cluster.finish(), reached).unwrap();
        run.check_rows();
        assert!(run.before.is_empty(), "all is decided with the other partition");
        let all = run.after.iter().filter(|(id, _)| id.segment == SegmentId::all());
        let lacking = all.filter(|(_, result)| !result.complete);
        let seconds =
            lacking.map(|(id, _)| (id.span.start().as_millis() - START.as_millis()) / 1_000);
        seconds.collect()
    }
}

/// The newest record that tells where it ends is of the 110th second.
const LACKING: [i64; 6] = [0, 20, 40, 60, 80, 100];

#[test]
fn lost_time_that_begins_and_ends_between_two_transactions_is_told_as_one() {
    let mut cut = Cut::new();
    cut.read_again(21);
    cut.cluster.pass(0);
    assert_eq!(cut.news(), 1);
    cut.cluster.take(cut.lane, usize::MAX);
    cut.restart_lane();
    cut.read_other();
    assert_eq!(cut.finish(), LACKING);
}

#[test]
fn lost_time_that_ends_later_is_told_by_whoever_reads_by_then() {
    let mut cut = Cut::new();
    for times in [0, 3, 7, 11] {
        cut.read_again(times);
        cut.cluster.pass(0);
        cut.cluster.end_reader(0, 0);
        cut.cluster.take(cut.lane, usize::MAX);
        cut.restart_lane();
    }
    assert_eq!(cut.news(), 2, "its begin and its end");
    cut.read_other();
    assert_eq!(cut.finish(), LACKING);
}

/// The rows of the other partition lie between those of the one transaction, as they may.
#[test]
fn a_lane_that_begins_behind_the_news_of_a_loss_waits_for_the_partition() {
    let mut cut = Cut::new();
    cut.read_again(21);
    let course = Course::Hangs { is_positioned: false };
    cut.cluster.act(Deed::Pass { partition: 0, course });
    cut.read_other();
    cut.cluster.pass(0);
    cut.cluster.take(cut.lane, 1);
    assert_eq!(cut.news(), 1);
    cut.restart_lane();
    cut.cluster.take(cut.lane, usize::MAX);
    assert_eq!(cut.finish(), LACKING);
}

/// What was counted anew ends at the offset at which what is dropped ended.
#[test]
fn a_lane_stores_what_is_counted_anew_whatever_its_offsets_are() {
    let mut cut = Cut::new();
    cut.cluster.read(0, 120);
    cut.cluster.pass(0);
    cut.cluster.take(cut.lane, usize::MAX);
    cut.restart_lane();
    cut.read_again(9);
    cut.cluster.pass(0);
    cut.read_other();
    cut.cluster.take(cut.lane, usize::MAX);
    assert_eq!(cut.finish(), LACKING);
}

#[test]
fn windows_of_shared_work_that_may_lack_records_say_so_and_the_others_are_whole() {
    let waits = || prop_oneof![3 => Just(1_i64), 1 => Just(700)];
    let drawn = (
        0..2_usize,
        prop::collection::vec(some_log(), 1..4),
        (some_log(), prop_oneof![1 => Just(0), 2 => 1..12_usize]),
        (faults(), prop::collection::vec(endings(), 1..4)),
        (deeds(waits()), deeds(waits())),
    );
    Tally::play(300, drawn, case).assert_floors(&[&[
        ("nothing read before", 0),
        ("a loss that is accepted again", 400),
        ("a log that has grown past where it was read", 40),
        ("the end of what is lost", 150),
        ("windows before the loss", 500),
        ("windows that may lack records", 600),
        ("whole windows after the loss", 450),
        ("windows before the end", 700),
        ("waits for another process", 70),
        ("transactions that are fenced", 700),
        ("commits of a replaced process that count", 350),
        ("transactions that are sent again", 300),
        ("transactions that are not answered for", 300),
        ("old rows that are compacted away", 450),
        ("ends of keys that are compacted away", 180),
        ("rows that are deleted once they are taken", 300),
        ("begins while transactions are torn", 100),
        ("waits for the end of its own transaction", 100),
    ]]);
}
