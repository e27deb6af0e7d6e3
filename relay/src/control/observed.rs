//! Passes addresses that peers observed on to the swarm unchanged.
//!
//! Why it exists: libp2p-identify replaces the port of an observed address by the port we listen on before it reports
//! a candidate. That is right for TCP, where outbound connections have ports of their own, and wrong here: this node
//! dials from the socket it listens on, so the observed port *is* the port that a NAT gave to the listening socket.
//! Behind a NAT that changes ports, the rewritten candidate leads nowhere and hole punching fails. Both candidates
//! reach the swarm; only an address that a reachability test confirms is ever used.
//!
//! Invariant: at most [`MAX_WAITING`] candidates wait; peers can repeat or invent them, and the oldest go first.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

/// Candidates that wait for the swarm.
const MAX_WAITING: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Observed {
    waiting: VecDeque<Multiaddr>,
}

impl Observed {
    /// The swarm must be polled afterwards; this behaviour keeps no waker.
    pub(super) fn push(&mut self, address: Multiaddr) {
        if self.waiting.contains(&address) {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(address);
    }
}

impl NetworkBehaviour for Observed {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        match self.waiting.pop_front() {
            Some(address) => Poll::Ready(ToSwarm::NewExternalAddrCandidate(address)),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn candidates(observed: &mut Observed) -> Vec<Multiaddr> {
        let mut cx = Context::from_waker(Waker::noop());
        std::iter::from_fn(|| match observed.poll(&mut cx) {
            Poll::Ready(ToSwarm::NewExternalAddrCandidate(address)) => Some(address),
            _ => None,
        })
        .collect()
    }

    fn address(port: u16) -> Multiaddr {
        crate::quic::multiaddr_of(([192, 0, 2, 7], port).into())
    }

    #[test]
    fn observed_port_is_kept_and_repeats_are_merged() {
        let mut observed = Observed::default();
        observed.push(address(61_234));
        observed.push(address(61_234));
        assert_eq!(candidates(&mut observed), [address(61_234)]);
    }

    #[test]
    fn a_flood_is_bounded() {
        let mut observed = Observed::default();
        (1..=1000).for_each(|port| observed.push(address(port)));
        let kept = candidates(&mut observed);
        assert_eq!((kept.len(), kept.last()), (MAX_WAITING, Some(&address(1000))));
    }
}
