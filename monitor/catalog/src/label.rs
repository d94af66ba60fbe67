//! Label names of the metrics, and the closed sets of values that some of them take.
//!
//! Beside [`crate::metric`], which says which metric carries which label.

/// A label of a metric. What bounds its values stands at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// What of a value it is: `value` itself, or `lower` and `upper` of its interval.
    Bound,
    /// Status code of an HTTP answer.
    Code,
    /// Detector by its configuration name (`psi`, `ks`, …); a closed set.
    Detector,
    /// Feature by its configured name; the exported ones are capped.
    Feature,
    /// Class of a Kafka error, or what a change event says became of a row; two closed sets.
    Kind,
    /// HTTP method.
    Method,
    /// Model by its configured name.
    Model,
    /// Version of the model; the number tracked is capped.
    ModelVersion,
    /// What came of an attempt; a closed set ([`RETRAIN_OUTCOMES`],
    /// [`RETRAIN_JOB_OUTCOMES`], [`WRITTEN_OUTCOMES`], [`DEAD_LETTER_OUTCOMES`]).
    Outcome,
    /// Prediction (model output) by its configured name.
    Output,
    /// What memory is used for; a closed set ([`MemoryOwner`]).
    Owner,
    /// Number of a source partition.
    Partition,
    /// Retraining policy by its configured name.
    Policy,
    /// Why a record was rejected, half of one was left out ([`JOIN_REASONS`]), a label or its
    /// prediction was, a field has no value, or a partition is read no more; closed sets.
    Reason,
    /// Identity of the reference in use: a short digest.
    Reference,
    /// State that an evaluation ended in ([`STATES`]).
    Result,
    /// Route template of the HTTP server, never a raw path.
    Route,
    /// `all`, or `name=value`; the number tracked is capped.
    Segment,
    /// Which half of a record: `request` or `response`.
    Side,
    /// Instruction set that counting uses: `avx2` or `scalar`.
    Simd,
    /// One of [`STATES`].
    State,
    /// Kafka topic, or the source's name when it is no topic.
    Topic,
    /// Version of the `driftd` binary.
    Version,
    /// Configured name of the windows, such as `1h` or `7d`; at most eight a model.
    Window,
}

impl Label {
    /// Returns the name of the label as exported.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Code => "code",
            Self::Detector => "detector",
            Self::Feature => "feature",
            Self::Kind => "kind",
            Self::Method => "method",
            Self::Model => "model",
            Self::ModelVersion => "model_version",
            Self::Outcome => "outcome",
            Self::Output => "output",
            Self::Owner => "owner",
            Self::Partition => "partition",
            Self::Policy => "policy",
            Self::Reason => "reason",
            Self::Reference => "reference",
            Self::Result => "result",
            Self::Route => "route",
            Self::Segment => "segment",
            Self::Side => "side",
            Self::Simd => "simd",
            Self::State => "state",
            Self::Topic => "topic",
            Self::Version => "version",
            Self::Window => "window",
        }
    }
}

/// A state of a feature, prediction or model: its label value and its number in state gauges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StateValue {
    /// Value of the labels `state` and `result`.
    pub label: &'static str,
    /// Sample of `driftd_*_drift_state`.
    pub number: f64,
}

/// Too few records to decide.
pub const STATE_INSUFFICIENT_DATA: StateValue =
    StateValue { label: "insufficient_data", number: 0.0 };
/// Nothing to compare with.
pub const STATE_NO_REFERENCE: StateValue = StateValue { label: "no_reference", number: 0.0 };
/// Decided: no drift beyond the configured effect.
pub const STATE_OK: StateValue = StateValue { label: "ok", number: 1.0 };
/// Decided: drifted.
pub const STATE_DRIFTED: StateValue = StateValue { label: "drifted", number: 2.0 };
/// The values themselves are broken (missing, not numbers): drift cannot be judged.
pub const STATE_BROKEN_DATA: StateValue = StateValue { label: "broken_data", number: 3.0 };

/// All states. Numbers grow with urgency, so that `max by (model)` is the state to act on:
/// 0 not decided, 1 ok, 2 drifted (a ticket), 3 broken data (a page).
pub const STATES: [StateValue; 5] =
    [STATE_INSUFFICIENT_DATA, STATE_NO_REFERENCE, STATE_OK, STATE_DRIFTED, STATE_BROKEN_DATA];

