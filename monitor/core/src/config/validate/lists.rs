//! Checks which paths of a source go through every element of a list (`[]`).
//!
//! Before: [`super::sources`] has read each path by itself. After: the schema, which has the same
//! rules and no keys to name.

use driftd_ingest::{FieldPath, Side, list_and_object};

use super::super::Content;
use super::super::error::{Findings, Noted};
use super::super::raw::{RawConfig, RawFormat, RawLabels, RawModel};
use super::format;

/// A path and the key that it is written at.
struct Keyed {
    key: String,
    path: FieldPath,
    /// Whether a value is read there.
    is_read: bool,
}

/// Checks the paths of one source and of its models.
pub(super) fn check(
    raw: &RawConfig,
    source: usize,
    (models, content): (&[usize], Content),
    findings: &mut Findings,
) -> Result<(), Noted> {
    // A time that cannot be read was complained of already, and says nothing about the others.
    let Some(event_time) = event_time(raw, source) else { return Ok(()) };
    let of_source: Vec<_> = [event_time].into_iter().chain(model_name(raw, source)).collect();
    let models = models.iter().filter_map(|index| Some((*index, raw.models.get(*index)?)));
    let models: Vec<_> =
        models.map(|(index, it)| (it, of(content, it, &format!("models[{index}]")))).collect();
    let all = || of_source.iter().chain(models.iter().flat_map(|(_, own)| own));
    rows(raw, source, all(), findings)?;
    no_list(raw, source, all(), findings)?;
    joined(raw, source, all(), findings)?;
    let mut outcome = agree(all(), findings);
    outcome = outcome.and(columns(raw, source, all(), findings));
    outcome = outcome.and(conditions(raw, source, all(), findings));
    outcome = outcome.and(embedded(raw, source, all(), findings));
    outcome = outcome.and(tensors(raw, source, all(), findings));
    outcome = outcome.and(inference(raw, source, all(), findings));
    let names = raw.sources.get(source).and_then(|it| it.columns.as_ref());
    let names = names.and_then(|it| keyed(format!("sources[{source}].columns"), it));
    for (_, own) in &models {
        let own = of_source.iter().chain(own).chain(&names).filter(|it| it.is_read);
        outcome = outcome.and(lists_and_objects(&own.collect::<Vec<_>>(), findings));
    }
    for (model, own) in models.iter().filter(|_| content == Content::Predictions) {
        outcome = outcome.and(counted(model, of_source.iter().chain(own), findings));
    }
    outcome
}

/// Checks that all paths into the payload lead into the rows of a message of Arrow, which is
/// nothing else.
fn rows<'a>(
    raw: &RawConfig,
    source: usize,
    paths: impl Iterator<Item = &'a Keyed> + Clone,
    findings: &mut Findings,
) -> Result<(), Noted> {
    if !raw.sources.get(source).is_some_and(|it| matches!(it.format, RawFormat::Arrow)) {
        return Ok(());
    }
    let mut outcome = Ok(());
    let mut inside = paths.filter(|it| it.path.beside().is_none()).peekable();
    if inside.peek().is_none() {
        let problem = "is of messages of Arrow, and no path leads into their rows";
        let hint = "write `[].NAME` into the path of a feature";
        return Err(findings.add(&format!("sources[{source}].format"), problem, hint));
    }
    for Keyed { key, path, .. } in inside.filter(|it| !it.path.begins_with_each()) {
        let (problem, hint) = if path.has_each() {
            let problem = format!("is `{path}`: a record for each element of a list in a row");
            let hint = "have the path begin with `[]`, each row of a message of Arrow, and write \
                        the place in another list, such as `[0]`";
            (problem, hint.to_owned())
        } else {
            let problem = format!("is `{path}`: a message of Arrow is a list of rows");
            (problem, format!("write `[].{path}`: the value of each row"))
        };
        outcome = Err(findings.add(key, &problem, &hint));
    }
    outcome
}

/// Checks that no path takes a message of Protobuf, or a body of a protocol, for a list.
fn no_list<'a>(
    raw: &RawConfig,
    source: usize,
    mut paths: impl Iterator<Item = &'a Keyed>,
    findings: &mut Findings,
) -> Result<(), Noted> {
    let (problem, hint) = match raw.sources.get(source).map(|it| it.format) {
        Some(RawFormat::Protobuf) => (
            "begins with `[]`, and a message of Protobuf is no list",
            "write the name of the repeated field before it",
        ),
        Some(RawFormat::OpenInference) => (
            "begins with `[]`, and a body of the protocol is no list",
            "write the tensor before it, as `inputs[name=x].data[][0]`",
        ),
        Some(RawFormat::Json | RawFormat::Ndjson | RawFormat::Avro | RawFormat::Arrow) | None => {
            return Ok(());
        }
    };
    let Some(list) = paths.find(|it| it.path.begins_with_each()) else { return Ok(()) };
    Err(findings.add(&list.key, problem, hint))
}

