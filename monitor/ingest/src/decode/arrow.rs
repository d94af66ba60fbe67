//! Arrow IPC: one stream or file a message, whose rows are read by the configured paths.
//!
//! Before: [`crate::Message`] from the consumer. After: [`super::batch`].
//!
//! The way of a payload: bounds and [`framing`] → the [`program`] for its schema, compiled from the
//! [`shape`]s of its fields and the source's paths ([`super::plan`], [`super::trie`]), mostly known
//! from the message before → [`inflate`] where it is compressed → [`locate`] finds the arrays of
//! each [`batch`], and the entries of its [`maps`] → [`bulk`] takes whole [`columns`], or, where it
//! cannot, [`super::rows`] reads the [`document`] row by row and [`record`] each [`value`]. Then
//! the open batch appends the rows, all or none.
//!
//! The reader of `arrow-ipc` is not used, only its description of messages: it makes an array of
//! every column, trusts lengths that it allocates by, and panics where some of them are wrong.

mod batch;
mod bulk;
mod columns;
mod document;
mod framing;
mod inflate;
mod locate;
mod maps;
mod problem;
mod program;
mod record;
mod shape;
mod value;

#[cfg(test)]
mod beside_tests;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod inflate_tests;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::ipc;

use self::batch::{INFLATED_BYTES_MAX, Inflated};
use self::document::{ArrowDocument, Walk};
use self::framing::{Opened, Stream};
use self::problem::Problem;
use self::program::Program;
use super::batch::{Accepted, OpenBatch};
use super::builders::Texts;
use super::plan::Plan;
use super::rows::{Reader, Rows};
use super::schema_id::SchemaId;
use super::{Decode, DecodeLimits, Decoded, Message, checked_payload};
use crate::rejection::{Refusal, Rejection};
use crate::schema::SourceSchema;

/// Schemas of writers that are kept with what they were compiled to, in bytes of theirs.
const SCHEMAS_BYTES_MAX: usize = 1 << 20;

/// Most of them: more writers at a time than there are versions of a schema in use.
const SCHEMAS_MAX: usize = 16;

/// What a compiled schema takes at most, as a multiple of its own bytes: a field has no fewer than
/// 40 of them, and what is done with it takes about 100.
const PROGRAM_FACTOR: usize = 4;

/// What the messages of a payload take at most when they are found and gone through, as a multiple
/// of its bytes.
const DESCRIBED_FACTOR: usize = 6;

/// Decodes the Arrow streams and files of one partition.
///
/// A message is the list of its rows, so paths begin with `[]`; their keys are columns, fields of
/// structs and keys of maps, and `[n]` is an element of a list. Everything else is as
/// [`super::JsonDecoder`] has it: what is missing and what is refused, and what columns take. What
/// Arrow says more exactly counts: dates and timestamps are event times in their own unit, decimals
/// are numbers; the values of dictionaries and runs are read as they stand for rows.
///
/// What no path wants is passed over, and may be anything of the right length.
pub struct ArrowDecoder {
    limits: DecodeLimits,
    plan: Plan,
    /// The newest first.
    programs: Vec<Known>,
    batch: OpenBatch,
    text_bytes: usize,
    // Reused from message to message.
    inflated: Inflated,
    rows: Rows,
}

/// How the rows of a message were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Columns,
    Rows,
}

/// A schema as it was written, and what it was compiled to.
struct Known {
    schema: Box<[u8]>,
    program: Arc<Program>,
}

impl ArrowDecoder {
    /// Most bytes that the texts of a message's rows have together, whatever its payload has: a
    /// text may be in many rows, and parts of it others.
    pub const TEXT_BYTES_MAX: usize = record::TEXT_BYTES_MAX;

    /// Plans the decoding of the schema's paths.
    ///
    /// # Panics
    /// When paths into the payload do not begin with `[]`, or the schema has names of columns,
    /// lines or documents inside of text, which are of JSON.
    pub fn new(schema: Arc<SourceSchema>, limits: DecodeLimits) -> Self {
        schema.assert_without_json();
        assert!(schema.is_list(), "a message is the list of its rows");
        Self {
            limits,
            plan: Plan::new(&schema),
            programs: Vec::new(),
            batch: OpenBatch::new(schema),
            text_bytes: 0,
            inflated: Inflated::default(),
            rows: Rows::default(),
        }
    }

    /// Returns what a message takes at most while it is read, beside what other formats take
    /// ([`DecodeLimits::message_bytes_max`]): its buffers where they were compressed, texts of its
    /// rows, the entries of its maps, and what is kept of schemas.
    pub fn message_bytes_max(limits: &DecodeLimits) -> usize {
        let inflated = INFLATED_BYTES_MAX.max(limits.payload_bytes_max);
        // What describes messages is in the payload, and taken apart is not longer than this.
        let described = DESCRIBED_FACTOR * limits.payload_bytes_max;
        let schemas = (1 + PROGRAM_FACTOR) * SCHEMAS_BYTES_MAX;
        // They grow by doubling.
        let texts = 2 * Self::TEXT_BYTES_MAX;
        inflated
            + described
            + texts
            + schemas
            + maps::ENTRIES_BYTES_MAX
            + inflate::ZSTD_CONTEXT_BYTES
    }

