//! Processes of [`crate::cluster`]: whoever reads a partition, and whoever decides about a lane.
//!
//! Before: the rows that the owner before committed. After: rows for the next transaction, which
//! wait here until it is committed.

use std::sync::Arc;

use driftd_catalog::{ModelId, PartitionId, Timestamp};
use driftd_core::config::Config;
use driftd_core::event::{Effect, Event};
use driftd_core::loss::{Accepted, Mark};
use driftd_core::pipeline::Pipeline;
use driftd_core::shard::{Output, Progress, Shard};
use driftd_core::state::{
    Addressed, Change, Dropped, LaneId, LaneReader, LaneWriter, PartitionSaver, Row, restore_lane,
    restore_partition,
};

use crate::cluster::LANES;
use crate::log::{Record, decode, message_end};
use crate::model;
use crate::simulation::partition;
use crate::topic::{TopicLog, TransactionId, Verdicts};

/// What a process owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owned {
    Partition(usize),
    Lane(usize),
}

impl Owned {
    /// Returns the partition of the state topic where its rows lie.
    pub(crate) fn place(self) -> usize {
        match self {
            Self::Partition(index) => index % LANES as usize,
            Self::Lane(lane) => lane,
        }
    }
}

/// A transaction that is not decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) transaction: TransactionId,
    /// The positions are in it: it is fenced no more.
    pub(crate) is_positioned: bool,
}

/// An owner, or one that takes itself for it.
pub(crate) struct Member {
    pub(crate) owned: Owned,
    pub(crate) generation: usize,
    /// While there is one, the member does nothing else.
    pub(crate) open: Option<Open>,
    /// Its transaction before.
    pub(crate) last: Option<TransactionId>,
    /// Rows of that transaction that are not written yet: what others write may come before.
    pub(crate) unwritten: Vec<Addressed>,
    pub(crate) work: Work,
}

pub(crate) enum Work {
    Reader(Box<Reader>),
    Lane(Box<Lane>),
}

/// Rows of a transaction.
pub(crate) struct Written {
    pub(crate) state: Vec<Change>,
    pub(crate) partials: Vec<Addressed>,
}

impl Member {
    pub(crate) fn config(&self) -> &Arc<Config> {
        match &self.work {
            Work::Reader(reader) => &reader.config,
            Work::Lane(lane) => &lane.config,
        }
    }

    /// Returns where it reads next.
    pub(crate) fn position(&self) -> i64 {
        match &self.work {
            Work::Reader(reader) => {
                let position = reader.shard.positions().next().and_then(|(_, position)| position);
                position.unwrap_or(0)
            }
            Work::Lane(lane) => lane.input,
        }
    }

    pub(crate) fn has_dropped_nothing(&self) -> bool {
        match &self.work {
            Work::Reader(_) => true,
            Work::Lane(lane) => lane.dropped.is_empty(),
        }
    }

    /// Hears something, if it is a lane.
    pub(crate) fn tell(&mut self, now: Timestamp, event: Event) {
        if let Work::Lane(lane) = &mut self.work {
            lane.handle(now, event);
        }
    }

    /// Gathers what its next transaction holds; it waits on until that is committed.
    pub(crate) fn gather(&mut self) -> Written {
        match &mut self.work {
            Work::Reader(reader) => reader.gather_all(),
            Work::Lane(lane) => lane.gather_all(),
        }
    }

    pub(crate) fn begin(&mut self, transaction: TransactionId) {
        self.open = Some(Open { transaction, is_positioned: false });
    }

    /// Forgets what is committed; returns what became visible of it.
    pub(crate) fn committed(&mut self) -> Vec<Effect> {
        match &mut self.work {
            Work::Reader(reader) => {
                reader.passed.append(&mut reader.partials);
                reader.transactions += 1;
                reader.changes.clear();
                reader.progress = None;
                Vec::new()
            }
            Work::Lane(lane) => {
                lane.changes.clear();
                std::mem::take(&mut lane.effects)
            }
        }
    }
}

impl Work {
    /// Begins where the rows end.
    pub(crate) fn begin(
        config: &Arc<Config>,
        owned: Owned,
        rows: Vec<Row>,
        (accepted, now): (Option<&Accepted>, Timestamp),
        logs: &[Vec<Record>],
    ) -> Self {
        match owned {
            Owned::Partition(index) => {
                let begin = (accepted, now);
                Self::Reader(Box::new(Reader::new(config, index, rows, begin, &logs[index])))
            }
            Owned::Lane(lane) => Self::Lane(Box::new(Lane::new(config, lane, rows, now))),
        }
    }
}

/// Whoever reads a partition.
pub(crate) struct Reader {
    index: usize,
    writer: LaneWriter,
    config: Arc<Config>,
    shard: Shard,
    saver: PartitionSaver,
    read: usize,
    partials: Vec<Addressed>,
    /// What it has passed on, which it may repeat.
    passed: Vec<Addressed>,
    transactions: usize,
    progress: Option<Progress>,
    changes: Vec<Change>,
}

impl Reader {
    fn new(
        config: &Arc<Config>,
        index: usize,
        rows: Vec<Row>,
        (accepted, now): (Option<&Accepted>, Timestamp),
        log: &[Record],
    ) -> Self {
        let find = |_: usize, id: &ModelId| model::reference(config, id);
        let id = partition(index);
        let restored = restore_partition(config, (id, 0), rows, &find, (accepted, now));
        let (state, saver) = restored.unwrap();
        let from = state.next_offset().unwrap_or(i64::MIN);
        let mut shard = Shard::new(Arc::clone(config));
        shard.assign(state);
        Self {
            index,
            writer: LaneWriter::new(Arc::clone(config), LANES),
            config: Arc::clone(config),
            shard,
            saver,
            read: log.partition_point(|record| record.offset < from),
            partials: Vec::new(),
            passed: Vec::new(),
            transactions: 0,
            progress: None,
            changes: Vec::new(),
        }
    }

