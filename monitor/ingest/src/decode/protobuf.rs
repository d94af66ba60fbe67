//! Protobuf: one message a payload, read by the configured paths and the type it was written with.
//!
//! Before: [`crate::Message`] from the consumer, who brings the programs of the writers
//! ([`ProtobufDecoder::missing`], [`ProtobufDecoder::learn`]). After: [`super::batch`].
//!
//! The way of a schema: [`descriptor`] is what is read of a `FileDescriptorSet` → [`schema`] makes
//! a model of it → [`compile`] makes a [`program`] of one of its messages and the source's paths
//! ([`super::trie`], [`super::plan`]). The way of a payload: bounds and [`framing`] → [`walk`] runs
//! the program over the [`wire`] and keeps the wanted values → [`super::rows`] goes through the
//! rows of the lists, [`super::typed`] reads the values of each → the batch appends them, all or
//! none.

mod compile;
mod descriptor;
mod document;
mod dynamic;
mod framing;
mod program;
mod schema;
mod walk;
pub(super) mod wire;

#[cfg(test)]
mod framing_tests;
#[cfg(test)]
pub(super) mod fuzz_tests;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod serving_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::document::ProtobufDocument;
pub use self::framing::ProtobufFraming;
pub use self::program::ProtobufProgram;
pub use self::schema::{DESCRIPTORS_BYTES_MAX, MessageId, ProtobufSchema, ProtobufSchemaError};
use self::walk::Slots;
use super::batch::OpenBatch;
use super::framing::SchemaHeader;
use super::glue::{self, Compression, Inflater};
use super::plan::Plan;
use super::programs::{Program, Programs};
use super::rows::Rows;
use super::schema_id::SchemaId;
use super::{Decode, DecodeLimits, Decoded, Message, checked_payload};
use crate::rejection::{Refusal, RejectReason, Rejection};
use crate::schema::SourceSchema;

/// Decodes the Protobuf messages of one partition.
///
/// A path's keys are names of fields, as in the `.proto` file or in JSON, and keys of maps; `[n]`
/// and `[]` are elements of repeated fields. Everything else is as [`super::JsonDecoder`] has it:
/// what is missing and what is refused, lists of rows, and what columns take. What Protobuf says
/// more exactly counts:
/// * A field without presence, as those of `proto3` are unless they are `optional`, has its default
///   value when it is absent. Fields that can be absent are null then, whatever default a `proto2`
///   file names; a message that is absent has none of its fields.
/// * A repeated field or map that is absent is an empty one.
/// * Enums are their names, or their number as text where they have no name for it.
/// * Wrappers such as `google.protobuf.DoubleValue` are their value, and a
///   `google.protobuf.Timestamp` is an event time, where a path ends at them.
/// * A `google.protobuf.Struct` is read by keys, and a `Value` or `ListValue` likewise, as JSON is.
/// * Bytes are no value of a column. Unknown fields are passed over, and so is what no path wants,
///   whatever is in it.
///
/// A payload says or has the type of its writer. Before it is decoded, [`Self::missing`] says
/// whether that is one that the decoder does not know; [`Self::learn`] brings it. A message whose
/// type is not brought is refused as `unknown_schema`.
pub struct ProtobufDecoder {
    limits: DecodeLimits,
    framing: ProtobufFraming,
    header: SchemaHeader,
    inflater: Inflater,
    plan: Plan,
    programs: Programs<ProtobufProgram>,
    batch: OpenBatch,
    // Reused from message to message.
    slots: Slots,
    elements: Vec<Slots>,
    rows: Rows,
}

impl ProtobufDecoder {
    /// Plans the decoding of the schema's paths. The programs to learn are compiled for the same
    /// schema.
    ///
    /// # Panics
    /// When the schema has names of columns, lines, or documents inside of text: all are of JSON.
    pub fn new(schema: Arc<SourceSchema>, framing: ProtobufFraming, limits: DecodeLimits) -> Self {
        schema.assert_without_json();
        let plan = Plan::new(&schema);
        let slots = |trie| Slots::new(trie, limits.rows_max);
        Self {
            limits,
            framing,
            header: SchemaHeader::new(&schema),
            inflater: Inflater::default(),
            slots: slots(&plan.trie),
            elements: plan.trie.lists().iter().map(|list| slots(&list.element)).collect(),
            rows: Rows::default(),
            programs: Programs::default(),
            batch: OpenBatch::new(schema),
            plan,
        }
    }

    /// Returns the type that the message names, if the decoder does not know it. `None` as well for
    /// a message that is refused whatever types there are.
    pub fn missing(&mut self, message: &Message<'_>) -> Option<SchemaId> {
        let payload = checked_payload(message.payload, self.limits).ok()?;
        let named = self.framing.open(payload, self.header.of(message)).ok()?;
        let head;
        let (bytes, start) = match named.compression {
            Compression::None => (payload, named.start),
            Compression::Zlib => {
                head = self.inflater.head(glue::behind(payload));
                (&head[..], 0)
            }
        };
        let (id, _) = self.framing.message(&named, bytes, start).ok()?;
        (!self.programs.has(&id)).then_some(id)
    }

    /// Takes the program for messages that name a type. Of many, the one that is unused for longest
    /// is forgotten.
    pub fn learn(&mut self, id: SchemaId, program: Arc<ProtobufProgram>) {
        self.programs.learn(id, program);
    }

    /// Appends the message's rows, or refuses it and leaves the batch as it was.
    fn read(&mut self, message: &Message<'_>) -> Result<(), Refusal> {
        let payload = checked_payload(message.payload, self.limits)?;
        let named = self.framing.open(payload, self.header.of(message))?;
        let Self { limits, framing, inflater, programs, plan, slots, elements, .. } = self;
        let (rows, batch) = (&mut self.rows, &mut self.batch);
        let limits = *limits;
        let (payload, start) = match named.compression {
            Compression::None => (payload, named.start),
            Compression::Zlib => {
                let deflated = glue::behind(payload);
                (inflater.whole(deflated, limits, RejectReason::InvalidProtobuf)?, 0)
            }
        };
        let (id, start) = framing.message(&named, payload, start)?;
        let program = programs.get(id, "Protobuf")?;
        rows.begin(message);
        let document = ProtobufDocument { plan, program, payload, slots, elements };
        document.read(start, rows, limits)?;
        rows.append_to(batch, (message, &program.symbols), plan)
    }
}

impl Decode for ProtobufDecoder {
    fn missing(&mut self, message: &Message<'_>) -> Option<SchemaId> {
        Self::missing(self, message)
    }

    fn learn(&mut self, id: SchemaId, program: Program) {
        match program {
            Program::Protobuf(program) => Self::learn(self, id, program),
            Program::Avro(_) => unreachable!("the program is of another format"),
        }
    }

    fn decode(&mut self, message: &Message<'_>) -> Option<&Rejection> {
        if self.batch.take_tombstone(message) {
            return None;
        }
        self.batch.begin(message);
        let outcome = self.read(message);
        self.inflater.release();
        match outcome {
            Ok(()) => None,
            Err(refusal) => self.batch.reject(message, refusal),
        }
    }

    fn messages(&self) -> usize {
        self.batch.messages()
    }

    fn rows(&self) -> usize {
        self.batch.rows()
    }

    fn text_bytes(&self) -> usize {
        self.inflater.bytes()
    }

    fn finish(&mut self) -> Decoded {
        self.inflater.end_batch();
        self.batch.finish()
    }
}
