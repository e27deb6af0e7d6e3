//! `raw` against small servers of every protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{Certificate, Handler, Reply, Server, at_once, client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;
use weir_load::client::{Protocol, Trust};
use weir_load::raw::{Config, Report, Requests, RunError, run, run_on_threads};

fn config(url: Url, protocol: Protocol, trust: Trust) -> Config {
    let client = client(protocol, trust);
    Config { url, client, connections: 3, streams: 1, requests: 30, server_pids: Vec::new() }
}

async fn go(config: &Config) -> Report {
    run(config, CancellationToken::new()).await.unwrap()
}

fn clean(report: &Report, bytes: u64) {
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.requests, Requests { asked: 30, succeeded: 30, failed: 0 });
    assert_eq!(report.status[&200], 30);
    assert_eq!(report.body_bytes, 30 * bytes);
    assert_eq!((report.first_byte.count, report.total.count), (30, 30));
    assert!(report.total.p50_us <= report.total.max_us && report.first_byte.max_us <= report.total.max_us);
    assert!(report.bytes_per_second > 0.0 && report.requests_per_second > 0.0);
}

const BODY: usize = 300_000;

fn big() -> Handler {
    at_once(|path| if path == "/a?b=c" { Reply::ok(vec![7; BODY]) } else { Reply::status(404) })
}

#[tokio::test]
async fn plain_tcp_in_both_versions_opens_the_connections_asked_for() {
    for (protocol, streams) in [(Protocol::H1, 1), (Protocol::H2, 4)] {
        let server = Server::tcp(None, big()).await;
        let mut config = config(server.url("/a?b=c"), protocol, Trust::System);
        config.streams = streams;
        let report = go(&config).await;
        clean(&report, BODY as u64);
        assert_eq!((server.connections(), report.handshakes.count), (3, 3), "{protocol}");
    }
}

#[tokio::test]
async fn threads_share_connections_and_requests() {
    for (threads, protocol) in [(1, Protocol::H1), (2, Protocol::H2), (9, Protocol::H1)] {
        let server = Server::tcp(None, big()).await;
        let config = config(server.url("/a?b=c"), protocol, Trust::System);
        let report = run_on_threads(&config, threads, CancellationToken::new()).await.unwrap();
        clean(&report, BODY as u64);
        assert_eq!(server.connections(), 3, "{threads} threads");
    }
}

#[tokio::test]
async fn tls_is_verified_against_the_file() {
    let certificate = Certificate::new();
    let directory = tempfile::tempdir().unwrap();
    let trust = certificate.write(directory.path());
    for protocol in [Protocol::H1, Protocol::H2] {
        let server = Server::tcp(Some(&certificate), big()).await;
        clean(&go(&config(server.url("/a?b=c"), protocol, trust.clone())).await, BODY as u64);

        let stranger = go(&config(server.url("/a?b=c"), protocol, Trust::System)).await;
        assert_eq!((stranger.requests.failed, stranger.errors["handshake"]), (30, 30));
        clean(&go(&config(server.url("/a?b=c"), protocol, Trust::Insecure)).await, BODY as u64);
    }
}

#[tokio::test]
async fn http3_with_several_streams_on_each_connection() {
    let certificate = Certificate::new();
    let directory = tempfile::tempdir().unwrap();
    let server = Server::quic(&certificate, big());
    let mut config = config(server.url("/a?b=c"), Protocol::H3, certificate.write(directory.path()));
    config.streams = 4;
    let report = go(&config).await;
    clean(&report, BODY as u64);
    assert_eq!((server.connections(), report.handshakes.count), (3, 3));

    config.client.trust = Trust::System;
    config.requests = 3;
    assert_eq!(go(&config).await.errors["handshake"], 3);
}

#[tokio::test]
async fn the_host_of_the_url_is_named_wherever_the_connection_goes() {
    let certificate = Certificate::new();
    let directory = tempfile::tempdir().unwrap();
    let server = Server::tcp(
        Some(&certificate),
        Arc::new(|_, headers| {
            let named = headers.get("host").is_some_and(|host| host == "video.test:4433");
            Box::pin(async move { Reply::status(if named { 200 } else { 421 }) })
        }),
    )
    .await;
    let url = Url::parse("https://video.test:4433/x").unwrap();
    let mut config = config(url, Protocol::H1, certificate.write(directory.path()));
    config.client.connect = Some(server.address);
    assert!(go(&config).await.is_clean());
}

#[tokio::test]
async fn other_statuses_are_failures_and_counted() {
    let served = AtomicU64::new(0);
    let server = Server::tcp(
        None,
        at_once(move |_| Reply::status(if served.fetch_add(1, Ordering::Relaxed) < 10 { 503 } else { 204 })),
    )
    .await;
    let report = go(&config(server.url("/"), Protocol::H1, Trust::System)).await;
    assert!(!report.is_clean());
    assert_eq!(report.requests, Requests { asked: 30, succeeded: 20, failed: 10 });
    assert_eq!((report.status[&503], report.status[&204]), (10, 20));
    assert!(report.errors.is_empty());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["schema"], "weir-load-raw/1");
    assert_eq!(json["status"]["503"], 10);
    assert!(report.to_string().contains("10 failed"), "{report}");
}

