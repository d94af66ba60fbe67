//! `/api/v1/performance`: how good models are by their labels, window by window.
//!
//! Before: [`super`]. After: the page, scripts. Every number stands beside what it rests on: how
//! many predictions, how many of them have a label, and whether more can come.

use driftd_catalog::Timestamp;
use driftd_core::config::Config;
use driftd_core::labels::{
    CONFIDENCE, LabelCounts, Metric, ModelPerformance, PartPerformance, PerformanceResult,
};
use driftd_core::snapshot::Snapshot;
use serde::{Deserialize, Serialize};

use super::Span;

/// The answer: models whose performance is followed.
#[derive(Debug, Serialize)]
pub(in crate::http) struct Performance {
    taken_at: Timestamp,
    /// Of intervals.
    confidence: f64,
    models: Vec<Followed>,
}

#[derive(Debug, Serialize)]
struct Followed {
    model: String,
    /// Share of predictions whose labels are followed.
    sample: f64,
    window_seconds: f64,
    horizon_seconds: f64,
    /// What became of predictions and labels since the state was made.
    counts: LabelCounts,
    /// Labels that wait for their prediction.
    labels_waiting: u64,
    /// The oldest first.
    windows: Vec<Judged>,
}

#[derive(Debug, Serialize)]
struct Judged {
    window: Span,
    /// Whether no more labels can come.
    r#final: bool,
    /// Whether no partition has lost records of its time.
    complete: bool,
    /// Each version and segment.
    parts: Vec<Part>,
}

#[derive(Debug, Serialize)]
struct Part {
    version: String,
    segment: String,
    predictions: u64,
    labelled: u64,
    uncountable: u64,
    coverage: f64,
    delay_median_seconds: Option<f64>,
    metrics: Vec<MetricView>,
}

#[derive(Debug, Serialize)]
struct MetricView {
    name: &'static str,
    value: f64,
    /// Where the true value is; null where nothing is known of it.
    interval: Option<[f64; 2]>,
    /// Between which values the exact one lies, of metrics of scores by their cells.
    exact_between: Option<[f64; 2]>,
}

/// Parameters after `?`: what is asked for of all that there is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Asked {
    model: Option<String>,
    version: Option<String>,
    segment: Option<String>,
    /// So many of the newest windows; those of a week of hours otherwise.
    windows: Option<usize>,
}

/// Windows that are answered with unless another number is asked for.
const WINDOWS: usize = 168;

impl Asked {
    fn wants(&self, part: &PartPerformance) -> bool {
        let is_one =
            |asked: &Option<String>, name: &str| asked.as_ref().is_none_or(|asked| asked == name);
        is_one(&self.version, &part.version) && is_one(&self.segment, part.segment.as_str())
    }
}

pub(in crate::http) fn performance(
    config: &Config,
    snapshot: &Snapshot,
    asked: &Asked,
) -> Performance {
    let wanted = snapshot.performance.iter().filter(|(index, _)| {
        let model = config.models.get(**index);
        asked.model.as_ref().is_none_or(|name| model.is_some_and(|it| *it.name == **name))
    });
    let models = wanted.filter_map(|(index, it)| {
        let model = config.models.get(*index)?;
        let followed = model.performance.as_ref()?;
        let ModelPerformance { windows, counts, waiting, sample, bytes: _ } = it;
        Some(Followed {
            model: model.name.to_string(),
            sample: *sample,
            window_seconds: followed.window_millis as f64 / 1_000.0,
            horizon_seconds: followed.horizon_millis as f64 / 1_000.0,
            counts: *counts,
            labels_waiting: *waiting,
            windows: judged(windows, asked),
        })
    });
    let models = models.collect();
    Performance { taken_at: snapshot.taken_at, confidence: CONFIDENCE, models }
}

fn judged(windows: &[PerformanceResult], asked: &Asked) -> Vec<Judged> {
    let passed = windows.len().saturating_sub(asked.windows.unwrap_or(WINDOWS));
    windows.iter().skip(passed).map(|window| Judged::of(window, asked)).collect()
}

impl Judged {
    fn of(result: &PerformanceResult, asked: &Asked) -> Self {
        let parts = result.parts.iter().filter(|part| asked.wants(part));
        let parts = parts.map(|part| Part::from(&**part)).collect();
        Self {
            window: result.span.into(),
            r#final: result.is_final,
            complete: result.missing.is_empty(),
            parts,
        }
    }
}

impl From<&PartPerformance> for Part {
    fn from(part: &PartPerformance) -> Self {
        Self {
            version: part.version.to_string(),
            segment: part.segment.as_str().to_owned(),
            predictions: part.predictions,
            labelled: part.labelled,
            uncountable: part.uncountable,
            coverage: part.coverage(),
            delay_median_seconds: part.delay_median_millis.map(|it| it as f64 / 1_000.0),
            metrics: part.metrics.iter().map(MetricView::from).collect(),
        }
    }
}

impl From<&Metric> for MetricView {
    fn from(metric: &Metric) -> Self {
        Self {
            name: metric.name,
            value: metric.value,
            interval: metric.interval.map(|it| [it.lower, it.upper]),
            exact_between: metric.bracket.map(|it| [it.lower, it.upper]),
        }
    }
}
