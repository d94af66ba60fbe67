//! The valid configuration: what every other part takes. Each value here has been checked.
//!
//! Before: `raw` is the file as written, `validate` the only way from there to a [`Config`].
//! After: [`crate::shard`] and [`crate::pipeline`] run by it, the edge connects by it.

mod duration;
mod error;
mod format;
mod interpolate;
mod mend;
mod mismatch;
mod performance;
mod raw;
mod registry;
mod schema;
mod size;
mod structure;
#[cfg(test)]
mod tests;
mod text;
mod validate;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use driftd_alerts::{HysteresisPolicy, RetrainPolicy};
use driftd_catalog::{ModelId, NameError, SegmentId};
use driftd_detectors::{DecisionPolicy, FeaturePolicy};
use driftd_ingest::{FeatureKind, HalfForm, HalfSchema, SourceSchema};

use error::Findings;
pub use error::{ConfigError, ConfigErrors};
pub use format::{AvroConfig, ProtobufConfig, ProtobufFiles, SourceFormat};
pub(crate) use performance::is_same_class;
pub use performance::{BinaryClasses, Keep, LabelsConfig, PerformanceConfig, Sample, Task};
pub use registry::{AwsKeys, Credentials, GlueConfig, RegistryConfig, RegistryFraming};
pub use schema::schema;

/// Largest row that processes share through a topic, in bytes: what the topic is made to take.
pub const SHARED_ROW_BYTES_MAX: usize = 32 << 20;

/// Reads and checks a configuration file. Returns all its problems at once if there are any.
///
/// `environment` looks up the variables that the file refers to. File paths in it stay as written;
/// relative ones start at the file's folder.
pub fn load(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigErrors> {
    let mut findings = Findings::default();
    let config = structure::read(text, environment, &mut findings)
        .and_then(|raw| validate::validate(&raw, &mut findings));
    findings.conclude(config)
}

/// Reads and checks the name of a job and its connection to Kafka alone: whoever looks at a topic
/// for the first time has nothing else yet.
pub fn load_kafka(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<KafkaConfig, ConfigErrors> {
    let mut findings = Findings::default();
    let config = structure::read_kafka(text, environment, &mut findings)
        .and_then(|raw| validate::validate(&raw, &mut findings));
    let kafka = config.and_then(|it| {
        let hint = "add it, with `brokers`";
        it.kafka.ok_or_else(|| findings.add("kafka", "is not there", hint))
    });
    findings.conclude(kafka)
}

/// Everything one daemon does.
#[derive(Debug)]
pub struct Config {
    /// Name of this job: its consumer group, client id and event source.
    pub name: Arc<str>,
    /// How to reach Kafka. Absent where only files are replayed.
    pub kafka: Option<KafkaConfig>,
    /// Topics of inference logs.
    pub sources: Vec<SourceConfig>,
    /// Watched models.
    pub models: Vec<ModelConfig>,
    /// Error rate over the features of a window.
    pub decision: DecisionPolicy,
    /// When an episode opens and closes.
    pub hysteresis: HysteresisPolicy,
    /// Where state is kept. Absent: every start begins anew.
    pub state: Option<StateConfig>,
    /// How several processes share the work. Absent: one does all of it.
    pub scale_out: Option<ScaleOutConfig>,
    /// Where retraining events go. Absent: none are made.
    pub retraining: Option<RetrainingConfig>,
    /// How requested jobs are started. Needed by `driftd launch` only.
    pub launcher: Option<LauncherConfig>,
    /// Bounds on memory.
    pub memory: MemoryConfig,
    /// What is shown and written.
    pub outputs: OutputsConfig,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
}

impl Config {
    /// Returns the index into [`Config::models`] of a version's model.
    pub(crate) fn model_of(&self, id: &ModelId) -> Option<usize> {
        self.models.iter().position(|it| *it.name == *id.name())
    }

    /// Returns the index into [`Config::sources`] of a topic.
    pub fn source_of(&self, topic: &str) -> Option<usize> {
        self.sources.iter().position(|it| &*it.topic == topic)
    }

    /// Returns what the job is called in the events that it sends.
    pub fn event_source(&self) -> String {
        format!("/driftd/{}", self.name)
    }
}

/// Connection to a Kafka cluster.
#[derive(Clone)]
pub struct KafkaConfig {
    /// `host:port`, comma separated.
    pub brokers: String,
    /// What brokers call this client in logs and quotas.
    pub client_id: String,
    /// Consumer group; offsets are committed there for lag tools only.
    pub group: String,
    /// Consumer threads; partitions are spread over them.
    pub consumers: u32,
    /// Name of this process within its group, the same after a restart.
    pub instance: Option<String>,
    /// Further librdkafka properties, none of them one that driftd owns.
    pub properties: Vec<(String, String)>,
    /// librdkafka properties whose value is the content of a file, read when a client is made.
    pub property_files: Vec<(String, PathBuf)>,
}

// The values of properties may be passwords.
impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.properties.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("client_id", &self.client_id)
            .field("group", &self.group)
            .field("consumers", &self.consumers)
            .field("instance", &self.instance)
            .field("properties", &names)
            .field("property_files", &self.property_files)
            .finish()
    }
}

