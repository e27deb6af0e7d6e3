//! The first owner of an object lies. Whatever it does, the viewer gets the origin's bytes, the transfer goes on from
//! the last byte that verified, and the liar is not asked again.

use super::{
    adapter::Adapter,
    liar::{Act, Liar},
    origin::{Origin, Page, bytes},
    relay::{Relay, Setup, owned_by, read},
    seen::{soon, until},
};
use bytes::{BufMut, Bytes, BytesMut};
use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};
use weir_protocol::wire::{GROUP_SIZE, MAX_REPLY_FRAME, RefusalReason, ReplyFrame, Request};
use weir_relay::{
    clock::Clock,
    object::{TreeItem, plan},
};

/// 13 groups, the last one cut.
const LENGTH: usize = 200_001;
/// An edge lets a player wait so long.
const PLAYER_PATIENCE: Duration = Duration::from_millis(2500);
/// Frame types on the wire.
const LEAF: u8 = 7;
const HEAD: u8 = 2;
/// Bytes of an inner node.
const NODE: usize = 64;

/// An adapter, a liar that owns the object, and the relay that a viewer asks.
struct Scene {
    adapter: Adapter,
    liar: Liar,
    relay: Relay,
    path: String,
    body: Bytes,
    truth: Vec<ReplyFrame>,
    /// The same as an honest node sends it: a whole object in runs of groups.
    runs: Vec<ReplyFrame>,
}

/// What is expected of one lie.
struct Expected {
    /// Bytes that came from the liar and verified.
    verified: usize,
    /// Why it was given up, as metrics say it.
    why: &'static str,
    within: Duration,
}

fn gives(verified: usize, why: &'static str) -> Expected {
    Expected { verified, why, within: PLAYER_PATIENCE }
}

impl Scene {
    async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    async fn with(setup: Setup) -> Self {
        let adapter = Adapter::start(Origin::default(), 1).await;
        let liar = Liar::join(&adapter).await;
        let relay = Relay::with(&adapter, setup).await;
        relay.knows(2).await;
        let path = owned_by(&adapter, "a", &[liar.id, relay.id]);
        Self { adapter, liar, relay, path, body: bytes(LENGTH, 1), truth: Vec::new(), runs: Vec::new() }
    }

    /// The liar has learned the object as a whole.
    async fn whole() -> Self {
        let mut scene = Self::start().await;
        scene.adapter.origin.put(&scene.path, Page::new(scene.body.clone()));
        let served = scene.adapter.fetch.get(&scene.adapter.key(&scene.path), 0).await.unwrap();
        read(&served.entry).await.unwrap();
        until("no fill", || scene.adapter.fetch.fills() == 0).await;
        scene.runs = scene.liar.learn(&scene.adapter.key(&scene.path)).await;
        assert!(matches!(scene.runs[0], ReplyFrame::Whole { .. }));
        scene.truth = itemised(&scene.runs);
        scene
    }

    /// The liar has learned the object while it grew: a head, chunks, the record.
    async fn growing() -> Self {
        let mut scene = Self::start().await;
        let (page, gate) = Page::new(scene.body.clone()).gated(GROUP_SIZE);
        scene.adapter.origin.put(&scene.path, page);
        let key = scene.adapter.key(&scene.path);
        let (frames, ()) = tokio::join!(scene.liar.learn(&key), async {
            let served = scene.adapter.fetch.get(&key, 0).await.unwrap();
            soon("the first chunk", served.entry.body.beyond(0)).await;
            // The liar has its head by now or gets it from the fill that runs: the body cannot end before.
            until("the liar's request", || scene.adapter.fetch.fills() == 1).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            gate.send_replace(LENGTH);
        });
        scene.truth = frames;
        assert!(matches!(scene.truth[0], ReplyFrame::Head { .. }));
        assert!(matches!(scene.truth.last(), Some(ReplyFrame::Record(_))));
        scene
    }

    fn acts(&self) -> Vec<Act> {
        self.truth.iter().cloned().map(Act::Frame).collect()
    }

    /// Index and payload of the n-th frame with body bytes, and the body bytes before it.
    fn payload(&self, n: usize) -> (usize, Bytes, usize) {
        let mut with = self.truth.iter().enumerate().filter_map(|(at, frame)| Some((at, frame.payload()?.clone())));
        let before = with.by_ref().take(n).map(|(_, payload)| payload.len()).sum();
        let (at, payload) = with.next().unwrap();
        (at, payload, before)
    }

