//! A publisher: its adapter with a ledger as a process, the keys that only it has, and its settlement by the program.
//!
//! Invariant: what a test is told about a settlement was computed again from the published folder, as a stranger would.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::Output,
};
use tempfile::TempDir;
use weir_ledger::{
    Log, LogKeys, NoteKey, NoteVerifier, Opening, Salt, Store, StoreUrl, Submission,
    evidence::LeafSource,
    log::InclusionProof,
    note::KeyKind,
    settle::{Line, Reason, Settlement, check_folder},
    tile::Folder,
};
use weir_origin::keys::PublisherKeys;
use weir_protocol::{
    Epoch, Observation, PublisherId, RelayId, TokenHash, UnixMillis,
    statement::{Kind, Verified},
    token::{SessionClaims, TokenUse},
};
use weir_relay::{clock::Clock, node::load_or_create_secret};

use super::harness::{
    process::Options,
    upstream::Upstream,
    wait::{PATIENCE, within},
    weir::Adapter,
};

/// Length of an epoch: a test is over within one, or in the next.
pub(crate) const EPOCH_MS: u64 = 60_000;
/// Evidence counts so long after its epoch's end.
const CLAIM_WINDOW_MS: u64 = 60_000;
/// So much later the ledger is settled by its own clock: behind the window, and within what clocks may differ.
const LATER_MS: u64 = 4 * 60_000;

/// One byte to a viewer is worth a millionth, one to a relay half of it. Nothing is held.
pub(crate) const AT_ONCE: &str = "[hold_epochs]\ne0 = 0\ne1 = 0\ne2 = 0\ne3 = 0\n";

/// The policy of these tests, and `more`.
fn policy(more: &str) -> String {
    format!(
        "version = 1\ncurrency = \"EUR\"\nepoch_ms = {EPOCH_MS}\nclaim_window_ms = {CLAIM_WINDOW_MS}\n\
         [[price]]\nkind = \"viewer\"\nmicro_per_gb = 1000000000\n\
         [[price]]\nkind = \"peer\"\nmicro_per_gb = 500000000\n{more}"
    )
}

/// Runs `weir` to its end.
pub(crate) async fn weir<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(args).stdin(std::process::Stdio::null()).kill_on_drop(true);
    within(PATIENCE, "weir to end", command.output()).await.unwrap()
}

