//! What a replay found, in numbers: for a person or as one JSON object.
//!
//! Before: [`super`] tells each window, rejection and request. After: standard output.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use driftd_catalog::{ModelId, Timestamp};
use driftd_core::result::WindowResult;
use driftd_core::snapshot::Snapshot;
use driftd_detectors::State;
use driftd_ingest::Rejection;
use serde::Serialize;

/// Counts kept while a replay goes on.
#[derive(Debug, Default)]
pub(super) struct Tally {
    rejected: BTreeMap<&'static str, Refused>,
    features: BTreeMap<(ModelId, String, String), DriftedFeature>,
    without_reference: BTreeMap<ModelId, PathBuf>,
    windows: BTreeMap<&'static str, u64>,
    retrain_events: u64,
}

/// Rows refused for one reason.
#[derive(Clone, Debug, Serialize)]
struct Refused {
    records: u64,
    first_row: i64,
    first_detail: String,
}

/// A feature that drifted in some window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DriftedFeature {
    /// Name of the model.
    pub model: String,
    /// Version of the model.
    pub version: String,
    /// Part of the traffic.
    pub segment: String,
    /// The feature.
    pub feature: String,
    /// Windows in which it drifted.
    pub windows_drifted: u64,
    /// Start of the first of them.
    pub first: Timestamp,
    /// Start of the last of them.
    pub last: Timestamp,
    /// Greatest score.
    pub score_max: f64,
}

/// What a replay found.
#[derive(Debug, Serialize)]
pub struct ReplaySummary {
    /// Rows read, good or bad.
    pub records_in: u64,
    /// Rows refused.
    pub records_rejected: u64,
    /// Rows refused, by reason, with the first one of each.
    rejections: BTreeMap<&'static str, Refused>,
    /// Rows that came after their window had been passed.
    pub records_late: u64,
    /// Rows left out because a model had too many versions or windows open.
    pub records_over_limit: u64,
    /// Windows closed, segments counted each.
    pub windows_closed: u64,
    /// Those windows by their gravest state.
    windows: BTreeMap<&'static str, u64>,
    /// Names of the features that drifted in any window that decides, each once.
    pub features_drifted: Vec<String>,
    /// Where and when they did.
    pub drifts: Vec<DriftedFeature>,
    /// Model versions without a reference, and where it was looked for.
    pub without_reference: BTreeMap<String, PathBuf>,
    /// Retraining events that `driftd run` would have published.
    pub retrain_events: u64,
    /// Digest of all windows.
    pub digest: String,
    /// Time that the replay took.
    pub seconds: f64,
}

impl Tally {
    pub(super) fn reject(&mut self, rejections: &[Rejection]) {
        for rejection in rejections {
            let refused = self.rejected.entry(rejection.reason.as_str());
            refused
                .or_insert_with(|| Refused {
                    records: 0,
                    first_row: rejection.offset,
                    first_detail: rejection.detail.clone(),
                })
                .records += 1;
        }
    }

    pub(super) fn without_reference(&mut self, id: &ModelId, path: &Path) {
        self.without_reference.insert(id.clone(), path.to_owned());
    }

    pub(super) fn retrain(&mut self) {
        self.retrain_events += 1;
    }

    pub(super) fn window(&mut self, result: &WindowResult) {
        if !result.edition.is_first_final() {
            return;
        }
        *self.windows.entry(result.state().as_str()).or_insert(0) += 1;
        if !result.decides {
            return;
        }
        let (model, segment) = (&result.id.model, result.id.segment.as_str());
        let start = result.id.span.start();
        for feature in result.in_state(State::Drifted) {
            let key = (model.clone(), segment.to_owned(), feature.name.to_string());
            let drift = self.features.entry(key).or_insert_with(|| DriftedFeature {
                model: model.name().to_owned(),
                version: model.version().to_owned(),
                segment: segment.to_owned(),
                feature: feature.name.to_string(),
                windows_drifted: 0,
                first: start,
                last: start,
                score_max: 0.0,
            });
            drift.windows_drifted += 1;
            drift.first = drift.first.min(start);
            drift.last = drift.last.max(start);
            drift.score_max = drift.score_max.max(feature.verdict.score.unwrap_or(0.0));
        }
    }

