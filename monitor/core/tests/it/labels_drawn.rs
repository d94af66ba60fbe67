//! Logs of predictions and of their labels, made up: subjects that proptest draws and shrinks, and
//! the messages of both topics that they stand for.
//!
//! After: [`crate::labels`] plays them, [`crate::labels_batch`] joins them at once.

use driftd_core::config::Config;
use driftd_ingest::{Decoded, Message};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::log::START;

pub(crate) const WINDOW_MILLIS: i64 = 60_000;
pub(crate) const OFFSET_MILLIS: i64 = 7_000;
pub(crate) const HORIZON_MILLIS: i64 = 150_000;
pub(crate) const LATENESS_MILLIS: i64 = 2_000;
/// How far the newest record of a partition of each topic is ahead of its watermark.
pub(crate) const DISORDER_MILLIS: [i64; 2] = [3_000, 20_000];

const MINUTES: i64 = 60_000;

/// What the model of a case predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Binary,
    Multiclass,
    Regression,
}

/// Logs, and how they are joined.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    /// Whether the newest of several labels counts, or the oldest.
    pub(crate) keeps_last: bool,
    /// Of predictions, then of labels: the messages of each partition.
    pub(crate) topics: [Vec<Vec<Said>>; 2],
}

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) time: i64,
    /// Absent: nobody knows what it is about.
    pub(crate) id: Option<u32>,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Prediction {
        version: &'static str,
        country: Option<&'static str>,
        /// Eighths of a score, half of a number, or a class; absent: it is of no use.
        guess: Option<u8>,
    },
    Label {
        revision: Option<i64>,
        truth: Truth,
    },
    /// As it is written; the batch join takes it for no record.
    Raw(String),
}

/// What a label says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    /// The same as a guess, but for two classes: whether it is odd.
    Is(u8),
    TakenAway,
    /// Nothing that is known.
    Unusable,
}

/// A prediction, and what comes of it.
#[derive(Clone, Debug)]
struct Subject {
    partition: usize,
    at: i64,
    /// How much later it is written.
    behind: i64,
    version: &'static str,
    country: Option<&'static str>,
    guess: Option<u8>,
    has_id: bool,
    is_predicted: bool,
    /// How much later it is predicted again, and how much later that is written.
    again: Option<(i64, i64)>,
    labels: Vec<LabelDraft>,
}

#[derive(Clone, Debug)]
struct LabelDraft {
    partition: usize,
    delay: i64,
    behind: i64,
    revision: Option<i64>,
    truth: Truth,
    has_id: bool,
    copies: usize,
}

/// Draws cases.
pub(crate) fn draw() -> impl Strategy<Value = Case> {
    let kind = prop_oneof![
        2 => Just(Kind::Binary),
        1 => Just(Kind::Multiclass),
        1 => Just(Kind::Regression),
    ];
    let subjects = prop_oneof![
        1 => prop::collection::vec(subject(), 1..12),
        3 => prop::collection::vec(subject(), 12..50),
    ];
    let partitions = (1..4_usize, 1..4_usize);
    // Without a last message of each partition, windows stay open.
    let ends = prop::bool::weighted(0.8);
    (kind, any::<bool>(), subjects, partitions, ends).prop_map(
        |(kind, keeps_last, subjects, partitions, ends)| Case {
            kind,
            keeps_last,
            topics: write(&subjects, partitions, ends),
        },
    )
}

fn subject() -> impl Strategy<Value = Subject> {
    // Long enough for windows to be final amid the logs.
    let at = 0..20 * MINUTES;
    let behind = prop_oneof![6 => Just(0), 3 => 0..5_000_i64, 1 => 5_000..90_000_i64];
    let version = prop_oneof![3 => Just("1"), 1 => Just("2")];
    let country = prop_oneof![Just(None), Just(Some("de")), Just(Some("fr")), Just(Some("it"))];
    let guess = prop::option::weighted(0.95, 0..9_u8);
    let has_id = prop::bool::weighted(0.96);
    let again = prop::option::weighted(0.2, (0..=HORIZON_MILLIS, 0..4_000_i64));
    let labels = prop::collection::vec(label(), 0..4);
    let first = (0..3_usize, at, behind, version, country);
    (first, guess, has_id, prop::bool::weighted(0.9), again, labels).prop_map(
        |(
            (partition, at, behind, version, country),
            guess,
            has_id,
            is_predicted,
            again,
            labels,
        )| {
            Subject {
                partition,
                at,
                behind,
                version,
                country,
                guess,
                has_id,
                is_predicted,
                again,
                labels,
            }
        },
    )
}

