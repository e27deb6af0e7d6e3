//! What a fill works with: the parts that all fills share, and the bounds they keep together.

use super::{Observer, Plan, Route, parts::Parts, purge::Purges, variants::Variants, way::Way};
use crate::{clock::Clock, live::Renditions, source::Asked, store::Store};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use weir_protocol::{ids::ResourceHash, resource::ResourceKey};

/// Bounds of the fetcher.
#[derive(Debug, Clone, Copy)]
pub struct FetchConfig {
    /// Fills that may run at once; more are refused as overload.
    pub max_fills: usize,
    /// Fills that may run at once for nobody in particular, because an object should have more copies.
    pub max_background: usize,
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
        Self {
            max_fills: 512,
            max_background: 8,
            max_in_flight_bytes: 256 * MIB,
            max_object_bytes: 64 * MIB,
            private_window_bytes: MIB,
        }
    }
}

pub(super) struct Core {
    pub(super) store: Arc<Store>,
    pub(super) plan: Arc<dyn Plan>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) clock: Clock,
    pub(super) config: FetchConfig,
    pub(super) in_flight: AtomicU64,
    pub(super) way: Way,
    pub(super) variants: Variants,
    pub(super) purges: Purges,
    pub(super) parts: Parts,
    pub(super) live: Renditions,
}

impl Core {
    /// Whom to ask. Whoever says who it is, and what changes something, goes past the other relays; so does who waits
    /// for what is not made yet, because two relays could wait for each other.
    pub(super) fn route(&self, key: &ResourceKey, asked: &Asked, hops: u8) -> Route {
        match asked.is_personal() || asked.is_passed() || asked.awaits().is_some() {
            true => self.plan.direct(key, hops),
            false => self.plan.route(key, hops),
        }
    }
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

/// A fill's places in the registry, where requesters find it.
pub(super) trait Place {
    /// Leaves all of them: whoever comes now starts a fill of its own.
    fn leave(&self);
    /// What it brings has turned out to be this resource: the whole instead of a part, or one of several
    /// representations.
    fn also(&self, hash: ResourceHash);
}
