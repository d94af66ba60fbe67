//! Whole processes on a real Kafka, the release binary: the time from a kill to reading again and
//! the memory against the size of the state, the time from the end of a window to the scrape that
//! shows it, and what a second and a third process add where they share the work.
//!
//! `cargo bench --workspace --bench processes` prints them, with `-- recover`, `-- follow`,
//! `-- follow-shared` or `-- share` behind it one of them alone; the release binary has to be built
//! before. Broker and processes share the cores, so more processes than cores cannot be faster: the
//! processor time that a record takes is printed beside the rate.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock and writes its files")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use driftd_catalog::Timestamp;
use driftd_catalog::metric::EVALUATIONS_TOTAL;
use driftd_fixtures::driftd::Driftd;
use driftd_fixtures::kafka::KafkaBroker;
use driftd_fixtures::work_dir::WorkDir;
use driftd_fixtures::{http, wait};
use driftd_tests::message::Message;
use driftd_tests::topic;
use serde_json::Value;

const DEADLINE: Duration = Duration::from_mins(5);
/// Windows that are open when the process is killed.
const WINDOWS: i64 = 3;
/// Records of each of them: the cells of every feature are touched.
const ROWS: i64 = 500;

/// When the first record is made, in milliseconds since 1970: a window begins there.
const HOUR_START: i64 = 1_699_999_200_000;
/// Windows that are followed until a scrape shows their end.
const FOLLOWED: i64 = 400;
/// The memory is looked at after each so many of them.
const STRETCH: i64 = 100;
/// Windows that are followed where the work is shared.
const FOLLOWED_SHARED: i64 = 100;
/// Records of the next window that are more than `out_of_orderness` behind its start.
const AFTER: i64 = 3;

/// Records that several processes share, and their partitions.
const SHARED_RECORDS: i64 = 600_000;
const SHARED_PARTITIONS: i32 = 6;
const SHARED_FEATURES: usize = 20;
/// Event time between two of them: all lie within what partitions may be apart, so that nobody
/// waits for another.
const SHARED_STEP_MILLIS: i64 = 10;

fn main() {
    // What `cargo bench` adds begins with a dash.
    let named: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let is_wanted = |part: &str| named.is_empty() || named.iter().any(|it| it == part);
    let broker = KafkaBroker::start();
    if is_wanted("recover") {
        println!("recovery after kill -9, three open windows:");
        for features in [10, 100, 1_000] {
            recover(broker.bootstrap(), features);
        }
    }
    if is_wanted("follow") {
        println!("from the end of a window to the scrape that shows it, 1,000 features:");
        let state = "state: {folder: state, commit_interval: 1s}";
        follow(broker.bootstrap(), "alone", FOLLOWED, state);
    }
    if is_wanted("follow-shared") {
        println!("the same where the work may be shared:");
        let scale_out = "scale_out: {lanes: 1, replicas: 1}";
        follow(broker.bootstrap(), "shared", FOLLOWED_SHARED, scale_out);
    }
    if is_wanted("share") {
        println!("{SHARED_RECORDS} records in {SHARED_PARTITIONS} partitions, shared:");
        share_all(broker.bootstrap());
    }
}

fn share_all(bootstrap: &str) {
    let mut alone = None;
    for processes in 1..=3 {
        let Shared { took, own, machine } = share(bootstrap, processes);
        let alone = *alone.get_or_insert(took);
        let micros = |seconds: f64| seconds * 1e6 / SHARED_RECORDS as f64;
        println!(
            "{processes} processes: {:>7.0} records/s, {:.2} of one; processor time a record: {:.2} us of \
             the processes, {:.2} us of the whole machine, which was busy for {:.0} %",
            SHARED_RECORDS as f64 / took.as_secs_f64(),
            alone.as_secs_f64() / took.as_secs_f64(),
            micros(own),
            micros(machine),
            100.0 * machine / took.as_secs_f64() / cores(),
        );
    }
}

/// One running process.
struct Member {
    daemon: Driftd,
    address: String,
}

