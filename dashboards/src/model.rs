//! The model dashboard: what moved, since when, and is the data broken?
//!
//! Before: [`crate::panel`], reached from the table of [`crate::fleet`].
//! After: `dashboards/grafana/driftd-model.json`.

mod performance;

use driftd_catalog::metric::{
    EPISODES_OPEN, EVALUATED_FEATURE_DRIFT_SCORE, EVALUATION_INTERVAL_SECONDS, EVALUATIONS_TOTAL,
    FEATURE_CHI2_STATISTIC, FEATURE_DRIFT_SCORE, FEATURE_DRIFT_STATE, FEATURE_EFFECTIVE_THRESHOLD,
    FEATURE_JS_DIVERGENCE_NATS, FEATURE_KL_DIVERGENCE_NATS, FEATURE_KS_STATISTIC,
    FEATURE_MISSING_RATIO, FEATURE_OUT_OF_RANGE_RATIO, FEATURE_P_VALUE, FEATURE_PSI,
    FEATURE_UNSEEN_CATEGORY_RATIO, FEATURES, LAST_RECORD_TIMESTAMP_SECONDS,
    LAST_RETRAIN_EVENT_TIMESTAMP_SECONDS, MAX_FEATURE_DRIFT_SCORE, MODEL_DRIFT_STATE,
    MODEL_DRIFT_STATE_SINCE_TIMESTAMP_SECONDS, MODEL_INFO,
    MODEL_VERSION_ACTIVATED_TIMESTAMP_SECONDS, Metric, PREDICTION_DRIFT_SCORE,
    PREDICTION_DRIFT_STATE, REFERENCE_CREATED_TIMESTAMP_SECONDS, REFERENCE_ROWS,
    RETRAIN_EVENTS_TOTAL, WINDOW_END_TIMESTAMP_SECONDS, WINDOW_MIN_ROWS, WINDOW_ROWS,
    WINDOW_START_TIMESTAMP_SECONDS,
};

use crate::dashboard::{Annotation, Choice, Dashboard, Variable};
use crate::fleet;
use crate::layout::Layout;
use crate::panel::{self, Panel};
use crate::query::Scope;

const MODEL: Scope = Scope::Model;

pub(crate) fn dashboard() -> Dashboard {
    let mut layout = Layout::default();
    verdict(&mut layout);
    drift(&mut layout);
    performance::performance(&mut layout);
    features(&mut layout);
    quality(&mut layout);
    retraining(&mut layout);
    Dashboard {
        uid: "driftd-model",
        title: "driftd / Model",
        description: "What moved in one model, since when, and is its data broken?",
        variables: variables(),
        annotations: annotations(),
        layout,
    }
}

