//! Labels and predictions of one model: entries by identity, and counts by window.
//!
//! Before: [`super::Labels`]. After: the same, with results and what changed.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use driftd_catalog::{PartitionId, SegmentId, Timestamp, WindowSpan};
use driftd_detectors::performance::OutcomeError;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::cohort::{Cohort, Cohorts};
use super::entry::{Change, Entry, Fate, Label, Outcome, Predicted};
use super::stored;
use super::tally::{DELAY_BORDERS, Layout, Tally, Way, delay_border};
use super::view::{Metric, metrics};
use super::{
    Applied, Entries, EntryBatch, EntrySpace, Forgotten, Guess, ModelRows, PREFIX, Passed,
};
use crate::config::{ModelConfig, PerformanceConfig, Task};
use crate::outcomes::{LabelBatch, Left, PredictionBatch, Sighting};

/// Form of entries and of what goes with them. Those of another one are not read.
const FORM: u32 = 1;

/// Final windows that are kept for the page and the API.
const HISTORY: usize = 400;
/// Versions and segments of them all.
const HISTORY_PARTS: usize = 10_000;

/// What became of the predictions and labels of a model so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCounts {
    /// Predictions whose labels are waited for, or were.
    pub followed: u64,
    /// Predictions left out by the sample.
    pub not_sampled: u64,
    /// Predictions without an identity, or whose values metrics cannot take.
    pub unusable_predictions: u64,
    /// Predictions behind the watermark of their partition.
    pub late_predictions: u64,
    /// Predictions of an identity that had one.
    pub repeated: u64,
    /// Predictions of more versions and segments than are told apart.
    pub over_limit: u64,
    /// Labels that found their prediction.
    pub joined: u64,
    /// Labels that replaced another one.
    pub revised: u64,
    /// Labels that another one counts instead of.
    pub superseded: u64,
    /// Labels like one that was there.
    pub duplicate: u64,
    /// Labels that found no prediction between them and the horizon before them.
    pub unmatched: u64,
    /// Labels behind the watermark of their partition.
    pub late_labels: u64,
    /// Labels without an identity or a value that is known.
    pub unusable_labels: u64,
}

impl LabelCounts {
    /// Returns predictions that are not followed by their reason.
    pub fn predictions_left_out(&self) -> [(&'static str, u64); 5] {
        [
            ("not_sampled", self.not_sampled),
            ("unusable", self.unusable_predictions),
            ("late", self.late_predictions),
            ("repeated", self.repeated),
            ("over_limit", self.over_limit),
        ]
    }

    /// Returns labels that do not count by their reason.
    pub fn labels_left_out(&self) -> [(&'static str, u64); 5] {
        [
            ("superseded", self.superseded),
            ("duplicate", self.duplicate),
            ("unmatched", self.unmatched),
            ("late", self.late_labels),
            ("unusable", self.unusable_labels),
        ]
    }
}

/// What is stored of a model beside its entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ModelBody {
    /// Where the entries are. Stays the first, whatever comes after it: another form is told by it.
    pub(crate) space: String,
    /// Where each partition was taken up to.
    pub(crate) applied: Applied,
    counts: LabelCounts,
    /// Windows that ended before are final.
    final_until: Timestamp,
    /// No prediction older than this is taken any more.
    predicted_until: Timestamp,
}

/// A stored cohort.
pub(crate) type CohortRow = (u32, Arc<Cohort>);

/// One window of a model: of each version and segment what is known.
#[derive(Debug, Default)]
struct Window {
    parts: BTreeMap<Part, Counted>,
}

/// A version, and a segment of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    version: Arc<str>,
    segment: SegmentId,
}

#[derive(Debug)]
struct Counted {
    tally: Tally,
    /// Labels whose error no number holds.
    uncountable: u64,
    /// What the counts say; absent where they have changed since.
    shown: OnceCell<Arc<PartPerformance>>,
}

/// How good one version and segment was in one window.
#[derive(Clone, Debug, PartialEq)]
pub struct PartPerformance {
    /// The version.
    pub version: Arc<str>,
    /// The segment.
    pub segment: SegmentId,
    /// Predictions that are followed.
    pub predictions: u64,
    /// Those of them with a label.
    pub labelled: u64,
    /// Those of them whose error no number holds: they are in no metric.
    pub uncountable: u64,
    /// Half of the labels came within so many milliseconds, by powers of two.
    pub delay_median_millis: Option<i64>,
    /// Metrics of those with a label.
    pub metrics: Vec<Metric>,
}

