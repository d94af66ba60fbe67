//! Checks the topics of inference logs, and puts together what their records look like.
//!
//! Before: [`super::models`]. After: a decoder a partition works by the [`SourceSchema`].

use std::sync::Arc;

use driftd_ingest::{
    EmbeddedField, EmbeddedForm, EnvelopeValue, FieldPath, Framing, ModelSchema, SourceSchema,
    TimeFormat,
};

use super::super::error::{Findings, Noted};
use super::super::raw::{
    RawChangeEvents, RawConfig, RawEmbedded, RawEmbeddedForm, RawEventTime, RawFormat, RawModel,
    RawSource, RawStart, RawTimeFormat,
};
use super::super::{
    Content, FirstStart, JoinConfig, PaneConfig, SourceConfig, SourceFormat, TimeConfig,
};
use super::models::CheckedModel;
use super::{distinct, field_path, format, join, lists, time_path, windows};

/// Checks all sources.
pub(super) fn sources(
    raw: &RawConfig,
    models: &[Result<CheckedModel, Noted>],
    findings: &mut Findings,
) -> Result<Vec<SourceConfig>, Noted> {
    let sources = || raw.sources.iter().enumerate();
    let topics =
        sources().map(|(index, it)| (format!("sources[{index}].topic"), it.topic.0.as_str()));
    distinct(topics, "topic", findings);
    let checked: Vec<_> =
        sources().map(|(index, it)| source(raw, it, index, models, findings)).collect();
    checked.into_iter().collect()
}

fn source(
    raw: &RawConfig,
    source: &RawSource,
    index: usize,
    models: &[Result<CheckedModel, Noted>],
    findings: &mut Findings,
) -> Result<SourceConfig, Noted> {
    let path = format!("sources[{index}]");
    let (own, content) = carried(raw, source);
    told_apart(source, own.len(), &path, findings);
    let event_time = event_time(&source.event_time, &format!("{path}.event_time"), findings);
    let model = source.model.as_ref().map(|it| field_path(it, &format!("{path}.model"), findings));
    let columns =
        source.columns.as_ref().map(|it| field_path(it, &format!("{path}.columns"), findings));
    let counted = if content == Content::Predictions { &own[..] } else { &[] };
    let time = time(raw, source, counted, models, &path, findings);
    let schemas = own.iter().filter_map(|it| models.get(*it)).map(|it| schema_of(it, content));
    let schemas = schemas.collect::<Result<_, _>>()?;
    let written = format::format(source, &path, findings);
    let inference = format::inference(source, &path, findings);
    let embedded = embedded(source, &path, findings);
    let tensors = tensors(source, &path, findings);
    let change = change(source, content, &path, findings);
    let join = join::join(raw, source, &path, findings);
    let format = time_format(source.event_time.format.unwrap_or_default());
    lists::check(raw, index, (&own, content), findings)?;
    let schema = SourceSchema::try_new(event_time?, format, model.transpose()?, schemas);
    let schema = match columns.transpose()? {
        Some(columns) => schema.and_then(|it| it.with_columns(columns)),
        None => schema,
    };
    let (embedded, tensors) = (embedded?, tensors?);
    let schema = schema.and_then(|it| it.with_embedded(embedded));
    let schema = schema.and_then(|it| it.with_tensors(tensors));
    let schema = match inference? {
        Some(message) => schema.and_then(|it| it.with_inference(message)),
        None => schema,
    };
    let schema = schema.map_err(|error| {
        // Seen above already, and in better words, unless a rule was added there only.
        if findings.is_empty() {
            findings.add(&path, &error.to_string(), "correct its models");
        }
        Noted
    })?;
    let (written, join) = (written?, join?);
    let schema = brought(schema, change?, &written, join.as_deref());
    Ok(SourceConfig {
        topic: source.topic.0.as_str().into(),
        start: match source.start {
            RawStart::Earliest => FirstStart::Earliest,
            RawStart::Latest => FirstStart::Latest,
        },
        format: written,
        schema: Arc::new(schema.with_framing(framing(source.format))),
        models: own,
        content,
        dead_letter_topic: source.dead_letter_topic.as_ref().map(|it| it.0.clone()),
        payload_bytes_max: source.payload_bytes_max,
        rows_max: source.rows_max,
        join,
        time: time?,
    })
}

