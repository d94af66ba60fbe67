//! How the performance of a model is followed: what it predicts, and where its labels are.
//!
//! Made by [`super::validate`]. After: [`crate::outcomes`] reads predictions and labels by it,
//! [`crate::labels`] joins them.

use std::sync::Arc;

use driftd_catalog::{Timestamp, WindowSpan};

use crate::window::Borders;

/// How the performance of a model is followed.
#[derive(Clone, Debug, PartialEq)]
pub struct PerformanceConfig {
    /// What it predicts, and in which columns.
    pub task: Task,
    /// Where its labels are.
    pub labels: LabelsConfig,
    /// Length of the windows in which outcomes are counted.
    pub window_millis: i64,
    /// Shift of their borders.
    pub offset_millis: i64,
    /// How long after its prediction a label counts.
    pub horizon_millis: i64,
    /// Share of predictions that are followed.
    pub sample: Sample,
}

/// What a model predicts. Columns are indexes into [`super::ModelConfig::features`].
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// One of two classes.
    Binary {
        /// Column of the probability of the positive class.
        score: Option<usize>,
        /// Column of the predicted class; by the score, where there is none.
        predicted: Option<usize>,
        /// Least score by which the positive class is predicted.
        threshold: f64,
        /// Texts of both.
        classes: BinaryClasses,
    },
    /// One of several classes.
    Multiclass {
        /// Column of the predicted class.
        predicted: usize,
        /// Their texts.
        classes: Vec<Arc<str>>,
    },
    /// A number.
    Regression {
        /// Its column.
        predicted: usize,
    },
}

/// Texts of the two classes, those of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryClasses {
    /// Of the positive one.
    pub positive: Vec<Arc<str>>,
    /// Of the negative one.
    pub negative: Vec<Arc<str>>,
}

/// Where labels are. Their columns are the value, then the others that there are, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelsConfig {
    /// Index into [`super::Config::sources`].
    pub source: usize,
    /// Whether they say which row of several they are for.
    pub has_row: bool,
    /// Whether they have a number of revision.
    pub has_revision: bool,
    /// Whether they say that they are taken away.
    pub has_deleted: bool,
    /// Which of several counts.
    pub keep: Keep,
}

/// Which of several labels of one prediction counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The one with the newest time.
    Last,
    /// The one with the oldest time.
    First,
}

/// A share of all identities: those whose hash is below a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The share, above 0, at most 1.
    pub share: f64,
    /// Hashes up to it are in.
    up_to: u64,
}

impl Sample {
    /// Takes a share above 0, at most 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it saturates at both ends: a share of 1 is every hash"
    )]
    pub(crate) fn of(share: f64) -> Self {
        Self { share, up_to: (share * u64::MAX as f64) as u64 }
    }

    /// Returns whether an identity with this hash is followed.
    pub(crate) fn has(self, hash: u64) -> bool {
        hash <= self.up_to
    }
}

impl PerformanceConfig {
    /// Returns the window of a prediction.
    pub(crate) fn window_of(&self, time: Timestamp) -> WindowSpan {
        let borders = Borders::new(self.window_millis, self.offset_millis);
        WindowSpan::starting_at(borders.at_or_before(time), self.window_millis)
    }
}

/// Returns whether two texts are one class: equal, or the same number however it is written.
pub(crate) fn is_same_class(one: &str, other: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    one == other || number(one).is_some_and(|it| number(other) == Some(it))
}
