//! Families about models as configured, and about one model version: its reference, its segments,
//! their newest window, its features.
//!
//! Before: [`super`] takes the snapshot. After: [`super::super::families`]. [`exported`] bounds the
//! series of features.

use std::collections::BTreeSet;
use std::sync::Arc;

use driftd_catalog::label::{
    OUTCOME_FAILED, OUTCOME_PUBLISHED, OUTCOME_SUPPRESSED, STATE_BROKEN_DATA, STATE_DRIFTED,
    STATE_INSUFFICIENT_DATA, STATE_NO_REFERENCE, STATE_OK, StateValue,
};
use driftd_catalog::{Timestamp, metric};
use driftd_core::config::{Config, ModelConfig, Role, WindowConfig, WindowKind};
use driftd_core::result::{Cells, FeatureResult, Histogram, SpecialCounts, WindowResult};
use driftd_core::snapshot::{ModelSnapshot, SegmentSnapshot, Snapshot};
use driftd_core::state::lane_of;
use driftd_detectors::{DetectorKind, State};

use crate::http::HttpState;
use crate::http::exported::{Exported, exported};
use crate::http::families::{Families, Observed};

/// Digits of a reference's digest in a label: enough to tell a model's references apart.
const DIGEST_DIGITS: usize = 12;

pub(super) fn collect(
    families: &mut Families,
    config: &Config,
    model: &ModelSnapshot,
    snapshot: &Snapshot,
) {
    let Some(watched) = config.models.get(model.config) else { return };
    identity(families, model);
    retraining(families, config, model, snapshot);
    let exported = exported(watched, model, config.outputs.features_exported_max);
    let id = [model.id.name(), model.id.version()];
    families.gauge(&metric::FEATURE_SERIES_DROPPED, &id, exported.dropped as f64);
    families.gauge(&metric::WINDOWS_OPEN, &id, model.windows_open as f64);
    families.gauge(&metric::WINDOWS_OPEN_MAX, &id, watched.pane.open_max as f64);
    families.gauge(&metric::SEGMENTS, &id, segments_seen(model) as f64);
    families.gauge(&metric::SEGMENTS_MAX, &id, watched.segments_max() as f64);
    for segment in &model.segments {
        let Some(kind) = watched.windows.get(segment.window) else { continue };
        let labels = [id[0], id[1], segment.segment.as_str(), &*kind.name];
        segment_families(families, &labels, watched, segment);
        if segment.window == 0 {
            judged(families, &labels, kind, segment);
        }
        let Some(window) = segment.history.newest() else { continue };
        window_families(families, &labels, window);
        for feature in &window.features {
            match feature.role {
                Role::Feature => feature_families(families, &labels, feature, &exported),
                Role::Prediction => prediction(families, &labels, feature),
            }
        }
    }
}

/// Segments that have come up, in windows of any kind.
fn segments_seen(model: &ModelSnapshot) -> usize {
    let parts = model.segments.iter().filter(|it| it.segment.parts().is_some());
    parts.map(|it| it.segment.as_str()).collect::<BTreeSet<_>>().len()
}

/// What is exported of every configured model from the start on, records or not: a monitor that
/// never closes a window must not look like one without models. Where several processes share the
/// work, a model is its owner's.
pub(super) fn configured(families: &mut Families, state: &HttpState, snapshot: &Snapshot) {
    let is_here = |model: &ModelConfig| {
        state.config.scale_out.as_ref().is_none_or(|scale_out| {
            let lane = lane_of(&model.name, scale_out.lanes);
            snapshot.lanes.iter().any(|it| u32::try_from(it.lane) == Ok(lane))
        })
    };
    let models = state.config.models.iter().enumerate();
    for (at, model) in models.filter(|(_, model)| is_here(model)) {
        let judging = model.deciding();
        let labels = [&*model.name, &*judging.name];
        let own = snapshot.models.iter().filter(|it| it.config == at);
        let segments = own.flat_map(|it| &it.segments).filter(|it| it.window == 0);
        let last =
            segments.filter_map(|it| it.history.newest()).map(|window| window.closed_at).max();
        // Waiting began with the process.
        let last = last.unwrap_or(state.started).as_seconds_f64();
        families.gauge(&metric::MODEL_LAST_EVALUATION_TIMESTAMP_SECONDS, &labels, last);
        // How long so many rows take is not known.
        if !matches!(judging.kind, WindowKind::Rows { .. }) {
            let interval = judging.every_millis as f64 / 1000.0;
            families.gauge(&metric::MODEL_EVALUATION_INTERVAL_SECONDS, &labels, interval);
        }
    }
}

