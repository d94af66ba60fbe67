//! Brokers that go away and come back, and networks that fail: nothing is lost, nothing said twice,
//! and the process says how it is.

use std::time::Duration;

use driftd_fixtures::kafka::KafkaCluster;
use driftd_fixtures::trials::rounds;
use driftd_fixtures::{http, wait};
use driftd_tests::job::{Job, PARTITIONS, TopicRole};
use rdkafka::mocking::MockCluster;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::{Value, json};

use crate::scale_out::{Member, ROUND, compare, config, prepare, put, settle, shared};

const DEADLINE: Duration = Duration::from_mins(2);

/// Below the thirty seconds after which a supervisor kills.
const END_MAX: Duration = Duration::from_secs(29);

/// One process that keeps its state in a folder.
fn alone(job: &Job) -> Value {
    let mut config = config(job);
    config["state"] = json!({"folder": "state", "commit_interval": "100ms"});
    config
}

fn wait_for_messages(members: &mut [Member], messages: i64) {
    let mut seen = Vec::new();
    let read = wait::for_value(DEADLINE, || {
        seen = members.iter().map(Member::status).collect();
        let partitions = |it: &Value| it["sources"][0]["partitions"].as_array().map_or(0, Vec::len);
        let all: usize = seen.iter().map(partitions).sum();
        let is_all = i32::try_from(all) == Ok(PARTITIONS);
        // That none is known to wait is so before it is known that some do.
        let is_read = seen.iter().map(next_offsets).sum::<i64>() == messages;
        (is_all && is_read && seen.iter().all(|it| it["lag"].as_i64() == Some(0))).then_some(())
    });
    if read.is_none() {
        let reports: Vec<String> = members.iter_mut().map(|it| it.daemon.report()).collect();
        panic!("{messages} messages are read: {seen:#?}\n{}", reports.join("\n"));
    }
}

/// Sum of the offsets that a member reads next.
fn next_offsets(status: &Value) -> i64 {
    let partitions = status["sources"][0]["partitions"].as_array();
    partitions.into_iter().flatten().filter_map(|it| it["next_offset"].as_i64()).sum()
}

/// Waits until the process says that it is not ready for want of an answer, while it lives.
fn wait_for_unready(member: &Member) {
    let url = |path: &str| format!("http://{}{path}", member.address);
    wait::until("readiness says that Kafka does not answer", DEADLINE, || {
        let live = http::get(&url("/healthz")).expect("HTTP is served whatever Kafka does");
        assert_eq!(live.status, 200, "{}", live.body);
        let ready = http::get(&url("/readyz")).expect("HTTP is served whatever Kafka does");
        (ready.status == 503 && ready.body.contains("no answer from Kafka")).then_some(())
    });
}

fn wait_for_ready(member: &Member) {
    let url = format!("http://{}/readyz", member.address);
    wait::until("it is ready", DEADLINE, || {
        http::get(&url).is_ok_and(|it| it.status == 200).then_some(())
    });
}

#[test]
fn a_cluster_that_loses_one_broker_after_another_loses_nothing() {
    let mut cluster = KafkaCluster::start(3);
    let job = Job::on("outage-cluster", cluster.bootstrap());
    let mut config = shared(&job);
    config["scale_out"]["replicas"] = json!(3);
    let config = prepare(&job, &config);
    let losses = rounds(2, 12);
    let put = |round: i64| put(&job, round * ROUND..(round + 1) * ROUND, ROUND * (losses + 1) / 2);
    let mut members: Vec<Member> = (0..2).map(|_| Member::start(&config, &[])).collect();
    settle(&mut members, "both are there");
    put(0);
    for (loss, node) in (1..=losses).zip((0..3).cycle()) {
        if 1 < loss {
            // The one that was lost before.
            cluster.restart((node + 2) % 3);
        }
        cluster.kill(node);
        put(loss);
        wait_for_messages(&mut members, ROUND * (loss + 1));
    }
    compare(&job, members, ROUND * (losses + 1), |_| {});
}

