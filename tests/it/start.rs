//! The start: what is refused, and where the first one begins to read.

use std::time::Duration;

use driftd_fixtures::driftd::Driftd;
use driftd_tests::job::{Job, PARTITIONS, TopicRole};
use driftd_tests::topic::{self, Raw};
use serde_json::json;

const DEADLINE: Duration = Duration::from_mins(2);

/// One good record for each partition.
fn round() -> Vec<Raw> {
    let record = json!({
        "model": {"name": "small"},
        "event_time": "2013-07-01T00:10:00Z",
        "features": {"amount": 1.5, "items": 3, "country": "DE"},
    });
    let raw = |partition| Raw {
        partition,
        key: "good".to_owned(),
        payload: Some(record.to_string().into_bytes()),
    };
    (0..PARTITIONS).map(raw).collect()
}

/// Several consumer threads join one after another, so that partitions move while nothing is in
/// them: what comes meanwhile must not be skipped.
#[test]
fn after_the_newest_record_nothing_old_is_read_and_nothing_new_is_skipped() {
    let job = Job::new("start-latest");
    job.create_topics();
    let mut config = job.config();
    config["sources"][0]["start"] = json!("latest");
    config["kafka"]["consumers"] = json!(3);
    let config = job.write(&config);
    let inference = job.topic(TopicRole::Inference);
    for _ in 0..5 {
        topic::put(job.bootstrap(), &inference, &round());
    }
    let mut daemon = Driftd::start(&["run", "--config", &config, "--log-format", "json"], &[]);
    let origin = format!("http://{}", daemon.wait_for_address(DEADLINE));
    daemon.wait_for_http(&format!("{origin}/readyz"), DEADLINE, |response| response.status == 200);
    daemon.wait_for_http(&format!("{origin}/api/v1/status"), DEADLINE, |response| {
        let partitions = response.json()["sources"][0]["partitions"].clone();
        partitions
            .as_array()
            .is_some_and(|all| all.len() == usize::try_from(PARTITIONS).unwrap_or(0))
    });
    for _ in 0..3 {
        topic::put(job.bootstrap(), &inference, &round());
    }
    let expected = 3 * PARTITIONS;
    daemon.wait_for_http(&format!("{origin}/api/v1/status"), DEADLINE, |response| {
        let status = response.json();
        let lag = status["lag"] == 0;
        assert!(status["totals"]["messages"].as_i64() <= Some(expected.into()), "{status}");
        lag && status["totals"]["messages"] == expected
    });
    let _ended = daemon.terminate(DEADLINE).expect_code(0);
}

/// Nobody looks at the topic for a while after it has grown: what comes meanwhile is read too.
#[test]
fn a_partition_that_is_added_meanwhile_is_read_from_its_first_record() {
    let job = Job::new("start-growth");
    job.create_topics();
    let mut config = job.config();
    config["sources"][0]["start"] = json!("latest");
    config["kafka"]["properties"] = json!({"topic.metadata.refresh.interval.ms": 3_000});
    let config = job.write(&config);
    let inference = job.topic(TopicRole::Inference);
    topic::put(job.bootstrap(), &inference, &round());
    let mut daemon = Driftd::start(&["run", "--config", &config, "--log-format", "json"], &[]);
    let status = format!("http://{}/api/v1/status", daemon.wait_for_address(DEADLINE));
    daemon.wait_for_http(&status, DEADLINE, |response| {
        let partitions = &response.json()["sources"][0]["partitions"];
        partitions.as_array().map(Vec::len) == usize::try_from(PARTITIONS).ok()
    });
    topic::grow(job.bootstrap(), &inference, PARTITIONS + 1);
    let added = |raw: Raw| Raw { partition: PARTITIONS, ..raw };
    let records: Vec<Raw> = round().into_iter().map(added).collect();
    topic::put(job.bootstrap(), &inference, &records);
    daemon.wait_for_http(&status, DEADLINE, |response| {
        response.json()["totals"]["messages"] == PARTITIONS
    });
    let _ended = daemon.terminate(DEADLINE).expect_code(0);
}

#[test]
fn a_budget_above_the_limit_is_refused_with_what_shrinks_it() {
    let job = Job::new("start-memory");
    job.create_topics();
    let mut config = job.config();
    config["memory"] = json!({"limit": "512MiB", "fetch_queue": "1GiB"});
    let config = job.write(&config);
    let ended = Driftd::run(&["run", "--config", &config], &[], DEADLINE).expect_code(1);
    let said = ["`memory.limit` is 512.0 MiB", "(fetch_queues ", "lower `memory.fetch_queue`"];
    for part in said {
        assert!(ended.stderr.contains(part), "no `{part}`: {}", ended.stderr);
    }
}
