//! The main job, end to end, on real input: flights of a summer through a real Kafka, the daemon,
//! Prometheus, Alertmanager, a browser, the launcher and a job.
//!
//! [`played`] plays it once and keeps what everyone saw; each test here is one claim about that.
//! [`recount`] counts the same rows without any code of `driftd`.

mod played;
mod recount;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};

use driftd_catalog::metric::{LANE_LAG_ROWS, LANES};
use driftd_dashboards::Place;
use driftd_fixtures::work_dir::WorkDir;
use driftd_tests::elsewhere::is_of_labels_or_changes;
use serde_json::{Value, json};

use played::{Played, played};
use recount::{Recount, Window};

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("`{key}` is no text: {value}"))
}

fn states_of<'a>(played: &'a Played, feature: &str) -> Vec<(&'a str, &'a str)> {
    let lines = played.lines.iter().filter(|line| line["segment"] == "all");
    let lines = lines.filter(|line| line["feature"] == feature);
    lines.map(|line| (text(line, "window_start"), text(line, "state"))).collect()
}

// ---- windows ---------------------------------------------------------------------------------

#[test]
fn every_window_has_the_rows_that_polars_counts() {
    let played = played();
    let mut found: BTreeMap<Window, u64> = BTreeMap::new();
    for line in &played.lines {
        assert_eq!(line["complete"], true, "{line}");
        let rows = line["rows"].as_u64().expect("a count");
        let known = found.entry(Window::of(line)).or_insert(rows);
        assert_eq!(*known, rows, "the lines of one window differ: {line}");
    }
    assert_eq!(found, played.recount.rows());
    let all: u64 = found.iter().filter(|(it, _)| it.segment == "all").map(|(_, rows)| rows).sum();
    assert_eq!(all, played.messages, "no row is lost, and none is counted twice");
}

#[test]
fn every_line_has_the_counts_that_polars_counts() {
    let played = played();
    for line in &played.lines {
        let recount = &played.recount;
        recount.check_counts(line);
        assert_eq!(text(line, "model"), "flights");
    }
    let columns: BTreeSet<_> = played.lines.iter().map(|line| text(line, "feature")).collect();
    assert_eq!(columns.len() * played.recount.rows().len(), played.lines.len());
}

#[test]
fn every_statistic_is_that_of_the_raw_values() {
    let played = played();
    let recount: &Recount = &played.recount;
    for line in &played.lines {
        let checked = recount.check_statistics(line);
        assert_eq!(checked, recount.statistics(line), "{line}");
    }
}

#[test]
fn temperature_and_dew_point_drift_all_summer_and_what_stays_does_not() {
    let played = played();
    for feature in ["temp", "dewp"] {
        let states = states_of(played, feature);
        let summer =
            states.iter().filter(|(start, _)| ("2013-06-24".."2013-08-26").contains(start));
        for (start, state) in summer {
            assert_eq!(*state, "drifted", "{feature} in the week of {start}");
        }
    }
    for feature in ["distance", "origin", "carrier", "plane_age"] {
        let states = states_of(played, feature);
        assert!(states.iter().all(|(_, state)| *state == "ok"), "{feature}: {states:?}");
    }
}

#[test]
fn a_replay_of_the_same_rows_gives_the_same_digest_and_lines() {
    let played = played();
    assert_eq!(played.replay["records_in"], json!(played.messages));
    assert_eq!(played.replay["digest"], played.status["digest"]);
    let sorted = |lines: &[Value]| {
        let mut lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(&played.lines), sorted(&played.replayed));
}

// ---- retraining ------------------------------------------------------------------------------

#[test]
fn drift_asks_for_one_retraining_with_a_deterministic_id() {
    let played = played();
    // The second is the test's own: it sends the first again.
    assert_eq!(played.requests.len(), 2, "{:#?}", played.requests);
    let [request, repeated] = &played.requests[..] else { panic!("two events") };
    assert_eq!(request.payload, repeated.payload);
    assert_eq!(request.headers["content-type"], "application/cloudevents+json; charset=UTF-8");
    assert_eq!(request.key.as_deref(), Some(&b"flights"[..]));

    let event = request.json();
    let schema: Value =
        serde_json::from_str(include_str!("../../fixtures/schemas/cloudevents/cloudevents.json"))
            .expect("the schema is JSON");
    let schema = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .expect("the schema is a schema");
    let errors: Vec<_> = schema.iter_errors(&event).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?} in {event:#}");

    let data = &event["data"];
    assert_eq!(event["type"], "io.driftd.retraining.requested.v1");
    assert_eq!(data["request"]["dedupe_key"], played::DEDUPE_KEY);
    assert_eq!(event["id"], played::EVENT_ID);
    assert_eq!(request.headers["ce_id"], played::EVENT_ID);
    let evidence = data["evidence"].as_array().expect("a list");
    let features: BTreeSet<_> = evidence.iter().map(|it| text(it, "feature")).collect();
    assert!(features.is_superset(&BTreeSet::from(["temp", "dewp"])), "{features:?}");
}

