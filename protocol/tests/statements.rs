//! Receipts, claims and the publisher's statements: their vectors (`tests/vectors/statements.json`), what verification
//! refuses, batches, and proofs of contradiction. After a deliberate change of format, write the vectors anew with
//! `WEIR_WRITE_VECTORS=1 cargo test -p weir-protocol --test statements write`, and run `tests/vectors/check.py`.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use bytes::Bytes;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use weir_protocol::statement::{
    ClaimClass, Contradiction, Cumulative, HttpVersion, INCLUSION_WITHIN_MS, Kind, ProbeResult, PromisedLeaf,
    PublisherSigned, ReceivedDigest, RelayShare, SelfSigned, Statement, StatementError, Why, contradiction,
    verify_batch,
};
use weir_protocol::token::{Confirmation, OkpKey, SessionClaims, TokenUse};
use weir_protocol::{
    EdgeClaim, Epoch, EvidenceKey, Generation, InclusionPromise, KeyEntry, KeyRing, LogIdentity, Observation,
    PayeeChange, PeerReceipt, ProbeCommitment, ProbeReveal, RelayId, ResourceHash, RootKey, SigningKey, SigningKeyList,
    TokenHash, UnixMillis, Unverified, Verified, ViewerReceipt,
};

const EPOCH: Epoch = Epoch(500_000);

/// 2027-01-15T08:00:00.250Z.
const NOW: UnixMillis = UnixMillis(1_800_000_000_250);

fn root() -> RootKey {
    RootKey::from_bytes(&[0x11; 32])
}

fn signing() -> SigningKey {
    SigningKey::from_bytes(&[0x22; 32])
}

fn ring() -> KeyRing {
    let publisher = root().publisher_id();
    let keys = vec![KeyEntry::new(&signing(), NOW.minus_ms(1000), NOW.plus_ms(86_400_000))];
    let list = SigningKeyList { publisher, issued: NOW, expires: NOW.plus_ms(604_800_000), keys };
    KeyRing::verify(publisher, &list.sign(&root()).unwrap(), NOW).unwrap()
}

fn sender() -> EvidenceKey {
    EvidenceKey::from_bytes(&[0x33; 32])
}

fn receiver() -> EvidenceKey {
    EvidenceKey::from_bytes(&[0x44; 32])
}

fn session() -> EvidenceKey {
    EvidenceKey::from_bytes(&[0x55; 32])
}

fn token() -> TokenHash {
    TokenHash::of("a.b.c")
}

fn received() -> ReceivedDigest {
    ReceivedDigest::default().and(&ResourceHash([7; 32]), Generation(42), 0, 1 << 20)
}

fn peer_receipt() -> PeerReceipt {
    PeerReceipt {
        publisher: root().publisher_id(),
        sender: sender().relay_id(),
        receiver: receiver().relay_id(),
        epoch: EPOCH,
        counter: 3,
        bytes: 1 << 20,
        unique_bytes: 1_000_000,
        objects: 1,
        received: received(),
        time: NOW,
    }
}

fn edge_claim() -> EdgeClaim {
    EdgeClaim {
        publisher: root().publisher_id(),
        edge: sender().relay_id(),
        epoch: EPOCH,
        class: ClaimClass::Viewer,
        token: token(),
        path: "/live/".into(),
        counter: 2,
        bytes: 5_000_000_000,
        objects: 900,
        aborted_bytes: 65_536,
        first: NOW.minus_ms(60_000),
        last: NOW,
        http: HttpVersion::Http3,
        previous: [9; 32],
    }
}

fn viewer_receipt() -> ViewerReceipt {
    let mut relays = vec![
        RelayShare { relay: sender().relay_id(), bytes: 4_900_000_000, objects: 880 },
        RelayShare { relay: receiver().relay_id(), bytes: 3, objects: 1 },
    ];
    relays.sort_by_key(|share| share.relay.0.to_bytes());
    let session_key = session().public_bytes();
    let publisher = root().publisher_id();
    ViewerReceipt { publisher, token: token(), session_key, epoch: EPOCH, counter: 1, relays, time: NOW }
}

