//! Whatever lies in a topic: looking at it never panics, and what is proposed is always valid.

use driftd_fixtures::trials::cases;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

/// Keys that mean something to an inspection, and some that break things.
const KEYS: [&str; 34] = [
    "features",
    "instances",
    "predictions",
    "inputs",
    "outputs",
    "request",
    "response",
    "data",
    "columns",
    "names",
    "ndarray",
    "dataframe_split",
    "index",
    "model",
    "name",
    "version",
    "time",
    "timestamp",
    "id",
    "prediction_id",
    "type",
    "specversion",
    "source",
    "shape",
    "datatype",
    "label",
    "score",
    "rows",
    "a",
    "b",
    "a.b[]\\",
    "${x}",
    "",
    "\n",
];

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => prop::sample::select(&KEYS[..]).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (1_000_000_000_i64..2_000_000_000).prop_map(Value::from),
        prop::sample::select(&["a", "b", "NaN", "2026-11-24T10:15:00Z", "1.0", "m"][..])
            .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        key().prop_map(Value::from),
    ]
}

fn document() -> impl Strategy<Value = Value> {
    let object = |inner: BoxedStrategy<Value>| {
        prop::collection::vec((key(), inner), 0..8)
            .prop_map(|entries| Value::Object(Map::from_iter(entries)))
    };
    scalar().prop_recursive(5, 64, 6, move |inner| {
        let inner = inner.boxed();
        prop_oneof![
            3 => object(inner.clone()),
            2 => prop::collection::vec(inner, 0..6).prop_map(Value::Array),
        ]
    })
}

/// Few kinds of documents in a topic, each more than once, now and then something else.
fn topic() -> impl Strategy<Value = Vec<SampledMessage>> {
    let kinds = prop::collection::vec(document(), 1..4);
    let others = prop::collection::vec(
        (any::<prop::sample::Index>(), prop::option::of(any::<Vec<u8>>())),
        0..3,
    );
    (kinds, 1_usize..30, others).prop_map(|(kinds, count, others)| {
        let documents = kinds.iter().cycle().take(count);
        let payloads = documents.map(|it| Some(it.to_string().into_bytes()));
        let mut payloads: Vec<_> = payloads.collect();
        for (at, payload) in others {
            payloads[at.index(count)] = payload;
        }
        of_bytes(payloads)
    })
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn a_proposal_is_valid_and_says_of_each_message_what_becomes_of_it(messages in topic()) {
        for show in [Show::Values, Show::Shapes] {
            let inspection = inspect(&messages, &request(show));
            let seen: u64 = inspection.encodings.iter().map(|it| it.count).sum();
            prop_assert_eq!(seen, messages.len() as u64);
            match inspection.proposal {
                Ok(Proposal { yaml, trial }) => {
                    let refused: u64 = trial.refused.values().map(|it| it.count).sum();
                    prop_assert_eq!(trial.accepted + refused, messages.len() as u64);
                    prop_assert!(config::load(&yaml, &|_| None).is_ok());
                }
                Err(reason) => prop_assert!(!reason.contains("no valid configuration"), "{reason}"),
            }
        }
    }

    #[test]
    fn bytes_of_any_kind_are_looked_at(payloads in prop::collection::vec(
        prop::option::of(prop::collection::vec(any::<u8>(), 0..64)), 0..8,
    )) {
        let messages = of_bytes(payloads);
        let inspection = inspect(&messages, &request(Show::Values));
        let seen: u64 = inspection.encodings.iter().map(|it| it.count).sum();
        prop_assert_eq!(seen, messages.len() as u64);
    }
}
