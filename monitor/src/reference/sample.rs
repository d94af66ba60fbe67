//! Reads a sample with polars, lazily and one column at a time, and freezes each column as a
//! [`FeatureReference`].
//!
//! Before: [`super::columns`]. After: the profile. Edges are exact: they come from the sorted
//! column, not from a sketch. Memory holds one column, or the levels of one, however many columns
//! and files there are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use driftd_catalog::Timestamp;
use driftd_detectors::{
    CategoricalCounts, CategoricalReference, FeatureReference, Grid, Levels, NumericColumn,
    NumericCounts, NumericReference, NumericValues, Precision,
};
use driftd_ingest::{FeatureKind, TimeFormat, event_time};
use polars::prelude::{
    Column, DataFrame, DataType, Engine, Expr, Field, Int64Chunked, IntoColumn as _, LazyCsvReader,
    LazyFileListReader as _, LazyFrame, NullValues, PlRefPath, PolarsResult, ScanArgsParquet,
    Schema, SortOptions, TimeUnit, UnionArgs, col, concat, len, lit,
};

use super::columns::{Columns, SampleFeature, SampleSegment};
use super::segments::PLACE;
use crate::table;

/// Name of the count column of a query: no column of a sample is called so.
pub(super) const ROWS: &str = "driftd rows";

/// The rows taken.
#[derive(Debug, Default)]
pub(super) struct TimeRange {
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    column: Option<(String, TimeFormat)>,
}

impl TimeRange {
    /// Takes `[from, until)` of a column; without either, all rows whatever their time.
    pub(super) fn new(
        from: Option<Timestamp>,
        until: Option<Timestamp>,
        column: Option<(String, TimeFormat)>,
    ) -> anyhow::Result<Self> {
        if from.is_none() && until.is_none() {
            return Ok(Self::default());
        }
        anyhow::ensure!(column.is_some(), "`--from` and `--until` need `--event-time COLUMN`");
        anyhow::ensure!(
            from.is_none_or(|from| until.is_none_or(|until| from < until)),
            "`--from` has to be before `--until`"
        );
        Ok(Self { from, until, column })
    }

    fn filter(&self, frame: LazyFrame) -> LazyFrame {
        let Some((column, format)) = &self.column else { return frame };
        let time = millis(column, *format);
        let from = self.from.map(|from| time.clone().gt_eq(lit(from.as_millis())));
        let until = self.until.map(|until| time.lt(lit(until.as_millis())));
        from.into_iter().chain(until).fold(frame, LazyFrame::filter)
    }
}

/// The rows of all inputs, not read yet.
pub(super) struct Sample {
    frames: Vec<LazyFrame>,
}

impl Sample {
    pub(super) fn open(
        inputs: &[PathBuf],
        columns: &Columns,
        range: &TimeRange,
    ) -> anyhow::Result<Self> {
        let mut frames = Vec::with_capacity(inputs.len());
        for (index, input) in inputs.iter().enumerate() {
            if is_csv(input) {
                // Polars would fill or cut such a line, and that is not what the model saw.
                table::check_lines(input)?;
            }
            let mut frame = scan(input, &columns.csv_types(index))?;
            let schema = frame
                .collect_schema()
                .with_context(|| format!("cannot read the columns of `{}`", input.display()))?;
            if let Some((time, _)) = &range.column {
                let path = input.display();
                anyhow::ensure!(
                    schema.contains(time),
                    "`{path}` has no column `{time}` for the event time"
                );
            }
            if is_csv(input) {
                // Each column is a query of its own, and would guess the types of all of them anew.
                frame = csv(input, |reader| reader.with_schema(Some(Arc::clone(&schema))))?;
            }
            frames.push(range.filter(frame));
        }
        Ok(Self { frames })
    }

    /// Returns the number of rows taken.
    pub(super) fn rows(&self) -> anyhow::Result<u64> {
        let counts = self.frames.iter().map(|it| it.clone().select([len().alias(ROWS)]));
        let counted = collect(union(counts.collect())?.select([col(ROWS).sum()]))?;
        Ok(counted.column(ROWS)?.cast(&DataType::UInt64)?.u64()?.get(0).unwrap_or(0))
    }

    /// Freezes one feature.
    pub(super) fn reference(
        &self,
        feature: &SampleFeature,
        bins: usize,
    ) -> anyhow::Result<FeatureReference> {
        match feature.kind {
            FeatureKind::Float32 => self.numeric(feature, Precision::F32, bins),
            FeatureKind::Float64 | FeatureKind::Integer => {
                self.numeric(feature, Precision::F64, bins)
            }
            FeatureKind::Categorical => self.categorical(feature),
            FeatureKind::Boolean => self.boolean(feature),
        }
        .map(FeatureReference::from)
    }

