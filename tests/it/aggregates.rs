//! Dashboards and alert rules over processes that share the work: a real Prometheus is asked every
//! query that they have, and says of three processes what it says of one.
//!
//! Before: [`crate::scale_out`] starts the members. After: nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use driftd_catalog::metric;
use driftd_dashboards::{Place, interpolate};
use driftd_fixtures::driftd::Driftd;
use driftd_fixtures::prometheus::{Prometheus, PrometheusSetup, Sample};
use driftd_fixtures::wait;
use driftd_tests::elsewhere::is_of_labels_or_changes;
use driftd_tests::job::{COUNTRIES, Job, PARTITIONS, START, TopicRole};
use driftd_tests::topic::{self, Raw};
use serde_json::{Value, json};

use crate::scale_out::{MODELS, Member, owned, settle, shared, whole};
use promql_parser::parser::{Expr, parse};

const DEADLINE: Duration = Duration::from_mins(2);

/// Ten hours of records five seconds apart.
const MESSAGES: i64 = 7_200;
const HOURS: i64 = MESSAGES * 5 / 3_600;
const MEMBERS: usize = 3;

/// What Grafana puts in for "All", as the dashboards have it.
const ALL: &str = ".+";

/// Far above the time that the test takes, so that counts are whole.
const RATE_INTERVAL: &str = "10m";

/// What says something about a process, or when it did something: no two have the same.
const OF_A_PROCESS: [(&str, &str); 28] = [
    (metric::LAST_EVALUATION_TIMESTAMP_SECONDS.name, CLOCK),
    (metric::MODEL_LAST_EVALUATION_TIMESTAMP_SECONDS.name, CLOCK),
    (metric::LAST_RETRAIN_EVENT_TIMESTAMP_SECONDS.name, CLOCK),
    (metric::STATE_STORED_TIMESTAMP_SECONDS.name, LANES),
    (metric::PROCESS_START_TIME_SECONDS.name, CLOCK),
    (metric::EVALUATION_DURATION_SECONDS.name, CLOCK),
    (metric::HTTP_REQUEST_DURATION_SECONDS.name, CLOCK),
    (metric::PROCESS_CPU_SECONDS_TOTAL.name, CLOCK),
    (metric::HTTP_REQUESTS_TOTAL.name, "who asked it how often"),
    (metric::KAFKA_REBALANCES_TOTAL.name, GROUP),
    (metric::KAFKA_ERRORS_TOTAL.name, GROUP),
    (metric::KAFKA_ABANDONED_CALLS.name, GROUP),
    (metric::KAFKA_ASSIGNED_PARTITIONS.name, GROUP),
    (metric::LANES.name, LANES),
    (metric::LANES_OWNED.name, LANES),
    (metric::LANE_LAG_ROWS.name, LANES),
    (metric::LEFT_OUT_COUNTS_TOTAL.name, LANES),
    (metric::PIPELINE_QUEUE_BATCHES.name, MEMORY),
    (metric::OUTBOX_BYTES.name, MEMORY),
    (metric::OUTBOX_MESSAGES.name, MEMORY),
    (metric::STATE_BYTES.name, MEMORY),
    (metric::MEMORY_BYTES.name, MEMORY),
    (metric::MEMORY_BUDGET_BYTES.name, "the budget is of what a process does"),
    (metric::MEMORY_LIMIT_BYTES.name, MEMORY),
    (metric::PROCESS_RESIDENT_MEMORY_BYTES.name, MEMORY),
    (metric::PROCESS_OPEN_FDS.name, MEMORY),
    (metric::BUILD_INFO.name, "every process is one"),
    ("up", "every process is one"),
];
const CLOCK: &str = "the clock on the wall, or a length of time";
const GROUP: &str = "its place in the group";
const LANES: &str = "one process that works alone without state has none";
const MEMORY: &str = "what it holds at this moment";

/// Values of a dashboard's variables.
type View = BTreeMap<&'static str, String>;

/// Every answer as text that is compared: labels without `instance`, and the value.
type Answer = Vec<String>;

/// Four models with a prediction, in segments by country. No member is taken for gone, however busy
/// the machine: who takes its partitions over reads some records once more.
fn watch_everything(config: &mut Value) {
    config["kafka"]["properties"]["session.timeout.ms"] = json!(45_000);
    let models = config["models"].as_array_mut().expect("a list");
    for model in models {
        model["predictions"] = json!([{"name": "score", "path": "score", "type": "float32"}]);
        model["segments"] =
            json!([{"name": "country", "path": "features.country", "values": ["DE", "FR"]}]);
    }
}

