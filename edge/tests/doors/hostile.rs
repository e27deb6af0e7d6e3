//! Clients that do not mean well: garbage, bombs, slow ones, and too many.

use crate::{
    client::{Client, WAYS, Way, quic, tls},
    site::{Open, within},
};
use bytes::Bytes;
use http::{Method, StatusCode};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};
use weir_edge::doors::Limits;

/// Sends bytes and reads until the door closes.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    // The door may close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn alive(open: &Open) {
    for way in WAYS {
        assert_eq!(Client::open(open, way).await.get("/hello").await.body, b"hello", "{way:?}");
    }
}

#[tokio::test]
async fn garbage_is_answered_by_closing() {
    let open = Open::new();
    let noise: Vec<u8> = (0..20_000_u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    assert!(raw(open.plain, &noise).await.starts_with("HTTP/1.1 400"));
    raw(open.tls, &noise).await;
    let plain = raw(open.tls, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(!plain.starts_with("HTTP"), "{plain}");
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    for piece in noise.chunks(1200) {
        socket.send_to(piece, open.tls).await.expect("sent");
    }
    raw(open.plain, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").await;
    alive(&open).await;
    open.close().await;
}

#[tokio::test]
async fn malformed_requests_have_clean_answers() {
    let open = Open::new();
    for (request, answer) in [
        ("GET /hello HTTP/1.1\r\n\r\n", "HTTP/1.1 400"),
        ("GET /hello HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "HTTP/1.1 400"),
        ("GET hello HTTP/1.1\r\nhost: a\r\n\r\n", "HTTP/1.1 4"),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", "HTTP/1.1 501"),
        ("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", "HTTP/1.1 501"),
        ("ABSURD!METHOD /nothing HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "HTTP/1.1 404"),
        ("GET /hello HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "HTTP/1.1 400"),
        ("GET /hello HTTP/1.1\r\nhost: a\r\nx\0y: 1\r\n\r\n", "HTTP/1.1 400"),
        ("GET /hello HTTP/1.1\r\nhost: a\r\n folded: 1\r\n\r\n", "HTTP/1.1 400"),
    ] {
        let request = request.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        let seen = raw(open.plain, request.as_bytes()).await;
        assert!(seen.starts_with(answer), "{request}\n{seen}");
    }
    open.close().await;
}

#[tokio::test]
async fn a_request_smuggled_behind_two_lengths_is_not_served() {
    let open = Open::new();
    let smuggled = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n\
                    0\r\n\r\nGET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let seen = raw(open.plain, smuggled.as_bytes()).await;
    assert!(!seen.contains("hello"), "{seen}");
    assert_eq!(seen.matches("HTTP/1.1 ").count(), 1, "{seen}");
    open.close().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let open = Open::new();
    let two = "GET /late HTTP/1.1\r\nhost: a\r\n\r\nGET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let seen = raw(open.plain, two.as_bytes()).await;
    let (late, hello) = (seen.find("\r\n\r\nlate"), seen.find("\r\n\r\nhello"));
    assert!(late.is_some() && late < hello, "{seen}");
    open.close().await;
}

#[tokio::test]
async fn header_bombs_are_told_431() {
    let open = Open::new();
    let bomb = "x".repeat(40_000);
    for way in WAYS {
        let mut client = Client::open(&open, way).await;
        let reply = client.send(Method::GET, "/hello", &[("x-bomb", &bomb)], Bytes::new()).await.expect("an answer");
        assert_eq!(reply.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "{way:?}");
    }
    let endless = format!("GET / HTTP/1.1\r\nhost: a\r\n{}", format!("x: {bomb}\r\n").repeat(100));
    let seen = raw(open.plain, endless.as_bytes()).await;
    assert!(seen.is_empty() || seen.starts_with("HTTP/1.1 431"), "{seen}");
    let long = format!("/{}", "p".repeat(9_000));
    for way in WAYS {
        assert_eq!(Client::open(&open, way).await.get(&long).await.status, StatusCode::URI_TOO_LONG, "{way:?}");
    }
    alive(&open).await;
    open.close().await;
}

#[tokio::test]
async fn an_http3_head_without_end_is_cut_off() {
    let open = Open::new();
    let (_endpoint, connection) = within(quic(&open)).await.expect("a connection");
    let (mut send, mut recv) = within(connection.open_bi()).await.expect("a stream");
    // A HEADERS frame that announces one gigabyte.
    let mut frame = vec![0x01, 0xc0, 0, 0, 0, 0x40, 0, 0, 0];
    frame.resize(200_000, b'x');
    let sent = within(async {
        loop {
            if let Err(error) = send.write_all(&frame).await {
                return error;
            }
        }
    })
    .await;
    assert!(matches!(sent, quinn::WriteError::Stopped(_) | quinn::WriteError::ConnectionLost(_)), "{sent:?}");
    assert!(within(recv.read_to_end(1000)).await.is_err(), "no clean end");
    alive(&open).await;
    open.close().await;
}

#[tokio::test]
async fn slow_clients_are_let_go() {
    let brief = Duration::from_millis(100);
    let open = Open::with(Limits { handshake_timeout: brief, header_read_timeout: brief, ..Limits::default() });
    assert_eq!(raw(open.tls, b"").await, "", "no handshake");
    assert_eq!(raw(open.tls, &[22, 3, 1, 2, 0, 1, 0]).await, "", "half a handshake");
    assert_eq!(raw(open.plain, b"").await, "", "no request");
    assert_eq!(raw(open.plain, b"GET /hello HT").await, "", "half a request");
    assert_eq!(raw(open.plain, b"PRI * HTTP/2").await, "", "half a preface");
    let mut kept = TcpStream::connect(open.plain).await.expect("a connection");
    kept.write_all(b"GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    let mut seen = Vec::new();
    while !seen.ends_with(b"hello") {
        assert_ne!(within(kept.read_buf(&mut seen)).await.expect("an answer"), 0);
    }
    kept.write_all(b"GET").await.expect("sent");
    assert_eq!(within(kept.read_buf(&mut seen)).await.expect("a clean end"), 0, "half a second request");
    let mut stream = within(tls(&open, &open.material, b"http/1.1")).await.expect("a handshake");
    let mut rest = Vec::new();
    let _ = within(stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
    open.close().await;
}

#[tokio::test]
async fn idle_and_stalled_connections_are_closed() {
    let brief = Duration::from_millis(150);
    let limits = Limits { idle_timeout: brief, stall_timeout: brief, header_read_timeout: brief, ..Limits::default() };
    let mut open = Open::with(limits);
    for way in WAYS {
        let mut client = Client::open(&open, way).await;
        client.get("/hello").await;
        let outcome = client.send(Method::GET, "/never", &[], Bytes::new()).await;
        assert!(outcome.is_err(), "{way:?}");
        assert_eq!(open.event().await, "answer awaited");
        assert_eq!(open.event().await, "answer dropped");
    }
    let metrics = open.metrics.clone();
    let mut idle = Vec::new();
    for way in WAYS {
        let mut client = Client::open(&open, way).await;
        client.get("/hello").await;
        idle.push(client);
    }
    within(async {
        while metrics.open_connections() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    open.close().await;
}

#[tokio::test]
async fn a_full_door_refuses_at_once() {
    let open = Open::with(Limits { max_connections: 1, ..Limits::default() });
    let mut first = Client::open(&open, Way::H2).await;
    first.get("/hello").await;
    assert_eq!(raw(open.plain, b"GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await, "");
    assert!(within(Client::try_open(&open, Way::H3)).await.is_err());
    assert_eq!(first.get("/hello").await.body, b"hello");
    open.close().await;
}
