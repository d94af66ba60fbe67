//! The frozen edges that a numeric feature is counted against, and the coarse bins made of them.
//!
//! Before: a reference sample. After: [`crate::counts`], which counts columns into the grid's
//! cells. Owns which edges a reference gets. Never changes after it was built.

use std::sync::OnceLock;

use driftd_kernels::{EDGES_MAX, EdgeTable};
use thiserror::Error;

use crate::cells::CellCounts;

/// Most coarse bins of a grid. More would leave too few values in each for the tests to be trusted.
pub const BINS_MAX: usize = 100;

/// The width in which a feature's values arrive, and so in which they are compared with the edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Single precision; every edge is an `f32`.
    F32,
    /// Double precision.
    F64,
}

/// Why a grid cannot be built.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum GridError {
    /// No value or edge was given.
    #[error("a grid needs at least one finite reference value; the reference has none")]
    Empty,
    /// More edges than the kernels take.
    #[error("{found} edges, but a grid holds at most {EDGES_MAX}")]
    TooManyEdges {
        /// How many were given.
        found: usize,
    },
    /// The number of bins is out of range.
    #[error("{found} bins, but a grid has 2 to {BINS_MAX}")]
    BinCount {
        /// How many were asked for.
        found: usize,
    },
    /// An edge or a reference value is NaN or infinite.
    #[error("value {value} at index {index} is not finite")]
    NotFinite {
        /// Where, counted from 0.
        index: usize,
        /// The value.
        value: f64,
    },
    /// Edges do not ascend strictly, or reference values are not sorted.
    #[error("value {value} at index {index} is not above the one before it")]
    NotAscending {
        /// Where, counted from 0.
        index: usize,
        /// The value.
        value: f64,
    },
    /// An edge of a single-precision grid is not a single-precision number.
    #[error("edge {value} is not a single-precision number, but the feature's values are")]
    NotSinglePrecision {
        /// The edge.
        value: f64,
    },
    /// An edge of a score is outside 0 to 1.
    #[error("score {value} at index {index} is not between 0 and 1: scores are probabilities")]
    NotProbability {
        /// Where, counted from 0.
        index: usize,
        /// The edge.
        value: f64,
    },
    /// A bin edge is not one of the edges, so its bin could not be summed from cells.
    #[error("bin edge {value} is not one of the grid's edges")]
    UnknownBinEdge {
        /// The bin edge.
        value: f64,
    },
}

/// Frozen edges of a numeric feature and its coarse bins.
///
/// `k` edges cut the line into `2k + 1` cells: cell `2i` holds the values strictly between edge
/// `i − 1` and edge `i`, cell `2i + 1` those equal to edge `i`. Values that repeat in the reference
/// therefore have a cell of their own, and statistics over them stay exact.
#[derive(Debug)]
pub struct Grid {
    precision: Precision,
    /// Empty in double precision: there they stand in the table, and twice would be much of what a
    /// reference takes.
    edges: Vec<f64>,
    bin_edges: Vec<f64>,
    /// For each bin the cell after its last one.
    bin_ends: Vec<usize>,
    /// The edges in single precision, where the feature is.
    narrow: Option<EdgeTable<f32>>,
    /// The edges in double precision. Built at once for a double-precision feature; for a
    /// single-precision one only when a column arrives in double precision after all.
    wide: OnceLock<EdgeTable<f64>>,
}

impl Grid {
    /// Builds the grid from its edges; `bin_edges` are those among them that bound the coarse bins.
    pub fn try_new(
        precision: Precision,
        edges: Vec<f64>,
        bin_edges: Vec<f64>,
    ) -> Result<Self, GridError> {
        if edges.is_empty() {
            return Err(GridError::Empty);
        }
        if edges.len() > EDGES_MAX {
            return Err(GridError::TooManyEdges { found: edges.len() });
        }
        let bins = bin_edges.len() + 1;
        if !(2..=BINS_MAX).contains(&bins) {
            return Err(GridError::BinCount { found: bins });
        }
        check_ascending(&edges, |before, value| before < value)?;
        check_ascending(&bin_edges, |before, value| before < value)?;
        let bin_ends = bin_ends(&edges, &bin_edges)?;
        let mut grid =
            Self { precision, edges, bin_edges, bin_ends, narrow: None, wide: OnceLock::new() };
        match precision {
            Precision::F32 => grid.narrow = Some(narrow_table(&grid.edges)?),
            Precision::F64 => {
                grid.wide_table();
                grid.edges = Vec::new();
            }
        }
        Ok(grid)
    }

