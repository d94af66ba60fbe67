//! What a reader passes on when other processes decide: gathered, and sent in one transaction.
//!
//! Before: the [`Output`]s of a reader's shard. After: counts and barriers in the partials topic,
//! what the partition goes on from in the state topic, and the group's positions, all at once. So
//! a reader that ends anywhere has either passed a stretch of the log on and moved past it, or
//! neither.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::{PartitionId, Timestamp};
use driftd_core::PartitionState;
use driftd_core::config::{Config, KafkaConfig, ScaleOutConfig};
use driftd_core::event::Event;
use driftd_core::shard::{Output, Progress};
use driftd_core::state::{
    Addressed, Batch, Dropped, LaneId, LaneWriter, PartitionSaver, RestoreError, Restored, Row,
    restore_lane, restore_partition,
};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use tracing::warn;

use crate::clock;
use crate::http::Heartbeat;
use crate::kafka::stalls::Outlook;
use crate::kafka::state_topic::{StateTopic, StateTopicError};
use crate::kafka::transactions::{
    Letter, Origin, Places, Transaction, TransactionError, Transactions, Unsent,
};
use crate::references::References;

const PLACES: Places = Places {
    filled: "sharing.filled",
    flushed: "sharing.flushed",
    positioned: "sharing.positioned",
    committed: "sharing.committed",
};

/// Counts that wait for the next transaction make it come early.
const WAITING_BYTES_MAX: usize = 8 << 20;
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
}

impl ResumeError {
    /// Whether waiting can help: rows that are there and damaged stay so.
    pub(crate) fn outlook(&self) -> Outlook {
        match self {
            Self::Topic(_) => Outlook::Passes,
            Self::Rows(_) => Outlook::Stays,
        }
    }
}

/// Goes on with partitions and lanes where whoever owned them before ended.
pub(crate) struct Resumer {
    pub(crate) config: Arc<Config>,
    pub(crate) kafka: KafkaConfig,
    pub(crate) scale_out: ScaleOutConfig,
    pub(crate) references: Arc<References>,
    pub(crate) heartbeat: Heartbeat,
}

impl Resumer {
    /// Returns the state of each partition, and what notes its changes. What is wrong with one of
    /// them concerns that one.
    pub(crate) fn resume(
        &self,
        source: usize,
        partitions: Vec<PartitionId>,
    ) -> Vec<(PartitionId, Resumed<(PartitionState, PartitionSaver)>)> {
        let mut reading = Reading::new(self);
        let find = |model, id: &_| self.references.find(model, id);
        let mut resume = |id: &PartitionId| {
            let rows = reading.rows(state_partition(&self.scale_out, id))?;
            let rows = rows.iter().cloned();
            let restored =
                restore_partition(&self.config, (id.clone(), source), rows, &find, clock::now());
            restored.map_err(|error| Arc::new(error.into()))
        };
        let resumed = |id: PartitionId| {
            let resumed = resume(&id);
            (id, resumed)
        };
        partitions.into_iter().map(resumed).collect()
    }

    /// Returns what each lane goes on from.
    pub(crate) fn resume_lanes(&self, lanes: &[i32]) -> Vec<(i32, Resumed<Restored>)> {
        let mut reading = Reading::new(self);
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

/// What comes of going on with one partition or lane; one answer may concern several.
pub(crate) type Resumed<T> = Result<T, Arc<ResumeError>>;

/// One look into the state topic.
struct Reading<'a> {
    resumer: &'a Resumer,
    topic: Option<StateTopic>,
}

impl<'a> Reading<'a> {
    fn new(resumer: &'a Resumer) -> Self {
        Self { resumer, topic: None }
    }

    fn rows(&mut self, partition: i32) -> Resumed<Arc<Vec<Row>>> {
        let rows = self.read(partition).map(Arc::new);
        rows.map_err(|error| Arc::new(error.into()))
    }

