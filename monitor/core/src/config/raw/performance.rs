//! The section `models[].performance` of the configuration file as written.
//!
//! Beside [`super`]. After: [`super::super::validate`] finds the predictions and the label source
//! that it names.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::text::{DurationText, Label, Topic};

/// How good a model is, by labels that come later.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Performance")]
pub(in crate::config) struct RawPerformance {
    /// What the model predicts.
    pub(in crate::config) task: RawTask,
    /// Name of the prediction, of `predictions`, that is the probability of the positive class.
    /// For `binary`.
    pub(in crate::config) score: Option<Label>,
    /// Least score by which the positive class is predicted, where there is no `predicted`. For
    /// `binary`.
    #[schemars(range(min = 0, max = 1), extend("x-default" = "`0.5`"))]
    pub(in crate::config) threshold: Option<f64>,
    /// Name of the prediction, of `predictions`, that is the predicted class, or the predicted
    /// number for `regression`. `binary` may have `score` instead, or both.
    pub(in crate::config) predicted: Option<Label>,
    /// Text of the positive class, in labels and in `predicted`. A number or boolean is taken as
    /// its JSON text, and equal numbers are equal however they are written. For `binary`.
    #[schemars(extend("x-default" = "`1`, and `true`"))]
    pub(in crate::config) positive: Option<Label>,
    /// Text of the negative class. A label that is neither is counted and left out. For `binary`.
    #[schemars(extend("x-default" = "`0`, and `false`"))]
    pub(in crate::config) negative: Option<Label>,
    /// Texts of the classes. A label of another one is counted and left out. For `multiclass`.
    #[schemars(length(min = 2, max = 64))]
    pub(in crate::config) classes: Option<Vec<Label>>,
    /// Where labels come from.
    pub(in crate::config) labels: RawLabels,
    /// Length of the windows of event time, by predictions, in which outcomes are counted. A window
    /// is final when `horizon` has passed.
    #[serde(default = "one_day")]
    pub(in crate::config) window: DurationText,
    /// How long after its prediction a label counts, by its own time. Predictions are kept on disk
    /// as long.
    #[serde(default = "thirty_days")]
    pub(in crate::config) horizon: DurationText,
    /// Share of predictions whose labels are followed, chosen by their identity: the same ones
    /// after a restart, and everywhere. Less of it takes less disk, and all that is shown says it.
    #[serde(default = "all")]
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    pub(in crate::config) sample: f64,
}

/// What a model predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(in crate::config) enum RawTask {
    /// One of two classes.
    Binary,
    /// One of several classes.
    Multiclass,
    /// A number.
    Regression,
}

/// Where the labels of a model are. Each record is one label; the source's event time is when it
/// was given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Labels")]
pub(in crate::config) struct RawLabels {
    /// Topic of labels: one of `sources[].topic`, which carries nothing else.
    pub(in crate::config) source: Topic,
    /// Path to the identity of the prediction that it is for: what the prediction has at
    /// `prediction_id`.
    pub(in crate::config) prediction_id: String,
    /// Path to the label.
    pub(in crate::config) value: String,
    /// Path to which of the predictions with that identity it is for, from 0: the place among the
    /// records of one message that follow one another with it. Left out: the first.
    pub(in crate::config) row: Option<String>,
    /// Path to a number that grows where a label is corrected without another time. One that comes
    /// behind the watermark of its partition is late and does not count, whatever its revision: let
    /// a correction have a time of its own, or raise the source's `time.out_of_orderness`.
    pub(in crate::config) revision: Option<String>,
    /// Path to a boolean: a label that is true there takes the label of its prediction away, as one
    /// that counts instead of it.
    pub(in crate::config) deleted: Option<String>,
    /// Which of several labels of one prediction counts, by their times, then revisions.
    #[serde(default)]
    pub(in crate::config) keep: RawKeep,
}

/// Which of several labels counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(in crate::config) enum RawKeep {
    /// The newest: labels are corrected.
    #[default]
    Last,
    /// The oldest: what comes later is another event, and takes nothing away either.
    First,
}

fn one_day() -> DurationText {
    DurationText::of("1d")
}

fn thirty_days() -> DurationText {
    DurationText::of("30d")
}

fn all() -> f64 {
    1.0
}