/// Checks that all paths into a document of two halves lead into one of them.
fn joined<'a>(
    raw: &RawConfig,
    source: usize,
    paths: impl Iterator<Item = &'a Keyed>,
    findings: &mut Findings,
) -> Result<(), Noted> {
    if raw.sources.get(source).is_none_or(|it| it.join.is_none()) {
        return Ok(());
    }
    let sides: Vec<FieldPath> = Side::ALL.iter().filter_map(|it| path(it.as_str())).collect();
    let mut outcome = Ok(());
    for Keyed { key, path, .. } in paths.filter(|it| it.path.beside().is_none()) {
        if !sides.iter().any(|side| path.is_inside(side)) {
            let problem = format!("is `{path}`: with `join` a record is a request and a response");
            let hint = "begin it with `request` or `response`, as `response.predictions[]`";
            outcome = Err(findings.add(key, &problem, hint));
        }
    }
    outcome
}

/// Checks that either all paths into the payload take it for a list, or none.
fn agree<'a>(paths: impl Iterator<Item = &'a Keyed>, findings: &mut Findings) -> Result<(), Noted> {
    let mut inside = paths.filter(|it| it.path.beside().is_none());
    let Some(first) = inside.next() else { return Ok(()) };
    let is_list = first.path.begins_with_each();
    let mut outcome = Ok(());
    for other in inside.filter(|it| it.path.begins_with_each() != is_list) {
        outcome = Err(mixed(first, other, findings));
    }
    outcome
}

/// Checks that records of one message differ in something that is counted.
fn counted<'a>(
    model: &RawModel,
    mut paths: impl Iterator<Item = &'a Keyed>,
    findings: &mut Findings,
) -> Result<(), Noted> {
    let counted = model.features.iter().chain(&model.predictions);
    if counted.filter_map(|it| path(&it.path)).any(|it| it.has_each()) {
        return Ok(());
    }
    let Some(Keyed { key, path, .. }) = paths.find(|it| it.path.has_each()) else { return Ok(()) };
    let name = &model.name.0;
    Err(findings.add(
        key,
        &format!(
            "is `{path}`: a record for each element, and model `{name}` has no feature or \
             prediction with a value for each"
        ),
        "write `[]` into the paths of its features, or a place such as `[0]` here",
    ))
}

/// Checks that no path of a model takes a value for an object that another takes for a list.
fn lists_and_objects(paths: &[&Keyed], findings: &mut Findings) -> Result<(), Noted> {
    let found = list_and_object(paths.iter().map(|it| &it.path));
    let Some((list, object)) = found.map(|(list, object)| (paths[list], paths[object])) else {
        return Ok(());
    };
    Err(findings.add(
        &object.key,
        &format!(
            "is `{}` beside `{}` at `{}`: the same value as an object and as a list",
            object.path, list.path, list.key
        ),
        "read both from where messages have them",
    ))
}

/// Checks that elements are found by a text only where the format does that.
fn conditions<'a>(
    raw: &RawConfig,
    source: usize,
    paths: impl Iterator<Item = &'a Keyed>,
    findings: &mut Findings,
) -> Result<(), Noted> {
    let becomes_json = raw.sources.get(source).is_none_or(|it| format::becomes_json(it.format));
    let mut outcome = Ok(());
    for Keyed { key, path, .. } in paths.filter(|it| !becomes_json && it.path.has_where()) {
        let problem = format!("is `{path}`: an element is found by its text in JSON only");
        outcome = Err(findings.add(key, &problem, "name its place, such as `[0]`"));
    }
    outcome
}

