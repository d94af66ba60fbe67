//! `/api/v1/windows`: the windows that have not ended, and what each waits for.
//!
//! Before: [`super`]. After: `driftd explain window`, which puts it into sentences.
//!
//! The rule is that of the core: a window ends when every partition of its topic has passed its end
//! and the lateness, those aside that are read to their end and silent. Where the work is shared,
//! what counts is what the model's lane was told of them; of lanes that other processes have, it is
//! said who they are.

use std::sync::Arc;

use driftd_catalog::Timestamp;
use driftd_core::config::{Config, ModelConfig, WindowKind};
use driftd_core::snapshot::{ModelSnapshot, OpenWindow, PartitionSnapshot, Snapshot};
use driftd_core::state::lane_of;
use serde::{Deserialize, Serialize};

use super::status::lanes_elsewhere;
use crate::http::HttpState;
use crate::http::metrics::lag;

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OpenWindows {
    pub(crate) taken_at: Timestamp,
    /// Of each model version and kind of windows the first that has not ended.
    pub(crate) windows: Vec<OpenWindowView>,
    /// Models that other processes decide about, and know the windows of.
    pub(crate) elsewhere: Vec<ModelElsewhere>,
}

/// One model whose windows another process has.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ModelElsewhere {
    pub(crate) model: String,
    pub(crate) lane: i32,
    /// Which process; absent before one has told.
    pub(crate) owner: Option<Arc<str>>,
}

/// One window that has not ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OpenWindowView {
    pub(crate) model: String,
    pub(crate) version: String,
    /// Name of its kind.
    pub(crate) window: String,
    pub(crate) decides: bool,
    /// Absent while a window of a number of rows has none of them.
    pub(crate) start: Option<Timestamp>,
    /// Of a window of a number of rows, the next time at which it may end.
    pub(crate) end: Timestamp,
    /// Event time that every partition has to reach: the end and the lateness.
    pub(crate) ends_after: Timestamp,
    pub(crate) rows_closed: u64,
    /// Rows that it waits for, where a number of them ends it.
    pub(crate) rows_needed: Option<u64>,
    /// Windows of this kind that end later and hold records already.
    pub(crate) further: u64,
    pub(crate) waits_for: Reason,
    /// Time on the wall at which it ends without further progress. Absent where it would not.
    pub(crate) ends_at: Option<Timestamp>,
    pub(crate) topic: String,
    pub(crate) partitions: Vec<PartitionStanding>,
}

/// What a window waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// The partitions of the topic are not known yet.
    Metadata,
    /// Some partitions have not passed it.
    Partitions,
    /// No partition has passed it, and all are silent: for the clock on the wall.
    Clock,
    /// All partitions have passed it, and it has too few rows.
    Rows,
    /// Nothing.
    Nothing,
}

/// One partition, seen from a window.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PartitionStanding {
    pub(crate) partition: i32,
    pub(crate) standing: Standing,
    /// Whether this process reads it.
    pub(crate) assigned: bool,
    pub(crate) watermark: Option<Timestamp>,
    /// Event time between its watermark and the end of waiting. Absent before its first record.
    pub(crate) missing_millis: Option<i64>,
    /// Messages not read yet. Absent until the end of the partition was seen.
    pub(crate) lag: Option<u64>,
    /// Held back because it ran ahead of the others.
    pub(crate) paused: bool,
    /// Time on the wall of its last step forward.
    pub(crate) progressed_at: Timestamp,
    /// Time on the wall from which it is not waited for, should it stand still.
    pub(crate) given_up_at: Timestamp,
}

/// Whether a partition holds a window back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// It can add nothing more.
    Passed,
    /// It is read to its end and silent.
    Idle,
    /// It may still add to the window.
    WaitedFor,
}

pub(in crate::http) fn windows(state: &HttpState, snapshot: &Snapshot) -> OpenWindows {
    let config = &state.config;
    let open = snapshot.models.iter().filter_map(|model| {
        let watched = config.models.get(model.config)?;
        Some(model.open.iter().map(move |open| view(config, snapshot, watched, model, open)))
    });
    let windows = open.flatten().collect();
    OpenWindows { taken_at: snapshot.taken_at, windows, elsewhere: elsewhere(state, snapshot) }
}

fn elsewhere(state: &HttpState, snapshot: &Snapshot) -> Vec<ModelElsewhere> {
    let lanes = lanes_elsewhere(state, snapshot);
    let of = |model: &ModelConfig| {
        let lane = lane(&state.config, model)?;
        let found = lanes.iter().find(|it| it.lane == lane)?;
        let owner = found.owner.clone();
        Some(ModelElsewhere { model: model.name.to_string(), lane, owner })
    };
    state.config.models.iter().filter_map(of).collect()
}

