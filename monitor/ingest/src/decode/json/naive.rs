//! Decodes one document slowly and obviously: a walk over `serde_json::Value` for each value.
//!
//! Before: [`super::oracle`] makes messages. After: it compares what the decoder made of them.

use std::collections::BTreeSet;

use driftd_catalog::{ModelId, SegmentId, Timestamp};
use serde_json::{Number, Value};

use crate::decode::DecodeLimits;
use crate::path::{FieldPath, Step};
use crate::rejection::RejectReason;
use crate::schema::{FeatureKind, Framing, ModelSchema, SourceSchema, TimeFormat, VersionField};

pub(super) const LIMITS: DecodeLimits =
    DecodeLimits { payload_bytes_max: 1 << 20, rows_max: 5, cells_max: 40 };

/// What becomes of a message: rows, or none with a reason.
pub(super) type Outcome = Result<Vec<PlainRow>, RejectReason>;

/// A row as plain values: what must be equal however it was decoded.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlainRow {
    pub(super) model: usize,
    pub(super) version: String,
    pub(super) event_time: Timestamp,
    pub(super) columns: Vec<Plain>,
}

/// Floats by their bits, so that NaN equals itself and −0.0 does not equal 0.0.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plain {
    Null,
    Float32(u32),
    Float64(u64),
    Integer(i64),
    Text(String),
}

/// Returns the outcome with numbers that became text in one notation: the decoder keeps the
/// message's own, `Value` does not.
pub(super) fn in_one_notation(outcome: Outcome) -> Outcome {
    let text = |text: String| match serde_json::from_str::<Number>(&text) {
        Ok(number) => number.to_string(),
        Err(_) => text,
    };
    let plain = |plain: Plain| match plain {
        Plain::Text(it) => Plain::Text(text(it)),
        Plain::Null | Plain::Float32(_) | Plain::Float64(_) | Plain::Integer(_) => plain,
    };
    let row = |row: PlainRow| PlainRow {
        version: text(row.version),
        columns: row.columns.into_iter().map(plain).collect(),
        ..row
    };
    outcome.map(|rows| rows.into_iter().map(row).collect())
}

/// Follows a path through a document to a row's value: absent, there, or through a value of another
/// kind.
fn find<'a>(
    value: &'a Value,
    path: &FieldPath,
    row: usize,
) -> Result<Option<&'a Value>, RejectReason> {
    follow(value, path.steps(), row)
}

fn follow<'a>(
    value: &'a Value,
    steps: &[Step],
    row: usize,
) -> Result<Option<&'a Value>, RejectReason> {
    let mut at = value;
    for step in steps {
        let next = match (step, at) {
            (_, Value::Null) => return Ok(None),
            (Step::Key(key), Value::Object(map)) => map.get(&**key),
            (Step::Index(index), Value::Array(elements)) => elements.get(*index),
            (Step::Each, Value::Array(elements)) => elements.get(row),
            (Step::Where { key, text }, Value::Array(elements)) => {
                elements.iter().rfind(|it| it.get(&**key).and_then(Value::as_str) == Some(text))
            }
            (Step::Key(_) | Step::Index(_) | Step::Where { .. } | Step::Each, _) => {
                return Err(RejectReason::WrongType);
            }
        };
        let Some(next) = next else { return Ok(None) };
        at = next;
    }
    Ok(Some(at).filter(|value| !value.is_null()))
}

fn required<'a>(value: &'a Value, path: &FieldPath, row: usize) -> Result<&'a Value, RejectReason> {
    find(value, path, row)?.ok_or(RejectReason::MissingField)
}

/// Compares the lists that the paths go through: `None` without such a path.
fn naive_count<'a>(
    record: &Value,
    paths: impl Iterator<Item = &'a FieldPath>,
    mut count: Option<usize>,
) -> Result<Option<usize>, RejectReason> {
    let mut paths = paths.filter(|path| path.has_each()).peekable();
    if paths.peek().is_none() {
        return Ok(count);
    }
    for path in paths {
        let steps = path.steps();
        let each = steps.iter().position(|step| *step == Step::Each).unwrap();
        let length = match follow(record, &steps[..each], 0)? {
            None => continue,
            Some(Value::Array(elements)) => elements.len(),
            Some(_) => return Err(RejectReason::WrongType),
        };
        if LIMITS.rows_max < length {
            return Err(RejectReason::TooManyRows);
        }
        if count.is_some_and(|count| count != length) {
            return Err(RejectReason::UnequalLists);
        }
        count = Some(length);
    }
    count.ok_or(RejectReason::MissingField).map(Some)
}

