//! What no message tells: how many partitions a topic has, and where they end.
//!
//! Before: a source topic. After: [`Event::TopicPartitions`] and [`Event::Ends`] for the pipeline,
//! which shows the lag, and [`Ends`] for the question whether a silent partition has been read to
//! its end. Runs on its own thread with its own client, so that a slow answer never holds up a
//! consumer.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use driftd_catalog::{PartitionId, Timestamp};
use driftd_core::config::KafkaConfig;
use driftd_core::event::Event;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use tracing::warn;

use crate::clock;
use crate::http::{Health, Place};
use crate::kafka::committed::{self, Standing};
use crate::kafka::loss;
use crate::kafka::owners::Owners;
use crate::kafka::trouble::{self, Trouble};
use crate::kafka::{ConnectError, base};
use crate::outbox::EventSender;

const INTERVAL: Duration = Duration::from_secs(2);
/// Readers run ahead while they do not know how far others are: that is looked at more often.
const LOOKS_ELSEWHERE: u32 = 8;
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Ends of partitions, as last seen.
#[derive(Clone, Debug, Default)]
pub struct Ends(Arc<Mutex<BTreeMap<PartitionId, End>>>);

/// The end of one partition at one moment.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Offset that the next record will get.
    pub offset: i64,
    /// Wall-clock time of the answer.
    pub seen_at: Timestamp,
    /// Wall-clock time of the first answer that said so.
    pub since: Timestamp,
    /// Wall-clock time of the last answer that said otherwise.
    pub after: Option<Timestamp>,
}

impl Ends {
    /// Returns the end of `partition`, if it has been seen.
    pub fn of(&self, partition: &PartitionId) -> Option<End> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(partition).copied()
    }

    fn set(&self, partition: PartitionId, offset: i64) {
        let now = clock::now();
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = match ends.get(&partition) {
            Some(known) if known.offset == offset => End { seen_at: now, ..*known },
            other => End { offset, seen_at: now, since: now, after: other.map(|it| it.seen_at) },
        };
        ends.insert(partition, end);
    }
}

/// Watches one source topic.
pub struct Watcher {
    source: usize,
    topic: Arc<str>,
    client: BaseConsumer<Trouble>,
    ends: Ends,
    health: Arc<Health>,
    /// Of a group of which other processes read partitions too.
    group: Option<(BaseConsumer, Owners)>,
    /// Everybody who has to know.
    events: Vec<EventSender>,
}

impl Watcher {
    /// Connects a client that reads nothing.
    pub fn connect(
        kafka: &KafkaConfig,
        source: usize,
        topic: Arc<str>,
        ends: Ends,
        health: Arc<Health>,
        events: Vec<EventSender>,
    ) -> Result<Self, ConnectError> {
        let client = base(kafka)?.create_with_context(Trouble::default())?;
        Ok(Self { source, topic, client, ends, health, group: None, events })
    }

    /// Tells also how far others of a group are, and who they are.
    pub(crate) fn beside_others(
        self,
        kafka: &KafkaConfig,
        group: &str,
        owners: Owners,
    ) -> Result<Self, ConnectError> {
        let group = base(kafka)?.set("group.id", group).create()?;
        Ok(Self { group: Some((group, owners)), ..self })
    }

    /// Looks every two seconds until `stop` hangs up.
    pub fn run(self, stop: &Receiver<()>) {
        let mut known = 0;
        let mut seen = Vec::new();
        loop {
            match partitions(&self.client, &self.topic, ANSWER_TIMEOUT) {
                Ok(found) => {
                    self.health.answered(&self.place(None));
                    // Nobody asks about a partition again that is there no more.
                    self.health.forget_others(&self.topic, found.iter().map(|id| id.partition));
                    // What was said before is not the cause of what comes.
                    let _past = trouble::hear(&self.client);
                    if !self.tell(&found, &mut known) {
                        return;
                    }
                    let ends = self.look(&found);
                    let ends = || Event::Ends { source: self.source, ends: ends.clone() };
                    if !self.events.iter().all(|events| events.send(ends())) {
                        return;
                    }
                    seen = found;
                }
                Err(error) => {
                    let why = trouble::hear(&self.client);
                    self.health.unanswered(&self.place(None), clock::instant(), why);
                    warn!(topic = %self.topic, %error, "cannot see the partitions of the topic");
                }
            }
            for _ in 0..LOOKS_ELSEWHERE {
                let is_heard = self.tell_elsewhere(&seen);
                match stop.recv_timeout(INTERVAL / LOOKS_ELSEWHERE) {
                    Err(RecvTimeoutError::Timeout) if is_heard => {}
                    Ok(()) | Err(_) => return,
                }
            }
        }
    }

