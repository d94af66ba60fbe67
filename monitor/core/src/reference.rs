//! The reference of one model version, laid out like the model's columns.
//!
//! Before: [`crate::profile`] reads the file. After: [`crate::shard`] counts against it,
//! [`crate::evaluate`] compares with it. A model version's profile never changes: a new reference
//! is a new version.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::{ModelId, SegmentId, Timestamp};
use driftd_detectors::FeatureReference;
use driftd_ingest::FeatureKind;

use crate::config::{FeatureConfig, ModelConfig, OTHER_SEGMENT, SegmentValues};
use crate::profile::{Profile, SegmentSample};

/// One reference a watched column, in the order of [`ModelConfig::features`].
#[derive(Debug)]
pub struct ModelReference {
    /// Checksum of the profile.
    pub digest: Arc<str>,
    /// Rows of the reference sample.
    pub rows: u64,
    /// When the profile was built.
    pub created: Timestamp,
    /// The columns of the whole sample. Windows of every segment are counted in their cells.
    pub features: Vec<FeatureReference>,
    segments: BTreeMap<SegmentId, Vec<FeatureReference>>,
    /// By segmentation, the most frequent values first.
    top: BTreeMap<Arc<str>, Vec<Arc<str>>>,
}

/// A profile that does not fit the configured model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// A watched column is not in the profile.
    #[error(
        "the profile has no feature `{feature}`, which model `{model}` watches: rebuild it from data with that \
         column, or stop watching it"
    )]
    MissingFeature {
        /// The model.
        model: String,
        /// The feature.
        feature: Arc<str>,
    },
    /// A column is numeric on one side and categorical on the other.
    #[error(
        "feature `{feature}` of model `{model}` is configured as {configured} but the profile holds it as \
         {stored}: make the two agree"
    )]
    KindMismatch {
        /// The model.
        model: String,
        /// The feature.
        feature: Arc<str>,
        /// Kind in the configuration.
        configured: &'static str,
        /// Kind in the profile.
        stored: &'static str,
    },
}

impl ModelReference {
    /// Picks the columns and segments that `config` watches out of `profile`.
    pub fn try_new(
        id: &ModelId,
        config: &ModelConfig,
        profile: Profile,
    ) -> Result<Self, ReferenceError> {
        let Profile { digest, created, rows, features, segments, .. } = profile;
        let features = pick(id, config, features)?;
        let mut top = BTreeMap::new();
        for segmentation in &config.segments {
            if let SegmentValues::Top(most) = segmentation.values {
                let values = most_frequent(&segmentation.name, most, &segments);
                top.insert(Arc::clone(&segmentation.name), values);
            }
        }
        let segments = segments
            .into_iter()
            .filter(|(segment, sample)| is_watched(config, &top, segment, sample.top))
            .map(|(segment, sample)| Ok((segment, pick(id, config, sample.features)?)))
            .collect::<Result<_, _>>()?;
        Ok(Self { digest, rows, created, features, segments, top })
    }

    /// Returns the memory that it takes. What segments share with the whole sample is counted once.
    pub fn bytes(&self) -> u64 {
        let cells = self.features.iter().map(FeatureReference::cells_bytes).sum::<usize>();
        let segments = self.segments.values().flatten();
        let counts = self.features.iter().chain(segments).map(FeatureReference::counts_bytes);
        (cells + counts.sum::<usize>()) as u64
    }

    /// Returns the values of a segmentation by `top` that have segments of their own, the most
    /// frequent first. None when the profile was built without it, or by a larger `top`.
    pub fn top_values(&self, segmentation: &str) -> &[Arc<str>] {
        self.top.get(segmentation).map_or(&[], Vec::as_slice)
    }

    /// Returns what windows of `segment` are compared with. `None` when the profile has no counts
    /// of it: what is usual in all traffic says nothing about a part of it.
    pub fn of(&self, segment: &SegmentId) -> Option<&[FeatureReference]> {
        if *segment == SegmentId::all() {
            return Some(&self.features);
        }
        self.segments.get(segment).map(Vec::as_slice)
    }
}

/// Returns the values that the profile has segments of, at most `most`.
fn most_frequent(
    name: &str,
    most: usize,
    segments: &BTreeMap<SegmentId, SegmentSample>,
) -> Vec<Arc<str>> {
    let ranked = segments.iter().filter_map(|(id, sample)| {
        let (own, value) = id.parts()?;
        let is_one = own == name && is_within(sample.top, most) && value != OTHER_SEGMENT;
        is_one.then_some((Reverse(sample.rows), value))
    });
    let mut ranked: Vec<_> = ranked.collect();
    ranked.sort_unstable();
    ranked.into_iter().take(most).map(|(_, value)| value.into()).collect()
}

/// Whether a sample that was split by `top` was split into no more than `most` values. A smaller
/// number leaves more in the segment of all other values, in the sample as in the records.
fn is_within(top: Option<u32>, most: usize) -> bool {
    top.is_some_and(|top| usize::try_from(top).is_ok_and(|top| top <= most))
}

/// Whether records are counted in a segment of the profile. One of a sample that was split
/// otherwise is not that of the records, also when it has the same name.
fn is_watched(
    config: &ModelConfig,
    top: &BTreeMap<Arc<str>, Vec<Arc<str>>>,
    segment: &SegmentId,
    sample_top: Option<u32>,
) -> bool {
    let Some((name, value)) = segment.parts() else { return false };
    let Some(segmentation) = config.segments.iter().find(|it| *it.name == *name) else {
        return false;
    };
    match segmentation.values {
        SegmentValues::Listed(_) => sample_top.is_none() && config.may_have(segment),
        SegmentValues::Top(most) => {
            let is_named = top.get(name).is_some_and(|it| it.iter().any(|it| **it == *value));
            is_within(sample_top, most) && (is_named || value == OTHER_SEGMENT)
        }
    }
}

fn pick(
    id: &ModelId,
    config: &ModelConfig,
    mut features: BTreeMap<String, FeatureReference>,
) -> Result<Vec<FeatureReference>, ReferenceError> {
    let pick = |feature: &FeatureConfig| {
        let reference =
            features.remove(&*feature.name).ok_or_else(|| ReferenceError::MissingFeature {
                model: id.to_string(),
                feature: Arc::clone(&feature.name),
            })?;
        let (configured, stored) = (family(feature.kind), family_of(&reference));
        if configured == stored {
            Ok(reference)
        } else {
            Err(ReferenceError::KindMismatch {
                model: id.to_string(),
                feature: Arc::clone(&feature.name),
                configured,
                stored,
            })
        }
    };
    config.features.iter().map(pick).collect()
}

fn family(kind: FeatureKind) -> &'static str {
    match kind {
        FeatureKind::Float32 | FeatureKind::Float64 | FeatureKind::Integer => "numeric",
        FeatureKind::Categorical | FeatureKind::Boolean => "categorical",
    }
}

fn family_of(reference: &FeatureReference) -> &'static str {
    match reference {
        FeatureReference::Numeric(_) => "numeric",
        FeatureReference::Categorical(_) => "categorical",
    }
}