fn payee() -> PayeeChange {
    PayeeChange {
        publisher: root().publisher_id(),
        relay: sender().relay_id(),
        serial: 1,
        address: Some([0xab; 20]),
        account: Some("DE00 1234 operator 7".into()),
        time: NOW,
    }
}

fn promise() -> InclusionPromise {
    InclusionPromise {
        publisher: root().publisher_id(),
        leaves: vec![PromisedLeaf { index: 70_000, commitment: [5; 32], received: NOW }],
        include_by: NOW.plus_ms(INCLUSION_WITHIN_MS),
        time: NOW,
    }
}

fn observation() -> Observation {
    Observation {
        publisher: root().publisher_id(),
        epoch: EPOCH,
        relay: sender().relay_id(),
        token: token(),
        counter: 1,
        listed_bytes: Some(6_000_000_000),
        reported_bytes: None,
        imported_bytes: None,
        time: NOW,
    }
}

fn reveal() -> ProbeReveal {
    let probe = |text: &str, relay: &EvidenceKey, bytes| ProbeResult {
        relay: relay.relay_id(),
        token: TokenHash::of(text),
        bytes,
        objects: 4,
    };
    let mut probes = vec![probe("p1", &sender(), 10), probe("p2", &receiver(), 20)];
    probes.sort_by_key(|probe| probe.token);
    ProbeReveal { publisher: root().publisher_id(), epoch: EPOCH, list: 0, nonce: [8; 32], probes, time: NOW }
}

fn commitment() -> ProbeCommitment {
    let reveal = reveal();
    let commitment = reveal.commitment();
    ProbeCommitment { publisher: reveal.publisher, epoch: reveal.epoch, list: reveal.list, commitment, time: NOW }
}

fn identity() -> LogIdentity {
    LogIdentity {
        publisher: root().publisher_id(),
        origin: "ledger.video.example/weir".into(),
        key: EvidenceKey::from_bytes(&[0x66; 32]).public_bytes(),
        epoch_ms: 3_600_000,
        time: NOW,
    }
}

fn own<S: SelfSigned>(statement: &S, key: &EvidenceKey) -> Verified<S> {
    Verified::sign(statement.clone(), key).unwrap()
}

fn by_publisher<S: PublisherSigned>(statement: S) -> Verified<S> {
    Verified::sign_as_publisher(statement, &signing()).unwrap()
}

fn vectors() -> Value {
    fn entry<S: Statement>(kind: Option<Kind>, public: &[u8; 32], message: &Verified<S>) -> Value {
        json!({
            "name": kind.map_or("promise", Kind::name), "kind": kind.map(Kind::number), "context": S::CONTEXT,
            "public": HEXLOWER.encode(public), "cose": HEXLOWER.encode(message.bytes()), "sha256": message.hash().to_string(),
        })
    }
    let publisher = signing().public_bytes();
    let other = {
        let mut other = edge_claim();
        other.bytes -= 1;
        own(&other, &sender())
    };
    let proof = contradiction(&own(&edge_claim(), &sender()), &other).unwrap().1;
    json!({
        "epoch": EPOCH.0, "token": "a.b.c", "token_hash": token().to_string(),
        "received": {
            "context": "weir/received/1", "resource": HEXLOWER.encode(&[7; 32]), "generation": 42, "offset": 0,
            "length": 1 << 20, "digest": HEXLOWER.encode(&received().0),
        },
        "session_jwk": { "kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(&session().public_bytes()),
            "d": BASE64URL_NOPAD.encode(&[0x55; 32]) },
        "session_jkt": thumbprint(),
        "probe_commitment": HEXLOWER.encode(&reveal().commitment()),
        "statements": [
            entry(Some(Kind::PeerReceipt), &receiver().public_bytes(), &own(&peer_receipt(), &receiver())),
            entry(Some(Kind::EdgeClaim), &sender().public_bytes(), &own(&edge_claim(), &sender())),
            entry(Some(Kind::ViewerReceipt), &session().public_bytes(), &own(&viewer_receipt(), &session())),
            entry(Some(Kind::PayeeChange), &sender().public_bytes(), &own(&payee(), &sender())),
            entry(Some(Kind::Observation), &publisher, &by_publisher(observation())),
            entry(Some(Kind::ProbeCommitment), &publisher, &by_publisher(commitment())),
            entry(Some(Kind::ProbeReveal), &publisher, &by_publisher(reveal())),
            entry(Some(Kind::LogIdentity), &publisher, &by_publisher(identity())),
            entry(None, &publisher, &by_publisher(promise())),
        ],
        "contradiction": { "cbor": HEXLOWER.encode(&proof.encode()), "why": "same counter" },
    })
}

