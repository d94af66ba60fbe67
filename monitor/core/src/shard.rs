//! Stage 1: counts the records of the source partitions that one consumer thread owns.
//!
//! Before: a decoder's [`Decoded`] batch of one partition. After: [`Output`]s, partials before the
//! progress that covers them, for [`crate::pipeline`]. Owns the decisions about a single record:
//! which window, too late, too many. Does not merge partitions, evaluate, or know a clock: `now` is
//! an argument and only measures silence.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::{ModelId, PartitionId, Timestamp};
use driftd_ingest::{Decoded, RejectReason};

use crate::config::Config;
use crate::group::{Group, Grouping};
use crate::partial::Partial;
use crate::partition::PartitionState;
use crate::reference::ModelReference;
use crate::window::earliest;

/// Answers to searches for references that a shard remembers.
const REFERENCES_MAX: usize = 256;

/// The partitions of one consumer thread.
#[derive(Debug)]
pub struct Shard {
    config: Arc<Config>,
    partitions: BTreeMap<PartitionId, PartitionState>,
    references: BTreeMap<ModelId, Lookup>,
}

/// The answer to a search for a model version's reference.
#[derive(Debug)]
struct Lookup {
    reference: Option<Arc<ModelReference>>,
    /// A reference that was not found is searched again for records at or after this event time.
    again_at: Timestamp,
}

/// What stage 1 tells stage 2.
#[derive(Debug)]
pub enum Output {
    /// Counts of one window in one partition, as of now.
    Partial(Box<Partial>),
    /// How far a partition has been read.
    Progress(Progress),
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
    /// Read to its end and silent: not waited for.
    pub idle: bool,
    /// Memory that the counts of its open windows take.
    pub state_bytes: u64,
    /// Messages since the last report.
    pub messages: u64,
    /// Payload bytes since the last report.
    pub bytes: u64,
    /// Refused records since the last report.
    pub rejected: BTreeMap<RejectReason, u64>,
    /// Records with a clamped event time since the last report.
    pub clamped: u64,
    /// Records left out by a limit since the last report.
    pub over_limit: u64,
    /// What each model version got since the last report.
    pub models: Vec<ModelProgress>,
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
    /// Records that came after their window had been passed.
    pub late: u64,
    /// Oldest event time of a counted record.
    pub event_time_min: Option<Timestamp>,
    /// Newest event time of a counted record.
    pub event_time_max: Option<Timestamp>,
    /// Its reference, where one is known.
    pub reference: Option<Arc<ModelReference>>,
}

impl Shard {
    /// Makes a shard without partitions.
    pub fn new(config: Arc<Config>) -> Self {
        Self { config, partitions: BTreeMap::new(), references: BTreeMap::new() }
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

    /// Returns the model versions in `decoded` whose reference must be searched before
    /// [`Shard::update`].
    pub fn missing_references(&self, source: usize, decoded: &Decoded) -> Vec<ModelId> {
        let mut seen: Vec<(u16, u16)> = Vec::new();
        let mut missing = Vec::new();
        for row in &decoded.rows {
            if seen.contains(&(row.model, row.version)) {
                continue;
            }
            seen.push((row.model, row.version));
            let Some(id) = self.model_id(source, decoded, row.model, row.version) else { continue };
            let is_known = self.references.get(&id).is_some_and(|lookup| {
                lookup.reference.is_some() || row.event_time < lookup.again_at
            });
            if !is_known {
                missing.push(id);
            }
        }
        missing
    }

    /// Stores the answer to [`Shard::missing_references`]; `None` is asked again from `again_at`
    /// on.
    pub fn set_reference(
        &mut self,
        id: ModelId,
        reference: Option<Arc<ModelReference>>,
        again_at: Timestamp,
    ) {
        self.references.insert(id, Lookup { reference, again_at });
        while REFERENCES_MAX < self.references.len() {
            // The one asked for longest ago in event time; if it is needed again, it is asked for.
            let oldest = self.references.iter().min_by_key(|(_, lookup)| lookup.again_at);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else { return };
            self.references.remove(&oldest);
        }
    }

    /// Counts one batch of one partition.
    ///
    /// # Panics
    /// When the partition is not assigned, or the batch does not continue where the last one ended.
    pub fn update(
        &mut self,
        now: Timestamp,
        partition: &PartitionId,
        decoded: &Decoded,
        high_watermark: Option<i64>,
        outputs: &mut Vec<Output>,
    ) {
        let mut state =
            self.partitions.remove(partition).expect("a batch comes from an assigned partition");
        let grouping = self.group(&mut state, decoded);
        for group in &grouping.groups {
            self.count(&mut state, decoded, group);
        }
        state.advance_to(now, decoded);
        let models = self.model_progress(state.source(), decoded, &grouping);
        let mut progress = state.progress(&self.config, high_watermark);
        progress.messages = decoded.messages;
        progress.bytes = decoded.bytes;
        progress.rejected = count_reasons(decoded);
        progress.clamped = grouping.clamped;
        progress.over_limit = grouping.over_limit;
        progress.models = models;
        outputs
            .extend(state.take_passed(&self.config).into_iter().map(Box::new).map(Output::Partial));
        outputs.push(Output::Progress(progress));
        self.partitions.insert(partition.clone(), state);
    }

    /// Reports the partition as idle when it is read to its end and has been silent for long
    /// enough.
    pub fn watch_silence(
        &mut self,
        now: Timestamp,
        partition: &PartitionId,
        high_watermark: i64,
        outputs: &mut Vec<Output>,
    ) {
        let Some(state) = self.partitions.get_mut(partition) else { return };
        if state.becomes_idle(&self.config, now, high_watermark) {
            report(&self.config, state, Some(high_watermark), outputs);
        }
    }

    /// Reports every open window of the partition as it stands now.
    pub fn flush(
        &mut self,
        partition: &PartitionId,
        high_watermark: Option<i64>,
        outputs: &mut Vec<Output>,
    ) {
        if let Some(state) = self.partitions.get(partition) {
            report(&self.config, state, high_watermark, outputs);
        }
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

    fn group(&self, state: &mut PartitionState, decoded: &Decoded) -> Grouping {
        let mut grouping = Grouping::new(decoded);
        for row in &decoded.rows {
            grouping.place(&self.config, state, row);
        }
        grouping
    }

    fn count(&self, state: &mut PartitionState, decoded: &Decoded, group: &Group) {
        let batch = decoded.batches[usize::from(group.model)]
            .as_ref()
            .expect("a model with rows has a batch");
        let reference = self.references.get(&group.id).and_then(|lookup| lookup.reference.as_ref());
        state.count(&self.config, group, batch, decoded.to_offset, reference);
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
            reference: self.references.get(id).and_then(|lookup| lookup.reference.clone()),
        })
    }
}

fn report(
    config: &Config,
    state: &PartitionState,
    high_watermark: Option<i64>,
    outputs: &mut Vec<Output>,
) {
    outputs.extend(state.partials().map(Box::new).map(Output::Partial));
    outputs.push(Output::Progress(state.progress(config, high_watermark)));
}

fn count_reasons(decoded: &Decoded) -> BTreeMap<RejectReason, u64> {
    let mut reasons = BTreeMap::new();
    for rejection in &decoded.rejections {
        *reasons.entry(rejection.reason).or_insert(0) += 1;
    }
    reasons
}
