//! A relay's status on its networks' topics: when it is said, and what others say.
//!
//! Invariant: all members of a network together say at most one thing a second in the long run ([`SHARE`]), however many
//! they are: the larger the network, the less often each repeats itself. Everybody hears everything, so four a second were
//! two thirds of all control bytes of ten thousand relays (docs/mesh.md).

use std::time::Duration;
use tokio::time::Instant;

/// A member's pause between two repetitions, for each member of the network; changes apart.
const SHARE: Duration = Duration::from_secs(1);
/// Shortest pause between two repetitions.
const REPEAT: Duration = Duration::from_secs(30);
/// Shortest pause between two changes that are told.
const CHANGE: Duration = Duration::from_secs(2);
/// The time that a sending rate is measured over.
const MEASURE: Duration = Duration::from_secs(10);

/// When to speak.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    last: Option<Instant>,
    changed: bool,
}

impl Schedule {
    /// Something is new.
    pub(super) fn changed(&mut self) {
        self.changed = true;
    }

    /// True when it is time; then it counts as said.
    pub(super) fn due(&mut self, members: usize, now: Instant) -> bool {
        let repeat = REPEAT.max(SHARE.saturating_mul(u32::try_from(members).unwrap_or(u32::MAX)));
        let pause = if self.changed { CHANGE } else { repeat };
        let due = self.last.is_none_or(|last| now.duration_since(last) >= pause);
        if due {
            self.last = Some(now);
            self.changed = false;
        }
        due
    }

    /// What was to be said was not: nobody listens yet.
    pub(super) fn unsaid(&mut self) {
        self.changed = true;
    }
}

/// Measures what this relay sends. Its capacity is the most it has ever sent in [`MEASURE`]: a lower bound that its own
/// traffic raises.
#[derive(Debug, Default)]
pub(super) struct Rate {
    began: Option<(Instant, u64)>,
    now: u64,
    best: u64,
}

impl Rate {
    /// So many bytes have been sent in all.
    pub(super) fn sent(&mut self, total: u64, now: Instant) {
        let Some((began, before)) = self.began else {
            self.began = Some((now, total));
            return;
        };
        let elapsed = now.duration_since(began);
        if elapsed >= MEASURE {
            let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
            self.now = total.saturating_sub(before).saturating_mul(1000) / ms;
            self.best = self.best.max(self.now);
            self.began = Some((now, total));
        }
    }

    /// Bytes a second at best, and how much of that is in use, per mille.
    pub(super) fn capacity_and_load(&self) -> (u64, u16) {
        let load = self.now.saturating_mul(1000).checked_div(self.best).unwrap_or(0).min(1000);
        (self.best, u16::try_from(load).unwrap_or(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_soon_and_a_repetition_seldom_in_a_large_network() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        let mut due = |after: u64, members, changed: bool| {
            if changed {
                schedule.changed();
            }
            schedule.due(members, start + Duration::from_secs(after))
        };
        assert!(due(0, 4, false));
        assert!(!due(1, 4, true), "not twice within two seconds");
        assert!(due(2, 4, false));
        assert!(!due(31, 4, false));
        assert!(due(32, 4, false));
        assert!(!due(200, 1000, false));
        assert!(!due(282, 1000, false));
        assert!(due(1032, 1000, false));
    }

    #[test]
    fn the_rate_is_measured_and_the_best_remembered() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        rate.sent(0, start);
        rate.sent(1_000_000, start + MEASURE);
        assert_eq!(rate.capacity_and_load(), (100_000, 1000));
        rate.sent(1_250_000, start + 2 * MEASURE);
        assert_eq!(rate.capacity_and_load(), (100_000, 250));
    }
}
