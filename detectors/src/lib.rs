//! Drift statistics: frozen references, mergeable counts, detectors and decisions.

mod column;
mod correction;
mod counts;
mod decision;
mod detector;
mod grid;
mod levels;
mod reference;
mod special;

pub use column::{CategoricalColumn, NumericColumn, NumericValues, Validity};
pub use counts::{
    CategoricalCounts, FeatureCounts, MergeError, NumericCounts, UNSEEN_LEVEL_BYTES_MAX,
    UNSEEN_LEVELS_MAX,
};
pub use decision::{
    DETECTION_POWER, DecisionPolicy, FeatureInput, FeaturePolicy, FeatureVerdict, State, decide,
};
pub use detector::{DetectorKind, DetectorResult, UnknownDetector};
pub use grid::{BINS_MAX, Grid, GridError, Precision};
pub use levels::{LEVELS_MAX, Levels, LevelsError};
pub use reference::{CategoricalReference, FeatureReference, NumericReference};
