//! Bodies of the Open Inference Protocol (V2) as one document of JSON, whatever they are written
//! in, with values of tensors as lists of rows.
//!
//! Before: a payload within its bounds, and the header that says what it is. After:
//! [`super::json`] reads the text by the same paths as if all had come so. A body is JSON, JSON
//! with bytes of tensors behind it ([`super::json`] knows those two), or a message of Protobuf
//! ([`message`]); [`values`] writes what tensors hold.
//!
//! Of tensors that no path reads the values are left out, or left as they are.

#[cfg(test)]
mod fuzz_tests;
mod message;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeSet;
use std::ops::Range;

pub(super) use self::message::{REQUEST, RESPONSE, append as append_message};
pub(super) use self::values::{Datatype, NoValues, RowWriter, append_raw};
use super::Message;
use crate::path::{EnvelopeValue, FieldPath, Step};
use crate::rejection::{Refusal, RejectReason};
use crate::schema::{INFERENCE_HEADER, InferenceMessage, SourceSchema};

/// Most tensors of a list: models of tables have one a column.
pub(super) const TENSORS_MAX: usize = 4_096;

/// How many times as long as a payload its text becomes at most: two bytes of a `BF16` become 23
/// characters, two brackets and a comma.
const LENGTH_FACTOR: usize = 13;

/// Returns how long the text of a body is at most.
pub(super) const fn text_bytes_max(payload_bytes_max: usize) -> usize {
    LENGTH_FACTOR * payload_bytes_max
}

/// Returns what writing a body as JSON takes at most: its text, which has grown by doubling, with
/// what it grew out of, and where tensors lie in the payload.
pub(super) const fn bytes_max(payload_bytes_max: usize) -> usize {
    let places = 8 * TENSORS_MAX * size_of::<Range<usize>>();
    3 * text_bytes_max(payload_bytes_max) + places
}

/// What the payloads of a source are, and what is read of them.
pub(super) struct Inference {
    /// What a message is whose headers do not say it.
    pub(super) message: InferenceMessage,
    /// Which value of an envelope is the header that says it.
    header: Option<usize>,
    pub(super) inputs: Wanted,
    pub(super) outputs: Wanted,
}

impl Inference {
    /// Returns what a schema's payloads are; `None` where they are no bodies of the protocol.
    pub(super) fn new(schema: &SourceSchema) -> Option<Self> {
        let header = EnvelopeValue::Header(INFERENCE_HEADER.into());
        let header = schema.envelope.iter().position(|it| *it == header);
        Some(Self { header, ..Self::inside(schema, schema.inference?, &[]) })
    }

    /// Returns what payloads are that no header tells, where paths lead to their bodies through
    /// these keys.
    pub(super) fn inside(schema: &SourceSchema, message: InferenceMessage, keys: &[&str]) -> Self {
        let inputs = Wanted::of("inputs", keys, schema.read_paths());
        let outputs = Wanted::of("outputs", keys, schema.read_paths());
        Self { message, header: None, inputs, outputs }
    }

    /// Returns what messages of one kind are, of which all values are read.
    pub(super) fn all(message: InferenceMessage) -> Self {
        let all = || Wanted { has_others: true, ..Wanted::default() };
        Self { message, header: None, inputs: all(), outputs: all() }
    }

    /// Returns what a message is.
    pub(super) fn kind(&self, message: &Message<'_>) -> Result<InferenceMessage, Refusal> {
        let header = self.header.and_then(|at| *message.envelope.get(at)?);
        let Some(header) = header.filter(|it| !it.is_empty()) else { return Ok(self.message) };
        InferenceMessage::of_header(header).ok_or_else(|| {
            let detail = format_args!(
                "header `{INFERENCE_HEADER}`: expected `json/` or `proto/` and \
                 `inferModelRequest` or `inferModelResponse`"
            );
            Refusal::new(RejectReason::WrongType, detail)
        })
    }
}

/// The tensors of a list whose values some path reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    places: BTreeSet<usize>,
    names: BTreeSet<Box<str>>,
    /// Whether a path finds a tensor by something else.
    has_others: bool,
}

impl Wanted {
    fn of<'a>(list: &str, keys: &[&str], paths: impl Iterator<Item = &'a FieldPath>) -> Self {
        let mut wanted = Self::default();
        for path in paths {
            let Some(steps) = path.steps_behind(keys) else { continue };
            let [Step::Key(first), tensor, Step::Key(data), ..] = steps else { continue };
            if **first != *list || **data != *"data" {
                continue;
            }
            match tensor {
                Step::Index(place) => _ = wanted.places.insert(*place),
                Step::Where { key, text } if **key == *"name" => {
                    wanted.names.insert(text.clone());
                }
                Step::Where { .. } | Step::Each => wanted.has_others = true,
                // No list has keys.
                Step::Key(_) => {}
            }
        }
        wanted
    }

    /// Returns whether values of a tensor are read.
    pub(super) fn has(&self, place: usize, name: &str) -> bool {
        self.has_others || self.places.contains(&place) || self.names.contains(name)
    }
}

/// How many values a tensor has, and how many of them are one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TensorShape {
    pub(super) count: usize,
    pub(super) width: usize,
}

impl TensorShape {
    /// Most dimensions: those of `NumPy`'s arrays before its version 2. Nested values take stack
    /// for each.
    pub(super) const DIMENSIONS_MAX: usize = 32;

    /// Multiplies the sizes of dimensions, of which those that are none are no sizes. The first
    /// alone may be 0: rows without a value are none.
    pub(super) fn of(sizes: impl Iterator<Item = Option<usize>>) -> Result<Self, NoValues> {
        let wrong = || {
            let most = Self::DIMENSIONS_MAX;
            let problem =
                format!("expected a shape of 1 to {most} whole numbers, above 0 but for the first");
            NoValues::wrong_type(problem)
        };
        let sizes: Vec<usize> =
            sizes.take(Self::DIMENSIONS_MAX + 1).collect::<Option<_>>().ok_or_else(wrong)?;
        let (rows, others) = sizes.split_first().ok_or_else(wrong)?;
        if Self::DIMENSIONS_MAX < sizes.len() || others.contains(&0) {
            return Err(wrong());
        }
        let width = others.iter().try_fold(1usize, |width, it| width.checked_mul(*it));
        let found = width.and_then(|width| Some(Self { count: width.checked_mul(*rows)?, width }));
        found.ok_or_else(|| NoValues::unequal("fewer values than its shape says"))
    }
}