    fn read(&mut self, partition: i32) -> Result<Vec<Row>, StateTopicError> {
        let Resumer { kafka, scale_out, heartbeat, .. } = self.resumer;
        let topic = match &mut self.topic {
            Some(topic) => topic,
            topic => topic.insert(StateTopic::connect(kafka, &scale_out.state_topic)?),
        };
        topic.rows(partition, &|| heartbeat.beat(clock::instant()))
    }
}

/// Everything of one reader that waits for its next transaction.
pub(crate) struct Sharing {
    scale_out: ScaleOutConfig,
    name: String,
    transactions: Option<Transactions>,
    writer: LaneWriter,
    savers: BTreeMap<PartitionId, PartitionSaver>,
    partials: Vec<(PartitionId, Addressed)>,
    waiting_bytes: usize,
    progress: BTreeMap<PartitionId, Progress>,
    changes: Vec<(PartitionId, Batch)>,
    committed_at: Timestamp,
}

impl Sharing {
    /// `name` is that of the reader's transactions.
    pub(crate) fn new(config: Arc<Config>, scale_out: ScaleOutConfig, name: String) -> Self {
        Self {
            writer: LaneWriter::new(config, scale_out.lanes),
            scale_out,
            name,
            transactions: None,
            savers: BTreeMap::new(),
            partials: Vec::new(),
            waiting_bytes: 0,
            progress: BTreeMap::new(),
            changes: Vec::new(),
            committed_at: Timestamp::MIN,
        }
    }

    /// Connects where there is no connection, before anything is read.
    pub(crate) fn open(
        &mut self,
        kafka: &KafkaConfig,
        beat: &dyn Fn(),
    ) -> Result<(), TransactionError> {
        if self.transactions.is_none() {
            self.transactions = Some(Transactions::open(kafka, &self.name, PLACES, beat)?);
        }
        Ok(())
    }

    /// Takes over a partition.
    pub(crate) fn assign(&mut self, partition: PartitionId, saver: PartitionSaver) {
        self.savers.insert(partition, saver);
    }

    /// Forgets a partition and what waits of it: whoever reads it next counts that again.
    pub(crate) fn revoke(&mut self, partition: &PartitionId) {
        self.savers.remove(partition);
        self.progress.remove(partition);
        self.partials.retain(|(id, _)| id != partition);
        self.changes.retain(|(id, _)| id != partition);
        self.waiting_bytes = self.partials.iter().map(|(_, partial)| partial.1.1.len()).sum();
    }

    /// Takes what the shard tells; returns what is shown here.
    pub(crate) fn take(&mut self, output: Output) -> Option<Event> {
        match output {
            Output::Partial(partial) => {
                let addressed = self.writer.partial(&partial);
                self.waiting_bytes += addressed.1.1.len();
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
                    self.changes.push((partition, saver.batch(*checkpoint)));
                }
                None
            }
        }
    }

    /// Returns whether the next transaction is due. It begins with a checkpoint of the shard.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        let interval = self.scale_out.commit_interval_millis;
        let is_time = self.committed_at.plus_millis(interval) <= now;
        WAITING_BYTES_MAX <= self.waiting_bytes || is_time && !self.progress.is_empty()
    }

    /// Sends everything that waits in one transaction. It goes on waiting when that is aborted.
    pub(crate) fn commit(
        &mut self,
        now: Timestamp,
        positions: &TopicPartitionList,
        member: ConsumerGroupMetadata,
        beat: &dyn Fn(),
    ) -> Result<(), TransactionError> {
        self.committed_at = now;
        let Some(transactions) = &mut self.transactions else { return Ok(()) };
        transactions.run(positions, member, beat, |transaction| {
            let topic = self.scale_out.partials_topic.as_str();
            for (id, row) in &self.partials {
                transaction.send(to_lane(topic, row, id.partition))?;
            }
            for (id, progress) in &self.progress {
                for row in self.writer.barriers(progress) {
                    transaction.send(to_lane(topic, &row, id.partition))?;
                }
            }
            for (id, batch) in &self.changes {
                let place = (&*self.scale_out.state_topic, state_partition(&self.scale_out, id));
                send_rows(transaction, place, id.partition, batch)?;
            }
            Ok(())
        })?;
        self.partials.clear();
        self.waiting_bytes = 0;
        self.progress.clear();
        self.changes.clear();
        Ok(())
    }
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
