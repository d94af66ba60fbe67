//! Messages of every shape on a real Kafka: each becomes all of its records or one dead letter.
//!
//! One job reads a topic a shape. The same amounts lie in all of them, so all models have the same
//! windows.

use std::collections::BTreeMap;
use std::time::Duration;

use driftd_fixtures::driftd::Driftd;
use driftd_tests::job::{Job, START, TopicRole};
use driftd_tests::reader::Record;
use driftd_tests::topic::{self, Raw};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(2);
const PARTITIONS: i32 = 2;
/// Most records of a message, as configured.
const ROWS_MAX: usize = 8;
const HOUR: i64 = 3_600;

/// Hour and number of records of each good message. All records of an hour have its first second.
const GOOD: [(i64, usize); 6] = [(0, 3), (0, 1), (0, 0), (0, 2), (0, 8), (1, 4)];

/// Records of one message: seconds since 1970, amounts and countries.
struct Records {
    time: i64,
    amounts: Vec<f64>,
    countries: Vec<&'static str>,
}

impl Records {
    fn new(time: i64, count: usize) -> Self {
        let amounts = (0..count).map(|row| row as f64 + 0.5).collect();
        let countries = ["DE", "FR"].into_iter().cycle().take(count).collect();
        Self { time, amounts, countries }
    }

    /// One value a record.
    fn each(&self, value: impl Fn(f64, &str) -> Value) -> Vec<Value> {
        let records = self.amounts.iter().zip(&self.countries);
        records.map(|(amount, country)| value(*amount, country)).collect()
    }
}

