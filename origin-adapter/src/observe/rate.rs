//! How much strangers may send. No I/O.

use weir_protocol::UnixMillis;

/// A leaky bucket: `rate` a second, and `burst` at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    rate: u64,
    burst: u64,
    /// When everything so far is paid off, in milliseconds times the rate.
    paid: u64,
}

impl Bucket {
    pub(super) const fn new(rate: u64, burst: u64) -> Self {
        Self { rate, burst, paid: 0 }
    }

    /// Takes one; false if that is too much for now.
    pub(super) fn take(&mut self, now: UnixMillis) -> bool {
        let now = now.0.saturating_mul(self.rate);
        let paid = self.paid.max(now).saturating_add(1000);
        let fits = paid.saturating_sub(now) <= self.burst * 1000;
        if fits {
            self.paid = paid;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_then_the_rate_counts() {
        let now = UnixMillis(1_800_000_000_000);
        let mut bucket = Bucket::new(2, 5);
        let took = (0..10).filter(|_| bucket.take(now)).count();
        assert_eq!(took, 5);
        let took = (1..=10_000).filter(|ms| bucket.take(now.plus_ms(*ms))).count();
        assert_eq!(took, 20);
    }
}
