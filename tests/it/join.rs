//! Requests and responses as `KServe`'s logger sends them, on a real Kafka: in either order, with
//! a process that is killed and one that is asked to stop between the two, they become the records
//! that whole documents become, each once. Their bodies are JSON, and those of the open inference
//! protocol in every way to write them.

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
const WINDOWS: i64 = 2 * 4;
/// The topic and model of whole documents.
const WHOLE: &str = "whole";

/// How bodies of halves are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Lists of records.
    Instances,
    /// Tensors in JSON, and behind it where predictions are odd.
    Json,
    /// Messages of Protobuf, with raw values where predictions are odd.
    Protobuf,
}

/// In the order of the configuration; [`WHOLE`] comes after them.
const FORMS: [Form; 3] = [Form::Instances, Form::Json, Form::Protobuf];

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

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }

    /// Name of the list, of the tensor in it, and of its datatype.
    fn tensor(self) -> [&'static str; 3] {
        match self {
            Self::Request => ["inputs", "amount", "FP32"],
            Self::Response => ["outputs", "items", "INT64"],
        }
    }
}

impl Form {
    /// Name of the topic and of the model.
    fn name(self) -> &'static str {
        match self {
            Self::Instances => "instances",
            Self::Json => "bodies",
            Self::Protobuf => "messages",
        }
    }

    fn write(self, side: Side, values: &[u8], is_raw: bool) -> Vec<u8> {
        match self {
            Self::Instances => instances(side, values).to_string().into_bytes(),
            Self::Json => json_body(side, values, is_raw),
            Self::Protobuf => message(side, values, is_raw),
        }
    }
}

fn instances(side: Side, values: &[u8]) -> Value {
    match side {
        Side::Request => {
            json!({"instances": values.iter().map(|it| json!([it])).collect::<Value>()})
        }
        Side::Response => json!({"predictions": values}),
    }
}

/// The values of a tensor as they lie in memory: floats of 32 bits, or integers of 64.
fn raw_values(side: Side, values: &[u8]) -> Vec<u8> {
    let value = |it: &u8| match side {
        Side::Request => f32::from(*it).to_le_bytes().to_vec(),
        Side::Response => i64::from(*it).to_le_bytes().to_vec(),
    };
    values.iter().flat_map(value).collect()
}

fn json_body(side: Side, values: &[u8], is_raw: bool) -> Vec<u8> {
    let [list, name, datatype] = side.tensor();
    let mut tensor = json!({"name": name, "datatype": datatype, "shape": [values.len(), 1]});
    let mut behind = Vec::new();
    if is_raw {
        behind = raw_values(side, values);
        tensor["parameters"] = json!({"binary_data_size": behind.len()});
    } else {
        tensor["data"] = json!(values);
    }
    [json!({list: [tensor]}).to_string().into_bytes(), behind].concat()
}

/// A field of Protobuf with these bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).ok().filter(|it| *it < 128).expect("few bytes");
    [&[number << 3 | 2, length], bytes].concat()
}

/// `ModelInferRequest` or `ModelInferResponse`. Values are below 128: each is a byte.
fn message(side: Side, values: &[u8], is_raw: bool) -> Vec<u8> {
    let [_, name, datatype] = side.tensor();
    let rows = u8::try_from(values.len()).expect("few");
    let mut tensor =
        [field(1, name.as_bytes()), field(2, datatype.as_bytes()), field(3, &[rows, 1])].concat();
    let mut raw = Vec::new();
    if is_raw {
        let number = if side == Side::Request { 7 } else { 6 };
        raw = field(number, &raw_values(side, values));
    } else {
        let contents = match side {
            Side::Request => field(6, &raw_values(side, values)),
            Side::Response => field(3, values),
        };
        tensor.extend(field(5, &contents));
    }
    [field(1, b"model"), field(5, &tensor), raw].concat()
}

impl Prediction {
    fn partition(self) -> i32 {
        i32::try_from(self.index % i64::from(PARTITIONS)).expect("small")
    }

