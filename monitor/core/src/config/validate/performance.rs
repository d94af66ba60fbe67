//! Checks how the performance of a model is followed.
//!
//! Before: [`super::models`]. After: [`super::sources`] reads labels by the schema made here.

use std::sync::Arc;

use driftd_ingest::{FeatureField, FeatureKind, FieldPath, ModelSchema, VersionField};

use super::super::error::{Findings, Noted};
use super::super::performance::{
    BinaryClasses, Keep, LabelsConfig, PerformanceConfig, Sample, Task, is_same_class,
};
use super::super::raw::{
    RawConfig, RawKeep, RawKind, RawLabels, RawModel, RawPerformance, RawTask,
};
use super::super::text::Label;
use super::{distinct, field_path, positive_millis};

/// Shortest window: each has counts of its own, as long as labels may come.
const WINDOW_MILLIS_MIN: i64 = 60_000;

/// Most windows that wait for labels at once, of each version and segment.
const WINDOWS_MAX: i64 = 2_000;

/// How performance is followed, and what the records of labels look like.
pub(super) type Checked = (PerformanceConfig, ModelSchema);

/// Checks the section of a model, if it has one.
pub(super) fn performance(
    raw: &RawConfig,
    model: &RawModel,
    path: &str,
    findings: &mut Findings,
) -> Result<Option<Checked>, Noted> {
    let Some(performance) = &model.performance else { return Ok(None) };
    let path = format!("{path}.performance");
    kept(raw, model, &path, findings);
    let task = task(model, performance, &path, findings);
    let window = window(performance, &path, findings);
    let labels = labels(raw, &performance.labels, &format!("{path}.labels"), findings);
    let schema = schema(model, performance, &format!("{path}.labels"), findings);
    let (window_millis, horizon_millis) = window?;
    let sample = Sample::of(performance.sample);
    let (task, labels) = (task?, labels?);
    // Borders are shifted as those of the model's other windows.
    let offset_millis = 0;
    let config =
        PerformanceConfig { task, labels, window_millis, offset_millis, horizon_millis, sample };
    Ok(Some((config, schema?)))
}

/// Checks that predictions can be kept and found.
fn kept(raw: &RawConfig, model: &RawModel, path: &str, findings: &mut Findings) {
    if model.prediction_id.is_none() {
        let problem = "is there, and no `prediction_id` by which a label finds its prediction";
        findings.add(path, problem, "add `prediction_id` to the model, with the path to it");
    }
    if raw.scale_out.is_some() {
        let problem = "stands beside `scale_out`: one process alone joins labels";
        findings.add(path, problem, "use `state` instead of `scale_out`");
    } else if raw.state.is_none() && raw.kafka.is_some() {
        let problem = "is there, and no `state`: predictions wait for their labels on disk";
        findings.add(path, problem, "add `state`, with a folder");
    }
}

fn task(
    model: &RawModel,
    raw: &RawPerformance,
    path: &str,
    findings: &mut Findings,
) -> Result<Task, Noted> {
    refuse_foreign(raw, path, findings);
    let column = |key: &str, name: &Option<Label>, findings: &mut Findings| {
        name.as_ref().map(|it| column(model, raw.task, key, it, path, findings)).transpose()
    };
    let (score, predicted) =
        (column("score", &raw.score, findings), column("predicted", &raw.predicted, findings));
    match raw.task {
        RawTask::Binary => {
            let classes = binary_classes(raw, path, findings);
            let (score, predicted) = (score?, predicted?);
            if score.is_none() && predicted.is_none() {
                let hint = "add `score` with the name of a prediction, or `predicted`";
                return Err(findings.add(
                    path,
                    "says neither what the model scores nor what it predicts",
                    hint,
                ));
            }
            let threshold = raw.threshold.unwrap_or(0.5);
            Ok(Task::Binary { score, predicted, threshold, classes: classes? })
        }
        RawTask::Multiclass => {
            let classes = classes(raw, path, findings);
            let predicted = needed(predicted?, path, findings);
            Ok(Task::Multiclass { predicted: predicted?, classes: classes? })
        }
        RawTask::Regression => {
            Ok(Task::Regression { predicted: needed(predicted?, path, findings)? })
        }
    }
}

