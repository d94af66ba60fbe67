//! Several processes that share the work and end at any moment: together they come to what one
//! process comes to.
//!
//! Before: [`crate::cluster`] plays what they do, and what becomes of their transactions. After:
//! what they came to is compared with a recount, and with one process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use driftd_catalog::{ModelId, SegmentId};
use driftd_core::event::{Effect, Event};
use driftd_core::state::{LaneReader, LaneRowError, RestoreError, lane_of, restore_partition};
use proptest::prelude::*;

use crate::cluster::{CLUSTER_FLOORS, Cluster, Finished, LANES};
use crate::deeds::{Course, Deed, Ending, deeds};
use crate::growth::{Growth, growths, produce};
use crate::kinds::newest;
use crate::log::{Record, START, logs, punctual, records, regular, topics};
use crate::members::Owned;
use crate::model;
use crate::recount::{LOG_FLOORS, recount};
use crate::simulation::{Simulation, partition};
use crate::tally::Tally;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

impl Cluster {
    /// A reader reads.
    pub(crate) fn read(&mut self, partition: usize, messages: usize) {
        self.act(Deed::Read { partition, messages });
    }

    /// A reader's transaction.
    pub(crate) fn pass(&mut self, partition: usize) {
        self.act(Deed::Pass { partition, course: Course::Commits });
    }

    pub(crate) fn take(&mut self, lane: usize, rows: usize) {
        self.act(Deed::Take { lane, rows });
    }

    /// A lane's transaction.
    pub(crate) fn decide(&mut self, lane: usize) {
        self.act(Deed::Decide { lane, course: Course::Commits });
    }

    pub(crate) fn end_lane(&mut self, lane: usize, config: usize) {
        self.act(Deed::EndLane { lane, config, ending: Ending::Dies });
    }

    pub(crate) fn end_reader(&mut self, partition: usize, config: usize) {
        self.act(Deed::EndReader { partition, config, ending: Ending::Dies });
    }
}

/// Without late records: which those are depends on what is read, and so on the configuration.
fn punctual_logs() -> impl Strategy<Value = Vec<Vec<Record>>> {
    topics(2..4)
        .prop_map(|logs| logs.into_iter().map(|drafts| records(&punctual(drafts))).collect())
}

/// Episodes, without the wall-clock times of one run.
fn episodes(effects: &[Effect]) -> Vec<String> {
    let said = effects.iter().filter_map(|effect| {
        if let Effect::Episode(transition) = effect {
            Some(format!("{transition:?}"))
        } else {
            None
        }
    });
    let mut said: Vec<String> = said.collect();
    said.sort_unstable();
    said
}

fn kept(cluster: &Cluster) -> Rows {
    cluster.rows(Owned::Partition(0)).into_iter().collect()
}

#[test]
fn a_torn_store_of_a_partition_is_refused() {
    let config = model::config(&model::tree());
    let log = regular("1", |row| f64::from(i32::try_from(row % 10).unwrap()), 0..60_000, 100);
    let mut cluster = Cluster::new(std::slice::from_ref(&config), &[log]);
    cluster.read(0, 150);
    cluster.pass(0);
    let before = kept(&cluster);
    cluster.read(0, 20);
    cluster.pass(0);
    let find = |_: usize, id: &ModelId| model::reference(&config, id);
    let restore = |rows: Rows| {
        restore_partition(&config, (partition(0), 0), rows, &find, (None, START)).map(|_| ())
    };
    let after = kept(&cluster);
    restore(after.clone()).unwrap();
    let mut torn = 0;
    for (key, value) in &before {
        let mut rows = after.clone();
        // The format and an unchanged row are the same in both.
        if rows.insert(key.clone(), value.clone()).as_ref() != Some(value) {
            let error = restore(rows).unwrap_err();
            assert!(matches!(error, RestoreError::Torn { .. }), "{error}");
            torn += 1;
        }
    }
    assert!(1 < torn, "the position and an open window have changed");
}

#[test]
fn a_lane_knows_after_a_restart_how_far_partitions_were() {
    let config = model::config(&model::tree());
    let log = || regular("1", |row| f64::from(i32::try_from(row % 10).unwrap()), 0..60_000, 100);
    let mut cluster = Cluster::new(std::slice::from_ref(&config), &[log(), log()]);
    cluster.read(0, 600);
    cluster.pass(0);
    for lane in 0..LANES as usize {
        cluster.take(lane, usize::MAX);
        cluster.decide(lane);
        cluster.end_lane(lane, 0);
    }
    // The first partition has nothing more to tell.
    cluster.read(1, 600);
    cluster.pass(1);
    (0..LANES as usize).for_each(|lane| cluster.take(lane, usize::MAX));
    let closed = (0..LANES as usize).map(|lane| cluster.windows_closed(lane)).sum::<u64>();
    assert!(0 < closed, "windows wait for a partition that has passed them");
}

