//! Hole punching in the listener's role: send packets that open our NAT towards a peer, and wait for its handshake.
//!
//! Both peers act at the same moment (DCUtR): the other one dials, and its first packets may die at our NAT until one
//! of ours has left through it. Invariant: a punch is registered exactly as long as its future lives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use libp2p::PeerId;

use super::error::DialError;
use super::handshake::Established;
use super::shared::Shared;

/// Size of a punch packet, bytes; what it holds is noise that every QUIC stack drops.
const PUNCH_LEN: usize = 64;
/// Pause between two packets, milliseconds: random, so that the two sides cannot miss one another in step.
const PUNCH_PAUSE_MS: std::ops::Range<u64> = 10..200;

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
    tokio::time::timeout(shared.handshake_timeout, attempt).await.map_err(|_| DialError::TimedOut)?
}
