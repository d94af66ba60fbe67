//! A producer whose messages and input positions become visible together, or not at all.
//!
//! Before: [`crate::kafka::sharing`] and [`crate::lanes`] gather what belongs together. After: the
//! topics. A member of a consumer group that was replaced cannot commit: its input positions carry
//! the group's generation, and the coordinator refuses an old one.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use driftd_core::config::KafkaConfig;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{
    BaseRecord, DefaultProducerContext, Producer, ProducerContext, ThreadedProducer,
};

use crate::failpoint;
use crate::kafka::{ConnectError, base, is_queue_full};

/// One call waits this long for the cluster, so that the caller can show that it lives.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// A call that the client says may be made again is made this often in all.
const CALLS_MAX: u32 = 6;
/// Transactions aborted in a row before the producer is given up.
const ABORTS_MAX: u32 = 5;
/// What a process that ends leaves open holds up readers for this long.
const TRANSACTION_TIMEOUT_MILLIS: u32 = 10_000;
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
    /// Nothing of the transaction is there, and the next one may hold the same.
    #[error("cannot {step}; the transaction is aborted")]
    Aborted {
        /// What was asked for.
        step: &'static str,
        /// Why not.
        #[source]
        source: KafkaError,
    },
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

/// A step that failed.
struct Failure {
    step: &'static str,
    source: KafkaError,
}

/// Where a message goes.
pub(crate) struct Letter<'a> {
    pub(crate) topic: &'a str,
    /// Chosen by the key where absent.
    pub(crate) partition: Option<i32>,
    pub(crate) key: &'a [u8],
    /// Absent: the key is no more.
    pub(crate) payload: Option<&'a [u8]>,
    pub(crate) headers: Option<OwnedHeaders>,
}

/// A message that the client does not take.
pub(crate) struct Refused(KafkaError);

/// A transaction that is being filled.
pub(crate) struct Transaction<'a>(&'a Client);

type Client = ThreadedProducer<DefaultProducerContext>;

/// A producer with a name that no two processes may use at a time.
pub(crate) struct Transactions {
    producer: Arc<Client>,
    places: Places,
    /// Transactions aborted in a row.
    aborts: u32,
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
    /// attempts.
    pub(crate) fn open(
        kafka: &KafkaConfig,
        name: &str,
        places: Places,
        beat: &dyn Fn(),
    ) -> Result<Self, TransactionError> {
        let mut client = base(kafka)?;
        client
            .set("transactional.id", name)
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MILLIS.to_string())
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            // The broker looks at the size after compression.
            .set("message.max.bytes", "67108864");
        let producer: Client = client.create().map_err(ConnectError::from)?;
        let transactions = Self { producer: Arc::new(producer), places, aborts: 0 };
        let step = "open the transactional producer";
        match transactions.retry(step, beat, |producer| producer.init_transactions(CALL_TIMEOUT)) {
            Ok(()) => Ok(transactions),
            Err(Failure { step, source }) => Err(TransactionError::Lost { step, source }),
        }
    }

    /// Sends what `fill` sends, and moves the group's input positions, in one transaction: when
    /// this returns, all of it is there.
    pub(crate) fn run(
        &mut self,
        positions: &TopicPartitionList,
        member: ConsumerGroupMetadata,
        beat: &dyn Fn(),
        fill: impl FnOnce(&Transaction<'_>) -> Result<(), Refused>,
    ) -> Result<(), TransactionError> {
        let begun = self.producer.begin_transaction();
        let begun = begun.map_err(|source| Failure { step: "begin a transaction", source });
        let filled = begun.and_then(|()| {
            fill(&Transaction(&self.producer))
                .map_err(|Refused(source)| Failure { step: "send to the topic", source })
        });
        let Err(Failure { step, source }) =
            filled.and_then(|()| self.commit(positions, member, beat))
        else {
            self.aborts = 0;
            return Ok(());
        };
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

    fn commit(
        &self,
        positions: &TopicPartitionList,
        member: ConsumerGroupMetadata,
        beat: &dyn Fn(),
    ) -> Result<(), Failure> {
        failpoint::hit(self.places.filled);
        // In this order: a member that is replaced between the two has sent nothing later on.
        self.retry("store the messages", beat, |producer| producer.flush(CALL_TIMEOUT))?;
        failpoint::hit(self.places.flushed);
        add_positions(&self.producer, positions, member, beat)
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
        repeated(beat, || call(&self.producer)).map_err(|source| Failure { step, source })
    }
}

impl Transaction<'_> {
    /// Adds a message.
    pub(crate) fn send(&self, letter: Letter<'_>) -> Result<(), Refused> {
        let Letter { topic, partition, key, payload, headers } = letter;
        let mut record = BaseRecord::to(topic).key(key);
        record.partition = partition;
        record.payload = payload;
        record.headers = headers;
        for _ in 0..QUEUE_PAUSES_MAX {
            record = match self.0.send(record) {
                Ok(()) => return Ok(()),
                Err((error, refused)) if is_queue_full(&error) => {
                    self.0.poll(QUEUE_PAUSE);
                    refused
                }
                Err((error, _)) => return Err(Refused(error)),
            };
        }
        Err(Refused(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)))
    }
}

/// Adds input positions to a producer's transaction.
///
/// The client ignores its own timeout, and waits for ever for a coordinator that has left the
/// cluster (librdkafka #5456, #5511). So it waits on a thread of its own; one that does not come
/// back is left behind with its producer, whose name a new one takes over.
pub(crate) fn add_positions<C, P>(
    producer: &Arc<P>,
    positions: &TopicPartitionList,
    member: ConsumerGroupMetadata,
    beat: &dyn Fn(),
) -> Result<(), KafkaError>
where
    C: ProducerContext + 'static,
    P: Producer<C> + Send + Sync + 'static,
{
    let (producer, positions) = (Arc::clone(producer), positions.clone());
    let (answer, answered) = sync_channel(1);
    let waiting = thread::Builder::new().name("positions".to_owned()).spawn(move || {
        let added = repeated(&|| {}, || {
            producer.send_offsets_to_transaction(&positions, &member, CALL_TIMEOUT)
        });
        // Where nobody listens any more, it was left behind.
        drop(answer.send(added));
    });
    if waiting.is_err() {
        return Err(TIMED_OUT);
    }
    for _ in 0..CALLS_MAX {
        beat();
        if let Ok(answer) = answered.recv_timeout(CALL_TIMEOUT) {
            return answer;
        }
    }
    Err(TIMED_OUT)
}

const TIMED_OUT: KafkaError = KafkaError::Global(RDKafkaErrorCode::OperationTimedOut);

/// Makes a call as often as the client says that it may be made again.
fn repeated(beat: &dyn Fn(), call: impl Fn() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    let mut calls = 1;
    loop {
        beat();
        match call() {
            Err(error) if calls < CALLS_MAX && may_be_repeated(&error) => calls += 1,
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
