//! Checks where results and state go, and that nothing driftd writes comes back to it as input.
//!
//! Before: [`super`]. After: the edge serves and produces by it.

use super::super::error::{Findings, Noted};
use super::super::raw::{
    RawConfig, RawDurability, RawOutputs, RawScaleOut, RawState, RawTelemetry,
};
use super::super::{Durability, OutputsConfig, ScaleOutConfig, StateConfig, TelemetryConfig};
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

/// Checks how several processes share the work.
pub(super) fn scale_out(
    raw: &RawConfig,
    scale_out: &RawScaleOut,
    findings: &mut Findings,
) -> Result<ScaleOutConfig, Noted> {
    if raw.state.is_some() {
        findings.add(
            "scale_out",
            "stands beside `state`",
            "keep one of the two: with `scale_out`, what is kept lies in its topic",
        );
    }
    let path = "scale_out.commit_interval";
    let interval = positive_millis(&scale_out.commit_interval, path, findings)?;
    Ok(ScaleOutConfig {
        partials_topic: partials_topic(raw, scale_out),
        state_topic: state_topic(raw, scale_out),
        lanes: scale_out.lanes,
        replicas: scale_out.replicas,
        commit_interval_millis: interval,
    })
}

fn partials_topic(raw: &RawConfig, scale_out: &RawScaleOut) -> String {
    let topic = scale_out.partials_topic.as_ref();
    topic.map_or_else(|| format!("{}.partials", raw.name.0), |topic| topic.0.clone())
}

fn state_topic(raw: &RawConfig, scale_out: &RawScaleOut) -> String {
    let topic = scale_out.state_topic.as_ref();
    topic.map_or_else(|| format!("{}.state", raw.name.0), |topic| topic.0.clone())
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
    let mut written: Vec<(String, String)> = Vec::new();
    let mut add = |path: &str, topic: &str| written.push((path.to_owned(), topic.to_owned()));
    if let Some(retraining) = &raw.retraining {
        add("retraining.topic", &retraining.topic.0);
        add("retraining.status_topic", &retraining.status_topic.0);
    }
    if let Some(topic) = &raw.outputs.results_topic {
        add("outputs.results_topic", &topic.0);
    }
    if let Some(scale_out) = &raw.scale_out {
        add("scale_out.partials_topic", &partials_topic(raw, scale_out));
        add("scale_out.state_topic", &state_topic(raw, scale_out));
    }
    let other_kinds = written.len();
    for (index, source) in raw.sources.iter().enumerate() {
        if let Some(topic) = &source.dead_letter_topic {
            written.push((format!("sources[{index}].dead_letter_topic"), topic.0.clone()));
        }
    }
    for (index, (path, topic)) in written.iter().enumerate() {
        // Sources may share a dead-letter topic.
        let before = written.iter().take(index.min(other_kinds)).find(|(_, it)| it == topic);
        let read = raw.sources.iter().position(|it| it.topic.0 == *topic);
        let clash = match (before, read) {
            (Some((other, _)), _) => other.clone(),
            (None, Some(source)) => format!("sources[{source}].topic"),
            (None, None) => continue,
        };
        findings.add(
            path,
            &format!("`{topic}` is the topic of `{clash}` too"),
            "give each a topic of its own",
        );
    }
}
