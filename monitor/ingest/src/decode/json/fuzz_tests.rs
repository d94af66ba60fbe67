//! Bytes that may be JSON, and what the naive walk of `naive.rs` makes of the same.
//!
//! Before: [`fuzz`] plays the inputs. After: rows are the same, or both refuse.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::IgnoredAny;
use serde_json::{Number, Value, json};

use super::naive::{LIMITS, Outcome, Plain, PlainRow, in_one_notation, naive};
use super::oracle::{decode, schema};
use super::oracle_lists::{self, Shape, lines_of};
use super::oracle_tensors;
use super::tests::{feature, path};
use super::{JsonDecoder, behind_prefix};
use crate::decode::{fuzz, special};
use crate::rejection::RejectReason;
use crate::schema::{
    EmbeddedField, EmbeddedForm, FeatureKind, Framing, ModelSchema, SourceSchema, TimeFormat,
    VersionField,
};

/// Stands between messages: no text of JSON has it.
const BETWEEN: char = '\u{1e}';

const SHAPES: [Shape; 5] = [Shape::Shared, Shape::Own, Shape::Top, Shape::Named, Shape::NamedOwn];

#[test]
fn documents() {
    let schemas = [TimeFormat::UnixSeconds, TimeFormat::Rfc3339].map(schema);
    let framed = format!("\0\0\0\0\u{7}{SECOND}");
    let seeds = [FIRST, SECOND, THIRD, WITH_TEXT_TIME, EDGES, &framed];
    fuzz::play(&seeds, 10_000, |payload| {
        schemas.each_ref().map(|schema| check(schema, payload)).contains(&true)
    });
}

#[test]
fn lists_and_lines() {
    let schemas = SHAPES.map(|shape| (oracle_lists::schema(shape), lines_of(shape)));
    fuzz::play(&lists(), 3_000, |payload| {
        let both = |(document, lines): &_| check(document, payload) | check(lines, payload);
        schemas.each_ref().map(both).contains(&true)
    });
}

/// What came before decides nothing, whether a layout was learned from it or not.
#[test]
fn layouts() {
    let schema = schema(TimeFormat::UnixSeconds);
    fuzz::play(&alike(), 5_000, |messages| {
        let payloads: Vec<_> =
            messages.split(|byte| char::from(*byte) == BETWEEN).map(<[u8]>::to_vec).collect();
        let alone =
            |payload: &Vec<u8>| decode(&schema, std::slice::from_ref(payload), &[]).remove(0);
        let expected: Vec<Outcome> = payloads.iter().map(alone).collect();
        let found = decode(&schema, &payloads, &[]);
        assert_eq!(found, expected);
        found.iter().any(Result::is_ok)
    });
}

/// Bodies inside of text: as logs of gateways have them, and `data_base64` of `CloudEvents`.
#[test]
fn embedded_bodies() {
    let [single, rows] = [&SINGLE[..], &ROWS].map(embedded);
    let lines = Arc::new((*rows).clone().with_framing(Framing::Lines));
    let schemas = [single, rows, lines];
    fuzz::play(&bodies(), 8_000, |payload| {
        schemas.each_ref().map(|schema| check_embedded(schema, payload)).contains(&true)
    });
}

/// Tensors, flat and nested, at places and by names, inside of text and in lines.
#[test]
fn tensors() {
    let schemas = [Framing::Document, Framing::Lines].map(oracle_tensors::schema);
    fuzz::play(&with_tensors(), 5_000, |payload| {
        let each = |schema: &Arc<SourceSchema>| {
            check_limits(schema, payload);
            let found = decode(schema, &[payload.to_vec()], &[]).remove(0);
            let is_decoded = found.is_ok();
            oracle_tensors::check(schema, payload, found).unwrap();
            is_decoded
        };
        schemas.each_ref().map(each).contains(&true)
    });
}