fn naive_time(value: &Value, format: TimeFormat) -> Result<Timestamp, RejectReason> {
    let millis = match (format, value) {
        (TimeFormat::Rfc3339, Value::String(text)) => {
            Timestamp::parse(text).ok().map(Timestamp::as_millis)
        }
        (TimeFormat::UnixSeconds, Value::Number(number)) => match number.as_i64() {
            Some(seconds) => i64::try_from(i128::from(seconds) * 1000).ok(),
            #[expect(clippy::cast_possible_truncation, reason = "saturates beyond the years")]
            None => number.as_f64().map(|seconds| (seconds * 1000.0).round() as i64),
        },
        _ => return Err(RejectReason::WrongType),
    };
    let first = Timestamp::parse("1870-01-01T00:00:00Z").unwrap();
    millis
        .filter(|millis| (first.as_millis()..=Timestamp::MAX.as_millis()).contains(millis))
        .map(Timestamp::from_millis)
        .ok_or(RejectReason::InvalidTime)
}

fn special(text: &str) -> Result<f64, RejectReason> {
    match text {
        "NaN" | "Infinity" | "-Infinity" => Ok(text.parse().unwrap()),
        _ => Err(RejectReason::WrongType),
    }
}

pub(super) fn naive_integer(number: &Number) -> Result<Plain, RejectReason> {
    if let Some(integer) = number.as_i64() {
        return Ok(Plain::Integer(integer));
    }
    let float = number.as_f64().unwrap();
    if 2f64.powi(53) <= float.abs() {
        Err(RejectReason::NumberOutOfRange)
    } else if float.trunc() == float {
        Ok(Plain::Integer(format!("{float:.0}").parse().unwrap()))
    } else {
        Err(RejectReason::WrongType)
    }
}

fn naive_text(value: &Value) -> Result<String, RejectReason> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(RejectReason::WrongType),
    }
}

fn naive_feature(value: &Value, kind: FeatureKind) -> Result<Plain, RejectReason> {
    match (kind, value) {
        #[expect(clippy::cast_possible_truncation, reason = "NaN and infinities")]
        (FeatureKind::Float32, Value::String(text)) => {
            special(text).map(|it| Plain::Float32((it as f32).to_bits()))
        }
        (FeatureKind::Float64, Value::String(text)) => {
            special(text).map(|it| Plain::Float64(it.to_bits()))
        }
        (FeatureKind::Float32, Value::Number(number)) => {
            let float: f32 = number.to_string().parse().unwrap();
            let plain = Plain::Float32(float.to_bits());
            if float.is_finite() { Ok(plain) } else { Err(RejectReason::NumberOutOfRange) }
        }
        (FeatureKind::Float64, Value::Number(number)) => {
            Ok(Plain::Float64(number.as_f64().unwrap().to_bits()))
        }
        (FeatureKind::Integer, Value::Number(number)) => naive_integer(number),
        (FeatureKind::Boolean, Value::Bool(_)) => Ok(Plain::Text(value.to_string())),
        (FeatureKind::Categorical, _) => {
            let text = naive_text(value)?;
            if text.len() <= 256 { Ok(Plain::Text(text)) } else { Err(RejectReason::InvalidName) }
        }
        _ => Err(RejectReason::WrongType),
    }
}

fn naive_columns(
    record: &Value,
    model: &ModelSchema,
    row: usize,
) -> Result<Vec<Plain>, RejectReason> {
    let mut columns = Vec::new();
    for it in &model.features {
        let value = find(record, &it.path, row)?;
        columns.push(value.map_or(Ok(Plain::Null), |value| naive_feature(value, it.kind))?);
    }
    for it in &model.segments {
        columns.push(match find(record, &it.path, row)?.map(naive_text).transpose()? {
            None => Plain::Null,
            Some(text) if SegmentId::try_new(&it.name, &text).is_ok() => Plain::Text(text),
            Some(_) => return Err(RejectReason::InvalidName),
        });
    }
    if let Some(path) = &model.prediction_id {
        let value = find(record, path, row)?;
        let kind = FeatureKind::Categorical;
        columns.push(value.map_or(Ok(Plain::Null), |value| naive_feature(value, kind))?);
    }
    Ok(columns)
}

