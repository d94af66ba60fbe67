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
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
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
    /// A setting that serves badly.
    #[error("topic `{topic}` has `{setting}={found}`: {advice}")]
    Advice {
        /// Its name.
        topic: String,
        /// Name of the setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// What is better, and why.
        advice: &'static str,
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

impl TopicError {
    /// Whether work can begin all the same.
    pub fn is_advice(&self) -> bool {
        matches!(self, Self::Advice { .. })
    }

    /// Whether nothing is known because the cluster does not answer.
    pub fn is_unanswered(&self) -> bool {
        matches!(self, Self::Look { .. })
    }
}

/// One of the two topics.
struct Wanted<'a> {
    name: &'a str,
    settings: &'static [Setting],
}

/// A setting of a topic.
struct Setting {
    name: &'static str,
    value: &'static str,
    need: Need,
}

/// What else a setting may be.
enum Need {
    /// Nothing: rows would be lost.
    Exactly,
    /// More is well, and -1 is no bound at all.
    AtLeast(&'static str),
    /// Less is well.
    AtMost(&'static str),
}

const fn setting(name: &'static str, value: &'static str, need: Need) -> Setting {
    Setting { name, value, need }
}

const LARGE_ROWS: Setting = setting(
    "max.message.bytes",
    MESSAGE_BYTES_MAX,
    Need::AtLeast("a row that is larger stops its partition; 33554432 takes a thousand features"),
);

/// Rows of both are read by the newest of a key or in order; a row that is too large for the topic
/// would stop its partition for good.
fn wanted(scale_out: &ScaleOutConfig) -> [Wanted<'_>; 2] {
    const PASSED_ON: &[Setting] = &[
        setting("cleanup.policy", "delete", Need::Exactly),
        LARGE_ROWS,
        setting(
            "retention.ms",
            PARTIALS_RETENTION_MILLIS,
            Need::AtLeast("a lane that nobody owns for longer loses counts; 604800000 are a week"),
        ),
    ];
    // Small segments: only closed ones are compacted, and a restart reads what is left.
    const KEPT: &[Setting] = &[
        setting("cleanup.policy", "compact", Need::Exactly),
        LARGE_ROWS,
        setting("min.cleanable.dirty.ratio", "0.1", Need::AtMost(LONG_RESTORE)),
        setting("segment.bytes", "67108864", Need::AtMost(LONG_RESTORE)),
        setting("segment.ms", "600000", Need::AtMost(LONG_RESTORE)),
    ];
    [
        Wanted { name: &scale_out.partials_topic, settings: PASSED_ON },
        Wanted { name: &scale_out.state_topic, settings: KEPT },
    ]
}

const LONG_RESTORE: &str = "less is compacted sooner, and read faster when a partition moves";

impl Setting {
    /// Returns what is wrong with the value that was found.
    fn judge(&self, topic: &str, found: String) -> Option<TopicError> {
        let number = |text: &str| text.parse::<f64>().ok();
        let (found_number, wanted) = (number(&found), number(self.value));
        let (topic, setting) = (topic.to_owned(), self.name);
        match self.need {
            Need::Exactly => (found != self.value).then(|| TopicError::Setting {
                topic,
                setting,
                found,
                expected: self.value,
            }),
            Need::AtLeast(advice) => (found != "-1" && found_number < wanted)
                .then_some(TopicError::Advice { topic, setting, found, advice }),
            Need::AtMost(advice) => (wanted < found_number).then_some(TopicError::Advice {
                topic,
                setting,
                found,
                advice,
            }),
        }
    }
}

const MIN_INSYNC: &str = "min.insync.replicas";

/// Returns what is wrong with the number of replicas that have to have a row.
fn judge_replicas(topic: &str, replicas: usize, found: &str) -> Option<TopicError> {
    let required = found.parse::<usize>().ok()?;
    let advice = if replicas < required {
        "there are fewer replicas, so nothing can be written"
    } else if replicas == required && 1 < replicas {
        "it is all of them, so nothing can be written while one is away"
    } else if 3 <= replicas && required < 2 {
        "with 2, what one broker has acknowledged is not lost with it"
    } else {
        return None;
    };
    let (topic, found) = (topic.to_owned(), found.to_owned());
    Some(TopicError::Advice { topic, setting: MIN_INSYNC, found, advice })
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
                _ => problems.extend(admin.unfit(&wanted, replicas(&client, wanted.name)?)?),
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

/// Returns how many brokers have each partition of a topic, at least.
fn replicas(client: &BaseConsumer, topic: &str) -> Result<usize, TopicError> {
    let metadata = client
        .fetch_metadata(Some(topic), ANSWER_TIMEOUT)
        .map_err(|source| TopicError::Look { topic: topic.to_owned(), source })?;
    let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
    Ok(partitions.map(|partition| partition.replicas().len()).min().unwrap_or(0))
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
        for Setting { name, value, .. } in wanted.settings {
            topic = topic.set(name, value);
        }
        if 3 <= replicas {
            topic = topic.set(MIN_INSYNC, "2");
        }
        let options = AdminOptions::new().operation_timeout(Some(ANSWER_TIMEOUT));
        let made = self.runtime.block_on(self.client.create_topics(&[topic], &options));
        let look = |source| TopicError::Look { topic: wanted.name.to_owned(), source };
        match made.map_err(look)?.pop() {
            None | Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
            Some(Err((topic, code))) => Err(TopicError::Create { topic, code }),
        }
    }

    /// Returns the settings by which rows would be lost or refused, or that serve badly.
    fn unfit(&self, wanted: &Wanted<'_>, replicas: usize) -> Result<Vec<TopicError>, TopicError> {
        let look = |source| TopicError::Look { topic: wanted.name.to_owned(), source };
        let resource = ResourceSpecifier::Topic(wanted.name);
        let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT));
        let described = self.client.describe_configs([&resource], &options);
        let mut described = self.runtime.block_on(described).map_err(look)?;
        let Some(Ok(resource)) = described.pop() else {
            return Err(look(KafkaError::AdminOp(RDKafkaErrorCode::TopicAuthorizationFailed)));
        };
        let settings = wanted.settings.iter();
        let unfit = settings.filter_map(|it| it.judge(wanted.name, value(&resource, it.name)?));
        let required = value(&resource, MIN_INSYNC);
        let required = required.and_then(|it| judge_replicas(wanted.name, replicas, &it));
        Ok(unfit.chain(required).collect())
    }
}

