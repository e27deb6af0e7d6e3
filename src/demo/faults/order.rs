//! What a relay is told to do wrong, and where that stands while it runs.

use serde::{Deserialize, Serialize};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use weir_relay::clock::Clock;
use weir_relay::quic::Gate;

/// Everything a relay shall do wrong from now on; the default is nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::demo) struct Order {
    /// Bytes a second to all viewers together.
    pub(in crate::demo) slow: Option<NonZeroU64>,
    /// Flip a bit in every piece of every segment that goes to a viewer.
    pub(in crate::demo) corrupt: bool,
    /// No datagram to or from other nodes.
    pub(in crate::demo) partition: bool,
    /// Its clock is so many seconds fast; slow if negative.
    pub(in crate::demo) skew_seconds: i64,
}

/// The order in force.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// 0 is no limit.
    slow: AtomicU64,
    corrupt: AtomicBool,
    gate: Gate,
    skew_ms: Arc<AtomicI64>,
    /// When the next byte may leave a slow door.
    free_at: Mutex<Option<Instant>>,
}

impl Faults {
    /// The switch in front of the peer socket.
    pub(super) fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// The clock that the relay goes by.
    pub(super) fn clock(&self) -> Clock {
        Clock::Skewed(self.skew_ms.clone())
    }

    /// From now on this and nothing else.
    pub(super) fn obey(&self, order: Order) {
        self.slow.store(order.slow.map_or(0, NonZeroU64::get), Ordering::Release);
        self.corrupt.store(order.corrupt, Ordering::Release);
        self.gate.set_shut(order.partition);
        self.skew_ms.store(order.skew_seconds.saturating_mul(1000), Ordering::Release);
    }

    /// Whether viewers are served as they should be.
    pub(super) fn is_fair(&self) -> bool {
        self.rate().is_none() && !self.corrupts()
    }

    pub(super) fn rate(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.slow.load(Ordering::Acquire))
    }

    pub(super) fn corrupts(&self) -> bool {
        self.corrupt.load(Ordering::Acquire)
    }

    /// When `length` further bytes may leave: all bodies of the relay share its rate, in the order in which they ask.
    pub(super) fn turn(&self, length: usize, rate: NonZeroU64) -> Instant {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let turn = free_at.map_or(now, |at| at.max(now));
        #[expect(clippy::cast_precision_loss, reason = "pieces and rates are small numbers")]
        let takes = Duration::from_secs_f64(length as f64 / rate.get() as f64);
        *free_at = Some(turn + takes);
        turn
    }
}
