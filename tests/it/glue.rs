//! Messages of AWS Glue's serializers: what its registry is asked, what is told apart of its
//! answers, and that they become on a real Kafka what the same messages in JSON become.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use driftd::registry::{RegistryError, Writers};
use driftd_core::config;
use driftd_fixtures::driftd::Driftd;
use driftd_ingest::{Program, SchemaId, SchemaName, Uuid};
use driftd_tests::glue::{Glue, SECRET, TOKEN};
use driftd_tests::job::{Job, START, TopicRole};
use driftd_tests::twin::{check_dead_letters, check_windows, fill, topic_of};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(2);
const PARTITIONS: i32 = 2;
/// All in one window of an hour.
const RECORDS: i64 = 150;
const MODELS: [&str; 4] = ["avro", "gluejson", "json", "protobuf"];

const AVRO: Uuid = Uuid(0xb7b4_a7f0_9c96_4e4a_a687_fb5d_e9ef_0c63);
const PROTOBUF: Uuid = Uuid(0x0b0b_a7f0_9c96_4e4a_a687_fb5d_e9ef_0c64);
const JSON: Uuid = Uuid(0x0a0a_a7f0_9c96_4e4a_a687_fb5d_e9ef_0c65);
const UNKNOWN: Uuid = Uuid(1);

/// Its types in the order of their names: `Alpha`, `Prediction`, `Prediction.Features`,
/// `Prediction.LabelsEntry`, `Zebra`.
const PROTO: &str = "syntax = \"proto3\"; package shop;
    message Zebra {}
    message Prediction {
      message Features { optional double amount = 1; sint64 items = 2; string country = 3; }
      map<string, string> labels = 3;
      int64 event_time = 1;
      Features features = 2;
    }
    message Alpha {}";
const PREDICTION: u8 = 1;

fn avro_schema() -> String {
    let features = json!({"type": "record", "name": "Features", "fields": [
        {"name": "amount", "type": ["null", "double"]},
        {"name": "items", "type": "long"},
        {"name": "country", "type": "string"},
    ]});
    let fields = json!([
        {"name": "event_time", "type": "long"}, {"name": "features", "type": features},
    ]);
    json!({"type": "record", "name": "Prediction", "fields": fields}).to_string()
}

fn register(glue: &Glue) {
    glue.register(&AVRO.to_string(), "AVRO", &avro_schema());
    glue.register(&PROTOBUF.to_string(), "PROTOBUF", PROTO);
}

fn source_of(job: &str, format: &str, section: &Value) -> Value {
    json!({
        "topic": job,
        "start": "earliest",
        "format": format,
        format: section,
        "event_time": {"path": "event_time", "format": "unix_seconds"},
        "time": {"idle_timeout": "2s"},
    })
}

fn model_of(name: &str, topic: &str) -> Value {
    json!({
        "name": name,
        "source": topic,
        "version": "1",
        "references": "references/{model}-{version}.json",
        "window": {"length": "1h"},
        "features": [
            {"name": "amount", "path": "features.amount", "type": "float32"},
            {"name": "items", "path": "features.items", "type": "integer"},
            {"name": "country", "path": "features.country", "type": "categorical"},
        ],
    })
}

fn open(format: &str, glue: &Value) -> Writers {
    let config = json!({
        "name": "job",
        "sources": [source_of("logs", format, &json!({"glue": glue}))],
        "models": [model_of("m", "logs")],
    });
    let config = config::load(&config.to_string(), &|_| None);
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let writers = Writers::open(&config.sources[0], Path::new("."));
    writers.expect("nothing is read").expect("the messages have a schema")
}

fn ask(writers: &Writers, version: Uuid) -> Result<Option<Program>, Arc<RegistryError>> {
    writers.program(&SchemaId::of(SchemaName::Uuid(version)), &|| ())
}

#[test]
fn a_schema_version_is_asked_for_once_by_a_signed_request() {
    let glue = Glue::start();
    glue.rise();
    register(&glue);
    let writers = open("avro", &glue.section());
    assert!(ask(&writers, AVRO).expect("it answers").is_some());
    assert!(ask(&writers, AVRO).expect("it is known").is_some());
    assert_eq!(glue.asked(), [AVRO.to_string()]);
    assert!(ask(&writers, PROTOBUF).expect("it answers").is_none(), "it is of another language");
    assert!(ask(&writers, UNKNOWN).expect("it answers").is_none());
    assert!(ask(&writers, UNKNOWN).expect("it is known").is_none());
    assert_eq!(glue.asked(), [PROTOBUF.to_string(), UNKNOWN.to_string()]);
}

