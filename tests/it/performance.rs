//! Labels that come later, on a real Kafka: predictions in one topic, labels in another, with a
//! process that is killed and one that is asked to stop in between. What is said of each window is
//! what a join of both logs says, and final windows are written once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use driftd_fixtures::driftd::Driftd;
use driftd_tests::job::{COUNTRIES, Job, START, TopicRole};
use driftd_tests::reader::Record;
use driftd_tests::topic::{self, Raw};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(2);
const PARTITIONS: i32 = 2;
const HOUR: i64 = 3_600;
const HOURS: i64 = 2;
/// Predictions of each hour.
const PREDICTIONS: i64 = 200;
const HORIZON: i64 = 2 * HOUR;

/// A prediction, by its number in its hour.
#[derive(Clone, Copy)]
struct Prediction {
    hour: i64,
    index: i64,
}

fn predictions(hour: i64) -> impl Iterator<Item = Prediction> {
    (0..PREDICTIONS).map(move |index| Prediction { hour, index })
}

impl Prediction {
    fn id(self) -> String {
        format!("p-{}-{}", self.hour, self.index)
    }

    fn time(self) -> i64 {
        START + self.hour * HOUR + self.index * 17
    }

    fn partition(self) -> i32 {
        i32::try_from(self.index).expect("there are few") % PARTITIONS
    }

    fn country(self) -> &'static str {
        COUNTRIES[usize::try_from(self.index).expect("not below 0") % COUNTRIES.len()]
    }

    fn score(self) -> f64 {
        ((self.index * 37 + self.hour * 11) % 101) as f64 / 100.0
    }

    /// What comes true, where something does: four of five have a label.
    fn truth(self) -> Option<bool> {
        let is_taken_away = self.index % 40 == 2;
        let is_labelled = self.index % 5 != 0 && !is_taken_away;
        is_labelled.then(|| ((self.index * 53 % 100) as f64) < self.score() * 100.0)
    }

    fn message(self) -> Raw {
        let features = json!({
            "amount": self.index % 97, "items": self.index % 7, "country": self.country(),
        });
        raw(
            self,
            &json!({
                "event_time": self.time(), "id": self.id(), "features": features,
                "score": self.score(),
            }),
        )
    }

    /// Its labels in the order of their topic: wrong ones that are corrected, some twice, and some
    /// that are taken away.
    fn labels(self) -> Vec<Raw> {
        let time = self.time() + 60 + self.index * 7;
        let label = |time: i64, revision: i64, truth: bool, gone: bool| {
            raw(
                self,
                &json!({
                    "id": self.id(), "time": time, "truth": i64::from(truth), "revision": revision,
                    "gone": gone,
                }),
            )
        };
        let Some(truth) = self.truth() else {
            let is_taken_away = self.index % 40 == 2;
            let both = vec![label(time, 0, true, false), label(time + 1, 0, true, true)];
            return if is_taken_away { both } else { Vec::new() };
        };
        let right = label(time, 1, truth, false);
        match self.index % 10 {
            1 => vec![label(time, 0, !truth, false), right],
            // One from beyond the horizon says nothing, one that is older neither.
            3 => vec![right, label(self.time() + HORIZON + 1, 0, !truth, false)],
            4 => vec![right.clone(), label(time - 1, 9, !truth, false), right],
            _ => vec![right],
        }
    }
}

fn raw(prediction: Prediction, document: &Value) -> Raw {
    let payload = Some(document.to_string().into_bytes());
    Raw { partition: prediction.partition(), key: prediction.id(), payload }
}

/// One record of each partition that is far behind all others.
fn later(document: &Value) -> Vec<Raw> {
    let payload = Some(document.to_string().into_bytes());
    let one = |partition| Raw { partition, key: "later".to_owned(), payload: payload.clone() };
    (0..PARTITIONS).map(one).collect()
}

fn config(job: &Job) -> Value {
    let mut config = job.config();
    let source = |topic: String, path: &str| {
        json!({
            "topic": topic, "start": "earliest",
            "event_time": {"path": path, "format": "unix_seconds"},
            // Records of an hour are in no order.
            "time": {"idle_timeout": "1h", "out_of_orderness": "3h"},
        })
    };
    let (logs, labels) = (topic_of(job, "predictions"), topic_of(job, "labels"));
    config["sources"] = json!([source(logs.clone(), "event_time"), source(labels.clone(), "time")]);
    let model = &mut config["models"][0];
    model["source"] = json!(logs);
    model["window"] = json!({"length": "1h", "wait_max": "1h", "open_max": 64});
    model["prediction_id"] = json!("id");
    model["predictions"] = json!([{"name": "score", "path": "score", "type": "float64"}]);
    model["segments"] =
        json!([{"name": "country", "path": "features.country", "values": COUNTRIES}]);
    model["performance"] = json!({
        "task": "binary", "score": "score", "window": "1h", "horizon": "2h",
        "labels": {
            "source": labels, "prediction_id": "id", "value": "truth", "revision": "revision",
            "deleted": "gone",
        },
    });
    config["state"] = json!({"folder": "state", "commit_interval": "100ms"});
    config
}

