//! How much the queues of a Kafka client hold, of what librdkafka now and then tells of itself.
//!
//! Before: the statistics that a client's context is given between two polls. After:
//! [`crate::memory::held`]. Only what is wanted of the statistics is read: they name every broker
//! and partition.

use std::collections::BTreeMap;

use driftd_catalog::label::MemoryOwner;
use rdkafka::ClientConfig;
use serde::Deserialize;
use tracing::debug;

use crate::memory::held::Holder;

/// How often a client tells.
const INTERVAL_MILLIS: &str = "5000";

/// The queues of one client.
#[derive(Debug)]
pub(crate) struct Queues(Holder);

#[derive(Deserialize)]
struct Statistics {
    /// Bytes of messages that a producer was given and brokers have not answered for.
    #[serde(default)]
    msg_size: u64,
    #[serde(default)]
    topics: BTreeMap<String, Topic>,
}

#[derive(Deserialize)]
struct Topic {
    #[serde(default)]
    partitions: BTreeMap<String, Partition>,
}

#[derive(Deserialize)]
struct Partition {
    #[serde(default)]
    fetchq_size: u64,
}

impl Queues {
    /// Of a client that reads.
    pub(crate) fn fetching() -> Self {
        Self(Holder::new(MemoryOwner::FetchQueues))
    }

    /// Of a client that writes.
    pub(crate) fn producing() -> Self {
        Self(Holder::new(MemoryOwner::ProducerQueues))
    }

    /// Takes what the client tells.
    pub(crate) fn told(&self, statistics: &[u8]) {
        match serde_json::from_slice::<Statistics>(statistics) {
            Ok(statistics) => self.0.set(statistics.bytes()),
            Err(error) => debug!(%error, "the client's statistics cannot be read"),
        }
    }
}

/// Has a client tell.
pub(crate) fn tell(client: &mut ClientConfig) {
    client.set("statistics.interval.ms", INTERVAL_MILLIS);
}

impl Statistics {
    /// Partitions pass what was fetched on to one queue of the client, and each tells of all of it.
    fn bytes(&self) -> u64 {
        let partitions = self.topics.values().flat_map(|topic| topic.partitions.values());
        self.msg_size + partitions.map(|partition| partition.fetchq_size).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(statistics: &str) -> u64 {
        serde_json::from_str::<Statistics>(statistics).unwrap().bytes()
    }

    #[test]
    fn one_queue_is_counted_once_whatever_number_of_partitions_tell_of_it() {
        let statistics = r#"{"name": "rdkafka#consumer-1", "msg_size": 0, "topics": {"t": {
            "topic": "t", "partitions": {
                "0": {"partition": 0, "fetchq_cnt": 2, "fetchq_size": 700},
                "1": {"partition": 1, "fetchq_cnt": 2, "fetchq_size": 700},
                "-1": {"partition": -1, "fetchq_cnt": 0, "fetchq_size": 0}
            }
        }}}"#;
        assert_eq!(bytes(statistics), 700);
        assert_eq!(bytes(r#"{"msg_cnt": 3, "msg_size": 45, "topics": {}}"#), 45);
        assert_eq!(bytes(r#"{"topics": {"t": {"topic": "t"}}}"#), 0);
    }
}