/// How good a model was in one window.
#[derive(Clone, Debug, PartialEq)]
pub struct PerformanceResult {
    /// The window, by the times of predictions.
    pub span: WindowSpan,
    /// Whether no more labels can come.
    pub is_final: bool,
    /// Partitions that have lost records of its time: some are missing.
    pub missing: Vec<PartitionId>,
    /// Each version and segment.
    pub parts: Vec<Arc<PartPerformance>>,
}

/// What is known of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelPerformance {
    /// Windows that are final, then those that are not, the oldest first.
    pub windows: Vec<PerformanceResult>,
    /// What became of predictions and labels.
    pub counts: LabelCounts,
    /// Labels that wait for their prediction.
    pub waiting: u64,
    /// Share of predictions that are followed.
    pub sample: f64,
    /// Memory of counts, and of entries that are not stored yet.
    pub bytes: u64,
}

/// One model.
pub(super) struct Model {
    name: Arc<str>,
    config: PerformanceConfig,
    layout: Layout,
    space: EntrySpace,
    store: Arc<dyn Entries>,
    body: ModelBody,
    is_changed: bool,
    cohorts: Cohorts,
    /// Entries that are not stored yet.
    fresh: BTreeMap<u128, Entry>,
    windows: BTreeMap<WindowSpan, Window>,
    /// Labels that wait, by the windows that they lie in.
    waiting: BTreeMap<WindowSpan, u64>,
    history: Vec<PerformanceResult>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("space", &self.space).finish_non_exhaustive()
    }
}

impl Entry {
    /// Returns whether it is of no use any more.
    pub(super) fn is_before(&self, forgotten: Forgotten) -> bool {
        let before = match self {
            Self::Predicted(..) => forgotten.predictions_before,
            Self::Waiting(_) => forgotten.labels_before,
        };
        self.time() < before
    }
}

impl Model {
    pub(super) fn new(
        model: &ModelConfig,
        config: &PerformanceConfig,
        store: &Arc<dyn Entries>,
        stored: Option<(ModelBody, Vec<CohortRow>)>,
    ) -> Self {
        let own = SpaceName::new(model, config);
        let before = stored.as_ref().and_then(|(body, _)| SpaceName::read(&body.space));
        let is_same = before.as_ref().is_some_and(|it| it.hash == own.hash);
        let stored = stored.filter(|_| is_same);
        // What was left behind once is not gone on with when it is configured again.
        let own = match before {
            Some(before) if is_same => before,
            Some(before) => SpaceName { number: before.number + 1, ..own },
            None => own,
        };
        let space = EntrySpace::new(own.to_string());
        let fresh = ModelBody {
            space: space.as_str().to_owned(),
            applied: Applied::new(),
            counts: LabelCounts::default(),
            final_until: Timestamp::MIN,
            predicted_until: Timestamp::MIN,
        };
        let (mut body, rows) = stored.unwrap_or((fresh, Vec::new()));
        // Of windows that are cut otherwise, the first whole one is the next.
        let window = config.window_of(body.final_until);
        if window.start() < body.final_until {
            body.final_until = window.end();
        }
        let mut cohorts = Cohorts::default();
        for (_, cohort) in rows {
            cohorts.restore(&cohort);
        }
        let mut model = Self {
            name: Arc::clone(&model.name),
            config: config.clone(),
            layout: Layout::of(config),
            space,
            store: Arc::clone(store),
            body,
            is_changed: false,
            cohorts,
            fresh: BTreeMap::new(),
            windows: BTreeMap::new(),
            waiting: BTreeMap::new(),
            history: Vec::new(),
        };
        let space = model.space.clone();
        store.for_each(&space, &mut |_, bytes| model.recount(bytes));
        model
    }

    /// Returns where its entries are.
    pub(super) fn space(&self) -> &EntrySpace {
        &self.space
    }

    /// Counts an entry that is stored.
    fn recount(&mut self, bytes: &[u8]) {
        match stored::read(bytes) {
            Some(Entry::Predicted(predicted, label)) => {
                if self.is_final(predicted.time) {
                    return;
                }
                self.count_prediction(&predicted);
                if let Some(outcome) = label.and_then(|it| predicted.outcome(&it)) {
                    self.count_outcome(&outcome, Way::Added);
                }
            }
            Some(Entry::Waiting(labels)) => {
                for label in labels {
                    if !self.is_given_up(label.time) {
                        *self.waiting.entry(self.config.window_of(label.time)).or_default() += 1;
                    }
                }
            }
            None => {}
        }
    }

