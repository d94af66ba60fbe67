//! Predictions and labels of a batch: what [`crate::labels`] joins, out of the columns.
//!
//! Before: [`crate::shard`] has placed the batch's rows in time. After: batches travel to stage 2
//! in the order of the partition, each with the offsets that it covers. What is wrong with a record
//! was refused by its decoder; what metrics cannot take of it is left out here, and counted.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, UInt32Type};
use arrow::record_batch::RecordBatch;
use driftd_catalog::{PartitionId, SegmentId, Timestamp};
use driftd_detectors::NumericValues;
use driftd_ingest::{Decoded, numeric_column};
use xxhash_rust::xxh3::Xxh3Default;

use crate::config::{
    BinaryClasses, Config, LabelsConfig, ModelConfig, OTHER_SEGMENT, PerformanceConfig,
    SegmentValues, Task, is_same_class,
};
use crate::labels::{Cohort, Guess, Label, Truth};
use crate::reference::ModelReference;

/// Numbers above it have squares that no double holds, with room for differences.
const NUMBER_MAX: f64 = 1e150;

/// Predictions of one model in consecutive messages of a partition.
#[derive(Debug)]
pub struct PredictionBatch {
    pub(crate) model: usize,
    pub(crate) partition: PartitionId,
    /// First offset not looked at.
    pub(crate) to_offset: i64,
    pub(crate) rows: Vec<Sighting<NewPrediction>>,
}

/// Labels of one model in consecutive messages of a partition.
#[derive(Debug)]
pub struct LabelBatch {
    pub(crate) model: usize,
    pub(crate) partition: PartitionId,
    /// First offset not looked at.
    pub(crate) to_offset: i64,
    pub(crate) rows: Vec<Sighting<Label>>,
}

/// A record.
#[derive(Debug)]
pub(crate) struct Sighting<T> {
    pub(crate) offset: i64,
    /// Hash of the identity; any, where it has none.
    pub(crate) id: u128,
    pub(crate) what: Result<T, Left>,
}

/// A prediction.
#[derive(Clone, Debug)]
pub(crate) struct NewPrediction {
    pub(crate) time: Timestamp,
    pub(crate) cohort: Arc<Cohort>,
    pub(crate) guess: Guess,
}

/// Why a record is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It has no identity, or values that metrics cannot take.
    Unusable,
    /// It is behind its partition's watermark.
    Late,
    /// It is of a version or window beyond those that are followed at once.
    OverLimit,
}

/// Where a row is in time, by the prefix of its partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Its event time, held to what is believable.
    pub(crate) time: Timestamp,
    /// Whether the partition had passed it already.
    pub(crate) is_late: bool,
    /// Whether there are too many versions or windows for it.
    pub(crate) is_over_limit: bool,
}

/// Reads the labels of a batch: those of each model.
pub(crate) fn labels(
    config: &Config,
    source: usize,
    partition: &PartitionId,
    (decoded, moments): (&Decoded, &[Moment]),
) -> Vec<LabelBatch> {
    let models = config.sources[source].models.iter().enumerate();
    let followed = models.filter_map(|(index, model)| {
        let performance = config.models[*model].performance.as_ref()?;
        let rows = decoded.batches.get(index)?.as_ref().map(|batch| {
            let reader = LabelReader::new(performance, batch);
            let rows = rows_of(decoded, moments, index);
            rows.map(|row| reader.read(row)).collect()
        });
        let (model, partition) = (*model, partition.clone());
        let rows = rows.unwrap_or_default();
        Some(LabelBatch { model, partition, to_offset: decoded.to_offset, rows })
    });
    followed.collect()
}