/// Checks that something is read of each text that is a document.
fn embedded<'a>(
    raw: &RawConfig,
    source: usize,
    paths: impl Iterator<Item = &'a Keyed>,
    findings: &mut Findings,
) -> Result<(), Noted> {
    let mut outcome = Ok(());
    let paths: Vec<&Keyed> = paths.filter(|it| it.is_read).collect();
    let texts = raw.sources.get(source).into_iter().flat_map(|it| &it.embedded).enumerate();
    let texts = texts.filter_map(|(index, it)| Some((index, path(&it.path)?)));
    // Of others it is said already that they are none.
    let texts = texts.filter(|(_, it)| is_json(raw, source) && it.has_fixed_place());
    for (index, text) in texts {
        let is_in_it = |it: &Keyed| it.path.is_inside(&text) && !text.is_inside(&it.path);
        if !paths.iter().any(|it| is_in_it(it)) {
            let problem = format!("is `{text}`, and no path leads into it");
            let hint = format!("read a value of it, as `{text}.age`, or remove it");
            let key = format!("sources[{source}].embedded[{index}].path");
            outcome = Err(findings.add(&key, &problem, &hint));
        }
    }
    outcome
}

/// Checks that each tensor is named once, and that what is read of it are values of its rows.
fn tensors<'a>(
    raw: &RawConfig,
    source: usize,
    paths: impl Iterator<Item = &'a Keyed>,
    findings: &mut Findings,
) -> Result<(), Noted> {
    let mut outcome = Ok(());
    let paths: Vec<&Keyed> = paths.filter(|it| it.is_read).collect();
    let columns = raw.sources.get(source).and_then(|it| path(it.columns.as_ref()?));
    let all = raw.sources.get(source).into_iter().flat_map(|it| &it.tensors).enumerate();
    let all = all.filter_map(|(index, it)| Some((index, path(it)?)));
    // Of others it is said already that they are none.
    let all = all.filter(|(_, it)| is_json(raw, source) && it.has_shape_beside());
    let all: Vec<_> = all.collect();
    for (index, tensor) in &all {
        let key = format!("sources[{source}].tensors[{index}]");
        let mut others = all.iter().filter(|(other, _)| other != index);
        if let Some((_, other)) = others.find(|(_, other)| tensor.is_inside(other)) {
            let problem = if tensor == other {
                format!("is `{tensor}`, which is named twice")
            } else {
                format!("is `{tensor}`, which is inside of `{other}`")
            };
            outcome = Err(findings.add(&key, &problem, "name each tensor once"));
            continue;
        }
        let inside: Vec<_> = paths.iter().filter(|it| it.path.is_inside(tensor)).collect();
        if inside.is_empty() {
            let problem = format!("is `{tensor}`, and no path reads a value of its records");
            let hint = format!("read one, as `{tensor}[][0]`, or remove it");
            outcome = Err(findings.add(&key, &problem, &hint));
        }
        for path in inside.into_iter().filter(|it| !it.path.is_value_of(tensor, columns.as_ref())) {
            outcome = Err(no_value(path, tensor, findings));
        }
    }
    outcome
}

fn no_value(Keyed { key, path, .. }: &Keyed, tensor: &FieldPath, findings: &mut Findings) -> Noted {
    let problem = format!("is `{path}`, and `{tensor}` is a tensor");
    let hint = format!("write `{tensor}[][0]` for the first value of each record");
    findings.add(key, &problem, &hint)
}

/// Checks that what is read of tensors of the Open Inference Protocol are values of their rows.
fn inference<'a>(
    raw: &RawConfig,
    source: usize,
    paths: impl Iterator<Item = &'a Keyed>,
    findings: &mut Findings,
) -> Result<(), Noted> {
    let source = raw.sources.get(source);
    let mut outcome = Ok(());
    let Some(source) = source.filter(|it| it.format == RawFormat::OpenInference) else {
        return outcome;
    };
    let bodies: &[&[&str]] = match source.join {
        Some(_) => &[&[Side::Request.as_str()], &[Side::Response.as_str()]],
        None => &[&[]],
    };
    for path in paths.filter(|it| it.is_read) {
        let tensor = bodies.iter().find_map(|body| path.path.inference_tensor(body));
        if let Some(tensor) = tensor.filter(|it| !path.path.is_value_of(it, None)) {
            outcome = Err(no_value(path, &tensor, findings));
        }
    }
    outcome
}

fn is_json(raw: &RawConfig, source: usize) -> bool {
    raw.sources.get(source).is_none_or(|it| format::is_json(it.format))
}

