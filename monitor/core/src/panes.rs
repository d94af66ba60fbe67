//! Closed panes, kept as long as a window needs them, and the windows that they make.
//!
//! Before: [`crate::windows`] closes the panes of a model in the order of their ends. After:
//! [`Due`] windows for [`crate::evaluate`]. Which windows there are, and what is in them, depends
//! on the panes alone: not on when they closed, nor on how many partitions they came from.
//!
//! Panes are kept as slices: all panes between two places where a window may begin or end are one
//! slice. A window of a number of rows, and one without an end, is a single slice that grows.

use std::collections::{BTreeMap, BTreeSet};

use driftd_catalog::{ModelId, PaneId, PartitionId, SegmentId, Timestamp, WindowId, WindowSpan};
use serde::{Deserialize, Serialize};

use crate::config::{Config, ModelConfig, WindowConfig, WindowKind};
use crate::merge::Merged;
use crate::result::Edition;
use crate::snapshot::OpenWindow;
use crate::window::Borders;
use crate::windows::SpanKey;

/// The kept panes of all model versions.
#[derive(Debug, Default)]
pub(crate) struct Panes {
    versions: BTreeMap<ModelId, Version>,
}

/// What is kept of one model version.
#[derive(Debug)]
struct Version {
    model: usize,
    course: Course,
    /// One entry a kind of windows, each by the starts of its slices.
    slices: Vec<Slices>,
}

/// How far the windows of a model version are.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Course {
    /// Windows that end up to here are done.
    passed: Timestamp,
    /// Windows that begin before are not whole.
    begins: Timestamp,
}

type Slices = BTreeMap<Timestamp, Slice>;

/// The panes between two borders.
#[derive(Debug)]
pub(crate) struct Slice {
    /// End of the newest pane inside.
    pub(crate) end: Timestamp,
    /// Partitions that one of the panes was closed without.
    pub(crate) missing: BTreeSet<PartitionId>,
    pub(crate) segments: BTreeMap<SegmentId, Merged<()>>,
    /// How far the windows were each time when the counts of a segment were revised.
    pub(crate) revised: BTreeMap<SegmentId, Vec<Timestamp>>,
}

/// Names the counts of one segment in one slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct SliceKey {
    pub(crate) model: ModelId,
    /// Index into [`ModelConfig::windows`].
    pub(crate) window: usize,
    pub(crate) start: Timestamp,
    pub(crate) segment: SegmentId,
}

/// What is known of a model version's records that are in no closed pane.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// End of the newest closed pane.
    pub(crate) closed: Timestamp,
    /// Event time of the oldest, or before; absent when there is none.
    pub(crate) oldest: Option<Timestamp>,
    /// Event time of the newest.
    pub(crate) newest: Option<Timestamp>,
}

/// A window that is to be evaluated.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) counts: Merged,
    /// Index into [`ModelConfig::windows`].
    pub(crate) window: usize,
    /// Partitions that one of its panes was closed without.
    pub(crate) missing: Vec<PartitionId>,
    pub(crate) edition: Edition,
}

/// What follows from a closed pane.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Windows to evaluate, in the order of their ends.
    pub(crate) due: Vec<Due>,
    /// Model versions of which something is, or was, kept.
    pub(crate) versions: Vec<ModelId>,
    /// Counts that changed, or are kept no more.
    pub(crate) touched: BTreeSet<SliceKey>,
}

impl Panes {
    /// Takes the panes of all versions and segments of a model that have this span; there may be
    /// none. `missing` are the partitions that they were closed without.
    pub(crate) fn close(
        &mut self,
        config: &Config,
        (span, model): SpanKey,
        panes: Vec<Merged<PaneId>>,
        missing: &[PartitionId],
    ) -> Outcome {
        let watched = &config.models[model];
        let mut outcome = Outcome::default();
        self.run(model, watched, span.start(), &mut outcome);
        for (id, segments) in by_version(panes) {
            let version = self.versions.entry(id.clone());
            let version = version.or_insert_with(|| Version::new(model, watched, span.start()));
            version.add(watched, &id, span, &segments, missing, &mut outcome);
        }
        self.run(model, watched, span.end(), &mut outcome);
        outcome.due.sort_by(|one, other| one.counts.id.cmp(&other.counts.id));
        let own = self.versions.iter().filter(|(_, version)| version.model == model);
        outcome.versions = own.map(|(id, _)| id.clone()).collect();
        self.versions.retain(|_, version| version.is_needed(&config.models[version.model]));
        outcome
    }

