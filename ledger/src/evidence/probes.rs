//! What blind probes measured.
//!
//! The estimate is the share of claimed bytes that the probes did not receive. Its interval follows the share of probes
//! that were inflated at all: the Wilson score interval at 95 %, in integers, so that every machine computes the same.

/// A thousand thousandths of a thousandth.
const PPM: u128 = 1_000_000;
/// 1.96 squared, in millionths: the 95 % quantile of the normal distribution.
const Z_SQUARED_PPM: u128 = 3_841_459;

/// One probe of one relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeSample {
    /// Bytes that the relay claimed for the probe's session.
    pub claimed: u64,
    /// Bytes that the probe received.
    pub measured: u64,
}

/// What all probes of a relay say about its claims, in millionths of what it claims.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inflation {
    /// Probes.
    pub probes: u64,
    /// Those of them that were claimed for more than they received.
    pub inflated: u64,
    /// Bytes claimed for all probes.
    pub claimed: u64,
    /// Bytes that they received.
    pub measured: u64,
    /// The estimate.
    pub estimate_ppm: u64,
    /// Lower end of the interval.
    pub low_ppm: u64,
    /// Upper end of the interval.
    pub high_ppm: u64,
}

impl Inflation {
    /// Estimates from probes; a claim may exceed what was measured by `slack` bytes without being inflated.
    #[must_use]
    pub fn estimate(samples: &[ProbeSample], slack: u64) -> Self {
        let mut sum = Self::default();
        let mut excess = 0_u64;
        for sample in samples {
            sum.probes += 1;
            sum.claimed = sum.claimed.saturating_add(sample.claimed);
            sum.measured = sum.measured.saturating_add(sample.measured);
            let over = sample.claimed.saturating_sub(sample.measured);
            if over > slack {
                sum.inflated += 1;
                excess = excess.saturating_add(over);
            }
        }
        let (low, high) = wilson(sum.inflated, sum.probes);
        if sum.inflated == 0 || sum.claimed == 0 {
            // Nothing was found: the upper end says how much of it the probes could have missed.
            return Self { high_ppm: high, ..sum };
        }
        let estimate = u128::from(excess) * PPM / u128::from(sum.claimed);
        // From "how many sessions are inflated" to "by how much": the mean excess of an inflated session stays.
        let share = u128::from(sum.inflated) * PPM / u128::from(sum.probes);
        let scaled = |end: u64| ppm(estimate * u128::from(end) / share.max(1));
        Self { estimate_ppm: ppm(estimate), low_ppm: scaled(low), high_ppm: scaled(high), ..sum }
    }
}

/// The Wilson score interval of `hits` among `n`, in millionths.
fn wilson(hits: u64, n: u64) -> (u64, u64) {
    if n == 0 {
        return (0, PPM as u64);
    }
    // A number of probes is far below 2^40, so nothing here overflows.
    let (k, n) = (u128::from(hits.min(1 << 40)), u128::from(n.min(1 << 40)));
    // All in millionths: centre = (k + z²/2) / (n + z²); half = sqrt(z² (k (n - k) / n + z²/4)) / (n + z²).
    let below = n * PPM + Z_SQUARED_PPM;
    let centre = k * PPM + Z_SQUARED_PPM / 2;
    let inside = k * (n - k) * PPM / n + Z_SQUARED_PPM / 4;
    let half = isqrt(Z_SQUARED_PPM * inside);
    let low = centre.saturating_sub(half) * PPM / below;
    let high = (centre + half) * PPM / below;
    (if k == 0 { 0 } else { ppm(low) }, if k == n { PPM as u64 } else { ppm(high) })
}

fn ppm(value: u128) -> u64 {
    value.min(PPM) as u64
}

/// The square root, rounded down.
fn isqrt(value: u128) -> u128 {
    value.isqrt()
}

#[cfg(test)]
mod tests {
    use super::{Inflation, ProbeSample, wilson};

    #[test]
    fn the_interval_is_wilsons() {
        // Against the formula in floating point: 3 of 300 is 0.34 % to 2.90 %; 10 of 20 is 29.9 % to 70.1 %.
        for (hits, n, low, high) in [(3, 300, 3406, 28_992), (10, 20, 299_298, 700_701), (0, 300, 0, 12_642)] {
            let (found_low, found_high) = wilson(hits, n);
            assert!(
                found_low.abs_diff(low) <= 20 && found_high.abs_diff(high) <= 20,
                "{hits} of {n}: {found_low} {found_high}"
            );
        }
        assert_eq!(wilson(0, 0), (0, 1_000_000));
        assert_eq!(wilson(5, 5).1, 1_000_000);
    }

    #[test]
    fn inflation_is_what_was_not_received() {
        let honest = ProbeSample { claimed: 1_000_000, measured: 990_000 };
        let inflated = ProbeSample { claimed: 2_000_000, measured: 1_000_000 };
        let none = Inflation::estimate(&[honest; 300], 65_536);
        assert_eq!((none.inflated, none.estimate_ppm, none.low_ppm), (0, 0, 0));
        assert!(none.high_ppm < 13_000, "300 clean probes leave less than 1.3 % in doubt");
        let mut samples = vec![honest; 297];
        samples.extend([inflated; 3]);
        let some = Inflation::estimate(&samples, 65_536);
        assert_eq!((some.probes, some.inflated), (300, 3));
        assert_eq!(some.estimate_ppm, 3_000_000_u64 * 1_000_000 / 303_000_000);
        assert!(some.low_ppm > 0 && some.low_ppm < some.estimate_ppm && some.estimate_ppm < some.high_ppm);
        let all = Inflation::estimate(&[inflated; 300], 0);
        assert_eq!(all.estimate_ppm, 500_000);
        assert_eq!(Inflation::estimate(&[], 0).probes, 0);
    }
}
