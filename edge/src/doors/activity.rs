//! When a connection last did something, and when it must be closed for doing nothing. One value per connection, shared
//! by its driver, its socket wrapper and its response bodies; the per-chunk cost is one clock read and one store.

use super::{config::Limits, interim::Interims};
use crate::metrics::{ConnectionGuard, EdgeMetrics, InFlightGuard};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use weir_relay::http::Protocol;

/// No request head is being read.
const NO_HEAD: u64 = u64::MAX;
/// The connection's first request head is due since the connection began, whatever its protocol.
const FIRST_HEAD: u64 = 0;

/// One connection's life signs.
pub(super) struct Activity {
    start: Instant,
    /// Milliseconds after `start` of the last progress of a request.
    last: AtomicU64,
    /// Milliseconds after `start` of the first byte of a request head, [`FIRST_HEAD`] or [`NO_HEAD`].
    head: AtomicU64,
    in_flight: AtomicUsize,
    metrics: Option<Arc<EdgeMetrics>>,
    counted: OnceLock<(Protocol, Option<ConnectionGuard>)>,
}

impl Activity {
    /// A connection that has just been accepted; its first request head is due.
    pub(super) fn new(metrics: Option<Arc<EdgeMetrics>>) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
            head: AtomicU64::new(FIRST_HEAD),
            in_flight: AtomicUsize::new(0),
            metrics,
            counted: OnceLock::new(),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(NO_HEAD)
    }

    /// Counts the connection under its protocol, the first time it is known.
    pub(super) fn speaks(&self, protocol: Protocol) {
        self.counted
            .get_or_init(|| (protocol, self.metrics.as_ref().map(|metrics| metrics.connection_opened(protocol))));
    }

    /// Some request advanced.
    pub(super) fn advanced(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// Bytes arrived from the client.
    fn received(&self) {
        if self.in_flight.load(Ordering::Relaxed) == 0 && self.head.load(Ordering::Relaxed) == NO_HEAD {
            self.head.store(self.now().max(FIRST_HEAD + 1), Ordering::Relaxed);
        }
    }

    /// A request begins; it ends when the guard is dropped.
    pub(super) fn request(self: &Arc<Self>) -> RequestGuard {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.head.store(NO_HEAD, Ordering::Relaxed);
        self.advanced();
        let counted = self.metrics.as_ref().map(|metrics| metrics.request_started());
        RequestGuard { activity: self.clone(), _counted: counted }
    }

    fn deadline(&self, limits: &Limits) -> Instant {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        let head = self.head.load(Ordering::Relaxed);
        // HTTP/2 and HTTP/3 clients keep connections alive with frames that begin no request.
        let multiplexed = matches!(self.counted.get(), Some((Protocol::H2 | Protocol::H3, _))) && head != FIRST_HEAD;
        self.start
            + if self.in_flight.load(Ordering::Relaxed) > 0 {
                last + limits.stall_timeout
            } else if head != NO_HEAD && !multiplexed {
                Duration::from_millis(head) + limits.header_read_timeout
            } else {
                last + limits.idle_timeout
            }
    }

    /// Waits until the connection has been idle, stalled or slow for too long. Closes at most one
    /// `header_read_timeout` later than promised, because a head may begin while this sleeps.
    pub(super) async fn overdue(&self, limits: &Limits) {
        loop {
            let deadline = self.deadline(limits);
            let now = Instant::now();
            if deadline <= now {
                return;
            }
            tokio::time::sleep_until(deadline.min(now + limits.header_read_timeout)).await;
        }
    }
}

/// One request in flight.
pub(super) struct RequestGuard {
    activity: Arc<Activity>,
    _counted: Option<InFlightGuard>,
}

impl RequestGuard {
    /// The request advanced.
    pub(super) fn advanced(&self) {
        self.activity.advanced();
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.activity.advanced();
        self.activity.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket whose reads are noticed.
pub(super) struct Watched<S> {
    socket: S,
    activity: Arc<Activity>,
    interims: Arc<Interims>,
}

impl<S> Watched<S> {
    pub(super) fn new(socket: S, activity: Arc<Activity>, interims: Arc<Interims>) -> Self {
        Self { socket, activity, interims }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.received();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, interims, .. } = &mut *self;
        std::task::ready!(interims.poll_write(socket, cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            header_read_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(120),
            ..Limits::default()
        }
    }

    #[test]
    fn each_state_has_its_own_time_limit() {
        let limits = limits();
        let activity = Activity::new(None);
        let promised = || (activity.deadline(&limits) - activity.start).as_secs();
        assert_eq!(promised(), 10, "no first request");
        let request = activity.request();
        activity.received();
        assert_eq!(promised(), 120, "a request in flight");
        drop(request);
        assert_eq!(promised(), 60, "kept alive without a request");
        activity.received();
        assert_eq!(promised(), 10, "a head that does not end");
        activity.speaks(Protocol::H2);
        activity.advanced();
        drop(activity.request());
        activity.received();
        assert_eq!(promised(), 60, "a ping begins no request");
    }

    #[tokio::test]
    async fn a_connection_that_does_nothing_is_overdue() {
        let brief = Duration::from_millis(20);
        let limits = Limits { header_read_timeout: brief, idle_timeout: brief, stall_timeout: brief, ..limits() };
        let activity = Activity::new(None);
        let _request = activity.request();
        activity.overdue(&limits).await;
        assert!(activity.start.elapsed() >= brief);
    }
}
