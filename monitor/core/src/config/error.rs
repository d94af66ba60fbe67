//! What is wrong with a configuration: every problem at once, each with its place and what to do.
//!
//! Before: [`super::structure`] and [`super::validate`] find the problems. After: the command line
//! prints them.

use std::collections::BTreeSet;
use std::fmt;

/// One problem of a configuration.
///
/// Written as `` `place`: problem; what to do ``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Place in the file, such as `models[0].features[3].minimum_effect`; empty for the whole file.
    pub path: String,
    /// What is wrong there.
    pub problem: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str("the file"),
            path => write!(f, "`{path}`:"),
        }?;
        write!(f, " {}; {}", self.problem, self.hint)
    }
}

/// All problems of a configuration, at least one, written one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Returns the problems, in the order in which they were found.
    pub fn as_slice(&self) -> &[ConfigError] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Writes a JSON pointer as a place: `/models/0/name` is `models[0].name`.
pub(super) fn place(pointer: &str) -> String {
    let mut place = String::new();
    for step in pointer.split('/').skip(1) {
        let step = unescaped(step);
        if !step.is_empty() && step.chars().all(|c| c.is_ascii_digit()) {
            place = format!("{place}[{step}]");
        } else {
            place = child(&place, &step);
        }
    }
    place
}

/// Writes a key as a step of a JSON pointer (RFC 6901).
pub(super) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Reads a step of a JSON pointer.
pub(super) fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// Writes the place of a key in a mapping.
pub(super) fn child(place: &str, key: &str) -> String {
    if key.is_empty() || key.contains(|c: char| !c.is_alphanumeric() && c != '_') {
        format!("{place}[{key:?}]")
    } else if place.is_empty() {
        key.to_owned()
    } else {
        format!("{place}.{key}")
    }
}

/// Writes a place as a kind of place: `models[0].name` is `models[].name`.
pub(super) fn without_positions(place: &str) -> String {
    let steps = place.split_inclusive('[');
    steps.map(|it| it.trim_start_matches(|c: char| c.is_ascii_digit())).collect()
}

/// Returns whether a place is another one, or inside it.
fn is_within(place: &str, outer: &str) -> bool {
    let rest = place.strip_prefix(outer);
    rest.is_some_and(|it| outer.is_empty() || it.is_empty() || it.starts_with(['.', '[']))
}

/// Says that something could not be read, and that the reason is among the findings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted;

/// Problems found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<ConfigError>,
    /// Places that hold a stand-in for what the user wrote.
    doubtful: BTreeSet<String>,
}

impl Findings {
    /// Notes a problem, unless one is known there: what stands in for a wrong value is not the
    /// user's.
    pub(super) fn add(&mut self, path: &str, problem: &str, hint: &str) -> Noted {
        if self.doubtful.iter().any(|place| is_within(path, place)) {
            return Noted;
        }
        self.push(ConfigError { path: path.into(), problem: problem.into(), hint: hint.into() })
    }

    /// From now on, says nothing more about a place.
    pub(super) fn doubt(&mut self, place: String) {
        self.doubtful.insert(place);
    }

    /// Returns whether a value of this kind is not the user's, such as `models[].name`: what is
    /// missing elsewhere may have been meant to be there.
    pub(super) fn doubts(&self, kind: &str) -> bool {
        self.doubtful.iter().any(|place| is_within(kind, &without_positions(place)))
    }

    /// Notes a problem that is already in words.
    pub(super) fn push(&mut self, error: ConfigError) -> Noted {
        self.found.push(error);
        Noted
    }

    /// Returns true while nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Returns what was read, unless something was found.
    pub(super) fn conclude<T>(self, read: Result<T, Noted>) -> Result<T, ConfigErrors> {
        match read {
            Ok(read) if self.found.is_empty() => Ok(read),
            Ok(_) | Err(Noted) => Err(ConfigErrors(self.found)),
        }
    }
}
