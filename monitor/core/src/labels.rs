//! Finds the prediction of each label, and counts how good predictions were by their own windows.
//!
//! Before: [`crate::outcomes`] makes predictions and labels of the records of two topics. After:
//! [`PerformanceResult`]s for the snapshot and the topics. One entry an identity is kept, on disk:
//! its prediction, or labels that wait for it. What is counted follows from the entries, so nothing
//! else is stored of it.
//!
//! A label counts when it was given between its prediction and the horizon, by the times of the
//! two. How the logs were read beside each other decides nothing: what a partition brings behind
//! its own watermark is left out, and an entry is forgotten when no partition can bring anything
//! for it any more. So the results are those of a batch join of both logs
//! ([decision 0018](../../docs/decisions/0018-labels-find-their-prediction-by-its-identity.md)).

mod cohort;
mod entry;
mod line;
mod model;
mod stored;
mod tally;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use driftd_catalog::{PartitionId, Timestamp, WindowSpan};

use self::tally::Layout;
use crate::config::{Config, ModelConfig, PerformanceConfig};
use crate::outcomes::{LabelBatch, PredictionBatch};

pub(crate) use self::cohort::Cohort;
pub(crate) use self::entry::{Guess, Label, Truth};
pub(crate) use self::line::PerformanceLine;
use self::model::Model;
pub(crate) use self::model::{CohortRow, ModelBody};
pub use self::model::{LabelCounts, ModelPerformance, PartPerformance, PerformanceResult};
pub use self::view::{CONFIDENCE, Metric};

/// Reads the entries that batches have written. One that cannot be read ends the process, as one
/// that cannot be written does.
pub trait Entries: Send + Sync {
    /// Returns the entry of an identity.
    fn get(&self, space: &EntrySpace, id: u128) -> Option<Vec<u8>>;

    /// Calls a function with each entry.
    fn for_each(&self, space: &EntrySpace, see: &mut dyn FnMut(u128, &[u8]));

    /// Removes all spaces but these.
    fn keep(&self, spaces: &BTreeSet<EntrySpace>);
}

/// What names of spaces begin with.
pub(crate) const PREFIX: &str = "entries-";

/// Where the entries of a model are: a name for them that another way of reading them does not
/// have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntrySpace(Arc<str>);

impl EntrySpace {
    pub(crate) fn new(name: String) -> Self {
        Self(name.into())
    }

    /// Returns whether a name is that of a space.
    pub fn is_one(name: &str) -> bool {
        name.starts_with(PREFIX)
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What changed of the entries of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryBatch {
    /// Entries by their identities.
    pub entries: BTreeMap<EntrySpace, BTreeMap<u128, Vec<u8>>>,
    /// What may be forgotten: whatever [`is_forgotten`] says it of.
    pub forgotten: BTreeMap<EntrySpace, Forgotten>,
}

/// The times that nothing comes from any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Predictions before it are in windows that are final, and none comes any more within their
    /// horizon that could have the same identity.
    pub predictions_before: Timestamp,
    /// Labels before it find no prediction.
    pub labels_before: Timestamp,
}

/// Returns whether an entry is of no use any more.
pub fn is_forgotten(entry: &[u8], forgotten: Forgotten) -> bool {
    stored::read(entry).is_none_or(|entry| entry.is_before(forgotten))
}

/// How far the partitions of a model's two topics have come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    /// No prediction older than this is taken any more.
    pub(crate) predictions: Timestamp,
    /// No label older than this is taken any more.
    pub(crate) labels: Timestamp,
}

/// Labels and predictions of all models that have some.
#[derive(Debug)]
pub(crate) struct Labels {
    /// By index into [`Config::models`].
    models: BTreeMap<usize, Model>,
    batch: EntryBatch,
}

impl Labels {
    /// Begins with what was stored, if something was.
    pub(crate) fn new(
        config: &Arc<Config>,
        entries: &Arc<dyn Entries>,
        stored: &StoredLabels,
    ) -> Self {
        let followed = config.models.iter().enumerate();
        let followed = followed.filter_map(|(index, it)| Some((index, it.performance.as_ref()?)));
        let model = |(index, performance): (usize, &PerformanceConfig)| {
            let model = &config.models[index];
            let stored = stored.get(&model.name).cloned();
            (index, Model::new(model, performance, entries, stored))
        };
        // Spaces of rows that this start removes go with the next one: rows come first.
        let spaces = stored.values().map(|(body, _)| EntrySpace::new(body.space.clone()));
        let mut spaces: BTreeSet<EntrySpace> = spaces.collect();
        let models: BTreeMap<usize, Model> = followed.map(model).collect();
        spaces.extend(models.values().map(|model| model.space().clone()));
        entries.keep(&spaces);
        Self { models, batch: EntryBatch::default() }
    }