    /// Takes what a closed pane of one segment holds now; returns the windows that have ended with
    /// it, to be evaluated again.
    pub(crate) fn revise(&mut self, config: &Config, pane: Merged<PaneId>) -> Outcome {
        let mut outcome = Outcome::default();
        let watched = &config.models[pane.model];
        let PaneId { span, model, segment } = pane.id.clone();
        if let Some(version) = self.versions.get_mut(&model) {
            version.revise(watched, &model, (span, &segment), &pane.identified(()), &mut outcome);
            outcome.due.sort_by(|one, other| one.counts.id.cmp(&other.counts.id));
        }
        outcome
    }

    /// Ends the windows that wait for more rows: there will be none.
    pub(crate) fn finish(&mut self, config: &Config) -> Outcome {
        let mut outcome = Outcome::default();
        for (id, version) in &mut self.versions {
            let watched = &config.models[version.model];
            for window in 0..version.slices.len() {
                let starts: Vec<Timestamp> = match watched.windows[window].kind {
                    WindowKind::Rows { .. } => version.slices[window].keys().copied().collect(),
                    WindowKind::Length { .. } | WindowKind::Global => Vec::new(),
                };
                for start in starts {
                    version.end_rows(watched, id, window, start, &mut outcome);
                }
            }
        }
        outcome.due.sort_by(|one, other| one.counts.id.cmp(&other.counts.id));
        outcome
    }

    /// Returns the next pane of a model at whose end a window has to be evaluated, should no record
    /// come any more.
    pub(crate) fn next(&self, config: &Config, model: usize) -> Option<SpanKey> {
        let watched = &config.models[model];
        let versions = self.versions.values().filter(|version| version.model == model);
        let length = watched.pane.length_millis;
        let end = versions.filter_map(|version| version.next(watched)).min()?;
        Some((WindowSpan::starting_at(end.plus_millis(-length), length), model))
    }

    /// Forgets what is kept of a model version up to `begins`, and goes on with windows that start
    /// there or later.
    pub(crate) fn begin_anew(
        &mut self,
        config: &Config,
        model: usize,
        id: &ModelId,
        begins: Timestamp,
    ) {
        let fresh = || Version::new(model, &config.models[model], begins);
        self.versions.entry(id.clone()).or_insert_with(fresh).begin_anew(begins);
    }

    /// Forgets a model version that is followed no more.
    pub(crate) fn forget(&mut self, model: &ModelId) {
        self.versions.remove(model);
    }

    /// Goes on with the course of a model version of an earlier run.
    pub(crate) fn restore(&mut self, config: &Config, model: usize, id: ModelId, course: Course) {
        let version =
            Version { course, ..Version::new(model, &config.models[model], course.passed) };
        self.versions.insert(id, version);
    }

    /// Takes counts that an earlier run kept; `false` when there is no such version or window.
    pub(crate) fn restore_slice(
        &mut self,
        key: SliceKey,
        end: Timestamp,
        (missing, revised): (Vec<PartitionId>, Vec<Timestamp>),
        counts: Merged<()>,
    ) -> bool {
        let version = self.versions.get_mut(&key.model);
        let Some(slices) = version.and_then(|it| it.slices.get_mut(key.window)) else {
            return false;
        };
        let slice = slices.entry(key.start).or_insert_with(|| Slice::new(end));
        slice.end = slice.end.max(end);
        slice.missing.extend(missing);
        if !revised.is_empty() {
            slice.revised.insert(key.segment.clone(), revised);
        }
        slice.segments.insert(key.segment, counts);
        true
    }

    /// Returns whether anything of a model version is kept.
    pub(crate) fn has(&self, model: &ModelId) -> bool {
        self.versions.contains_key(model)
    }

    /// Returns how far the windows of a model version are, if something is kept of it.
    pub(crate) fn course(&self, model: &ModelId) -> Option<(usize, Course)> {
        self.versions.get(model).map(|version| (version.model, version.course))
    }

    /// Returns the slice that holds the counts of a key, and the counts.
    pub(crate) fn slice(&self, key: &SliceKey) -> Option<(&Slice, &Merged<()>)> {
        let slice = self.versions.get(&key.model)?.slices.get(key.window)?.get(&key.start)?;
        Some((slice, slice.segments.get(&key.segment)?))
    }

