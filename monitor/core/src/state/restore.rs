//! Reads the rows of an earlier run.
//!
//! Before: the edge reads the whole store. After: a [`crate::pipeline::Pipeline`] that goes on
//! where the rows end, and partitions for the shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_alerts::EpisodeMemory;
use driftd_catalog::{ModelId, PaneId, PartitionId, Timestamp, WindowSpan};
use serde::de::DeserializeOwned;

use super::body::{
    Find, Fingerprint, Manifest, ModelBody, PartitionBody, PassedBody, References, ResultBody,
    SliceBody, TotalsBody, WindowBody,
};
use super::key::Key;
use super::lane::not_counted;
use super::loss::mark;
use super::{Counted, FORMAT, LaneId, Outbox, Row, Saver, Seal, StoreId, fingerprints};
use crate::config::{Config, WindowConfig};
use crate::evaluate::evaluate;
use crate::gaps::{GapKey, Stretch};
use crate::halves::BySide;
use crate::loss::Accepted;
use crate::models::Models;
use crate::panes::{Course, Due, Panes};
use crate::partial::Partial;
use crate::partition::PartitionState;
use crate::pipeline::Pipeline;
use crate::result::Edition;
use crate::retraining::{Retraining, RetrainingBody};
use crate::shard::Progress;
use crate::snapshot::Totals;
use crate::windows::{Closed, Windows};

/// What the rows of an earlier run come to.
#[derive(Debug)]
pub struct Restored {
    /// Goes on where the rows end.
    pub pipeline: Pipeline,
    /// Partitions, each at the offset to read from.
    pub partitions: Vec<PartitionState>,
    /// What cannot be gone on with.
    pub dropped: Vec<Dropped>,
    /// How far the lane's topic partition was read; absent where none is.
    pub input: Option<i64>,
}

/// Windows of a model version that were left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Which.
    pub model: ModelId,
    /// How many, open and closed, segments counted each.
    pub windows: usize,
}

/// How to leave stored state behind.
const ANEW: &str = "remove the state folder; with `scale_out`, name another `kafka.group` and other \
    topics in `scale_out`";

/// Rows that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// Another version of the program wrote them.
    #[error(
        "the stored state has format {found}, this driftd reads {FORMAT}: start the version that \
         wrote it; to count anew, {ANEW}"
    )]
    Format {
        /// The version found.
        found: u32,
    },
    /// The rows are not those that were written together.
    #[error(
        "the stored state is damaged: a row is missing, or is not the one that was written last; \
         to count anew, {ANEW}"
    )]
    Unsealed,
    /// A row is not what its key says.
    #[error("the stored state is damaged: {what} cannot be read")]
    Damaged {
        /// Which row.
        what: String,
        /// Where.
        #[source]
        source: postcard::Error,
    },
    /// Rows that were stored together are not there together.
    #[error(
        "the stored state of {partition} is torn: an open window, or half of a record that \
         waits for the other, is missing or old; to count anew, {ANEW}"
    )]
    Torn {
        /// Whose.
        partition: PartitionId,
    },
}

pub(super) type Rows = BTreeMap<Key, Vec<u8>>;

/// Reads all rows of the store; of none, this is a first start, and `fresh` is the store's name
/// from now on. `find` looks up the profile of a model version, by index into [`Config::models`].
///
/// Windows that were counted under another configuration, or against a profile that is there no
/// more, are left out: counts of two kinds never mix.
pub fn restore(
    config: &Arc<Config>,
    rows: impl IntoIterator<Item = Row>,
    find: Find<'_>,
    fresh: StoreId,
    now: Timestamp,
) -> Result<Restored, RestoreError> {
    restore_accepting(config, rows, find, (fresh, &[]), now)
}

/// Like [`restore()`], with losses that a person has `accepted`. Those of partitions that no run
/// has read are none.
pub fn restore_accepting(
    config: &Arc<Config>,
    rows: impl IntoIterator<Item = Row>,
    find: Find<'_>,
    (fresh, accepted): (StoreId, &[Accepted]),
    now: Timestamp,
) -> Result<Restored, RestoreError> {
    let rows: Vec<Row> = rows.into_iter().collect();
    let seal = sealed(&rows);
    let rows = keyed(rows)?;
    let outbox = outbox(config, &rows, fresh)?;
    restore_rows(config, (Saver::new(config), Some(outbox), seal), &rows, (find, accepted), now)
}

