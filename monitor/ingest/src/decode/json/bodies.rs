//! Bodies of the Open Inference Protocol that are JSON, also with raw values of tensors behind it,
//! and the choice between them and messages of Protobuf.
//!
//! Before: a message of a source of such bodies. After: [`super::JsonDecoder`] reads the text, one
//! document with values of tensors as lists of rows.
//!
//! The binary extension has raw values one behind the other at the end of the payload, as many
//! bytes as `parameters.binary_data_size` says, in the order of the tensors. Where the JSON before
//! them ends, it says itself: loggers forget the header that says it too.

use std::ops::Range;

use serde::de::IgnoredAny;

use super::cursor::Cursor;
use super::tensors::{append_rows, sizes};
use super::value::Kind;
use super::walk::{Found, Slots, walk, walk_element};
use super::{behind_prefix, invalid_json};
use crate::decode::inference::{
    Datatype, Inference, NoValues, REQUEST, RESPONSE, TENSORS_MAX, TensorShape, Wanted,
    append_message, append_raw,
};
use crate::decode::trie::Trie;
use crate::decode::whole::Whole;
use crate::decode::{CELLS_KEPT, DecodeLimits, Message, checked_payload, special};
use crate::path::FieldPath;
use crate::rejection::{Refusal, RejectReason};
use crate::schema::{InferenceMessage, SourceSchema};

/// The lists of tensors, in the order in which their raw values lie.
const LISTS: [&str; 2] = ["inputs", "outputs"];

/// What is looked at of a tensor.
const KEYS: [&str; 5] = ["name", "datatype", "shape", "data", "parameters.binary_data_size"];

/// Writes bodies as one document of JSON. Kept from message to message for its memory.
pub(super) struct Bodies {
    inference: Inference,
    trie: Trie,
    slots: Slots,
    lists: [List; 2],
    text: String,
}

/// One of the lists of tensors.
struct List {
    key: &'static str,
    /// Its index in the tree of paths.
    index: usize,
    /// Slots of [`KEYS`] in a tensor.
    keys: [usize; 5],
    tensor: Slots,
}

/// A tensor as it lies in the JSON.
#[derive(Clone, Copy)]
struct Tensor<'a> {
    name: Option<&'a str>,
    datatype: Option<&'a str>,
    shape: Option<&'a str>,
    data: Option<&'a str>,
    binary_data_size: Option<&'a str>,
}

/// What is written in place of a part of the JSON.
struct Edit {
    place: Range<usize>,
    /// Bounds of the tensor.
    tensor: Range<usize>,
    list: usize,
    index: usize,
    /// Where its raw values are.
    raw: Option<Range<usize>>,
}

impl Bodies {
    /// Returns what writes a schema's payloads; `None` where they are none of the protocol.
    pub(super) fn new(schema: &SourceSchema) -> Option<Self> {
        Inference::new(schema).map(Self::of)
    }

    /// Returns what writes payloads that are all bodies of one kind, to which paths lead through
    /// these keys.
    pub(super) fn inside(schema: &SourceSchema, message: InferenceMessage, keys: &[&str]) -> Self {
        Self::of(Inference::inside(schema, message, keys))
    }

