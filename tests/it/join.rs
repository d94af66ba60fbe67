//! Requests and responses as `KServe`'s logger sends them, on a real Kafka: in either order, with
//! a process that is killed and one that is asked to stop between the two, they become the records
//! that whole documents become, each once.

use std::collections::BTreeMap;
use std::time::Duration;

use driftd_catalog::Timestamp;
use driftd_fixtures::driftd::Driftd;
use driftd_tests::job::{Job, START, TopicRole};
use driftd_tests::reader::Record;
use driftd_tests::topic::{self, Enveloped, Raw};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(2);
const PARTITIONS: i32 = 2;
const HOUR: i64 = 3_600;
/// Predictions of each of the two hours.
const PREDICTIONS: i64 = 120;
/// Of each hour and topic one of all records.
const WINDOWS: i64 = 2 * 2;
/// The topics and models: halves, and the same as whole documents.
const NAMES: [&str; 2] = ["halves", "whole"];

/// The inference of one message: two rows.
#[derive(Clone, Copy)]
struct Prediction {
    index: i64,
    /// Which hour it is of.
    hour: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

fn predictions(hour: i64) -> impl Iterator<Item = Prediction> {
    (0..PREDICTIONS).map(move |index| Prediction { index, hour })
}

impl Prediction {
    fn partition(self) -> i32 {
        i32::try_from(self.index % i64::from(PARTITIONS)).expect("small")
    }

    /// Seconds since 1970 of its response.
    fn time(self) -> i64 {
        START + self.hour * HOUR + self.index * 20
    }

    fn request(self) -> Value {
        let amount = |row| (self.index * 7 + self.hour + row) % 97;
        json!({"instances": [[amount(0)], [amount(1)]]})
    }

    fn response(self) -> Value {
        json!({"predictions": [self.index % 7, (self.index + 1) % 7]})
    }

    /// The half that comes first: the response of every other one.
    fn first(self) -> Enveloped {
        self.half(if self.index % 2 == 0 { Side::Response } else { Side::Request })
    }

    fn second(self) -> Enveloped {
        self.half(if self.index % 2 == 0 { Side::Request } else { Side::Response })
    }

    fn half(self, side: Side) -> Enveloped {
        let (kind, payload, time) = match side {
            Side::Request => ("request", self.request(), self.time() - 1),
            Side::Response => ("response", self.response(), self.time()),
        };
        event(self.partition(), &format!("{}-{}", self.hour, self.index), kind, &payload, time)
    }

    fn whole(self) -> Enveloped {
        let document = json!({
            "time": self.time(),
            "request": self.request(),
            "response": self.response(),
        });
        let raw = raw(self.partition(), &document);
        Enveloped { raw, headers: Vec::new(), time: self.time() * 1_000 }
    }
}

fn raw(partition: i32, payload: &Value) -> Raw {
    Raw { partition, key: "key".to_owned(), payload: Some(payload.to_string().into_bytes()) }
}

/// An event of `KServe`'s logger, at this time in seconds.
fn event(partition: i32, id: &str, kind: &str, payload: &Value, time: i64) -> Enveloped {
    let headers = [
        ("ce_specversion", "1.0".to_owned()),
        ("ce_id", id.to_owned()),
        ("ce_type", format!("org.kubeflow.serving.inference.{kind}")),
        ("ce_time", Timestamp::from_millis(time * 1_000).to_string()),
        ("ce_inferenceservicename", NAMES[0].to_owned()),
        ("content-type", "application/json".to_owned()),
    ];
    Enveloped {
        raw: raw(partition, payload),
        headers: headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect(),
        time: time * 1_000,
    }
}

fn topic_of(job: &Job, name: &str) -> String {
    format!("{}-{name}", job.topic(TopicRole::Inference))
}

fn config(job: &Job) -> Value {
    let mut config = job.config();
    let source = |name: &str, event_time: Value| {
        json!({
            "topic": topic_of(job, name),
            "start": "earliest",
            "event_time": event_time,
            "dead_letter_topic": job.topic(TopicRole::Rejected),
            "time": {"idle_timeout": "2s"},
        })
    };
    let model = |name: &str| {
        json!({
            "name": name,
            "source": topic_of(job, name),
            "version": "1",
            "references": "references/{model}-{version}.json",
            "window": {"length": "1h"},
            "features": [
                {"name": "amount", "path": "request.instances[][0]", "type": "float32"},
            ],
            "predictions": [
                {"name": "items", "path": "response.predictions[]", "type": "integer"},
            ],
        })
    };
    let mut halves = source(NAMES[0], json!({"path": "$headers.ce_time"}));
    halves["model"] = json!("$headers.ce_inferenceservicename");
    halves["join"] = json!({
        "id": "$headers.ce_id",
        "side": "$headers.ce_type",
        "request": "org.kubeflow.serving.inference.request",
        "response": "org.kubeflow.serving.inference.response",
        "within": "6h",
    });
    let whole = source(NAMES[1], json!({"path": "time", "format": "unix_seconds"}));
    config["sources"] = json!([halves, whole]);
    config["models"] = NAMES.map(model).into();
    // The killed process is a member of the group until then.
    config["kafka"]["properties"] =
        json!({"session.timeout.ms": 2_000, "heartbeat.interval.ms": 400});
    config["state"] = json!({"folder": job.path("state"), "commit_interval": "100ms"});
    config
}

/// A process, and where it says how it is.
struct Running {
    daemon: Driftd,
    status: String,
}

impl Running {
    fn start(config: &str) -> Self {
        let mut daemon = Driftd::start(&["run", "--config", config, "--log-format", "json"], &[]);
        let origin = format!("http://{}", daemon.wait_for_address(DEADLINE));
        Self { daemon, status: format!("{origin}/api/v1/status") }
    }