fn check(schema: &Arc<SourceSchema>, payload: &[u8]) -> bool {
    check_limits(schema, payload);
    let expected = naive(schema, payload);
    let found = decode(schema, &[payload.to_vec()], &[]).remove(0);
    let is_decoded = found.is_ok();
    if expected != Err(RejectReason::InvalidJson) {
        assert_eq!(in_one_notation(found), in_one_notation(expected));
    } else if schema.framing == Framing::Document && !may_be_json(payload) {
        assert_eq!(found, Err(RejectReason::InvalidJson));
    }
    is_decoded
}

fn check_embedded(schema: &Arc<SourceSchema>, payload: &[u8]) -> bool {
    check_limits(schema, payload);
    let found = decode(schema, &[payload.to_vec()], &[]).remove(0);
    let is_decoded = found.is_ok();
    let unfolded = match schema.framing {
        Framing::Document => unfolded(payload),
        Framing::Lines => unfolded_lines(payload),
    };
    if let Some((expected, has_words)) = unfolded {
        let plain = SourceSchema { embedded: Vec::new(), ..(**schema).clone() };
        let expected = expected.and_then(|text| naive(&plain, text.as_bytes()));
        match (in_one_notation(found), in_one_notation(expected)) {
            // Words for numbers are texts to the naive walk, which only floats take in their place.
            (Ok(found), Ok(expected)) if has_words => assert_eq!(floats(&found), floats(&expected)),
            (_, _) if has_words => {}
            (found, expected) => assert_eq!(found, expected),
        }
    }
    is_decoded
}

fn floats(rows: &[PlainRow]) -> Vec<&Plain> {
    let is_float = |it: &&Plain| matches!(it, Plain::Float32(_) | Plain::Float64(_));
    rows.iter().flat_map(|row| row.columns.iter().filter(is_float)).collect()
}

fn check_limits(schema: &Arc<SourceSchema>, payload: &[u8]) {
    fuzz::decode(JsonDecoder::new(Arc::clone(schema), LIMITS), payload, (LIMITS, schema));
}

/// Whether the bytes are JSON where nothing is kept of it: numbers of any size, halves of
/// surrogates, words for numbers, and more depth than `serde_json` goes to.
pub(super) fn may_be_json(payload: &[u8]) -> bool {
    let Ok(text) = behind_prefix(payload) else { return false };
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let read = serde_json::from_str::<IgnoredAny>(&special::as_numbers(text));
    read.map_or_else(|error| error.to_string().starts_with("recursion"), |_| true)
}

const FORMS: [(&str, EmbeddedForm); 4] = [
    ("j", EmbeddedForm::Json),
    ("c", EmbeddedForm::Csv),
    ("data_base64", EmbeddedForm::Base64Json),
    ("b", EmbeddedForm::Base64Csv),
];

const SINGLE: [(&str, FeatureKind); 7] = [
    ("j.a", FeatureKind::Float64),
    ("j.b[1]", FeatureKind::Categorical),
    ("c[0][1]", FeatureKind::Float64),
    ("c[1][0]", FeatureKind::Categorical),
    ("data_base64.a", FeatureKind::Float32),
    ("b[0][0]", FeatureKind::Integer),
    ("k", FeatureKind::Boolean),
];

const ROWS: [(&str, FeatureKind); 5] = [
    ("j.rows[].a", FeatureKind::Float64),
    ("c[][0]", FeatureKind::Categorical),
    ("c[][1]", FeatureKind::Float64),
    ("data_base64.rows[].a", FeatureKind::Integer),
    ("k", FeatureKind::Boolean),
];

