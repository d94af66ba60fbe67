//! Metrics against scikit-learn, through counts.
//!
//! Tolerances: 1e-12 relative, because counts are equal and sums exact, so that only the rounding
//! of the last steps and of scikit-learn's sums differ; 1e-15 absolute for what cancels to 0. Where
//! scores do not all have a cell of their own, scikit-learn's value has to lie within the bracket,
//! and our value as near as the test says.

use driftd_detectors::performance::{
    Average, BinaryCounts, ClassCounts, ClassLayout, ClassOutcome, Confusion, Disagreement, Gain,
    RankingCounts, RankingLayout, RankingMetric, RegressionCounts, RegressionLayout,
    RegressionOutcome, ScoreGrid, rank,
};
use driftd_detectors::{Grid, Precision};
use driftd_fixtures::oracle::{self, number, outcomes as recipes};
use serde_json::Value;

use crate::outcomes::{EDGES_MAX, count, outcomes, score_grid};

fn assert_close(name: &str, found: f64, expected: f64) {
    let error = (found - expected).abs();
    assert!(error <= 1e-15 + 1e-12 * expected.abs(), "{name}: {found} is not {expected}");
}

/// Asserts a metric, which is `None` where the oracle has nothing or 0 for an undefined one.
fn assert_metric(name: &str, found: Option<f64>, expected: &Value) {
    match found {
        Some(found) => assert_close(name, found, number(expected)),
        None => assert!(expected.is_null() || number(expected) == 0.0, "{name} is {expected}"),
    }
}

fn assert_confusion(name: &str, found: &Confusion, case: &Value) {
    let expected = ["tp", "fp", "fn", "tn"].map(|side| number(&case["confusion"][side]));
    let sides =
        [found.true_positive, found.false_positive, found.false_negative, found.true_negative];
    assert_eq!(sides, expected, "{name}");
    let metrics = [
        ("accuracy", found.accuracy()),
        ("precision", found.precision()),
        ("recall", found.recall()),
        ("f1", found.f_beta(1.0)),
        ("f0.5", found.f_beta(0.5)),
        ("f2", found.f_beta(2.0)),
        ("specificity", found.specificity()),
        ("npv", found.negative_predictive_value()),
        ("mcc", found.matthews()),
        ("kappa", found.kappa()),
        ("jaccard", found.jaccard()),
    ];
    for (metric, found) in metrics {
        assert_metric(&format!("{name} {metric}"), found, &case[metric]);
    }
    // scikit-learn takes the mean of the recalls that there are.
    match found.balanced_accuracy() {
        Some(found) => assert_close(name, found, number(&case["balanced_accuracy"])),
        None => assert_eq!(case["name"], "one_class"),
    }
}

fn assert_calibration(name: &str, counts: &BinaryCounts, expected: &Value) {
    let found = &counts.reliability;
    assert_metric(&format!("{name} ECE"), found.expected_error(), &expected["ece"]);
    assert_metric(&format!("{name} MCE"), found.greatest_error(), &expected["mce"]);
    let bins = expected["bins"].as_array().unwrap();
    let curve = found.curve();
    assert_eq!(curve.len(), bins.len(), "{name}");
    for (point, bin) in curve.iter().zip(bins) {
        assert_eq!(point.rows, bin["n"].as_u64().unwrap(), "{name}");
        assert_close(name, point.mean_probability, number(&bin["mean_score"]));
        assert_close(name, point.hit_rate, number(&bin["mean_label"]));
    }
}

fn assert_order(name: &str, counts: &BinaryCounts, case: &Value, is_exact: bool) {
    let curve = counts.curve();
    let found = [curve.roc_auc(), curve.average_precision(), curve.separation()];
    let metrics = ["roc_auc", "average_precision", "max_ks"];
    for (metric, found) in metrics.into_iter().zip(found) {
        if case[metric].is_null() {
            assert!(found.is_none() || metric == "average_precision", "{name} {metric}");
            continue;
        }
        let (found, expected) = (found.unwrap(), number(&case[metric]));
        let slack = 1e-12;
        assert!(found.lower - slack <= expected && expected <= found.upper + slack, "{name}");
        if is_exact {
            assert_close(&format!("{name} {metric}"), found.value, expected);
            assert!(found.upper - found.lower < slack, "{name} {metric}: {found:?}");
        }
    }
}

