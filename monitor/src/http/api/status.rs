//! `/api/v1/status`: the daemon as a whole.
//!
//! Before: [`super`]. After: the page's header, scripts that wait for a run to end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use driftd_catalog::{PartitionId, Timestamp};
use driftd_core::halves::BySide;
use driftd_core::loss::Loss;
use driftd_core::snapshot::{
    ChangedField, JoinSnapshot, LaneSnapshot, PartitionSnapshot, Snapshot, SourceSnapshot, Totals,
    lane_lag,
};
use driftd_ingest::RejectReason;
use serde::Serialize;

use crate::http::HttpState;
use crate::http::metrics::{lag, lag_seconds};

/// The answer.
#[derive(Debug, Serialize)]
pub(in crate::http) struct Status {
    version: &'static str,
    name: String,
    /// Name of this process in its group.
    instance: Arc<str>,
    simd: &'static str,
    taken_at: Timestamp,
    live: bool,
    not_live: Vec<String>,
    ready: bool,
    not_ready: Vec<String>,
    totals: TotalsView,
    /// When state was stored last; absent where none is kept.
    state_stored_at: Option<Timestamp>,
    /// Messages not read yet, over all partitions whose end is known.
    lag: Option<u64>,
    sources: Vec<Source>,
    /// Lanes that this process owns, where several share the work.
    lanes: Vec<LaneView>,
    /// The others, as their owners have told last.
    lanes_elsewhere: Vec<LaneView>,
    digest: String,
}

#[derive(Debug, Serialize)]
struct TotalsView {
    messages: u64,
    rejected: u64,
    windows_closed: u64,
    retrain_published: u64,
    jobs_succeeded: u64,
    jobs_failed: u64,
}

#[derive(Debug, Serialize)]
struct Source {
    topic: String,
    messages: u64,
    bytes: u64,
    rejected: BTreeMap<&'static str, u64>,
    /// Changes that are no records; nothing where messages are no changes.
    skipped: BTreeMap<&'static str, u64>,
    clamped: u64,
    over_limit: u64,
    /// Fields that the newest records come without.
    fields_changed: Vec<FieldView>,
    /// What became of requests and responses; null where they are not joined.
    join: Option<JoinView>,
    dead_lettered: u64,
    dead_letter_too_large: u64,
    dead_letter_failed: u64,
    errors: BTreeMap<&'static str, u64>,
    rebalances: u64,
    /// Those that this process reads.
    partitions: Vec<PartitionView>,
    /// The others, as their owners have told last.
    elsewhere: Vec<PartitionView>,
}

#[derive(Debug, Serialize)]
struct FieldView {
    path: Arc<str>,
    /// `absent` or `unreadable`.
    reason: &'static str,
    /// Records since the last one with a value.
    records: u64,
    /// Partitions in which it is so, and from where on.
    from: Vec<PlaceView>,
}

#[derive(Debug, Serialize)]
struct PlaceView {
    partition: i32,
    offset: i64,
}

