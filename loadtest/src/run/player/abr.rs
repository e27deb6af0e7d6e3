//! Which rung of the ladder to load next: throughput first, the buffer when throughput is in doubt.
//!
//! Two averages weighted by the time that transfers took, a quick and a slow one; the lower counts, so that a fall is
//! believed at once and a rise only when it lasts (as hls.js and Shaka do).

use std::time::Duration;

use crate::run::scenario;

/// Half-lives of the averages, in seconds of transfer.
const QUICK: f64 = 2.0;
const SLOW: f64 = 6.0;
/// Share of the throughput that a rung may take when it is higher than the current one, and when it is not.
const UP: f64 = 0.7;
const DOWN: f64 = 0.9;
/// A buffer fuller than this share of its target keeps its rung through a dip.
const COMFORT: f64 = 0.6;
/// A buffer emptier than this share of its target takes no higher rung.
const WORRY: f64 = 0.25;
/// Transfers of fewer bytes say more about round trips than about throughput.
const LEAST_BYTES: u64 = 4096;

/// An exponentially weighted average that corrects for its start.
#[derive(Debug, Clone, Copy)]
struct Average {
    half_life: f64,
    value: f64,
    weight: f64,
}

impl Average {
    const fn new(half_life: f64) -> Self {
        Self { half_life, value: 0.0, weight: 0.0 }
    }

    fn add(&mut self, weight: f64, value: f64) {
        let keep = 0.5f64.powf(weight / self.half_life);
        self.value = value * (1.0 - keep) + keep * self.value;
        self.weight += weight;
    }

    fn read(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.value / (1.0 - 0.5f64.powf(self.weight / self.half_life)))
    }
}

/// What is known about the buffer when a rung is chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buffer {
    /// Media ahead of the play-head.
    pub(crate) level: Duration,
    /// What the player aims at.
    pub(crate) target: Duration,
}

/// The choice of rungs.
#[derive(Debug, Clone)]
pub(crate) struct Abr {
    choice: scenario::Abr,
    quick: Average,
    slow: Average,
}

impl Abr {
    pub(crate) fn new(choice: scenario::Abr) -> Self {
        Self { choice, quick: Average::new(QUICK), slow: Average::new(SLOW) }
    }

    /// A transfer of media ended.
    pub(crate) fn add(&mut self, bytes: u64, took: Duration) {
        let seconds = took.as_secs_f64();
        if bytes >= LEAST_BYTES && seconds > 0.0 {
            let rate = bytes as f64 * 8.0 / seconds;
            // A transfer that took no time at all must still count.
            let weight = seconds.max(0.05);
            self.quick.add(weight, rate);
            self.slow.add(weight, rate);
        }
    }

    /// Throughput, in bit/s.
    pub(crate) fn throughput(&self) -> Option<f64> {
        Some(self.quick.read()?.min(self.slow.read()?))
    }

    /// Index into `ladder`, the rungs' bandwidths by rising value, in bit/s; it is not empty.
    pub(crate) fn choose(&self, ladder: &[u64], current: Option<usize>, buffer: Buffer) -> usize {
        let top = ladder.len() - 1;
        match self.choice {
            scenario::Abr::Highest => return top,
            scenario::Abr::Lowest => return 0,
            scenario::Abr::Adaptive => {}
        }
        let Some(throughput) = self.throughput() else { return current.unwrap_or(0).min(top) };
        let current = current.map(|rung| rung.min(top));
        let fits = |rung: usize| {
            let share = if current.is_some_and(|current| rung > current) { UP } else { DOWN };
            ladder[rung] as f64 <= throughput * share
        };
        let best = (0..=top).rev().find(|&rung| fits(rung)).unwrap_or(0);
        let fill = buffer.level.as_secs_f64() / buffer.target.as_secs_f64().max(1e-3);
        match current {
            Some(current) if best > current && fill < WORRY => current,
            Some(current) if best < current && fill > COMFORT => current,
            _ => best,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LADDER: [u64; 3] = [500_000, 1_000_000, 2_000_000];
    const FULL: Buffer = Buffer { level: Duration::from_secs(20), target: Duration::from_secs(20) };
    const HALF: Buffer = Buffer { level: Duration::from_secs(10), ..FULL };
    const LOW: Buffer = Buffer { level: Duration::from_secs(2), ..FULL };

    /// So many transfers of one second at this rate.
    fn feed(abr: &mut Abr, transfers: u32, bits: u64) {
        for _ in 0..transfers {
            abr.add(bits / 8, Duration::from_secs(1));
        }
    }

    fn adaptive() -> Abr {
        Abr::new(scenario::Abr::Adaptive)
    }

    #[test]
    fn begins_low_and_climbs_when_the_throughput_leaves_room() {
        let mut abr = adaptive();
        assert_eq!(abr.choose(&LADDER, None, LOW), 0);
        feed(&mut abr, 1, 1_200_000);
        assert_eq!(abr.choose(&LADDER, Some(0), HALF), 0, "1 Mbit/s wants 1.43 to climb to");
        assert_eq!(abr.choose(&LADDER, Some(1), HALF), 1, "and 1.11 to stay at");
        feed(&mut abr, 30, 3_000_000);
        assert_eq!(abr.choose(&LADDER, Some(0), HALF), 2);
    }

    #[test]
    fn a_fall_is_believed_at_once_and_a_rise_when_it_lasts() {
        let mut abr = adaptive();
        feed(&mut abr, 30, 3_000_000);
        feed(&mut abr, 2, 300_000);
        assert_eq!(abr.choose(&LADDER, Some(2), HALF), 1);
        feed(&mut abr, 30, 300_000);
        feed(&mut abr, 2, 3_000_000);
        assert_eq!(abr.choose(&LADDER, Some(0), HALF), 0);
    }

    #[test]
    fn a_full_buffer_rides_out_a_dip_and_an_empty_one_does_not_climb() {
        let mut abr = adaptive();
        feed(&mut abr, 30, 1_500_000);
        assert_eq!(abr.choose(&LADDER, Some(2), FULL), 2);
        assert_eq!(abr.choose(&LADDER, Some(2), HALF), 1);
        feed(&mut abr, 30, 9_000_000);
        assert_eq!(abr.choose(&LADDER, Some(0), LOW), 0);
    }

    #[test]
    fn fixed_choices_do_not_look_at_anything() {
        let mut abr = Abr::new(scenario::Abr::Highest);
        feed(&mut abr, 3, 1000);
        assert_eq!(abr.choose(&LADDER, None, LOW), 2);
        assert_eq!(Abr::new(scenario::Abr::Lowest).choose(&LADDER, Some(2), FULL), 0);
    }

    #[test]
    fn small_transfers_are_no_evidence() {
        let mut abr = adaptive();
        abr.add(400, Duration::from_secs(1));
        assert_eq!(abr.throughput(), None);
    }
}