    /// The truth up to the n-th frame with body bytes, then these acts.
    fn until(&self, n: usize, then: impl IntoIterator<Item = Act>) -> (Vec<Act>, usize) {
        let (at, _, before) = self.payload(n);
        (self.acts().into_iter().take(at).chain(then).collect(), before)
    }

    /// The liar acts so, and nobody is worse off.
    async fn survives(self, acts: Vec<Act>, expected: Expected) {
        let Self { adapter, liar, relay, path, body, .. } = self;
        liar.will(acts);
        let started = Instant::now();
        assert!(relay.body(&path).await.as_ref() == Ok(&body), "the viewer got other bytes");
        assert!(started.elapsed() < expected.within, "took {:?}", started.elapsed());
        assert_eq!(liar.asked().len(), 1);
        match expected.verified {
            0 if relay.seen.failovers().is_empty() => assert_eq!(relay.seen.answered("peer", expected.why), 1),
            _ => assert_eq!(relay.seen.failovers(), [expected.why]),
        }
        let rest = (LENGTH - expected.verified) as u64;
        let more = (expected.verified % GROUP_SIZE) as u64;
        assert_eq!(relay.seen.filled("peer"), expected.verified as u64);
        assert_eq!(relay.seen.filled("adapter"), rest + more, "from the byte on, or from its group's start");
        assert_eq!(adapter.origin.requests(&path), 1);

        // It is marked: the next object that it owns comes from the adapter at once.
        let next = owned_by(&adapter, "next", &[liar.id, relay.id]);
        adapter.origin.put(&next, Page::new(bytes(1000, 2)));
        assert_eq!(relay.body(&next).await, Ok(bytes(1000, 2)));
        assert_eq!(liar.asked().len(), 1, "it was asked again");

        // What was put together from two sources is passed on whole, tree and all.
        let passed = soon("the relay's answer", liar.ask(&relay, &Request::get(&relay.key(&path)))).await;
        assert!(matches!(passed[0], ReplyFrame::Whole { .. }), "{:?}", passed[0]);
        let leaves: Vec<u8> = passed.iter().filter_map(ReplyFrame::payload).flatten().copied().collect();
        assert!(leaves == body, "the relay cannot pass on what it put together");
        let parents: usize = passed.iter().map(|frame| nodes_of(frame).len() / NODE).sum();
        assert_eq!(parents, LENGTH.div_ceil(GROUP_SIZE) - 1);
    }
}

fn nodes_of(frame: &ReplyFrame) -> Bytes {
    match frame {
        ReplyFrame::Groups { nodes, .. } => nodes.clone(),
        _ => Bytes::new(),
    }
}

/// A whole object's answer with a frame for each node and each group.
fn itemised(frames: &[ReplyFrame]) -> Vec<ReplyFrame> {
    let mut nodes: BytesMut = frames.iter().flat_map(nodes_of).collect();
    let mut groups: BytesMut = frames.iter().filter_map(ReplyFrame::payload).flatten().collect();
    let items = plan(LENGTH as u64, 0).map(|item| match item {
        TreeItem::Parent(_) => ReplyFrame::Parent(nodes.split_to(NODE).as_ref().try_into().unwrap()),
        TreeItem::Leaf { length, .. } => ReplyFrame::Leaf(groups.split_to(length).freeze()),
    });
    frames.iter().take(1).cloned().chain(items).collect()
}

fn refused() -> ReplyFrame {
    ReplyFrame::Refused { reason: RefusalReason::Overloaded, detail: String::new() }
}

fn flipped(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes.into()
}

