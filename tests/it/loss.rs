//! Logs that lose records before they are read: the partition stands still and says why, the others
//! go on, and when a person accepts the loss, only windows that may lack records say so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use driftd_catalog::Timestamp;
use driftd_fixtures::driftd::Driftd;
use driftd_fixtures::http;
use driftd_fixtures::kafka::KafkaCluster;
use driftd_tests::job::{Job, PARTITIONS, START, TopicRole, close_by_event_time};
use driftd_tests::reader::{Reader, Record};
use driftd_tests::topic::{self, Raw};
use serde_json::{Value, json};

use crate::durable::message;

const DEADLINE: Duration = Duration::from_mins(2);

/// Records ten seconds apart; amounts move after the third hour.
fn record(index: i64) -> Raw {
    message(index, START + index * 10, index % 97 + if 1_080 < index { 300 } else { 0 })
}

struct Loss {
    job: Job,
    config: String,
    topic: String,
    messages: i64,
}

impl Loss {
    fn new(name: &'static str) -> Self {
        let job = Job::new(name);
        job.create_topics();
        Self::of(job)
    }

    /// The topics are there.
    fn of(job: Job) -> Self {
        Self::keeping(job, "state", json!({"folder": "state", "commit_interval": "100ms"}))
    }

    fn shared(name: &'static str) -> Self {
        let job = Job::new(name);
        job.create_topics();
        let scale_out = json!({"lanes": 2, "replicas": 1, "commit_interval": "100ms"});
        let loss = Self::keeping(job, "scale_out", scale_out);
        let args = ["check", "--config", &loss.config, "--create-topics"];
        let _checked = Driftd::run(&args, &[], DEADLINE).expect_code(0);
        loss
    }

    /// A job that keeps its state as this key of the configuration says.
    fn keeping(job: Job, key: &str, value: Value) -> Self {
        let mut config = job.config();
        config["kafka"]["properties"] =
            json!({"session.timeout.ms": 2_000, "heartbeat.interval.ms": 400});
        close_by_event_time(&mut config);
        config[key] = value;
        let config = job.write(&config);
        job.build_references(&config, &["small"], DEADLINE);
        let topic = job.topic(TopicRole::Inference);
        Self { job, config, topic, messages: 0 }
    }

    fn put(&mut self, messages: i64) {
        let from = self.messages;
        self.messages += messages;
        let records: Vec<Raw> = (from..self.messages).map(record).collect();
        topic::put(self.job.bootstrap(), &self.topic, &records);
    }

    /// Closes every window.
    fn put_far(&self) {
        let far = |partition: i64| message(partition, START + 86_400 * 365, 1);
        let far: Vec<Raw> = (0..i64::from(PARTITIONS)).map(far).collect();
        topic::put(self.job.bootstrap(), &self.topic, &far);
    }

    /// Starts a process; what it logs is waited for in the order in which it comes.
    fn start(&self, options: &[&str], logs: &[&str]) -> Process {
        let args = ["run", "--config", &self.config, "--log-format", "json"];
        let mut daemon = Driftd::start(&[&args[..], options].concat(), &[]);
        for log in logs {
            daemon.wait_for_stderr(log, DEADLINE);
        }
        let origin = format!("http://{}", daemon.wait_for_address(DEADLINE));
        Process { daemon, origin }
    }

    /// Result lines of windows, one a window; panics when one was said twice.
    fn windows(&self) -> BTreeMap<i64, (i64, bool)> {
        let mut windows = BTreeMap::new();
        let mut said = BTreeSet::new();
        for line in self.read(TopicRole::Results) {
            let key = ["window_start", "segment", "feature"].map(|key| line[key].to_string());
            assert!(said.insert(key.clone()), "{key:?} twice");
            let start = line["window_start"].as_str().expect("a time");
            let start = Timestamp::parse(start).expect("a time");
            let hour = (start.as_millis() / 1_000 - START) / 3_600;
            let rows = line["rows"].as_i64().expect("a number");
            windows.insert(hour, (rows, line["complete"] == true));
        }
        windows
    }

    fn read(&self, role: TopicRole) -> Vec<Value> {
        let mut reader = Reader::open(self.job.bootstrap(), &self.job.topic(role), 1);
        reader.all().iter().map(Record::json).collect()
    }
}

struct Process {
    daemon: Driftd,
    origin: String,
}