#[test]
fn a_broker_that_is_away_is_waited_for() {
    let mut cluster = KafkaCluster::start(1);
    let job = Job::on("outage-restart", cluster.bootstrap());
    let config = prepare(&job, &alone(&job));
    let outages = rounds(1, 8);
    let put = |round: i64| put(&job, round * ROUND..(round + 1) * ROUND, ROUND * outages);
    put(0);
    let members = vec![Member::start(&config, &[])];
    wait_for_ready(&members[0]);
    for outage in 1..=outages {
        cluster.kill(0);
        wait_for_unready(&members[0]);
        cluster.restart(0);
        wait_for_ready(&members[0]);
        put(outage);
    }
    compare(&job, members, ROUND * (outages + 1), |_| {});
}

#[test]
fn connections_that_are_cut_or_swallowed_lose_nothing() {
    let (cluster, proxy) = KafkaCluster::start_behind_proxy();
    let job = Job::on("outage-network", cluster.bootstrap());
    let config = prepare(&job, &shared(&job));
    let failures = rounds(1, 8);
    let messages = ROUND * (2 * failures + 1);
    let put = |round: i64| put(&job, round * ROUND..(round + 1) * ROUND, messages / 2);
    let mut members: Vec<Member> = (0..2).map(|_| Member::start(&config, &[])).collect();
    settle(&mut members, "both are there");
    put(0);
    for failure in 0..failures {
        proxy.cut();
        put(2 * failure + 1);
        proxy.cut();
        proxy.swallow();
        members.iter().for_each(wait_for_unready);
        proxy.heal();
        members.iter().for_each(wait_for_ready);
        put(2 * failure + 2);
        wait_for_messages(&mut members, ROUND * (2 * failure + 3));
    }
    compare(&job, members, messages, |_| {});
}

/// A broker denies offsets that its log has, as one does that has not caught up. Only the mock
/// broker of librdkafka does so when it is asked to.
#[test]
fn an_offset_that_is_denied_and_there_is_read_again() {
    let cluster = MockCluster::new(1).expect("the mock broker starts");
    let job = Job::on("outage-denied", &cluster.bootstrap_servers());
    let topic = job.topic(TopicRole::Inference);
    cluster.create_topic(&topic, PARTITIONS, 1).expect("the mock broker makes topics");
    let mut config = config(&job);
    let without = |part: &mut Value, key: &str| {
        part.as_object_mut().and_then(|part| part.remove(key)).expect("it is configured");
    };
    without(&mut config, "retraining");
    without(&mut config, "launcher");
    without(&mut config["sources"][0], "dead_letter_topic");
    without(&mut config["outputs"], "results_topic");
    let mut members = [Member::start(&job.write(&config), &[])];
    put(&job, 0..ROUND, ROUND);
    wait_for_messages(&mut members, ROUND);
    let denied = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE];
    cluster.request_errors(RDKafkaApiKey::Fetch, &denied);
    members[0].daemon.wait_for_stderr("does not tell which", DEADLINE);
    put(&job, ROUND..2 * ROUND, ROUND);
    wait::until("what was put is read", DEADLINE, || {
        (2 * ROUND <= members[0].status()["totals"]["messages"].as_i64()?).then_some(())
    });
    wait_for_ready(&members[0]);
    wait_for_messages(&mut members, 2 * ROUND);
    assert_eq!(members[0].status()["totals"]["messages"], 2 * ROUND, "none is read twice");
}

#[test]
fn the_end_does_not_wait_for_a_broker_that_is_gone() {
    let mut cluster = KafkaCluster::start(1);
    let job = Job::on("outage-end", cluster.bootstrap());
    let config = prepare(&job, &shared(&job));
    let mut members: [_; 2] = std::array::from_fn(|_| Member::start(&config, &[]));
    settle(&mut members, "both are there");
    put(&job, 0..ROUND, ROUND);
    wait_for_messages(&mut members, ROUND);
    cluster.kill(0);
    let [patient, mut other] = members;
    let ended = patient.daemon.terminate(END_MAX).expect_code(0);
    assert!(ended.stderr.contains("\"stopped\""), "{}", ended.stderr);
    // Who ends is not ready, and at the second signal ends at once.
    other.daemon.ask_to_stop();
    let ready = format!("http://{}/readyz", other.address);
    wait::until("it says that it ends", DEADLINE, || {
        http::get(&ready).ok().filter(|it| it.body.contains("the process ends"))
    });
    let ended = other.daemon.terminate(END_MAX).expect_code(1);
    assert!(!ended.stderr.contains("\"stopped\""), "{}", ended.stderr);
}
