//! The events that leave and enter the process: `CloudEvents` 1.0 in structured JSON.
//!
//! Before: a retraining decision (`driftd-alerts`), which the core dresses as a
//! [`RetrainingRequested`]. After: the retraining topic, the launcher, and its answer,
//! [`RetrainingStatus`].
//!
//! The type of an event changes only when a consumer of the old shape would break; a new optional
//! field does not change it. No event carries values of records, only statistics over them.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Version of the `CloudEvents` specification that the envelope follows.
pub const SPEC_VERSION: &str = "1.0";
/// Content type of a structured event, for the Kafka header `content-type`.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";
/// Type of [`RetrainingRequested`].
pub const RETRAINING_REQUESTED: &str = "io.driftd.retraining.requested.v1";
/// Type of [`RetrainingStatus`].
pub const RETRAINING_STATUS: &str = "io.driftd.retraining.status.v1";
/// Entries kept in [`RetrainingRequested::evidence`], strongest first, so that an event stays
/// below 100 kB.
pub const EVIDENCE_MAX: usize = 50;

/// What an event carries.
pub trait EventData {
    /// The `type` of the envelope around it.
    const TYPE: &'static str;
}

/// The envelope: required and used optional attributes of `CloudEvents` 1.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CloudEvent<T> {
    /// [`SPEC_VERSION`].
    pub specversion: String,
    /// What happened; says the shape of `data`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Who says so: a URI reference such as `/driftd/flights`. Unique together with `id`.
    pub source: String,
    /// Deterministic identity; a valid Kubernetes name of at most 52 characters.
    pub id: String,
    /// When it happened, in event time for a request, in processing time for a status.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// What it is about: `models/<name>/versions/<version>`.
    pub subject: String,
    /// Content type of `data`: `application/json`.
    pub datacontenttype: String,
    /// Key that orders events of one model: its name.
    pub partitionkey: String,
    /// Links events of one cause: the id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlationid: Option<String>,
    /// Time after which the event should not be acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub expirytime: Option<Timestamp>,
    /// W3C trace context of the evaluation that caused the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The payload.
    pub data: T,
}

impl<T: EventData> CloudEvent<T> {
    /// Wraps `data` with the required attributes; the optional ones are left out.
    pub fn new(source: &str, id: String, time: Timestamp, model: &ModelRef, data: T) -> Self {
        Self {
            specversion: SPEC_VERSION.to_owned(),
            event_type: T::TYPE.to_owned(),
            source: source.to_owned(),
            id,
            time,
            subject: format!("models/{}/versions/{}", model.name, model.version),
            datacontenttype: "application/json".to_owned(),
            partitionkey: model.name.to_string(),
            correlationid: None,
            expirytime: None,
            traceparent: None,
            data,
        }
    }

    /// Reads a structured event of this type.
    pub fn from_json(bytes: &[u8]) -> Result<Self, EventError>
    where
        T: for<'de> Deserialize<'de>,
    {
        // Type first: a foreign event on the topic is told apart from a broken one of ours.
        let head: Head = serde_json::from_slice(bytes).map_err(EventError::NotAnEvent)?;
        if head.specversion != SPEC_VERSION || head.event_type != T::TYPE {
            return Err(EventError::OtherType {
                specversion: head.specversion,
                event_type: head.event_type,
                expected: T::TYPE,
            });
        }
        serde_json::from_slice(bytes).map_err(|source| EventError::Shape { id: head.id, source })
    }
}

impl<T> CloudEvent<T> {
    /// The attributes by which brokers and filters route a structured event without reading it, as
    /// headers of its message.
    pub fn headers(&self) -> [(&'static str, &str); 5] {
        [
            ("content-type", CONTENT_TYPE),
            ("ce_specversion", &self.specversion),
            ("ce_id", &self.id),
            ("ce_source", &self.source),
            ("ce_type", &self.event_type),
        ]
    }
}

impl<T: Serialize> CloudEvent<T> {
    /// Writes the structured JSON form.
    ///
    /// # Panics
    /// Never: every field of the event shapes has a JSON form.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("event shapes hold only text, numbers, lists and text keys")
    }
}

/// The attributes that say whether the rest can be read.
#[derive(Deserialize)]
struct Head {
    specversion: String,
    #[serde(rename = "type")]
    event_type: String,
    id: String,
}

/// Bytes that are not the expected event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Not JSON, or without the required attributes.
    #[error("not a structured CloudEvent")]
    NotAnEvent(#[source] serde_json::Error),
    /// A `CloudEvent` of another type; skip it.
    #[error(
        "event has type `{event_type}` and specversion `{specversion}`, expected `{expected}` \
         and `{SPEC_VERSION}`"
    )]
    OtherType {
        /// Found version of the specification.
        specversion: String,
        /// Found type.
        event_type: String,
        /// Type asked for.
        expected: &'static str,
    },
    /// The right type with a broken payload.
    #[error("event `{id}` does not have the shape of its type")]
    Shape {
        /// Id of the event.
        id: String,
        /// Where the shape breaks.
        #[source]
        source: serde_json::Error,
    },
}

/// A model version as events name it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelRef {
    /// Name of the model.
    pub name: Arc<str>,
    /// Version whose traffic drifted.
    pub version: Arc<str>,
}

