//! Sends dead letters and job reports, and tells what the broker said.
//!
//! Before: rejected messages of a consumer, reports of the launcher. After: topics; the broker's
//! answers wait in [`Reports`] for whoever sent. Idempotent, `acks=all`.
//!
//! Nobody waits for a broker that does not answer. A report that was not taken is sent again by its
//! sender; of dead letters there may be more than fit, and those left out are counted. What must be
//! in its topic exactly once goes another way: [`crate::courier`].

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use driftd_catalog::event::{CloudEvent, RetrainingStatus};
use driftd_core::config::{Config, KafkaConfig, SourceConfig};
use driftd_core::event::Event;
use driftd_ingest::Rejection;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{
    BorrowedHeaders, BorrowedMessage, DeliveryResult, Header, Message, OwnedHeaders,
};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tracing::error;

use crate::kafka::queues::{self, Queues};
use crate::kafka::{ConnectError, base, is_queue_full};

/// A full local queue is given this long to make room; one that stays full is not waited for again.
const QUEUE_PAUSE: Duration = Duration::from_millis(100);

/// Messages that the brokers have not answered for; what comes beyond is not taken. Where one alone
/// may be larger, it is that.
const QUEUE_BYTES: usize = 32 << 20;

/// Largest message by the client's own default.
const MESSAGE_BYTES_MIN: usize = 1_000_000;
/// What a dead letter has beside its payload: the key and the headers of its message, and more.
const BESIDE_BYTES: usize = 1 << 20;

/// How large a message may be. The client looks before it compresses, the broker after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    message_bytes: usize,
}

impl Default for Bounds {
    /// Of reports, which are small.
    fn default() -> Self {
        Self { message_bytes: MESSAGE_BYTES_MIN }
    }
}

impl Bounds {
    /// Of dead letters: a request and its response as one document, or one message up to twice as
    /// large as may be. Larger ones are counted only.
    pub(crate) fn of(config: &Config) -> Self {
        let sources = config.sources.iter().filter(|it| it.dead_letter_topic.is_some());
        let document =
            |it: &SourceConfig| it.limits().payload_bytes_max.max(2 * it.payload_bytes_max);
        let letters = sources.map(|it| document(it) + BESIDE_BYTES);
        Self { message_bytes: letters.fold(MESSAGE_BYTES_MIN, usize::max) }
    }

    /// Returns what the client's queue holds.
    pub(crate) fn queue_bytes(self) -> u64 {
        QUEUE_BYTES.max(self.message_bytes) as u64
    }
}

/// What a message is, and whom its delivery concerns.
#[derive(Debug)]
enum Delivery {
    Status(Arc<str>),
    DeadLetter { source: usize },
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(id) => write!(f, "job report {id}"),
            Self::DeadLetter { .. } => f.write_str("dead letter"),
        }
    }
}

/// Stored and failed lines.
type Counts = (u64, u64);

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stored,
    /// Whoever sends it again has no more luck.
    TooLarge,
    Failed,
}

impl Fate {
    fn of(failure: Option<&KafkaError>) -> Self {
        match failure.map(KafkaError::rdkafka_error_code) {
            None => Self::Stored,
            Some(Some(RDKafkaErrorCode::MessageSizeTooLarge)) => Self::TooLarge,
            Some(_) => Self::Failed,
        }
    }
}

/// Dead letters by what became of them.
#[derive(Clone, Copy, Debug, Default)]
struct DeadLetters {
    stored: u64,
    too_large: u64,
    failed: u64,
}

/// Answers of the broker that the sender has not seen yet.
///
/// They are fetched, not pushed: the client's thread must never wait for the pipeline while the
/// pipeline waits for room in the client's queue.
#[derive(Clone, Debug, Default)]
pub struct Reports(Arc<Mutex<Answers>>);

#[derive(Debug, Default)]
struct Answers {
    /// Number up to which messages of the outbox are sent.
    sent_to: Option<u64>,
    retrain: Vec<(Arc<str>, bool)>,
    results: Counts,
    statuses: Vec<(Arc<str>, bool)>,
    /// By source.
    dead_letters: BTreeMap<usize, DeadLetters>,
}

