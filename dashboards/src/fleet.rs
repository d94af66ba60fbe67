//! The fleet dashboard: which model needs a look, and is the monitor itself well?
//!
//! Before: [`crate::panel`]. After: `dashboards/grafana/driftd-fleet.json`; the table of models
//! leads on to [`crate::model`].

use driftd_catalog::label::{
    STATE_BROKEN_DATA, STATE_DRIFTED, STATE_INSUFFICIENT_DATA, STATE_OK, StateValue,
};
use driftd_catalog::metric::{
    BUILD_INFO, CHANGES_SKIPPED_TOTAL, CLAMPED_TIMESTAMPS_TOTAL, CONSUMED_BYTES_TOTAL,
    DEAD_LETTER_RECORDS_TOTAL, EPISODES_OPEN, EVALUATION_DURATION_SECONDS,
    EVALUATION_INTERVAL_SECONDS, EVALUATIONS_TOTAL, FEATURE_SERIES_DROPPED, FIELDS_CHANGED,
    HTTP_REQUEST_DURATION_SECONDS, HTTP_REQUESTS_TOTAL, JOIN_LEFT_OUT_TOTAL, JOIN_WAITING,
    JOIN_WAITING_BYTES, JOINED_PAIRS_TOTAL, KAFKA_ABANDONED_CALLS, KAFKA_ASSIGNED_PARTITIONS,
    KAFKA_CONSUMER_LAG_RECORDS, KAFKA_CONSUMER_LAG_SECONDS, KAFKA_CONSUMER_NEXT_OFFSET,
    KAFKA_ERRORS_TOTAL, KAFKA_PARTITION_STALLED, KAFKA_REBALANCES_TOTAL, KAFKA_STALLED_PARTITIONS,
    LANE_LAG_ROWS, LANES, LANES_OWNED, LAST_EVALUATION_TIMESTAMP_SECONDS, LATE_RECORDS_TOTAL,
    LEFT_OUT_COUNTS_TOTAL, MAX_FEATURE_DRIFT_SCORE, MEMORY_BUDGET_BYTES, MEMORY_BYTES,
    MEMORY_LIMIT_BYTES, MODEL_DRIFT_STATE, Metric, OUTBOX_BYTES, OUTBOX_BYTES_MAX, OUTBOX_MESSAGES,
    PIPELINE_QUEUE_BATCHES, PIPELINE_QUEUE_BATCHES_MAX, PREDICTIONS_TOTAL,
    PROCESS_CPU_SECONDS_TOTAL, PROCESS_OPEN_FDS, PROCESS_RESIDENT_MEMORY_BYTES,
    PROCESS_START_TIME_SECONDS, RECORDS_CONSUMED_TOTAL, RECORDS_OVER_LIMIT_TOTAL,
    RECORDS_REJECTED_TOTAL, RESULT_LINES_TOTAL, RETRAIN_EVENTS_TOTAL, RETRAIN_JOBS_TOTAL, SEGMENTS,
    SEGMENTS_MAX, SOURCE_PARTITION_IDLE, SOURCE_PARTITION_PAUSED,
    SOURCE_WATERMARK_TIMESTAMP_SECONDS, STATE_BYTES, STATE_STORED_TIMESTAMP_SECONDS,
    TRACKED_FEATURES, WINDOW_END_TIMESTAMP_SECONDS, WINDOW_ROWS, WINDOWS_INCOMPLETE_TOTAL,
    WINDOWS_OPEN, WINDOWS_OPEN_MAX,
};

use crate::dashboard::{Choice, Dashboard, Variable};
use crate::layout::Layout;
use crate::panel::{self, Panel, Series};
use crate::query::Scope;

const FLEET: Scope = Scope::Fleet;
const BY_MODEL: &str = "by (model, model_version)";
const BY_WINDOW: &str = "by (model, model_version, segment, window)";
const SAME_WINDOW: &str = "on (job, instance, model, model_version, segment, window)";
const BY_PARTITION: &str = "by (topic, partition)";

/// Opens the model dashboard on the row's model, with the same data source and time.
const MODEL_LINK: &str = "/d/driftd-model?${datasource:queryparam}\
    &var-model=${__data.fields.model}&var-model_version=${__data.fields.model_version}\
    &var-segment=${__data.fields.segment}&var-window=${__data.fields.window}&${__url_time_range}";

