//! Two processes of one `kafka.instance`: the one that came later stays, the other one ends.
//!
//! Before: the group's coordinator tells a member that another one has its name. After: the process
//! is gone, with an exit code and a message that a supervisor shows. Going on would fence the other
//! one, which would do the same, for ever.

use std::thread;
use std::time::Duration;

use driftd_core::config::KafkaConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use tracing::error;

use crate::clock::Stopwatch;
use crate::kafka::transactions::TransactionError;
use crate::stage::end;

/// Longer than it takes until the coordinator answers to the next heartbeat.
const HEARTBEAT_MAX: Duration = Duration::from_secs(5);
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Ends the process if another one has its name in the group.
pub(crate) fn end_if_replaced<C: ConsumerContext>(client: &BaseConsumer<C>, kafka: &KafkaConfig) {
    let fatal = client.client().fatal_error();
    if fatal.is_some_and(|(code, _)| code == RDKafkaErrorCode::FencedInstanceId) {
        error!(
            group = kafka.group,
            instance = kafka.instance.as_deref().unwrap_or_default(),
            "another process has the same `kafka.instance` and takes over: this one ends; give \
             each process a name of its own"
        );
        end();
    }
}

/// Looks whether a transaction was lost to another process of the same name, before this one takes
/// the name back.
pub(crate) fn look_before_return<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    kafka: &KafkaConfig,
    error: &TransactionError,
    beat: &dyn Fn(),
) {
    let since = Stopwatch::start();
    while kafka.instance.is_some() && error.is_fenced() && since.elapsed() < HEARTBEAT_MAX {
        end_if_replaced(client, kafka);
        beat();
        thread::park_timeout(LOOK_PAUSE);
    }
}
