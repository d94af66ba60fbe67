//! Notes what changed since the last batch, and makes the next one of it.
//!
//! Before: [`crate::pipeline`] passes on checkpoints and closed windows, and shows its parts when a
//! batch is due. After: the edge stores the [`Batch`]. Only what changed is written: a window that
//! got no record since, or a picture without news, costs nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use driftd_catalog::{ModelId, PaneId, PartitionId, SegmentId, Timestamp, WindowId, WindowSpan};
use serde::Serialize;

use super::body::{
    Fingerprint, Manifest, PartitionBody, PassedBody, ResultBody, SliceBody, TotalsBody, WindowBody,
};
use super::halves::{JoinBody, joins};
use super::key::Key;
use super::{Batch, Change, Checkpoint, FORMAT, fingerprints};
use crate::config::Config;
use crate::digest::Digest;
use crate::gaps::{Gap, GapKey};
use crate::loss::LostTime;
use crate::models::Models;
use crate::panes::{Due, Panes, SliceKey};
use crate::retraining::Retraining;
use crate::shard::Progress;
use crate::snapshot::Totals;
use crate::windows::Windows;

/// What is in the store, and what is not yet.
#[derive(Debug)]
pub(crate) struct Saver {
    /// How each model is counted, by index into [`Config::models`].
    fingerprints: Vec<Fingerprint>,
    /// The same by name.
    names: Vec<Arc<str>>,
    /// Models of each topic.
    sources: BTreeMap<Arc<str>, Vec<usize>>,
    changes: BTreeMap<Key, Option<Vec<u8>>>,
    /// How far each partition was at its last checkpoint.
    positions: BTreeMap<PartitionId, i64>,
    /// Stored panes of stage 1, and how far each had looked.
    open: BTreeMap<PartitionId, BTreeMap<PaneId, i64>>,
    /// Stored panes of stage 2, and how far each had looked.
    pending: BTreeMap<(PartitionId, PaneId), i64>,
    /// How requests and responses of each topic are joined.
    pub(super) joins: BTreeMap<Arc<str>, Fingerprint>,
    /// What is stored of those that wait.
    pub(super) halves: BTreeMap<PartitionId, JoinBody>,
    /// Stored lost time of partitions whose reader keeps it.
    own_lost: BTreeMap<PartitionId, LostTime>,
    /// Stored closed windows, oldest first.
    results: BTreeMap<Series, VecDeque<WindowSpan>>,
    /// Stored closed panes.
    slices: BTreeSet<SliceKey>,
    /// Closed panes that got news, or are kept no more.
    touched_slices: BTreeSet<SliceKey>,
    /// Model versions with a stored course.
    courses: BTreeSet<ModelId>,
    /// Model versions whose closed panes got news.
    touched: BTreeSet<ModelId>,
    /// Something else got news.
    has_news: bool,
    /// Partitions tell how far they are only when that changes: it has to be kept.
    keeps_barriers: bool,
}

/// The parts of the pipeline that are written.
pub(crate) struct Parts<'a> {
    pub(crate) config: &'a Config,
    pub(crate) windows: &'a Windows,
    pub(crate) panes: &'a Panes,
    pub(crate) models: &'a Models,
    pub(crate) retraining: &'a Retraining,
    pub(crate) totals: &'a Totals,
    pub(crate) digest: Digest,
}

impl Saver {
    /// Starts with an empty store.
    pub(crate) fn new(config: &Config) -> Self {
        let mut saver = Self {
            fingerprints: fingerprints(config),
            names: config.models.iter().map(|model| Arc::clone(&model.name)).collect(),
            sources: config
                .sources
                .iter()
                .map(|source| (Arc::clone(&source.topic), source.counted_models().to_vec()))
                .collect(),
            changes: BTreeMap::new(),
            positions: BTreeMap::new(),
            open: BTreeMap::new(),
            joins: joins(config),
            halves: BTreeMap::new(),
            pending: BTreeMap::new(),
            own_lost: BTreeMap::new(),
            results: BTreeMap::new(),
            slices: BTreeSet::new(),
            touched_slices: BTreeSet::new(),
            courses: BTreeSet::new(),
            touched: BTreeSet::new(),
            has_news: true,
            keeps_barriers: false,
        };
        saver.put(Key::Format, &FORMAT);
        saver
    }

