//! Bytes that may be halves of records, and what a walk over [`Value`] says whose they are.
//!
//! Before: [`fuzz`] plays the inputs. After: side and id are the same, or both refuse for the same
//! reason; and whatever is taken is one value, wherever it is put.

use serde_json::Value;
use serde_json::value::RawValue;

use super::fuzz_tests::may_be_json;
use super::half::{HalfForm, HalfReader, HalfSchema, Side};
use super::naive::{LIMITS, Plain, naive_integer};
use super::tests::{feature, path};
use crate::decode::{Message, fuzz, special};
use crate::path::EnvelopeValue;
use crate::rejection::RejectReason;
use crate::schema::{FeatureKind, ModelSchema, SourceSchema, TimeFormat, VersionField};

/// Stands between an id, a side and a payload: no text of JSON has it.
const BETWEEN: u8 = 0x1e;

/// A value that is not there.
const ABSENT: &[u8] = b"\x18";

/// Where id and side are, inside of payloads and beside them.
const PLACES: [[&str; 2]; 4] =
    [["id", "type"], ["meta.id", "$headers.s"], ["$headers.i", "list[1]"], ["$key", "$headers.s"]];

/// Ids and sides beside payloads, and payloads.
const SEEDS: [&str; 7] = [
    "a-1\u{1e}ask\u{1e}{\"id\":\"0009-17\",\"type\":\"ask\",\"data\":{\"x\":[1,2.5]}}",
    "\u{18}\u{1e}answer\u{1e} {\"type\":\"answer\",\"id\":12345678901234,\"meta\":{\"id\":\"é\"}}\n",
    "é\u{1e}\u{18}\u{1e}{\"list\":[0,\"answer\"],\"id\":\"a\\u0062\\\"c\",\"type\":\"as\\u006b\"}",
    "k\u{1e}ask\u{1e}{\"meta\":{\"id\":\"x\"},\"id\":-7.0,\"type\":\"ask\",\"a\":NaN}",
    "7\u{1e}ask\u{1e}[NaN, 1e5, {\"id\": \"y\"}]",
    "7\u{1e}answer\u{1e}\u{0}\u{0}\u{0}\u{0}\u{1}{\"id\":\"\",\"type\":\"ask\",\"id\":\"last\"}",
    "i\u{1e}answer\u{1e}null",
];

