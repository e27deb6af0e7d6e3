//! What strangers cannot do: garbage, too many connections, full queues.

use std::future::poll_fn;

use libp2p::core::muxing::StreamMuxerExt;
use libp2p::core::transport::Transport;
use quinn::TransportErrorCode;
use tokio::net::UdpSocket;
use weir_relay::quic::{CLOSE_BUSY, DialError, Tuning};

use crate::common::{Bare, REUSE, V4, closed_with, config, refused_with, soon, tuned};

#[tokio::test]
async fn garbage_does_no_harm() {
    let (mut node, visitor) = (Bare::bind(config(V4)), Bare::bind(config(V4)));
    let vandal = UdpSocket::bind(V4).await.unwrap();
    // A plain generator, so that a failure repeats.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..3000 {
        let length = [0, 1, 20, 64, 1200, 1472][round % 6];
        let mut datagram: Vec<u8> = (0..length).map(|_| random().to_le_bytes()[0]).collect();
        if round % 2 == 0 && length > 5 {
            // Looks like an Initial of QUIC version 1.
            datagram[..5].copy_from_slice(&[0xc0, 0, 0, 0, 1]);
            datagram[5] = 8;
        }
        vandal.send_to(&datagram, node.address).await.unwrap();
        if round % 500 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let connection = visitor.connect(&node).await.unwrap();
    assert_eq!(soon(node.parts.inbound.recv()).await.unwrap().peer, visitor.peer);
    assert_eq!(node.parts.socket.open_connections(), 1, "garbage opens nothing");
    drop(connection);
}

#[tokio::test]
async fn the_inbound_queue_is_bounded() {
    let mut node = Bare::bind(tuned(Tuning { inbound_queue: 1, ..Tuning::default() }));
    let visitor = Bare::bind(config(V4));
    let first = visitor.connect(&node).await.unwrap();
    let second = visitor.connect(&node).await.unwrap();
    let (loser, winner) = tokio::select! {
        error = soon(second.conn.closed()) => (error, first),
        error = soon(first.conn.closed()) => (error, second),
    };
    assert!(closed_with(&loser, CLOSE_BUSY), "{loser:?}");
    assert_eq!(soon(node.parts.inbound.recv()).await.unwrap().peer, visitor.peer);
    assert!(node.parts.inbound.try_recv().is_err());
    assert!(winner.conn.close_reason().is_none());

    // The same for the swarm's side, which nobody polls here.
    let mut ends = Vec::new();
    let mut visitor = visitor;
    for _ in 0..2 {
        let dial = visitor.transport().dial(node.full_address(), REUSE).unwrap();
        ends.push(soon(dial).await.unwrap().1);
    }
    let (mut second, mut first) = (ends.pop().unwrap(), ends.pop().unwrap());
    let ended = soon(async {
        tokio::select! {
            ended = poll_fn(|cx| first.poll_unpin(cx)) => ended,
            ended = poll_fn(|cx| second.poll_unpin(cx)) => ended,
        }
    });
    match ended.await {
        Err(weir_relay::quic::TransportError::Connection(error)) => assert!(closed_with(&error, CLOSE_BUSY)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn connections_are_bounded() {
    let node = Bare::bind(tuned(Tuning { max_connections: 1, ..Tuning::default() }));
    let (one, two) = (Bare::bind(config(V4)), Bare::bind(config(V4)));
    let _held = one.connect(&node).await.unwrap();
    match two.connect(&node).await {
        Err(DialError::Handshake(error)) => {
            assert!(refused_with(&error, TransportErrorCode::CONNECTION_REFUSED), "{error:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_retry_is_followed() {
    let node = Bare::bind(tuned(Tuning { retry_above: 0, ..Tuning::default() }));
    let visitor = Bare::bind(config(V4));
    assert_eq!(visitor.connect(&node).await.unwrap().peer, node.peer);
}
