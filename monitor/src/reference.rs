//! `driftd reference build|show`: freezes a sample of good data as a profile, and shows one.
//!
//! Before: files of records. After: the profile file that [`crate::references`] loads. [`sample`]
//! reads the files with polars, [`columns`] says which columns become which features, [`segments`]
//! counts the parts of the sample, [`mod@describe`] writes a profile for a person.

#![expect(clippy::disallowed_methods, reason = "the edge opens files")]

mod columns;
mod describe;
mod sample;
mod segments;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use driftd_catalog::{ModelId, SegmentId, Timestamp};
use driftd_core::config::Config;
use driftd_core::profile::{Origin, Profile, SegmentSample};
use driftd_detectors::FeatureReference;
use driftd_ingest::TimeFormat;
use indicatif::{ProgressBar, ProgressStyle};

use crate::clock;
use crate::config_file;
use crate::whole_file::WholeFile;
use columns::Columns;
use describe::describe;
use sample::{Sample, TimeRange};

/// Ten bins are what PSI's rules of thumb (0.1, 0.25) were made for (Siddiqi 2006).
const BINS_DEFAULT: u8 = 10;

/// Reference profiles: what a model's data looked like when it was accepted.
#[derive(Args, Clone, Debug)]
pub struct ReferenceArgs {
    #[command(subcommand)]
    command: ReferenceCommand,
}

/// What to do with a profile.
#[derive(Clone, Debug, Subcommand)]
pub enum ReferenceCommand {
    /// Freeze a sample of good data as a reference profile.
    Build(BuildArgs),
    /// Check a profile and show what is in it.
    Show(ShowArgs),
}

/// Freezes a sample of good data as a reference profile: edges, levels and counts of each feature.
///
/// With `--config` the features, their types and the time format come from the configuration, and
/// the segments, each of which gets counts of its own: where a segment says `top`, the most
/// frequent values of the sample are chosen here, once and for all; without it every column but the
/// excluded ones is a feature, of the type that the file has, and there are no segments. The
/// profile is kilobytes per feature and segment whatever the number of rows, and replaces the
/// output only when it is complete.
#[derive(Args, Clone, Debug)]
// `--version` is the model's here.
#[command(
    disable_version_flag = true,
    after_help = "\
Examples:
  driftd reference build --config flights.yaml --model flights --version 7 \\
      --input 2013-q1.parquet --output references/flights-7.json
  driftd reference build --model flights --version 7 --input 2013.csv --output flights-7.json \\
      --exclude prediction_id --event-time event_time --last 42d --until 2013-04-01T00:00:00Z"
)]
pub struct BuildArgs {
    /// Parquet or CSV files (by extension) with the sample's rows.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// File for the profile: where the configuration's `references` expects it.
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// Configuration that says which columns are features, and of which type.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name of the model. May be left out when the configuration has one model.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Version of the model. May be left out when the configuration fixes it.
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Columns that are no features. Only without `--config`.
    #[arg(long, value_name = "COLUMN", num_args = 1.., conflicts_with = "config")]
    pub exclude: Vec<String>,
    /// Column with the event time, for `--from` and `--until`. Known from `--config`.
    #[arg(long, value_name = "COLUMN")]
    pub event_time: Option<String>,
    /// Unit of an event time that is a number. Known from `--config`.
    #[arg(long, value_name = "FORMAT", value_enum, conflicts_with = "config")]
    pub time_format: Option<TimeUnitArg>,
    /// First event time taken, such as 2013-03-01T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    pub from: Option<Timestamp>,
    /// First event time not taken any more.
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    pub until: Option<Timestamp>,
    /// Takes only this long before `--until`, such as 42d, instead of `--from`.
    #[arg(long, value_name = "DURATION", value_parser = millis_of)]
    #[arg(requires = "until", conflicts_with = "from")]
    pub last: Option<i64>,
    /// Coarse bins of a numeric feature, for PSI, KL, JS and χ².
    #[arg(long, value_name = "COUNT", default_value_t = BINS_DEFAULT)]
    #[arg(value_parser = clap::value_parser!(u8).range(2..=100))]
    pub bins: u8,
}

