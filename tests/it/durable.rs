//! Processes that end at any moment, each going on from the state of the one before, against one
//! that reads everything in one go: killed at random, at every named place, by a full disk, and
//! with their state lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use driftd_fixtures::driftd::Driftd;
use driftd_fixtures::trials::{Choices, rounds};
use driftd_fixtures::wait;
use driftd_tests::crash::{self, Place};
use driftd_tests::job::{COUNTRIES, Job, PARTITIONS, START, TopicRole, close_by_event_time};
use driftd_tests::reader::{Reader, Record};
use driftd_tests::topic::{self, Raw};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(2);

/// Messages of a round; a process is killed in each.
const ROUND: i64 = 6_000;
const ROUNDS: i64 = 6;
/// Rounds more of fifteen hours, in each of which a process is killed at a time that is drawn.
const DRAWN_ROUNDS: (i64, i64) = (1, 60);
const DRAWN_ROUND: i64 = 5_400;
/// Within this a process starts, reads a round, stores and sends it.
const LIFE_MILLIS_MAX: u64 = 4_000;

/// Messages of a round of [`PLACES`]: three hours.
pub(crate) const SHORT_ROUND: i64 = 1_080;
/// Messages that close a window.
pub(crate) const HOUR: i64 = 360;

/// Where a process ends in each round, and the exit code; none where it aborts.
const PLACES: [(&str, Option<i32>); 19] = [
    // Before anything is known of the topics, and before it is stored.
    ("courier.fenced", None),
    ("courier.taken_over", None),
    ("stage.opened", None),
    // Around the first batch, and around one with closed windows.
    ("stage.before_batch", None),
    ("stage.after_batch", None),
    ("stage.before_batch:8", None),
    ("stage.after_batch:8", None),
    ("store.full:8", Some(1)),
    ("store.sync:8", Some(1)),
    // Around and inside transactions: the first two carry no message. They say who sends from now
    // on, and for which store.
    ("courier.before_transaction:2", None),
    ("transaction.message:2", None),
    ("transaction.filled", None),
    ("transaction.filled:2", None),
    ("transaction.filled:3", None),
    ("courier.after_transaction", None),
    ("courier.after_transaction:2", None),
    ("stage.outputs_sent:2", None),
    // In a consumer.
    ("consumer.assigned", None),
    ("consumer.checkpoint:4", None),
];

/// The places of a long run, each at its first time and at all later ones up to this one.
const LONG_PLACES: [(Place, Option<i32>); 13] = [
    (("courier.fenced", 1), None),
    (("courier.taken_over", 1), None),
    (("stage.opened", 1), None),
    (("stage.before_batch", 16), None),
    (("stage.after_batch", 16), None),
    (("store.full", 16), Some(1)),
    (("store.sync", 16), Some(1)),
    (("courier.before_transaction", 8), None),
    (("transaction.message", 16), None),
    (("transaction.filled", 8), None),
    (("courier.after_transaction", 8), None),
    (("stage.outputs_sent", 8), None),
    (("consumer.checkpoint", 16), None),
];

/// Places of a process whose state is lost: before it looks what is sent, while it does, and when
/// it knows.
const LOST_PLACES: [(&str, Option<i32>); 3] =
    [("courier.taken_over", None), ("read_back.poll:3", None), ("stage.after_batch:2", None)];
const LONG_LOST_PLACES: [(Place, Option<i32>); 5] = [
    (("courier.fenced", 1), None),
    (("courier.taken_over", 1), None),
    (("read_back.poll", 3), None),
    (("stage.before_batch", 4), None),
    (("stage.after_batch", 4), None),
];

fn spelled(places: &[(&str, Option<i32>)]) -> Vec<(String, Option<i32>)> {
    places.iter().map(|(place, code)| ((*place).to_owned(), *code)).collect()
}

