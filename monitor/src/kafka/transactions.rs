//! A producer whose messages and input positions become visible together, or not at all.
//!
//! Before: [`crate::kafka::sharing`] and [`crate::lanes`] gather what belongs together. After: the
//! topics. A member of a consumer group that was replaced cannot commit: its input positions carry
//! the group's generation, and the coordinator refuses an old one.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use driftd_core::config::KafkaConfig;
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tracing::warn;

use crate::failpoint;
use crate::kafka::abandoned;
use crate::kafka::queues::{self, Queues};
use crate::kafka::{ConnectError, base, is_queue_full, log_error};

/// One call waits this long for the cluster, so that the caller can show that it lives.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// A call that the client says may be made again is made this often in all.
const CALLS_MAX: u32 = 6;
/// Transactions aborted in a row before the producer is given up.
const ABORTS_MAX: u32 = 5;
/// What a process that ends leaves open holds up readers for this long.
const TRANSACTION_TIMEOUT_MILLIS: u32 = 10_000;
/// Messages that the client puts into one batch, where their size allows it.
const BATCH_MAX: u32 = 10_000;
/// A full local queue is given this long to make room.
const QUEUE_PAUSE: Duration = Duration::from_millis(50);
/// Rooms for a full queue that are waited for: as long as a transaction may take.
const QUEUE_PAUSES_MAX: u32 = 200;

/// A transaction that did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TransactionError {
    /// The producer cannot be made.
    #[error("the transactional producer cannot be made")]
    Connect(#[from] ConnectError),
    /// The client does not take the input positions; nothing was begun.
    #[error("the input positions cannot be written down")]
    Positions(#[source] KafkaError),
    /// Nothing of the transaction is there, and the next one may hold the same.
    #[error("cannot {step}; the transaction is aborted")]
    Aborted {
        /// What was asked for.
        step: &'static str,
        /// Why not.
        #[source]
        source: KafkaError,
    },
    /// Nothing of the transaction is there, nor will be while it holds this row.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The producer is of no more use, and whether the transaction is there is not known.
    #[error("cannot {step}")]
    Lost {
        /// What was asked for.
        step: &'static str,
        /// Why not.
        #[source]
        source: KafkaError,
    },
}

impl TransactionError {
    /// Whether the producer's name may be somebody else's now. It may also have been silent for
    /// longer than a transaction may take.
    pub(crate) fn is_fenced(&self) -> bool {
        let source = match self {
            Self::Lost { source, .. } | Self::Aborted { source, .. } => source,
            Self::Connect(_) | Self::Positions(_) | Self::Refused(_) => return false,
        };
        matches!(
            source.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::Fenced
                    | RDKafkaErrorCode::ProducerFenced
                    | RDKafkaErrorCode::InvalidProducerEpoch
                    | RDKafkaErrorCode::FencedInstanceId
            )
        )
    }
}

/// A row that its topic refuses, however often it is sent.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "topic `{topic}` refuses a row of {bytes} bytes ({code}): raise `max.message.bytes` of the topic"
)]
pub(crate) struct Refusal {
    topic: String,
    /// Before compression.
    bytes: usize,
    code: RDKafkaErrorCode,
    pub(crate) origin: Origin,
}

/// Whose a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The partition, or the lane.
    pub(crate) owner: i32,
    /// Which of the owner's outputs: they may be left out, unlike what is kept.
    pub(crate) output: Option<usize>,
}

/// A row of a transaction on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// Which transaction of the producer it is in.
    transaction: u64,
    /// Its place among the rows of the transaction.
    number: usize,
    origin: Origin,
}

/// What topics answer for the rows of the newest transaction. Answers for rows of one that was
/// aborted may come later: they say nothing about this one.
#[derive(Debug)]
pub(crate) struct Answers {
    answered: Mutex<Answered>,
    queues: Queues,
}

#[derive(Debug, Default)]
struct Answered {
    transaction: u64,
    /// By the row's place in the transaction.
    refused: BTreeMap<usize, Refusal>,
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
    type DeliveryOpaque = Box<Mark>;

    fn delivery(&self, result: &DeliveryResult<'_>, mark: Self::DeliveryOpaque) {
        if let Err((error, row)) = result {
            self.failed(*mark, error, row.topic(), row.payload_len());
        }
    }
}

impl Answers {
    fn new() -> Self {
        Self { answered: Mutex::default(), queues: Queues::producing() }
    }

    /// Forgets the transaction before; returns the number of the one that begins.
    fn begin(&self) -> u64 {
        let mut answered = self.lock();
        let transaction = answered.transaction + 1;
        *answered = Answered { transaction, ..Answered::default() };
        transaction
    }

