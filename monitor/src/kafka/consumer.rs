//! One consumer thread: polls, decodes borrowed payloads and counts, all on the same thread.
//!
//! Before: the brokers. After: [`Event`]s for the pipeline through a bounded channel; rejected
//! messages to the dead-letter topic. Offsets are driftd's own: the group's are committed for lag
//! tools only. When the pipeline is behind, partitions are paused and polling goes on, so that the
//! group never expels the member.

mod handover;
mod losses;
mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use std::{mem, thread};

use driftd_catalog::label::MemoryOwner;
use driftd_catalog::{PartitionId, Timestamp};
use driftd_core::PartitionState;
use driftd_core::config::{Config, KafkaConfig};
use driftd_core::event::Event;
use driftd_core::fields::FieldChange;
use driftd_core::shard::{Output, Shard};
use driftd_core::state::PartitionSaver;
use driftd_ingest::SchemaId;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use tracing::{debug, error, info, info_span, warn};

use crate::accept::Decisions;
use crate::clock;
use crate::commands::{Command, CommandReceiver};
use crate::failpoint;
use crate::http::{Health, Heartbeat, Place};
use crate::kafka::ConnectError;
use crate::kafka::abandoned;
use crate::kafka::batch::{self, OpenBatch};
use crate::kafka::client_log::log_error;
use crate::kafka::error_kind::{OFFSET_OUT_OF_RANGE, TRANSACTION, error_kind};
use crate::kafka::membership;
use crate::kafka::pauses::Pauses;
use crate::kafka::producer::Producer;
use crate::kafka::rebalance::{Assignments, BeginCell, Change, Parked};
use crate::kafka::replaced::{end_if_replaced, look_before_return};
use crate::kafka::sharing::Sharing;
use crate::kafka::stalls::Stalls;
use crate::kafka::transactions::TransactionError;
use crate::kafka::watch::{End, Ends};
use crate::memory::held::Holder;
use crate::outbox::{EventSender, Outbox};
use crate::references::References;
use crate::registry::Writers;

use self::reading::Room;

/// Messages polled before everything else has its turn.
const POLL_MESSAGES_MAX: usize = batch::MESSAGES_MAX;
/// How long a poll waits for a message.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);
/// Least time between two lines about the fields of one partition.
const TELL_MILLIS: i64 = 10_000;
/// How often silence is looked for.
const SILENCE_INTERVAL_MILLIS: i64 = 1_000;
/// How often positions are committed to the group.
const COMMIT_INTERVAL_MILLIS: i64 = 5_000;
/// Wait before the client is used again after it was made anew.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// An end of a partition older than this says nothing about silence.
const END_AGE_MAX_MILLIS: i64 = 10_000;
/// An end behind what was read has to stand for this long: a record there would have come.
const END_STANDS_MILLIS: i64 = 2_000;

/// Everything one consumer thread needs.
pub struct ConsumerParts {
    /// The configuration.
    pub config: Arc<Config>,
    /// Index into [`Config::sources`].
    pub source: usize,
    /// Where reference profiles are.
    pub references: Arc<References>,
    /// Where schemas of messages are, where those have some.
    pub writers: Option<Arc<Writers>>,
    /// Whose losses are accepted, where several processes share the work.
    pub(crate) decisions: Arc<Decisions>,
    /// Partitions that moved between threads, or that an earlier run has read.
    pub parked: Parked,
    /// Number of the thread among those of its source.
    pub index: u32,
    /// Name of this process, unlike any other in the group.
    pub member: Arc<str>,
    /// Where a partition begins that no run has read.
    pub begin: BeginCell,
    /// Ends of partitions.
    pub ends: Ends,
    /// To the pipeline.
    pub events: EventSender,
    /// From the pipeline; hanging up ends the thread.
    pub commands: CommandReceiver,
    /// Sends dead letters.
    pub producer: Arc<Producer>,
    /// Says that the thread still polls.
    pub heartbeat: Heartbeat,
    /// Hears of a topic that can no longer be read.
    pub health: Arc<Health>,
    /// Nothing is tried again once it is set.
    pub stopping: Arc<AtomicBool>,
}