    /// Waits until what it says of the halves, and of everything, is accepted.
    fn wait(&mut self, mut accept: impl FnMut(&Value, &Value) -> bool) -> Value {
        let response = self.daemon.wait_for_http(&self.status, DEADLINE, |response| {
            let status = response.json();
            accept(&status["sources"][0], &status)
        });
        response.json()["sources"][0].clone()
    }
}

/// The same with a text that no path wants: two of them are larger than a client sends by default.
fn large(payload: &Value) -> Value {
    let mut payload = payload.clone();
    payload["note"] = json!("x".repeat(900_000));
    payload
}

/// What comes in the last round beside the missing halves, of one partition.
fn others() -> Vec<Enveloped> {
    let last = Prediction { index: PREDICTIONS - 2, hour: 1 };
    let time = last.time();
    let request = last.request();
    let event = |id: &str, kind: &str, payload: &Value| event(0, id, kind, payload, time);
    let mut later = event("alone-3", "request", &request);
    // Twelve hours after all others: what still waits has waited for too long.
    later.time += 12 * HOUR * 1_000;
    vec![
        // Waiting already, since before the process was asked to stop.
        last.first(),
        event("alone-1", "request", &request),
        event("alone-2", "request", &request),
        event("neither", "feedback", &request),
        event("unequal", "response", &large(&json!({"predictions": [1]}))),
        event("unequal", "request", &large(&request)),
        last.second(),
        later,
    ]
}

#[test]
fn requests_and_responses_are_joined_once_whatever_happens_in_between() {
    let job = Job::new("join");
    job.create_topics();
    let config = job.write(&config(&job));
    job.build_references(&config, &NAMES, DEADLINE);
    for name in NAMES {
        topic::create(job.bootstrap(), &topic_of(&job, name), PARTITIONS, &[]);
    }
    let put = |name: &str, messages: Vec<Enveloped>| {
        topic::put_enveloped(job.bootstrap(), &topic_of(&job, name), &messages);
    };
    put(NAMES[1], predictions(0).chain(predictions(1)).map(Prediction::whole).collect());

    // Only first halves, and then a kill. What is stored of them is not read again.
    put(NAMES[0], predictions(0).map(Prediction::first).collect());
    let mut running = Running::start(&config);
    let source = running.wait(|source, status| {
        source["join"]["waiting"] == PREDICTIONS && !status["state_stored_at"].is_null()
    });
    assert_eq!(source["join"]["joined"], 0);
    let _killed = running.daemon.kill(DEADLINE);

    // Their other halves, and the first ones of another hour.
    put(NAMES[0], predictions(0).map(Prediction::second).collect());
    put(NAMES[0], predictions(1).map(Prediction::first).collect());
    let mut running = Running::start(&config);
    running.wait(|source, _| {
        source["join"]["joined"] == PREDICTIONS && source["join"]["waiting"] == PREDICTIONS
    });
    let _ended = running.daemon.terminate(DEADLINE).expect_code(0);

    // The other halves of that hour, but for one that comes among others.
    let last = PREDICTIONS - 2;
    let missing = predictions(1).filter(|it| it.index != last).map(Prediction::second);
    put(NAMES[0], missing.collect());
    let others = others();
    let messages = PREDICTIONS - 1 + i64::try_from(others.len()).expect("few");
    put(NAMES[0], others);
    let mut running = Running::start(&config);
    let source = running.wait(|source, status| {
        source["messages"] == messages
            && source["dead_lettered"] == 2
            && status["totals"]["windows_closed"] == WINDOWS
    });
    let expected = json!({
        // With the pair that is no record.
        "joined": PREDICTIONS + 1,
        "left_out": {
            "expired": {"request": 2, "response": 0},
            "evicted": {"request": 0, "response": 0},
            "duplicate": {"request": 0, "response": 1},
            "left_behind": {"request": 0, "response": 0},
        },
        "waiting": 1,
        "waiting_bytes": source["join"]["waiting_bytes"],
    });
    assert_eq!(source["join"], expected);
    let _ended = running.daemon.terminate(DEADLINE).expect_code(0);
    check_windows(&job);
    check_rejected(&job);
}

/// The halves alone, for processes that share their partitions.
fn shared(job: &Job) -> Value {
    let mut config = config(job);
    for key in ["sources", "models"] {
        config[key].as_array_mut().expect("a list").truncate(1);
    }
    config.as_object_mut().expect("an object").remove("state");
    config["scale_out"] = json!({"lanes": 1, "replicas": 1, "commit_interval": "100ms"});
    config
}

#[test]
fn halves_go_to_another_process_together_with_their_partition() {
    let job = Job::new("join-shared");
    job.create_topics();
    let config = job.write(&shared(&job));
    job.build_references(&config, &NAMES[..1], DEADLINE);
    topic::create(job.bootstrap(), &topic_of(&job, NAMES[0]), PARTITIONS, &[]);
    let put = |messages: Vec<Enveloped>| {
        topic::put_enveloped(job.bootstrap(), &topic_of(&job, NAMES[0]), &messages);
    };
    let [mut killed, mut other] = [0, 1].map(|_| Running::start(&config));
    for member in [&mut killed, &mut other] {
        member.wait(|source, _| source["partitions"].as_array().is_some_and(|it| it.len() == 1));
    }

    // Only first halves, and then a kill, when each says that the other has committed them.
    put(predictions(0).map(Prediction::first).collect());
    let half = PREDICTIONS / 2;
    for member in [&mut killed, &mut other] {
        member.wait(|source, _| {
            source["join"]["waiting"] == half && source["elsewhere"][0]["next_offset"] == half
        });
    }
    let _killed = killed.daemon.kill(DEADLINE);
    put(predictions(0).map(Prediction::second).collect());
    let source = other.wait(|source, status| {
        source["join"]["joined"] == PREDICTIONS && status["totals"]["windows_closed"] == 1
    });
    assert_eq!(source["messages"], half + PREDICTIONS, "no half of the other was read again");
    assert_eq!(source["join"]["waiting"], 0);
    let _ended = other.daemon.terminate(DEADLINE).expect_code(0);
    let mut results = job.reader(TopicRole::Results);
    let lines: Vec<Value> = results.all().iter().map(Record::json).collect();
    assert_eq!(lines.len(), 2, "a feature and a prediction");
    for line in lines {
        assert_eq!((&line["rows"], &line["complete"]), (&json!(2 * PREDICTIONS), &json!(true)));
    }
}

/// All lines but for what names the model.
fn check_windows(job: &Job) {
    let mut results = job.reader(TopicRole::Results);
    let mut lines: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in results.all().iter().map(Record::json) {
        let model = line["model"].as_str().expect("a name").to_owned();
        let told = ["feature", "segment", "window_start", "rows", "counts"].map(|it| &line[it]);
        assert!(!told.contains(&&Value::Null), "{line}");
        assert_eq!(line["rows"], 2 * PREDICTIONS, "{line}");
        lines.entry(model).or_default().push(json!(told));
    }
    for lines in lines.values_mut() {
        lines.sort_by_key(Value::to_string);
    }
    assert!(!lines[NAMES[1]].is_empty());
    assert_eq!(lines[NAMES[0]], lines[NAMES[1]]);
}

/// A half by itself is dead-lettered as it came, a pair as the document that was refused.
fn check_rejected(job: &Job) {
    let mut rejected = job.reader(TopicRole::Rejected);
    let told = |record: &Record| (record.headers["driftd_reason"].clone(), record.json());
    let mut found: Vec<_> = rejected.all().iter().map(told).collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let request = Prediction { index: PREDICTIONS - 2, hour: 1 }.request();
    let response = json!({"predictions": [1]});
    let joined = json!({"request": large(&request), "response": large(&response)});
    let expected = [("unequal_lists", joined), ("unknown_side", request)];
    assert_eq!(found, expected.map(|(reason, payload)| (reason.to_owned(), payload)));
}
