//! JSON: one object a message or a line of it, or the rows of its lists, read by the configured
//! paths.
//!
//! Before: [`crate::Message`] from the consumer. After: [`super::batch`]. The way of a payload:
//! bounds and UTF-8 here → a [`layout`] of documents before it reads the row at once, or else
//! [`walk`] finds the values and lists → [`super::rows`] goes through the rows of the lists,
//! [`record`] reads the values of each → the batch appends them, all or none. Of lines each is a
//! document by itself.

mod bodies;
mod columns;
mod cursor;
mod decimal;
mod document;
mod embedded;
mod half;
mod layout;
mod learner;
mod quick_walk;
mod record;
mod rewrite;
mod slow_walk;
mod tensors;
mod value;
mod walk;

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod half_fuzz_tests;
#[cfg(test)]
mod layout_tests;
#[cfg(test)]
mod list_tests;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod oracle_layouts;
#[cfg(test)]
mod oracle_lists;
#[cfg(test)]
mod oracle_tensors;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod where_tests;

use std::ops::Range;
use std::sync::Arc;

use self::bodies::Bodies;
pub use self::bodies::inference_document;
use self::columns::Columns;
use self::document::JsonDocument;
use self::embedded::Embedded;
pub(super) use self::embedded::bytes_max as embedded_bytes_max;
pub use self::half::{Half, HalfForm, HalfReader, HalfSchema, Side};
pub(super) use self::layout::LAYOUTS_BYTES_MAX;
use self::layout::Layouts;
use self::tensors::Tensors;
pub(super) use self::tensors::bytes_max as tensors_bytes_max;
use self::value::Kind;
use self::walk::Slots;
use super::batch::OpenBatch;
use super::glue::{self, Compression, Inflater};
use super::plan::Plan;
use super::programs::Program;
use super::rows::Rows;
use super::schema_id::SchemaId;
use super::trie;
use super::{Decode, DecodeLimits, Decoded, Message, checked_payload};
use crate::rejection::{Refusal, RejectReason, Rejection};
use crate::schema::{Framing, SourceSchema};

/// Decodes the JSON records of one partition.
///
/// Absent and null features and segments are Arrow nulls; absent and null event time, model and
/// version refuse the message. Of repeated keys the last counts. A path that meets another kind of
/// value than it goes through refuses the message; an array that is too short does not.
///
/// Where paths of a record's model go through every element of a list, the message has a row an
/// element, and paths that do not have the same value in each. All lists of a message are of one
/// length; one that is absent or null is a null in every row, and at least one must be there. Empty
/// lists make a message without rows: that nothing was predicted is no mistake.
///
/// Rows of a list beside the schema's `columns` are arrays with one value a name.
///
/// In the framing of lines each line is a document, with rows of its own; the message is all of
/// them.
///
/// Texts at the schema's `embedded` paths are documents themselves.
///
/// Values at the schema's `tensors` paths are lists of rows, each of them a list of its values, as
/// the shape beside them says: however they are nested in the message.
///
/// Where the schema says so, messages are bodies of the Open Inference Protocol, which become such
/// documents first, whatever they are written in.
///
/// The prefixes that serializers of JSON Schema write are passed over: the schema says nothing that
/// the text does not. Those of AWS Glue may compress the text.
pub struct JsonDecoder {
    limits: DecodeLimits,
    inflater: Inflater,
    bodies: Option<Bodies>,
    embedded: Option<Embedded>,
    tensors: Option<Tensors>,
    plan: Plan,
    batch: OpenBatch,
    // Reused from message to message.
    slots: Slots,
    elements: Vec<Slots>,
    columns: Columns,
    layouts: Layouts,
    rows: Rows,
    /// Of texts that bodies of the open batch became.
    text_bytes: usize,
}

