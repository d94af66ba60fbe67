//! `/api/v1/models` and `/api/v1/models/{name}/{version}`: what is watched, and one window of one
//! segment.
//!
//! Before: [`super`]. After: the page's choosers, verdict line and ranked table.

use std::collections::BTreeMap;

use driftd_alerts::Episode;
use driftd_catalog::Timestamp;
use driftd_core::config::{Config, FeatureConfig, ModelConfig, Role, WindowConfig, WindowKind};
use driftd_core::history::KeptWindow;
use driftd_core::result::{FeatureResult, WindowResult};
use driftd_core::snapshot::{ModelSnapshot, ReferenceSnapshot, SegmentSnapshot, Snapshot};
use driftd_detectors::State;
use serde::Serialize;

use super::{ApiError, Found, Query, Span, find_model, find_window, urgency};
use crate::http::metrics::{Quality, minimum_rows, missing, ratio};

/// The answer about all versions.
#[derive(Debug, Serialize)]
pub(in crate::http) struct Models {
    taken_at: Timestamp,
    models: Vec<Summary>,
}

/// One model version.
#[derive(Debug, Serialize)]
struct Summary {
    model: String,
    version: String,
    state: &'static str,
    state_since: Option<Timestamp>,
    /// Kinds of windows; the first decides.
    windows: Vec<WindowKindView>,
    minimum_rows: Option<u64>,
    reference: Option<Reference>,
    records: u64,
    late: u64,
    windows_open: usize,
    event_time_max: Option<Timestamp>,
    activated: Option<Timestamp>,
    segments: Vec<SegmentSummary>,
}

/// One kind of windows.
#[derive(Debug, Serialize)]
pub(super) struct WindowKindView {
    name: String,
    decides: bool,
    length_millis: Option<i64>,
    rows: Option<u64>,
    every_millis: i64,
}

#[derive(Debug, Serialize)]
struct Reference {
    digest: String,
    rows: u64,
    created: Timestamp,
}

#[derive(Debug, Serialize)]
struct SegmentSummary {
    segment: String,
    state: &'static str,
    state_since: Option<Timestamp>,
    windows: usize,
    newest: Option<Window>,
    evaluations: BTreeMap<&'static str, u64>,
    incomplete: u64,
    episodes: usize,
}

/// One closed window.
#[derive(Debug, Serialize)]
pub(super) struct Window {
    start: Timestamp,
    end: Timestamp,
    rows: u64,
    state: &'static str,
    complete: bool,
    /// Whether it has ended.
    r#final: bool,
    /// Results of this window before.
    revision: u32,
    missing_partitions: Vec<String>,
    closed_at: Timestamp,
}

/// The answer about one version: its summary, and one window of one segment.
#[derive(Debug, Serialize)]
pub(in crate::http) struct Detail {
    taken_at: Timestamp,
    summary: Summary,
    segment: String,
    segment_state: &'static str,
    segment_state_since: Option<Timestamp>,
    window_name: String,
    window: Option<Window>,
    /// The window that has not ended, so far.
    provisional: Option<Window>,
    window_is_newest: bool,
    features: Vec<RankedColumn>,
    episodes: Vec<EpisodeView>,
}

