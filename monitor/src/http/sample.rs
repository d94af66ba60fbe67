//! A made-up configuration and snapshot for the tests of this folder.
//!
//! Not before or after anything: tests build their state here. Names are hostile on purpose.

mod performance;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use driftd_catalog::{ModelId, PartitionId, SegmentId, Timestamp, WindowId, WindowSpan};
use driftd_core::Digest;
use driftd_core::config::{Config, Role, load};
use driftd_core::fields::FieldProblem;
use driftd_core::halves::{BySide, JoinCounts, Waiting};
use driftd_core::history::History;
use driftd_core::result::{Cells, Edition, FeatureResult, Histogram, SpecialCounts, WindowResult};
use driftd_core::snapshot::{
    ChangedField, JoinSnapshot, ModelSnapshot, OpenWindow, PartitionSnapshot, ReferenceSnapshot,
    RetrainOutcomes, RetrainingEntry, ScoreHistogram, SegmentSnapshot, Snapshot, SourceSnapshot,
    Totals,
};
use driftd_detectors::{
    DecisionPolicy, DetectorKind, DetectorResult, FeaturePolicy, FeatureVerdict, Levels, State,
};
use driftd_ingest::{ChangeKind, RejectReason};
use tokio::sync::watch;

use super::{Health, HttpState, Instruments};
use crate::clock;
use crate::kafka::owners::Owners;
use crate::kafka::watch::Ends;
use crate::memory::Memory;

/// A feature whose name would be a script where text is taken for markup.
pub(super) const HOSTILE: &str = "<img src=x onerror=alert(1)>\"\\";

/// A digest as profiles have it.
const DIGEST: &str = "sha256:8f2c11d07a5b4c6d9e3f0a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3e4f5";

const HOUR: i64 = 3_600_000;

/// The columns of the sample, the prediction last.
pub(super) const COLUMNS: [&str; 6] =
    ["temp", "wind_speed", "carrier", "pressure", HOSTILE, "delay"];

pub(super) fn policy() -> FeaturePolicy {
    FeaturePolicy {
        detector: DetectorKind::Ks,
        minimum_effect: 0.1,
        missing_rate_effect: 0.05,
        unseen_rate_effect: 0.05,
        minimum_rows: 1_000,
    }
}

pub(super) fn decision() -> DecisionPolicy {
    DecisionPolicy { false_discovery_rate: 0.05, confidence: 0.95 }
}

/// A configuration that watches `COLUMNS` of one model in windows of one hour.
pub(super) fn config(features_exported_max: usize) -> Config {
    configured("window: { length: 1h }", features_exported_max)
}

fn configured(windows: &str, features_exported_max: usize) -> Config {
    let features: Vec<String> = COLUMNS[..5]
        .iter()
        .map(|name| {
            let kind = if *name == "carrier" { "categorical" } else { "float64" };
            let name = name.replace('\\', "\\\\").replace('"', "\\\"");
            format!("      - {{ name: \"{name}\", path: x, type: {kind} }}\n")
        })
        .collect();
    let features = features.concat();
    let text = format!(
        r#"
name: flights
kafka: {{ brokers: ["localhost:9092"] }}
sources:
  - topic: predictions
    start: earliest
    event_time: {{ path: time }}
  - topic: labels
    start: earliest
    event_time: {{ path: time }}
state: {{ folder: state }}
models:
  - name: delays
    source: predictions
    version_path: version
    references: "references/{{model}}/{{version}}.json"
    {windows}
    features:
{features}
    predictions:
      - {{ name: delay, path: y, type: float64 }}
    prediction_id: id
    performance:
      task: regression
      predicted: delay
      labels: {{ source: labels, prediction_id: id, value: truth }}
      sample: 0.5
detection: {{ minimum_rows: 1000 }}
retraining:
  topic: retraining
  status_topic: retraining-status
  policies:
    - {{ name: weather, minimum_features: 1, cooldown: 1d }}
outputs: {{ features_exported_max: {features_exported_max} }}
"#
    );
    load(&text, &|_| None).unwrap_or_else(|errors| panic!("the sample configuration: {errors}"))
}

/// State for requests, over [`snapshot`].
pub(super) fn state(features_exported_max: usize) -> HttpState {
    let now = clock::instant();
    let health = Arc::new(Health::new(now));
    health.assigned();
    HttpState {
        config: Arc::new(config(features_exported_max)),
        snapshot: watch::channel(Arc::new(snapshot())).1,
        health,
        instruments: Arc::new(instruments()),
        memory: Arc::new(Memory::of(&config(features_exported_max), &[Some(2)])),
        instance: "driftd-0".into(),
        ends: Ends::default(),
        owners: Owners::default(),
        started: at(0),
        simd: "scalar",
    }
}

