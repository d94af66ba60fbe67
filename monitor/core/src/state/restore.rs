//! Reads the rows of an earlier run.
//!
//! Before: the edge reads the whole store. After: a [`crate::pipeline::Pipeline`] that goes on
//! where the rows end, and partitions for the shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_alerts::EpisodeMemory;
use driftd_catalog::{ModelId, PaneId, PartitionId, Timestamp};
use serde::de::DeserializeOwned;

use super::body::{
    Fingerprint, ModelBody, PartitionBody, References, ResultBody, SliceBody, TotalsBody,
    WindowBody,
};
use super::key::Key;
use super::{FORMAT, Row, Saver};
use crate::config::{Config, WindowConfig};
use crate::evaluate::evaluate;
use crate::models::Models;
use crate::panes::{Course, Due, Panes};
use crate::partial::Partial;
use crate::partition::PartitionState;
use crate::pipeline::Pipeline;
use crate::reference::ModelReference;
use crate::result::Edition;
use crate::retraining::{Retraining, RetrainingBody};
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
}

/// Windows of a model version that were left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Which.
    pub model: ModelId,
    /// How many, open and closed, segments counted each.
    pub windows: usize,
}

/// Rows that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// Another version of the program wrote them.
    #[error(
        "the stored state has format {found}, this driftd reads {FORMAT}: start the version that wrote it, or \
         remove the folder to count anew"
    )]
    Format {
        /// The version found.
        found: u32,
    },
    /// A row is not what its key says.
    #[error("the stored state is damaged: {what} cannot be read")]
    Damaged {
        /// Which row.
        what: String,
        /// Where.
        #[source]
        source: postcard::Error,
    },
}

type Rows = BTreeMap<Key, Vec<u8>>;

/// Reads all rows of the store; of none, this is a first start. `find` looks up the profile of a
/// model version, by index into [`Config::models`].
///
/// Windows that were counted under another configuration, or against a profile that is there no
/// more, are left out: counts of two kinds never mix.
pub fn restore(
    config: &Arc<Config>,
    rows: impl IntoIterator<Item = Row>,
    find: &dyn Fn(usize, &ModelId) -> Option<Arc<ModelReference>>,
    now: Timestamp,
) -> Result<Restored, RestoreError> {
    let rows = keyed(rows)?;
    let mut reading = Reading {
        config,
        saver: Saver::new(config),
        references: References::new(find),
        dropped: BTreeMap::new(),
    };
    let mut windows = reading.windows(&rows)?;
    let partitions = reading.partitions(&rows, now)?;
    let models = reading.models(&rows)?;
    let mut panes = reading.panes(&rows)?;
    reading.begin_anew(&mut windows, &mut panes, &partitions);
    let retraining = match rows.get(&Key::Retraining) {
        Some(row) => {
            Retraining::restore(config, read::<RetrainingBody>(row, &Key::Retraining)?, now)
        }
        None => Retraining::new(config),
    };
    let totals: TotalsBody = match rows.get(&Key::Totals) {
        Some(row) => read(row, &Key::Totals)?,
        None => TotalsBody::default(),
    };
    let Reading { saver, dropped, .. } = reading;
    let dropped = dropped.into_iter().map(|(model, windows)| Dropped { model, windows }).collect();
    let pipeline = Pipeline::restored(
        config,
        saver,
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
    Ok(Restored { pipeline, partitions, dropped })
}

fn keyed(rows: impl IntoIterator<Item = Row>) -> Result<Rows, RestoreError> {
    let mut keyed = Rows::new();
    for (key, value) in rows {
        let key: Key = postcard::from_bytes(&key)
            .map_err(|source| RestoreError::Damaged { what: "a key".to_owned(), source })?;
        keyed.insert(key, value);
    }
    if let Some(row) = keyed.get(&Key::Format) {
        let found = read(row, &Key::Format)?;
        if found != FORMAT {
            return Err(RestoreError::Format { found });
        }
    }
    Ok(keyed)
}

fn read<T: DeserializeOwned>(row: &[u8], key: &Key) -> Result<T, RestoreError> {
    postcard::from_bytes(row)
        .map_err(|source| RestoreError::Damaged { what: format!("{key:?}"), source })
}

struct Reading<'a> {
    config: &'a Arc<Config>,
    saver: Saver,
    references: References<'a>,
    dropped: BTreeMap<ModelId, usize>,
}

