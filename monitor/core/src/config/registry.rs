//! How a schema registry is asked, as checked.
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
