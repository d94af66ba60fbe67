//! Messages with tensors for [`super::oracle`]: in one list or nested, with shapes that fit and
//! that do not, found by their place and by their name, beside other lists and inside of text.
//!
//! Before: a plain walk over [`Value`] writes each tensor as rows. After: [`super::naive`] reads
//! what came out of it as any other message.

use std::collections::BTreeSet;
use std::sync::Arc;

use driftd_fixtures::trials::cases;
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::naive::{Outcome, Plain, in_one_notation, naive, naive_integer};
use super::oracle::{Document, decode, leaf, mutated, number, object, text, written};
use super::tests::{feature, path, segment};
use crate::decode::special::quote_specials;
use crate::path::{FieldPath, Step};
use crate::rejection::RejectReason;
use crate::schema::FeatureKind::{Boolean, Categorical, Float32, Float64};
use crate::schema::{
    EmbeddedField, EmbeddedForm, Framing, ModelSchema, SourceSchema, TimeFormat, VersionField,
};

/// Dimensions behind the first.
const OTHERS: [&[usize]; 7] = [&[], &[1], &[4], &[2, 2], &[3, 1], &[2, 1, 3], &[1, 2, 2, 2]];

/// A text that is written as the word `NaN`, which `Value` does not know.
const NAN: &str = "the word NaN";

pub(super) fn schema(framing: Framing) -> Arc<SourceSchema> {
    let model = |name: &str, features, segments| {
        let version = VersionField::Path(path("v"));
        ModelSchema { name: name.into(), version, prediction_id: None, features, segments }
    };
    let first = vec![
        feature("in[name=x].data[][0]", Float64),
        feature("in[name=x].data[][3]", Categorical),
        feature("in[1].data[][1]", Float32),
        feature("out[]", Float64),
        feature("k", Float64),
    ];
    let second = vec![
        feature("t.values[][0]", Boolean),
        feature("in[name=x].shape[1]", Float64),
        feature("t.values[1][0]", Categorical),
    ];
    let third = vec![
        feature("k", Float64),
        feature("text.data[][0]", Float64),
        feature("deep.data[][5]", Float64),
        feature("deep.data[][0]", Float32),
    ];
    let models = vec![
        model("first", first, vec![segment("t.values[][1]")]),
        model("second", second, vec![segment("t.values[][2]")]),
        model("third", third, vec![]),
    ];
    let schema =
        SourceSchema::try_new(path("time"), TimeFormat::UnixSeconds, Some(path("m")), models);
    let embedded = vec![EmbeddedField { path: path("text"), form: EmbeddedForm::Json }];
    let tensors = ["in[name=x].data", "in[1].data", "t.values", "text.data", "deep.data"];
    let schema = schema.unwrap().with_embedded(embedded).unwrap();
    Arc::new(schema.with_tensors(tensors.map(path).to_vec()).unwrap().with_framing(framing))
}

/// Returns the document with the one inside of its text.
fn unfolded(document: &str) -> Result<String, BTreeSet<RejectReason>> {
    // That it is none is said by those who read it.
    let Ok(mut found) = serde_json::from_str::<Value>(document) else {
        return Ok(document.to_owned());
    };
    let Some(Value::String(text)) = found.get("text") else { return Ok(document.to_owned()) };
    // A word is a value there too.
    let inside = match &*quote_specials(text.trim()) {
        "" => Value::Null,
        text => match serde_json::from_str(text) {
            Ok(inside) => inside,
            // It is one that `Value` does not take: nothing is expected of the message.
            Err(_) if serde_json::from_str::<IgnoredAny>(text).is_ok() => return Ok("?".into()),
            Err(_) => return Err(BTreeSet::from([RejectReason::InvalidJson])),
        },
    };
    found["text"] = inside;
    Ok(found.to_string())
}

/// Returns where in a document the object is that has a tensor.
fn place(document: &Value, tensor: &FieldPath) -> Option<String> {
    let (_, before) = tensor.steps().split_last().unwrap();
    let mut place = String::new();
    for step in before {
        let at = document.pointer(&place).unwrap();
        let next = match (step, at) {
            (Step::Key(key), Value::Object(_)) => key.to_string(),
            (Step::Index(index), Value::Array(_)) => index.to_string(),
            (Step::Where { key, text }, Value::Array(elements)) => {
                let is_it = |it: &Value| it.get(&**key).and_then(Value::as_str) == Some(text);
                elements.iter().rposition(is_it)?.to_string()
            }
            (Step::Key(_) | Step::Index(_) | Step::Where { .. } | Step::Each, _) => return None,
        };
        place.extend(["/", &next]);
        document.pointer(&place)?;
    }
    document.pointer(&place)?.is_object().then_some(place)
}

