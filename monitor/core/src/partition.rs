//! Everything stage 1 keeps about one source partition: position, event time, open panes.
//!
//! Before: [`crate::group`] says which rows belong together. After: [`Partial`]s go to
//! [`crate::merge`]. The state moves as a whole when another consumer thread takes the partition
//! over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use driftd_catalog::{ModelId, PaneId, PartitionId, SegmentId, Timestamp, WindowSpan};
use driftd_detectors::FeatureCounts;
use driftd_ingest::Decoded;

use crate::config::{Config, ModelConfig, OTHER_SEGMENT, SegmentValues, TimeConfig};
use crate::fields::Fields;
use crate::group::Group;
use crate::halves::{BySide, Halves, JoinCheckpoint, JoinCounts, JoinNews};
use crate::loss::{LostNews, LostTime, Mark};
use crate::partial::Partial;
use crate::reference::ModelReference;
use crate::shard::Progress;
use crate::state::Checkpoint;
use crate::window::Progression;

/// What the name of a half's row takes, in bytes, somewhat above that of most topics.
const HALF_NAME_BYTES: u64 = 64;

/// One source partition, as far as it has been read.
#[derive(Debug)]
pub struct PartitionState {
    id: PartitionId,
    source: usize,
    /// Absent until the first message tells where the log begins for this reader.
    next_offset: Option<i64>,
    progression: Progression,
    open: BTreeMap<ModelId, BTreeMap<WindowSpan, BTreeMap<SegmentId, Partial>>>,
    /// Windows that got records since the last checkpoint.
    changed: BTreeSet<(ModelId, WindowSpan)>,
    /// When the last record was read, or something that may have been one, or become one.
    quiet_since: Timestamp,
    /// When a request and its response were last joined, or the partition was first taken over.
    paired_at: Timestamp,
    /// Silent, and read to this end.
    idle_at: Option<i64>,
    /// Model versions whose open windows were dropped: not told to stage 2 yet.
    left_behind: Vec<ModelId>,
    /// Models whose earlier records were not counted; how new those are is not known.
    waiting: Vec<usize>,
    /// The same and what is known since, not told to stage 2 yet.
    begins: Vec<(usize, Option<Timestamp>)>,
    /// The record at this offset or a later one tells how far lost time reaches.
    settles_at: Option<i64>,
    /// Newest event time when the log was read past lost records: not told to stage 2 yet.
    settled: Option<Timestamp>,
    /// Time of which records are lost, where this reader keeps it: those who decide are others.
    lost: Option<LostTime>,
    /// What of it is not told to stage 2 yet.
    lost_news: Option<LostNews>,
    /// The newest record that was read.
    mark: Option<Mark>,
    /// What the newest records are without.
    pub(crate) fields: Fields,
    /// Requests and responses that wait for their other half.
    halves: Halves,
    /// Offsets of those that came since the last checkpoint.
    fresh_halves: BTreeSet<i64>,
    /// What those take.
    fresh_bytes: u64,
    /// Offsets of those that a checkpoint has told of, and that wait no more.
    gone_halves: Vec<i64>,
    /// What became of others: not told to stage 2 yet.
    joined: JoinCounts,
}

impl PartitionState {
    /// Starts a partition with nothing counted. Its first message may have any offset.
    pub fn new(id: PartitionId, source: usize, now: Timestamp) -> Self {
        Self {
            id,
            source,
            next_offset: None,
            progression: Progression::default(),
            open: BTreeMap::new(),
            changed: BTreeSet::new(),
            quiet_since: now,
            paired_at: now,
            idle_at: None,
            left_behind: Vec::new(),
            waiting: Vec::new(),
            begins: Vec::new(),
            settles_at: None,
            settled: None,
            lost: None,
            lost_news: None,
            mark: None,
            fields: Fields::default(),
            halves: Halves::default(),
            fresh_halves: BTreeSet::new(),
            fresh_bytes: 0,
            gone_halves: Vec::new(),
            joined: JoinCounts::default(),
        }
    }

    /// Makes the first message that is read the one at `next_offset`, or a later one.
    #[must_use]
    pub fn starting_at(self, next_offset: i64) -> Self {
        Self { next_offset: Some(next_offset), ..self }
    }