    /// Seconds since 1970 of its response.
    fn time(self) -> i64 {
        START + self.hour * HOUR + self.index * 20
    }

    fn values(self, side: Side) -> [u8; 2] {
        let value = |row: i64| match side {
            Side::Request => (self.index * 7 + self.hour + row) % 97,
            Side::Response => (self.index + row) % 7,
        };
        [0, 1].map(|row| u8::try_from(value(row)).expect("small"))
    }

    fn is_raw(self) -> bool {
        self.index % 2 == 1
    }

    /// The half that comes first: the response of every other pair.
    fn first(self, form: Form) -> Enveloped {
        self.half(form, if self.index / 2 % 2 == 0 { Side::Response } else { Side::Request })
    }

    fn second(self, form: Form) -> Enveloped {
        self.half(form, if self.index / 2 % 2 == 0 { Side::Request } else { Side::Response })
    }

    fn half(self, form: Form, side: Side) -> Enveloped {
        let time = self.time() - i64::from(side == Side::Request);
        let id = format!("{}-{}", self.hour, self.index);
        let body = form.write(side, &self.values(side), self.is_raw());
        event(form, self.partition(), &id, side.name(), (body, time))
    }

    fn whole(self) -> Enveloped {
        let document = json!({
            "time": self.time(),
            "request": instances(Side::Request, &self.values(Side::Request)),
            "response": instances(Side::Response, &self.values(Side::Response)),
        });
        let raw = raw(self.partition(), document.to_string().into_bytes());
        Enveloped { raw, headers: Vec::new(), time: self.time() * 1_000 }
    }
}

fn raw(partition: i32, payload: Vec<u8>) -> Raw {
    Raw { partition, key: "key".to_owned(), payload: Some(payload) }
}

