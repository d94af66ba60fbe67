//! What a consumer thread is in its group: its client, its name, and how far it says it is.
//!
//! Before: [`crate::kafka::consumer`] starts, or begins anew. After: the group's coordinator.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::PartitionId;
use driftd_core::config::KafkaConfig;
use driftd_core::shard::Shard;
use rdkafka::consumer::BaseConsumer;
use rdkafka::{Offset, TopicPartitionList};
use tracing::warn;

use crate::kafka::committed::{Note, Standing};
use crate::kafka::consumer::ConsumerParts;
use crate::kafka::queues;
use crate::kafka::rebalance::{Assignments, Origin};
use crate::kafka::sharing::{Resumer, Sharing};
use crate::kafka::{ConnectError, member};

/// Returns the positions that are known. Nothing read yet is nothing to show.
pub(super) fn positions(shard: &Shard) -> TopicPartitionList {
    let mut positions = TopicPartitionList::new();
    for (id, position) in shard.positions() {
        let Some(position) = position.map(Offset::Offset) else { continue };
        if let Err(error) = positions.add_partition_offset(&id.topic, id.partition, position) {
            warn!(partition = %id, %error, "position cannot be shown to the group");
        }
    }
    positions
}

/// Returns how far each partition is, for the group. Of one without a record yet it is where it
/// ends: what is told of it is committed too, and the group looks at who tells it.
pub(super) fn standings(
    shard: &Shard,
    parts: &ConsumerParts,
    first: i32,
) -> BTreeMap<PartitionId, Standing> {
    let standing = |(id, next_offset): (&PartitionId, Option<i64>)| {
        let end = || parts.ends.of(id).map_or(0, |end| end.offset);
        let (has_rows, watermark) = (next_offset.is_some(), shard.watermark(id));
        let owner = Some(Arc::clone(&parts.member));
        let note = Note { first, has_rows, watermark, owner };
        (id.clone(), Standing { next_offset: next_offset.unwrap_or_else(end), note })
    };
    shard.positions().map(standing).collect()
}

pub(super) fn client(
    kafka: &KafkaConfig,
    parts: &ConsumerParts,
) -> Result<BaseConsumer<Assignments>, ConnectError> {
    let source = &parts.config.sources[parts.source];
    let origin = match &parts.config.scale_out {
        None => Origin::Here(parts.parked.clone()),
        Some(scale_out) => Origin::Shared(Box::new(Resumer {
            config: Arc::clone(&parts.config),
            kafka: kafka.clone(),
            scale_out: scale_out.clone(),
            references: Arc::clone(&parts.references),
            decisions: Arc::clone(&parts.decisions),
            heartbeat: parts.heartbeat.clone(),
        })),
    };
    let source = (parts.source, Arc::clone(&source.topic));
    let begin = Arc::clone(&parts.begin);
    let context = Assignments::new(source, begin, origin, parts.heartbeat.clone());
    let mut client = member(kafka, &kafka.group, &thread_name(parts))?;
    client
        .set("enable.partition.eof", "true")
        .set("queued.min.messages", "20000")
        .set(
            "queued.max.messages.kbytes",
            (parts.config.memory.fetch_queue_bytes >> 10).to_string(),
        )
        .set("fetch.queue.backoff.ms", "20")
        .set("fetch.wait.max.ms", "100");
    queues::tell(&mut client);
    Ok(client.create_with_context(context)?)
}

pub(super) fn sharing(kafka: &KafkaConfig, parts: &ConsumerParts) -> Option<Sharing> {
    let scale_out = parts.config.scale_out.clone()?;
    let name = format!("{}.{}", kafka.group, thread_name(parts));
    let stopping = Arc::clone(&parts.stopping);
    Some(Sharing::new(Arc::clone(&parts.config), scale_out, name, stopping))
}

/// Returns the name of a thread among those of all members.
fn thread_name(parts: &ConsumerParts) -> String {
    format!("{}.read-{}-{}", parts.member, parts.source, parts.index)
}
