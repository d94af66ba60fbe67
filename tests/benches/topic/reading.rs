//! Reads a topic to its end: with a loop that does nothing, and with a whole daemon.
//!
//! Before: `load.rs` has filled the topic. After: `main.rs` compares what each took.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftd::daemon::Daemon;
use driftd_fixtures::wait;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;

use crate::load::Load;

const DEADLINE: Duration = Duration::from_mins(5);

/// What reading took, from the first records that were seen to the last.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) records: f64,
    pub(crate) seconds: f64,
    /// Processor time of the reading process, all its threads together.
    pub(crate) processor_seconds: f64,
}

impl Cost {
    pub(crate) fn per_second(self) -> f64 {
        self.records / self.seconds
    }

    /// Returns microseconds of processor time a record.
    pub(crate) fn micros(self) -> f64 {
        self.processor_seconds / self.records * 1e6
    }
}

/// The clocks at the moment when the first records are seen.
struct Start {
    clock: Instant,
    processor_seconds: f64,
}

impl Start {
    fn now() -> Self {
        Self { clock: Instant::now(), processor_seconds: processor_seconds() }
    }

    fn cost(&self, load: &Load, messages: u64) -> Cost {
        Cost {
            records: (messages * load.records_a_message) as f64,
            seconds: self.clock.elapsed().as_secs_f64(),
            processor_seconds: processor_seconds() - self.processor_seconds,
        }
    }
}

/// Returns the processor time that this process has taken.
fn processor_seconds() -> f64 {
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").expect("the kernel tells");
    // See proc_pid_stat(5): behind the name in brackets, the third field, come others and then
    // user and system time.
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in brackets");
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|it| it.parse::<f64>().expect("a number")).sum::<f64>() / TICKS_A_SECOND
}

/// Reads the topic in a loop that does nothing with its messages.
pub(crate) fn bare(load: &Load, bootstrap: &str, run: usize) -> Cost {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", format!("bare-{}-{run}", load.name))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("queued.min.messages", "20000")
        .set("queued.max.messages.kbytes", "32768")
        .set("fetch.queue.backoff.ms", "20")
        .create()
        .expect("the settings are those of librdkafka");
    consumer.subscribe(&[&load.topic()]).expect("the topic exists");
    let (mut count, mut bytes, mut start) = (0, 0, Start::now());
    while count < load.messages() {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.expect("the broker is there");
            if count == 0 {
                start = Start::now();
            }
            count += 1;
            bytes += message.payload().map_or(0, <[u8]>::len);
        }
    }
    assert!(0 < bytes);
    start.cost(load, count)
}

/// Reads, decodes and counts the topic, and closes its windows.
pub(crate) fn watched(load: &Load, file: &Path) -> Cost {
    let loaded = driftd::config_file::read(file).expect("a valid file");
    let daemon = Daemon::start(Arc::clone(&loaded.config), &loaded.folder, Box::new(|_| {}))
        .expect("the broker is there");
    let snapshot = daemon.snapshot();
    let messages = || snapshot.borrow().totals.messages;
    let seen = wait::until("the first message", DEADLINE, || Some(messages()).filter(|it| 0 < *it));
    let start = Start::now();
    let is_last = || (messages() == load.messages()).then_some(());
    wait::until("the last message", DEADLINE, is_last);
    let cost = start.cost(load, load.messages() - seen);
    let totals = snapshot.borrow().totals;
    assert!(totals.rejected == 0 && 0 < totals.windows_closed, "{totals:?}");
    daemon.stop();
    cost
}