    pub(super) fn fingerprint(&self, model: usize) -> Fingerprint {
        self.fingerprints[model]
    }

    /// Takes note of a row that the store holds already.
    pub(super) fn is_stored(&mut self, key: &Key, to_offset: i64) {
        match key {
            Key::Open(partition, pane) => {
                self.open.entry(partition.clone()).or_default().insert(pane.clone(), to_offset);
            }
            Key::Pending(partition, pane) => {
                self.pending.insert((partition.clone(), pane.clone()), to_offset);
            }
            Key::Result(window) => {
                let (series, span) = series(window.clone());
                self.results.entry(series).or_default().push_back(span);
            }
            Key::Course(model) => {
                self.courses.insert(model.clone());
            }
            Key::Slice(slice) => {
                self.slices.insert(slice.clone());
            }
            Key::Format
            | Key::Partition(_)
            | Key::Closed(_)
            | Key::Models
            | Key::Episodes
            | Key::Retraining
            | Key::Totals
            | Key::Input
            | Key::Barrier(_)
            | Key::Store
            | Key::Outbox(_)
            | Key::Seal
            | Key::Gap(_)
            | Key::Lost(_)
            | Key::Mark(_)
            | Key::OwnLost(_)
            | Key::Join(_)
            | Key::Half(..)
            | Key::Labels(_)
            | Key::Cohort(..) => {}
        }
    }

    /// Takes what a partition holds now.
    pub(crate) fn checkpoint(&mut self, checkpoint: Checkpoint) {
        let Checkpoint { partition, next_offset, event_time_max, waiting, mark, lost, .. } =
            checkpoint;
        let Checkpoint { join, open, .. } = checkpoint;
        let position = self.positions.entry(partition.clone()).or_insert(next_offset);
        if next_offset < *position {
            // Of a reader that has let go of the partition since.
            return;
        }
        *position = next_offset;
        let mut gone = self.open.remove(&partition).unwrap_or_default();
        let mut kept = BTreeMap::new();
        for (pane, changed) in open {
            let known = gone.remove(&pane);
            let to_offset = changed.as_ref().map(|it| it.to_offset).or(known);
            if let Some(partial) = changed {
                let body = WindowBody::of_partial(self.fingerprints[partial.model], &partial);
                self.put(Key::Open(partition.clone(), pane.clone()), &body);
            }
            kept.insert(pane, to_offset.unwrap_or(next_offset));
        }
        for pane in gone.into_keys() {
            self.remove(Key::Open(partition.clone(), pane));
        }
        let event_time_max = event_time_max.map(Timestamp::as_millis);
        let manifest = Manifest::of(&kept);
        let models = self.sources.get(&partition.topic).into_iter().flatten();
        let models = models.filter(|model| !waiting.contains(*model));
        let counted =
            models.map(|model| (Arc::clone(&self.names[*model]), self.fingerprints[*model]));
        let counted = counted.collect();
        let body = PartitionBody { next_offset, event_time_max, counted, manifest };
        self.put(Key::Partition(partition.clone()), &body);
        if let Some(mark) = mark {
            self.put(Key::Mark(partition.clone()), &mark);
        }
        if let Some(lost) = lost
            && self.own_lost.insert(partition.clone(), lost) != Some(lost)
        {
            self.put(Key::OwnLost(partition.clone()), &lost);
        }
        self.halves(&partition, join);
        self.open.insert(partition, kept);
    }

    /// Keeps how far partitions are from now on.
    pub(super) fn keep_barriers(&mut self) {
        self.keeps_barriers = true;
    }

