//! Fifty fresh identities join and lie, each in its own way. Whatever they own, viewers get the origin's bytes.

use super::{
    adapter::Adapter,
    liar::{Act, Liar},
    origin::{Origin, Page, bytes},
    relay::Relay,
    seen::until,
};
use std::time::{Duration, Instant};
use weir_protocol::wire::{RefusalReason, ReplyFrame};

const IDENTITIES: usize = 50;
const OBJECTS: u8 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_fresh_identities_cannot_keep_anything_from_a_relay() {
    let adapter = Adapter::start(Origin::default(), 1).await;
    let (honest, viewer) = (Relay::join(&adapter).await, Relay::join(&adapter).await);
    let mut crowd = Vec::new();
    for n in 0..IDENTITIES {
        let liar = Liar::join(&adapter).await;
        let refused = ReplyFrame::Refused { reason: RefusalReason::Overloaded, detail: "later".into() };
        liar.will(match n % 3 {
            // Say that they are busy, answer with noise, or end the stream.
            0 => vec![Act::Frame(refused)],
            1 => vec![Act::Raw(bytes(5_000, n as u8))],
            _ => vec![Act::Reset],
        });
        crowd.push(liar);
    }
    for relay in [&honest, &viewer] {
        until("everybody", || relay.network.members().len() == IDENTITIES + 2).await;
    }
    let begun = Instant::now();
    for n in 0..OBJECTS {
        let path = format!("/{n}.ts");
        adapter.origin.put(&path, Page::new(bytes(50_000, n)));
        for relay in [&viewer, &honest] {
            assert_eq!(relay.body(&path).await, Ok(bytes(50_000, n)), "{path}");
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let asked: usize = crowd.iter().map(|liar| liar.asked().len()).sum();
    assert!(asked > 0, "they owned nothing, so nothing was tested");
    assert_eq!((0..OBJECTS).map(|n| adapter.origin.requests(&format!("/{n}.ts"))).sum::<usize>(), usize::from(OBJECTS));
}
