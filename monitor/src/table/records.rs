//! Batches of a file's columns as [`Decoded`] batches, as if each row had been a message.
//!
//! Before: [`super::Table::batches`], read by a [`Layout`]. After: `driftd_core::shard::Shard`
//! counts them. Each row becomes one row or one rejection; its offset is its number over all files.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef, UInt32Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use driftd_catalog::{ModelId, NameError, SegmentId};
use driftd_ingest::{
    DETAIL_BYTES_MAX, Decoded, FeatureKind, ModelSchema, RejectReason, Rejection, Row, SourceSchema,
};

use super::convert::{self, Converted};
use super::layout::{Layout, ModelColumn, ModelLayout, VersionColumn};
use super::time::{EventTime, event_times};
use super::{RefusedRow, Rows, Table, TableError};

/// Turns the batches of one file into decoded batches.
#[derive(Debug)]
pub struct RecordReader {
    schema: Arc<SourceSchema>,
    model_schemas: Vec<SchemaRef>,
    layout: Layout,
    table: std::path::PathBuf,
}

/// What is known of a row before its columns are looked at.
#[derive(Clone, Copy, Debug)]
struct Place {
    event_time: driftd_catalog::Timestamp,
    model: u16,
    version: u16,
}

/// Rows refused so far, each for the first reason found.
#[derive(Debug, Default)]
struct Refusals(BTreeMap<usize, (RejectReason, String)>);

impl From<Vec<RefusedRow>> for Refusals {
    fn from(refused: Vec<RefusedRow>) -> Self {
        Self(refused.into_iter().map(|it| (it.row, (it.reason, it.detail))).collect())
    }
}

impl Refusals {
    fn add(&mut self, row: usize, reason: RejectReason, column: &str, problem: &str) {
        self.0.entry(row).or_insert_with(|| {
            let mut detail = format!("`{column}`: {problem}");
            detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
            (reason, detail)
        });
    }

    fn has(&self, row: usize) -> bool {
        self.0.contains_key(&row)
    }
}

impl RecordReader {
    /// Makes a reader of batches that hold the columns at `layout.positions()` of `table`.
    pub fn new(table: &Table, schema: Arc<SourceSchema>, layout: &Layout) -> Self {
        let model_schemas = schema.models.iter().map(ModelSchema::arrow_schema).collect();
        let table = table.path().to_owned();
        Self { schema, model_schemas, layout: layout.projected(), table }
    }

    /// Turns one batch, whose first row has the offset `from_offset`, into rows and rejections.
    pub fn decode(&self, from_offset: i64, rows: Rows) -> Result<Decoded, TableError> {
        self.try_decode(from_offset, rows)
            .map_err(|source| TableError::Batch { path: self.table.clone(), source })
    }

    fn try_decode(&self, from_offset: i64, rows: Rows) -> Result<Decoded, ArrowError> {
        let Rows { columns: batch, refused } = rows;
        let batch = &batch;
        let mut refusals = Refusals::from(refused);
        let mut versions = Versions::default();
        let places = self.places(batch, &mut refusals, &mut versions)?;
        let mut converted = Vec::with_capacity(self.schema.models.len());
        for model in 0..self.schema.models.len() {
            converted.push(self.columns(batch, model, &places, &mut refusals)?);
        }
        let batches = converted
            .into_iter()
            .enumerate()
            .map(|(model, columns)| {
                columns.map(|it| self.keep(&it, model, &places, &refusals)).transpose()
            })
            .map(|batch| batch.map(|it| it.filter(|batch| 0 < batch.num_rows())))
            .collect::<Result<_, _>>()?;
        let accepted = places.iter().enumerate().filter(|(row, _)| !refusals.has(*row));
        let rows = accepted
            .filter_map(|(row, place)| {
                place.map(|place| Row {
                    offset: offset(from_offset, row),
                    event_time: place.event_time,
                    timestamp: None,
                    model: place.model,
                    version: place.version,
                })
            })
            .collect();
        let rejections = refusals.0.into_iter().map(|(row, (reason, detail))| Rejection {
            offset: offset(from_offset, row),
            reason,
            detail,
            path: None,
        });
        Ok(Decoded {
            from_offset,
            to_offset: offset(from_offset, batch.num_rows()),
            messages: batch.num_rows() as u64,
            bytes: 0,
            rows,
            versions: versions.names,
            batches,
            rejections: rejections.collect(),
            skipped: BTreeMap::new(),
        })
    }

