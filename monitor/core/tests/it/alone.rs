//! A partition in which one side alone comes: it is waited for as long as a pair may come of that,
//! and no longer, also by a process that has just started.

use std::sync::Arc;

use driftd_catalog::{ModelId, PartitionId, Timestamp};
use driftd_core::PartitionState;
use driftd_core::config::Config;
use driftd_core::event::{Effect, Event};
use driftd_core::join::JoinDecoder;
use driftd_core::output::Collected;
use driftd_core::pipeline::Pipeline;
use driftd_core::shard::{Output, Shard};
use driftd_core::state::{MemoryStore, Opening, Store as _, StoreId, restore};
use driftd_ingest::{Decode as _, Message};
use serde_json::{Value, json};

use crate::log::START;
use crate::model;
use crate::simulation::partition;

/// `idle_timeout`, and `within`, in seconds.
const IDLE: i64 = 30;
const WITHIN: i64 = 60;

fn tree() -> Value {
    json!({
        "name": "sim",
        "sources": [{
            "topic": "logs",
            "start": "earliest",
            "event_time": {"path": "response.at", "format": "unix_millis"},
            "time": {"out_of_orderness": "1s", "idle_timeout": "30s", "drift_max": "1m"},
            "join": {
                "id": "$headers.id",
                "side": "$headers.side",
                "request": "q",
                "response": "r",
                "within": "1m",
            },
        }],
        "models": [{
            "name": "gamma",
            "source": "logs",
            "version": "1",
            "references": "{model}-{version}.json",
            "window": {"length": "10s", "lateness": "1s", "wait_max": "10m"},
            "features": [{"name": "x", "path": "request.x", "type": "float64"}],
            "predictions": [{"name": "p", "path": "response.p", "type": "float64"}],
        }],
    })
}

const fn at(seconds: i64) -> Timestamp {
    START.plus_millis(seconds * 1_000)
}

/// Who reads two partitions, each message as a batch of its own.
struct Process {
    config: Arc<Config>,
    shard: Shard,
    pipeline: Pipeline,
    effects: Vec<Effect>,
    decoders: Vec<JoinDecoder>,
    ends: [i64; 2],
    store: MemoryStore,
    starts: u64,
}

impl Process {
    fn new() -> Self {
        let config = model::config(&tree());
        let mut process = Self {
            shard: Shard::new(Arc::clone(&config)),
            pipeline: Pipeline::new(Arc::clone(&config)),
            config,
            effects: Vec::new(),
            decoders: Vec::new(),
            ends: [0; 2],
            store: MemoryStore::default(),
            starts: 0,
        };
        process.start(0);
        process
    }

    /// Starts from what is stored.
    fn start(&mut self, seconds: i64) {
        self.starts += 1;
        let find = |_: usize, id: &ModelId| model::reference(&self.config, id);
        let rows = self.store.rows().unwrap();
        let now = at(seconds);
        let restored = restore(&self.config, rows, &find, StoreId(self.starts), now).unwrap();
        self.pipeline = restored.pipeline;
        self.shard = Shard::new(Arc::clone(&self.config));
        let standing = self.pipeline.outbox();
        let is_read = standing.is_some_and(|it| it.needs_published(None));
        let published = is_read.then(|| Collected::default().published());
        self.handle(seconds, Event::OutboxOpened(Opening { position: None, published }));
        let ids: Vec<PartitionId> = (0..2).map(partition).collect();
        let mut states = restored.partitions;
        for id in &ids {
            if !states.iter().any(|it| it.id() == id) {
                states.push(PartitionState::new(id.clone(), 0, now));
            }
        }
        states.sort_by_key(|it| it.id().clone());
        let source = &self.config.sources[0];
        let join = source.join.as_ref().unwrap();
        let decoders = states.iter().map(|it| JoinDecoder::new(source, join, it.halves().clone()));
        self.decoders = decoders.collect();
        for state in states {
            self.shard.assign(state);
        }
        self.handle(seconds, Event::TopicPartitions { source: 0, partitions: ids.clone() });
        self.handle(seconds, Event::Assigned { source: 0, partitions: ids });
    }

    fn handle(&mut self, seconds: i64, event: Event) {
        self.pipeline.handle(at(seconds), event, &mut self.effects);
    }

