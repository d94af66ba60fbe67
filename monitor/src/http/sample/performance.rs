//! What the sample says of performance: one window that is final, and one that waits for labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::metric::PERFORMANCE;
use driftd_catalog::{SegmentId, WindowSpan};
use driftd_core::labels::{
    LabelCounts, Metric, ModelPerformance, PartPerformance, PerformanceResult,
};
use driftd_detectors::performance::Interval;

use super::{HOUR, at, model_id};

/// Of the only model, every metric that there is.
pub(super) fn performance() -> BTreeMap<usize, ModelPerformance> {
    let windows = vec![window(0, true, 900), window(1, false, 40), window(2, false, 0)];
    let counts =
        LabelCounts { followed: 3_000, joined: 900, unmatched: 7, ..LabelCounts::default() };
    BTreeMap::from([(
        0,
        ModelPerformance { windows, counts, waiting: 3, sample: 0.5, bytes: 64_000 },
    )])
}

fn window(hour: i64, is_final: bool, labelled: u64) -> PerformanceResult {
    let interval = Interval { lower: 0.25, upper: 0.75 };
    let metrics = PERFORMANCE.iter().enumerate().map(|(place, (name, _))| Metric {
        name,
        value: 0.5,
        interval: (place % 2 == 0).then_some(interval),
        bracket: None,
    });
    let part = PartPerformance {
        version: model_id().version().into(),
        segment: SegmentId::all(),
        predictions: 1_000,
        labelled,
        uncountable: 0,
        delay_median_millis: (0 < labelled).then_some(64_000),
        metrics: if labelled == 0 { Vec::new() } else { metrics.collect() },
    };
    let span = WindowSpan::starting_at(at(hour), HOUR);
    PerformanceResult { span, is_final, missing: Vec::new(), parts: vec![Arc::new(part)] }
}