fn every_time(places: &[(Place, Option<i32>)]) -> Vec<(String, Option<i32>)> {
    let times = |(place, code): &(Place, Option<i32>)| {
        let code = *code;
        crash::every_time(&[*place]).into_iter().map(move |place| (place, code))
    };
    places.iter().flat_map(times).collect()
}

/// Records ten seconds apart; amounts move in the second half.
fn record(index: i64, moves_at: i64) -> Raw {
    let amount = index % 97 + if moves_at < index { 300 } else { 0 };
    message(index, START + index * 10, amount)
}

pub(crate) fn message(index: i64, seconds: i64, amount: i64) -> Raw {
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
    config["kafka"]["properties"] =
        json!({"session.timeout.ms": 2_000, "heartbeat.interval.ms": 400});
    close_by_event_time(&mut config);
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

fn start(config: &str) -> (Driftd, String) {
    let daemon = Driftd::start(&["run", "--config", config, "--log-format", "json"], &[]);
    running(daemon)
}

pub(crate) fn running(mut daemon: Driftd) -> (Driftd, String) {
    let origin = format!("http://{}", daemon.wait_for_address(DEADLINE));
    (daemon, format!("{origin}/api/v1/status"))
}

/// Reads the rest; returns the digest of all windows.
fn finish(config: &str, messages: i64) -> Value {
    let (mut daemon, status) = start(config);
    let mut seen = Value::Null;
    daemon.wait_for_http(&status, DEADLINE, |response| {
        seen = response.json();
        let newest = seen["sources"][0]["partitions"].as_array().is_some_and(|all| {
            all.len() == usize::try_from(PARTITIONS).expect("small")
                && all.iter().all(|it| it["lag"] == 0)
        });
        // The last hour before the far record closes when every partition has seen it.
        newest && seen["totals"]["windows_closed"] == messages * 10 / 3_600
    });
    let _ended = daemon.terminate(DEADLINE).expect_code(0);
    seen["digest"].clone()
}

/// Two jobs on the same records: one whose processes end, and one that is left alone.
pub(crate) struct Pair {
    pub(crate) job: Job,
    durable: String,
    whole: String,
    messages: i64,
    moves_at: i64,
}

impl Pair {
    /// The amounts of the `messages` move in the second half.
    pub(crate) fn new(name: &'static str, messages: i64) -> Self {
        let job = Job::new(name);
        job.create_topics();
        job.write_file("job.sh", "exit 0");
        let durable = job.write(&config(&job, name, Some("state")));
        job.build_references(&durable, &["small"], DEADLINE);
        let whole = config(&job, &format!("{name}-whole"), None).to_string();
        let whole = job.write_file("whole.yaml", &whole);
        Self { job, durable, whole, messages: 0, moves_at: messages / 2 }
    }

    /// Changes the configuration of the job whose processes end.
    fn configure(&self, change: impl FnOnce(&mut Value)) {
        let text = fs::read_to_string(&self.durable).expect("it was written");
        let mut config = serde_json::from_str(&text).expect("the configuration is JSON");
        change(&mut config);
        self.job.write(&config);
    }

    /// Adds records.
    pub(crate) fn put(&mut self, messages: i64) {
        let from = self.messages;
        self.messages += messages;
        let records: Vec<Raw> =
            (from..self.messages).map(|index| record(index, self.moves_at)).collect();
        topic::put(self.job.bootstrap(), &self.job.topic(TopicRole::Inference), &records);
    }

    pub(crate) fn start(&self, env: &[(&str, &str)]) -> Driftd {
        Driftd::start(&self.args(), env)
    }

    pub(crate) fn args(&self) -> [&str; 5] {
        ["run", "--config", &self.durable, "--log-format", "json"]
    }

    /// Starts a process that ends at `place`, and puts in another hour whenever it waits for more.
    fn crash(&mut self, place: &str, code: Option<i32>) {
        self.put(SHORT_ROUND);
        let daemon = self.start(&[("DRIFTD_FAILPOINT", place)]);
        let ended = crash::wait(daemon, place, || self.put(HOUR));
        assert_eq!(ended.code, code, "{place}: {}", ended.stderr);
    }

    pub(crate) fn lose_state(&self) {
        fs::remove_dir_all(self.job.path("state")).expect("the state is a folder");
    }

    /// Lets both read everything, and compares what they say: every line and every event once.
    pub(crate) fn compare(&self) {
        let far = |partition: i64| message(partition, START + 86_400 * 365, 1);
        let far: Vec<Raw> = (0..i64::from(PARTITIONS)).map(far).collect();
        topic::put(self.job.bootstrap(), &self.job.topic(TopicRole::Inference), &far);
        let digest = finish(&self.durable, self.messages);
        assert_eq!(finish(&self.whole, self.messages), digest);
        let (kept, expected) = (self.lines(""), self.lines(".whole"));
        assert!(expected.values().all(|lines| lines.len() == 1));
        let differing: Vec<_> =
            expected.iter().filter(|(key, lines)| kept.get(*key) != Some(*lines)).collect();
        assert!(
            kept == expected,
            "{} lines instead of {}: {differing:#?}",
            kept.len(),
            expected.len()
        );
        let ids = self.ids("");
        assert!(!ids.is_empty());
        assert_eq!(ids, self.ids(".whole"));
    }

    fn read(&self, role: TopicRole, suffix: &str) -> Vec<Value> {
        let topic = format!("{}{suffix}", self.job.topic(role));
        let mut reader = Reader::open(self.job.bootstrap(), &topic, 1);
        reader.all().iter().map(Record::json).collect()
    }

    /// Lines of results by window and feature, each as often as it was written.
    fn lines(&self, suffix: &str) -> BTreeMap<String, Vec<String>> {
        let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in self.read(TopicRole::Results, suffix) {
            let key = ["window_start", "segment", "feature"].map(|key| line[key].to_string());
            lines.entry(key.join(" ")).or_default().push(line.to_string());
        }
        lines
    }

    fn ids(&self, suffix: &str) -> Vec<String> {
        let events = self.read(TopicRole::Retraining, suffix);
        let mut ids: Vec<String> = events.iter().map(|event| event["id"].to_string()).collect();
        ids.sort_unstable();
        ids
    }
}

#[test]
fn killed_processes_come_to_what_one_that_was_not_comes_to() {
    let mut pair = Pair::new("durable", ROUND * (ROUNDS + rounds(DRAWN_ROUNDS.0, DRAWN_ROUNDS.1)));
    let mut resumed = 0;
    for round in 0..ROUNDS {
        pair.put(ROUND);
        let mut daemon = pair.start(&[]);
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
    let mut choices = Choices::new();
    for _ in 0..rounds(DRAWN_ROUNDS.0, DRAWN_ROUNDS.1) {
        pair.put(DRAWN_ROUND);
        let mut daemon = pair.start(&[]);
        let life = Duration::from_millis(choices.below(LIFE_MILLIS_MAX));
        assert!(!daemon.ends_within(life), "{}", daemon.report());
        let _killed = daemon.kill(DEADLINE);
    }
    pair.compare();
}

#[test]
fn a_process_that_ends_at_any_named_place_says_everything_once() {
    let places = rounds(spelled(&PLACES), every_time(&LONG_PLACES));
    let lost = rounds(spelled(&LOST_PLACES), every_time(&LONG_LOST_PLACES));
    let count = i64::try_from(places.len() + lost.len()).expect("few");
    let mut pair = Pair::new("crash", SHORT_ROUND * count);
    for (place, code) in places {
        pair.crash(&place, code);
    }
    for (place, code) in lost {
        pair.lose_state();
        pair.crash(&place, code);
    }
    pair.compare();
}

/// Two processes of one group; the later one takes over, and nothing is said twice.
#[test]
fn of_two_processes_the_earlier_one_ends() {
    let mut pair = Pair::new("takeover", SHORT_ROUND * 2);
    pair.put(SHORT_ROUND);
    pair.configure(|config| {
        config.as_object_mut().expect("an object").remove("state");
    });
    let (mut first, status) = running(pair.start(&[]));
    first.wait_for_http(&status, DEADLINE, |response| {
        response.json()["totals"]["windows_closed"].as_i64() > Some(0)
    });
    let (second, _) = running(pair.start(&[]));
    let ended = first.wait(DEADLINE).expect_code(1);
    assert!(ended.stderr.contains("another process sends the outputs"), "{}", ended.stderr);
    pair.put(SHORT_ROUND);
    let _killed = second.kill(DEADLINE);
    pair.compare();
}

/// A process that stands still for longer than its transaction may: the broker aborts that and
/// expels the producer, and the group expels the consumers.
#[test]
fn a_process_that_stands_still_goes_on_where_it_was() {
    let mut pair = Pair::new("standstill", SHORT_ROUND * 2);
    pair.put(SHORT_ROUND);
    let mut daemon = pair.start(&[("DRIFTD_FAILPOINT", "transaction.filled:3:stop")]);
    daemon.wait_for_stop(DEADLINE);
    // What the transaction carries depends on how much was decided by then.
    let topics = [TopicRole::Results, TopicRole::Retraining].map(|role| pair.job.topic(role));
    let is_pending = || topics.iter().any(|it| topic::is_pending(pair.job.bootstrap(), it));
    assert!(is_pending(), "it stands still within a transaction");
    wait::until("the broker to give it up", DEADLINE, || (!is_pending()).then_some(()));
    pair.put(SHORT_ROUND);
    daemon.resume();
    let (mut daemon, status) = running(daemon);
    daemon.wait_for_http(&status, DEADLINE, |response| {
        response.json()["totals"]["messages"].as_i64() == Some(SHORT_ROUND * 2)
    });
    let _ended = daemon.terminate(DEADLINE).expect_code(0);
    pair.compare();
}

/// Outputs wait for a topic that is not there, and are in it when it is.
#[test]
fn outputs_wait_for_their_topic() {
    let mut pair = Pair::new("waiting", SHORT_ROUND);
    let results = pair.job.topic(TopicRole::Results);
    topic::delete(pair.job.bootstrap(), &results);
    pair.put(SHORT_ROUND);
    let (mut daemon, status) = running(pair.start(&[]));
    let metrics = status.replace("/api/v1/status", "/metrics");
    daemon.wait_for_http(&metrics, DEADLINE, |response| {
        let waiting =
            response.body.lines().find_map(|it| it.strip_prefix("driftd_outbox_messages "));
        waiting.is_some_and(|count| 1 < count.parse().unwrap_or(0))
    });
    let _killed = daemon.kill(DEADLINE);
    topic::create(pair.job.bootstrap(), &results, 1, &[]);
    pair.compare();
}

/// `start: latest` and the state is lost: what came meanwhile is read all the same.
#[test]
fn after_a_loss_of_state_nothing_is_skipped_that_came_after_the_last_outputs() {
    let mut pair = Pair::new("lost", SHORT_ROUND * 2);
    pair.configure(|config| config["sources"][0]["start"] = json!("latest"));
    let (mut daemon, status) = running(pair.start(&[]));
    daemon.wait_for_http(&status, DEADLINE, |response| {
        let partitions = response.json()["sources"][0]["partitions"].as_array().map(Vec::len);
        partitions == usize::try_from(PARTITIONS).ok()
    });
    pair.put(SHORT_ROUND);
    let results = pair.job.topic(TopicRole::Results);
    Reader::open(pair.job.bootstrap(), &results, 1)
        .until("a line", DEADLINE, |lines| !lines.is_empty());
    let _killed = daemon.kill(DEADLINE);
    pair.lose_state();
    pair.put(SHORT_ROUND);
    pair.compare();
}
