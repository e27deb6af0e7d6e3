//! What a fill works with: the parts that all fills share, and the bounds they keep together.

use super::{Observer, Plan};
use crate::{clock::Clock, store::Store};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Bounds of the fetcher.
#[derive(Debug, Clone, Copy)]
pub struct FetchConfig {
    /// Fills that may run at once; more are refused as overload.
    pub max_fills: usize,
    /// Bytes that growing bodies may hold together.
    pub max_in_flight_bytes: u64,
    /// Longest body that is kept. Longer ones are passed through a window when their length is announced, and broken
    /// off when it is not.
    pub max_object_bytes: u64,
    /// Bytes of a private body that may wait unread.
    pub private_window_bytes: u64,
}

impl Default for FetchConfig {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self { max_fills: 512, max_in_flight_bytes: 256 * MIB, max_object_bytes: 64 * MIB, private_window_bytes: MIB }
    }
}

pub(super) struct Core {
    pub(super) store: Arc<Store>,
    pub(super) plan: Arc<dyn Plan>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) clock: Clock,
    pub(super) config: FetchConfig,
    pub(super) in_flight: AtomicU64,
}

/// Counts bytes of growing bodies against the bound, and gives them back when the fill ends.
pub(super) struct InFlight<'a> {
    core: &'a Core,
    bytes: u64,
}

impl<'a> InFlight<'a> {
    pub(super) fn new(core: &'a Core) -> Self {
        Self { core, bytes: 0 }
    }

    /// False when the bound is passed.
    pub(super) fn grow(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        self.core.in_flight.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.core.config.max_in_flight_bytes
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.core.in_flight.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
