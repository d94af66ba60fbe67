//! Which partitions a consumer thread owns: librdkafka's rebalance callbacks, turned into data.
//!
//! Before: the group coordinator. After: [`crate::kafka::consumer`] follows the [`Change`]s between
//! two polls. Where to read from is set inside the callback, before the first fetch, so that no
//! seek races with it. A partition that this process has never read begins at the oldest record,
//! wherever that is when it is fetched, or after the newest: that place is asked for once and kept,
//! because asking again, after the partition has moved, would skip what came meanwhile. The
//! cooperative protocol gives differences: partitions that stay are not mentioned.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use driftd_catalog::{PartitionId, Timestamp};
use driftd_core::PartitionState;
use driftd_core::state::PartitionSaver;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{error, warn};

use crate::clock;
use crate::failpoint;
use crate::kafka::client_log::log_error;
use crate::kafka::sharing::{ResumeError, Resumer};

/// A rebalance waits this long for the ends of its partitions.
const ENDS_TIMEOUT: Duration = Duration::from_secs(5);

/// A partition is waited for this long when another thread of the process still has to let go of
/// it.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// The partitions of this process: read by one of its threads, or parked with what was counted in
/// them.
///
/// A partition that moves to another thread, or leaves and comes back, goes on where it stopped.
#[derive(Clone, Debug, Default)]
pub struct Parked(Arc<Lot>);

#[derive(Debug, Default)]
struct Lot {
    places: Mutex<Places>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Places {
    read: BTreeSet<PartitionId>,
    parked: BTreeMap<PartitionId, PartitionState>,
}

impl Parked {
    /// Keeps a partition for its next reader.
    pub fn park(&self, state: PartitionState) {
        let mut places = self.0.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.read.remove(state.id());
        places.parked.insert(state.id().clone(), state);
        self.0.freed.notify_all();
    }

    /// Takes a partition to read it; `None` when this process has never read it.
    fn take(&self, partition: &PartitionId) -> Option<PartitionState> {
        let places = self.0.places.lock().unwrap_or_else(PoisonError::into_inner);
        // The coordinator gives a partition away only after its reader agreed, but that thread may
        // still be counting its last batch.
        let (mut places, waited) = self
            .0
            .freed
            .wait_timeout_while(places, HANDOVER_TIMEOUT, |it| it.read.contains(partition))
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            error!(
                %partition,
                "another thread has not let go of the partition; it is read anew from `start`"
            );
        }
        places.read.insert(partition.clone());
        places.parked.remove(partition)
    }
}

/// Where a partition begins that was never read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At its oldest record.
    Oldest,
    /// After its newest record.
    Newest,
    /// At the first record of this time, or a later one: state was lost, and what came after the
    /// last outputs is read again.
    At(Timestamp),
}

/// [`Begin`] of a source, from the moment at which it is known; nothing is read before.
pub type BeginCell = Arc<OnceLock<Begin>>;

/// A partition's state, and what notes its changes where several processes share the work.
pub(crate) type Found = (PartitionState, Option<PartitionSaver>);

/// A change of the assignment.
#[derive(Debug)]
pub(crate) enum Change {
    /// These came, each with the state to go on from.
    Assigned(Vec<Found>),
    /// These came and cannot be gone on with; they are not read.
    Stalled(Vec<(PartitionId, Arc<ResumeError>)>),
    /// These went.
    Revoked(Vec<PartitionId>),
}

/// The consumer's callbacks.
pub(crate) struct Assignments {
    source: usize,
    topic: Arc<str>,
    begin: BeginCell,
    from: Origin,
    changes: Changes<Change>,
    read: Read,
}

/// Partitions of one topic that the client reads: of those that the group has given to it, the ones
/// that can be gone on with.
#[derive(Debug, Default)]
pub(crate) struct Read(Mutex<BTreeSet<i32>>);

impl Read {
    /// Begins to read partitions, each at its offset.
    pub(crate) fn begin<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        topic: &str,
        begins: impl IntoIterator<Item = (i32, Offset)>,
    ) {
        let mut list = TopicPartitionList::new();
        let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (partition, offset) in begins {
            match list.add_partition_offset(topic, partition, offset) {
                Ok(()) => drop(read.insert(partition)),
                Err(error) => error!(topic, partition, %error, "start offset could not be set"),
            }
        }
        // Also of none: it answers the group.
        if let Err(error) = consumer.incremental_assign(&list) {
            error!(topic, %error, "partitions could not be assigned");
        }
    }

    /// Ends to read those of the partitions that are read.
    pub(crate) fn end<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        topic: &str,
        partitions: &[i32],
    ) {
        let mut list = TopicPartitionList::new();
        let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for partition in partitions.iter().filter(|partition| read.remove(partition)) {
            list.add_partition(topic, *partition);
        }
        if let Err(error) = consumer.incremental_unassign(&list) {
            error!(topic, %error, "partitions could not be unassigned");
        }
    }
}

/// What the callbacks have met and the consumer's thread has not followed yet, oldest first.
#[derive(Debug)]
pub(crate) struct Changes<C>(Mutex<Vec<C>>);

