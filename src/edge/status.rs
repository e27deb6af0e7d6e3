//! The edge's facts for its status page and start-up report.

use serde_json::{Value, json};
use std::{sync::Arc, time::Instant};
use weir_edge::{admin::StatusSource, doors::LocalAddrs, metrics::EdgeMetrics};
use weir_protocol::ids::RelayId;
use weir_relay::{fetch::Fetch, node::NodeMetrics, peer::Networks};

/// What is known of a running edge.
pub(super) struct EdgeStatus {
    pub(super) started: Instant,
    pub(super) relay: Option<RelayId>,
    pub(super) addresses: LocalAddrs,
    pub(super) fetch: Fetch,
    pub(super) node: Arc<NodeMetrics>,
    pub(super) edge: Arc<EdgeMetrics>,
    pub(super) networks: Option<Arc<Networks>>,
    pub(super) spki: Option<String>,
}

impl EdgeStatus {
    /// Known members of all networks, and open links.
    pub(super) fn peers(&self) -> (usize, usize) {
        self.networks.as_ref().map_or((0, 0), |networks| {
            let members = networks.all().iter().map(|network| network.members().len()).sum();
            (members, networks.links().open())
        })
    }
}

impl StatusSource for EdgeStatus {
    fn status(&self) -> Value {
        let (members, links) = self.peers();
        let usage = self.fetch.store().usage();
        let publishers: Vec<String> = self
            .networks
            .iter()
            .flat_map(|networks| networks.all())
            .map(|network| network.publisher.to_string())
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "relay": self.relay.map(|relay| relay.to_string()),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "doors": { "tls": self.addresses.tls, "plain": self.addresses.plain, "spki_sha256": self.spki },
            "publishers": publishers,
            "peers": { "known": members, "connected": links },
            "fills": self.fetch.fills(),
            "cache": {
                "memory_bytes": usage.memory_bytes, "memory_capacity_bytes": usage.memory_capacity,
                "disk_bytes": usage.disk_bytes, "disk_capacity_bytes": usage.disk_capacity,
            },
            "totals": self.node.totals(),
            "connections": self.edge.open_connections(),
            "requests_in_flight": self.edge.requests_in_flight(),
        })
    }
}
