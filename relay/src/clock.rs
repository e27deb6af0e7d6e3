//! The wall clock as an argument: nodes in one test process may each have their own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
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
            Self::Manual(at) => UnixMillis(at.load(Ordering::Acquire)),
        }
    }
}
