//! Asks a schema registry with the interface of Confluent's.
//!
//! Before: [`super::client`] is asked for a schema. After: it gives what the registry has. Whether
//! a schema does not exist, or the registry does not say, is told apart here: for the first a
//! message is rejected, for the second it waits.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use driftd_core::config::{Credentials, RegistryConfig, RegistryFraming};
use driftd_ingest::SchemaName;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::StatusCode;

use super::client::{ASK_MAX, REFERENCES_BYTES_MAX, REFERENCES_MAX, Registered, RegistryError};
use super::{WritersError, http};
use crate::clock::Stopwatch;

/// What a registry says besides 404 when it has no such schema.
const NO_SCHEMA: u32 = 40_403;

/// A registry, and who asks it.
#[derive(Debug)]
pub(super) struct Confluent {
    url: String,
    agent: Agent,
    credentials: Credentials,
    /// The greatest number that it gives: of greater ones it does not say that it has none.
    number_max: u64,
}

/// A schema as a registry tells it.
#[derive(Deserialize)]
struct Answer {
    #[serde(default = "avro", rename = "schemaType")]
    schema_type: String,
    schema: String,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: u32,
}

/// A registry does not say it of schemas of Avro.
fn avro() -> String {
    "AVRO".to_owned()
}

#[derive(Deserialize)]
struct Problem {
    error_code: u32,
}

/// What is asked on behalf of one schema.
struct Asking<'a> {
    client: &'a Confluent,
    beat: &'a dyn Fn(),
    since: Stopwatch,
    seen: BTreeSet<(String, u32)>,
    /// Names and texts, each behind those that it needs.
    found: Vec<(String, String)>,
}

impl Confluent {
    /// Prepares to ask; nothing is sent. Relative paths start at `folder`.
    pub(super) fn open(config: &RegistryConfig, folder: &Path) -> Result<Self, WritersError> {
        let agent = http::agent(config.ca_file.as_deref(), folder)?;
        let number_max = match config.framing {
            RegistryFraming::Apicurio => i64::MAX.unsigned_abs(),
            RegistryFraming::Confluent
            | RegistryFraming::ConfluentHeader
            | RegistryFraming::Apicurio3
            // Glue names none by a number.
            | RegistryFraming::Glue => i32::MAX.unsigned_abs().into(),
        };
        let (url, credentials) = (config.url.clone(), config.credentials.clone());
        Ok(Self { url, agent, credentials, number_max })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Asks for a schema by its name; `None` when the registry says that there is none.
    pub(super) fn schema(
        &self,
        name: SchemaName,
        beat: &dyn Fn(),
    ) -> Result<Option<Registered>, RegistryError> {
        beat();
        let path = match name {
            SchemaName::Number(number) if number <= self.number_max => {
                format!("/schemas/ids/{number}")
            }
            SchemaName::Uuid(guid) => format!("/schemas/guids/{guid}"),
            // No message of these framings names a schema so.
            SchemaName::Number(_) | SchemaName::Only | SchemaName::Fingerprint(_) => {
                return Ok(None);
            }
        };
        let (status, body) = self.get(&path)?;
        let problem = || serde_json::from_str::<Problem>(&body);
        if status == StatusCode::NOT_FOUND
            && problem().is_ok_and(|problem| problem.error_code == NO_SCHEMA)
        {
            return Ok(None);
        }
        let answer: Answer = self.read(&path, status, &body)?;
        let mut asking = Asking {
            client: self,
            beat,
            since: Stopwatch::start(),
            seen: BTreeSet::new(),
            found: Vec::new(),
        };
        answer.references.iter().try_for_each(|reference| asking.reference(reference))?;
        let Answer { schema_type, schema, references: _ } = answer;
        Ok(Some(Registered { schema_type, schema, references: asking.found }))
    }

    /// Asks whether it is a registry that answers who asks.
    pub(super) fn look(&self) -> Result<(), RegistryError> {
        let path = "/schemas/types";
        let (status, body) = self.get(path)?;
        self.read::<Vec<String>>(path, status, &body).map(|_| ())
    }

    fn get(&self, path: &str) -> Result<(StatusCode, String), RegistryError> {
        let silent =
            |source| RegistryError::Silent { url: self.url.clone(), source: Box::new(source) };
        let request = self.agent.get(format!("{}{path}", self.url));
        let request = request.header("Accept", "application/json");
        let request = match &self.credentials {
            Credentials::None => request,
            Credentials::Password { username, password } => {
                let both = STANDARD.encode(format!("{username}:{password}"));
                request.header("Authorization", format!("Basic {both}"))
            }
            Credentials::Token(token) => request.header("Authorization", format!("Bearer {token}")),
        };
        let mut answer = request.call().map_err(silent)?;
        let body = http::body(&mut answer).map_err(silent)?;
        Ok((answer.status(), body))
    }

    fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        status: StatusCode,
        body: &str,
    ) -> Result<T, RegistryError> {
        let (url, path) = (self.url.clone(), path.to_owned());
        if status != StatusCode::OK {
            return Err(RegistryError::Refused { url, path, status });
        }
        serde_json::from_str(body).map_err(|source| RegistryError::Foreign { url, path, source })
    }
}

impl Asking<'_> {
    /// Asks for a schema that another one refers to, and first for those that it refers to itself.
    fn reference(&mut self, reference: &Reference) -> Result<(), RegistryError> {
        let Reference { name, subject, version } = reference;
        if !self.seen.insert((subject.clone(), *version)) {
            return Ok(());
        }
        let url = || self.client.url.clone();
        let bytes: usize = self.found.iter().map(|(_, text)| text.len()).sum();
        if REFERENCES_MAX < self.seen.len() || REFERENCES_BYTES_MAX < bytes {
            return Err(RegistryError::References { url: url() });
        }
        if ASK_MAX <= self.since.elapsed() {
            return Err(RegistryError::Slow { url: url() });
        }
        (self.beat)();
        // Messages outlive the subjects of their schemas.
        let path = format!("/subjects/{}/versions/{version}?deleted=true", encoded(subject));
        let (status, body) = self.client.get(&path)?;
        let answer: Answer = self.client.read(&path, status, &body)?;
        answer.references.iter().try_for_each(|inner| self.reference(inner))?;
        self.found.push((name.clone(), answer.schema));
        Ok(())
    }
}

/// Writes a text as a part of a path: anything may be in a subject's name.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(byte.into());
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes text");
        }
    }
    encoded
}