/// A retraining event was acknowledged by the broker.
pub const OUTCOME_PUBLISHED: &str = "published";
/// A retraining event was held back by cooldown or a request in flight.
pub const OUTCOME_SUPPRESSED: &str = "suppressed";
/// A record or event could not be delivered, or a job did not end well.
pub const OUTCOME_FAILED: &str = "failed";
/// A retraining job ended well.
pub const OUTCOME_SUCCEEDED: &str = "succeeded";
/// Values of `outcome` in [`crate::metric::RETRAIN_EVENTS_TOTAL`].
pub const RETRAIN_OUTCOMES: [&str; 3] = [OUTCOME_PUBLISHED, OUTCOME_SUPPRESSED, OUTCOME_FAILED];
/// Values of `outcome` in [`crate::metric::RETRAIN_JOBS_TOTAL`].
pub const RETRAIN_JOB_OUTCOMES: [&str; 2] = [OUTCOME_SUCCEEDED, OUTCOME_FAILED];
/// A message is larger than its topic takes, or than the client sends.
pub const OUTCOME_TOO_LARGE: &str = "too_large";
/// Values of `outcome` in [`crate::metric::RESULT_LINES_TOTAL`].
pub const WRITTEN_OUTCOMES: [&str; 2] = [OUTCOME_PUBLISHED, OUTCOME_FAILED];
/// Values of `outcome` in [`crate::metric::DEAD_LETTER_RECORDS_TOTAL`].
pub const DEAD_LETTER_OUTCOMES: [&str; 3] = [OUTCOME_PUBLISHED, OUTCOME_TOO_LARGE, OUTCOME_FAILED];

/// The other half did not come in time.
pub const REASON_EXPIRED: &str = "expired";
/// It made room for later ones.
pub const REASON_EVICTED: &str = "evicted";
/// One like it waited already.
pub const REASON_DUPLICATE: &str = "duplicate";
/// It waited in the stored state when a start came upon it that joins otherwise, or not at all, or
/// whose partition begins anew.
pub const REASON_LEFT_BEHIND: &str = "left_behind";
/// Values of `reason` in [`crate::metric::JOIN_LEFT_OUT_TOTAL`].
pub const JOIN_REASONS: [&str; 4] =
    [REASON_EXPIRED, REASON_EVICTED, REASON_DUPLICATE, REASON_LEFT_BEHIND];

/// What memory is used for: values of the label `owner`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryOwner {
    /// The program itself: code, threads, clients, what the allocator holds back.
    Base,
    /// Messages that consumer threads have fetched and not read yet.
    FetchQueues,
    /// Records that are decoded and not counted yet.
    Batches,
    /// Requests and responses that wait for their other half.
    Joins,
    /// Predictions and labels that are not stored yet, and what is counted of all of them.
    Labels,
    /// Windows that partitions are being counted into.
    WindowsReading,
    /// Windows that wait for other partitions.
    WindowsWaiting,
    /// Closed panes that windows are made of.
    Panes,
    /// Counts on their way to the store or to another process.
    Checkpoints,
    /// Closed windows that are shown.
    History,
    /// Reference profiles in use.
    References,
    /// What was decided and is not sent yet.
    Outbox,
    /// Messages that the brokers have not answered for.
    ProducerQueues,
    /// Cache and write buffers of the store.
    Store,
    /// Connections and answers.
    Http,
}

impl MemoryOwner {
    /// All owners.
    pub const ALL: [Self; 15] = [
        Self::Base,
        Self::FetchQueues,
        Self::Batches,
        Self::Joins,
        Self::Labels,
        Self::WindowsReading,
        Self::WindowsWaiting,
        Self::Panes,
        Self::Checkpoints,
        Self::History,
        Self::References,
        Self::Outbox,
        Self::ProducerQueues,
        Self::Store,
        Self::Http,
    ];

    /// Returns the value of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::FetchQueues => "fetch_queues",
            Self::Batches => "batches",
            Self::Joins => "joins",
            Self::Labels => "labels",
            Self::WindowsReading => "windows_reading",
            Self::WindowsWaiting => "windows_waiting",
            Self::Panes => "panes",
            Self::Checkpoints => "checkpoints",
            Self::History => "history",
            Self::References => "references",
            Self::Outbox => "outbox",
            Self::ProducerQueues => "producer_queues",
            Self::Store => "store",
            Self::Http => "http",
        }
    }
}
