//! The section `sources` of the configuration file as written.
//!
//! Beside [`super`]. After: [`super::super::validate`] makes a schema for decoders of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::text::{DurationText, Topic};
use super::format::{RawAvro, RawOpenInference, RawProtobuf};
use super::join::RawJoin;

/// One topic of inference logs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Source")]
pub(in crate::config) struct RawSource {
    /// Topic to read. With `driftd replay` a file takes its place.
    pub(in crate::config) topic: Topic,
    /// Format of the messages.
    #[serde(default)]
    pub(in crate::config) format: RawFormat,
    /// Where the schemas of Avro messages come from. Needed with `format: avro`.
    pub(in crate::config) avro: Option<RawAvro>,
    /// Where the types of Protobuf messages come from. Needed with `format: protobuf`.
    pub(in crate::config) protobuf: Option<RawProtobuf>,
    /// What messages of `format: open_inference` are. Left out: JSON, where no header says another.
    pub(in crate::config) open_inference: Option<RawOpenInference>,
    /// Where a start without stored `state` begins to read; one with it goes on where the last one
    /// ended.
    pub(in crate::config) start: RawStart,
    /// When a prediction was made.
    pub(in crate::config) event_time: RawEventTime,
    /// Path to the model's name in a record, or `$headers.NAME`, or `$key`. Left out when the topic
    /// carries one model. With `[]`, as in a feature's path, each record of a message names its
    /// own.
    pub(in crate::config) model: Option<String>,
    /// Path to the names of columns of the list of records beside it, whose records are lists of
    /// values: with `dataframe_split.columns` the path `dataframe_split.data[].age` is the value
    /// below the name `age`, wherever that stands.
    pub(in crate::config) columns: Option<String>,
    /// Texts that are documents themselves, as gateways log bodies: paths lead into them as if they
    /// had no quotes. With `path: request`, `{"request": "{\"instances\": [[1]]}"}` has
    /// `request.instances[][0]`. Of JSON only.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub(in crate::config) embedded: Vec<RawEmbedded>,
    /// Paths to the values of tensors, flat or nested, which become a list of records by the
    /// `shape` beside them: its first number is that of the records, and a record is the list of
    /// its values. With `inputs[name=x].data`,
    /// `{"inputs": [{"name": "x", "shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]}]}` has two records,
    /// of which `inputs[name=x].data[][0]` is 1 and 4. Every path to the same values sees records,
    /// `inputs[0].data` as well. Of JSON only.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub(in crate::config) tensors: Vec<String>,
    /// That messages are changes of a table's rows, as Debezium writes them: those that bring a new
    /// row (`c`, and `r` of a snapshot) are records, all others and tombstones are counted and
    /// passed over. Of JSON with one document a message, Avro and Protobuf. Left out: each message
    /// is a record.
    pub(in crate::config) change_events: Option<RawChangeEvents>,
    /// How requests and responses that are messages of their own are joined: two of one partition
    /// with the same id are read as `{"request": …, "response": …}`, whichever comes first, so that
    /// paths begin with `request` or `response`. What is beside the payload is the response's. Of
    /// JSON only. Left out: each message is whole.
    pub(in crate::config) join: Option<RawJoin>,
    /// Topic for records that cannot be read. Left out: they are counted only.
    pub(in crate::config) dead_letter_topic: Option<Topic>,
    /// Largest accepted message, in bytes; a larger one is rejected. With `join` and `scale_out` at
    /// most 32505856: a half that waits is one message of the state topic.
    #[serde(default = "mebibyte")]
    #[schemars(range(min = 1, max = 104_857_600))]
    pub(in crate::config) payload_bytes_max: usize,
    /// Most records of one message, where paths have `[]` or `format` is `ndjson`; a message with
    /// more, or with more than 1,048,576 values in all its records, is rejected whole.
    #[serde(default = "ten_thousand")]
    #[schemars(range(min = 1, max = 50_000))]
    pub(in crate::config) rows_max: usize,
    /// How far event time may be out of order.
    #[serde(default)]
    pub(in crate::config) time: RawTime,
}