/// A consumer of one source topic.
pub struct SourceConsumer {
    kafka: KafkaConfig,
    parts: ConsumerParts,
    /// Present where other processes decide.
    sharing: Option<Sharing>,
    client: BaseConsumer<Assignments>,
    /// The client is one that everything was dropped for, because no other could be made.
    is_stale: bool,
    /// Owned, and not read.
    stalls: Stalls,
    /// Of those the ones that were read before.
    later: BTreeSet<PartitionId>,
    /// Of those the ones that wait for a schema.
    waiting: BTreeMap<i32, SchemaId>,
    shard: Shard,
    decoders: BTreeMap<PartitionId, OpenBatch>,
    /// Batches that are decoded.
    batches: Holder,
    /// Requests and responses that wait for their other half.
    joins: Holder,
    outbox: Outbox,
    outputs: Vec<Output>,
    /// Paused because they ran ahead of the others.
    held: BTreeSet<PartitionId>,
    /// Read no more: records are lost.
    stalled: BTreeSet<PartitionId>,
    /// An offset is out of range.
    is_looking: bool,
    is_throttled: bool,
    /// What follows of the three for the client.
    pauses: Pauses,
    looked_at: Timestamp,
    /// When it was last logged which fields records of a partition are without.
    fields_told: BTreeMap<PartitionId, Timestamp>,
    committed_at: Timestamp,
}

impl SourceConsumer {
    /// Makes a client that reads nothing yet.
    pub fn connect(kafka: &KafkaConfig, parts: ConsumerParts) -> Result<Self, ConnectError> {
        Ok(Self {
            client: membership::client(kafka, &parts)?,
            sharing: membership::sharing(kafka, &parts),
            kafka: kafka.clone(),
            is_stale: false,
            stalls: Stalls::new(
                Arc::clone(&parts.config.sources[parts.source].topic),
                parts.index,
                Arc::clone(&parts.health),
            ),
            later: BTreeSet::new(),
            waiting: BTreeMap::new(),
            shard: Shard::new(Arc::clone(&parts.config)).following(),
            outbox: Outbox::new(parts.events.clone()),
            parts,
            decoders: BTreeMap::new(),
            batches: Holder::new(MemoryOwner::Batches),
            joins: Holder::new(MemoryOwner::Joins),
            outputs: Vec::new(),
            held: BTreeSet::new(),
            stalled: BTreeSet::new(),
            is_looking: false,
            is_throttled: false,
            pauses: Pauses::default(),
            looked_at: Timestamp::MIN,
            fields_told: BTreeMap::new(),
            committed_at: Timestamp::MIN,
        })
    }

    /// Reads until the pipeline hangs up.
    pub fn run(mut self) {
        if !self.subscribe() {
            return;
        }
        while self.obey() {
            self.parts.heartbeat.beat(clock::instant());
            if let Err(error) = self.go_on() {
                self.begin_anew(&error);
            }
        }
        let partitions: Vec<PartitionId> = self.decoders.keys().cloned().collect();
        for partition in partitions {
            self.count(clock::now(), &partition);
        }
        self.checkpoint();
        self.committed_at = Timestamp::MIN;
        self.commit_positions(clock::now());
        if self.client.assignment_lost() {
            warn!(topic = %self.topic(), "the group has moved on: the end is read again");
        } else if let Err(error) = self.commit_shared(clock::now()) {
            warn!(error = format!("{:#}", anyhow::Error::from(error)), "the end is read again");
        }
        self.drain();
        debug!(topic = %self.parts.config.sources[self.parts.source].topic, "consumer thread ends");
        let Self { client, parts, .. } = self;
        abandoned::close(client, || parts.heartbeat.beat(clock::instant()));
    }

    /// Does what is due, once.
    fn go_on(&mut self) -> Result<(), SharingError> {
        let now = clock::now();
        if self.is_stale {
            self.renew();
            thread::park_timeout(RESTART_PAUSE);
            return Ok(());
        }
        if let Some(sharing) = &mut self.sharing {
            let heartbeat = &self.parts.heartbeat;
            sharing.open(&self.kafka, &|| heartbeat.beat(clock::instant()))?;
        }
        // Before a partition comes back that was let go of.
        self.set_pauses();
        if let Some(due) = self.stalls.due(now).and_then(|due| self.with_schemas(now, due)) {
            self.client.context().retry(&self.client, &due);
        }
        self.poll(now);
        // Once for all that were let go of together.
        if mem::take(&mut self.is_looking) {
            self.look_for_losses(clock::now());
        }
        self.follow_assignments();
        self.look_for_other_logs();
        self.count_due(now);
        self.watch_silence(now);
        self.share(now)?;
        self.commit_positions(now);
        self.throttle();
        Ok(())
    }