/// Like [`restore`], of rows between which those of partitions may lie.
pub fn restore_lane(
    config: &Arc<Config>,
    lane: LaneId,
    rows: impl IntoIterator<Item = Row>,
    find: Find<'_>,
    now: Timestamp,
) -> Result<Restored, RestoreError> {
    let mut kept = Vec::new();
    for row in rows {
        if key(&row.0)?.reader().is_none() {
            kept.push(row);
        }
    }
    let seal = sealed(&kept);
    let rows = keyed(kept)?;
    let mut saver = Saver::new(config);
    saver.keep_barriers();
    let mut restored = restore_rows(config, (saver, None, seal), &rows, (find, &[]), now)?;
    let fingerprints = fingerprints(config);
    for (key, row) in &rows {
        let Key::Barrier(partition) = key else { continue };
        let PassedBody { next_offset, watermark, newest, idle, counted } = read_row(row, key)?;
        let source = config.source_of(&partition.topic);
        if let Some(source) = source {
            let progress = Progress::new(partition.clone(), source, next_offset);
            let own = (&**config, &*fingerprints);
            let not_counted = not_counted(own, lane, source, (&counted, newest));
            let passed = Progress { watermark, newest, idle, ..progress };
            let progress = Progress { counted, not_counted, ..passed };
            restored.pipeline.passed(now, &progress);
        }
    }
    Ok(restored)
}

fn restore_rows(
    config: &Arc<Config>,
    (saver, outbox, seal): (Saver, Option<Outbox>, Option<Seal>),
    rows: &Rows,
    (find, accepted): (Find<'_>, &[Accepted]),
    now: Timestamp,
) -> Result<Restored, RestoreError> {
    let mut reading = Reading { accepted, ..Reading::new(config, saver, find) };
    let mut windows = reading.windows(rows)?;
    let mut partitions = reading.partitions(rows, now)?;
    let lost = reading.lost(rows, &mut partitions, now)?;
    reading.tell_left_halves(&mut partitions);
    let models = reading.models(rows)?;
    let stored_labels = reading.labels(rows)?;
    let mut panes = reading.panes(rows)?;
    reading.begin_anew(&mut windows, &models, &mut panes, &partitions);
    let retraining = match rows.get(&Key::Retraining) {
        Some(row) => Retraining::restore(config, read::<RetrainingBody>(row, "the retraining")?),
        None => Retraining::new(config),
    };
    let totals: TotalsBody = match rows.get(&Key::Totals) {
        Some(row) => read(row, "the totals")?,
        None => TotalsBody::default(),
    };
    let seal = seal.ok_or(RestoreError::Unsealed)?;
    let Reading { saver, dropped, missed, .. } = reading;
    let dropped = dropped
        .into_iter()
        .map(|(model, LeftBehind { windows, .. })| Dropped { model, windows })
        .collect();
    let mut pipeline = Pipeline::restored(
        config,
        (saver, outbox, seal),
        (windows, panes, models, retraining),
        &Totals {
            windows_closed: totals.windows_closed,
            retrain_published: totals.retrain_published,
            jobs_succeeded: totals.jobs_succeeded,
            jobs_failed: totals.jobs_failed,
            ..Totals::default()
        },
        totals.digest.into(),
    );
    pipeline.restore_labels(stored_labels);
    for (key, row) in rows {
        if let Key::Gap(gap) = key {
            pipeline.restore_gap(gap.clone(), read_row(row, key)?);
        }
    }
    for (key, span) in missed {
        pipeline.miss(key, Stretch::Missing { from: span.start(), to: span.end() });
    }
    for (partition, lost) in lost {
        pipeline.lacks(partition, lost);
    }
    let input = rows.get(&Key::Input).map(|row| read(row, "the input")).transpose()?;
    Ok(Restored { pipeline, partitions, dropped, input })
}

/// Returns the seal of the rows, if they are whole.
fn sealed(rows: &[Row]) -> Option<Seal> {
    let (own, format) = (Key::Seal.encode(), Key::Format.encode());
    let is_sealed = rows.iter().any(|(key, _)| *key == own);
    // A lane's first rows may find the format written by a reader.
    let others = rows.iter().filter(|(key, _)| *key != own && (is_sealed || *key != format));
    let seal = Seal::of(others.map(|(key, value)| (&**key, &**value)));
    let row = rows.iter().find(|(key, _)| *key == own).map(|(_, value)| &**value);
    seal.fits(row).then_some(seal)
}

pub(super) fn keyed(rows: impl IntoIterator<Item = Row>) -> Result<Rows, RestoreError> {
    let mut keyed = Rows::new();
    for (bytes, value) in rows {
        keyed.insert(key(&bytes)?, value);
    }
    if let Some(row) = keyed.get(&Key::Format) {
        let found = read(row, "the format")?;
        if found != FORMAT {
            return Err(RestoreError::Format { found });
        }
    }
    Ok(keyed)
}

pub(super) fn key(bytes: &[u8]) -> Result<Key, RestoreError> {
    postcard::from_bytes(bytes)
        .map_err(|source| RestoreError::Damaged { what: "a key".to_owned(), source })
}

pub(super) fn read<T: DeserializeOwned>(row: &[u8], what: &str) -> Result<T, RestoreError> {
    postcard::from_bytes(row)
        .map_err(|source| RestoreError::Damaged { what: what.to_owned(), source })
}

pub(super) fn read_row<T: DeserializeOwned>(row: &[u8], key: &Key) -> Result<T, RestoreError> {
    read(row, &format!("{key:?}"))
}

fn outbox(config: &Config, rows: &Rows, fresh: StoreId) -> Result<Outbox, RestoreError> {
    let Some(body) = rows.get(&Key::Store) else { return Ok(Outbox::new(config, fresh)) };
    let mut messages = Vec::new();
    for (key, row) in rows {
        if let Key::Outbox(number) = key {
            messages.push((*number, read_row(row, key)?));
        }
    }
    Ok(Outbox::restore(config, read(body, "the store")?, messages))
}

/// Rows on their way to what they were made from.
pub(super) struct Reading<'a> {
    pub(super) config: &'a Arc<Config>,
    pub(super) saver: Saver,
    pub(super) references: References<'a>,
    pub(super) dropped: BTreeMap<ModelId, LeftBehind>,
    /// Counts of partitions that are not gone on with.
    pub(super) missed: Vec<(GapKey, WindowSpan)>,
    /// Losses of partitions, which begin anew.
    pub(super) accepted: &'a [Accepted],
    /// Up to where panes of models are closed, by source.
    pub(super) closed: BTreeMap<usize, Timestamp>,
    /// Models that such partitions had not begun to count.
    pub(super) uncounted: BTreeMap<PartitionId, Vec<usize>>,
    /// Requests and responses that waited for their other half, and do not any more.
    pub(super) left_halves: BTreeMap<PartitionId, BySide>,
}