/// Returns the lane that decides about a model, where there are lanes.
fn lane(config: &Config, model: &ModelConfig) -> Option<i32> {
    let lanes = config.scale_out.as_ref()?.lanes;
    i32::try_from(lane_of(&model.name, lanes)).ok()
}

/// Returns each partition of a model's topic, as whoever decides about it was told of it, and as
/// this process sees it.
fn partitions<'a>(
    config: &Config,
    snapshot: &'a Snapshot,
    watched: &ModelConfig,
) -> impl Iterator<Item = Known<'a>> {
    let topic = Arc::clone(&config.sources[watched.source].topic);
    let lane = lane(config, watched);
    let lane = snapshot.lanes.iter().find(|it| Some(it.lane) == lane);
    let here = snapshot.partitions.iter().map(|it| (true, it));
    let all = here.chain(snapshot.unassigned.iter().map(|it| (false, it)));
    let own = all.filter(move |(_, seen)| seen.id.topic == topic);
    own.map(move |(assigned, seen)| {
        let told = lane.and_then(|lane| lane.partitions.iter().find(|it| it.id == seen.id));
        Known { assigned, here: seen, told: told.unwrap_or(seen) }
    })
}

/// One partition: how far it is, and what is known of it here.
struct Known<'a> {
    assigned: bool,
    here: &'a PartitionSnapshot,
    told: &'a PartitionSnapshot,
}

fn view(
    config: &Config,
    snapshot: &Snapshot,
    watched: &ModelConfig,
    model: &ModelSnapshot,
    open: &OpenWindow,
) -> OpenWindowView {
    let topic = &config.sources[watched.source].topic;
    let ends_after = open.end.plus_millis(watched.pane.lateness_millis);
    let wait_max_millis = watched.pane.wait_max_millis;
    let partitions: Vec<PartitionStanding> = partitions(config, snapshot, watched)
        .map(|it| standing(&it, ends_after, wait_max_millis))
        .collect();
    let kind = &watched.windows[open.window];
    let rows_needed = match kind.kind {
        WindowKind::Rows { rows } => Some(rows),
        WindowKind::Length { .. } | WindowKind::Global => None,
    };
    let is_known = snapshot.sources.get(watched.source).is_some_and(|source| source.is_known);
    let (waits_for, ends_at) = if is_known {
        wait(&partitions, ends_after.plus_millis(wait_max_millis))
    } else {
        (Reason::Metadata, None)
    };
    let is_short = rows_needed.is_some_and(|needed| open.rows < needed);
    OpenWindowView {
        model: model.id.name().to_owned(),
        version: model.id.version().to_owned(),
        window: kind.name.to_string(),
        decides: open.window == 0,
        start: open.start,
        end: open.end,
        ends_after,
        rows_closed: open.rows,
        rows_needed,
        further: open.further,
        waits_for: if waits_for == Reason::Nothing && is_short { Reason::Rows } else { waits_for },
        ends_at: ends_at.filter(|_| !is_short),
        topic: topic.to_string(),
        partitions,
    }
}

/// `past` is the time on the wall at which a window is over for a silent topic too.
fn wait(partitions: &[PartitionStanding], past: Timestamp) -> (Reason, Option<Timestamp>) {
    let is_any_passed = partitions.iter().any(|it| it.standing == Standing::Passed);
    let waited_for = partitions.iter().filter(|it| it.standing == Standing::WaitedFor);
    let given_up_at = waited_for.map(|it| it.given_up_at).max();
    match (given_up_at, is_any_passed) {
        (Some(given_up_at), true) => (Reason::Partitions, Some(given_up_at)),
        (Some(given_up_at), false) => (Reason::Partitions, Some(given_up_at.max(past))),
        (None, true) => (Reason::Nothing, None),
        (None, false) => (Reason::Clock, Some(past)),
    }
}

fn standing(
    partition: &Known<'_>,
    ends_after: Timestamp,
    wait_max_millis: i64,
) -> PartitionStanding {
    let Known { assigned, here, told } = *partition;
    let missing = told.watermark.map(|it| ends_after.as_millis() - it.as_millis());
    let standing = match missing {
        Some(missing) if missing <= 0 => Standing::Passed,
        Some(_) | None if told.idle => Standing::Idle,
        Some(_) | None => Standing::WaitedFor,
    };
    PartitionStanding {
        partition: here.id.partition,
        standing,
        assigned,
        watermark: told.watermark,
        missing_millis: missing.map(|missing| missing.max(0)),
        lag: lag(here),
        paused: here.paused,
        progressed_at: told.progressed_at,
        given_up_at: told.progressed_at.plus_millis(wait_max_millis),
    }
}
