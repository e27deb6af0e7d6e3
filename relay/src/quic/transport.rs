//! The libp2p `Transport` over the shared socket.
//!
//! Unlike libp2p-quic it opens no socket by itself: the only address it listens on is the socket's, and it dials from
//! there too (except when a fresh port is asked for), so that what identify observes, what DCUtR punches and what bulk
//! connections use is one NAT mapping. Invariant: without a listener no inbound connection reaches the swarm, except
//! the one that a hole punch waits for.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use libp2p::core::Endpoint as Role;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{
    Boxed, DialOpts, ListenerId, PortUse, Transport, TransportError as Refused, TransportEvent,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;

use super::accept::CLOSE_NOT_LISTENING;
use super::address::{multiaddr_of, reachable, socket_addr_of};
use super::error::{DialError, ListenError, TransportError};
use super::handshake::Established;
use super::listener::{Change, ListenerState};
use super::muxer::Muxer;
use super::punch::punch;
use super::shared::Shared;
use super::tls::ALPN_CONTROL;

type Upgraded = (PeerId, Muxer);
type Event = TransportEvent<Ready<Result<Upgraded, TransportError>>, TransportError>;

/// Gives the swarm its share of the socket.
pub struct SwarmTransport {
    shared: Arc<Shared>,
    /// Closed by the accept task's end: then the socket has been shut down.
    inbound: mpsc::Receiver<Established>,
    listener: ListenerState,
    /// Wakes the swarm when `listen_on` or `remove_listener` has produced events.
    waker: Option<Waker>,
}

impl SwarmTransport {
    pub(super) fn new(shared: Arc<Shared>, inbound: mpsc::Receiver<Established>) -> Self {
        Self { shared, inbound, listener: ListenerState::default(), waker: None }
    }

    /// Boxed as `Swarm::new` and `SwarmBuilder::with_other_transport` take it.
    pub fn into_boxed(self) -> Boxed<(PeerId, StreamMuxerBox)> {
        self.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed()
    }

    fn port(&self) -> u16 {
        self.shared.bound.port()
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn event_of(change: Change) -> Event {
        match change {
            Change::New(listener_id, address) => {
                TransportEvent::NewAddress { listener_id, listen_addr: multiaddr_of(address) }
            }
            Change::Expired(listener_id, address) => {
                TransportEvent::AddressExpired { listener_id, listen_addr: multiaddr_of(address) }
            }
            Change::Closed(listener_id) => TransportEvent::ListenerClosed { listener_id, reason: Ok(()) },
        }
    }

    /// The event for an inbound connection; it is refused when nobody listens.
    fn incoming(&self, Established { connection, peer }: Established) -> Option<Event> {
        let Some(listener_id) = self.listener.id() else {
            connection.close(CLOSE_NOT_LISTENING, b"not listening");
            return None;
        };
        let mut local = self.shared.bound;
        if let Some(ip) = connection.local_ip() {
            local.set_ip(ip);
        }
        Some(TransportEvent::Incoming {
            listener_id,
            local_addr: multiaddr_of(local),
            send_back_addr: multiaddr_of(connection.remote_address()),
            upgrade: ready(Ok((peer, Muxer::new(connection)))),
        })
    }
}

impl Transport for SwarmTransport {
    type Output = Upgraded;
    type Error = TransportError;
    type ListenerUpgrade = Ready<Result<Upgraded, TransportError>>;
    type Dial = BoxFuture<'static, Result<Upgraded, TransportError>>;

    /// Listens on the socket's own address: the address it is bound to, or "any" address, with its port or port 0.
    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), Refused<TransportError>> {
        let Some((asked, _)) = socket_addr_of(&addr) else {
            return Err(Refused::MultiaddrNotSupported(addr));
        };
        let refuse = |reason: ListenError| Err(Refused::Other(reason.into()));
        if !self.shared.announced.is_own(asked) {
            return refuse(ListenError::OtherAddress { asked: addr, bound: self.shared.bound });
        }
        if self.inbound.is_closed() {
            return refuse(ListenError::ShutDown);
        }
        if !self.listener.open(id) {
            return refuse(ListenError::AlreadyListening);
        }
        self.wake();
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let removed = self.listener.close(id, self.port());
        self.wake();
        removed
    }

    /// In the listener's role (DCUtR) the port use is not looked at: a punch makes sense from the listening socket only.
    fn dial(&mut self, addr: Multiaddr, opts: DialOpts) -> Result<Self::Dial, Refused<TransportError>> {
        let (remote, peer) = match socket_addr_of(&addr) {
            Some((remote, peer)) if reachable(self.shared.bound, remote) => (remote, peer),
            _ => return Err(Refused::MultiaddrNotSupported(addr)),
        };
        let shared = Arc::clone(&self.shared);
        let established: BoxFuture<'static, Result<Established, DialError>> = match (opts.role, opts.port_use, peer) {
            (Role::Dialer, PortUse::Reuse, _) => async move { shared.dial(remote, ALPN_CONTROL, peer).await }.boxed(),
            (Role::Dialer, PortUse::New, _) => {
                async move { shared.dial_fresh(remote, ALPN_CONTROL, peer).await }.boxed()
            }
            (Role::Listener, _, Some(peer)) => punch(shared, remote, peer).boxed(),
            // Whoever came first through the hole would be taken for the peer.
            (Role::Listener, _, None) => return Err(Refused::MultiaddrNotSupported(addr)),
        };
        Ok(established.map(|result| Ok(result.map(|open| (open.peer, Muxer::new(open.connection)))?)).boxed())
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Event> {
        let (now, port) = (self.shared.announced.watch(cx.waker()), self.port());
        self.listener.update(now, port);
        loop {
            if let Some(change) = self.listener.next_change() {
                return Poll::Ready(Self::event_of(change));
            }
            match self.inbound.poll_recv(cx) {
                Poll::Ready(Some(established)) => {
                    if let Some(event) = self.incoming(established) {
                        return Poll::Ready(event);
                    }
                }
                Poll::Ready(None) => match self.listener.id() {
                    Some(id) => {
                        self.listener.close(id, port);
                    }
                    None => break,
                },
                Poll::Pending => break,
            }
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
