//! Real data as judge of the verdicts: `replay` with the default policy on data whose changes are
//! known.
//!
//! What happens in each data set when is in `fixtures/data/README.md`. Windows have one length, so
//! a calendar month is 31 days from the first of July on, and a year 365 days from the first of
//! 2016 on.

use std::fs;
use std::path::Path;
use std::time::Duration;

use driftd_fixtures::data::{CAR_PRICE, DataSet, FLIGHTS, US_CENSUS_MA};
use driftd_fixtures::driftd::Driftd;
use driftd_fixtures::work_dir::WorkDir;
use driftd_tests::{frame, job};
use polars::prelude::DataFrame;
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(5);

/// One line of the results: a feature in a window.
#[derive(Debug)]
struct Verdict {
    window: String,
    segment: String,
    rows: u64,
    feature: String,
    state: String,
    least_p_value: f64,
}

impl Verdict {
    fn read(line: &str) -> Self {
        let line: Value = serde_json::from_str(line).expect("each line is one JSON object");
        let text = |key: &str| line[key].as_str().expect("a text").to_owned();
        let detectors = line["detectors"].as_array().expect("a list");
        let p_values = detectors.iter().filter_map(|it| it["p_value"].as_f64());
        Self {
            window: text("window_start"),
            segment: text("segment"),
            rows: line["rows"].as_u64().expect("a count"),
            feature: text("feature"),
            state: text("state"),
            least_p_value: p_values.fold(1.0, f64::min),
        }
    }

    fn is_alarm(&self) -> bool {
        ["drifted", "broken_data"].contains(&self.state.as_str())
    }
}

/// Builds the reference of a data set, replays its current rows, and returns every verdict.
fn judge(set: &DataSet, length: &str, offset: &str, segments: &Value) -> Vec<Verdict> {
    let dir = WorkDir::new("judge");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let frame = frame::read(&set.current_path());
    let mut config = config(set, &frame, length, offset);
    config["models"][0]["segments"] = segments.clone();
    fs::write(dir.path().join("job.yaml"), config.to_string()).expect("the folder is there");
    let (config, results) = (path("job.yaml"), path("results.jsonl"));
    let data = |path: &Path| path.display().to_string();
    let (reference, current) = (data(&set.reference_path()), data(&set.current_path()));
    let output = path(&format!("references/{}-1.json", set.name));
    let build =
        ["reference", "build", "--config", &config, "--input", &reference, "--output", &output];
    let built = Driftd::run(&build, &[], DEADLINE).expect_code(0);
    assert!(built.stdout.ends_with(&format!("written to {output}\n")), "{}", built.stdout);
    let replay =
        ["replay", "--config", &config, "--input", &current, "--output", &results, "--json"];
    let ended = Driftd::run(&replay, &[], DEADLINE).expect_code(0);
    let summary: Value = serde_json::from_str(&ended.stdout).expect("a JSON object");
    assert_eq!(summary["records_in"], json!(frame.height()));
    assert_eq!(summary["records_rejected"], json!(0));
    assert_eq!(summary["records_late"], json!(0));
    let lines = fs::read_to_string(results).expect("the replay has written results");
    lines.lines().map(Verdict::read).collect()
}

/// The smallest configuration that watches every column of a data set: everything else is the
/// default.
fn config(set: &DataSet, frame: &DataFrame, length: &str, offset: &str) -> Value {
    json!({
        "name": "judge",
        "sources": [
            {"topic": set.name, "start": "earliest", "event_time": {"path": "event_time"}},
        ],
        "models": [{
            "name": set.name,
            "source": set.name,
            "version": "1",
            "references": "references/{model}-{version}.json",
            "window": {"length": length, "offset": offset},
            "features": job::columns(frame, set.features, "features"),
            "predictions": job::columns(frame, set.predictions, "prediction"),
        }],
    })
}

fn alarms(verdicts: &[Verdict]) -> Vec<(&str, &str)> {
    let alarms = verdicts.iter().filter(|it| it.is_alarm());
    alarms.map(|it| (it.window.as_str(), it.feature.as_str())).collect()
}

