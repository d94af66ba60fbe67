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
use driftd_ingest::{Decoded, RejectReason, Rejection, SourceSchema, VersionField};

use crate::reference::ModelReference;

/// Records in a row before a field is told of.
pub const RECORDS_MIN: u64 = 100;

/// Probability, by the reference, of as many missing values in a row, below which they are told of:
/// one in 10⁹.
const CHANCE_MAX: f64 = 1e-9;

/// What became of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldProblem {
    /// It is absent or null in every record, and was not in the reference.
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

/// Values that were missing in all records of a batch.
#[derive(Clone, Copy, Debug, Default)]
struct Missing {
    records: u64,
    chance: f64,
}

impl Fields {
    /// Takes a batch; `reference` is that of a model by its place in the schema, where one of the
    /// batch's versions has one.
    pub(crate) fn update<'a>(
        &mut self,
        schema: &SourceSchema,
        decoded: &Decoded,
        reference: impl Fn(usize) -> Option<&'a ModelReference>,
    ) {
        let mut missing = missing(schema, decoded, reference);
        if self.runs.is_empty() && missing.is_empty() && decoded.rejections.is_empty() {
            return;
        }
        let present = present(schema, decoded);
        // What lies in it is there, and so is what it lies in.
        let has_value = |path: &str| present.iter().any(|it| leads_to(path, it));
        self.runs.retain(|(path, _), _| !has_value(path));
        missing.retain(|path, _| !has_value(path));
        for (path, Missing { records, chance }) in &missing {
            self.add(path, FieldProblem::Absent, *records, *chance, decoded.from_offset);
        }
        for Rejection { offset, reason, path, .. } in &decoded.rejections {
            if let (Some(path), Some(problem)) = (path, FieldProblem::of(*reason))
                && !has_value(path)
            {
                // No record is refused by chance.
                self.add(path, problem, 1, f64::NEG_INFINITY, *offset);
            }
        }
    }

    fn add(&mut self, path: &str, problem: FieldProblem, records: u64, chance: f64, offset: i64) {
        let fresh = Run { records: 0, from_offset: offset, chance: 0.0 };
        let run = self.runs.entry((path.into(), problem)).or_insert(fresh);
        run.records += records;
        run.chance += chance;
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

/// Whether a path is another one, or passes through it.
fn leads_to(part: &str, path: &str) -> bool {
    path.strip_prefix(part)
        .is_some_and(|rest| part.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Returns the features that no record of their model has a value of, by path.
fn missing<'a>(
    schema: &SourceSchema,
    decoded: &Decoded,
    reference: impl Fn(usize) -> Option<&'a ModelReference>,
) -> BTreeMap<String, Missing> {
    let mut missing: BTreeMap<String, Missing> = BTreeMap::new();
    for (index, (model, batch)) in schema.models.iter().zip(&decoded.batches).enumerate() {
        let Some(batch) = batch else { continue };
        let is_empty = |column: usize| batch.column(column).null_count() == batch.num_rows();
        let empty: Vec<usize> = (0..model.features.len()).filter(|it| is_empty(*it)).collect();
        let reference = if empty.is_empty() { None } else { reference(index) };
        for column in empty {
            let feature = &model.features[column];
            let usual = reference.and_then(|it| it.features.get(column)).map(missing_rate);
            let records = batch.num_rows() as u64;
            let known = missing.entry(feature.path.to_string()).or_default();
            known.records += records;
            known.chance += usual.map_or(0.0, |rate| records as f64 * rate.ln());
        }
    }
    missing
}

/// Returns the paths that some record of a batch has a value at.
fn present(schema: &SourceSchema, decoded: &Decoded) -> BTreeSet<String> {
    let mut present = BTreeSet::new();
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
    present.into_iter().map(ToString::to_string).collect()
}

/// Returns the share of missing values in the sample, with half a row of either kind added
/// (Jeffreys' prior): never 0.
fn missing_rate(reference: &FeatureReference) -> f64 {
    let (null, rows) = match reference {
        FeatureReference::Numeric(it) => (it.counts.null, it.counts.rows()),
        FeatureReference::Categorical(it) => (it.counts.null, it.counts.rows()),
    };
    (null as f64 + 0.5) / (rows as f64 + 1.0)
}

#[cfg(test)]
mod tests;
