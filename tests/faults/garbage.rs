//! Garbage on every port. What a viewer sees: nothing; what an operator sees: nothing that grows.

use bytes::Bytes;
use std::{fs, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    task::JoinSet,
    time::timeout,
};
use weir_relay::{
    node::Identity,
    quic::{Parts, QuicConfig, Socket},
};

use super::{
    content::bytes,
    harness::{
        fetch::get,
        process::{Options, Process},
        upstream::{Script, Upstream},
        wait::until_within,
        weir::{Adapter, Edge, Weir},
    },
};

/// Longest wait for an answer that may never come.
const ANSWER: Duration = Duration::from_secs(2);

struct Size {
    resident_kib: u64,
    descriptors: usize,
}

fn size(process: &Process) -> Size {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident_kib = line.trim().trim_end_matches(" kB").trim().parse().unwrap();
    let descriptors = fs::read_dir(format!("/proc/{}/fd", process.pid())).unwrap().count();
    Size { resident_kib, descriptors }
}

/// Sends raw bytes to a TCP port; the first line of what comes back, if anything does.
async fn tcp(address: &str, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The other side may close before it has taken everything.
    let _ = stream.write_all(sent).await;
    let mut reply = vec![0; 4096];
    let read = match timeout(ANSWER, stream.read(&mut reply)).await {
        Ok(Ok(read)) => read,
        _ => 0,
    };
    String::from_utf8_lossy(&reply[..read]).lines().next().unwrap_or_default().to_owned()
}

fn head(target: &str, more: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n{more}Connection: close\r\n\r\n").into_bytes()
}

/// Each port gets what no client would send; afterwards the service goes on and the processes are no larger.
async fn everywhere(upstream: &Upstream, adapter: &Adapter, edge: &Edge, round: u8) {
    let tcp_ports = [
        edge.address("http"),
        edge.address("tls"),
        edge.address("admin"),
        adapter.address("http"),
        adapter.address("admin"),
    ];
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\0\0garbage";
    // Many at a time: some are answered only by silence.
    let mut exchanges = JoinSet::new();
    for address in &tcp_ports {
        for sent in [&bytes(5000, round)[..], &[0; 5000], &hello, preface, b"\r\n\r\n\r\n"] {
            let (address, sent) = (address.clone(), sent.to_vec());
            exchanges.spawn(async move {
                let line = tcp(&address, &sent).await;
                assert!(!line.contains(" 200 ") && !line.contains(" 500 "), "{address}: {line}");
            });
        }
    }
    for address in [&tcp_ports[0], &tcp_ports[2], &tcp_ports[3], &tcp_ports[4]] {
        let wide = format!("X-Wide: {}\r\n", "x".repeat(100_000));
        let many: String = (0..5000).map(|n| format!("X-{n}: y\r\n")).collect();
        for (sent, expected) in [
            (head("/a.ts", &wide), "431"),
            (head("/a.ts", &many), "431"),
            (head(&format!("/{}", "p".repeat(20_000)), ""), "414"),
        ] {
            let address = address.clone();
            exchanges.spawn(async move {
                let line = tcp(&address, &sent).await;
                assert!(line.is_empty() || line.contains(expected), "{address}: {line}");
            });
        }
    }
    while let Some(done) = exchanges.join_next().await {
        done.unwrap();
    }
    for target in [
        "/../../etc/passwd",
        "/a/%2e%2e/%2e%2e/etc/passwd",
        "/%2fetc/passwd",
        "/a/..%5c..%5cx",
        "/a%00.ts",
        "//etc/passwd",
        "/a/./b",
    ] {
        for address in [&tcp_ports[0], &tcp_ports[3]] {
            let line = tcp(address, &head(target, "")).await;
            let status: u16 = line.split(' ').nth(1).unwrap().parse().unwrap();
            assert!((400..500).contains(&status), "{target}: {line}");
        }
    }
    let leads_out =
        |target: &str| ["..", "%2e", "%2E", "%5c", "%5C", "%00", "\\"].iter().any(|part| target.contains(part));
    let seen = upstream.seen();
    let passed_on: Vec<_> = seen.iter().filter(|seen| leads_out(&seen.target)).collect();
    assert!(passed_on.is_empty(), "{passed_on:?}");
    let ranges = [
        ("bytes=18446744073709551615-", "416"),
        ("bytes=99999999999999999999999-", "416"),
        ("bytes=5-1", "200"),
        ("bytes=-0", "416"),
        ("bytes=-18446744073709551615", "206"),
        ("bytes=0-18446744073709551615", "206"),
        ("lines=1-2", "200"),
        ("bytes=", "200"),
        ("bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8", "200"),
    ];
    for (range, expected) in ranges {
        let line = tcp(&tcp_ports[0], &head("/a.ts", &format!("Range: {range}\r\n"))).await;
        assert!(line.contains(&format!(" {expected} ")), "{range}: {line}");
    }
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for address in [edge.address("tls"), edge.address("peer"), adapter.address("peer")] {
        for n in 0..60_u8 {
            // Random; long header of QUIC version 1 with rubbish behind it; an unknown version; a short header.
            let mut datagram = bytes(1200, n ^ round).to_vec();
            let start: &[u8] = match n % 4 {
                0 => &[],
                1 => &[0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0],
                2 => &[0xc3, 0x1a, 0x2a, 0x3a, 0x4a, 20],
                _ => &[0x40],
            };
            datagram[..start.len()].copy_from_slice(start);
            socket.send_to(&datagram, &address).await.unwrap();
        }
    }
}

