//! Sorts the rows of one batch into panes, row by row in offset order.
//!
//! Before: [`crate::shard`] walks a batch. After: [`crate::partition`] counts each group of rows at
//! once. Each answer uses only what came before the row in its partition, so it does not matter
//! where a batch was cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::{ModelId, Timestamp, WindowSpan};
use driftd_ingest::{Decoded, Row};

use crate::config::Config;
use crate::outcomes::Moment;
use crate::partition::PartitionState;
use crate::window::clamp;

/// Rows of one batch that belong to the same pane of the same model version.
#[derive(Debug)]
pub(crate) struct Group {
    /// Index into the source's models.
    pub(crate) model: u16,
    /// Index into [`Config::models`].
    pub(crate) config: usize,
    pub(crate) id: ModelId,
    version: u16,
    pub(crate) span: WindowSpan,
    /// Positions in the model's batch, increasing.
    pub(crate) rows: Vec<u32>,
    pub(crate) from_offset: i64,
    pub(crate) event_time_min: Timestamp,
    pub(crate) event_time_max: Timestamp,
}

/// All rows of one batch, sorted into groups or counted as left out.
#[derive(Debug)]
pub(crate) struct Grouping {
    pub(crate) groups: Vec<Group>,
    /// Too late, by (model of the source, version of the batch).
    pub(crate) late: BTreeMap<(u16, u16), u64>,
    pub(crate) clamped: u64,
    pub(crate) over_limit: u64,
    /// Where each row is in time, where predictions or labels are followed.
    pub(crate) moments: Vec<Moment>,
    versions: Vec<Arc<str>>,
    next_row: Vec<u32>,
    newest: usize,
    follows: bool,
}

impl Grouping {
    /// `follows` where it is to be known when each row was.
    pub(crate) fn new(decoded: &Decoded, follows: bool) -> Self {
        Self {
            groups: Vec::new(),
            late: BTreeMap::new(),
            clamped: 0,
            over_limit: 0,
            moments: Vec::new(),
            versions: decoded.versions.clone(),
            next_row: vec![0; decoded.batches.len()],
            newest: 0,
            follows,
        }
    }

    /// Places the next label of the partition in time, and moves the partition's watermark past it.
    pub(crate) fn place_label(&mut self, config: &Config, state: &mut PartitionState, row: &Row) {
        let source = &config.sources[state.source()];
        let event = clamp(row.event_time, row.timestamp, &source.time);
        self.clamped += u64::from(event.clamped);
        let watermark = state.watermark(&source.time);
        state.advance_time(event.time, row.offset);
        let is_late = watermark.is_some_and(|watermark| event.time < watermark);
        self.moments.push(Moment { time: event.time, is_late, is_over_limit: false });
    }

    /// Places the next row of the partition, and moves the partition's watermark past it.
    pub(crate) fn place(&mut self, config: &Config, state: &mut PartitionState, row: &Row) {
        let position = self.next_row[usize::from(row.model)];
        self.next_row[usize::from(row.model)] += 1;
        let source = &config.sources[state.source()];
        let model = source.models[usize::from(row.model)];
        let event = clamp(row.event_time, row.timestamp, &source.time);
        self.clamped += u64::from(event.clamped);
        let pane = &config.models[model].pane;
        let span = pane.span_of(event.time);
        let watermark = state.watermark(&source.time);
        state.advance_time(event.time, row.offset);
        if self.follows {
            let behind = event.time.plus_millis(pane.lateness_millis);
            let is_late = watermark.is_some_and(|watermark| behind < watermark);
            self.moments.push(Moment { time: event.time, is_late, is_over_limit: false });
        }
        if watermark.is_some_and(|watermark| pane.is_passed(span, watermark)) {
            *self.late.entry((row.model, row.version)).or_insert(0) += 1;
            return;
        }
        let Some(group) = self.group_of(config, state, row, model, span, watermark) else {
            self.over_limit += 1;
            if let Some(moment) = self.moments.last_mut() {
                moment.is_over_limit = true;
            }
            return;
        };
        group.rows.push(position);
        group.event_time_min = group.event_time_min.min(event.time);
        group.event_time_max = group.event_time_max.max(event.time);
    }

    fn group_of(
        &mut self,
        config: &Config,
        state: &mut PartitionState,
        row: &Row,
        model: usize,
        span: WindowSpan,
        watermark: Option<Timestamp>,
    ) -> Option<&mut Group> {
        let matches = |group: &Group| {
            group.model == row.model && group.version == row.version && group.span == span
        };
        let known = if self.groups.get(self.newest).is_some_and(matches) {
            Some(self.newest)
        } else {
            self.groups.iter().position(matches)
        };
        let index = if let Some(index) = known {
            index
        } else {
            let version = &self.versions[usize::from(row.version)];
            let id = config.models[model].id(version).ok()?;
            if !state.open(&config.models[model], &id, span, watermark) {
                return None;
            }
            self.groups.push(Group {
                model: row.model,
                config: model,
                id,
                version: row.version,
                span,
                rows: Vec::new(),
                from_offset: row.offset,
                // Widened with each row.
                event_time_min: Timestamp::MAX,
                event_time_max: Timestamp::MIN,
            });
            self.groups.len() - 1
        };
        self.newest = index;
        self.groups.get_mut(index)
    }
}
