//! Pearson's χ² test of homogeneity of two samples on coarse bins or levels.
//!
//! Before: [`crate::counts`]. After: [`crate::decision`]. The significance behind PSI, KL and JS:
//! it keeps its level down to about 4 expected rows a cell, where theirs do not.

use super::Cells;
use crate::special::chi_squared_tail;

/// The test of one feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ChiSquaredTest {
    /// `X²`.
    pub(crate) statistic: f64,
    /// Degrees of freedom: cells used by either side, less one.
    pub(crate) degrees: f64,
    /// Tail of χ² beyond the statistic.
    pub(crate) p_value: f64,
}

/// Tests whether both samples come from one distribution: `X² = Σ (observed − expected)² /
/// expected` over the two rows of the contingency table, without continuity correction. Cells empty
/// on both sides are left out. Pearson 1900; as a test of homogeneity Cochran 1952.
///
/// For a cell with `r` reference and `c` current rows both terms together are
/// `(r m − c n)² / ((r + c) n m)`, whose numerator is exact.
pub(crate) fn test(cells: &Cells<'_>) -> ChiSquaredTest {
    let (n, m) = (cells.n(), cells.m());
    let sum: f64 = cells
        .pairs()
        .filter(|&(r, c)| 0.0 < r + c)
        .map(|(r, c)| {
            let difference = r * m - c * n;
            difference * difference / (r + c)
        })
        .sum();
    let statistic = sum / (n * m);
    let degrees = cells.degrees();
    ChiSquaredTest { statistic, degrees, p_value: chi_squared_tail(statistic, degrees) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_empty_on_both_sides_do_not_count() {
        let with = test(&Cells { reference: &[10, 0, 30], current: &[20, 0, 20] });
        let without = test(&Cells { reference: &[10, 30], current: &[20, 20] });
        assert_eq!(with, without);
        assert_eq!(with.degrees, 1.0);
    }

    #[test]
    fn a_single_used_cell_is_never_significant() {
        let alone = test(&Cells { reference: &[10, 0], current: &[20, 0] });
        assert_eq!((alone.statistic, alone.degrees, alone.p_value), (0.0, 0.0, 1.0));
    }
}
