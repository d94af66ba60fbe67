//! Numbers of what a prediction is counted in: its version and segments.
//!
//! Before: [`crate::outcomes`] names them. After: each entry has the number, which takes two bytes
//! where the names take dozens. Numbers are stored, and stay what they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::SegmentId;
use serde::{Deserialize, Serialize};

/// Most cohorts of a model: versions times the segments that occur together.
pub(crate) const COHORTS_MAX: usize = 65_536;

/// A version, and the segments besides all of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Cohort {
    pub(crate) version: Arc<str>,
    pub(crate) segments: Vec<SegmentId>,
}

/// The cohorts of a model, by number.
#[derive(Debug, Default)]
pub(crate) struct Cohorts {
    all: Vec<Arc<Cohort>>,
    numbers: BTreeMap<Arc<Cohort>, u32>,
    /// How many are stored.
    stored: usize,
}

impl Cohorts {
    /// Returns the number of a cohort; nothing where there are too many.
    pub(crate) fn number(&mut self, cohort: &Cohort) -> Option<u32> {
        if let Some(number) = self.numbers.get(cohort) {
            return Some(*number);
        }
        if COHORTS_MAX <= self.all.len() {
            return None;
        }
        let number = u32::try_from(self.all.len()).ok()?;
        let cohort = Arc::new(cohort.clone());
        self.all.push(Arc::clone(&cohort));
        self.numbers.insert(cohort, number);
        Some(number)
    }

    /// Returns the cohort of a number.
    pub(crate) fn get(&self, number: u32) -> Option<&Arc<Cohort>> {
        self.all.get(usize::try_from(number).ok()?)
    }

    /// Returns those that are not stored yet, with their numbers.
    pub(crate) fn take_fresh(&mut self) -> Vec<(u32, Arc<Cohort>)> {
        let fresh = self.all.iter().zip(0_u32..).skip(self.stored);
        let fresh = fresh.map(|(cohort, number)| (number, Arc::clone(cohort))).collect();
        self.stored = self.all.len();
        fresh
    }

    /// Takes a stored one, the next by number: rows are sealed, so that none is missing.
    pub(crate) fn restore(&mut self, cohort: &Cohort) {
        self.number(cohort);
        self.stored = self.all.len();
    }
}
