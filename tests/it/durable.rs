//! Processes that are killed while they read, each going on from the state of the one before,
//! against one that reads everything in one go.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use driftd_fixtures::driftd::Driftd;
use driftd_tests::job::{Job, PARTITIONS, TopicRole};
use driftd_tests::topic::{self, Raw};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(2);

/// 2013-07-01T00:00:00Z, in seconds.
const START: i64 = 1_372_636_800;

/// Messages of a round; a process is killed in each but the last.
const ROUND: i64 = 6_000;
const ROUNDS: i64 = 6;

/// Hours of event time.
const HOURS: i64 = ROUND * ROUNDS * 10 / 3_600;

/// Windows that end before the far record: one an hour, six-hour windows that hold a record, a
/// thousand rows each three hours, and every hour of the version so far.
const WINDOWS: i64 = HOURS + (HOURS + 5) + HOURS / 3 + HOURS;

const COUNTRIES: [&str; 3] = ["DE", "FR", "IT"];

/// Records ten seconds apart; amounts move in the second half.
fn record(index: i64) -> Raw {
    let amount = index % 97 + if ROUND * ROUNDS / 2 < index { 300 } else { 0 };
    message(index, START + index * 10, amount)
}

fn message(index: i64, seconds: i64, amount: i64) -> Raw {
    let country = COUNTRIES[usize::try_from(index % 3).expect("small")];
    let record = json!({
        "model": {"name": "small"},
        "event_time": seconds,
        "features": {
            "amount": amount,
            "items": index % 7,
            "country": country,
        },
    });
    let partition = i32::try_from(index % i64::from(PARTITIONS)).expect("small");
    Raw { partition, key: "k".to_owned(), payload: Some(record.to_string().into_bytes()) }
}

/// Two jobs on the topics of one; the second has names of its own for what it writes.
fn config(job: &Job, name: &str, state: Option<&str>) -> Value {
    let mut config = job.config();
    config["name"] = json!(name);
    // A killed process is a member of the group until then.
    config["kafka"]["properties"] = json!({"session.timeout.ms": 6_000});
    config["sources"][0]["event_time"]["format"] = json!("unix_seconds");
    // Only event time closes windows here.
    config["sources"][0]["time"] = json!({"idle_timeout": "1h"});
    let model = config["models"][0].as_object_mut().expect("a mapping");
    let mut decides = model.remove("window").expect("windows of an hour");
    decides["wait_max"] = json!("1h");
    let windows = json!([
        decides,
        {"length": "6h", "every": "1h", "early": "30m"},
        {"rows": 1_000, "every": "1h"},
        {"global": true, "every": "1h"},
    ]);
    model.insert("windows".to_owned(), windows);
    config["detection"] = json!({"minimum_rows": 100});
    if let Some(folder) = state {
        config["state"] = json!({"folder": folder, "commit_interval": "100ms"});
    } else {
        let other = |role| format!("{}.whole", job.topic(role));
        config["outputs"]["results_topic"] = json!(other(TopicRole::Results));
        config["retraining"]["topic"] = json!(other(TopicRole::Retraining));
        config["retraining"]["status_topic"] = json!(other(TopicRole::Status));
        for topic in [
            &config["outputs"]["results_topic"],
            &config["retraining"]["topic"],
            &config["retraining"]["status_topic"],
        ] {
            topic::create(job.bootstrap(), topic.as_str().expect("a name"), 1, &[]);
        }
    }
    config
}

fn build_reference(job: &Job, config: &str) {
    let mut rows = "event_time,amount,items,country\n".to_owned();
    for index in 0..2_000 {
        let country = COUNTRIES[index % 3];
        writeln!(rows, "{index},{},{},{country}", index % 97, index % 7).expect("a text grows");
    }
    let input = job.write_file("training.csv", &rows);
    let output = job.path("references/small-1.json");
    let args = ["reference", "build", "--config", config, "--input", &input, "--output", &output];
    let _built = Driftd::run(&args, &[], DEADLINE).expect_code(0);
}

fn start(config: &str) -> (Driftd, String) {
    let daemon = Driftd::start(&["run", "--config", config, "--log-format", "json"], &[]);
    running(daemon)
}

