//! What members of a group of shared work commit beside their positions: a note with each offset.
//!
//! Before: [`crate::kafka::sharing`] and [`crate::lanes`] write it with each transaction. After:
//! whoever owns a partition next compares it with the rows that it goes on from, and
//! [`crate::kafka::watch`] reads how far the partitions of other processes are. Offsets without a
//! note are not of shared work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use driftd_catalog::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

const NAME: &str = "driftd";

/// What a member says of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Where it is read next.
    pub(crate) next_offset: i64,
    pub(crate) note: Note,
}

/// What is said beside the offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// Partitions that the topic had when the job began: others are new ones.
    pub(crate) first: i32,
    /// Rows of the partition are stored.
    pub(crate) has_rows: bool,
    pub(crate) watermark: Option<Timestamp>,
    /// Name of the process. Versions before did not tell.
    pub(crate) owner: Option<Arc<str>>,
}

impl Note {
    fn text(&self) -> String {
        let Self { first, has_rows, watermark, owner } = self;
        let watermark = watermark.map_or_else(|| "-".to_owned(), |it| it.as_millis().to_string());
        let mut text = format!("{NAME} {first} {} {watermark}", i32::from(*has_rows));
        if let Some(owner) = owner {
            text.push(' ');
            text.push_str(owner);
        }
        text
    }

    fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        words.next().filter(|name| *name == NAME)?;
        Some(Self {
            first: words.next()?.parse().ok()?,
            has_rows: words.next()? == "1",
            watermark: words.next()?.parse().ok().map(Timestamp::from_millis),
            owner: words.next().map(Arc::from),
        })
    }
}

/// Returns the offsets to be committed.
pub(crate) fn list(
    topic: &str,
    standings: impl IntoIterator<Item = (i32, Standing)>,
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    let standings: Vec<(i32, Standing)> = standings.into_iter().collect();
    for (partition, standing) in &standings {
        list.add_partition_offset(topic, *partition, Offset::Offset(standing.next_offset))?;
    }
    for (mut element, (_, standing)) in list.elements().into_iter().zip(&standings) {
        element.set_metadata(standing.note.text());
    }
    Ok(list)
}

/// Returns what is committed of these partitions by members of the client's group.
pub(crate) fn ask<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partitions: impl IntoIterator<Item = i32>,
    timeout: Duration,
) -> Result<BTreeMap<i32, Standing>, KafkaError> {
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        asked.add_partition(topic, partition);
    }
    let found = client.committed_offsets(asked, timeout)?;
    let mut standings = BTreeMap::new();
    for element in found.elements() {
        element.error()?;
        if let (Offset::Offset(next_offset), Some(note)) =
            (element.offset(), Note::read(element.metadata()))
        {
            standings.insert(element.partition(), Standing { next_offset, note });
        }
    }
    Ok(standings)
}

/// Rows that are not there although they were committed.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "its rows in the state topic are gone: they end at {}, and offset {committed} was committed \
     with others; was the topic created anew, or cut? To count everything anew, name another \
     `kafka.group` and other topics in `scale_out`",
    found.map_or_else(|| "nothing".to_owned(), |found| format!("offset {found}"))
)]
pub(crate) struct RowsGone {
    found: Option<i64>,
    committed: i64,
}

/// Refuses rows, here by the next offset that they say, that are older than what was committed with
/// rows.
pub(crate) fn compare(found: Option<i64>, committed: Option<&Standing>) -> Result<(), RowsGone> {
    let Some(standing) = committed.filter(|standing| standing.note.has_rows) else { return Ok(()) };
    let committed = standing.next_offset;
    if found.is_none_or(|found| found < committed) {
        return Err(RowsGone { found, committed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(has_rows: bool, watermark: Option<i64>) -> Note {
        let watermark = watermark.map(Timestamp::from_millis);
        Note { first: 6, has_rows, watermark, owner: Some("pod-1".into()) }
    }

    #[test]
    fn a_note_is_read_as_it_was_written_and_others_are_not() {
        for note in [note(true, Some(-5)), note(false, None), note(true, None)] {
            assert_eq!(Note::read(&note.text()), Some(note));
        }
        let before = Note { owner: None, ..note(true, Some(7)) };
        assert_eq!(Note::read("driftd 6 1 7"), Some(before));
        for other in ["", "driftd", "driftd x 1 -", "flink 6 1 -", "driftd 0123456789abcdef"] {
            assert_eq!(Note::read(other), None, "{other}");
        }
    }

    #[test]
    fn rows_that_are_older_than_what_was_committed_are_gone() {
        let standing = |has_rows| Standing { next_offset: 10, note: note(has_rows, None) };
        assert!(compare(None, None).is_ok(), "a first start");
        assert!(compare(None, Some(&standing(false))).is_ok(), "nothing was read");
        assert!(compare(Some(10), Some(&standing(true))).is_ok());
        assert!(compare(Some(11), Some(&standing(true))).is_ok(), "the group's offsets expired");
        assert!(compare(Some(9), Some(&standing(true))).is_err());
        let error = compare(None, Some(&standing(true))).unwrap_err().to_string();
        assert!(error.contains("end at nothing, and offset 10"), "{error}");
    }
}
