//! The weight of one relay for one object: a pseudo-random exponential variate divided by the relay's capacity, the
//! smallest of which wins (weighted rendezvous hashing). Invariant: integers only, so that every machine ranks alike.

use std::cmp::Ordering;
use weir_protocol::ids::{RelayId, ResourceHash};

/// Fractional bits of a [`Score`]'s exponential variate; its greatest value, ln 2⁶⁴ ≈ 44.4, needs six more.
const FRACTION: u32 = 58;
/// ln 2 with [`FRACTION`] bits behind the point, rounded down.
const LN_2: u64 = 199_786_072_581_291_494;
/// `floor(2⁶³ / (2j + 1))`: the series of the inverse hyperbolic tangent. With |s| ≤ ⅓ twelve terms leave less than 10⁻¹².
const SERIES: [u64; 12] = series();
/// A multiplier of good avalanche (Pelle Evensen's rrmxmx family).
const MIX: u64 = 0xd6e8_feb8_6659_fd93;
/// How far rounding may take a variate below its lower bound, in its last places.
const ROUNDING: u64 = 64;

const fn series() -> [u64; 12] {
    let mut terms = [0; 12];
    let mut at = 0;
    while at < 12 {
        terms[at] = (1 << 63) / (2 * at as u64 + 1);
        at += 1;
    }
    terms
}

/// What a relay is hashed by: 128 bits of BLAKE3 over its identity, computed once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seed([u64; 2]);

impl Seed {
    /// The seed of a relay: the first 16 bytes of `derive_key("weir/owner/1", PeerId)`, as two little-endian numbers.
    pub fn of(relay: &RelayId) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("weir/owner/1");
        hasher.update(&relay.peer_id().to_bytes());
        Self(halves(hasher.finalize().as_bytes()))
    }

    /// Hashes a relay and an object to 64 bits.
    pub(super) fn mix(self, point: Point) -> u64 {
        let wide = u128::from(self.0[0] ^ point.0[0]) * u128::from(self.0[1] ^ point.0[1]);
        finish((wide as u64) ^ ((wide >> 64) as u64))
    }

    /// Hashes a pair of a relay and an object together with another relay: in what order the other one asks its owners.
    pub(super) fn mix_with(self, other: Self, point: Point) -> u64 {
        self.mix(Point([other.0[0] ^ point.0[0].rotate_left(17), other.0[1] ^ point.0[1].rotate_left(41)]))
    }
}

/// What an object is hashed by: the first 16 bytes of its resource hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point([u64; 2]);

impl From<&ResourceHash> for Point {
    fn from(resource: &ResourceHash) -> Self {
        Self(halves(resource.as_bytes()))
    }
}

fn halves(bytes: &[u8; 32]) -> [u64; 2] {
    let half = |at: usize| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(eight)
    };
    [half(0), half(8)]
}

fn finish(mut x: u64) -> u64 {
    x = (x ^ (x >> 32)).wrapping_mul(MIX);
    x = (x ^ (x >> 32)).wrapping_mul(MIX);
    x ^ (x >> 32)
}

/// −ln(1 − v / 2⁶⁴) with [`FRACTION`] bits behind the point.
fn exponential(v: u64) -> u64 {
    const ONE: u128 = 1 << 64;
    let left = ONE - u128::from(v);
    // left = x / 2ᵏ with x in (½, 1]: then −ln left = k ln 2 − ln x.
    let doublings = if left == ONE { 0 } else { (left as u64).leading_zeros() };
    let t = ONE - (left << doublings);
    // −ln(1 − t) = 2 artanh(t / (2 − t)).
    let s = ((t << 63) / (2 * ONE - t)) as u64;
    let square = multiply(s, s);
    let sum = SERIES.iter().rev().fold(0, |sum, term| term + multiply(sum, square));
    u64::from(doublings) * LN_2 + (multiply(s, sum) >> (62 - FRACTION))
}

/// A product of two fractions of 2⁶³.
fn multiply(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 63) as u64
}

/// A relay's place in the ranking of one object; the least is the first owner. Weights are positive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Score {
    variate: u64,
    weight: u32,
}

impl Score {
    pub(super) fn new(hash: u64, weight: u32) -> Self {
        Self { variate: exponential(hash), weight }
    }

    /// True when a relay of this hash and weight certainly ranks behind: an exponential variate is never less than the
    /// fraction it is made from, so nearly all relays are dismissed by two multiplications.
    pub(super) fn surely_beats(self, hash: u64, weight: u32) -> bool {
        let least = (hash >> (64 - FRACTION)).saturating_sub(ROUNDING);
        u128::from(self.variate) * u128::from(weight) < u128::from(least) * u128::from(self.weight)
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        let ours = u128::from(self.variate) * u128::from(other.weight);
        ours.cmp(&(u128::from(other.variate) * u128::from(self.weight)))
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Score {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: f64 = (1u64 << FRACTION) as f64;

    #[test]
    fn the_variate_is_the_logarithm() {
        for v in [0, 1, 1 << 20, 1 << 40, 1 << 60, 1 << 63, (1 << 63) + 1, u64::MAX / 3 * 2, u64::MAX - 1, u64::MAX] {
            let exact = -(-(v as f64) / 2f64.powi(64)).ln_1p();
            let exact = if v > u64::MAX - (1 << 20) {
                (64.0 - ((u64::MAX - v) as f64 + 1.0).log2()) * std::f64::consts::LN_2
            } else {
                exact
            };
            let ours = exponential(v) as f64 / ONE;
            assert!((ours - exact).abs() <= exact * 1e-9 + 1e-15, "{v}: {ours} is not {exact}");
        }
    }

    #[test]
    fn every_machine_computes_the_same_variates() {
        let vectors: serde_json::Value = serde_json::from_str(crate::mesh::testing::VECTORS).expect("it is JSON");
        let number = |value: &serde_json::Value| value.as_str().and_then(|text| text.parse().ok()).expect("a number");
        for vector in vectors["variates"].as_array().expect("a list") {
            assert_eq!(exponential(number(&vector["hash"])), number(&vector["variate"]), "{vector}");
        }
    }

    proptest! {
        #[test]
        fn nobody_is_dismissed_who_would_win(a: u64, b: u64, wa in 1u32.., wb in 1u32..) {
            let (ours, theirs) = (Score::new(a, wa), Score::new(b, wb));
            prop_assert!(!(ours.surely_beats(b, wb) && theirs < ours));
        }

        #[test]
        fn the_variate_grows_with_the_hash(a: u64, b: u64) {
            let (a, b) = (a.min(b), a.max(b));
            prop_assert!(exponential(a) <= exponential(b) + ROUNDING);
        }
    }
}
