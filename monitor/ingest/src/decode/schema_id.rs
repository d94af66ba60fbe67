//! What messages call the schema that they were written with, and the type of it that they are.
//!
//! Before: [`super::framing`] reads it of a message. After: [`super::programs`] finds the program
//! for it; of one that is missing the edge asks a registry, or looks among its files.

use std::fmt;
use std::sync::Arc;

/// What a message calls its type: the schema of its writer, and which of the schema's types it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SchemaId {
    schema: SchemaName,
    message: MessageName,
}

/// What a message calls the schema of its writer, as the source's framing says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SchemaName {
    /// Nothing: there is one.
    Only,
    /// The fingerprint of Avro, CRC-64.
    Fingerprint(u64),
    /// A number that a registry gave it.
    Number(u64),
    /// An identifier that a registry gave it.
    Uuid(Uuid),
}

/// Which of a schema's types a message is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageName {
    /// The one that there is.
    Only,
    /// The one at this place.
    At(Places),
    /// The one of this number, when all that a file defines are in the order of their full names.
    InOrder(u32),
    /// The one of this name without its package, of those that are inside of no other.
    Called(Arc<str>),
}

/// Places of a type of Protobuf from the outermost in: among those of the file, then of each inside
/// of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Places {
    /// Each one more than it is; zero where there is none.
    places: [u16; Places::MAX],
}

/// Sixteen bytes that are written as others write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uuid(pub u128);

impl SchemaId {
    /// The schema of messages that do not name theirs.
    pub const ONLY: Self = Self::of(SchemaName::Only);

    /// Returns what messages of a schema with one type call it.
    pub const fn of(schema: SchemaName) -> Self {
        Self { schema, message: MessageName::Only }
    }

    /// Returns what a message calls the schema of this fingerprint.
    pub const fn of_fingerprint(fingerprint: u64) -> Self {
        Self::of(SchemaName::Fingerprint(fingerprint))
    }

    /// Returns what a message calls the schema of this number in a registry.
    pub const fn registered(number: u64) -> Self {
        Self::of(SchemaName::Number(number))
    }

    /// Names one of the types that the schema defines.
    #[must_use]
    pub fn with_message(self, message: MessageName) -> Self {
        Self { message, ..self }
    }

    /// Names the type at this place; see [`Places::try_new`].
    pub fn at(self, places: &[u64]) -> Option<Self> {
        Some(self.with_message(MessageName::At(Places::try_new(places)?)))
    }

    /// Returns the name of the schema, whichever of its types is named.
    pub const fn schema(&self) -> SchemaName {
        self.schema
    }

    /// Returns which of its types is named.
    pub const fn message(&self) -> &MessageName {
        &self.message
    }
}

impl Places {
    /// Most types inside of each other that are named.
    pub const MAX: usize = 4;

    /// `None` without a place, beyond four of them, or beyond 65,535 types.
    pub fn try_new(places: &[u64]) -> Option<Self> {
        let mut all = [0; Self::MAX];
        for (to, place) in all.get_mut(..places.len())?.iter_mut().zip(places) {
            *to = u16::try_from(place.checked_add(1)?).ok()?;
        }
        (!places.is_empty()).then_some(Self { places: all })
    }

    /// Returns the places.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.places.iter().filter_map(|place| usize::from(*place).checked_sub(1))
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            MessageName::Only => {}
            MessageName::At(places) => {
                let places: Vec<_> = places.iter().collect();
                write!(f, "message {places:?} of ")?;
            }
            MessageName::Called(name) => write!(f, "message `{}` of ", name.escape_debug())?,
            MessageName::InOrder(number) => write!(f, "message {number} by name of ")?,
        }
        self.schema.fmt(f)
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => f.write_str("the schema"),
            Self::Fingerprint(number) => write!(f, "the schema of fingerprint {number:016x}"),
            Self::Number(number) => write!(f, "schema {number} of the registry"),
            Self::Uuid(uuid) => write!(f, "schema {uuid} of the registry"),
        }
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g, h, i, rest @ ..] = self.0.to_be_bytes();
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}-{e:02x}{g:02x}-{h:02x}{i:02x}-")?;
        for (index, byte) in rest.iter().enumerate() {
            write!(f, "{}{byte:02x}", if index == 2 { "-" } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_a_schema_is_named_by_its_places() {
        let schema = SchemaId::registered(7);
        let at = |places: &[u64]| schema.clone().at(places);
        for places in [&[0][..], &[3], &[0, 0], &[1, 0, 65_534, 2]] {
            let id = at(places).unwrap();
            let MessageName::At(found) = id.message() else { panic!("{id:?}") };
            let expected: Vec<_> = places.iter().map(|it| usize::try_from(*it).unwrap()).collect();
            assert_eq!(found.iter().collect::<Vec<_>>(), expected);
            assert_ne!(id, schema);
            assert_eq!(id.schema(), SchemaName::Number(7));
        }
        assert_eq!(at(&[1, 0]).unwrap().to_string(), "message [1, 0] of schema 7 of the registry");
        for places in [&[][..], &[65_535], &[u64::MAX], &[0; 5]] {
            assert_eq!(at(places), None, "{places:?}");
        }
    }

    #[test]
    fn an_identifier_is_written_as_others_write_it() {
        let uuid = Uuid(0xb7b4_a7f0_9c96_4e4a_a687_fb5d_e9ef_0c63);
        assert_eq!(uuid.to_string(), "b7b4a7f0-9c96-4e4a-a687-fb5de9ef0c63");
    }
}
