//! Circuits, punches, searches and admission between whole nodes on loopback.

use libp2p::multiaddr::Protocol;
use weir_protocol::ids::PublisherId;
use weir_relay::control::{ControlError, ControlEvent};

use crate::common::{Node, V4, connected, soon};

const PUBLISHER: PublisherId = PublisherId([7; 32]);

/// A node that carries circuits and keeps provider records.
async fn carrier() -> Node {
    let node = Node::start(V4).await;
    soon(node.handle.add_external_address(node.full_address())).await.unwrap();
    soon(node.handle.serve(true, true)).await.unwrap();
    node
}

async fn identified(node: &mut Node, other: libp2p::PeerId) {
    node.event(|event| match event {
        ControlEvent::PeerIdentified { peer, .. } => (peer == other).then_some(()),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn a_call_over_a_carrier_ends_in_a_direct_connection_and_no_circuit() {
    let (mut carrier, mut called, mut caller) = (carrier().await, Node::start(V4).await, Node::start(V4).await);
    for node in [&mut called, &mut caller] {
        node.dial(&carrier).await.unwrap();
        identified(node, carrier.peer).await;
    }
    let circuit = carrier.full_address().with(Protocol::P2pCircuit);
    soon(called.handle.listen(circuit.clone())).await.unwrap();
    let via = circuit.with(Protocol::P2p(called.peer));
    let nowhere = soon(caller.handle.punch(called.peer, Vec::new())).await;
    assert!(matches!(nowhere, Err(ControlError::Punch(_))), "{nowhere:?}");

    let address = soon(caller.handle.punch(called.peer, vec![via.clone()])).await.unwrap();
    assert_eq!(address, called.address);
    assert_eq!(soon(caller.handle.punch(called.peer, vec![via])).await.unwrap(), address, "it is connected already");
    called.event(|event| matches!(event, ControlEvent::Called { peer } if peer == caller.peer).then_some(())).await;
    let punched = |event| match event {
        ControlEvent::Punched { peer, address } => Some((peer, address)),
        _ => None,
    };
    assert_eq!(called.event(punched).await, (caller.peer, caller.address));
    // The bulk connection goes the same way.
    let (bulk, arrived) =
        soon(async { tokio::join!(caller.dialer.connect(address, called.peer), called.inbound.recv()) }).await;
    assert_eq!((bulk.unwrap().peer, arrived.unwrap().peer), (called.peer, caller.peer));

    let stranger = libp2p::PeerId::random();
    let via = carrier.full_address().with(Protocol::P2pCircuit).with(Protocol::P2p(stranger));
    let failed = soon(caller.handle.punch(stranger, vec![via])).await;
    assert!(matches!(failed, Err(ControlError::Punch(_))), "no reservation: {failed:?}");
    carrier.event(connected).await;
    for node in [carrier, called, caller] {
        node.stop().await;
    }
}

#[tokio::test]
async fn whoever_is_not_admitted_gets_no_connection() {
    let (closed, friend, stranger) = (Node::start(V4).await, Node::start(V4).await, Node::start(V4).await);
    let admitted = friend.peer;
    closed.handle.admission().set(move |peer| *peer == admitted);
    let mut stranger = stranger;
    friend.dial(&closed).await.unwrap();
    // The handshake ends before the swarm decides, so the dialler sees a connection that is closed at once.
    if stranger.dial(&closed).await.is_ok() {
        stranger.event(crate::common::disconnected).await;
    }
    let known = soon(closed.handle.peers()).await.unwrap();
    assert!(known.iter().all(|info| info.peer != stranger.peer), "{known:?}");
    for node in [closed, friend, stranger] {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_provider_is_found_and_dialled_through_a_node_that_keeps_records() {
    let (carrier, mut one, mut two) = (carrier().await, carrier_like().await, Node::start(V4).await);
    soon(carrier.handle.provide(PUBLISHER)).await.unwrap();
    for node in [&mut one, &mut two] {
        node.dial(&carrier).await.unwrap();
        identified(node, carrier.peer).await;
    }
    soon(one.handle.provide(PUBLISHER)).await.unwrap();
    let found = async {
        loop {
            let found = two.handle.find(PUBLISHER).await.unwrap();
            if found.contains(&one.peer) {
                return;
            }
        }
    };
    soon(found).await;
    two.event(|event| matches!(event, ControlEvent::PeerConnected { peer, .. } if peer == one.peer).then_some(()))
        .await;
    for node in [carrier, one, two] {
        node.stop().await;
    }
}

/// A node with an address to be found at.
async fn carrier_like() -> Node {
    let node = Node::start(V4).await;
    soon(node.handle.add_external_address(node.full_address())).await.unwrap();
    node
}
