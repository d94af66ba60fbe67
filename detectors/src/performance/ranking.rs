//! Counts of the rankings of a recommender or a search.
//!
//! Before: the relevance of the items of one query in the order shown. After: means over queries,
//! and [`super::interval`]. Owns the terms of a query.

use thiserror::Error;

use super::outcome::{OutcomeError, same_layout};
use super::terms::{TermSum, TermSums, check};

/// Most cut-offs of one layout.
pub const CUTOFFS_MAX: usize = 8;

/// Most items of one query.
pub const RANKED_ITEMS_MAX: usize = 100_000;

/// Greatest relevance: 2 to its power is far below the greatest double.
pub const RELEVANCE_MAX: f64 = 256.0;

/// Terms of a cut-off, each over all queries and then over those with a relevant item.
const METRICS: usize = 7;

/// What an item of a relevance is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gain {
    /// Its relevance.
    Linear,
    /// 2 to the power of its relevance, less 1 (Burges et al. 2005), for relevances that are
    /// grades: whole numbers.
    Exponential,
}

/// A metric of a ranking up to a cut-off `k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RankingMetric {
    /// Discounted cumulative gain as a share of the ideal one (Järvelin & Kekäläinen 2002), the
    /// discount being log₂ of the rank + 1.
    Ndcg,
    /// Relevant items among the first `k`, as a share of `k`.
    Precision,
    /// Relevant items among the first `k`, as a share of the relevant ones.
    Recall,
    /// Whether there is one among the first `k`.
    Hit,
    /// One over the rank of the first relevant item, 0 beyond `k`.
    ReciprocalRank,
    /// Sum of the precisions at relevant items up to `k`, over the lesser of `k` and their number.
    AveragePrecision,
    /// The same sum over their number.
    AveragePrecisionOfAll,
}

/// Why a layout of a ranking is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RankingLayoutError {
    /// Too few or too many cut-offs.
    #[error("{found} cut-offs, but a ranking has 1 to {CUTOFFS_MAX}")]
    Cutoffs {
        /// How many were given.
        found: usize,
    },
    /// A cut-off is 0.
    #[error("a cut-off is 0: the first item is at 1")]
    Zero,
}

/// What is frozen with the reference of a ranking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankingLayout {
    cutoffs: Vec<u32>,
    gain: Gain,
}

/// Counts of queries. Memory: 7.7 kB a cut-off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankingCounts {
    /// For each cut-off each metric, in the order of [`RankingMetric`], over all queries and over
    /// those with a relevant item.
    pub terms: TermSums,
}

impl RankingLayout {
    /// Takes cut-offs and what relevance is worth.
    pub fn try_new(cutoffs: Vec<u32>, gain: Gain) -> Result<Self, RankingLayoutError> {
        if !(1..=CUTOFFS_MAX).contains(&cutoffs.len()) {
            return Err(RankingLayoutError::Cutoffs { found: cutoffs.len() });
        }
        if cutoffs.contains(&0) {
            return Err(RankingLayoutError::Zero);
        }
        Ok(Self { cutoffs, gain })
    }

    /// Returns the cut-offs.
    pub fn cutoffs(&self) -> &[u32] {
        &self.cutoffs
    }

    fn terms(&self, relevance: &[f64]) -> Result<Vec<Option<f64>>, OutcomeError> {
        if RANKED_ITEMS_MAX < relevance.len() {
            let (found, expected) = (relevance.len(), RANKED_ITEMS_MAX);
            return Err(OutcomeError::Length { what: "ranked items", found, expected });
        }
        if let Some(&value) = relevance.iter().find(|it| !self.gain.takes(**it)) {
            return Err(OutcomeError::NotRelevance { value });
        }
        let mut ideal = relevance.to_vec();
        ideal.sort_by(|a, b| b.total_cmp(a));
        let relevant = relevance.iter().filter(|it| 0.0 < **it).count();
        let mut terms = Vec::with_capacity(self.len());
        for &cutoff in &self.cutoffs {
            for metric in self.metrics(cutoff, relevance, &ideal, relevant) {
                terms.extend([Some(metric), (0 < relevant).then_some(metric)]);
            }
        }
        check(&terms)?;
        Ok(terms)
    }

    /// Returns the metrics of a query in the order of [`RankingMetric`]; without a relevant item
    /// all are 0, as scikit-learn and others have it.
    fn metrics(
        &self,
        cutoff: u32,
        relevance: &[f64],
        ideal: &[f64],
        relevant: usize,
    ) -> [f64; METRICS] {
        let shown = relevance.len().min(cutoff as usize);
        let (mut hits, mut precisions, mut reciprocal) = (0.0, 0.0, 0.0);
        for (place, _) in relevance[..shown].iter().enumerate().filter(|(_, it)| 0.0 < **it) {
            let rank = (place + 1) as f64;
            hits += 1.0;
            precisions += hits / rank;
            if reciprocal == 0.0 {
                reciprocal = 1.0 / rank;
            }
        }
        let all = relevant.max(1) as f64;
        let cutoff = f64::from(cutoff);
        let best = self.discounted_gain(&ideal[..shown]);
        [
            if best == 0.0 { 0.0 } else { self.discounted_gain(&relevance[..shown]) / best },
            hits / cutoff,
            hits / all,
            if 0.0 < hits { 1.0 } else { 0.0 },
            reciprocal,
            precisions / all.min(cutoff),
            precisions / all,
        ]
    }