    /// Returns the first window of each kind that holds records and has not ended.
    pub(crate) fn open(
        &self,
        watched: &ModelConfig,
        id: &ModelId,
        ahead: &Ahead,
    ) -> Vec<OpenWindow> {
        let windows = watched.windows.iter().enumerate();
        let open = windows.filter_map(|(at, window)| {
            let slices = self.versions.get(id).map(|version| &version.slices[at]);
            let kept = slices.and_then(BTreeMap::first_key_value);
            let borders = Borders::of(watched, window.every_millis);
            let newest = slices.and_then(BTreeMap::last_key_value);
            let is_waiting = newest.is_some_and(|(start, slice)| match window.kind {
                WindowKind::Length { length_millis } => {
                    ahead.closed < start.plus_millis(length_millis)
                }
                WindowKind::Rows { .. } => true,
                WindowKind::Global => borders.at_or_before(ahead.closed) < slice.end,
            });
            // Without closed panes of it, it is the window that the oldest open pane is in.
            let end = borders.after(if is_waiting { ahead.closed } else { ahead.oldest? });
            let start = match window.kind {
                WindowKind::Length { length_millis } => Some(end.plus_millis(-length_millis)),
                WindowKind::Rows { .. } | WindowKind::Global => kept.map(|(start, _)| *start),
            };
            let inside = slices.into_iter().flat_map(|it| it.range(start.unwrap_or(end)..end));
            let rows = inside.map(|(_, slice)| slice.rows()).sum();
            let last = ahead.newest.map_or(end, |newest| borders.after(newest));
            let further = (last.as_millis() - end.as_millis()).max(0) / window.every_millis;
            let further = u64::try_from(further).unwrap_or_default();
            Some(OpenWindow { window: at, start, end, rows, further })
        });
        open.collect()
    }

    /// Returns the models of which something is kept.
    pub(crate) fn models(&self) -> BTreeSet<usize> {
        self.versions.values().map(|version| version.model).collect()
    }

    /// Returns where the oldest window of a model begins that waits for more rows.
    pub(crate) fn oldest_rows(&self, watched: &ModelConfig, model: usize) -> Option<Timestamp> {
        let versions = self.versions.values().filter(|version| version.model == model);
        let slices = versions.flat_map(|version| version.slices.iter().zip(&watched.windows));
        let rows = slices.filter(|(_, window)| matches!(window.kind, WindowKind::Rows { .. }));
        rows.filter_map(|(slices, _)| slices.keys().next().copied()).min()
    }

    /// Returns the memory that the counts take.
    pub(crate) fn bytes(&self) -> u64 {
        let slices = self.versions.values().flat_map(|it| &it.slices).flat_map(BTreeMap::values);
        slices.flat_map(|slice| slice.segments.values()).map(Merged::bytes).sum()
    }

    fn run(&mut self, model: usize, watched: &ModelConfig, until: Timestamp, out: &mut Outcome) {
        for (id, version) in &mut self.versions {
            if version.model == model {
                version.run(watched, id, until, out);
            }
        }
    }
}

fn by_version(panes: Vec<Merged<PaneId>>) -> BTreeMap<ModelId, BTreeMap<SegmentId, Merged<()>>> {
    let mut versions: BTreeMap<ModelId, BTreeMap<SegmentId, Merged<()>>> = BTreeMap::new();
    for pane in panes {
        let PaneId { model, segment, .. } = pane.id.clone();
        versions.entry(model).or_default().insert(segment, pane.identified(()));
    }
    versions
}

impl Version {
    fn new(model: usize, watched: &ModelConfig, passed: Timestamp) -> Self {
        Self {
            model,
            course: Course { passed, begins: Timestamp::MIN },
            slices: watched.windows.iter().map(|_| Slices::new()).collect(),
        }
    }

    fn begin_anew(&mut self, begins: Timestamp) {
        let Course { passed, begins: earlier } = self.course;
        self.course = Course { passed: passed.max(begins), begins: earlier.max(begins) };
        for slices in &mut self.slices {
            *slices = slices.split_off(&begins);
        }
    }

    /// Whether there is anything that a later window depends on.
    fn is_needed(&self, watched: &ModelConfig) -> bool {
        let longest = watched.windows.iter().filter_map(|window| match window.kind {
            WindowKind::Length { length_millis } => Some(length_millis),
            WindowKind::Rows { .. } | WindowKind::Global => None,
        });
        let Course { passed, begins } = self.course;
        let is_partial = passed < begins.plus_millis(longest.max().unwrap_or_default());
        is_partial || self.slices.iter().any(|slices| !slices.is_empty())
    }

