//! `driftd check`: what a user is told before the daemon starts.

use std::time::Duration;

use driftd_fixtures::driftd::{Driftd, Ended};
use driftd_tests::job::{Job, TopicRole};
use driftd_tests::topic::{self, Raw};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(2);

/// Three rows are enough for a profile.
const TRAINING: &str = "amount,items,country\n1.5,3,DE\n2.5,1,FR\n4.0,2,DE\n";

fn check(job: &Job, config: &Value) -> Ended {
    Driftd::run(&["check", "--config", &job.write(config)], &[], DEADLINE)
}

/// Builds the reference of the job's model.
fn build_reference(job: &Job) {
    let config = job.write(&job.config());
    let input = job.write_file("training.csv", TRAINING);
    let output = job.path("references/small-1.json");
    let args = ["reference", "build", "--config", &config, "--input", &input, "--output", &output];
    let ended = Driftd::run(&args, &[], DEADLINE).expect_code(0);
    assert!(ended.stdout.contains("written to"), "{}", ended.stdout);
}

/// Fails unless each part is in a line of its own that begins with `mark`.
fn expect_lines(text: &str, mark: &str, parts: &[String]) {
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(mark)).collect();
    for part in parts {
        assert!(lines.iter().any(|line| line.contains(part)), "no `{mark}` with `{part}`: {text}");
    }
    assert_eq!(lines.len(), parts.len(), "{text}");
}

/// Fails unless `check` refuses the configuration and names each of the places.
fn expect_refused(job: &Job, config: &Value, places: &[&str]) {
    let ended = check(job, config).expect_code(64);
    assert_eq!(ended.stdout, "");
    let lines: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with('`')).collect();
    for place in places {
        let found = lines.iter().any(|line| line.starts_with(&format!("`{place}`: ")));
        assert!(found, "{place} is not named: {}", ended.stderr);
    }
    assert_eq!(lines.len(), places.len(), "{}", ended.stderr);
}

#[test]
fn every_key_and_type_that_does_not_exist_is_listed_at_once() {
    let job = Job::new("check-shape");
    let mut config = job.config();
    config["models"][0]["features"][1]["type"] = json!("number");
    config["launcher"]["comand"] = json!(["true"]);
    config["outputs"]["features_exported_max"] = json!("many");
    let places = ["models[0].features[1].type", "launcher.comand", "outputs.features_exported_max"];
    expect_refused(&job, &config, &places);
}

#[test]
fn every_value_that_does_not_go_together_is_listed_at_once() {
    let job = Job::new("check-values");
    let mut config = job.config();
    config["kafka"]["brokers"] = json!(["nowhere"]);
    config["models"][0]["window"]["length"] = json!("0s");
    config["models"][0]["features"][2]["name"] = json!("items");
    config["launcher"]["timeout"] = json!("0s");
    let places = [
        "kafka.brokers[0]",
        "models[0].window.length",
        "models[0].features[2].name",
        "launcher.timeout",
    ];
    expect_refused(&job, &config, &places);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let ended = Driftd::run(&["check", "--config", "no/such.yaml"], &[], DEADLINE).expect_code(64);
    assert!(ended.stderr.contains("no/such.yaml"), "{}", ended.stderr);
}

#[test]
fn a_job_that_can_start_is_well() {
    let job = Job::new("check-well");
    job.create_topics();
    build_reference(&job);
    let ended = check(&job, &job.config()).expect_code(0);
    let mut parts = vec!["configuration".to_owned(), "reference small/1: 3 rows".to_owned()];
    parts.push("memory: ".to_owned());
    parts.push(format!("kafka {}: 1 brokers", job.bootstrap()));
    parts.extend(TopicRole::ALL.map(|role| format!("topic {}: ", job.topic(role))));
    let topic = job.topic(TopicRole::Inference);
    parts.push(format!("records of {topic}: the topic holds no message to try"));
    expect_lines(&ended.stdout, "ok ", &parts);
    expect_lines(&ended.stdout, "FAIL ", &[]);
}

/// Puts messages into the first partition of the topic of inference logs.
fn put(job: &Job, payloads: &[&str]) {
    let message = |payload: &&str| Raw {
        partition: 0,
        key: "key".to_owned(),
        payload: Some(payload.as_bytes().to_vec()),
    };
    let messages: Vec<Raw> = payloads.iter().map(message).collect();
    topic::put(job.bootstrap(), &job.topic(TopicRole::Inference), &messages);
}

