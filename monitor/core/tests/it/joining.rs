//! Requests and responses in any order, read in any cut by processes that end at any moment: the
//! pairs are those of a straight recount, and each is counted once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::Float64Type;
use driftd_catalog::{ModelId, PartitionId, Timestamp};
use driftd_core::PartitionState;
use driftd_core::config::Config;
use driftd_core::event::{Effect, Event};
use driftd_core::halves::{HALF_BYTES, JoinCounts, Waiting};
use driftd_core::join::JoinDecoder;
use driftd_core::output::Collected;
use driftd_core::pipeline::Pipeline;
use driftd_core::shard::Shard;
use driftd_core::state::{MemoryStore, Opening, RestoreError, Store as _, StoreId, restore};
use driftd_ingest::{Decode as _, Decoded, Message};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::log::START;
use crate::model;
use crate::simulation::partition;
use crate::tally::{Reached, Tally};

const WITHIN_MILLIS: i64 = 1_000;
const RECORDS_MAX: usize = 4;
const BYTES_MAX: u64 = 2 << 10;

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    time: Option<i64>,
    side: Said,
    id: u8,
    /// Tells it from all others.
    number: i32,
    /// Bytes of space around it.
    space: usize,
}

/// Which half a message says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Request,
    Response,
    Neither,
}

impl Said {
    fn text(self) -> &'static str {
        match self {
            Self::Request => "q",
            Self::Response => "r",
            Self::Neither => "?",
        }
    }
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    /// So many messages are decoded.
    Decodes(usize),
    /// They are counted.
    Counts,
    /// What was counted is stored, whatever is decoded beyond it.
    Stores,
    /// Another thread takes the partition over.
    HandsOver,
    /// The process ends, and another one starts.
    Ends,
}

fn sent() -> impl Strategy<Value = Sent> {
    let step = prop_oneof![
        12 => (0..200_i64).prop_map(Some),
        2 => (-900..0_i64).prop_map(Some),
        1 => (900..1_500_i64).prop_map(Some),
        1 => Just(None),
    ];
    let side =
        prop_oneof![9 => Just(Said::Request), 9 => Just(Said::Response), 1 => Just(Said::Neither)];
    let space = prop_oneof![8 => Just(0_usize), 2 => 300..700_usize, 1 => 900..960_usize];
    (step, side, 0..6_u8, space).prop_map(|(time, side, id, space)| {
        // The step until the log is written down.
        Sent { time, side, id, number: 0, space }
    })
}

pub(crate) fn logs() -> impl Strategy<Value = Vec<Sent>> {
    prop::collection::vec(sent(), 1..60).prop_map(|mut log| {
        let mut clock = 10_000;
        for (number, message) in (1..).zip(&mut log) {
            message.number = number;
            message.time = message.time.map(|step| {
                clock += step.max(0);
                clock + step.min(0)
            });
        }
        log
    })
}

pub(crate) fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        5 => (1..12_usize).prop_map(Deed::Decodes),
        3 => Just(Deed::Counts),
        3 => Just(Deed::Stores),
        1 => Just(Deed::HandsOver),
        2 => Just(Deed::Ends),
    ];
    prop::collection::vec(deed, 0..30)
}

pub(crate) fn tree() -> Value {
    json!({
        "name": "sim",
        "sources": [{
            "topic": "logs",
            "start": "earliest",
            "payload_bytes_max": 1_024,
            "event_time": {"path": "response.at", "format": "unix_millis"},
            "time": {"out_of_orderness": "1h"},
            "join": {
                "id": "$headers.id",
                "side": "$headers.side",
                "request": "q",
                "response": "r",
                "within": "1s",
                "bytes_max": "2KiB",
                "records_max": RECORDS_MAX,
            },
        }],
        "models": [{
            "name": "gamma",
            "source": "logs",
            "version": "1",
            "references": "{model}-{version}.json",
            "window": {"length": "1h"},
            "features": [{"name": "x", "path": "request.x", "type": "float64"}],
            "predictions": [{"name": "p", "path": "response.p", "type": "float64"}],
        }],
    })
}

/// What a straight recount of a log comes to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Recount {
    /// Numbers of both halves, by the offset of the later one.
    pub(crate) pairs: BTreeMap<i64, (f64, f64)>,
    pub(crate) counts: JoinCounts,
    pub(crate) waiting: Waiting,
}

/// One that waits, in the recount.
struct Alone {
    side: Said,
    id: u8,
    number: i32,
    since: i64,
    bytes: u64,
}