impl Member {
    fn start(config: &str) -> Self {
        let args = ["run", "--config", config, "--log-format", "json"];
        let mut daemon = Driftd::start(&args, &[]);
        let address = daemon.wait_for_address(DEADLINE);
        Self { daemon, address }
    }

    fn status(&self) -> Value {
        let url = format!("http://{}/api/v1/status", self.address);
        http::get(&url).map_or(Value::Null, |response| response.json())
    }

    fn is_ready(&self) -> bool {
        http::get(&format!("http://{}/readyz", self.address)).is_ok_and(|it| it.status == 200)
    }

    /// Returns the sum of a metric over its labels.
    fn metric(&self, name: &str) -> f64 {
        let text = http::get(&format!("http://{}/metrics", self.address));
        let text = text.map_or(String::new(), |response| response.body);
        let samples = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// Says who holds how much, the largest first.
    fn print_memory(&self) {
        let text = http::get(&format!("http://{}/metrics", self.address));
        let text = text.map_or(String::new(), |response| response.body);
        let mut owners: Vec<(f64, &str)> = text
            .lines()
            .filter_map(|line| {
                let (owner, bytes) =
                    line.strip_prefix("driftd_memory_bytes{owner=\"")?.split_once("\"} ")?;
                Some((bytes.parse::<f64>().ok()? / f64::from(1 << 20), owner))
            })
            .collect();
        owners.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let owners: Vec<String> =
            owners.iter().map(|(mib, owner)| format!("{owner} {mib:.1}")).collect();
        println!("      of that measured, MiB: {}", owners.join(", "));
    }

    fn resident_mib(&self) -> f64 {
        self.metric("process_resident_memory_bytes") / f64::from(1 << 20)
    }

    fn messages(&self) -> i64 {
        self.status()["totals"]["messages"].as_i64().unwrap_or(0)
    }
}

/// Fills three windows, kills the process and times the next one.
fn recover(bootstrap: &str, features: usize) {
    let name = format!("recover-{features}");
    let dir = WorkDir::new(&name);
    let topic_name = format!("{name}.records");
    topic::create(bootstrap, &topic_name, 1, &[]);
    let total = WINDOWS * ROWS;
    let step_millis = 3_600_000 / ROWS;
    let messages: Vec<Message> =
        (0..total).map(|index| message(features, 1, index, step_millis)).collect();
    topic::fill(bootstrap, &topic_name, &messages);
    // A lateness as long as all windows keeps each of them open.
    let extra = format!(
        "kafka: {{brokers: [\"{bootstrap}\"], instance: only}}\nstate: {{folder: state, \
         commit_interval: 100ms}}\n"
    );
    let config = write_files(dir.path(), &name, (features, "1d"), &extra);
    let first = Member::start(&config);
    wait::until("all is read", DEADLINE, || (first.messages() == total).then_some(()));
    let stored_at = |member: &Member| member.status()["state_stored_at"].to_string();
    let before = stored_at(&first);
    wait::until("all is stored", DEADLINE, || (stored_at(&first) != before).then_some(()));
    let resident = first.resident_mib();
    first.print_memory();
    let _killed = first.daemon.kill(DEADLINE);
    let start = Instant::now();
    let next = Member::start(&config);
    let restored = start.elapsed();
    wait::until("partitions are assigned", DEADLINE, || next.is_ready().then_some(()));
    let ready = start.elapsed();
    println!(
        "{features:>5} features: resident {resident:>4.0} MiB, state folder {:>5.1} MiB, state read after \
         {:>4.0} ms, reading again after {:>5.0} ms, resident then {:>4.0} MiB",
        folder_bytes(&dir.path().join("state")) as f64 / f64::from(1 << 20),
        restored.as_secs_f64() * 1_000.0,
        ready.as_secs_f64() * 1_000.0,
        next.resident_mib(),
    );
    let _ended = next.daemon.terminate(DEADLINE);
}

/// Ends one window after the other with a record, and scrapes until it shows.
fn follow(bootstrap: &str, how: &str, windows: i64, extra: &str) {
    let features = 1_000;
    let name = format!("follow-{how}");
    let dir = WorkDir::new(&name);
    let topic_name = format!("{name}.records");
    topic::create(bootstrap, &topic_name, 1, &[]);
    let extra = format!("kafka: {{brokers: [\"{bootstrap}\"]}}\n{extra}\n");
    let config = write_files(dir.path(), &name, (features, "0s"), &extra);
    let args = ["check", "--config", &config, "--create-topics"];
    let _checked = Driftd::run(&args, &[], DEADLINE).expect_code(0);
    let member = Member::start(&config);
    wait::until("partitions are assigned", DEADLINE, || member.is_ready().then_some(()));
    let step_millis = 3_600_000 / ROWS;
    let closed = || member.metric(EVALUATIONS_TOTAL.name);
    let (mut waits, mut scrapes) = (Vec::new(), Vec::new());
    let mut resident = Vec::new();
    for window in 0..windows {
        // The end needs records more than `out_of_orderness` behind it.
        let rows_end = (window + 1) * ROWS;
        let rows = window * ROWS + AFTER * i64::from(0 < window)..rows_end;
        let messages: Vec<Message> =
            rows.map(|index| message(features, 1, index, step_millis)).collect();
        topic::fill(bootstrap, &topic_name, &messages);
        wait::until("all is read", DEADLINE, || (rows_end <= member.messages()).then_some(()));
        let scrape = Instant::now();
        let before = closed();
        scrapes.push(scrape.elapsed());
        let last: Vec<Message> = (rows_end..rows_end + AFTER)
            .map(|index| message(features, 1, index, step_millis))
            .collect();
        let start = Instant::now();
        topic::fill(bootstrap, &topic_name, &last);
        while closed() <= before {
            assert!(start.elapsed() < DEADLINE, "window {window} does not close");
        }
        waits.push(start.elapsed());
        if (window + 1) % STRETCH == 0 {
            resident.push(format!("{:.0}", member.resident_mib()));
        }
    }
    println!(
        "{how:>9}, {windows} windows of {ROWS} records: {}; one scrape {}; resident after each \
         {STRETCH} windows, MiB: {}",
        quantiles(&mut waits),
        quantiles(&mut scrapes),
        resident.join(", "),
    );
    member.print_memory();
    let _ended = member.daemon.terminate(DEADLINE);
}

fn quantiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let millis = |at: usize| times[at].as_secs_f64() * 1_000.0;
    let p99 = (times.len() * 99).div_ceil(100) - 1;
    format!("median {:.0} ms, p99 {:.0} ms", millis(times.len() / 2), millis(p99))
}

