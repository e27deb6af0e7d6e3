//! `impair` between real sockets: transparency, delay, loss, bounds.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use weir_load::client::{Protocol, Trust};
use weir_load::impair::{Config, Impairment, LinkConfig};
use weir_load::raw;

use crate::support::{self, Certificate, Reply, Server, at_once};

/// Longest wait for something that must come.
const SOON: Duration = Duration::from_secs(10);

fn link(ms: u64, loss: f64) -> LinkConfig {
    LinkConfig::new(Duration::from_millis(ms), loss).unwrap()
}

fn config(to: SocketAddr) -> Config {
    Config::new("127.0.0.1:0".parse().unwrap(), to)
}

/// Returns every datagram to its sender.
async fn udp_echo() -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            socket.send_to(&buffer[..length], from).await.unwrap();
        }
    });
    (address, task)
}

async fn udp_client(proxy: &Impairment) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(proxy.local_addr()).await.unwrap();
    socket
}

async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let length = timeout(SOON, socket.recv(&mut buffer)).await.expect("a datagram came in time").unwrap();
    buffer.truncate(length);
    buffer
}

#[tokio::test]
async fn udp_is_transparent_without_delay_and_loss() {
    let (server, _echo) = udp_echo().await;
    let proxy = Impairment::bind(config(server)).await.unwrap();
    let (one, other) = (udp_client(&proxy).await, udp_client(&proxy).await);
    for size in [0, 1, 1200, 1452, 9000, 60_000] {
        let (mine, theirs) = (vec![1; size], vec![2; size]);
        one.send(&mine).await.unwrap();
        other.send(&theirs).await.unwrap();
        assert!(receive(&one).await == mine && receive(&other).await == theirs, "{size}");
    }
    let counts = proxy.shutdown().await;
    assert_eq!((counts.flows, counts.up.forwarded, counts.down.forwarded), (2, 12, 12));
    assert_eq!((counts.up.lost, counts.down.lost, counts.refused), (0, 0, 0));
}

#[tokio::test]
async fn udp_takes_at_least_the_delay_of_each_direction_and_keeps_order() {
    let (server, _echo) = udp_echo().await;
    let mut config = config(server);
    (config.up, config.down) = (link(30, 0.0), link(12, 0.0));
    let proxy = Impairment::bind(config).await.unwrap();
    let client = udp_client(&proxy).await;
    let sent = Instant::now();
    for number in 0..200u8 {
        client.send(&[number]).await.unwrap();
    }
    for number in 0..200u8 {
        assert_eq!(receive(&client).await, [number]);
        assert!(sent.elapsed() >= Duration::from_millis(42), "{:?}", sent.elapsed());
    }
    let counts = proxy.shutdown().await;
    assert_eq!((counts.up.forwarded, counts.down.forwarded), (200, 200));
}