#[test]
fn one_who_signs_with_another_key_is_told_so_and_shows_none() {
    let glue = Glue::start();
    glue.rise();
    register(&glue);
    for (key, value) in [
        ("secret_access_key", "another"),
        ("access_key_id", "AKIDOTHER"),
        ("session_token", "other"),
        ("region", "eu-west-1"),
    ] {
        let mut section = glue.section();
        section[key] = json!(value);
        let writers = open("avro", &section);
        let error = ask(&writers, AVRO).expect_err("it does not say");
        let text = format!("{error} {error:?} {writers:?}");
        let expected = format!(
            "AWS Glue at {} answers `InvalidSignatureException` when asked for schema version \
             {AVRO}: The request signature",
            glue.url()
        );
        assert!(text.starts_with(&expected), "{text}");
        assert!(!text.contains(SECRET) && !text.contains(TOKEN), "{text}");
        // All others wait for the same reason, without being asked for.
        glue.asked();
        assert!(ask(&writers, JSON).is_err());
        assert_eq!(glue.asked(), [""; 0]);
    }
}

#[test]
fn that_there_is_no_schema_version_is_another_answer_than_none() {
    let glue = Glue::start();
    glue.rise();
    let error = |kind: &str| json!({"__type": kind, "Message": "m"});
    for (status, body, is_of_all) in [
        (400, error("ThrottlingException"), true),
        (500, error("InternalServiceException"), true),
        (400, error("AccessDeniedException"), false),
        (400, error("InvalidInputException"), false),
        (404, json!("no such page"), false),
        (503, json!("no such page"), true),
        (200, json!([]), false),
        (200, json!({"Status": "AVAILABLE"}), false),
        (200, json!({"Status": "PENDING", "SchemaDefinition": "", "DataFormat": "AVRO"}), false),
    ] {
        glue.put_answer(&AVRO.to_string(), status, &body);
        let writers = open("avro", &glue.section());
        ask(&writers, AVRO).expect_err("it does not say");
        glue.asked();
        let other = ask(&writers, UNKNOWN);
        assert_eq!(other.is_err(), is_of_all, "{status} {body}");
        assert_eq!(glue.asked().is_empty(), is_of_all, "{status} {body}");
    }
    // Glue has refused it, so no message is of it.
    glue.settle(&AVRO.to_string(), "AVRO", &avro_schema(), "FAILURE");
    let writers = open("avro", &glue.section());
    assert!(ask(&writers, AVRO).expect("it answers").is_none());
}

#[test]
fn a_type_of_protobuf_is_found_by_its_number_among_all_names() {
    let glue = Glue::start();
    glue.rise();
    register(&glue);
    let writers = open("protobuf", &glue.section());
    let at = |number: u32| {
        let id = SchemaId::of(SchemaName::Uuid(PROTOBUF));
        let id = id.with_message(driftd_ingest::MessageName::InOrder(number));
        writers.program(&id, &|| ()).expect("it answers")
    };
    let fields = |number: u32| at(number).expect("there is one").unknown_paths().to_vec();
    assert_eq!(fields(PREDICTION.into()), [""; 0].map(Into::into));
    assert_ne!(fields(0), [""; 0].map(Into::into), "another type has other fields");
    assert!(at(4).is_some());
    assert!(at(5).is_none());
}

/// One prediction, however it is written.
struct Prediction {
    time: i64,
    amount: Option<f64>,
    items: i64,
    country: &'static str,
}

fn predictions() -> Vec<Prediction> {
    (0..RECORDS)
        .map(|index| Prediction {
            time: START + index,
            amount: (index % 9 != 8).then_some((index % 97) as f64 / 4.0),
            items: index % 7 - 2,
            country: ["DE", "FR", "IT"][usize::try_from(index % 3).expect("three")],
        })
        .collect()
}

impl Prediction {
    fn json(&self) -> Vec<u8> {
        let features = json!({"amount": self.amount, "items": self.items, "country": self.country});
        json!({"event_time": self.time, "features": features}).to_string().into_bytes()
    }

    fn avro(&self) -> Vec<u8> {
        let mut out = Vec::new();
        zigzag(self.time, &mut out);
        zigzag(i64::from(self.amount.is_some()), &mut out);
        out.extend(self.amount.into_iter().flat_map(f64::to_le_bytes));
        zigzag(self.items, &mut out);
        zigzag(i64::try_from(self.country.len()).expect("a short text"), &mut out);
        out.extend(self.country.bytes());
        out
    }

    fn protobuf(&self) -> Vec<u8> {
        let mut features = Vec::new();
        if let Some(amount) = self.amount {
            features.push(1 << 3 | 1);
            features.extend(amount.to_le_bytes());
        }
        features.push(2 << 3);
        zigzag(self.items, &mut features);
        counted(3, self.country.as_bytes(), &mut features);
        let mut out = vec![PREDICTION, 1 << 3];
        varint(self.time.cast_unsigned(), &mut out);
        counted(2, &features, &mut out);
        out
    }
}

