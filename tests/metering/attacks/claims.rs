//! Claims for what was not delivered.

use weir_ledger::settle::Reason;
use weir_protocol::{
    EdgeClaim, RootKey, SigningKey,
    statement::{Kind, Unverified},
    token::UnverifiedToken,
    wire::Verdict,
};

use crate::{
    crook::{Crook, brought},
    publisher::{AT_ONCE, Publisher, Settled, now},
};

/// The claim in a leaf, as anybody reads it who has the leaf's proof.
async fn claim_in(settled: &Settled, crook: &Crook, leaf: u64) -> EdgeClaim {
    let opening = settled.proof(crook.id, leaf).await;
    Unverified::<EdgeClaim>::new(opening.message.into()).verify().unwrap().statement().clone()
}

/// Earns: what the latest counter says, once. Evidence: one leaf for each message, however often and on whatever connection
/// it comes; a stranger's replay is refused at the door.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_earns_nothing() {
    let mut publisher = Publisher::start().await;
    let (mut crook, mut thief) = (Crook::join(&publisher).await, Crook::join(&publisher).await);
    let token = publisher.token("s", |_| {});
    let (first, second) = (crook.claim(publisher.id, &token, 1000), crook.claim(publisher.id, &token, 3000));
    let messages = [brought(&token), crook.signed(first), crook.signed(second)];
    let kept = crook.submit(&publisher, &messages).await;
    assert_eq!(kept.verdicts, [Verdict::Kept; 3]);
    // Both again, the lower one last; then on another connection.
    let reversed = [messages[2].clone(), messages[1].clone()];
    let again = crook.submit(&publisher, &reversed).await;
    assert_eq!([again.leaves[1].index, again.leaves[0].index], [kept.leaves[1].index, kept.leaves[2].index]);
    crook.connect().await;
    assert_eq!(crook.submit(&publisher, &reversed).await.leaves, again.leaves, "promised again, and kept once");
    let stolen = thief.submit(&publisher, &messages[1..]).await;
    assert_eq!(stolen.verdicts, [Verdict::NotYours; 2]);

    let settled = publisher.settle(AT_ONCE).await;
    assert_eq!((settled.accepted(crook.id), settled.earned(crook.id)), (3000, 3000));
    assert_eq!(settled.lines(thief.id).count(), 0);
    assert_eq!(settled.leaves(Kind::EdgeClaim).len(), 2);
    assert!(settled.settlement.misconduct.is_empty(), "a replay is no contradiction");
    assert_eq!(claim_in(&settled, &crook, kept.leaves[2].index).await.bytes, 3000);
}

/// Earns: what the session's token allows; where the publisher saw the player, what it saw, over all paths together. Evidence:
/// the signed claim, beside the bound that it exceeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inflation_earns_what_the_token_allows_or_the_publisher_saw() {
    let mut publisher = Publisher::start().await;
    let mut crook = Crook::join(&publisher).await;
    let bounded = publisher.token("bounded", |claims| claims.max_bytes = Some(5000));
    let seen = publisher.token("seen", |_| {});
    let mut messages = vec![brought(&bounded), brought(&seen)];
    let claim = crook.claim(publisher.id, &bounded, 1_000_000);
    messages.push(crook.signed(claim));
    for at in 0..10 {
        let claim = crook.claim(publisher.id, &seen, 100_000);
        messages.push(crook.signed(EdgeClaim { path: format!("/{at}/"), ..claim }));
    }
    let kept = crook.submit(&publisher, &messages).await;
    publisher.saw(crook.id, crook.epoch, &seen, 60_000);

    let settled = publisher.settle(AT_ONCE).await;
    assert_eq!(settled.earned(crook.id), 5000 + 60_000);
    let bounds = [(Reason::NotReported, 940_000), (Reason::SessionLimit, 995_000)];
    assert_eq!(settled.rejected(crook.id), bounds);
    assert_eq!(claim_in(&settled, &crook, kept.leaves[2].index).await.bytes, 1_000_000);
    let shown = settled.shown(crook.id).await;
    assert_eq!(shown["leaves"].as_array().unwrap().len(), 11, "{shown}");
}