/// An event of `KServe`'s logger with this body, at this time in seconds.
fn event(
    form: Form,
    partition: i32,
    id: &str,
    kind: &str,
    (body, time): (Vec<u8>, i64),
) -> Enveloped {
    let headers = [
        ("ce_specversion", "1.0".to_owned()),
        ("ce_id", id.to_owned()),
        ("ce_type", format!("org.kubeflow.serving.inference.{kind}")),
        ("ce_time", Timestamp::from_millis(time * 1_000).to_string()),
        ("ce_inferenceservicename", form.name().to_owned()),
        ("content-type", "application/json".to_owned()),
    ];
    Enveloped {
        raw: raw(partition, body),
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
    let model = |name: &str, paths: [&str; 2]| {
        json!({
            "name": name,
            "source": topic_of(job, name),
            "version": "1",
            "references": "references/{model}-{version}.json",
            "window": {"length": "1h"},
            "features": [{"name": "amount", "path": paths[0], "type": "float32"}],
            "predictions": [{"name": "items", "path": paths[1], "type": "integer"}],
        })
    };
    let joined = |form: Form| {
        let mut source = source(form.name(), json!({"path": "$headers.ce_time"}));
        source["model"] = json!("$headers.ce_inferenceservicename");
        source["join"] = json!({
            "id": "$headers.ce_id",
            "side": "$headers.ce_type",
            "request": "org.kubeflow.serving.inference.request",
            "response": "org.kubeflow.serving.inference.response",
            "within": "6h",
        });
        match form {
            Form::Instances => {}
            Form::Json => source["format"] = json!("open_inference"),
            Form::Protobuf => {
                source["format"] = json!("open_inference");
                source["open_inference"] = json!({"message": "protobuf"});
            }
        }
        source
    };
    let rows = ["request.instances[][0]", "response.predictions[]"];
    let tensors = ["request.inputs[name=amount].data[][0]", "response.outputs[0].data[][0]"];
    let paths = |form| if form == Form::Instances { rows } else { tensors };
    let whole = source(WHOLE, json!({"path": "time", "format": "unix_seconds"}));
    config["sources"] = FORMS.map(joined).into_iter().chain([whole]).collect();
    let models = FORMS.map(|form| model(form.name(), paths(form)));
    config["models"] = models.into_iter().chain([model(WHOLE, rows)]).collect();
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
    /// How many forms of halves it reads.
    forms: usize,
}

impl Running {
    fn start(config: &str, forms: usize) -> Self {
        let mut daemon = Driftd::start(&["run", "--config", config, "--log-format", "json"], &[]);
        let origin = format!("http://{}", daemon.wait_for_address(DEADLINE));
        Self { daemon, status: format!("{origin}/api/v1/status"), forms }
    }

    /// Waits until what it says of the halves of each form, and of everything, is accepted.
    fn wait(&mut self, mut accept: impl FnMut(&Value, &Value) -> bool) -> Vec<Value> {
        let response = self.daemon.wait_for_http(&self.status, DEADLINE, |response| {
            let status = response.json();
            (0..self.forms).all(|form| accept(&status["sources"][form], &status))
        });
        let status = response.json();
        (0..self.forms).map(|form| status["sources"][form].clone()).collect()
    }
}

/// The same with a text that no path wants: two of them are larger than a client sends by default.
fn noted(mut document: Value) -> Value {
    document["note"] = json!("x".repeat(900_000));
    document
}

fn large(form: Form, payload: Vec<u8>) -> Vec<u8> {
    if form != Form::Instances {
        return payload;
    }
    let document = serde_json::from_slice(&payload).expect("instances are JSON");
    noted(document).to_string().into_bytes()
}

/// What comes in the last round beside the missing halves, of one partition.
fn others(form: Form) -> Vec<Enveloped> {
    let last = LAST;
    let time = last.time();
    let request = || form.write(Side::Request, &last.values(Side::Request), true);
    let one = form.write(Side::Response, &[1], true);
    let event = |id: &str, kind: &str, body| event(form, 0, id, kind, (body, time));
    let mut later = event("alone-3", "request", request());
    // Twelve hours after all others: what still waits has waited for too long.
    later.time += 12 * HOUR * 1_000;
    vec![
        // Waiting already, since before the process was asked to stop.
        last.first(form),
        event("alone-1", "request", request()),
        event("alone-2", "request", request()),
        event("neither", "feedback", request()),
        event("unequal", "response", large(form, one)),
        event("unequal", "request", large(form, request())),
        last.second(form),
        later,
    ]
}

/// One whose other half comes among others; the first is its response.
const LAST: Prediction = Prediction { index: PREDICTIONS - 4, hour: 1 };

#[test]
fn requests_and_responses_are_joined_once_whatever_happens_in_between() {
    let job = Job::new("join");
    job.create_topics();
    let config = job.write(&config(&job));
    let names: Vec<&str> = FORMS.iter().map(|form| form.name()).chain([WHOLE]).collect();
    job.build_references(&config, &names, DEADLINE);
    for name in names {
        topic::create(job.bootstrap(), &topic_of(&job, name), PARTITIONS, &[]);
    }
    let put = |name: &str, messages: Vec<Enveloped>| {
        topic::put_enveloped(job.bootstrap(), &topic_of(&job, name), &messages);
    };
    let put_all = |messages: &dyn Fn(Form) -> Vec<Enveloped>| {
        for form in FORMS {
            put(form.name(), messages(form));
        }
    };
    put(WHOLE, predictions(0).chain(predictions(1)).map(Prediction::whole).collect());

    // Only first halves, and then a kill. What is stored of them is not read again.
    put_all(&|form| predictions(0).map(|it| it.first(form)).collect());
    let mut running = Running::start(&config, FORMS.len());
    let sources = running.wait(|source, status| {
        source["join"]["waiting"] == PREDICTIONS && !status["state_stored_at"].is_null()
    });
    assert!(sources.iter().all(|it| it["join"]["joined"] == 0), "{sources:?}");
    let _killed = running.daemon.kill(DEADLINE);

    // Their other halves, and the first ones of another hour.
    put_all(&|form| predictions(0).map(|it| it.second(form)).collect());
    put_all(&|form| predictions(1).map(|it| it.first(form)).collect());
    let mut running = Running::start(&config, FORMS.len());
    running.wait(|source, _| {
        source["join"]["joined"] == PREDICTIONS && source["join"]["waiting"] == PREDICTIONS
    });
    let _ended = running.daemon.terminate(DEADLINE).expect_code(0);

    // The other halves of that hour, but for one that comes among others.
    let missing = || predictions(1).filter(|it| it.index != LAST.index);
    put_all(&|form| missing().map(|it| it.second(form)).collect());
    put_all(&others);
    let messages = PREDICTIONS - 1 + i64::try_from(others(Form::Json).len()).expect("few");
    let mut running = Running::start(&config, FORMS.len());
    let sources = running.wait(|source, status| {
        source["messages"] == messages
            && source["dead_lettered"] == 2
            && status["totals"]["windows_closed"] == WINDOWS
    });
    for source in sources {
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
        assert_eq!(source["join"], expected, "{source}");
    }
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
    let form = FORMS[0];
    let topic_name = topic_of(&job, form.name());
    job.build_references(&config, &[form.name()], DEADLINE);
    topic::create(job.bootstrap(), &topic_name, PARTITIONS, &[]);
    let args = ["check", "--config", &config, "--create-topics"];
    let _checked = Driftd::run(&args, &[], DEADLINE).expect_code(0);
    let put = |messages: Vec<Enveloped>| {
        topic::put_enveloped(job.bootstrap(), &topic_name, &messages);
    };
    let [mut killed, mut other] = [0, 1].map(|_| Running::start(&config, 1));
    for member in [&mut killed, &mut other] {
        member.wait(|source, _| source["partitions"].as_array().is_some_and(|it| it.len() == 1));
    }

    // Only first halves, and then a kill, when each says that the other has committed them.
    put(predictions(0).map(|it| it.first(form)).collect());
    let half = PREDICTIONS / 2;
    for member in [&mut killed, &mut other] {
        member.wait(|source, _| {
            source["join"]["waiting"] == half && source["elsewhere"][0]["next_offset"] == half
        });
    }
    let _killed = killed.daemon.kill(DEADLINE);
    put(predictions(0).map(|it| it.second(form)).collect());
    let sources = other.wait(|source, status| {
        source["join"]["joined"] == PREDICTIONS && status["totals"]["windows_closed"] == 1
    });
    assert_eq!(sources[0]["messages"], half + PREDICTIONS, "no half of the other was read again");
    assert_eq!(sources[0]["join"]["waiting"], 0);
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
    assert!(!lines[WHOLE].is_empty());
    for form in FORMS {
        assert_eq!(lines[form.name()], lines[WHOLE], "{}", form.name());
    }
}

/// A half by itself is dead-lettered as it came, a pair as the document that was refused.
fn check_rejected(job: &Job) {
    let mut rejected = job.reader(TopicRole::Rejected);
    let mut found = BTreeMap::new();
    for record in rejected.all() {
        let place =
            (record.headers["driftd_topic"].clone(), record.headers["driftd_reason"].clone());
        assert!(found.insert(place.clone(), record).is_none(), "{place:?} came twice");
    }
    assert_eq!(found.len(), 2 * FORMS.len());
    let values = LAST.values(Side::Request);
    for form in FORMS {
        let of = |reason: &str| &found[&(topic_of(job, form.name()), reason.to_owned())];
        let request = form.write(Side::Request, &values, true);
        assert_eq!(of("unknown_side").payload, Some(request));
        let joined = of("unequal_lists").json();
        let (request, response) = (&joined["request"], &joined["response"]);
        if form == Form::Instances {
            assert_eq!(*request, noted(instances(Side::Request, &values)));
            assert_eq!(*response, noted(instances(Side::Response, &[1])));
            continue;
        }
        let rows = values.map(|it| json!([f64::from(it)]));
        assert_eq!(request["inputs"][0]["data"], json!(rows), "{joined}");
        assert_eq!(response["outputs"][0]["data"], json!([[1]]), "{joined}");
    }
}
