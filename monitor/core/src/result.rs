//! What one closed window said: counts, statistics and verdict of every feature.
//!
//! Before: [`crate::evaluate`] makes it. After: [`crate::pipeline`] feeds it to the alert policies
//! and puts it into the [`crate::snapshot::Snapshot`]; the edge writes it as lines.

use std::sync::Arc;

use driftd_catalog::{PartitionId, Timestamp, WindowId};
use driftd_detectors::{FeatureVerdict, Levels, State};

use crate::config::Role;

/// Everything known about one closed window of one segment.
#[derive(Debug)]
pub struct WindowResult {
    /// Which window.
    pub id: WindowId,
    /// Which of its results.
    pub edition: Edition,
    /// Whether it is one of the windows that open episodes and ask for retraining.
    pub decides: bool,
    /// Records in it.
    pub rows: u64,
    /// Whether every source partition had passed its end.
    pub complete: bool,
    /// Partitions it was closed without.
    pub missing: Vec<PartitionId>,
    /// Source offsets `[from, to)` that it includes, by partition.
    pub offsets: Vec<(PartitionId, i64, i64)>,
    /// Wall-clock time of closing.
    pub closed_at: Timestamp,
    /// Digest of the reference profile compared with. Absent when there was none.
    pub reference: Option<Arc<str>>,
    /// One entry a watched column: features, then predictions.
    pub features: Vec<FeatureResult>,
}

/// Which of the results of one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edition {
    /// Whether the window has ended. A provisional result decides nothing.
    pub is_final: bool,
    /// Whether there was a result after its end before. It decides nothing either.
    pub is_revised: bool,
    /// Results of the same window before this one.
    pub revision: u32,
}

impl Edition {
    /// The only result of a window.
    pub const ONLY: Self = Self { is_final: true, is_revised: false, revision: 0 };

    /// Whether it is the one that counts and decides: the first after the end of the window.
    pub const fn is_first_final(self) -> bool {
        self.is_final && !self.is_revised
    }
}

/// One feature or prediction in one window.
#[derive(Debug)]
pub struct FeatureResult {
    /// Name of the feature.
    pub name: Arc<str>,
    /// Input or output of the model.
    pub role: Role,
    /// Statistics, thresholds and state.
    pub verdict: FeatureVerdict,
    /// The coarse picture of both populations. Absent without a reference.
    pub histogram: Option<Histogram>,
}

/// Counts of the reference and the window in the same cells.
#[derive(Debug)]
pub struct Histogram {
    /// What the cells are.
    pub cells: Cells,
    /// Reference counts, one a cell.
    pub reference: Vec<u64>,
    /// Counts of this window, one a cell.
    pub current: Vec<u64>,
    /// Values outside the cells, in the reference.
    pub reference_special: SpecialCounts,
    /// Values outside the cells, in this window.
    pub current_special: SpecialCounts,
}

/// The cells of a [`Histogram`].
#[derive(Clone, Debug)]
pub enum Cells {
    /// Bins between these edges, open at both ends: one cell more than edges, each `(lower,
    /// upper]`.
    Edges(Vec<f64>),
    /// One cell a level.
    Levels(Arc<Levels>),
}

/// Values that are in no cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpecialCounts {
    /// Missing.
    pub null: u64,
    /// Not a number.
    pub nan: u64,
    /// Negative infinity.
    pub neg_inf: u64,
    /// Positive infinity.
    pub pos_inf: u64,
    /// Levels that the reference does not have.
    pub unseen: u64,
    /// Finite, but below the least or above the greatest reference value (also counted in the end
    /// bins).
    pub out_of_range: u64,
}

impl WindowResult {
    /// Returns the state of the whole window: the gravest of its features.
    pub fn state(&self) -> State {
        gravest(self.features.iter().map(|feature| feature.verdict.state))
    }

    /// Returns the features in `state`.
    pub fn in_state(&self, state: State) -> impl Iterator<Item = &FeatureResult> {
        self.features.iter().filter(move |feature| feature.verdict.state == state)
    }
}

/// Returns the state that speaks for a window with features in these states.
pub(crate) fn gravest(states: impl Iterator<Item = State>) -> State {
    states.max_by_key(|state| gravity(*state)).unwrap_or(State::NoReference)
}

/// Order in which one feature's state speaks for the window.
fn gravity(state: State) -> u8 {
    match state {
        State::NoReference => 0,
        State::InsufficientData => 1,
        State::Ok => 2,
        State::Drifted => 3,
        State::BrokenData => 4,
    }
}
