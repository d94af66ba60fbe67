//! Fields that all records of a partition have come without, or with something else than the field
//! holds: the schema of the records has changed.
//!
//! Before: [`crate::shard`] shows each batch. After: what stands is part of each report of the
//! partition, and of the snapshot. A window tells the same of a field that went missing, hours
//! later; of records that are refused for a field no window tells, because they are in none.
//!
//! What stands lasts for a process: a next one meets the same records again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::Array as _;
use driftd_detectors::FeatureReference;
use driftd_ingest::{Decoded, FieldPath, RejectReason, Rejection, SourceSchema, VersionField};

use crate::reference::ModelReference;

/// Records in a row before a field is told of.
pub const RECORDS_MIN: u64 = 100;

/// Probability, by the reference, of as many missing values in a row, below which they are told of:
/// one in 10⁹.
const CHANCE_MAX: f64 = 1e-9;

/// What became of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldProblem {
    /// It is absent or null in every record, and the reference has values of it; or records are
    /// refused because it is absent.
    Absent,
    /// What is there is of another kind, and records are refused for it.
    Unreadable,
}

impl FieldProblem {
    /// Both, for gauges that exist from the start.
    pub const ALL: [Self; 2] = [Self::Absent, Self::Unreadable];

    /// Returns the label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Unreadable => "unreadable",
        }
    }

    /// Returns what a refusal says of the field it was for.
    fn of(reason: RejectReason) -> Option<Self> {
        match reason {
            RejectReason::MissingField => Some(Self::Absent),
            RejectReason::WrongType
            | RejectReason::NumberOutOfRange
            | RejectReason::InvalidTime
            | RejectReason::InvalidName => Some(Self::Unreadable),
            RejectReason::EmptyPayload
            | RejectReason::Oversized
            | RejectReason::InvalidUtf8
            | RejectReason::InvalidJson
            | RejectReason::InvalidAvro
            | RejectReason::InvalidProtobuf
            | RejectReason::InvalidArrow
            | RejectReason::UnknownSchema
            | RejectReason::UnknownModel
            | RejectReason::TooManyVersions
            | RejectReason::TooManyRows
            | RejectReason::UnequalLists
            | RejectReason::InvalidColumns
            | RejectReason::UnknownSide => None,
        }
    }
}

/// A field without a value in the newest records of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// The field's path, or the part of it that holds something else.
    pub path: Arc<str>,
    /// What became of it.
    pub problem: FieldProblem,
    /// Records since the last one with a value.
    pub records: u64,
    /// Offset of the batch in which that began.
    pub from_offset: i64,
}

/// A path, and what became of the field there. Of the records without a value some may be without
/// the field and others have something else.
type Key = (Arc<str>, FieldProblem);

/// What has been without a value in one partition, and for how long.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    runs: BTreeMap<Key, Run>,
    /// Those that have been told.
    told: BTreeSet<Key>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    records: u64,
    from_offset: i64,
    /// Natural logarithm of the probability of as many missing values, by the reference.
    chance: f64,
}

impl Run {
    fn stands(&self) -> bool {
        RECORDS_MIN <= self.records && self.chance <= CHANCE_MAX.ln()
    }
}

/// Records of one version in a batch, and its reference.
pub(crate) type Counted<'a> = (u64, &'a ModelReference);

/// Records of a batch that come without a field, all of one version, and what its reference says.
#[derive(Clone, Copy, Debug)]
struct Missing {
    records: u64,
    /// Missing values of the reference.
    null: u64,
    /// All values of it.
    rows: u64,
}

impl Missing {
    /// Returns the natural logarithm of the probability that all are missing, when `before` others
    /// were: each by the share of missing values in the reference and in those before it, with half
    /// a row of either kind added (the predictive distribution of Jeffreys' prior). What is said of
    /// the last is said of all, which makes them more probable.
    fn chance(self, before: u64) -> f64 {
        let seen = (before + self.records) as f64;
        let rate = (self.null as f64 + 0.5 + seen) / (self.rows as f64 + 1.0 + seen);
        self.records as f64 * rate.ln()
    }
}

