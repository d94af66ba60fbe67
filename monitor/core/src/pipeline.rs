//! Stage 2: the state machine that waits for windows, closes and decides them, and says what to do.
//!
//! Before: [`crate::shard`] outputs and news from the edge, as [`Event`]s. After: [`Effect`]s. This
//! file only branches; the work is done by the parts it owns: [`crate::sources`] (who is how far),
//! [`crate::windows`] (what is open, what may close), [`crate::panes`] (which windows that makes),
//! [`crate::evaluate`], [`crate::models`] (what is known of each model) and [`crate::retraining`].
//!
//! Equal events give equal effects. `now` is wall-clock time and decides only about waiting, never
//! about a record.

use std::collections::BTreeSet;
use std::sync::Arc;

use driftd_catalog::event::{CloudEvent, RetrainingRequested};
use driftd_catalog::{PartitionId, Timestamp, WindowSpan};

use crate::config::{Config, ModelConfig, PaneConfig, PerformanceConfig, WindowConfig, WindowKind};
use crate::digest::Digest;
use crate::evaluate::evaluate;
use crate::event::{Effect, Event};
use crate::gaps::{Gap, GapKey, Gaps, Stretch};
use crate::labels::{self, Entries, EntryBatch, Labels, Passed, StoredLabels};
use crate::loss::{LostNews, LostTime};
use crate::models::Models;
use crate::output::OutputMessage;
use crate::panes::{Due, Outcome, Panes};
use crate::partial::Partial;
use crate::result::WindowResult;
use crate::retraining::Retraining;
use crate::shard::{Output, Progress};
use crate::snapshot::{Snapshot, Totals};
use crate::sources::Sources;
use crate::state::{Batch, Outbox, Parts, Saver, Seal, Standing, StoreId};
use crate::windows::{Closing, Inserted, SpanKey, Windows};

/// The whole of stage 2.
#[derive(Debug)]
pub struct Pipeline {
    config: Arc<Config>,
    sources: Sources,
    windows: Windows,
    panes: Panes,
    gaps: Gaps,
    models: Models,
    retraining: Retraining,
    totals: Totals,
    digest: Digest,
    is_changed: bool,
    published_at: Timestamp,
    /// Notes what changes, where there is a store.
    saver: Option<Saver>,
    /// Holds what is to be sent, where something is.
    outbox: Option<Outbox>,
    /// Joins labels with predictions, where that is wanted.
    labels: Option<Labels>,
    /// What was stored of that.
    stored_labels: StoredLabels,
    /// Knows all rows of the store.
    seal: Seal,
}

/// A picture is published at least this often, changed or not: what it says of silence grows old.
const PUBLISH_INTERVAL_MILLIS: i64 = 5_000;