    fn add(
        &mut self,
        watched: &ModelConfig,
        id: &ModelId,
        span: WindowSpan,
        segments: &BTreeMap<SegmentId, Merged<()>>,
        missing: &[PartitionId],
        out: &mut Outcome,
    ) {
        for (at, (window, slices)) in watched.windows.iter().zip(&mut self.slices).enumerate() {
            if window.kind == WindowKind::Global {
                begin_with_reference(slices, segments, |start, segment| {
                    out.touched.insert(key(id, at, start, segment));
                });
            }
            let start = match window.kind {
                WindowKind::Length { .. } => {
                    Borders::of(watched, watched.slice_millis(window)).at_or_before(span.start())
                }
                WindowKind::Rows { .. } => slices.keys().next().copied().unwrap_or_else(|| {
                    Borders::of(watched, window.every_millis).at_or_before(span.start())
                }),
                WindowKind::Global => slices.keys().next().copied().unwrap_or(span.start()),
            };
            let slice = slices.entry(start).or_insert_with(|| Slice::new(span.end()));
            slice.end = span.end();
            slice.missing.extend(missing.iter().cloned());
            for (segment, counts) in segments {
                out.touched.insert(key(id, at, start, segment));
                slice.add(segment, counts);
            }
        }
    }

    /// Evaluates the windows that end up to `until`.
    fn run(&mut self, watched: &ModelConfig, id: &ModelId, until: Timestamp, out: &mut Outcome) {
        for (at, window) in watched.windows.iter().enumerate() {
            match window.kind {
                WindowKind::Length { length_millis } => {
                    self.run_length(watched, id, (at, window, length_millis), until, out);
                }
                WindowKind::Rows { rows } => {
                    if let Some(start) = self.full(watched, window, at, rows, until) {
                        self.end_rows(watched, id, at, start, out);
                    }
                }
                WindowKind::Global => {
                    let tick = self.grown(watched, window, at).filter(|tick| *tick <= until);
                    if let Some(tick) = tick {
                        let start = self.slices[at].keys().next().copied().unwrap_or(tick);
                        self.emit(id, (at, window), spanning(start, tick), Edition::ONLY, out);
                        self.forget_missing(id, at, out);
                    }
                }
            }
        }
        self.course.passed = self.course.passed.max(until);
    }

    fn run_length(
        &mut self,
        watched: &ModelConfig,
        id: &ModelId,
        (at, window, length_millis): (usize, &WindowConfig, i64),
        until: Timestamp,
        out: &mut Outcome,
    ) {
        let mut passed = self.course.passed;
        while let Some(tick) = self.tick(watched, window, at, passed).filter(|it| it.at <= until) {
            let span = WindowSpan::starting_at(tick.end.plus_millis(-length_millis), length_millis);
            if self.is_whole(at, span) {
                self.emit(id, (at, window), span, tick.edition, out);
            }
            passed = tick.at;
        }
        // What the next window begins with, and those that may be revised.
        let next = Borders::of(watched, window.every_millis).after(passed.max(until));
        let kept_from = next.plus_millis(-length_millis - watched.pane.revisions_millis);
        let kept = self.slices[at].split_off(&kept_from);
        for (start, slice) in std::mem::replace(&mut self.slices[at], kept) {
            let segments = slice.segments.keys();
            out.touched.extend(segments.map(|segment| key(id, at, start, segment)));
        }
    }

    /// Whether a window holds records, and all of those that it should.
    fn is_whole(&self, at: usize, span: WindowSpan) -> bool {
        self.course.begins <= span.start() && self.slices[at].range(inside(span)).next().is_some()
    }

