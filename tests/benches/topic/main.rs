//! From a topic to closed windows, against a bare consumer loop over the same topic in the same
//! run, on a real Kafka: how much of the log's speed is left after decoding and counting.
//!
//! `cargo bench -p driftd-tests --bench topic` prints the ratio. The broker shares the cores with
//! both, so only the ratio means something. The same with results sent and state kept, five times
//! a second, for a process that may end and for a machine that may, against it: what runs first
//! changes from run to run. Records: 1,000,000 of about 530 bytes with 20 floats in a nested
//! object, 4 partitions, no compression.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock and writes its files")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftd::daemon::Daemon;
use driftd_catalog::Timestamp;
use driftd_fixtures::kafka::KafkaBroker;
use driftd_fixtures::wait;
use driftd_fixtures::work_dir::WorkDir;
use driftd_tests::message::Message;
use driftd_tests::topic;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;

const TOPIC: &str = "bench.records";
const FILE: &str = "bench.yaml";
const RECORDS: u64 = 1_000_000;
const PARTITIONS: i32 = 4;
const FEATURES: usize = 20;
const REPEATS: usize = 4;
const DURABILITIES: [&str; 2] = ["process", "power"];
const DEADLINE: Duration = Duration::from_mins(5);

fn main() {
    let broker = KafkaBroker::start();
    let dir = WorkDir::new("bench-topic");
    topic::create(broker.bootstrap(), TOPIC, PARTITIONS, &[]);
    fill(broker.bootstrap());
    write_files(dir.path(), broker.bootstrap());
    let mut ratios = Vec::new();
    let mut kept_ratios = DURABILITIES.map(|_| Vec::new());
    for run in 0..REPEATS {
        let bare = bare(broker.bootstrap(), run);
        let keep = |durability: &str| {
            let name = format!("{durability}-{run}");
            topic::create(broker.bootstrap(), &format!("bench.results.{name}"), 1, &[]);
            watched(&keep_state(dir.path(), durability, &name))
        };
        // Whoever comes first finds other caches.
        let is_first = run % 2 == 0;
        let before = is_first.then(|| watched(&dir.path().join(FILE)));
        let kept = DURABILITIES.map(keep);
        let driftd = before.unwrap_or_else(|| watched(&dir.path().join(FILE)));
        for ((durability, kept), ratios) in DURABILITIES.iter().zip(kept).zip(&mut kept_ratios) {
            let ratio = ratio(driftd, kept);
            println!("state kept, durability {durability}, against none: ratio {ratio:.2}");
            ratios.push(ratio);
        }
        println!(
            "bare consumer {:>9.0} records/s, topic to closed windows {:>9.0} records/s, ratio {:.2}",
            RECORDS as f64 / bare.as_secs_f64(),
            RECORDS as f64 / driftd.as_secs_f64(),
            ratio(bare, driftd),
        );
        ratios.push(ratio(bare, driftd));
    }
    println!("median ratio {:.2} (target 0.6 for JSON)", median(ratios));
    for (durability, ratios) in DURABILITIES.iter().zip(kept_ratios) {
        let median = median(ratios);
        println!("median ratio with state kept, {durability}: {median:.2} (target 0.9)");
    }
}

fn ratio(of: Duration, to: Duration) -> f64 {
    of.as_secs_f64() / to.as_secs_f64()
}

fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    let upper = ratios.len() / 2;
    let lower = (ratios.len() - 1) / 2;
    f64::midpoint(ratios[lower], ratios[upper])
}

/// Numbers without a generator's dependency: the values only have to differ.
struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / 9_007_199_254_740_992.0
    }
}

fn fill(bootstrap: &str) {
    let mut lcg = Lcg(1);
    let chunk = 50_000;
    for start in (0..RECORDS).step_by(chunk) {
        let messages: Vec<Message> =
            (start..start + chunk as u64).map(|index| message(&mut lcg, index)).collect();
        topic::fill(bootstrap, TOPIC, &messages);
    }
}

