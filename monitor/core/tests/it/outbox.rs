//! Messages between the decision and their topics: the moments at which a process may end, one by
//! one. [`crate::durability`] draws them at random.

use std::sync::Arc;

use driftd_catalog::ModelId;
use driftd_core::config::Config;
use driftd_core::output::{Collected, OutputMessage, OutputTopic};
use driftd_core::state::{Position, StoreId, restore};

use crate::durability::{published, sending};
use crate::log::{Record, START, regular};
use crate::model;
use crate::simulation::Simulation;

/// Records of a window.
const WINDOW: usize = 200;
const WINDOWS: usize = 10;

fn log() -> Vec<Record> {
    let number = |row: i64| {
        // Drift from the fifth window on.
        if row < 800 { f64::from(i32::try_from(row % 10).unwrap()) } else { 9.0 }
    };
    regular("1", number, 0..i64::try_from(WINDOW * WINDOWS).unwrap() * 100, 100)
}

fn config() -> Arc<Config> {
    model::config(&sending(model::tree()))
}

fn simulation() -> Simulation {
    Simulation::durable(&config(), &[log()], 1)
}

/// Reads some windows, and stores what they come to.
fn store(simulation: &mut Simulation, windows: usize) {
    simulation.read(0, windows * WINDOW);
    simulation.tick(1);
    simulation.checkpoint();
    simulation.commit();
}

/// Reads the rest, and compares the topics with those of a process that never ended.
fn compare(simulation: Simulation) {
    let outcome = simulation.play(&[]);
    let whole = self::simulation().play(&[]);
    assert_eq!(published(&outcome), published(&whole));
    let is_event = |it: &&OutputMessage| it.topic == OutputTopic::Retraining;
    assert!(outcome.published.iter().any(|it| is_event(&it)), "something is asked for");
}

#[test]
fn what_was_stored_and_not_sent_is_sent_by_the_next_process() {
    let mut simulation = simulation();
    store(&mut simulation, 4);
    simulation.send_and_hear(2);
    store(&mut simulation, 3);
    simulation.crash();
    compare(simulation);
}

#[test]
fn what_was_sent_and_not_heard_of_is_not_sent_again() {
    let mut simulation = simulation();
    store(&mut simulation, 7);
    simulation.send(usize::MAX);
    simulation.crash();
    assert_eq!(simulation.snapshot().totals.retrain_published, 1, "the next process knows of it");
    compare(simulation);
}

#[test]
fn what_was_sent_before_the_power_went_is_not_sent_again() {
    let mut simulation = simulation();
    store(&mut simulation, 4);
    simulation.send_and_hear(usize::MAX);
    for _ in 0..2 {
        store(&mut simulation, 2);
        simulation.send_and_hear(usize::MAX);
    }
    simulation.lose_batches(2);
    simulation.crash();
    // What is decided anew has a number of its own: the process ends before it is sent.
    store(&mut simulation, 5);
    simulation.crash();
    compare(simulation);
}

#[test]
fn a_process_that_ends_while_it_makes_up_for_lost_power_is_made_up_for_too() {
    let mut simulation = simulation();
    for _ in 0..4 {
        store(&mut simulation, 2);
        simulation.send_and_hear(usize::MAX);
    }
    simulation.lose_batches(3);
    simulation.crash();
    store(&mut simulation, 2);
    simulation.send_and_hear(usize::MAX);
    simulation.crash();
    compare(simulation);
}

#[test]
fn a_lost_store_is_made_up_for_by_what_the_topics_hold() {
    let mut simulation = simulation();
    store(&mut simulation, 8);
    simulation.send_and_hear(usize::MAX);
    simulation.lose_store();
    simulation.crash();
    // Only a part is decided again, and a process ends after it has sent under the new name.
    store(&mut simulation, 3);
    simulation.send_and_hear(usize::MAX);
    simulation.crash();
    compare(simulation);
}

#[test]
fn what_the_topics_hold_is_looked_at_until_everything_is_passed() {
    let mut simulation = simulation();
    let needs = |simulation: &Simulation| simulation.needs_published();
    store(&mut simulation, 4);
    simulation.send_and_hear(usize::MAX);
    assert!(!needs(&simulation), "this store has sent everything itself");
    simulation.lose_store();
    simulation.crash();
    store(&mut simulation, 3);
    simulation.send_and_hear(usize::MAX);
    assert!(needs(&simulation));
    store(&mut simulation, 4);
    assert!(!needs(&simulation), "a window closed that began after the newest that was sent");
    compare(simulation);
}

#[test]
fn nothing_stays_in_the_outbox() {
    let mut simulation = simulation();
    store(&mut simulation, 8);
    let rows = simulation.stored().len();
    simulation.send_and_hear(usize::MAX);
    simulation.commit();
    let sent = simulation.published.len();
    assert!(0 < sent && simulation.stored().len() == rows - sent);
}

#[test]
fn messages_to_a_topic_that_is_written_no_more_are_dropped() {
    let mut simulation = simulation();
    store(&mut simulation, 8);
    let mut tree = sending(model::tree());
    tree["outputs"] = serde_json::json!({});
    let config = model::config(&tree);
    let find = |_: usize, id: &ModelId| model::reference(&config, id);
    let rows = simulation.stored().clone();
    let mut restored = restore(&config, rows, &find, StoreId(7), START).unwrap();
    let topics = restored.pipeline.take_outputs().into_iter().map(|(_, message)| message.topic);
    assert_eq!(topics.collect::<Vec<_>>(), [OutputTopic::Retraining]);
}

#[test]
fn the_position_of_another_store_says_nothing() {
    let simulation = simulation();
    let standing = simulation.standing();
    let position = |store, next| Some(Position { store, next });
    assert!(standing.needs_published(None));
    assert!(standing.needs_published(position(StoreId(99), 0)));
}

#[test]
fn what_another_job_wrote_is_passed_over() {
    let mut simulation = simulation();
    store(&mut simulation, 8);
    simulation.send_and_hear(usize::MAX);
    let count = |source: &str, writer: Option<&str>| {
        let mut collected = Collected::default();
        for message in &simulation.published {
            collected.take(source, message.topic, writer, &message.payload);
        }
        collected.take(source, OutputTopic::Results, writer, b"no line");
        collected.take(source, OutputTopic::Retraining, writer, b"{}");
        collected.published().count()
    };
    let own = "/driftd/sim";
    assert_eq!(count(own, Some(own)), simulation.published.len());
    assert_eq!(count(own, None), 1, "the event names its writer itself");
    assert_eq!(count("/driftd/other", Some(own)), 0);
}
