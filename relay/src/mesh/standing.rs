//! What a node's past behaviour says about asking it now. Invariant: every counter saturates; nothing a peer does makes
//! a standing larger.

use super::quantile::Quantiles;
use std::time::Duration;
use weir_protocol::time::UnixMillis;

/// What went wrong with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or it broke.
    Unreachable,
    /// Connected, but silent or waiting for too long before it said that it has the object.
    Stalled,
    /// It said that it has the whole object and then kept it back, or let it drip.
    Withheld,
    /// Its bytes or signatures did not verify.
    Corrupt,
}

/// After the n-th failure in a row a node is left alone for this long times 2ⁿ⁻¹, in milliseconds.
const BACK_OFF_MS: u64 = 1_000;
/// But never longer than this.
const BACK_OFF_CAP_MS: u64 = 60_000;
/// The same for what is no accident of the network: it answered, promised, and did not keep to it.
const WITHHELD_MS: u64 = 10_000;
const WITHHELD_CAP_MS: u64 = 600_000;
/// A node whose bytes do not verify is left alone for ten minutes.
const CORRUPT_MS: u64 = 600_000;
/// Requests that one peer is given at a time; others are asked before it then.
pub const MAX_IN_FLIGHT: u32 = 64;
/// A peer that owes receipts for more than this is served no longer, in bytes (REWARDS: the credit window).
pub const MAX_OWED_BYTES: u64 = 8 << 20;

/// What the cost of a peer is stated for, in bytes: a common segment.
const NOMINAL: u64 = 1 << 20;
/// What is expected of a peer nobody knows yet.
const UNKNOWN_ROUND_TRIP_US: u64 = 50_000;
const UNKNOWN_RATE: u64 = 4 << 20;
/// Shorter transfers say nothing about a rate, in bytes.
const LEAST_FOR_RATE: u64 = 64 << 10;
/// A relay that lives is a member; one that has died is none after half a minute. Whoever is one and has not been
/// reached for so long lives behind a NAT that leaves no way to it.
const OUT_OF_REACH_MS: u64 = 45_000;
/// One, in the failing average, and how long it takes to halve.
const ONE: u32 = 1 << 16;
const FAILING_HALVES_MS: u64 = 30_000;

/// One node's standing.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    in_a_row: u32,
    avoid_until: UnixMillis,
    /// Since when there has been no connection, however often one was tried.
    unreachable_since: Option<UnixMillis>,
    corrupt: u32,
    /// An average of failures, as it was then; it halves with time, since who is asked last cannot mend it.
    failing: u32,
    failing_at: UnixMillis,
    round_trip_us: Option<u64>,
    rate: Option<u64>,
    in_flight: u32,
    /// Receipts that it owes us, and that we owe it, in bytes.
    owes_us: u64,
    owed_by_us: u64,
    /// Time from a request to the answer's head; allocated with the first one.
    heads: Option<Box<Quantiles>>,
    pub(super) used: u64,
}

fn blend(old: Option<u64>, new: u64, part: u64) -> u64 {
    old.map_or(new, |old| (old.saturating_mul(part - 1)).saturating_add(new) / part)
}

impl Standing {
    /// True when it may be asked.
    pub fn is_good(&self, now: UnixMillis) -> bool {
        now >= self.avoid_until
    }

    /// True when this node has no way to it, although it is still a member.
    pub fn is_out_of_reach(&self, now: UnixMillis) -> bool {
        self.unreachable_since.is_some_and(|since| now.since(since) >= OUT_OF_REACH_MS)
    }

    /// True when more than half of what it was asked lately failed.
    pub fn is_poor(&self, now: UnixMillis) -> bool {
        self.failing(now) > ONE / 2
    }

    fn failing(&self, now: UnixMillis) -> u32 {
        self.failing >> (now.since(self.failing_at) / FAILING_HALVES_MS).min(31)
    }

    fn set_failing(&mut self, failing: u32, now: UnixMillis) {
        (self.failing, self.failing_at) = (failing, now);
    }

