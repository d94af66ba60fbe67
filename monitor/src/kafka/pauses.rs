//! Which partitions a client was told not to fetch.
//!
//! Before: [`crate::kafka::consumer`] says which ones are to stand still. After: librdkafka, which
//! remembers a pause for as long as the client lives: also of a partition that goes to another
//! member and comes back. So each pause is taken back when it no longer holds, whoever reads the
//! partition then. To resume one that is not paused would have it fetched again from where it
//! began.

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

    /// Lets these partitions stand still, and no others.
    pub(crate) fn set<C: ConsumerContext>(
        &mut self,
        client: &BaseConsumer<C>,
        topic: &str,
        paused: BTreeSet<i32>,
    ) {
        let list = |partitions: BTreeSet<i32>| {
            let mut list = TopicPartitionList::new();
            for partition in partitions {
                list.add_partition(topic, partition);
            }
            list
        };
        let (pause, resume) = (list(&paused - &self.0), list(&self.0 - &paused));
        for (paused, list) in [(true, pause), (false, resume)] {
            if list.count() == 0 {
                continue;
            }
            let result = if paused { client.pause(&list) } else { client.resume(&list) };
            if let Err(error) = result {
                warn!(topic, paused, %error, "partitions could not be paused or resumed");
            }
        }
        self.0 = paused;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    use rdkafka::{ClientConfig, Message, Offset};

    use super::*;
    use crate::clock;

    const TOPIC: &str = "pauses";
    const DEADLINE: Duration = Duration::from_secs(30);

    /// Offsets that come until there are as many as expected.
    fn read(client: &BaseConsumer, count: usize) -> Vec<i64> {
        let deadline = clock::instant() + DEADLINE;
        let mut offsets = Vec::new();
        while offsets.len() < count && clock::instant() < deadline {
            if let Some(message) = client.poll(Duration::from_millis(20)) {
                offsets.push(message.expect("the mock broker has it").offset());
            }
        }
        offsets
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
        config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
        let producer: BaseProducer = config.create().expect("it is a configuration");
        for _ in 0..4 {
            producer.send(BaseRecord::<(), _>::to(TOPIC).payload("x")).expect("there is room");
        }
        producer.flush(DEADLINE).expect("the mock broker takes them");
        let client: BaseConsumer = config.create().expect("it is a configuration");
        let mut pauses = Pauses::default();
        client.incremental_assign(&at(0)).expect("it is there");
        assert_eq!(read(&client, 4), [0, 1, 2, 3]);
        pauses.set(&client, TOPIC, BTreeSet::from([0]));
        client.incremental_unassign(&at(0)).expect("it was assigned");
        pauses.set(&client, TOPIC, BTreeSet::new());
        client.incremental_assign(&at(2)).expect("it is there");
        assert_eq!(read(&client, 2), [2, 3]);
        assert!(pauses.is_empty());
    }
}
