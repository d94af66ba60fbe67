//! Messages of Avro on a real Kafka: they become the records that the same messages in JSON become,
//! and wait for their schemas as long as the registry does not say what those are.

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
const PASSWORD: &str = "Hunter2";

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

    /// By the schema of number 1.
    fn first(&self) -> Vec<u8> {
        let mut out = vec![0, 0, 0, 0, 1];
        long(self.time, &mut out);
        self.amount(&mut out);
        long(self.items, &mut out);
        text(self.country, &mut out);
        out
    }

    /// By the schema of number 2.
    fn second(&self) -> Vec<u8> {
        let mut out = vec![0, 0, 0, 0, 2];
        // A map of labels in one block, which says its length.
        long(-1, &mut out);
        long(8, &mut out);
        text("key", &mut out);
        text("lab", &mut out);
        long(0, &mut out);
        let country = ["FR", "IT", "DE"].iter().position(|it| *it == self.country);
        long(i64::try_from(country.expect("one of them")).expect("few"), &mut out);
        long(self.items, &mut out);
        self.amount(&mut out);
        long(self.time * 1_000, &mut out);
        out
    }

    /// A union of null and a double.
    fn amount(&self, out: &mut Vec<u8>) {
        long(i64::from(self.amount.is_some()), out);
        out.extend(self.amount.into_iter().flat_map(f64::to_le_bytes));
    }
}

fn long(value: i64, out: &mut Vec<u8>) {
    let mut bits = (value << 1 ^ value >> 63).cast_unsigned();
    while 0x7f < bits {
        out.push(bits.to_le_bytes()[0] | 0x80);
        bits >>= 7;
    }
    out.push(bits.to_le_bytes()[0]);
}

fn text(text: &str, out: &mut Vec<u8>) {
    long(i64::try_from(text.len()).expect("a short text"), out);
    out.extend(text.bytes());
}

/// Two versions of a schema: the second one has its fields in another order, others beside them,
/// the country as an enum that is registered apart, and its time in milliseconds.
fn register(registry: &Registry) {
    let features = json!({"type": "record", "name": "Features", "fields": [
        {"name": "amount", "type": ["null", "double"]},
        {"name": "items", "type": "int"},
        {"name": "country", "type": "string"},
    ]});
    let first = json!({"type": "record", "namespace": "shop", "name": "Prediction", "fields": [
        {"name": "event_time", "type": "long"},
        {"name": "features", "type": features},
    ]});
    registry.register(1, &first, &[]);
    let country = json!({"type": "enum", "name": "shop.Country", "symbols": ["FR", "IT", "DE"]});
    registry.register_subject("shop.Country", &country, &[]);
    let features = json!({"type": "record", "name": "Features", "fields": [
        {"name": "country", "type": "Country"},
        {"name": "items", "type": "long"},
        {"name": "amount", "type": ["null", "double"]},
    ]});
    let time = json!({"type": "long", "logicalType": "timestamp-millis"});
    let second = json!({"type": "record", "namespace": "shop", "name": "Prediction", "fields": [
        {"name": "labels", "type": {"type": "map", "values": "string"}},
        {"name": "features", "type": features},
        {"name": "event_time", "type": time},
    ]});
    registry.register(2, &second, &["shop.Country"]);
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
    config["sources"] = ["avro", "json"].map(source).into();
    config["sources"][0]["format"] = json!("avro");
    config["sources"][0]["avro"]["registry"] = json!({
        "url": registry.url(), "username": "driftd", "password": "not needed for references",
    });
    config["models"] = ["avro", "json"].map(model).into();
    config
}

/// Reason and payload of messages that are no record.
fn bad() -> Vec<(&'static str, Vec<u8>)> {
    let good = &predictions()[0];
    vec![
        ("unknown_schema", vec![0, 0, 0, 0, 9, 2, 4]),
        ("invalid_avro", good.json()),
        ("invalid_avro", good.first()[..20].to_vec()),
        ("invalid_avro", [good.second(), vec![0]].concat()),
        ("empty_payload", Vec::new()),
    ]
}

#[test]
fn messages_wait_for_their_schemas_and_become_what_they_are_in_json() {
    let job = Job::new("avro");
    job.create_topics();
    let registry = Registry::start();
    register(&registry);
    // `driftd:Hunter2`
    registry.ask_for("Basic ZHJpZnRkOkh1bnRlcjI=");
    let mut config = config(&job, &registry);
    let as_built = job.write(&config);
    job.build_references(&as_built, &["avro", "json"], DEADLINE);
    config["sources"][0]["avro"]["registry"]["password"] = json!("${REGISTRY_PASSWORD}");
    let config = job.write(&config);
    let env = [("REGISTRY_PASSWORD", PASSWORD)];
    let predictions = predictions();
    let written = predictions.iter().enumerate();
    // Each partition has messages of both schemas.
    let good = written.map(|(index, it)| if index % 4 < 2 { it.first() } else { it.second() });
    let bad = bad();
    let all = good.chain(bad.iter().map(|(_, payload)| payload.clone())).collect();
    let avro = fill(&job, "avro", PARTITIONS, all);
    let json = fill(&job, "json", PARTITIONS, predictions.iter().map(Prediction::json).collect());

    let check = ["check", "--config", &config];
    let checked = Driftd::run(&check, &env, DEADLINE).expect_code(1);
    let silent = format!("the schema registry {} does not answer", registry.url());
    assert!(checked.stdout.contains(&silent), "{}", checked.stdout);

    let mut daemon = Driftd::start(&["run", "--config", &config, "--log-format", "json"], &env);
    let origin = format!("http://{}", daemon.wait_for_address(DEADLINE));
    let status = format!("{origin}/api/v1/status");
    // The other topic is read meanwhile, and nothing is refused.
    daemon.wait_for_http(&status, DEADLINE, |response| {
        let status = response.json();
        let reasons = status["not_ready"].to_string();
        (0..PARTITIONS).all(|it| reasons.contains(&format!("partition {it} of topic")))
            && reasons.contains(&silent)
            && status["totals"]["messages"] == json
            && status["totals"]["windows_closed"] == HOURS
            && status["sources"][0]["dead_lettered"] == 0
    });
    registry.rise();
    daemon.wait_for_http(&status, DEADLINE, |response| {
        let status = response.json();
        status["totals"]["messages"] == avro + json
            && status["totals"]["windows_closed"] == 2 * HOURS
            && status["sources"][0]["dead_lettered"] == bad.len()
    });
    daemon.wait_for_http(&format!("{origin}/readyz"), DEADLINE, |_| true);
    let metrics = http::get(&format!("{origin}/metrics")).expect("the daemon answers").body;
    assert!(metrics.contains(r#"reason="unknown_schema"} 1"#), "{metrics}");
    let ended = daemon.terminate(DEADLINE).expect_code(0);
    assert!(!format!("{}{}", ended.stdout, ended.stderr).contains(PASSWORD));
    let checked = Driftd::run(&check, &env, DEADLINE);
    let answers = format!("the registry {} answers", registry.url());
    assert!(checked.stdout.contains(&answers), "{}", checked.stdout);

    let each = usize::try_from(HOURS).expect("few") * 3;
    check_windows(&job, &["avro"], each);
    check_dead_letters(&job, bad);
}
