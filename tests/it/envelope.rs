//! Events whose attributes are headers, on a real Kafka: they become the records that the same
//! predictions become with everything in their payload, and so do those that have only Kafka's own
//! time and the message's key.

use std::collections::BTreeMap;
use std::time::Duration;

use driftd_fixtures::driftd::Driftd;
use driftd_tests::job::{COUNTRIES, Job, START, TopicRole};
use driftd_tests::reader::Record;
use driftd_tests::topic::{self, Enveloped, Raw};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(2);
const PARTITIONS: i32 = 2;
const HOUR: i64 = 3_600;
/// Windows of an hour that the records lie in.
const HOURS: i64 = 2;
const RECORDS_AN_HOUR: i64 = 150;
/// Of each model and hour those of all records, of one country and of the others.
const WINDOWS: i64 = 3 * HOURS * 3;
/// The topics and models: attributes in headers, Kafka's time and key, and everything in the
/// payload.
const NAMES: [&str; 3] = ["events", "kafka", "payload"];

/// One prediction, wherever its parts are written.
struct Prediction {
    /// Seconds since 1970.
    time: i64,
    amount: f64,
    country: &'static str,
}

fn predictions() -> impl Iterator<Item = Prediction> {
    (0..HOURS * RECORDS_AN_HOUR).map(|index| Prediction {
        time: START + index / RECORDS_AN_HOUR * HOUR + index % RECORDS_AN_HOUR,
        amount: (index % 97) as f64 / 4.0,
        country: COUNTRIES[usize::try_from(index % 3).expect("three")],
    })
}

impl Prediction {
    /// With the attributes that `KServe`'s logger gives its events.
    fn event(&self, partition: i32) -> Enveloped {
        let time = self.time + 1;
        let headers = [
            ("ce_specversion", "1.0".to_owned()),
            ("ce_type", "org.kubeflow.serving.inference.request".to_owned()),
            ("ce_time", format!("{}", driftd_catalog::Timestamp::from_millis(self.time * 1_000))),
            ("ce_inferenceservicename", "another".to_owned()),
            ("ce_inferenceservicename", NAMES[0].to_owned()),
            ("ce_endpoint", self.country.to_owned()),
            ("content-type", "application/json".to_owned()),
        ];
        Enveloped {
            raw: raw(partition, "key", &json!({"instances": [[self.amount]]})),
            headers: headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect(),
            time: time * 1_000,
        }
    }

    fn of_kafka(&self, partition: i32) -> Enveloped {
        let raw = raw(partition, self.country, &json!({"amount": self.amount}));
        Enveloped { raw, headers: Vec::new(), time: self.time * 1_000 }
    }

    fn payload(&self, partition: i32) -> Enveloped {
        let Self { time, amount, country } = self;
        let payload = json!({"time": time, "amount": amount, "country": country});
        Enveloped { raw: raw(partition, "key", &payload), headers: Vec::new(), time: time * 1_000 }
    }
}

fn raw(partition: i32, key: &str, payload: &Value) -> Raw {
    let payload = Some(payload.to_string().into_bytes());
    Raw { partition, key: key.to_owned(), payload }
}

fn topic_of(job: &Job, name: &str) -> String {
    format!("{}-{name}", job.topic(TopicRole::Inference))
}

fn config(job: &Job) -> Value {
    let mut config = job.config();
    let source = |(name, event_time): (&str, Value)| {
        json!({
            "topic": topic_of(job, name),
            "start": "earliest",
            "event_time": event_time,
            "dead_letter_topic": job.topic(TopicRole::Rejected),
            "time": {"idle_timeout": "2s"},
        })
    };
    let model = |(name, amount, country): (&str, &str, &str)| {
        json!({
            "name": name,
            "source": topic_of(job, name),
            "version": "1",
            "references": "references/{model}-{version}.json",
            "window": {"length": "1h"},
            "features": [
                {"name": "amount", "path": amount, "type": "float32"},
                {"name": "country", "path": country, "type": "categorical"},
            ],
            "segments": [{"name": "country", "path": country, "values": ["DE"]}],
        })
    };
    let times = [
        json!({"path": "$headers.ce_time"}),
        json!({"path": "$time"}),
        json!({"path": "time", "format": "unix_seconds"}),
    ];
    config["sources"] = NAMES.into_iter().zip(times).map(source).collect();
    config["sources"][0]["model"] = json!("$headers.ce_inferenceservicename");
    config["models"] = [
        (NAMES[0], "instances[][0]", "$headers.ce_endpoint"),
        (NAMES[1], "amount", "$key"),
        (NAMES[2], "amount", "country"),
    ]
    .map(model)
    .into();
    config
}

