//! What the tests share: sockets and whole nodes on loopback, and a limit for every wait.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use libp2p::core::Endpoint as Role;
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, Transport, TransportEvent};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use quinn::{ConnectionError, TransportErrorCode, VarInt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use weir_relay::control::{Control, ControlConfig, ControlError, ControlEvent, ControlHandle};
use weir_relay::quic::{
    BulkConnection, BulkDialer, DialError, Parts, QuicConfig, Socket, SwarmTransport, Tuning, multiaddr_of,
};

pub(crate) const V4: &str = "127.0.0.1:0";
pub(crate) const V6: &str = "[::1]:0";
/// Far beyond what anything here takes; reached only by a bug.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) const REUSE: DialOpts = DialOpts { role: Role::Dialer, port_use: PortUse::Reuse };
pub(crate) const FRESH: DialOpts = DialOpts { role: Role::Dialer, port_use: PortUse::New };
pub(crate) const PUNCH: DialOpts = DialOpts { role: Role::Listener, port_use: PortUse::Reuse };

/// The limit is looked at first, so that a future that is ready but was never woken counts as late.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        () = tokio::time::sleep(LIMIT) => panic!("should have happened long ago"),
        output = future => output,
    }
}

pub(crate) fn config(listen: &str) -> QuicConfig {
    QuicConfig::new(listen.parse().unwrap(), Keypair::generate_ed25519())
}

pub(crate) fn tuned(tuning: Tuning) -> QuicConfig {
    QuicConfig { tuning, ..config(V4) }
}

/// A socket without a swarm.
pub(crate) struct Bare {
    pub(crate) peer: PeerId,
    pub(crate) address: SocketAddr,
    pub(crate) parts: Parts,
}

impl Bare {
    pub(crate) fn bind(config: QuicConfig) -> Self {
        let peer = config.identity.public().to_peer_id();
        let parts = Socket::bind(config).unwrap();
        Self { peer, address: parts.socket.local_addr(), parts }
    }

    pub(crate) fn transport(&mut self) -> &mut SwarmTransport {
        &mut self.parts.transport
    }

    pub(crate) fn full_address(&self) -> Multiaddr {
        multiaddr_of(self.address).with(Protocol::P2p(self.peer))
    }

    pub(crate) async fn connect(&self, to: &Self) -> Result<BulkConnection, DialError> {
        soon(self.parts.dialer.connect(to.address, to.peer)).await
    }
}

/// A whole node: socket, swarm, bulk side.
pub(crate) struct Node {
    pub(crate) peer: PeerId,
    pub(crate) address: SocketAddr,
    pub(crate) listener: ListenerId,
    pub(crate) socket: Socket,
    pub(crate) dialer: BulkDialer,
    pub(crate) inbound: mpsc::Receiver<BulkConnection>,
    pub(crate) control: Control,
    pub(crate) handle: ControlHandle,
    pub(crate) events: mpsc::Receiver<ControlEvent>,
    pub(crate) cancel: CancellationToken,
}

impl Node {
    pub(crate) async fn start(listen: &str) -> Self {
        Self::with(config(listen), ControlConfig::default()).await
    }

    pub(crate) async fn with(config: QuicConfig, control: ControlConfig) -> Self {
        let identity = config.identity.clone();
        let Parts { socket, transport, dialer, inbound } = Socket::bind(config).unwrap();
        let cancel = CancellationToken::new();
        let (control, handle, events) = Control::start(transport.into_boxed(), &identity, &control, cancel.clone());
        let address = socket.local_addr();
        let listener = soon(handle.listen(multiaddr_of(address))).await.unwrap();
        let peer = identity.public().to_peer_id();
        Self { peer, address, listener, socket, dialer, inbound, control, handle, events, cancel }
    }

    pub(crate) fn full_address(&self) -> Multiaddr {
        multiaddr_of(self.address).with(Protocol::P2p(self.peer))
    }

    pub(crate) async fn dial(&self, to: &Self) -> Result<PeerId, ControlError> {
        soon(self.handle.dial(to.full_address())).await
    }

    pub(crate) async fn event<T>(&mut self, wanted: impl Fn(ControlEvent) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = wanted(self.events.recv().await.expect("the swarm runs")) {
                    return found;
                }
            }
        };
        soon(search).await
    }

    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        soon(self.control.join()).await;
        soon(self.socket.shutdown()).await;
    }
}

pub(crate) fn connected(event: ControlEvent) -> Option<(PeerId, Multiaddr)> {
    match event {
        ControlEvent::PeerConnected { peer, remote } => Some((peer, remote)),
        _ => None,
    }
}

pub(crate) fn disconnected(event: ControlEvent) -> Option<PeerId> {
    match event {
        ControlEvent::PeerDisconnected { peer } => Some(peer),
        _ => None,
    }
}

pub(crate) fn closed_with(error: &ConnectionError, code: VarInt) -> bool {
    matches!(error, ConnectionError::ApplicationClosed(close) if close.error_code == code)
}

pub(crate) fn refused_with(error: &ConnectionError, code: TransportErrorCode) -> bool {
    matches!(error, ConnectionError::ConnectionClosed(close) if close.error_code == code)
}

pub(crate) async fn next_event(transport: &mut SwarmTransport) -> String {
    let event = soon(poll_fn(|cx| Pin::new(&mut *transport).poll(cx))).await;
    match event {
        TransportEvent::NewAddress { listen_addr, .. } => format!("new {listen_addr}"),
        TransportEvent::AddressExpired { listen_addr, .. } => format!("expired {listen_addr}"),
        TransportEvent::ListenerClosed { reason, .. } => format!("closed {}", reason.is_ok()),
        TransportEvent::Incoming { local_addr, send_back_addr, .. } => format!("{send_back_addr} to {local_addr}"),
        TransportEvent::ListenerError { error, .. } => format!("{error}"),
    }
}
