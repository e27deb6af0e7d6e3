//! Nodes come late, go away, and come back.

use super::{
    adapter::Adapter,
    liar::{Liar, ask},
    origin::{Origin, Page, bytes},
    relay::{Relay, owned_by, read},
    seen::{soon, until},
};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use weir_protocol::wire::{ReplyFrame, Request};
use weir_relay::{fetch::How, mesh::rank};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_joins_late_is_fed_by_those_who_were_there() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let (a, b) = (Relay::join(&adapter).await, Relay::join(&adapter).await);
    adapter.origin.put("/x.ts", Page::new(bytes(MIB, 1)));
    for relay in [&a, &b] {
        assert!(relay.body("/x.ts").await == Ok(bytes(MIB, 1)));
    }
    let sent = adapter.seen.sent();
    let late = Relay::join(&adapter).await;
    for relay in [&a, &b, &late] {
        relay.knows(3).await;
    }
    assert!(late.body("/x.ts").await == Ok(bytes(MIB, 1)));
    // Where it is itself the first owner now, it asks the adapter, as every first owner does.
    match rank(&late.key("/x.ts").hash(), [a.id, b.id, late.id].iter())[0] == late.id {
        true => assert_eq!(late.seen.filled("adapter"), MIB as u64),
        false => assert_eq!((late.seen.filled("peer"), adapter.seen.sent()), (MIB as u64, sent)),
    }
    assert_eq!(adapter.origin.requests("/x.ts"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_that_dies_in_mid_transfer_is_replaced_by_a_relay_that_holds_the_object() {
    let mut adapter = Adapter::start(Origin::default(), 1).await;
    let (a, b) = (Relay::join(&adapter).await, Relay::join(&adapter).await);
    a.knows(2).await;
    b.knows(2).await;
    // b owns it, so b asks the adapter; a got it all in time.
    let path = owned_by(&adapter, "d", &[b.id, a.id]);
    let body = bytes(2 * MIB, 1);
    let (page, gate) = Page::new(body.clone()).gated(MIB);
    adapter.origin.put(&path, page);
    let at_b = b.try_get(&path).await.unwrap();
    until("half", || at_b.entry.body.length() >= MIB as u64).await;
    adapter.stop().await;
    // Nobody has the rest: the viewer is told by a broken body, not by a short one.
    let broken = soon("the end", read(&at_b.entry)).await;
    assert!(broken.is_err());
    assert!(b.fetch.held(&b.key(&path), 0).await.is_none(), "half a body was kept");
    drop(gate);

    // The same, but another relay has the whole.
    let adapter = Adapter::start(Origin::default(), 1).await;
    let (a, b) = (Relay::join(&adapter).await, Relay::join(&adapter).await);
    a.knows(2).await;
    b.knows(2).await;
    let path = owned_by(&adapter, "d", &[a.id, b.id]);
    adapter.origin.put(&path, Page::new(body.clone()));
    assert!(a.body(&path).await == Ok(body.clone()));
    let mut adapter = adapter;
    adapter.stop().await;
    assert!(b.body(&path).await == Ok(body));
    assert_eq!(b.seen.filled("peer"), 2 * MIB as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_dies_in_mid_transfer_costs_only_the_rest() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let (mut a, b) = (Relay::join(&adapter).await, Relay::join(&adapter).await);
    a.knows(2).await;
    b.knows(2).await;
    let path = owned_by(&adapter, "o", &[a.id, b.id]);
    let body = bytes(2 * MIB, 1);
    let (page, gate) = Page::new(body.clone()).gated(MIB);
    adapter.origin.put(&path, page);
    let served = b.try_get(&path).await.unwrap();
    until("half", || served.entry.body.length() == MIB as u64).await;
    a.stop().await;
    gate.send_replace(2 * MIB);
    assert!(soon("the body", read(&served.entry)).await == Ok(body));
    assert_eq!((b.seen.filled("peer"), b.seen.filled("adapter")), (MIB as u64, MIB as u64));
    assert_eq!(b.seen.failovers(), ["unreachable"]);
    assert_eq!(adapter.origin.requests(&path), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_adapter_never_continues_another_body() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let relay = Relay::join(&adapter).await;
    let (page, gate) = Page::new(bytes(MIB, 1)).gated(MIB / 2);
    adapter.origin.put("/r.ts", page);
    let served = relay.try_get("/r.ts").await.unwrap();
    until("half", || served.entry.body.length() == (MIB / 2) as u64).await;
    adapter.origin.put("/r.ts", Page::new(bytes(MIB, 2)));
    let adapter = adapter.restart().await;
    drop(gate);
    // The body that had begun ends broken, and the next request gets the new one, whole.
    assert!(soon("the end", read(&served.entry)).await.is_err());
    let again = relay.body("/r.ts").await;
    assert!(again == Ok(bytes(MIB, 2)), "{:?}", again.map(|body| body.len()));
    assert!(relay.try_get("/r.ts").await.unwrap().entry.head.generation > served.entry.head.generation);
    soon("the link", relay.links.get(adapter.relay, &[adapter.address])).await.unwrap();
    adapter.knows(1).await;
    assert_eq!(relay.network.members(), [relay.id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_origin_breaks_the_body_and_nothing_else() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let (a, b) = (Relay::join(&adapter).await, Relay::join(&adapter).await);
    a.knows(2).await;
    b.knows(2).await;
    let path = owned_by(&adapter, "b", &[a.id, b.id]);
    adapter.origin.put(&path, Page::new(bytes(MIB, 1)).breaks_at(MIB / 2));
    assert!(b.body(&path).await.is_err());
    assert!(b.seen.answered("peer", "corrupt") == 0 && !b.seen.failovers().contains(&"corrupt"));
    // Nobody else can have that body, so trying to go on costs the origin nothing.
    assert_eq!(adapter.origin.requests(&path), 1);
    adapter.origin.put(&path, Page::new(bytes(MIB, 1)));
    assert!(b.body(&path).await == Ok(bytes(MIB, 1)), "the next request is a new one, at once");
    assert_eq!(adapter.origin.requests(&path), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_that_shuts_down_does_not_dissolve_its_network() {
    let mut adapter = Adapter::start(Origin::default(), 1).await;
    let mut relays = Vec::new();
    for _ in 0..6 {
        relays.push(Relay::join(&adapter).await);
    }
    for relay in &relays {
        relay.knows(6).await;
    }
    adapter.stop().await;
    for relay in &relays {
        // The link's end comes after every list that was sent on it.
        let link = soon("the last link", relay.links.get(adapter.relay, &[])).await;
        assert!(link.is_err(), "the adapter is gone");
        assert_eq!(relay.network.members().len(), 6, "it was told that the others have left");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_served_while_the_adapter_is_away() {
    let mut adapter = Adapter::start(Origin::default(), 1).await;
    let (a, b) = (Relay::join(&adapter).await, Relay::join(&adapter).await);
    a.knows(2).await;
    b.knows(2).await;
    let paths: Vec<String> = (0..8).map(|n| format!("/{n}.ts")).collect();
    for path in &paths {
        adapter.origin.put(path, Page::new(bytes(100_000, 1)));
        assert!(a.body(path).await == Ok(bytes(100_000, 1)));
    }
    adapter.stop().await;
    // Also by a relay that has none of it, all at once, and within one dial's time-out, not one after another.
    let started = Instant::now();
    let mut viewers = JoinSet::new();
    for path in &paths {
        let (fetch, key) = (b.fetch.clone(), b.key(path));
        viewers.spawn(async move { read(&fetch.get(&key, 0).await.unwrap().entry).await });
    }
    while let Some(got) = soon("every body", viewers.join_next()).await {
        assert!(got.unwrap() == Ok(bytes(100_000, 1)));
    }
    assert!(started.elapsed() < Duration::from_millis(4500), "{:?}", started.elapsed());
    // From now on the adapter is known to be away.
    let started = Instant::now();
    assert_eq!(a.try_get(&paths[0]).await.unwrap().how, How::Hit);
    assert!(started.elapsed() < Duration::from_millis(100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_comes_back_at_the_same_address_stays_a_member() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let watcher = Relay::join(&adapter).await;
    // Two sessions of one relay from one address: the second begins before the first is over, as after kill -9.
    let relay = Liar::join(&adapter).await;
    watcher.knows(2).await;
    let (second, _control) = relay.join_again(&adapter).await;
    adapter.origin.put("/m.ts", Page::new(bytes(1000, 1)));
    let request = Request::get(&adapter.key("/m.ts"));
    // Answered once the second session is known.
    soon("an answer", ask(&second, &request)).await;
    relay.leave();
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(adapter.directory.relays().contains(&relay.id), "it was taken out by its former session");
    }
    assert!(!matches!(soon("an answer", ask(&second, &request)).await[0], ReplyFrame::Refused { .. }));
    assert!(watcher.network.members().contains(&relay.id));
}
