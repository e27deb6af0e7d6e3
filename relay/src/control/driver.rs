//! The task that owns the swarm.
//!
//! Invariant: while an event waits for room in the reader's queue the swarm is not polled, so nothing can pile up
//! behind it; commands are served all the time.

use std::collections::HashMap;

use futures_util::StreamExt;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, ping};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use super::behaviour::{Behaviour, BehaviourEvent};
use super::config::{ControlConfig, bound};
use super::error::ControlError;
use super::event::ControlEvent;
use super::handle::{Command, Reply};
use super::peers::Peers;

/// Listen addresses kept of what a peer claims.
const MAX_LISTEN_ADDRS: usize = 16;
/// Bytes kept of each name that a peer claims.
const MAX_NAME_LEN: usize = 128;

pub(super) struct Driver {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<ControlEvent>,
    /// The event that found the queue full.
    waiting: Option<ControlEvent>,
    dials: HashMap<ConnectionId, Reply<Result<PeerId, ControlError>>>,
    max_dials: usize,
    listens: HashMap<ListenerId, Reply<Result<ListenerId, ControlError>>>,
    peers: Peers,
}

impl Driver {
    pub(super) fn new(
        swarm: Swarm<Behaviour>,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<ControlEvent>,
        config: &ControlConfig,
    ) -> Self {
        Self {
            swarm,
            commands,
            events,
            waiting: None,
            dials: HashMap::new(),
            max_dials: bound(config.max_dials),
            listens: HashMap::new(),
            peers: Peers::new(bound(config.max_peers)),
        }
    }

    pub(super) async fn run(mut self, cancel: CancellationToken) {
        let mut commanded = true;
        loop {
            tokio::select! {
                // In this order: the end is never delayed, and answers to commands see the state before the next event.
                biased;
                () = cancel.cancelled() => break,
                room = self.events.clone().reserve_owned(), if self.waiting.is_some() => {
                    // No room means that the reader has gone, and events are no longer wanted.
                    if let (Ok(room), Some(event)) = (room, self.waiting.take()) {
                        room.send(event);
                    }
                }
                command = self.commands.recv(), if commanded => match command {
                    Some(command) => self.execute(command),
                    None => commanded = false,
                },
                event = self.swarm.select_next_some(), if self.waiting.is_none() => self.react(event),
            }
        }
    }

    fn execute(&mut self, command: Command) {
        // A reply that nobody waits for any more is no error, hence `.ok()`.
        match command {
            Command::Dial { address, reply } => self.dial(address, reply),
            Command::Disconnect { peer, reply } => {
                reply.send(self.swarm.disconnect_peer_id(peer).is_ok()).ok();
            }
            Command::Listen { address, reply } => match self.swarm.listen_on(address) {
                Ok(id) => {
                    self.listens.insert(id, reply);
                }
                Err(error) => {
                    reply.send(Err(ControlError::Listen(error))).ok();
                }
            },
            Command::RemoveListener { id, reply } => {
                reply.send(self.swarm.remove_listener(id)).ok();
            }
            Command::Listeners { reply } => {
                reply.send(self.swarm.listeners().cloned().collect()).ok();
            }
            Command::AddExternal { address, reply } => {
                self.swarm.add_external_address(address);
                reply.send(()).ok();
            }
            Command::ExternalAddresses { reply } => {
                reply.send(self.swarm.external_addresses().cloned().collect()).ok();
            }
            Command::Peers { reply } => {
                reply.send(self.peers.all()).ok();
            }
        }
    }

    fn dial(&mut self, address: Multiaddr, reply: Reply<Result<PeerId, ControlError>>) {
        let peer = match address.iter().last() {
            Some(Protocol::P2p(peer)) => Some(peer),
            _ => None,
        };
        if let Some(peer) = peer.filter(|peer| self.swarm.is_connected(peer)) {
            reply.send(Ok(peer)).ok();
            return;
        }
        if self.dials.len() >= self.max_dials {
            reply.send(Err(ControlError::TooManyDials)).ok();
            return;
        }
        let options = match peer {
            Some(peer) => DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(vec![address]).build(),
            None => DialOpts::unknown_peer_id().address(address).build(),
        };
        let id = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(id, reply);
            }
            Err(error) => {
                reply.send(Err(dial_error(error))).ok();
            }
        }
    }

    fn react(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id: peer, connection_id, endpoint, num_established, .. } => {
                if let Some(reply) = self.dials.remove(&connection_id) {
                    reply.send(Ok(peer)).ok();
                }
                let remote = endpoint.get_remote_address().clone();
                tracing::debug!(%peer, %remote, outbound = endpoint.is_dialer(), "control connection open");
                self.peers.connected(peer, remote.clone());
                if num_established.get() == 1 {
                    self.emit(ControlEvent::PeerConnected { peer, remote });
                }
            }
            SwarmEvent::ConnectionClosed { peer_id: peer, num_established, cause, .. } => {
                tracing::debug!(%peer, left = num_established, cause = ?cause, "control connection closed");
                if num_established == 0 {
                    self.peers.disconnected(peer);
                    self.emit(ControlEvent::PeerDisconnected { peer });
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                tracing::debug!(peer = ?peer_id, %error, "control dial failed");
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
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. })) => {
                self.identified(peer_id, info);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { peer, result: Ok(rtt), .. })) => {
                self.peers.measured(peer, rtt);
                self.emit(ControlEvent::PingRtt { peer, rtt });
            }
            _ => {}
        }
    }

    fn identified(&mut self, peer: PeerId, info: identify::Info) {
        let observed = info.observed_addr;
        // See `observed`: identify would report it with another port.
        self.swarm.behaviour_mut().observed.push(observed.clone());
        let mut listen_addrs = info.listen_addrs;
        listen_addrs.truncate(MAX_LISTEN_ADDRS);
        let (agent, protocol) = (shorten(info.agent_version), shorten(info.protocol_version));
        self.peers.identified(peer, listen_addrs.clone(), agent.clone());
        self.emit(ControlEvent::PeerIdentified { peer, observed, listen_addrs, agent, protocol });
    }

    /// Called at most once for each event of the swarm, and only while nothing waits.
    fn emit(&mut self, event: ControlEvent) {
        match self.events.try_send(event) {
            // The next ping brings a newer time; it is not worth stopping for.
            Ok(()) | Err(TrySendError::Closed(_) | TrySendError::Full(ControlEvent::PingRtt { .. })) => {}
            Err(TrySendError::Full(event)) => self.waiting = Some(event),
        }
    }
}

fn dial_error(error: DialError) -> ControlError {
    ControlError::Dial(Box::new(error))
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