    /// Takes predictions of a partition, those of them that were not taken before.
    pub(super) fn predict(&mut self, batch: &PredictionBatch) {
        for row in self.take_new(&batch.partition, batch.to_offset, &batch.rows) {
            match &row.what {
                Ok(new) => self.take_prediction(row.id, new.time, &new.cohort, new.guess),
                Err(Left::Unusable) => self.body.counts.unusable_predictions += 1,
                Err(Left::Late) => self.body.counts.late_predictions += 1,
                Err(Left::OverLimit) => self.body.counts.over_limit += 1,
            }
        }
    }

    /// Takes labels of a partition, those of them that were not taken before.
    pub(super) fn label(&mut self, batch: &LabelBatch) {
        for row in self.take_new(&batch.partition, batch.to_offset, &batch.rows) {
            match &row.what {
                Ok(label) => {
                    if self.config.sample.has(sample_hash(row.id)) {
                        self.take_label(row.id, *label);
                    }
                }
                Err(Left::Unusable) => self.body.counts.unusable_labels += 1,
                Err(Left::Late) => self.body.counts.late_labels += 1,
                Err(Left::OverLimit) => unreachable!("labels have no versions"),
            }
        }
    }

    /// Notes how far a partition is taken; returns those of its rows that were not taken before.
    fn take_new<'b, T>(
        &mut self,
        partition: &PartitionId,
        to_offset: i64,
        rows: &'b [Sighting<T>],
    ) -> impl Iterator<Item = &'b Sighting<T>> + use<'b, T> {
        let from = self.body.applied.get(partition).copied().unwrap_or(i64::MIN);
        if from < to_offset {
            self.body.applied.insert(partition.clone(), to_offset);
            self.is_changed = true;
        }
        rows.iter().filter(move |row| from <= row.offset)
    }

    fn take_prediction(&mut self, id: u128, time: Timestamp, cohort: &Cohort, guess: Guess) {
        let (is_sampled, is_final) = (self.config.sample.has(sample_hash(id)), self.is_final(time));
        let counts = &mut self.body.counts;
        if !is_sampled {
            counts.not_sampled += 1;
            return;
        }
        if is_final {
            counts.late_predictions += 1;
            return;
        }
        let Some(cohort) = self.cohorts.number(cohort) else {
            counts.over_limit += 1;
            return;
        };
        let predicted = Predicted { time, cohort, guess };
        let change = Entry::predict(self.entry(id), predicted, &self.config);
        if change.fate == Fate::Kept {
            self.count_prediction(&predicted);
        }
        self.apply(id, &change, None);
    }

    fn take_label(&mut self, id: u128, label: Label) {
        let kept = self.entry(id);
        if let Some(Entry::Predicted(predicted, _)) = &kept
            && self.is_final(predicted.time)
        {
            // Kept only to know the identity again.
            self.tell(Fate::Unmatched);
            return;
        }
        let change = Entry::label(kept, label, &self.config);
        self.apply(id, &change, Some(label.time));
    }

    /// Returns what is kept of an identity and still of use.
    fn entry(&self, id: u128) -> Option<Entry> {
        let fresh = self.fresh.get(&id).cloned();
        let entry = fresh.or_else(|| stored::read(&self.store.get(&self.space, id)?));
        entry.filter(|it| !it.is_before(self.forgotten()))
    }

    fn is_final(&self, time: Timestamp) -> bool {
        self.config.window_of(time).end() <= self.body.final_until
    }

    /// Returns whether labels of a time are counted as unmatched, once and for all: by windows, so
    /// that a start can tell them from those that wait.
    fn is_given_up(&self, time: Timestamp) -> bool {
        self.config.window_of(time).end() <= self.body.predicted_until
    }

    fn forgotten(&self) -> Forgotten {
        let Self { config, body, .. } = self;
        // However far labels were read ahead, a prediction with the same identity is a repetition.
        let unrepeated = body.predicted_until.plus_millis(-config.horizon_millis);
        Forgotten {
            predictions_before: body.final_until.min(unrepeated),
            labels_before: config.window_of(body.predicted_until).start(),
        }
    }

    fn apply(&mut self, id: u128, change: &Change, label_time: Option<Timestamp>) {
        self.tell(change.fate);
        if let Some(time) = label_time.filter(|_| change.fate == Fate::Waits) {
            if self.is_given_up(time) {
                self.tell(Fate::Unmatched);
            } else {
                *self.waiting.entry(self.config.window_of(time)).or_default() += 1;
            }
        }
        for (time, fate) in &change.others {
            if !self.is_given_up(*time) {
                *self.waiting.entry(self.config.window_of(*time)).or_default() -= 1;
                self.tell(*fate);
            }
        }
        if let Some(outcome) = &change.removed {
            self.count_outcome(outcome, Way::TakenAway);
        }
        if let Some(outcome) = &change.added {
            self.count_outcome(outcome, Way::Added);
        }
        if let Some(entry) = &change.entry {
            self.fresh.insert(id, entry.clone());
        }
    }

    fn tell(&mut self, fate: Fate) {
        let counts = &mut self.body.counts;
        match fate {
            Fate::Kept => counts.followed += 1,
            Fate::Repeated => counts.repeated += 1,
            Fate::Joined => counts.joined += 1,
            Fate::Revised => counts.revised += 1,
            Fate::Superseded => counts.superseded += 1,
            Fate::Duplicate => counts.duplicate += 1,
            Fate::Unmatched => counts.unmatched += 1,
            Fate::Waits => {}
        }
    }

    fn count_prediction(&mut self, predicted: &Predicted) {
        self.count(predicted, |layout, counted| {
            let taken = counted.tally.predict(layout, &predicted.guess);
            taken.expect("scores are between 0 and 1");
        });
    }

    /// Adds or subtracts an outcome. One whose error no number holds is counted beside.
    fn count_outcome(&mut self, outcome: &Outcome, way: Way) {
        self.count(&outcome.predicted, |layout, counted| {
            match (counted.tally.count(layout, outcome, way), way) {
                (Ok(()), _) => {}
                (Err(OutcomeError::NotFinite { .. }), Way::Added) => counted.uncountable += 1,
                (Err(OutcomeError::NotFinite { .. }), Way::TakenAway) => {
                    counted.uncountable = counted.uncountable.saturating_sub(1);
                }
                (Err(error), _) => panic!("entries say what is counted: {error}"),
            }
        });
    }

    /// Changes the counts of a prediction: of its version, and of each of its segments.
    fn count(&mut self, predicted: &Predicted, change: impl Fn(&Layout, &mut Counted)) {
        let Self { config, layout, cohorts, windows, .. } = self;
        let Some(cohort) = cohorts.get(predicted.cohort) else { return };
        let window = windows.entry(config.window_of(predicted.time)).or_default();
        let segments = [SegmentId::all()].into_iter().chain(cohort.segments.iter().cloned());
        for segment in segments {
            let part = Part { version: Arc::clone(&cohort.version), segment };
            let counted = window.parts.entry(part).or_insert_with(|| Counted {
                tally: Tally::empty(layout),
                uncountable: 0,
                shown: OnceCell::new(),
            });
            counted.shown = OnceCell::new();
            change(layout, counted);
        }
    }

    /// Takes how far both topics have come; returns the windows that are final since.
    pub(super) fn pass(
        &mut self,
        passed: Passed,
        missing: impl Fn(WindowSpan) -> Vec<PartitionId>,
    ) -> Vec<PerformanceResult> {
        if self.body.predicted_until < passed.predictions {
            self.body.predicted_until = passed.predictions;
            self.is_changed = true;
        }
        let labelled = passed.labels.plus_millis(-self.config.horizon_millis);
        let until = passed.predictions.min(labelled);
        let until = self.config.window_of(until).start();
        self.forget_labels();
        if until <= self.body.final_until {
            return Vec::new();
        }
        self.body.final_until = until;
        self.is_changed = true;
        let mut results = Vec::new();
        while let Some(window) = self.windows.first_entry().filter(|it| it.key().end() <= until) {
            let (span, window) = window.remove_entry();
            results.push(PerformanceResult { missing: missing(span), ..window.result(span, true) });
        }
        self.history.extend(results.iter().cloned());
        let parts = |history: &[PerformanceResult]| {
            history.iter().map(|window| window.parts.len()).sum::<usize>()
        };
        while HISTORY < self.history.len() || HISTORY_PARTS < parts(&self.history) {
            self.history.remove(0);
        }
        results
    }

    /// Counts labels that no prediction can come for any more.
    fn forget_labels(&mut self) {
        let before = self.body.predicted_until;
        while let Some(labels) = self.waiting.first_entry().filter(|it| it.key().end() <= before) {
            let (_, count) = labels.remove_entry();
            self.body.counts.unmatched += count;
        }
    }

    fn counted_bytes(&self) -> u64 {
        let parts: usize = self.windows.values().map(|window| window.parts.len()).sum();
        parts as u64 * self.layout.tally_bytes()
    }

    pub(super) fn unsaved_bytes(&self) -> u64 {
        (self.fresh.len() * (size_of::<u128>() + size_of::<Entry>())) as u64
    }

    /// Returns the rows that changed, and adds what changed of entries to a batch.
    pub(super) fn take_changes(&mut self, batch: &mut EntryBatch) -> Option<ModelRows> {
        if !std::mem::take(&mut self.is_changed) {
            return None;
        }
        let fresh = std::mem::take(&mut self.fresh);
        let written = fresh.iter().map(|(id, entry)| (*id, stored::write(entry)));
        batch.entries.entry(self.space.clone()).or_default().extend(written);
        batch.forgotten.insert(self.space.clone(), self.forgotten());
        let (name, body) = (Arc::clone(&self.name), self.body.clone());
        Some(ModelRows { name, body, cohorts: self.cohorts.take_fresh() })
    }

    pub(super) fn snapshot(&self) -> ModelPerformance {
        let open = self.windows.iter().map(|(span, window)| window.result(*span, false));
        let windows = self.history.iter().cloned().chain(open).collect();
        ModelPerformance {
            windows,
            counts: self.body.counts,
            waiting: self.waiting.values().sum(),
            sample: self.config.sample.share,
            bytes: self.unsaved_bytes() + self.counted_bytes(),
        }
    }
}

