//! `driftd run --accept-loss`: a person decides to go on without records that are lost.
//!
//! Before: the command line and the stored positions. After: [`driftd_core::state`] begins the
//! partitions anew that have lost something; one that has not is left alone, so that a restart with
//! the same arguments does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use driftd_catalog::PartitionId;
use driftd_core::config::{Config, KafkaConfig};
use driftd_core::loss::{Accepted, Loss};
use driftd_core::state::{RestoreError, Row, Stored, stored_positions};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use tracing::{info, warn};

use crate::clock;
use crate::kafka::{Alone, ConnectError, lone_reader, loss};

/// The cluster gets this long to say where the logs begin and end.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// The same where a group waits for the answer; it is asked again later.
const ANSWER_TIMEOUT_SHARED: Duration = Duration::from_secs(5);

/// `TOPIC` or `TOPIC:PARTITION`: whose loss is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptLoss {
    topic: Arc<str>,
    /// Absent: every partition.
    partition: Option<i32>,
}

/// `--accept-loss` names no partition.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not `TOPIC` or `TOPIC:PARTITION`, such as `inference` or `inference:3`")]
pub struct AcceptLossError {
    text: String,
}

/// A loss that cannot be accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// Nothing is stored that could be dropped.
    #[error(
        "`--accept-loss` needs `state` or `scale_out`: without them every start reads from \
         `start`, and a restart is enough"
    )]
    NoState,
    /// No source has this topic.
    #[error("`--accept-loss {topic}`: no source reads topic `{topic}`; see `sources[].topic`")]
    UnknownTopic {
        /// The topic.
        topic: Arc<str>,
    },
    /// The stored positions cannot be read.
    #[error(transparent)]
    Rows(#[from] RestoreError),
    /// A client could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The cluster did not answer.
    #[error("cannot see where the logs begin and end; nothing is accepted")]
    Look(#[source] KafkaError),
    /// The cluster does not know the partition.
    #[error(
        "cannot see where the log of {partition} begins and ends: is the topic there? Nothing is \
         accepted"
    )]
    Unseen {
        /// The partition.
        partition: PartitionId,
    },
}

impl FromStr for AcceptLoss {
    type Err = AcceptLossError;

