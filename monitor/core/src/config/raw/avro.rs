//! The section `sources[].avro` of the configuration file as written.
//!
//! Beside [`super::source`]. After: [`super::super::validate`] sees that one origin is named.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the schemas of a topic's Avro messages come from: one of `schema`, `schemas` and
/// `registry`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Avro")]
pub(in crate::config) struct RawAvro {
    /// File of the one schema. Each message is a value of it, and nothing else.
    pub(in crate::config) schema: Option<String>,
    /// Files of the schemas of messages in single object encoding, which begin with a schema's
    /// fingerprint.
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) schemas: Option<Vec<String>>,
    /// Registry of the schemas of messages that begin with a schema's number.
    pub(in crate::config) registry: Option<RawRegistry>,
}

/// A schema registry with the interface of Confluent's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Registry")]
pub(in crate::config) struct RawRegistry {
    /// Address, such as `https://registry:8081`; that of Apicurio ends in `/apis/ccompat/v7`.
    pub(in crate::config) url: String,
    /// How a message says the number of its schema.
    #[serde(default)]
    pub(in crate::config) framing: RawAvroFraming,
    /// Who asks. With `password`.
    pub(in crate::config) username: Option<String>,
    /// Password of `username`, best as `${VARIABLE}`.
    pub(in crate::config) password: Option<Secret>,
    /// Bearer token, best as `${VARIABLE}`, in place of `username` and `password`.
    pub(in crate::config) token: Option<Secret>,
    /// File of the certificates (PEM) that the registry's has to be signed by. Left out: those that
    /// the system trusts.
    pub(in crate::config) ca_file: Option<String>,
}

/// How a message says the number of its schema.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(in crate::config) enum RawAvroFraming {
    /// A byte of zero and four bytes: serializers of Confluent, and of others unless told
    /// otherwise.
    #[default]
    Confluent,
    /// A byte of zero and eight bytes: serializers of Apicurio 2, unless told otherwise.
    Apicurio,
}

/// A text that is never shown.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub(in crate::config) struct Secret(pub(in crate::config) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
