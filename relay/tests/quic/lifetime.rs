//! Start, shutdown, kill and restart.

use libp2p::core::transport::{ListenerId, Transport, TransportError};
use quinn::ConnectionError;
use tokio::net::UdpSocket;
use tokio::runtime::{Handle, Runtime};
use weir_relay::control::ControlError;
use weir_relay::quic::{BindError, CLOSE_SHUTDOWN, DialError, Parts, QuicConfig, Socket, multiaddr_of};

use crate::common::{Bare, LIMIT, Node, V4, closed_with, config, next_event, soon};

#[tokio::test]
async fn a_busy_port_is_named() {
    let taken = UdpSocket::bind(V4).await.unwrap();
    let address = taken.local_addr().unwrap();
    let bound = Socket::bind(config(&address.to_string()));
    assert!(matches!(bound, Err(BindError::PortBusy(busy)) if busy == address));
}

#[tokio::test]
async fn shutdown_tells_peers_and_leaves_no_task() {
    let before = Handle::current().metrics().num_alive_tasks();
    let (one, mut two) = (Node::start(V4).await, Node::start(V4).await);
    one.dial(&two).await.unwrap();
    let held = soon(one.dialer.connect(two.address, two.peer)).await.unwrap();
    let accepted = soon(two.inbound.recv()).await.unwrap();
    let (handle, dialer, address, peer) = (two.handle.clone(), two.dialer.clone(), two.address, one.peer);
    two.stop().await;
    assert!(closed_with(&soon(held.conn.closed()).await, CLOSE_SHUTDOWN));
    assert!(matches!(soon(handle.peers()).await, Err(ControlError::ShutDown)));
    assert!(matches!(soon(dialer.connect(address, peer)).await, Err(DialError::ShutDown)));
    one.stop().await;
    drop((held, accepted, dialer));
    // What is left is quinn's own, which ends by itself once nothing refers to it.
    let idle = async {
        while Handle::current().metrics().num_alive_tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    soon(idle).await;
    UdpSocket::bind(address).await.unwrap();
}

#[tokio::test]
async fn the_swarm_learns_that_the_socket_is_gone() {
    let mut node = Bare::bind(config(V4));
    let own = multiaddr_of(node.address);
    node.transport().listen_on(ListenerId::next(), own.clone()).unwrap();
    next_event(node.transport()).await;
    let Parts { socket, mut transport, .. } = node.parts;
    soon(socket.shutdown()).await;
    assert_eq!(next_event(&mut transport).await, format!("expired {own}"));
    assert_eq!(next_event(&mut transport).await, "closed true");
    assert!(matches!(transport.listen_on(ListenerId::next(), own), Err(TransportError::Other(_))));
}

#[test]
fn a_killed_and_restarted_node_resets_its_old_connections() {
    let (visitors, victims) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let settings = config(V4);
    let mut victim = victims.block_on(async { Bare::bind(settings.clone()) });
    let (peer, address) = (victim.peer, victim.address);
    let visitor = visitors.block_on(async { Bare::bind(config(V4)) });
    let held = visitors.block_on(async { visitor.connect(&victim).await.unwrap() });
    // Something has come from the victim, so its last handshake packet has come too: an unconfirmed client would only
    // repeat the handshake, and that provokes no reset.
    let accepted = victims.block_on(async {
        let accepted = victim.parts.inbound.recv().await.unwrap();
        let (mut send, _) = accepted.conn.open_bi().await.unwrap();
        send.write_all(b"hello").await.unwrap();
        accepted
    });
    visitors.block_on(async { soon(held.conn.accept_bi()).await.map(drop).unwrap() });
    // As with kill -9: the tasks stop where they are, and nothing is sent.
    victims.shutdown_timeout(LIMIT);
    drop((accepted, victim));

    visitors.block_on(async {
        // Nobody hears this; what is sent again later provokes the reset.
        let (mut send, _receive) = held.conn.open_bi().await.unwrap();
        send.write_all(&[0; 100]).await.unwrap();
        let _again = Bare::bind(QuicConfig { listen: address, ..settings });
        assert_eq!(soon(held.conn.closed()).await, ConnectionError::Reset);
        assert_eq!(soon(visitor.parts.dialer.connect(address, peer)).await.unwrap().peer, peer);
    });
}
