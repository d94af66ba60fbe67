//! Which partitions a client was told not to fetch.
//!
//! Before: [`crate::kafka::consumer`] says which ones are to stand still. After: librdkafka, which
//! remembers a pause for as long as the client lives: also of a partition that goes to another
//! member and comes back. So each pause is taken back when it no longer holds, whoever reads the
//! partition then. What the client was told may be lost where it begins to fetch at that moment; a
//! partition would stand still for ever and nobody would see why. So all others are resumed now and
//! then, which does nothing to one that is not paused.

use std::collections::BTreeSet;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use tracing::warn;

/// The pauses of one client, by partition of its topic.
#[derive(Debug, Default)]
pub(crate) struct Pauses(BTreeSet<i32>);

impl Pauses {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Resumes those of the partitions that are not paused.
    pub(crate) fn resume_others<C: ConsumerContext>(
        &self,
        client: &BaseConsumer<C>,
        topic: &str,
        partitions: impl Iterator<Item = i32>,
    ) {
        let others = list(topic, partitions.filter(|it| !self.0.contains(it)));
        resume(client, topic, &others);
    }

    /// Lets these partitions stand still, and no others.
    pub(crate) fn set<C: ConsumerContext>(
        &mut self,
        client: &BaseConsumer<C>,
        topic: &str,
        paused: BTreeSet<i32>,
    ) {
        let fresh = list(topic, paused.difference(&self.0).copied());
        if 0 < fresh.count()
            && let Err(error) = client.pause(&fresh)
        {
            warn!(topic, %error, "partitions could not be paused");
        }
        resume(client, topic, &list(topic, self.0.difference(&paused).copied()));
        self.0 = paused;
    }
}

fn list(topic: &str, partitions: impl Iterator<Item = i32>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic, partition);
    }
    list
}

fn resume<C: ConsumerContext>(client: &BaseConsumer<C>, topic: &str, list: &TopicPartitionList) {
    if 0 < list.count()
        && let Err(error) = client.resume(list)
    {
        warn!(topic, %error, "partitions could not be resumed");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdkafka::error::KafkaError;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    use rdkafka::{ClientConfig, Message, Offset};

    use super::*;
    use crate::clock;

    const TOPIC: &str = "pauses";
    const DEADLINE: Duration = Duration::from_secs(30);

    /// Offsets that come until the partition ends.
    fn read(client: &BaseConsumer) -> Vec<i64> {
        let deadline = clock::instant() + DEADLINE;
        let mut offsets = Vec::new();
        while clock::instant() < deadline {
            match client.poll(Duration::from_millis(20)) {
                Some(Ok(message)) => offsets.push(message.offset()),
                Some(Err(KafkaError::PartitionEOF(_))) => return offsets,
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
        }
        panic!("no end after {offsets:?}")
    }

    fn at(offset: i64) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(TOPIC, 0, Offset::Offset(offset)).expect("it is an offset");
        list
    }

    /// librdkafka keeps a pause past the assignment that it was meant for.
    #[test]
    fn a_partition_that_was_paused_is_fetched_when_it_comes_back() {
        let cluster = MockCluster::new(1).expect("the mock broker starts");
        cluster.create_topic(TOPIC, 1, 1).expect("the mock broker makes topics");
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("group.id", "g")
            .set("enable.partition.eof", "true");
        let producer: BaseProducer = config.create().expect("it is a configuration");
        for _ in 0..4 {
            producer.send(BaseRecord::<(), _>::to(TOPIC).payload("x")).expect("there is room");
        }
        producer.flush(DEADLINE).expect("the mock broker takes them");
        let client: BaseConsumer = config.create().expect("it is a configuration");
        let mut pauses = Pauses::default();
        client.incremental_assign(&at(0)).expect("it is there");
        assert_eq!(read(&client), [0, 1, 2, 3]);
        pauses.set(&client, TOPIC, BTreeSet::from([0]));
        client.incremental_unassign(&at(0)).expect("it was assigned");
        pauses.set(&client, TOPIC, BTreeSet::new());
        client.incremental_assign(&at(2)).expect("it is there");
        pauses.resume_others(&client, TOPIC, [0].into_iter());
        assert_eq!(read(&client), [2, 3], "once");
        assert!(pauses.is_empty());
    }
}