    /// Goes on at `next_offset` with the panes that an earlier run had open there.
    pub(crate) fn restore(
        id: PartitionId,
        source: usize,
        (next_offset, event_time_max): (i64, Option<Timestamp>),
        open: Vec<Partial>,
        now: Timestamp,
    ) -> Self {
        let mut state = Self::new(id, source, now);
        state.next_offset = Some(next_offset);
        state.progression = Progression::from_newest(event_time_max);
        for partial in open {
            let PaneId { span, model, segment } = partial.pane.clone();
            let panes = state.open.entry(model).or_default();
            panes.entry(span).or_default().insert(segment, partial);
        }
        state
    }

    /// Has stage 2 told that records of these models, by index into [`Config::models`], are counted
    /// from here on only.
    pub(crate) fn begin_to_count(&mut self, models: Vec<usize>) {
        self.begins.extend(models.iter().map(|model| (*model, None)));
        self.waiting = models;
    }

    /// Notes that there are records: how old those are that were not counted is known by them, as
    /// far as it can be.
    pub(crate) fn begun(&mut self, has_records: bool) {
        if has_records {
            let newest = self.progression.newest();
            self.begins.extend(self.waiting.drain(..).map(|model| (model, newest)));
        }
    }

    /// Returns what the newest record that was read is known by.
    pub fn mark(&self) -> Option<Mark> {
        self.mark
    }

    pub(crate) fn set_mark(&mut self, mark: Option<Mark>) {
        self.mark = mark;
    }

    /// Returns the requests and responses that wait for their other half, as of the next offset.
    pub fn halves(&self) -> &Halves {
        &self.halves
    }

    /// Goes on with halves that the store has, and with when a pair was last made of some: a start
    /// is no reason to hope for longer. A clock that was set back does not make it later than now.
    pub(crate) fn restore_halves(&mut self, halves: Halves, paired_at: Timestamp) {
        self.halves = halves;
        self.paired_at = self.paired_at.min(paired_at);
    }

    /// Has stage 2 told of stored halves that are not gone on with.
    pub(crate) fn leave_halves_behind(&mut self, halves: BySide) {
        self.joined.left_behind.absorb(halves);
    }

    /// Returns the stored halves that are not gone on with, until stage 2 is told.
    pub fn halves_left_behind(&self) -> BySide {
        self.joined.left_behind
    }

    /// Takes what the messages of a batch made of halves. Where some wait more is to be waited for,
    /// but not without end: where one side alone comes, as long as the last pair is not further
    /// back than a half waits.
    pub(crate) fn join(&mut self, now: Timestamp, within_millis: i64, news: JoinNews) {
        if 0 < news.counts.joined {
            self.paired_at = now;
        }
        if !news.added.is_empty() && now < self.paired_at.plus_millis(within_millis) {
            self.quiet_since = now;
            self.idle_at = None;
        }
        for offset in &news.removed {
            if self.fresh_halves.remove(offset) {
                self.fresh_bytes -= self.halves.get(*offset).map_or(0, |half| half.bytes());
            } else {
                self.gone_halves.push(*offset);
            }
        }
        self.fresh_halves.extend(news.added.keys());
        self.fresh_bytes += news.added.values().map(|half| half.bytes()).sum::<u64>();
        self.joined.absorb(news.counts);
        self.halves.apply(news);
    }

    /// Returns what the halves take that the next checkpoint has for the store, and the names of
    /// those that it removes.
    pub(crate) fn unsaved_bytes(&self) -> u64 {
        self.fresh_bytes + self.gone_halves.len() as u64 * HALF_NAME_BYTES
    }

    /// Has stage 2 told how far event time has come at this offset.
    pub(crate) fn settle_at(&mut self, offset: Option<i64>) {
        self.settles_at = offset;
    }

    /// Keeps the time of which records are lost, and has stage 2 told how far it reaches as soon as
    /// that is known; that the partition begins anew, with the next report.
    pub(crate) fn keep_lost(&mut self, news: LostNews) {
        self.lost = Some(news.time);
        self.lost_news = news.begins.then_some(news);
        self.settles_at = news.time.ends_at();
    }