fn running(mut daemon: Driftd) -> (Driftd, String) {
    let line: Value = serde_json::from_str(&daemon.wait_for_stderr("driftd runs", DEADLINE))
        .expect("the log was asked for in JSON");
    let origin = format!("http://{}", line["fields"]["address"].as_str().expect("an address"));
    (daemon, format!("{origin}/api/v1/status"))
}

/// What has to be the same, when everything is read.
fn finish(config: &str) -> (Value, Value) {
    let (mut daemon, status) = start(config);
    let mut seen = Value::Null;
    daemon.wait_for_http(&status, DEADLINE, |response| {
        seen = response.json();
        let newest = seen["sources"][0]["partitions"].as_array().is_some_and(|all| {
            all.len() == usize::try_from(PARTITIONS).expect("small")
                && all.iter().all(|it| it["lag"] == 0)
        });
        // The last hours before the far record close when every partition has seen it.
        newest && seen["totals"]["windows_closed"] == WINDOWS
    });
    let _ended = daemon.terminate(DEADLINE).expect_code(0);
    (seen["totals"]["windows_closed"].clone(), seen["digest"].clone())
}

/// Lines of results by window and feature; a line that was written twice is the same line.
fn lines(records: Vec<Value>) -> BTreeMap<String, BTreeSet<String>> {
    let mut lines: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in records {
        let key = ["window", "window_start", "window_end", "revision", "segment", "feature"];
        let key = key.map(|key| line[key].to_string()).join(" ");
        lines.entry(key).or_default().insert(line.to_string());
    }
    lines
}

#[test]
fn killed_processes_come_to_what_one_that_was_not_comes_to() {
    let job = Job::new("durable");
    job.create_topics();
    job.write_file("job.sh", "exit 0");
    let durable = job.write(&config(&job, "durable", Some("state")));
    build_reference(&job, &durable);
    let whole = job.write_file("whole.yaml", &config(&job, "durable-whole", None).to_string());
    let inference = job.topic(TopicRole::Inference);
    let mut resumed = 0;
    for round in 0..ROUNDS {
        let records: Vec<Raw> = (round * ROUND..(round + 1) * ROUND).map(record).collect();
        topic::put(job.bootstrap(), &inference, &records);
        let args = ["run", "--config", &durable, "--log-format", "json"];
        let mut daemon = Driftd::start(&args, &[]);
        let read = daemon.wait_for_stderr("state read", DEADLINE);
        resumed += i32::from(read.contains(&format!("\"partitions\":{PARTITIONS}")));
        let (mut daemon, status) = running(daemon);
        // Some are killed while they read, others after what they read was stored.
        let mut stored = BTreeSet::new();
        daemon.wait_for_http(&status, DEADLINE, |response| {
            let status = response.json();
            if status["totals"]["messages"].as_i64() < Some(ROUND / 10) {
                return false;
            }
            stored.insert(status["state_stored_at"].to_string());
            round % 3 == 0 || 3 < stored.len()
        });
        let _killed = daemon.kill(DEADLINE);
    }
    assert!(2 < resumed, "only {resumed} processes went on from stored state");
    let far = |partition: i64| message(partition, START + 86_400 * 365, 1);
    let far: Vec<Raw> = (0..i64::from(PARTITIONS)).map(far).collect();
    topic::put(job.bootstrap(), &inference, &far);

    let (closed, digest) = finish(&durable);
    assert_eq!(finish(&whole), (closed, digest));

    let read = |topic: &str| {
        let mut reader = driftd_tests::reader::Reader::open(job.bootstrap(), topic, 1);
        reader.all().iter().map(driftd_tests::reader::Record::json).collect::<Vec<_>>()
    };
    let (results, requests) = (job.topic(TopicRole::Results), job.topic(TopicRole::Retraining));
    let (kept, expected) = (lines(read(&results)), lines(read(&format!("{results}.whole"))));
    assert!(kept == expected, "{} lines instead of {}", kept.len(), expected.len());
    let ids = |topic: &str| -> BTreeSet<String> {
        read(topic).iter().map(|event| event["id"].to_string()).collect()
    };
    let kept = ids(&requests);
    assert!(!kept.is_empty());
    assert_eq!(kept, ids(&format!("{requests}.whole")));
}
