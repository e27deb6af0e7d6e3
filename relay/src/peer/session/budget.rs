//! How much work a node may ask for over its control stream. Invariant: whoever sends more than its budget is read more
//! slowly, not buffered: QUIC's flow control stops it.

use std::time::Duration;
use tokio::time::Instant;

/// One unit of work: a frame, [`BYTES`] of one, or about half of a signature check. 200 a second are one part in a
/// hundred of a core.
const UNIT: Duration = Duration::from_millis(5);
/// Units that may be spent at once.
const BURST: u32 = 2048;

/// Bytes that cost a unit to parse.
pub(super) const BYTES: u64 = 256;
/// A signature check, in units.
pub(super) const CHECK: u32 = 2;

/// The budget of one control stream (a leaky bucket).
pub(super) struct Budget {
    /// When everything spent so far is paid off.
    paid: Instant,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self { paid: now }
    }

    /// Spends units; the moment from which more may be read.
    pub(super) fn spend(&mut self, units: u32, now: Instant) -> Instant {
        self.paid = self.paid.max(now) + UNIT * units;
        self.paid.checked_sub(UNIT * BURST).map_or(now, |free| free.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_read_at_the_rate_and_an_honest_node_at_once() {
        let mut budget = Budget::new(Instant::now());
        let begun = Instant::now();
        let mut next = begun;
        for _ in 0..BURST + 400 {
            tokio::time::sleep_until(next).await;
            next = budget.spend(1, Instant::now());
        }
        assert!(next - begun >= UNIT * 390 && next - begun <= UNIT * 400, "{:?}", next - begun);
        tokio::time::sleep(UNIT * (BURST + 400)).await;
        assert_eq!(budget.spend(BURST, Instant::now()), Instant::now());
    }
}
