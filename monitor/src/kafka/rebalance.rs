//! Which partitions a consumer thread owns: librdkafka's rebalance callbacks, turned into data.
//!
//! Before: the group coordinator. After: [`crate::kafka::consumer`] follows the [`Change`]s between
//! two polls. Where to read from is set inside the callback, before the first fetch, so that no
//! seek races with it. A partition that this process has never read begins at the oldest record,
//! wherever that is when it is fetched, or after the newest: that place is asked for once and kept,
//! because asking again, after the partition has moved, would skip what came meanwhile. The
//! cooperative protocol gives differences: partitions that stay are not mentioned.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use driftd_catalog::{PartitionId, Timestamp};
use driftd_core::PartitionState;
use driftd_core::loss::Mark;
use driftd_core::state::PartitionSaver;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tracing::error;

use crate::clock;
use crate::failpoint;
use crate::http::Heartbeat;
use crate::kafka::client_log::log_error;
use crate::kafka::committed::{self, Standing, compare};
use crate::kafka::loss::{self, Held};
use crate::kafka::queues::Queues;
use crate::kafka::sharing::{ResumeError, ResumedPartition, Resumer};
use crate::kafka::stalls::Due;
use crate::kafka::state_topic::Patience;
use crate::kafka::watch::partitions;

/// A rebalance waits this long for the ends of its partitions.
const ENDS_TIMEOUT: Duration = Duration::from_secs(5);

/// A rebalance waits this long to be told what logs hold that were read.
const COMPARE_TIMEOUT: Duration = Duration::from_secs(15);

/// Partitions are waited for this long when other threads of the process still have to let go of
/// them; then they are tried again later.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// The partitions of this process: read by one of its threads, or parked with what was counted in
/// them.
///
/// A partition that moves to another thread, or leaves and comes back, goes on where it stopped.
#[derive(Clone, Debug, Default)]
pub struct Parked {
    lot: Arc<Lot>,
    /// Index of the thread that takes and parks.
    thread: u32,
}

#[derive(Debug, Default)]
struct Lot {
    places: Mutex<Places>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Places {
    read: BTreeSet<PartitionId>,
    parked: BTreeMap<PartitionId, PartitionState>,
    /// Partitions that the group leaves to a thread which does not read them now: no other may.
    kept: BTreeMap<PartitionId, u32>,
    /// Partitions that each topic had when the process first looked.
    first: BTreeMap<Arc<str>, i32>,
}

/// Another thread reads a partition still.
#[derive(Debug, PartialEq, Eq)]
struct StillRead;

impl Parked {
    /// Returns the same for another thread.
    #[must_use]
    pub fn of_thread(&self, thread: u32) -> Self {
        Self { lot: Arc::clone(&self.lot), thread }
    }

    /// Keeps a partition for its next reader.
    pub fn park(&self, state: PartitionState) {
        let mut places = self.places();
        places.read.remove(state.id());
        places.parked.insert(state.id().clone(), state);
        self.lot.freed.notify_all();
    }

    /// Keeps a partition for this thread, until it leaves it.
    pub(crate) fn keep(&self, state: PartitionState) {
        self.places().kept.insert(state.id().clone(), self.thread);
        self.park(state);
    }

    /// Leaves a partition to other threads, which may have been kept.
    pub(crate) fn leave(&self, partition: &PartitionId) {
        let mut places = self.places();
        if places.kept.get(partition) == Some(&self.thread) {
            places.kept.remove(partition);
        }
        self.lot.freed.notify_all();
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.lot.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a partition to read it, waiting up to a time for the thread that has it; `None` when
    /// this process has never read it.
    fn take(
        &self,
        partition: &PartitionId,
        until: Instant,
    ) -> Result<Option<PartitionState>, StillRead> {
        let patience = until.saturating_duration_since(clock::instant());
        let places = self.places();
        let is_others = |places: &mut Places| {
            let kept = places.kept.get(partition);
            places.read.contains(partition) || kept.is_some_and(|thread| *thread != self.thread)
        };
        // The coordinator gives a partition away only after its reader agreed, but that thread may
        // still be counting its last batch, or waiting for the pipeline to take what it counted.
        let (mut places, waited) = self
            .lot
            .freed
            .wait_timeout_while(places, patience, is_others)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(StillRead);
        }
        places.kept.remove(partition);
        places.read.insert(partition.clone());
        Ok(places.parked.remove(partition))
    }

