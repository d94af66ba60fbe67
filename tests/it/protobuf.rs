//! Messages of Protobuf on a real Kafka: they become the records that the same messages in JSON
//! become, by a registry's schemas or by a file's, with one row or several a message.

use std::time::Duration;

use driftd_fixtures::driftd::Driftd;
use driftd_fixtures::http;
use driftd_tests::job::{Job, START, TopicRole};
use driftd_tests::registry::Registry;
use driftd_tests::twin::{check_dead_letters, check_windows, fill, topic_of};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(2);
const PARTITIONS: i32 = 2;
const HOUR: i64 = 3_600;
/// Windows of an hour that the records lie in.
const HOURS: i64 = 2;
const RECORDS_AN_HOUR: i64 = 150;
/// Models, each on a topic of its own: two of Protobuf, and what both are compared with.
const MODELS: [&str; 3] = ["registry", "file", "json"];

/// A type whose times are numbers, and one in the same file with a timestamp and an enum.
const REGISTERED: &str = r#"
syntax = "proto3";
package shop.v1;
import "shop/features.proto";
import "google/protobuf/timestamp.proto";
message Prediction { int64 event_time = 1; Features features = 2; }
message Later {
  enum Country { UNKNOWN = 0; FR = 1; IT = 2; DE = 3; }
  message Values { Country country = 3; sint32 items = 2; optional double amount = 1; }
  map<string, string> labels = 9;
  Values features = 2;
  google.protobuf.Timestamp event_time = 1;
}
"#;

const FEATURES: &str = r#"
syntax = "proto3";
package shop.v1;
import "google/protobuf/wrappers.proto";
message Features {
  google.protobuf.DoubleValue amount = 1;
  sint32 items = 2;
  string country = 3;
}
"#;

/// One prediction, however it is written.
struct Prediction {
    /// Seconds since 1970.
    time: i64,
    amount: Option<f64>,
    items: i64,
    country: &'static str,
}

fn predictions() -> Vec<Prediction> {
    (0..HOURS * RECORDS_AN_HOUR)
        .map(|index| Prediction {
            time: START + index / RECORDS_AN_HOUR * HOUR + index % RECORDS_AN_HOUR,
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

    /// As `Prediction`, which is the first message of its file.
    fn first(&self) -> Vec<u8> {
        let mut features = Vec::new();
        if let Some(amount) = self.amount {
            counted(1, &double(1, amount), &mut features);
        }
        self.items(&mut features);
        counted(3, self.country.as_bytes(), &mut features);
        let mut out = number(1, self.time);
        counted(2, &features, &mut out);
        out
    }

    /// As `Later`, which is the second one, with its fields in another order.
    fn later(&self) -> Vec<u8> {
        let mut out = Vec::new();
        counted(9, b"\x0a\x03key\x12\x03lab", &mut out);
        counted(1, &number(1, self.time), &mut out);
        let mut features = Vec::new();
        self.items(&mut features);
        counted(2, &features, &mut out);
        // What comes again is added.
        let country = ["", "FR", "IT", "DE"].iter().position(|it| *it == self.country);
        let mut features = number(3, i64::try_from(country.expect("one of them")).expect("few"));
        features.extend(self.amount.into_iter().flat_map(|it| double(1, it)));
        counted(2, &features, &mut out);
        out
    }

    /// In zigzag, as `sint32` is.
    fn items(&self, out: &mut Vec<u8>) {
        out.extend(number(2, self.items << 1 ^ self.items >> 63));
    }
}

fn varint(value: i64, out: &mut Vec<u8>) {
    let mut bits = value.cast_unsigned();
    while 0x7f < bits {
        out.push(bits.to_le_bytes()[0] | 0x80);
        bits >>= 7;
    }
    out.push(bits.to_le_bytes()[0]);
}

fn number(field: i64, value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(field << 3, &mut out);
    varint(value, &mut out);
    out
}

fn double(field: i64, value: f64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(field << 3 | 1, &mut out);
    out.extend(value.to_le_bytes());
    out
}

fn counted(field: i64, bytes: &[u8], out: &mut Vec<u8>) {
    varint(field << 3 | 2, out);
    varint(i64::try_from(bytes.len()).expect("a short message"), out);
    out.extend(bytes);
}

fn config(job: &Job, registry: &Registry) -> Value {
    let mut config = job.config();
    let source = |name: &str| {
        json!({
            "topic": topic_of(job, name),
            "start": "earliest",
            "event_time": {"path": "event_time", "format": "unix_seconds"},
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
                {"name": "amount", "path": "features.amount", "type": "float32"},
                {"name": "items", "path": "features.items", "type": "integer"},
                {"name": "country", "path": "features.country", "type": "categorical"},
            ],
        })
    };
    config["sources"] = MODELS.map(source).into();
    for source in 0..2 {
        config["sources"][source]["format"] = json!("protobuf");
    }
    config["sources"][0]["protobuf"]["registry"]["url"] = json!(registry.url());
    config["sources"][1]["protobuf"] = json!({
        "proto": "types/shop/prediction.proto", "include": ["types"], "message": "shop.v1.Later",
    });
    config["models"] = MODELS.map(model).into();
    config
}

/// Begins a message as serializers of Confluent do: with schema 7, and a place.
fn framed(place: &[u8], message: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, 7], place, message].concat()
}