impl<C> Changes<C> {
    pub(crate) fn push(&self, change: C) {
        self.lock().push(change);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(crate) fn take(&self) -> Vec<C> {
        mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Default for Changes<C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// Returns the numbers of partitions of one topic.
pub(crate) fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(TopicPartitionListElem::partition).collect()
}

/// Where the state of assigned partitions is had from.
pub(crate) enum Origin {
    /// This process: no other reads them.
    Here(Parked),
    /// Whoever read them before, maybe another process.
    Shared(Box<Resumer>),
}

impl Assignments {
    pub(crate) fn new(source: usize, topic: Arc<str>, begin: BeginCell, from: Origin) -> Self {
        Self { source, topic, begin, from, changes: Changes::default(), read: Read::default() }
    }

    pub(crate) fn changes(&self) -> &Changes<Change> {
        &self.changes
    }

    /// Stops to read a partition that the group leaves here.
    pub(crate) fn stop(&self, consumer: &BaseConsumer<Self>, partition: i32) {
        self.read.end(consumer, &self.topic, &[partition]);
    }

    /// Tries again to read a partition that the group has given.
    pub(crate) fn retry(&self, consumer: &BaseConsumer<Self>, partition: i32) {
        self.assign(consumer, &[partition]);
    }

    fn ids(&self, partitions: &[i32]) -> Vec<PartitionId> {
        let id = |partition: &i32| PartitionId {
            topic: Arc::clone(&self.topic),
            partition: *partition,
        };
        partitions.iter().map(id).collect()
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, partitions: &[i32]) {
        let (found, stalled) = self.states(self.ids(partitions));
        if !stalled.is_empty() {
            self.changes.push(Change::Stalled(stalled));
        }
        let (mut states, savers): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let first = match self.begin.get() {
            Some(Begin::Oldest) | None => Offset::Beginning,
            Some(Begin::Newest) => {
                self.pin(consumer, &mut states, Offset::End);
                Offset::End
            }
            Some(Begin::At(time)) => {
                self.pin(consumer, &mut states, Offset::Offset(time.as_millis().max(0)));
                // After the time there is nothing yet.
                self.pin(consumer, &mut states, Offset::End);
                Offset::End
            }
        };
        failpoint::hit("consumer.assigned");
        let begin = |state: &PartitionState| {
            (state.id().partition, state.next_offset().map_or(first, Offset::Offset))
        };
        self.read.begin(consumer, &self.topic, states.iter().map(begin));
        self.changes.push(Change::Assigned(states.into_iter().zip(savers).collect()));
    }

    /// Returns what can be gone on with, and what cannot.
    fn states(&self, ids: Vec<PartitionId>) -> (Vec<Found>, Vec<(PartitionId, Arc<ResumeError>)>) {
        match &self.from {
            Origin::Here(parked) => {
                let state = |id: PartitionId| {
                    let state = parked.take(&id);
                    state.unwrap_or_else(|| PartitionState::new(id, self.source, clock::now()))
                };
                (ids.into_iter().map(|id| (state(id), None)).collect(), Vec::new())
            }
            Origin::Shared(resumer) => {
                let (mut found, mut stalled) = (Vec::new(), Vec::new());
                for (id, resumed) in resumer.resume(self.source, ids) {
                    match resumed {
                        Ok((state, saver)) => found.push((state, Some(saver))),
                        Err(error) => stalled.push((id, error)),
                    }
                }
                (found, stalled)
            }
        }
    }

    /// Lets partitions that were never read begin at their end as it is now, or at the first record
    /// of a time. One question to each broker answers for all.
    fn pin(&self, consumer: &BaseConsumer<Self>, states: &mut [PartitionState], at: Offset) {
        let mut asked = TopicPartitionList::new();
        for state in states.iter().filter(|state| state.next_offset().is_none()) {
            let PartitionId { topic, partition } = state.id();
            if let Err(error) = asked.add_partition_offset(topic, *partition, at) {
                error!(partition = %state.id(), %error, "end could not be asked for");
            }
        }
        if asked.count() == 0 {
            return;
        }
        let ends = match consumer.offsets_for_times(asked, ENDS_TIMEOUT) {
            Ok(ends) => ends,
            Err(error) => {
                warn!(topic = %self.topic, %error, "ends are unknown; the client looks for them");
                return;
            }
        };
        for state in states {
            let found = ends.find_partition(&self.topic, state.id().partition);
            if let Some(Offset::Offset(end)) = found.map(|it| it.offset())
                && state.next_offset().is_none()
            {
                let id = state.id().clone();
                *state = PartitionState::new(id, self.source, clock::now()).starting_at(end);
            }
        }
    }
}

impl ClientContext for Assignments {
    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for Assignments {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions = numbers(list);
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            return self.assign(consumer, &partitions);
        }
        self.changes.push(Change::Revoked(self.ids(&partitions)));
        self.read.end(consumer, &self.topic, &partitions);
    }

    fn commit_callback(&self, result: Result<(), KafkaError>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "positions not committed; they serve lag tools only");
        }
    }
}
