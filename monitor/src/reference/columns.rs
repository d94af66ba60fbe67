//! Which columns of the sample become which features of the profile.
//!
//! Before: the configuration, or the files alone. After: [`super::sample`] reads them. Column names
//! and types are read as `driftd replay` reads them, so that a reference and a replay of the same
//! file mean the same columns.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use driftd_catalog::ModelId;
use driftd_core::config::{Config, SegmentValues};
use driftd_ingest::{FeatureKind, TimeFormat, VersionField};
use polars::prelude::{DataType, PlSmallStr};

use super::BuildArgs;
use super::sample::{is_csv, scan};
use crate::table::{Table, TableError, feature_column, last_element, segment_column};

/// The columns of a sample.
#[derive(Debug)]
pub(super) struct Columns {
    /// What becomes a feature.
    pub(super) features: Vec<SampleFeature>,
    /// What divides the rows into segments.
    pub(super) segments: Vec<SampleSegment>,
    /// Column and format of the event time, where one is known.
    pub(super) event_time: Option<(String, TimeFormat)>,
}

/// One feature, and its column in each input.
#[derive(Debug)]
pub(super) struct SampleFeature {
    pub(super) name: String,
    pub(super) kind: FeatureKind,
    /// Name of the column, one an input.
    pub(super) columns: Vec<String>,
}

/// One segmentation, and the column with its values in each input.
#[derive(Debug)]
pub(super) struct SampleSegment {
    pub(super) name: Arc<str>,
    /// Values with a segment of their own. Those of `top` are known when the sample is open.
    pub(super) values: Vec<Arc<str>>,
    /// How many of the most frequent values are taken; absent where they are listed.
    pub(super) top: Option<usize>,
    /// Name of the column, one an input.
    pub(super) columns: Vec<String>,
}

impl Columns {
    /// Takes features, types and paths from the configuration of a model.
    pub(super) fn of_config(
        args: &BuildArgs,
        config: &Config,
        id: &ModelId,
    ) -> anyhow::Result<Self> {
        let model = config.models.iter().find(|it| *it.name == *id.name());
        let model = model.with_context(|| {
            let names: Vec<_> = config.models.iter().map(|it| format!("`{}`", it.name)).collect();
            format!("the configuration has no model `{}`; it has {}", id.name(), names.join(", "))
        })?;
        let source = &config.sources[model.source].schema;
        let schema = source.models.iter().find(|it| it.name == model.name);
        let schema = schema.expect("a source lists the models that name it");
        let tables = args.input.iter().map(|it| Table::open(it)).collect::<Result<Vec<_>, _>>()?;
        let mut features = Vec::with_capacity(schema.features.len());
        for field in &schema.features {
            let column = |it: &Table| feature_column(it, &field.name, &field.path, field.kind);
            let columns = column_names(&tables, column)?;
            features.push(SampleFeature {
                name: field.name.to_string(),
                kind: field.kind,
                columns,
            });
        }
        let mut segments = Vec::with_capacity(schema.segments.len());
        for (field, config) in schema.segments.iter().zip(&model.segments) {
            let column = |it: &Table| segment_column(it, &field.name, &field.path);
            let columns = column_names(&tables, column)?;
            let (values, top) = match &config.values {
                SegmentValues::Listed(values) => (values.clone(), None),
                SegmentValues::Top(top) => (Vec::new(), Some(*top)),
            };
            segments.push(SampleSegment { name: Arc::clone(&config.name), values, top, columns });
        }
        let event_time =
            args.event_time.clone().unwrap_or_else(|| last_element(&source.event_time));
        Ok(Self { features, segments, event_time: Some((event_time, source.time_format)) })
    }

