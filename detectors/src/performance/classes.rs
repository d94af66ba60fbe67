//! Metrics of a confusion matrix of several classes.
//!
//! Before: [`super::multiclass`] counts one, [`super::estimate`] expects one. After: whoever
//! reports. A metric of a class that is undefined is `None`; scikit-learn says 0 there, and takes
//! that 0 into its means.

use super::confusion::{Confusion, ratio};

/// How metrics of classes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// The mean over classes that occur.
    Macro,
    /// The metric of all classes' decisions together.
    Micro,
    /// The mean over classes, weighted by the rows that have them as label.
    Weighted,
}

/// How much a wrong class counts against the agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disagreement {
    /// Every wrong class the same.
    Nominal,
    /// By the distance of ordered classes.
    Linear,
    /// By its square.
    Quadratic,
}

/// A confusion matrix of several classes: rows, counted or expected.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassMatrix {
    classes: usize,
    /// By label, then prediction.
    rows: Vec<f64>,
}

impl ClassMatrix {
    /// Takes the rows of a square matrix, by label, then prediction.
    pub(super) fn new(rows: Vec<f64>) -> Self {
        let classes = rows.len().isqrt();
        assert_eq!(classes * classes, rows.len(), "the matrix is square");
        Self { classes, rows }
    }

    /// Returns the number of classes, that of unnamed ones included.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the rows of a label and a prediction; 0 for a class that there is not.
    pub fn get(&self, label: usize, predicted: usize) -> f64 {
        let is_known = label < self.classes && predicted < self.classes;
        if is_known { self.rows[label * self.classes + predicted] } else { 0.0 }
    }

    /// Returns all rows.
    pub fn rows(&self) -> f64 {
        self.rows.iter().sum()
    }

    /// Returns the matrix of one class against all others.
    pub fn class(&self, class: usize) -> Confusion {
        let true_positive = self.get(class, class);
        let false_negative = self.labelled(class) - true_positive;
        let false_positive = self.predicted(class) - true_positive;
        let true_negative = self.rows() - true_positive - false_negative - false_positive;
        Confusion { true_positive, false_positive, false_negative, true_negative }
    }

    /// Returns the share of right predictions. Unnamed classes are one class here.
    pub fn accuracy(&self) -> Option<f64> {
        ratio(self.right(), self.rows())
    }