fn value(resource: &ConfigResource, setting: &str) -> Option<String> {
    resource.get(setting).and_then(|entry| entry.value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a configuration may ask for is what topics are made for.
    #[test]
    fn topics_take_the_largest_row() {
        assert_eq!(MESSAGE_BYTES_MAX, driftd_core::config::SHARED_ROW_BYTES_MAX.to_string());
    }

    #[test]
    fn settings_are_judged_by_what_they_lose() {
        let judge = |it: &Setting, found: &str| it.judge("t", found.to_owned());
        let [partials, state] = [
            setting("retention.ms", PARTIALS_RETENTION_MILLIS, Need::AtLeast("longer")),
            setting("segment.ms", "600000", Need::AtMost("shorter")),
        ];
        assert!(judge(&partials, "-1").is_none());
        assert!(judge(&partials, PARTIALS_RETENTION_MILLIS).is_none());
        assert!(judge(&partials, "1000").is_some_and(|it| it.is_advice()));
        assert!(judge(&state, "1000").is_none());
        assert!(judge(&state, "604800000").is_some_and(|it| it.is_advice()));
        let policy = setting("cleanup.policy", "compact", Need::Exactly);
        assert!(judge(&policy, "delete").is_some_and(|it| !it.is_advice()));
    }

    #[test]
    fn as_many_replicas_as_may_be_missing_are_none_or_all_but_two() {
        let is_well = |replicas, required| judge_replicas("t", replicas, required).is_none();
        assert!(is_well(1, "1") && is_well(2, "1") && is_well(3, "2"));
        assert!(!is_well(3, "1") && !is_well(3, "3") && !is_well(1, "2"));
    }
}