    fn from_str(text: &str) -> Result<Self, AcceptLossError> {
        let wrong = || AcceptLossError { text: text.to_owned() };
        // The name of a topic holds no colon.
        let (topic, partition) = match text.split_once(':') {
            Some((topic, number)) => (topic, Some(number.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        if topic.is_empty() || partition.is_some_and(|number: i32| number < 0) {
            return Err(wrong());
        }
        Ok(Self { topic: topic.into(), partition })
    }
}

/// Returns the argument by which the loss of a partition is accepted.
pub(crate) fn argument(partition: &PartitionId) -> String {
    format!("--accept-loss {}:{}", partition.topic, partition.partition)
}

/// Returns what a person can do about a partition that is read no more.
pub(crate) fn advice(config: &Config, partition: &PartitionId) -> String {
    if config.scale_out.is_some() {
        let argument = argument(partition);
        return format!("to go on without these records, start each process with `{argument}`");
    }
    if config.state.is_none() {
        return "no `state` is kept: a restart reads it from `start`".to_owned();
    }
    format!("to go on without these records, run with `{}`", argument(partition))
}

impl AcceptLoss {
    fn names(&self, partition: &PartitionId) -> bool {
        self.topic == partition.topic && self.partition.is_none_or(|it| it == partition.partition)
    }
}

/// Refuses what no start can accept.
pub(crate) fn check(config: &Config, named: &[AcceptLoss]) -> Result<(), AcceptError> {
    if named.is_empty() {
        return Ok(());
    }
    if config.state.is_none() && config.scale_out.is_none() {
        return Err(AcceptError::NoState);
    }
    match named.iter().find(|it| config.source_of(&it.topic).is_none()) {
        Some(AcceptLoss { topic, .. }) => Err(AcceptError::UnknownTopic { topic: topic.clone() }),
        None => Ok(()),
    }
}

/// Returns the losses of the named partitions, of those that have one.
pub(crate) fn accepted(
    kafka: &KafkaConfig,
    named: &[AcceptLoss],
    rows: &[Row],
) -> Result<Vec<Accepted>, AcceptError> {
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let stored = stored_positions(rows)?;
    for it in named.iter().filter(|it| !stored.keys().any(|partition| it.names(partition))) {
        let AcceptLoss { topic, partition } = it;
        info!(%topic, partition, "`--accept-loss` does nothing: no run has read it");
    }
    let stored: BTreeMap<PartitionId, Stored> =
        stored.into_iter().filter(|(id, _)| named.iter().any(|it| it.names(id))).collect();
    let accepted = decide(kafka, &stored, ANSWER_TIMEOUT)?;
    Ok(accepted.into_values().collect())
}

/// Whose losses this process accepts where several share the work. It is given partitions again and
/// again: one that is seen to have lost nothing has nothing accepted any more.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    named: Vec<AcceptLoss>,
    settled: Mutex<BTreeSet<PartitionId>>,
}

impl Decisions {
    pub(crate) fn new(named: &[AcceptLoss]) -> Self {
        Self { named: named.to_vec(), settled: Mutex::default() }
    }

    /// Whether a loss of the partition would be accepted.
    pub(crate) fn names(&self, partition: &PartitionId) -> bool {
        self.named.iter().any(|it| it.names(partition)) && !self.settled().contains(partition)
    }

    /// Returns the losses of partitions, of those that have one.
    pub(crate) fn accepted(
        &self,
        kafka: &KafkaConfig,
        stored: &BTreeMap<PartitionId, Stored>,
    ) -> Result<BTreeMap<PartitionId, Accepted>, AcceptError> {
        let accepted = decide(kafka, stored, ANSWER_TIMEOUT_SHARED)?;
        self.settled().extend(stored.keys().filter(|id| !accepted.contains_key(id)).cloned());
        Ok(accepted)
    }

    fn settled(&self) -> MutexGuard<'_, BTreeSet<PartitionId>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the losses of partitions, and logs what becomes of every one.
fn decide(
    kafka: &KafkaConfig,
    stored: &BTreeMap<PartitionId, Stored>,
    timeout: Duration,
) -> Result<BTreeMap<PartitionId, Accepted>, AcceptError> {
    if stored.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut lost = look(kafka, stored, timeout)?;
    let at = clock::now();
    let mut all = BTreeMap::new();
    for (partition, Stored { next_offset, .. }) in stored {
        if let Some((loss, start)) = lost.remove(partition) {
            warn!(
                %partition,
                reason = loss.reason(),
                records = loss.records(),
                %loss,
                "the loss is accepted: the partition begins anew at its oldest record"
            );
            let accepted = Accepted { partition: partition.clone(), loss, start, at };
            all.insert(partition.clone(), accepted);
        } else {
            info!(
                %partition,
                next_offset,
                "`--accept-loss` does nothing: the partition has lost nothing and goes on"
            );
        }
    }
    Ok(all)
}

/// Returns what is lost of partitions, with the oldest offset of each log.
fn look(
    kafka: &KafkaConfig,
    stored: &BTreeMap<PartitionId, Stored>,
    timeout: Duration,
) -> Result<BTreeMap<PartitionId, (Loss, i64)>, AcceptError> {
    let mut client = lone_reader(kafka, "-losses")?;
    client.set("isolation.level", "read_committed");
    let client: BaseConsumer<Alone> =
        client.create_with_context(Alone).map_err(ConnectError::from)?;
    let partitions: Vec<PartitionId> = stored.keys().cloned().collect();
    let bounds = loss::bounds(&client, &partitions, timeout).map_err(AcceptError::Look)?;
    let unseen = |partition: &PartitionId| AcceptError::Unseen { partition: partition.clone() };
    let mut lost = BTreeMap::new();
    let mut marks = BTreeMap::new();
    for (partition, Stored { next_offset, mark }) in stored {
        let bounds = bounds.get(partition).ok_or_else(|| unseen(partition))?;
        if let Some(loss) = Loss::of(*next_offset, *bounds) {
            lost.insert(partition.clone(), (loss, bounds.start));
        } else if let Some(mark) = mark {
            marks.insert(partition.clone(), *mark);
        }
    }
    let others = loss::other_logs(&client, &marks, &bounds, timeout).map_err(AcceptError::Look)?;
    for partition in others {
        if let (Some(stored), Some(bounds)) = (stored.get(&partition), bounds.get(&partition)) {
            let loss = Loss::Recreated { next_offset: stored.next_offset };
            lost.insert(partition, (loss, bounds.start));
        }
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(String, Option<i32>)> {
        let parsed: AcceptLoss = text.parse().ok()?;
        Some((parsed.topic.to_string(), parsed.partition))
    }

    #[test]
    fn a_topic_or_one_of_its_partitions_is_named() {
        assert_eq!(parse("logs"), Some(("logs".to_owned(), None)));
        assert_eq!(parse("logs:12"), Some(("logs".to_owned(), Some(12))));
        for wrong in ["", ":", ":1", "logs:", "logs:-1", "logs:x", "logs:1:2"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_argument_that_is_taught_is_one_that_is_understood() {
        let partition = PartitionId { topic: "logs.v2".into(), partition: 3 };
        let taught = argument(&partition);
        let text = taught.strip_prefix("--accept-loss ").unwrap();
        let parsed: AcceptLoss = text.parse().unwrap();
        assert!(parsed.names(&partition));
        assert!(!parsed.names(&PartitionId { partition: 2, ..partition }));
    }
}
