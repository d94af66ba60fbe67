//! Reads some messages of a topic to be looked at, and leaves no trace: no group, no offset.
//!
//! Before: `driftd inspect` and `driftd check` say how many. After: [`SampledMessage`]s, which the
//! core looks at. Spread over the partitions; bounded in messages, bytes and time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use driftd_catalog::Timestamp;
use driftd_core::config::KafkaConfig;
use driftd_core::sample::SampledMessage;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::clock::Stopwatch;
use crate::kafka::headers;
use crate::kafka::trouble::{self, Trouble};
use crate::kafka::watch::partitions;
use crate::kafka::{ConnectError, lone_reader};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// Payloads taken in all: what a look at them takes is some times as much.
const BYTES_MAX: usize = 32 << 20;

/// Which messages of each partition are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Side {
    /// Those that the topic has held longest.
    Oldest,
    /// Those that came last.
    Newest,
}

/// How much is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Messages of all partitions.
    pub(crate) messages: usize,
    /// Time that reading may take, besides the first answers.
    pub(crate) time: Duration,
}

/// What was taken.
#[derive(Debug)]
pub(crate) struct Sample {
    /// By partition and offset.
    pub(crate) messages: Vec<SampledMessage>,
    /// Partitions of the topic.
    pub(crate) partitions: usize,
    /// Messages that they hold; those of aborted transactions are counted too.
    pub(crate) held: u64,
    /// A bound that was met before all were taken.
    pub(crate) cut: Option<Cut>,
}

/// A bound that ended the reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Bytes,
    Time,
}

/// A topic that no message could be taken from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SampleError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("no answer from {told}: check the brokers and the network")]
    NoAnswer {
        /// By whom and within which time, and what the client was told last.
        told: String,
        #[source]
        source: KafkaError,
    },
    #[error("topic `{topic}` does not exist")]
    NoTopic { topic: String },
    #[error("topic `{topic}` cannot be read")]
    Read {
        topic: String,
        #[source]
        source: KafkaError,
    },
}

/// Takes messages of `topic`.
pub(crate) fn sample(
    kafka: &KafkaConfig,
    topic: &str,
    side: Side,
    bounds: Bounds,
) -> Result<Sample, SampleError> {
    let client: BaseConsumer<Trouble> = lone_reader(kafka, "-sample")?
        .set("enable.partition.eof", "true")
        .set("queued.max.messages.kbytes", "16384")
        .create_with_context(Trouble::default())
        .map_err(ConnectError::from)?;
    let topic: Arc<str> = topic.into();
    let read_error = |source| SampleError::Read { topic: topic.to_string(), source };
    let found = partitions(&client, &topic, ANSWER_TIMEOUT).map_err(|source| {
        if !is_silence(&source) {
            return read_error(source);
        }
        let last = trouble::hear(&client).map_or(String::new(), |last| format!(" (last: {last})"));
        let seconds = ANSWER_TIMEOUT.as_secs();
        let told = format!("`{}` within {seconds} s{last}", kafka.brokers);
        SampleError::NoAnswer { told, source }
    })?;
    if found.is_empty() {
        return Err(SampleError::NoTopic { topic: topic.to_string() });
    }
    let mut held = Vec::new();
    for id in &found {
        let ends = ends(&client, &topic, id.partition).map_err(read_error)?;
        held.push((id.partition, ends));
    }
    let spans = spans(&held, side, bounds.messages);
    let mut reading = Reading { client: &client, topic: &topic, spans, messages: Vec::new() };
    let cut = reading.read(bounds.time).map_err(read_error)?;
    let mut messages = reading.messages;
    messages.sort_by_key(|it| (it.partition, it.offset));
    let held = held.iter().map(|(_, (begin, end))| u64::try_from(end - begin).unwrap_or(0)).sum();
    Ok(Sample { messages, partitions: found.len(), held, cut })
}

/// Returns the first offset of a partition and the one behind its last. A topic that was made a
/// moment ago, or a leader that moved, is asked again.
fn ends(
    client: &BaseConsumer<Trouble>,
    topic: &str,
    partition: i32,
) -> Result<(i64, i64), KafkaError> {
    let stopwatch = Stopwatch::start();
    loop {
        match client.fetch_watermarks(topic, partition, ANSWER_TIMEOUT) {
            Err(error) if is_moving(&error) && stopwatch.elapsed() < ANSWER_TIMEOUT => {
                thread::park_timeout(POLL_TIMEOUT);
            }
            ends => return ends,
        }
    }
}

fn is_moving(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}

/// Whether no broker answered, and not one that refused; the client tries again by itself.
fn is_silence(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve
        )
    )
}

