//! The waits of one exchange, bounded.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

use super::config::Timeouts;
use super::error::{Error, Stage};

/// One alarm for all waits of an exchange: it is set for the first, and for a later one only if that ends sooner, so that
/// most exchanges set it once.
pub(super) struct Patience {
    timeouts: Timeouts,
    end: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl Patience {
    /// The exchange begins now.
    pub(super) fn new(timeouts: Timeouts) -> Self {
        let now = Instant::now();
        let end = now + timeouts.total;
        Self { timeouts, end, alarm: Box::pin(sleep_until(end.min(now + timeouts.head))) }
    }

    /// The work's result, unless it takes too long.
    ///
    /// # Errors
    /// [`Error::Timeout`] of this stage, or of the exchange as a whole.
    pub(super) async fn wait<T>(&mut self, stage: Stage, work: impl Future<Output = T>) -> Result<T, Error> {
        let mut work = pin!(work);
        let mut until = None;
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            let until = *until.get_or_insert_with(|| self.limit(stage));
            ready!(self.poll_alarm(cx, until));
            let stage = if until == self.end { Stage::Total } else { stage };
            Poll::Ready(Err(Error::Timeout(stage)))
        })
        .await
    }

    fn limit(&self, stage: Stage) -> Instant {
        let longest = match stage {
            Stage::Connect => self.timeouts.connect,
            Stage::Head => self.timeouts.head,
            Stage::Body => self.timeouts.body_idle,
            Stage::Total => return self.end,
        };
        self.end.min(Instant::now() + longest)
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        let alarm = &mut self.alarm;
        if alarm.deadline() > until {
            alarm.as_mut().reset(until);
        }
        loop {
            ready!(alarm.as_mut().poll(cx));
            if alarm.deadline() >= until {
                return Poll::Ready(());
            }
            // It was set for an earlier wait, which has ended.
            alarm.as_mut().reset(until);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::{future::pending, time::Duration};
    use tokio::time::{advance, sleep};

    const SECOND: Duration = Duration::from_secs(1);

    fn patience() -> Patience {
        Patience::new(Timeouts { connect: SECOND, head: 3 * SECOND, body_idle: 2 * SECOND, total: 10 * SECOND })
    }

    /// How long a wait in vain takes, and what it is called.
    async fn in_vain(patience: &mut Patience, stage: Stage) -> (u64, Stage) {
        let begun = Instant::now();
        match patience.wait(stage, pending::<()>()).await.unwrap_err() {
            Error::Timeout(stage) => (begun.elapsed().as_secs(), stage),
            other => panic!("{other}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_ends_in_its_time_and_all_together_in_the_whole() {
        assert_eq!(in_vain(&mut patience(), Stage::Head).await, (3, Stage::Head));
        assert_eq!(in_vain(&mut patience(), Stage::Body).await, (2, Stage::Body));
        let mut long = patience();
        for _ in 0..4 {
            long.wait(Stage::Body, sleep(Duration::from_millis(1900))).await.unwrap();
        }
        assert_eq!(in_vain(&mut long, Stage::Body).await, (2, Stage::Body), "7.6 s have passed");
        let mut late = patience();
        advance(9 * SECOND).await;
        assert_eq!(in_vain(&mut late, Stage::Body).await, (1, Stage::Total));
        assert_eq!(late.wait(Stage::Body, async { 7 }).await.unwrap(), 7, "what is there is there");
    }
}
