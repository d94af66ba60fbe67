//! The configuration file as written: one struct a mapping, doc comments become the reference.
//!
//! Owns the keys, their types, bounds and literal defaults. Checks nothing that needs two values:
//! that is [`super::validate`], the hop after. The hop before is [`super::structure`].

mod format;
mod join;
mod memory;
mod performance;
mod source;
mod state;

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use self::format::{
    RawAvro, RawGlue, RawInferenceMessage, RawProtobuf, RawRegistry, RawRegistryFraming,
};
pub(super) use self::join::RawJoin;
pub(super) use self::memory::RawMemory;
pub(super) use self::performance::{RawKeep, RawLabels, RawPerformance, RawTask};
pub(super) use self::source::RawTime;
pub(super) use self::source::{
    RawChangeEvents, RawEmbedded, RawEmbeddedForm, RawEventTime, RawFormat, RawSource, RawStart,
    RawTimeFormat,
};
pub(super) use self::state::{RawDurability, RawState};
use super::text::{DurationText, JobName, Label, Topic};

/// Configuration of one driftd job. Unknown keys are refused. Text may hold `${VARIABLE}` or
/// `${VARIABLE:-default}` from the environment; `$${` is a literal `${`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "driftd configuration")]
pub(super) struct RawConfig {
    /// Name of this job: its consumer group, and the source of its events. Two jobs on one Kafka
    /// need two names.
    pub(super) name: JobName,
    /// How to reach Kafka. May be left out where only files are replayed.
    pub(super) kafka: Option<RawKafka>,
    /// Topics of inference logs.
    #[schemars(length(min = 1, max = 64))]
    pub(super) sources: Vec<RawSource>,
    /// Watched models.
    #[schemars(length(min = 1, max = 1000))]
    pub(super) models: Vec<RawModel>,
    /// When a feature of a window counts as drifted.
    #[serde(default)]
    pub(super) detection: RawDetection,
    /// When an episode of drift opens and closes.
    #[serde(default)]
    pub(super) alerts: RawAlerts,
    /// Where `driftd run` keeps what it has counted, so that a restart goes on where it ended. Left
    /// out: every start reads the topics from `start`.
    pub(super) state: Option<RawState>,
    /// How several processes share the work. Without it one process reads all partitions.
    pub(super) scale_out: Option<RawScaleOut>,
    /// Events that ask for retraining. Left out: none are published.
    pub(super) retraining: Option<RawRetraining>,
    /// How `driftd launch` starts the jobs that were asked for.
    pub(super) launcher: Option<RawLauncher>,
    /// Bounds on memory. What this file asks for is added up, logged, and refused at the start when
    /// it is more than the limit.
    #[serde(default)]
    pub(super) memory: RawMemory,
    /// What is shown and written.
    #[serde(default)]
    pub(super) outputs: RawOutputs,
    /// Traces of driftd itself.
    #[serde(default)]
    pub(super) telemetry: RawTelemetry,
}

/// Connection to a Kafka cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Kafka")]
pub(super) struct RawKafka {
    /// Brokers to start from, each `host:port`.
    #[schemars(length(min = 1, max = 64))]
    pub(super) brokers: Vec<String>,
    /// Consumer group.
    #[schemars(length(min = 1, max = 249), extend("x-default" = "the job's `name`"))]
    pub(super) group: Option<String>,
    /// Consumer threads. Partitions are spread over them; one a core is a good start.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 256))]
    pub(super) consumers: u32,
    /// Name of this process, unlike that of any other in the group and the same after a restart,
    /// such as `${POD_NAME}` of a stateful set. With it a restart within `session.timeout.ms` moves
    /// no partitions. Left out: the process is a new member each time.
    #[schemars(length(min = 1, max = 200))]
    pub(super) instance: Option<String>,
    /// Further librdkafka properties, such as `security.protocol`. Those that driftd sets itself
    /// are refused.
    #[serde(default)]
    pub(super) properties: BTreeMap<String, PropertyValue>,
    /// librdkafka properties whose value is the content of a file, such as `sasl.password`.
    #[serde(default)]
    pub(super) property_files: BTreeMap<String, String>,
}

/// Value of a librdkafka property: text, a number, or true or false.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub(super) struct PropertyValue(
    #[schemars(extend("type" = ["string", "number", "boolean"]))] pub(super) serde_json::Value,
);

