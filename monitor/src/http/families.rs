//! Metric families of the `prometheus` crate, built from the catalogue's constants.
//!
//! Before: [`super::metrics`] names a metric of the catalogue, label values and a sample. After:
//! the text encoder. Owns the rules of the exposition: a label for each value, finite samples only,
//! kinds as in the catalogue.

use driftd_catalog::metric::{Metric, MetricKind};
use prometheus::proto;

/// The families of one scrape.
#[derive(Debug, Default)]
pub(super) struct Families {
    families: Vec<(&'static str, proto::MetricFamily)>,
}

/// A histogram to export.
#[derive(Debug)]
pub(super) struct Observed<'a> {
    /// Cumulative counts, one a bucket of the catalogue.
    pub(super) cumulative: &'a [u64],
    pub(super) count: u64,
    pub(super) sum: f64,
}

impl Families {
    /// Adds a sample of a gauge. What is not finite is no sample: the series goes stale.
    pub(super) fn gauge(&mut self, metric: &Metric, labels: &[&str], value: f64) {
        debug_assert!(metric.kind == MetricKind::Gauge, "{} is no gauge", metric.name);
        if !value.is_finite() {
            return;
        }
        let mut gauge = proto::Gauge::default();
        gauge.set_value(value);
        let mut sample = labelled(metric, labels);
        sample.set_gauge(gauge);
        self.push(metric, sample);
    }

    /// Adds a sample of a gauge whose value may be unknown, which is no sample.
    pub(super) fn gauge_if_known(&mut self, metric: &Metric, labels: &[&str], value: Option<f64>) {
        if let Some(value) = value {
            self.gauge(metric, labels, value);
        }
    }

    /// Adds a sample of a counter.
    pub(super) fn counter(&mut self, metric: &Metric, labels: &[&str], value: u64) {
        self.counter_of_seconds(metric, labels, value as f64);
    }

    /// Adds a sample of a counter of time.
    pub(super) fn counter_of_seconds(&mut self, metric: &Metric, labels: &[&str], value: f64) {
        debug_assert!(metric.kind == MetricKind::Counter, "{} is no counter", metric.name);
        let mut sample = labelled(metric, labels);
        let mut counter = proto::Counter::default();
        counter.set_value(value);
        sample.set_counter(counter);
        self.push(metric, sample);
    }

    /// Adds a histogram; its buckets are those of the catalogue.
    pub(super) fn histogram(&mut self, metric: &Metric, labels: &[&str], observed: &Observed<'_>) {
        let MetricKind::Histogram { buckets } = metric.kind else {
            debug_assert!(false, "{} is no histogram", metric.name);
            return;
        };
        debug_assert_eq!(buckets.len(), observed.cumulative.len(), "{}", metric.name);
        let buckets = buckets.iter().zip(observed.cumulative).map(|(bound, count)| {
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(*count);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(observed.count);
        histogram.set_sample_sum(observed.sum);
        let mut sample = labelled(metric, labels);
        sample.set_histogram(histogram);
        self.push(metric, sample);
    }

    /// Returns the families that have samples.
    pub(super) fn finish(self) -> Vec<proto::MetricFamily> {
        self.families.into_iter().map(|(_, family)| family).collect()
    }

    fn push(&mut self, metric: &Metric, sample: proto::Metric) {
        // About sixty families: looking for one is cheaper than the sample's label texts.
        let at = self.families.iter().position(|(name, _)| *name == metric.name);
        let at = at.unwrap_or_else(|| {
            self.families.push((metric.name, empty(metric)));
            self.families.len() - 1
        });
        self.families[at].1.mut_metric().push(sample);
    }
}

fn labelled(metric: &Metric, values: &[&str]) -> proto::Metric {
    debug_assert_eq!(metric.labels.len(), values.len(), "labels of {}", metric.name);
    let pairs = metric.labels.iter().zip(values).map(|(label, value)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name(label.as_str().to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    proto::Metric::from_label(pairs.collect())
}

fn empty(metric: &Metric) -> proto::MetricFamily {
    let kind = match metric.kind {
        MetricKind::Counter => proto::MetricType::COUNTER,
        MetricKind::Gauge => proto::MetricType::GAUGE,
        MetricKind::Histogram { .. } => proto::MetricType::HISTOGRAM,
    };
    let mut family = proto::MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(kind);
    family
}
