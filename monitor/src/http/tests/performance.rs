//! What is exported and answered of performance.

use driftd_catalog::metric::PERFORMANCE;
use serde_json::json;

use super::{ALL, get, samples, scraped, with_server};
use crate::http::{PERFORMANCE as ADDRESS, sample};

/// The window without enough labels is passed over, and the one that is not final is the newest.
#[test]
fn the_newest_window_with_enough_labels_is_exported() {
    let text = scraped(ALL);
    let one = |name: &str| {
        let found = samples(&text, name);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        found[0].rsplit_once(' ').expect("a sample has a value").1.to_owned()
    };
    assert_eq!(one("driftd_performance_final"), "0");
    assert_eq!(one("driftd_performance_labelled"), "40");
    assert_eq!(one("driftd_performance_predictions"), "1000");
    assert_eq!(one("driftd_label_delay_seconds"), "64");
    assert_eq!(one("driftd_label_coverage_ratio"), "0.9", "of the newest that is final");
    assert_eq!(one("driftd_label_sample_ratio"), "0.5");
    assert_eq!(one("driftd_labels_waiting"), "3");
    assert_eq!(samples(&text, "driftd_labels_left_out_total").len(), 5);
    assert_eq!(samples(&text, "driftd_predictions_not_followed_total").len(), 5);
}

#[test]
fn each_metric_has_its_value_and_the_ends_of_its_interval_where_there_is_one() {
    let text = scraped(ALL);
    for (place, (_, metric)) in PERFORMANCE.iter().enumerate() {
        let bounds = if place % 2 == 0 { 3 } else { 1 };
        let found = samples(&text, metric.name);
        assert_eq!(found.len(), bounds, "{found:?}");
        assert!(found.iter().any(|it| it.contains(r#"bound="value""#)), "{found:?}");
    }
}

#[test]
fn performance_is_answered_window_by_window() {
    with_server(sample::state(ALL), |address| {
        let answer = get(address, ADDRESS).json();
        let model = &answer["models"][0];
        assert_eq!((&model["model"], &model["sample"]), (&json!("delays"), &json!(0.5)));
        assert_eq!(model["counts"]["unmatched"], 7);
        assert_eq!(model["horizon_seconds"], 30.0 * 86_400.0);
        let windows = model["windows"].as_array().expect("a list");
        let shown: Vec<_> =
            windows.iter().map(|it| (&it["final"], &it["parts"][0]["labelled"])).collect();
        let expected = [(true, 900), (false, 40), (false, 0)].map(|(a, b)| (json!(a), json!(b)));
        assert_eq!(shown, expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
        let metric = &windows[0]["parts"][0]["metrics"][0];
        assert_eq!((&metric["value"], &metric["interval"]), (&json!(0.5), &json!([0.25, 0.75])));
        assert_eq!(windows[2]["parts"][0]["metrics"], json!([]));
        let newest = get(address, &format!("{ADDRESS}?model=delays&windows=1&segment=x=y")).json();
        let windows = &newest["models"][0]["windows"];
        assert_eq!(windows.as_array().map(Vec::len), Some(1), "{newest}");
        assert_eq!(windows[0]["parts"], json!([]), "no such segment: {newest}");
        let other = get(address, &format!("{ADDRESS}?model=other")).json();
        assert_eq!(other["models"], json!([]));
        assert_eq!(get(address, &format!("{ADDRESS}?week=1")).code, 400);
    });
}
