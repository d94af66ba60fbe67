//! What stage 1 tells stage 2 when they are different processes: rows of a topic.
//!
//! Before: a reader's [`crate::shard::Output`]s. After: the edge carries the rows; whoever owns the
//! lane makes [`Event`]s of them. A lane is a partition of that topic. All windows of a model lie
//! in one lane, because episodes and retraining look at them one after the other.

use std::collections::BTreeSet;
use std::sync::Arc;

use driftd_catalog::{ModelId, PaneId, PartitionId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::body::{Find, Fingerprint, References, WindowBody};
use super::key::Key;
use super::restore::{RestoreError, read};
use super::{Counted, Row, encode, fingerprints};
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

/// One of the lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneId {
    /// Its number.
    pub number: u32,
    /// How many there are.
    pub lanes: u32,
}

impl LaneId {
    /// Returns whether the windows of a model lie here.
    fn holds(self, model: &str) -> bool {
        lane_of(model, self.lanes) == self.number
    }
}

/// First bytes of a row's content: whose it is, and in which form.
const HEAD: [u8; 2] = [0xD1, 1];

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
    newest: Option<Timestamp>,
    idle: bool,
    open: Vec<(ModelId, u32)>,
    models: Vec<ModelBarrier>,
    left_behind: Vec<ModelId>,
    /// How the reader counts each model of the lane.
    counted: Vec<Counted>,
    /// Models that it begins to count, and where.
    begins: Vec<(Arc<str>, Option<Timestamp>)>,
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
        (lane_of(partial.pane.model.name(), self.lanes), (key.encode(), headed(&body)))
    }

    /// Returns a row for each lane that has a model of the partition's topic. It has to come behind
    /// the counts that the report covers.
    pub fn barriers(&self, progress: &Progress) -> Vec<Addressed> {
        let key = Key::Partition(progress.partition.clone()).encode();
        let row = |lane| (lane, (key.clone(), headed(&self.barrier(lane, progress))));
        self.lanes_of(progress.source).into_iter().map(row).collect()
    }

    /// Returns a row for each lane that has a model of the partition's topic, where there is news
    /// of lost time. It has to come before the counts that the report covers.
    pub fn lost(&self, progress: &Progress) -> Vec<Addressed> {
        let Some(news) = progress.lost else { return Vec::new() };
        let key = Key::Lost(progress.partition.clone()).encode();
        let row = |lane| (lane, (key.clone(), headed(&news)));
        self.lanes_of(progress.source).into_iter().map(row).collect()
    }

    /// Returns the lanes that have a model of a source.
    fn lanes_of(&self, source: usize) -> BTreeSet<u32> {
        let models = self.config.sources[source].models.iter();
        models.map(|model| lane_of(&self.config.models[*model].name, self.lanes)).collect()
    }

    fn barrier(&self, lane: u32, progress: &Progress) -> BarrierBody {
        let lane = LaneId { number: lane, lanes: self.lanes };
        let is_here = |id: &ModelId| lane.holds(id.name());
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
            newest: progress.newest,
            idle: progress.idle,
            open: open
                .map(|(id, windows)| (id.clone(), u32::try_from(*windows).unwrap_or(u32::MAX)))
                .collect(),
            models: progress.models.iter().filter(|it| is_here(&it.id)).map(model).collect(),
            left_behind: progress.left_behind.iter().filter(|id| is_here(id)).cloned().collect(),
            counted: models_of(&self.config, lane, progress.source)
                .map(|(model, name)| (Arc::clone(name), self.fingerprints[model]))
                .collect(),
            begins: progress.begins.iter().filter(|(name, _)| lane.holds(name)).cloned().collect(),
        }
    }
}

/// Returns the models of a source that lie in a lane.
fn models_of(
    config: &Config,
    lane: LaneId,
    source: usize,
) -> impl Iterator<Item = (usize, &Arc<str>)> {
    let models = config.sources[source].models.iter();
    let models = models.map(|model| (*model, &config.models[*model].name));
    models.filter(move |(_, name)| lane.holds(name))
}

/// Returns the models of a lane that a reader of the source counted otherwise than they are
/// configured here, or did not know; all up to its newest record.
pub(super) fn not_counted(
    (config, fingerprints): (&Config, &[Fingerprint]),
    lane: LaneId,
    source: usize,
    (counted, newest): (&[Counted], Option<Timestamp>),
) -> Vec<(usize, Timestamp)> {
    let is_alike = |model: usize, name: &Arc<str>| {
        counted.iter().any(|(other, how)| other == name && *how == fingerprints[model])
    };
    let models = models_of(config, lane, source);
    let others = models.filter(|(model, name)| !is_alike(*model, name));
    others.filter_map(|(model, _)| Some((model, newest?))).collect()
}

