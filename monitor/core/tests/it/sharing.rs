//! Several processes that share the work and end at any moment: together they come to what one
//! process comes to.
//!
//! The cluster in miniature: each transaction of a reader or of a lane takes place as a whole or
//! not at all, and a process that was replaced cannot commit. What a process had not committed is
//! gone with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use driftd_catalog::{ModelId, PartitionId, SegmentId, Timestamp};
use driftd_core::config::Config;
use driftd_core::event::{Effect, Event};
use driftd_core::pipeline::Pipeline;
use driftd_core::result::WindowResult;
use driftd_core::shard::{Output, Progress, Shard};
use driftd_core::snapshot::Snapshot;
use driftd_core::state::{
    Change, LaneId, LaneReader, LaneRowError, LaneWriter, PartitionSaver, RestoreError, Row,
    lane_of, restore_lane, restore_partition,
};
use proptest::prelude::*;

use crate::log::{Record, START, decode, logs, message_end, punctual, records, regular, topics};
use crate::model;
use crate::recount::recount;
use crate::simulation::{Simulation, partition};
use crate::tally::{Reached, Tally};

const LANES: u32 = 3;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Something that one of the processes does next; indices wrap around.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Read {
        partition: usize,
        messages: usize,
    },
    Pass {
        partition: usize,
        is_aborted: bool,
    },
    /// The next reader has the configuration of this number.
    EndReader {
        partition: usize,
        config: usize,
    },
    Take {
        lane: usize,
        rows: usize,
    },
    Decide {
        lane: usize,
        is_aborted: bool,
    },
    EndLane {
        lane: usize,
        config: usize,
    },
    Tick {
        millis: i64,
    },
    /// Everybody hears where the log ends, and readers look for silence.
    Look,
    /// Everything that is on its way arrives, after so many messages of each partition.
    Flow {
        messages: usize,
    },
}

/// `waits` are the steps of wall-clock time.
fn deeds(waits: impl Strategy<Value = i64> + Clone) -> impl Strategy<Value = Vec<Deed>> {
    let any = 0..12_usize;
    let aborted = || prop::bool::weighted(0.1);
    let deed = prop_oneof![
        6 => (any.clone(), 1..40_usize)
            .prop_map(|(partition, messages)| Deed::Read { partition, messages }),
        4 => (any.clone(), aborted())
            .prop_map(|(partition, is_aborted)| Deed::Pass { partition, is_aborted }),
        2 => (any.clone(), any.clone())
            .prop_map(|(partition, config)| Deed::EndReader { partition, config }),
        5 => (any.clone(), 1..12_usize).prop_map(|(lane, rows)| Deed::Take { lane, rows }),
        4 => (any.clone(), aborted())
            .prop_map(|(lane, is_aborted)| Deed::Decide { lane, is_aborted }),
        2 => (any.clone(), any).prop_map(|(lane, config)| Deed::EndLane { lane, config }),
        1 => waits.prop_map(|millis| Deed::Tick { millis }),
        1 => Just(Deed::Look),
        2 => (1..30_usize).prop_map(|messages| Deed::Flow { messages }),
    ];
    prop_oneof![3 => prop::collection::vec(deed.clone(), 1..40), 1 => prop::collection::vec(deed, 40..120)]
}

/// The topics: what is committed.
struct Cluster {
    /// Configurations that processes may have.
    configs: Vec<Arc<Config>>,
    logs: Vec<Vec<Record>>,
    now: Timestamp,
    /// What readers keep, by partition.
    kept: Vec<Rows>,
    /// The partials topic, by lane.
    passed: Vec<Vec<Row>>,
    /// What lanes keep.
    decided: Vec<Rows>,
    /// What lanes sent.
    sent: Vec<Vec<Effect>>,
    /// The partition whose reader has no profiles.
    blind: Option<usize>,
    /// Time passes with the records that are read.
    is_timely: bool,
    readers: Vec<Reader>,
    lanes: Vec<Lane>,
}

/// Whoever reads a partition now.
struct Reader {
    writer: LaneWriter,
    config: Arc<Config>,
    shard: Shard,
    saver: PartitionSaver,
    read: usize,
    partials: Vec<(u32, Row)>,
    progress: Option<Progress>,
    changes: Vec<Change>,
}

/// Whoever owns a lane now.
struct Lane {
    config: Arc<Config>,
    pipeline: Pipeline,
    input: usize,
    effects: Vec<Effect>,
    changes: Vec<Change>,
}

