//! The data sets travel through a real broker as they are.

use std::time::Duration;

use driftd_fixtures::data::FLIGHTS;
use driftd_fixtures::kafka::KafkaBroker;
use driftd_tests::{frame, message, topic};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};

#[test]
fn a_filled_topic_holds_each_message_where_it_was_put() {
    let broker = KafkaBroker::shared().bootstrap();
    let frame = frame::read(&FLIGHTS.current_path()).head(Some(1_000));
    let messages = message::json_messages(&frame, &FLIGHTS, "1", 4);
    topic::create(broker, "produce-flights", 4, &[]);
    topic::fill(broker, "produce-flights", &messages);

    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", "produce-flights")
        .create()
        .expect("the settings are those of librdkafka");
    let mut all = TopicPartitionList::new();
    all.add_partition_offset("produce-flights", 1, Offset::Beginning).expect("a plain offset");
    consumer.assign(&all).expect("a manual assignment needs no group");
    for (row, expected) in messages.iter().enumerate().filter(|(_, m)| m.partition == 1) {
        let message = consumer.poll(Duration::from_mins(1)).expect("a message").expect("no error");
        assert_eq!(message.payload(), Some(expected.payload.as_slice()), "row {row}");
        assert_eq!(message.key(), Some(expected.key.as_bytes()));
        assert_eq!(message.timestamp().to_millis(), Some(expected.timestamp.as_millis()));
    }
}
