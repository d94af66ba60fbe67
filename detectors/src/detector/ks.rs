//! Two-sample Kolmogorov–Smirnov statistic, bracketed from the cells of a grid.
//!
//! Before: [`crate::counts`]. After: [`crate::decision`].

use super::{Cells, Effect};
use crate::special::{kolmogorov_quantile, kolmogorov_tail};

/// Bounds of `D = sup |F(x) − G(x)|`, `F` the reference's, `G` the current distribution function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bracket {
    /// The greatest difference seen at a cell's end.
    pub(crate) lower: f64,
    /// The greatest difference there can be inside a cell.
    pub(crate) upper: f64,
}

/// Brackets `D` from cells in the kernel's order: even ones open, odd ones single values.
///
/// `F` and `G` are known at every edge and just before it, so `lower` is their greatest difference
/// there. Inside an open cell from `a` to `b` both only rise, so no difference exceeds `max(F(b) −
/// G(a), G(b) − F(a))`, and `upper` is the greatest of these and `lower`. A cell adds at most the
/// smaller of its two masses, so `upper − lower` ≤ the largest mass the reference (or the current
/// sample) has in an open cell.
///
/// The bracket is exact, `lower = upper`, when in every open cell one side has no value, whatever
/// the other has there: then one function is flat inside and the difference is greatest at an end.
/// In particular it is exact for every current sample if the reference's distinct values are all
/// edges.
///
/// Differences are taken as integers `|Fₐ m − Gₐ n|` and divided once: no rounding until then.
pub(crate) fn bracket(cells: &Cells<'_>) -> Bracket {
    let n: u128 = cells.reference.iter().map(|&count| u128::from(count)).sum();
    let m: u128 = cells.current.iter().map(|&count| u128::from(count)).sum();
    let (mut below_f, mut below_g, mut lower, mut upper) = (0_u128, 0_u128, 0_u128, 0_u128);
    for (index, (&r, &c)) in cells.reference.iter().zip(cells.current).enumerate() {
        let (f, g) = (below_f + u128::from(r) * m, below_g + u128::from(c) * n);
        lower = lower.max(f.abs_diff(g));
        if index % 2 == 0 {
            upper = upper.max(f.saturating_sub(below_g)).max(g.saturating_sub(below_f));
        }
        (below_f, below_g) = (f, g);
    }
    let unit = n as f64 * m as f64;
    Bracket { lower: lower as f64 / unit, upper: upper.max(lower) as f64 / unit }
}

/// Returns the limit of `P(D ≥ d)` without drift: Kolmogorov's tail at `√(nm/(n+m)) d`
/// (Smirnov 1939). With repeated values it is an upper bound (Noether 1963), so the level is kept.
pub(crate) fn p_value(d: f64, n: f64, m: f64) -> f64 {
    kolmogorov_tail(d / (1.0 / n + 1.0 / m).sqrt())
}

/// Returns the `d` whose [`p_value`] is `level`.
pub(crate) fn critical_value(level: f64, n: f64, m: f64) -> f64 {
    kolmogorov_quantile(level) * (1.0 / n + 1.0 / m).sqrt()
}

/// Returns the effect with the margin of its lower bound at confidence `1 − level`:
/// `√(½ ln(2/level) (1/n + 1/m))`, the two-sample form of the Dvoretzky–Kiefer–Wolfowitz inequality
/// with Massart's constant (Massart 1990; Wei & Dudley 2012 for two samples).
///
/// Those prove it for `F = G`. It holds in the limit for `F ≠ G` too: the error process
/// `√(1/n) B₁(F) − √(1/m) B₂(G)` plus an independent normal variable times a function of `F − G` is
/// the process of the null case, so by Anderson's inequality (1955) its supremum is the smaller.
pub(crate) fn effect(bracket: Bracket, n: f64, m: f64, level: f64) -> Effect {
    let margin = (0.5 * (2.0 / level).ln() * (1.0 / n + 1.0 / m)).sqrt();
    Effect { statistic: bracket.lower, margin }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_between_edges_matter_only_where_the_reference_has_mass() {
        // One edge: below | equal | above. The reference has nothing below.
        let exact = bracket(&Cells { reference: &[0, 5, 5], current: &[6, 4, 0] });
        assert_eq!(exact, Bracket { lower: 0.6, upper: 0.6 });
        let open = bracket(&Cells { reference: &[6, 0, 4], current: &[6, 0, 4] });
        assert_eq!(open, Bracket { lower: 0.0, upper: 0.6 });
    }

    #[test]
    fn disjoint_samples_are_at_distance_one() {
        let far = bracket(&Cells { reference: &[0, 0, 9], current: &[9, 0, 0] });
        assert_eq!(far, Bracket { lower: 1.0, upper: 1.0 });
    }

    #[test]
    fn the_critical_value_has_the_p_value_it_was_made_for() {
        for level in [1e-12, 1e-4, 0.01, 0.2, 0.9] {
            let d = critical_value(level, 500.0, 2_000.0);
            assert!((p_value(d, 500.0, 2_000.0) / level - 1.0).abs() < 1e-9, "{level}");
        }
    }
}