/// What is not gone on with of a model version.
#[derive(Debug, Default)]
pub(super) struct LeftBehind {
    /// Windows with records.
    windows: usize,
    /// Event time of the newest of their records, or the last of those that are decided.
    newest: Option<Timestamp>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(config: &'a Arc<Config>, saver: Saver, find: Find<'a>) -> Self {
        let references = References::new(find);
        let (dropped, missed) = (BTreeMap::new(), Vec::new());
        Self {
            config,
            saver,
            references,
            dropped,
            missed,
            accepted: &[],
            closed: BTreeMap::new(),
            uncounted: BTreeMap::new(),
            left_halves: BTreeMap::new(),
        }
    }

    fn windows(&mut self, rows: &Rows) -> Result<Windows, RestoreError> {
        let mut pending = Vec::new();
        let mut closed: BTreeMap<ModelId, Closed> = BTreeMap::new();
        for (key, row) in rows {
            if let Key::Pending(partition, pane) = key {
                if self.begins_anew(partition) {
                    self.saver.remove(key.clone());
                    continue;
                }
                let partial = self.partial(key, pane, row)?;
                if partial.is_none() {
                    self.miss(&pane.model, partition, pane.span);
                }
                pending.extend(partial);
            } else if let Key::Closed(model) = key {
                let (fingerprint, row): (Fingerprint, Closed) = read_row(row, key)?;
                let index = self.config.model_of(model);
                if let Some(index) = index {
                    let source = self.config.models[index].source;
                    let newest = self.closed.entry(source).or_insert(Timestamp::MIN);
                    *newest = row.newest_time().max(*newest);
                }
                if index.is_some_and(|index| self.saver.fingerprint(index) == fingerprint) {
                    closed.insert(model.clone(), row);
                } else if index.is_some() {
                    // What was closed once is not begun again, however it is counted now or later:
                    // its panes may reach beyond what is known of its records.
                    let dropped = self.dropped.entry(model.clone()).or_default();
                    dropped.newest = dropped.newest.max(Some(row.newest_time()));
                    self.saver.remove(key.clone());
                }
                // Of a model that is not configured it stays as it is: it may come back.
            }
        }
        Ok(Windows::restore(pending, closed))
    }

