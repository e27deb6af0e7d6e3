//! How much one relay may submit. No I/O.
//!
//! Invariant: over a long time no relay submits more than the rate, so that none keeps the others' evidence out.

use weir_protocol::UnixMillis;

/// Messages a second that one relay may submit: an edge with 60 000 sessions that claims each every minute.
const RATE: u64 = 1_000;
/// Messages that it may submit at once: what piles up while an adapter is away.
const BURST: u64 = 60_000;

/// One relay's share (a leaky bucket).
#[derive(Debug, Default)]
pub(super) struct Share {
    /// When everything so far is paid off, in milliseconds times [`RATE`].
    paid: u64,
}

impl Share {
    /// Takes `messages` out of the share; otherwise says how many milliseconds to wait.
    pub(super) fn take(&mut self, messages: u64, now: UnixMillis) -> Result<(), u64> {
        let now = now.0.saturating_mul(RATE);
        let paid = self.paid.max(now).saturating_add(messages.saturating_mul(1000));
        let over = paid.saturating_sub(now).saturating_sub(BURST * 1000);
        if over > 0 {
            return Err(over.div_ceil(RATE));
        }
        self.paid = paid;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_then_the_rate_counts() {
        let now = UnixMillis(1_800_000_000_000);
        let mut share = Share::default();
        assert_eq!(share.take(BURST, now), Ok(()));
        let wait = share.take(64, now).err();
        assert_eq!(wait, Some(64));
        assert_eq!(share.take(64, now.plus_ms(64)), Ok(()));
        let mut taken = 0;
        for ms in 64..10_064 {
            taken += u64::from(share.take(10, now.plus_ms(ms)).is_ok()) * 10;
        }
        // What is left of the last millisecond does not make ten.
        assert!((10 * RATE - 10..=10 * RATE).contains(&taken), "{taken}");
    }
}
