//! The Prometheus rule file, written from the metric catalogue.
//!
//! Before: [`driftd_catalog::metric`]. After: `alerts/rules/driftd.rules.yaml` in the repository,
//! `driftd export alerts`, a Prometheus server, and Alertmanager, whose example configuration is
//! [`ALERTMANAGER`].
//!
//! Principles, each held by a test on the file or by `alerts/rules/driftd.rules.test.yaml`:
//! - A page (`critical`) means that the monitor is blind or the model's input is broken. Drift is a
//!   ticket (`warning`). A single feature is never more than a hint (`info`).
//! - No threshold on a raw statistic: the daemon knows the sample size and the number of features,
//!   so rules compare the score with 1, or read the state after the daemon's own hysteresis.
//! - No comparison of event time with the clock: a replayed or late log must not raise an alert.
//! - No value in a label: a label that changes makes a new alert.

use driftd_catalog::label::{
    OUTCOME_FAILED, REASON_EVICTED, REASON_EXPIRED, STATE_BROKEN_DATA, STATE_DRIFTED,
    STATE_INSUFFICIENT_DATA,
};
use driftd_catalog::metric::{
    EVALUATION_INTERVAL_SECONDS, FEATURE_DRIFT_SCORE, FEATURE_DRIFT_STATE, FEATURE_SERIES_DROPPED,
    FEATURES, FIELDS_CHANGED, JOIN_LEFT_OUT_TOTAL, JOINED_PAIRS_TOTAL, KAFKA_CONSUMER_LAG_RECORDS,
    KAFKA_STALLED_PARTITIONS, LANES, LANES_OWNED, LAST_EVALUATION_TIMESTAMP_SECONDS,
    MEMORY_LIMIT_BYTES, MODEL_DRIFT_STATE, MODEL_DRIFT_STATE_SINCE_TIMESTAMP_SECONDS,
    MODEL_EVALUATION_INTERVAL_SECONDS, MODEL_LAST_EVALUATION_TIMESTAMP_SECONDS, Metric,
    OUTBOX_MESSAGES, PREDICTION_DRIFT_SCORE, PREDICTION_DRIFT_STATE, PROCESS_RESIDENT_MEMORY_BYTES,
    RECORDS_CONSUMED_TOTAL, RECORDS_REJECTED_TOTAL, RETRAIN_EVENTS_TOTAL,
    WINDOW_END_TIMESTAMP_SECONDS, WINDOWS_INCOMPLETE_TOTAL,
};

/// Where the runbook is when nothing else is said: its path in this repository. Give the address
/// under which your people read it instead.
pub const RUNBOOK_BASE: &str = "alerts/runbook.md";

/// The Alertmanager example: routes by severity, and inhibitions with guards.
pub const ALERTMANAGER: &str = include_str!("../alertmanager/alertmanager.yaml");

/// The scrape job that the rules look for.
const JOB: &str = "driftd";

/// What two series of one window share. `job` and `instance` are among them because a replaced
/// process overlaps its successor for a scrape or two, and the match must stay one to one.
const SAME_WINDOW: &str = "on (job, instance, model, model_version, segment, window)";

/// Labels by which processes of one job differ, the last two by service discovery in Kubernetes: a
/// rule that is over all processes leaves them out.
const PROCESS: &str = "instance, pod, node";

/// Names of one window in annotations.
const OF_WINDOW: &str = "model {{ $labels.model }} version {{ $labels.model_version }} \
    (segment {{ $labels.segment }}, window {{ $labels.window }})";

/// Who has to act on an alert, and how soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Someone, now.
    Critical,
    /// Someone, in working hours.
    Warning,
    /// Nobody; it helps to read other alerts.
    Info,
    /// A heartbeat, not an alert.
    None,
}

impl Severity {
    /// Returns the value of the label `severity`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::None => "none",
        }
    }
}

