//! Points in time as milliseconds, passed in by the caller.
//!
//! Invariant: arithmetic saturates, so a hostile timestamp never overflows.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// How far two honest clocks may differ, in milliseconds. A signature whose time lies further ahead is refused.
pub const CLOCK_SKEW_MS: u64 = 5 * 60 * 1000;

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct UnixMillis(#[n(0)] pub u64);

impl UnixMillis {
    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The first millisecond of a second.
    #[must_use]
    pub fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds that passed since `earlier`; 0 if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time `ms` milliseconds later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// The time `ms` milliseconds earlier.
    #[must_use]
    pub fn minus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}
