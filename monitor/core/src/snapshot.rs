//! The immutable picture of the daemon that a scrape, the API and the page read.
//!
//! Before: [`crate::pipeline`] builds one after each change. After: the edge swaps it in; readers
//! never wait for, and never delay, the pipeline. All numbers of a model in one snapshot are of the
//! same windows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use driftd_alerts::Episode;
use driftd_catalog::metric::SCORE_BUCKETS;
use driftd_catalog::{ModelId, PartitionId, SegmentId, Timestamp, WindowSpan};
use driftd_detectors::State;
use driftd_ingest::{ChangeKind, RejectReason};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::fields::FieldProblem;
use crate::halves::{JoinCounts, Waiting};
use crate::history::History;
use crate::labels::ModelPerformance;
use crate::loss::Loss;
use crate::result::WindowResult;

/// The state of everything, at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Wall-clock time of this picture.
    pub taken_at: Timestamp,
    /// One entry a source topic.
    pub sources: Vec<SourceSnapshot>,
    /// One entry an assigned source partition.
    pub partitions: Vec<PartitionSnapshot>,
    /// One entry a source partition that this process does not read; windows wait for it too.
    pub unassigned: Vec<PartitionSnapshot>,
    /// One entry a lane that this process owns; none where it decides about everything.
    pub lanes: Vec<LaneSnapshot>,
    /// One entry a model version that had records.
    pub models: Vec<ModelSnapshot>,
    /// Retraining events and reports, newest last, bounded.
    pub retraining: Arc<VecDeque<RetrainingEntry>>,
    /// What came of retraining events since the start, by model version and policy.
    pub retrain_outcomes: Arc<BTreeMap<(ModelId, Arc<str>), RetrainOutcomes>>,
    /// Memory that the counts of open windows take, in both stages.
    pub state_bytes: u64,
    /// That of them which wait in stage 2 for other partitions.
    pub waiting_bytes: u64,
    /// That of them which closed panes take.
    pub panes_bytes: u64,
    /// How good models are, by index into [`crate::config::Config::models`].
    pub performance: BTreeMap<usize, ModelPerformance>,
    /// Totals since the start.
    pub totals: Totals,
    /// Digest of every window closed since the start.
    pub digest: Digest,
}

impl Snapshot {
    /// Adds what another part of the same process shows: its models, and what came of them.
    pub fn join(&mut self, other: &Self) {
        self.taken_at = self.taken_at.max(other.taken_at);
        self.models.extend(other.models.iter().cloned());
        self.models.sort_by(|one, other| one.id.cmp(&other.id));
        self.state_bytes += other.state_bytes;
        self.waiting_bytes += other.waiting_bytes;
        self.panes_bytes += other.panes_bytes;
        self.performance.extend(other.performance.iter().map(|(at, it)| (*at, it.clone())));
        self.totals.add(&other.totals);
        self.digest = self.digest.plus(other.digest);
        if !other.retraining.is_empty() {
            let entries = Arc::make_mut(&mut self.retraining);
            entries.extend(other.retraining.iter().cloned());
            entries.make_contiguous().sort_by_key(|entry| entry.at);
            let excess = entries.len().saturating_sub(RETRAINING_ENTRIES_MAX);
            entries.drain(..excess);
        }
        if !other.retrain_outcomes.is_empty() {
            let outcomes = other.retrain_outcomes.iter().map(|(key, it)| (key.clone(), *it));
            Arc::make_mut(&mut self.retrain_outcomes).extend(outcomes);
        }
    }
}

/// Entries of the story of retraining that are kept.
pub(crate) const RETRAINING_ENTRIES_MAX: usize = 100;

/// Totals since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Messages read, good or bad.
    pub messages: u64,
    /// Records refused.
    pub rejected: u64,
    /// Windows closed, segments counted each.
    pub windows_closed: u64,
    /// Retraining events acknowledged by the broker.
    pub retrain_published: u64,
    /// Jobs reported as succeeded.
    pub jobs_succeeded: u64,
    /// Jobs reported as failed.
    pub jobs_failed: u64,
    /// Lines of results acknowledged by the broker.
    pub results_stored: u64,
    /// Lines of results that were lost.
    pub results_failed: u64,
    /// Counts of a pane in a partition that could not be added: made by a process that is
    /// configured otherwise, or against a profile that is not here.
    pub left_out: u64,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        let Self {
            messages,
            rejected,
            windows_closed,
            retrain_published,
            jobs_succeeded,
            jobs_failed,
            results_stored,
            results_failed,
            left_out,
        } = other;
        self.messages += messages;
        self.rejected += rejected;
        self.windows_closed += windows_closed;
        self.retrain_published += retrain_published;
        self.jobs_succeeded += jobs_succeeded;
        self.jobs_failed += jobs_failed;
        self.results_stored += results_stored;
        self.results_failed += results_failed;
        self.left_out += left_out;
    }
}