fn label() -> impl Strategy<Value = LabelDraft> {
    let delay = prop_oneof![
        12 => 0..HORIZON_MILLIS,
        2 => Just(0),
        2 => Just(HORIZON_MILLIS),
        1 => Just(-1),
        1 => Just(HORIZON_MILLIS + 1),
        1 => -30_000..0_i64,
        1 => HORIZON_MILLIS..HORIZON_MILLIS + 60_000,
        4 => Just(5_000),
    ];
    let behind = prop_oneof![6 => Just(0), 3 => 0..30_000_i64, 1 => 30_000..120_000_i64];
    let truth = prop_oneof![
        12 => (0..9_u8).prop_map(Truth::Is),
        2 => Just(Truth::TakenAway),
        1 => Just(Truth::Unusable),
    ];
    let copies = prop_oneof![8 => Just(1_usize), 1 => Just(2), 1 => Just(0)];
    let revision = prop::option::of(-1..3_i64);
    (0..3_usize, delay, behind, revision, truth, prop::bool::weighted(0.96), copies).prop_map(
        |(partition, delay, behind, revision, truth, has_id, copies)| LabelDraft {
            partition,
            delay,
            behind,
            revision,
            truth,
            has_id,
            copies,
        },
    )
}

/// A message, and when it is written.
type Written = (i64, Said);

fn write(
    subjects: &[Subject],
    (predictions, labels): (usize, usize),
    ends: bool,
) -> [Vec<Vec<Said>>; 2] {
    let mut topics: [Vec<Vec<Written>>; 2] =
        [vec![Vec::new(); predictions], vec![Vec::new(); labels]];
    for (id, subject) in (0_u32..).zip(subjects) {
        let at = START.as_millis() + subject.at;
        if subject.is_predicted {
            let log = &mut topics[0][subject.partition % predictions];
            let said = prediction(id, subject, at);
            log.push((at + subject.behind, said.clone()));
            if let Some((later, behind)) = subject.again {
                let time = at + later;
                log.push((time + behind, Said { time, ..said }));
            }
        }
        for (nth, label) in subject.labels.iter().enumerate() {
            let time = at + label.delay;
            let what = What::Label { revision: label.revision, truth: label.truth };
            let said = Said { time, id: label.has_id.then_some(id), what };
            for copy in 0..label.copies {
                // A copy may be in another partition.
                let log = &mut topics[1][(label.partition + copy) % labels];
                let copied = i64::try_from(copy).unwrap() * 3_000;
                log.push((time + label.behind + copied, said.clone()));
            }
            if label.copies == 0 && nth == 0 {
                let what = What::Raw("{".to_owned());
                topics[1][label.partition % labels].push((time, Said { time, id: None, what }));
            }
        }
    }
    let [predictions, labels] = topics;
    let prediction = What::Prediction { version: "1", country: None, guess: Some(1) };
    let label = What::Label { revision: None, truth: Truth::Is(1) };
    [(predictions, prediction), (labels, label)].map(|(logs, what)| {
        // It says what time it is, and nothing else.
        let last = Said { time: START.as_millis() + 60 * MINUTES, id: None, what };
        logs.into_iter().map(|log| ordered(log, ends.then_some(&last))).collect()
    })
}

fn ordered(mut log: Vec<Written>, last: Option<&Said>) -> Vec<Said> {
    log.sort_by_key(|(written, _)| *written);
    let log = log.into_iter().map(|(_, said)| said);
    log.chain(last.cloned()).collect()
}

fn prediction(id: u32, subject: &Subject, time: i64) -> Said {
    let Subject { version, country, guess, has_id, .. } = *subject;
    Said { time, id: has_id.then_some(id), what: What::Prediction { version, country, guess } }
}

/// Classes of a model of several, in the order of its configuration.
pub(crate) const CLASSES: [&str; 3] = ["cat", "dog", "emu"];

