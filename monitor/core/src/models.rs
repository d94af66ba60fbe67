//! What is known of each model version: counters, closed windows, open episodes.
//!
//! Before: [`crate::pipeline`] reports progress and closed windows. After: the model part of the
//! snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_alerts::{Episode, EpisodeMemory, Episodes, FeatureSignal, Signal, Transition};
use driftd_catalog::{ModelId, PartitionId, SegmentId, Timestamp, WindowId};
use driftd_detectors::State;

use crate::config::Config;
use crate::history::History;
use crate::panes::{Due, Panes};
use crate::reference::ModelReference;
use crate::result::{FeatureResult, WindowResult};
use crate::shard::ModelProgress;
use crate::snapshot::{
    ModelSnapshot, OpenWindow, ReferenceSnapshot, ScoreHistogram, SegmentSnapshot,
};
use crate::state::{ModelBody, SegmentBody};
use crate::window::earliest;
use crate::windows::Windows;

/// Versions of a model that stay in the picture after their time, beside those followed at once.
const VERSIONS_PAST_MAX: usize = 16;

#[derive(Debug)]
pub(crate) struct Models {
    models: BTreeMap<ModelId, Model>,
    episodes: Episodes,
}

#[derive(Debug)]
struct Model {
    config: usize,
    reference: Option<Arc<ModelReference>>,
    records: u64,
    late: u64,
    event_time_max: Option<Timestamp>,
    activated: Option<Timestamp>,
    /// Windows that each partition holds open.
    open: BTreeMap<PartitionId, usize>,
    /// By kind of windows, and segment.
    segments: BTreeMap<(usize, SegmentId), Segment>,
}

#[derive(Debug, Default)]
struct Segment {
    state: Option<(State, Timestamp)>,
    history: History,
    /// Newest provisional result, until its window ends.
    provisional: Option<Arc<WindowResult>>,
    evaluations: BTreeMap<State, u64>,
    incomplete: u64,
    episodes: Vec<Episode>,
    ever_drifted: Vec<Arc<str>>,
    score_histogram: ScoreHistogram,
}

impl Models {
    pub(crate) fn new(config: &Config) -> Self {
        Self { models: BTreeMap::new(), episodes: Episodes::new(config.hysteresis) }
    }

    /// Goes on with the episodes of an earlier run.
    pub(crate) fn restore(config: &Config, mut episodes: EpisodeMemory) -> Self {
        episodes.retain(|model, segment, feature| {
            let watched = config.model_of(model).map(|index| &config.models[index]);
            watched.is_some_and(|it| {
                it.may_have(segment) && it.features.iter().any(|it| *it.name == *feature)
            })
        });
        let episodes = Episodes::restore(config.hysteresis, episodes);
        Self { models: BTreeMap::new(), episodes }
    }

    /// Takes a window that an earlier run closed, for the history alone.
    pub(crate) fn remember(&mut self, config: &Config, due: &Due, result: WindowResult) {
        let counts = &due.counts;
        let model = self.models.entry(result.id.model.clone());
        let model = model.or_insert_with(|| Model::new(counts.model));
        if counts.reference.is_some() {
            model.reference.clone_from(&counts.reference);
        }
        let history_max = config.models[counts.model].windows[due.window].history;
        let series = (due.window, result.id.segment.clone());
        let segment = model.segments.entry(series).or_default();
        segment.history.push(Arc::new(result), history_max);
    }

    /// Shows a model version as an earlier run did, beside its history.
    pub(crate) fn show_again(&mut self, config: &Config, model: usize, body: ModelBody) {
        let ModelBody { id, event_time_max, activated, segments } = body;
        let watched = &config.models[model];
        let model = self.models.entry(id.clone()).or_insert_with(|| Model::new(model));
        model.event_time_max = event_time_max;
        model.activated = activated;
        for SegmentBody { window, segment, state, ever_drifted } in segments {
            let window = watched.windows.iter().position(|it| it.name == window);
            let Some(window) = window.filter(|_| watched.may_have(&segment)) else { continue };
            let is_deciding = window == 0;
            let episodes = self.episodes.open(&id, &segment);
            let shown = model.segments.entry((window, segment)).or_default();
            shown.episodes = if is_deciding { episodes } else { Vec::new() };
            shown.ever_drifted = ever_drifted;
            shown.state = state.and_then(|(name, since)| {
                let state = State::ALL.into_iter().find(|state| state.as_str() == &*name)?;
                Some((state, since))
            });
        }
    }