/// `data` of [`RETRAINING_REQUESTED`]: a model should be trained again, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RetrainingRequested {
    /// Identity and rules of the request.
    pub request: Request,
    /// Which model.
    pub model: ModelRef,
    /// Why, for people and for routing.
    pub reason: RequestReason,
    /// The features behind the reason, strongest first, at most [`EVIDENCE_MAX`].
    pub evidence: Vec<Evidence>,
    /// The window in which the decision fell.
    pub window: WindowRef,
    /// What the window was compared with.
    pub reference: ReferenceRef,
    /// Where the window's records are.
    pub data: DataRef,
    /// Where people look next.
    #[serde(default, skip_serializing_if = "Links::is_empty")]
    pub links: Links,
}

impl EventData for RetrainingRequested {
    const TYPE: &'static str = RETRAINING_REQUESTED;
}

/// Identity and rules of one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// The text whose hash is in the event id; equal after a restart or replay.
    pub dedupe_key: String,
    /// 1 for the first request of a drift, 2 when it is still there after the cooldown, and so on.
    pub attempt: u32,
    /// Name of the policy that decided.
    pub policy: Arc<str>,
    /// Event time before which the policy asks no more.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub cooldown_until: Timestamp,
}

/// Why a request was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestReason {
    /// Kind of change that was found.
    pub kind: ReasonKind,
    /// Number of open episodes that count for the policy.
    pub features_drifted: u32,
    /// Number of features monitored.
    pub features_monitored: u32,
    /// One sentence for people.
    pub summary: String,
}

/// Kind of change that a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReasonKind {
    /// The distribution of features moved.
    FeatureDrift,
    /// The distribution of predictions moved.
    PredictionDrift,
}

/// One drifted feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Name of the feature.
    pub feature: Arc<str>,
    /// Deciding detector: `psi`, `ks`, …
    pub statistic: String,
    /// Its value in the window.
    pub value: f64,
    /// Value at which the score is 1.
    pub threshold: f64,
    /// Adjusted p-value; null when the detector has none.
    pub p_value: Option<f64>,
    /// Values in the reference.
    pub n_reference: u64,
    /// Values in the window.
    pub n_current: u64,
    /// Windows of the episode in which the feature was above the threshold.
    pub windows_breached: u32,
}

/// The window in which the decision fell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WindowRef {
    /// First instant inside, in event time.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub start: Timestamp,
    /// First instant after, in event time.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub end: Timestamp,
    /// `all`, or `name=value`.
    pub segment: String,
    /// Records in it.
    pub rows: u64,
}

/// What the window was compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReferenceRef {
    /// Name of the reference profile.
    pub id: String,
    /// Checksum of the profile, with its algorithm: `sha256:…`.
    pub digest: String,
    /// Records it was built from.
    pub rows: u64,
    /// Where the profile is; null when it was given inline.
    #[serde(default)]
    pub uri: Option<String>,
}

/// Where the window's records are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DataRef {
    /// Source topic.
    pub topic: Arc<str>,
    /// Offsets `[from, to)` that hold the window's records, by partition number.
    pub offsets: BTreeMap<String, [i64; 2]>,
}

/// Addresses for people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Links {
    /// A dashboard on the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dashboard: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// The daemon's own page on the episode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
}

impl Links {
    /// Returns whether there is no address at all.
    pub fn is_empty(&self) -> bool {
        self.dashboard.is_none() && self.runbook.is_none() && self.details.is_none()
    }
}

/// `data` of [`RETRAINING_STATUS`]: what became of a request. The envelope's id is
/// `<request_id>-<state>`, so that a repeated report is the same event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RetrainingStatus {
    /// Id of the request event.
    pub request_id: String,
    /// How far it got.
    pub state: RetrainingState,
    /// Why, when it was rejected or failed.
    #[serde(default)]
    pub reason: Option<String>,
    /// Exit code of the job; null while it runs, and when a signal ended it.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// When the job started, in processing time.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub started_at: Option<Timestamp>,
    /// When the job ended, in processing time.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub finished_at: Option<Timestamp>,
    /// Version that the job registered.
    #[serde(default)]
    pub new_version: Option<String>,
    /// Address of the reference profile that the job built.
    #[serde(default)]
    pub reference: Option<String>,
    /// Which launcher started the job: the client id of its member of the consumer group.
    #[serde(default)]
    pub launcher: Option<String>,
}

impl RetrainingStatus {
    /// Returns a report without details.
    pub fn new(request_id: &str, state: RetrainingState) -> Self {
        Self {
            request_id: request_id.to_owned(),
            state,
            reason: None,
            exit_code: None,
            started_at: None,
            finished_at: None,
            new_version: None,
            reference: None,
            launcher: None,
        }
    }
}

impl EventData for RetrainingStatus {
    const TYPE: &'static str = RETRAINING_STATUS;
}

/// How far a retraining request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetrainingState {
    /// Taken, waiting for a place to run.
    Accepted,
    /// The job runs.
    Started,
    /// The job ended well.
    Succeeded,
    /// The job ended badly, or could not be started.
    Failed,
    /// Not run: duplicate, cooldown, unknown model or expired.
    Rejected,
}

impl RetrainingState {
    /// Returns the JSON form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
        }
    }

    /// Returns whether no other state follows.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Accepted | Self::Started => false,
            Self::Succeeded | Self::Failed | Self::Rejected => true,
        }
    }
}

#[cfg(test)]
mod tests;