    /// Builds the grid of a reference from its finite values in ascending order.
    ///
    /// Edges are all distinct values if they fit beside the bin edges, and else evenly spaced order
    /// statistics from the least to the greatest, so that an open cell holds less than `1/(k − 1) +
    /// 1/n` of the `n` values, `k` = [`EDGES_MAX`] − bin edges. Bin edges are the `1/bins`
    /// quantiles of Hyndman & Fan 1996, type 7 (the default of R and `numpy`), equal ones merged.
    /// In single precision a bin edge is rounded down, which moves no single-precision value to
    /// another bin.
    pub fn from_sorted(
        precision: Precision,
        sorted: &[f64],
        bins: usize,
    ) -> Result<Self, GridError> {
        if sorted.is_empty() {
            return Err(GridError::Empty);
        }
        if !(2..=BINS_MAX).contains(&bins) {
            return Err(GridError::BinCount { found: bins });
        }
        check_ascending(sorted, |before, value| before <= value)?;
        let mut bin_edges: Vec<f64> = (1..bins)
            .map(|i| quantile(sorted, i as f64 / bins as f64))
            .map(|edge| match precision {
                Precision::F32 => f64::from(round_down(edge)),
                Precision::F64 => edge,
            })
            .map(without_sign_of_zero)
            .collect();
        bin_edges.dedup();
        let mut edges = cell_edges(sorted, EDGES_MAX - bin_edges.len());
        edges.extend(&bin_edges);
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        Self::try_new(precision, edges, bin_edges)
    }

    /// Returns the bytes that it takes.
    pub fn bytes(&self) -> usize {
        let lists = size_of_val(&*self.edges)
            + size_of_val(&*self.bin_edges)
            + size_of_val(&*self.bin_ends);
        let narrow = self.narrow.as_ref().map_or(0, EdgeTable::bytes);
        let wide = self.wide.get().map_or(0, EdgeTable::bytes);
        size_of::<Self>() + lists + narrow + wide
    }

    /// Returns the width in which values are compared with the edges.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Returns all edges, ascending.
    pub fn edges(&self) -> &[f64] {
        match (self.precision, self.wide.get()) {
            (Precision::F64, Some(table)) => table.edges(),
            (Precision::F64, None) | (Precision::F32, _) => &self.edges,
        }
    }

    /// Returns the edges between the coarse bins, ascending.
    pub fn bin_edges(&self) -> &[f64] {
        &self.bin_edges
    }

    /// Returns the number of cells.
    pub fn cells(&self) -> usize {
        2 * self.edges().len() + 1
    }

    /// Returns the number of coarse bins; the outer ones have an open end.
    pub fn bins(&self) -> usize {
        self.bin_ends.len()
    }

    /// Returns the cell of a finite value.
    pub(crate) fn cell_of(&self, value: f64) -> usize {
        let edges = self.edges();
        let below = edges.partition_point(|&edge| edge < value);
        2 * below + usize::from(edges.get(below) == Some(&value))
    }

    /// Sums cells into the coarse bins `(lower, upper]`.
    ///
    /// # Panics
    /// When `cells` is not one count a cell of this grid.
    pub fn bin_counts(&self, cells: &CellCounts) -> Vec<u64> {
        assert_eq!(cells.len(), self.cells(), "one count a cell");
        let (mut counts, mut start) = (cells.iter(), 0);
        let bins = self.bin_ends.iter().map(|&end| {
            let width = end - std::mem::replace(&mut start, end);
            counts.by_ref().take(width).fold(0, u64::saturating_add)
        });
        bins.collect()
    }

