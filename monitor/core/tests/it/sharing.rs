//! Several processes that share the work and end at any moment: together they come to what one
//! process comes to.
//!
//! The cluster in miniature: each transaction of a reader or of a lane takes place as a whole or
//! not at all, and a process that was replaced cannot commit. What a process had not committed is
//! gone with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::{ModelId, PartitionId, Timestamp};
use driftd_core::config::Config;
use driftd_core::event::{Effect, Event};
use driftd_core::pipeline::Pipeline;
use driftd_core::result::WindowResult;
use driftd_core::shard::{Output, Progress, Shard};
use driftd_core::snapshot::Snapshot;
use driftd_core::state::{
    Change, LaneReader, LaneWriter, PartitionSaver, RestoreError, Row, restore_lane,
    restore_partition,
};
use proptest::prelude::*;

use crate::log::{Record, START, decode, drafts, records, regular};
use crate::model;
use crate::recount::recount;
use crate::simulation::{Simulation, cases, partition};

const LANES: u32 = 3;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Something that one of the processes does next; indices wrap around.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Read { partition: usize, messages: usize },
    Pass { partition: usize },
    EndReader { partition: usize },
    Take { lane: usize, rows: usize },
    Decide { lane: usize },
    EndLane { lane: usize },
    Tick,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let any = 0..12_usize;
    let deed = prop_oneof![
        6 => (any.clone(), 1..40_usize)
            .prop_map(|(partition, messages)| Deed::Read { partition, messages }),
        4 => any.clone().prop_map(|partition| Deed::Pass { partition }),
        2 => any.clone().prop_map(|partition| Deed::EndReader { partition }),
        5 => (any.clone(), 1..12_usize).prop_map(|(lane, rows)| Deed::Take { lane, rows }),
        4 => any.clone().prop_map(|lane| Deed::Decide { lane }),
        2 => any.prop_map(|lane| Deed::EndLane { lane }),
        1 => Just(Deed::Tick),
    ];
    prop::collection::vec(deed, 1..120)
}

/// The topics: what is committed.
struct Cluster {
    config: Arc<Config>,
    logs: Vec<Vec<Record>>,
    now: Timestamp,
    writer: LaneWriter,
    /// What readers keep, by partition.
    kept: Vec<Rows>,
    /// The partials topic, by lane.
    passed: Vec<Vec<Row>>,
    /// What lanes keep.
    decided: Vec<Rows>,
    /// What lanes sent.
    sent: Vec<Vec<Effect>>,
    readers: Vec<Reader>,
    lanes: Vec<Lane>,
}

/// Whoever reads a partition now.
struct Reader {
    shard: Shard,
    saver: PartitionSaver,
    read: usize,
    partials: Vec<(u32, Row)>,
    progress: Option<Progress>,
}

/// Whoever owns a lane now.
struct Lane {
    pipeline: Pipeline,
    input: usize,
    effects: Vec<Effect>,
}

impl Cluster {
    fn new(config: &Arc<Config>, logs: &[Vec<Record>]) -> Self {
        let lanes = LANES as usize;
        let mut cluster = Self {
            config: Arc::clone(config),
            logs: logs.to_vec(),
            now: START,
            writer: LaneWriter::new(Arc::clone(config), LANES),
            kept: vec![Rows::new(); logs.len()],
            passed: vec![Vec::new(); lanes],
            decided: vec![Rows::new(); lanes],
            sent: (0..lanes).map(|_| Vec::new()).collect(),
            readers: Vec::new(),
            lanes: Vec::new(),
        };
        cluster.readers = (0..logs.len()).map(|index| cluster.reader(index)).collect();
        cluster.lanes = (0..lanes).map(|lane| cluster.lane(lane)).collect();
        cluster
    }

    /// Begins to read where the last reader of the partition committed.
    fn reader(&self, index: usize) -> Reader {
        let id = partition(index);
        let find = |_: usize, id: &ModelId| model::reference(&self.config, id);
        let rows = self.kept[index].clone();
        let (state, saver) =
            restore_partition(&self.config, (id, 0), rows, &find, self.now).unwrap();
        let from = state.next_offset().unwrap_or(i64::MIN);
        let read = self.logs[index].partition_point(|record| record.offset < from);
        let mut shard = Shard::new(Arc::clone(&self.config));
        shard.assign(state);
        Reader { shard, saver, read, partials: Vec::new(), progress: None }
    }

    /// Begins to decide where the last owner of the lane committed.
    fn lane(&self, lane: usize) -> Lane {
        let find = |_: usize, id: &ModelId| model::reference(&self.config, id);
        let rows = self.decided[lane].clone();
        let restored = restore_lane(&self.config, rows, &find, self.now).unwrap();
        assert_eq!(restored.dropped, []);
        let input = usize::try_from(restored.input.unwrap_or(0)).unwrap();
        let mut lane = Lane { pipeline: restored.pipeline, input, effects: Vec::new() };
        let partitions: Vec<PartitionId> = (0..self.logs.len()).map(partition).collect();
        lane.handle(self.now, Event::TopicPartitions { source: 0, partitions });
        lane
    }

    fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Read { partition, messages } => self.read(partition % self.logs.len(), messages),
            Deed::Pass { partition } => self.pass(partition % self.logs.len()),
            Deed::EndReader { partition } => {
                let index = partition % self.logs.len();
                self.readers[index] = self.reader(index);
                self.report(index);
            }
            Deed::Take { lane, rows } => self.take(lane % LANES as usize, rows),
            Deed::Decide { lane } => self.decide(lane % LANES as usize),
            Deed::EndLane { lane } => {
                let lane = lane % LANES as usize;
                self.lanes[lane] = self.lane(lane);
            }
            Deed::Tick => {
                self.now = self.now.plus_millis(1);
                self.lanes.iter_mut().for_each(|lane| lane.handle(self.now, Event::Tick));
            }
        }
    }

    fn read(&mut self, index: usize, messages: usize) {
        let log = &self.logs[index];
        let reader = &mut self.readers[index];
        let to = log.len().min(reader.read + messages);
        if reader.read == to {
            return;
        }
        let decoded = decode(&self.config, &log[reader.read..to]);
        reader.read = to;
        let placed = reader.shard.place(&partition(index), &decoded);
        for missing in reader.shard.missing_references(&placed) {
            let reference = model::reference(&self.config, &missing.id);
            reader.shard.set_reference(missing, reference);
        }
        let mut outputs = Vec::new();
        reader.shard.update(self.now, &decoded, placed, None, &mut outputs);
        reader.gather(&self.writer, outputs);
    }

    fn report(&mut self, index: usize) {
        let mut outputs = Vec::new();
        let reader = &mut self.readers[index];
        reader.shard.report_progress(&partition(index), &mut outputs);
        reader.gather(&self.writer, outputs);
    }

    /// A reader's transaction.
    fn pass(&mut self, index: usize) {
        let reader = &mut self.readers[index];
        let mut outputs = Vec::new();
        reader.shard.checkpoint(&mut outputs);
        for output in outputs {
            let Output::Checkpoint(checkpoint) = output else { panic!("{output:?}") };
            apply(&mut self.kept[index], reader.saver.batch(*checkpoint));
        }
        for (lane, row) in reader.partials.drain(..) {
            self.passed[lane as usize].push(row);
        }
        if let Some(progress) = reader.progress.take() {
            for (lane, row) in self.writer.barriers(&progress) {
                self.passed[lane as usize].push(row);
            }
        }
    }

    fn take(&mut self, lane: usize, rows: usize) {
        let find = |_: usize, id: &ModelId| model::reference(&self.config, id);
        let mut reader = LaneReader::new(Arc::clone(&self.config), &find);
        let from = self.lanes[lane].input;
        for (key, value) in self.passed[lane].iter().skip(from).take(rows) {
            let event = reader.read(key, value).unwrap().expect("a row of this configuration");
            self.lanes[lane].handle(self.now, event);
            self.lanes[lane].input += 1;
        }
    }

    /// A lane's transaction.
    fn decide(&mut self, lane: usize) {
        let it = &mut self.lanes[lane];
        it.pipeline.set_input(i64::try_from(it.input).unwrap());
        apply(&mut self.decided[lane], it.pipeline.take_changes());
        self.sent[lane].append(&mut it.effects);
    }

    /// Reads, passes on and decides what is left.
    fn finish(mut self) -> (Vec<Arc<WindowResult>>, Snapshot, Vec<Effect>) {
        for index in 0..self.logs.len() {
            self.read(index, usize::MAX >> 1);
            let mut outputs = Vec::new();
            self.readers[index].shard.flush(&partition(index), None, &mut outputs);
            self.readers[index].gather(&self.writer, outputs);
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
    fn gather(&mut self, writer: &LaneWriter, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Partial(partial) => self.partials.push(writer.partial(&partial)),
                Output::Progress(progress) => match &mut self.progress {
                    Some(known) => known.absorb(*progress),
                    None => self.progress = Some(*progress),
                },
                Output::Checkpoint(_) => unreachable!("nobody asked"),
            }
        }
    }
}

impl Lane {
    fn handle(&mut self, now: Timestamp, event: Event) {
        self.pipeline.handle(now, event, &mut self.effects);
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

fn logs() -> impl Strategy<Value = Vec<Vec<Record>>> {
    let logs = prop::collection::vec(drafts(1..200), 1..5);
    logs.prop_map(|drafts| drafts.iter().map(|drafts| records(drafts)).collect())
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
    let mut cluster = Cluster::new(&config, &[log]);
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
    let mut cluster = Cluster::new(&config, &[log(), log()]);
    cluster.read(0, 600);
    cluster.pass(0);
    for lane in 0..LANES as usize {
        cluster.take(lane, usize::MAX);
        cluster.decide(lane);
        cluster.lanes[lane] = cluster.lane(lane);
    }
    // The first partition has nothing more to tell.
    cluster.read(1, 600);
    cluster.pass(1);
    (0..LANES as usize).for_each(|lane| cluster.take(lane, usize::MAX));
    let closed = cluster.lanes.iter().map(|lane| lane.pipeline.windows_closed()).sum::<u64>();
    assert!(0 < closed, "windows wait for a partition that has passed them");
}

proptest! {
    #![proptest_config(cases(160))]

    #[test]
    fn processes_that_share_the_work_come_to_what_one_comes_to(
        tree in prop_oneof![Just(model::tree()), Just(model::kinds())],
        logs in logs(),
        deeds in deeds(),
    ) {
        let config = model::config(&tree);
        let expected = recount(&config, &logs);
        let whole = Simulation::new(&config, &logs, 1).play(&[]);
        let mut cluster = Cluster::new(&config, &logs);
        for deed in deeds {
            cluster.act(deed);
        }
        let (windows, snapshot, effects) = cluster.finish();
        expected.compare(&windows);
        assert_eq!(snapshot.digest, whole.snapshot.digest);
        assert_eq!(snapshot.totals.windows_closed, whole.snapshot.totals.windows_closed);
        assert_eq!(episodes(&effects), episodes(&whole.effects));
        expected.compare_editions(&windows);
    }
}