// May be a password.
impl fmt::Debug for PropertyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// One watched model. Each record of its topic that carries its name is one prediction.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Model")]
pub(super) struct RawModel {
    /// Name of the model, as in the records.
    pub(super) name: Label,
    /// Topic of its records: one of `sources[].topic`.
    pub(super) source: Topic,
    /// Version of the model, when all its records are of one version. Either this or
    /// `version_path`.
    pub(super) version: Option<Label>,
    /// Path to the version in a record, or `$headers.NAME`. Either this or `version`.
    pub(super) version_path: Option<String>,
    /// Versions followed at once; records of further ones are rejected and counted.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 64))]
    pub(super) versions_max: usize,
    /// Path to the identity of a prediction, by which its label finds it. Text, or a number or
    /// boolean taken as its JSON text. Read where there is `performance`. Predictions of one
    /// message that follow one another with the same identity are told apart by their place, from
    /// 0. An identity is bounded as a category is: a record with another value there is rejected.
    pub(super) prediction_id: Option<String>,
    /// File of the reference profile, `{model}` and `{version}` filled in; a relative path starts
    /// at the folder of the configuration file.
    #[schemars(length(min = 1, max = 4096))]
    pub(super) references: String,
    /// Windows in which the model is judged. Either this or `windows`.
    pub(super) window: Option<RawWindow>,
    /// Windows of several kinds at once. The first kind decides: it opens episodes and asks for
    /// retraining. The others are evaluated, shown, exported and written. Either this or `window`.
    #[schemars(length(min = 1, max = 8))]
    pub(super) windows: Option<Vec<RawWindow>>,
    /// Inputs of the model.
    #[schemars(length(min = 1, max = 10_000))]
    pub(super) features: Vec<RawFeature>,
    /// Outputs of the model, watched like features.
    #[serde(default)]
    #[schemars(length(max = 10_000))]
    pub(super) predictions: Vec<RawFeature>,
    /// Parts of the traffic that are watched on their own, beside all of it.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub(super) segments: Vec<RawSegment>,
    /// How good the model is, by labels that come later. Left out: it is not followed.
    pub(super) performance: Option<RawPerformance>,
}

/// Windows of one kind: of a `length`, of a number of `rows`, or `global`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Window")]
pub(super) struct RawWindow {
    /// Name of the windows: the label `window` of metrics. Different for each kind of a model.
    #[schemars(extend("x-default" = "`length` as written, else such as `5000-rows`, else `global`"))]
    pub(super) name: Option<Label>,
    /// Length of a window, at least `1s`. Either this, `rows` or `global`.
    pub(super) length: Option<DurationText>,
    /// Event time between the ends of two windows. With a `length`: shorter, and windows slide.
    /// With `rows`: how often is looked whether there are enough. With `global`: how often the
    /// window is judged.
    #[schemars(extend("x-default" = "`length`"))]
    pub(super) every: Option<DurationText>,
    /// Records that fill a window: it ends at the first multiple of `every` with so many. Either
    /// this, `length` or `global`.
    #[schemars(range(min = 1, max = 1_000_000_000_000_u64))]
    pub(super) rows: Option<u64>,
    /// One window that begins with the model version and never ends. Cannot decide. Either this,
    /// `length` or `rows`.
    #[serde(default)]
    pub(super) global: bool,
    /// Event time between provisional results of a window before its end, which decide nothing. For
    /// windows with a `length` only. Left out: there are none.
    pub(super) early: Option<DurationText>,
    /// Closed windows kept for the page and the API.
    #[serde(default = "hours_of_a_week")]
    #[schemars(range(min = 1, max = 10_000))]
    pub(super) history: usize,
    /// Shift of the windows' borders. Without it they are at multiples of `every` since
    /// 1970-01-01T00:00:00Z. Shared by all windows of a model: in `windows`, written in the first.
    #[schemars(extend("x-default" = "`0s`"))]
    pub(super) offset: Option<DurationText>,
    /// How long after its end, in event time, a window still takes records in. Shared like
    /// `offset`.
    #[schemars(extend("x-default" = "`5m`"))]
    pub(super) lateness: Option<DurationText>,
    /// How long after its end, in event time, a window's result is revised: when a partition that
    /// was not waited for brings records after all, the windows that they belong to are evaluated
    /// and written again, which decides nothing. Needs memory for each pane of that time. For
    /// models whose windows all have a `length`. Shared like `offset`.
    #[schemars(extend("x-default" = "`0s`: such records are counted as late"))]
    pub(super) revisions: Option<DurationText>,
    /// How long a window that has ended waits, by the clock on the wall, for partitions that fall
    /// behind. Shared like `offset`.
    #[schemars(extend("x-default" = "`10m`"))]
    pub(super) wait_max: Option<DurationText>,
    /// Panes held open at once for a model version and segment, counted per partition. A pane is as
    /// long as the greatest common divisor of every `length`, `every` and `early` of the model;
    /// with one `length` alone it is the window. Shared like `offset`.
    #[schemars(range(min = 2, max = 10_000), extend("x-default" = "`64`"))]
    pub(super) open_max: Option<usize>,
}

