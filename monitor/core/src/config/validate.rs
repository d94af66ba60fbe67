//! From the file as written to a valid configuration: the only way to a [`Config`].
//!
//! Before: [`super::raw`], whose keys have their types already. After: everything. Checks what
//! needs more than one value, or more than a pattern, and finds all of it at once. One file a part.

mod features;
mod format;
mod join;
pub(super) mod kafka;
mod lists;
mod memory;
mod models;
mod outputs;
mod performance;
mod registry;
mod retraining;
mod sources;
mod windows;

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use driftd_alerts::HysteresisPolicy;
use driftd_detectors::DecisionPolicy;
use driftd_ingest::{EnvelopeValue, FieldPath, PathProblem};

use super::Config;
use super::duration;
use super::error::{Findings, Noted};
use super::raw::{RawAlerts, RawConfig};
use super::text::{DURATION_HINT, DurationText};

/// Checks everything. Reads every part before it gives up on one, so that no problem hides another.
pub(super) fn validate(raw: &RawConfig, findings: &mut Findings) -> Result<Config, Noted> {
    let name = raw.name.0.as_str();
    let kafka = raw.kafka.as_ref().map(|it| kafka::kafka(it, name, findings));
    let policies = features::Policies::read(&raw.detection, findings);
    let models = models::models(raw, &policies, findings);
    let sources = sources::sources(raw, &models, findings);
    let hysteresis = hysteresis(&raw.alerts, findings);
    let state = raw.state.as_ref().map(|it| outputs::state(it, findings));
    let scale_out = raw.scale_out.as_ref().map(|it| outputs::scale_out(raw, it, findings));
    let retraining = raw.retraining.as_ref().map(|it| retraining::retraining(raw, it, findings));
    let launcher = raw.launcher.as_ref().map(|it| retraining::launcher(raw, it, findings));
    let memory = memory::memory(&raw.memory, findings);
    let outputs = outputs::outputs(&raw.outputs, findings);
    let telemetry = outputs::telemetry(&raw.telemetry, findings);
    outputs::topics(raw, findings);
    Ok(Config {
        name: name.into(),
        kafka,
        sources: sources?,
        models: models.into_iter().map(|it| it.map(|it| it.config)).collect::<Result<_, _>>()?,
        decision: DecisionPolicy {
            false_discovery_rate: raw.detection.false_discovery_rate,
            confidence: raw.detection.confidence,
        },
        hysteresis: hysteresis?,
        state: state.transpose()?,
        scale_out: scale_out.transpose()?,
        retraining: retraining.transpose()?,
        launcher: launcher.transpose()?,
        memory: memory?,
        outputs,
        telemetry,
    })
}

fn hysteresis(raw: &RawAlerts, findings: &mut Findings) -> Result<HysteresisPolicy, Noted> {
    HysteresisPolicy::try_new(raw.raise, raw.of, raw.clear)
        .map_err(|error| findings.add("alerts", &error.to_string(), "choose `raise` up to `of`"))
}

/// Reads a length of time that may be zero.
fn millis(text: &DurationText, path: &str, findings: &mut Findings) -> Result<i64, Noted> {
    duration::parse(&text.0)
        .map_err(|error| findings.add(path, &format!("`{}` {error}", text.0), DURATION_HINT))
}

/// Reads a length of time that has to pass.
fn positive_millis(text: &DurationText, path: &str, findings: &mut Findings) -> Result<i64, Noted> {
    match millis(text, path, findings)? {
        0 => {
            let hint = "write a length of time above zero, such as `1m`";
            Err(findings.add(path, "is zero", hint))
        }
        millis => Ok(millis),
    }
}

/// Reads a path to what is not a time.
fn field_path(text: &str, path: &str, findings: &mut Findings) -> Result<FieldPath, Noted> {
    let read = time_path(text, path, findings)?;
    if read.beside() != Some(&EnvelopeValue::Time) {
        return Ok(read);
    }
    let problem = format!("is `{text}`: Kafka's time, which is read as the event time only");
    Err(findings.add(path, &problem, "name another value"))
}

/// Reads a path into a record, or to a value beside it.
fn time_path(text: &str, path: &str, findings: &mut Findings) -> Result<FieldPath, Noted> {
    FieldPath::parse(text).map_err(|error| {
        let problem = format!("is `{text}`: {}, at character {}", error.problem, error.position);
        let hint = match error.problem {
            PathProblem::SecondEach => {
                "keep one `[]`: the list with an element for each record; write the place in \
                 another list, such as `[0]`"
            }
            PathProblem::NotBeside => {
                r"write `$headers.ce_time` for a header, a dot inside its name as `\.`"
            }
            PathProblem::KeyExpected
            | PathProblem::IndexExpected
            | PathProblem::SeparatorExpected { .. }
            | PathProblem::UnknownEscape
            | PathProblem::TooDeep
            | PathProblem::TooLong => {
                r"write keys joined by `.`, list places as `[2]`, a dot inside a key as `\.`"
            }
        };
        findings.add(path, &problem, hint)
    })
}

/// Finds names that were used before.
fn distinct<'a>(
    names: impl Iterator<Item = (String, &'a str)>,
    kind: &str,
    findings: &mut Findings,
) {
    let mut seen = BTreeMap::new();
    for (path, name) in names {
        if let Some(first) = seen.get(name) {
            findings.add(
                &path,
                &format!("names the {kind} `{name}` again, after `{first}`"),
                "give it a name of its own, or remove one of the two",
            );
        } else {
            seen.insert(name, path);
        }
    }
}

/// Checks `host:port`, `[::1]:port` too. Returns whether it is one.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host = match host.strip_prefix('[') {
        Some(inner) => {
            return inner.strip_suffix(']').is_some_and(|it| it.parse::<Ipv6Addr>().is_ok())
                && port.parse::<u16>().is_ok();
        }
        None => host,
    };
    !host.is_empty()
        && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        && port.parse::<u16>().is_ok()
}
