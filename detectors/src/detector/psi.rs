//! Population stability index on coarse bins or levels.
//!
//! Before: [`crate::counts`]. After: [`crate::decision`].

use super::{Cells, Effect, delta_variance};

/// Returns `PSI = Σ (p − q) ln(p/q)` with half a pseudo-count a cell, and the margin of its lower
/// confidence bound at `z` standard normal units.
///
/// Without drift `PSI ≈ (1/n + 1/m) χ²(B − 1)` (Yurdakul & Naranjo 2020, Journal of Risk Model
/// Validation 14(3)); the mean of that, `(B − 1)(1/n + 1/m)`, is also the first-order bias under
/// drift and is taken off together with `z` standard errors of the delta method, whose gradients
/// are `ln(p/q) − q/p` and `ln(q/p) − p/q`. `B` counts the cells used by either side.
pub(crate) fn effect(cells: &Cells<'_>, z: f64) -> Effect {
    let statistic = cells.smoothed_shares().map(|(p, q)| (p - q) * (p / q).ln()).sum();
    let gradients = cells.smoothed_shares().map(|(p, q)| {
        let log_ratio = (p / q).ln();
        (p, q, log_ratio - q / p, -log_ratio - p / q)
    });
    let error = delta_variance(gradients, cells.n(), cells.m()).sqrt();
    Effect { statistic, margin: cells.degrees() * cells.scale() + z * error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psi_is_zero_when_current_repeats_the_reference() {
        let counts = [10, 20, 0, 5];
        let psi = effect(&Cells { reference: &counts, current: &counts }, 1.645);
        assert_eq!((psi.statistic, psi.lower_bound()), (0.0, 0.0));
    }

    #[test]
    fn psi_stays_finite_for_disjoint_samples() {
        let psi = effect(&Cells { reference: &[1_000, 0], current: &[0, 1_000] }, 1.645);
        assert!(psi.statistic.is_finite() && 10.0 < psi.statistic);
        assert!(10.0 < psi.lower_bound());
    }
}