/// Returns which models a topic carries, and what of them.
fn carried(raw: &RawConfig, source: &RawSource) -> (Vec<usize>, Content) {
    let own = models_of(raw, |it| it.source == source.topic);
    if !own.is_empty() {
        return (own, Content::Predictions);
    }
    let labelled =
        |it: &RawModel| it.performance.as_ref().is_some_and(|it| it.labels.source == source.topic);
    (models_of(raw, labelled), Content::Labels)
}

fn schema_of(model: &Result<CheckedModel, Noted>, content: Content) -> Result<ModelSchema, Noted> {
    let model = model.as_ref().map_err(|noted| *noted)?;
    match content {
        Content::Predictions => Ok(model.schema.clone()),
        Content::Labels => model.labels.clone().ok_or(Noted),
    }
}

/// Returns the models that something is true of.
fn models_of(raw: &RawConfig, is_one: impl Fn(&RawModel) -> bool) -> Vec<usize> {
    let models = raw.models.iter().enumerate();
    models.filter(|(_, it)| is_one(it)).map(|(index, _)| index).collect()
}

/// Has what the source wants beside the paths of its models brought along.
fn brought(
    schema: SourceSchema,
    change: Option<FieldPath>,
    format: &SourceFormat,
    join: Option<&JoinConfig>,
) -> SourceSchema {
    let schema = match change {
        Some(op) => schema.with_change(op),
        None => schema,
    };
    let schema = match SourceConfig::schema_header(format) {
        Some(header) => schema.with_header(header),
        None => schema,
    };
    match join {
        Some(join) => schema.with_beside([&join.half.id, &join.half.side]),
        None => schema,
    }
}

fn framing(format: RawFormat) -> Framing {
    match format {
        RawFormat::Json
        | RawFormat::Avro
        | RawFormat::Protobuf
        | RawFormat::Arrow
        | RawFormat::OpenInference => Framing::Document,
        RawFormat::Ndjson => Framing::Lines,
    }
}

/// Reads where the event time is. Kafka's own is not written in a format.
fn event_time(raw: &RawEventTime, path: &str, findings: &mut Findings) -> Result<FieldPath, Noted> {
    let read = time_path(&raw.path, &format!("{path}.path"), findings)?;
    if read.beside() == Some(&EnvelopeValue::Time) && raw.format.is_some() {
        let problem = "is beside `path: $time`, which is Kafka's time and not written in a format";
        return Err(findings.add(&format!("{path}.format"), problem, "remove it"));
    }
    Ok(read)
}

/// Returns what changes are not read beside. The text of a column that an update left out is no
/// document, and a label that is given or taken away later is no new row.
fn unfit_beside(source: &RawSource, content: Content) -> Option<&'static str> {
    let is_there = [
        (source.join.is_some(), "`join`"),
        (!source.embedded.is_empty(), "`embedded`"),
        (!source.tensors.is_empty(), "`tensors`"),
        (content == Content::Labels, "labels"),
    ];
    is_there.into_iter().find_map(|(is_there, what)| is_there.then_some(what))
}

/// Reads where messages say what became of a row, if they are changes.
fn change(
    source: &RawSource,
    content: Content,
    path: &str,
    findings: &mut Findings,
) -> Result<Option<FieldPath>, Noted> {
    let Some(RawChangeEvents { op }) = &source.change_events else { return Ok(None) };
    let place = format!("{path}.change_events");
    let read = field_path(op, &format!("{place}.op"), findings)?;
    let unfit = match source.format {
        RawFormat::Json | RawFormat::Avro | RawFormat::Protobuf => unfit_beside(source, content),
        RawFormat::Ndjson | RawFormat::Arrow | RawFormat::OpenInference => Some("this `format`"),
    };
    if let Some(unfit) = unfit {
        let problem = format!("is beside {unfit}, of which messages are no changes of rows");
        return Err(findings.add(&place, &problem, "keep one of the two"));
    }
    if read.beside().is_none() && !read.has_fixed_place() {
        let problem = format!("is `{op}`, which is not one value of a message");
        return Err(findings.add(
            &format!("{place}.op"),
            &problem,
            "name one, such as `payload.op`",
        ));
    }
    Ok(Some(read))
}

