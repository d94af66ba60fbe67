//! Comparison of two shares: test and lower bound of their difference.
//!
//! Before: [`super::missing_rate`] and [`super::unseen_rate`]. After: [`crate::decision`].

use super::Effect;
use crate::special::normal_two_sided_tail;

/// Rows with some property, of all rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// Rows with the property.
    pub(crate) hits: u64,
    /// All rows.
    pub(crate) rows: u64,
}

/// Two shares compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Proportions {
    /// Current share less the reference's.
    pub(crate) difference: f64,
    /// Absolute difference with the margin of its lower bound.
    pub(crate) effect: Effect,
    /// Pooled z statistic, absolute; `z²` is Pearson's χ² of the 2 × 2 table.
    pub(crate) z: f64,
    /// Two-sided p-value of `z`.
    pub(crate) p_value: f64,
    /// `1/n + 1/m`.
    pub(crate) scale: f64,
}

/// Compares the shares; the lower bound of the absolute difference is at `z_confidence` units.
///
/// The test is the pooled two-proportion z test. The bound is Newcombe's hybrid of Wilson's score
/// intervals (Newcombe 1998, Statistics in Medicine 17, method 10), one-sided on the side of the
/// difference found; unlike the normal bound it holds near 0, where healthy data have their shares.
pub(crate) fn compare(reference: Share, current: Share, z_confidence: f64) -> Proportions {
    let (n, m) = (reference.rows as f64, current.rows as f64);
    let (p, q) = (reference.hits as f64 / n, current.hits as f64 / m);
    let difference = q - p;
    let pooled = (reference.hits as f64 + current.hits as f64) / (n + m);
    let scale = 1.0 / n + 1.0 / m;
    let error = (pooled * (1.0 - pooled) * scale).sqrt();
    let z = if difference == 0.0 { 0.0 } else { difference.abs() / error };
    let ((low, n_low), (high, n_high)) = if p < q { ((p, n), (q, m)) } else { ((q, m), (p, n)) };
    let up = wilson_bound(low, n_low, z_confidence) - low;
    let down = high - wilson_bound(high, n_high, -z_confidence);
    let effect = Effect { statistic: difference.abs(), margin: up.hypot(down) };
    Proportions { difference, effect, z, p_value: normal_two_sided_tail(z), scale }
}

/// Wilson's score bound of a share, `z` units above (or below, when negative) the estimate.
fn wilson_bound(share: f64, rows: f64, z: f64) -> f64 {
    let square = z * z;
    let spread = z * (share * (1.0 - share) / rows + square / (4.0 * rows * rows)).sqrt();
    (share + square / (2.0 * rows) + spread) / (1.0 + square / rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const Z95: f64 = 1.959_963_984_540_054;

    #[test]
    fn bounds_are_those_newcombe_printed() {
        // Newcombe 1998, table II, method 10: 56/70 − 48/80 has the 95 % interval 0.0524 to 0.3339.
        let found = compare(Share { hits: 48, rows: 80 }, Share { hits: 56, rows: 70 }, Z95);
        assert!((found.difference - 0.2).abs() < 1e-15);
        assert!((found.effect.lower_bound() - 0.0524).abs() < 5e-5, "{found:?}");
        // 9/10 − 3/10: 0.1705 to 0.8090.
        let found = compare(Share { hits: 3, rows: 10 }, Share { hits: 9, rows: 10 }, Z95);
        assert!((found.effect.lower_bound() - 0.1705).abs() < 5e-5, "{found:?}");
    }

    #[test]
    fn equal_shares_differ_by_nothing_even_at_the_ends() {
        for hits in [0, 10] {
            let same = Share { hits, rows: 10 };
            let found = compare(same, same, Z95);
            assert_eq!((found.difference, found.z, found.p_value), (0.0, 0.0, 1.0));
            assert_eq!(found.effect.lower_bound(), 0.0);
        }
    }

    #[test]
    fn a_fall_is_as_far_as_a_rise() {
        let (few, many) = (Share { hits: 5, rows: 900 }, Share { hits: 400, rows: 700 });
        let (rise, fall) = (compare(few, many, Z95), compare(many, few, Z95));
        assert_eq!(rise.effect, fall.effect);
        assert_eq!(rise.difference, -fall.difference);
    }
}