impl Process {
    /// Waits until a status is as wanted.
    fn wait(&mut self, mut is_wanted: impl FnMut(&Value) -> bool) -> Value {
        let status = format!("{}/api/v1/status", self.origin);
        let mut seen = Value::Null;
        self.daemon.wait_for_http(&status, DEADLINE, |response| {
            seen = response.json();
            is_wanted(&seen)
        });
        seen
    }

    /// Waits until these partitions are read to their end.
    fn wait_for_end(&mut self, partitions: &[usize]) {
        let all = usize::try_from(PARTITIONS).expect("small");
        self.wait(|status| {
            let found = &status["sources"][0]["partitions"];
            found.as_array().map(Vec::len) == Some(all)
                && partitions.iter().all(|it| found[it]["lag"] == 0)
        });
    }

    /// Waits until what was read is stored.
    fn wait_for_store(&mut self) {
        let mut stored = BTreeSet::new();
        self.wait(|status| {
            stored.insert(status["state_stored_at"].to_string());
            // One batch may be on its way, and the next one asks for what the one after holds.
            4 < stored.len()
        });
    }

    fn get(&self, path: &str) -> http::Response {
        http::get(&format!("{}{path}", self.origin)).expect("HTTP is served")
    }

    /// Ends the process after it has stored what it decided; returns what it has logged.
    fn end(self) -> String {
        self.daemon.terminate(DEADLINE).expect_code(0).stderr
    }
}

fn stalled(status: &Value, partition: usize) -> &Value {
    &status["sources"][0]["partitions"][partition]["stalled"]
}

/// Whether a metric says of a partition that it stands still.
fn is_stalled(metrics: &str, topic: &str, partition: usize, reason: &str) -> bool {
    let labels = format!("topic=\"{topic}\",partition=\"{partition}\",reason=\"{reason}\"");
    let series = format!("driftd_kafka_partition_stalled{{{labels}}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
    value.unwrap_or_else(|| panic!("no {series}")) == "1"
}

/// Deletes an hour's first forty minutes from one partition that was not read.
fn lose_to_retention(loss: &mut Loss) {
    loss.put(2_160);
    let mut process = loss.start(&[], &[]);
    process.wait_for_end(&[0, 1, 2, 3]);
    let _log = process.end();
    loss.put(1_080);
    topic::delete_records(loss.job.bootstrap(), &loss.topic, 1, 600);
}

/// What is said of hours, by how many records, after the loss is accepted.
fn after_retention() -> BTreeMap<i64, (i64, bool)> {
    BTreeMap::from([
        (0, (360, true)),
        (1, (360, true)),
        (2, (360, true)),
        (3, (360, true)),
        (4, (360, true)),
        // What the partition had counted is dropped, forty minutes of it are lost, and the rest is
        // known to be whole a hundred records later.
        (5, (270, false)),
        (6, (300, false)),
        (7, (360, false)),
        (8, (360, true)),
        (9, (360, true)),
        (10, (360, true)),
    ])
}

#[test]
fn what_retention_deletes_is_lost_when_a_person_says_so() {
    let mut loss = Loss::new("loss");
    lose_to_retention(&mut loss);
    let topic = loss.topic.clone();
    let mut process = loss.start(&[], &[]);
    process.wait_for_end(&[0, 2, 3]);
    let status = process.wait(|status| stalled(status, 1).is_object());
    assert_eq!(stalled(&status, 1)["reason"], "deleted");
    assert_eq!(stalled(&status, 1)["records"], 60);
    assert!([0, 2, 3].iter().all(|it| stalled(&status, *it).is_null()));
    assert_eq!(status["totals"]["windows_closed"], 5, "windows wait for it");
    let ready = process.get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains(&format!("--accept-loss {topic}:1")), "{}", ready.body);
    let metrics = process.get("/metrics").body;
    let alone = |it: &usize| is_stalled(&metrics, &topic, *it, "deleted");
    assert_eq!([0, 1, 2, 3].iter().copied().filter(alone).collect::<Vec<_>>(), [1]);
    assert!(!is_stalled(&metrics, &topic, 1, "truncated"));
    let _log = process.end();

    // Partition 0 has lost nothing, and is left alone.
    let accepted = ["--accept-loss", &format!("{topic}:1"), "--accept-loss", &format!("{topic}:0")];
    let mut process =
        loss.start(&accepted, &["has lost nothing and goes on", "the loss is accepted"]);
    process.wait_for_end(&[0, 1, 2, 3]);
    process.wait_for_store();
    let _killed = process.daemon.kill(DEADLINE);
    loss.put(1_080);
    // The same arguments once more: now neither has lost anything.
    let lost_nothing = "has lost nothing and goes on";
    let mut process = loss.start(&accepted, &[]);
    process.wait_for_end(&[0, 1, 2, 3]);
    process.wait(|status| status["totals"]["windows_closed"] == 11);
    assert_eq!(process.get("/readyz").status, 200);
    assert_eq!(process.end().matches(lost_nothing).count(), 2);
    let windows = loss.windows();
    assert_eq!(windows, after_retention());
    let events = loss.read(TopicRole::Retraining);
    let ids: BTreeSet<String> = events.iter().map(|it| it["id"].to_string()).collect();
    assert!(!ids.is_empty() && ids.len() == events.len(), "{events:?}");
}

