//! Closing the doors: what is in flight finishes, nothing new begins, and patience ends.

use crate::{
    client::{Client, WAYS, Way},
    site::{Open, PIECE, within},
};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use weir_edge::doors::{Doors, DoorsConfig, Limits};

#[tokio::test]
async fn a_response_in_flight_finishes_and_newcomers_are_refused() {
    for way in WAYS {
        let mut open = Open::new();
        let mut client = Client::open(&open, way).await;
        let mut idle = Client::open(&open, way).await;
        idle.get("/hello").await;
        let gate = open.gate.clone();
        let cancel = open.cancel.clone();
        let (tls, plain) = (open.tls, open.plain);
        let reply = tokio::spawn(async move { client.get("/gated").await });
        assert_eq!(open.event().await, "body made");
        cancel.cancel();
        within(async {
            // The listeners close as soon as their tasks see the cancellation.
            while TcpStream::connect(plain).await.is_ok() || TcpStream::connect(tls).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        if way == Way::H3 {
            assert!(within(Client::try_open(&open, way)).await.is_err());
        }
        gate.notify_one();
        let reply = within(reply).await.expect("no panic");
        assert_eq!((reply.body.len(), reply.cut), (2 * PIECE, None), "{way:?}");
        open.drained().await.expect("a clean end");
    }
}

#[tokio::test]
async fn the_grace_period_ends() {
    for way in WAYS {
        let mut open = Open::with(Limits { grace: Duration::from_millis(100), ..Limits::default() });
        let mut client = Client::open(&open, way).await;
        let reply = tokio::spawn(async move { client.get("/gated").await });
        assert_eq!(open.event().await, "body made");
        let begun = Instant::now();
        open.cancel.cancel();
        assert_eq!(open.event().await, "body dropped");
        open.drained().await.expect("a clean end");
        assert!(begun.elapsed() < Duration::from_secs(5));
        let reply = within(reply).await.expect("no panic");
        assert!(reply.cut.is_some(), "{way:?}");
    }
}

#[tokio::test]
async fn idle_doors_close_at_once() {
    let open = Open::new();
    let mut clients = Vec::new();
    for way in WAYS {
        let mut client = Client::open(&open, way).await;
        client.get("/hello").await;
        clients.push(client);
    }
    let begun = Instant::now();
    open.close().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn encrypted_doors_need_a_certificate() {
    let config = DoorsConfig { tls: vec!["127.0.0.1:0".parse().expect("an address")], ..DoorsConfig::plain(vec![]) };
    assert!(Doors::bind(config).is_err());
}