fn count(counts: &mut driftd_core::halves::BySide, side: Said) {
    match side {
        Said::Request => counts.request += 1,
        Said::Response => counts.response += 1,
        Said::Neither => panic!("it is refused"),
    }
}

pub(crate) fn recount(log: &[Sent]) -> Recount {
    let Recount { mut pairs, mut counts, .. } = Recount::default();
    let mut newest: Option<i64> = None;
    let mut alone: Vec<Alone> = Vec::new();
    for (offset, message) in (0..).zip(log) {
        newest = newest.max(message.time);
        if let Some(newest) = newest {
            let (kept, gone) = alone.into_iter().partition(|it| newest <= it.since + WITHIN_MILLIS);
            alone = kept;
            for it in &gone {
                count(&mut counts.expired, it.side);
            }
        }
        if message.side == Said::Neither {
            continue;
        }
        let other = alone.iter().position(|it| it.id == message.id && it.side != message.side);
        if let Some(other) = other {
            let other = alone.remove(other).number;
            let pair = match message.side {
                Said::Request => (message.number, other),
                Said::Response | Said::Neither => (other, message.number),
            };
            pairs.insert(offset, (f64::from(pair.0), f64::from(pair.1)));
            counts.joined += 1;
            continue;
        }
        if alone.iter().any(|it| it.id == message.id) {
            count(&mut counts.duplicate, message.side);
            continue;
        }
        let since = newest.unwrap_or(i64::MIN / 2);
        alone.push(Alone {
            side: message.side,
            id: message.id,
            number: message.number,
            since,
            bytes: bytes(message),
        });
        while RECORDS_MAX < alone.len() || BYTES_MAX < alone.iter().map(|it| it.bytes).sum::<u64>()
        {
            count(&mut counts.evicted, alone.remove(0).side);
        }
    }
    let waiting =
        Waiting { halves: alone.len() as u64, bytes: alone.iter().map(|it| it.bytes).sum() };
    Recount { pairs, counts, waiting }
}

fn payload(message: &Sent) -> String {
    let Sent { number, space, .. } = message;
    let space = " ".repeat(*space);
    format!(r#"{{{space}"x": {number}, "p": {number}, "at": 0}}"#)
}

/// What it takes while it waits.
fn bytes(message: &Sent) -> u64 {
    let beside = match message.side {
        Said::Request | Said::Neither => 0,
        Said::Response => 2,
    };
    HALF_BYTES + 1 + payload(message).len() as u64 + beside
}

/// A process that reads one partition.
struct Process<'a> {
    config: Arc<Config>,
    log: &'a [Sent],
    shard: Shard,
    pipeline: Pipeline,
    effects: Vec<Effect>,
    decoder: JoinDecoder,
    /// Messages that are decoded.
    read: usize,
    store: MemoryStore,
    starts: u64,
    /// What is seen of pairs, again and again where they are read again.
    pairs: BTreeMap<i64, (f64, f64)>,
    counts: JoinCounts,
    /// The same of what is stored.
    stored: JoinCounts,
    reached: Reached,
}

pub(crate) fn decoder(config: &Config, state: &PartitionState) -> JoinDecoder {
    let source = &config.sources[0];
    JoinDecoder::new(source, source.join.as_ref().unwrap(), state.halves().clone())
}

/// Decodes the messages of a log at these places.
pub(crate) fn decode(decoder: &mut JoinDecoder, log: &[Sent], places: Range<usize>) {
    for (offset, message) in (0..).zip(log).take(places.end).skip(places.start) {
        let payload = payload(message);
        let id = [b'a' + message.id];
        let envelope = [Some(&id[..]), Some(message.side.text().as_bytes())];
        decoder.decode(&Message {
            payload: Some(payload.as_bytes()),
            offset,
            timestamp: message.time.map(Timestamp::from_millis),
            envelope: &envelope,
        });
    }
}

/// Returns the numbers of both halves of each pair of a batch, by its offset.
pub(crate) fn pairs(decoded: &Decoded) -> Vec<(i64, (f64, f64))> {
    let values = |column: usize| {
        let column = decoded.batches[0].as_ref().map(|it| it.column(column));
        let values = column.map(|it| it.as_primitive::<Float64Type>().values().to_vec());
        values.unwrap_or_default()
    };
    let numbers = values(0).into_iter().zip(values(1));
    decoded.rows.iter().map(|row| row.offset).zip(numbers).collect()
}

