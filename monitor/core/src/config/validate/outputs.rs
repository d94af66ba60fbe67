//! Checks where results and state go, and that nothing driftd writes comes back to it as input.
//!
//! Before: [`super`]. After: the edge serves and produces by it.

use super::super::error::{Findings, Noted};
use super::super::raw::{RawConfig, RawDurability, RawOutputs, RawState, RawTelemetry};
use super::super::text::Topic;
use super::super::{Durability, OutputsConfig, StateConfig, TelemetryConfig};
use super::{is_address, positive_millis};

/// Checks what is shown and written.
pub(super) fn outputs(raw: &RawOutputs, findings: &mut Findings) -> OutputsConfig {
    if !is_address(&raw.listen) {
        findings.add(
            "outputs.listen",
            &format!("`{}` is not `host:port`", raw.listen),
            "write it like `127.0.0.1:9464`, or `0.0.0.0:9464` for all interfaces",
        );
    }
    OutputsConfig {
        listen: raw.listen.clone(),
        results_topic: raw.results_topic.as_ref().map(|it| it.0.clone()),
        features_exported_max: raw.features_exported_max,
    }
}

/// Checks where state is kept.
pub(super) fn state(raw: &RawState, findings: &mut Findings) -> Result<StateConfig, Noted> {
    let interval = positive_millis(&raw.commit_interval, "state.commit_interval", findings);
    Ok(StateConfig {
        folder: raw.folder.as_str().into(),
        commit_interval_millis: interval?,
        durability: match raw.durability {
            RawDurability::Process => Durability::Process,
            RawDurability::Power => Durability::Power,
        },
    })
}

/// Checks where traces go.
pub(super) fn telemetry(raw: &RawTelemetry, findings: &mut Findings) -> TelemetryConfig {
    if let Some(endpoint) = &raw.otlp_endpoint {
        let rest = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
        if rest.is_none_or(|it| it.is_empty() || it.starts_with('/') || it.contains(' ')) {
            findings.add(
                "telemetry.otlp_endpoint",
                &format!("`{endpoint}` is not an HTTP address"),
                "write it like `http://127.0.0.1:4318`",
            );
        }
    }
    TelemetryConfig { otlp_endpoint: raw.otlp_endpoint.clone() }
}

/// Checks that each written topic has one kind of content, and is not read as inference log.
pub(super) fn topics(raw: &RawConfig, findings: &mut Findings) {
    let mut written: Vec<(String, &Topic)> = Vec::new();
    if let Some(retraining) = &raw.retraining {
        written.push(("retraining.topic".into(), &retraining.topic));
        written.push(("retraining.status_topic".into(), &retraining.status_topic));
    }
    if let Some(topic) = &raw.outputs.results_topic {
        written.push(("outputs.results_topic".into(), topic));
    }
    let other_kinds = written.len();
    for (index, source) in raw.sources.iter().enumerate() {
        if let Some(topic) = &source.dead_letter_topic {
            written.push((format!("sources[{index}].dead_letter_topic"), topic));
        }
    }
    for (index, (path, topic)) in written.iter().enumerate() {
        // Sources may share a dead-letter topic.
        let before = written.iter().take(index.min(other_kinds)).find(|(_, it)| it == topic);
        let read = raw.sources.iter().position(|it| it.topic == **topic);
        let clash = match (before, read) {
            (Some((other, _)), _) => other.clone(),
            (None, Some(source)) => format!("sources[{source}].topic"),
            (None, None) => continue,
        };
        findings.add(
            path,
            &format!("`{}` is the topic of `{clash}` too", topic.0),
            "give each a topic of its own",
        );
    }
}
