//! How far each source partition has been read, and which panes may therefore close.
//!
//! Before: [`Progress`] of the shards, assignments and metadata from the edge. After: [`Closing`]
//! for [`crate::windows`], pauses that keep partitions together, and counters for the snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::{PartitionId, Timestamp, WindowSpan};
use driftd_ingest::{ChangeKind, RejectReason};

use crate::config::{Config, ModelConfig, SourceConfig};
use crate::event::Effect;
use crate::fields::{FieldChange, FieldProblem};
use crate::halves::Waiting;
use crate::loss::{Loss, LostTime};
use crate::shard::Progress;
use crate::snapshot::{ChangedField, JoinSnapshot, PartitionSnapshot, SourceSnapshot};
use crate::windows::Closing;

/// Partitions may run so many times `drift_max` ahead of those that other processes read.
const ELSEWHERE_FACTOR: i64 = 4;

#[derive(Debug)]
pub(crate) struct Sources {
    counters: Vec<SourceSnapshot>,
    /// Whether the partitions of each source are known: those that nobody reads count too.
    is_known: Vec<bool>,
    partitions: BTreeMap<PartitionId, Partition>,
    /// Lost time of partitions whose loss was accepted.
    lost: BTreeMap<PartitionId, LostTime>,
}

/// Who reads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// Nobody, as far as is known.
    Unknown,
    /// This process.
    Here,
    /// This process, once it can: it tries again.
    HereLater,
    /// Another process, which has said how far it is.
    Elsewhere,
}

impl Reader {
    /// Whether the partition is this process's.
    fn is_here(self) -> bool {
        match self {
            Self::Here | Self::HereLater => true,
            Self::Unknown | Self::Elsewhere => false,
        }
    }
}

/// One partition of a source topic, whoever reads it.
#[derive(Debug)]
struct Partition {
    source: usize,
    reader: Reader,
    /// Absent before the first report.
    next_offset: Option<i64>,
    high_watermark: Option<i64>,
    watermark: Option<Timestamp>,
    idle: bool,
    state_bytes: u64,
    /// Fields that its newest records are without.
    fields: Vec<FieldChange>,
    /// Requests and responses that wait for their other half.
    waiting: Waiting,
    paused: bool,
    stalled: Option<Loss>,
    /// Wall-clock time of the last step forward.
    progressed_at: Timestamp,
}

impl Partition {
    fn new(source: usize, now: Timestamp) -> Self {
        Self {
            source,
            reader: Reader::Unknown,
            next_offset: None,
            high_watermark: None,
            watermark: None,
            idle: false,
            state_bytes: 0,
            fields: Vec::new(),
            waiting: Waiting::default(),
            paused: false,
            stalled: None,
            progressed_at: now,
        }
    }

    /// Whether it is silent and read to its end. Silence that was told says nothing any more when
    /// the end has moved since, or is not known.
    fn is_idle(&self) -> bool {
        self.idle && self.high_watermark.is_some() && !self.is_behind()
    }

    /// Whether its reader here has not said otherwise since it was idle. Its end may have moved:
    /// where messages come all the time that make no record, it does so again and again, and how
    /// far event time has come there says nothing.
    fn is_told_idle_here(&self) -> bool {
        self.idle && self.reader == Reader::Here
    }

    /// Whether records are there that have not been read: only such a partition can be slow.
    fn is_behind(&self) -> bool {
        self.next_offset.zip(self.high_watermark).is_some_and(|(next, end)| next < end)
    }

    /// Whether it has made no step forward for `wait_max_millis`.
    fn is_stuck(&self, now: Timestamp, wait_max_millis: i64) -> bool {
        self.progressed_at.plus_millis(wait_max_millis) <= now
    }
}

impl Sources {
    pub(crate) fn new(config: &Config) -> Self {
        let counters = config.sources.iter().map(empty_counters).collect();
        Self {
            counters,
            is_known: vec![false; config.sources.len()],
            partitions: BTreeMap::new(),
            lost: BTreeMap::new(),
        }
    }

