//! Shared work at its edges: partitions without records or that come later, topics of its own that
//! are not what they were.

use std::time::Duration;

use driftd_catalog::metric::KAFKA_REBALANCES_TOTAL;
use driftd_fixtures::driftd::Driftd;
use driftd_fixtures::{http, wait};
use driftd_tests::job::{Job, PARTITIONS, START, TopicRole};
use driftd_tests::reader::Reader;
use driftd_tests::topic::{self, Raw};
use serde_json::json;

use crate::scale_out::{Member, message, owned, prepare, settle, shared};

const DEADLINE: Duration = Duration::from_mins(2);
/// Two hours of records in one partition, five seconds apart.
fn records(partition: i32) -> Vec<Raw> {
    let record = |index| Raw { partition, ..message(index, START + index * 5, index % 97) };
    (0..1_440).map(record).collect()
}

fn put(job: &Job, records: &[Raw]) {
    topic::put(job.bootstrap(), &job.topic(TopicRole::Inference), records);
}

fn wait_for_total(member: &mut Member, what: &str, number: i64) {
    let mut seen = serde_json::Value::Null;
    let reached = wait::for_value(DEADLINE, || {
        seen = member.status();
        (seen["totals"][what].as_i64() == Some(number)).then_some(())
    });
    assert!(reached.is_some(), "{number} {what}: {seen:#}\n{}", member.daemon.report());
}

/// Every partition has a reader of its own: three of them never see a record.
#[test]
fn partitions_without_records_are_not_waited_for() {
    let job = Job::new("sharing-empty");
    let mut config = shared(&job);
    config["kafka"]["consumers"] = json!(PARTITIONS);
    config["sources"][0]["time"] = json!({"idle_timeout": "1s"});
    let config = prepare(&job, &config);
    let mut member = Member::start(&config, &[]);
    put(&job, &records(0));
    // Two hours of four models, the second one when all partitions are silent.
    wait_for_total(&mut member, "windows_closed", 8);
    let _ended = member.daemon.terminate(DEADLINE).expect_code(0);
    let results = job.topic(TopicRole::Results);
    let mut reader = Reader::open(job.bootstrap(), &results, 1);
    let lines = reader.all();
    assert!(!lines.is_empty());
    for line in lines {
        assert_eq!(line.json()["complete"], json!(true), "{}", line.json());
    }
}

#[test]
fn a_partition_that_is_added_is_read_from_its_first_record() {
    let job = Job::new("sharing-growth");
    let mut config = shared(&job);
    config["sources"][0]["start"] = json!("latest");
    config["kafka"]["properties"]["topic.metadata.refresh.interval.ms"] = json!(1_000);
    let config = prepare(&job, &config);
    put(&job, &records(0));
    let member = Member::start(&config, &[]);
    let mut members = [member];
    settle(&mut members, "one member owns everything");
    let [mut member] = members;
    put(&job, &records(1));
    wait_for_total(&mut member, "messages", 1_440);
    let _ended = member.daemon.terminate(DEADLINE).expect_code(0);
    topic::grow(job.bootstrap(), &job.topic(TopicRole::Inference), PARTITIONS + 1);
    put(&job, &records(PARTITIONS));
    put(&job, &records(0));
    let mut member = Member::start(&config, &[]);
    wait_for_total(&mut member, "messages", 2 * 1_440);
    let _ended = member.daemon.terminate(DEADLINE).expect_code(0);
}

#[test]
fn rows_that_are_gone_are_not_taken_for_a_first_start() {
    let job = Job::new("sharing-gone");
    let config = prepare(&job, &shared(&job));
    put(&job, &records(0));
    let mut member = Member::start(&config, &[]);
    wait_for_total(&mut member, "messages", 1_440);
    let _ended = member.daemon.terminate(DEADLINE).expect_code(0);
    let state = "sharing-gone.state";
    topic::delete(job.bootstrap(), state);
    topic::create(job.bootstrap(), state, 3, &[("cleanup.policy", "compact")]);
    let member = Member::start(&config, &[]);
    let url = format!("http://{}/readyz", member.address);
    wait::until("readiness says that rows are gone", DEADLINE, || {
        let ready = http::get(&url).ok()?;
        (ready.status == 503 && ready.body.contains("rows in the state topic are gone"))
            .then_some(())
    });
    assert_eq!(member.status()["totals"]["messages"], json!(0));
    let _ended = member.daemon.terminate(DEADLINE).expect_code(0);
}

/// How often a member was given other partitions than before.
fn rebalances(member: &Member) -> String {
    let metrics = http::get(&format!("http://{}/metrics", member.address)).expect("it answers");
    let name = KAFKA_REBALANCES_TOTAL.name;
    let line = metrics.body.lines().find(|line| line.starts_with(name));
    line.expect("the metric is exported").to_owned()
}

#[test]
fn a_member_with_a_name_that_restarts_moves_nothing() {
    let job = Job::new("sharing-named");
    let mut config = shared(&job);
    config["kafka"]["properties"]["session.timeout.ms"] = json!(20_000);
    config["kafka"]["instance"] = json!("one");
    let one = prepare(&job, &config);
    config["kafka"]["instance"] = json!("two");
    let two = job.write_file("two.yaml", &config.to_string());
    let of = |member: &Member| {
        let status = member.status();
        ["partitions", "lanes"].map(|what| owned(&status, what))
    };
    let mut members = [Member::start(&one, &[]), Member::start(&two, &[])];
    wait::until("each has something of both", DEADLINE, || {
        members.iter().flat_map(of).all(|owned| !owned.is_empty()).then_some(())
    });
    settle(&mut members, "two members");
    let [stays, leaves] = members;
    let (kept, given, before) = (of(&stays), of(&leaves), rebalances(&stays));
    let _left = leaves.daemon.terminate(DEADLINE).expect_code(0);
    put(&job, &records(0));
    let comes = Member::start(&two, &[]);
    wait::until("it has again what it had", DEADLINE, || (of(&comes) == given).then_some(()));
    let mut members = [stays, comes];
    let read = wait::for_value(DEADLINE, || {
        let messages = |it: &Member| it.status()["totals"]["messages"].as_i64();
        let read: i64 = members.iter().filter_map(messages).sum();
        (1_440 <= read).then_some(read)
    });
    assert_eq!(read, Some(1_440), "{}", members[1].daemon.report());
    assert_eq!((of(&members[0]), rebalances(&members[0])), (kept, before));
    for member in members {
        let _ended = member.daemon.terminate(DEADLINE).expect_code(0);
    }
}

#[test]
fn topics_that_would_lose_what_is_kept_in_them_are_refused() {
    let job = Job::new("sharing-settings");
    let config = prepare(&job, &shared(&job));
    let state = "sharing-settings.state";
    topic::delete(job.bootstrap(), state);
    topic::create(job.bootstrap(), state, 3, &[("cleanup.policy", "delete")]);
    let said = "cleanup.policy";
    let checked = Driftd::run(&["check", "--config", &config], &[], DEADLINE).expect_code(1);
    assert!(checked.stdout.contains(state) && checked.stdout.contains(said), "{}", checked.stdout);
    let refused = Driftd::run(&["run", "--config", &config], &[], DEADLINE).expect_code(1);
    assert!(refused.stderr.contains(state) && refused.stderr.contains(said), "{}", refused.stderr);
}
