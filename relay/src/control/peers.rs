//! The memory of peers: what is known about each, kept after it has gone.
//!
//! Invariant: at most `capacity` peers; the one that was heard of longest ago makes room, connected ones last. No I/O.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::{Multiaddr, PeerId};

/// What is known about a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// The peer.
    pub peer: PeerId,
    /// Whether a control connection is open.
    pub connected: bool,
    /// Where the last connection came from or went to.
    pub remote: Option<Multiaddr>,
    /// Addresses that it claims to listen on.
    pub listen_addrs: Vec<Multiaddr>,
    /// Program and version that it claims; empty until it has identified itself.
    pub agent: String,
    /// Last measured round trip time.
    pub rtt: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Peers {
    capacity: usize,
    /// Counts changes; stands for time, of which only the order matters here.
    now: u64,
    known: HashMap<PeerId, (u64, PeerInfo)>,
}

impl Peers {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, now: 0, known: HashMap::new() }
    }

    pub(super) fn connected(&mut self, peer: PeerId, remote: Multiaddr) {
        let info = self.touch(peer);
        info.connected = true;
        info.remote = Some(remote);
    }

    pub(super) fn identified(&mut self, peer: PeerId, listen_addrs: Vec<Multiaddr>, agent: String) {
        let info = self.touch(peer);
        info.listen_addrs = listen_addrs;
        info.agent = agent;
    }

    pub(super) fn measured(&mut self, peer: PeerId, rtt: Duration) {
        self.touch(peer).rtt = Some(rtt);
    }

    pub(super) fn disconnected(&mut self, peer: PeerId) {
        self.touch(peer).connected = false;
    }

    /// Everything known, in no order.
    pub(super) fn all(&self) -> Vec<PeerInfo> {
        self.known.values().map(|(_, info)| info.clone()).collect()
    }

    fn touch(&mut self, peer: PeerId) -> &mut PeerInfo {
        self.now += 1;
        if self.known.len() >= self.capacity && !self.known.contains_key(&peer) {
            let oldest = self.known.iter().min_by_key(|(_, (heard, info))| (info.connected, *heard)).map(|(id, _)| *id);
            if let Some(oldest) = oldest {
                self.known.remove(&oldest);
            }
        }
        let empty = || PeerInfo {
            peer,
            connected: false,
            remote: None,
            listen_addrs: Vec::new(),
            agent: String::new(),
            rtt: None,
        };
        let (heard, info) = self.known.entry(peer).or_insert_with(|| (0, empty()));
        *heard = self.now;
        info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote() -> Multiaddr {
        crate::quic::multiaddr_of(([192, 0, 2, 7], 9).into())
    }

    #[test]
    fn knowledge_outlives_the_connection() {
        let (mut peers, peer) = (Peers::new(4), PeerId::random());
        peers.connected(peer, remote());
        peers.identified(peer, vec![remote()], "weir/1.2.3".to_owned());
        peers.measured(peer, Duration::from_millis(3));
        peers.disconnected(peer);
        let expected = PeerInfo {
            peer,
            connected: false,
            remote: Some(remote()),
            listen_addrs: vec![remote()],
            agent: "weir/1.2.3".to_owned(),
            rtt: Some(Duration::from_millis(3)),
        };
        assert_eq!(peers.all(), [expected]);
    }

    #[test]
    fn the_longest_silent_makes_room_connected_ones_last() {
        let (mut peers, stays, goes) = (Peers::new(2), PeerId::random(), PeerId::random());
        peers.connected(stays, remote());
        peers.connected(goes, remote());
        peers.disconnected(goes);
        (0..50).for_each(|_| peers.disconnected(PeerId::random()));
        let left = peers.all();
        assert_eq!(left.len(), 2);
        assert!(left.iter().any(|info| info.peer == stays && info.connected));
        assert!(left.iter().all(|info| info.peer != goes));
    }
}