#[derive(Debug, Serialize)]
struct JoinView {
    joined: u64,
    /// Those that were not, by reason.
    left_out: BTreeMap<&'static str, BySide>,
    /// Those that wait for their other half.
    waiting: u64,
    waiting_bytes: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct LaneView {
    pub(super) lane: i32,
    /// The process that decides about its models; absent before one has told.
    pub(super) owner: Option<Arc<str>>,
    next_offset: Option<i64>,
    /// Rows that its owner has not taken yet.
    lag: Option<u64>,
}

#[derive(Debug, Serialize)]
struct PartitionView {
    partition: i32,
    /// The process that reads it; absent before one has told.
    owner: Option<Arc<str>>,
    next_offset: Option<i64>,
    high_watermark: Option<i64>,
    lag: Option<u64>,
    /// Age of the watermark while something is not read yet; else zero.
    lag_seconds: Option<f64>,
    watermark: Option<Timestamp>,
    /// Read to its end and silent; absent of one that another process reads, which alone knows.
    idle: Option<bool>,
    paused: bool,
    /// Why the partition is read no more until a person decides; absent while it is read.
    stalled: Option<StalledView>,
}

#[derive(Debug, Serialize)]
struct StalledView {
    reason: &'static str,
    /// How many records are lost, where that is known.
    records: Option<u64>,
    /// The same in words.
    loss: String,
}

pub(in crate::http) fn status(state: &HttpState, snapshot: &Snapshot, now: Instant) -> Status {
    let live = state.health.live(now);
    let ready = state.health.ready(now);
    let lags: Option<Vec<u64>> = snapshot.partitions.iter().map(lag).collect();
    Status {
        version: env!("CARGO_PKG_VERSION"),
        name: state.config.name.to_string(),
        instance: Arc::clone(&state.instance),
        simd: state.simd,
        taken_at: snapshot.taken_at,
        live: live.ok,
        not_live: live.reasons,
        ready: ready.ok,
        not_ready: ready.reasons,
        totals: snapshot.totals.into(),
        state_stored_at: state.instruments.stored_at(),
        lag: lags.map(|lags| lags.iter().sum()),
        sources: snapshot.sources.iter().map(|it| source(it, state, snapshot)).collect(),
        lanes: snapshot.lanes.iter().map(|lane| LaneView::here(lane, state)).collect(),
        lanes_elsewhere: lanes_elsewhere(state, snapshot),
        digest: snapshot.digest.to_string(),
    }
}

/// Returns the lanes that this process has not.
pub(super) fn lanes_elsewhere(state: &HttpState, snapshot: &Snapshot) -> Vec<LaneView> {
    let Some(scale_out) = &state.config.scale_out else { return Vec::new() };
    let topic: Arc<str> = scale_out.partials_topic.as_str().into();
    let is_here = |lane: i32| snapshot.lanes.iter().any(|it| it.lane == lane);
    let lanes = 0..i32::try_from(scale_out.lanes).unwrap_or(i32::MAX);
    let others = lanes.filter(|lane| !is_here(*lane)).map(|lane| {
        let id = PartitionId { topic: Arc::clone(&topic), partition: lane };
        let owned = state.owners.of(&id);
        let next_offset = owned.as_ref().map(|it| it.next_offset);
        let lag = state.ends.of(&id).map(|end| lane_lag(next_offset, end.offset));
        LaneView { lane, owner: owned.and_then(|it| it.owner), next_offset, lag }
    });
    others.collect()
}

fn source(source: &SourceSnapshot, state: &HttpState, snapshot: &Snapshot) -> Source {
    let taken_at = snapshot.taken_at;
    let own = |partitions: &[PartitionSnapshot], owner: &dyn Fn(&PartitionId) -> _| {
        let own = partitions.iter().filter(|it| it.id.topic == source.topic);
        own.map(|it| PartitionView::new(it, owner(&it.id), taken_at)).collect::<Vec<_>>()
    };
    let elsewhere = own(&snapshot.unassigned, &|id| state.owners.of(id)?.owner).into_iter();
    let elsewhere = elsewhere.map(|it| PartitionView { idle: None, ..it });
    let rejected = RejectReason::ALL
        .map(|reason| (reason.as_str(), source.rejected.get(&reason).copied().unwrap_or(0)));
    Source {
        topic: source.topic.to_string(),
        messages: source.messages,
        bytes: source.bytes,
        rejected: rejected.into(),
        skipped: source.skipped.iter().map(|(kind, count)| (kind.as_str(), *count)).collect(),
        clamped: source.clamped,
        over_limit: source.over_limit,
        fields_changed: source.fields.iter().map(FieldView::from).collect(),
        join: source.join.map(JoinView::from),
        dead_lettered: source.dead_lettered,
        dead_letter_too_large: source.dead_letter_too_large,
        dead_letter_failed: source.dead_letter_failed,
        errors: source.errors.clone(),
        rebalances: source.rebalances,
        partitions: own(&snapshot.partitions, &|_| Some(Arc::clone(&state.instance))),
        elsewhere: elsewhere.collect(),
    }
}

impl From<&ChangedField> for FieldView {
    fn from(ChangedField { path, problem, records, from }: &ChangedField) -> Self {
        Self {
            path: Arc::clone(path),
            reason: problem.as_str(),
            records: *records,
            from: from.iter().map(|&(partition, offset)| PlaceView { partition, offset }).collect(),
        }
    }
}

impl From<JoinSnapshot> for JoinView {
    fn from(JoinSnapshot { counts, waiting }: JoinSnapshot) -> Self {
        Self {
            joined: counts.joined,
            left_out: counts.left_out().into(),
            waiting: waiting.halves,
            waiting_bytes: waiting.bytes,
        }
    }
}

impl LaneView {
    fn here(lane: &LaneSnapshot, state: &HttpState) -> Self {
        let owner = Some(Arc::clone(&state.instance));
        Self { lane: lane.lane, owner, next_offset: lane.next_offset, lag: lane.lag() }
    }
}

impl PartitionView {
    fn new(partition: &PartitionSnapshot, owner: Option<Arc<str>>, taken_at: Timestamp) -> Self {
        Self {
            lag_seconds: lag_seconds(partition, taken_at),
            partition: partition.id.partition,
            owner,
            next_offset: partition.next_offset,
            high_watermark: partition.high_watermark,
            lag: lag(partition),
            watermark: partition.watermark,
            idle: Some(partition.idle),
            paused: partition.paused,
            stalled: partition.stalled.map(StalledView::from),
        }
    }
}

impl From<Loss> for StalledView {
    fn from(loss: Loss) -> Self {
        Self { reason: loss.reason(), records: loss.records(), loss: loss.to_string() }
    }
}

impl From<Totals> for TotalsView {
    fn from(totals: Totals) -> Self {
        Self {
            messages: totals.messages,
            rejected: totals.rejected,
            windows_closed: totals.windows_closed,
            retrain_published: totals.retrain_published,
            jobs_succeeded: totals.jobs_succeeded,
            jobs_failed: totals.jobs_failed,
        }
    }
}
