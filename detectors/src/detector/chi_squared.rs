//! Pearson's χ² test of homogeneity of two samples on coarse bins or levels.
//!
//! Before: [`crate::counts`]. After: [`crate::decision`]. The significance behind PSI, KL and JS:
//! with small cells pooled it keeps its level where theirs do not.

use super::Cells;
use crate::special::chi_squared_tail;

/// Least expected rows of a cell in either sample. Below it the tail of `X²` on skewed counts is
/// heavier than that of χ² (Cochran 1954, Biometrics 10(4)).
const EXPECTED_MIN: f64 = 5.0;

/// The test of one feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ChiSquaredTest {
    /// `X²`.
    pub(crate) statistic: f64,
    /// Degrees of freedom: cells used by either side after pooling, less one.
    pub(crate) degrees: f64,
    /// Tail of χ² beyond the statistic.
    pub(crate) p_value: f64,
}

/// Tests whether both samples come from one distribution: `X² = Σ (observed − expected)² /
/// expected` over the two rows of the contingency table, without continuity correction. Cells empty
/// on both sides are left out, small ones are [`pooled`]. Pearson 1900; as a test of homogeneity
/// Cochran 1952.
///
/// For a cell with `r` reference and `c` current rows both terms together are
/// `(r m − c n)² / ((r + c) n m)`, whose numerator is exact.
pub(crate) fn test(cells: &Cells<'_>) -> ChiSquaredTest {
    let (n, m) = (cells.n(), cells.m());
    let pooled = pooled(cells);
    let sum: f64 = pooled
        .iter()
        .map(|&(r, c)| {
            let difference = r * m - c * n;
            difference * difference / (r + c)
        })
        .sum();
    let statistic = sum / (n * m);
    let degrees = pooled.len().saturating_sub(1) as f64;
    ChiSquaredTest { statistic, degrees, p_value: chi_squared_tail(statistic, degrees) }
}

/// Joins cells that expect fewer than [`EXPECTED_MIN`] rows of either sample, in their order, until
/// they expect enough together. What is left over joins the last pool, or else the least cell.
///
/// Many pools rather than one keep most of the power. They depend on the sums `r + c` alone, which
/// the test is conditional on, so that they do not move its level.
fn pooled(cells: &Cells<'_>) -> Vec<(f64, f64)> {
    let (n, m) = (cells.n(), cells.m());
    let is_small = |(r, c): (f64, f64)| (r + c) * n.min(m) < EXPECTED_MIN * (n + m);
    let (mut large, mut pools, mut open) = (Vec::new(), Vec::new(), (0.0, 0.0));
    for (r, c) in cells.pairs().filter(|&(r, c)| 0.0 < r + c) {
        if is_small((r, c)) {
            open = (open.0 + r, open.1 + c);
            if !is_small(open) {
                pools.push(std::mem::take(&mut open));
            }
        } else {
            large.push((r, c));
        }
    }
    let least = large.iter_mut().min_by(|(r, c), (s, d)| (r + c).total_cmp(&(s + d)));
    match pools.last_mut().or(least) {
        Some((r, c)) => (*r, *c) = (*r + open.0, *c + open.1),
        None => large.push(open),
    }
    large.append(&mut pools);
    large
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

    #[test]
    fn small_cells_are_tested_together() {
        let reference = [500, 3, 0, 2, 300, 4, 1, 1];
        let current = [480, 1, 4, 3, 310, 4, 0, 2];
        let found = test(&Cells { reference: &reference, current: &current });
        // 3 to 4 rows of each expect 5 together only as (0 to 3) and, with the rest, (5 to 7).
        let by_hand = test(&Cells { reference: &[500, 300, 5, 6], current: &[480, 310, 8, 6] });
        assert_eq!((found.degrees, by_hand.degrees), (3.0, 3.0));
        assert_eq!(found, by_hand);
    }

    #[test]
    fn small_cells_that_do_not_make_a_pool_join_the_least_cell() {
        // One new row in a window of 500 is no news, whatever the reference's size.
        let one = test(&Cells { reference: &[30_000, 20_000, 0], current: &[300, 199, 1] });
        assert_eq!((one.degrees, one.statistic), (1.0, 0.0));
        let few = test(&Cells { reference: &[2, 3], current: &[0, 4] });
        assert_eq!((few.degrees, few.p_value), (0.0, 1.0));
    }
}
