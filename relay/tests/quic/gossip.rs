//! Gossip between whole nodes: passed on after a verdict, and not otherwise.

use weir_protocol::gossip::{MAX_ANNOUNCEMENT_BODY, Topic, TopicKind};
use weir_protocol::ids::PublisherId;
use weir_relay::control::{ControlError, Gossiped, Verdict};

use crate::common::{Node, V4, soon};
use tokio::sync::mpsc;

const TOPIC: Topic = Topic { publisher: PublisherId([7; 32]), kind: TopicKind::Announce };

/// Announces until somebody is connected that hears the topic.
async fn announce(node: &Node, body: &[u8]) {
    let said = async {
        while node.handle.publish(TOPIC, body.to_vec()).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    soon(said).await;
}

async fn next(messages: &mut mpsc::Receiver<Gossiped>) -> Gossiped {
    soon(messages.recv()).await.expect("the swarm runs")
}

#[tokio::test]
async fn what_is_accepted_is_passed_on_and_what_is_rejected_is_not() {
    let (author, middle, end) = (Node::start(V4).await, Node::start(V4).await, Node::start(V4).await);
    let mut at_middle = soon(middle.handle.subscribe(TOPIC)).await.unwrap();
    let mut at_end = soon(end.handle.subscribe(TOPIC)).await.unwrap();
    // A line: what reaches the end went through the middle.
    end.dial(&middle).await.unwrap();
    author.dial(&middle).await.unwrap();

    announce(&author, b"bad").await;
    let bad = next(&mut at_middle).await;
    assert_eq!((bad.body.as_slice(), bad.author, bad.topic), (b"bad".as_slice(), author.peer, TOPIC));
    assert!(soon(middle.handle.judge(bad, Verdict::Reject)).await.unwrap());

    // The mesh between middle and end takes a heartbeat to form; until it has, good news is repeated.
    let mut n = 0u32;
    let heard = async {
        loop {
            n += 1;
            author.handle.publish(TOPIC, format!("good {n}").into_bytes()).await.ok();
            let good = next(&mut at_middle).await;
            middle.handle.judge(good, Verdict::Accept).await.unwrap();
            let wait = std::time::Duration::from_millis(500);
            if let Ok(message) = tokio::time::timeout(wait, at_end.recv()).await {
                return message.unwrap();
            }
        }
    };
    let heard = soon(heard).await;
    assert!(heard.body.starts_with(b"good"), "{heard:?}");
    assert_eq!(heard.author, author.peer, "the author's own signature, not the forwarder's");

    let long = author.handle.publish(TOPIC, vec![0; MAX_ANNOUNCEMENT_BODY + 1]).await;
    assert!(matches!(long, Err(ControlError::Announce(_))));
    for node in [author, middle, end] {
        node.stop().await;
    }
}

#[tokio::test]
async fn a_flood_reaches_the_subscriber_no_further_than_its_burst() {
    let (author, middle) = (Node::start(V4).await, Node::start(V4).await);
    let mut heard = soon(middle.handle.subscribe(TOPIC)).await.unwrap();
    author.dial(&middle).await.unwrap();
    announce(&author, b"0").await;
    next(&mut heard).await;
    for n in 1..200 {
        author.handle.publish(TOPIC, format!("{n}").into_bytes()).await.ok();
    }
    // The connection works on, and what passed the guard is the burst and little more.
    assert_eq!(author.dial(&middle).await.unwrap(), middle.peer);
    let quiet = std::time::Duration::from_millis(700);
    let mut passed = 1;
    while let Ok(Some(_)) = tokio::time::timeout(quiet, heard.recv()).await {
        passed += 1;
    }
    assert!((2..=24).contains(&passed), "{passed} of 200 passed");
    for node in [author, middle] {
        node.stop().await;
    }
}