    /// Has stage 2 told that windows of these model versions are not whole.
    pub(crate) fn leave_behind(&mut self, models: impl IntoIterator<Item = ModelId>) {
        self.left_behind.extend(models);
    }

    /// Returns what the partition holds, for the store; nothing before the first message.
    pub(crate) fn checkpoint(&mut self) -> Option<Checkpoint> {
        let next_offset = self.next_offset?;
        let changed = std::mem::take(&mut self.changed);
        let open = self.open_partials().map(|partial| {
            let PaneId { span, model, .. } = &partial.pane;
            let is_changed = changed.contains(&(model.clone(), *span));
            let counts = is_changed.then(|| Partial { to_offset: next_offset, ..partial.clone() });
            (partial.pane.clone(), counts)
        });
        let open = open.collect();
        Some(Checkpoint {
            join: self.join_checkpoint(),
            partition: self.id.clone(),
            next_offset,
            event_time_max: self.progression.newest(),
            waiting: self.waiting.clone(),
            mark: self.mark,
            lost: self.lost,
            open,
        })
    }

    /// Returns what became of halves since the last checkpoint.
    fn join_checkpoint(&mut self) -> JoinCheckpoint {
        self.fresh_bytes = 0;
        let fresh = std::mem::take(&mut self.fresh_halves);
        JoinCheckpoint {
            newest_record: self.halves.newest(),
            paired_at: self.paired_at,
            added: fresh.iter().filter_map(|it| self.halves.get(*it).cloned()).collect(),
            removed: std::mem::take(&mut self.gone_halves),
        }
    }

    /// Which partition this is.
    pub fn id(&self) -> &PartitionId {
        &self.id
    }

    /// Index into [`Config::sources`].
    pub fn source(&self) -> usize {
        self.source
    }

    /// Next offset to read; `None` before the first message.
    pub fn next_offset(&self) -> Option<i64> {
        self.next_offset
    }

    pub(crate) fn event_time_max(&self) -> Option<Timestamp> {
        self.progression.newest()
    }

    pub(crate) fn watermark(&self, time: &TimeConfig) -> Option<Timestamp> {
        self.progression.watermark(time)
    }

    /// Takes the event time of the record at `offset`.
    pub(crate) fn advance_time(&mut self, event_time: Timestamp, offset: i64) {
        self.progression.advance(event_time);
        if self.settles_at.is_some_and(|ends_at| ends_at <= offset) {
            self.settles_at = None;
            self.settled = self.progression.newest();
        }
    }

    /// Makes room for a pane; `false` when the model has too many versions or panes open.
    ///
    /// Windows that the watermark has passed do not count, wherever the batch was cut.
    pub(crate) fn open(
        &mut self,
        model: &ModelConfig,
        id: &ModelId,
        span: WindowSpan,
        watermark: Option<Timestamp>,
    ) -> bool {
        let is_open = |span: &WindowSpan| {
            watermark.is_none_or(|watermark| !model.pane.is_passed(*span, watermark))
        };
        if self.open.get(id).is_some_and(|panes| panes.contains_key(&span)) {
            return true;
        }
        let versions = self.open.iter().filter(|(other, panes)| {
            *other != id && other.name() == id.name() && panes.keys().any(is_open)
        });
        let panes = self.open.get(id).into_iter().flat_map(BTreeMap::keys).copied();
        if model.versions_max <= versions.count()
            || model.pane.open_max <= panes.filter(is_open).count()
        {
            return false;
        }
        self.open.entry(id.clone()).or_default().entry(span).or_default();
        true
    }

    pub(crate) fn has_open(&self, id: &ModelId) -> bool {
        self.open.contains_key(id)
    }

