//! Shared work at its edges: partitions without records or that come later, topics of its own that
//! are not what they were.

use std::time::Duration;

use driftd_fixtures::{http, wait};
use driftd_tests::job::{Job, PARTITIONS, START, TopicRole};
use driftd_tests::reader::Reader;
use driftd_tests::topic::{self, Raw};
use serde_json::json;

use crate::scale_out::{Member, message, prepare, shared};

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
    crate::scale_out::settle(&mut members, "one member owns everything");
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
