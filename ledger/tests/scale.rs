//! A ledger of ten million leaves: what appending, proving, publishing and settling cost. `WEIR_SCALE_LEAVES` changes the
//! number; the figures are printed (`cargo nextest run --run-ignored only --no-capture ten_million`).
#![expect(clippy::unwrap_used, reason = "tests")]

use std::ops::AddAssign;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use weir_ledger::log::{Log, LogKeys, Publisher, Submission, WitnessClient};
use weir_ledger::merkle::Frontier;
use weir_ledger::note::{KeyKind, NoteKey, NoteVerifier};
use weir_ledger::settle::{Policy, SettleInput, settle};
use weir_ledger::store::MAX_APPEND;
use weir_ledger::tile::Folder;
use weir_ledger::{Opening, Salt, Store, StoreUrl};
use weir_protocol::grant::{Grant, SignedGrant};
use weir_protocol::statement::{ClaimClass, Evidence, HttpVersion, Kind, MAX_PROMISED, Verified};
use weir_protocol::token::{SessionClaims, TokenUse};
use weir_protocol::{
    CanonicalPath, EdgeClaim, Epoch, EvidenceKey, KeyEntry, KeyRing, LogIdentity, RootKey, SigningKey, SigningKeyList,
    TokenHash, UnixMillis,
};

const ORIGIN: &str = "ledger.example/scale";
const HOUR: u64 = 3_600_000;
const FIRST: Epoch = Epoch(500_000);
const RELAYS: u8 = 100;
/// Claims of one session in one epoch: one each minute.
const CLAIMS: u64 = 60;

struct Nobody;

impl WitnessClient for Nobody {
    fn key(&self) -> &NoteVerifier {
        unreachable!("there is no witness")
    }

    async fn post(&self, _body: String) -> Result<(u16, String), String> {
        Err("there is no witness".into())
    }
}

/// A stretch of work: what it took on the clock, and of the processor.
#[derive(Clone, Copy, Default)]
struct Spent {
    wall: Duration,
    cpu: Duration,
}

impl Spent {
    fn told(self, what: &str, count: u64) {
        let (wall, cpu) = (self.wall.as_secs_f64(), self.cpu.as_secs_f64());
        println!("{what:<44} {wall:>8.1} s  {cpu:>8.1} CPU-s  {:>10.0} per CPU-second", count as f64 / cpu);
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.wall += other.wall;
        self.cpu += other.cpu;
    }
}

struct Watch(Instant, Duration);

impl Watch {
    fn start() -> Self {
        Self(Instant::now(), Self::cpu())
    }

    fn spent(&self) -> Spent {
        Spent { wall: self.0.elapsed(), cpu: Self::cpu() - self.1 }
    }

