//! Stage 1: counts the records of the source partitions that one consumer thread owns.
//!
//! Before: a decoder's [`Decoded`] batch of one partition. After: [`Output`]s, partials before the
//! progress that covers them, for [`crate::pipeline`]. Owns the decisions about a single record:
//! which pane, too late, too many. Does not merge partitions, evaluate, or know a clock: `now` is
//! an argument and only measures silence.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::{ModelId, PartitionId, Timestamp};
use driftd_ingest::{ChangeKind, Decoded, RejectReason};

use crate::config::{Config, Content};
use crate::fields::FieldChange;
use crate::group::{Group, Grouping};
use crate::halves::{JoinCounts, JoinNews, Waiting};
use crate::labels;
use crate::loss::LostNews;
use crate::loss::Mark;
use crate::outcomes::{self, LabelBatch, Moment, PredictionBatch};
use crate::partial::Partial;
use crate::partition::PartitionState;
use crate::reference::ModelReference;
use crate::state::{Checkpoint, Counted};
use crate::window::earliest;

/// References remembered beyond those that the configuration has room for at once.
const REFERENCES_SPARE: usize = 64;

/// Searches without an answer that a shard remembers.
const ABSENT_MAX: usize = 256;

/// The partitions of one consumer thread.
#[derive(Debug)]
pub struct Shard {
    config: Arc<Config>,
    partitions: BTreeMap<PartitionId, PartitionState>,
    references: BTreeMap<ModelId, Arc<ModelReference>>,
    references_max: usize,
    /// Searched for and not found: the end of the newest pane that it was searched for.
    absent: BTreeMap<ModelId, Timestamp>,
    /// Whether predictions and labels are told to stage 2.
    follows: bool,
}

/// A batch whose rows have their panes.
#[derive(Debug)]
pub struct Placed {
    partition: PartitionId,
    grouping: Grouping,
}

/// A model version whose reference has to be searched.
#[derive(Debug)]
pub struct MissingReference {
    /// Which version.
    pub id: ModelId,
    /// Index into [`Config::models`].
    pub model: usize,
    /// End of the newest pane that needs it.
    newest: Timestamp,
}

/// What stage 1 tells stage 2.
#[derive(Debug)]
pub enum Output {
    /// Counts of one pane in one partition, as of now.
    Partial(Box<Partial>),
    /// How far a partition has been read.
    Progress(Box<Progress>),
    /// What a partition holds, for the store.
    Checkpoint(Box<Checkpoint>),
    /// Predictions whose labels are waited for, before the progress that covers them.
    Predictions(Box<PredictionBatch>),
    /// Labels, before the progress that covers them.
    Labels(Box<LabelBatch>),
}

/// How far a partition has been read, and what was met since the last report.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Which partition.
    pub partition: PartitionId,
    /// Index into [`Config::sources`].
    pub source: usize,
    /// Next offset to read; the end, before the first message.
    pub next_offset: i64,
    /// End of the partition, where known.
    pub high_watermark: Option<i64>,
    /// No record older than this is expected. Absent before the first record.
    pub watermark: Option<Timestamp>,
    /// Event time of the newest record.
    pub(crate) newest: Option<Timestamp>,
    /// Read to its end and silent: not waited for.
    pub idle: bool,
    /// Memory that the counts of its open panes take.
    pub state_bytes: u64,
    /// Windows that it holds open for each model version, segments not counted each.
    pub open: BTreeMap<ModelId, usize>,
    /// Messages since the last report.
    pub messages: u64,
    /// Payload bytes since the last report.
    pub bytes: u64,
    /// Refused records since the last report.
    pub rejected: BTreeMap<RejectReason, u64>,
    /// Changes that are no records since the last report.
    pub skipped: BTreeMap<ChangeKind, u64>,
    /// Records with a clamped event time since the last report.
    pub clamped: u64,
    /// Records left out by a limit since the last report.
    pub over_limit: u64,
    /// Fields that the newest records are without.
    pub fields: Vec<FieldChange>,
    /// What became of requests and responses since the last report.
    pub joined: JoinCounts,
    /// Those that wait for their other half.
    pub waiting: Waiting,
    /// What each model version got since the last report.
    pub models: Vec<ModelProgress>,
    /// Model versions whose open windows were dropped: they were counted otherwise.
    pub left_behind: Vec<ModelId>,
    /// How its reader counts the models of a lane, where that is another process.
    pub(crate) counted: Vec<Counted>,
    /// Models that its readers counted otherwise, or not at all, by index into [`Config::models`],
    /// and the event time up to which.
    pub(crate) not_counted: Vec<(usize, Timestamp)>,
    /// Names of models whose earlier records were not counted, and the event time of the newest
    /// that there may have been, once there is one that is counted.
    pub(crate) begins: Vec<(Arc<str>, Option<Timestamp>)>,
    /// Newest event time when the log had been read past records that are lost.
    pub settled: Option<Timestamp>,
    /// News of lost time, where another process decides.
    pub(crate) lost: Option<LostNews>,
}

