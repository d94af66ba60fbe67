//! Processes that share a topic: they come and go, one is killed, one hangs and comes back.
//! Together they say what one process says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use driftd_fixtures::driftd::Driftd;
use driftd_fixtures::prometheus::{Prometheus, PrometheusSetup};
use driftd_fixtures::trials::rounds;
use driftd_fixtures::{http, wait};
use driftd_tests::crash::{self, Place};
use driftd_tests::job::{COUNTRIES, Job, PARTITIONS, START, TopicRole, close_by_event_time};
use driftd_tests::reader::{Reader, Record};
use driftd_tests::topic::{self, Raw};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_mins(2);

pub(crate) const MODELS: [&str; 4] = ["apple", "banana", "cherry", "date"];
/// Messages of one round of the processes that end at a named place.
const SHORT_ROUND: i64 = 2_880;

/// Messages that close a window of each model.
const HOUR: i64 = 720;

/// Places between the steps of both halves.
const CRASHES: [&str; 10] = [
    "sharing.filled",
    "sharing.flushed",
    "sharing.positioned",
    "sharing.committed",
    "lanes.restored",
    "lanes.filled",
    "lanes.flushed",
    "lanes.positioned",
    "lanes.committed",
    "consumer.assigned",
];

/// The same for a long run, each at its first time and at all later ones up to this one.
const LONG_CRASHES: [Place; 10] = [
    ("sharing.filled", 8),
    ("sharing.flushed", 8),
    ("sharing.positioned", 8),
    ("sharing.committed", 8),
    ("lanes.restored", 1),
    ("lanes.filled", 8),
    ("lanes.flushed", 8),
    ("lanes.positioned", 8),
    ("lanes.committed", 8),
    ("consumer.assigned", 1),
];

/// Messages put in between two changes of the group.
pub(crate) const ROUND: i64 = 7_200;
const ROUNDS: i64 = 4;
const LANES: usize = 3;

/// Records five seconds apart; the amounts of one model move in the second half.
fn record(index: i64, moves_at: i64) -> Raw {
    let has_moved = index % 4 == 1 && moves_at < index;
    message(index, START + index * 5, index / 4 % 97 + if has_moved { 300 } else { 0 })
}

pub(crate) fn message(index: i64, seconds: i64, amount: i64) -> Raw {
    let small = |number: i64| usize::try_from(number).expect("small");
    let record = json!({
        "model": {"name": MODELS[small(index % 4)]},
        "event_time": seconds,
        "features": {
            "amount": amount,
            "items": index / 4 % 7,
            "country": COUNTRIES[small(index / 4 % 3)],
        },
    });
    let partition = i32::try_from(index / 4 % i64::from(PARTITIONS)).expect("small");
    Raw { partition, key: "k".to_owned(), payload: Some(record.to_string().into_bytes()) }
}

/// The job's configuration with four models.
pub(crate) fn config(job: &Job) -> Value {
    let mut config = job.config();
    config["kafka"]["properties"] = json!({"session.timeout.ms": 6_000});
    close_by_event_time(&mut config);
    let model = config["models"][0].clone();
    let named = |name: &&str| {
        let mut model = model.clone();
        model["name"] = json!(name);
        model
    };
    config["models"] = MODELS.iter().map(named).collect();
    config
}

pub(crate) fn shared(job: &Job) -> Value {
    let mut config = config(job);
    config["scale_out"] = json!({"lanes": LANES, "replicas": 1, "commit_interval": "200ms"});
    config
}

/// The same for one process, with names of its own for what it writes.
pub(crate) fn whole(job: &Job) -> Value {
    let mut config = config(job);
    let other = |role| format!("{}.whole", job.topic(role));
    config["name"] = json!(format!("{}-whole", config["name"].as_str().expect("text")));
    config["outputs"]["results_topic"] = json!(other(TopicRole::Results));
    config["retraining"]["topic"] = json!(other(TopicRole::Retraining));
    config["retraining"]["status_topic"] = json!(other(TopicRole::Status));
    for role in [TopicRole::Results, TopicRole::Retraining, TopicRole::Status] {
        topic::create(job.bootstrap(), &other(role), 1, &[]);
    }
    config
}

/// One of the processes.
pub(crate) struct Member {
    pub(crate) daemon: Driftd,
    pub(crate) address: String,
    status: String,
}