#[test]
fn a_topic_that_was_created_anew_is_read_anew_when_a_person_says_so() {
    let mut loss = Loss::new("recreated");
    loss.put(2_160);
    let mut process = loss.start(&[], &[]);
    process.wait_for_end(&[0, 1, 2, 3]);
    topic::delete(loss.job.bootstrap(), &loss.topic);
    topic::create_when_gone(loss.job.bootstrap(), &loss.topic, PARTITIONS);
    loss.put(400);
    let status = process.wait(|status| (0..4).all(|it| stalled(status, it).is_object()));
    assert!((0..4).all(|it| stalled(&status, it)["reason"] == "truncated"), "{status}");
    assert_eq!(status["totals"]["windows_closed"], 5, "nobody passes for idle");
    let _log = process.end();

    let mut process = loss.start(&["--accept-loss", &loss.topic], &["the loss is accepted"]);
    process.wait_for_end(&[0, 1, 2, 3]);
    loss.put(2_160);
    loss.put_far();
    process.wait(|status| status["totals"]["windows_closed"] == 13);
    let _log = process.end();
    let windows = loss.windows();
    // The sixth hour was counted by no partition that went on. A log that ends before the position
    // may be one that was cut: it is whole a hundred records after that end.
    let mut expected: BTreeMap<i64, (i64, bool)> =
        (0..13).filter(|hour| *hour != 5).map(|hour| (hour, (360, true))).collect();
    for hour in 6..=8 {
        expected.insert(hour, (360, false));
    }
    expected.insert(13, (40, true));
    assert_eq!(windows, expected);
}

#[test]
fn a_topic_that_was_created_anew_is_not_gone_on_with_where_its_offsets_fit() {
    let mut loss = Loss::new("refilled");
    loss.put(2_160);
    let mut process = loss.start(&[], &[]);
    process.wait_for_end(&[0, 1, 2, 3]);
    let _log = process.end();
    topic::delete(loss.job.bootstrap(), &loss.topic);
    topic::create_when_gone(loss.job.bootstrap(), &loss.topic, PARTITIONS);
    loss.put(2_400);
    let mut process = loss.start(&[], &[]);
    let status = process.wait(|status| (0..4).all(|it| stalled(status, it).is_object()));
    assert!((0..4).all(|it| stalled(&status, it)["reason"] == "recreated"), "{status}");
    let _log = process.end();

    let mut process = loss.start(&["--accept-loss", &loss.topic], &["the loss is accepted"]);
    process.wait_for_end(&[0, 1, 2, 3]);
    loss.put(1_440);
    loss.put_far();
    process.wait(|status| status["totals"]["windows_closed"] == 16);
    let _log = process.end();
    let mut expected: BTreeMap<i64, (i64, bool)> =
        (0..16).filter(|hour| *hour != 5).map(|hour| (hour, (360, true))).collect();
    // How much of the log is another one is known a hundred records past where it was read.
    for hour in 6..=13 {
        expected.insert(hour, (360, false));
    }
    expected.insert(16, (240, true));
    assert_eq!(loss.windows(), expected);
}

/// What is said of partition 1, and of no other.
fn expect_lost(process: &mut Process, topic: &str, reason: &str) {
    process.wait_for_end(&[0, 2, 3]);
    let status = process.wait(|status| stalled(status, 1).is_object());
    assert_eq!(stalled(&status, 1)["reason"], reason, "{status}");
    assert!([0, 2, 3].iter().all(|it| stalled(&status, *it).is_null()), "{status}");
    let ready = process.get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains(&format!("--accept-loss {topic}:1")), "{}", ready.body);
    let metrics = process.get("/metrics").body;
    let alone = |it: &usize| is_stalled(&metrics, topic, *it, reason);
    assert_eq!([0, 1, 2, 3].iter().copied().filter(alone).collect::<Vec<_>>(), [1]);
}

