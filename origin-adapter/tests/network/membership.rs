//! Who is in a network, and who says so.

use super::{
    adapter::Adapter,
    liar::{Act, Liar, ask},
    origin::{Origin, Page, bytes},
    relay::{Relay, Setup},
    seen::{soon, until},
};
use libp2p::identity::Keypair;
use std::time::Duration;
use weir_protocol::{
    ids::RelayId,
    time::UnixMillis,
    wire::{self, ControlFrame, Hello, Members, RefusalReason, ReplyFrame, Request, RequestKind},
};
use weir_relay::{
    clock::Clock,
    mesh::{DEFAULT_WEIGHT, Member},
};

fn refusal(frames: &[ReplyFrame]) -> Option<RefusalReason> {
    match frames {
        [ReplyFrame::Refused { reason, .. }] => Some(*reason),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_gets_nothing_from_a_relay() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let relay = Relay::join(&adapter).await;
    adapter.origin.put("/x.ts", Page::new(bytes(1000, 1)));
    assert!(relay.body("/x.ts").await.is_ok());
    // It is in another publisher's network, not in this one.
    let elsewhere = Adapter::start(Origin::default(), 2).await;
    let stranger = Liar::join(&elsewhere).await;
    for kind in [RequestKind::Get, RequestKind::Held] {
        let mut request = Request::get(&relay.key("/x.ts"));
        request.kind = kind;
        let answer = soon("an answer", stranger.ask(&relay, &request)).await;
        assert_eq!(refusal(&answer), Some(RefusalReason::NotMember));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_refused_one_by_one() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let relay = Relay::join(&adapter).await;
    let member = Liar::join(&adapter).await;
    relay.knows(2).await;
    adapter.origin.put("/x.ts", Page::new(bytes(1000, 1)));
    let good = Request::get(&relay.key("/x.ts"));
    let unknown = Request::get(&Adapter::start(Origin::default(), 2).await.key("/x.ts"));
    let cases = [
        (unknown, RefusalReason::UnknownPublisher),
        (Request { version: 2, ..good.clone() }, RefusalReason::VersionMismatch),
        (Request { hops: 9, ..good.clone() }, RefusalReason::LoopDetected),
        (Request { path_and_query: "/../etc/passwd".into(), ..good.clone() }, RefusalReason::BadRequest),
        (Request { path_and_query: "no-slash".into(), ..good.clone() }, RefusalReason::BadRequest),
        (
            Request { generation: Some(weir_protocol::ids::Generation(1)), ..good.clone() },
            RefusalReason::GenerationGone,
        ),
        (
            Request { kind: RequestKind::Held, path_and_query: "/never.ts".into(), ..good.clone() },
            RefusalReason::UpstreamFailed,
        ),
    ];
    for (request, reason) in cases {
        let answer = soon("an answer", member.ask(&relay, &request)).await;
        assert_eq!(refusal(&answer), Some(reason), "{request:?}: {answer:?}");
    }
    // An offset behind the end of what is whole.
    assert!(relay.body("/x.ts").await.is_ok());
    for offset in [1001, u64::MAX] {
        let answer = soon("an answer", member.ask(&relay, &Request { offset, ..good.clone() })).await;
        assert_eq!(refusal(&answer), Some(RefusalReason::BadRequest), "{offset}: {answer:?}");
    }
    assert_eq!(soon("an answer", member.ask(&relay, &good)).await.len(), 2, "the relay still serves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_and_keys_are_believed_from_the_adapter_alone() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let relay = Relay::join(&adapter).await;
    let liar = Liar::join(&adapter).await;
    relay.knows(2).await;
    let intruder = RelayId::from_public_key(&Keypair::generate_ed25519().public());
    let list = Members {
        publisher: relay.network.publisher,
        epoch: u64::MAX,
        members: vec![wire::Member {
            relay: intruder,
            addresses: vec!["127.0.0.1:9".into()],
            region: "default".into(),
            weight: None,
            since: None,
            scoped: None,
        }],
        revoked: None,
    };
    let frames = [ControlFrame::Hello(Hello::new("liar")), ControlFrame::Members(list), ControlFrame::Ping(4)];
    let answer = soon("the answer to a Ping", liar.control(&relay, &frames)).await;
    assert!(answer.contains(&ControlFrame::Pong(4)), "the frame before the Ping was read: {answer:?}");
    assert!(!relay.network.may_ask(&intruder, Clock::System.now()));
    assert_eq!(relay.network.members().len(), 2);
    assert!(!answer.iter().any(|frame| matches!(frame, ControlFrame::Members(_))), "a relay tells nobody who is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_is_no_member_any_more() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let stays = Relay::join(&adapter).await;
    let mut goes = Relay::join(&adapter).await;
    stays.knows(2).await;
    goes.stop().await;
    stays.knows(1).await;
    assert!(!stays.network.may_ask(&goes.id, Clock::System.now()));
    adapter.knows(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_has_not_come_to_the_adapter_gets_nothing_from_relays() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let inside = Relay::join(&adapter).await;
    let outside = Relay::outside(&adapter, Setup::default()).await;
    adapter.origin.put("/x.ts", Page::new(bytes(1000, 1)));
    assert!(inside.body("/x.ts").await.is_ok());
    let member = |relay| Member::new(relay, "default".into(), DEFAULT_WEIGHT, UnixMillis(0));
    let members = vec![(member(inside.id), vec![inside.address]), (member(outside.id), Vec::new())];
    outside.network.set_members(1, members, Clock::System.now());
    let link = soon("a link", outside.links.get(inside.id, &[inside.address])).await.unwrap();
    let answer = soon("an answer", ask(&link, &Request::get(&outside.key("/x.ts")))).await;
    assert_eq!(refusal(&answer), Some(RefusalReason::NotMember));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_never_reads_holds_nobody_else_up() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let relay = Relay::join(&adapter).await;
    let liar = Liar::join(&adapter).await;
    relay.knows(2).await;
    liar.will(vec![Act::Silence]);
    adapter.origin.put("/x.ts", Page::new(bytes(3 << 20, 1)));
    let deaf = soon("deaf requests", liar.ask_and_not_read(&relay, &Request::get(&relay.key("/x.ts")), 64)).await;
    let body = tokio::time::timeout(Duration::from_secs(5), relay.body("/x.ts")).await.unwrap();
    assert!(body == Ok(bytes(3 << 20, 1)));
    let other = Relay::join(&adapter).await;
    until("the third", || relay.network.members().len() == 3).await;
    assert!(other.body("/x.ts").await == Ok(bytes(3 << 20, 1)));
    drop(deaf);
}
