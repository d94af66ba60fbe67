//! Reads what launchers report on jobs, so that the loop from drift to retraining closes.
//!
//! Before: the status topic. After: [`Event::RetrainReported`]. Reports from before the start are
//! needed only by a daemon that goes on with requests of an earlier run; one that it knows changes
//! nothing. No consumer group: every daemon hears every report.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use driftd_catalog::event::{CloudEvent, EventError, RetrainingStatus};
use driftd_catalog::{PartitionId, Timestamp};
use driftd_core::config::KafkaConfig;
use driftd_core::event::Event;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, warn};

use crate::clock;
use crate::kafka::watch::partitions;
use crate::kafka::{ConnectError, lone_reader};
use crate::memory;
use crate::outbox::EventSender;

const POLL_TIMEOUT: Duration = Duration::from_millis(100);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often new partitions of the topic are looked for.
const LOOK_INTERVAL_MILLIS: i64 = 5_000;

/// A reader of the status topic.
pub(crate) struct StatusReader {
    topic: Arc<str>,
    client: BaseConsumer,
    assigned: usize,
    looked_at: Timestamp,
    events: EventSender,
}

impl StatusReader {
    pub(crate) fn connect(
        kafka: &KafkaConfig,
        topic: &str,
        start: Offset,
        events: EventSender,
    ) -> Result<Self, ConnectError> {
        let client: BaseConsumer = lone_reader(kafka, "-status")?
            .set("queued.max.messages.kbytes", (memory::STATUS_QUEUE_BYTES >> 10).to_string())
            .create()?;
        let mut reader =
            Self { topic: topic.into(), client, assigned: 0, looked_at: Timestamp::MIN, events };
        reader.look(start);
        Ok(reader)
    }

    /// Reads until `stop` hangs up.
    pub(crate) fn run(mut self, stop: &Receiver<()>) {
        while matches!(stop.try_recv(), Err(TryRecvError::Empty)) {
            if self.looked_at.plus_millis(LOOK_INTERVAL_MILLIS) <= clock::now() {
                // A partition that was not there at the start holds only news.
                self.look(Offset::Beginning);
            }
            match self.client.poll(POLL_TIMEOUT) {
                None => {}
                Some(Ok(message)) => {
                    let payload = message.payload().unwrap_or_default();
                    if !self.take(payload, message.offset()) {
                        return;
                    }
                }
                Some(Err(error)) => debug!(topic = %self.topic, %error, "cannot read job reports"),
            }
        }
    }

    /// Assigns the partitions that are not assigned yet.
    fn look(&mut self, start: Offset) {
        self.looked_at = clock::now();
        let found = match partitions(&self.client, &self.topic, ANSWER_TIMEOUT) {
            Ok(found) => found,
            Err(error) => {
                debug!(topic = %self.topic, %error, "cannot look at the topic of job reports");
                return;
            }
        };
        let new = found.get(self.assigned..).unwrap_or_default();
        if let Err(error) = self.assign(new, start) {
            warn!(topic = %self.topic, %error, "cannot follow job reports");
            return;
        }
        self.assigned = self.assigned.max(found.len());
    }

    fn assign(&self, new: &[PartitionId], start: Offset) -> Result<(), rdkafka::error::KafkaError> {
        if new.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for partition in new {
            list.add_partition_offset(&partition.topic, partition.partition, start)?;
        }
        self.client.incremental_assign(&list)
    }

    /// Returns `false` when nobody listens any more.
    fn take(&self, payload: &[u8], offset: i64) -> bool {
        match CloudEvent::<RetrainingStatus>::from_json(payload) {
            Ok(event) => self.events.send(Event::RetrainReported(event.data)),
            // Other events may share the topic.
            Err(EventError::OtherType { .. }) => true,
            Err(error) => {
                warn!(topic = %self.topic, offset, %error, "a job report cannot be read");
                true
            }
        }
    }
}
