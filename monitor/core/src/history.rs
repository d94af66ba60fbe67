//! The closed windows of one segment that are still shown, small enough to keep hundreds of them.
//!
//! Before: [`crate::models`] adds each [`WindowResult`]. After: the page and the API look at old
//! windows, the scrape at the newest. The newest is kept as it is; of the others, states and scores
//! can be read at once, and everything else is packed: a thousand features with six detectors each
//! take a quarter of a megabyte a window instead of one and a half. What is the same in all windows
//! against one reference (names, cells, its counts) is held once.

use std::array;
use std::collections::VecDeque;
use std::sync::Arc;

use driftd_detectors::{DetectorKind, DetectorResult, FeatureVerdict, State};
use serde::{Deserialize, Serialize};

use crate::config::Role;
use crate::result::{FeatureResult, Histogram, SpecialCounts, WindowResult, gravest};

/// Closed windows, oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    windows: VecDeque<Arc<KeptWindow>>,
    newest: Option<Arc<WindowResult>>,
}

/// One closed window, packed.
#[derive(Debug)]
pub struct KeptWindow {
    /// All but its features.
    pub head: WindowResult,
    /// State and score of each watched column, in the configured order.
    pub scores: Box<[(State, Option<f64>)]>,
    frame: Arc<[FrameColumn]>,
    packed: Box<[u8]>,
}

/// What is the same in every window against one reference, by column.
#[derive(Debug)]
struct FrameColumn {
    name: Arc<str>,
    role: Role,
    /// Without counts of the window.
    histogram: Option<Histogram>,
}

/// What is left of one column.
#[derive(Serialize, Deserialize)]
struct PackedColumn {
    deciding: Option<DetectorIndex>,
    results: Vec<PackedResult>,
    reference_rows: u64,
    current_rows: u64,
    minimum_detectable_effect: Option<f64>,
    current: Option<(Vec<u64>, [u64; 6])>,
}

/// Place in [`DetectorKind::ALL`].
type DetectorIndex = u8;

/// The detector, which of the optional numbers of [`DetectorResult`] there are (a bit each, in
/// their order), and the numbers, the statistic first.
type PackedResult = (DetectorIndex, u8, Vec<f64>);

/// Bytes that a kept window takes for each numeric column, with ten bins and six detectors.
pub(crate) const KEPT_COLUMN_BYTES: usize = 288;

impl History {
    /// Adds a window; the oldest beyond `windows_max` are dropped.
    pub fn push(&mut self, result: Arc<WindowResult>, windows_max: usize) {
        let frame = frame_of(&result, self.windows.back().map(|last| &**last));
        self.windows.push_back(Arc::new(KeptWindow::pack(&result, frame)));
        self.newest = Some(result);
        let excess = self.windows.len().saturating_sub(windows_max);
        self.windows.drain(..excess);
    }

    /// Puts another result in the place of the one of the same window, if that is kept.
    pub fn revise(&mut self, result: &Arc<WindowResult>) {
        let known = self.windows.iter_mut().find(|it| it.head.id == result.id);
        if let Some(known) = known {
            *known = Arc::new(KeptWindow::pack(result, frame_of(result, Some(&**known))));
        }
        if let Some(newest) = self.newest.as_mut().filter(|it| it.id == result.id) {
            *newest = Arc::clone(result);
        }
    }

    /// Returns how many windows are kept.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Returns whether no window has closed yet.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Returns the newest window.
    pub fn newest(&self) -> Option<&Arc<WindowResult>> {
        self.newest.as_ref()
    }

    /// Returns all windows, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &KeptWindow> {
        self.windows.iter().map(|window| &**window)
    }

    /// Returns about how much memory the windows take.
    pub fn bytes(&self) -> u64 {
        self.iter().map(KeptWindow::bytes).sum()
    }
}

/// Returns the frame of a window: that of `other` where it was counted against the same reference.
fn frame_of(result: &WindowResult, other: Option<&KeptWindow>) -> Arc<[FrameColumn]> {
    let same = other.filter(|other| {
        other.head.reference == result.reference && other.frame.len() == result.features.len()
    });
    match same {
        Some(other) => Arc::clone(&other.frame),
        None => result.features.iter().map(FrameColumn::of).collect(),
    }
}

impl KeptWindow {
    fn pack(result: &WindowResult, frame: Arc<[FrameColumn]>) -> Self {
        let mut packed = Vec::new();
        for feature in &result.features {
            packed = postcard::to_extend(&PackedColumn::of(feature), packed)
                .expect("columns are made of numbers");
        }
        let score = |it: &FeatureResult| (it.verdict.state, it.verdict.score);
        Self {
            head: WindowResult {
                id: result.id.clone(),
                missing: result.missing.clone(),
                offsets: result.offsets.clone(),
                reference: result.reference.clone(),
                features: Vec::new(),
                ..*result
            },
            scores: result.features.iter().map(score).collect(),
            frame,
            packed: packed.into(),
        }
    }

