//! What the control swarm reports.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

/// Something happened to a peer. For one peer the order is: connected, then any number of the others, disconnected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlEvent {
    /// The first connection with this peer is open.
    PeerConnected {
        /// The peer.
        peer: PeerId,
        /// Where it is.
        remote: Multiaddr,
    },
    /// The peer has said who it is; it does so after connecting and every few minutes.
    PeerIdentified {
        /// The peer.
        peer: PeerId,
        /// The address under which the peer sees this node: a claim, not a fact.
        observed: Multiaddr,
        /// Addresses that the peer claims to listen on, at most 16.
        listen_addrs: Vec<Multiaddr>,
        /// Program and version, at most 128 bytes.
        agent: String,
        /// Protocol family, at most 128 bytes; `weir/1` for this version.
        protocol: String,
    },
    /// A ping came back.
    PingRtt {
        /// The peer.
        peer: PeerId,
        /// Round trip time.
        rtt: Duration,
    },
    /// The last connection with this peer has ended.
    PeerDisconnected {
        /// The peer.
        peer: PeerId,
    },
}