/// A reader, and where its values are.
struct Case {
    places: [&'static str; 2],
    schema: SourceSchema,
    half: HalfSchema,
}

impl Case {
    fn new(places: [&'static str; 2]) -> Self {
        let [id, side] = places.map(path);
        let (request, response) = ("ask".into(), "answer".into());
        let half = HalfSchema { id, side, request, response, form: HalfForm::Json };
        let model = ModelSchema {
            name: "m".into(),
            version: VersionField::Fixed("1".into()),
            prediction_id: None,
            features: vec![feature("request.x", FeatureKind::Float64)],
            segments: vec![],
        };
        let format = TimeFormat::UnixSeconds;
        let schema = SourceSchema::try_new(path("$time"), format, None, vec![model]).unwrap();
        Self { places, schema: schema.with_beside([&half.id, &half.side]), half }
    }

    fn check(&self, [id, side, payload]: [Option<&[u8]>; 3]) -> bool {
        let value = |wanted: &EnvelopeValue| match wanted {
            EnvelopeValue::Time => None,
            EnvelopeValue::Key => id,
            EnvelopeValue::Header(name) => {
                if **name == *"i" {
                    id
                } else {
                    side
                }
            }
        };
        let envelope: Vec<_> = self.schema.envelope.iter().map(value).collect();
        let message = Message { payload, offset: 7, timestamp: None, envelope: &envelope };
        let mut reader = HalfReader::new(&self.schema, &self.half, LIMITS);
        let bytes = payload.map_or(0, <[u8]>::len);
        let found = fuzz::measured(bytes, 0, || reader.read(&message));
        let found = found.map_err(|it| it.reason);
        if let Ok(half) = &found {
            check_alone(std::str::from_utf8(half.payload).expect("JSON is UTF-8"));
        }
        let expected = naive(payload.unwrap_or_default(), self.places, [id, side]);
        let is_half = found.is_ok();
        match (expected, found) {
            (Expected::Half(side, id), Ok(half)) => {
                assert_eq!((half.side, in_one_notation(&half.id)), (side, in_one_notation(&id)));
            }
            (Expected::Refused(reason), found) => assert_eq!(found.err(), Some(reason)),
            (Expected::Half(..), Err(reason)) => panic!("it is a half, and refused: {reason}"),
            (Expected::Unsaid, _) => {}
        }
        is_half
    }
}

/// What the naive walk says.
enum Expected {
    Half(Side, String),
    Refused(RejectReason),
    /// What no [`Value`] can say.
    Unsaid,
}

/// Whether two of the documents in a list are a list of two: the document cannot end what is
/// around it, or add to it.
fn check_alone(document: &str) {
    let list = format!("[{document},{document}]");
    match serde_json::from_str::<Vec<&RawValue>>(&special::as_numbers(&list)) {
        Ok(values) => assert_eq!(values.len(), 2),
        Err(error) => assert!(error.to_string().starts_with("recursion"), "{error}: {list}"),
    }
}

/// Reads a half slowly and obviously, in the order in which the reader looks.
fn naive(payload: &[u8], places: [&str; 2], beside: [Option<&[u8]>; 2]) -> Expected {
    let text = match payload {
        [] | [0, _, _, _, _] => return Expected::Refused(RejectReason::EmptyPayload),
        [0, _, _, _, _, text @ ..] | text => text,
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return Expected::Refused(RejectReason::InvalidUtf8);
    };
    if !may_be_json(payload) {
        return Expected::Refused(RejectReason::InvalidJson);
    }
    let Ok(document) = serde_json::from_str::<Value>(text) else { return Expected::Unsaid };
    if !places.iter().all(|it| it.starts_with('$')) && !document.is_object() {
        return Expected::Refused(RejectReason::WrongType);
    }
    let value = |which: usize| match places[which] {
        place if place.starts_with('$') => of_bytes(beside[which]),
        place => inside(&document, place),
    };
    let side = match value(1).as_deref() {
        Ok("ask") => Side::Request,
        Ok("answer") => Side::Response,
        Ok(_) => return Expected::Refused(RejectReason::UnknownSide),
        Err(reason) => return Expected::Refused(*reason),
    };
    match value(0) {
        Ok(id) => Expected::Half(side, id),
        Err(reason) => Expected::Refused(reason),
    }
}

fn of_bytes(bytes: Option<&[u8]>) -> Result<String, RejectReason> {
    let bytes = bytes.ok_or(RejectReason::MissingField)?;
    let text = std::str::from_utf8(bytes).map_err(|_| RejectReason::InvalidUtf8)?;
    of_some_bytes(text.to_owned())
}

fn of_some_bytes(text: String) -> Result<String, RejectReason> {
    if (1..=1_024).contains(&text.len()) { Ok(text) } else { Err(RejectReason::InvalidName) }
}

/// Follows the keys of a path, of which the last may be followed by a place in a list.
fn inside(document: &Value, place: &str) -> Result<String, RejectReason> {
    let mut at = document;
    for step in place.split(['.', '[']) {
        let next = match (at, step.trim_end_matches(']').parse::<usize>()) {
            (Value::Null, _) => return Err(RejectReason::MissingField),
            (Value::Object(members), Err(_)) => members.get(step),
            (Value::Array(elements), Ok(index)) => elements.get(index),
            (_, _) => return Err(RejectReason::WrongType),
        };
        at = next.ok_or(RejectReason::MissingField)?;
    }
    match at {
        Value::Null => Err(RejectReason::MissingField),
        Value::String(text) => of_some_bytes(text.clone()),
        Value::Number(number) => match naive_integer(number) {
            Ok(Plain::Integer(_)) => Ok(number.to_string()),
            Ok(_) | Err(_) => Err(RejectReason::WrongType),
        },
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(RejectReason::WrongType),
    }
}

/// A number is kept as it is written, which [`Value`] does not.
fn in_one_notation(id: &str) -> String {
    let number = serde_json::from_str::<serde_json::Number>(id);
    number.map_or_else(|_| id.to_owned(), |it| it.to_string())
}

/// What is taken is the naive walk's half, and one value wherever it is put.
#[test]
fn halves() {
    let cases = PLACES.map(Case::new);
    fuzz::play(&SEEDS, 10_000, |input| {
        let mut parts = input.splitn(3, |byte| *byte == BETWEEN);
        let parts = [(); 3].map(|()| parts.next().filter(|it| *it != ABSENT));
        cases.each_ref().map(|case| case.check(parts)).contains(&true)
    });
}