    fn discounted_gain(&self, relevance: &[f64]) -> f64 {
        let ranks = relevance.iter().enumerate();
        ranks.map(|(place, &it)| self.gain.of(it) / log2_of_rank(place + 2)).sum()
    }

    fn len(&self) -> usize {
        2 * METRICS * self.cutoffs.len()
    }
}

impl Gain {
    fn of(self, relevance: f64) -> f64 {
        match self {
            Self::Linear => relevance,
            Self::Exponential => power_of_two(relevance) - 1.0,
        }
    }

    /// Returns whether a relevance is of a kind that this gain is made for.
    fn takes(self, relevance: f64) -> bool {
        let is_whole = match self {
            Self::Linear => true,
            Self::Exponential => relevance.fract() == 0.0,
        };
        is_whole && (0.0..=RELEVANCE_MAX).contains(&relevance)
    }
}

impl RankingCounts {
    /// Returns counts of nothing.
    pub fn empty(layout: &RankingLayout) -> Self {
        Self { terms: TermSums::empty(layout.len()) }
    }

    /// Adds a query: the relevance of its items, 0 to [`RELEVANCE_MAX`], in the order shown, all
    /// that could have been shown behind them. On an error nothing was added.
    pub fn add(&mut self, layout: &RankingLayout, relevance: &[f64]) -> Result<(), OutcomeError> {
        same_layout("terms", self.terms.terms.len(), layout.len())?;
        self.terms.add(&layout.terms(relevance)?);
        Ok(())
    }

    /// Takes a query away again. On an error nothing was taken. That it was never added is noticed
    /// by a rest where nothing may be left.
    pub fn subtract(
        &mut self,
        layout: &RankingLayout,
        relevance: &[f64],
    ) -> Result<(), OutcomeError> {
        same_layout("terms", self.terms.terms.len(), layout.len())?;
        let terms = layout.terms(relevance)?;
        self.terms.check_added(&terms)?;
        self.terms.subtract(&terms);
        Ok(())
    }

    /// Adds counts of other queries. On an error nothing was added.
    pub fn merge(&mut self, other: &Self) -> Result<(), OutcomeError> {
        self.terms.check_layout(&other.terms)?;
        self.terms.merge(&other.terms);
        Ok(())
    }

    /// Takes counts away again. On an error nothing was taken.
    pub fn unmerge(&mut self, other: &Self) -> Result<(), OutcomeError> {
        self.terms.check_layout(&other.terms)?;
        self.terms.unmerge(&other.terms)
    }

    /// Returns the number of queries.
    pub fn queries(&self) -> u64 {
        self.terms.get(0).rows
    }

    /// Returns the number of queries with a relevant item.
    pub fn queries_with_relevant(&self) -> u64 {
        self.terms.get(1).rows
    }

    /// Returns a metric at a cut-off of the layout over the queries with a relevant item, of which
    /// alone it says something.
    pub fn metric(&self, cutoff: usize, metric: RankingMetric) -> Option<&TermSum> {
        self.terms.terms.get(place(cutoff, metric) + 1)
    }

    /// Returns a metric at a cut-off of the layout over all queries, those without a relevant item
    /// being 0, as scikit-learn and others have it.
    pub fn metric_of_all(&self, cutoff: usize, metric: RankingMetric) -> Option<&TermSum> {
        self.terms.terms.get(place(cutoff, metric))
    }
}

/// Orders items by score, the greatest first, ties by their place, and returns their relevance.
/// Scores that are not numbers come last.
pub fn rank(scored: &[(f64, f64)]) -> Vec<f64> {
    let mut order: Vec<&(f64, f64)> = scored.iter().collect();
    let key = |score: f64| if score.is_nan() { f64::NEG_INFINITY } else { score + 0.0 };
    order.sort_by(|(a, _), (b, _)| key(*b).total_cmp(&key(*a)));
    order.into_iter().map(|(_, relevance)| *relevance).collect()
}

fn place(cutoff: usize, metric: RankingMetric) -> usize {
    2 * (METRICS * cutoff + metric as usize)
}

/// Returns 2 to the power of a whole number from 0 to [`RELEVANCE_MAX`], exactly.
fn power_of_two(grade: f64) -> f64 {
    let mut power = 1.0;
    let mut left = grade;
    while 1.0 <= left {
        power *= 2.0;
        left -= 1.0;
    }
    power
}

fn log2_of_rank(rank: usize) -> f64 {
    super::logarithm::ln(rank as f64) / std::f64::consts::LN_2
}
