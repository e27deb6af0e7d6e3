//! What goes in comes out again: heads, ages, shared bodies, revalidations, records.

use crate::support::{MIB, NOW, Running, config, entry, files, head, noise, tagged};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};
use weir_protocol::{
    freshness::Storage,
    keys::{KeyEntry, KeyRing, RootKey, SigningKey, SigningKeyList},
    record::{HeaderBlock, RecordBody, SignedRecord},
    resource::ResourceKey,
};
use weir_relay::{
    object::{Ended, Entry, Evidence, Growing, Tree},
    store::{DiskOp, IntegrityStage, Reverify, SkipReason},
};

#[tokio::test]
async fn an_entry_outlives_the_process_with_its_head_and_age() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    let body = Bytes::from(noise(1, 300_000));
    let kept = entry("/a.mp4", body.clone());
    running.store.insert(kept.clone());
    assert!(Arc::ptr_eq(&running.store.get(&kept.hash).unwrap(), &kept));
    running.stop().await;

    let running = Running::open(dir.path());
    assert!(running.store.get(&kept.hash).is_none());
    let loaded = running.store.load(&kept.hash, NOW).await.unwrap();
    assert!(Arc::ptr_eq(&running.store.get(&kept.hash).unwrap(), &loaded));
    assert_eq!(loaded.body.joined().unwrap(), body);
    assert_eq!(loaded.body.tree().unwrap().root, blake3::hash(&body));
    assert_eq!(loaded.head.key, kept.head.key);
    assert_eq!(loaded.head.status, kept.head.status);
    assert_eq!(loaded.head.headers, kept.head.headers);
    assert_eq!(loaded.head.length, Some(300_000));
    assert_eq!(loaded.head.generation, kept.head.generation);
    assert_eq!(loaded.head.freshness, kept.head.freshness);
    assert_eq!(loaded.head.validators, kept.head.validators);
    assert!(matches!(loaded.head.evidence, Evidence::Trusted));
    assert_eq!(loaded.age_ms(NOW.plus_ms(1_000)), 6_000);
    assert_eq!(loaded.source, "disk");
    assert!(running.store.load(&entry("/other", "").hash, NOW).await.is_none());
    running.stop().await;
}

#[tokio::test]
async fn one_file_serves_equal_bodies_until_the_last_resource_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    let (one, two) = (entry("/one", noise(2, 50_000)), entry("/two", noise(2, 50_000)));
    running.keep(&one).await;
    running.keep(&two).await;
    assert_eq!(files(dir.path()).len(), 1);
    running.store.remove(&one.hash);
    running.store.flush().await;
    running.stop().await;

    let running = Running::open(dir.path());
    assert_eq!(running.body(&one.hash).await, None);
    assert_eq!(running.body(&two.hash).await.unwrap(), noise(2, 50_000));
    running.store.remove(&two.hash);
    assert_eq!(running.body(&two.hash).await, None);
    running.store.flush().await;
    assert!(files(dir.path()).is_empty());
    assert_eq!(running.store.usage().disk_entries, 0);
    running.stop().await;
}

#[tokio::test]
async fn a_revalidated_head_rewrites_the_index_alone() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    running.keep(&tagged("/a", noise(3, 90_000), "\"old\"")).await;
    let new = tagged("/a", noise(3, 90_000), "\"new\"");
    running.keep(&new).await;
    assert_eq!(running.events.count(&[&DiskOp::Write]), 1);
    running.stop().await;

    let running = Running::open(dir.path());
    let loaded = running.store.load(&new.hash, NOW).await.unwrap();
    assert_eq!(loaded.head.validators.etag.as_deref(), Some("\"new\""));
    running.stop().await;
}

#[tokio::test]
async fn a_new_body_replaces_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    running.keep(&entry("/live.m3u8", "old")).await;
    let new = entry("/live.m3u8", "new");
    running.keep(&new).await;
    assert_eq!(files(dir.path()).len(), 1);
    running.stop().await;
    let running = Running::open(dir.path());
    assert_eq!(running.body(&new.hash).await.unwrap(), "new");
    running.stop().await;
}

#[tokio::test]
async fn an_empty_body_is_a_body() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    let empty = entry("/empty", "");
    running.keep(&empty).await;
    running.stop().await;
    let running = Running::open(dir.path());
    assert_eq!(running.body(&empty.hash).await.unwrap(), "");
    running.stop().await;
}

#[tokio::test]
async fn removal_overtakes_what_waits_for_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    let gone = entry("/gone", noise(4, 10_000));
    running.store.insert(gone.clone());
    running.store.remove(&gone.hash);
    assert!(running.store.get(&gone.hash).is_none());
    assert_eq!(running.store.usage().queued_bytes, 0);
    running.stop().await;
    let running = Running::open(dir.path());
    assert_eq!(running.body(&gone.hash).await, None);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_loads_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    let kept = entry("/a", noise(5, 4 << 20));
    running.keep(&kept).await;
    running.stop().await;

    let running = Running::open(dir.path());
    let loads: Vec<_> = (0..50)
        .map(|_| {
            let (store, hash) = (running.store.clone(), kept.hash);
            tokio::spawn(async move { store.load(&hash, NOW).await.unwrap() })
        })
        .collect();
    let first = running.store.load(&kept.hash, NOW).await.unwrap();
    for load in loads {
        assert!(Arc::ptr_eq(&load.await.unwrap(), &first));
    }
    assert_eq!(running.events.count(&[&DiskOp::Read]), 1);
    running.stop().await;
}

