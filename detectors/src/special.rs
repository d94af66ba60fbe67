//! Tails and quantiles of the distributions that detectors compare with.
//!
//! Owns no statistics: only functions of numbers, each with the accuracy its tests hold it to.

use std::f64::consts::{PI, SQRT_2};

use statrs::function::erf::{erfc, erfc_inv};
use statrs::function::gamma::gamma_ur;

/// Halvings of a bracket: more than the 53 bits of a double, so the result is as good as the tail.
const BISECTIONS: usize = 64;

/// Returns `P(X > x)` for χ² of `degrees` degrees of freedom; 1 for none.
pub(crate) fn chi_squared_tail(x: f64, degrees: f64) -> f64 {
    if degrees <= 0.0 || x <= 0.0 {
        return 1.0;
    }
    if x == f64::INFINITY {
        return 0.0;
    }
    gamma_ur(0.5 * degrees, 0.5 * x)
}

/// Returns the `x` with `P(X > x) = tail` for χ² of `degrees` ≥ 1.
pub(crate) fn chi_squared_quantile(tail: f64, degrees: f64) -> f64 {
    // Laurent & Massart 2000, lemma 1: P(X > k + 2√(kt) + 2t) ≤ e^−t.
    let t = -tail.ln();
    let high = degrees + 2.0 * (degrees * t).sqrt() + 2.0 * t;
    bisect(high, |x| tail < chi_squared_tail(x, degrees))
}

/// Returns Kolmogorov's tail, the limit of `P(√(nm/(n+m)) D > x)`: `2 Σ (−1)^(j−1) e^(−2j²x²)`, or
/// where that converges slowly `1 − (√2π / x) Σ e^(−(2j−1)²π²/(8x²))` (Kolmogorov 1933).
pub(crate) fn kolmogorov_tail(x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    if x < 1.0 {
        let sum: f64 = [1.0_f64, 3.0, 5.0, 7.0]
            .iter()
            .map(|odd| (-odd * odd * PI * PI / (8.0 * x * x)).exp())
            .sum();
        return 1.0 - (2.0 * PI).sqrt() / x * sum;
    }
    let term = |j: f64| (-2.0 * j * j * x * x).exp();
    2.0 * (term(1.0) - term(2.0) + term(3.0) - term(4.0) + term(5.0))
}

/// Returns the `x` whose [`kolmogorov_tail`] is `tail`.
pub(crate) fn kolmogorov_quantile(tail: f64) -> f64 {
    // The tail is below 2 e^(−2x²).
    let high = (0.5 * (2.0 / tail).ln()).sqrt();
    bisect(high, |x| tail < kolmogorov_tail(x))
}

/// Returns `P(|Z| > z)` for standard normal `Z`.
pub(crate) fn normal_two_sided_tail(z: f64) -> f64 {
    erfc(z / SQRT_2)
}

/// Returns the `z` with `P(Z > z) = tail` for standard normal `Z`.
pub(crate) fn normal_quantile(tail: f64) -> f64 {
    SQRT_2 * erfc_inv(2.0 * tail)
}

/// Returns the point in `[0, high]` up to which `is_below` holds.
fn bisect(mut high: f64, is_below: impl Fn(f64) -> bool) -> f64 {
    let mut low = 0.0;
    for _ in 0..BISECTIONS {
        let middle = 0.5 * (low + high);
        if is_below(middle) { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: f64, expected: f64, tolerance: f64) {
        let error = (found / expected - 1.0).abs();
        assert!(error <= tolerance, "{found} against {expected}: relative error {error}");
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        assert_close(normal_quantile(0.05), 1.644_853_626_951_472_2, 1e-12);
        assert_close(normal_quantile(0.025), 1.959_963_984_540_054, 1e-12);
        assert_close(chi_squared_quantile(0.05, 1.0), 3.841_458_820_694_124, 1e-12);
        assert_close(chi_squared_quantile(0.05, 9.0), 16.918_977_604_620_448, 1e-12);
        assert_close(kolmogorov_quantile(0.05), 1.358_098_639_322_550_5, 1e-12);
        assert_close(kolmogorov_quantile(0.01), 1.627_623_611_518_957_3, 1e-12);
    }

    #[test]
    fn quantiles_invert_their_tails_from_certain_to_hopeless() {
        for tail in [0.999, 0.5, 0.01, 1e-5, 1e-12, 1e-100, 1e-300] {
            assert_close(kolmogorov_tail(kolmogorov_quantile(tail)), tail, 1e-9);
            for degrees in [1.0, 2.0, 9.0, 99.0, 4_096.0] {
                let x = chi_squared_quantile(tail, degrees);
                assert_close(chi_squared_tail(x, degrees), tail, 1e-9);
            }
        }
    }

    #[test]
    fn both_series_of_the_kolmogorov_tail_meet() {
        assert_close(kolmogorov_tail(1.0_f64.next_down()), kolmogorov_tail(1.0), 1e-14);
    }

    #[test]
    fn tails_end_at_one_and_zero() {
        assert_eq!((chi_squared_tail(0.0, 3.0), chi_squared_tail(f64::INFINITY, 3.0)), (1.0, 0.0));
        assert_eq!((chi_squared_tail(1e6, 3.0), chi_squared_tail(5.0, 0.0)), (0.0, 1.0));
        assert_eq!(
            (kolmogorov_tail(0.0), kolmogorov_tail(1e-3), kolmogorov_tail(1e3)),
            (1.0, 1.0, 0.0)
        );
        assert_eq!((normal_two_sided_tail(0.0), normal_two_sided_tail(1e3)), (1.0, 0.0));
    }
}
