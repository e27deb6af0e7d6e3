//! A small published log under `tests/vectors/log`, for verifiers in other languages (`tests/python/verify_log.py`), and a
//! distributor under `tests/vectors/distributor.json`, for OpenZeppelin's library. Everything is made from fixed seeds;
//! after a deliberate change of format write them anew with `WEIR_WRITE_VECTORS=1 cargo test -p weir-ledger --test ledger`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_ledger::export::Distributor;
use weir_ledger::log::Publisher;
use weir_ledger::note::{KeyKind, NoteKey, cosign};
use weir_ledger::tile::{CHECKPOINT_FILE, Folder};
use weir_ledger::{Salt, Submission};
use weir_protocol::UnixMillis;
use weir_protocol::statement::Kind;

use crate::promises::{Nobody, log, note_key};
use crate::world::World;

const LEAVES: u64 = 300;
const EARLIER: u64 = 170;
const PROVEN: u64 = 77;

fn stored() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/log")
}

fn files(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

async fn make(root: &Path) {
    let world = World::new();
    let store = root.join("store");
    std::fs::create_dir_all(&store).unwrap();
    let log = log(&world, &store).await;
    let folder = Folder::new(root.join("log"));
    let mut publisher: Publisher<Nobody> =
        Publisher::new(log.clone(), Some(folder.clone()), true, vec![], Duration::from_secs(1));
    let witness = NoteKey::new("witness.example/w1", KeyKind::Witness, &[0x77; 32]).unwrap();
    let mut added = 0;
    let mut checkpoint = None;
    for until in [EARLIER, LEAVES] {
        while added < until {
            let salt = Salt([u8::try_from(added % 251).unwrap(); 16]);
            let submission = Submission::own(Kind::Mark, &added.to_be_bytes()).unwrap();
            log.record(vec![submission], UnixMillis(world.now.0 + added), || salt).await.unwrap();
            added += 1;
        }
        let mut signed = publisher.publish().await.unwrap();
        if until == EARLIER {
            folder.write("earlier-checkpoint", signed.to_string().as_bytes()).unwrap();
        }
        signed.add(cosign(signed.note().text(), &witness, UnixMillis(1_800_000_000_000)).unwrap());
        checkpoint = Some(signed);
    }
    let checkpoint = checkpoint.unwrap();
    folder.write(CHECKPOINT_FILE, checkpoint.to_string().as_bytes()).unwrap();
    let proof = log.prove(PROVEN, &checkpoint).await.unwrap();
    folder.write("leaf.tlog-proof", proof.to_string().as_bytes()).unwrap();
    let keys = format!("{}\n{}\n", note_key().verifier(), witness.verifier());
    folder.write("keys", keys.as_bytes()).unwrap();
}

fn distributor() -> String {
    let values = (0..17_u8).map(|at| ([at * 15 + 1; 20], u64::from(at) * 1_000_003 + 1)).collect();
    format!("{:#}\n", Distributor::new(values).unwrap().dump())
}

#[tokio::test]
async fn stored_vectors_are_what_this_crate_makes() {
    let temporary = tempfile::tempdir().unwrap();
    make(temporary.path()).await;
    let made = temporary.path().join("log");
    let distributor_file = stored().with_file_name("distributor.json");
    if std::env::var_os("WEIR_WRITE_VECTORS").is_some() {
        let _ = std::fs::remove_dir_all(stored());
        for (name, bytes) in files(&made) {
            let path = stored().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        std::fs::write(&distributor_file, distributor()).unwrap();
    }
    let (stored, made) = (files(&stored()), files(&made));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&stored), names(&made));
    for ((name, stored), (_, made)) in stored.iter().zip(&made) {
        assert!(stored == made, "{name} differs");
    }
    assert_eq!(std::fs::read_to_string(&distributor_file).unwrap(), distributor());
}