fn thumbprint() -> String {
    let x = BASE64URL_NOPAD.encode(&session().public_bytes());
    BASE64URL_NOPAD.encode(&Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)))
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/statements.json")
}

/// Rewrites the vectors, only when it is asked to.
#[test]
fn write() {
    if std::env::var_os("WEIR_WRITE_VECTORS").is_some() {
        std::fs::write(path(), format!("{}\n", serde_json::to_string_pretty(&vectors()).unwrap())).unwrap();
    }
}

#[test]
fn stored_vectors_are_what_this_crate_makes() {
    let stored: Value = serde_json::from_slice(&std::fs::read(path()).unwrap()).unwrap();
    assert_eq!(stored, vectors());
}

#[test]
fn what_is_stored_verifies() {
    let stored: Value = serde_json::from_slice(&std::fs::read(path()).unwrap()).unwrap();
    let bytes = |at: usize| {
        Bytes::from(HEXLOWER.decode(stored["statements"][at]["cose"].as_str().unwrap().as_bytes()).unwrap())
    };
    assert_eq!(Unverified::<PeerReceipt>::new(bytes(0)).verify().unwrap().statement(), &peer_receipt());
    assert_eq!(Unverified::<EdgeClaim>::new(bytes(1)).verify().unwrap().statement(), &edge_claim());
    assert_eq!(Unverified::<ViewerReceipt>::new(bytes(2)).verify().unwrap().statement(), &viewer_receipt());
    assert_eq!(Unverified::<PayeeChange>::new(bytes(3)).verify().unwrap().statement(), &payee());
    let ring = ring();
    assert_eq!(Unverified::<Observation>::new(bytes(4)).verify_with(&ring).unwrap().statement(), &observation());
    let committed = Unverified::<ProbeCommitment>::new(bytes(5)).verify_with(&ring).unwrap();
    let revealed = Unverified::<ProbeReveal>::new(bytes(6)).verify_with(&ring).unwrap();
    assert!(revealed.statement().opens(committed.statement()));
    assert_eq!(Unverified::<LogIdentity>::new(bytes(7)).verify_with(&ring).unwrap().statement(), &identity());
    assert_eq!(Unverified::<InclusionPromise>::new(bytes(8)).verify_with(&ring).unwrap().statement(), &promise());
    // A message of one kind is none of another, whoever signed it.
    assert!(Unverified::<PayeeChange>::new(bytes(1)).verify().is_err());
    assert!(Unverified::<EdgeClaim>::new(bytes(0)).verify().is_err());
}

#[test]
fn only_the_party_that_is_named_can_sign() {
    let wrong = Verified::sign(peer_receipt(), &sender());
    assert!(matches!(wrong, Err(StatementError::WrongKey(_))), "the sender cannot sign for the receiver");
    let mut message = own(&peer_receipt(), &receiver()).bytes().to_vec();
    let last = message.len() - 1;
    message[last] ^= 1;
    assert!(matches!(Unverified::<PeerReceipt>::new(message.into()).verify(), Err(StatementError::Cose(_))));
}

