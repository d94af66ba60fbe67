//! Requests and responses where other processes decide: what waits lies in rows that a reader's
//! transactions write, and goes from process to process with the partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::ModelId;
use driftd_core::config::Config;
use driftd_core::event::{Effect, Event};
use driftd_core::halves::JoinCounts;
use driftd_core::join::JoinDecoder;
use driftd_core::pipeline::Pipeline;
use driftd_core::shard::{Output, Progress, Shard};
use driftd_core::state::{
    Addressed, Change, LaneId, LaneReader, LaneWriter, MemoryStore, PartitionSaver, Store as _,
    restore_lane, restore_partition,
};
use driftd_ingest::Decode as _;
use proptest::prelude::*;

use crate::joining::{self, Deed, Recount, Sent, decoder, deeds, logs, recount, tree};
use crate::log::START;
use crate::model;
use crate::simulation::partition;
use crate::tally::{Reached, Tally};

const LANE: LaneId = LaneId { number: 0, lanes: 1 };

/// What becomes of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Commits,
    /// What is in it is sent again with the next one.
    Aborts,
}

/// Whoever reads the partition now, and what is committed of all that ever did.
struct Readers<'a> {
    config: Arc<Config>,
    log: &'a [Sent],
    shard: Shard,
    saver: PartitionSaver,
    decoder: JoinDecoder,
    writer: LaneWriter,
    /// Messages that are decoded.
    read: usize,
    /// For the next transaction.
    changes: Vec<Change>,
    partials: Vec<Addressed>,
    progress: Option<Progress>,
    /// Rows of the partition that are committed.
    rows: MemoryStore,
    lane: Pipeline,
    effects: Vec<Effect>,
    counts: JoinCounts,
    pairs: BTreeMap<i64, (f64, f64)>,
    reached: Reached,
}

impl<'a> Readers<'a> {
    fn new(config: &Arc<Config>, log: &'a [Sent]) -> Self {
        let find = |_: usize, id: &ModelId| model::reference(config, id);
        let lane = restore_lane(config, LANE, Vec::new(), &find, START).unwrap().pipeline;
        let own = (partition(0), 0);
        let (state, saver) =
            restore_partition(config, own, Vec::new(), &find, (None, START)).unwrap();
        let mut readers = Self {
            config: Arc::clone(config),
            log,
            shard: Shard::new(Arc::clone(config)),
            saver,
            decoder: decoder(config, &state),
            writer: LaneWriter::new(Arc::clone(config), LANE.lanes),
            read: 0,
            changes: Vec::new(),
            partials: Vec::new(),
            progress: None,
            rows: MemoryStore::default(),
            lane,
            effects: Vec::new(),
            counts: JoinCounts::default(),
            pairs: BTreeMap::new(),
            reached: Reached::default(),
        };
        readers.shard.assign(state);
        let partitions = vec![partition(0)];
        readers.tell_lane(Event::TopicPartitions { source: 0, partitions });
        readers
    }

    /// Another process reads the partition: it knows what is committed.
    fn replace(&mut self) {
        let find = |_: usize, id: &ModelId| model::reference(&self.config, id);
        let (own, rows) = ((partition(0), 0), self.rows.rows().unwrap());
        let restored = restore_partition(&self.config, own, rows, &find, (None, START));
        let (state, saver) = restored.unwrap();
        self.reached.note_if(0 < state.halves().waiting().halves, "halves in the rows");
        self.saver = saver;
        self.decoder = decoder(&self.config, &state);
        self.read = usize::try_from(state.next_offset().unwrap_or(0)).unwrap();
        self.shard = Shard::new(Arc::clone(&self.config));
        self.shard.assign(state);
        self.changes.clear();
        self.partials.clear();
        self.progress = None;
    }

