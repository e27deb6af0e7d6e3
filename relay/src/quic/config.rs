//! What the peer socket can be told: where to listen, who we are, and how QUIC is tuned.
//!
//! Invariant: a [`Tuning`] that passes [`Tuning::validate`] bounds every queue, window and wait of the socket.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use libp2p::identity::Keypair;
use quinn::{IdleTimeout, TransportConfig, VarInt, congestion};
use serde::Deserialize;

use super::error::BindError;
use super::gate::Gate;

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

/// Keep-alive periods that are allowed, seconds: often enough for a NAT mapping (commonly 30 s for UDP), seldom
/// enough that a thousand idle peers cost nothing.
const KEEP_ALIVE_SECS: std::ops::RangeInclusive<u16> = 5..=15;
/// Initial UDP payload sizes that are allowed, bytes: the minimum of RFC 9000 section 14.1 to what fits an Ethernet
/// frame with IPv6.
const INITIAL_MTU: std::ops::RangeInclusive<u16> = 1200..=1452;

/// Where and as whom the peer socket listens.
#[derive(Clone)]
pub struct QuicConfig {
    /// Address to bind. `[::]:port` is dual-stack, `0.0.0.0:port` is IPv4 only, anything else is that one address.
    /// Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Identity of this node; its PeerId is what other nodes verify.
    pub identity: Keypair,
    /// Addresses to announce while bound to an unspecified address. Empty: loopback and the addresses that the routing
    /// table would send from. Ignored when bound to one address.
    pub addresses: Vec<IpAddr>,
    /// Transport parameters.
    pub tuning: Tuning,
    /// A switch in front of the socket, for tests and demonstrations of a partition. Default none: nothing stands between.
    pub gate: Option<Gate>,
}

impl QuicConfig {
    /// A configuration with default tuning that finds its announced addresses by itself.
    pub fn new(listen: SocketAddr, identity: Keypair) -> Self {
        Self { listen, identity, addresses: Vec::new(), tuning: Tuning::default(), gate: None }
    }
}

/// Transport parameters with their bounds.
///
/// The memory that peers can make us hold is at most `max_connections × (receive_window + send_window)`; in practice
/// only connections whose reader is slower than the network come near it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tuning {
    /// Bytes a peer may have unread on one stream. Default 4 MiB: 300 Mbit/s at 100 ms.
    pub stream_receive_window: u32,
    /// Bytes a peer may have unread on all streams of a connection. Default 16 MiB.
    pub receive_window: u32,
    /// Bytes written but not yet acknowledged per connection. Default 16 MiB, as much as the other side takes: what is
    /// written is mostly a reference to a cached body, and an urgent stream goes before what others have written, but
    /// not before it may write itself. A window that background transfers can fill would make it wait among them.
    pub send_window: u32,
    /// Bidirectional streams a peer may have open on one connection; one request is one stream. Default 256.
    pub max_streams: u32,
    /// Period of keep-alive packets on idle connections, seconds, 5 to 15. Default 5: with the idle time-out below, two may be lost.
    pub keep_alive_secs: u16,
    /// Silence after which a connection is given up, seconds; longer than the keep-alive period. Default 15:
    /// until then others still come to a node that has died.
    pub idle_timeout_secs: u16,
    /// Longest handshake, inbound or outbound, and longest hole punch, milliseconds. Default 5000.
    pub handshake_timeout_ms: u32,
    /// UDP payload before path MTU discovery, bytes, 1200 to 1452. Default 1200: peer connections live long, discovery
    /// raises it within a few round trips, and tunnels on home connections would black-hole a bolder guess.
    pub initial_mtu: u16,
    /// Kernel send and receive buffers asked for, bytes each (the system may grant less). Default 4 MiB.
    pub socket_buffer: u32,
    /// Inbound handshakes in flight; further ones are refused. Default 256.
    pub max_handshakes: u32,
    /// Inbound handshakes in flight above which an address must prove itself with a retry token first
    /// (RFC 9000 section 8.1.2), so that spoofed packets cannot fill `max_handshakes`. Default 64.
    pub retry_above: u32,
    /// Open connections of both protocols together; further inbound ones are refused. Default 2048: each
    /// member of a network of 1024 may have one of either.
    pub max_connections: u32,
    /// Accepted connections that wait for the swarm, and as many again for the bulk side; further ones are closed with
    /// [`CLOSE_BUSY`](super::CLOSE_BUSY). Default 64.
    pub inbound_queue: u32,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            stream_receive_window: 4 * MIB,
            receive_window: 16 * MIB,
            send_window: 16 * MIB,
            max_streams: 256,
            keep_alive_secs: 5,
            idle_timeout_secs: 15,
            handshake_timeout_ms: 5_000,
            initial_mtu: 1200,
            socket_buffer: 4 * MIB,
            max_handshakes: 256,
            retry_above: 64,
            max_connections: 2048,
            inbound_queue: 64,
        }
    }
}

