//! Hole punching in the listener's role.

use libp2p::PeerId;
use libp2p::core::transport::{ListenerId, Transport, TransportError};
use libp2p::multiaddr::Protocol;
use tokio::net::UdpSocket;
use weir_relay::quic::{DialError, Muxer, Tuning, multiaddr_of};

use crate::common::{Bare, PUNCH, REUSE, V4, config, next_event, soon, tuned};

#[tokio::test]
async fn a_hole_punch_completes_in_the_listeners_role() {
    let (mut one, mut two) = (Bare::bind(config(V4)), Bare::bind(config(V4)));
    let (address_of_one, address_of_two) = (one.full_address(), two.full_address());
    let waiting = one.transport().dial(address_of_two, PUNCH).unwrap();
    let dialling = two.transport().dial(address_of_one, REUSE).unwrap();
    let (waited, dialled) = soon(async { tokio::join!(waiting, dialling) }).await;
    assert_eq!((waited.unwrap().0, dialled.unwrap().0), (two.peer, one.peer));

    // A role without a peer to wait for makes no sense.
    let nobody = multiaddr_of(two.address);
    assert!(matches!(one.transport().dial(nobody, PUNCH), Err(TransportError::MultiaddrNotSupported(_))));
}

#[tokio::test]
async fn a_hole_punch_sends_packets_waits_for_its_peer_only_and_ends() {
    let mut node = Bare::bind(tuned(Tuning { handshake_timeout_ms: 300, ..Tuning::default() }));
    let remote = UdpSocket::bind(V4).await.unwrap();
    let target = multiaddr_of(remote.local_addr().unwrap()).with(Protocol::P2p(PeerId::random()));
    let attempt = node.transport().dial(target.clone(), PUNCH).unwrap();
    let again = node.transport().dial(target.clone(), PUNCH).unwrap();
    let packets = async {
        let mut buffer = [0; 1500];
        for _ in 0..2 {
            assert_eq!(remote.recv_from(&mut buffer).await.unwrap(), (64, node.address));
        }
    };
    let (first, second, ()) = soon(async { tokio::join!(biased; attempt, again, packets) }).await;
    let error =
        |result: Result<(PeerId, Muxer), weir_relay::quic::TransportError>| result.map(|_| ()).unwrap_err().to_string();
    assert_eq!(error(first), DialError::TimedOut.to_string());
    assert_eq!(error(second), DialError::PunchInProgress(remote.local_addr().unwrap()).to_string());

    // The place is free again.
    let third = node.transport().dial(target, PUNCH).unwrap();
    assert_eq!(error(soon(third).await), DialError::TimedOut.to_string());

    // Another peer that connects from the awaited address is an ordinary visitor.
    let mut visitor = Bare::bind(config(V4));
    let (address, own) = (node.full_address(), multiaddr_of(node.address));
    node.transport().listen_on(ListenerId::next(), own).unwrap();
    next_event(node.transport()).await;
    let awaited = multiaddr_of(visitor.address).with(Protocol::P2p(PeerId::random()));
    let attempt = node.transport().dial(awaited, PUNCH).unwrap();
    let visit = visitor.transport().dial(address, REUSE).unwrap();
    let (attempt, visit, event) =
        soon(async { tokio::join!(attempt, visit, next_event(&mut node.parts.transport)) }).await;
    assert_eq!(error(attempt), DialError::TimedOut.to_string());
    assert!(visit.is_ok());
    assert!(event.starts_with(&multiaddr_of(visitor.address).to_string()), "{event}");
}
