//! Answers about a model with windows of two kinds, and about windows that have not ended.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{MODEL_PATH, get, samples, with_server};
use crate::http::{metrics, sample};

#[test]
fn no_two_series_are_the_same() {
    let text = metrics::text(sample::two_kinds()).expect("the sample can be exported");
    let series: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' ').map(|(series, _)| series))
        .collect();
    let distinct: BTreeSet<&str> = series.iter().copied().collect();
    assert_eq!(distinct.len(), series.len());
    assert_eq!(samples(&text, "driftd_window_rows").len(), 2);
}

/// Alert rules ring for what has a state and an interval.
#[test]
fn only_windows_that_decide_have_what_alerts_look_for() {
    let text = metrics::text(sample::two_kinds()).expect("the sample can be exported");
    for name in [
        "driftd_model_drift_state",
        "driftd_model_drift_state_since_timestamp_seconds",
        "driftd_evaluation_interval_seconds",
        "driftd_model_evaluation_interval_seconds",
        "driftd_windows_incomplete_total",
    ] {
        let samples = samples(&text, name);
        assert!(samples.len() == 1 && samples[0].contains("window=\"1h\""), "{name}: {samples:?}");
    }
    assert_eq!(samples(&text, "driftd_episodes_open").len(), 1);
}

#[test]
fn a_kind_of_windows_is_asked_for_by_its_name() {
    with_server(sample::two_kinds(), |address| {
        let detail = get(address, MODEL_PATH).json();
        assert_eq!(detail["window_name"], "1h");
        assert_eq!(detail["provisional"], Value::Null);
        let kinds = &detail["summary"]["windows"];
        assert_eq!(kinds[0]["decides"], true);
        assert_eq!((&kinds[1]["name"], &kinds[1]["decides"]), (&json!("day"), &json!(false)));
        assert_eq!(detail["summary"]["segments"].as_array().map(Vec::len), Some(1));
        let daily = get(address, &format!("{MODEL_PATH}?window=day")).json();
        assert_eq!(daily["window"]["start"], "2013-03-31T11:00:00Z");
        assert_eq!(daily["window"]["revision"], 1);
        assert_eq!(daily["provisional"]["final"], false);
        let map = get(address, &format!("{MODEL_PATH}/scores?window=day")).json();
        assert_eq!(map["windows"].as_array().map(Vec::len), Some(1));
        let unknown = get(address, &format!("{MODEL_PATH}?window=week"));
        assert_eq!(unknown.code, 404);
        assert_eq!(unknown.json()["hint"], "its windows are `1h`, `day`");
    });
}

#[test]
fn an_open_window_says_which_partitions_it_waits_for() {
    with_server(sample::two_kinds(), |address| {
        let answer = get(address, "/api/v1/windows").json();
        let window = &answer["windows"][0];
        assert_eq!(window["model"], "delays");
        assert_eq!(window["end"], "2013-04-01T12:00:00Z");
        assert_eq!(window["ends_after"], "2013-04-01T12:05:00Z");
        assert_eq!(window["waits_for"], "partitions");
        let partition = &window["partitions"][0];
        assert_eq!(partition["standing"], "waited_for");
        assert_eq!(partition["missing_millis"], 65 * 60_000);
        assert_eq!(partition["given_up_at"], "2013-04-01T11:10:00Z");
        // Nobody has passed it: it also waits for the clock on the wall.
        assert_eq!(window["ends_at"], "2013-04-01T12:15:00Z");
    });
}
