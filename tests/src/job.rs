//! A job of a test: its folder, its topics on the shared broker, its configuration.
//!
//! ```no_run
//! use driftd_tests::job::Job;
//!
//! let job = Job::new("launch-timeout");
//! job.create_topics();
//! let config = job.write(&job.config());
//! println!("driftd check --config {config}");
//! ```

use std::fmt::Write as _;
use std::time::Duration;

use driftd_fixtures::driftd::Driftd;
use driftd_fixtures::kafka::KafkaBroker;
use driftd_fixtures::work_dir::WorkDir;
use polars::prelude::{DataFrame, DataType};
use serde_json::{Value, json};

use crate::reader::Reader;
use crate::topic;

/// Partitions of the topic of inference logs; the other topics have one.
pub const PARTITIONS: i32 = 4;

/// Where event time begins in tests that make their own records: 2013-07-01T00:00:00Z, in seconds.
pub const START: i64 = 1_372_636_800;

/// Values of `country` in [`Job::build_references`].
pub const COUNTRIES: [&str; 3] = ["DE", "FR", "IT"];

/// The folder and the names of one job. Everything is named for the job, so that the tests of one
/// process share a broker.
#[derive(Debug)]
pub struct Job {
    name: &'static str,
    bootstrap: String,
    dir: WorkDir,
}

/// What a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicRole {
    /// Inference logs.
    Inference,
    /// Records that cannot be read.
    Rejected,
    /// Result lines.
    Results,
    /// Retraining events.
    Retraining,
    /// Reports on them.
    Status,
}

impl TopicRole {
    /// Every topic of a job.
    pub const ALL: [Self; 5] =
        [Self::Inference, Self::Rejected, Self::Results, Self::Retraining, Self::Status];

    fn partitions(self) -> i32 {
        if self == Self::Inference { PARTITIONS } else { 1 }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Rejected => "rejected",
            Self::Results => "results",
            Self::Retraining => "retraining",
            Self::Status => "status",
        }
    }
}

impl Job {
    /// Makes the folder of a job on the shared broker.
    pub fn new(name: &'static str) -> Self {
        Self::on(name, KafkaBroker::shared().bootstrap())
    }

    /// Makes the folder of a job on another cluster.
    pub fn on(name: &'static str, bootstrap: &str) -> Self {
        Self { name, bootstrap: bootstrap.to_owned(), dir: WorkDir::new(name) }
    }

    /// `host:port` of its brokers, comma separated.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Name of a topic of this job.
    pub fn topic(&self, role: TopicRole) -> String {
        format!("{}.{}", self.name, role.suffix())
    }

    /// Makes all topics.
    pub fn create_topics(&self) {
        for role in TopicRole::ALL {
            self.create_topic(role);
        }
    }

    /// Makes one topic.
    pub fn create_topic(&self, role: TopicRole) {
        topic::create(self.bootstrap(), &self.topic(role), role.partitions(), &[]);
    }

    /// Reads a topic from its beginning.
    pub fn reader(&self, role: TopicRole) -> Reader {
        Reader::open(self.bootstrap(), &self.topic(role), role.partitions())
    }

    /// Path of a file in the job's folder.
    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Writes a file into the job's folder and returns its path.
    pub fn write_file(&self, name: &str, text: &str) -> String {
        self.dir.write(name, text).display().to_string()
    }

    /// Writes the configuration (JSON is YAML) and returns its path.
    pub fn write(&self, config: &Value) -> String {
        self.write_file("job.yaml", &config.to_string())
    }

    /// Builds the reference of version 1 of each model, from amounts below 97 and items below 7 in
    /// three countries.
    pub fn build_references(&self, config: &str, models: &[&str], deadline: Duration) {
        let mut rows = "event_time,amount,items,country\n".to_owned();
        for index in 0..2_000 {
            let country = COUNTRIES[index % COUNTRIES.len()];
            writeln!(rows, "{index},{},{},{country}", index % 97, index % 7).expect("a text grows");
        }
        let input = self.write_file("training.csv", &rows);
        for model in models {
            let output = self.path(&format!("references/{model}-1.json"));
            let build = ["reference", "build", "--config", config, "--model", model];
            let args = [&build[..], &["--input", &input, "--output", &output]].concat();
            let _built = Driftd::run(&args, &[], deadline).expect_code(0);
        }
    }

    /// A small valid configuration with every topic: model `small` with one feature of each kind.
    pub fn config(&self) -> Value {
        json!({
            "name": self.name,
            "kafka": {"brokers": self.bootstrap.split(',').collect::<Vec<_>>()},
            "sources": [{
                "topic": self.topic(TopicRole::Inference),
                "start": "earliest",
                "event_time": {"path": "event_time"},
                "model": "model.name",
                "dead_letter_topic": self.topic(TopicRole::Rejected),
                // Everything is in the topic before the daemon starts: silence means the end.
                "time": {"idle_timeout": "2s"},
            }],
            "models": [{
                "name": "small",
                "source": self.topic(TopicRole::Inference),
                "version": "1",
                "references": "references/{model}-{version}.json",
                "window": {"length": "1h"},
                "features": [
                    {"name": "amount", "path": "features.amount", "type": "float32"},
                    {"name": "items", "path": "features.items", "type": "integer"},
                    {"name": "country", "path": "features.country", "type": "categorical"},
                ],
            }],
            "retraining": {
                "topic": self.topic(TopicRole::Retraining),
                "status_topic": self.topic(TopicRole::Status),
                "policies": [{"name": "drift"}],
            },
            "launcher": {"command": ["/bin/sh", self.path("job.sh")]},
            "outputs": {"listen": "127.0.0.1:0", "results_topic": self.topic(TopicRole::Results)},
        })
    }
}

/// Has the records of a job say their time in seconds, and only event time close its windows.
pub fn close_by_event_time(config: &mut Value) {
    config["sources"][0]["event_time"]["format"] = json!("unix_seconds");
    config["sources"][0]["time"] = json!({"idle_timeout": "1h"});
    config["models"][0]["window"]["wait_max"] = json!("1h");
    config["detection"] = json!({"minimum_rows": 100});
}

/// Watched columns of a data set, found under `parent` in its messages.
pub fn columns(frame: &DataFrame, names: &[&str], parent: &str) -> Vec<Value> {
    let column = |name: &&str| {
        let column = frame.column(name).expect("the data set has its columns");
        let kind = if *column.dtype() == DataType::Float32 {
            "float32"
        } else if column.dtype().is_float() {
            "float64"
        } else if column.dtype().is_bool() {
            "boolean"
        } else {
            "categorical"
        };
        json!({"name": name, "path": format!("{parent}.{name}"), "type": kind})
    };
    names.iter().map(column).collect()
}
