//! The hole punches under way, and the circuits they begin with.
//!
//! Invariant: at most [`MAX_PUNCHES`] peers are punched towards at once; every caller gets an answer by the deadline; a
//! circuit is closed when its peer is directly connected, and at the deadline in any case. Performs no I/O.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;
use tokio::time::Instant;

use super::error::ControlError;
use super::handle::Reply;

/// Peers that are punched towards at the same time.
const MAX_PUNCHES: usize = 64;
/// Callers that wait for the same peer.
const MAX_WAITING: usize = 16;
/// Longest punch, circuit included, and longest life of a circuit.
const LIMIT: Duration = Duration::from_secs(8);

type Answer = Reply<Result<SocketAddr, ControlError>>;

struct Punch {
    waiting: Vec<Answer>,
    circuit: ConnectionId,
    until: Instant,
}

/// The punches under way.
#[derive(Default)]
pub(super) struct Punches {
    punches: HashMap<PeerId, Punch>,
    circuits: HashMap<ConnectionId, (PeerId, Instant)>,
}

/// What a wish to punch leads to.
pub(super) enum Wish {
    /// One is under way; the answer comes with it.
    Joined,
    /// The caller is to dial the circuit and then call [`Punches::begin`].
    Begin(Answer),
    /// The caller has been told why not.
    Refused,
}

impl Punches {
    /// Somebody wants a way to `peer`.
    pub(super) fn wish(&mut self, peer: PeerId, answer: Answer) -> Wish {
        let full = self.punches.len() >= MAX_PUNCHES;
        match self.punches.get_mut(&peer) {
            Some(punch) if punch.waiting.len() < MAX_WAITING => {
                punch.waiting.push(answer);
                Wish::Joined
            }
            None if !full => Wish::Begin(answer),
            _ => {
                answer.send(Err(ControlError::TooMany("hole punches"))).ok();
                Wish::Refused
            }
        }
    }

    /// The circuit to `peer` is being dialled as `circuit`.
    pub(super) fn begin(&mut self, peer: PeerId, circuit: ConnectionId, answer: Answer, now: Instant) {
        self.punches.insert(peer, Punch { waiting: vec![answer], circuit, until: now + LIMIT });
    }

    /// The circuit could not be opened.
    pub(super) fn circuit_failed(&mut self, circuit: ConnectionId, why: &str) {
        let peer = self.punches.iter().find(|(_, punch)| punch.circuit == circuit).map(|(peer, _)| *peer);
        if let Some(punch) = peer.and_then(|peer| self.punches.remove(&peer)) {
            punch.fail(why);
        }
    }

    /// A circuit with `peer` is open, from either side.
    pub(super) fn circuit_opened(&mut self, circuit: ConnectionId, peer: PeerId, now: Instant) {
        self.circuits.insert(circuit, (peer, now + LIMIT));
    }

    /// A circuit is gone.
    pub(super) fn circuit_closed(&mut self, circuit: ConnectionId) {
        self.circuits.remove(&circuit);
    }

    /// `peer` is connected from `address` without a circuit. Whoever waited is told; circuits to be closed.
    pub(super) fn connected(&mut self, peer: PeerId, address: SocketAddr) -> Vec<ConnectionId> {
        for answer in self.punches.remove(&peer).into_iter().flat_map(|punch| punch.waiting) {
            answer.send(Ok(address)).ok();
        }
        self.circuits.iter().filter(|(_, (of, _))| *of == peer).map(|(id, _)| *id).collect()
    }

    /// Answers what is late; circuits to be closed.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<ConnectionId> {
        let late: Vec<_> = self.punches.iter().filter(|(_, punch)| punch.until <= now).map(|(peer, _)| *peer).collect();
        for punch in late.into_iter().filter_map(|peer| self.punches.remove(&peer)) {
            punch.fail("its NAT or ours does not let us through");
        }
        self.circuits.iter().filter(|(_, (_, until))| *until <= now).map(|(id, _)| *id).collect()
    }
}

impl Punch {
    fn fail(self, why: &str) {
        for answer in self.waiting {
            answer.send(Err(ControlError::Punch(why.to_owned()))).ok();
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn begin(punches: &mut Punches, peer: PeerId, now: Instant) -> oneshot::Receiver<Result<SocketAddr, ControlError>> {
        let (answer, answered) = oneshot::channel();
        if let Wish::Begin(answer) = punches.wish(peer, answer) {
            punches.begin(peer, ConnectionId::new_unchecked(7), answer, now);
        }
        answered
    }

    #[tokio::test]
    async fn a_direct_connection_answers_everybody_and_names_the_circuits_to_close() {
        let (mut punches, peer, now) = (Punches::default(), PeerId::random(), Instant::now());
        let (first, second) = (begin(&mut punches, peer, now), begin(&mut punches, peer, now));
        let (circuit, other) = (ConnectionId::new_unchecked(7), ConnectionId::new_unchecked(8));
        punches.circuit_opened(circuit, peer, now);
        punches.circuit_opened(other, PeerId::random(), now);
        let address = "192.0.2.1:9".parse().unwrap();
        assert_eq!(punches.connected(peer, address), [circuit]);
        assert_eq!(first.await.unwrap().unwrap(), address);
        assert_eq!(second.await.unwrap().unwrap(), address);
        punches.circuit_closed(circuit);
        assert!(punches.connected(peer, address).is_empty());
    }

    #[tokio::test]
    async fn nobody_waits_beyond_the_limit_and_no_circuit_stays() {
        let (mut punches, peer, now) = (Punches::default(), PeerId::random(), Instant::now());
        let waiting = begin(&mut punches, peer, now);
        punches.circuit_opened(ConnectionId::new_unchecked(7), peer, now);
        assert!(punches.expire(now + LIMIT - Duration::from_millis(1)).is_empty());
        assert_eq!(punches.expire(now + LIMIT), [ConnectionId::new_unchecked(7)]);
        assert!(matches!(waiting.await.unwrap(), Err(ControlError::Punch(_))));
        let failed = begin(&mut punches, peer, now);
        punches.circuit_failed(ConnectionId::new_unchecked(7), "no reservation");
        assert!(matches!(failed.await.unwrap(), Err(ControlError::Punch(_))));
    }

    #[tokio::test]
    async fn punches_and_those_who_wait_are_bounded() {
        let (mut punches, now) = (Punches::default(), Instant::now());
        let peers: Vec<_> = (0..MAX_PUNCHES).map(|_| PeerId::random()).collect();
        let _waiting: Vec<_> = peers.iter().map(|peer| begin(&mut punches, *peer, now)).collect();
        let refused = begin(&mut punches, PeerId::random(), now);
        assert!(matches!(refused.await.unwrap(), Err(ControlError::TooMany(_))));
        let _more: Vec<_> = (1..MAX_WAITING).map(|_| begin(&mut punches, peers[0], now)).collect();
        assert!(matches!(begin(&mut punches, peers[0], now).await.unwrap(), Err(ControlError::TooMany(_))));
    }
}