/// The same with windows of a day beside those of an hour: the newest has a provisional result.
pub(super) fn two_kinds() -> HttpState {
    let windows = "windows: [{ length: 1h }, { name: day, length: 1d, every: 1h, early: 30m }]";
    let mut snapshot = snapshot();
    let [hourly] = &snapshot.models[0].segments[..] else { panic!("one segment") };
    let beside = |hour: i64, edition: Edition| {
        let mut result = window(hour, 5_124, COLUMNS.map(judged).into());
        result.id.span = WindowSpan::starting_at(at(hour - 23), 24 * HOUR);
        result.id.name = "day".into();
        Arc::new(WindowResult { decides: false, edition, ..result })
    };
    let daily = SegmentSnapshot {
        window: 1,
        history: history_of([beside(1, Edition { revision: 1, ..Edition::ONLY })]),
        provisional: Some(beside(2, Edition { is_final: false, ..Edition::ONLY })),
        ..hourly.clone()
    };
    snapshot.models[0].segments.push(daily);
    HttpState {
        config: Arc::new(configured(windows, 100)),
        snapshot: watch::channel(Arc::new(snapshot)).1,
        ..state(100)
    }
}

/// The two windows of [`snapshot`], oldest first.
pub(super) fn windows() -> [Arc<WindowResult>; 2] {
    [
        Arc::new(window(0, 312, COLUMNS.map(|name| too_few(name, 312)).into())),
        Arc::new(window(1, 4_812, COLUMNS.map(judged).into())),
    ]
}

/// Windows as they are kept.
pub(super) fn history_of<const N: usize>(windows: [Arc<WindowResult>; N]) -> History {
    let mut history = History::default();
    for window in windows {
        history.push(window, N);
    }
    history
}

/// Two windows: the first has too few rows, in the second `temp` drifted and `pressure` broke.
fn all_traffic() -> SegmentSnapshot {
    let mut scores = ScoreHistogram::default();
    for score in [2.58, 0.17, 0.17, 8.4, 0.17] {
        scores.observe(score);
    }
    let history = history_of(windows());
    SegmentSnapshot {
        window: 0,
        segment: SegmentId::all(),
        state: State::Drifted,
        state_since: Some(at(1)),
        history,
        provisional: None,
        evaluations: BTreeMap::from([(State::InsufficientData, 1), (State::BrokenData, 1)]),
        incomplete: 0,
        episodes: Vec::new(),
        ever_drifted: vec!["temp".into()],
        score_histogram: scores,
    }
}

/// The windows of [`all_traffic`], and what is around them.
pub(super) fn snapshot() -> Snapshot {
    Snapshot {
        taken_at: at(2),
        sources: vec![source()],
        partitions: vec![partition(0, Some(1_312)), partition(1, Some(1_000))],
        unassigned: Vec::new(),
        state_bytes: 48_000,
        waiting_bytes: 16_000,
        panes_bytes: 8_000,
        lanes: Vec::new(),
        models: vec![ModelSnapshot {
            id: model_id(),
            config: 0,
            reference: Some(ReferenceSnapshot {
                digest: DIGEST.into(),
                rows: 27_004,
                created: at(-100),
            }),
            records: 5_124,
            late: 12,
            event_time_max: Some(at(2)),
            activated: Some(at(0)),
            windows_open: 1,
            open: vec![OpenWindow {
                window: 0,
                start: Some(at(2)),
                end: at(3),
                rows: 0,
                further: 0,
            }],
            segments: vec![all_traffic()],
        }],
        retraining: Arc::new(VecDeque::from([retraining("requested"), retraining("published")])),
        retrain_outcomes: Arc::new(BTreeMap::from([(
            (model_id(), "weather".into()),
            RetrainOutcomes {
                published: 1,
                last_published: Some(at(2)),
                ..RetrainOutcomes::default()
            },
        )])),
        performance: performance::performance(),
        totals: Totals {
            messages: 5_178,
            rejected: 54,
            windows_closed: 2,
            retrain_published: 1,
            jobs_succeeded: 0,
            jobs_failed: 0,
            results_stored: 24,
            results_failed: 0,
            left_out: 0,
        },
        digest: Digest::default(),
    }
}

fn instruments() -> Instruments {
    let instruments = Instruments::new(64);
    instruments.stored(at(1_000));
    instruments
}

pub(super) fn model_id() -> ModelId {
    ModelId::try_new("delays", "2013/01").expect("a valid name")
}

fn at(hours: i64) -> Timestamp {
    Timestamp::from_millis(1_364_806_800_000 + hours * HOUR)
}

fn window(hour: i64, rows: u64, features: Vec<FeatureResult>) -> WindowResult {
    WindowResult {
        id: WindowId {
            span: WindowSpan::starting_at(at(hour), HOUR),
            model: model_id(),
            segment: SegmentId::all(),
            name: "1h".into(),
        },
        edition: Edition::ONLY,
        decides: true,
        rows,
        complete: true,
        missing: Vec::new(),
        offsets: Vec::new(),
        closed_at: at(hour + 1),
        reference: Some(DIGEST.into()),
        features,
    }
}

fn judged(name: &'static str) -> FeatureResult {
    match name {
        "temp" => drifted(name),
        "pressure" => broken(name),
        _ => quiet(name),
    }
}