#[test]
fn fields_have_bounds() {
    let refused = |statement: PeerReceipt| Verified::sign(statement, &receiver()).unwrap_err();
    assert_eq!(refused(PeerReceipt { counter: 0, ..peer_receipt() }), StatementError::Unfit("counter"));
    assert_eq!(refused(PeerReceipt { unique_bytes: 1 << 21, ..peer_receipt() }), StatementError::Unfit("unique bytes"));
    assert_eq!(
        refused(PeerReceipt { sender: receiver().relay_id(), ..peer_receipt() }),
        StatementError::Unfit("sender")
    );
    let refused = |statement: EdgeClaim| Verified::sign(statement, &sender()).unwrap_err();
    assert_eq!(refused(EdgeClaim { path: "/a/../b".into(), ..edge_claim() }), StatementError::Unfit("path"));
    assert_eq!(
        refused(EdgeClaim { path: format!("/{}", "a".repeat(512)), ..edge_claim() }),
        StatementError::Unfit("path")
    );
    assert_eq!(refused(EdgeClaim { first: NOW.plus_ms(1), ..edge_claim() }), StatementError::Unfit("first"));
    let refused = |statement: ViewerReceipt| Verified::sign(statement, &session()).unwrap_err();
    let mut swapped = viewer_receipt();
    swapped.relays.reverse();
    assert_eq!(refused(swapped), StatementError::Unfit("relays"));
    let twice = vec![viewer_receipt().relays[0].clone(); 2];
    assert_eq!(refused(ViewerReceipt { relays: twice, ..viewer_receipt() }), StatementError::Unfit("relays"));
    let refused = |account: &str| {
        let statement = PayeeChange { account: Some(account.into()), ..payee() };
        Verified::sign(statement, &sender()).unwrap_err()
    };
    for account in ["", "=1+1", " a", "line\nbreak", &"a".repeat(129), "ünicode"] {
        assert_eq!(refused(account), StatementError::Unfit("account"), "{account:?}");
    }
}

#[test]
fn a_publishers_statement_needs_a_key_that_was_good_then() {
    let early = Observation { time: NOW.minus_ms(10_000), ..observation() };
    let refused = by_publisher(early).to_wire().verify_with(&ring());
    assert!(matches!(refused, Err(StatementError::UnknownKey(_))), "{refused:?}");
    let mut foreign = observation();
    foreign.publisher = weir_protocol::PublisherId([3; 32]);
    assert!(matches!(by_publisher(foreign).to_wire().verify_with(&ring()), Err(StatementError::WrongPublisher(_))));
}

#[test]
fn a_token_confirms_its_session_key_only() {
    let x = BASE64URL_NOPAD.encode(&session().public_bytes());
    let mut claims = SessionClaims {
        iss: root().publisher_id(),
        sid: "s".into(),
        prefix: "/".into(),
        exp: 1,
        nbf: None,
        iat: None,
        max_bytes: None,
        cnf: Some(Confirmation::Jwk(OkpKey { kty: "OKP".into(), crv: "Ed25519".into(), x })),
        relays: vec![],
        usage: TokenUse::Viewer,
    };
    assert!(viewer_receipt().is_confirmed_by(&claims));
    claims.cnf = Some(Confirmation::Jkt(thumbprint()));
    assert!(viewer_receipt().is_confirmed_by(&claims));
    let mut other = viewer_receipt();
    other.session_key = sender().public_bytes();
    assert!(!other.is_confirmed_by(&claims));
    claims.cnf = None;
    assert!(!viewer_receipt().is_confirmed_by(&claims));
}

#[test]
fn a_bad_message_in_a_batch_refuses_no_other() {
    let mut batch: Vec<(Kind, Bytes)> = Vec::new();
    for counter in 1..=150 {
        let receipt = own(&PeerReceipt { counter, ..peer_receipt() }, &receiver());
        batch.push((Kind::PeerReceipt, receipt.bytes().clone()));
        let claim = own(&EdgeClaim { counter, ..edge_claim() }, &sender());
        batch.push((Kind::EdgeClaim, claim.bytes().clone()));
    }
    let mut bad = [3_usize, 140, 141, 299];
    for at in bad {
        let mut bytes = batch[at].1.to_vec();
        let last = bytes.len() - 40;
        bytes[last] ^= 4;
        batch[at].1 = bytes.into();
    }
    batch.push((Kind::Token, Bytes::from_static(b"a.b.c")));
    batch.push((Kind::EdgeClaim, Bytes::from_static(b"nonsense")));
    let answers = verify_batch(&batch);
    assert_eq!(answers.len(), batch.len());
    for (at, ((kind, bytes), answer)) in batch.iter().zip(&answers).enumerate() {
        if at < 300 && !bad.contains(&at) {
            let evidence = answer.as_ref().unwrap();
            assert_eq!((evidence.kind(), evidence.bytes()), (*kind, bytes), "message {at}");
        } else {
            assert!(answer.is_err(), "message {at}");
        }
    }
    bad.sort_unstable();
    assert!(verify_batch(&[]).is_empty());
}

