//! Jensen–Shannon divergence on coarse bins or levels.
//!
//! Before: [`crate::counts`]. After: [`crate::decision`].

use super::{Cells, Effect, delta_variance};

/// Returns `JS = ½ Σ p ln(p/h) + ½ Σ q ln(q/h)`, `h = ½(p + q)`, in nats and without smoothing, and
/// the margin of its lower confidence bound at `z` standard normal units. It lies in `[0, ln 2]`;
/// the Jensen–Shannon *distance* other tools report is its root (over `√ln 2` where they use bits).
///
/// Lin 1991, IEEE Transactions on Information Theory 37(1). Without drift `8 JS ≈ (1/n + 1/m) χ²(B
/// − 1)`; the margin takes the bias `⅛ (B − 1)(1/n + 1/m)` and `z` standard errors of the delta
/// method, with gradients `½ ln(p/h)` and `½ ln(q/h)`, off the statistic.
pub(crate) fn effect(cells: &Cells<'_>, z: f64) -> Effect {
    let (n, m) = (cells.n(), cells.m());
    let logs = || {
        cells.pairs().map(|(r, c)| {
            let (p, q) = (r / n, c / m);
            let middle = 0.5 * (p + q);
            (p, q, half_log(p, middle), half_log(q, middle))
        })
    };
    let statistic = logs().map(|(p, q, by_p, by_q)| p * by_p + q * by_q).sum::<f64>().max(0.0);
    let error = delta_variance(logs(), n, m).sqrt();
    Effect { statistic, margin: 0.125 * cells.degrees() * cells.scale() + z * error }
}

/// `½ ln(share / middle)`; 0 for an empty share, whose term is 0.
fn half_log(share: f64, middle: f64) -> f64 {
    if share == 0.0 { 0.0 } else { 0.5 * (share / middle).ln() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_of_disjoint_samples_is_the_logarithm_of_two() {
        let js = effect(&Cells { reference: &[7, 0], current: &[0, 3] }, 0.0);
        assert!((js.statistic - std::f64::consts::LN_2).abs() < 1e-15);
    }

    #[test]
    fn divergence_is_symmetric() {
        let (a, b) = ([10, 20, 30], [30, 5, 1]);
        let forward = effect(&Cells { reference: &a, current: &b }, 1.0);
        let backward = effect(&Cells { reference: &b, current: &a }, 1.0);
        assert!((forward.statistic - backward.statistic).abs() < 1e-15);
        assert!((forward.margin - backward.margin).abs() < 1e-15);
    }
}
