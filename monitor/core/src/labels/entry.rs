//! What is kept of an identity: its prediction, or labels that came before it; and what a new
//! prediction or label makes of that.
//!
//! Before: [`super`] reads the entry of the identity. After: it writes the new one, and
//! [`super::tally`] counts what [`Change`] says. Everything here depends on the entry and on what
//! is new, never on a clock: of labels before and behind their prediction, however the logs of both
//! were read beside each other, the same one counts.

use std::cmp::Ordering;

use driftd_catalog::Timestamp;

use crate::config::{Keep, PerformanceConfig};

/// Labels of one identity that wait for its prediction. More of them are of no use: one will count.
const WAITING_MAX: usize = 8;

/// What is kept of an identity.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    /// Its prediction, with the label that counts so far.
    Predicted(Predicted, Option<Label>),
    /// Labels whose prediction has not been seen yet, the one that would count first.
    Waiting(Vec<Label>),
}

/// A prediction, as far as metrics need it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Predicted {
    /// When it was made.
    pub(crate) time: Timestamp,
    /// Number of its version and segments.
    pub(crate) cohort: u32,
    /// What was predicted.
    pub(crate) guess: Guess,
}

/// What was predicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Guess {
    /// Of two classes.
    Binary {
        /// Probability of the positive one, between 0 and 1.
        score: Option<f64>,
        /// Whether it is the positive one.
        predicted: bool,
    },
    /// Index of one of several classes.
    Class(u8),
    /// A finite number.
    Number(f64),
}

/// What came true.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Truth {
    /// Whether it is the positive class.
    Positive(bool),
    /// Index of the class.
    Class(u8),
    /// A finite number.
    Number(f64),
}

/// A label of a prediction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Label {
    /// When it was given.
    pub(crate) time: Timestamp,
    /// Grows where it is corrected without another time.
    pub(crate) revision: i64,
    /// What came true; nothing where the label was taken away.
    pub(crate) truth: Option<Truth>,
}

/// A prediction with its label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) predicted: Predicted,
    pub(crate) truth: Truth,
    /// How long after the prediction the label was given, in milliseconds.
    pub(crate) delay_millis: i64,
}

/// What became of a prediction or a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A prediction that is the first of its identity.
    Kept,
    /// A prediction whose identity had one.
    Repeated,
    /// A label that counts, the first of its prediction.
    Joined,
    /// A label that counts instead of another one.
    Revised,
    /// A label that does not count beside another one.
    Superseded,
    /// A label like one that was there.
    Duplicate,
    /// A label that waits for its prediction.
    Waits,
    /// A label from before its prediction, or from beyond its horizon.
    Unmatched,
}

/// What is new of an identity.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// What is kept from now on; nothing where it is what was kept.
    pub(crate) entry: Option<Entry>,
    /// What became of what is new.
    pub(crate) fate: Fate,
    /// What became of labels that wait no more, with their times.
    pub(crate) others: Vec<(Timestamp, Fate)>,
    /// An outcome that counts no more.
    pub(crate) removed: Option<Outcome>,
    /// An outcome that counts from now on.
    pub(crate) added: Option<Outcome>,
}

impl Change {
    fn none(fate: Fate) -> Self {
        Self { entry: None, fate, others: Vec::new(), removed: None, added: None }
    }
}

impl Entry {
    /// Takes a prediction to what is kept of its identity.
    pub(crate) fn predict(
        kept: Option<Self>,
        predicted: Predicted,
        config: &PerformanceConfig,
    ) -> Change {
        let waiting = match kept {
            Some(Self::Predicted(..)) => return Change::none(Fate::Repeated),
            Some(Self::Waiting(labels)) => labels,
            None => Vec::new(),
        };
        // The first in time is the one that counts: they are in that order.
        let label = waiting.iter().find(|label| predicted.has_in_time(label, config)).copied();
        let mut is_found = false;
        let fate = |it: &Label| {
            let is_one = label.as_ref() == Some(it) && !std::mem::replace(&mut is_found, true);
            let fate = match predicted.has_in_time(it, config) {
                true if is_one => Fate::Joined,
                true => Fate::Superseded,
                false => Fate::Unmatched,
            };
            (it.time, fate)
        };
        let others = waiting.iter().map(fate).collect();
        Change {
            entry: Some(Self::Predicted(predicted, label)),
            fate: Fate::Kept,
            others,
            removed: None,
            added: label.and_then(|label| predicted.outcome(&label)),
        }
    }

