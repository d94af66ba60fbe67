//! Everything that speaks to Kafka: librdkafka's callbacks become events, effects become messages.
//!
//! Before: the configured cluster. After: [`consumer`] threads feed [`crate::daemon`] with counted
//! [`batch`](self)es, [`outputs`] carries what it decides and [`read_back`] looks what is there
//! already, [`producer`] sends everything else, [`watch`] tells what no message tells (partitions,
//! ends of partitions), [`probe`] and [`sampler`] serve `driftd check` and
//! `driftd inspect`.

pub(crate) mod abandoned;
pub(crate) mod batch;
pub(crate) mod client_log;
pub(crate) mod committed;
pub mod consumer;
pub(crate) mod error_kind;
pub(crate) mod gone;
pub(crate) mod headers;
pub(crate) mod loss;
mod membership;
pub(crate) mod outputs;
pub mod owners;
pub(crate) mod pauses;
pub mod probe;
pub mod producer;
pub(crate) mod queues;
pub(crate) mod read_back;
pub mod rebalance;
pub(crate) mod replaced;
pub mod sampler;
pub(crate) mod sharing;
pub(crate) mod stalls;
pub(crate) mod state_topic;
pub mod status;
pub mod topics;
pub(crate) mod transactions;
pub(crate) mod trouble;
pub mod watch;

use std::fs;
use std::io;
use std::path::PathBuf;

use driftd_core::config::KafkaConfig;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use self::client_log::log_error;

/// A connection that cannot be configured.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A property's file cannot be read.
    #[error("`kafka.property_files.{property}`: cannot read `{}`", path.display())]
    PropertyFile {
        /// Name of the property.
        property: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// librdkafka refuses the properties.
    #[error("librdkafka refuses the configuration: check `kafka.properties`")]
    Client(#[from] KafkaError),
}

/// Callbacks of a client that no group rebalances.
pub(crate) struct Alone;

impl ClientContext for Alone {
    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for Alone {}

/// Returns the properties that every client shares.
pub(crate) fn base(config: &KafkaConfig) -> Result<ClientConfig, ConnectError> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.brokers).set("client.id", &config.client_id);
    for (property, value) in &config.properties {
        client.set(property, value);
    }
    for (property, path) in &config.property_files {
        client.set(property, read_property(property, path)?);
    }
    Ok(client)
}

/// Returns the properties of a client that reads from where it is told, and joins no group: the
/// name that librdkafka asks for all the same is the configured group's and `suffix`.
pub(crate) fn lone_reader(
    config: &KafkaConfig,
    suffix: &str,
) -> Result<ClientConfig, ConnectError> {
    let mut client = base(config)?;
    client
        .set("group.id", format!("{}{suffix}", config.group))
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest");
    Ok(client)
}

/// Returns the properties of a member of a group who knows itself where partitions go on. Where the
/// process has a name that stays, `instance` is the member's.
pub(crate) fn member(
    config: &KafkaConfig,
    group: &str,
    instance: &str,
) -> Result<ClientConfig, ConnectError> {
    let mut client = base(config)?;
    client
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("isolation.level", "read_committed");
    if config.instance.is_some() {
        client.set("group.instance.id", instance);
    }
    Ok(client)
}

/// Returns whether the client's own queue has no room.
pub(crate) fn is_queue_full(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull)
}

#[expect(clippy::disallowed_methods, reason = "the edge reads secrets from files")]
fn read_property(property: &str, path: &PathBuf) -> Result<String, ConnectError> {
    let text = fs::read_to_string(path).map_err(|source| ConnectError::PropertyFile {
        property: property.to_owned(),
        path: path.clone(),
        source,
    })?;
    // Files made by hand or by `kubectl create secret --from-file` often end with a line break.
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