/// One watched value of a record.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Feature")]
pub(super) struct RawFeature {
    /// Name, as in the reference profile.
    pub(super) name: Label,
    /// Path to the value in a message: keys joined by `.`, list places as `[2]`, a dot inside a key
    /// as `\.`, the element of a list that is an object with a text at a key as `[name=age]`. `[]`,
    /// once at most, is every element of a list: `instances[].age`, `ages[]`,
    /// `rows[][3]`, or `[].age` where the message is the list. The message then has one record for
    /// each, and paths without `[]` the same value in all of them. All lists have one length.
    ///
    /// Beside the payload there are `$headers.NAME`, the text of a header, and `$key`, that of the
    /// message's key; a key of the payload that has such a name is written as `\$key`.
    pub(super) path: String,
    /// Type of the value.
    #[serde(rename = "type")]
    pub(super) kind: RawKind,
    /// Detector that decides.
    #[schemars(extend("x-default" = "of `detection.numeric` or `detection.categorical`, by `type`"))]
    pub(super) detector: Option<RawDetector>,
    /// Smallest effect worth an alarm, in the unit of the detector's statistic.
    #[schemars(
        extend("exclusiveMinimum" = 0),
        extend("x-default" = "that of `detection` if the detector is the one named there, else the detector's own")
    )]
    pub(super) minimum_effect: Option<f64>,
    /// Smallest change of the share of missing values worth an alarm.
    #[schemars(
        extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1),
        extend("x-default" = "`detection.missing_rate_effect`")
    )]
    pub(super) missing_rate_effect: Option<f64>,
    /// Smallest rise of the share of values that the reference does not name worth an alarm.
    /// Categorical only.
    #[schemars(
        extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1),
        extend("x-default" = "`detection.unseen_rate_effect`")
    )]
    pub(super) unseen_rate_effect: Option<f64>,
    /// Fewer records than this, in window or reference, are too few to judge.
    #[schemars(
        range(min = 1, max = 1_000_000_000_000_u64),
        extend("x-default" = "`detection.minimum_rows`")
    )]
    pub(super) minimum_rows: Option<u64>,
}

/// Type of a watched value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum RawKind {
    /// A number, compared with single precision. Half the work of `float64`.
    Float32,
    /// A number, compared with double precision.
    Float64,
    /// A whole number of 64 bits.
    Integer,
    /// Text with few different values.
    Categorical,
    /// True or false.
    Boolean,
}

/// A detector that may decide alone whether a feature drifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum RawDetector {
    /// Kolmogorov–Smirnov distance, between 0 and 1. Numeric only.
    Ks,
    /// Population stability index, from 0.
    Psi,
    /// Kullback–Leibler divergence in nats, from 0.
    Kl,
    /// Jensen–Shannon divergence in nats, between 0 and 0.69.
    Js,
}

/// Split of a model's traffic by the value at a path.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Segment")]
pub(super) struct RawSegment {
    /// Name of the split; a segment is called `name=value`.
    pub(super) name: Label,
    /// Path to the value in a record, or `$headers.NAME`, or `$key`.
    pub(super) path: String,
    /// Values that are segments of their own. Every other value is in the segment `__other__`.
    /// Either this or `top`.
    #[schemars(length(min = 1, max = 1000))]
    pub(super) values: Option<Vec<Label>>,
    /// Makes segments of so many values: the most frequent ones in the sample that the version's
    /// reference was built from, of equally frequent ones the first in byte order. They are frozen
    /// with the reference; every other value, and every value of a version without such a
    /// reference, is in the segment `__other__`. Either this or `values`.
    #[schemars(range(min = 1, max = 1000))]
    pub(super) top: Option<usize>,
}