    /// Passes on what other processes decide about. What is aborted is sent again next time: the
    /// group may have given partitions to others meanwhile, which the next poll tells.
    fn share(&mut self, now: Timestamp) -> Result<(), SharingError> {
        let unsaved_bytes = self.shard.unsaved_bytes();
        let is_due = self.sharing.as_ref().is_some_and(|it| it.is_due(now, unsaved_bytes));
        if self.is_throttled || !is_due {
            return Ok(());
        }
        self.checkpoint();
        match self.commit_shared(now) {
            Err(SharingError::Commit(TransactionError::Aborted { step, source })) => {
                warn!(topic = %self.topic(), step, error = %source, "transaction aborted");
                Ok(())
            }
            // Nothing of a partition may be left out: it is not passed before all of it is.
            Err(SharingError::Commit(TransactionError::Refused(refusal))) => {
                let partition = refusal.origin.owner;
                let id = PartitionId { topic: Arc::clone(self.topic()), partition };
                self.let_go(now, &id, refusal);
                Ok(())
            }
            committed => committed,
        }
    }

    fn commit_shared(&mut self, now: Timestamp) -> Result<(), SharingError> {
        let Some(sharing) = &mut self.sharing else { return Ok(()) };
        let first = self.client.context().first();
        let standings = membership::standings(&self.shard, &self.parts, first);
        let Some(member) = self.client.group_metadata().filter(|_| !standings.is_empty()) else {
            return Ok(());
        };
        let heartbeat = &self.parts.heartbeat;
        sharing.commit(now, &standings, member, &|| heartbeat.beat(clock::instant()))?;
        Ok(())
    }

    /// Drops everything that is not stored, and joins the group as a new member: the one way back
    /// from whatever has gone wrong with a transaction.
    fn begin_anew(&mut self, error: &SharingError) {
        error!(topic = %self.topic(), %error, source = ?error, "reading begins anew from what is stored");
        let SharingError::Commit(transaction) = error;
        let beat = || self.parts.heartbeat.beat(clock::instant());
        look_before_return(&self.client, &self.kafka, transaction, &beat);
        let kind = TRANSACTION;
        self.outbox.push(Event::ClientError { source: self.parts.source, kind });
        let partitions: Vec<PartitionId> = mem::take(&mut self.decoders).into_keys().collect();
        for partition in &partitions {
            self.shard.release(partition);
            self.stalled.remove(partition);
        }
        self.held.clear();
        // What was let go of, too: it is this process's no more.
        let mut partitions: BTreeSet<PartitionId> = partitions.into_iter().collect();
        for partition in self.stalls.clear() {
            partitions.insert(PartitionId { topic: Arc::clone(self.topic()), partition });
        }
        let partitions = partitions.into_iter().collect();
        self.waiting.clear();
        self.later.clear();
        self.outbox.push(Event::Revoked { source: self.parts.source, partitions });
        self.drain();
        self.sharing = membership::sharing(&self.kafka, &self.parts);
        self.is_stale = true;
        self.renew();
        // The cluster needs a moment, whatever it is. Not a poll: it could assign a partition, and
        // the next one would return a record of it before it is taken over.
        thread::park_timeout(RESTART_PAUSE);
    }

    /// Makes the client anew. Without one nothing is read: what the old one still had would be
    /// dropped.
    fn renew(&mut self) {
        let error = match membership::client(&self.kafka, &self.parts) {
            Ok(client) => {
                let beat = || self.parts.heartbeat.beat(clock::instant());
                abandoned::close(mem::replace(&mut self.client, client), beat);
                self.pauses = Pauses::default();
                abandoned::end_if_too_many();
                self.is_stale = false;
                self.parts.health.goes_on(&self.place());
                self.subscribe();
                return;
            }
            Err(error) => format!("{:#}", anyhow::Error::from(error)),
        };
        error!(topic = %self.topic(), error, "the Kafka client cannot be made again");
        self.parts.health.stalled(self.place(), error);
    }

