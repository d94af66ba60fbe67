//! Bytes that may be bodies of the Open Inference Protocol, and what other readers make of them.
//!
//! Before: [`fuzz`] plays the inputs. After: what `prost-reflect` or `serde_json` reads is written
//! as one document of JSON with all values in it; rows are those of that document, or both refuse.

use std::cell::Cell as Counter;
use std::sync::Arc;

use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, Value};
use serde_json::Value as Json;

use super::TensorShape;
use super::oracle::{Body, Cell, Form, POOL, Tensor, cell, half, json, message, path, wide};
use crate::decode::draw::{LIMITS, Outcome};
use crate::decode::fuzz::{has_tie, outcome};
use crate::decode::protobuf::fuzz_tests::has;
use crate::decode::protobuf::wire::Form as WireForm;
use crate::decode::{JsonDecoder, fuzz};
use crate::schema::FeatureKind::{Float32, Float64, Integer};
use crate::schema::{
    FeatureField, FeatureKind, InferenceMessage, ModelSchema, SourceSchema, TimeFormat,
    VersionField,
};

const FEATURES: [(&str, FeatureKind); 6] = [
    ("%[name=x].data[][0]", Float64),
    ("%[name=x].data[][2]", Float64),
    ("%[1].data[][1]", Float32),
    ("%[name=n].data[][0]", Integer),
    ("%[name=x].shape[1]", Float64),
    ("parameters.p", Float64),
];

/// A source that reads two tensors by name and one by its place.
fn source(list: &str) -> SourceSchema {
    let feature = |(text, kind): (&str, FeatureKind)| {
        let text = text.replace('%', list);
        FeatureField { name: text.as_str().into(), path: path(&text), kind }
    };
    let model = ModelSchema {
        name: "m".into(),
        version: VersionField::Path(path("model_version")),
        prediction_id: None,
        features: FEATURES.map(feature).to_vec(),
        segments: vec![],
    };
    let (time, format) = (path("parameters.t"), TimeFormat::UnixSeconds);
    SourceSchema::try_new(time, format, None, vec![model]).unwrap()
}

fn is_wanted(index: usize, name: &str) -> bool {
    index == 1 || matches!(name, "x" | "n")
}

/// A source of bodies, and one of the documents that they are.
struct Case {
    list: &'static str,
    bodies: Arc<SourceSchema>,
    documents: Arc<SourceSchema>,
    /// Bodies with rows that were compared.
    compared: Counter<usize>,
}

impl Case {
    fn new(list: &'static str, message: InferenceMessage) -> Self {
        let bodies = source(list).with_inference(message).unwrap();
        let tensors = ["%[name=x].data", "%[1].data", "%[name=n].data"];
        let tensors = tensors.map(|it| path(&it.replace('%', list))).to_vec();
        let documents = source(list).with_tensors(tensors).unwrap();
        let (bodies, documents) = (Arc::new(bodies), Arc::new(documents));
        Self { list, bodies, documents, compared: Counter::new(0) }
    }

    /// Compares a body with its document, or with what has none; returns whether it has rows.
    fn check(&self, payload: &[u8], document: Option<Result<String, Refused>>) -> bool {
        let found = decode(&self.bodies, payload);
        let is_decoded = !found.0.is_empty();
        match document {
            Some(Ok(document)) => {
                assert_eq!(found, decode(&self.documents, document.as_bytes()), "{document}");
                self.compared.set(self.compared.get() + usize::from(is_decoded));
            }
            Some(Err(Refused)) => assert!(!is_decoded, "its tensors are wrong"),
            None => {}
        }
        is_decoded
    }

    /// Plays inputs, and checks that many of them are compared.
    fn play(&self, seeds: &[Vec<u8>], document: impl Fn(&[u8]) -> Option<Result<String, Refused>>) {
        fuzz::play(seeds, 8_000, |payload| self.check(payload, document(payload)));
        assert!(100 < self.compared.get(), "{} were compared", self.compared.get());
    }
}

/// A body that is none.
struct Refused;

fn decode(source: &Arc<SourceSchema>, payload: &[u8]) -> Outcome {
    let decoder = JsonDecoder::new(Arc::clone(source), LIMITS);
    outcome(fuzz::decode(decoder, payload, (LIMITS, source)))
}

