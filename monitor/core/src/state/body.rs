//! Written forms of counts and closed windows.
//!
//! The shapes that are written are apart from those that are used: a field that is added there must
//! not change what is read here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use driftd_catalog::{ModelId, PaneId, PartitionId, SegmentId, Timestamp};
use driftd_detectors::{
    CategoricalCounts, CellCounts, FeatureCounts, FeatureReference, NumericCounts,
};
use driftd_ingest::{FieldPath, VersionField};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::config::{Config, OTHER_SEGMENT, SegmentValues, WindowConfig};
use crate::merge::Merged;
use crate::partial::Partial;
use crate::reference::ModelReference;

/// How a model's panes and windows are counted. Counts under another one must not be added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint([u8; 8]);

impl Fingerprint {
    /// Covers what decides into which pane, windows and cell a record goes.
    ///
    /// # Panics
    /// Never: SHA-256 gives 32 bytes.
    pub(super) fn of(config: &Config, model: usize) -> Self {
        let model = &config.models[model];
        let source = &config.sources[model.source];
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        };
        for number in [
            model.pane.length_millis,
            model.pane.offset_millis,
            model.pane.lateness_millis,
            model.pane.revisions_millis,
            source.time.out_of_orderness_millis,
            source.time.future_skew_max_millis,
        ] {
            add(&number.to_string());
        }
        for WindowConfig { name, kind, every_millis, early_millis, history: _ } in &model.windows {
            add(name);
            add(&format!("{kind:?} {every_millis} {early_millis:?}"));
        }
        add(&source.topic);
        add(&source.schema.event_time.to_string());
        add(&format!("{:?}", source.schema.time_format));
        add(&source.schema.model.as_ref().map(ToString::to_string).unwrap_or_default());
        let schema = source.schema.models.iter().find(|it| it.name == model.name);
        if let Some(VersionField::Path(path)) = schema.map(|it| &it.version) {
            add(&path.to_string());
        }
        for field in schema.iter().flat_map(|it| &it.features) {
            add(&field.name);
            add(&field.path.to_string());
            add(&format!("{:?}", field.kind));
        }
        for text in &source.schema.embedded {
            add(&format!("{} {:?}", text.path, text.form));
        }
        let tensors: BTreeSet<&FieldPath> = source.schema.tensors.iter().collect();
        for tensor in tensors {
            add(&format!("{tensor} by its shape"));
        }
        if let Some(message) = source.schema.inference {
            add(&format!("bodies of open inference, else {message:?}"));
        }
        if let Some(columns) = &source.schema.columns {
            add(&columns.to_string());
        }
        if let Some(join) = &source.join {
            add(&join.described());
        }
        for field in schema.iter().flat_map(|it| &it.segments) {
            add(&field.path.to_string());
        }
        for segment in &model.segments {
            add(&segment.name);
            match &segment.values {
                SegmentValues::Listed(values) => values.iter().for_each(|value| add(value)),
                // No listed value is called so. Which values they are, the reference says.
                SegmentValues::Top(top) => {
                    add(OTHER_SEGMENT);
                    add(&top.to_string());
                }
            }
        }
        let hash = hash.finalize();
        Self(*hash.first_chunk().expect("SHA-256 gives 32 bytes"))
    }
}

impl Fingerprint {
    /// Covers a text.
    ///
    /// # Panics
    /// Never: SHA-256 gives 32 bytes.
    pub(super) fn of_text(text: &str) -> Self {
        let hash = Sha256::digest(text);
        Self(*hash.first_chunk().expect("SHA-256 gives 32 bytes"))
    }
}

/// Counts of one feature.
#[derive(Debug, Serialize, Deserialize)]
enum CountsBody {
    Numeric { cells: CellsBody, null: u64, nan: u64, neg_inf: u64, pos_inf: u64 },
    Categorical { levels: Vec<u64>, null: u64, unseen: u64, unseen_levels: Vec<(Box<str>, u64)> },
}

impl CountsBody {
    fn of(counts: &FeatureCounts) -> Self {
        match counts {
            FeatureCounts::Numeric(counts) => Self::Numeric {
                cells: CellsBody(counts.cells.clone()),
                null: counts.null,
                nan: counts.nan,
                neg_inf: counts.neg_inf,
                pos_inf: counts.pos_inf,
            },
            FeatureCounts::Categorical(counts) => Self::Categorical {
                levels: counts.levels.clone(),
                null: counts.null,
                unseen: counts.unseen,
                unseen_levels: counts
                    .unseen_levels
                    .iter()
                    .map(|(level, rows)| (level.clone(), *rows))
                    .collect(),
            },
        }
    }