/// One alerting rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Name of the alert; its section in the runbook has the same name.
    pub alert: &'static str,
    /// `PromQL`; every result is one alert.
    pub expr: String,
    /// How long the expression must hold: `for` in the file.
    pub hold: Option<&'static str>,
    /// How long the alert outlives the expression.
    pub keep_firing_for: Option<&'static str>,
    /// Who has to act.
    pub severity: Severity,
    /// One sentence that is the same for all results, so that groups share it.
    pub summary: &'static str,
    /// What and how much, with templates.
    pub description: String,
}

/// Returns all alerting rules, those about the monitor first.
pub fn rules() -> Vec<Rule> {
    let mut rules = alive();
    rules.extend(input());
    rules.extend(output());
    rules.extend(drift());
    rules.extend(quality());
    rules
}

/// Returns the rule file, with links to sections of the runbook at `runbook_base`.
pub fn rules_yaml(runbook_base: &str) -> String {
    let mut lines = vec![
        "# Generated from the metric catalogue by alerts/src/rules.rs.".to_owned(),
        "# After a change there: DRIFTD_BLESS=1 tests/run generated".to_owned(),
        "groups:".to_owned(),
        "  - name: driftd.alerts".to_owned(),
        "    rules:".to_owned(),
    ];
    lines.extend(rules().iter().flat_map(|rule| rule.yaml_lines(runbook_base)));
    lines.push(String::new());
    lines.join("\n")
}

impl Rule {
    fn yaml_lines(&self, runbook_base: &str) -> Vec<String> {
        let runbook = format!("{runbook_base}#{}", self.alert.to_ascii_lowercase());
        let mut lines =
            vec![format!("      - alert: {}", self.alert), "        expr: |-".to_owned()];
        lines.extend(self.expr.lines().map(|line| format!("          {line}")));
        lines.extend(self.hold.map(|hold| format!("        for: {hold}")));
        lines.extend(self.keep_firing_for.map(|keep| format!("        keep_firing_for: {keep}")));
        lines.push("        labels:".to_owned());
        lines.push(format!("          severity: {}", self.severity.as_str()));
        lines.push("        annotations:".to_owned());
        lines.push(format!("          summary: {}", quoted(self.summary)));
        lines.push(format!("          description: {}", quoted(&self.description)));
        lines.push(format!("          runbook_url: {}", quoted(&runbook)));
        lines
    }
}

/// Returns `text` as a double-quoted YAML scalar; JSON's escapes are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Is anybody watching at all?
fn alive() -> Vec<Rule> {
    // Over versions and segments: a retired version or an empty segment is not a blind monitor. The
    // start of the process counts, so that one that never closes a window is one.
    let last = MODEL_LAST_EVALUATION_TIMESTAMP_SECONDS.name;
    let length = MODEL_EVALUATION_INTERVAL_SECONDS.name;
    let over = format!("max without ({PROCESS})");
    vec![
        Rule {
            alert: "DriftdWatchdog",
            expr: "vector(1)".to_owned(),
            hold: None,
            keep_firing_for: None,
            severity: Severity::None,
            summary: "The alerting pipeline is alive.",
            description: "This alert always fires; when it stops arriving, no other alert can \
                          arrive either."
                .to_owned(),
        },
        Rule {
            alert: "DriftdDown",
            // Not `absent(up{…} == 1)`: its result would lose the job label.
            expr: format!("absent(up{{job=\"{JOB}\"}}) or up{{job=\"{JOB}\"}} == 0"),
            hold: Some("5m"),
            keep_firing_for: None,
            severity: Severity::Critical,
            summary: "The drift monitor is not being scraped.",
            description: "Prometheus has not reached a target of job {{ $labels.job }} for 5 \
                          minutes; no model is being watched by it."
                .to_owned(),
        },
        Rule {
            alert: "DriftdEvaluationStale",
            expr: format!("time() - {over} ({last})\n  > 2 * {over} ({length})"),
            hold: Some("2m"),
            keep_firing_for: None,
            severity: Severity::Critical,
            summary: "A model's drift is not being evaluated.",
            description: "No window of {{ $labels.window }} of model {{ $labels.model }} was \
                          evaluated in the last {{ $value | humanizeDuration }}, or since the \
                          start: no records arrive, or windows do not close."
                .to_owned(),
        },
        lanes(),
        stalled(),
        memory(),
    ]
}

