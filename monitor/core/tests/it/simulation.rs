//! The edge in miniature: threads that read partitions become steps, and every order of them can be
//! played.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use driftd_catalog::{ModelId, PartitionId, Timestamp};
use driftd_core::PartitionState;
use driftd_core::config::Config;
use driftd_core::event::{Effect, Event};
use driftd_core::loss::{Accepted, Bounds, Loss, Mark};
use driftd_core::output::{Collected, OutputMessage, OutputTopic, SOURCE_HEADER};
use driftd_core::partial::Partial;
use driftd_core::pipeline::Pipeline;
use driftd_core::result::WindowResult;
use driftd_core::shard::{Output, Shard};
use driftd_core::snapshot::Snapshot;
use driftd_core::state::{
    Dropped, Opening, Position, Row, Standing, Store, StoreId, restore_accepting, stored_positions,
};
pub(crate) use driftd_fixtures::trials::cases;
use proptest::prelude::*;

use crate::faulty::{Fault, FaultyStore};
use crate::growth::produce;
use crate::log::{Record, START, decode, message_end};
use crate::model;
use crate::moments::{Happening, Moment};
use crate::tally::Reached;

/// Something that a thread of the edge does next.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Which partition it is about; wraps around.
    pub(crate) partition: usize,
    /// Messages that are decoded as one batch.
    pub(crate) messages: usize,
    /// The shard that takes the partition over before; wraps around. Absent: it stays.
    pub(crate) moves_to: Option<usize>,
    /// Partials sent before that are sent again.
    pub(crate) echoes: usize,
    pub(crate) is_ticking: bool,
    pub(crate) is_flushing: bool,
}

/// Draws what happens, and in which order: a few steps mostly, that read a few messages each.
pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let few = prop::collection::vec(step(), 1..12);
    prop_oneof![4 => few, 1 => prop::collection::vec(step(), 12..40)]
}

fn step() -> impl Strategy<Value = Step> {
    let moves_to = prop::option::weighted(0.2, 0..4_usize);
    let messages = prop_oneof![3 => 1..10_usize, 1 => 10..40_usize];
    (0..8_usize, messages, moves_to, 0..4_usize, any::<bool>(), 0..6_u8).prop_map(
        |(partition, messages, moves_to, echoes, is_ticking, flush)| Step {
            partition,
            messages,
            moves_to,
            echoes,
            is_ticking,
            is_flushing: flush == 0,
        },
    )
}

/// A topic that is being read.
pub(crate) struct Simulation {
    pub(crate) config: Arc<Config>,
    pub(crate) now: Timestamp,
    pub(crate) effects: Vec<Effect>,
    logs: Vec<Vec<Record>>,
    /// Where each log begins: what lay before is deleted.
    starts: Vec<i64>,
    read: Vec<usize>,
    /// How far each log was ever read, whatever became of it.
    furthest: Vec<i64>,
    owners: Vec<usize>,
    shards: Vec<Shard>,
    paused: BTreeSet<PartitionId>,
    pipeline: Pipeline,
    sent: Vec<Partial>,
    /// What would survive the end of the process; unused without [`Simulation::durable`].
    store: FaultyStore,
    /// Effects that each stored batch stands for, with those before it.
    stored_effects: Vec<usize>,
    stores_made: u64,
    /// Stored messages that are not sent; `None` before anything may be sent.
    sending: Option<VecDeque<(u64, OutputMessage)>>,
    /// What the topics hold, and the number committed with it.
    pub(crate) published: Vec<OutputMessage>,
    position: Option<Position>,
    /// Answers about what is sent that are on their way.
    unheard: Vec<Event>,
    /// When the process stores or ends next, amid what it does.
    moment: Option<Moment>,
    /// It has ended: nothing happens any more before the next one starts.
    has_ended: bool,
    /// What was reached so far.
    reached: Reached,
}

/// Names a partition of the simulated topic.
pub(crate) fn partition(index: usize) -> PartitionId {
    PartitionId { topic: "logs".into(), partition: i32::try_from(index).unwrap() }
}

