//! What launchers did with which event: the status topic, read from its beginning, then followed.
//!
//! Before: the status topic. After: [`crate::launch::desk`] repeats no event that is in it. The
//! topic's order decides which launcher an event belongs to: the first that said it starts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use driftd_catalog::Timestamp;
use driftd_catalog::event::{CloudEvent, RetrainingState, RetrainingStatus};
use driftd_core::config::KafkaConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tracing::debug;

use crate::clock::Stopwatch;
use crate::kafka::watch::partitions;
use crate::kafka::{Alone, ConnectError, lone_reader};

/// Time that reading the whole topic may take.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_TIMEOUT: Duration = Duration::from_millis(200);
/// Messages noted at once while following; the rest is for the next time.
const MESSAGES_MAX: usize = 1_000;

/// Events that are remembered, the newest: an older one that came again would run again.
const EVENTS_MAX: usize = 100_000;

/// What is known of every event.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: BTreeMap<String, Entry>,
    /// Ids of the entries, oldest first.
    order: VecDeque<String>,
}

#[derive(Debug)]
struct Entry {
    model: Box<str>,
    /// The last report; a final one stays.
    report: RetrainingStatus,
    /// Who said first that it starts the job.
    starter: Option<String>,
    /// When that was, unless the job never ran.
    started_at: Option<Timestamp>,
}

impl Ledger {
    /// Returns the last report on an event.
    pub(crate) fn report(&self, id: &str) -> Option<&RetrainingStatus> {
        self.entries.get(id).map(|entry| &entry.report)
    }

    /// Returns the launcher that an event belongs to, once one has said that it starts the job.
    pub(crate) fn starter(&self, id: &str) -> Option<&str> {
        self.entries.get(id)?.starter.as_deref()
    }

    /// Returns when the job of an event started, unless it never ran.
    pub(crate) fn started_at(&self, id: &str) -> Option<Timestamp> {
        self.entries.get(id)?.started_at
    }

    /// Returns when the last job of a model started.
    pub(crate) fn last_start(&self, model: &str) -> Option<Timestamp> {
        let own = self.entries.values().filter(|entry| *entry.model == *model);
        own.filter_map(|entry| entry.started_at).max()
    }

