//! Asks the schema registry of AWS Glue for schema versions, with signed requests.
//!
//! Before: [`super::client`] is asked for a schema. After: it gives what the registry has. The
//! protocol is JSON 1.1 of AWS: one action, `GetSchemaVersion`, at one address.

use std::path::Path;

use driftd_core::config::{AwsKeys, GlueConfig};
use driftd_ingest::{SchemaName, Uuid};
use serde::Deserialize;
use serde_json::json;
use ureq::Agent;
use ureq::http::StatusCode;

use super::client::{Registered, RegistryError};
use super::signature::{self, Scope};
use super::{WritersError, http};
use crate::clock;

const TARGET: &str = "AWSGlue.GetSchemaVersion";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const SERVICE: &str = "glue";
/// A version that no registry gives: all that it stands for is that there is none.
const NO_VERSION: Uuid = Uuid(0);
/// What AWS says when it has no such schema.
const NO_SCHEMA: &str = "EntityNotFoundException";
/// What it says to everything from who asks too often, or is not who it says.
const OF_ALL: [&str; 9] = [
    "ThrottlingException",
    "Throttling",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "IncompleteSignatureException",
    "ExpiredTokenException",
    "MissingAuthenticationTokenException",
];
/// Characters of what AWS says of an error that are shown.
const SHOWN_CHARS: usize = 300;

/// The registry of a region, and who asks it.
#[derive(Debug)]
pub(super) struct Glue {
    url: String,
    host: String,
    region: String,
    keys: AwsKeys,
    agent: Agent,
}

/// A schema version as AWS tells it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    schema_definition: Option<String>,
    data_format: Option<String>,
    status: Option<String>,
}

/// An error as AWS tells it.
#[derive(Deserialize)]
struct Problem {
    /// Perhaps with the name of its owner before a `#`.
    #[serde(rename = "__type")]
    kind: String,
    #[serde(default, alias = "Message")]
    message: String,
}

impl Glue {
    pub(super) fn open(config: &GlueConfig, folder: &Path) -> Result<Self, WritersError> {
        let GlueConfig { region, endpoint, keys, ca_file } = config;
        let host = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, host)| host);
        Ok(Self {
            url: endpoint.clone(),
            host: host.to_owned(),
            region: region.clone(),
            keys: keys.clone(),
            agent: http::agent(ca_file.as_deref(), folder)?,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn schema(
        &self,
        name: SchemaName,
        beat: &dyn Fn(),
    ) -> Result<Option<Registered>, RegistryError> {
        beat();
        match name {
            SchemaName::Uuid(version) => self.version(version),
            // No message of this framing names a schema so.
            SchemaName::Only | SchemaName::Fingerprint(_) | SchemaName::Number(_) => Ok(None),
        }
    }

    pub(super) fn look(&self) -> Result<(), RegistryError> {
        self.version(NO_VERSION).map(|_| ())
    }

    fn version(&self, version: Uuid) -> Result<Option<Registered>, RegistryError> {
        let (status, body) = self.ask(version)?;
        let url = || self.url.clone();
        let foreign =
            |source| RegistryError::Foreign { url: url(), path: version.to_string(), source };
        if status != StatusCode::OK {
            let Ok(problem) = serde_json::from_str::<Problem>(&body) else {
                return Err(RegistryError::Refused {
                    url: url(),
                    path: version.to_string(),
                    status,
                });
            };
            let Problem { kind, message } = problem;
            let code = kind.rsplit('#').next().unwrap_or_default().to_owned();
            if code == NO_SCHEMA {
                return Ok(None);
            }
            let is_of_all = status.is_server_error() || OF_ALL.contains(&code.as_str());
            // Behind its first line may be the request, with what it was signed by.
            let message = message.lines().next().unwrap_or_default();
            let message = message.chars().take(SHOWN_CHARS).collect();
            return Err(RegistryError::Aws { url: url(), version, is_of_all, code, message });
        }
        let answer: Answer = serde_json::from_str(&body).map_err(foreign)?;
        match answer {
            // It broke the rules of its subject: AWS never takes it as one.
            Answer { status: Some(status), .. } if status == "FAILURE" => Ok(None),
            Answer { schema_definition: Some(schema), data_format: Some(schema_type), status }
                if status.as_deref() != Some("PENDING") =>
            {
                Ok(Some(Registered { schema_type, schema, references: Vec::new() }))
            }
            Answer { status, .. } => {
                let status = status.unwrap_or_else(|| "without a definition".to_owned());
                Err(RegistryError::Unsettled { url: url(), version, status })
            }
        }
    }

    fn ask(&self, version: Uuid) -> Result<(StatusCode, String), RegistryError> {
        let silent =
            |source| RegistryError::Silent { url: self.url.clone(), source: Box::new(source) };
        let body = json!({"SchemaVersionId": version.to_string()}).to_string();
        let time = signature::time(clock::now());
        let mut headers = vec![
            ("content-type", CONTENT_TYPE),
            ("host", self.host.as_str()),
            ("x-amz-date", time.as_str()),
        ];
        headers.extend(self.keys.session_token.as_deref().map(|it| ("x-amz-security-token", it)));
        headers.push(("x-amz-target", TARGET));
        let scope = Scope { region: &self.region, service: SERVICE, time: &time };
        let authorization = signature::authorization(&self.keys, scope, &headers, body.as_bytes());
        let mut request = self.agent.post(format!("{}/", self.url));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.header("authorization", authorization);
        let mut answer = request.send(body).map_err(silent)?;
        let body = http::body(&mut answer).map_err(silent)?;
        Ok((answer.status(), body))
    }
}