pub(crate) fn dashboard() -> Dashboard {
    let mut layout = Layout::default();
    models(&mut layout);
    input(&mut layout);
    source(&mut layout);
    pipeline(&mut layout);
    outside(&mut layout);
    process(&mut layout);
    Dashboard {
        uid: "driftd-fleet",
        title: "driftd / Fleet",
        description: "Which model needs a look, and is the monitor itself well?",
        variables: targets(),
        annotations: Vec::new(),
        layout,
    }
}

/// The variables that choose the scrape targets.
pub(crate) fn targets() -> Vec<Variable> {
    vec![
        Variable {
            name: "job",
            label: "Job",
            selector: BUILD_INFO.name.to_owned(),
            choice: Choice::Many,
        },
        Variable {
            name: "instance",
            label: "Instance",
            selector: format!("{}{{job=~\"$job\"}}", BUILD_INFO.name),
            choice: Choice::Many,
        },
    ]
}

fn models(layout: &mut Layout) {
    layout.row("Models");
    for (state, title, description, color) in [
        (STATE_BROKEN_DATA, "Broken", "Models whose values themselves are broken.", "dark-purple"),
        (STATE_DRIFTED, "Drifted", "Models that drifted, after hysteresis.", "orange"),
        (
            STATE_INSUFFICIENT_DATA,
            "Not decided",
            "Models without enough records or reference.",
            "blue",
        ),
        (STATE_OK, "Ok", "Models that were judged and have not drifted.", "semi-dark-green"),
    ] {
        let series = vec![(models_in(state), "")];
        // From 1 on: a zero is nothing to look at.
        let panel = panel::stat(title, description, "none", series).with_limit(1.0, color);
        layout.add(6, 3, panel);
    }
    layout.add(24, 9, model_table());
    layout.add(12, 8, ribbons());
    layout.add(
        12,
        8,
        panel::time_series(
            "Largest drift score",
            "Largest score of a feature of each model; above the line is drift.",
            "none",
            vec![(
                format!(
                    "max {BY_MODEL} ({} and {SAME_WINDOW} {})",
                    FLEET.select(&MAX_FEATURE_DRIFT_SCORE),
                    // Only windows that decide have it.
                    FLEET.select(&MODEL_DRIFT_STATE)
                ),
                "{{model}} {{model_version}}",
            )],
        )
        .with_limit(1.0, "orange"),
    );
}

/// Counts models by their most urgent state; 0, not nothing, when there is none.
///
/// A replaced version keeps its last state for good: only what was evaluated in the last three
/// windows counts, by the clock of processing, as in the alert rules.
fn models_in(state: StateValue) -> String {
    let states = FLEET.select(&MODEL_DRIFT_STATE);
    let last = FLEET.select(&LAST_EVALUATION_TIMESTAMP_SECONDS);
    let interval = FLEET.select(&EVALUATION_INTERVAL_SECONDS);
    format!(
        "count(max by (model) ({states} and {SAME_WINDOW} \
         time() - {last} < 3 * {interval}) == {}) or vector(0)",
        state.number
    )
}

fn ribbons() -> Panel {
    panel::state_timeline(
        "State of models",
        "Most urgent state over segments and windows; a gap is a time without data.",
        vec![(
            format!("max {BY_MODEL} ({})", FLEET.select(&MODEL_DRIFT_STATE)),
            "{{model}} {{model_version}}",
        )],
    )
}

fn model_table() -> Panel {
    let newest = |metric| format!("max {BY_WINDOW} ({})", FLEET.select(metric));
    let episodes = "max by (model, model_version, segment)";
    panel::table(
        "Windows",
        "The newest window of each model, version and segment, replaced versions too. Window end is \
         event time.",
        vec![
            (newest(&MODEL_DRIFT_STATE), "State", "none"),
            (newest(&MAX_FEATURE_DRIFT_SCORE), "Largest score", "none"),
            (newest(&WINDOW_ROWS), "Records", "short"),
            (
                format!("{} * 1000", newest(&WINDOW_END_TIMESTAMP_SECONDS)),
                "Window end",
                "dateTimeAsIso",
            ),
            (
                format!("{} * 1000", newest(&LAST_EVALUATION_TIMESTAMP_SECONDS)),
                "Evaluated",
                "dateTimeFromNow",
            ),
            (format!("{episodes} ({})", FLEET.select(&EPISODES_OPEN)), "Open episodes", "none"),
        ],
    )
    .with_state_column("State")
    .with_link("model", "Open this model", MODEL_LINK)
    .sorted_by("State")
}