/// One topic of inference logs.
#[derive(Debug, Clone)]
pub struct SourceSnapshot {
    /// Topic name.
    pub topic: Arc<str>,
    /// Whether its partitions are known; before, no window closes.
    pub is_known: bool,
    /// Messages read, good or bad.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Records refused, by reason.
    pub rejected: BTreeMap<RejectReason, u64>,
    /// Changes that are no records, by what they are; nothing where messages are no changes.
    pub skipped: BTreeMap<ChangeKind, u64>,
    /// Records whose event time was clamped.
    pub clamped: u64,
    /// Records left out because a model had too many versions or open windows.
    pub over_limit: u64,
    /// Fields that the newest records of partitions that this process reads are without.
    pub fields: Vec<ChangedField>,
    /// What became of requests and responses, where they are joined.
    pub join: Option<JoinSnapshot>,
    /// Rejected records stored in the dead-letter topic.
    pub dead_lettered: u64,
    /// Rejected records that are larger than that takes.
    pub dead_letter_too_large: u64,
    /// Rejected records that could not be stored there for another reason.
    pub dead_letter_failed: u64,
    /// Errors reported by the client, by kind.
    pub errors: BTreeMap<&'static str, u64>,
    /// Changes of the assignment.
    pub rebalances: u64,
}

/// A field that records of a topic have come to be without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedField {
    /// The field's path, or the part of it that holds something else.
    pub path: Arc<str>,
    /// What became of it.
    pub problem: FieldProblem,
    /// Records since the last one with a value, of all partitions below.
    pub records: u64,
    /// The partitions, and the offset in each from which on it is so.
    pub from: Vec<(i32, i64)>,
}

/// Requests and responses of one topic that are joined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JoinSnapshot {
    /// What became of them.
    pub counts: JoinCounts,
    /// Those that wait in the partitions that this process reads.
    pub waiting: Waiting,
}

/// One source partition.
#[derive(Debug, Clone)]
pub struct PartitionSnapshot {
    /// Which.
    pub id: PartitionId,
    /// Next offset to read. Absent before the first message, and before the end was seen.
    pub next_offset: Option<i64>,
    /// End of the partition when last seen.
    pub high_watermark: Option<i64>,
    /// Newest event time less the allowed disorder.
    pub watermark: Option<Timestamp>,
    /// Read to its end and silent.
    pub idle: bool,
    /// Held back because it ran ahead of the others.
    pub paused: bool,
    /// Read no more until a person decides, and why.
    pub stalled: Option<Loss>,
    /// Wall-clock time of the last step forward.
    pub progressed_at: Timestamp,
}

/// The first window of one kind that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWindow {
    /// Index into [`crate::config::ModelConfig::windows`].
    pub window: usize,
    /// Its begin. Absent while a window of a number of rows has none of them.
    pub start: Option<Timestamp>,
    /// Its end; of a window of a number of rows, the next time at which it may end.
    pub end: Timestamp,
    /// Records in its panes that are closed.
    pub rows: u64,
    /// Further windows that hold records and end later.
    pub further: u64,
}

/// One partition of the topic through which readers tell whoever decides.
#[derive(Debug, Clone)]
pub struct LaneSnapshot {
    /// Its number.
    pub lane: i32,
    /// Next offset to read. Absent before the first row.
    pub next_offset: Option<i64>,
    /// Where it ends, where known.
    pub end: Option<i64>,
    /// Partitions of the sources as it was told of them: what its windows wait for.
    pub partitions: Vec<PartitionSnapshot>,
}

impl LaneSnapshot {
    /// Returns how many rows its owner has not taken yet.
    pub fn lag(&self) -> Option<u64> {
        Some(lane_lag(self.next_offset, self.end?))
    }
}

/// Returns how many rows of a lane lie between its next one and its end; a lane without rows has
/// none.
pub fn lane_lag(next_offset: Option<i64>, end: i64) -> u64 {
    u64::try_from(end - next_offset.unwrap_or(0)).unwrap_or(0)
}

