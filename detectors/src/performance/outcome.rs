//! Why an outcome is not counted, or not taken away again.
//!
//! Before: a prediction that was joined with its label. After: [`super::binary`] and its
//! neighbours, which count it. Owns the checks of a single number.

use thiserror::Error;

use super::ranking::RELEVANCE_MAX;

/// Why counts of outcomes were left as they were.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum OutcomeError {
    /// A number is NaN or infinite, or its square is.
    #[error("{what} {value} cannot be counted: it, or its power, is not a finite number")]
    NotFinite {
        /// The number's role.
        what: &'static str,
        /// The number.
        value: f64,
    },
    /// A probability is outside 0 to 1.
    #[error("{what} {value} is not between 0 and 1: give a probability, or leave it out")]
    NotProbability {
        /// The number's role.
        what: &'static str,
        /// The number.
        value: f64,
    },
    /// A relevance is negative, too great, no number, or no whole one where the gain needs it.
    #[error(
        "relevance {value} is not between 0 and {RELEVANCE_MAX}, and whole if the gain is \
         exponential: give grades from 0 on"
    )]
    NotRelevance {
        /// The relevance.
        value: f64,
    },
    /// A list has another length than the layout says.
    #[error("{found} {what}, but the layout of these counts has {expected}")]
    Length {
        /// What is listed.
        what: &'static str,
        /// How many were given.
        found: usize,
        /// How many belong there.
        expected: usize,
    },
    /// The other counts were made with another layout.
    #[error("these counts differ in their {what}: they belong to different references")]
    LayoutsDiffer {
        /// The part that differs.
        what: &'static str,
    },
    /// What is to be taken away was not added.
    #[error("{what} to be subtracted are not among those counted: they were never added")]
    NotAdded {
        /// The part that would fall below nothing.
        what: &'static str,
    },
}

/// Returns a probability, or why it is none.
pub(super) fn probability(what: &'static str, value: f64) -> Result<f64, OutcomeError> {
    // −0.0 and 0.0 are one score.
    if (0.0..=1.0).contains(&value) {
        return Ok(value + 0.0);
    }
    Err(OutcomeError::NotProbability { what, value })
}

/// Returns a number whose fourth power can be summed, or why it cannot.
pub(super) fn countable(what: &'static str, value: f64) -> Result<f64, OutcomeError> {
    if value.is_finite() && (value * value * value * value).is_finite() {
        return Ok(value + 0.0);
    }
    Err(OutcomeError::NotFinite { what, value })
}

/// Returns an error unless the lengths are equal.
pub(super) fn same_layout(
    what: &'static str,
    ours: usize,
    theirs: usize,
) -> Result<(), OutcomeError> {
    if ours == theirs { Ok(()) } else { Err(OutcomeError::LayoutsDiffer { what }) }
}
