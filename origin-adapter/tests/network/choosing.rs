//! Whom a relay asks when owners are silent, slow, busy or of another opinion.

use super::{
    adapter::Adapter,
    liar::{Act, Liar},
    origin::{Origin, Page, bytes},
    relay::{Relay, Setup, owned_by, read},
    seen::soon,
};
use bytes::Bytes;
use std::time::Duration;
use weir_protocol::{
    time::UnixMillis,
    wire::{RefusalReason, ReplyFrame, Request},
};
use weir_relay::{
    clock::Clock,
    fetch::Hedge,
    mesh::{DEFAULT_WEIGHT, Member},
};

const LENGTH: usize = 200_001;

/// A liar that owns the objects at all `paths` first, an honest second owner, and the relay that viewers ask.
struct Scene {
    adapter: Adapter,
    liar: Liar,
    second: Relay,
    asked: Relay,
    body: Bytes,
}

impl Scene {
    async fn start() -> Self {
        let adapter = Adapter::start(Origin::default(), 1).await;
        let liar = Liar::join(&adapter).await;
        let (second, asked) = (Relay::join(&adapter).await, Relay::join(&adapter).await);
        for relay in [&second, &asked] {
            relay.knows(3).await;
        }
        Self { adapter, liar, second, asked, body: bytes(LENGTH, 1) }
    }

    fn path(&self, name: &str) -> String {
        let path = owned_by(&self.adapter, name, &[self.liar.id, self.second.id, self.asked.id]);
        self.adapter.origin.put(&path, Page::new(self.body.clone()));
        path
    }

