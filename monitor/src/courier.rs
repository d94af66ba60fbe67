//! The thread that carries stored messages to their topics, each exactly once.
//!
//! Before: [`crate::stage`] hands over messages whose batch is stored; they wait here, bounded.
//! After: [`crate::kafka::outputs`] carries them in the order of their numbers. What the
//! broker said comes back through [`Reports`].
//!
//! A slow broker holds up this thread only. When too much waits, the pipeline takes no more events
//! until some of it is sent, and consumers pause: nothing is dropped.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use driftd_core::config::KafkaConfig;
use driftd_core::output::{OutputMessage, OutputTopic};
use driftd_core::state::{Opening, Standing};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{debug, error, warn};

use crate::failpoint;
use crate::kafka::ConnectError;
use crate::kafka::outputs::{Claim, OutputProducer, OutputTopics, Refused, SendError};
use crate::kafka::producer::Reports;
use crate::kafka::read_back::{ReadBackError, read_back};
use crate::unique;

/// Messages that may wait, and the memory that they may take.
pub(crate) const MESSAGES_MAX: usize = 100_000;
pub(crate) const BYTES_MAX: usize = 64 << 20;
/// What one transaction carries at most: it has to be done well within its timeout.
const TRANSACTION_MESSAGES_MAX: usize = 5_000;
pub(crate) const TRANSACTION_BYTES_MAX: usize = 8 << 20;
/// Pause before another attempt; doubles up to the bound.
const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How often a courier without messages looks whether another process has taken over.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);

/// The end that the pipeline holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Courier(Arc<Counter>);

#[derive(Debug, Default)]
struct Counter {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<(u64, OutputMessage)>,
    bytes: usize,
    /// Found before anything is sent; the pipeline takes it once.
    opening: Option<Opening>,
    /// The pipeline has stored what it made of the opening.
    is_open: bool,
    is_ending: bool,
    /// Another process sends for the job.
    is_replaced: bool,
}

impl Courier {
    /// Returns what was found in the topics, the first time after it is known.
    pub(crate) fn take_opening(&self) -> Option<Opening> {
        self.lock().opening.take()
    }

    /// Adds messages behind all others; the first call, even of none, lets sending begin.
    pub(crate) fn push(&self, messages: Vec<(u64, OutputMessage)>) {
        let mut queue = self.lock();
        queue.is_open = true;
        queue.bytes += messages.iter().map(|(_, message)| message.bytes()).sum::<usize>();
        queue.messages.extend(messages);
        self.0.changed.notify_all();
    }

