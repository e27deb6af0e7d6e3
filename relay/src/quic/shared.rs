//! What the socket, the swarm's transport and the bulk dialer share: one endpoint and the means to dial from it.
//!
//! Invariant: a dial starts only towards addresses that the socket can reach, and always under a time limit.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::identity::Keypair;
use quinn::{ClientConfig, ConnectError, Endpoint, TransportConfig};

use super::address::{for_sending, reachable};
use super::announce::Announced;
use super::error::DialError;
use super::handshake::{Established, establish};
use super::punches::Punches;
use super::tls;

/// QUIC needs a server name; libp2p certificates carry none, and "l" is what libp2p sends.
const SERVER_NAME: &str = "l";

pub(super) struct Shared {
    pub(super) endpoint: Endpoint,
    pub(super) bound: SocketAddr,
    pub(super) identity: Keypair,
    pub(super) transport: Arc<TransportConfig>,
    pub(super) handshake_timeout: Duration,
    pub(super) announced: Announced,
    pub(super) punches: Punches,
    /// A second handle of the endpoint's descriptor, to send what is not QUIC: the packets that open a NAT.
    pub(super) raw: UdpSocket,
}

impl Shared {
    /// Connects from the shared socket.
    pub(super) async fn dial(
        &self,
        remote: SocketAddr,
        alpn: &[u8],
        expected: Option<PeerId>,
    ) -> Result<Established, DialError> {
        self.dial_from(&self.endpoint, remote, alpn, expected).await
    }

    /// Connects from a port of its own, as reachability tests need: an answer to the shared port would arrive through
    /// the hole that the request made.
    pub(super) async fn dial_fresh(
        &self,
        remote: SocketAddr,
        alpn: &[u8],
        expected: Option<PeerId>,
    ) -> Result<Established, DialError> {
        let local = SocketAddr::new(self.bound.ip(), 0);
        // The endpoint's driver lives as long as the connection; nothing else has to hold it.
        let endpoint = Endpoint::client(local).map_err(DialError::FreshPort)?;
        self.dial_from(&endpoint, remote, alpn, expected).await
    }

    async fn dial_from(
        &self,
        endpoint: &Endpoint,
        remote: SocketAddr,
        alpn: &[u8],
        expected: Option<PeerId>,
    ) -> Result<Established, DialError> {
        if !reachable(self.bound, remote) {
            return Err(DialError::Unreachable(remote));
        }
        let crypto = tls::client(&self.identity, alpn, expected)?;
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::clone(&self.transport));
        let connecting = endpoint.connect_with(config, remote, SERVER_NAME).map_err(|error| match error {
            ConnectError::EndpointStopping => DialError::ShutDown,
            ConnectError::InvalidRemoteAddress(_) => DialError::Unreachable(remote),
            other => DialError::Connect(other),
        })?;
        establish(connecting, self.handshake_timeout, expected).await
    }

    /// Sends one datagram outside any connection. Best effort: a full socket buffer or an unreachable host is no
    /// different from a lost packet.
    pub(super) fn send_raw(&self, datagram: &[u8], remote: SocketAddr) {
        if let Err(error) = self.raw.send_to(datagram, for_sending(self.bound, remote)) {
            tracing::trace!(%remote, %error, "hole punch packet not sent");
        }
    }
}
