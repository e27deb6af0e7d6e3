//! What somebody else can check, in another folder, from what was published.

use std::path::Path;

use weir_ledger::log::{Log, LogKeys, Publisher, WitnessClient};
use weir_ledger::note::{KeyKind, NoteKey, NoteVerifier};
use weir_ledger::settle::{
    CheckError, POLICY_FILE, SETTLEMENT_CSV, SETTLEMENT_JSON, SettleInput, check_folder, forgettable, settle,
    totals_messages,
};
use weir_ledger::tile::Folder;
use weir_ledger::{Salt, Store, StoreUrl, Submission};
use weir_protocol::Epoch;
use weir_protocol::statement::Kind;

use crate::support::{adds_up, at_once};
use crate::world::{FIRST, HOUR, ORIGIN, World, policy, relay};

/// Nobody cosigns in these tests.
struct NoWitness(NoteVerifier);

impl WitnessClient for NoWitness {
    fn key(&self) -> &NoteVerifier {
        &self.0
    }

    async fn post(&self, _body: String) -> Result<(u16, String), String> {
        Err("no network".into())
    }
}

fn note_key() -> NoteKey {
    NoteKey::new(ORIGIN, KeyKind::Log, &[0x66; 32]).unwrap()
}

/// A world with enough leaves for several tiles.
fn world() -> World {
    let mut world = World::new();
    let keys = [relay(1), relay(2), relay(3)];
    keys.iter().for_each(|key| _ = world.grant(key, "/", |_| {}));
    for epoch in 0..3 {
        world.at(epoch, 10);
        for session in 0..40 {
            let token = world.token(&format!("s{epoch}-{session}"), |_| {});
            for key in &keys {
                world.claim(key, epoch, token, 1_000_000 + session * 7);
            }
        }
        world.receipt(&keys[0], &keys[1], epoch, 1, 400_000);
    }
    world.payee(&keys[0], 1, Some(0xaa), None);
    world.later(40);
    world
}

/// Puts the world's leaves into a real log and publishes it.
async fn publish(world: &World, root: &Path) -> (Log, Folder) {
    let store = Store::open(&StoreUrl::Redb(root.join("ledger.redb")), ORIGIN).await.unwrap();
    let keys = LogKeys { publisher: world.publisher(), note: note_key(), promises: world.signing() };
    let log = Log::new(store, keys);
    for (submission, leaf) in world.submissions().into_iter().zip(&world.leaves) {
        log.record(vec![submission], leaf.received, || Salt(rand::random())).await.unwrap();
    }
    let folder = Folder::new(root.join("published"));
    write(world, &log, &folder).await;
    (log, folder)
}

async fn write(world: &World, log: &Log, folder: &Folder) {
    let every = std::time::Duration::from_secs(1);
    let mut publisher: Publisher<NoWitness> = Publisher::new(log.clone(), Some(folder.clone()), true, vec![], every);
    let checkpoint = publisher.publish().await.unwrap();
    let policy = policy(&at_once());
    folder.write(POLICY_FILE, at_once().as_bytes()).unwrap();
    let source = (folder, checkpoint.checkpoint().size);
    let input = SettleInput {
        source: &source,
        root: checkpoint.checkpoint().root,
        publisher: world.publisher(),
        policy: &policy,
    };
    let settled = settle(input).unwrap();
    adds_up(&settled);
    folder.write(SETTLEMENT_JSON, settled.json().unwrap().as_bytes()).unwrap();
    folder.write(SETTLEMENT_CSV, settled.csv().as_bytes()).unwrap();
}

fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn somebody_else_comes_to_the_same_and_finds_every_changed_byte() {
    let world = world();
    let temporary = tempfile::tempdir().unwrap();
    let (_log, folder) = publish(&world, temporary.path()).await;
    let log = note_key();
    let checked = check_folder(&folder, log.verifier(), world.publisher()).unwrap();
    assert_eq!(checked.settlement.lines.len(), 3 * 3 + 3);
    assert_eq!(checked.checkpoint.checkpoint().size.get(), world.leaves.len() as u64);
    let files = files(folder.path());
    assert!(files.iter().any(|file| file == "tile/1/000.p/1") && files.iter().any(|file| file == "tile/entries/000"));
    let mut random = 7_usize;
    for file in &files {
        let path = folder.path().join(file);
        let original = std::fs::read(&path).unwrap();
        for round in 0..12 {
            // First and last byte, and others here and there.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = match round {
                0 => 0,
                1 => original.len() - 1,
                _ => (random >> 33) % original.len(),
            };
            let mut changed = original.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            let found = check_folder(&folder, log.verifier(), world.publisher());
            let error = match found {
                Ok(_) => panic!("byte {at} of {file} can be changed unnoticed"),
                Err(error) => error.to_string(),
            };
            let named = error.contains(file.as_str())
                // A tile that was changed disagrees with the one above it, which is named instead.
                || file.starts_with("tile/") && error.contains("tile/")
                // Another policy is another settlement: the first number that differs is named.
                || file == POLICY_FILE && error.contains("settlement.json");
            assert!(named, "byte {at} of {file}: {error}");
        }
        std::fs::write(&path, &original).unwrap();
    }
    check_folder(&folder, log.verifier(), world.publisher()).unwrap();
}

