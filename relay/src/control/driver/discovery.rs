//! Kademlia: who serves which publisher's network.
//!
//! Invariant: records are kept only for publishers that this node serves itself, so that a stranger's keys take no
//! room; searches at once and peers dialled for one are bounded.

use std::collections::HashSet;

use libp2p::kad::store::RecordStore;
use libp2p::kad::{self, GetProvidersOk, InboundRequest, QueryResult, RecordKey};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use weir_protocol::ids::PublisherId;

use super::super::error::ControlError;
use super::super::handle::Reply;
use super::events::is_circuit;
use super::{Driver, Search};

/// Searches at the same time.
const MAX_SEARCHES: usize = 16;
/// Peers dialled for one search.
const MAX_FOUND: usize = 16;

fn key(publisher: PublisherId) -> RecordKey {
    RecordKey::new(publisher.as_bytes())
}

impl Driver {
    pub(super) fn provide(&mut self, publisher: PublisherId) -> Result<(), ControlError> {
        let key = key(publisher);
        self.swarm
            .behaviour_mut()
            .kademlia
            .start_providing(key.clone())
            .map_err(|error| ControlError::Announce(error.to_string()))?;
        self.provided.insert(key);
        Ok(())
    }

    pub(super) fn find(&mut self, publisher: PublisherId, reply: Reply<Result<Vec<PeerId>, ControlError>>) {
        if self.searches.len() >= MAX_SEARCHES {
            reply.send(Err(ControlError::TooMany("searches"))).ok();
            return;
        }
        let query = self.swarm.behaviour_mut().kademlia.get_providers(key(publisher));
        self.searches.insert(query, Search { reply, found: HashSet::new() });
    }

    /// A peer has said what it speaks: if it keeps records, searches may go over it.
    pub(super) fn routed(&mut self, peer: PeerId, protocols: &[StreamProtocol], addresses: &[Multiaddr]) {
        let kademlia = &mut self.swarm.behaviour_mut().kademlia;
        if !kademlia.protocol_names().iter().any(|name| protocols.contains(name)) {
            return;
        }
        for address in addresses.iter().filter(|address| !is_circuit(address)) {
            kademlia.add_address(&peer, address.clone());
        }
    }

    pub(super) fn kademlia(&mut self, event: kad::Event) {
        match event {
            kad::Event::InboundRequest { request: InboundRequest::AddProvider { record: Some(record) } } => {
                if !self.provided.contains(&record.key) {
                    tracing::debug!(provider = %record.provider, "a provider record of a network that is not ours");
                } else if let Err(error) = self.swarm.behaviour_mut().kademlia.store_mut().add_provider(record) {
                    tracing::debug!(?error, "no room for a provider record");
                }
            }
            kad::Event::OutboundQueryProgressed { id, result: QueryResult::GetProviders(result), step, .. } => {
                if let Ok(GetProvidersOk::FoundProviders { providers, .. }) = result {
                    self.found(id, providers);
                }
                if step.last
                    && let Some(search) = self.searches.remove(&id)
                {
                    search.reply.send(Ok(search.found.into_iter().collect())).ok();
                }
            }
            _ => {}
        }
    }

    /// Dialled at once: while the search runs, Kademlia knows their addresses.
    fn found(&mut self, id: kad::QueryId, providers: HashSet<PeerId>) {
        let Some(search) = self.searches.get_mut(&id) else { return };
        for peer in providers {
            if peer == *self.swarm.local_peer_id() || search.found.len() >= MAX_FOUND || !search.found.insert(peer) {
                continue;
            }
            let options = DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing).build();
            if let Err(error) = self.swarm.dial(options) {
                tracing::debug!(%peer, %error, "a node that was found is not dialled");
            }
        }
    }
}
