//! Predictions and labels read beside each other in any order, in any cut, by processes that end at
//! any moment: what is said of final windows is what a batch join of both logs says, once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use driftd_catalog::{PartitionId, Timestamp};
use driftd_core::PartitionState;
use driftd_core::config::Config;
use driftd_core::event::{Effect, Event};
use driftd_core::labels::{Entries, LabelCounts, MemoryEntries, PerformanceResult};
use driftd_core::loss::Accepted;
use driftd_core::output::{Collected, OutputMessage, SOURCE_HEADER};
use driftd_core::pipeline::Pipeline;
use driftd_core::shard::{Output, Shard};
use driftd_core::state::{
    MemoryStore, Opening, Position, Row, Store as _, StoreId, restore_accepting,
};
use proptest::prelude::*;
use serde_json::Value;

use crate::labels_batch::{Counts, Joined, Part, join};
use crate::labels_drawn::{Case, Kind, decode, draw, tree};
use crate::log::START;
use crate::model;
use crate::tally::{Reached, Tally};

/// What happens next; indices wrap around.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    /// So many messages of a partition of both topics are counted, and wait to be heard of.
    Reads { partition: usize, messages: usize },
    /// So many of each partition are counted and heard of.
    Flows { messages: usize },
    /// Stage 2 hears of so many outputs of a shard.
    Hears { shard: usize, outputs: usize },
    /// A shard tells what it holds.
    Tells { shard: usize },
    /// Rows and entries are stored together; what is decided is sent, or not yet.
    Stores { sends: bool },
    /// Another shard takes a partition over.
    HandsOver { partition: usize },
    /// The process ends, and another one starts.
    Ends,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let messages = prop_oneof![3 => 1..6_usize, 2 => 6..24_usize, 1 => Just(99)];
    let outputs = prop_oneof![2 => 1..4_usize, 2 => Just(99)];
    let deed = prop_oneof![
        8 => (0..6_usize, messages)
            .prop_map(|(partition, messages)| Deed::Reads { partition, messages }),
        2 => (1..40_usize).prop_map(|messages| Deed::Flows { messages }),
        8 => (0..2_usize, outputs).prop_map(|(shard, outputs)| Deed::Hears { shard, outputs }),
        3 => (0..2_usize).prop_map(|shard| Deed::Tells { shard }),
        4 => any::<bool>().prop_map(|sends| Deed::Stores { sends }),
        1 => (0..6_usize).prop_map(|partition| Deed::HandsOver { partition }),
        2 => Just(Deed::Ends),
    ];
    prop::collection::vec(deed, 0..70)
}

/// A partition of one of both topics.
#[derive(Debug)]
struct Place {
    source: usize,
    id: PartitionId,
    /// Index into the partitions of its topic.
    index: usize,
    owner: usize,
    read: usize,
}

/// A process that reads both topics, with what would survive its end.
pub(crate) struct Process {
    pub(crate) config: Arc<Config>,
    pub(crate) case: Case,
    pub(crate) now: Timestamp,
    pub(crate) pipeline: Pipeline,
    shards: Vec<Shard>,
    /// What shards have said and stage 2 has not heard.
    unheard: Vec<VecDeque<Output>>,
    places: Vec<Place>,
    store: MemoryStore,
    entries: Arc<MemoryEntries>,
    /// Final windows since the last batch, and those that are stored.
    fresh: Vec<Arc<PerformanceResult>>,
    pub(crate) results: Vec<Arc<PerformanceResult>>,
    unsent: Vec<(u64, OutputMessage)>,
    pub(crate) published: Vec<OutputMessage>,
    position: Option<Position>,
    /// Losses that the next start accepts.
    pub(crate) accepted: Vec<Accepted>,
    starts: u64,
    reached: Reached,
}

