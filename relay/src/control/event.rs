//! What the control swarm reports.

use std::net::SocketAddr;
use std::time::Duration;

use libp2p::core::transport::ListenerId;
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
    /// A peer has opened a circuit to this node: it wants to talk and could not come by itself.
    Called {
        /// The peer.
        peer: PeerId,
    },
    /// A direct connection with a peer has come about while there was a circuit to it: through a hole, if neither side
    /// can be dialled.
    Punched {
        /// The peer.
        peer: PeerId,
        /// Where it is.
        address: SocketAddr,
    },
    /// A node tested from outside whether an address of ours can be reached.
    Tested {
        /// The address.
        address: Multiaddr,
        /// Who tested it.
        server: PeerId,
        /// Whether its packets came through.
        reachable: bool,
    },
    /// A listener has ended; for a reservation at another node that means that nobody can call over it any more.
    ListenerClosed {
        /// The listener.
        id: ListenerId,
    },
    /// A node on the local network has made itself known by multicast.
    Neighbour {
        /// Who it claims to be; dialling it proves that.
        peer: PeerId,
        /// Where it is.
        address: Multiaddr,
    },
    /// The last connection with this peer has ended.
    PeerDisconnected {
        /// The peer.
        peer: PeerId,
    },
}