    /// Adds a group of rows to its pane, in every segment they belong to.
    pub(crate) fn count(
        &mut self,
        config: &Config,
        group: &Group,
        batch: &RecordBatch,
        to_offset: i64,
        reference: Option<&Arc<ModelReference>>,
    ) {
        let model = &config.models[group.config];
        let rows = select(batch, &group.rows);
        let reference = self.count_segment(group, SegmentId::all(), &rows, to_offset, reference);
        for (index, segment) in model.segments.iter().enumerate() {
            let column = rows.column(model.features.len() + index);
            let values = match &segment.values {
                SegmentValues::Listed(values) => values,
                SegmentValues::Top(_) => {
                    reference.as_ref().map_or(&[][..], |it| it.top_values(&segment.name))
                }
            };
            for (value, positions) in split(values, column) {
                let Ok(id) = SegmentId::try_new(&segment.name, value) else { continue };
                let rows = select(&rows, &positions);
                self.count_segment(group, id, &rows, to_offset, reference.as_ref());
            }
        }
    }

    /// Returns the reference that the pane is counted against.
    fn count_segment(
        &mut self,
        group: &Group,
        segment: SegmentId,
        rows: &RecordBatch,
        to_offset: i64,
        reference: Option<&Arc<ModelReference>>,
    ) -> Option<Arc<ModelReference>> {
        self.changed.insert((group.id.clone(), group.span));
        let panes = self.open.entry(group.id.clone()).or_default().entry(group.span).or_default();
        // The reference is the one known when the pane's first record came, so that a pane has
        // one grid, and the same segments from its first record to its last.
        let partial = panes.entry(segment.clone()).or_insert_with(|| Partial {
            pane: PaneId { span: group.span, model: group.id.clone(), segment },
            model: group.config,
            partition: self.id.clone(),
            from_offset: group.from_offset,
            to_offset,
            event_time_max: group.event_time_max,
            rows: 0,
            reference: reference.cloned(),
            features: reference
                .map(|reference| reference.features.iter().map(FeatureCounts::empty).collect())
                .unwrap_or_default(),
        });
        partial.event_time_max = partial.event_time_max.max(group.event_time_max);
        partial.add(rows);
        partial.reference.clone()
    }

    /// Moves the position past a batch.
    ///
    /// # Panics
    /// When the batch does not lie after everything read so far.
    pub(crate) fn advance_to(&mut self, now: Timestamp, decoded: &Decoded) {
        let next_offset = self.next_offset.unwrap_or(decoded.from_offset);
        assert!(
            next_offset <= decoded.from_offset && decoded.from_offset <= decoded.to_offset,
            "batches of {} follow one another: expected {next_offset}, got {}..{}",
            self.id,
            decoded.from_offset,
            decoded.to_offset,
        );
        self.next_offset = Some(decoded.to_offset);
        // Of messages without records nothing is to be waited for, however many come.
        if !decoded.rows.is_empty() || !decoded.rejections.is_empty() {
            self.quiet_since = now;
            self.idle_at = None;
        }
    }

    /// Removes and returns the panes that this partition can add nothing to.
    pub(crate) fn take_passed(&mut self, config: &Config) -> Vec<Partial> {
        let Some(watermark) = self.watermark(&config.sources[self.source].time) else {
            return Vec::new();
        };
        let to_offset = self.position();
        let mut passed = Vec::new();
        for (id, panes) in &mut self.open {
            let Some(model) = config.model_of(id).map(|index| &config.models[index]) else {
                continue;
            };
            for (_, segments) in
                panes.extract_if(.., |span, _| model.pane.is_passed(*span, watermark))
            {
                passed
                    .extend(segments.into_values().map(|partial| Partial { to_offset, ..partial }));
            }
        }
        self.open.retain(|_, panes| !panes.is_empty());
        passed
    }

    /// Returns the open panes as they stand.
    pub(crate) fn partials(&self) -> impl Iterator<Item = Partial> {
        let to_offset = self.position();
        self.open_partials().map(move |partial| Partial { to_offset, ..partial.clone() })
    }

    /// Next offset to read. A partition without messages so far has no partial that would show it.
    fn position(&self) -> i64 {
        self.next_offset.unwrap_or_default()
    }