#[tokio::test]
async fn bodies_that_break_off_are_failures_over_every_protocol() {
    let certificate = Certificate::new();
    for protocol in [Protocol::H1, Protocol::H2, Protocol::H3] {
        let handler = at_once(|_| Reply { cut: Some(1000), ..Reply::ok(vec![0; 5000]) });
        let server = match protocol {
            Protocol::H3 => Server::quic(&certificate, handler),
            _ => Server::tcp(Some(&certificate), handler).await,
        };
        let mut config = config(server.url("/"), protocol, Trust::Insecure);
        config.requests = 6;
        let report = go(&config).await;
        assert_eq!((report.requests.failed, report.errors["broken"]), (6, 6), "{protocol}");
        assert!(report.status.is_empty());
    }
}

#[tokio::test]
async fn silence_ends_by_the_time_out() {
    let certificate = Certificate::new();
    for protocol in [Protocol::H1, Protocol::H2, Protocol::H3] {
        let handler: Handler = Arc::new(|_, _| Box::pin(std::future::pending()));
        let server = match protocol {
            Protocol::H3 => Server::quic(&certificate, handler),
            _ => Server::tcp(Some(&certificate), handler).await,
        };
        let mut config = config(server.url("/"), protocol, Trust::Insecure);
        config.client.timeouts.head = Duration::from_millis(50);
        config.connections = 1;
        config.requests = 2;
        assert_eq!(go(&config).await.errors["timeout-head"], 2, "{protocol}");
    }
}

#[tokio::test]
async fn a_server_may_close_between_requests() {
    let server = Server::tcp(None, at_once(|_| Reply::ok("x").header("connection", "close"))).await;
    let report = go(&config(server.url("/"), Protocol::H1, Trust::System)).await;
    clean(&report, 1);
    assert_eq!(report.handshakes.count, 30);
}

#[tokio::test]
async fn cpu_time_of_this_process_is_measured() {
    let server = Server::tcp(None, big()).await;
    let mut config = config(server.url("/a?b=c"), Protocol::H1, Trust::System);
    config.server_pids = vec![std::process::id()];
    let cpu = go(&config).await.server_cpu.unwrap();
    assert_eq!(cpu.pids, [std::process::id()]);
    assert!(cpu.seconds_per_gigabyte.is_some() && cpu.microseconds_per_request.is_some());

    config.server_pids = vec![u32::MAX];
    assert!(matches!(run(&config, CancellationToken::new()).await, Err(RunError::Cpu(_))));
}

#[tokio::test]
async fn cancelling_reports_what_was_done() {
    let cancel = CancellationToken::new();
    let (served, stop) = (AtomicU64::new(0), cancel.clone());
    let server = Server::tcp(
        None,
        at_once(move |_| {
            if served.fetch_add(1, Ordering::Relaxed) == 9 {
                stop.cancel();
            }
            Reply::ok("x")
        }),
    )
    .await;
    let mut config = config(server.url("/"), Protocol::H1, Trust::System);
    config.connections = 1;
    config.requests = u64::MAX;
    let report = run(&config, cancel).await.unwrap();
    assert!((9..=11).contains(&report.requests.succeeded), "{report}");
    assert!(!report.is_clean());
}

#[tokio::test]
async fn numbers_that_make_no_run_are_refused() {
    let mut config = config(Url::parse("http://127.0.0.1:1/").unwrap(), Protocol::H1, Trust::System);
    config.streams = 2;
    assert!(matches!(run(&config, CancellationToken::new()).await, Err(RunError::Usage(_))));
    config.streams = 0;
    assert!(matches!(run(&config, CancellationToken::new()).await, Err(RunError::Usage(_))));
}

/// A server that answers each request with the same bytes, and closes the connection after them if it is told to.
async fn verbatim(answer: &'static [u8], closes: bool) -> Url {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut asked, mut buffer) = (Vec::new(), [0; 1024]);
                loop {
                    match stream.read(&mut buffer).await {
                        Ok(0) | Err(_) => return,
                        Ok(got) => asked.extend_from_slice(&buffer[..got]),
                    }
                    if asked.ends_with(b"\r\n\r\n") {
                        asked.clear();
                        if stream.write_all(answer).await.is_err() || closes {
                            return;
                        }
                    }
                }
            });
        }
    });
    Url::parse(&format!("http://{address}/")).unwrap()
}

#[tokio::test]
async fn a_body_ends_as_its_head_says() {
    for (answer, closes, handshakes) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"[..], false, 3),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nt: v\r\n\r\n",
            false,
            3,
        ),
        (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", false, 3),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", true, 30),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", true, 30),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n", false, 30),
    ] {
        let report = go(&config(verbatim(answer, closes).await, Protocol::H1, Trust::System)).await;
        clean(&report, 5);
        assert_eq!(report.handshakes.count, handshakes, "{}", String::from_utf8_lossy(answer));
    }
}

#[tokio::test]
async fn what_is_no_whole_response_is_broken() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\nhello",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ] {
        let report = go(&config(verbatim(answer, true).await, Protocol::H1, Trust::System)).await;
        let told = String::from_utf8_lossy(answer);
        assert_eq!((report.requests.failed, report.errors.get("broken")), (30, Some(&30)), "{told}\n{report}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let mut answer = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
    answer.resize(200_000, b'a');
    let report = go(&config(verbatim(answer.leak(), false).await, Protocol::H1, Trust::System)).await;
    assert_eq!(report.errors["broken"], 30, "{report}");
}

#[tokio::test]
async fn a_server_that_ends_each_http2_connection_at_once_is_not_asked_for_ever() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let report = go(&config(url, Protocol::H2, Trust::System)).await;
    assert_eq!(report.requests.failed, 30, "{report}");
}
