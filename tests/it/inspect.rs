//! `driftd inspect`: from a topic that nobody described to a configuration that reads it.

use std::fs;
use std::time::Duration;

use driftd_fixtures::driftd::{Driftd, Ended};
use driftd_fixtures::messages;
use driftd_tests::job::{Job, PARTITIONS, START, TopicRole};
use driftd_tests::topic::{self, Raw};
use serde_json::json;

const DEADLINE: Duration = Duration::from_mins(2);

/// Good messages in the topic.
const RECORDS: i64 = 200;

fn inspect(job: &Job, args: &[&str]) -> Ended {
    let topic = job.topic(TopicRole::Inference);
    let topic = ["inspect", "--topic", &topic];
    Driftd::run(&[&topic[..], args].concat(), &[], DEADLINE)
}

fn message(partition: i32, payload: Option<&[u8]>) -> Raw {
    Raw { partition, key: "key".to_owned(), payload: payload.map(<[u8]>::to_vec) }
}

/// A log as people write one: features and prediction in objects, and things that are neither.
fn record(index: i64) -> String {
    json!({
        "request_id": format!("r-{index}"),
        "event_time": START + index,
        "model": {"name": "churn", "version": "7"},
        "features": {
            "amount": index as f64 / 2.0,
            "items": index % 5,
            "country": if index % 4 == 0 { "FR" } else { "DE" },
            "premium": index % 2 == 0,
            "session": format!("s-{index}"),
        },
        "prediction": {"score": index as f64 / 1_000.0},
    })
    .to_string()
}

/// Fills the topic with records, and with these messages behind them.
fn fill(job: &Job, others: &[Option<&[u8]>]) {
    job.create_topic(TopicRole::Inference);
    let partitions = (0..PARTITIONS).cycle();
    let records = partitions.clone().zip(0..RECORDS);
    let records =
        records.map(|(partition, index)| message(partition, Some(record(index).as_bytes())));
    let others = partitions.zip(others).map(|(partition, payload)| message(partition, *payload));
    let messages: Vec<Raw> = records.chain(others).collect();
    topic::put(job.bootstrap(), &job.topic(TopicRole::Inference), &messages);
}