impl Process {
    pub(crate) fn new(config: &Arc<Config>, case: &Case) -> Self {
        let topics = ["logs", "truth"].into_iter().enumerate();
        let places = topics.flat_map(|(source, topic)| {
            (0..case.topics[source].len()).map(move |index| {
                let partition = i32::try_from(index).unwrap();
                let id = PartitionId { topic: topic.into(), partition };
                Place { source, id, index, owner: 0, read: 0 }
            })
        });
        let mut process = Self {
            config: Arc::clone(config),
            case: case.clone(),
            now: START,
            pipeline: Pipeline::new(Arc::clone(config)),
            shards: Vec::new(),
            unheard: Vec::new(),
            places: places.collect(),
            store: MemoryStore::default(),
            entries: Arc::default(),
            fresh: Vec::new(),
            results: Vec::new(),
            unsent: Vec::new(),
            published: Vec::new(),
            position: None,
            accepted: Vec::new(),
            starts: 0,
            reached: Reached::default(),
        };
        process.start();
        process
    }

    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.pipeline.handle(self.now, event, &mut effects);
        for effect in effects {
            if let Effect::Performance(result) = effect {
                self.fresh.push(result);
            }
        }
    }

    /// Starts from what is stored.
    pub(crate) fn start(&mut self) {
        self.starts += 1;
        self.fresh.clear();
        self.unsent.clear();
        let rows: Vec<Row> = self.store.rows().unwrap();
        let begin = (StoreId(self.starts), &*self.accepted);
        let restored =
            restore_accepting(&self.config, rows, &|_, _| None, begin, self.now).unwrap();
        self.pipeline = restored.pipeline;
        let entries = Arc::clone(&self.entries) as Arc<dyn Entries>;
        self.pipeline.join_labels(&entries);
        self.open_outbox();
        let shard = || Shard::new(Arc::clone(&self.config)).following();
        self.shards = vec![shard(), shard()];
        self.unheard = vec![VecDeque::new(), VecDeque::new()];
        for source in 0..2 {
            let own = self.places.iter().filter(|it| it.source == source);
            let partitions: Vec<PartitionId> = own.map(|it| it.id.clone()).collect();
            self.handle(Event::TopicPartitions { source, partitions: partitions.clone() });
            self.handle(Event::Assigned { source, partitions });
        }
        let mut stored: BTreeMap<PartitionId, PartitionState> =
            restored.partitions.into_iter().map(|state| (state.id().clone(), state)).collect();
        for place in &mut self.places {
            let fresh = || PartitionState::new(place.id.clone(), place.source, self.now);
            let state = stored.remove(&place.id).unwrap_or_else(fresh);
            place.read = usize::try_from(state.next_offset().unwrap_or(0)).unwrap();
            place.owner = place.source;
            self.shards[place.owner].assign(state);
            let mut outputs = Vec::new();
            self.shards[place.owner].report_progress(&place.id, &mut outputs);
            self.unheard[place.owner].extend(outputs);
        }
    }

    fn open_outbox(&mut self) {
        let standing = self.pipeline.outbox().unwrap();
        let published = standing.needs_published(self.position).then(|| {
            let mut collected = Collected::default();
            for message in &self.published {
                let writer = message.headers.iter().find(|(name, _)| name == SOURCE_HEADER);
                let writer = writer.map(|(_, value)| value.as_str());
                collected.take("/driftd/sim", message.topic, writer, &message.payload);
            }
            collected.published()
        });
        self.handle(Event::OutboxOpened(Opening { position: self.position, published }));
    }

    pub(crate) fn read(&mut self, place: usize, messages: usize) {
        let place = place % self.places.len();
        let Place { source, id, index, owner, read } = &mut self.places[place];
        let log = &self.case.topics[*source][*index];
        let to = log.len().min(*read + messages);
        if *read == to {
            return;
        }
        let decoded = decode(&self.config, (*source, self.case.kind), *read, &log[*read..to]);
        *read = to;
        let shard = &mut self.shards[*owner];
        let placed = shard.place(id, &decoded);
        for missing in shard.missing_references(&placed) {
            shard.set_reference(missing, None);
        }
        let mut outputs = Vec::new();
        let end = Some(i64::try_from(log.len()).unwrap());
        shard.update(self.now, &decoded, placed, end, &mut outputs);
        self.unheard[*owner].extend(outputs);
    }

    pub(crate) fn hear(&mut self, shard: usize, outputs: usize) {
        let shard = shard % self.shards.len();
        for _ in 0..outputs {
            let Some(output) = self.unheard[shard].pop_front() else { return };
            self.handle(Event::from(output));
        }
    }

    pub(crate) fn tell(&mut self, shard: usize) {
        let shard = shard % self.shards.len();
        let mut outputs = Vec::new();
        self.shards[shard].checkpoint(&mut outputs);
        self.unheard[shard].extend(outputs);
    }

    /// Lets shards look for silence, long after everything.
    pub(crate) fn be_silent(&mut self) {
        self.now = self.now.plus_millis(3_600_000);
        for Place { source, id, index, owner, .. } in &self.places {
            let end = i64::try_from(self.case.topics[*source][*index].len()).unwrap();
            let mut outputs = Vec::new();
            self.shards[*owner].watch_silence(self.now, id, end, &mut outputs);
            self.unheard[*owner].extend(outputs);
        }
        self.hear(0, usize::MAX);
        self.hear(1, usize::MAX);
    }

    /// Returns how many rows are stored whose key begins with a byte.
    pub(crate) fn rows(&self, begin: u8) -> usize {
        self.store.0.keys().filter(|it| it.first() == Some(&begin)).count()
    }

    /// Stores rows and entries together.
    pub(crate) fn store(&mut self, sends: bool) {
        self.store.commit(self.pipeline.take_changes()).unwrap();
        self.entries.apply(self.pipeline.take_entries());
        self.results.append(&mut self.fresh);
        self.unsent.extend(self.pipeline.take_outputs());
        if !sends {
            return;
        }
        for (number, message) in std::mem::take(&mut self.unsent) {
            let store = self.pipeline.outbox().unwrap().store;
            self.position = Some(Position { store, next: number + 1 });
            self.published.push(message);
        }
        if let Some(position) = self.position {
            self.handle(Event::OutputsSent { to: position.next });
        }
    }

    fn hand_over(&mut self, place: usize) {
        let count = self.places.len();
        let owner = self.places[place % count].owner;
        // What it has said is heard before another one says more.
        self.hear(owner, usize::MAX);
        let Place { source, id, owner, .. } = &mut self.places[place % count];
        let (source, id) = (*source, id.clone());
        let state = self.shards[*owner].release(&id).unwrap();
        *owner = 1 - *owner;
        self.shards[*owner].assign(state);
        self.handle(Event::Revoked { source, partitions: vec![id.clone()] });
        self.handle(Event::Assigned { source, partitions: vec![id] });
    }

    fn befall(&mut self, deed: Deed) {
        match deed {
            Deed::Reads { partition, messages } => self.read(partition, messages),
            Deed::Flows { messages } => {
                for place in 0..self.places.len() {
                    self.read(place, messages);
                }
                self.hear(0, usize::MAX);
                self.hear(1, usize::MAX);
            }
            Deed::Hears { shard, outputs } => self.hear(shard, outputs),
            Deed::Tells { shard } => self.tell(shard),
            Deed::Stores { sends } => self.store(sends),
            Deed::HandsOver { partition } => self.hand_over(partition),
            Deed::Ends => {
                let unheard = self.unheard.iter().any(|it| !it.is_empty());
                self.reached.note_if(unheard, "ends with something unheard");
                self.reached.note_if(!self.fresh.is_empty(), "ends with forgotten windows");
                self.reached.note_if(!self.results.is_empty(), "ends with stored windows");
                self.reached.note_if(!self.unsent.is_empty(), "ends with unsent lines");
                self.start();
                let counts = self.counts();
                self.reached.note_if(0 < counts.joined, "ends with stored pairs");
            }
        }
    }

    /// Reads the rest, and stores what it comes to.
    pub(crate) fn end(&mut self) {
        for place in 0..self.places.len() {
            self.read(place, usize::MAX / 2);
        }
        for shard in 0..self.shards.len() {
            self.tell(shard);
            self.hear(shard, usize::MAX);
        }
        self.handle(Event::Tick);
        self.store(true);
    }

    pub(crate) fn counts(&self) -> LabelCounts {
        self.pipeline.snapshot(self.now).performance[&0].counts
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.pipeline.snapshot(self.now).performance[&0].waiting
    }

    /// Windows that are not final.
    pub(crate) fn open(&self) -> Vec<PerformanceResult> {
        let snapshot = self.pipeline.snapshot(self.now);
        let windows = snapshot.performance[&0].windows.iter();
        windows.filter(|it| !it.is_final).cloned().collect()
    }

    fn digest(&self) -> String {
        self.pipeline.snapshot(self.now).digest.to_string()
    }
}