impl Progress {
    /// A report without news.
    pub(crate) fn new(partition: PartitionId, source: usize, next_offset: i64) -> Self {
        Self {
            partition,
            source,
            next_offset,
            high_watermark: None,
            watermark: None,
            newest: None,
            idle: false,
            state_bytes: 0,
            open: BTreeMap::new(),
            messages: 0,
            bytes: 0,
            rejected: BTreeMap::new(),
            skipped: BTreeMap::new(),
            clamped: 0,
            over_limit: 0,
            fields: Vec::new(),
            joined: JoinCounts::default(),
            waiting: Waiting::default(),
            models: Vec::new(),
            left_behind: Vec::new(),
            counted: Vec::new(),
            not_counted: Vec::new(),
            begins: Vec::new(),
            settled: None,
            lost: None,
        }
    }

    /// Makes one report of this and the next one of the same partition.
    pub fn absorb(&mut self, next: Self) {
        let mut rejected = std::mem::take(&mut self.rejected);
        for (reason, count) in next.rejected {
            *rejected.entry(reason).or_insert(0) += count;
        }
        let mut skipped = std::mem::take(&mut self.skipped);
        for (kind, count) in next.skipped {
            *skipped.entry(kind).or_insert(0) += count;
        }
        let mut joined = self.joined;
        joined.absorb(next.joined);
        let mut models = std::mem::take(&mut self.models);
        for model in next.models {
            match models.iter_mut().find(|it| it.id == model.id) {
                Some(known) => known.absorb(model),
                None => models.push(model),
            }
        }
        let mut left_behind = std::mem::take(&mut self.left_behind);
        left_behind.extend(next.left_behind);
        let mut not_counted = std::mem::take(&mut self.not_counted);
        not_counted.extend(next.not_counted);
        let mut begins = std::mem::take(&mut self.begins);
        begins.extend(next.begins);
        *self = Self {
            messages: self.messages + next.messages,
            bytes: self.bytes + next.bytes,
            rejected,
            skipped,
            clamped: self.clamped + next.clamped,
            over_limit: self.over_limit + next.over_limit,
            joined,
            high_watermark: next.high_watermark.max(self.high_watermark),
            models,
            left_behind,
            not_counted,
            begins,
            settled: next.settled.or(self.settled),
            lost: LostNews::absorb(self.lost, next.lost),
            ..next
        };
    }
}

/// What one model version got from one batch.
#[derive(Clone, Debug)]
pub struct ModelProgress {
    /// Which version.
    pub id: ModelId,
    /// Index into [`Config::models`].
    pub model: usize,
    /// Records counted.
    pub records: u64,
    /// Records that came after their pane had been passed.
    pub late: u64,
    /// Oldest event time of a counted record.
    pub event_time_min: Option<Timestamp>,
    /// Newest event time of a counted record.
    pub event_time_max: Option<Timestamp>,
    /// Its reference, where one is known.
    pub reference: Option<Arc<ModelReference>>,
}

impl ModelProgress {
    fn absorb(&mut self, next: Self) {
        self.records += next.records;
        self.late += next.late;
        self.event_time_min = earliest(self.event_time_min, next.event_time_min);
        self.event_time_max = self.event_time_max.max(next.event_time_max);
        if next.reference.is_some() {
            self.reference = next.reference;
        }
    }
}

impl Shard {
    /// Makes a shard without partitions.
    pub fn new(config: Arc<Config>) -> Self {
        let versions: usize = config.models.iter().map(|model| model.versions_max).sum();
        Self {
            config,
            partitions: BTreeMap::new(),
            references: BTreeMap::new(),
            references_max: versions + REFERENCES_SPARE,
            absent: BTreeMap::new(),
            follows: false,
        }
    }

    /// Has predictions and labels of models told whose performance is followed.
    #[must_use]
    pub fn following(self) -> Self {
        Self { follows: true, ..self }
    }