    /// Takes every column that is not excluded, with the type that it has in the first file.
    pub(super) fn of_files(args: &BuildArgs) -> anyhow::Result<Self> {
        let first = &args.input[0];
        let schema = scan(first, &[])?
            .collect_schema()
            .with_context(|| format!("cannot read the columns of `{}`", first.display()))?;
        for name in args.exclude.iter().chain(&args.event_time) {
            anyhow::ensure!(
                schema.contains(name),
                "`{}` has no column `{name}` to leave out; it has {}",
                first.display(),
                names(schema.iter_names())
            );
        }
        let mut features = Vec::new();
        for (name, data_type) in schema.iter_names().zip(schema.iter_values()) {
            let is_left_out = args.exclude.iter().chain(&args.event_time).any(|it| name == it);
            if !is_left_out {
                features.push(SampleFeature {
                    name: name.to_string(),
                    kind: kind(first, name, data_type)?,
                    columns: vec![name.to_string(); args.input.len()],
                });
            }
        }
        anyhow::ensure!(!features.is_empty(), "every column is excluded: nothing is left to watch");
        let format = args.time_format.map_or(TimeFormat::Rfc3339, TimeFormat::from);
        let event_time = args.event_time.clone().map(|it| (it, format));
        Ok(Self { features, segments: Vec::new(), event_time })
    }

    /// Returns the types that CSV columns of an input must be read as, instead of guessing from
    /// their first rows. A column that also tells the segment stays text: `07` is not `7`.
    pub(super) fn csv_types(&self, input: usize) -> Vec<(String, DataType)> {
        let mut types: Vec<_> =
            self.segments.iter().map(|it| (it.columns[input].clone(), DataType::String)).collect();
        let others = |feature: &&SampleFeature| {
            self.segments.iter().all(|it| it.columns[input] != feature.columns[input])
        };
        types.extend(self.features.iter().filter(others).map(|feature| {
            let data_type = match feature.kind {
                FeatureKind::Float32 => DataType::Float32,
                // Integers may be written as `5.0`, as a replay has it.
                FeatureKind::Float64 | FeatureKind::Integer => DataType::Float64,
                FeatureKind::Categorical | FeatureKind::Boolean => DataType::String,
            };
            (feature.columns[input].clone(), data_type)
        }));
        types
    }
}

fn column_names(
    tables: &[Table],
    position: impl Fn(&Table) -> Result<usize, TableError>,
) -> Result<Vec<String>, TableError> {
    let name = |table: &Table| Ok(table.columns().field(position(table)?).name().clone());
    tables.iter().map(name).collect()
}

/// Returns the version that the configuration fixes for a model.
pub(super) fn fixed_version(config: &Config, model: &str) -> Option<Arc<str>> {
    let index = config.models.iter().position(|it| *it.name == *model)?;
    let schema = &config.sources[config.models[index].source].schema;
    let schema = schema.models.iter().find(|it| *it.name == *model)?;
    match &schema.version {
        VersionField::Fixed(version) => Some(Arc::clone(version)),
        VersionField::Path(_) => None,
    }
}

fn kind(path: &Path, column: &str, data_type: &DataType) -> anyhow::Result<FeatureKind> {
    if *data_type == DataType::Float32 {
        Ok(FeatureKind::Float32)
    } else if data_type.is_float() {
        Ok(FeatureKind::Float64)
    } else if data_type.is_integer() {
        Ok(FeatureKind::Integer)
    } else if data_type.is_bool() {
        Ok(FeatureKind::Boolean)
    } else if data_type.is_string() || data_type.is_categorical() || data_type.is_enum() {
        Ok(FeatureKind::Categorical)
    } else {
        let format = if is_csv(path) { "CSV" } else { "Parquet" };
        anyhow::bail!(
            "column `{column}` of `{}` is {data_type} in {format}, which no feature can be: leave it out with \
             `--exclude {column}` (or `--event-time {column}` if it is the event time)",
            path.display()
        )
    }
}

fn names<'a>(names: impl Iterator<Item = &'a PlSmallStr>) -> String {
    names.map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
}
