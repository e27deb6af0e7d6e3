//! Quantiles of durations in fixed memory: a histogram with four steps to an octave, halved when it is full, so that the
//! last few hundred observations count. Invariant: an answer is at most a quarter above the true quantile of what was
//! recorded within the range.

use std::time::Duration;

/// The lowest step ends at 2⁸ µs, the highest at 2²⁴ µs (16.8 s).
const FIRST_OCTAVE: u32 = 8;
const OCTAVES: usize = 16;
const STEPS: usize = 4;
const BUCKETS: usize = OCTAVES * STEPS;
/// Observations that count, at most.
const FULL: u32 = 512;

/// Recorded durations.
#[derive(Debug, Clone)]
pub(super) struct Quantiles {
    counts: [u16; BUCKETS],
    total: u32,
}

impl Default for Quantiles {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], total: 0 }
    }
}

fn bucket(duration: Duration) -> usize {
    let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1 << FIRST_OCTAVE);
    let octave = us.ilog2();
    // The two bits below the leading one.
    let step = (us >> (octave - 2)) as usize % STEPS;
    (((octave - FIRST_OCTAVE) as usize) * STEPS + step).min(BUCKETS - 1)
}

/// The upper end of a bucket.
fn end(bucket: usize) -> Duration {
    let (octave, step) = (bucket / STEPS, bucket % STEPS);
    Duration::from_micros(((STEPS + step + 1) as u64) << (octave as u32 + FIRST_OCTAVE - 2))
}

impl Quantiles {
    pub(super) fn record(&mut self, duration: Duration) {
        if self.total >= FULL {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().map(|count| u32::from(*count)).sum();
        }
        self.counts[bucket(duration)] += 1;
        self.total += 1;
    }

    /// Observations that count.
    pub(super) fn observations(&self) -> u32 {
        self.total
    }

    /// A duration that `percent` of the observations did not exceed; `None` without observations.
    pub(super) fn percentile(&self, percent: u32) -> Option<Duration> {
        let wanted = (self.total * percent).div_ceil(100).max(1);
        let mut below = 0;
        (0..BUCKETS)
            .find(|at| {
                below += u32::from(self.counts[*at]);
                below >= wanted
            })
            .map(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_percentile_is_at_most_a_quarter_too_long(mut times in prop::collection::vec(256u64..16_000_000, 1..400), percent in 1u32..=100) {
            let mut quantiles = Quantiles::default();
            times.iter().for_each(|us| quantiles.record(Duration::from_micros(*us)));
            times.sort_unstable();
            let exact = times[((times.len() as u32 * percent).div_ceil(100).max(1) - 1) as usize];
            let found = quantiles.percentile(percent).map_or(0, |found| found.as_micros() as u64);
            prop_assert!((exact..=exact + exact.div_ceil(4) + 1).contains(&found), "{found} for {exact}");
        }
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut quantiles = Quantiles::default();
        assert_eq!(quantiles.percentile(95), None);
        for _ in 0..10_000 {
            quantiles.record(Duration::from_secs(100));
        }
        assert!(quantiles.percentile(50) >= Some(Duration::from_secs(16)));
        for _ in 0..8_000 {
            quantiles.record(Duration::from_micros(1));
        }
        assert_eq!(quantiles.percentile(95), Some(Duration::from_micros(320)));
        assert!(quantiles.observations() <= FULL);
    }
}