/// Sends numbered datagrams one way and says which arrived.
async fn arrivals(seed: u64) -> Vec<u8> {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(server.local_addr().unwrap());
    config.up = link(1, 20.0);
    config.seed = seed;
    let proxy = Impairment::bind(config).await.unwrap();
    let client = udp_client(&proxy).await;
    for number in 0..=250u8 {
        client.send(&[number]).await.unwrap();
    }
    let mut seen = Vec::new();
    loop {
        let counts = proxy.counts().up;
        if counts.forwarded + counts.lost == 251 && seen.len() as u64 == counts.forwarded {
            assert!((20..=85).contains(&counts.lost), "about 50 of 251 are lost: {counts:?}");
            proxy.shutdown().await;
            return seen;
        }
        if (seen.len() as u64) < counts.forwarded {
            seen.extend(receive(&server).await);
        } else {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn the_same_seed_loses_the_same_datagrams() {
    let first = timeout(SOON, arrivals(5)).await.unwrap();
    assert_eq!(first, timeout(SOON, arrivals(5)).await.unwrap());
    assert_ne!(first, timeout(SOON, arrivals(6)).await.unwrap());
}

#[tokio::test]
async fn flows_are_bounded_and_end_when_idle() {
    let (server, _echo) = udp_echo().await;
    let mut config = config(server);
    config.max_flows = 2;
    config.flow_idle = Duration::from_millis(150);
    let proxy = Impairment::bind(config).await.unwrap();
    let clients = [udp_client(&proxy).await, udp_client(&proxy).await, udp_client(&proxy).await];
    for client in &clients[..2] {
        client.send(b"x").await.unwrap();
        receive(client).await;
    }
    clients[2].send(b"refused").await.unwrap();
    // The third is served once a flow has ended.
    let mut buffer = [0; 16];
    let served = async {
        while timeout(Duration::from_millis(20), clients[2].recv(&mut buffer)).await.is_err() {
            clients[2].send(b"again").await.unwrap();
        }
    };
    timeout(SOON, served).await.unwrap();
    let counts = proxy.shutdown().await;
    assert!(counts.refused >= 1, "{counts:?}");
    assert_eq!(counts.flows, 3);
}

#[tokio::test]
async fn a_rate_spaces_datagrams_and_drops_what_its_queue_does_not_hold() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(server.local_addr().unwrap());
    // A kilobyte a millisecond, and twenty of them wait.
    config.up = link(0, 0.0).with_rate(1_000_000, Some(20_000)).unwrap();
    let proxy = Impairment::bind(config).await.unwrap();
    let client = udp_client(&proxy).await;
    let begun = Instant::now();
    for number in 0..100u8 {
        client.send(&[number; 1000]).await.unwrap();
    }
    let settled = async {
        let mut arrived = 0;
        loop {
            let counts = proxy.counts().up;
            if counts.forwarded + counts.overflowed == 100 && counts.forwarded == arrived {
                return counts;
            }
            if arrived < counts.forwarded {
                receive(&server).await;
                arrived += 1;
                assert!(begun.elapsed() >= Duration::from_millis(arrived), "{arrived} in {:?}", begun.elapsed());
            } else {
                tokio::task::yield_now().await;
            }
        }
    };
    let counts = timeout(SOON, settled).await.unwrap();
    assert!(counts.overflowed > 0 && counts.forwarded >= 20, "{counts:?}");
    proxy.shutdown().await;
}

#[tokio::test]
async fn reordered_datagrams_come_after_later_ones_and_none_is_lost() {
    let (server, _echo) = udp_echo().await;
    let mut config = config(server);
    config.up = link(5, 0.0).with_jitter(Duration::from_millis(20)).with_reordering(30.0).unwrap();
    let proxy = Impairment::bind(config).await.unwrap();
    let client = udp_client(&proxy).await;
    for number in 0..200u8 {
        client.send(&[number]).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 200 {
        seen.extend(receive(&client).await);
    }
    assert!(!seen.is_sorted(), "nothing was overtaken");
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..200));
    proxy.shutdown().await;
}

/// Reads a connection to its end and answers with what it read, then ends.
async fn tcp_echo_at_end() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut all = Vec::new();
            if stream.read_to_end(&mut all).await.is_ok() {
                stream.write_all(&all).await.unwrap();
            }
        }
    });
    (address, task)
}

