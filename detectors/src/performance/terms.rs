//! Sums of the terms of a row: means that add and subtract exactly, and how sure they are.
//!
//! Before: the counts of this folder make terms of an outcome; one that is undefined for the row is
//! absent and counts no row. After: metrics, and [`super::interval`].

use super::exact::ExactSum;
use super::interval::Sample;
use super::outcome::{OutcomeError, same_layout};

const NOT_ADDED: OutcomeError = OutcomeError::NotAdded { what: "terms" };

/// Exact sums of one term over the rows that have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TermSum {
    /// Rows that have the term.
    pub rows: u64,
    /// Sum of the term.
    pub sum: ExactSum,
    /// Sum of its square, which is rounded to a double before.
    pub squares: ExactSum,
}

impl TermSum {
    /// Returns the mean. Nothing without rows.
    pub fn mean(&self) -> Option<f64> {
        (0 < self.rows).then(|| self.sum.value() / self.rows as f64)
    }

    /// Returns what intervals need.
    pub fn sample(&self) -> Sample {
        Sample { rows: self.rows as f64, sum: self.sum.value(), squares: self.squares.value() }
    }

    /// Adds a term, whose square was found finite.
    fn add(&mut self, term: f64) {
        self.rows += 1;
        let added = self.sum.add(term).and_then(|()| self.squares.add(term * term));
        added.expect("the term was checked");
    }

    /// Takes a term away that was added.
    fn subtract(&mut self, term: f64) {
        self.rows -= 1;
        let taken = self.sum.subtract(term).and_then(|()| self.squares.subtract(term * term));
        taken.expect("the term was checked");
    }

    /// Returns whether a term can have been added: the last one leaves nothing.
    fn may_hold(&self, term: f64) -> bool {
        match self.rows {
            0 => false,
            1 => {
                let mut left = *self;
                left.subtract(term);
                left == Self::default()
            }
            _ => true,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
    }

    /// Returns what is left without `other`, or nothing if that was never added.
    fn without(&self, other: &Self) -> Option<Self> {
        let mut left = *self;
        left.rows = left.rows.checked_sub(other.rows)?;
        left.sum.unmerge(&other.sum);
        left.squares.unmerge(&other.squares);
        (0 < left.rows || left == Self::default()).then_some(left)
    }
}

/// Sums of several terms; which is which says the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermSums {
    /// One sum a term.
    pub terms: Vec<TermSum>,
}

impl TermSums {
    /// Returns sums of nothing.
    pub(super) fn empty(terms: usize) -> Self {
        Self { terms: vec![TermSum::default(); terms] }
    }

    /// Returns the sum of one term.
    ///
    /// # Panics
    /// When there is no such term.
    pub(super) fn get(&self, term: usize) -> &TermSum {
        &self.terms[term]
    }

    /// Adds terms that [`check`] found good, one a sum.
    pub(super) fn add(&mut self, terms: &[Option<f64>]) {
        for (sum, term) in self.terms.iter_mut().zip(terms) {
            if let Some(term) = *term {
                sum.add(term);
            }
        }
    }

    /// Returns an error unless these terms, which [`check`] found good, can have been added.
    pub(super) fn check_added(&self, terms: &[Option<f64>]) -> Result<(), OutcomeError> {
        let mut pairs = self.terms.iter().zip(terms);
        let were_added = pairs.all(|(sum, term)| term.is_none_or(|term| sum.may_hold(term)));
        if were_added { Ok(()) } else { Err(NOT_ADDED) }
    }

    /// Takes terms away again that [`TermSums::check_added`] found.
    pub(super) fn subtract(&mut self, terms: &[Option<f64>]) {
        for (sum, term) in self.terms.iter_mut().zip(terms) {
            if let Some(term) = *term {
                sum.subtract(term);
            }
        }
    }

    /// Adds other sums of the same terms.
    pub(super) fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.terms.iter_mut().zip(&other.terms) {
            ours.merge(theirs);
        }
    }

    /// Takes other sums away again. On an error nothing was taken.
    pub(super) fn unmerge(&mut self, other: &Self) -> Result<(), OutcomeError> {
        let pairs = self.terms.iter().zip(&other.terms);
        let left: Option<Vec<TermSum>> = pairs.map(|(ours, its)| ours.without(its)).collect();
        self.terms = left.ok_or(NOT_ADDED)?;
        Ok(())
    }

    /// Returns an error unless the other sums are of as many terms.
    pub(super) fn check_layout(&self, other: &Self) -> Result<(), OutcomeError> {
        same_layout("terms", self.terms.len(), other.terms.len())
    }
}

/// Returns an error unless each term there is, and its square, is finite.
pub(super) fn check(terms: &[Option<f64>]) -> Result<(), OutcomeError> {
    match terms.iter().flatten().find(|term| !(*term * *term).is_finite()) {
        Some(&value) => Err(OutcomeError::NotFinite { what: "term", value }),
        None => Ok(()),
    }
}
