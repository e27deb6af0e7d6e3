//! One publisher's network as this node knows it: who signs, who feeds it, who is in it. Invariant: members and key
//! lists change only on the word of the publisher's adapter or root key.

use super::{Links, client::PeerSource};
use crate::{
    clock::Clock,
    fetch::{Candidate, Plan},
    mesh::{Failure, Mesh, Step},
};
use arc_swap::ArcSwap;
use dashmap::DashMap;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;
use weir_protocol::{
    ids::{PublisherId, RelayId},
    keys::{KeyRing, RootKey},
    resource::ResourceKey,
    time::UnixMillis,
};

/// Members of one network; more are not believed.
pub(super) const MAX_MEMBERS: usize = 4096;

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

    fn mesh(&self) -> MutexGuard<'_, Mesh> {
        self.mesh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The networks this relay is in, and for each object the plan of whom to ask.
pub struct Networks {
    networks: DashMap<PublisherId, Arc<Network>>,
    links: Arc<Links>,
    clock: Clock,
}

impl Networks {
    /// No network yet.
    pub fn new(links: Arc<Links>, clock: Clock) -> Self {
        Self { networks: DashMap::new(), links, clock }
    }

    /// Joins a network.
    pub fn join(&self, network: Arc<Network>) {
        self.networks.insert(network.publisher, network);
    }

    /// The network of a publisher.
    pub fn get(&self, publisher: &PublisherId) -> Option<Arc<Network>> {
        self.networks.get(publisher).map(|network| network.clone())
    }

    /// All networks.
    pub fn all(&self) -> Vec<Arc<Network>> {
        self.networks.iter().map(|network| network.clone()).collect()
    }

    /// The links below.
    pub fn links(&self) -> &Arc<Links> {
        &self.links
    }
}

impl Plan for Networks {
    fn candidates(&self, key: &ResourceKey, hops: u8) -> Vec<Candidate> {
        let Some(network) = self.get(&key.publisher) else { return Vec::new() };
        let plan = network.mesh().plan(&key.hash(), hops, self.clock.now());
        let candidate = |step: Step| {
            let (relay, held_only, label) = match step {
                Step::Owner(relay) => (relay, false, "peer"),
                Step::Holder(relay) => (relay, true, "peer"),
                Step::Adapter => (network.adapter, false, "adapter"),
            };
            let source = PeerSource {
                network: network.clone(),
                links: self.links.clone(),
                clock: self.clock.clone(),
                relay,
                held_only,
            };
            Candidate { source: Arc::new(source), label }
        };
        plan.into_iter().map(candidate).collect()
    }
}

/// The adapter's own list of its network: relays that are connected, and the keys it signs with.
pub struct Directory {
    publisher: PublisherId,
    members: watch::Sender<DirectoryState>,
    keys: watch::Sender<Vec<u8>>,
}

/// Who is connected.
#[derive(Debug, Clone, Default)]
pub(super) struct DirectoryState {
    pub(super) epoch: u64,
    pub(super) members: Vec<Present>,
}

/// A relay at its control stream.
#[derive(Debug, Clone)]
pub(super) struct Present {
    pub(super) relay: RelayId,
    pub(super) address: SocketAddr,
    session: u64,
}

impl Directory {
    /// An empty network of the publisher with this root key, whose current key list is `keys`.
    pub fn new(root: &RootKey, keys: Vec<u8>) -> Self {
        Self {
            publisher: root.publisher_id(),
            members: watch::Sender::new(DirectoryState::default()),
            keys: watch::Sender::new(keys),
        }
    }

    /// The publisher.
    pub fn publisher(&self) -> PublisherId {
        self.publisher
    }

    /// Publishes a new key list to every connected relay.
    pub fn set_keys(&self, encoded: Vec<u8>) {
        self.keys.send_replace(encoded);
    }

    /// Relays that are connected now.
    pub fn relays(&self) -> Vec<RelayId> {
        self.members.borrow().members.iter().map(|member| member.relay).collect()
    }

    pub(super) fn watch(&self) -> (watch::Receiver<DirectoryState>, watch::Receiver<Vec<u8>>) {
        (self.members.subscribe(), self.keys.subscribe())
    }

    /// A relay has come; the number of its session, or `None` when the network is full.
    pub(super) fn enter(&self, relay: RelayId, address: SocketAddr) -> Option<u64> {
        let mut entered = None;
        self.members.send_if_modified(|state| {
            state.members.retain(|member| member.relay != relay);
            state.epoch += 1;
            if state.members.len() < MAX_MEMBERS {
                // Every session has an epoch of its own.
                state.members.push(Present { relay, address, session: state.epoch });
                entered = Some(state.epoch);
            }
            true
        });
        entered
    }

    /// That session is over. A newer one of the same relay stays: a relay that was killed and started again comes from
    /// the same address while its former connection has not timed out yet.
    pub(super) fn leave(&self, session: u64) {
        self.members.send_if_modified(|state| {
            let before = state.members.len();
            state.members.retain(|member| member.session != session);
            state.epoch += u64::from(state.members.len() != before);
            state.members.len() != before
        });
    }

    pub(super) fn contains(&self, relay: &RelayId) -> bool {
        self.members.borrow().members.iter().any(|member| member.relay == *relay)
    }
}
