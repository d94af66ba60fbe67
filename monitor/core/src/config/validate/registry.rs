//! Checks how a schema registry is asked.
//!
//! Before: [`super::format`]. After: the edge asks it.

use super::super::error::{Findings, Noted};
use super::super::raw::{RawRegistry, RawRegistryFraming};
use super::super::{Credentials, RegistryConfig, RegistryFraming};
use super::format::file;

/// Reads what is said of a registry.
pub(super) fn registry(
    raw: &RawRegistry,
    path: &str,
    findings: &mut Findings,
) -> Result<RegistryConfig, Noted> {
    let url = url(&raw.url, &format!("{path}.url"), findings);
    let credentials = credentials(raw, path, findings);
    let ca_file = raw.ca_file.as_ref().map(|it| file(it, &format!("{path}.ca_file"), findings));
    if raw.ca_file.is_some() && raw.url.starts_with("http://") {
        let hint = "write `https://` in `url`, or remove it";
        return Err(findings.add(&format!("{path}.ca_file"), "is not used without TLS", hint));
    }
    Ok(RegistryConfig {
        url: url?,
        framing: match raw.framing {
            RawRegistryFraming::Confluent => RegistryFraming::Confluent,
            RawRegistryFraming::Apicurio => RegistryFraming::Apicurio,
        },
        credentials: credentials?,
        ca_file: ca_file.transpose()?,
    })
}

/// Reads an address, which is shown in logs and must hold nothing that is secret.
fn url(text: &str, path: &str, findings: &mut Findings) -> Result<String, Noted> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if rest.is_some_and(|rest| rest.contains('@')) {
        let hint = "use `username` and `password`";
        return Err(findings.add(path, "holds an `@`, as before a password", hint));
    }
    let is_plain = |rest: &str| {
        let is_allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#');
        !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(is_allowed)
    };
    if !rest.is_some_and(is_plain) {
        let hint = "write it like `https://registry.example.org:8081`";
        return Err(findings.add(path, &format!("`{text}` is not an HTTP address"), hint));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn credentials(
    raw: &RawRegistry,
    path: &str,
    findings: &mut Findings,
) -> Result<Credentials, Noted> {
    match (&raw.username, &raw.password, &raw.token) {
        (None, None, None) => Ok(Credentials::None),
        (Some(username), Some(password), None) if !username.contains(':') => {
            let (username, password) = (username.clone(), password.0.clone());
            Ok(Credentials::Password { username, password })
        }
        (Some(_), Some(_), None) => {
            let hint = "write the name alone; it cannot have one";
            Err(findings.add(&format!("{path}.username"), "has a `:`", hint))
        }
        (None, None, Some(token)) if token.0.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Credentials::Token(token.0.clone()))
        }
        (None, None, Some(_)) => {
            let problem = "has a character that no token has, such as a space or line break";
            Err(findings.add(&format!("{path}.token"), problem, "write the token alone"))
        }
        (Some(_) | None, Some(_) | None, Some(_)) => {
            let hint = "keep the token, or both `username` and `password`";
            Err(findings.add(&format!("{path}.token"), "is beside another way to sign in", hint))
        }
        (Some(_), None, None) | (None, Some(_), None) => {
            let hint = "write both, or neither";
            Err(findings.add(path, "has only one of `username` and `password`", hint))
        }
    }
}
