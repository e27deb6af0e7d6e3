//! Logs that are not the publisher's, and a publisher that shows two.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use weir_ledger::{
    Checkpoint, NoteKey, RootHash, Salt, SignedCheckpoint, Submission, TreeSize,
    note::{Fork, KeyKind},
    tile::CHECKPOINT_FILE,
};
use weir_protocol::statement::Kind;
use weir_relay::clock::Clock;

use crate::{
    crook::{Crook, brought},
    harness::{
        files,
        process::Options,
        upstream::{Script, Upstream},
        wait::{until, until_within},
        weir::{Adapter, Edge, Weir},
    },
    publisher::{AT_ONCE, Publisher, prints, weir},
};

/// A relay looks into a log some seconds after its start, and then each minute.
const LOOK: Duration = Duration::from_secs(40);

/// Somebody between a relay and its publisher: passes the join document on, and shows a log of its own.
async fn between(adapter: &Adapter, log: &Path) -> Upstream {
    let middle = Upstream::start().await;
    let document = adapter.get("/.well-known/weir").await;
    assert_eq!(document.status, 200);
    middle.put("/.well-known/weir", Script::body(document.body).header("content-type", "application/json"));
    let identity = adapter.get("/weir/log/identity").await;
    assert_eq!(identity.status, 200);
    middle.put("/weir/log/identity", Script::body(identity.body));
    show(&middle, log);
    middle
}

/// From now on it shows the log of this folder.
fn show(middle: &Upstream, log: &Path) {
    for (path, content) in files::served(log) {
        middle.put(&format!("/weir/log{path}"), Script::body(content));
    }
}

async fn joins(middle: &Upstream) -> Edge {
    Edge::joining("edge", &middle.url("/"), Options::new()).await
}

/// What a relay has kept as its publisher's last checkpoint, or beside it.
fn kept(edge: &Edge, publisher: &Publisher, extension: &str) -> Option<String> {
    files::text(&edge.data().join("networks").join(format!("{}.{extension}", publisher.id)))
}

async fn trouble(edge: &Edge) -> String {
    until_within(LOOK, "the relay to look into the log", async || {
        edge.status().await["logs"][0]["trouble"].as_str().map(str::to_owned)
    })
    .await
}

async fn published(publisher: &Publisher, data: &Path, out: &Path) -> SignedCheckpoint {
    prints(&["ledger", "publish", "--data", data.to_str().unwrap(), "--out", out.to_str().unwrap()]).await;
    let note = fs::read_to_string(out.join(CHECKPOINT_FILE)).unwrap();
    SignedCheckpoint::verify(&note, &publisher.log_key).unwrap()
}

/// Exit code 3, and these words.
async fn refused(args: &[&str], words: &str) {
    let output = weir(args).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(words), "{said}");
}

/// Somebody on the way to a relay shows it a log with a checkpoint of its own making.
///
/// Earns: nothing: the relay believes the log's key only, which the publisher's signing key vouches for. Evidence: the relay
/// names it in its status and keeps nothing of it; anybody's `weir ledger verify` ends with 3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_checkpoint_is_refused() {
    let publisher = Publisher::start().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    fs::create_dir(&log).unwrap();
    // The right name, and another key.
    let forger = NoteKey::new(publisher.log_key.name(), KeyKind::Log, &[0x67; 32]).unwrap();
    let origin = publisher.log_key.name().to_owned();
    let forged = Checkpoint { origin, size: TreeSize::new(1_000_000), root: RootHash::from_bytes([7; 32]) };
    fs::write(log.join(CHECKPOINT_FILE), forged.sign(&forger).unwrap().to_string()).unwrap();
    let middle = between(&publisher.adapter, &log).await;
    let edge = joins(&middle).await;
    let said = trouble(&edge).await;
    assert!(said.contains("key") || said.contains("sign"), "{said}");
    assert_eq!(
        (kept(&edge, &publisher, "checkpoint"), edge.status().await["logs"][0]["leaves"].as_u64()),
        (None, Some(0))
    );
    let key = publisher.log_key.to_string();
    refused(&["ledger", "verify", log.to_str().unwrap(), "--log-key", &key], "check failed").await;
}

/// An adapter's directory once more, with a ledger of its own.
fn copy(from: &Path, to: &Path) -> PathBuf {
    fs::create_dir_all(to).unwrap();
    for file in files::all(from) {
        let to = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&file, to).unwrap();
    }
    let (settings, path) = (to.join("ledger.toml"), |path: &Path| path.to_str().unwrap().to_owned());
    let text = fs::read_to_string(&settings).unwrap();
    assert!(text.contains(&path(from)), "{text}");
    fs::write(&settings, text.replace(&path(from), &path(to))).unwrap();
    to.to_owned()
}

