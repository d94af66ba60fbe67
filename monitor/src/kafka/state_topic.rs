//! Reads what was kept in one partition of the state topic.
//!
//! Before: a partition or a lane is assigned. After: [`driftd_core::state`] goes on from the rows.
//! What another process was about to commit is waited for: it counts, or it was aborted.

use std::collections::BTreeMap;
use std::time::Duration;

use driftd_core::config::KafkaConfig;
use driftd_core::state::Row;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, info};

use crate::clock::Stopwatch;
use crate::kafka::{Alone, ConnectError, lone_reader};
use crate::memory;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Rows read between two signs of life.
const ROWS_BETWEEN_BEATS: u64 = 1_024;
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// Longer than a transaction may stay open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is told how far reading is.
const TELL_INTERVAL: Duration = Duration::from_secs(5);
/// What a group grants between two polls where nothing else is configured.
const POLL_INTERVAL: Duration = Duration::from_mins(5);
/// Without a message for this long, reading is given up and begun anew by the caller.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);

/// Rows that could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StateTopicError {
    /// The client cannot be made.
    #[error("the reader of the state topic cannot be made")]
    Connect(#[from] ConnectError),
    /// The cluster refused or did not answer.
    #[error("cannot read partition {partition} of state topic `{topic}`")]
    Read {
        topic: String,
        partition: i32,
        #[source]
        source: KafkaError,
    },
    /// Somebody's transaction stays open.
    #[error(
        "a transaction in partition {partition} of state topic `{topic}` stays open: is its process hanging?"
    )]
    Open { topic: String, partition: i32 },
    /// There is more than can be read before the group takes the member for gone.
    #[error(
        "{rows} rows of partition {partition} of state topic `{topic}` were read in {seconds} s, and \
         there are more: if it stays so, raise `max.poll.interval.ms` in `kafka.properties`, or \
         let the broker compact the topic sooner"
    )]
    Long { topic: String, partition: i32, rows: u64, seconds: u64 },
    /// The end does not come.
    #[error("partition {partition} of state topic `{topic}` does not come to its end")]
    Silent { topic: String, partition: i32 },
}

/// How long the caller may be kept waiting in all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    since: Stopwatch,
    max: Duration,
}

impl Patience {
    /// Half of what the group grants between two polls: the other half is for what comes behind.
    pub(crate) fn of(kafka: &KafkaConfig) -> Self {
        let granted = kafka.properties.iter().find(|(name, _)| name == "max.poll.interval.ms");
        let granted = granted.and_then(|(_, millis)| millis.parse().ok());
        let granted = granted.map_or(POLL_INTERVAL, Duration::from_millis);
        Self { since: Stopwatch::start(), max: granted / 2 }
    }

    /// Not longer than `max`, if there is one.
    pub(crate) fn at_most(self, max: Option<Duration>) -> Self {
        Self { max: max.map_or(self.max, |max| max.min(self.max)), ..self }
    }

    fn is_over(self) -> bool {
        self.max < self.since.elapsed()
    }
}

/// A reader of the state topic.
pub(crate) struct StateTopic {
    topic: String,
    patience: Patience,
    /// Sees what is committed.
    committed: BaseConsumer<Alone>,
    /// Sees where the log ends.
    all: BaseConsumer<Alone>,
}

impl StateTopic {
    pub(crate) fn connect(
        kafka: &KafkaConfig,
        topic: &str,
        patience: Patience,
    ) -> Result<Self, StateTopicError> {
        let client = |isolation: &str| -> Result<BaseConsumer<Alone>, ConnectError> {
            let client = lone_reader(kafka, ".state-reader")?
                .set("enable.partition.eof", "true")
                .set("fetch.wait.max.ms", "50")
                .set("fetch.queue.backoff.ms", "20")
                .set("queued.max.messages.kbytes", (memory::STATE_QUEUE_BYTES >> 10).to_string())
                .set("check.crcs", "true")
                .set("isolation.level", isolation)
                .create_with_context(Alone)?;
            Ok(client)
        };
        let (committed, all) = (client("read_committed")?, client("read_uncommitted")?);
        Ok(Self { topic: topic.to_owned(), patience, committed, all })
    }

