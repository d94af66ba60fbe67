//! Families about how good models are by their labels.
//!
//! Before: [`super`] takes the snapshot. After: [`super::super::families`]. Of each version and
//! segment the newest window is exported that has enough labels to say something.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::metric;
use driftd_core::config::Config;
use driftd_core::labels::{LabelCounts, Metric, ModelPerformance, PartPerformance};
use driftd_core::snapshot::Snapshot;

use crate::http::families::Families;

/// Fewer labels than this say nothing of a window.
const LABELLED_MIN: u64 = 30;

/// Values of the label `bound`.
const VALUE: &str = "value";
const LOWER: &str = "lower";
const UPPER: &str = "upper";

pub(super) fn collect(families: &mut Families, config: &Config, snapshot: &Snapshot) {
    for (index, performance) in &snapshot.performance {
        let Some(model) = config.models.get(*index) else { continue };
        let name = &*model.name;
        families.gauge(&metric::LABEL_SAMPLE_RATIO, &[name], performance.sample);
        families.gauge(&metric::LABELS_WAITING, &[name], performance.waiting as f64);
        counts(families, name, &performance.counts);
        windows(families, name, performance);
    }
}

fn counts(families: &mut Families, model: &str, counts: &LabelCounts) {
    let LabelCounts { followed, joined, revised, .. } = *counts;
    families.counter(&metric::PREDICTIONS_FOLLOWED_TOTAL, &[model], followed);
    families.counter(&metric::LABELS_JOINED_TOTAL, &[model], joined + revised);
    for (reason, count) in counts.predictions_left_out() {
        families.counter(&metric::PREDICTIONS_NOT_FOLLOWED_TOTAL, &[model, reason], count);
    }
    for (reason, count) in counts.labels_left_out() {
        families.counter(&metric::LABELS_LEFT_OUT_TOTAL, &[model, reason], count);
    }
}

fn windows(families: &mut Families, model: &str, performance: &ModelPerformance) {
    let mut newest: BTreeMap<_, (_, &Arc<PartPerformance>)> = BTreeMap::new();
    let mut covered: BTreeMap<_, &Arc<PartPerformance>> = BTreeMap::new();
    for window in &performance.windows {
        for part in &window.parts {
            let id = (&part.version, &part.segment);
            if LABELLED_MIN <= part.labelled {
                newest.insert(id, (window, part));
            }
            // Labels of later ones are still to come.
            if window.is_final || !covered.contains_key(&id) {
                covered.insert(id, part);
            }
        }
    }
    for ((version, segment), part) in covered {
        let labels = [model, &**version, segment.as_str()];
        families.gauge(&metric::LABEL_COVERAGE_RATIO, &labels, part.coverage());
    }
    for ((version, segment), (window, part)) in newest {
        let labels = [model, &**version, segment.as_str()];
        let end = window.span.end().as_seconds_f64();
        families.gauge(&metric::PERFORMANCE_WINDOW_END_TIMESTAMP_SECONDS, &labels, end);
        families.gauge(&metric::PERFORMANCE_PREDICTIONS, &labels, part.predictions as f64);
        families.gauge(&metric::PERFORMANCE_LABELLED, &labels, part.labelled as f64);
        families.gauge(&metric::PERFORMANCE_FINAL, &labels, f64::from(window.is_final));
        let delay = part.delay_median_millis.map(|it| it as f64 / 1_000.0);
        families.gauge_if_known(&metric::LABEL_DELAY_SECONDS, &labels, delay);
        for value in &part.metrics {
            metric_families(families, labels, value);
        }
    }
}

fn metric_families(families: &mut Families, labels: [&str; 3], value: &Metric) {
    let Some(metric) = metric::performance(value.name) else { return };
    let [model, version, segment] = labels;
    let with = |bound| [model, version, segment, bound];
    families.gauge(metric, &with(VALUE), value.value);
    if let Some(interval) = value.interval {
        families.gauge(metric, &with(LOWER), interval.lower);
        families.gauge(metric, &with(UPPER), interval.upper);
    }
}
