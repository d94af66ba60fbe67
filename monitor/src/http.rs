//! Metrics, JSON and the page, over HTTP; read only.
//!
//! Before: the edge swaps a new [`Snapshot`] in after each change. After: Prometheus, scripts and
//! people. Every answer is made from one snapshot, so its numbers belong together, and no request
//! waits for, or delays, the pipeline.
//!
//! One file a kind of answer: [`metrics`] the scrape, [`api`] the JSON, [`page`] the page,
//! [`health`] liveness and readiness. All text from records and profiles is hostile here: it leaves
//! as JSON strings and escaped label values only, and the page sets it as text.

mod api;
mod connections;
mod exported;
mod families;
mod health;
mod instruments;
mod metrics;
mod page;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
mod words;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Request, State};
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get};
use axum::{Json, Router};
use driftd_catalog::Timestamp;
use driftd_core::config::Config;
use driftd_core::snapshot::Snapshot;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) use self::api::windows::{
    ModelElsewhere, OpenWindowView, OpenWindows, PartitionStanding, Reason, Standing,
};
use self::api::{ApiError, Query};
use self::connections::Limits;
use self::health::Verdict;
pub use self::health::{Health, Heartbeat, Place};
pub use self::instruments::{Instruments, LaneCounts};
pub use self::words::explain;
use crate::clock;
use crate::kafka::owners::Owners;
use crate::kafka::watch::Ends;
use crate::memory::Memory;

/// What every answer is made from.
#[derive(Clone, Debug)]
pub struct HttpState {
    /// The valid configuration.
    pub config: Arc<Config>,
    /// The newest picture of the pipeline.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// Whether the threads run and the start is done.
    pub health: Arc<Health>,
    /// What the edge measures about itself.
    pub instruments: Arc<Instruments>,
    /// Memory that is expected to be used, and what there is.
    pub memory: Arc<Memory>,
    /// Name of this process in its group.
    pub instance: Arc<str>,
    /// Ends of partitions.
    pub ends: Ends,
    /// Who has the partitions that this process has not.
    pub owners: Owners,
    /// When this process began to watch.
    pub started: Timestamp,
    /// Instruction set that counting uses.
    pub simd: &'static str,
}

impl HttpState {
    /// Returns the newest snapshot; the pipeline may put a newer one in place meanwhile.
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }
}

/// A scraper, an orchestrator, an API client and many open pages; more wait for their turn.
const LIMITS: Limits = Limits {
    connections_max: 256,
    head_timeout: Duration::from_secs(10),
    write_timeout: Duration::from_secs(10),
    shutdown_grace: Duration::from_secs(2),
};

/// Everything comes from this server, and no text can become a script.
const CONTENT_POLICY: &str = "default-src 'self'; object-src 'none'; frame-ancestors 'self'; \
                              base-uri 'none'; form-action 'none'";

const INDEX: &str = "/";
const ASSET: &str = "/page/{file}";
const METRICS: &str = "/metrics";
const LIVE: &str = "/healthz";
const READY: &str = "/readyz";
const STATUS: &str = "/api/v1/status";
const MODELS: &str = "/api/v1/models";
const MODEL: &str = "/api/v1/models/{name}/{version}";
const SCORES: &str = "/api/v1/models/{name}/{version}/scores";
const FEATURE: &str = "/api/v1/models/{name}/{version}/features/{feature}";
const WINDOWS: &str = "/api/v1/windows";
const PERFORMANCE: &str = "/api/v1/performance";
const RETRAINING: &str = "/api/v1/retraining";
/// Stands for the requests that no route takes, in metrics.
const NO_ROUTE: &str = "none";

/// Every value of the label `route`.
const ROUTES: [&str; 14] = [
    INDEX,
    ASSET,
    METRICS,
    LIVE,
    READY,
    STATUS,
    MODELS,
    MODEL,
    SCORES,
    FEATURE,
    WINDOWS,
    PERFORMANCE,
    RETRAINING,
    NO_ROUTE,
];

/// Answers requests until `shutdown` resolves, and then until those under way have ended or two
/// seconds are over.
pub async fn serve(listener: TcpListener, state: HttpState, shutdown: impl Future<Output = ()>) {
    connections::serve(listener, router(state), LIMITS, shutdown).await;
}

type Routes = Router<HttpState>;
type Handlers = MethodRouter<HttpState>;

fn router(state: HttpState) -> Router {
    let instruments = Arc::clone(&state.instruments);
    let routes = page_routes().into_iter().chain(probe_routes()).chain(api_routes());
    let router = routes.fold(Routes::new(), |router, (route, handlers)| {
        router.route(route, measured(route, handlers.fallback(refused), &instruments))
    });
    let others = measured(NO_ROUTE, any(async || no_route()), &instruments);
    router
        .fallback_service(others.with_state(state.clone()))
        .layer(map_response(secured))
        .with_state(state)
}

