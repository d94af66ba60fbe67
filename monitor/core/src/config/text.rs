//! Texts of a fixed form: names, topics, lengths of time. The pattern is in the schema; what it
//! asks for is said here in words.
//!
//! Before: [`super::raw`] uses them as types of keys. After: [`super::structure`] words a mismatch.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{duration, size};

/// Lower-case letters, digits and `-`, so that it can be part of a consumer group, a URL and a
/// Kubernetes name.
const JOB_NAME: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

/// What Kafka takes for a topic, which refuses `.` and `..` too.
const TOPIC: &str = r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$";

/// A value of a metric's label: not empty, bounded, no control characters.
const LABEL: &str = r"^[^\u0000-\u001f\u007f-\u009f]{1,128}$";

/// Name of a job or a policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct JobName(pub(super) String);

/// Name of a Kafka topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Topic(pub(super) String);

/// Name of a model, version, feature or segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Label(pub(super) String);

/// Length of time, such as `1h30m`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct DurationText(pub(super) String);

/// Amount of memory, such as `512MiB`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct SizeText(pub(super) String);

impl DurationText {
    /// Returns a default.
    pub(super) fn of(text: &str) -> Self {
        Self(text.into())
    }
}

impl JsonSchema for JobName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "JobName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": JOB_NAME })
    }
}

impl JsonSchema for Topic {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Topic".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": TOPIC })
    }
}

impl JsonSchema for Label {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Label".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": LABEL })
    }
}

impl JsonSchema for DurationText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": duration::PATTERN })
    }
}

impl JsonSchema for SizeText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": size::PATTERN })
    }
}

/// Returns why a text does not fit a pattern, and what would.
pub(super) fn mismatch(pattern: &str, text: &str) -> (String, &'static str) {
    match pattern {
        JOB_NAME => (
            format!("`{text}` cannot be a name"),
            "use 1 to 63 lower-case letters, digits and `-`, with no `-` at either end",
        ),
        TOPIC => (
            format!("`{text}` cannot be a topic"),
            "use 1 to 249 letters, digits, `.`, `_` and `-`",
        ),
        LABEL => (
            format!("`{}` cannot be a name", text.escape_debug()),
            "use 1 to 128 characters, none of them a control character",
        ),
        size::PATTERN => (format!("`{text}` is no amount of memory"), size::HINT),
        _ => (duration_problem(text), DURATION_HINT),
    }
}

/// What to do about a length of time that cannot be read.
pub(super) const DURATION_HINT: &str = "write whole numbers with the units `d`, `h`, `m`, `s`, `ms`, the longest first, such as `1h30m`";

/// Returns why a text is no length of time.
fn duration_problem(text: &str) -> String {
    match duration::parse(text) {
        Ok(_) => format!("`{text}` has more than 9 digits in a row"),
        Err(error) => format!("`{text}` {error}"),
    }
}
