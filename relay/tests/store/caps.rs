//! The caps hold at every moment, and what is used least recently goes first.

use crate::support::{MIB, NOW, Running, config, du, entry, never, noise};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use weir_relay::store::{EvictReason, SkipReason, Store, StoreConfig, Tier};

const CAP: u64 = 32 * MIB;

/// Inserts bodies of the given lengths and compares the cap with `du` whenever the writer has caught up with `every`.
async fn holds_the_cap(lengths: impl Iterator<Item = usize>, every: usize, evictions: u64) {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::with(config(dir.path(), CAP), never());
    for (at, length) in lengths.enumerate() {
        running.store.insert(entry(&format!("/{at}"), noise(at as u64, length)));
        if at % every == 0 {
            running.store.flush().await;
            let (used, usage) = (du(dir.path()), running.store.usage());
            assert!(used <= usage.disk_bytes, "{used} bytes on disk, {usage:?}");
            assert!(usage.disk_bytes <= CAP, "{usage:?}");
        }
    }
    assert!(running.events.count(&[&Tier::Disk, &EvictReason::Capacity]) >= evictions);
    running.store.flush().await;
    let rows = running.store.usage().disk_entries;
    assert!(rows > 0);
    running.stop().await;

    let running = Running::with(config(dir.path(), CAP), never());
    // The index may have taken a little more room when it was closed.
    assert!((rows / 2..=rows).contains(&running.store.usage().disk_entries));
    running.stop().await;
    assert!(du(dir.path()) <= CAP);
}

#[tokio::test]
async fn the_disk_cap_holds_for_bodies_of_any_size() {
    let mut random = StdRng::seed_from_u64(1);
    let lengths: Vec<_> = (0..600).map(|_| (random.next_u64() >> random.random_range(44..54)) as usize).collect();
    assert!(lengths.iter().sum::<usize>() as u64 > 40 * MIB);
    holds_the_cap(lengths.into_iter().chain((0..60).map(|at| at * 20_000)), 16, 20).await;
}

#[tokio::test]
async fn the_disk_cap_holds_for_very_many_small_bodies() {
    let mut random = StdRng::seed_from_u64(2);
    let lengths: Vec<_> = (0..8_000).map(|_| random.random_range(1..2_000)).collect();
    holds_the_cap(lengths.into_iter(), 100, 1_000).await;
}

#[tokio::test]
async fn a_smaller_cap_is_met_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::with(config(dir.path(), 3 * CAP), never());
    for at in 0..100 {
        running.store.insert(entry(&format!("/{at}"), noise(at, 600_000)));
        running.store.flush().await;
    }
    running.stop().await;
    assert!(du(dir.path()) > CAP);
    let running = Running::with(config(dir.path(), CAP), never());
    assert!(du(dir.path()) <= CAP);
    assert_eq!(running.body(&entry("/0", "").hash).await, None);
    assert_eq!(running.body(&entry("/99", "").hash).await.unwrap(), noise(99, 600_000));
    running.stop().await;
}

#[tokio::test]
async fn what_was_read_stays_over_a_restart_and_what_is_pinned_longest() {
    let dir = tempfile::tempdir().unwrap();
    let hash = |at: u64| entry(&format!("/{at}"), "").hash;
    let running = Running::with(config(dir.path(), CAP), never());
    for at in 0..20 {
        running.store.insert(entry(&format!("/{at}"), noise(at, 500_000)));
        running.store.flush().await;
    }
    assert_eq!(running.events.count(&[&Tier::Disk, &EvictReason::Capacity]), 0);
    running.stop().await;

    let running = Running::with(config(dir.path(), CAP), never());
    running.store.load(&hash(0), NOW).await.unwrap();
    running.stop().await;

    let running = Running::with(config(dir.path(), CAP), never());
    assert!(running.store.pin(&hash(1), NOW.plus_ms(1)));
    assert!(running.store.pin(&hash(2), NOW));
    for at in 20..100 {
        running.store.insert(entry(&format!("/{at}"), noise(at, 500_000)));
        running.store.flush().await;
        if running.events.count(&[&Tier::Disk, &EvictReason::Capacity]) == 10 {
            break;
        }
    }
    assert_eq!(running.events.count(&[&Tier::Disk, &EvictReason::Capacity]), 10);
    for (at, there) in [(0, true), (1, true), (2, false), (3, false), (11, false), (12, true)] {
        assert_eq!(running.body(&hash(at)).await.is_some(), there, "{at}");
    }
    running.stop().await;
}