impl Reading<'_> {
    fn windows(&mut self, rows: &Rows) -> Result<Windows, RestoreError> {
        let mut pending = Vec::new();
        let mut closed: BTreeMap<ModelId, Closed> = BTreeMap::new();
        for (key, row) in rows {
            if let Key::Pending(_, pane) = key {
                pending.extend(self.partial(key, pane, row)?);
            } else if let Key::Closed(model) = key {
                let (fingerprint, row): (Fingerprint, Closed) = read(row, key)?;
                let index = self.model(model);
                if index.is_some_and(|index| self.saver.fingerprint(index) == fingerprint) {
                    closed.insert(model.clone(), row);
                } else {
                    self.saver.remove(key.clone());
                }
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
        let body: WindowBody = read(row, key)?;
        let partial = self
            .model_of(&pane.model, &body)
            .and_then(|model| body.into_partial(pane, model, &mut self.references));
        match &partial {
            Some(partial) => self.saver.is_stored(key, partial.to_offset),
            None => self.drop(key, &pane.model),
        }
        Ok(partial)
    }

    fn drop(&mut self, key: &Key, model: &ModelId) {
        *self.dropped.entry(model.clone()).or_insert(0) += 1;
        self.saver.remove(key.clone());
    }

    /// Reads the closed panes that windows still need.
    fn panes(&mut self, rows: &Rows) -> Result<Panes, RestoreError> {
        let mut panes = Panes::default();
        for (key, row) in rows {
            let Key::Course(id) = key else { continue };
            let (fingerprint, course): (Fingerprint, Course) = read(row, key)?;
            let model = self.model(id).filter(|it| self.saver.fingerprint(*it) == fingerprint);
            if let Some(model) = model {
                panes.restore(self.config, model, id.clone(), course);
                self.saver.is_stored(key, 0);
            } else {
                self.dropped.entry(id.clone()).or_insert(0);
                self.saver.remove(key.clone());
            }
        }
        for (key, row) in rows {
            let Key::Slice(slice) = key else { continue };
            let SliceBody { window, missing, end, revised } = read(row, key)?;
            let counts = self.model_of(&slice.model, &window).and_then(|model| {
                window.into_merged((), (model, &slice.model), &mut self.references)
            });
            let is_kept = counts.is_some_and(|counts| {
                panes.restore_slice(slice.clone(), end, (missing, revised), counts)
            });
            if is_kept {
                self.saver.is_stored(key, 0);
            } else {
                self.drop(key, &slice.model);
            }
        }
        Ok(panes)
    }

    fn partitions(
        &mut self,
        rows: &Rows,
        now: Timestamp,
    ) -> Result<Vec<PartitionState>, RestoreError> {
        let mut open: BTreeMap<PartitionId, Vec<Partial>> = BTreeMap::new();
        for (key, row) in rows {
            if let Key::Open(partition, pane) = key {
                let partial = self.partial(key, pane, row)?;
                open.entry(partition.clone()).or_default().extend(partial);
            }
        }
        let mut partitions = Vec::new();
        for (key, row) in rows {
            let Key::Partition(id) = key else { continue };
            let source = self.config.sources.iter().position(|it| it.topic == id.topic);
            let Some(source) = source else {
                // Its topic is read no more; should it be read again, it is a first start.
                self.saver.remove(key.clone());
                continue;
            };
            let PartitionBody { next_offset, event_time_max } = read(row, key)?;
            let event_time_max = event_time_max.map(Timestamp::from_millis);
            let partials = open.remove(id).unwrap_or_default();
            let position = (next_offset, event_time_max);
            partitions.push(PartitionState::restore(id.clone(), source, position, partials, now));
        }
        Ok(partitions)
    }

    fn models(&mut self, rows: &Rows) -> Result<Models, RestoreError> {
        let episodes = match rows.get(&Key::Episodes) {
            Some(row) => read(row, &Key::Episodes)?,
            None => EpisodeMemory::default(),
        };
        let mut models = Models::restore(self.config, episodes);
        for (key, row) in rows {
            let Key::Result(id) = key else { continue };
            let body: ResultBody = read(row, key)?;
            let ResultBody { window, missing, closed_at, is_revised, revision } = body;
            let due = self.model_of(&id.model, &window).and_then(|model| {
                let named = |it: &WindowConfig| it.name == id.name;
                let at = self.config.models[model].windows.iter().position(named)?;
                let identity = (model, &id.model);
                let counts = window.into_merged(id.clone(), identity, &mut self.references)?;
                let edition = Edition { is_final: true, is_revised, revision };
                Some(Due { counts, window: at, missing, edition })
            });
            let Some(due) = due else {
                self.drop(key, &id.model);
                continue;
            };
            self.saver.is_stored(key, 0);
            let result = evaluate(self.config, &due, closed_at);
            models.remember(self.config, &due, result);
        }
        if let Some(row) = rows.get(&Key::Models) {
            let bodies: Vec<ModelBody> = read(row, &Key::Models)?;
            for body in bodies {
                if let Some(model) = self.model(&body.id) {
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
        panes: &mut Panes,
        partitions: &[PartitionState],
    ) {
        for id in self.dropped.keys() {
            let Some(model) = self.model(id) else { continue };
            let config = &self.config.models[model];
            self.saver.begin_anew(id);
            let own = partitions.iter().filter(|it| it.source() == config.source);
            if let Some(newest) = own.filter_map(PartitionState::event_time_max).max() {
                let span = config.pane.span_of(newest);
                windows.begin_after(id.clone(), span);
                panes.begin_anew(self.config, model, id, span.end());
            } else {
                panes.forget(id);
            }
        }
    }

    fn model(&self, id: &ModelId) -> Option<usize> {
        self.config.models.iter().position(|it| *it.name == *id.name())
    }

    /// Returns the model of a window that is still counted alike.
    fn model_of(&self, id: &ModelId, body: &WindowBody) -> Option<usize> {
        self.model(id).filter(|it| self.saver.fingerprint(*it) == body.fingerprint)
    }
}
