//! How much memory a configuration is expected to take in both stages, before anything is read.
//!
//! Before: the valid configuration, and how many partitions each topic has. After: the edge adds
//! its queues and compares the sum with what the system allows.
//!
//! Expected, not worst: the worst that the bounds of a configuration allow (`open_max` windows of
//! `versions_max` versions) is many times what a log in good order takes, and nobody would buy it.
//! What is expected: numeric features have as many cells as a grid may have, two versions of a
//! model overlap, records are at most as late as they may be, and every partition has reported what
//! it holds, as it does when a topic falls silent.

use driftd_detectors::{
    CategoricalCounts, DetectorResult, EdgeTable, FeatureReference, GRID_EDGES_MAX, Grid,
    NumericCounts, UNSEEN_LEVELS_MAX,
};
use driftd_ingest::{FeatureKind, VersionField};

use crate::config::{Config, ModelConfig, PaneConfig, TimeConfig, WindowConfig, WindowKind};
use crate::history::KEPT_COLUMN_BYTES;
use crate::result::FeatureResult;

/// Versions of a model that are read at the same time, where records say their version: a new one
/// takes over from an old one.
const VERSIONS_EXPECTED: usize = 2;
/// Levels of a category. Up to 4,096 are counted; a column with so many is an exception.
const LEVELS_EXPECTED: usize = 64;
/// Bytes of a level's name, with its place in a map.
const LEVEL_NAME_BYTES: usize = 64;
/// Coarse bins of a numeric feature, as `driftd reference build` makes them.
const BINS_EXPECTED: usize = 10;
/// Cells of a numeric feature with as many edges as a grid may have.
const CELLS: usize = 2 * GRID_EDGES_MAX + 1;

/// Expected bytes of what is counted. `partitions` has one number a source.
#[derive(Clone, Copy, Debug)]
pub struct Footprint<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Partitions that this process reads of each topic.
    pub partitions: &'a [usize],
}

impl Footprint<'_> {
    /// Windows that partitions hold open: partitions × open windows × versions × (1 + segments) ×
    /// counts of all columns.
    pub fn windows_reading(&self) -> u64 {
        self.sum(|model| {
            self.partitions_of(model)
                * self.open(model)
                * series(self.config, model)
                * counts(model)
        })
    }

    /// Windows that wait in stage 2 for other partitions: as many as are open, because a silent
    /// partition has reported all of them.
    pub fn windows_waiting(&self) -> u64 {
        self.windows_reading()
    }

    /// Closed panes that windows still need: slices of all kinds of windows × versions × (1 +
    /// segments) × counts of all columns.
    pub fn panes(&self) -> u64 {
        self.sum(|model| {
            let slices = model.windows.iter().map(|window| slices(&model.pane, window));
            slices.sum::<usize>() * series(self.config, model) * counts(model)
        })
    }

    /// Counts on their way to the store: one window of every partition and version, as counted and
    /// as written. Nothing where no state is kept.
    pub fn checkpoints(&self) -> u64 {
        if self.config.state.is_none() && self.config.scale_out.is_none() {
            return 0;
        }
        self.sum(|model| {
            // A count is written in one or two bytes of its four.
            let written = counts(model) / 2;
            self.partitions_of(model) * series(self.config, model) * (counts(model) + written)
        })
    }

    /// Closed windows that are shown: versions × (1 + segments) × (history × packed columns + the
    /// newest as it is).
    pub fn history(&self) -> u64 {
        self.sum(|model| {
            let columns = model.features.len();
            let windows: usize = model.windows.iter().map(|window| window.history).sum();
            let newest = size_of::<FeatureResult>()
                + 8 * size_of::<DetectorResult>()
                + 3 * BINS_EXPECTED * size_of::<u64>();
            let kept = columns * (windows * KEPT_COLUMN_BYTES + model.windows.len() * newest);
            series(self.config, model) * kept
        })
    }

    /// Reference profiles in use: versions × columns × (edges, their search table, counts), counts
    /// again for each segment, and the text of one profile while it is read.
    pub fn references(&self) -> u64 {
        let profiles = self.sum(|model| {
            let tables: usize = model.features.iter().map(|it| table(it.kind)).sum();
            versions(self.config, model) * (tables + (1 + segments(model)) * counts(model))
        });
        let columns = self.config.models.iter().map(|model| model.features.len()).max();
        // An edge is written with up to 20 characters, a count with a few.
        let text = columns.unwrap_or(0) * (GRID_EDGES_MAX * 24 + CELLS * 3);
        profiles + text as u64
    }

    fn sum(&self, bytes: impl Fn(&ModelConfig) -> usize) -> u64 {
        self.config.models.iter().map(|model| bytes(model) as u64).sum()
    }

    fn partitions_of(&self, model: &ModelConfig) -> usize {
        self.partitions.get(model.source).copied().unwrap_or(1)
    }

    fn open(&self, model: &ModelConfig) -> usize {
        panes_open(&model.pane, &self.config.sources[model.source].time)
    }
}

