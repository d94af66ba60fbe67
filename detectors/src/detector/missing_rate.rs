//! Missing rate: the share of rows without a usable value, null, NaN or infinite.
//!
//! Before: [`crate::counts`]. After: [`crate::decision`], which calls data broken by it.

use super::two_proportions::{Proportions, Share, compare};
use crate::counts::FeatureCounts;
use crate::reference::FeatureReference;

/// Compares the current missing rate with the reference's.
pub(crate) fn test(
    reference: &FeatureReference,
    current: &FeatureCounts,
    z_confidence: f64,
) -> Proportions {
    let share = |rows: u64, present: u64| Share { hits: rows - present, rows };
    compare(
        share(reference.rows(), reference.present()),
        share(current.rows(), current.present()),
        z_confidence,
    )
}
