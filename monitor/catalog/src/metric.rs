//! Every metric that `driftd` exports: name, kind, labels and help, spelled once.
//!
//! The scrape renders these constants, the dashboards and alert rules query them, and the
//! documentation lists them. A metric that is not in [`METRICS`] does not exist.
//!
//! Rules held here: base units; `_total` only on counters; one quantity a name; every label has a
//! bounded set of values. A value that is not known (too little data, no reference) is *absent*
//! from the scrape; it is never exported as 0 and never kept from an older window.
//! Counters with a fixed label set are exported as 0 before their first increment, because `rate`
//! cannot see a counter that appears with a value.

#![expect(missing_docs, reason = "the help of each metric is its documentation")]

mod all;
mod performance;

pub use self::all::METRICS;
pub use self::performance::*;
use crate::label::Label;

/// A metric family as the scrape exports it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Full name, with the prefix `driftd_` (`process_` where all Prometheus clients have one name)
    /// and, for counters, the suffix `_total`.
    pub name: &'static str,
    /// What the samples mean.
    pub kind: MetricKind,
    /// Label names, in the order in which the scrape takes their values.
    pub labels: &'static [Label],
    /// One sentence for people, with the unit.
    pub help: &'static str,
}

/// What the samples of a [`Metric`] mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricKind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of observations below each upper bound, with their sum.
    Histogram {
        /// Finite upper bounds, increasing; `+Inf` is implied.
        buckets: &'static [f64],
    },
}

impl MetricKind {
    /// Returns the word after `# TYPE name`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram { .. } => "histogram",
        }
    }
}

const MODEL: &[Label] = &[Label::Model, Label::ModelVersion];
const MODEL_WINDOW: &[Label] = &[Label::Model, Label::Window];
const WINDOW: &[Label] = &[Label::Model, Label::ModelVersion, Label::Segment, Label::Window];
const WINDOW_FEATURE: &[Label] =
    &[Label::Model, Label::ModelVersion, Label::Segment, Label::Window, Label::Feature];
const WINDOW_FEATURE_DETECTOR: &[Label] = &[
    Label::Model,
    Label::ModelVersion,
    Label::Segment,
    Label::Window,
    Label::Feature,
    Label::Detector,
];
const WINDOW_OUTPUT: &[Label] =
    &[Label::Model, Label::ModelVersion, Label::Segment, Label::Window, Label::Output];
const WINDOW_RESULT: &[Label] =
    &[Label::Model, Label::ModelVersion, Label::Segment, Label::Window, Label::Result];
const WINDOW_STATE: &[Label] =
    &[Label::Model, Label::ModelVersion, Label::Segment, Label::Window, Label::State];
const TOPIC: &[Label] = &[Label::Topic];
const OWNER: &[Label] = &[Label::Owner];
const PARTITION: &[Label] = &[Label::Topic, Label::Partition];

/// Bounds of [`EVALUATED_FEATURE_DRIFT_SCORE`]; dense around 1, the threshold.
pub const SCORE_BUCKETS: &[f64] = &[0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0];
/// Bounds of [`EVALUATION_DURATION_SECONDS`]: one window of 1,000 features is expected near 10 ms.
pub const EVALUATION_DURATION_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
/// Bounds of [`HTTP_REQUEST_DURATION_SECONDS`]: a scrape of 1,000 features is to stay below 50 ms.
pub const HTTP_DURATION_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

const fn counter(name: &'static str, labels: &'static [Label], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [Label], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, labels, help }
}

const fn histogram(
    buckets: &'static [f64],
    name: &'static str,
    labels: &'static [Label],
    help: &'static str,
) -> Metric {
    Metric { name, kind: MetricKind::Histogram { buckets }, labels, help }
}