impl Pipeline {
    /// Starts with nothing read.
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            sources: Sources::new(&config),
            windows: Windows::default(),
            panes: Panes::default(),
            gaps: Gaps::default(),
            models: Models::new(&config),
            retraining: Retraining::new(&config),
            totals: Totals::default(),
            digest: Digest::default(),
            is_changed: true,
            published_at: Timestamp::MIN,
            saver: None,
            outbox: None,
            labels: None,
            stored_labels: StoredLabels::default(),
            seal: Seal::default(),
            config,
        }
    }

    /// Starts with nothing read, and sends what it decides. It stores nothing: its store is empty
    /// at every start.
    pub fn without_state(config: Arc<Config>, store: StoreId) -> Self {
        Self { outbox: Some(Outbox::new(&config, store)), ..Self::new(config) }
    }

    /// Goes on where an earlier run ended, and notes what changes.
    pub(crate) fn restored(
        config: &Arc<Config>,
        (saver, outbox, seal): (Saver, Option<Outbox>, Seal),
        (windows, panes, models, retraining): (Windows, Panes, Models, Retraining),
        totals: &Totals,
        digest: Digest,
    ) -> Self {
        let fresh = Self::new(Arc::clone(config));
        let (totals, saver) = (*totals, Some(saver));
        let parts = Self { windows, panes, models, retraining, totals, digest, ..fresh };
        let mut pipeline = Self { saver, outbox, seal, ..parts };
        for model in pipeline.panes.models() {
            pipeline.expect(model);
        }
        pipeline
    }

    /// Takes how far a partition was when an earlier run heard of it.
    pub(crate) fn passed(&mut self, now: Timestamp, progress: &Progress) {
        self.note_not_counted(progress);
        self.sources.advance(now, progress);
    }

    /// Goes on with a gap of an earlier run.
    pub(crate) fn restore_gap(&mut self, key: GapKey, gap: Gap) {
        self.gaps.restore(key, gap);
    }

    /// Takes a stretch that counts of a partition are missing from.
    pub(crate) fn miss(&mut self, key: GapKey, stretch: Stretch) {
        let news = self.gaps.add(key, stretch);
        if let (Some((key, gap)), Some(saver)) = (news, &mut self.saver) {
            saver.gap(key, gap);
        }
    }

    /// Takes the time of which records of a partition are lost.
    pub(crate) fn lacks(&mut self, partition: PartitionId, lost: LostTime) {
        self.sources.set_lost(partition, lost);
    }

    /// Returns how many windows were closed so far, by earlier runs too.
    pub fn windows_closed(&self) -> u64 {
        self.totals.windows_closed
    }

    /// Returns what changed since the last call, to be stored at once. The messages that
    /// [`Pipeline::take_outputs`] returns next are among it.
    pub fn take_changes(&mut self) -> Batch {
        let Self { config, windows, panes, models, retraining, totals, digest, .. } = self;
        let parts = Parts { config, windows, panes, models, retraining, totals, digest: *digest };
        if let (Some(saver), Some(labels)) = (&mut self.saver, &mut self.labels) {
            labels.take_rows().into_iter().for_each(|rows| saver.labels(rows));
        }
        let mut batch = self.saver.as_mut().map(|saver| saver.batch(&parts)).unwrap_or_default();
        batch.extend(self.outbox.iter_mut().flat_map(Outbox::changes));
        if self.saver.is_some() {
            self.seal.add(&mut batch);
        }
        batch
    }

    /// Takes the messages that are to be sent as soon as the batch before is stored, by number.
    /// [`Event::OutputsSent`] says that they are.
    pub fn take_outputs(&mut self) -> Vec<(u64, OutputMessage)> {
        self.outbox.as_mut().map(Outbox::take).unwrap_or_default()
    }

    /// Returns the memory of the messages that were not taken yet.
    pub fn outputs_bytes(&self) -> usize {
        self.outbox.as_ref().map_or(0, Outbox::bytes)
    }

    /// Returns where the outbox stands; needed before [`Event::OutboxOpened`], which comes first.
    pub fn outbox(&self) -> Option<Standing> {
        self.outbox.as_ref().map(Outbox::standing)
    }

    /// Notes how far the topic partition was read from which events come: where a restart goes on.
    pub fn set_input(&mut self, next_offset: i64) {
        if let Some(saver) = &mut self.saver {
            saver.input(next_offset);
        }
    }

    /// Takes one event and appends what is to be done about it.
    pub fn handle(&mut self, now: Timestamp, event: Event, effects: &mut Vec<Effect>) {
        // Time alone changes nothing that is shown, unless it makes something happen.
        self.is_changed |= !matches!(event, Event::Tick);
        match event {
            Event::TopicPartitions { source, partitions } => {
                self.sources.set_known(now, source, partitions);
            }
            Event::Assigned { source, partitions } => self.sources.assign(now, source, partitions),
            Event::Revoked { source, partitions } => {
                self.sources.revoke(now, source, partitions, effects);
            }
            Event::LetGo(partition) => self.sources.let_go(now, &partition, effects),
            Event::Partial(partial) => self.take_partial(now, *partial, effects),
            Event::LeftOut { model, partition, span } => {
                self.totals.left_out += 1;
                let stretch = Stretch::Missing { from: span.start(), to: span.end() };
                self.miss(GapKey { model, partition }, stretch);
            }
            Event::Progress(progress) => self.take_progress(now, &progress, effects),
            Event::Ends { source, ends } => self.sources.set_ends(now, source, ends),
            Event::Elsewhere { source, standings } => {
                self.sources.set_elsewhere(now, source, standings);
            }
            Event::Checkpoint(checkpoint) => {
                if let Some(saver) = &mut self.saver {
                    saver.checkpoint(*checkpoint);
                }
            }
            Event::Predictions(batch) => {
                self.labels.iter_mut().for_each(|labels| labels.predict(&batch));
            }
            Event::Labels(batch) => self.labels.iter_mut().for_each(|labels| labels.label(&batch)),
            Event::DeadLettered { source, stored, too_large, failed } => {
                self.sources.dead_lettered(source, stored, too_large, failed);
            }
            Event::ClientError { source, kind } => self.sources.client_error(source, kind),
            Event::Stalled { partition, loss } => self.sources.stall(&partition, loss),
            Event::Lost { partition, news } => self.take_lost(now, partition, news),
            Event::OutboxOpened(opening) => {
                let found = self.outbox.as_mut().map(|it| it.open(&self.config, opening));
                for id in found.unwrap_or_default() {
                    self.take_delivery(now, &id, true);
                }
            }
            Event::OutputsSent { to } => {
                self.outbox.iter_mut().for_each(|outbox| outbox.sent(to));
            }
            Event::RetrainDelivered { id, stored } => self.take_delivery(now, &id, stored),
            Event::ResultsDelivered { stored, failed } => {
                self.totals.results_stored += stored;
                self.totals.results_failed += failed;
            }
            Event::RetrainReported(status) => {
                let outcome = self.retraining.reported(now, &status);
                self.totals.jobs_succeeded += u64::from(outcome.succeeded);
                self.totals.jobs_failed += u64::from(outcome.failed);
                self.note_news();
            }
            Event::InputEnded => self.close_all(now, effects),
            Event::Tick => self.tick(now, effects),
        }
    }

    /// Has labels joined with predictions of models whose performance is followed: their entries
    /// are in `entries`, and what changes is in [`Pipeline::take_entries`].
    pub fn join_labels(&mut self, entries: &Arc<dyn Entries>) {
        let stored = std::mem::take(&mut self.stored_labels);
        self.labels = Some(Labels::new(&self.config, entries, &stored));
    }

    /// Takes what an earlier run stored of labels and predictions.
    pub(crate) fn restore_labels(&mut self, stored: StoredLabels) {
        self.stored_labels = stored;
    }

    /// Returns what changed of entries since the last call, to be stored with the batch of
    /// [`Pipeline::take_changes`] just before, or not at all.
    pub fn take_entries(&mut self) -> EntryBatch {
        self.labels.as_mut().map(Labels::take_entries).unwrap_or_default()
    }

    /// Returns the memory of entries that were not taken yet.
    pub fn entries_bytes(&self) -> u64 {
        self.labels.as_ref().map_or(0, Labels::unsaved_bytes)
    }

    /// Returns the picture of everything as it is now.
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        let (partitions, unassigned) = self.sources.partitions_snapshot();
        Snapshot {
            taken_at: now,
            sources: self.sources.snapshot(),
            partitions,
            unassigned,
            lanes: Vec::new(),
            models: self.models.snapshot(&self.config, &self.windows, &self.panes),
            retraining: self.retraining.entries(),
            retrain_outcomes: self.retraining.outcomes(),
            state_bytes: self.sources.state_bytes() + self.windows.bytes() + self.panes.bytes(),
            waiting_bytes: self.windows.bytes(),
            panes_bytes: self.panes.bytes(),
            performance: self.labels.as_ref().map(Labels::snapshot).unwrap_or_default(),
            totals: self.totals,
            digest: self.digest,
        }
    }

    fn take_partial(&mut self, now: Timestamp, partial: Partial, effects: &mut Vec<Effect>) {
        // Of a version whose panes are kept no more, nothing can be revised; nor can a pane of
        // which records are lost: what its partition had given is dropped.
        let model = &self.config.models[partial.model];
        let source = &self.config.sources[model.source];
        let is_whole = self.sources.lacking(source, partial.pane.span).next().is_none();
        let is_kept = is_whole && self.panes.has(&partial.pane.model);
        let revisions_millis = if is_kept { model.pane.revisions_millis } else { 0 };
        match self.windows.insert(partial, revisions_millis) {
            Inserted::Waits => {}
            Inserted::Revised(pane) => {
                let model = pane.model;
                let outcome = self.panes.revise(&self.config, *pane);
                self.follow(now, outcome, effects);
                // A window that has not ended may have its first record now.
                self.expect(model);
            }
            Inserted::Late(model, rows) => {
                self.models.late(&model, rows);
                if let Some(saver) = &mut self.saver {
                    saver.late(&model);
                }
            }
        }
    }

    /// Takes what its reader tells of a partition that has lost records. What is in closed panes
    /// stays, as in a process that decides itself about what it reads.
    fn take_lost(&mut self, now: Timestamp, partition: PartitionId, news: LostNews) {
        if news.begins {
            self.sources.begin_anew(now, &partition);
            self.windows.forget_partition(&partition);
            for model in self.panes.models() {
                self.expect(model);
            }
        }
        if let Some(saver) = &mut self.saver {
            if news.begins {
                saver.forget_partition(&partition);
            }
            saver.lost(partition.clone(), &news.time);
        }
        self.lacks(partition, news.time);
    }

    fn take_delivery(&mut self, now: Timestamp, id: &str, stored: bool) {
        self.totals.retrain_published += u64::from(stored);
        self.retraining.delivered(now, id, stored);
        self.note_news();
    }

    fn note_news(&mut self) {
        if let Some(saver) = &mut self.saver {
            saver.news();
        }
    }

    fn take_progress(&mut self, now: Timestamp, progress: &Progress, effects: &mut Vec<Effect>) {
        self.totals.messages += progress.messages;
        self.totals.rejected += progress.rejected.values().sum::<u64>();
        if let Some(saver) = &mut self.saver {
            saver.barrier(progress);
        }
        self.note_not_counted(progress);
        self.begin_anew(progress);
        let settled = self.sources.settle(&self.config, progress);
        if let (Some(lost), Some(saver)) = (settled, &mut self.saver) {
            saver.lost(progress.partition.clone(), &lost);
        }
        for model in &progress.models {
            self.models.advance(model);
        }
        self.models.set_open(&progress.partition, &progress.open);
        if self.sources.advance(now, progress) {
            self.sources.align(now, &self.config, effects);
            self.close_ready(now, effects);
            self.pass_labels(progress.source, effects);
        }
    }

    /// What a partition has read of a model without counting it as this process does, is missing.
    fn note_not_counted(&mut self, progress: &Progress) {
        let watermark = self.sources.watermark(&progress.partition);
        for (model, newest) in &progress.not_counted {
            let model = &self.config.models[*model];
            let PaneConfig { lateness_millis, .. } = model.pane;
            let unpassed = watermark.map(|it| model.pane.span_of(it.plus_millis(-lateness_millis)));
            let from = unpassed.map_or(Timestamp::MIN, |it| it.start());
            let to = model.pane.span_of(*newest).end();
            let key = gap_key(&model.name, progress);
            self.miss(key, Stretch::Missing { from, to });
        }
        let disorder_millis = self.config.sources[progress.source].time.out_of_orderness_millis;
        for (model, newest) in &progress.begins {
            // Every window that holds the newest, whatever windows there are. The first record that
            // is counted may be older than those before it, as far as disorder goes.
            let until = |newest: Timestamp| Stretch::Until(newest.plus_millis(disorder_millis + 1));
            let stretch = newest.map_or(Stretch::Open, until);
            self.miss(gap_key(model, progress), stretch);
        }
    }

    /// A model version whose windows a partition dropped begins with the next whole window.
    fn begin_anew(&mut self, progress: &Progress) {
        let Some(newest) = progress.newest else { return };
        for id in &progress.left_behind {
            let Some(model) = self.config.model_of(id) else {
                // Whoever owns the lane next may know the model.
                let (from, to) = (Timestamp::MIN, newest.plus_millis(1));
                self.miss(gap_key(&id.name().into(), progress), Stretch::Missing { from, to });
                continue;
            };
            let span = self.config.models[model].pane.span_of(newest);
            self.windows.begin_after(id, (span, model));
            self.panes.begin_anew(&self.config, model, id, span.end());
            self.expect(model);
            if let Some(saver) = &mut self.saver {
                saver.begin_anew(id);
            }
        }
    }

    fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let before = effects.len();
        // Also without progress: the partition that the others waited for may have gone away.
        self.sources.align(now, &self.config, effects);
        self.close_ready(now, effects);
        self.is_changed |= before < effects.len();
        for retired in self.models.retire(&self.config, &self.windows) {
            self.windows.forget(&retired);
            self.panes.forget(&retired);
            self.retraining.forget(&retired);
            if let Some(saver) = &mut self.saver {
                saver.forget(&retired);
            }
        }
        let is_old = self.published_at.plus_millis(PUBLISH_INTERVAL_MILLIS) <= now;
        if self.is_changed || is_old {
            self.is_changed = false;
            self.published_at = now;
            effects.push(Effect::Publish(Arc::new(self.snapshot(now))));
        }
    }

    fn close_ready(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let mut waiting = BTreeSet::new();
        let mut keys: BTreeSet<SpanKey> = self.windows.open_spans().collect();
        while let Some(key) = keys.pop_first() {
            let (span, model) = key;
            let missing = match self.sources.readiness(now, &self.config.models[model], span) {
                Closing::Wait => {
                    self.windows.forget_flush(key);
                    waiting.insert(model);
                    continue;
                }
                Closing::Complete => Vec::new(),
                Closing::Overdue(missing) if self.windows.is_flushed(now, key) => missing,
                Closing::Overdue(missing) => {
                    if self.windows.ask_flush(now, key) {
                        effects.extend(missing.into_iter().map(Effect::Flush));
                    }
                    waiting.insert(model);
                    continue;
                }
            };
            // What a partition reports when it is asked may be an earlier pane than the one it was
            // asked for.
            if !waiting.contains(&model) {
                keys.extend(self.close(now, key, &missing, effects));
            }
        }
    }

    fn close_all(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        while let Some(key) = self.windows.first() {
            self.close(now, key, &[], effects);
        }
        let outcome = self.panes.finish(&self.config);
        self.follow(now, outcome, effects);
    }

    /// Closes the panes of a span; returns the span that is waited for next.
    fn close(
        &mut self,
        now: Timestamp,
        key: SpanKey,
        missing: &[PartitionId],
        effects: &mut Vec<Effect>,
    ) -> Option<SpanKey> {
        let (span, model) = key;
        let revisions_millis = self.config.models[model].pane.revisions_millis;
        let panes = self.windows.take(key, revisions_millis);
        let outcome = self.panes.close(&self.config, key, panes, missing);
        for id in &outcome.versions {
            self.windows.pass(id, span);
        }
        self.follow(now, outcome, effects);
        self.forget_gaps(key);
        self.expect(model)
    }

    /// Forgets the gaps that no later window touches, nor a revised one. A pane may be closed
    /// without a partition, and that one may bring a version that nobody has seen: its panes are
    /// closed by no other's.
    fn forget_gaps(&mut self, (span, model): SpanKey) {
        let watched = &self.config.models[model];
        let passed = self.sources.passed_by_all(watched.source);
        let unpassed = watched.pane.span_of(passed.plus_millis(-watched.pane.lateness_millis));
        let reach = watched.windows.iter().map(WindowConfig::reach_millis).max();
        let reach = reach.unwrap_or_default() + watched.pane.revisions_millis;
        let begins = span.end().min(unpassed.start()).plus_millis(-reach);
        let rows = self.panes.oldest_rows(watched, model);
        let begins = rows.map_or(begins, |rows| rows.min(begins));
        for key in self.gaps.forget_before(&watched.name, begins) {
            if let Some(saver) = &mut self.saver {
                saver.forget_gap(key);
            }
        }
    }

    /// Waits for the end of the next window, although no record may come before; returns where.
    fn expect(&mut self, model: usize) -> Option<SpanKey> {
        let next = self.panes.next(&self.config, model)?;
        self.windows.expect(next);
        Some(next)
    }

    fn follow(&mut self, now: Timestamp, outcome: Outcome, effects: &mut Vec<Effect>) {
        let Outcome { due, versions, touched } = outcome;
        if let Some(saver) = &mut self.saver {
            saver.passed(versions, touched);
        }
        for mut due in due {
            self.note_missing(&mut due);
            self.decide(now, &due, effects);
        }
    }

    /// Names the partitions whose counts are missing from a window, or that have lost records of
    /// its time, whether or not there was a pane that lacks them. A window without an end says so
    /// of records lost since its last result.
    fn note_missing(&self, due: &mut Due) {
        let model = &self.config.models[due.counts.model];
        let WindowConfig { kind, every_millis, .. } = &model.windows[due.window];
        let span = due.counts.id.span;
        let span = match kind {
            WindowKind::Length { .. } | WindowKind::Rows { .. } => span,
            WindowKind::Global => {
                WindowSpan::starting_at(span.end().plus_millis(-every_millis), *every_millis)
            }
        };
        let mut missing: BTreeSet<PartitionId> = due.missing.drain(..).collect();
        missing.extend(self.gaps.missing(&model.name, due.counts.id.span));
        let source = &self.config.sources[model.source];
        missing.extend(self.sources.lacking(source, span).cloned());
        due.missing.extend(missing);
    }

    fn decide(&mut self, now: Timestamp, due: &Due, effects: &mut Vec<Effect>) {
        let result = Arc::new(evaluate(&self.config, due, now));
        effects.push(Effect::Window(Arc::clone(&result)));
        let transitions = self.models.close(&self.config, due.window, &result);
        if !result.edition.is_final {
            return;
        }
        if let Some(saver) = &mut self.saver {
            saver.closed(&self.config, due, now);
        }
        if result.edition.is_revised {
            return;
        }
        self.digest.add(&result, &due.counts.features);
        self.totals.windows_closed += 1;
        if !result.decides {
            return;
        }
        effects.extend(transitions.into_iter().map(Effect::Episode));
        let open = self.models.open_episodes(&result.id);
        let requests = self.retraining.observe(&self.config, now, &result, &due.counts, &open);
        self.note_outputs(now, &result, &requests);
        effects.extend(requests.into_iter().map(Box::new).map(Effect::Retrain));
    }

    /// Lets the windows of models be final that one of their two topics was waited for.
    fn pass_labels(&mut self, source: usize, effects: &mut Vec<Effect>) {
        let Self { config, sources, labels: Some(labels), digest, outbox, saver, .. } = self else {
            return;
        };
        for index in labels::models_of(config, source) {
            let model = &config.models[index];
            let Some(performance) = &model.performance else { continue };
            let passed = passed(sources, model, performance);
            let both = [model.source, performance.labels.source].map(|it| &config.sources[it]);
            let missing = |span| {
                both.iter().flat_map(|source| sources.lacking(source, span)).cloned().collect()
            };
            for result in labels.pass(index, passed, missing) {
                digest.add_performance(&model.name, &result);
                if let Some(outbox) = outbox {
                    outbox.add_performance(&model.name, &result);
                    outbox.pass(&model.name, result.span.start());
                }
                effects.push(Effect::Performance(Arc::new(result)));
                // The digest is among what is stored then.
                saver.iter_mut().for_each(Saver::news);
            }
        }
    }

    fn note_outputs(&mut self, now: Timestamp, result: &WindowResult, requests: &[Requested]) {
        let Some(outbox) = &mut self.outbox else { return };
        outbox.add_lines(result);
        let mut found = Vec::new();
        for event in requests {
            if !outbox.add_event(event) {
                found.push(&event.id);
            }
        }
        // What is said of performance comes later, and is passed there.
        let model = self.config.model_of(&result.id.model);
        let is_followed = model.is_some_and(|it| self.config.models[it].performance.is_some());
        if result.complete && !is_followed {
            outbox.pass(result.id.model.name(), result.id.span.start());
        }
        for id in found {
            self.take_delivery(now, id, true);
        }
    }
}

/// Returns how far the two topics of a model have come.
fn passed(sources: &Sources, model: &ModelConfig, performance: &PerformanceConfig) -> Passed {
    let predictions = sources.floor(model.source).plus_millis(-model.pane.lateness_millis);
    Passed { predictions, labels: sources.floor(performance.labels.source) }
}

fn gap_key(model: &Arc<str>, progress: &Progress) -> GapKey {
    GapKey { model: Arc::clone(model), partition: progress.partition.clone() }
}

type Requested = CloudEvent<RetrainingRequested>;

impl From<Output> for Event {
    fn from(output: Output) -> Self {
        match output {
            Output::Partial(partial) => Self::Partial(partial),
            Output::Progress(progress) => Self::Progress(progress),
            Output::Checkpoint(checkpoint) => Self::Checkpoint(checkpoint),
            Output::Predictions(batch) => Self::Predictions(batch),
            Output::Labels(batch) => Self::Labels(batch),
        }
    }
}