/// A publisher and the ring that verifies it.
fn publisher() -> (SigningKey, KeyRing) {
    let (root, signer) = (RootKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let list = SigningKeyList {
        publisher: root.publisher_id(),
        issued: NOW,
        expires: NOW.plus_ms(1_000_000),
        keys: vec![KeyEntry::new(&signer, NOW.minus_ms(1_000_000), NOW.plus_ms(1_000_000))],
    };
    let ring = KeyRing::verify(root.publisher_id(), &list.sign(&root).unwrap(), NOW).unwrap();
    (signer, ring)
}

fn signed(signer: &SigningKey, ring: &KeyRing, path: &str, stated: &[u8], body: &[u8]) -> Arc<Entry> {
    let mut head = head(path, body.len(), "\"signed\"");
    head.key = ResourceKey::parse(ring.publisher(), path).unwrap();
    let record = RecordBody {
        key: head.key.clone(),
        status: 200,
        content_type: Some("video/mp4".into()),
        content_encoding: None,
        length: body.len() as u64,
        sha256: Sha256::digest(stated).into(),
        root: *blake3::hash(stated).as_bytes(),
        freshness: head.freshness,
        validators: head.validators.clone(),
        generation: head.generation,
        headers_sha256: [0; 32],
    };
    let block = HeaderBlock::new([("x-kept", "yes")]).unwrap();
    head.evidence = Evidence::Record(Arc::new(SignedRecord::sign(record, block, signer, NOW).unwrap()));
    let body = Bytes::copy_from_slice(body);
    let tree = Tree::compute(body.len() as u64, |at, length| body.slice(at as usize..at as usize + length));
    Arc::new(Entry::new(head, Growing::whole(body, Some(tree)), NOW, 0, "adapter"))
}

#[tokio::test]
async fn a_record_is_verified_again_and_waits_for_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    let (signer, ring) = publisher();
    let known = Arc::new(AtomicBool::new(true));
    let reverify = |ring: KeyRing, known: Arc<AtomicBool>| -> Reverify {
        let ring = Mutex::new(ring);
        Arc::new(move |record, key| {
            let known = known.load(Ordering::Relaxed);
            known.then(|| record.clone().verify(&ring.lock().unwrap(), key, NOW).ok()).flatten()
        })
    };
    let open = || Running::with(config(dir.path(), 64 * MIB), reverify(ring.clone(), known.clone()));
    let body = noise(6, 40_000);
    let kept = signed(&signer, &ring, "/a.m4s", &body, &body);
    let running = open();
    running.keep(&kept).await;
    running.stop().await;

    known.store(false, Ordering::Relaxed);
    let running = open();
    assert_eq!(running.body(&kept.hash).await, None);
    known.store(true, Ordering::Relaxed);
    let loaded = running.store.load(&kept.hash, NOW).await.unwrap();
    assert_eq!(loaded.record(), kept.record());
    assert_eq!(loaded.body.joined().unwrap(), body);
    assert_eq!(running.events.integrity_failures(), 0);
    running.stop().await;
}

#[tokio::test]
async fn a_body_that_its_record_does_not_cover_is_never_served_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (signer, ring) = publisher();
    let wrong = signed(&signer, &ring, "/a.m4s", b"what was signed", b"something else.");
    let running = Running::open(dir.path());
    running.keep(&wrong).await;
    running.stop().await;
    let reverify: Reverify = Arc::new(move |record, key| record.clone().verify(&ring, key, NOW).ok());
    let running = Running::with(config(dir.path(), 64 * MIB), reverify);
    assert_eq!(running.body(&wrong.hash).await, None);
    assert_eq!(running.events.count(&[&IntegrityStage::DiskBody]), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_longer_body_than_allowed_is_not_kept_and_ends_the_older_copy() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    running.keep(&entry("/a", "short")).await;
    let long = entry("/a", vec![0; (8 * MIB + 1) as usize]);
    running.keep(&long).await;
    assert!(running.store.get(&long.hash).is_none());
    assert_eq!(running.body(&long.hash).await, None);
    assert_eq!(running.events.count(&[&SkipReason::TooLarge]), 1);
    running.stop().await;
}

#[tokio::test]
#[should_panic(expected = "only whole, shareable entries are stored")]
async fn a_private_response_is_refused() {
    let running = Running::open(tempfile::tempdir().unwrap().path());
    let mut head = head("/key", 3, "\"k\"");
    head.freshness.store = Storage::Pass;
    running.store.insert(Arc::new(Entry::new(head, Growing::whole("key".into(), None), NOW, 0, "origin")));
}

#[tokio::test]
#[should_panic(expected = "only whole, shareable entries are stored")]
async fn a_failed_body_is_refused() {
    let running = Running::open(tempfile::tempdir().unwrap().path());
    let body = Growing::shared();
    body.end(Ended::Failed("gone".into()));
    running.store.insert(Arc::new(Entry::new(head("/a", 3, "\"k\""), body, NOW, 0, "origin")));
}
