//! The transport as the swarm uses it: listeners, addresses, ports, a moving peer.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;

use futures_util::{AsyncReadExt, AsyncWriteExt};
use libp2p::Multiaddr;
use libp2p::core::muxing::{StreamMuxerEvent, StreamMuxerExt};
use libp2p::core::transport::{ListenerId, Transport, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use weir_relay::quic::{CLOSE_NOT_LISTENING, Parts, QuicConfig, multiaddr_of};

use crate::common::{Bare, FRESH, REUSE, V4, closed_with, config, next_event, soon};

#[tokio::test]
async fn listeners_come_go_and_come_back() {
    let (mut node, mut visitor) = (Bare::bind(config(V4)), Bare::bind(config(V4)));
    let (address, own) = (node.full_address(), multiaddr_of(node.address));
    let transport = node.transport();

    for wrong in [visitor.address, SocketAddr::from(([127, 0, 0, 9], own_port(&own)))] {
        let refused = transport.listen_on(ListenerId::next(), multiaddr_of(wrong));
        assert!(matches!(refused, Err(TransportError::Other(_))), "{wrong}");
    }
    let tcp = transport.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/1".parse().unwrap());
    assert!(matches!(tcp, Err(TransportError::MultiaddrNotSupported(_))));

    let first = ListenerId::next();
    transport.listen_on(first, own.clone()).unwrap();
    assert!(matches!(transport.listen_on(ListenerId::next(), own.clone()), Err(TransportError::Other(_))));
    assert_eq!(next_event(transport).await, format!("new {own}"));
    assert!(!transport.remove_listener(ListenerId::next()));
    assert!(transport.remove_listener(first));
    assert!(!transport.remove_listener(first));
    assert_eq!(next_event(transport).await, format!("expired {own}"));
    assert_eq!(next_event(transport).await, "closed true");

    // Without a listener nobody comes in.
    let (_, mut muxer) = soon(visitor.transport().dial(address.clone(), REUSE).unwrap()).await.unwrap();
    let ended = poll_fn(|cx| muxer.poll_unpin(cx));
    let ended = soon(async {
        tokio::select! {
            ended = ended => ended,
            event = next_event(transport) => panic!("{event}"),
        }
    });
    match ended.await {
        Err(weir_relay::quic::TransportError::Connection(error)) => {
            assert!(closed_with(&error, CLOSE_NOT_LISTENING), "{error:?}");
        }
        other => panic!("{other:?}"),
    }

    transport.listen_on(ListenerId::next(), "/ip4/0.0.0.0/udp/0/quic-v1".parse().unwrap()).unwrap();
    assert_eq!(next_event(transport).await, format!("new {own}"));
    let (dialled, event) =
        soon(async { tokio::join!(visitor.parts.transport.dial(address, REUSE).unwrap(), next_event(transport)) })
            .await;
    assert!(dialled.is_ok());
    assert_eq!(event, format!("{} to {own}", multiaddr_of(visitor.address)));
}

fn own_port(address: &Multiaddr) -> u16 {
    weir_relay::quic::socket_addr_of(address).unwrap().0.port()
}

#[tokio::test]
async fn interface_changes_reach_the_swarm() {
    let given = QuicConfig { addresses: vec!["127.0.0.1".parse().unwrap()], ..config("0.0.0.0:0") };
    let node = Bare::bind(given);
    let (port, own) = (node.address.port(), multiaddr_of(node.address));
    let Parts { socket, mut transport, .. } = node.parts;
    transport.listen_on(ListenerId::next(), own).unwrap();
    assert_eq!(next_event(&mut transport).await, format!("new /ip4/127.0.0.1/udp/{port}/quic-v1"));
    // The change happens while the swarm waits, in another task: only the transport's own wake-up can tell.
    let changing = tokio::spawn(async move {
        socket.local_addresses().set(["127.0.0.1".parse().unwrap(), "127.0.0.3".parse().unwrap()]);
        socket
    });
    assert_eq!(next_event(&mut transport).await, format!("new /ip4/127.0.0.3/udp/{port}/quic-v1"));
    let socket = changing.await.unwrap();
    socket.local_addresses().set(["127.0.0.3".parse().unwrap()]);
    assert_eq!(next_event(&mut transport).await, format!("expired /ip4/127.0.0.1/udp/{port}/quic-v1"));
}

#[tokio::test]
async fn port_use_is_respected() {
    let (mut node, mut visitor) = (Bare::bind(config(V4)), Bare::bind(config(V4)));
    let (address, own) = (node.full_address(), multiaddr_of(node.address));
    node.transport().listen_on(ListenerId::next(), own.clone()).unwrap();
    next_event(node.transport()).await;
    for (opts, same_port) in [(REUSE, true), (FRESH, false)] {
        let dial = visitor.transport().dial(address.clone(), opts).unwrap();
        let (dialled, event) = soon(async { tokio::join!(dial, next_event(node.transport())) }).await;
        assert_eq!(dialled.unwrap().0, node.peer);
        assert_eq!(event == format!("{} to {own}", multiaddr_of(visitor.address)), same_port, "{event}");
    }
}

/// Forwards datagrams between one client and `server`, and takes a new port towards the server when told.
async fn nat(front: UdpSocket, server: SocketAddr, mut rebind: mpsc::Receiver<()>) {
    let mut back = UdpSocket::bind(V4).await.unwrap();
    let (mut client, mut out, mut home) = (None, [0; 2048], [0; 2048]);
    loop {
        tokio::select! {
            received = front.recv_from(&mut out) => {
                let (length, from) = received.unwrap();
                client = Some(from);
                back.send_to(&out[..length], server).await.unwrap();
            }
            received = back.recv_from(&mut home) => {
                let (length, _) = received.unwrap();
                front.send_to(&home[..length], client.unwrap()).await.unwrap();
            }
            Some(()) = rebind.recv() => back = UdpSocket::bind(V4).await.unwrap(),
        }
    }
}

#[tokio::test]
async fn a_peer_behind_a_rebinding_nat_is_followed() {
    let (mut node, mut visitor) = (Bare::bind(config(V4)), Bare::bind(config(V4)));
    let own = multiaddr_of(node.address);
    node.transport().listen_on(ListenerId::next(), own).unwrap();
    next_event(node.transport()).await;
    let front = UdpSocket::bind(V4).await.unwrap();
    let through = multiaddr_of(front.local_addr().unwrap()).with(Protocol::P2p(node.peer));
    let (rebind, rebinds) = mpsc::channel(1);
    let forwarding = tokio::spawn(nat(front, node.address, rebinds));

    let dial = visitor.transport().dial(through, REUSE).unwrap();
    let accept = async {
        loop {
            let transport = node.transport();
            let event = poll_fn(|cx| Pin::new(&mut *transport).poll(cx)).await;
            if let TransportEvent::Incoming { upgrade, send_back_addr, .. } = event {
                return (upgrade.await.unwrap().1, send_back_addr);
            }
        }
    };
    let (dialled, (mut accepted, before)) = soon(async { tokio::join!(dial, accept) }).await;
    let mut dialled = dialled.unwrap().1;
    rebind.send(()).await.unwrap();
    let mut stream = soon(poll_fn(|cx| dialled.poll_outbound_unpin(cx))).await.unwrap();
    soon(stream.write_all(b"from a new port")).await.unwrap();
    soon(stream.close()).await.unwrap();
    soon(stream.close()).await.unwrap();
    let mut arrived = soon(poll_fn(|cx| accepted.poll_inbound_unpin(cx))).await.unwrap();
    let mut text = String::new();
    soon(arrived.read_to_string(&mut text)).await.unwrap();
    assert_eq!(text, "from a new port");
    let StreamMuxerEvent::AddressChange(after) = soon(poll_fn(|cx| accepted.poll_unpin(cx))).await.unwrap();
    assert_ne!(after, before);
    // Told once, then quiet; and closing ends both sides.
    assert!(poll_fn(|cx| std::task::Poll::Ready(accepted.poll_unpin(cx))).await.is_pending());
    soon(accepted.close()).await.unwrap();
    assert!(soon(poll_fn(|cx| dialled.poll_unpin(cx))).await.is_err());
    assert!(soon(poll_fn(|cx| dialled.poll_inbound_unpin(cx))).await.is_err());
    assert!(soon(poll_fn(|cx| dialled.poll_outbound_unpin(cx))).await.is_err());
    soon(dialled.close()).await.unwrap();
    forwarding.abort();
}