    /// Finds time, model and version of each row; `None` for a refused one.
    fn places(
        &self,
        batch: &RecordBatch,
        refusals: &mut Refusals,
        versions: &mut Versions,
    ) -> Result<Vec<Option<Place>>, ArrowError> {
        let name = |position: usize| batch.schema_ref().field(position).name();
        let at = self.layout.event_time;
        let times = event_times(batch.column(at), self.schema.written_time())?;
        let models = self.models(batch)?;
        let version_columns = self.version_columns(batch, versions)?;
        let mut places = Vec::with_capacity(times.len());
        for (row, time) in times.into_iter().enumerate() {
            let event_time = match time {
                EventTime::At(time) => Ok(time),
                EventTime::Missing => Err((RejectReason::MissingField, at, "null".to_owned())),
                EventTime::Invalid => {
                    let problem = format!(
                        "not a time ({}) or outside 1870 to 9999",
                        self.schema.written_time()
                    );
                    Err((RejectReason::InvalidTime, at, problem))
                }
            };
            let place = event_time.and_then(|event_time| {
                let model = models.of(row)?;
                let version = version_columns[usize::from(model)].of(row)?;
                Ok(Place { event_time, model, version })
            });
            places.push(match place {
                Ok(place) => Some(place),
                Err((reason, position, problem)) => {
                    refusals.add(row, reason, name(position), &problem);
                    None
                }
            });
        }
        Ok(places)
    }

    fn models(&self, batch: &RecordBatch) -> Result<Names, ArrowError> {
        let at = match self.layout.model {
            ModelColumn::Fixed(model) => return Ok(Names::Fixed(model)),
            ModelColumn::At(at) => at,
        };
        let index = |name: &str| {
            let index = self.schema.models.iter().position(|it| *it.name == *name);
            index.and_then(|it| u16::try_from(it).ok()).ok_or_else(|| {
                (RejectReason::UnknownModel, "a model that is not configured".to_owned())
            })
        };
        Names::read(batch.column(at), at, index)
    }

    /// Returns one entry a model; models that no row can be of get one without meaning.
    fn version_columns(
        &self,
        batch: &RecordBatch,
        versions: &mut Versions,
    ) -> Result<Vec<Names>, ArrowError> {
        let mut columns = Vec::with_capacity(self.layout.models.len());
        for (schema, layout) in self.schema.models.iter().zip(&self.layout.models) {
            columns.push(match layout.as_ref().map(|it| &it.version) {
                None => Names::Fixed(0),
                Some(VersionColumn::Fixed(version)) => {
                    Names::Fixed(versions.index(&schema.name, version).unwrap_or(0))
                }
                Some(VersionColumn::At(at)) => Names::read(batch.column(*at), *at, |version| {
                    versions.index(&schema.name, version)
                })?,
            });
        }
        Ok(columns)
    }

    /// Converts the columns of one model, and refuses its rows with values that do not fit.
    fn columns(
        &self,
        batch: &RecordBatch,
        model: usize,
        places: &[Option<Place>],
        refusals: &mut Refusals,
    ) -> Result<Option<Vec<ArrayRef>>, ArrowError> {
        let Some(layout) = &self.layout.models[model] else { return Ok(None) };
        let is_of_model =
            |row: usize| places[row].is_some_and(|place| usize::from(place.model) == model);
        if !(0..places.len()).any(is_of_model) {
            return Ok(None);
        }
        let schema = &self.schema.models[model];
        let mut columns = Vec::with_capacity(layout.features.len() + layout.segments.len());
        for (position, kind) in kinds(schema, layout) {
            let name = batch.schema_ref().field(position).name();
            let Converted { array, refused } = convert::column(batch.column(position), kind)?;
            for (row, problem) in refused.into_iter().filter(|(row, _)| is_of_model(*row)) {
                refusals.add(row, problem.reason(), name, &problem.detail(kind));
            }
            columns.push(array);
        }
        for (segment, column) in
            schema.segments.iter().zip(columns.iter().skip(layout.features.len()))
        {
            for row in
                invalid_segments(&segment.name, column).into_iter().filter(|row| is_of_model(*row))
            {
                let problem = "a value that cannot name a segment";
                refusals.add(row, RejectReason::InvalidName, &segment.name, problem);
            }
        }
        Ok(Some(columns))
    }

    /// Keeps the accepted rows of one model.
    fn keep(
        &self,
        columns: &[ArrayRef],
        model: usize,
        places: &[Option<Place>],
        refusals: &Refusals,
    ) -> Result<RecordBatch, ArrowError> {
        let schema: &Arc<Schema> = &self.model_schemas[model];
        let batch = RecordBatch::try_new(Arc::clone(schema), columns.to_vec())?;
        let is_kept = |(row, place): (usize, &Option<Place>)| {
            place.is_some_and(|it| usize::from(it.model) == model) && !refusals.has(row)
        };
        if refusals.0.is_empty() && self.layout.models.iter().flatten().count() == 1 {
            return Ok(batch);
        }
        let kept: Vec<bool> = places.iter().enumerate().map(is_kept).collect();
        filter_record_batch(&batch, &BooleanArray::from(kept))
    }
}