    fn open_partials(&self) -> impl Iterator<Item = &Partial> {
        self.open.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values)
    }

    /// Whether it was said to be idle, and nothing came since that changes it.
    pub(crate) fn is_idle(&self) -> bool {
        self.idle_at.is_some()
    }

    /// Returns whether the partition, which is read to `end`, has just become idle. One that is
    /// says so again when its end moves without a record: others compare what they know of it.
    pub(crate) fn becomes_idle(&mut self, config: &Config, now: Timestamp, end: i64) -> bool {
        let time = &config.sources[self.source].time;
        let is_idle = self.quiet_since.plus_millis(time.idle_timeout_millis) <= now;
        let is_news = is_idle && self.idle_at.replace(end) != Some(end);
        if is_news {
            // What lies in the log was written by now, and by producers whose clocks are right no
            // event time goes further beyond that.
            let written = now.plus_millis(time.future_skew_max_millis);
            let newest = self.progression.newest().max(Some(written));
            self.begins.extend(self.waiting.drain(..).map(|model| (model, newest)));
        }
        is_news
    }

    /// Has the partition waited for, silent as it may be.
    pub(crate) fn wait(&mut self) {
        self.idle_at = None;
    }

    /// Reports how far it is; what was left behind, and the end of lost time, are told once.
    pub(crate) fn progress(&mut self, config: &Config, high_watermark: Option<i64>) -> Progress {
        let next_offset = self.next_offset.or(high_watermark).unwrap_or_default();
        // Up to the end there may be offsets without a record.
        let next_offset = self.idle_at.map_or(next_offset, |end| end.max(next_offset));
        let settled = self.settled.take();
        self.end_lost(settled, config.sources[self.source].time.out_of_orderness_millis);
        Progress {
            high_watermark,
            watermark: self.watermark(&config.sources[self.source].time),
            newest: self.progression.newest(),
            idle: self.idle_at.is_some(),
            left_behind: std::mem::take(&mut self.left_behind),
            begins: std::mem::take(&mut self.begins)
                .into_iter()
                .map(|(model, newest)| (Arc::clone(&config.models[model].name), newest))
                .collect(),
            settled,
            lost: self.lost_news.take(),
            fields: self.fields.changes(),
            joined: std::mem::take(&mut self.joined),
            waiting: self.halves.waiting(),
            state_bytes: self.open_partials().map(Partial::bytes).sum(),
            open: self.open.iter().map(|(id, panes)| (id.clone(), panes.len())).collect(),
            ..Progress::new(self.id.clone(), self.source, next_offset)
        }
    }

    /// Takes how far event time had come when the log was read past lost records.
    fn end_lost(&mut self, settled: Option<Timestamp>, out_of_orderness_millis: i64) {
        if let (Some(time), Some(newest)) = (&mut self.lost, settled) {
            time.end(newest, out_of_orderness_millis);
            let news = LostNews { time: *time, begins: false };
            self.lost_news = LostNews::absorb(self.lost_news, Some(news));
        }
    }
}

/// Returns the rows at `positions`; the whole batch is not copied.
fn select(batch: &RecordBatch, positions: &[u32]) -> RecordBatch {
    if positions.len() == batch.num_rows() {
        return batch.clone();
    }
    match (positions.first(), positions.last()) {
        (Some(first), Some(last)) if (last - first) as usize == positions.len() - 1 => {
            batch.slice(*first as usize, positions.len())
        }
        _ => take_record_batch(batch, &UInt32Array::from(positions.to_vec()))
            .expect("positions come from this batch"),
    }
}

/// Splits the rows by the segment that their value belongs to: its own, if it is one of `values`.
fn split<'a>(values: &'a [Arc<str>], column: &dyn Array) -> BTreeMap<&'a str, Vec<u32>> {
    let column =
        driftd_ingest::categorical_column(column).expect("segment columns are dictionaries");
    let column = column.column();
    let value_of_key: Vec<&str> = column
        .levels
        .iter()
        .map(|level| {
            values.iter().find(|value| &***value == *level).map_or(OTHER_SEGMENT, |value| &**value)
        })
        .collect();
    let mut positions: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (position, key) in (0_u32..).zip(column.keys) {
        let is_valid = column.validity.is_none_or(|validity| validity.is_valid(position as usize));
        let value = if is_valid { value_of_key[*key as usize] } else { OTHER_SEGMENT };
        positions.entry(value).or_default().push(position);
    }
    positions
}