/// A broker that was away while records came becomes the leader, because who has them is gone: the
/// log is cut under the process that has read them, and other records take their place.
#[test]
fn what_an_unclean_election_cuts_off_is_lost_when_a_person_says_so() {
    let mut cluster = KafkaCluster::start(3);
    let job = Job::on("unclean", cluster.bootstrap());
    for role in TopicRole::ALL.into_iter().filter(|it| *it != TopicRole::Inference) {
        job.create_topic(role);
    }
    let topic = job.topic(TopicRole::Inference);
    let settings = [("unclean.leader.election.enable", "true"), ("min.insync.replicas", "1")];
    let brokers: [&[i32]; 4] = [&[1, 2], &[2, 3], &[1, 2], &[1, 3]];
    topic::create_at(job.bootstrap(), &topic, &brokers, &settings);
    let mut loss = Loss::of(job);
    loss.put(1_080);
    let mut process = loss.start(&[], &[]);
    process.wait(|status| status["totals"]["messages"] == 1_080);
    cluster.kill(2);
    loss.put(1_080);
    process.wait(|status| status["totals"]["messages"] == 2_160);
    process.wait_for_store();
    // Those who are left have no majority until the other one is back.
    cluster.kill(1);
    cluster.restart_among(2, 2);
    expect_lost(&mut process, &topic, "truncated");
    let _killed = process.daemon.kill(DEADLINE);

    // More than was cut off: the offset that would be read next is there again.
    loss.put(1_440);
    let mut process = loss.start(&[], &[]);
    expect_lost(&mut process, &topic, "recreated");
    let _killed = process.daemon.kill(DEADLINE);

    let accepted = ["--accept-loss", &format!("{topic}:1")];
    let mut process = loss.start(&accepted, &["the loss is accepted"]);
    process.wait_for_end(&[0, 1, 2, 3]);
    loss.put(1_440);
    loss.put_far();
    process.wait(|status| status["totals"]["windows_closed"] == 14);
    assert_eq!(process.get("/readyz").status, 200);
    let _log = process.end();
    // A hundred records past where the log was read before, all of it is known to be another one.
    let mut expected: BTreeMap<i64, (i64, bool)> =
        (0..14).map(|hour| (hour, (360, !(5..=10).contains(&hour)))).collect();
    expected.insert(5, (270, false));
    assert_eq!(loss.windows(), expected);
}

#[test]
fn a_loss_that_cannot_be_accepted_is_refused() {
    let job = Job::new("loss-refused");
    let mut config = job.config();
    let topic = job.topic(TopicRole::Inference);
    let refused = |config: &Value, named: &str| {
        let path = job.write(config);
        let args = ["run", "--config", &path, "--accept-loss", named];
        let ended = Driftd::run(&args, &[], DEADLINE).expect_code(1);
        ended.stderr
    };
    let error = refused(&config, &topic);
    assert!(error.contains("needs `state` or `scale_out`"), "{error}");
    config["state"] = json!({"folder": "state"});
    let error = refused(&config, "elsewhere:0");
    assert!(error.contains("no source reads topic `elsewhere`"), "{error}");
}

/// The reader of a partition begins it anew; that its windows are not whole is decided elsewhere.
#[test]
fn a_loss_is_accepted_where_several_processes_share_the_work() {
    let mut loss = Loss::shared("loss-shared");
    lose_to_retention(&mut loss);
    let mut process = loss.start(&[], &[]);
    process.wait_for_end(&[0, 2, 3]);
    let status = process.wait(|status| stalled(status, 1).is_object());
    assert_eq!(stalled(&status, 1)["reason"], "deleted");
    let told = format!("start each process with `--accept-loss {}:1`", loss.topic);
    assert!(status["not_ready"].to_string().contains(&told), "{status}");
    let _log = process.end();

    let accepting = ["--accept-loss", &format!("{}:1", loss.topic)];
    let mut process = loss.start(&accepting, &["the loss is accepted"]);
    process.wait_for_end(&[0, 1, 2, 3]);
    let _log = process.end();
    // Another one, which knows of the decision what is stored of it.
    let mut other = loss.start(&[], &[]);
    loss.put(1_080);
    other.wait_for_end(&[0, 1, 2, 3]);
    other.wait(|status| status["totals"]["windows_closed"] == 11);
    assert_eq!(other.get("/readyz").status, 200);
    let _log = other.end();
    assert_eq!(loss.windows(), after_retention());
}
