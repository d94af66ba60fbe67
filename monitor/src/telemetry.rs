//! The daemon's own logs and traces.
//!
//! Logs go to standard error, in text or JSON, filtered by `DRIFTD_LOG` (for example
//! `debug,librdkafka=info`). Traces go to an OTLP/HTTP endpoint when one is configured: one span a
//! batch and a retraining event, never one a record.

use std::io;

use driftd_core::config::TelemetryConfig;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Telemetry that could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The exporter refuses its configuration.
    #[error("cannot send traces to `{endpoint}`: check `telemetry.otlp_endpoint`")]
    Exporter {
        /// The endpoint.
        endpoint: String,
        /// Why not.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
}

/// Traces that are still to be sent; sends them when dropped.
#[derive(Debug)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "traces may be lost");
        }
    }
}

/// Sets up logs, and traces where configured. The first call of a process wins.
pub fn start(
    format: LogFormat,
    default_level: &str,
    config: Option<&TelemetryConfig>,
) -> Result<Telemetry, TelemetryError> {
    let provider = config.and_then(|config| config.otlp_endpoint.as_deref()).map(provider);
    let provider = provider.transpose()?;
    let traces = provider.as_ref().map(|provider| {
        // Only our own spans: the exporter's would make new ones without end.
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("driftd"))
            .with_filter(EnvFilter::new("driftd=info"))
    });
    let registry = tracing_subscriber::registry()
        .with(logs(format).with_filter(filter(default_level)))
        .with(traces);
    if registry.try_init().is_err() {
        tracing::debug!("logs were set up before");
    }
    Ok(Telemetry { provider })
}

#[expect(clippy::disallowed_methods, reason = "the edge reads the environment")]
fn filter(default_level: &str) -> EnvFilter {
    let directives = std::env::var("DRIFTD_LOG").unwrap_or_else(|_| default_level.to_owned());
    EnvFilter::new(directives)
}

fn logs<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    match format {
        LogFormat::Text => fmt::layer().with_writer(io::stderr).boxed(),
        LogFormat::Json => fmt::layer().json().with_writer(io::stderr).boxed(),
    }
}

fn provider(endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()
        .map_err(|source| TelemetryError::Exporter { endpoint: endpoint.to_owned(), source })?;
    let resource = Resource::builder()
        .with_service_name("driftd")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