impl Simulation {
    /// Assigns every partition to the first shard.
    pub(crate) fn new(config: &Arc<Config>, logs: &[Vec<Record>], shards: usize) -> Self {
        let now = START;
        let mut simulation = Self {
            config: Arc::clone(config),
            now,
            effects: Vec::new(),
            logs: logs.to_vec(),
            starts: vec![0; logs.len()],
            read: vec![0; logs.len()],
            furthest: vec![0; logs.len()],
            owners: vec![0; logs.len()],
            shards: (0..shards).map(|_| Shard::new(Arc::clone(config))).collect(),
            paused: BTreeSet::new(),
            pipeline: Pipeline::new(Arc::clone(config)),
            sent: Vec::new(),
            store: FaultyStore::default(),
            stored_effects: Vec::new(),
            stores_made: 0,
            sending: None,
            published: Vec::new(),
            position: None,
            unheard: Vec::new(),
            moment: None,
            has_ended: false,
            reached: Reached::default(),
        };
        let partitions: Vec<PartitionId> = (0..logs.len()).map(partition).collect();
        for id in &partitions {
            simulation.shards[0].assign(PartitionState::new(id.clone(), 0, now));
        }
        simulation.handle(Event::TopicPartitions { source: 0, partitions: partitions.clone() });
        simulation.handle(Event::Assigned { source: 0, partitions });
        simulation
    }

    /// Like [`Simulation::new`], with an empty store.
    pub(crate) fn durable(config: &Arc<Config>, logs: &[Vec<Record>], shards: usize) -> Self {
        let mut simulation = Self::new(config, logs, shards);
        simulation.crash();
        simulation
    }

    /// Has the shards tell what they hold.
    pub(crate) fn checkpoint(&mut self) {
        let mut outputs = Vec::new();
        self.shards.iter_mut().for_each(|shard| shard.checkpoint(&mut outputs));
        outputs.into_iter().map(Event::from).for_each(|event| self.handle(event));
    }

    /// Does something, perhaps with a moment at which the process stores or ends amid it. One that
    /// has ended is started again.
    pub(crate) fn turn(&mut self, moment: Option<Moment>, deed: impl FnOnce(&mut Self)) {
        self.moment = moment.or(self.moment.take());
        deed(self);
        if self.has_ended {
            self.crash();
        }
    }

    /// Comes between two things that the process does.
    fn pass_place(&mut self) {
        let Some(happening) = Moment::pass(&mut self.moment) else { return };
        match happening {
            Happening::Stores => {
                self.reached.note("stores amid a step");
                self.commit();
            }
            Happening::StoresAndEnds => {
                self.reached.note("stores and ends amid a step");
                self.commit();
                self.has_ended = true;
            }
            Happening::StoresSendsAndEnds(count) => {
                self.commit();
                self.send(count);
                self.has_ended = true;
            }
            Happening::Ends => {
                self.reached.note("ends amid a step");
                self.has_ended = true;
            }
        }
    }

    /// Stores what changed; its messages may be sent from then on. A process that cannot store
    /// ends.
    pub(crate) fn commit(&mut self) {
        if self.has_ended {
            return;
        }
        let effects = self.effects.len();
        match self.store.commit(self.pipeline.take_changes()) {
            Ok(()) => {
                self.stored_effects.push(effects);
                let outputs = self.pipeline.take_outputs();
                self.sending.get_or_insert_default().extend(outputs);
            }
            Err(Fault::NoSpace) => self.crash(),
            Err(Fault::NotSynced) => {
                self.stored_effects.push(effects);
                self.crash();
            }
        }
    }

    /// Lets the next batch fail.
    pub(crate) fn fail_to_store(&mut self, fault: Fault) {
        if self.has_ended {
            return;
        }
        self.store.fault = Some(fault);
        self.commit();
    }