impl Reports {
    /// Takes all answers for what a daemon sends, as events.
    pub fn take(&self) -> Vec<Event> {
        let mut answers = self.lock();
        let statuses = mem::take(&mut answers.statuses);
        let Answers { sent_to, retrain, results, statuses: _, dead_letters } =
            mem::replace(&mut *answers, Answers { statuses, ..Answers::default() });
        let sent = sent_to.map(|to| Event::OutputsSent { to });
        let delivered =
            retrain.into_iter().map(|(id, stored)| Event::RetrainDelivered { id, stored });
        let dead_lettered = dead_letters.into_iter().map(|(source, letters)| {
            let DeadLetters { stored, too_large, failed } = letters;
            Event::DeadLettered { source, stored, too_large, failed }
        });
        let results = (results != Counts::default())
            .then_some(Event::ResultsDelivered { stored: results.0, failed: results.1 });
        delivered.chain(dead_lettered).chain(results).chain(sent).collect()
    }

    /// Adds what became of messages of the outbox below `to`: lines stored and failed, and events.
    pub(crate) fn outputs(&self, to: u64, lines: (u64, u64), events: Vec<(Arc<str>, bool)>) {
        let mut answers = self.lock();
        answers.sent_to = Some(to);
        answers.results.0 += lines.0;
        answers.results.1 += lines.1;
        answers.retrain.extend(events);
    }

    /// Takes the answers for job reports: the id of each event, and whether it was stored.
    pub fn take_statuses(&self) -> Vec<(Arc<str>, bool)> {
        mem::take(&mut self.lock().statuses)
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, delivery: Delivery, fate: Fate) {
        let mut answers = self.lock();
        match delivery {
            Delivery::Status(id) => answers.statuses.push((id, fate == Fate::Stored)),
            Delivery::DeadLetter { source } => {
                let letters = answers.dead_letters.entry(source).or_default();
                match fate {
                    Fate::Stored => letters.stored += 1,
                    Fate::TooLarge => letters.too_large += 1,
                    Fate::Failed => letters.failed += 1,
                }
            }
        }
    }
}

/// Sends to the topics of dead letters and job reports.
pub struct Producer {
    inner: ThreadedProducer<Context>,
    /// The local queue was full when a message was last offered.
    is_full: AtomicBool,
}

struct Context {
    reports: Reports,
    /// The last dead letter was not stored: of many in a row one is logged.
    is_failing: AtomicBool,
    queues: Queues,
}

impl ClientContext for Context {
    fn stats_raw(&self, statistics: &[u8]) {
        self.queues.told(statistics);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Box<Delivery>) {
        let failure = result.as_ref().err().map(|(error, _)| error);
        self.report(*delivery, failure);
    }
}

impl Context {
    fn report(&self, delivery: Delivery, failure: Option<&KafkaError>) {
        let is_one_of_many = match delivery {
            Delivery::Status(_) => false,
            Delivery::DeadLetter { .. } => {
                self.is_failing.swap(failure.is_some(), Ordering::Relaxed)
            }
        };
        if let Some(failure) = failure
            && !is_one_of_many
        {
            error!(message = %delivery, error = %failure, "message was not stored");
        }
        self.reports.add(delivery, Fate::of(failure));
    }
}

impl Producer {
    /// Connects; `reports` gets the broker's answers.
    pub fn connect(
        config: &KafkaConfig,
        bounds: Bounds,
        reports: Reports,
    ) -> Result<Self, ConnectError> {
        let mut client = base(config)?;
        client
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", "20")
            .set("message.max.bytes", bounds.message_bytes.to_string())
            .set("queue.buffering.max.kbytes", bounds.queue_bytes().div_ceil(1 << 10).to_string())
            .set("message.timeout.ms", "60000");
        queues::tell(&mut client);
        let context =
            Context { reports, is_failing: AtomicBool::new(false), queues: Queues::producing() };
        Ok(Self { inner: client.create_with_context(context)?, is_full: AtomicBool::new(false) })
    }

