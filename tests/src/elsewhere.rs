//! Queries that a job without labels and changes has no answer to.
//!
//! Before: tests that ask all queries of the dashboards. After: `tests/it/performance.rs` and
//! `changes.rs` look at the metrics of such queries, and the tests of the scrape at all of them.

use driftd_catalog::metric::{
    CHANGES_SKIPPED_TOTAL, LABEL_COVERAGE_RATIO, LABEL_DELAY_SECONDS, LABEL_SAMPLE_RATIO,
    LABELS_JOINED_TOTAL, LABELS_LEFT_OUT_TOTAL, LABELS_WAITING, Metric, PERFORMANCE,
    PERFORMANCE_FINAL, PERFORMANCE_LABELLED, PERFORMANCE_PREDICTIONS,
    PERFORMANCE_WINDOW_END_TIMESTAMP_SECONDS, PREDICTIONS_FOLLOWED_TOTAL,
    PREDICTIONS_NOT_FOLLOWED_TOTAL,
};

/// What is exported of labels besides the metrics of performance, and of changes.
const OTHERS: [Metric; 13] = [
    CHANGES_SKIPPED_TOTAL,
    LABEL_COVERAGE_RATIO,
    LABEL_DELAY_SECONDS,
    LABEL_SAMPLE_RATIO,
    LABELS_JOINED_TOTAL,
    LABELS_LEFT_OUT_TOTAL,
    LABELS_WAITING,
    PERFORMANCE_FINAL,
    PERFORMANCE_LABELLED,
    PERFORMANCE_PREDICTIONS,
    PERFORMANCE_WINDOW_END_TIMESTAMP_SECONDS,
    PREDICTIONS_FOLLOWED_TOTAL,
    PREDICTIONS_NOT_FOLLOWED_TOTAL,
];

/// Returns whether an expression is about labels or changes.
pub fn is_of_labels_or_changes(expr: &str) -> bool {
    let all = OTHERS.iter().chain(PERFORMANCE.iter().map(|(_, metric)| metric));
    all.into_iter().any(|metric| expr.contains(&format!("{}{{", metric.name)))
}
