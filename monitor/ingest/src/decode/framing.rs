//! How serializers of schema registries name the schema of a message, and where its value begins.
//!
//! Before: a payload, and what lies beside it. After: the framings of Avro and Protobuf add what
//! only they have, and their decoders find the program of the schema.

use super::glue::{self, Compression};
use super::schema_id::SchemaName;

/// How messages name their schema in a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryFraming {
    /// A byte of zero, and the schema's number in four bytes, the highest first.
    Confluent,
    /// A byte of zero, and the schema's number in eight bytes, the highest first.
    Apicurio,
    /// A byte of three, one that says whether the value is compressed, and an identifier in sixteen.
    Glue,
}

/// A message whose schema is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) schema: SchemaName,
    /// Where its name ends in the payload.
    pub(super) start: usize,
    /// Of what follows.
    pub(super) compression: Compression,
}

impl Named {
    pub(super) fn plain(schema: SchemaName, start: usize) -> Self {
        Self { schema, start, compression: Compression::None }
    }
}

impl RegistryFraming {
    /// Returns the name of the message's schema; `None` where the message has none.
    pub(super) fn open(self, payload: &[u8]) -> Option<Named> {
        match self {
            Self::Confluent => {
                let (number, start) = number(payload, &[0])?;
                let schema = SchemaName::Number(u32::from_be_bytes(number).into());
                Some(Named::plain(schema, start))
            }
            Self::Apicurio => {
                let (number, start) = number(payload, &[0])?;
                Some(Named::plain(SchemaName::Number(u64::from_be_bytes(number)), start))
            }
            Self::Glue => {
                let (uuid, compression) = glue::open(payload)?;
                let (schema, start) = (SchemaName::Uuid(uuid), glue::HEADER_BYTES);
                Some(Named { schema, start, compression })
            }
        }
    }

    /// Says how messages begin.
    pub(super) fn beginning(self) -> &'static str {
        match self {
            Self::Confluent => "a byte of zero and four of a schema's number",
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
