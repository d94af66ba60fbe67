//! `driftd launch`: takes retraining events from their topic, starts jobs, and reports what became
//! of them.
//!
//! Before: the retraining topic. After: a [`Backend`] runs the job; every step is a status event.
//! The local command is the first backend ([`command`]); others start jobs elsewhere by the same
//! trait.
//!
//! An event starts at most one job: the status topic is the memory ([`ledger`]), read whole before
//! the first event is taken. An event's offset is committed only when its last status is stored.

pub mod command;
mod desk;
mod ledger;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use driftd_catalog::event::{CloudEvent, EventError, RetrainingRequested, RetrainingStatus};
use driftd_core::config::{Config, KafkaConfig, LauncherConfig, RetrainingConfig};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use tracing::{error, info, warn};

use crate::clock;
use crate::kafka::producer::{Producer, Reports};
use crate::kafka::{ConnectError, base};
use crate::launch::desk::{Desk, Place, Report};
pub use crate::launch::ledger::LedgerError;

/// How long a poll waits for an event; also how often running jobs are looked at.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// Status events are waited for this long at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// Where jobs run.
pub trait Backend: Send {
    /// Starts the job of an event. The job's name is the event's id.
    fn start(&self, event: &CloudEvent<RetrainingRequested>)
    -> Result<Box<dyn Job>, StartJobError>;
}

/// A started job.
pub trait Job: Send {
    /// Returns how the job ended, once it has.
    fn poll(&mut self) -> Option<JobEnd>;
    /// Ends the job; [`Job::poll`] says when it is over.
    fn stop(&mut self);
}

/// How a job ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobEnd {
    /// Whether it did what it was asked for.
    pub succeeded: bool,
    /// Its exit code, where it has one.
    pub exit_code: Option<i32>,
    /// Why it failed.
    pub reason: Option<String>,
    /// Version that it registered, where it says so.
    pub new_version: Option<String>,
    /// Where the new reference profile is, where it says so.
    pub reference: Option<String>,
}

/// A job that could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the job: {reason}")]
pub struct StartJobError {
    /// What to do about it.
    pub reason: String,
}

