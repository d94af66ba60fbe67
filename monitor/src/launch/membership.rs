//! Which events are this launcher's to answer, and whether another launcher still lives.
//!
//! Before: the group coordinator. After: [`crate::launch`] follows the [`Change`]s between two
//! polls. A partition is given away only after everything that was reported about its events is
//! stored: who takes it over reads the status topic first.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use tracing::{error, info};

use crate::kafka::client_log::log_error;
use crate::kafka::producer::Producer;
use crate::kafka::rebalance::{Changes, numbers};

/// Reports are waited for this long before a partition is given away.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A change of the assignment.
#[derive(Debug)]
pub(super) enum Change {
    /// Partitions came; their events may have been answered by others meanwhile.
    Assigned,
    /// These partitions went.
    Revoked(Vec<i32>),
}

/// The consumer's callbacks.
pub(super) struct Membership {
    producer: Arc<Producer>,
    changes: Changes<Change>,
}

impl Membership {
    pub(super) fn new(producer: Arc<Producer>) -> Self {
        Self { producer, changes: Changes::default() }
    }

    pub(super) fn changes(&self) -> &Changes<Change> {
        &self.changes
    }
}

impl ClientContext for Membership {
    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for Membership {
    fn pre_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                info!(partitions = ?numbers(list), "partitions assigned");
                self.changes.push(Change::Assigned);
            }
            Rebalance::Revoke(list) => {
                let partitions = numbers(list);
                info!(?partitions, "partitions revoked");
                if let Err(error) = self.producer.flush(FLUSH_TIMEOUT) {
                    error!(%error, "job reports are not stored yet");
                }
                self.changes.push(Change::Revoked(partitions));
            }
            Rebalance::Error(error) => error!(%error, "rebalance failed"),
        }
    }
}

/// Returns the client ids of the group's members.
pub(super) fn members(
    client: &BaseConsumer<Membership>,
    group: &str,
) -> Result<BTreeSet<String>, KafkaError> {
    let list = client.fetch_group_list(Some(group), ANSWER_TIMEOUT)?;
    let members = list.groups().iter().flat_map(rdkafka::groups::GroupInfo::members);
    Ok(members.map(|member| member.client_id().to_owned()).collect())
}
