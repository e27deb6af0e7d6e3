//! What this adapter has sent into which region, and whom it names to those who ask for it next. Invariant: only members
//! are named, and only for what they may have whom it was sent to.

use super::Directory;
use crate::{
    mesh::{Holders, Named},
    object::Entry,
    peer::{class::LIVE_MS, statuses::listed_near},
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use weir_protocol::{
    ids::{RelayId, ResourceHash},
    part::Part,
    resource::ResourceKey,
    wire::Found,
};

/// What is shorter, in bytes, is sent again: to find somebody who has it would take longer, and save little.
const WORTH: u64 = 64 << 10;
/// Addresses of a relay that are passed on.
const ADDRESSES: usize = 4;

/// Who has what.
#[derive(Default)]
pub(super) struct Sent(Mutex<Holders>);

impl Sent {
    fn lock(&self) -> MutexGuard<'_, Holders> {
        // Nothing panics between related changes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn left(&self, relay: &RelayId) {
        self.lock().left(relay);
    }

    pub(super) fn forget(&self) {
        self.lock().forget();
    }
}

/// A resource whatever its representation, but each part of it for itself.
fn name(key: &ResourceKey) -> ResourceHash {
    match key.variant.as_ref().and_then(Part::of) {
        Some(_) => key.hash(),
        None => key.clone().with_variant(None).hash(),
    }
}

impl Directory {
    /// A response leaves for a relay, which asks for itself or for one `behind` it.
    pub(in crate::peer) fn sends(&self, relay: &RelayId, behind: Option<&RelayId>, entry: &Entry) {
        self.leaves(relay, behind, entry, 0);
    }

    /// What is live is pushed to a relay.
    pub(crate) fn pushes(&self, relay: &RelayId, entry: &Entry) {
        self.leaves(relay, None, entry, LIVE_MS);
    }

    fn leaves(&self, relay: &RelayId, behind: Option<&RelayId>, entry: &Entry, live_ms: u64) {
        if !entry.is_shareable() || entry.head.length.is_some_and(|length| length < WORTH) {
            return;
        }
        let now = self.clock().now();
        let named = Named { from: now.plus_ms(live_ms), until: now.plus_ms(entry.fresh_for_ms(now)) };
        let Some(region) = self.region_if_present(relay) else { return };
        let behind = behind.filter(|behind| self.region_if_present(behind).as_ref() == Some(&region));
        let object = name(&entry.head.key);
        let mut holders = self.sent.lock();
        for relay in behind.into_iter().chain([relay]) {
            holders.sent(&object, &region, relay, named, now);
        }
    }

    /// Relays in the asker's region that have a resource, or are about to.
    pub(in crate::peer) fn elsewhere(&self, asker: &RelayId, key: &ResourceKey) -> Vec<Found> {
        let Some(region) = self.region_if_present(asker) else { return Vec::new() };
        let named = self.sent.lock().of(&name(key), &region, asker, self.clock().now());
        let own = self.addresses_of(asker).unwrap_or_default();
        let found = |relay: RelayId| {
            // Addresses of local networks are told only to who comes from the same outer one.
            let addresses = listed_near(&own, self.addresses_of(&relay)?);
            Some(Found { relay, addresses: addresses.iter().take(ADDRESSES).map(ToString::to_string).collect() })
        };
        named.into_iter().filter_map(found).collect()
    }
}
