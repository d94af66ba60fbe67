//! The programs that a decoder knows, by what messages call the schema of their writer.
//!
//! Before: [`crate::AvroDecoder::learn`] and [`crate::ProtobufDecoder::learn`] bring them. After: a
//! message is read by the one it names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::schema_id::SchemaId;
use super::{AvroProgram, ProtobufProgram};
use crate::rejection::{Refusal, RejectReason};

/// Most programs that a decoder keeps: more writers at a time than there are versions of a schema
/// in use. One that was given away is missing again.
pub(super) const PROGRAMS_MAX: usize = 64;

/// Most operations of a program: wide records fit, with a union for each value.
pub(super) const OPS_MAX: usize = 1 << 17;

/// Most bytes of the symbols of its enums.
pub(super) const SYMBOL_BYTES_MAX: usize = 1 << 20;

/// How messages that name a schema are read: by the program of their format.
#[derive(Clone, Debug)]
pub enum Program {
    /// Of Avro.
    Avro(Arc<AvroProgram>),
    /// Of Protobuf.
    Protobuf(Arc<ProtobufProgram>),
}

impl Program {
    /// Returns how paths begin that lead to a field which the schema does not have: what is
    /// configured there is null in every message.
    pub fn unknown_paths(&self) -> &[Box<str>] {
        match self {
            Self::Avro(program) => &program.unknown_paths,
            Self::Protobuf(program) => &program.unknown_paths,
        }
    }
}

/// Finds the paths that no type of a schema leads on, while it is compiled. Where several types
/// may stand, it is enough that one of them does.
#[derive(Debug, Default)]
pub(super) struct UnknownPaths {
    asked: BTreeSet<Box<str>>,
    known: BTreeSet<Box<str>>,
}

impl UnknownPaths {
    /// Takes whether a type has the field at which a path has come.
    pub(super) fn ask(&mut self, path: &str, is_known: bool) {
        let paths = if is_known { &mut self.known } else { &mut self.asked };
        paths.insert(path.into());
    }

    pub(super) fn into_paths(self) -> Box<[Box<str>]> {
        let Self { asked, known } = self;
        asked.into_iter().filter(|path| !known.contains(path)).collect()
    }
}

/// A schema that is too large to be read by so many paths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "reading the configured paths by this schema takes more than {OPS_MAX} operations, or its \
     enums have more than {SYMBOL_BYTES_MAX} bytes of symbols"
)]
pub struct ProgramTooLarge;

/// The programs of one decoder.
pub(super) struct Programs<P> {
    known: BTreeMap<SchemaId, Known<P>>,
    /// The program that the last message was read by.
    last: Option<(SchemaId, Arc<P>)>,
    /// How often another program than the last was needed.
    turn: u64,
}

/// A program, and when a message turned to it last.
struct Known<P> {
    program: Arc<P>,
    turn: u64,
}

impl<P> Default for Programs<P> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), last: None, turn: 0 }
    }
}

impl<P> Programs<P> {
    /// Returns whether messages that name a schema can be read.
    pub(super) fn has(&self, id: &SchemaId) -> bool {
        let is_last = self.last.as_ref().is_some_and(|(last, _)| last == id);
        is_last || self.known.contains_key(id)
    }

    /// Takes the program for messages that name a schema. Of many, the one that is unused for
    /// longest is forgotten.
    pub(super) fn learn(&mut self, id: SchemaId, program: Arc<P>) {
        self.last = None;
        if self.known.len() == PROGRAMS_MAX && !self.known.contains_key(&id) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.turn);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                self.known.remove(&oldest);
            }
        }
        self.turn += 1;
        self.known.insert(id, Known { program, turn: self.turn });
    }

    /// Returns the program for messages of a format that name a schema.
    pub(super) fn get(&mut self, id: SchemaId, format: &str) -> Result<&P, Refusal> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != id) {
            let Some(known) = self.known.get_mut(&id) else {
                let detail = format_args!("{id} is not known, or not one of {format}");
                return Err(Refusal::new(RejectReason::UnknownSchema, detail));
            };
            self.turn += 1;
            known.turn = self.turn;
            self.last = Some((id, Arc::clone(&known.program)));
        }
        let (_, program) = self.last.as_ref().expect("it was just seen to be the last");
        Ok(program)
    }
}
