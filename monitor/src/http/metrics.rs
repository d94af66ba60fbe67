//! The scrape: one snapshot as metric families of the catalogue.
//!
//! Before: [`HttpState`] holds the newest snapshot. After: Prometheus. Families are built anew at
//! each scrape, so the series of a model, version or segment that is gone go stale with the next
//! one. Too little data means no sample of a statistic, never 0.

mod model;
mod performance;
mod process;
mod source;

pub(super) use self::model::{Quality, minimum_rows, missing, ratio};
pub(super) use self::source::{lag, lag_seconds};

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus::core::{Collector, Desc};
use prometheus::{Registry, TEXT_FORMAT, TextEncoder, proto};

use super::HttpState;
use super::api::ApiError;
use super::families::Families;

/// Makes all families of the catalogue from one snapshot.
struct SnapshotCollector(HttpState);

impl Collector for SnapshotCollector {
    /// Nothing is declared ahead: label values come and go with the snapshot.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let state = &self.0;
        let snapshot = state.snapshot();
        let mut families = Families::default();
        process::collect(&mut families, state, &snapshot);
        source::collect(&mut families, state, &snapshot);
        model::configured(&mut families, state, &snapshot);
        for model in &snapshot.models {
            model::collect(&mut families, &state.config, model, &snapshot);
        }
        performance::collect(&mut families, &state.config, &snapshot);
        families.finish()
    }
}

/// Answers a scrape in the text format 0.0.4.
pub(super) fn scrape(state: HttpState) -> Response {
    match text(state) {
        Ok(text) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => ApiError::internal(&error).into_response(),
    }
}

/// Returns the exposition. The registry, made for this scrape, sorts families and series.
pub(super) fn text(state: HttpState) -> prometheus::Result<String> {
    let registry = Registry::new();
    registry.register(Box::new(SnapshotCollector(state)))?;
    TextEncoder::new().encode_to_string(&registry.gather())
}
