//! Topics on a real broker: making them and filling them.

use std::time::Duration;

use driftd_fixtures::wait;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::message::Message;

/// Far above what a broker on loopback needs for any of this.
const TIMEOUT: Duration = Duration::from_mins(1);

fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    let mut client = ClientConfig::new();
    let client = client.set("bootstrap.servers", bootstrap);
    client.create().expect("the settings are those of librdkafka")
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(TIMEOUT))
}

fn wait_for<T>(answer: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("the system can start a runtime").block_on(answer)
}

/// Makes a topic with the replication of the cluster and these settings, such as
/// `("cleanup.policy", "compact")`.
pub fn create(bootstrap: &str, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
    create_new(bootstrap, NewTopic::new(topic, partitions, TopicReplication::Fixed(-1)), settings);
}

/// Makes a topic whose partitions lie on these brokers, each on its leader first.
pub fn create_at(bootstrap: &str, topic: &str, brokers: &[&[i32]], settings: &[(&str, &str)]) {
    let partitions = i32::try_from(brokers.len()).expect("small");
    let new = NewTopic::new(topic, partitions, TopicReplication::Variable(brokers));
    create_new(bootstrap, new, settings);
}

fn create_new<'a>(bootstrap: &str, mut new: NewTopic<'a>, settings: &[(&'a str, &'a str)]) {
    let admin = admin(bootstrap);
    let topic = new.name;
    for (name, value) in settings {
        new = new.set(name, value);
    }
    let results = wait_for(admin.create_topics([&new], &options()));
    match results.as_deref() {
        Ok([Ok(_)]) => {}
        failed => panic!("cannot make topic `{topic}`: {failed:?}"),
    }
    // Brokers hear of it a moment after the controller has made it.
    wait::until("the topic to be there", TIMEOUT, || {
        let metadata = admin.inner().fetch_metadata(Some(topic), TIMEOUT).expect("an answer");
        let found = metadata.topics().iter().map(|it| it.partitions().len()).sum::<usize>();
        (0 < found).then_some(())
    });
}

/// Gives a topic these settings, and the broker's own for all others.
pub fn set(bootstrap: &str, topic: &str, settings: &[(&str, &str)]) {
    let admin = admin(bootstrap);
    let mut changed = AlterConfig::new(ResourceSpecifier::Topic(topic));
    for (name, value) in settings {
        changed = changed.set(name, value);
    }
    let results = wait_for(admin.alter_configs([&changed], &options()));
    match results.as_deref() {
        Ok([Ok(_)]) => {}
        failed => panic!("cannot change topic `{topic}`: {failed:?}"),
    }
}

/// Removes a topic.
pub fn delete(bootstrap: &str, topic: &str) {
    let admin = admin(bootstrap);
    let results = wait_for(admin.delete_topics(&[topic], &options()));
    match results.as_deref() {
        Ok([Ok(_)]) => {}
        failed => panic!("cannot remove topic `{topic}`: {failed:?}"),
    }
}

/// Gives a topic more partitions, so many in all.
pub fn grow(bootstrap: &str, topic: &str, partitions: i32) {
    let admin = admin(bootstrap);
    let count = usize::try_from(partitions).expect("partitions are counted");
    let more = NewPartitions::new(topic, count);
    let results = wait_for(admin.create_partitions([&more], &options()));
    match results.as_deref() {
        Ok([Ok(_)]) => {}
        failed => panic!("cannot add partitions to `{topic}`: {failed:?}"),
    }
}

/// Makes a topic anew, with the settings of the cluster. What was removed is gone a while after the
/// answer that it is.
pub fn create_when_gone(bootstrap: &str, topic: &str, partitions: i32) {
    let client: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()
        .expect("the settings are those of librdkafka");
    wait::until("the topic to be gone", TIMEOUT, || {
        let metadata = client.fetch_metadata(Some(topic), TIMEOUT).expect("the broker answers");
        metadata.topics().iter().all(|it| it.partitions().is_empty()).then_some(())
    });
    create(bootstrap, topic, partitions, &[]);
}

/// Deletes the records of a partition that lie before an offset.
pub fn delete_records(bootstrap: &str, topic: &str, partition: i32, before: i64) {
    let admin = admin(bootstrap);
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(topic, partition, Offset::Offset(before))
        .expect("an offset is one");
    let deleted = wait_for(admin.delete_records(&offsets, &options()))
        .unwrap_or_else(|error| panic!("cannot delete records of `{topic}`: {error}"));
    for element in deleted.elements() {
        element.error().unwrap_or_else(|e| panic!("cannot delete records of `{topic}`: {e}"));
    }
}

/// Produces the messages in order and returns when the broker holds every one of them.
pub fn fill(bootstrap: &str, topic: &str, messages: &[Message]) {
    fill_compressed(bootstrap, topic, messages, "zstd");
}

