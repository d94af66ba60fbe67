//! How registries are reached: each request and answer is bounded.
//!
//! Before: [`super::confluent`] and [`super::glue`] open their client. After: they send what they
//! ask, and read the answer.

use std::path::Path;
use std::time::Duration;

use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use ureq::{Agent, Body};

use super::WritersError;

/// A registry that is there answers in milliseconds.
const REQUEST_MAX: Duration = Duration::from_secs(5);
/// Longest answer: a schema's text is half of it at most, and escaped in it.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// Prepares to ask; nothing is sent. A relative path starts at `folder`.
pub(super) fn agent(ca_file: Option<&Path>, folder: &Path) -> Result<Agent, WritersError> {
    let roots = match ca_file {
        Some(file) => certificates(&folder.join(file))?,
        None => RootCerts::PlatformVerifier,
    };
    let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(roots).build();
    let agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(REQUEST_MAX))
        .tls_config(tls)
        .proxy(None)
        .max_redirects(0)
        .user_agent("driftd")
        .build();
    Ok(agent.new_agent())
}

/// Reads an answer's text.
pub(super) fn body(answer: &mut Response<Body>) -> Result<String, ureq::Error> {
    answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()
}

#[expect(clippy::disallowed_methods, reason = "the edge reads files")]
fn certificates(path: &Path) -> Result<RootCerts, WritersError> {
    let owned = || path.to_owned();
    let pem = std::fs::read(path).map_err(|source| WritersError::Read { path: owned(), source })?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        let item = item.map_err(|source| WritersError::Certificates { path: owned(), source })?;
        if let PemItem::Certificate(certificate) = item {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        let source = ureq::Error::Tls("no certificate in it");
        return Err(WritersError::Certificates { path: owned(), source });
    }
    Ok(RootCerts::new_with_certs(&certificates))
}