/// Runs `weir`, which must succeed; what it printed.
pub(crate) async fn prints<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> String {
    let output = weir(args).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Now, and the epoch that it is in.
pub(crate) fn now() -> (UnixMillis, Epoch) {
    let now = Clock::System.now();
    (now, Epoch::of(now, EPOCH_MS))
}

/// The publisher.
pub(crate) struct Publisher {
    pub(crate) adapter: Adapter,
    pub(crate) upstream: Upstream,
    pub(crate) id: PublisherId,
    pub(crate) relay: RelayId,
    pub(crate) log_key: NoteVerifier,
    /// What it notes once the adapter has ended.
    notes: Vec<Submission>,
    /// Where the ledger is, if not in the adapter's directory.
    store: Option<StoreUrl>,
    folder: TempDir,
}

impl Publisher {
    pub(crate) async fn start() -> Self {
        Self::with("--ledger".to_owned(), None).await
    }

    /// With a ledger elsewhere than in the adapter's directory.
    pub(crate) async fn with_store(store: StoreUrl, url: &str) -> Self {
        Self::with(format!("--ledger={url}"), Some(store)).await
    }

    async fn with(ledger: String, store: Option<StoreUrl>) -> Self {
        let upstream = Upstream::start().await;
        let options = Options::new().flag(ledger).arg("--epoch-ms", EPOCH_MS);
        let adapter = Adapter::start(upstream.url("/"), options).await;
        let text = |field: &str| adapter.report()[field].as_str().unwrap().to_owned();
        let (id, relay, log_key) = (text("publisher"), text("adapter"), text("log_key"));
        Self {
            upstream,
            id: id.parse().unwrap(),
            relay: relay.parse().unwrap(),
            log_key: log_key.parse().unwrap(),
            notes: Vec::new(),
            store,
            folder: tempfile::tempdir().unwrap(),
            adapter,
        }
    }

    pub(crate) fn keys(&self) -> PublisherKeys {
        PublisherKeys::load_or_create(&self.adapter.data()).unwrap()
    }

    /// A token for everything that lasts an hour.
    pub(crate) fn token(&self, sid: &str, change: impl FnOnce(&mut SessionClaims)) -> String {
        let mut claims = SessionClaims {
            iss: self.id,
            sid: sid.into(),
            prefix: "/".into(),
            exp: Clock::System.now().as_secs() + 3600,
            nbf: None,
            iat: None,
            max_bytes: Some(1 << 40),
            cnf: None,
            relays: Vec::new(),
            usage: TokenUse::Viewer,
        };
        change(&mut claims);
        claims.sign(&self.keys().signing()).unwrap()
    }

    /// It saw a player of this session report so many bytes from a relay.
    pub(crate) fn saw(&mut self, relay: RelayId, epoch: Epoch, token: &str, reported: u64) {
        let observation = Observation {
            publisher: self.id,
            epoch,
            relay,
            token: TokenHash::of(token),
            counter: 1,
            listed_bytes: None,
            reported_bytes: Some(reported),
            imported_bytes: None,
            time: Clock::System.now(),
        };
        let signed = Verified::sign_as_publisher(observation, &self.keys().signing()).unwrap();
        self.notes.push(Submission::statement(&signed).unwrap());
    }

    /// The log in a directory of the publisher's, while no adapter runs there.
    pub(crate) async fn log(&self, data: &Path) -> Log {
        let origin = self.log_key.name();
        let (secret, _) = load_or_create_secret(&data.join("ledger.key")).unwrap();
        let note = NoteKey::new(origin, KeyKind::Log, &secret).unwrap();
        let url = self.store.clone().unwrap_or_else(|| StoreUrl::Redb(data.join("ledger.redb")));
        let store = Store::open(&url, origin).await.unwrap();
        Log::new(store, LogKeys { publisher: self.id, note, promises: self.keys().signing() })
    }

    /// The adapter ends; the publisher notes what it saw, and lets time pass in its log until every epoch is closed.
    async fn close(&mut self) {
        assert_eq!(self.adapter.terminate().await, Some(0));
        let log = self.log(&self.adapter.data()).await;
        let time = Clock::System.now();
        for note in std::mem::take(&mut self.notes) {
            log.record(vec![note], time, || Salt(rand::random())).await.unwrap();
        }
        let mark = Submission::own(Kind::Mark, b"later").unwrap();
        log.record(vec![mark], time.plus_ms(LATER_MS), || Salt(rand::random())).await.unwrap();
    }

    /// Settles by the program, and has the result checked by it.
    pub(crate) async fn settle(&mut self, more: &str) -> Settled {
        self.close().await;
        self.settle_in(&self.adapter.data(), "settlement", more).await
    }

    /// Settles the ledger of a directory, in which no adapter runs, into a folder of this name.
    pub(crate) async fn settle_in(&self, data: &Path, name: &str, more: &str) -> Settled {
        let out = self.folder.path().join(name);
        let file = self.folder.path().join("policy.toml");
        std::fs::write(&file, policy(more)).unwrap();
        let run = ["settle", "run", "--data"].map(PathBuf::from);
        prints(&[&run[..], &[data.into(), "--policy".into(), file, "--out".into(), out.clone()]].concat()).await;
        let (id, key) = (self.id.to_string(), self.log_key.to_string());
        prints(&["settle", "verify", out.to_str().unwrap(), "--publisher", &id, "--log-key", &key]).await;
        let folder = Folder::new(&out);
        let checked = check_folder(&folder, &self.log_key, self.id).unwrap();
        let settled = Settled {
            size: checked.checkpoint.checkpoint().size,
            settlement: checked.settlement,
            out,
            publisher: id,
            log_key: self.log_key.clone(),
        };
        settled.adds_up();
        settled
    }
}

impl Deref for Publisher {
    type Target = Adapter;
    fn deref(&self) -> &Adapter {
        &self.adapter
    }
}

impl DerefMut for Publisher {
    fn deref_mut(&mut self) -> &mut Adapter {
        &mut self.adapter
    }
}

/// A published settlement.
pub(crate) struct Settled {
    pub(crate) settlement: Settlement,
    pub(crate) out: PathBuf,
    size: weir_ledger::TreeSize,
    publisher: String,
    log_key: NoteVerifier,
}

impl Settled {
    pub(crate) fn lines(&self, relay: RelayId) -> impl Iterator<Item = &Line> {
        self.settlement.lines.iter().filter(move |line| line.relay == relay)
    }

    /// Bytes that a relay is paid for.
    pub(crate) fn accepted(&self, relay: RelayId) -> u64 {
        self.lines(relay).map(|line| line.accepted).sum()
    }

    /// What a relay gets, held or not, in millionths.
    pub(crate) fn earned(&self, relay: RelayId) -> u64 {
        self.lines(relay).map(|line| line.relay_amount).sum()
    }

    /// Bytes that it is not paid for, by reason.
    pub(crate) fn rejected(&self, relay: RelayId) -> Vec<(Reason, u64)> {
        let mut sum = BTreeMap::new();
        self.lines(relay)
            .flat_map(|line| &line.rejected)
            .for_each(|(reason, bytes)| *sum.entry(*reason).or_insert(0) += bytes);
        sum.into_iter().collect()
    }

    /// Leaves of a kind, with their openings.
    pub(crate) fn leaves(&self, kind: Kind) -> Vec<(u64, Opening)> {
        let mut found = Vec::new();
        let source = (&Folder::new(&self.out), self.size);
        let each = source.for_each(&mut |leaf, opening| {
            found.extend(opening.filter(|opening| opening.kind == kind).map(|opening| (leaf, opening)));
        });
        each.unwrap();
        found
    }

    /// The proof of a leaf as the program prints it, verified by the program: the opening, which anybody can check who
    /// knows the log's key.
    pub(crate) async fn proof(&self, relay: RelayId, leaf: u64) -> Opening {
        let (key, relay, leaf) = (self.log_key.to_string(), relay.to_string(), leaf.to_string());
        let dir = self.out.to_str().unwrap();
        let whom = ["--publisher", &self.publisher, "--log-key", &key, "--proof", &leaf];
        let text = prints(&[&["ledger", "show", &relay, "--dir", dir][..], &whom].concat()).await;
        let file = self.out.with_extension(format!("{leaf}.tlog-proof"));
        std::fs::write(&file, &text).unwrap();
        prints(&["ledger", "verify", file.to_str().unwrap(), "--log-key", &key]).await;
        let proof = InclusionProof::parse(&text, &self.log_key).unwrap();
        proof.verify_opening().unwrap().clone()
    }

    /// What `weir ledger show` tells of a relay.
    pub(crate) async fn shown(&self, relay: RelayId) -> Value {
        let (key, relay, dir) = (self.log_key.to_string(), relay.to_string(), self.out.to_str().unwrap());
        let whom = ["--publisher", &self.publisher, "--log-key", &key, "--json"];
        let text = prints(&[&["ledger", "show", &relay, "--dir", dir][..], &whom].concat()).await;
        serde_json::from_str(&text).unwrap()
    }

    fn adds_up(&self) {
        for line in &self.settlement.lines {
            assert_eq!(line.claimed, line.accepted + line.rejected_bytes(), "{line:?}");
            let shares = line.creator_amount + line.platform_amount + line.relay_amount + line.to_peers;
            assert_eq!(line.amount, shares, "{line:?}");
        }
        let of_peers = |line: &&Line| line.kind.name() == "peer";
        let fills: u64 = self.settlement.lines.iter().filter(of_peers).map(|line| line.relay_amount).sum();
        let paid: u64 = self.settlement.lines.iter().map(|line| line.to_peers).sum();
        assert_eq!(fills, paid, "fills move money and make none");
        assert_eq!(self.settlement.open_epochs, [], "everything is settled");
    }
}
