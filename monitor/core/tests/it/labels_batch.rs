//! A batch join of predictions and their labels, as one would write it who has both logs at hand.
//!
//! Before: [`crate::labels_drawn`]. After: [`crate::labels`] compares it with what a daemon says
//! that reads the logs beside each other. No code is shared with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::labels_drawn::{
    Case, DISORDER_MILLIS, HORIZON_MILLIS, Kind, LATENESS_MILLIS, OFFSET_MILLIS, Said, Truth,
    WINDOW_MILLIS, What,
};

/// What a join of both logs comes to.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    /// By the start of the window, then by version and segment.
    pub(crate) windows: BTreeMap<i64, BTreeMap<(String, String), Part>>,
    /// Windows that end here or before are final.
    pub(crate) final_until: Option<i64>,
    pub(crate) counts: Counts,
}

/// What becomes of messages, whatever is read first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) followed: u64,
    pub(crate) repeated: u64,
    pub(crate) joined: u64,
    pub(crate) late_predictions: u64,
    pub(crate) unusable_predictions: u64,
    pub(crate) late_labels: u64,
    pub(crate) unusable_labels: u64,
    /// Labels of which something else becomes.
    pub(crate) labels: u64,
}

/// One version and segment of a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Part {
    pub(crate) predictions: u64,
    pub(crate) labelled: u64,
    pub(crate) delay_median: Option<i64>,
    pub(crate) metrics: BTreeMap<&'static str, f64>,
}

/// A prediction that counts.
struct Kept {
    time: i64,
    version: &'static str,
    country: Option<&'static str>,
    guess: u8,
}

/// A label, as far as it has an order.
#[derive(Clone, Copy)]
struct Given {
    time: i64,
    revision: i64,
    /// Absent: it is taken away.
    truth: Option<u8>,
}

/// A pair of what was guessed and what came true, and the time in between.
type Pair = (u8, u8, i64);

pub(crate) fn join(case: &Case) -> Joined {
    let mut counts = Counts::default();
    let kept = predictions(case, &mut counts);
    let given = labels(case, &mut counts);
    let mut groups: BTreeMap<(i64, String, String), (u64, Vec<Pair>)> = BTreeMap::new();
    for (id, prediction) in &kept {
        let found = given.get(id).and_then(|given| best(case, prediction.time, given));
        counts.joined += u64::from(found.is_some());
        let truth = found.and_then(|it| Some((it.truth?, it.time - prediction.time)));
        let start = start_of(prediction.time);
        let segments = prediction.country.map(|it| match it {
            "de" | "fr" => format!("country={it}"),
            _ => "country=__other__".to_owned(),
        });
        for segment in ["all".to_owned()].into_iter().chain(segments) {
            let group = groups.entry((start, prediction.version.to_owned(), segment)).or_default();
            group.0 += 1;
            group.1.extend(truth.map(|(truth, delay)| (prediction.guess, truth, delay)));
        }
    }
    let mut joined = Joined { counts, final_until: final_until(case), ..Joined::default() };
    for ((start, version, segment), (predictions, pairs)) in groups {
        let part = part(case.kind, predictions, &pairs);
        joined.windows.entry(start).or_default().insert((version, segment), part);
    }
    joined
}

fn start_of(time: i64) -> i64 {
    time - (time - OFFSET_MILLIS).rem_euclid(WINDOW_MILLIS)
}

/// Marks messages behind what their partition has shown before them by more than its disorder.
fn lateness(log: &[Said], allowed: i64) -> Vec<(bool, &Said)> {
    let mut newest = i64::MIN / 2;
    let mut marked = Vec::new();
    for said in log.iter().filter(|it| !matches!(it.what, What::Raw(_))) {
        marked.push((said.time + allowed < newest, said));
        newest = newest.max(said.time);
    }
    marked
}

fn predictions(case: &Case, counts: &mut Counts) -> BTreeMap<u32, Kept> {
    let mut kept: BTreeMap<u32, Kept> = BTreeMap::new();
    for (late, said) in
        case.topics[0].iter().flat_map(|log| lateness(log, DISORDER_MILLIS[0] + LATENESS_MILLIS))
    {
        let What::Prediction { version, country, guess } = said.what else { continue };
        match (late, said.id, guess) {
            (true, ..) => counts.late_predictions += 1,
            (false, Some(id), Some(guess)) if !kept.contains_key(&id) => {
                kept.insert(id, Kept { time: said.time, version, country, guess });
                counts.followed += 1;
            }
            (false, Some(_), Some(_)) => counts.repeated += 1,
            (false, _, _) => counts.unusable_predictions += 1,
        }
    }
    kept
}

