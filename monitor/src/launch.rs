//! `driftd launch`: takes retraining events from their topic, starts jobs, and reports what became
//! of them.
//!
//! Before: the retraining topic. After: a [`Backend`] runs the job; every step is a status event.
//! The local command is the first backend ([`command`]); others start jobs elsewhere by the same
//! trait.
//!
//! An event starts at most one job: the status topic is the memory ([`ledger`]), read whole before
//! the first event of a partition is taken, and its order decides. Several launchers may share a
//! group ([`membership`]); each answers the events of its partitions, and what another one has
//! started is left to it while it lives. An event's offset is committed only when its last report
//! is stored.

pub mod command;
mod desk;
mod ledger;
mod membership;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use driftd_catalog::Timestamp;
use driftd_catalog::event::{CloudEvent, EventError, RetrainingRequested, RetrainingStatus};
use driftd_core::config::{Config, KafkaConfig, LauncherConfig, RetrainingConfig};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use tracing::{error, info, warn};

use crate::clock;
use crate::kafka::producer::{Bounds, Producer, Reports};
use crate::kafka::{ConnectError, base};
use crate::launch::desk::{Desk, Place, Report};
use crate::launch::ledger::{LedgerError, LedgerReader};
use crate::launch::membership::{Change, Membership, members};
use crate::unique;

/// How long a poll waits for an event; also how often running jobs are looked at.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// At the end, jobs that were told to end and reports are waited for this long: a backend kills a
/// job sooner.
const STOP_MILLIS_MAX: i64 = 20_000;
/// How often stopped jobs are looked at until they are over.
const STOP_POLL: Duration = Duration::from_millis(20);
/// Wait before a report that was not stored is sent again; doubles up to the bound.
const REPEAT_MILLIS: i64 = 500;
const REPEAT_MILLIS_MAX: i64 = 60_000;
/// How often offsets are committed.
const COMMIT_INTERVAL_MILLIS: i64 = 1_000;
/// How often another launcher's jobs are looked for.
const LOOK_INTERVAL_MILLIS: i64 = 5_000;
/// Pause before the status topic is read again after a failure.
const LEDGER_PAUSE: Duration = Duration::from_secs(1);

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
}

/// The launcher of one job configuration.
pub struct Launcher {
    kafka: KafkaConfig,
    retraining: RetrainingConfig,
    group: String,
    client: BaseConsumer<Membership>,
    producer: Arc<Producer>,
    answers: Reports,
    source: String,
    desk: Desk,
    /// Absent before the first assignment.
    reader: Option<LedgerReader>,
    /// Reports that the broker has not stored yet, by the id of their event.
    unstored: BTreeMap<Arc<str>, Unstored>,
    is_full: bool,
    looked_at: Timestamp,
    committed_at: Timestamp,
}

struct Unstored {
    report: Report,
    attempts: u32,
    /// When to send it again; `None` while an answer is awaited.
    due_at: Option<Timestamp>,
}

