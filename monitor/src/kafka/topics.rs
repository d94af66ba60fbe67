//! The two topics of shared work: made with the right settings, and looked at before they are used.
//!
//! Before: `driftd check --create-topics`, and each start. After: [`crate::lanes`] and readers rely
//! on their partitions and on what the log keeps.

use std::sync::Arc;
use std::time::Duration;

use driftd_core::config::{KafkaConfig, ScaleOutConfig};
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::runtime;

use crate::kafka::watch::partitions;
use crate::kafka::{ConnectError, base};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest row after compression: the counts of a window with a thousand features.
const MESSAGE_BYTES_MAX: &str = "33554432";
/// A lane that nobody owns for this long forgets what its readers told.
const PARTIALS_RETENTION_MILLIS: &str = "604800000";

/// A topic that does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// The client cannot be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The runtime of the admin client cannot be had.
    #[error("cannot start the admin client")]
    Runtime(#[from] std::io::Error),
    /// The cluster refused or did not answer.
    #[error("cannot look at topic `{topic}`")]
    Look {
        /// Its name.
        topic: String,
        /// Why not.
        #[source]
        source: KafkaError,
    },
    /// It is not there.
    #[error("topic `{topic}` does not exist: `driftd check --create-topics` makes it")]
    Missing {
        /// Its name.
        topic: String,
    },
    /// It has another number of partitions than there are lanes.
    #[error(
        "topic `{topic}` has {found} partitions and `scale_out.lanes` says {expected}: make both the same; \
         changing them later means new topics, and counting anew"
    )]
    Partitions {
        /// Its name.
        topic: String,
        /// Partitions that it has.
        found: usize,
        /// Partitions that it should have.
        expected: u32,
    },
    /// A setting would lose or refuse rows.
    #[error("topic `{topic}` has `{setting}={found}`: set it to `{expected}`")]
    Setting {
        /// Its name.
        topic: String,
        /// Name of the setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// The right one.
        expected: &'static str,
    },
    /// The cluster does not make it.
    #[error("cannot create topic `{topic}`: {code}")]
    Create {
        /// Its name.
        topic: String,
        /// Why not.
        code: RDKafkaErrorCode,
    },
}

/// One of the two topics.
struct Wanted<'a> {
    name: &'a str,
    settings: &'static [(&'static str, &'static str)],
}

/// Rows of both are read by the newest of a key or in order; a row that is too large for the topic
/// would stop its partition for good.
fn wanted(scale_out: &ScaleOutConfig) -> [Wanted<'_>; 2] {
    [
        Wanted {
            name: &scale_out.partials_topic,
            settings: &[
                ("cleanup.policy", "delete"),
                ("max.message.bytes", MESSAGE_BYTES_MAX),
                ("retention.ms", PARTIALS_RETENTION_MILLIS),
            ],
        },
        Wanted {
            name: &scale_out.state_topic,
            // Small segments: only closed ones are compacted, and a restart reads what is left.
            settings: &[
                ("cleanup.policy", "compact"),
                ("max.message.bytes", MESSAGE_BYTES_MAX),
                ("min.cleanable.dirty.ratio", "0.1"),
                ("segment.bytes", "67108864"),
                ("segment.ms", "600000"),
            ],
        },
    ]
}

/// Makes what is not there; returns the names of the topics that were made.
pub fn create(kafka: &KafkaConfig, scale_out: &ScaleOutConfig) -> Result<Vec<String>, TopicError> {
    let client: BaseConsumer = base(kafka)?.create().map_err(ConnectError::from)?;
    let admin = Admin::connect(kafka)?;
    let mut created = Vec::new();
    for wanted in wanted(scale_out) {
        if count(&client, wanted.name)? == 0 {
            admin.create(&wanted, scale_out)?;
            created.push(wanted.name.to_owned());
        }
    }
    Ok(created)
}

/// Returns what does not serve, of both topics.
pub fn verify(kafka: &KafkaConfig, scale_out: &ScaleOutConfig) -> Vec<TopicError> {
    let look = || -> Result<Vec<TopicError>, TopicError> {
        let client: BaseConsumer = base(kafka)?.create().map_err(ConnectError::from)?;
        let admin = Admin::connect(kafka)?;
        let mut problems = Vec::new();
        for wanted in wanted(scale_out) {
            let topic = || wanted.name.to_owned();
            match count(&client, wanted.name)? {
                0 => problems.push(TopicError::Missing { topic: topic() }),
                found if u32::try_from(found) != Ok(scale_out.lanes) => {
                    let expected = scale_out.lanes;
                    problems.push(TopicError::Partitions { topic: topic(), found, expected });
                }
                _ => problems.extend(admin.unfit(&wanted)?),
            }
        }
        Ok(problems)
    };
    look().unwrap_or_else(|error| vec![error])
}

fn count(client: &BaseConsumer, topic: &str) -> Result<usize, TopicError> {
    let found = partitions(client, &Arc::from(topic), ANSWER_TIMEOUT);
    found
        .map(|found| found.len())
        .map_err(|source| TopicError::Look { topic: topic.to_owned(), source })
}

struct Admin {
    client: AdminClient<DefaultClientContext>,
    runtime: runtime::Runtime,
}

impl Admin {
    fn connect(kafka: &KafkaConfig) -> Result<Self, TopicError> {
        let client = base(kafka)?.create().map_err(ConnectError::from)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { client, runtime })
    }

    fn create(&self, wanted: &Wanted<'_>, scale_out: &ScaleOutConfig) -> Result<(), TopicError> {
        let partitions = i32::try_from(scale_out.lanes).unwrap_or(i32::MAX);
        let replicas = i32::try_from(scale_out.replicas).unwrap_or(i32::MAX);
        let mut topic = NewTopic::new(wanted.name, partitions, TopicReplication::Fixed(replicas));
        for (setting, value) in wanted.settings {
            topic = topic.set(setting, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(ANSWER_TIMEOUT));
        let made = self.runtime.block_on(self.client.create_topics(&[topic], &options));
        let look = |source| TopicError::Look { topic: wanted.name.to_owned(), source };
        match made.map_err(look)?.pop() {
            None | Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
            Some(Err((topic, code))) => Err(TopicError::Create { topic, code }),
        }
    }

    /// Returns the settings by which rows would be lost or refused.
    fn unfit(&self, wanted: &Wanted<'_>) -> Result<Option<TopicError>, TopicError> {
        let look = |source| TopicError::Look { topic: wanted.name.to_owned(), source };
        let resource = ResourceSpecifier::Topic(wanted.name);
        let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT));
        let described = self.client.describe_configs([&resource], &options);
        let mut described = self.runtime.block_on(described).map_err(look)?;
        let Some(Ok(resource)) = described.pop() else {
            return Err(look(KafkaError::AdminOp(RDKafkaErrorCode::TopicAuthorizationFailed)));
        };
        let is_fatal = |setting: &str| setting == "cleanup.policy";
        let wrong = wanted.settings.iter().filter(|(setting, _)| is_fatal(setting)).find_map(
            |(setting, expected)| {
                let found = value(&resource, setting)?;
                (found != *expected).then(|| TopicError::Setting {
                    topic: wanted.name.to_owned(),
                    setting,
                    found,
                    expected,
                })
            },
        );
        Ok(wrong)
    }
}

fn value(resource: &ConfigResource, setting: &str) -> Option<String> {
    resource.get(setting).and_then(|entry| entry.value.clone())
}
