//! The section `state` of the configuration file as written.
//!
//! Beside [`super`]. After: [`super::super::validate`] checks it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::text::DurationText;

/// Where counts, positions and decisions are kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "State")]
pub(in crate::config) struct RawState {
    /// Folder, made when it is not there; a relative one starts at the folder of the configuration
    /// file. One process uses it at a time.
    #[schemars(length(min = 1, max = 4096))]
    pub(in crate::config) folder: String,
    /// How often what changed is stored: what was read since is read again after a crash.
    #[serde(default = "super::one_second")]
    pub(in crate::config) commit_interval: DurationText,
    /// What stored state survives.
    #[serde(default)]
    pub(in crate::config) durability: RawDurability,
}

/// What stored state survives.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(in crate::config) enum RawDurability {
    /// The end of the process, however it comes.
    #[default]
    Process,
    /// The end of the machine too: each commit waits for the disk.
    Power,
}
