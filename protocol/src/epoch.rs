//! Epochs: the time slices that receipts count in.
//!
//! Invariant: an epoch's number follows from a time and the publisher's epoch length alone, so two honest nodes never
//! disagree about it by more than their clocks differ.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::time::UnixMillis;

/// Length of an epoch unless the publisher says otherwise, in milliseconds: one hour.
pub const DEFAULT_EPOCH_MS: u64 = 3_600_000;
/// Shortest epoch, in milliseconds. Short ones are for demonstrations.
pub const MIN_EPOCH_MS: u64 = 1000;
/// Longest epoch, in milliseconds: 31 days.
pub const MAX_EPOCH_MS: u64 = 31 * 86_400_000;

/// The number of an epoch: milliseconds since 1970 divided by the epoch's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Epoch(#[n(0)] pub u64);

impl Epoch {
    /// The epoch that a time lies in. `length_ms` is the publisher's epoch length; 0 counts as 1.
    #[must_use]
    pub const fn of(time: UnixMillis, length_ms: u64) -> Self {
        Self(time.0 / if length_ms == 0 { 1 } else { length_ms })
    }

    /// The first millisecond of the epoch.
    #[must_use]
    pub const fn start(self, length_ms: u64) -> UnixMillis {
        UnixMillis(self.0.saturating_mul(length_ms))
    }

    /// The first millisecond after the epoch.
    #[must_use]
    pub const fn end(self, length_ms: u64) -> UnixMillis {
        UnixMillis(self.0.saturating_add(1).saturating_mul(length_ms))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::Epoch;
    use crate::time::UnixMillis;

    #[test]
    fn an_epoch_begins_where_the_last_one_ended() {
        let epoch = Epoch::of(UnixMillis(7_199_999), 3_600_000);
        assert_eq!(epoch, Epoch(1));
        assert_eq!(epoch.start(3_600_000), UnixMillis(3_600_000));
        assert_eq!(epoch.end(3_600_000), Epoch(2).start(3_600_000));
        assert_eq!(Epoch(u64::MAX).end(3_600_000), UnixMillis(u64::MAX), "a hostile number does not overflow");
    }
}
