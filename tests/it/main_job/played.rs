//! Plays the main job once and keeps what was seen.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driftd_dashboards::{Query, interpolate};
use driftd_fixtures::alertmanager::{Alertmanager, ReceivedAlert};
use driftd_fixtures::chromium::{self, Visit};
use driftd_fixtures::data::FLIGHTS;
use driftd_fixtures::driftd::{Driftd, Ended};
use driftd_fixtures::http::{self, Response};
use driftd_fixtures::prometheus::{Prometheus, PrometheusSetup, QueryError, Sample};
use driftd_fixtures::wait;
use driftd_tests::job::{Job, PARTITIONS, TopicRole, columns};
use driftd_tests::reader::Record;
use driftd_tests::topic::{self, Raw};
use driftd_tests::{frame, message};
use polars::prelude::{DataFrame, IntoLazy, ParquetWriter, TimeUnit, col, lit};
use serde_json::{Value, json};

use super::recount::Recount;

/// Far above every step: reaching it is a failure.
const DEADLINE: Duration = Duration::from_mins(3);

/// First and last moment of the summer that is played, in milliseconds: June to August 2013.
const SUMMER: [i64; 2] = [1_370_044_800_000, 1_377_993_600_000];

/// Identity of the request: its window rounded down to a whole cooldown since 1970, and the id that
/// `printf DEDUPE_KEY | sha256sum` begins with. Written out, because it must stay the same for
/// ever.
pub(super) const DEDUPE_KEY: &str = "flights/1/weather/2012-11-08T00:00:00Z";
pub(super) const EVENT_ID: &str = "rt-flights-1-edf1f675";

/// The job: keeps the event, and says which version it registered.
const JOB: &str = "\
set -eu
cp \"$DRIFTD_EVENT_FILE\" event.json
echo ran >> runs
printf '{\"new_version\": \"2\"}' > \"$DRIFTD_OUTPUT_FILE\"
";

/// Addresses that have to answer.
const PATHS: [&str; 8] = [
    "/healthz",
    "/readyz",
    "/api/v1/status",
    "/api/v1/models",
    "/api/v1/models/flights/1",
    "/api/v1/models/flights/1/scores",
    "/api/v1/models/flights/1/features/temp",
    "/api/v1/retraining",
];

/// What everyone saw.
pub(super) struct Played {
    /// Records produced.
    pub(super) messages: u64,
    /// The same rows, counted again.
    pub(super) recount: Recount,
    /// The results topic.
    pub(super) lines: Vec<Value>,
    /// `/api/v1/status` when all was done.
    pub(super) status: Value,
    /// The retraining topic at the end, with the test's own repetition.
    pub(super) requests: Vec<Record>,
    /// The status topic at the end.
    pub(super) reports: Vec<Value>,
    /// The event that the job found in its file.
    pub(super) job_event: Value,
    /// One line for each time that the job ran.
    pub(super) job_runs: String,
    /// Scores in Prometheus.
    pub(super) scores: Vec<Sample>,
    /// The alert `ModelDrifted` of all records, as Alertmanager has it.
    pub(super) received: ReceivedAlert,
    /// Each query of the dashboards, and how many series it found.
    pub(super) queries: Vec<(Query, Result<usize, QueryError>)>,
    /// One scrape.
    pub(super) metrics: String,
    /// Answers of [`PATHS`].
    pub(super) answers: Vec<(&'static str, Response)>,
    /// Where the daemon listened, as in `http://127.0.0.1:80`.
    pub(super) origin: String,
    /// The page in a browser.
    pub(super) page: Visit,
    /// Summary of a replay of the same rows.
    pub(super) replay: Value,
    /// Lines of that replay.
    pub(super) replayed: Vec<Value>,
    /// How the daemon ended.
    pub(super) daemon: Ended,
    /// How the launcher ended.
    pub(super) launcher: Ended,
}

/// The main job, played by the first test that asks.
pub(super) fn played() -> &'static Played {
    static PLAYED: LazyLock<Played> = LazyLock::new(play);
    &PLAYED
}