fn page_routes() -> [(&'static str, Handlers); 2] {
    let asset = async |path: AssetPath| path.map_or_else(|_| no_route(), |name| page::asset(&name));
    [(INDEX, get(async || page::index())), (ASSET, get(asset))]
}

fn probe_routes() -> [(&'static str, Handlers); 3] {
    let live = async |State(state): State<HttpState>| verdict(state.health.live(clock::instant()));
    let ready =
        async |State(state): State<HttpState>| verdict(state.health.ready(clock::instant()));
    let scrape = async |State(state): State<HttpState>| metrics::scrape(state);
    [(LIVE, get(live)), (READY, get(ready)), (METRICS, get(scrape))]
}

fn api_routes() -> [(&'static str, Handlers); 8] {
    type Shared = State<HttpState>;
    let status = async |State(state): Shared| {
        Json(api::status::status(&state, &state.snapshot(), clock::instant()))
    };
    let models =
        async |State(state): Shared| Json(api::model::models(&state.config, &state.snapshot()));
    let model = async |State(state): Shared, path: ModelPath, query: AskedQuery| {
        about_model(&state, path, query, api::model::detail)
    };
    let scores = async |State(state): Shared, path: ModelPath, query: AskedQuery| {
        about_model(&state, path, query, api::scores::scores)
    };
    let feature = async |State(state): Shared, path: FeaturePath, query: AskedQuery| {
        about_feature(&state, path, query)
    };
    let windows =
        async |State(state): Shared| Json(api::windows::windows(&state, &state.snapshot()));
    let performance = async |State(state): Shared, query: PerformanceQuery| {
        let axum::extract::Query(asked) = query.map_err(|error| ApiError::bad_request(&error))?;
        let answer = api::performance::performance(&state.config, &state.snapshot(), &asked);
        Ok::<_, ApiError>(Json(answer))
    };
    let retraining =
        async |State(state): Shared| Json(api::retraining::retraining(&state.snapshot()));
    [
        (STATUS, get(status)),
        (MODELS, get(models)),
        (MODEL, get(model)),
        (SCORES, get(scores)),
        (FEATURE, get(feature)),
        (WINDOWS, get(windows)),
        (PERFORMANCE, get(performance)),
        (RETRAINING, get(retraining)),
    ]
}

type AssetPath = Result<Path<String>, PathRejection>;
type ModelPath = Result<Path<(String, String)>, PathRejection>;
type FeaturePath = Result<Path<(String, String, String)>, PathRejection>;
type PerformanceQuery = Result<axum::extract::Query<api::performance::Asked>, QueryRejection>;
type AskedQuery = Result<axum::extract::Query<Query>, QueryRejection>;

fn about_model<T: Serialize>(
    state: &HttpState,
    path: ModelPath,
    query: AskedQuery,
    answer: fn(&Config, &Snapshot, &str, &str, &Query) -> Result<T, ApiError>,
) -> Result<Json<T>, ApiError> {
    let Path((name, version)) = path.map_err(|error| ApiError::bad_request(&error))?;
    let axum::extract::Query(query) = query.map_err(|error| ApiError::bad_request(&error))?;
    answer(&state.config, &state.snapshot(), &name, &version, &query).map(Json)
}

fn about_feature(
    state: &HttpState,
    path: FeaturePath,
    query: AskedQuery,
) -> Result<Json<api::feature::FeatureDetail>, ApiError> {
    let Path((name, version, feature)) = path.map_err(|error| ApiError::bad_request(&error))?;
    let axum::extract::Query(query) = query.map_err(|error| ApiError::bad_request(&error))?;
    let asked = (&*name, &*version, &*feature);
    api::feature::feature(&state.config, &state.snapshot(), asked, &query).map(Json)
}

fn verdict(verdict: Verdict) -> Response {
    let code = if verdict.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(verdict)).into_response()
}

fn no_route() -> Response {
    ApiError::no_such_route().into_response()
}

async fn refused() -> Response {
    ([(ALLOW, "GET, HEAD")], ApiError::method_not_allowed()).into_response()
}

/// Counts and times the answers of one route, refusals of a method included.
fn measured(route: &'static str, handlers: Handlers, instruments: &Arc<Instruments>) -> Handlers {
    handlers.layer(from_fn_with_state((Arc::clone(instruments), route), measure))
}

async fn measure(
    State((instruments, route)): State<(Arc<Instruments>, &'static str)>,
    request: Request,
    next: Next,
) -> Response {
    let started = clock::instant();
    let method = request.method().clone();
    let response = next.run(request).await;
    instruments.answered(route, &method, response.status(), started.elapsed());
    response
}

/// Sets what browsers must keep to. Answers are of one moment, so nothing is stored.
async fn secured(mut response: Response) -> Response {
    let headers: &mut HeaderMap = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
