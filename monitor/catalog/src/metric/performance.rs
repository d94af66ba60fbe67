//! Metrics of the performance of models, by labels that came later.
//!
//! Beside [`super`], with the same rules. All of them are of one window, the newest with enough
//! labels; [`PERFORMANCE_WINDOW_END_TIMESTAMP_SECONDS`] says which, and what they rest on stands
//! beside. A metric of another task, or one that is undefined, is absent.

use super::{Metric, counter, gauge};
use crate::label::Label;

const MODEL: &[Label] = &[Label::Model];
const MODEL_REASON: &[Label] = &[Label::Model, Label::Reason];
const PART: &[Label] = &[Label::Model, Label::ModelVersion, Label::Segment];
const PART_BOUND: &[Label] = &[Label::Model, Label::ModelVersion, Label::Segment, Label::Bound];

pub const PERFORMANCE_WINDOW_END_TIMESTAMP_SECONDS: Metric = gauge(
    "driftd_performance_window_end_timestamp_seconds",
    PART,
    "End of the window that the performance is of, in event time of its predictions.",
);
pub const PERFORMANCE_PREDICTIONS: Metric = gauge(
    "driftd_performance_predictions",
    PART,
    "Predictions of that window whose labels are followed.",
);
pub const PERFORMANCE_LABELLED: Metric =
    gauge("driftd_performance_labelled", PART, "Those of them that have a label.");
pub const PERFORMANCE_FINAL: Metric = gauge(
    "driftd_performance_final",
    PART,
    "1 when no more labels can come for that window, else 0.",
);
pub const LABEL_DELAY_SECONDS: Metric = gauge(
    "driftd_label_delay_seconds",
    PART,
    "Time within which half of the labels of that window came, to the next power of two.",
);
pub const LABEL_COVERAGE_RATIO: Metric = gauge(
    "driftd_label_coverage_ratio",
    PART,
    "Share of predictions with a label in the newest window that is final, or is about to be.",
);
pub const LABEL_SAMPLE_RATIO: Metric = gauge(
    "driftd_label_sample_ratio",
    MODEL,
    "Share of predictions whose labels are followed, as configured.",
);
pub const LABELS_WAITING: Metric =
    gauge("driftd_labels_waiting", MODEL, "Labels that wait for their prediction.");
pub const PREDICTIONS_FOLLOWED_TOTAL: Metric = counter(
    "driftd_predictions_followed_total",
    MODEL,
    "Predictions whose labels are waited for, or were.",
);
pub const PREDICTIONS_NOT_FOLLOWED_TOTAL: Metric = counter(
    "driftd_predictions_not_followed_total",
    MODEL_REASON,
    "Predictions whose labels are not waited for.",
);
pub const LABELS_JOINED_TOTAL: Metric = counter(
    "driftd_labels_joined_total",
    MODEL,
    "Labels that count, revisions of labels included.",
);
pub const LABELS_LEFT_OUT_TOTAL: Metric =
    counter("driftd_labels_left_out_total", MODEL_REASON, "Labels that do not count.");
pub const PERFORMANCE_ACCURACY: Metric = gauge(
    "driftd_performance_accuracy_ratio",
    PART_BOUND,
    "Share of labelled predictions that were right.",
);
pub const PERFORMANCE_BALANCED_ACCURACY: Metric = gauge(
    "driftd_performance_balanced_accuracy_ratio",
    PART_BOUND,
    "Mean over classes of the share of their labels that were predicted.",
);
pub const PERFORMANCE_PRECISION: Metric = gauge(
    "driftd_performance_precision_ratio",
    PART_BOUND,
    "Share of positive predictions whose label is positive.",
);
pub const PERFORMANCE_RECALL: Metric = gauge(
    "driftd_performance_recall_ratio",
    PART_BOUND,
    "Share of positive labels that were predicted.",
);
pub const PERFORMANCE_SPECIFICITY: Metric = gauge(
    "driftd_performance_specificity_ratio",
    PART_BOUND,
    "Share of negative labels that were predicted.",
);
pub const PERFORMANCE_F1: Metric =
    gauge("driftd_performance_f1_score", PART_BOUND, "Harmonic mean of precision and recall.");
pub const PERFORMANCE_MACRO_F1: Metric = gauge(
    "driftd_performance_macro_f1_score",
    PART_BOUND,
    "Mean over classes of the harmonic mean of precision and recall.",
);
pub const PERFORMANCE_WEIGHTED_F1: Metric = gauge(
    "driftd_performance_weighted_f1_score",
    PART_BOUND,
    "The same mean weighted by the labels of each class.",
);
pub const PERFORMANCE_MATTHEWS: Metric = gauge(
    "driftd_performance_matthews_coefficient",
    PART_BOUND,
    "Correlation of prediction and label, from -1 to 1.",
);
pub const PERFORMANCE_KAPPA: Metric = gauge(
    "driftd_performance_kappa_coefficient",
    PART_BOUND,
    "Agreement of prediction and label beyond chance, at most 1.",
);
pub const PERFORMANCE_PREVALENCE: Metric =
    gauge("driftd_performance_prevalence_ratio", PART_BOUND, "Share of labels that are positive.");