    /// Returns how many messages wait, and the memory that they take.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let queue = self.lock();
        (queue.messages.len(), queue.bytes)
    }

    /// Returns whether another process has taken over.
    pub(crate) fn is_replaced(&self) -> bool {
        self.lock().is_replaced
    }

    /// Waits until something is sent, at most this long.
    pub(crate) fn wait(&self, timeout: Duration) {
        drop(self.0.changed.wait_timeout(self.lock(), timeout));
    }

    /// Waits until everything is sent, then ends the thread; returns how many messages are left.
    pub(crate) fn end(&self, timeout: Duration) -> usize {
        let is_busy =
            |queue: &mut Queue| queue.is_open && !queue.messages.is_empty() && !queue.is_replaced;
        let (mut queue, _) = self
            .0
            .changed
            .wait_timeout_while(self.lock(), timeout, is_busy)
            .unwrap_or_else(PoisonError::into_inner);
        queue.is_ending = true;
        self.0.changed.notify_all();
        queue.messages.len()
    }

    fn is_ending(&self) -> bool {
        self.lock().is_ending
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits before another attempt; `false` when the daemon ends.
    fn pause(&self, pause: &mut Duration) -> bool {
        let (queue, _) = self
            .0
            .changed
            .wait_timeout_while(self.lock(), *pause, |queue| !queue.is_ending)
            .unwrap_or_else(PoisonError::into_inner);
        *pause = (*pause * 2).min(PAUSE_MAX);
        !queue.is_ending
    }

    /// Waits for messages; the first are there when sending may begin, even if there are none.
    fn next(&self, is_first: bool) -> Next {
        let is_idle = |queue: &mut Queue| {
            !queue.is_ending && (!queue.is_open || !is_first && queue.messages.is_empty())
        };
        let (queue, waited) = self
            .0
            .changed
            .wait_timeout_while(self.lock(), LOOK_INTERVAL, is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        if queue.is_ending {
            return Next::Ending;
        }
        if waited.timed_out() {
            return Next::Silence;
        }
        let mut bytes = 0;
        let few = queue.messages.iter().take(TRANSACTION_MESSAGES_MAX).take_while(|(_, it)| {
            bytes += it.bytes();
            bytes <= TRANSACTION_BYTES_MAX || bytes == it.bytes()
        });
        Next::Messages(few.cloned().collect())
    }

    /// Forgets messages that are sent; returns them.
    fn pop(&self, to: u64) -> Vec<(u64, OutputMessage)> {
        let mut queue = self.lock();
        let count = queue.messages.partition_point(|(number, _)| *number < to);
        let sent: Vec<_> = queue.messages.drain(..count).collect();
        queue.bytes -= sent.iter().map(|(_, message)| message.bytes()).sum::<usize>();
        self.0.changed.notify_all();
        sent
    }

    fn open(&self, opening: Opening) {
        self.lock().opening = Some(opening);
        self.0.changed.notify_all();
    }

    fn replaced(&self) {
        self.lock().is_replaced = true;
        self.0.changed.notify_all();
    }
}

/// What the courier does next.
enum Next {
    Messages(Vec<(u64, OutputMessage)>),
    /// Nothing has come for a while.
    Silence,
    Ending,
}

/// What the thread owns.
pub(crate) struct Carrier {
    kafka: KafkaConfig,
    topics: OutputTopics,
    source: String,
    standing: Standing,
    courier: Courier,
    reports: Reports,
    process: u64,
    /// What others had committed when this process took over; `None` before it has.
    others: Option<Vec<Claim>>,
    is_opened: bool,
    /// Something is committed for the store of this process, and up to where everything is sent.
    has_claimed: bool,
    next: u64,
    refused: Refused,
}

/// A way to send that is not there any more.
enum Lost {
    Ending,
    Replaced,
    Connect(ConnectError),
    Kafka(KafkaError),
    ReadBack(ReadBackError),
}

impl Carrier {
    pub(crate) fn new(
        kafka: &KafkaConfig,
        topics: OutputTopics,
        source: String,
        standing: Standing,
        reports: Reports,
    ) -> Self {
        Self {
            kafka: kafka.clone(),
            topics,
            source,
            standing,
            courier: Courier::default(),
            reports,
            process: unique::number(),
            others: None,
            is_opened: false,
            has_claimed: false,
            next: 0,
            refused: Refused::default(),
        }
    }

    pub(crate) fn courier(&self) -> Courier {
        self.courier.clone()
    }

    /// Carries until the daemon ends, or another process has taken over.
    pub(crate) fn run(mut self) {
        let mut pause = PAUSE;
        loop {
            match self.carry(&mut pause) {
                Lost::Ending => break,
                Lost::Replaced => {
                    self.courier.replaced();
                    break;
                }
                Lost::Connect(error) => error!(%error, "cannot make a producer of outputs"),
                Lost::Kafka(error) => warn!(%error, "outputs wait: the producer is made anew"),
                Lost::ReadBack(error) => {
                    warn!(error = format!("{:#}", anyhow::Error::from(error)), "outputs wait");
                }
            }
            if !self.courier.pause(&mut pause) {
                break;
            }
        }
        debug!("courier ends");
    }

    /// Makes a producer and sends with it for as long as it is good.
    fn carry(&mut self, pause: &mut Duration) -> Lost {
        match self.producer() {
            Ok(producer) => self.send_all(&producer, pause),
            Err(lost) => lost,
        }
    }

    /// Makes a producer that has fenced all others, and learns what is sent.
    fn producer(&mut self) -> Result<OutputProducer, Lost> {
        let producer = OutputProducer::connect(&self.kafka, self.topics.clone());
        let producer = producer.map_err(Lost::Connect)?;
        // Who has been replaced must not fence who replaced it.
        if self.others.is_some() {
            self.look(&producer)?;
        }
        producer.fence().map_err(Lost::Kafka)?;
        failpoint::hit("courier.fenced");
        if self.is_opened {
            self.look(&producer)?;
        } else {
            self.open(&producer)?;
        }
        Ok(producer)
    }

    /// Takes over, and looks at what the topics hold, where the pipeline may decide it again.
    fn open(&mut self, producer: &OutputProducer) -> Result<(), Lost> {
        let claims = producer.claims().map_err(Lost::Kafka)?;
        let positions = claims.iter().filter_map(|claim| claim.position());
        let own = positions.filter(|position| position.store == self.standing.store);
        let position = own.max_by_key(|position| position.next);
        // From here on a process that was fenced knows that it is replaced. What is known of the
        // store stays: that something is not, too.
        let next = position.map_or(0, |position| position.next);
        let store = position.map(|position| position.store);
        let claim = Claim { next, store, process: self.process };
        match producer.send(&[], claim, &mut self.refused) {
            Ok(()) => {}
            // Without its topics the monitor watches all the same.
            Err(SendError::Aborted(error)) if is_unknown_topic(&error) => {
                warn!(%error, "a topic of outputs does not exist: what is for it waits");
            }
            Err(SendError::Aborted(error) | SendError::Unknown(error)) => {
                return Err(Lost::Kafka(error));
            }
        }
        self.others.get_or_insert(claims);
        failpoint::hit("courier.taken_over");
        let published = if self.standing.needs_published(position) {
            let is_ending = || self.courier.is_ending();
            let read = read_back(&self.kafka, &self.topics, &self.source, &is_ending);
            Some(read.map_err(Lost::ReadBack)?)
        } else {
            None
        };
        self.next = next;
        self.is_opened = true;
        self.courier.open(Opening { position, published });
        Ok(())
    }

    /// Looks whether another process has committed meanwhile, and whether a commit of this one that
    /// was not answered for has taken place.
    fn look(&mut self, producer: &OutputProducer) -> Result<(), Lost> {
        for claim in producer.claims().map_err(Lost::Kafka)? {
            if claim.process == self.process {
                if claim.store == Some(self.standing.store) && self.is_opened {
                    self.committed(claim.next);
                }
            } else if self.others.as_ref().is_none_or(|others| !others.contains(&claim)) {
                return Err(Lost::Replaced);
            }
        }
        Ok(())
    }

    fn send_all(&mut self, producer: &OutputProducer, pause: &mut Duration) -> Lost {
        loop {
            let messages = match self.courier.next(!self.has_claimed) {
                Next::Messages(messages) => messages,
                Next::Ending => return Lost::Ending,
                // Who has been replaced may have nothing to send any more.
                Next::Silence => match self.look(producer) {
                    Err(Lost::Replaced) => return Lost::Replaced,
                    Ok(()) | Err(_) => continue,
                },
            };
            failpoint::hit("courier.before_transaction");
            let next = messages.last().map_or(self.next, |(number, _)| number + 1);
            let store = Some(self.standing.store);
            let claim = Claim { next, store, process: self.process };
            match producer.send(&messages, claim, &mut self.refused) {
                Ok(()) => {
                    failpoint::hit("courier.after_transaction");
                    self.committed(next);
                    *pause = PAUSE;
                }
                Err(SendError::Unknown(error)) => return Lost::Kafka(error),
                Err(SendError::Aborted(error)) => {
                    warn!(%error, "outputs wait: a transaction was aborted");
                    if !self.courier.pause(pause) {
                        return Lost::Ending;
                    }
                }
            }
        }
    }

    fn committed(&mut self, to: u64) {
        self.has_claimed = true;
        self.next = to;
        let (mut stored, mut failed) = (0, 0);
        let mut events = Vec::new();
        for (number, message) in self.courier.pop(to) {
            let is_stored = !self.refused.numbers.contains(&number);
            if !is_stored {
                error!(id = &*message.id, "the broker refuses an output for good: it is left out");
            }
            match message.topic {
                OutputTopic::Results if is_stored => stored += 1,
                OutputTopic::Results => failed += 1,
                OutputTopic::Retraining => events.push((message.id, is_stored)),
            }
        }
        self.refused = Refused::default();
        self.reports.outputs(to, (stored, failed), events);
    }
}

fn is_unknown_topic(error: &KafkaError) -> bool {
    let code = if let KafkaError::Transaction(error) = error {
        Some(error.code())
    } else {
        error.rdkafka_error_code()
    };
    code == Some(RDKafkaErrorCode::UnknownTopicOrPartition)
}
