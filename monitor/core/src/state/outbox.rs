//! Messages on their way to topics, each with a number: rows until a transaction has carried them.
//!
//! Before: [`crate::pipeline`] decides what to send. After: the edge stores the rows together with
//! the decision, sends what is stored, and commits in the same transaction the number up to which
//! everything is sent. So the topics say it themselves, and no crash in between sends a message
//! twice or not at all.
//!
//! That number counts for one store. Where it is about another one, or runs ahead of this one
//! (batches that were lost with the power), what is decided again is looked for in the topics:
//! [`Published`].

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use driftd_catalog::Timestamp;
use driftd_catalog::event::{CloudEvent, RetrainingRequested};
use serde::{Deserialize, Serialize};

use super::Change;
use super::key::Key;
use crate::config::Config;
use crate::labels::PerformanceResult;
use crate::output::{OutputMessage, OutputTopic, Published};
use crate::result::WindowResult;

/// Tells one store from another: drawn by the edge when it makes the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreId(pub u64);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for StoreId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// How far the messages of a store are sent, as committed with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Which store.
    pub store: StoreId,
    /// Number of the first message that is not sent.
    pub next: u64,
}

/// Where the outbox stands before it is opened.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Which store.
    pub store: StoreId,
    next: u64,
    reads_back: bool,
}

impl Standing {
    /// Returns whether the topics may hold what will be decided again, so that they have to be
    /// read.
    pub fn needs_published(&self, position: Option<Position>) -> bool {
        let is_behind = |position: Position| self.next < position.next;
        self.reads_back || position.is_none_or(|it| it.store != self.store || is_behind(it))
    }
}

/// What is known of the topics when sending begins.
#[derive(Debug, Default)]
pub struct Opening {
    /// What was committed last.
    pub position: Option<Position>,
    /// What the topics hold, where [`Standing::needs_published`].
    pub published: Option<Published>,
}

/// What is stored of the outbox beside its messages.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct OutboxBody {
    store: StoreId,
    /// Number of the next message.
    next: u64,
    /// An earlier store was lost, and this one may not have passed what was sent from it.
    reads_back: bool,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    body: OutboxBody,
    is_body_stored: bool,
    /// Name of the job in events.
    source: String,
    has_results: bool,
    /// Messages that nobody has taken to send, and the memory they take.
    waiting: VecDeque<(u64, OutputMessage)>,
    bytes: usize,
    /// Messages below are in a batch.
    written: u64,
    /// Messages in the store, and those to be removed from it.
    stored: BTreeSet<u64>,
    gone: Vec<u64>,
    published: Option<Published>,
}

impl Outbox {
    /// Begins with an empty store.
    pub(crate) fn new(config: &Config, store: StoreId) -> Self {
        Self::with(config, OutboxBody { store, next: 0, reads_back: true }, false)
    }

    fn with(config: &Config, body: OutboxBody, is_body_stored: bool) -> Self {
        Self {
            body,
            is_body_stored,
            source: config.event_source(),
            has_results: config.outputs.results_topic.is_some(),
            waiting: VecDeque::new(),
            bytes: 0,
            written: body.next,
            stored: BTreeSet::new(),
            gone: Vec::new(),
            published: None,
        }
    }

    /// Goes on with messages that were stored. Those whose topic is written no more are dropped.
    pub(super) fn restore(
        config: &Config,
        body: OutboxBody,
        messages: Vec<(u64, OutputMessage)>,
    ) -> Self {
        let mut outbox = Self::with(config, body, true);
        for (number, message) in messages {
            outbox.stored.insert(number);
            let is_written = match message.topic {
                OutputTopic::Results => outbox.has_results,
                OutputTopic::Retraining => config.retraining.is_some(),
            };
            if is_written {
                outbox.bytes += message.bytes();
                outbox.waiting.push_back((number, message));
            } else {
                outbox.drop_row(number);
            }
        }
        outbox
    }