fn embedded(features: &[(&str, FeatureKind)]) -> Arc<SourceSchema> {
    let model = ModelSchema {
        name: "m".into(),
        version: VersionField::Fixed("1".into()),
        prediction_id: None,
        features: features.iter().map(|(path, kind)| feature(path, *kind)).collect(),
        segments: vec![],
    };
    let by = Some(path("m"));
    let schema = SourceSchema::try_new(path("t"), TimeFormat::UnixSeconds, by, vec![model]);
    let field = |(text, form): (&str, EmbeddedForm)| EmbeddedField { path: path(text), form };
    let fields = FORMS.map(field).to_vec();
    Arc::new(schema.unwrap().with_embedded(fields).unwrap())
}

/// The document with every body in its place, or why none can be, and whether there are words for
/// numbers in one.
type Unfolded = (Result<String, RejectReason>, bool);

/// Unfolds each line; blank ones stay as they are.
fn unfolded_lines(payload: &[u8]) -> Option<Unfolded> {
    let (mut lines, mut has_words) = (Vec::new(), false);
    let mut outcome = Ok(());
    for line in payload.split(|byte| *byte == b'\n') {
        if line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
            continue;
        }
        let (unfolded, line_has_words) = unfolded(line)?;
        has_words |= line_has_words;
        match unfolded {
            Ok(line) => lines.push(line),
            Err(reason) => outcome = Err(reason),
        }
    }
    Some((outcome.map(|()| lines.join("\n")), has_words))
}

/// Unfolds a document; `None` where a value cannot say what the decoder may pass over, or another
/// reason may come first.
fn unfolded(payload: &[u8]) -> Option<Unfolded> {
    let mut document: Value = serde_json::from_slice(payload).ok()?;
    let mut has_words = false;
    for (key, form) in FORMS {
        let Some(place) = document.get_mut(key) else { continue };
        let Value::String(text) = &*place else { continue };
        match body(text, form) {
            Body::Is(body) => *place = body,
            Body::Unsaid => return None,
            Body::Wrong => return Some((Err(RejectReason::InvalidJson), false)),
        }
        has_words |= has_word(place);
    }
    Some((Ok(document.to_string()), has_words))
}

fn has_word(value: &Value) -> bool {
    match value {
        Value::String(text) => special::whole(text.as_bytes()).is_some(),
        Value::Array(values) => values.iter().any(has_word),
        Value::Object(members) => members.values().any(has_word),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What a text holds as a body.
enum Body {
    Is(Value),
    /// None: the message is refused.
    Wrong,
    /// What no value can say.
    Unsaid,
}

fn body(text: &str, form: EmbeddedForm) -> Body {
    let text = match form {
        EmbeddedForm::Json | EmbeddedForm::Csv => text.to_owned(),
        EmbeddedForm::Base64Json | EmbeddedForm::Base64Csv => {
            let bytes = BASE64.decode(text.trim()).ok();
            let Some(text) = bytes.and_then(|it| String::from_utf8(it).ok()) else {
                return Body::Wrong;
            };
            text
        }
    };
    match form {
        EmbeddedForm::Csv | EmbeddedForm::Base64Csv => csv(&text).map_or(Body::Unsaid, Body::Is),
        EmbeddedForm::Json | EmbeddedForm::Base64Json if text.trim().is_empty() => {
            Body::Is(Value::Null)
        }
        EmbeddedForm::Json | EmbeddedForm::Base64Json => {
            // With quotes a word would be a key, too.
            if !may_be_json(text.trim().as_bytes()) {
                return Body::Wrong;
            }
            let value = serde_json::from_str(&special::quote_specials(text.trim()));
            value.map_or(Body::Unsaid, Body::Is)
        }
    }
}

/// Reads lines of values without quotes.
fn csv(text: &str) -> Option<Value> {
    if text.contains('"') {
        return None;
    }
    let lines = text.split(['\r', '\n']).filter(|line| !line.is_empty());
    lines
        .map(|line| line.split(',').map(|it| csv_value(it.trim())).collect::<Option<Value>>())
        .collect()
}

fn csv_value(text: &str) -> Option<Value> {
    if text.is_empty() {
        return Some(Value::Null);
    }
    if let Ok(number) = serde_json::from_str::<Number>(text) {
        return Some(Value::Number(number));
    }
    // A number that no value can hold.
    let is_digits = text.starts_with(|it: char| it == '-' || it.is_ascii_digit());
    let is_number = is_digits && serde_json::from_str::<IgnoredAny>(text).is_ok();
    (!is_number).then(|| Value::from(text))
}

const FIRST: &str = r#"{"t": 1364806800.5, "meta": {"model": "first", "version": "3", "s": "eu"},
    "f": {"a": 1.5, "b": -2e3, "c": 7, "d": "x", "e": true, "skipped": {"x": [1, {"y": "z"}]}},
    "list": [1, 2.25, null, {"x": "l"}], "we.ird": 12.5e-2}"#;

const SECOND: &str = r#"{"meta":{"version":2,"model":"second"},"f":{"b":{"x":9.5},"a":"c"},
    "list":[0,[-3,4]],"t":17}"#;