    /// Sends a report on a job, keyed by the model.
    pub fn status(&self, topic: &str, event: &CloudEvent<RetrainingStatus>) {
        let payload = event.to_json();
        let delivery = Delivery::Status(event.id.as_str().into());
        let record = BaseRecord::with_opaque_to(topic, Box::new(delivery));
        let record = record.key(event.partitionkey.as_bytes()).payload(payload.as_slice());
        let headers = event.headers().into_iter();
        self.send(record.headers(headers.fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(header(key, value))
        })));
    }

    /// Sends a rejected message with the payload that was decoded, mostly its own, and its
    /// coordinates and the reason as headers.
    pub fn dead_letter(
        &self,
        topic: &str,
        source: usize,
        (message, payload): (&BorrowedMessage<'_>, Option<&[u8]>),
        rejection: &Rejection,
    ) {
        let delivery = Box::new(Delivery::DeadLetter { source });
        let mut record = BaseRecord::with_opaque_to(topic, delivery)
            .headers(dead_letter_headers(message, rejection));
        record.key = message.key();
        record.payload = payload;
        self.send(record);
    }

    /// Waits until everything is answered for.
    pub fn flush(&self, timeout: Duration) -> Result<(), KafkaError> {
        self.inner.flush(timeout)
    }

    fn send(&self, record: BaseRecord<'_, [u8], [u8], Box<Delivery>>) {
        let refused = match self.inner.send(record) {
            Err((error, record)) if is_queue_full(&error) && self.may_wait() => {
                self.inner.poll(QUEUE_PAUSE);
                self.inner.send(record)
            }
            sent => sent,
        };
        match refused {
            Ok(()) => self.is_full.store(false, Ordering::Relaxed),
            Err((error, record)) => {
                self.inner.context().report(*record.delivery_opaque, Some(&error));
            }
        }
    }

    /// Returns whether the queue was not full already the last time.
    fn may_wait(&self) -> bool {
        !self.is_full.swap(true, Ordering::Relaxed)
    }
}

fn dead_letter_headers(message: &BorrowedMessage<'_>, rejection: &Rejection) -> OwnedHeaders {
    let headers = message.headers().map_or_else(OwnedHeaders::new, BorrowedHeaders::detach);
    headers
        .insert(header("driftd_reason", rejection.reason.as_str()))
        .insert(header("driftd_detail", &rejection.detail))
        .insert(header("driftd_topic", message.topic()))
        .insert(header("driftd_partition", &message.partition().to_string()))
        .insert(header("driftd_offset", &message.offset().to_string()))
}

fn header<'a>(key: &'a str, value: &'a str) -> Header<'a, &'a str> {
    Header { key, value: Some(value) }
}

#[cfg(test)]
mod tests {
    use driftd_core::config::load;
    use rdkafka::mocking::MockCluster;

    use super::*;

    const ANSWERED: Duration = Duration::from_secs(30);

    fn config(brokers: &str, payload_bytes_max: usize) -> Config {
        let config = serde_json::json!({
            "name": "job",
            "kafka": {"brokers": [brokers]},
            "sources": [{
                "topic": "t",
                "start": "latest",
                "event_time": {"path": "at"},
                "dead_letter_topic": "dead",
                "payload_bytes_max": payload_bytes_max,
            }],
            "models": [{
                "name": "m", "source": "t", "version": "1", "references": "m.json",
                "window": {"length": "1h"},
                "features": [{"name": "a", "path": "a", "type": "float64"}],
            }],
        });
        load(&config.to_string(), &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn dead_letters_may_be_two_messages_of_the_largest_size_and_the_queue_holds_one() {
        let bounds = |payload| Bounds::of(&config("localhost:9092", payload));
        assert_eq!(bounds(1 << 20), Bounds { message_bytes: 3 << 20 });
        assert_eq!(bounds(1 << 20).queue_bytes(), 32 << 20);
        assert_eq!(bounds(100 << 20).queue_bytes(), 201 << 20);
        let mut none = config("localhost:9092", 1 << 20);
        none.sources[0].dead_letter_topic = None;
        assert_eq!(Bounds::of(&none), Bounds::default());
    }

    #[test]
    fn what_is_too_large_is_told_apart_from_what_failed() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("dead", 1, 1).unwrap();
        let config = config(&cluster.bootstrap_servers(), 1 << 20);
        let reports = Reports::default();
        let kafka = config.kafka.as_ref().unwrap();
        let producer = Producer::connect(kafka, Bounds::of(&config), reports.clone()).unwrap();
        let letter = |bytes: usize| {
            let payload = vec![b'x'; bytes];
            let delivery = Box::new(Delivery::DeadLetter { source: 0 });
            let record = BaseRecord::with_opaque_to("dead", delivery);
            producer.send(record.key(b"k".as_slice()).payload(payload.as_slice()));
        };
        letter(2 << 20);
        letter(4 << 20);
        producer.flush(ANSWERED).unwrap();
        let told = reports.take();
        let [Event::DeadLettered { source: 0, stored: 1, too_large: 1, failed: 0 }] = told[..]
        else {
            panic!("{told:?}")
        };
        assert_eq!(Fate::of(Some(&KafkaError::Canceled)), Fate::Failed);
    }
}