/// Will the system end the process before anything else does?
fn memory() -> Rule {
    let (resident, limit) = (PROCESS_RESIDENT_MEMORY_BYTES.name, MEMORY_LIMIT_BYTES.name);
    Rule {
        alert: "DriftdMemoryNearLimit",
        // Other jobs export the same name; only this one has the limit.
        expr: format!("{resident}\n  / on (job, instance) {limit}\n  > 0.9"),
        hold: Some("10m"),
        keep_firing_for: None,
        severity: Severity::Warning,
        summary: "The drift monitor is running out of memory.",
        description: "{{ $labels.instance }} uses {{ $value | humanizePercentage }} of the memory \
                      it may use; above it the system ends the process."
            .to_owned(),
    }
}

/// Is every model somebody's, where several processes share the work?
fn lanes() -> Rule {
    let (lanes, owned) = (LANES.name, LANES_OWNED.name);
    Rule {
        alert: "DriftdLanesUnowned",
        expr: format!("max without ({PROCESS}) ({lanes})\n  > sum without ({PROCESS}) ({owned})"),
        hold: Some("5m"),
        keep_firing_for: None,
        severity: Severity::Critical,
        summary: "Some models are nobody's.",
        description: "{{ $value }} lanes of job {{ $labels.job }} are configured and fewer are \
                      owned: models in the others are not being evaluated."
            .to_owned(),
    }
}

/// Is everything read that somebody owns?
fn stalled() -> Rule {
    Rule {
        alert: "DriftdPartitionsStalled",
        // Tried again, it is read for a moment before it stands still again.
        expr: format!(
            "sum without ({PROCESS}) (max_over_time({}[2m])) > 0",
            KAFKA_STALLED_PARTITIONS.name
        ),
        hold: Some("5m"),
        keep_firing_for: None,
        severity: Severity::Critical,
        summary: "Some partitions stand still.",
        description: "{{ $value }} partitions of topic {{ $labels.topic }} are owned and not \
                      read; windows wait for them."
            .to_owned(),
    }
}

/// Does all input arrive, and can it be read?
fn input() -> Vec<Rule> {
    let lag = KAFKA_CONSUMER_LAG_RECORDS.name;
    let consumed = RECORDS_CONSUMED_TOTAL.name;
    let rejected = RECORDS_REJECTED_TOTAL.name;
    let incomplete = WINDOWS_INCOMPLETE_TOTAL.name;
    let over = format!("max without ({PROCESS})");
    vec![
        Rule {
            alert: "DriftdConsumerLagging",
            // Time to work the lag off at the present pace; infinite when nothing is read. Over all
            // processes: one that has just taken partitions over has no pace yet.
            expr: format!(
                "sum without ({PROCESS}, partition) ({lag})\n  / sum without ({PROCESS}) \
                 (rate({consumed}[10m]))\n  > 900"
            ),
            hold: Some("15m"),
            keep_firing_for: None,
            severity: Severity::Warning,
            summary: "The drift monitor reads slower than records arrive.",
            description: "At its present pace driftd needs {{ $value | humanizeDuration }} to \
                          read what waits in topic {{ $labels.topic }}."
                .to_owned(),
        },
        Rule {
            alert: "DriftdRecordsRejected",
            // A share of the topic, however its partitions lie with processes.
            expr: format!(
                "sum without ({PROCESS}, reason) (rate({rejected}[15m]))\n  / sum without \
                 ({PROCESS}) (rate({consumed}[15m]))\n  > 0.01"
            ),
            hold: Some("15m"),
            keep_firing_for: None,
            severity: Severity::Warning,
            summary: "More than 1% of the messages are not valid records.",
            description: "{{ $value | humanizePercentage }} of the messages of topic \
                          {{ $labels.topic }} are rejected and watched by nobody."
                .to_owned(),
        },
        fields_changed(),
        responses_alone(),
        requests_alone(),
        Rule {
            alert: "DriftdWindowsIncomplete",
            // A counter is born with its segment's first window, so that `increase` misses the
            // first increment of one that was not there an hour ago. Over all processes: a model
            // that moves takes its count along, and its series is born anew.
            expr: format!(
                "{over} (increase({incomplete}[1h])) > 0\n  or {over} ({incomplete}) > 0\n  \
                 unless {over} (last_over_time({incomplete}[1h] offset 1h))"
            ),
            hold: None,
            keep_firing_for: None,
            severity: Severity::Warning,
            summary: "Windows were closed that may lack records.",
            description: format!(
                "Windows of {OF_WINDOW} were closed without records of some partition: it was not \
                 waited for longer, or its records were lost or counted otherwise."
            ),
        },
    ]
}