    fn revise(
        &mut self,
        watched: &ModelConfig,
        id: &ModelId,
        (pane, segment): (WindowSpan, &SegmentId),
        counts: &Merged<()>,
        out: &mut Outcome,
    ) {
        let passed = self.course.passed;
        for (at, window) in watched.windows.iter().enumerate() {
            // Others are not revised: the configuration says so.
            let WindowKind::Length { length_millis } = window.kind else { continue };
            let slice = self.slices[at].entry(pane.start());
            let slice = slice.or_insert_with(|| Slice::new(pane.end()));
            slice.segments.insert(segment.clone(), counts.clone());
            slice.revised.entry(segment.clone()).or_default().push(passed);
            out.touched.insert(key(id, at, pane.start(), segment));
            let mut end = Borders::of(watched, window.every_millis).after(pane.start());
            while end <= passed && end <= pane.start().plus_millis(length_millis) {
                let span = WindowSpan::starting_at(end.plus_millis(-length_millis), length_millis);
                let is_kept = passed < end.plus_millis(watched.pane.revisions_millis);
                if is_kept && self.is_whole(at, span) {
                    let before = self.early_borders(watched, window, at, end, end);
                    let late = self.slices[at].range(inside(span)).map(|(_, slice)| {
                        let revised = slice.revised.get(segment).into_iter().flatten();
                        revised.filter(|passed| end <= **passed).count()
                    });
                    let edition = Edition {
                        is_final: true,
                        is_revised: true,
                        revision: u32::try_from(before + late.sum::<usize>()).unwrap_or(u32::MAX),
                    };
                    let all = out.due.len();
                    self.emit(id, (at, window), span, edition, out);
                    let others = out.due.split_off(all);
                    let own = others.into_iter().filter(|it| it.counts.id.segment == *segment);
                    out.due.extend(own);
                }
                end = end.plus_millis(window.every_millis);
            }
        }
    }

    /// Returns how many provisional results of the window that ends at `end` are due before `at`.
    fn early_borders(
        &self,
        watched: &ModelConfig,
        window: &WindowConfig,
        at: usize,
        end: Timestamp,
        before: Timestamp,
    ) -> usize {
        let Some(early) = window.early_millis else { return 0 };
        let early = Borders::of(watched, early);
        let begun = end.plus_millis(-window.every_millis);
        let borders = self.slices[at].range(begun..end).map(|(_, it)| early.at_or_after(it.end));
        borders.filter(|border| *border < before).collect::<BTreeSet<_>>().len()
    }

    /// Returns when a window of a length is evaluated next, should no record come any more.
    fn tick(
        &self,
        watched: &ModelConfig,
        window: &WindowConfig,
        at: usize,
        passed: Timestamp,
    ) -> Option<Tick> {
        let WindowKind::Length { length_millis } = window.kind else { return None };
        let (start, newest) = self.slices[at].last_key_value()?;
        if start.plus_millis(length_millis) <= passed {
            // Every window that holds it has ended.
            return None;
        }
        let end = Borders::of(watched, window.every_millis).after(passed);
        let mut tick = Tick { at: end, end, edition: Edition::ONLY };
        if let Some(early) = window.early_millis {
            // A provisional result is due at each border that something new lies before.
            let newest = Borders::of(watched, early).at_or_after(newest.end);
            if passed < newest && newest < end {
                tick.at = newest;
            }
            let before = self.early_borders(watched, window, at, end, tick.at);
            tick.edition = Edition {
                is_final: tick.at == end,
                is_revised: false,
                revision: u32::try_from(before).unwrap_or(u32::MAX),
            };
        }
        // At the end of time there is no later border.
        (passed < tick.at).then_some(tick)
    }

    /// Returns the start of the window of rows that has enough and ends up to `until`.
    fn full(
        &self,
        watched: &ModelConfig,
        window: &WindowConfig,
        at: usize,
        rows: u64,
        until: Timestamp,
    ) -> Option<Timestamp> {
        let (start, slice) = self.slices[at].first_key_value()?;
        let end = Borders::of(watched, window.every_millis).at_or_after(slice.end);
        (rows <= slice.rows() && end <= until).then_some(*start)
    }

    /// Returns when the window without an end is evaluated next: when something came since.
    fn grown(&self, watched: &ModelConfig, window: &WindowConfig, at: usize) -> Option<Timestamp> {
        let (_, slice) = self.slices[at].first_key_value()?;
        let end = Borders::of(watched, window.every_millis).at_or_after(slice.end);
        (self.course.passed < end).then_some(end)
    }

    /// What a window without an end says of partitions is about the time since its last result.
    fn forget_missing(&mut self, id: &ModelId, at: usize, out: &mut Outcome) {
        for (start, slice) in &mut self.slices[at] {
            if !std::mem::take(&mut slice.missing).is_empty() {
                let segments = slice.segments.keys();
                out.touched.extend(segments.map(|segment| key(id, at, *start, segment)));
            }
        }
    }