impl Said {
    fn payload(&self, kind: Kind) -> String {
        let Self { time, id, what } = self;
        let id = id.map(|it| format!("prediction-{it}"));
        let message = match what {
            What::Raw(written) => return written.clone(),
            What::Prediction { version, country, guess } => json!({
                "at": time, "id": id, "version": version, "country": country, "x": 1,
                "score": guess.map(|it| f64::from(it) / 8.0),
                "class": guess.map(|it| CLASSES[usize::from(it % 3)]),
                "number": guess.map(|it| f64::from(it) / 2.0),
            }),
            What::Label { revision, truth } => json!({
                "at": time, "id": id, "value": value(kind, *truth), "revision": revision,
                "deleted": *truth == Truth::TakenAway,
            }),
        };
        message.to_string()
    }
}

fn value(kind: Kind, truth: Truth) -> Value {
    match (truth, kind) {
        (Truth::TakenAway, _) => Value::Null,
        (Truth::Unusable, Kind::Binary | Kind::Multiclass) => "?".into(),
        (Truth::Unusable, Kind::Regression) => 1e200.into(),
        // However a label is written.
        (Truth::Is(it), Kind::Binary) => {
            let written = [json!(0), json!(1), json!("0"), json!("1"), json!(false), json!(true)];
            written[usize::from(it % 6)].clone()
        }
        (Truth::Is(it), Kind::Multiclass) => CLASSES[usize::from(it % 3)].into(),
        (Truth::Is(it), Kind::Regression) => (f64::from(it) / 2.0).into(),
    }
}

/// Decodes consecutive messages of a partition, of which the first has the offset `from`.
pub(crate) fn decode(
    config: &Config,
    (source, kind): (usize, Kind),
    from: usize,
    messages: &[Said],
) -> Decoded {
    let mut decoder = config.sources[source].decoder();
    for (offset, said) in (from..).zip(messages) {
        let payload = said.payload(kind);
        decoder.decode(&Message {
            payload: Some(payload.as_bytes()),
            offset: i64::try_from(offset).unwrap(),
            timestamp: None,
            envelope: &[],
        });
    }
    decoder.finish()
}

/// The job of a case.
pub(crate) fn tree(kind: Kind, keeps_last: bool) -> Value {
    let path = |name: &str, kind: &str| json!({"name": name, "path": name, "type": kind});
    let time = |disorder: i64| {
        json!({
            "out_of_orderness": format!("{disorder}ms"), "idle_timeout": "30s", "drift_max": "48h",
        })
    };
    let source = |topic: &str, disorder: i64| {
        json!({
            "topic": topic, "start": "earliest", "time": time(disorder),
            "event_time": {"path": "at", "format": "unix_millis"},
        })
    };
    let mut performance = match kind {
        Kind::Binary => json!({"task": "binary", "score": "score", "threshold": 0.5}),
        Kind::Multiclass => {
            json!({"task": "multiclass", "predicted": "class", "classes": CLASSES})
        }
        Kind::Regression => json!({"task": "regression", "predicted": "number"}),
    };
    performance["window"] = format!("{WINDOW_MILLIS}ms").into();
    performance["horizon"] = format!("{HORIZON_MILLIS}ms").into();
    performance["labels"] = json!({
        "source": "truth", "prediction_id": "id", "value": "value", "revision": "revision",
        "deleted": "deleted", "keep": if keeps_last { "last" } else { "first" },
    });
    json!({
        "name": "sim",
        "sources": [source("logs", DISORDER_MILLIS[0]), source("truth", DISORDER_MILLIS[1])],
        "outputs": {"results_topic": "results"},
        "models": [{
            "name": "m", "source": "logs", "version_path": "version", "prediction_id": "id",
            "references": "{model}-{version}.json",
            "window": {
                "length": "1m", "offset": format!("{OFFSET_MILLIS}ms"),
                "lateness": format!("{LATENESS_MILLIS}ms"), "open_max": 100,
            },
            "features": [path("x", "float64")],
            "predictions": [
                path("score", "float64"), path("class", "categorical"), path("number", "float64"),
            ],
            "segments": [{"name": "country", "path": "country", "values": ["de", "fr"]}],
            "performance": performance,
        }],
    })
}