fn sizes(shape: Option<&Value>) -> Result<Vec<usize>, RejectReason> {
    let shape = shape.filter(|it| !it.is_null()).ok_or(RejectReason::MissingField)?;
    let sizes = shape.as_array().ok_or(RejectReason::WrongType)?.iter();
    let size = |it: &Value| match naive_integer(it.as_number()?) {
        Ok(Plain::Integer(size)) => usize::try_from(size).ok(),
        Ok(_) | Err(_) => None,
    };
    let sizes: Option<Vec<usize>> = sizes.map(size).collect();
    let is_shape = |it: &Vec<usize>| (1..=32).contains(&it.len()) && !it[1..].contains(&0);
    sizes.filter(is_shape).ok_or(RejectReason::WrongType)
}

/// Checks nested values against sizes, and gathers them in their order.
fn flatten(value: &Value, sizes: &[usize], all: &mut Vec<Value>) -> Result<(), RejectReason> {
    let Some((size, inner)) = sizes.split_first() else {
        let is_value = !value.is_array() && !value.is_object();
        all.push(value.clone());
        return if is_value { Ok(()) } else { Err(RejectReason::WrongType) };
    };
    let elements = value.as_array().ok_or(RejectReason::WrongType)?;
    for element in elements {
        flatten(element, inner, all)?;
    }
    if elements.len() == *size { Ok(()) } else { Err(RejectReason::UnequalLists) }
}

fn rows(values: &Value, shape: Option<&Value>) -> Result<Value, RejectReason> {
    let sizes = sizes(shape)?;
    let width = sizes[1..].iter().try_fold(1usize, |width, it| width.checked_mul(*it));
    let count = width.and_then(|it| it.checked_mul(sizes[0]));
    let count = count.ok_or(RejectReason::UnequalLists)?;
    let mut all = Vec::new();
    let is_nested = values[0].is_array();
    flatten(values, if is_nested { &sizes } else { std::slice::from_ref(&count) }, &mut all)?;
    let width: usize = sizes[1..].iter().product();
    Ok(all.chunks(width).map(|row| Value::from(row.to_vec())).collect())
}

/// Returns the document with each tensor as rows, or what is wrong with tensors of it.
fn by_rows(schema: &SourceSchema, text: &str) -> Result<String, BTreeSet<RejectReason>> {
    let Ok(mut document) = serde_json::from_str::<Value>(text) else { return Ok(text.to_owned()) };
    let mut problems = BTreeSet::new();
    let tensors = schema.tensors.iter().filter_map(|tensor| {
        let Some(Step::Key(key)) = tensor.steps().last() else { panic!("values are at a key") };
        Some((place(&document, tensor)?, key.to_string()))
    });
    // Two paths may lead to one.
    for (place, key) in tensors.collect::<BTreeSet<_>>() {
        let tensor = document.pointer_mut(&place).unwrap();
        if !tensor[&key].is_array() {
            continue;
        }
        match rows(&tensor[&key], tensor.get("shape")) {
            Ok(rows) => tensor[&key] = rows,
            Err(problem) => {
                problems.insert(problem);
            }
        }
    }
    if problems.is_empty() { Ok(document.to_string()) } else { Err(problems) }
}

/// What writes a document anew, or says what is wrong with it.
type Rewrite<'a> = &'a dyn Fn(&str) -> Result<String, BTreeSet<RejectReason>>;

