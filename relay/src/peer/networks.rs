//! The networks this relay is in, and for each object the sources to ask, as the mesh plans them.

use super::{Links, Network, client::PeerSource};
use crate::{
    access::{Blocklist, Withheld},
    clock::Clock,
    fetch::{Candidate, Plan, Route},
    mesh::{Admission, Asking, Class, LAST_STAGE, Object, Step},
    meter::Meter,
};
use arc_swap::ArcSwap;
use dashmap::DashMap;
use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};
use tokio::sync::watch;
use weir_protocol::{
    ids::{PublisherId, RelayId},
    part::Part,
    reach::Reach,
    resource::ResourceKey,
    wire::{DoorReport, Found, MAX_HOPS},
};

/// The networks this relay is in, and for each object the plan of whom to ask.
pub struct Networks {
    networks: DashMap<PublisherId, Arc<Network>>,
    links: Arc<Links>,
    clock: Clock,
    reach: watch::Sender<Reach>,
    doors: watch::Sender<Arc<[DoorReport]>>,
    blocked: ArcSwap<Blocklist>,
    /// Counts changes of the blocklist.
    blocklists: watch::Sender<u64>,
    meter: OnceLock<Meter>,
}

impl Networks {
    /// No network yet.
    pub fn new(links: Arc<Links>, clock: Clock) -> Self {
        Self {
            networks: DashMap::new(),
            links,
            clock,
            reach: watch::Sender::default(),
            doors: watch::Sender::new(Arc::new([])),
            blocked: ArcSwap::from_pointee(Blocklist::default()),
            blocklists: watch::Sender::new(0),
            meter: OnceLock::new(),
        }
    }

    /// Counts what is exchanged in networks that are joined from now on. Once.
    pub fn set_meter(&self, meter: Meter) {
        let _ = self.meter.set(meter);
    }

    /// What counts, if anything does.
    pub(crate) fn meter(&self) -> Option<&Meter> {
        self.meter.get()
    }

    /// What this relay's operator refuses from now on; what is held of it is purged.
    pub fn set_blocklist(&self, blocklist: Blocklist) {
        self.blocked.store(Arc::new(blocklist));
        self.blocklists.send_modify(|count| *count += 1);
    }

    pub(super) fn blocklists(&self) -> watch::Receiver<u64> {
        self.blocklists.subscribe()
    }

    /// The time by which grants and takedowns are judged.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Joins a network.
    pub fn join(&self, network: Arc<Network>) {
        if let Some(meter) = self.meter() {
            network.set_meter(meter.clone());
        }
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

    /// How this relay can be reached; adapters are told of each change.
    pub fn reach(&self) -> &watch::Sender<Reach> {
        &self.reach
    }

    /// Where viewers come to this relay, one report for each network that may know; each adapter is told of its own
    /// whenever they are set.
    pub fn doors(&self) -> &watch::Sender<Arc<[DoorReport]>> {
        &self.doors
    }

    /// The links below.
    pub fn links(&self) -> &Arc<Links> {
        &self.links
    }
}

/// What the mesh knows a resource by. A first slice, which of a short resource is everything, has the same owners as the
/// whole: whoever asks for either meets the other there.
pub(crate) fn object_of(key: &ResourceKey) -> Object {
    if key.variant.as_ref().and_then(Part::of) == Some(Part::Slice(0)) {
        return object_of(&key.clone().with_variant(None));
    }
    Object::new(key.hash(), key.path.as_str())
}

impl Networks {
    fn candidate(&self, network: &Arc<Network>, step: Step, object: Object) -> Candidate {
        self.found(network, step, object, Arc::default())
    }

    /// A source that is said to be at these addresses.
    fn found(&self, network: &Arc<Network>, step: Step, object: Object, said: Arc<[SocketAddr]>) -> Candidate {
        let (relay, asking, label) = match step.peer() {
            Some((relay, asking)) => (relay, asking, "peer"),
            None => (network.adapter, Asking::Owner, "adapter"),
        };
        let source = PeerSource {
            network: network.clone(),
            links: self.links.clone(),
            clock: self.clock.clone(),
            relay,
            asking,
            object,
            said,
        };
        Candidate { source: Arc::new(source), label }
    }
}

impl Plan for Networks {
    fn candidates(&self, key: &ResourceKey, hops: u8) -> Vec<Candidate> {
        self.route(key, hops).candidates
    }

    fn route(&self, key: &ResourceKey, hops: u8) -> Route {
        let Some(network) = self.get(&key.publisher) else {
            return Route { stage: LAST_STAGE, candidates: Vec::new() };
        };
        let (object, now) = (object_of(key), self.clock.now());
        let plan = network.mesh_at(now).plan(&object, hops, now);
        let candidates = plan.steps.into_iter().map(|step| self.candidate(&network, step, object)).collect();
        Route { stage: plan.stage, candidates }
    }

    fn direct(&self, key: &ResourceKey, hops: u8) -> Route {
        let network = self.get(&key.publisher);
        let adapter = network.map(|network| self.candidate(&network, Step::Adapter, object_of(key)));
        // The adapter waits for no relay: anybody may wait for this fill. What it asks must not look like a loop.
        Route { stage: hops.max(MAX_HOPS - 1), candidates: adapter.into_iter().collect() }
    }

    fn holders(&self, key: &ResourceKey, found: &[Found]) -> Vec<Candidate> {
        let Some(network) = self.get(&key.publisher) else { return Vec::new() };
        let (object, now) = (object_of(key), self.clock.now());
        let good = |relay: &RelayId| {
            *relay != network.me() && network.mesh().standing(relay).is_none_or(|standing| standing.is_good(now))
        };
        let said = |found: &Found| found.addresses.iter().filter_map(|address| address.parse().ok()).collect();
        let found = found.iter().filter(|found| good(&found.relay));
        found.map(|one| self.found(&network, Step::Holder(one.relay), object, said(one))).collect()
    }

    fn requested(&self, key: &ResourceKey, held: bool) -> bool {
        self.get(&key.publisher).is_some_and(|network| network.requested(&object_of(key), held, self.clock.now()))
    }

    fn admit(&self, key: &ResourceKey, class: Class, full: bool) -> Admission {
        let Some(network) = self.get(&key.publisher) else { return Admission::Keep };
        network.mesh().admit(&object_of(key), class, full, self.clock.now())
    }

    fn withheld(&self, key: &ResourceKey) -> Option<Withheld> {
        if self.blocked.load().covers(key) {
            return Some(Withheld::Blocked);
        }
        self.networks.get(&key.publisher)?.withheld(key, self.clock.now())
    }
}