fn labels(case: &Case, counts: &mut Counts) -> BTreeMap<u32, Vec<Given>> {
    let mut given: BTreeMap<u32, Vec<Given>> = BTreeMap::new();
    for (late, said) in case.topics[1].iter().flat_map(|log| lateness(log, DISORDER_MILLIS[1])) {
        let What::Label { revision, truth } = said.what else { continue };
        let truth = match truth {
            Truth::Is(it) => Some(Some(said_by(case.kind, it))),
            Truth::TakenAway => Some(None),
            Truth::Unusable => None,
        };
        match (late, said.id, truth) {
            (true, ..) => counts.late_labels += 1,
            (false, Some(id), Some(truth)) => {
                let label = Given { time: said.time, revision: revision.unwrap_or(0), truth };
                given.entry(id).or_default().push(label);
                counts.labels += 1;
            }
            (false, _, _) => counts.unusable_labels += 1,
        }
    }
    given
}

/// Returns what a label says: whether it is odd, its class, or the number of halves.
fn said_by(kind: Kind, truth: u8) -> u8 {
    match kind {
        Kind::Binary => truth % 6 % 2,
        Kind::Multiclass => truth % 3,
        Kind::Regression => truth,
    }
}

/// Returns the label that counts.
fn best(case: &Case, time: i64, given: &[Given]) -> Option<Given> {
    let mut in_time: Vec<Given> = given.to_vec();
    in_time.retain(|it| time <= it.time && it.time <= time + HORIZON_MILLIS);
    in_time.sort_by_key(|it| {
        let time = if case.keeps_last { -it.time } else { it.time };
        // Of labels that differ in nothing else one that takes away counts, then the least.
        (time, -it.revision, it.truth.is_some(), it.truth)
    });
    in_time.first().copied()
}

fn final_until(case: &Case) -> Option<i64> {
    let floor = |topic: usize| {
        let newest = |log: &Vec<Said>| {
            let told = log.iter().filter(|it| !matches!(it.what, What::Raw(_)));
            told.map(|it| it.time).max()
        };
        let newest: Option<Vec<i64>> = case.topics[topic].iter().map(newest).collect();
        newest.and_then(|it| it.into_iter().min()).map(|it| it - DISORDER_MILLIS[topic])
    };
    let (predictions, labels) = (floor(0)? - LATENESS_MILLIS, floor(1)? - HORIZON_MILLIS);
    Some(start_of(predictions.min(labels)))
}

fn part(kind: Kind, predictions: u64, pairs: &[Pair]) -> Part {
    let mut delays: Vec<i64> = pairs.iter().map(|(_, _, delay)| *delay).collect();
    delays.sort_unstable();
    let half = delays.get(delays.len().saturating_sub(1) / 2);
    let border = |delay: &i64| {
        let mut border = 1_000;
        while border < *delay {
            border *= 2;
        }
        border
    };
    Part {
        predictions,
        labelled: u64::try_from(pairs.len()).unwrap(),
        delay_median: half.map(border),
        metrics: if pairs.is_empty() { BTreeMap::new() } else { metrics(kind, pairs) },
    }
}

/// Returns some metrics that are plain to compute.
fn metrics(kind: Kind, pairs: &[Pair]) -> BTreeMap<&'static str, f64> {
    let count = f64::from(u32::try_from(pairs.len()).unwrap());
    let mean = |term: &dyn Fn(f64, f64) -> f64| {
        let terms = pairs.iter().map(|(guess, truth, _)| term((*guess).into(), (*truth).into()));
        terms.sum::<f64>() / count
    };
    let share = |is_one: &dyn Fn(u8, u8) -> bool| {
        let successes = pairs.iter().filter(|(guess, truth, _)| is_one(*guess, *truth)).count();
        f64::from(u32::try_from(successes).unwrap()) / count
    };
    match kind {
        Kind::Binary => BTreeMap::from([
            ("accuracy", share(&|guess, truth| (4 <= guess) == (truth == 1))),
            ("prevalence", share(&|_, truth| truth == 1)),
            ("brier", mean(&|guess, truth| (guess / 8.0 - truth).powi(2))),
        ]),
        Kind::Multiclass => {
            BTreeMap::from([("accuracy", share(&|guess, truth| guess % 3 == truth))])
        }
        Kind::Regression => BTreeMap::from([
            ("mean_error", mean(&|guess, truth| (truth - guess) / 2.0)),
            ("mean_absolute_error", mean(&|guess, truth| (guess - truth).abs() / 2.0)),
            ("mean_squared_error", mean(&|guess, truth| ((guess - truth) / 2.0).powi(2))),
        ]),
    }
}

impl Joined {
    /// Returns the starts of windows that are final.
    pub(crate) fn final_starts(&self) -> BTreeSet<i64> {
        let is_final = |start: &&i64| self.final_until.is_some_and(|it| **start < it);
        self.windows.keys().filter(is_final).copied().collect()
    }
}
