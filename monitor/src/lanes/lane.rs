//! One lane: the pipeline of its models, and what waits for the next transaction.
//!
//! Before: [`super`] hands over rows as [`Event`]s. After: [`Lane::send`] fills a transaction.

use std::sync::Arc;

use driftd_catalog::event::{CloudEvent, RetrainingRequested};
use driftd_core::FeatureLine;
use driftd_core::config::{Config, ScaleOutConfig};
use driftd_core::event::{Effect, Event};
use driftd_core::pipeline::Pipeline;
use driftd_core::result::WindowResult;
use driftd_core::snapshot::Snapshot;
use driftd_core::state::{Batch, Restored};
use tracing::{error, info};

use crate::clock;
use crate::kafka::producer::event_headers;
use crate::kafka::sharing::send_rows;
use crate::kafka::transactions::{Letter, Refused, Transaction};
use crate::stage::{log_transition, log_window};

/// A lane that this process owns.
pub(super) struct Lane {
    config: Arc<Config>,
    pipeline: Pipeline,
    next_offset: Option<i64>,
    /// Rows were read since the last transaction.
    is_moved: bool,
    /// What is to be kept, but not sent yet.
    changes: Batch,
    /// Key and content of each line of results that is not sent yet.
    lines: Vec<(String, Vec<u8>)>,
    requests: Vec<CloudEvent<RetrainingRequested>>,
    /// How many of them count as delivered already.
    delivered: usize,
    picture: Arc<Snapshot>,
    is_changed: bool,
}

impl Lane {
    pub(super) fn new(config: Arc<Config>, restored: Restored) -> Self {
        let Restored { pipeline, input, .. } = restored;
        Self {
            config,
            picture: Arc::new(pipeline.snapshot(clock::now())),
            pipeline,
            next_offset: input,
            is_moved: false,
            changes: Batch::new(),
            lines: Vec::new(),
            requests: Vec::new(),
            delivered: 0,
            is_changed: true,
        }
    }

    pub(super) fn next_offset(&self) -> Option<i64> {
        self.next_offset
    }

    pub(super) fn picture(&self) -> &Snapshot {
        &self.picture
    }

    /// Returns whether there is a new picture since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// Takes the row at `offset`; `None`: it says nothing here.
    pub(super) fn take(&mut self, offset: i64, event: Option<Event>) {
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
            Effect::Window(result) => self.write_results(&result),
            Effect::Episode(transition) => log_transition(&transition),
            Effect::Retrain(event) => {
                info!(id = %event.id, reason = %event.data.reason.summary, "retraining requested");
                self.requests.push(*event);
            }
            // Readers may be other processes; they report what they hold when they fall silent.
            Effect::Flush(_) | Effect::Pause(_) | Effect::Resume(_) => {}
        }
    }

    fn write_results(&mut self, result: &WindowResult) {
        log_window(result);
        if self.config.outputs.results_topic.is_none() {
            return;
        }
        let key = result.id.model.to_string();
        for line in FeatureLine::of(result) {
            match serde_json::to_vec(&line) {
                Ok(line) => self.lines.push((key.clone(), line)),
                Err(error) => error!(window = %result.id, %error, "a result has no JSON form"),
            }
        }
    }

    /// Gathers what the next transaction holds. What it sends counts as delivered in what it
    /// keeps: both become visible together.
    pub(super) fn prepare(&mut self) {
        let new = self.requests.iter().skip(self.delivered);
        let ids: Vec<Arc<str>> = new.map(|it| it.id.as_str().into()).collect();
        self.delivered = self.requests.len();
        for id in ids {
            self.handle(Event::RetrainDelivered { id, stored: true });
        }
        if let Some(next_offset) = self.next_offset.filter(|_| self.is_moved) {
            self.pipeline.set_input(next_offset);
        }
        self.changes.extend(self.pipeline.take_changes());
    }

    pub(super) fn has_news(&self) -> bool {
        !self.changes.is_empty() || !self.lines.is_empty() || !self.requests.is_empty()
    }

    /// Sends what was gathered.
    pub(super) fn send(
        &self,
        transaction: &Transaction<'_>,
        config: &Config,
        scale_out: &ScaleOutConfig,
        number: i32,
    ) -> Result<(), Refused> {
        send_rows(transaction, &scale_out.state_topic, number, &self.changes)?;
        if let Some(topic) = &config.outputs.results_topic {
            for (key, line) in &self.lines {
                transaction.send(message(topic, key, line))?;
            }
        }
        if let Some(retraining) = &config.retraining {
            for event in &self.requests {
                let payload = event.to_json();
                let headers = event_headers(&event.id, &event.source, &event.event_type);
                let letter = message(&retraining.topic, &event.partitionkey, &payload);
                transaction.send(Letter { headers: Some(headers), ..letter })?;
            }
        }
        Ok(())
    }

    /// Takes note that everything that was sent is there.
    pub(super) fn committed(&mut self) {
        let stored = std::mem::take(&mut self.lines).len() as u64;
        if 0 < stored {
            self.handle(Event::ResultsDelivered { stored, failed: 0 });
        }
        self.changes.clear();
        self.requests.clear();
        self.delivered = 0;
        self.is_moved = false;
    }
}

fn message<'a>(topic: &'a str, key: &'a str, payload: &'a [u8]) -> Letter<'a> {
    Letter { topic, partition: None, key: key.as_bytes(), payload: Some(payload), headers: None }
}
