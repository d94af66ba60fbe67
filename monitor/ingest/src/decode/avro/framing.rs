//! How a message names the schema that it was written with, and where its value begins.
//!
//! Before: the payload. After: [`super::AvroDecoder`] finds the program of that schema.

use crate::decode::programs::SchemaId;
use crate::rejection::{Refusal, RejectReason};

/// What comes before the value of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AvroFraming {
    /// A byte of zero, and the schema's number in a registry in four bytes, the highest first.
    Confluent,
    /// A byte of zero, and the schema's number in a registry in eight bytes, the highest first.
    Apicurio,
    /// The bytes `C3 01`, and the fingerprint of the schema in eight bytes, the lowest first.
    SingleObject,
    /// Nothing: all messages have one schema, [`SchemaId::ONLY`].
    Bare,
}

impl AvroFraming {
    /// Returns the name of the message's schema, and where its value begins.
    pub(super) fn open(self, payload: &[u8]) -> Result<(SchemaId, usize), Refusal> {
        let opened = match self {
            Self::Confluent => match payload {
                [0, a, b, c, d, ..] => {
                    let number = u32::from_be_bytes([*a, *b, *c, *d]);
                    Some((SchemaId::registered(number.into()), 5))
                }
                _ => None,
            },
            Self::Apicurio => number(payload, &[0])
                .map(|(number, start)| (SchemaId::registered(u64::from_be_bytes(number)), start)),
            Self::SingleObject => number(payload, &[0xc3, 0x01]).map(|(number, start)| {
                (SchemaId::of_fingerprint(u64::from_le_bytes(number)), start)
            }),
            Self::Bare => Some((SchemaId::ONLY, 0)),
        };
        opened.ok_or_else(|| {
            let detail = format_args!("the message does not begin with {}", self.beginning());
            Refusal::new(RejectReason::InvalidAvro, detail)
        })
    }

    fn beginning(self) -> &'static str {
        match self {
            Self::Confluent => "a byte of zero and four of a schema's number",
            Self::Apicurio => "a byte of zero and eight of a schema's number",
            Self::SingleObject => "C3 01 and eight bytes of a fingerprint",
            Self::Bare => "a value",
        }
    }
}

/// Returns the eight bytes behind the magic ones, and where they end.
fn number(payload: &[u8], magic: &[u8]) -> Option<([u8; 8], usize)> {
    let number = payload.strip_prefix(magic)?.first_chunk()?;
    Some((*number, magic.len() + number.len()))
}