/// Unit of an event time that is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum TimeUnitArg {
    /// Seconds since 1970.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMillis,
    /// Microseconds since 1970.
    UnixMicros,
    /// Nanoseconds since 1970.
    UnixNanos,
}

/// Checks a profile against its checksum and shows what is in it.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  driftd reference show references/flights-7.json
  driftd reference show references/flights-7.json --feature temp
  driftd reference show references/flights-7.json --json | jq '.features[].name'")]
pub struct ShowArgs {
    /// The profile.
    #[arg(value_name = "PROFILE")]
    pub profile: PathBuf,
    /// Only this feature, with its bins or levels.
    #[arg(long, value_name = "NAME")]
    pub feature: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Does what `args` say and writes the answer to `out`.
pub fn run(args: &ReferenceArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    match &args.command {
        ReferenceCommand::Build(args) => {
            let loaded = args.config.as_deref().map(config_file::read).transpose()?;
            let profile = build(args, loaded.as_ref().map(|it| &*it.config))?;
            describe(&profile, None, out)?;
            Ok(writeln!(out, "written to {}", args.output.display())?)
        }
        ReferenceCommand::Show(args) => show(args, out),
    }
}

/// Builds the profile of one version of a configured model from all rows of `inputs`.
pub fn build_for_model(
    config: &Path,
    model: &str,
    version: &str,
    inputs: &[PathBuf],
    output: &Path,
) -> anyhow::Result<()> {
    let all = BuildArgs::of_all_rows(inputs.to_vec(), output.to_owned(), model, version);
    let args = BuildArgs { config: Some(config.to_owned()), ..all };
    build(&args, Some(&*config_file::read(config)?.config)).map(|_| ())
}

/// Builds a profile as `args` say. `config` is that of `args.config`.
fn build(args: &BuildArgs, config: Option<&Config>) -> anyhow::Result<Profile> {
    let id = model_id(args, config)?;
    let mut columns = match config {
        Some(config) => Columns::of_config(args, config, &id)?,
        None => Columns::of_files(args)?,
    };
    let range = TimeRange::new(args.first_taken(), args.until, columns.event_time.clone())?;
    let sample = Sample::open(&args.input, &columns, &range)?;
    let rows = sample.rows()?;
    anyhow::ensure!(
        0 < rows,
        "no rows to build a reference from: check `--from`, `--until` and the files"
    );
    for segment in &mut columns.segments {
        segments::choose(&sample, segment)
            .with_context(|| format!("cannot count the values of segment `{}`", segment.name))?;
    }
    let bar = progress_bar(columns.features.len());
    let mut features = BTreeMap::new();
    let mut segments = BTreeMap::new();
    for feature in &columns.features {
        bar.set_message(feature.name.clone());
        let reference = sample
            .reference(feature, usize::from(args.bins))
            .with_context(|| format!("cannot build a reference of feature `{}`", feature.name))?;
        for segment in &columns.segments {
            let parts = segments::count(&sample, feature, &reference, segment)
                .with_context(|| format!("cannot count the segments of `{}`", feature.name))?;
            insert(&mut segments, &feature.name, segment.top, parts);
        }
        features.insert(feature.name.clone(), reference);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let origin = origins(args)?;
    let bytes =
        Profile::encode(id.name(), id.version(), clock::now(), rows, origin, &features, &segments);
    // Read back as it will be read, before anybody relies on it.
    let profile = Profile::decode(&bytes).context("the profile just built cannot be read back")?;
    let folder = args.output.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    let mut file = WholeFile::create(&args.output)?;
    file.write(&bytes)?;
    file.finish()?;
    Ok(profile)
}

/// Adds a feature's counts to those of each segment. A segment without rows gets none: it can be
/// compared with nothing.
fn insert(
    segments: &mut BTreeMap<SegmentId, SegmentSample>,
    feature: &str,
    top: Option<usize>,
    parts: Vec<(SegmentId, FeatureReference)>,
) {
    let top = top.map(|top| u32::try_from(top).expect("a segmentation has at most 1,000 values"));
    for (id, part) in parts.into_iter().filter(|(_, part)| 0 < part.rows()) {
        let empty = SegmentSample { rows: part.rows(), top, features: BTreeMap::new() };
        segments.entry(id).or_insert(empty).features.insert(feature.to_owned(), part);
    }
}

/// Reads, checks and shows a profile.
fn show(args: &ShowArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let path = args.profile.display();
    let bytes = fs::read(&args.profile).with_context(|| format!("cannot read `{path}`"))?;
    let profile =
        Profile::decode(&bytes).with_context(|| format!("`{path}` is no usable profile"))?;
    if let Some(name) = &args.feature
        && !profile.features.contains_key(name)
    {
        let names: Vec<_> = profile.features.keys().map(|it| format!("`{it}`")).collect();
        anyhow::bail!("`{path}` has no feature `{name}`; it has {}", names.join(", "));
    }
    if args.json {
        describe::write_json(&profile, args.feature.as_deref(), out)
    } else {
        Ok(describe(&profile, args.feature.as_deref(), out)?)
    }
}

impl BuildArgs {
    /// Takes every row and column of `input`.
    fn of_all_rows(input: Vec<PathBuf>, output: PathBuf, model: &str, version: &str) -> Self {
        Self {
            input,
            output,
            config: None,
            model: Some(model.to_owned()),
            version: Some(version.to_owned()),
            exclude: Vec::new(),
            event_time: None,
            time_format: None,
            from: None,
            until: None,
            last: None,
            bins: BINS_DEFAULT,
        }
    }

    /// Returns the first event time taken, where one is given.
    fn first_taken(&self) -> Option<Timestamp> {
        let until = self.until.zip(self.last);
        self.from.or_else(|| until.map(|(until, last)| until.plus_millis(-last)))
    }
}

/// Reads a length of time such as `42d` or `36h`, in milliseconds.
fn millis_of(text: &str) -> Result<i64, String> {
    let span: Result<jiff::Span, _> = text.parse();
    let length = span.and_then(|it| it.to_duration(jiff::SpanRelativeTo::days_are_24_hours()));
    match length.map(|it| i64::try_from(it.as_millis())) {
        Ok(Ok(millis)) if 0 < millis => Ok(millis),
        Ok(_) | Err(_) => Err("not a length of time such as `42d` or `36h`".to_owned()),
    }
}

impl From<TimeUnitArg> for TimeFormat {
    fn from(unit: TimeUnitArg) -> Self {
        match unit {
            TimeUnitArg::UnixSeconds => Self::UnixSeconds,
            TimeUnitArg::UnixMillis => Self::UnixMillis,
            TimeUnitArg::UnixMicros => Self::UnixMicros,
            TimeUnitArg::UnixNanos => Self::UnixNanos,
        }
    }
}

fn model_id(args: &BuildArgs, config: Option<&Config>) -> anyhow::Result<ModelId> {
    let only = config.filter(|it| it.models.len() == 1).map(|it| it.models[0].name.to_string());
    let name = args.model.clone().or(only).context("say whose reference it is: `--model NAME`")?;
    let fixed = config.and_then(|it| columns::fixed_version(it, &name));
    let version = match (&args.version, fixed) {
        (Some(given), Some(fixed)) if **given != *fixed => {
            anyhow::bail!(
                "the configuration fixes model `{name}` to version `{fixed}`, not `{given}`"
            )
        }
        (Some(given), _) => Arc::from(given.as_str()),
        (None, Some(fixed)) => fixed,
        (None, None) => anyhow::bail!("say which version's reference it is: `--version VERSION`"),
    };
    Ok(ModelId::try_new(&name, &version)?)
}

fn origins(args: &BuildArgs) -> anyhow::Result<Vec<Origin>> {
    let origin = |path: &PathBuf| {
        let metadata =
            fs::metadata(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok(Origin {
            path: path.display().to_string(),
            bytes: metadata.len(),
            from: args.first_taken(),
            until: args.until,
        })
    };
    args.input.iter().map(origin).collect()
}

fn progress_bar(features: usize) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{elapsed_precise} [{bar:30}] {pos} of {len} features, now {msg}",
    );
    ProgressBar::new(features as u64).with_style(style.expect("the template is well-formed"))
}
