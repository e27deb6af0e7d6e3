//! The origin's door: HTTP/1.1 in plain text on a listener that the demo binds to loopback.
//!
//! Invariant: at most [`MAX_CONNECTIONS`] connections exist at once, every one of them is joined before [`serve`]
//! returns, and a client that says nothing loses its connection after [`IDLE`].

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::demo::origin::answer::Origin;

/// Connections at once; further clients wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 256;
/// How long a connection may be without a complete request head.
const IDLE: Duration = Duration::from_secs(60);
/// Largest request head in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// Most header fields of a request.
const MAX_FIELDS: usize = 64;
/// How long answers under way may take once shutdown is asked for.
const GRACE: Duration = Duration::from_secs(1);
/// Shortest wait for what is not made yet.
const SHORTEST: Duration = Duration::from_millis(1);
/// Pause after an accept that failed, so that a lack of file descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the origin until `shutdown`, then lets answers under way finish and joins every connection.
///
/// # Errors
/// When the listener has no local address, which means that it is not usable at all.
pub(crate) async fn serve(listener: TcpListener, origin: Arc<Origin>, shutdown: CancellationToken) -> io::Result<()> {
    tracing::debug!(address = %listener.local_addr()?, "origin serves");
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, slot)) => {
                let (origin, shutdown) = (Arc::clone(&origin), shutdown.clone());
                connections.spawn(async move {
                    converse(stream, origin, shutdown).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(err.kind = ?error.kind(), %error, "origin cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    Ok((stream, slot))
}

/// One connection from its first request to its last.
async fn converse(stream: TcpStream, origin: Arc<Origin>, shutdown: CancellationToken) {
    // Small answers must not wait for the acknowledgement of earlier ones.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "origin connection without TCP_NODELAY");
    }
    let service = service_fn(move |request: http::Request<Incoming>| {
        let origin = Arc::clone(&origin);
        async move {
            // Known beforehand, and never longer than a few segments: what may be waited for is bounded.
            while let Some(instant) = origin.holds(&request, SystemTime::now()) {
                tokio::time::sleep(instant.duration_since(SystemTime::now()).unwrap_or(SHORTEST)).await;
            }
            if let Some(parts) = origin.growing(&request, SystemTime::now()) {
                return Ok(growing(parts));
            }
            Ok::<_, Infallible>(origin.answer(&request, SystemTime::now()).map(|body| Full::new(body).boxed_unsync()))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_FIELDS)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "origin connection ended early");
    }
}

/// A body that comes as it is made, each part as soon as it is.
fn growing(parts: Vec<(SystemTime, Bytes)>) -> http::Response<UnsyncBoxBody<Bytes, Infallible>> {
    let pieces = futures_util::stream::iter(parts).then(|(at, bytes)| async move {
        tokio::time::sleep(at.duration_since(SystemTime::now()).unwrap_or_default()).await;
        Ok(Frame::data(bytes))
    });
    let mut response = http::Response::new(StreamBody::new(pieces).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("video/mp4"));
    headers.insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("public, max-age=3600, immutable"));
    response
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::demo::origin::stats::OriginStats;

    #[tokio::test]
    async fn serves_until_shutdown_and_leaves_no_connection_behind() {
        let stats = Arc::new(OriginStats::default());
        let origin = Arc::new(Origin::new(Arc::clone(&stats)).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(listener, Arc::clone(&origin), shutdown.clone()));

        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut asking = TcpStream::connect(address).await.unwrap();
        let request = b"GET /film/360p/init.mp4 HTTP/1.1\r\nHost: o\r\n\r\nHEAD /nothing HTTP/1.1\r\nHost: o\r\n\r\n";
        asking.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        while !answer.windows(12).any(|window| window == b"HTTP/1.1 404") {
            assert_ne!(asking.read_buf(&mut answer).await.unwrap(), 0, "closed early");
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        assert!(answer.windows(4).any(|window| window == b"ftyp"));
        assert_eq!(stats.totals().requests, 2);

        shutdown.cancel();
        server.await.unwrap().unwrap();
        asking.read_to_end(&mut answer).await.unwrap();
        assert_eq!(silent.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        assert!(TcpStream::connect(address).await.is_err());
        // Only the test is left to hold the origin.
        assert_eq!(Arc::strong_count(&origin), 1);
    }

    #[tokio::test]
    async fn garbage_and_huge_heads_are_refused() {
        let origin = Arc::new(Origin::new(Arc::new(OriginStats::default())).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(listener, origin, shutdown.clone()));
        let huge = format!("GET / HTTP/1.1\r\nHost: o\r\nX: {}\r\n\r\n", "x".repeat(2 * MAX_HEAD));
        for (sent, status) in [(&b"\x16\x03\x01garbage\r\n\r\n"[..], "400"), (huge.as_bytes(), "431")] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // The server may close before it has read everything, so only its answer counts.
            let _ = stream.write_all(sent).await;
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, format!("HTTP/1.1 {status}").as_bytes());
        }
        shutdown.cancel();
        server.await.unwrap().unwrap();
    }
}
