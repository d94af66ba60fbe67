//! Describes a topic of the bench to `driftd`, and freezes the reference it is counted against.
//!
//! Before: `load.rs` says what the topic holds. After: `reading.rs` starts a daemon by the file.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::load::{FEATURES, Format, Load, Uniform, feature_name};

/// Rows of the reference.
const ROWS: usize = 20_000;

/// Writes the configuration and the reference; returns the first.
pub(crate) fn write(load: &Load, folder: &Path, bootstrap: &str, registry: &str) -> PathBuf {
    let file = folder.join(format!("{}.yaml", load.name));
    fs::write(&file, config(load, bootstrap, registry)).expect("the folder takes files");
    let sample = folder.join("reference.csv");
    fs::write(&sample, reference()).expect("as before");
    let profile = folder.join("references/bench/1.json");
    driftd::reference::build_for_model(&file, "bench", "1", &[sample], &profile)
        .expect("the sample makes a reference");
    file
}

fn reference() -> String {
    let mut uniform = Uniform(2);
    let names: Vec<String> = (0..FEATURES).map(feature_name).collect();
    let mut csv = names.join(",");
    for _ in 0..ROWS {
        csv.push('\n');
        let row: Vec<String> = names.iter().map(|_| format!("{:.6}", uniform.next())).collect();
        csv.push_str(&row.join(","));
    }
    csv
}

fn config(load: &Load, bootstrap: &str, registry: &str) -> String {
    let topic = load.topic();
    let (format, before) = match load.format {
        Format::Json => ("format: json".to_owned(), ""),
        Format::Avro => {
            (format!("format: avro\n    avro: {{registry: {{url: \"{registry}\"}}}}"), "")
        }
        Format::Arrow => ("format: arrow".to_owned(), "[]."),
    };
    let mut features = String::new();
    for name in (0..FEATURES).map(feature_name) {
        let path = format!("{before}features.{name}");
        writeln!(features, "      - {{name: {name}, path: \"{path}\", type: float64}}")
            .expect("a String takes all");
    }
    format!(
        "name: bench\nkafka: {{brokers: [\"{bootstrap}\"]}}\nsources:\n  - topic: {topic}\n    \
         {format}\n    start: earliest\n    \
         event_time: {{path: \"{before}at\", format: unix_millis}}\n    \
         time: {{idle_timeout: 1s}}\nmodels:\n  - name: bench\n    source: {topic}\n    \
         version: \"1\"\n    references: references/{{model}}/{{version}}.json\n    \
         window: {{length: 1h}}\n    features:\n{features}outputs: {{listen: \"127.0.0.1:0\"}}\n"
    )
}

/// Writes the same configuration with a state folder, a group and a topic of results of its own.
pub(crate) fn keep_state(file: &Path, durability: &str, name: &str) -> PathBuf {
    let config = fs::read_to_string(file).expect("it was written before");
    let config = config
        .replace("kafka: {", &format!("kafka: {{group: bench-{name}, "))
        .replace("outputs: {", &format!("outputs: {{results_topic: {}, ", results_topic(name)));
    let state = format!(
        "state: {{folder: state-{name}, commit_interval: 200ms, durability: {durability}}}\n"
    );
    let file = file.with_file_name(format!("{name}.yaml"));
    fs::write(&file, format!("{config}{state}")).expect("as before");
    file
}

pub(crate) fn results_topic(name: &str) -> String {
    format!("bench.results.{name}")
}