    /// Sends up to `count` stored messages, and commits up to where, in one transaction.
    pub(crate) fn send(&mut self, count: usize) -> Vec<Event> {
        let sending = self.sending.as_mut().filter(|_| !self.has_ended);
        let Some(sending) = sending else { return Vec::new() };
        let store = self.pipeline.outbox().unwrap().store;
        let own = self.position.filter(|it| it.store == store);
        let mut position = Position { store, next: own.map_or(0, |it| it.next) };
        let mut answers = Vec::new();
        for (number, message) in sending.drain(..count.min(sending.len())) {
            position.next = number + 1;
            if message.topic == OutputTopic::Retraining {
                answers.push(Event::RetrainDelivered { id: message.id.clone(), stored: true });
            }
            self.published.push(message);
        }
        self.position = Some(position);
        answers.push(Event::OutputsSent { to: position.next });
        answers
    }

    /// Sends, and hears that it is sent.
    pub(crate) fn send_and_hear(&mut self, count: usize) {
        self.send_and_hear_later(count);
        for answer in std::mem::take(&mut self.unheard) {
            self.handle(answer);
        }
    }

    /// Sends, and hears of it with the next answer.
    pub(crate) fn send_and_hear_later(&mut self, count: usize) {
        let answers = self.send(count);
        self.unheard.extend(answers);
    }

    /// Takes back the newest batches, as the loss of power does that were not synced.
    pub(crate) fn lose_batches(&mut self, count: usize) {
        self.store.lose(count);
        self.stored_effects.truncate(self.stored_effects.len().saturating_sub(count));
    }

    /// Loses everything that was stored.
    pub(crate) fn lose_store(&mut self) {
        self.store = FaultyStore::default();
        self.stored_effects.clear();
    }

    /// Returns where the outbox stands.
    pub(crate) fn standing(&self) -> Standing {
        self.pipeline.outbox().unwrap()
    }

    /// Returns whether the next process would have to look at what the topics hold.
    pub(crate) fn needs_published(&self) -> bool {
        self.standing().needs_published(self.position)
    }

    /// Looks at what the topics hold, where that is needed, and begins to send.
    fn open_outbox(&mut self) {
        let is_read = self.needs_published() && !self.published.is_empty();
        self.reached.note_if(is_read, "topics that are read back");
        let published = self.needs_published().then(|| {
            let mut collected = Collected::default();
            for message in &self.published {
                let mut headers = message.headers.iter();
                let writer = headers.find(|(name, _)| name == SOURCE_HEADER);
                let writer = writer.map(|(_, value)| value.as_str());
                collected.take("/driftd/sim", message.topic, writer, &message.payload);
            }
            collected.published()
        });
        self.handle(Event::OutboxOpened(Opening { position: self.position, published }));
    }

    /// Returns what would survive the end of the process.
    pub(crate) fn stored(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.store.content().0
    }

    /// Ends the process, and starts another one from the store.
    ///
    /// That one may end before it has started.
    pub(crate) fn crash(&mut self) {
        loop {
            self.has_ended = false;
            let dropped = self.restart();
            assert_eq!(dropped, []);
            if !self.has_ended {
                return;
            }
            self.reached.note("ends amid a start");
        }
    }

    /// Ends the process, and starts another one from the store with another configuration; returns
    /// what it leaves behind.
    pub(crate) fn reconfigure(&mut self, config: &Arc<Config>) -> Vec<Dropped> {
        self.config = Arc::clone(config);
        self.restart()
    }

    /// Replaces a log, which begins at this offset from now on.
    pub(crate) fn replace(&mut self, index: usize, start: i64, log: Vec<Record>) {
        self.logs[index] = log;
        self.starts[index] = start;
    }

    /// Returns where the stored state of a partition goes on.
    pub(crate) fn stored_position(&self, index: usize) -> Option<i64> {
        let mut stored = stored_positions(&self.store.rows().unwrap()).unwrap();
        stored.remove(&partition(index)).map(|it| it.next_offset)
    }

    /// Returns how far a partition was read by any process, whether or not that was stored.
    pub(crate) fn furthest(&self, index: usize) -> i64 {
        self.furthest[index]
    }