/// Reads the predictions of a batch: those of each model whose performance is followed.
pub(crate) fn predictions<'a>(
    config: &Config,
    source: usize,
    partition: &PartitionId,
    (decoded, moments): (&Decoded, &[Moment]),
    reference: impl Fn(usize, &str) -> Option<&'a ModelReference>,
) -> Vec<PredictionBatch> {
    let models = config.sources[source].models.iter().enumerate();
    let followed = models.filter_map(|(index, number)| {
        let model = &config.models[*number];
        let performance = model.performance.as_ref()?;
        let rows = decoded.batches.get(index)?.as_ref().map(|batch| {
            let mut reader = PredictionReader::new(model, performance, batch);
            let rows = rows_of(decoded, moments, index);
            let version = |row: &PlacedRow| &decoded.versions[usize::from(row.version)];
            rows.map(|row| {
                let version = version(&row);
                reader.read(row, version, || reference(*number, version))
            })
            .collect()
        });
        let (model, partition) = (*number, partition.clone());
        let rows = rows.unwrap_or_default();
        Some(PredictionBatch { model, partition, to_offset: decoded.to_offset, rows })
    });
    followed.collect()
}

/// A row of one model in its batch.
#[derive(Clone, Copy)]
struct PlacedRow {
    position: usize,
    offset: i64,
    version: u16,
    moment: Moment,
}

fn rows_of(decoded: &Decoded, moments: &[Moment], model: usize) -> impl Iterator<Item = PlacedRow> {
    let rows = decoded.rows.iter().zip(moments);
    let own = rows.filter(move |(row, _)| usize::from(row.model) == model);
    own.enumerate().map(|(position, (row, moment))| PlacedRow {
        position,
        offset: row.offset,
        version: row.version,
        moment: *moment,
    })
}

/// Texts of a column, by row.
struct Texts<'a> {
    keys: &'a arrow::array::UInt32Array,
    levels: &'a arrow::array::StringArray,
}

impl<'a> Texts<'a> {
    /// # Panics
    /// When the column is none of texts: columns follow the schema.
    fn of(batch: &'a RecordBatch, column: usize) -> Self {
        let dictionary = batch.column(column).as_dictionary::<UInt32Type>();
        Self { keys: dictionary.keys(), levels: dictionary.values().as_string::<i32>() }
    }

    fn get(&self, row: usize) -> Option<&'a str> {
        let level = usize::try_from(self.keys.value(row)).ok()?;
        self.keys.is_valid(row).then(|| self.levels.value(level))
    }
}

/// Numbers of a column, by row; those that are there and finite.
struct Numbers(Vec<Option<f64>>);

impl Numbers {
    /// # Panics
    /// When the column is none of numbers: columns follow the schema.
    fn of(batch: &RecordBatch, column: usize) -> Self {
        let column = numeric_column(batch.column(column)).expect("it is a column of numbers");
        let view = column.column();
        let is_valid = |row| view.validity.is_none_or(|it| it.is_valid(row));
        let value = |row: usize| match view.values {
            NumericValues::F32(values) => f64::from(values[row]),
            NumericValues::F64(values) => values[row],
        };
        let number = |row| Some(value(row)).filter(|it| is_valid(row) && it.is_finite());
        Self((0..batch.num_rows()).map(number).collect())
    }

    fn get(&self, row: usize) -> Option<f64> {
        self.0.get(row).copied().flatten()
    }

    /// Returns the number if metrics can take it.
    fn countable(&self, row: usize) -> Option<f64> {
        self.get(row).filter(|it| it.abs() <= NUMBER_MAX)
    }
}

/// Hashes identities: the text, and which of the rows of a message with that text it is.
fn identity(text: &str, row: u64) -> u128 {
    let mut hash = Xxh3Default::new();
    hash.update(&row.to_le_bytes());
    hash.update(text.as_bytes());
    hash.digest128()
}

/// Reads the labels of one model.
struct LabelReader<'a> {
    config: &'a PerformanceConfig,
    ids: Texts<'a>,
    values: LabelValues<'a>,
    /// Columns of the row, the revision, and whether the label is taken away.
    row: Option<&'a arrow::array::Int64Array>,
    revision: Option<&'a arrow::array::Int64Array>,
    deleted: Option<Texts<'a>>,
}

/// What a label says.
enum Said {
    Is(Truth),
    TakenAway,
}

enum LabelValues<'a> {
    Texts(Texts<'a>),
    Numbers(Numbers),
}