impl Member {
    pub(crate) fn start(config: &str, env: &[(&str, &str)]) -> Self {
        let args = ["run", "--config", config, "--log-format", "json"];
        let mut daemon = Driftd::start(&args, env);
        let address = daemon.wait_for_address(DEADLINE);
        let status = format!("http://{address}/api/v1/status");
        Self { daemon, address, status }
    }

    pub(crate) fn status(&self) -> Value {
        http::get(&self.status).map_or(Value::Null, |response| response.json())
    }
}

pub(crate) fn owned(status: &Value, what: &str) -> Vec<i64> {
    let all = match what {
        "partitions" => &status["sources"][0]["partitions"],
        _ => &status["lanes"],
    };
    let number = |it: &Value| it["partition"].as_i64().or(it["lane"].as_i64()).expect("a number");
    all.as_array().into_iter().flatten().map(number).collect()
}

/// Waits until the members own everything, each thing once.
pub(crate) fn settle(members: &mut [Member], what: &str) {
    let everything = |what: &str, count: usize, statuses: &[Value]| {
        let mut all: Vec<i64> = statuses.iter().flat_map(|it| owned(it, what)).collect();
        all.sort_unstable();
        all == (0..i64::try_from(count).expect("small")).collect::<Vec<_>>()
    };
    let partitions = usize::try_from(PARTITIONS).expect("small");
    let mut seen = Vec::new();
    let settled = wait::for_value(DEADLINE, || {
        seen = members.iter().map(Member::status).collect();
        (everything("partitions", partitions, &seen) && everything("lanes", LANES, &seen))
            .then_some(())
    });
    if settled.is_none() {
        let reports: Vec<String> = members.iter_mut().map(|it| it.daemon.report()).collect();
        panic!("{what}: {seen:#?}\n{}", reports.join("\n"));
    }
}

/// Waits until all windows are closed; returns the digest of all members. A lane that moves may be
/// seen in two of them, or in none.
fn finish(members: &mut [Member], windows: i64) -> u128 {
    let mut seen = Vec::new();
    let digest = wait::for_value(DEADLINE, || {
        seen = members.iter().map(Member::status).collect();
        let closed = seen.iter().filter_map(|it| it["totals"]["windows_closed"].as_i64());
        let digests = seen.iter().map(|it| {
            u128::from_str_radix(it["digest"].as_str().unwrap_or("0"), 16).expect("a digest")
        });
        let lanes: Vec<i64> = seen.iter().flat_map(|it| owned(it, "lanes")).collect();
        let each_once: BTreeSet<i64> = lanes.iter().copied().collect();
        let is_settled = lanes.len() == each_once.len() && [0, LANES].contains(&lanes.len());
        (is_settled && closed.sum::<i64>() == windows)
            .then(|| digests.fold(0_u128, u128::wrapping_add))
    });
    digest.unwrap_or_else(|| {
        let reports: Vec<String> = members.iter_mut().map(|it| it.daemon.report()).collect();
        panic!("{windows} windows: {seen:#?}\n{}", reports.join("\n"));
    })
}

/// Waits until each member knows who owns what it does not own itself.
fn see_owners(members: &[Member]) {
    let of = |status: &Value, what: &str, whose: &str| {
        let all = match (what, whose) {
            ("partition", "own") => &status["sources"][0]["partitions"],
            ("partition", _) => &status["sources"][0]["elsewhere"],
            (_, "own") => &status["lanes"],
            (_, _) => &status["lanes_elsewhere"],
        };
        let owner = |it: &Value| (it[what].as_i64(), it["owner"].clone());
        all.as_array().into_iter().flatten().map(owner).collect::<BTreeMap<_, _>>()
    };
    wait::until("each member knows the owners of the others", DEADLINE, || {
        let seen: Vec<Value> = members.iter().map(Member::status).collect();
        let knows = ["partition", "lane"].iter().all(|what| {
            let own = seen.iter().map(|status| of(status, what, "own"));
            let owners: BTreeMap<_, _> = own.flatten().collect();
            seen.iter().all(|status| {
                let mut known = of(status, what, "others");
                known.extend(of(status, what, "own"));
                known == owners
            })
        });
        let instances: BTreeSet<String> =
            seen.iter().map(|status| status["instance"].to_string()).collect();
        (knows && instances.len() == members.len()).then_some(())
    });
}

