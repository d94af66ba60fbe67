//! `/api/v1/retraining`: requests and what became of them, newest first.
//!
//! Before: [`super`]. After: the page's last table.

use driftd_catalog::Timestamp;
use driftd_core::snapshot::{RetrainingEntry, Snapshot};
use serde::Serialize;

use super::Span;

/// The answer. The snapshot bounds its length.
#[derive(Debug, Serialize)]
pub(in crate::http) struct Retraining {
    taken_at: Timestamp,
    events: Vec<Event>,
}

#[derive(Debug, Serialize)]
struct Event {
    at: Timestamp,
    model: String,
    version: String,
    id: String,
    policy: String,
    window: Span,
    features: Vec<String>,
    state: String,
    summary: String,
    new_version: Option<String>,
}

pub(in crate::http) fn retraining(snapshot: &Snapshot) -> Retraining {
    let events = snapshot.retraining.iter().rev().map(Event::from).collect();
    Retraining { taken_at: snapshot.taken_at, events }
}

impl From<&RetrainingEntry> for Event {
    fn from(entry: &RetrainingEntry) -> Self {
        Self {
            at: entry.at,
            model: entry.model.name().to_owned(),
            version: entry.model.version().to_owned(),
            id: entry.id.to_string(),
            policy: entry.policy.to_string(),
            window: entry.window.into(),
            features: entry.features.iter().map(ToString::to_string).collect(),
            state: entry.state.to_string(),
            summary: entry.summary.to_string(),
            new_version: entry.new_version.as_deref().map(str::to_owned),
        }
    }
}
