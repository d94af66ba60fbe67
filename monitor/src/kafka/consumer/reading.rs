//! One message into the open batch of its partition; one that names a schema which nobody has
//! brought yet waits for it.
//!
//! Before: [`super`] polls the message. After: [`crate::kafka::batch`] decodes it, and the
//! dead-letter topic gets it if it is refused. While a registry does not say whether a schema
//! exists, nothing is refused for it: the partition stands still and the others go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use driftd_catalog::{PartitionId, Timestamp};
use driftd_ingest::SchemaId;
use rdkafka::message::{BorrowedMessage, Message as _};

use super::{ConsumerParts, SourceConsumer};
use crate::clock::{self, Stopwatch};
use crate::kafka::batch::{self, OpenBatch, Refused};
use crate::kafka::stalls::{Due, Outlook};
use crate::registry::RegistryError;

/// A registry that is asked takes longer than this, what is known of it does not.
const ASKED_MIN: Duration = Duration::from_millis(2);

/// Whether more messages are taken before everything else has its turn.
pub(super) enum Room {
    Left,
    None,
}

/// A schema without which a partition cannot be read on.
pub(super) struct MissingSchema {
    partition: PartitionId,
    schema: SchemaId,
    why: Arc<RegistryError>,
}

/// Adds a message to the batch of its partition, unless its schema has to be waited for.
pub(super) fn decode(
    decoders: &mut BTreeMap<PartitionId, OpenBatch>,
    parts: &ConsumerParts,
    now: Timestamp,
    message: &BorrowedMessage<'_>,
) -> Result<Room, MissingSchema> {
    let source = &parts.config.sources[parts.source];
    let id = PartitionId { topic: Arc::clone(&source.topic), partition: message.partition() };
    // A message fetched just before its partition was revoked: its new owner reads it.
    let Some(batch) = decoders.get_mut(&id) else { return Ok(Room::Left) };
    let envelope = batch::envelope(message, &source.schema);
    let record = batch::message(message, &envelope);
    let mut is_late = false;
    if let (Some(schema), Some(writers)) = (batch.missing(&record), &parts.writers) {
        let stopwatch = Stopwatch::start();
        let program = writers.program(&schema, &|| parts.heartbeat.beat(clock::instant()));
        // A registry that was asked took its time: everything else has its turn.
        is_late = ASKED_MIN <= stopwatch.elapsed();
        match program {
            Ok(Some(program)) => batch.learn(schema, program),
            // The decoder refuses the message.
            Ok(None) => {}
            Err(why) => return Err(MissingSchema { partition: id, schema, why }),
        }
    }
    let refused = batch.decode(now, &record);
    if let (Some(refused), Some(topic)) = (refused, source.dead_letter_topic.as_deref()) {
        let Refused { rejection, document } = refused;
        let payload = document.or(message.payload());
        parts.producer.dead_letter(topic, parts.source, (message, payload), rejection);
    }
    Ok(if batch.is_full() || is_late { Room::None } else { Room::Left })
}

impl SourceConsumer {
    /// Reads a partition no more until its schema is there.
    pub(super) fn wait_for_schema(&mut self, missing: MissingSchema) {
        let MissingSchema { partition, schema, why } = missing;
        self.waiting.insert(partition.partition, schema);
        self.let_go(clock::now(), &partition, why);
    }

    /// Returns those of the partitions whose schema the registry has told about, if they waited for
    /// one: the others go on to stand still, without being begun in vain.
    pub(super) fn with_schemas(&mut self, now: Timestamp, due: Due) -> Option<Due> {
        let Some(writers) = &self.parts.writers else { return Some(due) };
        let heartbeat = &self.parts.heartbeat;
        let mut ready = Vec::new();
        for partition in due.partitions {
            if let Some(schema) = self.waiting.get(&partition) {
                let told = writers.program(schema, &|| heartbeat.beat(clock::instant()));
                if let Err(why) = told {
                    self.stalls.stand(now, partition, why, Outlook::Passes);
                    continue;
                }
                self.waiting.remove(&partition);
            }
            ready.push(partition);
        }
        (!ready.is_empty()).then_some(Due { partitions: ready, patience: due.patience })
    }
}
