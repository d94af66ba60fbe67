//! `/api/v1/models/{name}/{version}/features/{feature}`: one feature in one window, with both
//! distributions.
//!
//! Before: [`super`]. After: the page's histogram and statistics.

use driftd_core::config::Config;
use driftd_core::result::{Cells, FeatureResult, Histogram, SpecialCounts};
use driftd_core::snapshot::Snapshot;
use serde::Serialize;

use super::model::{Window, column, role};
use super::{ApiError, Query, find_model, find_window};
use crate::http::metrics::Quality;
use crate::http::words::explain;

/// Most levels shown one by one; the rest is one cell.
const LEVELS_MAX: usize = 20;

/// The answer.
#[derive(Debug, Serialize)]
pub(in crate::http) struct FeatureDetail {
    model: String,
    version: String,
    segment: String,
    window: Window,
    feature: String,
    role: &'static str,
    state: &'static str,
    score: Option<f64>,
    explanation: String,
    minimum_effect: f64,
    minimum_rows: u64,
    minimum_detectable_effect: Option<f64>,
    reference_rows: u64,
    current_rows: u64,
    results: Vec<DetectorView>,
    histogram: Option<HistogramView>,
}

#[derive(Debug, Serialize)]
struct DetectorView {
    detector: &'static str,
    deciding: bool,
    statistic: f64,
    statistic_upper: Option<f64>,
    p_value: Option<f64>,
    adjusted_p_value: Option<f64>,
    lower_bound: Option<f64>,
    threshold: Option<f64>,
    score: Option<f64>,
}