/// A launcher that could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// A section of the configuration is missing.
    #[error("`{section}` is missing from the configuration: `driftd launch` needs it")]
    Missing {
        /// The section.
        section: &'static str,
    },
    /// A client could not be made.
    #[error("cannot connect to Kafka")]
    Connect(#[from] ConnectError),
    /// The topic of retraining events cannot be read.
    #[error("cannot read topic `{topic}`")]
    Subscribe {
        /// The topic.
        topic: String,
        /// Why not.
        #[source]
        source: KafkaError,
    },
    /// What earlier launchers did cannot be read.
    #[error("cannot read what earlier launchers did")]
    Ledger(#[from] LedgerError),
}

/// The launcher of one job configuration.
pub struct Launcher {
    retraining: RetrainingConfig,
    client: BaseConsumer,
    producer: Producer,
    source: String,
    desk: Desk,
    is_full: bool,
}

impl Launcher {
    /// Connects, and reads what earlier launchers did.
    pub fn connect(config: &Config, backend: Box<dyn Backend>) -> Result<Self, LaunchError> {
        let Sections { kafka, retraining, launcher } = Sections::of(config)?;
        let client: BaseConsumer = base(kafka)?
            .set("group.id", &launcher.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // A new launcher must not lose what was asked for before it came; the ledger keeps it
            // from repeating.
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .create()
            .map_err(ConnectError::from)?;
        let ledger = ledger::read(kafka, &retraining.status_topic)?;
        client
            .subscribe(&[&retraining.topic])
            .map_err(|source| LaunchError::Subscribe { topic: retraining.topic.clone(), source })?;
        Ok(Self {
            retraining: retraining.clone(),
            client,
            producer: Producer::connect(kafka, Reports::default())?,
            source: format!("/driftd/{}/launcher", config.name),
            desk: Desk::new(launcher, backend, ledger),
            is_full: false,
        })
    }

    /// Starts jobs until `stopping` is set; jobs that run then are stopped and reported.
    pub fn run(mut self, stopping: &AtomicBool) {
        info!(topic = %self.retraining.topic, "waiting for retraining events");
        while !stopping.load(Ordering::Relaxed) {
            self.poll();
            let reports = self.desk.tick(clock::now());
            self.publish(reports);
        }
        let reports = self.desk.stop_all(clock::now());
        self.publish(reports);
        if let Err(error) = self.producer.flush(FLUSH_TIMEOUT) {
            error!(%error, "job reports may be lost: the broker did not answer before the end");
        }
    }

    fn poll(&mut self) {
        self.throttle();
        match self.client.poll(POLL_TIMEOUT) {
            None => {}
            Some(Ok(message)) => {
                let place = Place { partition: message.partition(), offset: message.offset() };
                let reports = if let Some(event) = read(&message) {
                    self.desk.take(clock::now(), place, event)
                } else {
                    self.desk.skip(place);
                    Vec::new()
                };
                drop(message);
                self.publish(reports);
            }
            Some(Err(error)) => warn!(%error, "cannot read retraining events"),
        }
    }

    /// Stops fetching while too many events wait, and goes on polling: the group must not expel the
    /// launcher.
    fn throttle(&mut self) {
        if self.desk.is_full() == self.is_full {
            return;
        }
        self.is_full = self.desk.is_full();
        let result = self.client.assignment().and_then(|assignment| {
            if self.is_full {
                self.client.pause(&assignment)
            } else {
                self.client.resume(&assignment)
            }
        });
        if let Err(error) = result {
            warn!(%error, "fetching could not be paused or resumed");
        }
    }

    /// Sends reports, waits for the broker, and only then commits what is over.
    fn publish(&mut self, reports: Vec<Report>) {
        for Report { model, status, at } in reports {
            let id = format!("{}-{}", status.request_id, status.state.as_str());
            info!(
                request = %status.request_id,
                state = status.state.as_str(),
                reason = status.reason.as_deref(),
                "job"
            );
            let mut event: CloudEvent<RetrainingStatus> =
                CloudEvent::new(&self.source, id, at, &model, status);
            event.correlationid = Some(event.data.request_id.clone());
            self.producer.status(&self.retraining.status_topic, &event);
        }
        let finished = self.desk.take_finished();
        if finished.is_empty() {
            return;
        }
        if let Err(error) = self.producer.flush(FLUSH_TIMEOUT) {
            warn!(%error, "job reports are not stored yet; their events will be looked at again");
            return;
        }
        self.commit(&finished);
    }

    fn commit(&self, finished: &[Place]) {
        let mut offsets = TopicPartitionList::new();
        for place in finished {
            let next = Offset::Offset(place.offset + 1);
            if let Err(error) =
                offsets.add_partition_offset(&self.retraining.topic, place.partition, next)
            {
                warn!(%error, "offset cannot be committed");
            }
        }
        if let Err(error) = self.client.commit(&offsets, CommitMode::Sync) {
            // The ledger keeps the events from starting twice.
            warn!(%error, "offsets not committed; their events will be looked at again");
        }
    }
}

struct Sections<'a> {
    kafka: &'a KafkaConfig,
    retraining: &'a RetrainingConfig,
    launcher: &'a LauncherConfig,
}

impl<'a> Sections<'a> {
    fn of(config: &'a Config) -> Result<Self, LaunchError> {
        let missing = |section| LaunchError::Missing { section };
        Ok(Self {
            kafka: config.kafka.as_ref().ok_or_else(|| missing("kafka"))?,
            retraining: config.retraining.as_ref().ok_or_else(|| missing("retraining"))?,
            launcher: config.launcher.as_ref().ok_or_else(|| missing("launcher"))?,
        })
    }
}

fn read(message: &BorrowedMessage<'_>) -> Option<Arc<CloudEvent<RetrainingRequested>>> {
    let payload = message.payload().unwrap_or_default();
    match CloudEvent::from_json(payload) {
        Ok(event) => Some(Arc::new(event)),
        // Other events may share the topic.
        Err(EventError::OtherType { .. }) => None,
        Err(error) => {
            warn!(
                partition = message.partition(),
                offset = message.offset(),
                %error,
                "a retraining event cannot be read; it is passed over"
            );
            None
        }
    }
}

/// Options of `driftd launch`.
#[derive(Debug, clap::Args)]
pub struct LaunchArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: std::path::PathBuf,
}

/// Launches until SIGINT or SIGTERM; a second one ends the process at once.
pub fn run(loaded: &crate::config_file::Loaded) -> anyhow::Result<()> {
    let stopping = crate::run::on_signal()?;
    let launcher_config =
        loaded.config.launcher.as_ref().ok_or(LaunchError::Missing { section: "launcher" })?;
    let backend = command::LocalCommand::new(launcher_config, &loaded.folder);
    Launcher::connect(&loaded.config, Box::new(backend))?.run(&stopping);
    Ok(())
}