/// Where counts, positions and decisions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateConfig {
    /// The folder, as written.
    pub folder: PathBuf,
    /// How often what changed is stored.
    pub commit_interval_millis: i64,
    /// What stored state survives.
    pub durability: Durability,
}

/// How several processes of one consumer group share the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScaleOutConfig {
    /// Topic through which those that read tell those that decide.
    pub partials_topic: String,
    /// Topic in which both keep what they go on from.
    pub state_topic: String,
    /// Partitions of each of the two: models are spread over them.
    pub lanes: u32,
    /// Replicas that each is created with.
    pub replicas: u32,
    /// How often what was read is passed on and stored.
    pub commit_interval_millis: i64,
}

/// What stored state survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process.
    Process,
    /// The end of the machine.
    Power,
}

/// Where the first start of a job begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstStart {
    /// At the oldest retained record.
    Earliest,
    /// After the newest record.
    Latest,
}

/// One topic of inference logs.
#[derive(Debug)]
pub struct SourceConfig {
    /// Topic name; a replayed file takes its place.
    pub topic: Arc<str>,
    /// Where to begin.
    pub start: FirstStart,
    /// What messages are written in.
    pub format: SourceFormat,
    /// How records are read. Its models are [`SourceConfig::models`], in order.
    pub schema: Arc<SourceSchema>,
    /// Index into [`Config::models`] of each model of the schema.
    pub models: Vec<usize>,
    /// What its records are of those models.
    pub content: Content,
    /// Topic for records that could not be read. Absent: they are counted only.
    pub dead_letter_topic: Option<String>,
    /// Largest accepted payload.
    pub payload_bytes_max: usize,
    /// Most records of one message.
    pub rows_max: usize,
    /// How its requests and responses are joined. Absent: each message is whole.
    pub join: Option<Arc<JoinConfig>>,
    /// The rules of event time in this topic.
    pub time: TimeConfig,
}

impl SourceConfig {
    /// Returns the models that its records are counted for: of labels, none.
    pub(crate) fn counted_models(&self) -> &[usize] {
        match self.content {
            Content::Predictions => &self.models,
            Content::Labels => &[],
        }
    }
}

/// What the records of a topic are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Predictions.
    Predictions,
    /// Labels of predictions.
    Labels,
}

/// How requests and responses that are messages of their own are joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinConfig {
    /// Where a message says whose half it is.
    pub half: HalfSchema,
    /// A half waits until the newest record time of its partition is further than this past what it
    /// was when the half came.
    pub within_millis: i64,
    /// What those that wait in a partition may take.
    pub bytes_max: u64,
    /// How many may wait in a partition.
    pub records_max: u64,
}

/// How far event time may be out of order, and when a partition stops being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeConfig {
    /// A partition's watermark trails its newest event time by this much.
    pub out_of_orderness_millis: i64,
    /// A partition read to its end and silent for this long is not waited for.
    pub idle_timeout_millis: i64,
    /// An event time further than this after Kafka's record time is held to that limit.
    pub future_skew_max_millis: i64,
    /// A partition further ahead of the slowest than this is paused.
    pub drift_max_millis: i64,
}

/// One watched model.
#[derive(Debug)]
pub struct ModelConfig {
    /// Name, as in the records.
    pub name: Arc<str>,
    /// Index into [`Config::sources`].
    pub source: usize,
    /// Where its reference profiles lie.
    pub references: ReferencePath,
    /// Features first, then predictions, in the order of the source schema's columns.
    pub features: Vec<FeatureConfig>,
    /// Segments watched beside `all`, in the order of the source schema's segment columns.
    pub segments: Vec<SegmentConfig>,
    /// What its records are counted in.
    pub pane: PaneConfig,
    /// Its windows: at least one kind. The first one decides.
    pub windows: Vec<WindowConfig>,
    /// Versions followed at once; more are counted and left out.
    pub versions_max: usize,
    /// How its performance is followed. Absent: it is not.
    pub performance: Option<PerformanceConfig>,
}

