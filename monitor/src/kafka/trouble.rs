//! What a client last said of a connection that failed: a wrong password, a certificate that nobody
//! trusts, a port where nobody listens.
//!
//! Before: librdkafka tries again for ever, and whoever waits for an answer hears of a timeout.
//! After: `driftd check` and readiness tell the cause.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{debug, error, info, warn};

use super::client_log::log_error;

/// What waits in a client's queue is heard up to here at a time.
const EVENTS_MAX: usize = 100;
/// How librdkafka marks what it says of a connection that failed.
const FAILED: &str = "FAIL";

/// The context of a client that reads nothing and is asked only: it remembers.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<Option<String>>);

/// Returns what the client said last since it was heard, if anything.
pub(crate) fn hear(client: &BaseConsumer<Trouble>) -> Option<String> {
    // What it says waits in its queue, and comes to the context from there. A line for the log
    // answers like an empty queue.
    for _ in 0..EVENTS_MAX {
        client.poll(Duration::ZERO);
    }
    client.context().take()
}

impl Trouble {
    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, facility: &str, message: &str) {
        if facility == FAILED {
            self.remember(said(message));
        }
    }

    fn remember(&self, said: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(said.to_owned());
    }
}

/// Returns a message without the thread that it comes from, which stands before it in brackets.
fn said(message: &str) -> &str {
    let rest = message.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: "));
    rest.map_or(message, |(_, said)| said)
}

impl ClientContext for Trouble {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.note(facility, message);
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => error!(target: "librdkafka", facility, message),
            RDKafkaLogLevel::Warning => warn!(target: "librdkafka", facility, message),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                info!(target: "librdkafka", facility, message);
            }
            RDKafkaLogLevel::Debug => debug!(target: "librdkafka", facility, message),
        }
    }

    /// An issuer of tokens that refuses is no connection that fails: only this tells it.
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Authentication) {
            self.remember(reason);
        }
        log_error(&error, reason);
    }
}

impl ConsumerContext for Trouble {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_failure_is_told_once_and_without_the_thread() {
        let trouble = Trouble::default();
        trouble.note("FAIL", "[thrd:ssl://kafka:9093/bootstrap]: ssl://kafka:9093/1: first");
        trouble.note("FAIL", "[thrd:app]: ssl://kafka:9093/1: SSL handshake failed: [::1]: x");
        trouble.note("CONFWARN", "[thrd:app]: a property is ignored");
        let last = "ssl://kafka:9093/1: SSL handshake failed: [::1]: x";
        assert_eq!(trouble.take().as_deref(), Some(last));
        assert_eq!(trouble.take(), None);
        assert_eq!(said("without a thread"), "without a thread");
    }
}
