//! What a link does to a packet: decided without I/O, clock or randomness of its own.
//!
//! Invariants: nothing arrives before the link's delay is over; datagrams arrive in the order in which they were sent,
//! but for those that reordering picked; a queue never holds more than its bound; equal seeds decide alike.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

/// A queue holds this much time's worth of its rate where nothing else is said.
const QUEUE_TIME: Duration = Duration::from_millis(100);
/// But never less than this many bytes: ten Ethernet frames.
const LEAST_QUEUE: u64 = 15_000;
/// A reordered datagram comes at least this much later than in its place.
const LEAST_HOLD: Duration = Duration::from_millis(1);

/// One direction of a link.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LinkConfig {
    delay: Duration,
    loss: f64,
    jitter: Duration,
    reorder: f64,
    rate: Option<Rate>,
}

/// How fast a link sends, and how much may wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rate {
    bytes_per_second: u64,
    queue: u64,
}

/// A link that cannot be.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum BadLink {
    /// A share is a percentage.
    #[error("{0} of {1} % is not between 0 and 100")]
    Share(&'static str, f64),
    /// Nothing would ever arrive.
    #[error("a rate of 0")]
    NoRate,
}

fn share(name: &'static str, percent: f64) -> Result<f64, BadLink> {
    if (0.0..=100.0).contains(&percent) { Ok(percent / 100.0) } else { Err(BadLink::Share(name, percent)) }
}

impl LinkConfig {
    /// A link that delays each packet and loses a share of the datagrams, in percent from 0 to 100. Loss does not apply to
    /// TCP, whose own retransmission would have to be imitated.
    ///
    /// # Errors
    /// [`BadLink`] when the loss is no percentage.
    pub fn new(delay: Duration, loss_percent: f64) -> Result<Self, BadLink> {
        Ok(Self { delay, loss: share("loss", loss_percent)?, ..Self::default() })
    }

    /// Adds to each packet's delay an amount drawn evenly from 0 to `jitter`. Packets keep their order.
    #[must_use]
    pub fn with_jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// Lets a share of the datagrams, in percent from 0 to 100, come later than those sent after them: by the jitter,
    /// and at least one millisecond. TCP is left alone.
    ///
    /// # Errors
    /// [`BadLink`] when it is no percentage.
    pub fn with_reordering(self, percent: f64) -> Result<Self, BadLink> {
        Ok(Self { reorder: share("reordering", percent)?, ..self })
    }

    /// Sends no faster than this. What comes faster waits in a queue of `queue` bytes, by default what the link sends in
    /// 100 ms; a datagram that finds no room in it is lost, and TCP is held back.
    ///
    /// # Errors
    /// [`BadLink`] when the rate is 0.
    pub fn with_rate(self, bytes_per_second: u64, queue: Option<u64>) -> Result<Self, BadLink> {
        if bytes_per_second == 0 {
            return Err(BadLink::NoRate);
        }
        let usual = u128::from(bytes_per_second) * QUEUE_TIME.as_millis() / 1000;
        let queue = queue.unwrap_or_else(|| u64::try_from(usual).unwrap_or(u64::MAX).max(LEAST_QUEUE));
        Ok(Self { rate: Some(Rate { bytes_per_second, queue }), ..self })
    }

    /// The least time a packet takes.
    pub fn delay(&self) -> Duration {
        self.delay
    }
}

impl Rate {
    fn time(self, bytes: usize) -> Duration {
        // Finer than a nanosecond is lost: a packet takes thousands of them.
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.bytes_per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is lost by chance.
    Drop,
    /// The queue has no room for it.
    Overflow,
    /// It arrives at this time, after those with an earlier or equal time that were sent before it.
    DeliverAt(Instant),
}

/// One direction of one flow.
#[derive(Debug)]
pub struct LinkModel<R> {
    config: LinkConfig,
    random: R,
    /// When everything in the queue has left.
    idle: Option<Instant>,
    /// When the last packet in order arrives.
    last: Option<Instant>,
}

impl<R: Rng> LinkModel<R> {
    /// A model that draws from `random`: for each datagram once for the loss, once for reordering and once for the
    /// jitter, and never for what is zero.
    pub fn new(config: LinkConfig, random: R) -> Self {
        Self { config, random, idle: None, last: None }
    }

    /// From now on is another link. What was sent before arrives as it would have, and datagrams keep their order.
    pub fn set(&mut self, config: LinkConfig) {
        self.config = config;
    }

    /// Decides about a datagram of `bytes` sent at `now`.
    pub fn datagram(&mut self, now: Instant, bytes: usize) -> Verdict {
        if self.chance(self.config.loss) {
            return Verdict::Drop;
        }
        if let (Some(rate), Some(idle)) = (self.config.rate, self.idle) {
            let waiting = idle.saturating_duration_since(now);
            let room = rate.time(usize::try_from(rate.queue).unwrap_or(usize::MAX));
            if waiting + rate.time(bytes) > room {
                return Verdict::Overflow;
            }
        }
        if self.chance(self.config.reorder) {
            let held = self.config.jitter.max(LEAST_HOLD);
            return Verdict::DeliverAt(self.left(now, bytes) + self.config.delay + held);
        }
        Verdict::DeliverAt(self.stream(now, bytes))
    }

