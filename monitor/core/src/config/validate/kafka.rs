//! Checks the connection to Kafka: brokers, and properties that are not ours to give away.
//!
//! Before: [`super`]. After: the edge builds its consumers and producers from it.

use super::super::KafkaConfig;
use super::super::error::{Findings, child};
use super::super::raw::{PropertyValue, RawKafka};
use super::is_address;

/// librdkafka properties that driftd sets itself, and what to do instead.
pub(in crate::config) const OWNED: [(&str, &str); 25] = [
    ("acks", "remove it: events must reach all replicas"),
    ("auto.commit.interval.ms", "remove it: driftd keeps and commits its own positions"),
    ("auto.offset.reset", "remove it: `sources[].start` says what the first start reads"),
    ("bootstrap.servers", "use `kafka.brokers`"),
    ("client.id", "remove it: the job's `name` is used"),
    ("enable.auto.commit", "remove it: driftd keeps and commits its own positions"),
    ("enable.auto.offset.store", "remove it: driftd keeps and commits its own positions"),
    ("enable.gapless.guarantee", "remove it: producers are idempotent"),
    ("enable.idempotence", "remove it: producers are idempotent"),
    ("enable.partition.eof", "remove it: idle partitions are found by it"),
    ("group.id", "use `kafka.group`"),
    ("group.instance.id", "use `kafka.instance`"),
    ("group.protocol", "remove it: the classic protocol is used"),
    ("group.remote.assignor", "remove it: the classic protocol is used"),
    ("isolation.level", "remove it: only committed records count"),
    ("metadata.broker.list", "use `kafka.brokers`"),
    ("offset.store.method", "remove it: driftd keeps and commits its own positions"),
    ("partition.assignment.strategy", "remove it: partitions move one by one"),
    ("plugin.library.paths", "remove it: plugins are not loaded"),
    ("queue.buffering.max.kbytes", "remove it: memory is counted with driftd's own value"),
    ("queued.max.messages.kbytes", "use `memory.fetch_queue`"),
    ("queued.min.messages", "use `memory.fetch_queue`"),
    ("request.required.acks", "remove it: events must reach all replicas"),
    ("statistics.interval.ms", "remove it: nothing reads these statistics"),
    ("transactional.id", "use `kafka.instance`"),
];

/// Checks the connection.
pub(super) fn kafka(raw: &RawKafka, name: &str, findings: &mut Findings) -> KafkaConfig {
    brokers(&raw.brokers, findings);
    properties(raw, findings);
    KafkaConfig {
        brokers: raw.brokers.join(","),
        client_id: name.to_owned(),
        group: raw.group.clone().unwrap_or_else(|| name.to_owned()),
        consumers: raw.consumers,
        instance: instance(raw, findings),
        properties: raw.properties.iter().map(|(key, it)| (key.clone(), text(it))).collect(),
        property_files: raw
            .property_files
            .iter()
            .map(|(key, path)| (key.clone(), path.into()))
            .collect(),
    }
}

/// It becomes part of the names of members and transactions.
fn instance(raw: &RawKafka, findings: &mut Findings) -> Option<String> {
    let instance = raw.instance.as_ref()?;
    if !instance.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')) {
        findings.add(
            "kafka.instance",
            &format!("`{instance}` has a character that is none of letters, digits, `.`, `-`, `_`"),
            "write a name like `driftd-0`",
        );
    }
    Some(instance.clone())
}

fn brokers(brokers: &[String], findings: &mut Findings) {
    for (index, broker) in brokers.iter().enumerate() {
        if !is_address(broker) || broker.ends_with(":0") {
            findings.add(
                &format!("kafka.brokers[{index}]"),
                &format!("`{broker}` is not `host:port`"),
                "write it like `broker-1.example.org:9092`",
            );
        }
    }
}

fn properties(raw: &RawKafka, findings: &mut Findings) {
    let maps = [
        ("kafka.properties", raw.properties.keys().collect::<Vec<_>>()),
        ("kafka.property_files", raw.property_files.keys().collect()),
    ];
    for (map, keys) in maps {
        for key in keys {
            if let Some((_, hint)) = OWNED.iter().find(|(owned, _)| owned == key) {
                findings.add(&child(map, key), "is set by driftd itself", hint);
            }
        }
    }
    for key in raw.property_files.keys().filter(|key| raw.properties.contains_key(*key)) {
        findings.add(
            &child("kafka.property_files", key),
            "is also in `kafka.properties`",
            "keep one of the two",
        );
    }
    for (key, path) in &raw.property_files {
        if path.is_empty() {
            findings.add(
                &child("kafka.property_files", key),
                "names no file",
                "write the path of the file that holds the value",
            );
        }
    }
}

fn text(value: &PropertyValue) -> String {
    value.0.as_str().map_or_else(|| value.0.to_string(), str::to_owned)
}
