//! A registry, whosever it is, asked for one schema at a time.
//!
//! Before: [`super::Writers`] misses a schema. After: it compiles what the registry has. Whether a
//! schema does not exist, or the registry does not say, is told apart here: for the first a message
//! is rejected, for the second it waits.

use std::path::Path;
use std::time::Duration;

use driftd_core::config::{GlueConfig, RegistryConfig};
use driftd_ingest::{SchemaName, Uuid};
use ureq::http::StatusCode;

use super::WritersError;
use super::confluent::Confluent;
use super::glue::Glue;

/// A schema with all that it refers to.
pub(super) const ASK_MAX: Duration = Duration::from_secs(15);
/// Schemas that one refers to, directly or not.
pub(super) const REFERENCES_MAX: usize = 64;
/// The texts of all of them.
pub(super) const REFERENCES_BYTES_MAX: usize = 8 << 20;

/// A registry, and who asks it.
#[derive(Debug)]
pub(super) enum Client {
    Confluent(Box<Confluent>),
    Glue(Box<Glue>),
}

/// A schema and those that it refers to, by the name that it calls them, each behind those that it
/// refers to itself.
#[derive(Debug)]
pub(super) struct Registered {
    /// `AVRO`, `PROTOBUF` or `JSON`.
    pub(super) schema_type: String,
    pub(super) schema: String,
    pub(super) references: Vec<(String, String)>,
}

/// A registry that does not say what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No answer.
    #[error("the schema registry {url} does not answer")]
    Silent {
        /// Its address.
        url: String,
        /// Why not.
        source: Box<ureq::Error>,
    },
    /// An answer that refuses.
    #[error("the schema registry {url} answers {status} when asked for `{path}`")]
    Refused {
        /// Its address.
        url: String,
        /// What was asked for.
        path: String,
        /// Its answer.
        status: StatusCode,
    },
    /// An answer that is none of a registry.
    #[error("{url} does not answer like a schema registry when asked for `{path}`")]
    Foreign {
        /// Its address.
        url: String,
        /// What was asked for.
        path: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// An answer of AWS that refuses.
    #[error(
        "AWS Glue at {url} answers `{code}` when asked for schema version {version}: {message}"
    )]
    Aws {
        /// Its address.
        url: String,
        /// What was asked for.
        version: Uuid,
        /// Whether it says so of everything that it is asked.
        is_of_all: bool,
        /// What AWS calls the error.
        code: String,
        /// What it says of it.
        message: String,
    },
    /// A schema that is being checked.
    #[error("schema version {version} is `{status}` in AWS Glue at {url}")]
    Unsettled {
        /// Its address.
        url: String,
        /// What was asked for.
        version: Uuid,
        /// What it is.
        status: String,
    },
    /// A schema with very many others.
    #[error(
        "a schema of the registry {url} refers to more than {REFERENCES_MAX} others, or to more \
         than {REFERENCES_BYTES_MAX} bytes of them"
    )]
    References {
        /// Its address.
        url: String,
    },
    /// Many answers that each took long.
    #[error("the schema registry {url} takes longer than {ASK_MAX:?} for a schema")]
    Slow {
        /// Its address.
        url: String,
    },
}

impl RegistryError {
    /// Whether it says something about the registry, and not about one schema.
    pub(super) fn is_of_all(&self) -> bool {
        match self {
            Self::Silent { .. } => true,
            Self::Refused { status, .. } => status.is_server_error(),
            Self::Aws { is_of_all, .. } => *is_of_all,
            Self::Foreign { .. }
            | Self::Unsettled { .. }
            | Self::References { .. }
            | Self::Slow { .. } => false,
        }
    }
}

impl Client {
    /// Prepares to ask; nothing is sent. Relative paths start at `folder`.
    pub(super) fn confluent(config: &RegistryConfig, folder: &Path) -> Result<Self, WritersError> {
        Ok(Self::Confluent(Box::new(Confluent::open(config, folder)?)))
    }

    /// The same of AWS Glue.
    pub(super) fn glue(config: &GlueConfig, folder: &Path) -> Result<Self, WritersError> {
        Ok(Self::Glue(Box::new(Glue::open(config, folder)?)))
    }

    pub(super) fn url(&self) -> &str {
        match self {
            Self::Confluent(client) => client.url(),
            Self::Glue(client) => client.url(),
        }
    }

    /// Asks for a schema by its name; `None` when the registry says that there is none.
    pub(super) fn schema(
        &self,
        name: SchemaName,
        beat: &dyn Fn(),
    ) -> Result<Option<Registered>, RegistryError> {
        match self {
            Self::Confluent(client) => client.schema(name, beat),
            Self::Glue(client) => client.schema(name, beat),
        }
    }

    /// Asks whether it is a registry that answers who asks.
    pub(super) fn look(&self) -> Result<(), RegistryError> {
        match self {
            Self::Confluent(client) => client.look(),
            Self::Glue(client) => client.look(),
        }
    }
}
