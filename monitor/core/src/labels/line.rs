//! One line of results: a window of a version and segment whose labels are all there.
//!
//! Before: [`PerformanceResult`]. After: the daemon writes it to the results topic, beside the
//! lines of features, which have no `performance`.

use std::collections::BTreeMap;

use driftd_catalog::Timestamp;
use serde::Serialize;

use super::{Metric, PartPerformance, PerformanceResult};
use crate::line::LineHead;

/// Name of the windows, as of the other lines.
const WINDOW: &str = "performance";

/// A window of a version and segment, as written.
#[derive(Debug, Serialize)]
pub(crate) struct PerformanceLine<'a> {
    window_start: Timestamp,
    window_end: Timestamp,
    window: &'static str,
    r#final: bool,
    revision: u32,
    model: &'a str,
    version: &'a str,
    segment: &'a str,
    rows: u64,
    labelled: u64,
    uncountable: u64,
    complete: bool,
    coverage: f64,
    delay_median_ms: Option<i64>,
    performance: BTreeMap<&'static str, MetricLine>,
    #[serde(skip)]
    result: &'a PerformanceResult,
}

/// A metric, as written.
#[derive(Debug, Serialize)]
struct MetricLine {
    value: f64,
    /// Where the true value is with 95% confidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<[f64; 2]>,
    /// Between which values the exact one lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    exact_between: Option<[f64; 2]>,
}

impl<'a> PerformanceLine<'a> {
    /// Returns one line for each version and segment.
    pub(crate) fn of(
        model: &'a str,
        result: &'a PerformanceResult,
    ) -> impl Iterator<Item = Self> + use<'a> {
        result.parts.iter().map(move |part| Self::new(model, result, part))
    }

    fn new(model: &'a str, result: &'a PerformanceResult, part: &'a PartPerformance) -> Self {
        Self {
            window_start: result.span.start(),
            window_end: result.span.end(),
            window: WINDOW,
            r#final: result.is_final,
            revision: 0,
            model,
            version: &part.version,
            segment: part.segment.as_str(),
            rows: part.predictions,
            labelled: part.labelled,
            uncountable: part.uncountable,
            complete: result.missing.is_empty(),
            coverage: part.coverage(),
            delay_median_ms: part.delay_median_millis,
            performance: part.metrics.iter().map(|it| (it.name, MetricLine::from(it))).collect(),
            result,
        }
    }

    pub(crate) fn head(&self) -> LineHead<'a> {
        let names = [self.model, self.version, self.segment, WINDOW];
        LineHead::of_window(self.result.span, names, self.rows)
    }

    /// Returns what orders lines of one model version.
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.model, self.version)
    }
}

impl From<&Metric> for MetricLine {
    fn from(metric: &Metric) -> Self {
        Self {
            value: metric.value,
            interval: metric.interval.map(|it| [it.lower, it.upper]),
            exact_between: metric.bracket.map(|it| [it.lower, it.upper]),
        }
    }
}