/// Makes a log so long, with leaves that say nothing.
async fn lengthen(publisher: &Publisher, data: &Path, size: u64) {
    let log = publisher.log(data).await;
    while log.store().head().await.unwrap().size.get() < size {
        let mark = Submission::own(Kind::Mark, &rand::random::<[u8; 16]>()).unwrap();
        log.record(vec![mark], Clock::System.now(), || Salt(rand::random())).await.unwrap();
    }
}

/// A publisher keeps two histories, signs both, shows each to another relay, and settles by the one without a claim that it
/// promised a place.
///
/// Earns: the pay for that claim, until two who were shown different ones compare. Evidence: two checkpoints of one size and
/// one key with different roots, which prove themselves; the promise, whose leaf the other history does not have; and a relay
/// that is shown first the one and then the other keeps both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_shown_to_two_relays_is_proven() {
    let mut publisher = Publisher::start().await;
    let mut cheated = Crook::join(&publisher).await;
    let token = publisher.token("s", |_| {});
    cheated.submit(&publisher, &[brought(&token)]).await;
    assert_eq!(publisher.adapter.terminate().await, Some(0));
    let folder = tempfile::tempdir().unwrap();
    let without = copy(&publisher.adapter.data(), &folder.path().join("without"));
    publisher.adapter.restart().await;
    publisher.adapter.ready().await;
    cheated.connect().await;
    let claim = cheated.claim(publisher.id, &token, 1000);
    let promised = cheated.submit(&publisher, &[cheated.signed(claim)]).await.leaves[0].clone();
    assert_eq!(publisher.adapter.terminate().await, Some(0));
    let with = copy(&publisher.adapter.data(), &folder.path().join("with"));
    let size = publisher.log(&with).await.store().head().await.unwrap().size;
    // The other history is made as long, and one of the two goes on later.
    lengthen(&publisher, &without, size.get()).await;
    let [out, other] = ["out", "other"].map(|name| folder.path().join(name));
    let (one, two) = (published(&publisher, &with, &out).await, published(&publisher, &without, &other).await);
    assert_eq!(one.checkpoint().size, two.checkpoint().size);

    publisher.adapter.restart().await;
    publisher.adapter.ready().await;
    let (to_one, to_other) = (between(&publisher.adapter, &out).await, between(&publisher.adapter, &other).await);
    let (mut edge, deceived) = (joins(&to_one).await, joins(&to_other).await);
    let mut seen = Vec::new();
    for edge in [&edge, &deceived] {
        let looks = until_within(LOOK, "the relay's checkpoint", async || kept(edge, &publisher, "checkpoint"));
        seen.push(looks.await);
        assert_eq!(edge.status().await["logs"][0]["trouble"].as_str(), None, "each history is one by itself");
    }
    // They compare: the two files are the proof.
    Fork::verify(&seen[0], &seen[1], &publisher.log_key).unwrap();
    let since = deceived.data().join("networks").join(format!("{}.checkpoint", publisher.id));
    let (key, since) = (publisher.log_key.to_string(), since.to_str().unwrap());
    let compare = ["ledger", "verify", out.to_str().unwrap(), "--log-key", &key, "--since", since];
    refused(&compare, "keep both checkpoints").await;
    // The promise and the other history: its leaf of that number is another, by a proof under the signed root.
    let log = publisher.log(&without).await;
    let proof = log.prove(promised.index, &two).await.unwrap();
    let there = proof.verify_opening().unwrap().commitment();
    assert_ne!(there.0, promised.commitment);
    drop(log);
    // One relay is shown both, one after the other.
    lengthen(&publisher, &without, size.get() + 1).await;
    published(&publisher, &without, &other).await;
    show(&to_one, &other);
    edge.restart().await;
    let said = trouble(&edge).await;
    assert!(said.contains("rewritten"), "{said}");
    let both = until("the evidence", async || kept(&edge, &publisher, "contradiction")).await;
    assert!(both.contains(seen[0].trim_end()) && both.matches(publisher.log_key.name()).count() >= 2, "{both}");
    // What it was for.
    let mut settled = Vec::new();
    for (data, name) in [(&with, "settled-with"), (&without, "settled-without")] {
        let log = publisher.log(data).await;
        let mark = Submission::own(Kind::Mark, b"later").unwrap();
        let later = Clock::System.now().plus_ms(240_000);
        log.record(vec![mark], later, || Salt(rand::random())).await.unwrap();
        drop(log);
        settled.push(publisher.settle_in(data, name, AT_ONCE).await.earned(cheated.id));
    }
    assert_eq!(settled, [1000, 0]);
}