    fn numeric(
        &self,
        feature: &SampleFeature,
        precision: Precision,
        bins: usize,
    ) -> anyhow::Result<Frozen> {
        let sorted = self.column(feature)?;
        let sorted = collect(sorted.select([col(&feature.name).sort(SortOptions::default())]))?;
        let column = sorted.column(&feature.name)?.f64()?.rechunk();
        let null = column.null_count() as u64;
        let values: Vec<f64> = column.iter().flatten().collect();
        if feature.kind == FeatureKind::Integer
            && let Some(value) = values.iter().find(|it| it.is_finite() && it.fract() != 0.0)
        {
            anyhow::bail!("`{value}` is no whole number: configure it as float64");
        }
        Ok(Frozen::Numeric(numeric(&values, null, precision, bins)?))
    }

    fn categorical(&self, feature: &SampleFeature) -> anyhow::Result<Frozen> {
        let counts = level_counts(self.column(feature)?, &feature.name)?;
        let rows = counts.levels.into_iter().map(|(name, rows)| (name.into(), rows)).collect();
        Ok(Frozen::Categorical(CategoricalReference::of_sample(rows, counts.null)?))
    }

    fn boolean(&self, feature: &SampleFeature) -> anyhow::Result<Frozen> {
        let counts = level_counts(self.column(feature)?, &feature.name)?;
        if let Some(other) =
            counts.levels.keys().find(|it| !["false", "true"].contains(&it.as_str()))
        {
            anyhow::bail!("`{other}` is neither true nor false: configure it as categorical");
        }
        // Both are levels, with rows or without: nothing else can come.
        let names = ["false", "true"];
        let levels = Levels::try_new(names.map(Into::into).into())?;
        let counts = CategoricalCounts {
            levels: names.map(|it| counts.levels.get(it).copied().unwrap_or(0)).into(),
            null: counts.null,
            ..CategoricalCounts::empty(&levels)
        };
        Ok(Frozen::Categorical(CategoricalReference { levels: Arc::new(levels), counts }))
    }

    /// Returns one column of all inputs, under the feature's name.
    fn column(&self, feature: &SampleFeature) -> anyhow::Result<LazyFrame> {
        let frames = self.frames.iter().enumerate();
        union(frames.map(|(input, frame)| frame.clone().select([feature.values(input)])).collect())
    }

    /// Returns the values that a segmentation splits by, each with its rows.
    pub(super) fn segment_values(
        &self,
        segment: &SampleSegment,
    ) -> anyhow::Result<BTreeMap<String, u64>> {
        let frames = self.frames.iter().enumerate();
        let texts = |(input, frame): (usize, &LazyFrame)| {
            frame.clone().select([segment.texts(input).alias(PLACE)])
        };
        Ok(level_counts(union(frames.map(texts).collect())?, PLACE)?.levels)
    }

    /// Returns one column of all inputs with the place of each row's segment in `segment`, as
    /// [`PLACE`].
    pub(super) fn column_by_segment(
        &self,
        feature: &SampleFeature,
        segment: &SampleSegment,
    ) -> anyhow::Result<LazyFrame> {
        let frames = self.frames.iter().enumerate().map(|(input, frame)| {
            frame.clone().select([feature.values(input), segment.places(input).alias(PLACE)])
        });
        union(frames.collect())
    }
}

impl SampleFeature {
    /// Returns the values in one input, as they are counted.
    fn values(&self, input: usize) -> Expr {
        let column = col(&self.columns[input]);
        // Through the feature's own precision, so that reference and records are rounded alike.
        let values = match self.kind {
            FeatureKind::Float32 => column.strict_cast(DataType::Float32).cast(DataType::Float64),
            FeatureKind::Float64 | FeatureKind::Integer => column.strict_cast(DataType::Float64),
            FeatureKind::Categorical => column.cast(DataType::String),
            FeatureKind::Boolean => column.cast(DataType::String).str().to_lowercase(),
        };
        values.alias(&self.name)
    }
}

/// A reference of either kind.
enum Frozen {
    Numeric(NumericReference),
    Categorical(CategoricalReference),
}

impl From<Frozen> for FeatureReference {
    fn from(frozen: Frozen) -> Self {
        match frozen {
            Frozen::Numeric(reference) => Self::Numeric(reference),
            Frozen::Categorical(reference) => Self::Categorical(reference),
        }
    }
}