    pub(super) fn conclude(self, snapshot: &Snapshot, seconds: f64) -> ReplaySummary {
        let drifts: Vec<_> = self.features.into_values().collect();
        let mut features_drifted: Vec<_> = drifts.iter().map(|it| it.feature.clone()).collect();
        features_drifted.sort_unstable();
        features_drifted.dedup();
        let without_reference = self.without_reference.into_iter();
        ReplaySummary {
            records_in: snapshot.totals.messages,
            records_rejected: snapshot.totals.rejected,
            rejections: self.rejected,
            records_late: snapshot.models.iter().map(|it| it.late).sum(),
            records_over_limit: snapshot.sources.iter().map(|it| it.over_limit).sum(),
            windows_closed: snapshot.totals.windows_closed,
            windows: self.windows,
            features_drifted,
            drifts,
            without_reference: without_reference.map(|(id, path)| (id.to_string(), path)).collect(),
            retrain_events: self.retrain_events,
            digest: snapshot.digest.to_string(),
            seconds,
        }
    }
}

impl ReplaySummary {
    /// Writes the summary for a person.
    pub(super) fn write(&self, output: &Path, out: &mut dyn Write) -> io::Result<()> {
        let states: Vec<_> =
            self.windows.iter().map(|(state, windows)| format!("{windows} {state}")).collect();
        let states = if states.is_empty() { "none".to_owned() } else { states.join(", ") };
        writeln!(out, "records   {} read, {} rejected", self.records_in, self.records_rejected)?;
        writeln!(out, "windows   {} closed ({states})", self.windows_closed)?;
        self.write_drifts(out)?;
        self.write_losses(out)?;
        if 0 < self.retrain_events {
            writeln!(out, "retrain   {} events would have been published", self.retrain_events)?;
        }
        writeln!(out, "results   {}", output.display())?;
        writeln!(out, "digest    {}", self.digest)?;
        let rate = self.records_in as f64 / self.seconds.max(1e-3);
        writeln!(out, "took      {:.2} s, {rate:.0} records/s", self.seconds)
    }

    fn write_drifts(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.drifts.is_empty() {
            return writeln!(out, "drifted   nothing");
        }
        writeln!(out, "drifted   {}", self.features_drifted.join(", "))?;
        for drift in &self.drifts {
            let DriftedFeature {
                model,
                version,
                segment,
                feature,
                windows_drifted,
                first,
                last,
                score_max,
            } = drift;
            writeln!(
                out,
                "  {model}/{version} {segment} {feature}: {windows_drifted} windows from {first} to {last}, \
                 score up to {score_max:.2}"
            )?;
        }
        Ok(())
    }

    /// Says what was not counted, and what to do about it.
    fn write_losses(&self, out: &mut dyn Write) -> io::Result<()> {
        for (reason, Refused { records, first_row, first_detail }) in &self.rejections {
            writeln!(out, "rejected  {records} {reason}, first row {first_row}: {first_detail}")?;
        }
        if 0 < self.records_late {
            writeln!(
                out,
                "late      {} records came after their window had been passed: sort the files by event time, or \
                 raise the source's `time.out_of_orderness`",
                self.records_late
            )?;
        }
        if 0 < self.records_over_limit {
            writeln!(
                out,
                "left out  {} records: more versions or open windows than the model's `versions_max` and \
                 `window.open_max`",
                self.records_over_limit
            )?;
        }
        for (model, path) in &self.without_reference {
            let path = path.display();
            writeln!(
                out,
                "missing   {model} has no reference at `{path}`: build it with `driftd reference build`"
            )?;
        }
        Ok(())
    }
}
