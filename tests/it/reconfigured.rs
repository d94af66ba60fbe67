//! Jobs that are killed and go on with another configuration: of every window the topic of results
//! has what one of both counts over all of it, and what they count never mixes.
//!
//! Before: [`crate::durable`] makes messages. After: nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use driftd_catalog::Timestamp;
use driftd_fixtures::driftd::Driftd;
use driftd_tests::job::{COUNTRIES, Job, PARTITIONS, START, TopicRole, close_by_event_time};
use driftd_tests::reader::{Reader, Record};
use driftd_tests::topic::{self, Raw};
use serde_json::{Value, json};

use crate::durable::{message, running};

const DEADLINE: Duration = Duration::from_mins(2);

/// Messages of an hour, ten seconds apart.
const HOUR: i64 = 360;
/// Hours before the change: it is in the middle of one, and of two.
const BEFORE: i64 = 4 * HOUR + HOUR / 2;
const ALL: i64 = 12 * HOUR;

/// Lines of results by the start of their window and its length, in hours, and by feature.
type Lines = BTreeMap<(i64, i64), BTreeMap<String, String>>;

/// A job, and what it is changed to.
struct Change {
    job: Job,
    old: Value,
    new: Value,
}

impl Change {
    fn new(name: &'static str, change: impl FnOnce(&Job, &mut Value)) -> Self {
        let job = Job::new(name);
        job.create_topics();
        let mut old = job.config();
        old["kafka"]["properties"] =
            json!({"session.timeout.ms": 2_000, "heartbeat.interval.ms": 400});
        close_by_event_time(&mut old);
        old["state"] = json!({"folder": "state", "commit_interval": "100ms"});
        job.build_references(&job.write(&old), &["small"], DEADLINE);
        let mut new = old.clone();
        change(&job, &mut new);
        Self { job, old, new }
    }

    fn put(&self, records: impl Iterator<Item = Raw>) {
        let records: Vec<Raw> = records.collect();
        topic::put(self.job.bootstrap(), &self.job.topic(TopicRole::Inference), &records);
    }

    fn put_hours(&self, range: std::ops::Range<i64>) {
        self.put(range.map(|index| message(index, START + index * 10, index % 97)));
    }

    /// Starts a process and waits until everything is read and `is_done` with its status.
    fn run(&self, config: &Value, mut is_done: impl FnMut(&Value) -> bool) -> Driftd {
        let config = self.job.write(config);
        let args = ["run", "--config", &config, "--log-format", "json"];
        let (mut daemon, status) = running(Driftd::start(&args, &[]));
        let all = usize::try_from(PARTITIONS).expect("small");
        daemon.wait_for_http(&status, DEADLINE, |response| {
            let status = response.json();
            let partitions = status["sources"][0]["partitions"].as_array();
            let at_end = |it: &Vec<Value>| it.len() == all && it.iter().all(|it| it["lag"] == 0);
            partitions.is_some_and(at_end) && is_done(&status)
        });
        daemon
    }

    /// What a process without state says of everything with this configuration.
    fn whole(&self, config: &Value, suffix: &str) -> Lines {
        let mut config = config.clone();
        let results = format!("{}.{suffix}", self.job.topic(TopicRole::Results));
        topic::create(self.job.bootstrap(), &results, 1, &[]);
        let parts = config.as_object_mut().expect("an object");
        for part in ["state", "retraining", "launcher"] {
            parts.remove(part);
        }
        config["name"] = json!(format!("{}-{suffix}", self.old["name"].as_str().expect("text")));
        config["outputs"]["results_topic"] = json!(results);
        let daemon = self.run(&config, |_| true);
        let _ended = daemon.terminate(DEADLINE).expect_code(0);
        self.lines(&results)
    }

