//! How a message names the schema and the type that it was written with, and where it begins.
//!
//! Before: the payload. After: [`super::ProtobufDecoder`] finds the program for it.

use super::wire::{Form, Tag, Wire};
use crate::decode::framing::{Named, RegistryFraming};
use crate::decode::schema_id::{MessageName, Places, SchemaId, SchemaName};
use crate::rejection::{Refusal, RejectReason};

/// The field of `Ref` that has the name of a type.
const NAME_OF_REF: Tag = Tag { number: 1, form: Form::Counted };
/// Longest name of a type that is looked for.
const NAME_BYTES_MAX: usize = 256;

/// What comes before the fields of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtobufFraming {
    /// What a registry calls the schema, and which of the schema's messages it is.
    ///
    /// Serializers of Confluent say how many places it has, and each of them, in zigzag. A single
    /// zero stands for the first message of the file. Clients of before 2022 wrote the places
    /// without zigzag, which nothing tells apart: theirs are read as others', or not at all. Those
    /// of AWS Glue write the number of the message among all of the file, in the order of full
    /// names, those of Apicurio its name.
    Registry(RegistryFraming),
    /// Nothing: all messages are of one type, [`SchemaId::ONLY`].
    Bare,
}

impl ProtobufFraming {
    /// Returns the name of the message's schema.
    pub(super) fn open<'a>(
        self,
        payload: &[u8],
        header: Option<&'a [u8]>,
    ) -> Result<Named<'a>, Refusal> {
        match self {
            Self::Bare => Ok(Named::plain(SchemaName::Only, 0)),
            Self::Registry(registry) => {
                registry.open(payload, header).ok_or_else(|| not_named(registry))
            }
        }
    }

    /// Returns the name of the message's type, which begins at `start` in `bytes` or lies beside
    /// them, and where its fields begin.
    pub(super) fn message(
        self,
        named: &Named<'_>,
        bytes: &[u8],
        start: usize,
    ) -> Result<(SchemaId, usize), Refusal> {
        let schema = named.schema;
        let registry = match self {
            Self::Bare => return Ok((SchemaId::ONLY, start)),
            Self::Registry(registry) => registry,
        };
        if let Some(beside) = named.beside {
            let message = places(&mut Wire::new(beside, 0..beside.len()));
            let message = message.ok_or_else(|| not_named(registry))?;
            return Ok((SchemaId::of(schema).with_message(message), start));
        }
        let payload = bytes;
        let mut bytes = Wire::new(payload, start..payload.len());
        let message = match registry {
            RegistryFraming::Confluent | RegistryFraming::ConfluentHeader => places(&mut bytes),
            RegistryFraming::Apicurio | RegistryFraming::Apicurio3 => called(&mut bytes, payload),
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

/// Reads the name of a type without its package, which serializers of Apicurio write as a message
/// of its own with a length before it (`Ref`, of which `name` is the first field).
fn called(bytes: &mut Wire<'_>, payload: &[u8]) -> Option<MessageName> {
    let mut inner = Wire::new(payload, bytes.counted().ok()?);
    let mut name = None;
    while !inner.is_end() {
        let tag = inner.tag().ok()?;
        if tag == NAME_OF_REF {
            name = payload.get(inner.counted().ok()?);
        } else {
            inner.skip(tag).ok()?;
        }
    }
    let name = name.filter(|name| name.len() <= NAME_BYTES_MAX)?;
    Some(MessageName::Called(std::str::from_utf8(name).ok()?.into()))
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