/// Each member has the windows of its models, and knows who has those of the others.
fn see_windows(members: &[Member]) {
    let answers: Vec<(Value, Value)> = members
        .iter()
        .map(|member| {
            let url = format!("http://{}/api/v1/windows", member.address);
            let answer = http::get(&url).expect("HTTP is served").json();
            (member.status()["instance"].clone(), answer)
        })
        .collect();
    let all = |answer: &Value, what: &str| answer[what].as_array().cloned().expect("a list");
    for model in MODELS {
        let is_of = |it: &Value| it["model"] == *model;
        let (others, own): (Vec<_>, Vec<_>) =
            answers.iter().partition(|(_, answer)| all(answer, "elsewhere").iter().any(is_of));
        let [(owner, answer)] = &own[..] else { panic!("{model}: {answers:#?}") };
        let windows: Vec<Value> = all(answer, "windows").into_iter().filter(is_of).collect();
        assert!(!windows.is_empty(), "{model}: {answer:#}");
        for window in windows {
            assert_eq!(all(&window, "partitions").len(), 4, "{window:#}");
        }
        for (_, answer) in others {
            assert!(!all(answer, "windows").iter().any(is_of), "{model}: {answer:#}");
            let named = all(answer, "elsewhere").into_iter().find(is_of).expect("it is told");
            assert_eq!(named["owner"], *owner, "{model}: {answer:#}");
        }
    }
}

/// Has Prometheus scrape all members: sums over them must not count a model or a partition twice.
fn see_each_thing_once(members: &[Member]) {
    let prometheus = Prometheus::start(&PrometheusSetup {
        targets: members.iter().map(|it| it.address.clone()).collect(),
        rule_files: Vec::new(),
        alertmanager: None,
    });
    let models = MODELS.len();
    let each_once = [
        ("count(up == 1)", members.len()),
        ("sum(driftd_kafka_assigned_partitions)", 4),
        ("count(driftd_kafka_consumer_lag_records == 0)", 4),
        ("sum(driftd_lanes_owned)", LANES),
        ("max(driftd_lanes)", LANES),
        ("count(driftd_model_drift_state{segment=\"all\"})", models),
        ("count(driftd_model_last_evaluation_timestamp_seconds)", models),
        ("sum(driftd_tracked_features)", models * 3),
        ("sum(driftd_features)", models * 3),
        ("count(driftd_feature_psi)", models * 3),
    ];
    for (query, expected) in each_once {
        let what = format!("{query} is {expected}");
        wait::until(&what, DEADLINE, || {
            let found = prometheus.instant(query).expect("a valid query");
            matches!(&found[..], [one] if one.value == expected as f64).then_some(())
        });
    }
    let unowned = "max(driftd_lanes) > sum(driftd_lanes_owned)";
    assert_eq!(prometheus.instant(unowned).expect("a valid query").len(), 0);
}

fn read(job: &Job, topic: &str) -> Vec<Value> {
    Reader::open(job.bootstrap(), topic, 1).all().iter().map(Record::json).collect()
}

/// How often each line of results is there.
fn lines(records: Vec<Value>) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    for line in records {
        *lines.entry(line.to_string()).or_insert(0) += 1;
    }
    lines
}

fn ids(records: &[Value]) -> Vec<String> {
    let mut ids: Vec<String> = records.iter().map(|event| event["id"].to_string()).collect();
    ids.sort_unstable();
    ids
}

/// Prepares the job: its topics, references and configuration.
pub(crate) fn prepare(job: &Job, config: &Value) -> String {
    job.create_topics();
    let config = job.write(config);
    job.build_references(&config, &MODELS, DEADLINE);
    let args = ["check", "--config", &config, "--create-topics"];
    let checked = Driftd::run(&args, &[], DEADLINE).expect_code(0);
    let is_shared = checked.stdout.contains("3 lanes");
    assert_eq!(checked.stdout.contains(".state: created"), is_shared, "{}", checked.stdout);
    config
}

pub(crate) fn put(job: &Job, rounds: std::ops::Range<i64>, moves_at: i64) {
    let records: Vec<Raw> = rounds.map(|index| record(index, moves_at)).collect();
    topic::put(job.bootstrap(), &job.topic(TopicRole::Inference), &records);
}

/// Lets event time pass every window.
fn put_far(job: &Job) {
    let far = |partition: i64| message(partition * 4, START + 86_400 * 365, 1);
    let far: Vec<Raw> = (0..i64::from(PARTITIONS)).map(far).collect();
    topic::put(job.bootstrap(), &job.topic(TopicRole::Inference), &far);
}

/// How many windows so many records lie in.
fn windows_of(messages: i64) -> i64 {
    messages * 5 / 3_600 * i64::try_from(MODELS.len()).expect("small")
}

