//! Kullback–Leibler divergence on coarse bins or levels.
//!
//! Before: [`crate::counts`]. After: [`crate::decision`].

use super::{Cells, Effect, delta_variance};

/// Returns `KL = Σ p ln(p/q)` in nats, `p` the reference's shares, `q` the current ones, with half
/// a pseudo-count a cell, and the margin of its lower confidence bound at `z` standard normal
/// units.
///
/// Kullback & Leibler 1951. Without drift `2 KL ≈ (1/n + 1/m) χ²(B − 1)` (Kullback 1959, chapter
/// 6); the margin takes the bias `½ (B − 1)(1/n + 1/m)` and `z` standard errors of the delta
/// method, with gradients `ln(p/q)` and `−p/q`, off the statistic.
pub(crate) fn effect(cells: &Cells<'_>, z: f64) -> Effect {
    let statistic = cells.smoothed_shares().map(|(p, q)| p * (p / q).ln()).sum();
    let gradients = cells.smoothed_shares().map(|(p, q)| (p, q, (p / q).ln(), -p / q));
    let error = delta_variance(gradients, cells.n(), cells.m()).sqrt();
    Effect { statistic, margin: 0.5 * cells.degrees() * cells.scale() + z * error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_is_of_the_reference_from_the_current() {
        let wide = [500, 500];
        let narrow = [900, 100];
        let forward = effect(&Cells { reference: &wide, current: &narrow }, 0.0).statistic;
        let expected = 0.5 * (0.5_f64 / 0.9).ln() + 0.5 * (0.5_f64 / 0.1).ln();
        assert!((forward - expected).abs() < 5e-3, "{forward} against {expected}");
        let backward = effect(&Cells { reference: &narrow, current: &wide }, 0.0).statistic;
        assert!(backward < forward);
    }
}
