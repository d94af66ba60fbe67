//! The pipeline's thread: takes events, lets the sans-io pipeline decide, carries out its effects.
//!
//! Before: [`crate::outbox`]. After: snapshots for HTTP, result lines and retraining events for the
//! producer, commands for the consumers. It ends when every sender of events has hung up, after
//! everything that was read is decided.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender};
use std::time::Duration;

use driftd_catalog::Timestamp;
use driftd_core::FeatureLine;
use driftd_core::config::Config;
use driftd_core::event::{Effect, Event};
use driftd_core::pipeline::Pipeline;
use driftd_core::result::WindowResult;
use driftd_core::snapshot::Snapshot;
use tokio::sync::watch;
use tracing::{debug, error, info, info_span, warn};

use crate::clock::{self, Stopwatch};
use crate::daemon::Observer;
use crate::http::{Health, Heartbeat, Instruments};
use crate::kafka::consumer::Command;
use crate::kafka::producer::{Producer, Reports};
use crate::outbox::EventReceiver;
use crate::store::Store;

/// How often time passes for the pipeline: bounds how late a window is seen.
const TICK: Duration = Duration::from_millis(100);
/// Events taken between two ticks, so that a flood does not hold up the snapshot.
const EVENTS_BETWEEN_TICKS_MAX: usize = 256;
/// What was sent before the end is waited for this long.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);
/// Lines of results are waited for this long before state is stored; else the next time.
const LINES_TIMEOUT: Duration = Duration::from_millis(500);

/// Everything the pipeline's thread needs.
pub(crate) struct Stage {
    pub(crate) config: Arc<Config>,
    pub(crate) pipeline: Pipeline,
    pub(crate) events: EventReceiver,
    pub(crate) reports: Reports,
    pub(crate) producer: Arc<Producer>,
    pub(crate) publish: watch::Sender<Arc<Snapshot>>,
    /// One a consumer thread; dropping them ends the threads.
    pub(crate) commands: Vec<SyncSender<Command>>,
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) health: Arc<Health>,
    pub(crate) instruments: Arc<Instruments>,
    pub(crate) observer: Observer,
    /// Absent where no state is kept.
    pub(crate) keeper: Option<Keeper>,
    /// Lines of results that the broker has not answered for.
    pub(crate) lines_in_flight: u64,
}

/// Stores what changed, now and then.
pub(crate) struct Keeper {
    pub(crate) store: Store,
    pub(crate) interval_millis: i64,
    pub(crate) stored_at: Timestamp,
}

impl Stage {
    /// Runs until all senders of events have hung up.
    pub(crate) fn run(mut self) {
        loop {
            self.heartbeat.beat(clock::instant());
            if self.stopping.load(Ordering::Relaxed) {
                self.commands.clear();
            }
            if !self.take_events() {
                break;
            }
            self.take_reports();
            self.handle(Event::Tick);
            self.keep();
        }
        if let Err(error) = self.producer.flush(FLUSH_TIMEOUT) {
            error!(%error, "messages may be lost: the broker did not answer before the end");
        }
        self.take_reports();
        self.handle(Event::Tick);
        self.close();
    }

    fn take_reports(&mut self) {
        for event in self.reports.take() {
            if let Event::ResultsDelivered { stored, failed } = event {
                self.lines_in_flight = self.lines_in_flight.saturating_sub(stored + failed);
            }
            self.handle(event);
        }
    }

