//! The admin endpoints behind a plain door of their own.

use crate::site::within;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;
use weir_edge::{
    admin::{Admin, Readiness, StatusSource},
    doors::{Doors, DoorsConfig},
    metrics::{EdgeMetrics, ProcessMetrics},
};

struct Fixed;

impl StatusSource for Fixed {
    fn status(&self) -> Value {
        json!({"state": "serving"})
    }
}

#[tokio::test]
async fn admin_answers_over_a_socket() {
    let registry = prometheus::Registry::new();
    EdgeMetrics::register(&registry, "0", "0").expect("a fresh registry");
    ProcessMetrics::register(&registry).expect("a fresh registry");
    let admin = Admin::new(registry, Readiness::new(), Arc::new(Fixed), Vec::new());
    let doors = Doors::bind(DoorsConfig::plain(vec!["127.0.0.1:0".parse().expect("an address")])).expect("a free port");
    let address = doors.local_addrs().plain[0];
    let cancel = CancellationToken::new();
    let running = tokio::spawn(doors.run(Arc::new(admin), cancel.clone()));
    for (path, host, expected) in [
        ("/livez", "127.0.0.1", "alive"),
        ("/readyz?verbose", "localhost", "ready"),
        ("/metrics", "[::1]:9", "weir_requests_in_flight 0"),
        ("/metrics", "127.0.0.1", "process_cpu_seconds_total"),
        ("/api/v1/status", "127.0.0.1", r#"{"state":"serving"}"#),
        ("/api/v1/status", "evil.example", "HTTP/1.1 421"),
        ("/livez", "", "HTTP/1.0 200"),
    ] {
        let mut stream = within(TcpStream::connect(address)).await.expect("a connection");
        let request = if host.is_empty() {
            format!("GET {path} HTTP/1.0\r\n\r\n")
        } else {
            format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")
        };
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.expect("an answer");
        assert!(answer.contains(expected), "{path} {host}\n{answer}");
    }
    cancel.cancel();
    within(running).await.expect("no panic").expect("a clean end");
}