impl JsonDecoder {
    /// Plans the decoding of the schema's paths.
    pub fn new(schema: Arc<SourceSchema>, limits: DecodeLimits) -> Self {
        let plan = Plan::new(&schema);
        let element = |list: &trie::List| Slots::new(&list.element, 0);
        Self {
            limits,
            inflater: Inflater::default(),
            bodies: Bodies::new(&schema),
            embedded: Embedded::new(&schema),
            tensors: Tensors::new(&schema),
            slots: Slots::new(&plan.trie, limits.rows_max),
            elements: plan.trie.lists().iter().map(element).collect(),
            columns: Columns::default(),
            layouts: Layouts::new(&plan),
            rows: Rows::default(),
            text_bytes: 0,
            batch: OpenBatch::new(schema),
            plan,
        }
    }

    /// Adds a message without rows of its own: it is half of a record, which the other half makes
    /// whole.
    pub fn pass(&mut self, message: &Message<'_>) {
        self.batch.pass(message);
    }

    /// Adds a message that was refused before it came here.
    pub fn refuse(&mut self, message: &Message<'_>, rejection: Rejection) -> Option<&Rejection> {
        self.batch.begin(message);
        self.batch.refuse(rejection)
    }

    /// Adds the document of two halves as the message that came later, whose payload has
    /// `payload_bytes`; that of the other one is counted already.
    pub fn decode_joined(
        &mut self,
        joined: &Message<'_>,
        payload_bytes: usize,
    ) -> Option<&Rejection> {
        self.batch.begin_at(joined.offset, payload_bytes);
        match self.read(joined) {
            Ok(()) => None,
            Err(refusal) => self.batch.reject(joined, refusal),
        }
    }

    /// Appends the message's rows, or refuses it and leaves the batch as it was.
    fn read(&mut self, message: &Message<'_>) -> Result<(), Refusal> {
        let (framing, limits) = (self.plan.framing, self.limits);
        // Taken out for as long as the texts that they have written are read.
        let mut bodies = self.bodies.take();
        let mut inflater = std::mem::take(&mut self.inflater);
        let (mut embedded, mut tensors) = (self.embedded.take(), self.tensors.take());
        let text = match &mut bodies {
            Some(bodies) => bodies.text(message, limits),
            None => inflated_text(message.payload, &mut inflater, limits),
        };
        let text = text.and_then(|text| match &mut embedded {
            Some(embedded) => embedded.unfold(text, framing),
            None => Ok(text),
        });
        let text = text.and_then(|text| match &mut tensors {
            Some(tensors) => tensors.by_rows(text, framing),
            None => Ok(text),
        });
        let read = text.and_then(|text| self.read_text(message, text));
        self.text_bytes += bodies.as_ref().map_or(0, Bodies::text_bytes);
        (self.bodies, self.embedded, self.tensors) = (bodies, embedded, tensors);
        inflater.release();
        self.inflater = inflater;
        read
    }

    fn read_text(&mut self, message: &Message<'_>, payload: &str) -> Result<(), Refusal> {
        self.rows.begin(message);
        self.slots.shrink();
        match self.plan.framing {
            Framing::Document => self.read_document(payload, 0..payload.len())?,
            Framing::Lines => self.read_lines(payload)?,
        }
        let Self { plan, batch, rows, .. } = self;
        rows.append_to(batch, (message, payload), plan)
    }

    /// Reads each line that is not blank.
    fn read_lines(&mut self, payload: &str) -> Result<(), Refusal> {
        let mut has_lines = false;
        for (number, _, bounds) in document_lines(payload) {
            let Some(bounds) = bounds else { continue };
            has_lines = true;
            self.read_document(payload, bounds).map_err(|refusal| refusal.in_line(number))?;
        }
        if has_lines {
            return Ok(());
        }
        Err(Refusal::new(RejectReason::EmptyPayload, format_args!("a payload of blank lines")))
    }

    fn read_document(&mut self, payload: &str, bounds: Range<usize>) -> Result<(), Refusal> {
        let Self { limits, plan, slots, elements, columns, layouts, rows, .. } = self;
        let limits = *limits;
        let document = JsonDocument { plan, payload, slots, elements, columns };
        document.read(bounds, layouts, rows, limits)
    }
}

impl Decode for JsonDecoder {
    fn missing(&mut self, _: &Message<'_>) -> Option<SchemaId> {
        None
    }

    fn learn(&mut self, _: SchemaId, _: Program) {
        unreachable!("messages of JSON name no schema")
    }