#[test]
fn contradictions_prove_themselves() {
    let first = own(&edge_claim(), &sender());
    let same_number = own(&EdgeClaim { token: TokenHash::of("another session"), ..edge_claim() }, &sender());
    let rolled_back = own(&EdgeClaim { counter: 3, bytes: 1, ..edge_claim() }, &sender());
    for (other, expected) in [(&same_number, Why::SameCounter), (&rolled_back, Why::Rollback)] {
        let (why, proof) = contradiction(&first, other).unwrap();
        assert_eq!((why, &proof), (expected, &contradiction(other, &first).unwrap().1), "order does not matter");
        let read = Contradiction::decode(&proof.encode()).unwrap();
        let proven = read.verify().unwrap();
        assert_eq!((proven.signer, proven.kind, proven.why), (sender().public_bytes(), Kind::EdgeClaim, expected));
    }
    // What an honest edge does is no contradiction: more bytes, another session, another epoch.
    let honest = own(&EdgeClaim { counter: 3, bytes: 6_000_000_000, ..edge_claim() }, &sender());
    let session = own(&EdgeClaim { counter: 3, bytes: 1, token: TokenHash::of("b"), ..edge_claim() }, &sender());
    let epoch = own(&EdgeClaim { bytes: 1, epoch: Epoch(500_001), ..edge_claim() }, &sender());
    for other in [&honest, &session, &epoch, &first] {
        assert!(contradiction(&first, other).is_none());
    }
    // Nor is it one that two relays sign the same number.
    let other_edge = own(&EdgeClaim { edge: receiver().relay_id(), bytes: 1, ..edge_claim() }, &receiver());
    assert!(contradiction(&first, &other_edge).is_none());
}

#[test]
fn a_forged_contradiction_is_none() {
    let proof = contradiction(&own(&edge_claim(), &sender()), &own(&EdgeClaim { bytes: 1, ..edge_claim() }, &sender()));
    let encoded = proof.unwrap().1.encode();
    for at in 0..encoded.len() {
        let mut mutated = encoded.clone();
        mutated[at] ^= 1;
        assert!(Contradiction::decode(&mutated).and_then(|proof| proof.verify()).is_err(), "byte {at}");
    }
    assert!(Contradiction::decode(&vec![0; 8192]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever bytes arrive, verification ends with an answer.
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let bytes = Bytes::from(bytes);
        prop_assert!(Unverified::<PeerReceipt>::new(bytes.clone()).verify().is_err());
        prop_assert!(Unverified::<ViewerReceipt>::new(bytes.clone()).verify().is_err());
        prop_assert!(Unverified::<ProbeReveal>::new(bytes.clone()).verify_with(&ring()).is_err());
        prop_assert!(Contradiction::decode(&bytes).and_then(|proof| proof.verify()).is_err());
    }

    /// A session that only ever counts up never contradicts itself, whatever the order it is compared in.
    #[test]
    fn growing_sums_never_contradict(steps in proptest::collection::vec((0_u64..1 << 40, 0_u64..1 << 20), 2..8)) {
        let (mut bytes, mut aborted, mut claims) = (0, 0, Vec::new());
        for (counter, (more, less)) in (1..).zip(steps) {
            bytes += more;
            aborted += less;
            claims.push(own(&EdgeClaim { counter, bytes, aborted_bytes: aborted, ..edge_claim() }, &sender()));
        }
        for a in &claims {
            for b in &claims {
                prop_assert!(contradiction(a, b).is_none());
            }
        }
    }
}

#[test]
fn kinds_have_distinct_numbers() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_number(kind.number()), Some(kind));
    }
    assert_eq!(Kind::from_number(0), None);
    assert_eq!(Kind::from_number(15), None);
    assert_eq!(<EdgeClaim as Cumulative>::KIND, Kind::EdgeClaim);
    let id: RelayId = sender().relay_id();
    assert_eq!(id.public_bytes(), Some(sender().public_bytes()));
}