#[test]
fn binary_metrics_equal_scikit_learns() {
    let mut exact = 0;
    for case in oracle::performance_binary() {
        let name = case["name"].as_str().unwrap();
        let rows = recipes::binary(&case);
        let grid = score_grid(rows.iter().map(|(score, _)| *score), EDGES_MAX);
        let counts = count(&grid, &outcomes(&rows, number(&case["threshold"])));
        assert_eq!(counts.rows(), rows.len() as u64, "{name}");
        assert_confusion(name, &counts.confusion(), &case);
        assert_metric(name, counts.log_loss().mean(), &case["log_loss"]);
        assert_metric(name, counts.brier().mean(), &case["brier"]);
        assert_calibration(name, &counts, &case["calibration_10"]);
        let is_exact = grid.edges().len() < EDGES_MAX;
        exact += u32::from(is_exact);
        assert_order(name, &counts, &case, is_exact);
    }
    assert_eq!(exact, 11, "cases whose scores all have a cell");
}

/// How far areas of a thousand cells are from those of all scores, and how wide their brackets:
/// about three times what was found.
#[test]
fn areas_of_many_scores_are_near_in_narrow_brackets() {
    let limits = [
        // Two hundred positives of 20,000 rows: their precision hangs on few rows.
        ("rare_positive", [5e-5, 1e-3], [2e-3, 5e-3]),
        ("large_100000", [1e-5, 1e-5], [2e-3, 2e-3]),
    ];
    for case in oracle::performance_binary() {
        let name = case["name"].as_str().unwrap();
        let Some((_, errors, widths)) = limits.iter().find(|(other, ..)| *other == name) else {
            continue;
        };
        let rows = recipes::binary(&case);
        let grid = score_grid(rows.iter().map(|(score, _)| *score), EDGES_MAX);
        let curve = count(&grid, &outcomes(&rows, 0.5)).curve();
        let found = [curve.roc_auc().unwrap(), curve.average_precision().unwrap()];
        for (metric, place) in [("roc_auc", 0), ("average_precision", 1)] {
            let error = (found[place].value - number(&case[metric])).abs();
            let width = found[place].upper - found[place].lower;
            assert!(error <= errors[place], "{name} {metric}: {error}");
            assert!(width <= widths[place], "{name} {metric}: {width}");
        }
    }
}

fn count_classes(rows: &[recipes::ClassRow], layout: &ClassLayout) -> ClassCounts {
    let mut counts = ClassCounts::empty(layout);
    for (scores, label) in rows {
        let first = scores.iter().copied().fold(0.0, f64::max);
        let predicted = scores.iter().position(|score| *score == first);
        let outcome = ClassOutcome { scores: Some(scores), predicted, label: Some(*label) };
        counts.add(layout, &outcome).unwrap();
    }
    counts
}

fn assert_classes(name: &str, counts: &ClassCounts, case: &Value) {
    let found = counts.confusion();
    for (label, row) in case["confusion_rows_true"].as_array().unwrap().iter().enumerate() {
        for (predicted, &rows) in oracle::counts(row).iter().enumerate() {
            assert_eq!(found.get(label, predicted), rows as f64, "{name}");
        }
    }
    let is_never_predicted = name == "class_never_predicted";
    for (average, key) in
        [(Average::Macro, "macro"), (Average::Micro, "micro"), (Average::Weighted, "weighted")]
    {
        let expected = &case[key];
        let precision = found.average(average, Confusion::precision);
        if is_never_predicted && average != Average::Micro {
            assert_eq!(precision, None, "{name}: scikit-learn takes 0 for it");
        } else {
            assert_close(name, precision.unwrap(), number(&expected["precision"]));
        }
        let recall = found.average(average, Confusion::recall).unwrap();
        assert_close(name, recall, number(&expected["recall"]));
        let f1 = found.average(average, |it| it.f_beta(1.0)).unwrap();
        assert_close(name, f1, number(&expected["f1"]));
    }
    assert_metric(name, found.accuracy(), &case["accuracy"]);
    assert_metric(name, found.balanced_accuracy(), &case["balanced_accuracy"]);
    assert_metric(name, found.matthews(), &case["mcc"]);
    assert_metric(name, found.kappa(Disagreement::Nominal), &case["kappa"]);
    // The unnamed class has no rows, so that it is at no distance from any.
    assert_metric(name, found.kappa(Disagreement::Quadratic), &case["kappa_quadratic"]);
}