fn identity(families: &mut Families, model: &ModelSnapshot) {
    let id = [model.id.name(), model.id.version()];
    if let Some(reference) = &model.reference {
        // `sha256:` is the same for all of them.
        let digits = reference.digest.rsplit(':').next().unwrap_or_default();
        let digest = digits.get(..DIGEST_DIGITS).unwrap_or(digits);
        families.gauge(&metric::MODEL_INFO, &[id[0], id[1], digest], 1.0);
        let created = reference.created.as_seconds_f64();
        families.gauge(&metric::REFERENCE_CREATED_TIMESTAMP_SECONDS, &id, created);
        families.gauge(&metric::REFERENCE_ROWS, &id, reference.rows as f64);
    }
    families.counter(&metric::PREDICTIONS_TOTAL, &id, model.records);
    families.counter(&metric::LATE_RECORDS_TOTAL, &id, model.late);
    for (metric, time) in [
        (&metric::MODEL_VERSION_ACTIVATED_TIMESTAMP_SECONDS, model.activated),
        (&metric::LAST_RECORD_TIMESTAMP_SECONDS, model.event_time_max),
    ] {
        families.gauge_if_known(metric, &id, time.map(Timestamp::as_seconds_f64));
    }
}

fn retraining(
    families: &mut Families,
    config: &Config,
    model: &ModelSnapshot,
    snapshot: &Snapshot,
) {
    let [name, version] = [model.id.name(), model.id.version()];
    let mut last = None;
    for policy in config.retraining.iter().flat_map(|retraining| &retraining.policies) {
        let key = (model.id.clone(), Arc::clone(&policy.name));
        let outcomes = snapshot.retrain_outcomes.get(&key).copied().unwrap_or_default();
        last = last.max(outcomes.last_published);
        for (outcome, count) in [
            (OUTCOME_PUBLISHED, outcomes.published),
            (OUTCOME_SUPPRESSED, outcomes.suppressed),
            (OUTCOME_FAILED, outcomes.failed),
        ] {
            let labels = [name, version, &*policy.name, outcome];
            families.counter(&metric::RETRAIN_EVENTS_TOTAL, &labels, count);
        }
    }
    let last = last.map(Timestamp::as_seconds_f64);
    let metric = &metric::LAST_RETRAIN_EVENT_TIMESTAMP_SECONDS;
    families.gauge_if_known(metric, &[name, version], last);
}

fn segment_families(
    families: &mut Families,
    labels: &[&str; 4],
    config: &ModelConfig,
    segment: &SegmentSnapshot,
) {
    for state in State::ALL {
        let count = segment.evaluations.get(&state).copied().unwrap_or(0);
        let [model, version, name, window] = labels;
        let result = value_of(state).label;
        families.counter(
            &metric::EVALUATIONS_TOTAL,
            &[model, version, name, window, result],
            count,
        );
    }
    families.gauge_if_known(
        &metric::WINDOW_MIN_ROWS,
        labels,
        minimum_rows(config).map(|rows| rows as f64),
    );
    let scores = &segment.score_histogram;
    let observed =
        Observed { cumulative: &scores.cumulative, count: scores.count, sum: scores.sum };
    families.histogram(&metric::EVALUATED_FEATURE_DRIFT_SCORE, labels, &observed);
}

/// What only windows that decide have: alert rules look for it.
fn judged(
    families: &mut Families,
    labels: &[&str; 4],
    kind: &WindowConfig,
    segment: &SegmentSnapshot,
) {
    families.counter(&metric::WINDOWS_INCOMPLETE_TOTAL, labels, segment.incomplete);
    let interval = interval_millis(kind, segment) as f64 / 1000.0;
    families.gauge(&metric::EVALUATION_INTERVAL_SECONDS, labels, interval);
    families.gauge(&metric::MODEL_DRIFT_STATE, labels, value_of(segment.state).number);
    families.gauge_if_known(
        &metric::MODEL_DRIFT_STATE_SINCE_TIMESTAMP_SECONDS,
        labels,
        segment.state_since.map(Timestamp::as_seconds_f64),
    );
    families.gauge(&metric::EPISODES_OPEN, &labels[..3], segment.episodes.len() as f64);
}

/// Returns the time between two ends. How long a number of rows takes changes with the time of the
/// day: the slowest of the kept windows says when the next one is missing.
fn interval_millis(kind: &WindowConfig, segment: &SegmentSnapshot) -> i64 {
    match kind.kind {
        WindowKind::Length { .. } | WindowKind::Global => kind.every_millis,
        WindowKind::Rows { .. } => {
            let spans = segment.history.iter().map(|window| window.head.id.span);
            let lengths = spans.map(|span| span.end().as_millis() - span.start().as_millis());
            lengths.max().unwrap_or(kind.every_millis)
        }
    }
}

/// Returns the rows that the least demanding feature needs: with fewer, nothing is judged.
pub(in crate::http) fn minimum_rows(config: &ModelConfig) -> Option<u64> {
    config.features.iter().map(|feature| feature.policy.minimum_rows).min()
}

fn window_families(families: &mut Families, labels: &[&str; 4], window: &Arc<WindowResult>) {
    let features = || window.features.iter().filter(|it| it.role == Role::Feature);
    for (metric, time) in [
        (&metric::WINDOW_START_TIMESTAMP_SECONDS, window.id.span.start()),
        (&metric::WINDOW_END_TIMESTAMP_SECONDS, window.id.span.end()),
        (&metric::LAST_EVALUATION_TIMESTAMP_SECONDS, window.closed_at),
    ] {
        families.gauge(metric, labels, time.as_seconds_f64());
    }
    families.gauge(&metric::WINDOW_ROWS, labels, window.rows as f64);
    for state in State::ALL {
        let count = features().filter(|feature| feature.verdict.state == state).count();
        let [model, version, segment, span] = labels;
        let state = value_of(state).label;
        families.gauge(&metric::FEATURES, &[model, version, segment, span, state], count as f64);
    }
    let greatest = features().filter_map(|feature| feature.verdict.score).max_by(f64::total_cmp);
    families.gauge_if_known(&metric::MAX_FEATURE_DRIFT_SCORE, labels, greatest);
}