    fn place(&self) -> (Place, u32) {
        let place = Place { topic: Arc::clone(self.topic()), partition: None };
        (place, self.parts.index)
    }

    /// Waits until it is known where to begin, and subscribes; `false` when the pipeline hung up.
    fn subscribe(&mut self) -> bool {
        while self.parts.begin.get().is_none() {
            self.parts.heartbeat.beat(clock::instant());
            if !self.obey() {
                return false;
            }
            thread::park_timeout(POLL_TIMEOUT);
        }
        if let Err(error) = self.client.subscribe(&[&**self.topic()]) {
            error!(topic = %self.topic(), %error, "the topic cannot be subscribed to");
            self.parts.health.stalled(self.place(), "it cannot be subscribed to".to_owned());
        }
        true
    }

    fn topic(&self) -> &Arc<str> {
        &self.parts.config.sources[self.parts.source].topic
    }

    /// Carries out what the pipeline asks; `false` when it has hung up.
    fn obey(&mut self) -> bool {
        let (commands, goes_on) = self.parts.commands.take();
        for command in commands {
            match command {
                Command::Flush(partition) => self.flush(&partition),
                Command::Pause(partition) => {
                    if self.decoders.contains_key(&partition) {
                        self.held.insert(partition);
                    }
                }
                Command::Resume(partition) => {
                    self.held.remove(&partition);
                }
                Command::Checkpoint => self.checkpoint(),
            }
        }
        goes_on
    }

