//! The errors of the peer socket, one variant for each reaction a caller could have.

use std::io;
use std::net::SocketAddr;

use libp2p::{Multiaddr, PeerId};
use thiserror::Error;

/// Why the socket could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another process holds the port.
    #[error("UDP port of {0} is in use by another process")]
    PortBusy(SocketAddr),
    /// The operating system refused for another reason.
    #[error("cannot bind UDP {address}")]
    Io {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A transport parameter is out of its range.
    #[error("bad QUIC tuning: {0}")]
    Tuning(&'static str),
    /// The certificate could not be made.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why TLS with libp2p certificates could not be set up, or what a peer presented is not one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The node's own certificate could not be made from its key.
    #[error("cannot make a TLS certificate from the node key")]
    Certificate(#[from] libp2p::tls::certificate::GenError),
    /// The cipher suites lack the one that QUIC needs for its first packets (RFC 9001 section 5.2).
    #[error("TLS configuration cannot be used for QUIC")]
    CipherSuite(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
    /// The peer's certificate chain carries no libp2p identity.
    #[error("peer presented no libp2p identity")]
    NoIdentity,
}

/// Why a connection to a peer did not come about.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DialError {
    /// Somebody answered, but not the expected peer.
    #[error("the node that answered is not {expected}")]
    WrongPeer {
        /// Who should have answered.
        expected: PeerId,
    },
    /// The peer does not speak the requested protocol (ALPN).
    #[error("peer does not speak this protocol")]
    Protocol,
    /// No answer within the handshake time-out.
    #[error("handshake timed out")]
    TimedOut,
    /// The socket's address family cannot reach the address (or it is port 0 or unspecified).
    #[error("{0} cannot be reached from this socket")]
    Unreachable(SocketAddr),
    /// The local socket has been shut down.
    #[error("the peer socket has been shut down")]
    ShutDown,
    /// A hole punch to the same address is under way already.
    #[error("a hole punch to {0} is under way")]
    PunchInProgress(SocketAddr),
    /// Too many hole punches at once.
    #[error("too many hole punches at once")]
    TooManyPunches,
    /// A socket for a fresh port could not be opened.
    #[error("cannot open a socket for a fresh port")]
    FreshPort(#[source] io::Error),
    /// QUIC refused to start the connection.
    #[error("cannot start the connection")]
    Connect(#[source] quinn::ConnectError),
    /// The connection was lost or refused during the handshake.
    #[error("handshake failed")]
    Handshake(#[source] quinn::ConnectionError),
    /// The TLS configuration or the peer's certificate is unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why the swarm cannot listen on an address.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The socket is bound already, to another address.
    #[error("{asked} is not the address of the peer socket, {bound}")]
    OtherAddress {
        /// What was asked for.
        asked: Multiaddr,
        /// Where the socket is bound.
        bound: SocketAddr,
    },
    /// There is one socket, hence one listener.
    #[error("the peer socket has a listener already")]
    AlreadyListening,
    /// The socket has been shut down.
    #[error("the peer socket has been shut down")]
    ShutDown,
}

/// What the libp2p transport and its connections can fail with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// Listening failed.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Dialling failed.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// An established connection ended.
    #[error("connection ended")]
    Connection(#[from] quinn::ConnectionError),
}