/// What sharing has taken.
struct Shared {
    took: Duration,
    /// Seconds of processor time of the processes.
    own: f64,
    /// The same of everything on the machine.
    machine: f64,
}

fn cores() -> f64 {
    thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64)
}

/// Returns the seconds of processor time since the machine started, idle time left out.
fn machine_seconds() -> f64 {
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/stat").expect("the kernel tells");
    let line = stat.lines().next().expect("the first line is of all cores");
    let ticks: Vec<f64> =
        line.split_whitespace().skip(1).filter_map(|it| it.parse().ok()).collect();
    // See proc_stat(5): user, nice, system, idle, iowait, irq, softirq.
    [0, 1, 2, 5, 6].into_iter().filter_map(|it| ticks.get(it)).sum::<f64>() / TICKS_A_SECOND
}

/// Returns what so many processes take for all records.
fn share(bootstrap: &str, processes: usize) -> Shared {
    let name = format!("shared-{processes}");
    let dir = WorkDir::new(&name);
    let topic_name = format!("{name}.records");
    topic::create(bootstrap, &topic_name, SHARED_PARTITIONS, &[]);
    let extra =
        format!("kafka: {{brokers: [\"{bootstrap}\"]}}\nscale_out: {{lanes: 3, replicas: 1}}\n");
    let config = write_files(dir.path(), &name, (SHARED_FEATURES, "0s"), &extra);
    let args = ["check", "--config", &config, "--create-topics"];
    let _checked = Driftd::run(&args, &[], DEADLINE).expect_code(0);
    let members: Vec<Member> = (0..processes).map(|_| Member::start(&config)).collect();
    wait::until("partitions are shared", DEADLINE, || {
        members.iter().all(Member::is_ready).then_some(())
    });
    // The broker has to be rid of the producer's work before the clock starts.
    let messages = (0..SHARED_RECORDS)
        .map(|index| message(SHARED_FEATURES, SHARED_PARTITIONS, index, SHARED_STEP_MILLIS));
    let hidden = topic::hide(bootstrap, &topic_name, messages);
    let seconds = |members: &[Member]| {
        members.iter().map(|it| it.metric("process_cpu_seconds_total")).sum::<f64>()
    };
    let (machine, own) = (machine_seconds(), seconds(&members));
    let start = Instant::now();
    hidden.show();
    wait::until("all is read", DEADLINE, || {
        let read: i64 = members.iter().map(Member::messages).sum();
        (SHARED_RECORDS <= read).then_some(())
    });
    let shared = Shared {
        took: start.elapsed(),
        own: seconds(&members) - own,
        machine: machine_seconds() - machine,
    };
    for member in members {
        let _ended = member.daemon.terminate(DEADLINE);
    }
    shared
}

