//! What happens to the log of a partition that loses records, and what windows have to say once a
//! person has accepted it.
//!
//! Before: [`crate::loss`] and [`crate::shared_loss`] play readers, and have a log lose records.
//! After: they compare what was decided with what has to be said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use driftd_catalog::{Timestamp, WindowId};
use driftd_core::config::{Config, WindowKind};
use driftd_core::loss::{Accepted, Loss};
use driftd_core::result::WindowResult;
use proptest::prelude::*;

use crate::log::{Draft, FUTURE_SKEW_MILLIS, Record, drafts, records, used_time};
use crate::members::Owned;
use crate::recount::Recount;
use crate::simulation::partition;
use crate::tally::Reached;

/// Offsets that are read before it is known how far lost time reaches.
const SETTLING: i64 = 100;
const OUT_OF_ORDERNESS_MILLIS: i64 = 3_000;

/// What happens to the log of the first partition, while nobody reads it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// So many offsets are deleted that were not read.
    Deletes(i64),
    /// So many offsets are cut off that were read, and what comes next takes their place.
    Cuts(i64),
}

/// A log that has lost records.
pub(crate) struct Damaged {
    pub(crate) log: Vec<Record>,
    /// Where it was read up to, as far as that was stored.
    pub(crate) position: i64,
    /// Where it was read up to: panes may have been closed and stored with what was read.
    pub(crate) furthest: i64,
    /// First offset of what came after the loss.
    pub(crate) goes_on_at: i64,
}

impl Fault {
    /// Returns where a log begins then that was read up to `position`, and what is left of it.
    pub(crate) fn damage(self, log: &[Record], position: i64) -> (i64, Vec<Record>) {
        match self {
            Self::Deletes(count) => {
                let start = position + count;
                (start, log.iter().filter(|it| start <= it.offset).cloned().collect())
            }
            Self::Cuts(count) => {
                let end = (position - count).max(0);
                (0, log.iter().filter(|it| it.offset < end).cloned().collect())
            }
        }
    }
}

/// What becomes of the log of a cluster's first partition.
#[derive(Default)]
pub(crate) struct Losing {
    /// Its reader keeps what the newest record is known by.
    pub(crate) is_marked: bool,
    /// What happens to it when its next reader begins, and what has taken its place by then.
    pub(crate) coming: Option<(Fault, Vec<Record>)>,
    pub(crate) has_lost: bool,
    /// Where it begins.
    pub(crate) start: i64,
    /// From where on there are other records than before.
    pub(crate) anew_from: Option<i64>,
    /// What was accepted; the first transaction after that makes it so.
    pub(crate) accepted: Vec<Accepted>,
}

impl Losing {
    pub(crate) const OWNED: Owned = Owned::Partition(0);

    /// Returns the size of the record at an offset: others than before have another one.
    pub(crate) fn bytes(&self, offset: i64) -> u64 {
        u64::from(self.anew_from.is_some_and(|from| from <= offset))
    }

    /// Returns the log as it is in the end, where something was read of it before it lost records.
    pub(crate) fn damaged(&self, log: Vec<Record>) -> Option<(Damaged, Timestamp)> {
        let Accepted { loss, at, .. } = self.accepted.last()?;
        let goes_on_at = match *loss {
            Loss::Deleted { start, .. } => start,
            Loss::Truncated { end, .. } => end,
            Loss::Recreated { next_offset } => next_offset,
        };
        // What a reader tells and where it goes on move together.
        let position = loss.next_offset();
        Some((Damaged { log, position, furthest: position, goes_on_at }, *at))
    }
}

pub(crate) fn faults() -> impl Strategy<Value = Fault> {
    prop_oneof![
        3 => (1..20_i64).prop_map(Fault::Deletes),
        1 => (20..150_i64).prop_map(Fault::Deletes),
        3 => (1..20_i64).prop_map(Fault::Cuts),
        1 => (20..60_i64).prop_map(Fault::Cuts),
    ]
}

/// Draws a log; some are long enough for it to be known how far lost time reaches.
pub(crate) fn some_log() -> impl Strategy<Value = Vec<Record>> {
    let written = |drafts: Vec<Draft>| records(&drafts);
    prop_oneof![5 => drafts(10..70), 1 => drafts(120..300)].prop_map(written)
}

impl Damaged {
    /// Whether it was read so far that the end of what is lost is known.
    pub(crate) fn is_settled(&self) -> bool {
        self.log.last().is_some_and(|it| self.goes_on_at + SETTLING <= it.offset)
    }
}

/// Up to where windows may lack records, or may hold some of the log as it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    /// They do, up to here.
    does: Timestamp,
    /// They may, up to here, where a pane was closed and not the window.
    may: Timestamp,
}

/// Returns up to where windows may lack records: what was counted and is dropped, and what lay
/// before the records that were read since; never what came after the moment of acceptance.
pub(crate) fn until(before: &[Record], damaged: &Damaged, accepted_at: Timestamp) -> Until {
    let newest = |offset: i64| {
        let read = before.iter().filter(|it| it.offset < offset && it.values.is_some());
        read.map(used_time).max().unwrap_or(Timestamp::MIN)
    };
    let does = lost_until(newest(damaged.position), damaged, accepted_at);
    Until { does, may: does.max(newest(damaged.furthest)) }
}

