//! What stage 1 tells stage 2 when they are different processes: rows of a topic.
//!
//! Before: a reader's [`crate::shard::Output`]s. After: the edge carries the rows; whoever owns the
//! lane makes [`Event`]s of them. A lane is a partition of that topic. All windows of a model lie
//! in one lane, because episodes and retraining look at them one after the other.

use std::sync::Arc;

use driftd_catalog::{ModelId, PartitionId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::body::{Find, Fingerprint, References, WindowBody};
use super::key::Key;
use super::restore::{RestoreError, read};
use super::{Row, encode, fingerprints};
use crate::config::Config;
use crate::event::Event;
use crate::partial::Partial;
use crate::shard::{ModelProgress, Progress};

/// Returns the lane of a model: every process has to answer alike, also one of another version.
///
/// # Panics
/// When there are no lanes.
pub fn lane_of(model: &str, lanes: u32) -> u32 {
    let hash = Sha256::digest(model);
    let head = hash.first_chunk().expect("SHA-256 gives 32 bytes");
    u32::try_from(u64::from_le_bytes(*head) % u64::from(lanes)).expect("less than a u32")
}

/// Writes rows for lanes.
#[derive(Debug)]
pub struct LaneWriter {
    config: Arc<Config>,
    fingerprints: Vec<Fingerprint>,
    lanes: u32,
}

/// A row, and the lane that it goes to.
pub type Addressed = (u32, Row);

/// How far a partition was read, as written.
#[derive(Debug, Serialize, Deserialize)]
struct BarrierBody {
    next_offset: i64,
    high_watermark: Option<i64>,
    watermark: Option<Timestamp>,
    idle: bool,
    open: Vec<(ModelId, u32)>,
    models: Vec<ModelBarrier>,
    left_behind: Vec<ModelId>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ModelBarrier {
    id: ModelId,
    records: u64,
    late: u64,
    event_time_min: Option<Timestamp>,
    event_time_max: Option<Timestamp>,
    has_reference: bool,
}

impl LaneWriter {
    /// Writes for this many lanes.
    pub fn new(config: Arc<Config>, lanes: u32) -> Self {
        Self { fingerprints: fingerprints(&config), config, lanes }
    }

    /// Returns the row of a window's counts.
    pub fn partial(&self, partial: &Partial) -> Addressed {
        let key = Key::Pending(partial.partition.clone(), partial.pane.clone());
        let body = WindowBody::of_partial(self.fingerprints[partial.model], partial);
        (lane_of(partial.pane.model.name(), self.lanes), (key.encode(), encode(&body)))
    }

    /// Returns a row for each lane that has a model of the partition's topic. It has to come behind
    /// the counts that the report covers.
    pub fn barriers(&self, progress: &Progress) -> Vec<Addressed> {
        let models = &self.config.sources[progress.source].models;
        let lane = |model: &usize| lane_of(&self.config.models[*model].name, self.lanes);
        let mut lanes: Vec<u32> = models.iter().map(lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        let key = Key::Partition(progress.partition.clone()).encode();
        let row = |lane| (lane, (key.clone(), encode(&self.barrier(lane, progress))));
        lanes.into_iter().map(row).collect()
    }

    fn barrier(&self, lane: u32, progress: &Progress) -> BarrierBody {
        let is_here = |id: &ModelId| lane_of(id.name(), self.lanes) == lane;
        let model = |it: &ModelProgress| ModelBarrier {
            id: it.id.clone(),
            records: it.records,
            late: it.late,
            event_time_min: it.event_time_min,
            event_time_max: it.event_time_max,
            has_reference: it.reference.is_some(),
        };
        let open = progress.open.iter().filter(|(id, _)| is_here(id));
        BarrierBody {
            next_offset: progress.next_offset,
            high_watermark: progress.high_watermark,
            watermark: progress.watermark,
            idle: progress.idle,
            open: open
                .map(|(id, windows)| (id.clone(), u32::try_from(*windows).unwrap_or(u32::MAX)))
                .collect(),
            models: progress.models.iter().filter(|it| is_here(&it.id)).map(model).collect(),
            left_behind: progress.left_behind.iter().filter(|id| is_here(id)).cloned().collect(),
        }
    }
}

/// Reads the rows of lanes.
pub struct LaneReader<'a> {
    config: Arc<Config>,
    fingerprints: Vec<Fingerprint>,
    references: References<'a>,
}

impl<'a> LaneReader<'a> {
    /// `find` looks up the profile of a model version, by index into [`Config::models`].
    pub fn new(config: Arc<Config>, find: Find<'a>) -> Self {
        Self { fingerprints: fingerprints(&config), config, references: References::new(find) }
    }

    /// Returns what a row says. `None`: it is about a model or topic that is not configured here,
    /// was counted otherwise, or against a profile that is not here.
    pub fn read(&mut self, key: &[u8], value: &[u8]) -> Result<Option<Event>, RestoreError> {
        let key = super::restore::key(key)?;
        if let Key::Pending(_, pane) = key {
            let body: WindowBody = read(value, "a lane's counts")?;
            let model = self.config.model_of(&pane.model);
            let model = model.filter(|it| self.fingerprints[*it] == body.fingerprint);
            let partial = model.and_then(|it| body.into_partial(&pane, it, &mut self.references));
            Ok(partial.map(Box::new).map(Event::Partial))
        } else if let Key::Partition(partition) = key {
            let body = read(value, "a lane's barrier")?;
            Ok(self.progress(partition, body).map(Box::new).map(Event::Progress))
        } else {
            Ok(None)
        }
    }

    fn progress(&mut self, partition: PartitionId, body: BarrierBody) -> Option<Progress> {
        let source = self.config.source_of(&partition.topic)?;
        let models = body.models.into_iter().filter_map(|it| {
            let model = self.config.model_of(&it.id)?;
            let reference = it.has_reference.then(|| self.references.of(model, &it.id)).flatten();
            Some(ModelProgress {
                id: it.id,
                model,
                records: it.records,
                late: it.late,
                event_time_min: it.event_time_min,
                event_time_max: it.event_time_max,
                reference,
            })
        });
        // What is missing here is shown by the process that reads the partition.
        Some(Progress {
            high_watermark: body.high_watermark,
            watermark: body.watermark,
            idle: body.idle,
            open: body.open.into_iter().map(|(id, windows)| (id, windows as usize)).collect(),
            models: models.collect(),
            left_behind: body.left_behind,
            ..Progress::new(partition, source, body.next_offset)
        })
    }
}
