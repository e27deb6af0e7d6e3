//! Owners of an object by rendezvous (highest random weight) hashing: a relay that joins or leaves moves only its own
//! share, and every relay that knows the same members ranks them alike.

use weir_protocol::ids::{RelayId, ResourceHash};

fn weight(resource: &ResourceHash, relay: &RelayId) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("weir/owner/1");
    hasher.update(resource.as_bytes());
    hasher.update(&relay.peer_id().to_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_be_bytes(first)
}

/// The relays ranked as owners of a resource, first owner first.
pub fn rank<'a>(resource: &ResourceHash, relays: impl Iterator<Item = &'a RelayId>) -> Vec<RelayId> {
    let mut ranked: Vec<_> = relays.map(|relay| (weight(resource, relay), *relay)).collect();
    ranked.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    ranked.into_iter().map(|(_, relay)| relay).collect()
}
