//! The pipeline's thread: takes events, lets the sans-io pipeline decide, carries out its effects.
//!
//! Before: [`crate::outbox`]. After: snapshots for HTTP, batches for the store, and behind them
//! result lines and retraining events for [`crate::courier`]; commands for the consumers. It ends
//! when every sender of events has hung up, after everything that was read is decided.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use driftd_catalog::label::MemoryOwner;
use driftd_catalog::{SegmentId, Timestamp};
use driftd_core::config::Config;
use driftd_core::event::{Effect, Event};
use driftd_core::labels::PerformanceResult;
use driftd_core::output::Published;
use driftd_core::pipeline::Pipeline;
use driftd_core::result::WindowResult;
use tracing::{error, info, warn};

use crate::board::Board;
use crate::clock::{self, Stopwatch};
use crate::commands::{Command, CommandSender};
use crate::courier::{self, Courier};
use crate::daemon::Observer;
use crate::failpoint;
use crate::http::{Health, Heartbeat, Instruments};
use crate::kafka::producer::{Producer, Reports};
use crate::kafka::rebalance::{Begin, BeginCell};
use crate::kafka::sharing::batch_bytes;
use crate::memory::held::Holder;
use crate::outbox::EventReceiver;
use crate::store::{FolderStore, StoreError};

/// How often time passes for the pipeline: bounds how late a window is seen.
const TICK: Duration = Duration::from_millis(100);
/// Events taken between two ticks, so that a flood does not hold up the snapshot.
const EVENTS_BETWEEN_TICKS_MAX: usize = 256;
/// What was sent before the end is waited for this long.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(8);
/// Messages of more memory are stored and handed over before the time has come.
const OUTPUTS_BYTES_MAX: usize = 4 << 20;

/// Predictions and labels of more memory are stored before the time has come.
pub(crate) const ENTRIES_BYTES_MAX: u64 = 16 << 20;

/// How often outputs are sent where no state is kept: a transaction takes tens of milliseconds.
const SEND_INTERVAL_MILLIS: i64 = 200;

/// Everything the pipeline's thread needs.
pub(crate) struct Stage {
    pub(crate) config: Arc<Config>,
    pub(crate) pipeline: Pipeline,
    pub(crate) events: EventReceiver,
    pub(crate) reports: Reports,
    pub(crate) producer: Arc<Producer>,
    pub(crate) board: Board,
    /// One a consumer thread; dropping them ends the threads.
    pub(crate) commands: Vec<CommandSender>,
    /// One a source; consumers wait for it.
    pub(crate) starts: Vec<Start>,
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) health: Arc<Health>,
    pub(crate) instruments: Arc<Instruments>,
    pub(crate) observer: Observer,
    pub(crate) keeper: Keeper,
    /// Absent where nothing is sent.
    pub(crate) courier: Option<Courier>,
    /// Sending has begun, or there is nothing to send: what is decided has a place to go.
    pub(crate) is_open: bool,
}

/// Where a source begins.
pub(crate) struct Start {
    /// Its consumers wait for it.
    pub(crate) cell: BeginCell,
    /// Where it begins when no state was lost.
    pub(crate) begin: Begin,
    /// There is no state of it, but outputs may tell that there was.
    pub(crate) may_be_lost: bool,
}

/// Stores what changed, now and then.
pub(crate) struct Keeper {
    /// Absent where no state is kept: what changed is sent all the same.
    pub(crate) store: Option<FolderStore>,
    pub(crate) interval_millis: i64,
    pub(crate) stored_at: Timestamp,
    /// The newest batch.
    pub(crate) held: Holder,
}

impl Keeper {
    /// Keeps nothing; what is decided is sent soon.
    pub(crate) fn nothing() -> Self {
        Self {
            store: None,
            interval_millis: SEND_INTERVAL_MILLIS,
            stored_at: Timestamp::MIN,
            held: Holder::new(MemoryOwner::Checkpoints),
        }
    }
}

impl Stage {
    /// Runs until all senders of events have hung up.
    pub(crate) fn run(mut self) {
        loop {
            self.heartbeat.beat(clock::instant());
            let is_stopping = self.stopping.load(Ordering::Relaxed);
            if is_stopping {
                self.commands.clear();
            }
            self.open();
            if !self.is_open && is_stopping {
                return self.drop_events();
            }
            let is_full = self.is_outbox_full();
            self.health.has_room(!is_full, clock::instant());
            if self.is_open && (is_stopping || !is_full) {
                if !self.take_events() {
                    break;
                }
                self.take_reports();
                self.handle(Event::Tick);
            } else {
                // No time passes for the pipeline: what it would miss is in the events that wait.
                self.courier.iter().for_each(|courier| courier.wait(TICK));
                self.take_reports();
            }
            self.keep();
        }
        if let Err(error) = self.producer.flush(FLUSH_TIMEOUT) {
            error!(%error, "messages may be lost: the broker did not answer before the end");
        }
        self.take_reports();
        self.handle(Event::Tick);
        self.close();
    }

    /// Begins to send, once it is known what is sent already. Only then may anything be decided.
    fn open(&mut self) {
        let opening = self.courier.as_ref().and_then(Courier::take_opening);
        if let Some(opening) = opening {
            self.begin(opening.published.as_ref());
            self.handle(Event::OutboxOpened(opening));
            failpoint::hit("stage.opened");
            self.is_open = true;
            self.keeper.stored_at = Timestamp::MIN;
            self.keep();
        }
    }

