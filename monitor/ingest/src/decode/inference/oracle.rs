//! One body in every way to write it: all become the same records, or are refused for one reason.
//!
//! Before: bodies are drawn, `prost-reflect` writes messages by the protocol's own schema
//! (`fixtures/schemas/proto`). After: what JSON of the same values becomes with its tensors named
//! in the schema is compared with what each of them does.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use driftd_fixtures::trials::cases;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MapKey, Value};

use super::values::append_quoted;
use crate::decode::draw::{LIMITS, Outcome, outcome};
use crate::decode::{Decode, JsonDecoder, Message};
use crate::path::FieldPath;
use crate::rejection::RejectReason;
use crate::schema::FeatureKind::{Categorical, Float32, Float64, Integer};
use crate::schema::{
    FeatureField, FeatureKind, InferenceMessage, ModelSchema, SourceSchema, TimeFormat,
    VersionField,
};

pub(super) static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/schemas/proto");
    let mut compiler = protox::Compiler::new([folder]).unwrap();
    compiler.open_file("open_inference_grpc.proto").unwrap();
    DescriptorPool::decode(&compiler.encode_file_descriptor_set()[..]).unwrap()
});

/// One value, exact in its datatype.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    /// A float of 16 bits, and what they mean.
    Bits(u16, f64),
    Text(String),
}

#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) name: &'static str,
    pub(super) datatype: &'static str,
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<Cell>,
}

#[derive(Clone, Debug)]
pub(super) struct Body {
    pub(super) is_request: bool,
    pub(super) version: String,
    pub(super) parameter: Cell,
    pub(super) tensors: Vec<Tensor>,
}

impl Body {
    fn list(&self) -> &'static str {
        if self.is_request { "inputs" } else { "outputs" }
    }
}

/// Returns what ten and five bits of a float mean.
pub(super) fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023) / 1024.0);
    match exponent {
        0 => sign * mantissa * 2f64.powi(-14),
        31 if mantissa == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        _ => sign * (1.0 + mantissa) * 2f64.powi(exponent - 15),
    }
}

pub(super) fn wide(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) * 65_536))
}

pub(super) fn path(text: &str) -> FieldPath {
    FieldPath::parse(text).unwrap()
}

/// A source that reads two tensors by name and one by its place.
fn source(list: &str) -> SourceSchema {
    let feature = |text: &str, kind: FeatureKind| {
        let text = text.replace('%', list);
        FeatureField { name: text.as_str().into(), path: path(&text), kind }
    };
    let model = ModelSchema {
        name: "m".into(),
        version: VersionField::Path(path("model_version")),
        prediction_id: None,
        features: vec![
            feature("%[name=x].data[][0]", Float64),
            feature("%[name=x].data[][2]", Categorical),
            feature("%[1].data[][1]", Float32),
            feature("%[name=n].data[][0]", Integer),
            feature("%[name=x].shape[1]", Float64),
            feature("parameters.p", Categorical),
        ],
        segments: vec![],
    };
    SourceSchema::try_new(path("$time"), TimeFormat::UnixMillis, None, vec![model]).unwrap()
}

fn decode(source: SourceSchema, payload: &[u8], header: Option<&str>) -> Outcome {
    let envelope: Vec<_> = source.envelope.iter().map(|_| None).collect();
    let mut envelope: Vec<Option<&[u8]>> = envelope;
    if source.inference.is_some() {
        envelope[0] = header.map(str::as_bytes);
    }
    let mut decoder = JsonDecoder::new(Arc::new(source), LIMITS);
    let timestamp = Some(driftd_catalog::Timestamp::from_millis(1_700_000_000_000));
    decoder.decode(&Message { payload: Some(payload), offset: 0, timestamp, envelope: &envelope });
    outcome(decoder.finish())
}

fn body(source: SourceSchema, payload: &[u8], header: Option<&str>) -> Outcome {
    decode(source.with_inference(InferenceMessage::Json).unwrap(), payload, header)
}

