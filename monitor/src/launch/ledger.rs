//! What launchers did with which event: the status topic, read from its beginning.
//!
//! Before: the status topic. After: [`crate::launch::desk`] repeats no event that is in it. A
//! reading goes up to the ends that the topic had when it began.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use driftd_catalog::Timestamp;
use driftd_catalog::event::{CloudEvent, RetrainingState, RetrainingStatus};
use driftd_core::config::KafkaConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::clock::Stopwatch;
use crate::kafka::watch::partitions;
use crate::kafka::{Alone, ConnectError, base};

/// Time that reading the whole topic may take.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_TIMEOUT: Duration = Duration::from_millis(200);

/// Events that are remembered, the newest: an older one that came again would run again.
const EVENTS_MAX: usize = 100_000;

/// The last report on every event, and the last start of every model.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    reports: BTreeMap<String, RetrainingStatus>,
    /// Ids of the reports, oldest first.
    order: VecDeque<String>,
    started: BTreeMap<Arc<str>, Timestamp>,
}

impl Ledger {
    /// Returns the last report on an event.
    pub(crate) fn report(&self, id: &str) -> Option<&RetrainingStatus> {
        self.reports.get(id)
    }

    /// Returns when the last job of a model started.
    pub(crate) fn started(&self, model: &str) -> Option<Timestamp> {
        self.started.get(model).copied()
    }

    /// Notes a report. Those on one event are in order; a final one stays.
    pub(crate) fn note(&mut self, model: &str, report: &RetrainingStatus) {
        if report.state == RetrainingState::Started
            && let Some(at) = report.started_at
        {
            let last = self.started.entry(model.into()).or_insert(at);
            *last = at.max(*last);
        }
        match self.reports.get_mut(&report.request_id) {
            Some(known) if known.state.is_final() => {}
            Some(known) => *known = report.clone(),
            None => {
                self.order.push_back(report.request_id.clone());
                self.reports.insert(report.request_id.clone(), report.clone());
            }
        }
        while EVENTS_MAX < self.order.len() {
            if let Some(oldest) = self.order.pop_front() {
                self.reports.remove(&oldest);
            }
        }
    }

    /// Notes a message; anything else in the topic says nothing about events.
    fn note_message(&mut self, payload: &[u8]) {
        if let Ok(event) = CloudEvent::<RetrainingStatus>::from_json(payload) {
            self.note(&event.partitionkey, &event.data);
        }
    }
}

/// A status topic that cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// A client could not be made.
    #[error("cannot connect to Kafka")]
    Connect(#[from] ConnectError),
    /// The topic, its ends or a message cannot be had.
    #[error("cannot read the topic")]
    Read(#[from] KafkaError),
    /// The end was not reached in time.
    #[error(
        "the topic could not be read to its end within {} s: {missing} partitions are left",
        READ_TIMEOUT.as_secs()
    )]
    Timeout {
        /// Partitions whose end was not reached.
        missing: usize,
    },
}

/// Reads the whole status topic; one that does not exist yet is empty.
pub(crate) fn read(kafka: &KafkaConfig, topic: &str) -> Result<Ledger, LedgerError> {
    let client: BaseConsumer<Alone> = base(kafka)?
        // librdkafka asks for a group even where none is joined.
        .set("group.id", format!("{}-ledger", kafka.group))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true")
        .create_with_context(Alone)
        .map_err(ConnectError::from)?;
    let mut unread = TopicPartitionList::new();
    let mut missing = Vec::new();
    for id in partitions(&client, &topic.into(), ANSWER_TIMEOUT)? {
        let (first, end) = client.fetch_watermarks(topic, id.partition, ANSWER_TIMEOUT)?;
        if first < end {
            unread.add_partition_offset(topic, id.partition, Offset::Offset(first))?;
            missing.push(id.partition);
        }
    }
    client.assign(&unread)?;
    let mut ledger = Ledger::default();
    let stopwatch = Stopwatch::start();
    while !missing.is_empty() {
        if READ_TIMEOUT < stopwatch.elapsed() {
            return Err(LedgerError::Timeout { missing: missing.len() });
        }
        match client.poll(POLL_TIMEOUT) {
            None => {}
            Some(Ok(message)) => ledger.note_message(message.payload().unwrap_or_default()),
            Some(Err(KafkaError::PartitionEOF(partition))) => missing.retain(|it| *it != partition),
            // The client tries again; the timeout bounds how long.
            Some(Err(error)) => tracing::debug!(topic, %error, "cannot read job reports"),
        }
    }
    Ok(ledger)
}

#[cfg(test)]
mod tests {
    use driftd_catalog::event::ModelRef;

    use super::*;

    fn report(id: &str, state: RetrainingState, started_at: Option<i64>) -> RetrainingStatus {
        RetrainingStatus {
            started_at: started_at.map(Timestamp::from_millis),
            ..RetrainingStatus::new(id, state)
        }
    }

    fn message(id: &str, state: RetrainingState) -> Vec<u8> {
        let model = ModelRef { name: "flights".into(), version: "1".into() };
        let status = report(id, state, None);
        CloudEvent::new("/driftd/test", id.to_owned(), Timestamp::from_millis(0), &model, status)
            .to_json()
    }

    #[test]
    fn the_last_state_counts_and_a_final_one_stays() {
        let mut ledger = Ledger::default();
        ledger.note_message(&message("a", RetrainingState::Accepted));
        ledger.note_message(&message("a", RetrainingState::Started));
        ledger.note_message(&message("b", RetrainingState::Succeeded));
        ledger.note_message(&message("b", RetrainingState::Started));
        ledger.note_message(b"not an event");
        let state = |id: &str| ledger.report(id).map(|it| it.state);
        assert_eq!(state("a"), Some(RetrainingState::Started));
        assert_eq!(state("b"), Some(RetrainingState::Succeeded));
        assert_eq!(state("c"), None);
    }

    #[test]
    fn the_newest_start_of_a_model_is_remembered() {
        let mut ledger = Ledger::default();
        for (id, at) in [("a", 5), ("b", 9), ("c", 7)] {
            ledger.note("flights", &report(id, RetrainingState::Started, Some(at)));
        }
        assert_eq!(ledger.started("flights"), Some(Timestamp::from_millis(9)));
        assert_eq!(ledger.started("other"), None);
    }

    #[test]
    fn the_oldest_events_are_forgotten_beyond_the_bound() {
        let mut ledger = Ledger::default();
        for id in 0..=EVENTS_MAX {
            ledger.note("flights", &report(&id.to_string(), RetrainingState::Accepted, None));
        }
        assert!(ledger.report("0").is_none());
        assert!(ledger.report("1").is_some());
        assert_eq!(ledger.reports.len(), EVENTS_MAX);
    }
}