// Identity.
pub const BUILD_INFO: Metric = gauge(
    "driftd_build_info",
    &[Label::Version, Label::Simd],
    "Always 1; the running version and the instruction set that counting uses.",
);
pub const MODEL_INFO: Metric = gauge(
    "driftd_model_info",
    &[Label::Model, Label::ModelVersion, Label::Reference],
    "Always 1; the reference that a model version is compared with.",
);
pub const MODEL_VERSION_ACTIVATED_TIMESTAMP_SECONDS: Metric = gauge(
    "driftd_model_version_activated_timestamp_seconds",
    MODEL,
    "Event time of the first record of a model version, in seconds since the epoch.",
);
pub const REFERENCE_CREATED_TIMESTAMP_SECONDS: Metric = gauge(
    "driftd_reference_created_timestamp_seconds",
    MODEL,
    "Time at which the reference was built, in seconds since the epoch.",
);
pub const REFERENCE_ROWS: Metric =
    gauge("driftd_reference_rows", MODEL, "Records that the reference was built from.");

// Input.
pub const RECORDS_CONSUMED_TOTAL: Metric = counter(
    "driftd_records_consumed_total",
    TOPIC,
    "Messages read from the source, decodable or not; those that are read again after a process \
     was replaced, again.",
);
pub const CONSUMED_BYTES_TOTAL: Metric = counter(
    "driftd_consumed_bytes_total",
    TOPIC,
    "Payload bytes of the messages read from the source.",
);
pub const RECORDS_REJECTED_TOTAL: Metric = counter(
    "driftd_records_rejected_total",
    &[Label::Topic, Label::Reason],
    "Messages that are no valid record, by reason.",
);
pub const CHANGES_SKIPPED_TOTAL: Metric = counter(
    "driftd_changes_skipped_total",
    &[Label::Topic, Label::Kind],
    "Change events that bring no new row, and are no records, by what became of the row.",
);
pub const FIELDS_CHANGED: Metric = gauge(
    "driftd_fields_changed",
    &[Label::Topic, Label::Reason],
    "Fields that the newest records come without though the reference has them (absent), or with \
     something else in them (unreadable).",
);
pub const DEAD_LETTER_RECORDS_TOTAL: Metric = counter(
    "driftd_dead_letter_records_total",
    &[Label::Topic, Label::Outcome],
    "Rejected messages handed to the dead-letter topic, by outcome.",
);
pub const CLAMPED_TIMESTAMPS_TOTAL: Metric = counter(
    "driftd_clamped_timestamps_total",
    TOPIC,
    "Records whose event time was implausible and was held to the message time.",
);
pub const RECORDS_OVER_LIMIT_TOTAL: Metric = counter(
    "driftd_records_over_limit_total",
    TOPIC,
    "Valid records left out because a model had too many versions, segments or open windows.",
);
pub const JOINED_PAIRS_TOTAL: Metric = counter(
    "driftd_joined_pairs_total",
    TOPIC,
    "Requests that were joined with their response, whether or not the two are a valid record.",
);
pub const JOIN_LEFT_OUT_TOTAL: Metric = counter(
    "driftd_join_left_out_total",
    &[Label::Topic, Label::Side, Label::Reason],
    "Requests and responses that were not joined, by side and reason.",
);
pub const JOIN_WAITING: Metric =
    gauge("driftd_join_waiting", TOPIC, "Requests and responses that wait for their other half.");
pub const JOIN_WAITING_BYTES: Metric =
    gauge("driftd_join_waiting_bytes", TOPIC, "What those that wait take, in bytes.");
pub const PREDICTIONS_TOTAL: Metric =
    counter("driftd_predictions_total", MODEL, "Valid records of a model version.");
pub const LATE_RECORDS_TOTAL: Metric = counter(
    "driftd_late_records_total",
    MODEL,
    "Valid records that came after their window had been closed for good.",
);
pub const LAST_RECORD_TIMESTAMP_SECONDS: Metric = gauge(
    "driftd_last_record_timestamp_seconds",
    MODEL,
    "Event time of the newest record, in seconds since the epoch.",
);

// Source.
pub const KAFKA_CONSUMER_LAG_RECORDS: Metric = gauge(
    "driftd_kafka_consumer_lag_records",
    PARTITION,
    "Messages in the partition that have not been read yet.",
);
pub const KAFKA_CONSUMER_LAG_SECONDS: Metric = gauge(
    "driftd_kafka_consumer_lag_seconds",
    PARTITION,
    "Age of the partition's watermark while it holds records that are not read; else 0.",
);
pub const KAFKA_CONSUMER_NEXT_OFFSET: Metric =
    gauge("driftd_kafka_consumer_next_offset", PARTITION, "Offset that is read next.");
