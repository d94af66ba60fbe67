//! The section `memory` of the configuration file as written.
//!
//! Beside [`super`]. After: [`super::super::validate`] takes the bytes.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::text::SizeText;

/// Bounds on memory.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Memory")]
pub(in crate::config) struct RawMemory {
    /// Memory that the process may use, such as `512MiB`.
    #[schemars(extend("x-default" = "the limit of its cgroup, else the machine's memory"))]
    pub(in crate::config) limit: Option<SizeText>,
    /// Messages that each consumer thread fetches ahead, from `1MiB` to `1GiB`.
    pub(in crate::config) fetch_queue: SizeText,
}

impl Default for RawMemory {
    fn default() -> Self {
        Self { limit: None, fetch_queue: SizeText("32MiB".into()) }
    }
}