    fn partition(&mut self, now: Timestamp, id: PartitionId, source: usize) -> &mut Partition {
        self.partitions.entry(id).or_insert_with(|| Partition::new(source, now))
    }

    pub(crate) fn set_known(&mut self, now: Timestamp, source: usize, known: Vec<PartitionId>) {
        self.is_known[source] |= !known.is_empty();
        for id in known {
            self.partition(now, id, source);
        }
    }

    /// Takes where partitions end, whether or not anything is read: what is not read is the lag.
    pub(crate) fn set_ends(
        &mut self,
        now: Timestamp,
        source: usize,
        ends: Vec<(PartitionId, i64)>,
    ) {
        for (id, end) in ends {
            let partition = self.partition(now, id, source);
            let was_idle = partition.is_idle();
            partition.high_watermark = Some(end);
            if was_idle && !partition.is_idle() {
                // It stood still because there was nothing; it is waited for from now on.
                partition.progressed_at = now;
            }
        }
    }

    /// Takes how far other processes are; what this one reads it knows better.
    pub(crate) fn set_elsewhere(
        &mut self,
        now: Timestamp,
        source: usize,
        standings: Vec<(PartitionId, i64, Option<Timestamp>)>,
    ) {
        for (id, next_offset, watermark) in standings {
            let partition = self.partition(now, id, source);
            if partition.reader.is_here() {
                continue;
            }
            if partition.next_offset != Some(next_offset) {
                partition.progressed_at = now;
            }
            partition.reader = Reader::Elsewhere;
            partition.next_offset = Some(next_offset);
            partition.watermark = watermark;
        }
    }

    pub(crate) fn assign(&mut self, now: Timestamp, source: usize, assigned: Vec<PartitionId>) {
        let mut is_rebalance = assigned.is_empty();
        for id in assigned {
            let partition = self.partition(now, id, source);
            // A try is no step forward: one that is let go of again and again is given up.
            if partition.reader != Reader::HereLater {
                partition.progressed_at = now;
                is_rebalance = true;
            }
            partition.reader = Reader::Here;
        }
        self.counters[source].rebalances += u64::from(is_rebalance);
    }

    /// Takes that a partition is read no more until it is tried again.
    pub(crate) fn let_go(&mut self, now: Timestamp, id: &PartitionId, effects: &mut Vec<Effect>) {
        let partition = self.partitions.get_mut(id);
        let Some(partition) = partition.filter(|it| it.reader == Reader::Here) else { return };
        partition.reader = Reader::HereLater;
        partition.stalled = None;
        partition.resume(now, id, effects);
    }

    pub(crate) fn revoke(
        &mut self,
        now: Timestamp,
        source: usize,
        revoked: Vec<PartitionId>,
        effects: &mut Vec<Effect>,
    ) {
        self.counters[source].rebalances += 1;
        for id in revoked {
            if let Some(partition) = self.partitions.get_mut(&id) {
                partition.reader = Reader::Unknown;
                partition.stalled = None;
                partition.progressed_at = now;
                partition.resume(now, &id, effects);
            }
        }
    }

    /// Returns how far a partition is known to have come in event time.
    pub(crate) fn watermark(&self, partition: &PartitionId) -> Option<Timestamp> {
        self.partitions.get(partition).and_then(|it| it.watermark)
    }

    /// Returns the least watermark of a source's partitions, also of those that nobody waits for.
    pub(crate) fn passed_by_all(&self, source: usize) -> Timestamp {
        let own = self.partitions.values().filter(|it| it.source == source);
        own.map(|it| it.watermark).min().flatten().unwrap_or(Timestamp::MIN)
    }

