//! A relay's reachability task: hears, concludes, acts.
//!
//! Invariant: nothing that waits for the swarm's events is awaited here, since this is their reader; such work runs in
//! `jobs`, whose number is bounded and which are joined at the end.

mod connect;
mod gossip;
mod remember;

use super::{
    cache::MemberCache,
    class::{Conclusion, Evidence},
    guide::Puncher,
    interfaces::Interfaces,
    neighbours::Neighbours,
    portmap::{PortMaps, Ports},
    report::ReachReport,
    status::{Rate, Schedule},
};
use crate::{
    clock::Clock,
    control::{ControlEvent, ControlHandle},
    peer::{Network, Networks},
    quic::{LocalAddresses, multiaddr_of, socket_addr_of},
};
use futures_util::StreamExt;
use libp2p::{PeerId, core::transport::ListenerId};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use weir_protocol::{
    ids::{PublisherId, RelayId},
    reach::{Reach, ReachClass},
};

/// How often everything is looked at that does not report by itself.
const TICK: Duration = Duration::from_millis(500);
/// Jobs at the same time.
const MAX_JOBS: usize = 32;

/// What the task is made of.
pub struct RelayReachParts {
    /// Who this relay is.
    pub me: RelayId,
    /// Commands to the swarm.
    pub control: ControlHandle,
    /// What the swarm reports; this task is the only reader.
    pub events: mpsc::Receiver<ControlEvent>,
    /// The socket's view of the machine.
    pub local: LocalAddresses,
    /// The networks this relay is in, all of them.
    pub networks: Arc<Networks>,
    /// Where the lists of members are kept.
    pub data: PathBuf,
    /// Ports to ask the router for; `None` asks for nothing.
    pub ports: Option<Ports>,
    /// Bytes sent in all, for capacity and load.
    pub sent: Box<dyn Fn() -> u64 + Send + Sync>,
}

enum Reservation {
    Pending,
    Held(ListenerId),
    Failed(Instant),
}

enum Done {
    Reserved(RelayId, Result<ListenerId, String>),
    Dialled(RelayId, bool),
    Other,
}

/// A relay's reachability task.
pub struct RelayReach {
    parts: RelayReachParts,
    began: Instant,
    evidence: Evidence,
    conclusion: Conclusion,
    report: watch::Sender<ReachReport>,
    epoch: u64,
    served: (bool, bool),
    reservations: HashMap<RelayId, Reservation>,
    neighbours: Neighbours,
    connected: HashSet<PeerId>,
    schedules: HashMap<PublisherId, Schedule>,
    rate: Rate,
    caches: HashMap<PublisherId, (MemberCache, Instant)>,
    /// Networks whose members are known by their grants alone, since there is no list.
    makeshift: HashSet<PublisherId>,
    /// Who answers on the local network, and where.
    lan: HashMap<RelayId, SocketAddr>,
    /// Where the adapters see us.
    seen: HashMap<PublisherId, SocketAddr>,
    places: HashMap<RelayId, Vec<SocketAddr>>,
    searched: Option<Instant>,
    maps: PortMaps,
    jobs: JoinSet<Done>,
}

impl RelayReach {
    /// Prepares the task and answers with what it will report. From now on only members of the networks get in.
    pub fn new(parts: RelayReachParts) -> (Self, watch::Receiver<ReachReport>) {
        let (report, reports) = watch::channel(ReachReport::default());
        let networks = Arc::downgrade(&parts.networks);
        parts.control.admission().set(move |peer| {
            let peer = RelayId::from(*peer);
            networks.upgrade().is_some_and(|networks| {
                let now = networks.clock().now();
                networks.all().iter().any(|network| network.may_ask(&peer, now))
            })
        });
        parts.networks.links().ways().set(Puncher::new(parts.control.clone(), &parts.networks));
        let cache = |publisher| (publisher, (MemberCache::new(&parts.data, &publisher), Instant::now()));
        let caches = parts.networks.all().into_iter().map(|network| cache(network.publisher)).collect();
        let reach = Self {
            parts,
            began: Instant::now(),
            evidence: Evidence::default(),
            conclusion: Conclusion::default(),
            report,
            // Milliseconds since 1970: a relay that starts again counts on from where it cannot have been.
            epoch: Clock::System.now().0,
            served: (false, false),
            reservations: HashMap::new(),
            neighbours: Neighbours::default(),
            connected: HashSet::new(),
            schedules: HashMap::new(),
            rate: Rate::default(),
            caches,
            makeshift: HashSet::new(),
            lan: HashMap::new(),
            seen: HashMap::new(),
            places: HashMap::new(),
            searched: None,
            maps: PortMaps::default(),
            jobs: JoinSet::new(),
        };
        (reach, reports)
    }

