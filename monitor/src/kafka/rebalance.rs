//! Which partitions a consumer thread owns: librdkafka's rebalance callbacks, turned into data.
//!
//! Before: the group coordinator. After: [`crate::kafka::consumer`] follows the [`Change`]s between
//! two polls. The start offset is set inside the callback, before the first fetch, so that no seek
//! races with it. The cooperative protocol gives differences: partitions that stay are not
//! mentioned.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use driftd_catalog::PartitionId;
use driftd_core::PartitionState;
use driftd_core::config::FirstStart;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tracing::{error, warn};

use crate::clock;

/// A rebalance waits this long for the ends of its partitions.
const ENDS_TIMEOUT: Duration = Duration::from_secs(10);

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
            error!(%partition, "another thread has not let go of the partition; its counts are lost");
        }
        places.read.insert(partition.clone());
        places.parked.remove(partition)
    }
}

/// A change of the assignment.
#[derive(Debug)]
pub(crate) enum Change {
    /// These came, each with the state to go on from.
    Assigned(Vec<PartitionState>),
    /// These went.
    Revoked(Vec<PartitionId>),
}

/// The consumer's callbacks.
pub(crate) struct Assignments {
    source: usize,
    topic: Arc<str>,
    start: FirstStart,
    parked: Parked,
    changes: Mutex<Vec<Change>>,
}

impl Assignments {
    pub(crate) fn new(source: usize, topic: Arc<str>, start: FirstStart, parked: Parked) -> Self {
        Self { source, topic, start, parked, changes: Mutex::default() }
    }

    pub(crate) fn has_changes(&self) -> bool {
        !self.lock().is_empty()
    }

    pub(crate) fn take_changes(&self) -> Vec<Change> {
        mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ids(&self, list: &TopicPartitionList) -> Vec<PartitionId> {
        list.elements()
            .iter()
            .map(|it| PartitionId { topic: Arc::clone(&self.topic), partition: it.partition() })
            .collect()
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let states: Vec<PartitionState> = self
            .ids(list)
            .into_iter()
            .map(|id| self.parked.take(&id).unwrap_or_else(|| self.first_state(consumer, id)))
            .collect();
        for (state, mut element) in states.iter().zip(list.elements()) {
            if let Err(error) = element.set_offset(Offset::Offset(state.next_offset())) {
                error!(partition = %state.id(), %error, "start offset could not be set");
            }
        }
        self.lock().push(Change::Assigned(states));
    }

    /// Starts a partition that this process has never read.
    fn first_state(&self, consumer: &BaseConsumer<Self>, id: PartitionId) -> PartitionState {
        let offset = match consumer.fetch_watermarks(&id.topic, id.partition, ENDS_TIMEOUT) {
            Ok((first, end)) => match self.start {
                FirstStart::Earliest => first,
                FirstStart::Latest => end,
            },
            Err(error) => {
                // Offset 0 is either there, or out of range and then visible as such: never a
                // silent skip.
                warn!(partition = %id, %error, "ends of the partition are unknown; starting at offset 0");
                0
            }
        };
        PartitionState::new(id, self.source, offset, clock::now())
    }
}

impl ClientContext for Assignments {
    fn error(&self, error: KafkaError, reason: &str) {
        // Reaching the end of a partition is news for the consumer thread, which polls it, not for
        // the log.
        if !matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PartitionEOF)) {
            error!(topic = %self.topic, %error, reason, "the Kafka client reports an error");
        }
    }
}

impl ConsumerContext for Assignments {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => self.assign(consumer, list),
            Rebalance::Revoke(list) => self.lock().push(Change::Revoked(self.ids(list))),
            Rebalance::Error(error) => error!(%error, "rebalance failed"),
        }
    }

    fn commit_callback(&self, result: Result<(), KafkaError>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "positions not committed; they serve lag tools only");
        }
    }
}