/// Ten records a second of event time: a window of an hour holds 36,000 of them.
fn message(lcg: &mut Lcg, index: u64) -> Message {
    let millis = 1_700_000_000_000 + i64::try_from(index).expect("a small number") * 100;
    let mut features = String::new();
    for feature in 0..FEATURES {
        let comma = if feature == 0 { "" } else { "," };
        write!(features, "{comma}\"f{feature:02}\":{:.6}", lcg.next()).expect("a String takes all");
    }
    let payload = format!(
        "{{\"model\":\"bench\",\"version\":\"1\",\"id\":\"{index:012}\",\"at\":{millis},\"features\":{{{features}}}}}"
    );
    Message {
        partition: i32::try_from(index % 4).expect("a small number"),
        key: format!("{index:012}"),
        timestamp: Timestamp::from_millis(millis),
        payload: payload.into_bytes(),
    }
}

fn write_files(folder: &Path, bootstrap: &str) {
    let mut lcg = Lcg(2);
    let names: Vec<String> = (0..FEATURES).map(|feature| format!("f{feature:02}")).collect();
    let mut csv = names.join(",");
    for _ in 0..20_000 {
        csv.push('\n');
        let row: Vec<String> = names.iter().map(|_| format!("{:.6}", lcg.next())).collect();
        csv.push_str(&row.join(","));
    }
    fs::write(folder.join("reference.csv"), csv).expect("the folder takes files");
    let mut features = String::new();
    for name in &names {
        writeln!(features, "      - {{name: {name}, path: features.{name}, type: float64}}")
            .expect("a String takes all");
    }
    let config = format!(
        "name: bench\nkafka: {{brokers: [\"{bootstrap}\"]}}\nsources:\n  - topic: {TOPIC}\n    \
         start: earliest\n    event_time: {{path: at, format: unix_millis}}\n    \
         time: {{idle_timeout: 1s}}\nmodels:\n  - name: bench\n    source: {TOPIC}\n    \
         version: \"1\"\n    references: references/{{model}}/{{version}}.json\n    \
         window: {{length: 1h}}\n    features:\n{features}outputs: {{listen: \"127.0.0.1:0\"}}\n"
    );
    fs::write(folder.join(FILE), config).expect("the folder takes files");
    driftd::reference::build_for_model(
        &folder.join(FILE),
        "bench",
        "1",
        &[folder.join("reference.csv")],
        &folder.join("references/bench/1.json"),
    )
    .expect("the sample makes a reference");
}

/// Writes the same configuration with a state folder, a group and a topic of results of its own.
fn keep_state(folder: &Path, durability: &str, name: &str) -> PathBuf {
    let config = fs::read_to_string(folder.join(FILE)).expect("it was written before");
    let config = config
        .replace("kafka: {", &format!("kafka: {{group: bench-{name}, "))
        .replace("outputs: {", &format!("outputs: {{results_topic: bench.results.{name}, "));
    let state = format!(
        "state: {{folder: state-{name}, commit_interval: 200ms, durability: {durability}}}\n"
    );
    let file = folder.join(format!("bench-{name}.yaml"));
    fs::write(&file, format!("{config}{state}")).expect("as before");
    file
}

/// The time from the first to the last message of a loop that does nothing with them.
fn bare(bootstrap: &str, run: usize) -> Duration {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", format!("bare-{run}"))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("queued.min.messages", "20000")
        .set("queued.max.messages.kbytes", "32768")
        .set("fetch.queue.backoff.ms", "20")
        .create()
        .expect("the settings are those of librdkafka");
    consumer.subscribe(&[TOPIC]).expect("the topic exists");
    let (mut count, mut bytes, mut start) = (0, 0, Instant::now());
    while count < RECORDS {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.expect("the broker is there");
            if count == 0 {
                start = Instant::now();
            }
            count += 1;
            bytes += message.payload().map_or(0, <[u8]>::len);
        }
    }
    assert!(0 < bytes);
    start.elapsed()
}

/// The time from the first counted message until the last is counted and its windows are closed.
fn watched(file: &Path) -> Duration {
    let loaded = driftd::config_file::read(file).expect("a valid file");
    let daemon = Daemon::start(Arc::clone(&loaded.config), &loaded.folder, Box::new(|_| {}))
        .expect("the broker is there");
    let snapshot = daemon.snapshot();
    let messages = || snapshot.borrow().totals.messages;
    wait::until("the first message", DEADLINE, || (0 < messages()).then_some(()));
    let start = Instant::now();
    wait::until("the last message", DEADLINE, || (messages() == RECORDS).then_some(()));
    let took = start.elapsed();
    daemon.stop();
    took
}
