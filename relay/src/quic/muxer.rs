//! A control connection as libp2p sees it: substreams in both directions, change of address, end.
//!
//! Invariant: the end of the connection is reported by `poll`, which the swarm always calls, so a lost connection is
//! noticed even while the swarm wants no substream in either direction.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use quinn::{ConnectionError, VarInt};

use super::address::{canonical, multiaddr_of};
use super::error::TransportError;
use super::stream::Substream;

/// Code that libp2p closes connections with.
const CLOSE_NORMAL: VarInt = VarInt::from_u32(0);

type OpenStream = BoxFuture<'static, Result<(quinn::SendStream, quinn::RecvStream), ConnectionError>>;

/// The libp2p stream muxer over one QUIC connection.
pub struct Muxer {
    connection: quinn::Connection,
    remote: SocketAddr,
    /// Kept between polls: each holds the waker's registration with quinn, and dropping it would lose the wake-up.
    inbound: Option<OpenStream>,
    outbound: Option<OpenStream>,
    end: End,
}

enum End {
    Waiting(BoxFuture<'static, ConnectionError>),
    Reached(ConnectionError),
}

impl Muxer {
    pub(super) fn new(connection: quinn::Connection) -> Self {
        let watched = connection.clone();
        Self {
            remote: canonical(connection.remote_address()),
            connection,
            inbound: None,
            outbound: None,
            end: End::Waiting(async move { watched.closed().await }.boxed()),
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionError> {
        match &mut self.end {
            End::Reached(reason) => Poll::Ready(reason.clone()),
            End::Waiting(closed) => {
                let reason = ready!(closed.poll_unpin(cx));
                self.end = End::Reached(reason.clone());
                Poll::Ready(reason)
            }
        }
    }
}

fn poll_stream(
    slot: &mut Option<OpenStream>,
    start: impl FnOnce() -> OpenStream,
    cx: &mut Context<'_>,
) -> Poll<Result<Substream, TransportError>> {
    let opened = ready!(slot.get_or_insert_with(start).poll_unpin(cx));
    *slot = None;
    Poll::Ready(opened.map(Substream::new).map_err(TransportError::Connection))
}

impl StreamMuxer for Muxer {
    type Substream = Substream;
    type Error = TransportError;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Substream, TransportError>> {
        let Self { connection, inbound, .. } = &mut *self;
        let start = || {
            let connection = connection.clone();
            async move { connection.accept_bi().await }.boxed()
        };
        poll_stream(inbound, start, cx)
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Substream, TransportError>> {
        let Self { connection, outbound, .. } = &mut *self;
        let start = || {
            let connection = connection.clone();
            async move { connection.open_bi().await }.boxed()
        };
        poll_stream(outbound, start, cx)
    }

    /// However the connection ends while it is being closed, the peer is gone and nothing is left to do.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        // A second call has no effect, in quinn as here.
        self.connection.close(CLOSE_NORMAL, b"");
        self.poll_end(cx).map(|_| Ok(()))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, TransportError>> {
        if let Poll::Ready(reason) = self.poll_end(cx) {
            return Poll::Ready(Err(reason.into()));
        }
        // quinn follows a peer whose NAT gave it a new port (RFC 9000 section 9) without telling; every ping leads here.
        let remote = canonical(self.connection.remote_address());
        if remote != self.remote {
            self.remote = remote;
            return Poll::Ready(Ok(StreamMuxerEvent::AddressChange(multiaddr_of(remote))));
        }
        Poll::Pending
    }
}