/// Path of a model's reference profile, with `{model}` and `{version}` to be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferencePath(pub(crate) String);

impl ReferencePath {
    /// Returns the path of one version's profile. Text from records cannot leave the folder:
    /// characters other than letters, digits, `.`, `_` and `-` become `_`, and so does a leading
    /// dot.
    pub fn of(&self, model: &ModelId) -> PathBuf {
        let filled = self
            .0
            .replace("{model}", &path_part(model.name()))
            .replace("{version}", &path_part(model.version()));
        PathBuf::from(filled)
    }
}

fn path_part(name: &str) -> String {
    name.char_indices()
        .map(|(index, c)| match c {
            '.' if index == 0 => '_',
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => c,
            _ => '_',
        })
        .collect()
}

/// What a watched column is to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An input.
    Feature,
    /// An output.
    Prediction,
}

impl Role {
    /// Returns the text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Feature => "feature",
            Self::Prediction => "prediction",
        }
    }
}

/// One watched feature or prediction.
#[derive(Clone, Debug)]
pub struct FeatureConfig {
    /// Name, as in the reference profile.
    pub name: Arc<str>,
    /// Input or output of the model.
    pub role: Role,
    /// Type of the column.
    pub kind: FeatureKind,
    /// When it counts as drifted.
    pub policy: FeaturePolicy,
}

/// One segmentation: a segment for each of some values, and one for all others.
#[derive(Clone, Debug)]
pub struct SegmentConfig {
    /// Name, the part before `=` in a segment's id.
    pub name: Arc<str>,
    /// Values with a segment of their own; every other value shares [`OTHER_SEGMENT`].
    pub values: SegmentValues,
}

/// Which values have a segment of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentValues {
    /// These.
    Listed(Vec<Arc<str>>),
    /// So many, the most frequent ones in the sample that a version's reference was built from:
    /// [`crate::reference::ModelReference::top_values`] has them. A version without reference has
    /// none.
    Top(usize),
}

impl SegmentValues {
    /// Returns whether they are those of a version's reference.
    pub(crate) fn are_top(&self) -> bool {
        match self {
            Self::Listed(_) => false,
            Self::Top(_) => true,
        }
    }
}

/// Value of the segment that holds the records of all other values.
pub const OTHER_SEGMENT: &str = "__other__";

/// Panes of one model: the tumbling spans of event time in which its records are counted. Its
/// windows are made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaneConfig {
    /// Length; panes start at multiples of it since the epoch, shifted by `offset_millis`. Borders
    /// of windows are borders of panes.
    pub length_millis: i64,
    /// Shift of the borders of windows and panes.
    pub offset_millis: i64,
    /// Records are added this long after a pane's end, in event time.
    pub lateness_millis: i64,
    /// Closed panes are kept this long, in event time, for what a partition brings after all.
    pub revisions_millis: i64,
    /// A pane that waits longer than this, in wall-clock time, is closed without the missing
    /// partitions.
    pub wait_max_millis: i64,
    /// Panes open at once for one model version and segment, counted per source partition.
    pub open_max: usize,
}

/// Windows of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowConfig {
    /// Name within the model, for example `1h`: the value of the `window` label.
    pub name: Arc<str>,
    /// What a window holds.
    pub kind: WindowKind,
    /// Windows end at multiples of this since the epoch, shifted by the panes' offset.
    pub every_millis: i64,
    /// Event time between provisional results of a window that has not ended. Absent: none.
    pub early_millis: Option<i64>,
    /// Closed windows kept for the page and the API.
    pub history: usize,
}

impl WindowConfig {
    /// Returns how far before its end a window may begin, where that is known.
    pub(crate) fn reach_millis(&self) -> i64 {
        match self.kind {
            WindowKind::Length { length_millis } => length_millis,
            WindowKind::Rows { .. } | WindowKind::Global => self.every_millis,
        }
    }
}

/// What a window holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowKind {
    /// The records of so much event time: tumbling when it is as long as the time between two ends,
    /// sliding when it is longer.
    Length {
        /// How much.
        length_millis: i64,
    },
    /// At least so many records.
    Rows {
        /// How many, over all segments.
        rows: u64,
    },
    /// Every record of the version so far.
    Global,
}

/// Retraining events.
#[derive(Clone, Debug)]
pub struct RetrainingConfig {
    /// Topic of requests.
    pub topic: String,
    /// Topic of status reports.
    pub status_topic: String,
    /// Which episodes make a request.
    pub policies: Vec<RetrainPolicy>,
}