    fn count(&mut self) {
        if self.decoder.messages() == 0 {
            return;
        }
        let decoded = self.decoder.finish();
        for (offset, pair) in joining::pairs(&decoded) {
            let before = self.pairs.insert(offset, pair);
            assert!(before.is_none_or(|before| before == pair), "{before:?}, then {pair:?}");
        }
        let id = partition(0);
        self.shard.join(START, &id, self.decoder.take_news());
        let placed = self.shard.place(&id, &decoded);
        for missing in self.shard.missing_references(&placed) {
            let reference = model::reference(&self.config, &missing.id);
            self.shard.set_reference(missing, reference);
        }
        let mut outputs = Vec::new();
        self.shard.update(START, &decoded, placed, None, &mut outputs);
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

    /// A transaction: it begins with a checkpoint.
    fn transact(&mut self, course: Course) {
        let mut outputs = Vec::new();
        self.shard.checkpoint(&mut outputs);
        self.gather(outputs);
        assert_eq!(self.shard.unsaved_bytes(), 0);
        self.reached.note_if(0 < self.decoder.messages(), "transactions amid a batch");
        if course == Course::Aborts {
            self.reached.note_if(!self.changes.is_empty(), "transactions that are sent again");
            return;
        }
        self.rows.commit(std::mem::take(&mut self.changes)).unwrap();
        let mut passed_on = std::mem::take(&mut self.partials);
        if let Some(progress) = self.progress.take() {
            passed_on.extend(self.writer.barriers(&progress));
            self.counts.absorb(progress.joined);
        }
        let config = Arc::clone(&self.config);
        let find = |_: usize, id: &ModelId| model::reference(&config, id);
        let mut reader = LaneReader::new(Arc::clone(&config), LANE.lanes, &find);
        for (lane, (key, value)) in passed_on {
            let event = reader.read(lane, &key, &value).unwrap().unwrap();
            self.tell_lane(event);
        }
    }

    fn tell_lane(&mut self, event: Event) {
        self.lane.handle(START, event, &mut self.effects);
    }

    fn decode(&mut self, count: usize) {
        let to = self.log.len().min(self.read + count);
        joining::decode(&mut self.decoder, self.log, self.read..to);
        self.read = to;
    }

    fn befall(&mut self, deed: Deed, course: Course) {
        match deed {
            Deed::Decodes(count) => self.decode(count),
            Deed::Counts => self.count(),
            Deed::Stores => self.transact(course),
            Deed::HandsOver => {
                self.count();
                self.transact(course);
                self.replace();
            }
            Deed::Ends => {
                self.reached.note_if(0 < self.decoder.messages(), "ends amid a batch");
                self.replace();
            }
        }
    }

    /// Reads the rest; returns the rows of all windows.
    fn end(&mut self) -> u64 {
        self.decode(self.log.len());
        self.count();
        let mut outputs = Vec::new();
        self.shard.flush(&partition(0), None, &mut outputs);
        self.gather(outputs);
        self.transact(Course::Commits);
        self.tell_lane(Event::InputEnded);
        let windows = self.effects.iter().filter_map(|effect| {
            if let Effect::Window(result) = effect {
                Some((result.id.clone(), result.rows))
            } else {
                None
            }
        });
        windows.collect::<BTreeMap<_, _>>().into_values().sum()
    }
}

#[test]
fn pairs_are_those_of_a_recount_whoever_reads_and_decides() {
    let config = model::config(&tree());
    let course = || prop_oneof![3 => Just(Course::Commits), 1 => Just(Course::Aborts)];
    let courses = prop::collection::vec(course(), 30);
    let tally = Tally::play(2_000, (logs(), deeds(), courses), |(log, deeds, courses)| {
        let expected = recount(&log);
        let mut readers = Readers::new(&config, &log);
        for (deed, course) in deeds.into_iter().zip(courses) {
            readers.befall(deed, course);
        }
        let rows = readers.end();
        let Readers { pairs, counts, mut reached, decoder, .. } = readers;
        let waiting = decoder.waiting();
        let joined = counts.joined;
        assert_eq!(Recount { pairs, counts, waiting }, expected);
        assert_eq!(rows, joined, "each pair once");
        reached.note_if(3 < joined, "pairs");
        reached
    });
    tally.assert_floors(&[&[
        ("pairs", 300),
        ("halves in the rows", 200),
        ("transactions amid a batch", 200),
        ("transactions that are sent again", 100),
        ("ends amid a batch", 200),
    ]]);
}
