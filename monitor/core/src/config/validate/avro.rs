//! Checks what messages are written in, and where schemas of Avro come from.
//!
//! Before: [`super::sources`]. After: the edge makes decoders by it.

use std::path::PathBuf;

use driftd_ingest::AvroFraming;

use super::super::error::{Findings, Noted};
use super::super::raw::{RawAvro, RawAvroFraming, RawFormat, RawRegistry, RawSource};
use super::super::{AvroConfig, Credentials, RegistryConfig, SourceFormat};

const ORIGINS: &str = "write one of `schema` (a file), `schemas` (files) and `registry`";

/// Reads the format of a source.
pub(super) fn format(
    source: &RawSource,
    path: &str,
    findings: &mut Findings,
) -> Result<SourceFormat, Noted> {
    let place = format!("{path}.avro");
    match (source.format, &source.avro) {
        (RawFormat::Json | RawFormat::Ndjson, None) => Ok(SourceFormat::Json),
        (RawFormat::Arrow, None) => {
            columns(source, path, "columns of Arrow", findings).map(|()| SourceFormat::Arrow)
        }
        (RawFormat::Json | RawFormat::Ndjson | RawFormat::Arrow, Some(_)) => {
            let hint = "write `format: avro` beside it, or remove it";
            Err(findings.add(&place, "is of another format than the topic's", hint))
        }
        (RawFormat::Avro, None) => Err(findings.add(&place, "is missing", ORIGINS)),
        (RawFormat::Avro, Some(avro)) => {
            let columns = columns(source, path, "fields of Avro", findings);
            let origin = origin(avro, &place, findings)?;
            columns.map(|()| SourceFormat::Avro(origin))
        }
    }
}

/// Refuses names of columns where the format has names of its own.
fn columns(
    source: &RawSource,
    path: &str,
    named: &str,
    findings: &mut Findings,
) -> Result<(), Noted> {
    if source.columns.is_none() {
        return Ok(());
    }
    let place = format!("{path}.columns");
    let hint = "remove it, and write the names of fields into the paths";
    Err(findings.add(&place, &format!("is for lists of JSON: {named} have their names"), hint))
}

fn origin(raw: &RawAvro, path: &str, findings: &mut Findings) -> Result<AvroConfig, Noted> {
    match (&raw.schema, &raw.schemas, &raw.registry) {
        (Some(named), None, None) => {
            file(named, &format!("{path}.schema"), findings).map(AvroConfig::Schema)
        }
        (None, Some(files), None) => {
            let named = files.iter().enumerate();
            let files: Vec<_> = named
                .map(|(index, it)| file(it, &format!("{path}.schemas[{index}]"), findings))
                .collect();
            Ok(AvroConfig::Schemas(files.into_iter().collect::<Result<_, _>>()?))
        }
        (None, None, Some(named)) => {
            registry(named, &format!("{path}.registry"), findings).map(AvroConfig::Registry)
        }
        (None, None, None) => Err(findings.add(path, "names no schemas", ORIGINS)),
        (Some(_) | None, Some(_) | None, Some(_) | None) => {
            Err(findings.add(path, "names more than one origin of schemas", ORIGINS))
        }
    }
}

fn file(text: &str, path: &str, findings: &mut Findings) -> Result<PathBuf, Noted> {
    if text.is_empty() {
        return Err(findings.add(path, "names no file", "write the path of a schema's file"));
    }
    Ok(text.into())
}

fn registry(
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
            RawAvroFraming::Confluent => AvroFraming::Confluent,
            RawAvroFraming::Apicurio => AvroFraming::Apicurio,
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