fn naive_model(schema: &SourceSchema, record: &Value, row: usize) -> Result<usize, RejectReason> {
    let name = required(record, schema.model.as_ref().unwrap(), row)?;
    let name = name.as_str().ok_or(RejectReason::WrongType)?;
    let found = schema.models.iter().position(|model| *model.name == *name);
    found.ok_or_else(|| match ModelId::try_new(name, "1") {
        Ok(_) => RejectReason::UnknownModel,
        Err(_) => RejectReason::InvalidName,
    })
}

fn naive_row(
    schema: &SourceSchema,
    record: &Value,
    model: usize,
    row: usize,
) -> Result<PlainRow, RejectReason> {
    let version = match &schema.models[model].version {
        VersionField::Fixed(version) => version.to_string(),
        VersionField::Path(path) => {
            let value = required(record, path, row)?;
            if value.is_boolean() {
                return Err(RejectReason::WrongType);
            }
            let version = naive_text(value)?;
            if value.is_string() && 128 < version.len() {
                return Err(RejectReason::InvalidName);
            }
            version
        }
    };
    let event_time = required(record, &schema.event_time, row)?;
    let event_time = naive_time(event_time, schema.time_format)?;
    let columns = naive_columns(record, &schema.models[model], row)?;
    Ok(PlainRow { model, version, event_time, columns })
}

/// Paths of a model that the decoder looks at, in its order.
fn model_paths(model: &ModelSchema) -> impl Iterator<Item = &FieldPath> {
    let version = match &model.version {
        VersionField::Fixed(_) => None,
        VersionField::Path(path) => Some(path),
    };
    let features = model.features.iter().map(|it| &it.path);
    let segments = model.segments.iter().map(|it| &it.path);
    version.into_iter().chain(features).chain(segments).chain(&model.prediction_id)
}

/// Looks whether there is room for more beside the rows that are `taken`.
fn naive_room(taken: &[PlainRow], rows: usize, cells: usize) -> Result<(), RejectReason> {
    let held: usize = taken.iter().map(|row| row.columns.len()).sum();
    if LIMITS.rows_max < taken.len() + rows || LIMITS.cells_max < held + cells {
        return Err(RejectReason::TooManyRows);
    }
    Ok(())
}

/// Returns the rows of a document behind those of the message before it.
fn naive_rows(schema: &SourceSchema, record: &Value, mut rows: Vec<PlainRow>) -> Outcome {
    let by = schema.model.as_ref().unwrap();
    let source_paths = || [by, &schema.event_time].into_iter();
    let paths = |model: usize| model_paths(&schema.models[model]);
    let columns = |model: usize| {
        let ModelSchema { features, segments, prediction_id, .. } = &schema.models[model];
        features.len() + segments.len() + prediction_id.iter().len()
    };
    if !by.has_each() {
        let model = naive_model(schema, record, 0)?;
        let all = || source_paths().chain(paths(model));
        let count = naive_count(record, all(), None)?;
        let more = count.unwrap_or(1);
        naive_room(&rows, more, more * columns(model))?;
        if count != Some(0) {
            naive_names(schema, record, all())?;
        }
        for row in 0..more {
            let own = naive_named(schema, record, all(), row)?;
            rows.push(naive_row(schema, &own, model, row)?);
        }
        return Ok(rows);
    }
    let count = naive_count(record, source_paths(), None)?;
    naive_room(&rows, count.unwrap(), 0)?;
    if count != Some(0) {
        naive_names(schema, record, source_paths())?;
    }
    for row in 0..count.unwrap() {
        let own = naive_named(schema, record, source_paths(), row)?;
        let model = naive_model(schema, &own, row)?;
        naive_room(&rows, 0, columns(model))?;
        naive_count(record, paths(model), count)?;
        naive_names(schema, record, paths(model))?;
        let own = naive_named(schema, record, source_paths().chain(paths(model)), row)?;
        rows.push(naive_row(schema, &own, model, row)?);
    }
    Ok(rows)
}

