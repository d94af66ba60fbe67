//! `driftd demo`: the story that a newcomer sees first.

use std::time::Duration;

use driftd_fixtures::driftd::Driftd;
use serde_json::Value;

const DEADLINE: Duration = Duration::from_mins(5);

/// Plays the story as fast as it goes; returns what it says at its end.
fn play() -> Value {
    let args = ["demo", "--once", "--json", "--week", "0", "--listen", "127.0.0.1:0"];
    let ended = Driftd::run(&args, &[], DEADLINE).expect_code(0);
    assert_eq!(ended.stdout.lines().count(), 1, "{}", ended.stdout);
    for words in ["temp", "dewp", "http://127.0.0.1:", "retraining"] {
        assert!(ended.stderr.contains(words), "`{words}` is not told: {}", ended.stderr);
    }
    serde_json::from_str(&ended.stdout).expect("one JSON object")
}

#[test]
fn the_demo_tells_the_same_story_each_time() {
    let outcome = play();
    let keys: Vec<_> = outcome.as_object().expect("an object").keys().collect();
    let expected = [
        "records_in",
        "records_rejected",
        "windows_closed",
        "features_drifted",
        "retrain_events",
        "jobs_succeeded",
        "windows_labelled",
        "digest",
        "seconds",
    ];
    assert_eq!(keys, expected);
    let drifted = outcome["features_drifted"].as_array().expect("a list");
    for feature in ["temp", "dewp"] {
        assert!(drifted.iter().any(|it| it == feature), "{feature}: {outcome}");
    }
    for (key, value) in [
        ("records_rejected", 0),
        ("retrain_events", 1),
        ("jobs_succeeded", 1),
        ("windows_labelled", 9),
    ] {
        assert_eq!(outcome[key], value, "{key}: {outcome}");
    }

    let again = play();
    for key in expected.into_iter().filter(|key| *key != "seconds") {
        assert_eq!(outcome[key], again[key], "{key}");
    }
}