    fn failed(&self, mark: Mark, error: &KafkaError, topic: &str, bytes: usize) {
        let mut answered = self.lock();
        if let Some(code) = error.rdkafka_error_code().filter(|code| is_for_good(*code))
            && answered.transaction == mark.transaction
        {
            let Mark { number, origin, .. } = mark;
            let refusal = Refusal { topic: topic.to_owned(), bytes, code, origin };
            answered.refused.insert(number, refusal);
        }
    }

    fn refused(&self) -> BTreeMap<usize, Refusal> {
        self.lock().refused.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Answered> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A step that failed.
struct Failure {
    step: &'static str,
    source: KafkaError,
}

/// Where a message goes.
pub(crate) struct Letter<'a> {
    pub(crate) origin: Origin,
    pub(crate) topic: &'a str,
    /// Chosen by the key where absent.
    pub(crate) partition: Option<i32>,
    pub(crate) key: &'a [u8],
    /// Absent: the key is no more.
    pub(crate) payload: Option<&'a [u8]>,
    pub(crate) headers: Option<OwnedHeaders>,
}

/// A message that the client does not take.
pub(crate) struct Unsent(KafkaError);

/// A transaction that is being filled.
pub(crate) struct Transaction<'a> {
    client: &'a Client,
    number: u64,
    /// Messages so far.
    count: Cell<usize>,
    /// Where one is looked for that its topic refuses: only these are sent, each alone, because
    /// others are refused with it.
    suspects: Option<BTreeMap<usize, Refusal>>,
}

type Client = ThreadedProducer<Answers>;

/// A producer with a name that no two processes may use at a time.
pub(crate) struct Transactions {
    producer: Arc<Client>,
    places: Places,
    stopping: Arc<AtomicBool>,
    /// Transactions aborted in a row.
    aborts: u32,
    kafka: KafkaConfig,
    name: String,
    /// Messages sent in one batch.
    batch_max: u32,
}

fn connect(kafka: &KafkaConfig, name: &str, batch_max: u32) -> Result<Arc<Client>, ConnectError> {
    let mut client = base(kafka)?;
    client
        .set("transactional.id", name)
        .set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MILLIS.to_string())
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        // With one that is refused, only few others are.
        .set("batch.size", "65536")
        .set("batch.num.messages", batch_max.to_string())
        // The broker looks at the size after compression.
        .set("message.max.bytes", "67108864");
    queues::tell(&mut client);
    let producer: Client = client.create_with_context(Answers::new())?;
    Ok(Arc::new(producer))
}

/// Names of the places between the steps of a transaction, for [`failpoint`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    pub(crate) filled: &'static str,
    pub(crate) flushed: &'static str,
    pub(crate) positioned: &'static str,
    pub(crate) committed: &'static str,
}

impl Transactions {
    /// Connects, and ends what an earlier process of this name left open. `beat` is called between
    /// attempts; there is only one when the process is `stopping`.
    pub(crate) fn open(
        kafka: &KafkaConfig,
        name: &str,
        places: Places,
        stopping: &Arc<AtomicBool>,
        beat: &dyn Fn(),
    ) -> Result<Self, TransactionError> {
        let transactions = Self {
            producer: connect(kafka, name, BATCH_MAX)?,
            places,
            stopping: Arc::clone(stopping),
            aborts: 0,
            kafka: kafka.clone(),
            name: name.to_owned(),
            batch_max: BATCH_MAX,
        };
        transactions.fence(beat)?;
        Ok(transactions)
    }

    /// Ends what an earlier producer of this name left open.
    fn fence(&self, beat: &dyn Fn()) -> Result<(), TransactionError> {
        let step = "open the transactional producer";
        self.retry(step, beat, |producer| producer.init_transactions(CALL_TIMEOUT))
            .map_err(|Failure { step, source }| TransactionError::Lost { step, source })
    }