pub const KAFKA_ASSIGNED_PARTITIONS: Metric =
    gauge("driftd_kafka_assigned_partitions", TOPIC, "Partitions that this process reads.");
pub const KAFKA_STALLED_PARTITIONS: Metric = gauge(
    "driftd_kafka_stalled_partitions",
    TOPIC,
    "Partitions that this process owns and does not read, for a reason that readiness tells.",
);
pub const KAFKA_ABANDONED_CALLS: Metric = gauge(
    "driftd_kafka_abandoned_calls",
    &[],
    "Calls of the Kafka client that have not come back; the process ends when there are 8.",
);
pub const KAFKA_PARTITION_STALLED: Metric = gauge(
    "driftd_kafka_partition_stalled",
    &[Label::Topic, Label::Partition, Label::Reason],
    "1 when the partition is read no more until a person decides: its next records are lost.",
);
pub const LANES: Metric = gauge(
    "driftd_lanes",
    &[],
    "Lanes over which models are spread, where several processes share the work.",
);
pub const LANES_OWNED: Metric = gauge(
    "driftd_lanes_owned",
    &[],
    "Lanes whose models this process decides about, where several share the work.",
);
pub const LANE_LAG_ROWS: Metric = gauge(
    "driftd_lane_lag_rows",
    PARTITION,
    "Rows of counts that readers have passed on to a lane and its owner has not taken yet.",
);
pub const LEFT_OUT_COUNTS_TOTAL: Metric = counter(
    "driftd_left_out_counts_total",
    &[],
    "Counts of a window in a partition that could not be added, because another process is \
     configured otherwise or a reference profile is not here; such windows are incomplete.",
);
pub const KAFKA_REBALANCES_TOTAL: Metric =
    counter("driftd_kafka_rebalances_total", &[], "Changes of the partition assignment.");
pub const KAFKA_ERRORS_TOTAL: Metric = counter(
    "driftd_kafka_errors_total",
    &[Label::Kind],
    "Errors that the Kafka client reported, by kind.",
);
pub const SOURCE_WATERMARK_TIMESTAMP_SECONDS: Metric = gauge(
    "driftd_source_watermark_timestamp_seconds",
    PARTITION,
    "Event time up to which the partition is complete, in seconds since the epoch.",
);
pub const SOURCE_PARTITION_IDLE: Metric = gauge(
    "driftd_source_partition_idle",
    PARTITION,
    "1 when the partition is read up to its end and silent, so that windows do not wait for it.",
);
pub const SOURCE_PARTITION_PAUSED: Metric = gauge(
    "driftd_source_partition_paused",
    PARTITION,
    "1 when reading is paused because the partition ran ahead of the others.",
);

// Evaluation.
pub const EVALUATIONS_TOTAL: Metric = counter(
    "driftd_evaluations_total",
    WINDOW_RESULT,
    "Closed windows that were evaluated, by the state of the model in them.",
);
pub const EVALUATION_DURATION_SECONDS: Metric = histogram(
    EVALUATION_DURATION_BUCKETS,
    "driftd_evaluation_duration_seconds",
    &[],
    "Processing time of evaluating one closed window.",
);
pub const LAST_EVALUATION_TIMESTAMP_SECONDS: Metric = gauge(
    "driftd_last_evaluation_timestamp_seconds",
    WINDOW,
    "Processing time of the last evaluation, in seconds since the epoch.",
);
pub const MODEL_LAST_EVALUATION_TIMESTAMP_SECONDS: Metric = gauge(
    "driftd_model_last_evaluation_timestamp_seconds",
    MODEL_WINDOW,
    "Processing time at which a configured model was last judged, or of the start until it was.",
);
pub const MODEL_EVALUATION_INTERVAL_SECONDS: Metric = gauge(
    "driftd_model_evaluation_interval_seconds",
    MODEL_WINDOW,
    "Event time between the ends of two windows by which a configured model is judged.",
);
pub const EVALUATION_INTERVAL_SECONDS: Metric = gauge(
    "driftd_evaluation_interval_seconds",
    WINDOW,
    "Event time between the ends of two windows by which the model is judged.",
);
pub const WINDOW_START_TIMESTAMP_SECONDS: Metric = gauge(
    "driftd_window_start_timestamp_seconds",
    WINDOW,
    "Start of the last evaluated window in event time, in seconds since the epoch.",
);
pub const WINDOW_END_TIMESTAMP_SECONDS: Metric = gauge(
    "driftd_window_end_timestamp_seconds",
    WINDOW,
    "End of the last evaluated window in event time, in seconds since the epoch.",
);
pub const WINDOW_ROWS: Metric =
    gauge("driftd_window_rows", WINDOW, "Records in the last evaluated window.");