const THIRD: &str = r#"{"t":0,"meta":{"model":"third","version":"v"},"list":{"x":"NaN"},
    "f":{"b":NaN,"a":"\u00e9\/"}}"#;

const WITH_TEXT_TIME: &str = r#"{"t":"2013-04-01T11:00:00.5+02:00","meta":{"model":"first",
    "version":"1","s":null},"f":{"a":"NaN","b":"-Infinity","c":-0,"d":"","e":false},"list":[],
    "we.ird":1e-9}"#;

const EDGES: &str = r#"{"t":1e9,"meta":{"model":"first","version":"1"},"f":{"a":3.4e38,
    "b":1.7976931348623157e308,"c":9223372036854775807,"d":"\ud83d\ude00","e":null},
    "list":[0,5e-324,0,{"x":1.0}],"t":2}"#;

/// Messages behind one another: of one layout, of others, and of one with and without null, where
/// paths end and where they lead on.
fn alike() -> [String; 5] {
    let whole = FIRST.replace("1.5", "17");
    let nan = FIRST.replace(r#""x""#, r#""NaN""#);
    let null = FIRST.replace("7,", "null,");
    let second = SECOND.replace("17", "1.0");
    let word = FIRST.replace(r#""x""#, "Infinity");
    // Of an object that comes again the last counts, with nothing of the others.
    let twice = FIRST.replace(r#""list""#, r#""f": {"c": 8, "d": "y"}, "list""#);
    let blocked = SECOND.replace(r#"{"x":9.5}"#, "null");
    [
        [FIRST, &whole, SECOND, &nan, SECOND, SECOND].join(&BETWEEN.to_string()),
        [SECOND, &second, THIRD, SECOND, EDGES, EDGES].join(&BETWEEN.to_string()),
        [THIRD, FIRST, &null, &word, FIRST].join(&BETWEEN.to_string()),
        [&blocked, &blocked, SECOND, &blocked].join(&BETWEEN.to_string()),
        [&twice, &twice, FIRST, &twice].join(&BETWEEN.to_string()),
    ]
}

/// A message of each shape, and lines of them.
fn lists() -> [String; 8] {
    let row = |model: &str, time: f64, a: Value| {
        let rest = r#""v":"1","n":{"c":"x"},"e":true,"s":"p","g":[1,2.5]"#;
        format!(r#"{{"m":"{model}","t":{time},"a":{a},{rest}}}"#)
    };
    let shared = format!(
        r#"{{"m":"first","t":9,"v":"2","k":0.5,"s":"q","in":[{},{}],"out":[1,2],"col":{{"x":[3,4]}},"grid":[[0,1],[2,3.5]]}}"#,
        row("first", 5.0, json!(1.5)),
        row("third", 6.5, Value::Null),
    );
    let rows =
        r#"[[1,{"c":"x"},true,"1","sixth",7,"p"],[2.5,{"c":"y"},false,"1","seventh",8,"q"]]"#;
    let named = format!(
        r#"{{"m":"sixth","t":1,"v":"2","k":4,"out":[1,-2],"d":{{"c":["a","n","e","v","m","t","s"],"r":{rows},"q":[]}}}}"#
    );
    let top = format!("[{},{}]", row("fourth", 1.0, json!(2)), row("fifth", 3.0, json!(4)));
    [
        shared.replace(r#"{"m":"first","t":9"#, r#"{"m":"second","t":9"#),
        named
            .replace(r#"{"m":"sixth","t":1,"#, r#"{"m":"seventh","t":1,"#)
            .replace(r#","q":[]"#, ""),
        format!("{shared}\n \t\r\n{}\n", shared.replace("1.5", "7")),
        format!("{named}\r\n{named}"),
        format!("{top}\n{top}\n"),
        shared,
        named,
        top,
    ]
}

/// Bodies of each form, alone and together, and in lines.
fn bodies() -> Vec<String> {
    const BODY: &str = r#"{"a": 2.5, "b": [1, "\u0041"], "rows": [{"a": 1}, {"a": 2}]}"#;
    const BROKEN: &str = "{\n\"rows\":[{\"a\":1},\r\n{\"a\":2}]}";
    const CSV: &str = "1, 2.5\n-3e2,x\n";
    let in_base64 = |text: &str| BASE64.encode(text);
    let documents = [
        json!({"t": 1, "m": "m", "j": BODY, "k": true}),
        json!({"t": 1, "m": "m", "c": CSV}),
        json!({"specversion": "1.0", "t": 5, "m": "m", "data_base64": in_base64(BODY)}),
        json!({"b": format!(" {}\n", in_base64("7,8\r\n9")), "m": "m", "t": 2.5}),
        json!({"j": BODY, "c": CSV, "data_base64": in_base64(BODY), "b": in_base64(CSV), "t": 1, "m": "m"}),
        json!({"t": 1, "m": "m", "j": r#"{"a": NaN}"#, "c": "NaN,Infinity\n"}),
        json!({"t": 1, "m": "m", "j": {"a": 1}, "c": [[1, 2], [3]]}),
        json!({"data_base64": in_base64(BROKEN), "j": BROKEN, "m": "m", "t": 1}),
    ];
    let mut bodies: Vec<String> = documents.iter().map(ToString::to_string).collect();
    bodies.push(format!("{}\n \r\n{}\n", documents[7], documents[7]));
    bodies
}

/// Messages of each model with tensors, and lines of them.
fn with_tensors() -> [String; 5] {
    let first = concat!(
        r#"{"m":"first","time":5,"v":"1","k":0.5,"out":[1,-2.5],"in":["#,
        r#"{"name":"x","shape":[2,2,2],"data":[1,2,3,4,5.5,6,7,8]},"#,
        r#"{"shape":[2,2],"data":[[1,2e0],[null,4]],"name":"y"}],"#,
        r#""t":{"shape":[2,2.0],"values":["p","q","r","s"]}}"#,
    );
    let second = concat!(
        r#"{"in":[{"shape":[1,3],"name":"x","data":[[0,0,9]]}],"v":2,"time":1e9,"#,
        r#""t":{"values":[[true,"a","b"],[false,"c",null]],"shape":[2,3]},"m":"second"}"#,
    );
    let third = concat!(
        r#"{"text":"{\"shape\":[3],\"data\":[1,-2,3.25]}","#,
        r#""deep":{"data":[ [[1,2,3],[4,5,6]] , [[0,0,0],[0,0,0]] ],"shape":[2,2,3]},"#,
        r#""m":"third","time":17.5,"v":"z","k":null}"#,
    );
    let third = third.replace("[3]", "[2]").replace(",3.25]", "]");
    let lines = format!("{second}\n \r\n{third}\n");
    [first.into(), second.into(), third, lines, format!("\0\0\0\0\u{9}{first}")]
}