impl<'a> Process<'a> {
    fn new(config: &Arc<Config>, log: &'a [Sent]) -> Self {
        let state = PartitionState::new(partition(0), 0, START);
        let mut process = Self {
            config: Arc::clone(config),
            log,
            shard: Shard::new(Arc::clone(config)),
            pipeline: Pipeline::new(Arc::clone(config)),
            effects: Vec::new(),
            decoder: decoder(config, &state),
            read: 0,
            store: MemoryStore::default(),
            starts: 0,
            pairs: BTreeMap::new(),
            counts: JoinCounts::default(),
            stored: JoinCounts::default(),
            reached: Reached::default(),
        };
        process.start();
        process
    }

    fn id() -> PartitionId {
        partition(0)
    }

    fn handle(&mut self, event: Event) {
        self.pipeline.handle(START, event, &mut self.effects);
    }

    /// Starts from what is stored.
    fn start(&mut self) {
        self.starts += 1;
        let find = |_: usize, id: &ModelId| model::reference(&self.config, id);
        let rows = self.store.rows().unwrap();
        let restored = restore(&self.config, rows, &find, StoreId(self.starts), START).unwrap();
        self.pipeline = restored.pipeline;
        let standing = self.pipeline.outbox();
        let is_read = standing.is_some_and(|it| it.needs_published(None));
        let published = is_read.then(|| Collected::default().published());
        self.handle(Event::OutboxOpened(Opening { position: None, published }));
        let fresh = || PartitionState::new(Self::id(), 0, START);
        let state = restored.partitions.into_iter().next().unwrap_or_else(fresh);
        self.reached.note_if(0 < state.halves().waiting().halves, "halves in the store");
        self.decoder = decoder(&self.config, &state);
        self.read = usize::try_from(state.next_offset().unwrap_or(0)).unwrap();
        self.counts = self.stored;
        self.shard = Shard::new(Arc::clone(&self.config));
        self.shard.assign(state);
        let partitions = vec![Self::id()];
        self.handle(Event::TopicPartitions { source: 0, partitions: partitions.clone() });
        self.handle(Event::Assigned { source: 0, partitions });
    }

    fn decode(&mut self, count: usize) {
        let to = self.log.len().min(self.read + count);
        decode(&mut self.decoder, self.log, self.read..to);
        self.read = to;
    }

    fn count(&mut self) {
        if self.decoder.messages() == 0 {
            return;
        }
        let decoded = self.decoder.finish();
        for (offset, pair) in pairs(&decoded) {
            let before = self.pairs.insert(offset, pair);
            assert!(before.is_none_or(|before| before == pair), "{before:?}, then {pair:?}");
        }
        self.shard.join(START, &Self::id(), self.decoder.take_news());
        let placed = self.shard.place(&Self::id(), &decoded);
        for missing in self.shard.missing_references(&placed) {
            let reference = model::reference(&self.config, &missing.id);
            self.shard.set_reference(missing, reference);
        }
        let mut outputs = Vec::new();
        self.shard.update(START, &decoded, placed, None, &mut outputs);
        for output in outputs {
            let event = Event::from(output);
            if let Event::Progress(progress) = &event {
                self.counts.absorb(progress.joined);
            }
            self.handle(event);
        }
    }

    fn store(&mut self) {
        let mut outputs = Vec::new();
        self.shard.checkpoint(&mut outputs);
        outputs.into_iter().map(Event::from).for_each(|event| self.handle(event));
        self.store.commit(self.pipeline.take_changes()).unwrap();
        self.stored = self.counts;
        self.reached.note_if(0 < self.decoder.messages(), "stores amid a batch");
    }

    fn befall(&mut self, deed: Deed) {
        match deed {
            Deed::Decodes(count) => self.decode(count),
            Deed::Counts => self.count(),
            Deed::Stores => self.store(),
            Deed::HandsOver => {
                self.count();
                let state = self.shard.release(&Self::id()).unwrap();
                self.decoder = decoder(&self.config, &state);
                self.shard.assign(state);
            }
            Deed::Ends => {
                self.reached.note_if(0 < self.decoder.messages(), "ends amid a batch");
                self.start();
            }
        }
    }

    /// Reads the rest, and returns the rows of all windows.
    fn end(&mut self) -> u64 {
        self.decode(self.log.len());
        self.count();
        let mut outputs = Vec::new();
        self.shard.flush(&Self::id(), None, &mut outputs);
        outputs.into_iter().map(Event::from).for_each(|event| self.handle(event));
        let join = self.pipeline.snapshot(START).sources[0].join.unwrap();
        let waiting = self.shard.release(&Self::id()).unwrap().halves().waiting();
        assert_eq!(join.waiting, waiting, "what waits is shown");
        self.handle(Event::InputEnded);
        self.handle(Event::Tick);
        let closed = self.effects.iter().filter_map(|effect| {
            if let Effect::Window(result) = effect {
                Some((result.id.clone(), result.rows))
            } else {
                None
            }
        });
        closed.collect::<BTreeMap<_, _>>().into_values().sum()
    }
}

