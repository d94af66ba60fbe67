//! How a message names the schema that it was written with, and where its value begins.
//!
//! Before: the payload. After: [`super::AvroDecoder`] finds the program of that schema.

use crate::decode::framing::{Named, RegistryFraming, number};
use crate::decode::schema_id::SchemaName;
use crate::rejection::{Refusal, RejectReason};

/// What comes before the value of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AvroFraming {
    /// What a registry calls its schema.
    Registry(RegistryFraming),
    /// The bytes `C3 01`, and the fingerprint of the schema in eight bytes, the lowest first.
    SingleObject,
    /// Nothing: all messages have one schema, [`SchemaName::Only`].
    Bare,
}

impl AvroFraming {
    /// Returns the name of the message's schema, and where its value begins. `header` is that of
    /// the schema, where it is there.
    pub(super) fn open<'a>(
        self,
        payload: &[u8],
        header: Option<&'a [u8]>,
    ) -> Result<Named<'a>, Refusal> {
        let opened = match self {
            Self::Registry(registry) => registry.open(payload, header),
            Self::SingleObject => number(payload, &[0xc3, 0x01]).map(|(number, start)| {
                let schema = SchemaName::Fingerprint(u64::from_le_bytes(number));
                Named::plain(schema, start)
            }),
            Self::Bare => Some(Named::plain(SchemaName::Only, 0)),
        };
        opened.ok_or_else(|| {
            let detail = format_args!("the message does not begin with {}", self.beginning());
            Refusal::new(RejectReason::InvalidAvro, detail)
        })
    }

    fn beginning(self) -> &'static str {
        match self {
            Self::Registry(registry) => registry.beginning(),
            Self::SingleObject => "C3 01 and eight bytes of a fingerprint",
            Self::Bare => "a value",
        }
    }
}
