//! kill -9 of the adapter, the database and an edge at any moment: nothing that was acknowledged is lost, nothing counts
//! twice.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::sync::mpsc;
use weir_protocol::{
    EdgeClaim, RelayId,
    statement::{Kind, Unverified},
};

use crate::{
    content::bytes,
    harness::{
        fetch::Fetch,
        process::Options,
        upstream::Script,
        wait::{PATIENCE, until, within},
        weir::{Edge, Weir},
    },
    postgres::PostgresServer,
    publisher::{AT_ONCE, Publisher},
    submitter::Submitter,
};

/// The adapter is killed while a relay submits.
async fn an_adapter_survives(kills: u64) {
    let mut publisher = Publisher::start().await;
    let mut submitter = Submitter::of(&publisher, 1).await;
    let mut random = StdRng::seed_from_u64(2);
    for round in 0..kills {
        let mut submitting = submitter.start();
        submitting.goes_on(&mut random).await;
        publisher.adapter.kill9();
        submitter = submitting.end().await;
        // The whole log is looked through now and then; the end looks at everything.
        if round % 20 == 0 {
            submitter.check(&publisher.log(&publisher.adapter.data()).await).await;
        }
        publisher.adapter.restart().await;
        submitter.crook.connect().await;
    }
    publisher.adapter.kill9();
    submitter.check(&publisher.log(&publisher.adapter.data()).await).await;
    publisher.adapter.restart().await;
    publisher.adapter.ready().await;
    println!("{kills} kills of the adapter: {}", submitter.settle(&mut publisher).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_the_adapter_lose_and_double_nothing() {
    an_adapter_survives(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: two hundred kills take minutes"]
async fn two_hundred_kills_of_the_adapter_lose_and_double_nothing() {
    an_adapter_survives(200).await;
}

/// The database is killed while a relay submits; in two rounds of three the adapter too, and in the third it goes on.
async fn a_database_survives(kills: u64) {
    let mut server = PostgresServer::start();
    let store = server.database("crash");
    let mut publisher = Publisher::with_store(store, &server.url("crash")).await;
    let mut submitter = Submitter::of(&publisher, 3).await;
    let mut random = StdRng::seed_from_u64(4);
    for round in 0..kills {
        let mut submitting = submitter.start();
        submitting.goes_on(&mut random).await;
        server.kill();
        let both = round % 3 != 0;
        if both {
            publisher.adapter.kill9();
        }
        server.run();
        if !both {
            // It goes on by itself, on the same connection.
            submitting.goes_on(&mut random).await;
            publisher.adapter.kill9();
        }
        submitter = submitting.end().await;
        if round % 20 == 0 {
            submitter.check(&publisher.log(&publisher.adapter.data()).await).await;
        }
        publisher.adapter.restart().await;
        submitter.crook.connect().await;
    }
    publisher.adapter.kill9();
    submitter.check(&publisher.log(&publisher.adapter.data()).await).await;
    publisher.adapter.restart().await;
    publisher.adapter.ready().await;
    println!("{kills} kills of the database: {}", submitter.settle(&mut publisher).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_kills_lose_and_double_nothing() {
    a_database_survives(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: two hundred kills take minutes"]
async fn postgres_two_hundred_kills_lose_and_double_nothing() {
    a_database_survives(200).await;
}

/// An edge is killed in the middle of deliveries. What it claims when it is back is never more than what viewers got, and
/// never less than what was delivered before the last round of claims that it finished.
async fn an_edge_survives(kills: u64) {
    const SMALL: usize = 20_000;
    const LARGE: usize = 3 << 20;
    let mut publisher = Publisher::start().await;
    publisher.upstream.put("/small.ts", Script::body(bytes(SMALL, 1)));
    publisher.upstream.put("/large.ts", Script::body(bytes(LARGE, 2)));
    let token = publisher.token("s", |claims| claims.exp += 24 * 3600);
    let mut edge = Edge::join(&publisher.adapter, Options::new().arg("--claim-seconds", 1)).await;
    let relay: RelayId = edge.status().await["relay"].as_str().unwrap().parse().unwrap();
    let mut random = StdRng::seed_from_u64(5);
    let (mut delivered, mut certain) = (0, 0);
    let claims = async |edge: &Edge| edge.status().await["meter"]["totals"]["claims"].as_u64().unwrap();
    let small = format!("/small.ts?weir_token={token}");
    for _ in 0..kills {
        let count = random.random_range(1..4);
        for _ in 0..count {
            assert_eq!(edge.get(&small).await.body.len(), SMALL);
        }
        // A round of claims that begins after these were delivered says them: there is one, since something new is to say.
        let before = claims(&edge).await;
        assert_eq!(edge.get(&small).await.body.len(), SMALL);
        until("a round of claims", async || (claims(&edge).await > before).then_some(())).await;
        certain += count * SMALL as u64;
        delivered += (count + 1) * SMALL as u64;
        let (url, enough) = (edge.url(&format!("/large.ts?weir_token={token}")), random.random_range(0..LARGE));
        let (reached, mut halfway) = mpsc::unbounded_channel();
        let watching = tokio::spawn(async move {
            let mut got = 0;
            // It breaks off, or was over before the kill.
            let _ = Fetch::new(&url)
                .stream(|piece| {
                    got += piece.len();
                    if got > enough {
                        let _ = reached.send(());
                    }
                })
                .await;
            got as u64
        });
        within(PATIENCE, "some of the body", halfway.recv()).await.unwrap();
        edge.kill9();
        delivered += within(PATIENCE, "the delivery to end", watching).await.unwrap();
        edge.restart().await;
        edge.ready().await;
    }
    // What it still owes is submitted when it ends.
    assert_eq!(edge.get(&small).await.body.len(), SMALL);
    (certain, delivered) = (certain + SMALL as u64, delivered + SMALL as u64);
    assert_eq!(edge.terminate().await, Some(0));
    let settled = publisher.settle(AT_ONCE).await;
    assert!(settled.settlement.misconduct.is_empty(), "{:?}", settled.settlement.misconduct);
    let claimed = settled.accepted(relay);
    assert!((certain..=delivered).contains(&claimed), "{certain} <= {claimed} <= {delivered}");
    // No claim is missing in the chain, and none was signed twice.
    let mut claims = Vec::new();
    for (_, opening) in settled.leaves(Kind::EdgeClaim) {
        claims.push(Unverified::<EdgeClaim>::new(opening.message.into()).verify().unwrap());
    }
    assert_eq!(claims[0].statement().previous, [0; 32]);
    assert!(claims.windows(2).all(|pair| pair[1].statement().follows(pair[0].hash())), "the chain is broken");
    let lost = delivered - claimed;
    println!("{kills} kills of an edge: {delivered} bytes delivered, {claimed} claimed, {lost} lost to the edge");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_an_edge_claim_nothing_twice() {
    an_edge_survives(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: two hundred kills take minutes"]
async fn two_hundred_kills_of_an_edge_claim_nothing_twice() {
    an_edge_survives(200).await;
}