/// Events that are no record, and the reasons.
fn bad() -> [(&'static str, Enveloped); 3] {
    let without = |name: &str| {
        let mut event = predictions().next().expect("there are some").event(0);
        event.headers.retain(|(header, _)| *header != name);
        event
    };
    let mut other = without("ce_inferenceservicename");
    other.headers.push(("ce_inferenceservicename", b"unheard".to_vec()));
    [
        ("missing_field", without("ce_time")),
        ("missing_field", without("ce_inferenceservicename")),
        ("unknown_model", other),
    ]
}

fn fill(job: &Job, name: &str, messages: &[Enveloped]) {
    let topic = topic_of(job, name);
    topic::create(job.bootstrap(), &topic, PARTITIONS, &[]);
    topic::put_enveloped(job.bootstrap(), &topic, messages);
}

#[test]
fn what_is_beside_a_payload_counts_as_what_is_in_it() {
    let job = Job::new("envelope");
    job.create_topics();
    let config = job.write(&config(&job));
    job.build_references(&config, &NAMES, DEADLINE);
    let bad = bad();
    let write = |of: fn(&Prediction, i32) -> Enveloped| -> Vec<Enveloped> {
        (0..PARTITIONS).cycle().zip(predictions()).map(|(at, it)| of(&it, at)).collect()
    };
    let mut events = write(Prediction::event);
    events.extend(bad.iter().map(|(_, event)| event.clone()));
    fill(&job, NAMES[0], &events);
    fill(&job, NAMES[1], &write(Prediction::of_kafka));
    fill(&job, NAMES[2], &write(Prediction::payload));
    let messages = 3 * usize::try_from(HOURS * RECORDS_AN_HOUR).expect("few") + bad.len();

    let checked = Driftd::run(&["check", "--config", &config], &[], DEADLINE).expect_code(0);
    assert!(checked.stdout.contains("ok    records of"), "{}", checked.stdout);
    let mut daemon = Driftd::start(&["run", "--config", &config, "--log-format", "json"], &[]);
    let origin = format!("http://{}", daemon.wait_for_address(DEADLINE));
    daemon.wait_for_http(&format!("{origin}/api/v1/status"), DEADLINE, |response| {
        let status = response.json();
        status["totals"]["messages"] == messages
            && status["totals"]["windows_closed"] == WINDOWS
            && status["sources"][0]["dead_lettered"] == bad.len()
    });
    let _ended = daemon.terminate(DEADLINE).expect_code(0);
    check_windows(&job);
    let mut rejected = job.reader(TopicRole::Rejected);
    let reason = |record: &Record| record.headers["driftd_reason"].clone();
    let mut found: Vec<_> = rejected.all().iter().map(reason).collect();
    found.sort();
    let mut expected = bad.map(|(reason, _)| reason);
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// All lines but for what names the model.
fn check_windows(job: &Job) {
    let mut results = job.reader(TopicRole::Results);
    let mut lines: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in results.all().iter().map(Record::json) {
        let model = line["model"].as_str().expect("a name").to_owned();
        let told = ["feature", "segment", "window_start", "rows", "counts"].map(|it| &line[it]);
        assert!(!told.contains(&&Value::Null), "{line}");
        lines.entry(model).or_default().push(json!(told));
    }
    for lines in lines.values_mut() {
        lines.sort_by_key(Value::to_string);
    }
    assert!(!lines[NAMES[2]].is_empty());
    assert_eq!(lines[NAMES[0]], lines[NAMES[2]]);
    assert_eq!(lines[NAMES[1]], lines[NAMES[2]]);
}
