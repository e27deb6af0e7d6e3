//! Bulk and control on one port: who is let through, under which address and protocol.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use quinn::TransportErrorCode;
use tokio::net::UdpSocket;
use weir_relay::control::{ControlError, ControlEvent};
use weir_relay::quic::{DialError, Tuning, multiaddr_of};

use crate::common::{Bare, Node, V4, V6, config, connected, disconnected, refused_with, soon, tuned};

async fn control_and_bulk_share_the_port(listen: &str) {
    let (mut one, mut two) = (Node::start(listen).await, Node::start(listen).await);
    assert_eq!(one.dial(&two).await.unwrap(), two.peer);
    let (control_peer, control_remote) = two.event(connected).await;

    let identified = |event| match event {
        ControlEvent::PeerIdentified { peer, observed, listen_addrs, agent, protocol } => {
            Some((peer, observed, listen_addrs, agent, protocol))
        }
        _ => None,
    };
    let (peer, observed, listens, agent, protocol) = one.event(identified).await;
    assert_eq!((peer, observed), (two.peer, multiaddr_of(one.address)));
    assert_eq!((listens, protocol.as_str()), (vec![multiaddr_of(two.address)], "weir/1"));
    assert!(agent.starts_with("weir/"), "{agent}");
    assert_eq!(two.event(identified).await.0, one.peer);
    let rtt = |event| match event {
        ControlEvent::PingRtt { rtt, .. } => Some(rtt),
        _ => None,
    };
    assert!(two.event(rtt).await > Duration::ZERO);

    let dialled = soon(one.dialer.connect(two.address, two.peer)).await.unwrap();
    let accepted = soon(two.inbound.recv()).await.unwrap();
    assert_eq!((dialled.peer, accepted.peer, control_peer), (two.peer, one.peer, one.peer));
    assert_eq!(dialled.remote, two.address);
    assert_eq!(accepted.remote, one.address);
    assert_eq!(control_remote, multiaddr_of(accepted.remote), "control and bulk come from one address");

    let body = vec![7u8; 3 << 20];
    let serve = async {
        let (mut send, mut receive) = accepted.conn.accept_bi().await.unwrap();
        assert_eq!(receive.read_to_end(16).await.unwrap(), b"get");
        send.write_all(&body).await.unwrap();
        send.finish().unwrap();
    };
    let fetch = async {
        let (mut send, mut receive) = dialled.conn.open_bi().await.unwrap();
        send.write_all(b"get").await.unwrap();
        send.finish().unwrap();
        receive.read_to_end(4 << 20).await.unwrap()
    };
    let ((), got) = soon(async { tokio::join!(serve, fetch) }).await;
    assert!(got == body, "the bytes arrive unchanged");

    one.stop().await;
    assert_eq!(two.event(disconnected).await, accepted.peer);
    let known = soon(two.handle.peers()).await.unwrap();
    assert_eq!(known.len(), 1);
    assert!(!known[0].connected && known[0].rtt.is_some() && known[0].agent == agent, "{known:?}");
    two.stop().await;
}

#[tokio::test]
async fn control_and_bulk_share_the_port_ipv4() {
    control_and_bulk_share_the_port(V4).await;
}

#[tokio::test]
async fn control_and_bulk_share_the_port_ipv6() {
    control_and_bulk_share_the_port(V6).await;
}

#[tokio::test]
async fn a_dual_stack_socket_serves_both_families_under_plain_addresses() {
    let (mut dual, four, six) = (Bare::bind(config("[::]:0")), Bare::bind(config(V4)), Bare::bind(config(V6)));
    let port = dual.address.port();
    for (from, to) in
        [(&four, SocketAddr::from(([127, 0, 0, 1], port))), (&six, format!("[::1]:{port}").parse().unwrap())]
    {
        soon(from.parts.dialer.connect(to, dual.peer)).await.unwrap();
        assert_eq!(soon(dual.parts.inbound.recv()).await.unwrap().remote, from.address);
        assert_eq!(dual.connect(from).await.unwrap().remote, from.address);
    }
    assert!(matches!(four.connect(&six).await, Err(DialError::Unreachable(_))));
    assert!(matches!(six.connect(&four).await, Err(DialError::Unreachable(_))));
}

#[tokio::test]
async fn a_wrong_peer_is_refused() {
    let (one, mut two) = (Node::start(V4).await, Node::start(V4).await);
    let stranger = PeerId::random();
    let error = soon(one.dialer.connect(two.address, stranger)).await.unwrap_err();
    assert!(matches!(error, DialError::WrongPeer { expected } if expected == stranger), "{error:?}");
    let address = multiaddr_of(two.address).with(Protocol::P2p(stranger));
    assert!(matches!(soon(one.handle.dial(address)).await, Err(ControlError::Dial(_))));
    // The connection that is let through shows that the refused ones were not.
    soon(one.dialer.connect(two.address, two.peer)).await.unwrap();
    assert_eq!(soon(two.inbound.recv()).await.unwrap().peer, one.peer);
    assert!(two.inbound.try_recv().is_err());
    assert!(soon(two.handle.peers()).await.unwrap().is_empty());
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn an_unknown_alpn_is_refused() {
    let node = Bare::bind(config(V4));
    let mut tls = libp2p::tls::make_client_config(&Keypair::generate_ed25519(), Some(node.peer)).unwrap();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let endpoint = quinn::Endpoint::client(V4.parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(quinn::ClientConfig::new(Arc::new(crypto)), node.address, "l").unwrap();
    let error = soon(connecting).await.unwrap_err();
    assert!(refused_with(&error, TransportErrorCode::crypto(120)), "{error:?}");
}

#[tokio::test]
async fn a_peer_that_does_not_speak_bulk_is_named_so() {
    let identity = Keypair::generate_ed25519();
    let tls = libp2p::tls::make_server_config(&identity).unwrap();
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let libp2p_only = quinn::Endpoint::server(server, V4.parse().unwrap()).unwrap();
    let serve = async {
        let incoming = libp2p_only.accept().await.unwrap();
        assert!(incoming.await.is_err());
    };
    let node = Bare::bind(config(V4));
    let address = libp2p_only.local_addr().unwrap();
    let dial = node.parts.dialer.connect(address, identity.public().to_peer_id());
    let ((), dialled) = soon(async { tokio::join!(serve, dial) }).await;
    assert!(matches!(dialled, Err(DialError::Protocol)), "{dialled:?}");
}

#[tokio::test]
async fn a_silent_address_times_out() {
    let node = Bare::bind(tuned(Tuning { handshake_timeout_ms: 100, ..Tuning::default() }));
    let silent = UdpSocket::bind(V4).await.unwrap();
    let dialled = soon(node.parts.dialer.connect(silent.local_addr().unwrap(), PeerId::random())).await;
    assert!(matches!(dialled, Err(DialError::TimedOut)), "{dialled:?}");
}
