//! Messages with lists of rows for [`super::oracle`]: lists of objects, of values and of arrays,
//! beside one another and beside what all rows share, and messages that are lists themselves.

use std::sync::Arc;

use driftd_fixtures::trials::cases;
use proptest::prelude::*;
use serde_json::Value;

use super::naive::{in_one_notation, naive};
use super::oracle::{Document, decode, leaf, mutated, number, object, text, written};
use super::tests::{feature, path, segment};
use crate::rejection::RejectReason;
use crate::schema::FeatureKind::{Boolean, Categorical, Float32, Float64, Integer};
use crate::schema::{
    FeatureField, Framing, ModelSchema, SegmentField, SourceSchema, TimeFormat, VersionField,
};

/// Where the rows of a source's messages are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// In lists of the message, which names one model and one time.
    Shared,
    /// In lists of the message; each row names its model and time.
    Own,
    /// The message is the list.
    Top,
    /// In lists of the message; those beside the names of columns hold lists of values.
    Named,
    /// The same; each row names its model and time.
    NamedOwn,
}

fn model(
    name: &str,
    version: &str,
    features: Vec<FeatureField>,
    segments: Vec<SegmentField>,
) -> ModelSchema {
    let version = VersionField::Path(path(version));
    let prediction_id = match name {
        "second" => Some(path("k")),
        "third" => Some(path("in[].s")),
        "sixth" => Some(path("d.r[].a")),
        _ => None,
    };
    ModelSchema { name: name.into(), version, prediction_id, features, segments }
}

pub(super) fn schema(shape: Shape) -> Arc<SourceSchema> {
    let first = || {
        let features = vec![
            feature("in[].a", Float32),
            feature("k", Float64),
            feature("in[].n.c", Categorical),
            feature("out[]", Float64),
            feature("col.x[]", Integer),
            feature("grid[][1]", Float64),
            feature("in[1].a", Float64),
            feature("in[].e", Boolean),
        ];
        model("first", "v", features, vec![segment("in[].s"), segment("s")])
    };
    let second =
        || model("second", "v", vec![feature("k", Float64), feature("out[1]", Float64)], vec![]);
    let third = || {
        let features = vec![feature("in[].a", Categorical), feature("in[].n", Categorical)];
        model("third", "in[].v", features, vec![segment("col.x[]")])
    };
    let fourth = || {
        let features = vec![feature("[].a", Float64), feature("[].n.c", Categorical)];
        model("fourth", "[].v", features, vec![segment("[].s")])
    };
    let fifth = || model("fifth", "[].v", vec![feature("[].g[1]", Float64)], vec![]);
    let sixth = || {
        let features =
            vec![feature("d.r[].a", Float64), feature("out[]", Float64), feature("k", Float64)];
        model("sixth", "v", features, vec![segment("d.r[].n.c")])
    };
    let seventh =
        || model("seventh", "d.r[].v", vec![feature("d.r[].e", Boolean)], vec![segment("d.q[].s")]);
    let eighth = || model("eighth", "v", vec![feature("out[].a", Float64)], vec![]);
    let ninth = || {
        let features = vec![feature("d.r[][0]", Categorical), feature("d.q[][1]", Categorical)];
        model("ninth", "v", features, vec![segment("d.r[][3]")])
    };
    let (by, time, models) = match shape {
        Shape::Shared => ("m", "t", vec![first(), second(), third()]),
        Shape::Own => ("in[].m", "in[].t", vec![first(), third()]),
        Shape::Top => ("[].m", "[].t", vec![fourth(), fifth()]),
        Shape::Named => ("m", "t", vec![sixth(), seventh(), eighth(), ninth()]),
        Shape::NamedOwn => ("d.r[].m", "d.r[].t", vec![sixth(), seventh()]),
    };
    let by = Some(path(by));
    let schema = SourceSchema::try_new(path(time), TimeFormat::UnixSeconds, by, models);
    Arc::new(match shape {
        Shape::Shared | Shape::Own | Shape::Top => schema.unwrap(),
        Shape::Named | Shape::NamedOwn => schema.unwrap().with_columns(path("d.c")).unwrap(),
    })
}

