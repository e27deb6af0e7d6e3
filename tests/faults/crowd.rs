//! Many readers of one cold object.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;

use super::{
    content::bytes,
    harness::{
        fetch::Fetch,
        process::Options,
        upstream::{Script, Upstream},
        wait::{PATIENCE, within},
        weir::{Adapter, Edge, Weir},
    },
};

const LENGTH: usize = 4 << 20;
const READERS: usize = 200;

/// A viewer sees: bytes after a fraction of a second, although the origin takes two seconds for all of them. The origin
/// sees one request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_readers_of_a_cold_object_cost_one_request_and_wait_for_nothing() {
    let upstream = Upstream::start().await;
    let body = bytes(LENGTH, 1);
    upstream.put("/cold.ts", Script::body(body.clone()).trickle(LENGTH / 64, Duration::from_millis(2000 / 64)));
    let adapter = Adapter::start(upstream.url("/"), Options::new()).await;
    let edges = Edge::three(&adapter, &Options::new()).await;
    let upstream = Arc::new(upstream);
    let latest = Arc::new(AtomicU64::new(0));
    let mut readers = JoinSet::new();
    for n in 0..READERS {
        let url = edges[n % edges.len()].url("/cold.ts");
        let (upstream, latest, body) = (upstream.clone(), latest.clone(), body.clone());
        readers.spawn(async move {
            let mut got = 0;
            let mut same = true;
            let reply = Fetch::new(&url)
                .stream(|piece| {
                    if got == 0 {
                        latest.fetch_max(upstream.sent("/cold.ts"), Ordering::Relaxed);
                    }
                    same &= body[got..].starts_with(&piece);
                    got += piece.len();
                })
                .await
                .unwrap();
            assert!(reply.status == 200 && same && got == LENGTH, "{} {same} {got}", reply.status);
        });
    }
    while let Some(read) = within(PATIENCE, "all readers", readers.join_next()).await {
        read.unwrap();
    }
    assert_eq!(upstream.requests("/cold.ts"), 1);
    let sent = latest.load(Ordering::Relaxed);
    assert!(sent < LENGTH as u64 / 2, "the last reader had its first byte after {sent} bytes of {LENGTH}");
    let (mut from_adapter, mut from_peers) = (0.0, 0.0);
    for edge in &edges {
        let metrics = edge.metrics().await;
        from_adapter += metrics.sum("weir_origin_bytes_total", &[]);
        from_peers += metrics.sum("weir_peer_bytes_total", &["direction=\"received\""]);
        assert_eq!(metrics.sum("weir_integrity_failures_total", &[]), 0.0);
    }
    assert_eq!((from_adapter, from_peers), (LENGTH as f64, 2.0 * LENGTH as f64), "one copy down, two across");
}
