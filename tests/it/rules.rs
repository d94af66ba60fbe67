//! Metric names and alert rules, judged by Prometheus' and Alertmanager's own tools.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fs, io};

use driftd_catalog::metric::{METRICS, Metric, MetricKind};

fn alerts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../alerts")
}

/// Runs a tool in `alerts/`, and returns what it printed.
fn run(tool: &str, arguments: &[&str]) -> String {
    check(tool, arguments, Command::new(tool).args(arguments).current_dir(alerts()).output())
}

/// Returns what a tool printed; fails when it is not installed, or found fault.
fn check(tool: &str, arguments: &[&str], output: io::Result<Output>) -> String {
    let output = output.unwrap_or_else(|error| {
        panic!(
            "`{tool}` cannot be run ({error}): install the Debian packages `prometheus` and \
             `prometheus-alertmanager`, or let `tests/run --tools` do it"
        )
    });
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "`{tool} {}` failed:\n{text}", arguments.join(" "));
    text
}

/// One sample of a metric, in the text format 0.0.4.
fn exposition(metric: &Metric) -> String {
    let labels: Vec<_> =
        metric.labels.iter().map(|label| format!("{}=\"x\"", label.as_str())).collect();
    let labels = labels.join(",");
    let name = metric.name;
    let samples = match metric.kind {
        MetricKind::Counter | MetricKind::Gauge => format!("{name}{{{labels}}} 1\n"),
        MetricKind::Histogram { buckets } => {
            let comma = if labels.is_empty() { "" } else { "," };
            let bounds = buckets.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
            let buckets: Vec<_> = bounds
                .map(|bound| format!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} 1\n"))
                .collect();
            let buckets = buckets.concat();
            format!("{buckets}{name}_sum{{{labels}}} 0.01\n{name}_count{{{labels}}} 1\n")
        }
    };
    format!("# HELP {name} {}\n# TYPE {name} {}\n{samples}", metric.help, metric.kind.as_str())
}

#[test]
fn promtool_accepts_every_metric_of_the_catalogue() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("metrics.txt");
    let text: String = METRICS.iter().map(exposition).collect();
    fs::write(&file, text).expect("the temporary folder can be written");
    let input = fs::File::open(&file).expect("it was just written");
    let output = Command::new("promtool").args(["check", "metrics"]).stdin(input).output();
    check("promtool", &["check", "metrics"], output);
}

#[test]
fn promtool_accepts_the_rules() {
    let text = run("promtool", &["check", "rules", "rules/driftd.rules.yaml"]);
    let count = driftd_alerts::rules::rules().len();
    assert!(text.contains(&format!("{count} rules found")), "{text}");
}

#[test]
fn rules_fire_hold_and_resolve_as_tested() {
    run("promtool", &["test", "rules", "rules/driftd.rules.test.yaml"]);
}

#[test]
fn every_alert_is_tested_to_fire_and_not_to_fire() {
    let tests = include_str!("../../alerts/rules/driftd.rules.test.yaml");
    let lines: Vec<_> = tests.lines().map(str::trim).collect();
    for rule in driftd_alerts::rules::rules() {
        let name = format!("alertname: {}", rule.alert);
        let mut expectations = lines
            .iter()
            .enumerate()
            .filter(|(_, line)| **line == name)
            .filter_map(|(at, _)| lines.get(at + 1));
        assert!(expectations.clone().any(|next| *next == "exp_alerts:"), "{} fires", rule.alert);
        // The heartbeat has no state in which it is silent.
        let silent =
            rule.alert == "DriftdWatchdog" || expectations.any(|next| *next == "exp_alerts: []");
        assert!(silent, "{} is tested not to fire", rule.alert);
    }
}

#[test]
fn amtool_accepts_the_configuration() {
    run("amtool", &["check-config", "alertmanager/alertmanager.yaml"]);
}

#[test]
fn alerts_reach_whoever_has_to_act() {
    for (receiver, labels) in [
        ("heartbeat", &["alertname=DriftdWatchdog", "severity=none"][..]),
        ("on-call", &["alertname=DriftdDown", "severity=critical"]),
        ("on-call", &["alertname=ModelDataQualityBroken", "severity=critical", "model=flights"]),
        ("tickets", &["alertname=ModelDataQualityBroken", "severity=warning", "model=flights"]),
        ("tickets", &["alertname=ModelDrifted", "severity=warning", "model=flights"]),
        ("nobody", &["alertname=ModelFeatureDrift", "severity=info", "model=flights"]),
    ] {
        let verify = format!("--verify.receivers={receiver}");
        let mut arguments = vec![
            "config",
            "routes",
            "test",
            "--config.file=alertmanager/alertmanager.yaml",
            &verify,
        ];
        arguments.extend(labels);
        run("amtool", &arguments);
    }
}