    /// Reads a message that came at this time; returns whether its partition is idle then.
    fn read(&mut self, index: usize, seconds: i64, side: &str, id: &str) -> bool {
        let payload = format!(r#"{{"x": 1, "p": 2, "at": {}}}"#, at(seconds).as_millis());
        let envelope = [Some(id.as_bytes()), Some(side.as_bytes())];
        let decoder = &mut self.decoders[index];
        decoder.decode(&Message {
            payload: Some(payload.as_bytes()),
            offset: self.ends[index],
            timestamp: Some(at(seconds)),
            envelope: &envelope,
        });
        self.ends[index] += 1;
        let (id, decoded, news) = (partition(index), decoder.finish(), decoder.take_news());
        self.shard.join(at(seconds), &id, news);
        let placed = self.shard.place(&id, &decoded);
        for missing in self.shard.missing_references(&placed) {
            self.shard.set_reference(missing, None);
        }
        let (mut outputs, end) = (Vec::new(), Some(self.ends[index]));
        self.shard.update(at(seconds), &decoded, placed, end, &mut outputs);
        self.shard.reach_end(at(seconds), &id, self.ends[index], &mut outputs);
        self.deliver(seconds, outputs);
        self.is_idle(index)
    }

    fn pair(&mut self, index: usize, seconds: i64) -> bool {
        self.read(index, seconds, "q", "pair");
        self.read(index, seconds, "r", "pair")
    }

    /// Looks for silence; returns whether the partition is idle.
    fn look(&mut self, index: usize, seconds: i64) -> bool {
        let mut outputs = Vec::new();
        let end = self.ends[index];
        self.shard.watch_silence(at(seconds), &partition(index), end, &mut outputs);
        self.deliver(seconds, outputs);
        self.is_idle(index)
    }

    fn deliver(&mut self, seconds: i64, outputs: Vec<Output>) {
        outputs.into_iter().map(Event::from).for_each(|event| self.handle(seconds, event));
    }

    fn is_idle(&self, index: usize) -> bool {
        let snapshot = self.pipeline.snapshot(START);
        snapshot.partitions.iter().find(|it| it.id == partition(index)).unwrap().idle
    }

    fn store(&mut self, seconds: i64) {
        let mut outputs = Vec::new();
        self.shard.checkpoint(&mut outputs);
        self.deliver(seconds, outputs);
        self.store.commit(self.pipeline.take_changes()).unwrap();
    }

    fn windows(&self) -> usize {
        self.effects.iter().filter(|it| matches!(it, Effect::Window(_))).count()
    }
}

/// Requests alone, one a second up to this time; returns when the partition was idle first.
fn requests(process: &mut Process, from: i64, to: i64) -> Option<i64> {
    let mut first = None;
    for seconds in from..to {
        if process.read(1, seconds, "q", &seconds.to_string()) {
            first = first.or(Some(seconds));
        }
    }
    first
}

#[test]
fn one_side_alone_is_waited_for_only_as_long_as_a_pair_may_come() {
    let mut process = Process::new();
    process.pair(1, 0);
    assert_eq!(requests(&mut process, 1, 200), Some(WITHIN - 1 + IDLE));
    assert!(process.look(1, 201), "and stays so while they come");
    // What it had counted is told once, however often its end moves.
    let is_partial = |it: &Output| matches!(it, Output::Partial(_));
    process.ends[1] += 1;
    let (mut outputs, end) = (Vec::new(), process.ends[1]);
    process.shard.watch_silence(at(201), &partition(1), end, &mut outputs);
    assert_eq!((outputs.len(), outputs.iter().any(is_partial)), (1, false));
    process.ends[1] -= 1;
    // A whole record brings it back, for as long again.
    assert!(!process.pair(1, 201));
    assert_eq!(requests(&mut process, 202, 400), Some(201 + WITHIN - 1 + IDLE));
}

#[test]
fn a_half_that_comes_after_a_while_is_waited_for_like_a_record() {
    let mut process = Process::new();
    process.pair(1, 0);
    assert!(!process.look(1, IDLE - 1));
    assert!(process.look(1, IDLE));
    assert!(!process.read(1, IDLE + 10, "q", "a"), "its response may follow");
    assert!(!process.look(1, IDLE + 10 + IDLE - 1));
    assert!(process.look(1, IDLE + 10 + IDLE));
}

#[test]
fn windows_do_not_wait_for_a_partition_in_which_one_side_alone_comes() {
    let mut process = Process::new();
    let is_pause = |it: &&Effect| matches!(it, Effect::Pause(id) if *id == partition(0));
    let pauses = |process: &Process| process.effects.iter().filter(is_pause).count();
    let mut held_back = 0;
    process.pair(1, 0);
    for seconds in 0..200 {
        process.pair(0, seconds);
        process.read(1, seconds, "q", &seconds.to_string());
        // Where it ends is seen before what lies there is read.
        let ends = vec![(partition(1), process.ends[1] + 1)];
        process.handle(seconds, Event::Ends { source: 0, ends });
        process.handle(seconds, Event::Tick);
        if seconds == WITHIN + IDLE - 2 {
            assert_eq!(process.windows(), 0);
            held_back = pauses(&process);
        }
    }
    // Each of ten seconds, and closed two seconds after that.
    assert_eq!(process.windows(), 19);
    assert!(0 < held_back);
    assert_eq!(pauses(&process), held_back, "how far it is holds nobody back any more");
}

#[test]
fn a_start_is_no_reason_to_wait_for_longer() {
    let mut process = Process::new();
    process.pair(1, 0);
    assert_eq!(requests(&mut process, 1, 50), None);
    process.store(50);
    process.start(55);
    assert_eq!(requests(&mut process, 55, 200), Some(WITHIN - 1 + IDLE));
    process.store(200);
    process.start(210);
    // Of silence a process that has just started knows nothing.
    assert_eq!(requests(&mut process, 210, 400), Some(210 + IDLE));
    process.store(400);
    // A clock that was set back.
    process.pair(1, 400);
    process.store(400);
    process.start(10);
    assert_eq!(requests(&mut process, 11, 200), Some(10 + WITHIN - 1 + IDLE));
}