/// Panes that a partition holds open of a log in order: those that the time from the end of the
/// oldest accepted pane to the newest record can meet.
fn panes_open(pane: &PaneConfig, time: &TimeConfig) -> usize {
    let behind = (pane.lateness_millis + time.out_of_orderness_millis) / pane.length_millis;
    usize::try_from(behind).unwrap_or(usize::MAX).saturating_add(2).min(pane.open_max)
}

/// Slices of closed panes that windows of one kind need: those between the borders of the windows
/// that overlap, and those that may be revised.
fn slices(pane: &PaneConfig, window: &WindowConfig) -> usize {
    let revised = times(pane.revisions_millis, window.every_millis);
    match window.kind {
        // Its one pane is evaluated as it closes.
        WindowKind::Length { length_millis } if length_millis == pane.length_millis => revised,
        WindowKind::Length { length_millis } => {
            let borders = if length_millis % window.every_millis == 0 { 1 } else { 2 };
            borders * times(length_millis, window.every_millis) + revised
        }
        WindowKind::Rows { .. } | WindowKind::Global => 1 + revised,
    }
}

/// Returns how many times `each` fits into `millis`, rounded up.
fn times(millis: i64, each: i64) -> usize {
    usize::try_from((millis + each - 1) / each).unwrap_or(0)
}

/// Versions times segments: each pair has windows of its own.
fn series(config: &Config, model: &ModelConfig) -> usize {
    versions(config, model) * (1 + segments(model))
}

fn versions(config: &Config, model: &ModelConfig) -> usize {
    let schema = &config.sources[model.source].schema;
    let schema = schema.models.iter().find(|it| it.name == model.name);
    match schema.map(|it| &it.version) {
        Some(VersionField::Fixed(_)) | None => 1,
        Some(VersionField::Path(_)) => model.versions_max.min(VERSIONS_EXPECTED),
    }
}

fn segments(model: &ModelConfig) -> usize {
    model.segments_max()
}

/// Bytes of the counts of all columns in one window.
fn counts(model: &ModelConfig) -> usize {
    let of = |kind| match kind {
        FeatureKind::Float32 | FeatureKind::Float64 | FeatureKind::Integer => {
            size_of::<NumericCounts>() + CELLS * size_of::<u32>()
        }
        FeatureKind::Categorical => {
            size_of::<CategoricalCounts>()
                + LEVELS_EXPECTED * size_of::<u64>()
                + UNSEEN_LEVELS_MAX * LEVEL_NAME_BYTES
        }
        FeatureKind::Boolean => size_of::<CategoricalCounts>() + 2 * size_of::<u64>(),
    };
    model.features.iter().map(|feature| of(feature.kind)).sum()
}

/// Bytes of a column's reference beside its counts.
fn table(kind: FeatureKind) -> usize {
    let beside = match kind {
        FeatureKind::Float32 => GRID_EDGES_MAX * size_of::<f64>() + EdgeTable::<f32>::BYTES_MAX,
        FeatureKind::Float64 | FeatureKind::Integer => EdgeTable::<f64>::BYTES_MAX,
        FeatureKind::Categorical | FeatureKind::Boolean => LEVELS_EXPECTED * LEVEL_NAME_BYTES,
    };
    size_of::<FeatureReference>() + size_of::<Grid>() + beside
}