    /// Reads a partition's counts; `None`, and the row is removed, when they are of another kind.
    fn partial(
        &mut self,
        key: &Key,
        pane: &PaneId,
        row: &[u8],
    ) -> Result<Option<Partial>, RestoreError> {
        let body: WindowBody = read_row(row, key)?;
        let newest = Timestamp::from_millis(body.event_time_max);
        let partial = self
            .model_of(&pane.model, &body)
            .and_then(|model| body.into_partial(pane, model, &mut self.references));
        match &partial {
            Some(partial) => self.saver.is_stored(key, partial.to_offset),
            None => self.drop(key, &pane.model, newest),
        }
        Ok(partial)
    }

    /// Notes that what a partition passed is not there any more. Whoever counts the model again,
    /// this process or a later one, must not take what is left for all.
    fn miss(&mut self, model: &ModelId, partition: &PartitionId, span: WindowSpan) {
        let key = GapKey { model: model.name().into(), partition: partition.clone() };
        self.missed.push((key, span));
    }

    fn drop(&mut self, key: &Key, model: &ModelId, newest: Timestamp) {
        let dropped = self.dropped.entry(model.clone()).or_default();
        dropped.windows += 1;
        dropped.newest = dropped.newest.max(Some(newest));
        self.saver.remove(key.clone());
    }

    /// Reads the closed panes that windows still need.
    fn panes(&mut self, rows: &Rows) -> Result<Panes, RestoreError> {
        let mut panes = Panes::default();
        for (key, row) in rows {
            let Key::Course(id) = key else { continue };
            let (fingerprint, course): (Fingerprint, Course) = read_row(row, key)?;
            let model =
                self.config.model_of(id).filter(|it| self.saver.fingerprint(*it) == fingerprint);
            if let Some(model) = model {
                panes.restore(self.config, model, id.clone(), course);
                self.saver.is_stored(key, 0);
            } else {
                self.dropped.entry(id.clone()).or_default();
                self.saver.remove(key.clone());
            }
        }
        for (key, row) in rows {
            let Key::Slice(slice) = key else { continue };
            let SliceBody { window, missing, end, revised } = read_row(row, key)?;
            let newest = Timestamp::from_millis(window.event_time_max);
            let partitions = window.partitions();
            let counts = self.model_of(&slice.model, &window).and_then(|model| {
                window.into_merged((), (model, &slice.model), &mut self.references)
            });
            let is_kept = counts.is_some_and(|counts| {
                panes.restore_slice(slice.clone(), end, (missing, revised), counts)
            });
            if is_kept {
                self.saver.is_stored(key, 0);
            } else {
                self.drop(key, &slice.model, newest);
                let length = (end.as_millis() - slice.start.as_millis()).max(1);
                let span = WindowSpan::starting_at(slice.start, length);
                for partition in &partitions {
                    self.miss(&slice.model, partition, span);
                }
            }
        }
        Ok(panes)
    }