impl<'a> LabelReader<'a> {
    fn new(config: &'a PerformanceConfig, batch: &'a RecordBatch) -> Self {
        let values = match &config.task {
            Task::Binary { .. } | Task::Multiclass { .. } => {
                LabelValues::Texts(Texts::of(batch, 0))
            }
            Task::Regression { .. } => LabelValues::Numbers(Numbers::of(batch, 0)),
        };
        let LabelsConfig { has_row, has_revision, has_deleted, .. } = &config.labels;
        let mut next = 1;
        let mut column = |is_there: bool| {
            is_there.then(|| {
                next += 1;
                next - 1
            })
        };
        let (row, revision, deleted) =
            (column(*has_row), column(*has_revision), column(*has_deleted));
        let whole =
            |column: Option<usize>| column.map(|it| batch.column(it).as_primitive::<Int64Type>());
        Self {
            config,
            ids: Texts::of(batch, next),
            values,
            row: whole(row),
            revision: whole(revision),
            deleted: deleted.map(|it| Texts::of(batch, it)),
        }
    }

    fn read(&self, row: PlacedRow) -> Sighting<Label> {
        let PlacedRow { position, offset, moment, .. } = row;
        let place = self.row.map_or(Some(0), |it| whole(it, position));
        let place = place.and_then(|it| u64::try_from(it).ok());
        let id = self.ids.get(position).zip(place).map(|(text, place)| identity(text, place));
        let what = match self.said(position) {
            _ if moment.is_late => Err(Left::Late),
            Some(said) if id.is_some() => Ok(Label {
                time: moment.time,
                revision: self.revision.and_then(|it| whole(it, position)).unwrap_or(0),
                truth: match said {
                    Said::Is(truth) => Some(truth),
                    Said::TakenAway => None,
                },
            }),
            Some(_) | None => Err(Left::Unusable),
        };
        Sighting { offset, id: id.unwrap_or(0), what }
    }

    /// Returns what the label says; nothing where it says nothing that is known.
    fn said(&self, row: usize) -> Option<Said> {
        if self.deleted.as_ref().and_then(|it| it.get(row)) == Some("true") {
            return Some(Said::TakenAway);
        }
        let truth = match (&self.config.task, &self.values) {
            (Task::Binary { classes, .. }, LabelValues::Texts(texts)) => {
                Truth::Positive(classes.is_positive(texts.get(row)?)?)
            }
            (Task::Multiclass { classes, .. }, LabelValues::Texts(texts)) => {
                Truth::Class(class_of(classes, texts.get(row)?)?)
            }
            (Task::Regression { .. }, LabelValues::Numbers(numbers)) => {
                Truth::Number(numbers.countable(row)?)
            }
            (Task::Binary { .. } | Task::Multiclass { .. } | Task::Regression { .. }, _) => {
                unreachable!("the column is read by the task")
            }
        };
        Some(Said::Is(truth))
    }
}

fn whole(column: &arrow::array::Int64Array, row: usize) -> Option<i64> {
    column.is_valid(row).then(|| column.value(row))
}

/// Reads the predictions of one model.
struct PredictionReader<'a> {
    model: &'a ModelConfig,
    ids: Texts<'a>,
    guesses: Guesses<'a>,
    segments: Vec<Texts<'a>>,
    /// Of the row before: its message, its identity, and which of the rows with that it was.
    before: Option<(i64, &'a str, u64)>,
    /// What the row before was counted in.
    cohort: Option<Arc<Cohort>>,
}

enum Guesses<'a> {
    Binary {
        scores: Option<Numbers>,
        predicted: Option<Texts<'a>>,
        threshold: f64,
        classes: &'a BinaryClasses,
    },
    Class(Texts<'a>, &'a [Arc<str>]),
    Number(Numbers),
}