pub const WINDOW_MIN_ROWS: Metric =
    gauge("driftd_window_min_rows", WINDOW, "Records that a window needs before drift is judged.");
pub const WINDOWS_OPEN: Metric = gauge(
    "driftd_windows_open",
    MODEL,
    "Panes of a model version that wait for records or partitions, segments not counted each.",
);
pub const WINDOWS_OPEN_MAX: Metric = gauge(
    "driftd_windows_open_max",
    MODEL,
    "Configured bound on the panes that one partition holds open for a model version.",
);
pub const SEGMENTS: Metric = gauge(
    "driftd_segments",
    MODEL,
    "Segments of a model version that a window was evaluated of, besides that of all records.",
);
pub const SEGMENTS_MAX: Metric = gauge(
    "driftd_segments_max",
    MODEL,
    "Configured bound on the segments of a model version, besides that of all records.",
);
pub const WINDOWS_INCOMPLETE_TOTAL: Metric = counter(
    "driftd_windows_incomplete_total",
    WINDOW,
    "Judging windows closed before every partition had passed their end.",
);

// Drift.
pub const MODEL_DRIFT_STATE: Metric = gauge(
    "driftd_model_drift_state",
    WINDOW,
    "State of the model after hysteresis: 0 not decided, 1 ok, 2 drifted, 3 broken data.",
);
pub const MODEL_DRIFT_STATE_SINCE_TIMESTAMP_SECONDS: Metric = gauge(
    "driftd_model_drift_state_since_timestamp_seconds",
    WINDOW,
    "Start of the first window of the present state in event time, in seconds since the epoch.",
);
pub const FEATURES: Metric = gauge(
    "driftd_features",
    WINDOW_STATE,
    "Features in each state in the last evaluated window; their sum is the number monitored.",
);
pub const MAX_FEATURE_DRIFT_SCORE: Metric = gauge(
    "driftd_max_feature_drift_score",
    WINDOW,
    "Largest drift score of a feature in the last evaluated window.",
);
pub const EVALUATED_FEATURE_DRIFT_SCORE: Metric = histogram(
    SCORE_BUCKETS,
    "driftd_evaluated_feature_drift_score",
    WINDOW,
    "Drift scores of all features, one observation a feature and window.",
);
pub const FEATURE_DRIFT_SCORE: Metric = gauge(
    "driftd_feature_drift_score",
    WINDOW_FEATURE,
    "Statistic divided by its effective threshold; above 1 is drift.",
);
pub const FEATURE_DRIFT_STATE: Metric = gauge(
    "driftd_feature_drift_state",
    WINDOW_FEATURE,
    "State of the feature: 0 not decided, 1 ok, 2 drifted, 3 broken data.",
);
pub const FEATURE_PSI: Metric = gauge(
    "driftd_feature_psi",
    WINDOW_FEATURE,
    "Population stability index against the reference.",
);
pub const FEATURE_KS_STATISTIC: Metric = gauge(
    "driftd_feature_ks_statistic",
    WINDOW_FEATURE,
    "Two-sample Kolmogorov-Smirnov statistic against the reference, 0 to 1.",
);
pub const FEATURE_JS_DIVERGENCE_NATS: Metric = gauge(
    "driftd_feature_js_divergence_nats",
    WINDOW_FEATURE,
    "Jensen-Shannon divergence from the reference in nats, 0 to ln 2.",
);
pub const FEATURE_KL_DIVERGENCE_NATS: Metric = gauge(
    "driftd_feature_kl_divergence_nats",
    WINDOW_FEATURE,
    "Kullback-Leibler divergence of the current values from the reference in nats.",
);
pub const FEATURE_CHI2_STATISTIC: Metric = gauge(
    "driftd_feature_chi2_statistic",
    WINDOW_FEATURE,
    "Pearson chi-squared statistic of homogeneity with the reference.",
);
pub const FEATURE_EFFECTIVE_THRESHOLD: Metric = gauge(
    "driftd_feature_effective_threshold",
    WINDOW_FEATURE_DETECTOR,
    "Value of the deciding detector's statistic at which the drift score is 1.",
);
pub const FEATURE_P_VALUE: Metric = gauge(
    "driftd_feature_p_value",
    WINDOW_FEATURE_DETECTOR,
    "P-value of the deciding detector, adjusted for the number of features.",
);
pub const PREDICTION_DRIFT_SCORE: Metric = gauge(
    "driftd_prediction_drift_score",
    WINDOW_OUTPUT,
    "Statistic of a prediction divided by its effective threshold; above 1 is drift.",
);
pub const PREDICTION_DRIFT_STATE: Metric = gauge(
    "driftd_prediction_drift_state",
    WINDOW_OUTPUT,
    "State of the prediction: 0 not decided, 1 ok, 2 drifted, 3 broken data.",
);
pub const FEATURE_SERIES_DROPPED: Metric = gauge(
    "driftd_feature_series_dropped",
    MODEL,
    "Features without series of their own, because the cap on series is reached.",
);