    /// Returns how many partitions the topic had when this was asked first.
    fn first(&self, topic: &Arc<str>, now: i32) -> i32 {
        let mut places = self.places();
        *places.first.entry(Arc::clone(topic)).or_insert(now)
    }
}

/// Where a partition begins that was never read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At its oldest record.
    Oldest,
    /// After its newest record.
    Newest,
    /// At the first record of this time, or a later one: state was lost, and what came after the
    /// last outputs is read again.
    At(Timestamp),
}

/// [`Begin`] of a source, from the moment at which it is known; nothing is read before.
pub type BeginCell = Arc<OnceLock<Begin>>;

/// A partition that cannot be read, and why.
type Stalled = (PartitionId, Arc<ResumeError>);

/// A partition's state, and what notes its changes where several processes share the work.
pub(crate) type Found = (PartitionState, Option<PartitionSaver>);

/// A change of the assignment.
#[derive(Debug)]
pub(crate) enum Change {
    /// These came, each with the state to go on from.
    Assigned(Vec<Found>),
    /// These came and cannot be gone on with; they are not read.
    Stalled(Vec<(PartitionId, Arc<ResumeError>)>),
    /// These went.
    Revoked(Vec<PartitionId>),
}

/// The consumer's callbacks.
pub(crate) struct Assignments {
    source: usize,
    topic: Arc<str>,
    begin: BeginCell,
    from: Origin,
    /// Of the thread whose callbacks these are: brokers that do not answer do not make it hang.
    heartbeat: Heartbeat,
    changes: Changes<Change>,
    read: Read,
    queues: Queues,
    /// Partitions that the topic had when the job began, from when that is needed on.
    first: AtomicI32,
}

/// Partitions of one topic that the client reads: of those that the group has given to it, the ones
/// that can be gone on with.
#[derive(Debug, Default)]
pub(crate) struct Read(Mutex<BTreeSet<i32>>);

impl Read {
    /// Begins to read partitions, each at its offset: all of them, or none.
    pub(crate) fn begin<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        topic: &str,
        begins: impl IntoIterator<Item = (i32, Offset)>,
    ) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = begins.into_iter().try_for_each(|(partition, offset)| {
            list.add_partition_offset(topic, partition, offset)
        });
        // Also of none: it answers the group.
        let begun = listed.and_then(|()| consumer.incremental_assign(&list));
        match begun {
            Ok(()) => read.extend(numbers(&list)),
            Err(_) => {
                // Of the two errors the first tells more.
                let _answered = consumer.incremental_assign(&TopicPartitionList::new());
            }
        }
        begun
    }

    /// Ends to read those of the partitions that are read.
    pub(crate) fn end<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
        topic: &str,
        partitions: &[i32],
    ) {
        let mut list = TopicPartitionList::new();
        let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for partition in partitions.iter().filter(|partition| read.remove(partition)) {
            list.add_partition(topic, *partition);
        }
        if let Err(error) = consumer.incremental_unassign(&list) {
            error!(topic, %error, "partitions could not be unassigned");
        }
    }
}

/// What the callbacks have met and the consumer's thread has not followed yet, oldest first.
#[derive(Debug)]
pub(crate) struct Changes<C>(Mutex<Vec<C>>);

