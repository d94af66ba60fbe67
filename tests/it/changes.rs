//! Change events of Debezium on a real Kafka: rows that are new become records, everything else is
//! counted by what it is, and nothing is rejected but what is no change.

use std::time::Duration;

use driftd_fixtures::driftd::Driftd;
use driftd_fixtures::http;
use driftd_fixtures::messages::{
    DEBEZIUM_CREATE, DEBEZIUM_DELETE, DEBEZIUM_SNAPSHOT, DEBEZIUM_TRUNCATE, DEBEZIUM_UPDATE,
};
use driftd_tests::job::{Job, TopicRole};
use driftd_tests::topic::{self, Raw};
use driftd_tests::twin::check_dead_letters;
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(2);

fn config(job: &Job) -> Value {
    let mut config = job.config();
    config["sources"] = json!([{
        "topic": job.topic(TopicRole::Inference),
        "start": "earliest",
        "event_time": {"path": "payload.ts_ms", "format": "unix_millis"},
        "change_events": {"op": "payload.op"},
        "dead_letter_topic": job.topic(TopicRole::Rejected),
        "time": {"idle_timeout": "2s"},
    }]);
    config["models"] = json!([{
        "name": "m",
        "source": job.topic(TopicRole::Inference),
        "version": "1",
        "references": "references/{model}-{version}.json",
        "window": {"length": "1h"},
        "features": [{"name": "id", "path": "payload.after.id", "type": "integer"}],
    }]);
    config
}

#[test]
fn new_rows_of_a_table_are_records_and_its_other_changes_are_counted() {
    let job = Job::new("changes");
    job.create_topics();
    let no_change = br#"{"payload": {"op": "z", "ts_ms": 1559033904863}}"#.to_vec();
    let texts = [
        Some(DEBEZIUM_CREATE),
        Some(DEBEZIUM_UPDATE),
        Some(DEBEZIUM_SNAPSHOT),
        Some(DEBEZIUM_DELETE),
        None,
        Some(DEBEZIUM_TRUNCATE),
        Some(DEBEZIUM_CREATE),
    ];
    let payloads = texts.map(|it| it.map(|text| text.as_bytes().to_vec()));
    let payloads = payloads.into_iter().chain([Some(no_change.clone())]);
    let messages: Vec<Raw> = payloads
        .map(|payload| Raw { partition: 0, key: "{\"id\":1}".to_owned(), payload })
        .collect();
    topic::put(job.bootstrap(), &job.topic(TopicRole::Inference), &messages);
    let config = job.write(&config(&job));

    let mut daemon = Driftd::start(&["run", "--config", &config, "--log-format", "json"], &[]);
    let origin = format!("http://{}", daemon.wait_for_address(DEADLINE));
    let status = format!("{origin}/api/v1/status");
    daemon.wait_for_http(&status, DEADLINE, |response| {
        let source = &response.json()["sources"][0];
        source["messages"] == messages.len()
            && source["dead_lettered"] == 1
            && source["rejected"]["wrong_type"] == 1
            && source["rejected"]["empty_payload"] == 0
            && source["skipped"]
                == json!({"update": 1, "delete": 1, "truncate": 1, "message": 0, "tombstone": 1})
    });
    let metrics = http::get(&format!("{origin}/metrics")).expect("the daemon answers").body;
    let topic = job.topic(TopicRole::Inference);
    let tombstones =
        format!("driftd_changes_skipped_total{{topic=\"{topic}\",kind=\"tombstone\"}} 1");
    assert!(metrics.contains(&tombstones), "{metrics}");
    let _ended = daemon.terminate(DEADLINE).expect_code(0);
    check_dead_letters(&job, vec![("wrong_type", no_change)]);
    let checked = Driftd::run(&["check", "--config", &config], &[], DEADLINE);
    assert!(checked.stdout.contains("7 of the newest 8 messages are good"), "{}", checked.stdout);
}
