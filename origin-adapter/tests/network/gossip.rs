//! Announcements in a network: what the publisher takes down is heard of, and a member that floods is not.

use super::{
    adapter::Adapter,
    origin::{Origin, Page, bytes},
    relay::{Relay, Setup},
    seen::{resident, soon, until},
};
use libp2p::multiaddr::Protocol;
use std::time::{Duration, Instant};
use weir_protocol::{
    gossip::{MAX_ANNOUNCEMENT_BODY, RelayStatus, Topic, TopicKind},
    keys::SigningKey,
    reach::{Reach, ReachClass},
    resource::CanonicalPath,
    takedown::{SignedTakedown, Takedown, Target},
};
use weir_relay::{clock::Clock, quic::multiaddr_of};

const MIB: u64 = 1 << 20;
/// How long the flood lasts.
const FLOOD: Duration = Duration::from_secs(4);
/// Announcements.
const MOST: u64 = 16_000;
/// Between one object and the next.
const PAUSE: Duration = Duration::from_millis(20);
/// What the honest nodes of this process may grow by under it.
const GROWTH: u64 = 48 * MIB;

async fn gossiping(adapter: &Adapter) -> Relay {
    Relay::with(adapter, Setup { gossips: true, ..Setup::default() }).await
}

fn film(path: &str) -> Target {
    Target::path(CanonicalPath::parse(path).unwrap())
}

fn taken_down(relay: &Relay, path: &str) -> bool {
    relay.network.withheld(&relay.key(path), Clock::System.now()).is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_down_is_announced() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let listener = Relay::join(&adapter).await;
    let topic = Topic { publisher: listener.network.publisher, kind: TopicKind::Takedown };
    let mut heard = soon("a subscription", listener.control.subscribe(topic)).await.unwrap();
    let at = multiaddr_of(adapter.address).with(Protocol::P2p(*adapter.relay.peer_id()));
    soon("a control connection", listener.control.dial(at)).await.unwrap();
    // Subscriptions are exchanged after the connection; until then the adapter has nobody to tell.
    let told = async {
        for n in 0.. {
            adapter.takedowns.take_down(film(&format!("/film/{n}/")), None).unwrap();
            if let Ok(message) = tokio::time::timeout(Duration::from_millis(300), heard.recv()).await {
                return message.unwrap();
            }
        }
        unreachable!("counts for ever");
    };
    let message = soon("an announcement", told).await;
    assert_eq!(message.author, *adapter.relay.peer_id());
    let offered = listener.network.offer_takedowns(&[message.body.into()], Clock::System.now());
    assert!(offered.forged.is_none(), "{offered:?}");
    assert!(taken_down(&listener, "/film/0/1.ts") || taken_down(&listener, "/film/1/1.ts"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_floods_gossip_keeps_nobody_from_being_served() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let (a, b) = (gossiping(&adapter).await, gossiping(&adapter).await);
    let flooder = Relay::join(&adapter).await;
    for relay in [&a, &b] {
        relay.knows(3).await;
    }
    let at = |relay: &Relay| multiaddr_of(relay.address).with(Protocol::P2p(*relay.id.peer_id()));
    for relay in [&a, &b] {
        // Let in once the adapter has said who it is.
        let dialling = async {
            while flooder.control.dial(at(relay)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        soon("a control connection", dialling).await;
    }
    let publisher = a.network.publisher;
    let topics = [TopicKind::Status, TopicKind::Takedown, TopicKind::Announce].map(|kind| Topic { publisher, kind });
    for topic in topics {
        soon("a subscription", flooder.control.subscribe(topic)).await.unwrap();
    }
    let (before, began) = (resident(), Instant::now());
    let forged = |n: u64| {
        let takedown = Takedown { publisher, serial: Clock::System.now(), until: None, target: film(&format!("/{n}")) };
        SignedTakedown::sign(takedown, &SigningKey::from_bytes(&[99; 32])).bytes().to_vec()
    };
    let (mut served, mut said, mut sent) = (0u64, 0u64, 0u64);
    while began.elapsed() < FLOOD {
        // The flooder lives in this process too and keeps what it has said: beyond so many it only fetches.
        for _ in 0..if said < MOST { 200 } else { 0 } {
            // Moves about, so that the epoch grows; then nonsense; then forgeries.
            let reach = Reach::new(ReachClass::Direct, ["203.0.113.9:7".parse().unwrap()]);
            let status = RelayStatus { reach, capacity: u64::MAX, load: 0, epoch: said };
            for (topic, body) in [
                (topics[0], status.encode().unwrap()),
                (topics[0], vec![0xff; MAX_ANNOUNCEMENT_BODY]),
                (topics[1], forged(said)),
                (topics[2], vec![7; MAX_ANNOUNCEMENT_BODY]),
            ] {
                sent += u64::from(flooder.control.publish(topic, body).await.is_ok());
                said += 1;
            }
        }
        let path = format!("/film/{served}.ts");
        let body = bytes(2_000, served as u8);
        adapter.origin.put(&path, Page::new(body.clone()));
        for relay in [&a, &b] {
            assert_eq!(relay.body(&path).await.as_deref(), Ok(&body[..]));
        }
        served += 1;
        // What is served stays in memory too: about a hundred objects are enough.
        tokio::time::sleep(PAUSE).await;
    }
    assert!(sent > 500 && served > 3, "{sent} of {said} announcements sent, {served} objects");
    assert!(!taken_down(&a, "/0") && !taken_down(&b, "/0"), "a forgery counts nowhere");
    // What the publisher says is still heard.
    adapter.takedowns.take_down(film("/film/"), None).unwrap();
    for relay in [&a, &b] {
        until("the takedown", || taken_down(relay, "/film/0.ts")).await;
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH, "{} MiB, {sent} sent, {served} served", grown / MIB);
}