    /// Begins to read a partition at an offset, of which nothing was read yet.
    pub(crate) fn begin_at(&mut self, index: usize, offset: i64) {
        let shard = &mut self.shards[self.owners[index]];
        shard.release(&partition(index)).unwrap();
        let state = PartitionState::new(partition(index), 0, self.now);
        shard.assign(state.starting_at(offset));
        self.read[index] = self.logs[index].partition_point(|record| record.offset < offset);
    }

    /// Takes what the newest record of a partition is known by that was read.
    pub(crate) fn mark(&mut self, index: usize, mark: Mark) {
        self.shards[self.owners[index]].set_mark(&partition(index), Some(mark));
    }

    /// Returns where the stored state of a partition goes on, and after which record.
    pub(crate) fn stored_mark(&self, index: usize) -> Option<Mark> {
        stored_positions(&self.store.rows().unwrap()).unwrap().remove(&partition(index))?.mark
    }

    /// Accepts every loss, as an option does that every start is given.
    fn accepted(&self, rows: &[Row]) -> Vec<Accepted> {
        let positions = stored_positions(rows).unwrap();
        let lost = (0..self.logs.len()).filter_map(|index| {
            let start = self.starts[index];
            let bounds = Bounds { start, end: self.high_watermark(index).max(start) };
            let stored = positions.get(&partition(index))?;
            let loss = Loss::of(stored.next_offset, bounds)?;
            Some(Accepted { partition: partition(index), loss, start, at: self.now })
        });
        lost.collect()
    }

    fn restart(&mut self) -> Vec<Dropped> {
        let stored = self.stored_effects.last().copied().unwrap_or(0);
        let has_ended = |effects: &[Effect]| !windows(effects).is_empty();
        self.reached.note_if(has_ended(&self.effects[..stored]), "ends with stored windows");
        self.reached.note_if(has_ended(&self.effects[stored..]), "ends with forgotten windows");
        self.effects.truncate(stored);
        self.stores_made += 1;
        let fresh = StoreId(self.stores_made);
        let find = |_: usize, id: &ModelId| model::reference(&self.config, id);
        let rows = self.store.rows().unwrap();
        let accepted = self.accepted(&rows);
        let begin = (fresh, &*accepted);
        let restored = restore_accepting(&self.config, rows, &find, begin, self.now).unwrap();
        self.pipeline = restored.pipeline;
        self.sending = None;
        self.open_outbox();
        self.sent.clear();
        self.unheard.clear();
        self.paused.clear();
        self.shards = self.shards.iter().map(|_| Shard::new(Arc::clone(&self.config))).collect();
        self.owners.fill(0);
        let partitions: Vec<PartitionId> = (0..self.logs.len()).map(partition).collect();
        self.handle(Event::TopicPartitions { source: 0, partitions: partitions.clone() });
        self.handle(Event::Assigned { source: 0, partitions });
        let mut states: BTreeMap<PartitionId, PartitionState> =
            restored.partitions.into_iter().map(|state| (state.id().clone(), state)).collect();
        for index in 0..self.logs.len() {
            let id = partition(index);
            let fresh = || PartitionState::new(id.clone(), 0, self.now);
            let state = states.remove(&id).unwrap_or_else(fresh);
            let from = state.next_offset().unwrap_or(i64::MIN);
            self.read[index] = self.logs[index].partition_point(|record| record.offset < from);
            self.shards[0].assign(state);
            let mut outputs = Vec::new();
            self.shards[0].report_progress(&id, &mut outputs);
            self.deliver(outputs);
        }
        restored.dropped
    }

    /// Plays the steps, then reads what is left and ends the input.
    pub(crate) fn play(mut self, steps: &[Step]) -> Outcome {
        self.moment = None;
        for step in steps {
            self.step(step);
        }
        while self.has_unread() {
            let before = self.read.clone();
            for index in 0..self.logs.len() {
                self.read(index, 25);
            }
            self.tick(1);
            assert_ne!(before, self.read, "every partition with records is paused");
        }
        self.end()
    }