impl<C> Changes<C> {
    pub(crate) fn push(&self, change: C) {
        self.lock().push(change);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(crate) fn take(&self) -> Vec<C> {
        mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> Default for Changes<C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// Returns the numbers of partitions of one topic.
pub(crate) fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    list.elements().iter().map(TopicPartitionListElem::partition).collect()
}

/// Where the state of assigned partitions is had from.
pub(crate) enum Origin {
    /// This process: no other reads them.
    Here(Parked),
    /// Whoever read them before, maybe another process.
    Shared(Box<Resumer>),
}

impl Assignments {
    pub(crate) fn new(
        (source, topic): (usize, Arc<str>),
        begin: BeginCell,
        from: Origin,
        heartbeat: Heartbeat,
    ) -> Self {
        Self {
            source,
            topic,
            begin,
            from,
            heartbeat,
            changes: Changes::default(),
            read: Read::default(),
            queues: Queues::fetching(),
            first: AtomicI32::new(0),
        }
    }

    pub(crate) fn changes(&self) -> &Changes<Change> {
        &self.changes
    }

    /// Returns how many partitions the topic had when the job began; nothing is assigned before
    /// that is known.
    pub(crate) fn first(&self) -> i32 {
        self.first.load(Ordering::Relaxed)
    }

    /// Stops to read a partition that the group leaves here.
    pub(crate) fn stop(&self, consumer: &BaseConsumer<Self>, partition: i32) {
        self.read.end(consumer, &self.topic, &[partition]);
    }

    /// Tries again to read partitions that the group has given.
    pub(crate) fn retry(&self, consumer: &BaseConsumer<Self>, due: &Due) {
        let found = self.assign(consumer, &due.partitions, due.patience);
        if !found.is_empty() {
            self.changes.push(Change::Assigned(found));
        }
    }

    /// Before each call that waits for brokers.
    fn beat(&self) {
        self.heartbeat.beat(clock::instant());
    }

    fn ids(&self, partitions: &[i32]) -> Vec<PartitionId> {
        let id =
            |partition: &i32| PartitionId { topic: Arc::clone(&self.topic), partition: *partition };
        partitions.iter().map(id).collect()
    }

    /// Begins to read partitions, and returns those that it can be gone on with. `patience`, where
    /// a try gets less than the group grants.
    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &[i32],
        patience: Option<Duration>,
    ) -> Vec<Found> {
        let (found, mut stalled) = match &self.from {
            Origin::Here(parked) => self.parked(parked, partitions, patience),
            Origin::Shared(resumer) => {
                let patience = resumer.patience().at_most(patience);
                self.shared(consumer, (resumer, patience), partitions)
            }
        };
        let (found, unknown) = self.place(consumer, found);
        stalled.extend(unknown);
        failpoint::hit("consumer.assigned");
        let (mut found, held, unseen) = self.compare(consumer, found, patience);
        self.beat();
        stalled.extend(unseen);
        let begin = |(state, _): &Found| {
            // The newest record that was read comes once more, to be compared.
            let next_offset = held.get(state.id()).copied().or(state.next_offset());
            let offset = next_offset.map_or(Offset::Beginning, Offset::Offset);
            (state.id().partition, offset)
        };
        if let Err(error) = self.read.begin(consumer, &self.topic, found.iter().map(begin)) {
            stalled.extend(self.give_back(mem::take(&mut found), ResumeError::Assign(error)));
        }
        if !stalled.is_empty() {
            self.changes.push(Change::Stalled(stalled));
        }
        found
    }

    fn parked(
        &self,
        parked: &Parked,
        partitions: &[i32],
        patience: Option<Duration>,
    ) -> (Vec<Found>, Vec<Stalled>) {
        let (mut found, mut stalled) = (Vec::new(), Vec::new());
        self.beat();
        let until = clock::instant() + patience.unwrap_or(HANDOVER_TIMEOUT).min(HANDOVER_TIMEOUT);
        for id in self.ids(partitions) {
            match parked.take(&id, until) {
                Ok(Some(state)) => found.push((state, None)),
                Ok(None) => {
                    found.push((PartitionState::new(id, self.source, clock::now()), None));
                }
                Err(StillRead) => stalled.push((id, Arc::new(ResumeError::Read))),
            }
        }
        (found, stalled)
    }

    /// Returns what can be gone on with, the offset of the newest record that was read of those
    /// whose log still holds it, and what has to wait: where the brokers do not say what a log
    /// holds, it may be another one.
    fn compare(
        &self,
        consumer: &BaseConsumer<Self>,
        found: Vec<Found>,
        patience: Option<Duration>,
    ) -> (Vec<Found>, BTreeMap<PartitionId, i64>, Vec<Stalled>) {
        let mark = |(state, _): &Found| Some((state.id().clone(), state.mark()?));
        let marks: BTreeMap<PartitionId, Mark> = found.iter().filter_map(mark).collect();
        let marked: Vec<PartitionId> = marks.keys().cloned().collect();
        let timeout = patience.unwrap_or(COMPARE_TIMEOUT).min(COMPARE_TIMEOUT);
        self.beat();
        let bounds = loss::bounds_of_each(consumer, &marked, timeout);
        let Held { offsets, unknown } = loss::held(&marks, &bounds);
        let is_unknown = |(state, _): &Found| unknown.contains(state.id());
        let (unseen, seen) = found.into_iter().partition(is_unknown);
        (seen, offsets, self.give_back(unseen, ResumeError::Compare))
    }

    /// Returns what can be gone on with, and what cannot.
    fn shared(
        &self,
        consumer: &BaseConsumer<Self>,
        (resumer, patience): (&Resumer, Patience),
        partitions: &[i32],
    ) -> (Vec<Found>, Vec<Stalled>) {
        let (mut found, mut stalled) = (Vec::new(), Vec::new());
        let resumed = resumer.resume(self.source, self.ids(partitions), patience);
        // Behind the rows: what is committed is not older than they are.
        let committed = self.committed(consumer).map_err(Arc::new);
        for (id, resumed) in resumed {
            let compared = resumed.and_then(|ResumedPartition { state, saver, stored }| {
                let committed = committed.as_ref().map_err(Arc::clone)?;
                compare(stored, committed.get(&id.partition))
                    .map_err(|error| Arc::new(error.into()))?;
                Ok((state, Some(saver)))
            });
            match compared {
                Ok(partition) => found.push(partition),
                Err(error) => stalled.push((id, error)),
            }
        }
        (found, stalled)
    }

    /// Returns what the group has committed, and learns how many partitions the topic had when the
    /// job began.
    fn committed(
        &self,
        consumer: &BaseConsumer<Self>,
    ) -> Result<BTreeMap<i32, Standing>, ResumeError> {
        let count = self.count(consumer).map_err(ResumeError::Committed)?;
        self.beat();
        let standings = committed::ask(consumer, &self.topic, 0..count, ENDS_TIMEOUT);
        let standings = standings.map_err(ResumeError::Committed)?;
        let first = standings.values().map(|standing| standing.note.first).min();
        self.first.store(first.unwrap_or(count), Ordering::Relaxed);
        Ok(standings)
    }

    /// Lets partitions that were never read begin where that is not the oldest record; returns
    /// those also of which it cannot be told now. Where they begin is asked for once and kept.
    fn place(
        &self,
        consumer: &BaseConsumer<Self>,
        mut found: Vec<Found>,
    ) -> (Vec<Found>, Vec<Stalled>) {
        let times: &[Offset] = match self.begin.get() {
            Some(Begin::Oldest) | None => &[],
            Some(Begin::Newest) => &[Offset::End],
            // After the time there may be nothing yet.
            Some(Begin::At(time)) => &[Offset::Offset(time.as_millis().max(0)), Offset::End],
        };
        if times.is_empty() {
            return (found, Vec::new());
        }
        if let Err(error) = self.count_first(consumer, &found) {
            let is_read = |(state, _): &Found| state.next_offset().is_some();
            let (read, fresh) = found.into_iter().partition(is_read);
            return (read, self.give_back(fresh, ResumeError::Begin(error)));
        }
        let pinned = times.iter().try_for_each(|at| self.pin(consumer, &mut found, *at));
        let error = pinned.err().unwrap_or(KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset));
        let (unplaced, placed) = found.into_iter().partition(|(state, _)| self.is_unplaced(state));
        (placed, self.give_back(unplaced, ResumeError::Begin(error)))
    }

