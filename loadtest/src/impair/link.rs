//! What a link does to a packet: decided without I/O, clock or randomness of its own.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

/// One direction of a link.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LinkConfig {
    delay: Duration,
    loss: f64,
}

/// A link that cannot be.
#[derive(Debug, thiserror::Error)]
#[error("loss of {0} % is not between 0 and 100")]
pub struct BadLink(f64);

impl LinkConfig {
    /// A link that delays each packet and loses a share of the datagrams, in percent from 0 to 100. Loss does not apply to
    /// TCP, whose own retransmission would have to be imitated.
    ///
    /// # Errors
    /// [`BadLink`] when the loss is no percentage.
    pub fn new(delay: Duration, loss_percent: f64) -> Result<Self, BadLink> {
        if (0.0..=100.0).contains(&loss_percent) {
            Ok(Self { delay, loss: loss_percent / 100.0 })
        } else {
            Err(BadLink(loss_percent))
        }
    }

    /// The time a packet takes.
    pub fn delay(&self) -> Duration {
        self.delay
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is lost.
    Drop,
    /// It arrives at this time, after those with an earlier or equal time that were sent before it.
    DeliverAt(Instant),
}

/// One direction of one flow.
#[derive(Debug)]
pub struct LinkModel<R> {
    config: LinkConfig,
    random: R,
}

impl<R: Rng> LinkModel<R> {
    /// A model that draws from `random`, once for each datagram and never where the loss is zero.
    pub fn new(config: LinkConfig, random: R) -> Self {
        Self { config, random }
    }

    /// Decides about a datagram sent at `now`.
    pub fn datagram(&mut self, now: Instant) -> Verdict {
        if self.config.loss > 0.0 && self.random.random_bool(self.config.loss) {
            return Verdict::Drop;
        }
        Verdict::DeliverAt(self.stream(now))
    }

    /// When bytes of a reliable stream, sent at `now`, arrive. They are never lost.
    pub fn stream(&self, now: Instant) -> Instant {
        now + self.config.delay
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::Xoshiro256PlusPlus;

    use super::*;

    fn decisions(loss: f64, seed: u64, count: usize) -> Vec<Verdict> {
        let config = LinkConfig::new(Duration::from_millis(30), loss).unwrap();
        let mut model = LinkModel::new(config, Xoshiro256PlusPlus::seed_from_u64(seed));
        let now = Instant::now();
        // Relative to one instant, so that two runs can be compared.
        (0..count)
            .map(|_| match model.datagram(now) {
                Verdict::DeliverAt(at) => {
                    assert_eq!(at, now + Duration::from_millis(30));
                    Verdict::DeliverAt(now)
                }
                Verdict::Drop => Verdict::Drop,
            })
            .collect()
    }

    fn lost(verdicts: &[Verdict]) -> Vec<bool> {
        verdicts.iter().map(|verdict| *verdict == Verdict::Drop).collect()
    }

    #[test]
    fn loss_has_the_configured_rate_and_is_repeatable() {
        let first = lost(&decisions(5.0, 7, 20_000));
        let rate = first.iter().filter(|&&lost| lost).count() as f64 / 20_000.0;
        assert!((0.044..0.056).contains(&rate), "{rate}");
        assert_eq!(first, lost(&decisions(5.0, 7, 20_000)));
        assert_ne!(first, lost(&decisions(5.0, 8, 20_000)));
    }

    #[test]
    fn the_ends_of_the_scale_are_exact() {
        assert!(lost(&decisions(0.0, 1, 1000)).iter().all(|lost| !lost));
        assert!(lost(&decisions(100.0, 1, 1000)).iter().all(|&lost| lost));
        for bad in [-0.1, 100.1, f64::NAN] {
            assert!(LinkConfig::new(Duration::ZERO, bad).is_err());
        }
    }

    #[test]
    fn streams_are_delayed_and_never_lost() {
        let config = LinkConfig::new(Duration::from_millis(5), 100.0).unwrap();
        let model = LinkModel::new(config, Xoshiro256PlusPlus::seed_from_u64(1));
        let now = Instant::now();
        assert_eq!(model.stream(now), now + Duration::from_millis(5));
    }
}
