//! A place where the schema looks for a value, and the words for what is wrong with it there.
//!
//! Before: [`super::plan`] gives each path its place. After: the records of a format read the
//! values at it. A detail names the path, what it expected and what it found; never the record's
//! own text.

use std::fmt;

use super::LEVEL_BYTES_MAX;
use crate::path::{EnvelopeValue, FieldPath};
use crate::rejection::{Refusal, RejectReason};
use crate::schema::TimeFormat;

/// Longest version, and `name=value` of a segment, in bytes: what `driftd_catalog::ModelId` and
/// `SegmentId` accept.
pub(super) const NAME_BYTES_MAX: usize = 128;

/// A path of the schema and its slot.
pub(super) struct Place {
    /// The list of which every element has such a value; `None` when the message has one.
    pub(super) list: Option<usize>,
    /// Of the payload's values, or of those beside it.
    pub(super) slot: usize,
    pub(super) path: FieldPath,
}

impl Place {
    /// Whether the value is beside the payload, and no format's.
    pub(super) fn is_beside(&self) -> bool {
        self.path.beside().is_some()
    }

    /// Whether the value is the time that Kafka attached to the message.
    pub(super) fn is_kafka_time(&self) -> bool {
        self.path.beside() == Some(&EnvelopeValue::Time)
    }

    pub(super) fn refusal(&self, reason: RejectReason, problem: fmt::Arguments<'_>) -> Refusal {
        let path = &self.path;
        Refusal::new(reason, format_args!("`{path}`: {problem}")).of(&path.to_string())
    }

    pub(super) fn missing(&self) -> Refusal {
        self.refusal(RejectReason::MissingField, format_args!("absent or null"))
    }

    pub(super) fn wrong_type(&self, expected: &str, found: impl fmt::Display) -> Refusal {
        let problem = format_args!("expected {expected}, found {found}");
        self.refusal(RejectReason::WrongType, problem)
    }

    pub(super) fn out_of_range(&self, width: &str) -> Refusal {
        let problem = format_args!("a number beyond the range of {width}");
        self.refusal(RejectReason::NumberOutOfRange, problem)
    }

    pub(super) fn invalid_time(&self, format: TimeFormat) -> Refusal {
        let problem = format_args!("expected {format} in the years 1870 to 9999");
        self.refusal(RejectReason::InvalidTime, problem)
    }

    /// Refuses a category that is too long.
    pub(super) fn check_category(&self, bytes: usize) -> Result<(), Refusal> {
        if is_category(bytes) {
            return Ok(());
        }
        let problem = format_args!("a category of {bytes} bytes, more than {LEVEL_BYTES_MAX}");
        Err(self.refusal(RejectReason::InvalidName, problem))
    }

    /// Refuses a value that cannot name a segment of `name`.
    pub(super) fn check_segment(&self, name: &str, text: &str) -> Result<(), Refusal> {
        if is_segment(name.len(), text) {
            return Ok(());
        }
        let bytes = text.len();
        let problem = if is_name(name.len(), bytes) {
            format_args!("a segment's value with a control character")
        } else {
            format_args!("a segment's value of {bytes} bytes")
        };
        Err(self.refusal(RejectReason::InvalidName, problem))
    }
}

/// Refuses a path that goes through a value of another kind.
pub(super) fn blocked(
    path: &str,
    expected: impl fmt::Display,
    found: impl fmt::Display,
) -> Refusal {
    let detail = format_args!("`{path}`: expected {expected}, found {found}");
    Refusal::new(RejectReason::WrongType, detail).of(path)
}

/// Refuses a version that is too long.
pub(super) fn check_version(bytes: usize) -> Result<(), Refusal> {
    if bytes <= NAME_BYTES_MAX {
        return Ok(());
    }
    let detail = format_args!("the model's version has {bytes} bytes");
    Err(Refusal::new(RejectReason::InvalidName, detail))
}

/// Whether a text of so many bytes may be a category.
pub(super) fn is_category(bytes: usize) -> bool {
    bytes <= LEVEL_BYTES_MAX
}

/// Whether `name=text` may name a segment, whose name has `name_bytes`.
pub(super) fn is_segment(name_bytes: usize, text: &str) -> bool {
    is_name(name_bytes, text.len()) && !text.chars().any(char::is_control)
}

fn is_name(name_bytes: usize, text_bytes: usize) -> bool {
    name_bytes + "=".len() + text_bytes <= NAME_BYTES_MAX
}