/// Checks that names of columns name some; of another format they are refused already.
fn columns<'a>(
    raw: &RawConfig,
    source: usize,
    paths: impl Iterator<Item = &'a Keyed> + Clone,
    findings: &mut Findings,
) -> Result<(), Noted> {
    let text = raw.sources.get(source).and_then(|it| it.columns.as_ref());
    let text = text.filter(|_| is_json(raw, source));
    let Some(names) = text.and_then(|it| path(it)) else { return Ok(()) };
    let paths = paths.filter(|it| it.is_read);
    if names.has_each() {
        return Err(findings.add(
            &format!("sources[{source}].columns"),
            &format!("is `{names}`: names in each record"),
            "name one list of names, such as `dataframe_split.columns`",
        ));
    }
    if let Some(rows) = paths.clone().find(|it| it.path.has_rows_of(&names)) {
        return Err(findings.add(
            &format!("sources[{source}].columns"),
            &format!("is `{names}`, of which `{}` at `{}` reads records", rows.path, rows.key),
            "name the list of names beside the list of records",
        ));
    }
    if let Some(named) = paths.clone().find(|it| it.path.is_named_by(&names)) {
        let is_lost = |it: &&Keyed| {
            let mut all = paths.clone().filter(|other| other.path.is_named_by(&names));
            all.any(|other| it.path.has_where_in_row_of(&other.path))
        };
        let Some(lost) = paths.clone().find(is_lost) else { return Ok(()) };
        let problem = format!("is `{}`, and `{names}` names the values of its list", lost.path);
        let hint = format!("read the value by its name, as `{}`", named.path);
        return Err(findings.add(&lost.key, &problem, &hint));
    }
    Err(findings.add(
        &format!("sources[{source}].columns"),
        &format!("is `{names}`, and no path reads a list beside it by name"),
        "read one, as `dataframe_split.data[].age` is read by `dataframe_split.columns`, or remove it",
    ))
}

fn mixed(first: &Keyed, other: &Keyed, findings: &mut Findings) -> Noted {
    let Keyed { key, path, .. } = first;
    let problem = if path.begins_with_each() {
        format!("is `{}` beside `{path}` at `{key}`, by which a message is a list", other.path)
    } else {
        format!("is `{}`: a list of records, beside `{path}` at `{key}`", other.path)
    };
    findings.add(
        &other.key,
        &problem,
        "begin all paths of the topic with `[]` if its messages are lists, or none",
    )
}

/// Paths that cannot be read were complained of already.
fn path(text: &str) -> Option<FieldPath> {
    FieldPath::parse(text).ok()
}

fn keyed(key: String, text: &str) -> Option<Keyed> {
    path(text).map(|path| Keyed { key, path, is_read: true })
}

fn event_time(raw: &RawConfig, index: usize) -> Option<Keyed> {
    let source = raw.sources.get(index)?;
    keyed(format!("sources[{index}].event_time.path"), &source.event_time.path)
}

fn model_name(raw: &RawConfig, index: usize) -> Option<Keyed> {
    let text = raw.sources.get(index)?.model.as_ref()?;
    keyed(format!("sources[{index}].model"), text)
}

/// Returns the paths of a model's records in a topic with such content.
fn of(content: Content, model: &RawModel, key: &str) -> Vec<Keyed> {
    match (content, &model.performance) {
        (Content::Predictions, _) => of_model(model, key),
        (Content::Labels, Some(performance)) => of_labels(&performance.labels, key),
        (Content::Labels, None) => Vec::new(),
    }
}

fn of_labels(labels: &RawLabels, key: &str) -> Vec<Keyed> {
    let paths = [
        ("value", Some(&labels.value)),
        ("row", labels.row.as_ref()),
        ("revision", labels.revision.as_ref()),
        ("deleted", labels.deleted.as_ref()),
        ("prediction_id", Some(&labels.prediction_id)),
    ];
    let paths = paths.into_iter().filter_map(|(name, text)| Some((name, text?)));
    let keyed = paths.map(|(name, it)| keyed(format!("{key}.performance.labels.{name}"), it));
    keyed.flatten().collect()
}

fn of_model(model: &RawModel, key: &str) -> Vec<Keyed> {
    let optional = |name: &str, text: &Option<String>| {
        text.as_ref().and_then(|it| keyed(format!("{key}.{name}"), it))
    };
    let mut paths: Vec<Keyed> = Vec::new();
    paths.extend(optional("version_path", &model.version_path));
    let identity = optional("prediction_id", &model.prediction_id);
    let is_read = model.performance.is_some();
    paths.extend(identity.map(|it| Keyed { is_read, ..it }));
    for (name, columns) in [("features", &model.features), ("predictions", &model.predictions)] {
        let columns = columns.iter().enumerate();
        paths.extend(
            columns.filter_map(|(at, it)| keyed(format!("{key}.{name}[{at}].path"), &it.path)),
        );
    }
    let segments = model.segments.iter().enumerate();
    paths.extend(
        segments.filter_map(|(at, it)| keyed(format!("{key}.segments[{at}].path"), &it.path)),
    );
    paths
}