fn tensor(name: &'static str, datatype: &'static str, shape: &[usize], values: &[Cell]) -> Tensor {
    Tensor { name, datatype, shape: shape.to_vec(), values: values.to_vec() }
}

/// Bodies with values of every datatype.
fn bodies(is_request: bool) -> Vec<Body> {
    let signed = |all: &[i64]| all.iter().map(|it| Cell::Signed(*it)).collect::<Vec<_>>();
    let unsigned = |all: &[u64]| all.iter().map(|it| Cell::Unsigned(*it)).collect::<Vec<_>>();
    let floats = |all: &[f64]| all.iter().map(|it| Cell::Float(*it)).collect::<Vec<_>>();
    let halves = |of: fn(u16) -> f64| [0x3c00, 0x8001, 0x7e00].map(|it| Cell::Bits(it, of(it)));
    let texts = ["NaN", "-Infinity"].map(|it| Cell::Text(it.to_owned()));
    let flags = [true, false].map(Cell::Bool);
    let body =
        |tensors| Body { is_request, version: "7".into(), parameter: Cell::Signed(5), tensors };
    vec![
        body(vec![
            tensor("x", "FP32", &[2, 3], &floats(&[1.5, -2.0, f64::NAN, 0.0, 4.25, 7.0])),
            tensor("y", "INT16", &[2, 2], &signed(&[1, -2, 300, i64::from(i16::MIN)])),
            tensor("n", "UINT64", &[2, 1], &unsigned(&[9_007_199_254_740_993, 0])),
        ]),
        body(vec![
            tensor("n", "INT32", &[2], &signed(&[i64::from(i32::MIN), 7])),
            tensor("x", "FP64", &[2, 1, 3], &floats(&[1e300, -0.0, 0.1, 2.0, 3.0, 4.0])),
            tensor("z", "BOOL", &[2], &flags),
        ]),
        body(vec![
            tensor("x", "BYTES", &[1, 2], &texts),
            tensor("y", "UINT8", &[1, 3], &unsigned(&[1, 255, 0])),
            tensor("n", "INT64", &[1], &signed(&[i64::MIN])),
        ]),
        body(vec![
            tensor("x", "FP16", &[1, 3], &halves(half)),
            tensor("", "BF16", &[1, 3], &halves(wide)),
            tensor("n", "INT8", &[1], &signed(&[-128])),
        ]),
        body(vec![tensor("y", "FP32", &[0], &[]), tensor("x", "UINT32", &[1, 1], &unsigned(&[3]))]),
    ]
}

/// Returns the values of bytes that lie one behind the other, as JSON has them.
fn raw_values(datatype: &str, mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let size = match datatype {
            "BOOL" | "INT8" | "UINT8" => 1,
            "INT16" | "UINT16" | "FP16" | "BF16" => 2,
            "INT32" | "UINT32" | "FP32" => 4,
            "INT64" | "UINT64" | "FP64" => 8,
            "BYTES" => {
                let (length, rest) = bytes.split_first_chunk()?;
                bytes = rest;
                usize::try_from(u32::from_le_bytes(*length)).ok()?
            }
            _ => return None,
        };
        let (value, rest) = bytes.split_at_checked(size)?;
        bytes = rest;
        values.push(raw_value(datatype, value)?);
    }
    Some(values)
}