/// A record of the models in turn. The amounts and scores of one move, another one lacks items.
fn record(index: i64, seconds: i64) -> Raw {
    let small = |number: i64| usize::try_from(number).expect("small");
    let (model, turn) = (MODELS[small(index % 4)], index / 4);
    let moved = model == "banana" && MESSAGES / 2 < index;
    let lacks = model == "cherry" && turn % 2 == 0;
    let country = json!(COUNTRIES[small(turn % 3)]);
    let record = json!({
        "model": {"name": model},
        "event_time": seconds,
        "features": {
            "amount": turn % 97 + if moved { 300 } else { 0 },
            "items": if lacks { Value::Null } else { json!(turn % 7) },
            "country": country,
        },
        "score": (turn % 50) as f64 / if moved { 500.0 } else { 50.0 },
    });
    raw(index, &record.to_string())
}

fn raw(index: i64, text: &str) -> Raw {
    let partition = i32::try_from(index / 4 % i64::from(PARTITIONS)).expect("small");
    Raw { partition, key: "k".to_owned(), payload: Some(text.as_bytes().to_vec()) }
}

/// Ten hours, what cannot be read among them; then what is far ahead, and what is late after that.
fn put_everything(job: &Job) {
    let topic = job.topic(TopicRole::Inference);
    let mut records: Vec<Raw> =
        (0..MESSAGES).map(|index| record(index, START + index * 5)).collect();
    let far = (0..i64::from(PARTITIONS)).map(|at| record(at * 4, START + 86_400 * 365));
    records.extend((0..40).map(|at| raw(at * 4, "no JSON")));
    records.extend(far);
    records.extend((0..80).map(|at| record(at, START)));
    // Years after Kafka's own time.
    records.extend((0..16).map(|at| record(at, START + 86_400 * 36_500)));
    topic::put(job.bootstrap(), &topic, &records);
}

fn prepare(job: &Job, config: &Value) -> String {
    job.create_topics();
    let config = job.write(config);
    let mut rows = "event_time,amount,items,country,score\n".to_owned();
    for index in 0..6_000 {
        let country = COUNTRIES[index % COUNTRIES.len()];
        let score = (index % 50) as f64 / 50.0;
        writeln!(rows, "{index},{},{},{country},{score}", index % 97, index % 7)
            .expect("a text grows");
    }
    let input = job.write_file("training.csv", &rows);
    for model in MODELS {
        let output = job.path(&format!("references/{model}-1.json"));
        let build = ["reference", "build", "--config", &config, "--model", model];
        let args = [&build[..], &["--input", &input, "--output", &output]].concat();
        let _built = Driftd::run(&args, &[], DEADLINE).expect_code(0);
    }
    let args = ["check", "--config", &config, "--create-topics"];
    let _checked = Driftd::run(&args, &[], DEADLINE).expect_code(0);
    config
}

/// Has a Prometheus of its own scrape the members, and waits until it has seen what they are now.
fn scrape(members: &[Member]) -> Prometheus {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../alerts/rules/driftd.rules.yaml");
    let prometheus = Prometheus::start(&PrometheusSetup {
        targets: members.iter().map(|it| it.address.clone()).collect(),
        rule_files: vec![rules.canonicalize().expect("the rules are in the repository")],
        alertmanager: None,
    });
    // A rate needs two points of each.
    let query = "min(count_over_time(driftd_build_info[10m]))";
    wait::until("three scrapes", DEADLINE, || {
        let found = ask(&prometheus, query);
        let all = ask(&prometheus, "driftd_build_info").len() == members.len();
        (all && found.first().is_some_and(|it| 3.0 <= it.value)).then_some(())
    });
    prometheus
}

fn ask(prometheus: &Prometheus, query: &str) -> Vec<Sample> {
    prometheus.instant(query).unwrap_or_else(|error| panic!("{query}: {}", error.0))
}