impl Window {
    fn result(&self, span: WindowSpan, is_final: bool) -> PerformanceResult {
        let parts = self.parts.iter().map(|(part, counted)| {
            let Counted { tally, uncountable, shown } = counted;
            Arc::clone(shown.get_or_init(|| Arc::new(part.shown(tally, *uncountable))))
        });
        PerformanceResult { span, is_final, missing: Vec::new(), parts: parts.collect() }
    }
}

impl Part {
    fn shown(&self, tally: &Tally, uncountable: u64) -> PartPerformance {
        PartPerformance {
            version: Arc::clone(&self.version),
            segment: self.segment.clone(),
            predictions: tally.predictions,
            labelled: tally.labelled() + uncountable,
            uncountable,
            delay_median_millis: delay_median(tally),
            metrics: metrics(tally),
        }
    }
}

/// Returns the border that half of the delays are not above.
fn delay_median(tally: &Tally) -> Option<i64> {
    let half = tally.labelled().div_ceil(2);
    let mut below = 0;
    let cell = tally.delays.iter().position(|count| {
        below += count;
        half <= below
    })?;
    (0 < half && cell < DELAY_BORDERS).then(|| delay_border(cell))
}

/// Returns the part of an identity by which it is sampled: it is a hash already.
fn sample_hash(id: u128) -> u64 {
    u64::try_from(id >> 64).unwrap_or(u64::MAX)
}