fn play() -> Played {
    let job = Job::new("main-job");
    let rows = summer();
    let recount = Recount::new(&rows, &frame::read(&FLIGHTS.reference_path()));
    let config = set_up(&job, &rows);
    // Everything is in the topic before the daemon starts: silence can only mean the end.
    let messages = message::json_messages(&rows, &FLIGHTS, "1", PARTITIONS);
    topic::fill(job.bootstrap(), &job.topic(TopicRole::Inference), &messages);
    let launcher = Driftd::start(&["launch", "--config", &config], &[]);
    let mut daemon = Driftd::start(&["run", "--config", &config, "--log-format", "json"], &[]);
    let address = address(&daemon.wait_for_stderr("driftd runs", DEADLINE));
    let origin = format!("http://{address}");
    let watchers = Watchers::start(&address);

    let windows = recount.rows().len();
    daemon.wait_for_http(&format!("{origin}/api/v1/status"), DEADLINE, |response| {
        let totals = &response.json()["totals"];
        totals["messages"] == messages.len()
            && totals["windows_closed"] == windows
            && totals["jobs_succeeded"] == 1
    });
    let launcher = repeat_the_request(&job, launcher);
    let status = get(&origin, "/api/v1/status").json();
    let (scores, received) = watchers.see_drift();
    let queries = watchers.ask_everything();
    let metrics = get(&origin, "/metrics").body;
    let answers = PATHS.iter().map(|path| (*path, get(&origin, path))).collect();
    let page = chromium::visit(&origin);
    let daemon = daemon.terminate(DEADLINE);
    let (replay, replayed) = replay(&job, &config, rows);
    let read = |role| job.reader(role).all().to_vec();
    let json = |role| read(role).iter().map(Record::json).collect();
    Played {
        messages: u64::try_from(messages.len()).expect("a count"),
        lines: json(TopicRole::Results),
        requests: read(TopicRole::Retraining),
        reports: json(TopicRole::Status),
        job_event: serde_json::from_str(&file(&job, "event.json")).expect("an event is JSON"),
        job_runs: file(&job, "runs"),
        recount,
        status,
        scores,
        received,
        queries,
        metrics,
        answers,
        origin,
        page,
        replay,
        replayed,
        daemon,
        launcher,
    }
}

fn summer() -> DataFrame {
    let [from, to] = SUMMER.map(|millis| lit(millis * 1_000));
    let time = || col("event_time").cast(polars::prelude::DataType::Int64);
    let current = frame::read(&FLIGHTS.current_path()).lazy();
    let rows = current.filter(time().gt_eq(from).and(time().lt(to))).collect();
    let rows = rows.expect("the data set has an event time");
    let unit = rows.column("event_time").expect("it has").dtype().clone();
    assert!(matches!(unit, polars::prelude::DataType::Datetime(TimeUnit::Microseconds, _)));
    rows
}

/// Makes topics, configuration, job and reference; returns the path of the configuration.
fn set_up(job: &Job, rows: &DataFrame) -> String {
    job.create_topics();
    job.write_file("job.sh", JOB);
    let config = job.write(&config(job, rows));
    let input = FLIGHTS.reference_path().display().to_string();
    let output = job.path("references/flights-1.json");
    let build = ["reference", "build", "--config", &config, "--input", &input, "--output", &output];
    // The topic carries one model, so its name and version need not be said.
    let ended = Driftd::run(&build, &[], DEADLINE).expect_code(0);
    assert!(ended.stdout.ends_with(&format!("written to {output}\n")), "{}", ended.stdout);
    config
}

/// The daemon's demo policy, as a user with four partitions would write it.
fn config(job: &Job, rows: &DataFrame) -> Value {
    let mut config = job.config();
    config["models"] = json!([{
        "name": "flights",
        "source": job.topic(TopicRole::Inference),
        "version": "1",
        "prediction_id": "prediction_id",
        "references": "references/{model}-{version}.json",
        // From Monday to Monday: the first Monday after 1970-01-01, a Thursday, is four days later.
        "window": {"length": "7d", "offset": "4d"},
        "features": columns(rows, FLIGHTS.features, "features"),
        "predictions": columns(rows, FLIGHTS.predictions, "prediction"),
        // All airports that there are.
        "segments": [{"name": "origin", "path": "features.origin", "top": 3}],
    }]);
    config["detection"] = json!({
        "numeric": {"detector": "ks", "minimum_effect": 0.45},
        "categorical": {"detector": "psi", "minimum_effect": 0.2},
        "missing_rate_effect": 0.3,
    });
    config["retraining"]["policies"] = json!([{"name": "weather", "minimum_features": 2, "features": ["temp", "dewp"], "cooldown": "364d"}]);
    config["state"] = json!({"folder": "state", "durability": "power"});
    config["launcher"]["working_directory"] = json!(".");
    config
}

fn address(line: &str) -> String {
    let line: Value = serde_json::from_str(line).expect("the log was asked for in JSON");
    line["fields"]["address"].as_str().expect("the line says where").to_owned()
}

fn get(origin: &str, path: &str) -> Response {
    http::get(&format!("{origin}{path}")).unwrap_or_else(|e| panic!("{path} does not answer: {e}"))
}