/// Returns the names of columns: none where no path of a list that is there is read by them.
fn naive_names<'a>(
    schema: &SourceSchema,
    record: &Value,
    paths: impl Iterator<Item = &'a FieldPath>,
) -> Result<Vec<String>, RejectReason> {
    let Some(columns) = &schema.columns else { return Ok(Vec::new()) };
    let is_there = |path: &FieldPath| {
        let list = path.steps().split(|step| *step == Step::Each).next().unwrap();
        matches!(follow(record, list, 0), Ok(Some(_)))
    };
    let names = paths.filter(|path| is_there(path)).filter_map(|path| path.column(columns));
    let wanted: BTreeSet<&str> = names.collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let names = find(record, columns, 0).ok().flatten().and_then(Value::as_array);
    let names = names.ok_or(RejectReason::InvalidColumns)?.iter();
    let names: Option<Vec<String>> = names.map(|it| it.as_str().map(str::to_owned)).collect();
    let names = names.ok_or(RejectReason::InvalidColumns)?;
    let distinct: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let has_too_many = 65_536 < names.len();
    if has_too_many || distinct.len() != names.len() || !distinct.is_superset(&wanted) {
        return Err(RejectReason::InvalidColumns);
    }
    Ok(names)
}

/// Returns the document with a row of each named list as an object.
fn naive_named<'a>(
    schema: &SourceSchema,
    record: &Value,
    paths: impl Iterator<Item = &'a FieldPath>,
    row: usize,
) -> Result<Value, RejectReason> {
    let mut named = record.clone();
    let paths: Vec<_> = paths.collect();
    let names = naive_names(schema, record, paths.iter().copied())?;
    let lists: BTreeSet<&[Step]> = paths
        .into_iter()
        .filter(|path| schema.columns.as_ref().is_some_and(|it| path.is_named_by(it)))
        .map(|path| path.steps().split(|step| *step == Step::Each).next().unwrap())
        .collect();
    'lists: for list in lists {
        let mut at = &mut named;
        for step in list {
            let Step::Key(key) = step else { panic!("no such path is made") };
            at = if at.get(&**key).is_some() { &mut at[&**key] } else { continue 'lists };
        }
        match at.get_mut(row) {
            None | Some(Value::Null) => {}
            Some(Value::Array(values)) if values.len() != names.len() => {
                return Err(RejectReason::InvalidColumns);
            }
            Some(Value::Array(values)) => {
                let pairs = names.iter().cloned().zip(std::mem::take(values));
                at[row] = Value::Object(pairs.collect());
            }
            Some(other) => *other = Value::from("neither array nor null"),
        }
    }
    Ok(named)
}

fn naive_document(schema: &SourceSchema, text: &str, taken: Vec<PlainRow>) -> Outcome {
    let record: Value = serde_json::from_str(text).map_err(|_| RejectReason::InvalidJson)?;
    let is_list = schema.event_time.begins_with_each();
    if is_list && !record.is_array() || !is_list && !record.is_object() {
        return Err(RejectReason::WrongType);
    }
    naive_rows(schema, &record, taken)
}

fn naive_lines(schema: &SourceSchema, text: &str) -> Outcome {
    let is_blank = |line: &str| line.chars().all(|it| " \t\r".contains(it));
    let mut lines = text.split('\n').filter(|line| !is_blank(line)).peekable();
    if lines.peek().is_none() {
        return Err(RejectReason::EmptyPayload);
    }
    let mut rows = Vec::new();
    for line in lines {
        rows = naive_document(schema, line, rows)?;
    }
    Ok(rows)
}

/// Decodes slowly and obviously, in the order in which the decoder looks.
pub(super) fn naive(schema: &SourceSchema, payload: &[u8]) -> Outcome {
    let is_framed = 5 <= payload.len() && payload[0] == 0;
    let payload = if is_framed { &payload[5..] } else { payload };
    if payload.is_empty() {
        return Err(RejectReason::EmptyPayload);
    }
    let text = std::str::from_utf8(payload).map_err(|_| RejectReason::InvalidUtf8)?;
    let rows = match schema.framing {
        Framing::Document => naive_document(schema, text, Vec::new())?,
        Framing::Lines => naive_lines(schema, text)?,
    };
    for row in &rows {
        let name = &schema.models[row.model].name;
        ModelId::try_new(name, &row.version).map_err(|_| RejectReason::InvalidName)?;
    }
    Ok(rows)
}
