//! Live renditions pushed down a tree: every relay gets every segment while it still grows at the origin, it leaves the
//! adapter once, and nothing is missing when an inner relay goes or lies.

use super::{
    adapter::Adapter,
    liar::{Act, Liar, tell},
    origin::{Origin, Page, bytes},
    relay::{Relay, Setup, read},
    seen::{soon, until},
};
use bytes::Bytes;
use std::{collections::VecDeque, time::Duration};
use tokio::{sync::watch, task::JoinSet};
use weir_protocol::wire::{Accepted, PushClass, PushRequest, ReplyFrame, Request, RequestKind, Tick};
use weir_relay::{fetch::How, push::PushConfig};

const PLAYLIST: &str = "/live/v.m3u8";
/// One second: an origin that is polled every half second.
const TARGET: u64 = 1;
/// Segments in the playlist.
const LISTED: usize = 4;
/// 19 groups.
const LENGTH: usize = 300_000;
/// The numbering of a parent in a test's hands.
const EPOCH: u64 = 7;
/// What is there of a segment before its gate opens.
const HALF: usize = 100_000;

/// A channel that goes on when the test says so.
struct Channel {
    origin: Origin,
    listed: VecDeque<u64>,
    next: u64,
}

fn path(segment: u64) -> String {
    format!("/live/s{segment}.ts")
}

fn body(segment: u64) -> Bytes {
    bytes(LENGTH, u8::try_from(segment).unwrap())
}

impl Channel {
    fn start(origin: Origin) -> Self {
        let mut channel = Self { origin, listed: VecDeque::new(), next: 1 };
        channel.publish(Page::new(body(1)));
        channel
    }

    /// The next segment, as a page; its number.
    fn publish(&mut self, page: Page) -> u64 {
        let number = self.next;
        self.next += 1;
        self.origin.put(&path(number), page);
        self.listed.push_back(number);
        if self.listed.len() > LISTED {
            self.listed.pop_front();
        }
        let first = self.listed[0];
        let segments: String = self.listed.iter().map(|number| format!("#EXTINF:{TARGET},\ns{number}.ts\n")).collect();
        let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:{TARGET}\n#EXT-X-MEDIA-SEQUENCE:{first}\n{segments}");
        self.origin.put(PLAYLIST, Page::new(text));
        number
    }

    /// The next segment, of which only a part leaves the origin until the gate is opened.
    fn begin(&mut self) -> (u64, tokio::sync::watch::Sender<usize>) {
        let (page, gate) = Page::new(body(self.next)).gated(HALF);
        (self.publish(page), gate)
    }
}