/// Counts of both populations in the same cells; the cells of one add up to its rows.
#[derive(Debug, Serialize)]
struct HistogramView {
    cells: Vec<Cell>,
    totals: Pair,
    out_of_range_ratio: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Pair {
    reference: u64,
    current: u64,
}

/// A bin `(lower, upper]`, a level, or values of neither kind.
#[derive(Debug, Serialize)]
struct Cell {
    /// `bin`, `level`, `other`, `unseen`, `null`, `nan`, `neg_inf` or `pos_inf`.
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    lower: Option<f64>,
    upper: Option<f64>,
    reference: u64,
    current: u64,
}

pub(in crate::http) fn feature(
    config: &Config,
    snapshot: &Snapshot,
    (name, version, feature): (&str, &str, &str),
    query: &Query,
) -> Result<FeatureDetail, ApiError> {
    let found = find_model(config, snapshot, name, version)?;
    let unknown = || {
        ApiError::not_found(
            format!("model `{name}` has no feature or prediction `{feature}`"),
            format!("/api/v1/models/{name}/{version} lists them"),
        )
    };
    let watched = column(found.config, feature).ok_or_else(unknown)?;
    let segment = found.segment(query)?;
    let window = find_window(segment, query)?.ok_or_else(|| {
        ApiError::not_found(
            format!("no window of `{}` has closed yet", found.model.id),
            "ask again when a window has closed; /api/v1/models tells how many are open",
        )
    })?;
    let result = window.features.iter().find(|it| *it.name == *feature).ok_or_else(unknown)?;
    let verdict = &result.verdict;
    Ok(FeatureDetail {
        model: name.to_owned(),
        version: version.to_owned(),
        segment: window.id.segment.to_string(),
        window: Window::from(&*window),
        feature: feature.to_owned(),
        role: role(result.role),
        state: verdict.state.as_str(),
        score: verdict.score,
        explanation: explain(result, &watched.policy, &config.decision),
        minimum_effect: watched.policy.minimum_effect,
        minimum_rows: watched.policy.minimum_rows,
        minimum_detectable_effect: verdict.minimum_detectable_effect,
        reference_rows: verdict.reference_rows,
        current_rows: verdict.current_rows,
        results: detectors(result),
        histogram: result.histogram.as_ref().map(|it| histogram(it, verdict.current_rows)),
    })
}

fn detectors(feature: &FeatureResult) -> Vec<DetectorView> {
    let verdict = &feature.verdict;
    let views = verdict.results.iter().map(|it| DetectorView {
        detector: it.detector.as_str(),
        deciding: verdict.deciding == Some(it.detector),
        statistic: it.statistic,
        statistic_upper: it.statistic_upper,
        p_value: it.p_value,
        adjusted_p_value: it.adjusted_p_value,
        lower_bound: it.lower_bound,
        threshold: it.threshold,
        score: it.score,
    });
    views.collect()
}

fn histogram(histogram: &Histogram, current_rows: u64) -> HistogramView {
    let mut cells = match &histogram.cells {
        Cells::Edges(edges) => bins(edges, histogram),
        Cells::Levels(levels) => self::levels(levels.names(), histogram),
    };
    specials(&mut cells, &histogram.reference_special, &histogram.current_special);
    let totals = Pair {
        reference: cells.iter().map(|cell| cell.reference).sum(),
        current: cells.iter().map(|cell| cell.current).sum(),
    };
    let out_of_range_ratio = Quality::of(histogram, current_rows).out_of_range;
    HistogramView { cells, totals, out_of_range_ratio }
}

fn bins(edges: &[f64], histogram: &Histogram) -> Vec<Cell> {
    let lower = std::iter::once(None).chain(edges.iter().copied().map(Some));
    let upper = edges.iter().copied().map(Some).chain([None]);
    let counts = histogram.reference.iter().zip(&histogram.current);
    let cells = lower.zip(upper).zip(counts).map(|((lower, upper), (reference, current))| Cell {
        kind: "bin",
        label: None,
        lower,
        upper,
        reference: *reference,
        current: *current,
    });
    cells.collect()
}

/// The most frequent levels of both populations, then all others as one cell.
fn levels(names: &[Box<str>], histogram: &Histogram) -> Vec<Cell> {
    let counts = histogram.reference.iter().copied().zip(histogram.current.iter().copied());
    let mut levels: Vec<(&str, u64, u64)> = names
        .iter()
        .zip(counts)
        .map(|(name, (reference, current))| (&**name, reference, current))
        .collect();
    // By the greater share, so that a level which only one population has is shown too.
    let totals = levels.iter().fold((1, 1), |sum, it| (sum.0 + it.1, sum.1 + it.2));
    let share =
        |it: &(&str, u64, u64)| (it.1 as f64 / totals.0 as f64).max(it.2 as f64 / totals.1 as f64);
    levels.sort_by(|a, b| share(b).total_cmp(&share(a)));
    let others = levels.split_off(LEVELS_MAX.min(levels.len()));
    let mut cells: Vec<Cell> =
        levels.iter().map(|it| cell("level", Some(it.0.to_owned()), it.1, it.2)).collect();
    if !others.is_empty() {
        let label = format!("{} other levels", others.len());
        let sums = others.iter().fold((0, 0), |sum, it| (sum.0 + it.1, sum.1 + it.2));
        cells.push(cell("other", Some(label), sums.0, sums.1));
    }
    cells
}

/// Missing values always have a cell, the other kinds where one population has them.
fn specials(cells: &mut Vec<Cell>, reference: &SpecialCounts, current: &SpecialCounts) {
    let kinds = [
        ("neg_inf", reference.neg_inf, current.neg_inf),
        ("pos_inf", reference.pos_inf, current.pos_inf),
        ("unseen", reference.unseen, current.unseen),
        ("nan", reference.nan, current.nan),
        ("null", reference.null, current.null),
    ];
    for (kind, reference, current) in kinds {
        if kind == "null" || 0 < reference || 0 < current {
            cells.push(cell(kind, None, reference, current));
        }
    }
}

fn cell(kind: &'static str, label: Option<String>, reference: u64, current: u64) -> Cell {
    Cell { kind, label, lower: None, upper: None, reference, current }
}
