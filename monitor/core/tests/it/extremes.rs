//! Event times at the ends of what can be said, in windows of every kind: whoever writes them does
//! not end the process, nor the one after it.

use std::sync::Arc;

use driftd_catalog::Timestamp;
use driftd_core::config::Config;

use crate::log::{Record, START, regular};
use crate::model;
use crate::recount::recount;
use crate::simulation::Simulation;

/// A log with records of this time first, amid others, or last.
fn log(time: Timestamp, place: usize, has_kafka_time: bool) -> Vec<Record> {
    let mut log = regular("1", |row| f64::from(i32::try_from(row % 10).unwrap()), 0..60_000, 500);
    for (nth, record) in log.iter_mut().enumerate() {
        if nth / 30 == place {
            record.event_time = time;
        }
        // Only its time would hold back what is far ahead.
        record.kafka_time = record.kafka_time.filter(|_| has_kafka_time);
    }
    log
}

/// Plays a process that is started again behind every batch.
fn play(config: &Arc<Config>, logs: &[Vec<Record>]) {
    let expected = recount(config, logs);
    let mut simulation = Simulation::durable(config, logs, 1);
    for index in [0, 1, 0, 0, 1, 0] {
        simulation.read(index, 20);
        simulation.tick(1);
        simulation.checkpoint();
        simulation.commit();
        simulation.crash();
    }
    expected.compare(&simulation.play(&[]).windows());
}

#[test]
fn times_at_the_ends_of_time_are_counted_in_windows_of_every_kind() {
    let ends = [(Timestamp::MIN, 1), (Timestamp::MAX, -1)];
    let inwards = |(end, sign): (Timestamp, i64)| {
        [0, 1, 4_999, 10_000, 20_000, 130_000].map(|millis| end.plus_millis(sign * millis))
    };
    let times: Vec<Timestamp> = ends.into_iter().flat_map(inwards).collect();
    for tree in [model::tree(), model::kinds(), model::revised()] {
        let config = model::config(&tree);
        for time in &times {
            for (place, has_kafka_time) in [(0, false), (0, true), (1, false), (3, false)] {
                play(&config, &[log(*time, place, has_kafka_time), log(START, 0, true)]);
            }
        }
    }
}
