//! Errors of the Kafka client, by the short names that a metric counts them by.
//!
//! Before: [`crate::kafka::consumer`] meets an error. After: [`crate::http`] exports every kind
//! from the start.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Kind of an error that ended a transaction of shared work.
pub(super) const TRANSACTION: &str = "transaction";

/// Kind of the error that ends the reading of a partition.
pub(crate) const OFFSET_OUT_OF_RANGE: &str = "offset_out_of_range";

/// Every [`error_kind`], for counters that exist from the start.
pub(crate) const ERROR_KINDS: [&str; 7] = [
    "authorization",
    OFFSET_OUT_OF_RANGE,
    "other",
    "poll_exceeded",
    TRANSACTION,
    "transport",
    "unknown_topic",
];

/// Short stable name of a client error, the value of a metric's label: one of [`ERROR_KINDS`].
pub(crate) fn error_kind(error: &KafkaError) -> &'static str {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset) => {
            OFFSET_OUT_OF_RANGE
        }
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            "unknown_topic"
        }
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::Authentication,
        ) => "authorization",
        Some(
            RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::OperationTimedOut,
        ) => "transport",
        Some(RDKafkaErrorCode::PollExceeded) => "poll_exceeded",
        Some(_) | None => "other",
    }
}
