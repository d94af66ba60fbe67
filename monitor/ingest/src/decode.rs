//! The contract between the consumer and every format: messages in, one [`Decoded`] batch out.
//!
//! Before: the consumer lends each message's bytes. After: the core takes the batch, counts its
//! columns and records its offsets. What a batch holds open is in `decode/batch.rs`; the formats
//! are the other files under `decode/`.

mod arrow;
mod avro;
mod batch;
mod builders;
mod change;
#[cfg(test)]
mod draw;
mod envelope;
pub mod event_time;
mod framing;
#[cfg(test)]
mod fuzz;
mod glue;
mod inference;
mod json;
mod key_table;
mod place;
mod plan;
mod programs;
mod protobuf;
mod rows;
mod schema_id;
mod special;
mod trie;
mod typed;
mod varint;
mod whole;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use ::arrow::record_batch::RecordBatch;
use driftd_catalog::Timestamp;

pub use self::arrow::ArrowDecoder;
pub use self::avro::{
    AvroDecoder, AvroFraming, AvroProgram, AvroSchema, AvroSchemaError, SCHEMA_BYTES_MAX,
    SchemaProblem,
};
pub use self::change::ChangeKind;
pub use self::framing::{RegistryFraming, SCHEMA_HEADER};
pub use self::glue::glue_value;
pub use self::json::{
    Half, HalfForm, HalfReader, HalfSchema, JsonDecoder, Side, inference_document,
};
pub use self::programs::{Program, ProgramTooLarge};
pub use self::protobuf::{
    DESCRIPTORS_BYTES_MAX, MessageId, ProtobufDecoder, ProtobufFraming, ProtobufProgram,
    ProtobufSchema, ProtobufSchemaError,
};
pub use self::schema_id::{MessageName, Places, SchemaId, SchemaName, Uuid};
pub use self::special::quote_specials;
pub use self::whole::Whole;
use crate::rejection::{Refusal, RejectReason, Rejection};
use crate::schema::{Framing, ModelSchema, SourceSchema};

/// Longest text of a category, in bytes. A longer one is free text by mistake; the record is
/// refused rather than the text cut, because two cut texts could become one level.
pub const LEVEL_BYTES_MAX: usize = 256;

/// Memory of one value that is read and not yet in its column.
const CELL_BYTES: usize = size_of::<builders::Cell>();

/// Values for which memory is kept from message to message: 2 MiB.
const CELLS_KEPT: usize = 64 * 1_024;

/// Elements of each list for which memory is kept from message to message: 16 KiB.
const ELEMENTS_KEPT: usize = 1_024;

/// One message of one partition, borrowed from the consumer.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The bytes; `None` for a tombstone.
    pub payload: Option<&'a [u8]>,
    /// Offset in the partition.
    pub offset: i64,
    /// Time that Kafka attached to the message, if any.
    pub timestamp: Option<Timestamp>,
    /// What the schema wants beside the payload, in the order of [`SourceSchema::envelope`]: bytes
    /// of headers and of the key, where they are there. Nothing for Kafka's time, which is
    /// `timestamp`.
    pub envelope: Envelope<'a>,
}

/// The values beside a payload.
pub type Envelope<'a> = &'a [Option<&'a [u8]>];

/// What is decided about a record besides its columns. The records of one message follow one
/// another, in the order of its lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Offset of the message.
    pub offset: i64,
    /// When the prediction was made, as the record says: not yet clamped.
    pub event_time: Timestamp,
    /// Time that Kafka attached to the message, if any.
    pub timestamp: Option<Timestamp>,
    /// Index into [`crate::SourceSchema::models`] and [`Decoded::batches`].
    pub model: u16,
    /// Index into [`Decoded::versions`].
    pub version: u16,
}

/// Consecutive messages of one partition, decoded. Every message is rows, all of its own, or one
/// rejection. It has one row, unless the schema's paths go through every element of a list.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// Offset of the first message.
    pub from_offset: i64,
    /// One past the offset of the last message; equal to `from_offset` without messages.
    pub to_offset: i64,
    /// Messages taken: those with rows, those whose lists are empty, changes that are no records,
    /// and rejections.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// The accepted records in offset order, those of one message in its order.
    pub rows: Vec<Row>,
    /// Distinct versions of the rows in order of appearance, each a valid name.
    pub versions: Vec<Arc<str>>,
    /// For each model of the schema the columns of its rows, in the rows' order; `None` without
    /// rows.
    pub batches: Vec<Option<RecordBatch>>,
    /// The refused messages in offset order.
    pub rejections: Vec<Rejection>,
    /// Messages that are changes and no records, by what they are.
    pub skipped: BTreeMap<ChangeKind, u64>,
}