#[test]
fn a_row_that_another_version_wrote_is_not_passed_over() {
    let config = model::config(&model::tree());
    let log = regular("1", |_| 5.0, 0..60_000, 100);
    let mut cluster = Cluster::new(std::slice::from_ref(&config), &[log]);
    cluster.read(0, 600);
    cluster.pass(0);
    let find = |_: usize, id: &ModelId| model::reference(&config, id);
    let mut reader = LaneReader::new(Arc::clone(&config), LANES, &find);
    let lane = lane_of("alpha", LANES);
    let passed = &cluster.partials[lane as usize];
    let (_, key, row) = passed.committed(&cluster.verdicts, 0).next().unwrap();
    let (key, row) = (key.to_vec(), row.unwrap().to_vec());
    assert!(matches!(reader.read(lane, &key, &row), Ok(Some(Event::Partial(_)))));
    let mut newer = row.clone();
    newer[1] += 1;
    let error = reader.read(lane, &key, &newer).unwrap_err();
    assert!(matches!(error, LaneRowError::Format { found } if found == newer[1]), "{error}");
    for other in [&[][..], b"{}", &row[..1]] {
        let error = reader.read(lane, &key, other).unwrap_err();
        assert!(matches!(error, LaneRowError::Foreign), "{error}");
    }
    let error = reader.read(lane, &key[1..], &row).unwrap_err();
    assert!(matches!(error, LaneRowError::Damaged(_)), "{error}");
    for end in 2..row.len() {
        let event = reader.read(lane, &key, &row[..end]).unwrap();
        assert!(matches!(event, Some(Event::LeftOut { .. })), "{end}: {event:?}");
    }
}

/// A process ends when a partition is silent; records come before the next one hears of it.
#[test]
fn silence_that_was_told_before_a_restart_is_not_believed_without_the_end() {
    let config = model::config(&model::tree());
    let log = |to| regular("1", |_| 5.0, 0..to, 500);
    let lane = lane_of("alpha", LANES) as usize;
    let closed_after = |end: Option<i64>| {
        let mut cluster = Cluster::new(std::slice::from_ref(&config), &[log(60_000), log(10_000)]);
        cluster.read(1, 1_000);
        cluster.now = cluster.now.plus_millis(30_000);
        cluster.look();
        cluster.pass(1);
        cluster.take(lane, usize::MAX);
        cluster.decide(lane);
        cluster.end_lane(lane, 0);
        let ends = end.map(|end| vec![(partition(1), end)]).unwrap_or_default();
        cluster.tell_lane(lane, Event::Ends { source: 0, ends });
        cluster.read(0, 1_000);
        cluster.pass(0);
        cluster.take(lane, usize::MAX);
        cluster.windows_closed(lane)
    };
    assert_eq!(closed_after(None), 0);
    assert_eq!(closed_after(Some(21)), 0);
    assert!(0 < closed_after(Some(20)));
}

/// A lane gives a partition up and closes its window before it has heard how far others are; then a
/// process has it that counts otherwise, and then the first one again.
#[test]
fn a_window_is_not_closed_again_when_a_configuration_comes_back() {
    let configs = model::changing().map(|tree| model::config(&tree));
    let logs = [10, 60].map(|seconds| regular("1", |_| 5.0, 0..seconds * 1_000, 500));
    let lane = usize::try_from(lane_of("alpha", LANES)).unwrap();
    let mut cluster = Cluster::new(&configs, &logs);
    cluster.read(1, 120);
    cluster.pass(1);
    cluster.take(lane, 1);
    (0..5).for_each(|_| cluster.act(Deed::Tick { millis: 31_000 }));
    cluster.decide(lane);
    assert_eq!(cluster.windows_closed(lane), 1);
    cluster.end_lane(lane, 1);
    cluster.settle();
    let Finished { windows, .. } = cluster.finish();
    recount(&configs[0], &logs).compare_complete(&windows);
}

