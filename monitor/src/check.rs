//! `driftd check`: everything that can be known before the daemon starts.
//!
//! The configuration first, all its errors at once; then the reference profiles, the schemas of
//! messages, the memory that it needs, the cluster and its topics, and what their newest messages
//! become ([`records`]).

mod records;

use std::path::PathBuf;
use std::sync::Arc;

use driftd_core::config::{Config, Content, KafkaConfig, ScaleOutConfig};
use driftd_core::inspect::Show;
use driftd_ingest::VersionField;

use crate::config_file::Loaded;
use crate::console::{say, thousands};
use crate::kafka::probe::{self, Finding};
use crate::kafka::topics::{self, TopicError};
use crate::memory::Memory;
use crate::references::References;
use crate::registry::Writers;

/// Options of `driftd check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Check the file only: no connection is made.
    #[arg(long)]
    pub offline: bool,
    /// Make the topics of `scale_out` that are not there.
    #[arg(long, conflicts_with = "offline")]
    pub create_topics: bool,
    /// Show no values of the record that stands for each topic: they may be personal data.
    #[arg(long, conflicts_with = "offline")]
    pub no_values: bool,
}

/// Prints what was found; returns whether all of it is well.
pub fn run(args: &CheckArgs, loaded: &Loaded) -> bool {
    let config = &loaded.config;
    let mut findings = vec![Finding {
        subject: format!("configuration {}", args.config.display()),
        outcome: Ok(summary(config)),
    }];
    findings.extend(references(loaded));
    findings.extend(writers(args, loaded));
    findings.push(memory(args, config));
    let mut tried = Vec::new();
    if !args.offline {
        match &config.kafka {
            Some(kafka) => {
                let reached = probe::look(config, kafka);
                // Without an answer from the cluster there is one finding, and it says so.
                if reached.first().is_some_and(|cluster| cluster.outcome.is_ok()) {
                    let show = if args.no_values { Show::Shapes } else { Show::Values };
                    tried = records::look(loaded, kafka, show);
                }
                findings.extend(reached);
                if let Some(scale_out) = &config.scale_out {
                    findings.extend(shared_topics(args, kafka, scale_out));
                }
            }
            None => findings.push(Finding {
                subject: "kafka".to_owned(),
                outcome: Err(
                    "not configured: `driftd run` needs it, `driftd replay` does not".to_owned()
                ),
            }),
        }
    }
    for finding in &findings {
        match &finding.outcome {
            Ok(found) => say(format_args!("ok    {}: {found}", finding.subject)),
            Err(problem) => say(format_args!("FAIL  {}: {problem}", finding.subject)),
        }
    }
    for topic in &tried {
        say(topic.text.trim_end());
    }
    findings.iter().all(|finding| finding.outcome.is_ok()) && tried.iter().all(|it| it.is_well)
}

fn shared_topics(
    args: &CheckArgs,
    kafka: &KafkaConfig,
    scale_out: &ScaleOutConfig,
) -> Vec<Finding> {
    let finding = |subject: &str, outcome| Finding { subject: subject.to_owned(), outcome };
    let mut findings = Vec::new();
    if args.create_topics {
        match topics::create(kafka, scale_out) {
            Ok(created) => {
                let made = |topic: String| finding(&format!("topic {topic}"), Ok("created".into()));
                findings.extend(created.into_iter().map(made));
            }
            Err(error) => {
                let problem = format!("{:#}", anyhow::Error::from(error));
                return vec![finding("scale_out", Err(problem))];
            }
        }
    }
    let (advice, problems): (Vec<_>, Vec<_>) =
        topics::verify(kafka, scale_out).into_iter().partition(TopicError::is_advice);
    for advice in advice {
        say(format_args!("warn  scale_out: {advice}"));
    }
    if problems.is_empty() {
        let fits = format!("{} lanes, topics as they have to be", scale_out.lanes);
        findings.push(finding("scale_out", Ok(fits)));
    }
    let problem = |error| Err(format!("{:#}", anyhow::Error::from(error)));
    findings.extend(problems.into_iter().map(|error| finding("scale_out", problem(error))));
    findings
}

fn memory(args: &CheckArgs, config: &Config) -> Finding {
    let kafka = config.kafka.as_ref().filter(|_| !args.offline);
    let partitions = kafka.map(|kafka| probe::partition_counts(config, kafka));
    let memory = Memory::of(config, &partitions.unwrap_or_default()).admit();
    let outcome = memory.map(|memory| memory.to_string()).map_err(|error| error.to_string());
    Finding { subject: "memory".to_owned(), outcome }
}

/// Reads the schemas of messages, and asks their registries.
fn writers(args: &CheckArgs, loaded: &Loaded) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &loaded.config.sources {
        let outcome = match Writers::open(source, &loaded.folder) {
            Ok(None) => continue,
            Ok(Some(writers)) if writers.asks() && args.offline => continue,
            Ok(Some(writers)) => writers.look().map_err(anyhow::Error::from),
            Err(error) => Err(error.into()),
        };
        let subject = format!("schemas of {}", source.topic);
        findings.push(Finding { subject, outcome: outcome.map_err(|it| format!("{it:#}")) });
    }
    findings
}

fn summary(config: &Config) -> String {
    let features: usize = config.models.iter().map(|model| model.features.len()).sum();
    format!(
        "{} topics, {} models, {features} watched columns",
        config.sources.len(),
        config.models.len()
    )
}

/// Reads the reference of every model whose version the configuration knows.
fn references(loaded: &Loaded) -> Vec<Finding> {
    let references = References::new(&loaded.folder, Arc::clone(&loaded.config));
    let mut findings = Vec::new();
    let sources = loaded.config.sources.iter();
    for source in sources.filter(|it| it.content == Content::Predictions) {
        for (&model, schema) in source.models.iter().zip(&source.schema.models) {
            let VersionField::Fixed(version) = &schema.version else { continue };
            let Ok(id) = loaded.config.models[model].id(version) else { continue };
            let outcome = match references.load(model, &id) {
                Ok(Some(reference)) => {
                    Ok(format!("{} rows, built {}", thousands(reference.rows), reference.created))
                }
                Ok(None) => Err(format!(
                    "`{}` does not exist: build it with `driftd reference build`",
                    loaded.folder.join(loaded.config.models[model].references.of(&id)).display()
                )),
                Err(error) => Err(format!("{:#}", anyhow::Error::from(error))),
            };
            findings.push(Finding { subject: format!("reference {id}"), outcome });
        }
    }
    findings
}