#[tokio::test]
async fn withheld_evidence_is_noticed() {
    let world = world();
    let temporary = tempfile::tempdir().unwrap();
    let (_log, folder) = publish(&world, temporary.path()).await;
    let place: weir_ledger::tile::TilePlace = "openings/000".parse().unwrap();
    let mut openings = folder.openings(&place).unwrap();
    let claim =
        openings.iter().position(|opening| opening.as_ref().is_some_and(|o| o.kind == Kind::EdgeClaim)).unwrap();
    openings[claim] = None;
    folder.write("openings/000", &weir_ledger::tile::encode_openings(&openings)).unwrap();
    let error = check_folder(&folder, note_key().verifier(), world.publisher()).unwrap_err();
    assert!(matches!(error, CheckError::Withheld { first, more: 0 } if first == claim as u64), "{error}");
}

#[tokio::test]
async fn a_forged_checkpoint_and_a_second_history_prove_themselves() {
    let world = world();
    let temporary = tempfile::tempdir().unwrap();
    let (_log, folder) = publish(&world, temporary.path()).await;
    let real = String::from_utf8(folder.read("checkpoint").unwrap().unwrap()).unwrap();
    // Another key's checkpoint is refused.
    let forger = NoteKey::new(ORIGIN, KeyKind::Log, &[0x67; 32]).unwrap();
    let checkpoint = weir_ledger::SignedCheckpoint::verify(&real, note_key().verifier()).unwrap();
    let forged = checkpoint.checkpoint().clone().sign(&forger).unwrap();
    folder.write("checkpoint", forged.to_string().as_bytes()).unwrap();
    let error = check_folder(&folder, note_key().verifier(), world.publisher()).unwrap_err();
    assert!(matches!(error, CheckError::Checkpoint(_)), "{error}");
    // The log's own second history of the same size is a proof against it, whoever was shown which.
    let mut other = checkpoint.checkpoint().clone();
    other.root = weir_ledger::RootHash::from_bytes([7; 32]);
    let other = other.sign(&note_key()).unwrap().to_string();
    weir_ledger::note::Fork::verify(&real, &other, note_key().verifier()).unwrap();
    folder.write("checkpoint", other.as_bytes()).unwrap();
    let error = check_folder(&folder, note_key().verifier(), world.publisher()).unwrap_err();
    assert!(matches!(error, CheckError::Root), "{error}");
}

#[tokio::test]
async fn totals_stand_for_what_was_deleted() {
    let mut world = world();
    let temporary = tempfile::tempdir().unwrap();
    let (log, folder) = publish(&world, temporary.path()).await;
    let before = check_folder(&folder, note_key().verifier(), world.publisher()).unwrap().settlement;
    for epoch in 0..2 {
        let messages = totals_messages(&before, Epoch(FIRST.0 + epoch)).unwrap().unwrap();
        for message in messages {
            let submission = Submission::own(Kind::EpochTotals, message.as_bytes()).unwrap();
            log.record(vec![submission], world.now, || Salt(rand::random())).await.unwrap();
        }
    }
    world.now = world.now.plus_ms(HOUR);
    log.record(vec![Submission::own(Kind::Mark, b"later").unwrap()], world.now, || Salt(rand::random())).await.unwrap();
    write(&world, &log, &folder).await;
    check_folder(&folder, note_key().verifier(), world.publisher()).unwrap();
    let size = log.store().head().await.unwrap().size;
    let leaves = forgettable(&(&folder, size), Epoch(FIRST.0 + 1)).unwrap();
    assert_eq!(leaves.len(), 2 * (40 + 120));
    log.store().forget(leaves).await.unwrap();
    let fresh = Folder::new(temporary.path().join("again"));
    write(&world, &log, &fresh).await;
    let after = check_folder(&fresh, note_key().verifier(), world.publisher()).unwrap().settlement;
    assert_eq!(after.lines, before.lines, "every line stays");
    assert_eq!(after.from_totals, [FIRST, Epoch(FIRST.0 + 1)]);
    // Nothing that names a session of the deleted epochs is left in the openings.
    let told = std::fs::read(fresh.path().join("openings/000")).unwrap();
    assert!(!String::from_utf8_lossy(&told).contains("eyJ"), "no token");
}
