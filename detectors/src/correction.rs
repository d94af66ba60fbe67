//! Correction for testing many features at once.
//!
//! Before: p-values of one window's features. After: [`crate::decision`].

/// Returns p-values adjusted by Benjamini & Hochberg 1995 (JRSS B 57(1)), in the order given:
/// the `i`-th smallest of `k` becomes `min over j ≥ i of p(j) k / j`, at most 1.
///
/// Rejecting those at most `q` keeps the expected share of false rejections at or below `q` when
/// the tests are independent or positively dependent (Benjamini & Yekutieli 2001).
pub(crate) fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let count = p_values.len();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![1.0; count];
    let mut least = 1.0_f64;
    for (rank, &index) in order.iter().enumerate().rev() {
        least = least.min(p_values[index] * count as f64 / (rank + 1) as f64);
        adjusted[index] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use driftd_fixtures::oracle;

    use super::*;

    #[test]
    fn adjusted_p_values_equal_scipys() {
        for case in oracle::multiple_testing() {
            let expected = oracle::numbers(&case["bh"]);
            let adjusted = benjamini_hochberg(&oracle::numbers(&case["p"]));
            assert_eq!(adjusted.len(), expected.len());
            for (found, expected) in adjusted.iter().zip(expected) {
                let tolerance = 1e-12 * expected;
                assert!((found - expected).abs() <= tolerance, "{}: {found}", case["name"]);
            }
        }
    }

    #[test]
    fn one_p_value_stays_as_it_is() {
        assert_eq!(benjamini_hochberg(&[0.03]), [0.03]);
        assert!(benjamini_hochberg(&[]).is_empty());
    }

    #[test]
    fn adjusted_values_keep_the_order_of_the_features() {
        assert_eq!(benjamini_hochberg(&[0.9, 0.01, 0.04]), [0.9, 0.03, 0.06]);
    }
}
