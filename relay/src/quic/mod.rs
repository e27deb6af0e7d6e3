//! One UDP socket for the whole peer layer: libp2p (ALPN `libp2p`) for control, raw QUIC (ALPN `weir/1`) for bytes.
//!
//! The application owns the `quinn::Endpoint`, so a hole that libp2p punches in a NAT also lets bulk connections
//! through, and a port mapping needs to be made only once. Both protocols authenticate both ends by PeerId with
//! libp2p's TLS certificates.
//!
//! Invariants: no connection leaves this module before its PeerId has been proved; handshakes in flight, open
//! connections, queues, streams and windows are bounded by [`Tuning`]; nothing outlives [`Socket::shutdown`] except
//! the descriptor, which closes when the last of transport, dialer and connections is dropped.

mod accept;
mod address;
mod announce;
mod bulk;
mod config;
mod error;
mod gate;
mod handshake;
mod listener;
mod local;
mod muxer;
mod punch;
mod punches;
mod shared;
mod socket;
mod stream;
mod tls;
mod transport;

pub use self::accept::{CLOSE_BUSY, CLOSE_NOT_LISTENING, CLOSE_SHUTDOWN};
pub(crate) use self::address::canonical;
pub use self::address::{multiaddr_of, socket_addr_of};
pub use self::bulk::{BulkConnection, BulkDialer};
pub use self::config::{QuicConfig, Tuning};
pub use self::error::{BindError, DialError, ListenError, TlsError, TransportError};
pub use self::gate::Gate;
pub use self::local::LocalAddresses;
pub use self::muxer::Muxer;
pub use self::socket::{Parts, Socket};
pub use self::stream::Substream;
pub use self::tls::{ALPN_BULK, ALPN_CONTROL};
pub use self::transport::SwarmTransport;