fn assert_class_scores(name: &str, counts: &ClassCounts, case: &Value, is_exact: bool) {
    let (mut sum, mut weighted) = (0.0, 0.0);
    let classes = case["per_class"].as_array().unwrap();
    for (class, expected) in classes.iter().enumerate() {
        let found = counts.confusion().class(class);
        assert_eq!(found.positive(), number(&expected["support"]), "{name}");
        assert_metric(name, found.precision(), &expected["precision"]);
        assert_metric(name, found.recall(), &expected["recall"]);
        assert_metric(name, found.f_beta(1.0), &expected["f1"]);
        let curve = counts.curve(class).unwrap();
        let (area, precision) = (curve.roc_auc().unwrap(), curve.average_precision().unwrap());
        sum += area.value;
        weighted += area.value * found.positive();
        let keys = ["roc_auc_one_vs_rest", "average_precision"];
        for (found, key) in [area, precision].into_iter().zip(keys) {
            let expected = number(&expected[key]);
            assert!(found.lower - 1e-12 <= expected && expected <= found.upper + 1e-12, "{name}");
            if is_exact {
                assert_close(name, found.value, expected);
            } else {
                assert!((found.value - expected).abs() < 2e-3, "{name} {key}: {found:?}");
            }
        }
    }
    if is_exact && 2 < classes.len() {
        assert_close(name, sum / classes.len() as f64, number(&case["roc_auc_ovr_macro"]));
        let rows = counts.rows() as f64;
        assert_close(name, weighted / rows, number(&case["roc_auc_ovr_weighted"]));
    }
}

#[test]
fn metrics_of_several_classes_equal_scikit_learns() {
    for case in oracle::performance_multiclass() {
        let name = case["name"].as_str().unwrap();
        let rows = recipes::classes(&case);
        let classes = rows[0].0.len();
        let grids: Vec<ScoreGrid> = (0..classes)
            .map(|class| score_grid(rows.iter().map(|(scores, _)| scores[class]), EDGES_MAX))
            .collect();
        let is_exact = grids.iter().all(|grid| grid.edges().len() < EDGES_MAX);
        assert_eq!(is_exact, rows.len() <= 1_000, "{name}");
        let layout = ClassLayout::try_new(classes, grids).unwrap();
        let counts = count_classes(&rows, &layout);
        assert_classes(name, &counts, &case);
        assert_class_scores(name, &counts, &case, is_exact);
        assert_metric(name, counts.log_loss().mean(), &case["log_loss"]);
        assert_metric(name, counts.brier().mean(), &case["brier_multiclass_sum"]);
        let top = &case["top_label_calibration_10"];
        assert_metric(name, counts.reliability.expected_error(), &top["ece"]);
        assert_metric(name, counts.reliability.greatest_error(), &top["mce"]);
        assert_metric(name, counts.top(1).unwrap().mean(), &case["accuracy"]);
        if 2 < classes {
            assert_metric(name, counts.top(2).unwrap().mean(), &case["top_2_accuracy"]);
        }
    }
}

#[test]
fn errors_of_regressions_equal_scikit_learns() {
    for case in oracle::performance_regression() {
        let name = case["name"].as_str().unwrap();
        let rows = recipes::regression(&case);
        assert_eq!(rows.len() as u64, case["rows"].as_u64().unwrap(), "{name}");
        let residuals = Grid::try_new(Precision::F64, vec![-1.0, 0.0, 1.0], vec![0.0]).unwrap();
        let layout = RegressionLayout::try_new(residuals, 1.0, vec![0.1, 0.5, 0.9]).unwrap();
        let mut counts = RegressionCounts::empty(&layout);
        for &(label, prediction) in &rows {
            let quantiles = &[prediction; 3];
            let outcome = RegressionOutcome { prediction, label, quantiles, interval: None };
            counts.add(&layout, &outcome).unwrap();
        }
        assert_errors(name, &counts, &case, &rows);
    }
}