fn needed(column: Option<usize>, path: &str, findings: &mut Findings) -> Result<usize, Noted> {
    column.ok_or_else(|| {
        let key = format!("{path}.predicted");
        findings.add(&key, "is missing", "name the prediction, of `predictions`, to be compared")
    })
}

/// Refuses keys of another task.
fn refuse_foreign(raw: &RawPerformance, path: &str, findings: &mut Findings) {
    let binary = [
        ("score", raw.score.is_some()),
        ("threshold", raw.threshold.is_some()),
        ("positive", raw.positive.is_some()),
        ("negative", raw.negative.is_some()),
    ];
    let foreign = match raw.task {
        RawTask::Binary => vec![("classes", raw.classes.is_some())],
        RawTask::Multiclass => binary.to_vec(),
        RawTask::Regression => {
            binary.into_iter().chain([("classes", raw.classes.is_some())]).collect()
        }
    };
    for (key, _) in foreign.into_iter().filter(|(_, is_there)| *is_there) {
        let problem = "is for another `task`";
        findings.add(&format!("{path}.{key}"), problem, "remove it, or change `task`");
    }
}

/// Finds the column of a prediction, which has to be of a type that the task compares.
fn column(
    model: &RawModel,
    task: RawTask,
    key: &str,
    name: &Label,
    path: &str,
    findings: &mut Findings,
) -> Result<usize, Noted> {
    let path = format!("{path}.{key}");
    let found = model.predictions.iter().position(|it| it.name == *name);
    let found = found.zip(found.and_then(|at| model.predictions.get(at)));
    let Some((at, prediction)) = found else {
        let problem = format!("`{}` is not the name of a prediction", name.0);
        return Err(findings.add(&path, &problem, "name one of the model's `predictions`"));
    };
    let is_number = match prediction.kind {
        RawKind::Float32 | RawKind::Float64 | RawKind::Integer => true,
        RawKind::Categorical | RawKind::Boolean => false,
    };
    let wants_number = key == "score" || task == RawTask::Regression;
    if is_number == wants_number {
        return Ok(model.features.len() + at);
    }
    let (found, hint) = if wants_number {
        ("no number", "give that prediction the type `float64`")
    } else {
        ("a number", "give that prediction the type `categorical`")
    };
    Err(findings.add(&path, &format!("`{}` is {found}", name.0), hint))
}

fn binary_classes(
    raw: &RawPerformance,
    path: &str,
    findings: &mut Findings,
) -> Result<BinaryClasses, Noted> {
    let texts = |given: &Option<Label>, fixed: [&str; 2]| -> Vec<Arc<str>> {
        match given {
            Some(text) => vec![text.0.as_str().into()],
            None => fixed.map(Into::into).into(),
        }
    };
    let positive = texts(&raw.positive, ["1", "true"]);
    let negative = texts(&raw.negative, ["0", "false"]);
    let is_negative = |text: &Arc<str>| negative.iter().any(|it| is_same_class(it, text));
    if let Some(both) = positive.iter().find(|it| is_negative(it)) {
        let key = if raw.negative.is_some() { "negative" } else { "positive" };
        let problem = format!("`{both}` is the text of both classes");
        let hint = "write `positive` and `negative`, each as labels have it";
        return Err(findings.add(&format!("{path}.{key}"), &problem, hint));
    }
    Ok(BinaryClasses { positive, negative })
}

fn classes(
    raw: &RawPerformance,
    path: &str,
    findings: &mut Findings,
) -> Result<Vec<Arc<str>>, Noted> {
    let path = format!("{path}.classes");
    let Some(classes) = &raw.classes else {
        return Err(findings.add(&path, "is missing", "list the texts of all classes"));
    };
    let names = || classes.iter().enumerate().map(|(at, it)| (format!("{path}[{at}]"), &*it.0));
    distinct(names(), "class", findings);
    for (at, class) in classes.iter().enumerate() {
        let mut before = classes.iter().take(at).filter(|it| it.0 != class.0);
        if let Some(same) = before.find(|it| is_same_class(&it.0, &class.0)) {
            let problem = format!("`{}` is the same number as `{}`", class.0, same.0);
            findings.add(&format!("{path}[{at}]"), &problem, "write each class once");
        }
    }
    Ok(classes.iter().map(|it| it.0.as_str().into()).collect())
}

