//! `PromQL` of panels, written from the metric catalogue.
//!
//! Before: [`driftd_catalog::metric`]. After: [`crate::panel`], whose targets carry the text.
//! Every selector names the scrape target and all variables that its metric has labels for, so that
//! a panel cannot forget one.

use driftd_catalog::label::Label;
use driftd_catalog::metric::Metric;

/// What a dashboard's variables choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everything that the scrape targets export.
    Fleet,
    /// One window length of one segment of one model version, and some of its features.
    Model,
}

impl Scope {
    /// Returns the selector of `metric`.
    pub(crate) fn select(self, metric: &Metric) -> String {
        self.select_where(metric, &[])
    }

    /// Returns the selector of `metric` with further matchers such as `state="drifted"`.
    pub(crate) fn select_where(self, metric: &Metric, matchers: &[String]) -> String {
        self.selector(metric.name, metric.labels, matchers)
    }

    /// Returns the per-second rate of a counter.
    pub(crate) fn rate(self, metric: &Metric) -> String {
        format!("rate({}[$__rate_interval])", self.select(metric))
    }

    /// Returns the rate of a histogram's buckets, summed over everything but the bound.
    pub(crate) fn bucket_rate(self, metric: &Metric) -> String {
        let buckets = self.selector(&format!("{}_bucket", metric.name), metric.labels, &[]);
        format!("sum by (le) (rate({buckets}[$__rate_interval]))")
    }

    /// Returns how many observations fell into each bucket of a histogram since the last point.
    pub(crate) fn bucket_increase(self, metric: &Metric) -> String {
        let buckets = self.selector(&format!("{}_bucket", metric.name), metric.labels, &[]);
        format!("sum by (le) (increase({buckets}[$__rate_interval]))")
    }

    fn selector(self, name: &str, labels: &[Label], matchers: &[String]) -> String {
        let mut all = vec![r#"job=~"$job""#.to_owned(), r#"instance=~"$instance""#.to_owned()];
        if self == Self::Model {
            all.extend(labels.iter().filter_map(|label| chosen(*label)).map(str::to_owned));
        }
        all.extend_from_slice(matchers);
        format!("{name}{{{}}}", all.join(", "))
    }
}

/// The matcher of a label that the model dashboard has a variable for.
fn chosen(label: Label) -> Option<&'static str> {
    match label {
        Label::Model => Some(r#"model="$model""#),
        Label::ModelVersion => Some(r#"model_version="$model_version""#),
        Label::Segment => Some(r#"segment="$segment""#),
        Label::Window => Some(r#"window="$window""#),
        Label::Feature => Some(r#"feature=~"$feature""#),
        Label::Bound
        | Label::Code
        | Label::Detector
        | Label::Kind
        | Label::Method
        | Label::Outcome
        | Label::Output
        | Label::Owner
        | Label::Partition
        | Label::Policy
        | Label::Reason
        | Label::Reference
        | Label::Result
        | Label::Route
        | Label::Side
        | Label::Simd
        | Label::State
        | Label::Topic
        | Label::Version => None,
    }
}

/// Replaces Grafana's variables, `$name` and `${name}`, in an expression.
///
/// Longer names first, so that `$model` does not take a piece of `$model_version`.
pub fn interpolate(expr: &str, values: &[(&str, &str)]) -> String {
    let mut values = values.to_vec();
    values.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    values.iter().fold(expr.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
    })
}

#[cfg(test)]
mod tests {
    use driftd_catalog::metric::{FEATURE_PSI, PREDICTIONS_TOTAL};

    use super::*;

    #[test]
    fn selectors_name_the_target_and_every_chosen_label() {
        assert_eq!(
            Scope::Model.select(&FEATURE_PSI),
            "driftd_feature_psi{job=~\"$job\", instance=~\"$instance\", model=\"$model\", \
             model_version=\"$model_version\", segment=\"$segment\", window=\"$window\", \
             feature=~\"$feature\"}"
        );
        assert_eq!(
            Scope::Fleet.rate(&PREDICTIONS_TOTAL),
            "rate(driftd_predictions_total{job=~\"$job\", instance=~\"$instance\"}\
             [$__rate_interval])"
        );
    }

    #[test]
    fn variables_are_replaced_by_their_whole_name() {
        let values = [("model", "a"), ("model_version", "7"), ("__rate_interval", "5m")];
        assert_eq!(interpolate("$model_version/${model}", &values), "7/a");
        assert_eq!(interpolate("rate(x[$__rate_interval])", &values), "rate(x[5m])");
    }
}
