//! Who is let in, by list and by grant, and for which paths.

use super::{
    adapter::Adapter,
    liar::{Liar, ask},
    origin::{Origin, Page, bytes},
    relay::{Relay, Setup},
    seen::{soon, until},
};
use libp2p::identity::Keypair;
use weir_origin::granting::{AllowList, Rule};
use weir_protocol::{
    ids::RelayId,
    wire::{RefusalReason, ReplyFrame, Request},
};
use weir_relay::{
    access::Withheld,
    clock::Clock,
    fetch::FetchError,
    peer::{Granted, PeerLimits},
    quic::QuicConfig,
};

fn list(lines: &[String]) -> Rule {
    Rule::List(AllowList::parse(&lines.join("\n")).unwrap())
}

fn identity() -> (QuicConfig, RelayId) {
    let keypair = Keypair::generate_ed25519();
    let id = RelayId::from_public_key(&keypair.public());
    (QuicConfig::new("127.0.0.1:0".parse().unwrap(), keypair), id)
}

fn refusal(frames: &[ReplyFrame]) -> Option<RefusalReason> {
    match frames {
        [ReplyFrame::Refused { reason, .. }] => Some(*reason),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_shown_and_lets_in_while_the_adapter_is_away() {
    let mut adapter = Adapter::start(Origin::default(), 1).await;
    let (a, b) = (Relay::join(&adapter).await, Relay::join(&adapter).await);
    adapter.origin.put("/x.ts", Page::new(bytes(1000, 1)));
    assert!(a.body("/x.ts").await.is_ok());
    until("a grant", || b.network.own_grant().is_some()).await;
    adapter.stop().await;
    // Nothing of the adapter's list is left, as after a restart without it.
    a.network.set_members(u64::MAX, Vec::new(), Clock::System.now());
    let request = Request::get(&b.key("/x.ts"));
    let link = soon("a link", b.links.get(a.id, &[a.address])).await.unwrap();
    assert!(matches!(soon("an answer", ask(&link, &request)).await[0], ReplyFrame::Whole { .. }));
    assert_eq!(a.network.shown_grants(), 1);
    // Without a grant that is this publisher's, the same question is refused.
    let elsewhere = Adapter::start(Origin::default(), 2).await;
    let stranger = Liar::join(&elsewhere).await;
    assert_eq!(refusal(&soon("an answer", stranger.ask(&a, &request)).await), Some(RefusalReason::NotMember));
    // It is forgotten with the connection that it was shown on.
    link.close(quinn::VarInt::from_u32(9), b"gone");
    until("the grant to go", || a.network.shown_grants() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_not_on_the_list_hears_why_and_what_to_do() {
    let (quic, id) = identity();
    let adapter = Adapter::granting(Origin::default(), 1, list(&[])).await;
    let relay = Relay::outside(&adapter, Setup { quic, ..Setup::default() }).await;
    // The adapter may have refused and closed before whoever dialled is told that there is a link.
    let link = soon("a link", relay.links.get(adapter.relay, &[adapter.address])).await.ok();
    until("the refusal", || matches!(&*relay.network.granted(), Granted::Refused(_))).await;
    let granted = relay.network.granted();
    let Granted::Refused(why) = &*granted else { panic!("it was refused") };
    assert!(why.contains(&id.to_string()) && why.contains("add the line"), "{why}");
    if let Some(link) = link {
        soon("the end of the connection", link.closed()).await;
    }
    assert!(adapter.directory.relays().is_empty());
    assert_eq!(relay.try_get("/x.ts").await.err(), Some(FetchError::Withheld(Withheld::NotGranted)));

    adapter.origin.put("/x.ts", Page::new(bytes(1000, 1)));
    adapter.grants.set_rule(list(&[id.to_string()]));
    adapter.directory.policy_changed();
    soon("a link", relay.links.get(adapter.relay, &[adapter.address])).await.unwrap();
    until("the grant", || relay.network.own_grant().is_some()).await;
    assert_eq!(relay.body("/x.ts").await, Ok(bytes(1000, 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_list_drops_only_whom_it_leaves_out() {
    let ((first, one), (second, two)) = (identity(), identity());
    let adapter = Adapter::granting(Origin::default(), 1, list(&[one.to_string(), two.to_string()])).await;
    let stays = Relay::with(&adapter, Setup { quic: first, ..Setup::default() }).await;
    let goes = Relay::with(&adapter, Setup { quic: second, ..Setup::default() }).await;
    stays.knows(2).await;
    let link = soon("the link", stays.links.get(adapter.relay, &[])).await.unwrap();
    let between = soon("a link", goes.links.get(stays.id, &[stays.address])).await.unwrap();
    until("the other's grant", || stays.network.shown_grants() == 1).await;

    adapter.grants.set_rule(list(&[format!("{one} region=eu weight=40")]));
    adapter.directory.policy_changed();
    until("the refusal", || matches!(&*goes.network.granted(), Granted::Refused(_))).await;
    stays.knows(1).await;
    until("the new terms", || stays.network.own_grant().is_some_and(|grant| grant.grant().region == "eu")).await;
    assert!(link.close_reason().is_none(), "a member that stays keeps its connection");
    let listed = stays.network.listed();
    assert_eq!((listed[0].member.region.as_ref(), listed[0].member.weight), ("eu", 40));
    // Its grant has not ended, but the adapter has said that it counts no more.
    let answer = soon("an answer", ask(&between, &Request::get(&goes.key("/x.ts")))).await;
    assert_eq!(refusal(&answer), Some(RefusalReason::NotMember));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_gets_and_serves_what_its_grant_covers() {
    let ((first, one), (second, two), (third, three)) = (identity(), identity(), identity());
    let lines = [format!("{one} scope=/live/"), two.to_string(), format!("{three} scope=/live/")];
    let adapter = Adapter::granting(Origin::default(), 1, list(&lines)).await;
    let limited = Relay::with(&adapter, Setup { quic: first, ..Setup::default() }).await;
    let whole = Relay::with(&adapter, Setup { quic: second, ..Setup::default() }).await;
    for path in ["/live/a.ts", "/film/a.ts"] {
        adapter.origin.put(path, Page::new(bytes(1000, 1)));
        assert!(whole.body(path).await.is_ok());
    }
    until("its grant", || limited.network.own_grant().is_some()).await;
    assert!(limited.body("/live/a.ts").await.is_ok());
    assert_eq!(limited.try_get("/film/a.ts").await.err(), Some(FetchError::Withheld(Withheld::NotGranted)));

    let film = Request::get(&limited.key("/film/a.ts"));
    let to_relay = soon("a link", limited.links.get(whole.id, &[whole.address])).await.unwrap();
    let to_adapter = soon("a link", limited.links.get(adapter.relay, &[])).await.unwrap();
    for link in [to_relay, to_adapter] {
        assert_eq!(refusal(&soon("an answer", ask(&link, &film)).await), Some(RefusalReason::OutOfScope));
    }
    // One that keeps its narrow grant to itself gains nothing from standing in the list.
    let sly = Liar::with(&adapter, third).await;
    whole.knows(3).await;
    for path in ["/live/a.ts", "/film/a.ts"] {
        let answer = soon("an answer", sly.ask(&whole, &Request::get(&whole.key(path)))).await;
        assert_eq!(refusal(&answer), Some(RefusalReason::NotMember), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_closed_soon_and_a_member_is_not() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let limits = PeerLimits { stranger: std::time::Duration::from_millis(300), ..PeerLimits::default() };
    let relay = Relay::with(&adapter, Setup { limits, ..Setup::default() }).await;
    let member = Liar::join(&adapter).await;
    relay.knows(2).await;
    let elsewhere = Adapter::start(Origin::default(), 2).await;
    let stranger = Liar::join(&elsewhere).await;
    let (inside, mut send, _heard) = member.dial(&relay).await;
    let hello = weir_protocol::wire::ControlFrame::Hello(weir_protocol::wire::Hello::new("test"));
    send.write_chunk(hello.encode().unwrap()).await.unwrap();
    let (outside, mut send, _heard) = stranger.dial(&relay).await;
    send.write_chunk(hello.encode().unwrap()).await.unwrap();
    let closed = soon("the stranger's end", outside.closed()).await.to_string();
    assert!(closed.contains("not a member"), "{closed}");
    assert!(inside.close_reason().is_none());
}
