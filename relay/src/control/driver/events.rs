//! What the driver does when something happens to the swarm.

use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, autonat, identify, mdns, ping};
use tokio::time::Instant;

use super::super::behaviour::BehaviourEvent;
use super::super::error::ControlError;
use super::super::event::ControlEvent;
use super::Driver;
use crate::quic::socket_addr_of;

/// Listen addresses kept of what a peer claims.
const MAX_LISTEN_ADDRS: usize = 16;
/// Bytes kept of each name that a peer claims.
const MAX_NAME_LEN: usize = 128;
/// Neighbours reported of one answer by multicast.
const MAX_NEIGHBOURS: usize = 32;

impl Driver {
    pub(super) fn react(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, num_established, .. } => {
                self.opened(peer_id, connection_id, &endpoint, num_established.get() == 1);
            }
            SwarmEvent::ConnectionClosed { peer_id: peer, connection_id, num_established, cause, .. } => {
                tracing::debug!(%peer, left = num_established, cause = ?cause, "control connection closed");
                self.closed(peer, connection_id);
                if num_established == 0 {
                    self.peers.disconnected(peer);
                    self.emit(ControlEvent::PeerDisconnected { peer });
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                tracing::debug!(peer = ?peer_id, %error, "control dial failed");
                self.punches.circuit_failed(connection_id, &error.to_string());
                if let Some(reply) = self.dials.remove(&connection_id) {
                    reply.send(Err(dial_error(error))).ok();
                }
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(remote = %send_back_addr, %error, "inbound control connection refused");
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                tracing::info!(%address, "listening for peers");
                if let Some(reply) = self.listens.remove(&listener_id) {
                    reply.send(Ok(listener_id)).ok();
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => tracing::info!(%address, "no longer listening for peers"),
            SwarmEvent::ListenerClosed { listener_id, .. } => {
                if let Some(reply) = self.listens.remove(&listener_id) {
                    reply.send(Err(ControlError::ListenerClosed)).ok();
                }
                self.emit(ControlEvent::ListenerClosed { id: listener_id });
            }
            SwarmEvent::Behaviour(event) => self.behaved(event),
            _ => {}
        }
    }

    fn behaved(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => self.identified(peer_id, info),
            BehaviourEvent::Ping(ping::Event { peer, result: Ok(rtt), .. }) => {
                self.peers.measured(peer, rtt);
                self.emit(ControlEvent::PingRtt { peer, rtt });
            }
            BehaviourEvent::Prober(autonat::v2::client::Event { tested_addr: address, server, result, .. }) => {
                tracing::debug!(%address, %server, ?result, "address tested from outside");
                self.emit(ControlEvent::Tested { address, server, reachable: result.is_ok() });
            }
            BehaviourEvent::Kademlia(event) => self.kademlia(event),
            BehaviourEvent::Gossip(event) => self.gossip(event),
            BehaviourEvent::Punching(event) => {
                tracing::debug!(peer = %event.remote_peer_id, result = ?event.result, "hole punch");
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found.into_iter().take(MAX_NEIGHBOURS) {
                    self.emit(ControlEvent::Neighbour { peer, address });
                }
            }
            BehaviourEvent::Circuits(event) => tracing::debug!(?event, "circuit of ours"),
            BehaviourEvent::Relaying(event) => tracing::debug!(?event, "circuit for others"),
            _ => {}
        }
    }

    fn opened(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint, first: bool) {
        if let Some(reply) = self.dials.remove(&id) {
            reply.send(Ok(peer)).ok();
        }
        let remote = endpoint.get_remote_address().clone();
        tracing::debug!(%peer, %remote, outbound = endpoint.is_dialer(), "control connection open");
        self.peers.connected(peer, remote.clone());
        if first {
            self.emit(ControlEvent::PeerConnected { peer, remote: remote.clone() });
        }
        if endpoint.is_relayed() {
            self.punches.circuit_opened(id, peer, Instant::now());
            if endpoint.is_listener() {
                self.emit(ControlEvent::Called { peer });
            }
        } else if let Some((address, _)) = socket_addr_of(&remote) {
            self.direct.entry(peer).or_default().push((id, address));
            let circuits = self.punches.connected(peer, address);
            if !circuits.is_empty() {
                self.emit(ControlEvent::Punched { peer, address });
            }
            for circuit in circuits {
                self.swarm.close_connection(circuit);
            }
        }
    }

    fn closed(&mut self, peer: PeerId, id: ConnectionId) {
        self.punches.circuit_closed(id);
        if let Some(open) = self.direct.get_mut(&peer) {
            open.retain(|(other, _)| *other != id);
            if open.is_empty() {
                self.direct.remove(&peer);
            }
        }
    }

    fn identified(&mut self, peer: PeerId, info: identify::Info) {
        let observed = info.observed_addr;
        // See `observed`: identify would report it with another port. Through a circuit nothing is observed.
        if socket_addr_of(&observed).is_some() {
            self.swarm.behaviour_mut().observed.push(observed.clone());
        }
        let mut listen_addrs = info.listen_addrs;
        listen_addrs.truncate(MAX_LISTEN_ADDRS);
        self.routed(peer, &info.protocols, &listen_addrs);
        let (agent, protocol) = (shorten(info.agent_version), shorten(info.protocol_version));
        self.peers.identified(peer, listen_addrs.clone(), agent.clone());
        self.emit(ControlEvent::PeerIdentified { peer, observed, listen_addrs, agent, protocol });
    }
}

pub(super) fn dial_error(error: DialError) -> ControlError {
    ControlError::Dial(Box::new(error))
}

/// True for an address that leads over another node.
pub(super) fn is_circuit(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// Cuts a name to [`MAX_NAME_LEN`] bytes, at a character's boundary.
fn shorten(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(MAX_NAME_LEN));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(shorten("weir/0.1.0".to_owned()), "weir/0.1.0");
        assert_eq!(shorten("é".repeat(100)), "é".repeat(64));
        assert_eq!(shorten(format!("a{}", "é".repeat(100))), format!("a{}", "é".repeat(63)));
    }
}
