//! `driftd replay`: the pipeline of the daemon over files instead of a topic, as fast as it goes.
//!
//! Before: [`crate::table`] reads the files. After: one JSON line a window and feature
//! ([`FeatureLine`]), and a summary with the digest of all windows, which equals that of `driftd
//! run` over the same records. One thread reads and converts, another counts and decides.

mod summary;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::Context as _;
use clap::Args;
use driftd_catalog::{PartitionId, Timestamp};
use driftd_core::config::{Config, Content, SourceConfig};
use driftd_core::event::{Effect, Event};
use driftd_core::pipeline::Pipeline;
use driftd_core::result::WindowResult;
use driftd_core::shard::{Output, Shard};
use driftd_core::{FeatureLine, PartitionState};
use driftd_ingest::Decoded;
use indicatif::{ProgressBar, ProgressStyle};

use crate::clock::{self, Stopwatch};
use crate::references::References;
use crate::table::{BATCH_ROWS, Layout, Overrides, RecordReader, Table};
use crate::whole_file::WholeFile;
use summary::Tally;
pub use summary::{DriftedFeature, ReplaySummary};

/// Batches that wait between the two threads.
const BATCHES_WAITING_MAX: usize = 2;

/// Replays files of records through the pipeline of the daemon, without Kafka.
///
/// Each file takes the place of a topic: its rows are the records, in order, files one after the
/// other. Columns are found by the feature's name, else by the last element of its path; the event
/// time, model, version and segments by the last element of their paths. Rows that cannot be read
/// are rejected and counted by reason.
#[derive(Args, Clone, Debug)]
// `--version` is the model's here.
#[command(
    disable_version_flag = true,
    after_help = "\
Examples:
  driftd replay --config flights.yaml --input 2013.parquet --output results.jsonl
  driftd replay --config flights.yaml --input april.csv may.csv --version 7 --output may.jsonl

Each line of the output is one window and feature with every statistic, its p-value, threshold and
score, the state and the counts it was decided from. The digest is equal whenever all windows are,
however the rows were cut."
)]
pub struct ReplayArgs {
    /// Configuration of the job; its references are found beside it.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Parquet or CSV files (by extension), in order of event time.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// File for the results, one JSON object a line. It appears when the replay has ended.
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// Topic of the source whose records the files hold. Needed when the configuration has several.
    #[arg(long, value_name = "TOPIC")]
    pub source: Option<String>,
    /// Model of all records, when the files have no column that says it.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Version of all records, when the files have no column that says it.
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Print the summary as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Replays as `args` say and writes the summary to `out`.
pub fn run(
    args: &ReplayArgs,
    config: Arc<Config>,
    out: &mut dyn Write,
) -> anyhow::Result<ReplaySummary> {
    let folder = args.config.parent().unwrap_or(Path::new(""));
    let plan = Plan::new(args, config, folder, BATCH_ROWS)?;
    let summary = plan.replay(&args.output)?;
    if args.json {
        serde_json::to_writer(&mut *out, &summary)?;
        writeln!(out)?;
    } else {
        summary.write(&args.output, out)?;
    }
    Ok(summary)
}

/// Everything a replay needs, checked before the first row is read.
#[derive(Debug)]
struct Plan {
    config: Arc<Config>,
    source: usize,
    references: References,
    inputs: Vec<(Table, Layout)>,
    batch_rows: usize,
}

impl Plan {
    fn new(
        args: &ReplayArgs,
        config: Arc<Config>,
        folder: &Path,
        batch_rows: usize,
    ) -> anyhow::Result<Self> {
        let source = choose_source(args, &config)?;
        let schema = &config.sources[source].schema.without_identities();
        let overrides = Overrides { model: args.model.clone(), version: args.version.clone() };
        let mut inputs = Vec::with_capacity(args.input.len());
        for path in &args.input {
            let table = Table::open(path)?;
            let layout = Layout::find(&table, schema, &overrides)?;
            inputs.push((table, layout));
        }
        let references = References::new(folder, Arc::clone(&config));
        Ok(Self { config, source, references, inputs, batch_rows })
    }

    fn replay(&self, output: &Path) -> anyhow::Result<ReplaySummary> {
        let stopwatch = Stopwatch::start();
        let bar = self.progress_bar();
        let mut replay = Replay::start(self, output)?;
        let (sender, receiver) = sync_channel(BATCHES_WAITING_MAX);
        thread::scope(|scope| {
            let reader = scope.spawn(move || self.read(&sender));
            let counted = replay.take_all(&receiver, &bar);
            // Hung up first: a reader that waits for room would wait for ever after an error.
            drop(receiver);
            let read = reader.join().map_err(|_| anyhow::anyhow!("the reading thread panicked"))?;
            counted.and(read)
        })?;
        bar.finish_and_clear();
        replay.end(stopwatch)
    }

