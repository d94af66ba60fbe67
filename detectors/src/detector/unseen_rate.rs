//! Unseen rate: the share of present rows whose level the reference does not name.
//!
//! Before: [`crate::counts`]. After: [`crate::decision`]. A reference whose levels are rare, or
//! more than it may keep, has an unseen rate of its own. So the rates are compared, rather than the
//! current one judged.

use super::two_proportions::{Proportions, Share, compare};
use crate::counts::CategoricalCounts;

/// Compares the current unseen rate with the reference's.
pub(crate) fn test(
    reference: &CategoricalCounts,
    current: &CategoricalCounts,
    z_confidence: f64,
) -> Proportions {
    compare(share(reference), share(current), z_confidence)
}

fn share(counts: &CategoricalCounts) -> Share {
    Share { hits: counts.unseen, rows: counts.present() }
}
