//! What a reader passes on when other processes decide: gathered, and sent in one transaction.
//!
//! Before: the [`Output`]s of a reader's shard. After: counts and barriers in the partials topic,
//! what the partition goes on from in the state topic, and the group's positions, all at once. So
//! a reader that ends anywhere has either passed a stretch of the log on and moved past it, or
//! neither.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use driftd_catalog::label::MemoryOwner;
use driftd_catalog::{PartitionId, Timestamp};
use driftd_core::PartitionState;
use driftd_core::config::{Config, KafkaConfig, ScaleOutConfig};
use driftd_core::event::Event;
use driftd_core::loss::Accepted;
use driftd_core::shard::{Output, Progress};
use driftd_core::state::{
    Addressed, Batch, Dropped, Find, LaneId, LaneWriter, PartitionSaver, RestoreError, Restored,
    Row, Stored, restore_lane, restore_partition, stored_position,
};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use tracing::warn;

use crate::accept::{AcceptError, Decisions};
use crate::clock;
use crate::http::Heartbeat;
use crate::kafka::committed::{self, RowsGone, Standing};
use crate::kafka::stalls::Outlook;
use crate::kafka::state_topic::{Patience, StateTopic, StateTopicError};
use crate::kafka::transactions::{
    Letter, Origin, Places, Transaction, TransactionError, Transactions, Unsent,
};
use crate::memory::held::Holder;
use crate::references::References;

const PLACES: Places = Places {
    filled: "sharing.filled",
    flushed: "sharing.flushed",
    positioned: "sharing.positioned",
    committed: "sharing.committed",
};

/// Rows that wait for the next transaction make it come early, and are spread over several: none
/// may take longer than the broker lets it.
pub(crate) const WAITING_BYTES_MAX: usize = 8 << 20;
/// What one reader is expected to hold for a transaction, and its client once more.
pub(crate) const TRANSACTION_BYTES: u64 = 2 * WAITING_BYTES_MAX as u64;

/// Returns the partition of the state topic where a partition's rows lie.
fn state_partition(scale_out: &ScaleOutConfig, partition: &PartitionId) -> i32 {
    let lanes = i32::try_from(scale_out.lanes).unwrap_or(i32::MAX);
    partition.partition.rem_euclid(lanes)
}

