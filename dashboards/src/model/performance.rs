//! The row of the model dashboard about its performance: how good it was by its labels.
//!
//! Beside [`super`], which puts it between drift and features. Every number stands beside what it
//! rests on: coverage, delay, and whether its window is final.

use driftd_catalog::metric::{
    LABEL_COVERAGE_RATIO, LABEL_DELAY_SECONDS, LABEL_SAMPLE_RATIO, LABELS_JOINED_TOTAL,
    LABELS_LEFT_OUT_TOTAL, LABELS_WAITING, Metric, PERFORMANCE_ACCURACY,
    PERFORMANCE_AVERAGE_PRECISION, PERFORMANCE_BALANCED_ACCURACY, PERFORMANCE_BRIER,
    PERFORMANCE_CALIBRATION_ERROR, PERFORMANCE_F1, PERFORMANCE_FINAL, PERFORMANCE_KAPPA,
    PERFORMANCE_LABELLED, PERFORMANCE_LOG_LOSS, PERFORMANCE_MACRO_F1, PERFORMANCE_MATTHEWS,
    PERFORMANCE_MEAN_ABSOLUTE_ERROR, PERFORMANCE_MEAN_ERROR, PERFORMANCE_MEAN_RELATIVE_ERROR,
    PERFORMANCE_MEAN_SQUARED_ERROR, PERFORMANCE_MEAN_SYMMETRIC_ERROR, PERFORMANCE_PRECISION,
    PERFORMANCE_PREDICTIONS, PERFORMANCE_PREVALENCE, PERFORMANCE_R_SQUARED, PERFORMANCE_RECALL,
    PERFORMANCE_ROC_AUC, PERFORMANCE_ROOT_MEAN_SQUARED_ERROR, PERFORMANCE_SPECIFICITY,
    PERFORMANCE_WEIGHTED_F1, PERFORMANCE_WINDOW_END_TIMESTAMP_SECONDS, PREDICTIONS_FOLLOWED_TOTAL,
    PREDICTIONS_NOT_FOLLOWED_TOTAL,
};

use super::{MODEL, newest, newest_time};
use crate::layout::Layout;
use crate::panel::{self, Panel, Series};

/// The value itself, and where its interval ends.
const INTERVAL: [&str; 3] = ["value", "lower", "upper"];

pub(super) fn performance(layout: &mut Layout) {
    layout.row("Performance by labels");
    window(layout);
    layout.add(12, 8, classes());
    layout.add(12, 8, scores());
    layout.add(12, 8, losses());
    layout.add(12, 8, errors());
    layout.add(12, 8, shares());
    layout.add(12, 8, labels());
}

/// What the numbers of the row are of.
fn window(layout: &mut Layout) {
    layout.add(
        8,
        4,
        panel::stat(
            "Window of performance",
            "Its end, in event time of the predictions: the newest with enough labels.",
            "dateTimeAsIso",
            vec![(newest_time(&PERFORMANCE_WINDOW_END_TIMESTAMP_SECONDS), "")],
        ),
    );
    layout.add(
        8,
        4,
        panel::stat(
            "Labels",
            "Predictions of that window, those with a label, and 1 if no more can come.",
            "short",
            vec![
                (newest(&PERFORMANCE_PREDICTIONS), "predictions"),
                (newest(&PERFORMANCE_LABELLED), "labelled"),
                (newest(&PERFORMANCE_FINAL), "final"),
            ],
        ),
    );
    layout.add(
        8,
        4,
        panel::stat(
            "Label delay",
            "Half of the labels of that window came within it.",
            "s",
            vec![(newest(&LABEL_DELAY_SECONDS), "")],
        ),
    );
}

