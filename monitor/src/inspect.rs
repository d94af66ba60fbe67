//! `driftd inspect`: what a topic holds, and a configuration that reads it.
//!
//! Before: the topic, of which [`crate::kafka::sampler`] takes some messages. After:
//! `driftd_core::inspect` looks at them, [`report`] prints what it found, and the proposal goes to
//! a file. Nothing is committed, and nothing is written to Kafka.

mod report;

pub(crate) use self::report::refusals;

use std::path::{Path, PathBuf};
use std::time::Duration;

use driftd_core::config::KafkaConfig;
use driftd_core::inspect::{Request, Show, inspect};

use crate::config_file::{self, ConfigFileError};
use crate::console::{say, shown};
use crate::kafka::sampler::{Bounds, Side, sample};
use crate::whole_file::{WholeFile, WriteError};

/// Time that reading may take: a topic that answers at all gives thousands of messages in it.
const READ_TIME: Duration = Duration::from_secs(30);

/// Name of the client, and what its group would be called if it had one.
const CLIENT: &str = "driftd-inspect";

/// Options of `driftd inspect`.
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("cluster").required(true).args(["brokers", "config"])),
    after_help = "\
It says which formats and framings the messages have, which of them driftd reads, and proposes a
configuration: where the event time, the model and its version are, which fields are features and
predictions, and, as comments, what was seen of each. Fields that look like identifiers, free text
or times are left out, with the reason. At the end it tries the proposal on the messages.

The proposal is a guess. Look it through, then:
  driftd check --config driftd.yaml

Needs the right to read the topic. It joins no group and commits no offset.

Examples:
  driftd inspect --topic inference.flights --brokers kafka:9092
  driftd inspect --topic inference.flights --brokers kafka:9092 --output driftd.yaml
  driftd inspect --topic inference.flights --config kafka.yaml --no-values

A `--config` for a secured cluster needs no more than:
  name: any
  kafka:
    brokers: [kafka:9093]
    properties: {security.protocol: SASL_SSL, sasl.mechanism: SCRAM-SHA-512, sasl.username: me}
    property_files: {sasl.password: password.txt}"
)]
pub struct InspectArgs {
    /// The topic to look at.
    #[arg(long, value_name = "TOPIC")]
    pub topic: String,
    /// Brokers to start from, separated by commas.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = broker)]
    pub brokers: Vec<String>,
    /// Take the connection from the `kafka` section of this configuration file; its other sections
    /// are not looked at.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Messages to look at, spread over the partitions. Less where their bytes or the time to read
    /// them meet a bound.
    #[arg(long, value_name = "N", default_value_t = 1_000,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub messages: u32,
    /// Which messages of each partition.
    #[arg(long, value_enum, default_value_t = Side::Newest)]
    pub from: Side,
    /// Write the proposal to this file, which must not be there yet, instead of printing it.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Show no values of the messages, which may be personal data: no ranges, no frequent texts.
    /// Names of fields and of models are shown, because a configuration needs them.
    #[arg(long)]
    pub no_values: bool,
}

/// A proposal that could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
enum InspectError {
    #[error("`{}` is there already: name another file, or remove it", path.display())]
    Exists { path: PathBuf },
    #[error("no configuration to write: {reason}")]
    NoProposal { reason: String },
}

/// Reads, looks, prints and writes.
pub fn run(args: &InspectArgs) -> anyhow::Result<()> {
    if let Some(path) = args.output.as_ref().filter(|path| path.exists()) {
        return Err(InspectError::Exists { path: path.clone() }.into());
    }
    let kafka = connection(args)?;
    let messages = usize::try_from(args.messages).unwrap_or(usize::MAX);
    let sample = sample(&kafka, &args.topic, args.from, Bounds { messages, time: READ_TIME })?;
    let request = Request {
        topic: args.topic.clone(),
        brokers: kafka.brokers.split(',').map(str::to_owned).collect(),
        properties: property_names(&kafka),
        show: if args.no_values { Show::Shapes } else { Show::Values },
    };
    let inspection = inspect(&sample.messages, &request);
    say(report::found(args, &sample, &inspection).trim_end());
    match (&inspection.proposal, &args.output) {
        (Ok(proposal), None) => {
            say(format_args!("\n{}", proposal.yaml));
            say(report::tried(&proposal.trial).trim_end());
        }
        (Ok(proposal), Some(path)) => {
            write(path, &proposal.yaml)?;
            say(format_args!("\nproposal written to {}", path.display()));
            say(report::tried(&proposal.trial).trim_end());
            let path = path.display();
            say(format_args!("next: look it through, then `driftd check --config {path}`"));
        }
        (Err(reason), None) => {
            say(format_args!("\nno configuration is proposed: {}", shown(reason)));
        }
        (Err(reason), Some(_)) => {
            return Err(InspectError::NoProposal { reason: reason.clone() }.into());
        }
    }
    Ok(())
}

fn connection(args: &InspectArgs) -> Result<KafkaConfig, ConfigFileError> {
    match &args.config {
        Some(path) => config_file::read_kafka(path),
        None => Ok(KafkaConfig {
            brokers: args.brokers.join(","),
            client_id: CLIENT.to_owned(),
            group: CLIENT.to_owned(),
            consumers: 1,
            instance: None,
            properties: Vec::new(),
            property_files: Vec::new(),
        }),
    }
}

/// Names of what the proposal has to be given by hand: values may be secret.
fn property_names(kafka: &KafkaConfig) -> Vec<String> {
    let properties = kafka.properties.iter().map(|(name, _)| name);
    let files = kafka.property_files.iter().map(|(name, _)| name);
    properties.chain(files).cloned().collect()
}

fn broker(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(1..)) => Ok(text.to_owned()),
        Some(Ok(0) | Err(_)) | None => Err("write it like `kafka:9092`".to_owned()),
    }
}

fn write(path: &Path, yaml: &str) -> Result<(), WriteError> {
    let mut file = WholeFile::create(path)?;
    file.write(yaml.as_bytes())?;
    file.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_have_a_host_and_a_port() {
        for (text, is_one) in [
            ("kafka:9092", true),
            ("[::1]:9092", true),
            ("kafka", false),
            (":9092", false),
            ("kafka:0", false),
            ("kafka:90929", false),
        ] {
            assert_eq!(broker(text).is_ok(), is_one, "{text}");
        }
    }

    #[test]
    fn what_the_proposal_lacks_is_named_without_its_value() {
        let kafka = KafkaConfig {
            brokers: "k:1".to_owned(),
            client_id: String::new(),
            group: String::new(),
            consumers: 1,
            instance: None,
            properties: vec![("sasl.username".to_owned(), "me".to_owned())],
            property_files: vec![("sasl.password".to_owned(), "secret.txt".into())],
        };
        assert_eq!(property_names(&kafka), ["sasl.username", "sasl.password"]);
    }
}