/// A partition that cannot be gone on with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ResumeError {
    /// Its rows cannot be had.
    #[error(transparent)]
    Topic(#[from] StateTopicError),
    /// Its rows cannot be read.
    #[error(transparent)]
    Rows(#[from] RestoreError),
    /// It is not known whether it has lost what may be lost.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// Its rows are not those that were committed.
    #[error(transparent)]
    Gone(#[from] RowsGone),
    /// It is not known what was committed.
    #[error("cannot see what was committed of the group")]
    Committed(#[source] KafkaError),
    /// It was never read, and is to begin where it ends.
    #[error("cannot see where to begin")]
    Begin(#[source] KafkaError),
    /// It was read, and may be another log now.
    #[error("its leader does not say what its log holds: it may be another one than was read")]
    Compare,
    /// Another thread of this process has not told all that it has counted.
    #[error("another thread of this process has not let go of it yet")]
    Read,
    /// The client does not take it.
    #[error("the client does not begin to read it")]
    Assign(#[source] KafkaError),
}

impl ResumeError {
    /// Whether waiting can help: rows that are there and damaged stay so.
    pub(crate) fn outlook(&self) -> Outlook {
        match self {
            Self::Topic(_)
            | Self::Accept(_)
            | Self::Committed(_)
            | Self::Begin(_)
            | Self::Compare
            | Self::Assign(_) => Outlook::Passes,
            Self::Read => Outlook::Soon,
            Self::Rows(_) | Self::Gone(_) => Outlook::Stays,
        }
    }
}

/// Goes on with partitions and lanes where whoever owned them before ended.
pub(crate) struct Resumer {
    pub(crate) config: Arc<Config>,
    pub(crate) kafka: KafkaConfig,
    pub(crate) scale_out: ScaleOutConfig,
    pub(crate) references: Arc<References>,
    /// Whose losses are accepted.
    pub(crate) decisions: Arc<Decisions>,
    pub(crate) heartbeat: Heartbeat,
}

impl Resumer {
    /// How long the group may be kept waiting for what it has given.
    pub(crate) fn patience(&self) -> Patience {
        Patience::of(&self.kafka)
    }

    /// Returns the state of each partition, and what notes its changes. What is wrong with one of
    /// them concerns that one.
    pub(crate) fn resume(
        &self,
        source: usize,
        partitions: Vec<PartitionId>,
        patience: Patience,
    ) -> Vec<(PartitionId, Resumed<ResumedPartition>)> {
        let mut reading = Reading::new(self, patience);
        let find = |model, id: &_| self.references.find(model, id);
        // Several partitions lie in one of the topic, which is read once.
        let mut together: BTreeMap<i32, Vec<PartitionId>> = BTreeMap::new();
        for id in partitions {
            together.entry(state_partition(&self.scale_out, &id)).or_default().push(id);
        }
        let mut read = Vec::new();
        for (place, ids) in together {
            let rows = reading.rows(place);
            read.extend(ids.into_iter().map(|id| (id, rows.clone())));
        }
        let accepted = self.accepted(&read);
        let resumed = read.into_iter().map(|(id, rows)| {
            let resumed = rows.and_then(|rows| {
                let accepted = accepted.get(&id).cloned().transpose()?;
                let restored = self.restore((id.clone(), source), &rows, accepted.as_ref(), &find);
                restored.map_err(Arc::new)
            });
            (id, resumed)
        });
        resumed.collect()
    }

    /// Returns the losses that are accepted, or why that is not known. All are looked at together:
    /// the group waits meanwhile.
    fn accepted(
        &self,
        read: &[(PartitionId, Resumed<Arc<Vec<Row>>>)],
    ) -> BTreeMap<PartitionId, Resumed<Accepted>> {
        let named = read.iter().filter(|(id, _)| self.decisions.names(id));
        let stored: BTreeMap<PartitionId, Stored> = named
            .filter_map(|(id, rows)| {
                // Rows that cannot be read are told when they are restored.
                let stored = stored_position(rows.as_ref().ok()?, id).ok()??;
                Some((id.clone(), stored))
            })
            .collect();
        if stored.is_empty() {
            return BTreeMap::new();
        }
        self.heartbeat.beat(clock::instant());
        let accepted = self.decisions.accepted(&self.kafka, &stored);
        self.heartbeat.beat(clock::instant());
        match accepted {
            Ok(accepted) => accepted.into_iter().map(|(id, it)| (id, Ok(it))).collect(),
            Err(error) => {
                let error = Arc::new(ResumeError::Accept(error));
                stored.into_keys().map(|id| (id, Err(Arc::clone(&error)))).collect()
            }
        }
    }

    /// Returns the state of one partition, without records that are lost, where that is accepted.
    fn restore(
        &self,
        (id, source): (PartitionId, usize),
        rows: &[Row],
        accepted: Option<&Accepted>,
        find: Find<'_>,
    ) -> Result<ResumedPartition, ResumeError> {
        let (rows, own) = (rows.iter().cloned(), (id, source));
        let begin = (accepted, clock::now());
        let restored = restore_partition(&self.config, own, rows, find, begin);
        let (state, saver) = restored?;
        tell_left_halves(&state);
        let lost = accepted.map(|it| it.loss.next_offset());
        let stored = lost.or(state.next_offset());
        Ok(ResumedPartition { state, saver, stored })
    }

    /// Returns what each lane goes on from.
    pub(crate) fn resume_lanes(
        &self,
        lanes: &[i32],
        patience: Patience,
    ) -> Vec<(i32, Resumed<Restored>)> {
        let mut reading = Reading::new(self, patience);
        let find = |model, id: &_| self.references.find(model, id);
        let mut resume = |lane: i32| {
            let rows = reading.rows(lane)?;
            let id = LaneId {
                number: u32::try_from(lane).unwrap_or_default(),
                lanes: self.scale_out.lanes,
            };
            let restored =
                restore_lane(&self.config, id, rows.iter().cloned(), &find, clock::now());
            let restored = restored.map_err(|error| Arc::new(error.into()))?;
            for Dropped { model, windows } in &restored.dropped {
                warn!(%model, windows, "windows are left behind: they were counted otherwise");
            }
            Ok(restored)
        };
        lanes.iter().map(|lane| (*lane, resume(*lane))).collect()
    }
}

/// Logs requests and responses that a start does not go on with.
pub(crate) fn tell_left_halves(state: &PartitionState) {
    let left = state.halves_left_behind();
    if 0 < left.sum() {
        warn!(
            partition = %state.id(),
            requests = left.request,
            responses = left.response,
            "halves of records are left behind: they were joined otherwise, or before a loss"
        );
    }
}

/// A partition that is gone on with.
pub(crate) struct ResumedPartition {
    pub(crate) state: PartitionState,
    pub(crate) saver: PartitionSaver,
    /// Where it would have gone on by its rows.
    pub(crate) stored: Option<i64>,
}

/// What comes of going on with one partition or lane; one answer may concern several.
pub(crate) type Resumed<T> = Result<T, Arc<ResumeError>>;

/// One look into the state topic.
struct Reading<'a> {
    resumer: &'a Resumer,
    topic: Option<StateTopic>,
    patience: Patience,
}

impl<'a> Reading<'a> {
    fn new(resumer: &'a Resumer, patience: Patience) -> Self {
        Self { resumer, topic: None, patience }
    }

    fn rows(&mut self, partition: i32) -> Resumed<Arc<Vec<Row>>> {
        let rows = self.read(partition).map(Arc::new);
        rows.map_err(|error| Arc::new(error.into()))
    }

    fn read(&mut self, partition: i32) -> Result<Vec<Row>, StateTopicError> {
        let Resumer { kafka, scale_out, heartbeat, .. } = self.resumer;
        let topic = match &mut self.topic {
            Some(topic) => topic,
            topic => {
                let name = &scale_out.state_topic;
                topic.insert(StateTopic::connect(kafka, name, self.patience)?)
            }
        };
        topic.rows(partition, &|| heartbeat.beat(clock::instant()))
    }
}

/// Everything of one reader that waits for its next transaction.
pub(crate) struct Sharing {
    scale_out: ScaleOutConfig,
    name: String,
    stopping: Arc<AtomicBool>,
    transactions: Option<Transactions>,
    writer: LaneWriter,
    savers: BTreeMap<PartitionId, PartitionSaver>,
    partials: Vec<(PartitionId, Addressed)>,
    /// What waits of each partition, in bytes.
    waiting: BTreeMap<PartitionId, usize>,
    /// The same of all of them.
    waiting_bytes: usize,
    progress: BTreeMap<PartitionId, Progress>,
    changes: Vec<(PartitionId, Batch)>,
    committed_at: Timestamp,
    /// What waits of all partitions.
    held: Holder,
}

impl Sharing {
    /// `name` is that of the reader's transactions.
    pub(crate) fn new(
        config: Arc<Config>,
        scale_out: ScaleOutConfig,
        name: String,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        Self {
            writer: LaneWriter::new(config, scale_out.lanes),
            scale_out,
            name,
            stopping,
            transactions: None,
            savers: BTreeMap::new(),
            partials: Vec::new(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            progress: BTreeMap::new(),
            changes: Vec::new(),
            committed_at: Timestamp::MIN,
            held: Holder::new(MemoryOwner::Checkpoints),
        }
    }

    /// Connects where there is no connection, before anything is read.
    pub(crate) fn open(
        &mut self,
        kafka: &KafkaConfig,
        beat: &dyn Fn(),
    ) -> Result<(), TransactionError> {
        if self.transactions.is_none() {
            let opened = Transactions::open(kafka, &self.name, PLACES, &self.stopping, beat)?;
            self.transactions = Some(opened);
        }
        Ok(())
    }

    /// Takes over a partition. That is told with the next transaction, whatever there is to tell;
    /// of one that was never read, once something of it is known.
    pub(crate) fn assign(&mut self, partition: PartitionId, saver: PartitionSaver, is_read: bool) {
        if is_read {
            self.waiting.entry(partition.clone()).or_default();
        }
        self.savers.insert(partition, saver);
    }

    /// Forgets a partition and what waits of it: whoever reads it next counts that again.
    pub(crate) fn revoke(&mut self, partition: &PartitionId) {
        self.savers.remove(partition);
        self.forget(std::slice::from_ref(partition));
    }

    /// Forgets what waits of partitions.
    fn forget(&mut self, partitions: &[PartitionId]) {
        self.partials.retain(|(id, _)| !partitions.contains(id));
        self.changes.retain(|(id, _)| !partitions.contains(id));
        for partition in partitions {
            self.progress.remove(partition);
            self.waiting_bytes -= self.waiting.remove(partition).unwrap_or(0);
        }
        self.held.set(self.waiting_bytes as u64);
    }

    fn waits(&mut self, partition: &PartitionId, bytes: usize) {
        *self.waiting.entry(partition.clone()).or_default() += bytes;
        self.waiting_bytes += bytes;
        self.held.set(self.waiting_bytes as u64);
    }

    /// Takes what the shard tells; returns what is shown here.
    pub(crate) fn take(&mut self, output: Output) -> Option<Event> {
        match output {
            Output::Partial(partial) => {
                let addressed = self.writer.partial(&partial);
                self.waits(&partial.partition, addressed.1.1.len());
                self.partials.push((partial.partition, addressed));
                None
            }
            Output::Progress(progress) => {
                // Models are shown by whoever decides about them.
                let mut shown = (*progress).clone();
                shown.models.clear();
                shown.open.clear();
                match self.progress.get_mut(&progress.partition) {
                    Some(known) => known.absorb(*progress),
                    None => {
                        self.progress.insert(progress.partition.clone(), *progress);
                    }
                }
                Some(Event::Progress(Box::new(shown)))
            }
            Output::Checkpoint(checkpoint) => {
                let partition = checkpoint.partition().clone();
                if let Some(saver) = self.savers.get_mut(&partition) {
                    let batch = saver.batch(*checkpoint);
                    self.waits(&partition, batch_bytes(&batch));
                    self.changes.push((partition, batch));
                }
                None
            }
            // The configuration has no performance beside `scale_out`, and the shard tells none.
            Output::Predictions(_) | Output::Labels(_) => None,
        }
    }

    /// Returns whether the next transaction is due. It begins with a checkpoint of the shard, which
    /// has so many bytes beside what waits here.
    pub(crate) fn is_due(&self, now: Timestamp, unsaved_bytes: u64) -> bool {
        let interval = self.scale_out.commit_interval_millis;
        let is_time = self.committed_at.plus_millis(interval) <= now;
        is_much(self.waiting_bytes, unsaved_bytes)
            || is_time && !(self.progress.is_empty() && self.waiting.is_empty())
    }

    /// Sends everything that waits, all of a partition in one transaction. It goes on waiting when
    /// that is aborted.
    pub(crate) fn commit(
        &mut self,
        now: Timestamp,
        standings: &BTreeMap<PartitionId, Standing>,
        member: ConsumerGroupMetadata,
        beat: &dyn Fn(),
    ) -> Result<(), TransactionError> {
        self.committed_at = now;
        let member = Arc::new(member);
        let ids: BTreeSet<PartitionId> =
            self.waiting.keys().chain(self.progress.keys()).cloned().collect();
        let bytes = |id: PartitionId| {
            let bytes = self.waiting.get(&id).copied().unwrap_or(0);
            (id, bytes)
        };
        for portion in portions(ids.into_iter().map(bytes)) {
            self.commit_portion(&portion, standings, &member, beat)?;
            self.forget(&portion);
        }
        Ok(())
    }

    fn commit_portion(
        &mut self,
        portion: &[PartitionId],
        standings: &BTreeMap<PartitionId, Standing>,
        member: &Arc<ConsumerGroupMetadata>,
        beat: &dyn Fn(),
    ) -> Result<(), TransactionError> {
        let Some(transactions) = &mut self.transactions else { return Ok(()) };
        let Some(first) = portion.first() else { return Ok(()) };
        let own = portion.iter().filter_map(|id| Some((id.partition, standings.get(id)?.clone())));
        let positions = committed::list(&first.topic, own).map_err(TransactionError::Positions)?;
        transactions.run(&positions, member, beat, |transaction| {
            let topic = self.scale_out.partials_topic.as_str();
            for (id, progress) in self.progress.iter().filter(|(id, _)| portion.contains(id)) {
                for row in self.writer.lost(progress) {
                    transaction.send(to_lane(topic, &row, id.partition))?;
                }
            }
            for (id, row) in self.partials.iter().filter(|(id, _)| portion.contains(id)) {
                transaction.send(to_lane(topic, row, id.partition))?;
            }
            for (id, progress) in self.progress.iter().filter(|(id, _)| portion.contains(id)) {
                for row in self.writer.barriers(progress) {
                    transaction.send(to_lane(topic, &row, id.partition))?;
                }
            }
            for (id, batch) in self.changes.iter().filter(|(id, _)| portion.contains(id)) {
                let place = (&*self.scale_out.state_topic, state_partition(&self.scale_out, id));
                send_rows(transaction, place, id.partition, batch)?;
            }
            Ok(())
        })
    }
}

/// Returns whether a transaction has to come early. A batch more may be counted before it does, so
/// that what a partition has in one is bounded by twice [`WAITING_BYTES_MAX`], and a message.
fn is_much(waiting_bytes: usize, unsaved_bytes: u64) -> bool {
    WAITING_BYTES_MAX as u64 <= unsaved_bytes.saturating_add(waiting_bytes as u64)
}

/// Spreads what waits of each owner over transactions.
pub(crate) fn portions<K>(waiting: impl IntoIterator<Item = (K, usize)>) -> Vec<Vec<K>> {
    let mut portions: Vec<Vec<K>> = Vec::new();
    let mut room = 0_usize;
    for (owner, bytes) in waiting {
        if let Some(portion) = portions.last_mut().filter(|_| bytes <= room) {
            portion.push(owner);
            room -= bytes;
        } else {
            portions.push(vec![owner]);
            room = WAITING_BYTES_MAX.saturating_sub(bytes);
        }
    }
    portions
}

/// Returns what the rows of a batch take.
pub(crate) fn batch_bytes(batch: &Batch) -> usize {
    batch.iter().map(|it| it.key.len() + it.value.as_ref().map_or(0, Vec::len)).sum()
}

/// Sends rows of state to their partition.
pub(crate) fn send_rows(
    transaction: &Transaction<'_>,
    (topic, partition): (&str, i32),
    owner: i32,
    batch: &Batch,
) -> Result<(), Unsent> {
    for change in batch {
        transaction.send(Letter {
            origin: Origin { owner, output: None },
            topic,
            partition: Some(partition),
            key: &change.key,
            payload: change.value.as_deref(),
            headers: None,
        })?;
    }
    Ok(())
}

fn to_lane<'a>(topic: &'a str, (lane, (key, value)): &'a Addressed, owner: i32) -> Letter<'a> {
    Letter {
        origin: Origin { owner, output: None },
        topic,
        partition: Some(i32::try_from(*lane).unwrap_or(i32::MAX)),
        key,
        payload: Some(value),
        headers: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_spread_over_transactions_and_an_owner_is_in_one() {
        const HALF: usize = WAITING_BYTES_MAX / 2;
        let waiting = [('a', HALF), ('b', HALF), ('c', 1), ('d', 3 * HALF), ('e', 0), ('f', 1)];
        let expected = [vec!['a', 'b'], vec!['c'], vec!['d', 'e'], vec!['f']];
        assert_eq!(portions(waiting), expected);
        assert!(portions::<char>([]).is_empty());
    }

    #[test]
    fn halves_that_no_checkpoint_has_had_make_a_transaction_come_early() {
        let all = WAITING_BYTES_MAX as u64;
        assert!(!is_much(WAITING_BYTES_MAX - 1, 0) && is_much(WAITING_BYTES_MAX, 0));
        assert!(!is_much(0, all - 1) && is_much(0, all) && is_much(1, all - 1));
    }
}
