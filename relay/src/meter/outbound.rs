//! What is under way to one publisher's ledger. No I/O: the clock is an argument.
//!
//! Invariant: at most [`WINDOW`] submissions are under way; whatever is not answered in time is submitted again, which is
//! safe, since a message becomes one leaf however often it comes.

use super::journal::Waiting;
use std::collections::BTreeMap;
use tokio::time::{Duration, Instant};

/// Submissions under way at once.
pub(super) const WINDOW: usize = 4;
/// An answer is waited for so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest pause that a publisher can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// State for one publisher.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    next: u64,
    under_way: BTreeMap<u64, (Vec<Waiting>, Instant)>,
    /// The last message that was submitted since the last beginning.
    pub(super) reached: u64,
    pause: Option<Instant>,
}

impl Outbound {
    /// Everything that is not acknowledged is submitted again: the line is a new one.
    pub(super) fn begin_anew(&mut self) {
        self.under_way.clear();
        self.reached = 0;
        self.pause = None;
    }

    /// True when another submission may be made.
    pub(super) fn may_submit(&self, now: Instant) -> bool {
        self.under_way.len() < WINDOW && self.pause.is_none_or(|until| until <= now)
    }

    /// A submission with these messages is made; its number.
    pub(super) fn submitted(&mut self, messages: Vec<Waiting>, now: Instant) -> u64 {
        self.next += 1;
        self.reached = self.reached.max(messages.last().map_or(0, |last| last.number));
        self.under_way.insert(self.next, (messages, now));
        self.next
    }

    /// The messages that an answer is for.
    pub(super) fn answered(&mut self, number: u64) -> Option<Vec<Waiting>> {
        self.under_way.remove(&number).map(|(messages, _)| messages)
    }

    /// The publisher takes nothing for a while.
    pub(super) fn pause(&mut self, for_ms: u64, now: Instant) {
        self.under_way.clear();
        self.reached = 0;
        self.pause = Some(now + Duration::from_millis(for_ms).min(LONGEST_PAUSE));
    }

    /// Gives up waiting for answers that are overdue.
    pub(super) fn tend(&mut self, now: Instant) {
        if self.under_way.values().any(|(_, since)| now - *since >= PATIENCE) {
            self.begin_anew();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use weir_protocol::statement::Kind;

    #[test]
    fn what_is_not_answered_is_submitted_again() {
        let now = Instant::now();
        let mut outbound = Outbound::default();
        let waiting = |number| Waiting { number, kind: Kind::EdgeClaim, message: Bytes::new() };
        let two = |n: u64| vec![waiting(n * 2 + 1), waiting(n * 2 + 2)];
        let numbers: Vec<u64> = (0..WINDOW as u64).map(|n| outbound.submitted(two(n), now)).collect();
        assert!(!outbound.may_submit(now));
        assert_eq!(outbound.answered(numbers[1]), Some(two(1)));
        assert_eq!(outbound.answered(numbers[1]), None, "an answer counts once");
        assert!(outbound.may_submit(now) && outbound.reached == 8);
        outbound.tend(now + PATIENCE);
        assert_eq!(outbound.reached, 0);
        outbound.submitted(two(0), now);
        outbound.pause(1000, now);
        assert!(!outbound.may_submit(now) && outbound.may_submit(now + Duration::from_secs(1)));
        assert_eq!(outbound.reached, 0);
    }
}