    /// Takes how far a partition is.
    pub(crate) fn barrier(&mut self, progress: &Progress) {
        if self.keeps_barriers {
            let Progress { next_offset, watermark, newest, idle, .. } = *progress;
            let counted = progress.counted.clone();
            let body = PassedBody { next_offset, watermark, newest, idle, counted };
            self.put(Key::Barrier(progress.partition.clone()), &body);
        }
    }

    /// Takes a gap that is new.
    pub(crate) fn gap(&mut self, key: GapKey, gap: Gap) {
        self.put(Key::Gap(key), &gap);
    }

    /// Takes note of a gap that is no more.
    pub(crate) fn forget_gap(&mut self, key: GapKey) {
        self.remove(Key::Gap(key));
    }

    /// Forgets how far a partition was that begins anew, and takes what it is counted to from then
    /// on for new: it may end at an offset at which what is stored ended.
    pub(crate) fn forget_partition(&mut self, partition: &PartitionId) {
        for ((of, _), to_offset) in &mut self.pending {
            if of == partition {
                *to_offset = i64::MIN;
            }
        }
        self.remove(Key::Barrier(partition.clone()));
    }

    /// Takes the time of which records of a partition are lost.
    pub(crate) fn lost(&mut self, partition: PartitionId, lost: &LostTime) {
        self.put(Key::Lost(partition), lost);
    }

    /// Takes how far a lane's topic partition was read.
    pub(crate) fn input(&mut self, next_offset: i64) {
        self.put(Key::Input, &next_offset);
    }

    /// Returns all changes of checkpoints since the last batch.
    pub(super) fn take(&mut self) -> Batch {
        let changes = std::mem::take(&mut self.changes).into_iter();
        changes.map(|(key, value)| Change { key: key.encode(), value }).collect()
    }

    /// Takes a closed window; the oldest of its series makes room.
    pub(crate) fn closed(&mut self, config: &Config, due: &Due, closed_at: Timestamp) {
        let Due { counts, window, missing, edition } = due;
        let body = ResultBody {
            window: WindowBody::of_merged(self.fingerprints[counts.model], counts),
            missing: missing.clone(),
            closed_at,
            is_revised: edition.is_revised,
            revision: edition.revision,
        };
        let (series, span) = series(counts.id.clone());
        let spans = self.results.entry(series.clone()).or_default();
        if edition.is_revised {
            if spans.contains(&span) {
                self.put(Key::Result(counts.id.clone()), &body);
            }
            return;
        }
        spans.push_back(span);
        let history = config.models[counts.model].windows[*window].history;
        let excess = spans.len().saturating_sub(history);
        for span in spans.drain(..excess).collect::<Vec<_>>() {
            self.remove(Key::Result(window_of(&series, span)));
        }
        self.put(Key::Result(counts.id.clone()), &body);
        self.has_news = true;
    }

    /// Takes what a closed pane changed in what is kept.
    pub(crate) fn passed(&mut self, versions: Vec<ModelId>, slices: BTreeSet<SliceKey>) {
        self.touched.extend(versions);
        self.touched_slices.extend(slices);
    }

    /// Takes note that rows came too late for a closed pane.
    pub(crate) fn late(&mut self, model: &ModelId) {
        self.touched.insert(model.clone());
    }

    /// Takes note that nothing that was kept of a model version goes on.
    pub(crate) fn begin_anew(&mut self, model: &ModelId) {
        self.touched.insert(model.clone());
        self.touched_slices.extend(self.slices.iter().filter(|it| it.model == *model).cloned());
    }

    /// Takes note of news from outside.
    pub(crate) fn news(&mut self) {
        self.has_news = true;
    }