/// How messages of a topic are written, and which paths read them.
struct Shape {
    name: &'static str,
    event_time: &'static str,
    amount: &'static str,
    country: &'static str,
    /// Further keys of the source.
    source: Value,
    write: fn(&Records) -> String,
    /// Messages that are refused, with the reason.
    bad: Vec<(&'static str, String)>,
}

fn shapes() -> Vec<Shape> {
    vec![
        instances(),
        columns(),
        list(),
        split(),
        lines(),
        bodies(),
        tensors(),
        by_shape(),
        open_inference(),
    ]
}

/// Rows as `KServe` and TensorFlow Serving have them, with the response beside the request.
fn instances() -> Shape {
    let write = |records: &Records| {
        let instances = records.each(|amount, _| json!([amount, 7]));
        let predictions = records.each(|_, country| json!({"country": country}));
        json!({
            "event_time": records.time,
            "request": {"instances": instances},
            "response": {"predictions": predictions},
        })
        .to_string()
    };
    let one = write(&Records::new(START, 1));
    let bad = vec![
        ("too_many_rows", write(&Records::new(START, ROWS_MAX + 1))),
        ("unequal_lists", one.replace("[0.5,7]", "[0.5,7],[1.5,7]")),
        ("wrong_type", one.replace("[[0.5,7]]", "{}")),
        ("wrong_type", write(&Records::new(START, 3)).replace("[2.5,7]", r#"["2.5",7]"#)),
        ("missing_field", format!(r#"{{"event_time":{START}}}"#)),
        ("invalid_json", one.trim_end_matches('}').to_owned()),
    ];
    Shape {
        name: "instances",
        event_time: "event_time",
        amount: "request.instances[][0]",
        country: "response.predictions[].country",
        source: json!({}),
        write,
        bad,
    }
}

/// Columns, as in `inputs` of `MLflow` and TensorFlow Serving.
fn columns() -> Shape {
    let write = |records: &Records| {
        let country = records.each(|_, country| json!(country));
        json!({
            "event_time": records.time,
            "inputs": {"amount": records.amounts, "country": country},
        })
        .to_string()
    };
    let one = write(&Records::new(START, 1));
    let bad = vec![
        ("unequal_lists", one.replace(r#"["DE"]"#, "[]")),
        ("number_out_of_range", one.replace("0.5", "1e39")),
    ];
    Shape {
        name: "columns",
        event_time: "event_time",
        amount: "inputs.amount[]",
        country: "inputs.country[]",
        source: json!({}),
        write,
        bad,
    }
}

/// A list of records, each with its own time.
fn list() -> Shape {
    let write = |records: &Records| {
        let time = records.time;
        let records = records.each(|amount, country| {
            json!({"event_time": time, "features": {"amount": amount, "country": country}})
        });
        json!(records).to_string()
    };
    let bad = vec![
        ("wrong_type", "{}".to_owned()),
        ("wrong_type", "[[]]".to_owned()),
        ("missing_field", r#"[{"features": {"amount": 1}}]"#.to_owned()),
    ];
    Shape {
        name: "list",
        event_time: "[].event_time",
        amount: "[].features.amount",
        country: "[].features.country",
        source: json!({}),
        write,
        bad,
    }
}

/// Names of columns beside lists of values, as in `dataframe_split` of `MLflow`.
fn split() -> Shape {
    let write = |records: &Records| {
        let data = records.each(|amount, country| json!([country, 1, amount]));
        let split = json!({"columns": ["country", "skipped", "amount"], "data": data});
        json!({"event_time": records.time, "dataframe_split": split}).to_string()
    };
    let one = write(&Records::new(START, 1));
    let bad = vec![
        ("invalid_columns", one.replace("amount", "Amount")),
        ("invalid_columns", one.replace("skipped", "country")),
        ("invalid_columns", one.replace("0.5]", "0.5,2]")),
        ("wrong_type", one.replace(r#"["DE",1,0.5]"#, r#"{"amount":0.5}"#)),
    ];
    Shape {
        name: "split",
        event_time: "event_time",
        amount: "dataframe_split.data[].amount",
        country: "dataframe_split.data[].country",
        source: json!({"columns": "dataframe_split.columns"}),
        write,
        bad,
    }
}

/// One record a line, and blank lines: a message without records has those alone, and is no message
/// of this format, so one with an empty list stands for it.
fn lines() -> Shape {
    let write = |records: &Records| {
        let time = records.time;
        let lines = records.each(|amount, country| {
            json!({"event_time": time, "rows": [{"amount": amount, "country": country}]})
        });
        let empty = json!({"event_time": time, "rows": []});
        let lines = lines.into_iter().chain([empty]).map(|line| line.to_string());
        lines.collect::<Vec<_>>().join("\n\n") + "\n"
    };
    let two = write(&Records::new(START, 2));
    let bad = vec![
        ("too_many_rows", write(&Records::new(START, ROWS_MAX + 1))),
        ("invalid_json", two.replacen('\n', " ", 2)),
        ("wrong_type", two.replace("1.5", "true")),
        ("empty_payload", "\n \n".to_owned()),
    ];
    Shape {
        name: "lines",
        event_time: "event_time",
        amount: "rows[].amount",
        country: "rows[].country",
        source: json!({"format": "ndjson"}),
        write,
        bad,
    }
}

/// Bodies as text, as data captures have them: a request in CSV, and a response in JSON.
fn bodies() -> Shape {
    let write = |records: &Records| {
        let request = records.each(|amount, _| json!(format!("7,{amount}\n")));
        let request: String = request.iter().filter_map(Value::as_str).collect();
        let response = json!({"predictions": records.each(|_, country| json!(country))});
        json!({"event_time": records.time, "in": request, "out": {"data": response.to_string()}})
            .to_string()
    };
    let one = write(&Records::new(START, 1));
    let bad = vec![
        ("invalid_json", one.replace(r#"\"]}"}"#, r#"\"]"}"#)),
        ("invalid_json", one.replace(r#"\"]}"}"#, r#"\"]}}"}"#)),
        ("wrong_type", one.replace("0.5", "a half")),
        ("unequal_lists", one.replace("0.5", "0.5\\n7,1.5")),
    ];
    Shape {
        name: "bodies",
        event_time: "event_time",
        amount: "in[][1]",
        country: "out.data.predictions[]",
        source: json!({"embedded": [{"path": "in", "as": "csv"}, {"path": "out.data"}]}),
        write,
        bad,
    }
}

/// Tensors of the V2 protocol, one a column.
fn tensors() -> Shape {
    let write = |records: &Records| {
        let shape = json!([records.amounts.len()]);
        let country = records.each(|_, country| json!(country));
        json!({"event_time": records.time, "inputs": [
            {"name": "country", "shape": shape, "datatype": "BYTES", "data": country},
            {"shape": shape, "datatype": "FP32", "data": records.amounts, "name": "amount"},
        ]})
        .to_string()
    };
    let one = write(&Records::new(START, 1));
    let bad = vec![
        ("wrong_type", one.replace("[0.5]", "[[0.5]]")),
        ("unequal_lists", one.replace("[0.5]", "[0.5,1.5]")),
        ("missing_field", one.replace(r#""name""#, r#""title""#)),
    ];
    Shape {
        name: "tensors",
        event_time: "event_time",
        amount: "inputs[name=amount].data[]",
        country: "inputs[name=country].data[]",
        source: json!({}),
        write,
        bad,
    }
}

/// Tensors of the V2 protocol with several values a record: in one list where records are even, and
/// nested where they are odd.
fn by_shape() -> Shape {
    let write = |records: &Records| {
        let count = records.amounts.len();
        let values = |rows: Vec<Value>| {
            let is_flat = count.is_multiple_of(2);
            let flat = rows.iter().filter_map(Value::as_array).flatten().cloned();
            if is_flat { flat.collect() } else { Value::from(rows) }
        };
        let numbers = values(records.each(|amount, _| json!([7, amount])));
        let texts = values(records.each(|_, country| json!([country, "-", "-"])));
        json!({"event_time": records.time, "inputs": [
            {"name": "c", "shape": [count, 3], "datatype": "BYTES", "data": texts},
            {"data": numbers, "datatype": "FP32", "shape": [count, 2], "name": "x"},
        ]})
        .to_string()
    };
    let one = write(&Records::new(START, 1));
    let bad = vec![
        ("unequal_lists", one.replace("[[7,0.5]]", "[[7,0.5,1.5]]")),
        ("unequal_lists", one.replace("[1,2]", "[2,2]")),
        ("missing_field", one.replace(r#""shape":[1,2]"#, r#""size":[1,2]"#)),
        ("wrong_type", one.replace("[1,2]", "[1,-2]")),
        ("wrong_type", one.replace("[[7,0.5]]", "[[7,[0.5]]]")),
    ];
    Shape {
        name: "by_shape",
        event_time: "event_time",
        amount: "inputs[name=x].data[][1]",
        country: "inputs[name=c].data[][0]",
        source: json!({"tensors": ["inputs[name=x].data", "inputs[name=c].data"]}),
        write,
        bad,
    }
}

/// Bodies of the open inference protocol, with raw values behind the JSON where records are odd.
/// All of their bytes are text here: whole numbers, and lengths below 128.
fn open_inference() -> Shape {
    let write = |records: &Records| {
        let count = records.amounts.len();
        let is_raw = !count.is_multiple_of(2);
        let amounts: Vec<i32> = (0..9).take(count).collect();
        let raw_amounts: Vec<u8> = amounts.iter().flat_map(|it| it.to_le_bytes()).collect();
        let raw_country = |country: &&str| [&[2, 0, 0, 0], country.as_bytes()].concat();
        let raw_countries: Vec<u8> = records.countries.iter().flat_map(raw_country).collect();
        let tensor = |name: &str, datatype: &str, values: Value, raw: &[u8]| {
            let mut tensor = json!({"name": name, "datatype": datatype, "shape": [count, 1]});
            if is_raw {
                tensor["parameters"] = json!({"binary_data_size": raw.len()});
            } else {
                tensor["data"] = values;
            }
            tensor
        };
        let inputs = json!([
            tensor("amount", "INT32", json!(amounts), &raw_amounts),
            tensor("country", "BYTES", json!(records.countries), &raw_countries),
        ]);
        let head = json!({"event_time": records.time, "inputs": inputs}).to_string();
        let raw = String::from_utf8([raw_amounts, raw_countries].concat()).expect("text");
        if is_raw { head + &raw } else { head }
    };
    let (one, two) = (write(&Records::new(START, 1)), write(&Records::new(START, 2)));
    let bad = vec![
        ("unequal_lists", one.clone() + "x"),
        ("unequal_lists", two.replacen("[2,1]", "[3,1]", 1)),
        ("wrong_type", one.replace("INT32", "INT33")),
        ("invalid_json", two.clone() + "x"),
        ("missing_field", two.replacen(r#""shape""#, r#""size""#, 1)),
    ];
    Shape {
        name: "open_inference",
        event_time: "event_time",
        amount: "inputs[name=amount].data[][0]",
        country: "inputs[name=country].data[][0]",
        source: json!({"format": "open_inference"}),
        write,
        bad,
    }
}

fn config(job: &Job, shapes: &[Shape]) -> Value {
    let mut config = job.config();
    let source = |shape: &Shape| {
        let mut source = json!({
            "topic": topic_of(job, shape),
            "start": "earliest",
            "event_time": {"path": shape.event_time, "format": "unix_seconds"},
            "dead_letter_topic": job.topic(TopicRole::Rejected),
            "rows_max": ROWS_MAX,
            "time": {"idle_timeout": "2s"},
        });
        for (key, value) in shape.source.as_object().expect("keys of a source") {
            source[key] = value.clone();
        }
        source
    };
    let model = |shape: &Shape| {
        json!({
            "name": shape.name,
            "source": topic_of(job, shape),
            "version": "1",
            "references": "references/{model}-{version}.json",
            "window": {"length": "1h"},
            "features": [
                {"name": "amount", "path": shape.amount, "type": "float32"},
                {"name": "country", "path": shape.country, "type": "categorical"},
            ],
        })
    };
    config["sources"] = shapes.iter().map(source).collect();
    config["models"] = shapes.iter().map(model).collect();
    config
}

fn topic_of(job: &Job, shape: &Shape) -> String {
    format!("{}-{}", job.topic(TopicRole::Inference), shape.name)
}

/// A bad message as it has to lie in the dead-letter topic: reason and payload, by topic and place.
type DeadLetters = BTreeMap<(String, i32, i64), (String, String)>;

/// Fills the topic of a shape and returns how many messages it holds.
fn fill(job: &Job, shape: &Shape, dead_letters: &mut DeadLetters) -> usize {
    let topic = topic_of(job, shape);
    topic::create(job.bootstrap(), &topic, PARTITIONS, &[]);
    let mut messages = Vec::new();
    let mut ends = vec![0; usize::try_from(PARTITIONS).expect("few")];
    let mut put = |partition: i32, payload: &str| {
        let payload = Some(payload.as_bytes().to_vec());
        messages.push(Raw { partition, key: "key".to_owned(), payload });
        let end = &mut ends[usize::try_from(partition).expect("few")];
        *end += 1;
        *end - 1
    };
    let mut bad = shape.bad.iter();
    for (partition, (hour, count)) in (0..PARTITIONS).cycle().zip(GOOD) {
        put(partition, &(shape.write)(&Records::new(START + hour * HOUR, count)));
        for (reason, payload) in bad.by_ref().take(1 + shape.bad.len() / GOOD.len()) {
            let offset = put(partition, payload);
            let letter = ((*reason).to_owned(), payload.clone());
            dead_letters.insert((topic.clone(), partition, offset), letter);
        }
    }
    topic::put(job.bootstrap(), &topic, &messages);
    messages.len()
}

#[test]
fn messages_of_every_shape_become_records_or_dead_letters() {
    let job = Job::new("shapes");
    job.create_topics();
    let shapes = shapes();
    let config = job.write(&config(&job, &shapes));
    let names: Vec<&str> = shapes.iter().map(|shape| shape.name).collect();
    job.build_references(&config, &names, DEADLINE);
    let mut expected = DeadLetters::new();
    let filled: Vec<usize> = shapes.iter().map(|it| fill(&job, it, &mut expected)).collect();
    let messages: usize = filled.iter().sum();
    let checked = Driftd::run(&["check", "--config", &config], &[], DEADLINE).expect_code(0);
    assert!(checked.stdout.contains("watched columns"), "{}", checked.stdout);

    let mut daemon = Driftd::start(&["run", "--config", &config, "--log-format", "json"], &[]);
    let origin = format!("http://{}", daemon.wait_for_address(DEADLINE));
    daemon.wait_for_http(&format!("{origin}/api/v1/status"), DEADLINE, |response| {
        let status = response.json();
        let sources = status["sources"].as_array().map_or(&[][..], Vec::as_slice);
        let dead: u64 = sources.iter().filter_map(|it| it["dead_lettered"].as_u64()).sum();
        status["totals"]["messages"] == messages
            && status["totals"]["windows_closed"] == 2 * shapes.len()
            && dead == expected.len() as u64
    });
    let _ended = daemon.terminate(DEADLINE).expect_code(0);
    check_windows(&job, &shapes);
    check_dead_letters(&job, &expected);
}

/// Each model has two windows of two features, with the same records.
fn check_windows(job: &Job, shapes: &[Shape]) {
    let mut results = job.reader(TopicRole::Results);
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in results.all().iter().map(Record::json) {
        let special = &line["counts"]["current_special"];
        assert_eq!((&special["null"], &special["unseen"]), (&json!(0), &json!(0)), "{line}");
        let model = line["model"].as_str().expect("a name").to_owned();
        found.entry(model).or_default().push(line["rows"].as_u64().expect("a number"));
    }
    let rows = |hour| GOOD.iter().filter(|it| it.0 == hour).map(|it| it.1 as u64).sum();
    let (first, second): (u64, u64) = (rows(0), rows(1));
    let each = vec![first, first, second, second];
    let expected = shapes.iter().map(|it| (it.name.to_owned(), each.clone())).collect();
    assert_eq!(found, expected);
}

fn check_dead_letters(job: &Job, expected: &DeadLetters) {
    let mut rejected = job.reader(TopicRole::Rejected);
    let mut found = DeadLetters::new();
    for record in rejected.all() {
        let header = |name: &str| record.headers[name].clone();
        assert!(!header("driftd_detail").is_empty(), "{record:?}");
        let partition = header("driftd_partition").parse().expect("a number");
        let place =
            (header("driftd_topic"), partition, header("driftd_offset").parse().expect("a number"));
        let payload = String::from_utf8(record.payload.clone().unwrap_or_default());
        let letter = (header("driftd_reason"), payload.expect("text"));
        assert!(found.insert(place.clone(), letter).is_none(), "{place:?} came twice");
    }
    assert_eq!(found, *expected);
}