    /// Takes over a partition.
    pub fn assign(&mut self, state: PartitionState) {
        self.partitions.insert(state.id().clone(), state);
    }

    /// Gives a partition back, with everything counted in it.
    pub fn release(&mut self, partition: &PartitionId) -> Option<PartitionState> {
        self.partitions.remove(partition)
    }

    /// Returns the owned partitions and the next offset of each, where known.
    pub fn positions(&self) -> impl Iterator<Item = (&PartitionId, Option<i64>)> {
        self.partitions.iter().map(|(id, state)| (id, state.next_offset()))
    }

    /// Returns how far a partition has come in event time.
    pub fn watermark(&self, partition: &PartitionId) -> Option<Timestamp> {
        let state = self.partitions.get(partition)?;
        state.watermark(&self.config.sources[state.source()].time)
    }

    /// Finds the pane of every row of one batch. It must be counted with [`Shard::update`] before
    /// the next batch of its partition is placed.
    ///
    /// # Panics
    /// When the partition is not assigned.
    pub fn place(&mut self, partition: &PartitionId, decoded: &Decoded) -> Placed {
        let state =
            self.partitions.get_mut(partition).expect("a batch comes from an assigned partition");
        let source = state.source();
        let follows = self.follows && labels::models_of(&self.config, source).next().is_some();
        let mut grouping = Grouping::new(decoded, follows);
        for row in &decoded.rows {
            match self.config.sources[source].content {
                Content::Predictions => grouping.place(&self.config, state, row),
                Content::Labels => grouping.place_label(&self.config, state, row),
            }
        }
        Placed { partition: partition.clone(), grouping }
    }

    /// Returns the model versions whose reference must be searched before [`Shard::update`]: those
    /// that got a pane only, so that endless invented versions cost no searches.
    pub fn missing_references(&self, placed: &Placed) -> Vec<MissingReference> {
        let mut missing: BTreeMap<&ModelId, MissingReference> = BTreeMap::new();
        for group in &placed.grouping.groups {
            if self.references.contains_key(&group.id) {
                continue;
            }
            let newest = group.span.end();
            let entry = missing.entry(&group.id).or_insert_with(|| MissingReference {
                id: group.id.clone(),
                model: group.config,
                newest,
            });
            entry.newest = newest.max(entry.newest);
        }
        let is_new = |it: &MissingReference| {
            self.absent.get(&it.id).is_none_or(|searched_for| *searched_for < it.newest)
        };
        missing.into_values().filter(is_new).collect()
    }

    /// Stores the answer to [`Shard::missing_references`]. What was not found is searched again for
    /// a later pane.
    pub fn set_reference(
        &mut self,
        missing: MissingReference,
        reference: Option<Arc<ModelReference>>,
    ) {
        let MissingReference { id, newest, .. } = missing;
        let Some(reference) = reference else {
            self.absent.insert(id, newest);
            while ABSENT_MAX < self.absent.len() {
                // The one searched for longest ago; if it is needed again, it is searched again.
                let oldest = self.absent.iter().min_by_key(|(_, searched_for)| **searched_for);
                let Some(oldest) = oldest.map(|(id, _)| id.clone()) else { return };
                self.absent.remove(&oldest);
            }
            return;
        };
        self.absent.remove(&id);
        self.references.insert(id, reference);
        if self.references_max < self.references.len() {
            // What an open pane is counted against is in use, however long ago it was found.
            let partitions = &self.partitions;
            let is_used = |id: &ModelId| partitions.values().any(|state| state.has_open(id));
            self.references.retain(|id, _| is_used(id));
        }
    }

    /// Counts one batch of one partition.
    ///
    /// # Panics
    /// When the partition is not assigned, or the batch does not continue where the last one ended.
    pub fn update(
        &mut self,
        now: Timestamp,
        decoded: &Decoded,
        placed: Placed,
        high_watermark: Option<i64>,
        outputs: &mut Vec<Output>,
    ) {
        let Placed { partition, grouping } = placed;
        let mut state =
            self.partitions.remove(&partition).expect("a batch comes from an assigned partition");
        for group in &grouping.groups {
            self.count(&mut state, decoded, group);
        }
        self.watch_fields(&mut state, decoded);
        if self.follows {
            self.follow(&state, (decoded, &grouping.moments), outputs);
        }
        state.advance_to(now, decoded);
        state.begun(!decoded.rows.is_empty());
        let models = self.model_progress(state.source(), decoded, &grouping);
        let passed = state.take_passed(&self.config);
        let mut progress = state.progress(&self.config, high_watermark);
        progress.messages = decoded.messages;
        progress.bytes = decoded.bytes;
        progress.rejected = count_reasons(decoded);
        progress.skipped.clone_from(&decoded.skipped);
        progress.clamped = grouping.clamped;
        progress.over_limit = grouping.over_limit;
        progress.models = models;
        outputs.extend(passed.into_iter().map(Box::new).map(Output::Partial));
        outputs.push(Output::Progress(Box::new(progress)));
        self.partitions.insert(partition, state);
    }