fn topic_of(job: &Job, name: &str) -> String {
    format!("{}.{name}", job.topic(TopicRole::Inference))
}

/// What is to be said of one hour and segment.
#[derive(Debug, PartialEq)]
struct Expected {
    predictions: u64,
    labelled: u64,
    accuracy: f64,
    brier: f64,
    roc_auc: f64,
}

/// A join of both logs.
fn expected(hour: i64, segment: &str) -> Expected {
    let is_in =
        |it: &Prediction| segment == "all" || segment == format!("country={}", it.country());
    let own: Vec<Prediction> = predictions(hour).filter(is_in).collect();
    let joined: Vec<(f64, bool)> =
        own.iter().filter_map(|it| Some((it.score(), it.truth()?))).collect();
    let count = joined.len() as f64;
    let right = joined.iter().filter(|(score, truth)| (0.5 <= *score) == *truth).count() as f64;
    let error = |(score, truth): &(f64, bool)| (score - f64::from(u8::from(*truth))).powi(2);
    let of = |wanted: bool| joined.iter().filter(move |(_, truth)| *truth == wanted);
    let mut won = 0.0;
    for (positive, _) in of(true) {
        for (negative, _) in of(false) {
            won += if positive > negative { 1.0 } else { 0.5 * f64::from(positive == negative) };
        }
    }
    let pairs = (of(true).count() * of(false).count()) as f64;
    Expected {
        predictions: own.len() as u64,
        labelled: joined.len() as u64,
        accuracy: right / count,
        brier: joined.iter().map(error).sum::<f64>() / count,
        roc_auc: won / pairs,
    }
}

/// Builds the reference, of the predictions of an hour.
fn build_reference(job: &Job, config: &str) {
    let mut rows = "event_time,amount,items,country,score\n".to_owned();
    for it in predictions(0) {
        let (amount, items) = (it.index % 97, it.index % 7);
        let (time, country, score) = (it.time(), it.country(), it.score());
        writeln!(rows, "{time},{amount},{items},{country},{score}").expect("a text grows");
    }
    let input = job.write_file("training.csv", &rows);
    let output = job.path("references/small-1.json");
    let build = ["reference", "build", "--config", config, "--model", "small"];
    let args = [&build[..], &["--input", &input, "--output", &output]].concat();
    let _built = Driftd::run(&args, &[], DEADLINE).expect_code(0);
}

fn running(config: &str) -> (Driftd, String) {
    let mut daemon = Driftd::start(&["--log-format", "json", "run", "--config", config], &[]);
    let address = daemon.wait_for_address(DEADLINE);
    (daemon, format!("http://{address}/api/v1"))
}

/// Waits until what is said of performance is accepted.
fn wait(daemon: &mut Driftd, api: &str, accept: impl Fn(&Value) -> bool) -> Value {
    let address = format!("{api}/performance");
    let response =
        daemon.wait_for_http(&address, DEADLINE, |response| accept(&response.json()["models"][0]));
    response.json()["models"][0].clone()
}

/// Waits until what was read is stored.
fn wait_until_stored(daemon: &mut Driftd, api: &str, messages: i64) {
    let address = format!("{api}/status");
    let read = |status: &Value| {
        let sources = status["sources"].as_array().expect("a list");
        sources.iter().filter_map(|it| it["messages"].as_i64()).sum::<i64>()
    };
    let first =
        daemon.wait_for_http(&address, DEADLINE, |response| messages <= read(&response.json()));
    let before = first.json()["taken_at"].as_str().expect("a time").to_owned();
    daemon.wait_for_http(&address, DEADLINE, |response| {
        response.json()["state_stored_at"].as_str().is_some_and(|it| *before < *it)
    });
}