// Data quality.
pub const FEATURE_MISSING_RATIO: Metric = gauge(
    "driftd_feature_missing_ratio",
    WINDOW_FEATURE,
    "Share of records in which the feature is absent, null or not a finite number, 0 to 1.",
);
pub const FEATURE_UNSEEN_CATEGORY_RATIO: Metric = gauge(
    "driftd_feature_unseen_category_ratio",
    WINDOW_FEATURE,
    "Share of present values that are a category the reference does not have, 0 to 1.",
);
pub const FEATURE_OUT_OF_RANGE_RATIO: Metric = gauge(
    "driftd_feature_out_of_range_ratio",
    WINDOW_FEATURE,
    "Share of present values outside the range of the reference, 0 to 1.",
);

// Output.
pub const EPISODES_OPEN: Metric = gauge(
    "driftd_episodes_open",
    &[Label::Model, Label::ModelVersion, Label::Segment],
    "Drift episodes of features that are open after hysteresis.",
);
pub const RETRAIN_EVENTS_TOTAL: Metric = counter(
    "driftd_retrain_events_total",
    &[Label::Model, Label::ModelVersion, Label::Policy, Label::Outcome],
    "Retraining requests by outcome: published, suppressed (cooldown, in flight) or failed.",
);
pub const LAST_RETRAIN_EVENT_TIMESTAMP_SECONDS: Metric = gauge(
    "driftd_last_retrain_event_timestamp_seconds",
    MODEL,
    "Processing time of the last published retraining event, in seconds since the epoch.",
);
pub const RETRAIN_JOBS_TOTAL: Metric = counter(
    "driftd_retrain_jobs_total",
    &[Label::Outcome],
    "Retraining jobs reported as ended, by outcome: succeeded or failed.",
);

pub const RESULT_LINES_TOTAL: Metric = counter(
    "driftd_result_lines_total",
    &[Label::Outcome],
    "Lines handed to the results topic, by outcome: published or failed.",
);

pub const OUTBOX_MESSAGES: Metric = gauge(
    "driftd_outbox_messages",
    &[],
    "Lines of results and retraining events that are decided and wait to be sent.",
);
pub const OUTBOX_BYTES: Metric =
    gauge("driftd_outbox_bytes", &[], "Memory of what waits to be sent.");