    fn decode(&mut self, message: &Message<'_>) -> Option<&Rejection> {
        if self.batch.take_tombstone(message) {
            return None;
        }
        self.decode_joined(message, message.payload.map_or(0, <[u8]>::len))
    }

    fn messages(&self) -> usize {
        self.batch.messages()
    }

    fn rows(&self) -> usize {
        self.batch.rows()
    }

    fn text_bytes(&self) -> usize {
        self.text_bytes + self.inflater.bytes()
    }

    fn finish(&mut self) -> Decoded {
        self.text_bytes = 0;
        self.inflater.end_batch();
        self.batch.finish()
    }
}

/// Returns the lines of a payload by their numbers, and where the documents lie of those that are
/// not blank.
fn document_lines(payload: &str) -> impl Iterator<Item = (usize, &str, Option<Range<usize>>)> {
    let mut start = 0;
    (1..).zip(payload.split_inclusive('\n')).map(move |(number, line)| {
        let bounds = start..start + line.trim_end_matches('\n').len();
        start += line.len();
        // What JSON takes for white space, and not what Unicode does.
        let is_blank = line.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        (number, line, (!is_blank).then_some(bounds))
    })
}

/// Returns the payload as text within the limits.
fn checked_text(payload: Option<&[u8]>, limits: DecodeLimits) -> Result<&str, Refusal> {
    text(behind_prefix(checked_payload(payload, limits)?)?)
}

/// Returns the same, also where the payload is compressed.
fn inflated_text<'a>(
    payload: Option<&'a [u8]>,
    inflater: &'a mut Inflater,
    limits: DecodeLimits,
) -> Result<&'a str, Refusal> {
    let payload = checked_payload(payload, limits)?;
    match glue::open(payload) {
        Some((_, Compression::Zlib)) => {
            let deflated = glue::behind(payload);
            text(inflater.whole(deflated, limits, RejectReason::InvalidJson)?)
        }
        Some((_, Compression::None)) | None => text(behind_prefix(payload)?),
    }
}

fn text(payload: &[u8]) -> Result<&str, Refusal> {
    simdutf8::compat::from_utf8(payload).map_err(|error| {
        let (at, bytes) = (error.valid_up_to(), payload.len());
        Refusal::new(RejectReason::InvalidUtf8, format_args!("not UTF-8 from byte {at} of {bytes}"))
    })
}

/// Returns what follows the prefix of a schema registry, where there is one: a byte of zero and the
/// schema's number in four, or the header of AWS Glue. No JSON begins so.
fn behind_prefix(payload: &[u8]) -> Result<&[u8], Refusal> {
    match payload {
        [0, _, _, _, _] => {
            let detail = "nothing behind the prefix of a schema registry";
            Err(Refusal::new(RejectReason::EmptyPayload, format_args!("{detail}")))
        }
        [0, _, _, _, _, text @ ..] => Ok(text),
        [3, ..] => match glue::open(payload) {
            Some((_, Compression::None)) => Ok(glue::behind(payload)),
            Some((_, Compression::Zlib)) => {
                let detail = "compressed by a serializer of AWS Glue, which is read where a message \
                              is one document of JSON, and neither joined nor a body of inference";
                Err(Refusal::new(RejectReason::InvalidJson, format_args!("{detail}")))
            }
            None => Ok(payload),
        },
        _ => Ok(payload),
    }
}

/// Says what `serde_json` met and where; its syntax errors do not quote the text.
fn invalid_json(error: &serde_json::Error) -> Refusal {
    Refusal::new(RejectReason::InvalidJson, format_args!("{error}"))
}

/// Says what a message is that is neither one record nor, where `expected`, a list of them.
fn not_the_root(expected: Kind, found: Kind) -> Refusal {
    let hint = match (expected, found) {
        (Kind::Object, Kind::Array) => "; the paths of a list of records begin with `[]`",
        (Kind::Array, Kind::Object) => "; the paths of one record begin with a key",
        _ => "",
    };
    Refusal::new(
        RejectReason::WrongType,
        format_args!("the message: expected {expected}, found {found}{hint}"),
    )
}
