//! Messages with lists of rows for [`super::oracle`]: lists of objects, of values and of arrays,
//! beside one another and beside what all rows share, and messages that are lists themselves.

use std::sync::Arc;

use driftd_fixtures::trials::cases;
use proptest::prelude::*;
use serde_json::Value;

use super::oracle::{Document, decode, leaf, mutated, naive, number, object, text, written};
use super::tests::{feature, path, segment};
use crate::rejection::RejectReason;
use crate::schema::FeatureKind::{Boolean, Categorical, Float32, Float64, Integer};
use crate::schema::{
    FeatureField, ModelSchema, SegmentField, SourceSchema, TimeFormat, VersionField,
};

/// Where the rows of a source's messages are.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// In lists of the message, which names one model and one time.
    Shared,
    /// In lists of the message; each row names its model and time.
    Own,
    /// The message is the list.
    Top,
}

fn model(
    name: &str,
    version: &str,
    features: Vec<FeatureField>,
    segments: Vec<SegmentField>,
) -> ModelSchema {
    let version = VersionField::Path(path(version));
    ModelSchema { name: name.into(), version, prediction_id: None, features, segments }
}

fn schema(shape: Shape) -> Arc<SourceSchema> {
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
    let (by, time, models) = match shape {
        Shape::Shared => ("m", "t", vec![first(), second(), third()]),
        Shape::Own => ("in[].m", "in[].t", vec![first(), third()]),
        Shape::Top => ("[].m", "[].t", vec![fourth(), fifth()]),
    };
    let by = Some(path(by));
    let schema = SourceSchema::try_new(path(time), TimeFormat::UnixSeconds, by, models);
    Arc::new(schema.unwrap())
}

fn name(shape: Shape) -> BoxedStrategy<Document> {
    let names: &[&'static str] = match shape {
        Shape::Shared => &["first", "first", "second", "third"],
        Shape::Own => &["first", "third"],
        Shape::Top => &["fourth", "fourth", "fifth"],
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
        ])
    })
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![2 => Just(Shape::Shared), 1 => Just(Shape::Own), 1 => Just(Shape::Top)]
}

fn payload() -> impl Strategy<Value = (Shape, String)> {
    shape().prop_flat_map(|shape| (Just(shape), written(document(shape))))
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
        let found = decode(&schema, std::slice::from_ref(&payload), &[]);
        if expected != Err(RejectReason::InvalidJson) {
            prop_assert_eq!(found, [expected]);
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
        payloads in prop::collection::vec(written(document(Shape::Own)), 0..12),
        cuts in prop::collection::vec(0usize..12, 0..4),
    ) {
        let schema = schema(Shape::Own);
        let payloads: Vec<_> = payloads.into_iter().map(String::into_bytes).collect();
        let whole = decode(&schema, &payloads, &[]);
        prop_assert_eq!(decode(&schema, &payloads, &cuts), whole);
    }
}
