//! The memory budget: what the configuration is expected to take, by owner, against what there is.
//!
//! Before: a valid configuration, at the start and in `driftd check`. After: a refusal where it
//! cannot fit, and metrics beside what is measured. Queues, batches and buffers are counted by the
//! bounds that they are opened with here; windows, history and references by what
//! [`driftd_core::footprint`] expects.

pub(crate) mod held;
mod limit;
pub(crate) mod process;

use std::fmt;

use driftd_catalog::label::MemoryOwner;
use driftd_core::config::Config;
use driftd_core::footprint::Footprint;
use driftd_core::labels;

use crate::courier;
use crate::entries;
use crate::kafka::{batch, producer, sharing};
use crate::stage;
use crate::store;

/// Partitions of a topic that nothing is known of yet.
const PARTITIONS_ASSUMED: usize = 4;

/// What the program takes beside everything that is counted: code, stacks, the client's threads,
/// and what the allocator has taken and not given back. An idle process with one small model has
/// 13 MB of its own; the rest is code, which a thousand features do not make more, and room.
const BASE_BYTES: u64 = 48 << 20;
/// What a partition gives a fetch at most, by librdkafka's default: one answer may be under way
/// while the queue is full.
const FETCH_PARTITION_BYTES: u64 = 1 << 20;
/// Fetched ahead by the thread that decides where several processes share the work.
pub(crate) const LANES_QUEUE_BYTES: u64 = 32 << 20;
/// Fetched ahead by whoever goes on with a partition or lane, until its rows are read.
pub(crate) const STATE_QUEUE_BYTES: u64 = 4 << 20;
/// Fetched ahead of the reports on jobs, which are few and small.
pub(crate) const STATUS_QUEUE_BYTES: u64 = 1 << 20;
/// Buffers of all connections there may be.
const CONNECTIONS_BYTES: u64 = 4 << 20;
/// Scrapes that are answered at the same time.
const SCRAPES: u64 = 4;
/// Series of a feature, and bytes of each while an answer is made.
const SERIES_BYTES: u64 = 16 * 1_024;

/// Expected memory by owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    owners: Vec<(MemoryOwner, u64)>,
}

/// What the process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    bytes: u64,
    origin: LimitOrigin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LimitOrigin {
    Configured,
    System,
}

/// A configuration that cannot fit.
#[derive(Debug, thiserror::Error)]
#[error(
    "the configuration needs more memory than there is: {budget}; {limit}. To make it fit, {advice}, \
     or give the process more memory"
)]
pub struct MemoryError {
    budget: Budget,
    limit: Limit,
    advice: &'static str,
}

/// The budget and the limit of one process.
#[derive(Clone, Debug)]
pub struct Memory {
    pub(crate) budget: Budget,
    /// Absent where the system tells none.
    pub(crate) limit: Option<Limit>,
}

impl Memory {
    /// Adds up the budget of a configuration. `partitions` has one number a source; absent where
    /// the topic is not known yet.
    pub(crate) fn of(config: &Config, partitions: &[Option<usize>]) -> Self {
        let known = |source| partitions.get(source).copied().flatten();
        let partitions: Vec<usize> = (0..config.sources.len())
            .map(|source| known(source).unwrap_or(PARTITIONS_ASSUMED))
            .collect();
        Self { budget: Budget::of(config, &partitions), limit: Limit::of(config) }
    }

    /// Refuses a budget that is above the limit.
    pub(crate) fn admit(self) -> Result<Self, MemoryError> {
        match self.limit {
            Some(limit) if limit.bytes < self.budget.total() => {
                let advice = advice(self.budget.largest());
                Err(MemoryError { budget: self.budget, limit, advice })
            }
            Some(_) | None => Ok(self),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => write!(f, "{}; {limit}", self.budget),
            None => write!(f, "{}; no limit is known", self.budget),
        }
    }
}

