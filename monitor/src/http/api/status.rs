//! `/api/v1/status`: the daemon as a whole.
//!
//! Before: [`super`]. After: the page's header, scripts that wait for a run to end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use driftd_catalog::Timestamp;
use driftd_core::loss::Loss;
use driftd_core::snapshot::{LaneSnapshot, PartitionSnapshot, Snapshot, SourceSnapshot, Totals};
use driftd_ingest::RejectReason;
use serde::Serialize;

use crate::http::HttpState;
use crate::http::metrics::lag;

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
    clamped: u64,
    over_limit: u64,
    dead_lettered: u64,
    dead_letter_failed: u64,
    errors: BTreeMap<&'static str, u64>,
    rebalances: u64,
    partitions: Vec<PartitionView>,
}

#[derive(Debug, Serialize)]
struct LaneView {
    lane: i32,
    next_offset: Option<i64>,
    /// Rows that its owner has not taken yet.
    lag: Option<u64>,
}

#[derive(Debug, Serialize)]
struct PartitionView {
    partition: i32,
    next_offset: Option<i64>,
    high_watermark: Option<i64>,
    lag: Option<u64>,
    /// Age of the newest event time that was read, while something is not read yet; else zero.
    lag_seconds: Option<f64>,
    watermark: Option<Timestamp>,
    idle: bool,
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
        sources: snapshot.sources.iter().map(|it| source(it, snapshot)).collect(),
        lanes: snapshot.lanes.iter().map(LaneView::from).collect(),
        digest: snapshot.digest.to_string(),
    }
}

fn source(source: &SourceSnapshot, snapshot: &Snapshot) -> Source {
    let taken_at = snapshot.taken_at;
    let rejected = RejectReason::ALL
        .map(|reason| (reason.as_str(), source.rejected.get(&reason).copied().unwrap_or(0)));
    Source {
        topic: source.topic.to_string(),
        messages: source.messages,
        bytes: source.bytes,
        rejected: rejected.into(),
        clamped: source.clamped,
        over_limit: source.over_limit,
        dead_lettered: source.dead_lettered,
        dead_letter_failed: source.dead_letter_failed,
        errors: source.errors.clone(),
        rebalances: source.rebalances,
        partitions: snapshot
            .partitions
            .iter()
            .filter(|it| it.id.topic == source.topic)
            .map(|it| PartitionView::new(it, taken_at))
            .collect(),
    }
}

impl From<&LaneSnapshot> for LaneView {
    fn from(lane: &LaneSnapshot) -> Self {
        Self { lane: lane.lane, next_offset: lane.next_offset, lag: lane.lag() }
    }
}

impl PartitionView {
    fn new(partition: &PartitionSnapshot, taken_at: Timestamp) -> Self {
        let age = |watermark: Timestamp| {
            (taken_at.as_seconds_f64() - watermark.as_seconds_f64()).max(0.0)
        };
        Self {
            lag_seconds: match lag(partition) {
                Some(0) => Some(0.0),
                Some(_) => partition.watermark.map(age),
                None => None,
            },
            partition: partition.id.partition,
            next_offset: partition.next_offset,
            high_watermark: partition.high_watermark,
            lag: lag(partition),
            watermark: partition.watermark,
            idle: partition.idle,
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