/// Reason and payload of messages that are no record.
fn bad() -> Vec<(&'static str, Vec<u8>)> {
    let good = &predictions()[0];
    vec![
        ("unknown_schema", [&[0, 0, 0, 0, 9, 0][..], &good.first()].concat()),
        ("unknown_schema", framed(&[2, 8], &good.first())),
        ("invalid_protobuf", good.json()),
        ("invalid_protobuf", framed(&[0], &good.first()[..20])),
        ("invalid_protobuf", framed(&[0], &[good.first(), vec![0]].concat())),
        ("empty_payload", Vec::new()),
    ]
}

#[test]
fn messages_become_what_they_are_in_json() {
    let job = Job::new("protobuf");
    job.create_topics();
    let registry = Registry::start();
    registry.register_proto(7, REGISTERED, &[("shop/features.proto", "shop.features")]);
    registry.register_proto_subject("shop.features", FEATURES, &[]);
    registry.rise();
    std::fs::create_dir_all(job.path("types/shop")).expect("the job has a folder");
    job.write_file("types/shop/prediction.proto", REGISTERED);
    job.write_file("types/shop/features.proto", FEATURES);
    let config = job.write(&config(&job, &registry));
    job.build_references(&config, &MODELS, DEADLINE);
    let predictions = predictions();
    let written = predictions.iter().enumerate();
    // Each partition has messages of both types.
    let good = written.map(|(index, it)| {
        if index % 4 < 2 { framed(&[0], &it.first()) } else { framed(&[2, 2], &it.later()) }
    });
    let bad = bad();
    let all = good.chain(bad.iter().map(|(_, payload)| payload.clone())).collect();
    let registered = fill(&job, "registry", PARTITIONS, all);
    let by_file =
        fill(&job, "file", PARTITIONS, predictions.iter().map(Prediction::later).collect());
    let json = fill(&job, "json", PARTITIONS, predictions.iter().map(Prediction::json).collect());

    let mut daemon = Driftd::start(&["run", "--config", &config, "--log-format", "json"], &[]);
    let origin = format!("http://{}", daemon.wait_for_address(DEADLINE));
    let status = format!("{origin}/api/v1/status");
    daemon.wait_for_http(&status, DEADLINE, |response| {
        let status = response.json();
        status["totals"]["messages"] == registered + by_file + json
            && status["totals"]["windows_closed"] == 3 * HOURS
            && status["sources"][0]["dead_lettered"] == bad.len()
    });
    daemon.wait_for_http(&format!("{origin}/readyz"), DEADLINE, |_| true);
    let metrics = http::get(&format!("{origin}/metrics")).expect("the daemon answers").body;
    assert!(metrics.contains(r#"reason="invalid_protobuf"} 3"#), "{metrics}");
    let _ended = daemon.terminate(DEADLINE).expect_code(0);
    let checked = Driftd::run(&["check", "--config", &config], &[], DEADLINE);
    let answers = format!("the registry {} answers", registry.url());
    assert!(checked.stdout.contains(&answers), "{}", checked.stdout);

    let each = usize::try_from(HOURS).expect("few") * 3;
    check_windows(&job, &["registry", "file"], each);
    check_dead_letters(&job, bad);
}