impl Budget {
    fn of(config: &Config, partitions: &[usize]) -> Self {
        let footprint = Footprint { config, partitions };
        let bytes = |owner| match owner {
            MemoryOwner::Base => BASE_BYTES,
            MemoryOwner::FetchQueues => fetch_queues(config, partitions),
            MemoryOwner::Batches => batches(config, partitions),
            MemoryOwner::Joins => joins(config, partitions),
            MemoryOwner::Labels => followed_labels(config),
            MemoryOwner::WindowsReading => footprint.windows_reading(),
            MemoryOwner::WindowsWaiting => footprint.windows_waiting(),
            MemoryOwner::Panes => footprint.panes(),
            MemoryOwner::Checkpoints => footprint.checkpoints(),
            MemoryOwner::History => footprint.history(),
            MemoryOwner::References => footprint.references(),
            MemoryOwner::Outbox => outbox(config),
            MemoryOwner::ProducerQueues => producer_queues(config),
            MemoryOwner::Store => config.state.as_ref().map_or(0, |_| store::BYTES_MAX),
            MemoryOwner::Http => http(config),
        };
        Self { owners: MemoryOwner::ALL.map(|owner| (owner, bytes(owner))).into() }
    }

    /// Returns every owner with its bytes.
    pub(crate) fn owners(&self) -> &[(MemoryOwner, u64)] {
        &self.owners
    }

    fn total(&self) -> u64 {
        self.owners.iter().map(|(_, bytes)| bytes).sum()
    }

    fn largest(&self) -> MemoryOwner {
        let largest = self.owners.iter().max_by_key(|(_, bytes)| *bytes);
        largest.map_or(MemoryOwner::Base, |(owner, _)| *owner)
    }
}

/// The largest owner first; what takes nothing is left out.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} expected", Mebibytes(self.total()))?;
        let mut owners = self.owners.clone();
        owners.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        let owners = owners.into_iter().filter(|(_, bytes)| 0 < *bytes).enumerate();
        for (index, (owner, bytes)) in owners {
            let before = if index == 0 { " (" } else { ", " };
            write!(f, "{before}{} {}", owner.as_str(), Mebibytes(bytes))?;
        }
        f.write_str(")")
    }
}

impl Limit {
    fn of(config: &Config) -> Option<Self> {
        let configured = config.memory.limit_bytes;
        let configured = configured.map(|bytes| Self { bytes, origin: LimitOrigin::Configured });
        let system = || Some(Self { bytes: limit::of_system(&read)?, origin: LimitOrigin::System });
        configured.or_else(system)
    }