impl Cluster {
    /// All processes begin with the first configuration.
    fn new(configs: &[Arc<Config>], logs: &[Vec<Record>]) -> Self {
        let lanes = LANES as usize;
        let mut cluster = Self {
            configs: configs.to_vec(),
            logs: logs.to_vec(),
            now: START,
            kept: vec![Rows::new(); logs.len()],
            passed: vec![Vec::new(); lanes],
            decided: vec![Rows::new(); lanes],
            sent: (0..lanes).map(|_| Vec::new()).collect(),
            blind: None,
            is_timely: false,
            readers: Vec::new(),
            lanes: Vec::new(),
        };
        cluster.readers = (0..logs.len()).map(|index| cluster.reader(index, 0)).collect();
        cluster.lanes = (0..lanes).map(|lane| cluster.lane(lane, 0)).collect();
        cluster
    }

    fn config(&self, number: usize) -> Arc<Config> {
        Arc::clone(&self.configs[number % self.configs.len()])
    }

    /// Begins to read where the last reader of the partition committed.
    fn reader(&self, index: usize, config: usize) -> Reader {
        let config = self.config(config);
        let id = partition(index);
        let find = |_: usize, id: &ModelId| model::reference(&config, id);
        let rows = self.kept[index].clone();
        let (state, saver) = restore_partition(&config, (id, 0), rows, &find, self.now).unwrap();
        let from = state.next_offset().unwrap_or(i64::MIN);
        let read = self.logs[index].partition_point(|record| record.offset < from);
        let mut shard = Shard::new(Arc::clone(&config));
        shard.assign(state);
        Reader {
            writer: LaneWriter::new(Arc::clone(&config), LANES),
            config,
            shard,
            saver,
            read,
            partials: Vec::new(),
            progress: None,
            changes: Vec::new(),
        }
    }

    /// Begins to decide where the last owner of the lane committed.
    fn lane(&self, lane: usize, config: usize) -> Lane {
        let config = self.config(config);
        let find = |_: usize, id: &ModelId| model::reference(&config, id);
        let rows = self.decided[lane].clone();
        let id = LaneId { number: u32::try_from(lane).unwrap(), lanes: LANES };
        let restored = restore_lane(&config, id, rows, &find, self.now).unwrap();
        if self.configs.len() == 1 {
            assert_eq!(restored.dropped, []);
        }
        let input = usize::try_from(restored.input.unwrap_or(0)).unwrap();
        let pipeline = restored.pipeline;
        let mut lane = Lane { config, pipeline, input, effects: Vec::new(), changes: Vec::new() };
        let partitions: Vec<PartitionId> = (0..self.logs.len()).map(partition).collect();
        lane.handle(self.now, Event::TopicPartitions { source: 0, partitions });
        lane
    }

    fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Read { partition, messages } => self.read(partition % self.logs.len(), messages),
            Deed::Pass { partition, is_aborted } => {
                let index = partition % self.logs.len();
                self.readers[index].prepare();
                if !is_aborted {
                    self.pass(index);
                }
            }
            Deed::EndReader { partition, config } => {
                let index = partition % self.logs.len();
                self.readers[index] = self.reader(index, config);
                let report = |shard: &mut Shard, id: &_, outputs: &mut _| {
                    shard.report_progress(id, outputs);
                };
                self.tell(index, report);
            }
            Deed::Take { lane, rows } => self.take(lane % LANES as usize, rows),
            Deed::Decide { lane, is_aborted } => {
                let lane = lane % LANES as usize;
                self.lanes[lane].prepare();
                if !is_aborted {
                    self.decide(lane);
                }
            }
            Deed::EndLane { lane, config } => {
                let lane = lane % LANES as usize;
                self.lanes[lane] = self.lane(lane, config);
            }
            Deed::Tick { millis } => {
                self.now = self.now.plus_millis(millis);
                self.lanes.iter_mut().for_each(|lane| lane.handle(self.now, Event::Tick));
            }
            Deed::Look => self.look(),
            Deed::Flow { messages } => self.flow(messages),
        }
    }

    fn flow(&mut self, messages: usize) {
        for index in 0..self.logs.len() {
            self.read(index, messages);
            self.pass(index);
        }
        for lane in 0..LANES as usize {
            self.take(lane, usize::MAX);
            self.decide(lane);
        }
    }

    fn read(&mut self, index: usize, messages: usize) {
        let log = &self.logs[index];
        let reader = &mut self.readers[index];
        let to = message_end(log, log.len().min(reader.read + messages));
        if reader.read == to {
            return;
        }
        let batch = &log[reader.read..to];
        let decoded = decode(&reader.config, batch);
        reader.read = to;
        if self.is_timely {
            // How new records are that nobody counted is told by the clock where nothing else does:
            // those of the producers are not ahead of it.
            self.now = batch.iter().map(|it| it.event_time).max().max(Some(self.now)).unwrap();
        }
        let placed = reader.shard.place(&partition(index), &decoded);
        for missing in reader.shard.missing_references(&placed) {
            let reference = model::reference(&reader.config, &missing.id);
            reader.shard.set_reference(missing, reference.filter(|_| self.blind != Some(index)));
        }
        let mut outputs = Vec::new();
        reader.shard.update(self.now, &decoded, placed, None, &mut outputs);
        reader.gather(outputs);
    }

    /// Has a partition's shard tell something.
    fn tell(&mut self, index: usize, ask: impl FnOnce(&mut Shard, &PartitionId, &mut Vec<Output>)) {
        let mut outputs = Vec::new();
        let reader = &mut self.readers[index];
        ask(&mut reader.shard, &partition(index), &mut outputs);
        reader.gather(outputs);
    }

    fn look(&mut self) {
        let end = |log: &Vec<Record>| log.last().map_or(0, |record| record.offset + 1);
        let all: Vec<i64> = self.logs.iter().map(end).collect();
        for (index, end) in all.iter().enumerate() {
            if self.logs[index].len() == self.readers[index].read {
                let now = self.now;
                self.tell(index, |shard, id, outputs| {
                    shard.watch_silence(now, id, *end, outputs);
                });
            }
        }
        let ends = all.iter().enumerate().map(|(index, end)| (partition(index), *end));
        let ends: Vec<_> = ends.collect();
        for lane in &mut self.lanes {
            lane.handle(self.now, Event::Ends { source: 0, ends: ends.clone() });
        }
    }

    /// A reader's transaction.
    fn pass(&mut self, index: usize) {
        let reader = &mut self.readers[index];
        reader.prepare();
        apply(&mut self.kept[index], std::mem::take(&mut reader.changes));
        for (lane, row) in reader.partials.drain(..) {
            self.passed[lane as usize].push(row);
        }
        if let Some(progress) = reader.progress.take() {
            for (lane, row) in reader.writer.barriers(&progress) {
                self.passed[lane as usize].push(row);
            }
        }
    }

    fn take(&mut self, lane: usize, rows: usize) {
        let config = Arc::clone(&self.lanes[lane].config);
        let find = |_: usize, id: &ModelId| model::reference(&config, id);
        let mut reader = LaneReader::new(Arc::clone(&config), LANES, &find);
        let from = self.lanes[lane].input;
        let number = u32::try_from(lane).unwrap();
        for (key, value) in self.passed[lane].iter().skip(from).take(rows) {
            let event = reader.read(number, key, value).unwrap().expect("a row of this topic");
            self.lanes[lane].handle(self.now, event);
            self.lanes[lane].input += 1;
        }
    }

    /// A lane's transaction.
    fn decide(&mut self, lane: usize) {
        let it = &mut self.lanes[lane];
        it.prepare();
        apply(&mut self.decided[lane], std::mem::take(&mut it.changes));
        self.sent[lane].append(&mut it.effects);
    }

    /// Returns what was reached before the end.
    fn reached(&self) -> Reached {
        let mut reached = Reached::default();
        let has_window = |it: &Effect| matches!(it, Effect::Window(_));
        let is_reached = self.sent.iter().flatten().any(has_window);
        reached.note_if(is_reached, "windows before the end");
        reached
    }

    /// Reads what is left, and gives everything to processes of the first configuration.
    fn settle(&mut self) {
        for partition in 0..self.logs.len() {
            self.read(partition, usize::MAX >> 1);
            self.pass(partition);
            self.act(Deed::EndReader { partition, config: 0 });
            self.pass(partition);
        }
        for lane in 0..LANES as usize {
            self.decide(lane);
            self.act(Deed::EndLane { lane, config: 0 });
        }
    }

    /// Reads, passes on and decides what is left.
    fn finish(mut self) -> (Vec<Arc<WindowResult>>, Snapshot, Vec<Effect>) {
        for index in 0..self.logs.len() {
            self.read(index, usize::MAX >> 1);
            self.tell(index, |shard, id, outputs| shard.flush(id, None, outputs));
            self.pass(index);
        }
        let mut joined: Option<Snapshot> = None;
        for lane in 0..LANES as usize {
            self.take(lane, usize::MAX);
            self.lanes[lane].handle(self.now, Event::InputEnded);
            self.decide(lane);
            let snapshot = self.lanes[lane].pipeline.snapshot(self.now);
            match &mut joined {
                Some(joined) => joined.join(&snapshot),
                None => joined = Some(snapshot),
            }
        }
        let effects: Vec<Effect> = self.sent.into_iter().flatten().collect();
        let windows = effects.iter().filter_map(|effect| {
            if let Effect::Window(result) = effect { Some(Arc::clone(result)) } else { None }
        });
        (windows.collect(), joined.unwrap(), effects)
    }
}

