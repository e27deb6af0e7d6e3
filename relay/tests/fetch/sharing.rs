//! One fill for many, failures, refreshes and bounds.

use crate::scripted::{Answer, NOW, Node, Scripted, bytes, down, gate, key};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    task::{JoinSet, yield_now},
    time::timeout,
};
use weir_relay::{
    fetch::{Candidate, FetchConfig, FetchError, How},
    source::SourceError,
};

#[tokio::test]
async fn one_fill_serves_all_who_ask_while_it_runs_and_the_store_serves_the_rest() {
    let open = gate();
    let held = open.clone();
    let node = Arc::new(Node::new(move |_| Ok(Answer::new(50).behind(&held))));
    let mut readers = JoinSet::new();
    for _ in 0..100 {
        let node = node.clone();
        readers.spawn(async move { node.read().await });
    }
    while node.fetch.fills() == 0 {
        yield_now().await;
    }
    open.add_permits(1);
    let mut misses = 0;
    while let Some(got) = readers.join_next().await {
        let (how, body) = got.unwrap();
        misses += usize::from(how == How::Miss);
        assert_eq!(body.unwrap(), bytes(50));
    }
    node.idle().await;
    assert_eq!((misses, node.asked(), node.read().await.0), (1, 1, How::Hit));
    assert_eq!(node.seen.0.lock().unwrap().len(), 101, "each response is told to the observer once");
}

#[tokio::test]
async fn a_fill_outlives_the_requester_that_started_it() {
    let open = gate();
    let held = open.clone();
    let node = Node::new(move |_| Ok(Answer::new(5).behind(&held)));
    assert!(timeout(Duration::from_millis(1), node.fetch.get(&key(), 0)).await.is_err());
    open.add_permits(1);
    node.idle().await;
    assert_eq!(node.read().await, (How::Hit, Ok(bytes(5))));
}

/// The relay that is asked may itself wait for this one to pass on what it is pushed.
#[tokio::test]
async fn whoever_waits_for_a_relay_goes_on_with_what_is_pushed_here() {
    let never = gate();
    let node = Arc::new(Node::of_relays(move |_| Ok(Answer::new(3).behind(&never))));
    let viewers: Vec<_> = (0..2)
        .map(|_| {
            let node = node.clone();
            tokio::spawn(async move { node.read().await })
        })
        .collect();
    while node.asked() == 0 {
        yield_now().await;
    }
    let parent = Scripted::new(Box::new(|_| Ok(Answer::new(3))));
    let source = parent.trusted(node.fetch.clock(), &FetchConfig::default());
    let pushed = node.fetch.receive(&key(), false, vec![Candidate { source, label: "peer" }]).await.unwrap();
    assert_eq!((pushed.how, pushed.entry.source), (How::Miss, "peer"));
    for viewer in viewers {
        let (how, body) = viewer.await.unwrap();
        assert!(matches!(how, How::Hit | How::Collapsed) && body == Ok(bytes(3)), "{how:?}");
    }
    let ended = timeout(Duration::from_secs(10), node.fetch.drain()).await;
    assert!(ended.is_ok(), "nobody asks the relay any more");
    assert_eq!(node.asked(), 1);
}

#[tokio::test]
async fn those_who_joined_a_failing_fill_compete_again_and_the_first_is_told() {
    let open = gate();
    let held = open.clone();
    let node = Arc::new(Node::new(move |n| match n {
        // It fails when the gate opens, with everybody waiting.
        0 => Ok(Answer { status: 206, ..Answer::new(1).behind(&held) }),
        _ => Ok(Answer::new(3)),
    }));
    let mut readers = JoinSet::new();
    for _ in 0..50 {
        let node = node.clone();
        readers.spawn(async move { node.get().await.map(|served| served.how) });
    }
    // Single-threaded: one turn brings all of them to the fill.
    while node.asked() == 0 {
        yield_now().await;
    }
    open.add_permits(1);
    let mut failed = Vec::new();
    while let Some(got) = readers.join_next().await {
        failed.extend(got.unwrap().err());
    }
    assert!(matches!(&failed[..], [FetchError::NoSource(SourceError::BadResponse(_))]), "{failed:?}");
    assert_eq!(node.asked(), 2);
}

#[tokio::test]
async fn a_source_that_fails_for_good_is_asked_once_more_for_all_who_waited() {
    let node = Arc::new(Node::new(|_| Err(down())));
    let mut readers = JoinSet::new();
    for _ in 0..50 {
        let node = node.clone();
        readers.spawn(async move { node.get().await.map(|_| ()) });
    }
    while let Some(got) = readers.join_next().await {
        assert_eq!(got.unwrap(), Err(FetchError::NoSource(down())));
    }
    assert!(node.asked() <= 2, "{} requests", node.asked());
}

#[tokio::test]
async fn the_next_source_is_asked_when_one_fails_before_its_head() {
    let node = Node::with(FetchConfig::default(), vec![Box::new(|_| Err(down())), Box::new(|_| Ok(Answer::new(2)))]);
    assert_eq!(node.read().await, (How::Miss, Ok(bytes(2))));
    assert_eq!(node.sources[1].asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_trusted_body_that_breaks_off_is_never_continued_from_another_answer() {
    let node = Node::with(
        FetchConfig::default(),
        vec![
            Box::new(|n| Ok(if n == 0 { Answer::new(3).breaking() } else { Answer::new(4) })),
            Box::new(|_| Ok(Answer::new(4))),
        ],
    );
    let (how, body) = node.read().await;
    assert_eq!((how, body.is_err()), (How::Miss, true));
    // Whoever saw the end asks again at once, and nothing of it is in the way.
    assert_eq!(node.read().await, (How::Miss, Ok(bytes(4))));
    assert_eq!(node.sources[1].asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_refresh_asks_although_what_is_held_is_fresh() {
    let node = Node::new(|n| {
        let answer = Answer::new(1).with("etag", "\"1\"").with("cache-control", "max-age=60");
        Ok(if n == 0 { answer } else { Answer { status: 304, pieces: 0, ..answer } })
    });
    node.read().await.1.unwrap();
    node.idle().await;
    assert_eq!(node.fetch.refresh(&key()).await.unwrap().how, How::Revalidated);
    assert_eq!((node.asked(), node.sources[0].conditional.load(Ordering::SeqCst)), (2, 1));
    node.idle().await;
    assert_eq!(node.get().await.unwrap().how, How::Hit);
}

#[tokio::test]
async fn stale_copies_are_for_as_long_as_they_may_be_used() {
    let node = Node::new(|n| match n {
        0 => Ok(Answer::new(1).with("cache-control", "max-age=10, stale-if-error=10")),
        _ => Err(down()),
    });
    node.read().await.1.unwrap();
    node.idle().await;
    assert_eq!(node.fetch.stale(&key()).unwrap().how, How::Hit);
    node.time.store(NOW + 15_000, Ordering::SeqCst);
    assert_eq!(node.fetch.stale(&key()).unwrap().how, How::StaleIfError);
    assert_eq!(node.get().await.unwrap().how, How::StaleIfError);
    node.idle().await;
    node.time.store(NOW + 20_000, Ordering::SeqCst);
    assert!(node.fetch.stale(&key()).is_none());
    assert_eq!(node.get().await.map(|_| ()), Err(FetchError::NoSource(down())));
}
