//! Bulk connections: raw QUIC between two authenticated nodes, for bytes.
//!
//! Invariant: a [`BulkConnection`] speaks ALPN `weir/1` and `peer` is the identity proved in its handshake.

use std::net::SocketAddr;
use std::sync::Arc;

use libp2p::PeerId;

use super::address::canonical;
use super::error::DialError;
use super::handshake::Established;
use super::shared::Shared;
use super::tls::ALPN_BULK;

/// An open connection for bytes. Closes when the last handle of `conn` and of its streams is dropped.
#[derive(Debug, Clone)]
pub struct BulkConnection {
    /// The connection.
    pub conn: quinn::Connection,
    /// Who is at the other end.
    pub peer: PeerId,
    /// Where the other end was when the connection opened; it may move later.
    pub remote: SocketAddr,
}

impl From<Established> for BulkConnection {
    fn from(Established { connection, peer }: Established) -> Self {
        Self { remote: canonical(connection.remote_address()), conn: connection, peer }
    }
}

/// Opens bulk connections from the socket that the swarm uses too. Cheap to clone.
#[derive(Clone)]
pub struct BulkDialer {
    shared: Arc<Shared>,
}

impl BulkDialer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Connects to `peer` at `addr`. One handshake, one round trip; the connection is for keeping.
    ///
    /// # Errors
    /// [`DialError::WrongPeer`] if somebody else answers, [`DialError::Protocol`] if the peer does not speak `weir/1`,
    /// [`DialError::TimedOut`] after the handshake time-out, [`DialError::Unreachable`] for the wrong address family.
    pub async fn connect(&self, addr: SocketAddr, peer: PeerId) -> Result<BulkConnection, DialError> {
        let established = self.shared.dial(canonical(addr), ALPN_BULK, Some(peer)).await?;
        Ok(established.into())
    }
}