    /// Reads up to so many records, and the rest of the last one's message; returns the newest
    /// time of an event among them.
    pub(crate) fn read(
        &mut self,
        (now, log): (Timestamp, &[Record]),
        messages: usize,
        is_blind: bool,
    ) -> Option<Timestamp> {
        let to = message_end(log, log.len().min(self.read + messages));
        if to <= self.read {
            return None;
        }
        let batch = &log[self.read..to];
        let decoded = decode(&self.config, batch);
        self.read = to;
        let placed = self.shard.place(&partition(self.index), &decoded);
        for missing in self.shard.missing_references(&placed) {
            let reference = model::reference(&self.config, &missing.id);
            self.shard.set_reference(missing, reference.filter(|_| !is_blind));
        }
        let mut outputs = Vec::new();
        self.shard.update(now, &decoded, placed, None, &mut outputs);
        self.gather(outputs);
        batch.iter().map(|it| it.event_time).max()
    }

    /// Takes what the newest record is known by that was read.
    pub(crate) fn mark(&mut self, log: &[Record], bytes: impl FnOnce(i64) -> u64) {
        let newest = self.read.checked_sub(1).map(|newest| &log[newest]);
        let mark = newest.map(|it| {
            let Record { offset, kafka_time, .. } = *it;
            Mark { offset, time: kafka_time, bytes: bytes(offset) }
        });
        self.shard.set_mark(&partition(self.index), mark);
    }

    /// Has the shard tell something.
    pub(crate) fn ask(
        &mut self,
        id: &PartitionId,
        ask: impl FnOnce(&mut Shard, &PartitionId, &mut Vec<Output>),
    ) {
        let mut outputs = Vec::new();
        ask(&mut self.shard, id, &mut outputs);
        self.gather(outputs);
    }

    fn gather(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Partial(partial) => self.partials.push(self.writer.partial(&partial)),
                Output::Progress(progress) => match &mut self.progress {
                    Some(known) => known.absorb(*progress),
                    None => self.progress = Some(*progress),
                },
                Output::Predictions(_) | Output::Labels(_) => {
                    panic!("labels are joined by one process alone")
                }
                Output::Checkpoint(checkpoint) => {
                    self.changes.extend(self.saver.batch(*checkpoint));
                }
            }
        }
    }

    /// Partials come last first, and old ones again behind them: only barriers have a place, and
    /// news of lost time.
    fn gather_all(&mut self) -> Written {
        let mut outputs = Vec::new();
        self.shard.checkpoint(&mut outputs);
        self.gather(outputs);
        let progress = self.progress.iter();
        let mut partials: Vec<Addressed> =
            progress.flat_map(|progress| self.writer.lost(progress)).collect();
        partials.extend(self.partials.iter().rev().cloned());
        if self.transactions % 3 == 1 && !self.partials.is_empty() {
            partials.extend(self.passed.iter().cloned());
        }
        let progress = self.progress.iter();
        partials.extend(progress.flat_map(|progress| self.writer.barriers(progress)));
        Written { state: self.changes.clone(), partials }
    }
}

/// Whoever decides about a lane.
pub(crate) struct Lane {
    config: Arc<Config>,
    pub(crate) pipeline: Pipeline,
    dropped: Vec<Dropped>,
    /// Where it reads next.
    input: i64,
    effects: Vec<Effect>,
    /// How many of them came before the first news of lost time, where it came since.
    pub(crate) heard_at: Option<usize>,
    changes: Vec<Change>,
}

impl Lane {
    fn new(config: &Arc<Config>, lane: usize, rows: Vec<Row>, now: Timestamp) -> Self {
        let find = |_: usize, id: &ModelId| model::reference(config, id);
        let id = LaneId { number: u32::try_from(lane).unwrap(), lanes: LANES };
        let restored = restore_lane(config, id, rows, &find, now).unwrap();
        Self {
            config: Arc::clone(config),
            pipeline: restored.pipeline,
            dropped: restored.dropped,
            input: restored.input.unwrap_or(0),
            effects: Vec::new(),
            heard_at: None,
            changes: Vec::new(),
        }
    }

    fn handle(&mut self, now: Timestamp, event: Event) {
        self.pipeline.handle(now, event, &mut self.effects);
    }

    /// Takes up to so many committed rows; none, where they are deleted that it would take next.
    pub(crate) fn take(
        &mut self,
        now: Timestamp,
        (lane, log): (usize, &TopicLog),
        verdicts: &Verdicts,
        rows: usize,
    ) {
        if log.is_cut_behind(self.input) {
            return;
        }
        let config = Arc::clone(&self.config);
        let find = |_: usize, id: &ModelId| model::reference(&config, id);
        let mut reader = LaneReader::new(Arc::clone(&config), LANES, &find);
        let lane = u32::try_from(lane).unwrap();
        for (next, key, value) in log.committed(verdicts, self.input).take(rows) {
            let event = reader.read(lane, key, value.unwrap()).unwrap();
            let event = event.expect("a row of this topic");
            if matches!(event, Event::Lost { .. }) {
                self.heard_at.get_or_insert(self.effects.len());
            }
            self.handle(now, event);
            self.input = next;
        }
    }

    fn gather_all(&mut self) -> Written {
        self.pipeline.set_input(self.input);
        self.changes.extend(self.pipeline.take_changes());
        Written { state: self.changes.clone(), partials: Vec::new() }
    }
}
