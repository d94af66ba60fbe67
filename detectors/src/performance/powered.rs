//! An estimate without labels, put right by the labels that have come: prediction-powered
//! inference (Angelopoulos, Bates, Fannjiang, Jordan & Zrnic 2023) with the weight of PPI++
//! (Angelopoulos, Duchi & Zrnic 2023).
//!
//! Before: rows whose label has come, rows whose label has not, and a guess for each. After:
//! whoever reports. However bad the guesses are the mean is right; good ones make its interval
//! narrow.
//!
//! It holds when which labels come is chance. Labels that come sooner for one outcome than for the
//! other bend it as they bend every number made of labels.

use super::binary::BinaryCounts;
use super::calibration::Calibration;
use super::confusion::ratio;
use super::estimate::ScoreCounts;
use super::interval::{Interval, Sample, two_sided};
use super::outcome::{OutcomeError, same_layout};

/// Sums over rows whose term is known, and guessed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GuessedSample {
    /// Rows.
    pub rows: f64,
    /// Sum of the terms.
    pub sum: f64,
    /// Sum of their squares.
    pub squares: f64,
    /// Sum of the guesses.
    pub guessed: f64,
    /// Sum of their squares.
    pub guessed_squares: f64,
    /// Sum of the products of term and guess.
    pub products: f64,
}

/// A mean made of labels and guesses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoweredMean {
    /// The mean.
    pub value: f64,
    /// Its interval, asymptotic.
    pub interval: Interval,
    /// How much the guesses were trusted: 0 not at all, 1 as if they were labels.
    pub weight: f64,
}

impl PoweredMean {
    /// Combines terms that are known with guesses for rows where they are not. Nothing with fewer
    /// than two rows of either.
    pub fn of(known: &GuessedSample, unknown: &Sample, confidence: f64) -> Option<Self> {
        let (n, m) = (known.rows, unknown.rows);
        if n < 2.0 || m < 2.0 {
            return None;
        }
        let all = Sample {
            rows: n + m,
            sum: known.guessed + unknown.sum,
            squares: known.guessed_squares + unknown.squares,
        };
        let product_mean = known.sum * known.guessed / n;
        let covariance = (known.products - product_mean) / (n - 1.0);
        // The weight that makes the variance least (PPI++), kept to what a guess can be.
        let weight = ratio(covariance, (1.0 + n / m) * all.variance()?).unwrap_or(0.0);
        let weight = weight.clamp(0.0, 1.0);
        let rectified = Sample {
            rows: n,
            sum: known.sum - weight * known.guessed,
            squares: known.squares - 2.0 * weight * known.products
                + weight * weight * known.guessed_squares,
        };
        let value = rectified.mean()? + weight * unknown.mean()?;
        let variance = rectified.variance()? / n + weight * weight * unknown.variance()? / m;
        let interval = Interval::around(value, variance.sqrt(), two_sided(confidence));
        Some(Self { value, interval, weight })
    }

    /// Combines the accuracy of labelled outcomes with that expected of scores without labels. Both
    /// were counted in the cells that the calibration was fitted to. Nothing as in
    /// [`PoweredMean::of`].
    pub fn accuracy(
        labelled: &BinaryCounts,
        unlabelled: &ScoreCounts,
        calibration: &Calibration,
        confidence: f64,
    ) -> Result<Option<Self>, OutcomeError> {
        let probabilities = calibration.probabilities();
        let outcomes = labelled.by_cell();
        same_layout("score cells", outcomes.len(), probabilities.len())?;
        let scores = unlabelled.by_cell();
        same_layout("score cells", scores.len(), probabilities.len())?;
        let mut known = GuessedSample::default();
        for (&[nn, np, pn, pp], &p) in outcomes.iter().zip(probabilities) {
            // Right and wrong of those predicted negative, then positive.
            for ([right, wrong], guess) in [([nn, np], 1.0 - p), ([pp, pn], p)] {
                known.add(right, 1.0, guess);
                known.add(wrong, 0.0, guess);
            }
        }
        let mut unknown = Sample { rows: 0.0, sum: 0.0, squares: 0.0 };
        for (&[negative, positive], &p) in scores.iter().zip(probabilities) {
            for (rows, guess) in [(negative, 1.0 - p), (positive, p)] {
                unknown.rows += rows;
                unknown.sum += rows * guess;
                unknown.squares += rows * guess * guess;
            }
        }
        let powered = Self::of(&known, &unknown, confidence);
        Ok(powered.map(|it| Self { interval: it.interval.within(0.0, 1.0), ..it }))
    }
}

impl GuessedSample {
    /// Adds rows of one term and one guess.
    pub fn add(&mut self, rows: f64, term: f64, guess: f64) {
        self.rows += rows;
        self.sum += rows * term;
        self.squares += rows * term * term;
        self.guessed += rows * guess;
        self.guessed_squares += rows * guess * guess;
        self.products += rows * term * guess;
    }
}
