//! What a relay's past behaviour says about asking it now.

use weir_protocol::time::UnixMillis;

/// What went wrong with a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or it broke.
    Unreachable,
    /// Connected, but silent for too long.
    Stalled,
    /// Its bytes or signatures did not verify.
    Corrupt,
}

/// After the n-th failure in a row a relay is left alone for this long times 2ⁿ⁻¹, in milliseconds.
const BACK_OFF_MS: u64 = 1_000;
/// But never longer than this.
const BACK_OFF_CAP_MS: u64 = 60_000;
/// A relay whose bytes do not verify is left alone for ten minutes: this is no accident of the network.
const CORRUPT_MS: u64 = 600_000;

/// One relay's standing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    in_a_row: u32,
    avoid_until: UnixMillis,
    /// Failures to verify, ever.
    pub corrupt: u64,
}

impl Standing {
    /// True when it may be asked.
    pub fn is_good(&self, now: UnixMillis) -> bool {
        now.0 >= self.avoid_until.0
    }

    /// It served.
    pub fn succeeded(&mut self) {
        self.in_a_row = 0;
    }

    /// It failed.
    pub fn failed(&mut self, failure: Failure, now: UnixMillis) {
        let wait = if failure == Failure::Corrupt {
            self.corrupt += 1;
            CORRUPT_MS
        } else {
            self.in_a_row = self.in_a_row.saturating_add(1);
            BACK_OFF_MS.saturating_mul(1 << (self.in_a_row - 1).min(16)).min(BACK_OFF_CAP_MS)
        };
        self.avoid_until = self.avoid_until.max(UnixMillis(now.0.saturating_add(wait)));
    }
}