    /// When bytes of a reliable stream, sent at `now`, arrive. They are never lost and keep their order.
    pub fn stream(&mut self, now: Instant, bytes: usize) -> Instant {
        let jitter = match self.config.jitter {
            Duration::ZERO => Duration::ZERO,
            most => most.mul_f64(self.random.random_range(0.0..=1.0)),
        };
        let at = self.left(now, bytes) + self.config.delay + jitter;
        *self.last.insert(self.last.map_or(at, |last| last.max(at)))
    }

    /// When the last of the bytes has left the queue.
    fn left(&mut self, now: Instant, bytes: usize) -> Instant {
        let Some(rate) = self.config.rate else { return now };
        let begins = self.idle.map_or(now, |idle| idle.max(now));
        *self.idle.insert(begins + rate.time(bytes))
    }

    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.random.random_bool(share)
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
            .map(|_| match model.datagram(now, 1200) {
                Verdict::DeliverAt(at) => {
                    assert_eq!(at, now + Duration::from_millis(30));
                    Verdict::DeliverAt(now)
                }
                lost => lost,
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
        let mut model = LinkModel::new(config, Xoshiro256PlusPlus::seed_from_u64(1));
        let now = Instant::now();
        assert_eq!(model.stream(now, 1), now + Duration::from_millis(5));
    }

    fn model(config: LinkConfig, seed: u64) -> LinkModel<Xoshiro256PlusPlus> {
        LinkModel::new(config, Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// Milliseconds until each of `count` datagrams, sent a millisecond apart, arrives after the first was sent.
    fn arrivals(config: LinkConfig, seed: u64, count: u64) -> Vec<f64> {
        let (mut model, start) = (model(config, seed), Instant::now());
        (0..count)
            .map(|at| match model.datagram(start + Duration::from_millis(at), 1000) {
                Verdict::DeliverAt(arrives) => (arrives - start).as_secs_f64() * 1e3,
                lost => panic!("{lost:?}"),
            })
            .collect()
    }

    #[test]
    fn jitter_varies_the_delay_within_its_bounds_and_keeps_the_order() {
        let config = LinkConfig::new(Duration::from_millis(20), 0.0).unwrap().with_jitter(Duration::from_millis(10));
        let arrived = arrivals(config, 3, 2000);
        assert!(arrived.is_sorted());
        let delays: Vec<f64> = arrived.iter().enumerate().map(|(at, arrives)| arrives - at as f64).collect();
        assert!(delays.iter().all(|delay| (20.0..=30.001).contains(delay)));
        assert!(delays.iter().any(|delay| *delay < 22.0) && delays.iter().any(|delay| *delay > 28.0));
        assert_eq!(arrived, arrivals(config, 3, 2000));
        assert_ne!(arrived, arrivals(config, 4, 2000));
    }

    #[test]
    fn reordering_holds_a_share_back_behind_later_ones() {
        let still = LinkConfig::new(Duration::from_millis(20), 0.0).unwrap();
        let config = still.with_jitter(Duration::from_millis(5)).with_reordering(10.0).unwrap();
        let arrived = arrivals(config, 3, 5000);
        let overtaken = arrived.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!((300..=600).contains(&overtaken), "about a tenth of 5000, less those in a row: {overtaken}");
        let held = arrivals(still.with_reordering(100.0).unwrap(), 3, 10);
        assert!(held.iter().enumerate().all(|(at, arrives)| (arrives - at as f64 - 21.0).abs() < 1e-6), "{held:?}");
        assert_eq!(still.with_reordering(101.0), Err(BadLink::Share("reordering", 101.0)));
    }

    #[test]
    fn a_rate_spaces_packets_and_its_queue_is_bounded() {
        let still = LinkConfig::new(Duration::from_millis(10), 0.0).unwrap();
        let mut slow = model(still.with_rate(1_000_000, Some(5_000)).unwrap(), 1);
        let now = Instant::now();
        let verdicts: Vec<Verdict> = (0..8).map(|_| slow.datagram(now, 1000)).collect();
        for (at, verdict) in verdicts.iter().enumerate() {
            // Each takes a millisecond on the link, and five fit.
            let arrives = Verdict::DeliverAt(now + Duration::from_millis(11 + at as u64));
            assert_eq!(*verdict, if at < 5 { arrives } else { Verdict::Overflow }, "{at}");
        }
        // Two have left by then.
        let later = now + Duration::from_millis(2);
        assert_eq!(slow.datagram(later, 1000), Verdict::DeliverAt(now + Duration::from_millis(16)));
        assert_eq!(slow.datagram(later, 1001), Verdict::Overflow);
        // A stream waits instead, and takes as long as its bytes.
        let mut stream = model(still.with_rate(1_000_000, Some(5_000)).unwrap(), 1);
        assert_eq!(stream.stream(now, 100_000), now + Duration::from_millis(110));
        assert_eq!(still.with_rate(0, None), Err(BadLink::NoRate));
    }
}