    /// Ends the input, as a replay of files does.
    pub(crate) fn end(mut self) -> Outcome {
        self.reached.note_if(!self.windows().is_empty(), "windows before the end");
        for index in 0..self.logs.len() {
            self.flush(index);
        }
        self.handle(Event::InputEnded);
        self.tick(1);
        if self.pipeline.outbox().is_some() {
            self.commit();
            self.send_and_hear(usize::MAX);
        }
        let snapshot = self.pipeline.snapshot(self.now);
        let mut reached = self.reached;
        for effect in &self.effects {
            reached.note_if(matches!(effect, Effect::Episode(_)), "episodes");
            reached.note_if(matches!(effect, Effect::Retrain(_)), "retraining events");
        }
        Outcome { effects: self.effects, snapshot, published: self.published, reached }
    }

    pub(crate) fn step(&mut self, step: &Step) {
        let index = step.partition % self.logs.len();
        if let Some(to) = step.moves_to {
            self.hand_over(index, to % self.shards.len());
        }
        self.read(index, step.messages);
        self.echo(step.echoes, step.messages);
        if step.is_flushing {
            self.flush(index);
        }
        if step.is_ticking {
            self.tick(1);
        }
    }

    /// Adds records to the partitions that there are, and partitions to the topic.
    pub(crate) fn grow(&mut self, more: &[Vec<Record>]) {
        let known = self.logs.len();
        self.logs.resize_with(more.len(), Vec::new);
        for (log, more) in self.logs.iter_mut().zip(more) {
            produce(log, more);
        }
        self.starts.resize(more.len(), 0);
        self.read.resize(more.len(), 0);
        self.furthest.resize(more.len(), 0);
        self.owners.resize(more.len(), 0);
        let all: Vec<PartitionId> = (0..more.len()).map(partition).collect();
        let new = all[known..].to_vec();
        for id in &new {
            self.shards[0].assign(PartitionState::new(id.clone(), 0, self.now));
        }
        self.handle(Event::TopicPartitions { source: 0, partitions: all });
        self.handle(Event::Assigned { source: 0, partitions: new });
        self.reached.note("more partitions");
    }

    fn hand_over(&mut self, index: usize, to: usize) {
        let from = std::mem::replace(&mut self.owners[index], to);
        let state = self.shards[from].release(&partition(index)).unwrap();
        self.handle(Event::Revoked { source: 0, partitions: vec![partition(index)] });
        self.shards[to].assign(state);
        self.paused.remove(&partition(index));
        self.handle(Event::Assigned { source: 0, partitions: vec![partition(index)] });
    }

    /// Reads up to `messages` records, and the rest of the last one's message, as one batch, unless
    /// the partition is paused or read.
    pub(crate) fn read(&mut self, index: usize, messages: usize) {
        let log = &self.logs[index];
        let from = self.read[index];
        let to = message_end(log, log.len().min(from + messages));
        if from == to || self.paused.contains(&partition(index)) {
            return;
        }
        let decoded = decode(&self.config, &log[from..to]);
        let high_watermark = self.high_watermark(index);
        self.read[index] = to;
        self.furthest[index] = self.furthest[index].max(log[to - 1].offset + 1);
        let shard = &mut self.shards[self.owners[index]];
        let placed = shard.place(&partition(index), &decoded);
        for missing in shard.missing_references(&placed) {
            let reference = model::reference(&self.config, &missing.id);
            shard.set_reference(missing, reference);
        }
        let mut outputs = Vec::new();
        shard.update(self.now, &decoded, placed, Some(high_watermark), &mut outputs);
        self.deliver(outputs);
    }

    /// Returns the next offset of the partition's producer.
    pub(crate) fn high_watermark(&self, index: usize) -> i64 {
        self.logs[index].last().map_or(0, |record| record.offset + 1)
    }

    /// Adds records at the end of a partition, after those that are there.
    pub(crate) fn produce(&mut self, index: usize, records: &[Record]) {
        produce(&mut self.logs[index], records);
    }

