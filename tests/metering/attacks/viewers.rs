//! Viewers that are the relay's own, and viewers that lie for it.

use data_encoding::BASE64URL_NOPAD;
use std::collections::BTreeMap;
use weir_ledger::settle::{Grade, Reason};
use weir_protocol::{
    EvidenceKey, RelayId,
    statement::Kind,
    token::{Confirmation, OkpKey},
};

use crate::{
    content::bytes,
    crook::{Crook, brought, viewed},
    harness::{
        process::Options,
        upstream::Script,
        weir::{Edge, Weir},
    },
    publisher::{AT_ONCE, Publisher},
};

/// A relay's operator watches through its own relay with as many tokens as it gets: bytes are really delivered, to nobody.
///
/// Earns: the policy's cap for a relay and epoch, and all of it held longest, since nothing but tokens stands behind it.
/// Evidence: a claim and a token for each session, `relay_cap`, grade E0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sybil_viewers_earn_their_relay_its_cap() {
    const VIEWERS: u64 = 12;
    const BODY: u64 = 300_000;
    const CAP: u64 = 1_000_000;
    let mut publisher = Publisher::start().await;
    publisher.upstream.put("/film/a.ts", Script::body(bytes(BODY as usize, 1)));
    let mut edge = Edge::join(&publisher.adapter, Options::new().arg("--claim-seconds", 1)).await;
    let relay: RelayId = edge.status().await["relay"].as_str().unwrap().parse().unwrap();
    for viewer in 0..VIEWERS {
        let token = publisher.token(&format!("sybil{viewer}"), |claims| claims.max_bytes = Some(BODY));
        let path = format!("/film/a.ts?weir_token={token}");
        assert_eq!(edge.get(&path).await.body.len() as u64, BODY);
        // The token is used up: more would not even be served.
        assert_ne!(edge.get(&path).await.status, 200);
    }
    // It claims the last of it when it ends.
    assert_eq!(edge.terminate().await, Some(0));

    let settled = publisher.settle(&format!("[caps]\nrelay_bytes = {CAP}\n")).await;
    let mut epochs: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for line in settled.lines(relay) {
        assert_eq!((line.grade, line.release_epoch.0), (Grade::E0, line.epoch.0 + 168));
        let epoch = epochs.entry(line.epoch).or_default();
        (epoch.0, epoch.1) = (epoch.0 + line.claimed, epoch.1 + line.accepted);
    }
    assert!(epochs.values().all(|(claimed, accepted)| *accepted == CAP.min(*claimed)), "{epochs:?}");
    assert_eq!(epochs.values().map(|(claimed, _)| claimed).sum::<u64>(), VIEWERS * BODY);
    let total = settled.settlement.relays.iter().find(|total| total.relay == relay).unwrap();
    assert_eq!((total.held, total.paid), (settled.accepted(relay), 0));
    let over = VIEWERS * BODY - settled.accepted(relay);
    assert_eq!(settled.rejected(relay), [(Reason::RelayCap, over)]);
    assert_eq!(settled.leaves(Kind::Token).len() as u64, VIEWERS);
}

/// A viewer signs for what it never got, and its relay claims it.
///
/// Earns: what the publisher saw of the player by itself; where it saw nothing, what the token allows. This is bounded and
/// not prevented. Evidence: claim, receipt, token and observation are leaves; `not_reported`, `session_limit`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_colluding_pair_earns_what_was_seen_or_the_token_allows() {
    const CLAIMED: u64 = 900_000_000;
    let mut publisher = Publisher::start().await;
    let mut crook = Crook::join(&publisher).await;
    let viewer = EvidenceKey::from_bytes(&[9; 32]);
    let confirmed = |publisher: &Publisher, sid: &str| {
        publisher.token(sid, |claims| {
            let x = BASE64URL_NOPAD.encode(&viewer.public_bytes());
            claims.cnf = Some(Confirmation::Jwk(OkpKey { kty: "OKP".into(), crv: "Ed25519".into(), x }));
            claims.max_bytes = Some(50_000);
        })
    };
    let (seen, unseen) = (confirmed(&publisher, "seen"), confirmed(&publisher, "unseen"));
    let mut messages = Vec::new();
    for token in [&seen, &unseen] {
        let claim = crook.claim(publisher.id, token, CLAIMED);
        messages.extend([brought(token), crook.signed(claim), viewed(&publisher, &viewer, &crook, token, CLAIMED)]);
    }
    // A receipt by a key that the token does not confirm is a leaf, and counts for nothing.
    let stranger = EvidenceKey::from_bytes(&[8; 32]);
    messages.push(viewed(&publisher, &stranger, &crook, &unseen, 1));
    let kept = crook.submit(&publisher, &messages).await;
    assert_eq!(kept.leaves.len(), messages.len());
    publisher.saw(crook.id, crook.epoch, &seen, 30_000);

    let settled = publisher.settle(AT_ONCE).await;
    assert_eq!(settled.earned(crook.id), 30_000 + 50_000);
    let over = [(Reason::NotReported, CLAIMED - 30_000), (Reason::SessionLimit, CLAIMED - 50_000)];
    assert_eq!(settled.rejected(crook.id), over);
    assert_eq!((settled.leaves(Kind::ViewerReceipt).len(), settled.leaves(Kind::Observation).len()), (3, 1));
}
