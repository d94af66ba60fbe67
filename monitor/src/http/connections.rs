//! Connections of the HTTP server: how many at once, how long one may take to ask and to take its
//! answer, and their end.
//!
//! Before: the listening socket. After: the router in [`super`]. A connection beyond the bound
//! waits to be accepted; one that says nothing, or takes nothing, is closed, so that it makes room.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tracing::{debug, warn};

/// A connection could not be accepted, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bounds on connections. Each is on the time without progress: a slow reader of a long answer is
/// served to the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at once.
    pub(super) connections_max: usize,
    /// Time from the connection, or from the last answer, to the end of a request's head.
    pub(super) head_timeout: Duration,
    /// Time that a client may take none of its answer.
    pub(super) write_timeout: Duration,
    /// Requests under way at the end get this long.
    pub(super) shutdown_grace: Duration,
}

/// Answers requests until `shutdown` resolves, and then until those under way have ended or their
/// time is over.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let permits = Arc::new(Semaphore::new(limits.connections_max));
    let (stop, stopping) = watch::channel(());
    let accepting = async {
        loop {
            let permit = Arc::clone(&permits).acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            let stream = accept(&listener).await;
            let answering = answer(stream, router.clone(), limits, stopping.clone(), permit);
            tokio::spawn(answering);
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown => {}
    }
    drop(stop);
    let all = u32::try_from(limits.connections_max).unwrap_or(u32::MAX);
    if timeout(limits.shutdown_grace, permits.acquire_many(all)).await.is_err() {
        debug!("requests under way are cut off");
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                warn!(%error, "a connection cannot be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<()>,
    _permit: OwnedSemaphorePermit,
) {
    let mut stream = Box::pin(TimeoutStream::new(stream));
    stream.as_mut().set_write_timeout_pinned(Some(limits.write_timeout));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Clients that go away, or say nothing, are no trouble of the daemon's.
        debug!(%error, "a connection has ended early");
    }
}