fn name(shape: Shape) -> BoxedStrategy<Document> {
    let names: &[&'static str] = match shape {
        Shape::Shared => &["first", "first", "second", "third"],
        Shape::Own => &["first", "third"],
        Shape::Top => &["fourth", "fourth", "fifth"],
        Shape::Named => &["sixth", "sixth", "seventh", "eighth", "ninth"],
        Shape::NamedOwn => &["sixth", "seventh"],
    };
    leaf(prop::sample::select(names).prop_map(Value::from)).boxed()
}

/// A list of so many elements, or now and then of some others, or something else.
fn list(length: usize, element: BoxedStrategy<Document>) -> BoxedStrategy<Document> {
    let other = prop::collection::vec(element.clone(), 0..7);
    prop_oneof![
        200 => prop::collection::vec(element, length).prop_map(Document::Array),
        1 => other.prop_map(Document::Array),
        2 => Just(Document::Leaf(Value::Null)),
        1 => leaf(number()),
    ]
    .boxed()
}

/// Names of columns, and lists of rows with one value each. Few are wrong.
fn table(shape: Shape, length: usize) -> BoxedStrategy<Document> {
    let names: [&'static str; 6] = ["m", "t", "v", "a", "n", "e"];
    let names = Just(names.to_vec()).prop_shuffle().prop_flat_map(|names| {
        let extra = prop_oneof![60 => Just(vec!["s"]), 1 => Just(vec!["a"]), 1 => Just(vec![])];
        extra.prop_map(move |extra| [names.clone(), extra].concat())
    });
    let value = move |column: &'static str| match column {
        "m" => name(shape),
        "t" => leaf((0.0..2e9).prop_map(Value::from)).boxed(),
        "v" => leaf("[0-9]".prop_map(Value::from)).boxed(),
        "e" => leaf(any::<bool>().prop_map(Value::from)).boxed(),
        "n" => object(vec![("c", leaf(text()).boxed())]),
        "a" => leaf(number()).boxed(),
        _ => leaf(text()).boxed(),
    };
    let table = names.prop_flat_map(move |names| {
        let row: Vec<_> = names.iter().map(|column| value(column)).collect();
        let row = (row, 0..60).prop_map(|(mut row, cut)| {
            row.truncate(if cut == 0 { 3 } else { row.len() });
            Document::Array(row)
        });
        let row = prop_oneof![80 => row, 1 => leaf(number())].boxed();
        let names = names.iter().map(|name| Document::Leaf(Value::from(*name))).collect();
        let names = Document::Array(names);
        let names = prop_oneof![60 => Just(names), 1 => leaf(text())].boxed();
        let short = prop_oneof![9 => Just(length), 1 => Just(0)];
        let other = short.prop_flat_map({
            let row = row.clone();
            move |length| list(length, row.clone())
        });
        object(vec![("c", names), ("r", list(length, row)), ("q", other.boxed())])
    });
    table.boxed()
}

fn document(shape: Shape) -> impl Strategy<Value = Document> {
    let float = || leaf(number()).boxed();
    let whole = || leaf((-9i64..9).prop_map(Value::from)).boxed();
    let time = || leaf((0.0..2e9).prop_map(Value::from)).boxed();
    let version =
        || leaf(prop_oneof![40 => "[0-9]", 1 => Just(String::new())].prop_map(Value::from));
    let pair = move || prop::collection::vec(float(), 0..4).prop_map(Document::Array);
    let nested = || object(vec![("c", leaf(text()).boxed())]);
    let element = move || {
        object(vec![
            ("m", name(shape)),
            ("t", time()),
            ("v", version().boxed()),
            ("a", float()),
            ("n", prop_oneof![3 => nested(), 1 => leaf(text())].boxed()),
            ("e", leaf(any::<bool>().prop_map(Value::from)).boxed()),
            ("s", leaf(text()).boxed()),
            ("g", pair().boxed()),
        ])
    };
    prop_oneof![1 => Just(0), 8 => 1usize..4, 1 => 4usize..7].prop_flat_map(move |length| {
        let rows = list(length, element());
        if matches!(shape, Shape::Top) {
            return rows;
        }
        object(vec![
            ("m", name(shape)),
            ("t", time()),
            ("v", version().boxed()),
            ("k", float()),
            ("s", leaf(text()).boxed()),
            ("in", rows),
            ("out", list(length, float())),
            ("col", object(vec![("x", list(length, whole()))])),
            ("grid", list(length, pair().boxed())),
            ("d", table(shape, length)),
        ])
    })
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        3 => Just(Shape::Shared),
        2 => Just(Shape::Own),
        1 => Just(Shape::Top),
        3 => Just(Shape::Named),
        2 => Just(Shape::NamedOwn),
    ]
}