    /// It was late, or worse.
    pub(super) fn late(&mut self, now: UnixMillis) {
        let failing = self.failing(now);
        self.set_failing(failing + (ONE - failing) / 4, now);
    }

    /// True when it has as many requests as it is given.
    pub fn is_busy(&self) -> bool {
        self.in_flight >= MAX_IN_FLIGHT
    }

    /// True when it owes more receipts than the credit window allows.
    pub fn owes_too_much(&self) -> bool {
        self.owes_us > MAX_OWED_BYTES
    }

    /// Failures to verify, ever.
    pub fn corrupt(&self) -> u32 {
        self.corrupt
    }

    /// What it is expected to take for a common segment, in microseconds, with what failures, a queue and unpaid
    /// receipts add. The lower the better.
    pub fn cost_us(&self, now: UnixMillis) -> u64 {
        let transfer = NOMINAL * 1_000_000 / self.rate.unwrap_or(UNKNOWN_RATE).max(1024);
        let base = self.round_trip_us.unwrap_or(UNKNOWN_ROUND_TRIP_US) + transfer;
        let failing = base * 7 * u64::from(self.failing(now)) / u64::from(ONE);
        let queued = transfer * u64::from(self.in_flight.min(MAX_IN_FLIGHT)) / 4;
        let unpaid = base * self.owed_by_us.min(MAX_OWED_BYTES) / MAX_OWED_BYTES;
        base + failing + queued + unpaid
    }

    pub(super) fn asked(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
    }

    pub(super) fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// True while a request to it is under way.
    pub(super) fn is_asked(&self) -> bool {
        self.in_flight > 0
    }

    pub(super) fn head_after(&mut self, took: Duration) {
        self.unreachable_since = None;
        self.heads.get_or_insert_default().record(took);
    }

    pub(super) fn heads(&self) -> Option<&Quantiles> {
        self.heads.as_deref()
    }

    pub(super) fn round_trip(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.round_trip_us = Some(blend(self.round_trip_us, us, 8).min(60_000_000));
    }

    /// It served so many bytes in this time.
    pub(super) fn succeeded(&mut self, bytes: u64, took: Duration, now: UnixMillis) {
        self.in_a_row = 0;
        self.unreachable_since = None;
        let failing = self.failing(now);
        self.set_failing(failing - failing / 8, now);
        if let Some(rate) = rate(bytes, took) {
            self.rate = Some(blend(self.rate, rate, 4));
        }
    }

    pub(super) fn failed(&mut self, failure: Failure, now: UnixMillis) {
        self.late(now);
        match failure {
            Failure::Unreachable => _ = self.unreachable_since.get_or_insert(now),
            _ => self.unreachable_since = None,
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        let doubled = |first: u64, cap: u64| first.saturating_mul(1 << (self.in_a_row - 1).min(16)).min(cap);
        let wait = match failure {
            Failure::Corrupt => {
                self.corrupt = self.corrupt.saturating_add(1);
                CORRUPT_MS
            }
            Failure::Withheld => doubled(WITHHELD_MS, WITHHELD_CAP_MS),
            Failure::Unreachable | Failure::Stalled => doubled(BACK_OFF_MS, BACK_OFF_CAP_MS),
        };
        self.avoid_until = self.avoid_until.max(now.plus_ms(wait));
    }

    pub(super) fn receipts(&mut self, owes_us: u64, owed_by_us: u64) {
        (self.owes_us, self.owed_by_us) = (owes_us, owed_by_us);
    }

    /// It is back: what it did before counts no longer.
    pub(super) fn forgive(&mut self) {
        (self.in_a_row, self.failing, self.avoid_until) = (0, 0, UnixMillis(0));
        self.unreachable_since = None;
    }
}

/// Bytes a second, when the transfer was long enough to say.
pub(super) fn rate(bytes: u64, took: Duration) -> Option<u64> {
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    (bytes >= LEAST_FOR_RATE).then(|| bytes.saturating_mul(1_000_000) / us)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    #[test]
    fn each_failure_in_a_row_costs_more_and_a_success_ends_the_row() {
        let mut standing = Standing::default();
        let mut now = NOW;
        for wait in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            standing.failed(Failure::Stalled, now);
            assert!(!standing.is_good(now.plus_ms(wait - 1)) && standing.is_good(now.plus_ms(wait)));
            now = now.plus_ms(wait);
        }
        standing.succeeded(0, Duration::ZERO, NOW);
        standing.failed(Failure::Unreachable, now);
        assert!(standing.is_good(now.plus_ms(1_000)));
        standing.failed(Failure::Corrupt, now);
        assert!(!standing.is_good(now.plus_ms(599_999)));
    }

