//! Detectors as their users see them: from columns to verdicts.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod calibration;
mod estimates;
mod feature;
mod inference;
mod intervals;
mod oracle;
mod outcome_laws;
mod outcomes;
mod performance;
mod properties;