#[test]
fn flights_drift_in_temperature_and_dew_point_in_july_and_never_in_what_stays() {
    // 2013-07-01 is fifteen days after a multiple of 31 days since 1970.
    let verdicts = judge(&FLIGHTS, "31d", "15d", &json!([]));
    let alarms = alarms(&verdicts);
    for feature in ["temp", "dewp"] {
        assert!(alarms.contains(&("2013-07-01T00:00:00Z", feature)), "{feature}: {alarms:?}");
    }
    for feature in ["distance", "origin", "carrier", "plane_age"] {
        let false_alarms: Vec<_> = alarms.iter().filter(|(_, it)| *it == feature).collect();
        assert!(false_alarms.is_empty(), "{false_alarms:?}");
    }
}

#[test]
fn flights_of_an_airport_are_compared_with_that_airport() {
    // The rest is LaGuardia.
    let origin = json!([{"name": "origin", "path": "features.origin", "values": ["EWR", "JFK"]}]);
    let verdicts = judge(&FLIGHTS, "31d", "15d", &origin);
    let segments = ["origin=EWR", "origin=JFK", "origin=__other__"];
    let is_alarm = |segment: &str, window: &str, feature: &str| {
        let of = |it: &&Verdict| {
            it.segment == segment && it.window.starts_with(window) && it.feature == feature
        };
        verdicts.iter().find(of).expect("each airport has flights all year").is_alarm()
    };
    for segment in segments {
        assert!(is_alarm(segment, "2013-07-01", "temp"), "{segment}");
        assert!(is_alarm(segment, "2013-07-01", "dewp"), "{segment}");
    }
    // What makes an airport is no drift of it. What remains moves truly and cannot be seen in all
    // traffic: regional flights of Delta move to LaGuardia in September (EV from 4 to 13 % of its
    // rows, 9E from 1 to 5 %); at Newark VX appears in April, and in December EV has left 6 %.
    let stays = ["distance", "origin", "carrier", "plane_age"];
    let alarms = verdicts.iter().filter(|it| {
        it.is_alarm() && segments.contains(&&*it.segment) && stays.contains(&&*it.feature)
    });
    let mut alarms: Vec<_> = alarms
        .map(|it| {
            (&*it.segment, &*it.feature, it.window.get("2013-".len()..10).unwrap_or_default())
        })
        .collect();
    let mut expected = vec![("origin=EWR", "carrier", "12-03")];
    for window in ["09-01", "10-02", "11-02", "12-03"] {
        expected.push(("origin=__other__", "carrier", window));
        expected.push(("origin=__other__", "plane_age", window));
    }
    expected.sort_unstable();
    alarms.sort_unstable();
    assert_eq!(alarms, expected);
}

#[test]
fn census_years_differ_significantly_and_too_little_to_act_on() {
    // 2016-01-01 is eleven days after a multiple of 365 days since 1970. 2016 has a day more than
    // the window: one day is left over at the end, too short to judge.
    let verdicts = judge(&US_CENSUS_MA, "365d", "11d", &json!([]));
    assert_eq!(alarms(&verdicts), []);
    let years: Vec<_> = verdicts.iter().filter(|it| 60_000 < it.rows).collect();
    assert_eq!(years.len(), 3 * (US_CENSUS_MA.features.len() + US_CENSUS_MA.predictions.len()));
    assert!(years.iter().all(|it| it.state == "ok"), "{years:?}");
    for year in ["2016-01-01T00:00:00Z", "2016-12-31T00:00:00Z", "2017-12-31T00:00:00Z"] {
        let is_significant = |it: &&&Verdict| it.window == year && it.least_p_value < 0.01;
        assert!(years.iter().any(|it| is_significant(&it)), "{year}");
    }
}

#[test]
fn car_prices_drift_from_row_30_000_on_and_not_before() {
    // Row 30,000 is the first of 2017-02-28 08:00, where a window of a day begins: none holds both
    // kinds of rows.
    const CHANGE: &str = "2017-02-28T08:00:00Z";
    let verdicts = judge(&CAR_PRICE, "1d", "8h", &json!([]));
    let alarms = alarms(&verdicts);
    let early: Vec<_> = alarms.iter().filter(|(window, _)| *window < CHANGE).collect();
    assert!(early.is_empty(), "{early:?}");
    let mut windows: Vec<_> = verdicts.iter().map(|it| it.window.as_str()).collect();
    windows.dedup();
    assert_eq!(windows.len(), 24);
    for window in windows.into_iter().filter(|it| CHANGE <= *it) {
        assert!(alarms.iter().any(|(it, _)| *it == window), "nothing drifts in {window}");
    }
}