/// When a feature of a window counts as drifted: the change is significant *and* large enough.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Detection")]
pub(super) struct RawDetection {
    /// Share of false alarms allowed among the alarms of a window (Benjamini–Hochberg over the
    /// model's features).
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub(super) false_discovery_rate: f64,
    /// Confidence with which the effect must exceed `minimum_effect`.
    #[schemars(extend("minimum" = 0.5, "exclusiveMaximum" = 1))]
    pub(super) confidence: f64,
    /// Fewer records than this, in window or reference, are too few to judge: the state is
    /// `insufficient_data`.
    #[schemars(range(min = 1, max = 1_000_000_000_000_u64))]
    pub(super) minimum_rows: u64,
    /// How `float32`, `float64` and `integer` features are judged.
    pub(super) numeric: RawNumericDetection,
    /// How `categorical` and `boolean` features are judged.
    pub(super) categorical: RawCategoricalDetection,
    /// Smallest change of the share of missing values worth an alarm.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub(super) missing_rate_effect: f64,
    /// Smallest rise of the share of values that the reference does not name worth an alarm.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub(super) unseen_rate_effect: f64,
}

impl Default for RawDetection {
    fn default() -> Self {
        Self {
            false_discovery_rate: 0.01,
            confidence: 0.95,
            minimum_rows: 500,
            numeric: RawNumericDetection::default(),
            categorical: RawCategoricalDetection::default(),
            missing_rate_effect: 0.1,
            unseen_rate_effect: 0.05,
        }
    }
}

/// How numeric features are judged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "NumericDetection")]
pub(super) struct RawNumericDetection {
    /// Detector that decides.
    pub(super) detector: RawDetector,
    /// Smallest effect worth an alarm, in the unit of the detector's statistic.
    #[schemars(
        extend("exclusiveMinimum" = 0),
        extend("x-default" = "`0.1` for `ks` and `psi`, `0.05` for `kl`, `0.0125` for `js`")
    )]
    pub(super) minimum_effect: Option<f64>,
}

impl Default for RawNumericDetection {
    fn default() -> Self {
        Self { detector: RawDetector::Ks, minimum_effect: None }
    }
}

/// How categorical features are judged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "CategoricalDetection")]
pub(super) struct RawCategoricalDetection {
    /// Detector that decides; not `ks`, which needs an order of the values.
    pub(super) detector: RawDetector,
    /// Smallest effect worth an alarm, in the unit of the detector's statistic.
    #[schemars(
        extend("exclusiveMinimum" = 0),
        extend("x-default" = "`0.1` for `psi`, `0.05` for `kl`, `0.0125` for `js`")
    )]
    pub(super) minimum_effect: Option<f64>,
}

impl Default for RawCategoricalDetection {
    fn default() -> Self {
        Self { detector: RawDetector::Psi, minimum_effect: None }
    }
}

/// When an episode of drift opens and closes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Alerts")]
pub(super) struct RawAlerts {
    /// Drifted windows that open an episode, among the last `of`.
    #[schemars(range(min = 1, max = 64))]
    pub(super) raise: u32,
    /// Windows looked back at.
    #[schemars(range(min = 1, max = 64))]
    pub(super) of: u32,
    /// Quiet windows in a row that close an episode.
    #[schemars(range(min = 1, max = 1000))]
    pub(super) clear: u32,
}

impl Default for RawAlerts {
    fn default() -> Self {
        Self { raise: 2, of: 3, clear: 2 }
    }
}

/// How several processes of one consumer group share the work: each reads some partitions and
/// decides some models. Whatever one of them has done goes on in the others when it ends.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ScaleOut")]
pub(super) struct RawScaleOut {
    /// Topic through which those that read partitions tell those that decide. `driftd check
    /// --create-topics` makes it.
    #[schemars(extend("x-default" = "`name` and `.partials`"))]
    pub(super) partials_topic: Option<Topic>,
    /// Compacted topic in which all keep what they go on from.
    #[schemars(extend("x-default" = "`name` and `.state`"))]
    pub(super) state_topic: Option<Topic>,
    /// Partitions of each of the two, for good. All windows of a model lie in one of them, so more
    /// than there are models serve nobody.
    #[serde(default = "eight")]
    #[schemars(range(min = 1, max = 1000))]
    pub(super) lanes: u32,
    /// Replicas that each is created with.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 10))]
    pub(super) replicas: u32,
    /// How often what was read is passed on and stored: what was read since is read again after a
    /// crash.
    #[serde(default = "one_second")]
    pub(super) commit_interval: DurationText,
}

