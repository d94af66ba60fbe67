//! Bad records among good ones, on a real Kafka: each is counted by its reason and set aside as it
//! came, and nothing else is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use driftd_fixtures::driftd::Driftd;
use driftd_fixtures::http;
use driftd_tests::job::{Job, PARTITIONS, TopicRole};
use driftd_tests::reader::Record;
use driftd_tests::topic::{self, Raw};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(2);

/// Most bytes of a record, as configured.
const BYTES_MAX: usize = 1_000;

fn good() -> Value {
    json!({
        "model": {"name": "small"},
        "event_time": "2013-07-01T00:10:00Z",
        "features": {"amount": 1.5, "items": 3, "country": "DE"},
    })
}

/// The good record with another value at `pointer`; `None` takes the key out.
#[expect(clippy::unnecessary_wraps, reason = "a payload, which some messages do not have")]
fn with(pointer: &str, value: Option<Value>) -> Option<Vec<u8>> {
    let mut record = good();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = record.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
    match value {
        Some(value) => parent.insert(key.to_owned(), value),
        None => parent.shift_remove(key),
    };
    Some(record.to_string().into_bytes())
}

/// The good record with the text `from` replaced, for what no JSON library writes.
#[expect(clippy::unnecessary_wraps, reason = "a payload, which some messages do not have")]
fn edited(from: &str, to: &[u8]) -> Option<Vec<u8>> {
    let text = good().to_string();
    let (before, after) = text.split_once(from).expect("the record has the text");
    Some([before.as_bytes(), to, after.as_bytes()].concat())
}

