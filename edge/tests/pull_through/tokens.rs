//! Session tokens at the edge: who is let in, what goes onward, and what is charged.

use crate::{
    edge::{Edge, Got, Setup, noise, now, request},
    upstream::{Reply, Seen},
};
use http::Method;
use std::{path::Path, sync::Arc};
use tokio_util::sync::CancellationToken;
use weir_edge::{
    routes::Site,
    tokens::{Gate, Publishers},
};
use weir_protocol::{
    Epoch, EvidenceKey, PublisherId, RelayId, TokenHash, UnixMillis, ViewerReceipt,
    keys::{KeyEntry, KeyRing, RootKey, SigningKey, SigningKeyList},
    statement::{RelayShare, Verified},
    token::{Confirmation, OkpKey, SessionClaims, TokenUse},
};
use weir_relay::{
    clock::Clock,
    http::{Body, Request},
    meter::{Journal, Meter, MeterConfig},
};

const EPOCH_MS: u64 = 3_600_000;

struct One {
    ring: Arc<KeyRing>,
    required: bool,
}

impl Publishers for One {
    fn ring(&self, publisher: &PublisherId) -> Option<Arc<KeyRing>> {
        (self.ring.publisher() == *publisher).then(|| self.ring.clone())
    }

    fn requires_token(&self, _: &PublisherId) -> bool {
        self.required
    }
}

fn ring() -> Arc<KeyRing> {
    let (root, key) = (RootKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let expires = now().plus_ms(1 << 40);
    let keys = vec![KeyEntry::new(&key, UnixMillis(0), expires)];
    let list = SigningKeyList { publisher: root.publisher_id(), issued: now(), expires, keys };
    KeyRing::verify(root.publisher_id(), &list.sign(&root).unwrap(), now()).unwrap().into()
}

fn relay() -> RelayId {
    EvidenceKey::from_bytes(&[3; 32]).relay_id()
}

fn token(change: impl FnOnce(SessionClaims) -> SessionClaims) -> String {
    let claims = change(SessionClaims {
        iss: ring().publisher(),
        sid: "s".into(),
        prefix: "/".into(),
        exp: now().as_secs() + 3600,
        nbf: None,
        iat: None,
        max_bytes: None,
        cnf: None,
        relays: Vec::new(),
        usage: TokenUse::Viewer,
    });
    claims.sign(&SigningKey::from_bytes(&[2; 32])).unwrap()
}

/// An edge of the publisher whose tokens these are, and its meter.
async fn edge(folder: &Path, required: bool) -> (Edge, Meter) {
    let journal = Journal::open(&folder.join("journal.redb")).unwrap();
    let (meter, books) = Meter::new(journal, EvidenceKey::from_bytes(&[3; 32]), Clock::System, MeterConfig::default());
    tokio::spawn(books.run(CancellationToken::new()));
    meter.counts_by(ring().publisher(), EPOCH_MS);
    let publishers = One { ring: ring(), required };
    let gate = Gate::new(relay(), Arc::new(publishers), Some(meter.clone()));
    let site = Site { publisher: ring().publisher(), name: None, hosts: Vec::new() };
    let setup = Setup { gate: Some(gate), sites: Some(vec![site]), ..Setup::default() };
    (Edge::with(setup).await, meter)
}

fn delivered(meter: &Meter, token: &str) -> u64 {
    meter.open_session(&ring().publisher(), &TokenHash::of(token)).map_or(0, |session| session.delivered())
}

#[tokio::test]
async fn a_token_goes_no_further_than_the_edge() {
    let folder = tempfile::tempdir().unwrap();
    let (edge, meter) = edge(folder.path(), true).await;
    let body = noise(50_000);
    edge.origin.always("/a.ts", Reply::ok(body.clone()).with("cache-control", "max-age=60"));
    let refused = edge.get("/a.ts").await;
    refused.is_status(401);
    assert_eq!((refused.field("www-authenticate"), refused.field("access-control-allow-origin")), ("Bearer", "*"));
    let (one, two) = (token(|claims| claims), token(|claims| SessionClaims { sid: "t".into(), ..claims }));
    edge.get(&format!("/a.ts?weir_token={one}")).await.is("fwd=uri-miss; stored", &body);
    edge.idle().await;
    // Another session shares the copy, whichever way its token comes.
    edge.get(&format!("/a.ts?weir_token={two}")).await.is("hit", &body);
    edge.ask("/a.ts", &[("authorization", &format!("Bearer {two}"))]).await.is("hit", &body);
    let seen = edge.origin.seen("/a.ts");
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].path.as_str(), seen[0].field("authorization")), ("/a.ts", None));
    assert_eq!((delivered(&meter, &one), delivered(&meter, &two)), (50_000, 100_000));
    for (bad, status) in [
        (format!("/a.ts?weir_token={one}x"), 401),
        (format!("/a.ts?weir_token={}", token(|claims| SessionClaims { exp: 9, ..claims })), 401),
        (format!("/a.ts?weir_token={}", token(|claims| SessionClaims { prefix: "/film".into(), ..claims })), 403),
    ] {
        edge.get(&bad).await.is_status(status);
    }
    assert_eq!(edge.head(&format!("/a.ts?weir_token={one}"), &[]).await.body.len(), 0);
    assert_eq!(delivered(&meter, &one), 50_000, "a HEAD delivers nothing");
}