/// One column in the window, the gravest first.
#[derive(Debug, Serialize)]
struct RankedColumn {
    feature: String,
    role: &'static str,
    state: &'static str,
    score: Option<f64>,
    detector: Option<&'static str>,
    statistic: Option<f64>,
    threshold: Option<f64>,
    adjusted_p_value: Option<f64>,
    rows: u64,
    missing_ratio: Option<f64>,
    reference_missing_ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
struct EpisodeView {
    id: String,
    feature: String,
    opened: Span,
    last: Span,
    windows_breached: u32,
    peak_score: Option<f64>,
}

pub(in crate::http) fn models(config: &Config, snapshot: &Snapshot) -> Models {
    let models = snapshot.models.iter().filter_map(|model| {
        let config = config.models.get(model.config)?;
        Some(summary(&Found { config, model }))
    });
    Models { taken_at: snapshot.taken_at, models: models.collect() }
}

pub(in crate::http) fn detail(
    config: &Config,
    snapshot: &Snapshot,
    name: &str,
    version: &str,
    query: &Query,
) -> Result<Detail, ApiError> {
    let found = find_model(config, snapshot, name, version)?;
    let segment = found.segment(query)?;
    let window = find_window(segment, query)?;
    let newest = segment.and_then(|segment| segment.history.newest());
    Ok(Detail {
        taken_at: snapshot.taken_at,
        summary: summary(&found),
        segment: segment.map_or("all", |it| it.segment.as_str()).to_owned(),
        segment_state: state_of(found.model, segment).as_str(),
        segment_state_since: segment.and_then(|it| it.state_since),
        window_name: found.config.windows[found.window(query)?].name.to_string(),
        window: window.as_deref().map(Window::from),
        provisional: segment
            .and_then(|segment| segment.provisional.as_ref())
            .map(|window| Window::from(&**window)),
        window_is_newest: window.as_ref().map(|it| &it.id) == newest.map(|it| &it.id),
        features: window.as_deref().map(ranked).unwrap_or_default(),
        episodes: segment.iter().flat_map(|it| &it.episodes).map(EpisodeView::from).collect(),
    })
}

/// Before its first window has closed, a segment is not decided: for want of a reference, or of
/// data.
fn state_of(model: &ModelSnapshot, segment: Option<&SegmentSnapshot>) -> State {
    let undecided =
        if model.reference.is_some() { State::InsufficientData } else { State::NoReference };
    segment.map_or(undecided, |segment| segment.state)
}

fn summary(found: &Found<'_>) -> Summary {
    let Found { config, model } = found;
    let all = model.segment(0, "all");
    Summary {
        model: model.id.name().to_owned(),
        version: model.id.version().to_owned(),
        state: state_of(model, all).as_str(),
        state_since: all.and_then(|segment| segment.state_since),
        windows: (0..).zip(&config.windows).map(WindowKindView::from).collect(),
        minimum_rows: minimum_rows(config),
        reference: model.reference.as_ref().map(Reference::from),
        records: model.records,
        late: model.late,
        windows_open: model.windows_open,
        event_time_max: model.event_time_max,
        activated: model.activated,
        segments: model
            .segments
            .iter()
            .filter(|it| it.window == 0)
            .map(SegmentSummary::from)
            .collect(),
    }
}

impl From<(usize, &WindowConfig)> for WindowKindView {
    fn from((at, window): (usize, &WindowConfig)) -> Self {
        let (length_millis, rows) = match window.kind {
            WindowKind::Length { length_millis } => (Some(length_millis), None),
            WindowKind::Rows { rows } => (None, Some(rows)),
            WindowKind::Global => (None, None),
        };
        Self {
            name: window.name.to_string(),
            decides: at == 0,
            length_millis,
            rows,
            every_millis: window.every_millis,
        }
    }
}

impl From<&ReferenceSnapshot> for Reference {
    fn from(reference: &ReferenceSnapshot) -> Self {
        let ReferenceSnapshot { digest, rows, created } = reference;
        Self { digest: digest.to_string(), rows: *rows, created: *created }
    }
}

impl From<&SegmentSnapshot> for SegmentSummary {
    fn from(segment: &SegmentSnapshot) -> Self {
        let evaluations = State::ALL
            .map(|state| (state.as_str(), segment.evaluations.get(&state).copied().unwrap_or(0)));
        Self {
            segment: segment.segment.to_string(),
            state: segment.state.as_str(),
            state_since: segment.state_since,
            windows: segment.history.len(),
            newest: segment.history.newest().map(|window| Window::from(&**window)),
            evaluations: evaluations.into(),
            incomplete: segment.incomplete,
            episodes: segment.episodes.len(),
        }
    }
}

impl From<&WindowResult> for Window {
    fn from(window: &WindowResult) -> Self {
        Self {
            start: window.id.span.start(),
            end: window.id.span.end(),
            rows: window.rows,
            state: window.state().as_str(),
            complete: window.complete,
            r#final: window.edition.is_final,
            revision: window.edition.revision,
            missing_partitions: window.missing.iter().map(ToString::to_string).collect(),
            closed_at: window.closed_at,
        }
    }
}

impl From<&KeptWindow> for Window {
    fn from(window: &KeptWindow) -> Self {
        Self { state: window.state().as_str(), ..Self::from(&window.head) }
    }
}

impl From<&Episode> for EpisodeView {
    fn from(episode: &Episode) -> Self {
        Self {
            id: episode.id(),
            feature: episode.feature.to_string(),
            opened: episode.opened.into(),
            last: episode.last.into(),
            windows_breached: episode.windows_breached,
            peak_score: episode.peak_score,
        }
    }
}

fn ranked(window: &WindowResult) -> Vec<RankedColumn> {
    let mut features: Vec<&FeatureResult> = window.features.iter().collect();
    // Stable: columns of equal rank stay in the configured order.
    features.sort_by(|a, b| {
        let score = |it: &FeatureResult| it.verdict.score.unwrap_or(0.0);
        urgency(a.verdict.state)
            .cmp(&urgency(b.verdict.state))
            .then_with(|| score(b).total_cmp(&score(a)))
    });
    features.into_iter().map(RankedColumn::from).collect()
}

impl From<&FeatureResult> for RankedColumn {
    fn from(feature: &FeatureResult) -> Self {
        let verdict = &feature.verdict;
        let deciding = verdict.results.iter().find(|it| Some(it.detector) == verdict.deciding);
        let histogram = feature.histogram.as_ref();
        Self {
            feature: feature.name.to_string(),
            role: role(feature.role),
            state: verdict.state.as_str(),
            score: verdict.score,
            detector: deciding.map(|it| it.detector.as_str()),
            statistic: deciding.map(|it| it.statistic),
            threshold: deciding.and_then(|it| it.threshold),
            adjusted_p_value: deciding.and_then(|it| it.adjusted_p_value),
            rows: verdict.current_rows,
            missing_ratio: histogram.and_then(|it| Quality::of(it, verdict.current_rows).missing),
            reference_missing_ratio: histogram
                .and_then(|it| ratio(missing(&it.reference_special), verdict.reference_rows)),
        }
    }
}

pub(super) fn role(role: Role) -> &'static str {
    match role {
        Role::Feature => "feature",
        Role::Prediction => "prediction",
    }
}

/// Returns the configuration of a column. Absent only if the result is of another configuration.
pub(super) fn column<'a>(config: &'a ModelConfig, name: &str) -> Option<&'a FeatureConfig> {
    config.features.iter().find(|it| *it.name == *name)
}