#[tokio::test]
async fn the_memory_cap_holds() {
    let config = StoreConfig { memory_bytes: 8 * MIB, max_object_bytes: 4 * MIB, disk: None };
    let events = std::sync::Arc::new(crate::support::Counter::default());
    let store = Store::open(config, never(), events.clone()).unwrap();
    let mut random = StdRng::seed_from_u64(3);
    for at in 0..500 {
        store.insert(entry(&format!("/{at}"), vec![0; random.random_range(0..200_000)]));
        assert!(store.usage().memory_bytes <= 8 * MIB);
    }
    assert!(events.count(&[&Tier::Memory, &EvictReason::Capacity]) > 100);
    // A quarter of the tier can be kept, more cannot.
    let largest = entry("/largest", vec![0; 2 * MIB as usize - 4096]);
    store.insert(largest.clone());
    assert!(store.get(&largest.hash).is_some());
    let larger = entry("/larger", vec![0; 2 * MIB as usize]);
    store.insert(larger.clone());
    assert!(store.get(&larger.hash).is_none());
    assert_eq!(events.count(&[&SkipReason::TooLarge]), 1);
    assert!(store.load(&larger.hash, NOW).await.is_none());
}

#[tokio::test]
async fn what_is_pinned_stays_in_memory_and_the_cap_holds() {
    let config = StoreConfig { memory_bytes: 8 * MIB, max_object_bytes: 4 * MIB, disk: None };
    let store = Store::open(config, never(), std::sync::Arc::new(())).unwrap();
    let pinned: Vec<_> = (0..8).map(|at| entry(&format!("/live-{at}"), vec![0; 100_000])).collect();
    for (at, entry) in pinned.iter().enumerate() {
        // Some pins come before their entry.
        let pin = || assert!(store.pin(&entry.hash, NOW.plus_ms(1000)));
        if at % 2 == 0 {
            pin();
        }
        store.insert(entry.clone());
        if at % 2 == 1 {
            pin();
        }
    }
    for at in 0..500 {
        store.insert(entry(&format!("/{at}"), vec![0; 100_000]));
        assert!(store.usage().memory_bytes <= 8 * MIB);
    }
    assert!(pinned.iter().all(|entry| store.get(&entry.hash).is_some()));
    store.remove(&pinned[0].hash);
    assert!(store.get(&pinned[0].hash).is_none());
}

#[tokio::test]
async fn what_is_not_admitted_is_in_memory_only_and_an_older_copy_on_disk_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::with(config(dir.path(), CAP), never());
    for path in ["/a", "/b"] {
        running.store.insert(entry(path, noise(1, 5000)));
    }
    running.store.flush().await;
    running.store.insert_in_memory(entry("/a", noise(2, 6000)));
    running.store.flush().await;
    assert_eq!(running.body(&entry("/a", "").hash).await.unwrap(), noise(2, 6000));
    assert_eq!(running.store.usage().disk_entries, 1);
    assert_eq!(running.events.count(&[&SkipReason::NotAdmitted]), 1);
    assert!(!running.store.is_full());
    for at in 0..60 {
        running.store.insert(entry(&format!("/{at}"), noise(at, 500_000)));
        running.store.flush().await;
    }
    assert!(running.store.is_full());
    running.stop().await;
}

#[tokio::test]
async fn the_queue_is_bounded_and_a_full_one_costs_the_copy() {
    let dir = tempfile::tempdir().unwrap();
    let events = std::sync::Arc::new(crate::support::Counter::default());
    // Nobody writes: `run` is not called.
    let store = Store::open(config(dir.path(), CAP), never(), events.clone()).unwrap();
    for at in 0..20 {
        store.insert(entry(&format!("/{at}"), vec![at; 4 * MIB as usize]));
        assert!(store.usage().queued_bytes <= 64 * MIB);
    }
    assert_eq!(store.usage().queued_entries, 16);
    assert_eq!(events.count(&[&SkipReason::QueueFull]), 4);
    // What waits is served even when memory has evicted it.
    assert_eq!(store.load(&entry("/0", "").hash, NOW).await.unwrap().body.length(), 4 * MIB);
}