pub(super) fn drifted(name: &str) -> FeatureResult {
    ks(name, State::Drifted, 0.31, 0.28, 1e-9)
}

pub(super) fn quiet(name: &str) -> FeatureResult {
    ks(name, State::Ok, 0.02, 0.0, 0.43)
}

pub(super) fn too_few(name: &str, rows: u64) -> FeatureResult {
    let verdict = FeatureVerdict {
        state: State::InsufficientData,
        score: None,
        deciding: None,
        results: Vec::new(),
        reference_rows: 27_004,
        current_rows: rows,
        minimum_detectable_effect: None,
    };
    FeatureResult { name: name.into(), role: role(name), verdict, histogram: None }
}

fn broken(name: &str) -> FeatureResult {
    let mut feature = ks(name, State::BrokenData, 0.42, 0.4, 1e-12);
    feature.verdict.results[0].detector = DetectorKind::MissingRate;
    feature.verdict.deciding = Some(DetectorKind::MissingRate);
    feature
}

fn ks(name: &str, state: State, statistic: f64, bound: f64, p: f64) -> FeatureResult {
    let threshold = 0.12;
    let result = DetectorResult {
        detector: DetectorKind::Ks,
        statistic,
        statistic_upper: Some(statistic),
        p_value: Some(p / 2.0),
        adjusted_p_value: Some(p),
        lower_bound: Some(bound),
        threshold: Some(threshold),
        score: Some(statistic / threshold),
    };
    let verdict = FeatureVerdict {
        state,
        score: result.score,
        deciding: Some(DetectorKind::Ks),
        results: vec![result],
        reference_rows: 27_004,
        current_rows: 4_812,
        minimum_detectable_effect: Some(0.11),
    };
    let histogram = Some(if name == "carrier" { levels() } else { bins() });
    FeatureResult { name: name.into(), role: role(name), verdict, histogram }
}

fn role(name: &str) -> Role {
    if name == "delay" { Role::Prediction } else { Role::Feature }
}

fn bins() -> Histogram {
    Histogram {
        cells: Cells::Edges(vec![-1.5, 0.0, 20.25]),
        reference: vec![9_000, 9_000, 8_000, 1_000],
        current: vec![400, 1_000, 1_400, 1_996],
        reference_special: SpecialCounts { null: 4, ..SpecialCounts::default() },
        current_special: SpecialCounts {
            null: 10,
            nan: 2,
            neg_inf: 1,
            pos_inf: 3,
            out_of_range: 48,
            ..SpecialCounts::default()
        },
    }
}

/// 40 levels, so that some are summed up.
fn levels() -> Histogram {
    let names: Vec<Box<str>> = (0..40).map(|at| format!("level-{at:02}").into()).collect();
    let levels = Levels::try_new(names).expect("distinct and few");
    Histogram {
        cells: Cells::Levels(Arc::new(levels)),
        reference: (0..40).map(|at| 1_000 - at).collect(),
        current: (0..40).map(|at| 100 - at).collect(),
        reference_special: SpecialCounts::default(),
        current_special: SpecialCounts { unseen: 120, ..SpecialCounts::default() },
    }
}

fn source() -> SourceSnapshot {
    SourceSnapshot {
        topic: "predictions".into(),
        is_known: true,
        messages: 5_178,
        bytes: 2_600_000,
        rejected: BTreeMap::from([(RejectReason::InvalidJson, 54)]),
        skipped: BTreeMap::from([(ChangeKind::Update, 7), (ChangeKind::Tombstone, 2)]),
        clamped: 0,
        over_limit: 0,
        fields: vec![ChangedField {
            path: "features.dep_delay".into(),
            problem: FieldProblem::Absent,
            records: 640,
            from: vec![(0, 4_100), (3, 377)],
        }],
        join: Some(JoinSnapshot {
            counts: JoinCounts {
                joined: 40,
                expired: BySide { request: 3, response: 0 },
                ..JoinCounts::default()
            },
            waiting: Waiting { halves: 2, bytes: 700 },
        }),
        dead_lettered: 54,
        dead_letter_too_large: 0,
        dead_letter_failed: 0,
        errors: BTreeMap::new(),
        rebalances: 1,
    }
}

fn partition(number: i32, high_watermark: Option<i64>) -> PartitionSnapshot {
    PartitionSnapshot {
        id: PartitionId { topic: "predictions".into(), partition: number },
        next_offset: Some(1_000),
        high_watermark,
        watermark: Some(at(2)),
        idle: false,
        paused: false,
        stalled: None,
        progressed_at: at(2),
    }
}

fn retraining(state: &str) -> RetrainingEntry {
    RetrainingEntry {
        at: at(2),
        model: model_id(),
        id: "rt-delays-2013-01-8f2c11d0".into(),
        policy: "weather".into(),
        window: WindowSpan::starting_at(at(1), HOUR),
        features: vec!["temp".into()],
        state: state.into(),
        summary: "temp drifted in 2 of 3 windows".into(),
        new_version: None,
    }
}
