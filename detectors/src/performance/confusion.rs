//! Metrics of a binary confusion matrix.
//!
//! Before: [`super::binary`] counts one, [`super::estimate`] expects one. After: whoever reports.
//! A metric whose denominator is 0 is undefined and `None`; scikit-learn says 0 there.

/// A binary confusion matrix: rows, counted or expected.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Confusion {
    /// Positives predicted positive.
    pub true_positive: f64,
    /// Negatives predicted positive.
    pub false_positive: f64,
    /// Positives predicted negative.
    pub false_negative: f64,
    /// Negatives predicted negative.
    pub true_negative: f64,
}

/// What each kind of outcome is worth, in any unit of money or time; costs are negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueMatrix {
    /// Of a positive predicted positive.
    pub true_positive: f64,
    /// Of a negative predicted positive.
    pub false_positive: f64,
    /// Of a positive predicted negative.
    pub false_negative: f64,
    /// Of a negative predicted negative.
    pub true_negative: f64,
}

impl Confusion {
    /// Returns the number of rows.
    pub fn rows(&self) -> f64 {
        self.predicted_positive() + self.predicted_negative()
    }

    /// Returns the rows whose label is positive.
    pub fn positive(&self) -> f64 {
        self.true_positive + self.false_negative
    }

    /// Returns the rows whose label is negative.
    pub fn negative(&self) -> f64 {
        self.false_positive + self.true_negative
    }

    /// Returns the rows that were predicted positive.
    pub fn predicted_positive(&self) -> f64 {
        self.true_positive + self.false_positive
    }

    /// Returns the rows that were predicted negative.
    pub fn predicted_negative(&self) -> f64 {
        self.false_negative + self.true_negative
    }

    /// Returns the share of right predictions.
    pub fn accuracy(&self) -> Option<f64> {
        ratio(self.true_positive + self.true_negative, self.rows())
    }

    /// Returns the mean of recall and specificity.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        Some(0.5 * (self.recall()? + self.specificity()?))
    }

    /// Returns the share of positives among those predicted positive.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positive, self.predicted_positive())
    }

    /// Returns the share of negatives among those predicted negative.
    pub fn negative_predictive_value(&self) -> Option<f64> {
        ratio(self.true_negative, self.predicted_negative())
    }

    /// Returns the share of positives that were predicted positive.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.true_positive, self.positive())
    }

    /// Returns the share of negatives that were predicted negative.
    pub fn specificity(&self) -> Option<f64> {
        ratio(self.true_negative, self.negative())
    }

    /// Returns the share of rows that are positive.
    pub fn prevalence(&self) -> Option<f64> {
        ratio(self.positive(), self.rows())
    }

    /// Returns the share of rows that were predicted positive.
    pub fn selection_rate(&self) -> Option<f64> {
        ratio(self.predicted_positive(), self.rows())
    }

    /// Returns Fβ, the harmonic mean of precision and recall in which recall weighs β² times as
    /// much (van Rijsbergen 1979). `None` when nothing is positive or predicted so.
    pub fn f_beta(&self, beta: f64) -> Option<f64> {
        let weight = beta * beta;
        let right = (1.0 + weight) * self.true_positive;
        ratio(right, right + weight * self.false_negative + self.false_positive)
    }

    /// Returns the share of those right among all that are positive or predicted so.
    pub fn jaccard(&self) -> Option<f64> {
        ratio(self.true_positive, self.rows() - self.true_negative)
    }

    /// Returns Matthews's correlation of label and prediction (Matthews 1975). `None` when one of
    /// them does not vary.
    pub fn matthews(&self) -> Option<f64> {
        let covariance =
            self.true_positive * self.true_negative - self.false_positive * self.false_negative;
        // By factors: their product overflows no double, but loses the small ones.
        let scale = (self.predicted_positive() * self.predicted_negative()).sqrt()
            * (self.positive() * self.negative()).sqrt();
        ratio(covariance, scale)
    }

    /// Returns Cohen's κ: the agreement beyond that of chance (Cohen 1960). `None` when label and
    /// prediction are the same class throughout.
    pub fn kappa(&self) -> Option<f64> {
        let wrong = self.false_positive + self.false_negative;
        let by_chance = self.positive() * self.predicted_negative()
            + self.negative() * self.predicted_positive();
        Some(1.0 - ratio(wrong * self.rows(), by_chance)?)
    }

    /// Returns the value of all rows together.
    pub fn value(&self, worth: &ValueMatrix) -> f64 {
        self.true_positive * worth.true_positive
            + self.false_positive * worth.false_positive
            + self.false_negative * worth.false_negative
            + self.true_negative * worth.true_negative
    }

    /// Returns the mean value of a row.
    pub fn value_per_row(&self, worth: &ValueMatrix) -> Option<f64> {
        ratio(self.value(worth), self.rows())
    }
}

/// Returns a ratio, or nothing where its denominator is 0.
pub(super) fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    (0.0 < denominator).then(|| numerator / denominator)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MATRIX: Confusion = Confusion {
        true_positive: 30.0,
        false_positive: 10.0,
        false_negative: 20.0,
        true_negative: 140.0,
    };

    #[test]
    fn outcomes_are_worth_what_the_matrix_says() {
        // A call costs 5; it keeps a customer worth 100; one who leaves uncalled is lost.
        let worth = ValueMatrix {
            true_positive: 95.0,
            false_positive: -5.0,
            false_negative: -100.0,
            true_negative: 0.0,
        };
        assert_eq!(MATRIX.value(&worth), 2_850.0 - 50.0 - 2_000.0);
        assert_eq!(MATRIX.value_per_row(&worth), Some(4.0));
        assert_eq!(Confusion::default().value_per_row(&worth), None);
    }

    #[test]
    fn shares_of_rows_are_of_all_rows() {
        assert_eq!((MATRIX.prevalence(), MATRIX.selection_rate()), (Some(0.25), Some(0.2)));
    }

    #[test]
    fn metrics_of_nothing_are_undefined() {
        let nothing = Confusion::default();
        let metrics = [
            nothing.accuracy(),
            nothing.balanced_accuracy(),
            nothing.precision(),
            nothing.recall(),
            nothing.specificity(),
            nothing.f_beta(1.0),
            nothing.jaccard(),
            nothing.matthews(),
            nothing.kappa(),
            nothing.prevalence(),
        ];
        assert_eq!(metrics, [None; 10]);
    }
}
