//! How much segments differ in what a model does to them.
//!
//! Before: the confusion matrix of each segment, or any metric of it. After: whoever reports.

use super::confusion::Confusion;

/// What should be equal between segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FairnessCriterion {
    /// Share predicted positive (demographic parity; Dwork et al. 2012).
    SelectionRate,
    /// Recall (equal opportunity; Hardt, Price & Srebro 2016).
    Recall,
    /// Recall and the share of negatives predicted positive, the greater gap of the two (equalised
    /// odds; Hardt, Price & Srebro 2016).
    Odds,
    /// Precision (predictive parity; Chouldechova 2017).
    Precision,
    /// Accuracy.
    Accuracy,
}

/// The greatest difference between two segments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gap {
    /// The segment with the least value; the first of equal ones.
    pub lowest: usize,
    /// The segment with the greatest value; the first of equal ones.
    pub highest: usize,
    /// Greatest less least value.
    pub difference: f64,
    /// Least as a share of the greatest value; absent when that is not above 0.
    pub ratio: Option<f64>,
}

impl Gap {
    /// Returns the gap between segments of these values. Those without one are left out; nothing
    /// when fewer than two are left.
    pub fn between(values: &[Option<f64>]) -> Option<Self> {
        let known = || values.iter().enumerate().filter_map(|(at, it)| it.map(|it| (at, it)));
        let lowest = known().reduce(|best, it| if it.1 < best.1 { it } else { best })?;
        let highest = known().reduce(|best, it| if best.1 < it.1 { it } else { best })?;
        let gap = Self {
            lowest: lowest.0,
            highest: highest.0,
            difference: highest.1 - lowest.1,
            ratio: (0.0 < highest.1).then(|| lowest.1 / highest.1),
        };
        (1 < known().count()).then_some(gap)
    }

    /// Returns the gap between segments by a criterion. Segments for which it is undefined are left
    /// out; nothing when fewer than two are left.
    pub fn by(criterion: FairnessCriterion, segments: &[Confusion]) -> Option<Self> {
        let between = |metric: &dyn Fn(&Confusion) -> Option<f64>| {
            Self::between(&segments.iter().map(metric).collect::<Vec<_>>())
        };
        match criterion {
            FairnessCriterion::SelectionRate => between(&Confusion::selection_rate),
            FairnessCriterion::Recall => between(&Confusion::recall),
            FairnessCriterion::Precision => between(&Confusion::precision),
            FairnessCriterion::Accuracy => between(&Confusion::accuracy),
            FairnessCriterion::Odds => {
                let recall = between(&Confusion::recall);
                let false_alarms = between(&|it| it.specificity().map(|rate| 1.0 - rate));
                let wider = |gap: Self, other: Self| {
                    if gap.difference < other.difference { other } else { gap }
                };
                Some(wider(recall?, false_alarms?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(counts: [f64; 4]) -> Confusion {
        let [true_positive, false_positive, false_negative, true_negative] = counts;
        Confusion { true_positive, false_positive, false_negative, true_negative }
    }

    #[test]
    fn the_gap_is_between_the_segments_furthest_apart() {
        let gap = Gap::between(&[Some(0.5), None, Some(0.2), Some(0.8), Some(0.8)]).unwrap();
        assert_eq!((gap.lowest, gap.highest), (2, 3));
        assert_eq!((gap.difference, gap.ratio), (0.8 - 0.2, Some(0.2 / 0.8)));
        assert_eq!(Gap::between(&[Some(0.5), None]), None);
        assert_eq!(Gap::between(&[Some(0.0), Some(0.0)]).unwrap().ratio, None);
    }

    #[test]
    fn each_criterion_looks_at_its_own_rate() {
        // Recall 0.8 and 0.6; false alarms 0.1 and 0.4; selected 0.45 and 0.5.
        let segments = [segment([40.0, 5.0, 10.0, 45.0]), segment([30.0, 20.0, 20.0, 30.0])];
        let difference = |criterion| Gap::by(criterion, &segments).unwrap().difference;
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-15);
        close(difference(FairnessCriterion::SelectionRate), 0.05);
        close(difference(FairnessCriterion::Recall), 0.2);
        close(difference(FairnessCriterion::Odds), 0.3);
        close(difference(FairnessCriterion::Precision), 40.0 / 45.0 - 0.6);
        close(difference(FairnessCriterion::Accuracy), 0.25);
        let without_negatives = [segments[0], segment([1.0, 0.0, 1.0, 0.0])];
        assert_eq!(Gap::by(FairnessCriterion::Odds, &without_negatives), None);
    }
}