    /// Leaves partitions to a later try.
    fn give_back(&self, found: Vec<Found>, error: ResumeError) -> Vec<Stalled> {
        let error = Arc::new(error);
        let stalled = found.into_iter().map(|(state, _)| {
            let id = state.id().clone();
            if let Origin::Here(parked) = &self.from {
                parked.keep(state);
            }
            (id, Arc::clone(&error))
        });
        stalled.collect()
    }

    /// Learns how many partitions the topic had when the process began to read it, where no other
    /// does: the group's own number is had with what it has committed.
    fn count_first(&self, consumer: &BaseConsumer<Self>, found: &[Found]) -> KafkaResult<()> {
        let Origin::Here(parked) = &self.from else { return Ok(()) };
        let has_fresh = found.iter().any(|(state, _)| state.next_offset().is_none());
        if has_fresh && self.first() == 0 {
            let now = self.count(consumer)?;
            self.first.store(parked.first(&self.topic, now), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns how many partitions the topic has. A broker that has not heard of a topic which is
    /// read is behind: its answer would be believed for as long as the job runs.
    fn count(&self, consumer: &BaseConsumer<Self>) -> KafkaResult<i32> {
        self.beat();
        let all = partitions(consumer, &self.topic, ENDS_TIMEOUT)?;
        if all.is_empty() {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
        }
        Ok(i32::try_from(all.len()).unwrap_or(i32::MAX))
    }

    /// Whether a partition is one that does not begin at its oldest record. One that came when the
    /// job had begun does.
    fn is_unplaced(&self, state: &PartitionState) -> bool {
        state.next_offset().is_none() && state.id().partition < self.first()
    }

    /// Lets partitions begin at their end as it is now, or at the first record of a time. One
    /// question to each broker answers for all.
    fn pin(
        &self,
        consumer: &BaseConsumer<Self>,
        found: &mut [Found],
        at: Offset,
    ) -> Result<(), KafkaError> {
        let mut asked = TopicPartitionList::new();
        for (state, _) in found.iter().filter(|(state, _)| self.is_unplaced(state)) {
            let PartitionId { topic, partition } = state.id();
            asked.add_partition_offset(topic, *partition, at)?;
        }
        if asked.count() == 0 {
            return Ok(());
        }
        self.beat();
        let ends = consumer.offsets_for_times(asked, ENDS_TIMEOUT)?;
        for (state, _) in found {
            let Some(end) = ends.find_partition(&self.topic, state.id().partition) else {
                continue;
            };
            end.error()?;
            if let Offset::Offset(end) = end.offset() {
                let id = state.id().clone();
                *state = PartitionState::new(id, self.source, clock::now()).starting_at(end);
            }
        }
        Ok(())
    }
}

impl ClientContext for Assignments {
    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.queues.told(statistics);
    }
}

impl ConsumerContext for Assignments {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions = numbers(list);
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let found = self.assign(consumer, &partitions, None);
            return self.changes.push(Change::Assigned(found));
        }
        self.changes.push(Change::Revoked(self.ids(&partitions)));
        self.read.end(consumer, &self.topic, &partitions);
    }

