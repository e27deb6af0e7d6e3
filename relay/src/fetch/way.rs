//! Background fills give way: while a fill runs that somebody waits for, one that nobody waits for takes a piece now and
//! then, just enough not to be given up by its source.

use super::running::Progress;
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

/// How long a background fill waits before each piece, at most: with pieces of 16 KiB it stays above the least rate that
/// peers send at (32 KiB/s).
const GIVE_WAY: Duration = Duration::from_millis(200);
/// A background fill looks this often whether somebody has joined it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Fills that somebody waits for.
#[derive(Default)]
pub(super) struct Way {
    awaited: AtomicUsize,
    free: Notify,
}

/// As long as this lives, background fills give way.
pub(super) struct Awaited<'a>(&'a Way);

impl Way {
    pub(super) fn awaited(&self) -> Awaited<'_> {
        self.awaited.fetch_add(1, Ordering::AcqRel);
        Awaited(self)
    }

    /// Waits while others go first.
    pub(super) async fn give(&self, progress: &Progress) {
        if progress.is_awaited() {
            return;
        }
        let clear = async {
            while self.awaited.load(Ordering::Acquire) > 0 && !progress.is_awaited() {
                // Whoever joins this fill tells nobody, so the look is by the clock.
                let _ = timeout(LOOK_EVERY, self.free.notified()).await;
            }
        };
        let _ = timeout(GIVE_WAY, clear).await;
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if self.0.awaited.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.free.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::time::Instant;

    #[tokio::test]
    async fn only_a_fill_nobody_waits_for_gives_way_and_not_for_ever() {
        let way = Way::default();
        let (background, wanted) = (Progress::new(0, false), Progress::new(0, true));
        assert!(way.give(&background).now_or_never().is_some());
        let other = way.awaited();
        assert!(way.give(&wanted).now_or_never().is_some());
        let begun = Instant::now();
        way.give(&background).await;
        assert!(begun.elapsed() >= GIVE_WAY);
        let give = way.give(&background);
        tokio::pin!(give);
        assert!(give.as_mut().now_or_never().is_none());
        drop(other);
        assert!(give.now_or_never().is_some(), "it goes on as soon as the others are through");
    }
}