/// Do records have what they had?
fn fields_changed() -> Rule {
    let fields = FIELDS_CHANGED.name;
    Rule {
        alert: "DriftdFieldsChanged",
        // Partitions of a topic are of one schema, whoever reads them.
        expr: format!("max without ({PROCESS}) ({fields}) > 0"),
        hold: Some("5m"),
        keep_firing_for: None,
        severity: Severity::Warning,
        summary: "All newest records lack fields that the model has.",
        description: "{{ $value }} fields of topic {{ $labels.topic }} are \
                      {{ $labels.reason }} in all newest records of a partition: the \
                      producer's schema has changed."
            .to_owned(),
    }
}

/// Do responses find their requests? Each has one.
fn responses_alone() -> Rule {
    Rule {
        alert: "DriftdResponsesAlone",
        expr: format!("{}\n  > 0.01", alone_per_pair("response")),
        hold: Some("15m"),
        keep_firing_for: None,
        severity: Severity::Warning,
        summary: "Responses are not joined with their requests.",
        description: "For each pair of topic {{ $labels.topic }} that is joined, \
                      {{ $value | printf \"%.2f\" }} responses are left out because no request \
                      came: they are watched by nobody."
            .to_owned(),
    }
}

/// Do most requests find their responses? Calls that fail have none.
fn requests_alone() -> Rule {
    Rule {
        alert: "DriftdRequestsAlone",
        expr: format!("{}\n  > 1", alone_per_pair("request")),
        hold: Some("15m"),
        keep_firing_for: None,
        severity: Severity::Warning,
        summary: "Most requests are not joined with a response.",
        description: "For each pair of topic {{ $labels.topic }} that is joined, \
                      {{ $value | printf \"%.2f\" }} requests are left out because no response \
                      came: they are watched by nobody."
            .to_owned(),
    }
}

/// Those of a side that waited in vain, or made room for others while they did, against pairs;
/// infinite where none is joined. Over all processes, and as long as many windows of waiting.
fn alone_per_pair(side: &str) -> String {
    let (left_out, joined) = (JOIN_LEFT_OUT_TOTAL.name, JOINED_PAIRS_TOTAL.name);
    format!(
        "sum without ({PROCESS}, side, reason) (rate({left_out}{{side=\"{side}\",\
         reason=~\"{REASON_EXPIRED}|{REASON_EVICTED}\"}}[30m]))\n  / sum without ({PROCESS}) \
         (rate({joined}[30m]))"
    )
}

