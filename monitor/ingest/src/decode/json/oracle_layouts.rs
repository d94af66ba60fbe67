//! Documents read by the layouts of those before, against each read by itself: a decoder that has
//! read nothing has no layout.

use driftd_fixtures::trials::cases;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::value::RawValue;
use serde_json::{Deserializer, Value};

use super::JsonDecoder;
use super::naive::{LIMITS, Outcome};
use super::oracle::{decode, mutated, payload, schema};
use crate::decode::{Decode as _, Message};
use crate::schema::TimeFormat;

/// Values that fit some places, and what is nearly one.
const VALUES: [&str; 30] = [
    "0",
    "-0",
    "17",
    "-3",
    "2.5",
    "1e3",
    "1.0",
    "9223372036854775808",
    "1e400",
    "1e39",
    "0.1e-400",
    "123456789012345678901234567890.5",
    "true",
    "false",
    "null",
    "\"\"",
    "\"a\"",
    "\"NaN\"",
    r#""\u0041\n""#,
    r#""\ud800""#,
    "\"\u{7f}\"",
    "\"é\"",
    "[]",
    "[1,{\"x\":2}]",
    "{}",
    "{\"x\":1}",
    "01",
    "tru",
    "\"2013-04-01T09:00:00Z\"",
    " 5",
];

/// Where values begin.
fn values(payload: &str) -> Vec<usize> {
    let begins = |(at, byte): (usize, &u8)| matches!(byte, b':' | b'[' | b',').then_some(at + 1);
    payload.as_bytes().iter().enumerate().filter_map(begins).collect()
}

/// The document with another value somewhere; as it is where there is none.
fn with_value(payload: &str, place: Index, value: &str) -> String {
    let places = values(payload);
    if places.is_empty() {
        return payload.to_owned();
    }
    let (before, behind) = payload.split_at(places[place.index(places.len())]);
    let mut found = Deserializer::from_str(behind).into_iter::<&RawValue>();
    let Some(Ok(_)) = found.next() else { return payload.to_owned() };
    let rest = behind.split_at(found.byte_offset()).1;
    [before, value, rest].concat()
}

/// The document as most producers write it, with each key once.
fn without_escapes(payload: &str) -> String {
    serde_json::from_str::<Value>(payload).map_or(payload.to_owned(), |value| value.to_string())
}

/// Documents that differ in a value here and there, and some that are broken.
fn alike() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let long = Just("\"".to_owned() + &"x".repeat(257) + "\"");
    let value = prop_oneof![30 => select(&VALUES[..]).prop_map(str::to_owned), 1 => long];
    let changes = prop::collection::vec((any::<Index>(), value), 0..3);
    let changed = (prop::bool::ANY, changes);
    let plain = payload(TimeFormat::UnixSeconds).prop_map(|it| without_escapes(&it));
    let document = prop_oneof![2 => plain, 1 => payload(TimeFormat::UnixSeconds)];
    let documents = prop::collection::vec(document, 1..3);
    let broken = mutated(payload(TimeFormat::UnixSeconds));
    (documents, prop::collection::vec(changed, 1..12), broken).prop_map(
        |(documents, changed, broken)| {
            let mut all: Vec<Vec<u8>> =
                documents.iter().map(|it| it.clone().into_bytes()).collect();
            for (is_second, changes) in changed {
                let document = &documents[usize::from(is_second) % documents.len()];
                let change = |document: String, (place, value): (Index, String)| {
                    with_value(&document, place, &value)
                };
                all.push(changes.into_iter().fold(document.clone(), change).into_bytes());
            }
            all.push(broken);
            all.push(documents[0].clone().into_bytes());
            all
        },
    )
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn what_came_before_changes_nothing(payloads in alike()) {
        let schema = schema(TimeFormat::UnixSeconds);
        let alone = |payload: &Vec<u8>| {
            decode(&schema, std::slice::from_ref(payload), &[]).remove(0)
        };
        let expected: Vec<Outcome> = payloads.iter().map(alone).collect();
        prop_assert_eq!(decode(&schema, &payloads, &[]), expected);
    }
}

/// Without it the property above would say nothing.
#[test]
fn layouts_take_a_good_part_of_the_drawn_documents() {
    let mut runner = TestRunner::deterministic();
    let (mut taken, mut all) = (0, 0);
    for _ in 0..100 {
        let payloads = alike().new_tree(&mut runner).unwrap().current();
        let mut decoder = JsonDecoder::new(schema(TimeFormat::UnixSeconds), LIMITS);
        for (offset, payload) in (0..).zip(&payloads) {
            decoder.decode(&Message {
                payload: Some(payload),
                offset,
                timestamp: None,
                envelope: &[],
            });
            all += 1;
            taken += usize::from(decoder.layouts.misses == 0);
        }
    }
    assert!(all < 6 * taken, "{taken} of {all}");
}
