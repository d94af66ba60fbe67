//! The pipeline's thread: takes events, lets the sans-io pipeline decide, carries out its effects.
//!
//! Before: [`crate::outbox`]. After: snapshots for HTTP, result lines and retraining events for the
//! producer, commands for the consumers. It ends when every sender of events has hung up, after
//! everything that was read is decided.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender};
use std::time::Duration;

use driftd_core::FeatureLine;
use driftd_core::config::Config;
use driftd_core::event::{Effect, Event};
use driftd_core::pipeline::Pipeline;
use driftd_core::result::WindowResult;
use driftd_core::snapshot::Snapshot;
use tokio::sync::watch;
use tracing::{error, info, info_span};

use crate::clock::{self, Stopwatch};
use crate::daemon::Observer;
use crate::http::{Health, Heartbeat, Instruments};
use crate::kafka::consumer::Command;
use crate::kafka::producer::{Producer, Reports};
use crate::outbox::EventReceiver;

/// How often time passes for the pipeline: bounds how late a window is seen.
const TICK: Duration = Duration::from_millis(100);
/// Events taken between two ticks, so that a flood does not hold up the snapshot.
const EVENTS_BETWEEN_TICKS_MAX: usize = 256;
/// What was sent before the end is waited for this long.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

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
            for event in self.reports.take() {
                self.handle(event);
            }
            self.handle(Event::Tick);
        }
        if let Err(error) = self.producer.flush(FLUSH_TIMEOUT) {
            error!(%error, "messages may be lost: the broker did not answer before the end");
        }
        for event in self.reports.take() {
            self.handle(event);
        }
        self.handle(Event::Tick);
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

    /// Every consumer hears of it; only the partition's owner acts.
    fn command(&self, command: &Command) {
        for consumer in &self.commands {
            if consumer.send(command.clone()).is_err() {
                error!(?command, "a consumer thread has ended early");
            }
        }
    }

    fn write_results(&self, result: &WindowResult) {
        info!(
            window = %result.id,
            rows = result.rows,
            state = result.state().as_str(),
            complete = result.complete,
            "window closed"
        );
        let Some(topic) = &self.config.outputs.results_topic else { return };
        let key = result.id.model.to_string();
        for line in FeatureLine::of(result) {
            match serde_json::to_vec(&line) {
                Ok(line) => self.producer.result(topic, &key, &line),
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