#[tokio::test]
async fn another_authorization_is_the_origins_business() {
    let folder = tempfile::tempdir().unwrap();
    let (edge, _) = edge(folder.path(), false).await;
    edge.origin.on("/p.ts", |seen: &Seen, _| Reply::ok(seen.field("authorization").unwrap_or("none").to_owned()));
    assert_eq!(edge.ask("/p.ts", &[("authorization", "Basic eA==")]).await.text(), "Basic eA==");
    let stranger = token(|claims| SessionClaims { iss: PublisherId([9; 32]), ..claims });
    let stranger = format!("Bearer {stranger}");
    assert_eq!(edge.ask("/p.ts", &[("authorization", &stranger)]).await.text(), stranger);
}

#[tokio::test]
async fn a_playlist_carries_the_token_onward_and_nothing_signed() {
    let folder = tempfile::tempdir().unwrap();
    let (edge, meter) = edge(folder.path(), true).await;
    let text = format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI=\"i.mp4\"\n{}#EXTINF:4,\nhttps://ads.example/x.ts\n#EXT-X-ENDLIST\n",
        "#EXTINF:4,\na.ts\n".repeat(20)
    );
    let reply = Reply::ok(text.clone()).with("etag", "\"v1\"").with("cache-control", "public, max-age=60");
    edge.origin.always("/v.m3u8", reply);
    let one = token(|claims| claims);
    let path = format!("/v.m3u8?weir_token={one}");
    let wanted = text.replace("a.ts", &format!("a.ts?weir_token={one}"));
    let wanted = wanted.replace("i.mp4", &format!("i.mp4?weir_token={one}"));
    let got = edge.get(&path).await;
    assert_eq!((got.status.as_u16(), got.text()), (200, wanted.as_str()));
    assert_eq!((got.field("etag"), got.field("cache-control")), ("W/\"v1\"", "private, max-age=60"));
    assert_eq!((got.field("signature"), got.field("repr-digest"), got.field("accept-ranges")), ("", "", ""));
    edge.idle().await;
    let again = edge.get(&path).await;
    assert!(again.text() == wanted && again.cache().starts_with("hit"), "{}", again.cache());
    let same = edge.ask(&path, &[("if-none-match", "W/\"v1\"")]).await;
    same.is_status(304);
    let packed = edge.ask(&path, &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.field("content-encoding"), "gzip");
    assert!(packed.body.len() < wanted.len());
    assert_eq!(delivered(&meter, &one), (2 * wanted.len() + packed.body.len()) as u64, "as it was sent");
    // By header nothing needs to be carried: the player sends it each time.
    let plain = edge.ask("/v.m3u8", &[("authorization", &format!("Bearer {one}"))]).await;
    assert_eq!(plain.text(), text);
}

#[tokio::test]
async fn a_session_gets_its_bytes_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (edge, meter) = edge(folder.path(), true).await;
    edge.origin.always("/a.ts", Reply::ok(noise(40_000)).with("cache-control", "max-age=60"));
    let one = token(|claims| SessionClaims { max_bytes: Some(100_000), ..claims });
    let path = format!("/a.ts?weir_token={one}");
    let whole = edge.get(&path).await;
    assert_eq!(whole.body.len(), 40_000);
    edge.idle().await;
    // One that is under way counts with its whole length.
    let running = edge.begin(request(Method::GET, &path, &[])).await;
    edge.get(&path).await.is_status(403);
    let part = edge.ask(&path, &[("range", "bytes=0-9999")]).await;
    part.is_status(206);
    drop(running);
    edge.get(&path).await.is_status(200);
    edge.get(&path).await.is_status(403);
    assert_eq!(delivered(&meter, &one), 90_000);
}

#[tokio::test]
async fn a_players_receipt_is_kept_if_its_token_confirms_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let (edge, meter) = edge(folder.path(), true).await;
    edge.origin.always("/a.ts", Reply::ok(noise(1000)));
    let (key, stranger) = (EvidenceKey::from_bytes(&[7; 32]), EvidenceKey::from_bytes(&[8; 32]));
    let x = data_encoding::BASE64URL_NOPAD.encode(&key.public_bytes());
    let jwk = OkpKey { kty: "OKP".into(), crv: "Ed25519".into(), x };
    let one = token(|claims| SessionClaims { cnf: Some(Confirmation::Jwk(jwk)), ..claims });
    let receipt = |key: &EvidenceKey, relay: RelayId, counter: u64| {
        let receipt = ViewerReceipt {
            publisher: ring().publisher(),
            token: TokenHash::of(&one),
            session_key: key.public_bytes(),
            epoch: Epoch(5),
            counter,
            relays: vec![RelayShare { relay, bytes: 1000, objects: 1 }],
            time: now(),
        };
        Verified::sign(receipt, key).unwrap().bytes().to_vec()
    };
    let post = async |bytes: Vec<u8>| -> Got {
        let body = Body::full(bytes);
        edge.send(Request { body, ..request(Method::POST, "/weir/receipt", &[]) }).await
    };
    post(receipt(&key, relay(), 1)).await.is_status(404);
    edge.get(&format!("/a.ts?weir_token={one}")).await.is_status(200);
    post(receipt(&key, relay(), 1)).await.is_status(202);
    post(receipt(&key, relay(), 2)).await.is_status(202);
    post(receipt(&stranger, relay(), 1)).await.is_status(403);
    post(receipt(&key, stranger.relay_id(), 1)).await.is_status(400);
    let mut forged = receipt(&key, relay(), 3);
    *forged.last_mut().unwrap() ^= 1;
    post(forged).await.is_status(400);
    post(vec![7; 3000]).await.is_status(400);
    // The token, and of the receipts the latest.
    crate::edge::until(|| meter.journal().waiting_count() == 2).await;
    assert_eq!(meter.totals().now().viewer_receipts, 2);
}