    fn poll(&mut self, now: Timestamp) {
        let mut timeout = POLL_TIMEOUT;
        // A record of a partition that is not taken over yet would be passed over.
        if !self.client.context().changes().is_empty() {
            return;
        }
        for _ in 0..POLL_MESSAGES_MAX {
            match self.client.poll(timeout) {
                None => return,
                Some(Ok(message)) => {
                    let read = reading::decode(&mut self.decoders, &self.parts, now, &message);
                    drop(message);
                    match read {
                        Ok(Room::Left) => {}
                        Ok(Room::None) => return,
                        Err(missing) => return self.wait_for_schema(missing),
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => self.note_end(partition),
                Some(Err(error)) => self.note_error(&error),
            }
            if !self.client.context().changes().is_empty() {
                return;
            }
            timeout = Duration::ZERO;
        }
    }

    fn note_end(&mut self, partition: i32) {
        let id = PartitionId { topic: Arc::clone(self.topic()), partition };
        if let Some(batch) = self.decoders.get_mut(&id) {
            batch.at_end = Some(clock::now());
        }
    }

    fn note_error(&mut self, error: &KafkaError) {
        let kind = error_kind(error);
        log_error(error, self.topic());
        end_if_replaced(&self.client, &self.kafka);
        self.outbox.push(Event::ClientError { source: self.parts.source, kind });
        if kind == OFFSET_OUT_OF_RANGE {
            self.is_looking = true;
        }
    }

    fn follow_assignments(&mut self) {
        // What was tried may have taken long.
        let now = clock::now();
        for change in self.client.context().changes().take() {
            match change {
                Change::Assigned(assigned) => self.take_over(now, assigned),
                Change::Revoked(partitions) => self.hand_over(now, &partitions),
                Change::Stalled(stalled) => {
                    for (id, error) in stalled {
                        let outlook = error.outlook();
                        self.stalls.stand(now, id.partition, error, outlook);
                    }
                }
            }
        }
    }

    fn take_over(
        &mut self,
        now: Timestamp,
        assigned: Vec<(PartitionState, Option<PartitionSaver>)>,
    ) {
        let partitions: Vec<PartitionId> =
            assigned.iter().map(|(state, _)| state.id().clone()).collect();
        info!(topic = %self.topic(), ?partitions, "partitions assigned");
        for id in &partitions {
            self.stalls.go_on(now, id.partition);
            self.later.remove(id);
        }
        self.parts.health.goes_on(&self.place());
        for (state, saver) in assigned {
            let source = &self.parts.config.sources[self.parts.source];
            let mut batch = OpenBatch::new(source, state.next_offset(), state.halves(), now);
            batch.compare(state.mark());
            self.decoders.insert(state.id().clone(), batch);
            if let (Some(sharing), Some(saver)) = (&mut self.sharing, saver) {
                sharing.assign(state.id().clone(), saver, state.next_offset().is_some());
            }
            self.shard.assign(state);
        }
        for partition in &partitions {
            self.shard.report_progress(partition, &mut self.outputs);
        }
        self.outbox.push(Event::Assigned { source: self.parts.source, partitions });
        self.send_outputs();
    }

    fn count_due(&mut self, now: Timestamp) {
        let due: Vec<PartitionId> = self
            .decoders
            .iter()
            .filter(|(_, batch)| batch.is_due(now))
            .map(|(partition, _)| partition.clone())
            .collect();
        for partition in due {
            self.count(now, &partition);
        }
    }

    /// Closes the open batch of a partition and counts it.
    fn count(&mut self, now: Timestamp, partition: &PartitionId) {
        let Some(batch) = self.decoders.get_mut(partition) else { return };
        if batch.is_empty() {
            return;
        }
        let (decoded, mark) = (batch.finish(), batch.newest());
        if let Some(news) = batch.take_join_news() {
            self.shard.join(now, partition, news);
        }
        let span = info_span!("count_batch", partition = %partition, messages = decoded.messages);
        let _entered = span.enter();
        if let Some(first) = decoded.rejections.first() {
            warn!(
                %partition,
                rejected = decoded.rejections.len(),
                offset = first.offset,
                reason = first.reason.as_str(),
                detail = %first.detail,
                "records rejected"
            );
        }
        let placed = self.shard.place(partition, &decoded);
        self.parts.references.provide(&mut self.shard, &placed);
        let end = self.parts.ends.of(partition).map(|end| end.offset.max(decoded.to_offset));
        self.shard.update(now, &decoded, placed, end, &mut self.outputs);
        self.shard.set_mark(partition, mark);
        self.tell_fields(now, partition);
        if let Some(end) = self.reached_end(now, partition, decoded.to_offset) {
            self.shard.reach_end(now, partition, end, &mut self.outputs);
        }
        self.send_outputs();
    }

    /// Logs which fields the records of a partition have come to be without. Records with and
    /// without a field may take turns.
    fn tell_fields(&mut self, now: Timestamp, partition: &PartitionId) {
        if self.fields_told.get(partition).is_some_and(|it| now < it.plus_millis(TELL_MILLIS)) {
            return;
        }
        let (changes, over) = self.shard.take_field_news(partition);
        if changes.is_empty() && over.is_empty() {
            return;
        }
        self.fields_told.insert(partition.clone(), now);
        if let Some(FieldChange { path, problem, records, from_offset }) = changes.first() {
            warn!(
                %partition, fields = changes.len(), first = %path, reason = problem.as_str(),
                records, from_offset,
                "no record has a value of some fields any more: the producer's schema has changed"
            );
        }
        if let Some(first) = over.first() {
            let fields = over.len();
            info!(%partition, fields, %first, "records have values of some fields again");
        }
    }

    fn flush(&mut self, partition: &PartitionId) {
        self.count(clock::now(), partition);
        let end = self.parts.ends.of(partition).map(|end| end.offset);
        self.shard.flush(partition, end, &mut self.outputs);
        self.send_outputs();
    }

    /// Tells what every partition holds, behind everything it has reported. A pipeline that is
    /// behind is not given more to do: the next checkpoint holds all the same.
    fn checkpoint(&mut self) {
        if self.is_throttled && self.sharing.is_none() {
            return;
        }
        let partitions: Vec<PartitionId> = self.decoders.keys().cloned().collect();
        for partition in &partitions {
            self.count(clock::now(), partition);
        }
        self.shard.checkpoint(&mut self.outputs);
        failpoint::hit("consumer.checkpoint");
        self.send_outputs();
    }

    fn drain(&mut self) {
        let heartbeat = &self.parts.heartbeat;
        self.outbox.drain(|| heartbeat.beat(clock::instant()));
    }

    fn send_outputs(&mut self) {
        for output in self.outputs.drain(..) {
            let event = match &mut self.sharing {
                Some(sharing) => sharing.take(output),
                None => Some(output.into()),
            };
            if let Some(event) = event {
                self.outbox.push(event);
            }
        }
        self.outbox.offer();
    }

    fn watch_silence(&mut self, now: Timestamp) {
        if now < self.looked_at.plus_millis(SILENCE_INTERVAL_MILLIS) {
            return;
        }
        self.looked_at = now;
        self.batches.set(self.decoders.values().map(OpenBatch::expected_bytes).sum());
        self.joins.set(self.decoders.values().map(OpenBatch::halves_bytes).sum());
        self.resume_read();
        let ends: Vec<(PartitionId, i64)> = self
            .shard
            .positions()
            .filter_map(|(partition, position)| {
                Some((partition.clone(), self.silent_end(now, partition, position)?))
            })
            .collect();
        for (partition, end) in ends {
            self.shard.watch_silence(now, &partition, end, &mut self.outputs);
        }
        self.send_outputs();
    }

    /// Returns the end of a partition that is read to it and may be silent.
    ///
    /// The client's own end-of-partition counts beside the end by offset: past the last record
    /// there may be offsets that hold no record (transaction markers), which a comparison would
    /// wait for without end. But it may be old, and the leader gone since: silence needs a leader
    /// that answered lately.
    fn silent_end(
        &self,
        now: Timestamp,
        partition: &PartitionId,
        position: Option<i64>,
    ) -> Option<i64> {
        let batch = self.decoders.get(partition)?;
        if !batch.is_empty() {
            return None;
        }
        let end = self.recent_end(now, partition)?;
        // An end before the position is an old one, or that of a log that was cut.
        if position.is_some_and(|position| end.offset < position) {
            return None;
        }
        let is_read = position == Some(end.offset);
        // Seen after the end was last known to be another one.
        let is_seen = batch.at_end.is_some_and(|at| end.after.is_none_or(|after| after < at));
        let is_empty_there = is_seen && end.since.plus_millis(END_STANDS_MILLIS) <= now;
        (is_read || is_empty_there).then_some(end.offset)
    }

    /// Returns the end of a partition that is read to it by a batch: also one in which messages
    /// come without end. A message has just come before that, so an end of a while ago that lies
    /// further back is only an old one.
    fn reached_end(&self, now: Timestamp, partition: &PartitionId, position: i64) -> Option<i64> {
        let end = self.recent_end(now, partition)?;
        (end.offset <= position).then_some(position)
    }

    /// Returns the end of a partition that is read, unless what is known of it is old.
    fn recent_end(&self, now: Timestamp, partition: &PartitionId) -> Option<End> {
        let is_held = self.held.contains(partition) || self.stalled.contains(partition);
        if is_held || self.is_throttled {
            return None;
        }
        let end = self.parts.ends.of(partition)?;
        (now <= end.seen_at.plus_millis(END_AGE_MAX_MILLIS)).then_some(end)
    }

    fn commit_positions(&mut self, now: Timestamp) {
        // Shared work moves the group's positions with each transaction.
        if self.sharing.is_some() || now < self.committed_at.plus_millis(COMMIT_INTERVAL_MILLIS) {
            return;
        }
        self.committed_at = now;
        let offsets = membership::positions(&self.shard);
        if 0 < offsets.count()
            && let Err(error) = self.client.commit(&offsets, CommitMode::Async)
        {
            debug!(%error, "positions not committed; they serve lag tools only");
        }
    }

    /// Lets everything stand still while the pipeline is behind.
    fn throttle(&mut self) {
        self.is_throttled = !self.outbox.offer();
    }

    /// Has the client fetch what is to be read now. It would go on to let those stand still that
    /// went and came back.
    fn set_pauses(&mut self) {
        if !self.is_throttled && self.held.is_empty() && self.pauses.is_empty() {
            return;
        }
        let is_read = |it: &&PartitionId| !self.stalled.contains(*it);
        let stands = |it: &&PartitionId| self.is_throttled || self.held.contains(*it);
        let paused = self.decoders.keys().filter(is_read).filter(stands).map(|it| it.partition);
        let paused = paused.collect();
        let topic = &self.parts.config.sources[self.parts.source].topic;
        self.pauses.set(&self.client, topic, paused);
    }

    /// Has the client fetch all that does not stand still, whatever it takes for paused.
    fn resume_read(&self) {
        let read = self.decoders.keys().filter(|it| !self.stalled.contains(*it));
        self.pauses.resume_others(&self.client, self.topic(), read.map(|it| it.partition));
    }
}

/// Why shared work has to begin anew.
#[derive(Debug, thiserror::Error)]
enum SharingError {
    #[error("what is shared cannot be committed")]
    Commit(#[from] TransactionError),
}