fn expect_parts(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}`: {text}");
    }
}

#[test]
fn a_topic_becomes_a_configuration_that_check_accepts() {
    let job = Job::new("inspect-nested");
    fill(&job, &[]);
    let output = job.path("proposed.yaml");
    let ended = inspect(&job, &["--brokers", job.bootstrap(), "--output", &output]).expect_code(0);
    let written = format!("proposal written to {output}");
    let parts = [
        "200 messages looked at, the newest of 200 in 4 partitions",
        "200  JSON, one object a message: read with `format: json`",
        &written,
        "200 of 200 messages decode by this proposal",
    ];
    expect_parts(&ended.stdout, &parts);

    let proposed = fs::read_to_string(&output).expect("the proposal was written");
    let lines = [
        r#"path: "event_time" # in all 200 records"#,
        "format: unix_seconds",
        r#"model: "model.name" # in all 200 records: churn"#,
        r#"version_path: "model.version" # in all 200 records: 7"#,
        r#"prediction_id: "request_id" # in all 200 records"#,
        r#"{name: "amount", path: "features.amount", type: float64} # in all 200 records; 0 to 99.5"#,
        r#"{name: "items", path: "features.items", type: integer}"#,
        "type: categorical} # in all 200 records; DE 75%, FR 25%",
        r#"{name: "premium", path: "features.premium", type: boolean}"#,
        "# left out: features.session: an identifier or free text: 200 different texts in 200",
        r#"{name: "score", path: "prediction.score", type: float64}"#,
    ];
    expect_parts(&proposed, &lines);

    let checked = Driftd::run(&["check", "--config", &output], &[], DEADLINE).expect_code(0);
    let topic = job.topic(TopicRole::Inference);
    let good =
        format!("ok    records of {topic}: 100 of the newest 100 messages are good, 100 records");
    expect_parts(&checked.stdout, &[&good, "churn/7, event time 2013-07-01T00:03:"]);
    assert!(!checked.stdout.contains("FAIL"), "{}", checked.stdout);

    // What somebody has looked through is not written over.
    let again = inspect(&job, &["--brokers", job.bootstrap(), "--output", &output]).expect_code(1);
    expect_parts(&again.stderr, &["is there already"]);
}

#[test]
fn what_cannot_be_read_is_named_with_its_evidence() {
    let job = Job::new("inspect-mixed");
    let others: [Option<&[u8]>; 5] = [
        Some(b"\0\0\0\x01\x02avro or protobuf"),
        None,
        Some(br#"{"event_time": "#),
        Some(b"\x1f\x8b\x08\0"),
        Some(b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08x"),
    ];
    fill(&job, &others);
    let ended = inspect(&job, &["--brokers", job.bootstrap()]).expect_code(0);
    let parts = [
        "205 messages looked at",
        "schema registry's prefix (Confluent wire format): read with `format: avro`, or `protobuf`: the",
        "first 0, then schema id 258",
        "tombstone: not read",
        "text that begins like JSON and is none: not read: each is one rejection `invalid_json`",
        "gzip: not read: have the producer set `compression.type` instead",
        "Avro, single object: read with `format: avro`, with the schemas",
        "\nname: \"inspect-mixed-inference\"\n",
        "200 of 205 messages decode by this proposal",
        "empty_payload, first [1] at offset 50: no payload: a tombstone",
    ];
    expect_parts(&ended.stdout, &parts);
}

#[test]
fn no_values_of_messages_are_shown_where_none_are_wanted() {
    let job = Job::new("inspect-private");
    fill(&job, &[]);
    let connection = json!({"name": "any", "kafka": {"brokers": [job.bootstrap()]}});
    let config = job.write(&connection);
    let args = ["--config", &config, "--no-values", "--messages", "40", "--from", "oldest"];
    let ended = inspect(&job, &args).expect_code(0);
    let parts =
        ["40 messages looked at, the oldest of 200", "in all 40 records, 1 different", "churn"];
    expect_parts(&ended.stdout, &parts);
    for value in ["DE", "19.5", "s-1", "r-1", &START.to_string()] {
        assert!(!ended.stdout.contains(value), "`{value}` is shown: {}", ended.stdout);
    }
}

#[test]
fn a_topic_without_messages_or_that_is_not_there_is_told() {
    let job = Job::new("inspect-empty");
    let missing = inspect(&job, &["--brokers", job.bootstrap()]).expect_code(1);
    expect_parts(&missing.stderr, &["topic `inspect-empty.inference` does not exist"]);
    job.create_topic(TopicRole::Inference);
    let empty = inspect(&job, &["--brokers", job.bootstrap()]).expect_code(0);
    expect_parts(&empty.stdout, &["0 messages looked at", "no message was read"]);
    let output = job.path("proposed.yaml");
    let nothing =
        inspect(&job, &["--brokers", job.bootstrap(), "--output", &output]).expect_code(1);
    expect_parts(&nothing.stderr, &["no configuration to write: no message was read"]);
    assert!(!fs::exists(&output).expect("the folder can be looked at"));
}

#[test]
fn a_cluster_is_named_once_and_one_that_does_not_answer_is_told() {
    let job = Job::new("inspect-unreachable");
    let both = ["--brokers", "k:1", "--config", "x.yaml"];
    for args in [&[][..], &["--brokers", "localhost"], &both] {
        let ended = inspect(&job, args).expect_code(64);
        assert!(ended.stderr.contains("--brokers"), "{}", ended.stderr);
    }
    let wrong = job.write(&json!({"name": "any"}));
    let without = inspect(&job, &["--config", &wrong]).expect_code(64);
    expect_parts(&without.stderr, &["`kafka`: is not there; add it, with `brokers`"]);
    // Port 1 of loopback: nothing listens there.
    let ended = inspect(&job, &["--brokers", "127.0.0.1:1"]).expect_code(1);
    expect_parts(&ended.stderr, &["no answer from `127.0.0.1:1` within 10 s", "check the brokers"]);
}

/// Requests as Seldon Core 2 has them in a topic: nothing but bytes says what they are.
#[test]
fn bodies_of_the_open_inference_protocol_are_named_and_proposed() {
    let job = Job::new("inspect-inference");
    job.create_topic(TopicRole::Inference);
    let partitions = (0..PARTITIONS).cycle().take(40);
    let messages = partitions.map(|it| message(it, Some(messages::TRITON_REQUEST)));
    let messages: Vec<Raw> = messages.collect();
    topic::put(job.bootstrap(), &job.topic(TopicRole::Inference), &messages);
    let output = job.path("proposed.yaml");
    let ended = inspect(&job, &["--brokers", job.bootstrap(), "--output", &output]).expect_code(0);
    let parts = [
        "40  Protobuf of the open inference protocol, by its tensors: read with \
         `format: open_inference`, with `open_inference.message`",
        "40  `inputs` with tensors: request of the V2 protocol (KServe, Triton), at inputs",
        "40 of 40 messages decode by this proposal",
    ];
    expect_parts(&ended.stdout, &parts);
    let proposed = fs::read_to_string(&output).expect("the proposal was written");
    let lines = [
        "    format: open_inference\n    open_inference: {message: request} # no header tells it",
        r#"path: "inputs[0].data[][0]", type: float64} # in all 80 records"#,
        r#"path: "inputs[2].data[][0]", type: integer}"#,
        r#"path: "inputs[3].data[][0]", type: categorical} # in all 80 records"#,
    ];
    expect_parts(&proposed, &lines);
    let checked = Driftd::run(&["check", "--config", &output], &[], DEADLINE).expect_code(0);
    let topic = job.topic(TopicRole::Inference);
    let good =
        format!("ok    records of {topic}: 40 of the newest 40 messages are good, 80 records");
    expect_parts(&checked.stdout, &[&good, "iris/3, event time "]);
}
