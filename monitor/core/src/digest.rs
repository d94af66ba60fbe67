//! A digest of closed windows that does not depend on the order in which they closed.
//!
//! Two runs over the same log agree on it however their partitions, batches and threads were cut.
//! It covers what a window counted and concluded, not where the records lay (offsets) or when it
//! closed.
//!
//! Each window is hashed with SHA-256; the hashes are added modulo 2^128, which makes the sum a
//! hash of the multiset (Clarke et al. 2003, "Incremental multiset hash functions",
//! `MSet-Add-Hash`).

use std::fmt;

use driftd_catalog::WindowId;
use driftd_detectors::FeatureCounts;
use sha2::{Digest as _, Sha256};

use crate::labels::{PartPerformance, PerformanceResult};
use crate::result::WindowResult;

/// Sum of the hashes of all windows closed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// Adds one closed window and the counts it was decided from.
    pub fn add(&mut self, result: &WindowResult, counts: &[FeatureCounts]) {
        let mut hash = Sha256::new();
        let WindowId { span, model, segment, name } = &result.id;
        hash.update(format!("{model} {segment} {span}").as_bytes());
        if !result.decides {
            // A model with one kind of windows has the same digest whatever their name.
            hash.update(name.as_bytes());
        }
        hash.update(result.rows.to_le_bytes());
        hash.update([u8::from(result.reference.is_some())]);
        for counts in counts {
            add_counts(&mut hash, counts);
        }
        for feature in &result.features {
            hash.update(feature.name.as_bytes());
            hash.update(feature.verdict.state.as_str().as_bytes());
            for detector in &feature.verdict.results {
                hash.update(detector.detector.as_str().as_bytes());
                hash.update(detector.statistic.to_bits().to_le_bytes());
            }
        }
        self.0 = self.0.wrapping_add(finish(hash));
    }

    /// Adds a window whose labels are all there.
    pub(crate) fn add_performance(&mut self, model: &str, result: &PerformanceResult) {
        for part in &result.parts {
            let mut hash = Sha256::new();
            let PartPerformance { version, segment, .. } = &**part;
            hash.update(format!("performance {model} {version} {segment} {}", result.span));
            for count in [part.predictions, part.labelled, part.uncountable] {
                hash.update(count.to_le_bytes());
            }
            for metric in &part.metrics {
                hash.update(metric.name.as_bytes());
                hash.update(metric.value.to_bits().to_le_bytes());
            }
            self.0 = self.0.wrapping_add(finish(hash));
        }
    }
}

/// # Panics
/// Never: SHA-256 gives 32 bytes.
fn finish(hash: Sha256) -> u128 {
    let hash = hash.finalize();
    let (head, _) = hash.split_first_chunk::<16>().expect("SHA-256 gives 32 bytes");
    u128::from_le_bytes(*head)
}

fn add_counts(hash: &mut Sha256, counts: &FeatureCounts) {
    match counts {
        FeatureCounts::Numeric(numeric) => {
            for count in numeric.cells.iter() {
                hash.update(count.to_le_bytes());
            }
            for count in [numeric.null, numeric.nan, numeric.neg_inf, numeric.pos_inf] {
                hash.update(count.to_le_bytes());
            }
        }
        FeatureCounts::Categorical(categorical) => {
            for count in &categorical.levels {
                hash.update(count.to_le_bytes());
            }
            hash.update(categorical.null.to_le_bytes());
            hash.update(categorical.unseen.to_le_bytes());
        }
    }
}

impl Digest {
    /// Returns the digest of the windows of both: the order does not matter.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    pub(crate) fn sum(self) -> u128 {
        self.0
    }
}

impl From<u128> for Digest {
    fn from(sum: u128) -> Self {
        Self(sum)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
