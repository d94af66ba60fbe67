//! Identities: which model, which part of its traffic, which window, which source partition, when.
//!
//! Parsed once at the border (configuration, decoded record); afterwards the type is the check.
//! Cheap to clone: text is shared.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest accepted name of a model, version, segment or feature, in bytes: a bound on labels.
const NAME_BYTES_MAX: usize = 128;

/// A point in event or processing time: milliseconds since 1970-01-01T00:00:00Z.
///
/// Text and JSON form: RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest representable time, before every record.
    pub const MIN: Self = Self(-377_705_023_201_000);
    /// The latest representable time, after every record.
    pub const MAX: Self = Self(253_402_207_200_000);

    /// Returns the time `millis` after the epoch, held between [`Timestamp::MIN`] and
    /// [`Timestamp::MAX`].
    pub const fn from_millis(millis: i64) -> Self {
        if millis < Self::MIN.0 {
            Self::MIN
        } else if Self::MAX.0 < millis {
            Self::MAX
        } else {
            Self(millis)
        }
    }

    /// Returns the milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns the seconds since the epoch, the unit of exported metrics.
    pub fn as_seconds_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Returns the time `millis` later (earlier when negative), saturating at the bounds.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// Parses RFC 3339 text such as `2013-04-01T09:00:00Z`.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        match text.parse::<jiff::Timestamp>() {
            Ok(time) => Ok(Self::from_millis(time.as_millisecond())),
            Err(_) => Err(TimestampError { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_millisecond(self.0)
            .expect("every value between MIN and MAX is representable");
        if self.0 % 1000 == 0 { write!(f, "{time:.0}") } else { write!(f, "{time:.3}") }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A text that is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an RFC 3339 time such as `2026-11-24T06:00:00Z`")]
pub struct TimestampError {
    text: String,
}

/// A text that cannot name a model, version, segment or feature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is left to show on a dashboard.
    #[error("a name is empty")]
    Empty,
    /// Label values are kept short so that series stay small.
    #[error("a name has {bytes} bytes, more than {NAME_BYTES_MAX}")]
    TooLong {
        /// Length of the refused name.
        bytes: usize,
    },
    /// Control characters break logs, exposition formats and pages.
    #[error("the name `{name}` contains a control character")]
    Control {
        /// The refused name, escaped.
        name: String,
    },
}

fn checked(name: &str) -> Result<Arc<str>, NameError> {
    if name.is_empty() {
        Err(NameError::Empty)
    } else if NAME_BYTES_MAX < name.len() {
        Err(NameError::TooLong { bytes: name.len() })
    } else if name.chars().any(char::is_control) {
        Err(NameError::Control { name: name.escape_default().to_string() })
    } else {
        Ok(name.into())
    }
}

/// One deployed version of one model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelId {
    name: Arc<str>,
    version: Arc<str>,
}

impl ModelId {
    /// Checks and joins a model's name and version.
    pub fn try_new(name: &str, version: &str) -> Result<Self, NameError> {
        Ok(Self { name: checked(name)?, version: checked(version)? })
    }

    /// Returns the model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the version of the model.
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl Serialize for ModelId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.name, &self.version).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ModelId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, version) = <(String, String)>::deserialize(deserializer)?;
        Self::try_new(&name, &version).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

/// A part of a model's traffic that is watched on its own: `all`, or `name=value`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(Arc<str>);

impl SegmentId {
    /// Returns the segment that holds every record.
    pub fn all() -> Self {
        Self("all".into())
    }

    /// Returns the segment of the records whose `name` is `value`.
    pub fn try_new(name: &str, value: &str) -> Result<Self, NameError> {
        checked(&format!("{name}={value}")).map(Self)
    }

    /// Returns name and value; none of the segment that holds every record.
    pub fn parts(&self) -> Option<(&str, &str)> {
        self.0.split_once('=')
    }

    /// Returns the text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for SegmentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SegmentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        checked(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The half-open span of event time `[start, end)` that a window covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowSpan {
    // `end` leads: windows are sorted, and closed, by their end.
    end: Timestamp,
    start: Timestamp,
}

impl WindowSpan {
    /// Returns the span `[start, start + length_millis)`.
    ///
    /// # Panics
    /// When `length_millis` is not positive.
    pub fn starting_at(start: Timestamp, length_millis: i64) -> Self {
        assert!(0 < length_millis, "a window has a positive length");
        Self { end: start.plus_millis(length_millis), start }
    }

    /// First instant inside.
    pub const fn start(&self) -> Timestamp {
        self.start
    }

    /// First instant after.
    pub const fn end(&self) -> Timestamp {
        self.end
    }
}

impl Serialize for WindowSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.start.as_millis(), self.end.as_millis()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for WindowSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (start, end) = <(i64, i64)>::deserialize(deserializer)?;
        if end <= start {
            return Err(serde::de::Error::custom("a window ends after its start"));
        }
        Ok(Self { start: Timestamp::from_millis(start), end: Timestamp::from_millis(end) })
    }
}

impl fmt::Display for WindowSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// One pane of one segment of one model version: the records that are counted together, before
/// panes make windows. Sorted by end, start, model, segment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PaneId {
    /// The event time covered.
    pub span: WindowSpan,
    /// Whose records.
    pub model: ModelId,
    /// Which part of them.
    pub segment: SegmentId,
}

impl fmt::Display for PaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.model, self.segment, self.span)
    }
}

/// One window of one segment of one model version. Sorted by end, start, model, segment, name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WindowId {
    /// The event time covered.
    pub span: WindowSpan,
    /// Whose records.
    pub model: ModelId,
    /// Which part of them.
    pub segment: SegmentId,
    /// Configured name of the model's windows that this is one of, such as `1h`.
    pub name: Arc<str>,
}

impl fmt::Display for WindowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.model, self.segment, self.name, self.span)
    }
}

/// One partition of one source topic (a replayed file is partition 0 of its own name).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId {
    /// Topic, or the source's name when it is no topic.
    pub topic: Arc<str>,
    /// Number of the partition, from 0.
    pub partition: i32,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_and_read_back() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_364_806_800_000, "2013-04-01T09:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            let time = Timestamp::from_millis(millis);
            assert_eq!(time.to_string(), text);
            assert_eq!(Timestamp::parse(text), Ok(time));
        }
    }

    #[test]
    fn the_bounds_of_time_can_be_written() {
        assert!(Timestamp::MIN.to_string().starts_with('-'));
        assert!(Timestamp::MAX.to_string().starts_with("9999"));
        assert_eq!(Timestamp::MAX.plus_millis(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.plus_millis(i64::MIN), Timestamp::MIN);
    }

    #[test]
    fn windows_are_sorted_by_their_end_first() {
        let early = WindowSpan::starting_at(Timestamp::from_millis(5), 1);
        let late = WindowSpan::starting_at(Timestamp::from_millis(0), 10);
        assert!(early < late);
    }

    #[test]
    fn names_are_bounded_and_printable() {
        assert_eq!(ModelId::try_new("", "1"), Err(NameError::Empty));
        assert_eq!(ModelId::try_new("m", &"v".repeat(129)), Err(NameError::TooLong { bytes: 129 }));
        assert!(matches!(ModelId::try_new("a\nb", "1"), Err(NameError::Control { .. })));
        let id = ModelId::try_new("flights", "1");
        assert_eq!(id.map(|id| id.to_string()), Ok("flights/1".into()));
    }
}