    /// Returns `false` when nobody listens any more.
    fn tell_elsewhere(&self, found: &[PartitionId]) -> bool {
        let Some(standings) = self.elsewhere(found) else { return true };
        let source = self.source;
        let elsewhere = || Event::Elsewhere { source, standings: standings.clone() };
        self.events.iter().all(|events| events.send(elsewhere()))
    }

    /// Tells how many partitions there are, before anything else can fail: the pipeline must wait
    /// for those that nobody reads yet. Returns `false` when nobody listens any more.
    fn tell(&self, found: &[PartitionId], known: &mut usize) -> bool {
        if found.len() == *known {
            return true;
        }
        *known = found.len();
        let source = self.source;
        let known = || Event::TopicPartitions { source, partitions: found.to_vec() };
        self.events.iter().all(|events| events.send(known()))
    }

    /// Returns how far the partitions are that members of the group have read.
    fn elsewhere(
        &self,
        found: &[PartitionId],
    ) -> Option<Vec<(PartitionId, i64, Option<Timestamp>)>> {
        let (group, owners) = self.group.as_ref()?;
        let partitions = found.iter().map(|id| id.partition);
        match committed::ask(group, &self.topic, partitions, ANSWER_TIMEOUT) {
            Ok(standings) => {
                owners.set(&self.topic, &standings);
                let standing = |id: &PartitionId| {
                    let Standing { next_offset, note } = standings.get(&id.partition)?;
                    Some((id.clone(), *next_offset, note.watermark))
                };
                Some(found.iter().filter_map(standing).collect())
            }
            Err(error) => {
                warn!(topic = %self.topic, %error, "cannot see how far others are");
                None
            }
        }
    }

    /// Looks where partitions end, all with one question to each broker; also behind one that does
    /// not answer, such as one without a leader: then each has its own.
    fn look(&self, found: &[PartitionId]) -> Vec<(PartitionId, i64)> {
        let together = loss::offsets(&self.client, found, Offset::End, ANSWER_TIMEOUT);
        let together = together.unwrap_or_default();
        let mut ends = Vec::new();
        for id in found {
            let end = together.get(id).map_or_else(|| self.look_alone(id), |end| Ok(*end));
            let place = self.place(Some(id.partition));
            match end {
                Ok(end) => {
                    self.health.answered(&place);
                    self.ends.set(id.clone(), end);
                    ends.push((id.clone(), end));
                }
                Err(error) => {
                    let why = Some(error.to_string());
                    self.health.unanswered(&place, clock::instant(), why);
                    warn!(partition = %id, %error, "cannot see the end of the partition");
                }
            }
        }
        ends
    }

    fn look_alone(&self, id: &PartitionId) -> KafkaResult<i64> {
        let bounds = self.client.fetch_watermarks(&self.topic, id.partition, loss::ALONE_TIMEOUT);
        bounds.map(|(_, end)| end)
    }

    fn place(&self, partition: Option<i32>) -> Place {
        Place { topic: Arc::clone(&self.topic), partition }
    }
}

/// Returns the partitions of a topic; none when it does not exist. A topic that cannot be looked
/// at, for want of a leader or of a right, is an error and not an absence.
pub(crate) fn partitions<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &Arc<str>,
    timeout: Duration,
) -> Result<Vec<PartitionId>, KafkaError> {
    let metadata = client.fetch_metadata(Some(topic), timeout)?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == &**topic) else {
        return Ok(Vec::new());
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None => {}
        Some(RDKafkaErrorCode::UnknownTopicOrPartition) => return Ok(Vec::new()),
        Some(code) => return Err(KafkaError::MetadataFetch(code)),
    }
    let partitions = found.partitions().iter().map(rdkafka::metadata::MetadataPartition::id);
    Ok(partitions.map(|partition| PartitionId { topic: Arc::clone(topic), partition }).collect())
}