fn payload() -> impl Strategy<Value = (Shape, String)> {
    shape().prop_flat_map(|shape| (Just(shape), written(document(shape))))
}

/// Documents of one shape as lines, among them blank ones.
fn lines() -> impl Strategy<Value = (Shape, String)> {
    shape().prop_flat_map(|shape| {
        let ends = prop_oneof![6 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\n \t\n")];
        let line = (written(document(shape)), ends).prop_map(|(document, end)| {
            // Inside of text they are escaped: these are white space.
            format!("{}{end}", document.replace('\n', " "))
        });
        let lines = prop::collection::vec(line, 0..4).prop_map(|lines| lines.concat());
        (Just(shape), lines)
    })
}

pub(super) fn lines_of(shape: Shape) -> Arc<SourceSchema> {
    Arc::new((*schema(shape)).clone().with_framing(Framing::Lines))
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn lines_decode_as_a_naive_walk_says((shape, payload) in lines()) {
        for payload in [payload.trim_end_matches('\n').to_owned(), payload] {
            let schema = lines_of(shape);
            let expected = naive(&schema, payload.as_bytes());
            prop_assert_eq!(decode(&schema, &[payload.into_bytes()], &[]), [expected]);
        }
    }

    #[test]
    fn mutated_lines_never_panic_and_decode_as_a_naive_walk_says(
        (shape, payload) in lines().prop_flat_map(|(shape, payload)| {
            (Just(shape), mutated(Just(payload)))
        }),
    ) {
        let schema = lines_of(shape);
        let expected = naive(&schema, &payload);
        let found = decode(&schema, std::slice::from_ref(&payload), &[]).remove(0);
        if expected != Err(RejectReason::InvalidJson) {
            prop_assert_eq!(in_one_notation(found), in_one_notation(expected));
        }
    }
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn lists_decode_as_a_naive_walk_says((shape, payload) in payload()) {
        let schema = schema(shape);
        let expected = naive(&schema, payload.as_bytes());
        prop_assert_eq!(decode(&schema, &[payload.into_bytes()], &[]), [expected]);
    }

    /// As of single records, what [`Value`] minds and the decoder skips is excluded.
    #[test]
    fn mutated_lists_never_panic_and_decode_as_a_naive_walk_says(
        (shape, payload) in shape().prop_flat_map(|shape| {
            (Just(shape), mutated(written(document(shape))))
        }),
    ) {
        let schema = schema(shape);
        let expected = naive(&schema, &payload);
        let found = decode(&schema, std::slice::from_ref(&payload), &[]).remove(0);
        if expected != Err(RejectReason::InvalidJson) {
            prop_assert_eq!(in_one_notation(found), in_one_notation(expected));
        }
    }

    #[test]
    fn no_message_that_ends_early_is_accepted(
        (shape, payload) in payload(),
        end in any::<prop::sample::Index>(),
    ) {
        let cut = payload.as_bytes()[..end.index(payload.trim_end().len())].to_vec();
        let found = decode(&schema(shape), &[cut], &[]);
        prop_assert!(found[0].is_err(), "{:?}", found);
    }

    #[test]
    fn where_batches_are_cut_changes_no_row_of_a_list(
        (shape, payloads) in shape().prop_flat_map(|shape| {
            (Just(shape), prop::collection::vec(written(document(shape)), 0..12))
        }),
        cuts in prop::collection::vec(0usize..12, 0..4),
    ) {
        let schema = schema(shape);
        let payloads: Vec<_> = payloads.into_iter().map(String::into_bytes).collect();
        let whole = decode(&schema, &payloads, &[]);
        prop_assert_eq!(decode(&schema, &payloads, &cuts), whole);
    }
}