/// Reason and payload of each bad record.
fn bad() -> Vec<(&'static str, Option<Vec<u8>>)> {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    vec![
        ("invalid_json", text(r#"{"model": "#)),
        ("invalid_json", text("\0\0\0\0\u{1}x")),
        ("invalid_json", edited("}}", b"}}x")),
        ("wrong_type", text("[1]")),
        ("wrong_type", with("/features/amount", Some(json!("1.5")))),
        ("wrong_type", with("/features/country", Some(json!({"code": "DE"})))),
        ("wrong_type", with("/features", Some(json!([1.5, 3, "DE"])))),
        ("missing_field", with("/event_time", None)),
        ("missing_field", with("/event_time", Some(Value::Null))),
        ("missing_field", with("/model/name", None)),
        ("number_out_of_range", edited("1.5", b"1e999")),
        ("number_out_of_range", edited("1.5", b"-1e39")),
        ("number_out_of_range", edited(":3", b":9223372036854775808")),
        ("invalid_utf8", edited("DE", b"D\xff")),
        ("empty_payload", text("")),
        ("empty_payload", text("\0\0\0\0\u{1}")),
        ("empty_payload", None),
        ("oversized", with("/note", Some(json!("x".repeat(BYTES_MAX))))),
        ("unknown_model", with("/model/name", Some(json!("large")))),
        ("invalid_time", with("/event_time", Some(json!("yesterday")))),
    ]
}

/// A bad record as it has to lie in the dead-letter topic.
#[derive(Debug, PartialEq, Eq)]
struct DeadLetter {
    reason: String,
    key: String,
    payload: Option<Vec<u8>>,
}

/// Good and bad records in turn, over all partitions, with the dead letters to expect by place.
fn mixed() -> (Vec<Raw>, BTreeMap<(i32, i64), DeadLetter>) {
    let mut messages = Vec::new();
    let mut dead_letters = BTreeMap::new();
    let mut ends: BTreeMap<i32, i64> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    let mut put = |partition: i32, key: &str, payload: Option<Vec<u8>>| {
        messages.push(Raw { partition, key: key.to_owned(), payload });
        let end = ends.get_mut(&partition).expect("a partition of the topic");
        *end += 1;
        (partition, *end - 1)
    };
    for (partition, (index, (reason, payload))) in
        (0..PARTITIONS).cycle().zip(bad().into_iter().enumerate())
    {
        put(partition, "good", Some(good().to_string().into_bytes()));
        let key = format!("bad-{index}");
        let place = put(partition, &key, payload.clone());
        put(partition, "good", with("/features/country", Some(json!("FR"))));
        dead_letters.insert(place, DeadLetter { reason: reason.to_owned(), key, payload });
    }
    (messages, dead_letters)
}

/// Value of the one sample of `metric` that has all these labels.
fn sample(metrics: &str, metric: &str, labels: &[(&str, &str)]) -> f64 {
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    let found: Vec<&str> = metrics
        .lines()
        .filter(|line| line.starts_with(&format!("{metric}{{")))
        .filter(|line| labels.iter().all(|label| line.contains(label)))
        .collect();
    let [line] = found[..] else { panic!("{metric} with {labels:?}: {found:?}") };
    let (_, value) = line.rsplit_once(' ').expect("a sample has a value");
    value.parse().expect("a number")
}

#[test]
fn bad_records_are_counted_by_reason_and_set_aside_and_nothing_else_is_lost() {
    let job = Job::new("bad-input");
    job.create_topics();
    let mut config = job.config();
    config["sources"][0]["payload_bytes_max"] = json!(BYTES_MAX);
    let config = job.write(&config);
    let (messages, expected) = mixed();
    let goods = messages.len() - expected.len();
    topic::put(job.bootstrap(), &job.topic(TopicRole::Inference), &messages);

    let mut daemon = Driftd::start(&["run", "--config", &config, "--log-format", "json"], &[]);
    let origin = format!("http://{}", daemon.wait_for_address(DEADLINE));
    daemon.wait_for_http(&format!("{origin}/api/v1/status"), DEADLINE, |response| {
        let status = response.json();
        status["totals"]["messages"] == messages.len()
            && status["totals"]["windows_closed"] == 1
            && status["sources"][0]["dead_lettered"] == expected.len()
    });

    let metrics = http::get(&format!("{origin}/metrics")).expect("the daemon answers").body;
    let topic = job.topic(TopicRole::Inference);
    let mut reasons: BTreeMap<&str, f64> = BTreeMap::new();
    for letter in expected.values() {
        *reasons.entry(&letter.reason).or_default() += 1.0;
    }
    for (reason, count) in reasons {
        let labels = [("topic", topic.as_str()), ("reason", reason)];
        assert_eq!(sample(&metrics, "driftd_records_rejected_total", &labels), count, "{reason}");
    }
    let labels = [("model", "small"), ("model_version", "1")];
    assert_eq!(sample(&metrics, "driftd_predictions_total", &labels), goods as f64);

    let _ended = daemon.terminate(DEADLINE).expect_code(0);
    let mut results = job.reader(TopicRole::Results);
    let lines: Vec<Value> = results.all().iter().map(Record::json).collect();
    assert_eq!(lines.len(), 3, "one window, three features");
    assert!(lines.iter().all(|line| line["rows"] == goods), "{lines:?}");
    check_dead_letters(&job, &expected);
}

fn check_dead_letters(job: &Job, expected: &BTreeMap<(i32, i64), DeadLetter>) {
    let mut rejected = job.reader(TopicRole::Rejected);
    let mut found = BTreeMap::new();
    for record in rejected.all() {
        let header = |name: &str| record.headers[name].clone();
        assert_eq!(header("driftd_topic"), job.topic(TopicRole::Inference));
        assert!(!header("driftd_detail").is_empty(), "{record:?}");
        let number = |name: &str| header(name).parse::<i64>().expect("a number");
        let partition = i32::try_from(number("driftd_partition")).expect("a partition");
        let place = (partition, number("driftd_offset"));
        let letter = DeadLetter {
            reason: header("driftd_reason"),
            key: String::from_utf8(record.key.clone().unwrap_or_default()).expect("text"),
            payload: record.payload.clone(),
        };
        assert!(found.insert(place, letter).is_none(), "{place:?} came twice");
    }
    assert_eq!(found, *expected);
}

/// As many records as a field has to be without before it is told.
const MANY: usize = 100;

#[test]
fn a_field_that_all_records_come_without_is_told_until_one_has_it() {
    let job = Job::new("fields-changed");
    job.create_topics();
    let config = job.write(&job.config());
    job.build_references(&config, &["small"], DEADLINE);
    let put = |count: usize, record: Option<Vec<u8>>| {
        let raw = Raw { partition: 0, key: "k".to_owned(), payload: record };
        topic::put(job.bootstrap(), &job.topic(TopicRole::Inference), &vec![raw; count]);
    };
    put(1, Some(good().to_string().into_bytes()));
    let mut daemon = Driftd::start(&["run", "--config", &config, "--log-format", "json"], &[]);
    let origin = format!("http://{}", daemon.wait_for_address(DEADLINE));
    let mut wait_for = |messages: usize, fields: &Value| {
        daemon.wait_for_http(&format!("{origin}/api/v1/status"), DEADLINE, |response| {
            let status = response.json();
            status["totals"]["messages"] == messages
                && status["sources"][0]["fields_changed"] == *fields
        });
    };
    let gauge = |reason: &str| {
        let metrics = http::get(&format!("{origin}/metrics")).expect("the daemon answers").body;
        let topic = job.topic(TopicRole::Inference);
        let labels = [("topic", topic.as_str()), ("reason", reason)];
        sample(&metrics, "driftd_fields_changed", &labels)
    };
    wait_for(1, &json!([]));
    assert_eq!((gauge("absent"), gauge("unreadable")), (0.0, 0.0));

    let place = |offset: usize| json!([{"partition": 0, "offset": offset}]);
    put(MANY, with("/features/country", None));
    let country = json!({
        "path": "features.country", "reason": "absent", "records": MANY, "from": place(1),
    });
    wait_for(1 + MANY, &json!([country]));
    assert_eq!((gauge("absent"), gauge("unreadable")), (1.0, 0.0));

    put(MANY, with("/features/amount", Some(json!("much"))));
    let amount = json!({
        "path": "features.amount", "reason": "unreadable", "records": MANY, "from": place(1 + MANY),
    });
    wait_for(1 + 2 * MANY, &json!([amount, country]));
    assert_eq!((gauge("absent"), gauge("unreadable")), (1.0, 1.0));

    put(1, Some(good().to_string().into_bytes()));
    wait_for(2 + 2 * MANY, &json!([]));
    let ended = daemon.terminate(DEADLINE).expect_code(0);
    let told = ended.stderr.lines().find(|it| it.contains("schema has changed"));
    assert!(told.is_some_and(|it| it.contains("features.country")), "{}", ended.stderr);
}