/// Does everything that was found out leave the process?
fn output() -> Vec<Rule> {
    let dropped = FEATURE_SERIES_DROPPED.name;
    let events = RETRAIN_EVENTS_TOTAL.name;
    let waiting = OUTBOX_MESSAGES.name;
    vec![
        Rule {
            alert: "DriftdSeriesTruncated",
            expr: format!("{dropped} > 0"),
            hold: Some("1h"),
            keep_firing_for: None,
            severity: Severity::Info,
            summary: "Some features have no series of their own.",
            description: "{{ $value }} features of model {{ $labels.model }} version \
                          {{ $labels.model_version }} are over the cap on exported series; \
                          counts, the page and the API still include them."
                .to_owned(),
        },
        Rule {
            alert: "DriftdRetrainPublishFailing",
            expr: format!("increase({events}{{outcome=\"{OUTCOME_FAILED}\"}}[15m]) > 0"),
            hold: None,
            keep_firing_for: Some("15m"),
            severity: Severity::Warning,
            summary: "Retraining requests cannot be published.",
            description: "A retraining request of policy {{ $labels.policy }} for model \
                          {{ $labels.model }} could not be written to its topic; no job starts."
                .to_owned(),
        },
        Rule {
            alert: "DriftdOutputsWaiting",
            // Between two transactions nothing waits: a scrape in ten minutes sees that.
            expr: format!("min_over_time({waiting}[10m]) > 0"),
            hold: Some("5m"),
            keep_firing_for: None,
            severity: Severity::Warning,
            summary: "Results and retraining requests wait to be sent.",
            description: "For ten minutes at least {{ $value }} messages have waited; when too \
                          many do, driftd stops reading."
                .to_owned(),
        },
    ]
}

/// Did a model drift?
fn drift() -> Vec<Rule> {
    let state = MODEL_DRIFT_STATE.name;
    let (end, since) =
        (WINDOW_END_TIMESTAMP_SECONDS.name, MODEL_DRIFT_STATE_SINCE_TIMESTAMP_SECONDS.name);
    let interval = EVALUATION_INTERVAL_SECONDS.name;
    vec![
        Rule {
            alert: "ModelDrifted",
            // The daemon's own hysteresis counts windows, which no `for` can; nothing to wait for.
            expr: format!("{state} == {}\n  and {}", STATE_DRIFTED.number, still_evaluated()),
            hold: None,
            keep_firing_for: Some("10m"),
            severity: Severity::Warning,
            summary: "A model's input has drifted from its reference.",
            description: format!(
                "Features of {OF_WINDOW} are beyond their thresholds in enough windows to be sure."
            ),
        },
        Rule {
            alert: "ModelPredictionDrift",
            expr: drifted(&PREDICTION_DRIFT_SCORE, &PREDICTION_DRIFT_STATE),
            hold: Some("10m"),
            keep_firing_for: Some("30m"),
            severity: Severity::Warning,
            summary: "A model's predictions have drifted from their reference.",
            description: format!(
                "Prediction {{{{ $labels.output }}}} of {OF_WINDOW} has drift score \
                 {{{{ $value | printf \"%.2f\" }}}}; 1 is the threshold."
            ),
        },
        Rule {
            alert: "ModelFeatureDrift",
            expr: drifted(&FEATURE_DRIFT_SCORE, &FEATURE_DRIFT_STATE),
            hold: Some("10m"),
            keep_firing_for: Some("30m"),
            severity: Severity::Info,
            summary: "A feature has drifted from its reference.",
            description: format!(
                "Feature {{{{ $labels.feature }}}} of {OF_WINDOW} has drift score \
                 {{{{ $value | printf \"%.2f\" }}}}; 1 is the threshold."
            ),
        },
        Rule {
            alert: "ModelDriftUnknown",
            // Event time against event time: six windows, however fast or late they are read.
            expr: format!(
                "{state} == {}\n  and {SAME_WINDOW}\n    {end} - {since} >= 6 * {interval}\n  \
                 and {}",
                STATE_INSUFFICIENT_DATA.number,
                still_evaluated()
            ),
            hold: None,
            keep_firing_for: None,
            severity: Severity::Info,
            summary: "A model cannot be judged.",
            description: format!(
                "Drift of {OF_WINDOW} was undecided in at least 6 windows in a row: too few \
                 records, or no reference."
            ),
        },
    ]
}

