//! Relays that contradict what they have signed.

use weir_ledger::settle::Reason;
use weir_protocol::{
    EdgeClaim, PeerReceipt,
    statement::{Contradiction, Cumulative, Kind, Unverified, Why, contradiction},
    wire::Verdict,
};

use crate::{
    crook::{Crook, brought},
    publisher::{AT_ONCE, Publisher, Settled},
};

/// The proof against a relay, made of nothing but two leaves' proofs: as bytes that anybody verifies without the log.
async fn proof<S: Cumulative>(settled: &Settled, crook: &Crook, kind: Kind, why: Why) {
    let [note] = &settled.settlement.misconduct[..] else { panic!("{:?}", settled.settlement.misconduct) };
    assert_eq!((note.relay, note.kind), (crook.id, kind.name()));
    let mut both = Vec::new();
    for leaf in note.leaves {
        let opening = settled.proof(crook.id, leaf).await;
        both.push(Unverified::<S>::new(opening.message.into()).verify().unwrap());
    }
    let (_, proof) = contradiction(&both[0], &both[1]).unwrap();
    let proven = Contradiction::decode(&proof.encode()).unwrap().verify().unwrap();
    assert_eq!((proven.signer, proven.kind, proven.why), (crook.key.public_bytes(), kind, why));
}

/// Earns: nothing, and what it claimed honestly in that epoch is lost. Evidence: `contradiction`, and the proof.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_costs_the_epoch() {
    let mut publisher = Publisher::start().await;
    let mut crook = Crook::join(&publisher).await;
    let tokens = [publisher.token("s", |_| {}), publisher.token("t", |_| {})];
    let claims = [
        crook.claim(publisher.id, &tokens[0], 5000),
        crook.claim(publisher.id, &tokens[1], 7000),
        crook.claim(publisher.id, &tokens[0], 4000),
    ];
    let claims = claims.map(|claim| crook.signed(claim));
    let messages: Vec<_> = tokens.iter().map(|token| brought(token)).chain(claims).collect();
    // On two connections: the log remembers what a relay's process may have forgotten.
    crook.submit(&publisher, &messages[..4]).await;
    crook.connect().await;
    assert_eq!(crook.submit(&publisher, &messages[4..]).await.verdicts, [Verdict::Kept]);

    let settled = publisher.settle(AT_ONCE).await;
    assert_eq!((settled.accepted(crook.id), settled.earned(crook.id)), (0, 0));
    assert_eq!(settled.rejected(crook.id), [(Reason::Contradiction, 11_000)]);
    proof::<EdgeClaim>(&settled, &crook, Kind::EdgeClaim, Why::Rollback).await;
}

/// Earns: nothing, likewise. Evidence: the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equivocation_costs_the_epoch() {
    let mut publisher = Publisher::start().await;
    let mut crook = Crook::join(&publisher).await;
    let token = publisher.token("s", |_| {});
    let claim = crook.claim(publisher.id, &token, 5000);
    let twin = EdgeClaim { bytes: 6000, ..claim.clone() };
    crook.submit(&publisher, &[brought(&token), crook.signed(claim)]).await;
    crook.connect().await;
    crook.submit(&publisher, &[crook.signed(twin)]).await;

    let settled = publisher.settle(AT_ONCE).await;
    assert_eq!((settled.accepted(crook.id), settled.earned(crook.id)), (0, 0));
    proof::<EdgeClaim>(&settled, &crook, Kind::EdgeClaim, Why::SameCounter).await;
}

/// A receiver shows its sender a large receipt, which gives it credit, and the ledger a small one of the same number.
///
/// Earns: nothing; the receiver's claims of the epoch are lost. Evidence: the sender submits what it was shown, and the two
/// leaves prove it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_tells_sender_and_ledger_different_sums_loses_the_epoch() {
    let mut publisher = Publisher::start().await;
    let (mut crook, mut sender) = (Crook::join(&publisher).await, Crook::join(&publisher).await);
    let token = publisher.token("s", |_| {});
    let claim = crook.claim(publisher.id, &token, 10_000);
    let small = crook.receipt(publisher.id, sender.id, 1, 10);
    let shown = PeerReceipt { bytes: 4000, unique_bytes: 4000, ..small.clone() };
    let messages = [brought(&token), crook.signed(claim), crook.signed_receipt(small)];
    crook.submit(&publisher, &messages).await;
    assert_eq!(sender.submit(&publisher, &[crook.signed_receipt(shown)]).await.verdicts, [Verdict::Kept]);

    let settled = publisher.settle(AT_ONCE).await;
    assert_eq!((settled.earned(crook.id), settled.rejected(crook.id)), (0, vec![(Reason::Contradiction, 10_000)]));
    // What the sender would have had is paid out of the receiver's earnings, which are gone.
    assert_eq!(settled.earned(sender.id), 0);
    // The leaves are among the sender's messages: it is the one who proves it.
    let [note] = &settled.settlement.misconduct[..] else { panic!("{:?}", settled.settlement.misconduct) };
    let listed = settled.shown(sender.id).await;
    let listed: Vec<u64> =
        listed["leaves"].as_array().unwrap().iter().map(|leaf| leaf["leaf"].as_u64().unwrap()).collect();
    assert!(note.leaves.iter().all(|leaf| listed.contains(leaf)), "{listed:?} {:?}", note.leaves);
    proof::<PeerReceipt>(&settled, &crook, Kind::PeerReceipt, Why::SameCounter).await;
}
