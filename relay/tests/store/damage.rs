//! Damaged files are found by length and hash, never served, and replaced by a new copy.

use crate::support::{NOW, Running, entry, files, noise};
use std::{fs, path::Path, sync::Arc};
use weir_relay::{
    object::Entry,
    store::{EvictReason, IntegrityStage, SkipReason, Tier},
};

const LENGTH: usize = 100_000;

/// Keeps one entry (and another resource with the same body), damages the file while nothing of it is in memory, and
/// expects it to be dropped, refetched and served.
async fn survives(damage: impl FnOnce(&Path), found_at_start: bool) {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (entry("/one", noise(1, LENGTH)), entry("/two", noise(1, LENGTH)));
    let other = entry("/other", noise(2, LENGTH));
    let running = Running::open(dir.path());
    for entry in [&one, &two, &other] {
        running.keep(entry).await;
    }
    running.stop().await;

    let root = blake3::hash(&noise(1, LENGTH)).to_hex();
    let running = if found_at_start {
        damage(&dir.path().join("bodies").join(&root[..2]).join(root.as_str()));
        Running::open(dir.path())
    } else {
        let running = Running::open(dir.path());
        damage(&dir.path().join("bodies").join(&root[..2]).join(root.as_str()));
        running
    };
    assert_eq!(running.body(&one.hash).await, None);
    assert_eq!(running.body(&two.hash).await, None);
    assert_eq!(running.store.usage().disk_entries, 1);
    running.store.flush().await;
    assert_eq!(files(dir.path()).len(), 1);
    assert_eq!(running.body(&other.hash).await.unwrap(), noise(2, LENGTH));
    if !found_at_start {
        assert_eq!(running.events.count(&[&IntegrityStage::DiskBody]), 1);
        assert_eq!(running.events.count(&[&Tier::Disk, &EvictReason::Damaged]), 2);
    }
    running.keep(&one).await;
    running.stop().await;
    let running = Running::open(dir.path());
    assert_eq!(running.body(&one.hash).await.unwrap(), noise(1, LENGTH));
    running.stop().await;
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[LENGTH / 2] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn truncate(path: &Path) {
    fs::File::options().write(true).open(path).unwrap().set_len(LENGTH as u64 - 1).unwrap();
}

fn extend(path: &Path) {
    fs::File::options().write(true).open(path).unwrap().set_len(LENGTH as u64 + 1).unwrap();
}

fn delete(path: &Path) {
    fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_flipped_bit_is_found() {
    survives(flip, false).await;
    survives(flip, true).await;
}

#[tokio::test]
async fn a_short_file_is_found() {
    survives(truncate, false).await;
    survives(truncate, true).await;
}

#[tokio::test]
async fn a_long_file_is_found() {
    survives(extend, false).await;
    survives(extend, true).await;
}

#[tokio::test]
async fn a_missing_file_is_found() {
    survives(delete, false).await;
    survives(delete, true).await;
}

async fn kept(dir: &Path, count: u64) -> Vec<Arc<Entry>> {
    let running = Running::open(dir);
    let entries: Vec<_> = (0..count).map(|at| entry(&format!("/{at}"), noise(at, 5_000))).collect();
    for entry in &entries {
        running.store.insert(entry.clone());
    }
    running.stop().await;
    entries
}

#[tokio::test]
async fn a_damaged_index_is_moved_aside_and_the_cache_begins_empty() {
    for damage in [
        (|bytes| bytes.fill(0x5a)) as fn(&mut Vec<u8>),
        |bytes| bytes.truncate(bytes.len() / 3),
        |bytes| bytes.truncate(100),
        |bytes| bytes[..64].fill(0),
        // Everything behind the header: the pages of both tables.
        |bytes| bytes[4096..].iter_mut().for_each(|byte| *byte ^= 0x80),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let entries = kept(dir.path(), 20).await;
        let index = dir.path().join("index.redb");
        let mut bytes = fs::read(&index).unwrap();
        damage(&mut bytes);
        fs::write(&index, bytes).unwrap();

        let running = Running::open(dir.path());
        assert_eq!(running.body(&entries[0].hash).await, None);
        assert!(files(dir.path()).is_empty());
        assert!(dir.path().join("index.redb.damaged").exists());
        running.keep(&entries[0]).await;
        running.stop().await;
        let running = Running::open(dir.path());
        assert_eq!(running.body(&entries[0].hash).await.unwrap(), noise(0, 5_000));
        running.stop().await;
    }
}

#[tokio::test]
async fn orphans_and_unfinished_files_are_removed_and_foreign_ones_left() {
    let dir = tempfile::tempdir().unwrap();
    let entries = kept(dir.path(), 3).await;
    let fan = files(dir.path())[0].parent().unwrap().to_owned();
    let orphan = blake3::hash(b"nobody's").to_hex();
    for name in [orphan.as_str(), "tmp-half", "notes.txt"] {
        fs::write(fan.join(name), "left over").unwrap();
    }
    let running = Running::open(dir.path());
    assert_eq!(files(dir.path()).len(), 4);
    assert!(fan.join("notes.txt").exists());
    for (at, entry) in entries.iter().enumerate() {
        assert_eq!(running.body(&entry.hash).await.unwrap(), noise(at as u64, 5_000));
    }
    running.stop().await;
}

#[tokio::test]
async fn a_disk_that_refuses_writes_costs_copies_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    let before = entry("/before", noise(1, 5_000));
    running.keep(&before).await;
    let bodies = dir.path().join("bodies");
    fs::rename(&bodies, dir.path().join("away")).unwrap();
    fs::write(&bodies, "not a directory").unwrap();
    let refused = entry("/refused", noise(2, 5_000));
    running.keep(&refused).await;
    assert_eq!(running.events.count(&[&SkipReason::Error]), 1);
    assert!(running.store.get(&refused.hash).is_some());

    fs::remove_file(&bodies).unwrap();
    fs::rename(dir.path().join("away"), &bodies).unwrap();
    running.keep(&refused).await;
    running.stop().await;
    let running = Running::open(dir.path());
    assert_eq!(running.store.usage().disk_entries, 2);
    assert!(running.store.load(&before.hash, NOW).await.is_some());
    assert!(running.store.load(&refused.hash, NOW).await.is_some());
    running.stop().await;
}
