//! Random numbers that are the same on every machine and in every version: SplitMix64 (Steele, Lea, Flood 2014), one
//! stream per purpose, so that a scenario that draws more of one thing does not change another.

/// One stream.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// The stream named `purpose` of a seed.
    pub(super) fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a: any mixing does, as long as it never changes.
        let label = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        let mut stream = Self(seed ^ label);
        stream.bits();
        stream
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// At least 0, below 1.
    pub(super) fn unit(&mut self) -> f64 {
        let value = (self.bits() >> 11) as f64;
        value / 9_007_199_254_740_992.0
    }

    /// At least 0, below `count`, which is not 0.
    pub(super) fn below(&mut self, count: usize) -> usize {
        let wide = u128::from(self.bits()) * (count as u128);
        (wide >> 64) as usize
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Exponentially distributed with this mean.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// An index with a probability in proportion to its weight. `weights` has a positive sum.
    pub(super) fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.unit() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0)
    }
}

/// Spreads the bits of a number; a bijection.
pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_stable_and_differ() {
        let mut stream = Random::new(1, "churn");
        assert_eq!([stream.bits(), stream.bits()], {
            let mut again = Random::new(1, "churn");
            [again.bits(), again.bits()]
        });
        assert_ne!(Random::new(1, "churn").bits(), Random::new(1, "viewers").bits());
        assert_ne!(Random::new(1, "churn").bits(), Random::new(2, "churn").bits());
    }

    #[test]
    fn distributions_have_their_means() {
        let mut stream = Random::new(7, "means");
        let draws = 200_000_i32;
        let mean = |sum: f64| sum / f64::from(draws);
        let exponential = mean((0..draws).map(|_| stream.exponential(3.0)).sum());
        assert!((exponential - 3.0).abs() < 0.05, "{exponential}");
        let unit = mean((0..draws).map(|_| stream.unit()).sum());
        assert!((unit - 0.5).abs() < 0.01, "{unit}");
        let mut counts = [0_i32; 3];
        (0..draws).for_each(|_| counts[stream.weighted(&[1.0, 0.0, 3.0])] += 1);
        assert!(counts[1] == 0 && (counts[2] - 3 * counts[0]).abs() < draws / 50, "{counts:?}");
        let mut seen = [0_i32; 5];
        (0..draws).for_each(|_| seen[stream.below(5)] += 1);
        assert!(seen.iter().all(|count| (count - draws / 5).abs() < draws / 50), "{seen:?}");
    }
}