fn input(layout: &mut Layout) {
    layout.row("Input");
    let by_topic = |metric, legend| (format!("sum by (topic) ({})", FLEET.rate(metric)), legend);
    let panels = [
        panel::time_series(
            "Predictions per second",
            "Valid records of each model version.",
            "cps",
            vec![(
                format!("sum {BY_MODEL} ({})", FLEET.rate(&PREDICTIONS_TOTAL)),
                "{{model}} {{model_version}}",
            )],
        ),
        panel::time_series(
            "Messages per second",
            "Messages read from each topic, decodable or not.",
            "cps",
            vec![by_topic(&RECORDS_CONSUMED_TOTAL, "{{topic}}")],
        ),
        panel::time_series(
            "Bytes per second",
            "Payload bytes read from each topic.",
            "Bps",
            vec![by_topic(&CONSUMED_BYTES_TOTAL, "{{topic}}")],
        ),
    ];
    for panel in panels {
        layout.add(8, 7, panel);
    }
    set_aside(layout);
    joins(layout);
}

/// What of the input is not counted, and where it goes.
fn set_aside(layout: &mut Layout) {
    let by_topic = |metric, legend| (format!("sum by (topic) ({})", FLEET.rate(metric)), legend);
    let panels = [
        panel::time_series(
            "Rejected messages per second",
            "Messages that are no valid record, by topic and reason.",
            "cps",
            vec![(
                format!("sum by (topic, reason) ({})", FLEET.rate(&RECORDS_REJECTED_TOTAL)),
                "{{topic}}: {{reason}}",
            )],
        ),
        panel::time_series(
            "Changes passed over per second",
            "Change events of tables that bring no new row: updates, deletions and what follows \
             them. They are no records, and no mistake.",
            "cps",
            vec![(
                format!("sum by (topic, kind) ({})", FLEET.rate(&CHANGES_SKIPPED_TOTAL)),
                "{{topic}}: {{kind}}",
            )],
        ),
        panel::time_series(
            "Fields without values",
            "Fields that all newest records of a partition come without, or with something else.",
            "short",
            vec![(
                format!("max by (topic, reason) ({})", FLEET.select(&FIELDS_CHANGED)),
                "{{topic}}: {{reason}}",
            )],
        ),
        panel::time_series(
            "Records set aside per second",
            "Late for their window, with an implausible time, or over a bound.",
            "cps",
            vec![
                (
                    format!("sum {BY_MODEL} ({})", FLEET.rate(&LATE_RECORDS_TOTAL)),
                    "late: {{model}} {{model_version}}",
                ),
                by_topic(&CLAMPED_TIMESTAMPS_TOTAL, "clamped: {{topic}}"),
                by_topic(&RECORDS_OVER_LIMIT_TOTAL, "over limit: {{topic}}"),
            ],
        ),
        panel::time_series(
            "Messages written per second",
            "Rejected messages handed to the dead-letter topic and lines of results, by outcome.",
            "cps",
            vec![
                (
                    format!("sum by (topic, outcome) ({})", FLEET.rate(&DEAD_LETTER_RECORDS_TOTAL)),
                    "dead letters of {{topic}}: {{outcome}}",
                ),
                (
                    format!("sum by (outcome) ({})", FLEET.rate(&RESULT_LINES_TOTAL)),
                    "results: {{outcome}}",
                ),
            ],
        ),
    ];
    for panel in panels {
        layout.add(8, 7, panel);
    }
}

