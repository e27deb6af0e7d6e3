//! Denies connections of strangers, and those beyond the configured numbers.
//!
//! Why not libp2p-connection-limits: it keeps an (empty) entry for every PeerId it has ever seen, so a stranger with
//! many keys makes it grow without bound. Invariant: this one holds entries for connected peers only.

use std::collections::HashMap;
use std::convert::Infallible;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};
use thiserror::Error;

use super::admission::Admission;
use super::config::{ControlConfig, bound};

/// The limit that was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Exceeded {
    #[error("a stranger: the peer is in no network of this node")]
    Stranger,
    #[error("too many control connections")]
    Total,
    #[error("too many inbound control connections")]
    Inbound,
    #[error("too many control connections with one peer")]
    PerPeer,
}

#[derive(Debug)]
pub(super) struct Limits {
    admission: Admission,
    max_total: usize,
    max_inbound: usize,
    max_per_peer: usize,
    total: usize,
    inbound: usize,
    peers: HashMap<PeerId, usize>,
}

impl Limits {
    pub(super) fn new(config: &ControlConfig, admission: Admission) -> Self {
        Self {
            admission,
            max_total: bound(config.max_connections),
            max_inbound: bound(config.max_inbound),
            max_per_peer: bound(config.max_per_peer),
            total: 0,
            inbound: 0,
            peers: HashMap::new(),
        }
    }

    fn check(&self, peer: &PeerId, inbound: bool) -> Result<(), Exceeded> {
        if inbound && !self.admission.admits(peer) {
            Err(Exceeded::Stranger)
        } else if self.total >= self.max_total {
            Err(Exceeded::Total)
        } else if inbound && self.inbound >= self.max_inbound {
            Err(Exceeded::Inbound)
        } else if self.peers.get(peer).is_some_and(|open| *open >= self.max_per_peer) {
            Err(Exceeded::PerPeer)
        } else {
            Ok(())
        }
    }

    fn opened(&mut self, peer: PeerId, inbound: bool) {
        self.total += 1;
        self.inbound += usize::from(inbound);
        *self.peers.entry(peer).or_default() += 1;
    }

    fn closed(&mut self, peer: PeerId, inbound: bool) {
        self.total -= 1;
        self.inbound -= usize::from(inbound);
        if let Some(open) = self.peers.get_mut(&peer) {
            *open -= 1;
            if *open == 0 {
                self.peers.remove(&peer);
            }
        }
    }
}

impl NetworkBehaviour for Limits {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check(&peer, true).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check(&peer, false).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, endpoint, .. }) => {
                self.opened(peer_id, endpoint.is_listener());
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, endpoint, .. }) => {
                self.closed(peer_id, endpoint.is_listener());
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        let config = ControlConfig { max_connections: 3, max_inbound: 2, max_per_peer: 2, ..ControlConfig::default() };
        Limits::new(&config, Admission::default())
    }

    #[test]
    fn strangers_are_not_let_in_but_may_be_visited() {
        let (mut limits, member, stranger) = (limits(), PeerId::random(), PeerId::random());
        let admission = Admission::default();
        limits.admission = admission.clone();
        assert_eq!(limits.check(&stranger, true), Ok(()), "without a network everybody is alike");
        admission.set(move |peer| *peer == member);
        assert_eq!(limits.check(&member, true), Ok(()));
        assert_eq!(limits.check(&stranger, true), Err(Exceeded::Stranger));
        assert_eq!(limits.check(&stranger, false), Ok(()));
    }

    #[test]
    fn each_limit_holds_and_is_freed() {
        let (mut limits, one, two) = (limits(), PeerId::random(), PeerId::random());
        limits.opened(one, true);
        limits.opened(one, true);
        assert_eq!(limits.check(&one, false), Err(Exceeded::PerPeer));
        assert_eq!(limits.check(&two, true), Err(Exceeded::Inbound));
        assert_eq!(limits.check(&two, false), Ok(()));
        limits.opened(two, false);
        assert_eq!(limits.check(&PeerId::random(), false), Err(Exceeded::Total));
        limits.closed(one, true);
        assert_eq!(limits.check(&two, true), Ok(()));
    }

    #[test]
    fn gone_peers_leave_nothing_behind() {
        let mut limits = limits();
        for _ in 0..100 {
            let peer = PeerId::random();
            limits.opened(peer, true);
            limits.closed(peer, true);
        }
        assert_eq!((limits.total, limits.inbound, limits.peers.len()), (0, 0, 0));
    }
}
