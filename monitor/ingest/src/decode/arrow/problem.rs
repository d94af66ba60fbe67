//! What is wrong with bytes that are no message of Arrow, or with a place in them.
//!
//! Before: any file beside this one meets it. After: the message is refused with its words, which
//! never repeat text of the message.

use std::fmt;

use crate::rejection::{Refusal, RejectReason};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Neither of the framings.
    Start,
    /// The bytes end inside of a message, or of what says its length.
    Cut,
    /// Bytes behind the marker of the end.
    Rest,
    /// A file without its footer, or with one that is none.
    Footer,
    /// Messages of a file that lie in one another.
    Blocks,
    /// What describes a message is no such description.
    Metadata,
    /// The first message is not the schema.
    NoSchema,
    /// One of the later messages is something else than rows or a dictionary.
    Unexpected,
    Version,
    Endianness,
    /// A field whose type is none of Arrow's, or lacks what belongs to it.
    Field,
    /// Two dictionaries of one number have values of different types.
    Dictionaries,
    /// More to a dictionary that is not there.
    Delta,
    /// Fewer arrays or buffers than the schema's fields have, or a negative length.
    Arrays,
    /// A buffer that lies outside of the message, or is too short for its array.
    Buffer,
    /// As many nulls as said are not there.
    Nulls,
    /// An array that is not as long as the rows, or as the one it is part of.
    Length,
    Offsets,
    View,
    Runs,
    /// An element outside of its array.
    Index,
    Compression,
}

impl Problem {
    pub(super) fn refusal(self) -> Refusal {
        Refusal::new(RejectReason::InvalidArrow, format_args!("{self}"))
    }

    /// Says in which of the messages of the stream it was, from 0.
    pub(super) fn in_message(self, message: usize) -> Refusal {
        let detail = format_args!("IPC message {message}: {self}");
        Refusal::new(RejectReason::InvalidArrow, detail)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "the message begins neither like a stream nor like a file of Arrow",
            Self::Cut => "the bytes end too early",
            Self::Rest => "bytes behind the end of the stream",
            Self::Footer => "a file that does not end like one",
            Self::Blocks => "messages of a file that lie in one another",
            Self::Metadata => "metadata that is none",
            Self::NoSchema => "the stream does not begin with a schema",
            Self::Unexpected => "expected a record batch or a dictionary",
            Self::Version => {
                "a version of the format that is not read, or another than the schema's"
            }
            Self::Endianness => "numbers whose highest byte comes first",
            Self::Field => "a field of no type that Arrow has",
            Self::Dictionaries => "two types of values for one dictionary",
            Self::Delta => "more values for a dictionary that is not there",
            Self::Arrays => "fewer arrays or buffers than the schema has",
            Self::Buffer => "a buffer outside of its message or too short",
            Self::Nulls => "another number of nulls than is said",
            Self::Length => "an array of another length than its rows",
            Self::Offsets => "offsets that go back or lie outside",
            Self::View => "a view of text that lies outside",
            Self::Runs => "runs that do not go on or end too early",
            Self::Index => "a place outside of its array",
            Self::Compression => "a buffer that is not compressed as is said",
        })
    }
}