/// The launcher of jobs.
#[derive(Clone, Debug)]
pub struct LauncherConfig {
    /// Program and arguments; the event's path is in `DRIFTD_EVENT_FILE`.
    pub command: Vec<String>,
    /// Folder the command runs in.
    pub working_directory: Option<PathBuf>,
    /// A job that runs longer is stopped.
    pub timeout_millis: u64,
    /// Jobs at once; further requests wait.
    pub concurrency_max: usize,
    /// A model that had a job this recently is refused.
    pub cooldown_millis: u64,
    /// Consumer group of the launcher.
    pub group: String,
}

/// Bounds on memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryConfig {
    /// What the process may use. Absent: what the system allows it.
    pub limit_bytes: Option<u64>,
    /// Messages that each consumer thread fetches ahead.
    pub fetch_queue_bytes: u64,
}

/// What is shown and written.
#[derive(Clone, Debug)]
pub struct OutputsConfig {
    /// Address of metrics, API and page.
    pub listen: String,
    /// Topic for one JSON line a window and feature. Absent: none is written.
    pub results_topic: Option<String>,
    /// Features of a model with series of their own; the rest is counted in aggregates only.
    pub features_exported_max: usize,
}

/// Logs and traces of the daemon itself.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// OTLP/HTTP endpoint for traces. Absent: none are made.
    pub otlp_endpoint: Option<String>,
}

impl JoinConfig {
    /// Returns which messages are joined, as text. Without the bounds: as with other bounds, what
    /// waits and is counted goes on where they are raised.
    pub(crate) fn described(&self) -> String {
        let Self { half, within_millis, bytes_max: _, records_max: _ } = self;
        let HalfSchema { id, side, request, response, form } = half;
        let (id, side) = (id.as_str(), side.as_str());
        let described = format!("{id:?} {side:?} {request:?} {response:?} {within_millis}");
        match form {
            HalfForm::Json => described,
            HalfForm::InferenceJson | HalfForm::InferenceProtobuf => {
                format!("{described} of {form:?}")
            }
        }
    }
}

impl WindowConfig {
    /// Returns the length of the slices that a window's records are kept in: borders of windows and
    /// provisional results are borders of slices.
    pub fn slice_millis(&self) -> i64 {
        match self.kind {
            WindowKind::Length { length_millis } => {
                let ends = gcd(length_millis, self.every_millis);
                self.early_millis.map_or(ends, |early| gcd(ends, early))
            }
            WindowKind::Rows { .. } | WindowKind::Global => self.every_millis,
        }
    }
}

/// Returns the greatest common divisor of two lengths of time.
fn gcd(one: i64, other: i64) -> i64 {
    if other == 0 { one } else { gcd(other, one % other) }
}

impl ModelConfig {
    /// Returns the windows that open episodes and ask for retraining; the others are shown beside
    /// them.
    ///
    /// # Panics
    /// Never: a model without windows is not accepted.
    pub fn deciding(&self) -> &WindowConfig {
        self.windows.first().expect("a model has windows")
    }

    /// Returns the length of the slices that records of windows are kept in. What may be revised is
    /// kept pane by pane.
    pub fn slice_millis(&self, window: &WindowConfig) -> i64 {
        if 0 < self.pane.revisions_millis { self.pane.length_millis } else { window.slice_millis() }
    }

    /// Returns the id of one version of this model.
    pub fn id(&self, version: &str) -> Result<ModelId, NameError> {
        ModelId::try_new(&self.name, version)
    }

    /// Returns how many segments a version's records are counted in at most, besides all of them.
    pub fn segments_max(&self) -> usize {
        self.segments.iter().map(SegmentConfig::count_max).sum()
    }

    /// Returns whether records may be counted in this segment.
    pub(crate) fn may_have(&self, segment: &SegmentId) -> bool {
        segment.parts().is_none_or(|(name, value)| {
            let segmentation = self.segments.iter().find(|it| *it.name == *name);
            segmentation.is_some_and(|it| it.may_have(value))
        })
    }
}

impl SegmentConfig {
    /// Returns the bound on its segments, that of all other values among them.
    pub fn count_max(&self) -> usize {
        let values = match &self.values {
            SegmentValues::Listed(values) => values.len(),
            SegmentValues::Top(values) => *values,
        };
        values + 1
    }

    fn may_have(&self, value: &str) -> bool {
        match &self.values {
            SegmentValues::Listed(values) => {
                value == OTHER_SEGMENT || values.iter().any(|it| **it == *value)
            }
            SegmentValues::Top(_) => true,
        }
    }
}