fn prediction(families: &mut Families, labels: &[&str; 4], output: &FeatureResult) {
    let [model, version, segment, window] = labels;
    let labels = [*model, version, segment, window, &output.name];
    families.gauge_if_known(&metric::PREDICTION_DRIFT_SCORE, &labels, output.verdict.score);
    families.gauge(&metric::PREDICTION_DRIFT_STATE, &labels, value_of(output.verdict.state).number);
}

fn feature_families(
    families: &mut Families,
    labels: &[&str; 4],
    feature: &FeatureResult,
    exported: &Exported<'_>,
) {
    if !exported.contains(&feature.name) {
        return;
    }
    let [model, version, segment, window] = labels;
    let labels = [*model, version, segment, window, &feature.name];
    let verdict = &feature.verdict;
    families.gauge_if_known(&metric::FEATURE_DRIFT_SCORE, &labels, verdict.score);
    families.gauge(&metric::FEATURE_DRIFT_STATE, &labels, value_of(verdict.state).number);
    for result in &verdict.results {
        if let Some(metric) = statistic_metric(result.detector) {
            families.gauge(metric, &labels, result.statistic);
        }
        if verdict.deciding == Some(result.detector) {
            let detector = result.detector.as_str();
            let labels = [labels[0], labels[1], labels[2], labels[3], labels[4], detector];
            families.gauge_if_known(
                &metric::FEATURE_EFFECTIVE_THRESHOLD,
                &labels,
                result.threshold,
            );
            families.gauge_if_known(&metric::FEATURE_P_VALUE, &labels, result.adjusted_p_value);
        }
    }
    if let Some(histogram) = &feature.histogram {
        let quality = Quality::of(histogram, verdict.current_rows);
        families.gauge_if_known(&metric::FEATURE_MISSING_RATIO, &labels, quality.missing);
        families.gauge_if_known(&metric::FEATURE_UNSEEN_CATEGORY_RATIO, &labels, quality.unseen);
        families.gauge_if_known(&metric::FEATURE_OUT_OF_RANGE_RATIO, &labels, quality.out_of_range);
    }
}

/// The family of a detector's statistic. Rates have none: the ratios themselves are exported.
fn statistic_metric(detector: DetectorKind) -> Option<&'static metric::Metric> {
    match detector {
        DetectorKind::Ks => Some(&metric::FEATURE_KS_STATISTIC),
        DetectorKind::Psi => Some(&metric::FEATURE_PSI),
        DetectorKind::KullbackLeibler => Some(&metric::FEATURE_KL_DIVERGENCE_NATS),
        DetectorKind::JensenShannon => Some(&metric::FEATURE_JS_DIVERGENCE_NATS),
        DetectorKind::ChiSquared => Some(&metric::FEATURE_CHI2_STATISTIC),
        DetectorKind::MissingRate | DetectorKind::UnseenRate => None,
    }
}

/// Shares of values that are out of order in one window; absent where there is nothing to divide
/// by.
#[derive(Debug, PartialEq)]
pub(in crate::http) struct Quality {
    /// Absent, null or not a finite number, of all rows.
    pub(in crate::http) missing: Option<f64>,
    /// Levels unknown to the reference, of present values. Categorical only.
    pub(in crate::http) unseen: Option<f64>,
    /// Beyond the reference's least or greatest value, of present values. Numeric only.
    pub(in crate::http) out_of_range: Option<f64>,
}

impl Quality {
    pub(in crate::http) fn of(histogram: &Histogram, rows: u64) -> Self {
        let special = &histogram.current_special;
        let present = histogram.current.iter().sum::<u64>() + special.unseen;
        let (unseen, out_of_range) = match histogram.cells {
            Cells::Levels(_) => (ratio(special.unseen, present), None),
            Cells::Edges(_) => (None, ratio(special.out_of_range, present)),
        };
        Self { missing: ratio(missing(special), rows), unseen, out_of_range }
    }
}

/// Returns the values without a place in the distribution, which the missing rate counts.
pub(in crate::http) fn missing(special: &SpecialCounts) -> u64 {
    special.null + special.nan + special.neg_inf + special.pos_inf
}

/// Returns `part / whole`. Absent when there is no whole.
pub(in crate::http) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (0 < whole).then(|| part as f64 / whole as f64)
}

fn value_of(state: State) -> StateValue {
    match state {
        State::Ok => STATE_OK,
        State::Drifted => STATE_DRIFTED,
        State::InsufficientData => STATE_INSUFFICIENT_DATA,
        State::NoReference => STATE_NO_REFERENCE,
        State::BrokenData => STATE_BROKEN_DATA,
    }
}