    pub(crate) fn bytes(self) -> u64 {
        self.bytes
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = Mebibytes(self.bytes);
        match self.origin {
            LimitOrigin::Configured => write!(f, "`memory.limit` is {bytes}"),
            LimitOrigin::System => write!(f, "the system allows {bytes}"),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge reads what the system tells")]
fn read(path: &std::path::Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// For each consumer thread its queue, and an answer that was asked for before the queue was full:
/// a mebibyte of each of its partitions, at most another queue.
fn fetch_queues(config: &Config, partitions: &[usize]) -> u64 {
    let threads = threads(config);
    let queue = config.memory.fetch_queue_bytes;
    let sources = partitions.iter().map(|partitions| {
        let each = (*partitions as u64).div_ceil(threads);
        threads * (queue + queue.min(each * FETCH_PARTITION_BYTES))
    });
    let resuming =
        (config.sources.len() as u64 * threads + 1) * (STATE_QUEUE_BYTES + FETCH_PARTITION_BYTES);
    let lanes = config.scale_out.as_ref().map_or(0, |_| 2 * LANES_QUEUE_BYTES + resuming);
    let reports = config.retraining.as_ref().map_or(0, |_| 2 * STATUS_QUEUE_BYTES);
    sources.sum::<u64>() + lanes + reports
}

/// One open batch for each partition, and for each thread the value of one compressed message.
fn batches(config: &Config, partitions: &[usize]) -> u64 {
    let sources = config.sources.iter().zip(partitions).map(|(source, partitions)| {
        let partitions = *partitions as u64;
        let inflated = if source.may_be_compressed() { source.payload_bytes_max } else { 0 };
        partitions * batch::bytes_expected(source)
            + partitions.min(threads(config)) * inflated as u64
    });
    sources.sum()
}

/// What waits in each partition for its other half, once more on its way to the store, and what an
/// open batch adds while the partition's state has what it replaces; and the document of two, which
/// may have grown by doubling, with what one of them is written as before.
fn joins(config: &Config, partitions: &[usize]) -> u64 {
    let copies = if config.state.is_some() || config.scale_out.is_some() { 2 } else { 1 };
    let sources = config.sources.iter().zip(partitions).map(|(source, partitions)| {
        let waiting = source.join.as_ref().map_or(0, |join| {
            let replaced = join.bytes_max.min(batch::halves_bytes_max(source));
            let document = 2 * source.limits().payload_bytes_max;
            let written = join.half.form.bytes_max(source.payload_bytes_max);
            copies * join.bytes_max + replaced + (document + written) as u64
        });
        *partitions as u64 * waiting
    });
    sources.sum()
}

/// What is counted of predictions and labels, and entries that are not stored, or not in a table of
/// the store.
fn followed_labels(config: &Config) -> u64 {
    let followed = || config.models.iter().filter(|it| it.performance.is_some());
    let counted: u64 = followed().map(labels::bytes_expected).sum();
    let unsaved = if followed().next().is_some() { 2 * stage::ENTRIES_BYTES_MAX } else { 0 };
    counted + unsaved + followed().count() as u64 * entries::BYTES_MAX
}

/// What was decided and waits for the brokers; and the messages of one transaction once more.
fn outbox(config: &Config) -> u64 {
    let is_sent = config.outputs.results_topic.is_some() || config.retraining.is_some();
    if is_sent { (courier::BYTES_MAX + courier::TRANSACTION_BYTES_MAX) as u64 } else { 0 }
}

/// The queue of the producer, and what each transaction gathers where several processes share the
/// work.
fn producer_queues(config: &Config) -> u64 {
    let readers = config.sources.len() as u64 * threads(config);
    let transactions = config.scale_out.as_ref().map_or(0, |_| readers + 1);
    producer::Bounds::of(config).queue_bytes() + transactions * sharing::TRANSACTION_BYTES
}

/// Connections, and scrapes of all exported features under way.
fn http(config: &Config) -> u64 {
    let exported: usize = config
        .models
        .iter()
        .map(|it| it.features.len().min(config.outputs.features_exported_max))
        .sum();
    CONNECTIONS_BYTES + SCRAPES * exported as u64 * SERIES_BYTES
}

fn threads(config: &Config) -> u64 {
    config.kafka.as_ref().map_or(1, |kafka| u64::from(kafka.consumers))
}

fn advice(largest: MemoryOwner) -> &'static str {
    match largest {
        MemoryOwner::FetchQueues => "lower `memory.fetch_queue` or `kafka.consumers`",
        MemoryOwner::Batches => {
            "watch fewer columns, lower `sources[].rows_max`, or share the partitions (`scale_out`)"
        }
        MemoryOwner::Joins => {
            "lower `sources[].join.bytes_max`, or share the partitions (`scale_out`)"
        }
        MemoryOwner::Labels => {
            "lengthen `performance.window`, shorten `performance.horizon`, or watch fewer `segments`"
        }
        MemoryOwner::Panes => {
            "watch fewer `features` or `segments`, or let windows overlap less (`every`)"
        }
        MemoryOwner::WindowsReading | MemoryOwner::WindowsWaiting | MemoryOwner::Checkpoints => {
            "watch fewer `features` or `segments`, lower `window.lateness`, or share the partitions \
             (`scale_out`)"
        }
        MemoryOwner::History => "lower `window.history`",
        MemoryOwner::References => "watch fewer `features` or `segments`, or split the job",
        MemoryOwner::Http => "lower `outputs.features_exported_max`",
        MemoryOwner::Base
        | MemoryOwner::Outbox
        | MemoryOwner::ProducerQueues
        | MemoryOwner::Store => "raise `memory.limit`, if that is what is low",
    }
}

/// Bytes as people read them.
struct Mebibytes(u64);

impl fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB", self.0 as f64 / f64::from(1 << 20))
    }
}

#[cfg(test)]
mod tests {
    use driftd_core::config::load;
    use serde_json::{Value, json};