    /// Of the whole process: nothing else runs in it.
    fn cpu() -> Duration {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

fn bytes_of(path: &Path) -> u64 {
    let Ok(meta) = std::fs::metadata(path) else { return 0 };
    if meta.is_file() {
        return meta.len();
    }
    std::fs::read_dir(path).unwrap().map(|entry| bytes_of(&entry.unwrap().path())).sum()
}

/// The publisher's leaves: keys, identity, grants, tokens.
fn preamble(
    root: &RootKey,
    signing: &SigningKey,
    relays: &[EvidenceKey],
    sessions: u64,
) -> (Vec<Submission>, Vec<TokenHash>) {
    let publisher = root.publisher_id();
    let now = FIRST.start(HOUR);
    let far = now.plus_ms(10_000 * HOUR);
    let list = SigningKeyList { publisher, issued: now, expires: far, keys: vec![KeyEntry::new(signing, now, far)] };
    let ring = KeyRing::verify(publisher, &list.sign(root).unwrap(), now).unwrap();
    let identity = LogIdentity { publisher, origin: ORIGIN.into(), key: [0x66; 32], epoch_ms: HOUR, time: now };
    let identity = Verified::sign_as_publisher(identity, signing).unwrap();
    let mut leaves = vec![Submission::key_list(&ring).unwrap(), Submission::statement(&identity).unwrap()];
    for relay in relays {
        let grant = Grant {
            publisher,
            relay: relay.relay_id(),
            scopes: vec![CanonicalPath::parse("/").unwrap()],
            first: FIRST,
            last: Epoch(FIRST.0 + 8000),
            region: "default".into(),
            weight: 100,
            issued: now,
            since: now,
            prices: None,
            caps: None,
            policy: None,
            budget: None,
            epoch_ms: None,
        };
        leaves.push(Submission::grant(&SignedGrant::sign(grant, signing).unwrap()));
    }
    let mut tokens = Vec::new();
    for session in 0..sessions {
        let claims = SessionClaims {
            iss: publisher,
            sid: format!("s{session}"),
            prefix: "/".into(),
            exp: far.as_secs(),
            nbf: None,
            iat: Some(now.as_secs()),
            max_bytes: Some(1 << 40),
            cnf: None,
            relays: vec![],
            usage: TokenUse::Viewer,
        };
        let token = claims.sign(signing).unwrap();
        tokens.push(TokenHash::of(&token));
        leaves.push(Submission::token(publisher, &token, &claims).unwrap());
    }
    (leaves, tokens)
}

/// Submits claims minute by minute, and returns a frontier over all leaves. Signing is not counted.
struct Filler {
    log: Log,
    frontier: Frontier,
    spent: Spent,
}

impl Filler {
    async fn put(&mut self, submissions: Vec<Submission>, now: UnixMillis) {
        let mut rest = submissions.into_iter();
        loop {
            let mut group = Vec::new();
            while group.len() < MAX_APPEND / MAX_PROMISED {
                let part: Vec<Submission> = rest.by_ref().take(MAX_PROMISED).collect();
                if part.is_empty() {
                    break;
                }
                group.push(part);
            }
            if group.is_empty() {
                return;
            }
            let watch = Watch::start();
            let acknowledged = self.log.record_all(group, now, || Salt(rand::random())).await.unwrap();
            self.spent += watch.spent();
            let leaves = acknowledged.iter().flat_map(|answer| &answer.placed);
            leaves.for_each(|placed| self.frontier.append(hash(&placed.opening)).unwrap());
        }
    }
}

fn hash(opening: &Opening) -> weir_ledger::LeafHash {
    opening.commitment().leaf_hash()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: ten million leaves take the better part of an hour"]
async fn ten_million_leaves() {
    let leaves: u64 = std::env::var("WEIR_SCALE_LEAVES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000_000);
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("ledger.redb");
    let (root, signing) = (RootKey::from_bytes(&[0x11; 32]), SigningKey::from_bytes(&[0x22; 32]));
    let relays: Vec<EvidenceKey> = (1..=RELAYS).map(|seed| EvidenceKey::from_bytes(&[seed; 32])).collect();
    let keys = LogKeys {
        publisher: root.publisher_id(),
        note: NoteKey::new(ORIGIN, KeyKind::Log, &[0x66; 32]).unwrap(),
        promises: SigningKey::from_bytes(&[0x22; 32]),
    };
    let store = Store::open(&StoreUrl::Redb(file.clone()), ORIGIN).await.unwrap();
    let log = Log::new(store, keys);
    let sessions = (leaves / CLAIMS / 4).clamp(1, 100_000);
    let (first, tokens) = preamble(&root, &signing, &relays, sessions);
    let mut filler = Filler { log: log.clone(), frontier: Frontier::new(), spent: Spent::default() };
    filler.put(first, FIRST.start(HOUR)).await;
    let mut counters = vec![0_u64; relays.len()];
    let mut epoch = FIRST;
    'fill: loop {
        counters.fill(0);
        for minute in 1..=CLAIMS {
            let now = epoch.start(HOUR).plus_ms(minute * 60_000 - 1);
            let claims = tokens.iter().enumerate().map(|(session, token)| {
                let at = session % relays.len();
                counters[at] += 1;
                let claim = EdgeClaim {
                    publisher: root.publisher_id(),
                    edge: relays[at].relay_id(),
                    epoch,
                    class: ClaimClass::Viewer,
                    token: *token,
                    path: "/".into(),
                    counter: counters[at],
                    bytes: minute * 40_000_000 + session as u64,
                    objects: minute * 10,
                    aborted_bytes: 0,
                    first: epoch.start(HOUR),
                    last: now,
                    http: HttpVersion::Http3,
                    previous: [0; 32],
                };
                Submission::evidence(&Evidence::EdgeClaim(Verified::sign(claim, &relays[at]).unwrap()))
            });
            filler.put(claims.collect(), now).await;
            if filler.frontier.size().get() >= leaves {
                break 'fill;
            }
        }
        epoch = Epoch(epoch.0 + 1);
    }
    let later = epoch.end(HOUR).plus_ms(200 * HOUR);
    filler.put(vec![Submission::own(Kind::Mark, b"end").unwrap()], later).await;
    let size = filler.frontier.size();
    filler.spent.told("appended durably, with promises", size.get());
    println!("store: {} MB, {} bytes a leaf", bytes_of(&file) / 1_000_000, bytes_of(&file) / size.get());

    let begun = Instant::now();
    let head = log.store().head().await.unwrap();
    assert_eq!((head.size, head.root), (size, filler.frontier.root()));
    let checkpoint = log.sign_checkpoint().await.unwrap();
    println!("head and checkpoint: {:?}", begun.elapsed());
    let watch = Watch::start();
    for proof in 0..1000 {
        let index = proof * (size.get() / 1000);
        log.prove(index, &checkpoint).await.unwrap().verify_opening().unwrap();
    }
    watch.spent().told("inclusion proofs made and verified", 1000);
    let folder = Folder::new(temporary.path().join("published"));
    let mut publisher: Publisher<Nobody> =
        Publisher::new(log.clone(), Some(folder.clone()), true, vec![], Duration::from_secs(1));
    let watch = Watch::start();
    publisher.publish().await.unwrap();
    watch.spent().told("published as tiles and openings", size.get());
    println!("published: {} MB", bytes_of(folder.path()) / 1_000_000);
    let policy = "version = 1\ncurrency = \"EUR\"\n[[price]]\nkind = \"viewer\"\nmicro_per_gb = 4000\n";
    let policy = Policy::read(policy.as_bytes()).unwrap();
    let publisher = root.publisher_id();
    let watch = Watch::start();
    let settled = tokio::task::spawn_blocking(move || {
        settle(SettleInput { source: &(&folder, size), root: head.root, publisher, policy: &policy }).unwrap()
    });
    let settled = settled.await.unwrap();
    watch.spent().told("settled", size.get());
    let epochs = epoch.0 - FIRST.0 + 1;
    assert_eq!(settled.lines.len() as u64, epochs * u64::from(RELAYS).min(sessions));
    assert!(settled.lines.iter().all(|line| line.rejected.is_empty() && line.accepted == line.claimed));
    println!("{} lines, {} bytes of JSON", settled.lines.len(), settled.json().unwrap().len());
    log.store().head().await.unwrap();
}
