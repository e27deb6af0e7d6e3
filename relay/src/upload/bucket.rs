//! A token bucket without clock or I/O. It lends: a piece may go as soon as the balance is positive, however large it
//! is, and the debt is worked off before the next. Invariant: over any time, no more leaves than the rate allows in it,
//! one burst and one piece.

use std::time::{Duration, Instant};

/// What may leave at once after a pause, as time at the rate.
const BURST: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Bucket {
    /// Bytes a second.
    rate: f64,
    balance: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(bytes_per_second: f64, now: Instant) -> Self {
        Self { rate: bytes_per_second, balance: bytes_per_second * BURST.as_secs_f64(), at: now }
    }

    /// How long until a piece may go; zero when one may go now.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.at);
        self.at = self.at.max(now);
        self.balance = (self.balance + self.rate * passed.as_secs_f64()).min(self.rate * BURST.as_secs_f64());
        if self.balance > 0.0 {
            return Duration::ZERO;
        }
        // Rounded up, so that nobody comes back too early again and again.
        Duration::from_secs_f64(-self.balance / self.rate) + Duration::from_micros(1)
    }

    /// A piece goes.
    pub(super) fn take(&mut self, bytes: u64) {
        self.balance -= bytes as f64;
    }
}