fn offset(from_offset: i64, row: usize) -> i64 {
    from_offset + i64::try_from(row).expect("a batch has few rows")
}

fn kinds<'a>(
    schema: &'a ModelSchema,
    layout: &'a ModelLayout,
) -> impl Iterator<Item = (usize, FeatureKind)> + 'a {
    let features = schema.features.iter().zip(&layout.features).map(|(it, at)| (*at, it.kind));
    let segments = layout.segments.iter().map(|at| (*at, FeatureKind::Categorical));
    features.chain(segments)
}

/// Returns the rows whose segment value is too long or unprintable.
fn invalid_segments(segment: &str, column: &ArrayRef) -> Vec<usize> {
    let column = column.as_dictionary::<UInt32Type>();
    let names = column.values().as_string::<i32>();
    let is_invalid: Vec<bool> = names
        .iter()
        .map(|it| it.is_some_and(|name| SegmentId::try_new(segment, name).is_err()))
        .collect();
    if !is_invalid.contains(&true) {
        return Vec::new();
    }
    let keys = column.keys().iter().enumerate();
    keys.filter(|(_, key)| key.is_some_and(|key| is_invalid[key as usize]))
        .map(|(row, _)| row)
        .collect()
}

/// A refusal with the position of its column.
type Refusal = (RejectReason, usize, String);

/// Names of models or versions by row, as indexes.
#[derive(Debug)]
enum Names {
    Fixed(u16),
    Column { at: usize, keys: ArrayRef, by_key: Vec<Result<u16, (RejectReason, String)>> },
}

impl Names {
    /// Looks at each level of the column once.
    fn read(
        column: &ArrayRef,
        at: usize,
        mut index: impl FnMut(&str) -> Result<u16, (RejectReason, String)>,
    ) -> Result<Self, ArrowError> {
        let keys = convert::column(column, FeatureKind::Categorical)?.array;
        let keyed = keys.as_dictionary::<UInt32Type>();
        // A dictionary page may hold levels that no row of this batch has: they must not use up
        // indexes.
        let mut is_used = vec![false; keyed.values().len()];
        for key in keyed.keys().iter().flatten() {
            is_used[key as usize] = true;
        }
        let unused = || Err((RejectReason::InvalidName, String::new()));
        let names = keyed.values().as_string::<i32>().iter();
        let by_key = names
            .zip(is_used)
            .map(|(name, is_used)| match name {
                Some(name) if is_used => index(name),
                Some(_) | None => unused(),
            })
            .collect();
        Ok(Self::Column { at, keys, by_key })
    }

    fn of(&self, row: usize) -> Result<u16, Refusal> {
        match self {
            Self::Fixed(index) => Ok(*index),
            Self::Column { at, keys, by_key } => {
                let keys = keys.as_dictionary::<UInt32Type>().keys();
                if keys.is_null(row) {
                    return Err((RejectReason::MissingField, *at, "null".to_owned()));
                }
                let index = by_key[keys.value(row) as usize].clone();
                index.map_err(|(reason, problem)| (reason, *at, problem))
            }
        }
    }
}

/// The distinct versions of a batch. It has no more rows than a 16-bit index tells apart.
#[derive(Debug, Default)]
struct Versions {
    names: Vec<Arc<str>>,
    indexes: BTreeMap<Arc<str>, u16>,
}

impl Versions {
    fn index(&mut self, model: &str, version: &str) -> Result<u16, (RejectReason, String)> {
        if let Some(index) = self.indexes.get(version) {
            return Ok(*index);
        }
        ModelId::try_new(model, version).map_err(|error| {
            let problem = match error {
                NameError::Empty => "an empty version".to_owned(),
                NameError::TooLong { bytes } => format!("a version of {bytes} bytes"),
                NameError::Control { name: _ } => "a version with a control character".to_owned(),
            };
            (RejectReason::InvalidName, problem)
        })?;
        let index = u16::try_from(self.names.len()).map_err(|_| {
            (RejectReason::TooManyVersions, "too many versions in a batch".to_owned())
        })?;
        let name: Arc<str> = version.into();
        self.names.push(Arc::clone(&name));
        self.indexes.insert(name, index);
        Ok(index)
    }
}
