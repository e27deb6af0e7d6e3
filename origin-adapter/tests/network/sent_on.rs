//! The adapter names relays that have what it is asked for, instead of sending it into their region once more.

use super::{
    adapter::Adapter,
    liar::{Act, Liar},
    origin::{Origin, Page, bytes},
    relay::{Relay, owned_by},
};
use http::header::CACHE_CONTROL;
use weir_protocol::wire::{Follows, Found, Purge, PurgeScope, ReplyFrame, Request, RequestKind};
use weir_relay::fetch::Spread;

const LENGTH: usize = 200_001;

fn named(frames: &[ReplyFrame]) -> Option<&[Found]> {
    match frames {
        [ReplyFrame::Elsewhere(found)] => Some(found),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_to_own_what_another_has_is_sent_there_and_the_adapter_sends_one_copy() {
    const OBJECTS: usize = 6;
    let adapter = Adapter::start(Origin::default(), 1).await;
    let old = Relay::join(&adapter).await;
    let setup = super::relay::Setup::default();
    let new = weir_protocol::ids::RelayId::from_public_key(&setup.quic.identity.public());
    let paths: Vec<_> = (0..OBJECTS).map(|n| owned_by(&adapter, &format!("e{n}"), &[new, old.id])).collect();
    for path in &paths {
        adapter.origin.put(path, Page::new(bytes(LENGTH, 1)));
        assert!(old.body(path).await == Ok(bytes(LENGTH, 1)));
    }
    let new = Relay::with(&adapter, setup).await;
    new.knows(2).await;
    for path in &paths {
        assert!(new.body(path).await == Ok(bytes(LENGTH, 1)));
        assert_eq!(adapter.origin.requests(path), 1);
    }
    assert_eq!(new.seen.answered("adapter", "elsewhere"), OBJECTS as u64);
    assert_eq!((new.seen.filled("adapter"), new.seen.filled("peer")), (0, (OBJECTS * LENGTH) as u64));
    assert_eq!(adapter.seen.sent(), (OBJECTS * LENGTH) as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_named_relay_that_says_nothing_costs_little_time_and_the_adapter_sends_it() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let liar = Liar::join(&adapter).await;
    let relay = Relay::join(&adapter).await;
    relay.knows(2).await;
    let path = owned_by(&adapter, "n", &[relay.id, liar.id]);
    adapter.origin.put(&path, Page::new(bytes(LENGTH, 1)));
    liar.learn(&relay.key(&path)).await;
    liar.will(vec![Act::Silence]);
    assert!(relay.body(&path).await == Ok(bytes(LENGTH, 1)));
    let seen = &relay.seen;
    assert_eq!((seen.answered("adapter", "elsewhere"), seen.answered("adapter", "ok")), (1, 1));
    assert_eq!(seen.filled("adapter"), LENGTH as u64);
    assert_eq!(liar.asked().iter().map(|request| request.kind).collect::<Vec<_>>(), [RequestKind::Held]);
    assert_eq!(adapter.origin.requests(&path), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_served_through_another_is_named_when_that_one_has_died() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let (mut owner, asked) = (Relay::join(&adapter).await, Relay::join(&adapter).await);
    let setup = super::relay::Setup::default();
    let next = weir_protocol::ids::RelayId::from_public_key(&setup.quic.identity.public());
    for relay in [&owner, &asked] {
        relay.knows(2).await;
    }
    let path = owned_by(&adapter, "d", &[owner.id, next, asked.id]);
    adapter.origin.put(&path, Page::new(bytes(LENGTH, 1)));
    assert!(asked.body(&path).await == Ok(bytes(LENGTH, 1)));
    assert_eq!(asked.seen.filled("peer"), LENGTH as u64);
    owner.stop().await;
    adapter.knows(1).await;
    let next = Relay::with(&adapter, setup).await;
    next.knows(2).await;
    assert!(next.body(&path).await == Ok(bytes(LENGTH, 1)));
    assert_eq!((next.seen.answered("adapter", "elsewhere"), next.seen.filled("peer")), (1, LENGTH as u64));
    assert_eq!(adapter.seen.sent(), LENGTH as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_those_are_named_whose_copy_answers_the_request() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let (one, other) = (Liar::join(&adapter).await, Liar::join(&adapter).await);
    let long = || Page::new(bytes(LENGTH, 1));
    let pages = [
        ("/long.ts", long(), true),
        ("/short.ts", Page::new(bytes(60_000, 1)), false),
        ("/private.ts", long().header(CACHE_CONTROL, "no-store"), false),
        ("/stale.ts", long().header(CACHE_CONTROL, "max-age=0"), false),
        ("/missing.ts", long().status(404), true),
    ];
    for (path, page, named_then) in pages {
        adapter.origin.put(path, page);
        let request = Request { follows: Some(Follows::default()), ..Request::get(&adapter.key(path)) };
        let first = one.ask_adapter(&request).await;
        assert_eq!(named(&first), None, "{path} has been sent to nobody");
        let second = other.ask_adapter(&request).await;
        assert_eq!(named(&second).is_some(), named_then, "{path}");
        assert_eq!(named(&other.ask_adapter(&Request::get(&adapter.key(path))).await), None, "it follows nobody");
    }
    let request = Request { follows: Some(Follows::default()), ..Request::get(&adapter.key("/long.ts")) };
    let found = other.ask_adapter(&request).await;
    let found = named(&found).unwrap();
    assert_eq!(found.iter().map(|found| found.relay).collect::<Vec<_>>(), [one.id], "nobody is sent to itself");
    assert!(found.iter().all(|found| !found.addresses.is_empty()));
    let Some(ReplyFrame::Whole { record, .. }) = one.learn(&adapter.key("/long.ts")).await.into_iter().next() else {
        panic!("it is whole");
    };
    let record = record
        .verify(&adapter.publisher.ring(), &adapter.key("/long.ts"), weir_relay::clock::Clock::System.now())
        .unwrap();
    let holds = Request { have: Some(record.body().generation), ..request.clone() };
    let renewed = other.ask_adapter(&holds).await;
    assert!(matches!(renewed[..], [ReplyFrame::NotModified { .. }]), "what is held is confirmed by the adapter alone");
    let purge = Purge {
        publisher: adapter.publisher.root.publisher_id(),
        number: 1,
        scope: PurgeScope::All,
        target: String::new(),
        soft: false,
    };
    let spreading = adapter.directory.spread(&purge);
    assert_eq!(named(&one.ask_adapter(&request).await), None, "purged");
    drop(spreading);
}
