//! What the adapter tells of itself: at its start, at `/api/v1/status`, and in its gauges.

use super::{
    args::{OriginSettings, UpstreamKind},
    ledger::LedgerSide,
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use weir_edge::{
    admin::StatusSource,
    doors::{Doors, LocalAddrs},
};
use weir_origin::{collector::Collector, keys::PublisherKeys, observe::Observer, steering::Proofs};
use weir_protocol::{
    ids::PublisherId,
    wellknown::{WELL_KNOWN_PATH, WellKnown},
};
use weir_relay::{
    clock::Clock,
    fetch::Fetch,
    node::{NodeMetrics, PeerSide},
    peer::{Directory, Links},
    push::Push,
};

/// How often gauges are brought up to date.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);

/// What the adapter tells of itself at `/api/v1/status`.
pub(super) struct OriginStatus {
    pub(super) started: Instant,
    pub(super) publisher: PublisherId,
    pub(super) addresses: LocalAddrs,
    pub(super) fetch: Fetch,
    pub(super) node: Arc<NodeMetrics>,
    pub(super) directory: Arc<Directory>,
    pub(super) links: Arc<Links>,
    pub(super) push: Push,
    pub(super) proofs: Arc<Proofs>,
    pub(super) collector: Option<Collector>,
    pub(super) observer: Option<Arc<Observer>>,
}

impl StatusSource for OriginStatus {
    fn status(&self) -> Value {
        let (renditions, children) = self.push.totals();
        let doors = self.directory.doors();
        let relays: Vec<Value> = self
            .directory
            .grants()
            .iter()
            .map(|signed| {
                let grant = signed.grant();
                let round_trip = self.links.round_trip(&grant.relay).map(|time| time.as_secs_f64());
                let address = self.directory.address_of(&grant.relay).map(|address| address.to_string());
                let door = doors.iter().find(|door| door.relay == grant.relay).map(|door| &door.report.url);
                let scopes: Vec<&str> = grant.scopes.iter().map(|scope| scope.as_str()).collect();
                json!({
                    "relay": grant.relay.to_string(), "address": address, "door": door, "round_trip_seconds": round_trip,
                    "region": grant.region, "weight": grant.weight, "scopes": scopes, "since": grant.since,
                    "granted_until": grant.ends(),
                })
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "publisher": self.publisher.to_string(),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "doors": { "tls": self.addresses.tls, "plain": self.addresses.plain },
            "relays": relays,
            "relay_doors": { "reported": doors.len(), "proven": self.proofs.count() },
            "takedowns": self.directory.withdrawn().book().in_force(Clock::System.now()).len(),
            "fills": self.fetch.fills(),
            "push": { "renditions": renditions, "children": children },
            "totals": self.node.totals(),
            "ledger": self.collector.as_ref().map(Collector::totals),
            "observed": self.observer.as_ref().map(|observer| observer.totals()),
        })
    }
}

/// Brings the gauges up to date.
pub(super) async fn observe(status: Arc<OriginStatus>, stop: CancellationToken) {
    let mut ticks = interval(OBSERVE_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {
                let members = status.directory.relays().len();
                status.node.observe(status.fetch.store(), Some(&status.links), members);
                status.node.observe_push(status.push.totals());
            }
        }
    }
}

/// Tells what was started, for people or as one line of JSON.
pub(super) fn report(
    settings: &OriginSettings,
    keys: &PublisherKeys,
    document: &WellKnown,
    doors: &Doors,
    admin: &Doors,
    peers: &PeerSide,
    ledger: Option<&LedgerSide>,
) {
    let addresses = doors.local_addrs();
    let private: Option<SocketAddr> = admin.local_addrs().plain.first().copied();
    if settings.json {
        let line = json!({
            "publisher": document.publisher.to_string(), "name": document.name,
            "adapter": document.adapter.relay.to_string(),
            "http": addresses.plain, "tls": addresses.tls, "admin": private, "peer": peers.address(),
            "log_key": ledger.map(|ledger| &ledger.shown[1]),
        });
        println!("{line}");
        return;
    }
    match &settings.upstream {
        UpstreamKind::Http(url) => println!("✔ upstream   {url}"),
        UpstreamKind::Folder(path) => println!("✔ upstream   folder {}", path.display()),
    }
    println!("✔ publisher  {} known as /{}/", document.publisher, document.name);
    if keys.created {
        println!("  its root key was made just now: keep a copy of {} in a safe place", keys.root_path.display());
    }
    println!("✔ relays     come to {}", document.adapter.addresses.join(" · "));
    if let Some(list) = &settings.grant_list {
        println!("✔ granted    only to the relays in {}", list.display());
    }
    if let Some(LedgerSide { shown: [name, key, store], epoch_ms, .. }) = ledger {
        println!("✔ ledger     {name} in {store}, epochs of {} s", epoch_ms / 1000);
        println!("  log key    {key}");
    }
    for address in &addresses.plain {
        println!("✔ join       weir edge --join http://{address}   (document: http://{address}{WELL_KNOWN_PATH})");
    }
    for address in &addresses.tls {
        println!("✔ https      https://{address}");
    }
    if let Some(private) = private {
        println!("✔ private    http://{private}/readyz  /metrics  /api/v1/status");
    }
}
