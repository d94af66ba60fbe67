//! Which lanes this process owns: librdkafka's rebalance callbacks, turned into data.
//!
//! Before: the group coordinator. After: [`super`] follows the [`Change`]s between two polls. What
//! was kept of a lane is read inside the callback, before the first fetch: from there on the lane
//! is read where that ends.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driftd_core::config::{Config, KafkaConfig, ScaleOutConfig};
use driftd_core::state::{Dropped, Restored, restore_lane};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{error, warn};

use crate::clock;
use crate::failpoint;
use crate::http::Heartbeat;
use crate::kafka::log_error;
use crate::kafka::sharing::ResumeError;
use crate::kafka::state_topic::StateTopic;
use crate::references::References;

/// A change of the assignment.
pub(super) enum Change {
    /// These came, each with what it goes on from.
    Assigned(Vec<(i32, Restored)>),
    /// These went.
    Revoked(Vec<i32>),
    /// What came cannot be gone on with.
    Failed(ResumeError),
}

/// The consumer's callbacks.
pub(super) struct Assignments {
    config: Arc<Config>,
    kafka: KafkaConfig,
    scale_out: ScaleOutConfig,
    references: Arc<References>,
    heartbeat: Heartbeat,
    changes: Mutex<Vec<Change>>,
}

impl Assignments {
    pub(super) fn new(
        config: Arc<Config>,
        kafka: KafkaConfig,
        scale_out: ScaleOutConfig,
        references: Arc<References>,
        heartbeat: Heartbeat,
    ) -> Self {
        Self { config, kafka, scale_out, references, heartbeat, changes: Mutex::default() }
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.lock().is_empty()
    }

    pub(super) fn take_changes(&self) -> Vec<Change> {
        mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn assign(&self, list: &TopicPartitionList) {
        let restored = match self.restore(&lanes(list)) {
            Ok(restored) => restored,
            Err(error) => return self.lock().push(Change::Failed(error)),
        };
        for ((lane, restored), mut element) in restored.iter().zip(list.elements()) {
            let offset = restored.input.map_or(Offset::Beginning, Offset::Offset);
            if let Err(error) = element.set_offset(offset) {
                error!(lane, %error, "start offset could not be set");
            }
        }
        failpoint::hit("lanes.restored");
        self.lock().push(Change::Assigned(restored));
    }

    fn restore(&self, lanes: &[i32]) -> Result<Vec<(i32, Restored)>, ResumeError> {
        if lanes.is_empty() {
            return Ok(Vec::new());
        }
        let topic = StateTopic::connect(&self.kafka, &self.scale_out.state_topic)?;
        let find = |model, id: &_| self.references.find(model, id);
        let beat = || self.heartbeat.beat(clock::instant());
        let restore = |lane: &i32| {
            let restored =
                restore_lane(&self.config, topic.rows(*lane, &beat)?, &find, clock::now())?;
            for Dropped { model, windows } in &restored.dropped {
                warn!(%model, windows, "windows are left behind: they were counted otherwise");
            }
            Ok((*lane, restored))
        };
        lanes.iter().map(restore).collect()
    }
}

fn lanes(list: &TopicPartitionList) -> Vec<i32> {
    list.elements()
        .iter()
        .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
        .collect()
}

impl ClientContext for Assignments {
    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for Assignments {
    fn pre_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => self.assign(list),
            Rebalance::Revoke(list) => self.lock().push(Change::Revoked(lanes(list))),
            Rebalance::Error(error) => error!(%error, "rebalance of lanes failed"),
        }
    }
}
