//! The windows that stage 2 waits for, and those it closed lately.
//!
//! Before: [`Partial`]s. After: [`Merged`] windows, in the order of their ends, `all` before other segments.
//! Owns which windows are open; [`crate::sources`] says when one may close.

use std::collections::BTreeMap;

use driftd_catalog::{ModelId, PartitionId, SegmentId, Timestamp, WindowId, WindowSpan};

use crate::merge::{Merged, Pending};
use crate::partial::Partial;

/// Windows of one model with the same span close together: all versions, all segments.
pub(crate) type SpanKey = (WindowSpan, usize);

/// Time that partitions get to report an overdue window, in wall-clock time.
const FLUSH_GRACE_MILLIS: i64 = 2_000;

/// Closed windows remembered for each model version and segment, to recognise what comes too late for them.
const CLOSED_MAX: usize = 32;

/// Whether a window may close.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// A partition may still add to it.
    Wait,
    /// Every partition has passed it.
    Complete,
    /// These partitions have made no progress for so long that the window closes without them.
    Overdue(Vec<PartitionId>),
}

/// Rows that came after their window was closed.
#[derive(Debug)]
pub(crate) struct Late {
    pub(crate) model: ModelId,
    pub(crate) rows: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Windows {
    open: BTreeMap<SpanKey, OpenSpan>,
    closed: BTreeMap<(ModelId, SegmentId), BTreeMap<WindowSpan, BTreeMap<PartitionId, u64>>>,
}

#[derive(Debug, Default)]
struct OpenSpan {
    windows: BTreeMap<(ModelId, SegmentId), Pending>,
    flush_asked_at: Option<Timestamp>,
}

impl Windows {
    /// Takes a partial of an open window; returns the rows that are too late when it is closed already.
    pub(crate) fn insert(&mut self, partial: Partial) -> Option<Late> {
        let WindowId { span, model, segment } = &partial.window;
        if let Some(late) = self.late_rows(&partial) {
            let is_total = *segment == SegmentId::all();
            return is_total.then(|| Late { model: model.clone(), rows: late });
        }
        let open = self.open.entry((*span, partial.model)).or_default();
        open.windows.entry((model.clone(), segment.clone())).or_default().insert(partial);
        None
    }

    /// Returns the rows of `partial` that its closed window does not include, if that window is closed.
    fn late_rows(&mut self, partial: &Partial) -> Option<u64> {
        let WindowId { span, model, segment } = &partial.window;
        let closed = self.closed.get_mut(&(model.clone(), segment.clone()))?;
        if closed.keys().next_back().is_none_or(|newest| newest < span) {
            return None;
        }
        let counted =
            closed.entry(*span).or_default().entry(partial.partition.clone()).or_insert(0);
        let late = partial.rows.saturating_sub(*counted);
        *counted = partial.rows.max(*counted);
        trim(closed);
        Some(late)
    }

    /// Returns what is open, by end of the window.
    pub(crate) fn open_spans(&self) -> Vec<SpanKey> {
        self.open.keys().copied().collect()
    }

    /// Returns the number of open windows of a model version, over all segments.
    pub(crate) fn open_count(&self, model: &ModelId) -> usize {
        let windows = self.open.values().flat_map(|open| open.windows.keys());
        windows.filter(|(other, _)| other == model).count()
    }

    /// Notes that partitions are asked to report the window; `false` when they were asked before.
    pub(crate) fn ask_flush(&mut self, now: Timestamp, key: SpanKey) -> bool {
        let Some(open) = self.open.get_mut(&key) else { return false };
        let is_first = open.flush_asked_at.is_none();
        open.flush_asked_at.get_or_insert(now);
        is_first
    }

    /// Returns whether partitions that were asked to report have had the time to.
    pub(crate) fn is_flushed(&self, now: Timestamp, key: SpanKey) -> bool {
        let asked_at = self.open.get(&key).and_then(|open| open.flush_asked_at);
        asked_at.is_some_and(|asked_at| asked_at.plus_millis(FLUSH_GRACE_MILLIS) <= now)
    }

    /// Removes and returns the windows of one span, merged.
    pub(crate) fn take(&mut self, key: SpanKey) -> Vec<Merged> {
        let Some(open) = self.open.remove(&key) else { return Vec::new() };
        let mut merged = Vec::with_capacity(open.windows.len());
        for ((model, segment), pending) in open.windows {
            let closed = self.closed.entry((model, segment)).or_default();
            closed.insert(key.0, pending.rows());
            trim(closed);
            merged.extend(pending.merge());
        }
        merged
    }
}

fn trim(closed: &mut BTreeMap<WindowSpan, BTreeMap<PartitionId, u64>>) {
    while CLOSED_MAX < closed.len() {
        closed.pop_first();
    }
}