    /// Takes a label to what is kept of its identity.
    pub(crate) fn label(kept: Option<Self>, label: Label, config: &PerformanceConfig) -> Change {
        let (predicted, before) = match kept {
            Some(Self::Predicted(predicted, before)) => (predicted, before),
            Some(Self::Waiting(labels)) => return wait(labels, label, config),
            None => return wait(Vec::new(), label, config),
        };
        if !predicted.has_in_time(&label, config) {
            return Change::none(Fate::Unmatched);
        }
        let fate = match &before {
            None => Fate::Joined,
            Some(before) => match label.precedence(before, config.labels.keep) {
                Ordering::Less => Fate::Revised,
                Ordering::Equal => return Change::none(Fate::Duplicate),
                Ordering::Greater => return Change::none(Fate::Superseded),
            },
        };
        Change {
            entry: Some(Self::Predicted(predicted, Some(label))),
            fate,
            others: Vec::new(),
            removed: before.and_then(|it| predicted.outcome(&it)),
            added: predicted.outcome(&label),
        }
    }

    /// Returns the time behind which it may be forgotten when that of the logs is past its horizon.
    pub(crate) fn time(&self) -> Timestamp {
        match self {
            Self::Predicted(predicted, _) => predicted.time,
            Self::Waiting(labels) => {
                labels.iter().map(|it| it.time).max().unwrap_or(Timestamp::MIN)
            }
        }
    }
}

/// Adds a label to those that wait.
fn wait(mut labels: Vec<Label>, label: Label, config: &PerformanceConfig) -> Change {
    let place = labels.binary_search_by(|it| it.precedence(&label, config.labels.keep));
    let Err(place) = place else { return Change::none(Fate::Duplicate) };
    labels.insert(place, label);
    let left = labels.drain(labels.len().min(WAITING_MAX)..);
    let others = left.map(|it| (it.time, Fate::Superseded)).collect();
    let entry = Some(Entry::Waiting(labels));
    Change { entry, others, ..Change::none(Fate::Waits) }
}

impl Predicted {
    /// Returns whether a label was given between the prediction and its horizon.
    fn has_in_time(&self, label: &Label, config: &PerformanceConfig) -> bool {
        self.time <= label.time && label.time <= self.time.plus_millis(config.horizon_millis)
    }

    /// Returns what a label makes of it; nothing where the label was taken away.
    pub(crate) fn outcome(&self, label: &Label) -> Option<Outcome> {
        let delay_millis = label.time.as_millis() - self.time.as_millis();
        label.truth.map(|truth| Outcome { predicted: *self, truth, delay_millis })
    }
}

impl Label {
    /// Returns [`Ordering::Less`] if it counts rather than the other one. Equal ones say the same.
    fn precedence(&self, other: &Self, keep: Keep) -> Ordering {
        let times = match keep {
            Keep::Last => other.time.cmp(&self.time),
            Keep::First => self.time.cmp(&other.time),
        };
        // Of one time the later revision is the better one, whichever is kept. What the two say
        // decides where nothing else does: not which of them was read first.
        let revisions = || other.revision.cmp(&self.revision);
        times.then_with(revisions).then_with(|| compare(self.truth, other.truth))
    }
}

/// Orders labels that differ in nothing but what they say.
fn compare(one: Option<Truth>, other: Option<Truth>) -> Ordering {
    let key = |truth: Option<Truth>| match truth {
        None => (0, 0.0),
        Some(Truth::Positive(positive)) => (1, f64::from(u8::from(positive))),
        Some(Truth::Class(class)) => (2, f64::from(class)),
        Some(Truth::Number(number)) => (3, number),
    };
    let ((one, mine), (other, its)) = (key(one), key(other));
    one.cmp(&other).then_with(|| mine.total_cmp(&its))
}

#[cfg(test)]
mod tests;