    /// Takes what has come, at least one event or one tick; `false` when nothing more will come.
    fn take_events(&mut self) -> bool {
        let mut timeout = TICK;
        for _ in 0..EVENTS_BETWEEN_TICKS_MAX {
            match self.events.receive(timeout) {
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
            timeout = Duration::ZERO;
        }
        self.instruments.queued(self.events.waiting());
        true
    }

    fn handle(&mut self, event: Event) {
        if matches!(event, Event::Assigned { .. }) {
            self.health.assigned();
        }
        let mut effects = Vec::new();
        let stopwatch = Stopwatch::start();
        self.pipeline.handle(clock::now(), event, &mut effects);
        self.measure(&effects, stopwatch.elapsed());
        for effect in effects {
            (self.observer)(&effect);
            self.carry_out(effect);
        }
    }

    /// Windows are evaluated together; each gets its share of the time.
    fn measure(&self, effects: &[Effect], took: Duration) {
        let windows = effects.iter().filter(|effect| matches!(effect, Effect::Window(_))).count();
        if let Ok(windows) = u32::try_from(windows)
            && 0 < windows
        {
            for _ in 0..windows {
                self.instruments.evaluated(took / windows);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Publish(snapshot) => {
                self.publish.send_replace(snapshot);
            }
            Effect::Window(result) => self.write_results(&result),
            Effect::Episode(transition) => log_transition(&transition),
            Effect::Retrain(event) => {
                let span = info_span!("publish_retrain", id = %event.id, subject = %event.subject);
                let _entered = span.enter();
                info!(id = %event.id, reason = %event.data.reason.summary, "retraining requested");
                if let Some(retraining) = &self.config.retraining {
                    self.producer.retrain(&retraining.topic, &event);
                }
            }
            Effect::Flush(partition) => self.command(&Command::Flush(partition)),
            Effect::Pause(partition) => self.command(&Command::Pause(partition)),
            Effect::Resume(partition) => self.command(&Command::Resume(partition)),
        }
    }

    /// Asks for checkpoints and stores what changed; the answers are in the next batch.
    ///
    /// A batch that cannot be stored ends the process: what is decided from here on would be
    /// forgotten, and decided again, by the next one.
    fn keep(&mut self) {
        let now = clock::now();
        let Some(keeper) = &mut self.keeper else { return };
        if now < keeper.stored_at.plus_millis(keeper.interval_millis) {
            return;
        }
        keeper.stored_at = now;
        // What is stored is not decided again, so its lines have to be in their topic before.
        if 0 < self.lines_in_flight {
            if let Err(error) = self.producer.flush(LINES_TIMEOUT) {
                debug!(%error, "lines of results are under way; state is stored later");
            }
            self.take_reports();
        }
        if self.lines_in_flight == 0
            && let Some(keeper) = &mut self.keeper
        {
            if let Err(error) = keeper.store.commit(self.pipeline.take_changes()) {
                error!(error = format!("{:#}", anyhow::Error::from(error)), "state is not stored");
                std::process::exit(1);
            }
            self.instruments.stored(now);
        }
        self.command(&Command::Checkpoint);
    }

    /// Stores the last state, unless lines of it are not in their topic.
    fn close(mut self) {
        let Some(Keeper { store, .. }) = self.keeper.take() else { return };
        if 0 < self.lines_in_flight {
            warn!("state of the end is not stored: its lines of results are not in their topic");
        } else if let Err(error) = store.close(self.pipeline.take_changes()) {
            error!(error = format!("{:#}", anyhow::Error::from(error)), "state is not stored");
        }
    }

    /// Every consumer hears of it; only the partition's owner acts.
    fn command(&self, command: &Command) {
        for consumer in &self.commands {
            if consumer.send(command.clone()).is_err() {
                error!(?command, "a consumer thread has ended early");
            }
        }
    }

    fn write_results(&mut self, result: &WindowResult) {
        info!(
            window = %result.id,
            rows = result.rows,
            state = result.state().as_str(),
            complete = result.complete,
            is_final = result.edition.is_final,
            "window evaluated"
        );
        let Some(topic) = &self.config.outputs.results_topic else { return };
        let key = result.id.model.to_string();
        for line in FeatureLine::of(result) {
            match serde_json::to_vec(&line) {
                Ok(line) => {
                    self.lines_in_flight += 1;
                    self.producer.result(topic, &key, &line);
                }
                Err(error) => error!(window = %result.id, %error, "a result has no JSON form"),
            }
        }
    }
}

fn log_transition(transition: &driftd_alerts::Transition) {
    let (episode, change) = match transition {
        driftd_alerts::Transition::Raised(episode) => (episode, "raised"),
        driftd_alerts::Transition::Cleared(episode) => (episode, "cleared"),
    };
    info!(
        model = %episode.model,
        segment = %episode.segment,
        feature = %episode.feature,
        change,
        peak_score = episode.peak_score,
        "episode"
    );
}
