//! What requests select and change across a network: variants, passed requests, purges.

use super::{
    adapter::Adapter,
    origin::{Origin, Page},
    relay::{Relay, Setup, owned_by, read},
    seen::{soon, until},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::sync::Arc;
use weir_protocol::wire::{Purge, PurgeScope};
use weir_relay::{
    fetch::{Ask, How, Spreading},
    http::Body,
    source::Asked,
};

async fn two(adapter: &Adapter) -> [Relay; 2] {
    let relays = [Relay::with(adapter, Setup::default()).await, Relay::with(adapter, Setup::default()).await];
    for relay in &relays {
        relay.knows(2).await;
    }
    relays
}

fn asked(fields: &[(&'static str, &str)]) -> Asked {
    let fields =
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
    Asked::get(fields.collect::<HeaderMap>())
}

async fn ask(relay: &Relay, path: &str, fields: &[(&'static str, &str)]) -> (How, Vec<u8>) {
    let ask = Ask::viewer(relay.key(path), Arc::new(asked(fields)));
    let served = soon("an answer", relay.fetch.get_for(&ask)).await.unwrap();
    let body = soon("the body", read(&served.entry)).await.unwrap();
    until("the fill put away", || relay.fetch.fills() == 0).await;
    (served.how, body.to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_variant_is_fetched_once_for_the_network_and_given_to_those_who_select_it() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let [a, b] = two(&adapter).await;
    let path = owned_by(&adapter, "v", &[a.id, b.id]);
    let page =
        |body: &'static str| Page::new(body).header(header::VARY, "X-Kind").header(header::CACHE_CONTROL, "max-age=60");
    adapter.origin.put(&path, page("one"));
    assert_eq!(ask(&b, &path, &[("x-kind", "1")]).await, (How::Miss, b"one".to_vec()));
    assert_eq!(ask(&b, &path, &[("x-kind", " 1 ")]).await, (How::Hit, b"one".to_vec()));
    adapter.origin.put(&path, page("two"));
    assert_eq!(ask(&b, &path, &[("x-kind", "2")]).await, (How::VariantMiss, b"two".to_vec()));
    assert_eq!(ask(&a, &path, &[("x-kind", "1")]).await.1, b"one");
    assert_eq!(ask(&a, &path, &[("x-kind", "2")]).await.1, b"two");
    assert_eq!(ask(&b, &path, &[("x-kind", "1")]).await, (How::Hit, b"one".to_vec()));
    assert_eq!(adapter.origin.requests(&path), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passed_request_outdates_what_the_whole_network_holds_before_it_is_answered() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    adapter.fetch.spread_by(adapter.directory.clone());
    let [a, b] = two(&adapter).await;
    let path = owned_by(&adapter, "p", &[a.id, b.id]);
    adapter.origin.put(&path, Page::new("old").header(header::CACHE_CONTROL, "max-age=60"));
    for relay in [&a, &b] {
        assert_eq!(ask(relay, &path, &[]).await.1, b"old");
    }
    adapter.origin.put(&path, Page::new("new").header(header::CACHE_CONTROL, "max-age=60"));
    let posted = Asked::pass(Method::POST, HeaderMap::new(), Body::full("change"));
    let posting = Ask::viewer(b.key(&path), Arc::new(posted));
    let answer = soon("the answer", b.fetch.pass(&posting)).await.unwrap();
    assert_eq!(answer.how, How::Passed);
    for relay in [&a, &b] {
        assert_eq!(ask(relay, &path, &[]).await.1, b"new");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_reaches_every_relay_and_is_counted() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    adapter.fetch.spread_by(adapter.directory.clone());
    let [a, b] = two(&adapter).await;
    for path in ["/film/1.ts", "/film/2.ts", "/other.ts"] {
        adapter.origin.put(path, Page::new("x").header(header::CACHE_CONTROL, "max-age=60"));
        for relay in [&a, &b] {
            ask(relay, path, &[]).await;
        }
    }
    let purge = Purge {
        publisher: a.network.publisher,
        number: 0,
        scope: PurgeScope::Prefix,
        target: "/film/".into(),
        soft: false,
    };
    let (here, there) = soon("the purge", adapter.fetch.purge_everywhere(&purge)).await;
    assert_eq!((here, there), (2, Spreading { told: 2, done: 2, count: 4 }));
    for relay in [&a, &b] {
        assert!(relay.fetch.held(&relay.key("/film/1.ts"), 0).await.is_none());
        assert!(relay.fetch.held(&relay.key("/other.ts"), 0).await.is_some());
    }
}