    /// Sends what `fill` sends, and moves the group's input positions, in one transaction: when
    /// this returns, all of it is there.
    pub(crate) fn run(
        &mut self,
        positions: &TopicPartitionList,
        member: &Arc<ConsumerGroupMetadata>,
        beat: &dyn Fn(),
        fill: impl Fn(&Transaction<'_>) -> Result<(), Unsent>,
    ) -> Result<(), TransactionError> {
        let filled = self.fill(None, &fill);
        let Err(Failure { step, source }) =
            filled.and_then(|()| self.commit(positions, member, beat))
        else {
            self.aborts = 0;
            return Ok(());
        };
        let suspects = self.producer.context().refused();
        if !suspects.is_empty() {
            return Err(self.search(suspects, beat, &fill, Failure { step, source }));
        }
        // What is wrong with the member, the next poll tells it. For all else a new producer is the
        // way back: one that had aborted after a leader was lost has been seen to hang.
        let may_go_on = is_of_membership(&source) && self.aborts < ABORTS_MAX;
        if may_go_on && self.producer.abort_transaction(CALL_TIMEOUT).is_ok() {
            self.aborts += 1;
            Err(TransactionError::Aborted { step, source })
        } else {
            Err(TransactionError::Lost { step, source })
        }
    }

    fn fill(
        &self,
        suspects: Option<BTreeMap<usize, Refusal>>,
        fill: &impl Fn(&Transaction<'_>) -> Result<(), Unsent>,
    ) -> Result<(), Failure> {
        let number = self.producer.context().begin();
        self.producer
            .begin_transaction()
            .map_err(|source| Failure { step: "begin a transaction", source })?;
        let count = Cell::new(0);
        let transaction = Transaction { client: &self.producer, number, count, suspects };
        fill(&transaction).map_err(|Unsent(source)| Failure { step: "send to the topic", source })
    }

    /// Ends a transaction of which rows were refused, and finds the one that is by itself: that of
    /// a batch of one, or else one that is refused when each is sent alone. Where none is found,
    /// they may be refused together only, or the producer was no longer able to say: batches of one
    /// tell.
    fn search(
        &mut self,
        suspects: BTreeMap<usize, Refusal>,
        beat: &dyn Fn(),
        fill: &impl Fn(&Transaction<'_>) -> Result<(), Unsent>,
        Failure { step, source }: Failure,
    ) -> TransactionError {
        let abort = || {
            beat();
            self.producer.abort_transaction(CALL_TIMEOUT)
        };
        let (ended, found) = if 1 < self.batch_max {
            let ended = abort().map(|()| self.fill(Some(suspects), fill)).and_then(|_| abort());
            (ended, self.producer.context().refused().into_values().next())
        } else {
            (abort(), suspects.into_values().next())
        };
        match (ended, found) {
            (Ok(()), Some(refusal)) => refusal.into(),
            (Ok(()), None) => match self.narrow(beat) {
                Ok(()) => TransactionError::Aborted { step, source },
                Err(error) => error,
            },
            (Err(_), _) => TransactionError::Lost { step, source },
        }
    }

    /// Goes on with a producer whose batches hold one message: a topic refuses several together
    /// that it takes one by one.
    fn narrow(&mut self, beat: &dyn Fn()) -> Result<(), TransactionError> {
        warn!("messages are sent in batches of one: raise `max.message.bytes` of the topic");
        self.batch_max = 1;
        self.producer = connect(&self.kafka, &self.name, self.batch_max)?;
        self.fence(beat)
    }

    fn commit(
        &self,
        positions: &TopicPartitionList,
        member: &Arc<ConsumerGroupMetadata>,
        beat: &dyn Fn(),
    ) -> Result<(), Failure> {
        failpoint::hit(self.places.filled);
        // In this order: a member that is replaced between the two has sent nothing later on.
        self.retry("store the messages", beat, |producer| producer.flush(CALL_TIMEOUT))?;
        if let Some(refusal) = self.producer.context().refused().values().next() {
            let source = KafkaError::MessageProduction(refusal.code);
            return Err(Failure { step: "store the messages", source });
        }
        failpoint::hit(self.places.flushed);
        add_positions(&self.producer, positions, member, (beat, &self.stopping))
            .map_err(|source| Failure { step: "add the input positions", source })?;
        failpoint::hit(self.places.positioned);
        self.retry("commit the transaction", beat, |producer| {
            producer.commit_transaction(CALL_TIMEOUT)
        })?;
        failpoint::hit(self.places.committed);
        Ok(())
    }

    fn retry(
        &self,
        step: &'static str,
        beat: &dyn Fn(),
        call: impl Fn(&Client) -> Result<(), KafkaError>,
    ) -> Result<(), Failure> {
        repeated((beat, &self.stopping), || call(&self.producer))
            .map_err(|source| Failure { step, source })
    }
}

impl Transaction<'_> {
    /// Adds a message.
    pub(crate) fn send(&self, letter: Letter<'_>) -> Result<(), Unsent> {
        let number = self.count.get();
        self.count.set(number + 1);
        let Some(suspects) = &self.suspects else { return self.enqueue(number, letter) };
        if !suspects.contains_key(&number) {
            return Ok(());
        }
        self.enqueue(number, letter)?;
        self.client.flush(CALL_TIMEOUT).map_err(Unsent)
    }

    fn enqueue(&self, number: usize, letter: Letter<'_>) -> Result<(), Unsent> {
        let Letter { origin, topic, partition, key, payload, headers } = letter;
        let mark = Mark { transaction: self.number, number, origin };
        let mut record = BaseRecord::with_opaque_to(topic, Box::new(mark)).key(key);
        record.partition = partition;
        record.payload = payload;
        record.headers = headers;
        for _ in 0..QUEUE_PAUSES_MAX {
            record = match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((error, refused)) if is_queue_full(&error) => {
                    self.client.poll(QUEUE_PAUSE);
                    refused
                }
                Err((error, _)) => {
                    let bytes = payload.map_or(0, <[u8]>::len);
                    self.client.context().failed(mark, &error, topic, bytes);
                    return Err(Unsent(error));
                }
            };
        }
        Err(Unsent(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)))
    }
}