pub(super) fn cell(cell: &Cell) -> String {
    let float = |value: f64| match value {
        it if it.is_nan() => "NaN".to_owned(),
        it if it.is_infinite() => if it < 0.0 { "-Infinity" } else { "Infinity" }.to_owned(),
        it => format!("{it:?}"),
    };
    match cell {
        Cell::Bool(value) => value.to_string(),
        Cell::Signed(value) => value.to_string(),
        Cell::Unsigned(value) => value.to_string(),
        Cell::Float(value) | Cell::Bits(_, value) => float(*value),
        Cell::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
    }
}

/// How values stand in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Flat,
    Nested,
    Binary,
}

pub(super) fn json(body: &Body, form: Form) -> Vec<u8> {
    let mut text = format!(
        r#"{{"model_version":"{}","parameters":{{"p":{}}},"{}":["#,
        body.version,
        cell(&body.parameter),
        body.list()
    );
    let mut behind = Vec::new();
    for (index, tensor) in body.tensors.iter().enumerate() {
        let Tensor { name, datatype, shape, values } = tensor;
        text.push_str(if index == 0 { "" } else { "," });
        write!(text, r#"{{"name":"{name}","datatype":"{datatype}","shape":{shape:?},"#).unwrap();
        match form {
            Form::Flat => {
                let values: Vec<String> = values.iter().map(cell).collect();
                write!(text, r#""data":[{}]}}"#, values.join(",")).unwrap();
            }
            Form::Nested => {
                let mut values = values.iter().map(cell);
                write!(text, r#""data":{}}}"#, nested(shape, &mut values)).unwrap();
            }
            Form::Binary => {
                let raw = raw(tensor);
                let size = raw.len();
                write!(text, r#""parameters":{{"binary_data_size":{size}}}}}"#).unwrap();
                behind.extend(raw);
            }
        }
    }
    text.push_str("]}");
    [text.into_bytes(), behind].concat()
}

fn nested(shape: &[usize], values: &mut impl Iterator<Item = String>) -> String {
    let Some((size, inner)) = shape.split_first() else { return values.next().unwrap() };
    let all: Vec<_> = (0..*size).map(|_| nested(inner, values)).collect();
    format!("[{}]", all.join(","))
}

fn raw(tensor: &Tensor) -> Vec<u8> {
    let size = match tensor.datatype {
        "BOOL" | "INT8" | "UINT8" => 1,
        "INT16" | "UINT16" | "FP16" | "BF16" => 2,
        "INT32" | "UINT32" | "FP32" => 4,
        _ => 8,
    };
    let bytes = |value: &Cell| -> Vec<u8> {
        match value {
            Cell::Bool(value) => vec![u8::from(*value)],
            Cell::Signed(value) => value.to_le_bytes()[..size].to_vec(),
            Cell::Unsigned(value) => value.to_le_bytes()[..size].to_vec(),
            #[expect(clippy::cast_possible_truncation, reason = "drawn as one of 32 bits")]
            Cell::Float(value) if size == 4 => (*value as f32).to_le_bytes().to_vec(),
            Cell::Float(value) => value.to_le_bytes().to_vec(),
            Cell::Bits(bits, _) => bits.to_le_bytes().to_vec(),
            Cell::Text(text) => {
                let length = u32::try_from(text.len()).unwrap().to_le_bytes();
                [&length, text.as_bytes()].concat()
            }
        }
    };
    tensor.values.iter().flat_map(bytes).collect()
}

fn has_halves(body: &Body) -> bool {
    body.tensors.iter().any(|it| matches!(it.datatype, "FP16" | "BF16"))
}

fn contents(tensor: &Tensor) -> DynamicMessage {
    let mut contents =
        DynamicMessage::new(POOL.get_message_by_name("inference.InferTensorContents").unwrap());
    let (field, is_short) = match tensor.datatype {
        "BOOL" => ("bool_contents", false),
        "INT8" | "INT16" | "INT32" => ("int_contents", true),
        "INT64" => ("int64_contents", false),
        "UINT8" | "UINT16" | "UINT32" => ("uint_contents", true),
        "UINT64" => ("uint64_contents", false),
        "FP32" => ("fp32_contents", true),
        "FP64" => ("fp64_contents", false),
        _ => ("bytes_contents", false),
    };
    let value = |cell: &Cell| match cell {
        Cell::Bool(value) => Value::Bool(*value),
        Cell::Signed(value) if is_short => Value::I32(i32::try_from(*value).unwrap()),
        Cell::Signed(value) => Value::I64(*value),
        Cell::Unsigned(value) if is_short => Value::U32(u32::try_from(*value).unwrap()),
        Cell::Unsigned(value) => Value::U64(*value),
        #[expect(clippy::cast_possible_truncation, reason = "drawn as one of 32 bits")]
        Cell::Float(value) if is_short => Value::F32(*value as f32),
        Cell::Float(value) => Value::F64(*value),
        Cell::Text(text) => Value::Bytes(text.clone().into_bytes().into()),
        Cell::Bits(..) => unreachable!("is raw only"),
    };
    contents.set_field_by_name(field, Value::List(tensor.values.iter().map(value).collect()));
    contents
}

/// Writes the body by the schema, with raw values or with those of its types.
pub(super) fn message(body: &Body, is_raw: bool) -> Vec<u8> {
    let (kind, inner) = if body.is_request {
        ("ModelInferRequest", "InferInputTensor")
    } else {
        ("ModelInferResponse", "InferOutputTensor")
    };
    let new = |name: &str| {
        DynamicMessage::new(POOL.get_message_by_name(&format!("inference.{name}")).unwrap())
    };
    let mut message = new(kind);
    message.set_field_by_name("model_version", Value::String(body.version.clone()));
    let mut parameter = new("InferParameter");
    match &body.parameter {
        Cell::Bool(value) => parameter.set_field_by_name("bool_param", Value::Bool(*value)),
        Cell::Signed(value) => parameter.set_field_by_name("int64_param", Value::I64(*value)),
        Cell::Unsigned(value) => parameter.set_field_by_name("uint64_param", Value::U64(*value)),
        Cell::Text(text) => {
            parameter.set_field_by_name("string_param", Value::String(text.clone()));
        }
        Cell::Float(value) | Cell::Bits(_, value) => {
            parameter.set_field_by_name("double_param", Value::F64(*value));
        }
    }
    let entry = (MapKey::String("p".to_owned()), Value::Message(parameter));
    message.set_field_by_name("parameters", Value::Map([entry].into()));
    let tensor = |tensor: &Tensor| {
        let mut message = new(&format!("{kind}.{inner}"));
        message.set_field_by_name("name", Value::String(tensor.name.to_owned()));
        message.set_field_by_name("datatype", Value::String(tensor.datatype.to_owned()));
        let shape = tensor.shape.iter().map(|it| Value::I64(i64::try_from(*it).unwrap()));
        message.set_field_by_name("shape", Value::List(shape.collect()));
        if !is_raw {
            message.set_field_by_name("contents", Value::Message(contents(tensor)));
        }
        Value::Message(message)
    };
    let tensors = body.tensors.iter().map(tensor).collect();
    message.set_field_by_name(body.list(), Value::List(tensors));
    if is_raw {
        let all = body.tensors.iter().map(|it| Value::Bytes(raw(it).into())).collect();
        let field = if body.is_request { "raw_input_contents" } else { "raw_output_contents" };
        message.set_field_by_name(field, Value::List(all));
    }
    message.encode_to_vec()
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        10 => (-40i8..40).prop_map(|it| f64::from(it) / 4.0),
        2 => any::<f32>().prop_map(f64::from),
        1 => select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0]),
    ]
}

fn value(datatype: &'static str) -> BoxedStrategy<Cell> {
    let bits = |of: fn(u16) -> f64| any::<u16>().prop_map(move |it| Cell::Bits(it, of(it)));
    match datatype {
        "BOOL" => any::<bool>().prop_map(Cell::Bool).boxed(),
        "INT8" => any::<i8>().prop_map(|it| Cell::Signed(it.into())).boxed(),
        "INT16" => any::<i16>().prop_map(|it| Cell::Signed(it.into())).boxed(),
        "INT32" => any::<i32>().prop_map(|it| Cell::Signed(it.into())).boxed(),
        "INT64" => any::<i64>().prop_map(Cell::Signed).boxed(),
        "UINT8" => any::<u8>().prop_map(|it| Cell::Unsigned(it.into())).boxed(),
        "UINT16" => any::<u16>().prop_map(|it| Cell::Unsigned(it.into())).boxed(),
        "UINT32" => any::<u32>().prop_map(|it| Cell::Unsigned(it.into())).boxed(),
        "UINT64" => any::<u64>().prop_map(Cell::Unsigned).boxed(),
        "FP16" => bits(half).boxed(),
        "BF16" => bits(wide).boxed(),
        "FP32" => float().prop_map(Cell::Float).boxed(),
        "FP64" => prop_oneof![float(), any::<f64>()].prop_map(Cell::Float).boxed(),
        _ => prop_oneof!["[a-c]{0,2}", r#"[\PC"\\\x00-\x1f]{0,9}"#].prop_map(Cell::Text).boxed(),
    }
}

fn tensor(rows: usize) -> impl Strategy<Value = Tensor> {
    let numbers = ["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"];
    let floats = ["FP16", "BF16", "FP32", "FP64"];
    let datatypes = [&numbers[..], &floats, &floats, &["BOOL", "BYTES"]].concat();
    let rows = prop_oneof![30 => Just(rows), 1 => 0usize..7];
    let others = select(vec![vec![3], vec![1], vec![], vec![2, 2], vec![1, 3, 1]]);
    let drawn = (select(vec!["x", "n", "y", "x"]), select(datatypes), rows, others, 0..60);
    drawn.prop_flat_map(|(name, datatype, rows, others, odd)| {
        // Integers and floats are what their features want.
        let datatype = match (name, datatype) {
            ("n", "FP16" | "BF16" | "FP32" | "FP64" | "BOOL" | "BYTES") if 1 < odd => "INT32",
            ("x", "BOOL" | "BYTES") if 2 < odd => "FP64",
            _ => datatype,
        };
        let shape = [vec![rows], others].concat();
        let count: usize = shape.iter().product();
        let count = if odd == 0 { count + 1 } else { count };
        prop::collection::vec(value(datatype), count).prop_map(move |values| Tensor {
            name,
            datatype,
            shape: shape.clone(),
            values,
        })
    })
}

fn drawn() -> impl Strategy<Value = Body> {
    let rows = prop_oneof![1 => Just(0usize), 8 => 1usize..4, 1 => 4usize..7];
    let tensors = rows.prop_flat_map(|rows| prop::collection::vec(tensor(rows), 1..4));
    let parameter = select(vec!["BOOL", "INT64", "UINT64", "BYTES"]).prop_flat_map(value);
    let version = prop_oneof![9 => "[1-9]".boxed(), 1 => Just(String::new()).boxed()];
    (any::<bool>(), version, parameter, tensors).prop_map(
        |(is_request, version, parameter, tensors)| Body {
            is_request,
            version,
            parameter,
            tensors,
        },
    )
}

fn fits(body: &Body) -> bool {
    body.tensors.iter().all(|it| it.values.len() == it.shape.iter().product::<usize>())
}

/// Returns what the body is in JSON where its tensors are named: of those that are not read the
/// values do not matter.
fn expected(body: &Body) -> Outcome {
    let list = body.list();
    let tensors = ["%[name=x].data", "%[1].data", "%[name=n].data"];
    let tensors = tensors.map(|it| path(&it.replace('%', list))).to_vec();
    let mut text = String::from_utf8(json(body, Form::Flat)).unwrap();
    if body.version.is_empty() {
        // A text without characters is none in Protobuf.
        text = text.replacen(r#""model_version":"","#, "", 1);
    }
    decode(source(list).with_tensors(tensors).unwrap(), text.as_bytes(), None)
}

fn kind(body: &Body) -> &'static str {
    if body.is_request { "proto/InferModelRequest" } else { "proto/InferModelResponse" }
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn a_body_is_the_same_records_however_it_is_written(body in drawn()) {
        // Of several tensors with one name a path reads the last one; all are checked.
        let tensors = &body.tensors;
        let is_last = |(at, it): (usize, &Tensor)| {
            tensors[at + 1..].iter().all(|other| other.name != it.name)
        };
        prop_assume!(fits(&body) || tensors.iter().enumerate().all(is_last));
        let source = || source(body.list());
        let expected = expected(&body);
        let mut found = vec![
            self::body(source(), &message(&body, true), Some(kind(&body))),
        ];
        if !has_halves(&body) {
            found.push(self::body(source(), &message(&body, false), Some(kind(&body))));
        }
        if !body.version.is_empty() {
            let header = Some("json/inferModelRequest");
            found.push(self::body(source(), &json(&body, Form::Flat), header));
            found.push(self::body(source(), &json(&body, Form::Binary), None));
            if fits(&body) {
                found.push(self::body(source(), &json(&body, Form::Nested), None));
            }
        }
        for (way, found) in found.into_iter().enumerate() {
            prop_assert_eq!(found, expected.clone(), "way {}", way);
        }
    }

    #[test]
    fn mutated_bodies_never_panic(
        body in drawn(),
        form in select(vec![Form::Flat, Form::Binary]),
        is_raw in any::<bool>(),
        mutations in
            prop::collection::vec((any::<Index>(), any::<Index>(), 0..4, any::<u8>()), 1..4),
    ) {
        let halves = has_halves(&body);
        for (mut payload, header) in [
            (json(&body, form), None),
            (message(&body, is_raw || halves), Some(kind(&body))),
        ] {
            for (from, to, kind, byte) in &mutations {
                let (from, to) = (from.index(payload.len() + 1), to.index(payload.len() + 1));
                let range = from.min(to)..from.max(to);
                match kind {
                    0 => payload.truncate(from),
                    1 => payload.insert(from, *byte),
                    2 => drop(payload.drain(range)),
                    _ => payload.extend_from_within(range),
                }
            }
            let (rows, _, _, reasons) = self::body(source(body.list()), &payload, header);
            prop_assert!(rows.is_empty() || reasons.is_empty());
        }
    }

    #[test]
    fn random_bytes_never_panic(payload in prop::collection::vec(any::<u8>(), 0..60)) {
        for kind in [None, Some("proto/InferModelRequest"), Some("proto/InferModelResponse")] {
            let (_, _, _, reasons) = body(source("inputs"), &payload, kind);
            prop_assert!(reasons.len() < 2);
        }
    }
}

/// Most drawn bodies have rows: else the comparison would say little.
#[test]
fn most_bodies_are_accepted() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let bodies = (0..200).map(|_| drawn().new_tree(&mut runner).unwrap().current());
    let (mut accepted, mut unequal) = (0, 0);
    for body in bodies {
        let (rows, _, _, reasons) = expected(&body);
        accepted += usize::from(!rows.is_empty());
        unequal += usize::from(reasons == [RejectReason::UnequalLists]);
    }
    assert!(60 < accepted && 2 < unequal, "{accepted} {unequal}");
}

#[test]
fn texts_are_quoted_as_another_writer_quotes_them() {
    for text in ["", "a\"b\\\n\u{1f}é\0", "\"\"", "\u{7f}\u{2028}", "\\\\x"] {
        let mut quoted = String::new();
        append_quoted(text, &mut quoted);
        assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
    }
}