/// Earns: nothing. Evidence: the claim is a leaf, its reason `no_token`; forged tokens are refused at the door.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invented_session_earns_nothing() {
    let mut publisher = Publisher::start().await;
    let mut crook = Crook::join(&publisher).await;
    let forger = SigningKey::from_bytes(&[0x99; 32]);
    let real = publisher.token("s", |_| {});
    let claims = || {
        let signing = publisher.keys().signing();
        UnverifiedToken::parse(&real).unwrap().verify(&signing.verifying_key(), now().0, 0).unwrap()
    };
    // The publisher's name under another key, the publisher's signature under another session, another publisher's token.
    let forged = claims().sign(&forger).unwrap();
    let other = publisher.token("other", |_| {});
    let (signed, _) = other.rsplit_once('.').unwrap();
    let grafted = format!("{signed}.{}", real.rsplit_once('.').unwrap().1);
    let mut elsewhere = claims();
    elsewhere.iss = RootKey::from_bytes(&[0x98; 32]).publisher_id();
    let elsewhere = elsewhere.sign(&forger).unwrap();
    let mut messages = Vec::new();
    let tokens = [forged, grafted, elsewhere, "e30.e30.AAAA".to_owned()];
    for token in &tokens {
        let claim = crook.claim(publisher.id, token, 1_000_000);
        messages.extend([crook.signed(claim), brought(token)]);
    }
    let judged = crook.submit(&publisher, &messages).await;
    let (kept, bad) = (Verdict::Kept, Verdict::Invalid);
    assert_eq!(judged.verdicts, [kept, bad, kept, bad, kept, Verdict::NotYours, kept, bad]);

    let settled = publisher.settle(AT_ONCE).await;
    assert_eq!((settled.accepted(crook.id), settled.earned(crook.id)), (0, 0));
    assert_eq!(settled.rejected(crook.id), [(Reason::NoToken, 4_000_000)]);
    assert!(settled.leaves(Kind::Token).is_empty());
    assert_eq!(claim_in(&settled, &crook, judged.leaves[0].index).await.bytes, 1_000_000);
}

/// Earns: nothing. Evidence: claim and token are leaves, which together show why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_and_foreign_tokens_earn_nothing() {
    let mut publisher = Publisher::start().await;
    let (mut crook, other) = (Crook::join(&publisher).await, Crook::outside(&publisher));
    let (time, _) = now();
    let tokens = [
        // The clocks of a relay and the ledger may differ by five minutes.
        publisher.token("expired", |claims| claims.exp = time.as_secs() - 1000),
        publisher.token("assigned", |claims| claims.relays = vec![other.id]),
        publisher.token("elsewhere", |claims| claims.prefix = "/film/".into()),
        publisher.token("service", |claims| claims.usage = weir_protocol::token::TokenUse::Service),
    ];
    let mut messages = Vec::new();
    for token in &tokens {
        let claim = crook.claim(publisher.id, token, 1000);
        messages.extend([brought(token), crook.signed(claim)]);
    }
    let judged = crook.submit(&publisher, &messages).await;
    assert_eq!(judged.verdicts, [Verdict::Kept; 8]);

    let settled = publisher.settle(AT_ONCE).await;
    assert_eq!((settled.accepted(crook.id), settled.earned(crook.id)), (0, 0));
    let reasons = [(Reason::ExpiredToken, 1000), (Reason::NotAssigned, 1000), (Reason::OutsideToken, 2000)];
    assert_eq!(settled.rejected(crook.id), reasons);
    let logged: Vec<Vec<u8>> = settled.leaves(Kind::Token).into_iter().map(|(_, opening)| opening.message).collect();
    assert_eq!(logged, tokens.map(String::into_bytes));
    assert_eq!(claim_in(&settled, &crook, judged.leaves[1].index).await.bytes, 1000);
}