    /// Tells stage 2 of predictions that labels are waited for, and of labels.
    fn follow(
        &self,
        state: &PartitionState,
        rows: (&Decoded, &[Moment]),
        outputs: &mut Vec<Output>,
    ) {
        let (config, source, partition) = (&self.config, state.source(), state.id());
        match config.sources[source].content {
            Content::Labels => {
                let labels = outcomes::labels(config, source, partition, rows);
                outputs.extend(labels.into_iter().map(Box::new).map(Output::Labels));
            }
            Content::Predictions => {
                let reference = |model: usize, version: &str| {
                    let id = config.models[model].id(version).ok()?;
                    self.references.get(&id).map(|it| &**it)
                };
                let found = outcomes::predictions(config, source, partition, rows, reference);
                outputs.extend(found.into_iter().map(Box::new).map(Output::Predictions));
            }
        }
    }

    /// Reports the partition, which is read to `end`, as idle when it has been silent for long
    /// enough.
    pub fn watch_silence(
        &mut self,
        now: Timestamp,
        partition: &PartitionId,
        end: i64,
        outputs: &mut Vec<Output>,
    ) {
        let Some(state) = self.partitions.get_mut(partition) else { return };
        let was_idle = state.is_idle();
        if !state.becomes_idle(&self.config, now, end) {
            return;
        }
        if was_idle {
            // Nothing has been counted since it said so, and what had been was told.
            outputs.push(Output::Progress(Box::new(state.progress(&self.config, Some(end)))));
        } else {
            report(&self.config, state, Some(end), outputs);
        }
    }

    /// Returns the fields of a partition that its records have come to be without since this was
    /// last asked, and the paths of those that have values again.
    pub fn take_field_news(
        &mut self,
        partition: &PartitionId,
    ) -> (Vec<FieldChange>, Vec<Arc<str>>) {
        let state = self.partitions.get_mut(partition);
        state.map(|it| it.fields.take_news()).unwrap_or_default()
    }

    /// Takes that the batch which was counted last goes to the end of the partition, as far as that
    /// is known. Where messages come all the time that make no record, nobody sees it silent.
    pub fn reach_end(
        &mut self,
        now: Timestamp,
        partition: &PartitionId,
        end: i64,
        outputs: &mut Vec<Output>,
    ) {
        // One that is idle says so with each report.
        if self.partitions.get(partition).is_some_and(|state| !state.is_idle()) {
            self.watch_silence(now, partition, end, outputs);
        }
    }

    /// Takes what the newest record of the batch is known by that was counted last.
    pub fn set_mark(&mut self, partition: &PartitionId, mark: Option<Mark>) {
        if let Some(state) = self.partitions.get_mut(partition) {
            state.set_mark(mark);
        }
    }

    /// Takes what the messages of a batch, which is counted next, made of halves of records.
    ///
    /// # Panics
    /// When the partition is not assigned.
    pub fn join(&mut self, now: Timestamp, partition: &PartitionId, news: JoinNews) {
        let state =
            self.partitions.get_mut(partition).expect("a batch comes from an assigned partition");
        let join = self.config.sources[state.source()].join.as_ref();
        state.join(now, join.map_or(0, |join| join.within_millis), news);
    }

    /// Has the partition waited for again, silent as it may be: what comes next in it is not known.
    pub fn wait_for(&mut self, partition: &PartitionId, outputs: &mut Vec<Output>) {
        if let Some(state) = self.partitions.get_mut(partition) {
            state.wait();
            outputs.push(Output::Progress(Box::new(state.progress(&self.config, None))));
        }
    }

    /// Reports every open pane of the partition as it stands now.
    pub fn flush(
        &mut self,
        partition: &PartitionId,
        high_watermark: Option<i64>,
        outputs: &mut Vec<Output>,
    ) {
        if let Some(state) = self.partitions.get_mut(partition) {
            report(&self.config, state, high_watermark, outputs);
        }
    }

