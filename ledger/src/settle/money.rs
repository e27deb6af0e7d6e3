//! Integer arithmetic of amounts and shares.
//!
//! Invariant: whatever is divided, the parts sum to the whole exactly, and equal inputs give equal parts on every machine.

/// A price: `micro` millionths of the currency's unit for each `per` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate {
    /// Millionths.
    pub micro: u64,
    /// Bytes; not 0.
    pub per: u64,
}

impl Rate {
    /// For each 10^9 bytes.
    #[must_use]
    pub const fn per_gb(micro: u64) -> Self {
        Self { micro, per: 1_000_000_000 }
    }

    /// For each 2^30 bytes, as grants state prices.
    #[must_use]
    pub const fn per_gib(micro: u64) -> Self {
        Self { micro, per: 1 << 30 }
    }

    /// The millionths for so many bytes, rounded down.
    #[must_use]
    pub fn amount(self, bytes: u64) -> u64 {
        saturate(u128::from(bytes) * u128::from(self.micro) / u128::from(self.per))
    }

    /// The same in millionths of a millionth, rounded up: fine enough to share a budget by.
    #[must_use]
    pub fn fine_amount(self, bytes: u64) -> u128 {
        // Bytes and prices are below 2^53 where it matters; beyond, the product is bounded instead of wrapping.
        let product = u128::from(bytes).saturating_mul(u128::from(self.micro)).saturating_mul(1_000_000);
        product.div_ceil(u128::from(self.per))
    }

    /// The bytes that an amount pays for, the last one counted as whole.
    #[must_use]
    pub fn bytes(self, amount: u64) -> u64 {
        if self.micro == 0 {
            return u64::MAX;
        }
        saturate((u128::from(amount) * u128::from(self.per)).div_ceil(u128::from(self.micro)))
    }
}

fn saturate(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// A part in millionths, rounded down.
#[must_use]
pub fn millionths(whole: u64, ppm: u64) -> u64 {
    saturate(u128::from(whole) * u128::from(ppm.min(1_000_000)) / 1_000_000)
}

/// Divides `whole` in proportion to `weights` by the largest remainder: everybody gets the rounded-down part, and what is
/// left goes to the largest remainders, one each, the earlier of equal ones first. Nobody gets anything without weight.
#[must_use]
pub fn divide(whole: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().copied().map(u128::from).sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let exact = weights.iter().map(|weight| u128::from(whole) * u128::from(*weight));
    let (mut parts, remainders): (Vec<u64>, Vec<u128>) =
        exact.map(|exact| (u64::try_from(exact / sum).unwrap_or(u64::MAX), exact % sum)).unzip();
    let given: u128 = parts.iter().copied().map(u128::from).sum();
    let mut order: Vec<usize> = (0..weights.len()).filter(|at| remainders[*at] > 0).collect();
    // A stable sort keeps equal remainders in their order.
    order.sort_by(|a, b| remainders[*b].cmp(&remainders[*a]));
    let left = usize::try_from(u128::from(whole) - given).unwrap_or(usize::MAX);
    for at in order.into_iter().take(left) {
        parts[at] += 1;
    }
    parts
}

/// Lowers `values` together to `limit`, in proportion; returns the new values.
#[must_use]
pub fn cap(values: &[u64], limit: u64) -> Vec<u64> {
    let sum: u128 = values.iter().copied().map(u128::from).sum();
    if sum <= u128::from(limit) { values.to_vec() } else { divide(limit, values) }
}

#[cfg(test)]
mod tests {
    use super::{Rate, cap, divide, millionths};
    use proptest::prelude::*;

    #[test]
    fn the_largest_remainder_gets_what_is_left() {
        assert_eq!(divide(10, &[1, 1, 1]), [4, 3, 3], "the earlier of equal remainders");
        assert_eq!(divide(10, &[6, 3, 1]), [6, 3, 1]);
        assert_eq!(divide(1, &[1, 2, 2]), [0, 1, 0]);
        assert_eq!(divide(7, &[0, 5, 0]), [0, 7, 0]);
        assert_eq!(divide(7, &[0, 0]), [0, 0]);
        assert_eq!(divide(0, &[3]), [0]);
        assert!(divide(9, &[]).is_empty());
    }

    #[test]
    fn amounts_do_not_overflow() {
        assert_eq!(Rate::per_gb(4000).amount(2_500_000_000), 10_000);
        assert_eq!(Rate::per_gib(4000).amount(1 << 31), 8000);
        assert_eq!(Rate::per_gb(u64::MAX).amount(u64::MAX), u64::MAX);
        assert_eq!(Rate::per_gb(4000).bytes(10_000), 2_500_000_000);
        assert_eq!(Rate::per_gb(0).bytes(1), u64::MAX);
        assert_eq!(millionths(u64::MAX, 2_000_000), u64::MAX);
        assert_eq!(millionths(1_000_001, 500_000), 500_000);
    }

    proptest! {
        #[test]
        fn parts_sum_to_the_whole(whole in any::<u64>(), weights in proptest::collection::vec(0_u64..1 << 50, 1..40)) {
            let parts = divide(whole, &weights);
            let some = weights.iter().any(|weight| *weight > 0);
            prop_assert_eq!(parts.iter().map(|part| u128::from(*part)).sum::<u128>(), if some { u128::from(whole) } else { 0 });
            prop_assert!(weights.iter().zip(&parts).all(|(weight, part)| *weight > 0 || *part == 0));
        }

        #[test]
        fn a_cap_raises_nobody(values in proptest::collection::vec(0_u64..1 << 40, 1..20), limit in 0_u64..1 << 42) {
            let capped = cap(&values, limit);
            prop_assert!(values.iter().zip(&capped).all(|(value, capped)| capped <= value));
            let sum: u64 = values.iter().sum();
            prop_assert_eq!(capped.iter().sum::<u64>(), sum.min(limit));
        }
    }
}
