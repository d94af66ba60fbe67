//! The programs that a decoder knows, by what messages call the schema of their writer.
//!
//! Before: [`crate::AvroDecoder::learn`] and [`crate::ProtobufDecoder::learn`] bring them. After: a
//! message is read by the one it names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::{AvroProgram, ProtobufProgram};
use crate::rejection::{Refusal, RejectReason};

/// Most programs that a decoder keeps: more writers at a time than there are versions of a schema
/// in use. One that was given away is missing again.
pub(super) const PROGRAMS_MAX: usize = 64;

/// Most operations of a program: wide records fit, with a union for each value.
pub(super) const OPS_MAX: usize = 1 << 17;

/// Most bytes of the symbols of its enums.
pub(super) const SYMBOL_BYTES_MAX: usize = 1 << 20;

/// Bits of one place in [`SchemaId::of_message`].
const PLACE_BITS: u32 = 16;

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

/// What a message calls the schema of its writer: a registry's number or a fingerprint, as the
/// source's framing says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SchemaId {
    framing: Name,
    number: u64,
    /// Which of the schema's types: places from the outermost in, each one more than it is. Zero
    /// where a schema has one.
    message: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Registered,
    Fingerprint,
    Only,
}

impl SchemaId {
    /// The schema of messages that do not name theirs.
    pub const ONLY: Self = Self { framing: Name::Only, number: 0, message: 0 };

    /// Returns what a message calls the schema of this fingerprint.
    pub const fn of_fingerprint(fingerprint: u64) -> Self {
        Self { framing: Name::Fingerprint, number: fingerprint, message: 0 }
    }

    /// Returns what a message calls the schema of this number in a registry.
    pub const fn registered(number: u64) -> Self {
        Self { framing: Name::Registered, number, message: 0 }
    }

    /// Names one of the messages that a schema of Protobuf defines: its place among those of the
    /// file, then the place of each inside of the one before. `None` beyond four places, or beyond
    /// 65,535 messages.
    pub fn of_message(self, places: &[u64]) -> Option<Self> {
        let mut message = 0_u64;
        for place in places {
            let place = place.checked_add(1).filter(|it| *it < 1 << PLACE_BITS)?;
            if message >> (u64::BITS - PLACE_BITS) != 0 {
                return None;
            }
            message = message << PLACE_BITS | place;
        }
        Some(Self { message, ..self })
    }

    /// Returns the name of the schema, whichever of its messages is named.
    #[must_use]
    pub const fn schema(self) -> Self {
        Self { message: 0, ..self }
    }

    /// Returns the number or fingerprint; zero for [`Self::ONLY`].
    pub const fn number(self) -> u64 {
        self.number
    }

    /// Returns the places given to [`Self::of_message`].
    pub fn message(self) -> Vec<usize> {
        let shifts = (0..u64::BITS).step_by(16).rev();
        let places = shifts.map(|shift| self.message >> shift & 0xffff);
        places.filter_map(|place| usize::try_from(place).ok()?.checked_sub(1)).collect()
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { framing, number, message } = self;
        if *message != 0 {
            write!(f, "message {:?} of ", self.message())?;
        }
        match framing {
            Name::Registered => write!(f, "schema {number} of the registry"),
            Name::Fingerprint => write!(f, "the schema of fingerprint {number:016x}"),
            Name::Only => f.write_str("the schema"),
        }
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
    pub(super) fn has(&self, id: SchemaId) -> bool {
        let is_last = self.last.as_ref().is_some_and(|(last, _)| *last == id);
        is_last || self.known.contains_key(&id)
    }

    /// Takes the program for messages that name a schema. Of many, the one that is unused for
    /// longest is forgotten.
    pub(super) fn learn(&mut self, id: SchemaId, program: Arc<P>) {
        self.last = None;
        if self.known.len() == PROGRAMS_MAX && !self.known.contains_key(&id) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.turn);
            if let Some((&oldest, _)) = oldest {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_a_schema_is_named_by_its_places() {
        let schema = SchemaId::registered(7);
        for places in [&[0][..], &[3], &[0, 0], &[1, 0, 65_534, 2]] {
            let id = schema.of_message(places).unwrap();
            let expected: Vec<_> = places.iter().map(|it| usize::try_from(*it).unwrap()).collect();
            assert_eq!((id.message(), id.number()), (expected, 7));
            assert_ne!(id, schema);
            assert_eq!(id.schema(), schema);
        }
        assert_eq!(schema.of_message(&[]), Some(schema));
        let id = schema.of_message(&[1, 0]).unwrap();
        assert_eq!(id.to_string(), "message [1, 0] of schema 7 of the registry");
        for places in [&[65_535][..], &[u64::MAX], &[0; 5]] {
            assert_eq!(schema.of_message(places), None, "{places:?}");
        }
    }
}