    fn commit_callback(&self, result: Result<(), KafkaError>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "positions not committed; they serve lag tools only");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_another_thread_reads_is_not_taken_from_it() {
        let parked = Parked::default();
        let id = PartitionId { topic: "t".into(), partition: 3 };
        let at = |offset| PartitionState::new(id.clone(), 0, clock::now()).starting_at(offset);
        let now = clock::instant();
        let take = || parked.take(&id, now).map(|it| it.map(|state| state.next_offset()));
        assert_eq!(take(), Ok(None), "it was never read");
        assert_eq!(take(), Err(StillRead), "neither anew nor twice");
        assert_eq!(take(), Err(StillRead));
        parked.park(at(7));
        assert_eq!(take(), Ok(Some(Some(7))));
        assert_eq!(take(), Err(StillRead));
    }

    /// What a thread still has to tell of it must not come behind what the next one tells.
    #[test]
    fn a_partition_that_is_kept_for_one_thread_is_no_others_until_it_is_left() {
        let first = Parked::default();
        let second = first.of_thread(1);
        let id = PartitionId { topic: "t".into(), partition: 3 };
        let at = |offset| PartitionState::new(id.clone(), 0, clock::now()).starting_at(offset);
        let now = clock::instant();
        let take = |thread: &Parked| {
            thread.take(&id, now).map(|it| it.and_then(|state| state.next_offset()))
        };
        first.keep(at(7));
        assert_eq!(take(&second), Err(StillRead));
        assert_eq!(take(&first), Ok(Some(7)));
        first.keep(at(8));
        second.leave(&id);
        assert_eq!(take(&second), Err(StillRead), "it is not the other's to leave");
        first.leave(&id);
        assert_eq!(take(&second), Ok(Some(8)));
    }

    #[test]
    fn how_many_partitions_a_topic_had_first_is_asked_once() {
        let parked = Parked::default();
        assert_eq!(parked.first(&"t".into(), 4), 4);
        assert_eq!(parked.clone().first(&"t".into(), 6), 4);
        assert_eq!(parked.first(&"u".into(), 6), 6);
    }
}
