//! Which nodes carry circuits to which relay. Both ends must pick the same ones without talking: the adapter first, then
//! openly reachable members ranked by rendezvous hashing on the relay that is to be called. No I/O.

use libp2p::{Multiaddr, multiaddr::Protocol};
use std::net::SocketAddr;
use weir_protocol::ids::RelayId;

use crate::quic::multiaddr_of;

/// Members beside the adapter that carry circuits to one relay: with the adapter away there is still a spare.
pub(super) const CARRIERS: usize = 2;

fn weight(called: &RelayId, carrier: &RelayId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("weir/carrier/1");
    hasher.update(&called.peer_id().to_bytes());
    hasher.update(&carrier.peer_id().to_bytes());
    *hasher.finalize().as_bytes()
}

/// The members of `open` over which `called` can be called.
pub(super) fn ranked(called: &RelayId, open: impl IntoIterator<Item = RelayId>) -> Vec<RelayId> {
    let mut weighed: Vec<_> = open
        .into_iter()
        .filter(|carrier| carrier != called)
        .map(|carrier| (weight(called, &carrier), carrier))
        .collect();
    weighed.sort_unstable();
    weighed.into_iter().take(CARRIERS).map(|(_, carrier)| carrier).collect()
}

/// The address of a carrier to be called at: the first that is not this machine's own.
pub(super) fn best(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    addresses.iter().find(|address| !address.ip().is_loopback()).or(addresses.first()).copied()
}

/// Where `carrier` takes reservations and calls.
pub(super) fn circuit(carrier: &RelayId, address: SocketAddr) -> Multiaddr {
    multiaddr_of(address).with(Protocol::P2p(*carrier.peer_id())).with(Protocol::P2pCircuit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::PeerId;

    #[test]
    fn both_ends_pick_alike_and_a_leaving_carrier_moves_only_its_own() {
        let called = RelayId::from(PeerId::random());
        let mut open: Vec<_> = (0..20).map(|_| RelayId::from(PeerId::random())).collect();
        let picked = ranked(&called, open.clone());
        assert_eq!(picked.len(), CARRIERS);
        open.reverse();
        assert_eq!(ranked(&called, open.clone()), picked);
        open.retain(|carrier| *carrier != picked[1]);
        assert_eq!(ranked(&called, open)[0], picked[0]);
        assert!(ranked(&called, [called]).is_empty());
    }
}
