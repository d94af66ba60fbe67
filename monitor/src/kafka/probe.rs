//! Looks whether what a configuration names is there: for `driftd check`.
//!
//! Before: a valid configuration. After: one [`Finding`] each for the cluster and its topics.

use std::sync::Arc;
use std::time::Duration;

use driftd_core::config::{Config, KafkaConfig, SourceConfig};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;

use crate::console::thousands;
use crate::kafka::trouble::{self, Trouble};
use crate::kafka::watch::partitions;
use crate::kafka::{ConnectError, base};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// For what is good to know and not needed.
const GLANCE_TIMEOUT: Duration = Duration::from_secs(3);

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// What was found, or what is wrong and what to do.
    pub outcome: Result<String, String>,
}

/// Looks at the cluster, and at every topic when it answers.
pub fn look(config: &Config, kafka: &KafkaConfig) -> Vec<Finding> {
    let subject = format!("kafka {}", kafka.brokers);
    let client = match connect(kafka) {
        Ok(client) => client,
        Err(error) => {
            let problem = format!("{:#}", anyhow::Error::from(error));
            return vec![Finding { subject, outcome: Err(problem) }];
        }
    };
    match client.fetch_metadata(None, ANSWER_TIMEOUT) {
        Ok(metadata) => {
            let (_, version) = rdkafka::util::get_rdkafka_version();
            let brokers = metadata.brokers().len();
            let found = format!("{brokers} brokers, read with librdkafka {version}");
            let mut findings = vec![Finding { subject, outcome: Ok(found) }];
            findings.extend(topics(config).into_iter().map(|topic| look_at(&client, &topic)));
            findings
        }
        Err(error) => {
            let seconds = ANSWER_TIMEOUT.as_secs();
            let last =
                trouble::hear(&client).map_or(String::new(), |last| format!("; last: {last}"));
            let problem = format!(
                "no answer within {seconds} s ({error}{last}): check `kafka.brokers`, the network and \
                 `kafka.properties`"
            );
            vec![Finding { subject, outcome: Err(problem) }]
        }
    }
}

type Client = BaseConsumer<Trouble>;

fn connect(kafka: &KafkaConfig) -> Result<Client, ConnectError> {
    Ok(base(kafka)?.create_with_context(Trouble::default())?)
}

/// Returns how many partitions the topic of each source has, where the cluster tells soon: one that
/// does not answer is not waited for.
pub(crate) fn partition_counts(config: &Config, kafka: &KafkaConfig) -> Vec<Option<usize>> {
    let Ok(client) = connect(kafka) else { return Vec::new() };
    let count = |source: &SourceConfig| partitions(&client, &source.topic, GLANCE_TIMEOUT);
    let counts = config.sources.iter().map_while(|source| count(source).ok());
    counts.map(|found| Some(found.len()).filter(|count| 0 < *count)).collect()
}

fn topics(config: &Config) -> Vec<Arc<str>> {
    let mut topics: Vec<Arc<str>> = Vec::new();
    for source in &config.sources {
        topics.push(Arc::clone(&source.topic));
        topics.extend(source.dead_letter_topic.as_deref().map(Arc::from));
    }
    if let Some(retraining) = &config.retraining {
        topics.push(retraining.topic.as_str().into());
        topics.push(retraining.status_topic.as_str().into());
    }
    topics.extend(config.outputs.results_topic.as_deref().map(Arc::from));
    topics
}

fn look_at(client: &Client, topic: &Arc<str>) -> Finding {
    let outcome = match records(client, topic) {
        Ok(None) => Err(format!(
            "does not exist: create it, for example with `kafka-topics.sh --create --topic {topic}`"
        )),
        Ok(Some((partitions, records))) => Ok(format!(
            "{partitions} partitions, {} records",
            thousands(u64::try_from(records).unwrap_or(0))
        )),
        Err(error) => Err(format!("cannot be looked at: {error}")),
    };
    Finding { subject: format!("topic {topic}"), outcome }
}

fn records(client: &Client, topic: &Arc<str>) -> Result<Option<(usize, i64)>, KafkaError> {
    let found = partitions(client, topic, ANSWER_TIMEOUT)?;
    if found.is_empty() {
        return Ok(None);
    }
    let mut records = 0;
    for id in &found {
        let (first, end) = client.fetch_watermarks(topic, id.partition, ANSWER_TIMEOUT)?;
        records += end - first;
    }
    Ok(Some((found.len(), records)))
}