/// A lane gives a partition up and closes a window of `beta`; then that partition brings an earlier
/// one, of a version that nobody has seen, while another's counts of it went to a process that does
/// not know the model.
#[test]
fn what_is_missing_is_known_as_long_as_a_window_may_come_that_misses_it() {
    let [both, _, one, _] = model::changing().map(|tree| model::config(&tree));
    let lane = usize::try_from(lane_of("beta", LANES)).unwrap();
    let beta = |version, from: i64| {
        let mut records = regular(version, |_| 5.0, from..from + 1, 1);
        records[0].values.as_mut().unwrap().model = 1;
        records
    };
    let mut passes = beta("9", 0);
    produce(&mut passes, &regular("1", |_| 5.0, 20_000..20_001, 1));
    let logs = [beta("1", 17_000), beta("9", 0), passes];
    let mut cluster = Cluster::new(&[both, one], &logs);
    cluster.is_timely = true;
    cluster.end_lane(lane, 1);
    cluster.act(Deed::Flow { messages: 2 });
    cluster.end_lane(lane, 0);
    cluster.act(Deed::Report { partition: 0 });
    cluster.act(Deed::Flow { messages: 1 });
    for millis in [31_000, 70_000, 31_000] {
        cluster.act(Deed::Tick { millis });
    }
    let expected = recount(&cluster.configs[0], &logs);
    cluster.settle();
    let Finished { windows, .. } = cluster.finish();
    expected.compare_complete(&windows);
    let late = windows.iter().find(|it| it.id.model.version() == "9").unwrap();
    assert_eq!((late.rows, &*late.missing), (1, &[partition(2)][..]));
}

/// `beta` is added when one partition has been read in part and the other goes silent.
#[test]
fn windows_are_whole_again_once_what_they_miss_is_known_to_have_ended() {
    let [both, _, one, _] = model::changing().map(|tree| model::config(&tree));
    let configs = [both, one];
    let beta = |mut record: Record| {
        record.values.as_mut().unwrap().model = 1;
        record
    };
    let log = |seconds: i64| regular("1", |_| 5.0, 0..seconds * 1_000, 500).into_iter().map(beta);
    let logs = [10, 400].map(|seconds| log(seconds).collect::<Vec<_>>());
    let lane = usize::try_from(lane_of("beta", LANES)).unwrap();
    let mut cluster = Cluster::new(&configs, &logs);
    (0..2).for_each(|partition| cluster.end_reader(partition, 1));
    for partition in 0..2 {
        cluster.read(partition, 20);
        cluster.pass(partition);
        cluster.end_reader(partition, 0);
    }
    // The next record of a partition tells how new the records before it were.
    cluster.read(1, 20);
    // Otherwise they are as old as the silence, or a minute newer at most: see `future_skew_max`.
    cluster.now = cluster.now.plus_millis(30_000);
    cluster.look();
    (0..2).for_each(|partition| cluster.pass(partition));
    cluster.read(1, usize::MAX >> 1);
    cluster.pass(1);
    cluster.take(lane, usize::MAX);
    cluster.decide(lane);
    let expected = recount(&configs[0], &logs);
    let Finished { windows, .. } = cluster.finish();
    expected.compare_complete(&windows);
    let end_of_gap = START.plus_millis(30_000 + 60_000);
    for window in &windows {
        let is_after = end_of_gap < window.id.span.start();
        assert_eq!(window.complete, is_after, "{window:?}");
        let missing = if is_after { vec![] } else { vec![partition(0)] };
        let others = window.missing.iter().filter(|it| **it != partition(1));
        assert_eq!(others.cloned().collect::<Vec<_>>(), missing, "{window:?}");
    }
    let whole = windows.iter().filter(|it| it.complete).count();
    assert_eq!(whole, 10, "half minutes from 107 s on, of 400 s");
}

/// Of the two readers one has no profile, so it does not know the most frequent countries.
#[test]
fn a_country_is_not_judged_on_the_records_of_those_that_know_it() {
    let config = model::config(&model::kinds());
    let log = || regular("1", |_| 5.0, 0..100_000, 100);
    let references = |blind: Option<usize>| {
        let mut cluster = Cluster::new(std::slice::from_ref(&config), &[log(), log()]);
        cluster.blind = blind;
        let Finished { windows, .. } = cluster.finish();
        let references: BTreeSet<(SegmentId, bool)> = windows
            .iter()
            .map(|window| (window.id.segment.clone(), window.reference.is_some()))
            .collect();
        references
    };
    let sighted = references(None);
    let country = SegmentId::try_new("country", "de").unwrap();
    assert!(sighted.contains(&(country, true)), "{sighted:?}");
    let blind = references(Some(1));
    assert!(blind.iter().all(|(_, has_reference)| !has_reference), "{blind:?}");
}