    fn of(inference: Inference) -> Self {
        let path = |list: &str, key: &str| {
            FieldPath::parse(&format!("{list}[].{key}")).expect("keys without special characters")
        };
        let all = LISTS.iter().flat_map(|list| KEYS.iter().map(|key| path(list, key)));
        let all: Vec<_> = all.collect();
        let trie = Trie::new(all.iter());
        let list = |key: &'static str| {
            let place = |inside: &str| trie.place(&path(key, inside));
            let index = place(KEYS[0]).0.expect("the path goes through a list");
            let tensor = Slots::new(&trie.lists()[index].element, 0);
            List { key, index, keys: KEYS.map(|key| place(key).1), tensor }
        };
        let (slots, lists) = (Slots::new(&trie, TENSORS_MAX), LISTS.map(list));
        Self { inference, trie, slots, lists, text: String::new() }
    }

    /// Returns a message's body as a document.
    pub(super) fn text(
        &mut self,
        message: &Message<'_>,
        limits: DecodeLimits,
    ) -> Result<&str, Refusal> {
        let payload = checked_payload(message.payload, limits)?;
        let kind = self.inference.kind(message)?;
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        text.shrink_to(CELLS_KEPT);
        let written = self.append_as(kind, payload, &mut text);
        self.text = text;
        written.map(|()| &*self.text)
    }

    /// Appends the document of a payload that no header tells the kind of.
    pub(super) fn append(&mut self, payload: &[u8], into: &mut String) -> Result<(), Refusal> {
        self.append_as(self.inference.message, payload, into)
    }

    fn append_as(
        &mut self,
        kind: InferenceMessage,
        payload: &[u8],
        into: &mut String,
    ) -> Result<(), Refusal> {
        let Inference { inputs, outputs, .. } = &self.inference;
        match kind {
            InferenceMessage::Json => self.json(behind_prefix(payload)?, into),
            InferenceMessage::Request => append_message(payload, REQUEST, inputs, into),
            InferenceMessage::Response => append_message(payload, RESPONSE, outputs, into),
        }
    }

    /// Returns how long the text is that was written last.
    pub(super) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    fn json(&mut self, payload: &[u8], into: &mut String) -> Result<(), Refusal> {
        let head = head(payload)?;
        walk(&self.trie, head, 0..head.len(), &mut self.slots)
            .map_err(|error| invalid_json(&error))?;
        let (mut edits, mut raw_bytes) = (Vec::new(), Vec::new());
        for list in 0..self.lists.len() {
            self.find(head, list, &mut edits, &mut raw_bytes)?;
        }
        let total = raw_bytes.iter().try_fold(0usize, |total, (_, size)| total.checked_add(*size));
        let behind = payload.get(head.len()..).unwrap_or_default();
        let start = total.and_then(|total| behind.len().checked_sub(total));
        let between = start.and_then(|start| behind.get(..start));
        let Some(between) = between.filter(|it| it.iter().all(u8::is_ascii_whitespace)) else {
            let (found, at) = (behind.len(), head.len());
            let (reason, expected) = match total {
                Some(0) => (RejectReason::InvalidJson, 0),
                Some(total) => (RejectReason::UnequalLists, total),
                None => (RejectReason::UnequalLists, usize::MAX),
            };
            let detail = format_args!(
                "{found} bytes behind the JSON, which ends at byte {at}, and {expected} by \
                 `binary_data_size`"
            );
            return Err(Refusal::new(reason, detail));
        };
        let mut at = head.len() + between.len();
        for (edit, size) in raw_bytes {
            if let Some(edit) = edit.and_then(|edit: usize| edits.get_mut(edit)) {
                edit.raw = Some(at..at + size);
            }
            at += size;
        }
        self.write(payload, head, edits, into)
    }

    /// Finds the tensors of a list whose values are written anew, and the sizes of raw ones, each
    /// with the edit that is to have it.
    fn find(
        &mut self,
        head: &str,
        list: usize,
        edits: &mut Vec<Edit>,
        raw_bytes: &mut Vec<(Option<usize>, usize)>,
    ) -> Result<(), Refusal> {
        let wanted = if list == 0 { &self.inference.inputs } else { &self.inference.outputs };
        let found = &mut self.lists[list];
        let tree = &self.trie.lists()[found.index];
        let key = found.key;
        if !matches!(self.slots.get(tree.slot), Some(Found::Value { .. })) {
            return Ok(());
        }
        let count = self.slots.element_count(found.index);
        if TENSORS_MAX < count {
            let detail = format_args!("`{key}`: {count} tensors, more than {TENSORS_MAX}");
            return Err(Refusal::new(RejectReason::TooManyRows, detail));
        }
        for index in 0..count {
            let bounds = self.slots.element(found.index, index);
            walk_element(&tree.element, head, bounds.clone(), &mut found.tensor)
                .map_err(|error| invalid_json(&error))?;
            let tensor = found.tensor(head);
            let is_wanted = tensor.is_in(wanted, index);
            let data = found.bounds(KEY_DATA);
            match tensor.raw_bytes(key, index)? {
                Some(size) => {
                    raw_bytes.push((is_wanted.then_some(edits.len()), size));
                    if !is_wanted {
                        continue;
                    }
                    // A null is replaced; where there are no values, they come first.
                    let place = data.unwrap_or(bounds.start + 1..bounds.start + 1);
                    edits.push(Edit { place, tensor: bounds, list, index, raw: None });
                }
                None if is_wanted && tensor.data.is_some_and(|it| Kind::of(it) == Kind::Array) => {
                    let place = data.expect("a list has bounds");
                    edits.push(Edit { place, tensor: bounds, list, index, raw: None });
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Writes the JSON with its edits.
    fn write(
        &mut self,
        payload: &[u8],
        head: &str,
        mut edits: Vec<Edit>,
        into: &mut String,
    ) -> Result<(), Refusal> {
        let part = |bounds: Range<usize>| head.get(bounds).expect("values lie inside the JSON");
        edits.sort_by_key(|edit| edit.place.start);
        let mut from = 0;
        for Edit { place, tensor: bounds, list, index, raw } in edits {
            let found = &mut self.lists[list];
            let tree = &self.trie.lists()[found.index];
            walk_element(&tree.element, head, bounds, &mut found.tensor)
                .map_err(|error| invalid_json(&error))?;
            let (tensor, key) = (found.tensor(head), found.key);
            into.push_str(part(from..place.start));
            from = place.end;
            let path = format!("{key}[{index}].data");
            let sizes = sizes(format_args!("{key}[{index}].shape"), tensor.shape)?;
            let Some(raw) = raw else {
                append_rows(&path, part(place), &sizes, into)?;
                continue;
            };
            let is_new = place.is_empty();
            into.push_str(if is_new { "\"data\":" } else { "" });
            let bytes = payload.get(raw).expect("raw values lie inside the payload");
            let shape = TensorShape::of(sizes.iter().map(|it| Some(*it)));
            let written = shape.and_then(|shape| {
                let datatype = tensor.datatype.and_then(|it| serde_json::from_str(it).ok());
                let datatype: String = datatype.unwrap_or_default();
                append_raw(Datatype::parse(&datatype)?, shape, bytes, into)
            });
            written.map_err(|NoValues { reason, problem }| {
                Refusal::new(reason, format_args!("`{path}`: {problem}"))
            })?;
            into.push_str(if is_new { "," } else { "" });
        }
        into.push_str(part(from..head.len()));
        Ok(())
    }
}

/// Place of `data` among [`KEYS`].
const KEY_DATA: usize = 3;

impl List {
    fn bounds(&self, key: usize) -> Option<Range<usize>> {
        match self.tensor.get(self.keys[key])? {
            Found::Value { start, end } => Some(start..end),
            Found::Blocked { .. } => None,
        }
    }

    /// Returns the tensor that was walked last.
    fn tensor<'a>(&self, head: &'a str) -> Tensor<'a> {
        let [name, datatype, shape, data, binary_data_size] =
            std::array::from_fn(|key| self.bounds(key).and_then(|bounds| head.get(bounds)));
        Tensor { name, datatype, shape, data, binary_data_size }
    }
}

impl Tensor<'_> {
    fn is_in(&self, wanted: &Wanted, index: usize) -> bool {
        let name = self.name.and_then(|it| serde_json::from_str::<String>(it).ok());
        wanted.has(index, &name.unwrap_or_default())
    }

    /// Returns how many bytes behind the JSON are the tensor's; `None` where its values are in it.
    fn raw_bytes(&self, list: &str, index: usize) -> Result<Option<usize>, Refusal> {
        let is_there = |text: &&str| Kind::of(text) != Kind::Null;
        let Some(size) = self.binary_data_size.filter(is_there) else { return Ok(None) };
        if self.data.is_some_and(|it| is_there(&it)) {
            let detail = format_args!("`{list}[{index}]`: both `data` and `binary_data_size`");
            return Err(Refusal::new(RejectReason::WrongType, detail));
        }
        let size = match (Kind::of(size), Whole::read(size)) {
            (Kind::Number, Some(Whole::Integer(size))) => usize::try_from(size).ok(),
            (_, _) => None,
        };
        size.map(Some).ok_or_else(|| {
            let detail = format_args!(
                "`{list}[{index}].parameters.binary_data_size`: expected a number of bytes"
            );
            Refusal::new(RejectReason::WrongType, detail)
        })
    }
}