/// Lets the members and one process alone come to the end, and compares what they say.
pub(crate) fn compare(
    job: &Job,
    mut members: Vec<Member>,
    messages: i64,
    look: impl Fn(&[Member]),
) {
    put_far(job);
    let windows = windows_of(messages);
    let digest = finish(&mut members, windows);
    look(&members);
    let one = job.write_file("whole.yaml", &whole(job).to_string());
    let mut alone = [Member::start(&one, &[])];
    let expected = finish(&mut alone, windows);
    for member in members.into_iter().chain(alone) {
        let _ended = member.daemon.terminate(DEADLINE).expect_code(0);
    }
    let (results, requests) = (job.topic(TopicRole::Results), job.topic(TopicRole::Retraining));
    let shared = lines(read(job, &results));
    assert_eq!(shared.values().copied().collect::<BTreeSet<_>>(), BTreeSet::from([1]));
    assert_eq!(shared, lines(read(job, &format!("{results}.whole"))));
    assert_eq!(digest, expected);
    let shared = ids(&read(job, &requests));
    assert!(!shared.is_empty());
    assert_eq!(shared, ids(&read(job, &format!("{requests}.whole"))));
}

#[test]
fn processes_that_come_and_go_say_what_one_says() {
    let job = Job::new("scale-out");
    let early = job.write(&shared(&job));
    let refused = Driftd::run(&["run", "--config", &early], &[], DEADLINE).expect_code(1);
    assert!(refused.stderr.contains("driftd check --create-topics"), "{}", refused.stderr);
    let config = prepare(&job, &shared(&job));
    let put = |round: i64| put(&job, round * ROUND..(round + 1) * ROUND, ROUND * ROUNDS / 2);
    let mut members: Vec<Member> = (0..3).map(|_| Member::start(&config, &[])).collect();
    put(0);
    settle(&mut members, "three members");
    put(1);
    let _killed = members.remove(0).daemon.kill(DEADLINE);
    members.push(Member::start(&config, &[]));
    settle(&mut members, "one was killed, one has come");
    put(2);
    let _left = members.remove(0).daemon.terminate(DEADLINE).expect_code(0);
    settle(&mut members, "one has left");
    members[0].daemon.pause();
    put(3);
    settle(&mut members[1..], "one hangs");
    members[0].daemon.resume();
    settle(&mut members, "it is back");
    members.push(Member::start(&config, &[]));
    settle(&mut members, "three again");
    see_owners(&members);
    see_windows(&members);
    compare(&job, members, ROUND * ROUNDS, see_each_thing_once);
}

/// One member with a name, so that the next one of that name takes over at once.
#[test]
fn a_member_that_ends_at_any_named_place_says_everything_once() {
    let job = Job::new("scale-out-crash");
    let mut shared = shared(&job);
    shared["kafka"]["instance"] = json!("only");
    let config = prepare(&job, &shared);
    let places = rounds(CRASHES.map(str::to_owned).into(), crash::every_time(&LONG_CRASHES));
    let moves_at = SHORT_ROUND * i64::try_from(places.len()).expect("few") / 2;
    let mut messages = 0;
    let mut put = |count: i64| {
        put(&job, messages..messages + count, moves_at);
        messages += count;
    };
    for place in places {
        put(SHORT_ROUND);
        let args = ["run", "--config", &config, "--log-format", "json"];
        let daemon = Driftd::start(&args, &[("DRIFTD_FAILPOINT", &place)]);
        let ended = crash::wait(daemon, &place, || put(HOUR));
        assert_eq!(ended.code, None, "{place}: {}", ended.stderr);
    }
    compare(&job, vec![Member::start(&config, &[])], messages, |_| {});
}

const PASSED_ON: &str = "scale-out-damaged.passed-on";
const KEPT: &str = "scale-out-damaged.state";