/// Requests and responses that are messages of their own, where a topic has them.
fn joins(layout: &mut Layout) {
    let by_topic = |metric, legend| (format!("sum by (topic) ({})", FLEET.rate(metric)), legend);
    let waiting =
        |metric| vec![(format!("sum by (topic) ({})", FLEET.select(metric)), "{{topic}}")];
    let panels = [
        panel::time_series(
            "Requests joined with responses per second",
            "Pairs of a request and its response, and those of either that were not joined: the \
             other half did not come in time, they made room for others, came twice, or a start \
             left them behind. Requests without a response are normal; where responses expire \
             too, the topic may not be keyed by the id.",
            "cps",
            vec![
                by_topic(&JOINED_PAIRS_TOTAL, "joined: {{topic}}"),
                (
                    format!("sum by (topic, side, reason) ({})", FLEET.rate(&JOIN_LEFT_OUT_TOTAL)),
                    "{{side}} {{reason}}: {{topic}}",
                ),
            ],
        ),
        panel::time_series(
            "Requests and responses that wait",
            "Requests and responses that wait for their other half.",
            "short",
            waiting(&JOIN_WAITING),
        ),
        panel::time_series(
            "Memory of those that wait",
            "What requests and responses take that wait for their other half.",
            "bytes",
            waiting(&JOIN_WAITING_BYTES),
        ),
    ];
    for panel in panels {
        layout.add(8, 7, panel);
    }
}

fn source(layout: &mut Layout) {
    layout.row("Source");
    layout.add(
        12,
        8,
        panel::time_series(
            "Consumer lag",
            "Messages that have not been read yet, by topic.",
            "short",
            vec![(
                format!("sum by (topic) ({})", FLEET.select(&KAFKA_CONSUMER_LAG_RECORDS)),
                "{{topic}}",
            )],
        ),
    );
    layout.add(
        12,
        8,
        panel::time_series(
            "Consumer lag in time",
            "Event time by which the slowest partition of each topic is behind, while it holds \
             messages that have not been read.",
            "s",
            vec![(
                format!("max by (topic) ({})", FLEET.select(&KAFKA_CONSUMER_LAG_SECONDS)),
                "{{topic}}",
            )],
        ),
    );
    layout.add(24, 8, partitions());
    layout.add(
        12,
        7,
        panel::time_series(
            "Assigned partitions and lanes",
            "Partitions that each process reads, and lanes whose models it decides about where \
             several processes share the work.",
            "none",
            vec![
                (
                    format!(
                        "sum by (instance, topic) ({})",
                        FLEET.select(&KAFKA_ASSIGNED_PARTITIONS)
                    ),
                    "{{instance}}: {{topic}}",
                ),
                (
                    format!("sum by (instance) ({})", FLEET.select(&LANES_OWNED)),
                    "{{instance}}: lanes",
                ),
                (format!("max by (job) ({})", FLEET.select(&LANES)), "lanes in all"),
            ],
        ),
    );
    layout.add(12, 7, passed_on());
    layout.add(
        12,
        7,
        panel::time_series(
            "Rebalances and client errors per second",
            "Changes of the assignment, and errors that the Kafka client reported.",
            "cps",
            vec![
                (format!("sum({})", FLEET.rate(&KAFKA_REBALANCES_TOTAL)), "rebalances"),
                (format!("sum by (kind) ({})", FLEET.rate(&KAFKA_ERRORS_TOTAL)), "{{kind}}"),
            ],
        ),
    );
    layout.add(12, 7, stalled());
}

fn stalled() -> Panel {
    panel::time_series(
        "Partitions that stand still",
        "Owned and not read; of those with lost records, why. `/readyz` names them.",
        "none",
        vec![
            (format!("sum by (topic) ({})", FLEET.select(&KAFKA_STALLED_PARTITIONS)), "{{topic}}"),
            (
                format!("sum by (topic, reason) ({})", FLEET.select(&KAFKA_PARTITION_STALLED)),
                "{{topic}}: {{reason}}",
            ),
            (
                format!("sum by (instance) ({})", FLEET.select(&KAFKA_ABANDONED_CALLS)),
                "{{instance}}: calls that do not come back",
            ),
        ],
    )
}

fn passed_on() -> Panel {
    panel::time_series(
        "Counts on their way between processes",
        "Rows that readers passed on and the owner of a lane has not taken yet, and counts \
             that could not be added: the processes are configured otherwise, or a reference \
             profile is missing.",
        "none",
        vec![
            (
                format!("sum by (partition) ({})", FLEET.select(&LANE_LAG_ROWS)),
                "lane {{partition}}",
            ),
            (
                format!("sum by (instance) ({})", FLEET.rate(&LEFT_OUT_COUNTS_TOTAL)),
                "{{instance}}: left out per second",
            ),
        ],
    )
}

