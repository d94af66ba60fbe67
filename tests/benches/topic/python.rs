//! Reads the topic of JSON with the Python consumers that people write themselves.
//!
//! Before: the environment names an interpreter that has what the head of `consumers.py` lists.
//! After: `main.rs` compares what they took.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::load::Load;
use crate::reading::Cost;

/// Names an interpreter that has the packages; without it no Python is started.
pub(crate) const VARIABLE: &str = "DRIFTD_BENCH_PYTHON";

/// A consumer of `consumers.py`.
pub(crate) struct Stack {
    /// As the script is told.
    pub(crate) name: &'static str,
    pub(crate) records: u64,
    /// How many times the processor time of `driftd` it is to take.
    pub(crate) target: f64,
}

/// Of the slow one fewer records are read: two batches of its reports.
pub(crate) const STACKS: [Stack; 2] = [
    Stack { name: "orjson-pandas-psi", records: 1_000_000, target: 8.0 },
    Stack { name: "json-evidently", records: 100_000, target: 100.0 },
];

pub(crate) fn interpreter() -> Option<PathBuf> {
    env::var_os(VARIABLE).map(PathBuf::from)
}

impl Stack {
    pub(crate) fn read(&self, interpreter: &PathBuf, load: &Load, bootstrap: &str) -> Cost {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/topic/consumers.py");
        let records = self.records.to_string();
        let output = Command::new(interpreter)
            .args([script, bootstrap, &load.topic(), self.name, &records])
            .output()
            .unwrap_or_else(|e| panic!("{VARIABLE}={}: {e}", interpreter.display()));
        let (stdout, stderr) =
            [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it)).into();
        let numbers: Vec<f64> =
            stdout.split_whitespace().filter_map(|it| it.parse().ok()).collect();
        let [records, seconds, processor_seconds] = numbers[..] else {
            panic!("{}: {}: {stdout}{stderr}", self.name, output.status);
        };
        Cost { records, seconds, processor_seconds }
    }
}
