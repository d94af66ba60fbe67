//! Where the schemas of Avro messages come from, as checked.
//!
//! Before: [`super::validate`]. After: the edge reads the files, or asks the registry.

use std::fmt;
use std::path::PathBuf;

use driftd_ingest::AvroFraming;

/// What a topic's messages are written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceFormat {
    /// JSON, framed as the schema says.
    Json,
    /// Avro, with schemas from there.
    Avro(AvroConfig),
    /// Streams and files of Arrow.
    Arrow,
}

/// Where the schemas of writers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AvroConfig {
    /// All messages have this one, and do not name it. The file's path is as written.
    Schema(PathBuf),
    /// Messages name one of these by its fingerprint.
    Schemas(Vec<PathBuf>),
    /// Messages name it by its number in the registry.
    Registry(RegistryConfig),
}

impl AvroConfig {
    /// Returns how messages name their schema.
    pub fn framing(&self) -> AvroFraming {
        match self {
            Self::Schema(_) => AvroFraming::Bare,
            Self::Schemas(_) => AvroFraming::SingleObject,
            Self::Registry(registry) => registry.framing,
        }
    }
}

/// A registry with the interface of Confluent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Its address without `/` at the end; no part of it is secret.
    pub url: String,
    /// How messages name their schema.
    pub framing: AvroFraming,
    /// What is sent along.
    pub credentials: Credentials,
    /// Certificates to trust, in place of the system's. The path is as written.
    pub ca_file: Option<PathBuf>,
}

/// Who asks a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Anybody.
    None,
    /// A user.
    Password {
        /// Name of the user.
        username: String,
        /// Never shown.
        password: String,
    },
    /// Whoever has this; never shown.
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Password { username, password: _ } => write!(f, "Password({username}, …)"),
            Self::Token(_) => f.write_str("Token(…)"),
        }
    }
}
