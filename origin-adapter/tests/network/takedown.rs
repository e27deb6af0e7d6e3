//! What a publisher takes down, at relays that the adapter does not reach too.

use super::{
    adapter::Adapter,
    liar::Liar,
    origin::{Origin, Page, bytes},
    relay::Relay,
    seen::{soon, until},
};
use bytes::Bytes;
use quinn::VarInt;
use weir_protocol::{
    keys::SigningKey,
    resource::CanonicalPath,
    takedown::{SignedTakedown, Takedown, Target},
    wire::{ControlFrame, Hello, RefusalReason, ReplyFrame, Request},
};
use weir_relay::{access::Withheld, clock::Clock, fetch::FetchError};

fn path(path: &str) -> Target {
    Target::path(CanonicalPath::parse(path).unwrap())
}

fn taken_down(relay: &Relay, path: &str) -> bool {
    relay.network.withheld(&relay.key(path), Clock::System.now()) == Some(Withheld::TakenDown)
}

/// The relay's connection to the adapter is cut, and it does not come back.
async fn cut_off(adapter: &Adapter, relay: &Relay, left: usize) {
    let link = soon("the link", relay.links.get(adapter.relay, &[])).await.unwrap();
    link.close(VarInt::from_u32(9), b"cut");
    adapter.knows(left).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takedown_reaches_relays_that_only_other_relays_reach() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let (a, b, c) = (Relay::join(&adapter).await, Relay::join(&adapter).await, Relay::join(&adapter).await);
    for path in ["/film/1.ts", "/film/1.ts?q=2", "/films.ts"] {
        adapter.origin.put(path, Page::new(bytes(1000, 1)));
        for relay in [&a, &b, &c] {
            assert!(relay.body(path).await.is_ok());
        }
    }
    for relay in [&a, &b, &c] {
        until("a grant", || relay.network.own_grant().is_some()).await;
    }
    // a - b - c in a row, and only a still hears the adapter.
    soon("a link", b.links.get(a.id, &[a.address])).await.unwrap();
    soon("a link", c.links.get(b.id, &[b.address])).await.unwrap();
    until("a to know b", || a.network.shown_grants() >= 1).await;
    until("b to know c", || b.network.shown_grants() >= 1).await;
    cut_off(&adapter, &b, 2).await;
    cut_off(&adapter, &c, 1).await;
    for (one, other) in [(&a, &c), (&c, &a)] {
        if let Ok(link) = one.links.get(other.id, &[]).await {
            link.close(VarInt::from_u32(9), b"cut");
        }
    }

    adapter.takedowns.take_down(path("/film/"), None).unwrap();
    for relay in [&a, &b, &c] {
        until("the takedown", || taken_down(relay, "/film/1.ts")).await;
        for path in ["/film/1.ts", "/film/1.ts?q=2"] {
            assert_eq!(relay.try_get(path).await.err(), Some(FetchError::Withheld(Withheld::TakenDown)), "{path}");
            until("the purge", || relay.fetch.store().get(&relay.key(path).hash()).is_none()).await;
        }
        assert!(relay.body("/films.ts").await.is_ok(), "its neighbour stays");
    }
    assert!(adapter.fetch.get(&adapter.key("/film/1.ts"), 0).await.is_err());
    // Asked by another relay, none of them has it.
    let asker = Liar::join(&adapter).await;
    a.knows(2).await;
    let answer = soon("an answer", asker.ask(&a, &Request::get(&a.key("/film/1.ts")))).await;
    assert!(matches!(answer[0], ReplyFrame::Refused { reason: RefusalReason::Withheld, .. }), "{answer:?}");

    adapter.takedowns.lift(path("/film/")).unwrap();
    for relay in [&a, &b, &c] {
        until("the lifting", || !taken_down(relay, "/film/1.ts")).await;
    }
    assert!(a.body("/film/1.ts").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_later_is_told_what_is_taken_down() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let (there, alone) = (Relay::join(&adapter).await, Relay::join(&adapter).await);
    until("a grant", || alone.network.own_grant().is_some()).await;
    cut_off(&adapter, &alone, 1).await;
    adapter.takedowns.take_down(path("/film/"), None).unwrap();
    until("the takedown", || taken_down(&there, "/film/1.ts")).await;
    let late = Relay::join(&adapter).await;
    until("the takedown", || taken_down(&late, "/film/1.ts")).await;
    // Also by a relay alone: the adapter never tells this one.
    assert!(!taken_down(&alone, "/film/1.ts"));
    let known = there.network.withdrawn().book().since(0);
    soon("a link", there.links.get(alone.id, &[alone.address])).await.unwrap();
    until("the takedown", || taken_down(&alone, "/film/1.ts")).await;
    assert_eq!(alone.network.withdrawn().book().since(0), known);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_that_comes_back_remembers_what_it_took_down() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    adapter.takedowns.take_down(path("/film/"), None).unwrap();
    let adapter = adapter.restart().await;
    let targets = || adapter.takedowns.in_force().into_iter().map(|takedown| takedown.target).collect::<Vec<_>>();
    assert_eq!(targets(), [path("/film/")]);
    let relay = Relay::join(&adapter).await;
    until("the takedown", || taken_down(&relay, "/film/1.ts")).await;
    adapter.takedowns.lift(path("/film/")).unwrap();
    until("the lifting", || !taken_down(&relay, "/film/1.ts")).await;
    assert!(targets().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replayed_takedown_changes_nothing_and_a_forged_one_ends_the_connection() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let relay = Relay::join(&adapter).await;
    let liar = Liar::join(&adapter).await;
    relay.knows(2).await;
    adapter.takedowns.take_down(path("/film/"), None).unwrap();
    until("the takedown", || taken_down(&relay, "/film/1.ts")).await;
    let old = relay.network.withdrawn().book().since(0);
    adapter.takedowns.lift(path("/film/")).unwrap();
    until("the lifting", || !taken_down(&relay, "/film/1.ts")).await;
    let hello = ControlFrame::Hello(Hello::new("liar"));
    let replay = [hello.clone(), ControlFrame::Takedowns(old), ControlFrame::Ping(1)];
    soon("the answer to a Ping", liar.control(&relay, &replay)).await;
    assert!(!taken_down(&relay, "/film/1.ts"));

    let signed = |key: &SigningKey| {
        let publisher = adapter.publisher.root.publisher_id();
        let serial = Clock::System.now();
        let takedown = Takedown { publisher, serial, until: None, target: path("/") };
        SignedTakedown::sign(takedown, key).bytes().clone()
    };
    // A key that this publisher does not list: it could be one that is not known yet, and changes nothing.
    let unknown = [
        hello.clone(),
        ControlFrame::Takedowns(vec![signed(&SigningKey::from_bytes(&[99; 32]))]),
        ControlFrame::Ping(2),
    ];
    soon("the answer to a Ping", liar.control(&relay, &unknown)).await;
    // A signature that is wrong was never checked by its sender.
    let mut wrong = signed(&adapter.publisher.signing).to_vec();
    *wrong.last_mut().unwrap() ^= 1;
    let (connection, mut send, _heard) = liar.dial(&relay).await;
    for frame in [hello, ControlFrame::Takedowns(vec![Bytes::from(wrong)])] {
        send.write_chunk(frame.encode().unwrap()).await.unwrap();
    }
    soon("the end", connection.closed()).await;
    assert!(!taken_down(&relay, "/film/1.ts"));
    adapter.origin.put("/film/1.ts", Page::new(bytes(1000, 1)));
    assert!(relay.body("/film/1.ts").await.is_ok());
}
