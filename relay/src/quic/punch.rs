//! Hole punching in the listener's role: send packets that open our NAT towards a peer, and wait for its handshake.
//!
//! Both peers act at the same moment (DCUtR): the other one dials, and its first packets may die at our NAT until one
//! of ours has left through it. Invariant: a punch is registered exactly as long as its future lives, at most
//! [`MAX_PUNCHES`] at once, and only the expected peer, from the expected address, completes it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libp2p::PeerId;
use tokio::sync::oneshot;

use super::error::DialError;
use super::handshake::Established;
use super::shared::Shared;

/// Hole punches at the same time.
const MAX_PUNCHES: usize = 64;
/// Size of a punch packet, bytes; what it holds is noise that every QUIC stack drops.
const PUNCH_LEN: usize = 64;
/// Pause between two packets, milliseconds: random, so that the two sides cannot miss one another in step.
const PUNCH_PAUSE_MS: std::ops::Range<u64> = 10..200;

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

    fn register(&self, remote: SocketAddr, peer: PeerId) -> Result<oneshot::Receiver<Established>, DialError> {
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

    fn remove(&self, remote: SocketAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&remote);
    }
}

/// Takes the registration back when the future is dropped, finished or not.
struct Registration {
    shared: Arc<Shared>,
    remote: SocketAddr,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.punches.remove(self.remote);
    }
}

/// Punches towards `remote` until `peer` has connected from there or the handshake time-out is over.
pub(super) async fn punch(shared: Arc<Shared>, remote: SocketAddr, peer: PeerId) -> Result<Established, DialError> {
    let mut arrived = shared.punches.register(remote, peer)?;
    let registration = Registration { shared, remote };
    let shared = &registration.shared;
    let attempt = async {
        loop {
            shared.send_raw(&rand::random::<[u8; PUNCH_LEN]>(), remote);
            let pause = Duration::from_millis(rand::random_range(PUNCH_PAUSE_MS));
            tokio::select! {
                // The sender leaves the registry only by sending, so an error cannot be seen before this future ends.
                connection = &mut arrived => return connection.map_err(|_| DialError::ShutDown),
                () = tokio::time::sleep(pause) => {}
            }
        }
    };
    tokio::time::timeout(shared.handshake_timeout, attempt)
        .await
        .map_err(|_| DialError::TimedOut)?
}