    /// Returns what is shown beside the history, to be stored.
    pub(crate) fn bodies(&self, config: &Config) -> Vec<ModelBody> {
        let body = |(id, model): (&ModelId, &Model)| ModelBody {
            id: id.clone(),
            event_time_max: model.event_time_max,
            activated: model.activated,
            segments: model
                .segments
                .iter()
                .map(|((window, segment), it)| {
                    let window = &config.models[model.config].windows[*window];
                    it.body(&window.name, segment)
                })
                .collect(),
        };
        self.models.iter().map(body).collect()
    }

    /// Returns what is remembered of episodes, to be stored.
    pub(crate) fn episodes(&self) -> &EpisodeMemory {
        self.episodes.memory()
    }

    /// Takes what a model version got from one batch.
    pub(crate) fn advance(&mut self, progress: &ModelProgress) {
        let model = self.models.entry(progress.id.clone());
        let model = model.or_insert_with(|| Model::new(progress.model));
        model.records += progress.records;
        model.late += progress.late;
        model.event_time_max = model.event_time_max.max(progress.event_time_max);
        model.activated = earliest(model.activated, progress.event_time_min);
        if progress.reference.is_some() {
            model.reference.clone_from(&progress.reference);
        }
    }

    /// Takes how many windows a partition holds open.
    pub(crate) fn set_open(&mut self, partition: &PartitionId, open: &BTreeMap<ModelId, usize>) {
        for (id, model) in &mut self.models {
            match open.get(id) {
                Some(windows) => model.open.insert(partition.clone(), *windows),
                None => model.open.remove(partition),
            };
        }
    }

    /// Forgets versions beyond the model's bound, those with the oldest records first; returns
    /// them.
    ///
    /// A version with open windows is still being read. Endless versions in the records must not
    /// become endless memory.
    pub(crate) fn retire(&mut self, config: &Config, windows: &Windows) -> Vec<ModelId> {
        let mut retired = Vec::new();
        for (index, model) in config.models.iter().enumerate() {
            let mut versions: Vec<(Option<Timestamp>, &ModelId)> = self
                .models
                .iter()
                .filter(|(_, it)| it.config == index)
                .map(|(id, it)| (it.event_time_max, id))
                .collect();
            versions.sort_unstable();
            let excess = versions.len().saturating_sub(model.versions_max + VERSIONS_PAST_MAX);
            let is_open = |id: &ModelId| {
                0 < windows.open_count(id) || self.models.get(id).is_some_and(Model::is_open)
            };
            let idle = versions.into_iter().filter(|(_, id)| !is_open(id));
            retired.extend(idle.take(excess).map(|(_, id)| id.clone()));
        }
        for id in &retired {
            self.models.remove(id);
            self.episodes.forget(id);
        }
        retired
    }

    /// Returns the newest event time of a model version.
    pub(crate) fn event_time_max(&self, id: &ModelId) -> Option<Timestamp> {
        self.models.get(id).and_then(|model| model.event_time_max)
    }

    /// Counts rows that came after their window was closed.
    pub(crate) fn late(&mut self, id: &ModelId, rows: u64) {
        if let Some(model) = self.models.get_mut(id) {
            model.late += rows;
        }
    }

    /// Takes the result of a window; returns the episodes that it opens or closes.
    pub(crate) fn close(
        &mut self,
        config: &Config,
        window: usize,
        result: &Arc<WindowResult>,
    ) -> Vec<Transition> {
        let decides = result.decides && result.edition.is_first_final();
        let transitions = if decides {
            let signals: Vec<FeatureSignal<'_>> = result.features.iter().map(signal).collect();
            self.episodes.observe(&result.id, &signals)
        } else {
            Vec::new()
        };
        let open = decides.then(|| self.open_episodes(&result.id));
        if let Some(model) = self.models.get_mut(&result.id.model) {
            let history_max = config.models[model.config].windows[window].history;
            let series = (window, result.id.segment.clone());
            let segment = model.segments.entry(series).or_default();
            if result.edition.is_revised {
                segment.revise(result);
            } else if result.edition.is_final {
                segment.close(result, open, history_max);
            } else {
                segment.provisional = Some(Arc::clone(result));
            }
        }
        transitions
    }

    /// Returns the open episodes of the window's model and segment.
    pub(crate) fn open_episodes(&self, window: &WindowId) -> Vec<Episode> {
        self.episodes.open(&window.model, &window.segment)
    }

    pub(crate) fn snapshot(
        &self,
        config: &Config,
        windows: &Windows,
        panes: &Panes,
    ) -> Vec<ModelSnapshot> {
        let snapshot = |(id, model): (&ModelId, &Model)| {
            let ahead = windows.ahead(id, model.activated, model.event_time_max);
            let open = panes.open(&config.models[model.config], id, &ahead);
            model.snapshot(id, windows, open)
        };
        self.models.iter().map(snapshot).collect()
    }
}