/// Reads which texts are documents.
fn embedded(
    source: &RawSource,
    path: &str,
    findings: &mut Findings,
) -> Result<Vec<EmbeddedField>, Noted> {
    let key = format!("{path}.embedded");
    if !source.embedded.is_empty() && !format::is_json(source.format) {
        let hint = "remove it, or read another topic";
        return Err(findings.add(&key, "is for texts of JSON", hint));
    }
    let all = source.embedded.iter().enumerate();
    let read = |(index, it): (usize, &RawEmbedded)| {
        let key = format!("{key}[{index}].path");
        let path = field_path(&it.path, &key, findings)?;
        if !path.has_fixed_place() {
            let problem = format!("is `{path}`, which is not one text of the payload");
            return Err(findings.add(&key, &problem, "name one, such as `request`"));
        }
        let form = match it.form {
            RawEmbeddedForm::Json => EmbeddedForm::Json,
            RawEmbeddedForm::Csv => EmbeddedForm::Csv,
            RawEmbeddedForm::Base64Json => EmbeddedForm::Base64Json,
            RawEmbeddedForm::Base64Csv => EmbeddedForm::Base64Csv,
        };
        Ok(EmbeddedField { path, form })
    };
    let read: Vec<_> = all.map(read).collect();
    let fields: Vec<EmbeddedField> = read.into_iter().collect::<Result<_, _>>()?;
    for (index, field) in fields.iter().enumerate() {
        let mut others = fields.iter().enumerate().filter(|(other, _)| *other != index);
        if let Some((_, other)) = others.find(|(_, other)| field.path.is_inside(&other.path)) {
            let problem = format!("is `{}`, which is `{}` or inside of it", field.path, other.path);
            let hint = "name each text once, the outer one where they nest";
            return Err(findings.add(&format!("{key}[{index}].path"), &problem, hint));
        }
    }
    Ok(fields)
}

/// Reads which lists are tensors.
fn tensors(
    source: &RawSource,
    path: &str,
    findings: &mut Findings,
) -> Result<Vec<FieldPath>, Noted> {
    let key = format!("{path}.tensors");
    if !source.tensors.is_empty() && !format::is_json(source.format) {
        let hint = "remove it, or read another topic";
        return Err(findings.add(&key, "is for lists of JSON", hint));
    }
    let read = |(index, text): (usize, &String)| {
        let key = format!("{key}[{index}]");
        let path = field_path(text, &key, findings)?;
        if path.has_shape_beside() {
            return Ok(path);
        }
        let problem =
            format!("is `{path}`, which is no key of the payload with a `shape` beside it");
        let hint = "name the values of one tensor, such as `inputs[0].data`";
        Err(findings.add(&key, &problem, hint))
    };
    let read: Vec<_> = source.tensors.iter().enumerate().map(read).collect();
    read.into_iter().collect()
}

/// Checks the rules of event time, which have to suit the windows of the topic's models.
fn time(
    raw: &RawConfig,
    source: &RawSource,
    own: &[usize],
    models: &[Result<CheckedModel, Noted>],
    path: &str,
    findings: &mut Findings,
) -> Result<TimeConfig, Noted> {
    let panes: Vec<(usize, &PaneConfig)> = own
        .iter()
        .filter_map(|it| Some((*it, &models.get(*it)?.as_ref().ok()?.config.pane)))
        .collect();
    let longest = panes.iter().map(|(_, it)| it.length_millis).max().unwrap_or_default();
    let time = windows::time(&source.time, longest, &format!("{path}.time"), findings)?;
    for (model, pane) in panes {
        let key = if raw.models[model].window.is_some() { "window" } else { "windows[0]" };
        windows::open_max(pane, &time, &format!("models[{model}].{key}"), findings);
    }
    Ok(time)
}

/// Checks that each record belongs to exactly one model.
fn told_apart(source: &RawSource, models: usize, path: &str, findings: &mut Findings) {
    match (models, &source.model) {
        (0, _) if findings.doubts("models[].source") => {}
        (0, _) => {
            findings.add(
                &format!("{path}.topic"),
                &format!("`{}` is read by no model", source.topic.0),
                "name it as `source` of a model or of its labels, or remove it",
            );
        }
        (2.., None) => {
            findings.add(
                path,
                &format!("carries {models} models, which its records do not tell apart"),
                "add `model`: the path to the model's name in a record",
            );
        }
        _ => {}
    }
}

fn time_format(raw: RawTimeFormat) -> TimeFormat {
    match raw {
        RawTimeFormat::Rfc3339 => TimeFormat::Rfc3339,
        RawTimeFormat::UnixSeconds => TimeFormat::UnixSeconds,
        RawTimeFormat::UnixMillis => TimeFormat::UnixMillis,
        RawTimeFormat::UnixMicros => TimeFormat::UnixMicros,
        RawTimeFormat::UnixNanos => TimeFormat::UnixNanos,
    }
}