    use super::*;

    fn tree() -> Value {
        json!({
            "name": "job",
            "kafka": {"brokers": ["localhost:9092"]},
            "sources": [{"topic": "t", "start": "latest", "event_time": {"path": "at"}}],
            "models": [{
                "name": "m", "source": "t", "version_path": "v", "references": "m-{version}.json",
                "window": {"length": "1h"},
                "features": [
                    {"name": "a", "path": "a", "type": "float64"},
                    {"name": "b", "path": "b", "type": "categorical"},
                ],
            }],
            "memory": {"limit": "1GiB"},
        })
    }

    fn config(pointer: &str, value: Value) -> Config {
        let mut tree = tree();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        tree.pointer_mut(parent).unwrap()[key] = value;
        load(&tree.to_string(), &|_| None).unwrap()
    }

    fn bytes(config: &Config, partitions: usize, owner: MemoryOwner) -> u64 {
        let budget = Budget::of(config, &[partitions]);
        budget.owners().iter().find(|(it, _)| *it == owner).unwrap().1
    }

    #[test]
    fn more_of_everything_needs_more_of_its_owner_and_never_less_of_another() {
        let plain = config("/name", json!("job"));
        let more =
            (0..50).map(|it| json!({"name": format!("f{it}"), "path": "x", "type": "float64"}));
        let watched = tree()["models"][0]["features"].as_array().unwrap().clone();
        let features: Vec<Value> = watched.into_iter().chain(more).collect();
        let mut in_lists = tree()["models"][0]["features"].clone();
        in_lists[0]["path"] = json!("in[].a");
        in_lists[1]["path"] = json!("b[]");
        let segments = json!([{"name": "s", "path": "s", "values": ["x", "y"]}]);
        for (pointer, value, owner) in [
            ("/kafka/consumers", json!(2), MemoryOwner::FetchQueues),
            ("/memory/fetch_queue", json!("64MiB"), MemoryOwner::FetchQueues),
            ("/models/0/features", json!(features), MemoryOwner::Batches),
            ("/models/0/features", json!(in_lists), MemoryOwner::Batches),
            ("/sources/0/format", json!("ndjson"), MemoryOwner::Batches),
            ("/models/0/features", json!(features), MemoryOwner::References),
            ("/models/0/features", json!(features), MemoryOwner::Http),
            ("/models/0/segments", segments, MemoryOwner::WindowsWaiting),
            ("/models/0/window/lateness", json!("3h"), MemoryOwner::WindowsReading),
            ("/models/0/window/history", json!(500), MemoryOwner::History),
            ("/models/0/window/every", json!("10m"), MemoryOwner::Panes),
            ("/outputs", json!({"results_topic": "r"}), MemoryOwner::Outbox),
            ("/state", json!({"folder": "s"}), MemoryOwner::Store),
            ("/state", json!({"folder": "s"}), MemoryOwner::Checkpoints),
            ("/scale_out", json!({}), MemoryOwner::ProducerQueues),
        ] {
            let more = config(pointer, value);
            assert!(bytes(&plain, 4, owner) < bytes(&more, 4, owner), "{pointer}");
            for owner in MemoryOwner::ALL {
                assert!(bytes(&plain, 4, owner) <= bytes(&more, 4, owner), "{pointer} {owner:?}");
            }
        }
        for owner in [MemoryOwner::WindowsReading, MemoryOwner::Batches] {
            assert!(bytes(&plain, 4, owner) < bytes(&plain, 5, owner), "{owner:?}");
        }
    }

