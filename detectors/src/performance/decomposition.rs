//! Where a change of a metric comes from: what segments lost, and what their mix did.
//!
//! Before: a mean metric of each segment in the reference and in a window. After: whoever reports.

use super::confusion::ratio;
use super::exact::ExactSum;

/// A mean metric of one segment: accuracy has a row as its weight, precision a row predicted
/// positive, and so on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentMean {
    /// Rows that the metric is a mean over; not negative.
    pub rows: f64,
    /// Sum of its terms over them.
    pub sum: f64,
}

/// What one segment contributes to the change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contribution {
    /// The segment's place in what was given.
    pub segment: usize,
    /// By what its own metric changed, at its mean share of rows.
    pub within: f64,
    /// By its share of rows, at how far its mean metric is from that of all.
    pub mix: f64,
}

/// A change of a metric over segments.
#[derive(Clone, Debug, PartialEq)]
pub struct Decomposition {
    /// Change of the metric from reference to window: the exact sum of all contributions, rounded
    /// once.
    pub change: f64,
    /// Sum of what changed within segments.
    pub within: f64,
    /// Sum of what the mix of segments changed.
    pub mix: f64,
    /// One a segment, the greatest in absolute value first.
    pub contributions: Vec<Contribution>,
}

impl Contribution {
    /// Returns both parts together.
    pub fn total(&self) -> f64 {
        self.within + self.mix
    }
}

impl Decomposition {
    /// Decomposes the change of `Σ share · metric` over segments, each given in the reference and
    /// in the window.
    ///
    /// With shares `w` and metrics `m`, before and after, and a bar for the mean of the two:
    /// `Δ(Σ w m) = Σ w̄ Δm + Σ Δw (m̄ − M̄)`. The first part is within segments, the second the mix
    /// (Kitagawa 1955, J. Amer. Stat. Assoc. 50). Taking `M̄`, the metric of all, from the second
    /// changes no sum, for shares add up to 1; it makes a segment's part 0 when it is like all. A
    /// segment that is on one side only has no change within: all of it is mix.
    ///
    /// Nothing when the reference or the window has no rows.
    pub fn of(segments: &[[SegmentMean; 2]]) -> Option<Self> {
        let [rows_before, rows_after] = total(segments, |it| it.rows);
        let [sum_before, sum_after] = total(segments, |it| it.sum);
        let overall = 0.5 * (ratio(sum_before, rows_before)? + ratio(sum_after, rows_after)?);
        let mut contributions: Vec<Contribution> = segments
            .iter()
            .enumerate()
            .map(|(segment, [before, after])| {
                let metrics = [before, after].map(|it| ratio(it.sum, it.rows));
                let [old, new] = match metrics {
                    [Some(old), Some(new)] => [old, new],
                    [Some(only), None] | [None, Some(only)] => [only; 2],
                    [None, None] => [overall; 2],
                };
                let shares = [before.rows / rows_before, after.rows / rows_after];
                let within = 0.5 * (shares[0] + shares[1]) * (new - old);
                let mix = (shares[1] - shares[0]) * (0.5 * (old + new) - overall);
                Contribution { segment, within, mix }
            })
            .collect();
        contributions.sort_by(|a, b| b.total().abs().total_cmp(&a.total().abs()));
        let within = exact_sum(contributions.iter().map(|it| it.within));
        let mix = exact_sum(contributions.iter().map(|it| it.mix));
        let parts = contributions.iter().flat_map(|it| [it.within, it.mix]);
        Some(Self { change: exact_sum(parts), within, mix, contributions })
    }
}

fn total(segments: &[[SegmentMean; 2]], of: impl Fn(&SegmentMean) -> f64) -> [f64; 2] {
    [0, 1].map(|side| exact_sum(segments.iter().map(|segment| of(&segment[side]))))
}

/// Returns the sum rounded once; not a number when a term is not finite.
fn exact_sum(terms: impl Iterator<Item = f64>) -> f64 {
    let mut sum = ExactSum::ZERO;
    for term in terms {
        if sum.add(term).is_err() {
            return f64::NAN;
        }
    }
    sum.value()
}
