//! Bytes of headers and keys, and the decoder of JSON on a payload that says the same.
//!
//! Before: [`fuzz`] plays the inputs. After: rows are the same, or both refuse.

use std::sync::Arc;

use serde_json::{Number, Value};

use super::BYTES_MAX;
use super::tests::path;
use crate::decode::draw::{Outcome, outcome};
use crate::decode::{Decode as _, DecodeLimits, JsonDecoder, Message, fuzz, special};
use crate::path::EnvelopeValue;
use crate::schema::{
    FeatureField, FeatureKind, ModelSchema, SegmentField, SourceSchema, TimeFormat, VersionField,
};

/// A payload that says the same is longer.
const LIMITS: DecodeLimits =
    DecodeLimits { payload_bytes_max: 1 << 16, rows_max: 1, cells_max: 10 };

/// Stands between the values of an input.
const BETWEEN: &str = "\u{1f}";

/// A value that is not there.
const ABSENT: &str = "\u{18}";

/// Values of [`NAMES`].
const SEEDS: [[&str; 9]; 5] = [
    ["1364806800.5", "one", "3", "-1.5e3", "0.1", "5.0", "inf", "true", "eu"],
    ["1364806800000000000", "two", "v1", "7", "1", "-9", "nan", "false", "k"],
    ["2013-04-01T09:00:00.5Z", "one", "1", "NaN", "-Infinity", "0", "", "true", "a"],
    ["17", "two", "1", ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT],
    ["0", "one", "1", "1.7976931348623157e308", "3.4e38", "9223372036854775807", "é", ABSENT, "z"],
];

/// What is read, in the order of the inputs; the last is the key.
const NAMES: [&str; 9] = ["t", "m", "v", "a", "b", "c", "d", "e", "key"];

const KINDS: [(&str, FeatureKind); 5] = [
    ("a", FeatureKind::Float64),
    ("b", FeatureKind::Float32),
    ("c", FeatureKind::Integer),
    ("d", FeatureKind::Categorical),
    ("e", FeatureKind::Boolean),
];

#[test]
fn headers_and_keys() {
    let formats = [TimeFormat::Rfc3339, TimeFormat::UnixSeconds, TimeFormat::UnixNanos];
    let cases = formats.map(Case::new);
    let values = SEEDS.map(|values| values.join(BETWEEN));
    fuzz::play(&values, 10_000, |input| {
        cases.each_ref().map(|case| case.check(input)).contains(&true)
    });
}

/// A source whose values are beside the payload, and the same with all of them in it.
struct Case {
    format: TimeFormat,
    beside: Arc<SourceSchema>,
    in_payload: Arc<SourceSchema>,
}

impl Case {
    fn new(format: TimeFormat) -> Self {
        let beside = source(format, |name| match name {
            "key" => "$key".to_owned(),
            _ => format!("$headers.{name}"),
        });
        Self { format, beside, in_payload: source(format, str::to_owned) }
    }

    fn check(&self, input: &[u8]) -> bool {
        let mut values = input.split(|byte| BETWEEN.as_bytes() == [*byte]);
        let values = NAMES.map(|_| values.next().filter(|it| *it != ABSENT.as_bytes()));
        let at = |name: &str| NAMES.iter().position(|it| *it == name).and_then(|at| values[at]);
        let beside = |value: &EnvelopeValue| match value {
            EnvelopeValue::Header(name) => at(name),
            EnvelopeValue::Key => at("key"),
            EnvelopeValue::Time => None,
        };
        let envelope: Vec<_> = self.beside.envelope.iter().map(beside).collect();
        let found = decode(&self.beside, b"{}", &envelope);
        let is_unread = |it: &[u8]| BYTES_MAX < it.len() || std::str::from_utf8(it).is_err();
        if values.iter().flatten().any(|it| is_unread(it)) {
            assert_eq!(found.3.len(), 1, "all are read");
            return false;
        }
        let is_decoded = found.3.is_empty();
        match payload(values, self.format) {
            Some(payload) => {
                assert_eq!(found, decode(&self.in_payload, payload.as_bytes(), &[]), "{payload}");
            }
            None => assert!(!is_decoded, "no payload says it"),
        }
        is_decoded
    }
}

fn decode(schema: &Arc<SourceSchema>, payload: &[u8], envelope: &[Option<&[u8]>]) -> Outcome {
    let mut decoder = JsonDecoder::new(Arc::clone(schema), LIMITS);
    let message = Message { payload: Some(payload), offset: 0, timestamp: None, envelope };
    let bytes = payload.len() + envelope.iter().flatten().map(|it| it.len()).sum::<usize>();
    let decoded = fuzz::measured(bytes, 0, || {
        decoder.decode(&message);
        decoder.finish()
    });
    fuzz::check_bounds(&decoded, LIMITS, schema);
    outcome(decoded)
}

/// Two models that differ in their names only, with each value at the path that it is given.
fn source(format: TimeFormat, at: impl Fn(&str) -> String) -> Arc<SourceSchema> {
    let at = |name: &str| path(&at(name));
    let feature = |(name, kind): (&str, FeatureKind)| FeatureField {
        name: name.into(),
        path: at(name),
        kind,
    };
    let model = |name: &str| ModelSchema {
        name: name.into(),
        version: VersionField::Path(at("v")),
        prediction_id: None,
        features: KINDS.map(feature).to_vec(),
        segments: vec![SegmentField { name: "s".into(), path: at("key") }],
    };
    let models = vec![model("one"), model("two")];
    Arc::new(SourceSchema::try_new(at("t"), format, Some(at("m")), models).unwrap())
}

/// Returns a document of the same values; `None` where JSON has no word for one of them.
fn payload(values: [Option<&[u8]>; NAMES.len()], format: TimeFormat) -> Option<String> {
    let mut members = Vec::new();
    for (name, value) in NAMES.iter().zip(values) {
        let Some(value) = value else { continue };
        let text = std::str::from_utf8(value).ok()?;
        let kind = KINDS.iter().find(|it| it.0 == *name).map(|it| it.1);
        let is_number = match kind {
            Some(FeatureKind::Float64 | FeatureKind::Float32) => special::whole(value).is_none(),
            Some(FeatureKind::Integer) => true,
            Some(FeatureKind::Boolean) => {
                let is_word = matches!(text, "true" | "false");
                members.push(is_word.then(|| format!("\"{name}\":{text}"))?);
                continue;
            }
            Some(FeatureKind::Categorical) => false,
            None => *name == "t" && format != TimeFormat::Rfc3339,
        };
        if is_number {
            // White space around one is no part of it in JSON.
            let _: Number = serde_json::from_str(text).ok().filter(|_| text.trim() == text)?;
            members.push(format!("\"{name}\":{text}"));
        } else {
            members.push(format!("\"{name}\":{}", Value::from(text)));
        }
    }
    Some(format!("{{{}}}", members.join(",")))
}