#[test]
fn the_launcher_runs_the_command_once_with_the_event() {
    let played = played();
    assert_eq!(played.job_runs, "ran\n");
    assert_eq!(played.job_event, played.requests[0].json());
}

#[test]
fn every_step_of_the_job_is_reported_once() {
    let played = played();
    let states: Vec<_> =
        played.reports.iter().map(|report| text(&report["data"], "state")).collect();
    // The test has sent the request a second time: what became of it is told again.
    assert_eq!(states, ["accepted", "started", "succeeded", "succeeded"]);
    assert_eq!(played.reports[2]["data"], played.reports[3]["data"]);
    assert_eq!(played.reports[2]["id"], played.reports[3]["id"]);
    for report in &played.reports {
        assert_eq!(report["type"], "io.driftd.retraining.status.v1");
        assert_eq!(report["data"]["request_id"], played::EVENT_ID);
        assert_eq!(report["correlationid"], played::EVENT_ID);
    }
    let last = &played.reports[2]["data"];
    assert_eq!((&last["exit_code"], &last["new_version"]), (&json!(0), &json!("2")));
    assert_eq!(played.status["totals"]["retrain_published"], 1);
    assert_eq!(played.status["totals"]["jobs_succeeded"], 1);
}

// ---- what others see -------------------------------------------------------------------------

#[test]
fn prometheus_shows_the_scores_of_the_newest_window() {
    let played = played();
    let newest = played.lines.iter().map(|line| text(line, "window_start")).max();
    let newest = newest.expect("there are lines");
    let scored = played.lines.iter().filter(|line| {
        text(line, "window_start") == newest && line["role"] == "feature" && line["score"].is_f64()
    });
    let mut expected = BTreeMap::new();
    for line in scored {
        let key = (text(line, "segment").to_owned(), text(line, "feature").to_owned());
        expected.insert(key, line["score"].as_f64().expect("a number"));
    }
    let scores: BTreeMap<_, _> = played
        .scores
        .iter()
        .map(|sample| {
            let key = (sample.labels["segment"].clone(), sample.labels["feature"].clone());
            (key, sample.value)
        })
        .collect();
    assert_eq!(scores, expected);
    assert!(1.0 < scores[&("all".to_owned(), "temp".to_owned())], "{scores:?}");
}

#[test]
fn the_rule_fires_and_alertmanager_receives_the_alert() {
    let played = played();
    let alert = &played.received;
    assert_eq!(alert.labels["model"], "flights");
    assert_eq!(alert.labels["model_version"], "1");
    assert_eq!(alert.labels["severity"], "warning");
    assert!(alert.annotations["description"].contains("model flights version 1"), "{alert:?}");
}

#[test]
fn every_query_of_the_dashboards_finds_what_it_asks_for() {
    let played = played();
    let mut failures = Vec::new();
    for (query, found) in &played.queries {
        let place = match &query.place {
            Place::Panel { title, target } => format!("{}/{title}/{target}", query.dashboard),
            Place::Annotation { name } | Place::Variable { name } => {
                format!("{}/{name}", query.dashboard)
            }
        };
        match found {
            Err(error) => failures.push(format!("{place}: {}: {}", error.0, query.expr)),
            // Of shared work one process has nothing to show; `scale_out` looks at that.
            Ok(0) if [LANES.name, LANE_LAG_ROWS.name].iter().any(|it| query.expr.contains(it)) => {}
            Ok(0) if is_of_labels_or_changes(&query.expr) => {}
            Ok(0) => failures.push(format!("{place} is empty: {}", query.expr)),
            Ok(_) => {}
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn promtool_accepts_the_scrape() {
    let folder = WorkDir::new("scrape");
    let file = folder.write("metrics.txt", &played().metrics);
    let input = fs::File::open(file).expect("it was just written");
    let output = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(input)
        .stdout(Stdio::piped())
        .output()
        .expect("`promtool` is there: `tests/run --tools` installs it");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.is_empty(), "{text}");
}

#[test]
fn every_address_answers() {
    for (path, response) in &played().answers {
        assert_eq!(response.status, 200, "{path}: {}", response.body);
    }
}

#[test]
fn the_page_shows_the_model_and_asks_nobody_else() {
    let Played { page, origin, .. } = played();
    for word in ["flights", "dewp", "temp", "origin=JFK"] {
        assert!(page.dom.contains(word), "`{word}` is not on the page: {}", page.dom);
    }
    assert!(3 < page.requests.len(), "{:?}", page.requests);
    let foreign: Vec<_> =
        page.requests.iter().filter(|url| !url.starts_with(&format!("{origin}/"))).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[test]
fn a_signal_ends_both_processes_well() {
    let Played { daemon, launcher, .. } = played();
    for ended in [daemon, launcher] {
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    let panics = |text: &str| text.contains("panicked");
    assert!(!panics(&daemon.stderr) && !panics(&launcher.stderr), "{}", daemon.stderr);
}