/// A metric with its interval.
fn with_interval(metric: &Metric, names: [&'static str; 3]) -> Vec<Series> {
    let bounds = INTERVAL.iter().zip(names);
    bounds.map(|(bound, name)| (of(metric, bound), name)).collect()
}

/// A metric alone.
fn of(metric: &Metric, bound: &str) -> String {
    format!("max({})", MODEL.select_where(metric, &[format!(r#"bound="{bound}""#)]))
}

fn values(metrics: &[(&Metric, &'static str)]) -> Vec<Series> {
    metrics.iter().map(|(metric, name)| (of(metric, "value"), *name)).collect()
}

fn classes() -> Panel {
    let names = ["accuracy", "accuracy, at least", "accuracy, at most"];
    let mut series = with_interval(&PERFORMANCE_ACCURACY, names);
    series.extend(values(&[
        (&PERFORMANCE_BALANCED_ACCURACY, "balanced accuracy"),
        (&PERFORMANCE_PRECISION, "precision"),
        (&PERFORMANCE_RECALL, "recall"),
        (&PERFORMANCE_SPECIFICITY, "specificity"),
        (&PERFORMANCE_PREVALENCE, "prevalence"),
        (&PERFORMANCE_F1, "F1"),
        (&PERFORMANCE_MACRO_F1, "macro F1"),
        (&PERFORMANCE_WEIGHTED_F1, "weighted F1"),
        (&PERFORMANCE_MATTHEWS, "Matthews"),
        (&PERFORMANCE_KAPPA, "kappa"),
    ]));
    panel::time_series("Classes", "Predicted classes against labels.", "none", series)
}

fn scores() -> Panel {
    let names = ["ROC AUC", "ROC AUC, at least", "ROC AUC, at most"];
    let mut series = with_interval(&PERFORMANCE_ROC_AUC, names);
    series.extend(values(&[
        (&PERFORMANCE_AVERAGE_PRECISION, "average precision"),
        (&PERFORMANCE_CALIBRATION_ERROR, "calibration error"),
    ]));
    let description = "Scores against labels: how well they rank, and whether they are shares.";
    panel::time_series("Scores and labels", description, "none", series)
}

fn losses() -> Panel {
    let series =
        values(&[(&PERFORMANCE_LOG_LOSS, "log loss (nats)"), (&PERFORMANCE_BRIER, "Brier score")]);
    panel::time_series("Losses", "Of the scores; less is better.", "none", series)
}

fn errors() -> Panel {
    let names = ["absolute", "absolute, at least", "absolute, at most"];
    let mut series = with_interval(&PERFORMANCE_MEAN_ABSOLUTE_ERROR, names);
    series.extend(values(&[
        (&PERFORMANCE_MEAN_ERROR, "signed"),
        (&PERFORMANCE_MEAN_SQUARED_ERROR, "squared"),
        (&PERFORMANCE_ROOT_MEAN_SQUARED_ERROR, "root of squared"),
        (&PERFORMANCE_MEAN_RELATIVE_ERROR, "relative"),
        (&PERFORMANCE_MEAN_SYMMETRIC_ERROR, "symmetric"),
        (&PERFORMANCE_R_SQUARED, "R squared"),
    ]));
    panel::time_series("Errors", "Mean errors of predicted numbers.", "none", series)
}

fn shares() -> Panel {
    let series = vec![
        (newest(&LABEL_COVERAGE_RATIO), "predictions with a label"),
        (newest(&LABEL_SAMPLE_RATIO), "predictions that are followed"),
    ];
    let description = "Shares that the performance rests on, in the newest complete window.";
    panel::time_series("Coverage", description, "percentunit", series)
}

fn labels() -> Panel {
    let by_reason = |metric| format!("sum by (reason) ({}) * 3600", MODEL.rate(metric));
    let all = |metric| format!("sum({}) * 3600", MODEL.rate(metric));
    let series = vec![
        (all(&PREDICTIONS_FOLLOWED_TOTAL), "predictions"),
        (by_reason(&PREDICTIONS_NOT_FOLLOWED_TOTAL), "predictions {{reason}}"),
        (all(&LABELS_JOINED_TOTAL), "labels"),
        (by_reason(&LABELS_LEFT_OUT_TOTAL), "labels {{reason}}"),
        (newest(&LABELS_WAITING), "labels that wait now"),
    ];
    let description = "What became of predictions and labels, an hour.";
    panel::time_series("Predictions and labels", description, "short", series)
}