    /// Adds the lines of a window whose labels are all there.
    pub(crate) fn add_performance(&mut self, model: &Arc<str>, result: &PerformanceResult) {
        if self.has_results {
            let source = self.source.clone();
            for line in OutputMessage::performance(&source, model, result) {
                self.add(line);
            }
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        let OutboxBody { store, next, reads_back } = self.body;
        Standing { store, next, reads_back }
    }

    /// Begins to send. Returns the retraining events among the stored messages that turn out to be
    /// in their topic.
    pub(crate) fn open(&mut self, config: &Config, opening: Opening) -> Vec<Arc<str>> {
        let Opening { position, published } = opening;
        let own = position.filter(|it| it.store == self.body.store);
        let next = own.map_or(0, |it| it.next);
        self.body.next = self.body.next.max(next);
        self.published = published;
        if let Some(published) = &mut self.published {
            published.retain(|name| config.models.iter().any(|model| *model.name == *name));
        }
        let mut found = Vec::new();
        for (number, message) in std::mem::take(&mut self.waiting) {
            let is_sent = number < next
                || self.published.as_ref().is_some_and(|published| published.holds(&message.id));
            if !is_sent {
                self.waiting.push_back((number, message));
                continue;
            }
            self.bytes -= message.bytes();
            self.drop_row(number);
            if message.topic == OutputTopic::Retraining {
                found.push(message.id);
            }
        }
        self.set_reads_back();
        found
    }

    /// Adds the lines of a closed window, unless their topic has them.
    pub(crate) fn add_lines(&mut self, result: &WindowResult) {
        if self.has_results {
            let source = self.source.clone();
            for line in OutputMessage::lines(&source, result) {
                self.add(line);
            }
        }
    }

    /// Adds a retraining event; returns `false` when its topic has it.
    pub(crate) fn add_event(&mut self, event: &CloudEvent<RetrainingRequested>) -> bool {
        self.add(OutputMessage::event(event))
    }

    fn add(&mut self, message: OutputMessage) -> bool {
        if self.published.as_ref().is_some_and(|published| published.holds(&message.id)) {
            return false;
        }
        self.bytes += message.bytes();
        self.waiting.push_back((self.body.next, message));
        self.body.next += 1;
        self.is_body_stored = false;
        true
    }

    /// Notes that a window of `model` closed that every partition has passed.
    pub(crate) fn pass(&mut self, model: &str, start: Timestamp) {
        if let Some(published) = &mut self.published {
            published.pass(model, start);
            self.set_reads_back();
        }
    }

    fn set_reads_back(&mut self) {
        let reads_back = self.published.as_ref().is_some_and(|published| !published.is_over());
        if !reads_back {
            self.published = None;
        }
        if self.body.reads_back != reads_back {
            self.body.reads_back = reads_back;
            self.is_body_stored = false;
        }
    }

    /// Takes note that all messages below `to` are in their topics, or were given up.
    pub(crate) fn sent(&mut self, to: u64) {
        let kept = self.stored.split_off(&to);
        self.gone.extend(std::mem::replace(&mut self.stored, kept));
    }

    fn drop_row(&mut self, number: u64) {
        self.stored.remove(&number);
        self.gone.push(number);
    }

    /// Takes the messages that nobody has taken yet.
    pub(crate) fn take(&mut self) -> Vec<(u64, OutputMessage)> {
        self.bytes = 0;
        self.waiting.drain(..).collect()
    }

    /// Returns the memory of the messages that nobody has taken yet.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns what changed since the last batch.
    pub(crate) fn changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut put = |key: Key, value| changes.push(Change { key: key.encode(), value });
        for number in self.gone.drain(..) {
            put(Key::Outbox(number), None);
        }
        for (number, message) in self.waiting.iter().filter(|(it, _)| self.written <= *it) {
            put(Key::Outbox(*number), Some(super::encode(message)));
            self.stored.insert(*number);
        }
        self.written = self.body.next;
        if !std::mem::replace(&mut self.is_body_stored, true) {
            put(Key::Store, Some(super::encode(&self.body)));
        }
        changes
    }
}