/// Offsets of a partition that are still to be read.
type Spans = BTreeMap<i32, (i64, i64)>;

/// Chooses offsets of each partition, given its first and the one behind its last.
fn spans(held: &[(i32, (i64, i64))], side: Side, messages: usize) -> Spans {
    let mut left = i64::try_from(messages).unwrap_or(i64::MAX);
    let mut by_size: Vec<_> = held.iter().map(|(id, (begin, end))| (end - begin, *id)).collect();
    by_size.sort_unstable();
    let ends: BTreeMap<i32, (i64, i64)> = held.iter().copied().collect();
    let mut spans = Spans::new();
    let mut partitions = i64::try_from(by_size.len()).unwrap_or(i64::MAX);
    // What a small partition has not is taken from larger ones.
    for (size, partition) in by_size {
        let share = (left + partitions - 1) / partitions;
        let count = size.clamp(0, share);
        partitions -= 1;
        left -= count;
        let (begin, end) = ends[&partition];
        if 0 < count {
            let span = match side {
                Side::Oldest => (begin, begin + count),
                Side::Newest => (end - count, end),
            };
            spans.insert(partition, span);
        }
    }
    spans
}

struct Reading<'a> {
    client: &'a BaseConsumer<Trouble>,
    topic: &'a str,
    spans: Spans,
    messages: Vec<SampledMessage>,
}

impl Reading<'_> {
    /// Reads until every span is at its end. The last offset of one may be no message: the end of
    /// the partition tells it too.
    fn read(&mut self, time: Duration) -> Result<Option<Cut>, KafkaError> {
        let mut list = TopicPartitionList::new();
        for (partition, (begin, _)) in &self.spans {
            list.add_partition_offset(self.topic, *partition, Offset::Offset(*begin))?;
        }
        self.client.assign(&list)?;
        let stopwatch = Stopwatch::start();
        let mut bytes = 0;
        let mut trouble = None;
        while !self.spans.is_empty() {
            match self.client.poll(POLL_TIMEOUT) {
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some((_, end)) = self.spans.get(&partition).copied() else { continue };
                    if offset < end {
                        bytes += message.payload_len();
                        self.messages.push(owned(&message));
                    }
                    if end <= offset + 1 {
                        self.leave(partition)?;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => self.leave(partition)?,
                Some(Err(error)) if is_silence(&error) => trouble = Some(error),
                Some(Err(error)) => return Err(error),
                None => {}
            }
            if BYTES_MAX <= bytes {
                return Ok(Some(Cut::Bytes));
            }
            if time <= stopwatch.elapsed() {
                let is_in_vain = self.messages.is_empty();
                return trouble.filter(|_| is_in_vain).map_or(Ok(Some(Cut::Time)), Err);
            }
        }
        Ok(None)
    }

    /// Reads no more of a partition, so that a large one is not fetched for nothing.
    fn leave(&mut self, partition: i32) -> Result<(), KafkaError> {
        if self.spans.remove(&partition).is_some() {
            let mut list = TopicPartitionList::new();
            list.add_partition(self.topic, partition);
            self.client.pause(&list)?;
        }
        Ok(())
    }
}

fn owned(message: &BorrowedMessage<'_>) -> SampledMessage {
    let headers = headers::of(message);
    SampledMessage {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().map(Timestamp::from_millis),
        payload: message.payload().map(<[u8]>::to_vec),
        key: message.key().map(<[u8]>::to_vec),
        headers: headers.map(|it| (it.key.to_owned(), it.value.map(<[u8]>::to_vec))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_spread_over_partitions_and_small_ones_give_what_they_have() {
        let held = [(0, (5, 105)), (1, (0, 2)), (2, (7, 7)), (3, (0, 50))];
        let newest = spans(&held, Side::Newest, 42);
        assert_eq!(newest, Spans::from([(0, (85, 105)), (1, (0, 2)), (3, (30, 50))]));
        let oldest = spans(&held, Side::Oldest, 42);
        assert_eq!(oldest, Spans::from([(0, (5, 25)), (1, (0, 2)), (3, (0, 20))]));
    }

    #[test]
    fn no_more_is_taken_than_is_asked_for_or_held() {
        for (messages, expected) in [(0, 0), (1, 1), (2, 2), (3, 3), (7, 7), (8, 7), (1_000, 7)] {
            let held = [(0, (0, 3)), (1, (10, 14)), (2, (9, 9))];
            let taken: i64 =
                spans(&held, Side::Newest, messages).values().map(|(begin, end)| end - begin).sum();
            assert_eq!(taken, expected, "{messages}");
        }
    }
}