/// Events that ask for retraining.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Retraining")]
pub(super) struct RawRetraining {
    /// Topic of the requests.
    #[serde(default = "retraining_topic")]
    pub(super) topic: Topic,
    /// Topic on which the launcher, or a job itself, reports what became of a request.
    #[serde(default = "status_topic")]
    pub(super) status_topic: Topic,
    /// Which episodes make a request.
    #[schemars(length(min = 1, max = 64))]
    pub(super) policies: Vec<RawPolicy>,
}

/// Which episodes make a request for retraining.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Policy")]
pub(super) struct RawPolicy {
    /// Name of the policy; part of the event's identity.
    pub(super) name: JobName,
    /// Features with an open episode, at the same time, that make a request.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000))]
    pub(super) minimum_features: u32,
    /// Features and predictions that count.
    #[schemars(length(min = 1, max = 10_000), extend("x-default" = "all"))]
    pub(super) features: Option<Vec<Label>>,
    /// Time after a request, in event time, without another one for the model.
    #[serde(default = "one_day")]
    pub(super) cooldown: DurationText,
    /// Time after a request, in event time, in which it holds the next one back unless its job
    /// has ended.
    #[serde(default = "one_day")]
    pub(super) expiry: DurationText,
}

/// How `driftd launch` starts jobs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Launcher")]
pub(super) struct RawLauncher {
    /// Program and its arguments. The event is in the file named by `DRIFTD_EVENT_FILE`.
    #[schemars(length(min = 1, max = 256))]
    pub(super) command: Vec<String>,
    /// Folder the command runs in.
    #[schemars(length(min = 1), extend("x-default" = "the launcher's own"))]
    pub(super) working_directory: Option<String>,
    /// A job that runs longer is stopped.
    #[serde(default = "six_hours")]
    pub(super) timeout: DurationText,
    /// Jobs at once; further requests wait.
    #[serde(default = "one_job")]
    #[schemars(range(min = 1, max = 64))]
    pub(super) concurrency_max: usize,
    /// A request for a model that had a job this recently is rejected.
    #[serde(default = "one_hour")]
    pub(super) cooldown: DurationText,
    /// Consumer group of the launcher.
    #[schemars(length(min = 1, max = 249), extend("x-default" = "the job's `name` and `-launcher`"))]
    pub(super) group: Option<String>,
}

/// What is shown and written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Outputs")]
pub(super) struct RawOutputs {
    /// Address of metrics, API and page, `host:port`; port 0 takes a free one.
    pub(super) listen: String,
    /// Topic for one JSON object a window and feature. Left out: none is written.
    pub(super) results_topic: Option<Topic>,
    /// Features of a model with metrics of their own; further ones are in the aggregates only.
    #[schemars(range(max = 10_000))]
    pub(super) features_exported_max: usize,
}

impl Default for RawOutputs {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9464".into(), results_topic: None, features_exported_max: 200 }
    }
}

/// Traces of driftd itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Telemetry")]
pub(super) struct RawTelemetry {
    /// OTLP/HTTP endpoint, such as `http://127.0.0.1:4318`. Left out: no traces are made.
    pub(super) otlp_endpoint: Option<String>,
}

fn one() -> u32 {
    1
}

fn one_job() -> usize {
    1
}

fn four() -> usize {
    4
}

fn hours_of_a_week() -> usize {
    7 * 24
}

fn three() -> u32 {
    3
}

fn eight() -> u32 {
    8
}

fn one_second() -> DurationText {
    DurationText::of("1s")
}

fn one_hour() -> DurationText {
    DurationText::of("1h")
}

fn six_hours() -> DurationText {
    DurationText::of("6h")
}

fn one_day() -> DurationText {
    DurationText::of("1d")
}

fn retraining_topic() -> Topic {
    Topic("driftd.retraining".into())
}

fn status_topic() -> Topic {
    Topic("driftd.retraining.status".into())
}
