//! Checks how schema registries are asked.
//!
//! Before: [`super::format`]. After: the edge asks it.

use std::path::PathBuf;

use super::super::error::{Findings, Noted};
use super::super::raw::{RawGlue, RawRegistry, RawRegistryFraming};
use super::super::{AwsKeys, Credentials, GlueConfig, RegistryConfig, RegistryFraming};
use super::format::file;

/// Reads what is said of a registry.
pub(super) fn registry(
    raw: &RawRegistry,
    path: &str,
    findings: &mut Findings,
) -> Result<RegistryConfig, Noted> {
    let url = url(&raw.url, &format!("{path}.url"), findings);
    let credentials = credentials(raw, path, findings);
    let ca_file = ca_file(raw.ca_file.as_deref(), &raw.url, path, findings);
    Ok(RegistryConfig {
        url: url?,
        framing: match raw.framing {
            RawRegistryFraming::Confluent => RegistryFraming::Confluent,
            RawRegistryFraming::ConfluentHeader => RegistryFraming::ConfluentHeader,
            RawRegistryFraming::Apicurio => RegistryFraming::Apicurio,
            RawRegistryFraming::Apicurio3 => RegistryFraming::Apicurio3,
        },
        credentials: credentials?,
        ca_file: ca_file?,
    })
}

/// Reads what is said of the registry of AWS Glue.
pub(super) fn glue(
    raw: &RawGlue,
    path: &str,
    findings: &mut Findings,
) -> Result<GlueConfig, Noted> {
    let is_region = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let region = if raw.region.is_empty() || !raw.region.chars().all(is_region) {
        let problem = format!("`{}` is no name of a region", raw.region);
        let hint = "write it like `eu-central-1`";
        Err(findings.add(&format!("{path}.region"), &problem, hint))
    } else {
        Ok(raw.region.clone())
    };
    let own = || format!("https://glue.{}.amazonaws.com", raw.region);
    let endpoint = match &raw.endpoint {
        None => Ok(own()),
        Some(text) => endpoint(text, &format!("{path}.endpoint"), findings),
    };
    let written = raw.endpoint.as_deref().unwrap_or_default();
    let ca_file = ca_file(raw.ca_file.as_deref(), written, path, findings);
    let keys = keys(raw, path, findings);
    Ok(GlueConfig { region: region?, endpoint: endpoint?, keys: keys?, ca_file: ca_file? })
}

/// Reads the address of a host: requests that are signed have no path.
fn endpoint(text: &str, path: &str, findings: &mut Findings) -> Result<String, Noted> {
    let hint =
        "write the host alone, such as `https://vpce-1-glue.eu-central-1.vpce.amazonaws.com`";
    if text.contains('@') {
        return Err(findings.add(path, "holds an `@`, as before a password", hint));
    }
    let read = url(text, path, findings)?;
    if read.split_once("://").is_some_and(|(_, host)| host.contains('/')) {
        return Err(findings.add(path, &format!("`{text}` has a path"), hint));
    }
    Ok(read)
}

fn keys(raw: &RawGlue, path: &str, findings: &mut Findings) -> Result<AwsKeys, Noted> {
    let secret = &raw.secret_access_key.0;
    let token = raw.session_token.as_ref().map(|it| it.0.as_str()).filter(|it| !it.is_empty());
    let mut check = |key: &str, text: &str| {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(text.to_owned());
        }
        let problem = "is empty, or has a character that none has, such as a space or line break";
        Err(findings.add(&format!("{path}.{key}"), problem, "write it as AWS shows it"))
    };
    let access_key_id = check("access_key_id", &raw.access_key_id);
    let secret_access_key = check("secret_access_key", secret);
    let session_token = token.map(|it| check("session_token", it)).transpose();
    Ok(AwsKeys {
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
        session_token: session_token?,
    })
}

fn ca_file(
    named: Option<&str>,
    url: &str,
    path: &str,
    findings: &mut Findings,
) -> Result<Option<PathBuf>, Noted> {
    let place = format!("{path}.ca_file");
    let read = named.map(|it| file(it, &place, findings)).transpose();
    if named.is_some() && url.starts_with("http://") {
        let hint = "write `https://` in the address, or remove it";
        return Err(findings.add(&place, "is not used without TLS", hint));
    }
    read
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
