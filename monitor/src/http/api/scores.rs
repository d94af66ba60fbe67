//! `/api/v1/models/{name}/{version}/scores`: scores of features over windows, for the heat map.
//!
//! Before: [`super`]. After: the page's map. Bounded: the newest windows, and the features that
//! stood out most in them.

use driftd_core::config::{Config, ModelConfig};
use driftd_core::history::KeptWindow;
use driftd_core::snapshot::Snapshot;
use driftd_detectors::State;
use serde::Serialize;

use super::model::{Window, role};
use super::{ApiError, Query, find_model, urgency};

/// Windows in an answer when the query does not say.
const WINDOWS: usize = 60;
/// Most windows in an answer: with [`FEATURES_MAX`], 72,000 cells or about half a megabyte.
const WINDOWS_MAX: usize = 240;
/// Most features in an answer; nobody scrolls through more rows of a map.
const FEATURES_MAX: usize = 300;

/// The answer: one row a feature, one column a window.
#[derive(Debug, Serialize)]
pub(in crate::http) struct ScoreMap {
    segment: String,
    /// Oldest first.
    windows: Vec<Window>,
    /// Windows kept, shown or not.
    windows_kept: usize,
    features: Vec<Row>,
    /// Features left out.
    features_dropped: usize,
    scores: Vec<Vec<Option<f64>>>,
    states: Vec<Vec<&'static str>>,
}

#[derive(Debug, Serialize)]
struct Row {
    feature: String,
    role: &'static str,
}

pub(in crate::http) fn scores(
    config: &Config,
    snapshot: &Snapshot,
    name: &str,
    version: &str,
    query: &Query,
) -> Result<ScoreMap, ApiError> {
    let found = find_model(config, snapshot, name, version)?;
    let segment = found.segment(query)?;
    let kept = segment.map_or(0, |segment| segment.history.len());
    let wanted = query.windows.unwrap_or(WINDOWS).clamp(1, WINDOWS_MAX);
    let skipped = kept.saturating_sub(wanted);
    let windows: Vec<&KeptWindow> =
        segment.iter().flat_map(|it| it.history.iter().skip(skipped)).collect();
    let order = order(found.config, &windows);
    let features_dropped = found.config.features.len() - order.len();
    let row = |at: usize| windows.iter().map(move |window| window.scores[at]);
    Ok(ScoreMap {
        segment: segment.map_or("all", |it| it.segment.as_str()).to_owned(),
        windows_kept: kept,
        features: order.iter().map(|at| label(found.config, *at)).collect(),
        features_dropped,
        scores: order.iter().map(|at| row(*at).map(|(_, score)| score).collect()).collect(),
        states: order
            .iter()
            .map(|at| row(*at).map(|(state, _)| state.as_str()).collect())
            .collect(),
        windows: windows.iter().map(|window| Window::from(*window)).collect(),
    })
}

fn label(config: &ModelConfig, at: usize) -> Row {
    let feature = &config.features[at];
    Row { feature: feature.name.to_string(), role: role(feature.role) }
}

/// Indices of the columns to show: by the gravest state in these windows, then by the greatest
/// score. Windows hold their columns in the configured order.
fn order(config: &ModelConfig, windows: &[&KeptWindow]) -> Vec<usize> {
    let mut peaks: Vec<(usize, u8, f64)> = (0..config.features.len())
        .map(|at| {
            let scores = || windows.iter().map(|window| window.scores[at]);
            let state = scores().map(|(state, _)| urgency(state)).min();
            let score = scores().filter_map(|(_, score)| score).fold(0.0, f64::max);
            (at, state.unwrap_or(urgency(State::NoReference)), score)
        })
        .collect();
    peaks.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| b.2.total_cmp(&a.2)));
    peaks.truncate(FEATURES_MAX);
    peaks.into_iter().map(|(at, _, _)| at).collect()
}