#[tokio::test]
async fn tcp_carries_every_byte_and_a_half_close() {
    let (server, _echo) = tcp_echo_at_end().await;
    for ms in [0, 5] {
        let mut config = config(server);
        (config.up, config.down) = (link(ms, 0.0), link(ms, 0.0));
        let proxy = Impairment::bind(config).await.unwrap();
        // More than the window, so that the sender is held back and let go.
        let sent: Vec<u8> = (0..20_000_000u32).map(|n| (n % 251) as u8).collect();
        let (mut read, mut write) = TcpStream::connect(proxy.local_addr()).await.unwrap().into_split();
        let copy = sent.clone();
        let writer = tokio::spawn(async move {
            write.write_all(&copy).await.unwrap();
            write.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        timeout(SOON, read.read_to_end(&mut received)).await.unwrap().unwrap();
        assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
        writer.await.unwrap();
        let counts = proxy.shutdown().await;
        assert_eq!((counts.connections, counts.refused), (1, 0));
    }
}

#[tokio::test]
async fn tcp_takes_a_round_trip_to_connect_and_one_to_answer() {
    let (server, _echo) = tcp_echo_at_end().await;
    let mut config = config(server);
    (config.up, config.down) = (link(25, 0.0), link(15, 0.0));
    let proxy = Impairment::bind(config).await.unwrap();
    let begun = Instant::now();
    let mut stream = TcpStream::connect(proxy.local_addr()).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(timeout(SOON, stream.read_u8()).await.unwrap().unwrap(), b'x');
    assert!(begun.elapsed() >= Duration::from_millis(80), "{:?}", begun.elapsed());
    proxy.shutdown().await;
}

/// How a new connection ends that is expected to be cut. The reset may come before the connect is noticed.
async fn end_of_a_connection(to: SocketAddr) -> io::ErrorKind {
    let read = async { TcpStream::connect(to).await?.read_u8().await };
    timeout(SOON, read).await.unwrap().unwrap_err().kind()
}

#[tokio::test]
async fn tcp_keeps_to_a_rate() {
    let (server, _echo) = tcp_echo_at_end().await;
    let mut config = config(server);
    config.up = link(0, 0.0).with_rate(5_000_000, None).unwrap();
    let proxy = Impairment::bind(config).await.unwrap();
    let begun = Instant::now();
    let mut stream = TcpStream::connect(proxy.local_addr()).await.unwrap();
    stream.write_all(&vec![7; 1_000_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut received = Vec::new();
    timeout(SOON, stream.read_to_end(&mut received)).await.unwrap().unwrap();
    assert_eq!(received.len(), 1_000_000);
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    proxy.shutdown().await;
}

#[tokio::test]
async fn tcp_passes_a_refusal_on_as_a_reset_and_bounds_connections() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = Impairment::bind(config(closed)).await.unwrap();
    assert_eq!(end_of_a_connection(proxy.local_addr()).await, io::ErrorKind::ConnectionReset);
    assert_eq!(proxy.shutdown().await.refused, 1);

    let (server, _echo) = tcp_echo_at_end().await;
    let mut config = config(server);
    config.max_flows = 1;
    let proxy = Impairment::bind(config).await.unwrap();
    let _first = TcpStream::connect(proxy.local_addr()).await.unwrap();
    assert_eq!(end_of_a_connection(proxy.local_addr()).await, io::ErrorKind::ConnectionReset);
    // The shutdown does not wait for the first to end.
    assert_eq!(timeout(SOON, proxy.shutdown()).await.unwrap().refused, 1);
}

#[tokio::test]
async fn a_port_in_use_is_an_error() {
    let (server, _echo) = udp_echo().await;
    let mut config = config(server);
    config.listen = server;
    assert_eq!(Impairment::bind(config).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn http3_flows_through_delay_and_loss() {
    let certificate = Certificate::new();
    let server = Server::quic(&certificate, at_once(|_| Reply::ok(vec![1; 200_000])));
    let mut config = config(server.address);
    (config.up, config.down) = (link(10, 2.0), link(10, 2.0));
    let proxy = Impairment::bind(config).await.unwrap();
    let mut client = support::client(Protocol::H3, Trust::Insecure);
    client.connect = Some(proxy.local_addr());
    let run =
        raw::Config { url: server.url("/"), client, connections: 2, streams: 1, requests: 6, server_pids: Vec::new() };
    let report = raw::run(&run, CancellationToken::new()).await.unwrap();
    assert!(report.is_clean(), "{report}");
    assert!(report.first_byte.p50_us >= 20_000 && report.handshakes.p50_us >= 20_000, "{report}");
    let counts = proxy.shutdown().await;
    assert!(counts.down.lost > 0, "{counts:?}");
}
