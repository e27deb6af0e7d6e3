//! Receipts between relays, and their way into the publisher's ledger.

use super::{
    adapter::Adapter,
    origin::{Origin, Page, bytes},
    relay::{Relay, Setup, owned_by},
    seen::{soon, until},
};
use bytes::Bytes;
use libp2p::identity::Keypair;
use std::{
    path::Path,
    sync::{Arc, RwLock},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use weir_ledger::{
    Log, LogKeys, Salt, Store, StoreUrl, Submitter, Writer,
    note::{KeyKind, NoteKey},
};
use weir_origin::collector::Collector;
use weir_protocol::{
    CanonicalPath, EdgeClaim, Epoch, EvidenceKey, KeyId, PeerReceipt, PublisherId, RelayId, TokenHash, UnixMillis,
    keys::SigningKey,
    statement::{ClaimClass, HttpVersion, Kind, ReceivedDigest, Unverified, Verified},
    token::{SessionClaims, TokenUse},
    wire::{Outcome, Submit, Submitted, Verdict},
};
use weir_relay::{
    clock::Clock,
    http::Protocol,
    meter::{CREDIT_WINDOW, Collect, Collected, Outcome as Delivered},
    quic::QuicConfig,
};

const MIB: usize = 1 << 20;

/// A ledger behind an adapter.
pub(crate) struct Ledger {
    pub(crate) log: Log,
    pub(crate) submitter: Submitter,
    collector: Collector,
    writing: JoinHandle<()>,
    stop: CancellationToken,
}

impl Ledger {
    pub(crate) async fn behind(adapter: &Adapter, folder: &Path) -> Self {
        let publisher = adapter.publisher.root.publisher_id();
        let note = NoteKey::new("test/ledger", KeyKind::Log, &[9; 32]).unwrap();
        let store = Store::open(&StoreUrl::Redb(folder.join("ledger.redb")), "test/ledger").await.unwrap();
        let promises = SigningKey::from_bytes(adapter.publisher.signing.secret_bytes());
        let log = Log::new(store, LogKeys { publisher, note, promises });
        let (writer, submitter) = Writer::new(log.clone(), || Clock::System.now(), || Salt(rand::random()));
        let ring = Arc::new(RwLock::new(adapter.publisher.ring()));
        let collector = Collector::new(ring, submitter.clone(), &adapter.directory, Clock::System);
        adapter.directory.set_collector(Arc::new(collector.clone()));
        let stop = CancellationToken::new();
        Self { log, submitter, collector, writing: tokio::spawn(writer.run(stop.clone())), stop }
    }

    /// Messages of one kind, in the log's order.
    pub(crate) async fn messages(&self, kind: Kind) -> Vec<Bytes> {
        let size = self.log.store().head().await.unwrap().size.get();
        let openings = self.log.store().openings(0..size).await.unwrap();
        let of_kind = openings.into_iter().flatten().filter(|opening| opening.kind == kind);
        of_kind.map(|opening| opening.message.into()).collect()
    }

    /// The last receipt for what `sender` sent to `receiver`.
    async fn receipt(&self, sender: RelayId, receiver: RelayId) -> Option<PeerReceipt> {
        let all = self.messages(Kind::PeerReceipt).await;
        let all = all.into_iter().map(|bytes| Unverified::<PeerReceipt>::new(bytes).claimed().unwrap());
        all.filter(|receipt| (receipt.sender, receipt.receiver) == (sender, receiver))
            .max_by_key(|receipt| receipt.counter)
    }

    pub(crate) async fn close(self) {
        self.stop.cancel();
        self.writing.await.unwrap();
    }
}

async fn pair(adapter: &Adapter, setups: [Setup; 2]) -> [Relay; 2] {
    let [one, two] = setups;
    let relays = [Relay::with(adapter, one).await, Relay::with(adapter, two).await];
    for relay in &relays {
        relay.knows(2).await;
    }
    relays
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_relay_sent_is_signed_for_and_in_the_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = Adapter::start(Origin::default(), 1).await;
    let ledger = Ledger::behind(&adapter, folder.path()).await;
    let setups = [Setup::metered(folder.path()), Setup::metered(folder.path())];
    let [mut a, mut b] = pair(&adapter, setups).await;
    let mut sum = 0;
    for n in 0..3 {
        let path = owned_by(&adapter, &format!("s{n}"), &[a.id, b.id]);
        let body = bytes(2 * MIB + n, n as u8);
        adapter.origin.put(&path, Page::new(body.clone()));
        assert_eq!(soon("the body", b.body(&path)).await.unwrap(), body);
        sum += body.len() as u64;
    }
    // The last words are said when it stops; the books of `a` need no such word to submit what it was told.
    b.stop().await;
    let meter = a.meter.clone().unwrap();
    until("everything acknowledged", || meter.totals().now().kept >= 1 && meter.journal().waiting_count() == 0).await;
    a.stop().await;
    let receipt = ledger.receipt(a.id, b.id).await.expect("a receipt in the ledger");
    let sources = (b.seen.filled("peer"), b.seen.filled("adapter"), b.seen.failovers());
    assert_eq!((receipt.bytes, receipt.unique_bytes, receipt.objects), (sum, sum, 3), "{sources:?}");
    let kept = meter.journal().kept(&receipt.publisher, 99).unwrap();
    assert!(kept.iter().any(|kept| kept.kind == Kind::PeerReceipt), "its proof is held");
    assert!(ledger.receipt(b.id, a.id).await.is_none() && ledger.receipt(adapter.relay, b.id).await.is_none());
    assert_eq!(ledger.messages(Kind::Grant).await.len(), 1, "of the one that submitted");
    ledger.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_signs_nothing_gets_the_credit_window_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = Adapter::start(Origin::default(), 1).await;
    let [a, b] = pair(&adapter, [Setup::metered(folder.path()), Setup::default()]).await;
    for n in 0..4 {
        let path = owned_by(&adapter, &format!("free{n}"), &[a.id, b.id]);
        let body = bytes(3 * MIB, n);
        adapter.origin.put(&path, Page::new(body.clone()));
        // A viewer of the free rider is served all the same: the adapter asks for no receipts.
        assert_eq!(soon("the body", b.body(&path)).await.unwrap(), body);
    }
    let owed = a.meter.as_ref().unwrap().credit(b.id, adapter.publisher.root.publisher_id()).owed();
    assert!(owed >= CREDIT_WINDOW && owed < CREDIT_WINDOW + MIB as u64, "{owed}");
    assert!(b.seen.filled("peer") <= owed, "{} of {owed}", b.seen.filled("peer"));
    assert!(b.seen.filled("adapter") >= 12 * MIB as u64 - owed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = Adapter::start(Origin::default(), 1).await;
    let ledger = Ledger::behind(&adapter, folder.path()).await;
    let identity = Keypair::generate_ed25519();
    let setup = || Setup {
        quic: QuicConfig::new("127.0.0.1:0".parse().unwrap(), identity.clone()),
        ..Setup::metered(folder.path())
    };
    let a = Relay::with(&adapter, Setup::metered(folder.path())).await;
    let me = RelayId::from_public_key(&identity.public());
    let mut last = (0, 0);
    for n in 0..2 {
        let mut b = Relay::with(&adapter, setup()).await;
        a.knows(2).await;
        b.knows(2).await;
        let path = owned_by(&adapter, &format!("r{n}"), &[a.id, me]);
        adapter.origin.put(&path, Page::new(bytes(MIB, n)));
        soon("the body", b.body(&path)).await.unwrap();
        b.stop().await;
        drop(b);
        until("one relay", || adapter.directory.relays().len() == 1).await;
        let meter = a.meter.clone().unwrap();
        until("everything acknowledged", || {
            meter.totals().now().kept > u64::from(n) && meter.journal().waiting_count() == 0
        })
        .await;
        let receipt = ledger.receipt(a.id, me).await.unwrap();
        assert!(receipt.counter > last.0 && receipt.bytes == last.1 + MIB as u64, "{receipt:?} after {last:?}");
        last = (receipt.counter, receipt.bytes);
    }
    ledger.close().await;
}

fn receipt(publisher: PublisherId, sender: RelayId, key: &EvidenceKey) -> Verified<PeerReceipt> {
    let receipt = PeerReceipt {
        publisher,
        sender,
        receiver: key.relay_id(),
        epoch: Epoch(5),
        counter: 1,
        bytes: 10,
        unique_bytes: 10,
        objects: 1,
        received: ReceivedDigest::default(),
        time: UnixMillis(1),
    };
    Verified::sign(receipt, key).unwrap()
}

fn claim(publisher: PublisherId, key: &EvidenceKey) -> Verified<EdgeClaim> {
    let claim = EdgeClaim {
        publisher,
        edge: key.relay_id(),
        epoch: Epoch(5),
        class: ClaimClass::Viewer,
        token: TokenHash([1; 32]),
        path: "/".into(),
        counter: 1,
        bytes: 1,
        objects: 1,
        aborted_bytes: 0,
        first: UnixMillis(1),
        last: UnixMillis(2),
        http: HttpVersion::Http3,
        previous: [0; 32],
    };
    Verified::sign(claim, key).unwrap()
}

fn token(adapter: &Adapter, iss: PublisherId) -> String {
    let claims = SessionClaims {
        iss,
        sid: "a-session".into(),
        prefix: "/".into(),
        exp: Clock::System.now().as_secs() + 60,
        nbf: None,
        iat: None,
        max_bytes: None,
        cnf: None,
        relays: Vec::new(),
        usage: TokenUse::Viewer,
    };
    claims.sign(&adapter.publisher.signing).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_submits_its_own_business_once_each_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = Adapter::start(Origin::default(), 1).await;
    let ledger = Ledger::behind(&adapter, folder.path()).await;
    let publisher = adapter.publisher.root.publisher_id();
    let [mine, yours, third] = [1, 2, 3].map(|seed| EvidenceKey::from_bytes(&[seed; 32]));
    let message = |kind: Kind, bytes: &[u8]| Submitted { kind: kind as u8, message: bytes.to_vec().into() };
    let mut forged = claim(publisher, &mine).bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let messages = vec![
        (message(Kind::EdgeClaim, claim(publisher, &mine).bytes()), Verdict::Kept),
        (message(Kind::EdgeClaim, claim(publisher, &yours).bytes()), Verdict::NotYours),
        (message(Kind::EdgeClaim, claim(PublisherId([7; 32]), &mine).bytes()), Verdict::NotYours),
        (message(Kind::EdgeClaim, &forged), Verdict::Invalid),
        (message(Kind::PeerReceipt, receipt(publisher, mine.relay_id(), &yours).bytes()), Verdict::Kept),
        (message(Kind::PeerReceipt, receipt(publisher, third.relay_id(), &yours).bytes()), Verdict::NotYours),
        (message(Kind::PeerReceipt, claim(publisher, &mine).bytes()), Verdict::Invalid),
        (message(Kind::Token, token(&adapter, publisher).as_bytes()), Verdict::Kept),
        (message(Kind::Token, token(&adapter, PublisherId([7; 32])).as_bytes()), Verdict::NotYours),
        (message(Kind::Token, b"nonsense"), Verdict::Invalid),
        (message(Kind::Policy, b"version = 1"), Verdict::WrongKind),
        (message(Kind::Observation, b"x"), Verdict::WrongKind),
        (Submitted { kind: 99, message: b"x".to_vec().into() }, Verdict::WrongKind),
    ];
    let (messages, expected): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
    for _ in 0..2 {
        let submit = Submit { publisher, number: 1, messages: messages.clone() };
        let collected = soon("an answer", ledger.collector.collect(mine.relay_id(), submit)).await;
        let Collected::Judged { outcomes, promise: Some(promise) } = collected else { panic!("{collected:?}") };
        let verdicts: Vec<Verdict> = outcomes.iter().map(|outcome| Verdict::from_number(outcome.verdict)).collect();
        assert_eq!(verdicts, expected);
        let salted = |outcome: &Outcome| outcome.salt.is_some() == (outcome.verdict == Verdict::Kept as u8);
        assert!(outcomes.iter().all(salted));
        let promise = Unverified::<weir_protocol::InclusionPromise>::new(promise.into());
        let promise = promise.verify_with(&adapter.publisher.ring()).unwrap();
        assert_eq!(promise.statement().leaves.len(), 3);
    }
    let size = ledger.log.store().head().await.unwrap().size.get();
    assert_eq!(size, 3, "what comes twice is one leaf");
    // A flood is put off, and nothing of it is looked at.
    let flood = Submit { publisher, number: 2, messages: vec![message(Kind::Token, b"x"); 64] };
    let mut put_off = false;
    for _ in 0..2_000 {
        put_off |= matches!(ledger.collector.collect(mine.relay_id(), flood.clone()).await, Collected::Later(_));
        if put_off {
            break;
        }
    }
    assert!(put_off);
    ledger.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_are_chained_and_bring_their_token() {
    let folder = tempfile::tempdir().unwrap();
    let adapter = Adapter::start(Origin::default(), 1).await;
    let ledger = Ledger::behind(&adapter, folder.path()).await;
    let mut a = Relay::with(&adapter, Setup::metered(folder.path())).await;
    let publisher = adapter.publisher.root.publisher_id();
    let compact = token(&adapter, publisher);
    let claims = weir_protocol::token::UnverifiedToken::parse(&compact).unwrap();
    let (kid, ring) = (*claims.kid(), adapter.publisher.ring());
    let now = Clock::System.now();
    let claims = claims.verify(ring.key(&kid, now).unwrap(), now, 0).unwrap();
    let meter = a.meter.clone().unwrap();
    let session = meter.session(publisher, &compact, KeyId(kid.0), &claims).unwrap();
    let path = CanonicalPath::parse("/ada/film/a.ts").unwrap();
    for n in 1..=3 {
        let charge = session.charge(&path, Protocol::H2, Some(100), now).unwrap();
        charge.settle(&Delivered { handed: 100, acked: None, completed: true }, Clock::System.now());
        until("a claim in the ledger", || meter.totals().now().claims >= n).await;
    }
    a.stop().await;
    let all = ledger.messages(Kind::EdgeClaim).await;
    let all: Vec<Verified<EdgeClaim>> =
        all.into_iter().map(|bytes| Unverified::<EdgeClaim>::new(bytes).verify().unwrap()).collect();
    assert_eq!(all.len(), 3);
    assert_eq!(all[0].statement().previous, [0; 32]);
    for pair in all.windows(2) {
        assert!(pair[1].statement().follows(pair[0].hash()));
        assert_eq!(pair[1].statement().counter, pair[0].statement().counter + 1);
    }
    let last = all[2].statement();
    assert_eq!((last.bytes, last.objects, last.path.as_str(), last.token), (300, 3, "/ada/", TokenHash::of(&compact)));
    assert_eq!(ledger.messages(Kind::Token).await, [Bytes::from(compact)]);
    ledger.close().await;
}
