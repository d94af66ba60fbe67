//! The panes that stage 2 waits for, and those it closed lately.
//!
//! Before: [`Partial`]s. After: [`Merged`] panes, in the order of their ends, which
//! [`crate::panes`] makes windows of. Owns which panes are open; [`crate::sources`] says when one
//! may close. A span may be waited for without a record in it: a window may end there.

use std::collections::BTreeMap;

use driftd_catalog::{ModelId, PaneId, PartitionId, SegmentId, Timestamp, WindowSpan};
use serde::{Deserialize, Serialize};

use crate::merge::{Merged, Pending};
use crate::panes::Ahead;
use crate::partial::Partial;

/// Panes of one model with the same span close together: all versions, all segments.
pub(crate) type SpanKey = (WindowSpan, usize);

/// Time that partitions get to report an overdue pane, in wall-clock time.
const FLUSH_GRACE_MILLIS: i64 = 2_000;

/// Closed panes remembered for each model version, to recognise what comes too late for them.
/// Those that partitions still report are kept; fewer than a partition holds open at once would
/// count its rows again.
const CLOSED_MAX: usize = 256;

/// Whether a pane may close.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// A partition may still add to it.
    Wait,
    /// Every partition has passed it.
    Complete,
    /// These partitions have made no progress for so long that the pane closes without them.
    Overdue(Vec<PartitionId>),
}

/// What becomes of a partial.
#[derive(Debug)]
pub(crate) enum Inserted {
    /// Its pane is open, or it says nothing new.
    Waits,
    /// Its pane is closed, and kept: these are its counts now.
    Revised(Box<Merged<PaneId>>),
    /// Its pane is closed for good: so many rows of the model version came too late.
    Late(ModelId, u64),
}

#[derive(Debug, Default)]
pub(crate) struct Windows {
    open: BTreeMap<SpanKey, OpenSpan>,
    closed: BTreeMap<ModelId, Closed>,
    /// Closed panes that may be revised.
    recent: BTreeMap<SpanKey, BTreeMap<(ModelId, SegmentId), Pending>>,
}

#[derive(Debug, Default)]
struct OpenSpan {
    panes: BTreeMap<(ModelId, SegmentId), Pending>,
    flush_asked_at: Option<Timestamp>,
}

/// The panes of one model version that are closed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Closed {
    newest: WindowSpan,
    remembered: BTreeMap<WindowSpan, Remembered>,
    touches: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Remembered {
    /// Number of the touch at which it was last looked at.
    touched: u64,
    /// Rows of each partition that are in the pane, or were counted as late for it.
    rows: BTreeMap<PartitionId, u64>,
}

impl Windows {
    /// Goes on with what an earlier run held.
    pub(crate) fn restore(pending: Vec<Partial>, closed: BTreeMap<ModelId, Closed>) -> Self {
        let mut windows = Self { closed, ..Self::default() };
        for partial in pending {
            let PaneId { span, model, segment } = partial.pane.clone();
            let key = (span, partial.model);
            let is_closed = windows.closed.get(&model).is_some_and(|it| span <= it.newest);
            let panes = if is_closed {
                windows.recent.entry(key).or_default()
            } else {
                &mut windows.open.entry(key).or_default().panes
            };
            panes.entry((model, segment)).or_default().insert(partial);
        }
        windows
    }

    /// Counts every pane of a model version up to this one as closed, and forgets what is held of
    /// them. What is closed stays closed: of several partitions each says where it begins.
    pub(crate) fn begin_after(&mut self, model: &ModelId, (span, index): SpanKey) {
        self.pass(model, span);
        for ((open_span, _), open) in &mut self.open {
            open.panes.retain(|(other, _), _| other != model || span < *open_span);
        }
        self.open.retain(|(_, other), open| *other != index || !open.panes.is_empty());
        for ((recent_span, _), panes) in &mut self.recent {
            panes.retain(|(other, _), _| other != model || span < *recent_span);
        }
    }

