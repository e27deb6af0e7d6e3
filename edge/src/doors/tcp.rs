//! The TCP door: accepts, shakes hands, and lets hyper speak HTTP/1.1 or HTTP/2. Invariant: every connection task is
//! joined before the door returns.

use super::{
    activity::{Activity, Watched},
    config::Limits,
    exchange::Exchange,
    handshake::Timed,
    interim::Interims,
    service::Served,
    urgency::Turns,
};
use crate::{metrics::EdgeMetrics, tls::TlsHolder};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use weir_relay::http::{Link, Protocol};

/// Read buffer of an HTTP/1.1 connection at most, and what it queues for writing.
const H1_BUFFER: usize = 64 * 1024;
const H1_MAX_FIELDS: usize = 128;
const H2_WINDOW: u32 = 1024 * 1024;
const H2_PING_INTERVAL: Duration = Duration::from_secs(20);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams a client opened and reset again before they were looked at ("rapid reset", CVE-2023-44487).
const H2_MAX_PENDING_RESETS: usize = 32;
/// After a failed accept (no file descriptors left) the door waits instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a connection closed for idleness gets to say so (GOAWAY on HTTP/2).
const FAREWELL: Duration = Duration::from_secs(1);

/// One TCP listener and what its connections need.
pub(super) struct TcpDoor {
    pub(super) listener: TcpListener,
    /// Present on encrypted doors.
    pub(super) tls: Option<Arc<TlsHolder>>,
    pub(super) exchange: Arc<Exchange>,
    pub(super) places: Arc<Semaphore>,
    pub(super) metrics: Option<Arc<EdgeMetrics>>,
}

impl TcpDoor {
    /// Serves until cancelled, then lets requests in flight finish inside the grace period.
    pub(super) async fn run(self, cancel: CancellationToken) {
        let Self { listener, tls, exchange, places, metrics } = self;
        let builder = Arc::new(builder(&exchange.limits));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::select! {
                        () = cancel.cancelled() => break,
                        () = sleep(ACCEPT_PAUSE) => continue,
                    }
                }
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                tracing::debug!("connection refused: all places taken");
                continue;
            };
            let connection = Connection {
                builder: builder.clone(),
                exchange: exchange.clone(),
                activity: Activity::new(metrics.clone()),
                cancel: cancel.clone(),
            };
            let tls = tls.clone();
            connections.spawn(async move {
                let _place = place;
                connection.run(stream, peer, tls).await;
            });
        }
        drop(listener);
        let drained = timeout(exchange.limits.grace, async { while connections.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!(connections = connections.len(), "grace period over, closing connections");
            connections.shutdown().await;
        }
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // `Activity` times heads: hyper's own limit would also close kept-alive connections between segments.
        .header_read_timeout(None)
        .max_buf_size(H1_BUFFER.max(limits.max_header_bytes as usize))
        .max_headers(H1_MAX_FIELDS)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_header_list_size(limits.max_header_bytes)
        .max_pending_accept_reset_streams(H2_MAX_PENDING_RESETS)
        .initial_stream_window_size(H2_WINDOW)
        .initial_connection_window_size(H2_WINDOW)
        .keep_alive_interval(H2_PING_INTERVAL)
        .keep_alive_timeout(H2_PING_TIMEOUT);
    builder
}

struct Connection {
    builder: Arc<auto::Builder<TokioExecutor>>,
    exchange: Arc<Exchange>,
    activity: Arc<Activity>,
    cancel: CancellationToken,
}

impl Connection {
    async fn run(self, stream: TcpStream, peer: SocketAddr, tls: Option<Arc<TlsHolder>>) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY not set");
        }
        let Some(tls) = tls else {
            return self.serve(stream, None).await;
        };
        let handshake = TlsAcceptor::from(tls.tcp()).accept(Timed::new(stream));
        let mut stream = tokio::select! {
            () = self.cancel.cancelled() => return,
            outcome = timeout(self.exchange.limits.handshake_timeout, handshake) => match outcome {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return tracing::debug!(port = peer.port(), %error, "tls handshake failed"),
                Err(_) => return tracing::debug!(port = peer.port(), "tls handshake too slow"),
            },
        };
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        self.activity.speaks(if h2 { Protocol::H2 } else { Protocol::H1 });
        let round_trip = stream.get_mut().0.stop();
        let link = round_trip.map(|round_trip| Link { round_trip, kbit_per_second: None });
        self.serve(stream, link).await;
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S, link: Option<Link>) {
        let Self { builder, exchange, activity, cancel } = self;
        let interims = Arc::new(Interims::default());
        let io = TokioIo::new(Watched::new(stream, activity.clone(), interims.clone()));
        let service = Served {
            exchange: exchange.clone(),
            activity: activity.clone(),
            interims,
            turns: Arc::new(Turns::default()),
            link,
        };
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut draining = false;
        loop {
            tokio::select! {
                biased;
                outcome = connection.as_mut() => {
                    if let Err(error) = outcome {
                        tracing::debug!(%error, "connection ended");
                    }
                    return;
                }
                () = cancel.cancelled(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = activity.overdue(&exchange.limits) => {
                    tracing::debug!("connection idle or stalled");
                    // A request that is on its way learns that it must go elsewhere.
                    connection.as_mut().graceful_shutdown();
                    let _ = timeout(FAREWELL, connection.as_mut()).await;
                    return;
                }
            }
        }
    }
}
