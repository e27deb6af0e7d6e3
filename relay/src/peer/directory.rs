//! The adapter's own list of its network. Invariant: a relay is in it exactly as long as its control stream lives.

use std::net::SocketAddr;
use tokio::sync::watch;
use weir_protocol::{
    ids::{PublisherId, RelayId},
    keys::RootKey,
    wire::MAX_MEMBERS,
};

/// The adapter's own list of its network: relays that are connected, and the keys it signs with.
pub struct Directory {
    publisher: PublisherId,
    members: watch::Sender<DirectoryState>,
    keys: watch::Sender<Vec<u8>>,
}

/// Who is connected.
#[derive(Debug, Clone, Default)]
pub(super) struct DirectoryState {
    pub(super) epoch: u64,
    pub(super) members: Vec<Present>,
}

/// A relay at its control stream.
#[derive(Debug, Clone)]
pub(super) struct Present {
    pub(super) relay: RelayId,
    pub(super) address: SocketAddr,
    session: u64,
}

impl Directory {
    /// An empty network of the publisher with this root key, whose current key list is `keys`.
    pub fn new(root: &RootKey, keys: Vec<u8>) -> Self {
        Self {
            publisher: root.publisher_id(),
            members: watch::Sender::new(DirectoryState::default()),
            keys: watch::Sender::new(keys),
        }
    }

    /// The publisher.
    pub fn publisher(&self) -> PublisherId {
        self.publisher
    }

    /// Publishes a new key list to every connected relay.
    pub fn set_keys(&self, encoded: Vec<u8>) {
        self.keys.send_replace(encoded);
    }

    /// Relays that are connected now.
    pub fn relays(&self) -> Vec<RelayId> {
        self.members.borrow().members.iter().map(|member| member.relay).collect()
    }

    pub(super) fn watch(&self) -> (watch::Receiver<DirectoryState>, watch::Receiver<Vec<u8>>) {
        (self.members.subscribe(), self.keys.subscribe())
    }

    /// A relay has come; the number of its session, or `None` when the network is full.
    pub(super) fn enter(&self, relay: RelayId, address: SocketAddr) -> Option<u64> {
        let mut entered = None;
        self.members.send_if_modified(|state| {
            state.members.retain(|member| member.relay != relay);
            state.epoch += 1;
            if state.members.len() < MAX_MEMBERS {
                // Every session has an epoch of its own.
                state.members.push(Present { relay, address, session: state.epoch });
                entered = Some(state.epoch);
            }
            true
        });
        entered
    }

    /// That session is over. A newer one of the same relay stays: a relay that was killed and started again comes from
    /// the same address while its former connection has not timed out yet.
    pub(super) fn leave(&self, session: u64) {
        self.members.send_if_modified(|state| {
            let before = state.members.len();
            state.members.retain(|member| member.session != session);
            state.epoch += u64::from(state.members.len() != before);
            state.members.len() != before
        });
    }

    /// The relay of that session is at `address` now.
    pub(super) fn moved(&self, session: u64, address: SocketAddr) {
        self.members.send_if_modified(|state| {
            let member = state.members.iter_mut().find(|member| member.session == session);
            let Some(member) = member.filter(|member| member.address != address) else { return false };
            member.address = address;
            state.epoch += 1;
            true
        });
    }

    pub(super) fn contains(&self, relay: &RelayId) -> bool {
        self.members.borrow().members.iter().any(|member| member.relay == *relay)
    }
}