/// The same in batches that are compressed by a codec that librdkafka knows, or by `none`.
pub fn fill_compressed(bootstrap: &str, topic: &str, messages: &[Message], codec: &str) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("linger.ms", "20")
        .set("compression.type", codec)
        .create()
        .expect("the settings are those of librdkafka");
    let partitions = messages.iter().map(|message| message.partition + 1).max().unwrap_or(0);
    let before = held(&producer, topic, partitions);
    for message in messages {
        send(&producer, topic, message);
    }
    producer.flush(TIMEOUT).unwrap_or_else(|e| panic!("`{topic}` did not take all messages: {e}"));
    let mut expected = before;
    for message in messages {
        let index = usize::try_from(message.partition).expect("partitions start at 0");
        expected[index] += 1;
    }
    assert_eq!(held(&producer, topic, partitions), expected, "end offsets of `{topic}`");
}

/// Messages that a topic holds and nobody sees yet.
pub struct Hidden {
    producer: BaseProducer,
}

/// Produces messages in order that all come to be seen at once.
pub fn hide(bootstrap: &str, topic: &str, messages: impl Iterator<Item = Message>) -> Hidden {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", topic)
        .set("transaction.timeout.ms", "300000")
        .set("linger.ms", "20")
        .create()
        .expect("the settings are those of librdkafka");
    producer.init_transactions(TIMEOUT).expect("the broker answers");
    producer.begin_transaction().expect("none is open");
    for message in messages {
        send(&producer, topic, &message);
    }
    producer.flush(TIMEOUT).unwrap_or_else(|e| panic!("`{topic}` did not take all messages: {e}"));
    Hidden { producer }
}

impl Hidden {
    /// Has them seen.
    pub fn show(self) {
        self.producer.commit_transaction(TIMEOUT).expect("the broker commits");
    }
}

/// One message as it is, without a rule of what it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// Partition of the topic.
    pub partition: i32,
    /// Key.
    pub key: String,
    /// Value; none makes a tombstone.
    pub payload: Option<Vec<u8>>,
}

/// A raw message with what is beside its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enveloped {
    /// The message itself.
    pub raw: Raw,
    /// Headers in their order.
    pub headers: Vec<(&'static str, Vec<u8>)>,
    /// Kafka's time, in milliseconds since 1970.
    pub time: i64,
}

/// Produces messages with headers and times in order and returns when the broker holds every one.
pub fn put_enveloped(bootstrap: &str, topic: &str, messages: &[Enveloped]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .create()
        .expect("the settings are those of librdkafka");
    for Enveloped { raw: Raw { partition, key, payload }, headers, time } in messages {
        let headers = headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        let record = BaseRecord::to(topic).partition(*partition).key(key);
        let mut record = record.headers(headers).timestamp(*time);
        record.payload = payload.as_ref();
        if let Err((error, _)) = producer.send(record) {
            panic!("cannot produce to `{topic}`: {error}");
        }
    }
    producer.flush(TIMEOUT).unwrap_or_else(|e| panic!("`{topic}` did not take all messages: {e}"));
}

/// Produces raw messages in order and returns when the broker holds every one of them.
pub fn put(bootstrap: &str, topic: &str, messages: &[Raw]) {
    put_compressed(bootstrap, topic, messages, "none");
}

/// The same in batches that are compressed by a codec that librdkafka knows.
pub fn put_compressed(bootstrap: &str, topic: &str, messages: &[Raw], codec: &str) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("compression.type", codec)
        .create()
        .expect("the settings are those of librdkafka");
    for Raw { partition, key, payload } in messages {
        let mut record = BaseRecord::to(topic).partition(*partition).key(key);
        record.payload = payload.as_ref();
        if let Err((error, _)) = producer.send(record) {
            panic!("cannot produce to `{topic}`: {error}");
        }
    }
    producer.flush(TIMEOUT).unwrap_or_else(|e| panic!("`{topic}` did not take all messages: {e}"));
}

/// Whether a transaction is open in a topic of one partition.
pub fn is_pending(bootstrap: &str, topic: &str) -> bool {
    let [all, stable] = ["read_uncommitted", "read_committed"].map(|isolation| {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("isolation.level", isolation)
            .create()
            .expect("the settings are those of librdkafka");
        let (_, end) = client
            .fetch_watermarks(topic, 0, TIMEOUT)
            .unwrap_or_else(|e| panic!("no offsets of `{topic}`: {e}"));
        end
    });
    stable < all
}

/// Queues one message, waiting while the producer's queue is full.
fn send(producer: &BaseProducer, topic: &str, message: &Message) {
    let mut record = BaseRecord::to(topic)
        .partition(message.partition)
        .key(&message.key)
        .payload(&message.payload)
        .timestamp(message.timestamp.as_millis());
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                producer.poll(Duration::from_millis(10));
                record = unsent;
            }
            Err((error, _)) => panic!("cannot produce to `{topic}`: {error}"),
        }
    }
}

/// End offset of each partition.
fn held(producer: &BaseProducer, topic: &str, partitions: i32) -> Vec<i64> {
    let end = |partition| {
        let (_, end) = producer
            .client()
            .fetch_watermarks(topic, partition, TIMEOUT)
            .unwrap_or_else(|e| panic!("no offsets of `{topic}` partition {partition}: {e}"));
        end
    };
    (0..partitions).map(end).collect()
}
