//! Private bodies and those that are too long: never shared, never kept, held by a window.

use crate::scripted::{Answer, KIB, NOW, Node, bytes, gate, key, piece, read, small_window};
use std::{
    future::poll_fn,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    task::{JoinSet, yield_now},
    time::timeout,
};
use weir_protocol::resource::ResourceKey;
use weir_relay::fetch::{FetchConfig, FetchError, How};

#[tokio::test]
async fn a_slow_reader_of_a_private_body_holds_the_source_at_the_window() {
    let node = Node::with(small_window(), vec![Box::new(|_| Ok(Answer::new(1000).private()))]);
    let served = node.get().await.unwrap();
    let mut reader = served.entry.body.reader(0, None);
    let mut got = Vec::new();
    while let Some(bytes) = poll_fn(|cx| reader.poll_next(cx)).await {
        got.extend_from_slice(&bytes.unwrap());
        if got.len() % (100 * KIB as usize) == 0 {
            // Time enough for the pump to come as far as it may.
            for _ in 0..100 {
                yield_now().await;
            }
        }
        // The window, and the one piece that waits in the pump's hand.
        assert!(node.pulled() <= got.len() as u64 + 10 * KIB, "{} of {}", got.len(), node.pulled());
    }
    assert_eq!(got, bytes(1000));
    assert_eq!(node.fetch.store().usage().memory_entries, 0);
}

#[tokio::test]
async fn a_private_fill_ends_at_once_when_its_reader_leaves() {
    let node = Node::with(small_window(), vec![Box::new(|_| Ok(Answer::new(1000).private()))]);
    let served = node.get().await.unwrap();
    let mut reader = served.entry.body.reader(0, None);
    poll_fn(|cx| reader.poll_next(cx)).await.unwrap().unwrap();
    drop((reader, served));
    node.closed().await;
    assert!(node.pulled() < 20 * KIB);
}

#[tokio::test]
async fn a_private_fill_that_nobody_waits_for_any_more_does_not_even_begin() {
    let open = gate();
    let held = open.clone();
    let node = Node::with(small_window(), vec![Box::new(move |_| Ok(Answer::new(1000).private().behind(&held)))]);
    assert!(timeout(Duration::from_secs(1), node.fetch.get(&key(), 0)).await.is_err());
    open.add_permits(1);
    node.idle().await;
    node.closed().await;
    assert_eq!(node.pulled(), 0);
}

#[tokio::test]
async fn a_range_far_into_a_private_body_is_reached_within_the_window() {
    let node = Node::with(small_window(), vec![Box::new(|_| Ok(Answer::new(1000).private()))]);
    let begin = Instant::now();
    let served = node.get().await.unwrap();
    let got = read(served.entry.body.reader(900 * KIB, Some(902 * KIB))).await.unwrap();
    assert_eq!(got, [piece(900), piece(901)].concat());
    node.closed().await;
    assert!(begin.elapsed() < Duration::from_secs(10), "nothing waited for patience to end");
}

#[tokio::test]
async fn a_private_answer_is_never_shared_between_those_who_ask_at_once() {
    let open = gate();
    let held = open.clone();
    let node = Arc::new(Node::new(move |_| Ok(Answer::new(1).private().behind(&held))));
    let mut readers = JoinSet::new();
    for _ in 0..10 {
        let node = node.clone();
        readers.spawn(async move { node.get().await.unwrap().entry });
    }
    open.add_permits(10);
    let mut entries = Vec::new();
    while let Some(entry) = readers.join_next().await {
        entries.push(entry.unwrap());
    }
    assert_eq!(node.asked(), 10);
    for (at, entry) in entries.iter().enumerate() {
        assert!(entries[at + 1..].iter().all(|other| !other.body.is(&entry.body)));
    }
}

#[tokio::test]
async fn a_renewal_that_may_not_be_shared_is_not() {
    let open = gate();
    let held = open.clone();
    let node = Arc::new(Node::new(move |n| {
        Ok(match n {
            0 => Answer::new(1).with("etag", "\"1\"").with("cache-control", "max-age=10"),
            1 => Answer { status: 304, ..Answer::new(0).private().behind(&held) },
            _ => Answer::new(2).private(),
        })
    }));
    node.read().await.1.unwrap();
    node.idle().await;
    node.time.store(NOW + 11_000, Ordering::SeqCst);
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let node = node.clone();
        readers.spawn(async move { node.read().await.1.unwrap().len() as u64 / KIB });
    }
    while node.asked() == 1 {
        yield_now().await;
    }
    open.add_permits(1);
    let mut lengths = Vec::new();
    while let Some(length) = readers.join_next().await {
        lengths.push(length.unwrap());
    }
    lengths.sort_unstable();
    assert_eq!((lengths, node.asked()), (vec![1, 2, 2], 4));
    assert!(node.fetch.store().get(&key().hash()).is_none());
}

#[tokio::test]
async fn a_body_of_unannounced_length_is_broken_off_at_the_bound_and_an_announced_one_passes() {
    let config = FetchConfig { max_object_bytes: 10 * KIB, ..small_window() };
    let node = Node::with(
        config,
        vec![Box::new(|n| {
            Ok(match n {
                0 => Answer::new(100).unannounced(),
                _ => Answer::new(100),
            })
        })],
    );
    assert!(node.read().await.1.is_err());
    assert!(node.pulled() <= 12 * KIB);
    assert_eq!(node.read().await, (How::Miss, Ok(bytes(100))));
    assert_eq!(node.fetch.store().usage().memory_entries, 0);
}

#[tokio::test]
async fn fills_and_the_bytes_they_hold_are_bounded() {
    let open = gate();
    let held = open.clone();
    let config = FetchConfig { max_fills: 1, max_in_flight_bytes: 10 * KIB, ..FetchConfig::default() };
    let node = Node::with(config, vec![Box::new(move |_| Ok(Answer::new(11).behind(&held)))]);
    let other = ResourceKey::parse(key().publisher, "/2.ts").unwrap();
    let first = node.get();
    tokio::pin!(first);
    tokio::select! {
        biased;
        _ = &mut first => panic!("answered"),
        refused = node.fetch.get(&other, 0) => assert_eq!(refused.map(|_| ()), Err(FetchError::Overloaded)),
    }
    open.add_permits(2);
    let body = read(first.await.unwrap().entry.body.reader(0, None)).await;
    assert!(body.unwrap_err().contains("larger than 10240 bytes"));
    node.idle().await;
    // What the broken fill held is given back.
    let small = Node::with(config, vec![Box::new(|_| Ok(Answer::new(10)))]);
    for _ in 0..3 {
        assert_eq!(small.read().await.1, Ok(bytes(10)));
        small.idle().await;
        small.fetch.store().remove(&key().hash());
    }
}
