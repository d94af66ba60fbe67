//! Checks what messages are written in, and where their schemas come from.
//!
//! Before: [`super::sources`]. After: the edge makes decoders by it.

use std::path::PathBuf;

use driftd_ingest::{HalfForm, InferenceMessage};

use super::super::error::{Findings, Noted};
use super::super::raw::{RawAvro, RawFormat, RawInferenceMessage, RawProtobuf, RawSource};
use super::super::{AvroConfig, ProtobufConfig, ProtobufFiles, SourceFormat};
use super::registry::{glue, registry};

const SCHEMAS: &str = "write one of `schema` (a file), `schemas` (files), `registry` and `glue`";
const TYPES: &str = "write `message` with one of `proto` (a file) and `descriptors` (a file), or \
                     one of `registry` and `glue`";

/// Reads the format of a source.
pub(super) fn format(
    source: &RawSource,
    path: &str,
    findings: &mut Findings,
) -> Result<SourceFormat, Noted> {
    let avro = section(source, RawFormat::Avro, source.avro.as_ref(), path, findings);
    let protobuf = section(source, RawFormat::Protobuf, source.protobuf.as_ref(), path, findings);
    let (avro, protobuf) = (avro?, protobuf?);
    if let Some(avro) = avro {
        return avro_origin(avro, &format!("{path}.avro"), findings).map(SourceFormat::Avro);
    }
    if let Some(protobuf) = protobuf {
        let place = format!("{path}.protobuf");
        return protobuf_origin(protobuf, &place, findings).map(SourceFormat::Protobuf);
    }
    if source.format == RawFormat::Arrow {
        let columns = columns(source, "columns of Arrow", path, findings);
        return columns.map(|()| SourceFormat::Arrow);
    }
    // Bodies of the protocol become JSON: the schema has what they are.
    if source.format == RawFormat::OpenInference {
        columns(source, "tensors", path, findings)?;
    }
    Ok(SourceFormat::Json)
}

/// Reads what bodies of the Open Inference Protocol are, if messages are some.
pub(super) fn inference(
    source: &RawSource,
    path: &str,
    findings: &mut Findings,
) -> Result<Option<InferenceMessage>, Noted> {
    let message = source.open_inference.as_ref().map(|it| it.message);
    match (source.format == RawFormat::OpenInference, message) {
        (false, None) => Ok(None),
        (false, Some(_)) => {
            let hint = "write `format: open_inference` beside it, or remove it";
            let place = format!("{path}.open_inference");
            Err(findings.add(&place, "is of another format than the topic's", hint))
        }
        // What halves are, the join has.
        (true, _) if source.join.is_some() => Ok(None),
        (true, message) => match message.unwrap_or_default() {
            RawInferenceMessage::Json => Ok(Some(InferenceMessage::Json)),
            RawInferenceMessage::Request => Ok(Some(InferenceMessage::Request)),
            RawInferenceMessage::Response => Ok(Some(InferenceMessage::Response)),
            RawInferenceMessage::Protobuf => {
                let problem = "is `protobuf`, and without `join` nothing tells a request from a \
                               response";
                let hint = "write `request` or `response`, or add `join`";
                Err(findings.add(&format!("{path}.open_inference.message"), problem, hint))
            }
        },
    }
}

/// Reads what the requests and responses are that a source joins.
pub(super) fn halves(
    source: &RawSource,
    path: &str,
    findings: &mut Findings,
) -> Result<HalfForm, Noted> {
    match source.format {
        RawFormat::Json => return Ok(HalfForm::Json),
        RawFormat::OpenInference => {}
        RawFormat::Ndjson | RawFormat::Avro | RawFormat::Protobuf | RawFormat::Arrow => {
            let problem = "is for messages that are one document of JSON each, or one body of the \
                           open inference protocol";
            let hint = "write `format: json` or `format: open_inference`, or remove it";
            return Err(findings.add(&format!("{path}.join"), problem, hint));
        }
    }
    let written = match source.open_inference.as_ref().map(|it| it.message).unwrap_or_default() {
        RawInferenceMessage::Json => return Ok(HalfForm::InferenceJson),
        RawInferenceMessage::Protobuf => return Ok(HalfForm::InferenceProtobuf),
        RawInferenceMessage::Request => "request",
        RawInferenceMessage::Response => "response",
    };
    let problem = format!("is `{written}`, and messages that are joined are both");
    let hint = "write `protobuf`: of each message `join.side` tells which it is";
    Err(findings.add(&format!("{path}.open_inference.message"), &problem, hint))
}

/// Returns whether messages are documents of JSON, which alone has some of the keys.
pub(super) fn is_json(format: RawFormat) -> bool {
    match format {
        RawFormat::Json | RawFormat::Ndjson => true,
        RawFormat::Avro | RawFormat::Protobuf | RawFormat::Arrow | RawFormat::OpenInference => {
            false
        }
    }
}

/// Returns whether messages are documents of JSON, or become some.
pub(super) fn becomes_json(format: RawFormat) -> bool {
    is_json(format) || format == RawFormat::OpenInference
}

