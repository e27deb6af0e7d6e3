//! The edge's facts for its status page and start-up report.

use super::audit::Audit;
use serde_json::{Value, json};
use std::{sync::Arc, time::Instant};
use tokio::sync::watch;
use weir_edge::{admin::StatusSource, doors::LocalAddrs, metrics::EdgeMetrics};
use weir_protocol::ids::RelayId;
use weir_relay::{
    clock::Clock,
    fetch::Fetch,
    meter::Meter,
    node::NodeMetrics,
    peer::{Granted, LinkInfo, Network, Networks},
    push::Push,
    reach::ReachReport,
};

/// What is known of a running edge.
pub(super) struct EdgeStatus {
    pub(super) started: Instant,
    pub(super) relay: Option<RelayId>,
    pub(super) addresses: LocalAddrs,
    pub(super) fetch: Fetch,
    pub(super) node: Arc<NodeMetrics>,
    pub(super) edge: Arc<EdgeMetrics>,
    pub(super) networks: Option<Arc<Networks>>,
    pub(super) reach: Option<watch::Receiver<ReachReport>>,
    pub(super) push: Option<Push>,
    pub(super) meter: Option<Meter>,
    pub(super) audits: Vec<Arc<Audit>>,
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

fn link(info: &LinkInfo) -> Value {
    json!({
        "relay": info.relay.to_string(), "address": info.address.to_string(), "how": info.how.label(),
        "round_trip_seconds": info.round_trip.as_secs_f64(), "took_seconds": info.took.as_secs_f64(),
    })
}

impl StatusSource for EdgeStatus {
    fn status(&self) -> Value {
        let (members, links) = self.peers();
        let (renditions, children) = self.push.as_ref().map_or((0, 0), Push::totals);
        let usage = self.fetch.store().usage();
        let publishers: Vec<String> = self
            .networks
            .iter()
            .flat_map(|networks| networks.all())
            .map(|network| network.publisher.to_string())
            .collect();
        let networks = self.networks.iter().flat_map(|networks| networks.all()).map(|network| shown(&network));
        let networks: Vec<Value> = networks.collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "relay": self.relay.map(|relay| relay.to_string()),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "doors": { "tls": self.addresses.tls, "plain": self.addresses.plain, "spki_sha256": self.spki },
            "publishers": publishers,
            "networks": networks,
            "peers": { "known": members, "connected": links },
            "links": self.networks.as_ref().map_or(Vec::new(), |all| all.links().table().iter().map(link).collect()),
            "reachability": self.reach.as_ref().map(|reach| reach.borrow().to_json()),
            "fills": self.fetch.fills(),
            "push": { "renditions": renditions, "children": children },
            "cache": {
                "memory_bytes": usage.memory_bytes, "memory_capacity_bytes": usage.memory_capacity,
                "disk_bytes": usage.disk_bytes, "disk_capacity_bytes": usage.disk_capacity,
            },
            "totals": self.node.totals(),
            "meter": self.meter.as_ref().map(metered),
            "logs": self.audits.iter().map(|audit| audit.status()).collect::<Vec<Value>>(),
            "connections": self.edge.open_connections(),
            "requests_in_flight": self.edge.requests_in_flight(),
        })
    }
}

/// What was signed and received, and what became of it.
fn metered(meter: &Meter) -> Value {
    let refused: serde_json::Map<String, Value> =
        meter.totals().refused().iter().map(|(why, count)| (why.label().to_owned(), json!(count))).collect();
    json!({
        "totals": meter.totals().now(),
        "refused": refused,
        "waiting": meter.journal().waiting_count(),
    })
}

/// One network: what this relay is granted there, and how much is taken down.
fn shown(network: &Network) -> Value {
    let now = Clock::System.now();
    let grant = match &*network.granted() {
        Granted::Unknown => json!({ "state": "unknown" }),
        Granted::Refused(why) => json!({ "state": "refused", "reason": why }),
        Granted::Yes(signed) => {
            let grant = signed.grant();
            let scopes: Vec<&str> = grant.scopes.iter().map(|scope| scope.as_str()).collect();
            let state = if grant.holds_at(now) { "granted" } else { "ended" };
            json!({
                "state": state, "region": grant.region, "weight": grant.weight, "scopes": scopes,
                "until": grant.ends(), "since": grant.since,
            })
        }
    };
    let takedowns = network.withdrawn().book().in_force(now).len();
    json!({ "publisher": network.publisher.to_string(), "grant": grant, "takedowns": takedowns })
}