/// A viewer at each relay, asking for the playlist again and again; all end with the handle.
fn viewers_of(relays: &[&Relay]) -> JoinSet<()> {
    let mut viewers = JoinSet::new();
    for relay in relays {
        let (fetch, key) = (relay.fetch.clone(), relay.key(PLAYLIST));
        viewers.spawn(async move {
            loop {
                let _ = fetch.get(&key, 0).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    viewers
}

/// A parent in a test's hands, and what its child is told.
struct Parent<'a> {
    adapter: &'a Adapter,
    connection: quinn::Connection,
    /// The child's subscription.
    id: u64,
    accepts: watch::Sender<bool>,
    liar: (Liar, JoinSet<()>, JoinSet<()>, JoinSet<()>),
}

impl<'a> Parent<'a> {
    /// The parent of one relay, which watches the channel and has subscribed.
    async fn of_one(adapter: &'a Adapter) -> (Self, Relay) {
        let liar = Liar::join(adapter).await;
        adapter.knows(1).await;
        let hanging = liar.hang(&adapter.key(PLAYLIST)).await;
        let (accepts, gate) = watch::channel(false);
        liar.will(vec![
            Act::Until(gate),
            Act::Frame(ReplyFrame::Accepted(Accepted { epoch: EPOCH, ancestors: Vec::new(), first: 1 })),
            Act::Again(ReplyFrame::Tick(Tick { root_age_ms: 0, next: 3, looked_ms: 0 })),
        ]);
        let relay = Relay::with(adapter, Setup::default()).await;
        let (connection, session) = liar.session(&relay).await;
        // What is pushed later is there by then.
        for key in [adapter.key(PLAYLIST), adapter.key(&path(1))] {
            read(&adapter.fetch.get(&key, 0).await.unwrap().entry).await.unwrap();
        }
        let viewers = viewers_of(&[&relay]);
        let subscribed = || liar.asked().into_iter().find_map(|request| request.subscribe);
        until("the relay at its parent", || subscribed().is_some()).await;
        let id = subscribed().unwrap().id;
        (Self { adapter, connection, id, accepts, liar: (liar, hanging, session, viewers) }, relay)
    }

    fn accept(&self) {
        self.accepts.send_replace(true);
    }

    /// Pushes what the adapter has of an object.
    async fn push(&self, path: &str, number: u64, class: PushClass) {
        let key = self.adapter.key(path);
        let served = self.adapter.fetch.get(&key, 0).await.unwrap();
        read(&served.entry).await.unwrap();
        let frames = self.liar.0.learn(&key).await;
        let push = PushRequest { id: self.id, epoch: EPOCH, number, class, begun_ms: 0 };
        tell(&self.connection, &Request::push(&key, served.entry.head.generation, 0, push), frames).await;
    }
}

async fn relays(adapter: &Adapter, count: usize) -> Vec<Relay> {
    let mut relays = Vec::new();
    for _ in 0..count {
        let push = PushConfig { children: 2, ..PushConfig::default() };
        relays.push(Relay::with(adapter, Setup { push, ..Setup::default() }).await);
    }
    for relay in &relays {
        relay.knows(count).await;
    }
    relays
}

/// Waits until each of them is fed by somebody.
async fn all_fed(adapter: &Adapter, relays: &[&Relay]) {
    let fed = || adapter.push.totals().1 + relays.iter().map(|relay| relay.push.totals().1).sum::<usize>();
    until("a place in the tree for everybody", || {
        adapter.push.relays(&adapter.key(PLAYLIST)) == relays.len() && fed() == relays.len()
    })
    .await;
}

/// Waits until the relay has been pushed this much of a segment, without asking for it.
async fn has(relay: &Relay, segment: u64, length: u64) {
    let key = relay.key(&path(segment));
    let there = async {
        loop {
            if let Some(served) = relay.fetch.held(&key, 0).await
                && served.entry.body.length() >= length
            {
                return served;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let served = soon(&format!("{length} bytes of segment {segment}"), there).await;
    if length == LENGTH as u64 {
        assert_eq!(soon("the whole segment", read(&served.entry)).await.unwrap(), body(segment));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_segment_reaches_everybody_as_it_grows_and_leaves_the_adapter_once() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let mut channel = Channel::start(adapter.origin.clone());
    let relays = relays(&adapter, 7).await;
    let all: Vec<&Relay> = relays.iter().collect();
    let _viewers = viewers_of(&all);
    all_fed(&adapter, &all).await;
    for _ in 0..2 {
        let number = channel.publish(Page::new(body(channel.next)));
        for relay in &all {
            has(relay, number, LENGTH as u64).await;
        }
    }
    let before = adapter.seen.sent();
    let (number, gate) = channel.begin();
    // The first chunk is at most 16 KiB; the rest of the half follows 5 ms after it began.
    for relay in &all {
        has(relay, number, HALF as u64).await;
    }
    gate.send_replace(LENGTH);
    for relay in &all {
        has(relay, number, LENGTH as u64).await;
    }
    assert_eq!(adapter.origin.requests(&path(number)), 1);
    until("the adapter's account", || adapter.seen.sent() >= before + LENGTH as u64).await;
    let sent = adapter.seen.sent() - before;
    // One copy, and a few playlists of some hundred bytes.
    assert!(sent < LENGTH as u64 + 20_000, "{sent} bytes left the adapter for a segment of {LENGTH}");
    for relay in &all {
        assert!(relay.seen.pushed("whole") >= 4, "{}", relay.seen.pushed("whole"));
        assert_eq!(relay.seen.failovers().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_pushed_answers_viewers_without_asking_anybody() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let mut channel = Channel::start(adapter.origin.clone());
    let relays = relays(&adapter, 3).await;
    let all: Vec<&Relay> = relays.iter().collect();
    let viewers = viewers_of(&all);
    all_fed(&adapter, &all).await;
    for _ in 0..2 {
        let number = channel.publish(Page::new(body(channel.next)));
        for relay in &all {
            has(relay, number, LENGTH as u64).await;
        }
    }
    // Fed and up to date: from now on a viewer's requests are nobody else's business, and each segment comes here once.
    // A body's bytes are counted after they were handed on: the count is true when nothing is under way.
    let came = async |relay: &Relay| {
        until("no fill", || relay.fetch.fills() == 0).await;
        relay.seen.filled("peer") + relay.seen.filled("adapter")
    };
    let mut before = Vec::new();
    for relay in &all {
        before.push(came(relay).await);
    }
    for _ in 0..4 {
        let number = channel.publish(Page::new(body(channel.next)));
        for relay in &all {
            has(relay, number, LENGTH as u64).await;
            let served = relay.fetch.get(&relay.key(&path(number)), 0).await.unwrap();
            assert!(matches!(served.how, How::Hit | How::Collapsed), "{:?}", served.how);
            assert_eq!(soon("the whole segment", read(&served.entry)).await.unwrap(), body(number));
        }
    }
    for (relay, before) in all.iter().zip(before) {
        // A small segment can be here before the playlist that lists it.
        soon("the newest playlist", async {
            let newest = format!("s{}.ts", channel.next - 1);
            loop {
                let served = relay.fetch.get(&relay.key(PLAYLIST), 0).await.unwrap();
                if std::str::from_utf8(&read(&served.entry).await.unwrap()).unwrap().contains(&newest) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        // Four segments, and playlists of some hundred bytes.
        let came = came(relay).await - before;
        assert!((4 * LENGTH as u64..4 * LENGTH as u64 + 20_000).contains(&came), "{came} bytes");
    }
    // Nobody watches: everybody leaves, and the origin is left alone.
    drop(viewers);
    until("the tree to be empty", || adapter.push.relays(&adapter.key(PLAYLIST)) == 0).await;
    until("nothing followed", || all.iter().all(|relay| relay.push.totals().0 == 0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inner_relay_that_goes_in_the_middle_of_a_segment_is_not_noticed() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let mut channel = Channel::start(adapter.origin.clone());
    let mut relays = relays(&adapter, 7).await;
    let viewers = viewers_of(&relays.iter().collect::<Vec<_>>());
    all_fed(&adapter, &relays.iter().collect::<Vec<_>>()).await;
    let number = channel.publish(Page::new(body(channel.next)));
    for relay in &relays {
        has(relay, number, LENGTH as u64).await;
    }
    let (number, gate) = channel.begin();
    for relay in &relays {
        has(relay, number, HALF as u64).await;
    }
    // The head: everybody else hangs below it.
    let feeds = |relay: &Relay| relay.push.totals().1;
    let head =
        relays.iter().position(|relay| relay.seen.filled("adapter") > LENGTH as u64 && feeds(relay) > 0).unwrap();
    let mut gone = relays.remove(head);
    gone.stop().await;
    gate.send_replace(LENGTH);
    for relay in &relays {
        has(relay, number, LENGTH as u64).await;
    }
    assert_eq!(adapter.origin.requests(&path(number)), 1);
    // And what comes after it, at once.
    let left: Vec<&Relay> = relays.iter().collect();
    all_fed(&adapter, &left).await;
    for _ in 0..2 {
        let number = channel.publish(Page::new(body(channel.next)));
        for relay in &left {
            has(relay, number, LENGTH as u64).await;
        }
        assert_eq!(adapter.origin.requests(&path(number)), 1);
    }
    drop(viewers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_overtakes_its_parents_word_is_not_lost() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let _channel = Channel::start(adapter.origin.clone());
    let (parent, relay) = Parent::of_one(&adapter).await;
    parent.push(PLAYLIST, 1, PushClass::Playlist).await;
    parent.push(&path(1), 2, PushClass::Segment).await;
    parent.accept();
    until("both objects", || relay.seen.pushed("whole") == 2).await;
    assert_eq!(relay.seen.pushed("lost_late"), 0);
    assert!(relay.seen.filled("peer") > LENGTH as u64, "{} bytes from the parent", relay.seen.filled("peer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_a_playlist_lists_anew_is_waited_for() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let mut channel = Channel::start(adapter.origin.clone());
    let (parent, relay) = Parent::of_one(&adapter).await;
    parent.accept();
    parent.push(PLAYLIST, 1, PushClass::Playlist).await;
    parent.push(&path(1), 2, PushClass::Segment).await;
    until("the first of all", || relay.seen.pushed("whole") == 2).await;
    // One look at the origin finds two segments.
    channel.publish(Page::new(body(2)));
    channel.publish(Page::new(body(3)));
    soon("the playlist at the adapter", async {
        let lists = async || {
            let served = adapter.fetch.get(&adapter.key(PLAYLIST), 0).await.unwrap();
            std::str::from_utf8(&read(&served.entry).await.unwrap()).unwrap().contains("s3.ts")
        };
        while !lists().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let before = relay.seen.filled("adapter");
    parent.push(PLAYLIST, 3, PushClass::Playlist).await;
    until("the playlist", || relay.seen.pushed("whole") == 3).await;
    // Both are asked for before their pushes begin.
    let viewers: Vec<_> = [2, 3]
        .map(|number| {
            let (fetch, key) = (relay.fetch.clone(), relay.key(&path(number)));
            tokio::spawn(async move { read(&fetch.get(&key, 0).await.unwrap().entry).await.unwrap() })
        })
        .into();
    tokio::time::sleep(Duration::from_millis(50)).await;
    parent.push(&path(2), 4, PushClass::Segment).await;
    parent.push(&path(3), 5, PushClass::Segment).await;
    for (number, viewer) in (2..).zip(viewers) {
        assert_eq!(soon("a segment", viewer).await.unwrap(), body(number));
    }
    let came = relay.seen.filled("adapter") - before;
    assert!(came < LENGTH as u64, "{came} bytes came from the adapter");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_that_holds_everything_back_is_left_and_made_a_leaf() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let mut channel = Channel::start(adapter.origin.clone());
    let liar = Liar::join(&adapter).await;
    adapter.knows(1).await;
    // The first to come is the head. It accepts everybody, says that all is well, and pushes nothing.
    let key = adapter.key(PLAYLIST);
    let _hanging = liar.hang(&key).await;
    liar.will(vec![
        Act::Frame(ReplyFrame::Accepted(Accepted { epoch: 7, ancestors: Vec::new(), first: 1 })),
        Act::Again(ReplyFrame::Tick(Tick { root_age_ms: 0, next: 1, looked_ms: 0 })),
    ]);
    let mut honest = Vec::new();
    for _ in 0..3 {
        honest.push(Relay::with(&adapter, Setup::default()).await);
    }
    let all: Vec<&Relay> = honest.iter().collect();
    let _viewers = viewers_of(&all);
    until("the relays at the liar", || {
        liar.asked().iter().filter(|request| request.kind == RequestKind::Subscribe).count() >= 2
    })
    .await;
    // The channel goes on; what the liar holds back comes from elsewhere, and in the end from honest parents.
    let pushed = |relay: &Relay| relay.seen.pushed("whole");
    soon("everybody fed by somebody honest", async {
        while all.iter().any(|relay| pushed(relay) < 3) {
            let number = channel.publish(Page::new(body(channel.next)));
            for relay in &all {
                assert_eq!(relay.body(&path(number)).await.unwrap(), body(number));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    })
    .await;
    assert!(all.iter().any(|relay| relay.seen.pushed("lost_late") > 0));
}
