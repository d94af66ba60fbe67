//! Tells the demo's story in plain words, as it happens.
//!
//! Before: effects of the pipeline, and what the player does. After: lines for people.

use std::net::SocketAddr;

use driftd_alerts::Transition;
use driftd_catalog::Timestamp;
use driftd_core::config::Config;
use driftd_core::event::Effect;
use driftd_core::labels::PerformanceResult;
use driftd_core::result::{FeatureResult, WindowResult};
use driftd_core::snapshot::Snapshot;
use driftd_detectors::State;

use crate::console::{complain, say, thousands};
use crate::demo::stage_set::StageSet;
use crate::http::explain;

/// Features named in one line; more are counted.
const NAMED_MAX: usize = 3;

/// Where the words go.
#[derive(Clone, Debug)]
pub(super) struct Narrator {
    /// Standard output is for one JSON object.
    is_aside: bool,
}

impl Narrator {
    pub(super) fn new(is_aside: bool) -> Self {
        Self { is_aside }
    }

    fn line(&self, line: impl std::fmt::Display) {
        if self.is_aside { complain(line) } else { say(line) }
    }

    pub(super) fn open(&self, set: &StageSet) {
        self.line("driftd demo: a model of flight delays, trained on January to March 2013, meets the summer.");
        self.line("Real departures from New York City, ten weeks from July on, played through an in-process Kafka broker.");
        self.line(format_args!("files     {}", set.folder().display()));
    }

    pub(super) fn addresses(&self, address: SocketAddr) {
        self.line(format_args!("page      http://{address}/"));
        self.line(format_args!("metrics   http://{address}/metrics"));
        self.line(format_args!("API       http://{address}/api/v1/models"));
        self.line("");
    }

    /// Tells one effect.
    pub(super) fn tell(&self, config: &Config, effect: &Effect) {
        match effect {
            Effect::Window(window)
                if window.decides
                    && window.edition.is_first_final()
                    && window.id.segment.as_str() == "all" =>
            {
                self.window(config, window);
            }
            Effect::Episode(transition) => self.episode(transition),
            Effect::Retrain(event) => {
                self.line(format_args!(
                    "  >> retraining event {} published: {}",
                    event.id, event.data.reason.summary
                ));
            }
            Effect::Performance(result) => self.performance(result),
            Effect::Window(_)
            | Effect::Publish(_)
            | Effect::Flush(_)
            | Effect::Pause(_)
            | Effect::Resume(_) => {}
        }
    }

    fn window(&self, config: &Config, window: &WindowResult) {
        let state = match window.state() {
            State::Ok => "ok",
            State::Drifted => "DRIFTED",
            State::BrokenData => "BROKEN DATA",
            State::InsufficientData => "too few records to say anything",
            State::NoReference => "no reference yet",
        };
        self.line(format_args!(
            "{}  {} to {}  {:>6} records  {state}",
            window.id.model,
            day(window.id.span.start()),
            day(window.id.span.end()),
            thousands(window.rows)
        ));
        let mut drifted: Vec<&FeatureResult> =
            window.in_state(State::Drifted).chain(window.in_state(State::BrokenData)).collect();
        drifted.sort_by(|left, right| {
            let score = |it: &FeatureResult| it.verdict.score.unwrap_or(0.0);
            score(right).total_cmp(&score(left))
        });
        for feature in drifted.iter().take(NAMED_MAX) {
            let policy = config
                .models
                .iter()
                .filter(|model| &*model.name == window.id.model.name())
                .flat_map(|model| &model.features)
                .find(|it| it.name == feature.name)
                .map(|it| it.policy);
            let Some(policy) = policy else { continue };
            let why = explain(feature, &policy, &config.decision);
            self.line(format_args!("     {}: {why}", feature.name));
        }
        if NAMED_MAX < drifted.len() {
            self.line(format_args!("     and {} more", drifted.len() - NAMED_MAX));
        }
    }

    /// Tells how good the predictions of a week were, by all traffic of each version.
    fn performance(&self, result: &PerformanceResult) {
        for part in result.parts.iter().filter(|it| it.segment.as_str() == "all") {
            let Some(area) = part.metrics.iter().find(|it| it.name == "roc_auc") else { continue };
            let interval = area.interval.map(|it| format!(" ({:.3} to {:.3})", it.lower, it.upper));
            self.line(format_args!(
                "     all flights of {} to {} have arrived: ROC area of version {} {:.3}{}, by {} of {} labels",
                day(result.span.start()),
                day(result.span.end()),
                part.version,
                area.value,
                interval.unwrap_or_default(),
                thousands(part.labelled),
                thousands(part.predictions),
            ));
        }
    }

    fn episode(&self, transition: &Transition) {
        match transition {
            Transition::Raised(episode) if episode.segment.as_str() == "all" => {
                self.line(format_args!(
                    "  >> drift of `{}` is established: {} of the last weeks were above the limit",
                    episode.feature, episode.windows_breached
                ));
            }
            Transition::Cleared(episode) if episode.segment.as_str() == "all" => {
                self.line(format_args!("  >> drift of `{}` is over", episode.feature));
            }
            Transition::Raised(_) | Transition::Cleared(_) => {}
        }
    }

    pub(super) fn deployed(&self, old: &str, new: &str) {
        self.line(format_args!(
            "  >> the job has registered version {new} with a reference of its own; it replaces version {old} now"
        ));
    }

    pub(super) fn wait(&self, address: SocketAddr) {
        self.line("");
        self.line(format_args!(
            "The story is over; the page stays at http://{address}/ until Ctrl-C."
        ));
    }

    pub(super) fn close(&self, last: &Snapshot) {
        let totals = &last.totals;
        self.line("");
        self.line(format_args!(
            "{} records, {} rejected, {} windows decided, {} retraining events, {} jobs succeeded, digest {}",
            thousands(totals.messages),
            thousands(totals.rejected),
            totals.windows_closed,
            totals.retrain_published,
            totals.jobs_succeeded,
            last.digest
        ));
    }
}

/// Returns the date alone: windows of the demo begin and end at midnight.
fn day(time: Timestamp) -> String {
    let text = time.to_string();
    text.split_once('T').map_or(text.clone(), |(day, _)| day.to_owned())
}