    /// Returns the time that every partition of a source has passed that is not idle; the least of
    /// all, where all are idle.
    pub(crate) fn floor(&self, source: usize) -> Timestamp {
        if !self.is_known[source] {
            return Timestamp::MIN;
        }
        // A partition that has lost records stands still until a person decides about it.
        let own = || {
            let own = self.partitions.values().filter(|it| it.source == source);
            own.filter(|it| it.stalled.is_none())
        };
        let busy = own().filter(|it| !it.is_idle()).map(|it| it.watermark).min();
        // One that never had a record says nothing of time.
        let floor = busy.unwrap_or_else(|| own().filter_map(|it| it.watermark).min());
        floor.unwrap_or(Timestamp::MIN)
    }

    /// Takes a report; returns whether a pane may have become ready.
    pub(crate) fn advance(&mut self, now: Timestamp, progress: &Progress) -> bool {
        self.add_counters(progress);
        let partition = self.partition(now, progress.partition.clone(), progress.source);
        let is_moved = partition.watermark != progress.watermark
            || partition.idle != progress.idle
            || partition.next_offset != Some(progress.next_offset);
        if is_moved {
            partition.progressed_at = now;
        }
        partition.next_offset = Some(progress.next_offset);
        partition.high_watermark = progress.high_watermark.max(partition.high_watermark);
        partition.watermark = progress.watermark;
        partition.idle = progress.idle;
        partition.state_bytes = progress.state_bytes;
        partition.waiting = progress.waiting;
        partition.fields.clone_from(&progress.fields);
        is_moved
    }

    /// Takes that a partition is read no more.
    pub(crate) fn stall(&mut self, partition: &PartitionId, loss: Loss) {
        if let Some(partition) = self.partitions.get_mut(partition) {
            partition.stalled = Some(loss);
        }
    }

    /// Takes that a partition begins anew: how far it was says nothing any more.
    pub(crate) fn begin_anew(&mut self, now: Timestamp, partition: &PartitionId) {
        if let Some(partition) = self.partitions.get_mut(partition) {
            partition.next_offset = None;
            partition.watermark = None;
            partition.idle = false;
            partition.progressed_at = now;
        }
    }

    /// Takes the time of which records of a partition are lost.
    pub(crate) fn set_lost(&mut self, partition: PartitionId, lost: LostTime) {
        self.lost.insert(partition, lost);
    }

    /// Takes that a partition was read past what it has lost; returns what is lost.
    pub(crate) fn settle(&mut self, config: &Config, progress: &Progress) -> Option<LostTime> {
        let newest = progress.settled?;
        let lost = self.lost.get_mut(&progress.partition)?;
        lost.end(newest, config.sources[progress.source].time.out_of_orderness_millis);
        Some(*lost)
    }

    /// Returns the partitions of a source that have lost records of a span.
    pub(crate) fn lacking(
        &self,
        source: &SourceConfig,
        span: WindowSpan,
    ) -> impl Iterator<Item = &PartitionId> {
        let own = self.lost.iter().filter(|(id, _)| id.topic == source.topic);
        own.filter(move |(_, lost)| lost.touches(span)).map(|(id, _)| id)
    }

    fn add_counters(&mut self, progress: &Progress) {
        let counters = &mut self.counters[progress.source];
        counters.messages += progress.messages;
        counters.bytes += progress.bytes;
        counters.clamped += progress.clamped;
        counters.over_limit += progress.over_limit;
        if let Some(join) = &mut counters.join {
            join.counts.absorb(progress.joined);
        }
        for (reason, count) in &progress.rejected {
            *counters.rejected.entry(*reason).or_insert(0) += count;
        }
        for (kind, count) in &progress.skipped {
            *counters.skipped.entry(*kind).or_insert(0) += count;
        }
    }

    pub(crate) fn dead_lettered(
        &mut self,
        source: usize,
        stored: u64,
        too_large: u64,
        failed: u64,
    ) {
        let counters = &mut self.counters[source];
        counters.dead_lettered += stored;
        counters.dead_letter_too_large += too_large;
        counters.dead_letter_failed += failed;
    }

    pub(crate) fn client_error(&mut self, source: usize, kind: &'static str) {
        *self.counters[source].errors.entry(kind).or_insert(0) += 1;
    }

