//! What a walk found at a path.
//!
//! Before: [`super::walk`] reads it. After: [`super::record`] makes a cell, a name or a time of it.

use std::fmt;

use super::schema::WholeMeaning;

/// The kinds of value, as far as paths and columns tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Number,
    Text,
    Bytes,
    Array,
    Record,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Array => "an array",
            Self::Record => "a record or a map",
        })
    }
}

/// A value at a path.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    /// Nothing, or null.
    Absent,
    /// The path goes through the node of this index, where it expects a value of another kind.
    Blocked {
        want: usize,
        expected: Kind,
        found: Kind,
    },
    Boolean(bool),
    Number(Number),
    Text(Text),
    /// Bytes, or a value with others inside, which no column takes.
    Other(Kind),
    /// A list of rows that is there.
    List,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Whole(i64, WholeMeaning),
    Float(f32),
    Double(f64),
    /// Where its digits are in the payload, and how many are behind the point.
    Decimal {
        start: usize,
        end: usize,
        scale: usize,
    },
}

/// Where a text is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text {
    /// In the payload, not yet known to be UTF-8.
    Payload { start: usize, end: usize },
    /// In the program's text: the symbol of an enum.
    Symbol { start: usize, end: usize },
    /// The 16 bytes in the payload that stand for it.
    Uuid { start: usize },
}

impl Value {
    /// Returns the kind of a value that is there.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Absent => Kind::Null,
            Self::Boolean(_) => Kind::Boolean,
            Self::Number(_) => Kind::Number,
            Self::Text(_) => Kind::Text,
            Self::Other(kind) | Self::Blocked { want: _, expected: _, found: kind } => *kind,
            Self::List => Kind::Array,
        }
    }
}
