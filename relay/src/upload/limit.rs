//! The limit as transfers meet it: ask before each piece. Invariant: whoever stops waiting leaves no place behind.

use super::queue::{Queue, Ticket, Verdict};
use std::{
    num::NonZeroU64,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use weir_protocol::wire::Class;

/// What background transfers may take of a limit, in percent, unless the operator says otherwise.
pub const DEFAULT_BACKGROUND_PERCENT: u8 = 20;
/// Most bytes of one piece under a limit, signed chunks excepted, which go whole: an urgent transfer waits at most as
/// long as one takes.
const PIECE: usize = 64 * 1024;

/// The node's upload limit, or none. Cheap to clone; clones share the limit.
#[derive(Debug, Clone, Default)]
pub struct UploadLimit(Option<Arc<Limited>>);

#[derive(Debug)]
struct Limited {
    rate: NonZeroU64,
    queue: Mutex<Queue>,
    /// Told whenever the first place may have changed.
    moved: Notify,
}

impl UploadLimit {
    /// No limit.
    pub fn none() -> Self {
        Self(None)
    }

    /// At most so many bytes a second, of which background transfers get at most `background_percent` (0 is taken for
    /// 1: what waits for ever would only be retried) and only while nothing else waits.
    pub fn new(bytes_per_second: NonZeroU64, background_percent: u8) -> Self {
        let share = f64::from(background_percent.clamp(1, 100)) / 100.0;
        let queue = Queue::new(bytes_per_second.get() as f64, share, Instant::now().into_std());
        Self(Some(Arc::new(Limited { rate: bytes_per_second, queue: Mutex::new(queue), moved: Notify::new() })))
    }

    /// Bytes a second.
    pub fn rate(&self) -> Option<NonZeroU64> {
        self.0.as_ref().map(|limited| limited.rate)
    }

    /// How much to send at a time, at most `unlimited` bytes.
    pub fn piece(&self, unlimited: usize) -> usize {
        if self.0.is_some() { unlimited.min(PIECE) } else { unlimited }
    }

    /// Waits until a piece of `bytes` may go. At once without a limit. Giving up by dropping the future is fine.
    pub async fn pass(&self, class: Class, bytes: usize) {
        let Some(limited) = &self.0 else { return };
        let place = Place { limited, ticket: limited.lock().enter(class) };
        loop {
            // Made before looking, so that no move in between is missed.
            let moved = limited.moved.notified();
            let verdict = limited.lock().ask(place.ticket, bytes as u64, Instant::now().into_std());
            match verdict {
                Verdict::Granted => return,
                // Somebody more urgent may come meanwhile, who then is the first.
                Verdict::Next(wait) => sleep(wait).await,
                Verdict::Behind => moved.await,
            }
        }
    }
}

impl Limited {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic while the lock is held leaves only plain data behind.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Left when it is dropped, granted or not.
struct Place<'a> {
    limited: &'a Limited,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.limited.lock().leave(self.ticket);
        self.limited.moved.notify_waiters();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::{task::JoinSet, time::timeout};

    fn limit(bytes_per_second: u64) -> UploadLimit {
        UploadLimit::new(NonZeroU64::new(bytes_per_second).unwrap(), DEFAULT_BACKGROUND_PERCENT)
    }

    #[tokio::test]
    async fn pieces_leave_at_the_rate_and_urgent_ones_first() {
        let (limit, begun) = (limit(1_000_000), Instant::now());
        let mut senders = JoinSet::new();
        for class in [Class::Background, Class::Vod, Class::LivePart] {
            let limit = limit.clone();
            senders.spawn(async move {
                for _ in 0..4 {
                    limit.pass(class, 30_000).await;
                }
                (class, begun.elapsed())
            });
        }
        let mut ended = Vec::new();
        while let Some(sender) = senders.join_next().await {
            ended.push(sender.unwrap());
        }
        let classes: Vec<Class> = ended.iter().map(|(class, _)| *class).collect();
        assert_eq!(classes, [Class::LivePart, Class::Vod, Class::Background]);
        // All but the burst and the last piece, at the rate; then three background pieces at a fifth of it.
        assert!(ended[1].1 >= Duration::from_millis(8 * 30 - 50 - 30), "{ended:?}");
        assert!(ended[2].1 >= Duration::from_millis((3 * 30 - 10) * 5), "{ended:?}");
    }

    #[tokio::test]
    async fn whoever_gives_up_holds_nobody_up() {
        let limit = limit(100_000);
        limit.pass(Class::Vod, 30_000).await;
        assert!(timeout(Duration::from_millis(20), limit.pass(Class::LivePart, 1)).await.is_err());
        timeout(Duration::from_secs(10), limit.pass(Class::Background, 1)).await.unwrap();
    }

    #[tokio::test]
    async fn without_a_limit_nobody_waits() {
        for _ in 0..1000 {
            UploadLimit::none().pass(Class::Background, usize::MAX).await;
        }
        assert_eq!((UploadLimit::none().piece(1 << 20), limit(1).piece(1 << 20)), (1 << 20, 64 << 10));
    }
}