fn headed(body: &impl Serialize) -> Vec<u8> {
    let mut content = HEAD.to_vec();
    content.append(&mut encode(body));
    content
}

/// A row that a lane cannot go past, or, where it is foreign, that is not one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaneRowError {
    /// Another version of the program wrote it.
    #[error(
        "a row has format {found}, this driftd reads {}: its lane waits for a process of the version \
         that wrote it",
        HEAD[1]
    )]
    Format {
        /// The version found.
        found: u8,
    },
    /// It is not driftd's.
    #[error("a row is not driftd's: who else writes to the partials topic?")]
    Foreign,
    /// It is not what it says.
    #[error("a row is damaged: its lane waits; to count anew, name other topics in `scale_out`")]
    Damaged(#[from] RestoreError),
}

/// Returns what comes behind the head of a row's content.
fn body(content: &[u8]) -> Result<&[u8], LaneRowError> {
    match content {
        [magic, format, body @ ..] if *magic == HEAD[0] && *format == HEAD[1] => Ok(body),
        [magic, found, ..] if *magic == HEAD[0] => Err(LaneRowError::Format { found: *found }),
        _ => Err(LaneRowError::Foreign),
    }
}

/// Reads the rows of lanes.
pub struct LaneReader<'a> {
    config: Arc<Config>,
    lanes: u32,
    fingerprints: Vec<Fingerprint>,
    references: References<'a>,
}

impl<'a> LaneReader<'a> {
    /// `find` looks up the profile of a model version, by index into [`Config::models`].
    pub fn new(config: Arc<Config>, lanes: u32, find: Find<'a>) -> Self {
        let fingerprints = fingerprints(&config);
        Self { config, lanes, fingerprints, references: References::new(find) }
    }

    /// Returns what a row of a lane says. `None`: it is about a topic that is not configured here.
    /// Counts that cannot be added are [`Event::LeftOut`].
    pub fn read(
        &mut self,
        lane: u32,
        key: &[u8],
        content: &[u8],
    ) -> Result<Option<Event>, LaneRowError> {
        let body = body(content)?;
        match super::restore::key(key)? {
            Key::Pending(partition, pane) => {
                let counts = read(body, "a lane's counts").ok();
                let counts = counts.and_then(|counts| self.counts(&pane, counts));
                Ok(Some(counts.unwrap_or_else(|| Event::LeftOut {
                    model: pane.model.name().into(),
                    partition,
                    span: pane.span,
                })))
            }
            Key::Partition(partition) => {
                let lane = LaneId { number: lane, lanes: self.lanes };
                let progress = self.progress(lane, partition, read(body, "a lane's barrier")?);
                Ok(progress.map(Box::new).map(Event::Progress))
            }
            Key::Lost(partition) => {
                let news = read(body, "a lane's lost time")?;
                let is_known = self.config.source_of(&partition.topic).is_some();
                Ok(is_known.then_some(Event::Lost { partition, news }))
            }
            Key::Format
            | Key::Open(..)
            | Key::Closed(_)
            | Key::Result(_)
            | Key::Models
            | Key::Episodes
            | Key::Retraining
            | Key::Totals
            | Key::Input
            | Key::Barrier(_)
            | Key::Store
            | Key::Outbox(_)
            | Key::Seal
            | Key::Course(_)
            | Key::Slice(_)
            | Key::Gap(_)
            | Key::Mark(_)
            | Key::OwnLost(_)
            | Key::Join(_)
            | Key::Half(..)
            | Key::Labels(_)
            | Key::Cohort(..) => Err(LaneRowError::Foreign),
        }
    }

    /// Returns counts that can be added: made like those here, against a profile that is here.
    fn counts(&mut self, pane: &PaneId, body: WindowBody) -> Option<Event> {
        let model = self.config.model_of(&pane.model);
        let model = model.filter(|it| self.fingerprints[*it] == body.fingerprint)?;
        let partial = body.into_partial(pane, model, &mut self.references)?;
        Some(Event::Partial(Box::new(partial)))
    }

    fn progress(
        &mut self,
        lane: LaneId,
        partition: PartitionId,
        body: BarrierBody,
    ) -> Option<Progress> {
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
        let own = (&*self.config, &*self.fingerprints);
        // What is missing here is shown by the process that reads the partition.
        Some(Progress {
            high_watermark: body.high_watermark,
            watermark: body.watermark,
            newest: body.newest,
            idle: body.idle,
            open: body.open.into_iter().map(|(id, windows)| (id, windows as usize)).collect(),
            models: models.collect(),
            left_behind: body.left_behind,
            not_counted: not_counted(own, lane, source, (&body.counted, body.newest)),
            begins: body.begins,
            counted: body.counted,
            ..Progress::new(partition, source, body.next_offset)
        })
    }
}
