//! What a walk found at a path.
//!
//! Before: the walk of a format reads it. After: [`super::record`] makes a cell, a name or a time
//! of it.

use std::fmt;

/// The kinds of value, as far as paths and columns tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Kind {
    Null,
    Boolean,
    Number,
    Text,
    Bytes,
    Time,
    Array,
    /// Of Avro.
    Record,
    /// Of Protobuf.
    Message,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Time => "a timestamp",
            Self::Array => "an array",
            Self::Record => "a record or a map",
            Self::Message => "a message or a map",
        })
    }
}

/// What the type of a whole number says besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum WholeMeaning {
    Number,
    /// Days since 1970-01-01.
    Date,
    TimestampMillis,
    TimestampMicros,
    TimestampNanos,
}

/// The values that a walk found, by the slots of its tree.
pub(in crate::decode) trait Found {
    fn get(&self, slot: usize) -> &Value;
}

/// A value at a path.
#[derive(Clone, Copy, Debug)]
pub(in crate::decode) enum Value {
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
    /// A point in time since 1970, with nanoseconds of any sign and size.
    Time {
        seconds: i64,
        nanos: i32,
    },
    /// Bytes, or a value with others inside, which no column takes.
    Other(Kind),
    /// A list of rows that is there.
    List,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::decode) enum Number {
    Whole(i64, WholeMeaning),
    Unsigned(u64),
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
pub(in crate::decode) enum Text {
    /// In the payload, not yet known to be UTF-8.
    Payload { start: usize, end: usize },
    /// In the program's text: the symbol of an enum.
    Symbol { start: usize, end: usize },
    /// The number of an enum that has no symbol for it, as text.
    Unnamed(i32),
    /// The 16 bytes in the payload that stand for it.
    Uuid { start: usize },
}

impl Value {
    /// Returns the kind of a value that is there.
    pub(in crate::decode) fn kind(&self) -> Kind {
        match self {
            Self::Absent => Kind::Null,
            Self::Boolean(_) => Kind::Boolean,
            Self::Number(_) => Kind::Number,
            Self::Text(_) => Kind::Text,
            Self::Time { .. } => Kind::Time,
            Self::Other(kind) | Self::Blocked { want: _, expected: _, found: kind } => *kind,
            Self::List => Kind::Array,
        }
    }
}