    /// Returns the window as it was closed.
    ///
    /// # Panics
    /// Never: it is packed by the same process.
    pub fn unpack(&self) -> WindowResult {
        let mut rest = &*self.packed;
        let mut features = Vec::with_capacity(self.frame.len());
        for (column, score) in self.frame.iter().zip(&self.scores) {
            let (packed, behind) = postcard::take_from_bytes::<PackedColumn>(rest)
                .expect("what was packed can be unpacked");
            rest = behind;
            features.push(packed.unpack(column, *score));
        }
        let head = &self.head;
        WindowResult {
            id: head.id.clone(),
            missing: head.missing.clone(),
            offsets: head.offsets.clone(),
            reference: head.reference.clone(),
            features,
            ..*head
        }
    }

    /// Returns the state of the whole window.
    pub fn state(&self) -> State {
        gravest(self.scores.iter().map(|(state, _)| *state))
    }

    fn bytes(&self) -> u64 {
        let head = size_of::<Self>() + self.head.offsets.len() * size_of_val(&self.head.offsets);
        (head + size_of_val(&*self.scores) + self.packed.len()) as u64
    }
}

impl FrameColumn {
    fn of(feature: &FeatureResult) -> Self {
        let histogram = feature.histogram.as_ref().map(|histogram| Histogram {
            cells: histogram.cells.clone(),
            reference: histogram.reference.clone(),
            current: Vec::new(),
            reference_special: histogram.reference_special,
            current_special: SpecialCounts::default(),
        });
        Self { name: Arc::clone(&feature.name), role: feature.role, histogram }
    }
}

impl PackedColumn {
    fn of(feature: &FeatureResult) -> Self {
        let verdict = &feature.verdict;
        let current = feature.histogram.as_ref();
        Self {
            deciding: verdict.deciding.map(index),
            results: verdict.results.iter().map(pack).collect(),
            reference_rows: verdict.reference_rows,
            current_rows: verdict.current_rows,
            minimum_detectable_effect: verdict.minimum_detectable_effect,
            current: current.map(|it| (it.current.clone(), specials(&it.current_special))),
        }
    }

    fn unpack(self, column: &FrameColumn, score: (State, Option<f64>)) -> FeatureResult {
        let (state, score) = score;
        let histogram = column.histogram.as_ref().zip(self.current);
        FeatureResult {
            name: Arc::clone(&column.name),
            role: column.role,
            verdict: FeatureVerdict {
                state,
                score,
                deciding: self.deciding.map(detector),
                results: self.results.into_iter().map(unpack).collect(),
                reference_rows: self.reference_rows,
                current_rows: self.current_rows,
                minimum_detectable_effect: self.minimum_detectable_effect,
            },
            histogram: histogram.map(|(frame, (current, special))| Histogram {
                cells: frame.cells.clone(),
                reference: frame.reference.clone(),
                current,
                reference_special: frame.reference_special,
                current_special: special_counts(special),
            }),
        }
    }
}

/// # Panics
/// Never: every kind is in the list, which is short.
fn index(kind: DetectorKind) -> DetectorIndex {
    let at = DetectorKind::ALL.iter().position(|it| *it == kind);
    at.and_then(|at| u8::try_from(at).ok()).expect("every kind is in the list")
}

fn detector(index: DetectorIndex) -> DetectorKind {
    DetectorKind::ALL[usize::from(index)]
}

fn pack(result: &DetectorResult) -> PackedResult {
    let DetectorResult {
        detector,
        statistic,
        statistic_upper,
        p_value,
        adjusted_p_value,
        lower_bound,
        threshold,
        score,
    } = *result;
    let rest = [statistic_upper, p_value, adjusted_p_value, lower_bound, threshold, score];
    let bits = (0..).zip(&rest).map(|(bit, number)| u8::from(number.is_some()) << bit);
    let numbers = [statistic].into_iter().chain(rest.into_iter().flatten()).collect();
    (index(detector), bits.sum(), numbers)
}

fn unpack((index, bits, numbers): PackedResult) -> DetectorResult {
    let mut numbers = numbers.into_iter();
    let statistic = numbers.next().unwrap_or_default();
    let [statistic_upper, p_value, adjusted_p_value, lower_bound, threshold, score] =
        array::from_fn(|bit| if bits >> bit & 1 == 1 { numbers.next() } else { None });
    DetectorResult {
        detector: detector(index),
        statistic,
        statistic_upper,
        p_value,
        adjusted_p_value,
        lower_bound,
        threshold,
        score,
    }
}

