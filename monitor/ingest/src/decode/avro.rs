//! Avro: one binary value a message, read by the configured paths and the schema of its writer.
//!
//! Before: [`crate::Message`] from the consumer, who brings the programs of the writers
//! ([`AvroDecoder::missing`], [`AvroDecoder::learn`]). After: [`super::batch`].
//!
//! The way of a schema: [`schema`] and [`parse`] make a model of its text → [`program`] compiles it
//! together with the source's paths ([`super::trie`], [`super::plan`]). The way of a payload:
//! bounds and [`framing`] → [`walk`] runs the program over the [`bytes`] and keeps the wanted
//! values, [`skip`] passes over the rest → [`super::rows`] goes through the rows of the lists,
//! [`super::typed`] reads the values of each → the batch appends them, all or none.

mod bytes;
mod canonical;
mod document;
mod framing;
mod parse;
mod program;
mod schema;
mod skip;
mod walk;

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::document::AvroDocument;
pub use self::framing::AvroFraming;
pub use self::program::AvroProgram;
pub use self::schema::{AvroSchema, AvroSchemaError, SCHEMA_BYTES_MAX, SchemaProblem};
use self::walk::Slots;
use super::batch::OpenBatch;
use super::framing::{Named, SchemaHeader};
use super::glue::{self, Compression, Inflater};
use super::plan::Plan;
use super::programs::{Program, Programs};
use super::rows::Rows;
use super::schema_id::SchemaId;
use super::{Decode, DecodeLimits, Decoded, Message, checked_payload};
use crate::rejection::{Refusal, RejectReason, Rejection};
use crate::schema::SourceSchema;

/// Decodes the Avro records of one partition.
///
/// A path's keys are fields of records and keys of maps; a union is the value of its branch, and
/// null is absent. Everything else is as [`super::JsonDecoder`] has it: what is missing and what is
/// refused, lists of rows, and what columns take. What Avro says more exactly counts: dates and
/// timestamps are event times in their own unit, decimals are numbers, enums are text.
///
/// A message names the schema of its writer. Before it is decoded, [`Self::missing`] says whether
/// that is one that the decoder does not know; [`Self::learn`] brings it. A message whose schema is
/// not brought is refused as `unknown_schema`. So a caller who cannot tell yet whether a schema
/// exists must not decode the message yet.
pub struct AvroDecoder {
    limits: DecodeLimits,
    framing: AvroFraming,
    header: SchemaHeader,
    inflater: Inflater,
    plan: Plan,
    programs: Programs<AvroProgram>,
    batch: OpenBatch,
    // Reused from message to message.
    slots: Slots,
    elements: Vec<Slots>,
    rows: Rows,
}

impl AvroDecoder {
    /// Plans the decoding of the schema's paths. The programs to learn are compiled for the same
    /// schema.
    ///
    /// # Panics
    /// When the schema has names of columns, lines, or documents inside of text: all are of JSON.
    pub fn new(schema: Arc<SourceSchema>, framing: AvroFraming, limits: DecodeLimits) -> Self {
        schema.assert_without_json();
        let plan = Plan::new(&schema);
        Self {
            limits,
            framing,
            header: SchemaHeader::new(&schema),
            inflater: Inflater::default(),
            slots: Slots::new(&plan.trie),
            elements: plan.trie.lists().iter().map(|list| Slots::new(&list.element)).collect(),
            rows: Rows::default(),
            programs: Programs::default(),
            batch: OpenBatch::new(schema),
            plan,
        }
    }

    /// Returns the schema that the message names, if the decoder does not know it. `None` as well
    /// for a message that is refused whatever schemas there are.
    pub fn missing(&mut self, message: &Message<'_>) -> Option<SchemaId> {
        let payload = checked_payload(message.payload, self.limits).ok()?;
        let id = SchemaId::of(self.framing.open(payload, self.header.of(message)).ok()?.schema);
        (!self.programs.has(&id)).then_some(id)
    }

    /// Takes the program for messages that name a schema. Of many, the one that is unused for
    /// longest is forgotten.
    pub fn learn(&mut self, id: SchemaId, program: Arc<AvroProgram>) {
        self.programs.learn(id, program);
    }

    /// Appends the message's rows, or refuses it and leaves the batch as it was.
    fn read(&mut self, message: &Message<'_>) -> Result<(), Refusal> {
        let payload = checked_payload(message.payload, self.limits)?;
        let header = self.header.of(message);
        let Named { schema, start, compression, .. } = self.framing.open(payload, header)?;
        let Self { limits, inflater, plan, programs, slots, elements, rows, batch, .. } = self;
        let program = programs.get(SchemaId::of(schema), "Avro")?;
        rows.begin(message);
        let limits = *limits;
        let (payload, start) = match compression {
            Compression::None => (payload, start),
            Compression::Zlib => {
                let deflated = glue::behind(payload);
                (inflater.whole(deflated, limits, RejectReason::InvalidAvro)?, 0)
            }
        };
        let document = AvroDocument { plan, program, payload, slots, elements };
        document.read(start, rows, limits)?;
        rows.append_to(batch, (message, &program.symbols), plan)
    }
}

impl Decode for AvroDecoder {
    fn missing(&mut self, message: &Message<'_>) -> Option<SchemaId> {
        Self::missing(self, message)
    }

    fn learn(&mut self, id: SchemaId, program: Program) {
        match program {
            Program::Avro(program) => Self::learn(self, id, program),
            Program::Protobuf(_) => unreachable!("the program is of another format"),
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