fn message(features: usize, partitions: i32, index: i64, step_millis: i64) -> Message {
    let millis = HOUR_START + index * step_millis;
    let mut values = String::new();
    for feature in 0..features {
        let comma = if feature == 0 { "" } else { "," };
        let value = (index * 31 + i64::try_from(feature).expect("a small number") * 17) % 1_000;
        write!(values, "{comma}\"f{feature:04}\":{}", value as f64 / 1_000.0)
            .expect("a String takes all");
    }
    Message {
        partition: i32::try_from(index % i64::from(partitions)).expect("a small number"),
        key: index.to_string(),
        timestamp: Timestamp::from_millis(millis),
        payload: format!("{{\"at\":{millis},\"features\":{{{values}}}}}").into_bytes(),
    }
}

/// Writes a configuration and the reference of its model; returns the configuration's path.
fn write_files(
    folder: &Path,
    name: &str,
    (features, lateness): (usize, &str),
    extra: &str,
) -> String {
    let names: Vec<String> = (0..features).map(|feature| format!("f{feature:04}")).collect();
    let mut csv = names.join(",");
    for row in 0..2_000 {
        csv.push('\n');
        let value = |feature: usize| format!("{}", ((row * 7 + feature) % 1_000) as f64 / 1_000.0);
        csv.push_str(&(0..features).map(value).collect::<Vec<_>>().join(","));
    }
    fs::write(folder.join("reference.csv"), csv).expect("the folder takes files");
    let mut columns = String::new();
    for name in &names {
        writeln!(columns, "      - {{name: {name}, path: features.{name}, type: float64}}")
            .expect("a String takes all");
    }
    let config = format!(
        "name: {name}\n{extra}sources:\n  - topic: {name}.records\n    start: earliest\n    \
         event_time: {{path: at, format: unix_millis}}\n    time: {{idle_timeout: 1h}}\nmodels:\n  \
         - name: bench\n    source: {name}.records\n    version: \"1\"\n    \
         references: references/{{model}}/{{version}}.json\n    \
         window: {{length: 1h, lateness: {lateness}}}\n    features:\n{columns}\
         outputs: {{listen: \"127.0.0.1:0\"}}\n"
    );
    let path = folder.join("bench.yaml");
    fs::write(&path, config).expect("the folder takes files");
    driftd::reference::build_for_model(
        &path,
        "bench",
        "1",
        &[folder.join("reference.csv")],
        &folder.join("references/bench/1.json"),
    )
    .expect("the sample makes a reference");
    path.to_str().expect("a path of the bench").to_owned()
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    bytes.sum()
}