fn assert_errors(name: &str, counts: &RegressionCounts, case: &Value, rows: &[(f64, f64)]) {
    let check = |metric: &str, found: Option<f64>| {
        assert_metric(&format!("{name} {metric}"), found, &case[metric]);
    };
    check("mae", counts.absolute_error().mean());
    check("mse", counts.squared_error().mean());
    check("rmse", counts.root_mean_squared_error());
    check("mean_error_true_minus_predicted", counts.error().mean());
    check("smape_0_to_2", counts.symmetric_error().mean());
    check("wape", counts.weighted_relative_error());
    for (place, level) in ["0.1", "0.5", "0.9"].into_iter().enumerate() {
        assert_metric(name, counts.pinball(place).unwrap().mean(), &case["pinball"][level]);
        let below = rows.iter().filter(|(label, prediction)| prediction >= label).count();
        let covered = counts.quantile_covered(place).unwrap().sum.value();
        assert_eq!(covered, below as f64, "{name}");
    }
    // Undefined where labels do not vary: scikit-learn says 0 or 1 there.
    if ["constant_truth", "one_row"].contains(&name) {
        assert_eq!((counts.r_squared(), counts.explained_variance()), (None, None), "{name}");
    } else {
        check("r2", counts.r_squared());
        check("explained_variance", counts.explained_variance());
    }
    let zeros = rows.iter().filter(|(label, _)| *label == 0.0).count() as u64;
    assert_eq!(counts.relative_error().rows, counts.rows() - zeros, "{name}");
    if zeros == 0 {
        check("mape_sklearn", counts.relative_error().mean());
    }
    if case.get("msle").is_some() {
        assert_eq!(counts.logarithmic_error().rows, counts.rows(), "{name}");
        // The difference of two logarithms loses digits where they are close.
        let found = counts.logarithmic_error().mean().unwrap();
        assert!((found / number(&case["msle"]) - 1.0).abs() < 1e-10 || found == 0.0, "{name}");
        let root = counts.root_mean_squared_logarithmic_error().unwrap();
        assert!((root / number(&case["rmsle"]) - 1.0).abs() < 1e-10 || root == 0.0, "{name}");
    } else {
        assert!(counts.logarithmic_error().rows < counts.rows(), "{name}");
    }
}

#[test]
fn rankings_equal_those_of_the_oracle() {
    const CUTOFFS: [u32; 4] = [1, 3, 5, 10];
    for case in oracle::performance_ranking() {
        let name = case["name"].as_str().unwrap();
        let users = recipes::ranking(&case);
        for (gain, ndcg) in
            [(Gain::Linear, "ndcg_linear_gain"), (Gain::Exponential, "ndcg_exponential_gain")]
        {
            let layout = RankingLayout::try_new(CUTOFFS.to_vec(), gain).unwrap();
            let mut counts = RankingCounts::empty(&layout);
            for items in &users {
                counts.add(&layout, &rank(items)).unwrap();
            }
            let without = counts.queries() - counts.queries_with_relevant();
            assert_eq!(without, case["users_without_relevant"].as_u64().unwrap(), "{name}");
            let metrics = [
                (RankingMetric::Ndcg, ndcg),
                (RankingMetric::Precision, "precision"),
                (RankingMetric::Recall, "recall"),
                (RankingMetric::Hit, "hit_rate"),
                (RankingMetric::ReciprocalRank, "mrr"),
                (RankingMetric::AveragePrecision, "map_over_min_R_k"),
                (RankingMetric::AveragePrecisionOfAll, "map_over_R"),
            ];
            for (place, cutoff) in CUTOFFS.into_iter().enumerate() {
                for (metric, key) in metrics {
                    let expected = &case["at"][cutoff.to_string()][key];
                    let name = format!("{name} {key} at {cutoff}");
                    let all = counts.metric_of_all(place, metric).unwrap().mean();
                    assert_metric(&name, all, &expected["all_users"]);
                    let relevant = counts.metric(place, metric).unwrap().mean();
                    assert_metric(&name, relevant, &expected["users_with_relevant"]);
                }
            }
        }
    }
}