    /// Asks the partition's shard to report what is open.
    pub(crate) fn flush(&mut self, index: usize) {
        let mut outputs = Vec::new();
        let high_watermark = self.high_watermark(index);
        let shard = &mut self.shards[self.owners[index]];
        shard.flush(&partition(index), Some(high_watermark), &mut outputs);
        self.deliver(outputs);
    }

    /// Lets the partition's shard look for silence, if it is read to its end.
    pub(crate) fn watch_silence(&mut self, index: usize) {
        if self.logs[index].len() <= self.read[index] {
            self.watch_silence_at(index, self.high_watermark(index));
        }
    }

    /// The same of a partition that is read to `end`.
    pub(crate) fn watch_silence_at(&mut self, index: usize, end: i64) {
        let mut outputs = Vec::new();
        let shard = &mut self.shards[self.owners[index]];
        shard.watch_silence(self.now, &partition(index), end, &mut outputs);
        self.deliver(outputs);
    }

    /// Lets wall-clock time pass.
    pub(crate) fn tick(&mut self, millis: i64) {
        self.now = self.now.plus_millis(millis);
        self.handle(Event::Tick);
    }

    /// Returns the picture as it is now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.pipeline.snapshot(self.now)
    }

    /// Returns the windows closed so far.
    pub(crate) fn windows(&self) -> Vec<Arc<WindowResult>> {
        windows(&self.effects)
    }

    fn has_unread(&self) -> bool {
        self.logs.iter().zip(&self.read).any(|(log, read)| *read < log.len())
    }

    /// Sends partials again that were sent before: the broker or a shard repeats itself.
    fn echo(&mut self, count: usize, salt: usize) {
        for nth in 0..count {
            if let Some(index) = (salt * 31 + nth * 17).checked_rem(self.sent.len()) {
                self.handle(Event::Partial(Box::new(self.sent[index].clone())));
            }
        }
    }

    /// Sends every partial again, in the order they were sent.
    pub(crate) fn echo_all(&mut self) {
        for partial in self.sent.clone() {
            self.handle(Event::Partial(Box::new(partial)));
        }
    }

    /// Sends a report, its partials last first: only the progress has a place, after them.
    fn deliver(&mut self, outputs: Vec<Output>) {
        let (partials, progress): (Vec<Output>, Vec<Output>) =
            outputs.into_iter().partition(|output| matches!(output, Output::Partial(_)));
        for output in partials.into_iter().rev().chain(progress) {
            if let Output::Partial(partial) = &output {
                self.sent.push((**partial).clone());
            }
            self.handle(Event::from(output));
        }
    }

    /// Gives the pipeline an event, and obeys its pauses.
    pub(crate) fn handle(&mut self, event: Event) {
        if self.has_ended {
            return;
        }
        let first = self.effects.len();
        self.pipeline.handle(self.now, event, &mut self.effects);
        self.pass_place();
        for at in first..self.effects.len() {
            if self.has_ended {
                return;
            }
            self.carry_out(at);
            self.pass_place();
        }
    }

    fn carry_out(&mut self, at: usize) {
        if let Effect::Pause(id) = &self.effects[at] {
            assert!(self.paused.insert(id.clone()), "{id} is paused twice");
        } else if let Effect::Resume(id) = &self.effects[at] {
            assert!(self.paused.remove(id), "{id} is resumed without a pause");
        }
    }
}

/// What a run did.
pub(crate) struct Outcome {
    pub(crate) effects: Vec<Effect>,
    pub(crate) snapshot: Snapshot,
    /// What the topics hold.
    pub(crate) published: Vec<OutputMessage>,
    pub(crate) reached: Reached,
}

impl Outcome {
    /// Returns the closed windows in the order of closing.
    pub(crate) fn windows(&self) -> Vec<Arc<WindowResult>> {
        windows(&self.effects)
    }
}

fn windows(effects: &[Effect]) -> Vec<Arc<WindowResult>> {
    let closed = effects.iter().filter_map(|effect| {
        if let Effect::Window(result) = effect { Some(Arc::clone(result)) } else { None }
    });
    closed.collect()
}
