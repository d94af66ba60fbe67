//! The dashboards, held to the rules of Grafana's dashboard-linter 0.2.0 and to the traps of the
//! classic JSON model, and every query to the catalogue and to a real Prometheus parser.
//!
//! The linter's rule names are in the test names and messages. Its two `LogQL` rules have nothing
//! to check here: there is no Loki query. There are no exclusions.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use driftd_catalog::metric::{METRICS, Metric, MetricKind};
use driftd_dashboards::{Place, Query};
use promql_parser::label::MatchOp;
use promql_parser::parser::{Expr, VectorSelector, parse};
use serde_json::Value;

/// A value for each variable; the rate interval is one that nobody would write by hand.
const VALUES: [(&str, &str); 10] = [
    ("job", "chosen-job"),
    ("instance", "chosen-instance"),
    ("model", "chosen-model"),
    ("model_version", "chosen-version"),
    ("segment", "chosen-segment"),
    ("window", "chosen-window"),
    ("feature", "chosen-feature"),
    ("__rate_interval", "4m47s"),
    ("__interval", "1m"),
    ("__interval_ms", "60000"),
];
const RATE_INTERVAL: Duration = Duration::from_secs(287);

/// Units that Grafana knows, as far as the dashboards use them.
const UNITS: [&str; 11] = [
    "none",
    "short",
    "percentunit",
    "s",
    "bytes",
    "Bps",
    "cps",
    "reqps",
    "dateTimeAsIso",
    "dateTimeFromNow",
    "bool_yes_no",
];

fn dashboards() -> Vec<(String, Value)> {
    driftd_dashboards::dashboards()
        .into_iter()
        .map(|(name, text)| (name, serde_json::from_str(&text).expect("a dashboard is JSON")))
        .collect()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Panels without row headings, by "file/title".
fn panels(dashboards: &[(String, Value)]) -> Vec<(String, &Value)> {
    let mut panels = Vec::new();
    for (name, dashboard) in dashboards {
        for panel in list(dashboard, "/panels").iter().filter(|panel| panel["type"] != "row") {
            panels.push((format!("{name}/{}", text(panel, "title")), panel));
        }
    }
    panels
}

fn variables(dashboard: &Value) -> BTreeMap<&str, &Value> {
    list(dashboard, "/templating/list")
        .iter()
        .map(|variable| (text(variable, "name"), variable))
        .collect()
}

/// One series selector and what is directly around it.
struct Selector<'a> {
    series: &'a VectorSelector,
    range: Option<Duration>,
    function: Option<&'a str>,
}

impl Selector<'_> {
    fn name(&self) -> &str {
        self.series.name.as_deref().expect("every query names its metric")
    }
}

