//! One fill, many readers.

use crate::{
    edge::{Edge, Got, LIMIT, MIB, next, noise, request, until},
    upstream::{Reply, Step, gate},
};
use bytes::Bytes;
use http::Method;
use std::sync::Arc;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

const READERS: usize = 200;

/// `bytes` as steps that pause at `gate` after the first `before` bytes.
fn gated(bytes: &Bytes, before: usize, gate: &Arc<tokio::sync::Semaphore>) -> Vec<Step> {
    vec![Step::Send(bytes.slice(..before)), Step::Gate(gate.clone()), Step::Send(bytes.slice(before..))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_readers_of_a_cold_object_cause_one_request_and_none_waits_for_half_of_it() {
    let edge = Arc::new(Edge::new().await);
    let (bytes, open) = (noise(4 * MIB), gate());
    // The upstream goes on only when every reader has its first byte.
    edge.origin.always("/big.ts", Reply::steps(bytes.len() as u64, gated(&bytes, 64 * 1024, &open)));
    let (began, mut begun) = mpsc::channel(READERS);
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (edge, began) = (edge.clone(), began.clone());
        readers.spawn(async move {
            let mut response = edge.begin(request(Method::GET, "/big.ts", &[])).await;
            let mut body = next(&mut response.body).await.unwrap().unwrap().to_vec();
            began.send(()).await.unwrap();
            let rest = Got::read(response).await;
            body.extend_from_slice(&rest.body);
            Got { body, ..rest }
        });
    }
    for _ in 0..READERS {
        timeout(LIMIT, begun.recv()).await.unwrap().unwrap();
    }
    assert_eq!(edge.origin.sent(), 64 * 1024);
    open.add_permits(1);
    let mut collapsed = 0;
    while let Some(got) = timeout(LIMIT, readers.join_next()).await.unwrap() {
        let got = got.unwrap();
        collapsed += usize::from(got.cache().contains("collapsed"));
        got.is("fwd=uri-miss", &bytes);
    }
    assert_eq!((edge.origin.count("/big.ts"), collapsed), (1, READERS - 1));
    edge.idle().await;
    edge.get("/big.ts").await.is("hit", &bytes);
}

#[tokio::test]
async fn a_trickling_upstream_feeds_readers_while_it_trickles() {
    let edge = Edge::new().await;
    let bytes = noise(40_000);
    let pause = std::time::Duration::from_millis(10);
    let steps = bytes.chunks(1000).flat_map(|piece| [Step::Send(bytes.slice_ref(piece)), Step::Sleep(pause)]);
    edge.origin.always("/1.ts", Reply::steps(bytes.len() as u64, steps.collect()));
    let mut first = edge.begin(request(Method::GET, "/1.ts", &[])).await;
    let mut second = edge.begin(request(Method::GET, "/1.ts", &[])).await;
    for body in [&mut first.body, &mut second.body] {
        next(body).await.unwrap().unwrap();
        assert!(edge.origin.sent() < bytes.len() as u64 / 2);
    }
    let (first, second) = (Got::read(first).await, Got::read(second).await);
    assert!(first.cut.is_none() && second.cut.is_none());
    edge.get("/1.ts").await.is("hit", &bytes);
}

#[tokio::test]
async fn a_first_reader_that_leaves_takes_nothing_with_it() {
    let edge = Edge::new().await;
    let (bytes, open) = (noise(MIB), gate());
    edge.origin.always("/1.ts", Reply::steps(bytes.len() as u64, gated(&bytes, 1000, &open)));
    let mut first = edge.begin(request(Method::GET, "/1.ts", &[])).await;
    next(&mut first.body).await.unwrap().unwrap();
    let second = edge.begin(request(Method::GET, "/1.ts", &[])).await;
    drop(first);
    open.add_permits(1);
    Got::read(second).await.is("fwd=uri-miss; collapsed", &bytes);
    edge.idle().await;
    edge.get("/1.ts").await.is("hit", &bytes);
    assert_eq!(edge.origin.count("/1.ts"), 1);
}

#[tokio::test]
async fn a_reader_that_leaves_before_the_head_leaves_the_object_behind() {
    let edge = Edge::new().await;
    let open = gate();
    edge.origin.always("/1.ts", Reply::ok("segment").after(Step::Gate(open.clone())));
    let impatient = edge.routes.call_get("/1.ts");
    let mut impatient = Box::pin(impatient);
    tokio::select! {
        _ = &mut impatient => panic!("answered before the head came"),
        () = until(|| edge.origin.count("/1.ts") == 1) => {}
    }
    drop(impatient);
    open.add_permits(1);
    edge.idle().await;
    edge.get("/1.ts").await.is("hit", "segment");
}

/// The handler's own call, for a request that is given up.
trait CallGet {
    async fn call_get(&self, path: &str) -> weir_relay::http::Response;
}

impl CallGet for Arc<weir_edge::routes::Routes> {
    async fn call_get(&self, path: &str) -> weir_relay::http::Response {
        use weir_relay::http::Handler;
        self.call(request(Method::GET, path, &[])).wait().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn those_who_joined_a_failing_fill_compete_again() {
    let edge = Arc::new(Edge::new().await);
    let open = gate();
    let held = open.clone();
    edge.origin.on("/1.ts", move |_, n| match n {
        // The first answer is broken off inside its head.
        0 => Reply::ok("").with("x", "\u{0}").after(Step::Gate(held.clone())),
        _ => Reply::ok("good").with("cache-control", "max-age=60"),
    });
    let mut readers = JoinSet::new();
    for _ in 0..20 {
        let edge = edge.clone();
        readers.spawn(async move { edge.get("/1.ts").await });
    }
    until(|| edge.origin.count("/1.ts") == 1).await;
    // All are on their way; those that come later are answered by the second fill anyhow.
    open.add_permits(1);
    let mut failed = 0;
    while let Some(got) = readers.join_next().await {
        let got = got.unwrap();
        if got.status == 404 {
            failed += 1;
        } else {
            got.is("", "good");
        }
    }
    assert!(failed <= 1, "nobody is refused but the one whose own fill failed: {failed}");
    assert_eq!(edge.origin.count("/1.ts"), 2);
}