pub const OUTBOX_BYTES_MAX: Metric = gauge(
    "driftd_outbox_bytes_max",
    &[],
    "Bound on the memory of what waits to be sent; beyond it nothing is read.",
);

// Self.
pub const PIPELINE_QUEUE_BATCHES: Metric =
    gauge("driftd_pipeline_queue_batches", &[], "Decoded batches that wait for the pipeline.");
pub const PIPELINE_QUEUE_BATCHES_MAX: Metric =
    gauge("driftd_pipeline_queue_batches_max", &[], "Bound on the decoded batches that may wait.");
pub const STATE_BYTES: Metric = gauge("driftd_state_bytes", &[], "Memory held by window counts.");
pub const MEMORY_BUDGET_BYTES: Metric = gauge(
    "driftd_memory_budget_bytes",
    OWNER,
    "Memory that the configuration is expected to take at most, by what it is used for.",
);
pub const MEMORY_BYTES: Metric = gauge(
    "driftd_memory_bytes",
    OWNER,
    "Memory in use, by what it is used for, where that is measured.",
);
pub const MEMORY_LIMIT_BYTES: Metric = gauge(
    "driftd_memory_limit_bytes",
    &[],
    "Memory that the process may use: as configured, or as the system allows.",
);
pub const STATE_STORED_TIMESTAMP_SECONDS: Metric = gauge(
    "driftd_state_stored_timestamp_seconds",
    &[],
    "Processing time at which state was last stored, in seconds since the epoch.",
);
pub const TRACKED_FEATURES: Metric =
    gauge("driftd_tracked_features", &[], "Features and predictions monitored over all models.");
pub const HTTP_REQUESTS_TOTAL: Metric = counter(
    "driftd_http_requests_total",
    &[Label::Route, Label::Method, Label::Code],
    "HTTP requests answered.",
);
pub const HTTP_REQUEST_DURATION_SECONDS: Metric = histogram(
    HTTP_DURATION_BUCKETS,
    "driftd_http_request_duration_seconds",
    &[Label::Route],
    "Time from the request to the end of the answer.",
);

// The process, by the names that every Prometheus client library uses.
pub const PROCESS_RESIDENT_MEMORY_BYTES: Metric =
    gauge("process_resident_memory_bytes", &[], "Resident memory size in bytes.");
pub const PROCESS_CPU_SECONDS_TOTAL: Metric =
    counter("process_cpu_seconds_total", &[], "Total user and system CPU time spent in seconds.");
pub const PROCESS_START_TIME_SECONDS: Metric = gauge(
    "process_start_time_seconds",
    &[],
    "Start time of the process since the epoch in seconds.",
);
pub const PROCESS_OPEN_FDS: Metric =
    gauge("process_open_fds", &[], "Number of open file descriptors.");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_unique_and_prefixed() {
        let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for name in names {
            let body = ["driftd_", "process_"].iter().find_map(|it| name.strip_prefix(it));
            let body = body.expect("the prefix");
            assert!(body.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
        }
    }

    #[test]
    fn only_counters_end_in_total() {
        for metric in METRICS {
            let total = metric.name.ends_with("_total");
            assert_eq!(total, metric.kind == MetricKind::Counter, "{}", metric.name);
        }
    }

    #[test]
    fn help_is_one_sentence() {
        for metric in METRICS {
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert!(metric.help.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit()));
            assert!(!metric.help.contains(['\n', '\\']), "{}", metric.name);
        }
    }

    #[test]
    fn labels_are_unique_and_not_reserved() {
        for metric in METRICS {
            let labels: BTreeSet<_> = metric.labels.iter().map(|label| label.as_str()).collect();
            assert_eq!(labels.len(), metric.labels.len(), "{}", metric.name);
            for reserved in ["le", "quantile", "job", "instance"] {
                assert!(!labels.contains(reserved), "{} has `{reserved}`", metric.name);
            }
        }
    }

    #[test]
    fn buckets_increase() {
        for metric in METRICS {
            if let MetricKind::Histogram { buckets } = metric.kind {
                assert!(buckets.windows(2).all(|pair| pair[0] < pair[1]), "{}", metric.name);
            }
        }
    }
}