    /// Takes predictions of a partition.
    pub(crate) fn predict(&mut self, batch: &PredictionBatch) {
        if let Some(model) = self.models.get_mut(&batch.model) {
            model.predict(batch);
        }
    }

    /// Takes labels of a partition.
    pub(crate) fn label(&mut self, batch: &LabelBatch) {
        if let Some(model) = self.models.get_mut(&batch.model) {
            model.label(batch);
        }
    }

    /// Takes how far a model's topics have come; returns the windows that are final since.
    pub(crate) fn pass(
        &mut self,
        model: usize,
        passed: Passed,
        missing: impl Fn(WindowSpan) -> Vec<PartitionId>,
    ) -> Vec<PerformanceResult> {
        self.models.get_mut(&model).map(|it| it.pass(passed, missing)).unwrap_or_default()
    }

    /// Returns rows of each model that changed. They are stored together with the entries that
    /// [`Labels::take_entries`] returns next.
    pub(crate) fn take_rows(&mut self) -> Vec<ModelRows> {
        let Self { models, batch } = self;
        models.values_mut().filter_map(|model| model.take_changes(batch)).collect()
    }

    pub(crate) fn take_entries(&mut self) -> EntryBatch {
        std::mem::take(&mut self.batch)
    }

    /// Returns what the entries that are not stored yet take.
    pub(crate) fn unsaved_bytes(&self) -> u64 {
        self.models.values().map(Model::unsaved_bytes).sum()
    }

    /// Returns what is known of each model, by index into [`Config::models`].
    pub(crate) fn snapshot(&self) -> BTreeMap<usize, ModelPerformance> {
        self.models.iter().map(|(index, model)| (*index, model.snapshot())).collect()
    }
}

/// What is stored of each model, by name.
pub(crate) type StoredLabels = BTreeMap<Arc<str>, (ModelBody, Vec<CohortRow>)>;

/// Rows of one model that changed.
#[derive(Debug)]
pub(crate) struct ModelRows {
    pub(crate) name: Arc<str>,
    pub(crate) body: ModelBody,
    pub(crate) cohorts: Vec<CohortRow>,
}

/// Returns what is expected to be counted of a model at once, in bytes: of each version and segment
/// a window for all the time that labels may come, and for one that begins.
pub fn bytes_expected(model: &ModelConfig) -> u64 {
    let Some(performance) = &model.performance else { return 0 };
    let windows = performance.horizon_millis / performance.window_millis + 2;
    let parts = (model.versions_max * (1 + model.segments_max())) as u64;
    windows.unsigned_abs() * parts * Layout::of(performance).tally_bytes()
}

/// Returns the models whose predictions or labels a source has.
pub(crate) fn models_of(config: &Config, source: usize) -> impl Iterator<Item = usize> {
    let is_one = move |index: &usize| {
        let model = &config.models[*index];
        let labels = model.performance.as_ref().map(|it| it.labels.source);
        labels.is_some_and(|labels| labels == source || model.source == source)
    };
    (0..config.models.len()).filter(is_one)
}

/// Where a partition's records were taken up to.
pub(crate) type Applied = BTreeMap<PartitionId, i64>;

/// Entries that do not outlive the process.
#[derive(Debug, Default)]
pub struct MemoryEntries(Mutex<BTreeMap<EntrySpace, BTreeMap<u128, Vec<u8>>>>);

impl MemoryEntries {
    /// Keeps what changed, and forgets what is of no use any more.
    pub fn apply(&self, batch: EntryBatch) {
        let mut spaces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (space, entries) in batch.entries {
            spaces.entry(space).or_default().extend(entries);
        }
        for (space, forgotten) in batch.forgotten {
            let entries = spaces.entry(space).or_default();
            entries.retain(|_, entry| !is_forgotten(entry, forgotten));
        }
    }
}

impl Entries for MemoryEntries {
    fn get(&self, space: &EntrySpace, id: u128) -> Option<Vec<u8>> {
        let spaces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spaces.get(space)?.get(&id).cloned()
    }

    fn for_each(&self, space: &EntrySpace, see: &mut dyn FnMut(u128, &[u8])) {
        let spaces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, entry) in spaces.get(space).into_iter().flatten() {
            see(*id, entry);
        }
    }

    fn keep(&self, spaces: &BTreeSet<EntrySpace>) {
        let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        own.retain(|space, _| spaces.contains(space));
    }
}
