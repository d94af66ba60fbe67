//! Reads the rows of an earlier run.
//!
//! Before: the edge reads the whole store. After: a [`crate::pipeline::Pipeline`] that goes on
//! where the rows end, and partitions for the shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_alerts::EpisodeMemory;
use driftd_catalog::{ModelId, PartitionId, Timestamp, WindowId};
use serde::de::DeserializeOwned;

use super::body::{
    Fingerprint, ModelBody, PartitionBody, References, ResultBody, TotalsBody, WindowBody,
};
use super::key::Key;
use super::{FORMAT, Outbox, Row, Saver, Seal, StoreId};
use crate::config::Config;
use crate::evaluate::evaluate;
use crate::models::Models;
use crate::partial::Partial;
use crate::partition::PartitionState;
use crate::pipeline::Pipeline;
use crate::reference::ModelReference;
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
    /// The rows are not those that were written together.
    #[error(
        "the stored state is damaged: a row is missing, or is not the one that was written last; \
         remove the folder to count anew"
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
}

type Rows = BTreeMap<Key, Vec<u8>>;

/// Reads all rows of the store; of none, this is a first start, and `fresh` is the store's name
/// from now on. `find` looks up the profile of a model version, by index into [`Config::models`].
///
/// Windows that were counted under another configuration, or against a profile that is there no
/// more, are left out: counts of two kinds never mix.
pub fn restore(
    config: &Arc<Config>,
    rows: impl IntoIterator<Item = Row>,
    find: &dyn Fn(usize, &ModelId) -> Option<Arc<ModelReference>>,
    fresh: StoreId,
    now: Timestamp,
) -> Result<Restored, RestoreError> {
    let rows: Vec<Row> = rows.into_iter().collect();
    let seal = sealed(&rows);
    let (rows, seal) = (keyed(rows)?, seal.ok_or(RestoreError::Unsealed));
    let mut reading = Reading {
        config,
        saver: Saver::new(config),
        references: References::new(find),
        dropped: BTreeMap::new(),
    };
    let mut windows = reading.windows(&rows)?;
    let partitions = reading.partitions(&rows, now)?;
    let models = reading.models(&rows)?;
    reading.begin_anew(&mut windows, &partitions);
    let retraining = match rows.get(&Key::Retraining) {
        Some(row) => Retraining::restore(config, read::<RetrainingBody>(row, &Key::Retraining)?),
        None => Retraining::new(config),
    };
    let totals: TotalsBody = match rows.get(&Key::Totals) {
        Some(row) => read(row, &Key::Totals)?,
        None => TotalsBody::default(),
    };
    let outbox = outbox(config, &rows, fresh)?;
    let seal = seal?;
    let Reading { saver, dropped, .. } = reading;
    let dropped = dropped.into_iter().map(|(model, windows)| Dropped { model, windows }).collect();
    let pipeline = Pipeline::restored(
        config,
        (saver, outbox, seal),
        (windows, models, retraining),
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

/// Returns the seal of the rows, if they are whole.
fn sealed(rows: &[Row]) -> Option<Seal> {
    let own = Key::Seal.encode();
    let others = rows.iter().filter(|(key, _)| *key != own);
    let seal = Seal::of(others.map(|(key, value)| (&**key, &**value)));
    let row = rows.iter().find(|(key, _)| *key == own).map(|(_, value)| &**value);
    seal.fits(row).then_some(seal)
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

fn outbox(config: &Config, rows: &Rows, fresh: StoreId) -> Result<Outbox, RestoreError> {
    let Some(body) = rows.get(&Key::Store) else { return Ok(Outbox::new(config, fresh)) };
    let mut messages = Vec::new();
    for (key, row) in rows {
        if let Key::Outbox(number) = key {
            messages.push((*number, read(row, key)?));
        }
    }
    Ok(Outbox::restore(config, read(body, &Key::Store)?, messages))
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
            if let Key::Pending(_, window) = key {
                pending.extend(self.partial(key, window, row)?);
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
        window: &WindowId,
        row: &[u8],
    ) -> Result<Option<Partial>, RestoreError> {
        let body: WindowBody = read(row, key)?;
        let partial = self
            .model_of(window, &body)
            .and_then(|model| body.into_partial(window.clone(), model, &mut self.references));
        match &partial {
            Some(partial) => self.saver.is_stored(key, partial.to_offset),
            None => self.drop(key, window),
        }
        Ok(partial)
    }

    fn drop(&mut self, key: &Key, window: &WindowId) {
        *self.dropped.entry(window.model.clone()).or_insert(0) += 1;
        self.saver.remove(key.clone());
    }

    fn partitions(
        &mut self,
        rows: &Rows,
        now: Timestamp,
    ) -> Result<Vec<PartitionState>, RestoreError> {
        let mut open: BTreeMap<PartitionId, Vec<Partial>> = BTreeMap::new();
        for (key, row) in rows {
            if let Key::Open(partition, window) = key {
                let partial = self.partial(key, window, row)?;
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
            let Key::Result(window) = key else { continue };
            let body: ResultBody = read(row, key)?;
            let merged = self.model_of(window, &body.window).and_then(|model| {
                body.window.into_merged(window.clone(), model, &mut self.references)
            });
            let Some(merged) = merged else {
                self.drop(key, window);
                continue;
            };
            self.saver.is_stored(key, 0);
            let result = evaluate(self.config, &merged, body.missing, body.closed_at);
            models.remember(self.config, &merged, result);
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
    fn begin_anew(&mut self, windows: &mut Windows, partitions: &[PartitionState]) {
        for id in self.dropped.keys() {
            let Some(model) = self.model(id) else { continue };
            let config = &self.config.models[model];
            self.saver.late(id);
            let own = partitions.iter().filter(|it| it.source() == config.source);
            if let Some(newest) = own.filter_map(PartitionState::event_time_max).max() {
                windows.begin_after(id.clone(), config.window.span_of(newest));
            }
        }
    }

    fn model(&self, id: &ModelId) -> Option<usize> {
        self.config.models.iter().position(|it| *it.name == *id.name())
    }

    /// Returns the model of a window that is still counted alike.
    fn model_of(&self, window: &WindowId, body: &WindowBody) -> Option<usize> {
        self.model(&window.model).filter(|it| self.saver.fingerprint(*it) == body.fingerprint)
    }
}
