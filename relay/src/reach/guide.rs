//! Ways to relays that cannot be dialled: a circuit over a carrier, then a punched hole.
//!
//! Invariant: after a failure a relay is left alone for a while that doubles, so that two NATs that never let each other
//! through cost a few packets a quarter of an hour; of at most [`MAX_REMEMBERED`] relays this is remembered.

use super::carriers::{best, circuit, ranked};
use crate::{
    control::ControlHandle,
    peer::{Guide, Network, Networks, Way},
};
use dashmap::DashMap;
use futures_util::FutureExt;
use libp2p::{Multiaddr, multiaddr::Protocol};
use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::Instant;
use weir_protocol::{ids::RelayId, reach::ReachClass};

/// Plain dialling gets so much time before a hole is punched to a relay that should be openly reachable …
const HEAD_START_OPEN: Duration = Duration::from_millis(800);
/// … and to one that has not said.
const HEAD_START_UNKNOWN: Duration = Duration::from_millis(250);
/// First and longest pause after a failed punch.
const PAUSE: Duration = Duration::from_secs(10);
const PAUSE_CAP: Duration = Duration::from_secs(900);
/// Relays whose failures are remembered.
const MAX_REMEMBERED: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct Failed {
    until: Instant,
    pause: Duration,
}

type Failures = Arc<DashMap<RelayId, Failed>>;

/// Punches holes towards members of this relay's networks.
pub(super) struct Puncher {
    control: ControlHandle,
    /// The networks own the links, which own this guide.
    networks: Weak<Networks>,
    failures: Failures,
}

impl Puncher {
    pub(super) fn new(control: ControlHandle, networks: &Arc<Networks>) -> Self {
        Self { control, networks: Arc::downgrade(networks), failures: Failures::default() }
    }
}

/// The circuits over which `called` can be reached in `network`.
fn circuits(network: &Network, called: &RelayId) -> Vec<Multiaddr> {
    let first = |carrier: RelayId, addresses: Vec<SocketAddr>| Some(circuit(&carrier, best(&addresses)?));
    let adapter = first(network.adapter, network.adapter_addresses().to_vec());
    let members = ranked(called, network.statuses().open());
    let members = members.into_iter().filter_map(|carrier| first(carrier, network.addresses_of(&carrier)));
    adapter.into_iter().chain(members).map(|address| address.with(Protocol::P2p(*called.peer_id()))).collect()
}

impl Guide for Puncher {
    fn way(&self, relay: &RelayId) -> Option<(Way, Duration)> {
        if self.failures.get(relay).is_some_and(|failed| Instant::now() < failed.until) {
            return None;
        }
        let networks = self.networks.upgrade()?.all();
        // The adapter is where everybody comes to; nobody carries a circuit to it.
        if networks.iter().any(|network| network.adapter == *relay) {
            return None;
        }
        let in_common: Vec<_> =
            networks.iter().filter(|network| !network.listed_addresses_of(relay).is_empty()).collect();
        let class = in_common.first()?.statuses().class_of(relay);
        let via: Vec<_> = in_common.iter().flat_map(|network| circuits(network, relay)).collect();
        let head_start = match class {
            ReachClass::Direct | ReachClass::Mapped => HEAD_START_OPEN,
            ReachClass::Unknown => HEAD_START_UNKNOWN,
            ReachClass::Punched | ReachClass::PeerOnly => Duration::ZERO,
        };
        let (control, failures, relay) = (self.control.clone(), self.failures.clone(), *relay);
        let way = async move {
            let punched = control.punch(*relay.peer_id(), via).await;
            match &punched {
                Ok(_) => {
                    failures.remove(&relay);
                }
                Err(_) => note(&failures, relay),
            }
            punched.map_err(|error| error.to_string())
        };
        Some((way.boxed(), head_start))
    }
}

fn note(failures: &Failures, relay: RelayId) {
    let now = Instant::now();
    if failures.len() >= MAX_REMEMBERED {
        failures.retain(|_, failed| now < failed.until);
    }
    if failures.len() < MAX_REMEMBERED {
        let mut failed = failures.entry(relay).or_insert(Failed { until: now, pause: PAUSE / 2 });
        failed.pause = (failed.pause * 2).min(PAUSE_CAP);
        failed.until = now + failed.pause;
    }
}
