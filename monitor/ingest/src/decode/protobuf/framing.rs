//! How a message names the schema and the type that it was written with, and where it begins.
//!
//! Before: the payload. After: [`super::ProtobufDecoder`] finds the program for it.

use super::wire::Wire;
use crate::decode::framing::{Named, RegistryFraming};
use crate::decode::schema_id::{MessageName, Places, SchemaId, SchemaName};
use crate::rejection::{Refusal, RejectReason};

/// What comes before the fields of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtobufFraming {
    /// What a registry calls the schema, and which of the schema's messages it is.
    ///
    /// Serializers of Confluent say how many places it has, and each of them, in zigzag. A single
    /// zero stands for the first message of the file. Clients of before 2022 wrote the places
    /// without zigzag, which nothing tells apart: theirs are read as others', or not at all. Those of
    /// AWS Glue write the number of the message among all of the file, in the order of full names.
    Registry(RegistryFraming),
    /// Nothing: all messages are of one type, [`SchemaId::ONLY`].
    Bare,
}

impl ProtobufFraming {
    /// Returns the name of the message's schema.
    pub(super) fn open(self, payload: &[u8]) -> Result<Named, Refusal> {
        match self {
            Self::Bare => Ok(Named::plain(SchemaName::Only, 0)),
            Self::Registry(registry) => registry.open(payload).ok_or_else(|| not_named(registry)),
        }
    }

    /// Returns the name of the message's type, which begins at `start` in `bytes`, and where its
    /// fields begin.
    pub(super) fn message(
        self,
        schema: SchemaName,
        bytes: &[u8],
        start: usize,
    ) -> Result<(SchemaId, usize), Refusal> {
        let registry = match self {
            Self::Bare => return Ok((SchemaId::ONLY, start)),
            Self::Registry(registry) => registry,
        };
        let mut bytes = Wire::new(bytes, start..bytes.len());
        let message = match registry {
            RegistryFraming::Confluent | RegistryFraming::Apicurio => places(&mut bytes),
            RegistryFraming::Glue => in_order(&mut bytes),
        };
        let message = message.ok_or_else(|| not_named(registry))?;
        Ok((SchemaId::of(schema).with_message(message), bytes.at()))
    }
}

fn not_named(registry: RegistryFraming) -> Refusal {
    let beginning = registry.beginning();
    let detail = format_args!(
        "the message does not begin with {beginning}, and what says which type it is of"
    );
    Refusal::new(RejectReason::InvalidProtobuf, detail)
}

fn places(bytes: &mut Wire<'_>) -> Option<MessageName> {
    let count = usize::try_from(place(bytes)?).ok()?;
    let mut places = [0; Places::MAX];
    // A single zero stands for one place, the first.
    for it in places.get_mut(..count)? {
        *it = place(bytes)?;
    }
    Places::try_new(places.get(..count.max(1))?).map(MessageName::At)
}

/// Reads the number of a type among all types of the schema by their full names.
fn in_order(bytes: &mut Wire<'_>) -> Option<MessageName> {
    u32::try_from(bytes.varint().ok()?).ok().map(MessageName::InOrder)
}

/// Reads a number in zigzag that is not negative.
fn place(bytes: &mut Wire<'_>) -> Option<u64> {
    let bits = bytes.varint().ok()?;
    (bits & 1 == 0).then_some(bits >> 1)
}
