//! Drift and performance statistics: frozen references, mergeable counts, detectors, decisions.
//!
//! Pure: slices of numbers in, verdicts out. No Arrow, no serialisation, no clock, no file.
//!
//! A record's values pass through these files in this order:
//!
//! - `column.rs`: a borrowed view of one column of a batch, as ingest builds it from Arrow.
//! - `counts.rs`: the column is counted into the cells of the feature's reference. Counts are sums
//!   over rows: they merge in any order, and memory does not grow with rows.
//! - `grid.rs`, `levels.rs`, `reference.rs`: what the cells are. Frozen with the reference.
//! - `decision.rs`: a closed window's counts against the references, all features together.
//! - `detector.rs` and the files under it: one detector each, formula and paper included.
//! - `performance.rs` and the files under it: how good a model is, with labels and without.
//! - `correction.rs`, `special.rs`: testing many features at once; tails and quantiles.
//!
//! A feature drifted when its change is *significant*, with the false discovery rate held over the
//! window's features, and *large*, with the lower confidence bound of the effect above the minimum
//! the user set. Too few rows are a state of their own and never "no drift".
//!
//! ```
//! use std::sync::Arc;
//!
//! use driftd_detectors::{
//!     DecisionPolicy, DetectorKind, FeatureCounts, FeatureInput, FeaturePolicy, FeatureReference,
//!     Grid, NumericColumn, NumericCounts, NumericReference, NumericValues, Precision, State,
//!     decide,
//! };
//!
//! let sample: Vec<f64> = (0..5_000).map(|i| f64::from(i) / 5_000.0).collect();
//! let grid = Arc::new(Grid::from_sorted(Precision::F64, &sample, 10)?);
//! let count = |values: &[f64]| {
//!     let mut counts = NumericCounts::empty(&grid);
//!     let values = NumericValues::F64(values);
//!     counts.update(&grid, &NumericColumn { values, validity: None });
//!     counts
//! };
//! let counts = count(&sample);
//! let reference = FeatureReference::Numeric(NumericReference { grid: grid.clone(), counts });
//!
//! // A window of 1,000 rows, moved up by a fifth of the range.
//! let window: Vec<f64> = sample.iter().step_by(5).map(|value| value + 0.2).collect();
//! let counts = FeatureCounts::Numeric(count(&window));
//! let policy = FeaturePolicy {
//!     detector: DetectorKind::Ks,
//!     minimum_effect: 0.1,
//!     missing_rate_effect: 0.1,
//!     unseen_rate_effect: 0.05,
//!     minimum_rows: 500,
//! };
//! let inputs = [FeatureInput { reference: Some(&reference), counts: &counts, policy }];
//! let decision = DecisionPolicy { false_discovery_rate: 0.01, confidence: 0.95 };
//! let verdict = &decide(&inputs, &decision)[0];
//! assert_eq!(verdict.state, State::Drifted);
//! assert_eq!(verdict.deciding, Some(DetectorKind::Ks));
//! # Ok::<(), driftd_detectors::GridError>(())
//! ```

mod cells;
mod column;
mod correction;
mod counts;
mod decision;
mod detector;
mod grid;
mod levels;
pub mod performance;
mod reference;
mod special;

pub use cells::CellCounts;
pub use column::{CategoricalColumn, NumericColumn, NumericValues, Validity};
pub use counts::{
    CategoricalCounts, FeatureCounts, MergeError, NumericCounts, UNSEEN_LEVEL_BYTES_MAX,
    UNSEEN_LEVELS_MAX,
};
pub use decision::{
    DETECTION_POWER, DecisionPolicy, FeatureInput, FeaturePolicy, FeatureVerdict, State, decide,
};
pub use detector::{DetectorKind, DetectorResult, UnknownDetector};
pub use driftd_kernels::{EDGES_MAX as GRID_EDGES_MAX, EdgeTable};
pub use grid::{BINS_MAX, Grid, GridError, Precision};
pub use levels::{LEVELS_MAX, Levels, LevelsError};
pub use reference::{CategoricalReference, FeatureReference, NumericReference};