fn raw_value(datatype: &str, bytes: &[u8]) -> Option<String> {
    if datatype == "BYTES" {
        return Some(cell(&Cell::Text(std::str::from_utf8(bytes).ok()?.to_owned())));
    }
    let mut all = [0; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(all);
    // The highest bit of so many is the sign.
    let free = 64 - 8 * bytes.len();
    let short = || u16::try_from(bits).unwrap();
    Some(cell(&match datatype {
        "BOOL" => Cell::Bool(bits != 0),
        "INT8" | "INT16" | "INT32" | "INT64" => Cell::Signed((bits << free).cast_signed() >> free),
        "FP16" => Cell::Float(half(short())),
        "BF16" => Cell::Float(wide(short())),
        "FP32" => Cell::Float(f32::from_bits(u32::try_from(bits).unwrap()).into()),
        "FP64" => Cell::Float(f64::from_bits(bits)),
        _ => Cell::Unsigned(bits),
    }))
}

/// What is said of a tensor beside its values.
struct Head {
    datatype: String,
    /// Sizes of dimensions, of which those below 0 are none.
    sizes: Vec<Option<usize>>,
}

impl Head {
    fn count(&self) -> Option<usize> {
        let (rows, others) = self.sizes.split_first()?;
        let others: Option<Vec<usize>> = others.iter().copied().collect();
        let is_good = |it: &Vec<usize>| it.len() < TensorShape::DIMENSIONS_MAX && !it.contains(&0);
        others.filter(is_good)?.iter().try_fold((*rows)?, |count, it| count.checked_mul(*it))
    }

    /// Returns raw values as a list of JSON, if they are those of the shape.
    fn raw(&self, bytes: &[u8]) -> Result<String, Refused> {
        self.list(raw_values(&self.datatype, bytes))
    }

    fn list(&self, values: Option<Vec<String>>) -> Result<String, Refused> {
        let values = values.filter(|it| Some(it.len()) == self.count()).ok_or(Refused)?;
        Ok(format!("[{}]", values.join(",")))
    }
}

/// Returns the field of `contents` that has values of a datatype.
fn field_of(datatype: &str) -> Option<&'static str> {
    match datatype {
        "BOOL" => Some("bool_contents"),
        "INT8" | "INT16" | "INT32" => Some("int_contents"),
        "INT64" => Some("int64_contents"),
        "UINT8" | "UINT16" | "UINT32" => Some("uint_contents"),
        "UINT64" => Some("uint64_contents"),
        "FP32" => Some("fp32_contents"),
        "FP64" => Some("fp64_contents"),
        "BYTES" => Some("bytes_contents"),
        _ => None,
    }
}

fn value(value: &Value) -> Option<String> {
    Some(cell(&match value {
        Value::Bool(value) => Cell::Bool(*value),
        Value::I32(value) => Cell::Signed((*value).into()),
        Value::I64(value) => Cell::Signed(*value),
        Value::U32(value) => Cell::Unsigned((*value).into()),
        Value::U64(value) => Cell::Unsigned(*value),
        Value::F32(value) => Cell::Float((*value).into()),
        Value::F64(value) => Cell::Float(*value),
        Value::String(text) => Cell::Text(text.clone()),
        Value::Bytes(bytes) => Cell::Text(std::str::from_utf8(bytes).ok()?.to_owned()),
        Value::EnumNumber(_) | Value::Message(_) | Value::List(_) | Value::Map(_) => return None,
    }))
}

fn get(message: &DynamicMessage, field: &str) -> Value {
    message.get_field_by_name(field).expect("the protocol has it").into_owned()
}

fn text(message: &DynamicMessage, field: &str) -> String {
    get(message, field).as_str().expect("it is text").to_owned()
}

/// Returns the values of `contents`, all of the datatype's field.
fn contents(head: &Head, contents: &DynamicMessage) -> Result<String, Refused> {
    let own = field_of(&head.datatype).ok_or(Refused)?;
    if contents.fields().any(|(field, _)| field.name() != own) {
        return Err(Refused);
    }
    let values = get(contents, own);
    head.list(values.as_list().unwrap().iter().map(value).collect())
}

