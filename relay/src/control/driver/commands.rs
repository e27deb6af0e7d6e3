//! What the driver does when it is told to.

use libp2p::Multiaddr;
use libp2p::PeerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use tokio::time::Instant;

use super::super::error::ControlError;
use super::super::handle::{Command, Reply};
use super::super::punches::Wish;
use super::Driver;
use super::events::dial_error;

/// Circuits that are tried for one punch.
const MAX_VIA: usize = 4;

impl Driver {
    pub(super) fn execute(&mut self, command: Command) {
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
            Command::RemoveExternal { address, reply } => {
                self.swarm.remove_external_address(&address);
                reply.send(()).ok();
            }
            Command::Candidate { address, reply } => {
                self.swarm.behaviour_mut().observed.push(address);
                reply.send(()).ok();
            }
            Command::Serve { on, vouch, reply } => {
                self.swarm.behaviour_mut().serve(on, vouch);
                reply.send(()).ok();
            }
            Command::Punch { peer, via, reply } => self.punch(peer, via, reply),
            Command::Subscribe { topic, reply } => {
                reply.send(self.subscribe(topic)).ok();
            }
            Command::Publish { topic, body, reply } => {
                reply.send(self.publish(topic, body)).ok();
            }
            Command::Judge { message, verdict, reply } => {
                reply.send(self.judge(&message, verdict)).ok();
            }
            Command::Provide { publisher, reply } => {
                reply.send(self.provide(publisher)).ok();
            }
            Command::Find { publisher, reply } => self.find(publisher, reply),
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

    fn punch(
        &mut self,
        peer: PeerId,
        mut via: Vec<Multiaddr>,
        reply: Reply<Result<std::net::SocketAddr, ControlError>>,
    ) {
        if let Some((_, address)) = self.direct.get(&peer).and_then(|open| open.last()) {
            reply.send(Ok(*address)).ok();
            return;
        }
        let Wish::Begin(reply) = self.punches.wish(peer, reply) else { return };
        via.truncate(MAX_VIA);
        if via.is_empty() {
            reply.send(Err(ControlError::Punch("no node is known that could carry a circuit".to_owned()))).ok();
            return;
        }
        let options = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(via).build();
        let circuit = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => self.punches.begin(peer, circuit, reply, Instant::now()),
            Err(error) => {
                reply.send(Err(ControlError::Punch(error.to_string()))).ok();
            }
        }
    }
}
