//! Relays that take from other relays, or pass bytes to one another for the sake of it.

use std::time::Duration;
use tokio::task::JoinSet;
use weir_ledger::settle::{PriceKind, Reason};
use weir_protocol::{
    RelayId,
    resource::ResourceKey,
    statement::Kind,
    wire::{FrameDecoder, ReplyFrame, Request},
};
use weir_relay::{mesh::rank, meter::CREDIT_WINDOW};

use crate::{
    content::bytes,
    crook::{Crook, Link},
    harness::{
        process::Options,
        upstream::Script,
        wait::{until, within},
        weir::{Edge, Weir},
    },
    publisher::{AT_ONCE, Publisher},
};

const MIB: usize = 1 << 20;
/// Most bytes in one frame between relays.
const PIECE: u64 = 256 * 1024;
/// A reply without credit is given up after seconds.
const REPLIES: Duration = Duration::from_secs(50);

async fn relay_of(edge: &Edge) -> RelayId {
    edge.status().await["relay"].as_str().unwrap().parse().unwrap()
}

/// Body bytes of one answer, as far as it came.
async fn take(connection: quinn::Connection, request: Request) -> u64 {
    let Ok((mut send, mut receive)) = connection.open_bi().await else { return 0 };
    if send.write_chunk(request.encode().unwrap()).await.is_err() {
        return 0;
    }
    let _ = send.finish();
    let (mut decoder, mut got) = (FrameDecoder::new(), 0);
    while let Ok(Some(chunk)) = receive.read_chunk(1 << 16, true).await {
        decoder.push(chunk.bytes);
        while let Ok(Some(frame)) = decoder.next() {
            if let ReplyFrame::Groups { payload, .. } | ReplyFrame::Chunk { payload, .. } = &frame {
                got += payload.len() as u64;
            }
        }
    }
    got
}

/// A member takes segments from another relay and signs for none, on as many streams as it gets, on one connection after
/// another.
///
/// Earns: no money, and 8 MiB once, with at most one piece of 256 KiB beyond. Evidence: none against it, and none is needed:
/// without a receipt there is no line for anybody, and the sender's loss is bounded by the window.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_free_rider_gets_the_credit_window() {
    const OBJECTS: usize = 24;
    let mut publisher = Publisher::start().await;
    let mut edge = Edge::join(&publisher.adapter, Options::new()).await;
    for n in 0..OBJECTS {
        publisher.upstream.put(&format!("/{n}.ts"), Script::body(bytes(MIB, n as u8)));
        assert_eq!(edge.get(&format!("/{n}.ts")).await.body.len(), MIB);
    }
    let crook = Crook::join(&publisher).await;
    edge.knows(2).await;
    let (relay, at) = (relay_of(&edge).await, edge.address("peer").parse().unwrap());
    let mut got = 0;
    for _ in 0..2 {
        let mut link = until("a link", async || Link::open(&crook.dialer, at, relay).await).await;
        let connection = link.connection.clone();
        let listening = tokio::spawn(async move { while link.next().await.is_some() {} });
        let mut replies = JoinSet::new();
        for n in 0..200 {
            let key = ResourceKey::parse(publisher.id, &format!("/{}.ts", n % OBJECTS)).unwrap();
            replies.spawn(take(connection.clone(), Request::get(&key)));
        }
        let all = within(REPLIES, "all replies to end", replies.join_all()).await;
        got += all.into_iter().sum::<u64>();
        connection.close(quinn::VarInt::from_u32(0), b"");
        listening.abort();
    }
    assert!((CREDIT_WINDOW..=CREDIT_WINDOW + PIECE).contains(&got), "{got} bytes");
    // Its viewers are served all the same.
    assert_eq!(edge.get("/0.ts").await.body.len(), MIB);
    assert_eq!(edge.terminate().await, Some(0));
    let settled = publisher.settle(AT_ONCE).await;
    assert_eq!(settled.settlement.lines, [], "nobody is paid for it");
    assert_eq!(settled.leaves(Kind::PeerReceipt).len(), 0);
}

/// Two relays fill one another, for nobody, and sign for it honestly; one of them has one viewer.
///
/// Earns: what the viewer is worth, of which the other relay gets at most the policy's share; nothing for what the relay
/// without viewers received. Evidence: the receipts of both; `receiver_share`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fills_in_a_circle_earn_what_a_viewer_is_worth() {
    const EACH: usize = 4;
    const SEEN: u64 = 200_000;
    let mut publisher = Publisher::start().await;
    let quick = || Options::new().arg("--claim-seconds", 1);
    let mut a = Edge::named("edge a", &publisher.adapter, quick()).await;
    let mut b = Edge::named("edge b", &publisher.adapter, quick()).await;
    a.knows(2).await;
    b.knows(2).await;
    let (first, second) = (relay_of(&a).await, relay_of(&b).await);
    for (asks, ranked) in [(&b, [first, second]), (&a, [second, first])] {
        let key = |path: &str| ResourceKey::parse(publisher.id, path).unwrap();
        let owned = |path: &String| rank(&key(path).hash(), ranked.iter()) == ranked;
        for path in (0..).map(|n| format!("/circle-{n}.ts")).filter(owned).take(EACH) {
            publisher.upstream.put(&path, Script::body(bytes(MIB, 3)));
            assert_eq!(asks.get(&path).await.body.len(), MIB);
        }
    }
    let token = publisher.token("viewer", |_| {});
    publisher.upstream.put("/seen.ts", Script::body(bytes(SEEN as usize, 5)));
    assert_eq!(a.get(&format!("/seen.ts?weir_token={token}")).await.body.len() as u64, SEEN);
    // Each signs for the last of it when it ends, and who sent it hears that before it ends itself.
    for (edge, sent) in [(&a, "b"), (&b, "a")] {
        until(&format!("receipts of edge {sent}"), async || {
            let meter = edge.status().await["meter"].clone();
            let received = meter["totals"]["receipts_received"].as_u64().unwrap();
            (received > 0 && meter["waiting"] == 0).then_some(())
        })
        .await;
    }
    assert_eq!([b.terminate().await, a.terminate().await], [Some(0); 2]);

    let settled = publisher.settle(AT_ONCE).await;
    let filled = |relay| -> u64 {
        settled.lines(relay).filter(|line| line.kind == PriceKind::Peer).map(|line| line.claimed).sum()
    };
    let whole = (EACH * MIB) as u64;
    for relay in [first, second] {
        assert!((whole / 2..=whole + SEEN).contains(&filled(relay)), "{} of {whole}", filled(relay));
    }
    assert_eq!(settled.earned(first) + settled.earned(second), SEEN, "what the viewer is worth, and no more");
    let viewers: u64 =
        settled.lines(first).filter(|line| line.kind == PriceKind::Viewer).map(|line| line.relay_amount).sum();
    assert_eq!(settled.earned(first), viewers, "nothing for filling a relay that nobody watches");
    assert!(settled.earned(second) <= SEEN / 5, "at most the policy's share");
    for relay in [first, second] {
        let over = settled.rejected(relay);
        assert!(matches!(over[..], [(Reason::ReceiverShare, bytes)] if bytes > 0), "{over:?}");
    }
    assert!(settled.leaves(Kind::PeerReceipt).len() >= 2);
}
