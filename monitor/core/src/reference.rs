//! The reference of one model version, laid out like the model's columns.
//!
//! Before: [`crate::profile`] reads the file. After: [`crate::shard`] counts against it,
//! [`crate::evaluate`] compares with it. A model version's profile never changes: a new reference
//! is a new version.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::{ModelId, SegmentId, Timestamp};
use driftd_detectors::FeatureReference;
use driftd_ingest::FeatureKind;

use crate::config::{FeatureConfig, ModelConfig};
use crate::profile::Profile;

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
        let is_watched = |segment: &SegmentId| config.segment_ids().any(|it| it == *segment);
        let segments = segments
            .into_iter()
            .filter(|(segment, _)| is_watched(segment))
            .map(|(segment, sample)| Ok((segment, pick(id, config, sample.features)?)))
            .collect::<Result<_, _>>()?;
        Ok(Self { digest, rows, created, features, segments })
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