    /// Returns the mean recall of the classes that occur as labels.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        mean((0..self.classes).filter_map(|class| self.class(class).recall()))
    }

    /// Returns the correlation of label and prediction (Gorodkin 2004). `None` when one of
    /// them does not vary.
    pub fn matthews(&self) -> Option<f64> {
        let rows = self.rows();
        let products = |of: &dyn Fn(usize) -> f64, by: &dyn Fn(usize) -> f64| -> f64 {
            (0..self.classes).map(|class| of(class) * by(class)).sum()
        };
        let (labels, predictions) = (|it| self.labelled(it), |it| self.predicted(it));
        let covariance = self.right() * rows - products(&labels, &predictions);
        let of_labels = rows * rows - products(&labels, &labels);
        let of_predictions = rows * rows - products(&predictions, &predictions);
        ratio(covariance, of_labels.sqrt() * of_predictions.sqrt())
    }

    /// Returns Cohen's κ (Cohen 1960; weighted, 1968): the agreement beyond that of chance. `None`
    /// when label and prediction are the same class throughout.
    pub fn kappa(&self, disagreement: Disagreement) -> Option<f64> {
        let weight = |label: usize, predicted: usize| {
            let distance = label.abs_diff(predicted) as f64;
            match disagreement {
                Disagreement::Nominal => distance.min(1.0),
                Disagreement::Linear => distance,
                Disagreement::Quadratic => distance * distance,
            }
        };
        let (mut found, mut by_chance) = (0.0, 0.0);
        for label in 0..self.classes {
            for predicted in 0..self.classes {
                let weight = weight(label, predicted);
                found += weight * self.get(label, predicted);
                by_chance += weight * (self.labelled(label) * self.predicted(predicted));
            }
        }
        Some(1.0 - ratio(found * self.rows(), by_chance)?)
    }

    /// Returns a metric over all classes.
    ///
    /// `Macro` takes the classes that occur as label or prediction, `Weighted` those that occur as
    /// label. `None` when the metric is undefined for one of them, where scikit-learn takes 0.
    pub fn average(
        &self,
        average: Average,
        metric: impl Fn(&Confusion) -> Option<f64>,
    ) -> Option<f64> {
        let classes = (0..self.classes).map(|class| self.class(class));
        match average {
            Average::Micro => {
                let pooled = classes.fold(Confusion::default(), |sum, it| Confusion {
                    true_positive: sum.true_positive + it.true_positive,
                    false_positive: sum.false_positive + it.false_positive,
                    false_negative: sum.false_negative + it.false_negative,
                    true_negative: sum.true_negative + it.true_negative,
                });
                metric(&pooled)
            }
            Average::Macro => {
                let occur = classes.filter(|it| 0.0 < it.positive() + it.predicted_positive());
                let values: Option<Vec<f64>> = occur.map(|it| metric(&it)).collect();
                mean(values?.into_iter())
            }
            Average::Weighted => {
                let mut sum = 0.0;
                for it in classes.filter(|it| 0.0 < it.positive()) {
                    sum += it.positive() * metric(&it)?;
                }
                ratio(sum, self.rows())
            }
        }
    }

    fn labelled(&self, class: usize) -> f64 {
        (0..self.classes).map(|predicted| self.get(class, predicted)).sum()
    }

    fn predicted(&self, class: usize) -> f64 {
        (0..self.classes).map(|label| self.get(label, class)).sum()
    }

    fn right(&self) -> f64 {
        (0..self.classes).map(|class| self.get(class, class)).sum()
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    ratio(sum, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_of_ordered_classes_counts_by_distance() {
        // By label: 8 1 1, 2 6 2, 0 2 8; 10 rows a label; predicted 10, 9, 11.
        let rows = [8.0, 1.0, 1.0, 2.0, 6.0, 2.0, 0.0, 2.0, 8.0];
        let matrix = ClassMatrix::new(rows.to_vec());
        let close = |found: Option<f64>, expected: f64| {
            assert!((found.unwrap() - expected).abs() < 1e-15, "{found:?} is not {expected}");
        };
        // 8 rows are wrong, by 9 steps, of which the squares add up to 11. A third of the predicted
        // rows of each label by chance: 20 wrong, by (31 + 21 + 29)/3 steps, (53 + 21 + 49)/3
        // squared.
        close(matrix.kappa(Disagreement::Nominal), 1.0 - 8.0 / 20.0);
        close(matrix.kappa(Disagreement::Linear), 1.0 - 9.0 / 27.0);
        close(matrix.kappa(Disagreement::Quadratic), 1.0 - 11.0 / 41.0);
    }

    #[test]
    fn classes_that_do_not_occur_take_no_part_in_means() {
        let rows = [4.0, 0.0, 0.0, 1.0, 3.0, 0.0, 0.0, 0.0, 0.0];
        let matrix = ClassMatrix::new(rows.to_vec());
        let recall = matrix.average(Average::Macro, Confusion::recall).unwrap();
        assert!((recall - 0.875).abs() < 1e-15);
        assert_eq!(matrix.balanced_accuracy(), Some(recall));
        assert_eq!(ClassMatrix::new(vec![0.0; 9]).balanced_accuracy(), None);
        // One that is predicted and never the label takes part: nothing of it is right, and how
        // many of its rows were found is undefined.
        let rows = [4.0, 0.0, 1.0, 1.0, 3.0, 0.0, 0.0, 0.0, 0.0];
        let matrix = ClassMatrix::new(rows.to_vec());
        let precision = matrix.average(Average::Macro, Confusion::precision).unwrap();
        assert!((precision - 0.6).abs() < 1e-15, "{precision}");
        assert_eq!(matrix.average(Average::Macro, Confusion::recall), None);
        assert_eq!((matrix.get(3, 0), matrix.get(0, 3)), (0.0, 0.0));
    }
}