    /// Reports how far a partition was read before it came here.
    pub fn report_progress(&mut self, partition: &PartitionId, outputs: &mut Vec<Output>) {
        let read = self.partitions.get_mut(partition).filter(|it| it.next_offset().is_some());
        let progress = read.map(|it| Box::new(it.progress(&self.config, None)));
        outputs.extend(progress.map(Output::Progress));
    }

    /// Returns what requests and responses take that came or went since the last checkpoint: the
    /// next one has them, however little else there is to tell.
    pub fn unsaved_bytes(&self) -> u64 {
        self.partitions.values().map(PartitionState::unsaved_bytes).sum()
    }

    /// Reports what every partition holds, for the store.
    pub fn checkpoint(&mut self, outputs: &mut Vec<Output>) {
        let checkpoints = self.partitions.values_mut().filter_map(PartitionState::checkpoint);
        outputs.extend(checkpoints.map(Box::new).map(Output::Checkpoint));
    }

    fn model_id(
        &self,
        source: usize,
        decoded: &Decoded,
        model: u16,
        version: u16,
    ) -> Option<ModelId> {
        let model = self.config.sources[source].models[usize::from(model)];
        self.config.models[model].id(&decoded.versions[usize::from(version)]).ok()
    }

    fn count(&self, state: &mut PartitionState, decoded: &Decoded, group: &Group) {
        let batch = decoded.batches[usize::from(group.model)]
            .as_ref()
            .expect("a model with rows has a batch");
        let reference = self.references.get(&group.id);
        state.count(&self.config, group, batch, decoded.to_offset, reference);
    }

    /// Also records that are too late to be counted tell of fields.
    fn watch_fields(&self, state: &mut PartitionState, decoded: &Decoded) {
        let source = state.source();
        let counted = || {
            let mut rows: BTreeMap<(u16, u16), u64> = BTreeMap::new();
            for row in &decoded.rows {
                *rows.entry((row.model, row.version)).or_default() += 1;
            }
            let mut counted: BTreeMap<usize, Vec<_>> = BTreeMap::new();
            for ((model, version), rows) in rows {
                let id = self.model_id(source, decoded, model, version);
                if let Some(reference) = id.and_then(|it| self.references.get(&it)) {
                    counted.entry(usize::from(model)).or_default().push((rows, &**reference));
                }
            }
            counted
        };
        state.fields.update(&self.config.sources[source].schema, decoded, counted);
    }

    fn model_progress(
        &self,
        source: usize,
        decoded: &Decoded,
        grouping: &Grouping,
    ) -> Vec<ModelProgress> {
        let mut models: BTreeMap<ModelId, ModelProgress> = BTreeMap::new();
        for group in &grouping.groups {
            let progress = self.entry(&mut models, &group.id, group.config);
            progress.records += group.rows.len() as u64;
            progress.event_time_min = earliest(progress.event_time_min, Some(group.event_time_min));
            progress.event_time_max = progress.event_time_max.max(Some(group.event_time_max));
        }
        for (&(model, version), late) in &grouping.late {
            if let Some(id) = self.model_id(source, decoded, model, version) {
                let model = self.config.sources[source].models[usize::from(model)];
                self.entry(&mut models, &id, model).late += late;
            }
        }
        models.into_values().collect()
    }

    fn entry<'a>(
        &self,
        models: &'a mut BTreeMap<ModelId, ModelProgress>,
        id: &ModelId,
        model: usize,
    ) -> &'a mut ModelProgress {
        models.entry(id.clone()).or_insert_with(|| ModelProgress {
            id: id.clone(),
            model,
            records: 0,
            late: 0,
            event_time_min: None,
            event_time_max: None,
            reference: self.references.get(id).cloned(),
        })
    }
}

fn report(
    config: &Config,
    state: &mut PartitionState,
    high_watermark: Option<i64>,
    outputs: &mut Vec<Output>,
) {
    outputs.extend(state.partials().map(Box::new).map(Output::Partial));
    outputs.push(Output::Progress(Box::new(state.progress(config, high_watermark))));
}

fn count_reasons(decoded: &Decoded) -> BTreeMap<RejectReason, u64> {
    let mut reasons = BTreeMap::new();
    for rejection in &decoded.rejections {
        *reasons.entry(rejection.reason).or_insert(0) += 1;
    }
    reasons
}
