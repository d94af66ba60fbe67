//! One line of results: a window and a feature, with every statistic and what it was decided from.
//!
//! Before: [`WindowResult`]. After: `driftd replay` writes lines to a file, the daemon to the
//! results topic.

use std::borrow::Cow;

use driftd_catalog::{Timestamp, WindowId, WindowSpan};
use driftd_detectors::DetectorResult;
use serde::{Deserialize, Serialize};

use crate::result::{Cells, FeatureResult, Histogram, SpecialCounts, WindowResult};

/// A feature in a closed window, as written.
#[derive(Debug, Serialize)]
pub struct FeatureLine<'a> {
    window_start: Timestamp,
    window_end: Timestamp,
    window: &'a str,
    decides: bool,
    r#final: bool,
    revision: u32,
    model: &'a str,
    version: &'a str,
    segment: &'a str,
    feature: &'a str,
    role: &'static str,
    state: &'static str,
    score: Option<f64>,
    deciding: Option<&'static str>,
    rows: u64,
    complete: bool,
    reference: Option<&'a str>,
    reference_rows: u64,
    current_rows: u64,
    minimum_detectable_effect: Option<f64>,
    detectors: Vec<DetectorLine>,
    counts: Option<CountsLine<'a>>,
}

/// What a line is about: no two lines of a run agree in it.
#[derive(Debug, Deserialize)]
pub(crate) struct LineHead<'a> {
    window_start: Timestamp,
    pub(crate) window_end: Timestamp,
    #[serde(borrow)]
    pub(crate) model: Cow<'a, str>,
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(borrow)]
    segment: Cow<'a, str>,
    /// Absent where the line is about no feature.
    #[serde(borrow, default)]
    feature: Cow<'a, str>,
    #[serde(borrow)]
    window: Cow<'a, str>,
    r#final: bool,
    revision: u32,
    rows: u64,
}

impl<'a> LineHead<'a> {
    /// Returns that of a final line about no feature.
    pub(crate) fn of_window(
        span: WindowSpan,
        [model, version, segment, window]: [&'a str; 4],
        rows: u64,
    ) -> Self {
        Self {
            window_start: span.start(),
            window_end: span.end(),
            model: model.into(),
            version: version.into(),
            segment: segment.into(),
            feature: "".into(),
            window: window.into(),
            r#final: true,
            revision: 0,
            rows,
        }
    }

    /// Returns a name of the line. Parts are told apart by a character that no name has.
    pub(crate) fn id(&self) -> String {
        let Self { window_start, window_end, model, version, segment, feature, window, .. } = self;
        // Of a window that has not ended there may be several, each with more rows.
        let edition = if self.r#final { u64::from(self.revision) } else { self.rows };
        let is_final = self.r#final;
        format!(
            "{model}\n{version}\n{segment}\n{window}\n{window_start}\n{window_end}\n{is_final}\n\
             {edition}\n{feature}"
        )
    }
}

#[derive(Debug, Serialize)]
struct DetectorLine {
    detector: &'static str,
    statistic: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    statistic_upper: Option<f64>,
    p_value: Option<f64>,
    adjusted_p_value: Option<f64>,
    lower_bound: Option<f64>,
    threshold: Option<f64>,
    score: Option<f64>,
}

#[derive(Debug, Serialize)]
struct CountsLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    edges: Option<&'a [f64]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    levels: Option<&'a [Box<str>]>,
    reference: &'a [u64],
    current: &'a [u64],
    reference_special: SpecialLine,
    current_special: SpecialLine,
}

#[derive(Debug, Serialize)]
struct SpecialLine {
    null: u64,
    nan: u64,
    neg_inf: u64,
    pos_inf: u64,
    unseen: u64,
    out_of_range: u64,
}

impl<'a> FeatureLine<'a> {
    /// Returns one line for each watched column of `result`.
    pub fn of(result: &'a WindowResult) -> impl Iterator<Item = Self> {
        result.features.iter().map(|feature| Self::new(result, feature))
    }

    pub(crate) fn head(&self) -> LineHead<'a> {
        LineHead {
            window_start: self.window_start,
            window_end: self.window_end,
            model: self.model.into(),
            version: self.version.into(),
            segment: self.segment.into(),
            feature: self.feature.into(),
            window: self.window.into(),
            r#final: self.r#final,
            revision: self.revision,
            rows: self.rows,
        }
    }

    fn new(result: &'a WindowResult, feature: &'a FeatureResult) -> Self {
        let WindowId { span, model, segment, name } = &result.id;
        let verdict = &feature.verdict;
        Self {
            window_start: span.start(),
            window_end: span.end(),
            window: name,
            decides: result.decides,
            r#final: result.edition.is_final,
            revision: result.edition.revision,
            model: model.name(),
            version: model.version(),
            segment: segment.as_str(),
            feature: &feature.name,
            role: feature.role.as_str(),
            state: verdict.state.as_str(),
            score: verdict.score,
            deciding: verdict.deciding.map(driftd_detectors::DetectorKind::as_str),
            rows: result.rows,
            complete: result.complete,
            reference: result.reference.as_deref(),
            reference_rows: verdict.reference_rows,
            current_rows: verdict.current_rows,
            minimum_detectable_effect: verdict.minimum_detectable_effect,
            detectors: verdict.results.iter().map(DetectorLine::from).collect(),
            counts: feature.histogram.as_ref().map(CountsLine::from),
        }
    }
}

impl From<&DetectorResult> for DetectorLine {
    fn from(result: &DetectorResult) -> Self {
        Self {
            detector: result.detector.as_str(),
            statistic: result.statistic,
            statistic_upper: result.statistic_upper,
            p_value: result.p_value,
            adjusted_p_value: result.adjusted_p_value,
            lower_bound: result.lower_bound,
            threshold: result.threshold,
            score: result.score,
        }
    }
}

impl<'a> From<&'a Histogram> for CountsLine<'a> {
    fn from(histogram: &'a Histogram) -> Self {
        let (edges, levels) = match &histogram.cells {
            Cells::Edges(edges) => (Some(edges.as_slice()), None),
            Cells::Levels(levels) => (None, Some(levels.names())),
        };
        Self {
            edges,
            levels,
            reference: &histogram.reference,
            current: &histogram.current,
            reference_special: histogram.reference_special.into(),
            current_special: histogram.current_special.into(),
        }
    }
}

impl From<SpecialCounts> for SpecialLine {
    fn from(counts: SpecialCounts) -> Self {
        let SpecialCounts { null, nan, neg_inf, pos_inf, unseen, out_of_range } = counts;
        Self { null, nan, neg_inf, pos_inf, unseen, out_of_range }
    }
}
