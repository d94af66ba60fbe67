//! Transactions that carry messages of the outbox, and the number up to which they are sent.
//!
//! Before: [`crate::courier`] has messages whose batch is stored. After: the topics of results and
//! of retraining events, and the offset of a group of its own that is committed with them: that is
//! how the next process knows what is sent, whatever happened to this one.
//!
//! The client has no KIP-890: a commit that was not answered may still take effect later. So after
//! it the producer is given up, and a new one fences it before the committed number is read.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use driftd_core::config::{Config, KafkaConfig};
use driftd_core::output::{OutputMessage, OutputTopic};
use driftd_core::state::{Position, StoreId};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

use crate::failpoint;
use crate::kafka::client_log::log_error;
use crate::kafka::queues::{self, Queues};
use crate::kafka::transactions::{add_positions, is_for_good};
use crate::kafka::{Alone, ConnectError, base, is_queue_full};

/// Readers wait behind an open transaction at most this long.
const TRANSACTION_TIMEOUT_MILLIS: &str = "15000";
/// Below it: the client insists.
const MESSAGE_TIMEOUT_MILLIS: &str = "10000";
/// How long a step of a transaction may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// A full local queue is given this long to make room.
const QUEUE_PAUSE: Duration = Duration::from_millis(100);

/// The topics of outputs that are configured.
#[derive(Clone, Debug)]
pub(crate) struct OutputTopics {
    results: Option<String>,
    retraining: Option<String>,
}

impl OutputTopics {
    /// Returns the topics of a configuration; `None` when it has none.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let results = config.outputs.results_topic.clone();
        let retraining = config.retraining.as_ref().map(|it| it.topic.clone());
        (results.is_some() || retraining.is_some()).then_some(Self { results, retraining })
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (OutputTopic, &str)> {
        [OutputTopic::Results, OutputTopic::Retraining]
            .into_iter()
            .filter_map(|topic| Some((topic, self.name(topic)?)))
    }

    pub(crate) fn name(&self, topic: OutputTopic) -> Option<&str> {
        match topic {
            OutputTopic::Results => self.results.as_deref(),
            OutputTopic::Retraining => self.retraining.as_deref(),
        }
    }
}

/// What is committed: who sends from now on, and up to where a store is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Number of the first message that is not sent.
    pub(crate) next: u64,
    /// The store that it is about; `None` before that is known.
    pub(crate) store: Option<StoreId>,
    pub(crate) process: u64,
}

impl Claim {
    pub(crate) fn position(self) -> Option<Position> {
        Some(Position { store: self.store?, next: self.next })
    }

    fn metadata(self) -> String {
        let store = self.store.map_or_else(|| "-".to_owned(), |store| store.to_string());
        format!("driftd {:016x} {store}", self.process)
    }

    fn read(offset: Offset, metadata: &str) -> Option<Self> {
        let Offset::Offset(next) = offset else { return None };
        let mut words = metadata.split(' ').skip(1);
        let process = u64::from_str_radix(words.next()?, 16).ok()?;
        let store = words.next().and_then(|store| store.parse().ok());
        Some(Self { next: u64::try_from(next).ok()?, store, process })
    }
}

/// A transaction that did not take place, as far as is known.
#[derive(Debug)]
pub(crate) enum SendError {
    /// It was aborted; another one may follow.
    Aborted(KafkaError),
    /// Nobody knows, or the producer is of no more use: a new one has to ask.
    Unknown(KafkaError),
}

/// One instance of the producer; it has fenced all before it.
pub(crate) struct OutputProducer {
    topics: OutputTopics,
    inner: Arc<BaseProducer<Answers>>,
    group: BaseConsumer<Alone>,
}

/// Numbers of messages that the broker refuses for good.
#[derive(Debug)]
struct Answers {
    refused: Mutex<BTreeSet<usize>>,
    queues: Queues,
}

impl ClientContext for Answers {
    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.queues.told(statistics);
    }
}

impl ProducerContext for Answers {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        if let Err((error, _)) = result {
            self.note(number, error);
        }
    }
}

impl Answers {
    fn new() -> Self {
        Self { refused: Mutex::default(), queues: Queues::producing() }
    }

    fn note(&self, number: usize, error: &KafkaError) {
        if error.rdkafka_error_code().is_some_and(is_for_good) {
            self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        }
    }