fn window(raw: &RawPerformance, path: &str, findings: &mut Findings) -> Result<(i64, i64), Noted> {
    let window = positive_millis(&raw.window, &format!("{path}.window"), findings);
    let horizon = positive_millis(&raw.horizon, &format!("{path}.horizon"), findings);
    let (window, horizon) = (window?, horizon?);
    if window < WINDOW_MILLIS_MIN {
        let problem = format!("`{}` is less than a minute", raw.window.0);
        return Err(findings.add(&format!("{path}.window"), &problem, "write `1m` or more"));
    }
    if WINDOWS_MAX < horizon / window {
        let problem = format!(
            "`{}` is more than {WINDOWS_MAX} times `window`: as many windows wait for labels",
            raw.horizon.0
        );
        let hint = "lengthen `window`, or shorten `horizon`";
        return Err(findings.add(&format!("{path}.horizon"), &problem, hint));
    }
    Ok((window, horizon))
}

fn labels(
    raw: &RawConfig,
    labels: &RawLabels,
    path: &str,
    findings: &mut Findings,
) -> Result<LabelsConfig, Noted> {
    let path = format!("{path}.source");
    let topic = &labels.source;
    let Some(source) = raw.sources.iter().position(|it| it.topic == *topic) else {
        if findings.doubts("sources[].topic") {
            return Err(Noted);
        }
        let problem = format!("`{}` is not the topic of a source", topic.0);
        return Err(findings.add(&path, &problem, "add it to `sources`"));
    };
    if let Some(reader) = raw.models.iter().find(|it| it.source == *topic) {
        let problem = format!("`{}` has the predictions of model `{}`", topic.0, reader.name.0);
        let hint = "send labels to a topic of their own";
        return Err(findings.add(&path, &problem, hint));
    }
    if raw.sources.get(source).is_some_and(|it| it.join.is_some()) {
        let problem = format!("`{}` joins requests and responses", topic.0);
        return Err(findings.add(&path, &problem, "remove `join` from that source"));
    }
    Ok(LabelsConfig {
        source,
        has_row: labels.row.is_some(),
        has_revision: labels.revision.is_some(),
        has_deleted: labels.deleted.is_some(),
        keep: match labels.keep {
            RawKeep::Last => Keep::Last,
            RawKeep::First => Keep::First,
        },
    })
}

/// Returns what the records of labels look like, in the order that [`LabelsConfig`] says.
fn schema(
    model: &RawModel,
    raw: &RawPerformance,
    path: &str,
    findings: &mut Findings,
) -> Result<ModelSchema, Noted> {
    let value = match raw.task {
        RawTask::Binary | RawTask::Multiclass => FeatureKind::Categorical,
        RawTask::Regression => FeatureKind::Float64,
    };
    let labels = &raw.labels;
    let columns = [
        ("value", Some(&labels.value), value),
        ("row", labels.row.as_ref(), FeatureKind::Integer),
        ("revision", labels.revision.as_ref(), FeatureKind::Integer),
        ("deleted", labels.deleted.as_ref(), FeatureKind::Boolean),
    ];
    let columns = columns.into_iter().filter_map(|(name, text, kind)| Some((name, text?, kind)));
    let fields: Vec<_> = columns
        .map(|(name, text, kind)| {
            let path = field_path(text, &format!("{path}.{name}"), findings)?;
            Ok(FeatureField { name: name.into(), path, kind })
        })
        .collect();
    let key = format!("{path}.prediction_id");
    let prediction_id: FieldPath = field_path(&labels.prediction_id, &key, findings)?;
    Ok(ModelSchema {
        name: model.name.0.as_str().into(),
        version: VersionField::Fixed("labels".into()),
        prediction_id: Some(prediction_id),
        features: fields.into_iter().collect::<Result<_, _>>()?,
        segments: Vec::new(),
    })
}
