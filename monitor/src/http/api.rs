//! JSON answers under `/api/v1`, and the errors of every route.
//!
//! Before: the router has taken the path apart. After: the page, scripts. One file an answer:
//! [`status`], [`model`], [`scores`], [`feature`], [`windows`], [`performance`], [`retraining`].
//! Numbers are finite or null, times RFC 3339 in UTC.

pub(super) mod feature;
pub(super) mod model;
pub(super) mod performance;
pub(super) mod retraining;
pub(super) mod scores;
pub(super) mod status;
pub(super) mod windows;

use std::fmt::Display;
use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use driftd_catalog::{Timestamp, WindowSpan};
use driftd_core::config::{Config, ModelConfig};
use driftd_core::history::KeptWindow;
use driftd_core::result::WindowResult;
use driftd_core::snapshot::{ModelSnapshot, SegmentSnapshot, Snapshot};
use driftd_detectors::State;
use serde::{Deserialize, Serialize};

/// An answer other than success: what is wrong and what to do, as JSON.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    error: String,
    hint: String,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    hint: &'a str,
}

impl ApiError {
    fn new(status: StatusCode, error: String, hint: impl Into<String>) -> Self {
        Self { status, error, hint: hint.into() }
    }

    fn not_found(error: String, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error, hint)
    }

    pub(super) fn no_such_route() -> Self {
        Self::not_found(
            "there is nothing at this address".to_owned(),
            "see /, /metrics, /healthz, /readyz, /api/v1/status, /api/v1/models, /api/v1/windows, /api/v1/performance, /api/v1/retraining",
        )
    }

    pub(super) fn method_not_allowed() -> Self {
        let error = "only GET is answered".to_owned();
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            error,
            "driftd is steered by its configuration file",
        )
    }

    pub(super) fn bad_request(error: &dyn Display) -> Self {
        let hint = "parameters are segment=all or segment=name=value, window=1h, window_end=2026-11-24T06:00:00Z, windows=60";
        Self::new(StatusCode::BAD_REQUEST, error.to_string(), hint)
    }

    pub(super) fn internal(error: &dyn Display) -> Self {
        let error = format!("the answer could not be made: {error}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            error,
            "this is a defect of driftd; please report it",
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody { error: &self.error, hint: &self.hint };
        (self.status, Json(body)).into_response()
    }
}

/// Parameters after `?`, the same for all answers about a model.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    segment: Option<String>,
    /// Name of the windows; those that decide otherwise.
    window: Option<String>,
    window_end: Option<Timestamp>,
    windows: Option<usize>,
}

/// One model version in a snapshot, with its configuration.
struct Found<'a> {
    config: &'a ModelConfig,
    model: &'a ModelSnapshot,
}

fn find_model<'a>(
    config: &'a Config,
    snapshot: &'a Snapshot,
    name: &str,
    version: &str,
) -> Result<Found<'a>, ApiError> {
    let mut models = snapshot.models.iter();
    let model = models.find(|it| it.id.name() == name && it.id.version() == version);
    let found =
        model.and_then(|model| Some(Found { config: config.models.get(model.config)?, model }));
    found.ok_or_else(|| {
        ApiError::not_found(
            format!("no records of model `{name}` version `{version}` were seen"),
            "/api/v1/models lists the versions that had records",
        )
    })
}

impl<'a> Found<'a> {
    /// Returns the asked kind of windows, by index.
    fn window(&self, query: &Query) -> Result<usize, ApiError> {
        let Some(name) = &query.window else { return Ok(0) };
        let windows = &self.config.windows;
        windows.iter().position(|it| *it.name == **name).ok_or_else(|| {
            let known: Vec<_> = windows.iter().map(|it| format!("`{}`", it.name)).collect();
            ApiError::not_found(
                format!("model `{}` has no windows called `{name}`", self.config.name),
                format!("its windows are {}", known.join(", ")),
            )
        })
    }

    /// Returns the asked segment. Absent when it is `all` and has no closed window yet.
    fn segment(&self, query: &Query) -> Result<Option<&'a SegmentSnapshot>, ApiError> {
        let name = query.segment.as_deref().unwrap_or("all");
        let found = self.model.segment(self.window(query)?, name);
        if found.is_none() && name != "all" {
            return Err(ApiError::not_found(
                format!("segment `{name}` of `{}` has no closed window", self.model.id),
                format!("/api/v1/models lists the segments of `{}`", self.model.id),
            ));
        }
        Ok(found)
    }
}

/// Returns the window that ends when the query says, or the newest. Absent when none has closed.
fn find_window(
    segment: Option<&SegmentSnapshot>,
    query: &Query,
) -> Result<Option<Arc<WindowResult>>, ApiError> {
    let history = segment.map(|segment| &segment.history);
    let Some(end) = query.window_end else {
        return Ok(history.and_then(|history| history.newest()).cloned());
    };
    let found = history.and_then(|history| history.iter().find(|it| it.head.id.span.end() == end));
    found.map(|found| Some(Arc::new(found.unpack()))).ok_or_else(|| {
        let end_of = |window: &KeptWindow| window.head.id.span.end();
        let kept = history.and_then(|it| Some((it.iter().next()?, it.iter().last()?)));
        let kept = kept.map(|(oldest, newest)| (end_of(oldest), end_of(newest)));
        let hint = kept.map_or_else(
            || "no window has closed yet".to_owned(),
            |(oldest, newest)| format!("windows that end from {oldest} to {newest} are kept"),
        );
        ApiError::not_found(format!("no window that ends at {end} is kept"), hint)
    })
}

/// A span of event time.
#[derive(Debug, Serialize)]
struct Span {
    start: Timestamp,
    end: Timestamp,
}

impl From<WindowSpan> for Span {
    fn from(span: WindowSpan) -> Self {
        Self { start: span.start(), end: span.end() }
    }
}

/// Order in which states ask for attention, gravest first.
fn urgency(state: State) -> u8 {
    match state {
        State::BrokenData => 0,
        State::Drifted => 1,
        State::Ok => 2,
        State::InsufficientData => 3,
        State::NoReference => 4,
    }
}
