//! How good a model is: outcomes counted, metrics of the counts, and estimates without labels.
//!
//! Before: predictions joined with their labels, or without. After: whoever reports and alarms.
//! All counts here add, merge and subtract exactly: a label that was revised takes its outcome away
//! again and leaves no trace, and neither order nor splits of rows can be seen.
//!
//! - `exact.rs`, `logarithm.rs`, `terms.rs`: sums without rounding, and their terms.
//! - `outcome.rs`, `scores.rs`: checks of a row, and the frozen cells of scores.
//! - `binary.rs`, `multiclass.rs`, `regression.rs`, `ranking.rs`: counts by kind of model.
//! - `confusion.rs`, `classes.rs`, `curve.rs`, `reliability.rs`: metrics of counts.
//! - `fairness.rs`: metrics of segments side by side.
//! - `interval.rs`, `bootstrap.rs`, `sequence.rs`: how sure they are; drawn by `random.rs`.
//! - `calibration.rs`, `estimate.rs`, `class_estimate.rs`: what scores mean, and what is
//!   expected of them without labels; `powered.rs`: with the labels that have come.
//! - `decomposition.rs`: which segments a change comes from.
//!
//! A metric that is undefined is `None`, never 0 or NaN. Counts that were read back are merged into
//! empty ones, which refuse those of another layout.
//!
//! ```
//! use driftd_detectors::performance::{
//!     BinaryCounts, BinaryEstimate, BinaryOutcome, Calibration, ScoreCounts, ScoreGrid, wilson,
//! };
//!
//! // A reference of 1,000 predictions whose labels are known: positive as often as scores say.
//! let score = |i: u32| f64::from(i % 100) / 100.0;
//! let outcome = |i: u32| BinaryOutcome {
//!     score: Some(score(i)),
//!     predicted: 0.5 <= score(i),
//!     label: i * 7 % 100 < i % 100,
//! };
//! let scores: Vec<f64> = (0..100).map(score).collect();
//! let grid = ScoreGrid::from_sorted(&scores, 1_024)?;
//! let mut reference = BinaryCounts::empty(&grid);
//! for i in 0..1_000 {
//!     reference.add(&grid, &outcome(i))?;
//! }
//! let confusion = reference.confusion();
//! let accuracy = confusion.accuracy().expect("there are rows");
//! let right = confusion.true_positive + confusion.true_negative;
//! let interval = wilson(right, confusion.rows(), 0.95).expect("there are rows");
//! assert!(interval.lower < accuracy && accuracy < interval.upper);
//!
//! // A label was revised: its outcome is taken away, and the new one added.
//! let revised = BinaryOutcome { label: !outcome(3).label, ..outcome(3) };
//! reference.subtract(&grid, &outcome(3))?;
//! reference.add(&grid, &revised)?;
//!
//! // A window without labels: what is its accuracy likely to be?
//! let calibration = Calibration::gated(&grid, &reference, 1);
//! let mut window = ScoreCounts::empty(&grid);
//! for i in 40..60 {
//!     window.add(&grid, score(i), 0.5 <= score(i))?;
//! }
//! let estimate = BinaryEstimate::of(&window, &calibration)?;
//! assert!(estimate.confusion.accuracy() < Some(accuracy), "scores near the threshold");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod binary;
mod bootstrap;
mod calibration;
mod class_estimate;
mod classes;
mod confusion;
mod curve;
mod decomposition;
mod estimate;
mod exact;
mod fairness;
mod interval;
mod logarithm;
mod multiclass;
mod outcome;
mod powered;
mod random;
mod ranking;
mod regression;
mod reliability;
mod scores;
mod sequence;
mod terms;

pub use binary::{BinaryCounts, BinaryOutcome};
pub use bootstrap::{BOOTSTRAP_DRAWS, BinaryDraw, Bootstrap};
pub use calibration::Calibration;
pub use class_estimate::ClassEstimate;
pub use classes::{Average, ClassMatrix, Disagreement};
pub use confusion::{Confusion, ValueMatrix};
pub use curve::{Bracket, ScoreCurve, ThresholdPoint};
pub use decomposition::{Contribution, Decomposition, SegmentMean};
pub use estimate::{BinaryEstimate, SamplingError, ScoreCounts};
pub use exact::{EXACT_SUM_WORDS, ExactSum, NotFinite};
pub use fairness::{FairnessCriterion, Gap};
pub use interval::{Interval, Sample, roc_auc_interval, roc_auc_standard_error, wilson};
pub use multiclass::{
    CLASS_EDGES_MAX, CLASSES_MAX, ClassCounts, ClassLayout, ClassLayoutError, ClassOutcome, TOP_MAX,
};
pub use outcome::OutcomeError;
pub use powered::{GuessedSample, PoweredMean};
pub use ranking::{
    CUTOFFS_MAX, Gain, RANKED_ITEMS_MAX, RELEVANCE_MAX, RankingCounts, RankingLayout,
    RankingLayoutError, RankingMetric, rank,
};
pub use regression::{
    QUANTILES_MAX, RegressionCounts, RegressionLayout, RegressionLayoutError, RegressionOutcome,
};
pub use reliability::{RELIABILITY_BINS, ReliabilityBin, ReliabilityCounts, ReliabilityPoint};
pub use scores::ScoreGrid;
pub use sequence::{bounded_mean_sequence, difference, mean_sequence};
pub use terms::{TermSum, TermSums};