/// Are the values themselves broken? Some are a ticket, a quarter of the features is a page.
fn quality() -> Vec<Rule> {
    let broken = format!("{}{{state=\"{}\"}}", FEATURES.name, STATE_BROKEN_DATA.label);
    let all = format!("sum without (state) ({})", FEATURES.name);
    let description = |amount: &str| {
        format!(
            "{{{{ $value{amount} }}}} of the features of {OF_WINDOW} are missing, or not numbers, \
             far more often than in the reference."
        )
    };
    let evaluated = still_evaluated();
    vec![
        Rule {
            alert: "ModelDataQualityBroken",
            expr: format!(
                "sum without (state) ({broken})\n  / {all}\n  >= 0.25\n  and {evaluated}"
            ),
            hold: None,
            keep_firing_for: Some("10m"),
            severity: Severity::Critical,
            summary: "A large part of a model's input is broken.",
            description: description(" | humanizePercentage"),
        },
        Rule {
            alert: "ModelDataQualityBroken",
            expr: format!("sum without (state) ({broken}) > 0\n  and {evaluated}"),
            hold: None,
            keep_firing_for: Some("10m"),
            severity: Severity::Warning,
            summary: "Part of a model's input is broken.",
            description: description(""),
        },
        Rule {
            alert: "ModelPredictionBroken",
            expr: format!(
                "{} == {}\n  and {evaluated}",
                PREDICTION_DRIFT_STATE.name, STATE_BROKEN_DATA.number
            ),
            hold: None,
            keep_firing_for: Some("10m"),
            severity: Severity::Critical,
            summary: "A model's predictions are broken.",
            description: format!(
                "Prediction {{{{ $labels.output }}}} of {OF_WINDOW} is missing, or not a number, \
                 far more often than in the reference."
            ),
        },
    ]
}

/// A score above its threshold where the state says drift: the score of broken data is above 1 too,
/// and few records, or an effect that is not sure, are no drift.
fn drifted(score: &Metric, state: &Metric) -> String {
    format!(
        "{} > 1\n  and {} == {}\n  and {}",
        score.name,
        state.name,
        STATE_DRIFTED.number,
        still_evaluated()
    )
}

/// Windows of a version and segment still close. Only windows that decide have an interval: the
/// others are shown and ring nobody. A replaced version keeps its last state for good,
/// and that is no news. By the clock of processing: a log replayed from the past has old windows.
fn still_evaluated() -> String {
    format!(
        "{SAME_WINDOW}\n    time() - {} < 3 * {}",
        LAST_EVALUATION_TIMESTAMP_SECONDS.name, EVALUATION_INTERVAL_SECONDS.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNBOOK: &str = include_str!("../runbook.md");

    #[test]
    fn every_alert_has_a_section_in_the_runbook() {
        for rule in rules() {
            let heading = format!("\n## {}\n", rule.alert);
            assert!(RUNBOOK.contains(&heading), "alerts/runbook.md lacks `## {}`", rule.alert);
        }
    }

    #[test]
    fn every_section_of_the_runbook_has_its_alert() {
        for heading in RUNBOOK.lines().filter_map(|line| line.strip_prefix("## ")) {
            assert!(rules().iter().any(|rule| rule.alert == heading), "no alert `{heading}`");
        }
    }

    #[test]
    fn only_blindness_and_broken_input_page() {
        let pages: Vec<_> = rules()
            .into_iter()
            .filter(|rule| rule.severity == Severity::Critical)
            .map(|rule| rule.alert)
            .collect();
        let expected = [
            "DriftdDown",
            "DriftdEvaluationStale",
            "DriftdLanesUnowned",
            "DriftdPartitionsStalled",
            "ModelDataQualityBroken",
            "ModelPredictionBroken",
        ];
        assert_eq!(pages, expected);
    }

    #[test]
    fn summaries_are_sentences_without_values() {
        for rule in rules() {
            assert!(rule.summary.ends_with('.'), "{}", rule.alert);
            assert!(rule.description.ends_with('.'), "{}", rule.alert);
            assert!(!rule.summary.contains("{{"), "{}", rule.alert);
        }
    }

    #[test]
    fn links_follow_the_given_base() {
        let yaml = rules_yaml("https://wiki.example.org/driftd");
        assert!(yaml.contains("\"https://wiki.example.org/driftd#driftddown\""));
        assert!(!yaml.contains(RUNBOOK_BASE));
    }
}