impl Fields {
    /// Takes a batch; `counted` has the versions of each model that have a reference, by the
    /// model's place in the schema.
    pub(crate) fn update<'a>(
        &mut self,
        schema: &SourceSchema,
        decoded: &Decoded,
        counted: impl FnOnce() -> BTreeMap<usize, Vec<Counted<'a>>>,
    ) {
        let empty = empty(schema, decoded);
        if self.runs.is_empty() && empty.is_empty() && decoded.rejections.is_empty() {
            return;
        }
        let present = present(schema, decoded);
        // What lies in it is there, and so is what it lies in.
        self.runs.retain(|(path, _), _| !has_value(&present, path));
        let counted = if empty.is_empty() { BTreeMap::new() } else { counted() };
        for (path, columns) in empty.iter().filter(|(path, _)| !has_value(&present, path)) {
            let missing = columns.iter().flat_map(|(model, column)| {
                counted.get(model).into_iter().flatten().filter_map(|it| missing(it, *column))
            });
            for missing in missing {
                self.miss(path, missing, decoded.from_offset);
            }
        }
        for Rejection { offset, reason, path, .. } in &decoded.rejections {
            if let (Some(path), Some(problem)) = (path, FieldProblem::of(*reason))
                && !has_value(&present, path)
            {
                let run = self.run(path, problem, *offset);
                run.records += 1;
                // No record is refused by chance.
                run.chance = f64::NEG_INFINITY;
            }
        }
    }

    fn miss(&mut self, path: &str, missing: Missing, offset: i64) {
        let run = self.run(path, FieldProblem::Absent, offset);
        run.chance += missing.chance(run.records);
        run.records += missing.records;
    }

    fn run(&mut self, path: &str, problem: FieldProblem, offset: i64) -> &mut Run {
        let fresh = Run { records: 0, from_offset: offset, chance: 0.0 };
        self.runs.entry((path.into(), problem)).or_insert(fresh)
    }

    /// Returns what stands now, in the order of paths.
    pub(crate) fn changes(&self) -> Vec<FieldChange> {
        let standing = self.runs.iter().filter(|(_, run)| run.stands());
        standing
            .map(|((path, problem), run)| FieldChange {
                path: Arc::clone(path),
                problem: *problem,
                records: run.records,
                from_offset: run.from_offset,
            })
            .collect()
    }

    /// Returns what has come to stand since it was last asked, and the paths of what no longer
    /// does.
    pub(crate) fn take_news(&mut self) -> (Vec<FieldChange>, Vec<Arc<str>>) {
        let mut changes = self.changes();
        let key = |it: &FieldChange| (Arc::clone(&it.path), it.problem);
        let told = std::mem::replace(&mut self.told, changes.iter().map(key).collect());
        changes.retain(|it| !told.contains(&key(it)));
        let over = told.difference(&self.told).map(|(path, _)| Arc::clone(path));
        (changes, over.collect())
    }
}

/// Whether one of the paths is this one, or passes through it.
fn has_value(present: &BTreeSet<String>, part: &str) -> bool {
    let passes = |step: &str| {
        let begin = format!("{part}{step}");
        present.range(begin.clone()..).next().is_some_and(|it| it.starts_with(&begin))
    };
    present.contains(part) || passes(".") || passes("[") || part.is_empty() && !present.is_empty()
}

/// Columns of one path: the model's place in the schema, and the column.
type Columns = Vec<(usize, usize)>;

/// Returns the features that no record of their model has a value of, by path.
fn empty(schema: &SourceSchema, decoded: &Decoded) -> BTreeMap<String, Columns> {
    let mut empty: BTreeMap<String, Columns> = BTreeMap::new();
    for (index, (model, batch)) in schema.models.iter().zip(&decoded.batches).enumerate() {
        let Some(batch) = batch else { continue };
        for (column, feature) in model.features.iter().enumerate() {
            if batch.column(column).null_count() == batch.num_rows() {
                let columns = empty.entry(feature.path.to_string()).or_default();
                // Two features of a model may have one path.
                if columns.last().is_none_or(|(known, _)| *known != index) {
                    columns.push((index, column));
                }
            }
        }
    }
    empty
}

/// Returns what records of a version miss in a column; nothing where its reference has no value.
fn missing((records, reference): &Counted<'_>, column: usize) -> Option<Missing> {
    let (null, rows) = match reference.features.get(column)? {
        FeatureReference::Numeric(it) => (it.counts.null, it.counts.rows()),
        FeatureReference::Categorical(it) => (it.counts.null, it.counts.rows()),
    };
    (null < rows).then_some(Missing { records: *records, null, rows })
}

/// Returns the paths that some record of a batch has a value at.
fn present(schema: &SourceSchema, decoded: &Decoded) -> BTreeSet<String> {
    let mut present: BTreeSet<&FieldPath> = BTreeSet::new();
    let read = schema.models.iter().zip(&decoded.batches);
    for (model, batch) in read.filter_map(|(model, batch)| Some((model, batch.as_ref()?))) {
        let version = match &model.version {
            VersionField::Fixed(_) => None,
            VersionField::Path(path) => Some(path),
        };
        // No record is accepted without these.
        present.extend([&schema.event_time].into_iter().chain(&schema.model).chain(version));
        let features = model.features.iter().map(|it| &it.path);
        let segments = model.segments.iter().map(|it| &it.path);
        let columns = features.chain(segments).enumerate();
        let filled =
            columns.filter(|(column, _)| batch.column(*column).null_count() < batch.num_rows());
        present.extend(filled.map(|(_, path)| path));
    }
    // Parts of paths are told as they are written with every sign that means something escaped.
    // What is beside the payload has no parts, and is no key that is called so.
    let escaped = |path: &&FieldPath| {
        let text = path.to_string();
        (path.beside().is_none() && text.starts_with('$')).then(|| format!("\\{text}"))
    };
    let texts = present.iter().map(ToString::to_string);
    texts.chain(present.iter().filter_map(escaped)).collect()
}

#[cfg(test)]
mod tests;