    #[test]
    fn halves_that_wait_are_counted_and_once_more_where_they_are_stored() {
        let mut tree = tree();
        tree["sources"][0]["join"] = json!({
            "id": "id", "side": "type", "request": "q", "response": "r", "bytes_max": "64MiB",
        });
        tree["sources"][0]["event_time"]["path"] = json!("response.at");
        tree["models"][0]["version_path"] = json!("request.v");
        for feature in tree["models"][0]["features"].as_array_mut().unwrap() {
            feature["path"] = json!(format!("request.{}", feature["name"].as_str().unwrap()));
        }
        let joins = |tree: &Value| {
            let config = load(&tree.to_string(), &|_| None).unwrap();
            bytes(&config, 4, MemoryOwner::Joins) >> 20
        };
        assert_eq!(bytes(&config("/name", json!("job")), 4, MemoryOwner::Joins), 0);
        // Payloads of a batch and a message, and 1,280 bytes more of each of 8,192.
        let replaced = 8 + 1 + 10;
        assert_eq!(joins(&tree), 4 * (64 + replaced + 4), "and a document of each");
        tree["state"] = json!({"folder": "s"});
        assert_eq!(joins(&tree), 4 * (2 * 64 + replaced + 4));
        tree["sources"][0]["join"]["bytes_max"] = json!("4MiB");
        assert_eq!(joins(&tree), 4 * (2 * 4 + 4 + 4), "no more than there may be");
        // Of a mebibyte the text has 13: two in a document, and one before that, which grows.
        tree["sources"][0]["format"] = json!("open_inference");
        tree["sources"][0]["join"]["side"] = json!("$headers.type");
        assert_eq!(joins(&tree), 4 * (2 * 4 + 4 + 2 * 2 * 13 + 3 * 13) + 2);
    }

    /// As many values as a message may have are counted with 32 bytes beside their columns, and no
    /// more however many rows are allowed.
    #[test]
    fn lists_of_wide_records_are_counted_up_to_the_bound_of_their_values() {
        let feature = |it| json!({"name": format!("f{it}"), "path": "in[].a", "type": "float64"});
        let features: Vec<Value> = (0..500).map(feature).collect();
        let mut config = config("/models/0/features", json!(features));
        let mut batches = |rows_max: usize| {
            config.sources[0].rows_max = rows_max;
            bytes(&config, 1, MemoryOwner::Batches)
        };
        let (few, many, most) = (batches(100), batches(10_000), batches(50_000));
        assert!(few + (32 << 20) < many, "{few} {many}");
        assert!(many < 96 << 20 && most < many + (16 << 20), "{many} {most}");
    }

    #[test]
    fn the_sum_is_that_of_the_owners_and_the_line_names_them_largest_first() {
        let budget = Budget::of(&config("/name", json!("job")), &[4]);
        let owners = budget.owners().iter();
        assert_eq!(budget.total(), owners.map(|(_, bytes)| bytes).sum::<u64>());
        let line = budget.to_string();
        let at = |owner: &str| line.find(owner).unwrap();
        assert!(at("base") < at("fetch_queues") && at("fetch_queues") < at("http"), "{line}");
        assert!(!line.contains("store"), "{line}");
    }

    #[test]
    fn what_cannot_fit_is_refused_with_what_shrinks_the_largest() {
        let fits = config("/memory/limit", json!("1GiB"));
        let total = Memory::of(&fits, &[Some(4)]).admit().unwrap().budget.total();
        let limit = |bytes: u64| json!(format!("{}KiB", bytes / 1_024));
        assert!(
            Memory::of(&config("/memory/limit", limit(total + 1_024)), &[None]).admit().is_ok()
        );
        let mut small = config("/memory/limit", limit(total - 1_024));
        let told =
            |config: &Config| Memory::of(config, &[Some(4)]).admit().unwrap_err().to_string();
        assert!(told(&small).contains("`memory.limit` is"), "{}", told(&small));
        small.memory.fetch_queue_bytes = 1 << 30;
        assert!(told(&small).contains("lower `memory.fetch_queue`"), "{}", told(&small));
    }
}
