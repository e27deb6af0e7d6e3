//! Tests from outside whether this node's addresses can be reached (AutoNAT v2), as client and as server.
//!
//! The client keeps every address that it was ever told of, and peers can tell it anything. Invariant: at most
//! [`MAX_CANDIDATES`] distinct addresses get there; and the server's half answers only while this node is known to be
//! directly reachable: a neighbour behind the same NAT would vouch for addresses that lead nowhere from elsewhere.

use std::collections::HashSet;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::autonat::v2::{client, server};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::NewExternalAddrCandidate;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use either::Either as OnOff;
use libp2p::swarm::dummy::ConnectionHandler as Off;

/// Distinct addresses that are ever tested.
const MAX_CANDIDATES: usize = 64;
/// How many of them at a time.
const CANDIDATES_AT_ONCE: usize = 8;
/// Pause between two rounds of tests.
const PROBE_EVERY: Duration = Duration::from_secs(2);

pub(super) struct Prober {
    inner: client::Behaviour,
    offered: HashSet<Multiaddr>,
}

impl Prober {
    pub(super) fn new() -> Self {
        let config = client::Config::default().with_max_candidates(CANDIDATES_AT_ONCE).with_probe_interval(PROBE_EVERY);
        Self { inner: client::Behaviour::new(rand::make_rng(), config), offered: HashSet::new() }
    }
}

impl NetworkBehaviour for Prober {
    type ConnectionHandler = THandler<client::Behaviour>;
    type ToSwarm = client::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::NewExternalAddrCandidate(NewExternalAddrCandidate { addr }) = event
            && !self.offered.contains(addr)
        {
            if self.offered.len() >= MAX_CANDIDATES {
                return;
            }
            self.offered.insert(addr.clone());
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}

/// The server's half.
#[derive(Default)]
pub(super) struct Vouching {
    inner: server::Behaviour,
    on: bool,
}

impl Vouching {
    /// Counts for connections that open from now on.
    pub(super) fn set(&mut self, on: bool) {
        self.on = on;
    }
}

impl NetworkBehaviour for Vouching {
    type ConnectionHandler = OnOff<THandler<server::Behaviour>, Off>;
    type ToSwarm = server::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !self.on {
            return Ok(OnOff::Right(Off));
        }
        self.inner.handle_established_inbound_connection(id, peer, local, remote).map(OnOff::Left)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port_use).map(OnOff::Left)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            OnOff::Left(event) => self.inner.on_connection_handler_event(peer, id, event),
            OnOff::Right(never) => match never {},
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx).map(|action| action.map_in(OnOff::Left))
    }
}
