//! Entries as they lie on disk: a few dozen bytes each, for there are as many as predictions within
//! the horizon.
//!
//! Before: [`super::entry`]. After: the edge keeps the bytes by identity, and gives them back.
//! Times are numbers here, and that of a label counts from its prediction.

use driftd_catalog::Timestamp;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Guess, Label, Predicted, Truth};

/// An entry. The order of variants, here and below, is part of the format.
#[derive(Serialize, Deserialize)]
enum StoredEntry {
    Predicted { time: i64, cohort: u32, guess: StoredGuess, label: StoredLabel },
    Waiting(Vec<StoredLabel>),
}

#[derive(Serialize, Deserialize)]
enum StoredGuess {
    Negative,
    Positive,
    ScoredNegative(f64),
    ScoredPositive(f64),
    Class(u8),
    Number(f64),
}

/// What labels say, each with its time since the prediction (since the epoch, where it waits for
/// one) and its revision.
#[derive(Serialize, Deserialize)]
enum StoredLabel {
    Absent,
    TakenAway(i64, i64),
    Negative(i64, i64),
    Positive(i64, i64),
    Class(i64, i64, u8),
    Number(i64, i64, f64),
}

/// Writes an entry.
///
/// # Panics
/// Never: an entry has a written form.
pub(super) fn write(entry: &Entry) -> Vec<u8> {
    let stored = match entry {
        Entry::Predicted(Predicted { time, cohort, guess }, label) => StoredEntry::Predicted {
            time: time.as_millis(),
            cohort: *cohort,
            guess: StoredGuess::of(*guess),
            label: label.map_or(StoredLabel::Absent, |it| StoredLabel::of(&it, *time)),
        },
        Entry::Waiting(labels) => {
            let labels = labels.iter().map(|it| StoredLabel::of(it, EPOCH));
            StoredEntry::Waiting(labels.collect())
        }
    };
    postcard::to_stdvec(&stored).expect("entries are made of numbers")
}

/// Reads an entry; nothing where it is none.
pub(super) fn read(bytes: &[u8]) -> Option<Entry> {
    Some(match postcard::from_bytes(bytes).ok()? {
        StoredEntry::Predicted { time, cohort, guess, label } => {
            let time = Timestamp::from_millis(time);
            let predicted = Predicted { time, cohort, guess: guess.guess() };
            Entry::Predicted(predicted, label.label(time))
        }
        StoredEntry::Waiting(labels) => {
            Entry::Waiting(labels.iter().filter_map(|it| it.label(EPOCH)).collect())
        }
    })
}

const EPOCH: Timestamp = Timestamp::from_millis(0);

impl StoredGuess {
    fn of(guess: Guess) -> Self {
        match guess {
            Guess::Binary { score: None, predicted: false } => Self::Negative,
            Guess::Binary { score: None, predicted: true } => Self::Positive,
            Guess::Binary { score: Some(score), predicted: false } => Self::ScoredNegative(score),
            Guess::Binary { score: Some(score), predicted: true } => Self::ScoredPositive(score),
            Guess::Class(class) => Self::Class(class),
            Guess::Number(number) => Self::Number(number),
        }
    }

    fn guess(&self) -> Guess {
        match *self {
            Self::Negative => Guess::Binary { score: None, predicted: false },
            Self::Positive => Guess::Binary { score: None, predicted: true },
            Self::ScoredNegative(score) => Guess::Binary { score: Some(score), predicted: false },
            Self::ScoredPositive(score) => Guess::Binary { score: Some(score), predicted: true },
            Self::Class(class) => Guess::Class(class),
            Self::Number(number) => Guess::Number(number),
        }
    }
}

impl StoredLabel {
    fn of(label: &Label, since: Timestamp) -> Self {
        let (delay, revision) = (label.time.as_millis() - since.as_millis(), label.revision);
        match label.truth {
            None => Self::TakenAway(delay, revision),
            Some(Truth::Positive(false)) => Self::Negative(delay, revision),
            Some(Truth::Positive(true)) => Self::Positive(delay, revision),
            Some(Truth::Class(class)) => Self::Class(delay, revision, class),
            Some(Truth::Number(number)) => Self::Number(delay, revision, number),
        }
    }

    fn label(&self, since: Timestamp) -> Option<Label> {
        let (delay, revision, truth) = match *self {
            Self::Absent => return None,
            Self::TakenAway(delay, revision) => (delay, revision, None),
            Self::Negative(delay, revision) => (delay, revision, Some(Truth::Positive(false))),
            Self::Positive(delay, revision) => (delay, revision, Some(Truth::Positive(true))),
            Self::Class(delay, revision, class) => (delay, revision, Some(Truth::Class(class))),
            Self::Number(delay, revision, number) => (delay, revision, Some(Truth::Number(number))),
        };
        Some(Label { time: since.plus_millis(delay), revision, truth })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Timestamp = Timestamp::from_millis(1_764_000_000_123);
    const DAY: i64 = 86_400_000;

    fn label(truth: Option<Truth>) -> Label {
        Label { time: TIME.plus_millis(30 * DAY), revision: 3, truth }
    }

    fn guesses() -> [Guess; 6] {
        let binary = |score, predicted| Guess::Binary { score, predicted };
        [
            binary(None, false),
            binary(None, true),
            binary(Some(0.25), false),
            binary(Some(0.75), true),
            Guess::Class(63),
            Guess::Number(-1e150),
        ]
    }

    fn truths() -> [Option<Truth>; 5] {
        [
            None,
            Some(Truth::Positive(false)),
            Some(Truth::Positive(true)),
            Some(Truth::Class(63)),
            Some(Truth::Number(2.5)),
        ]
    }

    #[test]
    fn what_is_written_is_read_again() {
        for guess in guesses() {
            let predicted = Predicted { time: TIME, cohort: 70_000, guess };
            let labels = truths().map(|it| Some(label(it)));
            for label in labels.into_iter().chain([None]) {
                let entry = Entry::Predicted(predicted, label);
                assert_eq!(read(&write(&entry)), Some(entry));
            }
        }
        let waiting = Entry::Waiting(truths().map(label).to_vec());
        assert_eq!(read(&write(&waiting)), Some(waiting));
        assert_eq!(read(&[9]), None);
    }

    /// As long as [decision 0018](../../docs/decisions) says, with the 16 bytes of the identity.
    #[test]
    fn entries_take_at_most_48_bytes() {
        let bytes = |guess: Guess, truth: Option<Truth>| {
            let predicted = Predicted { time: TIME, cohort: 127, guess };
            let label = truth.map(|it| label(Some(it)));
            size_of::<u128>() + write(&Entry::Predicted(predicted, label)).len()
        };
        let binary = Guess::Binary { score: Some(0.123), predicted: true };
        assert_eq!(bytes(binary, None), 34);
        assert_eq!(bytes(binary, Some(Truth::Positive(true))), 40);
        assert_eq!(bytes(Guess::Class(3), Some(Truth::Class(4))), 34);
        assert_eq!(bytes(Guess::Number(0.1), None), 34);
        assert_eq!(bytes(Guess::Number(0.1), Some(Truth::Number(0.2))), 48);
    }
}
