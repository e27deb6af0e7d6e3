//! An honest network: how bytes flow, and how often each is fetched.

use super::{
    adapter::Adapter,
    origin::{Origin, Page, bytes},
    relay::{Relay, Setup, owned_by, read},
    seen::{soon, until},
};
use http::{StatusCode, header};
use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use weir_protocol::ids::RelayId;
use weir_relay::{
    fetch::{Fetch, How},
    object::Evidence,
    upload::UploadLimit,
};

const MIB: usize = 1 << 20;

async fn three(adapter: &Adapter) -> [Relay; 3] {
    let relays = [Relay::join(adapter).await, Relay::join(adapter).await, Relay::join(adapter).await];
    for relay in &relays {
        relay.knows(3).await;
    }
    relays
}

/// Waits until fills have left their registers: until then a request joins them.
async fn idle(fetchers: &[&Fetch]) {
    until("no fill", || fetchers.iter().all(|fetch| fetch.fills() == 0)).await;
}

fn ids(relays: &[&Relay]) -> Vec<RelayId> {
    relays.iter().map(|relay| relay.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_flow_through_two_relays_while_the_origin_still_sends() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let [a, b, c] = three(&adapter).await;
    let path = owned_by(&adapter, "s", &ids(&[&a, &b, &c]));
    let body = bytes(MIB, 1);
    let (page, gate) = Page::new(body.clone()).gated(MIB / 8);
    adapter.origin.put(&path, page);
    let served = c.try_get(&path).await.unwrap();
    // The origin stands at an eighth; all of it arrives at the second relay.
    until("an eighth", || served.entry.body.length() >= (MIB / 8) as u64).await;
    assert_eq!(served.entry.body.length(), (MIB / 8) as u64);
    assert!(matches!(served.entry.head.evidence, Evidence::Head(_)));
    gate.send_replace(MIB);
    assert!(soon("the body", read(&served.entry)).await == Ok(body));
    assert_eq!(adapter.origin.requests(&path), 1);
    assert_eq!((c.seen.filled("peer"), c.seen.asked("adapter")), (MIB as u64, 0));
    assert_eq!((a.seen.filled("adapter"), a.seen.asked("peer"), b.seen.asked("adapter")), (MIB as u64, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_viewers_at_many_relays_cost_one_upstream_request_and_one_transfer() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let mut relays = Vec::new();
    for _ in 0..5 {
        relays.push(Relay::join(&adapter).await);
    }
    for relay in &relays {
        relay.knows(5).await;
    }
    let body = bytes(MIB, 1);
    let (page, gate) = Page::new(body.clone()).gated(MIB / 4);
    adapter.origin.put("/hot.ts", page);
    let mut viewers = JoinSet::new();
    for relay in &relays {
        for _ in 0..20 {
            let (fetch, key) = (relay.fetch.clone(), relay.key("/hot.ts"));
            viewers.spawn(async move {
                let served = fetch.get(&key, 0).await.unwrap();
                read(&served.entry).await
            });
        }
    }
    for relay in &relays {
        until("a fill at each relay", || relay.seen.filled("peer") + relay.seen.filled("adapter") > 0).await;
    }
    gate.send_replace(MIB);
    while let Some(got) = soon("every viewer", viewers.join_next()).await {
        assert!(got.unwrap() == Ok(body.clone()));
    }
    assert_eq!(adapter.origin.requests("/hot.ts"), 1);
    let from_adapter: u64 = relays.iter().map(|relay| relay.seen.filled("adapter")).sum();
    let from_peers: u64 = relays.iter().map(|relay| relay.seen.filled("peer")).sum();
    assert_eq!((from_adapter, from_peers), (MIB as u64, 4 * MIB as u64));
    until("the adapter's account", || adapter.seen.sent() == MIB as u64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_around_a_group_arrive_and_are_held() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let [a, b, c] = three(&adapter).await;
    for length in [0, 1, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 32 * 1024, 256 * 1024 + 1] {
        for announced in [true, false] {
            let path = owned_by(&adapter, &format!("l{length}{announced}"), &ids(&[&a, &b, &c]));
            let body = bytes(length, 5);
            let page = Page::new(body.clone());
            adapter.origin.put(&path, if announced { page } else { page.unannounced() });
            for relay in [&c, &b, &a] {
                assert!(relay.body(&path).await.as_ref() == Ok(&body), "{length} {announced}");
            }
            let again = c.try_get(&path).await.unwrap();
            assert_eq!((again.how, again.entry.head.length), (How::Hit, Some(length as u64)));
            assert!(again.entry.record().is_some());
            assert_eq!(adapter.origin.requests(&path), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_signed_too() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let [a, b, c] = three(&adapter).await;
    let path = owned_by(&adapter, "gone", &ids(&[&a, &b, &c]));
    let served = c.try_get(&path).await.unwrap();
    assert_eq!(served.entry.head.status, StatusCode::NOT_FOUND);
    assert_eq!(read(&served.entry).await, Ok("nothing here".into()));
    idle(&[&c.fetch]).await;
    assert!(matches!(served.entry.head.evidence, Evidence::Head(_) | Evidence::Record(_)));
    assert_eq!(c.try_get(&path).await.unwrap().how, How::Hit);
    assert_eq!(adapter.origin.requests(&path), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unchanged_playlist_is_renewed_without_its_bytes() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let relay = Relay::join(&adapter).await;
    let text = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:4,\na.ts\n";
    for (path, page) in [("/tagged.m3u8", Page::new(text).etag("\"1\"")), ("/plain.m3u8", Page::new(text))] {
        adapter.origin.put(path, page);
        let first = relay.try_get(path).await.unwrap();
        assert_eq!(read(&first.entry).await, Ok(text.into()));
        let filled = relay.seen.filled("adapter");
        idle(&[&adapter.fetch, &relay.fetch]).await;
        // The adapter looks again, then the relay.
        soon("the adapter's look", adapter.fetch.refresh(&adapter.key(path))).await.unwrap();
        let again = soon("the relay's look", relay.fetch.refresh(&relay.key(path))).await.unwrap();
        assert_eq!(again.how, How::Revalidated);
        assert_eq!(again.entry.head.generation, first.entry.head.generation);
        assert!(again.entry.head.freshness.created.0 >= first.entry.head.freshness.created.0);
        assert_eq!(relay.seen.filled("adapter"), filled, "the bytes were sent again");
        assert_eq!(read(&again.entry).await, Ok(text.into()));
        assert_eq!(adapter.origin.requests(path), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_body_is_a_new_generation_at_every_relay() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let [a, b, c] = three(&adapter).await;
    let path = owned_by(&adapter, "v", &ids(&[&a, &b, &c]));
    let no_cache = |body| Page::new(body).header(header::CACHE_CONTROL, "no-cache");
    adapter.origin.put(&path, no_cache(bytes(70_000, 1)));
    let first = c.try_get(&path).await.unwrap();
    assert!(read(&first.entry).await == Ok(bytes(70_000, 1)));
    idle(&[&adapter.fetch, &a.fetch, &c.fetch]).await;
    adapter.origin.put(&path, no_cache(bytes(50_000, 2)));
    let second = c.try_get(&path).await.unwrap();
    assert!(read(&second.entry).await == Ok(bytes(50_000, 2)));
    assert!(second.entry.head.generation > first.entry.head.generation);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_keeps_to_its_upload_limit_and_nobody_takes_it_for_dead() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    // A quarter of a megabyte a second; the body takes longer than a silent peer is given.
    let upload = UploadLimit::new(NonZeroU64::new(250_000).unwrap(), 20);
    let slow = Relay::with(&adapter, Setup { upload, ..Setup::default() }).await;
    let relay = Relay::join(&adapter).await;
    // Until it has heard of the other it refuses it.
    slow.knows(2).await;
    relay.knows(2).await;
    let path = owned_by(&adapter, "a", &[slow.id, relay.id]);
    let body = bytes(500_000, 1);
    adapter.origin.put(&path, Page::new(body.clone()));
    assert!(slow.body(&path).await == Ok(body.clone()));
    let begun = Instant::now();
    assert!(relay.body(&path).await == Ok(body));
    let took = begun.elapsed();
    assert_eq!((relay.seen.filled("peer"), relay.seen.filled("adapter")), (500_000, 0), "took {took:?}");
    assert_eq!(relay.seen.failovers().len(), 0);
    // Less what goes at once after a pause, and the last piece.
    assert!(took >= Duration::from_millis(1600), "{took:?}");
    let transport = relay.links.transport();
    assert!(transport.totals.received_bytes > 500_000 && transport.totals.sent_packets > 0, "{transport:?}");
    assert_eq!(transport.mtus.len(), 2);
}
