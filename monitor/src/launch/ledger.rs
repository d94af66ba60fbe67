//! What earlier launchers did with which event: the status topic, read once from its beginning.
//!
//! Before: the status topic. After: [`crate::launch::desk`] refuses events that are in it. It reads
//! up to the ends that the topic had when reading began.

use std::collections::BTreeMap;
use std::time::Duration;

use driftd_catalog::event::{CloudEvent, RetrainingState, RetrainingStatus};
use driftd_core::config::KafkaConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::clock::Stopwatch;
use crate::kafka::watch::partitions;
use crate::kafka::{ConnectError, base};

/// Time that reading the whole topic may take.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_TIMEOUT: Duration = Duration::from_millis(200);

/// Last known state of every event, by its id.
pub(crate) type Ledger = BTreeMap<String, RetrainingState>;

/// A status topic that cannot be read to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// A client could not be made.
    #[error("cannot connect to Kafka")]
    Connect(#[from] ConnectError),
    /// The topic or its ends are not known.
    #[error("cannot look at topic `{topic}`")]
    Look {
        /// The topic.
        topic: String,
        /// Why not.
        #[source]
        source: KafkaError,
    },
    /// The end was not reached in time.
    #[error(
        "topic `{topic}` could not be read to its end within {} s: {missing} partitions are left",
        READ_TIMEOUT.as_secs()
    )]
    Timeout {
        /// The topic.
        topic: String,
        /// Partitions whose end was not reached.
        missing: usize,
    },
}

/// Reads the whole status topic; one that does not exist yet is empty.
pub(crate) fn read(kafka: &KafkaConfig, topic: &str) -> Result<Ledger, LedgerError> {
    let client: BaseConsumer = base(kafka)?
        // librdkafka asks for a group even where none is joined.
        .set("group.id", format!("{}-ledger", kafka.group))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true")
        .create()
        .map_err(ConnectError::from)?;
    let look = |source| LedgerError::Look { topic: topic.to_owned(), source };
    let found = partitions(&client, &topic.into(), ANSWER_TIMEOUT).map_err(look)?;
    let mut unread = TopicPartitionList::new();
    let mut missing = Vec::new();
    for id in found {
        let (first, end) =
            client.fetch_watermarks(topic, id.partition, ANSWER_TIMEOUT).map_err(look)?;
        if first < end {
            unread
                .add_partition_offset(topic, id.partition, Offset::Offset(first))
                .map_err(look)?;
            missing.push(id.partition);
        }
    }
    client.assign(&unread).map_err(look)?;
    let mut ledger = Ledger::new();
    let stopwatch = Stopwatch::start();
    while !missing.is_empty() {
        if READ_TIMEOUT < stopwatch.elapsed() {
            return Err(LedgerError::Timeout { topic: topic.to_owned(), missing: missing.len() });
        }
        match client.poll(POLL_TIMEOUT) {
            None => {}
            Some(Ok(message)) => note(&mut ledger, message.payload().unwrap_or_default()),
            Some(Err(KafkaError::PartitionEOF(partition))) => missing.retain(|it| *it != partition),
            Some(Err(source)) => return Err(look(source)),
        }
    }
    Ok(ledger)
}

/// Notes one report; anything else in the topic says nothing about events.
fn note(ledger: &mut Ledger, payload: &[u8]) {
    if let Ok(event) = CloudEvent::<RetrainingStatus>::from_json(payload) {
        let RetrainingStatus { request_id, state, .. } = event.data;
        // Reports of one event are ordered by the partition's key; a final state stays.
        let known = ledger.entry(request_id).or_insert(state);
        if !known.is_final() {
            *known = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use driftd_catalog::Timestamp;
    use driftd_catalog::event::ModelRef;

    use super::*;

    fn report(id: &str, state: RetrainingState) -> Vec<u8> {
        let status = RetrainingStatus {
            request_id: id.to_owned(),
            state,
            reason: None,
            exit_code: None,
            started_at: None,
            finished_at: None,
            new_version: None,
            reference: None,
        };
        let model = ModelRef { name: "flights".into(), version: "1".into() };
        CloudEvent::new("/driftd/test", id.to_owned(), Timestamp::from_millis(0), &model, status)
            .to_json()
    }

    #[test]
    fn the_last_state_counts_and_a_final_one_stays() {
        let mut ledger = Ledger::new();
        note(&mut ledger, &report("a", RetrainingState::Accepted));
        note(&mut ledger, &report("a", RetrainingState::Started));
        note(&mut ledger, &report("b", RetrainingState::Succeeded));
        note(&mut ledger, &report("b", RetrainingState::Started));
        note(&mut ledger, b"not an event");
        let states: Vec<_> = ledger.into_iter().collect();
        let expected = [
            ("a".to_owned(), RetrainingState::Started),
            ("b".to_owned(), RetrainingState::Succeeded),
        ];
        assert_eq!(states, expected);
    }
}