    /// Returns the edges as the kernels want them in single precision, if the feature is.
    pub(crate) fn narrow_table(&self) -> Option<&EdgeTable<f32>> {
        self.narrow.as_ref()
    }

    /// Returns the edges as the kernels want them in double precision.
    pub(crate) fn wide_table(&self) -> &EdgeTable<f64> {
        self.wide.get_or_init(|| {
            EdgeTable::try_new(&self.edges).expect("the edges ascend, are finite and few")
        })
    }
}

impl PartialEq for Grid {
    fn eq(&self, other: &Self) -> bool {
        self.precision == other.precision
            && self.edges() == other.edges()
            && self.bin_edges == other.bin_edges
    }
}

pub(crate) fn check_ascending(
    values: &[f64],
    ascends: impl Fn(f64, f64) -> bool,
) -> Result<(), GridError> {
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(GridError::NotFinite { index, value: values[index] });
    }
    match values.windows(2).position(|pair| !ascends(pair[0], pair[1])) {
        Some(before) => {
            Err(GridError::NotAscending { index: before + 1, value: values[before + 1] })
        }
        None => Ok(()),
    }
}

/// Returns for each bin the cell after its last one: bins end with the cell *equal to* their edge.
fn bin_ends(edges: &[f64], bin_edges: &[f64]) -> Result<Vec<usize>, GridError> {
    let mut ends = Vec::with_capacity(bin_edges.len() + 1);
    for &value in bin_edges {
        let at = edges.partition_point(|&edge| edge < value);
        if edges.get(at) != Some(&value) {
            return Err(GridError::UnknownBinEdge { value });
        }
        ends.push(2 * at + 2);
    }
    ends.push(2 * edges.len() + 1);
    Ok(ends)
}

fn narrow_table(edges: &[f64]) -> Result<EdgeTable<f32>, GridError> {
    let mut narrow = Vec::with_capacity(edges.len());
    for &value in edges {
        let edge = round_down(value);
        if f64::from(edge) != value {
            return Err(GridError::NotSinglePrecision { value });
        }
        narrow.push(edge);
    }
    Ok(EdgeTable::try_new(&narrow).expect("the edges ascend, are finite and few"))
}

/// Returns at most `edges_max` edges: every distinct value, or order statistics at even ranks.
pub(crate) fn cell_edges(sorted: &[f64], edges_max: usize) -> Vec<f64> {
    let mut distinct: Vec<f64> = Vec::with_capacity(edges_max.min(sorted.len()));
    for &value in sorted {
        if distinct.last() == Some(&value) {
            continue;
        }
        if distinct.len() == edges_max {
            return even_order_statistics(sorted, edges_max);
        }
        distinct.push(without_sign_of_zero(value));
    }
    distinct
}

fn even_order_statistics(sorted: &[f64], count: usize) -> Vec<f64> {
    let last = sorted.len() - 1;
    let mut edges: Vec<f64> =
        (0..count).map(|i| without_sign_of_zero(sorted[rank(i, last, count - 1)])).collect();
    edges.dedup();
    edges
}

/// `⌊i · last / parts⌋` without overflow for samples of any size.
fn rank(i: usize, last: usize, parts: usize) -> usize {
    last / parts * i + last % parts * i / parts
}

/// The sample quantile of Hyndman & Fan 1996, type 7, with `numpy`'s order of operations, so that
/// the edges are bit-equal to `numpy.quantile(sample, q)`.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let position = (sorted.len() - 1) as f64 * q;
    let below = position.floor();
    let share = position - below;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the length of the sample"
    )]
    let index = below as usize;
    let low = sorted[index];
    let high = sorted[(index + 1).min(sorted.len() - 1)];
    let step = high - low;
    if step.is_infinite() {
        // Only between values of opposite sign near the ends of the doubles.
        return low * (1.0 - share) + high * share;
    }
    if share < 0.5 { low + step * share } else { high - step * (1.0 - share) }
}

/// Rounds to the next single-precision number that is not above `value`.
fn round_down(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what is asked for")]
    let nearest = value as f32;
    if value < f64::from(nearest) { nearest.next_down() } else { nearest }
}

