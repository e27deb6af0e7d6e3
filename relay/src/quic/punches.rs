//! The hole punches under way: who is expected from which address.
//!
//! Invariant: at most [`MAX_PUNCHES`] are registered at once, one for each address, and only the expected peer, from the
//! expected address, completes one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use libp2p::PeerId;
use tokio::sync::oneshot;

use super::error::DialError;
use super::handshake::Established;

/// Hole punches at the same time.
const MAX_PUNCHES: usize = 64;

struct Waiter {
    peer: PeerId,
    arrived: oneshot::Sender<Established>,
}

/// The punches under way, by remote address.
#[derive(Default)]
pub(super) struct Punches(Mutex<HashMap<SocketAddr, Waiter>>);

impl Punches {
    /// Hands an inbound connection to the punch that waits for it; gives it back when none does.
    pub(super) fn offer(&self, remote: SocketAddr, arrived: Established) -> Result<(), Established> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.entry(remote) {
            // Another peer behind the same address is an ordinary visitor.
            Entry::Occupied(entry) if entry.get().peer == arrived.peer => entry.remove().arrived.send(arrived),
            _ => Err(arrived),
        }
    }

    /// Waits for `peer` to connect from `remote`; whoever registers takes it back with [`Punches::remove`].
    pub(super) fn register(
        &self,
        remote: SocketAddr,
        peer: PeerId,
    ) -> Result<oneshot::Receiver<Established>, DialError> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MAX_PUNCHES {
            return Err(DialError::TooManyPunches);
        }
        let Entry::Vacant(entry) = waiting.entry(remote) else {
            return Err(DialError::PunchInProgress(remote));
        };
        let (arrived, receiver) = oneshot::channel();
        entry.insert(Waiter { peer, arrived });
        Ok(receiver)
    }

    /// Takes a registration back, fulfilled or not.
    pub(super) fn remove(&self, remote: SocketAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&remote);
    }
}
