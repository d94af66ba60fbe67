//! Checks who asks for retraining, and who answers.
//!
//! Before: [`super`]. After: policies for `driftd-alerts`, a command for the launcher.

use driftd_alerts::RetrainPolicy;

use super::super::error::{Findings, Noted};
use super::super::raw::{RawConfig, RawLauncher, RawModel, RawPolicy, RawRetraining};
use super::super::{LauncherConfig, RetrainingConfig};
use super::{distinct, millis, positive_millis};

/// Where the names stand that a policy counts.
const NAMES: [&str; 3] =
    ["models[].features[].name", "models[].predictions[].name", "retraining.policies[].features"];

/// Checks the events that ask for retraining.
pub(super) fn retraining(
    raw: &RawConfig,
    retraining: &RawRetraining,
    findings: &mut Findings,
) -> Result<RetrainingConfig, Noted> {
    let policies = || retraining.policies.iter().enumerate();
    let at = |index| format!("retraining.policies[{index}]");
    let names = policies().map(|(index, it)| (format!("{}.name", at(index)), it.name.0.as_str()));
    distinct(names, "policy", findings);
    let checked: Vec<_> =
        policies().map(|(index, it)| policy(raw, it, &at(index), findings)).collect();
    Ok(RetrainingConfig {
        topic: retraining.topic.0.clone(),
        status_topic: retraining.status_topic.0.clone(),
        policies: checked.into_iter().collect::<Result<_, _>>()?,
    })
}

fn policy(
    raw: &RawConfig,
    policy: &RawPolicy,
    path: &str,
    findings: &mut Findings,
) -> Result<RetrainPolicy, Noted> {
    let counted = policy.features.as_deref();
    // What is not known here may be the name that could not be read there.
    let is_sure = !NAMES.iter().any(|kind| findings.doubts(kind));
    if let Some(counted) = counted {
        let at = |index| format!("{path}.features[{index}]");
        let names = || counted.iter().enumerate().map(|(index, it)| (at(index), it.0.as_str()));
        distinct(names(), "feature", findings);
        for (path, name) in names().filter(|(_, name)| is_sure && !is_watched(raw, name)) {
            findings.add(
                &path,
                &format!("`{name}` is no feature or prediction of any model"),
                "use a name from `models[].features` or `models[].predictions`",
            );
        }
    }
    let watched = |it: &RawModel| it.features.len() + it.predictions.len();
    let most = match counted {
        Some(counted) => counted.len(),
        None => raw.models.iter().map(watched).max().unwrap_or_default(),
    };
    let minimum = policy.minimum_features;
    if usize::try_from(minimum).is_ok_and(|it| most < it) && is_sure {
        findings.add(
            &format!("{path}.minimum_features"),
            &format!("is {minimum}, but only {most} features count"),
            &format!("use at most {most}"),
        );
    }
    let cooldown_millis = millis(&policy.cooldown, &format!("{path}.cooldown"), findings);
    let expiry_millis = millis(&policy.expiry, &format!("{path}.expiry"), findings);
    Ok(RetrainPolicy {
        name: policy.name.0.as_str().into(),
        minimum_features: minimum,
        features: counted.map(|it| it.iter().map(|it| it.0.as_str().into()).collect()),
        cooldown_millis: cooldown_millis?,
        expiry_millis: expiry_millis?,
    })
}

fn is_watched(raw: &RawConfig, name: &str) -> bool {
    let columns =
        |it: &RawModel| it.features.iter().chain(&it.predictions).any(|it| it.name.0 == name);
    raw.models.iter().any(columns)
}

/// Checks the launcher of jobs.
pub(super) fn launcher(
    raw: &RawConfig,
    launcher: &RawLauncher,
    findings: &mut Findings,
) -> Result<LauncherConfig, Noted> {
    if raw.retraining.is_none() && !findings.doubts("retraining") {
        findings.add(
            "launcher",
            "has no requests to answer, because there is no `retraining`",
            "add `retraining`, or remove `launcher`",
        );
    }
    if launcher.command.first().is_some_and(String::is_empty) {
        findings.add("launcher.command[0]", "names no program", "write the path of a program");
    }
    let timeout_millis = positive_millis(&launcher.timeout, "launcher.timeout", findings);
    let cooldown_millis = millis(&launcher.cooldown, "launcher.cooldown", findings);
    let group = launcher.group.clone().unwrap_or_else(|| format!("{}-launcher", raw.name.0));
    let watcher = raw.kafka.as_ref().map(|it| it.group.as_deref().unwrap_or(&raw.name.0));
    if watcher == Some(group.as_str()) {
        findings.add(
            "launcher.group",
            &format!("`{group}` is the consumer group of the watching job too"),
            "give the launcher a group of its own",
        );
    }
    Ok(LauncherConfig {
        command: launcher.command.clone(),
        working_directory: launcher.working_directory.as_ref().map(Into::into),
        timeout_millis: timeout_millis?.unsigned_abs(),
        concurrency_max: launcher.concurrency_max,
        cooldown_millis: cooldown_millis?.unsigned_abs(),
        group,
    })
}