/// One version of one model.
#[derive(Debug, Clone)]
pub struct ModelSnapshot {
    /// Which.
    pub id: ModelId,
    /// Index into [`crate::config::Config::models`].
    pub config: usize,
    /// Its reference. Absent when none was found.
    pub reference: Option<ReferenceSnapshot>,
    /// Records counted.
    pub records: u64,
    /// Records that came after their window had closed.
    pub late: u64,
    /// Newest event time.
    pub event_time_max: Option<Timestamp>,
    /// Oldest event time of its records: when the version came into use.
    pub activated: Option<Timestamp>,
    /// Panes that the fullest partition holds open, or that wait for partitions; segments not
    /// counted each.
    pub windows_open: usize,
    /// The first window of each kind that has not ended, if it holds records.
    pub open: Vec<OpenWindow>,
    /// One entry a kind of windows and segment with results: the deciding windows first, and of
    /// each kind `all` first.
    pub segments: Vec<SegmentSnapshot>,
}

/// The reference profile of one model version.
#[derive(Debug, Clone)]
pub struct ReferenceSnapshot {
    /// Checksum of the profile.
    pub digest: Arc<str>,
    /// Rows in it.
    pub rows: u64,
    /// When it was built.
    pub created: Timestamp,
}

/// One segment of one model version, in windows of one kind.
#[derive(Debug, Clone)]
pub struct SegmentSnapshot {
    /// Index into [`crate::config::ModelConfig::windows`]; the first decides.
    pub window: usize,
    /// Which.
    pub segment: SegmentId,
    /// State after hysteresis: drifted while an episode is open. Of windows that do not decide, the
    /// state of the newest.
    pub state: State,
    /// Start of the window in which that state began.
    pub state_since: Option<Timestamp>,
    /// Closed windows, oldest first, bounded by the configuration.
    pub history: History,
    /// Newest provisional result of the window that has not ended.
    pub provisional: Option<Arc<WindowResult>>,
    /// Closed windows since the start, by state of the window.
    pub evaluations: BTreeMap<State, u64>,
    /// Windows closed without every partition.
    pub incomplete: u64,
    /// Open episodes.
    pub episodes: Vec<Episode>,
    /// Features drifted at any time since the start.
    pub ever_drifted: Vec<Arc<str>>,
    /// Scores of all features since the start, as a histogram: `(upper bound, cumulative count)`.
    pub score_histogram: ScoreHistogram,
}

/// Histogram of drift scores, one observation a feature and evaluation.
#[derive(Debug, Clone, Default)]
pub struct ScoreHistogram {
    /// Observations at most each bound of [`SCORE_BUCKETS`].
    pub cumulative: [u64; SCORE_BUCKETS.len()],
    /// All observations.
    pub count: u64,
    /// Sum of the observed scores.
    pub sum: f64,
}

impl ScoreHistogram {
    /// Adds one score.
    pub fn observe(&mut self, score: f64) {
        for (count, bound) in self.cumulative.iter_mut().zip(SCORE_BUCKETS) {
            *count += u64::from(score <= *bound);
        }
        self.count += 1;
        self.sum += score;
    }
}

/// What came of the retraining events of one policy for one model version.
#[derive(Debug, Clone, Copy, Default)]
pub struct RetrainOutcomes {
    /// Acknowledged by the broker.
    pub published: u64,
    /// Windows in which a request was due and held back: by cooldown, or because one is under way.
    pub suppressed: u64,
    /// Not acknowledged.
    pub failed: u64,
    /// Wall-clock time of the last acknowledgement.
    pub last_published: Option<Timestamp>,
}

/// One line of the story of retraining.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RetrainingEntry {
    /// Wall-clock time.
    pub at: Timestamp,
    /// Which model version asked for it.
    pub model: ModelId,
    /// Id of the event.
    pub id: Arc<str>,
    /// The policy that made it.
    pub policy: Arc<str>,
    /// Last window of evidence.
    pub window: WindowSpan,
    /// Features that made it.
    pub features: Vec<Arc<str>>,
    /// `requested`, `published`, `failed`, `suppressed`, or a state reported by the launcher.
    pub state: Arc<str>,
    /// In plain words.
    pub summary: Arc<str>,
    /// Version that the job registered, once it says so.
    pub new_version: Option<Arc<str>>,
}

impl ModelSnapshot {
    /// Returns a segment in windows of one kind, by index into
    /// [`crate::config::ModelConfig::windows`].
    pub fn segment(&self, window: usize, segment: &str) -> Option<&SegmentSnapshot> {
        self.segments.iter().find(|it| it.window == window && it.segment.as_str() == segment)
    }

    /// Returns the newest closed window of the whole traffic, of those that decide.
    pub fn latest(&self) -> Option<&Arc<WindowResult>> {
        self.segment(0, SegmentId::all().as_str()).and_then(|segment| segment.history.newest())
    }
}
