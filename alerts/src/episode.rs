//! Episodes: one span of drift of one feature, from the window that raised it to the one that
//! cleared it.
//!
//! Before: one [`Signal`] a feature from the evaluation of a closed window.
//! After: [`crate::RetrainTrigger`], and the snapshot that metrics and page read.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::{ModelId, SegmentId, WindowId, WindowSpan};
use serde::{Deserialize, Serialize};

use crate::identity;
use crate::policy::HysteresisPolicy;

/// What one window says about one feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Decided, and not drifted.
    Quiet,
    /// Drifted.
    Breached,
    /// Not decided: too few records, no reference, broken values.
    Unknown,
}

/// The signal of one feature in one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureSignal<'a> {
    /// Name of the feature.
    pub feature: &'a str,
    /// What the window says about it.
    pub signal: Signal,
    /// Its drift score, when there is one.
    pub score: Option<f64>,
}

/// One span of drift of one feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// Whose feature.
    pub model: ModelId,
    /// In which part of the traffic.
    pub segment: SegmentId,
    /// Which feature.
    pub feature: Arc<str>,
    /// The window in which the episode was raised.
    pub opened: WindowSpan,
    /// The newest breached window; when cleared, the newest window observed.
    pub last: WindowSpan,
    /// Breached windows, those that led to the raise included.
    pub windows_breached: u32,
    /// Largest score of a breached window; absent when none had a score.
    pub peak_score: Option<f64>,
}

impl Episode {
    /// Returns an identity that a replay computes again: `ep-<model>-<version>-<8 hex digits>`.
    pub fn id(&self) -> String {
        let key =
            format!("{}/{}/{}/{}", self.model, self.segment, self.feature, self.opened.start());
        identity::event_id("ep", &self.model, &key)
    }
}

/// A change of an episode.
#[derive(Clone, Debug, PartialEq)]
pub enum Transition {
    /// The drift is established.
    Raised(Episode),
    /// The drift is gone.
    Cleared(Episode),
}

/// The episodes of all features, and what is remembered to open and close them.
///
/// Holds one small track a feature and segment that was ever observed; their number is bounded by
/// the configured features and the caller's bounds on versions and segments.
#[derive(Clone, Debug, PartialEq)]
pub struct Episodes {
    policy: HysteresisPolicy,
    memory: EpisodeMemory,
}

/// What [`Episodes`] remember, in a form that can be stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EpisodeMemory(BTreeMap<(ModelId, SegmentId), Stream>);

impl EpisodeMemory {
    /// Forgets the features for which `is_kept` is false.
    pub fn retain(&mut self, is_kept: impl Fn(&ModelId, &SegmentId, &str) -> bool) {
        for ((model, segment), stream) in &mut self.0 {
            stream.tracks.retain(|feature, _| is_kept(model, segment, feature));
        }
        self.0.retain(|_, stream| !stream.tracks.is_empty());
    }
}

/// The windows of one segment of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Stream {
    newest: Option<WindowSpan>,
    tracks: BTreeMap<Arc<str>, Track>,
}

/// What is remembered of one feature.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Track {
    /// Bit 0 is the newest window; 1 is breached.
    breached: u64,
    peak_score: Option<f64>,
    quiet_windows: u32,
    open: Option<Episode>,
}

impl Episodes {
    /// Returns the state before the first window.
    pub fn new(policy: HysteresisPolicy) -> Self {
        Self::restore(policy, EpisodeMemory::default())
    }

    /// Goes on with what was remembered, under a policy that may be another one.
    pub const fn restore(policy: HysteresisPolicy, memory: EpisodeMemory) -> Self {
        Self { policy, memory }
    }

    /// Returns everything that is remembered.
    pub const fn memory(&self) -> &EpisodeMemory {
        &self.memory
    }

    /// Forgets a model version that is followed no more.
    pub fn forget(&mut self, model: &ModelId) {
        self.memory.0.retain(|(known, _), _| known != model);
    }

    /// Takes the signals of one closed window, and returns what changed, in the order of `signals`.
    ///
    /// Windows of one segment must come in order. One that does not end after the newest observed
    /// is a revision of something already decided, and changes nothing.
    pub fn observe(&mut self, window: &WindowId, signals: &[FeatureSignal<'_>]) -> Vec<Transition> {
        let stream =
            self.memory.0.entry((window.model.clone(), window.segment.clone())).or_default();
        if stream.newest.is_some_and(|newest| window.span <= newest) {
            return Vec::new();
        }
        stream.newest = Some(window.span);
        let mut transitions = Vec::new();
        for signal in signals {
            let track = match stream.tracks.get_mut(signal.feature) {
                Some(track) => track,
                None => stream.tracks.entry(signal.feature.into()).or_default(),
            };
            transitions.extend(track.observe(self.policy, window, signal));
        }
        transitions
    }

    /// Returns the open episodes of one segment, by feature name.
    pub fn open(&self, model: &ModelId, segment: &SegmentId) -> Vec<Episode> {
        let stream = self.memory.0.get(&(model.clone(), segment.clone()));
        stream
            .into_iter()
            .flat_map(|stream| stream.tracks.values())
            .filter_map(|track| track.open.clone())
            .collect()
    }
}

impl Track {
    fn observe(
        &mut self,
        policy: HysteresisPolicy,
        window: &WindowId,
        signal: &FeatureSignal<'_>,
    ) -> Option<Transition> {
        // An undecided window takes a place in the history without evidence: old breaches age out.
        self.breached = (self.breached << 1) & policy.history_mask();
        match signal.signal {
            Signal::Unknown => None,
            Signal::Breached => self.breach(policy, window, signal),
            Signal::Quiet => self.quiet(policy, window),
        }
    }

    fn breach(
        &mut self,
        policy: HysteresisPolicy,
        window: &WindowId,
        signal: &FeatureSignal<'_>,
    ) -> Option<Transition> {
        self.quiet_windows = 0;
        let earlier = self.breached;
        self.breached |= 1;
        // Without an open episode and a breach in sight, an old peak belongs to nothing.
        let peak = if earlier == 0 && self.open.is_none() { None } else { self.peak_score };
        self.peak_score = larger(peak, signal.score);
        if let Some(episode) = &mut self.open {
            episode.last = window.span;
            episode.windows_breached = episode.windows_breached.saturating_add(1);
            episode.peak_score = self.peak_score;
            return None;
        }
        if self.breached.count_ones() < policy.raise() {
            return None;
        }
        let episode = Episode {
            model: window.model.clone(),
            segment: window.segment.clone(),
            feature: signal.feature.into(),
            opened: window.span,
            last: window.span,
            windows_breached: self.breached.count_ones(),
            peak_score: self.peak_score,
        };
        self.open = Some(episode.clone());
        Some(Transition::Raised(episode))
    }

    fn quiet(&mut self, policy: HysteresisPolicy, window: &WindowId) -> Option<Transition> {
        self.quiet_windows = self.quiet_windows.saturating_add(1);
        if self.quiet_windows < policy.clear() {
            return None;
        }
        let mut episode = self.open.take()?;
        episode.last = window.span;
        // The next episode has to earn its own evidence; this also bounds flapping.
        *self = Self::default();
        Some(Transition::Cleared(episode))
    }
}

fn larger(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests;
