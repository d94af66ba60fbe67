//! Which lanes this process owns: librdkafka's rebalance callbacks, turned into data.
//!
//! Before: the group coordinator. After: [`super`] follows the [`Change`]s between two polls. What
//! was kept of a lane is read inside the callback, before the first fetch: from there on the lane
//! is read where that ends.

use std::sync::Arc;
use std::time::Duration;

use driftd_core::state::Restored;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use crate::failpoint;
use crate::kafka::client_log::log_error;
use crate::kafka::committed::{self, compare};
use crate::kafka::queues::Queues;
use crate::kafka::rebalance::{Changes, Read, numbers};
use crate::kafka::sharing::{ResumeError, Resumer};
use crate::kafka::stalls::Due;
use crate::kafka::state_topic::Patience;

/// A lane of which nothing was read begins here.
pub(super) const FIRST: i64 = 0;
/// What was committed is waited for this long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A change of the assignment.
pub(super) enum Change {
    /// These came, each with what it goes on from.
    Assigned(Vec<(i32, Restored)>),
    /// These went.
    Revoked(Vec<i32>),
    /// These came and cannot be gone on with; they are not read.
    Stalled(Vec<(i32, Arc<ResumeError>)>),
}

/// The consumer's callbacks.
pub(super) struct Assignments {
    resumer: Resumer,
    changes: Changes<Change>,
    read: Read,
    queues: Queues,
}

impl Assignments {
    pub(super) fn new(resumer: Resumer) -> Self {
        Self {
            resumer,
            changes: Changes::default(),
            read: Read::default(),
            queues: Queues::fetching(),
        }
    }

    pub(super) fn changes(&self) -> &Changes<Change> {
        &self.changes
    }

    /// Stops to read a lane that the group leaves here.
    pub(super) fn stop(&self, consumer: &BaseConsumer<Self>, lane: i32) {
        self.read.end(consumer, self.topic(), &[lane]);
    }

    /// Goes on with lanes that the group has given and that stood still.
    pub(super) fn retry(&self, consumer: &BaseConsumer<Self>, due: &Due) {
        self.assign(consumer, &due.partitions, self.resumer.patience().at_most(due.patience));
    }

    /// Goes on with a lane from what is kept of it.
    pub(super) fn again(&self, consumer: &BaseConsumer<Self>, lane: i32) {
        self.assign(consumer, &[lane], self.resumer.patience());
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, lanes: &[i32], patience: Patience) {
        let (mut restored, mut stalled) = (Vec::new(), Vec::new());
        let resumed = self.resumer.resume_lanes(lanes, patience);
        // Behind the rows: what is committed is not older than they are.
        let all = lanes.iter().copied();
        let committed = committed::ask(consumer, self.topic(), all, ANSWER_TIMEOUT);
        let committed = committed.map_err(|error| Arc::new(ResumeError::Committed(error)));
        for (lane, resumed) in resumed {
            let compared = resumed.and_then(|restored| {
                let committed = committed.as_ref().map_err(Arc::clone)?;
                compare(restored.input, committed.get(&lane))
                    .map_err(|error| Arc::new(error.into()))?;
                Ok(restored)
            });
            match compared {
                Ok(found) => restored.push((lane, found)),
                Err(error) => stalled.push((lane, error)),
            }
        }
        failpoint::hit("lanes.restored");
        // Not at the oldest row: those that are gone by then would be passed over.
        let begin = |(lane, restored): &(i32, Restored)| {
            (*lane, Offset::Offset(restored.input.unwrap_or(FIRST)))
        };
        let begun = self.read.begin(consumer, self.topic(), restored.iter().map(begin));
        if let Err(error) = begun {
            let error = Arc::new(ResumeError::Assign(error));
            stalled.extend(restored.drain(..).map(|(lane, _)| (lane, Arc::clone(&error))));
        }
        if !stalled.is_empty() {
            self.changes.push(Change::Stalled(stalled));
        }
        self.changes.push(Change::Assigned(restored));
    }

    fn topic(&self) -> &str {
        &self.resumer.scale_out.partials_topic
    }
}

impl ClientContext for Assignments {
    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.queues.told(statistics);
    }
}

impl ConsumerContext for Assignments {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let lanes = numbers(list);
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            return self.assign(consumer, &lanes, self.resumer.patience());
        }
        self.read.end(consumer, self.topic(), &lanes);
        self.changes.push(Change::Revoked(lanes));
    }
}