    /// Forgets what a partition reported of open panes, and of those that may be revised: it begins
    /// anew.
    pub(crate) fn forget_partition(&mut self, partition: &PartitionId) {
        self.open.retain(|_, open| {
            open.panes.retain(|_, pending| pending.forget(partition));
            !open.panes.is_empty()
        });
        self.recent.retain(|_, panes| {
            panes.retain(|_, pending| pending.forget(partition));
            !panes.is_empty()
        });
    }

    /// Returns what partitions reported of open panes, and of those that may be revised.
    pub(crate) fn partials(&self) -> impl Iterator<Item = &Partial> {
        self.pending().flat_map(Pending::partials)
    }

    fn pending(&self) -> impl Iterator<Item = &Pending> {
        let open = self.open.values().flat_map(|open| open.panes.values());
        open.chain(self.recent.values().flat_map(BTreeMap::values))
    }

    /// Returns what is closed of a model version.
    pub(crate) fn closed(&self, model: &ModelId) -> Option<&Closed> {
        self.closed.get(model)
    }

    /// Returns what is known of the records of a model version that are in no closed pane; `newest`
    /// and `activated` are the event times of its newest and oldest record.
    pub(crate) fn ahead(
        &self,
        model: &ModelId,
        activated: Option<Timestamp>,
        newest: Option<Timestamp>,
    ) -> Ahead {
        let closed = self.closed.get(model).map(|closed| closed.newest.end());
        let closed = closed.or(activated).unwrap_or(Timestamp::MIN);
        let newest = newest.filter(|newest| closed <= *newest);
        let is_of = |open: &OpenSpan| open.panes.keys().any(|(other, _)| other == model);
        let pane =
            self.open.iter().find(|(_, open)| is_of(open)).map(|((span, _), _)| span.start());
        Ahead { closed, oldest: pane.or(newest), newest }
    }

    /// Takes a partial; its pane may be closed already.
    ///
    /// All segments of a model version close together, so that one never holds rows that `all` does
    /// not. Panes that ended less than `revisions_millis` before the newest closed one are revised.
    pub(crate) fn insert(&mut self, partial: Partial, revisions_millis: i64) -> Inserted {
        let PaneId { span, model, segment } = partial.pane.clone();
        let key = (span, partial.model);
        let Some(closed) = self.closed.get_mut(&model).filter(|closed| span <= closed.newest)
        else {
            let open = self.open.entry(key).or_default();
            open.panes.entry((model, segment)).or_default().insert(partial);
            return Inserted::Waits;
        };
        if closed.newest.end().plus_millis(-revisions_millis) < span.end() && 0 < revisions_millis {
            let panes = self.recent.entry(key).or_default();
            let pending = panes.entry((model, segment)).or_default();
            let revised = pending.insert(partial).then(|| pending.clone().merge()).flatten();
            return revised.map_or(Inserted::Waits, |pane| Inserted::Revised(Box::new(pane)));
        }
        if segment == SegmentId::all() {
            let rows = closed.late_rows(&partial);
            return Inserted::Late(model, rows);
        }
        Inserted::Waits
    }

    /// Waits for a span, whether or not there are records in it.
    pub(crate) fn expect(&mut self, key: SpanKey) {
        self.open.entry(key).or_default();
    }

    /// Counts every pane of a model version up to this one as closed: windows that end there are
    /// decided without what may still come.
    pub(crate) fn pass(&mut self, model: &ModelId, span: WindowSpan) {
        let closed = self.closed.entry(model.clone()).or_insert_with(|| Closed::new(span));
        closed.newest = closed.newest.max(span);
    }

    /// Returns the earliest span that is waited for.
    pub(crate) fn first(&self) -> Option<SpanKey> {
        self.open.keys().next().copied()
    }

    /// Returns what is waited for, by end of the pane.
    pub(crate) fn open_spans(&self) -> impl Iterator<Item = SpanKey> {
        self.open.keys().copied()
    }

    /// Forgets what was closed of a model version that is followed no more.
    pub(crate) fn forget(&mut self, model: &ModelId) {
        self.closed.remove(model);
    }