#[test]
fn processes_that_share_the_work_come_to_what_one_comes_to() {
    let configs = [model::tree(), model::kinds()].map(|tree| model::config(&tree));
    let drawn = (0..configs.len(), logs(1..5), growths(), deeds(Just(1)));
    let tally = Tally::play(2_000, drawn, |(config, logs, growth, deeds)| {
        let config = &configs[config];
        let growth = growth.map(|growth| Growth::of(&logs, growth));
        let grown = growth.as_ref().map_or_else(|| logs.clone(), |growth| growth.grown(&logs));
        let expected = recount(config, &grown);
        let whole = Simulation::new(config, &grown, 1).play(&[]);
        let mut cluster = Cluster::new(std::slice::from_ref(config), &logs);
        let grows_at = growth.map_or(usize::MAX, |growth| growth.at * 4);
        for (nth, deed) in deeds.iter().enumerate() {
            if nth == grows_at {
                cluster.grow(grown.clone());
            }
            cluster.act(*deed);
        }
        if deeds.len() <= grows_at && grows_at != usize::MAX {
            cluster.grow(grown);
        }
        let Finished { windows, snapshot, effects, mut reached, .. } = cluster.finish();
        expected.compare(&windows);
        assert_eq!(snapshot.digest, whole.snapshot.digest);
        assert_eq!(snapshot.totals.windows_closed, whole.snapshot.totals.windows_closed);
        assert_eq!(episodes(&effects), episodes(&whole.effects));
        expected.compare_editions(&windows);
        reached.note_if(!episodes(&effects).is_empty(), "episodes");
        reached.extend(&expected.reached());
        reached
    });
    tally.assert_floors(&[
        &LOG_FLOORS,
        &CLUSTER_FLOORS,
        &[("windows before the end", 350), ("episodes", 100), ("more partitions", 200)],
    ]);
}

#[test]
fn a_window_that_passes_for_whole_is_whole_whatever_processes_are_configured_like() {
    let configs = model::changing().map(|tree| model::config(&tree));
    let waits = prop_oneof![Just(1_i64), Just(31_000), Just(70_000)];
    let tally = Tally::play(2_000, (punctual_logs(), deeds(waits)), |(logs, deeds)| {
        let expected = recount(&configs[0], &logs);
        let mut cluster = Cluster::new(&configs, &logs);
        cluster.is_timely = true;
        for deed in deeds {
            cluster.act(deed);
        }
        cluster.settle();
        let Finished { windows, mut reached, .. } = cluster.finish();
        expected.compare_complete(&windows);
        let has = |is_complete| {
            windows.iter().any(|it| it.edition.is_final && it.complete == is_complete)
        };
        reached.note_if(has(true), "complete windows");
        reached.note_if(has(false), "incomplete windows");
        reached
    });
    tally.assert_floors(&[
        &CLUSTER_FLOORS,
        &[("windows before the end", 300), ("complete windows", 500), ("incomplete windows", 400)],
    ]);
}

/// The first partition is read while the others are silent, until all windows have ended; then
/// those bring their records.
#[test]
fn windows_that_are_revised_end_as_the_recount_has_them_whoever_decides() {
    let config = model::config(&model::revised());
    let waits = || prop_oneof![Just(1_i64), Just(31_000), Just(70_000)];
    let drawn = (logs(2..4), deeds(waits()), deeds(waits()));
    let tally = Tally::play(500, drawn, |(logs, before, after)| {
        let first = [logs[0].clone()].into_iter().chain(logs[1..].iter().map(|_| Vec::new()));
        let first: Vec<_> = first.collect();
        let mut cluster = Cluster::new(std::slice::from_ref(&config), &first);
        for deed in before {
            cluster.act(deed);
        }
        let ends = [Deed::Tick { millis: 60_000 }, Deed::Look, Deed::Flow { messages: 1_000 }];
        let ends = [&ends[2..], &ends, &[Deed::Tick { millis: 10 * 3_600_000 }]].concat();
        for deed in ends {
            cluster.act(deed);
        }
        cluster.grow(logs.clone());
        for deed in after {
            cluster.act(deed);
        }
        let Finished { windows, mut reached, .. } = cluster.finish();
        recount(&config, &logs).compare(&newest(&windows));
        let mut editions = BTreeMap::new();
        for result in &windows {
            let before = editions.insert(result.id.clone(), result.edition.revision);
            assert!(before < Some(result.edition.revision), "{} {before:?}", result.id);
        }
        reached.note_if(windows.iter().any(|it| it.edition.is_revised), "revised windows");
        reached
    });
    tally.assert_floors(&[
        &CLUSTER_FLOORS,
        &[("windows before the end", 300), ("revised windows", 200), ("more partitions", 0)],
    ]);
}
