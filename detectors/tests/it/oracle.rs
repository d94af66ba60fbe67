//! Statistics and p-values against `scipy` and `statsmodels`, through columns and decisions.
//!
//! Tolerances: counts and bin edges equal; statistics 1e-12 relative, because they are sums of at
//! most a thousand terms, with 1e-15 absolute for those that cancel to nearly 0; p-values 1e-9
//! above 1e-12 and 1e-6 relative below, where one rounding of a large statistic shows.

use std::collections::BTreeMap;

use driftd_detectors::{
    DetectorKind, FeatureCounts, FeaturePolicy, FeatureReference, FeatureVerdict, NumericReference,
    State,
};
use driftd_fixtures::oracle;
use serde_json::Value;

use crate::feature::{
    NUMERIC_POLICY, categorical_counts, categorical_reference, count_valid, decide_alone, grid_of,
    result,
};

/// Most edges a grid has beside its bin edges.
const EDGES_MAX: usize = 1_024;

/// Statistics at any sample size are to be compared, so that no case is too small.
const ANY_SIZE: FeaturePolicy = FeaturePolicy { minimum_rows: 1, ..NUMERIC_POLICY };

fn assert_statistic(name: &str, found: f64, expected: f64) {
    let error = (found - expected).abs();
    assert!(error <= 1e-15 + 1e-12 * expected.abs(), "{name}: {found} is not {expected}");
}

fn assert_p_value(name: &str, found: f64, expected: f64) {
    let tolerance = if expected < 1e-12 { 1e-6 * expected } else { 1e-9 };
    // Both are 0 where the true value is below the least double.
    let error = (found - expected).abs();
    assert!(error <= tolerance + f64::MIN_POSITIVE, "{name}: p = {found} is not {expected}");
}

fn assert_binned(name: &str, verdict: &FeatureVerdict, expected: &Value) {
    let check = |detector, key: &str| {
        let found = result(verdict, detector).statistic;
        assert_statistic(&format!("{name} {key}"), found, oracle::number(&expected[key]));
    };
    check(DetectorKind::Psi, "psi_half_count");
    check(DetectorKind::KullbackLeibler, "kl_ref_cur_half_count");
    check(DetectorKind::JensenShannon, "js_divergence");
    let chi_squared = result(verdict, DetectorKind::ChiSquared);
    let test = &expected["test"];
    // Smaller cells are pooled, which SciPy leaves to its caller.
    if test.get("smallest_expected").is_none_or(|it| 5.0 <= oracle::number(it)) {
        let statistic = oracle::number(&test["chi2"]);
        assert_statistic(&format!("{name} χ²"), chi_squared.statistic, statistic);
        let p_value = chi_squared.p_value.unwrap();
        assert_p_value(&format!("{name} χ²"), p_value, oracle::number(&test["chi2_p"]));
    }
    let distance = result(verdict, DetectorKind::JensenShannon).statistic.sqrt();
    assert!((distance - oracle::number(&expected["js_distance"])).abs() < 1e-8, "{name}");
}

fn assert_ks(name: &str, verdict: &FeatureVerdict, expected: &Value, exact: bool) {
    let ks = result(verdict, DetectorKind::Ks);
    let d = oracle::number(&expected["ks_d"]);
    let upper = ks.statistic_upper.unwrap();
    assert!(ks.statistic <= d + 1e-15 && d <= upper + 1e-15, "{name}: {d} is not in {ks:?}");
    assert!(upper - ks.statistic <= 2.0 / EDGES_MAX as f64, "{name}: {ks:?} is wide");
    if exact {
        assert_eq!(ks.statistic, upper, "{name}");
        assert_statistic(&format!("{name} D"), ks.statistic, d);
        let p_value = oracle::number(&expected["ks_p_limit"]);
        assert_p_value(&format!("{name} D"), ks.p_value.unwrap(), p_value);
    }
}

fn check_numeric(case: &Value, bins: usize) {
    let name = case["name"].as_str().unwrap();
    let reference = oracle::sample(&case["reference"], &case["reference_check"]);
    let current = oracle::sample(&case["current"], &case["current_check"]);
    let grid = grid_of(&reference.finite(), bins);
    let counts = count_valid(&grid, &reference.values, &reference.validity());
    let current = count_valid(&grid, &current.values, &current.validity());
    for (counts, side) in [(&counts, "reference"), (&current, "current")] {
        let found = [counts.present(), counts.null, counts.nan, counts.pos_inf, counts.neg_inf];
        assert_eq!(found, oracle::counts(&case["kinds"][side]).as_slice(), "{name} {side}");
    }
    let distinct = case["reference_check"]["distinct"].as_u64().unwrap();
    let exact = distinct <= (EDGES_MAX - grid.bin_edges().len()) as u64;
    let reference_counts = counts.clone();
    let reference = FeatureReference::Numeric(NumericReference { grid: grid.clone(), counts });
    let feature_counts = FeatureCounts::Numeric(current.clone());
    let verdict = decide_alone(&reference, &feature_counts, ANY_SIZE);
    if case.get("result").is_some() {
        assert_ne!(verdict.state, State::Ok, "{name}");
        assert!(verdict.results.iter().all(|found| found.detector == DetectorKind::MissingRate));
        return;
    }
    let expected = &case[format!("quantile_bins_{bins}")];
    assert_eq!(grid.bin_edges(), oracle::numbers(&expected["edges"]), "{name}");
    let binned = &expected["lower_open_upper_closed"];
    let reference_bins = grid.bin_counts(&reference_counts.cells);
    assert_eq!(reference_bins, oracle::counts(&binned["reference"]), "{name}");
    assert_eq!(grid.bin_counts(&current.cells), oracle::counts(&binned["current"]), "{name}");
    assert_binned(name, &verdict, binned);
    assert_ks(name, &verdict, &case["two_sample"], exact);
}

#[test]
fn numeric_statistics_equal_scipys() {
    let mut skipped = Vec::new();
    for case in oracle::drift_numeric() {
        let name = case["name"].as_str().unwrap();
        if let Some(&(name, _)) = oracle::SKIPPED.iter().find(|(skipped, _)| *skipped == name) {
            skipped.push(name);
            continue;
        }
        check_numeric(&case, 10);
        check_numeric(&case, 20);
    }
    assert_eq!(skipped.len(), oracle::SKIPPED.len(), "only the named case is skipped");
}

#[test]
fn categorical_statistics_equal_scipys() {
    for case in oracle::drift_categorical() {
        let name = case["name"].as_str().unwrap();
        let reference_rows = oracle::level_counts(&case["reference"]);
        let current_rows = oracle::level_counts(&case["current"]);
        let nulls = |side: &str| case[side].as_u64().unwrap();
        let reference = categorical_reference(&pairs(&reference_rows), nulls("reference_null"));
        let counts = categorical_counts(&reference, &pairs(&current_rows), nulls("current_null"));
        let verdict = decide_alone(&reference, &counts, ANY_SIZE);
        if case.get("result").is_some() {
            assert_ne!(verdict.state, State::Ok, "{name}");
            continue;
        }
        let FeatureCounts::Categorical(counts) = &counts else { panic!("{name}: other kind") };
        assert_eq!(counts.unseen, case["new_level_rows"].as_u64().unwrap(), "{name}");
        assert_binned(name, &verdict, &case["known_plus_one_unseen_cell"]);
    }
}

fn pairs(rows: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    rows.iter().map(|(name, &count)| (name.as_str(), count)).collect()
}