fn raw(length: u32, kind: u8, body: &[u8]) -> Act {
    let mut out = BytesMut::new();
    out.put_u32(length);
    out.put_u8(kind);
    out.extend_from_slice(body);
    Act::Raw(out.freeze())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_tells_the_truth_is_enough() {
    let scene = Scene::whole().await;
    scene.liar.will(scene.acts());
    assert!(scene.relay.body(&scene.path).await == Ok(scene.body));
    assert_eq!((scene.relay.seen.filled("peer"), scene.relay.seen.asked("adapter")), (LENGTH as u64, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_byte_in_a_leaf_stops_at_its_group() {
    let scene = Scene::whole().await;
    let (at, payload, before) = scene.payload(5);
    let mut acts = scene.acts();
    acts[at] = Act::Frame(ReplyFrame::Leaf(flipped(&payload)));
    scene.survives(acts, gives(before, "corrupt")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_byte_in_the_first_leaf_leaves_nothing() {
    let scene = Scene::whole().await;
    let (at, payload, _) = scene.payload(0);
    let mut acts = scene.acts();
    acts[at] = Act::Frame(ReplyFrame::Leaf(flipped(&payload)));
    scene.survives(acts, gives(0, "corrupt")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_parent_is_noticed_before_its_leaves() {
    let scene = Scene::whole().await;
    let (leaf, _, before) = scene.payload(8);
    let at = leaf - 1;
    let ReplyFrame::Parent(mut pair) = scene.truth[at] else { panic!("the ninth leaf has a parent before it") };
    pair[40] ^= 0x80;
    let mut acts = scene.acts();
    acts[at] = Act::Frame(ReplyFrame::Parent(pair));
    scene.survives(acts, gives(before, "corrupt")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_byte_in_a_run_stops_at_its_group() {
    for bad in [0, 5 * GROUP_SIZE + 7, LENGTH - 1] {
        let scene = Scene::whole().await;
        let nodes: BytesMut = scene.runs.iter().flat_map(nodes_of).collect();
        let mut payload = scene.body.to_vec();
        payload[bad] ^= 4;
        let run = ReplyFrame::Groups { nodes: nodes.freeze(), payload: payload.into() };
        let acts = vec![Act::Frame(scene.runs[0].clone()), Act::Frame(run)];
        scene.survives(acts, gives(bad / GROUP_SIZE * GROUP_SIZE, "corrupt")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_with_other_nodes_gives_what_stands_before_them() {
    let whole: fn(&mut Vec<u8>) = |nodes| nodes[40] ^= 1;
    // The first node of the second half stands before its ninth group.
    let half: fn(&mut Vec<u8>) = |nodes| nodes[8 * NODE] ^= 1;
    let none: fn(&mut Vec<u8>) = Vec::clear;
    for (lie, before) in [(whole, 0), (half, 8 * GROUP_SIZE), (none, 0)] {
        let scene = Scene::whole().await;
        let mut nodes: Vec<u8> = scene.runs.iter().flat_map(nodes_of).collect();
        lie(&mut nodes);
        let run = ReplyFrame::Groups { nodes: nodes.into(), payload: scene.body.clone() };
        let acts = vec![Act::Frame(scene.runs[0].clone()), Act::Frame(run)];
        scene.survives(acts, gives(before, "corrupt")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_run_and_silence_gives_its_whole_groups() {
    let scene = Scene::whole().await;
    let nodes: BytesMut = scene.runs.iter().flat_map(nodes_of).collect();
    let run = ReplyFrame::Groups { nodes: nodes.freeze(), payload: scene.body.clone() };
    let half = [run.encode_header().unwrap(), scene.body.slice(..3 * GROUP_SIZE + 99)].concat();
    let acts = vec![Act::Frame(scene.runs[0].clone()), Act::Raw(half.into()), Act::Silence];
    scene.survives(acts, gives(3 * GROUP_SIZE, "timeout")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaves_in_another_order_or_of_another_length_are_refused() {
    let scene = Scene::whole().await;
    let (third, payload, before) = scene.payload(2);
    let mut acts = scene.acts();
    acts[third] = Act::Frame(ReplyFrame::Leaf(payload.slice(1..)));
    scene.survives(acts, gives(before, "corrupt")).await;

    let scene = Scene::whole().await;
    let (third, _, before) = scene.payload(2);
    let (fourth, _, _) = scene.payload(3);
    let mut acts = scene.acts();
    acts.swap(third, fourth);
    scene.survives(acts, gives(before, "corrupt")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_beyond_their_bounds_are_not_even_read() {
    for (length, kind) in [(GROUP_SIZE as u32 + 2, LEAF), (MAX_REPLY_FRAME as u32 + 1, LEAF), (u32::MAX, HEAD), (9, 99)]
    {
        let scene = Scene::whole().await;
        let (acts, before) = scene.until(3, [raw(length, kind, &[0; 100]), Act::Silence]);
        scene.survives(acts, Expected { within: Duration::from_millis(900), ..gives(before, "corrupt") }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_after_the_end_are_ignored() {
    let scene = Scene::whole().await;
    let mut acts = scene.acts();
    acts.extend([Act::Frame(ReplyFrame::Leaf(bytes(GROUP_SIZE, 9))), Act::Flood]);
    scene.liar.will(acts);
    assert!(scene.relay.body(&scene.path).await == Ok(scene.body));
    assert_eq!((scene.relay.seen.filled("peer"), scene.relay.seen.asked("adapter")), (LENGTH as u64, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_no_answer() {
    for (seed, bytes) in [(3, bytes(70_000, 3)), (0, vec![0; 70_000].into())] {
        let scene = Scene::whole().await;
        scene.survives(vec![Act::Raw(bytes)], gives(0, "corrupt")).await;
        assert!(seed < 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_survived() {
    let scene = Scene::whole().await;
    scene.survives(vec![Act::Silence], gives(0, "timeout")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_ever_is_survived_before_the_player_gives_up() {
    let scene = Scene::whole().await;
    scene.survives(vec![Act::Waits], gives(0, "timeout")).await;
    let scene = Scene::whole().await;
    scene.survives(vec![Act::Flood], gives(0, "timeout")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_body_and_silence_is_survived() {
    let scene = Scene::whole().await;
    let (acts, before) = scene.until(6, [Act::Silence]);
    scene.survives(acts, gives(before, "timeout")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_body_and_waiting_for_ever_is_survived() {
    let scene = Scene::whole().await;
    let (acts, before) = scene.until(6, [Act::Waits]);
    scene.survives(acts, gives(before, "timeout")).await;
}

/// Each group in time, and all of them together far too late: 16 KiB in a second and a half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drip_is_passed_over() {
    let scene = Scene::whole().await;
    let drip = |act| match act {
        Act::Frame(ReplyFrame::Leaf(_)) => vec![Act::Linger(Duration::from_millis(1500)), act],
        _ => vec![act],
    };
    let acts = scene.acts().into_iter().flat_map(drip).collect();
    let expected = Expected { within: Duration::from_secs(8), ..gives(2 * GROUP_SIZE, "timeout") };
    scene.survives(acts, expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_ends_anywhere_is_no_forgery() {
    let scene = Scene::whole().await;
    let (acts, before) = scene.until(4, []);
    scene.survives(acts, gives(before, "unreachable")).await;
    let scene = Scene::whole().await;
    let (acts, before) = scene.until(4, [raw(GROUP_SIZE as u32 + 1, LEAF, &[1; 50])]);
    scene.survives(acts, gives(before, "unreachable")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_in_the_middle_is_survived() {
    let scene = Scene::whole().await;
    scene.liar.will(scene.until(4, [Act::Reset]).0);
    // A reset may overtake bytes that were sent, so how far it came is open.
    assert!(scene.relay.body(&scene.path).await == Ok(scene.body));
    assert_eq!(scene.relay.seen.answered("peer", "corrupt"), 0);
    assert!(scene.relay.seen.failovers().iter().all(|why| *why == "unreachable"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_byte_in_a_chunk_stops_at_its_chunk() {
    for n in [0, 1] {
        let scene = Scene::growing().await;
        let (at, payload, before) = scene.payload(n);
        let ReplyFrame::Chunk { signature, .. } = scene.truth[at].clone() else {
            panic!("chunks carry a growing body")
        };
        let mut acts = scene.acts();
        acts[at] = Act::Frame(ReplyFrame::Chunk { signature, payload: flipped(&payload) });
        scene.survives(acts, gives(before, "corrupt")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_of_another_place_is_refused() {
    let scene = Scene::growing().await;
    let (first, ..) = scene.payload(0);
    let (_, _, before) = scene.payload(1);
    let mut acts = scene.acts();
    acts.insert(first + 1, Act::Frame(scene.truth[first].clone()));
    scene.survives(acts, gives(before, "corrupt")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_ended_early_under_its_own_record_is_refused() {
    let scene = Scene::growing().await;
    let record = scene.truth.last().unwrap().clone();
    let (acts, before) = scene.until(1, [Act::Frame(record)]);
    scene.survives(acts, gives(before, "corrupt")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_chunks_are_refused() {
    let scene = Scene::growing().await;
    let chunks = scene.truth.iter().filter(|frame| frame.payload().is_some()).count();
    let (at, _, before) = scene.payload(chunks - 1);
    let last = scene.truth[at].clone();
    let whole = before + last.payload().unwrap().len();
    let mut acts: Vec<Act> = scene.acts().into_iter().take(at + 1).collect();
    acts.extend([Act::Frame(last), Act::Silence]);
    scene.liar.will(acts);
    assert!(scene.relay.body(&scene.path).await == Ok(scene.body));
    assert_eq!(scene.relay.seen.filled("peer"), whole as u64);
    assert_eq!(scene.relay.seen.failovers(), ["corrupt"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_growing_body_that_stands_still_is_survived() {
    let scene = Scene::growing().await;
    let (acts, before) = scene.until(1, [Act::Silence]);
    scene.survives(acts, gives(before, "timeout")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_another_resource_is_refused() {
    let scene = Scene::whole().await;
    scene.adapter.origin.put("/other.ts", Page::new(bytes(50_000, 7)));
    let other = scene.adapter.key("/other.ts");
    read(&scene.adapter.fetch.get(&other, 0).await.unwrap().entry).await.unwrap();
    until("no fill", || scene.adapter.fetch.fills() == 0).await;
    let acts = scene.liar.learn(&other).await.into_iter().map(Act::Frame).collect();
    scene.survives(acts, gives(0, "corrupt")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_starts_in_the_middle_is_refused() {
    let scene = Scene::whole().await;
    let mut acts = scene.acts();
    acts.remove(0);
    scene.survives(acts, gives(0, "corrupt")).await;

    let scene = Scene::whole().await;
    let ReplyFrame::Whole { record, age_ms, .. } = scene.truth[0].clone() else { panic!("a whole object") };
    let mut acts = scene.acts();
    acts[0] = Act::Frame(ReplyFrame::Whole { record, age_ms, offset: GROUP_SIZE as u64 });
    scene.survives(acts, gives(0, "corrupt")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_modified_to_somebody_who_holds_nothing_is_refused() {
    let scene = Scene::whole().await;
    let ReplyFrame::Whole { record, age_ms, .. } = scene.truth[0].clone() else { panic!("a whole object") };
    scene.survives(vec![Act::Frame(ReplyFrame::NotModified { record, age_ms })], gives(0, "corrupt")).await;
}

fn live(sequence: u64) -> String {
    format!(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:{sequence}\n#EXTINF:4,\n{sequence}.ts\n"
    )
}

/// A path of a live playlist that the liar owns.
fn playlist(scene: &Scene) -> String {
    let owned = |path: &String| {
        weir_relay::mesh::rank(&scene.adapter.key(path).hash(), [scene.liar.id, scene.relay.id].iter())[0]
            == scene.liar.id
    };
    (0..1000).map(|n| format!("/live-{n}.m3u8")).find(owned).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_playlist_older_than_the_one_held_is_refused() {
    let scene = Scene::start().await;
    let path = playlist(&scene);
    scene.adapter.origin.put(&path, Page::new(live(7)));
    let old = scene.liar.learn(&scene.adapter.key(&path)).await;
    until("no fill", || scene.adapter.fetch.fills() == 0).await;
    scene.adapter.origin.put(&path, Page::new(live(8)));
    let served = scene.adapter.fetch.refresh(&scene.adapter.key(&path)).await.unwrap();
    assert_eq!(read(&served.entry).await, Ok(live(8).into()));
    until("no fill", || scene.adapter.fetch.fills() == 0).await;
    scene.liar.will(vec![Act::Frame(refused())]);
    assert_eq!(scene.relay.body(&path).await, Ok(live(8).into()));

    scene.liar.will(old.into_iter().map(Act::Frame).collect());
    let served = soon("a refresh", scene.relay.fetch.refresh(&scene.relay.key(&path))).await.unwrap();
    assert_eq!(read(&served.entry).await, Ok(live(8).into()));
    assert_eq!((scene.liar.asked().len(), scene.relay.seen.answered("peer", "bad_response")), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replayed_playlist_is_refused_however_young_it_claims_to_be() {
    // The viewer's relay lives a minute later than the rest.
    let clock = Clock::Manual(Arc::new(AtomicU64::new(Clock::System.now().0 + 60_000)));
    let scene = Scene::with(Setup { clock, ..Setup::default() }).await;
    let path = playlist(&scene);
    scene.adapter.origin.put(&path, Page::new(live(7)));
    let old = scene.liar.learn(&scene.adapter.key(&path)).await;
    until("no fill", || scene.adapter.fetch.fills() == 0).await;
    assert!(matches!(old[0], ReplyFrame::Whole { age_ms: 0..1000, .. }));
    scene.adapter.origin.put(&path, Page::new(live(30)));
    let served = scene.adapter.fetch.refresh(&scene.adapter.key(&path)).await.unwrap();
    assert_eq!(read(&served.entry).await, Ok(live(30).into()));
    until("no fill", || scene.adapter.fetch.fills() == 0).await;
    scene.liar.will(old.into_iter().map(Act::Frame).collect());
    assert_eq!(scene.relay.body(&path).await, Ok(live(30).into()));
    assert_eq!((scene.liar.asked().len(), scene.relay.seen.answered("peer", "bad_response")), (1, 1));
}