impl<'a> PredictionReader<'a> {
    fn new(
        model: &'a ModelConfig,
        performance: &'a PerformanceConfig,
        batch: &'a RecordBatch,
    ) -> Self {
        let texts = |column: usize| Texts::of(batch, column);
        let guesses = match &performance.task {
            Task::Binary { score, predicted, threshold, classes } => Guesses::Binary {
                scores: score.map(|it| Numbers::of(batch, it)),
                predicted: predicted.map(texts),
                threshold: *threshold,
                classes,
            },
            Task::Multiclass { predicted, classes } => Guesses::Class(texts(*predicted), classes),
            Task::Regression { predicted } => Guesses::Number(Numbers::of(batch, *predicted)),
        };
        let first = model.features.len();
        let segments = (first..first + model.segments.len()).map(texts).collect();
        let ids = texts(first + model.segments.len());
        Self { model, ids, guesses, segments, before: None, cohort: None }
    }

    fn read<'r>(
        &mut self,
        row: PlacedRow,
        version: &Arc<str>,
        reference: impl FnOnce() -> Option<&'r ModelReference>,
    ) -> Sighting<NewPrediction> {
        let PlacedRow { position, offset, moment, .. } = row;
        let id = self.ids.get(position).map(|text| {
            let place = match self.before {
                Some((message, same, place)) if message == offset && same == text => place + 1,
                Some(_) | None => 0,
            };
            self.before = Some((offset, text, place));
            identity(text, place)
        });
        let what = match self.guesses.get(position) {
            _ if moment.is_late => Err(Left::Late),
            _ if moment.is_over_limit => Err(Left::OverLimit),
            Some(guess) if id.is_some() => {
                let cohort = self.cohort(position, version, reference);
                Ok(NewPrediction { time: moment.time, cohort, guess })
            }
            Some(_) | None => Err(Left::Unusable),
        };
        Sighting { offset, id: id.unwrap_or(0), what }
    }

    /// Returns what a row is counted in. Rows next to each other mostly share it.
    fn cohort<'r>(
        &mut self,
        row: usize,
        version: &Arc<str>,
        reference: impl FnOnce() -> Option<&'r ModelReference>,
    ) -> Arc<Cohort> {
        let reference = self.model.segments.iter().any(|it| it.values.are_top()).then(reference);
        let reference = reference.flatten();
        let splits = self.model.segments.iter().zip(&self.segments);
        let segments = splits.filter_map(|(split, texts)| {
            let value = texts.get(row)?;
            let values = match &split.values {
                SegmentValues::Listed(values) => values,
                SegmentValues::Top(_) => reference.map_or(&[][..], |it| it.top_values(&split.name)),
            };
            let is_own = values.iter().any(|it| **it == *value);
            SegmentId::try_new(&split.name, if is_own { value } else { OTHER_SEGMENT }).ok()
        });
        let cohort = Cohort { version: Arc::clone(version), segments: segments.collect() };
        match &self.cohort {
            Some(same) if **same == cohort => Arc::clone(same),
            Some(_) | None => Arc::clone(self.cohort.insert(Arc::new(cohort))),
        }
    }
}

impl Guesses<'_> {
    /// Returns what a row predicts; nothing where metrics cannot take it.
    fn get(&self, row: usize) -> Option<Guess> {
        match self {
            Self::Binary { scores, predicted, threshold, classes } => {
                let score = scores.as_ref().and_then(|it| it.get(row));
                let score = score.filter(|it| (0.0..=1.0).contains(it));
                if scores.is_some() && score.is_none() {
                    return None;
                }
                let predicted = match predicted {
                    Some(texts) => classes.is_positive(texts.get(row)?)?,
                    None => *threshold <= score?,
                };
                Some(Guess::Binary { score, predicted })
            }
            Self::Class(texts, classes) => class_of(classes, texts.get(row)?).map(Guess::Class),
            Self::Number(numbers) => numbers.countable(row).map(Guess::Number),
        }
    }
}

impl BinaryClasses {
    /// Returns whether a text is the positive class; nothing where it is neither.
    fn is_positive(&self, text: &str) -> Option<bool> {
        let is_one = |classes: &[Arc<str>]| classes.iter().any(|it| is_same_class(it, text));
        match (is_one(&self.positive), is_one(&self.negative)) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }
}

fn class_of(classes: &[Arc<str>], text: &str) -> Option<u8> {
    let place = classes.iter().position(|it| is_same_class(it, text))?;
    u8::try_from(place).ok()
}