    /// Runs until `cancel`.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut interfaces = Interfaces::watch();
        self.ask_router();
        let mut gossip = match self.subscribe().await {
            Ok(gossip) => gossip,
            Err(error) => {
                tracing::error!(%error, "no gossip");
                return;
            }
        };
        self.evidence.set_local(self.parts.local.announced());
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                event = self.parts.events.recv() => match event {
                    Some(event) => self.heard(event),
                    None => break,
                },
                addresses = interfaces.changed() => self.interfaces(addresses).await,
                () = self.maps.changed() => self.mapped().await,
                Some((publisher, message)) = gossip.next() => self.gossiped(publisher, message).await,
                Some(done) = self.jobs.join_next(), if !self.jobs.is_empty() => self.done(done),
                _ = ticks.tick() => self.look().await,
            }
        }
        for network in self.parts.networks.all() {
            if let Some((cache, _)) = self.caches.get_mut(&network.publisher) {
                cache.keep(&network);
            }
        }
        self.maps.give_back().await;
        self.jobs.shutdown().await;
    }

    /// Asks the router that is there now for port mappings.
    fn ask_router(&mut self) {
        self.maps = self.parts.ports.as_ref().map(PortMaps::ask).unwrap_or_default();
    }

    /// The router has granted something, or takes it back.
    async fn mapped(&mut self) {
        let mapped = self.maps.now();
        tracing::info!(?mapped, "the router's port mappings");
        let peer = mapped.peer.map(SocketAddr::V4);
        self.evidence.set_mapping(peer);
        if let Some(peer) = peer {
            self.parts.control.add_candidate(multiaddr_of(peer)).await.ok();
        }
        self.report.send_if_modified(|report| std::mem::replace(&mut report.mapped, mapped) != mapped);
    }

    fn spawn(&mut self, job: impl Future<Output = Done> + Send + 'static) -> bool {
        let room = self.jobs.len() < MAX_JOBS;
        if room {
            self.jobs.spawn(job);
        }
        room
    }

    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Reserved(carrier, Ok(id))) => {
                tracing::debug!(carrier = %carrier.short(), "this relay can be called over it");
                self.reservations.insert(carrier, Reservation::Held(id));
                self.tell();
            }
            Ok(Done::Reserved(carrier, Err(error))) => {
                tracing::debug!(carrier = %carrier.short(), error, "no reservation");
                self.reservations.insert(carrier, Reservation::Failed(Instant::now()));
            }
            Ok(Done::Dialled(relay, reached)) => self.neighbours.ended(relay, reached, Instant::now()),
            Ok(Done::Other) => {}
            Err(error) => tracing::error!(%error, "a reachability job failed"),
        }
    }

    fn class_of(&self, relay: &RelayId) -> ReachClass {
        let networks = self.parts.networks.all();
        if networks.iter().any(|network| network.adapter == *relay) {
            return ReachClass::Direct;
        }
        let known = networks.iter().map(|network| network.statuses().class_of(relay));
        known.max_by_key(|class| *class != ReachClass::Unknown).unwrap_or_default()
    }

    fn addresses_of(&self, relay: &RelayId) -> Vec<SocketAddr> {
        self.parts.networks.all().iter().flat_map(|network| network.addresses_of(relay)).collect()
    }

    fn heard(&mut self, event: ControlEvent) {
        match event {
            ControlEvent::PeerConnected { peer, .. } => {
                self.connected.insert(peer);
            }
            ControlEvent::PeerDisconnected { peer } => {
                self.connected.remove(&peer);
                self.evidence.forget(&peer);
            }
            ControlEvent::PeerIdentified { peer, observed, .. } => {
                if let Some((address, _)) = socket_addr_of(&observed) {
                    self.evidence.observed(peer, address);
                }
            }
            ControlEvent::Tested { address, reachable, .. } => {
                if let Some((address, _)) = socket_addr_of(&address) {
                    self.evidence.tested(address, reachable);
                }
            }
            ControlEvent::Punched { peer, address } => {
                tracing::info!(peer = %RelayId::from(peer).short(), %address, "a hole leads to the peer");
                if !self.class_of(&RelayId::from(peer)).is_open() {
                    self.evidence.punched();
                }
            }
            ControlEvent::Called { peer } => self.called(RelayId::from(peer)),
            ControlEvent::ListenerClosed { id } => {
                let lost = self.reservations.iter_mut();
                for (_, reservation) in lost.filter(|(_, held)| matches!(held, Reservation::Held(held) if *held == id))
                {
                    *reservation = Reservation::Failed(Instant::now());
                }
            }
            ControlEvent::Neighbour { peer, address } => {
                if let Some((address, _)) = socket_addr_of(&address) {
                    self.neighbour(RelayId::from(peer), address);
                }
            }
            ControlEvent::PingRtt { .. } => {}
        }
    }

    /// A member has called over a circuit because it could not come by itself. If it can be dialled, we dial: that works
    /// from behind any NAT. If not, the punch goes on by itself.
    fn called(&mut self, relay: RelayId) {
        if self.conclusion.class.is_open()
            || matches!(self.class_of(&relay), ReachClass::Punched | ReachClass::PeerOnly)
        {
            return;
        }
        let (links, addresses) = (self.parts.networks.links().clone(), self.addresses_of(&relay));
        if !addresses.is_empty() {
            self.spawn(async move {
                if let Err(error) = links.get(relay, &addresses).await {
                    tracing::debug!(relay = %relay.short(), %error, "called back in vain");
                }
                Done::Other
            });
        }
    }

    async fn interfaces(&mut self, addresses: BTreeSet<IpAddr>) {
        let before = self.parts.local.announced();
        self.parts.local.set(addresses);
        let now = self.parts.local.announced();
        self.evidence.set_local(now.iter().copied());
        if before.iter().any(|address| !now.contains(address)) {
            tracing::info!(?before, ?now, "the machine's addresses have changed");
            self.moved();
            // The router, if there is one, is another.
            self.ask_router();
            self.mapped().await;
            if let Err(error) = self.parts.local.moved() {
                tracing::warn!(%error, "peers notice the change with the next keep-alive only");
            }
        }
        self.look().await;
    }

    /// This relay is somewhere else now.
    fn moved(&mut self) {
        self.evidence.moved();
        self.neighbours.forgive();
        self.parts.networks.links().moved();
    }

    async fn look(&mut self) {
        let now = Instant::now();
        let networks = self.parts.networks.all();
        for network in &networks {
            self.seen_by_adapter(network).await;
            self.remember(network, now);
            self.follow(network);
        }
        self.conclude().await;
        self.meet(&networks, now);
        self.reserve(&networks, now);
        self.say(&networks, now).await;
    }

    /// The adapter lists each relay where it sees it, ourselves too: that is its observation, and the freshest.
    async fn seen_by_adapter(&mut self, network: &Network) {
        let Some(address) = network.listed_addresses_of(&self.parts.me).first().copied() else { return };
        let before = self.seen.insert(network.publisher, address);
        if before == Some(address) {
            return;
        }
        if before.is_some_and(|before| before.ip() != address.ip()) {
            tracing::info!(%address, "the adapter sees this relay at another address");
            self.moved();
        } else if before.is_some() {
            // Another port of the same NAT: what is known of it holds, what others sent to the old one does not.
            self.parts.networks.links().moved();
        }
        self.evidence.observed(*network.adapter.peer_id(), address);
        self.parts.control.add_candidate(multiaddr_of(address)).await.ok();
    }

    /// Connections to members that have moved are not used any more.
    fn follow(&mut self, network: &Network) {
        let links = self.parts.networks.links().clone();
        let members = network.members();
        self.places.retain(|relay, _| members.contains(relay) || self.parts.networks.all().len() > 1);
        for relay in members {
            let now = network.addresses_of(&relay);
            let before = self.places.insert(relay, now.clone());
            if before.is_some_and(|before| before != now) {
                links.relocated(&relay, &now);
                self.neighbours.forgive_one(&relay);
            }
        }
    }

    async fn conclude(&mut self) {
        let conclusion = self.evidence.conclude();
        if conclusion == self.conclusion {
            return;
        }
        let class = conclusion.class;
        if class != self.conclusion.class {
            tracing::info!(class = class.label(), addresses = ?conclusion.confirmed, "how this relay can be reached");
        }
        let serves = (class.is_open(), class == ReachClass::Direct);
        if serves != self.served && self.parts.control.serve(serves.0, serves.1).await.is_ok() {
            self.served = serves;
        }
        self.conclusion = conclusion;
        self.epoch += 1;
        self.schedules.values_mut().for_each(Schedule::changed);
        let declared = Reach::new(class, self.conclusion.confirmed.iter().chain(&self.conclusion.local).copied());
        self.parts.networks.reach().send_if_modified(|reach| {
            let changed = *reach != declared;
            *reach = declared;
            changed
        });
        self.tell();
    }

    fn tell(&self) {
        let held = self.reservations.iter().filter(|(_, reservation)| matches!(reservation, Reservation::Held(_)));
        let mut carriers: Vec<_> = held.map(|(carrier, _)| carrier.short()).collect();
        carriers.sort_unstable();
        let known = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.report.send_modify(|report| {
            report.conclusion.clone_from(&self.conclusion);
            report.carriers = carriers;
            if self.conclusion.class != ReachClass::Unknown {
                report.known_after_ms.get_or_insert(known);
            }
        });
    }
}