    /// Returns whether a pane may close.
    ///
    /// It is complete when every partition of the topic has passed it, idle ones aside. When all
    /// are idle, nothing more is to be expected once the wall clock is past the pane as well. A
    /// partition that stands still for longer than `wait_max` is not waited for.
    pub(crate) fn readiness(
        &self,
        now: Timestamp,
        model: &ModelConfig,
        span: WindowSpan,
    ) -> Closing {
        if !self.is_known[model.source] {
            return Closing::Wait;
        }
        let pane = &model.pane;
        let mut is_any_passed = false;
        let mut waiting = Vec::new();
        for (id, partition) in self.partitions.iter().filter(|(_, it)| it.source == model.source) {
            if partition.watermark.is_some_and(|watermark| pane.is_passed(span, watermark)) {
                is_any_passed = true;
            } else if !partition.is_idle() {
                waiting.push((id, partition));
            }
        }
        let is_past = pane.is_passed(span, now.plus_millis(-pane.wait_max_millis));
        if waiting.is_empty() {
            if is_any_passed || is_past { Closing::Complete } else { Closing::Wait }
        } else if waiting.iter().all(|(_, it)| it.is_stuck(now, pane.wait_max_millis))
            && (is_any_passed || is_past)
        {
            Closing::Overdue(waiting.into_iter().map(|(id, _)| id.clone()).collect())
        } else {
            Closing::Wait
        }
    }

    /// Pauses partitions that ran ahead of the slowest one, and resumes those that no longer do.
    ///
    /// Without it a catch-up would hold open panes of days for the partition that is read last.
    /// One that is not waited for any more holds nobody back: a dead partition must not stop the
    /// others.
    pub(crate) fn align(&mut self, now: Timestamp, config: &Config, effects: &mut Vec<Effect>) {
        for (index, source) in config.sources.iter().enumerate() {
            let panes = source.models.iter().map(|model| &config.models[*model].pane);
            let wait_max = panes.map(|pane| pane.wait_max_millis).max().unwrap_or_default();
            let drift_max = source.time.drift_max_millis;
            let ahead_of = |readers: &[Reader], millis: i64| {
                let slowest = self.slowest(now, (index, readers), wait_max);
                slowest.map_or(Timestamp::MAX, |slowest| slowest.plus_millis(millis))
            };
            let limit = ahead_of(&[Reader::Here, Reader::HereLater], drift_max);
            // How far others are is known late: by then they are further.
            let elsewhere = drift_max.saturating_mul(ELSEWHERE_FACTOR);
            let limit = limit.min(ahead_of(&[Reader::Elsewhere], elsewhere));
            for (id, partition) in &mut self.partitions {
                if partition.source == index && partition.reader == Reader::Here {
                    partition.align(now, id, limit, effects);
                }
            }
        }
    }

    /// Returns the least watermark among the partitions of a source that are being caught up.
    fn slowest(
        &self,
        now: Timestamp,
        (source, readers): (usize, &[Reader]),
        wait_max_millis: i64,
    ) -> Option<Timestamp> {
        self.partitions
            .values()
            .filter(|it| it.source == source && !it.paused && it.stalled.is_none())
            .filter(|it| readers.contains(&it.reader) && !it.is_told_idle_here())
            .filter(|it| it.is_behind() && !it.is_stuck(now, wait_max_millis))
            .map(|it| it.watermark.unwrap_or(Timestamp::MIN))
            .min()
    }

    pub(crate) fn snapshot(&self) -> Vec<SourceSnapshot> {
        let counters = self.counters.iter().zip(&self.is_known).enumerate();
        let shown = counters.map(|(source, (it, is_known))| SourceSnapshot {
            is_known: *is_known,
            fields: self.fields(source),
            join: it.join.map(|it| JoinSnapshot { waiting: self.waiting(source), ..it }),
            ..it.clone()
        });
        shown.collect()
    }