pub const PERFORMANCE_ROC_AUC: Metric = gauge(
    "driftd_performance_roc_auc_ratio",
    PART_BOUND,
    "Probability that a positive has a higher score than a negative.",
);
pub const PERFORMANCE_AVERAGE_PRECISION: Metric = gauge(
    "driftd_performance_average_precision_ratio",
    PART_BOUND,
    "Mean precision over the positives by falling score.",
);
pub const PERFORMANCE_LOG_LOSS: Metric = gauge(
    "driftd_performance_log_loss_nats",
    PART_BOUND,
    "Mean negative logarithm of the probability given to what came true.",
);
pub const PERFORMANCE_BRIER: Metric = gauge(
    "driftd_performance_brier_score",
    PART_BOUND,
    "Mean squared difference of the score and what came true.",
);
pub const PERFORMANCE_CALIBRATION_ERROR: Metric = gauge(
    "driftd_performance_calibration_error_ratio",
    PART_BOUND,
    "Mean difference of scores and the share of positives, over ten bins of scores.",
);
pub const PERFORMANCE_MEAN_ERROR: Metric = gauge(
    "driftd_performance_mean_error",
    PART_BOUND,
    "Mean of label less prediction, in the unit of the label.",
);
pub const PERFORMANCE_MEAN_ABSOLUTE_ERROR: Metric = gauge(
    "driftd_performance_mean_absolute_error",
    PART_BOUND,
    "Mean distance of label and prediction, in the unit of the label.",
);
pub const PERFORMANCE_MEAN_SQUARED_ERROR: Metric = gauge(
    "driftd_performance_mean_squared_error",
    PART_BOUND,
    "Mean squared distance of label and prediction.",
);
pub const PERFORMANCE_ROOT_MEAN_SQUARED_ERROR: Metric = gauge(
    "driftd_performance_root_mean_squared_error",
    PART_BOUND,
    "Root of the mean squared distance, in the unit of the label.",
);
pub const PERFORMANCE_MEAN_RELATIVE_ERROR: Metric = gauge(
    "driftd_performance_mean_relative_error_ratio",
    PART_BOUND,
    "Mean distance of label and prediction as a share of the label.",
);
pub const PERFORMANCE_MEAN_SYMMETRIC_ERROR: Metric = gauge(
    "driftd_performance_mean_symmetric_error_ratio",
    PART_BOUND,
    "Mean distance as a share of the mean of both, from 0 to 2.",
);
pub const PERFORMANCE_R_SQUARED: Metric = gauge(
    "driftd_performance_r_squared_ratio",
    PART_BOUND,
    "Share of the variance of labels that predictions explain, at most 1.",
);

/// Metrics by the names that lines of results and the API have for them.
pub const PERFORMANCE: &[(&str, Metric)] = &[
    ("accuracy", PERFORMANCE_ACCURACY),
    ("balanced_accuracy", PERFORMANCE_BALANCED_ACCURACY),
    ("precision", PERFORMANCE_PRECISION),
    ("recall", PERFORMANCE_RECALL),
    ("specificity", PERFORMANCE_SPECIFICITY),
    ("f1", PERFORMANCE_F1),
    ("macro_f1", PERFORMANCE_MACRO_F1),
    ("weighted_f1", PERFORMANCE_WEIGHTED_F1),
    ("matthews", PERFORMANCE_MATTHEWS),
    ("kappa", PERFORMANCE_KAPPA),
    ("prevalence", PERFORMANCE_PREVALENCE),
    ("roc_auc", PERFORMANCE_ROC_AUC),
    ("average_precision", PERFORMANCE_AVERAGE_PRECISION),
    ("log_loss", PERFORMANCE_LOG_LOSS),
    ("brier", PERFORMANCE_BRIER),
    ("calibration_error", PERFORMANCE_CALIBRATION_ERROR),
    ("mean_error", PERFORMANCE_MEAN_ERROR),
    ("mean_absolute_error", PERFORMANCE_MEAN_ABSOLUTE_ERROR),
    ("mean_squared_error", PERFORMANCE_MEAN_SQUARED_ERROR),
    ("root_mean_squared_error", PERFORMANCE_ROOT_MEAN_SQUARED_ERROR),
    ("mean_relative_error", PERFORMANCE_MEAN_RELATIVE_ERROR),
    ("mean_symmetric_error", PERFORMANCE_MEAN_SYMMETRIC_ERROR),
    ("r_squared", PERFORMANCE_R_SQUARED),
];

/// Returns the metric of a name.
pub fn performance(name: &str) -> Option<&'static Metric> {
    PERFORMANCE.iter().find(|(known, _)| *known == name).map(|(_, metric)| metric)
}