    /// Lets consumers begin, now that it is known what the topics hold.
    fn begin(&self, published: Option<&Published>) {
        for (source, start) in self.starts.iter().enumerate() {
            let published = published.filter(|_| start.may_be_lost);
            let time = published.and_then(|it| it.begin(&self.config, source));
            if let Some(time) = time {
                let topic = &self.config.sources[source].topic;
                warn!(%topic, from = %time, "state was lost: records are read again");
            }
            start.cell.get_or_init(|| time.map_or(start.begin, Begin::At));
        }
    }

    /// Ends without having decided anything: the next process reads it again.
    fn drop_events(mut self) {
        if let Some(courier) = &self.courier {
            courier.end(Duration::ZERO);
        }
        while !matches!(self.events.receive(TICK), Err(RecvTimeoutError::Disconnected)) {
            self.heartbeat.beat(clock::instant());
        }
        self.commands.clear();
    }

    fn is_outbox_full(&self) -> bool {
        let (messages, bytes) = self.courier.as_ref().map_or((0, 0), Courier::waiting);
        self.instruments.outbox(messages, bytes);
        courier::MESSAGES_MAX <= messages
            || courier::BYTES_MAX <= bytes + self.pipeline.outputs_bytes()
    }

    fn take_reports(&mut self) {
        for event in self.reports.take() {
            let is_sent = matches!(event, Event::OutputsSent { .. });
            self.handle(event);
            if is_sent {
                failpoint::hit("stage.outputs_sent");
            }
        }
        if self.courier.as_ref().is_some_and(Courier::is_replaced) {
            error!(
                group = self.config.kafka.as_ref().map_or("", |kafka| &*kafka.group),
                "another process sends the outputs of this group: this one ends"
            );
            end();
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
            Effect::Publish(snapshot) => self.board.show(snapshot),
            Effect::Window(result) => log_window(&result),
            Effect::Performance(result) => log_performance(&result),
            Effect::Episode(transition) => log_transition(&transition),
            Effect::Retrain(event) => {
                info!(id = %event.id, reason = %event.data.reason.summary, "retraining requested");
            }
            Effect::Flush(partition) => self.command(&Command::Flush(partition)),
            Effect::Pause(partition) => self.command(&Command::Pause(partition)),
            Effect::Resume(partition) => self.command(&Command::Resume(partition)),
        }
    }

    /// Asks for checkpoints and stores what changed; the answers are in the next batch. What was
    /// decided is sent when it is stored.
    ///
    /// A batch that cannot be stored ends the process: what is decided from here on would be
    /// forgotten, and decided again, by the next one.
    fn keep(&mut self) {
        let now = clock::now();
        let due_at = self.keeper.stored_at.plus_millis(self.keeper.interval_millis);
        let is_due = due_at <= now
            || OUTPUTS_BYTES_MAX < self.pipeline.outputs_bytes()
            || ENTRIES_BYTES_MAX < self.pipeline.entries_bytes();
        if !self.is_open || !is_due {
            return;
        }
        self.keeper.stored_at = now;
        self.store();
        self.hand_over();
        if self.keeper.store.is_some() {
            self.command(&Command::Checkpoint);
        }
    }

    fn store(&mut self) {
        let batch = self.pipeline.take_changes();
        let entries = self.pipeline.take_entries();
        let Some(store) = &mut self.keeper.store else { return };
        self.keeper.held.set(batch_bytes(&batch) as u64);
        failpoint::hit("stage.before_batch");
        if let Err(error) = store.commit_all(batch, entries) {
            fail(error);
        }
        failpoint::hit("stage.after_batch");
        self.keeper.held.set(0);
        self.instruments.stored(self.keeper.stored_at);
        self.instruments.store_takes(store.bytes());
    }

    /// Lets the courier have what is stored.
    fn hand_over(&mut self) {
        let outputs = self.pipeline.take_outputs();
        let Some(courier) = &self.courier else { return };
        courier.push(outputs);
    }

    /// Stores and sends what was decided last.
    fn close(mut self) {
        self.store();
        self.hand_over();
        let left = self.courier.as_ref().map_or(0, |courier| courier.end(FLUSH_TIMEOUT));
        self.take_reports();
        if 0 < left && self.keeper.store.is_none() {
            warn!(left, "outputs are not sent: the broker did not answer before the end");
        }
        if let Some(store) = self.keeper.store.take()
            && let Err(error) =
                store.close(self.pipeline.take_changes(), self.pipeline.take_entries())
        {
            fail(error);
        }
    }

    /// Every consumer hears of it; only the partition's owner acts.
    fn command(&self, command: &Command) {
        for consumer in &self.commands {
            if !consumer.send(command.clone()) {
                error!(?command, "a consumer thread has ended early");
            }
        }
    }
}

fn fail(error: StoreError) -> ! {
    error!(error = format!("{:#}", anyhow::Error::from(error)), "state is not stored");
    end()
}

/// Ends the process at once.
#[expect(clippy::exit, reason = "what comes after would be decided in vain")]
pub(crate) fn end() -> ! {
    std::process::exit(1)
}

pub(crate) fn log_window(result: &WindowResult) {
    info!(
        window = %result.id,
        rows = result.rows,
        state = result.state().as_str(),
        complete = result.complete,
        is_final = result.edition.is_final,
        "window evaluated"
    );
}

fn log_performance(result: &PerformanceResult) {
    let whole = result.parts.iter().filter(|it| it.segment == SegmentId::all());
    for part in whole {
        info!(
            window = %result.span,
            version = %part.version,
            predictions = part.predictions,
            labelled = part.labelled,
            "labels are complete"
        );
    }
}

pub(crate) fn log_transition(transition: &driftd_alerts::Transition) {
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