    fn read(&self, sender: &SyncSender<Decoded>) -> anyhow::Result<()> {
        let mut next_offset = 0;
        for (table, layout) in &self.inputs {
            let schema = Arc::new(self.config.sources[self.source].schema.without_identities());
            let reader = RecordReader::new(table, schema, layout);
            for batch in table.batches(&layout.positions(), self.batch_rows)? {
                let decoded = reader.decode(next_offset, batch?)?;
                next_offset = decoded.to_offset;
                if sender.send(decoded).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn progress_bar(&self) -> ProgressBar {
        let total: Option<u64> = self.inputs.iter().map(|(table, _)| table.rows()).sum();
        match total {
            Some(total) => ProgressBar::new(total).with_style(style(
                "{elapsed_precise} [{bar:30}] {human_pos} of {human_len} records, {per_sec}, {eta} left",
            )),
            None => ProgressBar::new_spinner()
                .with_style(style("{elapsed_precise} {spinner} {human_pos} records, {per_sec}")),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is well-formed")
}

fn choose_source(args: &ReplayArgs, config: &Config) -> anyhow::Result<usize> {
    if let Some(topic) = &args.source {
        let found = predictions(config).find(|(_, source)| *source.topic == **topic);
        return found.map(|(at, _)| at).with_context(|| {
            format!("no source has the topic `{topic}`; there are {}", topics(config))
        });
    }
    if let Some(name) = &args.model {
        let found = config.models.iter().find(|model| *model.name == **name);
        let model = found.with_context(|| format!("the configuration has no model `{name}`"))?;
        return Ok(model.source);
    }
    let mut all = predictions(config);
    match (all.next(), all.next()) {
        (Some((only, _)), None) => Ok(only),
        (_, Some(_)) | (None, None) => anyhow::bail!(
            "the configuration has several sources: choose one with `--source`, of {}",
            topics(config)
        ),
    }
}

/// Returns the sources that a file can take the place of: those of predictions.
fn predictions(config: &Config) -> impl Iterator<Item = (usize, &SourceConfig)> {
    let sources = config.sources.iter().enumerate();
    sources.filter(|(_, source)| source.content == Content::Predictions)
}

fn topics(config: &Config) -> String {
    let topics: Vec<_> = predictions(config).map(|(_, it)| format!("`{}`", it.topic)).collect();
    topics.join(", ")
}

/// A replay under way: the counting and deciding half.
struct Replay<'a> {
    plan: &'a Plan,
    partition: PartitionId,
    shard: Shard,
    pipeline: Pipeline,
    outputs: Vec<Output>,
    effects: Vec<Effect>,
    lines: WholeFile,
    tally: Tally,
    /// The wall clock stands still: a replay waits for nothing.
    now: Timestamp,
}

impl<'a> Replay<'a> {
    fn start(plan: &'a Plan, output: &Path) -> anyhow::Result<Self> {
        let topic = Arc::clone(&plan.config.sources[plan.source].topic);
        let partition = PartitionId { topic, partition: 0 };
        let now = clock::now();
        let mut shard = Shard::new(Arc::clone(&plan.config));
        shard.assign(PartitionState::new(partition.clone(), plan.source, now));
        let mut replay = Self {
            plan,
            shard,
            pipeline: Pipeline::new(Arc::clone(&plan.config)),
            outputs: Vec::new(),
            effects: Vec::new(),
            lines: WholeFile::create(output)?,
            tally: Tally::default(),
            now,
            partition,
        };
        let (source, partitions) = (plan.source, vec![replay.partition.clone()]);
        replay.handle(Event::TopicPartitions { source, partitions: partitions.clone() })?;
        replay.handle(Event::Assigned { source, partitions })?;
        Ok(replay)
    }

    fn take_all(&mut self, receiver: &Receiver<Decoded>, bar: &ProgressBar) -> anyhow::Result<()> {
        while let Ok(decoded) = receiver.recv() {
            self.take(&decoded)?;
            bar.inc(decoded.messages);
        }
        Ok(())
    }

    fn take(&mut self, decoded: &Decoded) -> anyhow::Result<()> {
        self.tally.reject(&decoded.rejections);
        let placed = self.shard.place(&self.partition, decoded);
        for missing in self.shard.missing_references(&placed) {
            let references = &self.plan.references;
            let reference = references.load(missing.model, &missing.id)?;
            if reference.is_none() {
                let path = references.path(missing.model, &missing.id);
                self.tally.without_reference(&missing.id, &path);
            }
            self.shard.set_reference(missing, reference);
        }
        self.shard.update(self.now, decoded, placed, None, &mut self.outputs);
        self.forward()
    }

    fn end(mut self, stopwatch: Stopwatch) -> anyhow::Result<ReplaySummary> {
        self.shard.flush(&self.partition, None, &mut self.outputs);
        self.forward()?;
        self.handle(Event::InputEnded)?;
        self.lines.finish()?;
        let snapshot = self.pipeline.snapshot(self.now);
        Ok(self.tally.conclude(&snapshot, stopwatch.elapsed().as_secs_f64()))
    }

    fn forward(&mut self) -> anyhow::Result<()> {
        for output in std::mem::take(&mut self.outputs) {
            self.handle(output.into())?;
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> anyhow::Result<()> {
        self.pipeline.handle(self.now, event, &mut self.effects);
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Window(result) => self.write(&result)?,
                Effect::Retrain(request) => {
                    // Nothing is published; the policies go on as if it had been.
                    self.tally.retrain();
                    let id = request.id.as_str().into();
                    self.handle(Event::RetrainDelivered { id, stored: true })?;
                }
                // Nobody looks, waits or fetches.
                Effect::Publish(_)
                | Effect::Episode(_)
                | Effect::Performance(_)
                | Effect::Flush(_)
                | Effect::Pause(_)
                | Effect::Resume(_) => {}
            }
        }
        Ok(())
    }

    fn write(&mut self, result: &WindowResult) -> anyhow::Result<()> {
        self.tally.window(result);
        for line in FeatureLine::of(result) {
            let mut line = serde_json::to_vec(&line)?;
            line.push(b'\n');
            self.lines.write(&line)?;
        }
        Ok(())
    }
}
