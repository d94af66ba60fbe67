//! What a field is to the model, by its name and its values.
//!
//! Before: [`super::fields`]. After: [`super::proposal`] gathers what was judged. A judgement is a
//! guess for a person to correct: each says why.

use driftd_ingest::{FeatureKind, LEVEL_BYTES_MAX, TimeFormat};

use super::fields::Field;
use super::values::{DISTINCT_MAX, Values};

/// So many numbers, all of them whole, are enough to expect no fraction later: one refuses its
/// message in a column of integers.
const WHOLE_ENOUGH: u64 = 20;

/// Different whole numbers up to which a field that is named like an identifier may be a category.
const CODES_MAX: u64 = 20;

/// Keys of containers of what a model is given, and of what it answers.
const GIVEN: [&str; 13] = [
    "features",
    "feature",
    "instances",
    "instance",
    "inputs",
    "input",
    "request",
    "dataframe_split",
    "dataframe_records",
    "feature_values",
    "attributes",
    "x",
    "model_input",
];
const ANSWERED: [&str; 11] = [
    "predictions",
    "prediction",
    "outputs",
    "output",
    "response",
    "result",
    "results",
    "scores",
    "probabilities",
    "predicted",
    "model_output",
];

/// Keys of what is about a call, and part of neither side.
const ABOUT: [&str; 10] = [
    "meta",
    "metadata",
    "parameters",
    "params",
    "headers",
    "tags",
    "signature_name",
    "host",
    "hostname",
    "schema_version",
];

/// Parts of a name by which a value outside of any container is an answer.
const ANSWER_WORDS: [&str; 12] = [
    "prediction",
    "predicted",
    "pred",
    "score",
    "probability",
    "probabilities",
    "proba",
    "prob",
    "output",
    "yhat",
    "logit",
    "confidence",
];

/// Names of what turned out later.
const LABELS: [&str; 7] =
    ["label", "labels", "ground_truth", "target", "y_true", "actual", "outcome"];

/// Parts of the names of times.
const TIME_WORDS: [&str; 10] =
    ["time", "timestamp", "ts", "date", "datetime", "at", "created", "updated", "epoch", "when"];

/// Parts of the names of identifiers.
const ID_WORDS: [&str; 7] = ["id", "ids", "uuid", "guid", "key", "hash", "token"];

/// Names of event times, best first.
const EVENT_TIMES: [&str; 16] = [
    "event_time",
    "eventtime",
    "prediction_time",
    "predicted_at",
    "inference_time",
    "timestamp",
    "time",
    "ts",
    "event_timestamp",
    "event_ts",
    "timestamp_ms",
    "request_time",
    "created_at",
    "created",
    "datetime",
    "logged_at",
];

/// Names of a prediction's identity, best first.
const PREDICTION_IDS: [&str; 12] = [
    "prediction_id",
    "predictionid",
    "inference_id",
    "inferenceid",
    "request_id",
    "requestid",
    "event_id",
    "eventid",
    "puid",
    "correlation_id",
    "uuid",
    "id",
];

/// Ends of paths to a model's name, best first.
const MODELS: [&str; 7] = [
    "model.name",
    "model_spec.name",
    "model_name",
    "modelname",
    "model_id",
    "model",
    "inferenceservicename",
];

/// Ends of paths to a model's version, best first.
const VERSIONS: [&str; 6] = [
    "model.version",
    "model_spec.version",
    "model_version",
    "modelversion",
    "version",
    "bento_version",
];

/// Attributes of a `CloudEvent` that are never part of a record.
const EVENT_ATTRIBUTES: [&str; 9] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "traceparent",
];

/// What a field is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// An input of the model.
    Feature(FeatureKind),
    /// An output of the model.
    Prediction(FeatureKind),
    /// Neither, for a reason.
    Left(String),
}

/// What holds of all fields of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// How deep the attributes of `CloudEvents` are, where records are the `data` of such.
    pub(super) attributes_at: Option<usize>,
    /// Whether features have a container of their own, so that what is beside it is none.
    pub(super) has_container: bool,
}