impl Model {
    fn new(config: usize) -> Self {
        Self {
            config,
            reference: None,
            records: 0,
            late: 0,
            event_time_max: None,
            activated: None,
            open: BTreeMap::new(),
            segments: BTreeMap::new(),
        }
    }

    fn is_open(&self) -> bool {
        self.open.values().any(|windows| 0 < *windows)
    }

    fn snapshot(&self, id: &ModelId, windows: &Windows, open: Vec<OpenWindow>) -> ModelSnapshot {
        let segments = self.segments.iter();
        let mut segments: Vec<SegmentSnapshot> =
            segments.map(|((window, segment), it)| it.snapshot(*window, segment)).collect();
        segments.sort_by_key(|it| (it.window, it.segment != SegmentId::all()));
        ModelSnapshot {
            id: id.clone(),
            config: self.config,
            reference: self.reference.as_ref().map(|reference| ReferenceSnapshot {
                digest: Arc::clone(&reference.digest),
                rows: reference.rows,
                created: reference.created,
            }),
            records: self.records,
            late: self.late,
            event_time_max: self.event_time_max,
            activated: self.activated,
            windows_open: self
                .open
                .values()
                .copied()
                .max()
                .max(Some(windows.open_count(id)))
                .unwrap_or(0),
            open,
            segments,
        }
    }
}

impl Segment {
    /// `open` are the episodes of the segment, where the window decides about them.
    fn close(
        &mut self,
        result: &Arc<WindowResult>,
        open: Option<Vec<Episode>>,
        history_max: usize,
    ) {
        let state = match &open {
            Some(open) => after_hysteresis(result.state(), open),
            None => result.state(),
        };
        self.provisional = None;
        if self.state.is_none_or(|(known, _)| known != state) {
            self.state = Some((state, result.id.span.start()));
        }
        *self.evaluations.entry(result.state()).or_insert(0) += 1;
        self.incomplete += u64::from(!result.complete);
        self.episodes = open.unwrap_or_default();
        for feature in &result.features {
            if let Some(score) = feature.verdict.score {
                self.score_histogram.observe(score);
            }
            if feature.verdict.state == State::Drifted && !self.ever_drifted.contains(&feature.name)
            {
                self.ever_drifted.push(Arc::clone(&feature.name));
            }
        }
        self.history.push(Arc::clone(result), history_max);
    }

    /// Shows the newest result of a window that is still in the history.
    fn revise(&mut self, result: &Arc<WindowResult>) {
        self.history.revise(result);
    }

    fn body(&self, window: &Arc<str>, segment: &SegmentId) -> SegmentBody {
        SegmentBody {
            window: Arc::clone(window),
            segment: segment.clone(),
            state: self.state.map(|(state, since)| (state.as_str().into(), since)),
            ever_drifted: self.ever_drifted.clone(),
        }
    }

    fn snapshot(&self, window: usize, segment: &SegmentId) -> SegmentSnapshot {
        SegmentSnapshot {
            window,
            segment: segment.clone(),
            state: self.state.map_or(State::InsufficientData, |(state, _)| state),
            state_since: self.state.map(|(_, since)| since),
            history: self.history.clone(),
            provisional: self.provisional.clone(),
            evaluations: self.evaluations.clone(),
            incomplete: self.incomplete,
            episodes: self.episodes.clone(),
            ever_drifted: self.ever_drifted.clone(),
            score_histogram: self.score_histogram.clone(),
        }
    }
}

fn signal(feature: &FeatureResult) -> FeatureSignal<'_> {
    let signal = match feature.verdict.state {
        State::Drifted => Signal::Breached,
        State::Ok => Signal::Quiet,
        // A null storm says nothing about the distribution: data quality has its own alert.
        State::InsufficientData | State::NoReference | State::BrokenData => Signal::Unknown,
    };
    FeatureSignal { feature: &feature.name, signal, score: feature.verdict.score }
}

/// A single drifted window is not yet an episode; an open episode outlives a window without a
/// verdict. Broken data come first: they are to be acted on, and what drifted may be their doing.
fn after_hysteresis(window: State, open: &[Episode]) -> State {
    match window {
        State::BrokenData => State::BrokenData,
        _ if !open.is_empty() => State::Drifted,
        State::Drifted => State::Ok,
        State::Ok | State::InsufficientData | State::NoReference => window,
    }
}
