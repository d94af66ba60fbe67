//! Which lanes this process owns: librdkafka's rebalance callbacks, turned into data.
//!
//! Before: the group coordinator. After: [`super`] follows the [`Change`]s between two polls. What
//! was kept of a lane is read inside the callback, before the first fetch: from there on the lane
//! is read where that ends.

use driftd_core::state::Restored;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use tracing::error;

use crate::failpoint;
use crate::kafka::client_log::log_error;
use crate::kafka::rebalance::{Changes, numbers};
use crate::kafka::sharing::{ResumeError, Resumer};

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
    resumer: Resumer,
    changes: Changes<Change>,
}

impl Assignments {
    pub(super) fn new(resumer: Resumer) -> Self {
        Self { resumer, changes: Changes::default() }
    }

    pub(super) fn changes(&self) -> &Changes<Change> {
        &self.changes
    }

    fn assign(&self, list: &TopicPartitionList) {
        let restored = match self.resumer.resume_lanes(&numbers(list)) {
            Ok(restored) => restored,
            Err(error) => return self.changes.push(Change::Failed(error)),
        };
        for ((lane, restored), mut element) in restored.iter().zip(list.elements()) {
            let offset = restored.input.map_or(Offset::Beginning, Offset::Offset);
            if let Err(error) = element.set_offset(offset) {
                error!(lane, %error, "start offset could not be set");
            }
        }
        failpoint::hit("lanes.restored");
        self.changes.push(Change::Assigned(restored));
    }
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
            Rebalance::Revoke(list) => self.changes.push(Change::Revoked(numbers(list))),
            Rebalance::Error(error) => error!(%error, "rebalance of lanes failed"),
        }
    }
}