/// Collects the selectors of an expression.
fn selectors<'a>(expr: &'a Expr, function: Option<&'a str>, found: &mut Vec<Selector<'a>>) {
    match expr {
        Expr::Aggregate(aggregate) => {
            selectors(&aggregate.expr, None, found);
            if let Some(parameter) = &aggregate.param {
                selectors(parameter, None, found);
            }
        }
        Expr::Unary(unary) => selectors(&unary.expr, None, found),
        Expr::Binary(binary) => {
            selectors(&binary.lhs, None, found);
            selectors(&binary.rhs, None, found);
        }
        Expr::Paren(paren) => selectors(&paren.expr, function, found),
        Expr::Subquery(subquery) => selectors(&subquery.expr, None, found),
        Expr::Call(call) => {
            for argument in &call.args.args {
                selectors(argument, Some(call.func.name), found);
            }
        }
        Expr::VectorSelector(series) => found.push(Selector { series, range: None, function }),
        Expr::MatrixSelector(matrix) => {
            found.push(Selector { series: &matrix.vs, range: Some(matrix.range), function });
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

/// Calls `check` for each selector of each query that `wanted` takes.
fn for_each_selector(wanted: impl Fn(&Query) -> bool, mut check: impl FnMut(&str, &Selector<'_>)) {
    for query in driftd_dashboards::queries().iter().filter(|query| wanted(query)) {
        let place = format!("{}: {:?}", query.dashboard, query.place);
        let expr = parse(&interpolated(query)).unwrap_or_else(|error| panic!("{place}: {error}"));
        let mut found = Vec::new();
        selectors(&expr, None, &mut found);
        for selector in &found {
            check(&place, selector);
        }
    }
}

fn interpolated(query: &Query) -> String {
    driftd_dashboards::interpolate(&query.expr, &VALUES)
}

fn is_panel(query: &Query) -> bool {
    matches!(query.place, Place::Panel { .. })
}

/// The metric of the catalogue behind a series name: histograms have three series names.
fn metric(series: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| match metric.kind {
        MetricKind::Histogram { .. } => {
            let part = series.strip_prefix(metric.name);
            part.is_some_and(|part| ["_bucket", "_sum", "_count"].contains(&part))
        }
        MetricKind::Counter | MetricKind::Gauge => metric.name == series,
    })
}

// ---- dashboard-linter ------------------------------------------------------------------------

#[test]
fn template_datasource_rule_the_data_source_is_a_variable() {
    for (name, dashboard) in dashboards() {
        let variables = variables(&dashboard);
        let of_kind = |variable: &&Value| variable["type"] == "datasource";
        assert_eq!(variables.values().copied().filter(of_kind).count(), 1, "{name}");
        let variable = variables["datasource"];
        assert_eq!(variable["type"], "datasource", "{name}");
        assert_eq!(variable["label"], "Data source", "{name}");
        assert_eq!(variable["query"], "prometheus", "{name}");
    }
}

#[test]
fn template_job_and_instance_rule_targets_are_multi_value_variables() {
    for (name, dashboard) in dashboards() {
        for (variable, label) in [("job", "Job"), ("instance", "Instance")] {
            let variable = variables(&dashboard)[variable];
            assert_eq!(variable["type"], "query", "{name}");
            assert_eq!(variable["datasource"]["uid"], "${datasource}", "{name}");
            assert_eq!(variable["label"], label, "{name}");
            assert_eq!(variable["multi"], true, "{name}");
            assert_eq!(variable["allValue"], ".+", "{name}");
        }
    }
}

#[test]
fn template_label_promql_rule_variables_are_label_values_of_valid_selectors() {
    for (name, dashboard) in dashboards() {
        for (variable, value) in variables(&dashboard) {
            if value["type"] != "query" {
                continue;
            }
            let query = text(value, "query");
            let selector = query
                .strip_prefix("label_values(")
                .and_then(|rest| rest.strip_suffix(&format!(", {variable})")))
                .unwrap_or_else(|| panic!("{name}: `{query}`"));
            let selector = driftd_dashboards::interpolate(selector, &VALUES);
            assert!(parse(&selector).is_ok(), "{name}: `{query}`");
        }
    }
}

#[test]
fn template_on_time_change_reload_rule_variables_follow_the_time_range() {
    for (name, dashboard) in dashboards() {
        for (variable, value) in variables(&dashboard) {
            if value["type"] == "query" {
                assert_eq!(value["refresh"], 2, "{name}: {variable}");
            }
        }
    }
}

#[test]
fn panel_datasource_rule_panels_and_targets_use_the_variable() {
    for (place, panel) in panels(&dashboards()) {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{place}");
        for target in list(panel, "/targets") {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{place}");
        }
    }
}

#[test]
fn panel_title_description_and_no_targets_rules_panels_say_what_they_show() {
    for (place, panel) in panels(&dashboards()) {
        assert!(!text(panel, "title").is_empty(), "{place}: title");
        assert!(text(panel, "description").ends_with('.'), "{place}: description");
        assert!(!list(panel, "/targets").is_empty(), "{place}: targets");
    }
}

#[test]
fn panel_units_rule_every_panel_has_a_known_unit() {
    for (place, panel) in panels(&dashboards()) {
        let unit = panel.pointer("/fieldConfig/defaults/unit").and_then(Value::as_str);
        assert!(unit.is_some_and(|unit| UNITS.contains(&unit)), "{place}: {unit:?}");
        for field in list(panel, "/fieldConfig/overrides") {
            for property in list(field, "/properties").iter().filter(|p| p["id"] == "unit") {
                assert!(UNITS.contains(&text(property, "value")), "{place}: {property}");
            }
        }
    }
}

#[test]
fn target_promql_rule_every_expression_parses() {
    for query in driftd_dashboards::queries() {
        let expr = interpolated(&query);
        assert!(!expr.contains('$'), "{:?} has an unknown variable: {expr}", query.place);
        if let Err(error) = parse(&expr) {
            panic!("{:?}: {error}: {expr}", query.place);
        }
    }
}

#[test]
fn target_rate_interval_rule_rates_use_the_rate_interval() {
    for_each_selector(is_panel, |place, selector| {
        if matches!(selector.function, Some("rate" | "irate")) {
            assert_eq!(selector.range, Some(RATE_INTERVAL), "{place}");
        }
    });
}

#[test]
fn target_job_and_instance_rule_every_selector_names_the_targets() {
    for_each_selector(is_panel, |place, selector| {
        for (name, value) in [("job", "chosen-job"), ("instance", "chosen-instance")] {
            let matchers = &selector.series.matchers.matchers;
            let found = matchers.iter().any(|matcher| {
                matcher.name == name
                    && matcher.value == value
                    && matches!(matcher.op, MatchOp::Re(_))
            });
            assert!(found, "{place}: `{}` lacks {name}=~\"${name}\"", selector.name());
        }
    });
}

#[test]
fn target_counter_agg_rule_counters_are_only_looked_at_as_rates() {
    for_each_selector(is_panel, |place, selector| {
        if selector.name().ends_with("_total") {
            let rate = matches!(selector.function, Some("rate" | "irate" | "increase"));
            assert!(rate && selector.range.is_some(), "{place}: `{}`", selector.name());
        }
    });
}

#[test]
fn target_logql_rules_have_nothing_to_check() {
    for (name, text) in driftd_dashboards::dashboards() {
        assert!(!text.contains("loki"), "{name} asks Loki: add the two LogQL rules");
    }
}

#[test]
fn uneditable_dashboard_rule_the_files_are_the_source() {
    for (name, dashboard) in dashboards() {
        assert_eq!(dashboard["editable"], false, "{name}");
    }
}

// ---- traps of the classic JSON model ---------------------------------------------------------

#[test]
fn identities_are_stable_short_and_unique() {
    let mut uids = BTreeSet::new();
    for (name, dashboard) in dashboards() {
        let uid = text(&dashboard, "uid").to_owned();
        assert_eq!(name, format!("{uid}.json"));
        assert!((1..=40).contains(&uid.len()), "{uid}");
        assert!(uids.insert(uid), "{name}");
        assert!(dashboard["id"].is_null(), "{name} has an id of one server");
        assert!((39..=42).contains(&dashboard["schemaVersion"].as_u64().unwrap_or(0)), "{name}");
        let ids: BTreeSet<_> =
            list(&dashboard, "/panels").iter().map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.len(), list(&dashboard, "/panels").len(), "{name}: panel ids");
    }
}

#[test]
fn keys_that_only_exports_have_are_absent() {
    for (name, dashboard) in dashboards() {
        for key in ["__inputs", "__requires", "style"] {
            assert!(dashboard.get(key).is_none(), "{name}: {key}");
        }
        let text = dashboard.to_string();
        for key in ["tagsQuery", "useTags", "[["] {
            assert!(!text.contains(key), "{name}: {key}");
        }
    }
}

#[test]
fn parts_that_the_schema_requires_are_present() {
    for (name, dashboard) in dashboards() {
        for link in list(&dashboard, "/links") {
            for key in ["icon", "tooltip", "tags"] {
                assert!(link.get(key).is_some(), "{name}: a link lacks {key}");
            }
        }
        assert!(!list(&dashboard, "/annotations/list").is_empty(), "{name}");
        for (variable, value) in variables(&dashboard) {
            if let Some(current) = value.get("current") {
                let both = current.get("text").is_some() && current.get("value").is_some();
                assert!(both, "{name}: `current` of {variable}");
            }
        }
        for panel in list(&dashboard, "/panels").iter().filter(|p| p["type"] == "heatmap") {
            for key in ["showValue", "exemplars"] {
                assert!(panel["options"].get(key).is_some(), "{name}: a heat map lacks {key}");
            }
        }
    }
}

#[test]
fn panels_are_inside_the_grid_and_do_not_overlap() {
    for (name, dashboard) in dashboards() {
        let mut taken = BTreeSet::new();
        for panel in list(&dashboard, "/panels") {
            let side = |key| panel["gridPos"][key].as_u64().expect("a number");
            assert!(side("x") + side("w") <= 24, "{name}/{}", text(panel, "title"));
            for x in side("x")..side("x") + side("w") {
                for y in side("y")..side("y") + side("h") {
                    assert!(taken.insert((x, y)), "{name}/{} overlaps", text(panel, "title"));
                }
            }
        }
    }
}

#[test]
fn a_zero_is_never_coloured_like_an_alarm() {
    for (place, panel) in panels(&dashboards()) {
        let steps = list(panel, "/fieldConfig/defaults/thresholds/steps");
        for step in steps.iter().filter(|step| !step["value"].is_null()) {
            assert!(0.0 < step["value"].as_f64().unwrap_or(0.0), "{place}: {step}");
        }
    }
}

// ---- the catalogue ---------------------------------------------------------------------------

#[test]
fn every_metric_that_is_asked_for_exists_with_its_labels() {
    for_each_selector(
        |_| true,
        |place, selector| {
            if selector.name() == "ALERTS" {
                return;
            }
            let metric = metric(selector.name())
                .unwrap_or_else(|| panic!("{place}: no metric `{}`", selector.name()));
            for matcher in &selector.series.matchers.matchers {
                let known = ["job", "instance", "le"].contains(&matcher.name.as_str())
                    || metric.labels.iter().any(|label| label.as_str() == matcher.name);
                assert!(known, "{place}: `{}` has no label `{}`", metric.name, matcher.name);
            }
        },
    );
}

#[test]
fn every_label_of_a_legend_is_one_of_the_metric() {
    for query in driftd_dashboards::queries() {
        let expr = parse(&interpolated(&query)).expect("a test above says where it breaks");
        let mut found = Vec::new();
        selectors(&expr, None, &mut found);
        let labels: BTreeSet<&str> = found
            .iter()
            .filter_map(|selector| metric(selector.name()))
            .flat_map(|metric| metric.labels)
            .map(|label| label.as_str())
            .collect();
        for name in query.legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
            assert!(labels.contains(name) || ["instance", "le"].contains(&name), "{query:?}");
            assert!(query.expr.contains(name), "{query:?}: the expression drops `{name}`");
        }
    }
}

#[test]
fn every_metric_is_in_a_panel_or_a_rule() {
    let mut used = BTreeSet::new();
    for_each_selector(is_panel, |_, selector| {
        used.extend(metric(selector.name()).map(|metric| metric.name));
    });
    for rule in driftd_alerts::rules::rules() {
        let expr = parse(&rule.expr).unwrap_or_else(|error| panic!("{}: {error}", rule.alert));
        let mut found = Vec::new();
        selectors(&expr, None, &mut found);
        for selector in found.iter().filter(|selector| selector.name().starts_with("driftd_")) {
            let metric = metric(selector.name());
            let metric = metric.unwrap_or_else(|| panic!("{}: {}", rule.alert, selector.name()));
            used.insert(metric.name);
        }
    }
    let all: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    let unused: Vec<_> = all.difference(&used).collect();
    assert!(unused.is_empty(), "nobody looks at {unused:?}");
}

// ---- Prometheus ------------------------------------------------------------------------------

#[test]
fn promtool_parses_every_query() {
    let mut rules = vec!["groups:\n  - name: dashboards\n    rules:\n".to_owned()];
    for (number, query) in driftd_dashboards::queries().iter().enumerate() {
        let expr = Value::from(interpolated(query));
        rules.push(format!("      - record: query:{number}\n        expr: {expr}\n"));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("queries.rules.yaml");
    std::fs::write(&file, rules.concat()).expect("the temporary folder can be written");
    let output = Command::new("promtool").args(["check", "rules"]).arg(&file).output();
    let output = output.unwrap_or_else(|error| {
        panic!(
            "`promtool` cannot be run ({error}): install the Debian package `prometheus`, or let \
             `tests/run --tools` do it"
        )
    });
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}
