//! When to ask a second peer as well. Invariant: over any time, hedged requests are at most a tenth of all requests to
//! peers and ten, so that a slow network is not asked twice for everything.

use super::quantile::Quantiles;
use std::time::Duration;

/// What a request to a peer asks for: the times to the head differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// An owner, which fetches what it does not hold.
    Owner,
    /// Any relay, for what it holds.
    Holder,
}

/// Observations before a history is believed.
const ENOUGH: u32 = 16;
/// The percentile after which a peer is late.
const LATE: u32 = 95;
/// How long to wait for a head while there is no history.
const UNKNOWN: Duration = Duration::from_millis(400);
/// The shortest and the longest wait before a second request: below the one a scheduler's hiccup would ask twice, and
/// after the other a silent peer is given up anyway.
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_millis(800);
/// How long a relay may take for a head, however often it says that it waits: longer than an origin usually takes, and
/// shorter than an edge lets a player wait (2.5 s).
const PATIENCE: Duration = Duration::from_secs(2);
/// An owner that asks for another relay must have time to ask elsewhere before that one gives it up: it waits for so many
/// times what heads take at most, so that a slow origin is waited for, and within these bounds.
const OWNERS_PART: u32 = 3;
const OWNERS_PATIENCE: Duration = Duration::from_millis(900);
/// Requests that earn one hedged request, and the most that are saved up.
const REQUESTS_FOR_ONE: u32 = 10;
const SAVED: u32 = 10 * REQUESTS_FOR_ONE;

#[derive(Debug)]
pub(super) struct Hedges {
    owners: Quantiles,
    holders: Quantiles,
    saved: u32,
}

impl Hedges {
    pub(super) fn new() -> Self {
        Self { owners: Quantiles::default(), holders: Quantiles::default(), saved: SAVED }
    }

    pub(super) fn asked(&mut self) {
        self.saved = (self.saved + 1).min(SAVED);
    }

    pub(super) fn head_after(&mut self, asking: Asking, took: Duration) {
        match asking {
            Asking::Owner => self.owners.record(took),
            Asking::Holder => self.holders.record(took),
        }
    }

    /// How long a peer with this history has before another one is asked too.
    pub(super) fn after(&self, asking: Asking, peer: Option<&Quantiles>) -> Duration {
        let kind = match asking {
            Asking::Owner => &self.owners,
            Asking::Holder => &self.holders,
        };
        let known = [peer, Some(kind)].into_iter().flatten().find(|history| history.observations() >= ENOUGH);
        known.and_then(|history| history.percentile(LATE)).unwrap_or(UNKNOWN).clamp(SHORTEST, LONGEST)
    }

    /// How long a relay may take for a head that a fill of this stage waits for.
    pub(super) fn patience(&self, stage: u8) -> Duration {
        if stage == 0 {
            return PATIENCE;
        }
        let usual = self.owners.percentile(LATE).filter(|_| self.owners.observations() >= ENOUGH);
        (usual.unwrap_or_default() * OWNERS_PART).clamp(OWNERS_PATIENCE, PATIENCE)
    }

    /// True when a second request may be sent now; it is counted.
    pub(super) fn take(&mut self) -> bool {
        let left = self.saved.checked_sub(REQUESTS_FOR_ONE);
        self.saved = left.unwrap_or(self.saved);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hedges_are_a_tenth_of_all_requests() {
        let mut hedges = Hedges::new();
        let mut sent = 0;
        for _ in 0..10_000 {
            hedges.asked();
            sent += u32::from(hedges.take());
        }
        assert!((1000..=1010).contains(&sent), "{sent}");
    }

    #[test]
    fn an_owner_gives_another_up_before_its_asker_gives_it_up_unless_heads_are_slow() {
        let mut hedges = Hedges::new();
        assert_eq!((hedges.patience(0), hedges.patience(1)), (PATIENCE, OWNERS_PATIENCE));
        (0..ENOUGH).for_each(|_| hedges.head_after(Asking::Owner, Duration::from_millis(50)));
        assert_eq!(hedges.patience(1), OWNERS_PATIENCE);
        (0..20 * ENOUGH).for_each(|_| hedges.head_after(Asking::Owner, Duration::from_millis(500)));
        assert!((1_500..2_000).contains(&hedges.patience(1).as_millis()), "{:?}", hedges.patience(1));
        (0..400 * ENOUGH).for_each(|_| hedges.head_after(Asking::Owner, Duration::from_millis(1_500)));
        assert_eq!(hedges.patience(2), PATIENCE);
    }

    #[test]
    fn a_peers_own_history_counts_before_its_kinds() {
        let mut hedges = Hedges::new();
        assert_eq!(hedges.after(Asking::Owner, None), UNKNOWN);
        let mut near = Quantiles::default();
        for _ in 0..ENOUGH {
            hedges.head_after(Asking::Owner, Duration::from_millis(200));
            near.record(Duration::from_millis(40));
        }
        assert!((200..=256).contains(&hedges.after(Asking::Owner, None).as_millis()));
        assert!((40..=50).contains(&hedges.after(Asking::Owner, Some(&near)).as_millis()));
        assert_eq!(hedges.after(Asking::Holder, None), UNKNOWN);
        let mut bounds = [Duration::ZERO, Duration::from_secs(9)].map(|time| {
            let mut history = Quantiles::default();
            (0..ENOUGH).for_each(|_| history.record(time));
            hedges.after(Asking::Owner, Some(&history))
        });
        bounds.sort_unstable();
        assert_eq!(bounds, [SHORTEST, LONGEST]);
    }
}