    /// Forgets a model version that is followed no more.
    pub(crate) fn forget(&mut self, model: &ModelId) {
        let results = self.results.extract_if(.., |(it, _, _), _| it == model);
        let windows: Vec<WindowId> = results
            .flat_map(|(series, spans)| spans.into_iter().map(move |span| window_of(&series, span)))
            .collect();
        for window in windows {
            self.remove(Key::Result(window));
        }
        self.touched_slices.extend(self.slices.iter().filter(|it| it.model == *model).cloned());
        if self.courses.remove(model) {
            self.remove(Key::Course(model.clone()));
        }
        self.touched.remove(model);
        self.remove(Key::Closed(model.clone()));
        self.has_news = true;
    }

    /// Returns all changes since the last batch; none when there is nothing to store.
    pub(crate) fn batch(&mut self, parts: &Parts<'_>) -> Batch {
        self.write_pending(parts.windows);
        self.write_slices(parts.panes);
        for model in std::mem::take(&mut self.touched) {
            self.write_course(parts.panes, &model);
            let index = self.names.iter().position(|name| **name == *model.name());
            if let (Some(index), Some(closed)) = (index, parts.windows.closed(&model)) {
                self.put(Key::Closed(model), &(self.fingerprints[index], closed));
            }
        }
        if std::mem::take(&mut self.has_news) {
            self.put(Key::Models, &parts.models.bodies(parts.config));
            self.put(Key::Episodes, parts.models.episodes());
            self.put(Key::Retraining, &parts.retraining.body());
            self.put(Key::Totals, &totals(parts));
        }
        self.take()
    }

    fn write_pending(&mut self, windows: &Windows) {
        let mut gone = std::mem::take(&mut self.pending);
        for partial in windows.partials() {
            let key = (partial.partition.clone(), partial.pane.clone());
            if gone.remove(&key) != Some(partial.to_offset) {
                let body = WindowBody::of_partial(self.fingerprints[partial.model], partial);
                self.put(Key::Pending(key.0.clone(), key.1.clone()), &body);
            }
            self.pending.insert(key, partial.to_offset);
        }
        for (partition, pane) in gone.into_keys() {
            self.remove(Key::Pending(partition, pane));
        }
    }

    fn write_slices(&mut self, panes: &Panes) {
        for key in std::mem::take(&mut self.touched_slices) {
            if let Some((slice, counts)) = panes.slice(&key) {
                let body = SliceBody {
                    window: WindowBody::of_merged(self.fingerprints[counts.model], counts),
                    missing: slice.missing.iter().cloned().collect(),
                    end: slice.end,
                    revised: slice.revised.get(&key.segment).cloned().unwrap_or_default(),
                };
                self.slices.insert(key.clone());
                self.put(Key::Slice(key), &body);
            } else if self.slices.remove(&key) {
                self.remove(Key::Slice(key));
            }
        }
    }

    fn write_course(&mut self, panes: &Panes, id: &ModelId) {
        if let Some((model, course)) = panes.course(id) {
            self.courses.insert(id.clone());
            self.put(Key::Course(id.clone()), &(self.fingerprints[model], course));
        } else if self.courses.remove(id) {
            self.remove(Key::Course(id.clone()));
        }
    }

    pub(super) fn put(&mut self, key: Key, body: &impl Serialize) {
        self.changes.insert(key, Some(super::encode(body)));
    }

    pub(super) fn remove(&mut self, key: Key) {
        self.changes.insert(key, None);
    }
}

/// What the history of one kind of windows is kept by.
type Series = (ModelId, SegmentId, Arc<str>);

fn series(window: WindowId) -> (Series, WindowSpan) {
    let WindowId { span, model, segment, name } = window;
    ((model, segment, name), span)
}

fn window_of((model, segment, name): &Series, span: WindowSpan) -> WindowId {
    WindowId { span, model: model.clone(), segment: segment.clone(), name: Arc::clone(name) }
}

fn totals(parts: &Parts<'_>) -> TotalsBody {
    TotalsBody {
        windows_closed: parts.totals.windows_closed,
        retrain_published: parts.totals.retrain_published,
        jobs_succeeded: parts.totals.jobs_succeeded,
        jobs_failed: parts.totals.jobs_failed,
        digest: parts.digest.sum(),
    }
}
