//! One lane: the pipeline of its models, and what waits for the next transaction.
//!
//! Before: [`super`] hands over rows as [`Event`]s. After: [`Lane::send`] fills a transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use driftd_core::config::{Config, ScaleOutConfig};
use driftd_core::event::{Effect, Event};
use driftd_core::output::{OutputMessage, OutputTopic};
use driftd_core::pipeline::Pipeline;
use driftd_core::snapshot::{Snapshot, Totals};
use driftd_core::state::{Batch, Restored};
use tracing::{info, warn};

use super::assignment::FIRST;
use crate::clock;
use crate::http::LaneCounts;
use crate::kafka::outputs::{OutputTopics, headers};
use crate::kafka::sharing::{batch_bytes, send_rows};
use crate::kafka::transactions::{Letter, Origin, Transaction, Unsent};
use crate::stage::{log_transition, log_window};

/// Ids of retraining events.
pub(super) type RefusedEvents = BTreeSet<Arc<str>>;

/// A lane that this process owns.
pub(super) struct Lane {
    config: Arc<Config>,
    /// Name of the job in events.
    source: String,
    pipeline: Pipeline,
    next_offset: Option<i64>,
    /// Rows were read since the last transaction.
    is_moved: bool,
    /// What is to be kept, but not sent yet.
    changes: Batch,
    /// What is to be sent and is not yet.
    messages: Vec<OutputMessage>,
    messages_bytes: usize,
    /// How many of them count as delivered already.
    delivered: usize,
    /// Indices of those that their topic refuses.
    left_out: BTreeSet<usize>,
    /// Retraining events that their topic refuses.
    refused: RefusedEvents,
    picture: Arc<Snapshot>,
    is_changed: bool,
    /// What the process has counted of it.
    counted: Totals,
}

impl Lane {
    pub(super) fn new(config: Arc<Config>, restored: Restored, refused: RefusedEvents) -> Self {
        let Restored { pipeline, input, .. } = restored;
        let picture = Arc::new(pipeline.snapshot(clock::now()));
        Self {
            counted: picture.totals,
            source: config.event_source(),
            config,
            picture,
            pipeline,
            next_offset: input,
            is_moved: false,
            changes: Batch::new(),
            messages: Vec::new(),
            messages_bytes: 0,
            delivered: 0,
            left_out: BTreeSet::new(),
            refused,
            is_changed: true,
        }
    }

    pub(super) fn next_offset(&self) -> Option<i64> {
        self.next_offset
    }

    /// Where it goes on, also before the first row.
    pub(super) fn position(&self) -> i64 {
        self.next_offset.unwrap_or(FIRST)
    }

    pub(super) fn picture(&self) -> &Arc<Snapshot> {
        &self.picture
    }

    /// Returns what it came to since the last call.
    pub(super) fn take_counts(&mut self) -> LaneCounts {
        let counted = std::mem::replace(&mut self.counted, self.picture.totals);
        LaneCounts::between(&counted, &self.picture.totals)
    }

    /// Returns whether there is a new picture since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// Takes the row at `offset`; `None`: it says nothing here. One that was taken before is passed
    /// over: the client may go back.
    pub(super) fn take(&mut self, offset: i64, event: Option<Event>) {
        if self.next_offset.is_some_and(|next_offset| offset < next_offset) {
            return;
        }
        self.next_offset = Some(offset + 1);
        self.is_moved = true;
        if let Some(event) = event {
            self.handle(event);
        }
    }

