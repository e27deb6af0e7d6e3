//! Forgetting by key, in both tiers and over a restart.

use crate::support::{NOW, Running, entry, files, noise};
use weir_protocol::resource::ResourceKey;

fn film(key: &ResourceKey) -> bool {
    key.path.as_str().starts_with("/film/")
}

#[tokio::test]
async fn a_purge_finds_what_is_in_memory_on_disk_and_on_its_way() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    let on_disk = entry("/film/on-disk.ts", noise(1, 50_000));
    let stays = entry("/films.ts", noise(2, 50_000));
    running.keep(&on_disk).await;
    running.keep(&stays).await;
    running.stop().await;

    // After a restart nothing is in memory; one entry more is queued for the disk.
    let running = Running::open(dir.path());
    let fresh = entry("/film/fresh.ts", noise(3, 50_000));
    running.store.insert(fresh.clone());
    assert_eq!(running.store.purge(film).await, 2);
    for gone in [&on_disk, &fresh] {
        assert!(running.store.get(&gone.hash).is_none());
        assert!(running.store.load(&gone.hash, NOW).await.is_none());
    }
    assert!(running.store.load(&stays.hash, NOW).await.is_some());
    running.store.flush().await;
    assert_eq!(files(dir.path()).len(), 1, "the bodies are deleted");
    assert_eq!(running.store.purge(film).await, 0);
    running.stop().await;

    let running = Running::open(dir.path());
    assert!(running.store.load(&on_disk.hash, NOW).await.is_none(), "it does not come back");
    assert!(running.store.load(&stays.hash, NOW).await.is_some());
    running.stop().await;
}
