//! What the counts of one window, version and segment say: metrics, and how sure they are.
//!
//! Before: [`super::tally`]. After: the snapshot and lines of results. A metric that is undefined
//! is absent. Intervals hold for a window that is looked at once.

use driftd_detectors::performance::{
    Average, BinaryCounts, Bracket, ClassCounts, Disagreement, Interval, RegressionCounts, TermSum,
    roc_auc_interval, wilson,
};

use super::tally::{Counts, Tally};

/// Confidence of intervals.
pub const CONFIDENCE: f64 = 0.95;

/// One metric of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Its name, as in metrics and lines.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// Where the true value is with [`CONFIDENCE`]. Absent where nothing is known of it.
    pub interval: Option<Interval>,
    /// Between which values the exact one lies, where scores are known by their cells only.
    pub bracket: Option<Bracket>,
}

impl Metric {
    fn new(name: &'static str, value: Option<f64>, interval: Option<Interval>) -> Option<Self> {
        Some(Self { name, value: value?, interval, bracket: None })
    }

    /// A share of so many.
    fn share(name: &'static str, successes: f64, rows: f64) -> Option<Self> {
        let value = (0.0 < rows).then(|| successes / rows);
        Self::new(name, value, wilson(successes, rows, CONFIDENCE))
    }

    /// The mean of a term.
    fn mean(name: &'static str, term: &TermSum) -> Option<Self> {
        Self::new(name, term.mean(), term.sample().interval(CONFIDENCE))
    }

    /// A value that cells of scores leave some room for.
    fn bracketed(
        name: &'static str,
        bracket: Option<Bracket>,
        interval: Option<Interval>,
    ) -> Option<Self> {
        Some(Self { name, value: bracket?.value, interval, bracket })
    }
}

/// Returns all metrics of a window that are defined.
pub(crate) fn metrics(tally: &Tally) -> Vec<Metric> {
    let metrics = match &tally.counts {
        Counts::Binary(_, counts) => binary(counts),
        Counts::Multiclass(counts) => multiclass(counts),
        Counts::Regression(counts) => regression(counts),
    };
    metrics.into_iter().flatten().collect()
}

fn binary(counts: &BinaryCounts) -> Vec<Option<Metric>> {
    let it = counts.confusion();
    let curve = counts.curve();
    let right = it.true_positive + it.true_negative;
    vec![
        Metric::share("accuracy", right, it.rows()),
        Metric::new("balanced_accuracy", it.balanced_accuracy(), None),
        Metric::share("precision", it.true_positive, it.predicted_positive()),
        Metric::share("recall", it.true_positive, it.positive()),
        Metric::share("specificity", it.true_negative, it.negative()),
        Metric::new("f1", it.f_beta(1.0), None),
        Metric::new("matthews", it.matthews(), None),
        Metric::new("kappa", it.kappa(), None),
        Metric::share("prevalence", it.positive(), it.rows()),
        Metric::bracketed("roc_auc", curve.roc_auc(), roc_auc_interval(&curve, CONFIDENCE)),
        Metric::bracketed("average_precision", curve.average_precision(), None),
        Metric::mean("log_loss", counts.log_loss()),
        Metric::mean("brier", counts.brier()),
        Metric::new("calibration_error", counts.reliability.expected_error(), None),
    ]
}

fn multiclass(counts: &ClassCounts) -> Vec<Option<Metric>> {
    let it = counts.confusion();
    let right: f64 = (0..it.classes()).map(|class| it.get(class, class)).sum();
    let average =
        |name, average| Metric::new(name, it.average(average, |class| class.f_beta(1.0)), None);
    vec![
        Metric::share("accuracy", right, it.rows()),
        Metric::new("balanced_accuracy", it.balanced_accuracy(), None),
        average("macro_f1", Average::Macro),
        average("weighted_f1", Average::Weighted),
        Metric::new("matthews", it.matthews(), None),
        Metric::new("kappa", it.kappa(Disagreement::Nominal), None),
    ]
}

fn regression(counts: &RegressionCounts) -> Vec<Option<Metric>> {
    let rmse = counts.root_mean_squared_error();
    vec![
        Metric::mean("mean_error", counts.error()),
        Metric::mean("mean_absolute_error", counts.absolute_error()),
        Metric::mean("mean_squared_error", counts.squared_error()),
        Metric::new(
            "root_mean_squared_error",
            rmse,
            counts.root_mean_squared_error_interval(CONFIDENCE),
        ),
        Metric::mean("mean_relative_error", counts.relative_error()),
        Metric::mean("mean_symmetric_error", counts.symmetric_error()),
        Metric::new("r_squared", counts.r_squared(), None),
    ]
}