/// The views of a dashboard: its variables one after the other, each from what the ones before it
/// chose, as Grafana does.
fn views(prometheus: &Prometheus, dashboard: &str) -> Vec<View> {
    let mut views = vec![View::from([("__rate_interval", RATE_INTERVAL.to_owned())])];
    views[0].insert("__interval_ms", "3600000".to_owned());
    for query in driftd_dashboards::queries().iter().filter(|it| it.dashboard == dashboard) {
        let Place::Variable { name } = query.place else { continue };
        let chosen = |view: &View| -> Vec<String> {
            let found = ask(prometheus, &filled(&query.expr, view));
            let values: BTreeSet<String> =
                found.iter().filter_map(|it| it.labels.get(name).cloned()).collect();
            let is_of_many = ["job", "instance", "feature"].contains(&name);
            if is_of_many { vec![ALL.to_owned()] } else { values.into_iter().collect() }
        };
        let with = |view: &View, value| {
            let mut view = view.clone();
            view.insert(name, value);
            view
        };
        views = views
            .iter()
            .flat_map(|view| chosen(view).into_iter().map(|value| with(view, value)))
            .collect();
    }
    views
}

fn filled(expr: &str, view: &View) -> String {
    let values: Vec<(&str, &str)> =
        view.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let filled = interpolate(expr, &values);
    assert!(!filled.contains('$'), "{filled}");
    filled
}

/// A rate depends on when was looked: what is the same is the count that it is the rate of.
fn counted(expr: &str) -> String {
    expr.replace("rate(", "last_over_time(").replace("increase(", "last_over_time(")
}

/// Whether an answer is about a process. That a window was evaluated within hours, where it only
/// picks others, is so for all of them.
fn of_a_process(expr: &str) -> bool {
    let picks = format!("time() - {}", metric::LAST_EVALUATION_TIMESTAMP_SECONDS.name);
    let expr = if expr.starts_with(&picks) { expr.into() } else { expr.replace(&picks, "") };
    OF_A_PROCESS.iter().any(|(name, _)| names(&expr, name))
}

/// Whether there is nothing to compare it with.
fn is_of_lanes(expr: &str) -> bool {
    OF_A_PROCESS.iter().any(|(name, why)| *why == LANES && names(expr, name))
}

/// Whether an expression asks for this metric: `driftd_lanes` is not `driftd_lanes_owned`.
fn names(expr: &str, name: &str) -> bool {
    let is_word = |it: char| it.is_ascii_alphanumeric() || it == '_';
    expr.split(|it| !is_word(it)).any(|word| {
        let rest = word.strip_prefix(name);
        rest.is_some_and(|rest| ["", "_bucket", "_count", "_sum"].contains(&rest))
    })
}

/// Labels and values, whichever process they are of.
fn answer(samples: &[Sample], with_values: bool) -> Answer {
    let text = |sample: &Sample| {
        let mut labels = sample.labels.clone();
        labels.remove("instance");
        if with_values { format!("{labels:?} {}", sample.value) } else { format!("{labels:?}") }
    };
    // One process that works alone passes nothing on.
    let is_read =
        |it: &&Sample| it.labels.get("topic").is_none_or(|topic| !topic.ends_with(".partials"));
    let mut answer: Answer = samples.iter().filter(is_read).map(text).collect();
    answer.sort_unstable();
    answer
}

/// Both servers, and what was found to be other than it should be.
struct Comparison<'a> {
    shared: &'a Prometheus,
    alone: &'a Prometheus,
    faults: Vec<String>,
    /// Expressions that had an answer in some view.
    answered: BTreeSet<String>,
}

impl Comparison<'_> {
    /// Compares the answers to one query; `expr` is as the dashboard or rule has it.
    fn compare(&mut self, expr: &str, view: &View) {
        let query = filled(expr, view);
        let as_asked = ask(self.shared, &query);
        if !as_asked.is_empty() {
            self.answered.insert(expr.to_owned());
        }
        if of_a_process(expr) {
            let alone = ask(self.alone, &query);
            self.compare_shapes(&query, &as_asked, &alone);
            return;
        }
        let counted = counted(&query);
        let (shared, alone) = (ask(self.shared, &counted), ask(self.alone, &counted));
        self.same(&counted, &answer(&shared, true), &answer(&alone, true));
        if is_rate(&query) {
            self.same(&query, &answer(&as_asked, false), &answer(&shared, false));
        }
    }

    /// One series a process where the expression tells them apart, and else the same ones.
    fn compare_shapes(&mut self, query: &str, shared: &[Sample], alone: &[Sample]) {
        let mut found: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for sample in shared {
            let labels = answer(std::slice::from_ref(sample), false).concat();
            let instance = sample.labels.get("instance").map_or("", String::as_str);
            if !found.entry(labels).or_default().insert(instance) {
                self.faults.push(format!("{query}: twice of one process: {sample:?}"));
            }
        }
        if !is_of_lanes(query) {
            let labels: Answer = found.into_keys().collect();
            self.same(query, &labels, &answer(alone, false));
        }
    }

    fn same(&mut self, query: &str, shared: &Answer, alone: &Answer) {
        if shared != alone {
            self.faults.push(format!("{query}:\n  shared {shared:#?}\n  alone {alone:#?}"));
        }
    }

    /// Every query of a dashboard, in every view of it.
    fn compare_dashboard(&mut self, dashboard: &str) {
        let queries = driftd_dashboards::queries();
        let views = [self.shared, self.alone].map(|it| views(it, dashboard));
        if views[0] != views[1] {
            self.faults.push(format!("{dashboard}: other choices: {views:#?}"));
        }
        for view in &views[0] {
            for query in queries.iter().filter(|it| it.dashboard == dashboard) {
                if !matches!(query.place, Place::Variable { .. }) {
                    self.compare(&query.expr, view);
                }
            }
        }
    }

    /// Every rule, and both sides of what it compares: most rules have no answer where all is well.
    fn compare_rules(&mut self) {
        for rule in driftd_alerts::rules::rules() {
            let expr = parse(&rule.expr).unwrap_or_else(|error| panic!("{}: {error}", rule.alert));
            let mut sides = Vec::new();
            sides_of(&expr, &mut sides);
            for side in sides {
                self.compare(&side, &View::new());
            }
        }
    }
}

