//! Reads what the topics of outputs hold, after the state of an earlier run was lost.
//!
//! Before: [`crate::courier`] has fenced every earlier producer, so nothing of theirs is added any
//! more. After: [`Published`], by which the pipeline knows what it decides a second time.
//!
//! Ends are asked for without regard to transactions, and then read up to by committed records
//! only: an open transaction of somebody else may lie before one of ours, and is waited for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use driftd_core::config::KafkaConfig;
use driftd_core::output::{Collected, OutputTopic, Published, SOURCE_HEADER};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use tracing::info;

use crate::clock::Stopwatch;
use crate::failpoint;
use crate::kafka::outputs::OutputTopics;
use crate::kafka::watch::partitions;
use crate::kafka::{Alone, ConnectError, lone_reader};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_TIMEOUT: Duration = Duration::from_millis(200);
/// A partition that gives neither a record nor its end is asked for anew.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How often progress is told.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// A reading that did not come to its end; it is begun anew.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadBackError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the topics of outputs cannot be read")]
    Kafka(#[from] KafkaError),
    #[error("an open transaction of another program holds back `{topic}`")]
    HeldBack { topic: Arc<str> },
    #[error("the daemon ends")]
    Ended,
}

/// Reads every partition of the topics up to its present end; `is_ending` gives up.
pub(crate) fn read_back(
    kafka: &KafkaConfig,
    topics: &OutputTopics,
    source: &str,
    is_ending: &dyn Fn() -> bool,
) -> Result<Published, ReadBackError> {
    let stopwatch = Stopwatch::start();
    let uncommitted = client(kafka, "read_uncommitted")?;
    let mut collected = Collected::default();
    for (kind, name) in topics.all() {
        let mut reading = Reading {
            topic: name.into(),
            kind,
            client: client(kafka, "read_committed")?,
            ends: BTreeMap::new(),
            next: BTreeMap::new(),
            source,
            collected: &mut collected,
        };
        reading.find_ends(&uncommitted)?;
        reading.read(is_ending)?;
    }
    let published = collected.published();
    info!(
        outputs = published.count(),
        forgotten = published.forgotten(),
        seconds = stopwatch.elapsed().as_secs_f64(),
        "read what earlier runs have sent"
    );
    Ok(published)
}

fn client(kafka: &KafkaConfig, isolation: &str) -> Result<BaseConsumer<Alone>, ConnectError> {
    Ok(lone_reader(kafka, "-outbox")?
        .set("enable.partition.eof", "true")
        .set("isolation.level", isolation)
        .set("queued.max.messages.kbytes", "16384")
        .create_with_context(Alone)?)
}

/// One topic; the client's end of a partition does not name it.
struct Reading<'a> {
    topic: Arc<str>,
    kind: OutputTopic,
    client: BaseConsumer<Alone>,
    /// Ends of the partitions that are not read up to there.
    ends: BTreeMap<i32, i64>,
    /// Where those go on.
    next: BTreeMap<i32, i64>,
    source: &'a str,
    collected: &'a mut Collected,
}

impl Reading<'_> {
    fn find_ends(&mut self, uncommitted: &BaseConsumer<Alone>) -> Result<(), ReadBackError> {
        for partition in partitions(uncommitted, &self.topic, ANSWER_TIMEOUT)? {
            let partition = partition.partition;
            let (begin, end) =
                uncommitted.fetch_watermarks(&self.topic, partition, ANSWER_TIMEOUT)?;
            if end <= begin {
                continue;
            }
            let (_, stable) =
                self.client.fetch_watermarks(&self.topic, partition, ANSWER_TIMEOUT)?;
            if stable < end {
                return Err(ReadBackError::HeldBack { topic: Arc::clone(&self.topic) });
            }
            self.ends.insert(partition, end);
            self.next.insert(partition, begin);
        }
        Ok(())
    }

    /// Below the ends nothing is pending any more: where the client finds the end of a partition,
    /// it has passed ours. By offsets alone it would not be seen: the last may be no record.
    fn read(&mut self, is_ending: &dyn Fn() -> bool) -> Result<(), ReadBackError> {
        let mut heard = Stopwatch::start();
        let mut told = Stopwatch::start();
        self.assign()?;
        while !self.ends.is_empty() {
            if is_ending() {
                return Err(ReadBackError::Ended);
            }
            failpoint::hit("read_back.poll");
            match self.client.poll(POLL_TIMEOUT) {
                Some(Ok(message)) => {
                    heard = Stopwatch::start();
                    let (partition, next) = (message.partition(), message.offset() + 1);
                    let payload = message.payload().unwrap_or_default();
                    let writer = writer(&message);
                    self.collected.take(self.source, self.kind, writer.as_deref(), payload);
                    self.next.insert(partition, next);
                    if self.ends.get(&partition).is_some_and(|end| *end <= next) {
                        self.ends.remove(&partition);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.ends.remove(&partition);
                }
                Some(Err(error)) => return Err(error.into()),
                None if SILENCE_MAX < heard.elapsed() => {
                    self.assign()?;
                    heard = Stopwatch::start();
                }
                None => {}
            }
            if TELL_INTERVAL < told.elapsed() {
                told = Stopwatch::start();
                info!(topic = %self.topic, left = ?self.ends, "reading what earlier runs have sent");
            }
        }
        Ok(())
    }

    fn assign(&self) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for partition in self.ends.keys() {
            let next = Offset::Offset(self.next[partition]);
            list.add_partition_offset(&self.topic, *partition, next)?;
        }
        self.client.assign(&list)
    }
}

fn writer(message: &BorrowedMessage<'_>) -> Option<String> {
    let header = message.headers()?.iter().find(|it| it.key == SOURCE_HEADER)?;
    String::from_utf8(header.value?.to_vec()).ok()
}