impl Surroundings {
    pub(super) fn of(fields: &[Field<'_>], attributes_at: Option<usize>) -> Self {
        let has_container = fields.iter().any(|field| side(field) == Some(Side::Given));
        Self { attributes_at, has_container }
    }
}

/// The side of the model on which a container stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Given,
    Answered,
}

/// Returns the side of the first container on the way.
fn side(field: &Field<'_>) -> Option<Side> {
    let is_last = |at: usize| at + 1 == field.keys.len();
    let is_inside = |at: usize| !is_last(at) || field.list.is_some() || !field.places.is_empty();
    field.keys.iter().enumerate().filter(|(at, _)| is_inside(*at)).find_map(|(_, key)| {
        let key = plain(key);
        if GIVEN.contains(&key.as_str()) {
            Some(Side::Given)
        } else if ANSWERED.contains(&key.as_str()) {
            Some(Side::Answered)
        } else {
            None
        }
    })
}

/// Says what a field is that is no time, name, version or identity of the record.
pub(super) fn judge(field: &Field<'_>, around: Surroundings) -> Judgement {
    let left = |reason: &str| Judgement::Left(reason.to_owned());
    let side = side(field);
    let name = field.keys.last().map(|it| plain(it)).unwrap_or_default();
    let is_outside = field.list.is_none() || field.path.starts_with("[]");
    if around.attributes_at == Some(field.keys.len()) && is_outside {
        return left(if EVENT_ATTRIBUTES.contains(&name.as_str()) {
            "an attribute of the CloudEvent"
        } else {
            "an extension of the CloudEvent"
        });
    }
    if field.keys.iter().any(|it| ABOUT.contains(&plain(it).as_str())) {
        return left("about the call: not what the model was given or said");
    }
    if side.is_none() && LABELS.contains(&name.as_str()) {
        return left("looks like a label: what turned out, not what the model said");
    }
    let kind = match kind(&name, &field.node.values) {
        Ok(kind) => kind,
        Err(reason) => return Judgement::Left(reason),
    };
    let sounds_answered = words(&name).iter().any(|it| ANSWER_WORDS.contains(&it.as_str()));
    match side {
        Some(Side::Answered) => Judgement::Prediction(kind),
        None if sounds_answered || ANSWERED.contains(&name.as_str()) => Judgement::Prediction(kind),
        None if around.has_container => left("beside the features: not an input of the model?"),
        Some(Side::Given) | None => Judgement::Feature(kind),
    }
}

/// Returns the type of a column that holds the values, or why none should.
fn kind(name: &str, values: &Values) -> Result<FeatureKind, String> {
    let total = values.total();
    let numbers = values.numbers() + values.specials + values.endless;
    let is_id = words(name).iter().any(|it| ID_WORDS.contains(&it.as_str()));
    if values.booleans == total {
        return Ok(FeatureKind::Boolean);
    }
    if numbers == total {
        if is_time_number(name, values) {
            return Err("a time".to_owned());
        }
        if is_id && CODES_MAX < values.different() {
            return Err(format!("named like an identifier, {} values", different(values)));
        }
        let is_whole = values.integers == total && WHOLE_ENOUGH <= total;
        return Ok(if is_whole { FeatureKind::Integer } else { FeatureKind::Float64 });
    }
    let most = |count: u64| total < 2 * count;
    if most(values.times + values.dates) {
        return Err("a time".to_owned());
    }
    if most(values.uuids) {
        return Err("an identifier: UUIDs".to_owned());
    }
    if LEVEL_BYTES_MAX < values.longest {
        let (longest, most) = (values.longest, LEVEL_BYTES_MAX);
        return Err(format!("free text of up to {longest} bytes; a category has {most} at most"));
    }
    let kinds = if values.texts == total { "texts" } else { "values of several kinds" };
    if values.has_more || values.is_unique() {
        return Err(format!(
            "an identifier or free text: {} {kinds} in {total}",
            different(values)
        ));
    }
    if most(values.phrases) && total < 5 * values.different() {
        return Err("free text: several words, and hardly ever the same".to_owned());
    }
    if is_id && total < 2 * values.different() {
        return Err(format!("named like an identifier, {} {kinds}", different(values)));
    }
    Ok(FeatureKind::Categorical)
}