impl Tuning {
    /// Checks every range.
    ///
    /// # Errors
    /// [`BindError::Tuning`] names the first field that is out of its range.
    pub fn validate(&self) -> Result<(), BindError> {
        let rules = [
            (self.stream_receive_window >= 64 * KIB, "stream_receive_window must be at least 64 KiB"),
            (self.receive_window >= self.stream_receive_window, "receive_window must cover stream_receive_window"),
            (self.send_window >= 64 * KIB, "send_window must be at least 64 KiB"),
            (self.max_streams >= 16, "max_streams must be at least 16"),
            (KEEP_ALIVE_SECS.contains(&self.keep_alive_secs), "keep_alive_secs must be 5 to 15"),
            (self.idle_timeout_secs > self.keep_alive_secs, "idle_timeout_secs must be longer than keep_alive_secs"),
            (self.handshake_timeout_ms > 0, "handshake_timeout_ms must not be 0"),
            (INITIAL_MTU.contains(&self.initial_mtu), "initial_mtu must be 1200 to 1452"),
            (self.max_handshakes > 0, "max_handshakes must not be 0"),
            (self.max_connections > 0, "max_connections must not be 0"),
            (self.inbound_queue > 0, "inbound_queue must not be 0"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(BindError::Tuning(broken)),
            None => Ok(()),
        }
    }

    pub(super) fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.handshake_timeout_ms.into())
    }

    pub(super) fn transport(&self) -> Arc<TransportConfig> {
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(self.max_streams))
            // Neither protocol uses them.
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .stream_receive_window(VarInt::from_u32(self.stream_receive_window))
            .receive_window(VarInt::from_u32(self.receive_window))
            .send_window(self.send_window.into())
            .keep_alive_interval(Some(Duration::from_secs(self.keep_alive_secs.into())))
            .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(u32::from(self.idle_timeout_secs) * 1000))))
            .initial_mtu(self.initial_mtu)
            // The spin bit shows the round trip to everybody on the path.
            .allow_spin(false)
            // Named, although it is quinn's default: BBR lost packets in measurements of this workload.
            .congestion_controller_factory(Arc::new(congestion::CubicConfig::default()));
        Arc::new(transport)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert!(Tuning::default().validate().is_ok());
    }

    #[test]
    fn each_range_is_enforced() {
        let broken = [
            Tuning { keep_alive_secs: 4, ..Tuning::default() },
            Tuning { keep_alive_secs: 16, ..Tuning::default() },
            Tuning { idle_timeout_secs: Tuning::default().keep_alive_secs, ..Tuning::default() },
            Tuning { initial_mtu: 1199, ..Tuning::default() },
            Tuning { initial_mtu: 1453, ..Tuning::default() },
            Tuning { receive_window: MIB, ..Tuning::default() },
            Tuning { max_streams: 0, ..Tuning::default() },
            Tuning { max_handshakes: 0, ..Tuning::default() },
            Tuning { max_connections: 0, ..Tuning::default() },
            Tuning { inbound_queue: 0, ..Tuning::default() },
            Tuning { handshake_timeout_ms: 0, ..Tuning::default() },
        ];
        for tuning in broken {
            assert!(matches!(tuning.validate(), Err(BindError::Tuning(_))), "{tuning:?}");
        }
    }
}
