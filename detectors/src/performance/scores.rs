//! The frozen cells of a score between 0 and 1.
//!
//! Before: the scores of a reference. After: [`super::binary`] and [`super::multiclass`], which
//! count outcomes by cell. Owns which edges there are. Never changes after it was built.

use driftd_kernels::EDGES_MAX;

use crate::grid::{GridError, cell_edges, check_ascending};

/// Frozen edges of a score: `k` of them make `2k + 1` cells as in [`crate::Grid`], cell `2i + 1`
/// for scores equal to edge `i` and cell `2i` for those between edges `i − 1` and `i`.
///
/// Scores of one cell at an edge are true ties. Of an open cell it is only known that they lie
/// together, which is where the errors of ranks come from.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreGrid {
    edges: Vec<f64>,
}

impl ScoreGrid {
    /// Builds the grid of a reference from its scores in ascending order: all distinct ones if they
    /// are at most `edges_max` (itself at most [`crate::GRID_EDGES_MAX`]), and else order
    /// statistics at even ranks.
    pub fn from_sorted(sorted: &[f64], edges_max: usize) -> Result<Self, GridError> {
        if sorted.is_empty() {
            return Err(GridError::Empty);
        }
        check_ascending(sorted, |before, score| before <= score)?;
        // Two at least: the ends of the range.
        Self::try_new(cell_edges(sorted, edges_max.clamp(2, EDGES_MAX)))
    }

    /// Takes edges that ascend strictly within 0 to 1.
    pub fn try_new(edges: Vec<f64>) -> Result<Self, GridError> {
        if edges.is_empty() {
            return Err(GridError::Empty);
        }
        if edges.len() > EDGES_MAX {
            return Err(GridError::TooManyEdges { found: edges.len() });
        }
        check_ascending(&edges, |before, edge| before < edge)?;
        match edges.iter().position(|edge| !(0.0..=1.0).contains(edge)) {
            Some(index) => Err(GridError::NotProbability { index, value: edges[index] }),
            None => Ok(Self { edges }),
        }
    }

    /// Returns the edges, ascending.
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// Returns the number of cells.
    pub fn cells(&self) -> usize {
        2 * self.edges.len() + 1
    }

    /// Returns the cell of a score.
    pub fn cell_of(&self, score: f64) -> usize {
        let below = self.edges.partition_point(|&edge| edge < score);
        2 * below + usize::from(self.edges.get(below) == Some(&score))
    }

    /// Returns the score that stands for a cell: its edge, or the middle of an open one.
    pub fn score_of(&self, cell: usize) -> f64 {
        let edge = |place: usize| self.edges.get(place).copied();
        match (cell % 2, cell / 2) {
            (1, place) => edge(place).unwrap_or(1.0),
            (_, place) => {
                let below = place.checked_sub(1).and_then(edge).unwrap_or(0.0);
                0.5 * (below + edge(place).unwrap_or(1.0))
            }
        }
    }
}

/// Returns whether all scores of a cell are equal.
pub(super) fn is_tied(cell: usize) -> bool {
    cell % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_in_the_cell_of_their_edge_or_between() {
        let grid = ScoreGrid::try_new(vec![0.25, 0.5]).unwrap();
        let cells = [0.0, 0.25, 0.3, 0.5, 1.0].map(|score| grid.cell_of(score));
        assert_eq!((cells, grid.cells()), ([0, 1, 2, 3, 4], 5));
        assert_eq!(
            [0, 1, 2, 3, 4].map(|cell| grid.score_of(cell)),
            [0.125, 0.25, 0.375, 0.5, 0.75]
        );
    }

    #[test]
    fn a_grid_has_no_more_edges_than_were_asked_for() {
        let scores: Vec<f64> = (0..5_000).map(|i| f64::from(i) / 5_000.0).collect();
        assert_eq!(ScoreGrid::from_sorted(&scores, 100).unwrap().edges().len(), 100);
        assert_eq!(ScoreGrid::from_sorted(&scores, 9_999).unwrap().edges().len(), EDGES_MAX);
        assert_eq!(ScoreGrid::from_sorted(&scores[..7], 100).unwrap().edges(), &scores[..7]);
    }

    #[test]
    fn edges_that_are_no_probabilities_are_refused_by_place() {
        let refused = |edges: &[f64]| ScoreGrid::try_new(edges.to_vec()).unwrap_err();
        assert_eq!(refused(&[]), GridError::Empty);
        assert_eq!(refused(&[0.5, 1.5]), GridError::NotProbability { index: 1, value: 1.5 });
        assert_eq!(refused(&[0.5, 0.5]), GridError::NotAscending { index: 1, value: 0.5 });
    }
}
