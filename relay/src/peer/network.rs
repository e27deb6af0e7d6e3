//! One publisher's network as this node knows it: who signs, who feeds it, who is in it. Invariant: members and key
//! lists change only on the word of the publisher's adapter or root key.

use crate::mesh::{Failure, Mesh};
use arc_swap::ArcSwap;
use dashmap::DashMap;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use weir_protocol::{
    ids::{PublisherId, RelayId},
    keys::KeyRing,
    time::UnixMillis,
    wire::MAX_MEMBERS,
};

/// One publisher's network.
pub struct Network {
    /// The publisher.
    pub publisher: PublisherId,
    /// The adapter's identity; its addresses may change.
    pub adapter: RelayId,
    adapter_addresses: ArcSwap<Vec<SocketAddr>>,
    ring: ArcSwap<KeyRing>,
    addresses: DashMap<RelayId, Vec<SocketAddr>>,
    mesh: Mutex<Mesh>,
    epoch: Mutex<u64>,
}

impl Network {
    /// The network of the publisher whose keys are in `ring`, fed by `adapter`.
    pub fn new(me: RelayId, ring: KeyRing, adapter: RelayId, adapter_addresses: Vec<SocketAddr>) -> Self {
        Self {
            publisher: ring.publisher(),
            adapter,
            adapter_addresses: ArcSwap::from_pointee(adapter_addresses),
            ring: ArcSwap::from_pointee(ring),
            addresses: DashMap::new(),
            mesh: Mutex::new(Mesh::new(me)),
            epoch: Mutex::new(0),
        }
    }

    /// The signing keys now in force.
    pub fn ring(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    /// Where the adapter is.
    pub fn adapter_addresses(&self) -> Arc<Vec<SocketAddr>> {
        self.adapter_addresses.load_full()
    }

    /// The adapter has moved.
    pub fn set_adapter_addresses(&self, addresses: Vec<SocketAddr>) {
        self.adapter_addresses.store(Arc::new(addresses));
    }

    /// A key list has arrived; true when it is valid, signed by the publisher's root key, and newer.
    pub fn offer_keys(&self, encoded: &[u8], now: UnixMillis) -> bool {
        let Ok(ring) = KeyRing::verify(self.publisher, encoded, now) else { return false };
        let newer = ring.issued() > self.ring.load().issued();
        if newer {
            self.ring.store(Arc::new(ring));
        }
        newer
    }

    /// The adapter has said who is in the network. Lists of an older epoch are ignored.
    pub fn set_members(&self, epoch: u64, members: Vec<(RelayId, Vec<SocketAddr>)>) {
        let mut last = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        if epoch < *last {
            return;
        }
        *last = epoch;
        self.mesh().set_members(members.iter().take(MAX_MEMBERS).map(|(relay, _)| *relay));
        self.addresses.retain(|relay, _| members.iter().any(|(member, _)| member == relay));
        for (relay, addresses) in members.into_iter().take(MAX_MEMBERS) {
            self.addresses.insert(relay, addresses);
        }
    }

    /// A new session with the adapter begins: it is there, and it counts its epochs anew.
    pub(super) fn adapter_is_back(&self) {
        self.mesh().adapter_succeeded();
        *self.epoch.lock().unwrap_or_else(PoisonError::into_inner) = 0;
    }

    /// Known members.
    pub fn members(&self) -> Vec<RelayId> {
        self.addresses.iter().map(|member| *member.key()).collect()
    }

    /// True when `peer` may ask for this publisher's content.
    pub fn may_ask(&self, peer: &RelayId) -> bool {
        *peer == self.adapter || self.mesh().is_member(peer)
    }

    pub(super) fn addresses_of(&self, relay: &RelayId) -> Vec<SocketAddr> {
        if *relay == self.adapter {
            return self.adapter_addresses().to_vec();
        }
        self.addresses.get(relay).map(|found| found.clone()).unwrap_or_default()
    }

    pub(super) fn failed(&self, relay: &RelayId, failure: Failure, now: UnixMillis) {
        match *relay == self.adapter {
            true => self.mesh().adapter_failed(failure, now),
            false => self.mesh().failed(relay, failure, now),
        }
    }

    pub(super) fn succeeded(&self, relay: &RelayId) {
        match *relay == self.adapter {
            true => self.mesh().adapter_succeeded(),
            false => self.mesh().succeeded(relay),
        }
    }

    pub(super) fn mesh(&self) -> MutexGuard<'_, Mesh> {
        self.mesh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
