//! The decoder against the naive walk of `naive.rs`, and against bytes that mean nothing.
//! Messages with lists of rows are made in `oracle_lists.rs`.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float32Type, Float64Type, Int64Type};
use driftd_fixtures::trials::cases;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use super::JsonDecoder;
use super::naive::{LIMITS, Outcome, Plain, PlainRow, in_one_notation, naive};
use super::tests::{feature, path, segment};
use crate::columns::categorical_column;
use crate::decode::{Decode, Decoded, Message};
use crate::rejection::RejectReason;
use crate::schema::{FeatureKind, ModelSchema, SourceSchema, TimeFormat, VersionField};

/// Models that share paths, end at inner nodes of each other and reach into the same array.
pub(super) fn schema(time_format: TimeFormat) -> Arc<SourceSchema> {
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
        prediction_id: Some(path("f.d")),
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
        decoder.decode(&Message { payload: Some(payload), offset, timestamp: None, envelope: &[] });
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

pub(super) fn payload(format: TimeFormat) -> impl Strategy<Value = String> {
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
        let found = decode(&schema, std::slice::from_ref(&payload), &[]).remove(0);
        if expected != Err(RejectReason::InvalidJson) {
            prop_assert_eq!(in_one_notation(found), in_one_notation(expected));
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
