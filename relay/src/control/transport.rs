//! The swarm's transport: the shared QUIC socket, and circuits over other nodes.
//!
//! A circuit is a stream inside another node's connection, so it needs encryption and substreams of its own: libp2p's TLS
//! and yamux. Invariant: it carries control only; the bulk dialer knows socket addresses and nothing else, so a segment
//! cannot take this way.

use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, OrTransport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport, relay, tls, yamux};

/// Longest handshake on a circuit.
const HANDSHAKE: Duration = Duration::from_secs(5);

type Output = (PeerId, StreamMuxerBox);

/// Adds circuits to `quic`; the behaviour belongs to them.
pub(super) fn with_circuits(quic: Boxed<Output>, identity: &Keypair) -> (Boxed<Output>, relay::client::Behaviour) {
    let (circuits, behaviour) = relay::client::new(identity.public().to_peer_id());
    let tls = tls::Config::new(identity).expect("the socket has made a certificate of this key already");
    let circuits = circuits
        .upgrade(Version::V1Lazy)
        .authenticate(tls)
        .multiplex(yamux::Config::default())
        .timeout(HANDSHAKE)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    (OrTransport::new(circuits, quic).map(|output, _| output.into_inner()).boxed(), behaviour)
}