    fn take(&self) -> BTreeSet<usize> {
        std::mem::take(&mut *self.refused.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl OutputProducer {
    /// Makes a producer that has not reached the cluster yet.
    pub(crate) fn connect(kafka: &KafkaConfig, topics: OutputTopics) -> Result<Self, ConnectError> {
        let mut client = base(kafka)?;
        client
            .set("transactional.id", format!("{}-outputs", kafka.group))
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MILLIS)
            .set("message.timeout.ms", MESSAGE_TIMEOUT_MILLIS)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", "5");
        queues::tell(&mut client);
        let group = base(kafka)?
            .set("group.id", format!("{}-outbox", kafka.group))
            .set("enable.auto.commit", "false")
            .create_with_context(Alone)?;
        Ok(Self { topics, inner: Arc::new(client.create_with_context(Answers::new())?), group })
    }

    /// Fences every earlier producer of the job, and waits until nothing of theirs is pending.
    pub(crate) fn fence(&self) -> Result<(), KafkaError> {
        self.inner.init_transactions(STEP_TIMEOUT)
    }

    /// Returns what is committed. With other topics than today an earlier run may have committed
    /// something else beside it.
    pub(crate) fn claims(&self) -> Result<Vec<Claim>, KafkaError> {
        let mut asked = TopicPartitionList::new();
        for (_, name) in self.topics.all() {
            asked.add_partition(name, 0);
        }
        let found = self.group.committed_offsets(asked, STEP_TIMEOUT)?;
        let mut claims = Vec::new();
        for element in found.elements() {
            element.error()?;
            claims.extend(Claim::read(element.offset(), element.metadata()));
        }
        Ok(claims)
    }

    /// Sends messages and commits `claim`, all or nothing. Messages in `refused` are left out.
    pub(crate) fn send(
        &self,
        messages: &[(u64, OutputMessage)],
        claim: Claim,
        refused: &mut Refused,
    ) -> Result<(), SendError> {
        self.inner.begin_transaction().map_err(SendError::Unknown)?;
        let sent = self.fill(messages, claim, refused);
        let sent = sent.and_then(|()| {
            failpoint::hit("transaction.filled");
            self.inner.commit_transaction(STEP_TIMEOUT)
        });
        refused.take(self.inner.context().take());
        match sent {
            Ok(()) => Ok(()),
            Err(error) if is_undone(&error) => match self.inner.abort_transaction(STEP_TIMEOUT) {
                Ok(()) => Err(SendError::Aborted(error)),
                Err(_) => Err(SendError::Unknown(error)),
            },
            Err(error) => Err(SendError::Unknown(error)),
        }
    }

    fn fill(
        &self,
        messages: &[(u64, OutputMessage)],
        claim: Claim,
        refused: &Refused,
    ) -> Result<(), KafkaError> {
        let mut position = TopicPartitionList::new();
        let next = i64::try_from(claim.next).unwrap_or(i64::MAX);
        for (_, name) in self.topics.all() {
            position.add_partition_offset(name, 0, Offset::Offset(next))?;
        }
        for mut element in position.elements() {
            element.set_metadata(claim.metadata());
        }
        let wanted = |(number, _): &&(u64, OutputMessage)| !refused.numbers.contains(number);
        for (number, message) in messages.iter().filter(wanted) {
            self.produce(*number, message)?;
            if refused.is_searching {
                self.inner.flush(STEP_TIMEOUT)?;
            }
            failpoint::hit("transaction.message");
        }
        // The member of no group: its generation is not checked, the producer's epoch is.
        let Some(group) = self.group.group_metadata() else {
            return Err(KafkaError::ClientCreation("the group has no name".to_owned()));
        };
        add_positions(&self.inner, &position, &Arc::new(group), (&|| {}, &AtomicBool::new(false)))?;
        self.inner.flush(STEP_TIMEOUT)
    }

    fn produce(&self, number: u64, message: &OutputMessage) -> Result<(), KafkaError> {
        let Some(topic) = self.topics.name(message.topic) else { return Ok(()) };
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let mut record = BaseRecord::with_opaque_to(topic, number)
            .key(message.key.as_bytes())
            .payload(message.payload.as_slice())
            .headers(headers(message));
        loop {
            match self.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((error, unsent)) if is_queue_full(&error) => {
                    self.inner.poll(QUEUE_PAUSE);
                    record = unsent;
                }
                Err((error, _)) => {
                    self.inner.context().note(number, &error);
                    return Err(error);
                }
            }
        }
    }
}

/// Messages that the broker refuses for good.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// Their numbers.
    pub(crate) numbers: BTreeSet<u64>,
    /// Messages are sent one by one, to find the one for which others were refused with it.
    is_searching: bool,
}

impl Refused {
    fn take(&mut self, found: BTreeSet<usize>) {
        if self.is_searching {
            self.numbers.extend(found.into_iter().map(|it| it as u64));
        } else {
            self.is_searching = !found.is_empty();
        }
    }
}

/// Returns the headers of a message as the client takes them.
pub(crate) fn headers(message: &OutputMessage) -> OwnedHeaders {
    let headers = message.headers.iter();
    headers.fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    })
}

/// Whether a transaction certainly did not take place, and can be aborted.
fn is_undone(error: &KafkaError) -> bool {
    if let KafkaError::Transaction(error) = error {
        error.txn_requires_abort() && !error.is_fatal()
    } else {
        error.rdkafka_error_code() != Some(RDKafkaErrorCode::Fatal)
    }
}
