//! The decoder against a naive walk over `serde_json::Value`, and against bytes that mean nothing.
//! Messages with lists of rows are made in `oracle_lists.rs`.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float32Type, Float64Type, Int64Type};
use driftd_catalog::{ModelId, SegmentId, Timestamp};
use driftd_fixtures::trials::cases;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Number, Value};

use super::JsonDecoder;
use super::tests::{feature, path, segment};
use crate::columns::categorical_column;
use crate::decode::{Decode, DecodeLimits, Decoded, Message};
use crate::path::{FieldPath, Step};
use crate::rejection::RejectReason;
use crate::schema::{FeatureKind, ModelSchema, SourceSchema, TimeFormat, VersionField};

const LIMITS: DecodeLimits = DecodeLimits { payload_bytes_max: 1 << 20, rows_max: 5 };

/// What becomes of a message: rows, or none with a reason.
pub(super) type Outcome = Result<Vec<PlainRow>, RejectReason>;

/// A row as plain values: what must be equal however it was decoded.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlainRow {
    model: usize,
    version: String,
    event_time: Timestamp,
    columns: Vec<Plain>,
}

/// Floats by their bits, so that NaN equals itself and −0.0 does not equal 0.0.
#[derive(Clone, Debug, PartialEq)]
enum Plain {
    Null,
    Float32(u32),
    Float64(u64),
    Integer(i64),
    Text(String),
}