    /// The second owner has it already.
    async fn held(&self, name: &str) -> String {
        let path = self.path(name);
        self.liar.will(vec![Act::Frame(ReplyFrame::Refused {
            reason: RefusalReason::UpstreamFailed,
            detail: String::new(),
        })]);
        assert!(self.second.body(&path).await.as_ref() == Ok(&self.body));
        path
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_owner_is_outrun_by_the_next_one_and_asked_last_from_then_on() {
    let scene = Scene::start().await;
    let mut paths = Vec::new();
    for n in 0..8 {
        paths.push(scene.held(&format!("s{n}")).await);
    }
    let before = scene.liar.asked().len();
    scene.liar.will(vec![Act::Silence]);
    for path in &paths {
        assert!(scene.asked.body(path).await.as_ref() == Ok(&scene.body));
    }
    let (hedges, asked) = (scene.asked.seen.hedges(), scene.liar.asked().len() - before);
    // Which of the two owners is asked first depends on their names: the silent one may never be.
    assert!((asked == 0 || !hedges.is_empty()) && hedges.iter().all(|how| *how == Hedge::Won), "{hedges:?} of {asked}");
    assert!(asked < paths.len(), "it is asked first every time, after {asked} silences");
    assert_eq!((scene.asked.seen.asked("adapter"), scene.asked.seen.filled("peer")), (0, 8 * LENGTH as u64));
    assert!(paths.iter().all(|path| scene.adapter.origin.requests(path) == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_asked_beside_the_adapter_and_the_adapter_beside_nobody() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let liar = Liar::join(&adapter).await;
    let relay = Relay::join(&adapter).await;
    relay.knows(2).await;
    // The only other source is the adapter: a late owner is waited for until it is given up.
    let path = owned_by(&adapter, "o", &[liar.id, relay.id]);
    adapter.origin.put(&path, Page::new(bytes(LENGTH, 1)));
    liar.will(vec![Act::Silence]);
    assert!(relay.body(&path).await == Ok(bytes(LENGTH, 1)));
    assert_eq!((relay.seen.hedges(), relay.seen.answered("peer", "timeout")), (Vec::new(), 1));
    // The adapter waits for a slow origin, and the other owner is not asked meanwhile.
    let path = owned_by(&adapter, "a", &[relay.id, liar.id]);
    let (page, gate) = Page::new(bytes(LENGTH, 1)).gated(0);
    adapter.origin.put(&path, page);
    let asked = liar.asked().len();
    let served = relay.try_get(&path).await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    gate.send_replace(LENGTH);
    assert!(soon("the body", read(&served.entry)).await == Ok(bytes(LENGTH, 1)));
    assert_eq!((relay.seen.hedges(), liar.asked().len()), (Vec::new(), asked));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_owner_takes_over_and_the_adapter_gives_one_copy() {
    let scene = Scene::start().await;
    for (n, act) in [Act::Silence, Act::Waits].into_iter().enumerate() {
        let path = scene.path(&format!("t{n}"));
        scene.liar.will(vec![act]);
        assert!(scene.asked.body(&path).await.as_ref() == Ok(&scene.body));
        assert_eq!(scene.adapter.origin.requests(&path), 1);
    }
    assert_eq!(scene.asked.seen.filled("adapter"), 0);
    assert_eq!(scene.second.seen.filled("adapter"), 2 * LENGTH as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_owner_sends_whoever_comes_next_to_another_owner() {
    let scene = Scene::start().await;
    let path = owned_by(&scene.adapter, "b", &[scene.second.id, scene.liar.id, scene.asked.id]);
    let (page, gate) = Page::new(scene.body.clone()).gated(LENGTH / 2);
    scene.adapter.origin.put(&path, page);
    let request = Request { hops: 1, ..Request::get(&scene.second.key(&path)) };
    // As many readers as a line of the default weight serves; none of them reads.
    let deaf = soon("the readers", scene.liar.ask_and_not_read(&scene.second, &request, 16)).await;
    let answer = until_refused(&scene, &request).await;
    assert!(matches!(answer[..], [ReplyFrame::Refused { reason: RefusalReason::Overloaded, .. }]), "{answer:?}");
    // The next owner is the liar, which has nothing: the adapter is the last to be asked.
    scene
        .liar
        .will(vec![Act::Frame(ReplyFrame::Refused { reason: RefusalReason::UpstreamFailed, detail: String::new() })]);
    let asked = scene.liar.asked().len();
    let served = scene.asked.try_get(&path).await.unwrap();
    assert_eq!(scene.asked.seen.answered("peer", "busy"), 1);
    assert_eq!(scene.liar.asked().len(), asked + 1);
    gate.send_replace(LENGTH);
    assert!(soon("the body", read(&served.entry)).await == Ok(scene.body));
    assert_eq!(scene.adapter.origin.requests(&path), 1);
    drop(deaf);
}

/// The readers' requests arrive one by one.
async fn until_refused(scene: &Scene, request: &Request) -> Vec<ReplyFrame> {
    soon("a refusal", async {
        loop {
            let asked = tokio::time::timeout(Duration::from_millis(100), scene.liar.ask(&scene.second, request));
            if let Ok(answer) = asked.await {
                return answer;
            }
        }
    })
    .await
}

/// Each takes the other for the only owner, and viewers ask both at once. Nobody waits in vain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_of_different_opinions_do_not_wait_for_each_other() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let (a, b) = (Relay::outside(&adapter, Setup::default()).await, Relay::outside(&adapter, Setup::default()).await);
    let member =
        |relay: &Relay| (Member::new(relay.id, "default".into(), DEFAULT_WEIGHT, UnixMillis(0)), vec![relay.address]);
    for relay in [&a, &b] {
        soon("a link to the adapter", relay.links.get(adapter.relay, &[adapter.address])).await.unwrap();
    }
    adapter.knows(2).await;
    for relay in [&a, &b] {
        relay.knows(2).await;
    }
    let now = Clock::System.now();
    a.network.set_members(u64::MAX, vec![member(&b)], now);
    b.network.set_members(u64::MAX, vec![member(&a)], now);
    for n in 0..20 {
        let path = format!("/circle-{n}.ts");
        adapter.origin.put(&path, Page::new(bytes(LENGTH, n)));
        let (at_a, at_b) = tokio::join!(a.body(&path), b.body(&path));
        assert!(at_a == Ok(bytes(LENGTH, n)) && at_b == Ok(bytes(LENGTH, n)));
        assert_eq!(adapter.origin.requests(&path), 1);
    }
    for relay in [&a, &b] {
        assert_eq!(relay.seen.answered("peer", "timeout"), 0);
        assert!(relay.seen.failovers().is_empty() && relay.seen.asked("peer") > 0);
    }
}