/// Freezes a column from its values in ascending order, NaN last.
fn numeric(
    sorted: &[f64],
    null: u64,
    precision: Precision,
    bins: usize,
) -> anyhow::Result<NumericReference> {
    let begin = sorted.partition_point(|value| *value == f64::NEG_INFINITY);
    let end = sorted.partition_point(|value| *value < f64::INFINITY);
    let finite = sorted.get(begin..end).unwrap_or_default();
    anyhow::ensure!(
        !finite.is_empty(),
        "it has no finite value in the sample: leave it out, or take another sample"
    );
    let grid = Grid::from_sorted(precision, finite, bins)?;
    let mut counts = NumericCounts::empty(&grid);
    counts.update(&grid, &NumericColumn { values: NumericValues::F64(sorted), validity: None });
    counts.null = null;
    Ok(NumericReference { grid: Arc::new(grid), counts })
}

/// Rows by level, and without one.
struct LevelCounts {
    levels: BTreeMap<String, u64>,
    null: u64,
}

fn level_counts(texts: LazyFrame, name: &str) -> anyhow::Result<LevelCounts> {
    let grouped = texts.group_by([col(name)]).agg([len().alias(ROWS)]);
    let grouped = collect(grouped)?;
    let rows = grouped.column(ROWS)?.cast(&DataType::UInt64)?;
    let mut counts = LevelCounts { levels: BTreeMap::new(), null: 0 };
    for (level, rows) in grouped.column(name)?.str()?.iter().zip(rows.u64()?.iter()) {
        let rows = rows.unwrap_or(0);
        match level {
            Some(level) => {
                counts.levels.insert(level.to_owned(), rows);
            }
            None => counts.null += rows,
        }
    }
    Ok(counts)
}

/// Opens a file lazily. `csv_types` are column types that are known and must not be guessed.
pub(super) fn scan(path: &Path, csv_types: &[(String, DataType)]) -> anyhow::Result<LazyFrame> {
    if is_csv(path) {
        let types = csv_types.iter().map(|(name, it)| Field::new(name.as_str().into(), it.clone()));
        let types = Arc::new(types.collect::<Schema>());
        return csv(path, |reader| {
            reader.with_infer_schema_length(Some(10_000)).with_dtype_overwrite(Some(types))
        });
    }
    let args = ScanArgsParquet { glob: false, ..ScanArgsParquet::default() };
    let frame = LazyFrame::scan_parquet(location(path)?, args);
    frame.with_context(|| format!("cannot read `{}`", path.display()))
}

fn csv(
    path: &Path,
    typed: impl FnOnce(LazyCsvReader) -> LazyCsvReader,
) -> anyhow::Result<LazyFrame> {
    let reader = LazyCsvReader::new(location(path)?)
        .with_glob(false)
        // Also a quoted empty field: a replay cannot tell it from one without quotes.
        .with_null_values(Some(NullValues::AllColumnsSingle("".into())));
    typed(reader).finish().with_context(|| format!("cannot read `{}`", path.display()))
}

fn location(path: &Path) -> anyhow::Result<PlRefPath> {
    let text = path.to_str().with_context(|| format!("`{}` is no UTF-8 path", path.display()))?;
    Ok(PlRefPath::new(text))
}

pub(super) fn is_csv(path: &Path) -> bool {
    path.extension().is_some_and(|it| it.eq_ignore_ascii_case("csv"))
}

fn union(frames: Vec<LazyFrame>) -> anyhow::Result<LazyFrame> {
    Ok(concat(frames, UnionArgs::default())?)
}

pub(super) fn collect(frame: LazyFrame) -> anyhow::Result<DataFrame> {
    Ok(frame.collect_with_engine(Engine::Streaming)?.unwrap_single())
}

/// Returns the event time in milliseconds; null where it cannot be read.
fn millis(column: &str, format: TimeFormat) -> Expr {
    let as_integer =
        |_: &Schema, field: &Field| Ok(Field::new(field.name().clone(), DataType::Int64));
    col(column).map(move |column| event_millis(&column, format), as_integer)
}

fn event_millis(column: &Column, format: TimeFormat) -> PolarsResult<Column> {
    let data_type = column.dtype();
    if data_type.is_datetime() || data_type.is_date() {
        let zone = DataType::Datetime(TimeUnit::Milliseconds, None);
        // The zone shows times, it does not move them.
        let plain = if let DataType::Datetime(unit, _) = data_type {
            column.cast(&DataType::Int64)?.cast(&DataType::Datetime(*unit, None))?
        } else {
            column.clone()
        };
        return plain.cast(&zone)?.cast(&DataType::Int64);
    }
    let name = column.name().clone();
    let times: Int64Chunked = if data_type.is_string() {
        column
            .str()?
            .iter()
            .map(|it| {
                it.and_then(|text| event_time::from_written(format, text)).map(Timestamp::as_millis)
            })
            .collect()
    } else {
        let whole = column.cast(&DataType::Int64)?;
        whole
            .i64()?
            .iter()
            .map(|it| {
                it.and_then(|it| event_time::from_integer(format, it)).map(Timestamp::as_millis)
            })
            .collect()
    };
    Ok(times.with_name(name).into_column())
}