/// Models that share paths, end at inner nodes of each other and reach into the same array.
fn schema(time_format: TimeFormat) -> Arc<SourceSchema> {
    use FeatureKind::{Boolean, Categorical, Float32, Float64, Integer};
    let first = ModelSchema {
        name: "first".into(),
        version: VersionField::Path(path("meta.version")),
        prediction_id: None,
        features: vec![
            feature("f.a", Float32),
            feature("f.b", Float64),
            feature("f.c", Integer),
            feature("f.d", Categorical),
            feature("f.e", Boolean),
            feature("list[1]", Float64),
            feature("list[3].x", Categorical),
            feature(r"we\.ird", Float64),
        ],
        segments: vec![segment("f.d"), segment("meta.s")],
    };
    let second = ModelSchema {
        name: "second".into(),
        version: VersionField::Fixed("9".into()),
        prediction_id: None,
        features: vec![
            feature("f.a", Categorical),
            feature("f.b.x", Float64),
            feature("list[1][0]", Integer),
        ],
        segments: vec![],
    };
    let third = ModelSchema {
        name: "third".into(),
        version: VersionField::Path(path("meta.version")),
        prediction_id: None,
        features: vec![feature("list.x", Categorical), feature("f.b", Float64)],
        segments: vec![segment("f.a")],
    };
    let models = vec![first, second, third];
    let by = Some(path("meta.model"));
    Arc::new(SourceSchema::try_new(path("t"), time_format, by, models).unwrap())
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
            (Step::Key(_) | Step::Index(_) | Step::Each, _) => return Err(RejectReason::WrongType),
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

fn naive_integer(number: &Number) -> Result<Plain, RejectReason> {
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
            naive_text(value)?
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
    version.into_iter().chain(features).chain(model.segments.iter().map(|it| &it.path))
}

fn naive_rows(schema: &SourceSchema, record: &Value) -> Outcome {
    let by = schema.model.as_ref().unwrap();
    let source_paths = || [by, &schema.event_time].into_iter();
    let paths = |model: usize| model_paths(&schema.models[model]);
    if !by.has_each() {
        let model = naive_model(schema, record, 0)?;
        let count = naive_count(record, source_paths().chain(paths(model)), None)?.unwrap_or(1);
        return (0..count).map(|row| naive_row(schema, record, model, row)).collect();
    }
    let count = naive_count(record, source_paths(), None)?;
    let mut rows = Vec::new();
    for row in 0..count.unwrap() {
        let model = naive_model(schema, record, row)?;
        naive_count(record, paths(model), count)?;
        rows.push(naive_row(schema, record, model, row)?);
    }
    Ok(rows)
}

/// Decodes slowly and obviously, in the order in which the decoder looks.
pub(super) fn naive(schema: &SourceSchema, payload: &[u8]) -> Outcome {
    if payload.is_empty() {
        return Err(RejectReason::EmptyPayload);
    }
    let text = std::str::from_utf8(payload).map_err(|_| RejectReason::InvalidUtf8)?;
    let record: Value = serde_json::from_str(text).map_err(|_| RejectReason::InvalidJson)?;
    let is_list = schema.event_time.begins_with_each();
    if !(if is_list { record.is_array() } else { record.is_object() }) {
        return Err(RejectReason::WrongType);
    }
    let rows = naive_rows(schema, &record)?;
    for row in &rows {
        let name = &schema.models[row.model].name;
        ModelId::try_new(name, &row.version).map_err(|_| RejectReason::InvalidName)?;
    }
    Ok(rows)
}

fn plain(array: &dyn Array, row: usize) -> Plain {
    if array.is_null(row) {
        Plain::Null
    } else if let Some(array) = array.as_primitive_opt::<Float32Type>() {
        Plain::Float32(array.value(row).to_bits())
    } else if let Some(array) = array.as_primitive_opt::<Float64Type>() {
        Plain::Float64(array.value(row).to_bits())
    } else if let Some(array) = array.as_primitive_opt::<Int64Type>() {
        Plain::Integer(array.value(row))
    } else {
        let view = categorical_column(array).unwrap();
        let view = view.column();
        Plain::Text(view.levels[view.keys[row] as usize].to_owned())
    }
}

/// Adds the outcomes of a batch's messages by offset.
fn add_outcomes(decoded: &Decoded, outcomes: &mut [Outcome]) {
    let mut next_row = vec![0; decoded.batches.len()];
    let index = |offset: i64| usize::try_from(offset).unwrap();
    for rejection in &decoded.rejections {
        outcomes[index(rejection.offset)] = Err(rejection.reason);
    }
    for row in &decoded.rows {
        let model = usize::from(row.model);
        let batch = decoded.batches[model].as_ref().unwrap();
        let columns = batch.columns().iter().map(|array| plain(array, next_row[model])).collect();
        next_row[model] += 1;
        let version = decoded.versions[usize::from(row.version)].to_string();
        let row_values = PlainRow { model, version, event_time: row.event_time, columns };
        outcomes[index(row.offset)].as_mut().unwrap().push(row_values);
    }
}

/// Decodes the payloads at offsets 0, 1, …, finishing a batch after each offset in `cuts`.
pub(super) fn decode(
    schema: &Arc<SourceSchema>,
    payloads: &[Vec<u8>],
    cuts: &[usize],
) -> Vec<Outcome> {
    let mut decoder = JsonDecoder::new(Arc::clone(schema), LIMITS);
    let mut found = vec![Ok(Vec::new()); payloads.len()];
    for (index, payload) in payloads.iter().enumerate() {
        let offset = i64::try_from(index).unwrap();
        decoder.decode(&Message { payload: Some(payload), offset, timestamp: None });
        if cuts.contains(&index) {
            add_outcomes(&decoder.finish(), &mut found);
        }
    }
    add_outcomes(&decoder.finish(), &mut found);
    found
}

/// A JSON document that can say what `Value` cannot: keys in any order, and twice.
#[derive(Clone, Debug)]
pub(super) enum Document {
    Leaf(Value),
    Array(Vec<Document>),
    Object(Vec<(&'static str, Document)>),
}

impl Document {
    /// Writes the document; `style` chooses white space and escapes.
    fn write(&self, style: &mut u64, out: &mut String) {
        // A linear congruential generator (Knuth's MMIX): any varied sequence does.
        *style = style.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        out.push_str(["", "", "", " ", "\n\t"][usize::try_from(*style >> 33).unwrap() % 5]);
        match self {
            Self::Leaf(Value::String(text)) => write_text(text, style, out),
            Self::Leaf(value) => out.push_str(&value.to_string()),
            Self::Array(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    element.write(style, out);
                }
                out.push(']');
            }
            Self::Object(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    write_text(key, style, out);
                    out.push(':');
                    value.write(style, out);
                }
                out.push('}');
            }
        }
    }
}

/// Writes a string, now and then with every character escaped.
fn write_text(text: &str, style: &mut u64, out: &mut String) {
    *style = style.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    if *style >> 61 == 0 {
        let escaped = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
        out.extend(std::iter::once("\"".to_owned()).chain(escaped).chain(["\"".to_owned()]));
    } else {
        out.push_str(&Value::from(text).to_string());
    }
}

pub(super) fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        20 => (-1e3..1e3).prop_map(Value::from),
        20 => (-3i64..3).prop_map(Value::from),
        5 => any::<f32>().prop_map(|it| Value::from(f64::from(it))),
        2 => any::<i64>().prop_map(Value::from),
        2 => any::<u64>().prop_map(Value::from),
        2 => Just(Value::from(-0.0)),
        1 => any::<f64>().prop_map(Value::from),
    ]
}

