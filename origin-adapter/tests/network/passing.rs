//! What relays pass on and never keep: private and forbidden responses, and what is longer than a node keeps.

use super::{
    adapter::Adapter,
    origin::{Origin, Page, bytes},
    relay::{Relay, Setup, owned_by, read},
    seen::{soon, until},
};
use http::header;
use std::{
    future::poll_fn,
    time::{Duration, Instant},
};
use weir_relay::fetch::How;

const MIB: usize = 1 << 20;

async fn two(adapter: &Adapter, longest: u64) -> [Relay; 2] {
    let setup = || Setup { max_object_bytes: longest, ..Setup::default() };
    let relays = [Relay::with(adapter, setup()).await, Relay::with(adapter, setup()).await];
    for relay in &relays {
        relay.knows(2).await;
    }
    relays
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_stored_is_passed_through_an_owner_and_kept_by_nobody() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let [a, b] = two(&adapter, 64 << 20).await;
    let path = owned_by(&adapter, "p", &[a.id, b.id]);
    adapter.origin.put(&path, Page::new(bytes(300_000, 1)).header(header::CACHE_CONTROL, "no-store"));
    for times in 1..=2 {
        assert!(b.body(&path).await == Ok(bytes(300_000, 1)));
        assert_eq!(adapter.origin.requests(&path), times);
    }
    for fetch in [&adapter.fetch, &a.fetch, &b.fetch] {
        assert!(fetch.held(&b.key(&path), 0).await.is_none());
        until("no fill", || fetch.fills() == 0).await;
    }
    assert_eq!(b.seen.filled("peer"), 600_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_playlist_that_may_not_be_stored_reaches_viewers_through_relays() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let [a, b] = two(&adapter, 64 << 20).await;
    for lines in [1, 5000] {
        let text =
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n".to_owned() + &"#EXTINF:4,\na.ts\n".repeat(lines);
        for relay in [&a, &b] {
            let path = format!("/{lines}.m3u8");
            adapter.origin.put(&path, Page::new(text.clone()).header(header::CACHE_CONTROL, "no-store"));
            assert!(relay.body(&path).await == Ok(text.clone().into()), "{lines} lines");
            assert!(relay.fetch.held(&relay.key(&path), 0).await.is_none());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_of_a_private_body_holds_its_source_back() {
    const LENGTH: usize = 24 * MIB;
    let adapter = Adapter::start(Origin::default(), 1).await;
    let [a, b] = two(&adapter, 64 << 20).await;
    let path = owned_by(&adapter, "p", &[a.id, b.id]);
    adapter.origin.put(&path, Page::new(bytes(LENGTH, 1)).header(header::CACHE_CONTROL, "private"));
    let served = b.try_get(&path).await.unwrap();
    let mut reader = served.entry.body.reader(0, None);
    soon("the first byte", served.entry.body.beyond(0)).await;
    // Nobody reads: what has arrived stands still at what the windows hold, far from the end.
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = adapter.seen.filled("origin");
        if now == before {
            break;
        }
        before = now;
    }
    assert!(before < LENGTH as u64 * 3 / 4, "{before} bytes were taken for a reader who reads nothing");
    let mut all = 0;
    while let Some(piece) = soon("more", poll_fn(|cx| reader.poll_next(cx))).await {
        all += piece.unwrap().len();
    }
    assert_eq!(all, LENGTH);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_longer_than_the_adapter_keeps_is_passed_on() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let [a, b] = two(&adapter, 64 << 20).await;
    let path = owned_by(&adapter, "big", &[a.id, b.id]);
    let body = bytes(5 * MIB, 1);
    adapter.origin.put(&path, Page::new(body.clone()));
    assert!(b.body(&path).await == Ok(body));
    assert!(b.fetch.held(&b.key(&path), 0).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_longer_than_a_relay_keeps_is_passed_on_under_either_evidence() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let [a, b] = two(&adapter, MIB as u64).await;
    let path = owned_by(&adapter, "big", &[a.id, b.id]);
    let body = bytes(3 * MIB, 1);
    adapter.origin.put(&path, Page::new(body.clone()));
    // First while it grows, in signed chunks; then whole, under its record.
    for _ in 0..2 {
        let served = b.try_get(&path).await.unwrap();
        assert!(soon("the body", read(&served.entry)).await == Ok(body.clone()));
        assert_eq!(served.how, How::Miss);
        until("no fill", || adapter.fetch.fills() == 0).await;
    }
    assert!(b.fetch.held(&b.key(&path), 0).await.is_none() && a.fetch.held(&a.key(&path), 0).await.is_none());
    assert_eq!(adapter.origin.requests(&path), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_body_is_broken_off_and_not_kept() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let [a, b] = two(&adapter, 64 << 20).await;
    let path = owned_by(&adapter, "endless", &[a.id, b.id]);
    adapter.origin.put(&path, Page::new(bytes(6 * MIB, 1)).unannounced());
    let served = b.try_get(&path).await.unwrap();
    // At once: no relay waits for another one that waits for it.
    let started = Instant::now();
    assert!(soon("the end", read(&served.entry)).await.is_err());
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(adapter.fetch.held(&b.key(&path), 0).await.is_none() && b.fetch.held(&b.key(&path), 0).await.is_none());
}
