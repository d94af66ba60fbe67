//! A running process is asked why a window has not ended.

use std::time::Duration;

use driftd_fixtures::driftd::Driftd;
use driftd_tests::job::{Job, PARTITIONS, TopicRole};
use driftd_tests::topic::{self, Raw};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(2);

fn record(partition: i32, event_time: &str) -> Raw {
    let record = json!({
        "model": {"name": "small"},
        "event_time": event_time,
        "features": {"amount": 1.5, "items": 3, "country": "DE"},
    });
    let payload = Some(record.to_string().into_bytes());
    Raw { partition, key: "good".to_owned(), payload }
}

/// All partitions begin an hour; the last one stays in it, the others go on for three hours.
#[test]
fn the_partition_that_stays_behind_is_named() {
    let job = Job::new("explain");
    job.create_topics();
    let mut config = job.config();
    config["sources"][0]["time"] = json!({"idle_timeout": "1h"});
    let config = job.write(&config);
    let inference = job.topic(TopicRole::Inference);
    let begun = (0..PARTITIONS).map(|partition| record(partition, "2013-07-01T00:10:00Z"));
    let on = (0..PARTITIONS - 1).map(|partition| record(partition, "2013-07-01T03:10:00Z"));
    let records: Vec<Raw> = begun.chain(on).collect();
    topic::put(job.bootstrap(), &inference, &records);
    let mut daemon = Driftd::start(&["run", "--config", &config, "--log-format", "json"], &[]);
    let origin = format!("http://{}", daemon.wait_for_address(DEADLINE));
    daemon.wait_for_http(&format!("{origin}/api/v1/status"), DEADLINE, |response| {
        response.json()["totals"]["messages"] == records.len()
    });

    let told = Driftd::run(&["explain", "window", "--url", &origin], &[], DEADLINE).expect_code(0);
    let behind = PARTITIONS - 1;
    let lines: Vec<&str> = told.stdout.lines().collect();
    let has =
        |words: &[&str]| lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(has(&["small/", "2013-07-01T00:00:00Z to 2013-07-01T01:00:00Z"]), "{}", told.stdout);
    for partition in 0..behind {
        assert!(has(&["passed", &format!("{inference}[{partition}]")]), "{}", told.stdout);
    }
    let waited_for = ["waited for", &format!("{inference}[{behind}]"), "to go", "given up at"];
    assert!(has(&waited_for), "{}", told.stdout);

    let args = ["explain", "window", "--url", &origin, "--model", "small", "--json"];
    let told = Driftd::run(&args, &[], DEADLINE).expect_code(0);
    let answer: Value = serde_json::from_str(&told.stdout).expect("a JSON object");
    let window = &answer["windows"][0];
    assert_eq!(window["waits_for"], "partitions");
    assert_eq!(window["further"], 3);
    let standings = window["partitions"].as_array().expect("partitions").iter();
    let waited_for: Vec<_> = standings.filter(|it| it["standing"] == "waited_for").collect();
    assert_eq!(waited_for.len(), 1, "{window}");
    assert_eq!(waited_for[0]["partition"], behind);

    let args = ["explain", "window", "--url", "http://127.0.0.1:1"];
    let refused = Driftd::run(&args, &[], DEADLINE).expect_code(1);
    assert!(refused.stderr.contains("is it running"), "{}", refused.stderr);
    let _ended = daemon.terminate(DEADLINE).expect_code(0);
}
