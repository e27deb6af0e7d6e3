//! The networks this relay is in, and for each object the sources to ask, as the mesh plans them.

use super::{Links, Network, client::PeerSource};
use crate::{
    clock::Clock,
    fetch::{Candidate, Plan},
    mesh::Step,
};
use dashmap::DashMap;
use std::sync::Arc;
use weir_protocol::{ids::PublisherId, resource::ResourceKey};

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