#[test]
fn messages_are_tried_and_one_record_is_shown() {
    const GOOD: &str = r#"{"event_time": "2013-07-01T00:00:00Z", "model": {"name": "small"},
        "features": {"amount": 1.5, "items": null, "country": "DE"}}"#;
    let job = Job::new("check-records");
    job.create_topics();
    build_reference(&job);
    put(&job, &[GOOD, &GOOD.replace("1.5", "true"), &GOOD.replace("small", "other"), GOOD]);
    let ended = check(&job, &job.config()).expect_code(0);
    let topic = job.topic(TopicRole::Inference);
    let good = format!("records of {topic}: 2 of the newest 4 messages are good, 2 records");
    expect_lines(&ended.stdout, "warn ", &[good]);
    let parts = [
        "1  wrong_type, first [0] at offset 1: `features.amount`: expected a number",
        "1  unknown_model, first [0] at offset 2: ",
        "one of them, [0] at offset 3: small/1, event time 2013-07-01T00:00:00Z",
        "feature     amount   float32      1.5\n",
        "feature     items    integer      null\n",
        "feature     country  categorical  DE\n",
    ];
    for part in parts {
        assert!(ended.stdout.contains(part), "no `{part}`: {}", ended.stdout);
    }
    let args = ["check", "--no-values", "--config", &job.write(&job.config())];
    let without = Driftd::run(&args, &[], DEADLINE).expect_code(0).stdout;
    for part in ["amount   float32      …\n", "country  categorical  …\n"] {
        assert!(without.contains(part), "no `{part}`: {without}");
    }
    assert!(!without.contains("DE"), "{without}");
}

#[test]
fn a_topic_of_which_nothing_can_be_decoded_is_a_problem() {
    let job = Job::new("check-hopeless");
    job.create_topics();
    build_reference(&job);
    put(&job, &["amount,items", "1.5,3"]);
    let ended = check(&job, &job.config()).expect_code(1);
    let topic = job.topic(TopicRole::Inference);
    let problem = format!("records of {topic}: none of the newest 2 messages can be decoded");
    expect_lines(&ended.stdout, "FAIL ", &[problem]);
    assert!(ended.stdout.contains("2  invalid_json, first [0] at offset 0: "), "{}", ended.stdout);
}

#[test]
fn missing_topics_and_references_are_named_with_what_makes_them() {
    let job = Job::new("check-missing");
    for role in [TopicRole::Inference, TopicRole::Retraining, TopicRole::Status] {
        job.create_topic(role);
    }
    let ended = check(&job, &job.config()).expect_code(1);
    let topic = |role| {
        let topic = job.topic(role);
        format!(
            "topic {topic}: does not exist: create it, for example with `kafka-topics.sh --create --topic {topic}`"
        )
    };
    let reference = format!(
        "reference small/1: `{}` does not exist: build it with `driftd reference build`",
        job.path("references/small-1.json")
    );
    let parts = [reference, topic(TopicRole::Rejected), topic(TopicRole::Results)];
    expect_lines(&ended.stdout, "FAIL ", &parts);
}

#[test]
fn a_job_that_does_not_fit_is_told_before_the_start() {
    let job = Job::new("check-memory");
    job.create_topics();
    build_reference(&job);
    let mut config = job.config();
    config["memory"] = json!({"limit": "64MiB"});
    let ended = check(&job, &config).expect_code(1);
    let parts = ["memory: the configuration needs more memory than there is".to_owned()];
    expect_lines(&ended.stdout, "FAIL ", &parts);
}

#[test]
fn a_broker_that_does_not_answer_is_named() {
    let job = Job::new("check-unreachable");
    build_reference(&job);
    let mut config = job.config();
    // Port 1 of loopback: nothing listens there.
    config["kafka"]["brokers"] = json!(["127.0.0.1:1"]);
    let ended = check(&job, &config).expect_code(1);
    let parts = ["kafka 127.0.0.1:1: no answer within 10 s".to_owned()];
    expect_lines(&ended.stdout, "FAIL ", &parts);
    assert!(ended.stdout.contains("check `kafka.brokers`"), "{}", ended.stdout);
}