/// Where the entries of a model are: elsewhere, where they would be read as something else.
struct SpaceName {
    /// Of all that decides what entries mean.
    hash: String,
    /// How many others the model had before.
    number: u64,
}

impl SpaceName {
    /// # Panics
    /// Never: SHA-256 gives 32 bytes.
    fn new(model: &ModelConfig, config: &PerformanceConfig) -> Self {
        let column = |at: &usize| model.features.get(*at).map(|it| &*it.name);
        let task = match &config.task {
            Task::Binary { score, predicted, threshold, classes } => {
                let columns = [score, predicted].map(|it| it.as_ref().and_then(column));
                format!("binary {columns:?} {threshold} {classes:?}")
            }
            Task::Multiclass { predicted, classes } => {
                format!("multiclass {:?} {classes:?}", column(predicted))
            }
            Task::Regression { predicted } => format!("regression {:?}", column(predicted)),
        };
        let (name, share) = (&model.name, config.sample.share);
        let hash = Sha256::digest(format!("{FORM} {name} {task} {share}"));
        let (head, _) = hash.split_first_chunk::<16>().expect("SHA-256 gives 32 bytes");
        Self { hash: format!("{:032x}", u128::from_be_bytes(*head)), number: 0 }
    }

    fn read(text: &str) -> Option<Self> {
        let (hash, number) = text.strip_prefix(PREFIX)?.split_once('-')?;
        Some(Self { hash: hash.to_owned(), number: number.parse().ok()? })
    }
}

impl fmt::Display for SpaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}-{}", self.hash, self.number)
    }
}

impl PartPerformance {
    /// Returns the share of its predictions that have a label.
    pub fn coverage(&self) -> f64 {
        self.labelled as f64 / self.predictions.max(1) as f64
    }
}