    pub(super) fn partitions(
        &mut self,
        rows: &Rows,
        now: Timestamp,
    ) -> Result<Vec<PartitionState>, RestoreError> {
        self.check_halves(rows)?;
        let mut open: BTreeMap<PartitionId, Vec<Partial>> = BTreeMap::new();
        let mut found: BTreeMap<PartitionId, BTreeMap<PaneId, i64>> = BTreeMap::new();
        for (key, row) in rows {
            if let Key::Open(partition, pane) = key {
                if self.begins_anew(partition) {
                    self.saver.remove(key.clone());
                    continue;
                }
                let to_offset = read_row::<WindowBody>(row, key)?.to_offset();
                let found = found.entry(partition.clone()).or_default();
                found.extend(to_offset.map(|to_offset| (pane.clone(), to_offset)));
                let partial = self.partial(key, pane, row)?;
                open.entry(partition.clone()).or_default().extend(partial);
            }
        }
        let mut partitions = Vec::new();
        for (key, row) in rows {
            let Key::Partition(id) = key else { continue };
            let source = self.config.source_of(&id.topic);
            let Some(source) = source else {
                // Its topic is read no more; should it be read again, it is a first start.
                self.forget(rows, id)?;
                continue;
            };
            let PartitionBody { next_offset, event_time_max, counted, manifest } =
                read_row(row, key)?;
            if self.begins_anew(id) {
                // The gap that such a model has would end never, else.
                self.uncounted.insert(id.clone(), self.new_models(source, &counted));
                self.forget(rows, id)?;
                continue;
            }
            if Manifest::of(&found.remove(id).unwrap_or_default()) != manifest {
                return Err(RestoreError::Torn { partition: id.clone() });
            }
            let event_time_max = event_time_max.map(Timestamp::from_millis);
            let partials = open.remove(id).unwrap_or_default();
            let position = (next_offset, event_time_max);
            let mut state = PartitionState::restore(id.clone(), source, position, partials, now);
            state.begin_to_count(self.new_models(source, &counted));
            state.set_mark(mark(rows, id)?);
            self.halves(rows, &mut state)?;
            partitions.push(state);
        }
        Ok(partitions)
    }

    /// Returns the models of a source that were not counted before.
    fn new_models(&self, source: usize, counted: &[Counted]) -> Vec<usize> {
        let models = self.config.sources[source].counted_models().iter().copied();
        let is_new = |model: &usize| {
            let name = &self.config.models[*model].name;
            !counted.iter().any(|(other, _)| other == name)
        };
        models.filter(is_new).collect()
    }

    fn models(&mut self, rows: &Rows) -> Result<Models, RestoreError> {
        let episodes = match rows.get(&Key::Episodes) {
            Some(row) => read(row, "the episodes")?,
            None => EpisodeMemory::default(),
        };
        let mut models = Models::restore(self.config, episodes);
        for (key, row) in rows {
            let Key::Result(id) = key else { continue };
            let body: ResultBody = read_row(row, key)?;
            let ResultBody { window, missing, closed_at, is_revised, revision } = body;
            let newest = Timestamp::from_millis(window.event_time_max);
            let due = self.model_of(&id.model, &window).and_then(|model| {
                let named = |it: &WindowConfig| it.name == id.name;
                let at = self.config.models[model].windows.iter().position(named)?;
                let identity = (model, &id.model);
                let counts = window.into_merged(id.clone(), identity, &mut self.references)?;
                let edition = Edition { is_final: true, is_revised, revision };
                Some(Due { counts, window: at, missing, edition })
            });
            let Some(due) = due else {
                self.drop(key, &id.model, newest);
                continue;
            };
            self.saver.is_stored(key, 0);
            let result = evaluate(self.config, &due, closed_at);
            models.remember(self.config, &due, result);
        }
        if let Some(row) = rows.get(&Key::Models) {
            let bodies: Vec<ModelBody> = read(row, "the models")?;
            for body in bodies {
                if let Some(model) = self.config.model_of(&body.id) {
                    models.show_again(self.config, model, body);
                }
            }
        }
        Ok(models)
    }

    /// A model version whose windows were left behind begins with the first whole window: half a
    /// window must not pass for one.
    fn begin_anew(
        &mut self,
        windows: &mut Windows,
        models: &Models,
        panes: &mut Panes,
        partitions: &[PartitionState],
    ) {
        for (id, dropped) in &self.dropped {
            let Some(model) = self.config.model_of(id) else { continue };
            let config = &self.config.models[model];
            self.saver.begin_anew(id);
            let own = partitions.iter().filter(|it| it.source() == config.source);
            let newest = own.filter_map(PartitionState::event_time_max).max();
            let newest = newest.max(models.event_time_max(id)).max(dropped.newest);
            if let Some(newest) = newest {
                let span = config.pane.span_of(newest);
                windows.begin_after(id, (span, model));
                panes.begin_anew(self.config, model, id, span.end());
            } else {
                panes.forget(id);
            }
        }
    }

    /// Returns the model of a window that is still counted alike.
    fn model_of(&self, id: &ModelId, body: &WindowBody) -> Option<usize> {
        self.config.model_of(id).filter(|it| self.saver.fingerprint(*it) == body.fingerprint)
    }
}
