//! How schema registries are asked, as checked.
//!
//! Before: [`super::validate`]. After: the edge asks it.

use std::fmt;
use std::path::PathBuf;

pub use driftd_ingest::RegistryFraming;

/// A registry with the interface of Confluent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Its address without `/` at the end; no part of it is secret.
    pub url: String,
    /// How messages name their schema.
    pub framing: RegistryFraming,
    /// What is sent along.
    pub credentials: Credentials,
    /// Certificates to trust, in place of the system's. The path is as written.
    pub ca_file: Option<PathBuf>,
}

/// The schema registry of AWS Glue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlueConfig {
    /// Name of the region that requests are signed for.
    pub region: String,
    /// The address without `/` at the end; no part of it is secret.
    pub endpoint: String,
    /// Who signs.
    pub keys: AwsKeys,
    /// Certificates to trust, in place of the system's. The path is as written.
    pub ca_file: Option<PathBuf>,
}

/// What requests to AWS are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct AwsKeys {
    /// Names the secret.
    pub access_key_id: String,
    /// Never shown.
    pub secret_access_key: String,
    /// Of keys that are lent for some time; never shown.
    pub session_token: Option<String>,
}

impl fmt::Debug for AwsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwsKeys({}, …)", self.access_key_id)
    }
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
