//! Drift statistics: frozen references, mergeable counts, detectors and decisions.

mod column;

pub use column::{CategoricalColumn, NumericColumn, NumericValues, Validity};
