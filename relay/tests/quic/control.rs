//! The control swarm through its handle: commands, limits, a slow reader.

use libp2p::Multiaddr;
use weir_relay::control::{ControlConfig, ControlEvent};
use weir_relay::quic::multiaddr_of;

use crate::common::{Node, V4, config, connected, disconnected, soon};

#[tokio::test]
async fn disconnect_and_remove_listener_through_the_handle() {
    let (mut one, mut two) = (Node::start(V4).await, Node::start(V4).await);
    one.dial(&two).await.unwrap();
    assert_eq!(one.dial(&two).await.unwrap(), two.peer, "an open connection is answer enough");
    two.event(connected).await;
    assert!(soon(one.handle.disconnect(two.peer)).await.unwrap());
    assert_eq!(two.event(disconnected).await, one.peer);
    assert_eq!(one.event(disconnected).await, two.peer);
    assert!(!soon(one.handle.disconnect(two.peer)).await.unwrap());

    assert_eq!(soon(two.handle.listeners()).await.unwrap(), [multiaddr_of(two.address)]);
    assert!(soon(two.handle.remove_listener(two.listener)).await.unwrap());
    let external: Multiaddr = "/ip4/203.0.113.1/udp/4001/quic-v1".parse().unwrap();
    soon(two.handle.add_external_address(external.clone())).await.unwrap();
    assert_eq!(soon(two.handle.external_addresses()).await.unwrap(), [external]);
    let listener = soon(two.handle.listen("/ip4/0.0.0.0/udp/0/quic-v1".parse().unwrap())).await.unwrap();
    assert_ne!(listener, two.listener);
    assert_eq!(one.dial(&two).await.unwrap(), two.peer);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn control_connections_are_limited() {
    let limits = ControlConfig { max_connections: 1, ..ControlConfig::default() };
    let mut full = Node::with(config(V4), limits).await;
    let (one, mut two) = (Node::start(V4).await, Node::start(V4).await);
    one.dial(&full).await.unwrap();
    assert_eq!(full.event(connected).await.0, one.peer);
    // The handshake succeeds, so the dialler sees a connection that is closed at once.
    two.dial(&full).await.unwrap();
    assert_eq!(two.event(disconnected).await, full.peer);
    assert_eq!(soon(full.handle.peers()).await.unwrap().len(), 1);
    for node in [one, two, full] {
        node.stop().await;
    }
}

#[tokio::test]
async fn an_unread_event_queue_stops_the_swarm_but_not_the_commands() {
    let narrow = ControlConfig { event_queue: 1, ..ControlConfig::default() };
    let mut slow = Node::with(config(V4), narrow).await;
    let one = Node::start(V4).await;
    one.dial(&slow).await.unwrap();
    // Connected fills the queue, identified waits.
    let known = async {
        while soon(slow.handle.peers()).await.unwrap().iter().all(|info| info.agent.is_empty()) {
            tokio::task::yield_now().await;
        }
    };
    soon(known).await;
    let peer = one.peer;
    one.stop().await;
    // The end of the connection has reached the socket; the driver gets many turns and must not look at it yet.
    for _ in 0..100 {
        assert_eq!(soon(slow.handle.listeners()).await.unwrap().len(), 1);
        assert!(soon(slow.handle.peers()).await.unwrap()[0].connected);
    }
    assert_eq!(slow.event(connected).await.0, peer);
    let identified = |event| match event {
        ControlEvent::PeerIdentified { peer, .. } => Some(peer),
        _ => None,
    };
    assert_eq!(slow.event(identified).await, peer, "what waited is not lost");
    assert_eq!(slow.event(disconnected).await, peer);
    slow.stop().await;
}