/// Partitions 0 and 3 keep their state beside that of lane 0.
#[test]
fn what_is_damaged_stands_still_and_the_others_go_on() {
    let job = Job::new("scale-out-damaged");
    let mut shared = shared(&job);
    shared["scale_out"]["partials_topic"] = json!(PASSED_ON);
    shared["scale_out"]["state_topic"] = json!(KEPT);
    let config = prepare(&job, &shared);
    let damage = Raw { partition: 0, key: "?".to_owned(), payload: Some(b"?".to_vec()) };
    topic::put(job.bootstrap(), KEPT, &[damage]);
    put(&job, 0..ROUND, ROUND);
    let member = Member::start(&config, &[]);
    let mut seen = Value::Null;
    let stands = wait::for_value(DEADLINE, || {
        seen = member.status();
        let partitions = seen["sources"][0]["partitions"].as_array()?;
        let is_read = partitions.iter().all(|it| it["lag"].as_i64() == Some(0));
        let owned = [owned(&seen, "partitions"), owned(&seen, "lanes")];
        (is_read && owned == [[1, 2], [1, 2]]).then_some(())
    });
    assert!(stands.is_some(), "{seen:#?}");
    let ready = http::get(&format!("http://{}/readyz", member.address)).expect("HTTP is served");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("partition 3 of topic"), "{}", ready.body);
    assert!(ready.body.contains("damaged"), "{}", ready.body);
    let metrics = http::get(&format!("http://{}/metrics", member.address)).expect("HTTP is served");
    for (topic, count) in [(job.topic(TopicRole::Inference), 2), (PASSED_ON.to_owned(), 1)] {
        let line = format!("driftd_kafka_stalled_partitions{{topic=\"{topic}\"}} {count}");
        assert!(metrics.body.lines().any(|it| it == line), "{line}: {}", metrics.body);
    }
    let _ended = member.daemon.terminate(DEADLINE).expect_code(0);
}