    /// Returns the memory that counts take in stage 2.
    pub(crate) fn bytes(&self) -> u64 {
        self.pending().map(Pending::bytes).sum()
    }

    /// Returns the number of open panes of a model version; its segments are not counted each.
    pub(crate) fn open_count(&self, model: &ModelId) -> usize {
        let is_of = |open: &&OpenSpan| open.panes.keys().any(|(other, _)| other == model);
        self.open.values().filter(is_of).count()
    }

    /// Notes that partitions are asked to report the pane; `false` when they were asked before.
    pub(crate) fn ask_flush(&mut self, now: Timestamp, key: SpanKey) -> bool {
        let Some(open) = self.open.get_mut(&key) else { return false };
        let is_first = open.flush_asked_at.is_none();
        open.flush_asked_at.get_or_insert(now);
        is_first
    }

    /// Notes that the pane waits for partitions again, which may later have more to report.
    pub(crate) fn forget_flush(&mut self, key: SpanKey) {
        if let Some(open) = self.open.get_mut(&key) {
            open.flush_asked_at = None;
        }
    }

    /// Returns whether partitions that were asked to report have had the time to.
    pub(crate) fn is_flushed(&self, now: Timestamp, key: SpanKey) -> bool {
        let asked_at = self.open.get(&key).and_then(|open| open.flush_asked_at);
        asked_at.is_some_and(|asked_at| asked_at.plus_millis(FLUSH_GRACE_MILLIS) <= now)
    }

    /// Removes and returns the panes of one span, merged. For `revisions_millis` of event time they
    /// are kept for what may still come.
    pub(crate) fn take(&mut self, key: SpanKey, revisions_millis: i64) -> Vec<Merged<PaneId>> {
        let Some(open) = self.open.remove(&key) else { return Vec::new() };
        let (span, index) = key;
        if 0 < revisions_millis {
            let kept_after = span.end().plus_millis(-revisions_millis);
            self.recent.retain(|(it, other), _| *other != index || kept_after < it.end());
            self.recent.entry(key).or_default().extend(open.panes.clone());
        }
        let mut merged = Vec::with_capacity(open.panes.len());
        for ((model, segment), pending) in open.panes {
            if segment == SegmentId::all() {
                let closed = self.closed.entry(model).or_insert_with(|| Closed::new(span));
                closed.add(span, pending.rows());
            }
            merged.extend(pending.merge());
        }
        merged
    }
}

impl Closed {
    fn new(newest: WindowSpan) -> Self {
        Self { newest, remembered: BTreeMap::new(), touches: 0 }
    }

    /// Returns the last event time that is closed.
    pub(crate) fn newest_time(&self) -> Timestamp {
        self.newest.end().plus_millis(-1)
    }

    fn add(&mut self, span: WindowSpan, rows: BTreeMap<PartitionId, u64>) {
        self.newest = self.newest.max(span);
        self.touch(span).rows = rows;
    }

    /// Returns the rows of `partial` that were neither in its pane nor counted as late before.
    fn late_rows(&mut self, partial: &Partial) -> u64 {
        let rows = &mut self.touch(partial.pane.span).rows;
        let counted = rows.entry(partial.partition.clone()).or_insert(0);
        let late = partial.rows.saturating_sub(*counted);
        *counted = partial.rows.max(*counted);
        late
    }

    /// Returns what is remembered of a pane; the one that was not looked at for longest makes
    /// room.
    fn touch(&mut self, span: WindowSpan) -> &mut Remembered {
        self.touches += 1;
        if CLOSED_MAX <= self.remembered.len() && !self.remembered.contains_key(&span) {
            let oldest = self.remembered.iter().min_by_key(|(_, it)| it.touched);
            if let Some(oldest) = oldest.map(|(span, _)| *span) {
                self.remembered.remove(&oldest);
            }
        }
        let remembered = self.remembered.entry(span).or_default();
        remembered.touched = self.touches;
        remembered
    }
}
