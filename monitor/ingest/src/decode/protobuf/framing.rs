//! How a message names the schema and the type that it was written with, and where it begins.
//!
//! Before: the payload. After: [`super::ProtobufDecoder`] finds the program for it.

use super::wire::Wire;
use crate::decode::programs::SchemaId;
use crate::rejection::{Refusal, RejectReason};

/// What comes before the fields of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtobufFraming {
    /// A byte of zero, the schema's number in a registry in four bytes, the highest first, and
    /// which of the schema's messages it is: how many places, and each of them, in zigzag. A single
    /// zero stands for the first one of the file.
    ///
    /// Clients of before 2022 wrote the places without zigzag, which nothing tells apart: theirs
    /// are read as others', or not at all.
    Confluent,
    /// Nothing: all messages are of one type, [`SchemaId::ONLY`].
    Bare,
}

/// Most places of a message, as [`SchemaId::of_message`] takes them.
const PLACES_MAX: usize = 4;

impl ProtobufFraming {
    /// Returns the name of the message's type, and where its fields begin.
    pub(super) fn open(self, payload: &[u8]) -> Result<(SchemaId, usize), Refusal> {
        match self {
            Self::Bare => Ok((SchemaId::ONLY, 0)),
            Self::Confluent => confluent(payload).ok_or_else(|| {
                let detail = "the message does not begin with a byte of zero, four of a schema's \
                              number and the place of one of its messages";
                Refusal::new(RejectReason::InvalidProtobuf, format_args!("{detail}"))
            }),
        }
    }
}

fn confluent(payload: &[u8]) -> Option<(SchemaId, usize)> {
    let [0, a, b, c, d, ..] = payload else { return None };
    let schema = SchemaId::registered(u32::from_be_bytes([*a, *b, *c, *d]).into());
    let mut bytes = Wire::new(payload, 5..payload.len());
    let count = usize::try_from(place(&mut bytes)?).ok()?;
    if count == 0 {
        return Some((schema.of_message(&[0])?, bytes.at()));
    }
    let mut places = [0; PLACES_MAX];
    let places = places.get_mut(..count)?;
    for it in places.iter_mut() {
        *it = place(&mut bytes)?;
    }
    Some((schema.of_message(places)?, bytes.at()))
}

/// Reads a number in zigzag that is not negative.
fn place(bytes: &mut Wire<'_>) -> Option<u64> {
    let bits = bytes.varint().ok()?;
    (bits & 1 == 0).then_some(bits >> 1)
}