fn is_rate(query: &str) -> bool {
    query.contains("rate(") && !query.contains("histogram_quantile")
}

/// An expression, and those that it compares or combines.
fn sides_of(expr: &Expr, found: &mut Vec<String>) {
    found.push(expr.to_string());
    if let Expr::Binary(binary) = expr
        && (binary.op.is_comparison_operator() || binary.op.is_set_operator())
    {
        sides_of(&binary.lhs, found);
        sides_of(&binary.rhs, found);
    }
}

#[test]
fn dashboards_and_rules_say_of_three_processes_what_they_say_of_one() {
    let job = Job::new("aggregates");
    let mut config = shared(&job);
    watch_everything(&mut config);
    let together = prepare(&job, &config);
    let mut config = whole(&job);
    watch_everything(&mut config);
    let one = job.write_file("whole.yaml", &config.to_string());
    let mut members: Vec<Member> = (0..MEMBERS).map(|_| Member::start(&together, &[])).collect();
    // What is read before the group has settled is read by two of them.
    wait::until("each has its part", DEADLINE, || {
        let statuses: Vec<Value> = members.iter().map(Member::status).collect();
        let has_some = |what| statuses.iter().all(|it| !owned(it, what).is_empty());
        (has_some("partitions") && has_some("lanes")).then_some(())
    });
    settle(&mut members, "three members");
    let alone = [Member::start(&one, &[])];
    let servers = [scrape(&members), scrape(&alone)];
    put_everything(&job);
    let dashboards: BTreeSet<&str> =
        driftd_dashboards::queries().iter().map(|it| it.dashboard).collect();
    let mut found = (Vec::new(), BTreeSet::new());
    let same = wait::for_value(DEADLINE, || {
        let windows = closed(&alone);
        if windows < HOURS * 4 || closed(&members) != windows {
            found.0 = vec![format!("windows: {} instead of {windows}", closed(&members))];
            return None;
        }
        let [shared, alone] = &servers;
        let faults = Vec::new();
        let mut comparison = Comparison { shared, alone, faults, answered: BTreeSet::new() };
        for dashboard in &dashboards {
            comparison.compare_dashboard(dashboard);
        }
        comparison.compare_rules();
        found = (comparison.faults, comparison.answered);
        found.0.is_empty().then_some(())
    });
    assert!(same.is_some(), "{} differ:\n{}", found.0.len(), found.0.join("\n"));
    let asked: BTreeSet<String> = driftd_dashboards::queries()
        .into_iter()
        .filter(|it| !matches!(it.place, Place::Variable { .. }))
        .map(|it| it.expr)
        .filter(|it| !is_of_labels_or_changes(it))
        .collect();
    let silent: Vec<&String> = asked.difference(&found.1).collect();
    assert_eq!(silent, Vec::<&String>::new());
    for member in members.into_iter().chain(alone) {
        let _ended = member.daemon.terminate(DEADLINE).expect_code(0);
    }
}

fn closed(members: &[Member]) -> i64 {
    let all = members.iter().map(Member::status);
    all.filter_map(|it| it["totals"]["windows_closed"].as_i64()).sum()
}