    /// Returns the counts; `None` when they do not fit the reference's cells.
    fn into_counts(self, reference: &FeatureReference) -> Option<FeatureCounts> {
        match (self, reference) {
            (
                Self::Numeric { cells, null, nan, neg_inf, pos_inf },
                FeatureReference::Numeric(reference),
            ) => (cells.0.len() == reference.grid.cells()).then_some(FeatureCounts::Numeric(
                NumericCounts { cells: cells.0, null, nan, neg_inf, pos_inf },
            )),
            (
                Self::Categorical { levels, null, unseen, unseen_levels },
                FeatureReference::Categorical(reference),
            ) => (levels.len() == reference.levels.names().len()).then_some(
                FeatureCounts::Categorical(CategoricalCounts {
                    levels,
                    null,
                    unseen,
                    unseen_levels: unseen_levels.into_iter().collect(),
                }),
            ),
            (Self::Numeric { .. }, FeatureReference::Categorical(_))
            | (Self::Categorical { .. }, FeatureReference::Numeric(_)) => None,
        }
    }
}

/// Counts by cell, written as a list of numbers.
#[derive(Debug)]
struct CellsBody(CellCounts);

impl Serialize for CellsBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for count in self.0.iter() {
            list.serialize_element(&count)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for CellsBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u64>::deserialize(deserializer).map(|counts| Self(counts.into()))
    }
}

/// Counts against a reference: of a pane in one partition, of several panes, or of a window.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WindowBody {
    pub(super) fingerprint: Fingerprint,
    /// `[from, to)` by partition.
    offsets: Vec<(PartitionId, i64, i64)>,
    pub(super) event_time_max: i64,
    rows: u64,
    /// Digest of the profile counted against.
    reference: Option<Arc<str>>,
    features: Vec<CountsBody>,
}

/// A profile that is there no more, or is another one.
struct Gone;

/// Looks up the profile of a model version, by index into [`Config::models`].
pub type Find<'a> = &'a dyn Fn(usize, &ModelId) -> Option<Arc<ModelReference>>;

/// Profiles remembered; one that is needed again is looked up again.
const REFERENCES_MAX: usize = 1_024;

/// Where the profiles of model versions are had from.
pub(super) struct References<'a> {
    find: Find<'a>,
    known: BTreeMap<ModelId, Arc<ModelReference>>,
}

impl<'a> References<'a> {
    pub(super) fn new(find: Find<'a>) -> Self {
        Self { find, known: BTreeMap::new() }
    }

    /// Returns the profile with this digest, if counts have one at all.
    fn with_digest(
        &mut self,
        model: usize,
        id: &ModelId,
        digest: Option<&str>,
    ) -> Result<Option<Arc<ModelReference>>, Gone> {
        let Some(digest) = digest else { return Ok(None) };
        let found = self.of(model, id).filter(|reference| &*reference.digest == digest);
        found.map(Some).ok_or(Gone)
    }

    /// Returns the profile of a model version. One that is not there may come later.
    pub(super) fn of(&mut self, model: usize, id: &ModelId) -> Option<Arc<ModelReference>> {
        if let Some(known) = self.known.get(id) {
            return Some(Arc::clone(known));
        }
        let found = (self.find)(model, id)?;
        while REFERENCES_MAX <= self.known.len() {
            self.known.pop_first();
        }
        self.known.insert(id.clone(), Arc::clone(&found));
        Some(found)
    }
}

impl WindowBody {
    /// Returns how far a partition's counts looked.
    pub(super) fn to_offset(&self) -> Option<i64> {
        self.offsets.first().map(|(_, _, to_offset)| *to_offset)
    }

    /// Returns the partitions that the counts come from.
    pub(super) fn partitions(&self) -> Vec<PartitionId> {
        self.offsets.iter().map(|(partition, ..)| partition.clone()).collect()
    }

    pub(super) fn of_partial(fingerprint: Fingerprint, partial: &Partial) -> Self {
        Self {
            fingerprint,
            offsets: vec![(partial.partition.clone(), partial.from_offset, partial.to_offset)],
            event_time_max: partial.event_time_max.as_millis(),
            rows: partial.rows,
            reference: partial.reference.as_ref().map(|it| Arc::clone(&it.digest)),
            features: partial.features.iter().map(CountsBody::of).collect(),
        }
    }

    pub(super) fn of_merged<I>(fingerprint: Fingerprint, merged: &Merged<I>) -> Self {
        Self {
            fingerprint,
            offsets: merged.offsets.clone(),
            event_time_max: merged.event_time_max.as_millis(),
            rows: merged.rows,
            reference: merged.reference.as_ref().map(|it| Arc::clone(&it.digest)),
            features: merged.features.iter().map(CountsBody::of).collect(),
        }
    }

    /// Returns the counts; `None` when their reference is there no more or has changed.
    pub(super) fn into_merged<I>(
        self,
        id: I,
        (model, version): (usize, &ModelId),
        references: &mut References<'_>,
    ) -> Option<Merged<I>> {
        let reference = references.with_digest(model, version, self.reference.as_deref()).ok()?;
        let features = match &reference {
            Some(reference) if reference.features.len() == self.features.len() => {
                let pairs = self.features.into_iter().zip(&reference.features);
                pairs.map(|(body, reference)| body.into_counts(reference)).collect::<Option<_>>()?
            }
            None if self.features.is_empty() => Vec::new(),
            Some(_) | None => return None,
        };
        Some(Merged {
            id,
            model,
            rows: self.rows,
            event_time_max: Timestamp::from_millis(self.event_time_max),
            offsets: self.offsets,
            reference,
            features,
        })
    }