/// Returns the parts of a window, with those metrics that the batch join has.
fn parts(
    result: &PerformanceResult,
    expected: &BTreeMap<(String, String), Part>,
) -> BTreeMap<(String, String), Part> {
    let parts = result.parts.iter().map(|part| {
        let key = (part.version.to_string(), part.segment.to_string());
        let wanted = expected.get(&key).map(|it| &it.metrics);
        let metrics = part.metrics.iter().filter_map(|it| {
            let wanted = *wanted?.get(it.name)?;
            // Sums are exact on one side, and quotients are rounded.
            let is_close = (it.value - wanted).abs() < 1e-12;
            Some((it.name, if is_close { wanted } else { it.value }))
        });
        let shown = Part {
            predictions: part.predictions,
            labelled: part.labelled,
            delay_median: part.delay_median_millis,
            metrics: metrics.collect(),
        };
        (key, shown)
    });
    parts.collect()
}

/// Compares final windows, open ones, lines and counts with those of the batch join.
fn compare(process: &Process, joined: &Joined) {
    let starts: Vec<i64> = process.results.iter().map(|it| it.span.start().as_millis()).collect();
    let once: BTreeSet<i64> = starts.iter().copied().collect();
    assert_eq!(starts.len(), once.len(), "each window is final once: {starts:?}");
    assert_eq!(once, joined.final_starts());
    for result in &process.results {
        assert!(result.is_final);
        let expected = &joined.windows[&result.span.start().as_millis()];
        assert_eq!(&parts(result, expected), expected, "{}", result.span);
    }
    let open = process.open();
    let all: BTreeSet<i64> =
        open.iter().map(|it| it.span.start().as_millis()).chain(once).collect();
    assert_eq!(all, joined.windows.keys().copied().collect(), "open windows and final ones");
    for result in &open {
        let expected = &joined.windows[&result.span.start().as_millis()];
        assert_eq!(&parts(result, expected), expected, "{} is open", result.span);
    }
    compare_lines(process, joined);
    compare_counts(process, joined.counts);
}