    /// What lies in a topic; panics when something was said twice.
    fn lines(&self, topic: &str) -> Lines {
        let mut lines = Lines::new();
        for line in Reader::open(self.job.bootstrap(), topic, 1).all().iter().map(Record::json) {
            let hour = |key: &str| {
                let time = Timestamp::parse(line[key].as_str().expect("a time")).expect("a time");
                (time.as_millis() / 1_000 - START) / 3_600
            };
            let (start, end) = (hour("window_start"), hour("window_end"));
            let window = lines.entry((start, end - start)).or_default();
            let feature = line["feature"].to_string();
            let before = window.insert(feature, line.to_string());
            assert_eq!(before, None, "{topic}: twice");
        }
        lines
    }

    /// Kills the old one in the middle of a window, lets the new one go on, and compares both with
    /// what each says of everything. Returns the windows of the new one.
    fn play(self) -> BTreeSet<i64> {
        self.put_hours(0..BEFORE);
        let mut stored = BTreeSet::new();
        let daemon = self.run(&self.old, |status| {
            stored.insert(status["state_stored_at"].to_string());
            4 < stored.len()
        });
        let _killed = daemon.kill(DEADLINE);
        self.put_hours(BEFORE..ALL);
        let far = |partition: i64| message(partition, START + 86_400 * 365, 1);
        self.put((0..i64::from(PARTITIONS)).map(far));
        let daemon = self.run(&self.new, |_| true);
        let ended = daemon.terminate(DEADLINE).expect_code(0);
        assert!(ended.stderr.contains("windows are left behind"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        let found = self.lines(&self.job.topic(TopicRole::Results));
        let (old, new) = (self.whole(&self.old, "old"), self.whole(&self.new, "new"));
        let mut of_new = BTreeSet::new();
        for (window, lines) in &found {
            let (is_old, is_new) = (old.get(window) == Some(lines), new.get(window) == Some(lines));
            assert!(is_old != is_new, "{window:?} is neither, or both: {lines:#?}");
            if is_new {
                of_new.insert(window.0);
            } else {
                let end = window.0 + window.1;
                assert!(end * HOUR <= BEFORE, "{window:?} is of the old one");
            }
        }
        let is_early = |start: &i64| (start + 1) * HOUR <= BEFORE;
        let early = found.keys().filter(|(start, _)| is_early(start)).count();
        assert_eq!(early, 4, "the old one has said all its windows: {found:#?}");
        of_new
    }
}

#[test]
fn windows_of_another_length_begin_with_the_first_whole_one() {
    let change = Change::new("changed-window", |_, config| {
        config["models"][0]["window"]["length"] = json!("2h");
    });
    assert_eq!(change.play(), BTreeSet::from([6, 8, 10]));
}

/// Builds a reference beside the first one, of amounts below `amounts`, and has it used.
fn use_another_reference(job: &Job, config: &mut Value, amounts: usize) {
    config["models"][0]["references"] = json!("others/{model}-{version}.json");
    let path = job.write_file("other.yaml", &config.to_string());
    let mut rows = "amount,items,country\n".to_owned();
    for index in 0..2_000 {
        let country = COUNTRIES[index % COUNTRIES.len()];
        writeln!(rows, "{},{},{country}", index % amounts, index % 7).expect("a text grows");
    }
    let input = job.write_file("other.csv", &rows);
    let output = job.path("others/small-1.json");
    let build = ["reference", "build", "--config", &path, "--model", "small"];
    let args = [&build[..], &["--input", &input, "--output", &output]].concat();
    let _built = Driftd::run(&args, &[], DEADLINE).expect_code(0);
}

#[test]
fn windows_with_one_more_feature_begin_with_the_first_whole_one() {
    let change = Change::new("changed-features", |job, config| {
        let more = json!({"name": "again", "path": "features.items", "type": "integer"});
        config["models"][0]["features"].as_array_mut().expect("a list").push(more);
        use_another_reference(job, config, 97);
    });
    assert_eq!(change.play(), (5..12).collect());
}

#[test]
fn windows_against_another_reference_begin_with_the_first_whole_one() {
    let change = Change::new("changed-reference", |job, config| {
        use_another_reference(job, config, 50);
    });
    assert_eq!(change.play(), (5..12).collect());
}