    /// Returns the counts of one partition; `None` as for [`WindowBody::into_merged`].
    pub(super) fn into_partial(
        self,
        pane: &PaneId,
        model: usize,
        references: &mut References<'_>,
    ) -> Option<Partial> {
        let Merged { id, rows, event_time_max, mut offsets, reference, features, .. } =
            self.into_merged(pane.clone(), (model, &pane.model), references)?;
        let (partition, from_offset, to_offset) = offsets.pop()?;
        Some(Partial {
            pane: id,
            model,
            partition,
            from_offset,
            to_offset,
            event_time_max,
            rows,
            reference,
            features,
        })
    }
}

/// How far a partition was read.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PartitionBody {
    pub(super) next_offset: i64,
    pub(super) event_time_max: Option<i64>,
    /// How the models of its source were counted.
    pub(super) counted: Vec<Counted>,
    /// Of the windows that were open there.
    pub(super) manifest: Manifest,
}

/// Which rows of a kind a partition had, such as windows and how far each had looked: a store that
/// lost one of them does not pass for whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest([u8; 8]);

impl Manifest {
    /// # Panics
    /// Never: SHA-256 gives 32 bytes, and what is listed has a written form.
    pub(super) fn of(listed: &impl Serialize) -> Self {
        let listed = postcard::to_stdvec(listed).expect("lists are made of text and numbers");
        let hash = Sha256::digest(listed);
        Self(*hash.first_chunk().expect("SHA-256 gives 32 bytes"))
    }
}

/// How far a partition had come when it last told a lane.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PassedBody {
    pub(super) next_offset: i64,
    pub(super) watermark: Option<Timestamp>,
    pub(super) newest: Option<Timestamp>,
    pub(super) idle: bool,
    /// How its reader counted the lane's models.
    pub(super) counted: Vec<Counted>,
}

/// Name of a model, and how it is counted.
pub(crate) type Counted = (Arc<str>, Fingerprint);

/// A closed window.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ResultBody {
    pub(super) window: WindowBody,
    pub(super) missing: Vec<PartitionId>,
    pub(super) closed_at: Timestamp,
    pub(super) is_revised: bool,
    pub(super) revision: u32,
}

/// Closed panes that windows still need.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SliceBody {
    pub(super) window: WindowBody,
    pub(super) missing: Vec<PartitionId>,
    /// End of the newest pane.
    pub(super) end: Timestamp,
    /// How far the windows were each time when they were revised.
    pub(super) revised: Vec<Timestamp>,
}

/// What is shown of a model version beside its history.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ModelBody {
    pub(crate) id: ModelId,
    pub(crate) event_time_max: Option<Timestamp>,
    pub(crate) activated: Option<Timestamp>,
    pub(crate) segments: Vec<SegmentBody>,
}

/// The same of one of its segments, in windows of one kind.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SegmentBody {
    /// Name of the windows.
    pub(crate) window: Arc<str>,
    pub(crate) segment: SegmentId,
    /// Name of the state, and the start of the window in which it began.
    pub(crate) state: Option<(Box<str>, Timestamp)>,
    pub(crate) ever_drifted: Vec<Arc<str>>,
}

/// Sums over everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TotalsBody {
    pub(super) windows_closed: u64,
    pub(super) retrain_published: u64,
    pub(super) jobs_succeeded: u64,
    pub(super) jobs_failed: u64,
    pub(super) digest: u128,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::load;

    fn fingerprint(tensors: &Value) -> Fingerprint {
        let config = json!({
            "name": "job",
            "sources": [{
                "topic": "logs",
                "start": "earliest",
                "event_time": {"path": "at"},
                "tensors": tensors,
            }],
            "models": [{
                "name": "m",
                "source": "logs",
                "version": "1",
                "references": "m.json",
                "window": {"length": "1h"},
                "features": [
                    {"name": "x", "path": "a.data[][0]", "type": "float64"},
                    {"name": "y", "path": "b.data[][0]", "type": "float64"},
                ],
            }],
        });
        Fingerprint::of(&load(&config.to_string(), &|_| None).unwrap(), 0)
    }

    #[test]
    fn what_lists_are_tensors_is_a_part_of_how_a_model_is_counted() {
        let of = |tensors: Value| fingerprint(&tensors);
        assert_eq!(of(json!(["a.data", "b.data"])), of(json!(["b.data", "a.data"])));
        assert_ne!(of(json!(["a.data"])), of(json!(["b.data"])));
        assert_ne!(of(json!(["a.data"])), of(json!(["a.data", "b.data"])));
        assert_ne!(of(json!(["a.data"])), of(json!([])));
        // As of processes that knew of none, whose windows go on. Where more belongs to all models,
        // this changes with it.
        assert_eq!(of(json!([])), Fingerprint([119, 5, 143, 118, 206, 152, 55, 172]));
    }
}
