//! Objects that a parent is about to push here. A playlist reaches viewers before the segment it newly lists; whoever
//! asks for that segment in between waits for the push to begin, so that it does not leave the adapter twice.
//!
//! Invariant: at most [`MAX_AWAITED`] objects are awaited, none longer than it was announced for, and nobody waits for
//! one that has begun.

use dashmap::{DashMap, mapref::entry::Entry as Slot};
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use weir_protocol::ids::ResourceHash;

/// Objects awaited at once; further ones are asked for at once, as if nobody pushed.
const MAX_AWAITED: usize = 1024;

/// Each with when it is overdue. Whoever waits listens; that nobody speaks any more means that it has begun.
#[derive(Default)]
pub(super) struct Awaited(DashMap<ResourceHash, watch::Sender<Instant>>);

impl Awaited {
    /// A push of this object should begin `within` that time. What was said of it before counts no more, also for those
    /// who wait already.
    pub(super) fn announce(&self, hash: ResourceHash, within: Duration) {
        let now = Instant::now();
        if self.0.len() >= MAX_AWAITED {
            self.0.retain(|_, until| *until.borrow() > now);
        }
        let room = self.0.len() < MAX_AWAITED;
        match self.0.entry(hash) {
            Slot::Occupied(known) => {
                known.get().send_replace(now + within);
            }
            Slot::Vacant(slot) if room => {
                slot.insert(watch::Sender::new(now + within));
            }
            Slot::Vacant(_) => {}
        }
    }

    /// It has begun: a fill of it can be joined.
    pub(super) fn begun(&self, hash: &ResourceHash) {
        self.0.remove(hash);
    }

    /// Returns when a push of this object has begun, is overdue, or was never announced.
    pub(super) async fn wait(&self, hash: &ResourceHash) {
        let Some(mut told) = self.0.get(hash).map(|until| until.subscribe()) else { return };
        loop {
            let until = *told.borrow_and_update();
            match timeout_at(until, told.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_begun)) => return,
                Err(_overdue) => {
                    self.0.remove_if(hash, |_, known| *known.borrow() <= Instant::now());
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(500);

    #[tokio::test(start_paused = true)]
    async fn who_asks_waits_until_the_push_begins_or_is_overdue() {
        let (awaited, hash) = (Awaited::default(), ResourceHash::from_bytes([7; 32]));
        let begun = Instant::now();
        awaited.wait(&hash).await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "nobody announced it");
        awaited.announce(hash, SOON);
        let push = async {
            tokio::time::sleep(SOON / 5).await;
            awaited.begun(&hash);
        };
        tokio::join!(awaited.wait(&hash), push);
        assert_eq!(begun.elapsed(), SOON / 5);
        awaited.announce(hash, SOON);
        awaited.wait(&hash).await;
        assert_eq!(begun.elapsed(), SOON / 5 + SOON);
        awaited.wait(&hash).await;
        assert_eq!(begun.elapsed(), SOON / 5 + SOON, "an overdue push is awaited no more");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_announced_again_counts_for_those_who_wait_already() {
        let (awaited, hash) = (Awaited::default(), ResourceHash::from_bytes([7; 32]));
        let begun = Instant::now();
        let push = async |again: Duration, begins: bool| {
            tokio::time::sleep(SOON / 5).await;
            // The playlist that lists what the one before announced.
            awaited.announce(hash, again);
            tokio::time::sleep(SOON / 5).await;
            if begins {
                awaited.begun(&hash);
            }
        };
        awaited.announce(hash, SOON * 12);
        tokio::join!(awaited.wait(&hash), push(SOON, true));
        assert_eq!(begun.elapsed(), SOON / 5 * 2, "it has begun");
        awaited.announce(hash, SOON * 12);
        let begun = Instant::now();
        tokio::join!(awaited.wait(&hash), push(SOON, false));
        assert_eq!(begun.elapsed(), SOON / 5 + SOON, "it is overdue sooner");
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_is_bounded_and_the_overdue_make_room() {
        let awaited = Awaited::default();
        let hash = |n: u16| {
            let mut bytes = [0; 32];
            bytes[..2].copy_from_slice(&n.to_be_bytes());
            ResourceHash::from_bytes(bytes)
        };
        (0..2_000).for_each(|n| awaited.announce(hash(n), SOON));
        assert_eq!(awaited.0.len(), MAX_AWAITED);
        tokio::time::sleep(SOON * 2).await;
        awaited.announce(hash(3_000), SOON);
        assert_eq!(awaited.0.len(), 1);
    }
}