    pub(super) fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.pipeline.handle(clock::now(), event, &mut effects);
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Publish(picture) => {
                self.picture = picture;
                self.is_changed = true;
            }
            Effect::Window(result) => {
                log_window(&result);
                if self.config.outputs.results_topic.is_some() {
                    let lines: Vec<_> = OutputMessage::lines(&self.source, &result).collect();
                    for line in lines {
                        self.push(line);
                    }
                }
            }
            Effect::Episode(transition) => log_transition(&transition),
            Effect::Retrain(event) if self.refused.contains(&*event.id) => {
                warn!(id = %event.id, "a retraining event is not sent: its topic refuses it");
                let id = event.id.as_str().into();
                self.handle(Event::RetrainDelivered { id, stored: false });
            }
            Effect::Retrain(event) => {
                info!(id = %event.id, reason = %event.data.reason.summary, "retraining requested");
                self.push(OutputMessage::event(&event));
            }
            // Readers may be other processes; they report what they hold when they fall silent. The
            // configuration has no performance beside `scale_out`.
            Effect::Flush(_) | Effect::Pause(_) | Effect::Resume(_) | Effect::Performance(_) => {}
        }
    }

    fn push(&mut self, message: OutputMessage) {
        self.messages_bytes += message.bytes();
        self.messages.push(message);
    }

    /// Gathers what the next transaction holds. What it sends counts as delivered in what it
    /// keeps: both become visible together.
    pub(super) fn prepare(&mut self) {
        let new = self.messages.iter().skip(self.delivered);
        let events = new.filter(|it| it.topic == OutputTopic::Retraining);
        let ids: Vec<Arc<str>> = events.map(|it| Arc::clone(&it.id)).collect();
        self.delivered = self.messages.len();
        for id in ids {
            self.handle(Event::RetrainDelivered { id, stored: true });
        }
        if let Some(next_offset) = self.next_offset.filter(|_| self.is_moved) {
            self.pipeline.set_input(next_offset);
        }
        self.changes.extend(self.pipeline.take_changes());
    }

    /// Returns what waits for a transaction, in bytes.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.messages_bytes + self.kept_bytes()
    }

    /// Returns the part of that which is to be sent.
    pub(super) fn messages_bytes(&self) -> usize {
        self.messages_bytes
    }

    /// Returns the part of that which is to be kept.
    pub(super) fn kept_bytes(&self) -> usize {
        batch_bytes(&self.changes)
    }

    /// Whether there is something to tell. A new owner has: that it is one.
    pub(super) fn has_news(&self) -> bool {
        !self.changes.is_empty() || !self.messages.is_empty()
    }

    /// Sends what was gathered.
    pub(super) fn send(
        &self,
        transaction: &Transaction<'_>,
        topics: Option<&OutputTopics>,
        scale_out: &ScaleOutConfig,
        number: i32,
    ) -> Result<(), Unsent> {
        send_rows(transaction, (&scale_out.state_topic, number), number, &self.changes)?;
        for (index, message) in self.messages.iter().enumerate() {
            if self.left_out.contains(&index) {
                continue;
            }
            let Some(topic) = topics.and_then(|topics| topics.name(message.topic)) else {
                continue;
            };
            transaction.send(Letter {
                origin: Origin { owner: number, output: Some(index) },
                topic,
                partition: None,
                key: message.key.as_bytes(),
                payload: Some(&message.payload),
                headers: Some(headers(message)),
            })?;
        }
        Ok(())
    }

    /// Leaves an output out that its topic refuses. Returns the id of an event: what is to be kept
    /// says that it is delivered, so the lane has to decide again.
    pub(super) fn leave_out(&mut self, index: usize) -> Option<Arc<str>> {
        self.left_out.insert(index);
        let message = self.messages.get(index);
        let event = message.filter(|it| it.topic == OutputTopic::Retraining);
        event.map(|event| Arc::clone(&event.id))
    }

    /// Takes note that everything that was sent is there.
    pub(super) fn committed(&mut self) {
        let messages = std::mem::take(&mut self.messages);
        let left_out = std::mem::take(&mut self.left_out);
        let lines = messages.iter().enumerate().filter(|(_, it)| it.topic == OutputTopic::Results);
        let (failed, stored): (Vec<usize>, Vec<usize>) =
            lines.map(|(index, _)| index).partition(|index| left_out.contains(index));
        let (stored, failed) = (stored.len() as u64, failed.len() as u64);
        if 0 < stored + failed {
            self.handle(Event::ResultsDelivered { stored, failed });
        }
        self.messages_bytes = 0;
        self.delivered = 0;
        self.changes.clear();
        self.is_moved = false;
    }
}