/// −0.0 and 0.0 are one value to the kernels; edges store it as 0.0.
fn without_sign_of_zero(value: f64) -> f64 {
    value + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_distinct_value_is_an_edge_when_they_fit() {
        let grid = Grid::from_sorted(Precision::F64, &[1.0, 1.0, 2.0, 4.0], 2).unwrap();
        assert_eq!(grid.edges(), [1.0, 1.5, 2.0, 4.0]);
        assert_eq!(grid.bin_edges(), [1.5]);
        assert_eq!((grid.cells(), grid.bins()), (9, 2));
    }

    #[test]
    fn bins_are_open_below_and_closed_above() {
        let grid = Grid::try_new(Precision::F64, vec![0.0, 1.0], vec![0.0, 1.0]).unwrap();
        // below 0 | 0 | between | 1 | above 1
        assert_eq!(grid.bin_counts(&vec![1, 10, 100, 1_000, 10_000].into()), [11, 1_100, 10_000]);
    }

    #[test]
    fn many_distinct_values_leave_no_open_cell_heavier_than_its_share() {
        let sorted: Vec<f64> = (0..100_000).map(f64::from).collect();
        let grid = Grid::from_sorted(Precision::F64, &sorted, 10).unwrap();
        assert_eq!(grid.edges().len(), EDGES_MAX);
        assert_eq!((grid.edges()[0], grid.edges()[EDGES_MAX - 1]), (0.0, 99_999.0));
        let widest = grid.edges().windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        assert!(widest <= 99.0, "{widest} values of 100,000 in one cell");
    }

    #[test]
    fn equal_quantiles_merge_into_one_bin_edge() {
        let grid = Grid::from_sorted(Precision::F64, &[7.5; 300], 10).unwrap();
        assert_eq!((grid.edges(), grid.bin_edges()), (&[7.5][..], &[7.5][..]));
    }

    #[test]
    fn single_precision_bin_edges_are_rounded_down() {
        let grid = Grid::from_sorted(Precision::F32, &[1.0, f64::from(1.0_f32.next_up())], 2);
        assert_eq!(grid.unwrap().bin_edges(), [1.0]);
    }

    #[test]
    fn the_widest_reference_there_is_has_finite_bin_edges() {
        let grid = Grid::from_sorted(Precision::F64, &[f64::MIN, f64::MAX], 4).unwrap();
        let halves = grid.bin_edges().iter().map(|edge| edge / f64::MAX);
        assert!(halves.zip([-0.5, 0.0, 0.5]).all(|(found, half)| (found - half).abs() < 1e-15));
    }

    #[test]
    fn negative_zero_is_the_edge_zero() {
        let grid = Grid::from_sorted(Precision::F64, &[-0.0, 0.0, 0.0, 1.0], 2).unwrap();
        assert!(grid.edges()[0].is_sign_positive());
        assert_eq!(grid.edges(), [0.0, 1.0]);
    }

    #[test]
    fn grid_errors_name_the_value_and_its_place() {
        let build = |edges: &[f64], bins: &[f64]| {
            Grid::try_new(Precision::F32, edges.to_vec(), bins.to_vec()).unwrap_err()
        };
        assert_eq!(build(&[], &[]), GridError::Empty);
        assert_eq!(build(&[1.0], &[]), GridError::BinCount { found: 1 });
        assert_eq!(build(&[1.0, 1.0], &[1.0]), GridError::NotAscending { index: 1, value: 1.0 });
        assert_eq!(build(&[0.1], &[0.1]), GridError::NotSinglePrecision { value: 0.1 });
        assert_eq!(build(&[1.0], &[2.0]), GridError::UnknownBinEdge { value: 2.0 });
        let infinite = GridError::NotFinite { index: 1, value: f64::INFINITY };
        assert_eq!(build(&[1.0, f64::INFINITY], &[1.0]), infinite);
        let many: Vec<f64> = (0..1_025).map(f64::from).collect();
        assert_eq!(build(&many, &[1.0]), GridError::TooManyEdges { found: 1_025 });
    }
}