/// Returns what a tensor is in JSON.
fn tensor_text(
    message: &DynamicMessage,
    index: usize,
    raw: Option<&Value>,
) -> Result<String, Refused> {
    let name = text(message, "name");
    let shape = get(message, "shape");
    let sizes = shape.as_list().unwrap().iter().map(|it| it.as_i64().unwrap());
    let sizes: Vec<i64> = sizes.collect();
    let all = sizes.iter().map(|it| usize::try_from(*it).ok()).collect();
    let head = Head { datatype: text(message, "datatype"), sizes: all };
    let members = format!(r#""name":{},"shape":{sizes:?}"#, Json::from(&*name));
    if !is_wanted(index, &name) {
        return Ok(format!("{{{members}}}"));
    }
    let has_contents = message.has_field_by_name("contents");
    let found = get(message, "contents");
    let found = found.as_message().unwrap();
    let data = match raw.map(|it| it.as_bytes().unwrap()) {
        Some(_) if 0 < found.encoded_len() => return Err(Refused),
        Some(raw) => head.raw(raw)?,
        None if has_contents => contents(&head, found)?,
        None if head.count() == Some(0) => "[]".to_owned(),
        None => return Ok(format!("{{{members}}}")),
    };
    Ok(format!(r#"{{{members},"data":{data}}}"#))
}

/// Returns what a message is in JSON, as far as paths lead.
fn document(message: &DynamicMessage, list: &str) -> Result<String, Refused> {
    let mut members = Vec::new();
    let version = text(message, "model_version");
    if !version.is_empty() {
        members.push(format!(r#""model_version":{}"#, Json::from(version)));
    }
    let parameters = get(message, "parameters");
    let parameter = |(key, found): (&MapKey, &Value)| {
        let mut choices = found.as_message().unwrap().fields().map(|(_, it)| value(it).unwrap());
        let choice = choices.next().unwrap_or_else(|| "null".to_owned());
        format!("{}:{choice}", Json::from(key.as_str().unwrap()))
    };
    let all: Vec<_> = parameters.as_map().unwrap().iter().map(parameter).collect();
    members.push(format!(r#""parameters":{{{}}}"#, all.join(",")));
    let raw = get(message, &format!("raw_{}_contents", list.trim_end_matches('s')));
    let (raw, tensors) = (raw.as_list().unwrap(), get(message, list));
    let tensors = tensors.as_list().unwrap();
    if !raw.is_empty() && raw.len() != tensors.len() {
        return Err(Refused);
    }
    let tensors = tensors
        .iter()
        .enumerate()
        .map(|(index, it)| tensor_text(it.as_message().unwrap(), index, raw.get(index)));
    let tensors = tensors.collect::<Result<Vec<_>, _>>()?;
    if !tensors.is_empty() {
        members.push(format!(r#""{list}":[{}]"#, tensors.join(",")));
    }
    Ok(format!("{{{}}}", members.join(",")))
}

/// Whether the other reader does not say what this one minds: it takes a map in any form for its
/// own, and nothing tells a field of no values from one that is absent.
fn is_odd(field: &FieldDescriptor, form: WireForm, bytes: &[u8]) -> bool {
    let is_empty = bytes.iter().all(|it| matches!(it, 0 | 0x80));
    let is_values = field.parent_message().name() == "InferTensorContents";
    field.is_map() && form != WireForm::Counted
        || is_values && form == WireForm::Counted && is_empty && field.name() != "bytes_contents"
}

/// Returns what a message of a kind is in JSON; `None` where the other reader does not say it.
fn message_document(kind: &str, list: &str, payload: &[u8]) -> Option<Result<String, Refused>> {
    let writer = POOL.get_message_by_name(kind).unwrap();
    let is_said = !payload.is_empty() && !has(&writer, payload, &is_odd);
    let message = DynamicMessage::decode(writer, payload).ok().filter(|_| is_said)?;
    Some(document(&message, list))
}

#[test]
fn requests_of_protobuf() {
    let kind = "inference.ModelInferRequest";
    let case = Case::new("inputs", InferenceMessage::Request);
    case.play(&messages_of(true), |payload| message_document(kind, case.list, payload));
}

#[test]
fn responses_of_protobuf() {
    let kind = "inference.ModelInferResponse";
    let case = Case::new("outputs", InferenceMessage::Response);
    case.play(&messages_of(false), |payload| message_document(kind, case.list, payload));
}

/// Bodies with the time that a parameter has.
fn messages_of(is_request: bool) -> Vec<Vec<u8>> {
    let bodies = bodies(is_request);
    let has_halves = |body: &Body| body.tensors.iter().any(|it| it.datatype == "FP16");
    let typed = bodies.iter().filter(|it| !has_halves(it)).map(|it| message(it, false));
    let written = bodies.iter().map(|it| message(it, true)).chain(typed);
    written.map(|it| [TIME, &it].concat()).collect()
}

/// An entry of `parameters`: `t`, an `int64_param` of 17, and no more in another part.
const TIME: &[u8] = b"\x22\x09\x0a\x01t\x12\x02\x10\x11\x12\x00";

/// Stands for a list until the document is written, in which words for numbers may be.
fn mark(number: usize) -> String {
    format!("\u{1}{number}")
}

/// Returns what JSON with bytes behind it is without; `None` where [`Json`] cannot say it.
fn unfolded(payload: &[u8]) -> Option<Result<String, Refused>> {
    if payload.first() == Some(&0) {
        return None;
    }
    let mut values = serde_json::Deserializer::from_slice(payload).into_iter::<Json>();
    let mut body = values.next()?.ok()?;
    let behind = &payload[values.byte_offset()..];
    // The text of a version is not kept where it is a number.
    if !body.is_object() || body["model_version"].is_number() || has_tie(&body) {
        return None;
    }
    let mut sizes = Vec::new();
    let mut has_twice = false;
    for list in ["inputs", "outputs"] {
        let Some(Json::Array(tensors)) = body.get(list) else { continue };
        for name in ["x", "n"] {
            has_twice |= 1 < tensors.iter().filter(|it| it["name"] == name).count();
        }
        for (index, tensor) in tensors.iter().enumerate() {
            match raw_bytes(tensor) {
                Ok(Some(size)) => sizes.push((list, index, size)),
                Ok(None) => {}
                Err(Refused) => return Some(Err(Refused)),
            }
        }
    }
    // Of several with one name all are looked at here, and the last one elsewhere.
    if has_twice {
        return None;
    }
    let total = sizes.iter().try_fold(0usize, |total, (_, _, size)| total.checked_add(*size));
    let start = total.and_then(|total| behind.len().checked_sub(total));
    let Some((between, mut raw)) = start.map(|start| behind.split_at(start)) else {
        return Some(Err(Refused));
    };
    if !between.iter().all(u8::is_ascii_whitespace) {
        return Some(Err(Refused));
    }
    let mut lists = Vec::new();
    for (list, index, size) in sizes {
        let (own, rest) = raw.split_at(size);
        raw = rest;
        let tensor = &mut body[list][index];
        if list == "outputs" || !is_wanted(index, tensor["name"].as_str().unwrap_or_default()) {
            continue;
        }
        let Ok(data) = head(tensor).raw(own) else { return Some(Err(Refused)) };
        tensor["data"] = Json::from(mark(lists.len()));
        lists.push(data);
    }
    let mut text = body.to_string();
    for (number, list) in lists.iter().enumerate() {
        text = text.replace(&Json::from(mark(number)).to_string(), list);
    }
    Some(Ok(text))
}

fn head(tensor: &Json) -> Head {
    let sizes = tensor["shape"].as_array().map(|all| all.iter().map(whole).collect());
    let datatype = tensor["datatype"].as_str().unwrap_or_default().to_owned();
    Head { datatype, sizes: sizes.unwrap_or_default() }
}

/// Returns a whole number that is no size below 0, however it is written.
fn whole(number: &Json) -> Option<usize> {
    let number = number.as_number()?;
    if let Some(size) = number.as_u64() {
        return usize::try_from(size).ok();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and small")]
    let of_float = |it: f64| it as usize;
    let is_size = |it: &f64| it.fract() == 0.0 && (0.0..9e15).contains(it);
    number.as_f64().filter(is_size).map(of_float)
}

fn raw_bytes(tensor: &Json) -> Result<Option<usize>, Refused> {
    let size = tensor.get("parameters").and_then(|it| it.get("binary_data_size"));
    let Some(size) = size.filter(|it| !it.is_null()) else { return Ok(None) };
    if tensor.get("data").is_some_and(|it| !it.is_null()) {
        return Err(Refused);
    }
    whole(size).map(Some).ok_or(Refused)
}

/// JSON, with raw values of tensors behind it or without.
#[test]
fn bodies_of_json() {
    let case = Case::new("inputs", InferenceMessage::Json);
    let bodies = bodies(true);
    let written = |form: Form| bodies.iter().map(move |it| json(it, form));
    let mut seeds: Vec<Vec<u8>> = written(Form::Binary).chain(written(Form::Nested)).collect();
    for seed in &mut seeds {
        *seed = with_time(seed);
    }
    case.play(&seeds, unfolded);
}

fn with_time(body: &[u8]) -> Vec<u8> {
    let parameters = br#""parameters":{"p""#;
    let at = body.windows(parameters.len()).position(|it| it == parameters).unwrap();
    let (before, behind) = body.split_at(at + parameters.len() - 3);
    [before, br#""t":17,"#, behind].concat()
}