    fn end_rows(
        &mut self,
        watched: &ModelConfig,
        id: &ModelId,
        at: usize,
        start: Timestamp,
        out: &mut Outcome,
    ) {
        let window = &watched.windows[at];
        let Some(slice) = self.slices[at].get(&start) else { return };
        let end = Borders::of(watched, window.every_millis).at_or_after(slice.end);
        self.emit(id, (at, window), spanning(start, end), Edition::ONLY, out);
        if let Some(slice) = self.slices[at].remove(&start) {
            let segments = slice.segments.keys();
            out.touched.extend(segments.map(|segment| key(id, at, start, segment)));
        }
    }

    fn emit(
        &self,
        id: &ModelId,
        (at, window): (usize, &WindowConfig),
        span: WindowSpan,
        edition: Edition,
        out: &mut Outcome,
    ) {
        let mut sums: BTreeMap<SegmentId, Merged<()>> = BTreeMap::new();
        let mut missing = BTreeSet::new();
        for slice in self.slices[at].range(inside(span)).map(|(_, slice)| slice) {
            missing.extend(slice.missing.iter().cloned());
            for (segment, counts) in &slice.segments {
                match sums.get_mut(segment) {
                    Some(sum) => sum.add(counts),
                    None => {
                        sums.insert(segment.clone(), counts.clone());
                    }
                }
            }
        }
        // A process without the profile cannot tell segments apart that the profile names: one that
        // is compared alone would be judged on a part of its records.
        if let Some(all) = sums.get(&SegmentId::all()) {
            let digest = all.reference_digest().cloned();
            let others = sums.values_mut().filter(|sum| sum.reference_digest() != digest.as_ref());
            others.for_each(Merged::forget_reference);
        }
        out.due.extend(sums.into_iter().map(|(segment, counts)| Due {
            counts: counts.identified(WindowId {
                span,
                model: id.clone(),
                segment,
                name: window.name.clone(),
            }),
            window: at,
            missing: missing.iter().cloned().collect(),
            edition,
        }));
    }

    fn next(&self, watched: &ModelConfig) -> Option<Timestamp> {
        let windows = watched.windows.iter().enumerate();
        let ends = windows.filter_map(|(at, window)| match window.kind {
            WindowKind::Length { .. } => {
                self.tick(watched, window, at, self.course.passed).map(|tick| tick.at)
            }
            WindowKind::Rows { rows } => {
                let (_, slice) = self.slices[at].first_key_value()?;
                let end = Borders::of(watched, window.every_millis).at_or_after(slice.end);
                (rows <= slice.rows()).then_some(end)
            }
            WindowKind::Global => self.grown(watched, window, at),
        });
        ends.min()
    }
}

/// When a window is evaluated.
struct Tick {
    at: Timestamp,
    /// End of the window; later than `at` for a provisional result.
    end: Timestamp,
    edition: Edition,
}

/// Counts against another reference cannot be added: a window without an end begins with them.
fn begin_with_reference(
    slices: &mut Slices,
    segments: &BTreeMap<SegmentId, Merged<()>>,
    mut forget: impl FnMut(Timestamp, &SegmentId),
) {
    let all = SegmentId::all();
    let known = slices.values().next().and_then(|slice| slice.segments.get(&all));
    let is_same =
        known.zip(segments.get(&all)).is_none_or(|(one, other)| one.has_reference_of(other));
    if !is_same {
        for (start, slice) in std::mem::take(slices) {
            slice.segments.keys().for_each(|segment| forget(start, segment));
        }
    }
}

/// Starts of the slices inside a span.
fn inside(span: WindowSpan) -> std::ops::Range<Timestamp> {
    span.start()..span.end()
}

fn spanning(start: Timestamp, end: Timestamp) -> WindowSpan {
    WindowSpan::starting_at(start, end.as_millis() - start.as_millis())
}

fn key(model: &ModelId, window: usize, start: Timestamp, segment: &SegmentId) -> SliceKey {
    SliceKey { model: model.clone(), window, start, segment: segment.clone() }
}

impl Slice {
    fn new(end: Timestamp) -> Self {
        Self { end, missing: BTreeSet::new(), segments: BTreeMap::new(), revised: BTreeMap::new() }
    }

    fn add(&mut self, segment: &SegmentId, counts: &Merged<()>) {
        match self.segments.get_mut(segment) {
            Some(sum) => sum.add(counts),
            None => {
                self.segments.insert(segment.clone(), counts.clone());
            }
        }
    }

    /// Records in it; every one is in the segment of all.
    fn rows(&self) -> u64 {
        self.segments.get(&SegmentId::all()).map_or(0, |counts| counts.rows)
    }
}