    #[test]
    fn whoever_promises_and_keeps_back_is_left_alone_ten_times_as_long_as_a_slow_one() {
        let (mut slow, mut liar) = (Standing::default(), Standing::default());
        slow.failed(Failure::Stalled, NOW);
        liar.failed(Failure::Withheld, NOW);
        assert!(slow.is_good(NOW.plus_ms(1_000)) && !liar.is_good(NOW.plus_ms(9_999)));
        assert!(liar.is_good(NOW.plus_ms(10_000)));
    }

    #[test]
    fn the_cost_grows_with_distance_slowness_failures_queue_and_debts() {
        let mut near = Standing::default();
        near.round_trip(Duration::from_millis(2));
        near.succeeded(1 << 20, Duration::from_millis(50), NOW);
        let base = near.cost_us(NOW);
        let worse: [fn(&mut Standing); 5] = [
            |peer| (0..20).for_each(|_| peer.round_trip(Duration::from_millis(300))),
            |peer| peer.succeeded(1 << 20, Duration::from_secs(4), NOW),
            |peer| peer.failed(Failure::Stalled, NOW),
            |peer| (0..8).for_each(|_| peer.asked()),
            |peer| peer.receipts(0, MAX_OWED_BYTES),
        ];
        for (at, worsen) in worse.into_iter().enumerate() {
            let mut peer = near.clone();
            worsen(&mut peer);
            assert!(peer.cost_us(NOW) > base + base / 8, "{at}: {} from {base}", peer.cost_us(NOW));
        }
        assert!(Standing::default().cost_us(NOW) > base);
    }

    #[test]
    fn who_is_never_reached_but_stays_a_member_is_out_of_reach() {
        let mut standing = Standing::default();
        for second in 0..45 {
            assert!(!standing.is_out_of_reach(NOW.plus_ms(second * 1_000)));
            standing.failed(Failure::Unreachable, NOW.plus_ms(second * 1_000));
        }
        let then = NOW.plus_ms(OUT_OF_REACH_MS);
        assert!(standing.is_out_of_reach(then));
        let reached: [fn(&mut Standing); 4] = [
            |peer| peer.failed(Failure::Stalled, NOW),
            |peer| peer.head_after(Duration::ZERO),
            |peer| peer.succeeded(1, Duration::ZERO, NOW),
            |peer| peer.forgive(),
        ];
        for reached in reached {
            let mut peer = standing.clone();
            reached(&mut peer);
            assert!(!peer.is_out_of_reach(then));
        }
    }

    #[test]
    fn three_failures_make_a_node_poor_and_successes_mend_it() {
        let mut standing = Standing::default();
        (0..3).for_each(|_| standing.failed(Failure::Stalled, NOW));
        assert!(standing.is_poor(NOW));
        (0..8).for_each(|_| standing.succeeded(0, Duration::ZERO, NOW));
        assert!(!standing.is_poor(NOW));
        (0..3).for_each(|_| standing.late(NOW));
        assert!(standing.is_poor(NOW) && standing.is_good(NOW.plus_ms(600_000)));
        assert!(!standing.is_poor(NOW.plus_ms(FAILING_HALVES_MS)), "who is asked last is tried again some day");
    }
}
