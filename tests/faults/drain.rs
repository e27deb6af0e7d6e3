//! SIGTERM: what is under way is finished, nothing new is taken.

use rustix::process::Signal;
use std::time::Duration;
use tokio::{net::TcpStream, sync::mpsc};

use super::{
    content::bytes,
    harness::{
        fetch::Fetch,
        process::Options,
        upstream::{Script, Upstream},
        wait::{PATIENCE, until, within},
        weir::{Adapter, Edge, Weir},
    },
};

/// A viewer sees: the download that runs ends whole. Its next connection is refused, so that it goes elsewhere at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_in_flight_is_finished_and_new_connections_are_refused() {
    let upstream = Upstream::start().await;
    let body = bytes(2 << 20, 1);
    upstream.put("/slow.ts", Script::body(body.clone()).trickle(32 * 1024, Duration::from_millis(40)));
    let adapter = Adapter::start(upstream.url("/"), Options::new()).await;
    let mut edge = Edge::join(&adapter, Options::new()).await;
    let url = edge.url("/slow.ts");
    let (begun, mut first) = mpsc::channel(1);
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        let reply = Fetch::new(&url)
            .stream(|piece| {
                all.extend_from_slice(&piece);
                let _ = begun.try_send(());
            })
            .await;
        (reply, all)
    });
    within(PATIENCE, "the first bytes", first.recv()).await.unwrap();
    edge.signal(Signal::TERM);
    let says = until("/readyz to change", async || {
        let reply = edge.admin("/readyz").await;
        (reply.status == 503).then(|| reply.text())
    })
    .await;
    assert!(says.contains("drain"), "{says}");
    until("the door to be shut", async || TcpStream::connect(edge.address("http")).await.is_err().then_some(())).await;
    assert!(!reading.is_finished(), "the download was over before the drain began");
    let (reply, all) = within(PATIENCE, "the download", reading).await.unwrap();
    assert_eq!(reply.unwrap().status, 200);
    assert!(all == body, "{} bytes", all.len());
    assert_eq!(edge.ended().await.code(), Some(0));
}

/// The adapter too, and an edge that nobody uses ends at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_processes_end_at_once_and_cleanly() {
    let upstream = Upstream::start().await;
    let mut adapter = Adapter::start(upstream.url("/"), Options::new()).await;
    let mut edge = Edge::join(&adapter, Options::new()).await;
    let told = std::time::Instant::now();
    assert_eq!(edge.terminate().await, Some(0));
    assert_eq!(adapter.close_stdin().await, Some(0));
    assert!(told.elapsed() < Duration::from_secs(8), "{:?}", told.elapsed());
}