    /// Returns the fields of a source that partitions read here are without, by path.
    fn fields(&self, source: usize) -> Vec<ChangedField> {
        let mut fields: BTreeMap<(&Arc<str>, FieldProblem), ChangedField> = BTreeMap::new();
        let own = self.partitions.iter().filter(|(_, it)| it.source == source);
        for (id, partition) in own.filter(|(_, it)| it.reader.is_here()) {
            for FieldChange { path, problem, records, from_offset } in &partition.fields {
                let field = fields.entry((path, *problem)).or_insert_with(|| ChangedField {
                    path: Arc::clone(path),
                    problem: *problem,
                    records: 0,
                    from: Vec::new(),
                });
                field.records += records;
                field.from.push((id.partition, *from_offset));
            }
        }
        fields.into_values().collect()
    }

    /// Returns the halves that wait in the partitions of a source that are read here.
    fn waiting(&self, source: usize) -> Waiting {
        let partitions = self.partitions.values();
        let own = partitions.filter(|it| it.source == source && it.reader.is_here());
        own.fold(Waiting::default(), |sum, it| Waiting {
            halves: sum.halves + it.waiting.halves,
            bytes: sum.bytes + it.waiting.bytes,
        })
    }

    /// Returns the memory that counts take in stage 1.
    pub(crate) fn state_bytes(&self) -> u64 {
        self.partitions.values().map(|partition| partition.state_bytes).sum()
    }

    /// Returns the partitions that this process reads, and those that it does not.
    pub(crate) fn partitions_snapshot(&self) -> (Vec<PartitionSnapshot>, Vec<PartitionSnapshot>) {
        let (read, others): (Vec<_>, Vec<_>) =
            self.partitions.iter().partition(|(_, partition)| partition.reader.is_here());
        let shown = |partitions: Vec<(&PartitionId, &Partition)>| {
            partitions.into_iter().map(|(id, partition)| partition.snapshot(id)).collect()
        };
        (shown(read), shown(others))
    }
}

impl Partition {
    fn snapshot(&self, id: &PartitionId) -> PartitionSnapshot {
        PartitionSnapshot {
            id: id.clone(),
            next_offset: self.next_offset,
            high_watermark: self.high_watermark,
            watermark: self.watermark,
            idle: self.is_idle(),
            paused: self.paused,
            stalled: self.stalled,
            progressed_at: self.progressed_at,
        }
    }

    fn align(
        &mut self,
        now: Timestamp,
        id: &PartitionId,
        limit: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let is_ahead = self.watermark.is_some_and(|watermark| limit < watermark);
        if is_ahead && !self.paused {
            self.paused = true;
            effects.push(Effect::Pause(id.clone()));
        } else if !is_ahead {
            self.resume(now, id, effects);
        }
    }

    /// Takes a pause back. Also one of a partition that is not read any more: it may be read again
    /// before the pause arrives, and would stand still for ever.
    fn resume(&mut self, now: Timestamp, id: &PartitionId, effects: &mut Vec<Effect>) {
        if std::mem::take(&mut self.paused) {
            // It stood still because it was told to.
            self.progressed_at = now;
            effects.push(Effect::Resume(id.clone()));
        }
    }
}

fn empty_counters(source: &SourceConfig) -> SourceSnapshot {
    SourceSnapshot {
        topic: Arc::clone(&source.topic),
        is_known: false,
        messages: 0,
        bytes: 0,
        rejected: RejectReason::ALL.iter().map(|reason| (*reason, 0)).collect(),
        skipped: source
            .schema
            .change
            .iter()
            .flat_map(|_| ChangeKind::SKIPPED.map(|it| (it, 0)))
            .collect(),
        clamped: 0,
        over_limit: 0,
        fields: Vec::new(),
        join: source.join.as_ref().map(|_| JoinSnapshot::default()),
        dead_lettered: 0,
        dead_letter_too_large: 0,
        dead_letter_failed: 0,
        errors: BTreeMap::new(),
        rebalances: 0,
    }
}