/// Returns a body of the protocol as one document of JSON, with the values of all its tensors as
/// lists of rows; `None` where the payload is no such body.
pub fn inference_document(payload: &[u8], message: InferenceMessage) -> Option<String> {
    let mut document = String::new();
    let mut bodies = Bodies::of(Inference::all(message));
    bodies.append(payload, &mut document).ok()?;
    Some(document)
}

/// Returns the JSON that a payload begins with.
fn head(payload: &[u8]) -> Result<&str, Refusal> {
    let mut cursor = Cursor::new(payload, 0);
    cursor.space();
    let end = match cursor.skip() {
        Some(_) => cursor.at(),
        None => slow_end(payload)?,
    };
    let head = payload.get(..end).unwrap_or_default();
    simdutf8::compat::from_utf8(head).map_err(|error| not_utf8(error.valid_up_to(), payload))
}

/// Finds where the JSON ends that a cursor does not take, or is none.
fn slow_end(payload: &[u8]) -> Result<usize, Refusal> {
    let text = match simdutf8::compat::from_utf8(payload) {
        Ok(text) => text,
        Err(error) => {
            let valid = payload.get(..error.valid_up_to()).map(std::str::from_utf8);
            valid.and_then(Result::ok).unwrap_or_default()
        }
    };
    let numbers = special::as_numbers(text);
    let mut values = serde_json::Deserializer::from_str(&numbers).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => Ok(values.byte_offset()),
        Some(Err(error)) if error.is_eof() && text.len() < payload.len() => {
            Err(not_utf8(text.len(), payload))
        }
        Some(Err(error)) => Err(invalid_json(&error)),
        None => Err(Refusal::new(RejectReason::InvalidJson, format_args!("no value"))),
    }
}

fn not_utf8(at: usize, payload: &[u8]) -> Refusal {
    let bytes = payload.len();
    Refusal::new(RejectReason::InvalidUtf8, format_args!("not UTF-8 from byte {at} of {bytes}"))
}