/// The topics of outputs refuse them all for their size.
#[test]
fn outputs_that_are_refused_are_left_out_and_counted() {
    let job = Job::new("scale-out-refused");
    let mut shared = shared(&job);
    shared["outputs"]["results_topic"] = json!(SMALL[0]);
    shared["retraining"]["topic"] = json!(SMALL[1]);
    let small = [("max.message.bytes", "200")];
    for topic in SMALL {
        topic::create(job.bootstrap(), topic, 1, &small);
    }
    let config = prepare(&job, &shared);
    put(&job, 0..ROUND, ROUND / 2);
    put_far(&job);
    let mut members = [Member::start(&config, &[])];
    let windows = windows_of(ROUND);
    let _digest = finish(&mut members, windows);
    let metrics = format!("http://{}/metrics", members[0].address);
    let lines = format!("driftd_result_lines_total{{outcome=\"failed\"}} {}", windows * 3);
    let mut seen = String::new();
    let counted = wait::for_value(DEADLINE, || {
        seen = http::get(&metrics).ok()?.body;
        let has = |line: &str| seen.lines().any(|it| it.starts_with(line));
        (has(&lines) && has("driftd_retrain_events_total{")).then_some(())
    });
    assert!(counted.is_some(), "{seen}\n{}", members[0].daemon.report());
    let is_event = |line: &&str| line.starts_with("driftd_retrain_events_total{");
    let event = |outcome: &str| -> f64 {
        let outcome = format!("outcome=\"{outcome}\"");
        let all = seen.lines().filter(is_event).filter(|line| line.contains(&outcome));
        all.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    assert!(0.0 < event("failed"), "{seen}");
    assert!(event("published") == 0.0, "{seen}");
    assert_eq!(members[0].status()["totals"]["retrain_published"], 0);
    for member in members {
        let _ended = member.daemon.terminate(DEADLINE).expect_code(0);
    }
    for topic in SMALL {
        assert_eq!(read(&job, topic).len(), 0);
    }
}

const SMALL: [&str; 2] = ["scale-out-refused.lines", "scale-out-refused.events"];

/// A topic takes each line, and not several in one batch.
#[test]
fn lines_that_are_refused_together_are_sent_one_by_one() {
    let job = Job::new("scale-out-narrow");
    let mut shared = shared(&job);
    shared["outputs"]["results_topic"] = json!(NARROW);
    topic::create(job.bootstrap(), NARROW, 1, &[("max.message.bytes", "4000")]);
    let config = prepare(&job, &shared);
    put(&job, 0..ROUND, ROUND / 2);
    put_far(&job);
    let mut members = [Member::start(&config, &[])];
    let windows = windows_of(ROUND);
    let _digest = finish(&mut members, windows);
    members[0].daemon.wait_for_stderr("in batches of one", DEADLINE);
    let lines = usize::try_from(windows * 3).expect("small");
    let mut found = 0;
    let are_there = wait::for_value(DEADLINE, || {
        found = read(&job, NARROW).len();
        (found == lines).then_some(())
    });
    assert!(are_there.is_some(), "{found} of {lines}: {}", members[0].daemon.report());
    for member in members {
        let _ended = member.daemon.terminate(DEADLINE).expect_code(0);
    }
}

const NARROW: &str = "scale-out-narrow.lines";

/// State may not be left out: what cannot be kept is not passed.
#[test]
fn state_that_is_refused_stands_still_until_its_topic_takes_it() {
    let job = Job::new("scale-out-small");
    let mut shared = shared(&job);
    shared["scale_out"]["state_topic"] = json!(TIGHT);
    let config = prepare(&job, &shared);
    let takes = |bytes: &str| {
        let settings = [("max.message.bytes", bytes), ("cleanup.policy", "compact")];
        topic::set(job.bootstrap(), TIGHT, &settings);
    };
    takes("200");
    put(&job, 0..SHORT_ROUND, SHORT_ROUND);
    let mut member = Member::start(&config, &[]);
    let ready = format!("http://{}/readyz", member.address);
    let mut seen = String::new();
    let told = wait::for_value(DEADLINE, || {
        seen = http::get(&ready).ok()?.body;
        let is_told = ["partition 0 of topic", TIGHT, "bytes (", "raise `max.message.bytes`"];
        is_told.iter().all(|words| seen.contains(words)).then_some(())
    });
    assert!(told.is_some(), "{seen}\n{}", member.daemon.report());
    takes("1000000");
    wait::until("it goes on", DEADLINE, || {
        let status = member.status();
        let is_ready = http::get(&ready).is_ok_and(|it| it.status == 200);
        (is_ready && owned(&status, "partitions").len() == 4 && status["lag"] == 0).then_some(())
    });
    let _ended = member.daemon.terminate(DEADLINE).expect_code(0);
}

const TIGHT: &str = "scale-out-small.state";

/// The topic through which readers tell is made anew: what lanes have not read is gone.
#[test]
fn a_lane_whose_rows_are_gone_stands_still_and_says_so() {
    let job = Job::new("scale-out-gone");
    let mut shared = shared(&job);
    shared["scale_out"]["partials_topic"] = json!(GONE);
    let config = prepare(&job, &shared);
    put(&job, 0..SHORT_ROUND, SHORT_ROUND);
    let mut members = [Member::start(&config, &[])];
    settle(&mut members, "the first one");
    wait::until("lanes read rows", DEADLINE, || {
        let status = members[0].status();
        let lanes = status["lanes"].as_array()?;
        lanes.iter().all(|lane| 0 < lane["next_offset"].as_i64().unwrap_or(0)).then_some(())
    });
    for member in members {
        let _ended = member.daemon.terminate(DEADLINE).expect_code(0);
    }
    topic::delete(job.bootstrap(), GONE);
    let args = ["check", "--config", &config, "--create-topics"];
    wait::until("the topic is made anew", DEADLINE, || {
        let checked = Driftd::run(&args, &[], DEADLINE);
        checked.stdout.contains("passed-on: created").then_some(())
    });
    let mut member = Member::start(&config, &[]);
    let ready = format!("http://{}/readyz", member.address);
    let mut seen = String::new();
    let told = wait::for_value(DEADLINE, || {
        seen = http::get(&ready).ok()?.body;
        let all = (0..LANES).all(|lane| seen.contains(&format!("partition {lane} of topic")));
        (all && seen.contains("is not in the log") && owned(&member.status(), "lanes").is_empty())
            .then_some(())
    });
    assert!(told.is_some(), "{seen}\n{}", member.daemon.report());
    let _ended = member.daemon.terminate(DEADLINE).expect_code(0);
}

const GONE: &str = "scale-out-gone.passed-on";

#[test]
fn of_two_processes_of_one_name_the_one_that_came_first_ends() {
    let job = Job::new("scale-out-twins");
    let mut shared = shared(&job);
    shared["kafka"]["instance"] = json!("twin");
    let config = prepare(&job, &shared);
    let mut first = [Member::start(&config, &[])];
    settle(&mut first, "the first one");
    let mut second = [Member::start(&config, &[])];
    let [first] = first;
    let ended = first.daemon.wait(DEADLINE).expect_code(1);
    assert!(ended.stderr.contains("has the same `kafka.instance`"), "{}", ended.stderr);
    settle(&mut second, "the second one");
    put(&job, 0..SHORT_ROUND, SHORT_ROUND);
    wait::until("the second one reads", DEADLINE, || {
        (second[0].status()["totals"]["messages"] == SHORT_ROUND).then_some(())
    });
    for member in second {
        let _ended = member.daemon.terminate(DEADLINE).expect_code(0);
    }
}