fn varint(mut bits: u64, out: &mut Vec<u8>) {
    while 0x7f < bits {
        out.push(bits.to_le_bytes()[0] | 0x80);
        bits >>= 7;
    }
    out.push(bits.to_le_bytes()[0]);
}

fn zigzag(value: i64, out: &mut Vec<u8>) {
    varint((value << 1 ^ value >> 63).cast_unsigned(), out);
}

fn counted(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    varint(bytes.len() as u64, out);
    out.extend(bytes);
}

/// Writes the header of Glue's serializers before a value, and compresses every other one.
fn framed(version: Uuid, values: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let framed = values.enumerate().map(|(index, value)| {
        let is_compressed = index % 4 < 2;
        let head = [3, if is_compressed { 5 } else { 0 }];
        let value = if is_compressed { deflate(&value) } else { value };
        [&head[..], &version.0.to_be_bytes(), &value].concat()
    });
    framed.collect()
}

fn deflate(value: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(value).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn config(job: &Job, glue: &Glue) -> Value {
    let mut config = job.config();
    let source = |name: &str| {
        let topic = topic_of(job, name);
        let mut source = match name {
            "avro" | "protobuf" => source_of(&topic, name, &json!({"glue": glue.section()})),
            _ => source_of(&topic, "json", &Value::Null),
        };
        source["dead_letter_topic"] = json!(job.topic(TopicRole::Rejected));
        source
    };
    config["sources"] = MODELS.map(source).into();
    for source in config["sources"].as_array_mut().expect("a list") {
        source.as_object_mut().expect("an object").remove("json");
    }
    config["models"] = MODELS.map(|name| model_of(name, &topic_of(job, name))).into();
    config
}

#[test]
fn messages_of_glue_become_what_they_are_in_json() {
    let job = Job::new("glue");
    job.create_topics();
    let glue = Glue::start();
    glue.rise();
    register(&glue);
    let mut config = config(&job, &glue);
    config["sources"][0]["payload_bytes_max"] = json!(10_000);
    let as_built = job.write(&config);
    job.build_references(&as_built, &MODELS, DEADLINE);
    for source in [0, 3] {
        let format = config["sources"][source]["format"].as_str().expect("a text").to_owned();
        config["sources"][source][format]["glue"]["secret_access_key"] = json!("${SECRET_KEY}");
    }
    let config = job.write(&config);
    let predictions = predictions();
    let each = |write: fn(&Prediction) -> Vec<u8>| predictions.iter().map(write);
    let bomb = deflate(&vec![0; 1 << 20]);
    let with =
        |version: Uuid, value: &[u8]| [&[3, 5][..], &version.0.to_be_bytes(), value].concat();
    let bad = vec![
        ("unknown_schema", with(UNKNOWN, &deflate(&[0]))),
        ("oversized", with(AVRO, &bomb)),
        ("invalid_avro", with(AVRO, b"no zlib")),
        ("invalid_avro", predictions[0].json()),
    ];
    let letters = bad.iter().map(|(_, payload)| payload.clone());
    let avro = framed(AVRO, each(Prediction::avro)).into_iter().chain(letters).collect();
    let messages = fill(&job, "avro", PARTITIONS, avro)
        + fill(&job, "gluejson", PARTITIONS, framed(JSON, each(Prediction::json)))
        + fill(&job, "json", PARTITIONS, each(Prediction::json).collect())
        + fill(&job, "protobuf", PARTITIONS, framed(PROTOBUF, each(Prediction::protobuf)));

    let env = [("SECRET_KEY", SECRET)];
    let checked = Driftd::run(&["check", "--config", &config], &env, DEADLINE);
    let answers = format!("the registry {} answers", glue.url());
    assert!(checked.stdout.contains(&answers), "{}", checked.stdout);
    let mut daemon = Driftd::start(&["run", "--config", &config, "--log-format", "json"], &env);
    let origin = format!("http://{}", daemon.wait_for_address(DEADLINE));
    daemon.wait_for_http(&format!("{origin}/api/v1/status"), DEADLINE, |response| {
        let status = response.json();
        status["totals"]["messages"] == messages
            && status["totals"]["windows_closed"] == MODELS.len()
            && status["sources"][0]["dead_lettered"] == bad.len()
    });
    let ended = daemon.terminate(DEADLINE).expect_code(0);
    let logged = format!("{}{}", ended.stdout, ended.stderr);
    assert!(!logged.contains(SECRET) && !logged.contains(TOKEN), "{logged}");
    check_windows(&job, &["avro", "gluejson", "protobuf"], 3);
    check_dead_letters(&job, bad);
}