/// Format of the messages of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(in crate::config) enum RawFormat {
    /// One JSON document a message.
    #[default]
    Json,
    /// One JSON document a line; blank lines are passed over.
    Ndjson,
    /// One Avro value a message.
    Avro,
    /// One Protobuf message a message.
    Protobuf,
    /// One Arrow IPC stream or file a message, of which each row is a record: paths begin with
    /// `[]`.
    Arrow,
    /// One body of the Open Inference Protocol (V2) a message: JSON, JSON with raw values of
    /// tensors behind it, or Protobuf. Whatever it is, values of tensors are lists of records:
    /// `inputs[name=x].data[][0]`.
    OpenInference,
}

/// Where a message says what became of a row.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ChangeEvents")]
pub(in crate::config) struct RawChangeEvents {
    /// Path to the letter that says it: `op`, or `payload.op` where the event has its schema beside
    /// it; `__op`, or `$headers.__op`, of flattened events that were told to have it.
    pub(in crate::config) op: String,
}

/// A text that is a document itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Embedded")]
pub(in crate::config) struct RawEmbedded {
    /// Path to the text: without `[]`, and not inside of another such text. What is no text there
    /// is left as it is.
    pub(in crate::config) path: String,
    /// How the document is written.
    #[serde(rename = "as", default)]
    pub(in crate::config) form: RawEmbeddedForm,
}

/// How a document is written as text.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(in crate::config) enum RawEmbeddedForm {
    /// JSON; no text at all is null.
    #[default]
    Json,
    /// Comma-separated values without a line of names: a list of lists, as in `path[][0]`.
    Csv,
    /// JSON as Base64.
    Base64Json,
    /// Comma-separated values as Base64.
    Base64Csv,
}

/// Where a start without stored state begins to read.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(in crate::config) enum RawStart {
    /// Everything the topic still holds.
    Earliest,
    /// What arrives from now on; of a partition that is added later, everything.
    Latest,
}

/// Where a record tells its event time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EventTime")]
pub(in crate::config) struct RawEventTime {
    /// Path to the time in a record. With `[]`, as in a feature's path, each record of a message
    /// has its own. `$headers.NAME` is the time in a header, as in `$headers.ce_time` of a binary
    /// `CloudEvent`. `$time` is Kafka's own time of the message: when it was produced, or appended
    /// where the topic's `message.timestamp.type` says so.
    pub(in crate::config) path: String,
    /// How the time is written; not beside `$time`.
    #[schemars(extend("x-default" = "rfc3339"))]
    pub(in crate::config) format: Option<RawTimeFormat>,
}

/// How a time is written.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(in crate::config) enum RawTimeFormat {
    /// Text such as `2013-04-01T09:00:00Z`.
    #[default]
    Rfc3339,
    /// Seconds since 1970.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMillis,
    /// Microseconds since 1970.
    UnixMicros,
    /// Nanoseconds since 1970.
    UnixNanos,
}

/// The rules of event time in one topic.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Time")]
pub(in crate::config) struct RawTime {
    /// How much older than the newest record of its partition a record may be and still be on
    /// time.
    pub(in crate::config) out_of_orderness: DurationText,
    /// A partition read to its end and silent for this long is not waited for.
    pub(in crate::config) idle_timeout: DurationText,
    /// An event time further than this after Kafka's own time of the record is held to that
    /// limit.
    pub(in crate::config) future_skew_max: DurationText,
    /// A partition whose event time is further than this ahead of the slowest one is paused.
    #[schemars(extend("x-default" = "twice the longest pane of the topic's models, at least `1h`"))]
    pub(in crate::config) drift_max: Option<DurationText>,
}

impl Default for RawTime {
    fn default() -> Self {
        Self {
            out_of_orderness: DurationText::of("10s"),
            idle_timeout: DurationText::of("60s"),
            future_skew_max: DurationText::of("5m"),
            drift_max: None,
        }
    }
}

fn mebibyte() -> usize {
    1 << 20
}

fn ten_thousand() -> usize {
    10_000
}
