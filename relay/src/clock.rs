//! The wall clock as an argument: nodes in one test process may each have their own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};
use weir_protocol::time::UnixMillis;

/// Tells the time.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that stands still until it is set, for tests and simulations.
    Manual(Arc<AtomicU64>),
    /// The machine's clock, so many milliseconds off, as a clock is that was never set.
    Skewed(Arc<AtomicI64>),
}

impl Clock {
    /// Milliseconds since the Unix epoch.
    pub fn now(&self) -> UnixMillis {
        match self {
            Self::System => UnixMillis(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            ),
            Self::Skewed(by) => UnixMillis(Self::System.now().0.saturating_add_signed(by.load(Ordering::Acquire))),
            Self::Manual(at) => UnixMillis(at.load(Ordering::Acquire)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skewed_clock_is_off_by_what_it_is_told() {
        let by = Arc::new(AtomicI64::new(0));
        let clock = Clock::Skewed(Arc::clone(&by));
        for hours in [0, -5, 7] {
            by.store(hours * 3_600_000, Ordering::Release);
            let expected = Clock::System.now().0.saturating_add_signed(hours * 3_600_000);
            assert!(clock.now().0.abs_diff(expected) < 10_000, "{hours} h");
        }
    }
}
