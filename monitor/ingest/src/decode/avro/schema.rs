//! A schema that messages were written with, as far as reading them needs it.
//!
//! Before: JSON text from a file or a registry. After: [`super::program`] compiles it together with
//! what is wanted, [`super::skip`] passes over values by it. Names are resolved here; defaults,
//! aliases and documentation mean nothing to a reader of what was written.

use super::{canonical, parse};
use crate::decode::typed::value::WholeMeaning;

/// Longest accepted text of a schema, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 1 << 20;

/// Most values that a schema describes, those of the schemas it refers to included.
pub(super) const NODES_MAX: usize = 1 << 16;

/// A parsed Avro schema.
#[derive(Clone, Debug)]
pub struct AvroSchema {
    pub(super) nodes: Vec<Node>,
    pub(super) root: usize,
    /// Whether nothing was defined elsewhere.
    pub(super) is_whole: bool,
}

/// One type of a schema; others name it by its index.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) shape: Shape,
    /// How many bytes each value has, where all have as many.
    pub(super) width: Option<usize>,
}

/// What a value is made of.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Null,
    Boolean,
    Int(WholeMeaning),
    Long(WholeMeaning),
    Float,
    Double,
    Bytes(BytesMeaning),
    String,
    Fixed { name: Box<str>, size: usize, meaning: BytesMeaning },
    Enum { name: Box<str>, symbols: Vec<Box<str>> },
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
    Record { name: Box<str>, fields: Vec<(Box<str>, usize)> },
}

/// What the logical type of bytes says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BytesMeaning {
    Bytes,
    /// A number: two's complement, the most significant byte first, of which the last `scale`
    /// digits are behind the point.
    Decimal {
        scale: usize,
    },
    /// 16 bytes.
    Uuid,
}

impl AvroSchema {
    /// Parses the schema's JSON text. `references` are the texts of the schemas whose names it
    /// uses, each behind those that it uses itself.
    pub fn parse(text: &str, references: &[&str]) -> Result<Self, AvroSchemaError> {
        parse::parse(text, references)
    }

    /// Returns the CRC-64-AVRO fingerprint of the schema's parsing canonical form, which a message
    /// in single object encoding begins with. `None` for a schema with references: its canonical
    /// form holds what they define, and where each is written is not said anywhere.
    pub fn fingerprint(&self) -> Option<u64> {
        self.is_whole.then(|| canonical::fingerprint(canonical::text(self).as_bytes()))
    }

    pub(super) fn shape(&self, node: usize) -> &Shape {
        &self.nodes[node].shape
    }

    pub(super) fn width(&self, node: usize) -> Option<usize> {
        self.nodes[node].width
    }
}

impl Shape {
    /// Returns how many bytes each value has, where `nodes` says it of all parts.
    pub(super) fn width(&self, nodes: &[Node]) -> Option<usize> {
        match self {
            Self::Null => Some(0),
            Self::Boolean => Some(1),
            Self::Float => Some(4),
            Self::Double => Some(8),
            Self::Fixed { size, .. } => Some(*size),
            Self::Record { fields, .. } => {
                let add =
                    |sum: usize, (_, field): &(_, usize)| sum.checked_add(nodes[*field].width?);
                fields.iter().try_fold(0, add)
            }
            Self::Int(_)
            | Self::Long(_)
            | Self::Bytes(_)
            | Self::String
            | Self::Enum { .. }
            | Self::Array(_)
            | Self::Map(_)
            | Self::Union(_) => None,
        }
    }
}

/// A text that is no Avro schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AvroSchemaError {
    /// More than [`SCHEMA_BYTES_MAX`].
    #[error("the schema has {bytes} bytes, more than {SCHEMA_BYTES_MAX}")]
    TooLong {
        /// Length of the text.
        bytes: usize,
    },
    /// More types than are kept.
    #[error("the schema and those it refers to have more than {NODES_MAX} types")]
    TooManyTypes,
    /// Not JSON.
    #[error("the schema is not JSON: {problem}")]
    NotJson {
        /// What was met and where.
        problem: String,
    },
    /// A part of the schema is not what the Avro specification says.
    #[error("{place}: {problem}")]
    Invalid {
        /// The record and field, or the whole schema.
        place: String,
        /// What is wrong there.
        problem: SchemaProblem,
    },
}

/// What is wrong with a part of a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaProblem {
    /// No type where one should be.
    #[error("expected a type: a name, an object or a list")]
    NoType,
    /// An attribute is absent, or of another kind than it should be.
    #[error("`{0}` is absent or not what it should be")]
    Attribute(&'static str),
    /// A name that is neither of Avro's own nor defined before.
    #[error("no type is named `{0}` up to here")]
    UnknownName(String),
    /// A type, field or symbol is there twice.
    #[error("`{0}` is there twice")]
    Repeated(String),
    /// A union directly inside of a union.
    #[error("a union is directly inside of a union")]
    UnionInUnion,
}
