//! Whom a relay is connected to for control: adapters, a few members, those over whom it can be called, and those it
//! begins with while the adapter is away. Invariant: one dial of a relay at a time, with a pause after each that failed.

use super::{Done, RelayReach, Reservation, remember::ADAPTER_GRACE};
use crate::{
    peer::Network,
    quic::{canonical, multiaddr_of, socket_addr_of},
    reach::{
        carriers::{best, circuit, ranked},
        class::Conclusion,
        neighbours::wanted,
    },
};
use libp2p::multiaddr::Protocol;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};
use weir_protocol::{ids::RelayId, reach::ReachClass};

/// Longest dial of a control connection or reservation.
const JOB_LIMIT: Duration = Duration::from_secs(6);
/// After a reservation has failed, pause before the next attempt.
const RESERVE_PAUSE: Duration = Duration::from_secs(5);
/// Nodes of the local network that are remembered while an adapter is away.
const MAX_NEIGHBOURS: usize = 32;
/// How often members are searched while the adapter is away.
const SEARCH_EVERY: Duration = Duration::from_secs(30);

impl RelayReach {
    /// Control connections to adapters and a few members.
    pub(super) fn meet(&mut self, networks: &[Arc<Network>], now: Instant) {
        for network in networks {
            let listed = !network.listed_addresses_of(&self.parts.me).is_empty();
            for relay in wanted(&self.parts.me, network) {
                // An adapter lets in whom it has in its list; once we are told to be in it, so we are.
                let welcome = relay != network.adapter || listed;
                if welcome && !self.connected.contains(relay.peer_id()) {
                    self.dial(relay, network.addresses_of(&relay));
                }
            }
            self.search(network, now);
        }
    }

    pub(super) fn dial(&mut self, relay: RelayId, addresses: Vec<SocketAddr>) {
        if !self.neighbours.begin(relay, &addresses, Instant::now()) {
            return;
        }
        let control = self.parts.control.clone();
        let dialling = async move {
            for address in addresses {
                let address = multiaddr_of(address).with(Protocol::P2p(*relay.peer_id()));
                if let Ok(Ok(_)) = timeout(JOB_LIMIT, control.dial(address)).await {
                    return Done::Dialled(relay, true);
                }
            }
            Done::Dialled(relay, false)
        };
        if !self.spawn(dialling) {
            self.neighbours.ended(relay, false, Instant::now());
        }
    }

    /// While the adapter is away, others of its network are searched, beginning with those that the join document names;
    /// whoever is found is connected to, and shows then whether it belongs to the network.
    fn search(&mut self, network: &Network, now: Instant) {
        let links = self.parts.networks.links();
        let early = now.duration_since(self.began) < ADAPTER_GRACE;
        let recent = self.searched.is_some_and(|last| now.duration_since(last) < SEARCH_EVERY);
        if early || recent || links.is_open(&network.adapter) {
            return;
        }
        self.searched = Some(now);
        if self.connected.is_empty() {
            self.begin_with(network);
            return;
        }
        let (control, publisher, links) = (self.parts.control.clone(), network.publisher, links.clone());
        self.spawn(async move {
            let Ok(Ok(found)) = timeout(2 * JOB_LIMIT, control.find(publisher)).await else { return Done::Other };
            tracing::debug!(found = found.len(), "searched for members without the adapter");
            let known = control.peers().await.unwrap_or_default();
            for peer in known.into_iter().filter(|info| found.contains(&info.peer)) {
                let at = peer.remote.iter().chain(&peer.listen_addrs).filter_map(socket_addr_of);
                let at: Vec<_> = at.map(|(address, _)| address).collect();
                links.get(RelayId::from(peer.peer), &at).await.ok();
            }
            Done::Other
        });
    }

    /// Connections to the relays that the join document names, and to neighbours.
    fn begin_with(&mut self, network: &Network) {
        let lan: Vec<_> = self.lan.iter().map(|(relay, address)| (*relay, vec![*address])).collect();
        for (relay, addresses) in network.bootstrap().iter().chain(&lan) {
            if *relay != self.parts.me && *relay != network.adapter {
                self.introduce(*relay, addresses.clone());
            }
        }
    }

    /// Somebody on the local network has answered. A member gets a control connection; a stranger may be one whom this
    /// relay does not know while an adapter is away.
    pub(super) fn neighbour(&mut self, relay: RelayId, address: SocketAddr) {
        let (networks, now) = (self.parts.networks.all(), self.parts.networks.clock().now());
        let alone =
            |network: &Arc<Network>| network.members().is_empty() || self.makeshift.contains(&network.publisher);
        if networks.iter().any(|network| network.may_ask(&relay, now)) {
            self.dial(relay, vec![address]);
        } else if networks.iter().any(alone) {
            if self.lan.len() < MAX_NEIGHBOURS {
                self.lan.insert(relay, address);
            }
            self.introduce(relay, vec![address]);
        }
    }

    /// A connection on which theirs and our grants are shown; then control connections, and with them searches, are let
    /// in.
    fn introduce(&mut self, relay: RelayId, addresses: Vec<SocketAddr>) {
        let (links, control) = (self.parts.networks.links().clone(), self.parts.control.clone());
        self.spawn(async move {
            if let Ok(link) = links.get(relay, &addresses).await {
                let address = multiaddr_of(canonical(link.remote_address()));
                timeout(JOB_LIMIT, control.dial(address.with(Protocol::P2p(*relay.peer_id())))).await.ok();
            }
            Done::Other
        });
    }

    /// Reservations where this relay can be called, as long as strangers cannot dial it.
    pub(super) fn reserve(&mut self, networks: &[Arc<Network>], now: Instant) {
        let Conclusion { class, behind_nat, .. } = self.conclusion;
        let needed = match class {
            ReachClass::Direct | ReachClass::Mapped => false,
            // A NAT is known before a test has shown that it lets nobody in.
            ReachClass::Unknown => behind_nat,
            ReachClass::Punched | ReachClass::PeerOnly => true,
        };
        let mut carriers: Vec<(RelayId, SocketAddr)> = Vec::new();
        if needed {
            for network in networks {
                let members = ranked(&self.parts.me, network.statuses().open());
                for carrier in std::iter::once(network.adapter).chain(members) {
                    let at = best(&network.addresses_of(&carrier));
                    carriers.extend(at.map(|at| (carrier, at)));
                }
            }
        }
        let gone = self.reservations.extract_if(|held, _| carriers.iter().all(|(carrier, _)| carrier != held));
        let gone: Vec<_> = gone.collect();
        for (_, reservation) in gone {
            if let Reservation::Held(id) = reservation {
                let control = self.parts.control.clone();
                self.spawn(async move {
                    control.remove_listener(id).await.ok();
                    Done::Other
                });
            }
        }
        for (carrier, address) in carriers {
            let waits = match self.reservations.get(&carrier) {
                Some(Reservation::Pending | Reservation::Held(_)) => true,
                Some(Reservation::Failed(at)) => now.duration_since(*at) < RESERVE_PAUSE,
                None => false,
            };
            if waits || !self.connected.contains(carrier.peer_id()) {
                continue;
            }
            let control = self.parts.control.clone();
            let asking = async move {
                let asked = timeout(JOB_LIMIT, control.listen(circuit(&carrier, address))).await;
                let reserved = match asked {
                    Ok(reserved) => reserved.map_err(|error| error.to_string()),
                    Err(_) => Err("no answer".to_owned()),
                };
                Done::Reserved(carrier, reserved)
            };
            if self.spawn(asking) {
                self.reservations.insert(carrier, Reservation::Pending);
            }
        }
    }
}