fn partitions() -> Panel {
    let newest = |metric| format!("max {BY_PARTITION} ({})", FLEET.select(metric));
    panel::table(
        "Partitions",
        "A partition with an old watermark that is not idle holds all windows of its topic back.",
        vec![
            (newest(&KAFKA_CONSUMER_NEXT_OFFSET), "Next offset", "none"),
            (newest(&KAFKA_CONSUMER_LAG_RECORDS), "Lag", "short"),
            (newest(&KAFKA_CONSUMER_LAG_SECONDS), "Lag in time", "s"),
            (
                format!("{} * 1000", newest(&SOURCE_WATERMARK_TIMESTAMP_SECONDS)),
                "Watermark",
                "dateTimeAsIso",
            ),
            (newest(&SOURCE_PARTITION_IDLE), "Idle", "bool_yes_no"),
            (newest(&SOURCE_PARTITION_PAUSED), "Paused", "bool_yes_no"),
        ],
    )
}

fn outbox_bytes() -> Panel {
    panel::time_series(
        "Outputs that wait",
        "Lines of results and retraining events that are decided and not sent, and the bound.",
        "bytes",
        vec![
            (format!("max({})", FLEET.select(&OUTBOX_BYTES)), "waiting"),
            (format!("max({})", FLEET.select(&OUTBOX_BYTES_MAX)), "bound"),
        ],
    )
}

fn outbox_messages() -> Panel {
    panel::time_series(
        "Messages that wait",
        "Lines of results and retraining events that are decided and not sent.",
        "none",
        vec![(format!("sum by (instance) ({})", FLEET.select(&OUTBOX_MESSAGES)), "{{instance}}")],
    )
}

/// How many a model version has, and how many it may have.
fn bounded(title: &'static str, help: &'static str, (count, bound): (&Metric, &Metric)) -> Panel {
    let most = |metric| format!("max by (model, model_version) ({})", FLEET.select(metric));
    let series = vec![
        (most(count), "{{model}} {{model_version}}"),
        (most(bound), "bound: {{model}} {{model_version}}"),
    ];
    panel::time_series(title, help, "none", series)
}

fn pipeline(layout: &mut Layout) {
    layout.row("Pipeline");
    let panels = [
        panel::time_series(
            "Evaluations per second",
            "Closed windows that were evaluated, by the state of the model in them.",
            "cps",
            vec![(format!("sum by (result) ({})", FLEET.rate(&EVALUATIONS_TOTAL)), "{{result}}")],
        ),
        panel::time_series(
            "Evaluation time",
            "Processing time of one closed window.",
            "s",
            quantiles(&FLEET.bucket_rate(&EVALUATION_DURATION_SECONDS)),
        ),
        bounded(
            "Open panes",
            "Panes that wait for records or partitions, and the bound on those of one partition.",
            (&WINDOWS_OPEN, &WINDOWS_OPEN_MAX),
        ),
        bounded(
            "Segments",
            "Segments with results besides that of all records, and the bound on them.",
            (&SEGMENTS, &SEGMENTS_MAX),
        ),
        panel::time_series(
            "Incomplete windows per second",
            "Windows closed before every partition had passed their end.",
            "cps",
            vec![(
                format!("sum {BY_MODEL} ({})", FLEET.rate(&WINDOWS_INCOMPLETE_TOTAL)),
                "{{model}} {{model_version}}",
            )],
        ),
        panel::time_series(
            "Queue",
            "Decoded batches that wait, and the bound on them.",
            "none",
            vec![
                (format!("max({})", FLEET.select(&PIPELINE_QUEUE_BATCHES)), "waiting"),
                (format!("max({})", FLEET.select(&PIPELINE_QUEUE_BATCHES_MAX)), "bound"),
            ],
        ),
        outbox_bytes(),
        outbox_messages(),
        panel::time_series(
            "Memory of window counts",
            "Bytes that open windows hold; it grows with features, not with records.",
            "bytes",
            vec![(format!("sum by (instance) ({})", FLEET.select(&STATE_BYTES)), "{{instance}}")],
        ),
        panel::time_series(
            "Age of stored state",
            "Time since state was stored: what a crash now would have to read again.",
            "s",
            vec![(
                format!(
                    "time() - max by (instance) ({})",
                    FLEET.select(&STATE_STORED_TIMESTAMP_SECONDS)
                ),
                "{{instance}}",
            )],
        ),
    ];
    for panel in panels {
        layout.add(8, 7, panel);
    }
}