impl Launcher {
    /// Connects.
    pub fn connect(config: &Config, backend: Box<dyn Backend>) -> Result<Self, LaunchError> {
        let Sections { kafka, retraining, launcher } = Sections::of(config)?;
        let name = format!("{}-launcher-{}", config.name, unique_name());
        let answers = Reports::default();
        let producer = Arc::new(Producer::connect(kafka, Bounds::default(), answers.clone())?);
        let client: BaseConsumer<Membership> = base(kafka)?
            // By this name the others see whether this launcher lives.
            .set("client.id", &name)
            .set("group.id", &launcher.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // A new launcher must not lose what was asked for before it came; the ledger keeps it
            // from repeating.
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .create_with_context(Membership::new(Arc::clone(&producer)))
            .map_err(ConnectError::from)?;
        client
            .subscribe(&[&retraining.topic])
            .map_err(|source| LaunchError::Subscribe { topic: retraining.topic.clone(), source })?;
        Ok(Self {
            desk: Desk::new(&name, launcher, backend),
            kafka: kafka.clone(),
            retraining: retraining.clone(),
            group: launcher.group.clone(),
            client,
            producer,
            answers,
            source: format!("/driftd/{}/launcher", config.name),
            reader: None,
            unstored: BTreeMap::new(),
            is_full: false,
            looked_at: Timestamp::MIN,
            committed_at: Timestamp::MIN,
        })
    }

    /// Starts jobs until `stopping` is set; jobs that run then are stopped and reported.
    pub fn run(mut self, stopping: &AtomicBool) {
        info!(topic = %self.retraining.topic, "waiting for retraining events");
        while !stopping.load(Ordering::Relaxed) {
            self.poll(stopping);
            self.follow();
            self.look_elsewhere();
            // A launcher that the group has expelled does not know yet who else starts its events.
            if !self.client.assignment_lost() {
                let reports = self.desk.tick(clock::now());
                self.publish(reports);
            }
            self.settle();
        }
        self.stop();
    }

    fn poll(&mut self, stopping: &AtomicBool) {
        self.throttle();
        let polled = self.client.poll(POLL_TIMEOUT);
        let event = match &polled {
            None => None,
            Some(Ok(message)) => {
                let place = Place { partition: message.partition(), offset: message.offset() };
                Some((place, read(message)))
            }
            Some(Err(error)) => {
                warn!(%error, "cannot read retraining events");
                None
            }
        };
        drop(polled);
        // Before the event: it may be of a partition that has just come.
        self.follow_assignments(stopping);
        match event {
            None => {}
            Some((place, None)) => self.desk.skip(place),
            Some((place, Some(event))) => {
                let report = self.desk.take(clock::now(), place, event);
                self.publish(report);
            }
        }
    }

    fn follow_assignments(&mut self, stopping: &AtomicBool) {
        for change in self.client.context().changes().take() {
            match change {
                Change::Revoked(partitions) => self.desk.revoke(&partitions),
                Change::Assigned => {
                    // What came is fetched unless it is told otherwise.
                    self.is_full = false;
                    self.read_ledger(stopping);
                }
            }
        }
    }

    /// Reads what is known of all events; nothing is decided before.
    fn read_ledger(&mut self, stopping: &AtomicBool) {
        while !stopping.load(Ordering::Relaxed) {
            match LedgerReader::open(&self.kafka, &self.retraining.status_topic, stopping) {
                Ok((reader, ledger)) => {
                    *self.desk.ledger() = ledger;
                    self.reader = Some(reader);
                    return;
                }
                Err(LedgerError::Stopped) => return,
                Err(error) => {
                    let error = format!("{:#}", anyhow::Error::from(error));
                    let topic = &self.retraining.status_topic;
                    warn!(topic, error, "cannot read what launchers did; trying again");
                    thread::park_timeout(LEDGER_PAUSE);
                }
            }
        }
    }

    fn follow(&mut self) {
        if let Some(reader) = &self.reader {
            reader.follow(self.desk.ledger());
        }
    }

    /// Looks what has become of the jobs of other launchers.
    fn look_elsewhere(&mut self) {
        let now = clock::now();
        if !self.desk.looks_elsewhere() || now < self.looked_at.plus_millis(LOOK_INTERVAL_MILLIS) {
            return;
        }
        self.looked_at = now;
        let living = match members(&self.client, &self.group) {
            Ok(living) => living,
            Err(error) => return warn!(%error, "cannot see whether other launchers live"),
        };
        let reports = self.desk.look_elsewhere(now, &living);
        self.publish(reports);
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

    fn publish(&mut self, reports: impl IntoIterator<Item = Report>) {
        for report in reports {
            let status = &report.status;
            info!(
                request = %status.request_id,
                state = status.state.as_str(),
                reason = status.reason.as_deref(),
                "job"
            );
            let id = Arc::from(format!("{}-{}", status.request_id, status.state.as_str()));
            self.send(&id, &report);
            self.unstored.insert(id, Unstored { report, attempts: 1, due_at: None });
        }
    }

    fn send(&self, id: &str, report: &Report) {
        let Report { model, status, at } = report.clone();
        let mut event: CloudEvent<RetrainingStatus> =
            CloudEvent::new(&self.source, id.to_owned(), at, &model, status);
        event.correlationid = Some(event.data.request_id.clone());
        self.producer.status(&self.retraining.status_topic, &event);
    }

    /// Takes the broker's answers, sends again what was not stored, and commits what is over.
    fn settle(&mut self) {
        let now = clock::now();
        for (id, stored) in self.answers.take_statuses() {
            let Some(mut unstored) = self.unstored.remove(&id) else { continue };
            if stored {
                self.desk.stored(&unstored.report);
            } else {
                unstored.wait(now);
                self.unstored.insert(id, unstored);
            }
        }
        for (id, unstored) in &self.unstored {
            if unstored.due_at.is_some_and(|due_at| due_at <= now) {
                self.send(id, &unstored.report);
            }
        }
        for unstored in self.unstored.values_mut() {
            unstored.due_at = unstored.due_at.filter(|due_at| now < *due_at);
        }
        if self.committed_at.plus_millis(COMMIT_INTERVAL_MILLIS) <= now {
            self.committed_at = now;
            self.commit();
        }
    }

    /// Ends all jobs, and waits until their reports are stored.
    fn stop(mut self) {
        self.desk.stop();
        let until = clock::now().plus_millis(STOP_MILLIS_MAX);
        while (0 < self.desk.busy() || !self.unstored.is_empty()) && clock::now() < until {
            self.follow();
            let reports = self.desk.tick(clock::now());
            self.publish(reports);
            self.settle();
            thread::park_timeout(STOP_POLL);
        }
        self.commit();
        if !self.unstored.is_empty() {
            error!(
                reports = self.unstored.len(),
                "job reports are lost: the broker did not answer"
            );
        }
        if 0 < self.desk.busy() {
            error!(jobs = self.desk.busy(), "jobs did not end in time; they are killed unreported");
        }
    }

    fn commit(&mut self) {
        let finished = self.desk.take_finished();
        if finished.is_empty() {
            return;
        }
        if let Err(error) = self.try_commit(&finished) {
            // The ledger keeps the events from starting twice.
            warn!(%error, "offsets not committed; trying again");
            self.desk.keep_finished(finished);
        }
    }

    fn try_commit(&self, finished: &[Place]) -> Result<(), KafkaError> {
        let mut offsets = TopicPartitionList::new();
        for place in finished {
            let next = Offset::Offset(place.offset + 1);
            offsets.add_partition_offset(&self.retraining.topic, place.partition, next)?;
        }
        self.client.commit(&offsets, CommitMode::Sync)
    }
}

impl Unstored {
    fn wait(&mut self, now: Timestamp) {
        let doublings = (self.attempts - 1).min(16);
        let wait = (REPEAT_MILLIS << doublings).min(REPEAT_MILLIS_MAX);
        self.attempts = self.attempts.saturating_add(1);
        self.due_at = Some(now.plus_millis(wait));
    }
}

/// Returns a part of a name that no other process has.
fn unique_name() -> String {
    format!("{:016x}", unique::number())
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