/// Bounds of decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Longest accepted payload, in bytes.
    pub payload_bytes_max: usize,
    /// Most rows of a message, at most [`DecodeLimits::ROWS_MAX`].
    pub rows_max: usize,
    /// Most values of all rows of a message, a row having one a column; that of
    /// [`DecodeLimits::CELLS_MAX`], but for tests.
    pub cells_max: usize,
}

impl DecodeLimits {
    /// Largest `rows_max`: a batch that is closed in time holds fewer rows than there are indexes
    /// of versions, so that where it is cut decides nothing.
    pub const ROWS_MAX: usize = 50_000;

    /// Bounds what lists of empty objects take, whose values need no byte of the payload: 32 MiB. A
    /// payload that has all its values itself takes twice its bytes for more.
    pub const CELLS_MAX: usize = 1 << 20;

    /// Returns how many rows a message may have. Its bytes are no bound: an element of a list of
    /// Avro may have none.
    pub fn message_rows_max(&self, schema: &SourceSchema) -> usize {
        let has_one = schema.lists() == 0 && schema.framing == Framing::Document;
        if has_one { 1 } else { self.rows_max }
    }

    /// Returns how many values the rows of a message may have.
    pub fn message_cells_max(&self, schema: &SourceSchema) -> usize {
        let columns = schema.models.iter().map(ModelSchema::columns).max();
        (self.message_rows_max(schema) * columns.unwrap_or(0)).min(self.cells_max)
    }

    /// Returns how many bytes of text a message may bring, where that may be more than its payload
    /// has; else 0.
    pub fn text_bytes_max(&self, schema: &SourceSchema) -> usize {
        let is_written = schema.inference.is_some();
        if is_written { inference::text_bytes_max(self.payload_bytes_max) } else { 0 }
    }

    /// Returns what a message takes at most while it is read, beside its bytes and its columns: its
    /// values, where its rows and the elements of its lists lie, the texts as which it is written
    /// anew, and what is kept of others to read it by.
    pub fn message_bytes_max(&self, schema: &SourceSchema) -> usize {
        let (rows, lists) = (self.message_rows_max(schema), schema.lists());
        let heads = 2 * rows * size_of::<batch::Head>();
        let elements = (lists * rows).min(lists * ELEMENTS_KEPT + self.payload_bytes_max / 2);
        let elements = 2 * elements * size_of::<Range<usize>>();
        let layouts = if lists == 0 { json::LAYOUTS_BYTES_MAX } else { 0 };
        let embedded = json::embedded_bytes_max(schema, self.payload_bytes_max);
        let tensors = json::tensors_bytes_max(schema, self.payload_bytes_max);
        let bodies = schema.inference.map_or(0, |_| inference::bytes_max(self.payload_bytes_max));
        let texts = embedded + tensors + bodies;
        self.message_cells_max(schema) * CELL_BYTES + heads + elements + layouts + texts
    }
}

/// A format's decoder for one partition. It never fails as a whole: one bad record is one
/// rejection.
pub trait Decode: Send {
    /// Returns the schema that the message names, if the decoder does not know it. Decoded before
    /// [`Decode::learn`] has brought it, the message is refused. `None` as well for a message that
    /// is refused whatever schemas there are.
    fn missing(&mut self, message: &Message<'_>) -> Option<SchemaId>;

    /// Takes the program for messages that name a schema.
    ///
    /// # Panics
    /// When the program is of another format.
    fn learn(&mut self, id: SchemaId, program: Program);

    /// Adds one message to the open batch; returns its rejection when it was refused, so that the
    /// message can be dead-lettered while it is still there.
    ///
    /// # Panics
    /// When the offset does not follow those of the open batch.
    fn decode(&mut self, message: &Message<'_>) -> Option<&Rejection>;

    /// Returns how many messages the open batch holds.
    fn messages(&self) -> usize;

    /// Returns how many rows the open batch holds.
    fn rows(&self) -> usize;

    /// Returns how many bytes of text the open batch has at most, where its payloads do not say so.
    fn text_bytes(&self) -> usize {
        0
    }

    /// Closes the open batch and returns it; the next message opens a new one.
    fn finish(&mut self) -> Decoded;
}

/// Returns the payload within the limits.
fn checked_payload(payload: Option<&[u8]>, limits: DecodeLimits) -> Result<&[u8], Refusal> {
    let payload = payload.ok_or_else(|| {
        Refusal::new(RejectReason::EmptyPayload, format_args!("no payload: a tombstone"))
    })?;
    let (bytes, bytes_max) = (payload.len(), limits.payload_bytes_max);
    if payload.is_empty() {
        return Err(Refusal::new(RejectReason::EmptyPayload, format_args!("a payload of 0 bytes")));
    }
    if bytes_max < bytes {
        let detail = format_args!("a payload of {bytes} bytes, more than {bytes_max}");
        return Err(Refusal::new(RejectReason::Oversized, detail));
    }
    Ok(payload)
}
