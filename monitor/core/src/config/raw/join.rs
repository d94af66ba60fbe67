//! The section `sources[].join` of the configuration file as written.
//!
//! Beside [`super::source`]. After: [`super::super::validate`] reads its paths.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::text::{DurationText, SizeText};

/// Requests and responses that are messages of their own, as the loggers of `KServe` and Seldon
/// Core 1 send them: two of one partition with the same id are joined, whichever comes first, and
/// read as `{"request": …, "response": …}`, so that paths begin with `request` or `response`. What
/// is beside the payload (`$headers.NAME`, `$key`, `$time`) is the response's. Of `format: json`
/// and `format: open_inference`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Join")]
pub(in crate::config) struct RawJoin {
    /// Path to the id that both have: `$headers.ce_id` of binary `CloudEvents`, `id` of structured
    /// ones, `$headers.requestid` of Seldon Core 1, `$key` where it is the key. Text or a whole
    /// number. Both have to be in one partition: the topic's key is the id, or it has one
    /// partition.
    pub(in crate::config) id: String,
    /// Path to the text that tells the two apart: `$headers.ce_type`, `type`, `$headers.type`. A
    /// header or `$key` with `format: open_inference`.
    pub(in crate::config) side: String,
    /// That text of a request, such as `org.kubeflow.serving.inference.request`.
    pub(in crate::config) request: String,
    /// That text of a response, such as `org.kubeflow.serving.inference.response`.
    pub(in crate::config) response: String,
    /// How long one waits for the other, by Kafka's times of the partition's messages. Requests
    /// without a response are left out then, and counted.
    #[serde(default = "five_minutes")]
    pub(in crate::config) within: DurationText,
    /// What those that wait may take in each partition; the oldest are left out for more. At least
    /// twice `payload_bytes_max`, at most 1GiB.
    #[serde(default = "sixteen_mebibytes")]
    pub(in crate::config) bytes_max: SizeText,
    /// How many may wait in each partition.
    #[serde(default = "fifty_thousand")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) records_max: u32,
}

fn five_minutes() -> DurationText {
    DurationText::of("5m")
}

fn sixteen_mebibytes() -> SizeText {
    SizeText("16MiB".into())
}

fn fifty_thousand() -> u32 {
    50_000
}