#[test]
fn pairs_are_those_of_a_recount_and_each_is_counted_once() {
    let config = model::config(&tree());
    let tally = Tally::play(3_000, (logs(), deeds()), |(log, deeds)| {
        let expected = recount(&log);
        let mut process = Process::new(&config, &log);
        for deed in deeds {
            process.befall(deed);
        }
        let rows = process.end();
        assert_eq!(process.pairs, expected.pairs);
        assert_eq!(process.counts, expected.counts);
        assert_eq!(process.decoder.waiting(), expected.waiting);
        assert_eq!(rows, expected.counts.joined, "each pair once");
        let mut reached = process.reached;
        let JoinCounts { joined, expired, evicted, duplicate, left_behind } = expected.counts;
        assert_eq!(left_behind.sum(), 0);
        let has = |it: driftd_core::halves::BySide| 0 < it.request && 0 < it.response;
        reached.note_if(3 < joined, "pairs");
        reached.note_if(has(expired), "expired on both sides");
        reached.note_if(has(evicted), "evicted on both sides");
        reached.note_if(has(duplicate), "alike on both sides");
        reached
    });
    tally.assert_floors(&[&[
        ("pairs", 300),
        ("expired on both sides", 100),
        ("evicted on both sides", 100),
        ("alike on both sides", 300),
        ("halves in the store", 200),
        ("stores amid a batch", 200),
        ("ends amid a batch", 200),
    ]]);
}

/// A process that has stored halves.
fn stored() -> MemoryStore {
    let config = model::config(&tree());
    let half = |id, side| Sent { time: Some(1), side, id, number: 1, space: 0 };
    let log = [half(0, Said::Request), half(1, Said::Response), half(2, Said::Request)];
    let mut process = Process::new(&config, &log);
    process.decode(3);
    process.count();
    process.store();
    process.store
}

fn restored(tree: &Value, store: &MemoryStore) -> Result<PartitionState, RestoreError> {
    let config = model::config(tree);
    let find = |_: usize, id: &ModelId| model::reference(&config, id);
    let restored = restore(&config, store.rows().unwrap(), &find, StoreId(7), START)?;
    Ok(restored.partitions.into_iter().next().unwrap())
}

#[test]
fn halves_that_were_joined_otherwise_are_left_behind() {
    let store = stored();
    assert_eq!(restored(&tree(), &store).unwrap().halves().waiting().halves, 3);
    let mut others = vec![tree(), tree(), tree(), tree()];
    others[0]["sources"][0]["join"]["within"] = "2s".into();
    others[1]["sources"][0]["join"]["id"] = "$key".into();
    // What is kept beside a response lies in the order of all that is wanted.
    others[2]["models"][0]["features"][0]["path"] = "$headers.a".into();
    others[3]["sources"][0]["format"] = "open_inference".into();
    for other in others {
        let state = restored(&other, &store).unwrap();
        assert_eq!(state.halves().waiting(), Waiting::default());
        assert_eq!(state.next_offset(), Some(3), "nothing is read twice");
    }
}

#[test]
fn only_what_changed_is_stored() {
    let config = model::config(&tree());
    let half = |id, side| Sent { time: Some(1), side, id, number: 1, space: 0 };
    let log = [half(0, Said::Request), half(1, Said::Response), half(0, Said::Response)];
    let mut process = Process::new(&config, &log);
    process.decode(2);
    process.count();
    process.store();
    let before = process.store.clone();
    process.decode(1);
    process.count();
    let mut outputs = Vec::new();
    process.shard.checkpoint(&mut outputs);
    outputs.into_iter().map(Event::from).for_each(|event| process.handle(event));
    let changes = process.pipeline.take_changes();
    // A half is a row that has its payload.
    let is_half = |value: &[u8]| value.windows(3).any(|it| it == b"\"x\"");
    let written = changes.iter().filter_map(|it| it.value.as_deref());
    assert_eq!(written.filter(|it| is_half(it)).count(), 0, "the other half is there already");
    let removed = changes.iter().filter(|it| it.value.is_none());
    let removed = removed.filter(|it| before.0.get(&it.key).is_some_and(|it| is_half(it)));
    assert_eq!(removed.count(), 1);
}
