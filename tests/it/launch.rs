//! `driftd launch`: jobs that fail, hang, come too often or all at once. The job that goes well is
//! in `main_job`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use driftd_catalog::event::ModelRef;
use driftd_fixtures::driftd::Driftd;
use driftd_fixtures::wait;
use driftd_tests::job::{Job, TopicRole};
use driftd_tests::topic::{self, Raw};
use serde_json::{Value, json};

use crate::events::requested;

const DEADLINE: Duration = Duration::from_mins(2);

/// A job that runs until there is a file `go`, or until the test has ended and its folder is gone.
const UNTIL_GO: &str = "echo ran >> runs; while [ -e runs ] && ! [ -e go ]; do sleep 0.05; done";

/// Sends one request.
fn request(job: &Job, id: &str, model: &str) {
    send(job, model, request_of(id, model));
}

fn request_of(id: &str, model: &str) -> Vec<u8> {
    let mut event = requested();
    id.clone_into(&mut event.id);
    event.expirytime = None;
    event.data.model = ModelRef { name: model.into(), version: "1".into() };
    event.to_json()
}

fn send(job: &Job, key: &str, payload: Vec<u8>) {
    let message = Raw { partition: 0, key: key.to_owned(), payload: Some(payload) };
    topic::put(job.bootstrap(), &job.topic(TopicRole::Retraining), &[message]);
}

/// Starts a launcher of a job with these settings beside the command, which runs `script`.
fn launch(job: &Job, script: &str, settings: &[(&str, Value)]) -> Driftd {
    job.create_topics();
    job.write_file("job.sh", script);
    let mut config = job.config();
    config["launcher"]["working_directory"] = json!(".");
    for (key, value) in settings {
        config["launcher"][key] = value.clone();
    }
    Driftd::start(&["launch", "--config", &job.write(&config)], &[])
}

/// Waits for `count` reports, and returns their data.
fn reports(job: &Job, count: usize) -> Vec<Value> {
    let mut reader = job.reader(TopicRole::Status);
    let what = format!("{count} reports");
    let records = reader.until(&what, DEADLINE, |records| count <= records.len());
    records.iter().map(|record| record.json()["data"].clone()).collect()
}

fn steps(reports: &[Value]) -> Vec<(&str, &str)> {
    reports
        .iter()
        .map(|report| {
            let text = |key: &str| report[key].as_str().expect("a text");
            (text("request_id"), text("state"))
        })
        .collect()
}

/// Waits until the job of the only request, `rt-a`, has failed, and returns that report.
fn failure(job: &Job) -> Value {
    let mut reports = reports(job, 3);
    let expected = [("rt-a", "accepted"), ("rt-a", "started"), ("rt-a", "failed")];
    assert_eq!(steps(&reports), expected);
    reports.pop().expect("there are three")
}