pub(super) fn text() -> impl Strategy<Value = Value> {
    prop_oneof![
        20 => "[a-c]{0,2}".prop_map(Value::from),
        5 => r"[\PC]{0,9}".prop_map(Value::from),
        2 => prop_oneof![Just("NaN"), Just("-Infinity"), Just("1")].prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        1 => (100usize..300).prop_map(|length| Value::from("x".repeat(length))),
    ]
}

/// A value of the kind that fits, or now and then of any other.
pub(super) fn leaf(
    fitting: impl Strategy<Value = Value> + 'static,
) -> impl Strategy<Value = Document> {
    let other = prop_oneof![number(), text(), any::<bool>().prop_map(Value::from)];
    prop_oneof![
        250 => fitting.prop_map(Document::Leaf),
        8 => Just(Document::Leaf(Value::Null)),
        1 => other.prop_map(Document::Leaf),
        1 => Just(Document::Array(vec![])),
        1 => Just(Document::Object(vec![("x", Document::Leaf(Value::from(1)))])),
    ]
}

/// An object of some of the entries, in any order, some of them twice.
pub(super) fn object(
    entries: Vec<(&'static str, BoxedStrategy<Document>)>,
) -> BoxedStrategy<Document> {
    let count = entries.len();
    let entry = |(key, value): (&'static str, BoxedStrategy<Document>)| {
        let once = value.clone().prop_map(move |value| vec![(key, value)]);
        let twice = (value.clone(), value).prop_map(move |(a, b)| vec![(key, a), (key, b)]);
        prop_oneof![1 => Just(vec![]), 60 => once, 1 => twice].boxed()
    };
    let all: Vec<_> = entries.into_iter().map(entry).collect();
    (all, prop::collection::vec(any::<Index>(), 0..=count))
        .prop_map(|(entries, swaps)| {
            let mut entries = entries.concat();
            for (at, swap) in swaps.iter().enumerate().take(entries.len()) {
                let other = swap.index(entries.len());
                entries.swap(at, other);
            }
            Document::Object(entries)
        })
        .boxed()
}

/// A record of the named model, which mostly has the shapes that the model's paths go through.
fn document(format: TimeFormat, model: &'static str) -> BoxedStrategy<Document> {
    let (nested, list_object) = (u32::from(model == "second"), u32::from(model == "third"));
    let shape = |fits: u32| 1 + 60 * fits;
    let any_leaf = || leaf(prop_oneof![number(), text()]).boxed();
    let time = if format == TimeFormat::Rfc3339 {
        Just(Value::from("2013-04-01T11:00:00.5+02:00")).boxed()
    } else {
        let whole = (-4_000_000_000i64..300_000_000_000).prop_map(Value::from);
        prop_oneof![1 => whole, 4 => (0.0..2e9).prop_map(Value::from)].boxed()
    };
    let x = || object(vec![("x", leaf(number()).boxed())]);
    let whole = || (-9i64..9).prop_map(Value::from);
    let features = object(vec![
        ("a", leaf(number()).boxed()),
        ("b", prop_oneof![shape(1 - nested) => leaf(number()), shape(nested) => x()].boxed()),
        ("c", leaf(whole()).boxed()),
        ("d", leaf(text()).boxed()),
        ("e", leaf(any::<bool>().prop_map(Value::from)).boxed()),
        ("skipped", x()),
    ]);
    let inner = leaf(whole()).prop_map(|it| Document::Array(vec![it]));
    let second = prop_oneof![shape(1 - nested) => leaf(number()), shape(nested) => inner];
    let elements = (leaf(number()), second, leaf(text()), x(), 0usize..6);
    let list = elements
        .prop_map(|(a, b, c, d, length)| Document::Array([a, b, c, d][..length.min(4)].to_vec()));
    let meta = object(vec![
        (
            "model",
            leaf(prop_oneof![20 => Just(model), 1 => Just("other")].prop_map(Value::from)).boxed(),
        ),
        ("version", leaf(prop_oneof![number(), "[0-9]".prop_map(Value::from)]).boxed()),
        ("s", leaf(text()).boxed()),
    ]);
    object(vec![
        ("t", leaf(time).boxed()),
        ("meta", meta),
        ("f", prop_oneof![50 => features, 1 => any_leaf()].boxed()),
        ("list", prop_oneof![shape(1 - list_object) => list, shape(list_object) => x()].boxed()),
        ("we.ird", leaf(number()).boxed()),
        ("skipped", x()),
    ])
}

fn payload(format: TimeFormat) -> impl Strategy<Value = String> {
    let document = prop_oneof![Just("first"), Just("second"), Just("third")]
        .prop_flat_map(move |model| document(format, model));
    written(document)
}

/// The document as text, in some style.
pub(super) fn written(document: impl Strategy<Value = Document>) -> impl Strategy<Value = String> {
    (document, any::<u64>()).prop_map(|(document, mut style)| {
        let mut out = String::new();
        document.write(&mut style, &mut out);
        out
    })
}

/// A message with bytes replaced, removed or repeated.
pub(super) fn mutated(payload: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let mutation = (any::<Index>(), any::<Index>(), 0..4, any::<u8>());
    (payload, prop::collection::vec(mutation, 1..4)).prop_map(|(payload, mutations)| {
        let mut payload = payload.into_bytes();
        for (from, to, kind, byte) in mutations {
            let (from, to) = (from.index(payload.len() + 1), to.index(payload.len() + 1));
            let range = from.min(to)..from.max(to);
            match kind {
                0 => payload.truncate(from),
                1 => payload.insert(from, byte),
                2 => drop(payload.drain(range)),
                _ => payload.extend_from_within(range),
            }
        }
        payload
    })
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn records_decode_as_a_naive_walk_says(
        unix in payload(TimeFormat::UnixSeconds),
        rfc in payload(TimeFormat::Rfc3339),
    ) {
        for (format, payload) in [(TimeFormat::UnixSeconds, unix), (TimeFormat::Rfc3339, rfc)] {
            let schema = schema(format);
            let expected = naive(&schema, payload.as_bytes());
            prop_assert_eq!(decode(&schema, &[payload.into_bytes()], &[]), [expected]);
        }
    }

    /// What means less to the decoder than to `Value` is excluded: overflow and half surrogates
    /// count only where a value is kept.
    #[test]
    fn mutated_records_never_panic_and_decode_as_a_naive_walk_says(
        payload in mutated(payload(TimeFormat::UnixSeconds)),
    ) {
        let schema = schema(TimeFormat::UnixSeconds);
        let expected = naive(&schema, &payload);
        let found = decode(&schema, std::slice::from_ref(&payload), &[]);
        if expected != Err(RejectReason::InvalidJson) {
            prop_assert_eq!(found, [expected]);
        }
    }

    #[test]
    fn random_bytes_are_one_outcome_a_message(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
    ) {
        let found = decode(&schema(TimeFormat::Rfc3339), &payloads, &[]);
        prop_assert_eq!(found.len(), payloads.len());
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn where_batches_are_cut_changes_no_outcome(
        payloads in prop::collection::vec(
            prop_oneof![
                3 => payload(TimeFormat::UnixSeconds).prop_map(String::into_bytes),
                1 => mutated(payload(TimeFormat::UnixSeconds)),
            ],
            0..30,
        ),
        cuts in prop::collection::vec(0usize..30, 0..6),
    ) {
        let schema = schema(TimeFormat::UnixSeconds);
        let whole = decode(&schema, &payloads, &[]);
        prop_assert_eq!(whole.len(), payloads.len());
        prop_assert_eq!(decode(&schema, &payloads, &cuts), whole);
    }
}