/// Compares what the decoder made of a message with what is expected of it.
pub(super) fn check(
    schema: &SourceSchema,
    payload: &[u8],
    found: Outcome,
) -> Result<(), TestCaseError> {
    let (prefix, text) = match payload {
        [0, _, _, _, _, text @ ..] => (&[0; 5][..], text),
        text => (&[][..], text),
    };
    let Ok(text) = std::str::from_utf8(text) else {
        prop_assert_eq!(found, Err(RejectReason::InvalidUtf8));
        return Ok(());
    };
    let each = |text: &str, rewrite: Rewrite<'_>| match schema.framing {
        Framing::Document => rewrite(text),
        Framing::Lines => text
            .split_inclusive('\n')
            .map(|line| rewrite(line).map(|it| if it == line { it } else { it + "\n" }))
            .collect(),
    };
    let plain = each(text, &unfolded);
    let is_blank = |line: &str| line.chars().all(|it| " \t\r".contains(it));
    let is_unread = |line: &str| !is_blank(line) && serde_json::from_str::<Value>(line).is_err();
    let has_unread = schema.framing == Framing::Lines
        && plain.as_ref().is_ok_and(|it| it.split('\n').any(is_unread));
    match plain.and_then(|text| each(&text, &|it| by_rows(schema, it))) {
        // Which of several problems comes first, their order in the message says; that of a line
        // before may be one that `Value` does not know.
        Err(problems) => {
            let is_one = found.as_ref().is_err_and(|it| has_unread || problems.contains(it));
            prop_assert!(is_one, "{:?} {:?}", found, problems);
        }
        Ok(rows) => {
            let expected = naive(schema, &[prefix, rows.as_bytes()].concat());
            // All lines are written anew before the first is read.
            let is_later_line = has_unread && found == Err(RejectReason::InvalidJson);
            if expected != Err(RejectReason::InvalidJson) && !is_later_line {
                prop_assert_eq!(in_one_notation(found), in_one_notation(expected));
            }
        }
    }
    Ok(())
}

/// Values of a tensor, nested as the sizes say.
fn nested(sizes: &[usize], values: &mut impl Iterator<Item = Document>) -> Document {
    match sizes.split_first() {
        None => values.next().unwrap_or(Document::Leaf(Value::Null)),
        Some((size, inner)) => Document::Array((0..*size).map(|_| nested(inner, values)).collect()),
    }
}

/// A tensor of so many rows. Few are wrong.
fn tensor(
    name: &'static str,
    key: &'static str,
    rows: usize,
    value: BoxedStrategy<Document>,
) -> BoxedStrategy<Document> {
    let rows = prop_oneof![40 => Just(rows), 1 => 0usize..7];
    let others = prop::sample::select(OTHERS.map(<[usize]>::to_vec).to_vec());
    let sizes = (rows, others).prop_map(|(rows, others)| [vec![rows], others].concat());
    let tensor = (sizes, any::<bool>(), 0..120usize).prop_flat_map(move |(sizes, is_flat, odd)| {
        let count = sizes.iter().product::<usize>();
        let count = if odd == 0 { count + 1 } else { count.saturating_sub(usize::from(odd == 1)) };
        let shape: Vec<_> = sizes.iter().map(|it| Document::Leaf(Value::from(*it))).collect();
        let shape = prop_oneof![
            90 => Just(Document::Array(shape)),
            1 => prop::collection::vec(leaf(number()), 0..4).prop_map(Document::Array),
            1 => leaf(number()),
        ];
        let nested_sizes = if is_flat { vec![count] } else { sizes };
        let values = prop::collection::vec(value.clone(), count);
        let data = values.prop_map(move |values| nested(&nested_sizes, &mut values.into_iter()));
        let data = prop_oneof![
            60 => data,
            1 => Just(Document::Leaf(Value::Null)),
            1 => leaf(text()),
        ];
        let name = leaf(Just(Value::from(name)));
        object(vec![("name", name.boxed()), ("shape", shape.boxed()), (key, data.boxed())])
    });
    tensor.boxed()
}

