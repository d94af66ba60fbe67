//! How serializers of schema registries name the schema of a message, and where its value begins.
//!
//! Before: a payload, and what lies beside it. After: the framings of Avro and Protobuf add what
//! only they have, and their decoders find the program of the schema.

use super::Message;
use super::glue::{self, Compression};
use super::schema_id::{SchemaName, Uuid};
use crate::path::EnvelopeValue;
use crate::schema::SourceSchema;

/// The header by which serializers of Confluent name a value's schema, where they do not begin the
/// value with it: one, an identifier in sixteen bytes, and of Protobuf the place of the type.
pub const SCHEMA_HEADER: &str = "__value_schema_id";
const HEADER_VERSION: u8 = 1;

/// How messages name their schema in a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryFraming {
    /// A byte of zero, and the schema's number in four bytes, the highest first.
    Confluent,
    /// [`SCHEMA_HEADER`]; a message without it is like one of [`Self::Confluent`].
    ConfluentHeader,
    /// A byte of zero, and the schema's number in eight bytes, the highest first. The type of
    /// Protobuf is called by its name.
    Apicurio,
    /// The same with four bytes.
    Apicurio3,
    /// A byte of three, one that says whether the value is compressed, and an identifier in
    /// sixteen.
    Glue,
}

/// A message whose schema is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) schema: SchemaName,
    /// Where its name ends in the payload.
    pub(super) start: usize,
    /// Of what follows.
    pub(super) compression: Compression,
    /// What follows the schema's name in a header.
    pub(super) beside: Option<&'a [u8]>,
}

impl Named<'_> {
    pub(super) fn plain(schema: SchemaName, start: usize) -> Self {
        Self { schema, start, compression: Compression::None, beside: None }
    }
}

impl RegistryFraming {
    /// Returns the name of the message's schema; `None` where the message has none. `header` is
    /// that of the schema, where it is there.
    pub(super) fn open<'a>(self, payload: &[u8], header: Option<&'a [u8]>) -> Option<Named<'a>> {
        match self {
            Self::ConfluentHeader => match header {
                Some(header) => {
                    let (uuid, end) = number(header, &[HEADER_VERSION])?;
                    let schema = SchemaName::Uuid(Uuid(u128::from_be_bytes(uuid)));
                    Some(Named { beside: header.get(end..), ..Named::plain(schema, 0) })
                }
                None => Self::Confluent.open(payload, None),
            },
            Self::Confluent | Self::Apicurio3 => {
                let (number, start) = number(payload, &[0])?;
                Some(Named::plain(SchemaName::Number(u32::from_be_bytes(number).into()), start))
            }
            Self::Apicurio => {
                let (number, start) = number(payload, &[0])?;
                Some(Named::plain(SchemaName::Number(u64::from_be_bytes(number)), start))
            }
            Self::Glue => {
                let (uuid, compression) = glue::open(payload)?;
                let named = Named::plain(SchemaName::Uuid(uuid), glue::HEADER_BYTES);
                Some(Named { compression, ..named })
            }
        }
    }

    /// Says how messages begin.
    pub(super) fn beginning(self) -> &'static str {
        match self {
            Self::Confluent | Self::Apicurio3 => "a byte of zero and four of a schema's number",
            Self::ConfluentHeader => {
                "a byte of zero and four of a schema's number, nor has it the header \
                 `__value_schema_id` with a byte of one and sixteen of an identifier"
            }
            Self::Apicurio => "a byte of zero and eight of a schema's number",
            Self::Glue => "the header of AWS Glue's serializers: 3, 0 or 5, and sixteen bytes",
        }
    }
}

/// Returns the bytes behind the magic ones, and where they end.
pub(super) fn number<const N: usize>(payload: &[u8], magic: &[u8]) -> Option<([u8; N], usize)> {
    let number = payload.strip_prefix(magic)?.first_chunk()?;
    Some((*number, magic.len() + N))
}

/// Where the header of the schema lies among what is beside a payload.
#[derive(Clone, Copy)]
pub(super) struct SchemaHeader(Option<usize>);

impl SchemaHeader {
    pub(super) fn new(schema: &SourceSchema) -> Self {
        let is_it = |it: &EnvelopeValue| match it {
            EnvelopeValue::Header(name) => **name == *SCHEMA_HEADER,
            EnvelopeValue::Key | EnvelopeValue::Time => false,
        };
        Self(schema.envelope.iter().position(is_it))
    }

    pub(super) fn of<'a>(self, message: &Message<'a>) -> Option<&'a [u8]> {
        message.envelope.get(self.0?).copied().flatten()
    }
}