fn outside(layout: &mut Layout) {
    layout.row("Outputs");
    let panels = [
        panel::time_series(
            "Retraining requests per hour",
            "By outcome; a suppressed one waits for the cooldown or for a running job.",
            "short",
            vec![(
                format!("sum by (outcome) ({}) * 3600", FLEET.rate(&RETRAIN_EVENTS_TOTAL)),
                "{{outcome}}",
            )],
        ),
        panel::time_series(
            "Retraining jobs per hour",
            "Jobs reported as ended, by outcome.",
            "short",
            vec![(
                format!("sum by (outcome) ({}) * 3600", FLEET.rate(&RETRAIN_JOBS_TOTAL)),
                "{{outcome}}",
            )],
        ),
        panel::time_series(
            "HTTP requests per second",
            "By route, method and status code.",
            "reqps",
            vec![(
                format!("sum by (route, method, code) ({})", FLEET.rate(&HTTP_REQUESTS_TOTAL)),
                "{{method}} {{route}} {{code}}",
            )],
        ),
        panel::time_series(
            "HTTP answer time",
            "Scrapes and page requests together.",
            "s",
            quantiles(&FLEET.bucket_rate(&HTTP_REQUEST_DURATION_SECONDS)),
        ),
        panel::time_series(
            "Features",
            "Monitored features and predictions, and features hidden by the cap on series.",
            "none",
            vec![
                (format!("sum({})", FLEET.select(&TRACKED_FEATURES)), "monitored"),
                (format!("sum({})", FLEET.select(&FEATURE_SERIES_DROPPED)), "hidden"),
            ],
        ),
        panel::stat(
            "Version",
            "The running version, and the instruction set that counting uses.",
            "none",
            vec![(
                format!("max by (version, simd) ({})", FLEET.select(&BUILD_INFO)),
                "{{version}} ({{simd}})",
            )],
        )
        .with_names(),
    ];
    for panel in panels {
        layout.add(8, 7, panel);
    }
}

fn process(layout: &mut Layout) {
    layout.row("Process");
    layout.add(16, 8, memory());
    let by_instance = |of: String| format!("max by (instance) ({of})");
    let panels = [
        panel::time_series(
            "Processor",
            "Cores that each process keeps busy.",
            "none",
            vec![(
                format!("sum by (instance) ({})", FLEET.rate(&PROCESS_CPU_SECONDS_TOTAL)),
                "{{instance}}",
            )],
        ),
        panel::time_series(
            "Uptime",
            "Time since each process began; it falls to zero at a restart.",
            "s",
            vec![(
                format!("time() - {}", by_instance(FLEET.select(&PROCESS_START_TIME_SECONDS))),
                "{{instance}}",
            )],
        ),
        panel::time_series(
            "Open files",
            "Files and sockets that each process holds open.",
            "none",
            vec![(by_instance(FLEET.select(&PROCESS_OPEN_FDS)), "{{instance}}")],
        ),
    ];
    for panel in panels {
        layout.add(8, 8, panel);
    }
}

/// Of the process that uses most: the sum over processes is no limit of any of them.
fn memory() -> Panel {
    let most = |metric| format!("max({})", FLEET.select(metric));
    let by_owner = |metric| format!("max by (owner) ({})", FLEET.select(metric));
    panel::time_series(
        "Memory",
        "Of the process with most: what is resident, the limit, what is measured by owner, and what \
         the configuration is expected to take, stacked.",
        "bytes",
        vec![
            (most(&PROCESS_RESIDENT_MEMORY_BYTES), "resident"),
            (most(&MEMORY_LIMIT_BYTES), "limit"),
            (by_owner(&MEMORY_BYTES), "measured: {{owner}}"),
            (by_owner(&MEMORY_BUDGET_BYTES), "expected: {{owner}}"),
        ],
    )
    .with_stack("/^expected/")
}

/// Median and 99th percentile of a histogram's rate.
fn quantiles(bucket_rate: &str) -> Vec<Series> {
    vec![
        (format!("histogram_quantile(0.5, {bucket_rate})"), "median"),
        (format!("histogram_quantile(0.99, {bucket_rate})"), "99th percentile"),
    ]
}
