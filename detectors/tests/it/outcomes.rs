//! Predictions with their labels, counted as a stream's would be.

use driftd_detectors::performance::{BinaryCounts, BinaryOutcome, ScoreGrid};

/// Most edges of a grid.
pub(crate) const EDGES_MAX: usize = 1_024;

/// Builds the grid of these scores.
pub(crate) fn score_grid(scores: impl Iterator<Item = f64>, edges_max: usize) -> ScoreGrid {
    let mut sorted: Vec<f64> = scores.collect();
    sorted.sort_by(f64::total_cmp);
    ScoreGrid::from_sorted(&sorted, edges_max).unwrap()
}

/// Makes outcomes of scores and labels.
pub(crate) fn outcomes(rows: &[(f64, bool)], threshold: f64) -> Vec<BinaryOutcome> {
    let outcome = |&(score, label): &(f64, bool)| BinaryOutcome {
        score: Some(score),
        predicted: threshold <= score,
        label,
    };
    rows.iter().map(outcome).collect()
}

/// Counts outcomes.
pub(crate) fn count(grid: &ScoreGrid, outcomes: &[BinaryOutcome]) -> BinaryCounts {
    let mut counts = BinaryCounts::empty(grid);
    for outcome in outcomes {
        counts.add(grid, outcome).unwrap();
    }
    counts
}