fn variables() -> Vec<Variable> {
    let target = r#"job=~"$job", instance=~"$instance""#;
    let model = format!(r#"{target}, model="$model""#);
    let version = format!(r#"{model}, model_version="$model_version""#);
    let segment = format!(r#"{version}, segment="$segment""#);
    let window = format!(r#"{segment}, window="$window""#);
    let of = |metric: &Metric, matchers: &str| format!("{}{{{matchers}}}", metric.name);
    let one = |name, label, selector| Variable { name, label, selector, choice: Choice::One };
    let mut variables = fleet::targets();
    variables.extend([
        one("model", "Model", of(&MODEL_DRIFT_STATE, target)),
        one("model_version", "Version", of(&MODEL_DRIFT_STATE, &model)),
        one("segment", "Segment", of(&MODEL_DRIFT_STATE, &version)),
        // Also windows that do not decide, which have no state after hysteresis.
        one("window", "Window", of(&WINDOW_ROWS, &segment)),
        Variable {
            name: "feature",
            label: "Feature",
            selector: of(&FEATURE_DRIFT_STATE, &window),
            choice: Choice::Many,
        },
    ]);
    variables
}

fn annotations() -> Vec<Annotation> {
    // True at the one point after a request. `changes` would not see a model's first one, with
    // which the series begins.
    let requested = MODEL.select(&LAST_RETRAIN_EVENT_TIMESTAMP_SECONDS);
    let firing = r#"ALERTS{alertname=~"Model.*", alertstate="firing", model="$model"}"#;
    vec![
        Annotation {
            name: "Retraining requested",
            expr: format!("time() - {requested} < $__interval_ms / 1000"),
            color: "blue",
            title_format: "Retraining of {{model}} {{model_version}} requested",
        },
        Annotation {
            name: "Alerts",
            expr: firing.to_owned(),
            color: "orange",
            title_format: "{{alertname}}",
        },
    ]
}

/// The newest value, over processes that overlap for a scrape or two.
fn newest(metric: &Metric) -> String {
    format!("max({})", MODEL.select(metric))
}

/// The newest time, in the milliseconds that Grafana's date units take.
fn newest_time(metric: &Metric) -> String {
    format!("{} * 1000", newest(metric))
}

fn verdict(layout: &mut Layout) {
    layout.row("Verdict");
    let number = |title, description, unit, metric: &Metric| {
        panel::stat(title, description, unit, vec![(newest(metric), "")])
    };
    let time = |title, description, metric: &Metric| {
        panel::stat(title, description, "dateTimeAsIso", vec![(newest_time(metric), "")])
    };
    layout.add(
        4,
        4,
        number(
            "State",
            "State after hysteresis; empty for windows that do not decide.",
            "none",
            &MODEL_DRIFT_STATE,
        )
        .with_states(),
    );
    layout.add(
        5,
        4,
        time(
            "Since",
            "Start of the first window of this state, in event time.",
            &MODEL_DRIFT_STATE_SINCE_TIMESTAMP_SECONDS,
        ),
    );
    layout.add(
        3,
        4,
        number("Largest score", "Above 1 is drift.", "none", &MAX_FEATURE_DRIFT_SCORE)
            .with_limit(1.0, "orange"),
    );
    layout.add(
        3,
        4,
        number("Open episodes", "Features that drifted to stay.", "none", &EPISODES_OPEN)
            .with_limit(1.0, "orange"),
    );
    layout.add(9, 4, features_now());
    layout.add(
        8,
        4,
        panel::stat(
            "Newest window",
            "Its event time.",
            "dateTimeAsIso",
            vec![
                (newest_time(&WINDOW_START_TIMESTAMP_SECONDS), "from"),
                (newest_time(&WINDOW_END_TIMESTAMP_SECONDS), "to"),
            ],
        ),
    );
    layout.add(
        8,
        4,
        panel::stat(
            "Records",
            "Records in the newest window, the minimum for a verdict, and in the reference.",
            "short",
            vec![
                (newest(&WINDOW_ROWS), "window"),
                (newest(&WINDOW_MIN_ROWS), "minimum"),
                (newest(&REFERENCE_ROWS), "reference"),
            ],
        ),
    );
    layout.add(8, 4, reference());
}

fn features_now() -> Panel {
    panel::stat(
        "Features",
        "Number of features in each state in the newest window.",
        "none",
        vec![(format!("max by (state) ({})", MODEL.select(&FEATURES)), "{{state}}")],
    )
}

fn reference() -> Panel {
    panel::stat(
        "Reference",
        "What the window was compared with, by its digest, and when it was built.",
        "dateTimeAsIso",
        vec![(
            format!(
                "max by (reference) ({} * on (job, instance, model, model_version) \
                 group_left () {}) * 1000",
                MODEL.select(&MODEL_INFO),
                MODEL.select(&REFERENCE_CREATED_TIMESTAMP_SECONDS)
            ),
            "{{reference}}",
        )],
    )
}

fn drift(layout: &mut Layout) {
    layout.row("Drift");
    let output = |metric| format!("max by (output) ({})", MODEL.select(metric));
    let scores = panel::time_series(
        "Drift scores",
        "Statistic divided by its effective threshold; above the line is drift.",
        "none",
        vec![
            (newest(&MAX_FEATURE_DRIFT_SCORE), "largest feature"),
            (output(&PREDICTION_DRIFT_SCORE), "prediction {{output}}"),
        ],
    )
    .with_limit(1.0, "orange");
    layout.add(12, 8, scores);
    let states = panel::time_series(
        "Features by state",
        "Number of features in each state; their sum is the number monitored.",
        "none",
        vec![(format!("max by (state) ({})", MODEL.select(&FEATURES)), "{{state}}")],
    );
    layout.add(12, 8, states.stacked());
    let distribution = panel::heat_map(
        "Distribution of scores",
        "Scores of all features, hidden ones included; mass above 1 is drift.",
        MODEL.bucket_increase(&EVALUATED_FEATURE_DRIFT_SCORE),
    );
    layout.add(12, 8, distribution);
    let ribbons = panel::state_timeline(
        "States",
        "State of the model, of its predictions, and of the chosen features.",
        vec![
            (newest(&MODEL_DRIFT_STATE), "model"),
            (output(&PREDICTION_DRIFT_STATE), "prediction {{output}}"),
            (format!("max by (feature) ({})", MODEL.select(&FEATURE_DRIFT_STATE)), "{{feature}}"),
        ],
    );
    layout.add(12, 8, ribbons);
}

fn features(layout: &mut Layout) {
    layout.row("Features");
    layout.add(24, 10, feature_table());
    for (title, description, unit, metric) in [
        ("Score", "Above 1 is drift.", "none", &FEATURE_DRIFT_SCORE),
        ("PSI", "Population stability index.", "none", &FEATURE_PSI),
        ("KS", "Two-sample Kolmogorov-Smirnov statistic, 0 to 1.", "none", &FEATURE_KS_STATISTIC),
        ("JS", "Jensen-Shannon divergence in nats.", "none", &FEATURE_JS_DIVERGENCE_NATS),
        ("KL", "Kullback-Leibler divergence in nats.", "none", &FEATURE_KL_DIVERGENCE_NATS),
        ("Chi-squared", "Pearson's statistic.", "short", &FEATURE_CHI2_STATISTIC),
    ] {
        let mut panel = by_feature(title, description, unit, metric);
        if metric.name == FEATURE_DRIFT_SCORE.name {
            panel = panel.with_limit(1.0, "orange");
        }
        layout.add(8, 8, panel);
    }
}

fn by_feature(
    title: &'static str,
    description: &'static str,
    unit: &'static str,
    metric: &Metric,
) -> Panel {
    let series = format!("max by (feature) ({})", MODEL.select(metric));
    panel::time_series(title, description, unit, vec![(series, "{{feature}}")])
}

/// One row a feature; the deciding detector is a label of its threshold and p-value.
fn feature_table() -> Panel {
    let value = |metric| format!("max by (feature) ({})", MODEL.select(metric));
    let decided = |metric| format!("max by (feature, detector) ({})", MODEL.select(metric));
    panel::table(
        "Features",
        "The newest window of each chosen feature. The score is the deciding statistic divided by \
         its threshold; the p-value is adjusted for the number of features.",
        vec![
            (value(&FEATURE_DRIFT_SCORE), "Score", "none"),
            (value(&FEATURE_DRIFT_STATE), "State", "none"),
            (decided(&FEATURE_EFFECTIVE_THRESHOLD), "Threshold", "none"),
            (decided(&FEATURE_P_VALUE), "P-value", "none"),
            (value(&FEATURE_PSI), "PSI", "none"),
            (value(&FEATURE_KS_STATISTIC), "KS", "none"),
            (value(&FEATURE_MISSING_RATIO), "Missing", "percentunit"),
        ],
    )
    .with_state_column("State")
    .sorted_by("Score")
}

fn quality(layout: &mut Layout) {
    layout.row("Data quality");
    for (title, description, metric) in [
        (
            "Missing",
            "Share of records without a value, or without a number.",
            &FEATURE_MISSING_RATIO,
        ),
        (
            "Unseen categories",
            "Share of values that are a category the reference does not have.",
            &FEATURE_UNSEEN_CATEGORY_RATIO,
        ),
        (
            "Out of range",
            "Share of values outside the range of the reference.",
            &FEATURE_OUT_OF_RANGE_RATIO,
        ),
    ] {
        layout.add(8, 8, by_feature(title, description, "percentunit", metric));
    }
}

fn retraining(layout: &mut Layout) {
    layout.row("Evaluation and retraining");
    layout.add(
        8,
        7,
        panel::time_series(
            "Evaluations per hour",
            "Closed windows of this model, by its state in them.",
            "short",
            vec![(
                format!("sum by (result) ({}) * 3600", MODEL.rate(&EVALUATIONS_TOTAL)),
                "{{result}}",
            )],
        ),
    );
    layout.add(
        8,
        7,
        panel::time_series(
            "Retraining requests per hour",
            "By policy and outcome; a suppressed one waits for the cooldown or a running job.",
            "short",
            vec![(
                format!("sum by (policy, outcome) ({}) * 3600", MODEL.rate(&RETRAIN_EVENTS_TOTAL)),
                "{{policy}}: {{outcome}}",
            )],
        ),
    );
    layout.add(
        4,
        7,
        panel::stat(
            "Times",
            "First and newest record in event time, and the last retraining request.",
            "dateTimeAsIso",
            vec![
                (newest_time(&MODEL_VERSION_ACTIVATED_TIMESTAMP_SECONDS), "first record"),
                (newest_time(&LAST_RECORD_TIMESTAMP_SECONDS), "newest record"),
                (newest_time(&LAST_RETRAIN_EVENT_TIMESTAMP_SECONDS), "retraining requested"),
            ],
        ),
    );
    layout.add(
        4,
        7,
        panel::stat(
            "Step",
            "Event time between the ends of two windows that decide.",
            "s",
            vec![(newest(&EVALUATION_INTERVAL_SECONDS), "")],
        ),
    );
}