impl Reader {
    fn gather(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Partial(partial) => self.partials.push(self.writer.partial(&partial)),
                Output::Progress(progress) => match &mut self.progress {
                    Some(known) => known.absorb(*progress),
                    None => self.progress = Some(*progress),
                },
                Output::Checkpoint(checkpoint) => {
                    self.changes.extend(self.saver.batch(*checkpoint));
                }
            }
        }
    }

    /// Gathers what its next transaction holds.
    fn prepare(&mut self) {
        let mut outputs = Vec::new();
        self.shard.checkpoint(&mut outputs);
        self.gather(outputs);
    }
}

impl Lane {
    fn handle(&mut self, now: Timestamp, event: Event) {
        self.pipeline.handle(now, event, &mut self.effects);
    }

    /// Gathers what its next transaction holds.
    fn prepare(&mut self) {
        self.pipeline.set_input(i64::try_from(self.input).unwrap());
        self.changes.extend(self.pipeline.take_changes());
    }
}

fn apply(rows: &mut Rows, changes: Vec<Change>) {
    for change in changes {
        match change.value {
            Some(value) => rows.insert(change.key, value),
            None => rows.remove(&change.key),
        };
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

#[test]
fn a_torn_store_of_a_partition_is_refused() {
    let config = model::config(&model::tree());
    let log = regular("1", |row| f64::from(i32::try_from(row % 10).unwrap()), 0..60_000, 100);
    let mut cluster = Cluster::new(std::slice::from_ref(&config), &[log]);
    cluster.read(0, 150);
    cluster.pass(0);
    let before = cluster.kept[0].clone();
    cluster.read(0, 20);
    cluster.pass(0);
    let find = |_: usize, id: &ModelId| model::reference(&config, id);
    let restore =
        |rows: Rows| restore_partition(&config, (partition(0), 0), rows, &find, START).map(|_| ());
    let after = cluster.kept[0].clone();
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
        cluster.lanes[lane] = cluster.lane(lane, 0);
    }
    // The first partition has nothing more to tell.
    cluster.read(1, 600);
    cluster.pass(1);
    (0..LANES as usize).for_each(|lane| cluster.take(lane, usize::MAX));
    let closed = cluster.lanes.iter().map(|lane| lane.pipeline.windows_closed()).sum::<u64>();
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
    let (key, row) = cluster.passed[lane as usize][0].clone();
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
        cluster.lanes[lane] = cluster.lane(lane, 0);
        let ends = end.map(|end| vec![(partition(1), end)]).unwrap_or_default();
        cluster.lanes[lane].handle(cluster.now, Event::Ends { source: 0, ends });
        cluster.read(0, 1_000);
        cluster.pass(0);
        cluster.take(lane, usize::MAX);
        cluster.lanes[lane].pipeline.windows_closed()
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
    assert_eq!(cluster.lanes[lane].pipeline.windows_closed(), 1);
    cluster.act(Deed::EndLane { lane, config: 1 });
    cluster.settle();
    let (windows, ..) = cluster.finish();
    recount(&configs[0], &logs).compare_complete(&windows);
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
    (0..2).for_each(|partition| cluster.act(Deed::EndReader { partition, config: 1 }));
    for partition in 0..2 {
        cluster.read(partition, 20);
        cluster.pass(partition);
        cluster.act(Deed::EndReader { partition, config: 0 });
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
    let (windows, ..) = cluster.finish();
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
        let (windows, ..) = cluster.finish();
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
    let drawn = (0..configs.len(), logs(1..5), deeds(Just(1)));
    let tally = Tally::play(2_000, drawn, |(config, logs, deeds)| {
        let config = &configs[config];
        let expected = recount(config, &logs);
        let whole = Simulation::new(config, &logs, 1).play(&[]);
        let mut cluster = Cluster::new(std::slice::from_ref(config), &logs);
        for deed in deeds {
            cluster.act(deed);
        }
        let mut reached = cluster.reached();
        let (windows, snapshot, effects) = cluster.finish();
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
        ("rejected records", 500),
        ("records from the future", 400),
        ("late records", 500),
        ("too many windows", 3),
        ("too many versions", 400),
        ("windows before the end", 300),
        ("episodes", 100),
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
        let mut reached = cluster.reached();
        cluster.settle();
        let (windows, ..) = cluster.finish();
        expected.compare_complete(&windows);
        let has = |is_complete| {
            windows.iter().any(|it| it.edition.is_final && it.complete == is_complete)
        };
        reached.note_if(has(true), "complete windows");
        reached.note_if(has(false), "incomplete windows");
        reached
    });
    tally.assert_floors(&[
        ("windows before the end", 200),
        ("complete windows", 500),
        ("incomplete windows", 400),
    ]);
}