fn different(values: &Values) -> String {
    if values.has_more {
        format!("more than {DISTINCT_MAX} different")
    } else {
        format!("{} different", values.different())
    }
}

/// Returns how a field writes a time, if it may be an event time.
pub(super) fn time_format(field: &Field<'_>) -> Option<TimeFormat> {
    let values = &field.node.values;
    let total = values.total();
    if 0 < total && total * 9 <= values.times * 10 {
        return Some(TimeFormat::Rfc3339);
    }
    let name = field.keys.last().map(|it| plain(it)).unwrap_or_default();
    let sounds = words(&name).iter().any(|it| TIME_WORDS.contains(&it.as_str()));
    if values.numbers() == total && sounds { time_unit(values) } else { None }
}

fn is_time_number(name: &str, values: &Values) -> bool {
    let sounds = words(name).iter().any(|it| TIME_WORDS.contains(&it.as_str()));
    sounds && time_unit(values).is_some()
}

/// Returns the unit by which all numbers are times of the years 2001 to 2096.
fn time_unit(values: &Values) -> Option<TimeFormat> {
    let (least, greatest) = values.range?;
    let units = [
        (1e0, TimeFormat::UnixSeconds),
        (1e3, TimeFormat::UnixMillis),
        (1e6, TimeFormat::UnixMicros),
        (1e9, TimeFormat::UnixNanos),
    ];
    let fits = |scale: f64| 1e9 * scale <= least && greatest < 4e9 * scale;
    units.into_iter().find(|(scale, _)| fits(*scale)).map(|(_, format)| format)
}

/// How good a field is for a part that has names of its own: less is better; none where it is no
/// such field.
pub(super) fn rank(field: &Field<'_>, part: Part) -> Option<usize> {
    let is_given = side(field) == Some(Side::Given);
    let depth = field.keys.len();
    let names: &[&str] = match part {
        Part::EventTime => {
            let own = field.keys.last().map(|it| plain(it)).unwrap_or_default();
            let known = EVENT_TIMES.iter().position(|it| *it == own).unwrap_or(50);
            return Some(known * 20 + depth + if is_given { 10_000 } else { 0 });
        }
        Part::Model => &MODELS,
        Part::Version => &VERSIONS,
        Part::PredictionId => &PREDICTION_IDS,
    };
    if is_given || !field.places.is_empty() {
        return None;
    }
    let own: Vec<String> = field.keys.iter().map(|it| plain(it)).collect();
    let ends = |name: &str| {
        let wanted: Vec<&str> = name.split('.').collect();
        own.len() >= wanted.len()
            && own[own.len() - wanted.len()..].iter().zip(wanted).all(|(own, it)| own == it)
    };
    names.iter().position(|it| ends(it)).map(|at| at * 20 + depth)
}

/// A part of a record that is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    EventTime,
    Model,
    Version,
    PredictionId,
}

/// Writes a key in lower case with `_` between its words: `eventTime` and `@event-time` are
/// `event_time`.
fn plain(key: &str) -> String {
    words(key).join("_")
}

fn words(key: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in key.chars() {
        if !c.is_alphanumeric() || c.is_uppercase() && was_lower {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        was_lower = c.is_lowercase() || c.is_numeric();
    }
    words.retain(|it| !it.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_key_are_found_however_it_is_written() {
        for (key, expected) in [
            ("eventTime", "event_time"),
            ("@timestamp", "timestamp"),
            ("Model-Name", "model_name"),
            ("requestID", "request_id"),
            ("", ""),
            ("größe", "größe"),
        ] {
            assert_eq!(plain(key), expected, "{key}");
        }
    }
}
