//! Checks how requests and responses of a source are joined.
//!
//! Before: [`super::sources`]. After: [`crate::join`] keeps halves by it.

use std::sync::Arc;

use driftd_ingest::{FieldPath, HalfForm, HalfSchema};

use super::super::error::{Findings, Noted};
use super::super::raw::{RawConfig, RawJoin, RawSource};
use super::super::size;
use super::super::{JoinConfig, SHARED_ROW_BYTES_MAX};
use super::{field_path, format, positive_millis};

/// Halves of a partition are written within one transaction at the worst, and its time is bounded.
const BYTES_MAX: u64 = 1 << 30;

/// What lies beside the payload of a half that waits, and around both.
const ROW_REST_BYTES: usize = 1 << 20;

/// Reads the join of a source, if it has one.
pub(super) fn join(
    raw: &RawConfig,
    source: &RawSource,
    path: &str,
    findings: &mut Findings,
) -> Result<Option<Arc<JoinConfig>>, Noted> {
    let is_shared = raw.scale_out.is_some();
    let Some(raw) = &source.join else { return Ok(None) };
    let form = format::halves(source, path, findings)?;
    if is_shared {
        row_bytes(source, path, findings)?;
    }
    let path = format!("{path}.join");
    let id = one_value(&raw.id, &format!("{path}.id"), findings);
    let side = side(&raw.side, form, &format!("{path}.side"), findings);
    let texts = texts(raw, &path, findings);
    let within = positive_millis(&raw.within, &format!("{path}.within"), findings);
    let bytes = bytes_max(source, raw, &format!("{path}.bytes_max"), findings);
    texts?;
    Ok(Some(Arc::new(JoinConfig {
        half: HalfSchema {
            id: id?,
            side: side?,
            request: raw.request.as_str().into(),
            response: raw.response.as_str().into(),
            form,
        },
        within_millis: within?,
        bytes_max: bytes?,
        records_max: u64::from(raw.records_max),
    })))
}

/// Refuses halves that could not wait: each is one row of the topic of the state.
fn row_bytes(source: &RawSource, path: &str, findings: &mut Findings) -> Result<(), Noted> {
    let (bytes, most) = (source.payload_bytes_max, SHARED_ROW_BYTES_MAX - ROW_REST_BYTES);
    if bytes <= most {
        return Ok(());
    }
    let problem = format!(
        "is {bytes}, and with `scale_out` a request or response that waits for its other half is \
         one message of the state topic, which takes {SHARED_ROW_BYTES_MAX} bytes"
    );
    let hint = format!("lower it to {most} or less");
    Err(findings.add(&format!("{path}.payload_bytes_max"), &problem, &hint))
}

/// Reads a path to one value of a message.
fn one_value(text: &str, path: &str, findings: &mut Findings) -> Result<FieldPath, Noted> {
    let read = field_path(text, path, findings)?;
    if read.beside().is_some() || read.has_fixed_place() {
        return Ok(read);
    }
    let problem = format!("is `{text}`, which is not one value of a message");
    Err(findings.add(path, &problem, "name one, such as `$headers.ce_id` or `id`"))
}

/// Reads where a message says its side. A body of the protocol does not: which it is has to be
/// known before it is read.
fn side(
    text: &str,
    form: HalfForm,
    path: &str,
    findings: &mut Findings,
) -> Result<FieldPath, Noted> {
    let read = one_value(text, path, findings)?;
    let is_body = match form {
        HalfForm::Json => false,
        HalfForm::InferenceJson | HalfForm::InferenceProtobuf => true,
    };
    if is_body && read.beside().is_none() {
        let problem = format!("is `{text}`, and a body of the protocol does not say its side");
        let hint = "name a header that does, such as `$headers.ce_type`";
        return Err(findings.add(path, &problem, hint));
    }
    Ok(read)
}

/// Checks that the texts of the two sides tell them apart.
fn texts(raw: &RawJoin, path: &str, findings: &mut Findings) -> Result<(), Noted> {
    let hint = "write the text of each, such as `org.kubeflow.serving.inference.request`";
    for (key, text) in [("request", &raw.request), ("response", &raw.response)] {
        if text.is_empty() {
            return Err(findings.add(&format!("{path}.{key}"), "is no text", hint));
        }
    }
    if raw.request == raw.response {
        let problem = format!("is `{}`, as `request` is", raw.response);
        return Err(findings.add(&format!("{path}.response"), &problem, hint));
    }
    Ok(())
}

fn bytes_max(
    source: &RawSource,
    raw: &RawJoin,
    path: &str,
    findings: &mut Findings,
) -> Result<u64, Noted> {
    let text = &raw.bytes_max.0;
    let bytes = size::parse(text).ok_or_else(|| {
        findings.add(path, &format!("`{text}` is no amount of memory"), size::HINT)
    })?;
    let least = 2 * source.payload_bytes_max as u64;
    if bytes < least {
        let problem = format!("is `{text}`, less than two messages of `payload_bytes_max`");
        let hint = format!("raise it to {}KiB or more, or lower that", least.div_ceil(1 << 10));
        return Err(findings.add(path, &problem, &hint));
    }
    if BYTES_MAX < bytes {
        let problem = format!("is `{text}` for each partition, more than 1GiB");
        return Err(findings.add(path, &problem, "lower it, or give the topic more partitions"));
    }
    Ok(bytes)
}