/// A stranger with a proper handshake who then talks nonsense over `weir/1`.
async fn over_weir(process: &Process) {
    let directory = tempfile::tempdir().unwrap();
    let identity = Identity::load_or_create(directory.path()).unwrap();
    let Parts { socket, transport: _transport, dialer, inbound: _inbound } =
        Socket::bind(QuicConfig::new("127.0.0.1:0".parse().unwrap(), identity.keypair)).unwrap();
    let peer = match process.report().get("relay").or(process.report().get("adapter")) {
        Some(id) => id.as_str().unwrap().parse::<weir_protocol::ids::RelayId>().unwrap(),
        None => panic!("no identity in {}", process.report()),
    };
    let address = process.address("peer").parse().unwrap();
    let oversized: Bytes = [&u32::MAX.to_be_bytes()[..], &[1; 100]].concat().into();
    let truncated: Bytes = [&1000_u32.to_be_bytes()[..], &[1; 10]].concat().into();
    for garbage in [bytes(5000, 3), oversized, truncated, Bytes::from_static(&[0; 64])] {
        let link = dialer.connect(address, *peer.peer_id()).await.unwrap();
        let (mut send, mut receive) = link.conn.open_bi().await.unwrap();
        send.write_chunk(garbage).await.unwrap();
        let _ = send.finish();
        // The connection is closed, or the stream ends: nobody is left waiting.
        while let Ok(Ok(Some(_))) = timeout(Duration::from_secs(8), receive.read_chunk(1 << 16, true)).await {}
        assert!(
            timeout(Duration::from_secs(8), link.conn.closed()).await.is_ok(),
            "a connection without a Hello stays"
        );
    }
    socket.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_every_port_is_answered_cleanly_and_leaves_nothing_behind() {
    let upstream = Upstream::start().await;
    upstream.put("/a.ts", Script::body(bytes(50_000, 1)));
    let adapter = Adapter::start(upstream.url("/"), Options::new()).await;
    let mut edge = Edge::join(&adapter, Options::new()).await;
    assert!(edge.get("/a.ts").await.body == bytes(50_000, 1));
    // Half-open connections stay until their time is up; many more than are needed here are allowed.
    let mut half_open = Vec::new();
    for address in [edge.address("http"), edge.address("tls"), edge.address("admin"), adapter.address("http")] {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            stream.write_all(&[0x16, 3, 1]).await.unwrap();
            half_open.push(stream);
        }
    }
    everywhere(&upstream, &adapter, &edge, 1).await;
    over_weir(&edge).await;
    over_weir(&adapter).await;
    assert!(edge.get("/a.ts").await.body == bytes(50_000, 1), "the service goes on beside half-open connections");
    drop(half_open);
    let before = (size(&edge), size(&adapter));
    for round in 2..5 {
        everywhere(&upstream, &adapter, &edge, round).await;
    }
    for (process, before) in [(&*edge, before.0), (&*adapter, before.1)] {
        until_within(Duration::from_secs(15), "descriptors to be given back", async || {
            (size(process).descriptors <= before.descriptors + 8).then_some(())
        })
        .await;
        let after = size(process).resident_kib;
        assert!(after < before.resident_kib + 48 * 1024, "from {} to {after} KiB", before.resident_kib);
    }
    assert!(edge.is_running());
    upstream.put("/b.ts", Script::body(bytes(50_000, 2)));
    for url in [edge.url("/b.ts"), adapter.url("/b.ts")] {
        assert!(get(&url).await.body == bytes(50_000, 2));
    }
    let metrics = edge.metrics().await;
    assert_eq!(metrics.sum("weir_integrity_failures_total", &[]), 0.0);
}