fn specials(counts: &SpecialCounts) -> [u64; 6] {
    let SpecialCounts { null, nan, neg_inf, pos_inf, unseen, out_of_range } = *counts;
    [null, nan, neg_inf, pos_inf, unseen, out_of_range]
}

fn special_counts(counts: [u64; 6]) -> SpecialCounts {
    let [null, nan, neg_inf, pos_inf, unseen, out_of_range] = counts;
    SpecialCounts { null, nan, neg_inf, pos_inf, unseen, out_of_range }
}

#[cfg(test)]
mod tests {
    use driftd_catalog::{ModelId, SegmentId, Timestamp, WindowId, WindowSpan};
    use driftd_detectors::Levels;

    use super::*;
    use crate::result::{Cells, Edition};

    fn result(detector: DetectorKind, at: f64) -> DetectorResult {
        DetectorResult {
            detector,
            statistic: at,
            statistic_upper: Some(f64::MIN_POSITIVE),
            p_value: None,
            adjusted_p_value: Some(-0.0),
            lower_bound: Some(f64::MAX),
            threshold: None,
            score: Some(1.0_f64.next_up()),
        }
    }

    fn feature(name: &str, cells: Option<Cells>, current: u64) -> FeatureResult {
        let special = |null| SpecialCounts { null, unseen: 7, ..SpecialCounts::default() };
        FeatureResult {
            name: name.into(),
            role: Role::Prediction,
            verdict: FeatureVerdict {
                state: State::Drifted,
                score: Some(current as f64 / 3.0),
                deciding: Some(DetectorKind::UnseenRate),
                results: DetectorKind::ALL.iter().map(|it| result(*it, 0.1)).collect(),
                reference_rows: 5,
                current_rows: current,
                minimum_detectable_effect: None,
            },
            histogram: cells.map(|cells| Histogram {
                cells,
                reference: vec![4, 1],
                current: vec![current, u64::MAX],
                reference_special: special(2),
                current_special: special(current),
            }),
        }
    }

    fn window(number: i64, reference: &str) -> Arc<WindowResult> {
        Arc::new(window_against(number, reference))
    }

    fn window_against(number: i64, reference: &str) -> WindowResult {
        let rows = number.unsigned_abs();
        let levels = Arc::new(Levels::try_new(vec!["a".into(), "b".into()]).unwrap());
        WindowResult {
            id: WindowId {
                span: WindowSpan::starting_at(Timestamp::from_millis(number * 10), 10),
                model: ModelId::try_new("m", "1").unwrap(),
                segment: SegmentId::all(),
                name: "1h".into(),
            },
            edition: Edition::ONLY,
            decides: true,
            rows,
            complete: true,
            missing: Vec::new(),
            offsets: Vec::new(),
            closed_at: Timestamp::from_millis(number),
            reference: Some(reference.into()),
            features: vec![
                feature(reference, Some(Cells::Edges(vec![0.5])), rows),
                feature("c", Some(Cells::Levels(levels)), rows),
                feature("n", None, rows),
            ],
        }
    }

    #[test]
    fn a_kept_window_is_the_window_that_was_closed() {
        let mut history = History::default();
        let windows: Vec<_> = [(0, "one"), (1, "one"), (2, "two"), (3, "one")]
            .map(|(number, reference)| window(number, reference))
            .into();
        for window in &windows {
            history.push(Arc::clone(window), 3);
        }
        let kept: Vec<String> = history.iter().map(|it| format!("{:?}", it.unpack())).collect();
        let closed: Vec<String> = windows.iter().skip(1).map(|it| format!("{it:?}")).collect();
        assert_eq!(kept, closed);
        assert_eq!(format!("{:?}", history.newest()), format!("{:?}", windows.last()));
        assert!(history.iter().all(|it| it.state() == State::Drifted));
    }

    #[test]
    fn a_revised_window_takes_its_place_and_one_that_is_gone_does_not_come_back() {
        let mut history = History::default();
        for number in 1..4 {
            history.push(window(number, "one"), 2);
        }
        let revised = |number| Arc::new(WindowResult { rows: 99, ..window_against(number, "one") });
        history.revise(&revised(3));
        history.revise(&revised(1));
        let rows: Vec<u64> = history.iter().map(|it| it.unpack().rows).collect();
        assert_eq!((rows, history.newest().map(|it| it.rows)), (vec![2, 99], Some(99)));
    }

    #[test]
    fn windows_against_one_reference_share_what_is_the_same() {
        let mut history = History::default();
        for number in 0..3 {
            history.push(window(number, "one"), 10);
        }
        let frames: Vec<_> = history.iter().map(|it| &it.frame).collect();
        assert!(frames.iter().all(|it| Arc::ptr_eq(it, frames[0])));
        assert!(0 < history.bytes());
    }
}