fn compare_lines(process: &Process, joined: &Joined) {
    let lines = process.published.iter().filter_map(|message| {
        let line: Value = serde_json::from_slice(&message.payload).unwrap();
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        line.get("performance")?;
        let start = Timestamp::parse(&text("window_start")).unwrap().as_millis();
        let counts = (line["rows"].as_u64().unwrap(), line["labelled"].as_u64().unwrap());
        Some(((start, text("version"), text("segment")), counts))
    });
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    let mut expected = Vec::new();
    for start in joined.final_starts() {
        for ((version, segment), part) in &joined.windows[&start] {
            let key = (start, version.clone(), segment.clone());
            expected.push((key, (part.predictions, part.labelled)));
        }
    }
    assert_eq!(lines, expected, "each line once");
}

fn compare_counts(process: &Process, expected: Counts) {
    let it = process.counts();
    let others = it.revised + it.superseded + it.duplicate + it.unmatched + process.waiting();
    let found = Counts {
        followed: it.followed,
        repeated: it.repeated,
        joined: it.joined,
        late_predictions: it.late_predictions,
        unusable_predictions: it.unusable_predictions,
        late_labels: it.late_labels,
        unusable_labels: it.unusable_labels,
        labels: it.joined + others,
    };
    assert_eq!(found, expected);
    assert_eq!((it.not_sampled, it.over_limit), (0, 0));
}

/// What a case is about.
fn reached_of(case: &Case, joined: &Joined, process: &Process) -> Reached {
    let mut reached = process.reached.clone();
    let Counts { repeated, late_predictions, unusable_predictions, .. } = joined.counts;
    let Counts { late_labels, unusable_labels, .. } = joined.counts;
    reached.note_if(0 < repeated, "repeated predictions");
    reached.note_if(0 < late_predictions, "late predictions");
    reached.note_if(0 < unusable_predictions, "unusable predictions");
    reached.note_if(0 < late_labels, "late labels");
    reached.note_if(0 < unusable_labels, "unusable labels");
    let finals = joined.final_starts();
    let parts = finals.iter().flat_map(|it| joined.windows[it].values());
    let labelled = parts.map(|it| it.labelled).max();
    reached.note_if(3 <= finals.len(), "final windows");
    reached.note_if(Some(2) <= labelled, "final windows with labels");
    reached.note_if(!process.open().is_empty(), "open windows");
    let counts = process.counts();
    reached.note_if(0 < counts.revised, "revised labels");
    reached.note_if(0 < counts.superseded, "superseded labels");
    reached.note_if(0 < counts.duplicate, "duplicate labels");
    reached.note_if(0 < counts.unmatched, "unmatched labels");
    reached.note_if(case.kind == Kind::Binary, "two classes");
    reached.note_if(case.kind == Kind::Multiclass, "several classes");
    reached.note_if(case.kind == Kind::Regression, "numbers");
    reached
}

#[test]
fn what_is_final_is_what_a_batch_join_of_both_logs_says() {
    let tally = Tally::play(300, (draw(), deeds()), |(case, deeds)| {
        let config = model::config(&tree(case.kind, case.keeps_last));
        let joined = join(&case);
        let mut straight = Process::new(&config, &case);
        straight.end();
        compare(&straight, &joined);
        let mut process = Process::new(&config, &case);
        for deed in deeds {
            process.befall(deed);
        }
        process.end();
        compare(&process, &joined);
        assert_eq!(process.digest(), straight.digest(), "whatever is read first");
        process.start();
        process.hear(0, usize::MAX);
        process.hear(1, usize::MAX);
        compare(&process, &joined);
        assert_eq!(process.digest(), straight.digest(), "a restart changes nothing");
        reached_of(&case, &joined, &process)
    });
    tally.assert_floors(&[&[
        ("final windows", 500),
        ("final windows with labels", 250),
        ("open windows", 50),
        ("repeated predictions", 300),
        ("late predictions", 200),
        ("unusable predictions", 300),
        ("late labels", 300),
        ("unusable labels", 300),
        ("revised labels", 300),
        ("superseded labels", 300),
        ("duplicate labels", 300),
        ("unmatched labels", 300),
        ("two classes", 300),
        ("several classes", 100),
        ("numbers", 100),
        ("ends with something unheard", 300),
        ("ends with forgotten windows", 50),
        ("ends with stored windows", 50),
        ("ends with unsent lines", 40),
        ("ends with stored pairs", 100),
    ]]);
}
