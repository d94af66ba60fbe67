//! Why a message did not become rows.
//!
//! Before: a decoder refuses a message. After: the core counts rejections by reason and, when
//! configured, produces the message to the dead-letter topic with the reason and the detail.

use std::fmt;

/// Longest detail, in bytes: it travels in Kafka headers, logs and pages.
pub const DETAIL_BYTES_MAX: usize = 256;

/// One refused message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Offset of the message in its partition.
    pub offset: i64,
    /// What was wrong: the label under which it is counted.
    pub reason: RejectReason,
    /// Where and what, for a person: row, path, expected and found kind, position. At most 256
    /// bytes; never text of the payload, which may be private or hostile.
    pub detail: String,
    /// The path that the schema has there, or a part of one: where a value was missing, or of
    /// another kind than its column. Absent where the fault was the message's.
    pub path: Option<Box<str>>,
}

/// The kinds of refusal: a closed list, because each is a label value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectReason {
    /// No payload (a tombstone) or one of zero bytes.
    EmptyPayload,
    /// More bytes than [`crate::DecodeLimits::payload_bytes_max`].
    Oversized,
    /// The payload is text, or has text that is read, and that is not UTF-8.
    InvalidUtf8,
    /// The payload is not exactly one JSON value.
    InvalidJson,
    /// The payload does not begin as the source's framing says, or is not exactly one value of its
    /// writer's schema.
    InvalidAvro,
    /// The payload does not begin as the source's framing says, or is not a message of its
    /// writer's type.
    InvalidProtobuf,
    /// The payload is no stream or file of Arrow, or what is read of it lies outside of it.
    InvalidArrow,
    /// The payload names a schema that does not exist, or one that is none of its format.
    UnknownSchema,
    /// Event time, model or version is absent or null, or the shape beside a tensor's values.
    MissingField,
    /// A value is of a kind that its column cannot hold, or the record is not an object; a tensor's
    /// shape is no list of whole numbers, or there are lists or objects among its values.
    WrongType,
    /// A number does not fit its column's type.
    NumberOutOfRange,
    /// The event time cannot be read in the configured format, or lies outside the accepted years.
    InvalidTime,
    /// The record names a model that is not configured.
    UnknownModel,
    /// A model, version or segment name is empty, too long or has control characters; or a
    /// category's text is too long.
    InvalidName,
    /// More versions than are told apart.
    TooManyVersions,
    /// The message holds more rows than [`crate::DecodeLimits::rows_max`], or more values than
    /// [`crate::DecodeLimits::cells_max`].
    TooManyRows,
    /// Lists that hold one value a row differ in length, or a tensor has other values than its
    /// shape says.
    UnequalLists,
    /// The names of columns are absent, no names, repeated or not those that are configured, or a
    /// row has not one value for each.
    InvalidColumns,
    /// The message is half of a record, and says neither that it is a request nor a response.
    UnknownSide,
}

impl RejectReason {
    /// Every reason, for counters that exist from the start.
    pub const ALL: [Self; 19] = [
        Self::EmptyPayload,
        Self::Oversized,
        Self::InvalidUtf8,
        Self::InvalidJson,
        Self::InvalidAvro,
        Self::InvalidProtobuf,
        Self::InvalidArrow,
        Self::UnknownSchema,
        Self::MissingField,
        Self::WrongType,
        Self::NumberOutOfRange,
        Self::InvalidTime,
        Self::UnknownModel,
        Self::InvalidName,
        Self::TooManyVersions,
        Self::TooManyRows,
        Self::UnequalLists,
        Self::InvalidColumns,
        Self::UnknownSide,
    ];

    /// Returns the label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EmptyPayload => "empty_payload",
            Self::Oversized => "oversized",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::InvalidJson => "invalid_json",
            Self::InvalidAvro => "invalid_avro",
            Self::InvalidProtobuf => "invalid_protobuf",
            Self::InvalidArrow => "invalid_arrow",
            Self::UnknownSchema => "unknown_schema",
            Self::MissingField => "missing_field",
            Self::WrongType => "wrong_type",
            Self::NumberOutOfRange => "number_out_of_range",
            Self::InvalidTime => "invalid_time",
            Self::UnknownModel => "unknown_model",
            Self::InvalidName => "invalid_name",
            Self::TooManyVersions => "too_many_versions",
            Self::TooManyRows => "too_many_rows",
            Self::UnequalLists => "unequal_lists",
            Self::InvalidColumns => "invalid_columns",
            Self::UnknownSide => "unknown_side",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message refused while it is decoded, before its offset is attached.
#[derive(Debug)]
pub(crate) struct Refusal {
    reason: RejectReason,
    detail: String,
    path: Option<Box<str>>,
}

impl Refusal {
    pub(crate) fn new(reason: RejectReason, detail: fmt::Arguments<'_>) -> Self {
        let mut detail = detail.to_string();
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
        Self { reason, detail, path: None }
    }

    /// Says that it was the value at a path of the schema.
    pub(crate) fn of(self, path: &str) -> Self {
        Self { path: Some(path.into()), ..self }
    }

    /// Says in which row of the message it was, from 0 as places in lists are.
    pub(crate) fn in_row(self, row: usize) -> Self {
        let Self { reason, detail, path } = self;
        Self { path, ..Self::new(reason, format_args!("row {row}: {detail}")) }
    }

    /// Says in which line of the message it was, from 1 as editors and parsers count.
    pub(crate) fn in_line(self, line: usize) -> Self {
        let Self { reason, detail, path } = self;
        Self { path, ..Self::new(reason, format_args!("line {line}: {detail}")) }
    }

    pub(crate) fn at(self, offset: i64) -> Rejection {
        let Self { reason, detail, path } = self;
        Rejection { offset, reason, detail, path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_once_under_its_own_label() {
        let mut labels: Vec<_> = RejectReason::ALL.iter().map(|reason| reason.as_str()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), RejectReason::ALL.len());
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        let text = "é".repeat(DETAIL_BYTES_MAX);
        let rejection = Refusal::new(RejectReason::WrongType, format_args!("x{text}")).at(7);
        assert_eq!(rejection.offset, 7);
        assert_eq!(rejection.detail.len(), DETAIL_BYTES_MAX - 1);
    }
}