    /// Returns the newest row of each key. `beat` is called now and then.
    pub(crate) fn rows(
        &self,
        partition: i32,
        beat: &dyn Fn(),
    ) -> Result<Vec<Row>, StateTopicError> {
        let error = |source| StateTopicError::Read { topic: self.topic.clone(), partition, source };
        self.go_on(partition, 0)?;
        let target = self.wait_for_open(partition, beat)?;
        self.assign(partition, Offset::Beginning)?;
        let rows = self.read(partition, target, beat);
        self.committed.unassign().map_err(error)?;
        rows
    }

    fn go_on(&self, partition: i32, rows: u64) -> Result<(), StateTopicError> {
        if !self.patience.is_over() {
            return Ok(());
        }
        let seconds = self.patience.since.elapsed().as_secs();
        Err(StateTopicError::Long { topic: self.topic.clone(), partition, rows, seconds })
    }

    fn assign(&self, partition: i32, offset: Offset) -> Result<(), StateTopicError> {
        let error = |source| StateTopicError::Read { topic: self.topic.clone(), partition, source };
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, offset).map_err(error)?;
        self.committed.assign(&list).map_err(error)
    }

    fn end(&self, client: &BaseConsumer<Alone>, partition: i32) -> Result<i64, StateTopicError> {
        let found = client.fetch_watermarks(&self.topic, partition, ANSWER_TIMEOUT);
        found.map(|(_, end)| end).map_err(|source| StateTopicError::Read {
            topic: self.topic.clone(),
            partition,
            source,
        })
    }

    /// Waits until nothing below the present end is undecided; returns that end.
    fn wait_for_open(&self, partition: i32, beat: &dyn Fn()) -> Result<i64, StateTopicError> {
        let target = self.end(&self.all, partition)?;
        let waiting = Stopwatch::start();
        while self.end(&self.committed, partition)? < target {
            if OPEN_TIMEOUT < waiting.elapsed() {
                return Err(StateTopicError::Open { topic: self.topic.clone(), partition });
            }
            self.go_on(partition, 0)?;
            beat();
            // Nothing is assigned: this is a pause that serves the client's callbacks.
            self.committed.poll(POLL_TIMEOUT);
        }
        Ok(target)
    }

    /// Reads to the end, which counts when it is found twice and shown not to be before `target`
    /// in between: a leader that has just come may not know all of its log yet. (The client does
    /// not tell the offset of an end, and what is read last lies before it: transactions end with
    /// offsets that hold no row.)
    fn read(
        &self,
        partition: i32,
        target: i64,
        beat: &dyn Fn(),
    ) -> Result<Vec<Row>, StateTopicError> {
        let mut rows = BTreeMap::new();
        let (mut silence, mut told) = (Stopwatch::start(), Stopwatch::start());
        let mut read = 0_u64;
        let mut next = Offset::Beginning;
        let mut is_confirmed = false;
        loop {
            if read.is_multiple_of(ROWS_BETWEEN_BEATS) {
                beat();
                self.go_on(partition, read)?;
            }
            if TELL_INTERVAL < told.elapsed() {
                told = Stopwatch::start();
                info!(topic = self.topic, partition, read, ?next, target, "reading what was kept");
            }
            match self.committed.poll(POLL_TIMEOUT) {
                Some(Ok(message)) => {
                    silence = Stopwatch::start();
                    read += 1;
                    next = Offset::Offset(message.offset() + 1);
                    is_confirmed = false;
                    let key = message.key().unwrap_or_default().to_vec();
                    match message.payload() {
                        Some(value) => rows.insert(key, value.to_vec()),
                        None => rows.remove(&key),
                    };
                }
                Some(Err(KafkaError::PartitionEOF(ended))) if ended == partition => {
                    if is_confirmed {
                        return Ok(rows.into_iter().collect());
                    }
                    is_confirmed = target <= self.end(&self.committed, partition)?;
                    self.assign(partition, next)?;
                }
                Some(Err(error)) => {
                    debug!(topic = self.topic, partition, %error, "the client retries");
                }
                None => {}
            }
            if SILENCE_TIMEOUT < silence.elapsed() {
                return Err(StateTopicError::Silent { topic: self.topic.clone(), partition });
            }
        }
    }
}