fn check(line: &Value, metric: impl Fn(&str) -> f64) {
    let start = line["window_start"].as_str().expect("a time");
    let hour = i64::from(start != "2013-07-01T00:00:00Z");
    let expected = expected(hour, line["segment"].as_str().expect("a name"));
    assert_eq!(line["rows"], expected.predictions, "{line}");
    assert_eq!(line["labelled"], expected.labelled, "{line}");
    let is_near = |name: &str, value: f64| (metric(name) - value).abs() < 1e-9;
    assert!(is_near("accuracy", expected.accuracy), "{expected:?} {line}");
    assert!(is_near("brier", expected.brier), "{expected:?} {line}");
    let [least, most] = [0, 1].map(|end| &line["performance"]["roc_auc"]["exact_between"][end]);
    let (least, most) = (least.as_f64().expect("a number"), most.as_f64().expect("a number"));
    let is_within = least - 1e-9 <= expected.roc_auc && expected.roc_auc <= most + 1e-9;
    assert!(is_within && most - least < 0.05, "{expected:?} {line}");
}

#[test]
fn late_labels_say_how_good_predictions_were() {
    let job = Job::new("performance");
    job.create_topics();
    let config = job.write(&config(&job));
    build_reference(&job, &config);
    let (logs, labels) = (topic_of(&job, "predictions"), topic_of(&job, "labels"));
    for name in [&logs, &labels] {
        topic::create(job.bootstrap(), name, PARTITIONS, &[]);
    }
    let put = |name: &str, messages: Vec<Raw>| topic::put(job.bootstrap(), name, &messages);
    let all_labels = |hour: i64| predictions(hour).flat_map(Prediction::labels).collect::<Vec<_>>();
    let all = |hour: i64| predictions(hour).map(Prediction::message).collect::<Vec<_>>();

    // Labels before their predictions, and then a kill.
    put(&labels, all_labels(0));
    let (mut daemon, api) = running(&config);
    let waiting = wait(&mut daemon, &api, |model| {
        model["labels_waiting"].as_i64().is_some_and(|it| PREDICTIONS / 2 < it)
    });
    assert_eq!(waiting["windows"], json!([]));
    wait_until_stored(
        &mut daemon,
        &api,
        i64::try_from(all_labels(0).len()).expect("there are few"),
    );
    let _killed = daemon.kill(DEADLINE);

    // Predictions of both hours; of the second one no label.
    put(&logs, all(0));
    put(&logs, all(1));
    let (mut daemon, api) = running(&config);
    let open = wait(&mut daemon, &api, |model| {
        model["counts"]["followed"] == HOURS * PREDICTIONS && model["labels_waiting"] == 0
    });
    let part = |hour: usize| &open["windows"][hour]["parts"][0];
    assert_eq!(part(0)["labelled"], expected(0, "all").labelled, "{open}");
    assert_eq!((&part(1)["labelled"], &part(1)["predictions"]), (&json!(0), &json!(PREDICTIONS)));
    assert_eq!(open["windows"][0]["final"], false);
    wait_until_stored(&mut daemon, &api, HOURS * PREDICTIONS);
    let _ended = daemon.terminate(DEADLINE).expect_code(0);

    // Labels of the second hour, and time that passes in each partition of both topics.
    put(&labels, all_labels(1));
    let end = START + HOURS * HOUR + HORIZON + 5 * HOUR;
    let features = json!({"amount": 1, "items": 1, "country": "DE"});
    put(
        &logs,
        later(&json!({"event_time": end, "id": "later", "features": features, "score": 0.5})),
    );
    put(
        &labels,
        later(&json!({"id": "none", "time": end, "truth": 1, "revision": 0, "gone": false})),
    );
    let (mut daemon, api) = running(&config);
    let done = wait(&mut daemon, &api, |model| {
        let windows = model["windows"].as_array().expect("a list");
        windows.iter().filter(|it| it["final"] == true).count() == 2
    });
    assert_eq!(done["counts"]["late_predictions"], 0, "{done}");
    assert_eq!(done["counts"]["late_labels"], 0, "{done}");
    let metrics = daemon.wait_for_http(&api.replace("/api/v1", "/metrics"), DEADLINE, |it| {
        it.body.contains("driftd_performance_roc_auc_ratio{")
    });
    assert!(metrics.body.contains("driftd_performance_final{"), "{}", metrics.body);
    let _ended = daemon.terminate(DEADLINE).expect_code(0);

    check_lines(&job);
}

/// Each window and segment has one line, of what a join says.
fn check_lines(job: &Job) {
    let mut results = job.reader(TopicRole::Results);
    let mut found: BTreeMap<(String, String), Value> = BTreeMap::new();
    for line in results.all().iter().map(Record::json) {
        if line["performance"].is_object() {
            let text = |key: &str| line[key].as_str().expect("a text").to_owned();
            let id = (text("window_start"), text("segment"));
            assert!(found.insert(id, line.clone()).is_none(), "twice: {line}");
        }
    }
    assert_eq!(found.len(), 2 * (1 + COUNTRIES.len()), "{found:?}");
    for line in found.values() {
        check(line, |name| line["performance"][name]["value"].as_f64().expect("a number"));
    }
}
