//! Where logs begin and end, and which partitions therefore cannot go on where they were.
//!
//! Before: [`super::consumer`] hears that an offset is out of range, [`crate::accept`] is asked
//! about one. After: a [`Loss`] for a person to decide about. Of a topic the Rust binding of
//! librdkafka gives no identity: one that was created anew shows by its offsets, or by another
//! record where the newest one lay that was read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use driftd_catalog::PartitionId;
use driftd_core::loss::{Bounds, Loss, Mark};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, warn};

use crate::clock;
use crate::kafka::batch;

/// How long the brokers get to say where logs begin and end, while others are not read.
const BOUNDS_TIMEOUT: Duration = Duration::from_secs(5);
/// One partition of many that wait gets this long.
pub(crate) const ALONE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long one look at the newest records waits.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// Returns where the logs of partitions begin and end: one question to each broker for each of the
/// two. Those of which a broker does not know it are left out.
pub(crate) fn bounds<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    partitions: &[PartitionId],
    timeout: Duration,
) -> KafkaResult<BTreeMap<PartitionId, Bounds>> {
    let starts = offsets(client, partitions, Offset::Beginning, timeout)?;
    let ends = offsets(client, partitions, Offset::End, timeout)?;
    let known = starts.into_iter().filter_map(|(id, start)| {
        let end = *ends.get(&id)?;
        Some((id, Bounds { start, end }))
    });
    Ok(known.collect())
}

/// Returns the offset at one end of the logs of partitions: one question to each broker. Those of
/// which a broker does not know it are left out.
pub(crate) fn offsets<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    partitions: &[PartitionId],
    at: Offset,
    timeout: Duration,
) -> KafkaResult<BTreeMap<PartitionId, i64>> {
    let mut asked = TopicPartitionList::new();
    for PartitionId { topic, partition } in partitions {
        asked.add_partition_offset(topic, *partition, at)?;
    }
    if asked.count() == 0 {
        return Ok(BTreeMap::new());
    }
    let answer = client.offsets_for_times(asked, timeout)?;
    let found = answer.elements().into_iter().filter_map(|element| match element.offset() {
        Offset::Offset(offset) if element.error().is_ok() => {
            let id =
                PartitionId { topic: Arc::from(element.topic()), partition: element.partition() };
            Some((id, offset))
        }
        Offset::Offset(_)
        | Offset::Beginning
        | Offset::End
        | Offset::Stored
        | Offset::Invalid
        | Offset::OffsetTail(_) => None,
    });
    Ok(found.collect())
}

/// Like [`bounds`], also of partitions beside one whose broker does not answer or refuses: then
/// each is asked about alone, until the time is over. Those without an answer are left out.
pub(crate) fn bounds_of_each<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    partitions: &[PartitionId],
    timeout: Duration,
) -> BTreeMap<PartitionId, Bounds> {
    let deadline = clock::instant() + timeout;
    let together = bounds(client, partitions, timeout / 4);
    together.unwrap_or_else(|error| {
        debug!(%error, "each partition is asked about alone");
        let mut found = BTreeMap::new();
        for id in partitions {
            let left = deadline.saturating_duration_since(clock::instant());
            let asked = client.fetch_watermarks(&id.topic, id.partition, left.min(ALONE_TIMEOUT));
            if let Ok((start, end)) = asked {
                found.insert(id.clone(), Bounds { start, end });
            }
        }
        found
    })
}

/// Whether logs still hold what lay at marks.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Offsets of the marks that they hold.
    pub(crate) offsets: BTreeMap<PartitionId, i64>,
    /// Those of which the brokers do not say where they begin and end.
    pub(crate) unknown: BTreeSet<PartitionId>,
}

/// Returns which marks logs with these bounds still hold.
pub(crate) fn held(
    marks: &BTreeMap<PartitionId, Mark>,
    bounds: &BTreeMap<PartitionId, Bounds>,
) -> Held {
    let mut held = Held::default();
    for (id, Mark { offset, .. }) in marks {
        match bounds.get(id) {
            Some(Bounds { start, end }) if (start..end).contains(&offset) => {
                held.offsets.insert(id.clone(), *offset);
            }
            Some(_) => {}
            None => drop(held.unknown.insert(id.clone())),
        }
    }
    held
}

/// Returns the partitions in which another record lies where a mark was set. One of which no record
/// comes in time is none.
pub(crate) fn other_logs<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    marks: &BTreeMap<PartitionId, Mark>,
    bounds: &BTreeMap<PartitionId, Bounds>,
    timeout: Duration,
) -> KafkaResult<BTreeSet<PartitionId>> {
    let mut waiting = held(marks, bounds).offsets;
    let mut assigned = TopicPartitionList::new();
    for (PartitionId { topic, partition }, offset) in &waiting {
        assigned.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    client.assign(&assigned)?;
    let mut others = BTreeSet::new();
    let deadline = clock::instant() + timeout;
    while !waiting.is_empty() && clock::instant() < deadline {
        match client.poll(POLL_TIMEOUT) {
            Some(Ok(message)) => {
                let topic = Arc::from(message.topic());
                let id = PartitionId { topic, partition: message.partition() };
                let found = batch::mark(&batch::message(&message, &[]));
                let is_first = waiting.remove(&id).is_some();
                let is_other = |it: &Mark| it.offset == found.offset && *it != found;
                if is_first && marks.get(&id).is_some_and(is_other) {
                    others.insert(id);
                }
            }
            Some(Err(error)) => debug!(%error, "while looking at the newest records"),
            None => {}
        }
    }
    Ok(others)
}

/// Why partitions cannot go on at their positions.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) lost: BTreeMap<PartitionId, Loss>,
    /// Those that may have lost something, too: the brokers do not say where their logs begin and
    /// end, or nothing is seen to be lost, and so each may be the one.
    pub(crate) suspects: Vec<PartitionId>,
}

/// Returns what is lost of partitions that would go on at these positions, as far as the brokers
/// answer.
pub(crate) fn find<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    positions: &BTreeMap<PartitionId, i64>,
) -> Found {
    let partitions: Vec<PartitionId> = positions.keys().cloned().collect();
    let bounds = bounds(client, &partitions, BOUNDS_TIMEOUT).unwrap_or_else(|error| {
        warn!(%error, "cannot see where the logs begin and end");
        BTreeMap::new()
    });
    let mut found = Found::default();
    for (id, position) in positions {
        match bounds.get(id).map(|bounds| Loss::of(*position, *bounds)) {
            Some(None) => {}
            Some(Some(loss)) => drop(found.lost.insert(id.clone(), loss)),
            None => found.suspects.push(id.clone()),
        }
    }
    if found.lost.is_empty() {
        found.suspects = positions.keys().cloned().collect();
    }
    found
}