/// Whether a process runs; one that has ended and that nobody has waited for does not.
fn is_running(pid: &str) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(pid).join("status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

#[test]
fn a_failing_command_is_reported_with_its_exit_code() {
    let job = Job::new("launch-failing");
    let launcher = launch(&job, "exit 3", &[]);
    request(&job, "rt-a", "a");
    let failed = failure(&job);
    assert_eq!(failed["exit_code"], 3);
    let reason = failed["reason"].as_str().expect("a failure has a reason");
    assert!(reason.contains("the command ended with exit status: 3"), "{reason}");
    let _ended = launcher.terminate(DEADLINE).expect_code(0);
}

#[test]
fn a_command_that_cannot_start_is_reported_with_what_to_do() {
    let job = Job::new("launch-absent");
    let settings = [("command", json!(["/no/such/program"]))];
    let launcher = launch(&job, "", &settings);
    request(&job, "rt-a", "a");
    let failed = failure(&job);
    let reason = failed["reason"].as_str().expect("a failure has a reason");
    assert!(reason.contains("/no/such/program") && reason.contains("launcher.command"), "{reason}");
    let _ended = launcher.terminate(DEADLINE).expect_code(0);
}

#[test]
fn a_job_over_its_time_is_stopped_with_its_children() {
    let job = Job::new("launch-timeout");
    // The second child does not listen to the first, polite signal.
    let script = "\
sleep 600 & echo $! > polite
(trap '' TERM; exec sleep 600) & echo $! > stubborn
echo $$ > leader
wait
";
    let launcher = launch(&job, script, &[("timeout", json!("1s"))]);
    request(&job, "rt-a", "a");
    let failed = failure(&job);
    let reason = failed["reason"].as_str().expect("a failure has a reason");
    assert!(reason.contains("longer than `launcher.timeout`"), "{reason}");
    for name in ["leader", "polite", "stubborn"] {
        let pid = fs::read_to_string(job.path(name)).expect("the job has written its ids");
        let ended = wait::for_value(DEADLINE, || (!is_running(pid.trim())).then_some(()));
        assert!(ended.is_some(), "the {name} process still runs");
    }
    let _ended = launcher.terminate(DEADLINE).expect_code(0);
}

#[test]
fn a_second_request_within_the_cooldown_is_rejected() {
    let job = Job::new("launch-cooldown");
    let launcher = launch(&job, "exit 0", &[("cooldown", json!("1h"))]);
    request(&job, "rt-a", "a");
    request(&job, "rt-b", "a");
    // Another model is not held back.
    request(&job, "rt-c", "c");
    let reports = reports(&job, 8);
    let of = |id: &str| {
        let all = steps(&reports).into_iter().filter(|(it, _)| *it == id);
        all.map(|(_, state)| state.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("rt-a"), ["accepted", "started", "succeeded"]);
    assert_eq!(of("rt-b"), ["accepted", "rejected"]);
    assert_eq!(of("rt-c"), ["accepted", "started", "succeeded"]);
    let rejected = reports.iter().find(|it| it["state"] == "rejected").expect("one is");
    let reason = rejected["reason"].as_str().expect("a rejection has a reason");
    assert!(reason.contains("cooldown ends at"), "{reason}");
    let _ended = launcher.terminate(DEADLINE).expect_code(0);
}

#[test]
fn jobs_over_the_limit_wait_for_their_turn() {
    let job = Job::new("launch-limit");
    // Every job waits for the same file. The pause only keeps the loop from spinning.
    let script = "until [ -e go ]; do sleep 0.05; done";
    let launcher = launch(&job, script, &[("concurrency_max", json!(2))]);
    for id in ["rt-a", "rt-b", "rt-c"] {
        request(&job, id, id);
    }
    let early = reports(&job, 5);
    let states = |reports: &[Value], state: &str| {
        let all = reports.iter().filter(|it| it["state"] == state);
        all.map(|it| it["request_id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(states(&early, "accepted"), ["rt-a", "rt-b", "rt-c"]);
    assert_eq!(states(&early, "started"), ["rt-a", "rt-b"]);
    job.write_file("go", "");
    let all = reports(&job, 9);
    assert_eq!(states(&all, "started"), ["rt-a", "rt-b", "rt-c"]);
    assert_eq!(states(&all, "succeeded").len(), 3);
    let place = |state: &str, id: &str| {
        let found = all.iter().position(|it| it["state"] == state && it["request_id"] == id);
        found.unwrap_or_else(|| panic!("{id} is not {state}: {all:?}"))
    };
    let first_end = place("succeeded", "rt-a").min(place("succeeded", "rt-b"));
    assert!(first_end < place("started", "rt-c"), "three jobs ran at once: {all:?}");
    let _ended = launcher.terminate(DEADLINE).expect_code(0);
}

#[test]
fn an_expired_request_and_what_is_no_request_start_nothing() {
    let job = Job::new("launch-expired");
    let launcher = launch(&job, "echo ran >> runs", &[]);
    send(&job, "a", b"not an event".to_vec());
    send(&job, "a", requested().to_json());
    request(&job, "rt-b", "b");
    let reports = reports(&job, 4);
    let old = requested().id;
    let expected = [
        (old.as_str(), "rejected"),
        ("rt-b", "accepted"),
        ("rt-b", "started"),
        ("rt-b", "succeeded"),
    ];
    assert_eq!(steps(&reports), expected);
    assert_eq!(reports[0]["reason"], "the event has expired");
    let runs = fs::read_to_string(job.path("runs")).expect("the job ran");
    assert_eq!(runs, "ran\n");
    let _ended = launcher.terminate(DEADLINE).expect_code(0);
}

#[test]
fn a_job_whose_launcher_died_is_not_started_again() {
    let job = Job::new("launch-crash");
    let launcher = launch(&job, UNTIL_GO, &[]);
    request(&job, "rt-a", "a");
    reports(&job, 2);
    launcher.kill(DEADLINE);
    let launcher = Driftd::start(&["launch", "--config", &job.path("job.yaml")], &[]);
    let failed = failure(&job);
    let reason = failed["reason"].as_str().expect("a failure has a reason");
    assert!(reason.contains("the launcher ended while the job ran"), "{reason}");
    let _ended = launcher.terminate(DEADLINE).expect_code(0);
    let runs = fs::read_to_string(job.path("runs")).expect("the job ran");
    assert_eq!(runs, "ran\n");
    job.write_file("go", "");
}

/// Two launchers share the partitions of one topic. The second takes one over while its job runs:
/// the job stays its launcher's, and everybody hears of its end.
#[test]
fn launchers_of_one_group_start_each_job_once() {
    let job = Job::new("launch-group");
    topic::create(job.bootstrap(), &job.topic(TopicRole::Retraining), 2, &[]);
    job.create_topic(TopicRole::Status);
    job.write_file("job.sh", UNTIL_GO);
    let mut config = job.config();
    config["launcher"]["working_directory"] = json!(".");
    config["launcher"]["concurrency_max"] = json!(2);
    let config = job.write(&config);
    let mut first = Driftd::start(&["launch", "--config", &config], &[]);
    for (partition, id) in [(0, "rt-a"), (1, "rt-b")] {
        let event = request_of(id, id);
        let message = Raw { partition, key: id.to_owned(), payload: Some(event) };
        topic::put(job.bootstrap(), &job.topic(TopicRole::Retraining), &[message]);
    }
    reports(&job, 4);
    let mut second = Driftd::start(&["launch", "--config", &config], &[]);
    first.wait_for_stderr("partitions revoked", DEADLINE);
    second.wait_for_stderr("event is another launcher's", DEADLINE);
    job.write_file("go", "");
    let all = reports(&job, 6);
    second.wait_for_stderr("\"succeeded\"", DEADLINE);
    let count = |state: &str| all.iter().filter(|it| it["state"] == state).count();
    assert_eq!((count("started"), count("succeeded"), count("failed")), (2, 2, 0), "{all:?}");
    let runs = fs::read_to_string(job.path("runs")).expect("the jobs ran");
    assert_eq!(runs, "ran\nran\n");
    let _ended = first.terminate(DEADLINE).expect_code(0);
    let _ended = second.terminate(DEADLINE).expect_code(0);
}