    /// Returns the sum of what the texts of all rows in the open batch have, in bytes, or somewhat
    /// more. The batch itself has each text of a column once.
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// Appends the message's rows by columns if that way may be tried and goes, or else by rows;
    /// or refuses it and leaves the batch as it was. Returns the way it took.
    fn read(&mut self, message: &Message<'_>, by_columns: bool) -> Result<Way, Refusal> {
        let payload = checked_payload(message.payload, self.limits)?;
        let (program, stream) = self.open(payload)?;
        let Self { limits, plan, inflated, rows, batch, text_bytes, programs: _ } = self;
        let limits = *limits;
        inflated.read(&stream, &program, limits.payload_bytes_max)?;
        let trie = &plan.trie.lists()[0].element;
        if by_columns {
            let mut walk = Walk::new(trie, &program, &stream, inflated)?;
            rows.begin(message);
            if let Some(found) = bulk::read(plan, &mut walk, rows, stream.rows, limits)
                && batch.accept_columns(message, &found.columns)
            {
                *text_bytes += found.text_bytes;
                return Ok(Way::Columns);
            }
        }
        rows.begin(message);
        let walk = Walk::new(trie, &program, &stream, inflated)?;
        let document = ArrowDocument { walk, first: 0, row: 0 };
        Reader { plan, document, rows, limits }.read()?;
        let texts = Texts { payload: "", added: &rows.added };
        let accepted = Accepted { heads: &rows.heads, cells: &rows.cells, texts };
        batch.accept(message, &accepted).map_err(|(row, refusal)| refusal.in_row(row))?;
        *text_bytes += rows.added.len();
        Ok(Way::Rows)
    }

    /// Finds the messages of a payload, and what their schema is compiled to.
    fn open<'a>(&mut self, payload: &'a [u8]) -> Result<(Arc<Program>, Stream<'a>), Refusal> {
        match framing::open(payload)? {
            Opened::Stream(opening) => {
                let program = self.program(opening.schema);
                let program = program.map_err(|problem| problem.in_message(0))?;
                let stream = opening.messages(program.head)?;
                Ok((program, stream))
            }
            Opened::File(file) => {
                // What describes it says where its messages lie too: no two are the same.
                let trie = &self.plan.trie.lists()[0].element;
                let program = file.schema().and_then(|schema| Program::compile(&schema, trie));
                let program = Arc::new(program.map_err(Problem::refusal)?);
                let stream = file.messages(program.head)?;
                Ok((program, stream))
            }
        }
    }

    /// Returns what the schema of a stream is compiled to.
    fn program(&mut self, schema: &[u8]) -> Result<Arc<Program>, Problem> {
        let known = self.programs.iter().position(|known| *known.schema == *schema);
        if let Some(known) = known {
            self.programs[..=known].rotate_right(1);
            return Ok(Arc::clone(&self.programs[0].program));
        }
        let message = ipc::root_as_message_with_opts(&framing::verifier(schema), schema);
        let message = message.map_err(|_| Problem::Metadata)?;
        let trie = &self.plan.trie.lists()[0].element;
        let program = Arc::new(Program::of_message(&message, trie)?);
        if schema.len() <= SCHEMAS_BYTES_MAX {
            let known = Known { schema: schema.into(), program: Arc::clone(&program) };
            self.programs.insert(0, known);
            self.programs.truncate(SCHEMAS_MAX);
            let bytes = |all: &[Known]| all.iter().map(|it| it.schema.len()).sum::<usize>();
            while SCHEMAS_BYTES_MAX < bytes(&self.programs) {
                self.programs.pop();
            }
        }
        Ok(program)
    }
}

impl Decode for ArrowDecoder {
    fn missing(&mut self, _: &Message<'_>) -> Option<SchemaId> {
        None
    }

    fn learn(&mut self, _: SchemaId, _: crate::Program) {
        unreachable!("a message of Arrow names no schema")
    }

    fn decode(&mut self, message: &Message<'_>) -> Option<&Rejection> {
        self.batch.begin(message);
        match self.read(message, true) {
            Ok(Way::Columns | Way::Rows) => None,
            Err(refusal) => self.batch.reject(message, refusal),
        }
    }

    fn messages(&self) -> usize {
        self.batch.messages()
    }

    fn rows(&self) -> usize {
        self.batch.rows()
    }

    /// Texts may be parts of one another.
    fn text_bytes(&self) -> usize {
        Self::text_bytes(self)
    }

    fn finish(&mut self) -> Decoded {
        self.text_bytes = 0;
        self.batch.finish()
    }
}