    /// Notes a report. Those on one event must come in the topic's order.
    pub(crate) fn note(&mut self, model: &str, report: &RetrainingStatus) {
        let entry = self.entries.entry(report.request_id.clone()).or_insert_with(|| {
            self.order.push_back(report.request_id.clone());
            Entry { model: model.into(), report: report.clone(), starter: None, started_at: None }
        });
        entry.note(report);
        while EVENTS_MAX < self.order.len() {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
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

impl Entry {
    fn note(&mut self, report: &RetrainingStatus) {
        if report.state == RetrainingState::Started && self.starter.is_none() {
            self.starter.clone_from(&report.launcher);
            self.started_at = report.started_at;
        }
        let is_owner = |it: &RetrainingStatus| it.launcher.is_some() && it.launcher == self.starter;
        let is_news = if self.report.state.is_final() {
            // What the owner says goes over what another launcher took for granted.
            report.state.is_final() && is_owner(report) && !is_owner(&self.report)
        } else {
            report.state != RetrainingState::Accepted
        };
        if is_news {
            self.report = report.clone();
        }
        if self.report.state.is_final() && self.report.started_at.is_none() {
            self.started_at = None;
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
    /// The launcher is to end.
    #[error("the launcher is stopping")]
    Stopped,
}

/// Follows the status topic.
pub(crate) struct LedgerReader(BaseConsumer<Alone>);

impl LedgerReader {
    /// Reads the whole topic, up to the ends that it has now; one that does not exist yet is empty.
    pub(crate) fn open(
        kafka: &KafkaConfig,
        topic: &str,
        stopping: &AtomicBool,
    ) -> Result<(Self, Ledger), LedgerError> {
        let client: BaseConsumer<Alone> = lone_reader(kafka, "-ledger")?
            .set("enable.partition.eof", "true")
            .create_with_context(Alone)
            .map_err(ConnectError::from)?;
        let mut all = TopicPartitionList::new();
        let mut missing = Vec::new();
        for id in partitions(&client, &topic.into(), ANSWER_TIMEOUT)? {
            let (first, end) = client.fetch_watermarks(topic, id.partition, ANSWER_TIMEOUT)?;
            all.add_partition_offset(topic, id.partition, Offset::Offset(first))?;
            if first < end {
                missing.push(id.partition);
            }
        }
        client.assign(&all)?;
        let mut ledger = Ledger::default();
        let stopwatch = Stopwatch::start();
        while !missing.is_empty() {
            if stopping.load(Ordering::Relaxed) {
                return Err(LedgerError::Stopped);
            }
            if READ_TIMEOUT < stopwatch.elapsed() {
                return Err(LedgerError::Timeout { missing: missing.len() });
            }
            match client.poll(POLL_TIMEOUT) {
                None => {}
                Some(Ok(message)) => ledger.note_message(message.payload().unwrap_or_default()),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    missing.retain(|it| *it != partition);
                }
                // The client tries again; the timeout bounds how long.
                Some(Err(error)) => debug!(topic, %error, "cannot read job reports"),
            }
        }
        Ok((Self(client), ledger))
    }

    /// Notes what has come since.
    pub(crate) fn follow(&self, ledger: &mut Ledger) {
        for _ in 0..MESSAGES_MAX {
            match self.0.poll(Duration::ZERO) {
                None => return,
                Some(Ok(message)) => ledger.note_message(message.payload().unwrap_or_default()),
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) => {
                    debug!(%error, "cannot read job reports");
                    return;
                }
            }
        }
    }
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

    fn by(launcher: &str, state: RetrainingState, started_at: Option<i64>) -> RetrainingStatus {
        let launcher = Some(launcher.to_owned());
        RetrainingStatus { launcher, ..report("a", state, started_at) }
    }

    #[test]
    fn the_first_launcher_that_says_so_starts_the_job() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.starter("a"), None);
        ledger.note("flights", &by("one", RetrainingState::Started, Some(5)));
        ledger.note("flights", &by("two", RetrainingState::Started, Some(6)));
        assert_eq!(ledger.starter("a"), Some("one"));
        assert_eq!(ledger.started_at("a"), Some(Timestamp::from_millis(5)));
    }

    #[test]
    fn the_owner_knows_better_than_who_took_it_for_dead() {
        let mut ledger = Ledger::default();
        ledger.note("flights", &by("one", RetrainingState::Started, Some(5)));
        ledger.note("flights", &report("a", RetrainingState::Failed, Some(5)));
        ledger.note("flights", &by("one", RetrainingState::Succeeded, Some(5)));
        ledger.note("flights", &by("two", RetrainingState::Failed, Some(5)));
        let state = ledger.report("a").map(|it| it.state);
        assert_eq!(state, Some(RetrainingState::Succeeded));
    }

    #[test]
    fn the_newest_start_of_a_model_is_remembered_unless_the_job_never_ran() {
        let mut ledger = Ledger::default();
        for (id, at) in [("a", 5), ("b", 9), ("c", 7)] {
            ledger.note("flights", &report(id, RetrainingState::Started, Some(at)));
        }
        assert_eq!(ledger.last_start("flights"), Some(Timestamp::from_millis(9)));
        assert_eq!(ledger.last_start("other"), None);
        ledger.note("flights", &report("b", RetrainingState::Failed, None));
        assert_eq!(ledger.last_start("flights"), Some(Timestamp::from_millis(7)));
        ledger.note("flights", &report("c", RetrainingState::Failed, Some(7)));
        assert_eq!(ledger.last_start("flights"), Some(Timestamp::from_millis(7)));
    }

    #[test]
    fn the_oldest_events_are_forgotten_beyond_the_bound() {
        let mut ledger = Ledger::default();
        for id in 0..=EVENTS_MAX {
            ledger.note("flights", &report(&id.to_string(), RetrainingState::Accepted, None));
        }
        assert!(ledger.report("0").is_none());
        assert!(ledger.report("1").is_some());
        assert_eq!(ledger.entries.len(), EVENTS_MAX);
    }
}