/// A message, with values of one of its tensors that are read as floats only.
fn document_with(value: BoxedStrategy<Document>) -> impl Strategy<Value = Document> {
    let rows = prop_oneof![1 => Just(0usize), 8 => 1usize..4, 1 => 4usize..7];
    rows.prop_flat_map(move |rows| {
        let float = || leaf(number()).boxed();
        let any_value = leaf(prop_oneof![
            4 => any::<bool>().prop_map(Value::from),
            1 => text(),
        ]);
        let all = (tensor("y", "data", rows, float()), tensor("x", "data", rows, float()));
        let inputs = (all, any::<bool>(), 0..40).prop_map(|((first, second), is_first, odd)| {
            let mut inputs = if is_first { vec![second, first] } else { vec![first, second] };
            inputs.truncate(if odd == 0 { 1 } else { 2 });
            Document::Array(if odd == 1 { [inputs.clone(), inputs].concat() } else { inputs })
        });
        let names = vec!["first", "first", "second", "third"];
        let out = prop::collection::vec(float(), rows).prop_map(Document::Array);
        let inside = written(tensor("text", "data", rows, float()));
        let inside = inside.prop_map(|it| Document::Leaf(Value::from(it)));
        object(vec![
            ("m", leaf(prop::sample::select(names).prop_map(Value::from)).boxed()),
            ("time", leaf((0.0..2e9).prop_map(Value::from)).boxed()),
            ("v", leaf("[0-9]".prop_map(Value::from)).boxed()),
            ("k", float()),
            ("in", prop_oneof![60 => inputs, 1 => leaf(number())].boxed()),
            ("out", out.boxed()),
            ("t", tensor("t", "values", rows, any_value.boxed())),
            ("text", prop_oneof![60 => inside, 1 => leaf(text())].boxed()),
            ("deep", tensor("deep", "data", rows, value.clone())),
        ])
    })
}

fn document() -> impl Strategy<Value = Document> {
    document_with(leaf(number()).boxed())
}

/// A message in which some values are the word `NaN`.
fn with_words() -> impl Strategy<Value = String> {
    let value = leaf(prop_oneof![number(), Just(Value::from(NAN))]).boxed();
    written(document_with(value)).prop_map(|it| it.replace(&format!("\"{NAN}\""), "NaN"))
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn tensors_decode_as_a_plain_walk_says(payload in written(document())) {
        let schema = schema(Framing::Document);
        let found = decode(&schema, &[payload.clone().into_bytes()], &[]).remove(0);
        check(&schema, payload.as_bytes(), found)?;
    }

    #[test]
    fn mutated_tensors_never_panic_and_decode_as_a_plain_walk_says(
        payload in mutated(written(document())),
    ) {
        let schema = schema(Framing::Document);
        let found = decode(&schema, std::slice::from_ref(&payload), &[]).remove(0);
        check(&schema, &payload, found)?;
    }

    #[test]
    fn words_of_tensors_decode_as_the_texts_that_they_are_for_floats(payload in with_words()) {
        let schema = schema(Framing::Document);
        let found = decode(&schema, &[payload.clone().into_bytes()], &[]).remove(0);
        check(&schema, quote_specials(&payload).as_bytes(), found)?;
    }

    #[test]
    fn lines_of_tensors_decode_as_a_plain_walk_says(
        lines in prop::collection::vec(written(document()), 1..4),
    ) {
        let schema = schema(Framing::Lines);
        let lines: Vec<_> = lines.iter().map(|it| it.replace('\n', " ")).collect();
        let payload = lines.join("\n \n");
        let found = decode(&schema, &[payload.clone().into_bytes()], &[]).remove(0);
        check(&schema, payload.as_bytes(), found)?;
    }

    #[test]
    fn where_batches_are_cut_changes_no_tensor(
        payloads in prop::collection::vec(written(document()), 0..12),
        cuts in prop::collection::vec(0usize..12, 0..4),
    ) {
        let schema = schema(Framing::Document);
        let payloads: Vec<_> = payloads.into_iter().map(String::into_bytes).collect();
        let whole = decode(&schema, &payloads, &[]);
        prop_assert_eq!(decode(&schema, &payloads, &cuts), whole.clone());
        for (payload, found) in payloads.iter().zip(whole) {
            check(&schema, payload, found)?;
        }
    }
}

/// Most drawn messages have rows: else the comparison would say little.
#[test]
fn most_messages_are_accepted() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let (schema, mut runner) = (schema(Framing::Document), TestRunner::deterministic());
    let payloads: Vec<Vec<u8>> = (0..200)
        .map(|_| written(document()).new_tree(&mut runner).unwrap().current().into_bytes())
        .collect();
    let found = decode(&schema, &payloads, &[]);
    let accepted = found.iter().filter(|it| it.as_ref().is_ok_and(|rows| !rows.is_empty()));
    let count = accepted.count();
    assert!(60 < count, "{count} of {}", found.len());
}
