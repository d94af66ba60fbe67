//! From a topic to closed windows, against a bare consumer loop over the same topic in the same
//! run, on a real Kafka: how much of the log's speed is left after decoding and counting.
//!
//! `cargo bench --workspace --bench topic` prints the ratios for all that `load.rs` has, with
//! `-- json`, `-- json-zstd`, `-- avro`, `-- arrow` or `-- arrow-1` behind it of one topic alone. A
//! record has 20 floats in a nested object, 4 partitions. The broker shares the cores with all that
//! read, so only ratios mean something, and processor time a record.
//!
//! `-- state` has the JSON topic read with results sent and state kept, five times a second, for a
//! process that may end and for a machine that may, against reading it without: what runs first
//! changes from run to run. Where `DRIFTD_BENCH_PYTHON` names an interpreter, `-- json` has the
//! topic read by the Python consumers of `consumers.py` too.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock and writes its files")]

mod load;
mod python;
mod reading;
mod setup;

use std::path::Path;

use driftd_fixtures::kafka::KafkaBroker;
use driftd_fixtures::work_dir::WorkDir;
use driftd_tests::registry::Registry;
use driftd_tests::topic;

use self::load::{AVRO_ID, Format, LOADS, Load};
use self::python::STACKS;
use self::reading::{Cost, bare, watched};

const REPEATS: usize = 5;
const DURABILITIES: [&str; 2] = ["process", "power"];
/// What is to be left of the speed without state.
const STATE_TARGET: f64 = 0.9;

fn main() {
    // What `cargo bench` adds begins with a dash.
    let named: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let is_wanted = |part: &str| named.is_empty() || named.iter().any(|it| it == part);
    let broker = KafkaBroker::start();
    let registry = Registry::start();
    registry.rise();
    registry.register(AVRO_ID.into(), &load::avro_schema(), &[]);
    let dir = WorkDir::new("bench-topic");
    let [json, ..] = &LOADS;
    for load in &LOADS {
        let (compares, keeps) =
            (is_wanted(load.name), load.name == json.name && is_wanted("state"));
        if !compares && !keeps {
            continue;
        }
        let bytes = load.fill(broker.bootstrap());
        println!("{}: {} records of {bytes:.0} bytes", load.name, load.records);
        let file = setup::write(load, dir.path(), broker.bootstrap(), &registry.url());
        if compares {
            compare(load, &file, broker.bootstrap());
        }
        if keeps {
            keep(load, &file, broker.bootstrap());
        }
        topic::delete(broker.bootstrap(), &load.topic());
    }
}

/// Compares a daemon with a bare loop, and with Python where there is one.
fn compare(load: &Load, file: &Path, bootstrap: &str) {
    let python = python::interpreter().filter(|_| load.format == Format::Json);
    let mut ratios = Vec::new();
    let mut costs = Vec::new();
    let mut stacks = STACKS.map(|_| Vec::new());
    for run in 0..REPEATS {
        let bare = bare(load, bootstrap, run);
        report("bare consumer", bare);
        let driftd = watched(load, file);
        report("topic to closed windows", driftd);
        ratios.push(driftd.per_second() / bare.per_second());
        costs.push(driftd.micros());
        let Some(python) = &python else { continue };
        for (stack, ratios) in STACKS.iter().zip(&mut stacks) {
            let cost = stack.read(python, load, bootstrap);
            report(stack.name, cost);
            ratios.push(cost.micros() / driftd.micros());
        }
    }
    let target = load.target.map_or(String::new(), |it| format!(", of the {it} to hold"));
    let (ratio, micros) = (Spread::of(ratios), median(costs));
    println!("{}: {ratio} of a bare consumer{target}; {micros:.2} us a record", load.name);
    if python.is_some() {
        for (stack, ratios) in STACKS.iter().zip(stacks) {
            let (ratio, name, target) = (Spread::of(ratios), stack.name, stack.target);
            println!("{name}: {ratio} times the processor time, of the {target} to hold");
        }
    }
}

fn report(name: &str, cost: Cost) {
    let (rate, micros) = (cost.per_second(), cost.micros());
    println!("  {name:<24} {rate:>10.0} records/s {micros:>8.2} us a record");
}

/// Compares a daemon that keeps state and sends results with one that does neither.
fn keep(load: &Load, file: &Path, bootstrap: &str) {
    let mut ratios = DURABILITIES.map(|_| Vec::new());
    for run in 0..REPEATS {
        let keep = |durability: &str| {
            let name = format!("{durability}-{run}");
            topic::create(bootstrap, &setup::results_topic(&name), 1, &[]);
            watched(load, &setup::keep_state(file, durability, &name))
        };
        // Whoever comes first finds other caches.
        let before = (run % 2 == 0).then(|| watched(load, file));
        let kept = DURABILITIES.map(keep);
        let without = before.unwrap_or_else(|| watched(load, file));
        for (kept, ratios) in kept.into_iter().zip(&mut ratios) {
            ratios.push(kept.per_second() / without.per_second());
        }
    }
    for (durability, ratios) in DURABILITIES.iter().zip(ratios) {
        let ratio = Spread::of(ratios);
        println!("state kept, {durability}: {ratio} of without, of the {STATE_TARGET} to hold");
    }
}

/// The middle of several ratios, and the outermost.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(ratios: Vec<f64>) -> Self {
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        Self { median: median(ratios), least, most }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { median, least, most } = self;
        write!(f, "{median:.2} ({least:.2} to {most:.2})")
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let upper = numbers.len() / 2;
    let lower = (numbers.len() - 1) / 2;
    f64::midpoint(numbers[lower], numbers[upper])
}