fn file(job: &Job, name: &str) -> String {
    fs::read_to_string(job.path(name)).unwrap_or_else(|e| panic!("the job left no {name}: {e}"))
}

/// Sends the request again, waits until the launcher has looked at it, and stops the launcher.
fn repeat_the_request(job: &Job, mut launcher: Driftd) -> Ended {
    let mut requests = job.reader(TopicRole::Retraining);
    let [request] = requests.all() else { panic!("not one request: {:#?}", requests.all()) };
    let again = Raw { partition: 0, key: "flights".to_owned(), payload: request.payload.clone() };
    topic::put(job.bootstrap(), &job.topic(TopicRole::Retraining), &[again]);
    launcher.wait_for_stderr("event is known; its end is told again", DEADLINE);
    launcher.terminate(DEADLINE)
}

fn replay(job: &Job, config: &str, mut rows: DataFrame) -> (Value, Vec<Value>) {
    let (input, output) = (job.path("rows.parquet"), job.path("replayed.jsonl"));
    let writer = fs::File::create(&input).expect("the folder is there");
    ParquetWriter::new(writer).finish(&mut rows).expect("a frame that was read can be written");
    let args = ["replay", "--config", config, "--input", &input, "--model", "flights"];
    let args = [&args[..], &["--output", &output, "--json"]].concat();
    let ended = Driftd::run(&args, &[], DEADLINE).expect_code(0);
    let summary = serde_json::from_str(&ended.stdout).expect("a JSON object");
    let lines = file(job, "replayed.jsonl");
    let lines = lines.lines().map(|line| serde_json::from_str(line).expect("a JSON object"));
    (summary, lines.collect())
}

/// Prometheus with the project's rules, and the Alertmanager behind it.
struct Watchers {
    prometheus: Prometheus,
    alertmanager: Alertmanager,
}

impl Watchers {
    fn start(address: &str) -> Self {
        let alertmanager = Alertmanager::start();
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../alerts/rules/driftd.rules.yaml");
        let prometheus = Prometheus::start(&PrometheusSetup {
            targets: vec![address.to_owned()],
            rule_files: vec![rules],
            alertmanager: Some(alertmanager.address().to_owned()),
        });
        Self { prometheus, alertmanager }
    }

    /// Waits for the last week's scores and for the alert.
    fn see_drift(&self) -> (Vec<Sample>, ReceivedAlert) {
        let last_end = format!("driftd_window_end_timestamp_seconds == {}", 1_378_080_000);
        wait::until("the last week is in Prometheus", DEADLINE, || {
            let found = self.prometheus.instant(&last_end).expect("a valid query");
            (found.len() == 4).then_some(()) // all records, and three airports
        });
        let scores = self.prometheus.instant("driftd_feature_drift_score").expect("a valid query");
        let received = wait::until("Alertmanager has the alert", DEADLINE, || {
            let is_ours = |alert: &ReceivedAlert| {
                alert.labels["alertname"] == "ModelDrifted" && alert.labels["segment"] == "all"
            };
            self.alertmanager.alerts().into_iter().find(is_ours)
        });
        let firing = self.prometheus.alerts();
        let is_firing = |name: &str| {
            firing.iter().any(|it| it.labels["alertname"] == name && it.state == "firing")
        };
        assert!(is_firing("ModelDrifted"), "{firing:?}");
        (scores, received)
    }

    /// Evaluates every query of the dashboards as Grafana would.
    fn ask_everything(&self) -> Vec<(Query, Result<usize, QueryError>)> {
        // Rates need a few scrapes.
        wait::until("Prometheus has scraped a few times", DEADLINE, || {
            let found = self.prometheus.instant("count_over_time(driftd_build_info[5m]) >= 7");
            (!found.expect("a valid query").is_empty()).then_some(())
        });
        let queries = driftd_dashboards::queries().into_iter();
        queries
            .map(|query| {
                let found = self.ask(&query);
                (query, found)
            })
            .collect()
    }

    fn ask(&self, query: &Query) -> Result<usize, QueryError> {
        let values = [
            ("job", "driftd"),
            ("instance", ".*"),
            ("model", "flights"),
            ("model_version", "1"),
            ("segment", "all"),
            ("window", "7d"),
            ("feature", ".*"),
            ("__rate_interval", "1m"),
            ("__interval", "10m"),
            ("__interval_ms", "600000"),
        ];
        let expr = interpolate(&query.expr, &values);
        if query.instant {
            return self.prometheus.instant(&expr).map(|samples| samples.len());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        self.prometheus.range(&expr, now - 300.0, now, 5.0).map(|series| series.len())
    }
}
