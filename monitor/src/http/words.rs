//! A verdict in plain words, with the numbers that made it.
//!
//! Before: a [`FeatureResult`] and the policy it was judged by. After: the page, the API, and
//! whoever prints results.

use driftd_core::result::FeatureResult;
use driftd_detectors::{DecisionPolicy, DetectorKind, DetectorResult, FeaturePolicy, State};

/// Says why a feature is in its state, for example `KS 0.31 > 0.12 (n = 4,812; effect at least
/// 0.28, minimum 0.1; significant, adjusted p < 0.0001)`.
///
/// `policy` is the one of this feature.
pub fn explain(
    feature: &FeatureResult,
    policy: &FeaturePolicy,
    decision: &DecisionPolicy,
) -> String {
    let verdict = &feature.verdict;
    match verdict.state {
        State::NoReference => "not judged: no reference for this version and segment; build one with `driftd reference \
             build --config`"
                .to_owned(),
        State::InsufficientData => too_few(feature, policy),
        State::Ok | State::Drifted | State::BrokenData => {
            let deciding = verdict.results.iter().find(|it| Some(it.detector) == verdict.deciding);
            deciding.map_or_else(
                || format!("{} (n = {})", verdict.state.as_str(), count(verdict.current_rows)),
                |result| compared(feature, result, policy, decision),
            )
        }
    }
}

fn too_few(feature: &FeatureResult, policy: &FeaturePolicy) -> String {
    let verdict = &feature.verdict;
    let rows = |side: &str, rows: u64| {
        format!("{} {side} rows, at least {} needed", count(rows), count(policy.minimum_rows))
    };
    if verdict.current_rows < policy.minimum_rows {
        format!("not judged: {}", rows("current", verdict.current_rows))
    } else if verdict.reference_rows < policy.minimum_rows {
        format!("not judged: {}", rows("reference", verdict.reference_rows))
    } else {
        format!(
            "not judged: fewer than {} rows have a value on one of the sides",
            count(policy.minimum_rows)
        )
    }
}

fn compared(
    feature: &FeatureResult,
    result: &DetectorResult,
    policy: &FeaturePolicy,
    decision: &DecisionPolicy,
) -> String {
    let verdict = &feature.verdict;
    let minimum = match result.detector {
        DetectorKind::MissingRate => policy.missing_rate_effect,
        DetectorKind::UnseenRate => policy.unseen_rate_effect,
        DetectorKind::Ks
        | DetectorKind::Psi
        | DetectorKind::KullbackLeibler
        | DetectorKind::JensenShannon
        | DetectorKind::ChiSquared => policy.minimum_effect,
    };
    let limit = result.threshold.map(|threshold| {
        let sign = if result.score.is_some_and(|score| 1.0 < score) { ">" } else { "≤" };
        format!(" {sign} {}", number(threshold))
    });
    let bound = result
        .lower_bound
        .map(|bound| format!("; effect at least {}, minimum {}", number(bound), number(minimum)));
    let significance = result.adjusted_p_value.map(|p| {
        let not = if p <= decision.false_discovery_rate { "" } else { "not " };
        format!("; {not}significant, adjusted p {}", p_value(p))
    });
    format!(
        "{} {}{} (n = {}{}{})",
        name(result.detector),
        // Rates are signed differences; their limit is on the size.
        number(result.statistic.abs()),
        limit.unwrap_or_default(),
        count(verdict.current_rows),
        bound.unwrap_or_default(),
        significance.unwrap_or_default(),
    )
}

/// The detector's name for people.
fn name(detector: DetectorKind) -> &'static str {
    match detector {
        DetectorKind::Ks => "KS",
        DetectorKind::Psi => "PSI",
        DetectorKind::KullbackLeibler => "KL",
        DetectorKind::JensenShannon => "JS",
        DetectorKind::ChiSquared => "χ²",
        DetectorKind::MissingRate => "change of the missing rate",
        DetectorKind::UnseenRate => "change of the unseen rate",
    }
}

fn p_value(p: f64) -> String {
    if p < 0.0001 { "< 0.0001".to_owned() } else { format!("= {p:.4}") }
}

/// Three significant digits, without trailing zeros.
fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e6).contains(&value) {
        return format!("{value:.1e}");
    }
    let decimals = if value < 0.001 {
        6
    } else if value < 0.01 {
        5
    } else if value < 0.1 {
        4
    } else if value < 10.0 {
        3
    } else {
        1
    };
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A count with thousands separated.
fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if 0 < at && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sample;

    fn explained(result: &FeatureResult) -> String {
        explain(result, &sample::policy(), &sample::decision())
    }

    #[test]
    fn drift_is_told_with_statistic_threshold_size_and_effect() {
        assert_eq!(
            explained(&sample::drifted("temp")),
            "KS 0.31 > 0.12 (n = 4,812; effect at least 0.28, minimum 0.1; \
             significant, adjusted p < 0.0001)"
        );
    }

    #[test]
    fn no_drift_is_told_with_the_same_numbers() {
        assert_eq!(
            explained(&sample::quiet("wind_speed")),
            "KS 0.02 ≤ 0.12 (n = 4,812; effect at least 0, minimum 0.1; \
             not significant, adjusted p = 0.4300)"
        );
    }

    #[test]
    fn too_few_rows_name_the_side_and_the_need() {
        assert_eq!(
            explained(&sample::too_few("temp", 312)),
            "not judged: 312 current rows, at least 1,000 needed"
        );
    }

    #[test]
    fn numbers_keep_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.12, "0.12"),
            (0.031_24, "0.0312"),
            (1234.56, "1234.6"),
            (3e-7, "3.0e-7"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(12), "12");
    }
}