/// Whether a topic refuses a message however often it is sent.
pub(crate) fn is_for_good(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::InvalidRecord
    )
}

/// Adds input positions to a producer's transaction.
///
/// The client ignores its own timeout, and waits for ever for a coordinator that has left the
/// cluster (librdkafka #5456, #5511). So it waits on a thread of its own; one that does not come
/// back is left behind with its producer, whose name a new one takes over.
pub(crate) fn add_positions<C, P>(
    producer: &Arc<P>,
    positions: &TopicPartitionList,
    member: &Arc<ConsumerGroupMetadata>,
    (beat, stopping): Manner<'_>,
) -> Result<(), KafkaError>
where
    C: ProducerContext + 'static,
    P: Producer<C> + Send + Sync + 'static,
{
    let (producer, member) = (Arc::clone(producer), Arc::clone(member));
    let positions = positions.clone();
    let mut calls = 0;
    let goes_on = || {
        beat();
        calls += 1;
        calls <= if stopping.load(Ordering::Relaxed) { 1 } else { CALLS_MAX }
    };
    let added = abandoned::call("positions", CALL_TIMEOUT, goes_on, move || {
        repeated((&|| {}, &AtomicBool::new(false)), || {
            producer.send_offsets_to_transaction(&positions, &member, CALL_TIMEOUT)
        })
    });
    added.unwrap_or_else(|| {
        abandoned::end_if_too_many();
        Err(TIMED_OUT)
    })
}

/// What is called between attempts, and whether there shall be no further one.
pub(crate) type Manner<'a> = (&'a dyn Fn(), &'a AtomicBool);

const TIMED_OUT: KafkaError = KafkaError::Global(RDKafkaErrorCode::OperationTimedOut);

/// Makes a call as often as the client says that it may be made again.
fn repeated(
    (beat, stopping): Manner<'_>,
    call: impl Fn() -> Result<(), KafkaError>,
) -> Result<(), KafkaError> {
    let mut calls = 1;
    loop {
        beat();
        match call() {
            Err(error)
                if calls < CALLS_MAX
                    && !stopping.load(Ordering::Relaxed)
                    && may_be_repeated(&error) =>
            {
                calls += 1;
            }
            answer => return answer,
        }
    }
}

fn may_be_repeated(error: &KafkaError) -> bool {
    if let KafkaError::Transaction(error) = error {
        return error.is_retriable();
    }
    is_timed_out(error)
}

/// Whether the group has moved on since the member heard of it.
fn is_of_membership(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::FencedInstanceId
        )
    )
}

fn is_timed_out(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOO_LARGE: KafkaError =
        KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge);

    fn mark(transaction: u64, number: usize) -> Mark {
        Mark { transaction, number, origin: Origin { owner: 0, output: None } }
    }

    #[test]
    fn a_row_is_refused_by_an_answer_that_stays_the_same() {
        let answers = Answers::new();
        let transaction = answers.begin();
        answers.failed(mark(transaction, 3), &TIMED_OUT, "t", 1);
        assert!(answers.refused().is_empty(), "it may be taken the next time");
        answers.failed(mark(transaction, 5), &TOO_LARGE, "t", 9);
        let refused = answers.refused();
        assert_eq!(refused.keys().collect::<Vec<_>>(), [&5]);
        assert_eq!((&*refused[&5].topic, refused[&5].bytes), ("t", 9));
    }

    #[test]
    fn what_is_answered_of_an_earlier_transaction_says_nothing() {
        let answers = Answers::new();
        let before = answers.begin();
        let transaction = answers.begin();
        answers.failed(mark(before, 1), &TOO_LARGE, "t", 9);
        assert!(answers.refused().is_empty());
        answers.failed(mark(transaction, 1), &TOO_LARGE, "t", 9);
        assert_eq!(answers.refused().len(), 1);
    }
}
