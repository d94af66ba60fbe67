//! Features built from plain samples, and decisions about one of them.

use std::sync::Arc;

use driftd_detectors::{
    CategoricalColumn, CategoricalCounts, CategoricalReference, DecisionPolicy, DetectorKind,
    DetectorResult, FeatureCounts, FeatureInput, FeaturePolicy, FeatureReference, FeatureVerdict,
    Grid, Levels, NumericColumn, NumericCounts, NumericReference, NumericValues, Precision,
    Validity, decide,
};

/// The policy of a numeric feature that a user gets without asking.
pub(crate) const NUMERIC_POLICY: FeaturePolicy = FeaturePolicy {
    detector: DetectorKind::Ks,
    minimum_effect: 0.1,
    missing_rate_effect: 0.1,
    unseen_rate_effect: 0.05,
    minimum_rows: 500,
};

/// The policy of a categorical feature that a user gets without asking.
pub(crate) const CATEGORICAL_POLICY: FeaturePolicy =
    FeaturePolicy { detector: DetectorKind::Psi, ..NUMERIC_POLICY };

/// The decision policy that a user gets without asking.
pub(crate) const DECISION_POLICY: DecisionPolicy =
    DecisionPolicy { false_discovery_rate: 0.01, confidence: 0.95 };

/// Returns the double-precision grid of a sample.
pub(crate) fn grid_of(sample: &[f64], bins: usize) -> Arc<Grid> {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    Arc::new(Grid::from_sorted(Precision::F64, &sorted, bins).unwrap())
}

/// Counts values without nulls.
pub(crate) fn count(grid: &Grid, values: &[f64]) -> NumericCounts {
    let mut counts = NumericCounts::empty(grid);
    let values = NumericValues::F64(values);
    counts.update(grid, &NumericColumn { values, validity: None });
    counts
}

/// Counts values of which those with a set bit are present.
pub(crate) fn count_valid(grid: &Grid, values: &[f64], validity: &[u8]) -> NumericCounts {
    let mut counts = NumericCounts::empty(grid);
    let validity = Some(Validity::new(validity, 0, values.len()));
    let values = NumericValues::F64(values);
    counts.update(grid, &NumericColumn { values, validity });
    counts
}

/// Makes a reference of values counted in their own grid.
pub(crate) fn numeric_reference(sample: &[f64], bins: usize) -> FeatureReference {
    let grid = grid_of(sample, bins);
    let counts = count(&grid, sample);
    FeatureReference::Numeric(NumericReference { grid, counts })
}

/// Counts values in a numeric reference's grid.
pub(crate) fn numeric_counts(reference: &FeatureReference, values: &[f64]) -> FeatureCounts {
    let FeatureReference::Numeric(numeric) = reference else {
        panic!("the reference is numeric");
    };
    FeatureCounts::Numeric(count(&numeric.grid, values))
}

/// Makes a reference of rows by level.
pub(crate) fn categorical_reference(rows: &[(&str, u64)], null: u64) -> FeatureReference {
    let mut names: Vec<Box<str>> = rows.iter().map(|&(name, _)| name.into()).collect();
    names.sort();
    let levels = Arc::new(Levels::try_new(names).unwrap());
    let counts = count_levels(&levels, rows, null);
    FeatureReference::Categorical(CategoricalReference { levels, counts })
}

/// Counts rows by level in a categorical reference's levels.
pub(crate) fn categorical_counts(
    reference: &FeatureReference,
    rows: &[(&str, u64)],
    null: u64,
) -> FeatureCounts {
    let FeatureReference::Categorical(categorical) = reference else {
        panic!("the reference is categorical");
    };
    FeatureCounts::Categorical(count_levels(&categorical.levels, rows, null))
}

fn count_levels(levels: &Levels, rows: &[(&str, u64)], null: u64) -> CategoricalCounts {
    let names: Vec<&str> = rows.iter().map(|&(name, _)| name).collect();
    let mut keys: Vec<u32> = Vec::new();
    for (key, &(_, count)) in (0_u32..).zip(rows) {
        keys.extend(std::iter::repeat_n(key, usize::try_from(count).unwrap()));
    }
    let mut counts = CategoricalCounts::empty(levels);
    counts.update(levels, &CategoricalColumn { keys: &keys, levels: &names, validity: None });
    counts.null += null;
    counts
}

/// Decides about one feature alone.
pub(crate) fn decide_alone(
    reference: &FeatureReference,
    counts: &FeatureCounts,
    policy: FeaturePolicy,
) -> FeatureVerdict {
    let input = FeatureInput { reference: Some(reference), counts, policy };
    decide(&[input], &DECISION_POLICY).remove(0)
}

/// Returns a detector's result.
pub(crate) fn result(verdict: &FeatureVerdict, detector: DetectorKind) -> DetectorResult {
    let found = verdict.results.iter().find(|result| result.detector == detector);
    *found.unwrap_or_else(|| panic!("no {} in {verdict:?}", detector.as_str()))
}