/// Returns the section of a format, which has to be there with that format and no other one.
fn section<'a, T>(
    source: &RawSource,
    format: RawFormat,
    section: Option<&'a T>,
    path: &str,
    findings: &mut Findings,
) -> Result<Option<&'a T>, Noted> {
    let (key, name, origins) = match format {
        RawFormat::Json | RawFormat::Ndjson | RawFormat::Arrow | RawFormat::OpenInference => {
            return Ok(None);
        }
        RawFormat::Avro => ("avro", "Avro", SCHEMAS),
        RawFormat::Protobuf => ("protobuf", "Protobuf", TYPES),
    };
    let place = format!("{path}.{key}");
    match (source.format == format, section) {
        (false, None) => Ok(None),
        (false, Some(_)) => {
            let hint = format!("write `format: {key}` beside it, or remove it");
            Err(findings.add(&place, "is of another format than the topic's", &hint))
        }
        (true, None) => Err(findings.add(&place, "is missing", origins)),
        (true, Some(section)) => {
            let named = format!("fields of {name}");
            columns(source, &named, path, findings).map(|()| Some(section))
        }
    }
}

/// Refuses names of columns where the format has names of its own.
fn columns(
    source: &RawSource,
    named: &str,
    path: &str,
    findings: &mut Findings,
) -> Result<(), Noted> {
    if source.columns.is_none() {
        return Ok(());
    }
    let place = format!("{path}.columns");
    let problem = format!("is for lists of JSON: {named} have their names");
    let hint = "remove it, and write the names of fields into the paths";
    Err(findings.add(&place, &problem, hint))
}

fn avro_origin(raw: &RawAvro, path: &str, findings: &mut Findings) -> Result<AvroConfig, Noted> {
    match (&raw.schema, &raw.schemas, &raw.registry, &raw.glue) {
        (Some(named), None, None, None) => {
            file(named, &format!("{path}.schema"), findings).map(AvroConfig::Schema)
        }
        (None, Some(named), None, None) => {
            files(named, &format!("{path}.schemas"), findings).map(AvroConfig::Schemas)
        }
        (None, None, Some(named), None) => {
            registry(named, &format!("{path}.registry"), findings).map(AvroConfig::Registry)
        }
        (None, None, None, Some(named)) => {
            glue(named, &format!("{path}.glue"), findings).map(AvroConfig::Glue)
        }
        (None, None, None, None) => Err(findings.add(path, "names no schemas", SCHEMAS)),
        (Some(_) | None, Some(_) | None, Some(_) | None, Some(_) | None) => {
            Err(findings.add(path, "names more than one origin of schemas", SCHEMAS))
        }
    }
}

fn protobuf_origin(
    raw: &RawProtobuf,
    path: &str,
    findings: &mut Findings,
) -> Result<ProtobufConfig, Noted> {
    if raw.include.is_some() && raw.proto.is_none() {
        let hint = "write `proto` beside it, or remove it";
        return Err(findings.add(&format!("{path}.include"), "is of use with `proto` only", hint));
    }
    let defined = match (&raw.proto, &raw.descriptors, &raw.registry, &raw.glue) {
        (Some(named), None, None, None) => {
            let include = raw.include.as_deref().unwrap_or_default();
            let include = files(include, &format!("{path}.include"), findings);
            let file = file(named, &format!("{path}.proto"), findings)?;
            ProtobufFiles::Proto { file, include: include? }
        }
        (None, Some(named), None, None) => {
            let file = file(named, &format!("{path}.descriptors"), findings)?;
            ProtobufFiles::Descriptors(file)
        }
        (None, None, Some(_), None) | (None, None, None, Some(_)) => {
            return protobuf_registry(raw, path, findings);
        }
        (None, None, None, None) => return Err(findings.add(path, "names no types", TYPES)),
        (Some(_) | None, Some(_) | None, Some(_) | None, Some(_) | None) => {
            return Err(findings.add(path, "names more than one origin of types", TYPES));
        }
    };
    let place = format!("{path}.message");
    let hint = "write the full name of a message, such as `shop.v1.Prediction`";
    match raw.message.as_deref() {
        None => Err(findings.add(&place, "is missing", hint)),
        Some("") => Err(findings.add(&place, "names no message", hint)),
        Some(message) => Ok(ProtobufConfig::Type { files: defined, message: message.to_owned() }),
    }
}

/// Reads which registry messages name their schema in.
fn protobuf_registry(
    raw: &RawProtobuf,
    path: &str,
    findings: &mut Findings,
) -> Result<ProtobufConfig, Noted> {
    if raw.message.is_some() {
        let problem = "is of no use with a registry: its messages say of which type they are";
        return Err(findings.add(&format!("{path}.message"), problem, "remove it"));
    }
    if let Some(named) = &raw.glue {
        return glue(named, &format!("{path}.glue"), findings).map(ProtobufConfig::Glue);
    }
    let Some(named) = &raw.registry else {
        return Err(findings.add(path, "names no types", TYPES));
    };
    let place = format!("{path}.registry");
    registry(named, &place, findings).map(ProtobufConfig::Registry)
}

fn files(named: &[String], path: &str, findings: &mut Findings) -> Result<Vec<PathBuf>, Noted> {
    let named = named.iter().enumerate();
    let files = named.map(|(index, it)| file(it, &format!("{path}[{index}]"), findings));
    let files: Vec<_> = files.collect();
    files.into_iter().collect()
}

pub(super) fn file(text: &str, path: &str, findings: &mut Findings) -> Result<PathBuf, Noted> {
    if text.is_empty() {
        return Err(findings.add(path, "names no file", "write the path of a schema's file"));
    }
    Ok(text.into())
}
