//! Reads back what lies in a topic: dead letters, events, results.

use std::collections::BTreeMap;
use std::time::Duration;

use driftd_fixtures::wait;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;

/// Far above what a broker on loopback needs for an answer.
const TIMEOUT: Duration = Duration::from_mins(1);

/// One message, as it lies in the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Partition it lies in.
    pub partition: i32,
    /// Its place there.
    pub offset: i64,
    /// Key; absent is another thing than empty.
    pub key: Option<Vec<u8>>,
    /// Value; absent in a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Headers as text, the last of each name.
    pub headers: BTreeMap<String, String>,
}

impl Record {
    /// The value as JSON; fails the test showing the value when it is none.
    pub fn json(&self) -> Value {
        let payload = self.payload.as_deref().unwrap_or_default();
        serde_json::from_slice(payload)
            .unwrap_or_else(|e| panic!("not JSON ({e}): {}", String::from_utf8_lossy(payload)))
    }

    fn copy(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        let text = |value: Option<&[u8]>| {
            String::from_utf8(value.unwrap_or_default().to_vec()).expect("headers are text")
        };
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: headers.map(|it| (it.key.to_owned(), text(it.value))).collect(),
        }
    }
}

/// A topic read from its beginning on. The records of a partition are in order of their offsets.
pub struct Reader {
    topic: String,
    client: BaseConsumer,
    /// Offset that is read next, by partition.
    next: Vec<i64>,
    records: Vec<Record>,
}

impl Reader {
    /// Starts at the beginning of each of the topic's partitions.
    pub fn open(bootstrap: &str, topic: &str, partitions: i32) -> Self {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            // librdkafka asks for a group even where none is joined.
            .set("group.id", format!("reader-of-{topic}"))
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "20")
            .create()
            .expect("the settings are those of librdkafka");
        Self {
            topic: topic.to_owned(),
            client,
            next: (0..partitions).map(|_| 0).collect(),
            records: Vec::new(),
        }
    }

    /// Reads up to the topic's present ends, and returns all records so far: those of open and of
    /// aborted transactions are not among them.
    ///
    /// The last offset before an end may hold no record. So the partitions that have more are
    /// assigned anew, and each is read until the client says that it is at the end.
    pub fn all(&mut self) -> &[Record] {
        let ends: Vec<i64> = (0_i32..).zip(&self.next).map(|(it, _)| self.end(it)).collect();
        let mut left = TopicPartitionList::new();
        for (partition, (next, end)) in (0_i32..).zip(self.next.iter().zip(&ends)) {
            if next < end {
                let next = Offset::Offset(*next);
                left.add_partition_offset(&self.topic, partition, next).expect("a plain offset");
            }
        }
        self.client.assign(&left).expect("a manual assignment needs no group");
        let read = wait::for_value(TIMEOUT, || {
            while let Some(message) = self.client.poll(Duration::ZERO) {
                let message = match message {
                    Ok(message) => message,
                    Err(KafkaError::PartitionEOF(partition)) => {
                        let index = usize::try_from(partition).expect("partitions start at 0");
                        self.next[index] = self.next[index].max(ends[index]);
                        continue;
                    }
                    // A broker that is gone: the client goes to another, or the deadline comes.
                    Err(error) if is_transport(&error) => continue,
                    Err(error) => panic!("cannot read `{}`: {error}", self.topic),
                };
                let record = Record::copy(&message);
                let partition = usize::try_from(record.partition).expect("partitions start at 0");
                self.next[partition] = record.offset + 1;
                self.records.push(record);
            }
            self.next.iter().zip(&ends).all(|(next, end)| end <= next).then_some(())
        });
        assert!(
            read.is_some(),
            "`{}` read up to {:?}, but it ends at {ends:?}",
            self.topic,
            self.next
        );
        &self.records
    }

    /// Reads on until `is_enough`; fails the test naming `what` after `deadline`.
    pub fn until(
        &mut self,
        what: &str,
        deadline: Duration,
        is_enough: impl Fn(&[Record]) -> bool,
    ) -> &[Record] {
        let found = wait::for_value(deadline, || is_enough(self.all()).then_some(()));
        assert!(found.is_some(), "`{}`: waited in vain for {what}: {:#?}", self.topic, self.tail());
        &self.records
    }

    /// The last values as text, for a failure message.
    fn tail(&self) -> Vec<String> {
        let from = self.records.len().saturating_sub(10);
        let payloads = self.records[from..].iter().filter_map(|record| record.payload.as_deref());
        payloads.map(|payload| String::from_utf8_lossy(payload).into_owned()).collect()
    }

    fn end(&self, partition: i32) -> i64 {
        let (_, end) =
            self.client.fetch_watermarks(&self.topic, partition, TIMEOUT).unwrap_or_else(|e| {
                panic!("no offsets of `{}` partition {partition}: {e}", self.topic)
            });
        end
    }
}

fn is_transport(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown)
    )
}