fn lost_until(counted: Timestamp, damaged: &Damaged, accepted_at: Timestamp) -> Timestamp {
    let Damaged { log, goes_on_at, .. } = damaged;
    let latest = accepted_at.plus_millis(FUTURE_SKEW_MILLIS).max(counted);
    let valid: Vec<&Record> = log.iter().filter(|it| it.values.is_some()).collect();
    let Some(at) = valid.iter().position(|it| goes_on_at + SETTLING <= it.offset) else {
        return latest;
    };
    let newest = valid[..=at].iter().map(|it| used_time(it)).max().unwrap();
    latest.min(newest.plus_millis(OUT_OF_ORDERNESS_MILLIS).max(counted))
}

/// Returns the last result of each window; panics when one was decided twice.
pub(crate) fn decided(windows: &[Arc<WindowResult>]) -> BTreeMap<WindowId, Arc<WindowResult>> {
    let mut decided = BTreeMap::new();
    for result in windows.iter().filter(|it| it.edition.is_first_final()) {
        let id = result.id.clone();
        assert!(decided.insert(id, Arc::clone(result)).is_none(), "{} twice", result.id);
    }
    decided
}

fn has_length(config: &Config, id: &WindowId) -> bool {
    let model = config.models.iter().find(|it| *it.name == *id.model.name()).unwrap();
    let window = model.windows.iter().find(|it| it.name == id.name).unwrap();
    matches!(window.kind, WindowKind::Length { .. })
}

/// What a run with a loss came to.
pub(crate) struct Run {
    pub(crate) config: Arc<Config>,
    pub(crate) before: BTreeMap<WindowId, Arc<WindowResult>>,
    pub(crate) after: BTreeMap<WindowId, Arc<WindowResult>>,
    /// Of the logs as they were, and as they are.
    pub(crate) whole: Recount,
    pub(crate) damaged: Recount,
    /// Of the partitions that have lost nothing.
    pub(crate) others: Recount,
    pub(crate) until: Until,
}

impl Run {
    /// Panics unless every window says whether it may lack records.
    pub(crate) fn check(&self) {
        for (id, result) in &self.before {
            assert_eq!(Some(result.rows), rows(&self.whole, id), "{id} was closed before");
        }
        for (id, result) in self.after.iter().filter(|(id, _)| has_length(&self.config, id)) {
            let Until { does, may } = self.until;
            let (lacks, start) = (!result.complete, id.span.start());
            let missing = if lacks { vec![partition(0)] } else { Vec::new() };
            assert_eq!(result.missing, missing, "{id}");
            assert!(lacks || does < start, "{id} passes for whole up to {does}");
            assert!(!lacks || start <= may, "{id} does not pass for whole after {may}");
        }
        let said: BTreeSet<&WindowId> = self.before.keys().chain(self.after.keys()).collect();
        for id in self.others.windows.keys().filter(|id| has_length(&self.config, id)) {
            assert!(said.contains(id), "{id} is of partitions that have lost nothing");
        }
    }

    /// Returns what there is to see.
    pub(crate) fn reached(&self) -> Reached {
        let mut reached = Reached::default();
        let has = |is_complete| self.after.values().any(|it| it.complete == is_complete);
        reached.note_if(!self.before.is_empty(), "windows before the loss");
        reached.note_if(has(false), "windows that may lack records");
        reached.note_if(has(true), "whole windows after the loss");
        let is_between =
            |it: &WindowId| self.until.does < it.span.start() && it.span.start() <= self.until.may;
        let between = self.after.iter().filter(|(id, _)| has_length(&self.config, id));
        let between = between.filter(|(id, _)| is_between(id)).any(|(_, it)| !it.complete);
        reached.note_if(between, "closed panes of windows that are not");
        reached
    }

    /// Panics unless windows that pass for whole are what is in the logs as they are.
    pub(crate) fn check_whole(&self) {
        let whole = self.after.iter().filter(|(_, result)| result.complete);
        for (id, result) in whole.filter(|(id, _)| has_length(&self.config, id)) {
            assert_eq!(Some(result.rows), rows(&self.damaged, id), "{id} is whole");
        }
    }

    /// Where panes are windows, what is in each is what is in the logs as they are.
    pub(crate) fn check_rows(&self) {
        for (id, result) in &self.after {
            assert_eq!(Some(result.rows), rows(&self.damaged, id), "{id} was closed after");
        }
        // What is read again of a time that was closed before comes too late.
        let is_closed = |id: &WindowId| {
            let own = self.before.keys().filter(|it| it.model.name() == id.model.name());
            own.map(|it| it.span.end()).max() >= Some(id.span.end())
        };
        for id in self.damaged.windows.keys().filter(|id| !is_closed(id)) {
            assert!(self.after.contains_key(id), "{id} never");
        }
    }
}

fn rows(recount: &Recount, id: &WindowId) -> Option<u64> {
    recount.windows.get(id).map(|rows| rows.len() as u64)
}
